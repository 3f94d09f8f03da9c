//! Datagrams out, gathered from where they lie; many for one receiver in one system call, which the kernel or the network
//! card cuts apart (UDP_SEGMENT, since Linux 4.18). Where that does not work, each leaves in a call of its own.

use core::net::SocketAddr;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg_addr};
use std::io::IoSlice;
use std::net::UdpSocket;

/// What the socket was told.
#[derive(Clone, Copy, Debug)]
pub struct Segments {
    /// The kernel can do it, and has not failed at it.
    works: bool,
    /// Longer messages leave as datagrams of this many bytes; 0: as they are.
    bytes: usize,
}

/// How a message fared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The kernel has it.
    Sent,
    /// The socket is full.
    Blocked,
    /// It cannot be sent so.
    Refused,
}

impl Segments {
    /// Asks the kernel whether it can.
    pub fn new(socket: &UdpSocket, wanted: bool) -> Self {
        Self {
            works: wanted && setsockopt(socket, sockopt::UdpGsoSegment, &0).is_ok(),
            bytes: 0,
        }
    }

    /// Whether several datagrams may go as one message.
    pub fn works(&self) -> bool {
        self.works
    }

    /// Sends these pieces, one behind the other, as datagrams of `segment_bytes` and a last one that may be shorter.
    pub fn send_many(
        &mut self,
        socket: &UdpSocket,
        to: SocketAddr,
        pieces: &[IoSlice<'_>],
        segment_bytes: usize,
    ) -> Outcome {
        if !self.set(socket, segment_bytes) {
            return Outcome::Refused;
        }
        match send(socket, to, pieces) {
            Ok(()) => Outcome::Sent,
            Err(Errno::AGAIN) => Outcome::Blocked,
            Err(error) => {
                // Not this receiver (EINVAL: its packets would have to be smaller) but kernel or card.
                let never = [Errno::IO, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOPROTOOPT];
                if never.contains(&error) {
                    log::info!("datagrams leave one by one from now on: {error}");
                    self.give_up(socket);
                }
                Outcome::Refused
            }
        }
    }

    /// Sends one datagram.
    pub fn send_one(&mut self, socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) -> Outcome {
        if datagram.len() > self.bytes {
            self.set(socket, 0);
        }
        let pieces = &[IoSlice::new(datagram)];
        let mut sent = send(socket, to, pieces);
        if matches!(sent, Err(Errno::INVAL | Errno::IO)) && self.bytes != 0 {
            // The length of segments alone can be too much for the way to a receiver, or for a card.
            self.set(socket, 0);
            sent = send(socket, to, pieces);
        }
        match sent {
            Ok(()) => Outcome::Sent,
            Err(Errno::AGAIN) => Outcome::Blocked,
            Err(error) => {
                log::trace!("{to}: {error}");
                Outcome::Refused
            }
        }
    }

    /// Never again. The length is taken back first: while the socket has one, a card that computes no checksums, as in many
    /// routers, refuses even single datagrams (EIO).
    fn give_up(&mut self, socket: &UdpSocket) {
        self.set(socket, 0);
        self.works = false;
    }

    fn set(&mut self, socket: &UdpSocket, bytes: usize) -> bool {
        if self.bytes != bytes && self.works {
            let told = i32::try_from(bytes).unwrap_or(0);
            self.works = setsockopt(socket, sockopt::UdpGsoSegment, &told).is_ok();
            self.bytes = if self.works { bytes } else { 0 };
        }
        self.works
    }
}

fn send(socket: &UdpSocket, to: SocketAddr, pieces: &[IoSlice<'_>]) -> Result<(), Errno> {
    let mut control = SendAncillaryBuffer::default();
    sendmsg_addr(socket, &to, pieces, &mut control, SendFlags::DONTWAIT).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use std::vec::Vec;

    fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
        let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        to.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let address = to.local_addr().unwrap();
        (from, to, address)
    }

    fn heard(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut room = [0; 2_000];
        let mut one = || {
            let len = socket.recv(&mut room).unwrap();
            room[..len].to_vec()
        };
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn one_message_leaves_as_equal_datagrams_and_a_shorter_last() {
        let (from, to, address) = pair();
        let mut segments = Segments::new(&from, true);
        if !segments.works() {
            return; // A kernel before 4.18.
        }
        let pieces = [&b"head"[..], b"first", b"head", b"other", b"head", b"end"].map(IoSlice::new);
        let sent = segments.send_many(&from, address, &pieces, 9);
        assert_eq!(sent, Outcome::Sent);
        let expected: [&[u8]; 3] = [b"headfirst", b"headother", b"headend"];
        assert_eq!(heard(&to, 3), expected);
    }

    #[test]
    fn whoever_gives_up_leaves_nothing_set() {
        let (from, to, address) = pair();
        let mut segments = Segments::new(&from, true);
        if !segments.works() {
            return; // A kernel before 4.18.
        }
        let pieces = [&b"one"[..], b"two"].map(IoSlice::new);
        let sent = segments.send_many(&from, address, &pieces, 3);
        assert_eq!((sent, heard(&to, 2).len()), (Outcome::Sent, 2));
        segments.give_up(&from);
        assert!(!segments.works());
        // Cut, if the length were still set.
        let whole = segments.send_one(&from, address, b"a longer one");
        assert_eq!(whole, Outcome::Sent);
        assert_eq!(heard(&to, 1), [b"a longer one"]);
    }

    #[test]
    fn what_cannot_go_together_is_refused_and_single_datagrams_go_whole() {
        let (from, to, address) = pair();
        let mut segments = Segments::new(&from, true);
        let many = [7; 200];
        if segments.works() {
            // More datagrams than any kernel takes at once (EINVAL).
            let sent = segments.send_many(&from, address, &[IoSlice::new(&many)], 1);
            assert_eq!((sent, segments.works()), (Outcome::Refused, true));
        }
        let sent = segments.send_one(&from, address, &[&b"a"[..], &many].concat());
        assert_eq!(sent, Outcome::Sent);
        assert_eq!(heard(&to, 1)[0].len(), 201);
    }

    #[test]
    fn switched_off_nothing_goes_together() {
        let (from, _to, address) = pair();
        let mut segments = Segments::new(&from, false);
        assert!(!segments.works());
        let sent = segments.send_many(&from, address, &[IoSlice::new(b"ab")], 1);
        assert_eq!(sent, Outcome::Refused);
    }
}
