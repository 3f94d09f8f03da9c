//! What a service manager is told, as sd_notify(3) has it: that all is open, how it goes, and, again and again, that the
//! event loop turns. Where `NOTIFY_SOCKET` names nobody, nothing is said.

use super::reactor::Timer;
use super::view::Running;
use crate::http::verdict::verdict;
use core::time::Duration;
use sd_notify::NotifyState;
use std::io;
use std::string::String;

/// How often the sentence is looked at; it is sent only when it has changed.
const LOOK: Duration = Duration::from_secs(10);

/// Sockets are open and tasks begin: whoever waits for this service may go on.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("saying goodbye")]);
}

/// The configuration is being read again; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        // Without the time a newer manager would wait for it (sd_notify(3)).
        Err(error) => log::debug!("the monotonic clock: {error}"),
    }
}

fn tell(state: &[NotifyState<'_>]) {
    match sd_notify::notify(state) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::debug!("the service manager: {error}");
        }
        _ => {}
    }
}

/// Keeps the manager informed for as long as the node runs. The watchdog is fed only if the task that moves datagrams has
/// had its turn since the last time: this one asks it to, so a loop that hangs anywhere feeds nobody.
pub async fn keep_informed(running: &Running) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let pause = watchdog.map_or(LOOK, |limit| (limit / 3).min(LOOK));
    let (mut said, mut sentence) = (String::new(), String::new());
    loop {
        sentence.clear();
        // A title comes from strangers: a line of its own would be one more word to the manager.
        let verdict = verdict(&running.view());
        sentence.extend(verdict.chars().filter(|c| !c.is_control()));
        if sentence != said {
            tell(&[NotifyState::Status(&sentence)]);
            core::mem::swap(&mut said, &mut sentence);
        }
        let turns = running.engine.turns();
        running.engine.work.ring();
        Timer::after(pause).await;
        if watchdog.is_some() && running.engine.turns() != turns {
            tell(&[NotifyState::Watchdog]);
        }
    }
}
