//! Configuration files: TOML, flat, every key the name of a flag. What comes out is what flags would have given.

use super::failure::Failure;
use super::settings::{self, FILE_ONLY_KEYS, Origin, SETTINGS, Settings};
use super::short_file;
use super::toml::{self, Entry, Value};
use std::format;
use std::fs::File;
use std::string::{String, ToString};
use std::vec::Vec;

/// The settings in a TOML file; an error names file, line and key where they are known.
pub fn load(file: &str) -> Result<Settings, Failure> {
    from_toml(file, &read(file)?)
}

/// The settings in the text of a TOML file named `file`.
pub fn from_toml(file: &str, text: &str) -> Result<Settings, Failure> {
    settings_of(file, entries(file, text)?)
}

/// The profile in a board file: its section `[relay]`, with the keys of a configuration file.
pub fn load_profile(file: &str) -> Result<Settings, Failure> {
    let mut profile = entries(file, &read(file)?)?;
    profile.retain(|entry| entry.table == "relay");
    if profile.is_empty() {
        let what = "has no section [relay]; it is no board file";
        return Err(Failure::usage(file, what));
    }
    for entry in &mut profile {
        entry.table.clear();
    }
    settings_of(file, profile)
}

/// Longest file. A running node reads it again beside all else that it holds: it has to fit into what is planned for the driver.
const MAX_FILE_BYTES: usize = 16 << 10;

fn read(file: &str) -> Result<String, Failure> {
    let unreadable = |error| Failure::usage(file, format!("cannot be read: {error}"));
    // One more, to tell.
    let bytes = File::open(file).and_then(|file| short_file::bytes(file, MAX_FILE_BYTES + 1));
    let bytes = bytes.map_err(unreadable)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Failure::usage(file, "is longer than 16KiB"));
    }
    short_file::text(bytes).map_err(unreadable)
}

fn entries(file: &str, text: &str) -> Result<Vec<Entry>, Failure> {
    toml::parse(text).map_err(|wrong| Failure::usage(format!("{file}:{}", wrong.line), wrong.what))
}

/// The one key that may also stand as sections: `[[serial]]`, with a key for each of its words.
const SECTIONED: &str = "serial";

fn settings_of(file: &str, entries: Vec<Entry>) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    let (sections, entries): (Vec<Entry>, Vec<Entry>) = entries
        .into_iter()
        .partition(|entry| entry.table == SECTIONED);
    if let Some(first) = sections.first() {
        let origin = Origin::Key {
            file: file.to_string(),
            line: Some(first.line),
            key: SECTIONED.to_string(),
        };
        let texts = texts_of_sections(&sections, &origin)?;
        settings.put(SECTIONED, texts, origin)?;
    }
    for entry in entries {
        // For the rest files are flat: what stands in a section is a key that is not known.
        let key = match entry.table.as_str() {
            "" => entry.key,
            table => format!("{table}.{}", entry.key),
        };
        let origin = Origin::Key {
            file: file.to_string(),
            line: Some(entry.line),
            key: key.clone(),
        };
        check_key(&key, &origin)?;
        if let Some(texts) = texts_of(&key, entry.value, &origin)? {
            settings.put(&key, texts, origin)?;
        }
    }
    Ok(settings)
}

/// Each section as the words of a flag: `path=...,role=...`, the path first. A key that the section has already begins the
/// next one.
fn texts_of_sections(entries: &[Entry], origin: &Origin) -> Result<Vec<String>, Failure> {
    let mut sections: Vec<Vec<(&str, String)>> = Vec::new();
    for entry in entries {
        let value = match &entry.value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Switch(on) => on.to_string(),
            Value::List(_) | Value::Other => {
                let what = format!("{} takes one value", entry.key);
                return Err(Failure::usage(origin, what));
            }
        };
        match sections.last_mut() {
            Some(section) if section.iter().all(|(key, _)| *key != entry.key) => {
                section.push((&entry.key, value));
            }
            _ => sections.push([(entry.key.as_str(), value)].into()),
        }
    }
    for section in &mut sections {
        if let Some(path) = section.iter().position(|(key, _)| *key == "path") {
            section[..=path].rotate_right(1);
        }
    }
    let words = |section: Vec<(&str, String)>| {
        let words = section.iter().map(|(key, value)| format!("{key}={value}"));
        words.collect::<Vec<_>>().join(",")
    };
    Ok(sections.into_iter().map(words).collect())
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
        Value::Switch(_) | Value::Other => {
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
