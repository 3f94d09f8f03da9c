//! Plots of the committed table, as small SVG files: what changes with the number of listeners, and what is missed where.

use super::table::Table;
use std::fmt::Write;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 30.0;
const COLOURS: [&str; 3] = ["#1b6ca8", "#c0392b", "#2e8b57"];

/// A bar of the logarithmic plot begins here: what is missed less than this is as good as nothing.
const LEAST: f64 = 1e-6;

/// Scenarios that differ in nothing but their size, as far as they are in the table.
fn sizes(table: &Table) -> Vec<&str> {
    let all = ["scale-10", "scale-100", "scale-1000", "scale-10000"];
    all.into_iter()
        .filter(|name| table.contains_key(*name))
        .collect()
}

/// All plots: file names and contents.
pub fn plots(table: &Table) -> [(&'static str, String); 4] {
    let by_size = |title: &str, figures: &[(&str, &str)], limit: f64, scale: f64| {
        let names = sizes(table);
        let series: Vec<(&str, Vec<f64>)> = figures
            .iter()
            .map(|(figure, label)| {
                let of = |name: &&str| table[*name].get(*figure).map_or(0.0, |it| it * scale);
                (*label, names.iter().map(of).collect())
            })
            .collect();
        let labels: Vec<String> = names
            .iter()
            .map(|name| name.trim_start_matches("scale-").to_string())
            .collect();
        lines(title, &labels, &series, limit)
    };
    [
        (
            "source-upload.svg",
            by_size(
                "Source upload in stream rates, by listeners",
                &[("source_mean", "mean"), ("source_max", "most in a second")],
                2.5,
                1.0,
            ),
        ),
        (
            "control.svg",
            by_size(
                "Control bytes in % of stream bytes, by listeners",
                &[("control", "mean of nodes")],
                3.0,
                100.0,
            ),
        ),
        (
            "lag.svg",
            by_size(
                "Lag in s, by listeners (a burst of 2 s is in it)",
                &[("lag_p50", "half"), ("lag_p99", "99 %")],
                5.0,
                1.0,
            ),
        ),
        ("missed.svg", bars("1 - continuity, by scenario", table)),
    ]
}

fn head(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n"
    )
}

fn line(out: &mut String, [x1, y1, x2, y2]: [f64; 4], style: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>"
    );
}

/// One line for each series over evenly spaced labels, and the limit that is to be kept.
fn lines(title: &str, labels: &[String], series: &[(&str, Vec<f64>)], limit: f64) -> String {
    let mut out = head(title, HEIGHT);
    let values = series.iter().flat_map(|(_, values)| values);
    let top = values.fold(limit, |most, value| most.max(*value)) * 1.15;
    let x =
        |at: usize| LEFT + (WIDTH - LEFT - RIGHT) * (at as f64 + 0.5) / labels.len().max(1) as f64;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        line(
            &mut out,
            [LEFT, y(value), WIDTH - RIGHT, y(value)],
            "stroke=\"#ddd\"",
        );
        text(
            &mut out,
            LEFT - 6.0,
            y(value) + 4.0,
            "end",
            &format!("{value:.1}"),
        );
    }
    line(
        &mut out,
        [LEFT, y(limit), WIDTH - RIGHT, y(limit)],
        "stroke=\"#888\" stroke-dasharray=\"5 4\"",
    );
    text(
        &mut out,
        WIDTH - RIGHT + 6.0,
        y(limit) + 4.0,
        "start",
        &format!("to reach: {limit}"),
    );
    for (at, label) in labels.iter().enumerate() {
        text(&mut out, x(at), HEIGHT - 10.0, "middle", label);
    }
    for (number, (name, values)) in series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(at, value)| format!("{:.1},{:.1}", x(at), y(*value)))
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        for (at, value) in values.iter().enumerate() {
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(at),
                y(*value)
            );
        }
        let row = HEIGHT - BOTTOM - 16.0 * (series.len() - number) as f64;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{row:.1}\" fill=\"{colour}\">{name}</text>",
            WIDTH - RIGHT + 6.0
        );
    }
    out.push_str("</svg>\n");
    out
}

/// A bar for each scenario on a logarithmic scale.
fn bars(title: &str, table: &Table) -> String {
    let (row, left) = (18.0, 110.0);
    let height = TOP + BOTTOM + row * table.len() as f64;
    let mut out = head(title, height);
    let decades = -LEAST.log10();
    let x = |value: f64| {
        let share = (value.clamp(LEAST, 1.0).log10() + decades) / decades;
        left + (WIDTH - left - 80.0) * share
    };
    for decade in 0..=decades as i32 {
        let value = 10f64.powi(-decade);
        line(
            &mut out,
            [x(value), TOP, x(value), height - BOTTOM],
            "stroke=\"#ddd\"",
        );
        text(
            &mut out,
            x(value),
            height - 10.0,
            "middle",
            &format!("{value}"),
        );
    }
    for (at, (name, figures)) in table.iter().enumerate() {
        let missed = figures.get("missed").copied().unwrap_or(1.0);
        let y = TOP + row * at as f64;
        text(&mut out, left - 6.0, y + 13.0, "end", name);
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
            y + 3.0,
            x(missed) - left,
            row - 6.0,
            COLOURS[0]
        );
        text(
            &mut out,
            x(missed) + 4.0,
            y + 13.0,
            "start",
            &format!("{missed:.6}"),
        );
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::table::Figures;

    #[test]
    fn every_scenario_and_every_size_is_drawn() {
        let figures = Figures::from([("missed".into(), 1e-3), ("source_mean".into(), 2.4)]);
        let table = Table::from([
            ("scale-10".into(), figures.clone()),
            ("scale-1000".into(), figures.clone()),
            ("smoke".into(), figures),
        ]);
        let [source, _, _, missed] = plots(&table).map(|(_, svg)| svg);
        assert_eq!(source.matches("<circle").count(), 4);
        assert!(source.contains(">1000</text>") && !source.contains("smoke"));
        assert_eq!(missed.matches("<rect").count(), 1 + 3);
        assert!(missed.ends_with("</svg>\n") && missed.contains("0.001000"));
        // Nothing to draw is drawn as well.
        assert!(
            plots(&Table::new())
                .iter()
                .all(|(_, svg)| svg.ends_with("</svg>\n"))
        );
    }
}
