//! Movie fragments that name places in the whole file, made to count from their own beginning.
//!
//! To a player that joins, the file begins elsewhere, so a place in the whole of it says nothing. The field of eight
//! bytes that names one becomes an empty `free` box behind its own: no length changes.

use super::super::fields::{array, u8, u32_be, u64_be};
use super::{each_box, put};

/// An empty box that nobody reads (14496-12, 8.1.2).
const FREE: [u8; 8] = *b"\0\0\0\x08free";

/// `default-base-is-moof` (14496-12, 8.8.7), in the first byte of the flags.
const FROM_FRAGMENT: u8 = 0x02;

/// Makes the track fragments of `moof`, which is the whole box and stands at `place` of its file, count from it. Where
/// the place is not known they are taken to name it, as all known writers do. `None`, and nothing changed, when a
/// fragment does not say where its media are, or they do not lie behind it.
pub(super) fn make_relative(moof: &mut [u8], place: Option<u64>) -> Option<()> {
    each_fragment(moof, place, false)?;
    each_fragment(moof, place, true)
}

/// Looks at all there is to change, or changes it.
fn each_fragment(moof: &mut [u8], place: Option<u64>, change: bool) -> Option<()> {
    let moof_len = moof.len();
    each_box(moof.get_mut(8..)?, |kind, traf| {
        if &kind != b"traf" {
            return Some(());
        }
        let mut shift = None;
        let mut is_first = true;
        each_box(traf.get_mut(8..)?, |kind, whole| match (&kind, shift) {
            (b"tfhd", _) => {
                shift = match base(whole)? {
                    None => None,
                    Some(base) => Some(
                        i64::try_from(base)
                            .ok()?
                            .checked_sub_unsigned(place.unwrap_or(base))?,
                    ),
                };
                if change && shift.is_some() {
                    drop_base(whole)?;
                }
                Some(())
            }
            (b"trun", Some(shift)) => {
                let offset = moved(whole, shift, moof_len)?;
                match offset {
                    Some(offset) if change => put(whole, 16, offset.to_be_bytes())?,
                    None if is_first => return None,
                    _ => {}
                }
                is_first = false;
                Some(())
            }
            _ => Some(()),
        })
    })
}

/// The place in the file that a track fragment header names; `Some(None)` when it names none.
fn base(tfhd: &[u8]) -> Option<Option<u64>> {
    match u8(tfhd, 11)? & 0x01 {
        0 => Some(None),
        _ => u64_be(tfhd, 16).map(Some),
    }
}

/// Takes that place out of it.
fn drop_base(tfhd: &mut [u8]) -> Option<()> {
    let len = tfhd.len().checked_sub(FREE.len())?;
    tfhd.copy_within(24.., 16);
    tfhd.get_mut(len..)?.copy_from_slice(&FREE);
    put(tfhd, 0, u32::try_from(len).ok()?.to_be_bytes())?;
    *tfhd.get_mut(11)? &= !0x01;
    *tfhd.get_mut(9)? |= FROM_FRAGMENT;
    Some(())
}

/// Where a run's media are, counted from the fragment; `Some(None)` when it does not say so, for the runs behind the
/// first of a track may follow the one before.
fn moved(trun: &[u8], shift: i64, moof_len: usize) -> Option<Option<i32>> {
    let (flags, samples) = (u32_be(trun, 8)?, u32_be(trun, 12)?);
    if flags & 0x1 == 0 {
        return Some(None);
    }
    let offset = i64::from(i32::from_be_bytes(array(trun, 16)?)).checked_add(shift)?;
    let lies_behind = usize::try_from(offset).is_ok_and(|offset| offset >= moof_len);
    if samples > 0 && !lies_behind {
        return None;
    }
    i32::try_from(offset).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn whole(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let len = (8 + body.len() as u32).to_be_bytes();
        [&len[..], kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A fragment of two tracks whose headers name `base`, the second with two runs.
    fn fragment(base: u32, offsets: [i32; 2]) -> Vec<u8> {
        let track = |id, offset: i32, more: &[u8]| {
            let tfhd = whole(b"tfhd", &words(&[0x39, id, 0, base, 1_024, 7, 8]));
            let trun = whole(b"trun", &words(&[0x201, 1, offset as u32, 7]));
            whole(b"traf", &[&tfhd[..], &trun, more].concat())
        };
        let behind = whole(b"trun", &words(&[0x200, 1, 7]));
        let tracks = [track(1, offsets[0], &[]), track(2, offsets[1], &behind)];
        whole(
            b"moof",
            &[whole(b"mfhd", &words(&[0, 1])), tracks.concat()].concat(),
        )
    }

    fn offsets(moof: &[u8]) -> Vec<u32> {
        let runs = moof.windows(4).enumerate().filter(|(_, w)| w == b"trun");
        runs.filter(|(at, _)| moof[at + 7] & 1 != 0)
            .filter_map(|(at, _)| u32_be(moof, at + 12))
            .collect()
    }

    #[test]
    fn places_are_counted_from_the_fragment() {
        // The base is the fragment itself, 1,000 bytes before it, or not known to be either.
        for (base, place, at) in [
            (5_000, Some(5_000), 300),
            (4_000, Some(5_000), 1_300),
            (9, None, 300),
        ] {
            let before = fragment(base, [at, at + 7]);
            let mut moof = before.clone();
            make_relative(&mut moof, place).unwrap();
            assert_eq!(moof.len(), before.len());
            assert_eq!(offsets(&moof), [300, 307]);
            let heads = moof.windows(4).enumerate().filter(|(_, w)| w == b"tfhd");
            for (at, _) in heads {
                assert_eq!(u32_be(&moof, at - 4), Some(28));
                assert_eq!(u32_be(&moof, at + 4), Some(0x02_0038));
                assert_eq!(u32_be(&moof, at + 12), Some(1_024));
                assert_eq!(moof[at + 24..at + 32], FREE);
            }
            // Nothing is left to be done.
            let after = moof.clone();
            make_relative(&mut moof, place).unwrap();
            assert_eq!(moof, after);
        }
    }

    #[test]
    fn what_lies_elsewhere_stays_as_it_was() {
        // Before the fragment, within it, too far behind it, and not to be found in the second track.
        let mut unsaid = fragment(5_000, [300, 307]);
        let at = unsaid.windows(4).rposition(|w| w == [0, 0, 2, 1]).unwrap();
        unsaid[at + 3] = 0;
        for mut moof in [
            fragment(4_000, [300, 307]),
            fragment(5_000, [300, 20]),
            fragment(0xffff_fff0, [300, 307]),
            unsaid,
        ] {
            let before = moof.clone();
            assert_eq!(make_relative(&mut moof, Some(5_000)), None);
            assert_eq!(moof, before);
        }
    }
}
