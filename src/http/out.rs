//! A caller's buffer, written to until it is full.

use crate::error::Full;
use core::fmt;

/// Text going into a fixed buffer. What does not fit is not written, and [`Out::finish`] says so.
pub struct Out<'a> {
    buf: &'a mut [u8],
    len: usize,
    full: bool,
}

impl<'a> Out<'a> {
    /// Writes from the start of `buf`.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self {
            buf,
            len: 0,
            full: false,
        }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.buf.len() - self.len
    }

    /// Whether something did not fit.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Forgets everything after the first `len` bytes, and that something did not fit.
    pub fn rewind(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.full = false;
    }

    /// Appends bytes, all or none.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.buf.get_mut(self.len..end) {
            Some(place) if !self.full => {
                place.copy_from_slice(bytes);
                self.len = end;
            }
            _ => self.full = true,
        }
    }

    /// Appends text, all or none.
    pub fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Appends formatted text; `out.fmt(format_args!(...))`.
    pub fn fmt(&mut self, args: fmt::Arguments<'_>) {
        // A full buffer is remembered in `full`.
        let _ = fmt::write(self, args);
    }

    /// Bytes written, or `Full` if something did not fit.
    pub fn finish(self) -> Result<usize, Full> {
        if self.full { Err(Full) } else { Ok(self.len) }
    }
}

impl fmt::Write for Out<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.str(text);
        if self.full { Err(fmt::Error) } else { Ok(()) }
    }
}
