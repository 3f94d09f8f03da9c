//! Players in step: whoever has been given all there is gets what comes next from one task, which writes to all of them. Two hundred
//! tasks that each wake to write once take 5 to 8 % more of a relay's CPU (docs/PERFORMANCE.md).

use super::audience::{poll_said, write_media};
use super::reactor::Async;
use super::stint::Stint;
use super::view::Running;
use crate::proto::node::{Node, PlayerId};
use crate::proto::player::Stage;
use crate::time::Instant;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use smol::future::yield_now;
use std::io;
use std::net::TcpStream;

/// Players are written to for so long before others get a turn.
const WRITING: Duration = Duration::from_millis(2);

/// A player that has been given all there is.
pub struct Waiting {
    socket: Async<TcpStream>,
    /// It is not given what the others are.
    is_apart: bool,
    /// Its own task is to go on.
    is_over: bool,
    task: Waker,
}

/// Waits for media, with the socket in the player's seat meanwhile: ready when there is some and the player is apart from the others,
/// or does not take what it is given, or may be given no more (true), or is gone (false).
pub(super) fn poll(
    running: &Running,
    id: PlayerId,
    socket: &mut Option<Async<TcpStream>>,
    is_apart: bool,
    context: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    let mut seats = running.seats.borrow_mut();
    let seat = seats.get_mut(id).and_then(Option::as_mut);
    let Some(waiting) = seat.map(|seat| &mut seat.waiting) else {
        return Poll::Ready(Ok(false));
    };
    if let Some(socket) = socket.take() {
        *waiting = Some(Waiting {
            socket,
            is_apart,
            is_over: false,
            task: context.waker().clone(),
        });
    }
    let ready = match waiting {
        Some(waiting) if !waiting.is_over => poll_said(&waiting.socket, context),
        _ => Poll::Ready(Ok(true)),
    };
    if ready.is_ready() {
        *socket = waiting.take().map(|waiting| waiting.socket);
    }
    ready
}

/// Writes to the players in step whenever there is more, for ever.
pub async fn serve(running: &Running) {
    loop {
        let rings = running.engine.media.rings();
        let mut from = 0;
        while let Some(next) = write_from(from, running) {
            from = next;
            yield_now().await;
        }
        running.engine.media.after(rings).await;
    }
}

/// Gives those from this place on what there is. Where to go on, once others have had a turn.
fn write_from(from: PlayerId, running: &Running) -> Option<PlayerId> {
    let stint = Stint::of(WRITING);
    let is_leaving = running.engine.is_leaving();
    running.engine.turn(|node, now| {
        let mut seats = running.seats.borrow_mut();
        for (id, seat) in seats.iter_mut().enumerate().skip(from) {
            let waiting = seat.as_mut().and_then(|seat| seat.waiting.as_mut());
            let Some(waiting) = waiting.filter(|waiting| !waiting.is_over) else {
                continue;
            };
            let stays = !is_leaving
                && !waiting.is_apart
                && stays(running, node, now, id, waiting.socket.get_ref());
            if !stays {
                waiting.is_over = true;
                waiting.task.wake_by_ref();
            }
            if stint.is_over() {
                return Some(id + 1);
            }
        }
        None
    })
}

/// Gives a player what there is; whether it is in step afterwards. What went wrong its own task finds out once more.
fn stays(
    running: &Running,
    node: &mut Node<'_>,
    now: Instant,
    id: PlayerId,
    socket: &TcpStream,
) -> bool {
    let stream = node
        .player(id)
        .and_then(|player| node.streams().get(player.stream));
    if stream.is_none_or(|stream| stream.stopped) {
        return false;
    }
    let written = write_media(running, node, now, id, socket, usize::MAX);
    written.is_ok_and(|written| written.is_all)
        && node
            .player(id)
            .is_some_and(|player| player.stage != Stage::Ended)
}
