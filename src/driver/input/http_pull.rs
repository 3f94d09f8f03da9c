//! An existing Icecast or HTTP stream, fetched; and fetched again whenever it breaks, for ever.

use super::super::reactor::{Async, Timer};
use super::feed::Feed;
use super::net::{pour, resolve, within};
use super::url::{PullUrl, REDIRECT_TO_TLS};
use super::{InputError, InputOptions, MAX_READ_BYTES, Sink, StreamInfo};
use crate::http::body::Body;
use crate::http::client::{ParsedResponse, ResponseHead, write_get};
use crate::http::icy::IcyRemover;
use crate::rng::Rng;
use core::convert::Infallible;
use core::time::Duration;
use smol::future::yield_now;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::format;
use std::io;
use std::net::TcpStream;
use std::string::String;
use std::string::ToString;
use std::time::Instant;
use std::vec;

/// Redirects followed in a row.
const MAX_REDIRECTS: usize = 5;

/// To find a host's address, and to reach it at one.
const CONNECT: Duration = Duration::from_secs(5);

/// Pauses between attempts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A connection that lasted so long was a good one: the next pause is short again.
const GOOD: Duration = Duration::from_secs(10);

/// Why an attempt came to its end.
enum Broken {
    /// It may work the next time.
    Lost(String),
    /// The server leads to where we cannot follow.
    Unusable(&'static str),
}

impl From<io::Error> for Broken {
    fn from(e: io::Error) -> Self {
        Self::Lost(match e.kind() {
            io::ErrorKind::TimedOut => "the server does not answer in time".into(),
            _ => e.to_string(),
        })
    }
}

/// Fetches `url` for ever. An error only if the server's first answer shows that this can never work.
pub async fn run<S: Sink>(
    url: &PullUrl,
    options: &InputOptions,
    sink: &S,
) -> Result<(), InputError> {
    let feed = Feed::new(sink);
    let mut backoff = Backoff::new(getrandom::u64().unwrap_or_default());
    let mut buf = vec![0; MAX_READ_BYTES];
    let mut answered = false;
    loop {
        let begin = Instant::now();
        let why = match fetch(url, options.stall, &feed, &mut buf).await {
            Err(Broken::Unusable(why)) if !answered => {
                return Err(InputError::Unusable {
                    input: url.to_string(),
                    why,
                });
            }
            Err(Broken::Unusable(why)) => why.into(),
            Err(Broken::Lost(why)) => why,
            Ok(never) => match never {},
        };
        answered |= feed.flowed();
        feed.waiting(why);
        if begin.elapsed() > GOOD {
            backoff.reset();
        }
        Timer::after(backoff.next()).await;
    }
}

/// One attempt, through its redirects.
async fn fetch<S: Sink>(
    url: &PullUrl,
    stall: Duration,
    feed: &Feed<'_, S>,
    buf: &mut [u8],
) -> Result<Infallible, Broken> {
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let mut stream = ask(&url, buf).await?;
        let filled = within(stall, read_head(&mut stream, buf)).await?;
        let received = buf.get(..filled).unwrap_or_default();
        let ParsedResponse::Complete { head, head_bytes } = ResponseHead::parse(received) else {
            return Err(Broken::Lost("the server does not answer in HTTP".into()));
        };
        match (head.status, head.location) {
            (200, _) => {
                introduce(feed, &head);
                let media = Media {
                    body: Body::new(head.body),
                    icy: IcyRemover::new(head.icy_metaint),
                };
                return flow(media, (stream, stall), buf, head_bytes..filled, feed).await;
            }
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                url = url.redirected(location).map_err(unusable)?
            }
            (status, _) => {
                return Err(Broken::Lost(format!(
                    "the server answers with status {status}"
                )));
            }
        }
    }
    Err(Broken::Lost("the server redirects in circles".into()))
}

fn unusable(why: &'static str) -> Broken {
    match why {
        REDIRECT_TO_TLS => Broken::Unusable(why),
        _ => Broken::Lost(why.into()),
    }
}

/// Connects and sends the request.
async fn ask(url: &PullUrl, buf: &mut [u8]) -> Result<Async<TcpStream>, Broken> {
    let odd = |_| Broken::Lost("the address is too long or malformed".into());
    let parts = url.parts().map_err(odd)?;
    let mut stream = connect(parts.host, parts.port).await?;
    let len = write_get(&parts, env!("CARGO_PKG_VERSION"), buf)
        .map_err(|_| odd(crate::error::Malformed::Long))?;
    within(
        CONNECT,
        stream.write_all(buf.get(..len).unwrap_or_default()),
    )
    .await?;
    Ok(stream)
}

/// Tries a host's addresses in order.
async fn connect(host: &str, port: u16) -> io::Result<Async<TcpStream>> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in within(CONNECT, resolve(host, port)).await? {
        match within(CONNECT, Async::<TcpStream>::connect(address)).await {
            Ok(stream) => return Ok(stream),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

/// Reads until the answer's head is whole, and returns how many bytes there are by then, some of the body included.
async fn read_head(stream: &mut Async<TcpStream>, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    loop {
        let room = buf.get_mut(filled..).unwrap_or_default();
        match stream.read(room).await? {
            0 => {
                return Err(io::Error::other(
                    "the server closes the connection without an answer",
                ));
            }
            bytes => filled += bytes,
        }
        if !matches!(
            ResponseHead::parse(buf.get(..filled).unwrap_or_default()),
            ParsedResponse::Incomplete
        ) {
            return Ok(filled);
        }
        if filled == buf.len() {
            return Err(io::Error::other("the server's answer has no end"));
        }
    }
}

fn introduce<S: Sink>(feed: &Feed<'_, S>, head: &ResponseHead<'_>) {
    feed.begin();
    let info = StreamInfo {
        name: head.name,
        genre: head.genre,
        url: head.url,
        description: None,
        bitrate_bps: head.bitrate_bps.and_then(|bps| u32::try_from(bps).ok()),
    };
    feed.introduce(head.content_type, &info);
}

/// What lies around the media bytes of an answer.
struct Media {
    body: Body,
    icy: IcyRemover,
}

impl Media {
    /// Unwraps received bytes into the feed.
    fn pour<S: Sink>(&mut self, received: &[u8], feed: &Feed<'_, S>) -> Result<(), Broken> {
        let Self { body, icy } = self;
        let poured = pour(body, received, |mut bytes| {
            while !bytes.is_empty() {
                let piece = icy.next(bytes);
                feed.media(piece.data);
                if let Some(title) = icy.take_title() {
                    feed.now_playing(title);
                }
                bytes = bytes.get(piece.consumed.max(1)..).unwrap_or_default();
            }
        });
        poured.map_err(|_| Broken::Lost("the server's chunked coding is malformed".into()))
    }
}

/// Reads the body until it ends; `have` is what of it came along with the head.
async fn flow<S: Sink>(
    mut media: Media,
    (mut stream, stall): (Async<TcpStream>, Duration),
    buf: &mut [u8],
    have: core::ops::Range<usize>,
    feed: &Feed<'_, S>,
) -> Result<Infallible, Broken> {
    media.pour(buf.get(have).unwrap_or_default(), feed)?;
    while !media.body.is_done() {
        let bytes = match within(stall, stream.read(buf)).await {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                return Err(Broken::Lost(format!(
                    "the server sent nothing for {} s",
                    stall.as_secs_f32()
                )));
            }
            Err(e) => return Err(e.into()),
        };
        media.pour(buf.get(..bytes).unwrap_or_default(), feed)?;
        yield_now().await;
    }
    Err(Broken::Lost("the server ended the stream".into()))
}

/// Longer and longer pauses, spread so that many do not come back at once.
struct Backoff {
    rng: Rng,
    pause: Duration,
}

impl Backoff {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            pause: SHORTEST_PAUSE,
        }
    }

    fn reset(&mut self) {
        self.pause = SHORTEST_PAUSE;
    }

    /// Half of the pause, and a random part of the other half.
    fn next(&mut self) -> Duration {
        let half_us = self.pause.as_micros() as u64 / 2;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Duration::from_micros(half_us + self.rng.below(half_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::new(7);
        let pauses: std::vec::Vec<_> = (0..12).map(|_| backoff.next()).collect();
        assert!(pauses[0] >= SHORTEST_PAUSE / 2 && pauses[0] < SHORTEST_PAUSE);
        assert!(pauses.iter().all(|&pause| pause < LONGEST_PAUSE));
        assert!(pauses[8..].iter().all(|&pause| pause >= LONGEST_PAUSE / 2));
        assert_ne!(
            pauses[10], pauses[11],
            "without jitter all sources would come back together"
        );
        backoff.reset();
        assert!(backoff.next() < SHORTEST_PAUSE);
    }
}
