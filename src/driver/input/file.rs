//! A file, played at its own rate.

use super::super::reactor::Timer;
use super::feed::Feed;
use super::pace::Pacer;
use super::stdin::{live, waitable};
use super::{InputError, InputOptions, MAX_READ_BYTES, Sink};
use core::time::Duration;
use smol::future::yield_now;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::string::ToString;
use std::time::Instant;
use std::vec;

/// Reads the file until its end, or for ever if it is to be repeated.
pub async fn run<S: Sink>(path: &Path, options: &InputOptions, sink: &S) -> Result<(), InputError> {
    let name = path.display().to_string();
    let feed = Feed::new(sink);
    loop {
        let file = open(path).map_err(InputError::io("cannot open", &name))?;
        match waitable(&file) {
            true => {
                feed.waiting("nobody writes into the pipe");
                live(file, &name, &feed).await?;
            }
            false => paced(file, &name, options, &feed).await?,
        }
        if !options.repeat {
            feed.ended();
            return Ok(());
        }
        if !feed.begin() {
            wait(EMPTY_PAUSE).await;
        }
    }
}

/// Opens a file. A named pipe is opened at once; to wait for its writer would stop everything else.
fn open(path: &Path) -> io::Result<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblock)
        .open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    }
}

/// Reads a regular file (or what behaves like one) in small pieces, as fast as it plays.
pub(super) async fn paced<S: Sink>(
    mut file: File,
    name: &str,
    options: &InputOptions,
    feed: &Feed<'_, S>,
) -> Result<(), InputError> {
    let unpaced_bytes = UNPACED_BYTES + id3_bytes(&mut file);
    let begin = Instant::now();
    let mut pacer = Pacer::new(options.bitrate_bps);
    let mut buf = vec![0; MAX_READ_BYTES];
    loop {
        let piece = pacer.piece_bytes().min(buf.len());
        let bytes = match file.read(buf.get_mut(..piece).unwrap_or_default()) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(InputError::io("cannot read", name)(e)),
        };
        if bytes == 0 {
            wait(pacer.finish(begin.elapsed())).await;
            return Ok(());
        }
        feed.media(buf.get(..bytes).unwrap_or_default());
        match pacer.taken(begin.elapsed(), bytes, feed.media_time()) {
            Some(pause) => wait(pause).await,
            None if pacer.bytes() >= unpaced_bytes => {
                return Err(InputError::RateUnknown { input: name.into() });
            }
            None => yield_now().await,
        }
    }
}

/// Between two looks at an empty file that is to be repeated.
const EMPTY_PAUSE: Duration = Duration::from_secs(1);

/// How much of a file goes out before something must tell its pace.
const UNPACED_BYTES: u64 = 64 * 1024;

/// Length of the ID3v2 tag where the file begins, which tells no time and may hold a big picture (ID3v2.4 section 3.1).
fn id3_bytes(file: &mut File) -> u64 {
    let mut head = [0; 10];
    let here = file.stream_position().unwrap_or(0);
    match file.read_exact_at(&mut head, here).map(|()| head) {
        Ok([b'I', b'D', b'3', _, _, _, size @ ..]) => {
            10 + size
                .iter()
                .fold(0, |sum, &byte| sum << 7 | u64::from(byte & 0x7f))
        }
        _ => 0,
    }
}

async fn wait(pause: Duration) {
    match pause.is_zero() {
        true => yield_now().await,
        false => Timer::after(pause).await,
    }
}
