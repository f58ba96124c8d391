//! `cargo sim museum`: how soon the swarm notices each wrong rule, and how small what it finds becomes.

use super::stopwatch::Stopwatch;
use serde::Serialize;
use sordini_core::museum::Exhibit;
use sordini_sim::museum::{Finding, by_hand, find};
use sordini_sim::plan::Plan;
use sordini_sim::shrink::{Shrunk, shrink};
use sordini_sim::sweep::judge;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print the story of each exhibit, and run nothing
    #[arg(long, conflicts_with_all = ["shrink", "json"])]
    list: bool,
    /// An exhibit by its id or by the name of its rule, may be given more than once; all if none is given
    #[arg(long, value_name = "NAME", value_parser = exhibit)]
    exhibit: Vec<Exhibit>,
    /// How many failing seeds of each exhibit to find, the lowest first
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    find: u64,
    /// The seed to begin with
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// How many seconds of computing it may take to find a failing seed
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
    /// Shrink what is found
    #[arg(long)]
    shrink: bool,
    /// How many seconds of computing it may take to shrink a plan
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    shrink_seconds: u64,
    /// Print JSON lines: each finding, and the statistics at the end
    #[arg(long)]
    json: bool,
}

fn exhibit(name: &str) -> Result<Exhibit, String> {
    let by_id = Exhibit::ALL.into_iter().find(|exhibit| exhibit.id() == name);
    by_id.or_else(|| Exhibit::from_name(name)).ok_or_else(|| format!("the museum has no exhibit {name}"))
}

/// How many runs shrinking one plan may take.
const RUNS_MAX: u64 = 4_000;

/// A failing seed of an exhibit, or that none was found.
#[derive(Debug, Serialize)]
struct Row {
    id: &'static str,
    name: &'static str,
    /// Nothing if the time was over before one failed.
    seed: Option<u64>,
    /// Seconds of computing since the finding before, or since the beginning of the exhibit.
    seconds: f64,
    signature: Option<String>,
    sentence: Option<String>,
    shrunk: Option<ShrunkRow>,
    /// The line that shows it again.
    replay: Option<String>,
    /// Why tests of the core walk it by hand, if they do and it was not found.
    by_hand: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct ShrunkRow {
    items_before: usize,
    items: usize,
    seconds: f64,
    runs: u64,
    is_finished: bool,
}

/// A median and a 90th percentile, by nearest rank.
#[derive(Debug, Serialize)]
struct Spread {
    count: usize,
    median: f64,
    p90: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Statistics {
    /// Seconds to the first finding of each exhibit that was found.
    seconds_to_find: Option<Spread>,
    /// Of everything that was shrunk.
    items: Option<Spread>,
    seconds_to_shrink: Option<Spread>,
    /// The ids of those that were not found and that tests of the core walk by hand.
    by_hand: Vec<&'static str>,
    /// The ids of the others that were not found.
    not_found: Vec<&'static str>,
}

pub(crate) fn museum(arguments: &Arguments) -> Result<u8, String> {
    let exhibits =
        if arguments.exhibit.is_empty() { Exhibit::ALL.to_vec() } else { arguments.exhibit.clone() };
    if arguments.list {
        for exhibit in exhibits {
            say!("{} {}\n    {}\n", exhibit.id(), exhibit.name(), exhibit.story());
        }
        return Ok(0);
    }
    let mut rows = Vec::new();
    for exhibit in exhibits {
        let mut next = arguments.from;
        for _ in 0..arguments.find {
            let (row, seed) = look_for(exhibit, next, arguments);
            if arguments.json {
                say!("{}", serde_json::to_string(&row).map_err(|error| error.to_string())?);
            } else {
                say!("{}", row.to_text());
            }
            rows.push(row);
            let Some(seed) = seed else { break };
            next = seed + 1;
        }
    }
    let statistics = Statistics::of(&rows);
    if arguments.json {
        say!("{}", serde_json::to_string(&statistics).map_err(|error| error.to_string())?);
    } else {
        statistics.tell();
    }
    Ok(u8::from(!statistics.not_found.is_empty()))
}

/// Looks for the lowest failing seed of an exhibit from `from` on. Answers with the seed, too.
fn look_for(exhibit: Exhibit, from: u64, arguments: &Arguments) -> (Row, Option<u64>) {
    let (watch, limit) = (Stopwatch::start(), Duration::from_secs(arguments.seconds));
    let finding = find(exhibit, from.., || watch.cpu() < limit);
    let seconds = watch.cpu().as_secs_f64();
    let shrunk = finding.as_ref().filter(|_| arguments.shrink);
    let shrunk = shrunk.and_then(|finding| shrink_finding(finding, arguments.shrink_seconds));
    let seed = finding.as_ref().map(|finding| finding.seed);
    let (signature, sentence) = finding.map(|finding| (finding.signature.0, finding.sentence)).unzip();
    let row = Row {
        id: exhibit.id(),
        name: exhibit.name(),
        seed,
        seconds,
        signature,
        sentence,
        shrunk,
        replay: seed.map(|seed| replay_line(seed, exhibit)),
        by_hand: if seed.is_none() { by_hand(exhibit) } else { None },
    };
    (row, seed)
}

/// The line that runs a seed with an exhibit again.
pub(super) fn replay_line(seed: u64, exhibit: Exhibit) -> String {
    format!("cargo sim run --seed {seed} --museum {}", exhibit.name())
}

fn shrink_finding(finding: &Finding, seconds: u64) -> Option<ShrunkRow> {
    let watch = Stopwatch::start();
    let shrunk = shrink_plan(&finding.plan, Duration::from_secs(seconds))?;
    Some(ShrunkRow {
        items_before: finding.plan.items().len(),
        items: shrunk.plan.items().len(),
        seconds: watch.cpu().as_secs_f64(),
        runs: shrunk.runs,
        is_finished: shrunk.is_finished,
    })
}

/// Shrinks a plan for as long as that. Nothing if it does not fail.
pub(super) fn shrink_plan(plan: &Plan, limit: Duration) -> Option<Shrunk> {
    let watch = Stopwatch::start();
    shrink(plan, RUNS_MAX, judge, || watch.cpu() < limit)
}

impl Row {
    fn to_text(&self) -> String {
        let seed = self.seed.map_or_else(|| "-".to_owned(), |seed| seed.to_string());
        let signature = self.signature.as_deref().unwrap_or("not found");
        let shrunk = self.shrunk.as_ref().map_or_else(String::new, |shrunk| {
            let unfinished = if shrunk.is_finished { "" } else { ", and there was no time to try all" };
            format!(
                " {} items of {} in {:.2} s{unfinished}",
                shrunk.items, shrunk.items_before, shrunk.seconds
            )
        });
        let below = match (&self.replay, self.by_hand) {
            (Some(line), _) => format!("\n    replay: {line}"),
            (None, Some(why)) => format!("\n    walked by hand, because {why}"),
            (None, None) => String::new(),
        };
        format!(
            "{} {:<31} seed {seed:>6} {:>7.2} s  {signature:<22}{shrunk}{below}",
            self.id, self.name, self.seconds
        )
    }
}

impl Statistics {
    fn of(rows: &[Row]) -> Self {
        let is_first =
            |(place, row): &(usize, &Row)| !rows[..*place].iter().any(|before| before.id == row.id);
        let firsts: Vec<&Row> = rows.iter().enumerate().filter(is_first).map(|(_, row)| row).collect();
        let shrunk = || rows.iter().filter_map(|row| row.shrunk.as_ref());
        Self {
            seconds_to_find: Spread::of(
                firsts.iter().filter(|row| row.seed.is_some()).map(|row| row.seconds).collect(),
            ),
            items: Spread::of(shrunk().map(|shrunk| shrunk.items as f64).collect()),
            seconds_to_shrink: Spread::of(shrunk().map(|shrunk| shrunk.seconds).collect()),
            by_hand: firsts.iter().filter(|row| row.by_hand.is_some()).map(|row| row.id).collect(),
            not_found: firsts
                .iter()
                .filter(|row| row.seed.is_none() && row.by_hand.is_none())
                .map(|row| row.id)
                .collect(),
        }
    }

    fn tell(&self) {
        for (what, spread) in [
            ("seconds to find the first", &self.seconds_to_find),
            ("items after shrinking", &self.items),
            ("seconds to shrink", &self.seconds_to_shrink),
        ] {
            if let Some(Spread { count, median, p90, max }) = spread {
                say!("{what}: median {median:.2}, 90th percentile {p90:.2}, at most {max:.2}, of {count}");
            }
        }
        if !self.by_hand.is_empty() {
            say!("walked by hand: {}", self.by_hand.join(", "));
        }
        if self.not_found.is_empty() {
            say!("every other exhibit was found");
        } else {
            say!("not found: {}", self.not_found.join(", "));
        }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let rank = |per_cent: usize| values.get((values.len() * per_cent).div_ceil(100).max(1) - 1).copied();
        Some(Self { count: values.len(), median: rank(50)?, p90: rank(90)?, max: rank(100)? })
    }
}
