//! The page as a whole, over nodes that are not there.

use super::*;
use crate::http::document::{Document, PART_BYTES};
use crate::http::fake::{Fake, HOSTILE, KEY, whole};
use crate::http::status::StreamState;
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
fn a_stream_that_does_not_flow_has_no_lag() {
    let idle = page(&Fake::with_states(&[StreamState::Idle]));
    assert!(
        idle.contains("<dt>Behind the source<dd>nothing flows"),
        "{idle}"
    );
}

#[test]
fn it_shows_a_node_without_any_script() {
    let page = page(&Fake::full());
    for part in [
        "Helping 17 listeners with Radio \u{266b} Caf\u{e9}",
        "1.5 Mbit/s of 2.0 Mbit/s",
        "0 of 200 GB",
        "The last ten minutes: out ",
        "Radio \u{266b} Caf\u{e9}</h2>",
        "<blockquote dir=auto>Run by volunteers.",
        "/playlist.m3u",
        "192.0.2.7",
        "1.2 s",
        "Dropped by the system",
        "2 min 0 s ago",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let audio = format!(
        "aria-label=\"Listen to Radio \u{266b} Caf\u{e9}\" src=\"/streams/{KEY}\"></audio>"
    );
    assert_eq!(page.matches(&audio).count(), 2);
    let mut fake = Fake::full();
    fake.content_type = "video/webm".into();
    assert!(super::tests::page(&fake).contains("<video controls playsinline preload=none"));
    fake.content_type = "video/mp2t".into();
    let page = super::tests::page(&fake);
    assert!(!page.contains("<video") && page.contains("index.m3u8\">HLS"));
}

#[test]
fn what_is_live_is_a_part_of_the_page() {
    let fake = Fake::full();
    let live = whole(Document::Page(Page::live()), &fake);
    assert!(live.starts_with("<div id=live ") && live.ends_with("</div>"));
    assert!(page(&fake).contains(&live));
}

#[test]
fn nothing_comes_from_elsewhere_and_nothing_runs_inline() {
    let live = whole(Document::Page(Page::live()), &Fake::full());
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
        assert!(!live.contains(forbidden), "{forbidden}");
    }
    for asset in [
        include_str!("../../../assets/page.css"),
        include_str!("../../../assets/page.js"),
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
fn control_is_there_only_if_it_was_turned_on() {
    let mut fake = Fake::full();
    assert!(!page(&fake).contains("<form"));
    fake.machine.has_control = true;
    let page = page(&fake);
    assert!(page.contains("<form method=post action=\"/control\">"));
    assert!(
        page.contains("value=\"2Mbit\"") && page.contains(&format!("<option value=\"{KEY}\">"))
    );
}

#[test]
fn hostile_texts_stay_texts() {
    let mut fake = Fake::full();
    fake.machine.has_control = true;
    fake.states = [Some(StreamState::Stalled)].into();
    let tags = |fake: &Fake| page(fake).matches('<').count();
    let plain = tags(&fake);
    fake.title = HOSTILE.into();
    fake.disclosure = HOSTILE.into();
    fake.content_type = HOSTILE.into();
    // No text adds a tag (the player goes, which browsers do not have for this), and no quotation mark is left that could end
    // an attribute.
    assert_eq!(tags(&fake), plain);
    assert_eq!(page(&fake).matches("</script>").count(), 1);
    assert!(!page(&fake).contains("\"}],"));
}

#[test]
fn it_stays_whole_when_extreme_and_while_tables_change() {
    let tags = [
        "article", "table", "section", "dl", "tbody", "div", "svg", "figure", "ol", "main",
        "details", "form",
    ];
    for tag in tags {
        let page = page(&Fake::extreme());
        let open =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(open, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    for seed in 0..50 {
        let (mut fake, mut document, mut page) = (Fake::full(), Page::new(), Vec::new());
        let mut part = [0; PART_BYTES];
        while let Some(len) = document.next(&fake, &mut part) {
            page.extend_from_slice(&part[..len]);
            fake.shuffle(seed + page.len() as u64);
        }
        let page = String::from_utf8(page).unwrap();
        for tag in ["article", "svg"] {
            assert_eq!(
                page.matches(&format!("<{tag} ")).count(),
                page.matches(&format!("</{tag}>")).count(),
                "{tag}"
            );
        }
        assert!(page.ends_with("</html>\n"));
    }
}
