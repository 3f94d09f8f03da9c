//! What a serial line is told: `/dev/ttyUSB0,link,115200`, the same on the command line and in a list of a file; a file
//! may also say it as a section `[[serial]]`.

use super::units;
use crate::time::Span;
use std::fmt;
use std::format;
use std::path::PathBuf;
use std::string::{String, ToString};

pub use crate::proto::config::MAX_LINES;

/// The rate of a line that was not told another, in baud.
pub const DEFAULT_BAUD: u32 = 115_200;

/// How long half-duplex line drivers are given to turn round, where nothing else is said.
const DEFAULT_TURNAROUND: Span = Span::from_ms(5);

/// What a serial line is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineRole {
    /// A person types at the other end.
    Console,
    /// Another node is at the other end.
    Link,
}

impl LineRole {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Link => "link",
        }
    }
}

/// One serial line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SerialLine {
    /// The device.
    pub path: PathBuf,
    /// What is at the other end.
    pub role: LineRole,
    /// Signal rate, 8N1.
    pub baud: u32,
    /// Both ends share one pair of wires (RS-485): how long a change of direction takes.
    pub turnaround: Option<Span>,
}

/// On a half-duplex line one side sends for this long, then lets the other begin.
pub const TURN: Span = Span::from_ms(150);

impl SerialLine {
    /// Bytes a second that it carries in one direction: ten bits each (8N1). A half-duplex line loses three turnarounds
    /// for each turn, and a twentieth to what comes the other way.
    pub fn bytes_per_s(&self) -> u32 {
        let bytes = u64::from(self.baud / 10);
        let carried = match self.turnaround {
            None => bytes,
            Some(turnaround) => {
                let turn_us = TURN.as_us();
                bytes * turn_us / (turn_us + turnaround.times(3).as_us()) * 19 / 20
            }
        };
        u32::try_from(carried).unwrap_or(u32::MAX)
    }

    /// Reads `PATH,console|link[,BAUD][,half-duplex[=TIME]]`. The words after the path may also stand as
    /// `role=`, `baud=` and `half-duplex=`, in any order.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split(',').map(str::trim);
        let path = words.next().unwrap_or_default();
        let path = path.strip_prefix("path=").unwrap_or(path);
        if path.is_empty() || path.contains('=') {
            return Err(format!("{text:?} does not begin with a device; {EXAMPLE}"));
        }
        let (mut role, mut baud, mut turnaround) = (None, DEFAULT_BAUD, None);
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("console", "") | ("role", "console") => role = Some(LineRole::Console),
                ("link", "") | ("role", "link") => role = Some(LineRole::Link),
                ("half-duplex", "" | "true") => turnaround = Some(DEFAULT_TURNAROUND),
                ("half-duplex", "false") => turnaround = None,
                ("half-duplex", time) => turnaround = Some(turnaround_of(time)?),
                ("baud", rate) => baud = baud_of(rate)?,
                (rate, "") if rate.bytes().all(|b| b.is_ascii_digit()) && !rate.is_empty() => {
                    baud = baud_of(rate)?;
                }
                _ => {
                    return Err(format!(
                        "{word:?} is nothing a serial line knows; {EXAMPLE}"
                    ));
                }
            }
        }
        let role = role.ok_or_else(|| format!("{path}: console or link? {EXAMPLE}"))?;
        Ok(Self {
            path: PathBuf::from(path),
            role,
            baud,
            turnaround,
        })
    }
}

const EXAMPLE: &str = "write for example /dev/ttyUSB0,link,115200";

fn baud_of(text: &str) -> Result<u32, String> {
    let baud = text.parse().ok();
    baud.filter(|baud| (300..=4_000_000).contains(baud))
        .ok_or_else(|| format!("{text:?} is not a baud rate from 300 to 4000000"))
}

fn turnaround_of(text: &str) -> Result<Span, String> {
    let span = units::parse_span(text)?;
    match span <= Span::from_ms(100) {
        true => Ok(span),
        false => Err(format!(
            "{text:?} is out of range; a line turns round within 100ms"
        )),
    }
}

/// As it is written.
impl fmt::Display for SerialLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{},{},{}",
            self.path.display(),
            self.role.name(),
            self.baud
        )?;
        match self.turnaround {
            Some(time) => write!(f, ",half-duplex={}", units::Time(time)),
            None => Ok(()),
        }
    }
}

/// What is wrong with several lines together, if anything.
pub fn check(lines: &[SerialLine]) -> Result<(), String> {
    if lines.len() > MAX_LINES {
        return Err(format!("{} lines given; at most {MAX_LINES}", lines.len()));
    }
    for (at, line) in lines.iter().enumerate() {
        if lines[..at].iter().any(|other| other.path == line.path) {
            return Err(format!("{} is given twice", line.path.display()));
        }
    }
    match cfg!(feature = "serial") || lines.is_empty() {
        true => Ok(()),
        false => Err("serial lines are not in this build of weir".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in [
            "/dev/ttyUSB0,link,115200",
            "/dev/ttyAMA0,console,9600",
            "/dev/ttyS1,link,57600,half-duplex=2ms",
        ] {
            assert_eq!(SerialLine::parse(text).unwrap().to_string(), text);
        }
        let short = SerialLine::parse("/dev/ttyS0,console").unwrap();
        assert_eq!((short.baud, short.turnaround), (115_200, None));
        let section = SerialLine::parse("path=/dev/ttyS0, role=link, baud=1000000, half-duplex");
        assert_eq!(
            section.unwrap().to_string(),
            "/dev/ttyS0,link,1000000,half-duplex=5ms"
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("", "does not begin with a device"),
            ("link,115200", "console or link?"),
            ("/dev/ttyS0", "console or link?"),
            ("/dev/ttyS0,lonk", "nothing a serial line knows"),
            ("/dev/ttyS0,link,baud=fast", "not a baud rate"),
            ("/dev/ttyS0,link,110", "not a baud rate"),
            ("/dev/ttyS0,link,half-duplex=2s", "out of range"),
        ] {
            let error = SerialLine::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_half_duplex_line_carries_less() {
        let carries = |text: &str| SerialLine::parse(text).unwrap().bytes_per_s();
        assert_eq!(carries("/dev/a,link,115200"), 11_520);
        // Room for 64 kbit/s of Opus with everything: 9,430 bytes a second.
        let half = carries("/dev/a,link,115200,half-duplex");
        assert!((9_900..10_000).contains(&half), "{half}");
    }
}
