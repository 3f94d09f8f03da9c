//! Nodes and other people's programs, run for a test and ended with it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Within this everything that is waited for has to happen.
pub const PATIENCE: Duration = Duration::from_secs(25);

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

/// Waits until something is so. `what` is said when it never is.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A directory of its own for one test, gone with it.
pub struct Workshop(pub PathBuf);

impl Workshop {
    pub fn open(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("weir-players-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    /// A stream key of this name.
    pub fn key(&self, name: &str) -> String {
        let path = self.path(&format!("{name}.key"));
        let made = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["keygen", "--out", &path])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        path
    }

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

impl Drop for Workshop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A running program, killed when the test is through with it.
pub struct Program(Child);

impl Program {
    /// Starts it with these arguments, one after each blank.
    pub fn start(program: &str, arguments: &str, stdout: Stdio) -> Self {
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

    pub fn stdout(&mut self) -> Stdio {
        self.0.stdout.take().unwrap().into()
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
        .arg(format!("{}", PATIENCE.as_secs()))
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A node, killed when the test is through with it.
pub struct Node {
    child: Child,
    log: Arc<Mutex<String>>,
    /// `ADDR:PORT` of its UDP socket.
    pub udp: String,
    /// Where it serves players.
    pub http: SocketAddr,
}

impl Node {
    /// Starts a source. The stream is called by the key that [`Node::key`] tells.
    pub fn source(key_file: &str, input: &str, stdin: Stdio, more: &[&str]) -> Self {
        let first = ["source", "--key", key_file, "--input", input];
        Self::start(&[&first, more].concat(), stdin)
    }

    /// Starts a relay for these streams.
    pub fn relay(uris: &[String]) -> Self {
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let more = ["--memory", "24MiB", "--upload-limit", "unlimited"];
        Self::start(
            &[&["relay"], uris.as_slice(), &more].concat(),
            Stdio::null(),
        )
    }

    pub fn start(arguments: &[&str], stdin: Stdio) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(arguments)
            .args(if arguments.contains(&"--bind") {
                &[][..]
            } else {
                &["--bind", "127.0.0.1:0"]
            })
            .args(["--http", "127.0.0.1:0"])
            .env_remove("STATE_DIRECTORY")
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().unwrap();
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap();
                lines.push_str(&line);
                lines.push('\n');
            }
        });
        let (udp, http) = until("a node says where it is", || {
            let log = log.lock().unwrap();
            let (_, rest) = log.split_once("udp ")?;
            let (udp, rest) = rest.split_once(", page and players at http://")?;
            Some((udp.to_string(), rest.split_once('/')?.0.parse().unwrap()))
        });
        Self {
            child,
            log,
            udp,
            http,
        }
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

    /// `/status.json`.
    pub fn status(&self) -> serde_json::Value {
        let (_, body) = get(self.http, "/status.json", "", usize::MAX);
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// What `/status.json` says about the stream with this key, or the first.
    pub fn stream(&self, key: &str) -> serde_json::Value {
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
        until("the stream is live", || {
            (self.stream(key)["head_block"].as_u64()? > 0).then_some(())
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.udp, self.log());
        }
    }
}

/// A port of this machine that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Sends a request; the head of the answer, and at most so many bytes of what follows. `more` are header lines.
pub fn get(at: SocketAddr, path: &str, more: &str, most: usize) -> (String, Vec<u8>) {
    ask(at, "GET", path, more, most)
}

/// As [`get`], with any method.
pub fn ask(at: SocketAddr, method: &str, path: &str, more: &str, most: usize) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\n{more}\r\n"
    )
    .unwrap();
    let mut got = Vec::new();
    let mut buf = [0; 16 * 1024];
    loop {
        let split = got.windows(4).position(|four| four == b"\r\n\r\n");
        let enough = split.is_some_and(|at| got.len() - at - 4 >= most);
        let n = if enough {
            0
        } else {
            stream.read(&mut buf).unwrap_or(0)
        };
        if n > 0 {
            got.extend_from_slice(&buf[..n]);
            continue;
        }
        let at = split.unwrap_or_else(|| panic!("no answer to {method} {path}"));
        let mut body = got.split_off(at + 4);
        body.truncate(most);
        return (String::from_utf8_lossy(&got).into_owned(), body);
    }
}

/// A header's value in an answer's head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
