//! `cargo sim bench`.

use super::stopwatch::Stopwatch;
use serde::Serialize;
use sordini_sim::plan::Plan;
use sordini_sim::sweep::{Verdict, run_in};
use sordini_sim::trace::Telling;
use sordini_sim::world::{Outcome, World};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often each load is run
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What one load came to. Of several runs the fastest counts: whatever made the others slower was not the simulator.
#[derive(Debug, Serialize)]
struct Measured {
    load: &'static str,
    simulated_seconds: f64,
    events: u64,
    /// Of computing, in the fastest run.
    seconds: f64,
    /// Simulated seconds per second of computing, in the fastest run and in the one in the middle.
    speed: f64,
    speed_median: f64,
    events_per_second: f64,
    /// How much of the computing of the fastest run were the checks, by the fastest run without them, in percent.
    checks_percent: f64,
    /// Runs, each from the making of its world to the verdict, per second of computing, in the fastest time.
    runs_per_second: f64,
}

/// How many short runs are measured together.
const SEEDS: u64 = 100;

pub(crate) fn bench(arguments: &Arguments) -> Result<u8, String> {
    let mut all = Vec::new();
    for (load, plans) in [
        ("reference", vec![Plan::reference()]),
        ("idle", vec![Plan::idle()]),
        ("quorum", vec![Plan::reference_quorum()]),
        ("replicated", vec![Plan::reference_replicated()]),
        ("seeds", (1..=SEEDS).map(Plan::reference_seed).collect()),
    ] {
        let measured = match measure(load, &plans, arguments.times) {
            Ok(measured) => measured,
            Err(verdict) => {
                eprintln!("the {load} load: {}", verdict.line());
                return Ok(verdict.exit_code());
            }
        };
        if !arguments.json {
            say!(
                "{load:<10} {:>10.0} simulated seconds per second (median {:.0}): {:.0} s and {} events in {:.3} s, {:.0} \
                 events/s, {:.0} % of it for the checks; {:.1} runs/s",
                measured.speed,
                measured.speed_median,
                measured.simulated_seconds,
                measured.events,
                measured.seconds,
                measured.events_per_second,
                measured.checks_percent,
                measured.runs_per_second,
            );
        }
        all.push(measured);
    }
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?);
    }
    Ok(0)
}

/// Measures a load, which is one run or several. What it comes to instead if it does not pass, or not the same way each time.
fn measure(load: &'static str, plans: &[Plan], times: u32) -> Result<Measured, Verdict> {
    let (outcomes, seconds) = time(times, plans, |plan| World::new(plan, Telling::Nothing))?;
    let (unchecked, unchecked_seconds) =
        time(times, plans, |plan| World::new(plan, Telling::Nothing).without_checks())?;
    if hashes(&unchecked) != hashes(&outcomes) {
        return Err(Verdict::Nondeterministic("it is another run without the checks".to_owned()));
    }
    let simulated_seconds = outcomes.iter().map(|outcome| outcome.virtual_us).sum::<u64>() as f64 / 1e6;
    let events = outcomes.iter().map(|outcome| outcome.events).sum();
    let (fastest, median) = (seconds[0], seconds[seconds.len() / 2]);
    Ok(Measured {
        load,
        simulated_seconds,
        events,
        seconds: fastest,
        speed: simulated_seconds / fastest,
        speed_median: simulated_seconds / median,
        events_per_second: events as f64 / fastest,
        checks_percent: 100.0 * (1.0 - unchecked_seconds[0] / fastest),
        runs_per_second: plans.len() as f64 / fastest,
    })
}

/// Runs the worlds of plans so many times: the outcomes of the last time, and the seconds of computing of each, the fastest first.
/// They have to pass each time, and in the same way.
fn time(
    times: u32,
    plans: &[Plan],
    world: impl Fn(&Plan) -> World,
) -> Result<(Vec<Outcome>, Vec<f64>), Verdict> {
    let mut seconds = Vec::new();
    let mut last: Vec<Outcome> = Vec::new();
    for _ in 0..times {
        let mut outcomes = Vec::new();
        let mut computing = 0.0;
        for plan in plans {
            let watch = Stopwatch::start();
            let (verdict, outcome) = run_in(|| world(plan));
            computing += watch.cpu().as_secs_f64();
            let Some(outcome) = outcome.filter(|_| verdict == Verdict::Passed) else { return Err(verdict) };
            outcomes.push(outcome);
        }
        // A clock that counts in coarse steps may show none.
        seconds.push(computing.max(1e-6));
        if !last.is_empty() && hashes(&last) != hashes(&outcomes) {
            return Err(Verdict::Nondeterministic("two runs have different hashes".to_owned()));
        }
        last = outcomes;
    }
    seconds.sort_by(f64::total_cmp);
    Ok((last, seconds))
}

fn hashes(outcomes: &[Outcome]) -> Vec<u64> {
    outcomes.iter().map(|outcome| outcome.trace_hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_sim::plan::Mutation;

    fn verdict_of(mutation: Mutation) -> Verdict {
        let plan = Plan { mutation: Some(mutation), ..Plan::draw(1) };
        time(2, &[plan], |plan| World::new(plan, Telling::Nothing)).expect_err("it is broken on purpose")
    }

    #[test]
    fn a_load_that_does_not_pass_says_what_it_came_to() {
        assert_eq!(verdict_of(Mutation::CompletionSwallowed).exit_code(), 3);
        assert_eq!(verdict_of(Mutation::DelaysFromOutside).exit_code(), 5);
    }
}
