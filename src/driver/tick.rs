//! What is looked at once a second: whether a pause is over, and how the line runs.

use super::reactor::Timer;
use super::view::Running;
use core::time::Duration;

/// How often.
const TICK: Duration = Duration::from_secs(1);

/// Looks, for as long as the node runs.
pub async fn run(running: &Running) {
    loop {
        Timer::after(TICK).await;
        running.control.tend(&running.engine);
    }
}
