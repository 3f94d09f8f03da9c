//! The status as Prometheus text, `/metrics` (exposition format 0.0.4). Base units are seconds and bytes. Labels are bounded: one
//! set for each stream of the configuration; neighbours and players, who come and go, are only counted.

use crate::http::healthz::healthz;
use crate::http::out::{For, Out, ShortId, escaped, pack};
use crate::http::serial::lines;
use crate::http::status::{Reach, StatusSource, StreamState, StreamStatus};
use crate::http::trouble::{KINDS, troubles};
use core::fmt;

/// The metrics, written in parts.
#[derive(Clone, Debug)]
pub struct Metrics {
    place: Option<Place>,
}

/// A family of samples; its head comes before its samples, and the samples of the streams one by one.
#[derive(Clone, Copy, Debug)]
enum Place {
    Family(usize),
    Sample { family: usize, stream: usize },
}

struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    value: Value,
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// Where a family's samples come from.
enum Value {
    /// The constant 1, with labels that describe the node.
    NodeInfo,
    /// The constant 1, with labels that describe the stream.
    StreamInfo,
    /// For each kind of trouble, whether there is one.
    Troubles,
    Node(fn(&dyn StatusSource) -> Number),
    Stream(fn(&dyn StatusSource, usize, &StreamStatus<'_>) -> Number),
}

/// A sample's value.
enum Number {
    Whole(u64),
    /// Thousandths.
    Milli(u64),
    /// A limit that is not set.
    Infinite,
    /// Nothing that could be measured.
    Nothing,
}

use Kind::{Counter, Gauge};
use Number::{Infinite, Milli, Nothing, Whole};

const fn node(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&dyn StatusSource) -> Number,
) -> Family {
    Family {
        name,
        help,
        kind,
        value: Value::Node(value),
    }
}

const fn stream(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&dyn StatusSource, usize, &StreamStatus<'_>) -> Number,
) -> Family {
    Family {
        name,
        help,
        kind,
        value: Value::Stream(value),
    }
}

#[rustfmt::skip] // A table: one family a line or two.
const FAMILIES: [Family; 47] = [
    Family { name: "weir_info", kind: Gauge, help: "What runs here.", value: Value::NodeInfo },
    node("weir_healthy", Gauge, "1 if data flows or nothing is expected.", |s| Whole(u64::from(healthz(s).0 == 200))),
    node("weir_uptime_seconds", Gauge, "Time since start.", |s| Whole(s.node().uptime_s)),
    Family { name: "weir_trouble", kind: Gauge, help: "1 if there is a trouble of this kind; the page says what to do about it.", value: Value::Troubles },
    node("weir_reached", Gauge, "1 if somebody from outside the own network has come here within a day.",
        |s| Whole(u64::from(s.machine().reach == Reach::Reached))),
    node("weir_paused", Gauge, "1 while the owner has paused relaying.", |s| Whole(u64::from(s.machine().paused_s.is_some()))),
    node("weir_clock_set", Gauge, "1 if the clock of the system has been set.", |s| Whole(u64::from(s.machine().clock_is_set))),
    node("weir_processor_ratio", Gauge, "Part of one processor used lately.",
        |s| Milli(u64::from(s.machine().cpu_permille.unwrap_or(0)))),
    node("weir_received_datagrams_total", Counter, "Datagrams received.", |s| Whole(s.node().rx_datagrams_total)),
    node("weir_sent_datagrams_total", Counter, "Datagrams sent.", |s| Whole(s.node().tx_datagrams_total)),
    node("weir_malformed_datagrams_total", Counter, "Datagrams that could not be read or did not verify.",
        |s| Whole(s.node().malformed_datagrams_total)),
    node("weir_kernel_dropped_datagrams_total", Counter, "Datagrams the kernel dropped because they were read too late.",
        |s| Whole(s.node().kernel_drops_total)),
    node("weir_serial_received_bytes_total", Counter, "Bytes read from serial lines.",
        |s| Whole(lines(s).map(|line| line.rx_bytes_total).fold(0, u64::saturating_add))),
    node("weir_serial_sent_bytes_total", Counter, "Bytes written to serial lines.",
        |s| Whole(lines(s).map(|line| line.tx_bytes_total).fold(0, u64::saturating_add))),
    node("weir_serial_bad_frames_total", Counter, "Frames on serial lines that were damaged.",
        |s| Whole(lines(s).map(|line| line.bad_frames_total).fold(0, u64::saturating_add))),
    node("weir_memory_budget_bytes", Gauge, "Memory the owner allows.", |s| Whole(s.memory().budget_bytes)),
    node("weir_memory_planned_bytes", Gauge, "Memory the pools add up to.", |s| Whole(s.memory().planned_bytes)),
    node("weir_heap_live_bytes", Gauge, "Live heap.", |s| Whole(s.memory().heap_live_bytes)),
    node("weir_heap_allocations_total", Counter, "Heap allocations.", |s| Whole(s.memory().heap_allocations_total)),
    node("weir_resident_memory_bytes", Gauge, "Resident set.", |s| Whole(s.memory().rss_bytes)),
    node("weir_upload_limit_bytes_per_second", Gauge, "Most that is sent.", |s| limit(s.upload().limit_bps, 8)),
    node("weir_upload_bytes_per_second", Gauge, "Sent now.", |s| Whole(s.upload().rate_bps / 8)),
    node("weir_upload_bytes_total", Counter, "Bytes sent, headers included.", |s| Whole(s.upload().bytes_total)),
    node("weir_download_bytes_per_second", Gauge, "Received now.", |s| Whole(s.upload().download_rate_bps / 8)),
    node("weir_download_bytes_total", Counter, "Bytes received, headers included.", |s| Whole(s.upload().download_bytes_total)),
    node("weir_quota_limit_bytes", Gauge, "Most that is sent in a month.", |s| limit(s.upload().quota_bytes, 1)),
    node("weir_quota_used_bytes", Gauge, "Sent this month.", |s| Whole(s.upload().quota_used_bytes)),
    node("weir_peers", Gauge, "Neighbours.", |s| count(s.peer_slots(), |i| s.peer(i).is_some())),
    node("weir_players", Gauge, "Players.", |s| count(s.player_slots(), |i| s.player(i).is_some())),
    Family { name: "weir_stream_info", kind: Gauge, help: "What a stream is called.", value: Value::StreamInfo },
    stream("weir_stream_live", Gauge, "1 if the stream's data flows.", |_, _, t| Whole(u64::from(t.state == StreamState::Live))),
    stream("weir_stream_bytes_per_second", Gauge, "Media bytes a second.", |_, _, t| Whole(t.bitrate_bps / 8)),
    stream("weir_stream_head_block", Gauge, "Newest block known.", |_, _, t| Whole(t.head_block)),
    stream("weir_stream_playout_block", Gauge, "Block that players are given next.", |_, _, t| Whole(t.playout_block)),
    stream("weir_stream_lag_seconds", Gauge, "Time behind the source; NaN while nothing flows.", |_, _, t| t.lag_ms.map_or(Nothing, Milli)),
    stream("weir_stream_hops", Gauge, "Hops to the source.", |_, _, t| Whole(u64::from(t.hops))),
    stream("weir_stream_stripes", Gauge, "Stripes of the stream.", |_, _, t| Whole(t.stripes() as u64)),
    stream("weir_stream_fed_stripes", Gauge, "Stripes that a parent sends.",
        |s, i, t| count(t.stripes(), |j| s.stripe(i, j).is_some_and(|stripe| stripe.parent.is_some()))),
    stream("weir_stream_children", Gauge, "Stripes sent to neighbours, counted for each.", |s, i, t|
        Whole((0..t.stripes()).filter_map(|j| s.stripe(i, j)).map(|stripe| u64::from(stripe.children)).sum())),
    stream("weir_stream_stripe_bytes_per_second", Gauge, "What one copy of one stripe takes on the line.", |_, _, t| Whole(t.stripe_bps / 8)),
    stream("weir_stream_gaps_total", Counter, "Times that media was skipped.", |_, _, t| Whole(t.gaps_total)),
    stream("weir_stream_missing_bytes_total", Counter, "Media bytes skipped.", |_, _, t| Whole(t.missing_bytes_total)),
    stream("weir_stream_repaired_chunks_total", Counter, "Chunks rebuilt or asked for again.", |_, _, t| Whole(t.repaired_chunks_total)),
    stream("weir_stream_invalid_chunks_total", Counter, "Chunks that did not verify.", |_, _, t| Whole(t.invalid_chunks_total)),
    stream("weir_stream_discarded_chunks_total", Counter, "Chunks received twice.", |_, _, t| Whole(t.discarded_chunks_total)),
    stream("weir_stream_audience", Gauge, "Listeners at and below this node.", |_, _, t| Whole(t.audience)),
    stream("weir_stream_players", Gauge, "Players of the stream here.",
        |s, _, t| count(s.player_slots(), |i| s.player(i).is_some_and(|player| player.stream == t.key))),
];

fn limit(limit: Option<u64>, divisor: u64) -> Number {
    limit.map_or(Infinite, |limit| Whole(limit / divisor))
}

fn count(slots: usize, mut is_used: impl FnMut(usize) -> bool) -> Number {
    Whole((0..slots).filter(|&i| is_used(i)).count() as u64)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// At their beginning.
    pub fn new() -> Self {
        Self {
            place: Some(Place::Family(0)),
        }
    }

    /// Writes the next part into `out` (at least [`PART_BYTES`](crate::http::document::PART_BYTES)); `None` after the last.
    pub fn next(&mut self, source: &dyn StatusSource, out: &mut [u8]) -> Option<usize> {
        pack(&mut self.place, out, |place, out| match place {
            Place::Family(family) => {
                FAMILIES.get(family)?.write_head(out);
                Some(Place::Sample { family, stream: 0 })
            }
            Place::Sample { family, stream } => {
                let more = FAMILIES.get(family)?.write_sample(source, stream, out);
                Some(if more {
                    Place::Sample {
                        family,
                        stream: stream + 1,
                    }
                } else {
                    Place::Family(family + 1)
                })
            }
        })
    }
}

impl Family {
    fn write_head(&self, out: &mut Out<'_>) {
        let kind = match self.kind {
            Gauge => "gauge",
            Counter => "counter",
        };
        let Self { name, help, .. } = self;
        out.fmt(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes sample `i`, which for a family of streams is the stream in place `i`; whether there may be another.
    fn write_sample(&self, source: &dyn StatusSource, i: usize, out: &mut Out<'_>) -> bool {
        match self.value {
            Value::NodeInfo => {
                let node = source.node();
                out.str(self.name);
                label(out, "{version=", node.version, 64);
                label(out, ",role=", node.role, 32);
                out.fmt(format_args!(",node=\"{}\"}} 1\n", ShortId(&node.node)));
                false
            }
            Value::Node(value) => {
                out.fmt(format_args!("{} {}\n", self.name, value(source)));
                false
            }
            Value::Troubles => {
                if let Some(kind) = KINDS.get(i) {
                    let is_there = troubles(source)
                        .iter()
                        .any(|trouble| trouble.kind() == *kind);
                    out.fmt(format_args!(
                        "{}{{kind=\"{kind}\"}} {}\n",
                        self.name,
                        u8::from(is_there)
                    ));
                }
                i + 1 < KINDS.len()
            }
            Value::StreamInfo => {
                if let Some(stream) = source.stream(i) {
                    out.str(self.name);
                    label(out, "{stream=", stream.key, 64);
                    label(out, ",title=", stream.title, 768);
                    label(out, ",content_type=", stream.content_type, 256);
                    out.str("} 1\n");
                }
                i + 1 < source.stream_slots()
            }
            Value::Stream(value) => {
                if let Some(stream) = source.stream(i) {
                    out.str(self.name);
                    label(out, "{stream=", stream.key, 64);
                    out.fmt(format_args!("}} {}\n", value(source, i, &stream)));
                }
                i + 1 < source.stream_slots()
            }
        }
    }
}

fn label(out: &mut Out<'_>, name: &str, text: &str, max_bytes: usize) {
    out.str(name);
    out.str("\"");
    escaped(out, For::Label, text, max_bytes);
    out.str("\"");
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whole(number) => number.fmt(f),
            Milli(number) => write!(f, "{}.{:03}", number / 1_000, number % 1_000),
            Infinite => f.write_str("+Inf"),
            Nothing => f.write_str("NaN"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::document::Document;
    use crate::http::fake::{Fake, HOSTILE, KEY, whole};
    use std::collections::{BTreeMap, BTreeSet};
    use std::string::{String, ToString};

    /// Reads the exposition format strictly; returns each sample's value by its name and labels.
    fn check(text: &str) -> BTreeMap<String, f64> {
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        let mut family = String::new();
        let mut lines = text.strip_suffix('\n').unwrap().split('\n');
        while let Some(line) = lines.next() {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap().to_string();
                assert!(families.insert(family.clone()), "{family} twice");
                let kind = lines
                    .next()
                    .unwrap()
                    .strip_prefix(&std::format!("# TYPE {family} "))
                    .unwrap();
                assert!(
                    family.starts_with("weir_")
                        && family.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                );
                assert_eq!(kind == "counter", family.ends_with("_total"), "{family}");
                continue;
            }
            let rest = line.strip_prefix(family.as_str()).unwrap();
            let value = match rest.strip_prefix('{') {
                Some(labels) => check_labels(labels).strip_prefix(' ').unwrap(),
                None => rest.strip_prefix(' ').unwrap(),
            };
            let number: f64 = if value == "+Inf" {
                f64::INFINITY
            } else {
                value.parse().unwrap()
            };
            let name = line.strip_suffix(value).unwrap().trim().to_string();
            // The test's two streams have the same key, so the same sample comes twice.
            samples.insert(name, number);
        }
        samples
    }

    /// Reads `a="b",c="d"}` and returns what follows.
    fn check_labels(mut rest: &str) -> &str {
        loop {
            let (name, after) = rest.split_once("=\"").unwrap();
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next().unwrap() {
                    (_, '\\') => assert!(matches!(chars.next().unwrap().1, '\\' | '"' | 'n')),
                    (at, '"') => break at,
                    _ => {}
                }
            };
            rest = &after[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return rest.strip_prefix('}').unwrap(),
            }
        }
    }

    fn metrics() -> Document {
        Document::Metrics(Metrics::new())
    }

    #[test]
    fn the_lag_of_what_does_not_flow_is_no_number() {
        let lag = |state| {
            let samples = check(&whole(metrics(), &Fake::with_states(&[state])));
            samples[&std::format!("weir_stream_lag_seconds{{stream=\"{KEY}\"}}")]
        };
        assert_eq!(lag(StreamState::Live), 1.234);
        assert!(lag(StreamState::Idle).is_nan());
    }

    #[test]
    fn strictly_valid_and_in_base_units() {
        let samples = check(&whole(metrics(), &Fake::full()));
        assert_eq!(samples["weir_upload_limit_bytes_per_second"], 250_000.0);
        assert_eq!(
            samples[&std::format!("weir_stream_fed_stripes{{stream=\"{KEY}\"}}")],
            2.0
        );
        assert_eq!(samples["weir_peers"], 3.0);
        assert_eq!(samples["weir_healthy"], 1.0);
        assert_eq!(samples["weir_trouble{kind=\"stalled\"}"], 1.0);
        assert_eq!(samples["weir_trouble{kind=\"quota\"}"], 0.0);
    }

    #[test]
    fn valid_when_empty_hostile_or_extreme() {
        let mut fake = Fake::full();
        fake.title = String::from(HOSTILE);
        check(&whole(metrics(), &fake));
        check(&whole(metrics(), &Fake::extreme()));
        assert_eq!(
            check(&whole(metrics(), &Fake::empty()))["weir_quota_limit_bytes"],
            f64::INFINITY
        );
    }
}
