//! What a server answers to a source that pulls its stream, and where it sends it on to.

use weir::http::client::{HttpUrl, ParsedResponse, ResponseHead, write_get};

pub fn run(bytes: &[u8]) {
    if let Ok(text) = core::str::from_utf8(bytes) {
        follow(text);
    }
    if let ParsedResponse::Complete { head, head_bytes } = ResponseHead::parse(bytes) {
        assert!(head_bytes <= bytes.len());
        head.location.into_iter().for_each(follow);
    }
}

/// A URL that a server gave is asked for as it is, or not at all.
fn follow(location: &str) {
    let here = HttpUrl::parse("http://radio.example:8000/live?x=1").expect("a good one");
    let mut out = [0; 512];
    let Ok(url) = here.redirect(location, &mut out) else {
        return;
    };
    let Ok(url) = HttpUrl::parse(url) else {
        return;
    };
    let mut head = [0; 2_048];
    if let Ok(len) = write_get(&url, "0", &mut head) {
        let head = core::str::from_utf8(&head[..len]).expect("text of text");
        assert!(head.ends_with("\r\n\r\n"));
        // No line of a stranger's making.
        let known = [
            "GET ",
            "Host: ",
            "User-Agent: ",
            "Accept: ",
            "Icy-MetaData: ",
            "Connection: ",
            "Authorization: ",
        ];
        let mut lines = head.trim_end().split("\r\n");
        assert!(
            lines.all(|line| known.iter().any(|begin| line.starts_with(begin))),
            "{head}"
        );
    }
}
