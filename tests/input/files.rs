//! Files, named pipes and standard input.

use crate::programs::{Folder, have, tone};
use crate::recorder::{Event, Recorder, noise, play, play_out, until};
use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use weir::driver::input::{InputOptions, InputState, MediaTime, Sink, StreamInfo};
use weir::driver::reactor::block_on;
use weir::media::Scanner;

#[test]
fn a_file_goes_out_at_the_rate_that_is_given() {
    let folder = Folder::new();
    let bytes = noise(64_000);
    let path = folder.write("stream.bin", &bytes);
    let options = InputOptions {
        bitrate_bps: Some(512_000),
        ..InputOptions::default()
    };
    let (recorder, begin) = (Recorder::default(), Instant::now());
    play_out(&path, &options, &recorder).unwrap();
    // 64,000 bytes at 512 kbit/s are one second. A busy machine may be late, never early.
    assert!(
        begin.elapsed() >= Duration::from_millis(990),
        "{:?}",
        begin.elapsed()
    );
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(
        recorder.events(),
        [
            Event::State(InputState::Flowing),
            Event::Media(bytes),
            Event::State(InputState::Ended)
        ]
    );
}

#[test]
fn the_time_of_the_container_goes_before_the_flag() {
    let folder = Folder::new();
    let path = folder.write("stream.bin", &noise(64_000));
    // By the flag this would be over in 50 ms.
    let options = InputOptions {
        bitrate_bps: Some(10_000_000),
        ..InputOptions::default()
    };
    let recorder = Recorder::with_clock(|bytes| Some(bytes * 1_000_000 / 64_000));
    let begin = Instant::now();
    play_out(&path, &options, &recorder).unwrap();
    assert!(
        begin.elapsed() >= Duration::from_millis(700),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_file_without_any_pace_is_refused_after_a_while() {
    let folder = Folder::new();
    let path = folder.write("stream.bin", &noise(400_000));
    let recorder = Recorder::default();
    let error = play_out(&path, &InputOptions::default(), &recorder)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("--bitrate") && error.contains(&path),
        "{error}"
    );
    assert!(recorder.latest().len() <= 70_000);
}

#[test]
fn the_picture_in_an_id3_tag_does_not_count() {
    // 200,000 bytes of tag: its length is 7 bits a byte.
    let size = 200_000_u32;
    let mut bytes = b"ID3\x04\0\0".to_vec();
    bytes.extend([21, 14, 7, 0].map(|shift| (size >> shift) as u8 & 0x7f));
    bytes.extend(noise(size as usize + 32_000));
    let folder = Folder::new();
    let path = folder.write("stream.mp3", &bytes);
    let told = |bytes: u64| {
        bytes
            .checked_sub(210_000)
            .map(|bytes| bytes * 1_000_000 / 64_000)
    };
    let recorder = Recorder::with_clock(told);
    play_out(&path, &InputOptions::default(), &recorder).unwrap();
    assert_eq!(recorder.latest(), bytes);
}

#[test]
fn a_repeated_file_begins_anew_each_time() {
    let folder = Folder::new();
    let bytes = noise(6_400);
    let path = folder.write("stream.bin", &bytes);
    let input = path.parse().unwrap();
    let options = InputOptions {
        bitrate_bps: Some(512_000),
        repeat: true,
        ..InputOptions::default()
    };
    let (recorder, begin) = (Recorder::default(), Instant::now());
    block_on(smol::future::or(
        async {
            let ended = weir::driver::input::run(&input, &options, &recorder).await;
            panic!("{ended:?}")
        },
        until(&recorder, "the fourth time", || {
            recorder.beginnings().len() == 4
        }),
    ))
    .unwrap();
    assert!(
        begin.elapsed() >= Duration::from_millis(290),
        "three times 100 ms took {:?}",
        begin.elapsed()
    );
    assert!(
        recorder
            .beginnings()
            .iter()
            .take(3)
            .all(|once| *once == bytes)
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    for (path, says) in [
        ("/nonexistent/stream.ogg", "No such file"),
        ("/tmp", "directory"),
    ] {
        let error = play_out(path, &InputOptions::default(), &Recorder::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(path) && error.contains(says), "{error}");
    }
}

#[test]
fn a_named_pipe_is_read_as_it_comes() {
    let folder = Folder::new();
    let path = folder.at("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let bytes = noise(300_000);
    let (recorder, begin) = (Recorder::default(), Instant::now());
    let writer = std::thread::spawn({
        let (path, bytes) = (path.clone(), bytes.clone());
        // Opening waits for the reader.
        move || {
            OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .write_all(&bytes)
                .unwrap()
        }
    });
    play_out(&path, &InputOptions::default(), &recorder).unwrap();
    writer.join().unwrap();
    assert_eq!(recorder.latest(), bytes);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(recorder.state(), Some(InputState::Ended));
}

#[test]
fn a_pipe_nobody_writes_to_stops_nothing() {
    let folder = Folder::new();
    let path = folder.at("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    play(&path, async |recorder| {
        until(recorder, "waiting", || {
            recorder.is_waiting_for("nobody writes")
        })
        .await;
    });
}

/// Runs this test binary again, as a program that copies its standard input to a file by way of [`stdin_child`].
fn with_stdin(stdin: impl Into<Stdio>, copy: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "files::stdin_child", "--nocapture"])
        .env("WEIR_TEST_STDIN_COPY", copy)
        .stdin(stdin)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test by itself: what [`with_stdin`] runs.
#[test]
fn stdin_child() {
    let Some(copy) = std::env::var_os("WEIR_TEST_STDIN_COPY") else {
        return;
    };
    let recorder = Recorder::default();
    let options = InputOptions {
        bitrate_bps: Some(512_000),
        ..InputOptions::default()
    };
    play_out("-", &options, &recorder).unwrap();
    assert_eq!(recorder.state(), Some(InputState::Ended));
    std::fs::write(copy, recorder.latest()).unwrap();
}

#[test]
fn standard_input_from_a_pipe_comes_as_it_comes() {
    let folder = Folder::new();
    let copy = folder.at("copy");
    let bytes = noise(1_000_000);
    let begin = Instant::now();
    let mut child = with_stdin(Stdio::piped(), &copy);
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(child.wait().unwrap().success());
    // At the given rate it would have taken 15 seconds.
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(std::fs::read(&copy).unwrap(), bytes);
}

#[test]
fn standard_input_from_a_file_is_paced_from_where_it_stands() {
    use std::io::{Seek, SeekFrom};
    let folder = Folder::new();
    let copy = folder.at("copy");
    let bytes = noise(64_000);
    let mut file = File::open(folder.write("stream.bin", &bytes)).unwrap();
    file.seek(SeekFrom::Start(1_000)).unwrap();
    let begin = Instant::now();
    assert!(
        with_stdin(OwnedFd::from(file), &copy)
            .wait()
            .unwrap()
            .success()
    );
    assert!(
        begin.elapsed() >= Duration::from_millis(950),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(std::fs::read(&copy).unwrap(), &bytes[1_000..]);
}

#[test]
fn standard_input_leaves_the_pipe_blocking_for_others() {
    let folder = Folder::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let ours = reader.try_clone().unwrap();
    let mut child = with_stdin(OwnedFd::from(reader), &folder.at("copy"));
    drop(writer);
    assert!(child.wait().unwrap().success());
    let flags = rustix::fs::fcntl_getfl(&ours).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
}

/// A sink that asks weir's own scanner for the time, as a source does.
struct Scanned {
    scanner: RefCell<Box<Scanner>>,
    bytes: Cell<u64>,
    told: Cell<Option<MediaTime>>,
}

impl Sink for Scanned {
    fn media(&self, mut bytes: &[u8]) {
        let mut scanner = self.scanner.borrow_mut();
        while !bytes.is_empty() {
            let pushed = scanner.push(bytes);
            bytes = &bytes[pushed..];
            self.bytes.set(self.bytes.get() + pushed as u64);
            loop {
                let bytes = self.bytes.get() - scanner.held_bytes() as u64;
                let Some(segment) = scanner.next_segment() else {
                    break;
                };
                if let Some(time_us) = segment.time_us {
                    self.told.set(Some(MediaTime { time_us, bytes }));
                }
            }
        }
    }

    fn media_time(&self) -> Option<MediaTime> {
        self.told.get()
    }

    fn content_type_hint(&self, _: &str) {}
    fn restarted(&self) {}
    fn now_playing(&self, _: &str) {}
    fn stream_info(&self, _: &StreamInfo<'_>) {}
    fn state(&self, _: &InputState) {}
}

/// Plays a tone of three seconds without a flag.
async fn play_tone(name: &str, path: String, bytes: usize) {
    let input = path.parse().unwrap();
    let sink = Scanned {
        scanner: RefCell::new(Box::new(Scanner::new())),
        bytes: Cell::new(0),
        told: Cell::new(None),
    };
    let begin = Instant::now();
    weir::driver::input::run(&input, &InputOptions::default(), &sink)
        .await
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let took = begin.elapsed();
    println!("{name}: {bytes} bytes took {took:?}");
    assert_eq!(sink.bytes.get(), bytes as u64);
    assert!(
        took > Duration::from_millis(2_900) && took < Duration::from_millis(3_500),
        "{name} took {took:?}"
    );
}

#[test]
fn containers_pace_themselves() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let folder = Folder::new();
    let executor = smol::LocalExecutor::new();
    let coded: [(&str, &[&str]); 9] = [
        ("mp3", &["-c:a", "libmp3lame", "-b:a", "128k", "-f", "mp3"]),
        ("opus", &["-c:a", "libopus", "-b:a", "48k", "-f", "ogg"]),
        ("ogg", &["-c:a", "flac", "-f", "ogg"]),
        ("aac", &["-c:a", "aac", "-b:a", "96k", "-f", "adts"]),
        ("ts", &["-c:a", "mp2", "-b:a", "192k", "-f", "mpegts"]),
        ("wav", &["-f", "wav"]),
        ("flac", &["-f", "flac"]),
        ("mka", &["-c:a", "libopus", "-f", "matroska"]),
        (
            "mp4",
            &[
                "-c:a",
                "aac",
                "-movflags",
                "empty_moov+default_base_moof",
                "-frag_duration",
                "500000",
                "-f",
                "mp4",
            ],
        ),
    ];
    // All are made before any is played, since that keeps the thread busy.
    let tones = coded.map(|(name, args)| (name, tone(3, args)));
    let playing = tones.map(|(name, bytes)| {
        executor.spawn(play_tone(name, folder.write(name, &bytes), bytes.len()))
    });
    block_on(executor.run(async {
        for one in playing {
            one.await;
        }
    }))
    .unwrap();
}
