//! What a console shows, through a fixed buffer. A terminal that takes nothing is not waited for: what was to be shown
//! is forgotten, and the console goes on when the line does.

use super::port::Port;
use crate::driver::reactor::Timer;
use core::future::poll_fn;
use core::time::Duration;
use smol::future::FutureExt;
use std::io;

/// Bytes that wait for the terminal at most.
const SCREEN_BYTES: usize = 2_048;

/// A terminal that takes nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The terminal does not take what it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deaf;

/// The far side of a console's port.
pub struct Screen {
    out: heapless::Deque<u8, SCREEN_BYTES>,
    /// Nothing was taken for a while.
    pub deaf: bool,
    /// Bytes shown, and bytes forgotten.
    pub shown_bytes: u64,
    /// See `shown_bytes`.
    pub forgotten_bytes: u64,
}

impl Screen {
    /// An empty screen.
    pub const fn new() -> Self {
        Self {
            out: heapless::Deque::new(),
            deaf: false,
            shown_bytes: 0,
            forgotten_bytes: 0,
        }
    }

    /// Whether something waits.
    pub fn is_waiting(&self) -> bool {
        !self.out.is_empty()
    }

    /// Adds text if there is room, else forgets it: for what nobody misses.
    pub fn put(&mut self, text: &str) {
        for byte in text.bytes() {
            let room = self.out.capacity() - self.out.len();
            if room < 2 {
                self.forgotten_bytes += 1;
                continue;
            }
            if byte == b'\n' {
                // Room: looked above.
                let _ = self.out.push_back(b'\r');
            }
            let _ = self.out.push_back(byte);
        }
    }

    /// Shows text, as slowly as the terminal takes it; [`Deaf`] if it takes nothing for a while.
    ///
    /// # Errors
    /// The port is gone.
    pub async fn show(&mut self, port: &Port, text: &str) -> io::Result<Result<(), Deaf>> {
        // Each newline becomes two bytes.
        for piece in pieces(text, SCREEN_BYTES / 4) {
            while self.out.capacity() - self.out.len() < 2 * piece.len() {
                if self.flush_some(port)? {
                    continue;
                }
                let writable = async {
                    poll_fn(|context| port.poll_writable(context)).await;
                    true
                };
                let late = async {
                    Timer::after(PATIENCE).await;
                    false
                };
                if !writable.or(late).await {
                    self.forget();
                    return Ok(Err(Deaf));
                }
            }
            self.put(piece);
        }
        self.flush_some(port)?;
        Ok(Ok(()))
    }

    /// Writes what the terminal takes now; whether it took any.
    ///
    /// # Errors
    /// The port is gone.
    pub fn flush_some(&mut self, port: &Port) -> io::Result<bool> {
        let (front, _) = self.out.as_slices();
        let taken = match front.is_empty() {
            true => 0,
            false => port.write(front)?,
        };
        for _ in 0..taken {
            self.out.pop_front();
        }
        self.shown_bytes += taken as u64;
        self.deaf &= taken == 0;
        Ok(taken > 0)
    }

    /// Forgets what waits.
    pub fn forget(&mut self) {
        self.deaf = true;
        self.forgotten_bytes += self.out.len() as u64;
        self.out.clear();
    }
}

/// A text in pieces of at most so many bytes, cut between characters.
fn pieces(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let mut end = rest.len().min(most);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "\u{266b}".repeat(10);
        let cut: std::vec::Vec<&str> = pieces(&text, 10).collect();
        assert!(cut.iter().all(|piece| piece.len() <= 10));
        assert_eq!(cut.concat(), text);
    }

    #[test]
    fn what_does_not_fit_is_forgotten_and_counted() {
        let mut screen = Screen::new();
        (0..100).for_each(|_| screen.put("thirty bytes of text and more\n"));
        assert!(screen.out.len() <= SCREEN_BYTES && screen.forgotten_bytes > 500);
        screen.forget();
        assert!(!screen.is_waiting() && screen.deaf);
    }
}
