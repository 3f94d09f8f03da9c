//! What the relay costs beside what its work must cost: one run, side by side, ratios in one table.
//!
//! `cargo bench --bench weigh` runs everything (some twenty minutes); `cargo bench --bench weigh -- udp http` only these parts.
//! docs/PERFORMANCE.md says what the figures mean. Needs Linux; icecast2 and valgrind where their rows are wanted.

mod bare;
mod children;
#[path = "../../tests/common/mod.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod common;
mod fanout;
mod instructions;
mod kill;
mod players;
mod table;
mod turns;
mod usage;
mod web;

/// Parts, in their order.
const PARTS: [(&str, fn()); 9] = [
    ("udp", fanout::hundred),
    ("few", fanout::few_stripes),
    ("many", fanout::many),
    ("turns", turns::measure),
    ("http", web::compare),
    ("instructions", instructions::count),
    ("kill", kill::one),
    ("kill-tight", kill::tight),
    ("kill-two", kill::several),
];

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    // The program is its own helper: what is measured runs in processes of their own.
    match arguments.split_first() {
        Some((name, rest)) => match name.as_str() {
            "children" => children::run(rest),
            "probe" => children::probe(rest),
            "sink" => children::sink(rest),
            "bare-udp" => bare::udp(rest),
            "bare-http" => bare::http(rest),
            "players" => players::run(rest),
            "chunks" => instructions::forward(rest),
            _ => parts(&arguments),
        },
        None => parts(&arguments),
    }
}

fn parts(wanted: &[String]) {
    for name in wanted {
        assert!(
            PARTS.iter().any(|(part, _)| part == name),
            "there is no part {name}"
        );
    }
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            part();
        }
    }
}
