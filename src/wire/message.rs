//! Control messages: what neighbours say to each other inside a session. Postcard; several may share a datagram.

use super::array;
use super::chunk::Tag;
use crate::error::{Full, Malformed};
use crate::limits::MAX_N;
use core::net::SocketAddr;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// Most addresses in one "try these".
pub const MAX_TRY: usize = 8;

/// Most nodes in one PeerExchange.
pub const MAX_EXCHANGE: usize = 12;

/// A node's standing in a stream, as it says in its Join.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Standing(pub u8);

impl Standing {
    /// Signs the stream.
    pub const SOURCE: u8 = 1;
    /// Sends to others.
    pub const FORWARDS: u8 = 2;
    /// Rebuilds the stream for players.
    pub const PLAYS: u8 = 4;

    /// Whether it sends to others.
    pub fn forwards(self) -> bool {
        self.0 & Self::FORWARDS != 0
    }

    /// Whether it is the source.
    pub fn is_source(self) -> bool {
        self.0 & Self::SOURCE != 0
    }
}

/// Why a parent says no.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reason {
    /// No place or no upload left.
    Full,
    /// Not a stripe this node carries.
    NotCarried,
    /// The stream is not relayed here.
    UnknownStream,
    /// Going away.
    Leaving,
}

/// A node others may ask, as PeerExchange tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerHint {
    /// Its UDP address as its neighbour sees it.
    pub addr: SocketAddr,
    /// Stripes it prefers to carry.
    pub home: u32,
}

/// Something that is asked for.
#[allow(missing_docs, reason = "each variant says what its fields are")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Wanted {
    /// The descriptor.
    Descriptor,
    /// The preamble of a descriptor version, from an offset on.
    Preamble { version: u32, offset: u32 },
    /// The seals that cover these blocks, `count` of them from `first` on.
    Seals { first: u64, count: u16 },
    /// Chunks of one block.
    Chunks { block: u64, stripes: u32 },
    /// Other nodes of the stream.
    Peers,
    /// What the neighbour has and offers, now: it is looked to for a parent.
    News,
    /// The newest seal with the now-playing text, if that is another one than the asker has: the first four bytes of its BLAKE3,
    /// big-endian and at least 1; 0 when the asker has none.
    Title { mark: u32 },
}

/// One control message.
#[allow(missing_docs, reason = "each variant says what its fields are")]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message<'a> {
    /// "I take part in this stream"; `version` is the descriptor known (0: none).
    Join {
        #[serde(deserialize_with = "array::read")]
        key: [u8; 32],
        standing: Standing,
        version: u32,
    },
    /// The signed descriptor.
    Descriptor { bytes: &'a [u8] },
    /// Part of a preamble.
    Preamble {
        tag: Tag,
        version: u32,
        offset: u32,
        bytes: &'a [u8],
    },
    /// A seal, and how long ago the source closed that group, as far as the sender can tell.
    Seal { age_ms: u32, bytes: &'a [u8] },
    /// What the sender would serve: stripes, those it prefers, hops from the source per offered stripe, free places (stripe copies).
    Offer {
        tag: Tag,
        stripes: u32,
        home: u32,
        hops: Vec<u8, MAX_N>,
        places: u16,
    },
    /// All stripes the sender wants from this parent (the whole set; an empty one ends it), those of them it could do without, whether
    /// seals as well, and how far back to begin with seals.
    Subscribe {
        tag: Tag,
        stripes: u32,
        spare: u32,
        seals: bool,
        back_ms: u32,
    },
    /// The stripes this parent now sends.
    Grant { tag: Tag, stripes: u32 },
    /// The stripes it does not, why, and whom to try.
    Refuse {
        tag: Tag,
        stripes: u32,
        reason: Reason,
        try_these: Vec<SocketAddr, MAX_TRY>,
    },
    /// Stripes no longer wanted.
    Unsubscribe { tag: Tag, stripes: u32 },
    /// What the sender holds: blocks from `tail`; `behind[i]` is how many blocks stripe i's head is below `head` (255: nothing).
    Have {
        tag: Tag,
        tail: u64,
        head: u64,
        behind: Vec<u8, MAX_N>,
    },
    /// A request.
    Want { tag: Tag, wanted: Wanted },
    /// Nodes that may have room.
    PeerExchange {
        tag: Tag,
        peers: Vec<PeerHint, MAX_EXCHANGE>,
    },
    /// Listeners at and below the sender; told to one parent only.
    Audience { tag: Tag, listeners: u32 },
    /// Are you there? `sent` is the sender's clock, as in a chunk's prefix.
    Ping { token: u32, sent: u32 },
    /// Yes. `delay` is the receiver's clock less `sent`, the least of that Ping and all chunks since the last Pong. `waited` is how long
    /// this answer waited for its turn, as under an upload limit, in ticks: no part of the round trip.
    Pong { token: u32, delay: u32, waited: u32 },
    /// The session ends now.
    Bye { reason: Reason },
    /// Chunks that were asked for, and that the sender does not send.
    Lack { tag: Tag, block: u64, stripes: u32 },
}

impl<'a> Message<'a> {
    /// Appends the message at the front of `out`; returns its length.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Full> {
        postcard::to_slice(self, out)
            .map(|used| used.len())
            .map_err(|_| Full)
    }

    /// Takes one message off the front of `bytes`; returns it and the rest.
    pub fn take(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        postcard::take_from_bytes(bytes).map_err(|_| Malformed::Kind)
    }
}

/// Writes the list of a stateless "try these", as many of it as there is room for; returns its length.
pub fn write_try_these(list: &[SocketAddr], out: &mut [u8]) -> Result<usize, Full> {
    let mut counts = (0..=list.len()).rev();
    counts
        .find_map(|count| Some(postcard::to_slice(&list[..count], out).ok()?.len()))
        .ok_or(Full)
}

/// Reads the list of a stateless "try these".
pub fn read_try_these(bytes: &[u8]) -> Result<Vec<SocketAddr, MAX_TRY>, Malformed> {
    postcard::from_bytes(bytes).map_err(|_| Malformed::Field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_messages_share_a_datagram() {
        let messages = [
            Message::Ping { token: 7, sent: 9 },
            Message::Subscribe {
                tag: 1,
                stripes: 5,
                spare: 4,
                seals: true,
                back_ms: 2_000,
            },
            Message::Refuse {
                tag: 1,
                stripes: 2,
                reason: Reason::Full,
                try_these: Vec::from_slice(&[
                    "10.0.0.1:1".parse().unwrap(),
                    "[2001:db8::1]:2".parse().unwrap(),
                ])
                .unwrap(),
            },
            Message::Seal {
                age_ms: 300,
                bytes: &[1, 2, 3],
            },
        ];
        let mut buf = [0; 256];
        let mut len = 0;
        for message in &messages {
            len += message.write(&mut buf[len..]).unwrap();
        }
        let mut rest = &buf[..len];
        for message in &messages {
            let (got, tail) = Message::take(rest).unwrap();
            assert_eq!(&got, message);
            rest = tail;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn as_many_addresses_as_fit() {
        let list = ["192.0.2.1:8479", "[2001:db8::1]:8479", "192.0.2.2:8479"];
        let list = list.map(|addr| addr.parse().unwrap());
        let read = |room: usize| {
            let mut out = [0; 64];
            let len = write_try_these(&list, &mut out[..room]).unwrap();
            assert!(len <= room);
            read_try_these(&out[..len]).unwrap().len()
        };
        assert_eq!([1, 7, 8, 26, 27, 34].map(read), [0, 0, 1, 1, 2, 3]);
        assert!(write_try_these(&list, &mut []).is_err());
    }

    #[test]
    fn hostile_bytes_are_refused_quietly() {
        let mut rng = crate::rng::Rng::new(2);
        for _ in 0..50_000 {
            let mut bytes = [0u8; 64];
            bytes.iter_mut().for_each(|b| *b = rng.next_u64() as u8);
            bytes[0] %= 20;
            let _ = Message::take(&bytes);
        }
    }
}
