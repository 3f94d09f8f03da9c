//! SIGTERM and SIGINT as bytes in a pipe: the node ends well.

use super::failure::Failure;
use super::reactor::Async;
use super::run::Ending;
use signal_hook::consts::{SIGINT, SIGTERM};
use smol::io::AsyncReadExt;
use std::io;
use std::os::unix::net::UnixStream;

/// The pipe's end that is read.
pub struct Signals(Async<UnixStream>);

impl Signals {
    /// From here on the signals do not kill the process.
    pub fn new() -> Result<Self, Failure> {
        Self::open().map_err(|error| Failure::runtime("signals", error))
    }

    fn open() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self(Async::new(read)?))
    }

    /// Ends the node at the first signal.
    pub async fn wait(mut self, ending: &Ending) {
        // The other end is never closed, so this is a signal.
        let _ = self.0.read(&mut [0]).await;
        log::info!("stopping: saying goodbye");
        ending.end(Ok(()));
    }
}
