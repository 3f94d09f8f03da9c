//! From the command line to what is to be done: words and flags are checked here, their values in `config`.

use super::board;
use super::config::{self, Config, DemoConfig, Role};
use super::config_file;
use super::config_source::ConfigSource;
use super::failure::Failure;
use super::help;
use super::settings::{self, Command, Origin, SETTINGS, Setting, Settings};
use super::status;
use lexopt::Arg;
use std::ffi::OsString;
use std::format;
use std::path::PathBuf;
use std::string::String;
use std::vec::Vec;

/// What the command line asks for, complete and checked.
#[derive(PartialEq, Debug)]
pub enum Invocation {
    /// Print a text (help, the version) and be done.
    Print(String),
    /// `weir demo`.
    Demo(DemoConfig),
    /// `weir keygen`: make a key in this file.
    Keygen(PathBuf),
    /// `weir source`, `weir relay`, `weir listen`; and where that can be read again.
    Run(Config, ConfigSource),
    /// `weir status`: ask the node here, and show its answer so.
    Status(status::Target, status::Show),
    /// `weir check`: this configuration, read from the file of this name.
    Check(String, Config),
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Failure> {
    let mut arguments = arguments.into_iter();
    let Some(word) = arguments.next() else {
        return Err(Failure::Usage(String::from(
            "no command; begin with weir demo, or see weir --help",
        )));
    };
    let word = word.to_string_lossy();
    let command = match &*word {
        "--help" | "-h" => return Ok(Invocation::Print(String::from(help::OVERVIEW))),
        "--version" | "-V" => return Ok(Invocation::Print(version())),
        "help" => return help_about(arguments.next()).map(Invocation::Print),
        name => find_command(name)?,
    };
    match flags_of(command, arguments)? {
        Flags::Answer(text) => Ok(Invocation::Print(text)),
        Flags::Given(given) => complete(command, given),
    }
}

/// `weir 0.1.0` and a newline.
pub fn version() -> String {
    format!("weir {}\n", env!("CARGO_PKG_VERSION"))
}

fn find_command(name: &str) -> Result<Command, Failure> {
    let known = Command::ALL
        .into_iter()
        .find(|command| command.name() == name);
    known.ok_or_else(|| {
        let names = Command::ALL.into_iter().map(Command::name);
        let hint = match settings::nearest(name, names) {
            Some(meant) => format!("did you mean weir {meant}?"),
            None => String::from("weir --help lists them"),
        };
        Failure::usage(format!("{name:?}"), format!("no such command; {hint}"))
    })
}

fn help_about(topic: Option<OsString>) -> Result<String, Failure> {
    match topic {
        None => Ok(String::from(help::OVERVIEW)),
        Some(topic) => {
            find_command(&topic.to_string_lossy()).map(|command| String::from(help::of(command)))
        }
    }
}

/// What a command's flags amount to.
enum Flags {
    /// `--help` or `--version` was among them: the text to print instead.
    Answer(String),
    Given(Settings),
}

fn flags_of(command: Command, arguments: impl Iterator<Item = OsString>) -> Result<Flags, Failure> {
    let mut given = Settings::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(stray_value)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => {
                return Ok(Flags::Answer(String::from(help::of(command))));
            }
            Arg::Long("version") | Arg::Short('V') => return Ok(Flags::Answer(version())),
            Arg::Long(name) => {
                let setting = known_flag(command, name)?;
                let text = flag_value(setting, &mut parser)?;
                match setting.repeats {
                    true => given.push(setting.name, text, Origin::Flag(setting.name)),
                    false => given.put(setting.name, [text].into(), Origin::Flag(setting.name))?,
                }
            }
            Arg::Short(letter) => return Err(unknown_flag(command, &format!("-{letter}"))),
            Arg::Value(text) => take_argument(command, utf8(text, "an argument")?, &mut given)?,
        }
    }
    Ok(Flags::Given(given))
}

/// lexopt's one complaint while it walks: `--repeat=yes`.
fn stray_value(error: lexopt::Error) -> Failure {
    let option = match error {
        lexopt::Error::UnexpectedValue { option, .. } => option,
        _ => String::from("a flag"),
    };
    Failure::usage(option, "takes no value")
}

fn known_flag(command: Command, name: &str) -> Result<&'static Setting, Failure> {
    match settings::find(name) {
        Some(setting) if setting.commands.contains(&command) => Ok(setting),
        Some(setting) => Err(Failure::usage(
            format!("--{name}"),
            format!(
                "belongs to {}, not weir {}",
                settings::belongs_to(setting),
                command.name()
            ),
        )),
        None => Err(unknown_flag(command, &format!("--{name}"))),
    }
}

fn unknown_flag(command: Command, flag: &str) -> Failure {
    let own = SETTINGS
        .iter()
        .filter(|setting| setting.commands.contains(&command))
        .map(|setting| setting.name);
    let hint = match settings::nearest(flag.trim_start_matches('-'), own) {
        Some(meant) => format!("did you mean --{meant}?"),
        None => format!("weir {} --help lists them", command.name()),
    };
    Failure::usage(flag, format!("no such flag; {hint}"))
}

fn flag_value(setting: &Setting, parser: &mut lexopt::Parser) -> Result<String, Failure> {
    let flag = Origin::Flag(setting.name);
    let Some(example) = setting.value else {
        return Ok(String::from("true"));
    };
    let text = match parser.optional_value() {
        Some(text) => Some(text),
        // What looks like the next flag is one: `--bind --http 127.0.0.1:80` forgot something.
        None => parser
            .value()
            .ok()
            .filter(|text| !text.to_string_lossy().starts_with("--")),
    };
    match text {
        Some(text) if !text.is_empty() => utf8(text, flag),
        _ => Err(Failure::usage(flag, format!("needs a value: {example}"))),
    }
}

fn utf8(text: OsString, culprit: impl std::fmt::Display) -> Result<String, Failure> {
    text.into_string().map_err(|text| {
        let shown = text.to_string_lossy().into_owned();
        Failure::usage(culprit, format!("{shown:?} is not UTF-8"))
    })
}

fn take_argument(command: Command, text: String, given: &mut Settings) -> Result<(), Failure> {
    match command {
        Command::Relay | Command::Listen => {
            given.push("streams", text, Origin::Argument("URI"));
            Ok(())
        }
        _ => Err(Failure::usage(
            format!("{text:?}"),
            format!("weir {} takes flags only", command.name()),
        )),
    }
}

/// From texts to values; files named on the way are read.
fn complete(command: Command, given: Settings) -> Result<Invocation, Failure> {
    match command {
        Command::Demo => config::demo(&given).map(Invocation::Demo),
        Command::Keygen => given
            .one("out", |text| Ok(PathBuf::from(text)))?
            .map(Invocation::Keygen)
            .ok_or_else(|| missing("--out", "name the file to make, for example stream.key")),
        Command::Status => Ok(Invocation::Status(
            given.one("at", str::parse)?.unwrap_or_default(),
            match (given.origin("json"), given.origin("watch")) {
                (Some(_), _) => status::Show::Json,
                (None, Some(_)) => status::Show::Again,
                (None, None) => status::Show::Once,
            },
        )),
        Command::Source => node(Role::Source, given),
        Command::Relay => node(Role::Relay, given),
        Command::Listen => node(Role::Listen, given),
        Command::Check => check(given),
    }
}

fn node(role: Role, given: Settings) -> Result<Invocation, Failure> {
    let source = ConfigSource::new(role, given)?;
    Ok(Invocation::Run(source.read()?, source))
}

fn check(given: Settings) -> Result<Invocation, Failure> {
    let file = given
        .one("config", |text| Ok(String::from(text)))?
        .ok_or_else(|| missing("--config", "name the file to check, for example relay.toml"))?;
    let in_file = config_file::load(&file)?;
    let role = match given.one("role", str::parse)? {
        Some(role) => role,
        None => in_file.one("role", str::parse)?.ok_or_else(|| {
            let roles: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
            missing(
                "--role",
                &format!("{file} has no role, so say {}", roles.join(", ")),
            )
        })?,
    };
    let config = config::resolve(role, &board::fill_in(in_file)?)?;
    Ok(Invocation::Check(file, config))
}

fn missing(flag: &str, what: &str) -> Failure {
    Failure::usage(flag, format!("missing; {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn parsed(line: &str) -> Result<Invocation, Failure> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[track_caller]
    fn refused(line: &str, with: &str) {
        match parsed(line) {
            Err(Failure::Usage(text)) => assert_eq!(text, with),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn words_and_flags_are_checked() {
        refused("", "no command; begin with weir demo, or see weir --help");
        refused(
            "relya",
            "\"relya\": no such command; did you mean weir relay?",
        );
        refused(
            "frobnicate",
            "\"frobnicate\": no such command; weir --help lists them",
        );
        refused(
            "relay --uplod-limit 2Mbit",
            "--uplod-limit: no such flag; did you mean --upload-limit?",
        );
        refused(
            "relay --xyzzy",
            "--xyzzy: no such flag; weir relay --help lists them",
        );
        refused("relay -x", "-x: no such flag; weir relay --help lists them");
        refused(
            "relay --disclosure x",
            "--disclosure: belongs to weir source, not weir relay",
        );
        refused("relay --memory 1MiB --memory 2MiB", "--memory: given twice");
        refused(
            "relay --bind",
            "--bind: needs a value: ADDR:PORT, for example 0.0.0.0:8479",
        );
        refused(
            "relay --bind --memory 1MiB",
            "--bind: needs a value: ADDR:PORT, for example 0.0.0.0:8479",
        );
        refused(
            "relay --bind= x",
            "--bind: needs a value: ADDR:PORT, for example 0.0.0.0:8479",
        );
        refused("source --repeat=yes", "--repeat: takes no value");
        refused("source stray", "\"stray\": weir source takes flags only");
        refused(
            "keygen",
            "--out: missing; name the file to make, for example stream.key",
        );
    }

    #[test]
    fn a_value_may_begin_with_a_dash_after_an_equals_sign() {
        refused(
            "relay --bind=--x",
            "--bind: \"--x\" is not an address; write ADDR:PORT, for example 0.0.0.0:8479",
        );
    }

    #[test]
    fn help_and_version_win_wherever_they_stand() {
        let relay = Invocation::Print(help::of(Command::Relay).to_string());
        for line in [
            "relay --help",
            "relay -h",
            "relay --memory 1MiB --help",
            "help relay",
        ] {
            assert_eq!(parsed(line).as_ref(), Ok(&relay), "{line}");
        }
        for line in ["--version", "-V", "relay --version"] {
            assert_eq!(parsed(line), Ok(Invocation::Print(version())));
        }
    }

    #[test]
    fn not_utf8_is_said() {
        use std::os::unix::ffi::OsStringExt;
        let line = ["relay".into(), OsString::from_vec([0xff].into())];
        assert_eq!(
            parse(line).unwrap_err().to_string(),
            "an argument: \"\u{fffd}\" is not UTF-8"
        );
    }
}
