//! Is the upload limit kept? Bytes sent in any second, on a raster of tenths, against the limit.

use crate::proto::bucket::MIN_LIMIT_BPS;

/// Bins a window has: ten of 100 ms.
const BINS: usize = 10;
const BIN_US: u64 = 100_000;

/// What one node sent in the last second.
#[derive(Clone, Copy, Debug)]
pub struct UploadCheck {
    limit_bytes: u64,
    /// Under a limit of nothing, nothing is forwarded; words are all there is.
    words_are_free: bool,
    bins: [u64; BINS],
    at: u64,
    sum: u64,
    /// Most bytes ever above what was allowed, in one second.
    pub worst_excess: u64,
    /// Most bytes in one second.
    pub most: u64,
}

impl UploadCheck {
    /// For a limit in bits a second (`None`: none).
    pub fn new(limit_bps: Option<u64>) -> Self {
        let limit = limit_bps.map_or(u64::MAX, |bps| bps / 8);
        Self {
            limit_bytes: limit,
            words_are_free: limit_bps.is_some_and(|bps| bps < MIN_LIMIT_BPS),
            bins: [0; BINS],
            at: 0,
            sum: 0,
            worst_excess: 0,
            most: 0,
        }
    }

    /// So many bytes left the node, headers counted.
    pub fn sent(&mut self, now_us: u64, bytes: u64, is_chunk: bool) {
        if self.words_are_free && !is_chunk {
            return;
        }
        let bin = now_us / BIN_US;
        for passed in self.at + 1..=bin.min(self.at + BINS as u64) {
            let old = core::mem::take(&mut self.bins[(passed % BINS as u64) as usize]);
            self.sum -= old;
        }
        self.at = bin;
        self.bins[(bin % BINS as u64) as usize] += bytes;
        self.sum += bytes;
        self.most = self.most.max(self.sum);
        self.worst_excess = self
            .worst_excess
            .max(self.sum.saturating_sub(self.limit_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_at_its_limit_passes_and_one_above_does_not() {
        let mut honest = UploadCheck::new(Some(800_000));
        let mut greedy = UploadCheck::new(Some(800_000));
        for ms in (0..5_000u64).step_by(10) {
            honest.sent(ms * 1_000, 1_000, true);
            greedy.sent(ms * 1_000, 1_200, false);
        }
        assert_eq!(honest.worst_excess, 0);
        // 120,000 a second against 100,000.
        assert_eq!(greedy.worst_excess, 20_000);
    }

    #[test]
    fn who_may_send_nothing_may_talk_and_not_forward() {
        let mut check = UploadCheck::new(Some(0));
        check.sent(0, 5_000, false);
        assert_eq!(check.worst_excess, 0);
        check.sent(0, 1_000, true);
        assert_eq!(check.worst_excess, 1_000);
    }

    #[test]
    fn a_burst_long_ago_is_forgotten() {
        let mut check = UploadCheck::new(Some(800_000));
        check.sent(0, 100_000, true);
        check.sent(60_000_000, 100_000, true);
        assert_eq!((check.worst_excess, check.most), (0, 100_000));
    }
}
