//! The help texts. Each fits a terminal of 24 lines by 80 columns and can be read in one go.

use super::settings::Command;

/// `weir --help`.
pub const OVERVIEW: &str = include_str!("help/weir.txt");

/// `weir COMMAND --help`.
pub fn of(command: Command) -> &'static str {
    match command {
        Command::Demo => include_str!("help/demo.txt"),
        Command::Keygen => include_str!("help/keygen.txt"),
        Command::Source => include_str!("help/source.txt"),
        Command::Relay => include_str!("help/relay.txt"),
        Command::Listen => include_str!("help/listen.txt"),
        Command::Status => include_str!("help/status.txt"),
        Command::Check => include_str!("help/check.txt"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::settings::SETTINGS;
    use std::format;

    /// Whether `text` has `--name` as a whole word.
    fn mentions(text: &str, name: &str) -> bool {
        let flag = format!("--{name}");
        text.match_indices(&flag).any(|(at, _)| {
            let next = text[at + flag.len()..].chars().next();
            !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-')
        })
    }

    #[test]
    fn every_flag_is_in_the_help_of_its_command_and_of_no_other() {
        for command in Command::ALL {
            for setting in SETTINGS {
                assert_eq!(
                    mentions(of(command), setting.name),
                    setting.commands.contains(&command),
                    "weir {} and --{}",
                    command.name(),
                    setting.name
                );
            }
        }
    }

    #[test]
    fn every_command_is_in_the_overview() {
        for command in Command::ALL {
            assert!(OVERVIEW.contains(&format!("\n  weir {}", command.name())));
        }
    }
}
