//! The UDP socket: both families on one where the system can, addresses in the one form the core compares, and whole
//! batches in and out.

use super::failure::Failure;
use super::inbox::Inbox;
use super::place::Place;
use super::reactor::Async;
use super::segments::{Outcome, Segments};
use super::stint::Stint;
use crate::proto::node::Node;
use crate::proto::transmit::{MAX_BATCH, Transmit};
use crate::wire::addr::Addr;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use socket2::{Domain, Protocol, Socket, Type};
use std::format;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::string::String;

/// Kernel buffers in each direction: for what comes or goes while the box does something else, and never less or more than these.
/// A stream of 100 kbit/s needs no half of a small router's spare memory, and one of 20 Mbit/s is bounded all the same.
const AWAY_MS: u64 = 400;
const MIN_BUFFER_BYTES: usize = 64 * 1024;
const MAX_BUFFER_BYTES: usize = 512 * 1024;

/// What the buffer for so many bits a second can come to: the system counts twice what it is told (socket(7)).
pub fn kernel_bytes(bps: u64) -> u64 {
    2 * buffer_bytes(bps) as u64
}

/// The kernel buffer for so many bits a second: a power of two, so that it need not be changed with each child that comes.
pub fn buffer_bytes(bps: u64) -> usize {
    let bytes = usize::try_from((bps / 8_000).saturating_mul(AWAY_MS)).unwrap_or(usize::MAX);
    let bytes = bytes.clamp(MIN_BUFFER_BYTES, MAX_BUFFER_BYTES);
    bytes.next_power_of_two()
}

/// No such network device (errno(3)).
const NO_DEVICE: i32 = rustix::io::Errno::NODEV.raw_os_error();

/// Messages are taken in for so long before others get a turn.
const RECEIVING: Duration = Duration::from_millis(1);

/// A bound socket.
pub struct Udp {
    socket: Async<UdpSocket>,
    local: SocketAddr,
    inbox: Inbox,
    segments: Segments,
    /// Datagrams the system would not take: no route, no such address.
    pub refused: u64,
}

/// How far a batch has gone out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// All of it.
    All,
    /// The socket is full; this many datagrams are out.
    Blocked(usize),
}

impl Udp {
    /// Binds the first of these addresses that can be bound. A port that is taken is not passed over: whoever comes
    /// second should hear of it.
    ///
    /// `offload`: many datagrams in one system call where the kernel can.
    pub fn bind(place: &Place, offload: bool) -> Result<Self, Failure> {
        let device = place.device.as_deref();
        let mut last = Failure::usage("--bind", "no address is given");
        for &address in &place.addresses {
            match open(address, device) {
                Ok(socket) => {
                    return Self::new(socket, offload)
                        .map_err(|error| refused(address, device, &error));
                }
                Err(error) => {
                    last = refused(address, device, &error);
                    if error.kind() == ErrorKind::AddrInUse {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    fn new(socket: UdpSocket, offload: bool) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let udp = Self {
            inbox: Inbox::new(&socket, offload),
            segments: Segments::new(&socket, offload),
            socket: Async::new(socket)?,
            local,
            refused: 0,
        };
        udp.set_buffers((MIN_BUFFER_BYTES, MIN_BUFFER_BYTES));
        Ok(udp)
    }

    /// Gives the kernel's buffers this many bytes for what comes in, and for what goes out. What waits there already stays.
    pub fn set_buffers(&self, (rx_bytes, tx_bytes): (usize, usize)) {
        let socket = socket2::SockRef::from(self.socket.get_ref());
        // The system may allow less; then it is less.
        let _ = socket.set_recv_buffer_size(rx_bytes);
        let _ = socket.set_send_buffer_size(tx_bytes);
    }

    /// Where it is bound; the port is never 0.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Another socket in this one's place; what is counted goes on.
    pub fn replace(&mut self, other: Self) {
        let counted = (self.refused, self.inbox.dropped);
        *self = other;
        (self.refused, self.inbox.dropped) = counted;
    }

    /// Whether datagrams to this address can leave through this socket.
    pub fn reaches(local: SocketAddr, to: SocketAddr) -> bool {
        match local.ip() {
            IpAddr::V4(_) => to.is_ipv4(),
            IpAddr::V6(ip) => ip.is_unspecified() || to.is_ipv6() == ip.to_ipv4_mapped().is_none(),
        }
    }

    /// Hands what has come to `take`, for a bounded time; true when there may be more.
    pub fn receive(&mut self, mut take: impl FnMut(Addr, &[u8])) -> bool {
        let stint = Stint::of(RECEIVING);
        while self.inbox.receive(self.socket.get_ref(), &mut take) {
            if stint.is_over() {
                return true;
            }
        }
        false
    }

    /// Datagrams the kernel dropped because they were not taken in in time.
    pub fn dropped(&self) -> u64 {
        u64::from(self.inbox.dropped)
    }

    /// Sends a batch from its datagram number `from` on: all of it in one call, or, where the kernel cannot, one call
    /// for each. Chunks are read where they lie in the ring. The node is told what the kernel refused: that is the same as losing it
    /// on the way, but it has not left.
    pub fn send(&mut self, node: &mut Node<'_>, batch: &Transmit, from: usize) -> Sent {
        let Some(to) = batch.to.socket() else {
            return Sent::All;
        };
        let to = self.outward(to);
        if batch.count > 1 && from == 0 && self.segments.works() {
            let runs = node.runs(batch);
            let pieces: heapless::Vec<_, MAX_BATCH> = runs.map(IoSlice::new).collect();
            // What left the ring while the socket was full is not sent.
            if pieces.is_empty() {
                return Sent::All;
            }
            let (socket, segment_bytes) = (self.socket.get_ref(), batch.segment_bytes);
            match self.segments.send_many(socket, to, &pieces, segment_bytes) {
                Outcome::Sent => return Sent::All,
                Outcome::Blocked => return Sent::Blocked(0),
                Outcome::Refused => {}
            }
        }
        let (mut sent, mut refused, mut refused_bytes) = (Sent::All, 0, 0);
        for (at, datagram) in node.datagrams(batch).enumerate().skip(from) {
            match self.send_one(to, datagram) {
                Outcome::Sent => {}
                Outcome::Refused => {
                    refused += 1;
                    refused_bytes += datagram.len();
                }
                Outcome::Blocked => {
                    sent = Sent::Blocked(at);
                    break;
                }
            }
        }
        if refused > 0 {
            node.not_sent(batch, refused, refused_bytes);
        }
        sent
    }

    fn send_one(&mut self, to: SocketAddr, datagram: &[u8]) -> Outcome {
        let socket = self.socket.get_ref();
        let outcome = self.segments.send_one(socket, to, datagram);
        self.refused += u64::from(outcome == Outcome::Refused);
        outcome
    }

    /// An IPv4 address as a socket of both families wants it.
    fn outward(&self, to: SocketAddr) -> SocketAddr {
        match (self.local, to) {
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()))
            }
            _ => to,
        }
    }

    /// Ready when something has come since [`Udp::receive`] found nothing more.
    pub fn poll_arrival(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_arrival(context).map(drop)
    }

    /// Ready when the socket takes more.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_writable(context).map(drop)
    }
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

fn open(address: SocketAddr, device: Option<&str>) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn refused(address: SocketAddr, device: Option<&str>, error: &io::Error) -> Failure {
    let what: String = match (error.kind(), device) {
        (ErrorKind::AddrInUse, _) => {
            format!("{address} is taken by another program; name another port")
        }
        (ErrorKind::AddrNotAvailable, _) => format!("{address} is not an address of this machine"),
        (_, Some(device)) if error.raw_os_error() == Some(NO_DEVICE) => {
            format!("there is no network device {device}")
        }
        (ErrorKind::PermissionDenied, Some(device)) => {
            format!("the system lets only root bind to the device {device} (Linux before 5.7)")
        }
        _ => format!("{address} cannot be bound: {error}"),
    };
    Failure::runtime("--bind", what)
}

/// An address at which others may find a socket bound to `local`: where it is bound to all addresses, the one this
/// machine would use to reach the Internet (nothing is sent to find out), else its loopback.
pub fn reachable_at(local: SocketAddr) -> SocketAddr {
    let bound = SocketAddr::new(local.ip().to_canonical(), local.port());
    if !bound.ip().is_unspecified() {
        return bound;
    }
    // A documentation address (RFC 5737): routed like any public one.
    let probe = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    let ip = probe().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn heard(udp: &mut Udp) -> Vec<(Addr, Vec<u8>)> {
        let mut heard = Vec::new();
        let readable = core::future::poll_fn(|context| udp.poll_arrival(context));
        super::super::reactor::block_on(readable).unwrap();
        udp.receive(|from, bytes| heard.push((from, bytes.to_vec())));
        heard
    }

    #[test]
    fn one_socket_speaks_both_families_and_names_ipv4_plainly() {
        let Ok(mut both) = Udp::bind(&"[::]:0".parse().unwrap(), true) else {
            return; // A machine without IPv6.
        };
        let mut v4 = Udp::bind(&"127.0.0.1:0".parse().unwrap(), true).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, both.local().port()));
        assert_eq!(v4.send_one(to, b"there"), Outcome::Sent);
        let (from, bytes) = heard(&mut both).remove(0);
        assert_eq!(
            (from, bytes.as_slice()),
            (Addr::udp(v4.local()), &b"there"[..])
        );
        let back = both.outward(from.socket().unwrap());
        assert_eq!(both.send_one(back, b"and back"), Outcome::Sent);
        assert_eq!(heard(&mut v4).remove(0).1, b"and back");
        assert!(Udp::reaches(both.local(), v4.local()));
        assert!(!Udp::reaches(v4.local(), both.local()));
    }

    #[test]
    fn buffers_follow_the_stream_within_bounds() {
        assert_eq!(buffer_bytes(64_000), MIN_BUFFER_BYTES);
        assert_eq!(buffer_bytes(4_000_000), 1 << 18);
        assert_eq!(buffer_bytes(u64::MAX), MAX_BUFFER_BYTES);
        assert_eq!(kernel_bytes(2_000_000), 1 << 18);
        let udp = Udp::bind(&"127.0.0.1:0".parse().unwrap(), true).unwrap();
        let had = || socket2::SockRef::from(udp.socket.get_ref()).recv_buffer_size();
        let before = had().unwrap();
        udp.set_buffers((buffer_bytes(2_000_000), MIN_BUFFER_BYTES));
        // The system doubles what it is told, and gives no more than its owner allows.
        assert!(had().unwrap() > before);
    }

    #[test]
    fn a_taken_port_is_said_and_not_passed_over() {
        let first = Udp::bind(&"127.0.0.1:0".parse().unwrap(), true).unwrap();
        let other = "127.0.0.1:0".parse().unwrap();
        let both = Place {
            addresses: [first.local(), other].into(),
            device: None,
        };
        let error = Udp::bind(&both, true).err().unwrap();
        assert_eq!(error.exit_status(), 1);
        let text = error.to_string();
        assert!(
            text.starts_with("--bind: ") && text.contains(&first.local().to_string()),
            "{text}"
        );
    }

    #[test]
    fn what_has_no_route_is_counted_and_lost() {
        let mut udp = Udp::bind(&"127.0.0.1:0".parse().unwrap(), true).unwrap();
        // Port 0 cannot be sent to.
        let nowhere = "127.0.0.1:0".parse().unwrap();
        assert_eq!(udp.send_one(nowhere, b"x"), Outcome::Refused);
        assert_eq!(udp.refused, 1);
    }

    #[test]
    fn a_wildcard_is_found_at_an_address_of_this_machine() {
        let at = reachable_at("[::]:8479".parse().unwrap());
        assert!(!at.ip().is_unspecified());
        assert_eq!(at.port(), 8479);
        let bound = "127.0.0.1:5".parse().unwrap();
        assert_eq!(reachable_at(bound), bound);
    }
}
