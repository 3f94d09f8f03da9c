//! What HTTP clients are told. Everything is written from the stack straight into the socket; only what a slow client leaves
//! of a part is kept, until it takes it.

use super::beyond;
use super::reactor::Async;
use super::view::Running;
use super::within::within;
use crate::http::document::PART_BYTES;
use crate::http::request::{Framing, MAX_HEAD_BYTES, Method, Request, Version};
use crate::http::response::{self, MAX_RESPONSE_HEAD_BYTES};
use crate::proto::bucket::Urgency;
use crate::proto::node::Node;
use crate::wire::addr::Addr;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;
use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::vec::Vec;

/// How long a client may take without reading anything.
pub(super) const STUCK: Duration = Duration::from_secs(10);

/// How long we wait for a client to take our last bytes and close.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is made of a document and written at once: a few parts, since each costs a system call.
pub(super) const WRITE_BYTES: usize = 4 * PART_BYTES;

/// Who asks, and what of the request is needed after it was read: the head itself is not kept.
pub(super) struct Client<'a> {
    running: &'a Running,
    pub stream: &'a Async<TcpStream>,
    pub from: SocketAddr,
    pub method: Method,
    pub version: Version,
    /// Wants the title between the media.
    pub icy_metadata: bool,
    /// What it calls itself.
    pub user_agent: heapless::String<64>,
}

impl<'a> Client<'a> {
    /// Who has said nothing that makes sense.
    pub fn unknown(running: &'a Running, stream: &'a Async<TcpStream>, from: SocketAddr) -> Self {
        Self {
            running,
            stream,
            from,
            method: Method::Get,
            version: Version::Http11,
            icy_metadata: false,
            user_agent: heapless::String::new(),
        }
    }

    /// Who has said this.
    pub fn of(
        running: &'a Running,
        stream: &'a Async<TcpStream>,
        from: SocketAddr,
        request: &Request<'_>,
    ) -> Self {
        let mut user_agent = heapless::String::new();
        for c in request.user_agent.unwrap_or("").chars() {
            if user_agent.push(c).is_err() {
                break;
            }
        }
        Self {
            running,
            stream,
            from,
            method: request.method,
            version: request.version,
            icy_metadata: request.icy_metadata,
            user_agent,
        }
    }

    /// Writes what the socket takes now, and the owner's line if it leads there. All that is said to it is written here.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = self.stream.get_ref();
        let mut write =
            |_: &mut Node<'_>, _, most| socket.write(bytes.get(..most).unwrap_or(bytes));
        let to = Addr::udp(self.from);
        beyond::pass(self.running, to, Urgency::Words, bytes.len(), &mut write)
    }

    /// Waits until the owner's line has room, if it leads there.
    async fn turn(&self) -> io::Result<()> {
        beyond::turn(self.running, Addr::udp(self.from), Urgency::Words).await
    }

    /// The head of an answer: what is said first fits into the socket, and who is refused that has gone.
    pub async fn say_head(&self, make: Make<'_>) -> io::Result<()> {
        self.turn().await?;
        let mut head = [0; MAX_RESPONSE_HEAD_BYTES];
        let len = make(&mut head).ok_or(ErrorKind::OutOfMemory)?;
        match self.write(head.get(..len).unwrap_or(&[]))? == len {
            true => Ok(()),
            false => Err(ErrorKind::WriteZero.into()),
        }
    }

    /// Writes the head of a document; its length, if there is room for it.
    pub fn head(&self, content_type: &str, framing: Framing, out: &mut [u8]) -> Option<usize> {
        response::document(self.version, content_type, framing, false, out).ok()
    }

    /// Says the head of a document.
    pub async fn say_document(&self, content_type: &str, framing: Framing) -> io::Result<()> {
        self.say_head(&mut |out| self.head(content_type, framing, out))
            .await
    }

    /// A short answer, whole, of any status.
    pub async fn refuse(&self, status: u16, text: &str) -> io::Result<()> {
        self.say_head(&mut |out| response::short(self.method, status, text, out).ok())
            .await?;
        farewell(self.stream).await
    }

    /// All that `make` writes into the room it is given, until it has nothing more. The others have a turn in between.
    pub async fn send(&self, make: Make<'_>) -> io::Result<()> {
        loop {
            match self.send_some(make)? {
                Sent::All => return Ok(()),
                Sent::Part => smol::future::yield_now().await,
                Sent::Left(rest) => self.write_all(&rest).await?,
            }
        }
    }

    fn send_some(&self, make: Make<'_>) -> io::Result<Sent> {
        let mut room = [0; WRITE_BYTES];
        let Some(len) = make(&mut room) else {
            return Ok(Sent::All);
        };
        let part = room.get(..len).unwrap_or(&[]);
        let taken = match self.write(part) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            taken => taken?,
        };
        Ok(match part.get(taken..) {
            None | Some([]) => Sent::Part,
            Some(rest) => Sent::Left(rest.to_vec()),
        })
    }

    /// Writes it all, as long as the client goes on taking it and the line has room.
    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.turn().await?;
            match self.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    within(STUCK, self.stream.writable()).await?;
                }
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                written => bytes = bytes.get(written?..).unwrap_or(&[]),
            }
        }
        Ok(())
    }
}

/// Writes what is to be said into the room it is given; how much that is.
type Make<'a> = &'a mut dyn FnMut(&mut [u8]) -> Option<usize>;

/// How a part of an answer went.
enum Sent {
    /// There is no more.
    All,
    /// It is in the socket.
    Part,
    /// The client is slow, or the line; this is still to be written.
    Left(Vec<u8>),
}

/// Closes so that our last bytes arrive: a socket closed with bytes unread resets the connection.
pub(super) async fn farewell(stream: &Async<TcpStream>) -> io::Result<()> {
    stream.get_ref().shutdown(Shutdown::Write)?;
    let mut left = MAX_HEAD_BYTES;
    let rest = poll_fn(|context| {
        while left > 0 {
            let mut sink = [0; 512];
            match stream.get_ref().read(&mut sink) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    core::task::ready!(stream.poll_readable(context))?;
                }
                Ok(0) => break,
                read => left = left.saturating_sub(read?),
            }
        }
        Poll::Ready(io::Result::Ok(()))
    });
    match within(FAREWELL, rest).await {
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        other => other,
    }
}
