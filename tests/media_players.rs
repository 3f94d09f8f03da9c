//! A player that begins at any sync point of any kind of stream must decode it without a complaint.
//!
//! The media are made by ffmpeg in a temporary directory; ffmpeg is also the player. Where it is not installed the
//! tests say so and pass, except in continuous integration (`CI=true`), where it must be there.
#![cfg(all(feature = "std", feature = "source"))]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use weir::media::{Container, Scanner, Start};
use weir::rng::Rng;

/// Sync points tried for each medium; the first and the last are always among them.
const JOINS: usize = 10;

struct Medium {
    file: &'static str,
    container: Container,
    content_type: &'static str,
    /// What ffmpeg makes of the test picture (input 0) and the test sound (input 1).
    ffmpeg: &'static str,
}

const fn medium(
    file: &'static str,
    container: Container,
    content_type: &'static str,
    ffmpeg: &'static str,
) -> Medium {
    Medium {
        file,
        container,
        content_type,
        ffmpeg,
    }
}

const fn mp3(file: &'static str, ffmpeg: &'static str) -> Medium {
    medium(file, Container::Mp3, "audio/mpeg", ffmpeg)
}

const fn ogg(file: &'static str, content_type: &'static str, ffmpeg: &'static str) -> Medium {
    medium(file, Container::Ogg, content_type, ffmpeg)
}

const fn ts(file: &'static str, ffmpeg: &'static str) -> Medium {
    medium(file, Container::MpegTs, "video/mp2t", ffmpeg)
}

const fn mp4(file: &'static str, content_type: &'static str, ffmpeg: &'static str) -> Medium {
    medium(file, Container::Mp4, content_type, ffmpeg)
}

const fn webm(file: &'static str, content_type: &'static str, ffmpeg: &'static str) -> Medium {
    medium(file, Container::Matroska, content_type, ffmpeg)
}

const fn asf(file: &'static str, content_type: &'static str, ffmpeg: &'static str) -> Medium {
    medium(file, Container::Asf, content_type, ffmpeg)
}

/// A group of pictures of one second, small pictures, quick encoders.
const MEDIA: &[Medium] = &[
    mp3("cbr.mp3", "-map 1 -c:a libmp3lame -b:a 128k"),
    mp3(
        "vbr.mp3",
        "-map 1 -c:a libmp3lame -q:a 4 -id3v2_version 3 -metadata title=Tide -metadata artist=Weir",
    ),
    mp3(
        "no_reservoir.mp3",
        "-map 1 -c:a libmp3lame -reservoir 0 -b:a 96k",
    ),
    mp3(
        "mpeg2.mp3",
        "-map 1 -c:a libmp3lame -ar 22050 -ac 1 -b:a 32k -write_id3v1 1",
    ),
    mp3("layer2.mp2", "-map 1 -c:a mp2 -b:a 192k"),
    ogg(
        "vorbis.ogg",
        "audio/ogg",
        "-map 1 -c:a libvorbis -metadata title=Tide -metadata artist=Weir",
    ),
    ogg(
        "opus.ogg",
        "audio/ogg",
        "-map 1 -c:a libopus -b:a 64k -page_duration 200000",
    ),
    ogg("flac.oga", "audio/ogg", "-map 1 -c:a flac"),
    ogg(
        "speex.spx",
        "audio/ogg",
        "-map 1 -c:a libspeex -ar 16000 -ac 1",
    ),
    ogg(
        "theora.ogv",
        "video/ogg",
        "-map 0 -map 1 -c:v libtheora -b:v 200k -g 25 -c:a libvorbis",
    ),
    ts(
        "h264_aac.ts",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -f mpegts",
    ),
    ts(
        "h264_b_frames.ts",
        "-map 0 -map 1 -c:v libx264 -preset medium -g 25 -bf 3 -c:a libmp3lame -f mpegts",
    ),
    ts(
        "mpeg2_mp2.ts",
        "-map 0 -map 1 -c:v mpeg2video -g 15 -bf 2 -c:a mp2 -f mpegts",
    ),
    ts(
        "mpeg4_aac.ts",
        "-map 0 -map 1 -c:v mpeg4 -g 25 -c:a aac -f mpegts",
    ),
    ts(
        "hevc_aac.ts",
        "-map 0 -map 1 -c:v libx265 -preset ultrafast -x265-params keyint=25:log-level=none -c:a aac -f mpegts",
    ),
    ts("audio.ts", "-map 1 -c:a aac -f mpegts"),
    ts("opus.ts", "-map 1 -c:a libopus -f mpegts"),
    medium(
        "lc.aac",
        Container::Aac,
        "audio/aac",
        "-map 1 -c:a aac -b:a 96k -f adts",
    ),
    medium(
        "cd.flac",
        Container::Flac,
        "audio/flac",
        "-map 1 -c:a flac -sample_fmt s16 -metadata title=Tide -metadata artist=Weir",
    ),
    medium(
        "s24.flac",
        Container::Flac,
        "audio/flac",
        "-map 1 -c:a flac -sample_fmt s32 -ar 96000",
    ),
    medium(
        "s16.wav",
        Container::Wav,
        "audio/wav",
        "-map 1 -c:a pcm_s16le",
    ),
    medium(
        "s24.wav",
        Container::Wav,
        "audio/wav",
        "-map 1 -c:a pcm_s24le",
    ),
    mp4(
        "h264_aac.mp4",
        "video/mp4",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -movflags +empty_moov+frag_keyframe+default_base_moof",
    ),
    mp4(
        "short_fragments.mp4",
        "video/mp4",
        "-map 0 -map 1 -c:v libx264 -preset medium -g 25 -c:a aac -movflags +empty_moov+default_base_moof -frag_duration 200000",
    ),
    mp4(
        "cmaf.mp4",
        "video/mp4",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -movflags +cmaf+dash+frag_keyframe",
    ),
    mp4(
        "audio.mp4",
        "audio/mp4",
        "-map 1 -c:a aac -movflags +empty_moov+default_base_moof -frag_duration 250000",
    ),
    webm(
        "vp8_vorbis.webm",
        "video/webm",
        "-map 0 -map 1 -c:v libvpx -deadline realtime -cpu-used 8 -g 25 -c:a libvorbis -f webm -live 1",
    ),
    webm(
        "vp9_opus.webm",
        "video/webm",
        "-map 0 -map 1 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -c:a libopus -f webm",
    ),
    webm(
        "opus.webm",
        "audio/webm",
        "-map 1 -c:a libopus -f webm -cluster_time_limit 500",
    ),
    webm(
        "h264_aac.mkv",
        "video/x-matroska",
        "-map 0 -map 1 -c:v libx264 -preset medium -g 25 -c:a aac",
    ),
    webm(
        "h264_live.mkv",
        "video/x-matroska",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -live 1 -cluster_time_limit 300",
    ),
    asf(
        "wmv2_wmav2.asf",
        "video/x-ms-wmv",
        "-map 0 -map 1 -c:v wmv2 -g 25 -b:v 200k -c:a wmav2",
    ),
    asf(
        "wmav2.wma",
        "audio/x-ms-wma",
        "-map 1 -c:a wmav2 -b:a 128k -metadata title=Tide -metadata artist=Weir",
    ),
];

/// Where this run puts its media; removed at the end.
struct Workshop(PathBuf);

impl Workshop {
    fn open(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("weir-media-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn make(&self, medium: &Medium) -> Vec<u8> {
        let path = self.0.join(medium.file);
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-y", "-threads", "1"])
            .args(["-f", "lavfi", "-i", "testsrc=size=160x120:rate=25"])
            .args([
                "-f",
                "lavfi",
                "-i",
                "aevalsrc='0.3*sin(300*t*(1+t))+0.2*random(0)|0.3*sin(2764*t)':s=44100",
            ])
            .args(["-t", "6", "-pix_fmt:v", "yuv420p"])
            .args(medium.ffmpeg.split(' '))
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}: {}",
            medium.file,
            String::from_utf8_lossy(&made.stderr)
        );
        fs::read(path).unwrap()
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ffmpeg_is_there() -> bool {
    let there = Command::new("ffmpeg")
        .arg("-version")
        .output()
        .is_ok_and(|run| run.status.success());
    assert!(
        there || std::env::var("CI").as_deref() != Ok("true"),
        "ffmpeg must be installed in CI"
    );
    if !there {
        println!("SKIPPED: ffmpeg is not installed, so no player tries the sync points");
    }
    there
}

/// What came out of a scanner.
struct Scan {
    scanner: Box<Scanner>,
    out: Vec<u8>,
    /// Offset, time and preamble of each sync point.
    syncs: Vec<(usize, Option<u64>, Vec<u8>)>,
    cuts: usize,
    now_playing: Option<String>,
}

fn scan(bytes: &[u8], seed: u64) -> Scan {
    let mut scan = Scan {
        scanner: Box::new(Scanner::new()),
        out: Vec::new(),
        syncs: Vec::new(),
        cuts: 0,
        now_playing: None,
    };
    let mut rng = Rng::new(seed);
    let mut rest = bytes;
    let mut last_us = 0;
    loop {
        let most = 1 + rng.below(4_000) as usize;
        let taken = scan.scanner.push(&rest[..rest.len().min(most)]);
        rest = &rest[taken..];
        if rest.is_empty() {
            scan.scanner.finish();
        }
        while let Some(segment) = scan.scanner.next_segment() {
            if let Some(time_us) = segment.time_us {
                assert!(time_us >= last_us, "time runs back");
                last_us = time_us;
            }
            match segment.start {
                Start::Sync => {
                    scan.syncs
                        .push((scan.out.len(), segment.time_us, segment.preamble.to_vec()))
                }
                Start::Cut => scan.cuts += 1,
                Start::Continue => {}
            }
            scan.out.extend_from_slice(segment.bytes);
        }
        if let Some(text) = scan.scanner.metadata() {
            scan.now_playing = Some(text.to_string());
        }
        if rest.is_empty() {
            return scan;
        }
    }
}

/// Plays what a player that joins at this sync point gets. The complaint, if there is one.
fn play(path: &Path, is_video: bool) -> Result<(), String> {
    let run = |program: &str, arguments: &str| {
        Command::new(program)
            .args(arguments.split(' '))
            .stdin(Stdio::from(File::open(path).unwrap()))
            .output()
            .map_err(|error| error.to_string())
    };
    let played = run("ffmpeg", "-v level+warning -threads 1 -i - -f framecrc -")?;
    let said = String::from_utf8_lossy(&played.stderr).into_owned();
    if !played.status.success() || said.contains("[error]") || said.contains("[fatal]") {
        return Err(said);
    }
    if std::env::var_os("WEIR_SHOW_WARNINGS").is_some() && !said.is_empty() {
        println!("{said}");
    }
    if !String::from_utf8_lossy(&played.stdout)
        .lines()
        .any(|line| !line.starts_with('#'))
    {
        return Err(format!("no frame decoded; {said}"));
    }
    if is_video {
        let first = "-v error -select_streams v -show_entries frame=key_frame -of csv=p=0 -read_intervals %+#1 -i -";
        let probed = run("ffprobe", first)?;
        let said = String::from_utf8_lossy(&probed.stdout).into_owned();
        if !said.starts_with('1') {
            return Err(format!("the first picture is no key frame: {said}"));
        }
    }
    Ok(())
}

/// Seeded choice of sync points, the first and the last among them.
fn choose(count: usize) -> Vec<usize> {
    let mut rng = Rng::new(count as u64);
    let mut chosen: Vec<usize> = (0..JOINS - 2)
        .map(|_| rng.below(count as u64) as usize)
        .collect();
    chosen.extend([0, count - 1]);
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

fn try_medium(workshop: &Workshop, medium: &Medium) -> Vec<String> {
    let bytes = workshop.make(medium);
    let scan = scan(&bytes, 1);
    let mut complaints = Vec::new();
    let mut check = |fine: bool, what: String| {
        if !fine {
            complaints.push(format!("{}: {what}", medium.file));
        }
    };
    check(scan.out == bytes, "the bytes changed on the way".into());
    check(
        scan.scanner.container() == medium.container,
        format!("taken for {:?}", scan.scanner.container()),
    );
    check(
        scan.scanner.content_type() == medium.content_type,
        format!("is {}", scan.scanner.content_type()),
    );
    check(
        scan.scanner.trouble().is_none(),
        format!("trouble: {:?}", scan.scanner.trouble()),
    );
    check(
        scan.syncs.len() >= 3,
        format!("only {} sync points", scan.syncs.len()),
    );
    let last_us = scan.syncs.last().and_then(|sync| sync.1).unwrap_or(0);
    check(
        (2_900_000..6_200_000).contains(&last_us),
        format!("last sync point at {last_us} us of 6 s"),
    );
    if medium.ffmpeg.contains("artist=") {
        check(
            scan.now_playing.as_deref() == Some("Weir - Tide"),
            format!("now playing {:?}", scan.now_playing),
        );
    }
    let is_video = medium.ffmpeg.contains("-c:v");
    if !scan.syncs.is_empty() {
        // Half a second of media is the least a player is asked to make sense of.
        let enough = scan
            .syncs
            .iter()
            .filter(|sync| sync.1.is_none_or(|us| us <= 5_500_000))
            .count();
        for index in choose(enough) {
            let (at, _, preamble) = &scan.syncs[index];
            let path = workshop.0.join("joined");
            fs::write(&path, [preamble, &bytes[*at..]].concat()).unwrap();
            if let Err(said) = play(&path, is_video) {
                check(
                    false,
                    format!(
                        "joined at {at} (sync {index} of {}): {said}",
                        scan.syncs.len()
                    ),
                );
            }
        }
    }
    println!(
        "{}: {} bytes, {} sync points, {} cuts, preamble {}, {:?} bit/s",
        medium.file,
        bytes.len(),
        scan.syncs.len(),
        scan.cuts,
        scan.syncs.last().map_or(0, |sync| sync.2.len()),
        scan.scanner.bitrate_bps()
    );
    complaints
}

#[test]
fn players_begin_at_any_sync_point() {
    if !ffmpeg_is_there() {
        return;
    }
    let workshop = Workshop::open("players");
    let only = std::env::var("WEIR_MEDIUM").unwrap_or_default();
    let chosen = MEDIA.iter().filter(|medium| medium.file.contains(&only));
    let complaints: Vec<String> = chosen
        .flat_map(|medium| try_medium(&workshop, medium))
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
