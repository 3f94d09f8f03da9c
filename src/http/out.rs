//! A caller's buffer, written to until it is full.

use crate::error::Full;
use crate::wire::uri::BASE32;
use core::fmt;

/// Text going into a fixed buffer. What does not fit is not written, and [`Out::finish`] says so.
pub struct Out<'a> {
    buf: &'a mut [u8],
    len: usize,
    full: bool,
}

impl<'a> Out<'a> {
    /// Writes from the start of `buf`.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self {
            buf,
            len: 0,
            full: false,
        }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.buf.len() - self.len
    }

    /// Whether something did not fit.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Forgets everything after the first `len` bytes, and that something did not fit.
    pub fn rewind(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.full = false;
    }

    /// Appends bytes, all or none.
    #[inline(never)] // A page is a thousand calls of it.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.buf.get_mut(self.len..end) {
            Some(place) if !self.full => {
                place.copy_from_slice(bytes);
                self.len = end;
            }
            _ => self.full = true,
        }
    }

    /// Appends text, all or none.
    pub fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Appends formatted text; `out.fmt(format_args!(...))`.
    pub fn fmt(&mut self, args: fmt::Arguments<'_>) {
        // A full buffer is remembered in `full`.
        let _ = fmt::write(self, args);
    }

    /// Bytes written, or `Full` if something did not fit.
    pub fn finish(self) -> Result<usize, Full> {
        if self.full { Err(Full) } else { Ok(self.len) }
    }
}

impl fmt::Write for Out<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.str(text);
        if self.full { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Writes as many pieces as fit into `buf` and returns the bytes written; `None` once there are no more. `step` writes the piece
/// at its place and says which comes next; a piece that does not fit is written again next time, so each must fit an empty buffer.
pub(crate) fn pack<Place: Copy>(
    place: &mut Option<Place>,
    buf: &mut [u8],
    mut step: impl FnMut(Place, &mut Out<'_>) -> Option<Place>,
) -> Option<usize> {
    let mut out = Out::new(buf);
    let mut written = 0;
    while let Some(here) = *place {
        let next = step(here, &mut out);
        if out.is_full() {
            // Not even one piece fits: the buffer is smaller than asked for. Ending is better than spinning.
            debug_assert!(written > 0, "the buffer is smaller than PART_BYTES");
            if written == 0 {
                *place = None;
            }
            break;
        }
        written = out.len();
        *place = next;
    }
    (written > 0).then_some(written)
}

/// A text that can be cut anywhere, from byte `from` on, as far as there is room; returns where to go on, `None` at its end.
pub(crate) fn cut_anywhere(out: &mut Out<'_>, text: &str, from: usize) -> Option<usize> {
    let rest = text.as_bytes().get(from..).unwrap_or(&[]);
    let taken = rest.len().min(out.room());
    if taken == 0 && !rest.is_empty() {
        out.full = true;
        return Some(from);
    }
    out.bytes(rest.get(..taken).unwrap_or(&[]));
    (taken < rest.len()).then_some(from + taken)
}

/// The beginning of a text, at most `max_bytes` of it, cut between characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1; // Ends at 0, which is a boundary.
    }
    text.get(..end).unwrap_or("")
}

/// The first 8 bytes of a node id in base32, lower case (RFC 4648 section 6, without padding).
pub(crate) struct ShortId<'a>(pub &'a [u8; 32]);

impl fmt::Display for ShortId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 13];
        let [a, b, c, d, e, g, h, i, ..] = *self.0;
        BASE32.encode_mut(&[a, b, c, d, e, g, h, i], &mut text);
        text.make_ascii_lowercase();
        f.write_str(core::str::from_utf8(&text).unwrap_or(""))
    }
}

/// Who an escaped text is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum For {
    /// Inside a JSON string (RFC 8259 section 7).
    Json,
    /// HTML text or a quoted attribute.
    Html,
    /// Inside a Prometheus label value.
    Label,
    /// A terminal, or a line of a playlist: what controls it is left out.
    Line,
}

/// Writes a text from outside so that it can do no harm where it goes, at most `max_bytes` long when written; cut between
/// characters.
pub(crate) fn escaped(out: &mut Out<'_>, whom: For, text: &str, max_bytes: usize) {
    let end = out.len().saturating_add(max_bytes);
    for c in text.chars() {
        let mut plain = [0; 4];
        let mut coded = [0; 6];
        let written = escape(whom, c, &mut plain, &mut coded);
        if out.len() + written.len() > end {
            break;
        }
        out.str(written);
    }
}

/// Whether it is a direction override or its like, which make a line read as something else (Unicode Technical Report 36).
pub fn steers(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape<'a>(whom: For, c: char, plain: &'a mut [u8; 4], coded: &'a mut [u8; 6]) -> &'a str {
    match (whom, c) {
        (For::Json, '"') | (For::Label, '"') => "\\\"",
        (For::Json, '\\') | (For::Label, '\\') => "\\\\",
        (For::Json, c) if c.is_control() => {
            let mut out = Out::new(coded);
            out.fmt(format_args!("\\u{:04x}", u32::from(c)));
            core::str::from_utf8(coded).unwrap_or("")
        }
        (For::Html, '&') => "&amp;",
        (For::Html, '<') => "&lt;",
        (For::Html, '>') => "&gt;",
        (For::Html, '"') => "&#34;",
        (For::Html, '\'') => "&#39;",
        (For::Json, c) => c.encode_utf8(plain),
        (_, c) if c.is_control() || steers(c) => " ",
        (_, c) => c.encode_utf8(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    fn escape_all(whom: For, text: &str, max_bytes: usize) -> String {
        let mut buf = [0; 256];
        let mut out = Out::new(&mut buf);
        escaped(&mut out, whom, text, max_bytes);
        let len = out.finish().unwrap();
        core::str::from_utf8(&buf[..len]).unwrap().to_string()
    }

    #[test]
    fn each_reader_gets_what_cannot_hurt_it() {
        let text = "a\"\\<'&>\n\u{1b}[31m\u{85}\u{202e}\u{266b}";
        let json = escape_all(For::Json, text, 256);
        assert_eq!(
            serde_json::from_str::<String>(&std::format!("\"{json}\"")).unwrap(),
            text
        );
        assert!(!json.chars().any(char::is_control));
        assert_eq!(
            escape_all(For::Html, text, 256),
            "a&#34;\\&lt;&#39;&amp;&gt;  [31m  \u{266b}"
        );
        assert_eq!(
            escape_all(For::Label, text, 256),
            "a\\\"\\\\<'&>  [31m  \u{266b}"
        );
        assert_eq!(
            escape_all(For::Line, text, 256),
            "a\"\\<'&>  [31m  \u{266b}"
        );
    }

    #[test]
    fn a_cut_never_falls_into_a_character_or_an_escape() {
        for max in 0..40 {
            let json = escape_all(For::Json, "\u{1}\u{266b}\"\\\u{1}\u{e9}x", max);
            assert!(json.len() <= max);
            serde_json::from_str::<String>(&std::format!("\"{json}\"")).unwrap();
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        for (max, kept) in [
            (0, ""),
            (1, "a"),
            (2, "a"),
            (3, "a"),
            (4, "a\u{266b}"),
            (99, "a\u{266b}b"),
        ] {
            assert_eq!(cut("a\u{266b}b", max), kept);
        }
    }

    #[test]
    fn a_full_buffer_takes_all_of_a_text_or_nothing() {
        let mut buf = [0; 4];
        let mut out = Out::new(&mut buf);
        out.str("abc");
        out.str("de");
        assert_eq!((out.len(), out.is_full()), (3, true));
        out.rewind(2);
        out.str("xy");
        assert_eq!(out.finish(), Ok(4));
        assert_eq!(&buf, b"abxy");
    }

    #[test]
    fn a_node_id_is_short() {
        let mut id = [0xff; 32];
        id[..8].copy_from_slice(b"foobarba");
        // RFC 4648 section 10 has "foobar" as MZXW6YTBOI.
        assert!(ShortId(&id).to_string().starts_with("mzxw6ytbo"));
        assert_eq!(ShortId(&id).to_string().len(), 13);
    }
}
