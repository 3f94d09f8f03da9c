//! What a node is told at start.

use super::bucket::MIN_LIMIT_BPS;
use crate::time::Span;

/// Most streams one node carries.
pub const MAX_STREAMS: usize = 4;

/// Most serial lines of one node.
pub const MAX_LINES: usize = 4;

/// What a node is to a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It signs the stream.
    Source,
    /// It takes what it re-sends, and the whole stream only while players listen here.
    Relay,
    /// It takes the whole stream, always.
    Listener,
}

/// What a node is told at start. Keys and seeds come from the caller: the core has no randomness of its own.
#[derive(Clone)]
pub struct NodeConfig {
    /// X25519 secret: the node's identity.
    pub secret: [u8; 32],
    /// Random bytes, fresh at every start: cookies, session ids, ephemeral keys and jitter come from them.
    pub entropy: [u8; 32],
    /// Most bits a second sent, IP and UDP headers counted; `None`: no limit. 0: nothing is forwarded.
    pub upload_limit_bps: Option<u64>,
    /// Most neighbours that are fed at once.
    pub max_children: usize,
    /// Stripes taken beyond the K that suffice.
    pub spare: u8,
    /// How much a player is given at once when it connects.
    pub burst: Span,
    /// How long a missing block is waited for before it is skipped.
    pub window: Span,
    /// Bytes of IPv4 and UDP header that count for each datagram; IPv6 counts 20 more.
    pub overhead_bytes: usize,
    /// Queueing delay on the owner's line to stay below; `None`: it is not watched.
    pub delay_target: Option<Span>,
    /// Bytes a second that each serial line carries (its baud rate over ten, less what turning a half-duplex line round
    /// costs); 0: no such line. What goes over lines does not count against `upload_limit_bps`.
    pub lines: [u32; MAX_LINES],
}

impl NodeConfig {
    /// A configuration with the defaults: no upload limit, 32 children, one spare stripe.
    pub fn new(secret: [u8; 32], entropy: [u8; 32]) -> Self {
        Self {
            secret,
            entropy,
            upload_limit_bps: None,
            max_children: 32,
            spare: 1,
            burst: Span::from_s(2),
            window: Span::from_s(4),
            overhead_bytes: crate::limits::IP_UDP_HEADER_BYTES,
            delay_target: None,
            lines: [0; MAX_LINES],
        }
    }

    /// Whether the limits are good for sending to others at all.
    pub fn forwards(&self) -> bool {
        let limit = self.upload_limit_bps;
        limit.is_none_or(|limit| limit >= MIN_LIMIT_BPS) && self.max_children > 0
    }
}
