//! Where a neighbour is: a UDP address, or the serial line it is wired to.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// The far end of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Addr {
    /// A UDP address. IPv4 is never written as a mapped IPv6 address here.
    Udp(SocketAddr),
    /// A byte stream (serial line), by its place in the configuration.
    Line(u8),
}

impl Addr {
    /// A UDP address in the one form the core compares: IPv4-mapped IPv6 becomes IPv4, flow and zone labels stay.
    pub fn udp(addr: SocketAddr) -> Self {
        Self::Udp(SocketAddr::new(addr.ip().to_canonical(), addr.port()).with_scope(addr))
    }

    /// The UDP address, if it is one.
    pub fn socket(self) -> Option<SocketAddr> {
        match self {
            Self::Udp(addr) => Some(addr),
            Self::Line(_) => None,
        }
    }

    /// Stable bytes that tell addresses apart: family, address, port. Used to key cookies.
    pub fn key_bytes(self) -> [u8; 19] {
        let mut out = [0; 19];
        match self {
            Self::Udp(addr) => {
                match addr.ip() {
                    IpAddr::V4(ip) => {
                        out[0] = 4;
                        out[1..5].copy_from_slice(&ip.octets());
                    }
                    IpAddr::V6(ip) => {
                        out[0] = 6;
                        out[1..17].copy_from_slice(&ip.octets());
                    }
                }
                out[17..].copy_from_slice(&addr.port().to_be_bytes());
            }
            Self::Line(line) => out[1] = line,
        }
        out
    }

    /// What nodes that fail together tend to share: the /16 of an IPv4 address, the /32 of an IPv6 one.
    pub fn prefix(self) -> u64 {
        match self {
            Self::Udp(addr) => match addr.ip() {
                IpAddr::V4(ip) => u64::from(u16::from_be_bytes([ip.octets()[0], ip.octets()[1]])),
                IpAddr::V6(ip) => {
                    1 << 32 | u64::from(ip.segments()[0]) << 16 | u64::from(ip.segments()[1])
                }
            },
            Self::Line(line) => 1 << 40 | u64::from(line),
        }
    }

    /// Whether it is this machine: no line leads there.
    pub fn is_here(self) -> bool {
        self.socket().is_some_and(|addr| addr.ip().is_loopback())
    }

    /// Whether the far end is on this machine or this network: such neighbours come first.
    pub fn is_local(self) -> bool {
        match self {
            Self::Udp(addr) => match addr.ip() {
                IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
                IpAddr::V6(ip) => {
                    ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local()
                }
            },
            Self::Line(_) => true,
        }
    }
}

trait WithScope {
    fn with_scope(self, from: SocketAddr) -> Self;
}

impl WithScope for SocketAddr {
    /// A link-local IPv6 address means nothing without the interface it was seen on.
    fn with_scope(mut self, from: SocketAddr) -> Self {
        if let (SocketAddr::V6(to), SocketAddr::V6(from)) = (&mut self, from) {
            to.set_scope_id(from.scope_id());
        }
        self
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(addr) => addr.fmt(f),
            Self::Line(line) => write!(f, "line {line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_one_with_their_ipv4_form() {
        let mapped = Addr::udp("[::ffff:10.1.2.3]:8479".parse().unwrap());
        assert_eq!(mapped, Addr::udp("10.1.2.3:8479".parse().unwrap()));
        assert!(mapped.is_local() && !mapped.is_here());
        assert!(Addr::udp("[::ffff:127.0.0.1]:8479".parse().unwrap()).is_here());
        assert_ne!(
            mapped.prefix(),
            Addr::udp("[2001:db8::1]:8479".parse().unwrap()).prefix()
        );
    }

    #[test]
    fn key_bytes_tell_families_and_ports_apart() {
        let a = Addr::udp("1.2.3.4:1".parse().unwrap()).key_bytes();
        let b = Addr::udp("1.2.3.4:2".parse().unwrap()).key_bytes();
        let c = Addr::udp("[102:304::]:1".parse().unwrap()).key_bytes();
        assert!(a != b && a != c);
    }
}
