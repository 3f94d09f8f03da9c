//! The name of a stream: `weir://host:port[,host:port…]/KEY`, KEY in base32 (RFC 4648 section 6) without padding.

use core::fmt;
use data_encoding::{BASE32_NOPAD_NOCASE, Encoding};

/// Characters of a key in base32.
pub const KEY_CHARS: usize = 52;

/// How keys are written, and read in either case: one table for both.
pub(crate) const BASE32: Encoding = BASE32_NOPAD_NOCASE;

/// Why a URI cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UriError {
    /// Does not begin with `weir://`.
    Scheme,
    /// No `/KEY`.
    NoKey,
    /// The key is not 52 characters of base32.
    Key,
    /// A host without a port, or an empty one.
    Host,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a stream's URI begins with weir://",
            Self::NoKey => "the key is missing; write weir://host:port/KEY",
            Self::Key => "the key must be 52 letters and digits (base32)",
            Self::Host => "each host needs a port; write host:port, several with commas between",
        })
    }
}

impl core::error::Error for UriError {}

/// A stream's URI; borrows the text it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uri<'a> {
    /// The stream's public key.
    pub key: [u8; 32],
    hosts: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a URI.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let rest = text
            .trim()
            .strip_prefix("weir://")
            .ok_or(UriError::Scheme)?;
        let (hosts, key) = rest.rsplit_once('/').ok_or(UriError::NoKey)?;
        let key = decode_key(key).ok_or(UriError::Key)?;
        if !hosts.split(',').all(host_has_port) {
            return Err(UriError::Host);
        }
        Ok(Self { key, hosts })
    }

    /// The hosts, each `name:port`, `1.2.3.4:port` or `[v6]:port`.
    pub fn hosts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.hosts.split(',')
    }
}

fn host_has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, port)| {
        let name_fits = if name.contains(':') {
            name.starts_with('[') && name.ends_with(']')
        } else {
            !name.is_empty()
        };
        name_fits && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// A key as text: lower-case base32.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyText([u8; KEY_CHARS]);

impl KeyText {
    /// The text of a key.
    pub fn new(key: &[u8; 32]) -> Self {
        let mut out = [0; KEY_CHARS];
        BASE32.encode_mut(key, &mut out);
        out.make_ascii_lowercase();
        Self(out)
    }

    /// As a string slice.
    pub fn as_str(&self) -> &str {
        // Base32 is ASCII.
        core::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The key a text names, in either case; `None` if it is not one.
pub fn decode_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != KEY_CHARS || BASE32.decode_len(text.len()) != Ok(key.len()) {
        return None;
    }
    BASE32
        .decode_mut(text.as_bytes(), &mut key)
        .ok()
        .map(|_| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4648_vector() {
        // RFC 4648 section 10, without the padding.
        let vectors = [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ];
        for (plain, text) in vectors {
            let (mut out, mut back) = ([0; 10], [0; 6]);
            let out = &mut out[..BASE32.encode_len(plain.len())];
            BASE32.encode_mut(plain.as_bytes(), out);
            assert_eq!(out, text.as_bytes());
            for text in [text.to_uppercase(), text.to_lowercase()] {
                let back = &mut back[..plain.len()];
                let read = BASE32.decode_mut(text.as_bytes(), back);
                assert_eq!((read, &*back), (Ok(plain.len()), plain.as_bytes()));
            }
        }
        let refused = |text: &str| {
            BASE32.decode_len(text.len()).is_err()
                || BASE32.decode_mut(text.as_bytes(), &mut [0; 1]).is_err()
        };
        assert!(refused("mz"), "two unused bits that are set");
        assert!(refused("mzx"), "a length no bytes have");
        assert!(refused("m1"), "1 is not in the alphabet");
    }

    #[test]
    fn keys_round_trip_in_either_case() {
        let key = core::array::from_fn(|i| (i * 7) as u8);
        let text = KeyText::new(&key);
        assert_eq!(decode_key(text.as_str()), Some(key));
        assert_eq!(decode_key(&text.as_str().to_uppercase()), Some(key));
        assert_eq!(decode_key("é"), None);
        assert_eq!(decode_key(&text.as_str()[1..]), None);
    }

    #[test]
    fn uris() {
        let key = KeyText::new(&[9; 32]);
        let text = std::format!("weir://radio.example:8479,[2001:db8::1]:8479,10.0.0.1:9/{key}");
        let uri = Uri::parse(&text).unwrap();
        assert_eq!(uri.key, [9; 32]);
        assert!(
            uri.hosts()
                .eq(["radio.example:8479", "[2001:db8::1]:8479", "10.0.0.1:9"])
        );
        let bad = |hosts: &str| Uri::parse(&std::format!("weir://{hosts}/{key}")).unwrap_err();
        for hosts in ["", "a", "a:", "a:0", "a:99999", "2001:db8::1:8479", "a:1,"] {
            assert_eq!(bad(hosts), UriError::Host, "{hosts}");
        }
        assert_eq!(Uri::parse("http://x:1/y").unwrap_err(), UriError::Scheme);
        assert_eq!(Uri::parse("weir://x:1").unwrap_err(), UriError::NoKey);
        assert_eq!(Uri::parse("weir://x:1/short").unwrap_err(), UriError::Key);
    }
}
