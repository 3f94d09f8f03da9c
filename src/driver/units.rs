//! Sizes, rates and times as people write them: `8MiB`, `2Mbit`, `20s`. What is printed reads back as the same number.

use crate::time::Span;
use std::fmt;
use std::format;
use std::string::String;

/// A unit and how many bytes, bits per second or microseconds it stands for.
type Unit = (&'static str, u64);

const SIZE_UNITS: &[Unit] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

const RATE_UNITS: &[Unit] = &[
    ("Gbit", 1_000_000_000),
    ("Mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

const SPAN_UNITS: &[Unit] = &[
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Bytes from `64KiB`, `8MiB`, `1GB` or `1.5GB`. The error says what would be right.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, SIZE_UNITS)
        .ok_or_else(|| format!("{text:?} is not a size; write 64KiB, 8MiB or 200GB"))
}

/// Bytes as [`parse_size`] takes them, or nothing for `unlimited`.
pub fn parse_size_limit(text: &str) -> Result<Option<u64>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    parse(text, SIZE_UNITS)
        .map(Some)
        .ok_or_else(|| format!("{text:?} is not a size; write 500MB, 200GB or unlimited"))
}

/// Bits per second from `64kbit`, `2Mbit` or `1.5Mbit`. The error says what would be right.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    parse(text, RATE_UNITS).ok_or_else(|| wrong_rate(text, "128kbit or 2Mbit"))
}

/// Bits per second as [`parse_rate`] takes them, or nothing for `unlimited`.
pub fn parse_rate_limit(text: &str) -> Result<Option<u64>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    parse(text, RATE_UNITS)
        .map(Some)
        .ok_or_else(|| wrong_rate(text, "500kbit, 2Mbit or unlimited"))
}

/// A time from `500ms`, `20s`, `10m` or `2h`. The error says what would be right.
pub fn parse_span(text: &str) -> Result<Span, String> {
    parse(text, SPAN_UNITS)
        .map(Span::from_us)
        .ok_or_else(|| format!("{text:?} is not a time; write 500ms, 20s or 10m"))
}

/// Bytes and bits are easily confused, and the difference is eightfold: the error does the sum.
fn wrong_rate(text: &str, right: &str) -> String {
    match parse(text, SIZE_UNITS) {
        Some(bytes) if bytes > 0 && text.ends_with('B') => format!(
            "{text:?} is in bytes; rates are in bits per second, so write {}",
            Rate(bytes.saturating_mul(8))
        ),
        _ => format!("{text:?} is not a rate; write {right}"),
    }
}

/// A decimal number and one of `units`, exact; only 0 may go without. Nothing where the text is anything else, is
/// finer than one, or overflows.
fn parse(text: &str, units: &[Unit]) -> Option<u64> {
    let text = text.trim();
    if text == "0" {
        return Some(0);
    }
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits_end);
    let unit = unit.trim_start();
    let scale = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 15 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction_of = 10_u64.pow(fraction.len() as u32);
    let fraction: u64 = fraction.parse().ok()?;
    // fraction / fraction_of of the scale has to be whole.
    let common = gcd(scale, fraction_of);
    let (scale_rest, of_rest) = (scale / common, fraction_of / common);
    if !fraction.is_multiple_of(of_rest) {
        return None;
    }
    let part = fraction / of_rest * scale_rest;
    whole.checked_mul(scale)?.checked_add(part)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Bytes, printed exactly: `8MiB`, `200GB`, `1234567B` as `1.234567MB`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size(pub u64);

/// Bits per second, printed exactly: `1.5Mbit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A whole number of a binary unit is what memory is bought in; everything else reads better in tens.
        let binary = SIZE_UNITS[..4]
            .iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale));
        match binary {
            Some((unit, scale)) if !self.0.is_multiple_of(1_000) => {
                write!(f, "{}{unit}", self.0 / scale)
            }
            _ => write_decimal(f, self.0, &SIZE_UNITS[4..]),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, RATE_UNITS)
    }
}

/// Shows a time in its largest whole unit: `250ms`, `20s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Time(pub Span);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_us();
        let whole = SPAN_UNITS
            .iter()
            .find(|(_, scale)| us >= *scale && us.is_multiple_of(*scale));
        let (unit, scale) = whole.unwrap_or(&("s", 1_000_000));
        write!(f, "{}{unit}", us / scale)
    }
}

/// `number` in the largest of `units` (largest first, the last being one) that it fills, with every decimal it needs.
fn write_decimal(f: &mut fmt::Formatter<'_>, number: u64, units: &[Unit]) -> fmt::Result {
    let fits = units.iter().find(|(_, scale)| number >= *scale);
    let Some((unit, scale)) = fits.or(units.last()) else {
        return Ok(());
    };
    let digits = scale.ilog10() as usize;
    let fraction = format!("{:0digits$}", number % scale);
    match fraction.trim_end_matches('0') {
        "" => write!(f, "{}{unit}", number / scale),
        decimals => write!(f, "{}.{decimals}{unit}", number / scale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!(parse_size("8MiB"), Ok(8 * 1024 * 1024));
        assert_eq!(parse_size("64 KiB"), Ok(65_536));
        assert_eq!(parse_size("1.5GB"), Ok(1_500_000_000));
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size_limit("200GB"), Ok(Some(200_000_000_000)));
        assert_eq!(parse_size_limit("unlimited"), Ok(None));
    }

    #[test]
    fn rates_are_bits_in_tens() {
        assert_eq!(parse_rate("2Mbit"), Ok(2_000_000));
        assert_eq!(parse_rate("1.5Mbit"), Ok(1_500_000));
        assert_eq!(parse_rate("64kbit"), Ok(64_000));
        assert_eq!(parse_rate_limit("0"), Ok(Some(0)));
        assert_eq!(parse_rate_limit("unlimited"), Ok(None));
    }

    #[test]
    fn times() {
        assert_eq!(parse_span("500ms"), Ok(Span::from_ms(500)));
        assert_eq!(parse_span("20s"), Ok(Span::from_s(20)));
        assert_eq!(parse_span("1.5s"), Ok(Span::from_ms(1_500)));
        assert_eq!(parse_span("10m"), Ok(Span::from_s(600)));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        let wrong = [
            "", "8", "MiB", "-1MiB", "1e3B", ".5GB", "5.GB", "1.5B", "8mib", "8MiBB",
        ];
        for text in wrong {
            let error = parse_size(text).unwrap_err();
            assert!(
                error.contains(&format!("{text:?}")) && error.contains("8MiB"),
                "{error}"
            );
        }
        assert!(parse_size("99999999999TiB").is_err(), "overflows");
        assert!(parse_size("1.0000000000000000000000001GB").is_err());
        assert!(parse_rate("2").unwrap_err().contains("2Mbit"));
        assert!(parse_span("5 parsecs").unwrap_err().contains("20s"));
        assert!(parse_rate("unlimited").is_err());
    }

    #[test]
    fn bytes_given_for_bits_are_converted_in_the_error() {
        assert!(parse_rate_limit("2MB").unwrap_err().ends_with("16Mbit"));
    }

    #[test]
    fn what_is_printed_reads_back() {
        for (bytes, text) in [
            (8 << 20, "8MiB"),
            (200_000_000_000, "200GB"),
            (1_234_567, "1.234567MB"),
            (65_536, "64KiB"),
            (64_000, "64kB"),
            (0, "0B"),
            (u64::MAX, "18446744.073709551615TB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for (bps, text) in [
            (2_000_000, "2Mbit"),
            (1_500_000, "1.5Mbit"),
            (10_001, "10.001kbit"),
            (0, "0bit"),
        ] {
            assert_eq!(Rate(bps).to_string(), text);
            assert_eq!(parse_rate(text), Ok(bps));
        }
        for text in ["250ms", "20s", "10m", "1h", "1500us"] {
            assert_eq!(Time(parse_span(text).unwrap()).to_string(), text);
        }
        assert_eq!(Time(Span::ZERO).to_string(), "0s");
    }
}
