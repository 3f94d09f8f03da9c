//! The door of the HTTP server. Whoever connects waits in a lobby of fixed size until it has said something; only then does
//! it get one of the server's tasks. Who comes when the lobby is full takes the place of whoever has waited longest, so
//! that a crowd that says nothing keeps nobody out. While all tasks are busy the door itself answers `/healthz`, so a
//! supervisor is answered whatever the others do, and sends the others away.

use super::bell::Bell;
use super::beyond;
use super::reactor::{Async, Timer};
use super::server::SPARE_TASKS;
use super::view::Running;
use super::web::is_near;
use crate::http::healthz::healthz;
use crate::http::request::{MAX_HEAD_BYTES, Method, Parsed, Request};
use crate::http::response::{self, MAX_RESPONSE_HEAD_BYTES};
use crate::http::route::{Route, route};
use crate::proto::bucket::Urgency;
use crate::proto::node::Node;
use crate::wire::addr::Addr;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use heapless::Deque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Instant;

/// Connections that have said nothing yet.
const LOBBY: usize = 32;

/// How long one may say nothing.
const SILENCE: Duration = Duration::from_secs(5);

/// Connections let in before the others get a turn.
const MAX_ACCEPTED: usize = 16;

/// Connections that wait for a task to look at them.
const HANDED: usize = 8;

/// Tasks that nobody beyond this network is given: there many may wait for room on the line, and at home nobody waits for them.
const KEPT_TASKS: usize = SPARE_TASKS / 2;

/// Guests at the door, at most, and what each takes: its place, and what the reactor keeps of its socket.
pub(super) const GUESTS: usize = LOBBY + HANDED;
pub(super) const GUEST_BYTES: usize = size_of::<(Guest, Instant)>() + SOCKET_BYTES;
const SOCKET_BYTES: usize = 192;

/// Somebody who has connected.
pub(super) type Guest = (Async<TcpStream>, SocketAddr);

/// The door.
pub(super) struct Door {
    listener: Async<TcpListener>,
    /// Whether public addresses are let in.
    is_public: bool,
    lobby: RefCell<Deque<(Guest, Instant), LOBBY>>,
    handed: RefCell<Deque<Guest, HANDED>>,
    bell: Bell,
    /// Tasks that wait for a guest.
    idle: Cell<usize>,
}

impl Door {
    /// With this socket, for so many tasks.
    pub(super) fn new(listener: Async<TcpListener>, tasks: usize, is_public: bool) -> Self {
        Self {
            listener,
            is_public,
            lobby: RefCell::default(),
            handed: RefCell::default(),
            bell: Bell::new(tasks),
            idle: Cell::new(0),
        }
    }

    /// The next guest for a task.
    pub(super) async fn next(&self) -> Guest {
        self.idle.set(self.idle.get() + 1);
        let guest = loop {
            let rings = self.bell.rings();
            if let Some(guest) = self.handed.borrow_mut().pop_front() {
                break guest;
            }
            self.bell.after(rings).await;
        };
        self.idle.set(self.idle.get() - 1);
        guest
    }

    /// Lets in who comes, for ever.
    pub(super) async fn watch(&self, running: &Running) {
        let mut timer = Timer::never();
        loop {
            poll_fn(|context| self.poll_guests(running, &mut timer, context)).await;
            smol::future::yield_now().await;
        }
    }

    /// Ready when there may be more to do at once.
    fn poll_guests(
        &self,
        running: &Running,
        timer: &mut Timer,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let more = self.let_in(running, context);
        self.look_round(running, context);
        let oldest = self
            .lobby
            .borrow()
            .front()
            .map(|(_, since)| *since + SILENCE);
        match oldest {
            Some(due) => timer.set_at(due),
            None => *timer = Timer::never(),
        }
        match more || Pin::new(timer).poll(context).is_ready() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// True when there may be more.
    fn let_in(&self, running: &Running, context: &mut Context<'_>) -> bool {
        for _ in 0..MAX_ACCEPTED {
            match self.listener.poll_readable(context) {
                Poll::Pending => return false,
                Poll::Ready(Err(error)) => log::warn!("http: {error}"),
                Poll::Ready(Ok(())) => {}
            }
            match self.listener.get_ref().accept() {
                Ok((stream, from)) => {
                    beyond::connected(running, Addr::udp(from));
                    self.receive(stream, from);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Out of file descriptors, most likely: who has waited longest goes.
                Err(error) => {
                    log::warn!("http: {error}");
                    self.lobby.borrow_mut().pop_front();
                }
            }
        }
        true
    }

    fn receive(&self, stream: TcpStream, from: SocketAddr) {
        let at = stream.local_addr().map(|at| at.ip());
        let is_near = is_near(from.ip()) && at.is_ok_and(is_near);
        if !self.is_public && !is_near {
            log::debug!("http: {from} comes from outside and is not answered");
            return;
        }
        let Ok(stream) = Async::new(stream) else {
            return;
        };
        let mut lobby = self.lobby.borrow_mut();
        if lobby.is_full() {
            lobby.pop_front();
        }
        // Room: one was just sent away.
        let _ = lobby.push_back(((stream, from), Instant::now()));
    }

    /// Hands on who has something to say, and sends away who has waited too long.
    fn look_round(&self, running: &Running, context: &mut Context<'_>) {
        let mut lobby = self.lobby.borrow_mut();
        for _ in 0..lobby.len() {
            let Some((guest, since)) = lobby.pop_front() else {
                return;
            };
            match guest.0.poll_readable(context) {
                Poll::Ready(_) => self.hand_on(guest, running),
                Poll::Pending if since.elapsed() < SILENCE => {
                    // Room: it was just taken out.
                    let _ = lobby.push_back((guest, since));
                }
                Poll::Pending => {}
            }
        }
    }

    fn hand_on(&self, guest: Guest, running: &Running) {
        let mut handed = self.handed.borrow_mut();
        let kept = match Addr::udp(guest.1).is_local() {
            true => 0,
            false => KEPT_TASKS,
        };
        if handed.len() + kept >= self.idle.get() {
            return answer_at_the_door(&guest, running);
        }
        match handed.push_back(guest) {
            Ok(()) => self.bell.ring(),
            Err(guest) => answer_at_the_door(&guest, running),
        }
    }
}

/// What fits into the socket at once, and onto the owner's line, without waiting.
fn answer_at_the_door((stream, from): &Guest, running: &Running) {
    let mut socket = stream.get_ref();
    let mut head = [0; MAX_HEAD_BYTES];
    let read = socket.read(&mut head).unwrap_or(0);
    let asked = Request::parse(head.get(..read).unwrap_or(&[]));
    let (status, text) = match asked {
        Parsed::Complete { request, .. } if route(&request) == Route::Healthz => {
            healthz(&running.view())
        }
        _ => (503, "busy: all connections are taken"),
    };
    let mut out = [0; MAX_RESPONSE_HEAD_BYTES];
    if let Ok(len) = response::short(Method::Get, status, text, &mut out) {
        // A client that does not take this much at once gets less.
        let said = out.get(..len).unwrap_or(&[]);
        let mut say = |_: &mut Node<'_>, _, most| socket.write(said.get(..most).unwrap_or(said));
        let to = Addr::udp(*from);
        let _ = beyond::pass(running, to, Urgency::Words, said.len(), &mut say);
        let _ = socket.shutdown(Shutdown::Write);
    }
}
