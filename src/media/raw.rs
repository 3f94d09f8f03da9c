//! Bytes whose container is not known: a player can begin anywhere, or nowhere.

use super::scanner::Start;
use super::step::Step;

/// Most bytes of one segment, so that a great push gives more than one place to begin.
const SEGMENT_BYTES: usize = 1_316;

/// Everything is a sync point.
pub(super) fn step(window: &[u8]) -> Step {
    Step::unit(Start::Sync, window.len().min(SEGMENT_BYTES), None)
}
