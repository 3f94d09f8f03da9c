//! What stands in for `broadcast` in a build without a source.

use super::failure::Failure;
use super::settings::Settings;
use std::fmt;

/// There is none.
#[derive(Clone, PartialEq, Debug)]
pub enum Broadcast {}

impl Broadcast {
    /// An error for who wants to be a source.
    pub fn read(_given: &Settings) -> Result<Self, Failure> {
        Err(Failure::usage("source", "is not in this build of weir"))
    }

    /// Never called.
    pub fn rows(
        &self,
        _row: &mut dyn FnMut(&str, &dyn fmt::Display) -> fmt::Result,
    ) -> fmt::Result {
        match *self {}
    }
}
