//! Where a node's configuration came from, so that it can be read again while the node runs.

use super::board;
use super::config::{self, Config, Role};
use super::config_file;
use super::failure::Failure;
use super::settings::Settings;
use std::string::String;

/// A command line, and the file it names.
#[derive(Clone, PartialEq, Debug)]
pub struct ConfigSource {
    role: Role,
    flags: Settings,
    file: Option<String>,
}

impl ConfigSource {
    /// A node of this role with these flags.
    pub fn new(role: Role, flags: Settings) -> Result<Self, Failure> {
        let file = flags.one("config", |text| Ok(String::from(text)))?;
        Ok(Self { role, flags, file })
    }

    /// The file with the flags over it, as they are now.
    pub fn read(&self) -> Result<Config, Failure> {
        let given = match &self.file {
            Some(file) => self.flags.clone().over(config_file::load(file)?),
            None => self.flags.clone(),
        };
        config::resolve(self.role, &board::fill_in(given)?)
    }

    /// Whether another look may find something else.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }
}
