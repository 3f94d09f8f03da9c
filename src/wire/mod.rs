//! Layer `wire`.

pub mod framing;
