//! Many who come at once.

use super::*;

/// While a newcomer is on its way in, the place that there was for it may go to the one before.
#[test]
fn those_for_whom_no_place_is_left_are_told_of_others_at_once() {
    let mut world = World::new(800_000);
    world.replace_source(|config| config.max_children = 2);
    let places = world.members[0].node.peers().capacity();
    for _ in 0..places {
        world.join(Role::Relay, |_| {}, Some(0));
    }
    // Until those who need nothing may be asked to go.
    world.run(12, 800_000);
    let newcomers: Vec<usize> = (0..places + 4)
        .map(|_| {
            world.step(800_000);
            let id = world.join(Role::Listener, |_| {}, Some(0));
            world.play(id);
            id
        })
        .collect();
    // Silence is taken for an answer after 1.2 s only.
    (0..80).for_each(|_| world.step(800_000));
    for id in newcomers {
        let node = &world.members[id].node;
        assert!(node.streams()[0].card.is_some(), "{id} knows nothing yet");
    }
}
