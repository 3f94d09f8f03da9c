//! A node under a service manager, on a box that nobody watches: what it says to the manager, what a reload changes, what
//! it writes, and where it lives without.

mod common;
#[path = "common/port.rs"]
mod port;

use common::{DEADLINE, Killed, Node, Scratch, assert_part_of, get, random_source, weir};
use port::free_port;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const URI: &str = "weir://127.0.0.1:9/aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";

/// Stands in for systemd: hears what a node says to it.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new(scratch: &Scratch) -> Self {
        let path = scratch.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path }
    }

    /// The next message that holds `word`; the ones before it are passed over.
    #[track_caller]
    fn hear(&self, word: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut buf = [0; 4_096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).unwrap();
            let Ok(len) = self.socket.recv(&mut buf) else {
                panic!("{word} is not said");
            };
            let message = String::from_utf8(buf[..len].to_vec()).unwrap();
            if message.contains(word) {
                return message;
            }
        }
    }

    /// What is said within this time, all of it.
    fn hear_for(&self, time: Duration) -> String {
        let end = Instant::now() + time;
        let mut said = String::new();
        let mut buf = [0; 4_096];
        while let Some(left) = end
            .checked_duration_since(Instant::now())
            .filter(|t| !t.is_zero())
        {
            self.socket.set_read_timeout(Some(left)).unwrap();
            if let Ok(len) = self.socket.recv(&mut buf) {
                said.push_str(&String::from_utf8_lossy(&buf[..len]));
            }
        }
        said
    }
}

/// A relay with a configuration file, and what it logs.
struct Relay {
    child: Killed,
    log: Arc<Mutex<String>>,
    http: String,
    file: String,
}

impl Relay {
    fn start(scratch: &Scratch, toml: &str, environment: &[(&str, &str)]) -> Self {
        let http = format!("127.0.0.1:{}", free_port());
        let file = scratch.path("relay.toml");
        let relay = Self {
            http: http.clone(),
            file: file.clone(),
            log: Arc::default(),
            child: {
                write_toml(&file, &http, toml);
                let mut command = weir();
                command
                    .args(["relay", "--config", &file])
                    .envs(environment.iter().copied())
                    .stderr(Stdio::piped())
                    .stdout(Stdio::null());
                Killed(command.spawn().unwrap())
            },
        };
        relay.with_log()
    }

    fn with_log(mut self) -> Self {
        let mut stderr = self.child.0.stderr.take().unwrap();
        let log = self.log.clone();
        thread::spawn(move || {
            let mut buf = [0; 1_024];
            while let Ok(len @ 1..) = std::io::Read::read(&mut stderr, &mut buf) {
                let text = String::from_utf8_lossy(&buf[..len]);
                log.lock().unwrap().push_str(&text);
            }
        });
        self.logged("page and players at");
        self
    }

    #[track_caller]
    fn logged(&self, what: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.log.lock().unwrap().contains(what) {
            let log = self.log.lock().unwrap();
            assert!(Instant::now() < deadline, "not logged: {what}\n{log}");
            drop(log);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn rewrite(&self, toml: &str) {
        write_toml(&self.file, &self.http, toml);
    }

    fn status(&self) -> serde_json::Value {
        let answer = get(self.http.parse().unwrap(), "/status.json", "");
        assert!(answer.head.starts_with("HTTP/1.1 200"), "{}", answer.head);
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.0.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status();
        assert!(sent.unwrap().success());
    }
}

fn write_toml(file: &str, http: &str, toml: &str) {
    let text = format!(
        "role = \"relay\"\nstreams = [\"{URI}\"]\nbind = \"127.0.0.1:0\"\nhttp = \"{http}\"\n{toml}\n"
    );
    fs::write(file, text).unwrap();
}

#[test]
fn a_manager_hears_of_start_watchdog_reload_and_end() {
    let scratch = Scratch::new("notify");
    let manager = Manager::new(&scratch);
    let environment = [
        ("NOTIFY_SOCKET", manager.path.as_str()),
        ("WATCHDOG_USEC", "600000"),
    ];
    let mut relay = Relay::start(&scratch, "", &environment);
    manager.hear("READY=1");
    // Whoever was told that it is ready is answered.
    assert_eq!(relay.status()["role"], "relay");
    let sentence = manager.hear("STATUS=");
    assert!(
        sentence.contains("month") && sentence.lines().count() == 1,
        "{sentence}"
    );
    manager.hear("WATCHDOG=1");

    // A process that hangs feeds nobody; what was on its way is heard first.
    relay.signal("STOP");
    manager.hear_for(Duration::from_millis(300));
    assert_eq!(manager.hear_for(Duration::from_secs(1)), "");
    relay.signal("CONT");
    manager.hear("WATCHDOG=1");

    relay.signal("HUP");
    let reloading = manager.hear("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.hear("READY=1");
    // A sentence that has not changed is not said again.
    assert!(!manager.hear_for(Duration::from_secs(1)).contains("STATUS="));

    relay.signal("TERM");
    manager.hear("STOPPING=1");
    assert!(common::wait(&mut relay.child.0, DEADLINE).success());
}

#[test]
fn a_reload_applies_what_it_can_and_names_the_rest() {
    let scratch = Scratch::new("reload");
    let relay = Relay::start(&scratch, "upload-limit = \"3Mbit\"", &[]);
    assert_eq!(relay.status()["upload"]["limit_bps"], 3_000_000);
    let key = |status: serde_json::Value| status["node"].clone();
    let node = key(relay.status());

    relay.rewrite("upload-limit = \"500kbit\"\nmax-children = 3");
    relay.signal("HUP");
    relay.logged("upload-limit is 500kbit now, max-children is 3 now");
    assert_eq!(relay.status()["upload"]["limit_bps"], 500_000);

    // More children than there is memory for, and other things that are taken once.
    relay.rewrite(
        "upload-limit = \"500kbit\"\nquota = \"7GB\"\nmax-children = 900\nmemory = \"9MiB\"",
    );
    relay.signal("HUP");
    relay.logged("max-children is 32 now");
    relay.logged("max-children, quota, memory wait for a restart");

    relay.rewrite("upload-limit = \"nonsense\"");
    relay.signal("HUP");
    relay.logged("going on as before");
    relay.logged("upload-limit");
    assert_eq!(relay.status()["upload"]["limit_bps"], 500_000);

    // What would be too much to read, and what would be too much when it is read.
    relay.rewrite(&format!(
        "upload-limit = \"1Mbit\"\n#{}",
        "#".repeat(220_000)
    ));
    relay.signal("HUP");
    relay.logged("is longer than 16KiB; going on as before");
    relay.rewrite(&format!("peers = [{}]", "'',".repeat(5_000)));
    relay.signal("HUP");
    relay.logged("more than 128 values; going on as before");
    assert_eq!(relay.status()["upload"]["limit_bps"], 500_000);

    relay.rewrite("upload-limit = \"500kbit\"");
    relay.signal("HUP");
    relay.logged("nothing has changed");
    assert_eq!(key(relay.status()), node, "it is the same process");
}

#[test]
fn a_relay_runs_with_more_memory_than_any_machine_has_and_plans_what_it_can_use() {
    for memory in ["200MiB", "9000000TiB"] {
        let node = Node::start(&["relay", URI, "--memory", memory]);
        let planned = node.status()["memory"]["planned_bytes"].as_u64().unwrap();
        assert!(
            (80 << 20..96 << 20).contains(&planned),
            "{memory}: {planned}"
        );
    }
}

/// In the build that is measured: one that checks itself has more code.
#[cfg(not(debug_assertions))]
#[test]
fn the_pages_of_files_that_a_node_uses_are_within_what_is_planned_for_code() {
    let scratch = Scratch::new("code");
    let relay = Relay::start(&scratch, "", &[]);
    let http = relay.http.parse().unwrap();
    for target in ["/", "/metrics", "/status.txt", "/playlist.m3u", "/nothing"] {
        get(http, target, "");
    }
    let status = format!("/proc/{}/status", relay.child.0.id());
    let status = fs::read_to_string(status).unwrap();
    let row = status.lines().find(|line| line.starts_with("RssFile:"));
    let used_kib = row.unwrap().split_whitespace().nth(1).unwrap();
    let used = used_kib.parse::<u64>().unwrap() << 10;
    let check = weir().args(["check", "--config", &relay.file]).output();
    let plan = String::from_utf8(check.unwrap().stdout).unwrap();
    let row = plan.lines().find(|line| line.starts_with("  program "));
    let planned: u64 = row
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert!(used > 0 && used <= planned, "{used} of {planned}");
}

#[test]
fn a_reload_drops_no_child() {
    let scratch = Scratch::new("reload-child");
    let (_source, uri, sent) = random_source(&scratch, 200_000, 120);
    let file = scratch.path("limits.toml");
    fs::write(&file, "upload-limit = \"5Mbit\"\n").unwrap();
    let relay = Node::start(&["relay", &uri, "--config", &file]);
    let through = format!("weir://{}/{}", relay.udp, uri.rsplit('/').next().unwrap());
    let mut listener = Node::start(&["listen", &through]);
    let heard = listener.hear(|out| out.len() > 50_000).len();

    fs::write(&file, "upload-limit = \"4Mbit\"\n").unwrap();
    relay.signal("HUP");
    relay.wait_until("applied", |status| {
        status["upload"]["limit_bps"] == 4_000_000
    });
    listener.hear(|out| out.len() > heard + 50_000);
    assert_part_of(&listener.heard, &sent.lock().unwrap());
}

#[test]
fn without_a_file_a_hangup_ends_it_as_any_program() {
    // Under nohup(1) no program is ended by it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    if ignored & 1 != 0 {
        eprintln!("SKIPPED: hangups are ignored here");
        return;
    }
    let mut relay = Node::start(&["relay", URI]);
    relay.signal("HUP");
    assert!(!relay.wait(DEADLINE).success());
}

#[test]
fn procd_gets_information_and_errors_apart() {
    let mut relay = weir()
        .args([
            "relay",
            URI,
            "--bind",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ])
        .args(["--state", "/proc/nowhere"])
        .env("WEIR_LOG_STYLE", "procd")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(relay.stdout.take().unwrap());
    let mut lines = String::new();
    while !lines.contains("page and players at") {
        assert!(
            std::io::BufRead::read_line(&mut out, &mut lines).unwrap() > 0,
            "{lines}"
        );
    }
    let _ = std::process::Command::new("kill")
        .arg(relay.id().to_string())
        .status();
    let errors = relay.wait_with_output().unwrap().stderr;
    let errors = String::from_utf8(errors).unwrap();
    assert!(errors.contains("temporary node key"), "{errors}");
    assert!(
        !errors.contains("page and players") && !lines.contains("temporary"),
        "{lines}"
    );
    for line in lines.lines().chain(errors.lines()) {
        assert!(
            line.starts_with("weir"),
            "neither a time nor a priority: {line}"
        );
    }
}

/// Bytes that this process has caused to be written to storage.
fn write_bytes(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_relay_that_carries_a_stream_writes_nothing_to_storage() {
    let scratch = Scratch::new("writes");
    let (_source, uri, _) = random_source(&scratch, 400_000, 120);
    // In the build directory: that is storage, where /tmp may be memory.
    let state = format!(
        "{}/writes-{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    let relay = Node::start(&["relay", &uri, "--state", &state]);
    let through = format!("weir://{}/{}", relay.udp, uri.rsplit('/').next().unwrap());
    let mut listener = Node::start(&["listen", &through]);
    let heard = listener.hear(|out| out.len() > 50_000).len();
    let before = write_bytes(relay.child.id());
    // 8 s of the stream.
    listener.hear(|out| out.len() > heard + 400_000);
    assert_eq!(write_bytes(relay.child.id()), before);
    // And the same figure does tell of writes: the key was one.
    assert!(
        fs::read_to_string(format!("{state}/node.key"))
            .unwrap()
            .starts_with("weir-node-key")
    );
    let _ = fs::remove_dir_all(&state);
}

#[test]
fn a_state_that_cannot_be_written_costs_a_line_and_the_key_is_temporary() {
    let scratch = Scratch::new("read-only");
    // A file where a directory should be is as good as a read-only file system, for root too.
    let blocked = scratch.path("blocked");
    fs::write(&blocked, "").unwrap();
    let state = format!("{blocked}/state");
    let nodes: Vec<_> = (0..2)
        .map(|_| {
            let relay = Node::start(&["relay", URI, "--state", &state]);
            relay.wait_for_log("temporary node key");
            relay.status()["node"].clone()
        })
        .collect();
    assert_ne!(nodes[0], nodes[1]);
}

#[test]
fn a_key_is_written_once_for_its_owner_only() {
    let scratch = Scratch::new("key-once");
    let state = scratch.path("state");
    let first = Node::start(&["relay", URI, "--state", &state]).status()["node"].clone();
    let file = format!("{state}/node.key");
    let written = fs::metadata(&file).unwrap();
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    let second = Node::start(&["relay", URI, "--state", &state]).status()["node"].clone();
    assert_eq!(first, second);
    let again = fs::metadata(&file).unwrap();
    assert_eq!(written.modified().unwrap(), again.modified().unwrap());
}

#[test]
fn a_state_directory_serves_one_process_at_a_time() {
    let scratch = Scratch::new("one-at-a-time");
    let state = scratch.path("state");
    let relay = Node::start(&["relay", URI, "--state", &state]);
    let second = weir().args(["relay", URI, "--state", &state]).output();
    let second = second.unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use by another weir"), "{said}");
    // However the first one went.
    relay.signal("KILL");
    drop(relay);
    Node::start(&["relay", URI, "--state", &state]).status();
}
