//! Layer `media`: where a player can begin.
//!
//! Only a source uses it. Media bytes go into a [`Scanner`] and the very same bytes come out, cut into segments that
//! say whether a player can begin there; beside them stand the preamble such a player needs first, the content type,
//! and what is playing. (Only fragments of MP4 that name places in the whole file are changed: see `mp4/places.rs`.) Each container has one file, and each of those answers one question about the bytes in front
//! of it (see `step.rs`). `docs/MEDIA.md` says, per container, what is preamble, sync point and frame boundary.

mod fields;
mod frames;
mod metadata;
mod preamble;
mod recognise;
mod scanner;
mod step;
mod timeline;

mod aac;
mod asf;
mod flac;
mod matroska;
mod mp3;
mod mp4;
mod mpegts;
mod ogg;
mod raw;
mod wav;

pub use scanner::{Container, MAX_HELD_BYTES, MAX_JUNK_BYTES, Scanner, Segment, Start};
