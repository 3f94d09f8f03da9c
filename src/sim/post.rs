//! What shards send each other between two windows. None goes on before it has heard from all, and one that is gone is
//! noticed by all: nobody waits for it.

use super::shard::Shard;
use super::wire::Packet;
use std::boxed::Box;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::vec::Vec;

type Letters = Vec<Box<Packet>>;

/// A shard's ends of its channels with the others, by their number; with itself it has none.
pub struct Post {
    to: Vec<Option<Sender<Letters>>>,
    from: Vec<Option<Receiver<Letters>>>,
}

impl Post {
    /// For each of so many shards, in order.
    pub fn between(shards: usize) -> Vec<Self> {
        let nobody = || Self {
            to: (0..shards).map(|_| None).collect(),
            from: (0..shards).map(|_| None).collect(),
        };
        let mut posts: Vec<Self> = (0..shards).map(|_| nobody()).collect();
        for from in 0..shards {
            for to in (0..shards).filter(|to| *to != from) {
                let (sender, receiver) = channel();
                posts[from].to[to] = Some(sender);
                posts[to].from[from] = Some(receiver);
            }
        }
        posts
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.to.len()
    }

    /// Sends what a shard has for the others and takes what they have for it; `None` if one of them is gone.
    pub fn exchange(&self, shard: &mut Shard<'_>) -> Option<()> {
        for (number, to) in self.to.iter().enumerate() {
            if let Some(to) = to {
                to.send(shard.take_outbox(number)).ok()?;
            }
        }
        self.from
            .iter()
            .flatten()
            .try_for_each(|from| from.recv().ok().map(|letters| shard.receive(letters)))
    }
}
