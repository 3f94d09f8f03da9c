//! What a broadcaster sends, well or broken: every byte comes out, once and in order, whatever is made of it.

use super::script::Script;
use weir::limits::{MAX_METADATA_BYTES, MAX_PREAMBLE_BYTES};
use weir::media::{Scanner, Start};

pub fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    // Pieces of 1 to 256 bytes, or everything at once.
    let most = match script.byte() {
        255 => usize::MAX,
        n => usize::from(n) + 1,
    };
    let mut out = Vec::new();
    let mut scanner = Box::new(Scanner::new());
    for mut piece in script.0.chunks(most) {
        while !piece.is_empty() {
            let taken = scanner.push(piece);
            assert!(taken > 0, "a drained scanner takes nothing");
            piece = &piece[taken..];
            drain(&mut scanner, &mut out);
        }
    }
    scanner.finish();
    drain(&mut scanner, &mut out);
    assert_eq!(scanner.held_bytes(), 0, "something stays behind");
    // Places in fragments of MP4 are counted anew, and frames around ASF taken off; nothing else changes.
    let may_change = script.0.windows(4).any(|name| name == b"tfhd");
    let may_shrink = script.0.windows(2).any(|frame| frame == b"$H");
    assert!(
        out.len() == script.0.len() && (may_change || out == script.0)
            || may_shrink && out.len() < script.0.len(),
        "not what went in"
    );
}

fn drain(scanner: &mut Scanner, out: &mut Vec<u8>) {
    while let Some(segment) = scanner.next_segment() {
        assert!(!segment.bytes.is_empty());
        assert!(segment.preamble.len() <= MAX_PREAMBLE_BYTES);
        assert!(!segment.preamble_changed || segment.start == Start::Sync);
        assert!(!segment.discontinuity);
        out.extend_from_slice(segment.bytes);
    }
    if let Some(title) = scanner.metadata() {
        assert!(title.len() <= MAX_METADATA_BYTES);
    }
}
