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
    /// A time stamp stands before the media of every segment: there is none in them (RFC 8216 section 3.4).
    pub has_timestamp: bool,
}

/// How HLS carries a stream of this media type, if it can (RFC 8216 section 3).
pub fn format(content_type: &str) -> Option<Format> {
    let (extension, content_type) = match content_type.split(';').next().unwrap_or("").trim() {
        "video/mp2t" | "video/MP2T" => ("ts", "video/mp2t"),
        "video/mp4" => ("m4s", "video/mp4"),
        "audio/mp4" => ("m4s", "audio/mp4"),
        "audio/mpeg" => ("mp3", "audio/mpeg"),
        "audio/aac" | "audio/aacp" => ("aac", "audio/aac"),
        _ => return None,
    };
    Some(Format {
        extension,
        content_type,
        has_map: extension == "m4s",
        has_preamble: extension == "ts",
        has_timestamp: matches!(extension, "mp3" | "aac"),
    })
}

/// Bytes of a time stamp before a segment.
pub const TIMESTAMP_BYTES: usize = 73;

/// Says to which media time a segment's first sample belongs: an ID3v2.4 tag with one PRIV frame of 33 bits of a 90 kHz clock
/// (RFC 8216 section 3.4; ID3v2.4.0 sections 3.1, 4 and 4.27).
pub fn timestamp(time_us: u64) -> [u8; TIMESTAMP_BYTES] {
    const OWNER: &[u8] = b"com.apple.streaming.transportStreamTimestamp\0";
    const FRAME_BYTES: usize = OWNER.len() + 8;
    const _: () = assert!(10 + 10 + FRAME_BYTES == TIMESTAMP_BYTES);
    // Lengths below 128 are the same in seven bits a byte.
    const _: () = assert!(10 + FRAME_BYTES < 128);
    let ticks = (time_us / 100 * 9 + time_us % 100 * 9 / 100) & ((1 << 33) - 1);
    let mut tag = [0; TIMESTAMP_BYTES];
    tag[..10].copy_from_slice(&[b'I', b'D', b'3', 4, 0, 0, 0, 0, 0, 10 + FRAME_BYTES as u8]);
    tag[10..20].copy_from_slice(&[b'P', b'R', b'I', b'V', 0, 0, 0, FRAME_BYTES as u8, 0, 0]);
    tag[20..20 + OWNER.len()].copy_from_slice(OWNER);
    tag[20 + OWNER.len()..].copy_from_slice(&ticks.to_be_bytes());
    tag
}

/// One segment in a playlist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The number in its address.
    pub block: u64,
    /// How long it lasts, µs.
    pub duration_us: u64,
    /// Grows where one does not join on to the one before it.
    pub discontinuities: u32,
    /// It joins on to the one before it, listed or not.
    pub joins_on: bool,
}

/// Media type of a playlist.
pub const PLAYLIST_TYPE: &str = "application/vnd.apple.mpegurl";

/// Segments are about this long; longer ones raise the target.
const TARGET_US: u64 = 4_000_000;

/// Writes the playlist; returns its length. `sequence` is the number of the oldest segment; `map` is another number whenever
/// the preamble is another one. Addresses are relative to the playlist's.
pub fn playlist(
    format: &Format,
    sequence: u32,
    map: u64,
    entries: &[Entry],
    out: &mut [u8],
) -> Result<usize, Full> {
    let mut out = Out::new(out);
    let longest_us = entries.iter().map(|entry| entry.duration_us).max();
    // RFC 8216 section 4.3.3.1: no segment, rounded to whole seconds, is longer than the target.
    let longest_us = longest_us.unwrap_or(0).max(TARGET_US);
    let target_s = longest_us.saturating_add(500_000) / 1_000_000;
    // At a tag VLC opens a fragment without its map, and gives up: there the number alone has to say it.
    let is_tagged = |entry: &Entry| !entry.joins_on && !format.has_map;
    // The first one's own number, less its own tag (RFC 8216 section 6.2.1).
    let discontinuities = entries.first().map_or(0, |entry| {
        let tags = u32::from(is_tagged(entry));
        entry.discontinuities.wrapping_sub(tags)
    });
    out.fmt(format_args!(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{target_s}\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}\n"
    ));
    out.str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    if format.has_map {
        // Clients that stay, hls.js for one, fetch it again under another address only.
        out.fmt(format_args!("#EXT-X-MAP:URI=\"seg/init.mp4?{map}\"\n"));
    }
    for entry in entries {
        if is_tagged(entry) {
            out.str("#EXT-X-DISCONTINUITY\n");
        }
        let (s, us) = (entry.duration_us / 1_000_000, entry.duration_us % 1_000_000);
        let (block, extension) = (entry.block, format.extension);
        out.fmt(format_args!(
            "#EXTINF:{s}.{us:06},\nseg/{block}.{extension}\n"
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
            duration_us: duration_ms * 1_000,
            discontinuities: if block < 9 { 3 } else { 4 },
            joins_on: block != 9,
        }
    }

    fn written(content_type: &str, entries: &[Entry]) -> std::string::String {
        let mut out = [0; 2_048];
        let len = playlist(&format(content_type).unwrap(), 41, 5, entries, &mut out).unwrap();
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
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:7\n#EXT-X-MEDIA-SEQUENCE:41\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXTINF:2.000000,\nseg/7.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2.040000,\nseg/9.ts\n\
             #EXTINF:6.500000,\nseg/12.ts\n"
        );
    }

    #[test]
    fn the_first_listed_may_be_the_one_that_does_not_join_on() {
        let numbers = |entries: &[Entry]| {
            let text = written("audio/mpeg", entries);
            let at = text.find("#EXT-X-DISCONTINUITY-SEQUENCE:").unwrap();
            text[at..].replace("#EXT-X-INDEPENDENT-SEGMENTS\n", "")
        };
        assert_eq!(
            numbers(&[entry(9, 2_000), entry(12, 2_000)]),
            "#EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-DISCONTINUITY\n#EXTINF:2.000000,\nseg/9.mp3\n\
             #EXTINF:2.000000,\nseg/12.mp3\n"
        );
        // Once it has left the list it is counted.
        assert_eq!(
            numbers(&[entry(12, 2_000)]),
            "#EXT-X-DISCONTINUITY-SEQUENCE:4\n#EXTINF:2.000000,\nseg/12.mp3\n"
        );
    }

    #[test]
    fn fragments_have_a_map_and_others_none() {
        let fragments = written("video/mp4", &[entry(9, 2_000)]);
        assert!(fragments.contains("#EXT-X-DISCONTINUITY-SEQUENCE:4\n"));
        assert!(fragments.contains("#EXT-X-MAP:URI=\"seg/init.mp4?5\"\n#EXTINF:"));
        assert!(!written("audio/mpeg; x=y", &[]).contains("MAP"));
        assert_eq!(format("audio/ogg"), None);
        assert_eq!(format("text/html"), None);
    }

    #[test]
    fn the_longest_playlist_fits_a_part() {
        let longest = core::array::from_fn::<_, 20, _>(|i| Entry {
            block: u64::MAX,
            duration_us: u64::MAX,
            discontinuities: u32::MAX - i as u32,
            joins_on: false,
        });
        let mut out = [0; crate::http::document::PART_BYTES];
        let format = format("video/mp4").unwrap();
        assert!(playlist(&format, u32::MAX, u64::MAX, &longest, &mut out).is_ok());
    }

    #[test]
    fn a_time_stamp_is_33_bits_of_90_khz() {
        let tag = timestamp(2_000_000);
        assert!(tag.starts_with(b"ID3\x04\0\0\0\0\0\x3fPRIV\0\0\0\x35\0\0com.apple.streaming."));
        assert_eq!(tag[65..], [0, 0, 0, 0, 0, 0x02, 0xbf, 0x20]);
        // 2^33 ticks later it is the same.
        assert_eq!(timestamp(2_000_000 + 95_443_717_689), timestamp(2_000_000));
        let last = timestamp(u64::MAX);
        assert!(last[65..68] == [0; 3] && last[68] <= 1);
    }
}
