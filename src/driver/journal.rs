//! The last things that happened, in a few fixed lines: for the page and the console, where no log can be read.

use crate::time::Instant;
use core::fmt::{self, Write};
use heapless::String;

/// Lines kept.
pub const MAX_LINES: usize = 16;

/// Bytes of a line; what is longer is cut.
pub const MAX_LINE_BYTES: usize = 112;

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Line {
    /// When, on the node's clock.
    pub at: Instant,
    /// What, in one sentence.
    pub text: String<MAX_LINE_BYTES>,
    /// How often it happened in a row, this time included.
    pub times: u32,
}

/// The last [`MAX_LINES`] things that happened.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    lines: heapless::Deque<Line, MAX_LINES>,
}

/// Takes as much as fits and does not complain of the rest.
struct Cut<'a>(&'a mut String<MAX_LINE_BYTES>);

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.0.push(c).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

impl Journal {
    /// Notes what happened. The same as before is counted, not repeated.
    pub fn note(&mut self, at: Instant, what: fmt::Arguments<'_>) {
        let mut text = String::new();
        // Longer: it is cut.
        let _ = Cut(&mut text).write_fmt(what);
        if let Some(last) = self.lines.back_mut().filter(|last| last.text == text) {
            (last.at, last.times) = (at, last.times.saturating_add(1));
            return;
        }
        if self.lines.is_full() {
            self.lines.pop_front();
        }
        // Room: one was just taken out.
        let _ = self.lines.push_back(Line { at, text, times: 1 });
    }

    /// Line `i`, the newest first.
    pub fn line(&self, i: usize) -> Option<&Line> {
        self.lines.iter().rev().nth(i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let mut journal = Journal::default();
        let mut now = Instant::ZERO;
        for i in 0..40 {
            now += Span::from_s(1);
            journal.note(now, format_args!("event {}", i / 2));
        }
        let newest = journal.line(0).unwrap();
        assert_eq!((newest.text.as_str(), newest.times), ("event 19", 2));
        assert_eq!(newest.at, now);
        assert_eq!(journal.line(15).unwrap().text, "event 4");
        assert!(journal.line(16).is_none());
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut journal = Journal::default();
        journal.note(Instant::ZERO, format_args!("{}", "\u{266b}".repeat(99)));
        assert_eq!(journal.line(0).unwrap().text.len(), 111);
    }
}
