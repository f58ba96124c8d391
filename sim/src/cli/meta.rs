//! `cargo sim meta`: whether a seed gives the same run everywhere. Each seed is run here and in a process of every build
//! that is named, and what they print is compared line by line.

use super::{Broken, CRASHED};
use sordini_sim::plan::Plan;
use sordini_sim::sweep::{Verdict, catch, run};
use sordini_sim::trace::Telling;
use sordini_sim::world::World;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    #[command(flatten)]
    broken: Broken,
    /// Other builds of this program; this one in another process if none is named
    #[arg(long, value_name = "PATH", num_args = 1..)]
    builds: Vec<PathBuf>,
    /// Print what is compared: seed, hash, events, virtual time
    #[arg(long, conflicts_with = "builds")]
    print: bool,
    /// Print the first seed event by event instead: the hash after it, the virtual time, and what is told of it
    #[arg(long, conflicts_with_all = ["builds", "print"])]
    print_events: bool,
    /// Whether plans that fail because of an exhibit of the museum still do in a world with one more kind of event
    #[cfg(feature = "museum")]
    #[arg(long, conflicts_with_all = ["builds", "print", "print_events", "seeds"])]
    longevity: bool,
    /// With --longevity, how many plans
    #[cfg(feature = "museum")]
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    plans: u64,
}

/// What another build ends with if it does not know what it is asked.
const USAGE: i32 = 2;
/// What ends the command if two runs differ.
pub(super) const DIFFERENT: u8 = 5;

pub(crate) fn meta(arguments: &Arguments) -> Result<u8, String> {
    arguments.broken.check()?;
    #[cfg(feature = "museum")]
    if arguments.longevity {
        return super::longevity::longevity(arguments.plans, arguments.from);
    }
    let seeds = arguments.from..arguments.from.saturating_add(arguments.seeds);
    if arguments.print_events {
        let verdict = print_events(&arguments.broken.plan_of(arguments.from));
        say!("{}", verdict.line());
        return Ok(verdict.exit_code());
    }
    if arguments.print {
        seeds.for_each(|seed| say!("{}", summary(seed, &arguments.broken)));
        return Ok(0);
    }
    let mut builds = arguments.builds.clone();
    if builds.is_empty() {
        builds.push(std::env::current_exe().map_err(|error| error.to_string())?);
    }
    let words = ["--print", "--seeds", &arguments.seeds.to_string(), "--from", &arguments.from.to_string()];
    let mut others = Vec::new();
    for build in &builds {
        others.push(Other::start(build, &words, &arguments.broken)?);
    }
    for seed in seeds {
        let here = summary(seed, &arguments.broken);
        for other in &mut others {
            let Some(there) = other.line()? else { return other.died_before(seed, &arguments.broken) };
            if here != there {
                say!("seed {seed} is not the same twice\n  here {here}\n  {} {there}", other.name());
                let words = arguments.broken.words_after();
                say!("replay: cargo sim meta --seeds 1 --from {seed} --builds {}{words}", other.name());
                return first_difference(seed, &other.path, &arguments.broken);
            }
        }
    }
    let names: Vec<String> = others.iter().map(Other::name).collect();
    say!("{} seeds: the same here and in {}", arguments.seeds, names.join(", "));
    Ok(0)
}

/// A run in one line.
fn summary(seed: u64, broken: &Broken) -> String {
    let (verdict, outcome) = run(&broken.plan_of(seed), Telling::Nothing);
    let ran = outcome.map_or_else(
        || "no world".to_owned(),
        |outcome| {
            format!(
                "hash {:016x} events {} virtual_us {}",
                outcome.trace_hash, outcome.events, outcome.virtual_us
            )
        },
    );
    format!("seed {seed} {ran} exit code {}", verdict.exit_code())
}

/// Prints a run event by event, and says what it came to.
fn print_events(plan: &Plan) -> Verdict {
    let mut world = match catch(|| World::new(plan, Telling::Everything)) {
        Ok(world) => world,
        Err(panic) => return Verdict::Panicked(panic),
    };
    let mut told = 0;
    loop {
        let goes_on = catch(|| world.go_on());
        let lines = &world.trace().lines()[told..];
        told += lines.len();
        let text: Vec<String> = lines.iter().map(|line| line.to_text()).collect();
        // A line for each event, however much is told of it.
        let text = text.join(" | ").replace('\n', " ");
        say!("{:016x} {} {text}", world.trace().hash(), world.now());
        match goes_on {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Verdict::Passed,
            Ok(Err(failure)) => return Verdict::Failed(failure),
            Err(panic) => return Verdict::Panicked(panic),
        }
    }
}

/// Runs the seed in both builds event by event, and prints where they part.
fn first_difference(seed: u64, other: &Path, broken: &Broken) -> Result<u8, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let words = ["--print-events", "--from", &seed.to_string()];
    let mut here = Other::start(&this, &words, broken)?;
    let mut there = Other::start(other, &words, broken)?;
    let mut before = None;
    for number in 0_u64.. {
        let (one, two) = (here.line()?, there.line()?);
        if one == two && one.is_some() {
            before = one;
            continue;
        }
        let text = |line: Option<String>| line.unwrap_or_else(|| "it is over".to_owned());
        if one == two {
            say!("event by event the two do not differ: what differs depends on how often a process has run");
        } else {
            say!("they part at event {number}");
            say!("  before {}", text(before));
            say!("  here   {}\n  there  {}", text(one), text(two));
        }
        break;
    }
    Ok(DIFFERENT)
}

/// This program in a process of its own.
struct Other {
    path: PathBuf,
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(path: &Path, words: &[&str], broken: &Broken) -> Result<Self, String> {
        let mut command = Command::new(path);
        command.arg("meta").args(words).args(broken.words());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("{}: {error}", path.display()));
        let mut child = child?;
        let output = child.stdout.take().ok_or("a child without output")?;
        Ok(Self { path: path.to_owned(), child, lines: BufReader::new(output).lines() })
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        self.lines.next().transpose().map_err(|error| format!("{}: {error}", self.name()))
    }

    /// The process has said nothing of a seed: what became of it, and what to do.
    fn died_before(&mut self, seed: u64, broken: &Broken) -> Result<u8, String> {
        let name = self.name();
        let status = self.child.wait().map_err(|error| format!("{name}: {error}"))?;
        let words = broken.words_after();
        let line = format!("{name} meta --print --seeds 1 --from {seed}{words}");
        let sentence =
            format!("{name} ended before seed {seed} with {status}; to see what it says of it alone: {line}");
        if status.code() == Some(USAGE) {
            return Err(sentence);
        }
        say!("{sentence}");
        Ok(CRASHED)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // One that has ended cannot be ended, and one whose output nobody reads need not go on.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
