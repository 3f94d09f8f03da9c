//! Players: connections that read a stream over HTTP and nothing else.

use rustix::event::epoll::{self, EventData, EventFlags};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// `players COUNT ADDRESS PATH`: until it is killed. Says each half second how many bytes it has read, and how many players have
/// read any.
pub fn run(arguments: &[String]) {
    let count: usize = arguments[0].parse().expect("a count");
    let to: SocketAddr = arguments[1].parse().expect("an address");
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let mut players: Vec<(TcpStream, u64)> = Vec::new();
    for number in 0..count {
        let stream = ask(to, &arguments[2]);
        stream.set_nonblocking(true).expect("a socket");
        epoll::add(
            &epoll,
            &stream,
            EventData::new_u64(number as u64),
            EventFlags::IN,
        )
        .expect("epoll");
        players.push((stream, 0));
    }
    let mut said = Instant::now();
    let mut room = vec![0; 256 * 1_024];
    loop {
        let mut events = [const { core::mem::MaybeUninit::<epoll::Event>::uninit() }; 64];
        let wait = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        let Ok((ready, _)) = epoll::wait(&epoll, &mut events, Some(&wait)) else {
            continue;
        };
        for event in ready {
            let (stream, bytes) = &mut players[event.data.u64() as usize];
            match stream.read(&mut room) {
                Ok(0) => drop(epoll::delete(&epoll, &*stream)),
                Ok(n) => *bytes += n as u64,
                Err(_) => {}
            }
        }
        if said.elapsed() > Duration::from_millis(500) {
            said = Instant::now();
            let all: u64 = players.iter().map(|(_, bytes)| bytes).sum();
            let fed = players.iter().filter(|(_, bytes)| *bytes > 2_000).count();
            println!("{fed} {all} 0");
        }
    }
}

fn ask(to: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("a server");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("a server");
    stream
}

/// Time from the connect to the first byte of the body, and bytes that were there within 50 ms of it.
pub fn first_byte(to: SocketAddr, path: &str) -> (Duration, usize) {
    let began = Instant::now();
    let mut stream = ask(to, path);
    let (mut all, mut room) = (Vec::new(), [0; 65_536]);
    let mut first = None;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a socket");
    while let Ok(read @ 1..) = stream.read(&mut room) {
        all.extend_from_slice(&room[..read]);
        let head = all.windows(4).position(|w| w == b"\r\n\r\n");
        if head.is_some_and(|end| all.len() > end + 4) {
            let at = *first.get_or_insert_with(|| began.elapsed());
            if began.elapsed() > at + Duration::from_millis(50) {
                break;
            }
        }
    }
    (first.unwrap_or(Duration::MAX), all.len())
}
