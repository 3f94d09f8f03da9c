//! `weir status`: one HTTP GET to a running node, printed as text.

use super::config::DEFAULT_HTTP_PORT;
use super::failure::Failure;
use super::output;
use super::stream_uri::HostPort;
use std::fmt;
use std::format;
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::string::String;
use std::time::{Duration, Instant};
use std::vec::Vec;

/// How long a node has to answer, connecting included.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// A status longer than this is no status.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Header lines an answer may have.
const MAX_HEADERS: usize = 32;

/// Which node to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target(HostPort);

impl Default for Target {
    fn default() -> Self {
        Self(HostPort {
            host: String::from("127.0.0.1"),
            port: DEFAULT_HTTP_PORT,
        })
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        rest.parse().map(Self).map_err(|_| {
            format!("{text:?} is not a node's URL; write for example http://127.0.0.1:8480")
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// What becomes of a status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// It is printed for a person.
    Once,
    /// The same every two seconds, for ever.
    Again,
    /// It is printed for a program.
    Json,
}

/// Prints the status, on a terminal with colours.
pub fn show(target: &Target, how: Show) -> Result<(), Failure> {
    if how == Show::Json {
        return output::print(&body(target, "/status.json")?);
    }
    let style = match std::io::stdout().is_terminal() {
        true if std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) => Style::Coloured,
        _ => Style::Plain,
    };
    let mut text = fetch(target, style)?;
    loop {
        let is_read = match (how == Show::Again, style) {
            (false, _) => return output::print(&text),
            (true, Style::Plain) => output::is_read(&(text + "\n"))?,
            (true, Style::Coloured) => output::is_read(&in_place(&text))?,
        };
        if !is_read {
            return Ok(());
        }
        std::thread::sleep(AGAIN);
        // A node that is being restarted is asked again.
        text = fetch(target, style).unwrap_or_else(|failure| format!("{failure}\n"));
    }
}

/// Over what stands on the screen, without flicker: home, each line with its rest cleared, and everything below (ECMA-48).
fn in_place(text: &str) -> String {
    let mut screen = String::from("\u{1b}[H");
    for line in text.lines() {
        screen.push_str(line);
        screen.push_str("\u{1b}[K\n");
    }
    screen.push_str("\u{1b}[J");
    screen
}

/// What the text is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// A file, a pipe.
    Plain,
    /// A terminal.
    Coloured,
}

/// The node's status as text, or its JSON where it has no text.
pub fn fetch(target: &Target, style: Style) -> Result<String, Failure> {
    let path = match style {
        Style::Plain => "/status.txt",
        Style::Coloured => "/status.txt?terminal",
    };
    let mut answer = get(target, path)?;
    if answer.status == 404 {
        answer = get(target, "/status.json")?;
    }
    if answer.status != 200 {
        let what = format!("answers {} for its status: is that weir?", answer.status);
        return Err(Failure::runtime(target, what));
    }
    Ok(printable(&answer.body, style))
}

/// The document at `path`, if the node has it.
pub fn body(target: &Target, path: &str) -> Result<String, Failure> {
    match get(target, path)? {
        Answer { status: 200, body } => Ok(String::from_utf8_lossy(&body).into_owned()),
        other => Err(Failure::runtime(
            target,
            format!("answers {}", other.status),
        )),
    }
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

fn get(target: &Target, path: &str) -> Result<Answer, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = connect(target, deadline)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        target.0
    );
    stream
        .set_write_timeout(Some(PATIENCE))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .map_err(|error| Failure::runtime(target, format!("does not take a request: {error}")))?;
    read_answer(&mut stream, target, deadline)
}

fn connect(target: &Target, deadline: Instant) -> Result<TcpStream, Failure> {
    let addresses = (target.0.host.as_str(), target.0.port)
        .to_socket_addrs()
        .map_err(|_| Failure::runtime(target, "no such host"))?;
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        if let Ok(stream) = TcpStream::connect_timeout(&address, left) {
            return Ok(stream);
        }
    }
    Err(Failure::Runtime(format!(
        "nothing answers at {target}: is weir running there?"
    )))
}

/// Reads until the answer is complete, the peer closes, or `deadline`.
fn read_answer(
    stream: &mut TcpStream,
    target: &Target,
    deadline: Instant,
) -> Result<Answer, Failure> {
    let late = || Failure::runtime(target, "took the request but does not answer");
    let mut bytes = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let read = stream
            .set_read_timeout(Some(left))
            .and_then(|()| stream.read(&mut piece));
        let closed = match read {
            Ok(0) => true,
            Ok(n) => {
                bytes.extend_from_slice(&piece[..n]);
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(late());
            }
            Err(error) => return Err(Failure::runtime(target, error)),
        };
        if let Some(answer) =
            parse(&bytes, closed).map_err(|what| Failure::runtime(target, what))?
        {
            return Ok(answer);
        }
        if closed || bytes.len() > MAX_ANSWER_BYTES {
            return Err(Failure::runtime(
                target,
                "breaks off in the middle of its answer",
            ));
        }
    }
}

/// The answer if `bytes` hold all of it; nothing if more has to come. Without a length it ends where the peer closes.
fn parse(bytes: &[u8], closed: bool) -> Result<Option<Answer>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("does not speak HTTP: is that weir?"),
    };
    let header = |name: &str| {
        let mut all = response.headers.iter();
        all.find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    if header("transfer-encoding").is_some() {
        return Err("answers in pieces, which weir does not: is that weir?");
    }
    let length = match header("content-length") {
        Some(value) => {
            let length = str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
            Some(length.ok_or("answers with a length that is no number")?)
        }
        None => None,
    };
    // `head` is a count httparse took from `bytes`.
    let body = bytes.get(head..).unwrap_or_default();
    let body = match length {
        Some(length) => body.get(..length),
        None => closed.then_some(body),
    };
    Ok(body.map(|body| Answer {
        status: response.code.unwrap_or_default(),
        body: body.to_vec(),
    }))
}

/// As text that ends in a newline; what would steer a terminal (titles come from strangers, and so may the whole answer) is
/// left out, but for colours where they were asked for.
fn printable(body: &[u8], style: Style) -> String {
    let text = String::from_utf8_lossy(body);
    let mut kept = String::with_capacity(text.len() + 1);
    let mut rest = &*text;
    while let Some(c) = rest.chars().next() {
        let colour = match style {
            Style::Coloured => colour_bytes(rest),
            Style::Plain => 0,
        };
        let taken = match colour {
            0 => c.len_utf8(),
            bytes => bytes,
        };
        let (piece, after) = rest.split_at(taken);
        if colour > 0 || !c.is_control() || matches!(c, '\n' | '\t') {
            kept.push_str(piece);
        }
        rest = after;
    }
    if !kept.ends_with('\n') {
        kept.push('\n');
    }
    kept
}

/// Bytes of the colour (Select Graphic Rendition: `ESC [`, digits and semicolons, `m`) that `text` begins with; 0 if it does not.
fn colour_bytes(text: &str) -> usize {
    let Some(code) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let digits = code
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b';')
        .count();
    match code.as_bytes().get(digits) {
        Some(b'm') => 2 + digits + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::string::ToString;
    use std::thread;

    /// Answers one connection after another with these bytes, then closes; returns what it was asked.
    fn server(answers: &'static [&'static str]) -> (Target, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap().to_string().parse().unwrap();
        let asked = thread::spawn(move || {
            answers
                .iter()
                .map(|answer| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut request = Vec::new();
                    let mut byte = [0];
                    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                        request.push(byte[0]);
                    }
                    stream.write_all(answer.as_bytes()).unwrap();
                    String::from_utf8(request).unwrap()
                })
                .collect()
        });
        (target, asked)
    }

    #[test]
    fn prints_the_text_without_what_steers_a_terminal() {
        let (target, asked) =
            server(&["HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nup\x1b[2Jtrailing"]);
        assert_eq!(fetch(&target, Style::Plain).unwrap(), "up[2Jt\n");
        assert!(
            asked.join().unwrap()[0].starts_with("GET /status.txt HTTP/1.1\r\nHost: 127.0.0.1:")
        );
    }

    #[test]
    fn only_colours_pass_to_a_terminal_that_wants_them() {
        let body = b"\x1b[1;32mwell\x1b[0m \x1b[2J\x1b]0;title\x07 \x1b[31";
        let text = printable(body, Style::Coloured);
        assert_eq!(text, "\u{1b}[1;32mwell\u{1b}[0m [2J]0;title [31\n");
        assert_eq!(
            printable(body, Style::Plain),
            "[1;32mwell[0m [2J]0;title [31\n"
        );
    }

    #[test]
    fn falls_back_to_json() {
        let (target, asked) = server(&[
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n{}",
        ]);
        assert_eq!(fetch(&target, Style::Plain).unwrap(), "{}\n");
        assert!(asked.join().unwrap()[1].starts_with("GET /status.json "));
    }

    #[test]
    fn programs_are_given_json() {
        let (target, asked) = server(&["HTTP/1.1 200 OK

{}"]);
        assert_eq!(show(&target, Show::Json), Ok(()));
        assert!(asked.join().unwrap()[0].starts_with("GET /status.json "));
    }

    #[test]
    fn says_what_is_odd_about_an_answer() {
        for (answer, what) in [
            ("SSH-2.0-x\r\n\r\n", "does not speak HTTP"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup",
                "breaks off",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nup",
                "no number",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "in pieces",
            ),
            ("HTTP/1.1 500 Oops\r\n\r\n", "answers 500"),
            ("", "breaks off"),
        ] {
            let (target, asked) = server(Vec::leak(std::vec![answer]));
            let failure = fetch(&target, Style::Plain).unwrap_err();
            assert_eq!(failure.exit_status(), 1);
            assert!(failure.to_string().contains(what), "{failure}");
            asked.join().unwrap();
        }
    }

    #[test]
    fn urls() {
        for text in [
            "http://127.0.0.1:8480",
            "127.0.0.1:8480/",
            "http://127.0.0.1:8480/",
        ] {
            assert_eq!(text.parse(), Ok(Target::default()));
        }
        for text in ["https://a:1", "http://a", "a:1/x", ""] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains("http://127.0.0.1:8480"), "{error}");
        }
    }
}
