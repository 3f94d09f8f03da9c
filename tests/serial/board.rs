//! The microcontroller's listener: the very source file of the example, on this machine and on an emulated Cortex-M4.

#[path = "../../examples/microcontroller/src/listener.rs"]
mod listener;

use crate::common::{Killed, Node, Scratch, assert_part_of, feed_random};
use crate::wire::{Cable, End, Faults};
use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
use listener::{Listener, Memory, RAM_BYTES, Told};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir::time::Span;

/// A terminal as a board's UART is: it says whether a byte can be had or given, and hands over some.
struct Tty(File);

impl Tty {
    fn open(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
        options.read(true).write(true).custom_flags(flags as i32);
        Self(options.open(path).unwrap())
    }

    fn is_ready(&self, for_what: PollFlags) -> bool {
        let mut ports = [PollFd::new(&self.0, for_what)];
        poll(&mut ports, Some(&Timespec::default())).unwrap() > 0
    }
}

impl ErrorType for Tty {
    type Error = ErrorKind;
}

impl ReadReady for Tty {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(self.is_ready(PollFlags::IN))
    }
}

impl WriteReady for Tty {
    fn write_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(self.is_ready(PollFlags::OUT))
    }
}

impl Read for Tty {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ErrorKind> {
        std::io::Read::read(&mut self.0, bytes).map_err(|_| ErrorKind::Other)
    }
}

impl Write for Tty {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        std::io::Write::write(&mut self.0, bytes).map_err(|_| ErrorKind::Other)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// A source of 64 kbit/s on a line, and what it was given.
fn source(key: &str, line: &str) -> (Node, [u8; 32], Arc<Mutex<Vec<u8>>>) {
    let arguments = [
        "source",
        "--key",
        key,
        "--input",
        "-",
        "--bitrate",
        "64kbit",
    ];
    let raw = ["--content-type", "application/octet-stream"];
    let mut source = Node::start(&[&arguments[..], &raw, &["--serial", line]].concat());
    let uri = source.first_line();
    let key = weir::wire::uri::decode_key(uri.rsplit('/').next().unwrap()).unwrap();
    let sent = Arc::<Mutex<Vec<u8>>>::default();
    let copy = sent.clone();
    source.feed(move |pipe| feed_random(64_000, 300, copy, pipe));
    (source, key, sent)
}

#[test]
fn the_listener_of_the_microcontroller_hears_the_very_bytes() {
    let scratch = Scratch::new("mcu");
    let [a, b] = ["a", "b"].map(|end| End::plug(&PathBuf::from(scratch.path(end))));
    let line = format!("{},link", scratch.path("a"));
    let (_source, stream, sent) = source(&scratch.key("key"), &line);
    let tty = Tty::open(&b.path);
    let cable = Cable::join(a, b, 115_200);
    let began = Instant::now();
    let now = || {
        weir::time::Instant::ZERO + Span::from_us(60_000_000 + began.elapsed().as_micros() as u64)
    };
    let told = Told {
        secret: [3; 32],
        entropy: [4; 32],
        baud: 115_200,
    };
    let memory = Box::leak(Box::new(Memory::new()));
    let (pools, stream_pools) = memory.lend();
    let mut listener = Listener::new(pools, tty, &told, now());
    assert!(listener.listen(now(), stream, stream_pools));
    println!("{RAM_BYTES} bytes of RAM here, the stack aside");
    let mut heard = Vec::new();
    let mut noisy = false;
    while heard.len() < 160_000 {
        listener
            .turn(now(), |media| heard.extend_from_slice(media))
            .unwrap();
        if heard.len() > 60_000 && !noisy {
            noisy = true;
            cable.set(Faults {
                flipped_ppm: 20,
                ..Faults::default()
            });
        }
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "{} bytes",
            heard.len()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_part_of(&heard, &sent.lock().unwrap());
    let stats = listener.node().streams()[0].stats;
    assert_eq!((stats.gaps, stats.invalid), (0, 0), "{stats:?}");
}

/// The same on an emulated board: `tests/serial/board.sh` builds the ELF file for a key and names both.
#[test]
fn an_emulated_cortex_m4_plays_the_very_bytes() {
    let (Ok(elf), Ok(key)) = (
        std::env::var("WEIR_BOARD_ELF"),
        std::env::var("WEIR_BOARD_KEY"),
    ) else {
        eprintln!("skipped: tests/serial/board.sh runs this");
        return;
    };
    let scratch = Scratch::new("board");
    let (uart, media, said) = (
        scratch.path("uart"),
        scratch.path("media"),
        scratch.path("said"),
    );
    let board = Command::new("qemu-system-arm")
        .args(["-M", "mps2-an386", "-display", "none", "-monitor", "none"])
        .args(["-kernel", &elf])
        .args([
            "-chardev",
            &format!("socket,id=line,path={uart},server=on,wait=off"),
        ])
        .args(["-chardev", &format!("file,id=media,path={media}")])
        .args(["-chardev", &format!("file,id=said,path={said}")])
        .args(["-serial", "chardev:line", "-serial", "chardev:media"])
        .args(["-serial", "chardev:said"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let _board = Killed(board);
    let b = End::board(Path::new(&uart));
    let a = End::plug(&PathBuf::from(scratch.path("a")));
    let line = format!("{},link", scratch.path("a"));
    let _cable = Cable::join(a, b, 115_200);
    let (source, _, sent) = source(&key, &line);
    let began = Instant::now();
    let heard = loop {
        let heard = std::fs::read(&media).unwrap_or_default();
        if heard.len() > 160_000 {
            break heard;
        }
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "{} bytes; the board says {:?}; {:#}",
            heard.len(),
            std::fs::read_to_string(&said),
            source.status()
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_part_of(&heard, &sent.lock().unwrap());
    let said = std::fs::read_to_string(&said).unwrap();
    let last = said.lines().last().unwrap();
    println!("the board says: {last}");
    assert!(
        last.contains(" 0 gaps") && last.contains(" 0 invalid"),
        "{last}"
    );
}
