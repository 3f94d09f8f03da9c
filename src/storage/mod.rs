//! Fixed memory, borrowed at start: the ring of chunks, logs that many cursors follow, queues.

pub mod lent;
pub mod log;
pub mod queue;
pub mod ring;
pub mod slots;
