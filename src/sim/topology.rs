//! The trees as they really are: who feeds whom with which stripe, followed up to the source.

use super::results::Spread;
use std::format;
use std::string::String;
use std::vec::Vec;

/// No parent, though one is wanted.
pub const ORPHAN: u32 = u32::MAX;

/// Who feeds a node with a stripe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Edge {
    /// Second of the snapshot.
    pub second: u64,
    /// Stripe.
    pub stripe: u8,
    /// The fed node.
    pub node: u32,
    /// The feeding node, or [`ORPHAN`].
    pub parent: u32,
}

/// What becomes of following a stripe upwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Root {
    Unknown,
    /// Reaches the source, so many hops away.
    Source(u32),
    /// Runs in a circle.
    Circle,
    /// Ends at a node that nobody feeds.
    Orphan,
}

/// The trees of one snapshot in a line.
pub fn describe(edges: &[Edge], nodes: usize) -> String {
    let stripes = edges
        .iter()
        .map(|edge| edge.stripe)
        .max()
        .map_or(0, |most| most + 1);
    let (mut circling, mut orphaned) = (0, 0);
    let mut depths = Vec::new();
    let mut forwarders = Vec::new();
    let mut forwarded = std::vec![0u32; nodes];
    for stripe in 0..stripes {
        let mut parents: Vec<Option<u32>> = std::vec![None; nodes];
        let mut feeds = std::vec![false; nodes];
        for edge in edges.iter().filter(|edge| edge.stripe == stripe) {
            parents[edge.node as usize] = Some(edge.parent);
            if let Some(feeds) = feeds.get_mut(edge.parent as usize) {
                *feeds = true;
            }
        }
        forwarders.push(feeds.iter().filter(|feeds| **feeds).count() as f64);
        feeds
            .iter()
            .zip(&mut forwarded)
            .for_each(|(feeds, n)| *n += u32::from(*feeds));
        for root in roots(&parents).into_iter().flatten() {
            match root {
                Root::Source(depth) => depths.push(f64::from(depth)),
                Root::Circle => circling += 1,
                Root::Orphan | Root::Unknown => orphaned += 1,
            }
        }
    }
    let all = (depths.len() + circling + orphaned).max(1) as f64;
    let depth = Spread::of(depths.iter().copied());
    let many = Spread::of(forwarders.into_iter());
    let distinct = Spread::of(
        forwarded
            .into_iter()
            .skip(1)
            .filter(|n| *n > 0)
            .map(f64::from),
    );
    format!(
        "rooted {:.1}%, in circles {:.1}%, below an orphan {:.1}%; depth mean {:.1} p99 {} max {}; forwarders a stripe {:.0} to {:.0}; stripes a forwarder {:.1} (p99 {})",
        depths.len() as f64 * 100.0 / all,
        circling as f64 * 100.0 / all,
        orphaned as f64 * 100.0 / all,
        depth.mean,
        depth.p99,
        depth.max,
        many.min,
        many.max,
        distinct.mean,
        distinct.p99,
    )
}

/// What each node's stripe hangs on; `None` for nodes that do not take it.
fn roots(parents: &[Option<u32>]) -> Vec<Option<Root>> {
    let mut found = std::vec![Root::Unknown; parents.len()];
    found[0] = Root::Source(0);
    for start in 0..parents.len() {
        let mut way = Vec::new();
        let mut at = start;
        let end = loop {
            match found[at] {
                Root::Unknown if way.contains(&at) => break Root::Circle,
                Root::Unknown => way.push(at),
                known => break known,
            }
            match parents[at].map(|parent| parent as usize) {
                Some(parent) if parent < parents.len() => at = parent,
                _ => break Root::Orphan,
            }
        };
        for (up, node) in way.iter().rev().enumerate() {
            found[*node] = match end {
                Root::Source(depth) => Root::Source(depth + up as u32 + 1),
                other => other,
            };
        }
    }
    let taken = parents.iter().zip(found);
    taken.map(|(parent, root)| parent.map(|_| root)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_circles_and_orphans_are_told_apart() {
        // 1 and 2 hang on the source, 3 and 4 on each other, 5 on 4, 6 on nobody, 7 on 6, 8 on 9 which does not take it.
        let parents = [
            None,
            Some(0),
            Some(1),
            Some(4),
            Some(3),
            Some(4),
            Some(ORPHAN),
            Some(6),
            Some(9),
            None,
        ];
        let roots = roots(&parents);
        assert_eq!(roots[1..3], [Some(Root::Source(1)), Some(Root::Source(2))]);
        assert_eq!(roots[3..6], [Some(Root::Circle); 3]);
        assert_eq!(
            roots[6..],
            [
                Some(Root::Orphan),
                Some(Root::Orphan),
                Some(Root::Orphan),
                None
            ]
        );
    }
}
