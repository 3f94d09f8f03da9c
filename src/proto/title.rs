//! What is playing now. It travels in seals; a node that takes nothing of a stream asks its neighbours for one of those now and
//! then, so that its status shows it all the same.

use super::job::Job;
use super::node::{Node, StreamId};
use super::peer::{Due, PeerId};
use super::stream::{Sealed, Stream};
use crate::error::Malformed;
use crate::limits::{MAX_METADATA_BYTES, MAX_SEAL_BYTES};
use crate::time::{Instant, Span};
use crate::wire::seal::{HAS_METADATA, Seal};
use heapless::{String, Vec};

/// A node that takes nothing asks this often, and a little later than that; more often while it knows nothing.
const ASK_EVERY: Span = Span::from_s(4);
const ASK_AGAIN: Span = Span::from_ms(500);

/// The now-playing text of a stream, and the seal that proves it.
#[derive(Default)]
pub struct Title {
    /// The text; empty when the source does not say.
    pub text: String<MAX_METADATA_BYTES>,
    /// What tells this text from another one, roughly; 0: none is known.
    mark: u32,
    seal: Vec<u8, MAX_SEAL_BYTES>,
    /// First block of that seal's group; 0 while nothing is known.
    block: u64,
    /// When the source closed that group.
    born_at: Instant,
    /// When it is asked for next.
    ask_at: Instant,
}

impl Title {
    /// Takes what a verified seal says, if that is newer than what is known.
    pub fn note(&mut self, seal: &Seal<'_>, bytes: &[u8], born_at: Instant) {
        if seal.flags & HAS_METADATA == 0 || seal.first_block < self.block {
            return;
        }
        // Both fit: no seal is longer, and the length of the text in it is one byte.
        if let (Ok(text), Ok(copy)) = (seal.metadata.try_into(), Vec::from_slice(bytes)) {
            let [a, b, c, d, ..] = *blake3::hash(seal.metadata.as_bytes()).as_bytes();
            self.mark = u32::from_be_bytes([a, b, c, d]).max(1);
            (self.text, self.seal) = (text, copy);
            (self.block, self.born_at) = (seal.first_block, born_at);
        }
    }

    /// The newest seal with a text, and when its group was closed.
    pub fn seal(&self) -> (&[u8], Instant) {
        (&self.seal, self.born_at)
    }

    /// What tells this text from another one, as [`Wanted::Title`](crate::wire::message::Wanted::Title) says.
    pub fn mark(&self) -> u32 {
        self.mark
    }
}

impl Stream<'_> {
    /// A seal for its text only: nothing of the stream is taken here.
    pub(super) fn accept_title(
        &mut self,
        bytes: &[u8],
        born_at: Instant,
    ) -> Result<Sealed, Malformed> {
        let seal = Seal::parse(bytes)?;
        if seal.version > self.version() {
            return Ok(Sealed::NeedsDescriptor);
        }
        if seal.flags & HAS_METADATA != 0 && seal.first_block > self.title.block {
            self.verify(&seal)?;
            self.title.note(&seal, bytes, born_at);
        }
        Ok(Sealed::Known)
    }
}

impl Node<'_> {
    /// Whether nothing of a stream is taken here.
    pub(super) fn is_idle(&self, at: StreamId) -> bool {
        let stream = &self.streams[at];
        let takes = |parent: &super::stream::Parent| parent.peer.is_some();
        stream.source.is_none()
            && !stream.plays
            && !stream.parents.iter().any(takes)
            && self.demanded(at) == 0
    }

    /// Asks one neighbour, by lot, for the title, when it is time.
    pub(super) fn tend_title(&mut self, now: Instant, at: StreamId) {
        let title = &self.streams[at].title;
        let (due, known) = (title.ask_at, title.mark != 0);
        if now < due || self.streams[at].card.is_none() || !self.is_idle(at) {
            return;
        }
        let joined = self.peers.in_stream(at).count() as u64;
        let which = self.rng.below(joined.max(1)) as usize;
        let Some((id, _, _)) = self.peers.in_stream(at).nth(which) else {
            return;
        };
        let pause = match known {
            true => ASK_EVERY + Span::from_ms(self.rng.below(2_000)),
            false => ASK_AGAIN,
        };
        self.streams[at].title.ask_at = now + pause;
        self.owe(id, at, Due::WANT_TITLE);
    }

    /// A neighbour asks for the title; it has one with this mark.
    pub(super) fn on_want_title(&mut self, id: PeerId, at: StreamId, mark: u32) {
        let ours = self.streams[at].title.mark();
        if ours != 0 && ours != mark {
            let stream = at as u8;
            self.queue(Job::Title { peer: id, stream });
        }
    }
}
