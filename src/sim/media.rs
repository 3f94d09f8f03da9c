//! The programme: bytes that follow from their position, so that whatever comes out anywhere can be checked byte by byte
//! without keeping any of it. Cells of 64 bytes; each begins with its number.

use super::dist::mix;

/// Bytes of a cell. Every piece of media begins with one, and so does every output after a gap.
pub const CELL_BYTES: usize = 64;

/// What precedes the media at every player.
pub const PREAMBLE: &[u8; 24] = b"weir simulated programme";

/// The cell with this number, in the programme of `seed`.
pub fn cell(seed: u64, number: u64) -> [u8; CELL_BYTES] {
    let mut out = [0; CELL_BYTES];
    let mut state = mix(seed, number, 0);
    out[..8].copy_from_slice(&number.to_be_bytes());
    for word in out[8..].chunks_exact_mut(8) {
        // Xorshift (Marsaglia 2003): cheap, and any bit out of place shows.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_be_bytes());
    }
    out
}

/// Something was played that must not have been.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// Before the preamble was complete.
    Preamble,
    /// A byte differs from what the source took in.
    Byte(u64),
    /// The output went back, or on in the middle of a cell.
    Order(u64),
}

/// Checks one player's output.
#[derive(Clone, Debug)]
pub struct Checker {
    seed: u64,
    preamble_bytes: usize,
    /// Position of the next byte; `None` before the first.
    next: Option<u64>,
    cell: [u8; CELL_BYTES],
    /// First bytes of a cell, until its number is complete.
    head: [u8; 8],
    filled: usize,
}

/// What a piece of output was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// Media bytes.
    pub bytes: u64,
    /// Media bytes left out before or between them.
    pub skipped: u64,
}

impl Checker {
    /// For a player that has heard nothing yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            preamble_bytes: 0,
            next: None,
            cell: [0; CELL_BYTES],
            head: [0; 8],
            filled: 0,
        }
    }

    /// Position of the next byte, once media was heard.
    pub fn position(&self) -> Option<u64> {
        self.next
    }

    /// Takes in output; says what it was or what was wrong with it.
    pub fn hear(&mut self, mut bytes: &[u8]) -> Result<Heard, Wrong> {
        let mut heard = Heard::default();
        if self.preamble_bytes < PREAMBLE.len() {
            let n = bytes.len().min(PREAMBLE.len() - self.preamble_bytes);
            if bytes[..n] != PREAMBLE[self.preamble_bytes..][..n] {
                return Err(Wrong::Preamble);
            }
            self.preamble_bytes += n;
            bytes = &bytes[n..];
        }
        while !bytes.is_empty() {
            let used = match self.filled {
                at if at < 8 => self.hear_number(bytes, &mut heard)?,
                at => {
                    let n = bytes.len().min(CELL_BYTES - at);
                    if bytes[..n] != self.cell[at..][..n] {
                        return Err(Wrong::Byte(self.next.unwrap_or(0)));
                    }
                    self.filled += n;
                    n
                }
            };
            heard.bytes += used as u64;
            self.next = self.next.map(|next| next + used as u64);
            if self.filled == CELL_BYTES {
                self.filled = 0;
            }
            bytes = &bytes[used..];
        }
        Ok(heard)
    }

    /// The number at the beginning of a cell: the next one, or a later one after a gap.
    fn hear_number(&mut self, bytes: &[u8], heard: &mut Heard) -> Result<usize, Wrong> {
        let n = bytes.len().min(8 - self.filled);
        self.head[self.filled..][..n].copy_from_slice(&bytes[..n]);
        self.filled += n;
        if self.filled == 8 {
            let number = u64::from_be_bytes(self.head);
            // Bytes of this number already counted in an earlier piece.
            let before = (8 - n) as u64;
            let here = number
                .saturating_mul(CELL_BYTES as u64)
                .saturating_add(before);
            if let Some(expected) = self.next {
                let jump = here.checked_sub(expected).ok_or(Wrong::Order(expected))?;
                heard.skipped += jump;
            }
            self.next = Some(here);
            self.cell = cell(self.seed, number);
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn programme(cells: core::ops::Range<u64>) -> Vec<u8> {
        cells.flat_map(|number| cell(9, number)).collect()
    }

    fn hear_in_pieces(bytes: &[u8], piece: usize) -> Result<Heard, Wrong> {
        let mut checker = Checker::new(9);
        let mut sum = Heard::default();
        for part in bytes.chunks(piece) {
            let heard = checker.hear(part)?;
            sum.bytes += heard.bytes;
            sum.skipped += heard.skipped;
        }
        Ok(sum)
    }

    #[test]
    fn exact_output_passes_however_it_is_cut() {
        let output = [&PREAMBLE[..], &programme(5..50)].concat();
        for piece in [1, 7, 63, 64, 1_000] {
            let heard = hear_in_pieces(&output, piece).unwrap();
            assert_eq!((heard.bytes, heard.skipped), (45 * 64, 0), "{piece}");
        }
    }

    #[test]
    fn a_gap_between_cells_is_counted() {
        let output = [&PREAMBLE[..], &programme(5..10), &programme(13..20)].concat();
        for piece in [1, 5, 64, 1_000] {
            assert_eq!(hear_in_pieces(&output, piece).unwrap().skipped, 3 * 64);
        }
    }

    #[test]
    fn faults_are_found() {
        let good = [&PREAMBLE[..], &programme(5..10)].concat();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(
                hear_in_pieces(&bad, 1_000).is_err() || at < PREAMBLE.len() + 64,
                "{at}"
            );
        }
        let back = [&PREAMBLE[..], &programme(5..10), &programme(9..12)].concat();
        assert_eq!(hear_in_pieces(&back, 64), Err(Wrong::Order(10 * 64)));
        let torn = [&PREAMBLE[..], &programme(5..6)[..30], &programme(7..9)].concat();
        assert!(hear_in_pieces(&torn, 64).is_err());
        assert_eq!(hear_in_pieces(&programme(5..10), 64), Err(Wrong::Preamble));
    }
}
