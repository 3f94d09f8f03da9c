//! Whether somebody else uses a serial device: a login prompt, a shell behind it, a modem program with a lock file.
//!
//! On Linux a process's controlling terminal stands in `/proc/PID/stat` for everybody to read (proc(5), `tty_nr`), its
//! open files only for its owner and root. Lock files are those of the Filesystem Hierarchy Standard, section 5.9.

use crate::driver::short_file;
use std::format;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::string::String;

/// Who uses the device at `path`, in words; nothing where nobody does or it cannot be known.
pub fn user_of(path: &Path) -> Option<String> {
    let device = device_at(path)?;
    by_lock_file(&name_of(path, device)).or_else(|| by_process(device))
}

/// The number of the character device at `path`.
fn device_at(path: impl AsRef<Path>) -> Option<u64> {
    let metadata = fs::metadata(path).ok()?;
    metadata
        .file_type()
        .is_char_device()
        .then(|| metadata.rdev())
}

/// What the kernel calls the device at `path`, whatever links lead there. Pseudo-terminals have a name in /dev alone.
fn name_of(path: &Path, device: u64) -> String {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let known = fs::read_link(format!("/sys/dev/char/{major}:{minor}"));
    let real = known.or_else(|_| fs::read_link(path));
    let name = real.as_deref().unwrap_or(path).file_name();
    name.map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

/// A lock file with the number of a living process in it.
fn by_lock_file(name: &str) -> Option<String> {
    let owner = ["/run/lock", "/var/lock"].iter().find_map(|directory| {
        let text = text_of(&format!("{directory}/LCK..{name}"));
        let pid: u32 = text.trim().parse().ok()?;
        Path::new(&format!("/proc/{pid}")).exists().then_some(pid)
    })?;
    Some(format!("locked by {}", describe(owner)))
}

fn by_process(device: u64) -> Option<String> {
    let own = std::process::id();
    let processes = fs::read_dir("/proc").ok()?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let uses = |pid: &u32| *pid != own && (is_terminal_of(*pid, device) || has_open(*pid, device));
    let user = pids.into_iter().find(uses)?;
    Some(format!("used by {}", describe(user)))
}

/// Whether the device is the controlling terminal of a process.
fn is_terminal_of(pid: u32, device: u64) -> bool {
    let stat = text_of(&format!("/proc/{pid}/stat"));
    // The name stands in parentheses and may hold anything; five fields behind it comes the terminal.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let terminal = fields.split_whitespace().nth(4);
    terminal.and_then(|number| number.parse::<i64>().ok()) == i64::try_from(encoded(device)).ok()
}

/// A device number as the kernel writes it there: minor bits 31 to 20 and 7 to 0, major bits 15 to 8.
fn encoded(device: u64) -> u64 {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    u64::from(minor & 0xff) | u64::from(major) << 8 | u64::from(minor & !0xff) << 12
}

/// Whether one of a process's standard streams is the device: a login that waits for a key has no terminal yet.
fn has_open(pid: u32, device: u64) -> bool {
    (0..=2).any(|fd| device_at(format!("/proc/{pid}/fd/{fd}")) == Some(device))
}

/// A file's text; none where there is none.
fn text_of(file: &str) -> String {
    short_file::read(Path::new(file), 1_024).unwrap_or_default()
}

fn describe(pid: u32) -> String {
    let name = text_of(&format!("/proc/{pid}/comm"));
    match name.trim() {
        "" => format!("process {pid}"),
        name => format!("{name} (process {pid})"),
    }
}

/// Whether the kernel writes its messages to the device as well.
pub fn is_kernel_console(path: &Path) -> bool {
    let name = device_at(path).map(|device| name_of(path, device));
    let active = text_of("/sys/class/tty/console/active");
    name.is_some_and(|name| active.split_whitespace().any(|console| console == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_devices_are_those_of_proc() {
        // tty(4): ttyS0 is 4, 64; the first pseudo-terminals are 136, 0 and on.
        assert_eq!(encoded(rustix::fs::makedev(4, 64)), 4 << 8 | 64);
        assert_eq!(
            encoded(rustix::fs::makedev(136, 300)),
            136 << 8 | 300 & 0xff | 256 << 12
        );
    }

    #[test]
    fn a_device_is_called_what_the_kernel_calls_it() {
        let folder = std::env::temp_dir().join(format!("weir-getty-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let link = folder.join("by-id");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let device = device_at(&link).unwrap();
        assert_eq!(device, rustix::fs::makedev(1, 3));
        assert_eq!(name_of(&link, device), "null");
        // A number that nobody has: by the path.
        assert_eq!(name_of(&link, rustix::fs::makedev(4_000, 1)), "null");
        assert_eq!(name_of(Path::new("/dev/pts/7"), u64::MAX), "7");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_no_terminal_has_no_user() {
        assert_eq!(user_of(Path::new("/dev/null/none")), None);
        assert_eq!(user_of(Path::new("/etc/passwd")), None);
        assert!(!is_kernel_console(Path::new("/dev/null")));
    }
}
