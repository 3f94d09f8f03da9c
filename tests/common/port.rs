//! Ports for programs that must be told one before they start.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below all that the kernel gives to whoever asks for any (`ip_local_port_range`): between the look and the program's own
/// bind, another node's or a connection's port would otherwise fall on it.
const FIRST: u16 = 20_000;
const PORTS: u16 = 10_000;

/// A port of the loopback, free for TCP and UDP, that nobody else in this process was given.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run side by side begin far apart.
    let start = (std::process::id() as u16).wrapping_mul(40_503);
    let ports = (0..PORTS).map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST + start.wrapping_add(step) % PORTS
    });
    let is_free = |port: &u16| {
        let at = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok()
    };
    ports.into_iter().find(is_free).expect("a free port")
}
