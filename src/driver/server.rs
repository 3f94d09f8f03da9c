//! The HTTP server: a fixed number of tasks, each with one connection at a time and buffers of fixed size.

use super::audience;
use super::control_form;
use super::failure::Failure;
use super::hls;
use super::lobby::Door;
use super::view::Running;
use super::viewers::Viewers;
use super::web::Web;
use super::within::within;
use crate::http::document::{Document, PART_BYTES};
use crate::http::healthz::healthz;
use crate::http::request::{Framing, MAX_HEAD_BYTES, Method, Parsed, Request};
use crate::http::response::{self, MAX_RESPONSE_HEAD_BYTES};
use crate::http::route::{Route, host_allowed, route};
use crate::proto::node::StreamId;
use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::format;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::string::String;
use std::vec::Vec;

/// How long a request may take to come in.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// How long a client may take without reading anything.
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// How long a whole document may take, however slowly it is read.
const DOCUMENT_LIMIT: Duration = Duration::from_secs(30);

/// How long we wait for a client to take our last bytes and close.
const FAREWELL: Duration = Duration::from_secs(1);

/// Tasks beyond those that players can fill: for documents. `/healthz` is answered at the door when these are taken too.
pub const SPARE_TASKS: usize = 4;

/// Kernel buffer towards each client: the ring is where a stream waits.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Bytes of one task: buffers for a request and a part of the answer, and the state of waiting.
pub const TASK_BYTES: usize = 16 * 1024;

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
            if let Err(error) = self.serve(&stream, from, running).await {
                log::debug!("http client {from}: {error}");
            }
        }
    }

    async fn serve(
        &self,
        stream: &Async<TcpStream>,
        from: SocketAddr,
        running: &Running,
    ) -> io::Result<()> {
        let socket = socket2::SockRef::from(stream.get_ref());
        // Comforts; a system without them serves all the same.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
        let mut head = [0; MAX_HEAD_BYTES];
        let read = within(HEAD_LIMIT, read_head(stream, &mut head)).await?;
        let head = head.get(..read).unwrap_or(&[]);
        match Request::parse(head) {
            Parsed::Complete {
                request,
                head_bytes,
            } => {
                let client = Client { stream, from };
                let body = head.get(head_bytes..).unwrap_or(&[]);
                self.answer(&client, &request, body, running).await
            }
            Parsed::Bad(status) => {
                refuse(stream, Method::Get, status, response::reason(status)).await
            }
            // Closed before it said all.
            Parsed::Incomplete => Ok(()),
        }
    }

    async fn answer(
        &self,
        client: &Client<'_>,
        request: &Request<'_>,
        body: &[u8],
        running: &Running,
    ) -> io::Result<()> {
        let (stream, method) = (client.stream, request.method);
        if !host_allowed(request.host, &self.hosts) {
            return refuse(stream, method, 421, "this is not the host you look for").await;
        }
        let route = route(request);
        if route == Route::Live && !self.admits(request, running) {
            return refuse(stream, method, 503, "others are watching; ask again later").await;
        }
        if let Some(document) = Document::for_route(&route, request.host) {
            return within(
                DOCUMENT_LIMIT,
                send_document(stream, request, document, running),
            )
            .await;
        }
        match route {
            Route::Control => control_form::serve(client, request, body, running).await,
            Route::Healthz => {
                let (status, text) = healthz(&running.view());
                refuse(stream, method, status, text).await
            }
            Route::Stream { key, ago_ms } => match carried(running, key) {
                Some(id) => audience::serve(client, request, running, id, ago_ms).await,
                None => refuse(stream, method, 404, NOT_CARRIED).await,
            },
            Route::HlsPlaylist { key } => match carried(running, key) {
                Some(id) => hls::playlist(client, request, running, id).await,
                None => refuse(stream, method, 404, NOT_CARRIED).await,
            },
            Route::HlsInit { key } => match carried(running, key) {
                Some(id) => hls::init(client, request, running, id).await,
                None => refuse(stream, method, 404, NOT_CARRIED).await,
            },
            Route::HlsSegment { key, block } => match carried(running, key) {
                Some(id) => hls::segment(client, request, running, id, block).await,
                None => refuse(stream, method, 404, NOT_CARRIED).await,
            },
            Route::MethodNotAllowed => refuse(stream, method, 405, "not by this method").await,
            Route::BadRequest => refuse(stream, method, 400, "the address makes no sense").await,
            _ => refuse(stream, method, 404, "there is nothing here").await,
        }
    }

    /// Whether this viewer of the live page has one of the few places for them.
    fn admits(&self, request: &Request<'_>, running: &Running) -> bool {
        let viewer = request.query_value("viewer").and_then(|id| id.parse().ok());
        let now = running.engine.clock.now();
        self.viewers.borrow_mut().admit(viewer.unwrap_or(0), now)
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub stream: &'a Async<TcpStream>,
    pub from: SocketAddr,
}

/// Reads until a head is complete, hopeless or cut short.
async fn read_head(mut stream: &Async<TcpStream>, buf: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(room) = buf.get_mut(len..).filter(|room| !room.is_empty()) {
        match stream.read(room).await? {
            0 => break,
            n => len += n,
        }
        let so_far = buf.get(..len).unwrap_or(&[]);
        if !matches!(Request::parse(so_far), Parsed::Incomplete) {
            break;
        }
    }
    Ok(len)
}

const NOT_CARRIED: &str = "this stream is not carried here";

fn carried(running: &Running, key: &str) -> Option<StreamId> {
    running.engine.find(&super::base32::decode_key(key)?)
}

/// A document in parts, up to the close of the connection.
async fn send_document(
    stream: &Async<TcpStream>,
    request: &Request<'_>,
    mut document: Document,
    running: &Running,
) -> io::Result<()> {
    let mut head = [0; MAX_RESPONSE_HEAD_BYTES];
    let content_type = document.content_type();
    let framing = Framing::UntilClose;
    let len = response::document(request.version, content_type, framing, false, &mut head)
        .map_err(|_| ErrorKind::OutOfMemory)?;
    write_all(stream, head.get(..len).unwrap_or(&[])).await?;
    let mut part = [0; PART_BYTES];
    while let Some(len) = next_part(request, &mut document, running, &mut part) {
        write_all(stream, part.get(..len).unwrap_or(&[])).await?;
    }
    farewell(stream).await
}

/// Nothing when the request is for the head only.
fn next_part(
    request: &Request<'_>,
    document: &mut Document,
    running: &Running,
    part: &mut [u8],
) -> Option<usize> {
    match request.method {
        Method::Head => None,
        _ => document.next(&running.view(), part),
    }
}

/// A short answer, whole, of any status.
pub(super) async fn refuse(
    stream: &Async<TcpStream>,
    method: Method,
    status: u16,
    text: &str,
) -> io::Result<()> {
    let mut out = [0; MAX_RESPONSE_HEAD_BYTES];
    let len = response::short(method, status, text, &mut out);
    let len = len.map_err(|_| ErrorKind::OutOfMemory)?;
    write_all(stream, out.get(..len).unwrap_or(&[])).await?;
    farewell(stream).await
}

/// Writes it all, as long as the client goes on taking it.
pub(super) async fn write_all(stream: &Async<TcpStream>, mut bytes: &[u8]) -> io::Result<()> {
    let mut stream = stream;
    while !bytes.is_empty() {
        let n = within(STUCK, stream.write(bytes)).await?;
        bytes = bytes.get(n..).unwrap_or(&[]);
        if n == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Closes so that our last bytes arrive: a socket closed with bytes unread resets the connection.
async fn farewell(mut stream: &Async<TcpStream>) -> io::Result<()> {
    stream.get_ref().shutdown(Shutdown::Write)?;
    let rest = async {
        let mut sink = [0; 512];
        for _ in 0..MAX_HEAD_BYTES / sink.len() {
            if stream.read(&mut sink).await? == 0 {
                break;
            }
        }
        Ok(())
    };
    match within(FAREWELL, rest).await {
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        other => other,
    }
}
