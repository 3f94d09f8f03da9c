//! The net between the access lines: how long a datagram is under way, and whether it arrives.

use super::dist::{exponential, lognormal, mix, unit};
use serde::Deserialize;
use std::vec::Vec;

/// Spacing of the points between which jitter is drawn straight.
const KNOT_US: u64 = 100_000;

/// Most jitter: less than the knots' distance, so that no datagram overtakes an earlier one by jitter alone.
const MAX_JITTER_MS: f64 = 90.0;

/// Parameters of the net.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Nodes lie in a square of this width, in ms of one-way delay.
    pub width_ms: f64,
    /// Median delay of an access line; lognormal with `access_sigma`.
    pub access_ms: f64,
    /// See `access_ms`.
    pub access_sigma: f64,
    /// Least one-way delay between two nodes.
    pub least_ms: u64,
    /// Mean of the jitter, which wanders slowly and keeps the order.
    pub jitter_ms: f64,
    /// Share of datagrams lost.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// Share of datagrams that are late by up to `reorder_ms`.
    pub reorder: f64,
    /// See `reorder`.
    pub reorder_ms: f64,
    /// Queue of an access line.
    pub queue_ms: u64,
    /// A NAT forgets an address after so long.
    pub nat_timeout: f64,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            width_ms: 40.0,
            access_ms: 6.0,
            access_sigma: 0.5,
            least_ms: 3,
            jitter_ms: 2.0,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_ms: 30.0,
            queue_ms: 200,
            nat_timeout: 60.0,
        }
    }
}

#[derive(Clone, Copy)]
struct Place {
    x: f64,
    y: f64,
    access_ms: f64,
}

/// Where everybody is.
pub struct Geography {
    network: Network,
    places: Vec<Place>,
    seed: u64,
}

impl Geography {
    /// Places for so many nodes.
    pub fn new(network: &Network, nodes: usize, seed: u64) -> Self {
        let place = |node: u64| {
            let draw = |what| mix(seed, node, what);
            Place {
                x: unit(draw(1)) * network.width_ms,
                y: unit(draw(2)) * network.width_ms,
                access_ms: lognormal(network.access_ms, network.access_sigma, draw(3), draw(4)),
            }
        };
        Self {
            network: network.clone(),
            places: (0..nodes as u64).map(place).collect(),
            seed,
        }
    }

    /// One-way delay between two nodes without jitter, ms.
    pub fn base_ms(&self, from: u32, to: u32) -> f64 {
        let (a, b) = (&self.places[from as usize], &self.places[to as usize]);
        let distance = ((a.x - b.x).powi(2) + (a.y - b.y).powi(2)).sqrt();
        (distance + a.access_ms + b.access_ms).max(self.network.least_ms as f64)
    }

    /// One-way delay at a moment, µs.
    pub fn delay_us(&self, from: u32, to: u32, now_us: u64) -> u64 {
        let pair = u64::from(from) << 32 | u64::from(to);
        let knot = now_us / KNOT_US;
        let at = |knot| {
            exponential(self.network.jitter_ms, mix(self.seed, pair, knot)).min(MAX_JITTER_MS)
        };
        let way = (now_us % KNOT_US) as f64 / KNOT_US as f64;
        let jitter = if self.network.jitter_ms > 0.0 {
            at(knot) * (1.0 - way) + at(knot + 1) * way
        } else {
            0.0
        };
        ((self.base_ms(from, to) + jitter) * 1e3) as u64
    }

    /// The parameters.
    pub fn network(&self) -> &Network {
        &self.network
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::dist::percentile;

    #[test]
    fn delays_follow_the_parameters() {
        let network = Network {
            width_ms: 0.0,
            access_ms: 10.0,
            access_sigma: 0.6,
            jitter_ms: 4.0,
            ..Network::default()
        };
        let net = Geography::new(&network, 2_000, 1);
        let mut base: Vec<f64> = (0..1_000)
            .map(|i| net.base_ms(i, 1_999) - net.places[1_999].access_ms)
            .collect();
        base.sort_by(f64::total_cmp);
        assert!((percentile(&base, 0.5) - 10.0).abs() < 1.0);
        assert!((percentile(&base, 0.8413) - 18.2).abs() < 2.0);
        let mean = (0..10_000u64)
            .map(|i| net.delay_us(1, 2, i * KNOT_US) as f64 / 1e3 - net.base_ms(1, 2))
            .sum::<f64>()
            / 10_000.0;
        assert!((mean - 4.0).abs() < 0.2, "{mean}");
    }

    #[test]
    fn jitter_alone_never_reorders() {
        let network = Network {
            jitter_ms: 60.0,
            ..Network::default()
        };
        let net = Geography::new(&network, 10, 1);
        let mut last = 0;
        for now in (0..60_000_000).step_by(1_370) {
            let arrives = now + net.delay_us(3, 4, now);
            assert!(arrives >= last);
            last = arrives;
        }
    }

    #[test]
    fn far_nodes_take_longer_and_none_is_nearer_than_the_least() {
        let net = Geography::new(&Network::default(), 500, 1);
        let delays: Vec<f64> = (1..500).map(|i| net.base_ms(0, i)).collect();
        assert!(delays.iter().all(|&ms| ms >= 3.0));
        assert!(delays.iter().any(|&ms| ms > 30.0) && delays.iter().any(|&ms| ms < 25.0));
    }
}
