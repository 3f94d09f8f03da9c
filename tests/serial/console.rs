//! A person, and worse, at a serial console.

use crate::common::{DEADLINE, Killed, Node, Scratch};
use crate::wire::{Cable, End, Faults};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A relay of a stream nobody sends, with a console, and the far end of its line.
struct Terminal {
    node: Node,
    end: End,
    seen: String,
    _scratch: Scratch,
}

const URI: &str = "weir://127.0.0.1:9/aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";

impl Terminal {
    fn new(name: &str, more: &[&str]) -> Self {
        let scratch = Scratch::new(name);
        let path = scratch.path("tty");
        let end = End::plug(&PathBuf::from(&path));
        let line = format!("{path},console");
        let token = scratch.path("token");
        std::fs::write(&token, "correct-horse-battery\n").unwrap();
        let more: Vec<&str> = more
            .iter()
            .map(|word| if *word == "TOKEN" { &token } else { *word })
            .collect();
        let node = Node::start(&[&["relay", URI, "--serial", &line], &more[..]].concat());
        let mut terminal = Self {
            node,
            end,
            seen: String::new(),
            _scratch: scratch,
        };
        terminal.wait_for("? for help");
        terminal
    }

    fn look(&mut self) {
        let bytes = self.end.read(4_096);
        self.seen.push_str(&String::from_utf8_lossy(&bytes));
    }

    /// Waits until something is shown, and takes everything up to it away.
    fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.look();
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(Instant::now() < deadline, "no {text:?} in {:?}", self.seen);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn write(&self, keys: &[u8]) {
        let mut rest = keys;
        let deadline = Instant::now() + DEADLINE;
        while !rest.is_empty() && Instant::now() < deadline {
            rest = &rest[self.end.write(rest)..];
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Types a line and returns what is shown up to the next prompt.
    fn ask(&mut self, line: &str) -> String {
        self.write(format!("{line}\r").as_bytes());
        self.wait_for("\r\n");
        self.wait_for("weir> ")
    }
}

#[test]
fn a_person_is_told_everything_and_lines_end_as_a_terminal_wants() {
    let mut terminal = Terminal::new("person", &[]);
    terminal.wait_for("weir> ");
    let verdict = terminal.ask("");
    assert!(
        verdict.starts_with("weir ") && verdict.contains(" relay: "),
        "{verdict}"
    );
    terminal.write(b"?");
    let help = terminal.wait_for("weir> ");
    for word in ["status", "streams", "peers", "memory", "log", "follow"] {
        assert!(help.contains(word), "{help}");
    }
    let status = terminal.ask("status");
    assert!(status.contains("memory     planned"), "{status}");
    assert!(terminal.ask("s").contains("memory     planned"));
    assert!(terminal.ask("streams").contains("aaaqeaye"));
    assert!(terminal.ask("peers").contains("none"));
    let memory = terminal.ask("memory");
    assert!(
        memory.contains("ring") && memory.contains("serial"),
        "{memory}"
    );
    assert!(terminal.ask("serial").contains("console,115200: up"));
    assert!(terminal.ask("log").contains("is open."));
    assert!(
        terminal
            .ask("statsu\x7f\x7fus")
            .contains("memory     planned")
    );
    assert!(terminal.ask("frobnicate").contains("no such command"));
    let all = status.replace("\r\n", "");
    assert!(!all.contains('\n') && !all.contains('\r'), "{status:?}");
}

#[test]
fn changes_need_the_token_as_on_the_page() {
    let mut closed = Terminal::new("closed", &[]);
    closed.wait_for("weir> ");
    assert!(closed.ask("pause").contains("--control-token"));
    drop(closed);
    let mut terminal = Terminal::new("token", &["--control-token", "TOKEN"]);
    terminal.wait_for("weir> ");
    assert!(terminal.ask("limit 1Mbit").contains("say the token first"));
    assert!(
        terminal
            .ask("token wrong-horse-battery")
            .contains("not the token")
    );
    assert!(terminal.ask("pause").contains("say the token first"));
    // Guessing takes for ever: six guesses take three seconds at least.
    let began = Instant::now();
    for guess in 0..6 {
        let said = terminal.ask(&format!("token guess-{guess}"));
        assert!(said.contains("not the token"), "{said}");
    }
    assert!(began.elapsed() >= Duration::from_secs(3));
    terminal.write(b"token correct-horse-battery\r");
    let echo = terminal.wait_for("\r\n");
    assert!(!echo.contains("correct"), "{echo}");
    assert!(terminal.wait_for("weir> ").contains("yours"));
    assert!(terminal.ask("limit 1Mbit").contains("1Mbit now"));
    terminal
        .node
        .wait_until("limited", |s| s["upload"]["limit_bps"] == 1_000_000);
    assert!(terminal.ask("pause 10m").contains("paused for"));
    assert!(terminal.ask("pause soon").contains("pause takes a time"));
    assert!(terminal.ask("resume").contains("goes on"));
}

#[test]
fn noise_does_nothing_and_is_answered_little() {
    let mut terminal = Terminal::new("garble", &["--control-token", "TOKEN"]);
    terminal.wait_for("weir> ");
    let mut random = 7u64;
    let mut sent = 0;
    let mut heard = 0;
    for _ in 0..200 {
        let noise: Vec<u8> = (0..256)
            .map(|_| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (random >> 33) as u8
            })
            .collect();
        terminal.write(&noise);
        sent += noise.len();
        terminal.look();
        heard += std::mem::take(&mut terminal.seen).len();
    }
    assert!(heard * 4 < sent, "{heard} bytes in answer to {sent}");
    let status = terminal.node.status();
    assert!(
        status["serial"][0]["bad_frames_total"].as_u64() > Some(1_000),
        "{status:#}"
    );
    // A person is understood again after a return or two.
    terminal.write(b"\x03\r");
    let deadline = Instant::now() + DEADLINE;
    while terminal.node.status()["serial"][0]["state"] != "up" {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.write(b"\rstreams\r");
    terminal.wait_for("aaaqeaye");
}

#[test]
fn a_terminal_that_takes_nothing_is_not_waited_for() {
    let mut terminal = Terminal::new("deaf", &[]);
    terminal.wait_for("weir> ");
    // Nobody reads: the pseudo-terminal fills up.
    for _ in 0..400 {
        terminal.end.write(b"status\r");
        std::thread::sleep(Duration::from_millis(2));
    }
    terminal
        .node
        .wait_until("blocked", |s| s["serial"][0]["state"] == "blocked");
    let pid = terminal.node.child.id();
    let ticks = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<String> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .map(String::from)
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // The deaf terminal has had its patience; from then on nothing is done for it.
    std::thread::sleep(Duration::from_secs(3));
    let before = ticks(pid);
    std::thread::sleep(Duration::from_secs(3));
    assert!(ticks(pid) - before < 60, "busy");
    let deadline = Instant::now() + DEADLINE;
    loop {
        terminal.look();
        terminal.end.write(b"\rmemory\r");
        if terminal.seen.contains("staging") {
            break;
        }
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_followed_is_shown_until_a_key_is_pressed() {
    let mut terminal = Terminal::new("follow", &["--control-token", "TOKEN"]);
    terminal.wait_for("weir> ");
    terminal.ask("token correct-horse-battery");
    terminal.write(b"follow\r");
    terminal.wait_for("any key");
    terminal.write(b"x");
    terminal.wait_for("weir> ");
    assert!(terminal.ask("").contains(" relay: "));
}

/// A login on the line: whoever is there has it as its controlling terminal, as agetty(8) does.
#[test]
fn a_line_with_a_login_on_it_is_left_alone() {
    let scratch = Scratch::new("getty");
    let path = scratch.path("tty");
    let end = End::plug(&PathBuf::from(&path));
    let slave = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(std::fs::canonicalize(&path).unwrap())
        .unwrap();
    let mut login = Command::new("setsid");
    login
        .args(["--ctty", "sleep", "60"])
        .stdin(slave.try_clone().unwrap())
        .stdout(slave)
        .stderr(Stdio::null());
    let login = Killed(login.spawn().unwrap());
    // Its name changes when the terminal is its own.
    let name = format!("/proc/{}/comm", login.0.id());
    let deadline = Instant::now() + DEADLINE;
    while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
        assert!(Instant::now() < deadline, "no login");
        std::thread::sleep(Duration::from_millis(10));
    }
    let line = format!("{path},console");
    let node = Node::start(&["relay", URI, "--serial", &line]);
    node.wait_until("left alone", |s| s["serial"][0]["state"] == "taken");
    node.wait_for_log("left alone: used by");
    assert!(end.read(100).is_empty(), "nothing was written to it");
    drop(login);
    node.wait_until("free", |s| s["serial"][0]["state"] != "taken");
}

/// Two consoles joined by mistake, and one that hears itself, must not talk for ever.
#[test]
fn consoles_that_hear_each_other_or_themselves_fall_silent() {
    let scratch = Scratch::new("joined");
    let [a, b] = ["a", "b"].map(|end| End::plug(&PathBuf::from(scratch.path(end))));
    let lines = ["a", "b"].map(|end| format!("{},console", scratch.path(end)));
    let cable = Cable::join(a, b, 115_200);
    let _nodes = lines.map(|line| Node::start(&["relay", URI, "--serial", &line]));
    falls_silent(&cable);
    cable.set(Faults {
        echoes: true,
        ..Faults::default()
    });
    falls_silent(&cable);
}

/// Waits until nothing has crossed for two seconds.
fn falls_silent(cable: &Cable) {
    let deadline = Instant::now() + DEADLINE;
    let (mut bytes, mut since) = ([0; 2], Instant::now());
    while bytes == [0; 2] || since.elapsed() < Duration::from_secs(2) {
        let now = cable.carried().bytes;
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
        assert!(Instant::now() < deadline, "{bytes:?} bytes so far");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_wrong_on_the_command_line_is_said() {
    for (words, why) in [
        ("/dev/ttyS0", "console or link?"),
        ("/dev/ttyS0,link,fast", "nothing a serial line knows"),
        ("", "needs a value"),
    ] {
        let out = crate::common::weir()
            .args(["relay", URI, "--serial", words])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stderr).to_string();
        assert_eq!(out.status.code(), Some(2), "{text}");
        assert!(text.contains("--serial") && text.contains(why), "{text}");
    }
    let scratch = Scratch::new("section");
    let file = scratch.path("relay.toml");
    let text = format!(
        "role = \"relay\"\nstreams = [\"{URI}\"]\n\n[[serial]]\npath = \"/dev/ttyS0\"\nrole = \"link\"\nbaud = 57600\n\
         half-duplex = true\n\n[[serial]]\npath = \"/dev/ttyS1\"\nrole = \"console\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let out = crate::common::weir()
        .args(["check", "--config", &file])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).to_string();
    assert!(
        text.contains("/dev/ttyS0,link,57600,half-duplex=5ms"),
        "{text}"
    );
    assert!(text.contains("/dev/ttyS1,console,115200"), "{text}");
}
