//! The page at `/`: the status as HTML, readable without JavaScript, and kept live by a small script that reads `/status.json`.
//!
//! The page alone says which value goes where: `data-v` names a value's path in the JSON and `data-f` its format, so that
//! the script (`assets/page.js`) knows no names. Nothing is loaded from anywhere else.

use crate::http::healthz::Health;
use crate::http::out::{For, Out, ShortId, cut_anywhere, escaped, pack};
use crate::http::status::{PeerStatus, PlayerStatus, StatusSource, StreamStatus, StripeStatus};
use crate::http::text::Lag;
use crate::http::units::{Data, Duration, Limit, Memory, Rate};
use crate::http::walk::{self, Part};
use core::fmt;

/// Only our own style and script run; they are named by their SHA-256 (CSP level 3, section 2.3.1). A test says what the hashes
/// must be.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
     style-src 'sha256-zcjqtfBvkfklsk5JPUkhsNFMHQXPgBUYfqsxKymTFwU='; \
     script-src 'sha256-5pYO6BBLSttLJcFTjK/SY4Zoy3ObmErpT543ywnZxbo='; \
     connect-src 'self'; media-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TOP: &str = concat!(
    "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">",
    "<title>weir</title><link rel=icon href=\"data:,\"><style>",
    include_str!("../../assets/page.css"),
    "</style></head>",
);

const BOTTOM: &str = concat!(
    "<script>",
    include_str!("../../assets/page.js"),
    "</script></body></html>\n"
);

/// The page, written in parts.
#[derive(Clone, Debug)]
pub struct Page {
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// So many bytes into [`TOP`].
    Top(usize),
    Status(walk::Place),
    /// So many bytes into [`BOTTOM`].
    Bottom(usize),
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

impl Page {
    /// At its beginning.
    pub fn new() -> Self {
        Self {
            place: Some(Place::Top(0)),
        }
    }

    /// Writes the next part into `out` (at least [`PART_BYTES`](crate::http::document::PART_BYTES)); `None` after the last.
    pub fn next(&mut self, source: &dyn StatusSource, out: &mut [u8]) -> Option<usize> {
        pack(&mut self.place, out, |place, out| match place {
            Place::Top(from) => Some(match cut_anywhere(out, TOP, from) {
                Some(from) => Place::Top(from),
                None => Place::Status(walk::Place::Head),
            }),
            Place::Status(place) => Some(match walk::step(place, source, out, render) {
                Some(place) => Place::Status(place),
                None => Place::Bottom(0),
            }),
            Place::Bottom(from) => cut_anywhere(out, BOTTOM, from).map(Place::Bottom),
        })
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
        Part::Stream { status, .. } => stream_disclosure(&status, out),
        Part::Stripe { index, status, .. } => stripe(index, &status, out),
        Part::StreamEnd => out.str("</tbody></table></div></article>"),
        Part::Peers => {
            node(source, out);
            out.str(PEERS);
        }
        Part::Peer { status, .. } => peer(&status, out),
        Part::Players => out.str(PLAYERS),
        Part::Player { status, .. } => player(&status, out),
        // Shown by what reads the JSON.
        Part::Ledger | Part::Network { .. } | Part::Days | Part::Day { .. } => {}
        Part::End => out.str(
            "</tbody></table></div></section></main>\
             <footer>Also as <a href=\"/status.txt\">text</a>, <a href=\"/status.json\">JSON</a>, \
             <a href=\"/metrics\">metrics</a>.</footer>",
        ),
    }
}

const PEERS: &str = "<h2>Neighbours</h2><section><div class=wide><table><thead><tr>\
     <th data-v=address>address<th data-v=node>node<th data-v=state>state<th data-v=rtt_ms data-f=ms>round trip\
     <th data-v=rx_bytes_total data-f=data>received<th data-v=tx_bytes_total data-f=data>sent\
     <th data-v=stripes_from>stripes from<th data-v=stripes_to>stripes to</tr></thead><tbody data-rows=peers>";

const PLAYERS: &str = "</tbody></table></div></section><h2>Players</h2><section><div class=wide><table><thead><tr>\
     <th data-v=address>address<th data-v=stream data-f=short>stream<th data-v=tx_bytes_total data-f=data>sent\
     <th data-v=skipped_bytes_total data-f=data>skipped<th data-v=user_agent>program</tr></thead><tbody data-rows=players>";

const STRIPES: &str = "<div class=wide><table><thead><tr><th data-v=index>stripe<th data-v=parent>parent\
     <th data-v=head_block>newest block<th data-v=hops>hops<th data-v=children>children</tr></thead><tbody data-rows=stripes>";

fn head(source: &dyn StatusSource, out: &mut Out<'_>) {
    let (node, upload, health) = (source.node(), source.upload(), Health::of(source));
    out.fmt(format_args!(
        "<body data-state={}><header><p id=verdict role=status data-v=verdict>",
        health.state().as_str()
    ));
    out.fmt(format_args!(
        "{health}</p><p>Sending <span data-v=upload.rate_bps data-f=rate>{}</span> ",
        Rate(upload.rate_bps)
    ));
    out.fmt(format_args!(
        "<span data-v=upload.limit_bps data-f=ratelimit>{}</span>; this month \
         <span data-v=upload.quota_used_bytes data-f=data>{}</span> \
         <span data-v=upload.quota_bytes data-f=datalimit>{}</span>.</p><p class=faint>weir ",
        Limit(upload.limit_bps.map(Rate)),
        Data(upload.quota_used_bytes),
        Limit(upload.quota_bytes.map(Data)),
    ));
    html(out, node.version, 64);
    out.str(", ");
    html(out, node.role, 32);
    out.fmt(format_args!(
        " <code>{}</code>, up <span data-v=uptime_s data-f=time>{}</span></p></header>\
         <main><h2>Streams <a href=\"/playlist.m3u\">open in VLC or another player</a></h2>",
        ShortId(&node.node),
        Duration(node.uptime_s),
    ));
}

fn stream_names(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    out.str("<article data-key=\"");
    html(out, stream.key, 64);
    // Without a title the key stands there, and the script leaves it.
    let (title, spec) = match stream.title {
        "" => (stream.key, ""),
        title => (title, " data-v=title"),
    };
    out.fmt(format_args!("\"><h3 dir=auto{spec}>"));
    html(out, title, 512);
    out.str("</h3>");
    let element = if stream.content_type.starts_with("video/") {
        "video playsinline"
    } else {
        "audio"
    };
    out.fmt(format_args!(
        "<{element} controls preload=none src=\"/streams/"
    ));
    html(out, stream.key, 64);
    out.fmt(format_args!(
        "\"></{}>",
        element.split(' ').next().unwrap_or(element)
    ));
    out.str("<p class=faint>");
    html(out, stream.content_type, 128);
    out.str(" <code>");
    html(
        out,
        if stream.uri.is_empty() {
            stream.key
        } else {
            stream.uri
        },
        512,
    );
    out.str("</code></p>");
}

fn stream_numbers(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    out.str("<dl><div><dt>now playing<dd dir=auto data-v=now_playing>");
    html(
        out,
        if stream.now_playing.is_empty() {
            "-"
        } else {
            stream.now_playing
        },
        512,
    );
    out.str("</div>");
    fact(out, "state", "state", "text", &stream.state.as_str());
    fact(
        out,
        "bit rate",
        "bitrate_bps",
        "rate",
        &Rate(stream.bitrate_bps),
    );
    fact(
        out,
        "behind the source",
        "lag_ms",
        "lag",
        &Lag(stream.lag_ms),
    );
    fact(out, "hops", "hops", "text", &stream.hops);
    fact(out, "audience", "audience", "text", &stream.audience);
    fact(out, "gaps", "gaps_total", "text", &stream.gaps_total);
    fact(
        out,
        "missing",
        "missing_bytes_total",
        "data",
        &Data(stream.missing_bytes_total),
    );
    fact(
        out,
        "repaired chunks",
        "repaired_chunks_total",
        "text",
        &stream.repaired_chunks_total,
    );
    fact(
        out,
        "invalid chunks",
        "invalid_chunks_total",
        "text",
        &stream.invalid_chunks_total,
    );
    out.str("</dl>");
}

fn stream_disclosure(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    if !stream.disclosure.is_empty() {
        out.str("<p dir=auto data-v=disclosure>");
        html(out, stream.disclosure, 1_400);
        out.str("</p>");
    }
    out.str(STRIPES);
}

fn stripe(index: usize, stripe: &StripeStatus, out: &mut Out<'_>) {
    out.fmt(format_args!("<tr><td>{index}<td>"));
    match stripe.parent {
        Some(parent) => out.fmt(format_args!("{parent}")),
        None => out.str("-"),
    }
    out.fmt(format_args!(
        "<td>{}<td>{}<td>{}</tr>",
        stripe.head_block, stripe.hops, stripe.children
    ));
}

/// What the node itself uses.
fn node(source: &dyn StatusSource, out: &mut Out<'_>) {
    let (node, memory, upload) = (source.node(), source.memory(), source.upload());
    out.str("<h2>This node</h2><section><dl>");
    fact(
        out,
        "sent",
        "upload.bytes_total",
        "data",
        &Data(upload.bytes_total),
    );
    fact(
        out,
        "received",
        "upload.download_bytes_total",
        "data",
        &Data(upload.download_bytes_total),
    );
    fact(
        out,
        "receiving",
        "upload.download_rate_bps",
        "rate",
        &Rate(upload.download_rate_bps),
    );
    fact(
        out,
        "memory planned",
        "memory.planned_bytes",
        "memory",
        &Memory(memory.planned_bytes),
    );
    fact(
        out,
        "memory allowed",
        "memory.budget_bytes",
        "memory",
        &Memory(memory.budget_bytes),
    );
    fact(
        out,
        "memory resident",
        "memory.rss_bytes",
        "memory",
        &Memory(memory.rss_bytes),
    );
    fact(
        out,
        "heap",
        "memory.heap_live_bytes",
        "memory",
        &Memory(memory.heap_live_bytes),
    );
    fact(
        out,
        "malformed datagrams",
        "malformed_datagrams_total",
        "text",
        &node.malformed_datagrams_total,
    );
    fact(
        out,
        "dropped by the kernel",
        "kernel_drops_total",
        "text",
        &node.kernel_drops_total,
    );
    out.str("</dl></section>");
}

fn peer(peer: &PeerStatus, out: &mut Out<'_>) {
    out.fmt(format_args!(
        "<tr><td>{}<td>{}<td>",
        peer.address,
        ShortId(&peer.node)
    ));
    html(out, peer.state, 32);
    match peer.rtt_ms {
        Some(rtt_ms) => out.fmt(format_args!("<td>{rtt_ms} ms")),
        None => out.str("<td>-"),
    }
    out.fmt(format_args!(
        "<td>{}<td>{}<td>{}<td>{}</tr>",
        Data(peer.rx_bytes_total),
        Data(peer.tx_bytes_total),
        peer.stripes_from,
        peer.stripes_to,
    ));
}

fn player(player: &PlayerStatus<'_>, out: &mut Out<'_>) {
    out.fmt(format_args!("<tr><td>{}<td>", player.address));
    html(out, player.stream, 8);
    out.fmt(format_args!(
        "<td>{}<td>{}<td>",
        Data(player.tx_bytes_total),
        Data(player.skipped_bytes_total)
    ));
    html(
        out,
        if player.user_agent.is_empty() {
            "-"
        } else {
            player.user_agent
        },
        256,
    );
    out.str("</tr>");
}

/// A named value of ours that the script keeps up to date.
fn fact(out: &mut Out<'_>, name: &str, path: &str, format: &str, value: &dyn fmt::Display) {
    out.fmt(format_args!(
        "<div><dt>{name}<dd data-v={path} data-f={format}>{value}</div>"
    ));
}

/// A text from outside.
fn html(out: &mut Out<'_>, text: &str, max_bytes: usize) {
    escaped(out, For::Html, text, max_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::document::Document;
    use crate::http::fake::{Fake, HOSTILE, KEY, whole};
    use data_encoding::BASE64;
    use sha2::{Digest, Sha256};
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    fn page(fake: &Fake) -> String {
        whole(Document::Page(Page::new()), fake)
    }

    fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
        text.split_once(begin).unwrap().1.split_once(end).unwrap().0
    }

    #[test]
    fn the_policy_names_the_style_and_script_that_are_sent() {
        let page = page(&Fake::full());
        for (kind, begin, end) in [
            ("style-src", "<style>", "</style>"),
            ("script-src", "<script>", "</script>"),
        ] {
            let digest = Sha256::digest(between(&page, begin, end));
            let mut hash = [0; 44];
            BASE64.encode_mut(&digest, &mut hash);
            let hash = core::str::from_utf8(&hash).unwrap();
            let directive = format!("{kind} 'sha256-{hash}';");
            assert!(
                CONTENT_SECURITY_POLICY.contains(&directive),
                "the policy must say {directive}"
            );
        }
        assert!(!CONTENT_SECURITY_POLICY.contains("unsafe"));
    }

    #[test]
    fn it_shows_a_node_without_any_script() {
        let page = page(&Fake::full());
        for part in [
            "1 of 2 streams flow.",
            "1.5 Mbit/s</span> <span data-v=upload.limit_bps data-f=ratelimit>of 2.0 Mbit/s",
            "Radio \u{266b} Caf\u{e9}</h3>",
            "Run by volunteers.",
            "/playlist.m3u",
            "192.0.2.7:8479",
            "1.2 s",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(
            page.matches(&format!(
                "<audio controls preload=none src=\"/streams/{KEY}\">"
            ))
            .count(),
            2
        );
        let mut fake = Fake::full();
        fake.content_type = "video/webm".into();
        assert!(super::tests::page(&fake).contains(&format!(
            "<video playsinline controls preload=none src=\"/streams/{KEY}\"></video>"
        )));
    }

    #[test]
    fn every_value_it_names_is_in_the_json() {
        let fake = Fake::full();
        let page = page(&fake);
        let json = Document::StatusJson(crate::http::json::StatusJson::new());
        let json: serde_json::Value = serde_json::from_str(&whole(json, &fake)).unwrap();
        let script = between(&page, "<script>", "</script>");
        // The page without its style and script, cut where a table's or a stream's own names begin.
        let body = between(&page, "<body", "<script>");
        let mut roots = Vec::from([&json]);
        let mut named = 0;
        for tag in body.split('<') {
            let tag = tag.split('>').next().unwrap();
            if tag.starts_with("article") {
                roots = Vec::from([&json["streams"][0]]);
            } else if tag.starts_with("/article") {
                roots = Vec::from([&json]);
            }
            let Some(path) = tag
                .split_once("data-v=")
                .map(|(_, rest)| rest.split(' ').next().unwrap())
            else {
                continue;
            };
            let found = |root: &serde_json::Value| {
                root.pointer(&format!("/{}", path.replace('.', "/")))
                    .is_some()
            };
            let rows = ["peers", "players", "stripes"].map(|name| &roots[0][name][0]);
            let known = if tag.starts_with("th ") {
                rows.into_iter().any(found)
            } else {
                found(roots[0])
            };
            assert!(known, "{tag}");
            if let Some((_, format)) = tag.split_once("data-f=") {
                let known = ["rate", "data"].contains(&format)
                    || script.contains(&format!("\n    {format}: "));
                assert!(known, "format {format}");
            }
            named += 1;
        }
        assert!(named > 50, "{named}");
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_runs_inline() {
        let page = page(&Fake::full());
        let body = between(&page, "<body", "<script>");
        for forbidden in [
            "http:",
            "https:",
            "style=",
            "onclick",
            "onerror",
            "<img",
            "<iframe",
            "javascript:",
        ] {
            assert!(!body.contains(forbidden), "{forbidden}");
        }
        for asset in [
            include_str!("../../assets/page.css"),
            include_str!("../../assets/page.js"),
        ] {
            for forbidden in [
                "//cdn",
                "http:",
                "https:",
                "url(",
                "@import",
                "innerHTML",
                "eval(",
            ] {
                assert!(!asset.contains(forbidden), "{forbidden}");
            }
        }
    }

    #[test]
    fn hostile_texts_stay_texts() {
        let mut fake = Fake::full();
        let plain = page(&fake).matches('<').count();
        fake.title = HOSTILE.into();
        fake.disclosure = HOSTILE.into();
        fake.content_type = HOSTILE.into();
        // No text adds a tag, and no quotation mark is left that could end an attribute.
        assert_eq!(page(&fake).matches('<').count(), plain);
        assert_eq!(page(&fake).matches("</script>").count(), 1);
        assert!(!page(&fake).contains("\"}],"));
    }

    #[test]
    fn it_stays_whole_when_extreme_and_while_tables_change() {
        for tag in ["article", "table", "section", "dl", "tbody", "div"] {
            let page = page(&Fake::extreme());
            let open = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(open, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        for seed in 0..50 {
            let (mut fake, mut document, mut page) = (Fake::full(), Page::new(), Vec::new());
            let mut part = [0; crate::http::document::PART_BYTES];
            while let Some(len) = document.next(&fake, &mut part) {
                page.extend_from_slice(&part[..len]);
                fake.shuffle(seed + page.len() as u64);
            }
            let page = String::from_utf8(page).unwrap();
            assert_eq!(
                page.matches("<article ").count(),
                page.matches("</article>").count()
            );
            assert!(page.ends_with("</html>\n"));
        }
    }
}
