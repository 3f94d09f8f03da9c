//! What the owner says about the page: who may be answered, who may control, and whether it is announced on the LAN.

use super::failure::Failure;
use super::settings::Settings;
use super::short_file;
use std::fmt;
use std::format;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::string::{String, ToString};
use std::vec::Vec;

/// Shorter tokens are guessed.
const MIN_TOKEN_BYTES: usize = 8;

/// A file with more than a token in it is the wrong file.
const MAX_TOKEN_BYTES: usize = 256;

/// Most names the page answers to.
const MAX_HOSTS: usize = 16;

/// Whether this node is announced on the LAN and looks for others there (RFC 6762).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Mdns {
    /// Unless it is bound to loopback only.
    #[default]
    Auto,
    /// Wherever it is bound to.
    On,
    /// Only looks: avahi or umdns says that it is there.
    Ask,
    /// Never.
    Off,
}

impl FromStr for Mdns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "ask" => Ok(Self::Ask),
            "off" => Ok(Self::Off),
            _ => Err(format!("{text:?} is not auto, on, ask or off")),
        }
    }
}

impl fmt::Display for Mdns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Ask => "ask",
            Self::Off => "off",
        })
    }
}

/// The page's part of the configuration.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Web {
    /// The file with the token that opens control; nothing: the page is read-only.
    pub control_token: Option<PathBuf>,
    /// Names it answers to beside addresses and names of the LAN.
    pub hosts: Vec<String>,
    /// It may answer at public addresses, and those who come from one.
    pub public: bool,
    /// Whether it is announced.
    pub mdns: Mdns,
}

impl Web {
    /// From what was given; `http` is where the page is to be.
    pub fn read(given: &Settings, http: SocketAddr) -> Result<Self, Failure> {
        let hosts: Vec<Vec<String>> = given.all("http-hosts", hosts)?;
        let hosts: Vec<String> = hosts.into_iter().flatten().collect();
        if let Some(origin) = given
            .origin("http-hosts")
            .filter(|_| hosts.len() > MAX_HOSTS)
        {
            return Err(Failure::usage(origin, format!("at most {MAX_HOSTS}")));
        }
        let public = given.origin("http-public").is_some();
        if !public && !http.ip().is_unspecified() && !is_near(http.ip()) {
            let what = format!(
                "{http} is a public address, and the page is for your own network; --http-public says that you mean it"
            );
            let culprit = given.origin("http").map(ToString::to_string);
            return Err(Failure::usage(culprit.unwrap_or_default(), what));
        }
        Ok(Self {
            control_token: given.one("control-token", super::values::path)?,
            hosts,
            public,
            mdns: given.one("mdns", str::parse)?.unwrap_or_default(),
        })
    }

    /// The token, if control is turned on.
    pub fn token(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.control_token else {
            return Ok(None);
        };
        let wrong =
            |what: &str| Failure::usage("--control-token", format!("{} {what}", file.display()));
        let text = read_short(file).map_err(|what| wrong(&what))?;
        let token = text.trim();
        match token.len() {
            ..MIN_TOKEN_BYTES => Err(wrong(
                "holds no token of 8 characters or more; make one with: head -c 15 /dev/urandom | base64",
            )),
            MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES if !token.contains(char::is_control) => {
                Ok(Some(token.to_string()))
            }
            _ => Err(wrong("is not a token on one line")),
        }
    }
}

fn read_short(file: &Path) -> Result<String, String> {
    short_file::read(file, 4_096).map_err(|error| format!("cannot be read: {error}"))
}

fn hosts(text: &str) -> Result<Vec<String>, String> {
    let host = |name: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        match name {
            "" => Err(String::from("\"\" is not a name")),
            name if name.len() <= 253 && name.bytes().all(legal) => Ok(name.to_string()),
            _ => Err(format!(
                "{name:?} is not a host's name; write for example radio.example.org"
            )),
        }
    };
    text.split(',').map(host).collect()
}

/// Whether an address is on this machine or its own networks: loopback, private (RFC 1918), link-local, unique local
/// (RFC 4193), or behind a provider's NAT (RFC 6598).
pub fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::settings::Origin;

    fn web(pairs: &[(&'static str, &str)], http: &str) -> Result<Web, String> {
        let mut given = Settings::default();
        for (name, text) in pairs {
            let texts = [text.to_string()].into();
            given.put(name, texts, Origin::Flag(name)).unwrap();
        }
        Web::read(&given, http.parse().unwrap()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_public_address_has_to_be_meant() {
        for near in [
            "127.0.0.1:1",
            "192.168.1.1:1",
            "[::1]:1",
            "0.0.0.0:1",
            "[::]:1",
            "[fd00::1]:1",
        ] {
            assert!(web(&[], near).is_ok(), "{near}");
        }
        for public in ["192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:8.8.8.8]:1"] {
            let refused = web(&[("http", public)], public).unwrap_err();
            assert!(
                refused.starts_with("--http: ") && refused.contains("--http-public"),
                "{refused}"
            );
            assert!(web(&[("http-public", "true")], public).unwrap().public);
        }
    }

    #[test]
    fn what_is_given_is_checked() {
        let good = web(&[("http-hosts", "a.example,b"), ("mdns", "off")], "[::]:1").unwrap();
        assert_eq!((good.hosts.len(), good.mdns), (2, Mdns::Off));
        for (name, bad) in [
            ("http-hosts", "a b"),
            ("http-hosts", "a,"),
            ("http-hosts", "http://x"),
            ("mdns", "yes"),
        ] {
            assert!(web(&[(name, bad)], "[::]:1").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_one_line_of_a_file() {
        let file = std::env::temp_dir().join(format!("weir-token-{}", std::process::id()));
        let web = Web {
            control_token: Some(file.clone()),
            ..Web::default()
        };
        assert!(
            web.token()
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
        for (text, is_good) in [
            ("correct horse\n", true),
            ("short\n", false),
            ("two lines\nof it all\n", false),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(web.token().is_ok(), is_good, "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(Web::default().token(), Ok(None));
    }
}
