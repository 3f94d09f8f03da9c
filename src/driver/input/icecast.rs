//! The place an encoder pushes to, as it would to Icecast: `PUT` (Icecast 2.4) and the older `SOURCE` method, and the
//! `/admin/metadata` call beside it. One encoder at a time; when it goes, the next may come and the stream begins anew.

use super::super::reactor::{Async, Timer};
use super::super::tasks::Tasks;
use super::feed::Feed;
use super::net::{pour, resolve, within};
use super::url::percent_decoded;
use super::{InputError, InputOptions, Mount, Sink, StreamInfo, metadata};
use crate::http::body::Body;
use crate::http::request::{Framing, MAX_HEAD_BYTES, Method, Parsed, Request, Version};
use crate::http::response::{CONTINUE, reason, short};
use core::cell::Cell;
use core::time::Duration;
use smol::future::{pending, yield_now};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::format;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::vec;

/// Connections at a time; more wait in the system's queue. Each costs one head's buffer.
const CONNECTIONS: usize = 8;

/// A request's head must be whole by then.
const HEAD: Duration = Duration::from_secs(5);

/// An answer must be taken by then.
const ANSWER: Duration = Duration::from_secs(5);

/// After a refusal, what the other side is still sending is read and dropped for so long, so that it sees the answer and
/// not a broken connection.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// Longest user name and password together.
const MAX_CREDENTIALS_BYTES: usize = 512;

/// Takes pushes for ever. The address is bound at once: one that is taken is an error that names it.
pub async fn run<S: Sink>(
    mount: &Mount,
    options: &InputOptions,
    sink: &S,
) -> Result<(), InputError> {
    let listener = bind(mount)
        .await
        .map_err(InputError::io("cannot listen at", mount))?;
    let server = Server {
        mount,
        stall: options.stall,
        feed: Feed::new(sink),
        taken: Cell::new(false),
    };
    server.feed.waiting("no encoder has connected");
    let mut workers = Tasks::default();
    for _ in 0..CONNECTIONS {
        workers.add(server.work(&listener));
    }
    workers.run(pending()).await
}

async fn bind(mount: &Mount) -> io::Result<Async<TcpListener>> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(&mount.host, mount.port).await? {
        match Async::<TcpListener>::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

struct Server<'a, S: Sink> {
    mount: &'a Mount,
    stall: Duration,
    feed: Feed<'a, S>,
    /// Whether an encoder is pushing.
    taken: Cell<bool>,
}

/// Gives the mount back, however the push ends.
struct Publishing<'a>(&'a Cell<bool>);

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// What a request comes to.
enum Verdict {
    Publish,
    Done,
    Asked,
    Refused(u16, &'static str),
}

impl<S: Sink> Server<'_, S> {
    /// Serves one connection after the other.
    async fn work(&self, listener: &Async<TcpListener>) {
        let mut buf = vec![0; MAX_HEAD_BYTES];
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    if let Err(e) = self.serve(stream, &mut buf).await {
                        log::debug!("{}: {from}: {e}", self.mount);
                    }
                }
                Err(e) => {
                    // Out of descriptors, most likely: try again when some may be free.
                    log::warn!("{}: cannot accept a connection: {e}", self.mount);
                    Timer::after(Duration::from_millis(500)).await;
                }
            }
        }
    }

    async fn serve(&self, mut stream: Async<TcpStream>, buf: &mut [u8]) -> io::Result<()> {
        let filled = within(HEAD, read_head(&mut stream, buf)).await?;
        let (request, head_bytes) = match Request::parse(buf.get(..filled).unwrap_or_default()) {
            Parsed::Complete {
                request,
                head_bytes,
            } => (request, head_bytes),
            Parsed::Bad(status) => return refuse(stream, status, "", buf).await,
            Parsed::Incomplete => return refuse(stream, 431, "", buf).await,
        };
        match self.judge(&request) {
            Verdict::Refused(status, text) => refuse(stream, status, text, buf).await,
            Verdict::Done => answer(&mut stream, METADATA_TAKEN.as_bytes()).await,
            Verdict::Asked => answer(&mut stream, METHODS.as_bytes()).await,
            Verdict::Publish => {
                let _publishing = Publishing(&self.taken);
                let push = Push::new(&request);
                self.introduce(&request);
                let ended = self
                    .publish(&mut stream, push, buf, head_bytes..filled)
                    .await;
                self.feed.waiting(match &ended {
                    Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                        format!(
                            "the encoder sent nothing for {} s",
                            self.stall.as_secs_f32()
                        )
                    }
                    Err(e) => format!("the encoder's connection broke: {e}"),
                    Ok(()) => "the encoder went away".into(),
                });
                ended
            }
        }
    }

    /// Decides on a request. If it is to publish, the mount is taken from here on.
    fn judge(&self, request: &Request<'_>) -> Verdict {
        if request.method == Method::Options {
            return Verdict::Asked;
        }
        let publishes = matches!(request.method, Method::Put | Method::Source);
        let updates = request.path == "/admin/metadata";
        if !publishes && !updates {
            return Verdict::Refused(
                404,
                "An encoder may push here. Players are served elsewhere.",
            );
        }
        if !self.is_authorized(request) {
            return Verdict::Refused(401, "You need to authenticate.");
        }
        if publishes {
            self.judge_push(request)
        } else {
            self.judge_update(request)
        }
    }

    fn judge_push(&self, request: &Request<'_>) -> Verdict {
        if !self.is_mount(request.path) {
            return Verdict::Refused(404, "There is no such mountpoint here.");
        }
        match self.taken.replace(true) {
            true => Verdict::Refused(403, "Mountpoint in use"),
            false => Verdict::Publish,
        }
    }

    fn judge_update(&self, request: &Request<'_>) -> Verdict {
        if request.query_value("mode") != Some("updinfo") {
            return Verdict::Refused(400, "Only mode=updinfo is known.");
        }
        if !request
            .query_value("mount")
            .is_some_and(|mount| self.is_mount(mount))
        {
            return Verdict::Refused(404, "There is no such mountpoint here.");
        }
        match metadata::title(request.query) {
            Some(title) => {
                self.feed.now_playing(&title);
                Verdict::Done
            }
            None => Verdict::Refused(400, "A song, or an artist and a title, is needed."),
        }
    }

    fn is_mount(&self, path: &str) -> bool {
        percent_decoded(path, false) == self.mount.path.as_bytes()
    }

    fn is_authorized(&self, request: &Request<'_>) -> bool {
        let mut decoded = [0; MAX_CREDENTIALS_BYTES];
        let Some((user, password)) = request.basic_auth(&mut decoded) else {
            return false;
        };
        let ours = &self.mount.credentials;
        // Both are always compared.
        same(user, &ours.user) & same(password, &ours.password)
    }

    fn introduce(&self, request: &Request<'_>) {
        self.feed.begin();
        let ice = &request.ice;
        let info = StreamInfo {
            name: ice.name,
            genre: ice.genre,
            url: ice.url,
            description: ice.description,
            bitrate_bps: ice.bitrate_bps.and_then(|bps| u32::try_from(bps).ok()),
        };
        self.feed.introduce(request.content_type, &info);
    }

    /// Takes the stream until the encoder ends it, breaks off or falls silent; `have` is what came along with the head.
    async fn publish(
        &self,
        stream: &mut Async<TcpStream>,
        mut push: Push,
        buf: &mut [u8],
        have: core::ops::Range<usize>,
    ) -> io::Result<()> {
        answer(stream, push.first_answer).await?;
        let odd = |_| io::Error::from(io::ErrorKind::InvalidData);
        let body = &mut push.body;
        pour(body, buf.get(have).unwrap_or_default(), |bytes| {
            self.feed.media(bytes)
        })
        .map_err(odd)?;
        while !body.is_done() {
            match within(self.stall, stream.read(buf)).await? {
                0 => break,
                bytes => pour(body, buf.get(..bytes).unwrap_or_default(), |bytes| {
                    self.feed.media(bytes)
                })
                .map_err(odd)?,
            }
            yield_now().await;
        }
        answer(stream, push.last_answer).await
    }
}

/// A push, as far as its connection is concerned.
struct Push {
    body: Body,
    /// Sent before the stream is read.
    first_answer: &'static [u8],
    /// Sent after the stream's end.
    last_answer: &'static [u8],
}

impl Push {
    /// Live encoders wait for an answer before they send; one that asks for `100 Continue` gets it, and the rest want
    /// `200` (the `SOURCE` method was never anything but HTTP/1.0). A body of known length is answered at its end.
    fn new(request: &Request<'_>) -> Self {
        let ok: &[u8] = match (request.method, request.version) {
            (Method::Source, _) => b"HTTP/1.0 200 OK\r\n\r\n",
            (_, Version::Http10) => b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n",
            (_, Version::Http11) => b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        };
        let (first_answer, last_answer): (&[u8], &[u8]) =
            match (request.expects_continue, request.body) {
                (true, _) if request.method == Method::Put => (CONTINUE, ok),
                (_, Framing::Length(_)) if request.method == Method::Put => (b"", ok),
                _ => (ok, b""),
            };
        Self {
            body: Body::new(request.body),
            first_answer,
            last_answer,
        }
    }
}

/// Reads until the head is whole, hopeless or as long as the buffer; returns the bytes there are by then.
async fn read_head(stream: &mut Async<TcpStream>, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match stream
            .read(buf.get_mut(filled..).unwrap_or_default())
            .await?
        {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => filled += bytes,
        }
        if !matches!(
            Request::parse(buf.get(..filled).unwrap_or_default()),
            Parsed::Incomplete
        ) {
            break;
        }
    }
    Ok(filled)
}

async fn answer(stream: &mut Async<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    within(ANSWER, stream.write_all(bytes)).await
}

/// Says no, and stays long enough to be heard.
async fn refuse(
    mut stream: Async<TcpStream>,
    status: u16,
    text: &str,
    buf: &mut [u8],
) -> io::Result<()> {
    let text = if text.is_empty() {
        reason(status)
    } else {
        text
    };
    let len = short(Method::Get, status, text, buf).map_err(|_| io::ErrorKind::InvalidData)?;
    answer(&mut stream, buf.get(..len).unwrap_or_default()).await?;
    stream.get_ref().shutdown(Shutdown::Write)?;
    within(LINGER, async {
        let mut left = LINGER_BYTES;
        while left > 0 {
            match stream.read(buf).await? {
                0 => break,
                bytes => left = left.saturating_sub(bytes),
            }
            yield_now().await;
        }
        Ok(())
    })
    .await
}

/// What libshout asks before it does anything (ices2, liquidsoap): methods, and whether there is TLS, which there is not.
const METHODS: &str =
    "HTTP/1.1 204 No Content\r\nAllow: GET, PUT, SOURCE, OPTIONS\r\nConnection: close\r\n\r\n";

const METADATA_TAKEN: &str = "HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: 113\r\n\r\n\
    <?xml version=\"1.0\"?>\n<iceresponse><message>Metadata update successful</message><return>1</return></iceresponse>\n";

/// Compares without telling by its time how much of it was right.
fn same(given: &str, ours: &str) -> bool {
    let ours = ours.as_bytes();
    let differs = given
        .bytes()
        .enumerate()
        .fold(given.len() ^ ours.len(), |differs, (i, byte)| {
            differs | usize::from(byte ^ ours.get(i).copied().unwrap_or(0))
        });
    core::hint::black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_is_the_same() {
        assert!(same("", "") && same("hackme", "hackme"));
        for other in ["", "hackm", "hackmE", "hackme2", "\0\0\0\0\0\0"] {
            assert!(
                !same(other, "hackme") && !same("hackme", other),
                "{other:?}"
            );
        }
    }

    #[test]
    fn the_fixed_answer_knows_its_length() {
        let (head, body) = METADATA_TAKEN.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{}",
            body.len()
        );
    }
}
