//! The addresses a user types for an input, taken apart (RFC 3986, the few parts that are needed).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::str::FromStr;
use std::format;
use std::path::PathBuf;
use std::string::String;
use std::vec::Vec;

use crate::error::Malformed;
use crate::http::client::{HttpUrl, write_get};

/// Where a stream comes from. Read with [`FromStr`]; shown without its password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// `-`: standard input.
    Stdin,
    /// A path: a file, a named pipe or a device.
    File(PathBuf),
    /// `http://[user:password@]host[:port]/path`: an existing stream is fetched.
    HttpPull(PullUrl),
    /// `icecast://user:password@ADDR:PORT/mount`: an encoder pushes to us.
    Icecast(Mount),
    /// `udp://ADDR:PORT`: datagrams, to one host or to a group.
    Udp(UdpAddress),
}

/// An `http://` address that was found in order. It is shown without its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct PullUrl(String);

/// A place where an encoder may push a stream, and what it has to say to be let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// The only user, and the password.
    pub credentials: Credentials,
    /// The name or address to listen on, IPv6 without its brackets.
    pub host: String,
    /// 8000 unless written, as Icecast has it.
    pub port: u16,
    /// Decoded, with the leading slash.
    pub path: String,
}

/// Where datagrams are awaited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpAddress {
    /// The address bound to: one of ours, or a multicast group that is joined.
    pub address: SocketAddr,
    /// For a group: the interface's name or index, or for IPv4 its address. The system chooses if it is not given.
    pub interface: Option<String>,
}

/// A user's name and password. The password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name, decoded.
    pub user: String,
    /// The password, decoded.
    pub password: String,
}

/// An input that cannot be understood: the user is to blame, and is told what would be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotAnInput {
    text: String,
    advice: &'static str,
}

impl fmt::Display for NotAnInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "input `{}`: {}", self.text, self.advice)
    }
}

impl core::error::Error for NotAnInput {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:…", self.user)
    }
}

impl FromStr for Input {
    type Err = NotAnInput;

    fn from_str(text: &str) -> Result<Self, NotAnInput> {
        match parse(text) {
            Ok(input) => Ok(input),
            Err(advice) => Err(NotAnInput {
                text: without_credentials(text),
                advice,
            }),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::HttpPull(url) => write!(f, "{url}"),
            Self::Icecast(mount) => write!(f, "{mount}"),
            Self::Udp(udp) => write!(f, "{udp}"),
        }
    }
}

impl fmt::Display for PullUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.parts().map_err(|_| fmt::Error)?;
        write!(f, "http://{}{}", HostPort(url.host, url.port), url.target)
    }
}

impl fmt::Debug for PullUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "icecast://{}{}",
            HostPort(&self.host, self.port),
            self.path
        )
    }
}

impl fmt::Display for UdpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = (self.address.ip(), self.address.port());
        match (&self.interface, ip) {
            (None, _) => write!(f, "udp://{}", self.address),
            (Some(interface), IpAddr::V4(ip)) => write!(f, "udp://{ip}%{interface}:{port}"),
            (Some(interface), IpAddr::V6(ip)) => write!(f, "udp://[{ip}%{interface}]:{port}"),
        }
    }
}

/// A host and a port as they are written in an address, brackets around IPv6.
pub(super) struct HostPort<'a>(pub &'a str, pub u16);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains(':') {
            true => write!(f, "[{}]:{}", self.0, self.1),
            false => write!(f, "{}:{}", self.0, self.1),
        }
    }
}

impl PullUrl {
    /// What it is made of; it was parsed once already.
    pub fn parts(&self) -> Result<HttpUrl<'_>, Malformed> {
        HttpUrl::parse(&self.0)
    }

    /// Where a `Location` header leads from here. The credentials stay only with the server they were given for.
    /// `Err` says why it cannot be followed.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, &'static str> {
        const NO_ADDRESS: &str = "the server redirects to something that is not an address";
        let scheme = location
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("https") => return Err(REDIRECT_TO_TLS),
            Some("http") | None => {}
            Some(_) => return Err("the server redirects to something other than http://"),
        }
        let from = self.parts().map_err(|_| NO_ADDRESS)?;
        let mut text = [0; MAX_URL_BYTES];
        let text = from.redirect(location, &mut text).map_err(|_| NO_ADDRESS)?;
        let to = HttpUrl::parse(text).map_err(|_| NO_ADDRESS)?;
        let same_server = (to.host, to.port) == (from.host, from.port);
        let userinfo = to.userinfo.or(from.userinfo.filter(|_| same_server));
        let (at, userinfo) = userinfo.map_or(("", ""), |userinfo| ("@", userinfo));
        Ok(Self(format!(
            "http://{userinfo}{at}{}{}",
            HostPort(to.host, to.port),
            to.target
        )))
    }
}

/// Longest address that is followed, and longest request for one.
const MAX_URL_BYTES: usize = 2_048;

/// Why a redirect to TLS is not followed.
pub(super) const REDIRECT_TO_TLS: &str = "the server redirects to https://, which weir cannot fetch: put it through \
     `ffmpeg -i https://… -c copy -f … -` or a local proxy";

const HTTP_FORM: &str = "write http://[user:password@]host[:port]/path";
const ICECAST_FORM: &str = "write icecast://user:password@ADDR:PORT/mount";
const UDP_FORM: &str = "write udp://ADDR:PORT with an IP address, such as udp://0.0.0.0:5000, udp://239.1.1.1:5000 or \
     udp://[ff15::1%eth0]:5000";

fn parse(text: &str) -> Result<Input, &'static str> {
    if text.is_empty() {
        return Err("nothing is named; write -, a file, http://…, icecast://… or udp://…");
    }
    if text == "-" {
        return Ok(Input::Stdin);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(Input::File(text.into()));
    };
    match &*scheme.to_ascii_lowercase() {
        "http" => http(text).map(Input::HttpPull),
        "icecast" => icecast(rest).map(Input::Icecast),
        "udp" | "rtp" => udp(rest).map(Input::Udp),
        "file" => match rest.strip_prefix("localhost").unwrap_or(rest) {
            path if path.starts_with('/') => {
                Ok(Input::File(decoded(path).ok_or("not UTF-8")?.into()))
            }
            _ => Err("a file's address has three slashes; write its path alone"),
        },
        "https" => Err(
            "weir does not speak TLS; put it through `ffmpeg -i https://… -c copy -f … - | weir source --input -`, \
             or fetch it through a local proxy with http://",
        ),
        _ => Err("this scheme is not known; write -, a file, http://…, icecast://… or udp://…"),
    }
}

fn http(text: &str) -> Result<PullUrl, &'static str> {
    let url = HttpUrl::parse(text).map_err(|_| HTTP_FORM)?;
    let mut request = [0; MAX_URL_BYTES];
    match write_get(&url, "", &mut request) {
        Ok(_) => Ok(PullUrl(text.into())),
        Err(_) => Err(
            "the address is too long, or its user and password are not percent-encoded as they should be",
        ),
    }
}

fn icecast(rest: &str) -> Result<Mount, &'static str> {
    let (authority, path) = split_path(rest);
    let (credentials, host_port) = split_credentials(authority).ok_or(ICECAST_FORM)?;
    let (host, port) = split_port(host_port).ok_or(ICECAST_FORM)?;
    let mut credentials = credentials.ok_or(
        "a password must be given, or anybody could push; write icecast://user:password@ADDR:PORT/mount",
    )?;
    if credentials.password.is_empty() {
        return Err("the password is empty; write icecast://user:password@ADDR:PORT/mount");
    }
    if credentials.user.is_empty() {
        credentials.user = "source".into();
    }
    if host.is_empty() || !is_host(host) {
        return Err(
            "the address to listen on is missing; 0.0.0.0 or [::] is every one of this machine's, 127.0.0.1 this machine only",
        );
    }
    if path.len() < 2 || path.contains(['?', '#']) {
        return Err("the mount is missing; write icecast://user:password@ADDR:PORT/mount");
    }
    let path = decoded(path).ok_or(ICECAST_FORM)?;
    Ok(Mount {
        credentials,
        host: host.into(),
        port: port.unwrap_or(8000),
        path,
    })
}

fn udp(rest: &str) -> Result<UdpAddress, &'static str> {
    let (authority, path) = split_path(rest);
    if !matches!(path, "" | "/") {
        return Err(UDP_FORM);
    }
    // VLC writes udp://SENDER@GROUP:PORT, mostly with nobody before the @. Choosing senders is not done here.
    let host_port = match authority.split_once('@') {
        Some(("", host_port)) => host_port,
        Some(_) => {
            return Err(
                "a sender before the @ is not understood; write udp://@GROUP:PORT or udp://GROUP:PORT",
            );
        }
        None => authority,
    };
    let (host, port) = split_port(host_port).ok_or(UDP_FORM)?;
    let port = port
        .filter(|&port| port != 0)
        .ok_or("the port is missing; write udp://ADDR:PORT")?;
    let (host, interface) = match host.split_once('%') {
        Some((_, "")) => return Err("the interface after % is missing"),
        // RFC 6874 writes the % of a zone as %25.
        Some((host, zone)) => (
            host,
            Some(
                zone.strip_prefix("25")
                    .filter(|z| !z.is_empty())
                    .unwrap_or(zone),
            ),
        ),
        None => (host, None),
    };
    let ip: IpAddr = match host {
        "" => Ipv4Addr::UNSPECIFIED.into(),
        _ => host.parse().map_err(|_| UDP_FORM)?,
    };
    Ok(UdpAddress {
        address: SocketAddr::new(ip, port),
        interface: interface.map(String::from),
    })
}

/// What stands before the first `/` or `?`, and the rest from there on.
fn split_path(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// `user:password@` taken off and decoded. The last `@` counts, so that a password may hold one.
fn split_credentials(authority: &str) -> Option<(Option<Credentials>, &str)> {
    let Some((userinfo, host_port)) = authority.rsplit_once('@') else {
        return Some((None, authority));
    };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let credentials = Credentials {
        user: decoded(user)?,
        password: decoded(password)?,
    };
    Some((Some(credentials), host_port))
}

/// `host`, `host:port` or `[v6]:port`; `None` if the port is not one or the brackets do not fit.
fn split_port(host_port: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match host_port.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']')?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        },
    };
    match port {
        Some(digits) if !digits.is_empty() => Some((host, Some(digits.parse().ok()?))),
        _ => Some((host, None)),
    }
}

fn is_host(host: &str) -> bool {
    host.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._:%".contains(&b))
}

/// Percent-decoded (RFC 3986 section 2.1); `None` if what comes out is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    String::from_utf8(percent_decoded(text, false)).ok()
}

/// Percent-decoded bytes; a `%` that is not followed by two digits stays as it is. In a form, `+` is a space.
pub(super) fn percent_decoded(text: &str, form: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4 | l, after))
            }
            _ => None,
        };
        match escaped {
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None if form && *first == b'+' => out.push(b' '),
            None => out.push(*first),
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// For an error line: whatever stands between the scheme and the last `@` may hold a password.
fn without_credentials(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn input(text: &str) -> Input {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    fn error(text: &str) -> String {
        text.parse::<Input>().expect_err(text).to_string()
    }

    #[test]
    fn stdin_and_files() {
        assert_eq!(input("-"), Input::Stdin);
        assert_eq!(input("a:b/c.ogg"), Input::File("a:b/c.ogg".into()));
        assert_eq!(input("file:///tmp/a%20b"), Input::File("/tmp/a b".into()));
    }

    #[test]
    fn http_addresses() {
        let Input::HttpPull(url) = input("http://me:p%40s:s@[::1]:8000/live.ogg?x=1#f") else {
            panic!()
        };
        let parts = url.parts().unwrap();
        assert_eq!(
            (parts.host, parts.port, parts.target),
            ("::1", 8000, "/live.ogg?x=1")
        );
        assert_eq!(parts.userinfo, Some("me:p%40s:s"));
        assert_eq!(
            format!("{url} {url:?}"),
            "http://[::1]:8000/live.ogg?x=1 http://[::1]:8000/live.ogg?x=1"
        );
        for bad in [
            "http://",
            "http:///x",
            "http://a:99999/",
            "http://[::1/x",
            "http://a b/",
            "http://a/\r\nX: y",
        ] {
            assert!(error(bad).contains("http://[user"), "{bad}");
        }
    }

    #[test]
    fn redirects() {
        let Input::HttpPull(url) = input("http://u:p@a.example:8000/x/y?z=1") else {
            panic!()
        };
        let to = |location: &str| url.redirected(location).map(|url| url.0);
        assert_eq!(to("/b").unwrap(), "http://u:p@a.example:8000/b");
        assert_eq!(to("b?c").unwrap(), "http://u:p@a.example:8000/x/b?c");
        assert_eq!(to("//c.example/d").unwrap(), "http://c.example:80/d");
        assert!(to("https://a.example/").unwrap_err().contains("ffmpeg"));
        assert!(to("ftp://a.example/").is_err());
        assert!(to("/a\r\nb").is_err());
        // A password goes to no other server.
        assert_eq!(to("http://c.example/").unwrap(), "http://c.example:80/");
        assert_eq!(to("http://a.example/").unwrap(), "http://a.example:80/");
        assert_eq!(
            to("http://v:q@c.example/").unwrap(),
            "http://v:q@c.example:80/"
        );
        assert_eq!(
            to("http://a.example:8000/q").unwrap(),
            "http://u:p@a.example:8000/q"
        );
    }

    #[test]
    fn icecast_mounts() {
        let Input::Icecast(mount) = input("icecast://source:s@cret@127.0.0.1:8001/live%20one.mp3")
        else {
            panic!()
        };
        assert_eq!(
            (&*mount.host, mount.port, &*mount.path),
            ("127.0.0.1", 8001, "/live one.mp3")
        );
        assert_eq!(mount.credentials.password, "s@cret");
        assert!(!format!("{mount} {mount:?}").contains("cret"));
        let Input::Icecast(mount) = input("icecast://:pw@[::]/x") else {
            panic!()
        };
        assert_eq!(
            (&*mount.host, mount.port, &*mount.credentials.user),
            ("::", 8000, "source")
        );
        assert!(error("icecast://127.0.0.1:8000/x").contains("password"));
        assert!(error("icecast://source@127.0.0.1:8000/x").contains("password"));
        assert!(error("icecast://source:pw@127.0.0.1:8000/").contains("mount"));
        assert!(error("icecast://source:pw@:8000/x").contains("0.0.0.0"));
        let shown = error("icecast://source:hush@127.0.0.1:8000/");
        assert!(
            !shown.contains("hush") && shown.contains("127.0.0.1:8000"),
            "{shown}"
        );
    }

    #[test]
    fn udp_addresses() {
        let cases = [
            ("udp://127.0.0.1:5000", "127.0.0.1:5000", None),
            ("udp://@239.1.1.1:1234", "239.1.1.1:1234", None),
            ("udp://239.1.1.1%eth0:1234/", "239.1.1.1:1234", Some("eth0")),
            (
                "udp://239.1.1.1%192.0.2.2:1234/",
                "239.1.1.1:1234",
                Some("192.0.2.2"),
            ),
            ("udp://[ff15::1%eth0]:5000", "[ff15::1]:5000", Some("eth0")),
            (
                "udp://[ff15::1%25eth0]:5000",
                "[ff15::1]:5000",
                Some("eth0"),
            ),
            ("udp://[::]:5000", "[::]:5000", None),
            ("udp://@:1234", "0.0.0.0:1234", None),
            ("rtp://@:1234", "0.0.0.0:1234", None),
        ];
        for (text, address, interface) in cases {
            let Input::Udp(udp) = input(text) else {
                panic!("{text}")
            };
            assert_eq!(udp.address, address.parse().unwrap(), "{text}");
            assert_eq!(udp.interface.as_deref(), interface, "{text}");
            assert_eq!(input(&udp.to_string()), Input::Udp(udp));
        }
        for bad in [
            "udp://",
            "udp://127.0.0.1",
            "udp://127.0.0.1:0",
            "udp://host:5",
            "udp://10.0.0.1@239.1.1.1:5",
            "udp://1.2.3.4:5/x",
            "udp://[::1%]:5",
        ] {
            assert!(error(bad).starts_with("input `udp://"), "{bad}");
        }
    }

    #[test]
    fn what_is_not_spoken_is_refused_with_advice() {
        assert!(error("https://u:pw@radio.example/x").contains("ffmpeg"));
        assert!(!error("https://u:pw@radio.example/x").contains("pw"));
        assert!(error("rtmp://a/b").contains("icecast://"));
        assert!(error("").contains("http://"));
    }

    #[test]
    fn decoding_never_fails_on_odd_percent_signs() {
        assert_eq!(percent_decoded("a%2fb%zz%4+%", true), b"a/b%zz%4 %");
        assert_eq!(percent_decoded("%", false), b"%");
        assert_eq!(percent_decoded("+", false), b"+");
    }
}
