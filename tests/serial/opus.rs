//! What the line is for: Opus in Ogg at 64 kbit/s over 115,200 baud. A minute of it with `WEIR_SERIAL_LONG=1`, else some
//! seconds. ffmpeg makes and decodes it; where it is not installed the test says so and passes, except with `CI=true`.

use crate::common::{Node, Scratch};
use crate::wire::{Cable, End};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-v", "error"]);
    command
}

#[test]
fn opus_at_64_kbit_crosses_115200_baud_and_decodes() {
    if ffmpeg()
        .arg("-version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        assert!(std::env::var_os("CI").is_none(), "ffmpeg is missing");
        eprintln!("skipped: ffmpeg is not installed");
        return;
    }
    let seconds = match std::env::var_os("WEIR_SERIAL_LONG") {
        Some(_) => 60,
        None => 15,
    };
    let scratch = Scratch::new("opus");
    let [a, b] = ["a", "b"].map(|end| End::plug(&PathBuf::from(scratch.path(end))));
    let lines = ["a", "b"].map(|end| format!("{},link", scratch.path(end)));
    let cable = Cable::join(a, b, 115_200);
    let key = scratch.key("key");
    let mut source = Node::start(&[
        "source", "--key", &key, "--input", "-", "--serial", &lines[0],
    ]);
    let uri = source.first_line();
    let key = uri.rsplit('/').next().unwrap().to_string();
    // Noise and a tone: nothing an encoder can save on.
    let mut encoder = ffmpeg()
        .args(["-re", "-f", "lavfi", "-i", "anoisesrc=c=pink:a=0.4:r=48000"])
        .args([
            "-t",
            &(seconds + 60).to_string(),
            "-c:a",
            "libopus",
            "-b:a",
            "64k",
        ])
        .args(["-f", "ogg", "-page_duration", "200000", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut encoded = encoder.stdout.take().unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let copy = sent.clone();
    source.feed(move |mut pipe| {
        let mut piece = [0; 4_096];
        while let Ok(n @ 1..) = encoded.read(&mut piece) {
            copy.lock().unwrap().extend_from_slice(&piece[..n]);
            if pipe.write_all(&piece[..n]).is_err() {
                return;
            }
        }
    });
    let encoder = crate::common::Killed(encoder);
    let mut listener = Node::start(&["listen", &format!("weir:///{key}"), "--serial", &lines[1]]);
    // At first the line's last fifth fills the player's burst.
    listener.hear(|heard| heard.len() > 72_000);
    let (before, at) = (cable.carried().bytes, std::time::Instant::now());
    let (media, heard) = (sent.lock().unwrap().len(), listener.heard.len());
    for second in 1..=seconds {
        // Hearing in steps: no step may take longer than the deadline.
        listener.hear(|all| all.len() > heard + second * 7_600);
    }
    let took = at.elapsed().as_secs_f64();
    let bytes = cable.carried().bytes[0] - before[0];
    let media = sent.lock().unwrap().len() - media;
    let used = bytes as f64 / took / 11_520.0;
    println!(
        "{:.1} kbit/s of Ogg for {took:.0} s: {:.3} bytes on the line for each, {:.1} % of 115,200 baud",
        media as f64 * 8.0 / took / 1_000.0,
        bytes as f64 / media as f64,
        used * 100.0
    );
    assert!(used < 0.90, "{used} of the line");
    let status = listener.status();
    assert_eq!(status["streams"][0]["gaps_total"], 0, "{status:#}");
    assert!(
        took < seconds as f64 * 1.15 + 2.0,
        "{seconds} s of sound took {took} s"
    );
    drop(encoder);
    let out = scratch.path("heard.ogg");
    std::fs::write(&out, &listener.heard).unwrap();
    let decoded = ffmpeg()
        .args(["-i", &out, "-f", "s16le", "-ac", "1", "-ar", "8000", "-"])
        .output()
        .unwrap();
    let played = Duration::from_millis(decoded.stdout.len() as u64 / 16);
    let complaint = String::from_utf8_lossy(&decoded.stderr).to_string();
    assert!(
        decoded.status.success() && complaint.is_empty(),
        "{complaint}"
    );
    assert!(played.as_secs() + 3 >= seconds as u64, "{played:?} decoded");
}
