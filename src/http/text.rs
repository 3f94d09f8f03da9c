//! The status as plain text, `/status.txt`: what `weir status` prints.

use crate::http::healthz::Health;
use crate::http::history::SHORT_STEPS;
use crate::http::ledger;
use crate::http::out::{For, Out, ShortId, escaped, pack};
use crate::http::serial;
use crate::http::status::{
    PeerStatus, PlayerStatus, StatusSource, StreamState, StreamStatus, StripeStatus,
};
use crate::http::trouble::troubles;
use crate::http::units::{Data, Duration, Limit, Memory, Rate, share};
use crate::http::verdict::verdict;
use crate::http::walk::{Part, Place, step};
use core::fmt;
use heapless::String;

/// Bytes of the longest sentence about a trouble.
const MAX_SENTENCE_BYTES: usize = 384;

/// The status as plain text, written in parts; with colours and bars for a terminal that wants them.
#[derive(Clone, Debug)]
pub struct StatusText {
    place: Option<TextPlace>,
    render: fn(Part<'_>, &dyn StatusSource, &mut Out<'_>),
}

/// Where the next piece is: troubles stand after the head, events at the end.
#[derive(Clone, Copy, Debug)]
enum TextPlace {
    Walk(Place),
    Trouble(usize),
    Event(usize),
}

impl StatusText {
    /// At its beginning; `for_terminal`: with colours (ECMA-48, SGR) and bars.
    pub fn new(for_terminal: bool) -> Self {
        Self {
            place: Some(TextPlace::Walk(Place::Head)),
            render: match for_terminal {
                true => render_for_terminal,
                false => render,
            },
        }
    }

    /// Writes the next part into `out` (at least [`PART_BYTES`](crate::http::document::PART_BYTES)); `None` after the last.
    pub fn next(&mut self, source: &dyn StatusSource, out: &mut [u8]) -> Option<usize> {
        let render = self.render;
        pack(&mut self.place, out, |place, out| match place {
            TextPlace::Walk(Place::Head) => {
                render(Part::Head, source, out);
                Some(TextPlace::Trouble(0))
            }
            TextPlace::Trouble(at) => Some(match trouble(at, source, out) {
                true => TextPlace::Trouble(at + 1),
                false => TextPlace::Walk(Place::Stream { i: 0, first: true }),
            }),
            TextPlace::Walk(place) => Some(match step(place, source, out, render) {
                Some(place) => TextPlace::Walk(place),
                None => TextPlace::Event(0),
            }),
            TextPlace::Event(at) => {
                let event = source.event(at)?;
                if at == 0 {
                    out.str("\nlately\n");
                }
                out.fmt(format_args!(
                    "  {:>14} ago  ",
                    short_text(&Duration(event.age_s))
                ));
                escaped(out, For::Line, event.text, 512);
                if event.times > 1 {
                    out.fmt(format_args!(" ({} times)", event.times));
                }
                out.str("\n");
                Some(TextPlace::Event(at + 1))
            }
        })
    }
}

/// The trouble number `at` with its remedy; false after the last.
fn trouble(at: usize, source: &dyn StatusSource, out: &mut Out<'_>) -> bool {
    let Some(trouble) = troubles(source).get(at).copied() else {
        return false;
    };
    let mut sentence = String::<MAX_SENTENCE_BYTES>::new();
    // Longer than any.
    let _ = trouble.what(source, &mut sentence);
    out.str("\n! ");
    escaped(out, For::Line, &sentence, MAX_SENTENCE_BYTES);
    sentence.clear();
    let _ = trouble.remedy(source, &mut sentence);
    out.fmt(format_args!("\n  {sentence}\n"));
    true
}

/// As [`render`], but with the verdict in the colour of how it is, and bars under it.
fn render_for_terminal(part: Part<'_>, source: &dyn StatusSource, out: &mut Out<'_>) {
    let Part::Head = part else {
        return render(part, source, out);
    };
    let colour = match Health::of(source).state() {
        _ if source.machine().paused_s.is_some() => 33,
        StreamState::Live => 32,
        StreamState::Stalled => 31,
        _ => 33,
    };
    out.fmt(format_args!("\u{1b}[1;{colour}m"));
    escaped(out, For::Line, &verdict(source), 512);
    out.str("\u{1b}[0m\n\n");
    let upload = source.upload();
    bar(out, "upload", upload.rate_bps, upload.limit_bps);
    bar(out, "month", upload.quota_used_bytes, upload.quota_bytes);
    out.str("out        ");
    sparks(out, source.history().short.means().map(|mean| mean.tx_bps));
    out.str("  10 min\nin         ");
    sparks(out, source.history().short.means().map(|mean| mean.rx_bps));
    out.str("\n\n");
    figures(source, out);
}

/// Cells of a bar, and of a curve.
const CELLS: u64 = 40;

/// How full something is; nothing where there is no most.
fn bar(out: &mut Out<'_>, name: &str, value: u64, most: Option<u64>) {
    let Some(most) = most.filter(|most| *most > 0) else {
        return;
    };
    let colour = if share(value, most, 100) >= 90 {
        33
    } else {
        36
    };
    out.fmt(format_args!("{name:<10} \u{1b}[{colour}m"));
    (0..CELLS).for_each(|cell| {
        out.str(if cell < share(value, most, CELLS) {
            "\u{2588}"
        } else {
            "\u{2591}"
        })
    });
    out.fmt(format_args!("\u{1b}[0m {} %\n", share(value, most, 100)));
}

/// A curve of one line: each cell the most of its steps, against the most of all.
fn sparks(out: &mut Out<'_>, means: impl Iterator<Item = u32> + Clone) {
    const LEVELS: [&str; 8] = [
        "\u{2581}", "\u{2582}", "\u{2583}", "\u{2584}", "\u{2585}", "\u{2586}", "\u{2587}",
        "\u{2588}",
    ];
    let top = u64::from(means.clone().max().unwrap_or(0)).max(1);
    let each = SHORT_STEPS / CELLS as usize;
    let mut means = means.peekable();
    while means.peek().is_some() {
        let most = means.by_ref().take(each).max().unwrap_or(0);
        let level = u64::from(most) * (LEVELS.len() as u64 - 1) / top;
        out.str(LEVELS[level as usize]);
    }
}

fn render(part: Part<'_>, source: &dyn StatusSource, out: &mut Out<'_>) {
    match part {
        Part::Head => head(source, out),
        Part::Stream {
            piece: 0, status, ..
        } => stream_names(&status, out),
        Part::Stream {
            piece: 1, status, ..
        } => stream_numbers(&status, out),
        Part::Stream { status, .. } => line(out, "disclosure", status.disclosure, 1_024),
        Part::Stripe {
            index,
            first,
            status,
        } => stripe(index, first, &status, out),
        Part::StreamEnd | Part::Ledger | Part::Days => {}
        Part::Network { first, status } => ledger::text_network(first, &status, out),
        Part::Day { status, .. } => ledger::text_day(&status, out),
        Part::End => serial::text(source, out),
        Part::Peers => out.str("\nneighbours\n"),
        Part::Peer { first, status } => peer(first, &status, out),
        Part::Players => out.str("\nplayers\n"),
        Part::Player { first, status } => player(first, &status, out),
    }
}

fn head(source: &dyn StatusSource, out: &mut Out<'_>) {
    escaped(out, For::Line, &verdict(source), 512);
    out.str("\n\n");
    figures(source, out);
}

fn figures(source: &dyn StatusSource, out: &mut Out<'_>) {
    let (node, memory, upload) = (source.node(), source.memory(), source.upload());
    out.fmt(format_args!(
        "weir {} {}   node {}   up {}\n",
        node.version,
        node.role,
        ShortId(&node.node),
        Duration(node.uptime_s),
    ));
    out.fmt(format_args!(
        "upload     {} {}   {} in all   month {} {}\n",
        Rate(upload.rate_bps),
        Limit(upload.limit_bps.map(Rate)),
        Data(upload.bytes_total),
        Data(upload.quota_used_bytes),
        Limit(upload.quota_bytes.map(Data)),
    ));
    ledger::text_uplink(&source.uplink(), out);
    out.fmt(format_args!(
        "download   {}   {} in all\n",
        Rate(upload.download_rate_bps),
        Data(upload.download_bytes_total),
    ));
    out.fmt(format_args!(
        "memory     planned {} of {}   resident {}   heap {} in {} allocations\n",
        Memory(memory.planned_bytes),
        Memory(memory.budget_bytes),
        Memory(memory.rss_bytes),
        Memory(memory.heap_live_bytes),
        memory.heap_allocations_total,
    ));
    out.fmt(format_args!(
        "datagrams  {} in   {} out   {} malformed   {} dropped by the kernel\n",
        node.rx_datagrams_total,
        node.tx_datagrams_total,
        node.malformed_datagrams_total,
        node.kernel_drops_total,
    ));
}

fn stream_names(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    out.str("\nstream ");
    escaped(out, For::Line, stream.title, 512);
    out.str("\n");
    line(out, "key", stream.key, 64);
    line(out, "uri", stream.uri, 512);
    line(out, "type", stream.content_type, 128);
}

fn stream_numbers(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    line(out, "playing", stream.now_playing, 512);
    line(out, "trouble", stream.trouble, 128);
    out.fmt(format_args!(
        "  state       {}   {}   {}   {} hops   audience {}\n",
        stream.state.as_str(),
        Rate(stream.bitrate_bps),
        Behind(stream.lag_ms),
        stream.hops,
        stream.audience,
    ));
    out.fmt(format_args!(
        "  blocks      head {}   playout {}   K {} M {}\n",
        stream.head_block, stream.playout_block, stream.k, stream.m,
    ));
    out.fmt(format_args!(
        "  loss        {} gaps   {} missing   chunks: {} repaired   {} invalid   {} twice\n",
        stream.gaps_total,
        Data(stream.missing_bytes_total),
        stream.repaired_chunks_total,
        stream.invalid_chunks_total,
        stream.discarded_chunks_total,
    ));
}

fn stripe(index: usize, first: bool, stripe: &StripeStatus, out: &mut Out<'_>) {
    if first {
        out.fmt(format_args!(
            "  {:<6}  {:<21} {:>12} {:>5} {:>9}\n",
            "stripe", "parent", "head", "hops", "children"
        ));
    }
    let parent = stripe.parent.map(|parent| short_text(&parent));
    out.fmt(format_args!(
        "  {index:<6}  {:<21} {:>12} {:>5} {:>9}\n",
        parent.as_deref().unwrap_or("-"),
        stripe.head_block,
        stripe.hops,
        stripe.children,
    ));
}

fn peer(first: bool, peer: &PeerStatus, out: &mut Out<'_>) {
    if first {
        out.fmt(format_args!(
            "  {:<21} {:<13} {:<12} {:>8} {:>10} {:>10} {:>5} {:>4}\n",
            "address", "node", "state", "rtt", "in", "out", "from", "to",
        ));
    }
    let rtt = peer
        .rtt_ms
        .map(|rtt_ms| short_text(&format_args!("{rtt_ms} ms")));
    out.fmt(format_args!(
        "  {:<21} {} {:<12} {:>8} {:>10} {:>10} {:>5} {:>4}\n",
        short_text(&peer.address),
        ShortId(&peer.node),
        peer.state,
        rtt.as_deref().unwrap_or("-"),
        short_text(&Data(peer.rx_bytes_total)),
        short_text(&Data(peer.tx_bytes_total)),
        peer.stripes_from,
        peer.stripes_to,
    ));
}

fn player(first: bool, player: &PlayerStatus<'_>, out: &mut Out<'_>) {
    if first {
        out.fmt(format_args!(
            "  {:<21} {:>10} {:>10}  {:<8}  program\n",
            "address", "sent", "skipped", "stream"
        ));
    }
    out.fmt(format_args!(
        "  {:<21} {:>10} {:>10}  ",
        short_text(&player.address),
        short_text(&Data(player.tx_bytes_total)),
        short_text(&Data(player.skipped_bytes_total)),
    ));
    escaped(out, For::Line, player.stream, 8);
    out.str("  ");
    escaped(out, For::Line, player.user_agent, 128);
    out.str("\n");
}

/// A named text from outside; nothing if it is empty.
fn line(out: &mut Out<'_>, name: &str, text: &str, max_bytes: usize) {
    if !text.is_empty() {
        out.fmt(format_args!("  {name:<11} "));
        escaped(out, For::Line, text, max_bytes);
        out.str("\n");
    }
}

/// Longest address: `[` IPv6 in full `%` scope `]:` port.
const MAX_SHORT_TEXT_BYTES: usize = 64;

/// A value as text, so that it can be aligned.
fn short_text(value: &dyn fmt::Display) -> String<MAX_SHORT_TEXT_BYTES> {
    let mut text = String::new();
    // The values shown so are shorter; one that is not is left out.
    let _ = fmt::write(&mut text, format_args!("{value}"));
    text
}

/// Milliseconds as seconds.
pub(crate) struct Lag(pub u64);

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} s", self.0 / 1_000, self.0 % 1_000 / 100)
    }
}

/// How far a stream is behind its source, if it flows.
pub(crate) struct Behind(pub Option<u64>);

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ms) => write!(f, "{} behind", Lag(ms)),
            None => f.write_str("nothing flows"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::document::Document;
    use crate::http::fake::{Fake, HOSTILE, KEY, whole};
    use crate::http::status::StreamState;

    fn text() -> Document {
        Document::StatusText(StatusText::new(false))
    }

    #[test]
    fn a_stream_that_does_not_flow_is_not_said_to_be_later_and_later() {
        for (state, says) in [
            (StreamState::Live, "   1.2 s behind   "),
            (StreamState::Idle, "   nothing flows   "),
            (StreamState::Stalled, "   nothing flows   "),
        ] {
            let text = whole(text(), &Fake::with_states(&[state]));
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn everything_is_there_and_aligned() {
        let text = whole(text(), &Fake::full());
        for part in [
            "Helping 17 listeners with Radio",
            "weir 0.1.0 relay",
            "1.5 Mbit/s of 2.0 Mbit/s",
            KEY,
            "1.2 s behind",
            "192.0.2.7:8479",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        // Every column of the neighbours' table that is right-aligned ends where its head ends.
        let begin = text.find("neighbours\n").unwrap() + "neighbours\n".len();
        let mut rows = text[begin..].lines().take_while(|line| !line.is_empty());
        let width = rows.next().unwrap().len();
        assert_eq!(
            rows.map(|row| assert_eq!(row.len(), width, "{row}"))
                .count(),
            3
        );
    }

    #[test]
    fn nothing_from_outside_controls_the_terminal() {
        let mut fake = Fake::full();
        fake.title = HOSTILE.into();
        fake.disclosure = HOSTILE.into();
        for fake in [fake, Fake::extreme(), Fake::empty()] {
            let text = whole(text(), &fake);
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
            assert!(!text.contains('\u{202e}'));
        }
    }

    #[test]
    fn a_terminal_gets_colours_and_bars_and_nothing_else_that_controls_it() {
        let mut fake = Fake::full();
        fake.title = HOSTILE.into();
        for fake in [fake, Fake::extreme(), Fake::empty()] {
            let text = whole(Document::StatusText(StatusText::new(true)), &fake);
            let (mut rest, mut colours) = (text.as_str(), 0);
            while let Some((_, after)) = rest.split_once('\u{1b}') {
                let (code, after) = after.split_once('m').unwrap();
                assert!(
                    code.starts_with('[')
                        && code[1..].bytes().all(|b| b.is_ascii_digit() || b == b';')
                );
                (rest, colours) = (after, colours + 1);
            }
            assert!(colours >= 2 && text.contains('\u{2588}'));
        }
    }
}
