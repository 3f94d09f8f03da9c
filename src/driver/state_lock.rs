//! A state directory serves one process: two would have one key between them, and each would forget what the other has sent.

use super::failure::Failure;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::format;
use std::fs::{self, File};
use std::path::Path;

/// Takes the directory, made where it is not there, for as long as what is returned is kept; the system gives it back when the process
/// is gone, however it went. One that cannot be made or opened, or whose file system knows no locks, is nobody's.
///
/// # Errors
/// Another process has it.
pub fn take(state: &Path) -> Result<Option<File>, Failure> {
    let _ = fs::create_dir_all(state);
    let Ok(directory) = File::open(state) else {
        return Ok(None);
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(Failure::runtime(
            "--state",
            format!(
                "{} is in use by another weir; give each a directory of its own",
                state.display()
            ),
        )),
        _ => Ok(Some(directory)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn one_at_a_time() {
        let state = std::env::temp_dir().join(format!("weir-state-lock-{}", std::process::id()));
        let held = take(&state).unwrap();
        assert!(held.is_some());
        let error = take(&state).unwrap_err();
        assert_eq!(error.exit_status(), 1);
        assert!(
            error.to_string().contains("in use by another weir"),
            "{error}"
        );
        drop(held);
        assert!(take(&state).unwrap().is_some());
        fs::remove_dir_all(&state).unwrap();
        fs::write(&state, "").unwrap();
        assert!(take(&state.join("below")).unwrap().is_none());
        fs::remove_file(&state).unwrap();
    }
}
