//! The frames in which Windows Media crosses HTTP, and which ffmpeg's muxer `asf_stream` writes (MS-WMSP, 2.2.3.1): a `$`, a
//! letter, a length, and eight bytes more before what they carry. Players know them from media servers of that kind alone,
//! so they are taken off.

use crate::media::fields::{u8, u16_le};

/// The head of a frame with `$H`, `$D` or `$E`; its length counts from the fifth byte.
pub(super) const HEAD_BYTES: usize = 12;

/// Where in the frames the window is.
#[derive(Clone, Copy)]
pub(super) enum Chunks {
    /// At the first byte of the input.
    Unknown,
    /// There are none.
    Absent,
    /// So many bytes of this frame are still to come.
    Left(usize),
}

/// What stands in front.
pub(super) enum Front {
    /// It takes more bytes to tell.
    Unclear,
    /// The head of a frame; media begin anew behind it or go on.
    Head { begins_anew: bool },
    /// So many bytes that belong together: no more of the window than that is media.
    Media(usize),
    /// So many bytes that are no frame.
    Junk(usize),
}

impl Chunks {
    pub(super) fn front(&mut self, window: &[u8]) -> Front {
        if matches!(self, Self::Unknown) {
            *self = match window.first() {
                Some(b'$') => Self::Left(0),
                _ => Self::Absent,
            };
        }
        match *self {
            Self::Unknown | Self::Absent => Front::Media(usize::MAX),
            Self::Left(left) if left > 0 => Front::Media(left),
            Self::Left(_) if window.len() < HEAD_BYTES => Front::Unclear,
            Self::Left(_) => match carried(window) {
                Some(bytes) => {
                    *self = Self::Left(bytes);
                    let begins_anew = u8(window, 1) == Some(b'H');
                    Front::Head { begins_anew }
                }
                None => Front::Junk(resynchronise(window)),
            },
        }
    }

    /// So many bytes of media were taken.
    pub(super) fn take(&mut self, bytes: u64) {
        if let Self::Left(left) = self {
            *left = left.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
    }
}

/// The bytes that the frame in front carries; the length is there twice.
fn carried(frame: &[u8]) -> Option<usize> {
    let len = u16_le(frame, 2)?;
    let is_one = u8(frame, 0)? == b'$'
        && matches!(u8(frame, 1)?, b'H' | b'D' | b'E')
        && u16_le(frame, 10)? == len;
    usize::from(len).checked_sub(8).filter(|_| is_one)
}

/// Bytes before the next frame.
fn resynchronise(window: &[u8]) -> usize {
    let next = (1..window.len()).find(|&at| carried(window.get(at..).unwrap_or(&[])).is_some());
    next.unwrap_or((window.len() + 1).saturating_sub(HEAD_BYTES).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: [u8; 14] = *b"$D\x0a\0\x01\0\0\0\0\0\x0a\0ab";

    #[test]
    fn frames_are_counted() {
        let mut chunks = Chunks::Unknown;
        assert!(matches!(chunks.front(&DATA[..11]), Front::Unclear));
        let head = chunks.front(&DATA);
        assert!(matches!(head, Front::Head { begins_anew: false }));
        assert!(matches!(chunks.front(b"ab$D"), Front::Media(2)));
        chunks.take(2);
        assert!(matches!(chunks.front(b"$D"), Front::Unclear));
        assert!(matches!(
            Chunks::Unknown.front(b"0&"),
            Front::Media(usize::MAX)
        ));
    }

    #[test]
    fn noise_lasts_until_the_next_frame() {
        let mut chunks = Chunks::Left(0);
        let noise = [b"$D$D$E$D$E$H$".as_slice(), &DATA].concat();
        assert!(matches!(chunks.front(&noise), Front::Junk(13)));
        // What could be the beginning of one is kept.
        assert!(matches!(chunks.front(&noise[..20]), Front::Junk(9)));
    }
}
