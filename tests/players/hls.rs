//! HLS: playlists that agree with each other, segments that are the stream and nothing else, and ffmpeg as the client.

use crate::rig::{Node, Workshop, ask, get, have, header, output, until};
use std::collections::HashMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

/// Seconds of the programme; a client plays the first of them.
const LENGTH_S: u32 = 40;

const KINDS: [(&str, &str, &str, &str); 4] = [
    (
        "film.ts",
        "ts",
        "video/mp2t",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -f mpegts",
    ),
    (
        "film.mp4",
        "m4s",
        "video/mp4",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -movflags +empty_moov+frag_keyframe+default_base_moof",
    ),
    (
        "tone.mp3",
        "mp3",
        "audio/mpeg",
        "-map 1 -c:a libmp3lame -b:a 128k",
    ),
    (
        "tone.aac",
        "aac",
        "audio/aac",
        "-map 1 -c:a aac -b:a 96k -f adts",
    ),
];

/// What a playlist says.
struct Playlist {
    target_s: f64,
    sequence: u64,
    /// Address and length of each segment.
    segments: Vec<(String, f64)>,
}

impl Playlist {
    fn fetch(node: &Node, key: &str) -> Self {
        let (head, body) = get(
            node.http,
            &format!("/streams/{key}/index.m3u8"),
            "",
            usize::MAX,
        );
        let text = String::from_utf8(body).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}{text}");
        assert_eq!(
            header(&head, "content-type"),
            Some("application/vnd.apple.mpegurl")
        );
        assert!(text.starts_with("#EXTM3U\n"), "{text}");
        let value = |tag: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(tag));
            line.unwrap_or_else(|| panic!("no {tag} in {text}"))
        };
        let mut segments = Vec::new();
        let mut length_s = 0.0;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("#EXTINF:") {
                length_s = rest.trim_end_matches(',').parse().unwrap();
            } else if !line.starts_with('#') {
                segments.push((line.to_string(), length_s));
            }
        }
        Self {
            target_s: value("#EXT-X-TARGETDURATION:").parse().unwrap(),
            sequence: value("#EXT-X-MEDIA-SEQUENCE:").parse().unwrap(),
            segments,
        }
    }
}

#[test]
fn hls_is_the_stream_in_pieces() {
    if !have(&["ffmpeg", "timeout"]) {
        return;
    }
    let workshop = &Workshop::open("hls");
    std::thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || try_kind(workshop, kind));
        }
    });
}

fn try_kind(
    workshop: &Workshop,
    (name, extension, content_type, encode): (&str, &str, &str, &str),
) {
    let file = workshop.encode(name, LENGTH_S, encode);
    let source = Node::source(&workshop.key(name), &file, Stdio::null(), &[]);
    let key = source.key();
    source.wait_live(&key);
    let relay = Node::relay(&[source.uri(&key)]);
    // Nobody plays at the relay: the client alone makes it take the whole stream.
    let url = format!("{}/index.m3u8", relay.url(&key));
    let client = std::thread::spawn(move || {
        let how = [
            "-v",
            "level+warning",
            "-t",
            "12",
            "-i",
            &url,
            "-map",
            "0",
            "-f",
            "framecrc",
            "-",
        ];
        output("ffmpeg", &how)
    });
    let original = fs::read(&file).unwrap();
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let mut pieces: HashMap<String, Vec<u8>> = HashMap::new();
    for turn in 0..6 {
        let playlist = Playlist::fetch(if turn % 3 == 2 { &source } else { &relay }, &key);
        assert!(!playlist.segments.is_empty());
        for (number, (address, length_s)) in (playlist.sequence..).zip(&playlist.segments) {
            assert!(address.ends_with(extension), "{address}");
            assert!((0.9..4.6).contains(length_s), "{name}: {length_s} s");
            assert!(length_s.round() <= playlist.target_s);
            let known = *numbers.entry(address.clone()).or_insert(number);
            assert_eq!(known, number, "{name}: {address} has another number now");
            if !pieces.contains_key(address) {
                let (head, body) = get(
                    relay.http,
                    &format!("/streams/{key}/{address}"),
                    "",
                    usize::MAX,
                );
                if head.starts_with("HTTP/1.1 200") {
                    assert_eq!(header(&head, "content-type"), Some(content_type));
                    let length = header(&head, "content-length").unwrap();
                    assert_eq!(length, body.len().to_string(), "{name} {address}");
                    pieces.insert(address.clone(), body);
                }
            }
        }
        // No condition: a client asks again after a while, and so do we.
        std::thread::sleep(Duration::from_millis(1_900));
    }
    in_order_they_are_the_stream(name, extension, &original, &numbers, &pieces);
    let played = client.join().unwrap();
    let said = String::from_utf8_lossy(&played.stderr);
    assert!(
        played.status.success() && !said.contains("[error]"),
        "{name}: {said}"
    );
    let frames = String::from_utf8_lossy(&played.stdout);
    let frames = frames.lines().filter(|line| line.starts_with("0,")).count();
    // Twelve seconds: 300 pictures, 459 frames of MP3, 516 of AAC.
    assert!(frames > 250, "{name}: {frames} frames; {said}");

    let path = format!("/streams/{key}/seg/12345.{extension}");
    let (head, _) = get(relay.http, &path, "", usize::MAX);
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    let (head, body) = ask(
        relay.http,
        "HEAD",
        &format!("/streams/{key}/index.m3u8"),
        "",
        9_999,
    );
    assert!(
        head.starts_with("HTTP/1.1 200") && body.is_empty(),
        "{head}"
    );
    until("the relay has let the stream go", || {
        relay.status()["players"]
            .as_array()?
            .is_empty()
            .then_some(())
    });
}

/// Segments with numbers one after another are bytes one after another.
fn in_order_they_are_the_stream(
    name: &str,
    extension: &str,
    original: &[u8],
    numbers: &HashMap<String, u64>,
    pieces: &HashMap<String, Vec<u8>>,
) {
    let mut ordered: Vec<(u64, &[u8])> = Vec::new();
    for (address, piece) in pieces {
        // ffmpeg's tables first, a packet each, in every segment: services, programmes, the programme's streams.
        let skip = if extension == "ts" { 3 * 188 } else { 0 };
        assert_eq!(extension == "ts", piece[0] == 0x47, "{address}");
        ordered.push((numbers[address], &piece[skip..]));
    }
    ordered.sort_unstable();
    assert!(
        ordered.len() >= 4,
        "{name}: only {} segments",
        ordered.len()
    );
    let first = ordered[0].0;
    let whole: Vec<u8> = (first..)
        .zip(&ordered)
        .take_while(|(number, (found, _))| number == found)
        .flat_map(|(_, (_, piece))| piece.iter().copied())
        .collect();
    let is_part = original.windows(whole.len()).any(|part| part == whole);
    assert!(is_part, "{name}: {} bytes are not the stream", whole.len());
    assert!(
        whole.len() > 40_000,
        "{name}: {} bytes in a row",
        whole.len()
    );
}

#[test]
fn what_hls_cannot_carry_is_refused_with_a_reason() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = Workshop::open("not-hls");
    let file = workshop.encode("tone.ogg", 10, "-map 1 -c:a libvorbis");
    let source = Node::source(&workshop.key("ogg"), &file, Stdio::null(), &[]);
    let key = source.key();
    source.wait_live(&key);
    for path in ["index.m3u8", "seg/1.ts", "seg/init.mp4"] {
        let (head, body) = get(
            source.http,
            &format!("/streams/{key}/{path}"),
            "",
            usize::MAX,
        );
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        let text = String::from_utf8(body).unwrap();
        assert!(text.contains("this stream is none of them"), "{text}");
    }
}
