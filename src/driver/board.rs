//! Board files as configuration profiles: `--board ath79` takes what `boards/ath79.toml` has under `[relay]`, below the
//! configuration file and the flags. They are not part of the program: a router needs one of them, not all.

use super::config_file;
use super::failure::Failure;
use super::settings::Settings;
use std::format;
use std::path::Path;
use std::string::{String, ToString};

/// Where a board's name is looked up: what a package installed, then a checkout.
const FOLDERS: [&str; 2] = ["/usr/share/weir/boards", "boards"];

/// `given`, and the profile of the board it names where it says nothing itself.
pub fn fill_in(given: Settings) -> Result<Settings, Failure> {
    let Some(file) = given.one("board", find)? else {
        return Ok(given);
    };
    Ok(given.over(config_file::load_profile(&file)?))
}

/// The file of a board: itself, or the one of that name in a folder for boards.
fn find(board: &str) -> Result<String, String> {
    if board.contains('/') || board.ends_with(".toml") {
        return Ok(board.to_string());
    }
    let places = FOLDERS.map(|folder| format!("{folder}/{board}.toml"));
    let found = places.iter().find(|place| Path::new(place).exists());
    found.cloned().ok_or_else(|| {
        let [installed, here] = &places;
        format!("no board is called {board:?}; there is no {installed} and no {here}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::config::{self, Config, Role};
    use crate::driver::launch;
    use crate::driver::pools;
    use crate::driver::settings::Origin;
    use std::vec::Vec;
    use std::{fs, vec};

    fn given(pairs: &[(&'static str, &str)]) -> Settings {
        let mut given = Settings::default();
        for (name, text) in pairs {
            given
                .put(name, vec![text.to_string()], Origin::Flag(name))
                .unwrap();
        }
        given
    }

    fn relay(pairs: &[(&'static str, &str)]) -> Result<Config, Failure> {
        let uri = format!("weir://127.0.0.1:1/{}", "A".repeat(52));
        let streams = ("streams", uri.as_str());
        let given = given(&[&[streams], pairs].concat());
        config::resolve(Role::Relay, &fill_in(given)?)
    }

    fn every_board() -> Vec<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/boards");
        let files = fs::read_dir(folder).unwrap();
        let paths = files.map(|file| file.unwrap().path().to_str().unwrap().to_string());
        paths.filter(|path| path.ends_with(".toml")).collect()
    }

    /// The number in the line `key = number` of a file.
    fn number(text: &str, key: &str) -> u64 {
        let value = |line: &str| {
            let rest = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
            let digits = rest.split('#').next()?.trim().replace('_', "");
            digits.parse().ok()
        };
        text.lines()
            .find_map(value)
            .unwrap_or_else(|| panic!("{key}"))
    }

    #[test]
    fn every_board_has_a_profile_whose_plan_fits_and_has_the_ring_it_promises() {
        let boards = every_board();
        assert!(boards.len() >= 10, "{boards:?}");
        for board in boards {
            let mut config = relay(&[("board", &board)]).unwrap();
            let text = fs::read_to_string(&board).unwrap();
            // A router does other things too.
            let ram_bytes = number(&text, "ram_mib") << 20;
            assert!(config.memory_bytes * 8 <= ram_bytes, "{board}");
            // What the program of this test has more of than that of a board.
            config.memory_bytes += (pools::CODE_BYTES - pools::BOARD_CODE_BYTES) as u64;
            launch::plan(&config)
                .within(config.memory_bytes, &[])
                .unwrap();
            let ring_bytes = launch::sizes(&config, config.places()).ring_bytes as u64;
            assert!(ring_bytes >= number(&text, "ring_bytes"), "{board}");
        }
    }

    #[test]
    fn flags_win_over_the_board_and_the_board_over_defaults() {
        let board = concat!(env!("CARGO_MANIFEST_DIR"), "/boards/ath79.toml");
        let plain = relay(&[("board", board)]).unwrap();
        assert_eq!((plain.memory_bytes, plain.max_children), (3 << 20, 8));
        let more = relay(&[("board", board), ("memory", "5MiB")]).unwrap();
        assert_eq!((more.memory_bytes, more.max_children), (5 << 20, 8));
    }

    #[test]
    fn boards_that_are_none_are_said() {
        let why = |board| relay(&[("board", board)]).unwrap_err().to_string();
        assert_eq!(
            why("ath97"),
            "--board: no board is called \"ath97\"; there is no /usr/share/weir/boards/ath97.toml and no boards/ath97.toml"
        );
        assert!(why("./no/such.toml").starts_with("./no/such.toml: cannot be read: "));
        let other = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/smoke.toml");
        let why = why(other);
        assert!(
            why.ends_with("has no section [relay]; it is no board file"),
            "{why}"
        );
    }
}
