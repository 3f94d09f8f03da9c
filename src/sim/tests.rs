//! The simulator tried as a whole: it replays exactly, its net delivers what it says, and its checks can fail.

use super::report::Report;
use super::scenario::{Fault, Scenario};
use super::shard::Shard;
use super::wire::node_of;
use super::world::World;
use std::string::String;

const SMALL: &str = "
about = 'a few homes'
seconds = 15
measure_from = 6
[stream]
bitrate_kbps = 200
[network]
loss = 0.01
[[group]]
name = 'homes'
count = 8
role = 'listener'
upload = [[1.0, 4.0]]
ring_kib = 512
join_over = 2.0
";

fn scenario(more: &str) -> Scenario {
    Scenario::parse(&[SMALL, more].concat()).unwrap()
}

fn run_on(scenario: &Scenario, threads: usize) -> Report {
    let world = World::new(scenario.clone(), None);
    Report::new("test", scenario, world.run(threads))
}

fn run(scenario: &Scenario) -> Report {
    run_on(scenario, 2)
}

fn falls_short(report: &Report, name: &str) -> bool {
    report
        .verdicts
        .iter()
        .any(|verdict| verdict.name == name && !verdict.well)
}

#[test]
fn a_seed_replays_exactly_on_any_number_of_threads() {
    let mut it = scenario("");
    let once = run_on(&it, 1).json();
    assert_eq!(once, run_on(&it, 1).json());
    assert_eq!(once, run_on(&it, 2).json());
    assert_eq!(once, run_on(&it, 3).json());
    it.seed = 2;
    assert_ne!(once, run_on(&it, 1).json());
}

#[test]
fn round_trips_measured_by_nodes_are_those_of_the_net() {
    // Lines so wide that nothing waits on them for what was sent before.
    let wide = SMALL.replace("upload = [[1.0, 4.0]]", "upload = [[1.0, 40.0]]");
    assert_ne!(wide, SMALL);
    let world = World::new(Scenario::parse(&wide).unwrap(), None);
    let mut shard = Shard::new(&world, 0, 1);
    shard.run(0, 12_000);
    let mut seen = 0;
    for (node, life) in shard.lives() {
        for (_, peer) in life.node.peers().iter() {
            let Some((other, _)) = node_of(peer.addr) else {
                continue;
            };
            let Some(rtt) = peer.rtt.map(|rtt| rtt.as_us() as f64 / 1e3) else {
                continue;
            };
            let net = world.geography();
            let base = net.base_ms(node, other) + net.base_ms(other, node);
            seen += 1;
            // Jitter of 2 ms on the mean each way, a tick each, and a letter's wait for its turn under an upload limit.
            assert!(
                (base..base + 60.0).contains(&rtt),
                "{node} to {other}: {rtt} ms, {base} at least"
            );
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn a_changed_byte_is_found() {
    let mut it = scenario("");
    assert_eq!(run(&it).tally.wrong_count, 0);
    it.fault = Some(Fault::FlippedByte);
    let report = run(&it);
    assert!(falls_short(&report, "wrong"), "{}", report.text(5));
}

#[test]
fn a_node_above_its_limit_is_found() {
    let mut it = scenario("");
    it.fault = Some(Fault::GreedyNodes);
    let report = run(&it);
    assert!(
        report
            .tally
            .wrong
            .iter()
            .any(|what| what.contains("above limit"))
    );
}

#[test]
fn a_stampede_to_the_source_is_found() {
    let mut it = scenario("[expect]\nsource_requests = 5");
    assert!(falls_short(&run(&it), "source_requests"));
    it.expect.source_requests = Some(100_000);
    assert!(!falls_short(&run(&it), "source_requests"));
}

#[test]
fn lag_and_silence_are_found() {
    let cut = "[[event]]\nat = 7.0\nuntil = 99.0\nkind = 'partition'\n[expect]\nlag_end_p99 = 4.0\ncontinuity = 0.9\n";
    let report = run(&scenario(cut));
    assert!(
        falls_short(&report, "lag_end_p99") && falls_short(&report, "continuity"),
        "{}",
        report.text(5)
    );
}

#[test]
fn those_who_are_killed_are_gone_and_not_counted_further() {
    let kill = "[[event]]\nat = 9.0\nkind = 'kill'\nshare = 0.5\n";
    let report = run(&scenario(kill));
    let gone = report
        .tally
        .records
        .iter()
        .filter(|record| record.left_us == 9_000_000)
        .count();
    assert_eq!(gone, 4);
    assert_eq!(report.tally.seconds[7].present, 8);
    assert_eq!(report.tally.seconds[8].present, 4);
}

#[test]
fn whoever_goes_before_the_measurement_does_not_count() {
    let report = run(&scenario("[[event]]\nat = 5.0\nkind = 'kill'\n"));
    let listeners = || report.tally.records.iter().filter(|record| record.plays);
    assert_eq!(listeners().count(), 8);
    assert!(listeners().all(|record| record.should() == 0.0 && record.seconds() == 0.0));
    assert_eq!(report.never_played, 0);
}

#[test]
fn churn_gives_every_place_one_life_after_another() {
    let mut it = scenario("");
    it.groups[0].life = 4.0;
    it.groups[0].replaced_after = 0.5;
    let report = run(&it);
    let lives = report
        .tally
        .records
        .iter()
        .filter(|record| record.group.is_some())
        .count();
    // Eight places, 13 seconds each on the mean: about 8 * 13 / 4.5 + 8.
    assert!((18..48).contains(&lives), "{lives}");
}

/// Four strong relays come first, so that all hang on them, and begin to lie, each in its way.
const LIARS: &str = "
about = 'liars who came first'
seconds = 26
measure_from = 14
[stream]
bitrate_kbps = 200
[[group]]
name = 'liars'
count = 4
role = 'relay'
upload = [[1.0, 4.0]]
ring_kib = 512
lie = 'mixed'
lie_from = 14.0
[[group]]
name = 'homes'
count = 20
role = 'listener'
upload = [[1.0, 3.0]]
ring_kib = 512
join_at = 1.0
join_over = 3.0
";

/// The mean continuity over some seeds, and each: what a single one comes to says little here.
fn over_seeds(mut it: Scenario) -> (f64, [f64; 12]) {
    let runs = core::array::from_fn(|i| {
        it.seed = 101 + i as u64;
        run(&it).continuity
    });
    (runs.iter().sum::<f64>() / runs.len() as f64, runs)
}

/// What it costs hangs on who has which stripe from the source when they begin: single seeds come to between 0.76 and 1.
#[test]
fn liars_who_came_first_cost_the_others_little() {
    let (mean, runs) = over_seeds(Scenario::parse(LIARS).unwrap());
    assert!(mean > 0.96, "{mean}: {runs:?}");
}

/// Whoever comes in the first seconds looks for parents among those who are looking for theirs.
#[test]
fn trees_that_have_no_root_find_one() {
    let mut it = Scenario::parse(LIARS).unwrap();
    it.groups[0].lie = None;
    it.measure_from = 1;
    let (mean, runs) = over_seeds(it);
    // 0.92 where circles go on with what their members rebuilt; 0.96 where the source leaves out what nobody has, because it is late.
    assert!(mean > 0.98, "{mean}: {runs:?}");
}

/// Everybody feeds as many as may be, and then more come.
const FULL: &str = "
about = 'no place left'
seconds = 30
measure_from = 20
[stream]
bitrate_kbps = 200
[source]
max_children = 3
[[group]]
name = 'homes'
count = 16
role = 'listener'
upload = [[1.0, 4.0]]
ring_kib = 512
max_children = 3
join_over = 2.0
[[group]]
name = 'late'
count = 3
role = 'listener'
upload = [[1.0, 0.0]]
ring_kib = 512
join_at = 12.0
";

#[test]
fn newcomers_find_a_place_where_all_are_taken() {
    let report = run(&Scenario::parse(FULL).unwrap());
    assert_eq!(report.never_played, 0, "{}", report.text(5));
    assert!(report.continuity > 0.98, "{}", report.text(5));
}

/// Relays that nobody needs take no preamble, and have other parents than the source by the time somebody does.
const IDLE: &str = "
about = 'listeners of relays that were idle'
seconds = 10
measure_from = 1
[stream]
bitrate_kbps = 320
[[group]]
name = 'relays'
count = 30
role = 'relay'
upload = [[1.0, 4.0]]
ring_kib = 512
join_over = 3.0
[[group]]
name = 'homes'
count = 40
role = 'listener'
upload = [[1.0, 2.0]]
ring_kib = 512
join_at = 3.0
join_over = 3.0
";

/// With one seed of 24 all asked each other for the preamble, nobody the source, and nobody ever played.
#[test]
fn somebody_fetches_the_preamble() {
    let mut it = Scenario::parse(IDLE).unwrap();
    for seed in [16, 21] {
        it.seed = seed;
        let report = run(&it);
        let start_up_s = &report.rows[0].spread;
        assert_eq!(start_up_s.count, 40, "{}", report.text(5));
        assert!(start_up_s.max < 4.0, "{}", report.text(5));
    }
}

/// Upload for nine of ten: with overhead, the source's included, for three of four.
const SHORT: &str = "
about = 'too little upload'
seconds = 80
measure_from = 40
[stream]
bitrate_kbps = 320
[[group]]
name = 'homes'
count = 30
role = 'listener'
upload = [[0.3333, 0.0], [0.6667, 1.65]]
ring_kib = 512
join_over = 10.0
";

/// Where everybody keeps what he can get, most have too little to play anything: 0.31 to 0.56. One in a hundred or
/// so does not have its turn in 80 s: over 44 seeds ten of 1,320, and five before requests were served oldest first.
#[test]
fn whoever_gets_too_little_leaves_it_to_others() {
    let mut it = Scenario::parse(SHORT).unwrap();
    let mut never_played = 0;
    for seed in 2..8 {
        it.seed = seed;
        let report = run(&it);
        assert!(report.continuity > 0.6, "{}", report.text(5));
        never_played += report.never_played;
    }
    assert!(never_played <= 2, "{never_played} of 180 never played");
}

/// Four in ten are cut off for 18 s; measured from 4 s after they are back.
const HEALED: &str = "
about = 'cut off and back'
seconds = 60
measure_from = 42
[stream]
bitrate_kbps = 320
[[group]]
name = 'homes'
count = 40
role = 'listener'
upload = [[0.3333, 0.0], [0.6667, 2.25]]
ring_kib = 768
join_over = 5.0
[[event]]
at = 20.0
until = 38.0
kind = 'partition'
share = 0.4
";

/// Whoever asked first for all it had missed went on 6 s after it was back, or later: 0.69 to 0.89 with all of these seeds. With one in
/// sixteen or so somebody who gives nothing finds too few stripes for some seconds more, by chance.
#[test]
fn whoever_was_cut_off_for_long_goes_on_with_what_is_live() {
    let mut it = Scenario::parse(HEALED).unwrap();
    let mut short = std::vec::Vec::new();
    for seed in 1..=6 {
        it.seed = seed;
        let report = run(&it);
        assert!(report.continuity > 0.9, "{}", report.text(5));
        if report.continuity <= 0.99 {
            short.push(report.text(5));
        }
    }
    assert!(short.len() <= 1, "{}", short.concat());
}

#[test]
fn every_committed_scenario_can_be_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = std::vec::Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let read = Scenario::parse(&text);
        assert!(
            read.is_ok(),
            "{}: {}",
            path.display(),
            read.err().unwrap_or_default()
        );
        names.push(
            path.file_name()
                .map_or(String::new(), |name| name.to_string_lossy().into_owned()),
        );
    }
    assert!(names.len() >= 12, "{names:?}");
}
