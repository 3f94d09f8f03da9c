//! How the source cuts a stream into blocks and groups, and lets them out.

use super::*;

const SECONDS: u64 = 20;

/// A sealed group: how long its first byte had waited, and media bytes of its blocks.
struct Group {
    waited: Span,
    blocks: Vec<u16>,
}

/// What a source makes of a stream whose encoder hands out what came in so many ms each time.
fn made(bps: u64, each_lump_ms: impl Fn(&mut Rng) -> u64) -> Vec<Group> {
    let mut world = World::new(bps as u32);
    let node = &mut world.members[0].node;
    let (began, mut next) = (world.now, node.streams()[0].ring.end().max(1_000));
    let mut lumps = Vec::new();
    let (mut pushed, mut due_ms, mut read) = (0, 0, 0);
    let mut groups = Vec::new();
    for ms in 0..SECONDS * 1_000 {
        let now = began + Span::from_ms(ms);
        if ms == due_ms {
            due_ms += each_lump_ms(&mut world.media);
            let lump = std::vec![0; (ms * bps / 8_000) as usize - pushed];
            pushed += lump.len();
            lumps.push((pushed, now));
            node.push_source(now, 0, Start::Cut, &lump, true).unwrap();
        }
        if node.poll_timeout().is_some_and(|due| due <= now) {
            node.handle_timeout(now);
        }
        let stream = &node.streams()[0];
        while let Some(end) = stream.group_end(next) {
            let came = lumps.iter().find(|(end, _)| *end > read).unwrap().1;
            let row = |block| stream.ring.row(block).unwrap().mark.length_bytes;
            let blocks: Vec<u16> = (next..end).map(row).collect();
            read += blocks.iter().map(|&n| usize::from(n)).sum::<usize>();
            let waited = now.since(came);
            groups.push(Group { waited, blocks });
            next = end;
        }
    }
    assert!(read + bps as usize / 8 > pushed, "not all was sealed");
    groups
}

/// Share of blocks as long as the longest.
fn whole(groups: &[Group]) -> f64 {
    let blocks = groups.iter().flat_map(|group| &group.blocks);
    let longest = blocks.clone().max().unwrap();
    let all = blocks.clone().count() as f64;
    blocks.filter(|&n| n == longest).count() as f64 / all
}

#[test]
fn groups_end_with_whole_blocks_and_keep_nobody_waiting() {
    for bps in [600, 1_000, 1_500, 2_000, 4_000, 8_000].map(|kbps| kbps * 1_000) {
        for lump_ms in [5, 20, 40] {
            let groups = made(bps, |_| lump_ms);
            let share = whole(&groups);
            assert!(share > 0.85, "{bps} {lump_ms}: {share} are whole");
            assert!(groups.len() as u64 <= SECONDS * 4, "{}", groups.len());
            let longest = groups.iter().map(|group| group.waited).max().unwrap();
            let most = Span::from_ms(250 + 250 / 4 + 1);
            assert!(longest <= most, "{bps} {lump_ms}: waited {longest:?}");
        }
    }
}

/// Below 600 kbit/s a group is meant to be 500 ms long: it ends with the block that comes nearest to that.
#[test]
fn slow_streams_wait_for_no_block_that_comes_late() {
    for (kbps, most_ms, least_seals) in [(256, 600, 1), (320, 480, 2), (500, 600, 1)] {
        let groups = made(kbps * 1_000, |_| 20);
        let share = whole(&groups);
        assert!(share > 0.95, "{kbps}: {share} are whole");
        let longest = groups.iter().map(|group| group.waited).max().unwrap();
        assert!(longest <= Span::from_ms(most_ms), "{kbps}: {longest:?}");
        let seals = groups.len() as u64 / SECONDS;
        assert!((least_seals..=3).contains(&seals), "{kbps}: {seals}");
    }
}

/// Whatever the encoder does: routers verify each seal.
#[test]
fn there_are_no_more_than_four_signatures_a_second() {
    for bps in [64_000, 400_000, 1_000_000, 4_000_000] {
        let groups = made(bps, |rng| 1 + rng.below(120));
        let most = SECONDS as usize * 4 + 2;
        assert!(groups.len() <= most, "{bps}: {}", groups.len());
    }
}

/// Each burst is a message to every child, and to each of theirs.
#[test]
fn bursts_are_paced_however_often_the_node_is_woken() {
    let mut world = World::new(4_000_000);
    let began = world.now;
    let node = &mut world.members[0].node;
    let (mut bursts, mut end) = (0, 0);
    for ms in 1..5_000 {
        let now = began + Span::from_ms(ms);
        node.push_source(now, 0, Start::Cut, &[0; 500], true)
            .unwrap();
        node.handle_timeout(now);
        let logged = node.streams()[0].log.end();
        bursts += u64::from(logged > end);
        end = logged;
    }
    assert!(end > 2_500, "{end} chunks");
    assert!((200..=5 * 50).contains(&bursts), "{bursts} in five seconds");
}

/// All players' output has the pause between groups: 80 to 90 ms when a group left over less time than it had been gathered in.
#[test]
fn a_group_leaves_until_the_next_is_there() {
    let mut world = World::new(1_000_000);
    let began = world.now;
    let node = &mut world.members[0].node;
    let (mut longest, mut left_at) = (Span::ZERO, began + Span::from_s(1));
    for ms in (0..5_000).step_by(10) {
        let now = began + Span::from_ms(ms);
        node.push_source(now, 0, Start::Cut, &[0; 1_250], true)
            .unwrap();
        let before = node.streams()[0].log.end();
        node.handle_timeout(now);
        if now > left_at && node.streams()[0].log.end() > before {
            longest = longest.max(now.since(left_at));
            left_at = now;
        }
    }
    assert!(longest <= Span::from_ms(70), "{longest:?}");
}
