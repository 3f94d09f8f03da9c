//! Configuration files: TOML, flat, every key the name of a flag. What comes out is what flags would have given.

use super::failure::Failure;
use super::settings::{self, FILE_ONLY_KEYS, Origin, SETTINGS, Settings};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// A value in a file. Numbers and switches may stand without quotes; everything becomes text and is read as a flag is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Switch(bool),
    Number(i64),
    List(Vec<String>),
    Sections(Vec<BTreeMap<String, Value>>),
    Section(BTreeMap<String, Value>),
    Other(serde::de::IgnoredAny),
}

/// The settings in a TOML file; an error names file, line and key where they are known.
pub fn load(file: &str) -> Result<Settings, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(file, format!("cannot be read: {error}")))?;
    from_toml(file, &text)
}

/// The settings in the text of a TOML file named `file`.
pub fn from_toml(file: &str, text: &str) -> Result<Settings, Failure> {
    let values: BTreeMap<String, Value> =
        basic_toml::from_str(text).map_err(|error| not_toml(file, &error))?;
    let mut settings = Settings::default();
    for (key, value) in values {
        let origin = Origin::Key {
            file: file.to_string(),
            line: line_of(text, &key),
            key: key.clone(),
        };
        check_key(&key, &origin)?;
        if let Some(texts) = texts_of(&key, value, &origin)? {
            settings.put(&key, texts, origin)?;
        }
    }
    Ok(settings)
}

fn not_toml(file: &str, error: &basic_toml::Error) -> Failure {
    // The position is in front of the text already; ours is shaped like the other errors.
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default();
    match error.line_col() {
        Some((line, _)) => Failure::usage(format!("{file}:{}", line + 1), what),
        None => Failure::usage(file, what),
    }
}

/// The line, counted from 1, that gives `key` its value.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let gives = |line: &str| {
        let line = line.trim_start().trim_start_matches(['"', '\'']);
        let rest = line.strip_prefix(key);
        rest.is_some_and(|rest| {
            rest.trim_start_matches(['"', '\'', ' ', '\t'])
                .starts_with('=')
        })
    };
    let section = |line: &str| {
        let line = line.trim_start();
        let name = line.trim_start_matches('[');
        line.starts_with('[') && name.starts_with(key)
    };
    text.lines()
        .position(|line| gives(line) || section(line))
        .map(|index| index + 1)
}

/// Every key a file may have.
fn known_keys() -> impl Iterator<Item = &'static str> {
    let flags = SETTINGS.iter().filter(|setting| setting.is_key());
    flags.map(|setting| setting.name).chain(FILE_ONLY_KEYS)
}

fn check_key(key: &str, origin: &Origin) -> Result<(), Failure> {
    if known_keys().any(|known| known == key) {
        return Ok(());
    }
    // Underscores for dashes is what many other programs' files have.
    let hint = match settings::nearest(&key.replace('_', "-"), known_keys()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => String::from("docs/CONFIG.md lists them"),
    };
    Err(Failure::usage(origin, format!("no such key; {hint}")))
}

/// A value as the texts a flag would have given; nothing for a switch that is off.
fn texts_of(key: &str, value: Value, origin: &Origin) -> Result<Option<Vec<String>>, Failure> {
    let is_switch = settings::find(key).is_some_and(|setting| setting.value.is_none());
    let texts = match value {
        Value::Switch(on) if is_switch => return Ok(on.then(|| [String::from("true")].into())),
        _ if is_switch => return Err(Failure::usage(origin, "write true or false")),
        Value::Text(text) => [text].into(),
        Value::Number(number) => [number.to_string()].into(),
        Value::List(texts) => texts,
        Value::Sections(sections) if key == SECTIONED => {
            let texts = sections
                .into_iter()
                .map(|section| words_of(section, origin));
            texts.collect::<Result<_, _>>()?
        }
        Value::Section(section) if key == SECTIONED => [words_of(section, origin)?].into(),
        Value::Switch(_) | Value::Sections(_) | Value::Section(_) | Value::Other(_) => {
            let example = settings::find(key).and_then(|setting| setting.value);
            let what = format!(
                "write {}; texts stand in quotes",
                example.unwrap_or("a text")
            );
            return Err(Failure::usage(origin, what));
        }
    };
    Ok(Some(texts))
}

/// The one key that may also stand as a section, `[serial]`, or as several, `[[serial]]`.
const SECTIONED: &str = "serial";

/// A section as the words of the flag: the path first, then `key=value`.
fn words_of(mut section: BTreeMap<String, Value>, origin: &Origin) -> Result<String, Failure> {
    let wrong = |what: String| Failure::usage(origin, what);
    let Some(Value::Text(path)) = section.remove("path") else {
        return Err(wrong(String::from("a section needs path = \"/dev/...\"")));
    };
    let mut words = path;
    for (key, value) in section {
        let value = match value {
            Value::Text(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Switch(on) => on.to_string(),
            _ => return Err(wrong(format!("{key} takes one value"))),
        };
        words.push_str(&format!(",{key}={value}"));
    }
    Ok(words)
}
