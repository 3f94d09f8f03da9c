//! What a process has used, as the kernel counts it.

use std::fs;
use std::time::{Duration, Instant};

/// CPU time of a process, all its threads, user and system.
fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let of = |task: fs::DirEntry| -> u64 {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
        ns.unwrap_or(0)
    };
    Duration::from_nanos(tasks.flatten().map(of).sum())
}

/// Its resident memory.
pub fn resident_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or(0) * 1_024
}

/// A window over which CPU is counted.
pub struct Window {
    pids: Vec<u32>,
    began: Instant,
    cpu: Duration,
}

impl Window {
    /// Begins to count.
    pub fn open(pids: &[u32]) -> Self {
        Self {
            pids: pids.to_vec(),
            began: Instant::now(),
            cpu: pids.iter().map(|&pid| cpu(pid)).sum(),
        }
    }

    /// CPU and wall time since.
    pub fn close(&self) -> (Duration, Duration) {
        let cpu: Duration = self.pids.iter().map(|&pid| cpu(pid)).sum();
        (cpu - self.cpu, self.began.elapsed())
    }
}
