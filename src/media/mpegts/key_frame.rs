//! Whether an elementary video stream begins with a key frame, from its first bytes.

use crate::media::fields::{tail, u8};

/// Bytes looked at; parameter sets and an encoder's long greeting (x265's is 2,400 bytes) come before the picture.
pub(super) const ES_LOOK_BYTES: usize = 4_096;

/// Video codecs whose key frames can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Codec {
    /// MPEG-1 and MPEG-2 video (ISO/IEC 13818-2).
    Mpeg2,
    /// MPEG-4 part 2 (ISO/IEC 14496-2).
    Mpeg4,
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    Hevc,
    /// One that is not known; every access unit is taken for a key frame unless the encoder marks them.
    Other,
}

/// What a decoder finds that begins with an access unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Picture {
    /// All it needs.
    Key,
    /// A whole picture, but later ones may name some from before it: an H.264 recovery point that is no IDR.
    Recovery,
    /// A picture made from others.
    Other,
}

/// What the access unit begins with, `None` when the bytes do not reach its picture.
pub(super) fn first_picture(codec: Codec, stream: &[u8]) -> Option<Picture> {
    let is_key = match codec {
        Codec::Mpeg2 => mpeg2(stream),
        Codec::Mpeg4 => mpeg4(stream),
        Codec::H264 => return h264(stream),
        Codec::Hevc => hevc(stream),
        Codec::Other => Some(true),
    };
    is_key.map(|is_key| if is_key { Picture::Key } else { Picture::Other })
}

/// What follows each start code 00 00 01.
fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    core::iter::from_fn(move || {
        at += tail(stream, at)
            .windows(3)
            .position(|code| code == [0, 0, 1])?
            + 3;
        Some(tail(stream, at)).filter(|unit| !unit.is_empty())
    })
}

/// An I picture behind a sequence header (13818-2, 6.2.2.1 and 6.2.3).
fn mpeg2(stream: &[u8]) -> Option<bool> {
    let mut has_sequence = false;
    for unit in units(stream) {
        match unit.first()? {
            0xb3 => has_sequence = true,
            0x00 => return u8(unit, 2).map(|b| has_sequence && b >> 3 & 7 == 1),
            _ => {}
        }
    }
    None
}

/// An I-VOP behind a video object layer (14496-2, 6.2.3 and 6.2.5).
fn mpeg4(stream: &[u8]) -> Option<bool> {
    let mut has_layer = false;
    for unit in units(stream) {
        match unit.first()? {
            0x20..=0x2f => has_layer = true,
            0xb6 => return u8(unit, 1).map(|b| has_layer && b >> 6 == 0),
            _ => {}
        }
    }
    None
}

/// An IDR slice, or an I slice or a recovery point, behind a sequence parameter set (H.264, 7.3.1, 7.3.3, D.1.8).
fn h264(stream: &[u8]) -> Option<Picture> {
    let (mut has_parameters, mut recovers) = (false, false);
    for unit in units(stream) {
        match unit.first()? & 0x1f {
            7 => has_parameters = true,
            6 => recovers |= u8(unit, 1)? == 6,
            1 | 2 | 5 if !has_parameters => return Some(Picture::Other),
            5 => return Some(Picture::Key),
            1 | 2 if recovers || slice_is_intra(tail(unit, 1))? => return Some(Picture::Recovery),
            1 | 2 => return Some(Picture::Other),
            _ => {}
        }
    }
    None
}

/// Whether a slice header's slice_type is I or SI: two Exp-Golomb numbers from the first bit (H.264, 9.1).
fn slice_is_intra(slice: &[u8]) -> Option<bool> {
    let bits = u64::from_be_bytes(*slice.first_chunk::<8>()?);
    let (_, used) = exp_golomb(bits)?;
    let (slice_type, _) = exp_golomb(bits.checked_shl(used)?)?;
    Some(matches!(slice_type, 2 | 4 | 7 | 9))
}

/// The number at the top of the bits and how many bits it takes.
fn exp_golomb(bits: u64) -> Option<(u64, u32)> {
    let zeros = bits.leading_zeros();
    (zeros < 16).then(|| ((bits << zeros >> (63 - zeros)) - 1, 2 * zeros + 1))
}

/// A picture of NAL unit types 16 to 23, IRAP, behind a sequence parameter set (H.265, 7.4.2.2).
fn hevc(stream: &[u8]) -> Option<bool> {
    let mut has_parameters = false;
    for unit in units(stream) {
        match unit.first()? >> 1 & 0x3f {
            33 => has_parameters = true,
            16..=23 => return Some(has_parameters),
            0..=15 => return Some(false),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_numbers() {
        // H.264, table 9-2.
        assert_eq!(exp_golomb(0b1 << 63), Some((0, 1)));
        assert_eq!(exp_golomb(0b010 << 61), Some((1, 3)));
        assert_eq!(exp_golomb(0b00110 << 59), Some((5, 5)));
        assert_eq!(exp_golomb(0b0001000 << 57), Some((7, 7)));
        assert_eq!(exp_golomb(0), None);
    }

    #[test]
    fn h264_pictures() {
        let sps = [0, 0, 0, 1, 0x67, 0x64, 0];
        let idr = [0, 0, 1, 0x65, 0x88, 0x84, 0, 0, 0, 0, 0, 0];
        let inter = [
            0, 0, 1, 0x41, 0x9a, 0x24, 0x6c, 0x41, 0x0f, 0xfe, 0x8a, 0x60,
        ];
        let intra = [0, 0, 1, 0x61, 0x88, 0x84, 0, 0, 0, 0, 0, 0];
        assert_eq!(h264(&[&sps[..], &idr].concat()), Some(Picture::Key));
        assert_eq!(h264(&[&sps[..], &intra].concat()), Some(Picture::Recovery));
        assert_eq!(h264(&[&sps[..], &inter].concat()), Some(Picture::Other));
        assert_eq!(h264(&idr), Some(Picture::Other)); // without parameters nothing can be decoded
        assert_eq!(h264(&sps), None);
    }
}
