//! Log lines: short; on stderr with the time, or with a priority where that is the journal; or as procd reads them.

use log::Level;
use std::format;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::string::String;
use std::time::{SystemTime, UNIX_EPOCH};

/// Begins logging, as `WEIR_LOG` says (`debug`, `weir::proto=trace`, `off`; `info` without it). Once a process.
pub fn start() {
    let style = Style::of_the_place();
    let filters = std::env::var("WEIR_LOG").unwrap_or_else(|_| String::from("info"));
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&filters).format(move |out, record| {
        let (level, target) = (record.level(), record.target());
        let text = record.args();
        match style {
            // sd-daemon(3): the journal takes the priority from the front of the line and has its own clock.
            Style::Journal => writeln!(out, "<{}>{target}: {text}", priority(level)),
            Style::Procd if level > Level::Warn => {
                // A log that nobody takes is no reason to stop.
                let _ = writeln!(std::io::stdout(), "{target}: {text}");
                Ok(())
            }
            Style::Procd => writeln!(out, "{target}: {text}"),
            Style::Plain => writeln!(out, "{} {level} {target}: {text}", time_of_day(now_ms())),
        }
    });
    // A second start, in a test, keeps the first.
    let _ = builder.try_init();
}

/// Who reads the lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Style {
    /// A person, or a file.
    Plain,
    /// systemd's journal.
    Journal,
    /// procd: it has its own clock, knows no priorities in a line, and logs stdout as information and stderr as errors.
    Procd,
}

impl Style {
    fn of_the_place() -> Self {
        match std::env::var("WEIR_LOG_STYLE").as_deref() {
            Ok("procd") => Self::Procd,
            _ if is_journal() => Self::Journal,
            _ => Self::Plain,
        }
    }
}

/// Whether stderr is the journal itself: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)), and is
/// inherited by programs whose stderr has since been sent elsewhere.
fn is_journal() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|stderr| journal == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// The priorities of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The time of day in UTC, to the millisecond: a log is read close to when it was written.
fn time_of_day(unix_ms: u64) -> String {
    let (s, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (hour, minute, second) = (s / 3_600 % 24, s / 60 % 60, s % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day() {
        assert_eq!(time_of_day(0), "00:00:00.000Z");
        // 2001-09-09T01:46:40Z, the moment Unix time had ten digits.
        assert_eq!(time_of_day(1_000_000_000_007), "01:46:40.007Z");
    }

    #[test]
    fn priorities_are_those_of_syslog() {
        assert_eq!((priority(Level::Error), priority(Level::Info)), (3, 6));
    }
}
