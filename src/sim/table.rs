//! The committed table: figures of every scenario, and how far they may move before somebody has to look.

use super::report::Report;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// Figures of one scenario by name.
pub type Figures = BTreeMap<String, f64>;

/// Figures of all scenarios by name.
pub type Table = BTreeMap<String, Figures>;

/// Name, heading, and how far a figure may move: by this share of itself, and by this much besides.
const COLUMNS: [(&str, &str, f64, f64); 14] = [
    ("missed", "1 - continuity", 1.0, 1e-4),
    ("startup_p50", "start-up p50 s", 0.2, 0.3),
    ("startup_p99", "p99 s", 0.2, 0.5),
    ("lag_p50", "lag p50 s", 0.15, 0.3),
    ("lag_p99", "p99 s", 0.15, 0.5),
    ("hops_p50", "hops p50", 0.0, 1.0),
    ("hops_max", "max", 0.2, 2.0),
    ("source_mean", "source upload, rates, mean", 0.05, 0.05),
    ("source_max", "max", 0.05, 0.05),
    ("received", "received/stream", 0.05, 0.02),
    ("control", "control share", 0.15, 0.003),
    ("repair", "repair share", 0.3, 0.005),
    ("duplicate", "duplicate share", 0.3, 0.005),
    ("wrong", "wrong", 0.0, 0.0),
];

/// The figures of a run.
pub fn figures(report: &Report) -> Figures {
    let row = |name| report.row(name);
    let values = [
        1.0 - report.continuity,
        row("start-up s").p50,
        row("start-up s").p99,
        row("lag s").p50,
        row("lag s").p99,
        row("hops").p50,
        row("hops").max,
        row("source upload").mean,
        row("source upload").max,
        row("received/stream").mean,
        row("control share").mean,
        row("repair share").mean,
        row("duplicate share").mean,
        report.tally.wrong_count as f64,
    ];
    let named = COLUMNS.iter().zip(values);
    named
        .map(|((name, ..), value)| (name.to_string(), value))
        .collect()
}

/// What differs by more than it may. Scenarios that were not run are not looked at.
pub fn differences(committed: &Table, now: &Table) -> Vec<String> {
    let mut out = Vec::new();
    for (scenario, figures) in now {
        let Some(before) = committed.get(scenario) else {
            out.push(format!("{scenario}: is not in the committed table"));
            continue;
        };
        for (name, _, share, besides) in COLUMNS {
            let (Some(old), Some(new)) = (before.get(name), figures.get(name)) else {
                out.push(format!("{scenario}: {name} is missing"));
                continue;
            };
            let may = old.abs() * share + besides;
            if (new - old).abs() > may + 1e-12 {
                out.push(format!(
                    "{scenario}: {name} was {old:.5}, is {new:.5}; may move by {may:.5}"
                ));
            }
        }
    }
    out
}

/// Reads a committed table.
pub fn parse(text: &str) -> Result<Table, String> {
    basic_toml::from_str(text).map_err(|error| error.to_string())
}

/// Writes it: TOML, one section a scenario.
pub fn to_toml(table: &Table) -> String {
    let mut out =
        String::from("# Written by `weir-sim table`; compared by `weir-sim table --check`.\n");
    for (scenario, figures) in table {
        let _ = write!(out, "\n[{scenario}]\n");
        for (name, ..) in COLUMNS {
            let _ = writeln!(
                out,
                "{name} = {:.6}",
                figures.get(name).copied().unwrap_or(0.0)
            );
        }
    }
    out
}

/// The same for people: Markdown, one row a scenario; the marked ones have a star.
pub fn to_markdown(table: &Table, marked: &[String]) -> String {
    let headings: Vec<&str> = COLUMNS.iter().map(|(_, heading, ..)| *heading).collect();
    let mut out = format!(
        "| scenario | {} |\n|---{}|\n",
        headings.join(" | "),
        "|---:".repeat(COLUMNS.len())
    );
    for (scenario, figures) in table {
        let cells = COLUMNS.iter().map(|(name, ..)| {
            let value = figures.get(*name).copied().unwrap_or(0.0);
            match *name {
                "missed" => format!("{value:.6}"),
                "hops_p50" | "hops_max" | "wrong" => format!("{value:.0}"),
                "control" | "repair" | "duplicate" => format!("{:.2} %", value * 100.0),
                _ => format!("{value:.2}"),
            }
        });
        let star = if marked.contains(scenario) { " *" } else { "" };
        let _ = writeln!(
            out,
            "| {scenario}{star} | {} |",
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(missed: f64, lag: f64) -> Table {
        let mut figures: Figures = COLUMNS
            .iter()
            .map(|(name, ..)| (name.to_string(), 1.0))
            .collect();
        figures.insert("missed".into(), missed);
        figures.insert("lag_p99".into(), lag);
        Table::from([("smoke".into(), figures)])
    }

    #[test]
    fn a_table_survives_its_file() {
        let it = table(0.25, 3.5);
        assert_eq!(parse(&to_toml(&it)).unwrap(), it);
        assert!(to_markdown(&it, &[]).contains("| smoke | 0.250000 |"));
        assert!(to_markdown(&it, &["smoke".into()]).contains("| smoke * |"));
    }

    #[test]
    fn only_what_moved_too_far_is_named() {
        let committed = table(0.001, 3.0);
        assert!(differences(&committed, &table(0.002, 3.4)).is_empty());
        let moved = differences(&committed, &table(0.0022, 4.0));
        assert!(moved.len() == 2 && moved[0].contains("missed") && moved[1].contains("lag_p99"));
        assert_eq!(differences(&Table::new(), &committed).len(), 1);
        assert!(differences(&committed, &Table::new()).is_empty());
    }
}
