//! What the owner's line does: two bars and two charts, drawn here so that they need no script.

use crate::http::history::{LONG_STEPS, Mean, Ring, SHORT_STEPS};
use crate::http::out::Out;
use crate::http::status::{StatusSource, UploadStatus};
use crate::http::units::{Data, Rate, share};
use crate::http::verdict::Share;
use core::fmt;

/// Height of a chart in its own units.
const HEIGHT: u64 = 200;

/// Width of a bar in its own units.
const BAR: u64 = 1_000;

/// Pieces of the section: its head, and for each chart its head, two curves and its foot.
pub(super) const PIECES: u8 = 9;

pub(super) fn piece(piece: u8, source: &dyn StatusSource, out: &mut Out<'_>) {
    let history = source.history();
    match piece {
        0 => head(source, out),
        1..=4 => chart(piece - 1, &history.short, &SHORT, source, out),
        _ => {
            chart(piece - 5, &history.long, &LONG, source, out);
            if piece + 1 == PIECES {
                out.str("</div></section>");
            }
        }
    }
}

fn head(source: &dyn StatusSource, out: &mut Out<'_>) {
    let upload = source.upload();
    out.str("<section aria-labelledby=h-line><h2 id=h-line>Your line</h2><div class=bars>");
    let now = Rate(upload.rate_bps);
    match upload.limit_bps {
        Some(0) => bar(
            "Sending now",
            &format_args!("{now}; nothing may be forwarded"),
            0,
            0,
            out,
        ),
        Some(most) => {
            bar(
                "Sending now",
                &format_args!("{now} of {}", Rate(most)),
                upload.rate_bps,
                most,
                out,
            );
        }
        None => bar("Sending now", &format_args!("{now}, no limit"), 0, 0, out),
    }
    month(&upload, out);
    held_back(source, out);
    out.fmt(format_args!(
        "<p><span>Receiving now</span> <b>{}</b></p><p><span>Since start</span> <b>{} out, {} in</b></p></div><div class=charts>",
        Rate(upload.download_rate_bps),
        Data(upload.bytes_total),
        Data(upload.download_bytes_total),
    ));
}

fn month(upload: &UploadStatus, out: &mut Out<'_>) {
    let used = upload.quota_used_bytes;
    match upload.quota_bytes {
        Some(0) => bar(
            "This month",
            &format_args!("{}; nothing may be forwarded", Data(used)),
            0,
            0,
            out,
        ),
        Some(most) => bar("This month", &Share(used, most), used, most, out),
        None => bar(
            "This month",
            &format_args!("{}, no quota", Data(used)),
            0,
            0,
            out,
        ),
    }
}

/// What is left to the household, while it needs the line.
fn held_back(source: &dyn StatusSource, out: &mut Out<'_>) {
    let line = source.uplink();
    if let (Some(pace_bps), Some(queue_ms)) = (line.pace_bps, line.queue_ms) {
        out.fmt(format_args!(
            "<p><span>Your household needs the line</span> <b>{} at most, queue {queue_ms} ms</b></p>",
            Rate(pace_bps),
        ));
    }
}

/// A quantity and, where there is a most, how much of that it is.
fn bar(name: &str, text: &dyn fmt::Display, value: u64, most: u64, out: &mut Out<'_>) {
    out.fmt(format_args!("<p><span>{name}</span> <b>{text}</b>"));
    if most > 0 {
        let share = share(value, most, BAR);
        let class = if share * 10 >= BAR * 9 {
            "full"
        } else {
            "some"
        };
        out.fmt(format_args!(
            "<svg class=bar viewBox=\"0 0 {BAR} 10\" preserveAspectRatio=none aria-hidden=true>\
             <rect class={class} width={share} height=10 /></svg>"
        ));
    }
    out.str("</p>");
}

/// The words of a chart.
struct Words {
    title: &'static str,
    begin: &'static str,
    steps: usize,
}

const SHORT: Words = Words {
    title: "The last ten minutes",
    begin: "10 min ago",
    steps: SHORT_STEPS,
};

const LONG: Words = Words {
    title: "The last day",
    begin: "24 h ago",
    steps: LONG_STEPS,
};

/// One chart in four pieces, so that its two curves do not meet in one part.
fn chart(piece: u8, ring: &Ring, words: &Words, source: &dyn StatusSource, out: &mut Out<'_>) {
    let top_bps = top(ring);
    let Words {
        title,
        begin,
        steps,
    } = words;
    match piece {
        0 => {
            let (sent, received) = (Range::of(ring, |m| m.tx_bps), Range::of(ring, |m| m.rx_bps));
            out.fmt(format_args!(
                "<figure><figcaption><b>{title}</b> <span class=key-out>out</span> <span class=key-in>in</span></figcaption>\
                 <p class=top>{}</p><svg class=chart viewBox=\"0 0 {steps} {HEIGHT}\" preserveAspectRatio=none role=img \
                 aria-label=\"{title}: out {sent}; in {received}.\">",
                Rate(top_bps),
            ));
        }
        1 => curve(ring, top_bps, "out", |mean| mean.tx_bps, out),
        2 => curve(ring, top_bps, "in", |mean| mean.rx_bps, out),
        _ => {
            let limit_bps = source.upload().limit_bps;
            if let Some(limit) = limit_bps.filter(|limit| (1..=top_bps).contains(limit)) {
                let y = HEIGHT - height(limit, top_bps);
                out.fmt(format_args!("<path class=limit d=\"M0 {y}h{steps}\" />"));
            }
            out.fmt(format_args!(
                "</svg><p class=scale><span>{begin}</span><span>now</span></p></figure>"
            ));
        }
    }
}

/// Steps as they are: each mean is a level of its own length. The outgoing one is filled.
fn curve(ring: &Ring, top_bps: u64, class: &str, of: fn(&Mean) -> u32, out: &mut Out<'_>) {
    let first = ring.capacity().saturating_sub(ring.levels().count() as u64);
    let mut level = None;
    let mut run = 0u32;
    out.fmt(format_args!("<path class={class} d=\"M{first} {HEIGHT}"));
    for mean in ring.levels() {
        let y = HEIGHT - height(u64::from(of(&mean)), top_bps);
        if level == Some(y) {
            run += 1;
            continue;
        }
        if run > 0 {
            out.fmt(format_args!("h{run}"));
        }
        out.fmt(format_args!("V{y}"));
        (level, run) = (Some(y), 1);
    }
    if run > 0 {
        out.fmt(format_args!("h{run}"));
    }
    out.fmt(format_args!("V{HEIGHT}\" />"));
}

fn height(bps: u64, top_bps: u64) -> u64 {
    (bps.saturating_mul(HEIGHT) / top_bps.max(1)).min(HEIGHT)
}

/// What the chart reaches up to: the next 1, 2 or 5 times a power of ten above all of it.
fn top(ring: &Ring) -> u64 {
    let peak = ring
        .levels()
        .map(|mean| u64::from(mean.tx_bps.max(mean.rx_bps)));
    let peak = peak.max().unwrap_or(0).max(1_000);
    let mut size = 1_000;
    while size * 10 <= peak {
        size *= 10;
    }
    let steps = [1, 2, 5, 10].map(|step| step * size);
    steps.into_iter().find(|top| *top >= peak).unwrap_or(peak)
}

/// A curve in words: `1.2 Mbit/s now, at most 1.9 Mbit/s`.
struct Range {
    last: u64,
    most: u64,
}

impl Range {
    fn of(ring: &Ring, of: fn(&Mean) -> u32) -> Self {
        let each = || ring.levels().map(|mean| u64::from(of(&mean)));
        Self {
            last: each().last().unwrap_or(0),
            most: each().max().unwrap_or(0),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lately, at most {}", Rate(self.last), Rate(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::history::{Counters, History};
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn the_longest_curve_fits_a_part() {
        let mut history = History::default();
        let mut at = Counters::default();
        for second in 1..=86_400u64 {
            // Up and down with every step of both rings, to heights of three digits.
            at.tx_bytes += if (second / 5).is_multiple_of(2) {
                400_000_000
            } else {
                100_000_000
            };
            at.tx_bytes += if (second / 600).is_multiple_of(2) {
                100_000_000
            } else {
                0
            };
            history.note(second, at);
        }
        let mut buf = [0; crate::http::document::PART_BYTES];
        for (ring, d) in [
            (
                {
                    let mut out = Out::new(&mut buf);
                    curve(&history.long, 5_000_000_000, "out", |m| m.tx_bps, &mut out);
                    out.finish()
                },
                1,
            ),
            (
                {
                    let mut out = Out::new(&mut buf);
                    curve(&history.short, 5_000_000_000, "out", |m| m.tx_bps, &mut out);
                    out.finish()
                },
                2,
            ),
        ] {
            assert!(ring.is_ok(), "{d}: {ring:?}");
        }
    }

    #[test]
    fn a_chart_fits_its_frame_from_the_first_second_on() {
        let mut history = History::default();
        let mut at = Counters::default();
        for second in 1..=1_300u64 {
            at.tx_bytes += second * second;
            history.note(second, at);
            for level in history.long.levels().chain(history.short.levels()) {
                assert!(u64::from(level.tx_bps) <= top(&history.long).max(top(&history.short)));
            }
            let mut buf = [0; 2_048];
            let mut out = Out::new(&mut buf);
            curve(
                &history.long,
                top(&history.long),
                "out",
                |m| m.tx_bps,
                &mut out,
            );
            let len = out.finish().unwrap();
            let text = core::str::from_utf8(&buf[..len]).unwrap();
            assert!(!text.contains('-') && history.long.levels().count() <= LONG_STEPS);
        }
    }

    #[test]
    fn a_curve_has_a_level_for_each_step() {
        let mut history = History::default();
        let mut at = Counters::default();
        for second in 1..=30u64 {
            at.tx_bytes += if second <= 10 { 125 } else { 250 };
            history.note(second, at);
        }
        let mut buf = [0; 512];
        let mut out = Out::new(&mut buf);
        curve(
            &history.short,
            top(&history.short),
            "out",
            |m| m.tx_bps,
            &mut out,
        );
        let len = out.finish().unwrap();
        let text = String::from_utf8(Vec::from(&buf[..len])).unwrap();
        assert_eq!(text, "<path class=out d=\"M114 200V100h2V0h4V200\" />");
    }

    #[test]
    fn the_scale_is_round() {
        let scale = |bytes: u64| {
            let mut history = History::default();
            history.note(
                5,
                Counters {
                    tx_bytes: bytes * 5 / 8,
                    rx_bytes: 0,
                },
            );
            top(&history.short)
        };
        assert_eq!(scale(0), 1_000);
        assert_eq!(scale(1_600_000), 2_000_000);
        assert_eq!(scale(2_100_000), 5_000_000);
        assert_eq!(scale(8_000_000), 10_000_000);
    }
}
