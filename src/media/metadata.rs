//! What is playing: "Artist - Title" from Vorbis comments, ID3v2 tags and ASF content descriptions.

use heapless::String;

use super::fields::{array, tail, u8, u16_be, u32_be, u32_le};
use crate::limits::MAX_METADATA_BYTES;

/// One line of text of bounded length; what does not fit is cut off between characters.
pub(super) type Text = String<MAX_METADATA_BYTES>;

/// Comments read before the rest of a tag is left unread.
const MAX_COMMENTS: usize = 256;

/// The text now playing, and whether it has been asked for since it changed.
pub(super) struct NowPlaying {
    text: Text,
    changed: bool,
}

impl NowPlaying {
    pub(super) const fn new() -> Self {
        Self {
            text: Text::new(),
            changed: false,
        }
    }

    /// The text, once after each change.
    pub(super) fn take(&mut self) -> Option<&str> {
        core::mem::take(&mut self.changed).then_some(self.text.as_str())
    }

    /// Sets it from artist and title, either of which may be empty.
    pub(super) fn set(&mut self, artist: &Text, title: &Text) {
        let mut text = Text::new();
        extend(&mut text, artist.chars());
        if !artist.is_empty() && !title.is_empty() {
            extend(&mut text, " - ".chars());
        }
        extend(&mut text, title.chars());
        if text != self.text {
            self.text = text;
            self.changed = true;
        }
    }

    /// Reads a Vorbis comment header without its leading magic (Vorbis I specification, section 5.2.1).
    pub(super) fn read_vorbis_comment(&mut self, bytes: &[u8]) {
        let (artist, title) = vorbis_comment(bytes);
        self.set(&artist, &title);
    }

    /// Reads an ID3v2.2, 2.3 or 2.4 tag (id3.org), of which only the beginning may be there.
    pub(super) fn read_id3v2(&mut self, tag: &[u8]) {
        let (artist, title) = id3v2(tag);
        if !artist.is_empty() || !title.is_empty() {
            self.set(&artist, &title);
        }
    }
}

/// Appends what fits, control characters as spaces.
pub(super) fn extend(text: &mut Text, chars: impl Iterator<Item = char>) {
    for c in chars {
        if text.push(if c.is_control() { ' ' } else { c }).is_err() {
            return;
        }
    }
}

fn vorbis_comment(bytes: &[u8]) -> (Text, Text) {
    let (mut artist, mut title) = (Text::new(), Text::new());
    let mut at = u32_le(bytes, 0).map_or(usize::MAX, |vendor| (vendor as usize).saturating_add(4));
    let count = u32_le(bytes, at).unwrap_or(0) as usize;
    at = at.saturating_add(4);
    for _ in 0..count.min(MAX_COMMENTS) {
        let Some(len) = u32_le(bytes, at) else { break };
        let end = at.saturating_add(4).saturating_add(len as usize);
        let Some(comment) = bytes.get(at + 4..end) else {
            break;
        };
        if let Some(equals) = comment.iter().position(|&b| b == b'=') {
            let (name, value) = comment.split_at(equals);
            let target = match name {
                _ if name.eq_ignore_ascii_case(b"ARTIST") => Some(&mut artist),
                _ if name.eq_ignore_ascii_case(b"TITLE") => Some(&mut title),
                _ => None,
            };
            if let Some(text) = target.filter(|text| text.is_empty()) {
                push_utf8(text, tail(value, 1));
            }
        }
        at = end;
    }
    (artist, title)
}

/// Bytes of a whole ID3v2 tag, header and footer included, if one begins here (ID3v2.4 structure, section 3.1).
pub(super) fn id3v2_len(bytes: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', major, revision, flags] = array::<6>(bytes, 0)? else {
        return None;
    };
    let size = syncsafe(array(bytes, 6)?)?;
    let footer = if flags & 0x10 != 0 { 10 } else { 0 };
    (major != 0xff && revision != 0xff).then_some(10 + u64::from(size) + footer)
}

/// Whether the bytes could be the beginning of an ID3v2 tag whose header is not whole yet.
pub(super) fn may_be_id3v2(bytes: &[u8]) -> bool {
    bytes.len() < 10 && bytes.iter().zip(b"ID3").all(|(a, b)| a == b)
}

fn syncsafe(bytes: [u8; 4]) -> Option<u32> {
    bytes
        .iter()
        .all(|&b| b < 0x80)
        .then(|| bytes.iter().fold(0, |sum, &b| sum << 7 | u32::from(b)))
}

fn id3v2(tag: &[u8]) -> (Text, Text) {
    let (mut artist, mut title) = (Text::new(), Text::new());
    let Some(len) = id3v2_len(tag) else {
        return (artist, title);
    };
    let tag = tag
        .get(..usize::try_from(len).unwrap_or(usize::MAX))
        .unwrap_or(tag);
    let major = u8(tag, 3).unwrap_or(0);
    let extended = u8(tag, 5).unwrap_or(0) & 0x40 != 0;
    let mut at: usize = match (major, extended) {
        (4, true) => array(tag, 10)
            .and_then(syncsafe)
            .map_or(usize::MAX, |n| 10usize.saturating_add(n as usize)),
        (3, true) => u32_be(tag, 10).map_or(usize::MAX, |n| 14usize.saturating_add(n as usize)),
        _ => 10,
    };
    for _ in 0..MAX_COMMENTS {
        let Some((name, body, len)) = id3v2_frame(tag, at, major) else {
            break;
        };
        let target = match name {
            b"TPE1" | b"TP1" => Some(&mut artist),
            b"TIT2" | b"TT2" => Some(&mut title),
            _ => None,
        };
        if let Some(text) = target.filter(|text| text.is_empty()) {
            push_id3_text(text, body);
        }
        at = at.saturating_add(len);
    }
    (artist, title)
}

/// Name, body and whole length of the frame at `at`; `None` at padding or the end.
fn id3v2_frame(tag: &[u8], at: usize, major: u8) -> Option<(&[u8], &[u8], usize)> {
    let header = if major == 2 { 6 } else { 10 };
    let name = tail(tag, at).get(..if major == 2 { 3 } else { 4 })?;
    if !name.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let size = match major {
        2 => {
            let [a, b, c] = array(tag, at + 3)?;
            u32::from_be_bytes([0, a, b, c])
        }
        4 => syncsafe(array(tag, at + 4)?)?,
        _ => u32_be(tag, at + 4)?,
    } as usize;
    let len = size.checked_add(header)?;
    Some((name, tag.get(at + header..at.checked_add(len)?)?, len))
}

fn push_id3_text(text: &mut Text, body: &[u8]) {
    let Some((&encoding, body)) = body.split_first() else {
        return;
    };
    match encoding {
        0 => extend(
            text,
            body.iter().take_while(|&&b| b != 0).map(|&b| char::from(b)),
        ),
        1 if u16_be(body, 0) == Some(0xfeff) => push_utf16(text, tail(body, 2), u16::from_be_bytes),
        1 => push_utf16(text, tail(body, 2), u16::from_le_bytes),
        2 => push_utf16(text, body, u16::from_be_bytes),
        _ => push_utf8(text, body),
    }
}

/// Appends UTF-16 up to its end or a zero.
pub(super) fn push_utf16(text: &mut Text, bytes: &[u8], order: fn([u8; 2]) -> u16) {
    let units = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&pair| order(pair))
        .take_while(|&unit| unit != 0);
    extend(
        text,
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)),
    );
}

fn push_utf8(text: &mut Text, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        extend(text, chunk.valid().chars().take_while(|&c| c != '\0'));
        if chunk.valid().contains('\0') {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn comment(entries: &[&[u8]]) -> Vec<u8> {
        let mut bytes = std::vec![4, 0, 0, 0, b'w', b'e', b'i', b'r'];
        bytes.extend((entries.len() as u32).to_le_bytes());
        for entry in entries {
            bytes.extend((entry.len() as u32).to_le_bytes());
            bytes.extend(*entry);
        }
        bytes
    }

    #[test]
    fn vorbis_comments() {
        let mut now = NowPlaying::new();
        now.read_vorbis_comment(&comment(&[
            b"date=1977",
            b"title=Heroes",
            b"Artist=David\nBowie",
        ]));
        assert_eq!(now.take(), Some("David Bowie - Heroes"));
        now.read_vorbis_comment(&comment(&[b"TITLE=Heroes", b"ARTIST=David Bowie"]));
        assert_eq!(now.take(), None);
        now.read_vorbis_comment(&comment(&[b"TITLE=\xff\xfeok"]));
        assert_eq!(now.take(), Some("ok"));
        now.read_vorbis_comment(&comment(&[]));
        assert_eq!(now.take(), Some(""));
        let long = [b"TITLE=".as_slice(), "ü".repeat(400).as_bytes()].concat();
        now.read_vorbis_comment(&comment(&[&long]));
        assert_eq!(now.take().map(str::len), Some(254));
    }

    #[test]
    fn id3_tags() {
        let mut now = NowPlaying::new();
        // ID3v2.3, UTF-16 with byte order mark, then Latin-1.
        let mut tag = b"ID3\x03\0\0\0\0\0\x25TIT2\0\0\0\x07\0\0\x01\xff\xfeA\0\xe9\0".to_vec();
        tag.extend(b"TPE1\0\0\0\x04\0\0\0Bj\xf6");
        assert_eq!(tag.len(), 41);
        now.read_id3v2(&tag);
        assert_eq!(now.take(), Some("Bjö - Aé"));
        assert_eq!(id3v2_len(&tag), Some(47));
    }
}
