//! The node's sockets: one, or one for each way to the Internet that a box has.
//!
//! A neighbour is written to from the socket its datagrams arrive at, since it knows the node by no other address. Who was
//! not heard lately is written to from one socket after the other, so that a way that is down costs a while and not the
//! neighbour. An address that is not there yet (a modem that is slow to dial) is tried again while the others work.

use super::failure::Failure;
use super::place::Place;
use super::udp::{Sent, Udp, buffer_bytes};
use crate::proto::node::Node;
use crate::proto::transmit::Transmit;
use crate::wire::addr::Addr;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::net::IpAddr;
use std::time::Instant;
use std::vec::Vec;

/// Neighbours whose way is remembered, where there are several ways; more than there are sessions and attempts.
pub const ROUTES: usize = 2_048;

/// What one of them takes.
pub const ROUTE_BYTES: usize = size_of::<Option<Route>>();

/// Without a word for so long, another way is tried.
const SILENT: Duration = Duration::from_secs(10);

/// How often an address that could not be bound is tried again, and devices are looked at.
const AGAIN: Duration = Duration::from_secs(5);

/// One neighbour's way.
#[derive(Clone, Copy)]
struct Route {
    to: Addr,
    link: usize,
    /// When it was heard there, or chosen.
    since: Instant,
}

/// A socket on a network device, which may be another one of the same name tomorrow: a redial makes `pppoe-wan` anew.
struct Tied {
    link: usize,
    place: Place,
    /// The device that it is bound to.
    index: u32,
}

/// Bound sockets.
pub struct Uplinks {
    links: Vec<Udp>,
    tied: Vec<Tied>,
    /// By a hash of the address; empty where there is one way only.
    routes: Vec<Option<Route>>,
    /// The link a batch waits for.
    blocked: usize,
    /// What could not be bound yet.
    missing: Vec<Place>,
    tried_at: Instant,
    offload: bool,
    /// The kernel's buffers for what comes in and goes out, in bytes.
    buffers: (usize, usize),
}

impl Uplinks {
    /// Binds one socket for each of `wanted`: the first of its addresses that can be. One of several may be missing for now,
    /// all of them may not.
    pub fn bind(wanted: &[Place], offload: bool) -> Result<Self, Failure> {
        let routes = if wanted.len() > 1 { ROUTES } else { 0 };
        let mut this = Self {
            links: Vec::with_capacity(wanted.len()),
            tied: Vec::new(),
            routes: std::vec![None; routes],
            blocked: 0,
            missing: Vec::new(),
            tried_at: Instant::now(),
            offload,
            buffers: (buffer_bytes(0), buffer_bytes(0)),
        };
        let mut last = Failure::usage("--bind", "no address is given");
        for place in wanted {
            if let Err(failure) = this.add(place) {
                if wanted.len() > 1 {
                    log::warn!("{failure}; trying on while the others work");
                }
                this.missing.push(place.clone());
                last = failure;
            }
        }
        if this.links.is_empty() {
            return Err(last);
        }
        Ok(this)
    }

    fn add(&mut self, place: &Place) -> Result<(), Failure> {
        let udp = Udp::bind(place, self.offload)?;
        udp.set_buffers(self.buffers);
        if let Some(index) = device_index(&udp, place) {
            self.tied.push(Tied {
                link: self.links.len(),
                place: place.clone(),
                index,
            });
        }
        self.links.push(udp);
        Ok(())
    }

    /// Makes the kernel's buffers of each socket large enough for so many bits a second in and out.
    pub fn size_for(&mut self, rx_bps: u64, tx_bps: u64) {
        let buffers = (buffer_bytes(rx_bps), buffer_bytes(tx_bps));
        if self.buffers != buffers {
            self.buffers = buffers;
            self.links.iter().for_each(|udp| udp.set_buffers(buffers));
        }
    }

    /// Where the first is bound.
    pub fn local(&self) -> SocketAddr {
        // There is one: `bind` saw to it.
        self.links
            .first()
            .map_or(SocketAddr::from(([0, 0, 0, 0], 0)), Udp::local)
    }

    /// Where each is bound, or will be.
    pub fn locals(&self) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> = self.links.iter().map(Udp::local).collect();
        for place in &self.missing {
            all.extend(place.addresses.first());
        }
        all
    }

    /// Datagrams the system would not take.
    pub fn refused(&self) -> u64 {
        self.links.iter().map(|udp| udp.refused).sum()
    }

    /// Datagrams the kernel dropped because they were not taken in in time.
    pub fn dropped(&self) -> u64 {
        self.links.iter().map(Udp::dropped).sum()
    }

    /// Hands what has come to `take`, for a bounded time; true when there may be more.
    pub fn receive(&mut self, mut take: impl FnMut(Addr, &[u8])) -> bool {
        if !(self.missing.is_empty() && self.tied.is_empty()) {
            self.look_again();
        }
        let routes = &mut self.routes;
        let mut more = false;
        for (link, udp) in self.links.iter_mut().enumerate() {
            more |= udp.receive(|from, bytes| {
                if let Some(place) = place(routes, from) {
                    let (to, since) = (from, Instant::now());
                    *place = Some(Route { to, link, since });
                }
                take(from, bytes);
            });
        }
        more
    }

    /// Sends a batch from its datagram number `from` on.
    pub fn send(&mut self, node: &mut Node<'_>, batch: &Transmit, from: usize) -> Sent {
        // Where there is one way only, no clock is asked.
        let link = match self.routes.is_empty() {
            true => 0,
            false => self.way_to(batch.to, Instant::now()),
        };
        let Some(udp) = self.links.get_mut(link) else {
            return Sent::All;
        };
        let sent = udp.send(node, batch, from);
        if sent != Sent::All {
            self.blocked = link;
        }
        sent
    }

    /// The socket for a neighbour now.
    fn way_to(&mut self, to: Addr, now: Instant) -> usize {
        let Some(place) = place(&mut self.routes, to) else {
            return 0;
        };
        let first = match *place {
            Some(route) if route.to == to => {
                let heard = now.saturating_duration_since(route.since) < SILENT;
                if heard && route.link < self.links.len() {
                    return route.link;
                }
                route.link + 1
            }
            _ => 0,
        };
        let reaches = |link: &usize| match (self.links.get(*link), to.socket()) {
            (Some(udp), Some(to)) => Udp::reaches(udp.local(), to),
            _ => false,
        };
        let count = self.links.len();
        let mut in_turn = (0..count).map(|step| (first + step) % count);
        let link = in_turn.find(reaches).unwrap_or(0);
        let since = now;
        *place = Some(Route { to, link, since });
        link
    }

    /// Binds what is there by now, and anew what is bound to a device that is gone while another has its name.
    fn look_again(&mut self) {
        if self.tried_at.elapsed() < AGAIN {
            return;
        }
        self.tried_at = Instant::now();
        for place in core::mem::take(&mut self.missing) {
            match self.add(&place) {
                Ok(()) => log::info!("udp {place} too"),
                Err(_) => self.missing.push(place),
            }
        }
        for tied in &mut self.tied {
            let Some(link) = self.links.get_mut(tied.link) else {
                continue;
            };
            let index = device_index(link, &tied.place);
            let Some(index) = index.filter(|&index| index != tied.index) else {
                continue;
            };
            if let Ok(udp) = Udp::bind(&tied.place, self.offload) {
                log::info!("udp {} again: the device is another one", tied.place);
                udp.set_buffers(self.buffers);
                link.replace(udp);
                tied.index = index;
            }
        }
    }

    /// Ready when something has come.
    pub fn poll_arrival(&self, context: &mut Context<'_>) -> Poll<()> {
        // All are asked, so that each wakes the task.
        let ready = |udp: &Udp, context: &mut Context<'_>| udp.poll_arrival(context).is_ready();
        let any = self
            .links
            .iter()
            .fold(false, |any, udp| ready(udp, context) | any);
        if any { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when the socket that was full takes more.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.links.get(self.blocked) {
            Some(udp) => udp.poll_writable(context),
            None => Poll::Ready(()),
        }
    }
}

/// Whether datagrams to this address can leave from one of these.
pub fn reaches(locals: &[SocketAddr], to: SocketAddr) -> bool {
    locals.iter().any(|&local| Udp::reaches(local, to))
}

/// The number of the device that has the name of this place now; nothing where it names none.
fn device_index(udp: &Udp, place: &Place) -> Option<u32> {
    let name = place.device.as_deref()?;
    rustix::net::netdevice::name_to_index(udp, name).ok()
}

/// The place of an address: FNV-1a over its bytes.
fn place(routes: &mut [Option<Route>], to: Addr) -> Option<&mut Option<Route>> {
    if routes.is_empty() {
        return None;
    }
    let to = to.socket()?;
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let ip = match to.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    let port = to.port().to_be_bytes();
    let hash = ip.iter().chain(&port).fold(0xcbf2_9ce4_8422_2325, mix);
    routes.get_mut((hash % ROUTES as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn local() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn a_neighbour_is_answered_from_where_it_was_heard() {
        let mut links = Uplinks::bind(&[local().into(), local().into()], true).unwrap();
        let [first, second] = links.locals()[..] else {
            panic!("two are bound");
        };
        assert_ne!(first, second);
        let stranger = std::net::UdpSocket::bind(local()).unwrap();
        let from = Addr::udp(stranger.local_addr().unwrap());
        let now = Instant::now();
        assert_eq!(links.way_to(from, now), 0, "nobody knows yet");
        stranger.send_to(b"hello", second).unwrap();
        crate::driver::reactor::block_on(core::future::poll_fn(|context| {
            links.poll_arrival(context)
        }))
        .unwrap();
        let mut heard = 0;
        links.receive(|_, _| heard += 1);
        assert_eq!(heard, 1);
        let now = Instant::now();
        assert_eq!(links.way_to(from, now), 1);
        assert_eq!(links.way_to(from, now + SILENT / 2), 1);
        // It falls silent: the other way, and back again later.
        assert_eq!(links.way_to(from, now + SILENT * 2), 0);
        assert_eq!(links.way_to(from, now + SILENT * 2 + SILENT / 2), 0);
        assert_eq!(links.way_to(from, now + SILENT * 4), 1);
    }

    #[test]
    fn one_way_may_be_missing_and_not_all() {
        // A documentation address (RFC 5737) is nobody's.
        let nobodys: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let links = Uplinks::bind(&[nobodys.into(), local().into()], true).unwrap();
        assert_eq!(links.locals().len(), 2);
        assert!(links.local().ip().is_loopback());
        assert!(Uplinks::bind(&[nobodys.into()], true).is_err());
    }

    #[test]
    fn a_device_is_bound_to_by_its_name() {
        let on = |device: &str| Place {
            addresses: ["127.0.0.1:0".parse().unwrap()].into(),
            device: Some(device.into()),
        };
        let links = match Uplinks::bind(&[on("lo")], true) {
            Ok(links) => links,
            // Linux before 5.7, and not root.
            Err(failure) => return assert!(failure.to_string().contains("only root")),
        };
        assert_eq!(links.tied.len(), 1);
        assert!(links.tied[0].index > 0);
        let failure = Uplinks::bind(&[on("nosuchdevice")], true).err().unwrap();
        assert_eq!(
            failure.to_string(),
            "--bind: there is no network device nosuchdevice"
        );
    }

    #[test]
    fn a_way_of_the_right_family_is_taken() {
        let v6: SocketAddr = "[::1]:0".parse().unwrap();
        let Ok(mut links) = Uplinks::bind(&[local().into(), v6.into()], true) else {
            return; // A machine without IPv6.
        };
        if links.links.len() < 2 {
            return;
        }
        let to = Addr::udp("[2001:db8::1]:8479".parse().unwrap());
        for s in 0..10 {
            assert_eq!(links.way_to(to, Instant::now() + SILENT * s), 1);
        }
    }
}
