//! The HTTP server: a fixed number of tasks, each with one connection at a time and buffers of fixed size.

use super::audience::{self, Media};
use super::control_form;
use super::failure::Failure;
use super::hls;
use super::lobby::Door;
use super::reactor::Async;
use super::view::Running;
use super::viewers::Viewers;
use super::web::Web;
use super::within::within;
use crate::http::document::{Document, PART_BYTES};
use crate::http::healthz::healthz;
use crate::http::request::{Framing, MAX_HEAD_BYTES, Method, Parsed, Request};
use crate::http::response::{self, MAX_RESPONSE_HEAD_BYTES};
use crate::http::route::{Route, host_allowed, route};
use crate::wire::addr::Addr;
use core::cell::RefCell;
use core::net::SocketAddr;
use core::pin::Pin;
use core::time::Duration;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::boxed::Box;
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

/// What that can come to: the system counts twice what it is told (socket(7)).
pub const KERNEL_BYTES: u64 = 2 * SEND_BUFFER_BYTES as u64;

/// Room for a request that is as short as most are.
const FIRST_ROOM_BYTES: usize = 512;

/// Bytes of one task while it waits or a player plays: its state, and the socket's.
pub const TASK_BYTES: usize = 2 * 1024;

/// What a connection takes besides until it is answered: the request, and parts of the answer on their way.
pub const REQUEST_BYTES: usize = 12 * 1024;

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
                if error.kind() == ErrorKind::TimedOut {
                    forget(stream.get_ref());
                }
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
        let client = Client { stream, from };
        let media = self.attend_request(&client, running).await?;
        match media {
            Some(media) => media.pour(stream).await,
            None => Ok(()),
        }
    }

    /// Reads the request and answers it; what is left to be done is the media that follows the answer.
    async fn attend_request<'a>(
        &self,
        client: &Client<'_>,
        running: &'a Running,
    ) -> io::Result<Option<Media<'a>>> {
        let stream = client.stream;
        let mut head = Vec::new();
        within(HEAD_LIMIT, read_head(stream, &mut head)).await?;
        match Request::parse(&head) {
            Parsed::Complete {
                request,
                head_bytes,
            } => {
                let body = head.get(head_bytes..).unwrap_or(&[]);
                self.answer(client, &request, body, running).await
            }
            Parsed::Bad(status) => {
                refuse(stream, Method::Get, status, response::reason(status)).await?;
                Ok(None)
            }
            // Closed before it said all.
            Parsed::Incomplete => Ok(None),
        }
    }

    async fn answer<'a>(
        &self,
        client: &Client<'_>,
        request: &Request<'_>,
        body: &[u8],
        running: &'a Running,
    ) -> io::Result<Option<Media<'a>>> {
        let (stream, method) = (client.stream, request.method);
        let refuse = |status, text| async move {
            refuse(stream, method, status, text).await?;
            Ok(None)
        };
        if !host_allowed(request.host, &self.hosts) {
            return refuse(421, "this is not the host you look for").await;
        }
        let route = route(request);
        if route == Route::Live && !self.admits(request, running) {
            return refuse(503, "others are watching; ask again later").await;
        }
        if let Some(document) = Document::for_route(&route, request.host) {
            let sent = sized(send_document(client, request, document, running));
            within(DOCUMENT_LIMIT, sent).await?;
            return Ok(None);
        }
        let carried = |key| running.engine.find(&super::base32::decode_key(key)?);
        match route {
            Route::Control => {
                sized(control_form::serve(client, request, body, running)).await?;
                Ok(None)
            }
            Route::Healthz => {
                let (status, text) = healthz(&running.view());
                refuse(status, text).await
            }
            Route::Stream { key, ago_ms } => match carried(key) {
                Some(id) => sized(audience::serve(client, request, running, id, ago_ms)).await,
                None => refuse(404, NOT_CARRIED).await,
            },
            Route::HlsPlaylist { key } => match carried(key) {
                Some(id) => {
                    sized(hls::playlist(client, request, running, id)).await?;
                    Ok(None)
                }
                None => refuse(404, NOT_CARRIED).await,
            },
            Route::HlsInit { key } => match carried(key) {
                Some(id) => {
                    sized(hls::init(client, request, running, id)).await?;
                    Ok(None)
                }
                None => refuse(404, NOT_CARRIED).await,
            },
            Route::HlsSegment { key, block } => match carried(key) {
                Some(id) => sized(hls::segment(client, request, running, id, block)).await,
                None => refuse(404, NOT_CARRIED).await,
            },
            Route::MethodNotAllowed => refuse(405, "not by this method").await,
            Route::BadRequest => refuse(400, "the address makes no sense").await,
            _ => refuse(404, "there is nothing here").await,
        }
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

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub stream: &'a Async<TcpStream>,
    pub from: SocketAddr,
}

impl Client<'_> {
    /// So many bytes were said to it: over the owner's line, if it is beyond this network.
    pub fn count(&self, running: &Running, bytes: usize) {
        let to = Addr::udp(self.from);
        if !to.is_local() {
            let bytes = with_headers(to, bytes);
            running.engine.turn(|node, _| node.served(to, bytes));
        }
    }
}

/// Bytes of a TCP connection with what its headers add to them: 52 for each 1,448, over IPv6 72 for each 1,428.
pub(super) fn with_headers(to: Addr, bytes: usize) -> usize {
    let per_mille = match to.socket() {
        Some(SocketAddr::V6(_)) => 51,
        _ => 36,
    };
    bytes + (bytes * per_mille).div_ceil(1_000)
}

/// Reads until a head is complete, hopeless or cut short. Few are longer than the first room that is made for them.
async fn read_head(mut stream: &Async<TcpStream>, head: &mut Vec<u8>) -> io::Result<()> {
    while head.len() < MAX_HEAD_BYTES {
        let read = head.len();
        head.resize((read * 2).clamp(FIRST_ROOM_BYTES, MAX_HEAD_BYTES), 0);
        let more = stream.read(head.get_mut(read..).unwrap_or(&mut [])).await?;
        head.truncate(read + more);
        if more == 0 || !matches!(Request::parse(head), Parsed::Incomplete) {
            break;
        }
    }
    Ok(())
}

/// An answer in the making is on the heap, and gone before the media flows: a player may stay for days.
fn sized<F: Future>(answer: F) -> Pin<Box<F>> {
    debug_assert!(
        size_of::<F>() + MAX_HEAD_BYTES <= REQUEST_BYTES,
        "{}",
        size_of::<F>()
    );
    Box::pin(answer)
}

const NOT_CARRIED: &str = "this stream is not carried here";

/// A document in parts, up to the close of the connection.
async fn send_document(
    client: &Client<'_>,
    request: &Request<'_>,
    mut document: Document,
    running: &Running,
) -> io::Result<()> {
    let stream = client.stream;
    let content_type = document.content_type();
    let framing = Framing::UntilClose;
    let head =
        |out: &mut [u8]| response::document(request.version, content_type, framing, false, out);
    let head = head_of(head)?;
    client.count(running, head.len());
    write_all(stream, &head).await?;
    let mut part = [0; PART_BYTES];
    while let Some(len) = next_part(request, &mut document, running, &mut part) {
        client.count(running, len);
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
    let out = head_of(|out| response::short(method, status, text, out))?;
    write_all(stream, &out).await?;
    farewell(stream).await
}

/// The head of an answer, as long as it is: what waits to be written should be small.
pub(super) fn head_of<E>(write: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> io::Result<Vec<u8>> {
    let mut room = [0; MAX_RESPONSE_HEAD_BYTES];
    let len = write(&mut room).map_err(|_| ErrorKind::OutOfMemory)?;
    Ok(room.get(..len).unwrap_or(&[]).to_vec())
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
pub(super) async fn farewell(mut stream: &Async<TcpStream>) -> io::Result<()> {
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
