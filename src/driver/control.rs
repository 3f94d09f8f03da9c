//! What an owner can tell a running node, by whichever way: the page, the serial console. One line of words is one
//! command; [`apply`] carries it out and says in one sentence what was done.
//!
//! The rule is the same for every way: nothing can be told unless the owner turned it on with a token, and whoever says
//! something says the token too ([`Control::allows`]). What is told holds until the program ends.

use super::engine::Engine;
use super::units::{self, Rate};
use crate::http::units::Duration;
use crate::proto::node::StreamId;
use crate::proto::uplink::ENDING;
use crate::time::{Instant, Span};
use core::cell::Cell;
use core::fmt;

/// Longest pause; whoever wants more wants another configuration.
const LONGEST_PAUSE: Span = Span::from_s(7 * 24 * 3_600);

/// A pause for which no time is said.
const USUAL_PAUSE: Span = Span::from_s(3_600);

/// One thing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Forward nothing for so long: `pause`, `pause 30m`.
    Pause(Span),
    /// Go on before the pause is over: `resume`.
    Resume,
    /// Never send more bits a second than this; nothing is no limit: `limit 2Mbit`, `limit unlimited`.
    Limit(Option<u64>),
    /// Carry this stream no longer: `stop KEY`.
    Stop(StreamId),
    /// Carry it again: `start KEY`.
    Start(StreamId),
}

/// Why a line is no command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotACommand {
    /// None of the words.
    Verb,
    /// A pause that is no time, or too long a one.
    Time,
    /// A limit that is no rate.
    Rate,
    /// No stream of this node, or none named.
    Stream,
}

impl fmt::Display for NotACommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verb => "not a command; there are: pause, resume, limit, stop, start",
            Self::Time => "pause takes a time of at most a week, for example: pause 1h",
            Self::Rate => "limit takes a rate, for example: limit 2Mbit; or: limit unlimited",
            Self::Stream => "stop and start take the key of a stream carried here",
        })
    }
}

impl Command {
    /// Reads a verb and its one argument (empty where there is none); `find` knows the node's streams by their keys.
    pub fn parse(
        verb: &str,
        argument: &str,
        find: impl Fn(&str) -> Option<StreamId>,
    ) -> Result<Self, NotACommand> {
        let stream = || find(argument).ok_or(NotACommand::Stream);
        match verb {
            "pause" => pause(argument).map(Self::Pause),
            "resume" => Ok(Self::Resume),
            "limit" => units::parse_rate_limit(argument)
                .map(Self::Limit)
                .map_err(|_| NotACommand::Rate),
            "stop" => stream().map(Self::Stop),
            "start" => stream().map(Self::Start),
            _ => Err(NotACommand::Verb),
        }
    }

    /// Reads a whole line, for example `limit 2Mbit`.
    pub fn parse_line(
        line: &str,
        find: impl Fn(&str) -> Option<StreamId>,
    ) -> Result<Self, NotACommand> {
        let (verb, argument) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        Self::parse(verb, argument.trim(), find)
    }
}

fn pause(argument: &str) -> Result<Span, NotACommand> {
    let span = match argument {
        "" => Ok(USUAL_PAUSE),
        text => units::parse_span(text).map_err(|_| NotACommand::Time),
    }?;
    match span {
        Span::ZERO => Err(NotACommand::Time),
        span if span > LONGEST_PAUSE => Err(NotACommand::Time),
        span => Ok(span),
    }
}

/// One sentence: what was done.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Pause(span) => write!(
                f,
                "Relaying is paused for {}.",
                Duration(span.as_us() / 1_000_000)
            ),
            Self::Resume => f.write_str("Relaying goes on."),
            Self::Limit(Some(0)) => f.write_str("Nothing is forwarded any more."),
            Self::Limit(Some(bps)) => write!(f, "The upload limit is {} now.", Rate(bps)),
            Self::Limit(None) => f.write_str("There is no upload limit any more."),
            Self::Stop(_) => f.write_str("The stream is stopped here."),
            Self::Start(_) => f.write_str("The stream is carried again."),
        }
    }
}

/// What the owner has told the node since its start, and who may.
pub struct Control {
    /// A hash, so that comparing takes the same time however much is right.
    token: Option<blake3::Hash>,
    limit_bps: Cell<Option<u64>>,
    pause: Cell<Option<Pause>>,
}

/// No forwarding for a while.
#[derive(Clone, Copy)]
struct Pause {
    /// The children are let go by then; after that nothing is forwarded, whatever was left.
    let_go: Instant,
    until: Instant,
}

impl Control {
    /// With the limit of the configuration, and the token if control is turned on.
    pub fn new(limit_bps: Option<u64>, token: Option<&str>) -> Self {
        Self {
            token: token.map(|token| blake3::hash(token.as_bytes())),
            limit_bps: Cell::new(limit_bps),
            pause: Cell::new(None),
        }
    }

    /// Whether anything can be told at all.
    pub fn is_on(&self) -> bool {
        self.token.is_some()
    }

    /// Whether this is the token. Hashes are compared in constant time.
    pub fn allows(&self, token: &str) -> bool {
        self.token == Some(blake3::hash(token.as_bytes()))
    }

    /// The owner's limit, whether or not relaying is paused: bits a second, nothing for none.
    pub fn limit_bps(&self) -> Option<u64> {
        self.limit_bps.get()
    }

    /// When the pause ends, if there is one.
    pub fn paused_until(&self) -> Option<Instant> {
        self.pause.get().map(|pause| pause.until)
    }

    /// What the node is held to by its owner.
    fn effective_bps(&self, now: Instant) -> Option<u64> {
        match self.pause.get() {
            Some(pause) if pause.let_go <= now => Some(0),
            _ => self.limit_bps.get(),
        }
    }

    /// Ends a pause whose time is over, and the forwarding when it has lasted. To be called every second or so.
    pub fn tend(&self, engine: &Engine) {
        let Some(pause) = self.pause.get() else {
            return;
        };
        if pause.until <= engine.clock.now() {
            apply(self, engine, Command::Resume);
        } else {
            self.hold(engine);
        }
    }

    /// Holds the node to what its owner wants now.
    fn hold(&self, engine: &Engine) {
        engine.with(|node, now| {
            node.set_paused(now, self.pause.get().is_some());
            node.set_upload_limit(now, self.effective_bps(now));
        });
    }
}

/// Carries out a command, and notes it.
pub fn apply(control: &Control, engine: &Engine, command: Command) {
    let now = engine.clock.now();
    match command {
        Command::Pause(span) => {
            let let_go = match control.pause.get() {
                Some(pause) => pause.let_go,
                None => now + ENDING,
            };
            let until = now + span;
            control.pause.set(Some(Pause { let_go, until }));
        }
        Command::Resume => control.pause.set(None),
        Command::Limit(limit_bps) => control.limit_bps.set(limit_bps),
        Command::Stop(stream) => engine.with(|node, now| node.set_carried(now, stream, false)),
        Command::Start(stream) => engine.with(|node, now| node.set_carried(now, stream, true)),
    }
    control.hold(engine);
    engine.note(format_args!("{command}"));
    log::info!("{command}");
    // Players of a stream that is stopped are sent away.
    engine.media.ring();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_line_is_a_command() {
        let find = |key: &str| (key == "abc").then_some(2);
        let parse = |line| Command::parse_line(line, find);
        assert_eq!(parse("pause"), Ok(Command::Pause(Span::from_s(3_600))));
        assert_eq!(
            parse(" pause  30m "),
            Ok(Command::Pause(Span::from_s(1_800)))
        );
        assert_eq!(parse("resume"), Ok(Command::Resume));
        assert_eq!(parse("limit 2Mbit"), Ok(Command::Limit(Some(2_000_000))));
        assert_eq!(parse("limit 0"), Ok(Command::Limit(Some(0))));
        assert_eq!(parse("limit unlimited"), Ok(Command::Limit(None)));
        assert_eq!(parse("stop abc"), Ok(Command::Stop(2)));
        assert_eq!(parse("start abc"), Ok(Command::Start(2)));
        for (line, why) in [
            ("", NotACommand::Verb),
            ("reboot", NotACommand::Verb),
            ("pause soon", NotACommand::Time),
            ("pause 0s", NotACommand::Time),
            ("pause 200h", NotACommand::Time),
            ("limit", NotACommand::Rate),
            ("limit 2", NotACommand::Rate),
            ("stop", NotACommand::Stream),
            ("start xyz", NotACommand::Stream),
        ] {
            assert_eq!(parse(line), Err(why), "{line}");
            assert!(!why.to_string().is_empty());
        }
    }

    #[test]
    fn only_the_token_opens_and_without_one_nothing_does() {
        let closed = Control::new(None, None);
        assert!(!closed.is_on() && !closed.allows(""));
        let open = Control::new(None, Some("correct horse"));
        assert!(open.is_on() && open.allows("correct horse"));
        for wrong in ["", "correct", "correct horse ", "Correct horse"] {
            assert!(!open.allows(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_was_done_is_one_sentence() {
        let said = |command: Command| command.to_string();
        assert_eq!(
            said(Command::Pause(Span::from_s(3_600))),
            "Relaying is paused for 1 h 0 min."
        );
        assert_eq!(
            said(Command::Limit(Some(2_000_000))),
            "The upload limit is 2Mbit now."
        );
    }
}
