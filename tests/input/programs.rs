//! Other people's programs, run for a test and ended with it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether all of these programs are here. If not, says so; where `CI=true` that is a failure.
pub fn have(programs: &[&str]) -> bool {
    let found = |program: &&&str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
    };
    let Some(missing) = programs.iter().find(|program| !found(program)) else {
        return true;
    };
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{missing} is not installed"
    );
    // Not captured by the test harness, unlike `eprintln!`.
    let _ = writeln!(std::io::stderr(), "skipped: {missing} is not installed");
    false
}

/// A running program, killed when the test is through with it.
pub struct Program(Child);

impl Program {
    pub fn start(program: impl AsRef<OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().expect("the program was found before"))
    }

    /// Ends it as a power failure would.
    pub fn kill(mut self) {
        let _ = self.0.kill();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end, away from the thread that the input runs on.
pub async fn output(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    smol::unblock(move || command.output())
        .await
        .expect("the program was found before")
}

/// A folder of a test's own, removed with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "weir-input-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    /// The path of a file in here, as text.
    pub fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").into()
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.0.join(name), bytes).expect("a temporary file");
        self.at(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What ffmpeg makes of a test tone: `seconds` of it, coded and muxed by `args`.
pub fn tone(seconds: u32, args: &[&str]) -> Vec<u8> {
    let source = format!("sine=frequency=440:sample_rate=44100:duration={seconds}");
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source, "-bitexact"])
        .args(args)
        .arg("-")
        .output()
        .expect("the program was found before");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    out.stdout
}
