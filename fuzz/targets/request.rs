//! The head of a request, as the page's and players' port gets it, and what is asked of it.

use weir::http::request::{MAX_HEAD_BYTES, Parsed, Request, percent_decode, query_decode};
use weir::http::route::{Route, host_allowed, route, same_origin};

pub fn run(bytes: &[u8]) {
    let Parsed::Complete {
        request,
        head_bytes,
    } = Request::parse(bytes)
    else {
        return;
    };
    assert!(head_bytes <= bytes.len() && head_bytes <= MAX_HEAD_BYTES);
    // No beginning of it is another head.
    for cut in [head_bytes / 2, head_bytes - 1] {
        assert!(!matches!(
            Request::parse(&bytes[..cut]),
            Parsed::Complete { .. }
        ));
    }
    look(&request);
}

fn look(request: &Request<'_>) {
    let mut out = [0; 256];
    let _ = request.basic_auth(&mut out);
    let _ = percent_decode(request.path, &mut out);
    let _ = query_decode(request.query, &mut out);
    let _ = request.query_value("ago");
    let _ = same_origin(request);
    if let Route::Stream { key, .. } = route(request) {
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
    // Nobody gets in by a name that is not a box's, with a port or without.
    if host_allowed(request.host, &["radio.example"]) {
        let host = request.host.unwrap_or("").to_ascii_lowercase();
        let name = host
            .rsplit_once(':')
            .map_or(host.as_str(), |(name, _)| name);
        assert!(!name.ends_with("evil.example"), "{host}");
    }
}
