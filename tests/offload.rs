//! Many datagrams in one system call, and what happens where the kernel cannot: the bytes are the same. Kernels that
//! refuse are made by strace, which answers system calls in their place (the test needs it installed).

#[allow(dead_code, reason = "other tests use more of it")]
mod common;

use common::{Node, Scratch, assert_part_of, feed_random, weir};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

const BPS: u64 = 2_000_000;

/// Enough that every kind of batch has been sent.
const ENOUGH_BYTES: usize = 1_000_000;

/// The program with these system calls answered wrongly.
fn on_a_kernel_that(inject: &str) -> Command {
    let program = weir();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", inject, "--"]);
    command.arg(program.get_program()).env("WEIR_LOG", "info");
    command
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A source, a relay of this kind, and a listener that knows only the relay: what it says is what the source was given. The relay's log.
fn plays_over(mut relay: Command, extra: &[&str]) -> String {
    let scratch = Scratch::new("offload");
    let key = scratch.key("stream.key");
    let mut source = Node::start(&[
        "source",
        "--key",
        &key,
        "--input",
        "-",
        "--bitrate",
        "2Mbit",
        "--content-type",
        "application/octet-stream",
    ]);
    let uri = source.first_line();
    let sent = Arc::<Mutex<Vec<u8>>>::default();
    let taken = sent.clone();
    source.feed(move |pipe| feed_random(BPS, 60, taken, pipe));
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
    relay.log.lock().unwrap().clone()
}

#[test]
fn as_this_kernel_does_it() {
    let log = plays_over(weir(), &[]);
    assert!(!log.contains("one by one"), "{log}");
}

#[test]
fn switched_off() {
    plays_over(weir(), &["--offload", "off"]);
}

#[test]
fn on_a_kernel_without_the_options() {
    plays_over(on_a_kernel_that("inject=setsockopt:error=ENOPROTOOPT"), &[]);
}

#[test]
fn with_a_card_that_cannot() {
    let log = plays_over(
        on_a_kernel_that("inject=sendmsg:error=EIO:when=20..40"),
        &[],
    );
    assert!(log.contains("one by one"), "{log}");
}
