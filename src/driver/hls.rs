//! HLS: the playlist, the segments and the init segment of a stream, cut from the ring as they are asked for.
//!
//! Who fetches segments comes and goes; so that a relay takes the whole stream meanwhile, a player's place is held for all of
//! them together, until nobody has asked for a while.

use super::audience::{self, Media, Place};
use super::reactor::Timer;
use super::reply::Client;
use super::view::Running;
use crate::http::document::PART_BYTES;
use crate::http::hls::{self, Entry, Format};
use crate::http::request::{Framing, Method};
use crate::proto::node::{PlayerId, StreamId};
use crate::proto::segments::{MAX_SEGMENTS, Segment};
use crate::time::{Instant, Span};
use core::cell::RefCell;
use core::time::Duration;
use std::io;
use std::vec::Vec;

/// A stream is taken whole so long after the last request.
const LINGER: Span = Span::from_s(15);

/// How often that is looked at, and how often a first segment is looked for.
const TICK: Duration = Duration::from_millis(250);

/// The same while nobody fetches any.
const QUIET: Duration = Duration::from_secs(5);

/// How long the first segment may take.
const PATIENCE: Span = Span::from_s(15);

/// What is remembered of a stream between two requests.
#[derive(Clone, Default)]
pub struct Memory {
    /// The place held for all who fetch segments, and until when.
    presence: Option<(PlayerId, Instant)>,
}

/// One for each stream.
pub type Memories = RefCell<Vec<Memory>>;

/// Gives back the places of streams that nobody asks for any more. Runs for ever.
pub async fn tend(running: &Running) {
    loop {
        let is_asked = |memory: &Memory| memory.presence.is_some();
        let anybody = running.hls.borrow().iter().any(is_asked);
        Timer::after(if anybody { TICK } else { QUIET }).await;
        let now = running.engine.clock.now();
        for memory in running.hls.borrow_mut().iter_mut() {
            if let Some((id, _)) = memory.presence.take_if(|(_, until)| *until <= now) {
                running.engine.with(|node, now| node.close_player(now, id));
                if let Some(seat) = running.seats.borrow_mut().get_mut(id) {
                    *seat = None;
                }
            }
        }
    }
}

/// Holds a place, or goes on holding it. False when all are taken.
fn stay(client: &Client<'_>, running: &Running, stream: StreamId) -> bool {
    let mut memories = running.hls.borrow_mut();
    let Some(memory) = memories.get_mut(stream) else {
        return false;
    };
    let until = running.engine.clock.now() + LINGER;
    if let Some((_, held)) = memory.presence.as_mut() {
        *held = until;
        return true;
    }
    let opened = running
        .engine
        .with(|node, now| node.open_player(now, stream, None));
    if let Ok(id) = opened {
        audience::seat(client, running, id);
        memory.presence = Some((id, until));
    }
    opened.is_ok()
}

/// What HLS can make of the stream, as soon as its kind is known.
fn format_of(running: &Running, stream: StreamId) -> Option<Result<Format, NotHls>> {
    let node = running.engine.look();
    let card = node.streams().get(stream)?.card.as_ref()?;
    Some(hls::format(&card.descriptor.content_type).ok_or(NotHls))
}

/// The container is none that HLS knows.
struct NotHls;

const NOT_HLS: &str =
    "HLS carries MPEG-TS, fragmented MP4, MP3 and AAC; this stream is none of them";

/// Answers with the playlist, once there is a segment.
pub(super) async fn playlist(
    client: &Client<'_>,
    running: &Running,
    stream: StreamId,
) -> io::Result<()> {
    if !stay(client, running, stream) {
        return client.refuse(503, "all places are taken").await;
    }
    let asked_at = running.engine.clock.now();
    loop {
        let format = match format_of(running, stream) {
            Some(Err(NotHls)) => return client.refuse(404, NOT_HLS).await,
            Some(Ok(format)) => Some(format),
            None => None,
        };
        if let Some(format) = format
            && say_playlist(client, running, stream, &format).await?
        {
            return Ok(());
        }
        let waited = running.engine.clock.now().since(asked_at);
        if waited > PATIENCE || running.engine.is_leaving() {
            return client.refuse(503, "no segment is complete yet").await;
        }
        Timer::after(TICK).await;
    }
}

/// The playlist; false when there is no segment yet.
async fn say_playlist(
    client: &Client<'_>,
    running: &Running,
    stream: StreamId,
    format: &Format,
) -> io::Result<bool> {
    let mut is_there = false;
    let mut whole = |out: &mut [u8]| {
        if core::mem::replace(&mut is_there, true) {
            return None;
        }
        let len = write_playlist(client, running, stream, format, out);
        is_there = len.is_some();
        len
    };
    client.send(&mut whole).await?;
    Ok(is_there)
}

/// Writes it with its head; its length, when there is a segment.
fn write_playlist(
    client: &Client<'_>,
    running: &Running,
    stream: StreamId,
    format: &Format,
    out: &mut [u8],
) -> Option<usize> {
    let node = running.engine.look();
    let known = &node.streams()[stream];
    let segments = known.segments();
    let sequence = segments.first()?.number;
    let card = known.card.as_ref();
    let map = card.map_or(0, |card| card.descriptor.preamble_from_block);
    drop(node);
    let entries: heapless::Vec<Entry, MAX_SEGMENTS> = segments.iter().map(entry).collect();
    let mut text = [0; PART_BYTES];
    let len = hls::playlist(format, sequence, map, &entries, &mut text).ok()?;
    let text = text.get(..len).filter(|_| client.method != Method::Head);
    let head_bytes = client.head(hls::PLAYLIST_TYPE, Framing::Length(len as u64), out)?;
    Some(head_bytes + append(out, head_bytes, text.unwrap_or(&[]))?)
}

/// Puts this behind what is there already; its length, if there is room for it.
fn append(out: &mut [u8], at: usize, bytes: &[u8]) -> Option<usize> {
    out.get_mut(at..)?
        .get_mut(..bytes.len())?
        .copy_from_slice(bytes);
    Some(bytes.len())
}

fn entry(segment: &Segment) -> Entry {
    Entry {
        block: segment.from.0,
        duration_us: segment.duration_us,
        discontinuities: segment.discontinuities,
        joins_on: segment.joins_on,
    }
}

/// Answers with what players need before the first segment.
pub(super) async fn init(
    client: &Client<'_>,
    running: &Running,
    stream: StreamId,
) -> io::Result<()> {
    let format = format_of(running, stream).filter(|_| stay(client, running, stream));
    let Some(Ok(format)) = format else {
        return client.refuse(404, NOT_HLS).await;
    };
    let whole = preamble_part(running, stream, 0, &mut []);
    let Some((version, bytes)) = whole.filter(|_| format.has_map) else {
        return client.refuse(404, "there is none").await;
    };
    client
        .say_document(format.content_type, Framing::Length(bytes as u64))
        .await?;
    let mut sent = 0;
    // In parts, for the node goes on while the client reads; what has changed meanwhile is cut off.
    let mut part = |out: &mut [u8]| {
        let is_wanted = client.method != Method::Head && sent < bytes;
        let len = out.len().min(bytes - sent);
        let same = preamble_part(running, stream, sent, out) == Some((version, bytes));
        sent += len;
        (is_wanted && same).then_some(len)
    };
    client.send(&mut part).await
}

/// Copies as much of the preamble from `offset` on as there is room for; its version, and its length in all.
fn preamble_part(
    running: &Running,
    stream: StreamId,
    offset: usize,
    out: &mut [u8],
) -> Option<(u32, usize)> {
    let node = running.engine.look();
    let stream = node.streams().get(stream)?;
    let preamble = stream.preamble.get()?;
    for (to, from) in out.iter_mut().zip(preamble.get(offset..)?) {
        *to = *from;
    }
    Some((stream.version(), preamble.len()))
}

/// Answers with a segment.
pub(super) async fn segment<'a>(
    client: &Client<'_>,
    running: &'a Running,
    stream: StreamId,
    block: u64,
) -> io::Result<Option<Media<'a>>> {
    let refuse = |status, text| async move {
        client.refuse(status, text).await?;
        Ok(None)
    };
    let Some(Ok(format)) = format_of(running, stream) else {
        return refuse(404, NOT_HLS).await;
    };
    if !stay(client, running, stream) {
        return refuse(503, "all places are taken").await;
    }
    let known = running.engine.look().streams()[stream].segment(block);
    let Some(segment) = known else {
        return refuse(404, "this segment is gone, or not there yet").await;
    };
    let opened = running
        .engine
        .with(|node, now| node.open_segment(now, stream, &segment, format.has_preamble));
    let Ok((id, bytes)) = opened else {
        return refuse(503, "all places are taken").await;
    };
    let place = Place::sit(client, running, stream, id);
    let tag = format
        .has_timestamp
        .then(|| hls::timestamp(segment.time_us));
    let all = tag.map_or(0, |tag| tag.len() as u64) + bytes;
    let tag = tag.filter(|_| client.method != Method::Head);
    let mut head = |out: &mut [u8]| {
        let head_bytes = client.head(format.content_type, Framing::Length(all), out)?;
        let tag = tag.as_ref().map_or(&[][..], |tag| tag);
        Some(head_bytes + append(out, head_bytes, tag)?)
    };
    client.say_head(&mut head).await?;
    Ok(match client.method {
        Method::Head => None,
        _ => Some(Media::Piece { place, bytes }),
    })
}
