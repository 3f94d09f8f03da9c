//! The players that people use: mpv and VLC, on the streams that most of them will hear.

use crate::rig::{Node, Scratch, have, output};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const KINDS: [(&str, &str); 5] = [
    ("tone.mp3", "-map 1 -c:a libmp3lame -b:a 128k"),
    ("tone.ogg", "-map 1 -c:a libvorbis"),
    (
        "film.ts",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -f mpegts",
    ),
    (
        "film.webm",
        "-map 0 -map 1 -c:v libvpx -cpu-used 8 -deadline realtime -g 25 -c:a libvorbis",
    ),
    (
        "film.asf",
        "-map 0 -map 1 -c:v wmv2 -g 25 -b:v 200k -c:a wmav2",
    ),
];

/// Each plays three seconds behind a relay.
#[test]
fn mpv_and_vlc_play() {
    if !have(&["ffmpeg", "timeout"]) {
        return;
    }
    let (mpv, vlc) = (have(&["mpv"]), have(&["cvlc", "setpriv"]));
    let workshop = &Scratch::new("programs");
    // VLC does not run as root, and whoever it runs as has to write.
    fs::set_permissions(workshop.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    std::thread::scope(|scope| {
        for (name, encode) in KINDS {
            scope.spawn(move || {
                let file = workshop.encode(name, 40, encode);
                let key_file = workshop.key(name);
                let source = Node::source(&key_file, &file, &["--repeat"]);
                let key = source.key();
                source.wait_live(&key);
                let relay = Node::relay(&[source.uri(&key)]);
                if mpv {
                    play_in_mpv(name, &relay.url(&key));
                }
                if vlc {
                    play_in_vlc(workshop, name, &relay.url(&key));
                }
            });
        }
    });
}

fn play_in_mpv(name: &str, url: &str) {
    let how = [
        "--no-config",
        "--vo=null",
        "--ao=null",
        "--length=3",
        "--msg-level=all=warn",
        url,
    ];
    let played = output("mpv", &how);
    let said = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success(), "{name}: {said}");
    assert!(!said.to_lowercase().contains("error"), "{name}: {said}");
}

/// VLC decodes the sound into a file.
fn play_in_vlc(workshop: &Scratch, name: &str, url: &str) {
    let wav = workshop.path(&format!("{name}.wav"));
    let into = format!("#transcode{{acodec=s16l}}:std{{access=file,mux=wav,dst={wav}}}");
    let home = format!("HOME={}", workshop.path(""));
    let played = output(
        "setpriv",
        &[
            "--reuid=65534",
            "--clear-groups",
            "env",
            &home,
            "cvlc",
            "-I",
            "dummy",
            "--no-sout-video",
            "--sout",
            &into,
            "--run-time=8",
            url,
            "vlc://quit",
        ],
    );
    let said = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{name}: {said}");
    assert!(!said.contains("discontinuity"), "{name}: {said}");
    let bytes = fs::metadata(&wav).map_or(0, |wav| wav.len());
    // Three seconds and more of the eight it was there: 44.1 kHz, 16 bits, two channels.
    assert!(bytes > 530_000, "{name}: {bytes} bytes of sound; {said}");
}
