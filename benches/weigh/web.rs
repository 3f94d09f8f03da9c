//! Fan-out over HTTP: a relay with players, Debian's icecast2, and a loop over epoll that writes the same at the same times.

use crate::common::{Node, Scratch, feed_random};
use crate::fanout::Grid;
use crate::players::first_byte;
use crate::table::{Helper, median, per_gb, title};
use crate::usage::{Window, resident_bytes};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PLAYERS: usize = 200;
const BPS: u64 = 4_000_000;
const WINDOW: Duration = Duration::from_secs(6);
const WINDOWS: usize = 5;

/// A whole block. Players are given one when it is whole, up to the last cut in it: 27.6 writes a second each, of 18,015 bytes on
/// average (counted with `perf record -e syscalls:sys_exit_sendto`).
const WRITE_BYTES: u64 = 18_016;

/// A server and its players, measured.
struct Figure {
    name: &'static str,
    /// CPU and wall time, and bytes, of all windows.
    cpu: Duration,
    wall: Duration,
    bytes: u64,
    /// CPU-seconds for each 10^9 bytes, of each.
    each: Vec<f64>,
    resident_bytes: u64,
}

impl Figure {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            cpu: Duration::ZERO,
            wall: Duration::ZERO,
            bytes: 0,
            each: Vec::new(),
            resident_bytes: 0,
        }
    }

    fn add(&mut self, (cpu, wall): (Duration, Duration), bytes: u64) {
        self.cpu += cpu;
        self.wall += wall;
        self.bytes += bytes;
        self.each.push(per_gb(cpu, bytes));
    }

    /// The middle one of the ratios of windows.
    fn to(&self, other: &Self) -> f64 {
        let ratios = self.each.iter().zip(&other.each);
        median(ratios.map(|(own, other)| own / other).collect())
    }

    fn print(&self, bare: &Self, icecast: Option<&Self>) {
        let seconds = self.wall.as_secs_f64();
        println!(
            "{:<31} {:>7.1} {:>7.2} {:>9.3} {:>12.1} {:>9.2} {:>11.2}",
            self.name,
            self.bytes as f64 / seconds / 1e6,
            self.cpu.as_secs_f64() / seconds * 100.0,
            per_gb(self.cpu, self.bytes),
            self.resident_bytes as f64 / 1e6,
            self.to(bare),
            icecast.map_or(f64::NAN, |icecast| self.to(icecast)),
        );
    }
}

/// The relay and the bare loop at the same time, so that they share whatever else the machine does; then the others.
pub fn compare() {
    let grid = Grid::start(BPS, 1, &["--max-players", "230"]);
    let relay = &grid.relays[0];
    let path = format!("/streams/{}", grid.key);
    let (server, to) = bare(1);
    let mut both = measure(&[
        ("bare epoll", server.pid(), to, "/"),
        ("weir relay", relay.child.id(), relay.http, &path),
    ]);
    drop(server);
    let (p50, most, burst) = joins(relay, &path);
    drop(grid);
    let (server, to) = bare(4);
    let seldom = measure(&[("bare epoll, a fourth as often", server.pid(), to, "/")]);
    drop(server);
    let icecast = icecast();
    title(
        "HTTP, 4 Mbit/s to 200 players",
        "who sends                          MB/s   CPU %  CPU-s/GB  resident MB   to bare  to icecast2",
    );
    let ours = both.pop().expect("two");
    let bare = both.pop().expect("two");
    for figure in [Some(&bare), seldom.first(), icecast.as_ref(), Some(&ours)]
        .into_iter()
        .flatten()
    {
        figure.print(&bare, icecast.as_ref());
    }
    println!(
        "first byte of a running stream: {:.1} ms (p50), {:.1} ms (most); {} KB in the 50 ms behind it",
        p50.as_secs_f64() * 1e3,
        most.as_secs_f64() * 1e3,
        burst / 1_000
    );
}

/// Servers by name, process, address and path: each with its players, all at the same time.
fn measure(servers: &[(&'static str, u32, SocketAddr, &str)]) -> Vec<Figure> {
    let count = PLAYERS.to_string();
    let players: Vec<Helper> = servers
        .iter()
        .map(|(name, _, to, path)| {
            let players = Helper::start(&["players", &count, &to.to_string(), path]);
            if players
                .wait_for(40, |line| line.starts_with(&count))
                .is_none()
            {
                println!(
                    "({name}: not all players are served: {:?})",
                    players.numbers()
                );
            }
            players
        })
        .collect();
    thread::sleep(Duration::from_secs(3));
    let mut figures: Vec<Figure> = servers.iter().map(|(name, ..)| Figure::new(name)).collect();
    for _ in 0..WINDOWS {
        let read = |players: &Helper| players.numbers().get(1).copied().unwrap_or(0);
        let before: Vec<(Window, u64)> = servers
            .iter()
            .zip(&players)
            .map(|(server, players)| (Window::open(&[server.1]), read(players)))
            .collect();
        thread::sleep(WINDOW);
        for (at, (window, before)) in before.iter().enumerate() {
            figures[at].add(window.close(), read(&players[at]) - before);
        }
    }
    for (figure, (_, pid, ..)) in figures.iter_mut().zip(servers) {
        figure.resident_bytes = resident_bytes(*pid);
    }
    figures
}

/// Players that come one after another: the time to the first byte, and what comes with it.
fn joins(relay: &Node, path: &str) -> (Duration, Duration, usize) {
    let mut joins: Vec<(Duration, usize)> = (0..20).map(|_| first_byte(relay.http, path)).collect();
    joins.sort_unstable();
    (joins[10].0, joins[19].0, joins[10].1)
}

/// A loop that writes so many blocks at a time, and where.
fn bare(blocks: u64) -> (Helper, SocketAddr) {
    let bytes = WRITE_BYTES * blocks;
    let pace_ms = format!("{:.3}", bytes as f64 * 8e3 / BPS as f64);
    let server = Helper::start(&[
        "bare-http",
        &PLAYERS.to_string(),
        &bytes.to_string(),
        &pace_ms,
    ]);
    let to = server.wait_for(10, |_| true).expect("an address");
    (server, to.parse().expect("an address"))
}

/// Nothing where it is not installed.
fn icecast() -> Option<Figure> {
    let scratch = Scratch::new("weigh-icecast");
    let (directory, file) = (scratch.path(""), scratch.path("icecast.xml"));
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).ok()?;
    let port = TcpListener::bind("127.0.0.1:0")
        .ok()?
        .local_addr()
        .ok()?
        .port();
    let config = format!(
        "<icecast><limits><clients>300</clients><sources>2</sources><queue-size>4194304</queue-size>\
         <burst-size>1000000</burst-size></limits>\
         <authentication><source-password>hackme</source-password><admin-password>hackme</admin-password></authentication>\
         <hostname>localhost</hostname><listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>\
         <paths><logdir>{directory}</logdir><webroot>/usr/share/icecast2/web</webroot>\
         <adminroot>/usr/share/icecast2/admin</adminroot></paths>\
         <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>1</loglevel></logging>\
         <security><changeowner><user>nobody</user><group>nogroup</group></changeowner></security></icecast>"
    );
    std::fs::write(&file, config).ok()?;
    let mut command = Command::new("icecast2");
    command.args(["-c", &file]).stderr(Stdio::null());
    if Command::new("icecast2").arg("-v").output().is_err() {
        println!("(icecast2 is not installed)");
        return None;
    }
    let server = Helper::command(&mut command);
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut push = loop {
        match TcpStream::connect(to) {
            Ok(push) => break push,
            Err(error) => assert!(Instant::now() < deadline, "icecast2: {error}"),
        }
        thread::sleep(Duration::from_millis(50));
    };
    let head = "PUT /live HTTP/1.1\r\nAuthorization: Basic c291cmNlOmhhY2ttZQ==\r\nContent-Type: video/mp2t\r\n\r\n";
    push.write_all(head.as_bytes()).ok()?;
    let _ = push.read(&mut [0; 512]);
    thread::spawn(move || feed_random(BPS, 120, Arc::new(Mutex::new(Vec::new())), push));
    thread::sleep(Duration::from_secs(3));
    measure(&[("icecast2", server.pid(), to, "/live")]).pop()
}
