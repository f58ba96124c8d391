//! `cargo sim sweep`: many seeds, in this process or in several. A run has no threads, so that several cores take several
//! processes, each with a part of the seeds; the process that was asked reads what they print.

use super::stopwatch::Stopwatch;
use super::{Broken, CRASHED};
use serde::{Deserialize, Serialize};
use sordini_sim::branch::Branching;
use sordini_sim::marks::Coverage;
use sordini_sim::sweep::{FailedSeed, Shard, Summary, Verdict, run, run_twice};
use sordini_sim::trace::Telling;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Every how many seeds one is run twice.
const TWICE_EVERY: u64 = 64;
/// The exit code of a sweep that held and did not come by everything: what it was to show is not shown.
const MARKS_MISSED: u8 = 1;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// From the first seed to the last, which is not included
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: (u64, u64),
    /// How many processes share the seeds
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
    /// The part of the seeds that is run here: the K-th of N
    #[arg(long, value_name = "K/N", default_value = "1/1", value_parser = shard)]
    shard: Shard,
    #[command(flatten)]
    broken: Broken,
    /// Go on after a seed has failed
    #[arg(long)]
    keep_going: bool,
    /// Where a run comes by a mark that few runs have come by, go on under other weather as well, in so many runs
    #[arg(long, value_name = "N")]
    branch: Option<u64>,
    /// A mark is rare to --branch as long as fewer runs than this have come by it, of those of this process
    #[arg(long, value_name = "RUNS", default_value_t = 8, requires = "branch")]
    rare: u64,
    /// Fail if no run came by a mark that is within reach
    #[arg(long)]
    every_mark: bool,
    /// Begin no seed after so many minutes
    #[arg(long, value_name = "M", value_parser = minutes)]
    minutes: Option<Minutes>,
    /// Print JSON lines: each failure when it is found, and what all came to at the end
    #[arg(long)]
    json: bool,
    /// With --json, print what it has come to so far five times a second as well
    #[arg(long, requires = "json")]
    so_far: bool,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("it is not of the form A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is not a number"));
    let (from, to) = (number(from)?, number(to)?);
    if from < to { Ok((from, to)) } else { Err("there are no seeds in it".to_owned()) }
}

/// Begin no seed after that, with the text as it was given.
#[derive(Clone, Debug)]
struct Minutes {
    limit: Duration,
    text: String,
}

fn minutes(text: &str) -> Result<Minutes, String> {
    let limit = text.parse::<f64>().ok().and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
    let limit = limit.ok_or("it is no number of minutes, from 0 on")?;
    Ok(Minutes { limit, text: text.to_owned() })
}

fn shard(text: &str) -> Result<Shard, String> {
    let (part, count) = text.split_once('/').ok_or("it is not of the form K/N")?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is not a number"));
    let (part, count) = (number(part)?, number(count)?);
    if !(1..=count).contains(&part) {
        return Err(format!("there is no part {part} of {count}"));
    }
    Ok(Shard { index: part - 1, count })
}

/// A line of `--json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A seed did not pass.
    Failure(FailedSeed),
    /// What it has come to.
    SoFar(Summary),
    /// What all came to.
    Summary(Summary),
}

pub(crate) fn sweep(arguments: &Arguments) -> Result<u8, String> {
    arguments.broken.check()?;
    let watch = Stopwatch::start();
    let mut teller = Teller { arguments, told: None, watch, has_crashed: false };
    let summary = if arguments.jobs > 1 { in_processes(&mut teller)? } else { in_this_process(&mut teller)? };
    teller.end(&summary)?;
    if teller.has_crashed {
        return Ok(CRASHED);
    }
    let missed: Vec<&str> = summary.marks.missed().collect();
    if arguments.every_mark && summary.exit_code() == 0 && !missed.is_empty() {
        eprintln!(
            "no run came by {}: draw plans that do, or name the reason in sim/src/marks.rs",
            missed.join(", ")
        );
        return Ok(MARKS_MISSED);
    }
    Ok(summary.exit_code())
}

fn in_this_process(teller: &mut Teller<'_>) -> Result<Summary, String> {
    let arguments = teller.arguments;
    let limit = arguments.minutes.as_ref().map(|minutes| minutes.limit);
    let mut summary = Summary::default();
    for seed in arguments.shard.seeds(arguments.seeds.0, arguments.seeds.1) {
        if limit.is_some_and(|limit| teller.watch.wall() > limit) {
            break;
        }
        let plan = arguments.broken.plan_of(seed);
        let (mut verdict, outcome, branches) = match arguments.branch {
            Some(branches) => {
                let branching = Branching { branches, rare: arguments.rare };
                sordini_sim::branch::run(&plan, branching, &summary.marks)
            }
            None => {
                let (verdict, outcome) = run(&plan, Telling::Nothing);
                (verdict, outcome, Vec::new())
            }
        };
        if verdict == Verdict::Passed && seed.is_multiple_of(TWICE_EVERY) {
            verdict = run_twice(&plan);
        }
        let mut has_failed = false;
        if let Some(failed) = summary.add(seed, &verdict, outcome.as_ref()) {
            teller.failure(failed)?;
            has_failed = true;
        }
        for branch in &branches {
            if has_failed && !arguments.keep_going {
                break;
            }
            if let Some(failed) = summary.add_branch(seed, branch) {
                teller.failure(failed)?;
                has_failed = true;
            }
        }
        if has_failed && !arguments.keep_going {
            break;
        }
        teller.so_far(&summary)?;
    }
    Ok(summary)
}

/// Starts as many processes as were asked for, each with its part, and puts together what they come to.
fn in_processes(teller: &mut Teller<'_>) -> Result<Summary, String> {
    let arguments = teller.arguments;
    let mut children = Vec::new();
    for job in 0..arguments.jobs {
        children.push(start(arguments, arguments.shard.part(job, arguments.jobs))?);
    }
    let mut parts = vec![Summary::default(); children.len()];
    let mut is_over = vec![false; children.len()];
    let (sender, receiver) = mpsc::channel();
    let read = std::thread::scope(|scope| {
        for (job, child) in children.iter_mut().enumerate() {
            let output = child.stdout.take().ok_or("a child without output")?;
            let sender = sender.clone();
            // A thread for each child reads what it prints; runs are in the children.
            scope.spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send((job, line)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let result = listen(teller, &receiver, &mut parts, &mut is_over);
        // After a failure nobody waits for the others, whose threads end with them.
        children.iter_mut().for_each(|child| drop(child.kill()));
        result
    });
    for child in &mut children {
        child.wait().map_err(|error| error.to_string())?;
    }
    let is_stopped = read?;
    if let Some(job) = is_over.iter().position(|is_over| !is_over && !is_stopped) {
        // No panic ends a process; running out of stack or of memory does.
        let seeds = parts[job].seeds;
        eprintln!(
            "process {} of {} ended without a word after {seeds} seeds or more",
            job + 1,
            arguments.jobs
        );
        teller.has_crashed = true;
    }
    let mut summary = Summary::default();
    parts.into_iter().for_each(|part| summary.merge(part));
    Ok(summary)
}

/// Reads what children print until all have said what they came to, or until the first failure if that is the end. Says
/// whether it was.
fn listen(
    teller: &mut Teller<'_>,
    receiver: &mpsc::Receiver<(usize, String)>,
    parts: &mut [Summary],
    is_over: &mut [bool],
) -> Result<bool, String> {
    let mut stopped_by = None;
    for (job, text) in receiver {
        // After the failure that ends it, only what that process came to is of interest.
        if stopped_by.is_some_and(|by| by != job) {
            continue;
        }
        let line = serde_json::from_str(&text).map_err(|error| format!("a child said {text:?}: {error}"))?;
        match line {
            Line::Failure(failed) => {
                teller.failure(&failed)?;
                if !teller.arguments.keep_going {
                    stopped_by = Some(job);
                }
            }
            Line::SoFar(part) => parts[job] = part,
            Line::Summary(part) => {
                parts[job] = part;
                is_over[job] = true;
                if stopped_by.is_some() {
                    return Ok(true);
                }
            }
        }
        if teller.is_due() {
            let mut summary = Summary::default();
            parts.iter().for_each(|part| summary.merge(part.clone()));
            teller.so_far(&summary)?;
        }
    }
    Ok(stopped_by.is_some())
}

fn start(arguments: &Arguments, shard: Shard) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["sweep", "--json", "--so-far"]);
    command.args(["--seeds", &format!("{}..{}", arguments.seeds.0, arguments.seeds.1)]);
    command.args(["--shard", &format!("{}/{}", shard.index + 1, shard.count)]);
    command.args(arguments.broken.words());
    if let Some(branches) = arguments.branch {
        command.args(["--branch", &branches.to_string(), "--rare", &arguments.rare.to_string()]);
    }
    if arguments.keep_going {
        command.arg("--keep-going");
    }
    if let Some(minutes) = &arguments.minutes {
        command.args(["--minutes", &minutes.text]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().map_err(|error| format!("cannot start another process: {error}"))
}

/// Tells whoever asked what a sweep comes to: people in lines, programs in JSON.
struct Teller<'a> {
    arguments: &'a Arguments,
    /// When progress was told last.
    told: Option<Duration>,
    watch: Stopwatch,
    /// Whether a process ended before it had said what it came to.
    has_crashed: bool,
}

impl Teller<'_> {
    fn failure(&self, failed: &FailedSeed) -> Result<(), String> {
        if self.arguments.json {
            return self.json(&Line::Failure(failed.clone()));
        }
        self.clear();
        let branch = if failed.change.is_some() { ", a branch" } else { "" };
        say!("seed {}{branch}: {}", failed.seed, failed.sentence);
        say!("replay: {}", self.arguments.broken.replay_line(failed));
        Ok(())
    }

    /// Whether it is time to tell progress.
    fn is_due(&self) -> bool {
        self.told.is_none_or(|told| self.watch.wall() > told + TELL_EVERY)
    }

    fn so_far(&mut self, summary: &Summary) -> Result<(), String> {
        if !self.is_due() {
            return Ok(());
        }
        self.told = Some(self.watch.wall());
        if self.arguments.so_far {
            return self.json(&Line::SoFar(summary.clone()));
        }
        if self.shows_progress() {
            let all = self.arguments.shard.seeds(self.arguments.seeds.0, self.arguments.seeds.1).count();
            eprint!("\r{} of {all} seeds, {} failed ", summary.seeds, summary.failures.len());
            // A terminal that cannot be written to loses nothing that counts.
            let _ = std::io::stderr().flush();
        }
        Ok(())
    }

    fn shows_progress(&self) -> bool {
        !self.arguments.json && std::io::stderr().is_terminal()
    }

    fn clear(&self) {
        if self.shows_progress() && self.told.is_some() {
            eprint!("\r\x1b[K");
        }
    }

    fn json(&self, line: &Line) -> Result<(), String> {
        say!("{}", serde_json::to_string(line).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn end(&self, summary: &Summary) -> Result<(), String> {
        if self.arguments.json {
            return self.json(&Line::Summary(summary.clone()));
        }
        self.clear();
        for group in summary.failure_groups() {
            let first = group[0];
            say!(
                "\n{} in {} seeds, in {} after the fewest events ({}):\n  {}\n  {}",
                first.signature,
                group.len(),
                first.seed,
                first.events,
                first.sentence,
                self.arguments.broken.replay_line(first)
            );
        }
        let seconds = self.watch.wall().as_secs_f64().max(1e-9);
        say!(
            "{} seeds in {seconds:.1} s, {} failed: {:.0} seeds/s, {:.0} simulated seconds per wall second, {:.0} events/s",
            summary.seeds,
            summary.failures.len(),
            summary.seeds as f64 / seconds,
            summary.virtual_us as f64 / 1e6 / seconds,
            summary.events as f64 / seconds
        );
        if self.arguments.branch.is_some() {
            say!("{} runs branched off from those of the seeds", summary.branches);
        }
        for (name, runs) in summary.marks.rarest_first() {
            let never = match Coverage::out_of_reach(name) {
                _ if runs > 0 => String::new(),
                None => "  (never: this sweep proves nothing about it)".to_owned(),
                Some(why) => format!("  (never: {why})"),
            };
            say!("{runs:>12} {name}{never}");
        }
        Ok(())
    }
}
