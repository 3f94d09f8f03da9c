//! One module for each thing that reads what strangers send. `run` must return: a panic is a finding, and so is a promise of
//! the code that does not hold. libfuzzer calls them (`fuzz_targets/`), and `tests/fuzz.rs` replays what is kept in `corpus/`.

pub mod body;
pub mod control;
pub mod datagram;
pub mod framing;
pub mod icy;
pub mod mdns;
pub mod media;
mod memory;
mod neighbour;
pub mod node;
pub mod request;
pub mod response;
mod script;
pub mod signed;
pub mod uri;

/// A target by its name, which is its corpus's too.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 12] = [
    ("body", body::run),
    ("control", control::run),
    ("datagram", datagram::run),
    ("framing", framing::run),
    ("icy", icy::run),
    ("mdns", mdns::run),
    ("media", media::run),
    ("node", node::run),
    ("request", request::run),
    ("response", response::run),
    ("signed", signed::run),
    ("uri", uri::run),
];
