//! Who was away for a while: asleep, or cut off.

use super::*;

const BPS: u64 = 800_000;

/// A source that feeds one less than there are listeners, and as many of these with players as there are limits of their upload,
/// all of them playing.
fn listeners(limits_bps: &[Option<u64>]) -> World {
    let mut world = World::new(BPS as u32);
    world.replace_source(|config| config.max_children = limits_bps.len() - 1);
    for &limit in limits_bps {
        let tune = |config: &mut NodeConfig| config.upload_limit_bps = limit;
        let id = world.join(Role::Listener, tune, Some(0));
        world.play(id);
    }
    world.run(15, BPS);
    world
}

/// Nothing reaches it for so long, and it does nothing.
fn sleep(world: &mut World, id: usize, seconds: u64) {
    world.members[id].alive = false;
    world.run(seconds, BPS);
    world.members[id].alive = true;
}

/// What a member heard last is so far behind what the source took in last.
fn behind(world: &World, id: usize) -> Span {
    let last = world.members[id].heard.last_chunk::<64>().unwrap();
    let at = world.taken.windows(64).rposition(|w| w == last).unwrap();
    Span::from_us((world.taken.len() - at) as u64 * 8_000_000 / BPS)
}

/// A source that cannot feed this one forgets it sooner than it forgets the source. What it lacked for long it asks of the source
/// first, but not for ever: with some loss on the wire some 20 gaps in 12 s.
#[test]
fn what_it_missed_comes_from_its_neighbours_where_the_source_does_not_answer() {
    for seed in 1..=16 {
        let mut world = listeners(&[Some(3_000_000), Some(3_000_000), Some(0)]);
        world.rng = Rng::new(seed);
        sleep(&mut world, 3, 5);
        world.apart = Some([world.members[0].addr, world.members[3].addr]);
        world.loss_percent = 8;
        world.run(12, BPS);
        world.check_heard(3);
        let stats = world.members[3].node.streams()[0].stats;
        assert_eq!(stats.gaps, 0, "{stats:?}");
    }
}

/// Its neighbours hold what it missed, but have no upload to send it all at once.
#[test]
fn after_long_it_goes_on_with_what_is_live() {
    let mut world = listeners(&[Some(1_500_000), Some(1_500_000), Some(0)]);
    let heard = world.members[3].heard.len();
    sleep(&mut world, 3, 20);
    let back_at = world.now;
    while world.members[3].heard.len() <= heard {
        world.step(BPS);
        let waited = world.now.since(back_at);
        assert!(waited < Span::from_s(3), "silent for {waited:?}");
    }
    world.run(5, BPS);
    let behind = behind(&world, 3);
    assert!(behind < Span::from_s(5), "{behind:?}");
    let stats = world.members[3].node.streams()[0].stats;
    assert_eq!(stats.gaps, 1, "{stats:?}");
}
