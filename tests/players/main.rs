//! Players at the door: ffmpeg, ffprobe, curl, mpv and VLC join streams that run in real time, at the source and behind
//! two relays, and must decode from the first frame.
//!
//! The media are made by ffmpeg. Where it is not installed the tests say so and pass, except in continuous integration
//! (`CI=true`), where it must be there.

#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;

mod changes;
mod containers;
mod hls;
mod hostile;
mod icecast;
mod keeper;
mod past;
#[path = "../common/port.rs"]
mod port;
mod programs;
mod rig;
mod titles;
