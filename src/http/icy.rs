//! ICY metadata, the "now playing" text that shoutcast put between the media bytes: after every `metaint` media bytes
//! one length byte (in units of 16), then `StreamTitle='...';` padded with zeros.

use crate::http::body::Piece;
use crate::http::out::{Out, cut};
use crate::limits::MAX_METADATA_BYTES;
use heapless::String;

/// Longest metadata block we write: length byte and text padded to 16.
pub const MAX_ICY_BLOCK_BYTES: usize = 1 + (MAX_METADATA_BYTES + 15).div_ceil(16) * 16;

/// Media bytes between two metadata blocks that we send.
pub const ICY_METAINT: u32 = 16_000;

/// Bytes kept of a received block: the title stands first in what servers send, and more of it than this is not shown.
const KEPT_BYTES: usize = 512;

const TITLE_BEGINS: &[u8] = b"StreamTitle='";
const TITLE_ENDS: &[u8] = b"';";

/// Takes the metadata out of a pulled stream.
#[derive(Clone, Debug)]
pub struct IcyRemover {
    metaint: u32,
    at: At,
    block: heapless::Vec<u8, KEPT_BYTES>,
    title: String<MAX_METADATA_BYTES>,
    changed: bool,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Media { left: u32 },
    Length,
    Block { left: u16 },
}

impl IcyRemover {
    /// For a stream that announced `icy-metaint`; 0 means that it has no metadata.
    pub fn new(metaint: u32) -> Self {
        Self {
            metaint,
            at: At::Media { left: metaint },
            block: heapless::Vec::new(),
            title: String::new(),
            changed: false,
        }
    }

    /// Takes the next run of media bytes from `input`. Call again with the rest until the rest is empty.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Piece<'a> {
        if self.metaint == 0 {
            return Piece {
                consumed: input.len(),
                data: input,
            };
        }
        let mut consumed = 0;
        while let Some(rest) = input.get(consumed..).filter(|rest| !rest.is_empty()) {
            match self.at {
                At::Media { left: 0 } => self.at = At::Length,
                At::Media { left } => {
                    let data = rest.get(..left as usize).unwrap_or(rest);
                    self.at = At::Media {
                        left: left - data.len() as u32,
                    };
                    return Piece {
                        consumed: consumed + data.len(),
                        data,
                    };
                }
                At::Length => {
                    self.block.clear();
                    let left = u16::from(rest[0]) * 16; // `rest` is not empty.
                    self.at = if left == 0 {
                        At::Media { left: self.metaint }
                    } else {
                        At::Block { left }
                    };
                    consumed += 1;
                }
                At::Block { left } => {
                    let part = rest.get(..usize::from(left)).unwrap_or(rest);
                    consumed += part.len();
                    self.read_block(part, left - part.len() as u16);
                }
            }
        }
        Piece {
            consumed,
            data: &[],
        }
    }

    /// The title, once after each change of it; at most [`MAX_METADATA_BYTES`].
    pub fn take_title(&mut self) -> Option<&str> {
        core::mem::take(&mut self.changed).then_some(self.title.as_str())
    }

    fn read_block(&mut self, part: &[u8], left: u16) {
        let room = KEPT_BYTES - self.block.len();
        // As much as there is room for always fits.
        let _ = self
            .block
            .extend_from_slice(part.get(..room).unwrap_or(part));
        if left > 0 {
            self.at = At::Block { left };
            return;
        }
        self.at = At::Media { left: self.metaint };
        if let Some((title, cut)) = find_title(&self.block) {
            let title = to_text(title, cut);
            self.changed |= title != self.title;
            self.title = title;
        }
    }
}

/// The bytes between `StreamTitle='` and `';`, and whether the block was cut before their end.
fn find_title(block: &[u8]) -> Option<(&[u8], bool)> {
    let begin = find(block, TITLE_BEGINS)? + TITLE_BEGINS.len();
    let rest = block.get(begin..)?;
    let end = find(rest, TITLE_ENDS).or_else(|| rest.iter().position(|&b| b == 0));
    let title = rest.get(..end.unwrap_or(rest.len()))?;
    Some((title, end.is_none()))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Titles have no declared encoding: UTF-8 if they are UTF-8, else Latin-1, as players have it.
fn to_text(title: &[u8], cut: bool) -> String<MAX_METADATA_BYTES> {
    let mut text = String::new();
    let utf8 = match core::str::from_utf8(title) {
        Ok(title) => Some(title),
        // UTF-8 but for its last character, of which the rest was cut off.
        Err(error) if cut && error.error_len().is_none() => title
            .get(..error.valid_up_to())
            .and_then(|title| core::str::from_utf8(title).ok()),
        Err(_) => None,
    };
    let mut push = |c: char| text.push(c).is_ok();
    // Stops at the first character that does not fit.
    let _ = match utf8 {
        Some(title) => title.chars().all(&mut push),
        None => title.iter().all(|&byte| push(char::from(byte))),
    };
    text
}

/// Puts metadata into a stream for a player that asked with `Icy-MetaData: 1`.
#[derive(Clone, Debug)]
pub struct IcyInterleaver {
    metaint: u32,
    left: u32,
    /// Hash of the title sent last, so that a player's slot need not hold the title.
    sent: u64,
}

impl IcyInterleaver {
    /// At the start of a response that announced `icy-metaint`, which is at least 1.
    pub fn new(metaint: u32) -> Self {
        let metaint = metaint.max(1);
        Self {
            metaint,
            left: metaint,
            sent: hash(""),
        }
    }

    /// Media bytes that may be written before the next metadata block; 0 means that [`IcyInterleaver::metadata`] is due.
    pub fn media_room(&self) -> usize {
        self.left as usize
    }

    /// Notes that `bytes` of media, at most [`IcyInterleaver::media_room`], were written.
    pub fn wrote_media(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.media_room());
        self.left = self
            .left
            .saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Writes the block that is due and returns its length. An unchanged title costs one byte; a title beyond
    /// [`MAX_METADATA_BYTES`] is cut.
    pub fn metadata(&mut self, title: &str, out: &mut [u8; MAX_ICY_BLOCK_BYTES]) -> usize {
        self.left = self.metaint;
        out.fill(0);
        let hash = hash(title);
        if hash == self.sent {
            return 1;
        }
        self.sent = hash;
        let [length, text @ ..] = out;
        let mut text = Out::new(text);
        text.bytes(TITLE_BEGINS);
        write_title(&mut text, title);
        text.bytes(TITLE_ENDS);
        // MAX_ICY_BLOCK_BYTES is made so that all of this fits, and counts in a byte.
        let units = text.len().div_ceil(16);
        *length = units as u8;
        1 + units * 16
    }
}

/// What would end the title early, or upset a display, becomes a space.
fn write_title(out: &mut Out<'_>, title: &str) {
    let mut before = ' ';
    for c in cut(title, MAX_METADATA_BYTES).chars() {
        let c = if c.is_control() || (c == ';' && before == '\'') {
            ' '
        } else {
            c
        };
        out.str(c.encode_utf8(&mut [0; 4]));
        before = c;
    }
}

/// FNV-1a, 64 bits: enough to notice that a title changed.
fn hash(title: &str) -> u64 {
    title.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

const _: () = assert!(MAX_ICY_BLOCK_BYTES <= 1 + 255 * 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::string::ToString;
    use std::vec::Vec;

    /// Media and titles out of `wire`, fed in random pieces.
    fn remove(metaint: u32, wire: &[u8], rng: &mut Rng) -> (Vec<u8>, Vec<std::string::String>) {
        let mut remover = IcyRemover::new(metaint);
        let (mut media, mut titles) = (Vec::new(), Vec::new());
        let mut rest = wire;
        while !rest.is_empty() {
            let (mut input, later) = rest.split_at((1 + rng.below(40) as usize).min(rest.len()));
            rest = later;
            while !input.is_empty() {
                let piece = remover.next(input);
                assert!(piece.consumed > 0);
                media.extend_from_slice(piece.data);
                input = &input[piece.consumed..];
                titles.extend(remover.take_title().map(ToString::to_string));
            }
        }
        (media, titles)
    }

    /// A metadata block as servers send it.
    fn block(text: &[u8]) -> Vec<u8> {
        let units = text.len().div_ceil(16);
        let mut block = [&[units as u8], text].concat();
        block.resize(1 + units * 16, 0);
        block
    }

    #[test]
    fn a_recorded_block_is_read() {
        let mut rng = Rng::new(1);
        let wire = [
            b"abcd".as_slice(),
            &block(b"StreamTitle='Don't stop';StreamUrl='x';"),
            b"efgh\0ijkl",
            // The same title again is no change.
            &block(b"StreamTitle='Don't stop';"),
            b"mnop",
            &block(b"StreamTitle='';"),
            b"qr",
        ]
        .concat();
        for _ in 0..200 {
            let (media, titles) = remove(4, &wire, &mut rng);
            assert_eq!(media, b"abcdefghijklmnopqr");
            assert_eq!(titles, ["Don't stop", ""]);
        }
    }

    #[test]
    fn an_undeclared_encoding_is_still_text() {
        let mut rng = Rng::new(2);
        for text in [
            b"StreamTitle='Caf\xe9';".as_slice(),
            "StreamTitle='Caf\u{e9}';".as_bytes(),
        ] {
            let (_, titles) = remove(1, &[b"a".as_slice(), &block(text)].concat(), &mut rng);
            assert_eq!(titles, ["Caf\u{e9}"]);
        }
        // 2,000 bytes of two-byte characters, off by one so that the cut falls into the middle of one.
        let long = std::format!("StreamTitle='{}';", "\u{e9}".repeat(1_000));
        let (_, titles) = remove(
            1,
            &[b"a".as_slice(), &block(long.as_bytes())].concat(),
            &mut rng,
        );
        assert_eq!(titles, ["\u{e9}".repeat(127)]);
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let mut rng = Rng::new(3);
        let long = "\u{266b}\u{e9}x".repeat(100);
        for round in 0..100 {
            let metaint = 1 + rng.below(50) as u32;
            let mut interleaver = IcyInterleaver::new(metaint);
            let (mut wire, mut media) = (Vec::new(), Vec::new());
            let mut expected = Vec::new();
            for _ in 0..200 {
                if interleaver.media_room() == 0 {
                    let title = ["", "One", "It's; two", long.as_str()][rng.below(4) as usize];
                    let shown = cut(title, MAX_METADATA_BYTES);
                    if expected
                        .last()
                        .map_or("", |last: &std::string::String| last.as_str())
                        != shown
                    {
                        expected.push(shown.to_string());
                    }
                    let mut block = [1; MAX_ICY_BLOCK_BYTES];
                    let len = interleaver.metadata(title, &mut block);
                    assert_eq!(len, 1 + usize::from(block[0]) * 16);
                    wire.extend_from_slice(&block[..len]);
                } else {
                    let take = 1 + rng.below(interleaver.media_room() as u64) as usize;
                    let bytes: Vec<u8> = (0..take).map(|_| rng.next_u64() as u8).collect();
                    interleaver.wrote_media(take);
                    wire.extend_from_slice(&bytes);
                    media.extend(bytes);
                }
            }
            assert_eq!(
                remove(metaint, &wire, &mut rng),
                (media, expected),
                "round {round}"
            );
        }
    }

    #[test]
    fn a_title_cannot_end_itself() {
        let mut block = [0; MAX_ICY_BLOCK_BYTES];
        let mut interleaver = IcyInterleaver::new(1);
        interleaver.wrote_media(1);
        let len = interleaver.metadata("a';StreamUrl='http://evil\n", &mut block);
        let text = core::str::from_utf8(&block[1..len]).unwrap();
        assert_eq!(
            text.trim_end_matches('\0'),
            "StreamTitle='a' StreamUrl='http://evil ';"
        );
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut rng = Rng::new(4);
        for _ in 0..300 {
            let metaint = rng.below(20) as u32;
            let mut wire: Vec<u8> = (0..rng.below(6_000))
                .map(|_| rng.next_u64() as u8)
                .collect();
            for at in (0..wire.len()).step_by(97) {
                let end = (at + 13).min(wire.len());
                wire[at..end].copy_from_slice(&TITLE_BEGINS[..end - at]);
            }
            let _ = remove(metaint, &wire, &mut rng);
        }
    }
}
