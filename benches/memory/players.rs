//! Players over HTTP: some read, some stop reading.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Players of one stream, all read from by one thread.
pub struct Players {
    http: SocketAddr,
    target: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    all: Mutex<Vec<Player>>,
    ended: AtomicBool,
}

struct Player {
    stream: TcpStream,
    is_stalled: bool,
    is_gone: bool,
    bytes: u64,
}

impl Players {
    pub fn new(http: SocketAddr, key: &str) -> Self {
        let shared = Arc::new(Shared {
            all: Mutex::new(Vec::new()),
            ended: AtomicBool::new(false),
        });
        let thread = thread::spawn({
            let shared = shared.clone();
            move || {
                while !shared.ended.load(SeqCst) {
                    shared.all.lock().unwrap().iter_mut().for_each(Player::read);
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self {
            http,
            target: format!("/streams/{key}"),
            shared,
            thread: Some(thread),
        }
    }

    /// One more.
    pub fn add(&self, is_stalled: bool) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(
            stream,
            "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            self.target
        )
        .unwrap();
        stream.set_nonblocking(true).unwrap();
        self.shared.all.lock().unwrap().push(Player {
            stream,
            is_stalled,
            is_gone: false,
            bytes: 0,
        });
    }

    /// Only so many stay.
    pub fn keep(&self, count: usize) {
        self.shared.all.lock().unwrap().truncate(count);
    }

    /// How many have had at least so many bytes.
    pub fn fed(&self, bytes: u64) -> usize {
        let all = self.shared.all.lock().unwrap();
        all.iter().filter(|player| player.bytes >= bytes).count()
    }
}

impl Player {
    fn read(&mut self) {
        let mut buf = [0; 65_536];
        while !self.is_stalled && !self.is_gone {
            match self.stream.read(&mut buf) {
                Ok(0) => self.is_gone = true,
                Ok(read) => self.bytes += read as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.is_gone = true,
            }
        }
    }
}

impl Drop for Players {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
