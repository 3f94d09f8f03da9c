//! `weir demo`: a source, relays and a listener as processes of their own on this machine, a loop as the programme, and one
//! relay killed in the middle. What is heard is compared with the loop, byte for byte, while it runs.

mod grid;
mod programme;
mod watch;

use super::config::DemoConfig;
use super::failure::Failure;
use super::output;
use core::time::Duration;
use grid::Grid;
use programme::{Heard, LOOP_BPS};
use std::format;
use std::string::String;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use watch::{Sample, Watch};

/// When a relay is killed in a demonstration without end.
const KILL_AFTER: Duration = Duration::from_secs(15);

/// How long the listener is watched before what it noticed is told.
const AFTERMATH: Duration = Duration::from_secs(4);

/// Until the first sound: everybody has to start, meet, and fill the first group.
const STARTUP: Duration = Duration::from_secs(6);

/// Runs the demonstration until its time is over or it is stopped.
pub fn run(config: &DemoConfig) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())
            .map_err(|error| Failure::runtime("signals", error))?;
    }
    let mut grid = Grid::start(config)?;
    let heard = Heard::start(grid.take_listener_output()?);
    output::print(&format!(
        "the page:  http://{http}/\nthe sound: http://{http}/streams/{key}\n\
         each second (1x is the stream's own rate; at every relay somebody listens, too):\n",
        http = grid.listener.http,
        key = grid.key,
    ))?;
    let run_for = config
        .run_for
        .map(|span| Duration::from_micros(span.as_us()));
    let mut show = Show {
        kill_at: run_for.map_or(KILL_AFTER, |all| all / 3),
        began: Instant::now(),
        killed: None,
        told: false,
    };
    let mut watch = Watch::new(&grid);
    while !stop.load(Ordering::Relaxed) && run_for.is_none_or(|all| show.began.elapsed() < all) {
        let next = Instant::now() + Duration::from_secs(1);
        while Instant::now() < next && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        // Ctrl-C reaches everybody who runs in the terminal: they end with this one.
        if stop.load(Ordering::Relaxed) {
            break;
        }
        grid.check_alive()?;
        let sample = watch.sample(&grid);
        output::print(&line(show.began.elapsed(), &sample, &heard))?;
        show.disturb(&mut grid, &sample)?;
    }
    let sample = watch.sample(&grid);
    let ran = show.began.elapsed();
    grid.stop();
    summary(ran, &sample, &watch, &heard.finish())
}

/// The second's line.
fn line(at: Duration, sample: &Sample, heard: &Heard) -> String {
    format!(
        "{:>4} s  source sends {:.1}x; {} relays take {:.1}x, send {:.1}x; listener takes {:.1}x, played {} kB; stripes from {}\n",
        at.as_secs(),
        sample.source_sends,
        sample.relays,
        sample.relays_receive,
        sample.relays_send,
        sample.listener_receives,
        heard.bytes() / 1_000,
        sample.parents_text(),
    )
}

/// The disturbance in the middle and what is told of it.
struct Show {
    began: Instant,
    kill_at: Duration,
    killed: Option<(Instant, String, Sample)>,
    told: bool,
}

impl Show {
    fn disturb(&mut self, grid: &mut Grid, sample: &Sample) -> Result<(), Failure> {
        match &self.killed {
            None if self.began.elapsed() >= self.kill_at => {
                let Some(name) = grid.kill_busiest(sample) else {
                    return Ok(());
                };
                let fed = sample.stripes_of(&name);
                output::print(&format!(
                    "        {name} is killed; it fed {fed} stripes of the listener\n"
                ))?;
                self.killed = Some((Instant::now(), name, sample.clone()));
            }
            Some((at, name, before)) if !self.told && at.elapsed() >= AFTERMATH => {
                self.told = true;
                output::print(&format!(
                    "        the listener noticed: {} gaps, {} stripes re-parented, {} chunks repaired\n",
                    sample.gaps - before.gaps,
                    sample.moved_from(name, before),
                    sample.repaired - before.repaired,
                ))?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn summary(
    ran: Duration,
    sample: &Sample,
    watch: &Watch,
    heard: &programme::Verdict,
) -> Result<(), Failure> {
    let exact = match heard.breaks {
        0 => "all as in the loop",
        _ => "not all as in the loop",
    };
    output::print(&format!(
        "{} s: {} bytes heard, {exact}; {} gaps, {} bytes missing; the source sent {:.2} times the stream's rate\n",
        ran.as_secs(),
        heard.bytes,
        sample.gaps,
        sample.missing_bytes,
        watch.source_upload_rates(),
    ))?;
    let expected = ran.saturating_sub(STARTUP).as_secs() * LOOP_BPS / 8;
    match () {
        () if heard.breaks > 0 || sample.gaps > 0 || sample.missing_bytes > 0 => Err(
            Failure::Runtime(String::from("bytes of the loop were missing")),
        ),
        () if heard.bytes < expected => Err(Failure::Runtime(format!(
            "only {} bytes were heard where at least {expected} should have been",
            heard.bytes
        ))),
        () => Ok(()),
    }
}
