//! Home stripes: those in which a relay specialises, so that losing it costs those below it few of theirs.

use super::bucket::places_bps;
use super::node::{Node, StreamId};
use super::stream::{bits, mask_of};
use crate::limits::MAX_N;
use crate::rng::Rng;
use crate::time::{Instant, Span};

/// With fewer forwarding neighbours than this, everybody serves anything.
const SMALL_SWARM: usize = 4;

impl Node<'_> {
    /// Stripes this node would send, and those it prefers.
    pub(super) fn offered(&self, at: StreamId) -> (u32, u32) {
        let Some(card) = self.streams[at].card.as_ref() else {
            return (0, 0);
        };
        let all = card.all_stripes();
        let silent = self.leaving || self.has_ended() || self.streams[at].stopped;
        if silent || !self.standing(at).forwards() {
            return (0, 0);
        }
        if self.streams[at].source.is_some() {
            return (all, all);
        }
        let home = self.streams[at].home & all;
        let others = self
            .peers
            .in_stream(at)
            .filter(|(_, _, link)| link.standing.forwards())
            .count();
        if others < SMALL_SWARM {
            return (all, home);
        }
        // Beyond its home stripes a node serves what it has only while more than half of its upload lies idle: else losing it would
        // cost those below many stripes.
        let idle = self.places(at, usize::MAX) as usize * 2 > self.copies_in_all(at);
        let carried = self.carried(at);
        let held = self.homes_around(at);
        let nobodys = mask_of(bits(all).filter(|&s| held[usize::from(s)] == 0));
        let extra = if idle { carried } else { carried & nobodys };
        ((home | extra | self.demanded(at)) & all, home)
    }

    /// How many neighbours specialise in each stripe.
    fn homes_around(&self, at: StreamId) -> [u64; MAX_N] {
        let mut homes = [0; MAX_N];
        for (_, _, link) in self
            .peers
            .in_stream(at)
            .filter(|(_, _, link)| !link.standing.is_source())
        {
            bits(link.home).for_each(|stripe| homes[usize::from(stripe)] += 1);
        }
        homes
    }

    /// Stripe copies that the upload is good for.
    fn copies_in_all(&self, at: StreamId) -> usize {
        let Some(card) = self.streams[at].card.as_ref() else {
            return 0;
        };
        match self.config.upload_limit_bps {
            None => self.config.max_children * card.n(),
            Some(limit) => (places_bps(limit) / card.stripe_bps()) as usize,
        }
    }

    /// How many stripes this node specialises in: as few as its upload fills. Each should reach about eight children, so that the
    /// way it comes in is well used.
    fn home_count(&self, at: StreamId) -> u32 {
        let Some(card) = self.streams[at].card.as_ref() else {
            return 0;
        };
        let copies = self.copies_in_all(at);
        copies.div_ceil(8).clamp(1, card.n()) as u32
    }

    /// Chooses the stripes this node specialises in from what is scarce among its neighbours, ties by node key; later moves one at
    /// a time, and none that feeds somebody.
    pub(super) fn tend_home(&mut self, now: Instant, at: StreamId) {
        let Some(all) = self.streams[at]
            .card
            .as_ref()
            .map(|card| card.all_stripes())
        else {
            return;
        };
        if now < self.streams[at].home_at || self.streams[at].source.is_some() {
            return;
        }
        let homes = self.homes_around(at);
        let salt = u64::from_be_bytes(*self.public.first_chunk().unwrap_or(&[0; 8]));
        let rank = |stripe: u8| {
            (
                homes[usize::from(stripe)],
                Rng::new(salt ^ u64::from(stripe)).next_u64(),
            )
        };
        let count = self.home_count(at);
        let busy = self.demanded(at);
        let mut home = self.streams[at].home & all;
        while home.count_ones() < count {
            let Some(scarce) = bits(all & !home).min_by_key(|&s| rank(s)) else {
                break;
            };
            home |= 1 << scarce;
        }
        // Others hold them as well, and nobody is fed from here: no need to hold more than the upload fills.
        while home.count_ones() > count {
            let dispensable = bits(home & !busy).filter(|&s| homes[usize::from(s)] > 0);
            let Some(common) = dispensable.max_by_key(|&s| rank(s)) else {
                break;
            };
            home &= !(1 << common);
        }
        let out = bits(home & !busy).max_by_key(|&s| rank(s));
        let into = bits(all & !home).min_by_key(|&s| rank(s));
        // Not everybody at once.
        if let Some(into) = into.filter(|_| self.rng.below(2) == 0) {
            let scarcity = homes[usize::from(into)];
            let out = out.filter(|&out| homes[usize::from(out)] > scarcity);
            match out {
                Some(out) => home = home & !(1 << out) | 1 << into,
                // What nobody holds is worth more than what is filled best.
                None if scarcity == 0 && self.places(at, usize::MAX) > 1 => home |= 1 << into,
                None => {}
            }
        }
        self.streams[at].home = home;
        self.streams[at].home_at = now + Span::from_ms(1_000 + self.rng.below(1_000));
    }
}
