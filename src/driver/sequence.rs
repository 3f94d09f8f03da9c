//! Where a run of a source begins to count: descriptor versions and block numbers above those of every
//! earlier run.
//!
//! Both follow the wall clock. Where there is a state directory, the beginning of each run is written down, so that a box whose
//! clock starts in 1970 at every boot goes on counting all the same.

use super::base32;
use super::engine::unix_ms;
use super::short_file;
use std::format;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::string::String;

/// Blocks a second that the clock allows for; the densest stream makes 200.
const BLOCKS_PER_S: u64 = 1_024;

/// Blocks that a run may use: eleven years of the densest stream.
const BLOCKS_PER_RUN: u64 = 1 << 36;

/// Descriptor versions that a run may use.
const VERSIONS_PER_RUN: u32 = 4_096;

/// Where a run begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sequence {
    /// First descriptor version.
    pub version: u32,
    /// First block.
    pub first_block: u64,
}

impl Sequence {
    /// The beginning of a run of the stream `key`, remembered in `state` where there is one.
    pub fn begin(key: &[u8; 32], state: Option<&Path>) -> Self {
        let unix_s = unix_ms() / 1_000;
        let file = state.map(|state| file_of(state, key));
        let kept = file.as_deref().and_then(read);
        let sequence = Self::after(unix_s, kept);
        if let Some(file) = file
            && let Err(error) = sequence.write(&file)
        {
            let shown = file.display();
            log::warn!("--state: {shown} cannot be written: {error}; this run counts by the clock");
        }
        sequence
    }

    fn after(unix_s: u64, kept: Option<Self>) -> Self {
        let clock = Self {
            version: u32::try_from(unix_s).unwrap_or(u32::MAX / 2).max(1),
            first_block: unix_s.saturating_mul(BLOCKS_PER_S).max(1),
        };
        match kept {
            // The clock stands before the beginning of an earlier run: it cannot be right. That run may have used all
            // that one run may.
            Some(kept)
                if kept.first_block >= clock.first_block || kept.version >= clock.version =>
            {
                Self {
                    version: kept.version.saturating_add(VERSIONS_PER_RUN),
                    first_block: kept.first_block.saturating_add(BLOCKS_PER_RUN),
                }
            }
            _ => clock,
        }
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        let line = format!("{} {}\n", self.version, self.first_block);
        let draft = file.with_extension("new");
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&draft, line)?;
        fs::rename(&draft, file)
    }
}

fn file_of(state: &Path, key: &[u8; 32]) -> PathBuf {
    let name: String = base32::encode(key).chars().take(16).collect();
    state.join(format!("source-{name}.begin"))
}

/// Where the latest run began.
fn read(file: &Path) -> Option<Sequence> {
    let text = short_file::read(file, 64).ok()?;
    let (version, first_block) = text.trim_end().split_once(' ')?;
    Some(Sequence {
        version: version.parse().ok()?,
        first_block: first_block.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_clock_decides() {
        let first = Sequence::after(1_700_000_000, None);
        let next = Sequence::after(1_700_000_001, Some(first));
        assert!(next.version > first.version);
        // A second of 200 blocks is behind where the next run begins.
        assert!(next.first_block > first.first_block + 200);
    }

    #[test]
    fn a_clock_that_starts_over_does_not_count_backwards() {
        let before = Sequence::after(1_700_000_000, None);
        let booted = Sequence::after(30, Some(before));
        assert!(booted.version > before.version + 1_000);
        // A month of the densest stream went by in between.
        assert!(booted.first_block > before.first_block + 200 * 30 * 86_400);
        let again = Sequence::after(30, Some(booted));
        assert!(again.version > booted.version && again.first_block > booted.first_block);
    }

    #[test]
    fn what_a_run_began_with_is_kept() {
        let state = std::env::temp_dir().join(format!("weir-sequence-{}", std::process::id()));
        let first = Sequence::begin(&[9; 32], Some(&state));
        assert_eq!(read(&file_of(&state, &[9; 32])), Some(first));
        let second = Sequence::begin(&[9; 32], Some(&state));
        assert!(second.version > first.version && second.first_block > first.first_block);
        let _ = fs::remove_dir_all(&state);
    }
}
