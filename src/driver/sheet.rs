//! What players in step are given, in one piece. Two hundred who stand at the same place read the same sixteen chunks; to find
//! them and to take them in costs the kernel and this program more than to copy them once.

use crate::limits::MAX_BLOCK_BYTES;
use crate::proto::spot::Spot;
use std::vec::Vec;

/// What players in step are given at a time: from the last cut in one block to that in the next.
const SHEET_BYTES: usize = 2 * MAX_BLOCK_BYTES;

/// What a sheet takes for so many players: nothing for one.
pub const fn room_bytes(players: u16) -> usize {
    if players > 1 { SHEET_BYTES } else { 0 }
}

/// The media behind one spot.
pub struct Sheet {
    spot: Option<Spot>,
    /// Empty as long as only one player was there.
    bytes: Vec<u8>,
}

impl Sheet {
    /// With room for `bytes`; whatever is longer is not kept.
    pub fn new(bytes: usize) -> Self {
        Self {
            spot: None,
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// What is behind this spot, if it is kept.
    pub fn at(&self, spot: Option<Spot>) -> Option<&[u8]> {
        let is_here = spot.is_some() && spot == self.spot && !self.bytes.is_empty();
        is_here.then_some(&self.bytes)
    }

    /// A player at this spot was shown these pieces: they are kept when the one before it was there too.
    pub fn show(&mut self, spot: Option<Spot>, pieces: &[&[u8]]) {
        let again = spot.is_some() && spot == self.spot;
        self.spot = spot;
        self.bytes.clear();
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        if again && bytes <= self.bytes.capacity() {
            pieces
                .iter()
                .for_each(|piece| self.bytes.extend_from_slice(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn spot(block: u64) -> Option<Spot> {
        Some(Spot {
            stream: 0,
            at: (block, 0),
            limit: (block + 1, 0),
            sealed_at: Instant::ZERO,
        })
    }

    #[test]
    fn the_second_player_at_a_spot_leaves_it_for_the_third() {
        let mut sheet = Sheet::new(8);
        for (player, kept) in [(1, None), (2, None), (3, Some(&b"abcd"[..]))] {
            assert_eq!(sheet.at(spot(7)), kept, "{player}");
            sheet.show(spot(7), &[b"ab", b"cd"]);
        }
        assert_eq!(sheet.at(spot(8)), None);
        assert_eq!(sheet.at(None), None);
    }

    #[test]
    fn what_has_no_room_or_no_spot_is_not_kept() {
        let mut sheet = Sheet::new(3);
        for _ in 0..3 {
            sheet.show(spot(7), &[b"ab", b"cd"]);
            assert_eq!(sheet.at(spot(7)), None);
            sheet.show(None, &[b"ab"]);
            assert_eq!(sheet.at(None), None);
        }
        assert!(sheet.bytes.capacity() < 4);
    }
}
