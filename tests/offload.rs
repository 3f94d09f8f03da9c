//! Many datagrams in one system call, and what happens where the kernel cannot: the bytes are the same. Kernels that
//! refuse are made by strace, which answers system calls in their place (the test needs it installed).

#[allow(dead_code, reason = "other tests use more of it")]
mod common;

use common::{Node, Scratch, assert_part_of, random_source, weir};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const BPS: u64 = 1_000_000;

/// Enough that every kind of batch has been sent.
const ENOUGH_BYTES: usize = 500_000;

/// The program with these calls of one kind answered wrongly; only that kind passes through strace.
fn on_a_kernel_that(test: &str, call: &str, error: &str, when: &str) -> String {
    let program = weir();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"]);
    command.args(["-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:error={error}:when={when}")]);
    command
        .arg("--")
        .arg(program.get_program())
        .env("WEIR_LOG", "info")
        // strace is killed at the end of the test, and lets go what it watched.
        .env("WEIR_ENDS_WITH_PARENT", "1");
    plays_over(test, command, &[])
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A source, a relay of this kind, and a listener that knows only the relay: what it says is what the source was given. The relay's log.
fn plays_over(test: &str, mut relay: Command, extra: &[&str]) -> String {
    let scratch = Scratch::new(test);
    let (source, uri, sent) = random_source(&scratch, BPS, 60);
    relay
        .args([
            "relay",
            &uri,
            "--upload-limit",
            "unlimited",
            "--quota",
            "unlimited",
        ])
        .args(extra);
    let relay = Node::start_command(relay, anywhere());
    relay.wait_until("described", |status| status["streams"][0]["k"] != 0);
    let by_relay = uri.replace(&source.udp.to_string(), &relay.udp.to_string());
    let mut listener = Node::start(&["listen", &by_relay]);
    let heard = listener.hear(|heard| heard.len() >= ENOUGH_BYTES).to_vec();
    assert_part_of(&heard, &sent.lock().unwrap());
    let (log, place) = (relay.log.clone(), relay.udp);
    drop(relay);
    let deadline = Instant::now() + Duration::from_secs(10);
    while UdpSocket::bind(place).is_err() {
        assert!(Instant::now() < deadline, "a relay outlives its test");
        thread::sleep(Duration::from_millis(10));
    }
    log.lock().unwrap().clone()
}

#[test]
fn as_this_kernel_does_it() {
    let log = plays_over("offload-auto", weir(), &[]);
    assert!(!log.contains("one by one"), "{log}");
}

#[test]
fn switched_off() {
    plays_over("offload-off", weir(), &["--offload", "off"]);
}

#[test]
fn on_a_kernel_without_the_options() {
    // The first two size the socket's buffers; then come UDP_GRO, SO_RXQ_OVFL and UDP_SEGMENT.
    on_a_kernel_that("offload-old", "setsockopt", "ENOPROTOOPT", "3..5");
}

#[test]
fn with_a_card_that_cannot() {
    let log = on_a_kernel_that("offload-card", "sendmsg", "EIO", "20..40");
    assert!(log.contains("one by one"), "{log}");
}
