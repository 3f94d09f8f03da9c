//! One HTTP player: the head when the stream is known, then media straight from the ring, with the title in between if it
//! asked for that.

use super::beyond;
use super::in_step;
use super::reactor::Async;
use super::reply::{Client, STUCK, farewell};
use super::view::{Running, Seat};
use super::within::within;
use crate::http::icy::{ICY_METAINT, IcyInterleaver, MAX_ICY_BLOCK_BYTES};
use crate::http::request::Method;
use crate::http::response::{self, Live};
use crate::proto::bucket::Urgency;
use crate::proto::node::{Node, PlayerId, StreamId};
use crate::proto::player::Stage;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;

/// How long a stream may stay unknown before a player is sent away.
const PATIENCE: Duration = Duration::from_secs(15);

/// Most pieces of the ring in one system call: a few blocks.
const MAX_SLICES: usize = 64;

/// Reads after which a player that talks is sent away.
const MAX_SAID: usize = 8;

/// Longest time shift that is looked for; the ring ends long before.
const MAX_AGO_MS: u64 = 24 * 3_600_000;

/// Lets a player in: what is left to do is its media.
pub(super) async fn serve<'a>(
    client: &Client<'_>,
    running: &'a Running,
    stream: StreamId,
    ago_ms: Option<u64>,
) -> io::Result<Option<Media<'a>>> {
    let socket = client.stream;
    let refuse = |text| async move {
        client.refuse(503, text).await?;
        Ok(None)
    };
    if client.method == Method::Head {
        head_only(client, running, stream).await?;
        return Ok(None);
    }
    let Some(place) = Place::take(client, running, stream, ago_ms) else {
        return refuse("all places are taken").await;
    };
    let known = |node: &mut Node<'_>, _| {
        let card = node.streams().get(stream)?.card.as_ref();
        card.map(|_| Span::ZERO)
    };
    match wait_for(running, socket, &known).await {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            return refuse("the stream has not begun").await;
        }
        other => other?,
    };
    let icy = client.icy_metadata.then_some(ICY_METAINT);
    let age = |node: &mut Node<'_>, now| node.player_age(now, place.id);
    let ago_ms = match ago_ms {
        None => None,
        Some(_) => match wait_for(running, socket, &age).await {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return refuse("nothing can be played yet").await;
            }
            age => Some(age?.as_ms()),
        },
    };
    let mut head = |out: &mut [u8]| write_head(running, stream, client, icy, ago_ms, out).ok();
    client.say_head(&mut head).await?;
    let titles = icy.map(|metaint| Box::new(Titles::new(metaint)));
    Ok(Some(Media::Live { place, titles }))
}

/// Waits until there is what is looked for; the player's patience has an end.
async fn wait_for(
    running: &Running,
    socket: &Async<TcpStream>,
    look: &dyn Fn(&mut Node<'_>, Instant) -> Option<Span>,
) -> io::Result<Span> {
    let wait = async {
        loop {
            let rings = running.engine.media.rings();
            if let Some(found) = running.engine.turn(|node, now| look(node, now)) {
                return Ok(found);
            }
            let wait =
                |context: &mut Context<'_>| match running.engine.media.poll_after(rings, context) {
                    Poll::Ready(()) => Poll::Ready(Ok(true)),
                    Poll::Pending => poll_said(socket, context),
                };
            let here = poll_fn(wait).await?;
            if !here || running.engine.is_leaving() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
    };
    within(PATIENCE, wait).await
}

/// What follows the head of an answer.
pub(super) enum Media<'a> {
    /// The stream, for as long as the player stays.
    Live {
        place: Place<'a>,
        titles: Option<Box<Titles>>,
    },
    /// So many bytes, which are all there.
    Piece { place: Place<'a>, bytes: u64 },
}

impl Media<'_> {
    /// Sends it, until the player leaves, or falls too far behind, or the node ends. The socket is elsewhere in between.
    pub async fn pour(&mut self, socket: &mut Option<Async<TcpStream>>) -> io::Result<()> {
        match (self, socket) {
            (_, None) => Ok(()),
            (Media::Live { place, titles }, socket) => {
                pour(place, socket, titles.as_deref_mut()).await
            }
            (Media::Piece { place, bytes }, Some(socket)) => pour_out(place, socket, *bytes).await,
        }
    }
}

/// What a player would be told, without a place for it.
async fn head_only(client: &Client<'_>, running: &Running, stream: StreamId) -> io::Result<()> {
    if running.engine.look().streams()[stream].card.is_none() {
        return client.refuse(503, "the stream has not begun").await;
    }
    let icy = client.icy_metadata.then_some(ICY_METAINT);
    client
        .say_head(&mut |out| write_head(running, stream, client, icy, None, out).ok())
        .await
}

fn write_head(
    running: &Running,
    stream: StreamId,
    client: &Client<'_>,
    icy_metaint: Option<u32>,
    ago_ms: Option<u64>,
    out: &mut [u8],
) -> io::Result<usize> {
    let node = running.engine.look();
    let card = node.streams().get(stream).and_then(|s| s.card.as_ref());
    let descriptor = card.map(|card| &card.descriptor);
    let live = Live {
        content_type: descriptor.map_or("", |d| &d.content_type),
        name: descriptor.map_or("", |d| &d.title),
        genre: descriptor.map_or("", |d| &d.genre),
        url: descriptor.map_or("", |d| &d.url),
        bitrate_bps: descriptor.map_or(0, |d| u64::from(d.bitrate_bps)),
        icy_metaint,
        ago_ms,
        chunked: false,
    };
    response::live(client.version, &live, out).map_err(|_| ErrorKind::OutOfMemory.into())
}

/// A player's place in the node, given back when it goes.
pub(super) struct Place<'a> {
    running: &'a Running,
    stream: StreamId,
    id: PlayerId,
    /// Where the player is.
    to: Addr,
}

impl<'a> Place<'a> {
    /// Nothing when all are taken.
    fn take(
        client: &Client<'_>,
        running: &'a Running,
        stream: StreamId,
        ago_ms: Option<u64>,
    ) -> Option<Self> {
        let ago = ago_ms.map(|ms| Span::from_ms(ms.min(MAX_AGO_MS)));
        let opened = running
            .engine
            .with(|node, now| node.open_player(now, stream, ago));
        Some(Self::sit(client, running, stream, opened.ok()?))
    }

    /// In a place that the node has given.
    pub(super) fn sit(
        client: &Client<'_>,
        running: &'a Running,
        stream: StreamId,
        id: PlayerId,
    ) -> Self {
        seat(client, running, id);
        Self {
            running,
            stream,
            id,
            to: Addr::udp(client.from),
        }
    }

    /// Waits until the owner's line has room for this player, if it leads there.
    async fn turn(&self) -> io::Result<()> {
        beyond::turn(self.running, self.to, Urgency::Stream).await
    }

    fn is_at_end(&self) -> bool {
        let node = self.running.engine.look();
        node.player(self.id)
            .is_some_and(|player| player.stage == Stage::Ended)
    }
}

/// Notes who sits in a place.
pub(super) fn seat(client: &Client<'_>, running: &Running, id: PlayerId) {
    if let Some(seat) = running.seats.borrow_mut().get_mut(id) {
        *seat = Some(Seat {
            address: client.from,
            user_agent: client.user_agent.clone(),
            waiting: None,
        });
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let id = self.id;
        self.running
            .engine
            .with(|node, now| node.close_player(now, id));
        if let Some(seat) = self.running.seats.borrow_mut().get_mut(id) {
            *seat = None;
        }
    }
}

/// So many bytes that are all there, and no more.
async fn pour_out(place: &Place<'_>, socket: &Async<TcpStream>, mut left: u64) -> io::Result<()> {
    while left > 0 {
        place.turn().await?;
        match place.write_some(socket.get_ref(), None) {
            // The ring has gone on without this client.
            Ok(Written { bytes: 0, .. }) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(written) => left = left.saturating_sub(written.bytes as u64),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                within(STUCK, socket.writable()).await?;
            }
            Err(error) => return Err(error),
        }
        smol::future::yield_now().await;
    }
    Ok(())
}

/// Media as it comes, until the player leaves.
async fn pour(
    place: &Place<'_>,
    socket: &mut Option<Async<TcpStream>>,
    mut titles: Option<&mut Titles>,
) -> io::Result<()> {
    let running = place.running;
    while !running.engine.is_leaving() && !running.is_stopped(place.stream) {
        place.turn().await?;
        let Some(here) = socket.as_ref() else {
            return Ok(());
        };
        match place.write_some(here.get_ref(), titles.as_deref_mut()) {
            // What follows is another medium.
            Ok(Written { is_all: true, .. }) if place.is_at_end() => return farewell(here).await,
            Ok(Written { is_all: true, .. }) => {
                let is_apart = !place.to.is_local() || titles.is_some();
                let wait = |context: &mut Context<'_>| {
                    in_step::poll(running, place.id, socket, is_apart, context)
                };
                if !poll_fn(wait).await? {
                    return Ok(());
                }
            }
            Ok(Written { is_all: false, .. }) => smol::future::yield_now().await,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                within(STUCK, here.writable()).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How much was written, and whether that was all there was.
pub(super) struct Written {
    pub bytes: usize,
    pub is_all: bool,
}

impl Place<'_> {
    /// Writes what there is, without waiting; nothing when there is nothing.
    fn write_some(
        &self,
        socket: &TcpStream,
        mut titles: Option<&mut Titles>,
    ) -> io::Result<Written> {
        if let Some(titles) = &mut titles {
            titles.refill(self);
        }
        let mut is_all = false;
        let mut write = |node: &mut Node<'_>, now, most: usize| {
            let due = titles.as_deref_mut().filter(|titles| titles.is_due());
            if let Some(titles) = due {
                return titles.write(socket, most);
            }
            let room = titles.as_ref().map_or(usize::MAX, |t| t.icy.media_room());
            let written = write_media(self.running, node, now, self.id, socket, most.min(room))?;
            is_all = written.is_all;
            if let Some(titles) = &mut titles {
                titles.icy.wrote_media(written.bytes);
            }
            Ok(written.bytes)
        };
        let bytes = beyond::pass(
            self.running,
            self.to,
            Urgency::Stream,
            usize::MAX,
            &mut write,
        )?;
        Ok(Written { bytes, is_all })
    }
}

/// Writes the media there is for a player, at most so many bytes of it, without waiting.
pub(super) fn write_media(
    running: &Running,
    node: &mut Node<'_>,
    now: Instant,
    id: PlayerId,
    socket: &TcpStream,
    most: usize,
) -> io::Result<Written> {
    let (offered, written) = offer(running, node, now, id, socket, most)?;
    if offered == 0 {
        return Ok(Written {
            bytes: 0,
            is_all: true,
        });
    }
    node.advance_player(id, written);
    match written {
        0 => Err(ErrorKind::WriteZero.into()),
        bytes => Ok(Written {
            bytes,
            is_all: bytes == offered && node.peek_player(now, id).is_empty(),
        }),
    }
}

/// Offers the media there is, at most so many bytes of it: how many were offered, and how many taken.
fn offer(
    running: &Running,
    node: &mut Node<'_>,
    now: Instant,
    id: PlayerId,
    mut socket: &TcpStream,
    most: usize,
) -> io::Result<(usize, usize)> {
    let mut sheet = running.sheet.borrow_mut();
    let spot = node.player_spot(now, id);
    if let Some(bytes) = sheet.at(spot).filter(|_| most > 0) {
        let bytes = bytes.get(..most).unwrap_or(bytes);
        return Ok((bytes.len(), socket.write(bytes)?));
    }
    let mut pieces: [&[u8]; MAX_SLICES] = [&[]; MAX_SLICES];
    let count = node.peek_player_vectored(now, id, &mut pieces);
    // The kernel looks at each piece, empty or not.
    let pieces = pieces.get(..count).unwrap_or(&pieces);
    sheet.show(spot, pieces);
    let mut left = most;
    let parts = pieces.iter().map(|piece| {
        let part = piece.get(..left).unwrap_or(piece);
        left -= part.len();
        IoSlice::new(part)
    });
    let parts: heapless::Vec<_, MAX_SLICES> = parts.collect();
    let offered = most - left;
    let written = match offered {
        0 => 0,
        _ => socket.write_vectored(&parts)?,
    };
    Ok((offered, written))
}

/// The titles between the media of one player.
pub(super) struct Titles {
    icy: IcyInterleaver,
    block: [u8; MAX_ICY_BLOCK_BYTES],
    /// Part of the block that has still to go out.
    left: core::ops::Range<usize>,
}

impl Titles {
    fn new(metaint: u32) -> Self {
        Self {
            icy: IcyInterleaver::new(metaint),
            block: [0; MAX_ICY_BLOCK_BYTES],
            left: 0..0,
        }
    }

    fn is_due(&self) -> bool {
        !self.left.is_empty()
    }

    /// Makes the next block when the media before it is out.
    fn refill(&mut self, place: &Place<'_>) {
        if self.icy.media_room() == 0 && !self.is_due() {
            let node = place.running.engine.look();
            let stream = node.streams().get(place.stream);
            let title = stream.map_or("", |stream| &stream.title.text);
            self.left = 0..self.icy.metadata(title, &mut self.block);
        }
    }

    fn write(&mut self, mut socket: &TcpStream, most: usize) -> io::Result<usize> {
        let rest = self.block.get(self.left.clone()).unwrap_or(&[]);
        let rest = rest.get(..most).unwrap_or(rest);
        let written = socket.write(rest)?;
        self.left.start += written;
        match written {
            0 => Err(ErrorKind::WriteZero.into()),
            written => Ok(written),
        }
    }
}

/// Ready (false) when the player is gone. It has nothing to say after its request; one that goes on talking is no player.
pub(super) fn poll_said(
    socket: &Async<TcpStream>,
    context: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    let mut said = 0;
    while said < MAX_SAID {
        match socket.poll_readable(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(ready) => ready?,
        }
        match socket.get_ref().read(&mut [0; 256]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => break,
            Ok(_) => said += 1,
        }
    }
    Poll::Ready(Ok(false))
}
