//! The program: arguments to configuration to the command, and how it ended as one line and an exit status.
#![deny(unsafe_code, clippy::undocumented_unsafe_blocks)]

#[allow(unsafe_code, reason = "an allocator cannot be written without it")]
mod allocator;

#[cfg(all(feature = "small", target_env = "musl"))]
#[allow(
    unsafe_code,
    reason = "functions of the C library are given another body"
)]
mod c_heap;

#[cfg(all(feature = "small", target_env = "musl"))]
#[allow(
    unsafe_code,
    reason = "a function of the C library is given another body"
)]
mod thread_name;

use std::io::Write;
use std::process::ExitCode;
use weir::driver::args::{self, Invocation};
use weir::driver::failure::Failure;
use weir::driver::{commands, keyfile, logging, output, status};

/// Counted and capped: what is live is shown in the status, and more than planned is never given out.
#[global_allocator]
static HEAP: allocator::Heap = allocator::Heap;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With stderr gone there is nobody left to tell; the exit status still does.
            let _ = writeln!(std::io::stderr(), "weir: {failure}");
            ExitCode::from(failure.exit_status())
        }
    }
}

fn run() -> Result<(), Failure> {
    logging::start();
    match args::parse(std::env::args_os().skip(1))? {
        Invocation::Print(text) => output::print(&text),
        Invocation::Demo(config) => commands::demo(&config),
        Invocation::Keygen(file) => keyfile::generate(&file).and_then(|key| output::print(&key)),
        Invocation::Run(config, source) => commands::run(&config, &source),
        Invocation::Status(target, how) => status::show(&target, how),
        Invocation::Check(file, config) => commands::check(&file, &config),
    }
}
