//! Icecast's source clients, which go from one Ogg file to the next: each begins another chain, with its own title.

use crate::keeper::Keeper;
use crate::port::free_port;
use crate::rig::{Node, Program, Scratch, have, until};
use std::fs;

/// Seconds of each file.
const PIECE_S: u32 = 5;

/// Two pieces, and a list of them.
struct Programme {
    workshop: Scratch,
    list: String,
    port: u16,
}

impl Programme {
    fn new(name: &str) -> Self {
        let workshop = Scratch::new(name);
        let tone = |name, title| {
            let tags = "-map 1 -c:a libvorbis -metadata artist=Weir -metadata title=";
            workshop.encode(name, PIECE_S, &format!("{tags}{title}"))
        };
        let pieces = [tone("one.ogg", "Tide"), tone("two.ogg", "Ebb")];
        let list = workshop.path("list.m3u");
        fs::write(&list, pieces.map(|file| file + "\n").concat()).unwrap();
        let port = free_port();
        Self {
            workshop,
            list,
            port,
        }
    }

    /// The client comes; titles follow the pieces, and players that were there before a change and come after it decode all
    /// that they get.
    fn is_played(&self, start_client: impl FnOnce() -> Program) {
        let input = format!("icecast://source:pass@127.0.0.1:{}/live", self.port);
        let key_file = self.workshop.key("key");
        let source = Node::source(&key_file, &input, &[]);
        let key = source.key();
        let _client = start_client();
        source.wait_live(&key);
        let relay = Node::relay(&[source.uri(&key)]);
        let url = relay.url(&key);
        let stays = Keeper::join(&self.workshop, "stays.ogg", &url);
        for (turn, title) in ["Weir - Tide", "Weir - Ebb", "Weir - Tide"]
            .iter()
            .enumerate()
        {
            until(&format!("the title is {title}"), || {
                (relay.stream(&key)["now_playing"] == *title).then_some(())
            });
            let comes = Keeper::join(&self.workshop, &format!("comes-{turn}.ogg"), &url);
            comes.wait_for(20_000);
            assert!(comes.decode() > 5);
        }
        // Two changes and more, at 44,100 samples a second: some 64 packets of decoded sound.
        assert!(stays.decode() > 300);
        assert_eq!(source.stream(&key)["title"], "Harbour");
        assert_eq!(relay.stream(&key)["content_type"], "audio/ogg");
        assert_eq!(relay.stream(&key)["gaps_total"], 0);
    }
}

/// Icecast's own client, which asks before it does anything what it may do.
#[test]
fn ices_pushes_a_chain() {
    if !have(&["ffmpeg", "curl", "ices2"]) {
        return;
    }
    let it = Programme::new("ices");
    let (port, dir) = (it.port, it.workshop.path(""));
    fs::write(
        it.workshop.path("ices.xml"),
        format!(
            "<ices><background>0</background><logpath>{dir}</logpath><logfile>ices.log</logfile><loglevel>1</loglevel>\
             <stream><metadata><name>Harbour</name><genre>Jazz</genre></metadata>\
             <input><module>playlist</module><param name=\"random\">0</param><param name=\"type\">basic</param><param name=\"file\">{}</param></input>\
             <instance><hostname>127.0.0.1</hostname><port>{port}</port><password>pass</password>\
             <mount>/live</mount></instance></stream></ices>",
            it.list
        ),
    )
    .unwrap();
    it.is_played(|| Program::start("ices2", &it.workshop.path("ices.xml")));
}

/// A client that encodes: it begins a chain with every title.
#[test]
fn liquidsoap_pushes_a_chain() {
    if !have(&["ffmpeg", "curl", "liquidsoap"]) {
        return;
    }
    let it = Programme::new("liquidsoap");
    let (port, list) = (it.port, &it.list);
    let script = it.workshop.path("radio.liq");
    fs::write(
        &script,
        format!(
            "settings.init.allow_root.set(true)\n\
             settings.log.file.set(false)\n\
             radio = playlist(mode=\"normal\", \"{list}\")\n\
             output.icecast(%vorbis, host=\"127.0.0.1\", port={port}, user=\"source\", password=\"pass\", mount=\"/live\",\n\
             name=\"Harbour\", genre=\"Jazz\", fallible=true, radio)\n"
        ),
    )
    .unwrap();
    it.is_played(|| Program::start("liquidsoap", &script));
}
