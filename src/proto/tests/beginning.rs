//! When a player is given the first of a stream, and how much of it.

use super::*;
use crate::proto::player::Player;
use crate::proto::playout::Playout;

const BPS: u64 = 800_000;

/// A source that took in its first media a moment ago, and a listener of it with a player that wants to hold `ago`.
fn soon_after_the_source(ago: Option<Span>) -> (World, usize) {
    let mut world = World::new(BPS as u32);
    world.run(1, BPS);
    let listener = world.join(Role::Listener, |_| {}, Some(0));
    let player = world.members[listener].node.open_player(world.now, 0, ago);
    world.members[listener].player = player.ok();
    (world, listener)
}

/// When a member was given its first media, and how much came at once, both in time.
fn first_given(world: &mut World, id: usize) -> (Span, Span) {
    let from = world.now;
    while world.members[id].heard.is_empty() {
        world.step(BPS);
        assert!(world.now.since(from) < Span::from_s(10), "nothing came");
    }
    let waited = world.now.since(from);
    // Its buffer takes half a second of media each time.
    (0..5).for_each(|_| world.step(BPS));
    let heard = world.members[id].heard.len() as u64;
    (waited, Span::from_us(heard * 8_000_000 / BPS))
}

#[test]
fn players_of_a_new_stream_wait_for_what_they_want_to_hold() {
    let (mut world, listener) = soon_after_the_source(None);
    let (waited, given) = first_given(&mut world, listener);
    assert!(waited > Span::from_ms(800), "waited {waited:?}");
    assert!(given >= Span::from_s(2), "given {given:?}");
    world.run(3, BPS);
    world.check_heard(listener);
}

#[test]
fn who_wants_to_hold_nothing_waits_for_nothing() {
    let (mut world, listener) = soon_after_the_source(Some(Span::ZERO));
    let (waited, given) = first_given(&mut world, listener);
    assert!(waited < Span::from_s(2), "waited {waited:?}");
    assert!(given < Span::from_s(1), "given {given:?}");
}

/// However much is wanted: a wait of minutes would look like a stream that is not there.
#[test]
fn nobody_waits_for_more_than_a_few_seconds() {
    let (mut world, listener) = soon_after_the_source(Some(Span::from_s(60)));
    let (waited, given) = first_given(&mut world, listener);
    assert!(waited < Span::from_s(3), "waited {waited:?}");
    assert!(given > Span::from_s(2), "given {given:?}");
}

#[test]
fn players_of_a_running_stream_hold_as_much_at_once() {
    let (mut world, listener) = soon_after_the_source(None);
    world.run(8, BPS);
    let node = &mut world.members[listener].node;
    let second = node.open_player(world.now, 0, None).unwrap();
    let mut buf = std::vec![0; 1 << 20];
    let given = node.read_player(world.now, second, &mut buf) as u64;
    let given = Span::from_us(given * 8_000_000 / BPS);
    assert!(given >= Span::from_s(2), "given {given:?}");
    assert!(given < Span::from_s(3), "given {given:?}");
}

#[test]
fn who_has_too_little_waits_longer_than_others_and_not_for_ever() {
    let came = Instant::from_us(5_000_000);
    let playout = Playout {
        awaited_since: Some(came),
        ..Playout::default()
    };
    let [much, little] = [2_000, 500].map(|ms| Player::new(0, Span::from_ms(ms), came));
    let enough = |after_ms: u64, player| {
        let now = came + Span::from_ms(after_ms);
        playout.enough(now, player).as_ms()
    };
    let after_ms = [0, 2_400, 2_600, 3_900, 4_100];
    assert_eq!(
        after_ms.map(|ms| enough(ms, &much)),
        [2_000, 2_000, 1_500, 1_500, 0]
    );
    assert_eq!(
        after_ms.map(|ms| enough(ms, &little)),
        [500, 500, 500, 500, 0]
    );
    // It was awaited long before: what is here is all that its ring holds.
    let late = Player::new(0, Span::from_s(2), came + Span::from_s(60));
    assert_eq!(enough(60_000, &late), 0);
    // A source has waited for nobody.
    assert_eq!(Playout::default().enough(came, &much), Span::ZERO);
}

/// Where so much is lost that hardly a block comes whole, what came before is all there is to begin with.
#[test]
fn what_was_gathered_before_a_hole_is_not_given_up_for_less() {
    for seed in 1..=16 {
        let mut world = World::new(BPS as u32);
        let listener = world.join(Role::Listener, |_| {}, Some(0));
        world.play(listener);
        world.rng = Rng::new(seed);
        (0..80).for_each(|_| world.step(BPS));
        let bytes = world.members[listener].node.streams()[0].stats.played_bytes;
        let gathered = Span::from_us(bytes * 8_000_000 / BPS);
        assert!(gathered > Span::from_ms(400) && world.members[listener].heard.is_empty());
        world.loss_percent = 40;
        let (waited, given) = first_given(&mut world, listener);
        assert!(waited < Span::from_s(4), "waited {waited:?}");
        assert!(
            given + Span::from_ms(20) > gathered,
            "given {given:?} of {gathered:?}, seed {seed}"
        );
    }
}
