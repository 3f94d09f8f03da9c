//! The verdict: how the node does, in one sentence that anybody understands.

use crate::http::healthz::Health;
use crate::http::status::{Reach, StatusSource, StreamState};
use crate::http::trouble::{PATIENCE_S, Title};
use crate::http::units::{Data, Duration};
use core::fmt::{self, Write};

/// Bytes that every verdict fits in, the longest title included.
pub const MAX_VERDICT_BYTES: usize = 320;

/// The verdict as text. It may hold a title, a text from outside: it is to be escaped like one.
pub fn verdict(source: &dyn StatusSource) -> heapless::String<MAX_VERDICT_BYTES> {
    let mut text = heapless::String::new();
    // Fits: a test has the longest.
    let _ = write(source, &mut text);
    text
}

fn write(source: &dyn StatusSource, out: &mut dyn Write) -> fmt::Result {
    let (machine, upload) = (source.machine(), source.upload());
    match machine.paused_s {
        Some(left_s) => write!(out, "Relaying is paused for another {}", Minutes(left_s))?,
        None => what_it_does(source, out)?,
    }
    match machine.reach {
        Reach::Reached => out.write_str("; reachable from outside")?,
        Reach::NotReached => out.write_str("; not reached from outside")?,
        Reach::Unknown => {}
    }
    match upload.quota_bytes {
        Some(0) => {}
        Some(most) => write!(out, "; {} this month", Share(upload.quota_used_bytes, most))?,
        None => write!(out, "; {} this month", Data(upload.quota_used_bytes))?,
    }
    out.write_str(".")
}

fn what_it_does(source: &dyn StatusSource, out: &mut dyn Write) -> fmt::Result {
    let health = Health::of(source);
    let state = health.state();
    let streams = Streams(source, state);
    let listeners = Listeners(streams.each().map(|(_, audience)| audience).sum());
    match (state, source.node().role) {
        (StreamState::Live | StreamState::Idle, "relay")
            if health.streams > 0 && !passes_on(source) =>
        {
            write!(
                out,
                "Only players here are served with {streams}; nothing is passed on"
            )
        }
        (StreamState::Live, "source") => write!(out, "On the air: {streams}, with {listeners}"),
        (StreamState::Live, "listener") => write!(out, "Receiving {streams}, with {listeners}"),
        (StreamState::Live, _) if listeners.0 == 0 && children(source) > 0 => {
            match children(source) {
                1 => write!(out, "Helping 1 neighbour with {streams}"),
                n => write!(out, "Helping {n} neighbours with {streams}"),
            }
        }
        (StreamState::Live, _) if listeners.0 == 0 => {
            write!(
                out,
                "Carrying {streams}; nobody listens through this box yet"
            )
        }
        (StreamState::Live, _) => write!(out, "Helping {listeners} with {streams}"),
        (StreamState::Stalled, _) => write!(out, "{streams} has stopped arriving"),
        (StreamState::Joining, "source") => write!(out, "Waiting for the input of {streams}"),
        (StreamState::Joining, _) => write!(out, "Looking for {streams}: no data has arrived yet"),
        (StreamState::Stopped, _) => write!(out, "Stopped: {streams} is not carried for now"),
        _ if health.streams == 0 => out.write_str("No stream is carried"),
        _ if source.node().uptime_s >= PATIENCE_S && is_alone(source) => {
            write!(out, "Looking for {streams}: nobody answers")
        }
        _ => write!(
            out,
            "Ready to help with {streams}; nobody needs this box right now"
        ),
    }
}

/// Whether no stream has a neighbour.
fn is_alone(source: &dyn StatusSource) -> bool {
    let mut streams = (0..source.stream_slots()).filter_map(|i| source.stream(i));
    streams.all(|stream| stream.peers == 0)
}

/// Whether limit and quota let this box feed others at all.
fn passes_on(source: &dyn StatusSource) -> bool {
    let upload = source.upload();
    source.uplink().sharing != "ended"
        && upload.limit_bps != Some(0)
        && upload.quota_bytes != Some(0)
}

/// Neighbours that are fed from here.
fn children(source: &dyn StatusSource) -> usize {
    let fed = |peer: &usize| (0..source.stream_slots()).any(|i| source.link(i, *peer).to != 0);
    (0..source.peer_slots()).filter(fed).count()
}

/// The streams that are in this state: one by its title, several by their number.
struct Streams<'a>(&'a dyn StatusSource, StreamState);

impl Streams<'_> {
    /// Places and audiences.
    fn each(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let all = 0..self.0.stream_slots();
        all.filter_map(|i| Some((i, self.0.stream(i).filter(|s| s.state == self.1)?.audience)))
    }
}

impl fmt::Display for Streams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = (0..self.0.stream_slots()).filter(|&i| self.0.stream(i).is_some());
        match (self.each().count(), all.count()) {
            (1, _) => {
                let first = self.each().next().map_or(0, |(i, _)| i);
                Title(self.0, first).fmt(f)
            }
            (these, all) if these < all => write!(f, "{these} of {all} streams"),
            (these, _) => write!(f, "{these} streams"),
        }
    }
}

struct Listeners(u64);

impl fmt::Display for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no listeners yet"),
            1 => f.write_str("1 listener"),
            n => write!(f, "{n} listeners"),
        }
    }
}

/// A time to wait, in whole minutes: a sentence that changes every second is restless.
struct Minutes(u64);

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.div_ceil(60) {
            minutes @ 0..60 => write!(f, "{minutes} min"),
            minutes => Duration(minutes.saturating_mul(60)).fmt(f),
        }
    }
}

/// A part of a whole in the whole's unit: `12 of 200 GB`.
pub(crate) struct Share(pub u64, pub u64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            ("TB", 1_000_000_000_000),
            ("GB", 1_000_000_000),
            ("MB", 1_000_000),
            ("kB", 1_000),
        ];
        let fits = |(_, size): &&(&str, u64)| self.1 >= *size;
        let &(unit, size) = units.iter().find(fits).unwrap_or(&("B", 1));
        let tenths = |bytes: u64| bytes.saturating_mul(10) / size;
        let show = |f: &mut fmt::Formatter<'_>, bytes| match tenths(bytes) {
            tenths @ 1..100 if tenths % 10 != 0 => write!(f, "{}.{}", tenths / 10, tenths % 10),
            tenths => write!(f, "{}", tenths / 10),
        };
        show(f, self.0)?;
        f.write_str(" of ")?;
        show(f, self.1)?;
        write!(f, " {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fake::Fake;
    use std::string::ToString;

    fn of(states: &[StreamState], change: impl FnOnce(&mut Fake)) -> std::string::String {
        let mut fake = Fake::with_states(states);
        change(&mut fake);
        verdict(&fake).to_string()
    }

    #[test]
    fn one_sentence_tells_it_all() {
        use StreamState::{Idle, Joining, Live, Stalled};
        let gb = 1_000_000_000;
        let said = of(&[Live], |fake| {
            (fake.quota, fake.quota_used) = (Some(200 * gb), 12 * gb);
            fake.machine.reach = Reach::Reached;
        });
        assert_eq!(
            said,
            "Helping 17 listeners with Radio \u{266b} Caf\u{e9}; reachable from outside; 12 of 200 GB this month."
        );
        assert_eq!(of(&[], |_| {}), "No stream is carried; 5 B this month.");
        assert!(
            of(&[Live, Live, Stalled], |_| {})
                .starts_with("Helping 34 listeners with 2 of 3 streams;")
        );
        assert!(
            of(&[Stalled], |_| {}).starts_with("Radio \u{266b} Caf\u{e9} has stopped arriving;")
        );
        assert!(of(&[Joining], |_| {}).starts_with("Looking for Radio"));
        assert!(
            of(&[Idle], |fake| fake.title.clear()).starts_with("Ready to help with the stream;")
        );
        assert!(
            of(&[Idle], |fake| fake.stream_peers = 0)
                .starts_with("Looking for Radio \u{266b} Caf\u{e9}: nobody answers;")
        );
        assert!(
            of(&[Idle], |fake| (fake.quota, fake.sharing) =
                (Some(200 * gb), "ended"))
            .starts_with("Only players here are served with Radio")
        );
        assert!(
            of(&[Live], |fake| fake.limit = Some(0))
                .ends_with("; nothing is passed on; 5 B this month.")
        );
        assert!(of(&[Live], |fake| fake.role = "source").starts_with("On the air: Radio"));
        assert!(
            of(&[Live], |fake| fake.machine.paused_s = Some(2_519))
                .starts_with("Relaying is paused for another 42 min;")
        );
    }

    #[test]
    fn the_longest_fits() {
        let mut fake = Fake::extreme();
        fake.states.truncate(1);
        fake.title = "\u{266b}".repeat(500);
        fake.machine.reach = Reach::NotReached;
        for role in ["relay", "source", "listener"] {
            fake.role = role;
            assert!(
                verdict(&fake).ends_with(" this month."),
                "{}",
                verdict(&fake)
            );
        }
    }

    #[test]
    fn a_share_is_in_the_unit_of_the_whole() {
        let gb = 1_000_000_000;
        assert_eq!(Share(12 * gb, 200 * gb).to_string(), "12 of 200 GB");
        assert_eq!(Share(1_234_000_000, 200 * gb).to_string(), "1.2 of 200 GB");
        assert_eq!(Share(0, 200 * gb).to_string(), "0 of 200 GB");
        assert_eq!(Share(250 * gb, 1_500 * gb).to_string(), "0.2 of 1.5 TB");
        assert_eq!(Share(5, 7).to_string(), "5 of 7 B");
    }
}
