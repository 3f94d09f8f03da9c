//! The "now playing" update that source clients send beside their stream:
//! `GET /admin/metadata?mode=updinfo&mount=/live&song=Artist+-+Title` (Icecast 2 documentation, "Administration interface").

use super::url::percent_decoded;
use crate::http::request::query_value;
use crate::limits::MAX_METADATA_BYTES;
use std::string::String;

/// The title in a query: `song`, or `artist` and `title`; `None` if there is none. Cut to [`MAX_METADATA_BYTES`].
pub(super) fn title(query: &str) -> Option<String> {
    let charset = query_value(query, "charset").map(|raw| percent_decoded(raw, true));
    let latin1 = charset.is_some_and(|name| is_latin1(&name));
    let value =
        |name| query_value(query, name).map(|raw| text(&percent_decoded(raw, true), latin1));
    let filled = |name| value(name).filter(|text| !text.is_empty());
    let title = match (value("song"), filled("artist"), value("title")) {
        (Some(song), ..) => song,
        (None, Some(artist), Some(title)) if !title.is_empty() => artist + " - " + &title,
        (None, Some(artist), _) => artist,
        (None, None, title) => title?,
    };
    Some(cut(title))
}

fn is_latin1(charset: &[u8]) -> bool {
    [
        "latin1",
        "latin-1",
        "iso-8859-1",
        "iso8859-1",
        "windows-1252",
    ]
    .iter()
    .any(|name| charset.eq_ignore_ascii_case(name.as_bytes()))
}

/// Text in the charset that was named. Without a name it is UTF-8 if it can be, as every encoder of today sends it.
fn text(bytes: &[u8], latin1: bool) -> String {
    match core::str::from_utf8(bytes) {
        Ok(utf8) if !latin1 => utf8.trim().into(),
        _ => {
            let decoded: String = bytes.iter().map(|&byte| char::from(byte)).collect();
            decoded.trim().into()
        }
    }
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(MAX_METADATA_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn songs_artists_and_titles() {
        assert_eq!(
            title("mode=updinfo&song=Am%C3%A9lie+%26+co").unwrap(),
            "Amélie & co"
        );
        assert_eq!(title("artist=A&title=B").unwrap(), "A - B");
        assert_eq!(title("artist=&title=B").unwrap(), "B");
        assert_eq!(title("artist=A&title=").unwrap(), "A");
        assert_eq!(title("song=").unwrap(), "");
        assert_eq!(title("mode=updinfo"), None);
    }

    #[test]
    fn charsets() {
        assert_eq!(
            title("song=Am%E9lie").unwrap(),
            "Amélie",
            "not UTF-8, so it is not"
        );
        assert_eq!(title("song=%C3%A9&charset=ISO-8859-1").unwrap(), "Ã©");
        assert_eq!(title("song=%C3%A9&charset=iso%2d8859%2D1").unwrap(), "Ã©");
        assert_eq!(title("song=%C3%A9&charset=UTF%2d8").unwrap(), "é");
    }

    #[test]
    fn nothing_long_gets_through() {
        for (begin, len) in [
            ("song=a", MAX_METADATA_BYTES),
            ("song=", MAX_METADATA_BYTES - 1),
        ] {
            let long = String::from(begin) + &"%C3%A9".repeat(400);
            assert_eq!(title(&long).unwrap().len(), len);
        }
    }
}
