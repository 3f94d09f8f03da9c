//! What leaves for whom, and what is taken back.

use super::*;

/// A child whose Ping is unanswered is not fed, and its place in the log falls back: that is no want of upload.
#[test]
fn a_child_that_may_be_gone_takes_nothing_from_anybody() {
    let mut world = World::new(800_000);
    world.limit_source(8_000_000);
    let children = [(); 3].map(|()| {
        let id = world.join(Role::Listener, |c| c.upload_limit_bps = Some(0), Some(0));
        world.play(id);
        world.members[id].addr
    });
    world.run(6, 800_000);
    let link = |world: &World, addr| {
        let mut peers = world.members[0].node.peers().in_stream(0);
        let (id, _, link) = peers.find(|(_, peer, _)| peer.addr == addr).unwrap();
        (id, link.granted_down, link.cursor)
    };
    let before = children.map(|addr| link(&world, addr).1);
    assert!(before.iter().all(|stripes| stripes.count_ones() >= 16));
    let [gone, ..] = children;
    world.kill(1);
    for _ in 0..300 {
        let (id, ..) = link(&world, gone);
        world.members[0].node.peers.get_mut(id).unwrap().unanswered = 1;
        world.step(800_000);
        let now = children.map(|addr| link(&world, addr).1);
        assert_eq!(now, before, "at {:?}", world.now);
    }
    let waits = world.members[0].node.streams()[0].log.end() - link(&world, gone).2;
    assert!(waits > 100, "{waits}");
}

/// Renewals go with the news that are due, and none are where a neighbour asks for them all the time.
#[test]
fn a_child_that_is_always_asked_for_news_renews_all_the_same() {
    let mut world = World::new(800_000);
    let child = world.join(Role::Listener, |_| {}, Some(0));
    world.play(child);
    world.run(5, 800_000);
    let granted = |world: &World| {
        let mut peers = world.members[0].node.peers().in_stream(0);
        peers.next().map(|(_, _, link)| link.granted_down)
    };
    let before = granted(&world);
    assert_ne!(before, Some(0));
    let end = world.now + Span::from_s(70);
    while world.now < end {
        let now = world.now;
        for (_, _, link) in world.members[child].node.peers.each_link_mut(0) {
            link.told_at = now;
        }
        world.step(800_000);
        assert_eq!(granted(&world), before, "at {now:?}");
    }
}

/// A source with two listeners, at a moment when nothing waits to leave it: with the listeners' addresses, and their places there.
fn quiet_pair() -> (World, [Addr; 2], [usize; 2]) {
    let mut world = World::new(800_000);
    let listeners = [(); 2].map(|()| world.join(Role::Listener, |_| {}, Some(0)));
    listeners.iter().for_each(|&id| world.play(id));
    world.run(5, 800_000);
    let addrs = listeners.map(|id| world.members[id].addr);
    let (now, node) = (world.now, &mut world.members[0].node);
    let mut out = Transmit::new();
    while node.poll_transmit(now, &mut out) {}
    let place = |addr| node.peers().iter().find(|(_, p)| p.addr == addr);
    let ids = addrs.map(|addr| place(addr).unwrap().0);
    (world, addrs, ids)
}

#[test]
fn what_one_neighbour_asked_for_again_leaves_in_one_batch() {
    let (mut world, addrs, ids) = quiet_pair();
    let (now, node) = (world.now, &mut world.members[0].node);
    let mut out = Transmit::new();
    let block = node.streams()[0].ring.end().saturating_sub(3);
    for (peer, count) in ids.into_iter().zip([3, 2]) {
        for index in 0..count as u8 {
            let (stream, id, at) = (0, ChunkId { block, index }, now);
            let queued = node.repairs.push(Repair {
                peer,
                stream,
                id,
                at,
            });
            assert!(queued.is_ok());
        }
    }
    for (addr, count) in addrs.into_iter().zip([3, 2]) {
        assert!(node.poll_transmit(now, &mut out));
        assert_eq!((out.to, out.count), (addr, count));
        assert_eq!(node.datagrams(&out).count(), count);
        let pieces: usize = node.runs(&out).map(<[u8]>::len).sum();
        assert_eq!(pieces, node.datagrams(&out).map(<[u8]>::len).sum::<usize>());
    }
    // What has left the ring is not sent.
    node.streams[0].let_go();
    assert_eq!(node.runs(&out).count(), 0);
    assert!(!node.poll_transmit(now, &mut out));
}

#[test]
fn who_asks_for_an_older_block_is_served_before_others_once() {
    let (mut world, _, [one, other]) = quiet_pair();
    let (at, node) = (world.now, &mut world.members[0].node);
    let newest = node.streams()[0].ring.end().saturating_sub(3);
    for (peer, back) in [(one, 1), (other, 3), (other, 5), (one, 4)] {
        let (block, index) = (newest - back, 0);
        let id = ChunkId { block, index };
        let stream = 0;
        let repair = Repair {
            peer,
            stream,
            id,
            at,
        };
        assert!(node.on_want_chunk(at, repair));
    }
    let order = node
        .repairs
        .iter()
        .map(|it| (it.peer, newest - it.id.block));
    assert!(order.eq([(other, 3), (one, 1), (other, 5), (one, 4)]));
}

#[test]
fn what_waits_for_one_neighbour_leaves_in_one_datagram() {
    let (mut world, addrs, ids) = quiet_pair();
    let (now, node) = (world.now, &mut world.members[0].node);
    let mut out = Transmit::new();
    let newest = node.streams()[0].ring.end() - 1;
    for back in 0..4 {
        for peer in ids {
            let (stream, block) = (0, newest - back);
            node.queue(Job::Seal {
                peer,
                stream,
                block,
            });
            let stripes = 1;
            node.queue(Job::Lack {
                peer,
                stream,
                block,
                stripes,
            });
        }
    }
    let mut sent = Vec::new();
    while node.poll_transmit(now, &mut out) {
        sent.push((out.to, out.control_len));
    }
    sent.sort_by_key(|&(to, _)| addrs.iter().position(|&addr| addr == to));
    assert_eq!(sent.iter().map(|(to, _)| *to).collect::<Vec<_>>(), addrs);
    assert!(sent.iter().all(|&(_, len)| len > 4 * 100), "{sent:?}");
}

/// What a source has counted as sent to a neighbour: in all, today, to its network, to itself, of the stream.
fn counted(node: &mut Node<'_>, addr: Addr) -> [u64; 6] {
    node.settle_ledger();
    let network = Network::of(addr);
    let row = node.ledger().networks().iter().flatten();
    let row = row.clone().find(|(other, _)| *other == network);
    let peer = node.peers().iter().find(|(_, peer)| peer.addr == addr);
    [
        node.stats().tx_datagrams,
        node.stats().tx_bytes,
        node.ledger().day(0).unwrap().1.tx_bytes,
        row.unwrap().1.tx_bytes,
        peer.unwrap().1.tx_bytes,
        node.streams()[0].stats.tx_bytes,
    ]
}

#[test]
fn what_the_system_refused_was_not_sent_anywhere() {
    let (mut world, addrs, ids) = quiet_pair();
    let (now, node) = (world.now, &mut world.members[0].node);
    node.begin_day(20_000);
    let mut out = Transmit::new();
    let block = node.streams()[0].ring.end().saturating_sub(3);
    for is_chunks in [true, false] {
        let before = counted(node, addrs[0]);
        let (peer, stream, at) = (ids[0], 0, now);
        match is_chunks {
            true => (0..3).for_each(|index| {
                let id = ChunkId { block, index };
                let repair = Repair {
                    peer,
                    stream,
                    id,
                    at,
                };
                assert!(node.repairs.push(repair).is_ok());
            }),
            false => node.queue(Job::Seal {
                peer,
                stream,
                block,
            }),
        }
        assert!(node.poll_transmit(now, &mut out));
        assert_eq!((out.to, out.count > 0), (addrs[0], is_chunks));
        let datagrams = node.datagrams(&out).count() as u64;
        let bytes = node.datagrams(&out).map(<[u8]>::len).sum();
        node.not_sent(&out, datagrams, bytes);
        assert_eq!(counted(node, addrs[0]), before);
        // Once more than there was: nothing goes below nothing.
        node.not_sent(&out, 1 << 40, 1 << 40);
        assert_eq!(counted(node, addrs[0])[1], 0);
    }
}
