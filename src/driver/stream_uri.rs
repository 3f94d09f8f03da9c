//! How a stream is named: `weir://host:port[,host:port…]/KEY`.

use super::base32;
use std::fmt;
use std::format;
use std::str::FromStr;
use std::string::{String, ToString};
use std::vec::Vec;

/// Most places a URI may name to begin at.
pub const MAX_HOSTS: usize = 8;

/// A host name or address and a UDP port, not yet looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The UDP port, never 0.
    pub port: u16,
}

/// A stream's key and where to ask for it first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamUri {
    /// At most [`MAX_HOSTS`] places to begin at; none where somebody is wired to this box.
    pub hosts: Vec<HostPort>,
    /// The stream's Ed25519 public key.
    pub key: [u8; 32],
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not HOST:PORT; write for example radio.example.org:8479");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            None if is_name(host) => host,
            _ => return Err(wrong()),
        };
        if port == 0 {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_string(),
            port,
        })
    }
}

/// A host name of RFC 1123 section 2.1 (underscores let through, as resolvers do) or an IPv4 address.
fn is_name(host: &str) -> bool {
    let characters = |label: &str| {
        label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253
        && host
            .split('.')
            .all(|label| (1..=63).contains(&label.len()) && characters(label))
}

impl FromStr for StreamUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("{text:?} {why}; a stream is weir://HOST:PORT[,HOST:PORT...]/KEY");
        let rest = text
            .strip_prefix("weir://")
            .ok_or_else(|| wrong("does not begin with weir://"))?;
        let (hosts, key) = rest
            .split_once('/')
            .ok_or_else(|| wrong("has no /KEY at its end"))?;
        let key = base32::decode_key(key)
            .ok_or_else(|| wrong("ends in something that is not a key of 52 letters and digits"))?;
        let mut named: Vec<HostPort> = Vec::new();
        for host in hosts.split(',').filter(|_| !hosts.is_empty()) {
            let wrong = |_| wrong(&format!("names {host:?}, which is not HOST:PORT"));
            named.push(host.parse().map_err(wrong)?);
        }
        if named.len() > MAX_HOSTS {
            return Err(wrong(&format!("names more than {MAX_HOSTS} hosts")));
        }
        Ok(Self { hosts: named, key })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for StreamUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("weir://")?;
        for (i, host) in self.hosts.iter().enumerate() {
            let before = if i == 0 { "" } else { "," };
            write!(f, "{before}{host}")?;
        }
        write!(f, "/{}", base32::encode(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";

    #[test]
    fn reads_and_prints_the_same() {
        for hosts in [
            "radio.example.org:8479",
            "192.0.2.1:1",
            "[2001:db8::1]:8479,10.0.0.1:65535",
            "",
        ] {
            let text = format!("weir://{hosts}/{KEY}");
            let uri: StreamUri = text.parse().unwrap();
            assert_eq!(uri.to_string(), text);
            assert_eq!(uri.key[..4], [0, 1, 2, 3]);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = [
            (format!("http://a:1/{KEY}"), "does not begin with weir://"),
            ("weir://a:1".to_string(), "has no /KEY"),
            ("weir://a:1/short".to_string(), "not a key of 52"),
            (format!("weir://a:1/{KEY}/"), "not a key of 52"),
            (format!("weir://a/{KEY}"), "not HOST:PORT"),
            (format!("weir://a:0/{KEY}"), "not HOST:PORT"),
            (format!("weir://a:1,/{KEY}"), "not HOST:PORT"),
            (format!("weir://::1:1/{KEY}"), "not HOST:PORT"),
            (format!("weir://[a]:1/{KEY}"), "not HOST:PORT"),
            (format!("weir://a b:1/{KEY}"), "not HOST:PORT"),
            (
                format!("weir://a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1/{KEY}"),
                "more than 8",
            ),
        ];
        for (text, why) in wrong {
            let error = text.parse::<StreamUri>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
