//! The node on its LAN: it answers who asks for `_weir._udp` and `_http._tcp`, and asks for others itself, so that nodes of
//! one network find each other without being told. One socket for each network; IPv4 only.

use super::config::Config;
use super::reactor::{Async, Timer};
use super::view::Running;
use super::web::{Mdns, is_near};
use crate::http::out::ShortId;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::mdns::{
    self, Asked, Card, Found, GROUP, MAX_MESSAGE_BYTES, Manner, Message, PORT, tag_of,
};
use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use core::pin::Pin;
use core::task::{Context, Poll};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::string::ToString;
use std::vec::Vec;

/// Networks served at most.
const MAX_NETWORKS: usize = 8;

/// How often networks that came or went are noticed.
const LOOK: Span = Span::from_s(15);

/// The first pause between two questions; it doubles up to the longest (RFC 6762 section 5.2).
const FIRST_PAUSE: Span = Span::from_s(1);
const LONGEST_PAUSE: Span = Span::from_s(300);

/// The same answer is not said to everybody more often than this (section 6).
const ANSWER_PAUSE: Span = Span::from_s(1);

/// Announced so often at the beginning, a second apart (section 8.3).
const ANNOUNCEMENTS: u8 = 2;

/// Messages taken in from one network before the others get a turn.
const MAX_TAKEN: usize = 16;

/// Interface flags (netdevice(7)).
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_MULTICAST: u32 = 0x1000;

/// One network and what was said there.
struct Network {
    index: u32,
    address: Ipv4Addr,
    socket: Async<UdpSocket>,
    answered_at: Option<Instant>,
    announced: u8,
    asked_at: Option<Instant>,
    pause: Span,
}

/// The responder; nothing of it where it is turned off.
pub struct Responder {
    networks: RefCell<Vec<Network>>,
    udp: Option<u16>,
    http: Option<u16>,
}

impl Responder {
    /// For a node that is bound to these addresses; `None` where nobody on a LAN could reach it, or it is turned off.
    pub fn new(config: &Config, udp: SocketAddr, http: SocketAddr) -> Option<Self> {
        let on_lan = |at: SocketAddr| {
            let ip = at.ip().to_canonical();
            let is_v4 = ip.is_ipv4() || ip.is_unspecified();
            (is_v4 && !ip.is_loopback()).then_some(at.port())
        };
        let (udp_port, http_port) = match config.web.mdns {
            Mdns::Off => return None,
            Mdns::Ask => (None, None),
            Mdns::On => (Some(udp.port()), on_lan(http)),
            Mdns::Auto => (Some(on_lan(udp)?), on_lan(http)),
        };
        Some(Self {
            networks: RefCell::new(Vec::with_capacity(MAX_NETWORKS)),
            udp: udp_port,
            http: http_port,
        })
    }

    /// Announces, answers and asks, for ever.
    pub async fn run(&self, running: &Running) {
        let mut card = self.card(running);
        let mut timer = Timer::never();
        let mut looked_at = None;
        loop {
            let now = running.engine.clock.now();
            if looked_at.is_none_or(|at| now.since(at) >= LOOK) {
                looked_at = Some(now);
                self.look_for_networks();
            }
            self.speak(&mut card, now);
            let due = self.due(now).min(now + LOOK);
            timer.set_at(running.engine.clock.system(due));
            poll_fn(|context| self.poll_said(running, &mut card, &mut timer, context)).await;
        }
    }

    /// Takes back what was said, at the end.
    pub fn say_goodbye(&self, running: &Running) {
        let mut card = self.card(running);
        for network in self.networks.borrow().iter() {
            card.address = network.address;
            network.answer(&card, Manner::Goodbye, everybody());
        }
    }

    fn card(&self, running: &Running) -> Card {
        let names = running.facts.names.iter();
        Card {
            instance: mdns::instance(&ShortId(running.engine.look().public()).to_string()),
            address: Ipv4Addr::UNSPECIFIED,
            udp: self.udp,
            http: self.http,
            tags: names.filter_map(|names| tag_of(&names.key)).collect(),
        }
    }

    /// Says what is due: announcements and questions.
    fn speak(&self, card: &mut Card, now: Instant) {
        for network in self.networks.borrow_mut().iter_mut() {
            card.address = network.address;
            let may_answer = network
                .answered_at
                .is_none_or(|at| now.since(at) >= ANSWER_PAUSE);
            if network.announced < ANNOUNCEMENTS && may_answer {
                network.announced += 1;
                network.answered_at = Some(now);
                network.answer(card, Manner::Multicast, everybody());
            }
            if network
                .asked_at
                .is_none_or(|at| now.since(at) >= network.pause)
            {
                if network.asked_at.is_some() {
                    network.pause = network.pause.times(2).min(LONGEST_PAUSE);
                }
                network.asked_at = Some(now);
                network.ask();
            }
        }
    }

    /// When something is to be said next.
    fn due(&self, now: Instant) -> Instant {
        let networks = self.networks.borrow();
        let due = networks.iter().map(|network| {
            let question = network.asked_at.map_or(now, |at| at + network.pause);
            match (network.announced < ANNOUNCEMENTS, network.answered_at) {
                (true, Some(at)) => question.min(at + ANSWER_PAUSE),
                (true, None) => now,
                (false, _) => question,
            }
        });
        due.min().unwrap_or(now + LOOK)
    }

    /// Hears what others say until it is time to speak.
    fn poll_said(
        &self,
        running: &Running,
        card: &mut Card,
        timer: &mut Timer,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut more = false;
        for network in self.networks.borrow_mut().iter_mut() {
            card.address = network.address;
            more |= network.poll_said(running, card, context);
        }
        match more || Pin::new(timer).poll(context).is_ready() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Opens sockets on networks that have come, and closes those of networks that have gone.
    fn look_for_networks(&self) {
        let here = interfaces();
        let mut networks = self.networks.borrow_mut();
        networks.retain(|network| here.contains(&network.index));
        for index in here {
            let Ok(address) = address_on(index) else {
                continue;
            };
            if let Some(known) = networks.iter_mut().find(|network| network.index == index) {
                known.address = address;
            } else if networks.len() < MAX_NETWORKS {
                match Network::open(index, address) {
                    Ok(network) => networks.push(network),
                    Err(error) => log::debug!("mdns: network {index}: {error}"),
                }
            }
        }
    }
}

impl Network {
    fn open(index: u32, address: Ipv4Addr) -> io::Result<Self> {
        Ok(Self {
            index,
            address,
            socket: open(index)?,
            answered_at: None,
            announced: 0,
            asked_at: None,
            pause: FIRST_PAUSE,
        })
    }

    /// True when there may be more.
    fn poll_said(&mut self, running: &Running, card: &Card, context: &mut Context<'_>) -> bool {
        let mut bytes = [0; MAX_MESSAGE_BYTES];
        for _ in 0..MAX_TAKEN {
            if self.socket.poll_readable(context).is_pending() {
                return false;
            }
            match self.socket.get_ref().recv_from(&mut bytes) {
                Ok((len, SocketAddr::V4(from))) => {
                    let bytes = bytes.get(..len).unwrap_or(&[]);
                    // What makes no sense is not for us.
                    let _ = self.hear(running, card, bytes, from);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => log::trace!("mdns: {error}"),
            }
        }
        true
    }

    fn hear(
        &mut self,
        running: &Running,
        card: &Card,
        bytes: &[u8],
        from: SocketAddrV4,
    ) -> Result<(), crate::error::Malformed> {
        let message = Message::parse(bytes)?;
        if message.is_response() {
            // Answers come from the protocol's own port (section 6).
            if from.port() == PORT {
                message.nodes(card, |found| meet(running, found, *from.ip()))?;
            }
        } else if let Some(asked) = message.asks(card)? {
            self.reply(running.engine.clock.now(), card, asked, from);
        }
        Ok(())
    }

    fn reply(&mut self, now: Instant, card: &Card, asked: Asked<'_>, from: SocketAddrV4) {
        if from.port() != PORT {
            return self.answer(card, Manner::Legacy(asked), from);
        }
        if self
            .answered_at
            .is_none_or(|at| now.since(at) >= ANSWER_PAUSE)
        {
            self.answered_at = Some(now);
            self.answer(card, Manner::Multicast, everybody());
        }
    }

    fn answer(&self, card: &Card, manner: Manner<'_>, to: SocketAddrV4) {
        if card.udp.is_none() {
            // Somebody else says it.
            return;
        }
        let mut out = [0; MAX_MESSAGE_BYTES];
        // Fits: a card is far smaller.
        if let Ok(len) = mdns::write_answer(card, manner, &mut out) {
            self.send(out.get(..len).unwrap_or(&[]), to);
        }
    }

    fn ask(&self) {
        let mut out = [0; MAX_MESSAGE_BYTES];
        if let Ok(len) = mdns::write_query(&mut out) {
            self.send(out.get(..len).unwrap_or(&[]), everybody());
        }
    }

    /// One that cannot be sent is lost, as on the way.
    fn send(&self, bytes: &[u8], to: SocketAddrV4) {
        if let Err(error) = self.socket.get_ref().send_to(bytes, to) {
            log::debug!("mdns: {}: {error}", self.address);
        }
    }
}

fn everybody() -> SocketAddrV4 {
    SocketAddrV4::new(GROUP, PORT)
}

/// Another node of this network is told to the engine, for the streams that both carry.
fn meet(running: &Running, found: &Found, from: Ipv4Addr) {
    // An address elsewhere would make this node knock at doors of strangers.
    let said = found
        .address
        .filter(|address| is_near(IpAddr::V4(*address)));
    let at = SocketAddr::from((said.unwrap_or(from), found.port));
    for (stream, names) in running.facts.names.iter().enumerate() {
        let tag = tag_of(&names.key);
        let shares =
            found.tags.is_empty() || found.tags.iter().any(|theirs| Some(theirs) == tag.as_ref());
        if shares {
            log::debug!("mdns: {at} may carry stream {stream}");
            running
                .engine
                .with(|node, now| node.add_acquaintance(now, stream, Addr::udp(at)));
        }
    }
}

/// Indexes of the networks that are up and take multicast, as the system lists them (sysfs).
fn interfaces() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    let usable = |path: &std::path::Path| {
        let read = |name: &str| fs::read_to_string(path.join(name)).ok();
        let flags = read("flags")?;
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()?;
        let is_usable =
            flags & IFF_UP != 0 && flags & IFF_MULTICAST != 0 && flags & IFF_LOOPBACK == 0;
        read("ifindex")?.trim().parse().ok().filter(|_| is_usable)
    };
    entries
        .flatten()
        .filter_map(|entry| usable(&entry.path()))
        .collect()
}

/// This machine's address on a network: the one it would send to everybody from. Nothing is sent to find out.
fn address_on(index: u32) -> io::Result<Ipv4Addr> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    direct(&socket, index)?;
    socket.connect(&SocketAddr::V4(everybody()).into())?;
    let local = socket.local_addr()?.as_socket_ipv4();
    let address = local.map(|local| *local.ip());
    address
        .filter(|ip| !ip.is_unspecified())
        .ok_or_else(|| ErrorKind::AddrNotAvailable.into())
}

/// What is sent to everybody leaves by this network.
fn direct(socket: &Socket, index: u32) -> io::Result<()> {
    let any = Ipv4Addr::UNSPECIFIED;
    Ok(rustix::net::sockopt::set_ip_multicast_if_with_ifindex(
        socket, &any, &any, index,
    )?)
}

/// A socket on one network, beside those of other programs that speak the same (section 15.1).
fn open(index: u32) -> io::Result<Async<UdpSocket>> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_multicast_all_v4(false)?;
    // Answers have to come from near, and say so by this (section 11).
    socket.set_multicast_ttl_v4(255)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    direct(&socket, index)?;
    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))?;
    Async::new(socket.into())
}
