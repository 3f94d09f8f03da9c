//! Standard input, and whatever else the system lets us wait for: pipes, named pipes, sockets, terminals, devices.

use super::super::reactor::Async;
use super::feed::Feed;
use super::{InputError, InputOptions, MAX_READ_BYTES, Sink, file};
use smol::future::yield_now;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::vec;

/// Reads standard input until it ends. A regular file on it is paced like any file.
pub async fn run<S: Sink>(options: &InputOptions, sink: &S) -> Result<(), InputError> {
    const NAME: &str = "standard input";
    let fd = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(InputError::io("cannot read", NAME))?;
    let file = File::from(fd);
    let feed = Feed::new(sink);
    match waitable(&file) {
        true => live(file, NAME, &feed).await?,
        false => file::paced(file, NAME, options, &feed).await?,
    }
    feed.ended();
    Ok(())
}

/// Whether reading may have to wait for somebody: true for pipes and their like, not for regular files.
pub(super) fn waitable(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| !meta.is_file()) && Async::new_nonblocking(file).is_ok()
}

/// Reads a pipe as it comes, until its last writer is gone.
///
/// Standard input may share its open file with others, a terminal even with standard error, and `O_NONBLOCK` would hit
/// them all and outlive us. So it is left alone: we read once after each time the system says that there is something to
/// read, and a pipe with one reader does not block then.
pub(super) async fn live<S: Sink>(
    file: File,
    name: &str,
    feed: &Feed<'_, S>,
) -> Result<(), InputError> {
    let pipe = Async::new_nonblocking(file).map_err(InputError::io("cannot read", name))?;
    let mut buf = vec![0; MAX_READ_BYTES];
    loop {
        pipe.readable()
            .await
            .map_err(InputError::io("cannot read", name))?;
        match pipe.get_ref().read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(bytes) => feed.media(buf.get(..bytes).unwrap_or_default()),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(e) => return Err(InputError::io("cannot read", name)(e)),
        }
        yield_now().await;
    }
}
