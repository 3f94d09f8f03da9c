//! Samples as they are named: how many ticks and bytes they are, and the movie box without them.
//!
//! A movie box made without `empty_moov`, names those of the first fragment, with their places in the file. A player that joins has
//! neither; it is given tables without an entry, as `empty_moov` makes them.

use super::super::fields::{tail, u8, u32_be};
use super::{Defaults, Head, each_box, put};

/// Ticks and bytes of all samples of a run (14496-12, 8.8.8).
pub(super) fn sums(trun: &[u8], defaults: Defaults) -> Option<(u64, u64)> {
    let (flags, samples) = (u32_be(trun, 0)?, u32_be(trun, 4)?);
    let len = |bits: u32| (flags & bits).count_ones() as usize * 4;
    let (entry, ticks_len) = (len(0xf00), len(0x100));
    if entry == 0 {
        let all = |each: u32| u64::from(samples) * u64::from(each);
        return Some((all(defaults.ticks), all(defaults.bytes)));
    }
    let entries = tail(trun, 8 + len(0x5)).chunks_exact(entry);
    Some(entries.take(samples as usize).fold((0, 0), |sum, entry| {
        let said = |bit, at, default| {
            let field = u32_be(entry, at).filter(|_| flags & bit != 0);
            u64::from(field.unwrap_or(default))
        };
        (
            sum.0 + said(0x100, 0, defaults.ticks),
            sum.1 + said(0x200, ticks_len, defaults.bytes),
        )
    }))
}

/// Empties the sample tables of a movie box, and says that its length is not known; one that names no samples stays as it is.
pub(super) fn forget(moov: &mut [u8]) {
    if names_samples(moov) {
        // What is no whole box ends it; players are then as well off as before.
        let _ = each_box(moov, forget_in);
    }
}

/// Whether a chunk of samples is named anywhere.
fn names_samples(moov: &[u8]) -> bool {
    let mut rest = moov;
    while let Some(Some(head)) = Head::read(rest) {
        let at = match &head.kind {
            b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" => head.header,
            b"stco" | b"co64" if u32_be(rest, 12).is_some_and(|chunks| chunks > 0) => return true,
            _ => usize::try_from(head.len).unwrap_or(usize::MAX),
        };
        rest = tail(rest, at);
    }
    false
}

/// 14496-12: the number of entries, or the duration, is at its own place in each box, and twice as wide in version 1.
fn forget_in(kind: [u8; 4], whole: &mut [u8]) -> Option<()> {
    let is_wide = u8(whole, 8) == Some(1);
    match &kind {
        b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"edts" => {
            each_box(whole.get_mut(8..)?, forget_in)
        }
        b"stts" | b"ctts" | b"stsc" | b"stss" | b"stco" | b"co64" => clear(whole, 12, false),
        b"stsz" | b"stz2" => clear(whole, 16, false),
        b"mvhd" | b"mdhd" if is_wide => clear(whole, 32, true),
        b"mvhd" | b"mdhd" => clear(whole, 24, false),
        b"tkhd" if is_wide => clear(whole, 36, true),
        b"tkhd" => clear(whole, 28, false),
        b"elst" => forget_edits(whole, is_wide),
        _ => Some(()),
    }
}

/// Edits stay what they are, but have no end: the samples they would cover come with the fragments.
fn forget_edits(elst: &mut [u8], is_wide: bool) -> Option<()> {
    let (edits, len) = (u32_be(elst, 12)?, if is_wide { 20 } else { 12 });
    for edit in elst
        .get_mut(16..)?
        .chunks_exact_mut(len)
        .take(edits as usize)
    {
        let media_time = u32_be(edit, len / 2 - 2)?;
        // One of nothing (-1) is a pause, and that is as long as it says.
        if media_time != u32::MAX {
            clear(edit, 0, is_wide)?;
        }
    }
    Some(())
}

fn clear(bytes: &mut [u8], at: usize, is_wide: bool) -> Option<()> {
    put(bytes, at, [0; 4])?;
    if is_wide {
        put(bytes, at + 4, [0; 4])?;
    }
    Some(())
}
