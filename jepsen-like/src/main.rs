//! The command line of the judge.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sordini_jepsen::history::{Contract, History};
use sordini_jepsen::verdict::Verdict;

const EXIT_CODES: &str = "\
EXIT CODES
  0 every promise was kept, 1 one was broken, 2 wrong usage or no history";

/// The judge from outside: what clients did and were told, and whether a log that keeps its promises can have been so.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge a history, and say what had been promised
    #[command(after_help = EXIT_CODES)]
    Judge {
        /// Its file, JSON Lines: the partitions' contracts, then the events; `-` for standard input
        #[arg(value_name = "HISTORY.jsonl")]
        history: PathBuf,
        /// The whole verdict as JSON, with all findings
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let Command::Judge { history, json } = Cli::parse().command;
    match judge(&history) {
        Ok(verdict) => {
            let text = if json { verdict.json() + "\n" } else { in_words(&verdict) };
            // Whoever has stopped reading wants no more of it, and the exit code still says how it ended.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::from(u8::from(!verdict.holds()))
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}: {error}", history.display());
            ExitCode::from(2)
        }
    }
}

fn judge(path: &Path) -> io::Result<Verdict> {
    let lines: Box<dyn BufRead> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(path)?)),
    };
    let history = History::read(lines)?;
    // Of nothing every promise is kept.
    if history.contracts().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no history: it has no contract"));
    }
    Ok(sordini_jepsen::check(&history))
}

/// What was promised, then what became of it.
fn in_words(verdict: &Verdict) -> String {
    let mut text = String::new();
    let is_same = |a: &Contract, b: &Contract| a.topic == b.topic && a.to_string() == b.to_string();
    for alike in verdict.contracts.chunk_by(is_same) {
        let partitions: Vec<_> = alike.iter().map(|contract| contract.partition.to_string()).collect();
        text += &format!("{} {}: {}\n", alike[0].topic, partitions.join(" "), alike[0]);
    }
    text + &verdict.to_string()
}
