//! The body of a push or a pull, taken out of its framing; and the framing of what we send (RFC 9112 sections 6 and 7).

use crate::error::Malformed;
use crate::http::out::Out;
use crate::http::request::Framing;

/// What [`Body::next`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// Bytes of the input that are dealt with, framing included.
    pub consumed: usize,
    /// Bytes of the body among them; may be empty.
    pub data: &'a [u8],
}

/// Most bytes of a chunk's extensions, and of all trailer fields; they are skipped.
const MAX_SKIPPED_BYTES: u16 = 1_024;

/// Where in the framing the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// In a body that lasts until close.
    Open,
    /// In a body, or a chunk, of which so many bytes are left.
    Bytes {
        left: u64,
        chunked: bool,
    },
    /// In the hexadecimal size of a chunk.
    Size {
        size: u64,
        digits: u8,
    },
    /// After the size: extensions up to the line feed.
    Extension {
        size: u64,
        skipped: u16,
    },
    /// Before the line end that follows a chunk's bytes.
    Cr,
    Lf,
    /// In the trailer fields, `line` bytes into one of their lines.
    Trailer {
        line: u16,
        skipped: u16,
    },
    /// After the last byte.
    Done,
}

/// Takes a body out of its framing, whatever pieces it arrives in.
#[derive(Clone, Debug)]
pub struct Body {
    at: At,
}

impl Body {
    /// A body about to begin.
    pub fn new(framing: Framing) -> Self {
        let at = match framing {
            Framing::UntilClose => At::Open,
            Framing::Chunked => At::Size { size: 0, digits: 0 },
            Framing::Length(0) => At::Done,
            Framing::Length(left) => At::Bytes {
                left,
                chunked: false,
            },
        };
        Self { at }
    }

    /// Takes the next run of body bytes from `input`. Call again with the rest until the rest is empty or [`Body::is_done`].
    ///
    /// # Errors
    /// `Malformed::Field` for what is not a chunk, `Malformed::Long` for a size, extension or trailer beyond all reason;
    /// close then.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Piece<'a>, Malformed> {
        let mut consumed = 0;
        while let Some((&byte, _)) = input.get(consumed..).and_then(<[u8]>::split_first) {
            self.at = match self.at {
                At::Done => break,
                At::Open | At::Bytes { .. } => return Ok(self.take(input, consumed)),
                framing => framing.step(byte)?,
            };
            consumed += 1;
        }
        Ok(Piece {
            consumed,
            data: &[],
        })
    }

    /// Whether the body is complete. One that lasts until close never is.
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Takes the body bytes that begin at `from`.
    fn take<'a>(&mut self, input: &'a [u8], from: usize) -> Piece<'a> {
        let rest = input.get(from..).unwrap_or(&[]);
        let At::Bytes { left, chunked } = self.at else {
            return Piece {
                consumed: input.len(),
                data: rest,
            };
        };
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        self.at = match left - taken as u64 {
            0 if chunked => At::Cr,
            0 => At::Done,
            left => At::Bytes { left, chunked },
        };
        Piece {
            consumed: from + taken,
            data: rest.get(..taken).unwrap_or(&[]),
        }
    }
}

impl At {
    /// Reads one byte of the framing (RFC 9112 section 7.1).
    fn step(self, byte: u8) -> Result<Self, Malformed> {
        Ok(match (self, byte) {
            (Self::Size { digits: 16, .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                return Err(Malformed::Long);
            }
            (Self::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // At most 16 digits, so nothing is shifted out.
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                Self::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (Self::Size { size, digits: 1.. }, b';' | b' ' | b'\t' | b'\r') => {
                Self::Extension { size, skipped: 0 }
            }
            (Self::Extension { size: 0, .. }, b'\n') => Self::Trailer {
                line: 0,
                skipped: 0,
            },
            (Self::Extension { size, .. }, b'\n') => Self::Bytes {
                left: size,
                chunked: true,
            },
            (
                Self::Extension {
                    skipped: MAX_SKIPPED_BYTES,
                    ..
                },
                _,
            ) => return Err(Malformed::Long),
            (Self::Extension { size, skipped }, _) => Self::Extension {
                size,
                skipped: skipped + 1,
            },
            (Self::Cr, b'\r') => Self::Lf,
            (Self::Lf, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Trailer { line: 0, .. }, b'\n') => Self::Done,
            (Self::Trailer { skipped, .. }, b'\n') => Self::Trailer { line: 0, skipped },
            (
                Self::Trailer {
                    skipped: MAX_SKIPPED_BYTES,
                    ..
                },
                _,
            ) => return Err(Malformed::Long),
            (Self::Trailer { line, skipped }, b'\r') => Self::Trailer {
                line,
                skipped: skipped + 1,
            },
            (Self::Trailer { line, skipped }, _) => Self::Trailer {
                line: line + 1,
                skipped: skipped + 1,
            },
            _ => return Err(Malformed::Field),
        })
    }
}

/// After the bytes of each chunk we send.
pub const CHUNK_END: &[u8] = b"\r\n";

/// After the last chunk we send.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Bytes of the longest chunk head we send.
pub const MAX_CHUNK_HEAD_BYTES: usize = 10;

/// Writes what goes before `len` bytes of a chunk (`len` above 0: an empty chunk would end the body); returns its length.
pub fn chunk_head(len: u32, out: &mut [u8; MAX_CHUNK_HEAD_BYTES]) -> usize {
    let mut out = Out::new(out);
    out.fmt(format_args!("{len:x}\r\n"));
    out.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::vec::Vec;

    /// Feeds `wire` in random pieces; returns the body, what was left over, and whether it was complete.
    fn decode(
        framing: Framing,
        wire: &[u8],
        rng: &mut Rng,
    ) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let mut body = Body::new(framing);
        let mut got = Vec::new();
        let mut at = 0;
        while at < wire.len() && !body.is_done() {
            let end = (at + 1 + rng.below(7) as usize).min(wire.len());
            while at < end && !body.is_done() {
                let piece = body.next(&wire[at..end])?;
                assert!(piece.consumed > 0 || body.is_done());
                got.extend_from_slice(piece.data);
                at += piece.consumed;
            }
        }
        Ok((got, wire.len() - at, body.is_done()))
    }

    #[test]
    fn the_example_of_the_field_in_random_pieces() {
        // Wikipedia's "Wiki / pedia / in chunks", with an extension, a trailer, and the next request behind it.
        let wire = b"4\r\nWiki\r\n6;a=\"b\"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nX: y\r\n\r\nGET /";
        let mut rng = Rng::new(3);
        for _ in 0..500 {
            let (body, left, done) = decode(Framing::Chunked, wire, &mut rng).unwrap();
            assert_eq!(body, b"Wikipedia in \r\n\r\nchunks.");
            assert_eq!((left, done), (5, true));
        }
    }

    #[test]
    fn what_we_frame_is_what_comes_out() {
        let mut rng = Rng::new(4);
        for _ in 0..200 {
            let (mut wire, mut sent) = (Vec::new(), Vec::new());
            for _ in 0..rng.below(5) {
                let chunk: Vec<u8> = (0..=rng.below(300)).map(|_| rng.next_u64() as u8).collect();
                let mut head = [0; MAX_CHUNK_HEAD_BYTES];
                let head_bytes = chunk_head(chunk.len() as u32, &mut head);
                for part in [&head[..head_bytes], &chunk, CHUNK_END] {
                    wire.extend_from_slice(part);
                }
                sent.extend(chunk);
            }
            wire.extend_from_slice(LAST_CHUNK);
            assert_eq!(
                decode(Framing::Chunked, &wire, &mut rng),
                Ok((sent, 0, true))
            );
        }
        let mut head = [0; MAX_CHUNK_HEAD_BYTES];
        assert_eq!(chunk_head(u32::MAX, &mut head), MAX_CHUNK_HEAD_BYTES);
        assert_eq!(&head, b"ffffffff\r\n");
    }

    #[test]
    fn a_length_ends_the_body_and_a_close_does_not() {
        let mut rng = Rng::new(5);
        assert_eq!(
            decode(Framing::Length(3), b"abcdef", &mut rng),
            Ok((b"abc".to_vec(), 3, true))
        );
        assert_eq!(
            decode(Framing::UntilClose, b"abcdef", &mut rng),
            Ok((b"abcdef".to_vec(), 0, false))
        );
        assert!(Body::new(Framing::Length(0)).is_done());
    }

    #[test]
    fn hostile_framing_is_refused() {
        let mut rng = Rng::new(6);
        let long_extension = [b"1;".as_slice(), &[b'x'; 2_000]].concat();
        let long_trailer = [b"0\r\n".as_slice(), &[b'x'; 2_000]].concat();
        let many_trailers = [b"0\r\n".as_slice(), &b"x\n".repeat(2_000)].concat();
        for (wire, why) in [
            (b"ffffffffffffffff0\r\n".as_slice(), Malformed::Long),
            (b"00000000000000001\r\n", Malformed::Long),
            (b"\r\n", Malformed::Field),
            (b"-1\r\n", Malformed::Field),
            (b"0x1\r\n", Malformed::Field),
            (b"1\r\nabc", Malformed::Field),
            (b"1\r\na\n", Malformed::Field),
            (&long_extension, Malformed::Long),
            (&long_trailer, Malformed::Long),
            (&many_trailers, Malformed::Long),
        ] {
            assert_eq!(
                decode(Framing::Chunked, wire, &mut rng),
                Err(why),
                "{}",
                wire.escape_ascii()
            );
        }
        // The largest size there is does not overflow; the bytes simply go on.
        let (body, _, done) =
            decode(Framing::Chunked, b"ffffffffffffffff\r\nabc", &mut rng).unwrap();
        assert_eq!((body.as_slice(), done), (b"abc".as_slice(), false));
    }

    #[test]
    fn random_framing_never_panics_or_stalls() {
        let mut rng = Rng::new(7);
        let alphabet = b"0123fF;\r\n\r\nx";
        for _ in 0..20_000 {
            let wire: Vec<u8> = (0..rng.below(40))
                .map(|_| alphabet[rng.below(alphabet.len() as u64) as usize])
                .collect();
            let _ = decode(Framing::Chunked, &wire, &mut rng);
        }
    }
}
