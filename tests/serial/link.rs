//! Two boxes and a cable: what one sends the other has, byte for byte, whatever the cable does.

use crate::common::{Node, Scratch, assert_part_of, feed_random};
use crate::wire::{Cable, End, Faults};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BAUD: u32 = 115_200;

/// What was given to a source so far.
type Sent = Arc<Mutex<Vec<u8>>>;

/// A source and a listener with nothing but a cable between them.
pub struct Boxes {
    pub scratch: Scratch,
    pub source: Node,
    pub listener: Node,
    pub cable: Option<Cable>,
    pub sent: Sent,
    pub key: String,
}

impl Boxes {
    fn new(name: &str, bps: u64, words: &str) -> Self {
        Self::at(name, bps, words, BAUD)
    }

    fn at(name: &str, bps: u64, words: &str, baud: u32) -> Self {
        let scratch = Scratch::new(name);
        let ends = ["a", "b"].map(|end| End::plug(&PathBuf::from(scratch.path(end))));
        let lines = ["a", "b"].map(|end| format!("{},link,{baud}{words}", scratch.path(end)));
        let key = scratch.key("key");
        let mut source = Node::start(&[
            "source",
            "--key",
            &key,
            "--input",
            "-",
            "--bitrate",
            &format!("{bps}bit"),
            "--content-type",
            "application/octet-stream",
            "--serial",
            &lines[0],
        ]);
        let uri = source.first_line();
        let key = uri.rsplit('/').next().unwrap().to_string();
        let sent = Sent::default();
        let copy = sent.clone();
        source.feed(move |pipe| feed_random(bps, 300, copy, pipe));
        // No host in it: the line is all there is.
        let listener = Node::start(&["listen", &format!("weir:///{key}"), "--serial", &lines[1]]);
        let [a, b] = ends;
        Self {
            scratch,
            source,
            listener,
            cable: Some(Cable::join(a, b, baud)),
            sent,
            key,
        }
    }

    fn cable(&self) -> &Cable {
        self.cable.as_ref().unwrap()
    }

    /// Waits for so many more bytes and looks whether all are those that were sent.
    fn hear(&mut self, more: usize) {
        let enough = self.listener.heard.len() + more;
        self.listener.hear(|heard| heard.len() >= enough);
        assert_part_of(&self.listener.heard, &self.sent.lock().unwrap());
    }
}

fn line(status: &Value) -> &Value {
    &status["serial"][0]
}

#[test]
fn the_very_bytes_come_through_a_clean_cable_and_a_fifth_of_it_is_left() {
    let mut boxes = Boxes::new("clean", 64_000, "");
    // At first the line's last fifth fills the player's burst.
    boxes.hear(72_000);
    let before = (boxes.cable().carried(), boxes.sent.lock().unwrap().len());
    boxes.hear(80_000);
    let after = (boxes.cable().carried(), boxes.sent.lock().unwrap().len());
    let there = (after.0.bytes[0] - before.0.bytes[0]) as f64 / (after.1 - before.1) as f64;
    let back = (after.0.bytes[1] - before.0.bytes[1]) as f64 / (after.1 - before.1) as f64;
    println!("{there:.3} bytes on the line a stream byte, {back:.3} the other way");
    assert!(there < 1.18 && back < 0.06, "{there} there, {back} back");
    let status = boxes.listener.status();
    assert_eq!(line(&status)["state"], "up");
    assert_eq!(line(&status)["bad_frames_total"], 0);
    assert_eq!(status["streams"][0]["gaps_total"], 0);
    assert_eq!(status["peers"][0]["address"], "line 0");
    // As many stripes as suffice.
    assert_eq!(
        status["peers"][0]["stripes_from"],
        status["streams"][0]["k"]
    );
}

#[test]
fn a_bad_cable_costs_repairs_and_no_byte() {
    let mut boxes = Boxes::new("bad", 40_000, "");
    boxes.hear(8_000);
    boxes.cable().set(Faults {
        dropped_ppm: 15,
        flipped_ppm: 15,
        doubled_ppm: 15,
        delay: Duration::from_millis(30),
        ..Faults::default()
    });
    boxes.hear(100_000);
    let status = boxes.listener.status();
    assert!(
        line(&status)["bad_frames_total"].as_u64() > Some(0),
        "{status:#}"
    );
    assert!(status["streams"][0]["repaired_chunks_total"].as_u64() > Some(0));
    assert_eq!(status["streams"][0]["invalid_chunks_total"], 0);
}

#[test]
fn a_cable_that_stalls_goes_on_where_it_stopped() {
    let mut boxes = Boxes::new("stall", 40_000, "");
    boxes.hear(20_000);
    let stalled = Faults {
        stalled: true,
        ..Faults::default()
    };
    boxes.cable().set(stalled);
    std::thread::sleep(Duration::from_millis(1_500));
    boxes.cable().set(Faults::default());
    // Within the window of four seconds nothing is lost.
    boxes.hear(40_000);
    assert_eq!(boxes.listener.status()["streams"][0]["gaps_total"], 0);
}

#[test]
fn half_duplex_with_echoes_carries_64_kbit() {
    let mut boxes = Boxes::new("half", 64_000, ",half-duplex=5ms");
    boxes.cable().set(Faults {
        echoes: true,
        ..Faults::default()
    });
    boxes.hear(100_000);
    let status = boxes.source.status();
    assert!(
        line(&status)["echoed_frames_total"].as_u64() > Some(20),
        "{status:#}"
    );
    assert_eq!(status["peers"].as_array().unwrap().len(), 1);
}

#[test]
fn a_stream_too_fast_is_refused_with_both_numbers() {
    let boxes = Boxes::at("fast", 64_000, "", 57_600);
    for node in [&boxes.source, &boxes.listener] {
        let line = node.wait_for_log("the line carries");
        assert!(line.contains("the line carries 46080"), "{line}");
        assert!(line.contains("it needs 7"), "{line}");
    }
    assert!(boxes.listener.heard.is_empty());
}

#[test]
fn another_rate_is_noise_and_said_so() {
    let boxes = Boxes::new("noise", 64_000, "");
    boxes.cable().set(Faults {
        scrambled: true,
        ..Faults::default()
    });
    // The listener asks, and the source hears that somebody is there but not what is said.
    boxes
        .source
        .wait_until("noise", |status| line(status)["state"] == "noise");
    let said = boxes.source.wait_for_log("no sound frame");
    assert!(said.contains("115200 baud"), "{said}");
    boxes.cable().set(Faults::default());
    let mut boxes = boxes;
    boxes.hear(8_000);
    boxes
        .source
        .wait_until("up", |status| line(status)["state"] == "up");
}

#[test]
fn an_adapter_pulled_out_and_put_back_is_found_again() {
    let mut boxes = Boxes::new("plug", 64_000, "");
    boxes.hear(8_000);
    let (a, b) = boxes.cable.take().unwrap().take_off();
    let path = b.path.clone();
    b.pull();
    boxes
        .listener
        .wait_until("missing", |status| line(status)["state"] == "missing");
    let b = End::plug(&path);
    boxes.cable = Some(Cable::join(a, b, BAUD));
    boxes
        .listener
        .wait_until("open again", |status| line(status)["opened_total"] == 2);
    let enough = boxes.listener.heard.len() + 24_000;
    boxes.listener.hear(|heard| heard.len() >= enough);
}

#[test]
fn a_cable_plugged_into_another_box_brings_the_stream_from_there() {
    let mut boxes = Boxes::new("swap", 64_000, "");
    boxes.hear(8_000);
    // Another relay of the same stream, which has it over the network.
    let path = boxes.scratch.path("c");
    let c = End::plug(&PathBuf::from(&path));
    let uri = format!("weir://{}/{}", boxes.source.udp, boxes.key);
    let other = Node::start(&["relay", &uri, "--serial", &format!("{path},link")]);
    let (_a, b) = boxes.cable.take().unwrap().take_off();
    boxes.cable = Some(Cable::join(c, b, BAUD));
    let enough = boxes.listener.heard.len() + 40_000;
    boxes.listener.hear(|heard| heard.len() >= enough);
    let status = other.status();
    let line_peer = status["peers"].as_array().unwrap().iter();
    let mut fed = line_peer.filter(|peer| peer["address"] == "line 0");
    assert!(
        fed.any(|peer| peer["stripes_to"].as_u64() > Some(0)),
        "{status:#}"
    );
}

#[test]
fn a_dead_port_costs_nothing() {
    let boxes = Boxes::new("dead", 64_000, "");
    // A listener on the network is not disturbed by a line that takes nothing.
    boxes.cable().set(Faults {
        stalled: true,
        ..Faults::default()
    });
    let uri = format!("weir://{}/{}", boxes.source.udp, boxes.key);
    let mut listener = Node::start(&["listen", &uri]);
    listener.hear(|heard| heard.len() > 40_000);
    assert_part_of(&listener.heard, &boxes.sent.lock().unwrap());
    let before = cpu_ms(boxes.source.child.id());
    std::thread::sleep(Duration::from_secs(3));
    let used = cpu_ms(boxes.source.child.id()) - before;
    assert!(used < 600, "{used} ms of three seconds");
}

/// Processor time of a process so far (proc(5), fields 14 and 15; the clock ticks a hundred times a second).
fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    (ticks(11) + ticks(12)) * 10
}
