//! Real `weir` processes, and what /proc and their status say of them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Anything that has not happened by then will not.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// A running node.
pub struct Process {
    child: Child,
    /// Its URI, at a source.
    pub uri: String,
    pub udp: SocketAddr,
    pub http: SocketAddr,
}

impl Process {
    /// Starts a node on ports of its own, and feeds a source random bytes at this rate.
    pub fn start(weir: &Path, arguments: &[&str], feed_bps: Option<u64>) -> Self {
        let mut child = Command::new(weir)
            .args(arguments)
            .args(["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .env("WEIR_LOG", "info")
            .env_remove("STATE_DIRECTORY")
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", weir.display()));
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let (udp, http) = loop {
            line.clear();
            let read = log.read_line(&mut line).unwrap();
            assert!(read > 0, "{arguments:?} does not start");
            if let Some((_, rest)) = line.split_once(": udp ") {
                let (udp, rest) = rest.split_once(',').unwrap();
                let (_, http) = rest.split_once("http://").unwrap();
                let http = http.trim_end().trim_end_matches('/');
                break (udp.parse().unwrap(), http.parse().unwrap());
            }
        };
        // Whoever's log is not read stands still one day.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let mut uri = String::new();
        if let Some(bps) = feed_bps {
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut uri)
                .unwrap();
            let pipe = child.stdin.take().unwrap();
            thread::spawn(move || feed(bps, pipe));
        }
        Self {
            child,
            uri: uri.trim().to_string(),
            udp,
            http,
        }
    }

    pub fn status(&self) -> Value {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
            .write_all(b"GET /status.json HTTP/1.0\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    /// Asks for the status until it is as it should be.
    pub fn wait_until(&self, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.status();
            if good(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "not {what}: {status:#}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kilobytes as proc(5) counts them in `status`: `VmHWM`, `VmRSS`, `RssAnon`, `RssFile`.
    pub fn kib(&self) -> BTreeMap<String, u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        text.lines()
            .filter_map(|line| {
                let (name, rest) = line.split_once(':')?;
                let kib = rest.trim().strip_suffix(" kB")?.parse().ok()?;
                Some((name.to_string(), kib))
            })
            .collect()
    }

    /// Bytes that wait in the kernel for clients that do not read: the send queues of `/proc/net/tcp`.
    pub fn send_queues(&self) -> u64 {
        let here = format!("0100007F:{:04X}", self.http.port());
        let text = fs::read_to_string("/proc/net/tcp").unwrap();
        let queued = text.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next()?;
            let (queue, _) = fields.nth(2)?.split_once(':')?;
            (local == here).then(|| u64::from_str_radix(queue, 16).unwrap_or(0))
        });
        queued.sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn feed(bps: u64, mut pipe: impl Write) {
    let mut random = fs::File::open("/dev/urandom").unwrap();
    let begin = Instant::now();
    let mut count = 0;
    loop {
        let due = begin.elapsed().as_millis() as u64 * bps / 8_000;
        let mut bytes = vec![0; (due - count) as usize];
        random.read_exact(&mut bytes).unwrap();
        count = due;
        if pipe.write_all(&bytes).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The `--memory`, in KiB, with which a relay for so many children and players has a ring of so many bytes, as `weir check`
/// plans it.
pub fn memory_for_ring(weir: &Path, uri: &str, sizes: (usize, usize), ring_bytes: u64) -> u64 {
    let file = std::env::temp_dir().join(format!("weir-memory-{}.toml", std::process::id()));
    let (children, players) = sizes;
    let ring = |memory: u64| -> i64 {
        let settings = format!(
            "role = \"relay\"\nstreams = [\"{uri}\"]\nmemory = \"{memory}KiB\"\n\
             max-children = {children}\nmax-players = {players}\n"
        );
        fs::write(&file, settings).unwrap();
        let check = ["check", "--config", file.to_str().unwrap()];
        let out = Command::new(weir).args(check).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let row = text.lines().find(|line| line.starts_with("  ring "));
        let row = row.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&out.stderr)));
        row.split_whitespace().nth(5).unwrap().parse().unwrap()
    };
    let mut memory = 32 << 10;
    for _ in 0..3 {
        // For each byte of ring there is an eighth for its tables.
        let off = (ring(memory) - ring_bytes as i64) * 9 / 8 / 1_024;
        memory = memory.saturating_add_signed(-off);
    }
    let _ = fs::remove_file(&file);
    memory
}
