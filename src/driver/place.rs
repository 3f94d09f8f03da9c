//! Where a UDP socket is to be: at an address, or on one network device, whatever its addresses are.

use super::config::DEFAULT_UDP_PORT;
use super::values::address;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;
use std::format;
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;

/// Longest name of a network device (`IFNAMSIZ` without its end).
const MAX_DEVICE_BYTES: usize = 15;

/// Where one socket is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The first of these that can be bound.
    pub addresses: Vec<SocketAddr>,
    /// Datagrams leave and come by this network device only.
    pub device: Option<String>,
}

impl Place {
    /// Every address of both families on one socket, or of IPv4 alone where the machine has no IPv6.
    pub fn anywhere(port: u16) -> Self {
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Self {
            addresses: [v6, v4].into(),
            device: None,
        }
    }

    /// Whether two sockets could not be at these both.
    pub fn is_same(&self, other: &Self) -> bool {
        let port = |place: &Self| place.addresses.first().map_or(0, SocketAddr::port);
        self == other && port(self) != 0
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self {
            addresses: [address].into(),
            device: None,
        }
    }
}

impl FromStr for Place {
    type Err = String;

    /// `ADDR:PORT`, `%DEVICE` or `%DEVICE:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(device) = text.strip_prefix('%') else {
            return address(text).map(Self::from).map_err(|why| {
                let is_device = is_device(text) && Path::new("/sys/class/net").join(text).exists();
                match is_device {
                    true => format!("{text:?} is a network device; write %{text}"),
                    false => why,
                }
            });
        };
        let (device, port) = match device.rsplit_once(':') {
            Some((device, port)) => (device, port.parse().ok().filter(|port| *port != 0)),
            None => (device, Some(DEFAULT_UDP_PORT)),
        };
        match port {
            Some(port) if is_device(device) => Ok(Self {
                device: Some(device.to_string()),
                ..Self::anywhere(port)
            }),
            _ => Err(format!(
                "{text:?} is not a network device; write %DEVICE or %DEVICE:PORT, for example %wan0:8479"
            )),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(", else "))?;
        match &self.device {
            Some(device) => write!(f, " on {device}"),
            None => Ok(()),
        }
    }
}

/// What the kernel takes as a name (`dev_valid_name`).
fn is_device(name: &str) -> bool {
    let good = |c: char| c.is_ascii_graphic() && !"/:%,".contains(c);
    (1..=MAX_DEVICE_BYTES).contains(&name.len()) && name.chars().all(good) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_device_and_nothing_else() {
        let text = |text: &str| text.parse::<Place>().map(|place| place.to_string());
        assert_eq!(text("192.0.2.1:9"), Ok("192.0.2.1:9".into()));
        assert_eq!(
            text("%pppoe-wan"),
            Ok("[::]:8479, else 0.0.0.0:8479 on pppoe-wan".into())
        );
        assert_eq!(
            text("%br-lan.2:9000"),
            Ok("[::]:9000, else 0.0.0.0:9000 on br-lan.2".into())
        );
        for wrong in [
            "%",
            "%:1",
            "%wan:",
            "%wan:0",
            "%wan:70000",
            "%wan:x",
            "%a/b",
            "%..",
            "%sixteen-letters-",
            "wan7",
            "%ü",
        ] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            text("lo"),
            Err("\"lo\" is a network device; write %lo".into())
        );
    }
}
