//! `/healthz`: one word for a supervisor.

use crate::http::status::{StatusSource, StreamState};

/// Status and reason: 200 when data flows or nothing is expected, else 503. One silent broadcaster among several does not
/// make the box ill; all of them silent does.
pub fn healthz(source: &dyn StatusSource) -> (u16, &'static str) {
    let mut worst = (200, "ok: nothing is expected");
    for stream in (0..source.stream_slots()).filter_map(|i| source.stream(i)) {
        match stream.state {
            StreamState::Live => return (200, "ok: data flows"),
            StreamState::Stalled => worst = (503, "stalled: the stream stopped arriving"),
            StreamState::Joining if worst.0 == 200 => worst = (503, "joining: no data yet"),
            StreamState::Joining | StreamState::Idle | StreamState::Ended => {}
        }
    }
    worst
}
