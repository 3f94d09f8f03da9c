//! Arrays of bytes in messages, read one by one in a loop: serde has the code for it once for each byte.

use core::fmt;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

struct Bytes<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<[u8; N], A::Error> {
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let next = sequence.next_element()?;
            *byte = next.ok_or_else(|| Error::invalid_length(at, &self))?;
        }
        Ok(bytes)
    }
}

/// For `deserialize_with`; what is written stays as serde has it.
pub fn read<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[u8; N], D::Error> {
    from.deserialize_tuple(N, Bytes)
}
