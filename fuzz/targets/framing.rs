//! Frames over a serial line. What comes out does not depend on how the bytes came in, and what was framed comes out.

use super::script::Script;
use weir::limits::MAX_DATAGRAM_BYTES;
use weir::wire::framing::{Decoder, MAX_FRAME_BYTES, encode};

pub fn run(bytes: &[u8]) {
    let whole = decode([bytes]);
    assert_eq!(decode(bytes.chunks(1)), whole);
    let mut script = Script(bytes);
    let first = script.number();
    let (head, tail) = bytes.split_at(first.min(bytes.len()));
    assert_eq!(decode([head, tail]), whole);
    round_trip(&bytes[..bytes.len().min(MAX_DATAGRAM_BYTES)]);
}

/// The datagrams, and how many frames were bad.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, u64) {
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    for mut piece in pieces {
        while let Some(datagram) = decoder.next_datagram(&mut piece) {
            out.push(datagram.to_vec());
        }
        assert!(piece.is_empty());
    }
    (out, decoder.bad_frames())
}

/// Behind noise that a delimiter ends, a datagram comes out as it went in.
fn round_trip(datagram: &[u8]) {
    if datagram.is_empty() {
        return;
    }
    let mut frame = [0; MAX_FRAME_BYTES];
    let len = encode(datagram, &mut frame).expect("every datagram fits a frame");
    let (out, _) = decode([datagram, &[0], &frame[..len]]);
    assert_eq!(out.last().map(Vec::as_slice), Some(datagram));
}
