//! How the node does, in one word for a supervisor.

use crate::http::status::{StatusSource, StreamState};

/// Streams counted by how they do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Health {
    /// Streams in the table.
    pub streams: u32,
    /// Of these, streams whose data flows.
    pub live: u32,
    /// Streams whose data stopped.
    pub stalled: u32,
    /// Streams that wait for their first data.
    pub joining: u32,
    /// Streams their owner stopped.
    pub stopped: u32,
}

impl Health {
    /// Counts.
    pub fn of(source: &dyn StatusSource) -> Self {
        let mut health = Self::default();
        for stream in (0..source.stream_slots()).filter_map(|i| source.stream(i)) {
            health.streams += 1;
            match stream.state {
                StreamState::Live => health.live += 1,
                StreamState::Stalled => health.stalled += 1,
                StreamState::Joining => health.joining += 1,
                StreamState::Stopped => health.stopped += 1,
                StreamState::Idle | StreamState::Ended => {}
            }
        }
        health
    }

    /// The best that any stream does. One silent broadcaster among several does not make the box ill.
    pub const fn state(self) -> StreamState {
        match self {
            Self { live: 1.., .. } => StreamState::Live,
            Self { stalled: 1.., .. } => StreamState::Stalled,
            Self { joining: 1.., .. } => StreamState::Joining,
            Self { stopped: 1.., .. } if self.stopped == self.streams => StreamState::Stopped,
            _ => StreamState::Idle,
        }
    }
}

/// `/healthz`: status and reason. 200 when data flows or nothing is expected, else 503.
pub fn healthz(source: &dyn StatusSource) -> (u16, &'static str) {
    match Health::of(source).state() {
        StreamState::Live => (200, "ok: data flows"),
        StreamState::Stalled => (503, "stalled: data stopped arriving"),
        StreamState::Joining => (503, "joining: no data has arrived yet"),
        StreamState::Stopped => (200, "ok: stopped by its owner"),
        StreamState::Idle | StreamState::Ended => (200, "ok: nothing is expected"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fake::Fake;

    #[test]
    fn well_while_anything_flows_or_nothing_is_expected() {
        use StreamState::{Ended, Idle, Joining, Live, Stalled, Stopped};
        for (states, status) in [
            ([].as_slice(), 200),
            (&[Live], 200),
            (&[Stalled, Live, Joining], 200),
            (&[Idle, Ended], 200),
            (&[Stopped], 200),
            (&[Stopped, Stalled], 503),
            (&[Idle, Joining], 503),
            (&[Stalled, Joining], 503),
        ] {
            let fake = Fake::with_states(states);
            assert_eq!(healthz(&fake).0, status, "{states:?}");
        }
    }
}
