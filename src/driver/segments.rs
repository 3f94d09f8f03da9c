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
                    self.works = false;
                }
                Outcome::Refused
            }
        }
    }

    /// Sends these pieces as one datagram.
    pub fn send_one(
        &mut self,
        socket: &UdpSocket,
        to: SocketAddr,
        pieces: &[IoSlice<'_>],
    ) -> Outcome {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        if bytes > self.bytes {
            self.set(socket, 0);
        }
        let mut sent = send(socket, to, pieces);
        if sent == Err(Errno::INVAL) && self.bytes != 0 {
            // The length of segments alone can be too much for the way to a receiver.
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
