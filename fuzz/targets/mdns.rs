//! A packet of the LAN's multicast DNS. Whatever it says, it ends, and an answer to it can be read.

use std::net::{Ipv4Addr, Ipv6Addr};
use weir::wire::mdns::{Card, Manner, Message, instance, tag_of, write_answer};

const KEY: &str = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";

pub fn run(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    let card = card();
    let _ = message.contests(&card);
    let _ = message.nodes(&card, |found| assert_ne!(found.port, 0));
    let Ok(Some(asked)) = message.asks(&card) else {
        return;
    };
    assert!(!message.is_response());
    let mut out = [0; 1_500];
    for manner in [Manner::Multicast, Manner::Legacy(asked)] {
        if let Ok(len) = write_answer(&card, manner, &mut out) {
            let answer = Message::parse(&out[..len]).expect("an answer of our own");
            assert!(answer.is_response());
            // Read to its end.
            answer.nodes(&card, |_| ()).expect("records of our own");
        }
    }
}

/// A node that has everything there is to tell.
fn card() -> Card {
    Card {
        instance: instance("abcdefgh", 1),
        v4: Some(Ipv4Addr::new(192, 168, 1, 7)),
        v6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7)),
        udp: Some(8_479),
        http: Some(8_480),
        tags: tag_of(KEY).into_iter().collect(),
    }
}
