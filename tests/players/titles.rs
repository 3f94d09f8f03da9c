//! What is playing, from every side it can be said, to every side that can show it.

use crate::common::DEADLINE;
use crate::port::free_port;
use crate::rig::{Node, Program, Scratch, get, have, header, output, until, until_within};

/// Takes the titles out of a stream with ICY metadata, by the description of the format and not by our code.
fn titles(head: &str, body: &[u8]) -> Vec<String> {
    let metaint: usize = header(head, "icy-metaint").unwrap().parse().unwrap();
    let mut found = Vec::new();
    let mut at = metaint;
    while let Some(&sixteenths) = body.get(at) {
        let end = at + 1 + usize::from(sixteenths) * 16;
        let Some(block) = body.get(at + 1..end) else {
            break;
        };
        let text = String::from_utf8_lossy(block);
        if let Some((_, rest)) = text.split_once("StreamTitle='") {
            found.push(rest.split_once("';").unwrap().0.to_string());
        }
        at = end + metaint;
    }
    found
}

/// Whoever takes nothing of a stream asks one neighbour by lot every four to six seconds: at two hops it can take a few turns.
fn wait_for_title(node: &Node, key: &str, title: &str) {
    let what = format!("the title is {title}");
    until_within(4 * DEADLINE, &what, || {
        (node.stream(key)["now_playing"] == title).then_some(())
    });
}

/// A pushed MP3 whose titles come by `updinfo`, pulled by a second source as ICY, and behind that a relay.
#[test]
fn titles_go_all_the_way() {
    if !have(&["ffmpeg", "curl", "timeout"]) {
        return;
    }
    let workshop = Scratch::new("titles");
    let file = workshop.encode("titles.mp3", 100, "-map 1 -c:a libmp3lame -b:a 128k");
    let port = free_port();
    let input = format!("icecast://source:pass@127.0.0.1:{port}/live");
    let first = Node::source(&workshop.key("first"), &input, &[]);
    let key = first.key();
    let say = format!(
        "-v error -nostdin -re -i {file} -c copy -f mp3 -ice_name Harbour -ice_genre Jazz -ice_url http://radio.example \
         -content_type audio/mpeg {input}"
    );
    let _push = Program::start("ffmpeg", &say);
    first.wait_live(&key);
    update(port, "Reger+-+Eine+%26+Zwei");
    wait_for_title(&first, &key, "Reger - Eine & Zwei");

    let path = format!("/streams/{key}");
    let (head, body) = get(first.http, &path, "Icy-MetaData: 1\r\n", 40_000);
    let value = |name| header(&head, name).unwrap_or("nothing");
    assert_eq!(value("icy-name"), "Harbour");
    assert_eq!(value("icy-genre"), "Jazz");
    assert_eq!(value("icy-url"), "http://radio.example");
    assert_eq!(value("icy-br"), "128");
    assert_eq!(titles(&head, &body).first().unwrap(), "Reger - Eine & Zwei");
    let (head, _) = get(first.http, &path, "", 0);
    assert_eq!(header(&head, "icy-metaint"), None, "nobody asked for it");

    // Another broadcaster pulls it, titles included; a relay shows them too.
    let second = Node::source(&workshop.key("second"), &first.url(&key), &[]);
    let again = second.key();
    wait_for_title(&second, &again, "Reger - Eine & Zwei");
    let near = Node::relay(&[second.uri(&again)]);
    let relay = Node::relay(&[near.uri(&again)]);
    // Nobody listens at either, and they take nothing of the stream; but they know what is playing.
    wait_for_title(&relay, &again, "Reger - Eine & Zwei");
    assert_eq!(relay.stream(&again)["playout_block"], 0);
    update(port, "Tosti");
    wait_for_title(&relay, &again, "Tosti");
    let _listens = keep_listening(&relay.url(&again));
    assert_eq!(relay.stream(&again)["title"], "Harbour");

    // A player that stays is told of the next one.
    let url = relay.url(&again);
    let player = std::thread::spawn(move || {
        let more = [
            "-s",
            "-i",
            "-H",
            "Icy-MetaData: 1",
            "--max-time",
            "10",
            &url,
        ];
        output("curl", &more).stdout
    });
    until("curl hears something", || {
        let status = relay.status();
        let players = status["players"].as_array()?;
        let hears = |player: &serde_json::Value| player["tx_bytes_total"].as_u64() > Some(0);
        (players.len() == 2 && players.iter().all(hears)).then_some(())
    });
    update(port, "Caf%C3%A9");
    wait_for_title(&relay, &again, "Café");
    let got = player.join().unwrap();
    let split = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&got[..split]);
    assert_eq!(titles(&head, &got[split + 4..]), ["Tosti", "Café"]);
    mpv_shows(&relay.url(&again), "Café");
}

fn keep_listening(url: &str) -> Program {
    Program::start("curl", &format!("-s -o /dev/null {url}"))
}

fn update(port: u16, song: &str) {
    let at = format!("http://127.0.0.1:{port}/admin/metadata?mode=updinfo&mount=/live&song={song}");
    let said = output("curl", &["-s", "-f", "-u", "source:pass", &at]);
    assert!(said.status.success(), "{said:?}");
}

/// mpv prints the tags of a stream when it opens it.
fn mpv_shows(url: &str, title: &str) {
    if !have(&["mpv"]) {
        return;
    }
    let more = ["--no-config", "--vo=null", "--ao=null", "--length=6", url];
    let played = output("mpv", &more);
    let said = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success(), "{said}");
    assert!(said.contains(&format!("icy-title: {title}")), "{said}");
}

/// Vorbis comments, before the first media and at the join of a chain.
#[test]
fn comments_of_a_chain_are_titles() {
    if !have(&["ffmpeg", "curl"]) {
        return;
    }
    let workshop = Scratch::new("comments");
    let tone = |name, title| {
        let tags = format!("-map 1 -c:a libvorbis -metadata artist=Weir -metadata title={title}");
        workshop.encode(name, 6, &tags)
    };
    let pieces =
        [tone("one.ogg", "Tide"), tone("two.ogg", "Ebb")].map(|f| std::fs::read(f).unwrap());
    let chain = workshop.path("chain.ogg");
    std::fs::write(&chain, pieces.concat()).unwrap();
    let source = Node::source(&workshop.key("chain"), &chain, &["--repeat"]);
    let key = source.key();
    let relay = Node::relay(&[source.uri(&key)]);
    let _listens = keep_listening(&relay.url(&key));
    for title in ["Weir - Tide", "Weir - Ebb", "Weir - Tide"] {
        wait_for_title(&relay, &key, title);
    }
}
