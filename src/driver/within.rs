//! Limits on how long somebody outside is waited for.

use super::reactor::Timer;
use core::time::Duration;
use smol::future::FutureExt;
use std::io;

/// What `work` comes to, or [`io::ErrorKind::TimedOut`] when it takes longer than `limit`.
pub async fn within<T>(
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let late = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    work.or(late).await
}
