//! The one table of everything that can be set, and the values given so far with where each was given, so that an
//! error can name it. Flags and configuration files both end up here; `config` gives the texts their meaning.

use super::failure::Failure;
use std::fmt;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// The first word on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// A whole grid on this machine.
    Demo,
    /// Make a stream's key.
    Keygen,
    /// Sign and send a stream.
    Source,
    /// Carry streams.
    Relay,
    /// Receive a stream.
    Listen,
    /// Ask a running node how it is.
    Status,
    /// Validate a configuration file.
    Check,
}

impl Command {
    /// Every command, in the order help lists them.
    pub const ALL: [Self; 7] = [
        Self::Demo,
        Self::Keygen,
        Self::Source,
        Self::Relay,
        Self::Listen,
        Self::Status,
        Self::Check,
    ];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Keygen => "keygen",
            Self::Source => "source",
            Self::Relay => "relay",
            Self::Listen => "listen",
            Self::Status => "status",
            Self::Check => "check",
        }
    }
}

/// One thing that can be set: `--name` on the command line, `name` in a file.
pub struct Setting {
    /// Without the dashes.
    pub name: &'static str,
    /// What a value looks like, or nothing for a switch that is on or off.
    pub value: Option<&'static str>,
    /// The commands that know it.
    pub commands: &'static [Command],
    /// Whether the flag may be given more than once.
    pub repeats: bool,
}

impl Setting {
    /// Whether a configuration file may hold it.
    pub fn is_key(&self) -> bool {
        self.name != "config" && self.commands.iter().any(|command| NODES.contains(command))
    }
}

/// Keys that a configuration file has and the command line says in another way.
pub const FILE_ONLY_KEYS: [&str; 2] = ["role", "streams"];

const NODES: &[Command] = &[Command::Source, Command::Relay, Command::Listen];
const RECEIVERS: &[Command] = &[Command::Relay, Command::Listen];
const SOURCE: &[Command] = &[Command::Source];
const SERVERS: &[Command] = &[
    Command::Demo,
    Command::Source,
    Command::Relay,
    Command::Listen,
];
const CONFIGURABLE: &[Command] = &[
    Command::Source,
    Command::Relay,
    Command::Listen,
    Command::Check,
];

/// Every flag there is.
pub const SETTINGS: &[Setting] = &[
    value("advertise", "ADDR:PORT, for example 192.0.2.1:8479", NODES),
    value(
        "at",
        "a URL, for example http://127.0.0.1:8480",
        &[Command::Status],
    ),
    many("bind", "ADDR:PORT, for example 0.0.0.0:8479", NODES),
    value("bitrate", "a rate, for example 2Mbit", SOURCE),
    value("board", "a file or a name, for example ath79", RECEIVERS),
    value("burst", "a time, for example 2s", NODES),
    value("config", "a file, for example relay.toml", CONFIGURABLE),
    value(
        "content-type",
        "a media type, for example audio/mpeg",
        SOURCE,
    ),
    value("control-token", "a file, for example control.token", NODES),
    value("delay-target", "a time, for example 50ms, or 0", NODES),
    value("disclosure", "a text listeners see", SOURCE),
    value("for", "a time, for example 20s", &[Command::Demo]),
    value("genre", "a text, for example jazz", SOURCE),
    value("group", "a time, for example 250ms", SOURCE),
    value("http", "ADDR:PORT, for example 127.0.0.1:8480", SERVERS),
    value("http-hosts", "NAME[,NAME...]", NODES),
    switch("http-public", NODES),
    value("input", "-, a file or a URL, for example show.mp3", SOURCE),
    switch("json", &[Command::Status]),
    value("k", "2, 4, 8 or 16", SOURCE),
    value("key", "a file, for example stream.key", SOURCE),
    value("m", "a number from 1 to 30", SOURCE),
    value("max-children", "a number, for example 32", NODES),
    value("max-players", "a number, for example 16", NODES),
    value("mdns", "auto, on, ask or off", NODES),
    value("memory", "a size, for example 8MiB", NODES),
    value("name", "a text, for example \"Harbour Radio\"", SOURCE),
    value("offload", "auto or off", NODES),
    value("out", "a file, for example stream.key", &[Command::Keygen]),
    value("peers", "HOST:PORT[,HOST:PORT...]", NODES),
    value("quota", "a size a month, for example 200GB", NODES),
    value("quota-day", "a number from 1 to 28", NODES),
    value("relays", "a number, for example 5", &[Command::Demo]),
    switch("repeat", SOURCE),
    value("role", "relay, listen or source", &[Command::Check]),
    many("serial", "DEVICE,console|link[,BAUD]", NODES),
    value("spare", "a number, for example 1", RECEIVERS),
    value("state", "a directory, for example /var/lib/weir", NODES),
    value("upload-limit", "a rate, for example 2Mbit", NODES),
    value(
        "url",
        "a URL, for example https://radio.example.org",
        SOURCE,
    ),
    switch("watch", &[Command::Status]),
    value("window", "a time, for example 4s", RECEIVERS),
];

const fn value(name: &'static str, example: &'static str, commands: &'static [Command]) -> Setting {
    Setting {
        name,
        value: Some(example),
        commands,
        repeats: false,
    }
}

const fn many(name: &'static str, example: &'static str, commands: &'static [Command]) -> Setting {
    Setting {
        repeats: true,
        ..value(name, example, commands)
    }
}

const fn switch(name: &'static str, commands: &'static [Command]) -> Setting {
    Setting {
        name,
        value: None,
        commands,
        repeats: false,
    }
}

/// The setting of this name, whatever command it belongs to.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The candidate closest to `word`, if one is close enough to have been meant.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The commands of a setting as people say them: `weir source`, or `weir relay and weir listen`.
pub fn belongs_to(setting: &Setting) -> String {
    let names: Vec<String> = setting
        .commands
        .iter()
        .map(|command| format!("weir {}", command.name()))
        .collect();
    names.join(" and ")
}

/// Where a value was given, as an error names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A flag.
    Flag(&'static str),
    /// A free-standing argument.
    Argument(&'static str),
    /// A key of a file, on a line if that is known.
    Key {
        /// The file.
        file: String,
        /// Counted from 1.
        line: Option<usize>,
        /// The key.
        key: String,
    },
}

impl Origin {
    /// What was given there will not do.
    fn refuses(&self, why: &str) -> Failure {
        Failure::usage(self, why)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Argument(name) => f.write_str(name),
            Self::Key { file, line, key } => match line {
                Some(line) => write!(f, "{file}:{line}: {key}"),
                None => write!(f, "{file}: {key}"),
            },
        }
    }
}

/// The values of one setting.
#[derive(Clone, PartialEq, Debug)]
struct Given {
    name: String,
    texts: Vec<String>,
    origin: Origin,
}

/// What was given: texts not yet read.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Settings {
    /// In the order of names.
    given: Vec<Given>,
}

impl Settings {
    /// Notes what a flag or key was given; the same one twice is an error.
    pub fn put(&mut self, name: &str, texts: Vec<String>, origin: Origin) -> Result<(), Failure> {
        match self.place(name) {
            Ok(_) => Err(Failure::usage(origin, "given twice")),
            Err(place) => {
                let name = name.to_string();
                self.given.insert(
                    place,
                    Given {
                        name,
                        texts,
                        origin,
                    },
                );
                Ok(())
            }
        }
    }

    /// One more free-standing argument, or one more of a flag that may be repeated.
    pub fn push(&mut self, name: &str, text: String, origin: Origin) {
        match self.given.iter_mut().find(|given| given.name == name) {
            Some(given) => given.texts.push(text),
            // Given for the first time.
            None => drop(self.put(name, [text].into(), origin)),
        }
    }

    /// These settings, and those of `below` where these say nothing: flags over the file.
    #[must_use]
    pub fn over(mut self, below: Self) -> Self {
        for given in below.given {
            if let Err(place) = self.place(&given.name) {
                self.given.insert(place, given);
            }
        }
        self
    }

    /// Where `name` was given, if it was.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.get(name).map(|given| &given.origin)
    }

    /// The names given, and where.
    pub fn names(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.given
            .iter()
            .map(|given| (given.name.as_str(), &given.origin))
    }

    /// Where it is, or where it would be.
    fn place(&self, name: &str) -> Result<usize, usize> {
        let order = |given: &Given| given.name.as_str().cmp(name);
        self.given.binary_search_by(order)
    }

    fn get(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.name == name)
    }

    /// The one value of `name`, read by `read`, whose error is completed with where the value was given.
    pub fn one<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        match self.single(name)? {
            Some((text, origin)) => match read(text) {
                Ok(value) => Ok(Some(value)),
                Err(why) => Err(origin.refuses(&why)),
            },
            None => Ok(None),
        }
    }

    /// The one text of `name` and where it was given. (What [`Settings::one`] has for every type alike.)
    fn single(&self, name: &str) -> Result<Option<(&str, &Origin)>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(Given { texts, origin, .. }) => match texts.as_slice() {
                [text] => Ok(Some((text, origin))),
                _ => Err(origin.refuses("takes one value, not a list")),
            },
        }
    }

    /// Every value of `name`, read by `read`; empty where it was not given.
    pub fn all<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Failure> {
        let Some(given) = self.get(name) else {
            return Ok(Vec::new());
        };
        let mut values = Vec::with_capacity(given.texts.len());
        for text in &given.texts {
            values.push(read(text).map_err(|why| given.origin.refuses(&why))?);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_no_name_twice() {
        assert!(SETTINGS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn typing_errors_find_what_was_meant() {
        let flags = || SETTINGS.iter().map(|setting| setting.name);
        assert_eq!(nearest("uplod-limit", flags()), Some("upload-limit"));
        assert_eq!(nearest("max-childern", flags()), Some("max-children"));
        assert_eq!(nearest("xyzzy", flags()), None);
    }

    #[test]
    fn flags_win_over_the_file() {
        let key = |key: &str| Origin::Key {
            file: "f.toml".to_string(),
            line: Some(3),
            key: key.to_string(),
        };
        let mut file = Settings::default();
        file.put("memory", [String::from("1MiB")].into(), key("memory"))
            .unwrap();
        file.put("quota", [String::from("1GB")].into(), key("quota"))
            .unwrap();
        let mut flags = Settings::default();
        flags
            .put(
                "memory",
                [String::from("2MiB")].into(),
                Origin::Flag("memory"),
            )
            .unwrap();
        let both = flags.over(file);
        let text = |name: &str| {
            both.one(name, |text| Ok(text.to_string()))
                .unwrap()
                .unwrap()
        };
        assert_eq!(
            (text("memory").as_str(), text("quota").as_str()),
            ("2MiB", "1GB")
        );
        let wrong = both.one("quota", |_| Err::<(), _>(String::from("bad")));
        assert_eq!(wrong.unwrap_err().to_string(), "f.toml:3: quota: bad");
    }
}
