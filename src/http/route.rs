//! What a request asks for.

use crate::http::request::{Method, Request};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What a request asks for; texts borrow from the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route<'a> {
    /// `/`
    Page,
    /// `/live`: the changing part of the page, for its script.
    Live,
    /// `/control`: the only one that takes POST, and nothing else.
    Control,
    /// `/status.json`
    StatusJson,
    /// `/status.txt`, with colours and bars for `?terminal`.
    StatusText {
        /// For a terminal.
        for_terminal: bool,
    },
    /// `/metrics`
    Metrics,
    /// `/healthz`
    Healthz,
    /// `/playlist.m3u`
    PlaylistM3u,
    /// `/streams/KEY`, live, or so long ago (`?ago=30s`).
    Stream {
        /// The key as sent, not yet known to be a stream of ours.
        key: &'a str,
        /// Time shift.
        ago_ms: Option<u64>,
    },
    /// `/streams/KEY/index.m3u8`
    HlsPlaylist {
        /// The key as sent.
        key: &'a str,
    },
    /// `/streams/KEY/seg/init.mp4`
    HlsInit {
        /// The key as sent.
        key: &'a str,
    },
    /// `/streams/KEY/seg/NUMBER` with any extension.
    HlsSegment {
        /// The key as sent.
        key: &'a str,
        /// Number of the segment: the block it begins in.
        block: u64,
    },
    /// Answer 400.
    BadRequest,
    /// Answer 404.
    NotFound,
    /// Answer 405.
    MethodNotAllowed,
}

/// Longest key that is looked up: 32 bytes in base32 are 52 characters.
pub const MAX_KEY_BYTES: usize = 64;

/// What `request` asks for. HEAD is routed like GET.
pub fn route<'a>(request: &Request<'a>) -> Route<'a> {
    let route = match request.path {
        "/" => Route::Page,
        "/live" => Route::Live,
        "/control" => Route::Control,
        "/status.json" => Route::StatusJson,
        "/status.txt" => Route::StatusText {
            for_terminal: request.query_value("terminal").is_some(),
        },
        "/metrics" => Route::Metrics,
        "/healthz" => Route::Healthz,
        "/playlist.m3u" => Route::PlaylistM3u,
        path => match path.strip_prefix("/streams/") {
            Some(rest) => stream_route(rest, request),
            None => Route::NotFound,
        },
    };
    match (route, request.method) {
        (Route::Control, Method::Post) => route,
        (Route::Control, _) => Route::MethodNotAllowed,
        (Route::NotFound, _) | (_, Method::Get | Method::Head) => route,
        _ => Route::MethodNotAllowed,
    }
}

fn stream_route<'a>(rest: &'a str, request: &Request<'a>) -> Route<'a> {
    let (key, below) = rest.split_once('/').unwrap_or((rest, ""));
    let is_key =
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_key {
        return Route::NotFound;
    }
    match below {
        "" if rest.len() == key.len() => match request.query_value("ago") {
            None => Route::Stream { key, ago_ms: None },
            Some(ago) => parse_ago(ago).map_or(Route::BadRequest, |ago_ms| Route::Stream {
                key,
                ago_ms: Some(ago_ms),
            }),
        },
        "index.m3u8" => Route::HlsPlaylist { key },
        "seg/init.mp4" => Route::HlsInit { key },
        _ => match below.strip_prefix("seg/").and_then(segment_number) {
            Some(block) => Route::HlsSegment { key, block },
            None => Route::NotFound,
        },
    }
}

/// The number in `123.ts`.
fn segment_number(name: &str) -> Option<u64> {
    let (number, _) = name.split_once('.')?;
    whole_number(number)
}

/// Reads `1500ms`, `30s`, `2m` or `1h` as milliseconds; a bare number is seconds.
pub fn parse_ago(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    whole_number(number)?.checked_mul(unit_ms)
}

fn whole_number(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// Whether a request that changes something comes from our own page. Browsers say where it comes from (Fetch metadata, and
/// Origin, RFC 6454 section 7); other programs say nothing and need the token all the same.
pub fn same_origin(request: &Request<'_>) -> bool {
    let site = request.fetch_site.is_none_or(|site| site == "same-origin");
    let origin = request.origin.is_none_or(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some() && authority == request.host
    });
    site && origin
}

/// Whether a Host header may be answered: an IP address, `localhost`, a name of the LAN (`*.local`, `*.lan`, `*.home.arpa`, a
/// single label) or one of `allowed`. A page on the web that rebinds its own name to this box's address is refused. No header
/// at all is fine: browsers always send one.
pub fn host_allowed<S: AsRef<str>>(host: Option<&str>, allowed: &[S]) -> bool {
    let Some(host) = host else { return true };
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    if let Some(v6) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        return v6.parse::<Ipv6Addr>().is_ok();
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    let is_port = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    is_name
        && is_port
        && (is_local_name(name)
            || allowed
                .iter()
                .any(|allowed| allowed.as_ref().eq_ignore_ascii_case(name)))
}

/// Names that nobody on the public Internet can own: RFC 6761 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), and `lan`,
/// which routers use and the root zone does not have.
fn is_local_name(name: &str) -> bool {
    let ends_with = |suffix: &str| {
        name.len()
            .checked_sub(suffix.len())
            .and_then(|at| name.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    !name.contains('.')
        || [".localhost", ".local", ".lan", ".home.arpa"]
            .into_iter()
            .any(ends_with)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Parsed;
    use crate::rng::Rng;
    use std::format;
    use std::string::String;

    const KEY: &str = "mfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrg";

    fn of(method: &str, target: &str, check: impl Fn(Route<'_>)) {
        let text = format!("{method} {target} HTTP/1.1\r\n\r\n");
        match Request::parse(text.as_bytes()) {
            Parsed::Complete { request, .. } => check(route(&request)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_path_of_the_design() {
        for (target, route) in [
            ("/", Route::Page),
            ("/?x", Route::Page),
            ("/live?viewer=7", Route::Live),
            ("/status.json", Route::StatusJson),
            (
                "/status.txt",
                Route::StatusText {
                    for_terminal: false,
                },
            ),
            (
                "/status.txt?terminal",
                Route::StatusText { for_terminal: true },
            ),
            ("/metrics", Route::Metrics),
            ("/healthz", Route::Healthz),
            ("/playlist.m3u", Route::PlaylistM3u),
        ] {
            of("GET", target, |found| assert_eq!(found, route, "{target}"));
            of("HEAD", target, |found| assert_eq!(found, route, "{target}"));
            of("POST", target, |found| {
                assert_eq!(found, Route::MethodNotAllowed, "{target}")
            });
        }
    }

    #[test]
    fn control_is_posted() {
        of("POST", "/control", |found| {
            assert_eq!(found, Route::Control)
        });
        for method in ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"] {
            of(method, "/control", |found| {
                assert_eq!(found, Route::MethodNotAllowed, "{method}")
            });
        }
    }

    #[test]
    fn streams_now_and_a_while_ago() {
        for (query, ago_ms) in [
            ("", None),
            ("?ago=30s", Some(30_000)),
            ("?x=y&ago=1500ms", Some(1_500)),
            ("?ago=2m", Some(120_000)),
        ] {
            of("GET", &format!("/streams/{KEY}{query}"), |found| {
                assert_eq!(found, Route::Stream { key: KEY, ago_ms })
            });
        }
        for bad in [
            "?ago=",
            "?ago=s",
            "?ago=-1s",
            "?ago=+1s",
            "?ago=1d",
            "?ago=99999999999999999999s",
            "?ago=18446744073709551615h",
        ] {
            of("GET", &format!("/streams/{KEY}{bad}"), |found| {
                assert_eq!(found, Route::BadRequest, "{bad}")
            });
        }
        of("GET", &format!("/streams/{KEY}/index.m3u8"), |found| {
            assert_eq!(found, Route::HlsPlaylist { key: KEY })
        });
        of("GET", &format!("/streams/{KEY}/seg/12.ts"), |found| {
            assert_eq!(
                found,
                Route::HlsSegment {
                    key: KEY,
                    block: 12
                }
            );
        });
        for map in ["seg/init.mp4", "seg/init.mp4?1838967071744"] {
            of("GET", &format!("/streams/{KEY}/{map}"), |found| {
                assert_eq!(found, Route::HlsInit { key: KEY })
            });
        }
        let long = "a".repeat(MAX_KEY_BYTES + 1);
        for bad in [
            "",
            "/",
            "//",
            "..",
            "a%20b",
            "a/",
            "a/b",
            "a/seg/x.ts",
            "a/seg/1",
            "a/seg/+1.ts",
            &long,
        ] {
            of("GET", &format!("/streams/{bad}"), |found| {
                assert_eq!(found, Route::NotFound, "{bad}")
            });
        }
        for bad in [
            "*",
            "/favicon.ico",
            "/status.json/",
            "//status.json",
            "/STATUS.JSON",
        ] {
            of("GET", bad, |found| {
                assert_eq!(found, Route::NotFound, "{bad}")
            });
        }
    }

    #[test]
    fn only_our_own_page_may_change_anything() {
        let from = |headers: &str| {
            let text = format!("POST /control HTTP/1.1\r\nHost: box.lan:8480\r\n{headers}\r\n");
            match Request::parse(text.as_bytes()) {
                Parsed::Complete { request, .. } => same_origin(&request),
                other => panic!("{other:?}"),
            }
        };
        assert!(from(""));
        assert!(from(
            "Origin: http://box.lan:8480\r\nSec-Fetch-Site: same-origin\r\n"
        ));
        for foreign in [
            "Origin: http://evil.example\r\n",
            "Origin: http://box.lan\r\n",
            "Origin: null\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\nOrigin: http://box.lan:8480\r\n",
        ] {
            assert!(!from(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_rebound_name_is_refused() {
        let none: [&str; 0] = [];
        for host in [
            "127.0.0.1",
            "127.0.0.1:8480",
            "[::1]",
            "[::1]:8480",
            "[fe80::1]:8480",
            "localhost",
            "LOCALHOST:8480",
            "box",
            "box.lan:80",
            "Box.Local",
            "box.local.",
            "a.home.arpa",
        ] {
            assert!(host_allowed(Some(host), &none), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8480",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "xlan.evil",
            "[::1",
            "[x]",
            "",
            ":80",
            "a b",
            "box:99999999",
            "box.lan:8a",
            "box/x",
            "\u{e9}.lan",
        ] {
            assert!(!host_allowed(Some(host), &none), "{host}");
        }
        assert!(host_allowed(None, &none));
        assert!(host_allowed(Some("Radio.Example:80"), &["radio.example"]));
    }

    #[test]
    fn random_targets_never_panic() {
        let mut rng = Rng::new(9);
        let parts = [
            "/",
            "streams/",
            "a",
            "?ago=",
            "9999999999",
            "ms",
            "h",
            "seg/",
            ".ts",
            "%",
            "[",
            "]",
            ":",
            ".lan",
            "\u{e9}",
            "&",
        ];
        let none: [&str; 0] = [];
        let mut routed = 0;
        for _ in 0..20_000 {
            let text: String = (0..rng.below(8))
                .map(|_| parts[rng.below(parts.len() as u64) as usize])
                .collect();
            let _ = (parse_ago(&text), host_allowed(Some(&text), &none));
            let head = format!("GET /{text} HTTP/1.1\r\n\r\n");
            if let Parsed::Complete { request, .. } = Request::parse(head.as_bytes()) {
                routed += u32::from(route(&request) != Route::NotFound);
            }
        }
        assert!(routed > 20, "{routed}");
    }
}
