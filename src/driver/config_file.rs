//! Configuration files: TOML, flat, every key the name of a flag. What comes out is what flags would have given.

use super::failure::Failure;
use super::settings::{self, FILE_ONLY_KEYS, Origin, SETTINGS, Settings};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// A value in a file. Numbers and switches may stand without quotes; everything becomes text and is read as a flag is.
enum Value {
    Text(String),
    Switch(bool),
    Number(i64),
    List(Vec<String>),
    Table(BTreeMap<String, Value>),
    /// A fraction, or a list of something else than texts.
    Other,
}

/// By hand, because what the derive makes of an untagged enum is many times this on a router.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_string()))
    }

    fn visit_bool<E>(self, on: bool) -> Result<Value, E> {
        Ok(Value::Switch(on))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let (mut texts, mut others) = (Vec::new(), false);
        while let Some(value) = values.next_element()? {
            match value {
                Value::Text(text) => texts.push(text),
                _ => others = true,
            }
        }
        Ok(match others {
            true => Value::Other,
            false => Value::List(texts),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            table.insert(key, value);
        }
        Ok(Value::Table(table))
    }
}

/// The settings in a TOML file; an error names file, line and key where they are known.
pub fn load(file: &str) -> Result<Settings, Failure> {
    from_toml(file, &read(file)?)
}

/// The profile in a board file: its section `[relay]`, with the keys of a configuration file.
pub fn load_profile(file: &str) -> Result<Settings, Failure> {
    let text = read(file)?;
    match values(file, &text)?.remove("relay") {
        Some(Value::Table(profile)) => settings_of(file, &text, profile),
        _ => Err(Failure::usage(
            file,
            "has no section [relay]; it is no board file",
        )),
    }
}

fn read(file: &str) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(file, format!("cannot be read: {error}")))
}

/// The settings in the text of a TOML file named `file`.
pub fn from_toml(file: &str, text: &str) -> Result<Settings, Failure> {
    settings_of(file, text, values(file, text)?)
}

fn values(file: &str, text: &str) -> Result<BTreeMap<String, Value>, Failure> {
    basic_toml::from_str(text).map_err(|error| not_toml(file, &error))
}

fn settings_of(
    file: &str,
    text: &str,
    values: BTreeMap<String, Value>,
) -> Result<Settings, Failure> {
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
    let section = format!("[{key}");
    text.lines()
        .position(|line| gives(line) || line.trim_start().starts_with(&section))
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
        Value::Switch(_) | Value::Table(_) | Value::Other => {
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
