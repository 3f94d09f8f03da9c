//! What is played and what is heard: the loop into the source's input at its own pace, and the listener's output against it.

use core::net::SocketAddr;
use std::format;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Twelve seconds of music that join on to themselves; `assets/make-loop.py` makes them.
static LOOP: &[u8] = include_bytes!("../../../assets/loop.mp3");

/// Bits per second of the loop.
pub const LOOP_BPS: u64 = 64_000;

/// Bytes of a frame: 24 ms.
const FRAME_BYTES: usize = 192;

/// Length of a frame.
const FRAME: Duration = Duration::from_millis(24);

/// So many bytes are enough to know where in the loop we are.
const ANCHOR_BYTES: usize = 2 * FRAME_BYTES;

/// Plays the loop into a pipe.
pub struct Feeder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feeder {
    /// Begins now.
    pub fn start(mut pipe: ChildStdin) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut due = Instant::now();
            for frame in LOOP.chunks(FRAME_BYTES).cycle() {
                if stopped.load(Ordering::Relaxed) || pipe.write_all(frame).is_err() {
                    return;
                }
                due += FRAME;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Closes the pipe.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Plays the stream of a node to nobody, until the node ends.
pub fn play(http: SocketAddr, key: &str) {
    let request = format!("GET /streams/{key} HTTP/1.0\r\n\r\n");
    thread::spawn(move || {
        let Ok(mut stream) = TcpStream::connect(http) else {
            return;
        };
        let mut sink = [0; 4_096];
        if stream.write_all(request.as_bytes()).is_ok() {
            while let Ok(1..) = stream.read(&mut sink) {}
        }
    });
}

/// What was heard, compared with the loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Bytes heard.
    pub bytes: u64,
    /// Places where what was heard does not go on as the loop does.
    pub breaks: u64,
}

/// Listens to a pipe.
pub struct Heard {
    bytes: Arc<AtomicUsize>,
    verdict: Arc<Mutex<Verdict>>,
    thread: Option<JoinHandle<()>>,
}

impl Heard {
    /// Begins now.
    pub fn start(mut pipe: ChildStdout) -> Self {
        let (bytes, verdict) = (
            Arc::<AtomicUsize>::default(),
            Arc::<Mutex<Verdict>>::default(),
        );
        let (count, told) = (bytes.clone(), verdict.clone());
        let thread = thread::spawn(move || {
            let mut ear = Ear::default();
            let mut buf = [0; 4_096];
            while let Ok(n @ 1..) = pipe.read(&mut buf) {
                ear.hear(buf.get(..n).unwrap_or(&[]));
                count.fetch_add(n, Ordering::Relaxed);
                *told.lock().unwrap_or_else(PoisonError::into_inner) = ear.verdict;
            }
        });
        Self {
            bytes,
            verdict,
            thread: Some(thread),
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The verdict, once the pipe is closed.
    pub fn finish(mut self) -> Verdict {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the loop.
#[derive(Default)]
struct Ear {
    verdict: Verdict,
    /// Where in the loop the next byte is, once that is known.
    at: Option<usize>,
    /// Bytes not yet found in the loop.
    lost: heapless::Vec<u8, ANCHOR_BYTES>,
}

impl Ear {
    fn hear(&mut self, bytes: &[u8]) {
        self.verdict.bytes += bytes.len() as u64;
        for &byte in bytes {
            self.step(byte);
        }
    }

    fn step(&mut self, byte: u8) {
        if let Some(at) = self.at {
            if LOOP[at] == byte {
                self.at = Some((at + 1) % LOOP.len());
                return;
            }
            self.verdict.breaks += 1;
            self.at = None;
            self.lost.clear();
        }
        if self.lost.is_full() {
            self.lost.remove(0);
        }
        // Room: one was just taken out.
        let _ = self.lost.push(byte);
        if self.lost.is_full() {
            self.at = find(&self.lost).map(|from| (from + ANCHOR_BYTES) % LOOP.len());
            if self.at.is_none() {
                self.verdict.breaks += 1;
            }
        }
    }
}

/// Where the loop has these bytes, its beginning following its end.
fn find(bytes: &[u8]) -> Option<usize> {
    let here = |from: usize| {
        let around = LOOP.iter().cycle().skip(from);
        bytes.iter().zip(around).all(|(a, b)| a == b)
    };
    (0..LOOP.len()).find(|&from| LOOP[from] == bytes[0] && here(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(parts: &[&[u8]]) -> Verdict {
        let mut ear = Ear::default();
        parts.iter().for_each(|part| ear.hear(part));
        ear.verdict
    }

    #[test]
    fn the_loop_is_500_frames_of_64_kbit_s() {
        assert_eq!(LOOP.len(), 500 * FRAME_BYTES);
        // MPEG 1 layer III without CRC, 64 kbit/s at 48 kHz (ISO/IEC 11172-3, 2.4.1.3).
        let is_frame = |frame: &[u8]| frame.starts_with(&[0xff, 0xfb]) && frame[2] & 0xfe == 0x54;
        assert!(LOOP.chunks(FRAME_BYTES).all(is_frame));
    }

    #[test]
    fn any_part_of_the_loop_is_as_it_should_be() {
        let from = 123 * FRAME_BYTES;
        let all = [&LOOP[from..], LOOP, &LOOP[..5_000]];
        assert_eq!(verdict(&all).breaks, 0);
        assert_eq!(verdict(&all).bytes as usize, 2 * LOOP.len() - from + 5_000);
    }

    #[test]
    fn a_missing_or_changed_byte_is_noticed() {
        assert_eq!(verdict(&[&LOOP[..5_000], &LOOP[5_001..]]).breaks, 1);
        let mut changed = LOOP.to_vec();
        changed[10_000] ^= 1;
        assert!(verdict(&[&changed]).breaks >= 1);
        assert!(verdict(&[&[0; 2 * ANCHOR_BYTES]]).breaks > 0);
    }
}
