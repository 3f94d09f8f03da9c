//! The console: a person with a terminal program at the other end of the line.

use super::editor::{Editor, Typed};
use super::port::Port;
use super::screen::{Deaf, Screen};
use crate::driver::base32;
use crate::driver::control::{self, Command};
use crate::driver::lines::{Line, LineState};
use crate::driver::reactor::Timer;
use crate::driver::view::{Running, View};
use crate::http::document::PART_BYTES;
use crate::http::out::steers;
use crate::http::status::StatusSource;
use crate::http::text::{Behind, StatusText};
use crate::http::units::{Data, Duration as Took, Rate};
use crate::time::{Instant, Span};
use core::convert::Infallible;
use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use heapless::String;
use std::io;

const PROMPT: &str = "weir> ";

const HELP: &str = "\
  (return)        how it goes, in one line
  status     s    everything
  streams    t    what is carried
  peers      p    who it is shared with
  serial     i    the serial lines
  memory     m    the memory plan
  log        l    what happened last
  follow     f    what happens, until a key is pressed
  help       ?    this
";

const HELP_CONTROL: &str = "\
  token TOKEN     the control token; then:
  pause [TIME]    forward nothing for so long (1h)
  resume          go on
  limit RATE      never send more, for example: limit 2Mbit
  stop KEY, start KEY   a stream
";

/// After this many lines in a row that are no command, nothing more is said to them: it is noise, or another program.
const MAX_NONSENSE: u8 = 3;

/// Whoever gave the token may go on for so long without another command.
const UNLOCKED: Span = Span::from_s(300);

/// A wrong token waits for its answer, as on the page: guessing takes for ever.
const WRONG: core::time::Duration = core::time::Duration::from_millis(500);

/// What happens is looked for this often.
const FOLLOW: Span = Span::from_ms(500);

/// Attends to a person until the port is gone; returns why.
pub async fn run(running: &Running, line: &Line, port: Port) -> io::Error {
    let mut console = Console {
        running,
        line,
        port,
        editor: Editor::default(),
        screen: Screen::new(),
        nonsense: 0,
        unlocked_until: None,
        follows: None,
    };
    match console.attend().await {
        Err(error) => error,
    }
}

struct Console<'a> {
    running: &'a Running,
    line: &'a Line,
    port: Port,
    editor: Editor,
    screen: Screen,
    /// Lines in a row that were no command.
    nonsense: u8,
    unlocked_until: Option<Instant>,
    /// Up to when what happened has been shown, while it is followed.
    follows: Option<Instant>,
}

/// What became of showing something: shown, or not taken by the terminal.
type Shown = io::Result<Result<(), Deaf>>;

impl Console<'_> {
    async fn attend(&mut self) -> Result<Infallible, io::Error> {
        let _ = self.greet().await?;
        let mut timer = Timer::never();
        loop {
            let mut keys = [0; 64];
            let read = self.port.read_some(&mut keys)?;
            self.line.count(|c| c.rx_bytes += read as u64);
            for key in keys.get(..read).unwrap_or(&[]) {
                let _ = self.key(*key).await?;
            }
            self.screen.flush_some(&self.port)?;
            let _ = self.follow().await?;
            self.note();
            if read == 0 {
                self.wait(&mut timer).await;
            } else {
                smol::future::yield_now().await;
            }
        }
    }

    /// Until a key, room for what waits, or news that are followed.
    async fn wait(&self, timer: &mut Timer) {
        let clock = &self.running.engine.clock;
        match self.follows {
            Some(_) => timer.set_at(clock.system(clock.now() + FOLLOW)),
            None => *timer = Timer::never(),
        }
        poll_fn(|context| {
            let awake = self.port.poll_readable(context).is_ready()
                || (self.screen.is_waiting() && self.port.poll_writable(context).is_ready())
                || Pin::new(&mut *timer).poll(context).is_ready();
            match awake {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// The state of the line as the status shows it.
    fn note(&self) {
        let (noise, shown) = (self.editor.noise, self.screen.shown_bytes);
        self.line
            .count(|c| (c.bad_frames, c.tx_bytes) = (noise, shown));
        self.line.state.set(match self.screen.deaf {
            true => LineState::Blocked,
            false if self.nonsense >= MAX_NONSENSE => LineState::Noise,
            false => LineState::Up,
        });
    }

    async fn key(&mut self, key: u8) -> Shown {
        if self.follows.take().is_some() {
            self.screen.put(PROMPT);
            return Ok(Ok(()));
        }
        let quiet = self.nonsense >= MAX_NONSENSE;
        match self.editor.key(key) {
            Typed::Nothing => {}
            Typed::Shown(_) | Typed::Wiped(_) | Typed::GivenUp | Typed::Help if quiet => {}
            Typed::Shown(c) => self.screen.put(c.encode_utf8(&mut [0; 4])),
            Typed::Wiped(n) => (0..n).for_each(|_| self.screen.put("\x08 \x08")),
            Typed::GivenUp => {
                self.screen.put("^C\n");
                self.screen.put(PROMPT);
            }
            Typed::Help => {
                self.screen.put("?\n");
                let _ = self.help().await?;
                self.screen.put(PROMPT);
            }
            Typed::Garbled => {
                self.nonsense("\ngarbled on the way; not done\n");
                if self.nonsense < MAX_NONSENSE {
                    self.screen.put(PROMPT);
                }
            }
            Typed::Line(line) => {
                if !quiet {
                    self.screen.put("\n");
                }
                if self.command(line.trim()).await? == Err(Deaf) {
                    return Ok(Err(Deaf));
                }
                if self.follows.is_none() && self.nonsense < MAX_NONSENSE {
                    self.screen.put(PROMPT);
                }
            }
        }
        Ok(Ok(()))
    }

    fn nonsense(&mut self, why: &str) {
        self.nonsense = self.nonsense.saturating_add(1);
        if self.nonsense < MAX_NONSENSE {
            self.screen.put(why);
        } else if self.nonsense == MAX_NONSENSE {
            self.screen.put("noise? press return to go on\n");
        }
    }

    async fn command(&mut self, line: &str) -> Shown {
        let known = self.answer(line).await?;
        match known {
            Some(shown) => {
                self.nonsense = 0;
                Ok(shown)
            }
            None => {
                self.nonsense("no such command; ? lists them\n");
                Ok(Ok(()))
            }
        }
    }

    /// Carries a line out; nothing if it is no command.
    async fn answer(&mut self, line: &str) -> io::Result<Option<Result<(), Deaf>>> {
        let shown = match line {
            "" => self.verdict().await?,
            "s" | "status" => self.status().await?,
            "t" | "streams" => self.rows(stream_row).await?,
            "p" | "peers" => self.rows(peer_row).await?,
            "i" | "serial" => self.serial().await?,
            "m" | "memory" => {
                let plan = &self.running.facts.plan;
                self.screen.show(&self.port, plan).await?
            }
            "l" | "log" => self.log(Instant::ZERO).await?,
            "f" | "follow" => {
                self.follows = Some(self.running.engine.clock.now());
                self.say("(any key ends this)\n").await?
            }
            "h" | "?" | "help" => self.help().await?,
            _ => return self.control(line).await,
        };
        Ok(Some(shown))
    }

    async fn say(&mut self, text: &str) -> Shown {
        self.screen.show(&self.port, text).await
    }

    async fn greet(&mut self) -> Shown {
        self.screen.put("\n");
        let _ = self.verdict().await?;
        self.screen.put("? for help\n");
        self.screen.put(PROMPT);
        self.say("").await
    }

    async fn help(&mut self) -> Shown {
        let control = match self.running.control.is_on() {
            true => HELP_CONTROL,
            false => "  (--control-token lets you pause and limit it from here)\n",
        };
        let _ = self.say(HELP).await?;
        self.say(control).await
    }

    /// The first line of the status, with the node's name in front.
    async fn verdict(&mut self) -> Shown {
        let mut part = [0; PART_BYTES];
        let len = StatusText::new(false).next(&self.running.view(), &mut part);
        let text = text(&part, len.unwrap_or(0));
        let first = text.lines().next().unwrap_or("");
        let (version, role) = (env!("CARGO_PKG_VERSION"), self.running.facts.role);
        let row = row(format_args!("weir {version} {role}: {first}\n"));
        self.say(&row).await
    }

    async fn status(&mut self) -> Shown {
        let mut document = StatusText::new(false);
        let mut part = [0; PART_BYTES];
        while let Some(len) = { document.next(&self.running.view(), &mut part) } {
            if self.say(text(&part, len)).await? == Err(Deaf) {
                return Ok(Err(Deaf));
            }
        }
        Ok(Ok(()))
    }

    /// One line for each place in a table.
    async fn rows(&mut self, row: fn(&View<'_>, usize) -> Row) -> Shown {
        let mut any = false;
        for place in 0.. {
            let row = row(&self.running.view(), place);
            let Row::Line(line) = row else {
                if row == Row::End {
                    break;
                }
                continue;
            };
            any = true;
            if self.say(&line).await? == Err(Deaf) {
                return Ok(Err(Deaf));
            }
        }
        match any {
            true => Ok(Ok(())),
            false => self.say("none\n").await,
        }
    }

    async fn serial(&mut self) -> Shown {
        for (_, line) in self.running.lines.iter() {
            let c = line.counters();
            let row = row(format_args!(
                "{}: {}; in {}, {} frames, {} bad; out {}, {} frames, {} dropped; opened {} times\n",
                line.told,
                line.state.get().as_str(),
                Data(c.rx_bytes),
                c.rx_frames,
                c.bad_frames,
                Data(c.tx_bytes),
                c.tx_frames,
                c.dropped_frames,
                c.opened,
            ));
            if self.say(&row).await? == Err(Deaf) {
                return Ok(Err(Deaf));
            }
        }
        Ok(Ok(()))
    }

    /// What happened after a time, the oldest first.
    async fn log(&mut self, after: Instant) -> Shown {
        for i in (0..crate::driver::journal::MAX_LINES).rev() {
            let now = self.running.engine.clock.now();
            let row = {
                let journal = self.running.engine.journal();
                let Some(line) = journal.line(i).filter(|line| line.at > after) else {
                    continue;
                };
                let ago = Took(now.since(line.at).as_us() / 1_000_000);
                match line.times {
                    1 => row(format_args!("{ago} ago: {}\n", line.text)),
                    times => row(format_args!("{ago} ago, {times} times: {}\n", line.text)),
                }
            };
            if self.say(&row).await? == Err(Deaf) {
                return Ok(Err(Deaf));
            }
        }
        Ok(Ok(()))
    }

    async fn follow(&mut self) -> Shown {
        let Some(after) = self.follows else {
            return Ok(Ok(()));
        };
        self.follows = Some(self.running.engine.clock.now());
        self.log(after).await
    }

    /// What changes something needs the token, as on the page.
    async fn control(&mut self, line: &str) -> io::Result<Option<Result<(), Deaf>>> {
        let running = self.running;
        let now = running.engine.clock.now();
        if let Some(token) = line.strip_prefix("token ") {
            let right = running.control.allows(token.trim());
            if !right {
                Timer::after(WRONG).await;
                log::warn!(
                    "serial {}: a wrong control token",
                    self.line.told.path.display()
                );
            }
            self.unlocked_until = right.then_some(now + UNLOCKED);
            let answer = match right {
                true => "yours for five minutes\n",
                false => "that is not the token\n",
            };
            return self.say(answer).await.map(Some);
        }
        let find = |key: &str| running.engine.find(&base32::decode_key(key)?);
        let command = match Command::parse_line(line, find) {
            Ok(command) => command,
            Err(control::NotACommand::Verb) => return Ok(None),
            Err(why) => return self.say(&row(format_args!("{why}\n"))).await.map(Some),
        };
        if !running.control.is_on() {
            let why = "control is off here; --control-token turns it on\n";
            return self.say(why).await.map(Some);
        }
        if self.unlocked_until.is_none_or(|until| until < now) {
            return self
                .say("say the token first: token TOKEN\n")
                .await
                .map(Some);
        }
        self.unlocked_until = Some(now + UNLOCKED);
        control::apply(&running.control, &running.engine, command);
        self.say(&row(format_args!("{command}\n"))).await.map(Some)
    }
}

/// A line of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Row {
    Line(String<ROW_BYTES>),
    /// The place is vacant.
    Hole,
    End,
}

const ROW_BYTES: usize = 256;

/// A line, cut where it is too long.
fn row(what: fmt::Arguments<'_>) -> String<ROW_BYTES> {
    let mut row = String::new();
    if fmt::write(&mut row, what).is_err() {
        row.truncate(cut(&row, ROW_BYTES - 4));
        // Room: four bytes were kept.
        let _ = row.push_str("...\n");
    }
    row
}

fn cut(text: &str, most: usize) -> usize {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

fn stream_row(view: &View<'_>, place: usize) -> Row {
    if place >= view.stream_slots() {
        return Row::End;
    }
    let Some(stream) = view.stream(place) else {
        return Row::Hole;
    };
    Row::Line(row(format_args!(
        "{}  {}  {}, {}, {} gaps, {} listen: {}\n",
        stream.key.get(..8).unwrap_or(""),
        stream.state.as_str(),
        Rate(stream.bitrate_bps),
        Behind(stream.lag_ms),
        stream.gaps_total,
        stream.audience,
        Printable(stream.title),
    )))
}

fn peer_row(view: &View<'_>, place: usize) -> Row {
    if place >= view.peer_slots() {
        return Row::End;
    }
    let Some(peer) = view.peer(place) else {
        return Row::Hole;
    };
    Row::Line(row(format_args!(
        "{}  rtt {} ms  in {}  out {}  stripes from it {}, to it {}\n",
        peer.address,
        peer.rtt_ms.unwrap_or(0),
        Data(peer.rx_bytes_total),
        Data(peer.tx_bytes_total),
        peer.stripes_from,
        peer.stripes_to,
    )))
}

/// A text from outside, without what would control the terminal.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printable = |c: &char| !c.is_control() && !steers(*c);
        self.0
            .chars()
            .filter(printable)
            .take(64)
            .try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

/// The first bytes of a part, which is text.
fn text(part: &[u8], len: usize) -> &str {
    core::str::from_utf8(part.get(..len).unwrap_or(&[])).unwrap_or("")
}
