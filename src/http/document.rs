//! The documents the server offers, each written in parts so that a connection needs only a small fixed buffer.

use crate::http::json::StatusJson;
use crate::http::metrics::Metrics;
use crate::http::page::Page;
use crate::http::playlist::Playlist;
use crate::http::route::Route;
use crate::http::status::StatusSource;
use crate::http::text::StatusText;

/// Smallest buffer to give to a `next` of any document: the largest piece that cannot be cut fits.
pub const PART_BYTES: usize = 2_048;

/// A document on its way out. Its length is not known beforehand: send it chunked or until close.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // One a connection, in a table of fixed size.
pub enum Document {
    /// `/` and `/live`
    Page(Page),
    /// `/status.json`
    StatusJson(StatusJson),
    /// `/status.txt`
    StatusText(StatusText),
    /// `/metrics`
    Metrics(Metrics),
    /// `/playlist.m3u`
    Playlist(Playlist),
}

impl Document {
    /// The document that answers `route`, if it is one of these; `host` is the request's Host header, for absolute URLs.
    pub fn for_route(route: &Route<'_>, host: Option<&str>) -> Option<Self> {
        Some(match route {
            Route::Page => Self::Page(Page::new()),
            Route::Live => Self::Page(Page::live()),
            Route::StatusJson => Self::StatusJson(StatusJson::new()),
            Route::StatusText { for_terminal } => Self::StatusText(StatusText::new(*for_terminal)),
            Route::Metrics => Self::Metrics(Metrics::new()),
            Route::PlaylistM3u => Self::Playlist(Playlist::new(host)),
            _ => return None,
        })
    }

    /// Its media type.
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::Page(_) => "text/html; charset=utf-8",
            Self::StatusJson(_) => "application/json",
            Self::StatusText(_) => "text/plain; charset=utf-8",
            Self::Metrics(_) => "text/plain; version=0.0.4; charset=utf-8",
            Self::Playlist(_) => "audio/x-mpegurl; charset=utf-8",
        }
    }

    /// Writes the next part into `out` (at least [`PART_BYTES`] long) and returns its length; `None` after the last.
    pub fn next(&mut self, source: &dyn StatusSource, out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Page(page) => page.next(source, out),
            Self::StatusJson(json) => json.next(source, out),
            Self::StatusText(text) => text.next(source, out),
            Self::Metrics(metrics) => metrics.next(source, out),
            Self::Playlist(playlist) => playlist.next(source, out),
        }
    }
}
