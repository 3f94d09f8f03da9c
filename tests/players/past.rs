//! Requests that want something else than now: a while ago, the head alone, a range.

use crate::rig::{Node, Scratch, ask, get, have, header, until};
use std::fs;

#[test]
fn a_player_may_begin_in_the_past() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = Scratch::new("past");
    // Nothing in noise is there twice: where a player began can be told.
    let file = workshop.encode("past.mp3", 40, "-map 1 -c:a libmp3lame -b:a 128k");
    let original = fs::read(&file).unwrap();
    let source = Node::source(&workshop.key("past"), &file, &[]);
    let key = source.key();
    let path = format!("/streams/{key}");
    // 16 kB a second: after ten seconds there are eight to go back to.
    until("ten seconds are there", || {
        let (head, _) = get(source.http, &format!("{path}?ago=1h"), "", 0);
        let ago: u64 = header(&head, "x-weir-ago-ms")?.parse().unwrap();
        (ago >= 10_000).then_some(())
    });
    let place = |query: &str| {
        let (head, body) = get(source.http, &format!("{path}{query}"), "", 4_000);
        let at = original.windows(4_000).position(|part| part == body);
        let ago = header(&head, "x-weir-ago-ms").map(|ms| ms.parse::<u64>().unwrap());
        (ago, at.unwrap())
    };
    let (none, live) = place("");
    let (ago, then) = place("?ago=8s");
    assert_eq!(none, None);
    assert!((8_000..9_200).contains(&ago.unwrap()), "{ago:?}");
    // A player without a wish begins two seconds back.
    let behind_s = (live - then) as f64 / 16_000.0;
    assert!((4.5..7.5).contains(&behind_s), "{behind_s} s");
    let (ago, then) = place("?ago=1h");
    assert!((10_000..40_000).contains(&ago.unwrap()), "{ago:?}");
    assert!(then < 20_000, "the oldest there is, but it is {then}");
    let (head, _) = get(source.http, &format!("{path}?ago=soon"), "", 0);
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
}

#[test]
fn a_head_takes_no_place_and_a_range_is_not_taken_literally() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let workshop = Scratch::new("head");
    let file = workshop.encode("head.mp3", 20, "-map 1 -c:a libmp3lame -b:a 128k");
    let more = ["--max-players", "1"];
    let source = Node::source(&workshop.key("head"), &file, &more);
    let key = source.key();
    source.wait_live(&key);
    let path = format!("/streams/{key}");
    for range in ["", "Range: bytes=0-\r\n", "Range: bytes=1000-1999\r\n"] {
        let (head, body) = get(source.http, &path, range, 3_000);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(header(&head, "accept-ranges"), Some("none"));
        assert_eq!(header(&head, "content-length"), None, "it has no end");
        assert_eq!(body.len(), 3_000);
        until("the player is gone", || {
            source.status()["players"]
                .as_array()?
                .is_empty()
                .then_some(())
        });
    }
    // The only place is taken; who asks for the head alone is answered all the same.
    let mut player = std::net::TcpStream::connect(source.http).unwrap();
    std::io::Write::write_all(
        &mut player,
        format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes(),
    )
    .unwrap();
    until("the player has its place", || {
        (source.status()["players"].as_array()?.len() == 1).then_some(())
    });
    let (head, _) = get(source.http, &path, "", 0);
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    let (head, body) = ask(source.http, "HEAD", &path, "Icy-MetaData: 1\r\n", 1);
    assert!(
        head.starts_with("HTTP/1.1 200") && body.is_empty(),
        "{head}"
    );
    assert_eq!(header(&head, "content-type"), Some("audio/mpeg"));
    assert_eq!(header(&head, "icy-metaint"), Some("16000"));
}
