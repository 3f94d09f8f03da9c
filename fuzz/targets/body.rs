//! A body in its framing. What comes out does not depend on the pieces it came in.

use super::script::Script;
use weir::http::body::Body;
use weir::http::request::Framing;

pub fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    let framing = match script.byte() % 3 {
        0 => Framing::Chunked,
        1 => Framing::Length(script.number() as u64),
        _ => Framing::UntilClose,
    };
    let at = script.number();
    let input = script.0;
    let whole = unwrap(framing, [input]);
    assert_eq!(unwrap(framing, input.chunks(1)), whole);
    let (head, tail) = input.split_at(at.min(input.len()));
    assert_eq!(unwrap(framing, [head, tail]), whole);
}

/// The body, and whether it ended: `None` where it is no body. What is behind the end is not looked at.
fn unwrap<'a>(
    framing: Framing,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Option<(Vec<u8>, bool)> {
    let mut body = Body::new(framing);
    let mut out = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() && !body.is_done() {
            let found = body.next(piece).ok()?;
            assert!(found.consumed > 0 && found.data.len() <= found.consumed);
            out.extend_from_slice(found.data);
            piece = &piece[found.consumed..];
        }
    }
    Some((out, body.is_done()))
}
