//! Signals as bytes in pipes: SIGTERM and SIGINT end the node well, SIGHUP has its configuration read again.

use super::failure::Failure;
use super::manager;
use super::reactor::Async;
use super::run::Ending;
use core::ffi::c_int;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use smol::io::AsyncReadExt;
use std::io;
use std::os::unix::net::UnixStream;

/// The pipe's end that is read.
pub struct Signals(Async<UnixStream>);

impl Signals {
    /// From here on the signals do not kill the process.
    pub fn new() -> Result<Self, Failure> {
        pipe(&[SIGTERM, SIGINT]).map(Self)
    }

    /// Ends the node at the first signal.
    pub async fn wait(mut self, ending: &Ending) {
        // The other end is never closed, so this is a signal.
        next(&mut self.0).await;
        log::info!("stopping: saying goodbye");
        manager::stopping();
        ending.end(Ok(()));
    }
}

/// From here on SIGHUP does not kill the process; [`next`] tells of it.
pub fn hangups() -> Result<Async<UnixStream>, Failure> {
    pipe(&[SIGHUP])
}

/// Waits for a signal; several that came close together are one. False where there will be none.
pub async fn next(pipe: &mut Async<UnixStream>) -> bool {
    matches!(pipe.read(&mut [0; 64]).await, Ok(1..))
}

fn pipe(signals: &[c_int]) -> Result<Async<UnixStream>, Failure> {
    let open = || {
        let (read, write) = UnixStream::pair()?;
        for &signal in signals {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Async::new(read)
    };
    open().map_err(|error: io::Error| Failure::runtime("signals", error))
}
