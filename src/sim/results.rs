//! What is measured while a world runs.

use super::dist::percentile;
use crate::proto::stats::{NodeStats, StreamStats};
use std::string::String;
use std::vec::Vec;

/// One life of one node, from its joining (or the beginning of the measurement) to its end.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Node and how many lived there before.
    pub node: u32,
    /// See `node`.
    pub life: u32,
    /// Its group; `None` for the source.
    pub group: Option<usize>,
    /// It has a player.
    pub plays: bool,
    /// When it joined and went, µs.
    pub joined_us: u64,
    /// See `joined_us`.
    pub left_us: u64,
    /// When playing began.
    pub started_us: Option<u64>,
    /// Counted from then on.
    pub counted_us: u64,
    /// Media bytes played, left out, and not there in time.
    pub played: f64,
    /// See `played`.
    pub missing: f64,
    /// See `played`.
    pub stalled: f64,
    /// Longest stall, µs.
    pub longest_stall_us: u64,
    /// See [`super::viewer::Viewer`].
    pub longest_pause_us: u64,
    /// Hops from the source at the end.
    pub hops: u8,
    /// Differences of the engine's counters.
    pub stream: StreamStats,
    /// See `stream`.
    pub total: NodeStats,
    /// Upload limit.
    pub upload_limit_bps: Option<u64>,
    /// Most bytes above limit and bucket in any second.
    pub upload_excess: u64,
}

impl Record {
    /// Played of what should have been played; 1 when nothing should have been.
    pub fn continuity(&self) -> f64 {
        let should = self.should();
        if should > 0.0 {
            self.played / should
        } else {
            1.0
        }
    }

    /// What should have been played.
    pub fn should(&self) -> f64 {
        self.played + self.missing + self.stalled
    }

    /// Seconds that count.
    pub fn seconds(&self) -> f64 {
        self.left_us.saturating_sub(self.counted_us) as f64 / 1e6
    }
}

/// One second of the whole world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    /// Listeners that are there.
    pub present: u64,
    /// Of these, playing.
    pub playing: u64,
    /// Media bytes that were not there in time.
    pub stalled: f64,
    /// Media bytes left out.
    pub missing: f64,
    /// Bytes and datagrams at the source.
    pub source_tx_bytes: u64,
    /// See `source_tx_bytes`.
    pub source_rx_datagrams: u64,
    /// Sessions the source opened and turned away.
    pub source_sessions: u64,
}

/// Counts of values in equal bins.
#[derive(Clone, Debug)]
pub struct Histogram {
    bins: Vec<u64>,
    width: f64,
}

impl Histogram {
    /// Bins of this width; what lies above `most` counts as `most`.
    pub fn new(width: f64, most: f64) -> Self {
        Self {
            bins: std::vec![0; (most / width) as usize + 1],
            width,
        }
    }

    /// Counts a value.
    pub fn add(&mut self, value: f64) {
        let at = ((value / self.width) as usize).min(self.bins.len() - 1);
        self.bins[at] += 1;
    }

    /// Adds another one of the same shape.
    pub fn merge(&mut self, other: &Self) {
        self.bins
            .iter_mut()
            .zip(&other.bins)
            .for_each(|(a, b)| *a += b);
    }

    /// The upper end of the bin in which this share lies; 0 of nothing.
    pub fn percentile(&self, share: f64) -> f64 {
        let total: u64 = self.bins.iter().sum();
        let rank = ((share * total as f64).ceil() as u64).max(1);
        let mut sum = 0;
        let at = self.bins.iter().position(|n| {
            sum += n;
            sum >= rank
        });
        at.map_or(0.0, |at| (at + 1) as f64 * self.width)
    }
}

/// Everything measured.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Lives that ended, in no order.
    pub records: Vec<Record>,
    /// By second.
    pub seconds: Vec<Second>,
    /// Lag of what is being played, each listener once a second, s.
    pub lag: Histogram,
    /// Of the last ten seconds.
    pub lag_end: Histogram,
    /// Lag of the newest byte that came out.
    pub delivery: Histogram,
    /// Things that must not happen: at most some of each shard, and how many.
    pub wrong: Vec<String>,
    /// See `wrong`.
    pub wrong_count: u64,
    /// Datagrams: sent, lost on the way, dropped by queues, stopped by NATs, to nobody, delivered.
    pub sent: u64,
    /// See `sent`.
    pub lost: u64,
    /// See `sent`.
    pub queue_drops: u64,
    /// See `sent`.
    pub nat_drops: u64,
    /// See `sent`.
    pub nowhere: u64,
    /// See `sent`.
    pub delivered: u64,
    /// Sum of the nodes' digests of everything they were given.
    pub digest: u64,
    /// Bytes of pools set up.
    pub pool_bytes: u64,
    /// Who feeds whom, every ten seconds.
    pub edges: Vec<super::topology::Edge>,
}

impl Tally {
    /// For so many seconds.
    pub fn new(seconds: u64) -> Self {
        Self {
            records: Vec::new(),
            seconds: std::vec![Second::default(); seconds as usize + 1],
            lag: Histogram::new(0.01, 120.0),
            lag_end: Histogram::new(0.01, 120.0),
            delivery: Histogram::new(0.01, 120.0),
            wrong: Vec::new(),
            wrong_count: 0,
            sent: 0,
            lost: 0,
            queue_drops: 0,
            nat_drops: 0,
            nowhere: 0,
            delivered: 0,
            digest: 0,
            pool_bytes: 0,
            edges: Vec::new(),
        }
    }

    /// Notes something that must not happen.
    pub fn complain(&mut self, what: impl FnOnce() -> String) {
        self.wrong_count += 1;
        if self.wrong.len() < 20 {
            self.wrong.push(what());
        }
    }

    /// Adds what another shard measured.
    pub fn merge(&mut self, mut other: Self) {
        self.records.append(&mut other.records);
        for (a, b) in self.seconds.iter_mut().zip(&other.seconds) {
            a.present += b.present;
            a.playing += b.playing;
            a.stalled += b.stalled;
            a.missing += b.missing;
            a.source_tx_bytes += b.source_tx_bytes;
            a.source_rx_datagrams += b.source_rx_datagrams;
            a.source_sessions += b.source_sessions;
        }
        self.lag.merge(&other.lag);
        self.lag_end.merge(&other.lag_end);
        self.delivery.merge(&other.delivery);
        self.wrong.append(&mut other.wrong);
        self.wrong_count += other.wrong_count;
        self.sent += other.sent;
        self.lost += other.lost;
        self.queue_drops += other.queue_drops;
        self.nat_drops += other.nat_drops;
        self.nowhere += other.nowhere;
        self.delivered += other.delivered;
        self.digest = self.digest.wrapping_add(other.digest);
        self.pool_bytes += other.pool_bytes;
        self.edges.append(&mut other.edges);
    }
}

/// How values are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// Mean, and percentiles.
    pub mean: f64,
    /// See `mean`.
    pub min: f64,
    /// See `mean`.
    pub p1: f64,
    /// See `mean`.
    pub p50: f64,
    /// See `mean`.
    pub p99: f64,
    /// See `mean`.
    pub max: f64,
}

impl Spread {
    /// The spread of some values.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            count: sorted.len(),
            mean: sorted.iter().fold(0.0, |sum, value| sum + value) / sorted.len().max(1) as f64,
            min: percentile(&sorted, 0.0),
            p1: percentile(&sorted, 0.01),
            p50: percentile(&sorted, 0.5),
            p99: percentile(&sorted, 0.99),
            max: percentile(&sorted, 1.0),
        }
    }

    /// The spread of a histogram.
    pub fn of_histogram(histogram: &Histogram) -> Self {
        Self {
            count: histogram.bins.iter().sum::<u64>() as usize,
            mean: f64::NAN,
            min: histogram.percentile(0.0),
            p1: histogram.percentile(0.01),
            p50: histogram.percentile(0.5),
            p99: histogram.percentile(0.99),
            max: histogram.percentile(1.0),
        }
    }
}

/// `now - then` of every counter of a stream.
pub fn stream_since(now: &StreamStats, then: &StreamStats) -> StreamStats {
    StreamStats {
        rx_bytes: now.rx_bytes - then.rx_bytes,
        tx_bytes: now.tx_bytes - then.tx_bytes,
        chunks: now.chunks - then.chunks,
        played_bytes: now.played_bytes - then.played_bytes,
        duplicate: now.duplicate - then.duplicate,
        invalid: now.invalid - then.invalid,
        dropped: now.dropped - then.dropped,
        repaired: now.repaired - then.repaired,
        rebuilt: now.rebuilt - then.rebuilt,
        gaps: now.gaps - then.gaps,
        missing_bytes: now.missing_bytes - then.missing_bytes,
        forwarded: now.forwarded - then.forwarded,
        repairs_sent: now.repairs_sent - then.repairs_sent,
        skipped: now.skipped - then.skipped,
        seals: now.seals - then.seals,
        parents_lost: now.parents_lost - then.parents_lost,
    }
}

/// `now - then` of every counter of a node.
pub fn node_since(now: &NodeStats, then: &NodeStats) -> NodeStats {
    NodeStats {
        rx_datagrams: now.rx_datagrams - then.rx_datagrams,
        rx_bytes: now.rx_bytes - then.rx_bytes,
        tx_datagrams: now.tx_datagrams - then.tx_datagrams,
        tx_bytes: now.tx_bytes - then.tx_bytes,
        tx_control_bytes: now.tx_control_bytes - then.tx_control_bytes,
        tx_seal_bytes: now.tx_seal_bytes - then.tx_seal_bytes,
        malformed: now.malformed - then.malformed,
        stray: now.stray - then.stray,
        turned_away: now.turned_away - then.turned_away,
        sessions: now.sessions - then.sessions,
        silent: now.silent - then.silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_knows_its_percentiles() {
        let mut histogram = Histogram::new(0.5, 100.0);
        (0..100).for_each(|i| histogram.add(f64::from(i)));
        assert!((histogram.percentile(0.5) - 49.5).abs() < 0.51);
        assert!((histogram.percentile(0.99) - 98.5).abs() < 0.51);
        histogram.add(1e9);
        assert!(histogram.percentile(1.0) >= 100.0);
    }
}
