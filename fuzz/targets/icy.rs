//! Titles between media: taken out of a pulled stream, and put in for a player.

use super::script::Script;
use weir::http::icy::{IcyInterleaver, IcyRemover, MAX_ICY_BLOCK_BYTES};
use weir::limits::MAX_METADATA_BYTES;

pub fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    let metaint = script.number() as u32;
    assert_eq!(
        remove(metaint, script.0.chunks(1)),
        remove(metaint, [script.0])
    );
    there_and_back(metaint, script.bytes(300), script.0);
}

/// The media, and the last title.
fn remove<'a>(
    metaint: u32,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Option<String>) {
    let mut remover = IcyRemover::new(metaint);
    let (mut media, mut last) = (Vec::new(), None);
    for mut piece in pieces {
        while !piece.is_empty() {
            let found = remover.next(piece);
            assert!(found.consumed > 0 && found.data.len() <= found.consumed);
            media.extend_from_slice(found.data);
            piece = &piece[found.consumed..];
            if let Some(title) = remover.take_title() {
                assert!(title.len() <= MAX_METADATA_BYTES);
                last = Some(title.to_owned());
            }
        }
    }
    (media, last)
}

/// What we put in, we take out again: every byte of the media, whatever the title.
fn there_and_back(metaint: u32, title: &[u8], media: &[u8]) {
    let metaint = metaint.max(1);
    let title = String::from_utf8_lossy(title);
    let mut interleaver = IcyInterleaver::new(metaint);
    let mut sent = Vec::new();
    let mut rest = media;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(interleaver.media_room().min(rest.len()));
        sent.extend_from_slice(now);
        interleaver.wrote_media(now.len());
        rest = later;
        if interleaver.media_room() == 0 {
            let mut block = [0; MAX_ICY_BLOCK_BYTES];
            let len = interleaver.metadata(&title, &mut block);
            assert_eq!(len, 1 + 16 * usize::from(block[0]));
            sent.extend_from_slice(&block[..len]);
        }
    }
    assert_eq!(remove(metaint, [&sent[..]]).0, media);
}
