//! Distributions, drawn from the seeded generator or from a hash of what they belong to.

use crate::rng::Rng;

/// A number made of three others; equal inputs give equal numbers, anything else looks random.
pub fn mix(a: u64, b: u64, c: u64) -> u64 {
    let one = Rng::new(a ^ 0x5851_f42d_4c95_7f2d).next_u64();
    let two = Rng::new(one ^ b).next_u64();
    Rng::new(two ^ c).next_u64()
}

/// The upper 53 bits as a number in [0, 1).
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Exponential with this mean, from random bits.
pub fn exponential(mean: f64, bits: u64) -> f64 {
    -mean * (1.0 - unit(bits)).ln()
}

/// Lognormal with this median and sigma, from two sets of random bits (Box and Muller 1958).
pub fn lognormal(median: f64, sigma: f64, bits: u64, more: u64) -> f64 {
    let radius = (-2.0 * (1.0 - unit(bits)).ln()).sqrt();
    let normal = radius * (core::f64::consts::TAU * unit(more)).cos();
    median * (sigma * normal).exp()
}

/// The value of an ordered sample below which this share of it lies (nearest rank); 0 of nothing.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let at = rank.saturating_sub(1).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_medians_are_what_was_asked_for() {
        let mut rng = Rng::new(3);
        let n = 20_000;
        let mean = (0..n)
            .map(|_| exponential(50.0, rng.next_u64()))
            .sum::<f64>()
            / f64::from(n);
        assert!((mean - 50.0).abs() < 1.5, "{mean}");
        let mut drawn: std::vec::Vec<f64> = (0..n)
            .map(|_| lognormal(8.0, 0.5, rng.next_u64(), rng.next_u64()))
            .collect();
        drawn.sort_by(f64::total_cmp);
        assert!((percentile(&drawn, 0.5) - 8.0).abs() < 0.2);
        // One sigma above the median: 8 e^0.5.
        assert!((percentile(&drawn, 0.8413) - 13.19).abs() < 0.4);
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let sample = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(
            [0.01, 0.5, 0.99].map(|p| percentile(&sample, p)),
            [1.0, 2.0, 4.0]
        );
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}
