//! Text for stdout. A reader that has left (`weir help | head -1`) is no failure.

use super::failure::Failure;
use std::io::{ErrorKind, Write};

/// Writes `text` to stdout, all of it or up to where the reader left.
pub fn print(text: &str) -> Result<(), Failure> {
    is_read(text).map(drop)
}

/// As [`print`]; whether the reader is still there.
pub fn is_read(text: &str) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::runtime("stdout", error))
        }
        written => Ok(written.is_ok()),
    }
}
