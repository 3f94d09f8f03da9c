//! Whom those who play ask for what is late.

use super::*;
use crate::proto::peer::PeerId;

const BPS: u64 = 1_000_000;

/// A source that feeds three, and six listeners with players, settled.
fn grid() -> World {
    let mut world = World::new(BPS as u32);
    world.replace_source(|config| config.max_children = 3);
    for _ in 0..6 {
        let id = world.join(Role::Listener, |_| {}, Some(0));
        world.play(id);
    }
    world.run(12, BPS);
    world
}

/// A neighbour that somebody is fed by, and the stripes.
fn parent_of(world: &World, id: usize) -> Option<(PeerId, usize, u32)> {
    let node = &world.members[id].node;
    let fed_by = |at: usize| {
        let (peer, _) = node
            .peers()
            .iter()
            .find(|(_, peer)| peer.addr == world.members[at].addr)?;
        let stripes = node.peers().link(peer, 0).granted_up;
        (stripes != 0).then_some((peer, at, stripes))
    };
    (1..world.members.len())
        .filter(|&at| at != id)
        .find_map(fed_by)
}

#[test]
fn whoever_was_silent_when_it_owed_a_chunk_is_not_asked_for_others() {
    let mut world = grid();
    let (id, (parent, at, stripes)) = (1..7)
        .find_map(|id| Some((id, parent_of(&world, id)?)))
        .expect("somebody is fed by a listener");
    world.kill(at);
    let died = world.now;
    let mut looks = 0;
    while world.now.since(died) < Span::from_ms(400) {
        world.step(BPS);
        let now = world.now;
        let node = &mut world.members[id].node;
        let Some(row) = node.streams[0]
            .ring
            .row(node.streams[0].playout.next)
            .copied()
        else {
            continue;
        };
        // Begun since, and long enough ago that all that it owes is overdue.
        let is_overdue = row.begun_at > died && now.since(row.begun_at) > Span::from_ms(200);
        if !is_overdue || stripes & !row.have == 0 {
            continue;
        }
        looks += 1;
        for index in (0..20).filter(|index| row.have >> index & 1 == 0) {
            for _ in 0..20 {
                assert_ne!(node.holder(now, 0, row.block, index), Some(parent));
            }
        }
    }
    assert!(looks > 0);
}
