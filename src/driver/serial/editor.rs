//! One line of typing, from keys that may be noise. Fixed memory; whatever comes, it is a line soon, or nothing.

use heapless::String;

/// Longest line; more keys than this are not taken.
pub const MAX_LINE_BYTES: usize = 100;

/// What a key does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Typed {
    /// Nothing to see.
    Nothing,
    /// This is to be shown.
    Shown(char),
    /// So many characters are to be wiped off the screen.
    Wiped(usize),
    /// The help key, on an empty line.
    Help,
    /// The line was given up.
    GivenUp,
    /// A line is complete.
    Line(String<MAX_LINE_BYTES>),
    /// A line is complete that no keyboard typed: bytes outside ASCII were in it, or controls, or too many.
    Garbled,
}

/// Where in an escape sequence (ECMA-48) the keys are: cursor keys are no text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Escape {
    #[default]
    None,
    Begun,
    /// Control sequence, of so many bytes yet.
    Sequence(u8),
}

/// The line so far.
#[derive(Clone, Debug, Default)]
pub struct Editor {
    line: String<MAX_LINE_BYTES>,
    escape: Escape,
    garbled: bool,
    after_return: bool,
    /// Bytes that no keyboard sends.
    pub noise: u64,
}

impl Editor {
    /// Takes one byte.
    pub fn key(&mut self, byte: u8) -> Typed {
        let after_return = core::mem::take(&mut self.after_return);
        if self.is_escape(byte) {
            return Typed::Nothing;
        }
        match byte {
            // A terminal may send both.
            b'\n' if after_return => Typed::Nothing,
            b'\r' | b'\n' => {
                self.after_return = byte == b'\r';
                self.complete()
            }
            0x08 | 0x7f => match self.line.pop() {
                Some(_) => Typed::Wiped(1),
                None => Typed::Nothing,
            },
            // Ctrl-C, Ctrl-D: another line. Ctrl-U, Ctrl-W: wipe.
            0x03 | 0x04 => match self.forget() {
                true => Typed::Nothing,
                false => Typed::GivenUp,
            },
            0x15 => Typed::Wiped(self.wipe_to(0)),
            0x17 => {
                let kept = self.line.trim_end();
                let word = kept.rfind(' ').map_or(0, |space| space + 1);
                Typed::Wiped(self.wipe_to(word))
            }
            b'?' if self.line.is_empty() && !self.garbled => Typed::Help,
            b' '..=b'~' => match self.line.push(char::from(byte)) {
                // What is lost anyway is not shown.
                Ok(()) if self.garbled => Typed::Nothing,
                Ok(()) if self.is_secret() => Typed::Shown('*'),
                Ok(()) => Typed::Shown(char::from(byte)),
                Err(_) => self.noise(),
            },
            b'\t' | 0 => Typed::Nothing,
            _ => self.noise(),
        }
    }

    fn noise(&mut self) -> Typed {
        self.noise = self.noise.saturating_add(1);
        self.garbled = true;
        Typed::Nothing
    }

    /// Whether the byte belongs to an escape sequence. One that does not end is given up.
    fn is_escape(&mut self, byte: u8) -> bool {
        self.escape = match (self.escape, byte) {
            (_, 0x1b) => Escape::Begun,
            (Escape::Begun, b'[' | b'O') => Escape::Sequence(0),
            (Escape::Sequence(n), 0x20..=0x3f) if n < 8 => Escape::Sequence(n + 1),
            (Escape::Begun, b' '..=b'~') | (Escape::Sequence(_), 0x40..=0x7e) => {
                self.escape = Escape::None;
                return true;
            }
            _ => Escape::None,
        };
        self.escape != Escape::None
    }

    fn complete(&mut self) -> Typed {
        let garbled = core::mem::take(&mut self.garbled);
        let line = core::mem::take(&mut self.line);
        match garbled {
            true => Typed::Garbled,
            false => Typed::Line(line),
        }
    }

    /// Gives the line up; whether it was garbled.
    fn forget(&mut self) -> bool {
        self.line.clear();
        core::mem::take(&mut self.garbled)
    }

    fn wipe_to(&mut self, len: usize) -> usize {
        let wiped = self.line.len() - len;
        // ASCII only: every byte is a boundary.
        self.line.truncate(len);
        wiped
    }

    /// A token is not shown.
    fn is_secret(&self) -> bool {
        self.line.trim_start().starts_with("token ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::string::ToString;

    fn lines(keys: &[u8]) -> std::vec::Vec<std::string::String> {
        let mut editor = Editor::default();
        let typed = keys.iter().map(|key| editor.key(*key));
        typed
            .filter_map(|typed| match typed {
                Typed::Line(line) => Some(line.to_string()),
                Typed::Garbled => Some("(garbled)".to_string()),
                Typed::Help => Some("(help)".to_string()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn keys_become_lines() {
        assert_eq!(lines(b"status\r\npeers\nlog\r"), ["status", "peers", "log"]);
        assert_eq!(lines(b"stax\x7ftus\r"), ["status"]);
        assert_eq!(lines(b"wrong\x15log\r"), ["log"]);
        assert_eq!(lines(b"limit 1Mbit\x172Mbit\r"), ["limit 2Mbit"]);
        assert_eq!(lines(b"sta\x03log\r"), ["log"]);
        assert_eq!(lines(b"?log ?\r"), ["(help)", "log ?"]);
    }

    #[test]
    fn cursor_keys_are_no_text() {
        assert_eq!(lines(b"l\x1b[Ao\x1b[1;5Cg\x1bOP\r"), ["log"]);
        // An escape that goes nowhere swallows little.
        assert_eq!(lines(b"\x1b[99999999999999\r"), ["999999"]);
    }

    #[test]
    fn noise_is_never_a_command() {
        assert_eq!(lines(b"pau\xffse\r"), ["(garbled)"]);
        assert_eq!(lines(b"\x80\x81\r\rlog\r"), ["(garbled)", "", "log"]);
        assert_eq!(lines(&[&[b'x'; 101][..], b"\r"].concat()), ["(garbled)"]);
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut rng = Rng::new(4);
        let mut editor = Editor::default();
        for _ in 0..200_000 {
            let _ = editor.key(rng.next_u64() as u8);
            assert!(editor.line.len() <= MAX_LINE_BYTES && editor.line.is_ascii());
        }
        assert!(editor.noise > 50_000);
        let _ = (editor.key(0x1b), editor.key(b'x'));
        let _ = editor.key(0x03);
        assert_eq!(editor.key(b'?'), Typed::Help);
    }

    #[test]
    fn a_token_is_not_shown() {
        let mut editor = Editor::default();
        let shown: std::vec::Vec<Typed> = b"token ab".iter().map(|key| editor.key(*key)).collect();
        assert_eq!(shown[4], Typed::Shown('n'));
        assert_eq!(shown[6..], [Typed::Shown('*'), Typed::Shown('*')]);
    }
}
