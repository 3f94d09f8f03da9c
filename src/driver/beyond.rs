//! Clients beyond this network: what they are sent goes over the owner's line. It leaves when there is room for it, and is counted.

use super::reactor::Timer;
use super::reply::STUCK;
use super::view::Running;
use super::within::within;
use crate::http::response::MAX_RESPONSE_HEAD_BYTES;
use crate::proto::bucket::Urgency;
use crate::proto::node::Node;
use crate::time::Instant;
use crate::wire::addr::Addr;
use core::net::SocketAddr;
use core::time::Duration;
use std::boxed::Box;
use std::io;

/// The longest packet, headers and all.
const PACKET_BYTES: usize = 1_500;

/// Headers of a packet: IP, TCP, and its time stamps.
const V4_HEADER_BYTES: usize = 52;
const V6_HEADER_BYTES: usize = 72;

/// What SYN-ACK has more than that.
const SYN_BYTES: usize = 8;

/// Nobody goes on with less room than this: any head fits, and a packet.
const TURN_BYTES: usize = MAX_RESPONSE_HEAD_BYTES + 2 * V6_HEADER_BYTES;

/// While the line is full it is looked at again after this.
const PAUSE: Duration = Duration::from_millis(20);

fn header_bytes(to: Addr) -> usize {
    match to.socket() {
        Some(SocketAddr::V6(_)) => V6_HEADER_BYTES,
        _ => V4_HEADER_BYTES,
    }
}

/// Bytes on the line of so many that are written at once.
fn on_line(to: Addr, bytes: usize) -> usize {
    let header_bytes = header_bytes(to);
    bytes.saturating_add(bytes.div_ceil(PACKET_BYTES - header_bytes) * header_bytes)
}

/// Of so many bytes, how many are to be written where there is so much room on the line: all, or full packets.
fn fitting(to: Addr, bytes: usize, room: usize) -> usize {
    match on_line(to, bytes) <= room {
        true => bytes,
        false => room / PACKET_BYTES * (PACKET_BYTES - header_bytes(to)),
    }
}

/// Counts what the kernel says by itself to somebody who has connected: SYN-ACK, that the request is there, FIN, and that theirs is.
pub(super) fn connected(running: &Running, to: Addr) {
    if !to.is_local() {
        let bytes = SYN_BYTES + 4 * header_bytes(to);
        running.engine.turn(|node, _| node.served(to, bytes));
    }
}

/// Waits until something may be written to this client; not for ever.
pub(super) async fn turn(running: &Running, to: Addr, urgency: Urgency) -> io::Result<()> {
    let is_full = |node: &mut Node<'_>, now| node.room(now, urgency) < TURN_BYTES;
    if to.is_local() || !running.engine.turn(is_full) {
        return Ok(());
    }
    let wait = async {
        while running.engine.turn(is_full) {
            Timer::after(PAUSE).await;
        }
        Ok(())
    };
    // Apart, so that a connection that never waits here holds no room for it.
    Box::pin(within(STUCK, wait)).await
}

/// Lets `write` write so many bytes to a client, or as many of them as it is told; returns how many it wrote, which are counted.
pub(super) fn pass(
    running: &Running,
    to: Addr,
    urgency: Urgency,
    bytes: usize,
    write: &mut dyn FnMut(&mut Node<'static>, Instant, usize) -> io::Result<usize>,
) -> io::Result<usize> {
    running.engine.turn(|node, now| {
        if to.is_local() {
            return write(node, now, bytes);
        }
        let most = fitting(to, bytes, node.room(now, urgency));
        let written = write(node, now, most)?;
        if written > 0 {
            node.served(to, on_line(to, written));
        }
        Ok(written)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_into_the_room_takes_no_more_than_that() {
        for (addr, payload_bytes) in [("192.0.2.1:1", 1_448), ("[2001:db8::1]:1", 1_428)] {
            let to = Addr::udp(addr.parse().unwrap());
            assert_eq!(on_line(to, 0), 0);
            assert_eq!(on_line(to, payload_bytes), PACKET_BYTES);
            assert_eq!(
                on_line(to, payload_bytes + 1),
                PACKET_BYTES + 1 + header_bytes(to)
            );
            for room in 0..10_000 {
                for bytes in [
                    0,
                    1,
                    payload_bytes,
                    MAX_RESPONSE_HEAD_BYTES,
                    8_192,
                    usize::MAX,
                ] {
                    let most = fitting(to, bytes, room);
                    assert!(on_line(to, most) <= room, "{bytes} in {room}: {most}");
                    let is_all = most == bytes;
                    assert!(is_all || room - on_line(to, most) < PACKET_BYTES);
                    assert!(
                        is_all || most.is_multiple_of(payload_bytes),
                        "{bytes} in {room}: {most}"
                    );
                }
            }
            assert_eq!(fitting(to, usize::MAX, usize::MAX), usize::MAX);
            let head = fitting(to, MAX_RESPONSE_HEAD_BYTES, TURN_BYTES);
            assert_eq!(head, MAX_RESPONSE_HEAD_BYTES);
            assert!(fitting(to, usize::MAX, TURN_BYTES) > 0);
        }
    }
}
