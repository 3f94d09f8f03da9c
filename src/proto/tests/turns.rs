//! How too little upload is shared out.

use super::*;

const BPS: u64 = 800_000;

/// A source with this upload, and as many listeners that give nothing.
fn short_of_upload(limit_bps: u64, listeners: usize) -> World {
    let mut world = World::new(BPS as u32);
    world.limit_source(limit_bps);
    for _ in 0..listeners {
        let id = world.join(Role::Listener, |c| c.upload_limit_bps = Some(0), Some(0));
        world.play(id);
    }
    world
}

fn is_short(world: &World, id: usize) -> bool {
    world.members[id].node.streams()[0].is_short()
}

/// Runs until a listener takes nothing, or something; how long that took.
fn until_it_takes(world: &mut World, something: bool) -> Span {
    let from = world.now;
    while (world.members[0].node.demanded(0) != 0) != something {
        world.step(BPS);
        assert!(world.now.since(from) < Span::from_s(60), "it never does");
    }
    world.now.since(from)
}

#[test]
fn whoever_gets_too_little_lets_go_for_a_while() {
    let mut world = short_of_upload(500_000, 1);
    until_it_takes(&mut world, true);
    let patience = until_it_takes(&mut world, false);
    assert!(patience > Span::from_s(20), "{patience:?}");
    assert!(is_short(&world, 1));
    let rest = until_it_takes(&mut world, true);
    assert!(
        rest > Span::from_s(9) && rest < Span::from_s(22),
        "{rest:?}"
    );
    // It is told so all the while.
    for _ in 0..15 {
        world.run(1, BPS);
        assert!(is_short(&world, 1));
    }
    // When there is enough, nobody is short.
    let now = world.now;
    world.members[0].node.set_upload_limit(now, None);
    while is_short(&world, 1) {
        world.step(BPS);
        assert!(world.now.since(now) < Span::from_s(60), "still short");
    }
}

#[test]
fn whoever_is_cut_off_has_nobody_to_make_room_for() {
    let mut world = short_of_upload(2_000_000, 1);
    world.run(5, BPS);
    world.kill(0);
    world.run(40, BPS);
    assert!(!is_short(&world, 1));
}
