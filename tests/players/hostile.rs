//! Broken media: the stream goes on, byte for byte, and says what it is.

use crate::rig::{Node, Scratch, get, have, until};
use std::fs;
use std::io::Write;
use weir::rng::Rng;

const KINDS: [(&str, &str); 10] = [
    ("tone.mp3", "-map 1 -c:a libmp3lame -b:a 128k"),
    ("tone.aac", "-map 1 -c:a aac -f adts"),
    ("tone.ogg", "-map 1 -c:a libvorbis"),
    ("tone.flac", "-map 1 -c:a flac"),
    (
        "film.ts",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -f mpegts",
    ),
    (
        "film.mp4",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -movflags +empty_moov+frag_keyframe",
    ),
    ("tone.wav", "-map 1 -c:a pcm_s16le -ar 22050 -ac 1"),
    (
        "film.ogv",
        "-map 0 -map 1 -c:v libtheora -b:v 200k -g 25 -c:a libvorbis",
    ),
    (
        "film.asf",
        "-map 0 -map 1 -c:v wmv2 -g 25 -b:v 200k -c:a wmav2",
    ),
    (
        "film.webm",
        "-map 0 -map 1 -c:v libvpx -cpu-used 8 -deadline realtime -g 25 -c:a libvorbis",
    ),
];

/// Five bits are turned, and a tenth is missing: from the middle, or at the end.
fn spoil(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let tenth = if seed.is_multiple_of(2) { 9 } else { 4 };
    let (a, b) = (bytes.len() * tenth / 10, bytes.len() * (tenth + 1) / 10);
    let mut spoilt = [&bytes[..a], &bytes[b..]].concat();
    for _ in 0..5 {
        let at = rng.below(spoilt.len() as u64) as usize;
        spoilt[at] ^= 1 << rng.below(8);
    }
    spoilt
}

#[test]
fn broken_media_do_not_stop_the_stream() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = &Scratch::new("hostile");
    std::thread::scope(|scope| {
        for (seed, (name, encode)) in (1..).zip(KINDS) {
            scope.spawn(move || {
                let file = workshop.encode(name, 8, encode);
                let spoilt = spoil(&fs::read(&file).unwrap(), seed);
                fs::write(&file, &spoilt).unwrap();
                let key_file = workshop.key(name);
                let more = ["--repeat", "--bitrate", "400kbit"];
                let source = Node::source(&key_file, &file, &more);
                let key = source.key();
                source.wait_live(&key);
                let relay = Node::relay(&[source.uri(&key)]);
                let path = format!("/streams/{key}");
                let (head, body) = get(relay.http, &path, "", 60_000);
                assert!(head.starts_with("HTTP/1.1 200"), "{name}: {head}");
                assert!(body.len() == 60_000, "{name}: {} bytes", body.len());
                assert_eq!(relay.stream(&key)["gaps_total"], 0, "{name}");
            });
        }
    });
}

/// What cannot be followed any more is raw from there on: the owner is told in the log and in the status.
#[test]
fn media_that_turn_to_noise_are_raw() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = Scratch::new("noise");
    let file = workshop.encode("noise.mp3", 4, "-map 1 -c:a libmp3lame -b:a 128k");
    let mut bytes = fs::read(&file).unwrap();
    // No frame of MPEG audio begins anywhere in it: frames begin with eleven bits set.
    bytes.extend((0..4_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 25) as u8));
    fs::write(&file, &bytes).unwrap();
    let more = ["--bitrate", "3Mbit"];
    let source = Node::source(&workshop.key("noise"), &file, &more);
    let key = source.key();
    until("it is called raw", || {
        let trouble = source.stream(&key)["trouble"].as_str()?.to_string();
        trouble.contains("no valid frame").then_some(())
    });
    assert!(source.log().contains("taken as raw bytes from here on"));
    let before = source.stream(&key)["head_block"].as_u64().unwrap();
    until("the stream goes on", || {
        (source.stream(&key)["head_block"].as_u64()? > before + 2).then_some(())
    });
}

/// What is held until the rate is known fits the memory, however long the pieces are and however fast they come.
#[test]
fn a_fast_stream_that_tells_no_rate_fits_the_memory() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = Scratch::new("fast");
    // Clusters of a tenth of a megabyte, without a word of how many come in a second.
    let pcm = "-map 1 -c:a pcm_s24le -live 1 -cluster_time_limit 500";
    let file = workshop.encode("fast.mkv", 8, pcm);
    let bytes = fs::read(&file).unwrap();
    let mut source = Node::source(&workshop.key("fast"), "-", &[]);
    let key = source.key();
    source.feed(move |mut stdin| {
        // Ends with the source.
        while stdin.write_all(&bytes).is_ok() {}
    });
    source.wait_live(&key);
    let (_, body) = get(source.http, &format!("/streams/{key}"), "", 60_000);
    assert_eq!(body.len(), 60_000);
}
