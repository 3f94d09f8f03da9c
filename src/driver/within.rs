//! Limits on how long somebody outside is waited for.

use super::reactor::Timer;
use core::time::Duration;
use smol::future::FutureExt;
use std::io;

/// What `work` comes to, or [`io::ErrorKind::TimedOut`] when it takes longer than `limit`.
///
/// Not an `async fn`: that would hold `work` twice, as it came and as it is waited for.
pub fn within<T, W: Future<Output = io::Result<T>>>(
    limit: Duration,
    work: W,
) -> impl Future<Output = io::Result<T>> + use<T, W> {
    let late = async move {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    work.or(late)
}
