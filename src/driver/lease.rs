//! What of the quota may be used before the next write to disk. The file in the state directory says more than was sent: by so much may be
//! sent without writing again. After a crash or a power cut all of it counts as sent.
//!
//! One line of text: `weir-quota-v1`, the month and the bytes leased in it, seconds of running in it, the month before and its bytes,
//! the month that may have begun, its bytes and the seconds it was told (all zero if there is none), the latest month from which the clock
//! has jumped and its bytes, the quota whose sharing has ended, and a CRC-32C of what stands before. A file without the last three numbers
//! is older than they are: they are zero.

use super::months::{Month, Months, Next};
use super::short_file;
use core::time::Duration;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::string::String;
use std::{format, str::FromStr};

const LABEL: &str = "weir-quota-v1";
const NAME: &str = "quota";

/// The first lease lasts so long at the owner's upload limit.
const LASTS_S: u64 = 300;

/// And no less than this, nor less than this many bytes where there is no limit.
const LEAST_S: u64 = 20;
const LEAST_BYTES: u64 = 5_000_000;

/// One that was used up sooner than this was too small: the next is twice as large.
pub const TOO_SOON: Duration = Duration::from_secs(900);

/// Eleven numbers of twenty digits, and what stands around them.
const MAX_FILE_BYTES: usize = 512;

/// The file in a state directory.
pub fn file_in(state: &Path) -> PathBuf {
    state.join(NAME)
}

/// The first lease under these limits, and the largest: a part of the quota, since a crash costs as much.
pub fn sizes(quota_bytes: u64, limit_bps: Option<u64>) -> (u64, u64) {
    let most = (quota_bytes / 4).max(1);
    let at_limit = |seconds| limit_bps.map_or(u64::MAX, |bps| bps / 8 * seconds);
    let small = (quota_bytes / 64).min(at_limit(LASTS_S));
    // Of a quota that is small for the line, as much as is needed until the next write is done.
    let least = (quota_bytes / 8).min(at_limit(LEAST_S).min(LEAST_BYTES));
    (small.max(least).clamp(1, most), most)
}

/// What a file says, what was leased counting as used, and its text. A file that is not there, or whose text is `known`, says nothing; one
/// without text is what a power cut leaves on some file systems.
///
/// # Errors
/// It cannot be read, or is not what was written.
pub fn read(file: &Path, known: &str) -> io::Result<(Option<Months>, String)> {
    let text = match text_of(file) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok((None, String::new()));
        }
        text => text?,
    };
    if text == known && !text.is_empty() {
        return Ok((None, text));
    }
    let months = parse(&text).ok_or_else(|| io::Error::other("is not what was written"))?;
    Ok((Some(months), text))
}

/// Whatever it says.
pub fn text_of(file: &Path) -> io::Result<String> {
    short_file::read(file, MAX_FILE_BYTES)
}

/// Writes a file that says `leased` bytes more than were used; on disk when this returns. Returns what it says.
///
/// # Errors
/// The file is then what it was before.
pub fn write(file: &Path, months: &Months, leased: u64) -> io::Result<String> {
    let text = text(months, leased);
    let draft = file.with_extension("new");
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let written = File::create(&draft).and_then(|mut open| {
        open.write_all(text.as_bytes())?;
        open.sync_all()
    });
    written
        .and_then(|()| fs::rename(&draft, file))
        .inspect_err(|_| drop(fs::remove_file(&draft)))?;
    // The name too has to be on disk; a file system that cannot be asked for that has no better.
    if let Some(directory) = file
        .parent()
        .and_then(|directory| File::open(directory).ok())
    {
        let _ = directory.sync_all();
    }
    Ok(text)
}

fn text(months: &Months, leased: u64) -> String {
    let (before, used_before) = months.before;
    let next = months.next.unwrap_or_default();
    let next_used = match months.next {
        Some(next) => next.used.saturating_add(leased),
        None => 0,
    };
    let (jumped, used_jumped) = months.jumped;
    let line = format!(
        "{LABEL} {} {} {} {before} {used_before} {} {next_used} {} {jumped} {used_jumped} {}",
        months.month,
        months.used.saturating_add(leased),
        months.ran.as_secs(),
        next.month,
        next.told.as_secs(),
        months.ended,
    );
    format!("{line} {:08x}\n", crc(&line))
}

fn parse(text: &str) -> Option<Months> {
    let (line, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc(line) {
        return None;
    }
    let mut numbers = line.strip_prefix(LABEL)?.split_ascii_whitespace();
    // What a file does not have is zero.
    let mut number = || u64::from_str(numbers.next().unwrap_or("0")).ok();
    let mut months = Months {
        month: month_of(number()?)?,
        used: number()?,
        ran: Duration::from_secs(number()?),
        before: (month_of(number()?)?, number()?),
        ..Months::default()
    };
    let next = Next {
        month: month_of(number()?)?,
        used: number()?,
        told: Duration::from_secs(number()?),
    };
    months.next = (next != Next::default()).then_some(next);
    months.jumped = (month_of(number()?)?, number()?);
    months.ended = number()?;
    numbers.next().is_none().then_some(months)
}

fn month_of(number: u64) -> Option<Month> {
    Month::try_from(number).ok()
}

fn crc(line: &str) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn months() -> Months {
        Months {
            month: 24_322,
            used: 1_234_567_890_123,
            ran: Duration::from_secs(86_400),
            before: (24_321, 17),
            jumped: (24_400, 99),
            ended: 200,
            next: Some(Next {
                month: 24_323,
                used: 5,
                told: Duration::from_secs(77),
            }),
        }
    }

    fn with_lease(mut months: Months, leased: u64) -> Months {
        months.used += leased;
        if let Some(next) = &mut months.next {
            next.used += leased;
        }
        months
    }

    #[test]
    fn what_was_leased_counts_as_used() {
        let state = std::env::temp_dir().join(format!("weir-lease-{}", std::process::id()));
        let file = file_in(&state.join("deep"));
        assert_eq!(read(&file, "").unwrap(), (None, String::new()));
        for kept in [
            months(),
            Months {
                next: None,
                ..months()
            },
            // The clock is not set.
            Months {
                next: Some(Next::default()),
                ..months()
            },
        ] {
            let text = write(&file, &kept, 1_000).unwrap();
            let read_back = Some(with_lease(kept, 1_000));
            assert_eq!(read(&file, "").unwrap(), (read_back, text.clone()));
            assert_eq!(read(&file, &text).unwrap(), (None, text));
        }
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn a_file_that_was_hurt_is_not_believed() {
        let whole = text(&months(), 9);
        assert!(parse(&whole).is_some());
        for at in 0..whole.len() {
            assert!(parse(&whole[..at]).is_none(), "cut at {at}");
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            let hurt = String::from_utf8_lossy(&bytes);
            assert!(parse(&hurt).is_none(), "bit at {at}");
        }
        assert!(parse("").is_none() && parse("weir-quota-v1 00000000\n").is_none());
    }

    #[test]
    fn a_file_from_before_jumps_were_known_is_read() {
        let line = "weir-quota-v1 24322 1234 86400 24321 17 24323 5 77";
        let kept = parse(&format!("{line} {:08x}\n", crc(line))).unwrap();
        let (used, jumped, ended) = (1_234, (0, 0), 0);
        let next = Some(Next {
            used: 5,
            ..months().next.unwrap()
        });
        assert_eq!(
            kept,
            Months {
                used,
                jumped,
                ended,
                next,
                ..months()
            }
        );
    }

    #[test]
    fn leases_are_few_and_a_small_part() {
        assert_eq!(
            sizes(200_000_000_000, Some(2_000_000)),
            (75_000_000, 50_000_000_000)
        );
        assert_eq!(sizes(100_000_000, Some(2_000_000)), (5_000_000, 25_000_000));
        assert_eq!(sizes(1_600, None), (200, 400));
        assert_eq!(sizes(1, None), (1, 1));
    }
}
