//! The processes of the demonstration: each a `weir` of its own, gone with this one.

use super::programme::{self, Feeder};
use super::watch::{self, Sample};
use crate::driver::config::DemoConfig;
use crate::driver::failure::Failure;
use crate::driver::{keyfile, orphan};
use core::net::SocketAddr;
use core::time::Duration;
use rustix::fs::{MemfdFlags, Mode};
use rustix::process::{Pid, Signal, kill_process};
use std::format;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::string::{String, ToString};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;
use std::vec::Vec;

/// A process has this long to say where it listens.
const START: Duration = Duration::from_secs(10);

/// And this long to end when it is asked to.
const STOP: Duration = Duration::from_secs(3);

/// One process.
pub struct Member {
    /// How it is called in what is printed.
    pub name: String,
    /// Where it speaks to the others.
    pub udp: SocketAddr,
    /// Where its status is.
    pub http: SocketAddr,
    process: Child,
}

/// All of them.
pub struct Grid {
    /// The stream's key.
    pub key: String,
    /// Where the loop goes in.
    pub source: Member,
    /// Those between, without the one that was killed.
    pub relays: Vec<Member>,
    /// Where the loop comes out.
    pub listener: Member,
    feeder: Option<Feeder>,
}

impl Grid {
    /// Starts everybody. Nothing is written to disk: the stream's key is a file in memory.
    pub fn start(config: &DemoConfig) -> Result<Self, Failure> {
        let key_file = key_in_memory()?;
        let key_path = format!("/proc/self/fd/{}", key_file.as_raw_fd());
        let mut source = Member::start(
            "source",
            &[
                "source",
                "--key",
                &key_path,
                "--input",
                "-",
                "--name",
                "weir demo",
            ],
            &[
                "--disclosure",
                "A loop of twelve seconds that stays on this machine.",
                "--http",
                "127.0.0.1:0",
                // Few enough that the listener, who comes last, is fed by relays.
                "--max-children",
                "2",
            ],
        )?;
        let uri = first_line(&mut source)?;
        let key = uri.rsplit('/').next().unwrap_or("").to_string();
        let input = source.process.stdin.take();
        let feeder = input.map(Feeder::start);
        let relay = |n| {
            let name = format!("relay {n}");
            let relay = Member::start(&name, &["relay", &uri], &["--http", "127.0.0.1:0"])?;
            // Somebody at home listens, too: a relay takes nothing that nobody wants.
            programme::play(relay.http, &key);
            Ok(relay)
        };
        let relays = (1..=config.relays)
            .map(relay)
            .collect::<Result<Vec<_>, Failure>>()?;
        wait_until_live(&relays);
        let http = config.http.to_string();
        let listener = Member::start("listener", &["listen", &uri], &["--http", &http])?;
        Ok(Self {
            key,
            source,
            relays,
            listener,
            feeder,
        })
    }

    /// Where it comes out.
    pub fn take_listener_output(&mut self) -> Result<ChildStdout, Failure> {
        let pipe = self.listener.process.stdout.take();
        pipe.ok_or_else(|| Failure::runtime("listener", "has no output"))
    }

    /// Everybody that runs.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        [&self.source, &self.listener]
            .into_iter()
            .chain(&self.relays)
    }

    /// An error if somebody ended who was not asked to.
    pub fn check_alive(&mut self) -> Result<(), Failure> {
        let all = [&mut self.source, &mut self.listener].into_iter();
        for member in all.chain(&mut self.relays) {
            if let Ok(Some(status)) = member.process.try_wait() {
                return Err(Failure::runtime(&member.name, format!("ended: {status}")));
            }
        }
        Ok(())
    }

    /// Kills the relay that sends the listener most, without a goodbye; returns its name.
    pub fn kill_busiest(&mut self, sample: &Sample) -> Option<String> {
        let busy = |member: &Member| sample.stripes_of(&member.name);
        let at = (0..self.relays.len()).max_by_key(|&i| busy(&self.relays[i]))?;
        // Dropping it kills it.
        Some(self.relays.remove(at).name.clone())
    }

    /// Asks everybody to end, and sees to it.
    pub fn stop(&mut self) {
        let all = [&mut self.listener, &mut self.source].into_iter();
        let mut all: Vec<&mut Member> = all.chain(&mut self.relays).collect();
        for member in &all {
            let _ = kill_process(Pid::from_child(&member.process), Signal::TERM);
        }
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline
            && all
                .iter_mut()
                .any(|m| matches!(m.process.try_wait(), Ok(None)))
        {
            thread::sleep(Duration::from_millis(20));
        }
        if let Some(feeder) = self.feeder.take() {
            feeder.stop();
        }
    }
}

/// Waits until the stream flows through the relays, but not for ever.
fn wait_until_live(relays: &[Member]) {
    let deadline = Instant::now() + START;
    while Instant::now() < deadline && !relays.iter().all(watch::is_live) {
        thread::sleep(Duration::from_millis(100));
    }
}

impl Member {
    fn start(name: &str, command: &[&str], flags: &[&str]) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::runtime(name, error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut process = Command::new(program)
            .args(command)
            .args(["--bind", "127.0.0.1:0"])
            .args(flags)
            .env(orphan::VARIABLE, "1")
            .env("WEIR_LOG", "info")
            .env_remove("JOURNAL_STREAM")
            .env_remove("STATE_DIRECTORY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let lines = lines_of(name, &mut process);
        match wait_for_addresses(&lines) {
            Ok((udp, http)) => Ok(Self {
                name: name.to_string(),
                udp,
                http,
                process,
            }),
            Err(said) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(Failure::runtime(name, said))
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a process says on stderr, line by line; all of it is in the debug log too.
fn lines_of(name: &str, process: &mut Child) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let name = name.to_string();
    if let Some(stderr) = process.stderr.take() {
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log::debug!("{name}: {line}");
                // Nobody waits for lines any more once it has started.
                let _ = sender.send(line);
            }
        });
    }
    lines
}

/// The line in which a node says where it can be reached: `udp ADDR, page and players at http://ADDR/`.
fn wait_for_addresses(lines: &Receiver<String>) -> Result<(SocketAddr, SocketAddr), String> {
    let deadline = Instant::now() + START;
    let mut last = String::from("ended without a word");
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match addresses_in(&line) {
                Some(addresses) => return Ok(addresses),
                None => last = line,
            },
            Err(RecvTimeoutError::Timeout) => return Err(String::from("does not start")),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(last.trim_start_matches("weir: ").to_string());
            }
        }
    }
}

fn addresses_in(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, rest) = line.split_once(": udp ")?;
    let (udp, rest) = rest.split_once(", ")?;
    let (_, http) = rest.split_once("http://")?;
    Some((udp.parse().ok()?, http.trim_end_matches('/').parse().ok()?))
}

fn first_line(member: &mut Member) -> Result<String, Failure> {
    let mut line = String::new();
    if let Some(stdout) = member.process.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|error| Failure::runtime(&member.name, error))?;
    }
    Ok(line.trim_end().to_string())
}

/// A key file that children inherit and that is nowhere on disk.
fn key_in_memory() -> Result<File, Failure> {
    let failed = |error: std::io::Error| Failure::runtime("a file in memory", error);
    let fd = rustix::fs::memfd_create("weir-demo.key", MemfdFlags::empty())
        .map_err(|error| failed(error.into()))?;
    rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
    let mut file = File::from(fd);
    file.write_all(keyfile::new_stream_key()?.as_bytes())
        .map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_found_in_a_nodes_log() {
        let line = "10:00:00.000Z INFO weir::driver::run: udp 127.0.0.1:5, page and players at http://127.0.0.1:6/";
        let found = addresses_in(line).unwrap();
        assert_eq!((found.0.port(), found.1.port()), (5, 6));
        assert_eq!(addresses_in("udp nothing"), None);
    }
}
