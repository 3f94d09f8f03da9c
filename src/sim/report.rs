//! The table: what came out, how it is spread, and whether that is what the scenario expects.

use super::results::{Record, Spread, Tally};
use super::scenario::Scenario;
use super::topology;
use std::fmt::Write;
use std::format;
use std::string::String;
use std::vec::Vec;

/// One row of the table.
pub struct Row {
    /// Name, stable.
    pub name: &'static str,
    /// Values.
    pub spread: Spread,
}

/// One expectation.
pub struct Verdict {
    /// Name, as in the scenario.
    pub name: &'static str,
    /// What came out, and the limit.
    pub value: f64,
    /// See `value`.
    pub limit: f64,
    /// It was kept.
    pub well: bool,
}

/// Everything there is to tell about a run.
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// Nodes, and simulated seconds.
    pub nodes: usize,
    /// See `nodes`.
    pub seconds: u64,
    /// The table.
    pub rows: Vec<Row>,
    /// Played of what should have been played, all listeners together.
    pub continuity: f64,
    /// What was expected.
    pub verdicts: Vec<Verdict>,
    /// Listeners that never played, though they had the time.
    pub never_played: usize,
    /// Nodes that took all in.
    pub tally: Tally,
}

impl Report {
    /// Reckons it up.
    pub fn new(name: &str, scenario: &Scenario, tally: Tally) -> Self {
        let bitrate = scenario.bitrate_bps() as f64;
        let listeners = || tally.records.iter().filter(|record| record.plays);
        let others = || tally.records.iter().filter(|record| record.group.is_some());
        let lived = |record: &&Record| record.seconds() >= 5.0;
        let stream_bytes = |record: &Record| record.seconds() * bitrate / 8.0;
        let started = |record: &Record| Some((record.started_us? - record.joined_us) as f64 / 1e6);
        let chunks =
            |record: &Record| (record.stream.chunks + record.stream.duplicate).max(1) as f64;
        let seconds: Vec<_> = tally
            .seconds
            .iter()
            .take(scenario.seconds as usize)
            .collect();
        let measured = || seconds.iter().skip(scenario.measure_from as usize);
        let rows = Vec::from([
            Row {
                name: "start-up s",
                spread: Spread::of(
                    listeners()
                        .filter(|r| {
                            r.joined_us >= scenario.measure_from * 1_000_000
                                || scenario.measure_from <= 30
                        })
                        .filter_map(started),
                ),
            },
            Row {
                name: "continuity",
                spread: Spread::of(
                    listeners()
                        .filter(|r| r.should() > 0.0)
                        .map(Record::continuity),
                ),
            },
            Row {
                name: "longest stall s",
                spread: Spread::of(listeners().map(|r| r.longest_stall_us as f64 / 1e6)),
            },
            Row {
                name: "longest pause s",
                spread: Spread::of(listeners().map(|r| r.longest_pause_us as f64 / 1e6)),
            },
            Row {
                name: "lag s",
                spread: Spread::of_histogram(&tally.lag),
            },
            Row {
                name: "newest byte s",
                spread: Spread::of_histogram(&tally.delivery),
            },
            Row {
                name: "hops",
                spread: Spread::of(listeners().filter(lived).map(|r| f64::from(r.hops))),
            },
            Row {
                name: "source upload",
                spread: Spread::of(measured().map(|s| s.source_tx_bytes as f64 * 8.0 / bitrate)),
            },
            Row {
                name: "source requests/s",
                spread: Spread::of(seconds.iter().map(|s| s.source_rx_datagrams as f64)),
            },
            Row {
                name: "source knocks/s",
                spread: Spread::of(seconds.iter().map(|s| s.source_sessions as f64)),
            },
            Row {
                name: "upload/limit",
                spread: Spread::of(others().filter(lived).filter_map(|r| {
                    let limit = r.upload_limit_bps.filter(|limit| *limit > 0)?;
                    Some(r.total.tx_bytes as f64 * 8.0 / r.seconds() / limit as f64)
                })),
            },
            Row {
                name: "received/stream",
                spread: Spread::of(
                    listeners()
                        .filter(lived)
                        .map(|r| r.total.rx_bytes as f64 / stream_bytes(r)),
                ),
            },
            Row {
                name: "control share",
                spread: Spread::of(
                    others()
                        .filter(lived)
                        .map(|r| r.total.tx_control_bytes as f64 / stream_bytes(r)),
                ),
            },
            Row {
                name: "seal share",
                spread: Spread::of(
                    others()
                        .filter(lived)
                        .map(|r| r.total.tx_seal_bytes as f64 / stream_bytes(r)),
                ),
            },
            Row {
                name: "repair share",
                spread: Spread::of(
                    listeners()
                        .filter(lived)
                        .map(|r| r.stream.repaired as f64 / chunks(r)),
                ),
            },
            Row {
                name: "duplicate share",
                spread: Spread::of(
                    listeners()
                        .filter(lived)
                        .map(|r| r.stream.duplicate as f64 / chunks(r)),
                ),
            },
            Row {
                name: "parents lost/min",
                spread: Spread::of(
                    listeners()
                        .filter(lived)
                        .map(|r| r.stream.parents_lost as f64 * 60.0 / r.seconds()),
                ),
            },
        ]);
        let played: f64 = listeners().map(|r| r.played).sum();
        let should: f64 = listeners().map(Record::should).sum();
        let mut report = Self {
            name: name.into(),
            seed: scenario.seed,
            nodes: scenario.nodes(),
            seconds: scenario.seconds,
            rows,
            continuity: if should > 0.0 { played / should } else { 0.0 },
            verdicts: Vec::new(),
            never_played: listeners()
                .filter(|r| r.started_us.is_none() && r.stalled > 0.0)
                .count(),
            tally,
        };
        report.judge(scenario);
        report
    }

    /// The spread in a row.
    pub fn row(&self, name: &str) -> Spread {
        let row = self.rows.iter().find(|row| row.name == name);
        row.map_or(Spread::default(), |row| row.spread)
    }

    fn judge(&mut self, scenario: &Scenario) {
        let expect = &scenario.expect;
        let in_5s = {
            let joined = self
                .tally
                .records
                .iter()
                .filter(|r| r.plays && r.left_us >= r.joined_us + 5_000_000);
            let soon = |r: &&Record| r.started_us.is_some_and(|at| at <= r.joined_us + 5_000_000);
            joined.clone().filter(soon).count() as f64 / joined.count().max(1) as f64
        };
        let seconds_max = |name| self.row(name).max;
        let control = self.row("control share");
        // What children say and a few that knock; it does not depend on how many there are.
        let few = 200 + 50 * scenario.source.max_children as u64;
        let requests = expect.source_requests.unwrap_or(few);
        let at_least = [
            ("continuity", self.continuity, expect.continuity),
            ("playing_in_5s", in_5s, expect.playing_in_5s),
        ];
        let at_most = [
            ("lag_p99", self.row("lag s").p99, expect.lag_p99),
            (
                "lag_end_p99",
                self.tally.lag_end.percentile(0.99),
                expect.lag_end_p99,
            ),
            (
                "startup_p99",
                self.row("start-up s").p99,
                expect.startup_p99,
            ),
            (
                "source_upload",
                seconds_max("source upload"),
                expect.source_upload,
            ),
            (
                "source_requests",
                seconds_max("source requests/s"),
                Some(requests as f64),
            ),
            (
                "longest_pause",
                self.row("longest pause s").max,
                expect.longest_pause,
            ),
            ("control_p99", control.p99, expect.control_p99),
            ("control_mean", control.mean, expect.control_mean),
            (
                "duplicates",
                self.row("duplicate share").mean,
                expect.duplicates,
            ),
            ("wrong", self.tally.wrong_count as f64, Some(0.0)),
        ];
        let least = at_least.iter().filter_map(|&(name, value, limit)| {
            let limit = limit?;
            Some(Verdict {
                name,
                value,
                limit,
                well: value >= limit,
            })
        });
        let most = at_most.iter().filter_map(|&(name, value, limit)| {
            let limit = limit?;
            Some(Verdict {
                name,
                value,
                limit,
                well: value <= limit,
            })
        });
        self.verdicts = least.chain(most).collect();
    }

    /// Whether all is as expected.
    pub fn is_well(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.well)
    }

    /// The table as text.
    pub fn text(&self, worst: usize) -> String {
        let mut out = String::new();
        let t = &self.tally;
        let _ = writeln!(
            out,
            "{} seed {}: {} nodes, {} s",
            self.name, self.seed, self.nodes, self.seconds
        );
        let _ = writeln!(
            out,
            "{:<18} {:>7} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "", "of", "mean", "min", "p1", "p50", "p99", "max"
        );
        for Row { name, spread: s } in &self.rows {
            let cells = [s.mean, s.min, s.p1, s.p50, s.p99, s.max].map(number);
            let _ = writeln!(
                out,
                "{name:<18} {:>7} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
                s.count, cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]
            );
        }
        let _ = writeln!(
            out,
            "continuity of all {:.6}, never played {}, lag in the last 10 s p99 {:.2} s",
            self.continuity,
            self.never_played,
            t.lag_end.percentile(0.99)
        );
        let _ = writeln!(
            out,
            "datagrams sent {} delivered {} lost {} dropped by queues {} by NATs {} to nobody {}; pools {} MiB; digest {:016x}",
            t.sent,
            t.delivered,
            t.lost,
            t.queue_drops,
            t.nat_drops,
            t.nowhere,
            t.pool_bytes >> 20,
            t.digest
        );
        if worst > 0 {
            let mut rest = t.edges.as_slice();
            while let Some(first) = rest.first() {
                let (now, later) =
                    rest.split_at(rest.partition_point(|edge| edge.second == first.second));
                let _ = writeln!(
                    out,
                    "{:>5} s: {}",
                    first.second,
                    topology::describe(now, self.nodes)
                );
                rest = later;
            }
        }
        let mut bad: Vec<&Record> = t
            .records
            .iter()
            .filter(|r| r.plays && r.continuity() < 1.0)
            .collect();
        bad.sort_by(|a, b| a.continuity().total_cmp(&b.continuity()));
        if worst > 0 && !bad.is_empty() {
            let _ = writeln!(out, "{} lives below 1; the worst:", bad.len());
        }
        for r in bad.iter().take(worst) {
            let bytes_per_s = r.should() / r.seconds().max(0.001);
            let _ = writeln!(
                out,
                "  node {} life {}: continuity {:.4}, joined {:.1} s, left {:.1} s, began {}, stalled {:.2} s, missing {:.2} s, gaps {}, parents lost {}, repaired {}, invalid {}, hops {}, limit {:?}",
                r.node,
                r.life,
                r.continuity(),
                r.joined_us as f64 / 1e6,
                r.left_us as f64 / 1e6,
                r.started_us
                    .map_or("never".into(), |at| format!("{:.1} s", at as f64 / 1e6)),
                r.stalled / bytes_per_s,
                r.missing / bytes_per_s,
                r.stream.gaps,
                r.stream.parents_lost,
                r.stream.repaired,
                r.stream.invalid,
                r.hops,
                r.upload_limit_bps
            );
        }
        let mut loud: Vec<&Record> = t.records.iter().filter(|r| r.seconds() >= 5.0).collect();
        loud.sort_by_key(|r| {
            core::cmp::Reverse((r.total.tx_control_bytes as f64 / r.seconds()) as u64)
        });
        for r in loud.iter().take(worst.min(3)) {
            let per_s = |count: u64| count as f64 / r.seconds();
            let _ = writeln!(
                out,
                "  most control: node {} life {}: {:.0} B/s of {:.0} sent, {:.1} chunks forwarded and {:.1} repaired for others a second, {:.2} repaired here, {:.2} sessions opened, hops {}, limit {:?}",
                r.node,
                r.life,
                per_s(r.total.tx_control_bytes),
                per_s(r.total.tx_bytes),
                per_s(r.stream.forwarded),
                per_s(r.stream.repairs_sent),
                per_s(r.stream.repaired),
                per_s(r.total.sessions),
                r.hops,
                r.upload_limit_bps
            );
        }
        for what in t.wrong.iter().take(worst.max(5)) {
            let _ = writeln!(out, "WRONG: {what}");
        }
        for v in &self.verdicts {
            let _ = writeln!(
                out,
                "{} {}: {} (limit {})",
                if v.well { "well " } else { "SHORT" },
                v.name,
                number(v.value),
                number(v.limit)
            );
        }
        out
    }

    /// The same as one JSON object.
    pub fn json(&self) -> String {
        let mut out = String::new();
        let t = &self.tally;
        let _ = write!(
            out,
            "{{\"scenario\":\"{}\",\"seed\":{},\"nodes\":{},\"seconds\":{},\"digest\":\"{:016x}\",\"continuity\":{},\"never_played\":{},\"well\":{},\"rows\":{{",
            self.name,
            self.seed,
            self.nodes,
            self.seconds,
            t.digest,
            json_number(self.continuity),
            self.never_played,
            self.is_well()
        );
        for (i, Row { name, spread: s }) in self.rows.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}\"{name}\":{{\"count\":{},\"mean\":{},\"min\":{},\"p1\":{},\"p50\":{},\"p99\":{},\"max\":{}}}",
                s.count,
                json_number(s.mean),
                json_number(s.min),
                json_number(s.p1),
                json_number(s.p50),
                json_number(s.p99),
                json_number(s.max)
            );
        }
        let _ = write!(out, "}},\"verdicts\":[");
        for (i, v) in self.verdicts.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}{{\"name\":\"{}\",\"value\":{},\"limit\":{},\"well\":{}}}",
                v.name,
                json_number(v.value),
                json_number(v.limit),
                v.well
            );
        }
        let _ = write!(
            out,
            "],\"datagrams\":{{\"sent\":{},\"delivered\":{},\"lost\":{},\"queue_drops\":{},\"nat_drops\":{},\"nowhere\":{}}},\"series\":{{",
            t.sent, t.delivered, t.lost, t.queue_drops, t.nat_drops, t.nowhere
        );
        let seconds = &t.seconds[..t.seconds.len() - 1];
        let series: [(&str, Vec<f64>); 6] = [
            (
                "present",
                seconds.iter().map(|s| s.present as f64).collect(),
            ),
            (
                "playing",
                seconds.iter().map(|s| s.playing as f64).collect(),
            ),
            (
                "stalled_bytes",
                seconds.iter().map(|s| s.stalled.round()).collect(),
            ),
            ("missing_bytes", seconds.iter().map(|s| s.missing).collect()),
            (
                "source_tx_bytes",
                seconds.iter().map(|s| s.source_tx_bytes as f64).collect(),
            ),
            (
                "source_rx_datagrams",
                seconds
                    .iter()
                    .map(|s| s.source_rx_datagrams as f64)
                    .collect(),
            ),
        ];
        for (i, (name, values)) in series.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let list: Vec<String> = values.iter().map(|v| format!("{v}")).collect();
            let _ = write!(out, "{comma}\"{name}\":[{}]", list.join(","));
        }
        out.push_str("}}");
        out
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".into(),
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.5}"),
    }
}

fn json_number(value: f64) -> String {
    if value.is_finite() {
        format!("{value}")
    } else {
        "null".into()
    }
}
