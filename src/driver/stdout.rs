//! `weir listen`: the stream on standard output, byte for byte.
//!
//! Standard output may share its open file with others, so it is not made non-blocking. A pipe, socket or terminal is written
//! to when the system says that it takes something, and then at most what a pipe takes without waiting (PIPE_BUF); a file is
//! written to directly.

use super::failure::Failure;
use super::reactor::Async;
use super::run::Ending;
use super::view::Running;
use crate::proto::node::PlayerId;
use crate::proto::player::Stage;
use core::future::poll_fn;
use core::task::Poll;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

/// Bytes that a pipe which takes anything takes at once (pipe(7): PIPE_BUF on Linux).
const PIPE_BYTES: usize = 4_096;

/// Pieces that make up so many bytes in all but the smallest blocks.
const MAX_SLICES: usize = 8;

/// Writes the stream of a listener until its reader leaves.
pub async fn run(running: &Running, ending: &Ending) {
    ending.end(match write_all(running).await {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::runtime("stdout", error)),
    });
}

async fn write_all(running: &Running) -> io::Result<()> {
    let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let is_pipe = file.metadata()?.file_type().is_fifo();
    let waits = Async::new_nonblocking(file.try_clone()?).ok();
    let opened = running
        .engine
        .with(|node, now| node.open_player(now, 0, None));
    let id = opened.map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
    while !running.engine.is_leaving() {
        let rings = running.engine.media.rings();
        if has_media(running, id) {
            if let Some(file) = &waits {
                file.writable().await?;
            }
            write_some(running, id, &file)?;
            smol::future::yield_now().await;
            continue;
        }
        if is_at_end(running, id) {
            log::warn!("the stream goes on as another medium; its head stands in the output");
            running.engine.with(|node, _| node.restart_player(id));
            continue;
        }
        let gone = poll_fn(|context| {
            if running.engine.media.poll_after(rings, context).is_ready() {
                return Poll::Ready(false);
            }
            // The writing end of a pipe is "readable" once nobody reads it any more.
            match waits.as_ref().filter(|_| is_pipe) {
                Some(pipe) => pipe.poll_readable(context).map(|_| true),
                None => Poll::Pending,
            }
        })
        .await;
        if gone {
            return Ok(());
        }
    }
    Ok(())
}

fn has_media(running: &Running, id: PlayerId) -> bool {
    running
        .engine
        .turn(|node, now| !node.peek_player(now, id).is_empty())
}

/// Whether the stream has become another medium, which the player behind a connection would be told by closing it.
fn is_at_end(running: &Running, id: PlayerId) -> bool {
    let node = running.engine.look();
    node.player(id)
        .is_some_and(|player| player.stage == Stage::Ended)
}

fn write_some(running: &Running, id: PlayerId, mut file: &File) -> io::Result<()> {
    running.engine.turn(|node, now| {
        let mut pieces: [&[u8]; MAX_SLICES] = [&[]; MAX_SLICES];
        node.peek_player_vectored(now, id, &mut pieces);
        let mut left = PIPE_BYTES;
        let slices = pieces.map(|piece| {
            let part = piece.get(..left).unwrap_or(piece);
            left -= part.len();
            IoSlice::new(part)
        });
        match file.write_vectored(&slices) {
            Ok(written) => {
                node.advance_player(id, written);
                Ok(())
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    })
}
