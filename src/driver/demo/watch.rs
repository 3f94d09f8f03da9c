//! What the members of the grid say about themselves over HTTP, as numbers to print.

use super::grid::{Grid, Member};
use super::programme::LOOP_BPS;
use crate::driver::status;
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::time::Instant;
use std::vec::Vec;

/// Counters of one member at one moment.
#[derive(Clone, Copy, Default, Debug)]
struct Counters {
    sent_bytes: u64,
    received_bytes: u64,
}

/// One look at all of them; rates are in times the stream's own.
#[derive(Clone, Default, Debug)]
pub struct Sample {
    /// Relays that run.
    pub relays: usize,
    /// What the source sends.
    pub source_sends: f64,
    /// What all relays receive.
    pub relays_receive: f64,
    /// What all relays send.
    pub relays_send: f64,
    /// What the listener receives.
    pub listener_receives: f64,
    /// Times the listener had to skip.
    pub gaps: u64,
    /// Bytes it skipped.
    pub missing_bytes: u64,
    /// Chunks it rebuilt or asked for again.
    pub repaired: u64,
    /// Who sends it each stripe, by name.
    parents: Vec<Option<String>>,
}

impl Sample {
    /// How many stripes the listener takes from a member.
    pub fn stripes_of(&self, name: &str) -> usize {
        let parents = self.parents.iter().flatten();
        parents.filter(|parent| *parent == name).count()
    }

    /// Stripes that a member sent before and that another one sends now.
    pub fn moved_from(&self, name: &str, before: &Self) -> usize {
        let both = self.parents.iter().zip(&before.parents);
        both.filter(|(now, then)| {
            then.as_deref() == Some(name) && now.as_deref().is_some_and(|now| now != name)
        })
        .count()
    }

    /// `source 3, relay 2 5`.
    pub fn parents_text(&self) -> String {
        let mut count = BTreeMap::new();
        for parent in self.parents.iter().flatten() {
            *count.entry(parent.as_str()).or_insert(0) += 1;
        }
        let each: Vec<String> = count
            .iter()
            .map(|(name, n)| format!("{name}: {n}"))
            .collect();
        each.join(", ")
    }
}

/// Looks at the grid from time to time.
pub struct Watch {
    began: Instant,
    at: Instant,
    before: BTreeMap<String, Counters>,
    names: BTreeMap<String, String>,
    source_sent_bytes: u64,
    last: Sample,
}

impl Watch {
    /// With a first look, from which on is counted.
    pub fn new(grid: &Grid) -> Self {
        let name = |member: &Member| (member.udp.to_string(), member.name.clone());
        let mut watch = Self {
            began: Instant::now(),
            at: Instant::now(),
            before: BTreeMap::new(),
            names: grid.members().map(name).collect(),
            source_sent_bytes: 0,
            last: Sample::default(),
        };
        watch.sample(grid);
        watch.source_sent_bytes = 0;
        watch
    }

    /// What the source sent since the beginning, in times the stream.
    pub fn source_upload_rates(&self) -> f64 {
        let seconds = self.at.duration_since(self.began).as_secs_f64().max(0.001);
        self.source_sent_bytes as f64 * 8.0 / seconds / LOOP_BPS as f64
    }

    /// Looks.
    pub fn sample(&mut self, grid: &Grid) -> Sample {
        let seconds = self.at.elapsed().as_secs_f64().max(0.001);
        self.at = Instant::now();
        let mut sample = Sample {
            relays: grid.relays.len(),
            ..self.last.clone()
        };
        (sample.relays_receive, sample.relays_send) = (0.0, 0.0);
        for member in grid.members() {
            let Some(metrics) = ask(member, "/metrics") else {
                continue;
            };
            let now = Counters {
                sent_bytes: number(&metrics, "weir_upload_bytes_total"),
                received_bytes: number(&metrics, "weir_download_bytes_total"),
            };
            let before = self.before.insert(member.name.clone(), now).unwrap_or(now);
            let times = |now: u64, then: u64| {
                now.saturating_sub(then) as f64 * 8.0 / seconds / LOOP_BPS as f64
            };
            let sends = times(now.sent_bytes, before.sent_bytes);
            let receives = times(now.received_bytes, before.received_bytes);
            match member.name.as_str() {
                "source" => {
                    sample.source_sends = sends;
                    self.source_sent_bytes += now.sent_bytes.saturating_sub(before.sent_bytes);
                }
                "listener" => {
                    sample.listener_receives = receives;
                    sample.gaps = number(&metrics, "weir_stream_gaps_total");
                    sample.missing_bytes = number(&metrics, "weir_stream_missing_bytes_total");
                    sample.repaired = number(&metrics, "weir_stream_repaired_chunks_total");
                }
                _ => {
                    sample.relays_send += sends;
                    sample.relays_receive += receives;
                }
            }
        }
        if let Some(json) = ask(&grid.listener, "/status.json") {
            sample.parents = self.parents_in(&json);
        }
        self.last = sample.clone();
        sample
    }

    /// The stripes' parents in our own `/status.json`, in order.
    fn parents_in(&self, json: &str) -> Vec<Option<String>> {
        let values = json.split("\"parent\":").skip(1);
        let address = |value: &str| {
            let quoted = value.strip_prefix('"')?;
            let address = quoted.split('"').next()?;
            Some(
                self.names
                    .get(address)
                    .map_or("somebody", String::as_str)
                    .to_string(),
            )
        };
        values.map(address).collect()
    }
}

/// Whether the stream flows through a member.
pub fn is_live(member: &Member) -> bool {
    ask(member, "/metrics").is_some_and(|metrics| number(&metrics, "weir_stream_live") == 1)
}

fn ask(member: &Member, path: &str) -> Option<String> {
    let target = member.http.to_string().parse().ok()?;
    status::body(&target, path).ok()
}

/// The value of the first sample of a family, with or without labels.
fn number(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        match rest.as_bytes().first()? {
            b' ' | b'{' => rest.rsplit(' ').next()?.parse::<f64>().ok(),
            _ => None,
        }
    });
    value.unwrap_or(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_with_and_without_labels() {
        let metrics = "# TYPE a_total counter\na_total 12\na_total_more 5\nb{stream=\"x\"} 7\n";
        assert_eq!((number(metrics, "a_total"), number(metrics, "b")), (12, 7));
        assert_eq!(number(metrics, "c"), 0);
    }
}
