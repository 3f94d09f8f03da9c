//! What a service manager is told, as sd_notify(3) has it: that all is open, how it goes, and, again and again, that the
//! event loop turns. Where `NOTIFY_SOCKET` names nobody, nothing is said.

use super::reactor::Timer;
use super::view::Running;
use crate::http::verdict::verdict;
use core::time::Duration;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;
use std::string::String;
use std::{env, format, io, process};

/// How often the sentence is looked at; it is sent only when it has changed.
const LOOK: Duration = Duration::from_secs(10);

/// Sockets are open and tasks begin: whoever waits for this service may go on.
pub fn ready() {
    tell("READY=1\n");
}

/// The end has begun.
pub fn stopping() {
    tell("STOPPING=1\nSTATUS=saying goodbye\n");
}

/// The configuration is being read again; [`ready`] follows.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    // A newer manager waits for the time, in microseconds.
    tell(&format!(
        "RELOADING=1\nMONOTONIC_USEC={}{:06}\n",
        now.tv_sec,
        now.tv_nsec / 1_000
    ));
}

/// Says it, each word on a line of its own.
fn tell(words: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    match send(&socket, words) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::debug!("the service manager: {error}");
        }
        _ => {}
    }
}

fn send(socket: &OsStr, words: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    datagram.send_to(words.as_bytes(), socket).map(drop)
}

/// How often the watchdog wants to be fed, if it is there and for this process.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
    let limit = number("WATCHDOG_USEC").filter(|_| is_ours)?;
    Some(Duration::from_micros(limit))
}

/// Keeps the manager informed for as long as the node runs. The watchdog is fed only if the task that moves datagrams has
/// had its turn since the last time: this one asks it to, so a loop that hangs anywhere feeds nobody.
pub async fn keep_informed(running: &Running) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = watchdog();
    let pause = watchdog.map_or(LOOK, |limit| (limit / 3).min(LOOK));
    let (mut said, mut sentence) = (String::new(), String::new());
    loop {
        sentence.clear();
        // A title comes from strangers: a line of its own would be one more word to the manager.
        let verdict = verdict(&running.view());
        sentence.extend(verdict.chars().filter(|c| !c.is_control()));
        if sentence != said {
            tell(&format!("STATUS={sentence}\n"));
            core::mem::swap(&mut said, &mut sentence);
        }
        let turns = running.engine.turns();
        running.engine.work.ring();
        Timer::after(pause).await;
        if watchdog.is_some() && running.engine.turns() != turns {
            tell("WATCHDOG=1\n");
        }
    }
}
