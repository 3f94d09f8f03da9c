//! Layer `http`: the little of HTTP that weir speaks, without sockets, clocks or allocation.
//!
//! The driver feeds bytes in and writes out what it is given. Server side: [`request`] reads a head, [`route`] says what
//! is asked for, [`response`] writes the answer's head, [`document`] writes the body in parts. A live stream goes out as
//! it is, or through [`icy`]. Broadcaster side: a push is a request with a [`body`]; a pull is [`client`] and [`body`].

pub mod body;
pub mod client;
pub mod document;
pub(crate) mod header;
pub mod healthz;
pub mod history;
pub mod hls;
pub mod icy;
pub mod json;
mod ledger;
pub mod metrics;
pub mod out;
pub mod page;
pub mod playlist;
pub mod request;
pub mod response;
pub mod route;
mod serial;
pub mod status;
pub mod text;
pub mod trouble;
pub(crate) mod units;
pub mod verdict;
pub(crate) mod walk;

#[cfg(test)]
pub(crate) mod fake;
