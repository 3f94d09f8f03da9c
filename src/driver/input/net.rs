//! What the inputs over TCP share.

use super::super::reactor::Timer;
use super::super::resolve::addresses;
use super::url::HostPort;
use crate::error::Malformed;
use crate::http::body::Body;
use core::net::SocketAddr;
use core::time::Duration;
use smol::future::FutureExt;
use std::io;
use std::string::ToString;
use std::vec::Vec;

/// What `work` comes to, if it comes to anything in time; else [`io::ErrorKind::TimedOut`].
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let late = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    work.or(late).await
}

/// The addresses of a host; DNS is asked on a helper thread.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = addresses(host, port).await;
    match found {
        Ok(addresses) if addresses.is_empty() => Err(no_address(host, port)),
        other => other,
    }
}

fn no_address(host: &str, port: u16) -> io::Error {
    let text = HostPort(host, port).to_string() + " has no address";
    io::Error::new(io::ErrorKind::NotFound, text)
}

/// Takes the body out of `input` and gives it to `take`, until the input or the body ends.
pub(super) fn pour(
    body: &mut Body,
    mut input: &[u8],
    mut take: impl FnMut(&[u8]),
) -> Result<(), Malformed> {
    while !input.is_empty() && !body.is_done() {
        let piece = body.next(input)?;
        take(piece.data);
        input = match input.get(piece.consumed..) {
            Some(rest) if piece.consumed > 0 => rest,
            _ => return Err(Malformed::Field),
        };
    }
    Ok(())
}
