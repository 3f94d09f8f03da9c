//! Every container, joined at random times, directly and behind two relays.

use crate::port::free_port;
use crate::rig::{Node, Program, Scratch, get, have, header, output, until};
use std::time::Duration;

/// Length of the media: longer than the test.
const LENGTH_S: u32 = 32;

/// Times each stream is joined in each place.
const JOINS: usize = 3;

struct Medium {
    name: &'static str,
    content_type: &'static str,
    /// How ffmpeg makes it from the test picture (input 0) and the test sound (input 1).
    encode: &'static str,
    /// How ffmpeg sends it without encoding it again.
    send: &'static str,
    /// Pushed as to Icecast, rather than piped.
    is_pushed: bool,
}

const fn medium(
    name: &'static str,
    content_type: &'static str,
    encode: &'static str,
    send: &'static str,
    is_pushed: bool,
) -> Medium {
    Medium {
        name,
        content_type,
        encode,
        send,
        is_pushed,
    }
}

const MEDIA: &[Medium] = &[
    medium(
        "cbr.mp3",
        "audio/mpeg",
        "-map 1 -c:a libmp3lame -b:a 128k",
        "-f mp3",
        true,
    ),
    medium(
        "vbr.mp3",
        "audio/mpeg",
        "-map 1 -c:a libmp3lame -q:a 4",
        "-f mp3",
        false,
    ),
    medium(
        "vorbis.ogg",
        "audio/ogg",
        "-map 1 -c:a libvorbis",
        "-f ogg",
        true,
    ),
    medium(
        "opus.ogg",
        "audio/ogg",
        "-map 1 -c:a libopus -b:a 64k",
        "-f ogg",
        false,
    ),
    medium("flac.oga", "audio/ogg", "-map 1 -c:a flac", "-f ogg", true),
    medium(
        "theora.ogv",
        "video/ogg",
        "-map 0 -map 1 -c:v libtheora -b:v 200k -g 25 -c:a libvorbis",
        "-f ogg",
        true,
    ),
    medium(
        "lc.aac",
        "audio/aac",
        "-map 1 -c:a aac -b:a 96k",
        "-f adts",
        true,
    ),
    medium(
        "cd.flac",
        "audio/flac",
        "-map 1 -c:a flac",
        "-f flac",
        false,
    ),
    medium(
        "pcm.wav",
        "audio/wav",
        "-map 1 -c:a pcm_s16le",
        "-f wav",
        false,
    ),
    medium(
        "h264.ts",
        "video/mp2t",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -f mpegts",
        "-f mpegts",
        true,
    ),
    medium(
        "mpeg2.ts",
        "video/mp2t",
        "-map 0 -map 1 -c:v mpeg2video -g 15 -bf 2 -c:a mp2 -f mpegts",
        "-f mpegts",
        false,
    ),
    medium(
        "h264.mp4",
        "video/mp4",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac",
        // With places in the whole file.
        "-f mp4 -movflags +empty_moov+frag_keyframe",
        false,
    ),
    medium(
        "vp8.webm",
        "video/webm",
        "-map 0 -map 1 -c:v libvpx -deadline realtime -cpu-used 8 -g 25 -c:a libvorbis",
        "-f webm -live 1",
        true,
    ),
    medium(
        "opus.webm",
        "audio/webm",
        "-map 1 -c:a libopus",
        "-f webm -live 1 -cluster_time_limit 500",
        true,
    ),
    medium(
        "wmv2.asf",
        "video/x-ms-wmv",
        "-map 0 -map 1 -c:v wmv2 -g 25 -b:v 200k -c:a wmav2",
        "-f asf -packet_size 3200",
        false,
    ),
    medium(
        "wmav2.wma",
        "audio/x-ms-wma",
        "-map 1 -c:a wmav2 -b:a 128k",
        "-f asf",
        false,
    ),
];

/// A source in real time, and what feeds it.
struct Broadcast {
    medium: &'static Medium,
    source: Node,
    key: String,
    _feed: Program,
}

impl Broadcast {
    fn start(workshop: &Scratch, medium: &'static Medium, file: &str) -> Self {
        let key_file = workshop.key(medium.name);
        let send = format!(
            "-v error -nostdin -re -i {file} -map 0 -c copy {}",
            medium.send
        );
        let (source, feed) = if medium.is_pushed {
            let input = format!("icecast://source:pass@127.0.0.1:{}/live", free_port());
            let source = Node::source(&key_file, &input, &[]);
            let to = format!("{send} -content_type {} {input}", medium.content_type);
            (source, Program::start("ffmpeg", &to))
        } else {
            let (feed, mut media) = Program::start_piped("ffmpeg", &format!("{send} pipe:1"));
            let mut source = Node::source(&key_file, "-", &[]);
            // Ends with either of them.
            source.feed(move |mut stdin| drop(std::io::copy(&mut media, &mut stdin)));
            (source, feed)
        };
        Self {
            medium,
            key: source.key(),
            source,
            _feed: feed,
        }
    }
}

/// Joins a stream once and plays two and a half seconds of it. The complaint, if there is one.
fn join(medium: &Medium, url: &str, place: &str) -> Option<String> {
    // Of FLAC in Ogg ffmpeg counts the time from the end of the first page, which may be seconds long.
    let most = match medium.name {
        "flac.oga" => "-frames:a 20",
        _ => "-t 2.5",
    };
    let arguments = format!("-v level+warning -threads 1 -i {url} -map 0 {most} -f framecrc -");
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let played = output("ffmpeg", &arguments);
    let said = String::from_utf8_lossy(&played.stderr);
    let frames = String::from_utf8_lossy(&played.stdout);
    let frames = frames.lines().filter(|line| !line.starts_with('#')).count();
    if std::env::var_os("WEIR_SHOW_WARNINGS").is_some() && !said.is_empty() {
        println!("{} {place}: {said}", medium.name);
    }
    let bad = !played.status.success() || said.contains("[error]") || said.contains("[fatal]");
    // Two and a half seconds are 60 pictures, or 20 of the longest packets of sound (FLAC: 4,608 samples).
    (bad || frames < 20).then(|| format!("{} {place}: {frames} frames; {said}", medium.name))
}

#[test]
fn every_container_is_joined_anywhere_at_any_time() {
    if !have(&["ffmpeg", "timeout"]) {
        return;
    }
    let workshop = Scratch::new("containers");
    let only = std::env::var("WEIR_MEDIUM").unwrap_or_default();
    let media = MEDIA.iter().filter(|medium| medium.name.contains(&only));
    let media: Vec<_> = media.collect();
    // All at once, so that the streams begin together.
    let files = on_each(&media, |medium| {
        workshop.encode(medium.name, LENGTH_S, medium.encode)
    });
    let streams: Vec<_> = media.into_iter().zip(files).collect();
    let broadcasts = on_each(&streams, |(medium, file)| {
        Broadcast::start(&workshop, medium, file)
    });
    // A node carries at most four streams.
    let groups: Vec<_> = broadcasts.chunks(4).collect();
    let complaints = on_each(&groups, |few| join_all(few)).concat();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Does something with each, all at the same time.
fn on_each<T: Sync, R: Send>(items: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = items
            .iter()
            .map(|item| scope.spawn(|| each(item)))
            .collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.collect()
    })
}

fn join_all(broadcasts: &[Broadcast]) -> Vec<String> {
    let mut uris: Vec<String> = Vec::new();
    for broadcast in broadcasts {
        broadcast.source.wait_live(&broadcast.key);
        uris.push(broadcast.source.uri(&broadcast.key));
    }
    let near = Node::relay(&uris);
    let uris: Vec<String> = broadcasts.iter().map(|b| near.uri(&b.key)).collect();
    let far = Node::relay(&uris);
    on_each(broadcasts, |broadcast| join_one(broadcast, &far)).concat()
}

fn join_one(broadcast: &Broadcast, far: &Node) -> Vec<String> {
    let (medium, key) = (broadcast.medium, &broadcast.key);
    until("the far relay knows the stream", || {
        let known = far.stream(key)["content_type"] == medium.content_type;
        known.then_some(())
    });
    let mut complaints = Vec::new();
    let places = [
        (&broadcast.source, "at the source"),
        (far, "behind two relays"),
    ];
    for (node, _) in places {
        let (head, body) = get(node.http, &format!("/streams/{key}"), "", 4_000);
        if header(&head, "content-type") != Some(medium.content_type) || body.len() < 4_000 {
            complaints.push(format!("{}: {head}", medium.name));
        }
    }
    for turn in 0..JOINS {
        // No condition to wait for: any moment will do, and each turn takes another.
        std::thread::sleep(Duration::from_millis(137 * turn as u64));
        let joined = on_each(&places, |(node, place)| join(medium, &node.url(key), place));
        complaints.extend(joined.into_iter().flatten());
    }
    complaints
}
