//! Players of one relay beside each other: those in step, one with titles, one that pauses, one that stands still, one that leaves.

#[allow(dead_code)]
mod common;

use common::{DEADLINE, Node, Scratch, assert_part_of, random_source};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const BPS: u64 = 2_000_000;

/// What all players have in hand, and a bell for each time somebody has more.
#[derive(Default)]
struct Room {
    heard: Mutex<Vec<Vec<u8>>>,
    more: Condvar,
}

impl Room {
    /// Waits until the player at this place has so many bytes.
    fn wait_for(&self, place: usize, bytes: usize) {
        let heard = self.heard.lock().unwrap();
        let short = |heard: &mut Vec<Vec<u8>>| heard[place].len() < bytes;
        let (heard, waited) = self
            .more
            .wait_timeout_while(heard, DEADLINE, short)
            .unwrap();
        let has = heard[place].len();
        assert!(!waited.timed_out(), "player {place} has {has} of {bytes}");
    }

    fn has(&self, place: usize) -> usize {
        self.heard.lock().unwrap()[place].len()
    }
}

/// Somebody who listens while `reads` holds, until the stream ends.
struct Player {
    reads: Arc<AtomicBool>,
    socket: TcpStream,
    thread: JoinHandle<()>,
}

impl Player {
    fn come(at: SocketAddr, path: &str, headers: &str, room: &Arc<Room>) -> Self {
        let mut socket = TcpStream::connect(at).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let place = {
            let mut heard = room.heard.lock().unwrap();
            heard.push(Vec::new());
            heard.len() - 1
        };
        let reads = Arc::new(AtomicBool::new(true));
        let thread = thread::spawn({
            let (reads, room) = (reads.clone(), room.clone());
            let mut socket = socket.try_clone().unwrap();
            move || {
                let mut room_for = vec![0; 16_384];
                loop {
                    if !reads.load(Relaxed) {
                        thread::sleep(Duration::from_millis(5));
                        continue;
                    }
                    match socket.read(&mut room_for) {
                        Ok(0) | Err(_) => return,
                        Ok(bytes) => {
                            let mut heard = room.heard.lock().unwrap();
                            heard[place].extend_from_slice(&room_for[..bytes]);
                            room.more.notify_all();
                        }
                    }
                }
            }
        });
        Self {
            reads,
            socket,
            thread,
        }
    }
}

/// What follows the head of an answer.
fn body(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    &answer[head.expect("a head") + 4..]
}

/// Without the titles that stand behind so many bytes each time.
fn without_titles(mut body: &[u8], metaint: usize) -> Vec<u8> {
    let mut media = Vec::new();
    while body.len() > metaint {
        let (part, rest) = body.split_at(metaint);
        media.extend_from_slice(part);
        let title = 1 + usize::from(rest[0]) * 16;
        body = rest.get(title..).unwrap_or(&[]);
    }
    media
}

#[test]
fn what_one_does_the_others_do_not_hear() {
    let scratch = Scratch::new("audience");
    let (_source, uri, sent) = random_source(&scratch, BPS, 120);
    let mut relay = Node::start(&["relay", &uri]);
    let path = format!("/streams/{}", uri.rsplit('/').next().unwrap());
    relay.wait_until("acquainted", |s| s["streams"][0]["k"] != 0);

    let room = Arc::new(Room::default());
    let come = |headers| Player::come(relay.http, &path, headers, &room);
    let steady = [come(""), come(""), come("")];
    let titled = come("Icy-MetaData: 1\r\n");
    let (pauses, stands, leaves) = (come(""), come(""), come(""));
    let [titled_at, pauses_at, stands_at] = [3, 4, 5];
    for place in 0..7 {
        room.wait_for(place, 200_000);
    }
    let wait_for_players = |count| {
        let there = |s: &Value| s["players"].as_array().is_some_and(|p| p.len() == count);
        relay.wait_until("as many players as should be", there);
    };
    wait_for_players(7);

    // One leaves, one stands still from here on, and one for a while: as long as five seconds of the stream.
    leaves.socket.shutdown(std::net::Shutdown::Both).unwrap();
    wait_for_players(6);
    stands.reads.store(false, Relaxed);
    pauses.reads.store(false, Relaxed);
    let (then, paused) = (room.has(0), room.has(pauses_at));
    room.wait_for(0, then + 5 * BPS as usize / 8);
    pauses.reads.store(true, Relaxed);
    room.wait_for(pauses_at, paused + 6 * BPS as usize / 8);
    // Who stands still is sent away, and nobody else.
    let stood = room.has(stands_at);
    wait_for_players(5);
    room.wait_for(1, room.has(1) + 100_000);
    assert!(room.has(stands_at) <= stood + 16_384, "it was not to read");

    // The end comes to all of them.
    wait_for_players(5);
    relay.signal("TERM");
    assert!(relay.wait(DEADLINE).success());
    stands.reads.store(true, Relaxed);
    for player in steady.into_iter().chain([titled, pauses, stands, leaves]) {
        player.thread.join().unwrap();
    }
    let (heard, sent) = (room.heard.lock().unwrap(), sent.lock().unwrap());
    for (place, answer) in heard.iter().enumerate().filter(|(at, _)| *at != titled_at) {
        assert_part_of(body(answer), &sent);
        assert!(answer.len() >= 200_000, "player {place}");
    }
    let answer = &heard[titled_at];
    let head = String::from_utf8_lossy(&answer[..500]).to_lowercase();
    let metaint = head.split("icy-metaint:").nth(1).expect("titles");
    let metaint = metaint.split("\r\n").next().unwrap().trim().parse();
    assert_part_of(&without_titles(body(answer), metaint.unwrap()), &sent);
}
