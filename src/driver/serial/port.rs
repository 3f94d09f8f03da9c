//! An open serial device: raw, 8N1, and never waited for.
//!
//! The `serialport` crate sets the line up, keeps others away, and knows how much the kernel still holds; its own reads
//! and writes block. Bytes go through a second descriptor of the same device, opened without blocking, which the
//! readiness library watches as it does sockets.

use super::getty;
use crate::driver::reactor::Async;
use crate::driver::serial_line::SerialLine;
use core::task::{Context, Poll};
use embedded_io::Read as _;
use rustix::fs::{Mode, OFlags};
use serialport::{ClearBuffer, SerialPort, TTYPort};
use std::fmt;
use std::format;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::string::{String, ToString};

/// Why a device is not used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is not there, or cannot be opened.
    Missing(String),
    /// Somebody else has it.
    Taken(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) => write!(f, "{why}; looking for it again"),
            Self::Taken(who) => write!(f, "left alone: {who}"),
        }
    }
}

/// An open device.
pub struct Port {
    io: Async<File>,
    settings: TTYPort,
    /// Bytes read since it was opened.
    pub rx_bytes: u64,
}

/// Why a read brought nothing.
#[derive(Debug)]
pub enum PortError {
    /// Nothing has come.
    Idle,
    /// The device is gone.
    Gone(io::Error),
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("nothing has come"),
            Self::Gone(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PortError {}

impl embedded_io::Error for PortError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::Idle => embedded_io::ErrorKind::TimedOut,
            Self::Gone(_) => embedded_io::ErrorKind::NotConnected,
        }
    }
}

impl embedded_io::ErrorType for Port {
    type Error = PortError;
}

impl embedded_io::Read for Port {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, PortError> {
        loop {
            match self.io.get_ref().read(bytes) {
                // A line that was hung up reads as at its end.
                Ok(0) => return Err(PortError::Gone(ErrorKind::UnexpectedEof.into())),
                Ok(read) => {
                    self.rx_bytes += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(PortError::Idle),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(PortError::Gone(error)),
            }
        }
    }
}

impl Port {
    /// Opens and sets up a device that nobody else uses.
    ///
    /// # Errors
    /// [`Refusal::Taken`] for one that somebody else uses, a login above all; [`Refusal::Missing`] for the rest.
    pub fn open(told: &SerialLine) -> Result<Self, Refusal> {
        let missing = |error: &dyn fmt::Display| Refusal::Missing(error.to_string());
        if let Some(who) = getty::user_of(&told.path) {
            return Err(Refusal::Taken(who));
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&told.path, flags, Mode::empty())
            .map_err(|errno| missing(&io::Error::from(errno)))?;
        let path = told.path.to_string_lossy();
        let settings = serialport::new(path, told.baud).open_native();
        let settings = settings.map_err(|error| match error.kind() {
            // Another program holds it with an exclusive lock.
            serialport::ErrorKind::NoDevice | serialport::ErrorKind::Io(ErrorKind::WouldBlock) => {
                Refusal::Taken(format!("another program has it ({error})"))
            }
            _ => missing(&error),
        })?;
        // What came at another rate, or for somebody else, is nothing for us.
        let _ = settings.clear(ClearBuffer::All);
        let io = Async::new(File::from(fd)).map_err(|error| missing(&error))?;
        Ok(Self {
            io,
            settings,
            rx_bytes: 0,
        })
    }

    /// Reads what is there: 0 for nothing yet.
    ///
    /// # Errors
    /// The device is gone.
    pub fn read_some(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.read(bytes) {
            Ok(read) => Ok(read),
            Err(PortError::Idle) => Ok(0),
            Err(PortError::Gone(error)) => Err(error),
        }
    }

    /// Writes what the device takes now: 0 for nothing.
    ///
    /// # Errors
    /// The device is gone.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.io.get_ref().write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Bytes the kernel holds that have not left yet, as far as it tells.
    pub fn unsent(&self) -> usize {
        self.settings.bytes_to_write().unwrap_or(0) as usize
    }

    /// Forgets what the kernel holds and has not sent.
    pub fn forget_unsent(&self) {
        let _ = self.settings.clear(ClearBuffer::Output);
    }

    /// Ready when something has come.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.io.poll_readable(context).map(drop)
    }

    /// Ready when the device takes more.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.io.poll_writable(context).map(drop)
    }
}
