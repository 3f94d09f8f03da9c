//! Where a broadcaster's stream comes from: standard input, a file, a stream that is fetched, an encoder that pushes, or
//! datagrams. Each hands bytes to a [`Sink`] as they come and keeps buffers of fixed size only.
//!
//! `url` reads what the user typed; `stdin`, `file`, `http_pull`, `icecast` and `udp` are one input each; `feed` is what
//! they share on the way to the sink, `pace` the clock of a file.

mod feed;
mod file;
mod http_pull;
mod icecast;
mod metadata;
mod net;
mod pace;
mod rtp;
mod stdin;
mod udp;
mod url;

pub use url::{Credentials, Input, Mount, NotAnInput, PullUrl, UdpAddress};

use core::fmt;
use core::time::Duration;
use std::io;
use std::string::String;
use std::string::ToString;

/// Most bytes given to [`Sink::media`] at once.
pub const MAX_READ_BYTES: usize = 16 * 1024;

/// How an input is to be read.
#[derive(Clone, Debug)]
pub struct InputOptions {
    /// `--bitrate`: the pace of a file whose container tells no time.
    pub bitrate_bps: Option<u32>,
    /// Begin a file again when its end is reached.
    pub repeat: bool,
    /// An encoder or a server that sends nothing for so long is taken for lost; 15 s unless changed.
    pub stall: Duration,
}

impl Default for InputOptions {
    fn default() -> Self {
        Self {
            bitrate_bps: None,
            repeat: false,
            stall: Duration::from_secs(15),
        }
    }
}

/// What takes the stream. Everything happens on one thread and nothing waits, so `&self` will do.
pub trait Sink {
    /// The content type as the encoder or the server names it; before the media it is about.
    fn content_type_hint(&self, content_type: &str);

    /// The next bytes of the stream, in order, at most [`MAX_READ_BYTES`]. All of them are taken.
    fn media(&self, bytes: &[u8]);

    /// The input went away and came back: the next media is a new beginning.
    fn restarted(&self);

    /// What is playing now, as the encoder or the server says.
    fn now_playing(&self, title: &str);

    /// What the encoder or the server says about the stream; after [`Sink::restarted`], before the media it is about.
    fn stream_info(&self, info: &StreamInfo<'_>);

    /// The input's state changed.
    fn state(&self, state: &InputState);

    /// The newest point of the media taken in of which its container tells the time, if it tells any. A file is paced by it.
    fn media_time(&self) -> Option<MediaTime>;
}

/// A point in the media of which the time is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaTime {
    /// In microseconds, from any origin.
    pub time_us: u64,
    /// The point: bytes of media before it, since the first or since [`Sink::restarted`].
    pub bytes: u64,
}

/// What an encoder or a server says about a stream (`ice-name`, `icy-name` and their like); nothing of it is proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamInfo<'a> {
    /// Name of the station or the programme.
    pub name: Option<&'a str>,
    /// Genre.
    pub genre: Option<&'a str>,
    /// Home page.
    pub url: Option<&'a str>,
    /// Description.
    pub description: Option<&'a str>,
    /// Bit rate, in bits per second.
    pub bitrate_bps: Option<u32>,
}

/// How an input is doing, for logs and the status page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InputState {
    /// Nothing comes, for this reason; the input goes on trying.
    Waiting(String),
    /// Media comes.
    Flowing,
    /// Nothing more will come.
    Ended,
}

impl fmt::Display for InputState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(why) => write!(f, "waiting: {why}"),
            Self::Flowing => f.write_str("flowing"),
            Self::Ended => f.write_str("ended"),
        }
    }
}

/// Why an input cannot be read at all. What may pass is not an error; it is waited for.
#[derive(Debug)]
pub enum InputError {
    /// The system refused, while doing this to that.
    Io {
        /// Such as `cannot open`.
        what: &'static str,
        /// The input, or the part of it, that is meant.
        input: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Neither the container nor the user says how fast the file is to be played.
    RateUnknown {
        /// The file.
        input: String,
    },
    /// There is no such network interface.
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The server wants something that weir cannot do.
    Unusable {
        /// The address.
        input: String,
        /// What it wants, and what would be right.
        why: &'static str,
    },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                what,
                input,
                source,
            } => write!(f, "{what} {input}: {source}"),
            Self::RateUnknown { input } => write!(
                f,
                "{input}: its container tells no time that could pace it; say how fast it plays, such as --bitrate 128kbit"
            ),
            Self::NoInterface { interface } => {
                write!(f, "no network interface `{interface}` on this machine")
            }
            Self::Unusable { input, why } => write!(f, "{input}: {why}"),
        }
    }
}

impl core::error::Error for InputError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl InputError {
    fn io(what: &'static str, input: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let input = input.to_string();
        move |source| Self::Io {
            what,
            input,
            source,
        }
    }
}

/// Reads `input` into `sink` until it ends: a file or a pipe at its end, the other inputs never. To stop, drop the future.
///
/// Wants a thread that is smol's own: it waits on readiness and timers, reads regular files synchronously in small pieces,
/// and uses a helper thread for nothing but names in DNS.
pub async fn run<S: Sink>(
    input: &Input,
    options: &InputOptions,
    sink: &S,
) -> Result<(), InputError> {
    match input {
        Input::Stdin => stdin::run(options, sink).await,
        Input::File(path) => file::run(path, options, sink).await,
        Input::HttpPull(url) => http_pull::run(url, options, sink).await,
        Input::Icecast(mount) => icecast::run(mount, options, sink).await,
        Input::Udp(address) => udp::run(address, sink).await,
    }
}
