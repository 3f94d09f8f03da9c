//! HLS: the playlist, the segments and the init segment of a stream, cut from the ring as they are asked for.
//!
//! Who fetches segments comes and goes; so that a relay takes the whole stream meanwhile, a player's place is held for all of
//! them together, until nobody has asked for a while.

use super::audience::{self, Media, Place};
use super::reactor::Timer;
use super::server::{Client, head_of, refuse, write_all};
use super::view::Running;
use crate::http::document::PART_BYTES;
use crate::http::hls::{self, Entry, Format};
use crate::http::request::{Framing, Method, Request};
use crate::http::response;
use crate::proto::node::{PlayerId, StreamId};
use crate::proto::segments::{MAX_SEGMENTS, Segment};
use crate::time::{Instant, Span};
use core::cell::RefCell;
use core::time::Duration;
use std::io::{self, ErrorKind};
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
fn stay(client: &Client<'_>, request: &Request<'_>, running: &Running, stream: StreamId) -> bool {
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
        audience::seat(client, request, running, id);
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
    request: &Request<'_>,
    running: &Running,
    stream: StreamId,
) -> io::Result<()> {
    let (socket, method) = (client.stream, request.method);
    if !stay(client, request, running, stream) {
        return refuse(socket, method, 503, "all places are taken").await;
    }
    let asked_at = running.engine.clock.now();
    let (format, segments) = loop {
        let format = match format_of(running, stream) {
            Some(Err(NotHls)) => return refuse(socket, method, 404, NOT_HLS).await,
            Some(Ok(format)) => Some(format),
            None => None,
        };
        let segments = running.engine.look().streams()[stream].segments();
        if let Some(format) = format.filter(|_| !segments.is_empty()) {
            break (format, segments);
        }
        let waited = running.engine.clock.now().since(asked_at);
        if waited > PATIENCE || running.engine.is_leaving() {
            return refuse(socket, method, 503, "no segment is complete yet").await;
        }
        Timer::after(TICK).await;
    };
    let sequence = segments.first().map_or(0, |oldest| oldest.number);
    let entries: heapless::Vec<Entry, MAX_SEGMENTS> = segments.iter().map(entry).collect();
    let mut text = [0; PART_BYTES];
    let len = hls::playlist(&format, sequence, &entries, &mut text)
        .map_err(|_| ErrorKind::OutOfMemory)?;
    let text = text.get(..len).unwrap_or(&[]);
    head(client, request, hls::PLAYLIST_TYPE, len as u64).await?;
    match method {
        Method::Head => Ok(()),
        _ => write_all(socket, text).await,
    }
}

fn entry(segment: &Segment) -> Entry {
    Entry {
        block: segment.from.0,
        duration_us: segment.duration_us,
        discontinuities: segment.discontinuities,
    }
}

async fn head(
    client: &Client<'_>,
    request: &Request<'_>,
    content_type: &str,
    bytes: u64,
) -> io::Result<()> {
    let framing = Framing::Length(bytes);
    let head =
        |out: &mut [u8]| response::document(request.version, content_type, framing, false, out);
    write_all(client.stream, &head_of(head)?).await
}

/// Answers with what players need before the first segment.
pub(super) async fn init(
    client: &Client<'_>,
    request: &Request<'_>,
    running: &Running,
    stream: StreamId,
) -> io::Result<()> {
    let Some(Ok(format)) =
        format_of(running, stream).filter(|_| stay(client, request, running, stream))
    else {
        return refuse(client.stream, request.method, 404, NOT_HLS).await;
    };
    let whole = preamble_part(running, stream, 0, &mut []);
    let Some((version, bytes)) = whole.filter(|_| format.has_map) else {
        return refuse(client.stream, request.method, 404, "there is none").await;
    };
    head(client, request, format.content_type, bytes as u64).await?;
    let mut sent = 0;
    // In parts, for the node goes on while the client reads.
    let mut part = [0; PART_BYTES];
    while request.method != Method::Head && sent < bytes {
        if preamble_part(running, stream, sent, &mut part) != Some((version, bytes)) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let len = (bytes - sent).min(PART_BYTES);
        write_all(client.stream, part.get(..len).unwrap_or(&[])).await?;
        sent += len;
    }
    Ok(())
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
    request: &Request<'_>,
    running: &'a Running,
    stream: StreamId,
    block: u64,
) -> io::Result<Option<Media<'a>>> {
    let (socket, method) = (client.stream, request.method);
    let refuse = |status, text| async move {
        refuse(socket, method, status, text).await?;
        Ok(None)
    };
    let Some(Ok(format)) = format_of(running, stream) else {
        return refuse(404, NOT_HLS).await;
    };
    if !stay(client, request, running, stream) {
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
    let place = Place::sit(client, request, running, stream, id);
    let tag = format
        .has_timestamp
        .then(|| hls::timestamp(segment.time_us));
    let all = tag.map_or(0, |tag| tag.len() as u64) + bytes;
    head(client, request, format.content_type, all).await?;
    Ok(match method {
        Method::Head => None,
        _ => Some(Media::Piece { place, tag, bytes }),
    })
}
