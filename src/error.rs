//! Small errors that blame the right side.

use core::fmt;

/// Why bytes from outside were not taken. The peer, or the line to it, is to blame; nothing else is disturbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// Shorter than its kind demands.
    Short,
    /// Longer than its kind allows.
    Long,
    /// A protocol version this node does not speak.
    Version,
    /// An unknown kind of datagram, or a message that cannot be decoded.
    Kind,
    /// A field outside its range.
    Field,
    /// A signature, hash or authentication tag that does not fit.
    Forged,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "too short",
            Self::Long => "too long",
            Self::Version => "unknown protocol version",
            Self::Kind => "unknown kind",
            Self::Field => "field out of range",
            Self::Forged => "does not verify",
        })
    }
}

impl core::error::Error for Malformed {}

/// A fixed table or buffer has no room left. Nobody is to blame; the caller refuses or drops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room left")
    }
}

impl core::error::Error for Full {}
