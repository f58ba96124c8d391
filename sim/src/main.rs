//! `cargo sim`: runs of simulated worlds by seed.
//!
//! Exit codes: 0 passed, 1 a property did not hold, 2 usage, 3 something did not come to pass in time, 4 a panic, 5 two
//! runs of one seed differed.

use sordini_sim::plan::{Mutation, Plan};
use sordini_sim::sweep::{self, Summary, Verdict};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "\
cargo sim run --seed N [--transcript] [--mutation NAME] [--history]
    Runs the plan of a seed, twice, and prints what it came to.
cargo sim run --plan FILE [--transcript] [--history]
    The same with a plan from a file.
cargo sim plan --seed N
    Prints the plan of a seed as JSON.
cargo sim sweep --seeds A..B [--mutation NAME] [--keep-going]
    Runs the plans of many seeds, the last not included.

Exit codes: 0 passed, 1 a property did not hold, 2 usage, 3 something did not come to pass in time, 4 a panic, 5 two runs
of one seed differed.";

/// Prints a line. Whoever has stopped reading wants no more of it, and the exit code still says how it ended.
macro_rules! say {
    ($($words:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

/// Every how many seeds of a sweep one is run twice.
const TWICE_EVERY: u64 = 64;

struct Arguments {
    seed: Option<u64>,
    seeds: Option<(u64, u64)>,
    plan: Option<String>,
    mutation: Option<Mutation>,
    transcript: bool,
    history: bool,
    keep_going: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        seed: None,
        seeds: None,
        plan: None,
        mutation: None,
        transcript: false,
        history: false,
        keep_going: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seed" => arguments.seed = Some(number(&value()?)?),
            "--seeds" => {
                let text = value()?;
                let (from, to) =
                    text.split_once("..").ok_or_else(|| format!("{text} is not of the form A..B"))?;
                arguments.seeds = Some((number(from)?, number(to)?));
            }
            "--plan" => arguments.plan = Some(value()?),
            "--mutation" => {
                let name = value()?;
                let parsed = serde_json::from_value(serde_json::Value::String(name.clone()));
                arguments.mutation = Some(parsed.map_err(|_| format!("there is no mutation {name}"))?);
            }
            "--transcript" => arguments.transcript = true,
            "--history" => arguments.history = true,
            "--keep-going" => arguments.keep_going = true,
            other => return Err(format!("what is {other}?")),
        }
    }
    Ok(arguments)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next();
    let done = match (command.as_deref(), parse(words)) {
        (_, Err(problem)) => Err(problem),
        (Some("run"), Ok(arguments)) => run(&arguments),
        (Some("plan"), Ok(arguments)) => print_plan(&arguments),
        (Some("sweep"), Ok(arguments)) => run_sweep(&arguments),
        (Some("help" | "--help" | "-h"), Ok(_)) => {
            say!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        (Some(other), Ok(_)) => Err(format!("what is {other}?")),
        (None, Ok(_)) => Err("what is to be done?".to_owned()),
    };
    done.unwrap_or_else(|problem| {
        eprintln!("{problem}\n\n{USAGE}");
        ExitCode::from(2)
    })
}

fn plan_of(arguments: &Arguments) -> Result<Plan, String> {
    match (arguments.seed, &arguments.plan) {
        (Some(seed), None) => Ok(sweep::plan_of(seed, arguments.mutation)),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            let plan: Plan = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
            if plan.version != Plan::VERSION {
                return Err(format!(
                    "{path} is of version {} and this reads {}",
                    plan.version,
                    Plan::VERSION
                ));
            }
            Ok(plan)
        }
        (Some(_), Some(_)) => Err("--seed and --plan exclude each other".to_owned()),
        (None, None) => Err("--seed N or --plan FILE is needed".to_owned()),
    }
}

fn replay_line(seed: u64, mutation: Option<Mutation>) -> String {
    let mutation = mutation.map(|mutation| {
        let name = serde_json::to_value(mutation).expect("a name can be written");
        format!(" --mutation {}", name.as_str().expect("a name is a text"))
    });
    format!("cargo sim run --seed {seed}{} --transcript", mutation.unwrap_or_default())
}

fn print_plan(arguments: &Arguments) -> Result<ExitCode, String> {
    let text = serde_json::to_string_pretty(&plan_of(arguments)?).map_err(|error| error.to_string())?;
    say!("{text}");
    Ok(ExitCode::SUCCESS)
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let plan = plan_of(arguments)?;
    let (mut verdict, outcome) = sweep::run(&plan, arguments.transcript);
    if verdict == Verdict::Passed {
        verdict = sweep::run_twice(&plan);
    }
    if let Some(outcome) = &outcome {
        if arguments.transcript {
            say!("{}", outcome.transcript.trim_end());
        }
        if arguments.history {
            for entry in &outcome.history {
                say!("{}", serde_json::to_string(entry).map_err(|error| error.to_string())?);
            }
        }
        say!(
            "hash {:016x} events {} virtual {}.{:06} s",
            outcome.trace_hash,
            outcome.events,
            outcome.virtual_us / 1_000_000,
            outcome.virtual_us % 1_000_000
        );
    }
    say!("{}", verdict.line());
    if verdict != Verdict::Passed
        && let Some(seed) = arguments.seed
    {
        say!("replay: {}", replay_line(seed, arguments.mutation));
    }
    Ok(ExitCode::from(verdict.exit_code()))
}

#[expect(clippy::disallowed_methods, reason = "how fast a sweep was is not part of any run")]
fn stopwatch() -> Instant {
    Instant::now()
}

fn run_sweep(arguments: &Arguments) -> Result<ExitCode, String> {
    let (from, to) = arguments.seeds.ok_or("--seeds A..B is needed")?;
    let begun = stopwatch();
    let mut shown = begun;
    let shows_progress = std::io::stderr().is_terminal();
    let mut summary = Summary::default();
    for seed in from..to {
        let plan = sweep::plan_of(seed, arguments.mutation);
        let (mut verdict, outcome) = sweep::run(&plan, false);
        if verdict == Verdict::Passed && seed.is_multiple_of(TWICE_EVERY) {
            verdict = sweep::run_twice(&plan);
        }
        if verdict != Verdict::Passed {
            say!("seed {seed}: {}", verdict.line());
            say!("replay: {}", replay_line(seed, arguments.mutation));
        }
        let has_failed = verdict != Verdict::Passed;
        summary.add(seed, verdict, outcome.as_ref());
        if has_failed && !arguments.keep_going {
            break;
        }
        let now = stopwatch();
        if shows_progress && now.duration_since(shown) > Duration::from_millis(200) {
            shown = now;
            eprint!("\r{} of {} seeds, {} failed ", summary.seeds, to - from, summary.failures.len());
            // A terminal that cannot be written to loses nothing that counts.
            let _ = std::io::stderr().flush();
        }
    }
    if shows_progress {
        eprint!("\r\x1b[K");
    }
    print_summary(&summary, stopwatch().duration_since(begun));
    let first = summary.failures.first().map_or(0, |(_, verdict)| verdict.exit_code());
    Ok(ExitCode::from(first))
}

fn print_summary(summary: &Summary, wall: Duration) {
    let seconds = wall.as_secs_f64();
    let seeds = summary.seeds as f64 / seconds;
    let virtual_seconds = summary.virtual_us as f64 / 1e6;
    say!(
        "{} seeds in {seconds:.1} s, {} failed: {seeds:.0} seeds/s, {:.0} simulated seconds per wall second, {:.0} \
         events/s",
        summary.seeds,
        summary.failures.len(),
        virtual_seconds / seconds,
        summary.events as f64 / seconds
    );
    let twice = summary.marks.raised_epoch_duplicates;
    if twice > 0 {
        say!(
            "{twice:>12} records twice because a producer raised its epoch after a restart, as Kafka's may be"
        );
    }
    let mut marks = summary.marks.named();
    marks.sort_by_key(|(_, hits)| *hits);
    for (name, hits) in marks {
        say!(
            "{hits:>12} {name}{}",
            if hits == 0 { "  (never: this sweep proves nothing about it)" } else { "" }
        );
    }
}
