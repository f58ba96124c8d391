//! The `sordini` command.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::time::Instant::now())
}
