//! Bytes and their meaning: every datagram, every signed document, the stream's name. To and from slices, no state.
//!
//! `docs/PROTOCOL.md` is the same thing in prose, with test vectors.

pub mod addr;
pub mod chunk;
pub mod datagram;
pub mod descriptor;
pub mod framing;
pub mod mdns;
pub mod message;
pub mod seal;
pub mod uri;

mod array;
mod bytes;
