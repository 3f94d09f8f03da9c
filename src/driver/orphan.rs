//! A process of the demonstration ends when the one that started it is gone, however that came about.

use rustix::process::{Signal, set_parent_process_death_signal};

/// Set for processes that are to end with their parent.
pub const VARIABLE: &str = "WEIR_ENDS_WITH_PARENT";

/// From here on the parent's end is a SIGTERM, if this process was started so.
pub fn end_with_parent() {
    if std::env::var_os(VARIABLE).is_some()
        && let Err(error) = set_parent_process_death_signal(Some(Signal::TERM))
    {
        log::debug!("the parent's end will not be noticed: {error}");
    }
}
