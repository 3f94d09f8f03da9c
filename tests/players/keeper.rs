//! A player that takes what it is given for as long as it likes, and decodes it afterwards.

use crate::rig::{Program, Scratch, until};
use std::fs::{self, File};
use std::process::{Command, ExitStatus};

/// A player that keeps what it gets.
pub struct Keeper {
    file: String,
    program: Option<Program>,
}

impl Keeper {
    pub fn join(workshop: &Scratch, name: &str, url: &str) -> Self {
        let file = workshop.path(name);
        let how = format!("-s -N -o {file} {url}");
        let program = Some(Program::start("curl", &how));
        Self { file, program }
    }

    fn bytes(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |file| file.len())
    }

    /// Waits until it has got so many bytes more.
    pub fn wait_for(&self, more: u64) {
        let before = self.bytes();
        until("the player that stayed gets more", || {
            (self.bytes() >= before + more).then_some(())
        });
    }

    /// How its connection was ended from the other side, if it was.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.program.as_mut()?.ended()
    }

    /// The player leaves; what it got must decode. Returns how many packets there were.
    pub fn decode(mut self) -> usize {
        self.program = None;
        let file = &self.file;
        let played = Command::new("ffmpeg")
            .args("-v level+warning -i pipe:0 -map 0 -f framecrc -".split(' '))
            .stdin(File::open(file).unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&played.stderr);
        // The player left in the middle of something; that alone is no fault of ours.
        let errors: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("[error]"))
            .collect();
        assert!(
            played.status.success() && errors.is_empty(),
            "{file}: {said}"
        );
        let packets = String::from_utf8_lossy(&played.stdout);
        packets
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    }
}
