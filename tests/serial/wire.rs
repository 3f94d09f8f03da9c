//! A serial cable between two pseudo-terminals: as slow as it is told, and as bad.

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What the cable does to bytes; each of a million, in both directions.
#[derive(Clone, Copy, Default, Debug)]
pub struct Faults {
    pub dropped_ppm: u32,
    pub flipped_ppm: u32,
    pub doubled_ppm: u32,
    /// Every byte comes so much later.
    pub delay: Duration,
    /// Nothing gets through; what is sent waits.
    pub stalled: bool,
    /// One byte arrives as another, always: the far end is set to another rate.
    pub scrambled: bool,
    /// The sender hears itself, as on a pair of wires with an open receiver.
    pub echoes: bool,
}

/// One end: a device that a program opens by its name.
pub struct End {
    pub path: PathBuf,
    master: File,
    /// Kept open, so that the terminal lives while no program has it; a socket has none.
    _slave: Option<File>,
}

impl End {
    /// A new pseudo-terminal under a name of its own; a link that is there already is set anew.
    pub fn plug(path: &Path) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
        let mut modes = tcgetattr(&slave).unwrap();
        modes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &modes).unwrap();
        let flags = rustix::fs::fcntl_getfl(&master).unwrap();
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).unwrap();
        let _ = std::fs::remove_file(path);
        symlink(name.to_str().unwrap(), path).unwrap();
        Self {
            path: path.to_path_buf(),
            master: File::from(master),
            _slave: Some(File::from(slave)),
        }
    }

    /// The UART of an emulated board, which qemu puts on a socket (`-chardev socket,server=on`).
    pub fn board(path: &Path) -> Self {
        let deadline = Instant::now() + crate::common::DEADLINE;
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            thread::sleep(Duration::from_millis(50));
        };
        stream.set_nonblocking(true).unwrap();
        Self {
            path: path.to_path_buf(),
            master: File::from(OwnedFd::from(stream)),
            _slave: None,
        }
    }

    /// What has come; nothing at all is an empty piece.
    pub fn read(&self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        match (&self.master).read(&mut bytes) {
            Ok(n) => bytes.truncate(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => bytes.clear(),
            Err(error) => panic!("{error}"),
        }
        bytes
    }

    /// Writes as much as is taken.
    pub fn write(&self, bytes: &[u8]) -> usize {
        match (&self.master).write(bytes) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }

    /// The adapter is pulled out: the name is gone, and whoever has the device open hears of it.
    pub fn pull(self) {
        std::fs::remove_file(&self.path).unwrap();
    }
}

/// Bytes each way.
#[derive(Clone, Copy, Default, Debug)]
pub struct Carried {
    pub bytes: [u64; 2],
}

/// Two ends and what joins them.
pub struct Cable {
    faults: Arc<Mutex<Faults>>,
    carried: Arc<Mutex<Carried>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<(End, End)>>,
}

impl Cable {
    /// Joins two ends at a rate.
    pub fn join(a: End, b: End, baud: u32) -> Self {
        let faults = Arc::<Mutex<Faults>>::default();
        let carried = Arc::<Mutex<Carried>>::default();
        let over = Arc::<AtomicBool>::default();
        let shared = (faults.clone(), carried.clone(), over.clone());
        let thread = thread::spawn(move || {
            let (faults, carried, over) = shared;
            let mut ways = [Way::new(1), Way::new(2)];
            while !over.load(Ordering::Relaxed) {
                let now = *faults.lock().unwrap();
                let passed = [
                    ways[0].pass(&a, &b, baud, now),
                    ways[1].pass(&b, &a, baud, now),
                ];
                let mut carried = carried.lock().unwrap();
                for (sum, more) in carried.bytes.iter_mut().zip(passed) {
                    *sum += more as u64;
                }
                drop(carried);
                thread::sleep(Duration::from_millis(2));
            }
            (a, b)
        });
        Self {
            faults,
            carried,
            over,
            thread: Some(thread),
        }
    }

    /// From now on the cable is like this.
    pub fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    /// Bytes that went in at each end so far.
    pub fn carried(&self) -> Carried {
        *self.carried.lock().unwrap()
    }

    /// Takes the cable off; the ends stay.
    pub fn take_off(mut self) -> (End, End) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// One direction.
struct Way {
    at: Instant,
    /// Bytes it may take, in millionths.
    credit: u64,
    under_way: std::collections::VecDeque<(Instant, u8)>,
    random: u64,
}

impl Way {
    fn new(seed: u64) -> Self {
        Self {
            at: Instant::now(),
            credit: 0,
            under_way: Default::default(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// Moves what the rate allows since the last time; returns how many bytes went in.
    fn pass(&mut self, from: &End, to: &End, baud: u32, faults: Faults) -> usize {
        let now = Instant::now();
        let us = now.duration_since(self.at).as_micros() as u64;
        self.at = now;
        // A busy machine calls late; what it missed is made up for, a tenth of a second of it.
        let most = u64::from(baud) / 10 * 100_000;
        self.credit = (self.credit + us * u64::from(baud) / 10).min(most);
        if faults.stalled {
            return 0;
        }
        let bytes = from.read((self.credit / 1_000_000) as usize);
        self.credit -= bytes.len() as u64 * 1_000_000;
        for &byte in &bytes {
            self.damage(byte, now + faults.delay, faults);
        }
        if faults.echoes {
            from.write(&bytes);
        }
        let arrived = self.under_way.iter().take_while(|(at, _)| *at <= now);
        let arrived: Vec<u8> = arrived.map(|(_, byte)| *byte).collect();
        // Whoever does not read loses, as on a wire.
        to.write(&arrived);
        self.under_way.drain(..arrived.len());
        bytes.len()
    }

    fn damage(&mut self, byte: u8, at: Instant, faults: Faults) {
        if self.chance(faults.dropped_ppm) {
            return;
        }
        let mut byte = byte;
        if faults.scrambled {
            byte = (byte.rotate_left(3) ^ 0x5a) | 1;
        }
        if self.chance(faults.flipped_ppm) {
            byte ^= 1 << (self.next() % 8);
        }
        self.under_way.push_back((at, byte));
        if self.chance(faults.doubled_ppm) {
            self.under_way.push_back((at, byte));
        }
    }

    fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.next() % 1_000_000 < u64::from(ppm)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
