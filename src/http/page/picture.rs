//! The stripe picture: which parent feeds which stripe, and which children get which, as a flow from left to right.

use crate::http::out::Out;
use crate::http::status::{StatusSource, StripeStatus};
use crate::limits::MAX_N;
use crate::wire::addr::Addr;
use core::fmt;
use core::net::IpAddr;

/// Neighbours drawn on each side at most; the others are counted.
const MAX_CHILDREN: usize = 12;

/// Measures of the drawing, in its own units: chosen so that it can be read at the width of a phone.
const WIDTH: u32 = 330;
const ROW: u32 = 20;
const TOP: u32 = 22;
const PARENTS_END: u32 = 106;
const GATE_BEGIN: u32 = 148;
const GATE_END: u32 = 182;
const CHILDREN_BEGIN: u32 = 224;

/// Blocks a stripe may be behind the newest before it is drawn as late.
const LATE_BLOCKS: u64 = 4;

/// Where in the picture the next piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Head,
    Stripe(usize),
    /// Neighbour, and how many children were drawn before it.
    Child(usize, usize),
}

/// Writes the piece at `place` of the picture of stream `i`; the place of the next, `None` after the last.
pub(super) fn step(
    place: Place,
    source: &dyn StatusSource,
    i: usize,
    out: &mut Out<'_>,
) -> Option<Place> {
    let picture = Picture::of(source, i);
    match place {
        Place::Head => {
            picture.head(out);
            Some(Place::Stripe(0))
        }
        Place::Stripe(j) if j >= picture.stripes => Some(Place::Child(0, 0)),
        Place::Stripe(j) => {
            picture.stripe(j, out);
            Some(Place::Stripe(j + 1))
        }
        Place::Child(p, drawn) if p >= source.peer_slots() || drawn > MAX_CHILDREN => {
            out.str("</svg>");
            None
        }
        Place::Child(p, drawn) => Some(match source.link(i, p).to {
            0 => Place::Child(p + 1, drawn),
            stripes => {
                picture.child(p, drawn, stripes, out);
                Place::Child(p + 1, drawn + 1)
            }
        }),
    }
}

/// The measures of one stream's picture.
struct Picture<'a> {
    source: &'a dyn StatusSource,
    /// How each stripe does, asked for once: each is compared with all others.
    all: [Option<StripeStatus>; MAX_N],
    stripes: usize,
    parents: usize,
    children: usize,
    is_source: bool,
}

impl<'a> Picture<'a> {
    fn of(source: &'a dyn StatusSource, i: usize) -> Self {
        let stripes = source.stream(i).map_or(0, |stream| stream.stripes());
        let mut picture = Self {
            source,
            all: core::array::from_fn(|j| {
                let is_one = j < stripes;
                is_one.then(|| source.stripe(i, j)).flatten()
            }),
            stripes,
            parents: 0,
            children: 0,
            is_source: source.node().role == "source",
        };
        picture.parents = match picture.is_source {
            true => 1,
            false => picture.rank(stripes),
        };
        let fed = |p: &usize| source.link(i, *p).to != 0;
        picture.children = (0..source.peer_slots()).filter(fed).count();
        picture
    }

    fn status(&self, j: usize) -> Option<StripeStatus> {
        *self.all.get(j)?
    }

    fn parent(&self, j: usize) -> Option<Addr> {
        self.status(j)?.parent
    }

    /// How many different parents the stripes before `j` have.
    fn rank(&self, j: usize) -> usize {
        (0..j).filter(|&j| self.is_first_of_parent(j)).count()
    }

    fn is_first_of_parent(&self, j: usize) -> bool {
        let parent = self.parent(j);
        parent.is_some() && (0..j).all(|before| self.parent(before) != parent)
    }

    /// The place of the parent of stripe `j` in the left column.
    fn parent_place(&self, j: usize) -> Option<usize> {
        if self.is_source {
            return Some(0);
        }
        let parent = self.parent(j)?;
        let first = (0..=j).find(|&j| self.parent(j) == Some(parent))?;
        Some(self.rank(first))
    }

    /// Rows of the tallest column; the last row of children says how many more there are.
    fn rows(&self) -> usize {
        self.stripes
            .max(self.parents)
            .max(self.children.min(MAX_CHILDREN + 1))
            .max(1)
    }

    /// The middle of row `at` of a column of `count`, spread over the whole height.
    fn y(&self, at: usize, count: usize) -> u32 {
        let height = self.rows() as u32 * ROW;
        TOP + height * (2 * at as u32 + 1) / (2 * count.max(1) as u32)
    }

    fn newest(&self) -> u64 {
        let heads = self.all.iter().flatten();
        heads.map(|stripe| stripe.head_block).max().unwrap_or(0)
    }

    fn head(&self, out: &mut Out<'_>) {
        let height = TOP + self.rows() as u32 * ROW + 4;
        let middle = (GATE_BEGIN + GATE_END) / 2;
        out.fmt(format_args!(
            "<svg class=weir viewBox=\"0 0 {WIDTH} {height}\" role=img aria-label=\"{} stripes from {} parents to {} children; the list below has the same.\">\
             <text class=col x={} y=11 text-anchor=end>from</text><text class=col x={middle} y=11 text-anchor=middle>stripe</text>\
             <text class=col x={} y=11>to</text>",
            self.stripes,
            if self.is_source { 0 } else { self.parents },
            self.children,
            PARENTS_END - 4,
            CHILDREN_BEGIN + 4,
        ));
    }

    /// A stripe with the line to its parent, and the parent where it is the first.
    fn stripe(&self, j: usize, out: &mut Out<'_>) {
        let y = self.y(j, self.stripes);
        let state = match self.status(j) {
            _ if self.is_source => "on",
            Some(stripe) if stripe.parent.is_none() => "off",
            Some(stripe) if stripe.head_block.saturating_add(LATE_BLOCKS) < self.newest() => "late",
            Some(_) => "on",
            None => "off",
        };
        if let Some(place) = self.parent_place(j) {
            let from = self.y(place, self.parents);
            let bend = (PARENTS_END + GATE_BEGIN) / 2;
            out.fmt(format_args!(
                "<path class={state} d=\"M{PARENTS_END} {from}C{bend} {from} {bend} {y} {GATE_BEGIN} {y}\" />"
            ));
        }
        match self.parent(j) {
            _ if self.is_source && j == 0 => {
                label(PARENTS_END - 4, self.y(0, 1), &"the input", out)
            }
            Some(parent) if self.is_first_of_parent(j) => {
                label(
                    PARENTS_END - 4,
                    self.y(self.rank(j), self.parents),
                    &Short(parent),
                    out,
                );
            }
            _ => {}
        }
        let (gate, width) = (y - ROW / 2 + 2, GATE_END - GATE_BEGIN);
        let (text_x, text_y) = ((GATE_BEGIN + GATE_END) / 2, y + 4);
        out.fmt(format_args!(
            "<rect class={state} x={GATE_BEGIN} y={gate} width={width} height={} rx=5 />\
             <text class=gate x={text_x} y={text_y} text-anchor=middle>{j}</text>",
            ROW - 4
        ));
    }

    /// A child with the lines of its stripes; after the last that is drawn, how many there are besides.
    fn child(&self, p: usize, drawn: usize, stripes: u32, out: &mut Out<'_>) {
        let rows = self.children.min(MAX_CHILDREN + 1);
        let y = self.y(drawn, rows);
        if drawn == MAX_CHILDREN {
            let more = self.children - drawn;
            label(CHILDREN_BEGIN, y, &format_args!("and {more} more"), out);
            return;
        }
        let bend = (GATE_END + CHILDREN_BEGIN) / 2;
        out.str("<path class=on d=\"");
        for j in (0..self.stripes.min(32)).filter(|j| stripes >> j & 1 != 0) {
            let from = self.y(j, self.stripes);
            out.fmt(format_args!(
                "M{GATE_END} {from}C{bend} {from} {bend} {y} {CHILDREN_BEGIN} {y}"
            ));
        }
        out.str("\" />");
        if let Some(peer) = self.source.peer(p) {
            label(CHILDREN_BEGIN + 4, y, &Short(peer.address), out);
        }
    }
}

/// A name at a line's end: left of the gates it ends there, right of them it begins there.
fn label(x: u32, y: u32, text: &dyn fmt::Display, out: &mut Out<'_>) {
    let anchor = if x < GATE_BEGIN { "end" } else { "start" };
    out.fmt(format_args!(
        "<text x={x} y={} text-anchor={anchor}>{text}</text>",
        y + 4
    ));
}

/// An address short enough for a label: without the usual port, and of IPv6 the ends. A serial line has its name.
pub(super) struct Short(pub Addr);

/// The port that needs no saying.
const USUAL_PORT: u16 = 8_479;

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(address) = self.0.socket() else {
            return self.0.fmt(f);
        };
        match address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => f.write_str("here")?,
            IpAddr::V4(ip) => ip.fmt(f)?,
            IpAddr::V6(ip) if ip.is_loopback() => f.write_str("here")?,
            IpAddr::V6(ip) => {
                let [a, b, .., y, z] = ip.segments();
                write!(f, "{a:x}:{b:x}\u{2026}{y:x}:{z:x}")?;
            }
        }
        match address.port() {
            USUAL_PORT => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fake::Fake;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn drawn(fake: &Fake, i: usize) -> String {
        let mut all = Vec::new();
        let mut place = Some(Place::Head);
        while let Some(here) = place {
            let mut buf = [0; crate::http::document::PART_BYTES];
            let mut out = Out::new(&mut buf);
            place = step(here, fake, i, &mut out);
            let len = out.finish().expect("each piece fits a part");
            all.extend_from_slice(&buf[..len]);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn parents_stand_left_once_and_children_right() {
        let picture = drawn(&Fake::full(), 1);
        // Stripes 0, 2 and 3 stand in the table, 2 without a parent; one parent feeds the others.
        assert_eq!(picture.matches("<rect class=on").count(), 2);
        assert_eq!(picture.matches("<rect class=off").count(), 2);
        assert_eq!(picture.matches("<text x=102 ").count(), 1);
        // Two of three neighbours are children.
        assert_eq!(picture.matches("<text x=228 ").count(), 2);
        assert!(picture.ends_with("</svg>"));
    }

    #[test]
    fn many_children_are_counted_and_the_widest_stream_fits() {
        let picture = drawn(&Fake::extreme(), 0);
        assert!(picture.contains("and 8 more"), "{picture}");
        assert_eq!(picture.matches("<rect ").count(), 32);
    }

    #[test]
    fn addresses_are_short() {
        for (address, short) in [
            ("192.0.2.7:8479", "192.0.2.7"),
            ("192.0.2.7:9", "192.0.2.7:9"),
            ("127.0.0.1:5000", "here:5000"),
            ("[2001:db8::aaaa:1]:8479", "2001:db8\u{2026}aaaa:1"),
        ] {
            assert_eq!(
                Short(Addr::Udp(address.parse().unwrap())).to_string(),
                short
            );
        }
    }
}
