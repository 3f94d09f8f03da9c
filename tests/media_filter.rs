//! The scanner as a filter: what goes in comes out, whatever the pieces and however broken the media.
#![cfg(all(feature = "std", feature = "source"))]

use std::fs;
use std::path::Path;

use weir::media::{Container, MAX_HELD_BYTES, Scanner, Start};
use weir::rng::Rng;

/// Media of two seconds; `assets/media/make.sh` makes them.
const ASSETS: [&str; 14] = [
    "tone.mp3",
    "tone.aac",
    "tone.flac",
    "tone.wav",
    "vorbis.ogg",
    "opus.ogg",
    "theora.ogv",
    "h264.ts",
    "audio.ts",
    "h264.mp4",
    "whole.mp4",
    "vp8.webm",
    "opus.mkv",
    "wmv2.asf",
];

fn asset(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("assets/media")
            .join(name),
    )
    .unwrap()
}

#[derive(Clone, PartialEq, Debug)]
struct Mark {
    at: usize,
    start: Start,
    time_us: Option<u64>,
    preamble: Vec<u8>,
    preamble_changed: bool,
    discontinuity: bool,
}

/// A scanner, what has come out of it, and where which segment began.
struct Run {
    scanner: Box<Scanner>,
    out: Vec<u8>,
    marks: Vec<Mark>,
    most_held: usize,
    now_playing: Vec<String>,
}

impl Run {
    fn new() -> Self {
        Self {
            scanner: Box::new(Scanner::new()),
            out: Vec::new(),
            marks: Vec::new(),
            most_held: 0,
            now_playing: Vec::new(),
        }
    }

    /// Pushes all bytes in pieces of at most `most`, seeded.
    fn push(&mut self, mut bytes: &[u8], most: u64, seed: u64) -> &mut Self {
        let mut rng = Rng::new(seed);
        while !bytes.is_empty() {
            let piece = (1 + rng.below(most) as usize).min(bytes.len());
            let taken = self.scanner.push(&bytes[..piece]);
            assert!(taken > 0, "a drained scanner takes nothing");
            bytes = &bytes[taken..];
            self.drain();
        }
        self
    }

    fn finish(&mut self) -> &mut Self {
        self.scanner.finish();
        self.drain();
        assert_eq!(self.scanner.held_bytes(), 0);
        self
    }

    fn drain(&mut self) {
        while let Some(segment) = self.scanner.next_segment() {
            assert!(!segment.bytes.is_empty(), "a segment without bytes");
            self.marks.push(Mark {
                at: self.out.len(),
                start: segment.start,
                time_us: segment.time_us,
                preamble: segment.preamble.to_vec(),
                preamble_changed: segment.preamble_changed,
                discontinuity: segment.discontinuity,
            });
            self.out.extend_from_slice(segment.bytes);
        }
        self.most_held = self.most_held.max(self.scanner.held_bytes());
        if let Some(text) = self.scanner.metadata() {
            self.now_playing.push(text.to_string());
        }
    }

    fn syncs(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter().filter(|mark| mark.start == Start::Sync)
    }

    fn sync_places(&self) -> Vec<usize> {
        self.syncs().map(|mark| mark.at).collect()
    }
}

fn scan(bytes: &[u8], most: u64, seed: u64) -> Run {
    let mut run = Run::new();
    run.push(bytes, most, seed).finish();
    // Damage may make a fragment of MP4 one that names places in the whole file, and those are counted anew.
    let may_change = bytes.windows(4).any(|name| name == b"tfhd");
    assert!(
        run.out.len() == bytes.len() && (may_change || run.out == bytes),
        "the bytes changed on the way"
    );
    run
}

#[test]
fn marks_do_not_depend_on_the_pieces() {
    for name in ASSETS {
        let bytes = asset(name);
        let whole = scan(&bytes, u64::MAX >> 1, 1);
        for (most, seed) in [
            (1, 1),
            (7, 2),
            (188, 3),
            (1_500, 4),
            (1_500, 5),
            (20_000, 6),
        ] {
            let run = scan(&bytes, most, seed);
            assert_eq!(run.scanner.container(), whole.scanner.container(), "{name}");
            assert_eq!(run.now_playing, whole.now_playing, "{name}");
            // WAVE and raw bytes have a sync point wherever a piece ends.
            if !matches!(run.scanner.container(), Container::Wav | Container::Raw) {
                let syncs = |run: &Run| run.syncs().cloned().collect::<Vec<_>>();
                assert_eq!(syncs(&run), syncs(&whole), "{name}, pieces of up to {most}");
            }
        }
    }
}

#[test]
fn no_more_is_held_back_than_it_takes_to_tell() {
    // The largest frame, page or box head of each medium, and a little.
    let limits = [
        ("tone.mp3", 600),
        ("tone.aac", 600),
        ("h264.ts", 188 * 8),
        // Three tables, and the packet behind them.
        ("audio.ts", 188 * 5),
        ("tone.wav", 64),
    ];
    for (name, most) in limits {
        let bytes = asset(name);
        let mut run = Run::new();
        // The first kilobyte is for recognising.
        run.push(&bytes[..1_024], 1, 1);
        run.most_held = 0;
        run.push(&bytes[1_024..], 1, 1);
        assert!(
            run.most_held <= most,
            "{name} held {} bytes back",
            run.most_held
        );
    }
    // A fragment's data flows while it comes.
    let mut run = Run::new();
    let bytes = asset("h264.mp4");
    let moof = bytes.windows(4).position(|at| at == b"mdat").unwrap();
    run.push(&bytes[..moof + 104], 1, 1);
    assert_eq!(run.scanner.held_bytes(), 0);
}

/// One way of breaking media.
fn damage(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = rng.below(bytes.len() as u64) as usize;
    let end = bytes.len().min(at + 1 + rng.below(300) as usize);
    match rng.below(7) {
        0 => (0..20).for_each(|_| {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << rng.below(8);
        }),
        1 => bytes.truncate(at.max(1)),
        2 => drop(bytes.drain(at..end.min(bytes.len() - 1).max(at))),
        3 => bytes[at..end].fill(0xff),
        4 => bytes[at..end].fill(0),
        5 => bytes
            .splice(at..at, other.iter().copied().take(2_000))
            .for_each(drop),
        _ => bytes[at..end]
            .iter_mut()
            .for_each(|b| *b = rng.next_u64() as u8),
    }
}

#[test]
fn broken_media_pass_through_unharmed() {
    let media: Vec<Vec<u8>> = ASSETS.iter().map(|name| asset(name)).collect();
    let mut rng = Rng::new(20_260_101);
    for case in 0..20_000 {
        let mut bytes = media[case % media.len()].clone();
        // Headers are where the lengths are, so many cases look at them alone.
        if rng.below(2) == 0 {
            bytes.truncate(2_500);
        }
        for _ in 0..=rng.below(4) {
            let other = &media[rng.below(media.len() as u64) as usize];
            damage(&mut bytes, other, &mut rng);
        }
        let run = scan(&bytes, 4_000, case as u64);
        assert!(run.most_held <= MAX_HELD_BYTES);
        let times: Vec<u64> = run.marks.iter().filter_map(|mark| mark.time_us).collect();
        assert!(times.is_sorted(), "time runs back");
        for text in run.now_playing {
            assert!(text.len() <= weir::limits::MAX_METADATA_BYTES && !text.contains('\0'));
        }
    }
}

#[test]
fn a_little_damage_is_got_over() {
    for name in ASSETS
        .iter()
        .filter(|&&name| name != "whole.mp4" && name != "tone.wav")
    {
        let bytes = asset(name);
        let whole = scan(&bytes, 1_500, 1);
        // Few key frames leave few places to see that all is well again.
        let (hit, healed) = if ["theora.ogv", "vp8.webm"].contains(name) {
            (45, 50)
        } else {
            (60, 70)
        };
        let middle = bytes.len() * hit / 100;
        let mut broken = bytes.clone();
        broken[middle..middle + 40]
            .iter_mut()
            .enumerate()
            .for_each(|(n, b)| *b ^= 0x55 + n as u8);
        let run = scan(&broken, 1_500, 1);
        assert_eq!(run.scanner.trouble(), None, "{name}");
        // Damage is noticed where there are checksums, and in headers; from a while later all is as it was.
        let after = |run: &Run| -> Vec<usize> {
            run.sync_places()
                .into_iter()
                .filter(|&at| at > bytes.len() * healed / 100)
                .collect()
        };
        assert!(!after(&whole).is_empty(), "{name}");
        assert_eq!(after(&run), after(&whole), "{name}");
    }
}

#[test]
fn an_input_that_comes_back_starts_at_a_sync_point() {
    for name in ASSETS.iter().filter(|&&name| name != "whole.mp4") {
        let bytes = asset(name);
        let mut run = Run::new();
        run.push(&bytes[..bytes.len() * 7 / 8], 700, 1);
        let (before, marks_before) = (run.out.len(), run.marks.len());
        run.scanner.restart();
        run.push(&bytes, 700, 2).finish();
        let marks = &run.marks[marks_before..];
        let first = &marks[0];
        assert!(
            first.discontinuity && marks[1..].iter().all(|mark| !mark.discontinuity),
            "{name}"
        );
        let is_ogg = run.scanner.container() == Container::Ogg;
        assert_eq!(
            first.start,
            if is_ogg { Start::Cut } else { Start::Sync },
            "{name}"
        );
        assert!(
            bytes.ends_with(&run.out[before..]),
            "{name}: something got lost behind the beginning"
        );
        assert!(run.out.len() - before > bytes.len() / 2, "{name}");
        let first_sync = marks.iter().find(|mark| mark.start == Start::Sync).unwrap();
        assert!(
            !first_sync.preamble_changed,
            "{name}: the preamble is the same as before"
        );
        let times: Vec<u64> = run.marks.iter().filter_map(|mark| mark.time_us).collect();
        assert!(times.is_sorted(), "{name}: time runs back");
    }
}

#[test]
fn another_container_may_come_back() {
    let (ogg, mp3) = (asset("vorbis.ogg"), asset("tone.mp3"));
    let mut run = Run::new();
    run.push(&ogg, 700, 1);
    assert_eq!(run.scanner.content_type(), "audio/ogg");
    run.scanner.restart();
    let before = run.marks.len();
    run.push(&mp3, 700, 1).finish();
    assert_eq!(
        (run.scanner.container(), run.scanner.content_type()),
        (Container::Mp3, "audio/mpeg")
    );
    let first = &run.marks[before];
    assert_eq!(
        (first.start, first.preamble_changed, first.preamble.len()),
        (Start::Sync, true, 0)
    );
}

#[test]
fn tuning_in_within_a_frame() {
    for name in ["tone.mp3", "tone.aac", "h264.ts", "audio.ts"] {
        let bytes = asset(name);
        let whole = scan(&bytes, 1_500, 1);
        let mut rng = Rng::new(3);
        for _ in 0..40 {
            let from = rng.below(bytes.len() as u64 / 3) as usize;
            let run = scan(&bytes[from..], 1_500, 1);
            assert_eq!(
                run.scanner.container(),
                whole.scanner.container(),
                "{name} from {from}"
            );
            let known = whole.sync_places();
            let strange: Vec<usize> = run
                .sync_places()
                .iter()
                .map(|at| at + from)
                .filter(|at| !known.contains(at))
                // Behind the first of the tables that lead to a key frame.
                .filter(|at| !(name.ends_with(".ts") && known.contains(&(at - 188))))
                .collect();
            // Reservoir frames become sync points by how long ago the last other one was, so MP3 may have one more.
            assert!(
                strange.len() <= usize::from(name == "tone.mp3") * 8,
                "{name} from {from}: {strange:?}"
            );
            assert!(!run.sync_places().is_empty(), "{name} from {from}");
        }
    }
}

#[test]
fn chained_ogg_files() {
    let (first, second) = (asset("vorbis.ogg"), asset("opus.ogg"));
    let run = scan(&[first.as_slice(), &second, &first].concat(), 900, 1);
    let changed: Vec<&Mark> = run.syncs().filter(|mark| mark.preamble_changed).collect();
    assert_eq!(changed.len(), 3);
    let has = |mark: &Mark, magic: &[u8]| mark.preamble.windows(magic.len()).any(|at| at == magic);
    assert!(
        has(changed[0], b"\x05vorbis")
            && has(changed[1], b"OpusTags")
            && has(changed[2], b"\x05vorbis")
    );
    assert!(!has(changed[1], b"vorbis"));
    assert!(changed[1].at > first.len() && changed[1].at < first.len() + 1_000);
    // The clock goes on over the chain.
    let times: Vec<u64> = changed.iter().map(|mark| mark.time_us.unwrap()).collect();
    assert!(
        times[0] == 0
            && (1_900_000..2_200_000).contains(&times[1])
            && (3_900_000..4_300_000).contains(&times[2])
    );
    assert_eq!(run.now_playing, ["Weir - Tide"]);
}

#[test]
fn media_run_in_their_own_time() {
    for name in ASSETS.iter().filter(|&&name| name != "whole.mp4") {
        let run = scan(&asset(name), 1_500, 1);
        let last_us = run
            .marks
            .iter()
            .filter_map(|mark| mark.time_us)
            .next_back()
            .unwrap();
        assert!(
            (1_400_000..2_100_000).contains(&last_us),
            "{name} ends at {last_us} us"
        );
    }
}

#[test]
fn what_is_playing() {
    for name in [
        "tone.mp3",
        "tone.flac",
        "vorbis.ogg",
        "opus.ogg",
        "wmv2.asf",
    ] {
        assert_eq!(
            scan(&asset(name), 1_500, 1).now_playing,
            ["Weir - Tide"],
            "{name}"
        );
    }
}

#[test]
fn a_great_tag_is_neither_music_nor_trouble() {
    let size = 300_000u32;
    let mut bytes = b"ID3\x03\0\0".to_vec();
    bytes.extend([
        (size >> 21 & 0x7f) as u8,
        (size >> 14 & 0x7f) as u8,
        (size >> 7 & 0x7f) as u8,
        (size & 0x7f) as u8,
    ]);
    bytes.resize(10 + size as usize, 0xff);
    bytes.extend(asset("tone.mp3"));
    let run = scan(&bytes, 1_500, 1);
    assert_eq!(
        (run.scanner.container(), run.scanner.trouble()),
        (Container::Mp3, None)
    );
    assert!(run.sync_places()[0] >= 10 + size as usize);
}

#[test]
fn hopeless_media_become_raw() {
    let mut rng = Rng::new(9);
    let mut bytes = asset("tone.mp3");
    let good = bytes.len();
    bytes.extend((0..600_000).map(|_| rng.next_u64() as u8 & 0x7f));
    let run = scan(&bytes, 1_500, 1);
    assert_eq!(run.scanner.container(), Container::Raw);
    assert_eq!(run.scanner.trouble(), Some("no valid frame in 256 KiB"));
    let next = run.sync_places().into_iter().find(|&at| at > good).unwrap();
    assert!((good + 256 * 1024..good + 270 * 1024).contains(&next));

    let run = scan(&asset("whole.mp4"), 1_500, 1);
    assert_eq!(run.scanner.container(), Container::Raw);
    assert!(
        run.scanner
            .trouble()
            .is_some_and(|why| why.contains("fragmented"))
    );
}

/// Headers that are whole and pages that are not, over and over: sooner or later players get it as it is.
#[test]
fn a_short_broken_file_that_comes_again_becomes_raw() {
    let mut bytes = asset("vorbis.ogg");
    let pages = bytes.windows(4).enumerate();
    let pages: Vec<usize> = pages
        .filter(|(_, w)| w == b"OggS")
        .map(|(at, _)| at)
        .collect();
    // The third and later pages: the sequence number does not fit the checksum any more.
    pages.iter().skip(2).for_each(|at| bytes[at + 18] ^= 1);
    let mut run = Run::new();
    let turns = 256 * 1024 / (bytes.len() - pages[2]) + 2;
    for _ in 0..turns {
        run.push(&bytes, 1_500, 1);
        run.scanner.restart();
    }
    run.push(&bytes, 1_500, 1).finish();
    assert_eq!(run.scanner.trouble(), Some("no valid frame in 256 KiB"));
    assert!(run.syncs().count() > 2);
    // What is good again is taken for what it is.
    run.scanner.restart();
    run.push(&asset("vorbis.ogg"), 1_500, 1);
    assert_eq!(run.scanner.container(), Container::Ogg);
    assert_eq!(run.scanner.trouble(), None);
}

#[test]
fn unknown_bytes_are_raw_and_the_hint_names_them() {
    let mut run = Run::new();
    run.scanner.set_hint("text/plain");
    let text = "The weir holds the river and passes all of it on.\n".repeat(600);
    run.push(text.as_bytes(), 900, 1).finish();
    assert_eq!(
        (run.scanner.container(), run.scanner.content_type()),
        (Container::Raw, "text/plain")
    );
    assert!(run.marks.iter().all(|mark| mark.start == Start::Sync) && run.out == text.as_bytes());
    // First bytes decide, and a strange hint is none.
    let mut run = Run::new();
    run.scanner.set_hint("text/plain");
    run.push(&asset("tone.aac"), 900, 1);
    assert_eq!(run.scanner.content_type(), "audio/aac");
    run.scanner.set_hint("audio/aacp");
    assert_eq!(run.scanner.content_type(), "audio/aacp");
    run.scanner.set_hint("evil\r\nheader: yes");
    assert_eq!(run.scanner.content_type(), "audio/aac");
}

/// A length that a broken bit made great hides nothing of what follows it: players can begin there again.
#[test]
fn a_broken_length_hides_nothing_that_follows() {
    let place = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|w| w == what);
    let is_got_over = |whole: &[u8], broken: &[u8], from: usize| {
        let behind = |run: Run| {
            let places = run.sync_places().into_iter();
            places.filter(|&at| at > from).collect::<Vec<_>>()
        };
        let expected = behind(scan(whole, 9_000, 1));
        assert!(!expected.is_empty());
        assert_eq!(behind(scan(broken, 9_000, 1)), expected);
    };

    let film = asset("h264.mp4");
    let mdat = place(&film, b"mdat").unwrap();
    let mut broken = film.clone();
    broken[mdat - 4] = 0x7f;
    is_got_over(&film, &broken, mdat);

    let film = asset("vp8.webm");
    let cluster = place(&film, &[0x1f, 0x43, 0xb6, 0x75]).unwrap();
    // Behind the cluster's length and its time stands the first block.
    let time = cluster + 5 + film[cluster + 4].leading_zeros() as usize;
    assert_eq!(film[time], 0xe7);
    let block = time + 2 + usize::from(film[time + 1] & 0x7f);
    assert_eq!(film[block], 0xa3);
    for id in [0xa3, 0xec] {
        let mut broken = film.clone();
        broken[block..block + 8].copy_from_slice(&[id, 0x01, 0, 0, 0, 0, 0x7f, 0]);
        is_got_over(&film, &broken, block);
        broken[block + 4] = 0x40;
        is_got_over(&film, &broken, block);
    }
}

/// One frame as HTTP carries ASF in: the length of what follows the fourth byte is there twice (MS-WMSP, 2.2.3.1).
fn frame(letter: u8, number: u32, carried: &[u8]) -> Vec<u8> {
    let len = (carried.len() as u16 + 8).to_le_bytes();
    let [n0, n1, n2, n3] = number.to_le_bytes();
    let head = [
        b'$', letter, len[0], len[1], n0, n1, n2, n3, 0, 0, len[0], len[1],
    ];
    [&head, carried].concat()
}

#[test]
fn asf_comes_out_of_the_frames_that_http_has_carried_it_in() {
    let file = asset("wmv2.asf");
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let data = u64_at(16);
    let (media, packets) = (data + 50, u64_at(data + 40));
    let end = data + u64_at(data + 16);
    let packet_bytes = (end - media) / packets;
    let mut frames = frame(b'H', 0, &file[..media]);
    for (number, packet) in (1..).zip(file[media..end].chunks(packet_bytes)) {
        frames.extend(frame(b'D', number, packet));
    }
    frames.extend(frame(b'E', 0, &[]));
    let plain = scan(&file[..end], 9_000, 1);
    assert!(plain.syncs().count() > 2);
    for (most, seed) in [(1, 1), (1_500, 2), (u64::MAX >> 1, 3)] {
        let mut run = Run::new();
        run.push(&frames, most, seed).finish();
        assert!(run.out == file[..end] && run.marks == plain.marks);
        assert_eq!(run.scanner.container(), Container::Asf);
        assert_eq!(run.scanner.trouble(), None);
    }

    // A frame that was lost in part takes no others with it.
    let third = frames.len() - 12 - 3 * (packet_bytes + 12);
    let mut torn = frames.clone();
    torn.drain(third + 100..third + 300);
    let mut run = Run::new();
    run.push(&torn, 1_500, 4).finish();
    let last = &file[end - packet_bytes..end];
    assert!(run.out.ends_with(last) && run.scanner.trouble().is_none());
}
