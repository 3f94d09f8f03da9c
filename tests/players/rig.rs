//! What the players' tests need beside the grid of real processes: media, other people's programs, and nodes asked about one
//! stream.

use crate::common::{DEADLINE, exchange};
pub use crate::common::{Node, Scratch};
use serde_json::Value;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Whether all of these programs are here. If not, says so; where `CI=true` a missing ffmpeg is a failure.
pub fn have(programs: &[&str]) -> bool {
    let found = |program: &&&str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
    };
    let Some(missing) = programs.iter().find(|program| !found(program)) else {
        return true;
    };
    let needed = missing.starts_with("ff") && std::env::var("CI").as_deref() == Ok("true");
    assert!(!needed, "{missing} must be installed in CI");
    // Not captured by the test harness, unlike `eprintln!`.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {missing} is not installed");
    false
}

/// Some encoders read a whole library of their own before they begin; on a busy machine that takes most of a minute.
const BEGINS: Duration = Duration::from_secs(120);

/// Waits until something is so. `what` is said when it never is.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, look)
}

#[track_caller]
pub fn until_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Scratch {
    /// Encodes so many seconds of a test picture (input 0) and a test sound (input 1).
    pub fn encode(&self, name: &str, seconds: u32, arguments: &str) -> String {
        let path = self.path(name);
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-y", "-threads", "1"])
            .args(["-f", "lavfi", "-i", "testsrc=size=160x120:rate=25"])
            .args(["-f", "lavfi", "-i"])
            .arg("aevalsrc='0.3*sin(300*t*(1+t/9))+0.1*random(0)|0.3*sin(2764*t)':s=44100")
            .args(["-t", &seconds.to_string(), "-pix_fmt:v", "yuv420p"])
            .args(arguments.split(' '))
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{name}: {said}");
        path
    }
}

/// A running program, killed when the test is through with it.
pub struct Program(Child);

impl Program {
    /// Starts it with these arguments, one after each blank.
    pub fn start(program: &str, arguments: &str) -> Self {
        Self::spawn(program, arguments, Stdio::null())
    }

    /// As [`Program::start`], and what it writes.
    pub fn start_piped(program: &str, arguments: &str) -> (Self, ChildStdout) {
        let mut it = Self::spawn(program, arguments, Stdio::piped());
        let stdout = it.0.stdout.take().unwrap();
        (it, stdout)
    }

    fn spawn(program: &str, arguments: &str, stdout: Stdio) -> Self {
        let child = Command::new(program)
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("the program was found before"))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end, or for so long.
pub fn output(program: &str, arguments: &[&str]) -> Output {
    Command::new("timeout")
        .arg(format!("{}", DEADLINE.as_secs()))
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

impl Node {
    /// Starts a source. The stream is called by the key that [`Node::key`] tells.
    pub fn source(key_file: &str, input: &str, more: &[&str]) -> Self {
        Self::source_at(SocketAddr::from(([127, 0, 0, 1], 0)), key_file, input, more)
    }

    /// As [`Node::source`], on this UDP port.
    pub fn source_at(udp: SocketAddr, key_file: &str, input: &str, more: &[&str]) -> Self {
        let first = ["source", "--key", key_file, "--input", input];
        Self::start_at(udp, &[&first, more].concat())
    }

    /// Starts a relay for these streams.
    pub fn relay(uris: &[String]) -> Self {
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let more = ["--memory", "24MiB", "--upload-limit", "unlimited"];
        Self::start(&[&["relay"], uris.as_slice(), &more].concat())
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What `/status.json` says about the stream with this key.
    pub fn stream(&self, key: &str) -> Value {
        let status = self.status();
        let streams = status["streams"].as_array().cloned().unwrap_or_default();
        let mut found = streams.into_iter().filter(|s| s["key"] == key);
        found.next().unwrap_or_default()
    }

    /// The key of its first stream.
    pub fn key(&self) -> String {
        let status = self.status();
        let key = &status["streams"][0]["key"];
        key.as_str().unwrap().to_string()
    }

    /// A URI of this stream by way of this node.
    pub fn uri(&self, key: &str) -> String {
        format!("weir://{}/{key}", self.udp)
    }

    /// Where players find this stream.
    pub fn url(&self, key: &str) -> String {
        format!("http://{}/streams/{key}", self.http)
    }

    /// Waits until a stream flows here.
    #[track_caller]
    pub fn wait_live(&self, key: &str) {
        until_within(BEGINS, "the stream is live", || {
            (self.stream(key)["head_block"].as_u64()? > 0).then_some(())
        });
    }
}

/// Sends a request; the head of the answer, and at most so many bytes of what follows. `more` are header lines.
pub fn get(at: SocketAddr, path: &str, more: &str, most: usize) -> (String, Vec<u8>) {
    ask(at, "GET", path, more, most)
}

/// As [`get`], with any method.
pub fn ask(at: SocketAddr, method: &str, path: &str, more: &str, most: usize) -> (String, Vec<u8>) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\n{more}\r\n");
    let mut answer = exchange(at, &request, most);
    answer.body.truncate(most);
    (answer.head, answer.body)
}

/// A header's value in an answer's head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
