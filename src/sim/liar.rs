//! Nodes that lie: honest engines whose datagrams are spoiled on their way out.

use crate::limits::CHUNK_PREFIX_BYTES;
use crate::rng::Rng;
use crate::wire::datagram::Datagram;
use serde::Deserialize;
use std::vec::Vec;

/// How a node lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lie {
    /// Chunks become noise.
    Garbage,
    /// Some payload bytes of each chunk are changed.
    Forge,
    /// Chunks of ten seconds ago instead of new ones.
    Stale,
    /// Says that it has, and sends no chunk.
    Withhold,
    /// One of the above each.
    Mixed,
}

/// Chunks kept to be sent again.
const KEPT: usize = 64;

/// The spoiling of one node's datagrams.
#[derive(Clone, Debug)]
pub struct Liar {
    lie: Lie,
    /// From when on.
    from_us: u64,
    old: Vec<Vec<u8>>,
    seen: usize,
}

impl Liar {
    /// `which` decides what a mixed liar does.
    pub fn new(lie: Lie, from_us: u64, which: u64) -> Self {
        let four = [Lie::Garbage, Lie::Forge, Lie::Stale, Lie::Withhold];
        let lie = match lie {
            Lie::Mixed => four[(which % 4) as usize],
            lie => lie,
        };
        Self {
            lie,
            from_us,
            old: Vec::new(),
            seen: 0,
        }
    }

    /// Spoils a datagram in place; false when it is not to be sent at all. Returns the new length with it.
    pub fn spoil(
        &mut self,
        now_us: u64,
        rng: &mut Rng,
        bytes: &mut [u8],
        len: usize,
    ) -> Option<usize> {
        if !matches!(Datagram::parse(&bytes[..len]), Ok(Datagram::Chunk { .. })) {
            return Some(len);
        }
        if now_us < self.from_us {
            self.keep(&bytes[CHUNK_PREFIX_BYTES..len]);
            return Some(len);
        }
        let payload = (CHUNK_PREFIX_BYTES + crate::limits::CHUNK_HEADER_BYTES).min(len);
        match self.lie {
            Lie::Garbage => bytes[payload..len]
                .iter_mut()
                .for_each(|byte| *byte = rng.next_u64() as u8),
            Lie::Forge | Lie::Mixed => bytes[len - 1] ^= 1 << rng.below(8),
            Lie::Stale => {
                self.seen += 1;
                let old = self.old.get(self.seen % self.old.len().max(1));
                let Some(old) = old.filter(|old| CHUNK_PREFIX_BYTES + old.len() <= bytes.len())
                else {
                    return Some(len);
                };
                bytes[CHUNK_PREFIX_BYTES..][..old.len()].copy_from_slice(old);
                return Some(CHUNK_PREFIX_BYTES + old.len());
            }
            Lie::Withhold => return None,
        }
        Some(len)
    }

    fn keep(&mut self, chunk: &[u8]) {
        if self.lie == Lie::Stale && self.old.len() < KEPT {
            self.old.push(chunk.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chunk::{ChunkId, header, prefix};
    use std::vec;

    fn chunk(block: u64) -> Vec<u8> {
        let id = ChunkId { block, index: 1 };
        [&prefix(7, 0, 0)[..], &header(1, id), &[block as u8; 200]].concat()
    }

    fn told(lie: Lie, block: u64) -> Option<Vec<u8>> {
        let mut liar = Liar::new(lie, 1_000, 0);
        let mut rng = Rng::new(1);
        for (at, number) in [(0, 3), (1_000, block)] {
            let mut bytes = vec![0; 1_232];
            let honest = chunk(number);
            bytes[..honest.len()].copy_from_slice(&honest);
            let len = liar.spoil(at, &mut rng, &mut bytes, honest.len());
            if at == 1_000 {
                return len.map(|len| bytes[..len].to_vec());
            }
            assert_eq!(
                len.map(|len| bytes[..len].to_vec()),
                Some(honest),
                "honest at first"
            );
        }
        None
    }

    #[test]
    fn every_lie_is_the_one_it_says() {
        let honest = chunk(9);
        let garbage = told(Lie::Garbage, 9).unwrap();
        assert!(garbage[..25] == honest[..25] && garbage[25..] != honest[25..]);
        let forged = told(Lie::Forge, 9).unwrap();
        assert_eq!(
            forged.iter().zip(&honest).filter(|(a, b)| a != b).count(),
            1
        );
        assert_eq!(told(Lie::Stale, 9).unwrap()[12..], chunk(3)[12..]);
        assert_eq!(told(Lie::Withhold, 9), None);
    }
}
