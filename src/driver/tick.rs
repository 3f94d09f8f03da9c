//! What is looked at once a second: whether a pause is over, and how the node does.

use super::reactor::Timer;
use super::view::Running;
use crate::http::status::StatusSource;
use core::time::Duration;

/// How often.
const TICK: Duration = Duration::from_secs(1);

/// Looks, for as long as the node runs.
pub async fn run(running: &Running) {
    loop {
        Timer::after(TICK).await;
        running.control.tend(&running.engine);
        let uptime_s = running.engine.clock.uptime().as_secs();
        let kernel_drops = running.view().node().kernel_drops_total;
        let node = running.engine.look();
        let mut vitals = running.vitals.borrow_mut();
        vitals.note(uptime_s, &node, kernel_drops);
        let now = running.engine.clock.now();
        running.rates.borrow_mut().tick(now, node.stats());
    }
}
