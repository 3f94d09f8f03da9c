//! `/playlist.m3u`: every stream with its title and an absolute URL (extended M3U, UTF-8).

use crate::http::out::{For, escaped, pack};
use crate::http::status::StatusSource;
use heapless::String;

/// Most bytes of a Host header that is used: a name of 253, a colon and a port.
pub const MAX_HOST_BYTES: usize = 259;

/// The playlist, written in parts.
#[derive(Clone, Debug)]
pub struct Playlist {
    host: String<MAX_HOST_BYTES>,
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Head,
    Stream(usize),
}

impl Playlist {
    /// At its beginning. A `host` that cannot stand in a URL is not used; the URLs are relative then, which most players resolve.
    pub fn new(host: Option<&str>) -> Self {
        let host = host
            .filter(|host| is_authority(host))
            .and_then(|host| String::try_from(host).ok());
        Self {
            host: host.unwrap_or_default(),
            place: Some(Place::Head),
        }
    }

    /// Writes the next part into `out` (at least [`PART_BYTES`](crate::http::document::PART_BYTES)); `None` after the last.
    pub fn next(&mut self, source: &dyn StatusSource, out: &mut [u8]) -> Option<usize> {
        let host = &self.host;
        pack(&mut self.place, out, |place, out| match place {
            Place::Head => {
                out.str("#EXTM3U\n");
                Some(Place::Stream(0))
            }
            Place::Stream(i) if i >= source.stream_slots() => None,
            Place::Stream(i) => {
                if let Some(stream) = source.stream(i) {
                    // Length -1: it does not end.
                    out.str("#EXTINF:-1,");
                    escaped(
                        out,
                        For::Line,
                        if stream.title.is_empty() {
                            stream.key
                        } else {
                            stream.title
                        },
                        512,
                    );
                    out.str("\n");
                    if !host.is_empty() {
                        out.fmt(format_args!("http://{host}"));
                    }
                    out.str("/streams/");
                    escaped(out, For::Line, stream.key, 64);
                    out.str("\n");
                }
                Some(Place::Stream(i + 1))
            }
        })
    }
}

/// Letters, digits and what else a host name, address and port are made of (RFC 3986 section 3.2).
fn is_authority(host: &str) -> bool {
    let fits =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (1..=MAX_HOST_BYTES).contains(&host.len()) && host.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::document::Document;
    use crate::http::fake::{Fake, HOSTILE, KEY, whole};

    #[test]
    fn every_stream_has_a_title_and_an_absolute_url() {
        let playlist = Document::Playlist(Playlist::new(Some("box.lan:8480")));
        let entry = std::format!(
            "#EXTINF:-1,Radio \u{266b} Caf\u{e9}\nhttp://box.lan:8480/streams/{KEY}\n"
        );
        assert_eq!(
            whole(playlist, &Fake::full()),
            std::format!("#EXTM3U\n{entry}{entry}")
        );
    }

    #[test]
    fn a_title_cannot_add_an_entry_nor_a_host_another_line() {
        let mut fake = Fake::full();
        fake.title = HOSTILE.into();
        let hosts = [
            None,
            Some("a\nhttp://evil"),
            Some("a/b"),
            Some("a b"),
            Some(""),
            Some("u@h"),
        ];
        for host in hosts {
            let text = whole(Document::Playlist(Playlist::new(host)), &fake);
            assert_eq!(text.lines().count(), 5, "{text}");
            assert!(
                text.lines()
                    .filter(|line| !line.starts_with('#'))
                    .all(|line| line.starts_with("/streams/"))
            );
        }
        whole(
            Document::Playlist(Playlist::new(Some(&"h".repeat(MAX_HOST_BYTES)))),
            &Fake::extreme(),
        );
        assert!(
            Playlist::new(Some(&"h".repeat(MAX_HOST_BYTES + 1)))
                .host
                .is_empty()
        );
    }
}
