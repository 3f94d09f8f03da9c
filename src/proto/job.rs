//! What a neighbour is owed once: seals, pieces of the preamble, requests, and a No to its own.

use super::peer::PeerId;

/// Something one neighbour is owed once, with what is needed to say it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Job {
    /// A seal.
    Seal {
        peer: PeerId,
        stream: u8,
        block: u64,
    },
    /// The seal that says what is playing.
    Title { peer: PeerId, stream: u8 },
    /// A piece of the preamble.
    Preamble {
        peer: PeerId,
        stream: u8,
        version: u32,
        offset: u32,
    },
    /// A request for chunks.
    Want {
        peer: PeerId,
        stream: u8,
        block: u64,
        stripes: u32,
    },
    /// Chunks that a neighbour asked for and that are not here.
    Lack {
        peer: PeerId,
        stream: u8,
        block: u64,
        stripes: u32,
    },
    /// A request for seals.
    WantSeals {
        peer: PeerId,
        stream: u8,
        first: u64,
        count: u16,
    },
}

impl Job {
    /// What storage is filled with at start.
    pub const NONE: Self = Self::Seal {
        peer: 0,
        stream: 0,
        block: 0,
    };

    pub(super) fn peer(&self) -> PeerId {
        match *self {
            Self::Seal { peer, .. }
            | Self::Title { peer, .. }
            | Self::Preamble { peer, .. }
            | Self::Want { peer, .. }
            | Self::Lack { peer, .. }
            | Self::WantSeals { peer, .. } => peer,
        }
    }

    pub(super) fn stream(&self) -> u8 {
        match *self {
            Self::Seal { stream, .. }
            | Self::Title { stream, .. }
            | Self::Preamble { stream, .. }
            | Self::Want { stream, .. }
            | Self::Lack { stream, .. }
            | Self::WantSeals { stream, .. } => stream,
        }
    }

    /// It fills a datagram.
    pub(super) fn is_bulky(&self) -> bool {
        matches!(self, Self::Preamble { .. })
    }

    pub(super) fn is_seal(&self) -> bool {
        matches!(self, Self::Seal { .. })
    }
}
