//! The node on its LAN: it answers who asks for `_weir._udp` and `_http._tcp`, and asks for others itself, so that nodes of
//! one network find each other without being told. One socket for each network and family. A name is asked for before it is
//! taken (RFC 6762 section 8): boxes from one copied disk have one key, and so one name, until they meet.

use super::config::Config;
use super::reactor::{Async, Timer};
use super::short_file;
use super::view::Running;
use super::web::{Mdns, is_near};
use crate::http::out::ShortId;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::mdns::{
    self, Asked, Card, Found, GROUP, GROUP_V6, MAX_MESSAGE_BYTES, Manner, Message, PORT, tag_of,
};
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::pin::Pin;
use core::task::{Context, Poll};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::path::Path;
use std::string::ToString;
use std::vec::Vec;

/// Networks served at most, each family for itself.
const MAX_NETWORKS: usize = 16;

/// How often networks that came or went are noticed.
const LOOK: Span = Span::from_s(15);

/// The first pause between two questions; it doubles up to the longest (RFC 6762 section 5.2).
const FIRST_PAUSE: Span = Span::from_s(1);
const LONGEST_PAUSE: Span = Span::from_s(300);

/// The same answer is not said to everybody more often than this (section 6).
const ANSWER_PAUSE: Span = Span::from_s(1);

/// Asked so often whether a name is free, a quarter of a second apart (section 8.1).
const PROBES: u8 = 3;
const PROBE_PAUSE: Span = Span::from_ms(250);

/// After this many names that others had, there is time (section 8.1).
const MANY_NAMES: u32 = 15;
const LONG_PAUSE: Span = Span::from_s(5);

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
    is_v6: bool,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    socket: Async<UdpSocket>,
    /// Said to everybody last: a probe, an announcement, an answer.
    answered_at: Option<Instant>,
    probed: u8,
    announced: u8,
    asked_at: Option<Instant>,
    pause: Span,
}

/// The responder; nothing of it where it is turned off.
pub struct Responder {
    networks: RefCell<Vec<Network>>,
    udp: Option<u16>,
    http: Option<u16>,
    /// Which of its names it has: 1 is the one without a number.
    number: Cell<u32>,
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
            number: Cell::new(1),
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
            let contested =
                poll_fn(|context| self.poll_said(running, &mut card, &mut timer, context)).await;
            if contested {
                self.take_another_name(running.engine.clock.now());
                card = self.card(running);
                log::info!(
                    "mdns: another box has this name; it is {} now",
                    card.instance
                );
            }
        }
    }

    /// Begins anew under the next name.
    fn take_another_name(&self, now: Instant) {
        let number = self.number.get() + 1;
        self.number.set(number);
        let pause = if number > MANY_NAMES {
            LONG_PAUSE
        } else {
            Span::ZERO
        };
        for network in self.networks.borrow_mut().iter_mut() {
            (network.probed, network.announced) = (0, 0);
            network.answered_at = Some(now + pause);
        }
    }

    /// Takes back what was said, at the end.
    pub fn say_goodbye(&self, running: &Running) {
        let mut card = self.card(running);
        for network in self.networks.borrow().iter() {
            network.sign(&mut card);
            if network.has_name() {
                network.answer(&card, Manner::Goodbye, network.everybody());
            }
        }
    }

    fn card(&self, running: &Running) -> Card {
        let names = running.facts.names.iter();
        Card {
            instance: mdns::instance(
                &ShortId(running.engine.look().public()).to_string(),
                self.number.get(),
            ),
            v4: None,
            v6: None,
            udp: self.udp,
            http: self.http,
            tags: names.filter_map(|names| tag_of(&names.key)).collect(),
        }
    }

    /// Says what is due: announcements and questions.
    fn speak(&self, card: &mut Card, now: Instant) {
        for network in self.networks.borrow_mut().iter_mut() {
            network.sign(card);
            if network.next_word().is_some_and(|at| at <= now) {
                network.answered_at = Some(now);
                if network.has_name() {
                    network.announced += 1;
                    network.answer(card, Manner::Multicast, network.everybody());
                } else {
                    network.probed += 1;
                    network.probe(card);
                }
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
            network.next_word().map_or(question, |at| at.min(question))
        });
        due.min().unwrap_or(now + LOOK)
    }

    /// Hears what others say until it is time to speak; true when another box has this one's name.
    fn poll_said(
        &self,
        running: &Running,
        card: &mut Card,
        timer: &mut Timer,
        context: &mut Context<'_>,
    ) -> Poll<bool> {
        let mut networks = self.networks.borrow_mut();
        // A box may be in one network twice, and then hears itself say another address.
        let is_own = |networks: &[Network], ip: IpAddr| {
            let mut all = networks
                .iter()
                .flat_map(|network| [network.v4.map(IpAddr::V4), network.v6.map(IpAddr::V6)]);
            all.any(|own| own == Some(ip))
        };
        let (mut more, mut contested) = (false, false);
        for at in 0..networks.len() {
            let Some(network) = networks.get_mut(at) else {
                continue;
            };
            network.sign(card);
            let (again, rival) = network.poll_said(running, card, context);
            more |= again;
            contested |= rival.is_some_and(|ip| !is_own(&networks, ip));
        }
        match more || contested || Pin::new(timer).poll(context).is_ready() {
            true => Poll::Ready(contested),
            false => Poll::Pending,
        }
    }

    /// Opens sockets on networks that have come, and closes those of networks that have gone.
    fn look_for_networks(&self) {
        let here = interfaces();
        let mut networks = self.networks.borrow_mut();
        networks.retain(|network| here.contains(&network.index));
        for index in here {
            let v4 = address_on(index).ok();
            let v6 = addresses_v6(index);
            for is_v6 in [false, true] {
                let known = networks
                    .iter_mut()
                    .find(|network| (network.index, network.is_v6) == (index, is_v6));
                let here = if is_v6 { v6.is_some() } else { v4.is_some() };
                if let Some(known) = known {
                    let now = (v4.or(known.v4), v6.flatten());
                    if (known.v4, known.v6) != now {
                        (known.v4, known.v6) = now;
                        // Said again (section 8.4).
                        known.announced = 0;
                    }
                } else if here && networks.len() < MAX_NETWORKS {
                    match Network::open(index, is_v6, v4, v6.flatten()) {
                        Ok(network) => networks.push(network),
                        Err(error) => log::debug!("mdns: network {index}: {error}"),
                    }
                }
            }
        }
    }
}

impl Network {
    fn open(
        index: u32,
        is_v6: bool,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) -> io::Result<Self> {
        Ok(Self {
            index,
            is_v6,
            v4,
            v6,
            socket: if is_v6 { open_v6(index)? } else { open(index)? },
            answered_at: None,
            probed: 0,
            announced: 0,
            asked_at: None,
            pause: FIRST_PAUSE,
        })
    }

    /// Whether there may be more, and who else has the name of this box.
    fn poll_said(
        &mut self,
        running: &Running,
        card: &Card,
        context: &mut Context<'_>,
    ) -> (bool, Option<IpAddr>) {
        let mut bytes = [0; MAX_MESSAGE_BYTES];
        for _ in 0..MAX_TAKEN {
            if self.socket.poll_readable(context).is_pending() {
                return (false, None);
            }
            match self.socket.get_ref().recv_from(&mut bytes) {
                Ok((len, from)) => {
                    let bytes = bytes.get(..len).unwrap_or(&[]);
                    // What makes no sense is not for us.
                    if let Ok(Some(rival)) = self.hear(running, card, bytes, from) {
                        return (true, Some(rival));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => log::trace!("mdns: {error}"),
            }
        }
        (true, None)
    }

    /// Whose address the name of this box is, if it is not this box's.
    fn hear(
        &mut self,
        running: &Running,
        card: &Card,
        bytes: &[u8],
        from: SocketAddr,
    ) -> Result<Option<IpAddr>, crate::error::Malformed> {
        let message = Message::parse(bytes)?;
        let is_speaker = from.port() == PORT && card.udp.is_some();
        // Who has a name keeps it, and says so to who would like to have it.
        if is_speaker && !(message.is_probe() && self.has_name()) {
            let rival = message.contests(card)?;
            if rival.is_some() {
                return Ok(rival);
            }
        }
        if message.is_response() {
            // Answers come from the protocol's own port (section 6).
            if from.port() == PORT {
                message.nodes(card, |found| meet(running, found, from))?;
            }
        } else if let Some(asked) = message.asks(card)?.filter(|_| self.has_name()) {
            let now = running.engine.clock.now();
            self.reply(now, card, asked, message.is_probe(), from);
        }
        Ok(None)
    }

    fn reply(
        &mut self,
        now: Instant,
        card: &Card,
        asked: Asked<'_>,
        is_urgent: bool,
        from: SocketAddr,
    ) {
        if from.port() != PORT {
            return self.answer(card, Manner::Legacy(asked), from);
        }
        let pause = if is_urgent { PROBE_PAUSE } else { ANSWER_PAUSE };
        if self.answered_at.is_none_or(|at| now.since(at) >= pause) {
            self.answered_at = Some(now);
            self.answer(card, Manner::Multicast, self.everybody());
        }
    }

    /// Puts this machine's addresses there into a card.
    fn sign(&self, card: &mut Card) {
        (card.v4, card.v6) = (self.v4, self.v6);
    }

    /// Whether nobody said that the name is his.
    fn has_name(&self) -> bool {
        self.probed >= PROBES
    }

    /// When it probes or announces next; nothing when all is said.
    fn next_word(&self) -> Option<Instant> {
        let pause = match (self.has_name(), self.announced) {
            (true, ANNOUNCEMENTS..) => return None,
            (true, 1..) => ANSWER_PAUSE,
            _ => PROBE_PAUSE,
        };
        Some(self.answered_at.map_or(Instant::ZERO, |at| at + pause))
    }

    fn everybody(&self) -> SocketAddr {
        match self.is_v6 {
            true => SocketAddrV6::new(GROUP_V6, PORT, 0, self.index).into(),
            false => SocketAddr::from((GROUP, PORT)),
        }
    }

    fn probe(&self, card: &Card) {
        if card.udp.is_none() {
            return;
        }
        let mut out = [0; MAX_MESSAGE_BYTES];
        if let Ok(len) = mdns::write_probe(card, &mut out) {
            self.send(out.get(..len).unwrap_or(&[]), self.everybody());
        }
    }

    fn answer(&self, card: &Card, manner: Manner<'_>, to: SocketAddr) {
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
            self.send(out.get(..len).unwrap_or(&[]), self.everybody());
        }
    }

    /// One that cannot be sent is lost, as on the way.
    fn send(&self, bytes: &[u8], to: SocketAddr) {
        if let Err(error) = self.socket.get_ref().send_to(bytes, to) {
            log::debug!("mdns: {to}: {error}");
        }
    }
}

/// Another node of this network is told to the engine, for the streams that both carry.
fn meet(running: &Running, found: &Found, from: SocketAddr) {
    // An address elsewhere would make this node knock at doors of strangers.
    let said = found.address.filter(|address| is_near(*address));
    let mut at = from;
    at.set_port(found.port);
    let at = said.map_or(at, |said| SocketAddr::new(said, found.port));
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
    let usable = |path: &std::path::Path| {
        let read = |name: &str| short_file::read(&path.join(name), 64).ok();
        let flags = read("flags")?;
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()?;
        let is_usable =
            flags & IFF_UP != 0 && flags & IFF_MULTICAST != 0 && flags & IFF_LOOPBACK == 0;
        read("ifindex")?.trim().parse().ok().filter(|_| is_usable)
    };
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return found;
    };
    for entry in entries {
        if let Some(index) = entry.ok().and_then(|entry| usable(&entry.path())) {
            found.push(index);
        }
    }
    found
}

/// This machine's address on a network: the one it would send to everybody from. Nothing is sent to find out.
fn address_on(index: u32) -> io::Result<Ipv4Addr> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    direct(&socket, index)?;
    socket.connect(&SocketAddr::from((GROUP, PORT)).into())?;
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

/// The same over IPv6.
fn open_v6(index: u32) -> io::Result<Async<UdpSocket>> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_multicast_all_v6(false)?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(index)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
    socket.join_multicast_v6(&GROUP_V6, index)?;
    Async::new(socket.into())
}

/// Whether a network has IPv6, and this machine's address there that the house can use, if there is one: of its own range,
/// neither tentative nor on its way out, and rather a lasting than a temporary one (proc_net(5), `if_inet6`).
fn addresses_v6(index: u32) -> Option<Option<Ipv6Addr>> {
    const DEPRECATED_OR_TENTATIVE: u32 = 0x20 | 0x40;
    const TEMPORARY: u32 = 0x1;
    /// 300 addresses.
    const MAX_TABLE_BYTES: usize = 16 << 10;
    let table = short_file::read(Path::new("/proc/self/net/if_inet6"), MAX_TABLE_BYTES).ok()?;
    let here = table.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let number = |text: Option<&str>| u32::from_str_radix(text?, 16).ok();
        let digits = fields.next()?;
        let part = |i: usize| Some(u128::from(number(digits.get(8 * i..8 * i + 8))?));
        let ip = (0..4).try_fold(0, |ip, i| Some(ip << 32 | part(i)?))?;
        let on = number(fields.next())?;
        let flags = number(fields.nth(2))?;
        (on == index && flags & DEPRECATED_OR_TENTATIVE == 0)
            .then_some((flags & TEMPORARY, Ipv6Addr::from(ip)))
    });
    let mut any = None;
    for (temporary, ip) in here {
        let best = any.get_or_insert(None);
        let is_better = best.is_none_or(|(is, _)| temporary < is);
        if ip.is_unique_local() && is_better {
            *best = Some((temporary, ip));
        }
    }
    any.map(|best| best.map(|(_, ip)| ip))
}
