//! The source of a stream: its key and its input, and the one task that brings the input's bytes to the node.

use super::config::{Broadcast, Config, Task};
use super::engine::Clock;
use super::failure::Failure;
use super::input::{self, Input, InputError, InputOptions};
use super::intake::Intake;
use super::keyfile;
use super::reactor::Timer;
use super::run::Ending;
use super::sequence::Sequence;
use super::view::Running;
use crate::crypto::sign::SigningKey;
use crate::memory;
use crate::proto::node::Node;
use crate::proto::source::Source;
use core::time::Duration;
use smol::future::FutureExt;

/// After its input's end a source stays for those who still ask for chunks.
const LINGER: Duration = Duration::from_secs(5);

/// How often the beginning of a stream is looked at.
const TICK: Duration = Duration::from_millis(250);

/// Everything a source needs before there is a node.
pub struct Origin {
    broadcast: Broadcast,
    input: Input,
    signer: Option<SigningKey>,
    key: [u8; 32],
    sequence: Sequence,
}

impl Origin {
    /// Reads what a source is told; nothing for other roles.
    pub fn prepare(config: &Config) -> Result<Option<Self>, Failure> {
        let Task::Source(broadcast) = &config.task else {
            return Ok(None);
        };
        let input: Input = broadcast
            .input
            .parse()
            .map_err(|error| Failure::usage("--input", error))?;
        let signer = SigningKey::from_seed(keyfile::load_stream_key(&broadcast.key)?);
        let key = signer.public();
        Ok(Some(Self {
            broadcast: broadcast.clone(),
            input,
            signer: Some(signer),
            key,
            sequence: Sequence::begin(&key, config.state.as_deref()),
        }))
    }

    /// The stream's public key.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Makes the node's first stream this one.
    pub fn give_to(&mut self, node: &mut Node<'static>, clock: Clock) {
        let Some(signer) = self.signer.take() else {
            return;
        };
        let Sequence {
            version,
            first_block,
        } = self.sequence;
        let offset_ms = clock.wall_offset_ms();
        let source = Source::new(signer, memory::staging(), version, first_block, offset_ms);
        node.set_source(0, source);
    }

    /// Brings the input to the node until the input ends.
    pub async fn run(self, running: &Running, ending: &Ending) {
        let options = InputOptions {
            bitrate_bps: self.broadcast.bitrate_bps,
            repeat: self.broadcast.repeat,
            ..InputOptions::default()
        };
        let intake = Intake::new(running, self.broadcast);
        let ticks = async {
            loop {
                Timer::after(TICK).await;
                intake.tick();
            }
        };
        log::info!("input: {}", self.input);
        match input::run(&self.input, &options, &intake).or(ticks).await {
            Ok(()) => {
                intake.finish();
                Timer::after(LINGER).await;
                ending.end(Ok(()));
            }
            Err(error) => ending.end(Err(blame(&error))),
        }
    }
}

fn blame(error: &InputError) -> Failure {
    match error {
        InputError::Io { .. } => Failure::runtime("--input", error),
        _ => Failure::usage("--input", error),
    }
}
