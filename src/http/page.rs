//! The page at `/`: the status as HTML, readable without JavaScript. `/live` is its changing part alone, which the script
//! (`assets/page.js`) fetches and puts in place of the old one, so that nothing is described twice and the script knows
//! no names. Nothing is loaded from anywhere else.

mod head;
mod line;
mod picture;
mod rest;
mod stream;
#[cfg(test)]
mod tests;

use crate::http::healthz::Health;
use crate::http::out::{For, Out, cut_anywhere, escaped, pack};
use crate::http::status::{StatusSource, StreamStatus};
use core::fmt;

/// Only our own style and script run; they are named by their SHA-256 (CSP level 3, section 2.3.1). A test says what the hashes
/// must be.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
     style-src 'sha256-tylRDrIYbsnflghaY3I1rMjJ7yte06TY4fwA0mtzrNE='; \
     script-src 'sha256-e1F2euzO73Kl4wuS+0YA9opMHPBSSPtL/ihepusDsGc='; \
     connect-src 'self'; media-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const TOP: &str = concat!(
    "<!doctype html><html lang=en><head><meta charset=utf-8>",
    "<meta name=viewport content=\"width=device-width,initial-scale=1\"><meta name=color-scheme content=\"light dark\">",
    "<title>weir</title><link rel=icon href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'",
    "%3E%3Crect width='16' height='16' rx='4' fill='%230a6375'/%3E%3Cpath d='M2 5q3-2 6 0t6 0M2 11q3-2 6 0t6 0' ",
    "stroke='%23fff' stroke-width='1.6' fill='none'/%3E%3C/svg%3E\"><style>",
    include_str!("../../assets/page.css"),
    "</style></head><body><a class=skip href=\"#main\">Skip to what is carried</a>",
);

const BOTTOM: &str = concat!(
    "<script>",
    include_str!("../../assets/page.js"),
    "</script></body></html>\n"
);

/// The page, or its changing part, written in parts.
#[derive(Clone, Debug)]
pub struct Page {
    place: Option<Place>,
    is_whole: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// So many bytes into [`TOP`].
    Top(usize),
    /// In what changes.
    Live(Live),
    /// So many bytes into [`BOTTOM`].
    Bottom(usize),
}

/// The pieces of what changes, in their order; each fits a part. `i` is a place in the table of streams.
#[derive(Clone, Copy, Debug)]
enum Live {
    Begin,
    Trouble(usize),
    Line(u8),
    Stream(usize),
    Numbers(usize),
    Disclosure(usize),
    Picture(usize, picture::Place),
    Stripe(usize, usize),
    Peers,
    Peer(usize),
    Players,
    Player(usize),
    SerialLine(usize),
    Machine,
    Events,
    Event(usize),
    Control,
    ControlStream(usize),
    End,
}

impl Page {
    /// The whole page, at its beginning.
    pub fn new() -> Self {
        Self {
            place: Some(Place::Top(0)),
            is_whole: true,
        }
    }

    /// What changes alone, at its beginning.
    pub fn live() -> Self {
        Self {
            place: Some(Place::Live(Live::Begin)),
            is_whole: false,
        }
    }

    /// Writes the next part into `out` (at least [`PART_BYTES`](crate::http::document::PART_BYTES)); `None` after the last.
    pub fn next(&mut self, source: &dyn StatusSource, out: &mut [u8]) -> Option<usize> {
        let is_whole = self.is_whole;
        pack(&mut self.place, out, |place, out| match place {
            Place::Top(from) => Some(match cut_anywhere(out, TOP, from) {
                Some(from) => Place::Top(from),
                None => Place::Live(Live::Begin),
            }),
            Place::Live(live) => match step(live, source, out) {
                Some(live) => Some(Place::Live(live)),
                None => is_whole.then_some(Place::Bottom(0)),
            },
            Place::Bottom(from) => cut_anywhere(out, BOTTOM, from).map(Place::Bottom),
        })
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes one piece and returns the place of the next; holes in tables write nothing.
fn step(live: Live, source: &dyn StatusSource, out: &mut Out<'_>) -> Option<Live> {
    let status = |i| source.stream(i).unwrap_or(StreamStatus::GONE);
    Some(match live {
        Live::Begin => {
            head::head(source, out);
            Live::Trouble(0)
        }
        Live::Trouble(at) => match head::trouble(at, source, out) {
            true => Live::Trouble(at + 1),
            false => Live::Line(0),
        },
        Live::Line(piece) => {
            line::piece(piece, source, out);
            match piece + 1 {
                line::PIECES => Live::Stream(0),
                piece => Live::Line(piece),
            }
        }
        Live::Stream(i) if i >= source.stream_slots() => Live::Peers,
        Live::Stream(i) => match source.stream(i) {
            Some(status) => {
                stream::names(&status, out);
                Live::Numbers(i)
            }
            None => Live::Stream(i + 1),
        },
        Live::Numbers(i) if status(i).stripes() == 0 => {
            stream::unheard(&status(i), out);
            Live::Stream(i + 1)
        }
        Live::Numbers(i) => {
            stream::numbers(&status(i), source, out);
            Live::Disclosure(i)
        }
        Live::Disclosure(i) => {
            stream::disclosure(&status(i), out);
            Live::Picture(i, picture::Place::Head)
        }
        Live::Picture(i, place) => match picture::step(place, source, i, out) {
            Some(place) => Live::Picture(i, place),
            None => {
                out.str(stream::STRIPES);
                Live::Stripe(i, 0)
            }
        },
        Live::Stripe(i, j) if j >= status(i).stripes() => {
            out.str("</tbody></table></div></details></article>");
            Live::Stream(i + 1)
        }
        Live::Stripe(i, j) => {
            if let Some(status) = source.stripe(i, j) {
                stream::stripe(j, &status, out);
            }
            Live::Stripe(i, j + 1)
        }
        other => return rest(other, source, out),
    })
}

/// What comes after the streams.
fn rest(live: Live, source: &dyn StatusSource, out: &mut Out<'_>) -> Option<Live> {
    Some(match live {
        Live::Peers => {
            out.str(rest::PEERS);
            Live::Peer(0)
        }
        Live::Peer(p) if p >= source.peer_slots() => Live::Players,
        Live::Peer(p) => {
            if let Some(status) = source.peer(p) {
                rest::peer(&status, out);
            }
            Live::Peer(p + 1)
        }
        Live::Players => {
            out.str(rest::PLAYERS);
            Live::Player(0)
        }
        Live::Player(p) if p >= source.player_slots() => Live::SerialLine(0),
        Live::Player(p) => {
            if let Some(status) = source.player(p) {
                rest::player(&status, source, out);
            }
            Live::Player(p + 1)
        }
        Live::SerialLine(i) if i >= source.line_slots() => Live::Machine,
        Live::SerialLine(i) => {
            if i == 0 {
                out.str(rest::LINES);
            }
            if let Some(status) = source.line(i) {
                rest::line(&status, out);
            }
            Live::SerialLine(i + 1)
        }
        Live::Machine => {
            rest::machine(source, out);
            Live::Events
        }
        Live::Events => {
            out.str(rest::EVENTS);
            Live::Event(0)
        }
        Live::Event(at) => match source.event(at) {
            Some(event) => {
                rest::event(&event, out);
                Live::Event(at + 1)
            }
            None => {
                out.str("</ol></section>");
                Live::Control
            }
        },
        Live::Control => {
            rest::control(source, out);
            match source.machine().has_control {
                true => Live::ControlStream(0),
                false => Live::End,
            }
        }
        Live::ControlStream(i) if i >= source.stream_slots() => {
            out.str(rest::CONTROL_END);
            Live::End
        }
        Live::ControlStream(i) => {
            if let Some(status) = source.stream(i) {
                rest::control_stream(&status, out);
            }
            Live::ControlStream(i + 1)
        }
        _ => {
            out.str(rest::END);
            return None;
        }
    })
}

/// The word for the colour of the page.
fn state_of(source: &dyn StatusSource) -> &'static str {
    match source.machine().paused_s {
        Some(_) => "paused",
        None => Health::of(source).state().as_str(),
    }
}

/// A named value.
fn fact(out: &mut Out<'_>, name: &str, value: &dyn fmt::Display) {
    out.fmt(format_args!("<div><dt>{name}<dd>{value}</div>"));
}

/// A text from outside.
fn html(out: &mut Out<'_>, text: &str, max_bytes: usize) {
    escaped(out, For::Html, text, max_bytes);
}
