//! What has come in on a UDP socket. Where the kernel can, it hands over the datagrams of one sender that came close
//! behind each other as one message (UDP_GRO), and says how many it had to drop (SO_RXQ_OVFL).

use crate::limits::MAX_DATAGRAM_BYTES;
use crate::wire::addr::Addr;
use core::net::SocketAddr;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::vec;
use std::vec::Vec;

/// One message with receive offload: as much as the kernel joins.
const OFFLOAD_BYTES: usize = 64 * 1024;

/// One message without. Longer datagrams than the protocol has are cut here and then do not verify.
const DATAGRAM_BYTES: usize = MAX_DATAGRAM_BYTES + 1;

/// What an inbox takes.
pub const fn room_bytes(offload: bool) -> usize {
    if offload {
        OFFLOAD_BYTES
    } else {
        DATAGRAM_BYTES
    }
}

/// Where messages are received.
pub struct Inbox {
    room: Vec<u8>,
    control: Vec<u8>,
    /// Datagrams the kernel dropped because they were not taken in in time, as it said last.
    pub dropped: u32,
}

/// One message: from whom, its length, and that of the datagrams in it, all but the last.
struct Message {
    from: Option<SocketAddr>,
    bytes: usize,
    segment_bytes: usize,
    dropped: Option<u32>,
}

impl Inbox {
    /// Asks the kernel for both services; it may have neither.
    pub fn new(socket: &UdpSocket, offload: bool) -> Self {
        let offload = offload && setsockopt(socket, sockopt::UdpGroSegment, &true).is_ok();
        let _ = setsockopt(socket, sockopt::RxqOvfl, &1);
        Self {
            room: vec![0; room_bytes(offload)],
            control: cmsg_space!(i32, u32),
            dropped: 0,
        }
    }

    /// Hands each datagram of the next message to `take`. False when there is none.
    pub fn receive(&mut self, socket: &UdpSocket, mut take: impl FnMut(Addr, &[u8])) -> bool {
        let message = match self.next(socket) {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return false,
            // Some earlier datagram found nobody (ICMP); it says nothing about the next one.
            Err(_) => return true,
        };
        self.dropped = message.dropped.unwrap_or(self.dropped);
        let bytes = self.room.get(..message.bytes).unwrap_or(&[]);
        if let Some(from) = message.from {
            for datagram in bytes.chunks(message.segment_bytes.max(1)) {
                take(Addr::udp(from), datagram);
            }
        }
        true
    }

    fn next(&mut self, socket: &UdpSocket) -> Result<Message, Errno> {
        let mut room = [IoSliceMut::new(&mut self.room)];
        // Its capacity is what was asked for above.
        self.control.resize(self.control.capacity(), 0);
        let received = recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut room,
            Some(&mut self.control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let mut message = Message {
            from: received.address.as_ref().and_then(socket_addr),
            bytes: received.bytes,
            segment_bytes: received.bytes,
            dropped: None,
        };
        for control in received.cmsgs().into_iter().flatten() {
            match control {
                ControlMessageOwned::UdpGroSegments(bytes) => {
                    message.segment_bytes = usize::try_from(bytes).unwrap_or(message.bytes);
                }
                ControlMessageOwned::RxqOvfl(dropped) => message.dropped = Some(dropped),
                _ => {}
            }
        }
        Ok(message)
    }
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|&v4| SocketAddr::V4(v4.into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|&v6| SocketAddr::V6(v6.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::segments::{Outcome, Segments};
    use std::io::IoSlice;
    use std::time::{Duration, Instant};

    fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
        let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = to.local_addr().unwrap();
        (from, to, address)
    }

    /// What comes until there are so many datagrams.
    fn take(inbox: &mut Inbox, socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        while taken.len() < count {
            inbox.receive(socket, |_, bytes| taken.push(bytes.to_vec()));
            assert!(Instant::now() < deadline, "{} of {count}", taken.len());
        }
        taken
    }

    #[test]
    fn what_was_sent_together_comes_apart_with_and_without_offload() {
        for offload in [true, false] {
            let (from, to, address) = pair();
            let mut inbox = Inbox::new(&to, offload);
            let mut segments = Segments::new(&from, true);
            let pieces = [&b"first"[..], b"other", b"end"].map(IoSlice::new);
            if segments.send_many(&from, address, &pieces, 5) != Outcome::Sent {
                for piece in &pieces {
                    from.send_to(piece, address).unwrap();
                }
            }
            let expected: [&[u8]; 3] = [b"first", b"other", b"end"];
            assert_eq!(take(&mut inbox, &to, 3), expected);
            assert!(!inbox.receive(&to, |_, _| panic!("nothing more was sent")));
        }
    }

    #[test]
    fn what_the_kernel_drops_is_counted() {
        let (from, to, address) = pair();
        let mut inbox = Inbox::new(&to, true);
        let small = socket2::SockRef::from(&to).set_recv_buffer_size(4_096);
        small.unwrap();
        for _ in 0..1_000 {
            from.send_to(&[1; 1_000], address).unwrap();
        }
        let mut taken = 0;
        while inbox.receive(&to, |_, _| taken += 1) {}
        assert!(taken < 1_000, "all had room");
        // The count comes with the next one.
        from.send_to(b"next", address).unwrap();
        take(&mut inbox, &to, 1);
        assert_eq!(inbox.dropped as usize, 1_000 - taken);
    }
}
