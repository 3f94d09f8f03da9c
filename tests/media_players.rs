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
    ogg(
        "vp8.ogv",
        "video/ogg",
        "-map 0 -map 1 -c:v libvpx -deadline realtime -cpu-used 8 -g 25 -c:a libvorbis",
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
    ts("dts.ts", "-map 1 -c:a dca -strict -2 -f mpegts"),
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
        "every_frame.mp4",
        "video/mp4",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -movflags +empty_moov+default_base_moof+frag_every_frame",
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
        "frames_of_http.asf",
        "video/x-ms-wmv",
        "-map 0 -map 1 -c:v wmv2 -g 25 -b:v 200k -c:a wmav2 -f asf_stream",
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

    fn make(&self, file: &str, ffmpeg: &str) -> Vec<u8> {
        let path = self.0.join(file);
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
            .args(ffmpeg.split(' '))
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{file}: {}",
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

/// Whether ffprobe sees a picture in the file.
fn has_video(file: &str) -> bool {
    let arguments = [
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "stream=index",
        "-of",
        "csv=p=0",
        file,
    ];
    Command::new("ffprobe")
        .args(arguments)
        .output()
        .is_ok_and(|probe| !probe.stdout.trim_ascii().is_empty())
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

/// Joins at chosen sync points, and what players complain of.
fn try_joins(workshop: &Workshop, name: &str, scan: &Scan, is_video: bool) -> Vec<String> {
    // Half a second of media is the least a player is asked to make sense of.
    let last_us = scan
        .syncs
        .iter()
        .filter_map(|sync| sync.1)
        .max()
        .unwrap_or(0);
    let is_enough = |sync: &&(usize, Option<u64>, Vec<u8>)| {
        is_video || sync.1.is_none_or(|us| us + 500_000 <= last_us)
    };
    let joined = workshop.0.join("joined");
    let mut complaints = Vec::new();
    for index in choose(scan.syncs.iter().filter(is_enough).count()) {
        let (at, _, preamble) = &scan.syncs[index];
        fs::write(&joined, [preamble, &scan.out[*at..]].concat()).unwrap();
        if let Err(said) = play(&joined, is_video) {
            complaints.push(format!(
                "{name}: joined at {at} (sync {index} of {}): {said}",
                scan.syncs.len()
            ));
        }
    }
    complaints
}

fn try_medium(workshop: &Workshop, medium: &Medium) -> Vec<String> {
    let bytes = workshop.make(medium.file, medium.ffmpeg);
    let scan = scan(&bytes, 1);
    let is_video = medium.ffmpeg.contains("-c:v");
    let mut complaints = try_joins(workshop, medium.file, &scan, is_video);
    let mut check = |fine: bool, what: String| {
        if !fine {
            complaints.push(format!("{}: {what}", medium.file));
        }
    };
    let (scanner, syncs) = (&scan.scanner, &scan.syncs);
    // These come out of their frames: the packets are what another test compares.
    let is_unpacked = bytes.starts_with(b"$H") && scan.out.len() < bytes.len();
    check(
        is_unpacked || scan.out == bytes,
        "the bytes changed on the way".into(),
    );
    check(
        scanner.container() == medium.container,
        format!("taken for {:?}", scanner.container()),
    );
    check(
        scanner.content_type() == medium.content_type,
        format!("is {}", scanner.content_type()),
    );
    check(
        scanner.trouble().is_none(),
        format!("trouble: {:?}", scanner.trouble()),
    );
    check(
        syncs.len() >= 3,
        format!("only {} sync points", syncs.len()),
    );
    let last_us = syncs.last().and_then(|sync| sync.1).unwrap_or(0);
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
    println!(
        "{}: {} bytes, {} sync points, {} cuts, preamble {}, {:?} bit/s",
        medium.file,
        bytes.len(),
        syncs.len(),
        scan.cuts,
        syncs.last().map_or(0, |sync| sync.2.len()),
        scanner.bitrate_bps()
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

/// Takes the random access marks out of a transport stream, as encoders do that never set any.
fn without_marks(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for packet in bytes.chunks_exact_mut(188) {
        if packet[3] & 0x20 != 0 && packet[4] > 0 {
            packet[5] &= !0x40;
        }
    }
    bytes
}

#[test]
fn key_frames_are_found_where_the_encoder_marks_none() {
    if !ffmpeg_is_there() {
        return;
    }
    let workshop = Workshop::open("marks");
    for medium in MEDIA
        .iter()
        .filter(|medium| medium.file.ends_with(".ts") && medium.ffmpeg.contains("-c:v"))
    {
        let bytes = workshop.make(medium.file, medium.ffmpeg);
        let places = |scan: &Scan| scan.syncs.iter().map(|sync| sync.0).collect::<Vec<_>>();
        assert_eq!(
            places(&scan(&without_marks(&bytes), 1)),
            places(&scan(&bytes, 1)),
            "{}",
            medium.file
        );
    }
}

#[test]
fn a_recovery_point_is_no_clean_beginning() {
    if !ffmpeg_is_there() {
        return;
    }
    let workshop = Workshop::open("open-gop");
    let open_gop = ts(
        "open_gop.ts",
        "-map 0 -c:v libx264 -preset medium -x264-params keyint=25:open-gop=1:bframes=3 -f mpegts",
    );
    // Of the six intra pictures only the first is an IDR; at the others decoders miss references.
    let bytes = workshop.make(open_gop.file, open_gop.ffmpeg);
    assert_eq!(scan(&bytes, 1).syncs.len(), 1);
}

/// Fragments that say where in the whole file their media are, and a movie header that names samples itself: the file of a
/// player that joins later is not that one.
#[test]
fn places_in_the_whole_file_are_made_relative() {
    if !ffmpeg_is_there() {
        return;
    }
    let workshop = Workshop::open("places");
    let both = "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -movflags +empty_moov+frag_keyframe";
    let separate = format!("{both}+separate_moof");
    let full = both.replace("+empty_moov", "");
    for (file, content_type, ffmpeg, syncs) in [
        ("absolute.mp4", "video/mp4", both, 6),
        ("absolute.mov", "video/mp4", both, 6),
        ("separate.mp4", "video/mp4", &separate, 6),
        ("full.mp4", "video/mp4", &full, 5),
        (
            "audio.mp4",
            "audio/mp4",
            "-map 1 -c:a aac -movflags +empty_moov -frag_duration 250000",
            20,
        ),
    ] {
        let bytes = workshop.make(file, ffmpeg);
        let scan = scan(&bytes, 1);
        assert_eq!(scan.scanner.trouble(), None, "{file}");
        assert_eq!(scan.scanner.content_type(), content_type, "{file}");
        assert!(scan.out != bytes && scan.out.len() == bytes.len(), "{file}");
        assert!(scan.syncs.len() >= syncs, "{file}");
        if content_type == "video/mp4" && file != "separate.mp4" {
            // The first fragment, which is a second of six, tells the rate.
            let mean_bps = bytes.len() as f64 * 8.0 / 6.0;
            let told = scan.scanner.bitrate_bps().unwrap_or(0) as f64 / mean_bps;
            assert!((0.7..1.5).contains(&told), "{file}: {told} of the rate");
        }
        let whole = workshop.0.join("whole");
        let frames = |bytes: &[u8]| {
            fs::write(&whole, bytes).unwrap();
            let played = Command::new("ffmpeg")
                .args(["-v", "error", "-threads", "1", "-i"])
                .arg(&whole)
                .args(["-map", "0", "-f", "framecrc", "-"])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&played.stderr), "", "{file}");
            played.stdout
        };
        assert!(frames(&scan.out) == frames(&bytes), "{file}: another film");
        let complaints = try_joins(&workshop, file, &scan, content_type == "video/mp4");
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}

#[test]
fn players_begin_behind_the_join_of_a_chain() {
    if !ffmpeg_is_there() {
        return;
    }
    let workshop = Workshop::open("chain");
    let [vorbis, opus] = ["vorbis.ogg", "opus.ogg"]
        .map(|name| MEDIA.iter().find(|medium| medium.file == name).unwrap())
        .map(|medium| workshop.make(medium.file, medium.ffmpeg));
    let chain = [vorbis.as_slice(), &opus].concat();
    let mut scan = scan(&chain, 1);
    scan.syncs.retain(|sync| sync.0 > vorbis.len());
    assert!(scan.syncs.len() > 5);
    let complaints = try_joins(&workshop, "chain", &scan, false);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// `WEIR_FILES=a.ogg:b.ts cargo test --test media_players yours -- --nocapture` tries files of your own.
#[test]
fn players_begin_in_files_of_yours() {
    let workshop = Workshop::open("yours");
    for file in std::env::var("WEIR_FILES")
        .unwrap_or_default()
        .split(':')
        .filter(|file| !file.is_empty())
    {
        let bytes = fs::read(file).unwrap();
        let scan = scan(&bytes, 1);
        assert_eq!(scan.out.len(), bytes.len(), "{file}");
        let (container, kind) = (scan.scanner.container(), scan.scanner.content_type());
        println!(
            "{file}: {container:?}, {kind}, {} sync points, {} cuts",
            scan.syncs.len(),
            scan.cuts
        );
        assert!(
            !scan.syncs.is_empty(),
            "{file}: no sync points; {:?}",
            scan.scanner.trouble()
        );
        let complaints = try_joins(&workshop, file, &scan, has_video(file));
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}
