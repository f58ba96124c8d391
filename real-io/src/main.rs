//! The `sordini` command.

mod cli;

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let started = Instant::now();
    // A panic that no task caught is a bug; its message is in the log.
    std::panic::catch_unwind(|| cli::main(started)).unwrap_or_else(|_| ExitCode::from(70))
}
