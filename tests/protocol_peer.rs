//! weir and the second implementation of docs/PROTOCOL.md (tests/peer) play to each other over real sockets,
//! and weir plays on while the second implementation lies to it.

#[path = "common/port.rs"]
mod port;

use port::free_port;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use weir::rng::Rng;

/// Everything is over by then, even on a slow machine.
const DEADLINE: Duration = Duration::from_secs(40);
const BITRATE_BPS: usize = 800_000;
const SEED: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const PYTHON_KEY: &str = "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4a";

/// The interpreter that has what the second implementation needs; `None`, and a line that says so, where there cannot be one.
fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let made = PYTHON.get_or_init(|| {
        let output = Command::new(peer("make-venv"))
            .arg(target("../peer-venv"))
            .output();
        let well = output.as_ref().is_ok_and(|made| made.status.success());
        if !well {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{output:?}");
            eprintln!("skipped: no Python environment for tests/peer: {output:?}");
            return None;
        }
        Some(
            String::from_utf8(output.ok()?.stdout)
                .unwrap()
                .trim()
                .to_string(),
        )
    });
    made.as_deref()
}

fn peer(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peer")
        .join(name)
}

/// A path in the build's own directory for tests.
fn target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A program under test: ends with the test.
struct Program {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<ChildStderr>,
    name: String,
}

impl Program {
    fn start(name: &str, command: &mut Command, input: Stdio) -> Self {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            stdout: child.stdout.take().map(BufReader::new),
            stderr: child.stderr.take(),
            child,
            name: name.to_string(),
        }
    }

    fn weir(arguments: &[&str], input: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).env("WEIR_LOG", "error");
        Self::start(arguments[0], &mut command, input)
    }

    fn python(script: &str, arguments: &[&str], input: Stdio) -> Self {
        let mut command = Command::new(python().unwrap());
        command.arg(peer(script)).args(arguments);
        Self::start(arguments[0], &mut command, input)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().unwrap();
        stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            let errors = self.errors();
            panic!("{} said nothing: {errors}", self.name);
        }
        line.trim().to_string()
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.stderr.take() {
            let _ = self.child.kill();
            stderr.read_to_string(&mut text).unwrap();
        }
        text
    }

    /// What it writes from now on, as far as it has.
    fn collect(&mut self) -> Arc<Mutex<Vec<u8>>> {
        let all = Arc::new(Mutex::new(Vec::new()));
        let (mut stdout, sink) = (self.stdout.take().unwrap(), all.clone());
        thread::spawn(move || {
            let mut buf = [0; 65_536];
            while let Ok(n @ 1..) = stdout.read(&mut buf) {
                sink.lock().unwrap().extend(&buf[..n]);
            }
        });
        all
    }

    #[track_caller]
    fn is_alive(&mut self) {
        let status = self.child.try_wait().unwrap();
        assert!(status.is_none(), "{} ended: {status:?}", self.name);
    }

    /// Asks it to end and returns what it wrote to stderr.
    fn end(mut self) -> String {
        let mut stderr = self.stderr.take().unwrap();
        let kill = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.unwrap().success());
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        self.child.wait().unwrap();
        text
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < DEADLINE, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A minute of media in which every place can be told from every other.
fn media() -> Vec<u8> {
    let mut rng = Rng::new(42);
    (0..BITRATE_BPS / 8 * 60 / 8)
        .flat_map(|_| rng.next_u64().to_le_bytes())
        .collect()
}

/// The output is a part of the media without a hole.
#[track_caller]
fn is_exact(output: &[u8], media: &[u8]) {
    let start = media.windows(64).position(|window| window == &output[..64]);
    let start = start.expect("the output is no part of the media");
    let same = output
        .iter()
        .zip(&media[start..])
        .take_while(|(a, b)| a == b);
    assert_eq!(same.count(), output.len(), "a hole or a wrong byte");
}

struct Weir {
    program: Program,
    http: String,
}

impl Weir {
    fn start(arguments: &[&str]) -> Self {
        let http = format!("127.0.0.1:{}", free_port());
        let common = ["--bind", "127.0.0.1:0", "--http", &http];
        let arguments = [arguments, &common].concat();
        Self {
            program: Program::weir(&arguments, Stdio::null()),
            http,
        }
    }

    /// A source of the media, at the pace of a broadcast, and its URI.
    fn source(test: &str) -> (Self, String) {
        let (file, key) = (
            target(&format!("{test}.bin")),
            target(&format!("{test}.key")),
        );
        fs::write(&file, media()).unwrap();
        let _ = fs::remove_file(&key);
        let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        let made = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["keygen", "--out", key])
            .output();
        assert!(made.unwrap().status.success());
        let mut source = Self::start(&[
            "source",
            "--key",
            key,
            "--input",
            file,
            "--bitrate",
            "800kbit",
            "--content-type",
            "application/octet-stream",
        ]);
        let uri = source.program.line();
        (source, uri)
    }

    fn status(&self) -> serde_json::Value {
        let mut text = String::new();
        let get = format!("GET /status.json HTTP/1.0\r\nHost: {}\r\n\r\n", self.http);
        let answer = TcpStream::connect(&self.http).and_then(|mut stream| {
            stream.write_all(get.as_bytes())?;
            stream.read_to_string(&mut text)
        });
        let body = answer.ok().and_then(|_| text.split_once("\r\n\r\n"));
        body.and_then(|(_, body)| serde_json::from_str(body).ok())
            .unwrap_or_default()
    }

    fn invalid_chunks(&self) -> u64 {
        self.status()["streams"][0]["invalid_chunks_total"]
            .as_u64()
            .unwrap_or(0)
    }

    fn malformed(&self) -> u64 {
        self.status()["malformed_datagrams_total"]
            .as_u64()
            .unwrap_or(0)
    }
}

/// HOST:PORT and KEY of a URI with one host.
fn parts(uri: &str) -> (&str, &str) {
    uri.strip_prefix("weir://")
        .unwrap()
        .split_once('/')
        .unwrap()
}

/// Explains a capture; nothing in it may be unexplained. Returns what was counted.
#[track_caller]
fn dissect(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(python().unwrap())
        .arg(peer("dissect.py"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_document_and_the_second_implementation_agree() {
    let Some(python) = python() else { return };
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PROTOCOL.md");
    let output = Command::new(python)
        .arg(peer("vectors.py"))
        .arg("check")
        .arg(document)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The wire is tapped, and every datagram of the session is explained by the document.
#[test]
fn a_second_listener_gets_the_exact_bytes_and_the_document_explains_the_wire() {
    if python().is_none() {
        return;
    }
    let (_source, uri) = Weir::source("tapped");
    let (host, key) = parts(&uri);
    let capture = target("tapped.capture");
    let keylog = target("tapped.keys");
    let _ = fs::remove_file(&keylog);
    let (capture, keylog) = (capture.to_str().unwrap(), keylog.to_str().unwrap());
    let mut tap = Program::python("tap.py", &[host, capture], Stdio::null());
    let through = format!("weir://{}/{key}", tap.line());

    let arguments = ["listen", &through, "--bytes", "300000", "--keylog", keylog];
    let mut listener = Program::python("weirpeer.py", &arguments, Stdio::null());
    let mut output = Vec::new();
    listener
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .unwrap();
    assert!(
        listener.child.wait().unwrap().success(),
        "{}",
        listener.errors()
    );
    assert!(output.len() >= 300_000);
    is_exact(&output, &media());
    tap.end();

    let counts = dissect(&[capture, "--keylog", keylog, "--key", key]);
    for kind in [
        "Hello", "Cookie", "Initiate", "Reply", "Finish", "Control", "Chunk",
    ] {
        assert!(counts[kind].as_u64() >= Some(1), "no {kind} in {counts}");
    }
    assert!(counts["chunks proved"].as_u64() >= Some(200), "{counts}");
    assert!(counts["seals verified"].as_u64() >= Some(5), "{counts}");
}

/// What two weirs say to each other is explained too, as far as nobody has their keys.
#[test]
fn the_document_explains_two_weirs() {
    if python().is_none() {
        return;
    }
    let (_source, uri) = Weir::source("two");
    let (host, key) = parts(&uri);
    let capture = target("two.capture");
    let capture = capture.to_str().unwrap();
    let mut tap = Program::python("tap.py", &[host, capture], Stdio::null());
    let through = format!("weir://{}/{key}", tap.line());
    let mut listener = Weir::start(&["listen", &through]);
    let output = listener.program.collect();
    wait_for("300 kB", || output.lock().unwrap().len() > 300_000);
    listener.program.end();
    tap.end();
    let counts = dissect(&[capture]);
    assert!(counts["Chunk"].as_u64() >= Some(200), "{counts}");
    assert!(counts["Control"].as_u64() >= Some(10), "{counts}");
}

#[test]
fn a_second_listener_gets_the_exact_bytes_of_a_relay() {
    if python().is_none() {
        return;
    }
    let (_source, uri) = Weir::source("relayed");
    let (_, key) = parts(&uri);
    let bind = format!("127.0.0.1:{}", free_port());
    let http = format!("127.0.0.1:{}", free_port());
    let _relay = Program::weir(
        &["relay", &uri, "--bind", &bind, "--http", &http],
        Stdio::null(),
    );
    let at_relay = format!("weir://{bind}/{key}");
    let arguments = ["listen", &at_relay, "--bytes", "300000"];
    let mut listener = Program::python("weirpeer.py", &arguments, Stdio::null());
    let mut output = Vec::new();
    let stdout = listener.stdout.as_mut().unwrap();
    stdout.read_to_end(&mut output).unwrap();
    let status = listener.child.wait().unwrap();
    assert!(status.success(), "{}", listener.errors());
    is_exact(&output, &media());
}

#[test]
fn weir_plays_a_second_source() {
    if python().is_none() {
        return;
    }
    let arguments = [
        "source",
        "--seed",
        SEED,
        "--bitrate",
        "800000",
        "--preamble",
        "before",
    ];
    let mut source = Program::python("weirpeer.py", &arguments, Stdio::piped());
    let mut stdin = source.child.stdin.take().unwrap();
    stdin.write_all(&media()).unwrap();
    drop(stdin);
    let uri = source.line();
    assert!(uri.ends_with(PYTHON_KEY), "{uri}");

    let mut listener = Weir::start(&["listen", &uri]);
    let output = listener.program.collect();
    wait_for("300 kB", || output.lock().unwrap().len() > 300_000);
    let stream = &listener.status()["streams"][0];
    assert_eq!(
        (&stream["gaps_total"], &stream["invalid_chunks_total"]),
        (&0.into(), &0.into())
    );
    assert_eq!(stream["title"], "Weir in Python");
    let output = output.lock().unwrap().clone();
    is_exact(
        output.strip_prefix(b"before").expect("the preamble"),
        &media(),
    );
    // It was one session from the beginning to the end, and its end was said.
    let counts: serde_json::Value = serde_json::from_str(&source.end()).unwrap();
    assert_eq!(
        (&counts["malformed"], &counts["stray"]),
        (&().into(), &().into()),
        "{counts}"
    );
}

/// What an honest listener must have noticed while somebody lied to it.
enum Noticed {
    /// Chunks that do not verify.
    Invalid,
    /// Datagrams that make no sense.
    Malformed,
    /// Nothing that can be counted: promises were broken.
    Nothing,
}

/// A listener that knows an honest source and a liar plays every byte.
fn a_liar_is_not_heard(mode: &str, noticed: Noticed) {
    if python().is_none() {
        return;
    }
    let (mut source, uri) = Weir::source(mode);
    let (host, key) = parts(&uri);
    let mut liar = Program::python("weirpeer.py", &["forge", mode, &uri], Stdio::null());
    let both = format!("weir://{host},{}/{key}", liar.line());
    let mut listener = Weir::start(&["listen", &both, "--upload-limit", "0"]);
    let output = listener.program.collect();
    wait_for("400 kB", || output.lock().unwrap().len() > 400_000);
    match noticed {
        Noticed::Invalid => wait_for("invalid chunks", || listener.invalid_chunks() > 0),
        Noticed::Malformed => wait_for("malformed datagrams", || listener.malformed() > 0),
        Noticed::Nothing => assert_eq!(listener.invalid_chunks(), 0),
    }
    let so_far = output.lock().unwrap().len();
    wait_for("more", || output.lock().unwrap().len() > so_far + 100_000);
    let stream = &listener.status()["streams"][0];
    assert_eq!(stream["gaps_total"], 0, "{stream}");
    is_exact(&output.lock().unwrap(), &media());
    source.program.is_alive();
    listener.program.is_alive();
    // The liar had its chance: it was asked for something, and it lied.
    let counts: serde_json::Value = serde_json::from_str(&liar.end()).unwrap();
    let asked = ["Subscribe", "Want"].map(|what| counts[what].as_u64().unwrap_or(0));
    assert!(asked.iter().sum::<u64>() > 0, "{counts}");
}

#[test]
fn chunks_with_a_flipped_payload() {
    a_liar_is_not_heard("payload", Noticed::Invalid);
}

#[test]
fn chunks_with_a_flipped_path() {
    a_liar_is_not_heard("path", Noticed::Invalid);
}

#[test]
fn chunks_with_a_wrong_index() {
    a_liar_is_not_heard("index", Noticed::Invalid);
}

#[test]
fn stale_chunks_under_new_numbers() {
    a_liar_is_not_heard("stale", Noticed::Invalid);
}

#[test]
fn forged_seals() {
    a_liar_is_not_heard("seal", Noticed::Malformed);
}

#[test]
fn garbage() {
    a_liar_is_not_heard("garbage", Noticed::Malformed);
}

#[test]
fn replayed_control_datagrams() {
    a_liar_is_not_heard("replay", Noticed::Malformed);
}

#[test]
fn things_that_are_too_long() {
    a_liar_is_not_heard("oversize", Noticed::Invalid);
}

#[test]
fn promises_without_delivery() {
    a_liar_is_not_heard("silent", Noticed::Nothing);
}

/// Runs the probe and shows what it found when something came back longer than it went out.
fn probe(uri: &str, more: &[&str]) {
    let output = Command::new(python().unwrap())
        .arg(peer("weirpeer.py"))
        .args(["probe", uri])
        .args(more)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{output:?}");
}

#[test]
fn an_unproven_address_gets_no_more_than_it_sent() {
    if python().is_none() {
        return;
    }
    let (_source, uri) = Weir::source("probed");
    probe(&uri, &[]);
}

#[test]
fn an_address_that_a_session_never_had_gets_no_more_than_it_sent() {
    if python().is_none() {
        return;
    }
    let (_source, uri) = Weir::source("moved");
    probe(&uri, &["--moved"]);
}
