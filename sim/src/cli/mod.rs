//! The command line: what is asked, and the exit code that answers.

mod bench;
#[cfg(feature = "museum")]
mod longevity;
mod meta;
#[cfg(feature = "museum")]
mod museum;
mod replay;
mod shrink;
mod stopwatch;
mod sweep;

use clap::{Args, Parser, Subcommand};
use sordini_sim::plan::{Mutation, Plan, WeatherChange};
use sordini_sim::regression::Regression;
use sordini_sim::sweep::{FailedSeed, Verdict, run_in, run_twice};
use sordini_sim::trace::Telling;
use sordini_sim::world::World;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
EXAMPLES
  cargo sim sweep --seeds 0..10000 --jobs 4 --keep-going     many seeds, on four cores
  cargo sim run --seed 417 --transcript                      one of them, event by event
  cargo sim run --seed 417 --record run.jsonl                the same for other programs
  cargo sim shrink --seed 417 --out scenarios/regressions/torn-index.json
  cargo sim run --plan scenarios/regressions/torn-index.json --short

EXIT CODES
  0 passed, 1 a property did not hold, or what was to be shown was not: an exhibit, a mark,
  2 wrong usage, 3 something did not come to pass in time, 4 a panic, or a process that ended on
  its own, 5 two runs of one plan differed";

/// Whole worlds by seed: clusters, clients, and what breaks
#[derive(Debug, Parser)]
#[command(name = "sordini-sim", bin_name = "cargo sim", version, after_help = EXAMPLES, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one plan, twice, and print what it came to
    Run {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        broken: Broken,
        /// Print everything that goes into the nodes and comes out of them
        #[arg(long, conflicts_with = "short")]
        transcript: bool,
        /// Print what changed, a line for each change
        #[arg(long)]
        short: bool,
        /// Print what clients did and were told, as JSON lines
        #[arg(long)]
        history: bool,
        /// Judge by what clients did and were told alone, in the end, with no other check on
        #[arg(long)]
        by_clients_alone: bool,
        /// Write the whole run to a file, as JSON lines
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
    },
    /// Print a plan as JSON
    Plan {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        broken: Broken,
    },
    /// Run the plans of many seeds
    Sweep(sweep::Arguments),
    /// Step through a run, forward and back
    #[command(after_help = replay::COMMANDS)]
    Replay {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        broken: Broken,
    },
    /// Find the smallest plan that fails the same way
    Shrink(shrink::Arguments),
    /// Measure how fast the simulator is under the reference load, and when nobody does anything
    Bench(bench::Arguments),
    /// Compare runs of the same seeds in several processes and builds
    Meta(meta::Arguments),
    /// Look for each exhibit of the museum by seed, and tell how soon it is found; exit code 1 if one is not that nobody
    /// walks by hand
    #[cfg(feature = "museum")]
    Museum(museum::Arguments),
}

/// The exit code for a process that ended on its own.
const CRASHED: u8 = 4;

/// Which plan.
#[derive(Debug, Args)]
struct Source {
    #[command(flatten)]
    origin: Origin,
    /// From a time on, let chance be that of another seed; may be given more than once, in the order of times
    #[arg(long, value_name = "MICROSECONDS:SEED", value_parser = weather)]
    weather: Vec<WeatherChange>,
}

/// Where it comes from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Origin {
    /// The plan that a seed draws
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A plan from a file, or a stored regression
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

/// What is broken on purpose.
#[derive(Clone, Debug, Default, Args)]
struct Broken {
    /// Switch on an exhibit of the museum in every node; may be given more than once
    #[arg(long, value_name = "NAME")]
    museum: Vec<String>,
    /// Break a rule of the simulated world
    #[arg(long, value_name = "NAME", value_parser = mutation)]
    mutation: Option<Mutation>,
}

fn weather(text: &str) -> Result<WeatherChange, String> {
    let numbers =
        text.split_once(':').and_then(|(at_us, seed)| Some((at_us.parse().ok()?, seed.parse().ok()?)));
    let (at_us, field_seed) = numbers.ok_or("it is not of the form MICROSECONDS:SEED")?;
    Ok(WeatherChange { at_us, field_seed })
}

fn mutation(name: &str) -> Result<Mutation, String> {
    let parsed = serde_json::from_value(serde_json::Value::String(name.to_owned()));
    parsed.map_err(|_| format!("there is no mutation {name}"))
}

impl Broken {
    /// Fails if this program cannot break that.
    fn check(&self) -> Result<(), String> {
        self.in_plan(Plan::idle()).problem().map_or(Ok(()), Err)
    }

    /// The plan of a seed, with this in it.
    fn plan_of(&self, seed: u64) -> Plan {
        self.in_plan(Plan::draw(seed))
    }

    fn in_plan(&self, mut plan: Plan) -> Plan {
        plan.museum.extend(self.museum.iter().cloned());
        plan.mutation = self.mutation.or(plan.mutation);
        plan
    }

    /// The words that ask for the same.
    fn words(&self) -> Vec<String> {
        let museum = self.museum.iter().flat_map(|name| ["--museum".to_owned(), name.clone()]);
        let mutation = self.mutation.iter().flat_map(|mutation| {
            let name = serde_json::to_value(mutation).expect("a name can be written");
            ["--mutation".to_owned(), name.as_str().expect("a name is a text").to_owned()]
        });
        museum.chain(mutation).collect()
    }

    /// The same, to be put behind other words.
    fn words_after(&self) -> String {
        self.words().iter().map(|word| format!(" {word}")).collect()
    }

    /// The line that replays the run of a seed, or what branched off from it.
    fn replay_line(&self, failed: &FailedSeed) -> String {
        let words = self.words_after();
        let change = failed.change.map(|change| format!(" --weather {}:{}", change.at_us, change.field_seed));
        format!("cargo sim run --seed {}{}{words} --transcript", failed.seed, change.unwrap_or_default())
    }
}

impl Source {
    fn read(&self, broken: &Broken) -> Result<Plan, String> {
        broken.check()?;
        let mut plan = match (self.origin.seed, &self.origin.plan) {
            (Some(seed), _) => Plan::draw(seed),
            (None, Some(path)) => read_plan(path).map_err(|error| format!("{}: {error}", path.display()))?,
            (None, None) => return Err("--seed N or --plan FILE is needed".to_owned()),
        };
        plan.weather.extend(&self.weather);
        let plan = broken.in_plan(plan);
        plan.problem().map_or(Ok(plan), Err)
    }
}

fn read_plan(path: &Path) -> Result<Plan, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let is_stored =
        serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|json| json.get("plan").is_some());
    let plan: Plan = if is_stored {
        Regression::parse(&text)?.plan
    } else {
        serde_json::from_str(&text).map_err(|error| error.to_string())?
    };
    plan.problem().map_or(Ok(plan), Err)
}

/// Does what the command line of this process asks.
pub(crate) fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { source, broken, transcript, short, history, by_clients_alone, record } => {
            let printed = match (transcript, short) {
                (true, _) => Telling::Everything,
                (false, true) => Telling::Changes,
                (false, false) => Telling::Nothing,
            };
            let (record, seed) = (record.as_deref(), source.origin.seed);
            let shown = Shown { printed, history, by_clients_alone, record, seed };
            source.read(&broken).and_then(|plan| run_one(&plan, &shown))
        }
        Command::Plan { source, broken } => source.read(&broken).and_then(|plan| {
            say!("{}", serde_json::to_string_pretty(&plan).map_err(|error| error.to_string())?);
            Ok(0)
        }),
        Command::Sweep(arguments) => sweep::sweep(&arguments),
        Command::Replay { source, broken } => source.read(&broken).and_then(|plan| replay::replay(&plan)),
        Command::Shrink(arguments) => shrink::shrink(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Meta(arguments) => meta::meta(&arguments),
        #[cfg(feature = "museum")]
        Command::Museum(arguments) => museum::museum(&arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            eprintln!("cargo sim: {problem}");
            ExitCode::from(2)
        }
    }
}

/// What is to be seen of a run.
struct Shown<'a> {
    printed: Telling,
    history: bool,
    /// Whether it is judged by what clients did and were told alone.
    by_clients_alone: bool,
    record: Option<&'a Path>,
    /// That of the plan, if it was drawn.
    seed: Option<u64>,
}

impl Shown<'_> {
    const fn telling(&self) -> Telling {
        match (self.record, self.history, self.printed) {
            (Some(_), _, _) => Telling::Everything,
            // Whoever reads what clients did wants to know what they read.
            (None, true, Telling::Nothing) => Telling::Changes,
            (None, _, printed) => printed,
        }
    }
}

fn run_one(plan: &Plan, shown: &Shown<'_>) -> Result<u8, String> {
    let (mut verdict, outcome) = run_in(|| {
        let world = World::new(plan, shown.telling());
        if shown.by_clients_alone { world.judged_by_clients_alone() } else { world }
    });
    if verdict == Verdict::Passed && !shown.by_clients_alone {
        verdict = run_twice(plan);
    }
    if let Some(outcome) = &outcome {
        if let Some(path) = shown.record {
            let written = File::create(path).and_then(|file| {
                let mut file = BufWriter::new(file);
                sordini_sim::record::write(&mut file, plan, shown.seed, &verdict, outcome)?;
                file.flush()
            });
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        for line in outcome.lines.iter().filter(|line| shown.printed.includes(line.kind)) {
            say!("{}", line.to_text());
        }
        if shown.history {
            for entry in &outcome.history {
                say!("{}", serde_json::to_string(entry).map_err(|error| error.to_string())?);
            }
        }
        if !outcome.is_within_budget {
            say!("beyond its budget: the plan has faults that no single replica promises to survive");
        }
        for loss in &outcome.losses {
            say!("lost, as declared: {loss}");
        }
        say!(
            "hash {:016x} events {} virtual {}",
            outcome.trace_hash,
            outcome.events,
            seconds(outcome.virtual_us)
        );
    }
    say!("{}", verdict.line());
    Ok(verdict.exit_code())
}

/// Virtual time for people.
fn seconds(us: u64) -> String {
    format!("{}.{:06} s", us / 1_000_000, us % 1_000_000)
}
