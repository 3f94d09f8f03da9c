//! One stream: what it is, how to hear it, how it does, and where its stripes come from and go to.

use super::{fact, html};
use crate::http::hls;
use crate::http::out::Out;
use crate::http::status::{StatusSource, StreamStatus, StripeStatus};
use crate::http::text::Lag;
use crate::http::units::{Data, Rate};

/// What browsers play by themselves, and by which element.
const PLAYABLE: [(&str, &str); 16] = [
    ("audio/mpeg", "audio"),
    ("audio/ogg", "audio"),
    ("application/ogg", "audio"),
    ("audio/opus", "audio"),
    ("audio/aac", "audio"),
    ("audio/aacp", "audio"),
    ("audio/flac", "audio"),
    ("audio/x-flac", "audio"),
    ("audio/wav", "audio"),
    ("audio/x-wav", "audio"),
    ("audio/mp4", "audio"),
    ("audio/webm", "audio"),
    ("video/webm", "video"),
    ("video/mp4", "video"),
    ("video/ogg", "video"),
    ("video/x-matroska", "video"),
];

fn element(content_type: &str) -> Option<&'static str> {
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let found = PLAYABLE
        .iter()
        .find(|(kind, _)| kind.eq_ignore_ascii_case(essence));
    found.map(|(_, element)| *element)
}

/// Its title, what plays, a player, and links for other players.
pub(super) fn names(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    out.str("<article id=\"s-");
    html(out, stream.key, 64);
    out.fmt(format_args!(
        "\"><p class=state data-state={0}>{0}</p><h2 dir=auto>",
        stream.state.as_str()
    ));
    let title = match stream.title {
        "" if stream.stripes() == 0 => "A stream not heard of yet",
        "" => "A stream without a title",
        title => title,
    };
    html(out, title, 400);
    out.str("</h2><p class=now dir=auto>");
    html(out, stream.now_playing, 400);
    out.str("</p>");
    match element(stream.content_type) {
        Some(element) => {
            out.fmt(format_args!(
                "<{element} controls playsinline preload=none aria-label=\"Listen to "
            ));
            html(out, title, 200);
            out.str("\" src=\"/streams/");
            html(out, stream.key, 64);
            out.fmt(format_args!("\"></{element}>"));
        }
        None if stream.content_type.is_empty() => {}
        None => out.str("<p class=faint>Browsers do not play this kind; VLC and mpv do.</p>"),
    }
    out.str("<p class=links><a href=\"/playlist.m3u\">Open in VLC or another player</a>");
    if hls::format(stream.content_type).is_some() {
        out.str(" <a href=\"/streams/");
        html(out, stream.key, 64);
        out.str("/index.m3u8\">HLS</a>");
    }
    out.str("</p>");
}

/// How it does.
pub(super) fn numbers(stream: &StreamStatus<'_>, source: &dyn StatusSource, out: &mut Out<'_>) {
    let here = (0..source.player_slots())
        .filter_map(|p| source.player(p))
        .filter(|player| player.stream == stream.key)
        .count();
    out.str("<dl>");
    fact(
        out,
        "Listeners",
        &format_args!("{} ({here} here)", stream.audience),
    );
    fact(out, "Bit rate", &Rate(stream.bitrate_bps));
    match stream.lag_ms {
        Some(ms) => fact(out, "Behind the source", &Lag(ms)),
        None => fact(out, "Behind the source", &"nothing flows"),
    }
    fact(out, "Hops", &stream.hops);
    fact(out, "Interruptions", &stream.gaps_total);
    fact(out, "Missing", &Data(stream.missing_bytes_total));
    fact(out, "Repaired chunks", &stream.repaired_chunks_total);
    fact(out, "Refused chunks", &stream.invalid_chunks_total);
    out.str("<div class=wide><dt>Kind<dd>");
    html(out, stream.content_type, 128);
    out.fmt(format_args!(
        ", {} of {} stripes suffice</div>",
        stream.k,
        stream.stripes()
    ));
    address(stream, out);
}

/// Of a stream whose card has not come there is nothing to say but where others find it, and nothing to draw.
pub(super) fn unheard(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    out.str("<dl>");
    address(stream, out);
    out.str("</article>");
}

fn address(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    let address = match stream.uri {
        "" => stream.key,
        uri => uri,
    };
    out.str("<div class=wide><dt>Address for others<dd><code>");
    html(out, address, 400);
    out.str("</code></div></dl>");
}

/// What the broadcaster says about itself, in its own words.
pub(super) fn disclosure(stream: &StreamStatus<'_>, out: &mut Out<'_>) {
    if !stream.disclosure.is_empty() {
        out.str(
            "<figure class=said><figcaption>The broadcaster says</figcaption><blockquote dir=auto>",
        );
        html(out, stream.disclosure, 1_400);
        out.str("</blockquote></figure>");
    }
    out.str("<h3>Who sends what</h3>");
}

pub(super) const STRIPES: &str = "<details><summary>Stripes as a list</summary><div class=scroll tabindex=0 role=region \
     aria-label=\"Stripes\"><table><thead><tr><th scope=col>Stripe<th scope=col>From<th scope=col>Newest block\
     <th scope=col>Hops<th scope=col>To, neighbours</tr></thead><tbody>";

pub(super) fn stripe(index: usize, stripe: &StripeStatus, out: &mut Out<'_>) {
    out.fmt(format_args!("<tr><th scope=row>{index}<td>"));
    match stripe.parent {
        Some(parent) => out.fmt(format_args!("{parent}")),
        None => out.str("nobody"),
    }
    out.fmt(format_args!(
        "<td>{}<td>{}<td>{}</tr>",
        stripe.head_block, stripe.hops, stripe.children
    ));
}
