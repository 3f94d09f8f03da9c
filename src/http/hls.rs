//! The playlist of a live stream for HTTP Live Streaming (RFC 8216, version 6).

use crate::error::Full;
use crate::http::out::Out;

/// How a stream's segments are named and what players need before them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Extension of the segments.
    pub extension: &'static str,
    /// Media type of the segments.
    pub content_type: &'static str,
    /// The preamble is a resource of its own (`EXT-X-MAP`).
    pub has_map: bool,
    /// The preamble stands before the media of every segment.
    pub has_preamble: bool,
}

/// How HLS carries a stream of this media type, if it can (RFC 8216 section 3).
pub fn format(content_type: &str) -> Option<Format> {
    let (extension, content_type, has_map, has_preamble) =
        match content_type.split(';').next().unwrap_or("").trim() {
            "video/mp2t" | "video/MP2T" => ("ts", "video/mp2t", false, true),
            "video/mp4" => ("m4s", "video/mp4", true, false),
            "audio/mp4" => ("m4s", "audio/mp4", true, false),
            "audio/mpeg" => ("mp3", "audio/mpeg", false, false),
            "audio/aac" | "audio/aacp" => ("aac", "audio/aac", false, false),
            _ => return None,
        };
    Some(Format {
        extension,
        content_type,
        has_map,
        has_preamble,
    })
}

/// One segment in a playlist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The number in its address.
    pub block: u64,
    /// How long it lasts.
    pub duration_ms: u64,
    /// It does not join on to the one before it.
    pub is_new_run: bool,
}

/// Media type of a playlist.
pub const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";

/// Segments are about this long; longer ones raise the target.
const TARGET_MS: u64 = 4_000;

/// Writes the playlist whose oldest segment has this number; returns its length. Addresses are relative to the playlist's.
pub fn playlist(
    format: &Format,
    sequence: u64,
    entries: &[Entry],
    out: &mut [u8],
) -> Result<usize, Full> {
    let mut out = Out::new(out);
    let longest_ms = entries.iter().map(|entry| entry.duration_ms).max();
    // RFC 8216 section 4.3.3.1: no segment, rounded to whole seconds, is longer than the target.
    let target_s = (longest_ms.unwrap_or(0).max(TARGET_MS) + 500) / 1_000;
    out.fmt(format_args!(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{target_s}\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n"
    ));
    out.str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    if format.has_map {
        out.str("#EXT-X-MAP:URI=\"seg/init.mp4\"\n");
    }
    for (i, entry) in entries.iter().enumerate() {
        if entry.is_new_run && i > 0 {
            out.str("#EXT-X-DISCONTINUITY\n");
        }
        let (s, ms) = (entry.duration_ms / 1_000, entry.duration_ms % 1_000);
        let (block, extension) = (entry.block, format.extension);
        out.fmt(format_args!(
            "#EXTINF:{s}.{ms:03},\nseg/{block}.{extension}\n"
        ));
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(block: u64, duration_ms: u64) -> Entry {
        Entry {
            block,
            duration_ms,
            is_new_run: block == 9,
        }
    }

    fn written(content_type: &str, entries: &[Entry]) -> std::string::String {
        let mut out = [0; 2_048];
        let len = playlist(&format(content_type).unwrap(), 41, entries, &mut out).unwrap();
        std::string::String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn a_playlist_of_a_transport_stream() {
        let text = written(
            "video/mp2t",
            &[entry(7, 2_000), entry(9, 2_040), entry(12, 6_500)],
        );
        assert_eq!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:7\n#EXT-X-MEDIA-SEQUENCE:41\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXTINF:2.000,\nseg/7.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2.040,\nseg/9.ts\n#EXTINF:6.500,\nseg/12.ts\n"
        );
    }

    #[test]
    fn fragments_have_a_map_and_others_none() {
        assert!(written("video/mp4", &[]).contains("#EXT-X-MAP:URI=\"seg/init.mp4\"\n"));
        assert!(!written("audio/mpeg; x=y", &[]).contains("MAP"));
        assert_eq!(format("audio/ogg"), None);
        assert_eq!(format("text/html"), None);
    }

    #[test]
    fn the_longest_playlist_fits_a_part() {
        let longest = Entry {
            block: u64::MAX,
            duration_ms: u64::from(u32::MAX),
            is_new_run: true,
        };
        let mut out = [0; crate::http::document::PART_BYTES];
        let format = format("video/mp4").unwrap();
        assert!(playlist(&format, u64::MAX, &[longest; 20], &mut out).is_ok());
    }
}
