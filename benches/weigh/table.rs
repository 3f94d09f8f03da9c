//! Helpers: processes that say lines, and lines of the table.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// This program again, as a helper. Ends with its owner.
pub struct Helper {
    child: Child,
    last: Arc<Mutex<(u64, String)>>,
}

impl Helper {
    /// Starts it.
    pub fn start(arguments: &[&str]) -> Self {
        let own = std::env::current_exe().expect("this program");
        Self::command(Command::new(own).args(arguments))
    }

    /// Starts any program.
    pub fn command(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
        let last = Arc::<Mutex<(u64, String)>>::default();
        let (lines, kept) = (
            BufReader::new(child.stdout.take().expect("piped")),
            last.clone(),
        );
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut kept = kept.lock().expect("no panic");
                *kept = (kept.0 + 1, line);
            }
        });
        Self { child, last }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that is as it should be.
    pub fn wait_for(&self, seconds: u64, good: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            let (count, line) = self.last.lock().expect("no panic").clone();
            if count > 0 && good(&line) {
                return Some(line);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// The numbers of its last line.
    pub fn numbers(&self) -> Vec<u64> {
        let line = self.last.lock().expect("no panic").1.clone();
        line.split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A title and the heads of its columns.
pub fn title(text: &str, columns: &str) {
    println!("\n{text}\n{columns}");
}

/// CPU-seconds for each 10^9 bytes.
pub fn per_gb(cpu: Duration, bytes: u64) -> f64 {
    cpu.as_secs_f64() / bytes.max(1) as f64 * 1e9
}

/// The middle one.
pub fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}
