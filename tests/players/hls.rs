//! HLS: playlists that agree with each other, segments that are the stream and nothing else, and ffmpeg as the client.

use crate::port::free_port;
use crate::rig::{Node, Program, Scratch, ask, get, have, header, output, until};
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// Seconds of the programme; a client plays the first of them.
const LENGTH_S: u32 = 70;

const KINDS: [(&str, &str, &str, &str); 4] = [
    (
        "film.ts",
        "ts",
        "video/mp2t",
        // Key frames 2.4 s apart: there are times without a segment.
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 60 -keyint_min 60 -c:a aac -f mpegts",
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
        // Noise that decoders make up is another one each time.
        "-map 1 -c:a aac -aac_pns 0 -b:a 96k -f adts",
    ),
];

/// What a playlist says.
struct Playlist {
    target_s: f64,
    sequence: u64,
    /// The first segment does not join on to what was before it.
    begins_anew: bool,
    /// How many breaks of that kind the first segment is behind (RFC 8216 section 6.2.1).
    breaks: u64,
    /// Address and length of each segment.
    segments: Vec<(String, f64)>,
}

impl Playlist {
    /// Asks again and again, as a client does that stays.
    fn wait(node: &Node, key: &str, is_met: impl Fn(&Self) -> bool) -> Self {
        until("the list says so", || {
            Some(Self::fetch(node, key)).filter(&is_met)
        })
    }

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
        let before_media = text.split("#EXTINF:").next().unwrap();
        let begins_anew = before_media.contains("\n#EXT-X-DISCONTINUITY\n");
        let removed: u64 = value("#EXT-X-DISCONTINUITY-SEQUENCE:").parse().unwrap();
        Self {
            target_s: value("#EXT-X-TARGETDURATION:").parse().unwrap(),
            sequence: value("#EXT-X-MEDIA-SEQUENCE:").parse().unwrap(),
            begins_anew,
            breaks: removed + u64::from(begins_anew),
            segments,
        }
    }
}

impl Playlist {
    /// Every segment has the same number wherever and whenever it is listed.
    fn agrees_with(&self, numbers: &mut HashMap<String, u64>) {
        assert!(!self.segments.is_empty());
        for (number, (address, _)) in (self.sequence..).zip(&self.segments) {
            let known = *numbers.entry(address.clone()).or_insert(number);
            assert_eq!(known, number, "{address} has another number now");
        }
    }
}

#[test]
fn hls_is_the_stream_in_pieces() {
    if !have(&["ffmpeg", "timeout"]) {
        return;
    }
    let workshop = &Scratch::new("hls");
    std::thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || try_kind(workshop, kind));
        }
    });
}

fn try_kind(workshop: &Scratch, (name, extension, content_type, encode): (&str, &str, &str, &str)) {
    let file = workshop.encode(name, LENGTH_S, encode);
    let source = Node::source(&workshop.key(name), &file, &[]);
    let key = source.key();
    source.wait_live(&key);
    let relay = Node::relay(&[source.uri(&key)]);
    // Nobody plays at the relay: the client alone makes it take the whole stream.
    let url = format!("{}/index.m3u8", relay.url(&key));
    let wav = workshop.path(&format!("{name}.wav"));
    let how = format!("-v level+warning -t 12 -i {url} -map 0 -f framecrc - -map 0:a {wav}");
    let client = std::thread::spawn(move || {
        let how: Vec<&str> = how.split(' ').collect();
        output("ffmpeg", &how)
    });
    let original = fs::read(&file).unwrap();
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let mut pieces: HashMap<String, Piece> = HashMap::new();
    for turn in 0..6 {
        let playlist = Playlist::fetch(if turn % 3 == 2 { &source } else { &relay }, &key);
        playlist.agrees_with(&mut numbers);
        for (address, length_s) in &playlist.segments {
            assert!(address.ends_with(extension), "{address}");
            assert!((1.9..3.1).contains(length_s), "{name}: {length_s} s");
            assert!(length_s.round() <= playlist.target_s);
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
                    pieces.insert(address.clone(), Piece::new(extension, *length_s, body));
                }
            }
        }
        // No condition: a client asks again after a while, and so do we.
        std::thread::sleep(Duration::from_millis(1_900));
    }
    in_order_they_are_the_stream(name, &original, &numbers, &pieces);
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
    if content_type.starts_with("audio/") {
        assert_same_samples(&file, &fs::read(&wav).unwrap());
    }

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
        let status = relay.status();
        status["players"].as_array()?.is_empty().then_some(())
    });
    until("the relay takes nothing any more", || {
        let stream = relay.stream(&key);
        let mut stripes = stream["stripes"].as_array()?.iter();
        stripes
            .all(|stripe| stripe["parent"].is_null())
            .then_some(())
    });
    // It comes back to the same segments under the same numbers.
    Playlist::fetch(&relay, &key).agrees_with(&mut numbers);
    Playlist::fetch(&source, &key).agrees_with(&mut numbers);
}

/// A segment, without what stands before its media.
struct Piece {
    media: Vec<u8>,
    length_s: f64,
    /// The time stamp before it.
    stamp: Option<u64>,
}

impl Piece {
    fn new(extension: &str, length_s: f64, mut body: Vec<u8>) -> Self {
        let mut stamp = None;
        if matches!(extension, "mp3" | "aac") {
            assert_eq!(&body[..10], b"ID3\x04\0\0\0\0\0\x3f");
            stamp = Some(u64::from_be_bytes(body[65..73].try_into().unwrap()));
            body.drain(..73);
            let exact_s = samples(extension, &body) as f64 / 44_100.0;
            assert!(
                (length_s - exact_s).abs() < 3e-6,
                "{length_s} s, but {exact_s} s of media"
            );
        }
        Self {
            media: body,
            length_s,
            stamp,
        }
    }
}

/// Samples in so many whole frames.
fn samples(extension: &str, mut frames: &[u8]) -> usize {
    let mut samples = 0;
    while let [0xff, _, b2, b3, b4, b5, ..] = *frames {
        let (len, more) = match extension {
            // 128 kbit/s at 44.1 kHz: 417 bytes, and one of padding now and then.
            "mp3" => (417 + usize::from(b2 >> 1 & 1), 1_152),
            _ => {
                let len = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
                (len, 1_024)
            }
        };
        frames = &frames[len..];
        samples += more;
    }
    assert!(frames.is_empty());
    samples
}

/// What a client decoded is what one finds in the source: no sample less, none more.
fn assert_same_samples(file: &str, wav: &[u8]) {
    let how = format!("-v error -i {file} -f s16le -");
    let how: Vec<&str> = how.split(' ').collect();
    let source = output("ffmpeg", &how).stdout;
    // Two channels of 16 bits. The first frames lean on some that the client never got.
    let (skipped, samples) = (4 * 4_608, 4);
    let begin = wav.windows(4).position(|four| four == b"data").unwrap() + 8;
    let decoded = &wav[begin + skipped..];
    assert!(decoded.len() > 10 * 44_100 * samples, "{}", decoded.len());
    let anchor = &decoded[..1_024];
    let mut places = source.windows(anchor.len()).step_by(samples);
    let at = samples
        * places
            .position(|part| part == anchor)
            .expect("another sound");
    let same = source[at..].iter().zip(decoded).take_while(|(a, b)| a == b);
    assert_eq!(same.count(), decoded.len(), "{file}");
}

/// Segments with numbers one after another are bytes one after another.
fn in_order_they_are_the_stream(
    name: &str,
    original: &[u8],
    numbers: &HashMap<String, u64>,
    pieces: &HashMap<String, Piece>,
) {
    let pieces = pieces.iter();
    let mut ordered: Vec<(u64, &Piece)> = pieces.map(|(at, it)| (numbers[at], it)).collect();
    ordered.sort_unstable_by_key(|&(number, _)| number);
    assert!(
        ordered.len() >= 4,
        "{name}: only {} segments",
        ordered.len()
    );
    let first = ordered[0].0;
    let whole: Vec<u8> = (first..)
        .zip(&ordered)
        .take_while(|(number, (found, _))| number == found)
        .flat_map(|(_, (_, piece))| piece.media.iter().copied())
        .collect();
    for two in ordered.windows(2).filter(|two| two[0].0 + 1 == two[1].0) {
        let (before, after) = (two[0].1, two[1].1);
        if let (Some(from), Some(to)) = (before.stamp, after.stamp) {
            let length_s = (to - from) as f64 / 90_000.0;
            let off_s = length_s - before.length_s;
            assert!(off_s.abs() < 2.0 / 90_000.0, "{name}: off by {off_s} s");
        }
    }
    let is_part = original.windows(whole.len()).any(|part| part == whole);
    assert!(is_part, "{name}: {} bytes are not the stream", whole.len());
    assert!(
        whole.len() > 40_000,
        "{name}: {} bytes in a row",
        whole.len()
    );
}

/// The source is started again, and time with it: the list says so. VLC waited until time was where it had been, for as long as
/// the stream had run.
#[test]
fn a_source_that_is_started_again_is_a_discontinuity() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = Scratch::new("hls-restart");
    let file = workshop.encode("tone.mp3", 40, "-map 1 -c:a libmp3lame -b:a 128k");
    let key_file = workshop.key("restart");
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut source = Node::source_at(at, &key_file, &file, &["--repeat"]);
    let key = source.key();
    source.wait_live(&key);
    let near = Node::relay(&[source.uri(&key)]);
    let far = Node::relay(&[near.uri(&key)]);
    let before = Playlist::wait(&far, &key, |list| list.segments.len() >= 2);
    source.kill();
    let _again = Node::source_at(at, &key_file, &file, &["--repeat"]);
    let next = before.sequence + before.segments.len() as u64;
    let after = Playlist::wait(&far, &key, |list| list.sequence >= next);
    assert!(after.begins_anew && after.breaks > before.breaks);
}

/// The same when the encoder goes and comes.
#[test]
fn an_encoder_that_comes_again_is_a_discontinuity() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = Scratch::new("hls-reconnect");
    let file = workshop.encode("tone.aac", 90, "-map 1 -c:a aac -b:a 96k -f adts");
    let input = format!("icecast://source:pass@127.0.0.1:{}/live", free_port());
    let source = Node::source(&workshop.key("reconnect"), &input, &[]);
    let key = source.key();
    let push = || {
        let to = format!(
            "-v error -nostdin -re -i {file} -c copy -f adts -content_type audio/aac {input}"
        );
        Program::start("ffmpeg", &to)
    };
    let encoder = push();
    source.wait_live(&key);
    let before = Playlist::wait(&source, &key, |list| list.segments.len() >= 2);
    drop(encoder);
    source.wait_for_log("encoder went away");
    let _encoder = push();
    let after = Playlist::wait(&source, &key, |list| list.breaks > before.breaks);
    assert!(after.begins_anew && after.breaks == before.breaks + 1);
    assert!(after.sequence > before.sequence);
}

#[test]
fn what_hls_cannot_carry_is_refused_with_a_reason() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = Scratch::new("not-hls");
    let file = workshop.encode("tone.ogg", 10, "-map 1 -c:a libvorbis");
    let source = Node::source(&workshop.key("ogg"), &file, &[]);
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
