//! Serial lines of this machine: each has one task, which opens the device, finds it again when it was pulled out, and is
//! either a console or a link to another node. Nothing here blocks: a device that takes nothing costs one sleeping task.

mod console;
mod editor;
mod getty;
mod link;
mod noise;
mod port;
mod screen;
mod turns;

use super::engine::Engine;
use super::lines::{Line, LineState};
use super::serial_line::LineRole;
use super::view::Running;
use crate::driver::reactor::Timer;
use core::time::Duration;
use log::Level::{Info, Warn};
use port::{Port, Refusal};

/// A device that is missing or taken is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const TAKEN_AGAIN: Duration = Duration::from_secs(10);

/// Attends to the line in a place of the configuration for as long as the node runs.
pub async fn attend(running: &Running, place: u8) {
    let Some(line) = running.lines.get(usize::from(place)) else {
        return;
    };
    if line.told.role == LineRole::Link {
        link::introduce(&running.engine, place);
    }
    let engine = &running.engine;
    let name = line.told.path.display();
    let mut said = None;
    loop {
        match Port::open(&line.told) {
            Ok(port) => {
                said = None;
                line.count(|c| c.opened += 1);
                line.state.set(LineState::Quiet);
                engine.tell(Info, format_args!("Serial {} is open.", line.told));
                if getty::is_kernel_console(&line.told.path) {
                    engine.tell(
                        Warn,
                        format_args!("Serial {name}: the kernel writes its messages there too."),
                    );
                }
                let why = match line.told.role {
                    LineRole::Link => link::run(running, line, place, port).await,
                    LineRole::Console => console::run(running, line, port).await,
                };
                engine.tell(
                    Warn,
                    format_args!("Serial {name} is gone: {why}; looking for it again."),
                );
                line.state.set(LineState::Missing);
                line.clear();
            }
            Err(refusal) => say_once(engine, line, &refusal, &mut said),
        }
        Timer::after(match line.state.get() {
            LineState::Taken => TAKEN_AGAIN,
            _ => LOOK_AGAIN,
        })
        .await;
    }
}

/// A refusal is logged when it changes, not every second.
fn say_once(engine: &Engine, line: &Line, refusal: &Refusal, said: &mut Option<Refusal>) {
    line.state.set(match refusal {
        Refusal::Taken(_) => LineState::Taken,
        Refusal::Missing(_) => LineState::Missing,
    });
    if said.as_ref() != Some(refusal) {
        engine.tell(
            Warn,
            format_args!("Serial {}: {refusal}.", line.told.path.display()),
        );
        *said = Some(refusal.clone());
    }
}
