//! The program from outside: what it prints, where, and how it exits.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use weir::driver::settings::{FILE_ONLY_KEYS, SETTINGS};

const URI: &str = "weir://127.0.0.1:9/aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";
const COMMANDS: [&str; 7] = [
    "demo", "keygen", "source", "relay", "listen", "status", "check",
];

fn weir(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .env_remove("WEIR_LOG")
        .env_remove("STATE_DIRECTORY")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What it prints when all is well.
#[track_caller]
fn prints(arguments: &[&str]) -> String {
    let output = weir(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    assert_eq!(output.stderr, b"", "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Its one line on stderr when something is wrong.
#[track_caller]
fn fails(status: i32, arguments: &[&str]) -> String {
    let output = weir(arguments);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {output:?}"
    );
    let text = String::from_utf8(output.stderr).unwrap();
    let (line, rest) = text.split_once('\n').unwrap();
    assert_eq!(rest, "", "more than one line");
    line.to_string()
}

/// A directory of its own for one test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("weir-cli-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_help_fits_a_terminal_with_its_prompt() {
    let mut texts = vec![prints(&["--help"])];
    for command in COMMANDS {
        let text = prints(&[command, "--help"]);
        assert_eq!(prints(&[command, "-h"]), text);
        assert_eq!(prints(&["help", command]), text);
        assert!(text.starts_with(&format!("weir {command}: ")));
        texts.push(text);
    }
    for text in texts {
        assert!(text.lines().count() < 24, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.is_ascii(), "a serial console shows it too: {text}");
        assert!(text.ends_with('\n'));
        assert!(
            text.contains("xample") || text.contains("Begin here"),
            "{text}"
        );
    }
}

#[test]
fn version() {
    let line = format!("weir {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(prints(&["--version"]), line);
    assert_eq!(prints(&["relay", "-V"]), line);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("--help")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn usage_errors_name_the_culprit_and_exit_2() {
    for (arguments, line) in [
        (
            &[][..],
            "weir: no command; begin with weir demo, or see weir --help",
        ),
        (
            &["rely"],
            "weir: \"rely\": no such command; did you mean weir relay?",
        ),
        (
            &["relay"],
            "weir: URI: missing; name the stream, for example weir://radio.example.org:8479/KEY",
        ),
        (
            &["relay", URI, "--bind", "banana"],
            "weir: --bind: \"banana\" is not an address; write ADDR:PORT, for example 0.0.0.0:8479",
        ),
        (
            &["relay", URI, "--upload-limit", "2MB"],
            "weir: --upload-limit: \"2MB\" is in bytes; rates are in bits per second, so write 16Mbit",
        ),
        (
            &["relay", URI, "--memory", "lots"],
            "weir: --memory: \"lots\" is not a size; write 64KiB, 8MiB or 200GB",
        ),
        (
            &["relay", URI, "--max-childern", "3"],
            "weir: --max-childern: no such flag; did you mean --max-children?",
        ),
        (
            &["relay", URI, "--name", "x"],
            "weir: --name: belongs to weir source, not weir relay",
        ),
        (
            &["relay", URI, "--quota"],
            "weir: --quota: needs a value: a size a month, for example 200GB",
        ),
        (
            &["relay", URI, "--quota", "1GB", "--quota", "2GB"],
            "weir: --quota: given twice",
        ),
        (&["source", "--repeat=1"], "weir: --repeat: takes no value"),
        (
            &["source", "--input", "-"],
            "weir: --key: missing; weir keygen --out stream.key makes one",
        ),
        (
            &["listen", URI, URI],
            "weir: URI: 2 streams given; weir listen takes one, weir relay takes many",
        ),
        (
            &["demo", "now"],
            "weir: \"now\": weir demo takes flags only",
        ),
        (
            &["demo", "--for", "ever"],
            "weir: --for: \"ever\" is not a time; write 500ms, 20s or 10m",
        ),
        (
            &["relay", "--config", "/no/such.toml"],
            "weir: /no/such.toml: cannot be read: No such file or directory (os error 2)",
        ),
        (
            &["check"],
            "weir: --config: missing; name the file to check, for example relay.toml",
        ),
        (
            &["status", "--at", "https://x:1"],
            "weir: --at: \"https://x:1\" is not a node's URL; write for example http://127.0.0.1:8480",
        ),
    ] {
        assert_eq!(fails(2, arguments), line);
    }
    let uri = fails(2, &["relay", "http://a:1/x"]);
    assert!(
        uri.starts_with("weir: URI: \"http://a:1/x\" does not begin with weir://"),
        "{uri}"
    );
}

#[test]
fn a_plan_over_the_budget_does_not_start() {
    let line = fails(2, &["relay", URI, "--memory", "32KiB"]);
    assert!(
        line.starts_with("weir: --memory: the plan needs "),
        "{line}"
    );
    assert!(line.contains("the budget is 32KiB"), "{line}");
    let scratch = Scratch::new("budget");
    let (_, named) = line.split_once("give it --memory ").unwrap();
    let memory = named.split(' ').next().unwrap();
    let enough = format!("streams = [{URI:?}]\nmemory = {memory:?}\n");
    let file = scratch.file("enough.toml", &enough);
    prints(&["check", "--config", &file, "--role", "relay"]);
}

#[test]
fn a_budget_beyond_what_rings_can_use_is_not_all_planned() {
    let scratch = Scratch::new("huge");
    for memory in ["100MiB", "3GiB", "9000000TiB"] {
        let toml = format!("streams = [{URI:?}]\nmemory = {memory:?}\n");
        let file = scratch.file("relay.toml", &toml);
        let plan = prints(&["check", "--config", &file, "--role", "relay"]);
        assert!(
            plan.contains("  80739120  all that 65,535 slots can hold, in 1 equal parts\n"),
            "{plan}"
        );
    }
}

#[test]
fn keygen_makes_a_key_once() {
    let scratch = Scratch::new("keygen");
    let file = scratch.path("stream.key");
    let public = prints(&["keygen", "--out", &file]);
    let is_base32 = |c: char| matches!(c, 'a'..='z' | '2'..='7');
    assert!(public.trim_end().len() == 52 && public.trim_end().chars().all(is_base32));
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&file).unwrap();
    let seed = text.strip_prefix("weir-stream-key-v1 ").unwrap();
    assert!(seed.trim_end().len() == 52 && !text.contains(public.trim_end()));

    let again = fails(2, &["keygen", "--out", &file]);
    assert_eq!(
        again,
        format!("weir: --out: {file} exists and is not overwritten")
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    let nowhere = fails(1, &["keygen", "--out", &scratch.path("no/such/stream.key")]);
    assert!(
        nowhere.starts_with("weir: --out: ") && nowhere.contains("No such file"),
        "{nowhere}"
    );
    assert_ne!(
        prints(&["keygen", "--out", &scratch.path("other.key")]),
        public
    );
}

#[test]
fn check_prints_the_configuration_and_the_plan() {
    let scratch = Scratch::new("check");
    let relay = scratch.file(
        "relay.toml",
        &format!(
            "role = \"relay\"\nstreams = [\"{URI}\"]\nupload-limit = \"500kbit\"\nmax-players = 3\n"
        ),
    );
    let text = prints(&["check", "--config", &relay]);
    for part in [
        URI,
        "500kbit",
        "200GB",
        "max-players    3",
        "memory plan",
        "total",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let unsaid = scratch.file("listen.toml", &format!("streams = [\"{URI}\"]\n"));
    assert!(prints(&["check", "--config", &unsaid, "--role", "listen"]).contains("listen"));
    assert_eq!(
        fails(2, &["check", "--config", &unsaid]),
        format!("weir: --role: missing; {unsaid} has no role, so say relay, listen, source")
    );
}

#[test]
fn check_names_file_line_and_key() {
    let scratch = Scratch::new("check-bad");
    for (text, what) in [
        (
            "memory = \"8MiB\"\nquotta = \"1GB\"\n",
            ":2: quotta: no such key; did you mean quota?",
        ),
        (
            "\n\nbind = \"x\"\n",
            ":3: bind: \"x\" is not an address; write ADDR:PORT, for example 0.0.0.0:8479",
        ),
        (
            "name = \"x\"\n",
            ":1: name: belongs to weir source, not weir relay",
        ),
        (
            "role = \"listen\"\n",
            ":1: role: is listen, which does not fit relay",
        ),
        (
            "quota = \"1GB\"\nquota = \"2GB\"\n",
            ":2: quota: given twice",
        ),
    ] {
        let file = scratch.file("bad.toml", text);
        let line = fails(2, &["check", "--config", &file, "--role", "relay"]);
        assert_eq!(line, format!("weir: {file}{what}"));
    }
    let broken = scratch.file("broken.toml", "quota = \"1GB\"\nbind = = 3\n");
    let line = fails(2, &["check", "--config", &broken, "--role", "relay"]);
    assert!(line.starts_with(&format!("weir: {broken}:2: ")), "{line}");
}

#[test]
fn a_file_that_is_too_long_is_refused_whatever_is_in_it() {
    let scratch = Scratch::new("long");
    let toml = format!("role = \"relay\"\nstreams = [{URI:?}]\n#");
    let longest = format!("{toml:#<16384}");
    let file = scratch.file("relay.toml", &longest);
    prints(&["check", "--config", &file]);
    for text in [longest + "#", "\u{20ac}".repeat(100_000)] {
        let file = scratch.file("relay.toml", &text);
        let line = format!("weir: {file}: is longer than 16KiB");
        assert_eq!(fails(2, &["check", "--config", &file]), line);
        assert_eq!(fails(2, &["relay", "--config", &file]), line);
    }
    let line = fails(2, &["relay", URI, "--board", "/dev/zero"]);
    assert_eq!(line, "weir: /dev/zero: is longer than 16KiB");
}

#[test]
fn flags_win_over_the_file() {
    let scratch = Scratch::new("flags");
    let file = scratch.file(
        "relay.toml",
        &format!("streams = [\"{URI}\"]\nmemory = \"8MiB\"\n"),
    );
    let line = fails(2, &["relay", "--config", &file, "--memory", "16KiB"]);
    assert!(line.contains("the budget is 16KiB"), "{line}");
}

#[test]
fn status_prints_what_a_node_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let node = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
        let request = lines.next().unwrap();
        lines.find(String::is_empty).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nrelay up";
        std::io::Write::write_all(&mut &stream, answer).unwrap();
        request
    });
    assert_eq!(prints(&["status", "--at", &at]), "relay up\n");
    assert_eq!(node.join().unwrap(), "GET /status.txt HTTP/1.1");
}

#[test]
fn status_without_a_node_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let line = fails(1, &["status", "--at", &at]);
    assert_eq!(
        line,
        format!("weir: nothing answers at {at}: is weir running there?")
    );
}

#[test]
fn status_waits_three_seconds_and_no_longer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let node = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Silent until the other side gives up and closes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let line = fails(1, &["status", "--at", &at]);
    assert_eq!(
        line,
        format!("weir: {at}: took the request but does not answer")
    );
    node.join().unwrap();
}

/// docs/CONFIG.md has a row for every key and for nothing else.
#[test]
fn the_manual_has_every_key() {
    let manual = include_str!("../docs/CONFIG.md");
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut told: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    told.sort_unstable();
    let keys = SETTINGS.iter().filter(|setting| setting.is_key());
    let mut known: Vec<&str> = keys
        .map(|setting| setting.name)
        .chain(FILE_ONLY_KEYS)
        .collect();
    known.sort_unstable();
    assert_eq!(told, known);
}

/// Ctrl-C in a terminal reaches the demonstration and everybody it started: they end because they were asked to.
#[test]
fn a_demonstration_that_is_interrupted_says_how_it_went() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["demo", "--http", "127.0.0.1:0", "--for", "60s"])
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let plays = |line: &String| line.contains(" played ") && !line.contains(" played 0 kB");
    lines.by_ref().map(Result::unwrap).find(plays).unwrap();
    let group = format!("-{}", demo.id());
    let told = Command::new("kill").args(["-INT", "--", &group]).status();
    assert!(told.unwrap().success());
    let last = lines.map(Result::unwrap).last();
    assert!(demo.wait().unwrap().success(), "{last:?}");
    assert!(last.unwrap().contains("gaps"));
}
