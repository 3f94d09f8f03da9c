//! The top of the page: the verdict, and what is wrong with its remedy.

use super::{html, state_of};
use crate::http::healthz::healthz;
use crate::http::out::{Out, ShortId};
use crate::http::status::StatusSource;
use crate::http::trouble::{MAX_TITLE_BYTES, troubles};
use crate::http::units::Duration;
use crate::http::verdict::{MAX_VERDICT_BYTES, verdict};

/// Bytes of the longest sentence about a trouble.
const MAX_SENTENCE_BYTES: usize = 256 + MAX_TITLE_BYTES;

pub(super) fn head(source: &dyn StatusSource, out: &mut Out<'_>) {
    let node = source.node();
    out.fmt(format_args!(
        "<div id=live data-state={}><header><p class=brand><b>weir</b> ",
        state_of(source)
    ));
    html(out, node.role, 32);
    out.fmt(format_args!(
        " <code>{}</code> <span>up {}</span></p><h1 id=verdict dir=auto>",
        ShortId(&node.node),
        Duration(node.uptime_s),
    ));
    html(out, &verdict(source), MAX_VERDICT_BYTES * 6);
    // The verdict has figures that change all the time; what is read aloud when it changes is how the box does.
    let aloud = match source.machine().paused_s {
        Some(_) => "relaying is paused",
        None => healthz(source).1,
    };
    out.fmt(format_args!(
        "</h1><p class=skip id=aloud aria-live=polite>{aloud}</p></header><main id=main tabindex=-1><div aria-live=polite>"
    ));
}

/// The trouble number `at`, the worst first; false after the last.
pub(super) fn trouble(at: usize, source: &dyn StatusSource, out: &mut Out<'_>) -> bool {
    let Some(trouble) = troubles(source).get(at).copied() else {
        out.str("</div>");
        return false;
    };
    let mut sentence = heapless::String::<MAX_SENTENCE_BYTES>::new();
    out.fmt(format_args!(
        "<section class=trouble id=t-{}><h2 dir=auto>",
        trouble.kind()
    ));
    // Longer than any: a test has the longest.
    let _ = trouble.what(source, &mut sentence);
    html(out, &sentence, MAX_SENTENCE_BYTES * 3);
    out.str("</h2><p>");
    sentence.clear();
    let _ = trouble.remedy(source, &mut sentence);
    html(out, &sentence, MAX_SENTENCE_BYTES * 2);
    out.str("</p></section>");
    true
}
