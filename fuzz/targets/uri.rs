//! A stream's address, as people paste it.

use weir::wire::uri::{KeyText, Uri, decode_key};

pub fn run(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Some(key) = decode_key(text) {
        assert_eq!(decode_key(KeyText::new(&key).as_str()), Some(key));
    }
    if let Ok(uri) = Uri::parse(text) {
        assert!(uri.hosts().all(|host| text.contains(host)));
    }
}
