//! What a player hears that stays while things change behind it: it decodes without a complaint, for the output is cut at
//! sync points only.

use crate::keeper::Keeper;
use crate::port::free_port;
use crate::rig::{Node, Program, Scratch, have, until};
use std::fs;
use std::net::SocketAddr;

const KINDS: [(&str, &str, &str, &str); 4] = [
    (
        "tone.mp3",
        "audio/mpeg",
        "-map 1 -c:a libmp3lame -b:a 128k",
        "-f mp3",
    ),
    (
        "tone.aac",
        "audio/aac",
        "-map 1 -c:a aac -b:a 96k",
        "-f adts",
    ),
    ("tone.ogg", "audio/ogg", "-map 1 -c:a libvorbis", "-f ogg"),
    (
        "film.ts",
        "video/mp2t",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -f mpegts",
        "-f mpegts",
    ),
];

/// The encoder is killed and comes again, in the middle of a frame most likely.
#[test]
fn an_encoder_that_reconnects_is_not_heard() {
    if !have(&["ffmpeg", "curl"]) {
        return;
    }
    let workshop = &Scratch::new("reconnect");
    std::thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || reconnect(workshop, kind));
        }
    });
}

fn reconnect(workshop: &Scratch, (name, content_type, encode, send): (&str, &str, &str, &str)) {
    let file = workshop.encode(name, 30, encode);
    let input = format!("icecast://source:pass@127.0.0.1:{}/live", free_port());
    let source = Node::source(&workshop.key(name), &input, &[]);
    let key = source.key();
    let push = |from: u32| {
        let to = format!(
            "-v error -nostdin -re -ss {from} -i {file} -map 0 -c copy {send} -content_type {content_type} {input}"
        );
        Program::start("ffmpeg", &to)
    };
    let encoder = push(0);
    source.wait_live(&key);
    let relay = Node::relay(&[source.uri(&key)]);
    let players = [
        Keeper::join(workshop, &format!("near-{name}"), &source.url(&key)),
        Keeper::join(workshop, &format!("far-{name}"), &relay.url(&key)),
    ];
    players.iter().for_each(|player| player.wait_for(40_000));
    drop(encoder);
    source.wait_for_log("encoder went away");
    let encoder = push(10);
    players.iter().for_each(|player| player.wait_for(60_000));
    drop(encoder);
    for player in players {
        assert!(player.decode() > 100, "{name}");
    }
    assert_eq!(
        relay.stream(&key)["gaps_total"],
        0,
        "{name}: nothing was lost"
    );
}

/// The encoder comes back with something that a player which stays could not read: its connection ends, after a whole frame,
/// so that it connects anew.
#[test]
fn another_codec_ends_the_connection() {
    if !have(&["ffmpeg", "curl"]) {
        return;
    }
    let workshop = &Scratch::new("another");
    let vp8 = "-c:v libvpx -deadline realtime -cpu-used 8 -g 25";
    let film = format!("-map 0 -map 1 {vp8} -c:a libvorbis");
    let small = format!("-map 0 {vp8} -s 80x60");
    let pairs = [
        [
            ("film.webm", "video/webm", film.as_str(), "-f webm -live 1"),
            ("small.webm", "video/webm", &small, "-f webm -live 1"),
        ],
        [
            ("tone.mp3", "audio/mpeg", "-map 1 -c:a libmp3lame", "-f mp3"),
            ("tone.aac", "audio/aac", "-map 1 -c:a aac", "-f adts"),
        ],
    ];
    std::thread::scope(|scope| {
        for pair in pairs {
            scope.spawn(move || another_codec(workshop, pair));
        }
    });
}

fn another_codec(workshop: &Scratch, [one, two]: [(&str, &str, &str, &str); 2]) {
    let input = format!("icecast://source:pass@127.0.0.1:{}/live", free_port());
    let source = Node::source(&workshop.key(one.0), &input, &[]);
    let key = source.key();
    let push = |(name, content_type, encode, send): (&str, &str, &str, &str)| {
        let file = workshop.encode(name, 30, encode);
        let to = format!(
            "-v error -nostdin -re -i {file} -map 0 -c copy {send} -content_type {content_type} {input}"
        );
        Program::start("ffmpeg", &to)
    };
    let encoder = push(one);
    source.wait_live(&key);
    let relay = Node::relay(&[source.uri(&key)]);
    let stays = format!("stays-{}", one.0);
    let mut stays = Keeper::join(workshop, &stays, &relay.url(&key));
    stays.wait_for(30_000);
    drop(encoder);
    source.wait_for_log("encoder went away");
    let _encoder = push(two);
    let ended = until("the connection ends", || stays.ended());
    assert!(ended.success(), "curl: {ended}");
    assert_eq!(relay.stream(&key)["content_type"], two.1);
    let comes = format!("comes-{}", two.0);
    let comes = Keeper::join(workshop, &comes, &relay.url(&key));
    comes.wait_for(20_000);
    assert!(stays.decode() > 50 && comes.decode() > 20, "{}", one.0);
}

/// The source dies and is started again with the same key: a relay and its players stay.
#[test]
fn a_source_that_is_started_again_is_followed() {
    if !have(&["ffmpeg", "curl"]) {
        return;
    }
    let workshop = &Scratch::new("restart");
    std::thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || restart(workshop, kind));
        }
    });
}

fn restart(workshop: &Scratch, (name, _, encode, _): (&str, &str, &str, &str)) {
    let file = workshop.encode(name, 12, encode);
    let key_file = workshop.key(name);
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let start = || Node::source_at(at, &key_file, &file, &["--repeat"]);
    let mut source = start();
    let key = source.key();
    source.wait_live(&key);
    let relay = Node::relay(&[source.uri(&key)]);
    let player = Keeper::join(workshop, &format!("player-{name}"), &relay.url(&key));
    player.wait_for(40_000);
    let before = relay.stream(&key)["head_block"].as_u64().unwrap();
    source.kill();
    let source = start();
    until("the relay follows the new run", || {
        // Block numbers follow the clock, and leave a gap that no stream fills.
        let head = relay.stream(&key)["head_block"].as_u64()?;
        (head > before + 500).then_some(())
    });
    player.wait_for(60_000);
    // Who comes now begins in the new run.
    let late = Keeper::join(workshop, &format!("late-{name}"), &relay.url(&key));
    late.wait_for(40_000);
    assert!(player.decode() > 100, "{name}");
    assert!(late.decode() > 50, "{name}");
    drop(source);
}

/// The parts of a chain differ in codec and rate; whoever stays hears both, whoever comes gets the headers of the part it
/// comes into.
#[test]
fn a_chain_is_played_through() {
    if !have(&["ffmpeg", "curl"]) {
        return;
    }
    let workshop = Scratch::new("chain");
    let parts = [
        workshop.encode("one.ogg", 6, "-map 1 -c:a libvorbis"),
        workshop.encode("two.ogg", 6, "-map 1 -c:a libvorbis -ar 22050 -ac 1"),
    ];
    let chain = workshop.path("chain.ogg");
    let bytes = parts.map(|part| fs::read(part).unwrap()).concat();
    fs::write(&chain, &bytes).unwrap();
    let source = Node::source(&workshop.key("chain"), &chain, &["--repeat"]);
    let key = source.key();
    source.wait_live(&key);
    let relay = Node::relay(&[source.uri(&key)]);
    let stays = Keeper::join(&workshop, "stays.ogg", &relay.url(&key));
    stays.wait_for(1);
    for turn in 0..8 {
        let comes = Keeper::join(&workshop, &format!("comes-{turn}.ogg"), &relay.url(&key));
        comes.wait_for(20_000);
        assert!(comes.decode() > 5);
    }
    // As long as the chain, from wherever it came: it heard both parts, and both ways between them.
    stays.wait_for(bytes.len() as u64);
    assert!(stays.decode() > 200);
}

/// A video whose key frames are minutes apart: players that come now wait, and the source says why.
#[test]
fn a_stream_on_which_nobody_can_begin_is_said() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = &Scratch::new("no-beginning");
    let input = format!("icecast://source:pass@127.0.0.1:{}/live", free_port());
    let source = Node::source(&workshop.key("film"), &input, &[]);
    let encode = "-v error -nostdin -re -f lavfi -i testsrc=size=160x120:rate=25 -t 120 -pix_fmt yuv420p -c:v libx264 -preset ultrafast";
    let send = format!("-g 10000 -sc_threshold 0 -f mpegts -content_type video/mp2t {input}");
    let _encoder = Program::start("ffmpeg", &[encode, &send].join(" "));
    source.wait_live(&source.key());
    until("the source says so", || {
        source
            .log()
            .contains("no place came where a player can begin")
            .then_some(())
    });
}
