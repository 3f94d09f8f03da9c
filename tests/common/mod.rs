//! A small grid of real processes: started on ports the system chooses, watched with deadlines, gone with their test.

use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Anything that has not happened by then will not.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A directory of its own for one test, gone with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(test: &str) -> Self {
        let name = format!("weir-grid-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    /// A new stream key in a file.
    pub fn key(&self, name: &str) -> String {
        let file = self.path(&format!("{name}.key"));
        let made = weir().args(["keygen", "--out", &file]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        file
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The program, not yet started.
pub fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .env("WEIR_LOG", "info")
        .env_remove("STATE_DIRECTORY")
        .env_remove("JOURNAL_STREAM");
    command
}

/// A running node. Its output is kept.
pub struct Node {
    pub child: Child,
    pub udp: SocketAddr,
    pub http: SocketAddr,
    pub log: Arc<Mutex<String>>,
    /// A node may be watched from several threads.
    out: Mutex<Receiver<Vec<u8>>>,
    pub heard: Vec<u8>,
}

impl Node {
    /// Starts a node on ports of its own and waits until it says which.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), arguments)
    }

    /// As [`Node::start`], on this UDP port.
    pub fn start_at(udp: SocketAddr, arguments: &[&str]) -> Self {
        let mut command = weir();
        command.args(arguments);
        Self::start_command(command, udp)
    }

    /// As [`Node::start_at`], with the command and its arguments as the caller has put them together.
    pub fn start_command(mut command: Command, udp: SocketAddr) -> Self {
        let mut child = command
            .args(["--bind", &udp.to_string(), "--http", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<String>>::default();
        let addresses = read_log(&mut child, log.clone());
        let out = read_out(&mut child);
        let Ok((udp, http)) = addresses.recv_timeout(DEADLINE) else {
            let _ = child.kill();
            panic!("{command:?} does not start:\n{}", log.lock().unwrap());
        };
        Self {
            child,
            udp,
            http,
            log,
            out: Mutex::new(out),
            heard: Vec::new(),
        }
    }

    /// Collects standard output until `enough` of it is here.
    pub fn hear(&mut self, mut enough: impl FnMut(&[u8]) -> bool) -> &[u8] {
        let deadline = Instant::now() + DEADLINE;
        while !enough(&self.heard) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.out.get_mut().unwrap().recv_timeout(left) {
                Ok(bytes) => self.heard.extend(bytes),
                Err(error) => panic!(
                    "{error} after {} bytes:\n{}",
                    self.heard.len(),
                    self.log.lock().unwrap()
                ),
            }
        }
        &self.heard
    }

    /// The first line on standard output.
    pub fn first_line(&mut self) -> String {
        let out = self.hear(|out| out.contains(&b'\n'));
        let line = out.split(|&byte| byte == b'\n').next().unwrap();
        String::from_utf8(line.to_vec()).unwrap()
    }

    /// Gives standard input to a thread that feeds it.
    pub fn feed(&mut self, feed: impl FnOnce(std::process::ChildStdin) + Send + 'static) {
        let stdin = self.child.stdin.take().unwrap();
        thread::spawn(move || feed(stdin));
    }

    pub fn status(&self) -> Value {
        let answer = get(self.http, "/status.json", "");
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Asks for the status until it is as it should be.
    pub fn wait_until(&self, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.status();
            if good(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "not {what}: {status:#}\n{}",
                self.log.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it has logged a line with these words: what the status says stands in the log a moment later.
    pub fn wait_for_log(&self, words: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let log = self.log.lock().unwrap().clone();
            if let Some(line) = log.lines().find(|line| line.contains(words)) {
                return line.to_string();
            }
            assert!(Instant::now() < deadline, "no {words:?} in:\n{log}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait(&mut self.child, limit)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.udp, self.log.lock().unwrap());
        }
    }
}

/// A process that is gone with its test.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a process to end.
pub fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "still runs");
        thread::sleep(Duration::from_millis(10));
    }
}

fn read_log(child: &mut Child, log: Arc<Mutex<String>>) -> Receiver<(SocketAddr, SocketAddr)> {
    let (sender, addresses) = mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once(": udp ") {
                let (udp, rest) = rest.split_once(',').unwrap();
                let (_, http) = rest.split_once("http://").unwrap();
                let http = http.trim_end_matches('/');
                let _ = sender.send((udp.parse().unwrap(), http.parse().unwrap()));
            }
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    addresses
}

fn read_out(child: &mut Child) -> Receiver<Vec<u8>> {
    let (sender, out) = mpsc::channel();
    let mut stdout = child.stdout.take().unwrap();
    thread::spawn(move || {
        let mut buf = [0; 8_192];
        while let Ok(n @ 1..) = stdout.read(&mut buf) {
            if sender.send(buf[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    out
}

/// What a server said.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// One request, and the answer up to the close of the connection.
pub fn get(http: SocketAddr, target: &str, headers: &str) -> Answer {
    exchange(
        http,
        &format!("GET {target} HTTP/1.1\r\n{headers}\r\n"),
        usize::MAX,
    )
}

/// The answer to these bytes, up to the close or until so much of a body has come.
pub fn exchange(http: SocketAddr, request: &str, body_bytes: usize) -> Answer {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    let mut buf = [0; 4_096];
    loop {
        let head_end = all.windows(4).position(|w| w == b"\r\n\r\n");
        if head_end.is_some_and(|end| all.len() - end - 4 >= body_bytes) {
            break;
        }
        match stream.read(&mut buf).unwrap() {
            0 => break,
            n => all.extend_from_slice(&buf[..n]),
        }
    }
    let end = all
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head");
    let body = all.split_off(end + 4);
    let head = String::from_utf8(all).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body }
}

/// A source that is given random bytes at this rate for so long, its URI, and what it has been given.
pub fn random_source(
    scratch: &Scratch,
    bps: u64,
    seconds: u64,
) -> (Node, String, Arc<Mutex<Vec<u8>>>) {
    let mut source = Node::start(&[
        "source",
        "--key",
        &scratch.key("stream.key"),
        "--input",
        "-",
        "--bitrate",
        &format!("{}kbit", bps / 1_000),
        "--content-type",
        "application/octet-stream",
    ]);
    let uri = source.first_line();
    let sent = Arc::<Mutex<Vec<u8>>>::default();
    let taken = sent.clone();
    source.feed(move |pipe| feed_random(bps, seconds, taken, pipe));
    (source, uri, sent)
}

/// Random bytes at an even rate into `pipe` and into `sent`, until the pipe breaks or `seconds` are over.
pub fn feed_random(bps: u64, seconds: u64, sent: Arc<Mutex<Vec<u8>>>, mut pipe: impl Write) {
    let mut random = File::open("/dev/urandom").unwrap();
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < Duration::from_secs(seconds) {
        let due = begin.elapsed().as_millis() as u64 * bps / 8_000;
        let mut bytes = vec![0; (due - count) as usize];
        random.read_exact(&mut bytes).unwrap();
        count = due;
        sent.lock().unwrap().extend(&bytes);
        if pipe.write_all(&bytes).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Where in `sent` what was heard stands, all of it; fails where it is not a contiguous part.
#[track_caller]
pub fn assert_part_of(heard: &[u8], sent: &[u8]) -> usize {
    let anchor = heard.get(..64).expect("too little was heard");
    let at = sent.windows(64).position(|window| window == anchor);
    let at = at.expect("what was heard was never sent");
    let same = heard.iter().zip(&sent[at..]).take_while(|(a, b)| a == b);
    assert_eq!(same.count(), heard.len(), "not contiguous, from {at} on");
    at
}
