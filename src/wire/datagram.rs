//! The outermost layer: the first byte says version and kind, the rest is laid out by kind.

use super::bytes::{Reader, Writer};
use super::chunk::{Chunk, Tag};
use crate::error::{Full, Malformed};
use crate::limits::MAX_DATAGRAM_BYTES;

/// Version of the wire, the high half of each datagram's first byte.
pub const VERSION: u8 = 1;

pub(crate) const HELLO: u8 = 1;
pub(crate) const COOKIE: u8 = 2;
pub(crate) const INITIATE: u8 = 3;
pub(crate) const REPLY: u8 = 4;
pub(crate) const FINISH: u8 = 5;
pub(crate) const CONTROL: u8 = 6;
pub(crate) const CHUNK: u8 = 7;
pub(crate) const TRY_THESE: u8 = 8;

/// Bytes of a cookie.
pub const COOKIE_BYTES: usize = 16;

/// Length of a Hello; padded so that the answer is not longer than the question.
pub const HELLO_BYTES: usize = 32;

/// Try these: bytes in front of the list.
pub const TRY_THESE_HEADER_BYTES: usize = 9;

/// Control datagram: bytes in front of the ciphertext (kind, session, nonce); also its associated data.
pub const CONTROL_HEADER_BYTES: usize = 17;

/// Bytes of an authentication tag (RFC 8439).
pub const AEAD_TAG_BYTES: usize = 16;

/// Most plaintext in one control datagram.
pub const MAX_CONTROL_BYTES: usize = MAX_DATAGRAM_BYTES - CONTROL_HEADER_BYTES - AEAD_TAG_BYTES;

pub(crate) const fn first_byte(kind: u8) -> u8 {
    VERSION << 4 | kind
}

/// Whether this is what somebody without a session is answered.
pub fn is_answer(datagram: &[u8]) -> bool {
    let kinds = [COOKIE, REPLY, TRY_THESE].map(first_byte);
    datagram.first().is_some_and(|first| kinds.contains(first))
}

/// One datagram, taken apart but not believed.
#[allow(missing_docs, reason = "each variant says what its fields are")]
#[derive(Clone, Copy, Debug)]
pub enum Datagram<'a> {
    /// "I would like to talk about this stream": the initiator's session id.
    Hello { session: u64, tag: Tag },
    /// The answer to a Hello: prove that you are where you say.
    Cookie {
        session: u64,
        cookie: [u8; COOKIE_BYTES],
    },
    /// Cookie returned with the first Noise message.
    Initiate {
        session: u64,
        tag: Tag,
        cookie: [u8; COOKIE_BYTES],
        noise: &'a [u8],
    },
    /// Second Noise message, to the initiator's session.
    Reply { session: u64, noise: &'a [u8] },
    /// Third Noise message, to the responder's session.
    Finish { session: u64, noise: &'a [u8] },
    /// Sealed control messages. `header` is the associated data.
    Control {
        session: u64,
        nonce: u64,
        header: &'a [u8],
        sealed: &'a [u8],
    },
    /// A chunk in the clear. `sent` is the sender's clock in units of 16 us, 24 bits; `behind` says by how many blocks the stripe's
    /// tree is behind this chunk at the sender.
    Chunk {
        session: u64,
        sent: u32,
        behind: u8,
        chunk: Chunk<'a>,
    },
    /// "I am full": a postcard list of addresses to try, to the initiator's session.
    TryThese { session: u64, list: &'a [u8] },
}

impl<'a> Datagram<'a> {
    /// Takes a datagram apart. Every length is checked; nothing is verified.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_DATAGRAM_BYTES {
            return Err(Malformed::Long);
        }
        let mut r = Reader(bytes);
        let first = r.u8()?;
        if first >> 4 != VERSION {
            return Err(Malformed::Version);
        }
        match first & 0xf {
            HELLO => {
                let (session, tag) = (r.u64()?, r.u32()?);
                r.take(HELLO_BYTES - 13)?;
                r.end()?;
                Ok(Self::Hello { session, tag })
            }
            COOKIE => {
                let (session, cookie) = (r.u64()?, r.array()?);
                r.end()?;
                Ok(Self::Cookie { session, cookie })
            }
            INITIATE => Ok(Self::Initiate {
                session: r.u64()?,
                tag: r.u32()?,
                cookie: r.array()?,
                noise: r.0,
            }),
            REPLY => Ok(Self::Reply {
                session: r.u64()?,
                noise: r.0,
            }),
            FINISH => Ok(Self::Finish {
                session: r.u64()?,
                noise: r.0,
            }),
            CONTROL => {
                let (session, nonce) = (r.u64()?, r.u64()?);
                let header = bytes.get(..CONTROL_HEADER_BYTES).ok_or(Malformed::Short)?;
                Ok(Self::Control {
                    session,
                    nonce,
                    header,
                    sealed: r.0,
                })
            }
            CHUNK => {
                let [a, b, c] = r.array()?;
                let (session, behind) = (r.u64()?, r.u8()?);
                Ok(Self::Chunk {
                    session,
                    sent: u32::from_be_bytes([0, a, b, c]),
                    behind,
                    chunk: Chunk::parse(r.0)?,
                })
            }
            TRY_THESE => Ok(Self::TryThese {
                session: r.u64()?,
                list: r.0,
            }),
            _ => Err(Malformed::Kind),
        }
    }

    /// Writes a datagram and returns its length. (Chunks are not written here: they leave straight from the ring.)
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Full> {
        let mut w = Writer::new(out);
        match *self {
            Self::Hello { session, tag } => {
                head(&mut w, HELLO, session)?;
                w.put(&tag.to_be_bytes())?;
                w.put(&[0; HELLO_BYTES - 13])?;
            }
            Self::Cookie { session, cookie } => {
                head(&mut w, COOKIE, session)?;
                w.put(&cookie)?;
            }
            Self::Initiate {
                session,
                tag,
                cookie,
                noise,
            } => {
                head(&mut w, INITIATE, session)?;
                w.put(&tag.to_be_bytes())?;
                w.put(&cookie)?;
                w.put(noise)?;
            }
            Self::Reply { session, noise } => {
                head(&mut w, REPLY, session)?;
                w.put(noise)?;
            }
            Self::Finish { session, noise } => {
                head(&mut w, FINISH, session)?;
                w.put(noise)?;
            }
            Self::Control {
                session,
                nonce,
                sealed,
                ..
            } => {
                w.put(&control_header(session, nonce))?;
                w.put(sealed)?;
            }
            Self::Chunk {
                session,
                sent,
                behind,
                chunk,
            } => {
                let sent_us = u64::from(sent) * super::chunk::TICK_US;
                w.put(&super::chunk::prefix(session, sent_us, behind))?;
                w.put(chunk.bytes)?;
            }
            Self::TryThese { session, list } => {
                head(&mut w, TRY_THESE, session)?;
                w.put(list)?;
            }
        }
        Ok(w.len())
    }
}

/// Header of a control datagram: kind, receiver's session, nonce.
pub fn control_header(session: u64, nonce: u64) -> [u8; CONTROL_HEADER_BYTES] {
    let mut out = [0; CONTROL_HEADER_BYTES];
    out[0] = first_byte(CONTROL);
    out[1..9].copy_from_slice(&session.to_be_bytes());
    out[9..].copy_from_slice(&nonce.to_be_bytes());
    out
}

fn head(w: &mut Writer<'_>, kind: u8, session: u64) -> Result<(), Full> {
    w.put(&[first_byte(kind)])?;
    w.put(&session.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_a_round_trip() {
        let header = control_header(7, 9);
        let chunk_bytes = super::super::chunk::header(1, Default::default());
        let kinds = [
            Datagram::Hello { session: 1, tag: 2 },
            Datagram::Cookie {
                session: 1,
                cookie: [3; 16],
            },
            Datagram::Initiate {
                session: 1,
                tag: 2,
                cookie: [3; 16],
                noise: &[4; 32],
            },
            Datagram::Reply {
                session: 1,
                noise: &[5; 104],
            },
            Datagram::Finish {
                session: 1,
                noise: &[6; 64],
            },
            Datagram::Control {
                session: 7,
                nonce: 9,
                header: &header,
                sealed: &[8; 40],
            },
            Datagram::Chunk {
                session: 1,
                sent: 5,
                behind: 3,
                chunk: Chunk::parse(&chunk_bytes).unwrap(),
            },
            Datagram::TryThese {
                session: 1,
                list: &[0],
            },
        ];
        for kind in kinds {
            let mut out = [0; MAX_DATAGRAM_BYTES];
            let n = kind.write(&mut out).unwrap();
            let back = Datagram::parse(&out[..n]).unwrap();
            assert_eq!(std::format!("{kind:?}"), std::format!("{back:?}"));
        }
    }

    #[test]
    fn a_cookie_is_not_longer_than_the_hello_it_answers() {
        let mut out = [0; 64];
        let hello = Datagram::Hello { session: 1, tag: 2 }
            .write(&mut out)
            .unwrap();
        let cookie = Datagram::Cookie {
            session: 1,
            cookie: [0; 16],
        }
        .write(&mut out)
        .unwrap();
        assert!(cookie <= hello);
    }

    #[test]
    fn hostile_bytes_are_refused_quietly() {
        let mut rng = crate::rng::Rng::new(1);
        for _ in 0..20_000 {
            let mut bytes = [0u8; 80];
            bytes.iter_mut().for_each(|b| *b = rng.next_u64() as u8);
            bytes[0] = first_byte(bytes[0] & 0xf);
            let len = rng.below(81) as usize;
            let _ = Datagram::parse(&bytes[..len]);
        }
        assert!(matches!(Datagram::parse(&[0x21]), Err(Malformed::Version)));
        assert!(matches!(Datagram::parse(&[]), Err(Malformed::Short)));
        assert!(matches!(Datagram::parse(&[0; 1_233]), Err(Malformed::Long)));
    }
}
