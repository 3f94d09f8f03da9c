//! Why a command ends badly, in one line for a person, and the exit status a script sees.

use std::fmt;
use std::string::String;

/// What goes to stderr after `weir: `, without a full stop, naming the flag, key or file at fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// What was typed or configured is wrong; trying again will not help.
    Usage(String),
    /// The machine or the network would not do it.
    Runtime(String),
}

impl Failure {
    /// A usage failure that names its culprit: `--bind: "banana" is not an address`.
    pub fn usage(culprit: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::Usage(line(&culprit, &what))
    }

    /// A runtime failure that names its culprit: `stream.key: No space left on device`.
    pub fn runtime(culprit: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::Runtime(line(&culprit, &what))
    }

    /// The exit status: 2 for usage and configuration, 1 for everything else.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Runtime(_) => 1,
        }
    }
}

/// Once for all types of culprits and complaints.
fn line(culprit: &dyn fmt::Display, what: &dyn fmt::Display) -> String {
    std::format!("{culprit}: {what}")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(line) | Self::Runtime(line)) = self;
        f.write_str(line)
    }
}

impl std::error::Error for Failure {}
