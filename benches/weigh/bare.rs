//! The least that can be done: loops that send the same bytes in the same bursts and do nothing else.

use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny};
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};
use weir::limits::CHUNK_PREFIX_BYTES;

/// Messages in one sendmmsg.
const MESSAGES: usize = 64;

/// `bare-udp METHOD BYTES PER_SECOND PACE_MS DESTINATION...`: datagrams of so many bytes, so many a second to each, in bursts.
pub fn udp(arguments: &[String]) {
    let number = |at: usize| arguments[at].parse::<f64>().expect("a number");
    let (bytes, per_second) = (number(1) as usize, number(2));
    let pace = Duration::from_micros((number(3) * 1e3) as u64);
    let to: Vec<SocketAddr> = arguments[4..]
        .iter()
        .map(|a| a.parse().expect("an address"))
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let data = vec![0x5a; 64 * bytes];
    let begin = Instant::now();
    let (mut burst, mut sent) = (0u32, 0u64);
    loop {
        burst += 1;
        let due = (begin.elapsed().as_secs_f64() * per_second) as u64;
        let count = ((due - sent) as usize).min(64);
        sent = due;
        match arguments[0].as_str() {
            "sendto" => to.iter().for_each(|to| {
                for _ in 0..count {
                    let _ = socket.send_to(&data[..bytes], to);
                }
            }),
            "sendmmsg" => send_many(&socket, &data[..bytes], &to, count),
            "gso" => send_segmented(&socket, &data, bytes, &to, count),
            _ => send_gathered(&socket, &data, bytes, &to, count),
        }
        thread::sleep((begin + pace * burst).saturating_duration_since(Instant::now()));
    }
}

fn send_many(socket: &UdpSocket, data: &[u8], to: &[SocketAddr], count: usize) {
    let iov = [IoSlice::new(data)];
    let all: Vec<SocketAddrAny> = to
        .iter()
        .flat_map(|&to| std::iter::repeat_n(to.into(), count))
        .collect();
    for some in all.chunks(MESSAGES) {
        let mut control: Vec<SendAncillaryBuffer> = some
            .iter()
            .map(|_| SendAncillaryBuffer::default())
            .collect();
        let headers = some.iter().zip(&mut control);
        let mut headers: Vec<MMsgHdr> = headers
            .map(|(to, c)| MMsgHdr::new_with_addr(to, &iov, c))
            .collect();
        let _ = rustix::net::sendmmsg(socket, &mut headers, SendFlags::empty());
    }
}

fn send_segmented(socket: &UdpSocket, data: &[u8], bytes: usize, to: &[SocketAddr], count: usize) {
    setsockopt(socket, UdpGsoSegment, &(bytes as i32)).expect("segmentation");
    let most = (65_000 / bytes).min(64);
    for to in to {
        let mut left = count;
        while left > 0 {
            let now = left.min(most);
            let _ = socket.send_to(&data[..now * bytes], to);
            left -= now;
        }
    }
}

/// The receiver's own bytes, then those that are the same for all, for each datagram.
fn send_gathered(socket: &UdpSocket, data: &[u8], bytes: usize, to: &[SocketAddr], count: usize) {
    setsockopt(socket, UdpGsoSegment, &(bytes as i32)).expect("segmentation");
    for to in to {
        let own = [0x17; CHUNK_PREFIX_BYTES];
        let shared = data.chunks(bytes).take(count);
        let pieces: Vec<IoSlice> = shared
            .flat_map(|chunk| [IoSlice::new(&own), IoSlice::new(&chunk[own.len()..])])
            .collect();
        if !pieces.is_empty() {
            let mut control = SendAncillaryBuffer::default();
            let _ =
                rustix::net::sendmsg_addr(socket, to, &pieces, &mut control, SendFlags::empty());
        }
    }
}

/// `bare-http COUNT BYTES PACE_MS`: says its address, takes so many connections, and writes the same bytes to each at the same times.
pub fn http(arguments: &[String]) {
    let number = |at: usize| arguments[at].parse::<f64>().expect("a number");
    let (count, bytes) = (number(0) as usize, number(1) as usize);
    let pace = Duration::from_micros((number(2) * 1e3) as u64);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let mut players: Vec<(TcpStream, usize)> = (0..count).map(|_| (accept(&listener), 0)).collect();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    for (number, (player, _)) in players.iter().enumerate() {
        let data = EventData::new_u64(number as u64);
        epoll::add(&epoll, player, data, EventFlags::OUT | EventFlags::ET).expect("epoll");
    }
    let data = vec![0x5a; bytes];
    let begin = Instant::now();
    for burst in 1u32.. {
        for (player, left) in &mut players {
            *left = (*left + bytes).min(bytes);
            write(player, &data, left);
        }
        let end = begin + pace * burst;
        // Whoever had no room is written to when it has.
        while let Some(rest) = end
            .checked_duration_since(Instant::now())
            .filter(|rest| !rest.is_zero())
        {
            let wait = rustix::time::Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(rest.subsec_nanos()),
            };
            let mut events = [const { core::mem::MaybeUninit::<epoll::Event>::uninit() }; 64];
            let Ok((ready, _)) = epoll::wait(&epoll, &mut events, Some(&wait)) else {
                continue;
            };
            for event in ready {
                let (player, left) = &mut players[event.data.u64() as usize];
                write(player, &data, left);
            }
        }
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (mut player, _) = listener.accept().expect("a connection");
    let _ = player.read(&mut [0; 1_024]);
    let _ = player.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
    player.set_nodelay(true).expect("a socket");
    player.set_nonblocking(true).expect("a socket");
    player
}

fn write(player: &mut TcpStream, data: &[u8], left: &mut usize) {
    while *left > 0 {
        match player.write(&data[..*left]) {
            Ok(n @ 1..) => *left -= n,
            _ => return,
        }
    }
}
