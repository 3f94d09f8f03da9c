//! The HTTP server: a fixed number of tasks, each with one connection at a time. A request is judged as it lies in the socket,
//! and what it comes to is small: a page costs no memory.

use super::audience::{self, Media};
use super::control_form;
use super::failure::Failure;
use super::hls;
use super::lobby::Door;
use super::reactor::Async;
use super::reply::{Client, WRITE_BYTES, farewell};
use super::view::Running;
use super::viewers::Viewers;
use super::web::Web;
use super::within::within;
use crate::http::document::Document;
use crate::http::healthz::healthz;
use crate::http::request::{Framing, MAX_HEAD_BYTES, Method, Parsed, Request};
use crate::http::response;
use crate::http::route::{Route, host_allowed, route};
use crate::proto::node::StreamId;
use core::cell::RefCell;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::time::Duration;
use std::boxed::Box;
use std::format;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::string::String;
use std::vec::Vec;

/// How long a request may take to come in.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// How long a whole document may take, however slowly it is read.
const DOCUMENT_LIMIT: Duration = Duration::from_secs(30);

/// Tasks beyond those that players can fill: for documents. `/healthz` is answered at the door when these are taken too.
pub const SPARE_TASKS: usize = 4;

/// Kernel buffer towards each client: the ring is where a stream waits.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Kernel buffer for what a client says: a request, and no more of what nobody reads.
const RECEIVE_BUFFER_BYTES: usize = 2 * MAX_HEAD_BYTES;

/// What these can come to: the system counts twice what it is told (socket(7)), and lets one piece more in while less is there:
/// 64 KiB of what goes out, a window of what comes.
pub const KERNEL_BYTES: u64 =
    2 * SEND_BUFFER_BYTES as u64 + (64 << 10) + 4 * RECEIVE_BUFFER_BYTES as u64;

/// Bytes of one task: its state, and the socket's.
pub const TASK_BYTES: usize = 1_600;

/// What a connection may hold besides: what a slow client has left of an answer, a command, or a player's titles.
pub const REQUEST_BYTES: usize = WRITE_BYTES;

/// A listening server.
pub struct Server {
    door: Door,
    local: SocketAddr,
    /// Names it answers to beside those of a LAN.
    hosts: Vec<String>,
    viewers: RefCell<Viewers>,
}

impl Server {
    /// Listens here, for so many tasks to attend.
    pub fn bind(address: SocketAddr, tasks: usize, web: &Web) -> Result<Self, Failure> {
        let refused = |error: io::Error| {
            let what = match error.kind() {
                ErrorKind::AddrInUse => {
                    format!("{address} is taken by another program; name another port")
                }
                ErrorKind::AddrNotAvailable => {
                    format!("{address} is not an address of this machine")
                }
                _ => format!("{address} cannot be bound: {error}"),
            };
            Failure::runtime("--http", what)
        };
        let listener = Async::<TcpListener>::bind(address).map_err(refused)?;
        let local = listener.get_ref().local_addr().map_err(refused)?;
        let socket = socket2::SockRef::from(listener.get_ref());
        // Connections have what their listener has. A system that refuses it serves all the same.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
        Ok(Self {
            door: Door::new(listener, tasks, web.public),
            local,
            hosts: web.hosts.clone(),
            viewers: RefCell::default(),
        })
    }

    /// Where it listens; the port is never 0.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Lets connections in, for ever.
    pub async fn usher(&self, running: &Running) {
        self.door.watch(running).await;
    }

    /// One of the tasks: a connection after another, for ever.
    pub async fn attend(&self, running: &Running) {
        loop {
            let (stream, from) = self.door.next().await;
            let mut stream = Some(stream);
            if let Err(error) = self.serve(&mut stream, from, running).await {
                log::debug!("http client {from}: {error}");
                if let Some(stream) = stream.filter(|_| error.kind() == ErrorKind::TimedOut) {
                    forget(stream.get_ref());
                }
            }
        }
    }

    async fn serve(
        &self,
        stream: &mut Option<Async<TcpStream>>,
        from: SocketAddr,
        running: &Running,
    ) -> io::Result<()> {
        let Some(here) = stream else { return Ok(()) };
        let Some(mut media) = self.attend_request(here, from, running).await? else {
            return Ok(());
        };
        // A comfort; a system without it serves all the same.
        let _ = here.get_ref().set_nodelay(true);
        media.pour(stream).await
    }

    /// Reads the request and answers it. Apart from the media that may follow: a player may stay for days.
    async fn attend_request<'a>(
        &self,
        stream: &Async<TcpStream>,
        from: SocketAddr,
        running: &'a Running,
    ) -> io::Result<Option<Media<'a>>> {
        let (client, mut wish) = within(HEAD_LIMIT, self.hear(stream, from, running)).await?;
        self.grant(&client, &mut wish, running).await
    }

    /// Waits until a whole head is there, and judges it.
    async fn hear<'a>(
        &self,
        stream: &'a Async<TcpStream>,
        from: SocketAddr,
        running: &'a Running,
    ) -> io::Result<(Client<'a>, Wish)> {
        loop {
            if let Some(heard) = self.look(stream, from, running)? {
                return Ok(heard);
            }
            poll_fn(|context| stream.poll_arrival(context)).await?;
        }
    }

    /// Looks at what has come. Until it is a whole head it stays in the socket: who says it slowly costs no memory.
    fn look<'a>(
        &self,
        stream: &'a Async<TcpStream>,
        from: SocketAddr,
        running: &'a Running,
    ) -> io::Result<Option<(Client<'a>, Wish)>> {
        let mut head = [0; MAX_HEAD_BYTES];
        let there = match stream.get_ref().peek(&mut head) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            there => there?,
        };
        Ok(match Request::parse(head.get(..there).unwrap_or(&[])) {
            Parsed::Incomplete => None,
            Parsed::Bad(status) => {
                let wish = Wish::Short(status, response::reason(status));
                Some((Client::unknown(running, stream, from), wish))
            }
            Parsed::Complete {
                request,
                head_bytes,
            } => {
                take(stream.get_ref(), head_bytes)?;
                let wish = self.judge(&request, running);
                Some((Client::of(running, stream, from, &request), wish))
            }
        })
    }

    /// What a request comes to.
    fn judge(&self, request: &Request<'_>, running: &Running) -> Wish {
        if !host_allowed(request.host, &self.hosts) {
            return Wish::Short(421, "this is not the host you look for");
        }
        let route = route(request);
        if route == Route::Live && !self.admits(request, running) {
            return Wish::Short(503, "others are watching; ask again later");
        }
        if let Some(document) = Document::for_route(&route, request.host) {
            return Wish::Document(document);
        }
        let carried = |key: &str, wish: &dyn Fn(StreamId) -> Wish| {
            let key = super::base32::decode_key(key);
            let id = key.and_then(|key| running.engine.find(&key));
            id.map_or(Wish::Short(404, "this stream is not carried here"), wish)
        };
        match route {
            Route::Control => match control_form::judge(request, running) {
                Ok(body_bytes) => Wish::Control { body_bytes },
                Err((status, text)) => Wish::Short(status, text),
            },
            Route::Healthz => {
                let (status, text) = healthz(&running.view());
                Wish::Short(status, text)
            }
            Route::Stream { key, ago_ms } => carried(key, &|id| Wish::Stream { id, ago_ms }),
            Route::HlsPlaylist { key } => carried(key, &Wish::HlsPlaylist),
            Route::HlsInit { key } => carried(key, &Wish::HlsInit),
            Route::HlsSegment { key, block } => carried(key, &|id| Wish::HlsSegment { id, block }),
            Route::MethodNotAllowed => Wish::Short(405, "not by this method"),
            Route::BadRequest => Wish::Short(400, "the address makes no sense"),
            _ => Wish::Short(404, "there is nothing here"),
        }
    }

    /// Answers; what is left to be done is the media that follows the answer.
    async fn grant<'a>(
        &self,
        client: &Client<'_>,
        wish: &mut Wish,
        running: &'a Running,
    ) -> io::Result<Option<Media<'a>>> {
        match *wish {
            Wish::Short(status, text) => client.refuse(status, text).await?,
            Wish::Document(ref mut document) => {
                within(DOCUMENT_LIMIT, send_document(client, document, running)).await?;
            }
            Wish::Control { body_bytes } => {
                // Seldom, and big: a connection that never commands has no room for it.
                Box::pin(control_form::serve(client, body_bytes, running)).await?;
            }
            Wish::Stream { id, ago_ms } => {
                return audience::serve(client, running, id, ago_ms).await;
            }
            Wish::HlsPlaylist(id) => hls::playlist(client, running, id).await?,
            Wish::HlsInit(id) => hls::init(client, running, id).await?,
            Wish::HlsSegment { id, block } => {
                return hls::segment(client, running, id, block).await;
            }
        }
        Ok(None)
    }

    /// Whether this viewer of the live page has one of the few places for them.
    fn admits(&self, request: &Request<'_>, running: &Running) -> bool {
        let viewer = request.query_value("viewer").and_then(|id| id.parse().ok());
        let now = running.engine.clock.now();
        self.viewers.borrow_mut().admit(viewer.unwrap_or(0), now)
    }
}

/// What still waits in the kernel for somebody who stands still goes with the connection, and not minutes later.
fn forget(stream: &TcpStream) {
    // Where it cannot be had, the kernel gives up by itself some time.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What a request comes to.
#[allow(clippy::large_enum_variant)] // On the stack, and for a moment.
enum Wish {
    /// A short answer, of this status.
    Short(u16, &'static str),
    Document(Document),
    Control {
        body_bytes: usize,
    },
    Stream {
        id: StreamId,
        ago_ms: Option<u64>,
    },
    HlsPlaylist(StreamId),
    HlsInit(StreamId),
    HlsSegment {
        id: StreamId,
        block: u64,
    },
}

/// Takes out of the socket what was looked at there.
fn take(mut stream: &TcpStream, mut bytes: usize) -> io::Result<()> {
    while bytes > 0 {
        let mut sink = [0; 512];
        let some = sink.len().min(bytes);
        match stream.read(sink.get_mut(..some).unwrap_or(&mut []))? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            taken => bytes -= taken,
        }
    }
    Ok(())
}

/// A document in parts, up to the close of the connection.
async fn send_document(
    client: &Client<'_>,
    document: &mut Document,
    running: &Running,
) -> io::Result<()> {
    let mut is_begun = false;
    let mut part = |out: &mut [u8]| {
        let head_bytes = match core::mem::replace(&mut is_begun, true) {
            true => 0,
            false => client.head(document.content_type(), Framing::UntilClose, out)?,
        };
        let room = out.get_mut(head_bytes..)?;
        let body_bytes = match client.method {
            Method::Head => 0,
            _ => document.next(&running.view(), room).unwrap_or(0),
        };
        let len = head_bytes + body_bytes;
        (len > 0).then_some(len)
    };
    client.send(&mut part).await?;
    farewell(client.stream).await
}
