//! The page from outside: who is answered, who may control, and what crowds and rude clients cost.

#[allow(dead_code)]
mod common;

use common::{DEADLINE, Node, Scratch, exchange, feed_random, get};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A source of random bytes, and its key.
fn source(scratch: &Scratch, more: &[&str]) -> (Node, String) {
    let key = scratch.key("key");
    let arguments = [
        "source",
        "--key",
        &key,
        "--input",
        "-",
        "--name",
        "Shed <b>Radio",
        "--bitrate",
        "400kbit",
    ];
    let mut node = Node::start(&[&arguments, more].concat());
    let uri = node.first_line();
    node.feed(move |pipe| feed_random(400_000, 120, Arc::<Mutex<Vec<u8>>>::default(), pipe));
    (node, uri)
}

fn post(at: SocketAddr, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "POST /control HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    );
    let answer = exchange(at, &request, usize::MAX);
    (answer.status, String::from_utf8(answer.body).unwrap())
}

#[test]
fn a_page_that_anybody_can_read() {
    let scratch = Scratch::new("page");
    let (source, _) = source(&scratch, &[]);
    source.wait_until("live", |s| s["streams"][0]["state"] == "live");
    let page = get(source.http, "/", "Host: localhost\r\n");
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("On the air: Shed &lt;b&gt;Radio"), "{text}");
    for header in [
        "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
        "frame-ancestors 'none'",
        "X-Content-Type-Options: nosniff",
    ] {
        assert!(page.head.contains(header), "{}", page.head);
    }
    assert!(!page.head.contains("Access-Control"), "{}", page.head);
    let live = get(source.http, "/live?viewer=1", "");
    assert!(
        String::from_utf8(live.body)
            .unwrap()
            .starts_with("<div id=live ")
    );
    let status = source.status();
    assert_eq!(
        status["verdict"].as_str().unwrap().split(';').next(),
        Some("On the air: Shed <b>Radio, with no listeners yet")
    );
}

#[test]
fn four_watch_live_and_the_fifth_is_told_to_wait() {
    let scratch = Scratch::new("viewers");
    let (source, _) = source(&scratch, &[]);
    let live = |viewer: u32| get(source.http, &format!("/live?viewer={viewer}"), "").status;
    for viewer in [1, 2, 3, 4, 1, 2, 3, 4] {
        assert_eq!(live(viewer), 200);
    }
    assert_eq!((live(5), live(4)), (503, 200));
    assert_eq!(
        get(source.http, "/", "").status,
        200,
        "the page itself is for all"
    );
}

#[test]
fn a_name_from_elsewhere_is_refused_unless_configured() {
    let scratch = Scratch::new("hosts");
    let (source, _) = source(
        &scratch,
        &["--http-hosts", "radio.example.org,other.example"],
    );
    let status = |host: &str| get(source.http, "/status.json", &format!("Host: {host}\r\n")).status;
    for host in [
        "127.0.0.1",
        "box.lan:8480",
        "radio.example.org",
        "Other.Example:80",
    ] {
        assert_eq!(status(host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "radio.example.org.evil.example",
        "127.0.0.1.evil.example",
    ] {
        assert_eq!(status(host), 421, "{host}");
    }
}

#[test]
fn control_takes_a_token_from_the_page_itself_and_does_what_it_says() {
    let scratch = Scratch::new("control");
    let token = scratch.path("token");
    std::fs::write(&token, "correct horse+battery\n").unwrap();
    let (source, uri) = source(&scratch, &[]);
    let relay = Node::start(&["relay", &uri, "--control-token", &token]);
    let through = format!("weir://{}/{}", relay.udp, uri.rsplit('/').next().unwrap());
    let mut listener = Node::start(&["listen", &through]);
    listener.hear(|out| out.len() > 50_000);
    let ours = "token=correct+horse%2Bbattery";
    let at = relay.http;

    // Without a token, with a wrong one, from another site, by GET, to a node where it is off: nothing happens.
    assert_eq!(post(at, "", "do=pause").0, 403);
    assert_eq!(post(at, "", "token=wrong&do=pause").0, 403);
    let foreign = "Origin: http://evil.example\r\n";
    assert_eq!(post(at, foreign, &format!("{ours}&do=pause")).0, 403);
    assert_eq!(
        post(
            at,
            "Sec-Fetch-Site: cross-site\r\n",
            &format!("{ours}&do=pause")
        )
        .0,
        403
    );
    assert_eq!(
        get(at, &format!("/control?{ours}&do=pause"), "").status,
        405
    );
    assert_eq!(post(source.http, "", &format!("{ours}&do=pause")).0, 403);
    assert_eq!(post(at, "", &format!("{ours}&do=explode")).0, 400);
    assert_eq!(post(at, "", &format!("{ours}&do=limit&limit=lots")).0, 400);
    assert_eq!(relay.status()["paused_s"], serde_json::Value::Null);

    let (status, said) = post(at, "", &format!("{ours}&do=pause&for=1h"));
    assert_eq!(
        (status, said.as_str()),
        (303, "Relaying is paused for 1 h 0 min.\n")
    );
    let paused = relay.wait_until("silent", |s| {
        s["streams"][0]["stripes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|stripe| stripe["children"] == 0)
    });
    assert!(paused["paused_s"].as_u64().unwrap() > 3_500);
    assert!(
        paused["verdict"]
            .as_str()
            .unwrap()
            .starts_with("Relaying is paused for another ")
    );
    assert_eq!(get(at, "/healthz", "").status, 200, "a pause is no illness");
    // The listener goes on by way of the source, and nothing is missing.
    let heard = listener.heard.len();
    listener.hear(|out| out.len() > heard + 100_000);
    assert_eq!(listener.status()["streams"][0]["gaps_total"], 0);

    assert_eq!(post(at, "", &format!("{ours}&do=resume")).0, 303);
    assert_eq!(
        post(at, "", &format!("{ours}&do=limit&limit=1500kbit")).0,
        303
    );
    let status = relay.status();
    assert_eq!(
        (&status["paused_s"], &status["upload"]["limit_bps"]),
        (&serde_json::Value::Null, &1_500_000.into())
    );

    let page = String::from_utf8(get(at, "/", "").body).unwrap();
    assert!(
        page.contains("The upload limit is 1.5Mbit now.") && page.contains("<form method=post")
    );
    assert!(!page.contains("battery"), "the token is shown nowhere");

    let key = uri.rsplit('/').next().unwrap();
    assert_eq!(post(at, "", &format!("{ours}&do=stop&stream={key}")).0, 303);
    relay.wait_until("stopped", |s| s["streams"][0]["state"] == "stopped");
    assert_eq!(get(at, &format!("/streams/{key}"), "").status, 503);
    assert_eq!(
        post(at, "", &format!("{ours}&do=start&stream={key}")).0,
        303
    );
    let player = exchange(at, &format!("GET /streams/{key} HTTP/1.0\r\n\r\n"), 50_000);
    assert_eq!(player.status, 200);
}

#[test]
fn rude_heads_are_refused_and_a_second_request_is_not_read() {
    let scratch = Scratch::new("rude");
    let (source, _) = source(&scratch, &[]);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(5_000));
    assert_eq!(exchange(source.http, &long, usize::MAX).status, 431);
    assert_eq!(
        exchange(source.http, "\u{16}\u{3}\u{1} hello\r\n\r\n", usize::MAX).status,
        400
    );
    let body = "x".repeat(2_000);
    assert_eq!(post(source.http, "", &body).0, 403, "control is off");
    let two =
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /status.json HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = exchange(source.http, two, usize::MAX);
    assert!(answer.head.contains("Connection: close"), "{}", answer.head);
    assert!(!String::from_utf8(answer.body).unwrap().contains("HTTP/1.1"));
}

#[test]
fn who_talks_on_where_nobody_listens_fills_no_memory_of_the_system() {
    let scratch = Scratch::new("junk");
    let (source, uri) = source(&scratch, &[]);
    let mut player = TcpStream::connect(source.http).unwrap();
    let key = uri.rsplit('/').next().unwrap();
    // The longest head, byte by byte, comes through.
    let mut head = format!("GET /streams/{key} HTTP/1.1\r\nHost: localhost\r\nX: ");
    head = format!("{head:x<4092}\r\n\r\n");
    player.set_nodelay(true).unwrap();
    for byte in head.bytes() {
        player.write_all(&[byte]).unwrap();
    }
    let mut answer = [0; 12];
    player.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    player.set_nonblocking(true).unwrap();
    let mut said = 0;
    while let Ok(some) = player.write(&[b'x'; 65_536]) {
        said += some;
    }
    let unread = unread_bytes(source.http, player.local_addr().unwrap());
    assert!(said > 16_384 && unread <= 16_384, "{unread} of {said}");
}

/// What waits in the system for a server to read it from a client (proc(5), `tcp`).
fn unread_bytes(server: SocketAddr, client: SocketAddr) -> u64 {
    let ends = [server, client].map(|end| format!("0100007F:{:04X}", end.port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let found = table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let here = fields.next()? == ends[0] && fields.next()? == ends[1];
        let (_, unread) = fields.nth(1).filter(|_| here)?.split_once(':')?;
        u64::from_str_radix(unread, 16).ok()
    });
    found.unwrap()
}

/// As many connections as a file descriptor limit of 1,024 leaves room for in this process.
fn crowd(at: SocketAddr, count: usize, say: &[u8]) -> Vec<TcpStream> {
    (0..count)
        .filter_map(|_| TcpStream::connect_timeout(&at, Duration::from_millis(200)).ok())
        .filter_map(|mut stream| stream.write_all(say).is_ok().then_some(stream))
        .collect()
}

#[test]
fn whatever_a_crowd_does_the_supervisor_is_answered_and_the_stream_flows() {
    let scratch = Scratch::new("crowd");
    let (source, uri) = source(&scratch, &["--max-players", "4"]);
    let mut listener = Node::start(&["listen", &uri]);
    listener.hear(|out| out.len() > 20_000);
    let allocated = || {
        source.status()["memory"]["heap_live_bytes"]
            .as_u64()
            .unwrap()
    };
    let before = allocated();
    // Those who say nothing, those who say a little for ever, and those who ask and do not read.
    for say in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut held = crowd(source.http, 300, say);
        let begin = Instant::now();
        let answer = get(source.http, "/healthz", "");
        assert_eq!(
            answer.status,
            200,
            "{:?}",
            String::from_utf8_lossy(&answer.body)
        );
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "{:?}",
            begin.elapsed()
        );
        // One byte more each: they do not keep their places by that.
        held.iter_mut()
            .for_each(|stream| drop(stream.write_all(b"T")));
        assert_eq!(get(source.http, "/healthz", "").status, 200);
        let heard = listener.heard.len();
        listener.hear(|out| out.len() > heard + 20_000);
    }
    // With the crowd gone everything is as before.
    let begin = Instant::now();
    while get(source.http, "/status.json", "").status != 200 {
        assert!(begin.elapsed() < DEADLINE, "the page stays busy");
    }
    assert_eq!(listener.status()["streams"][0]["gaps_total"], 0);
    let grown = allocated().saturating_sub(before);
    assert!(grown < 64 * 1_024, "{grown} bytes more on the heap");
}

/// `weir status --watch | head -1` must not go on asking for ever.
#[test]
fn a_watch_ends_when_nobody_reads_it() {
    let scratch = Scratch::new("watch");
    let (source, _) = source(&scratch, &[]);
    let at = format!("http://{}", source.http);
    let watch = common::weir()
        .args(["status", "--watch", "--at", &at])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut watch = common::Killed(watch);
    let mut out = watch.0.stdout.take().unwrap();
    out.read_exact(&mut [0; 16]).unwrap();
    drop(out);
    assert!(common::wait(&mut watch.0, DEADLINE).success());
}

#[test]
fn a_reader_of_one_byte_a_second_is_sent_away() {
    let scratch = Scratch::new("slow");
    let (source, _) = source(&scratch, &[]);
    let mut slow = TcpStream::connect(source.http).unwrap();
    slow.set_read_timeout(Some(DEADLINE)).unwrap();
    // A head that comes a byte at a time is cut off after five seconds.
    let begin = Instant::now();
    let mut said = 0;
    let refused = loop {
        if slow.write_all(b"G").is_err() {
            break true;
        }
        said += 1;
        slow.set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        match slow.read(&mut [0; 64]) {
            Ok(_) => break true,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break true,
            Err(_) => {}
        }
        if begin.elapsed() > DEADLINE {
            break false;
        }
    };
    assert!(
        refused && begin.elapsed() < Duration::from_secs(20),
        "{said} bytes in {:?}",
        begin.elapsed()
    );
}

/// Every document, a player's playlist, refusals, and heads that come in pieces: none takes memory, however often it is asked for.
#[test]
fn a_page_costs_no_memory() {
    let scratch = Scratch::new("thrift");
    let token = scratch.path("token");
    std::fs::write(&token, "correct horse+battery\n").unwrap();
    let (source, uri) = source(&scratch, &[]);
    let relay = Node::start(&["relay", &uri, "--control-token", &token]);
    relay.wait_until("acquainted", |s| s["streams"][0]["title"] != "");
    let at = relay.http;
    let key = uri.rsplit('/').next().unwrap();
    let playlist = format!("/streams/{key}/index.m3u8");
    let targets = [
        "/",
        "/live?viewer=1",
        "/status.json",
        "/status.txt",
        "/metrics",
        "/healthz",
        "/playlist.m3u",
        "/nothing",
        &playlist,
    ];
    let ask = |rounds: usize| {
        for target in targets.iter().cycle().take(rounds * targets.len()) {
            assert!(get(at, target, "").status > 0);
            in_pieces(at, target);
        }
    };
    // What is made once is made.
    ask(3);
    let of_a = |what: &dyn Fn()| {
        let allocations = || {
            relay.status()["memory"]["heap_allocations_total"]
                .as_u64()
                .unwrap()
        };
        let before = allocations();
        what();
        allocations() - before
    };
    assert!(
        of_a(&|| assert_eq!(post(at, "", "token=wrong&do=pause").0, 403)) > 0,
        "a wrong token is logged, and the line takes memory: the counter sees it"
    );
    // The node itself takes a little for names it looks up and lines it says: some stretch is free of that.
    let begin = Instant::now();
    let mut least = u64::MAX;
    while least > 0 {
        assert!(
            begin.elapsed() < DEADLINE,
            "at least {least} for 36 requests"
        );
        least = least.min(of_a(&|| ask(2)));
    }
    drop(source);
}

/// A request that comes in three pieces, each seen by itself.
fn in_pieces(at: SocketAddr, target: &str) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    for piece in ["GET ", target, " HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).unwrap();
        std::thread::yield_now();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 "), "{target}");
}
