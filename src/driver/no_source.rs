//! What stands in for `source` in a build without that role.

use super::config::{Config, Task};
use super::engine::Clock;
use super::failure::Failure;
use super::run::Ending;
use super::view::Running;
use crate::proto::node::Node;

/// There is none.
#[derive(Clone, Copy)]
pub enum Origin {}

impl Origin {
    /// Nothing: nobody is a source here.
    pub fn prepare(config: &Config) -> Result<Option<Self>, Failure> {
        match &config.task {
            Task::Source(broadcast) => match *broadcast {},
            _ => Ok(None),
        }
    }

    /// Never called.
    pub fn key(&self) -> [u8; 32] {
        match *self {}
    }

    /// Never called.
    pub fn give_to(&mut self, _node: &mut Node<'static>, _clock: Clock) {
        match *self {}
    }

    /// Never called.
    pub async fn run(self, _running: &Running, _ending: &Ending) {
        match self {}
    }
}
