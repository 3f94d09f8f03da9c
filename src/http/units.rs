//! Quantities as people read them.

use core::fmt;

/// Bits per second: `1.5 Mbit/s`.
pub(crate) struct Rate(pub u64);

/// Bytes of data: `1.5 GB`, powers of 1,000.
pub(crate) struct Data(pub u64);

/// Bytes of memory: `1.5 MiB`, powers of 1,024.
pub(crate) struct Memory(pub u64);

/// Seconds: `2 d 3 h`, `3 h 5 min`, `5 min 7 s`, `7 s`.
pub(crate) struct Duration(pub u64);

/// A limit, or that there is none.
pub(crate) struct Limit<T>(pub Option<T>);

/// What share of `most`, which is not 0, `value` is, in parts of which `whole` are all; never more than all.
pub(crate) fn share(value: u64, most: u64, whole: u64) -> u64 {
    // Of quantities whose product might not fit, the last bits do not show.
    let shift = match most >> 48 {
        0 => 0,
        _ => 16,
    };
    (value.min(most) >> shift) * whole / (most >> shift)
}

fn scaled(f: &mut fmt::Formatter<'_>, value: u64, base: u64, units: &[&str]) -> fmt::Result {
    let (mut unit, mut size) = (0, 1u64);
    while unit + 1 < units.len() && value / size >= base {
        unit += 1;
        size *= base;
    }
    let name = units.get(unit).unwrap_or(&"");
    match unit {
        0 => write!(f, "{value} {name}"),
        _ => write!(f, "{}.{} {name}", value / size, value % size * 10 / size),
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1_000, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s"])
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1_000, &["B", "kB", "MB", "GB", "TB"])
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1_024, &["B", "KiB", "MiB", "GiB"])
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours, minutes, seconds) = (
            self.0 / 86_400,
            self.0 / 3_600 % 24,
            self.0 / 60 % 60,
            self.0 % 60,
        );
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {seconds} s"),
            (0, _, _) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(limit) => write!(f, "of {limit}"),
            None => f.write_str("(no limit)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn quantities_are_short_and_never_overflow() {
        assert_eq!(Rate(0).to_string(), "0 bit/s");
        assert_eq!(Rate(999).to_string(), "999 bit/s");
        assert_eq!(Rate(1_000).to_string(), "1.0 kbit/s");
        assert_eq!(Memory(1_024).to_string(), "1.0 KiB");
        assert_eq!(Rate(1_590_000).to_string(), "1.5 Mbit/s");
        assert_eq!(Data(200_000_000_000).to_string(), "200.0 GB");
        assert_eq!(Memory(8 << 20).to_string(), "8.0 MiB");
        assert_eq!(Data(u64::MAX).to_string(), "18446744.0 TB");
        assert_eq!(Memory(u64::MAX).to_string(), "17179869183.9 GiB");
        assert_eq!(Duration(59).to_string(), "59 s");
        assert_eq!(Duration(3_725).to_string(), "1 h 2 min");
        assert_eq!(Duration(200_000).to_string(), "2 d 7 h");
        assert_eq!(Limit(Some(Rate(2_000_000))).to_string(), "of 2.0 Mbit/s");
        assert_eq!(Limit::<Rate>(None).to_string(), "(no limit)");
    }
}
