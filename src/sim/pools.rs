//! Memory of simulated nodes: the pools of `memory`, small. A node borrows them for as long as the process runs, so a
//! scenario with churn grows by the pools of those who died; the report says by how much.

use crate::limits::MIN_SLOT_BYTES;
use crate::proto::budget::Sizes;

pub use crate::memory::{node_pools, staging, stream_pools};

/// Sizes of a simulated node.
pub fn sizes(is_source: bool, max_children: usize, ring_kib: usize) -> Sizes {
    let ring_bytes = ring_kib << 10;
    let slots = (ring_bytes / MIN_SLOT_BYTES).min(usize::from(u16::MAX) - 1);
    Sizes {
        ring_bytes,
        slots,
        rows: slots / 4,
        log: slots,
        ..Sizes::new(1, usize::from(is_source), max_children, 1)
    }
}
