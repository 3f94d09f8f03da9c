//! The status document as JSON, `/status.json`. Names are stable: scripts depend on them; more may be added.

use crate::http::healthz::Health;
use crate::http::ledger;
use crate::http::out::{For, Out, ShortId, escaped, pack};
use crate::http::serial;
use crate::http::status::{PeerStatus, PlayerStatus, StatusSource, StreamStatus, StripeStatus};
use crate::http::trouble::troubles;
use crate::http::verdict::verdict;
use crate::http::walk::{Part, Place, step};
use core::fmt;

/// The status document as JSON, written in parts. It stays valid JSON even if the tables change between parts.
#[derive(Clone, Debug)]
pub struct StatusJson {
    place: Option<Place>,
}

impl Default for StatusJson {
    fn default() -> Self {
        Self::new()
    }
}

impl StatusJson {
    /// At its beginning.
    pub fn new() -> Self {
        Self {
            place: Some(Place::Head),
        }
    }

    /// Writes the next part into `out` (at least [`PART_BYTES`](crate::http::document::PART_BYTES)); `None` after the last.
    pub fn next(&mut self, source: &dyn StatusSource, out: &mut [u8]) -> Option<usize> {
        pack(&mut self.place, out, |place, out| {
            step(place, source, out, render)
        })
    }
}

fn render(part: Part<'_>, source: &dyn StatusSource, out: &mut Out<'_>) {
    match part {
        Part::Head => head(source, out),
        Part::Stream {
            piece: 0,
            first,
            status,
        } => {
            separate(out, first);
            stream_names(&status, out);
        }
        Part::Stream {
            piece: 1, status, ..
        } => stream_numbers(&status, out),
        Part::Stream { status, .. } => {
            text(out, ",\"disclosure\":", status.disclosure, 1_536);
            out.str(",\"stripes\":[");
        }
        Part::Stripe {
            index,
            first,
            status,
        } => {
            separate(out, first);
            stripe(index, &status, out);
        }
        Part::StreamEnd => out.str("]}"),
        Part::Peers => out.str("],\"peers\":["),
        Part::Peer { first, status } => {
            separate(out, first);
            peer(&status, out);
        }
        Part::Players => out.str("],\"players\":["),
        Part::Player { first, status } => {
            separate(out, first);
            player(&status, out);
        }
        Part::Ledger => ledger::json_begin(out),
        Part::Network { first, status } => {
            separate(out, first);
            ledger::json_network(&status, out);
        }
        Part::Days => ledger::json_days(source.other_networks(), out),
        Part::Day { first, status } => {
            separate(out, first);
            ledger::json_day(&status, out);
        }
        Part::End => {
            out.str("]}");
            serial::json(source, out);
            out.str("}\n");
        }
    }
}

fn head(source: &dyn StatusSource, out: &mut Out<'_>) {
    let (node, memory, upload) = (source.node(), source.memory(), source.upload());
    let health = Health::of(source);
    text(out, "{\"version\":", node.version, 64);
    text(out, ",\"role\":", node.role, 32);
    out.fmt(format_args!(
        ",\"uptime_s\":{},\"node\":\"{}\",\"state\":\"{}\"",
        node.uptime_s,
        ShortId(&node.node),
        health.state().as_str(),
    ));
    text(out, ",\"verdict\":", &verdict(source), 512);
    out.fmt(format_args!(
        ",\"rx_datagrams_total\":{},\"tx_datagrams_total\":{},\"malformed_datagrams_total\":{},\"kernel_drops_total\":{}",
        node.rx_datagrams_total, node.tx_datagrams_total, node.malformed_datagrams_total, node.kernel_drops_total,
    ));
    out.fmt(format_args!(
        ",\"memory\":{{\"budget_bytes\":{},\"planned_bytes\":{},\"heap_live_bytes\":{},\"heap_allocations_total\":{},\
         \"rss_bytes\":{}}}",
        memory.budget_bytes,
        memory.planned_bytes,
        memory.heap_live_bytes,
        memory.heap_allocations_total,
        memory.rss_bytes,
    ));
    out.fmt(format_args!(
        ",\"upload\":{{\"limit_bps\":{},\"rate_bps\":{},\"bytes_total\":{},\"quota_bytes\":{},\"quota_used_bytes\":{},\
         \"download_rate_bps\":{},\"download_bytes_total\":{}}}",
        OrNull(upload.limit_bps),
        upload.rate_bps,
        upload.bytes_total,
        OrNull(upload.quota_bytes),
        upload.quota_used_bytes,
        upload.download_rate_bps,
        upload.download_bytes_total,
    ));
    uplink(source, out);
    machine(source, out);
    out.str(",\"streams\":[");
}

fn uplink(source: &dyn StatusSource, out: &mut Out<'_>) {
    let line = source.uplink();
    text(out, ",\"uplink\":{\"sharing\":", line.sharing, 32);
    text(out, ",\"quota_trouble\":", line.quota_trouble, 192);
    out.fmt(format_args!(
        ",\"quota_resets_unix_s\":{},\"delay_target_ms\":{},\"queue_ms\":{},\"pace_bps\":{}}}",
        OrNull(line.quota_resets_unix_s),
        OrNull(line.delay_target_ms),
        OrNull(line.queue_ms),
        OrNull(line.pace_bps),
    ));
}

/// The machine, and what is wrong: the kinds of troubles only, whose sentences are on the page.
fn machine(source: &dyn StatusSource, out: &mut Out<'_>) {
    let machine = source.machine();
    out.fmt(format_args!(
        ",\"udp\":\"{}\",\"http\":\"{}\",\"reach\":\"{}\",\"clock_is_set\":{},\"cpu_permille\":{},\
         \"temperature_millicelsius\":{},\"paused_s\":{},\"troubles\":[",
        machine.udp,
        machine.http,
        machine.reach.as_str(),
        machine.clock_is_set,
        OrNull(machine.cpu_permille),
        OrNull(machine.temperature_mc),
        OrNull(machine.paused_s),
    ));
    for (at, trouble) in troubles(source).into_iter().enumerate() {
        separate(out, at == 0);
        out.fmt(format_args!("\"{}\"", trouble.kind()));
    }
    out.str("]");
}

fn stream_names(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    text(out, "{\"key\":", stream.key, 64);
    text(out, ",\"uri\":", stream.uri, 512);
    text(out, ",\"title\":", stream.title, 768);
    text(out, ",\"content_type\":", stream.content_type, 256);
}

fn stream_numbers(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    text(out, ",\"now_playing\":", stream.now_playing, 768);
    text(out, ",\"trouble\":", stream.trouble, 128);
    out.fmt(format_args!(
        ",\"state\":\"{}\",\"bitrate_bps\":{},\"k\":{},\"m\":{},\"head_block\":{},\"playout_block\":{},\"lag_ms\":{},\"hops\":{}",
        stream.state.as_str(),
        stream.bitrate_bps,
        stream.k,
        stream.m,
        stream.head_block,
        stream.playout_block,
        OrNull(stream.lag_ms),
        stream.hops,
    ));
    out.fmt(format_args!(
        ",\"gaps_total\":{},\"missing_bytes_total\":{},\"repaired_chunks_total\":{},\"invalid_chunks_total\":{},\
         \"discarded_chunks_total\":{},\"audience\":{},\"stripe_bps\":{},\"rx_bytes_total\":{},\"tx_bytes_total\":{}",
        stream.gaps_total,
        stream.missing_bytes_total,
        stream.repaired_chunks_total,
        stream.invalid_chunks_total,
        stream.discarded_chunks_total,
        stream.audience,
        stream.stripe_bps,
        stream.rx_bytes_total,
        stream.tx_bytes_total,
    ));
}

fn stripe(index: usize, stripe: &StripeStatus, out: &mut Out<'_>) {
    out.fmt(format_args!(
        "{{\"index\":{index},\"parent\":{},\"head_block\":{},\"hops\":{},\"children\":{}}}",
        OrNull(stripe.parent.map(Quoted)),
        stripe.head_block,
        stripe.hops,
        stripe.children,
    ));
}

fn peer(peer: &PeerStatus, out: &mut Out<'_>) {
    out.fmt(format_args!(
        "{{\"address\":\"{}\",\"node\":\"{}\"",
        peer.address,
        ShortId(&peer.node)
    ));
    text(out, ",\"state\":", peer.state, 32);
    out.fmt(format_args!(
        ",\"rtt_ms\":{},\"rx_bytes_total\":{},\"tx_bytes_total\":{},\"stripes_from\":{},\"stripes_to\":{}}}",
        OrNull(peer.rtt_ms),
        peer.rx_bytes_total,
        peer.tx_bytes_total,
        peer.stripes_from,
        peer.stripes_to,
    ));
}

fn player(player: &PlayerStatus<'_>, out: &mut Out<'_>) {
    out.fmt(format_args!("{{\"address\":\"{}\"", player.address));
    text(out, ",\"stream\":", player.stream, 64);
    text(out, ",\"user_agent\":", player.user_agent, 256);
    out.fmt(format_args!(
        ",\"tx_bytes_total\":{},\"skipped_bytes_total\":{}}}",
        player.tx_bytes_total, player.skipped_bytes_total,
    ));
}

fn separate(out: &mut Out<'_>, first: bool) {
    out.str(if first { "" } else { "," });
}

/// A name and a text from outside, which becomes at most `max_bytes` long.
fn text(out: &mut Out<'_>, name: &str, text: &str, max_bytes: usize) {
    out.str(name);
    out.str("\"");
    escaped(out, For::Json, text, max_bytes);
    out.str("\"");
}

struct OrNull<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrNull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// Something of ours that needs no escaping, as a string.
struct Quoted<T>(T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::document::{Document, PART_BYTES};
    use crate::http::fake::{Fake, HOSTILE, whole};
    use serde_json::Value;
    use std::string::String;
    use std::vec::Vec;

    fn json() -> Document {
        Document::StatusJson(StatusJson::new())
    }

    /// Every name of the design, with the type it has. A number that can be null is `n`.
    #[test]
    fn the_names_scripts_depend_on() {
        let value: Value = serde_json::from_str(&whole(json(), &Fake::full())).unwrap();
        let has = |place: &str, names: &str| {
            for name in names.split(' ') {
                let (name, kind) = name.split_once(':').unwrap_or((name, "u"));
                let found = &value.pointer(place).unwrap()[name];
                let fits = match kind {
                    "u" => found.is_u64(),
                    "s" => found.is_string(),
                    "a" => found.as_array().is_some_and(|array| !array.is_empty()),
                    _ => found.is_object(),
                };
                assert!(fits, "{place}/{name}: {found}");
            }
        };
        has(
            "",
            "version:s role:s uptime_s node:s memory:o upload:o streams:a peers:a players:a",
        );
        has(
            "/memory",
            "budget_bytes planned_bytes heap_live_bytes heap_allocations_total rss_bytes",
        );
        has(
            "/upload",
            "limit_bps rate_bps bytes_total quota_bytes quota_used_bytes",
        );
        has(
            "/streams/0",
            "key:s title:s content_type:s disclosure:s bitrate_bps k m head_block playout_block lag_ms hops",
        );
        has(
            "/streams/0",
            "gaps_total missing_bytes_total repaired_chunks_total invalid_chunks_total audience stripes:a",
        );
        has(
            "/streams/0/stripes/0",
            "index parent:s head_block hops children",
        );
        has(
            "/peers/0",
            "address:s node:s rtt_ms rx_bytes_total tx_bytes_total stripes_from stripes_to",
        );
        has(
            "/players/0",
            "address:s stream:s tx_bytes_total skipped_bytes_total",
        );
        has("/streams/0", "rx_bytes_total tx_bytes_total");
        has(
            "/uplink",
            "sharing:s quota_trouble:s quota_resets_unix_s delay_target_ms queue_ms pace_bps",
        );
        has("/ledger", "networks:a others:o days:a");
        has(
            "/ledger/networks/0",
            "network:s rx_bytes_total tx_bytes_total",
        );
        has("/ledger/others", "rx_bytes_total tx_bytes_total");
        has("/ledger/days/0", "day:s rx_bytes tx_bytes");
        assert_eq!(value["ledger"]["networks"][0]["network"], "192.0.2.0/24");
        assert_eq!(value["streams"][0]["lag_ms"], 1_234);
        assert_eq!(value["streams"][0]["stripes"][1]["parent"], Value::Null);
    }

    #[test]
    fn the_lag_of_what_does_not_flow_is_null() {
        let idle = Fake::with_states(&[crate::http::status::StreamState::Idle]);
        let value: Value = serde_json::from_str(&whole(json(), &idle)).unwrap();
        assert_eq!(value["streams"][0]["lag_ms"], Value::Null);
    }

    #[test]
    fn no_limit_is_null_and_empty_tables_are_empty_lists() {
        let value: Value = serde_json::from_str(&whole(json(), &Fake::empty())).unwrap();
        assert_eq!(value["upload"]["limit_bps"], Value::Null);
        assert_eq!(value["streams"], Value::Array(Vec::new()));
        assert_eq!(value["players"], Value::Array(Vec::new()));
    }

    #[test]
    fn hostile_texts_come_out_as_they_went_in() {
        let mut fake = Fake::full();
        fake.title = String::from(HOSTILE);
        fake.disclosure = String::from(HOSTILE);
        let value: Value = serde_json::from_str(&whole(json(), &fake)).unwrap();
        assert_eq!(value["streams"][0]["title"], HOSTILE);
        assert_eq!(value["streams"][0]["disclosure"], HOSTILE);
    }

    #[test]
    fn the_longest_texts_and_numbers_fit_a_part() {
        let fake = Fake::extreme();
        let text = whole(json(), &fake);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["streams"][0]["audience"], u64::MAX);
        assert!(
            fake.title
                .starts_with(value["streams"][0]["title"].as_str().unwrap())
        );
    }

    #[test]
    fn tables_may_change_between_parts() {
        let mut valid = 0;
        for seed in 0..300 {
            let mut fake = Fake::full();
            let mut document = StatusJson::new();
            let mut text = Vec::new();
            let mut part = [0; PART_BYTES];
            while let Some(len) = document.next(&fake, &mut part) {
                text.extend_from_slice(&part[..len]);
                fake.shuffle(seed + text.len() as u64);
            }
            let value: Value = serde_json::from_slice(&text).unwrap();
            for stream in value["streams"].as_array().unwrap() {
                assert!(stream["stripes"].is_array() && stream["disclosure"].is_string());
            }
            valid += 1;
        }
        assert_eq!(valid, 300);
    }
}
