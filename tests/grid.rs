//! The program as a grid: sources, relays, listeners and players as real processes over real sockets.

#[allow(dead_code, reason = "other tests use more of it")]
mod common;

use common::{Node, Scratch, assert_part_of, exchange, feed_random, get, weir};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What was given to a source so far.
type Sent = Arc<Mutex<Vec<u8>>>;

/// A source of random bytes, its URI, and what it was given.
fn source(scratch: &Scratch, name: &str, bps: u64, more: &[&str]) -> (Node, String, Sent) {
    let key = scratch.key(name);
    let arguments = ["source", "--key", &key, "--input", "-", "--name", name];
    let mut node = Node::start(&[&arguments, more].concat());
    let uri = node.first_line();
    let sent = Sent::default();
    let copy = sent.clone();
    node.feed(move |pipe| feed_random(bps, 120, copy, pipe));
    (node, uri, sent)
}

fn key_of(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap()
}

#[test]
fn a_listener_behind_a_relay_has_the_very_bytes_and_so_has_a_player() {
    let scratch = Scratch::new("exact");
    let (source, uri, sent) = source(&scratch, "one", 800_000, &["--bitrate", "800kbit"]);
    assert_eq!(
        uri,
        format!("weir://{}/{}", source.udp, key_of(&uri)),
        "the bound address"
    );
    let relay = Node::start(&["relay", &uri]);
    let through_relay = format!("weir://{}/{}", relay.udp, key_of(&uri));
    let mut listener = Node::start(&["listen", &through_relay]);
    let wanted = 400_000;
    listener.hear(|out| out.len() > wanted);
    let at = assert_part_of(&listener.heard, &sent.lock().unwrap());
    let digest = |bytes: &[u8]| Sha256::digest(&bytes[..wanted]);
    assert_eq!(digest(&listener.heard), digest(&sent.lock().unwrap()[at..]));

    let target = format!("GET /streams/{} HTTP/1.0\r\n\r\n", key_of(&uri));
    for node in [&source, &relay, &listener] {
        let answer = exchange(node.http, &target, 150_000);
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(answer.head.contains("icy-name: one\r\n"), "{}", answer.head);
        assert_part_of(&answer.body, &sent.lock().unwrap());
    }
    let status = listener.wait_until("live", |s| s["streams"][0]["state"] == "live");
    let stream = &status["streams"][0];
    assert_eq!(stream["key"], key_of(&uri));
    assert_eq!(stream["bitrate_bps"], 800_000);
    assert_eq!(
        (&stream["gaps_total"], &stream["missing_bytes_total"]),
        (&0.into(), &0.into())
    );
    assert!(stream["stripes"].as_array().unwrap().len() > 4);
    assert!(status["memory"]["heap_live_bytes"].as_u64().unwrap() > 1 << 20);
}

#[test]
fn one_relay_carries_two_streams() {
    let scratch = Scratch::new("two");
    let (_one, first, sent_first) = source(&scratch, "one", 400_000, &[]);
    let (_two, second, sent_second) = source(&scratch, "two", 200_000, &["--bitrate", "200kbit"]);
    let relay = Node::start(&["relay", &first, &second]);
    for (uri, sent) in [(&first, sent_first), (&second, sent_second)] {
        let through = format!("weir://{}/{}", relay.udp, key_of(uri));
        let mut listener = Node::start(&["listen", &through]);
        listener.hear(|out| out.len() > 60_000);
        assert_part_of(&listener.heard, &sent.lock().unwrap());
    }
    let list = get(relay.http, "/playlist.m3u", "Host: 127.0.0.1\r\n");
    let list = String::from_utf8(list.body).unwrap();
    assert!(
        list.contains(key_of(&first)) && list.contains(key_of(&second)),
        "{list}"
    );
}

#[test]
fn a_signal_ends_everybody_within_a_second() {
    let scratch = Scratch::new("signal");
    let (mut source, uri, _) = source(&scratch, "one", 400_000, &[]);
    let mut relay = Node::start(&["relay", &uri]);
    let mut listener = Node::start(&["listen", &uri]);
    listener.hear(|out| out.len() > 20_000);
    let mut player = std::net::TcpStream::connect(relay.http).unwrap();
    let target = format!("GET /streams/{} HTTP/1.0\r\n\r\n", key_of(&uri));
    player.write_all(target.as_bytes()).unwrap();
    relay.wait_until("played", |s| {
        s["players"][0]["tx_bytes_total"].as_u64() > Some(0)
    });
    for (node, signal) in [
        (&mut relay, "INT"),
        (&mut listener, "TERM"),
        (&mut source, "TERM"),
    ] {
        let before = Instant::now();
        node.signal(signal);
        let status = node.wait(Duration::from_secs(3));
        assert_eq!(status.code(), Some(0));
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "{:?}",
            before.elapsed()
        );
    }
}

#[test]
fn a_goodbye_is_heard_at_once() {
    let scratch = Scratch::new("bye");
    let (source, uri, _) = source(&scratch, "one", 400_000, &[]);
    let relay = Node::start(&["relay", &uri]);
    source.wait_until("met", |s| s["peers"].as_array().unwrap().len() == 1);
    relay.signal("TERM");
    let said = Instant::now();
    source.wait_until("alone", |s| s["peers"].as_array().unwrap().is_empty());
    assert!(
        said.elapsed() < Duration::from_secs(1),
        "{:?}",
        said.elapsed()
    );
}

#[test]
fn a_source_ends_with_its_input() {
    let scratch = Scratch::new("end");
    let key = scratch.key("key");
    let mut source = Node::start(&[
        "source",
        "--key",
        &key,
        "--input",
        "-",
        "--bitrate",
        "400kbit",
    ]);
    let uri = source.first_line();
    let mut listener = Node::start(&["listen", &uri]);
    let sent = Sent::default();
    let copy = sent.clone();
    source.feed(move |pipe| feed_random(400_000, 4, copy, pipe));
    assert_eq!(source.wait(common::DEADLINE).code(), Some(0));
    let sent = sent.lock().unwrap().clone();
    listener.hear(|out| out.ends_with(&sent[sent.len() - 64..]));
    assert_part_of(&listener.heard, &sent);
}

#[test]
fn a_reader_that_leaves_ends_a_listener_quietly() {
    let scratch = Scratch::new("pipe");
    let (_source, uri, _) = source(&scratch, "one", 400_000, &[]);
    let listener = weir()
        .args(["listen", &uri, "--bind", "127.0.0.1:0"])
        .args(["--http", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut listener = common::Killed(listener);
    let mut some = [0; 4_096];
    let mut stdout = listener.0.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut some).unwrap();
    drop(stdout);
    let status = common::wait(&mut listener.0, common::DEADLINE);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn http_answers_as_it_should() {
    let scratch = Scratch::new("http");
    let (source, uri, _) = source(&scratch, "one", 400_000, &["--max-players", "1"]);
    source.wait_until("live", |s| s["streams"][0]["state"] == "live");
    let status = |request: &str| exchange(source.http, request, usize::MAX).status;
    let host = "Host: 127.0.0.1\r\n\r\n";
    for (target, expected) in [
        ("GET /", 200),
        ("HEAD /", 200),
        ("GET /status.txt", 200),
        ("GET /metrics", 200),
        ("GET /healthz", 200),
        ("GET /nothing", 404),
        ("GET /streams/aaaa", 404),
        ("POST /", 405),
    ] {
        assert_eq!(
            status(&format!("{target} HTTP/1.1\r\n{host}")),
            expected,
            "{target}"
        );
    }
    assert_eq!(
        status("GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n"),
        421
    );
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n{host}", "x".repeat(5_000));
    assert_eq!(status(&long), 431);
    assert_eq!(status("\u{1}\u{2}\r\n\r\n"), 400);
    let path = format!("/streams/{}", key_of(&uri));
    let head = exchange(
        source.http,
        &format!("HEAD {path} HTTP/1.1\r\n{host}"),
        usize::MAX,
    );
    assert_eq!((head.status, head.body.len()), (200, 0));

    let icy = format!("GET {path} HTTP/1.0\r\nIcy-MetaData: 1\r\n\r\n");
    let answer = exchange(source.http, &icy, 16_001);
    assert!(
        answer.head.contains("icy-metaint: 16000\r\n"),
        "{}",
        answer.head
    );
    assert_eq!(answer.body[16_000], 0, "no title, so an empty block");

    let mut player = std::net::TcpStream::connect(source.http).unwrap();
    player
        .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
        .unwrap();
    source.wait_until("played", |s| s["players"].as_array().unwrap().len() == 1);
    let full = get(source.http, &path, "Host: 127.0.0.1\r\n");
    assert_eq!(full.status, 503);
    assert!(full.head.contains("Retry-After"), "{}", full.head);
    drop(player);
    source.wait_until("left", |s| s["players"].as_array().unwrap().is_empty());
}

#[test]
fn taken_ports_are_said_in_one_line() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = "weir://127.0.0.1:9/aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";
    let (udp, tcp) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let free = "127.0.0.1:0";
    for (bind, http, flag, address) in [
        (&*udp.to_string(), free, "--bind", udp),
        (free, &*tcp.to_string(), "--http", tcp),
    ] {
        let output = weir()
            .args(["relay", uri, "--bind", bind, "--http", http])
            .env("WEIR_LOG", "off")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        let start = format!("weir: {flag}: {address} is taken");
        assert!(
            text.starts_with(&start) && text.lines().count() == 1,
            "{text}"
        );
    }
}

#[test]
fn the_demonstration_loses_a_relay_and_no_byte() {
    let output = weir()
        .args([
            "demo",
            "--for",
            "15s",
            "--relays",
            "3",
            "--http",
            "127.0.0.1:0",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("is killed") && text.contains("all as in the loop"),
        "{text}"
    );
}
