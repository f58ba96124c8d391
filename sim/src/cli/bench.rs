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
}

pub(crate) fn bench(arguments: &Arguments) -> Result<u8, String> {
    let mut all = Vec::new();
    for (load, plan) in [
        ("reference", Plan::reference()),
        ("idle", Plan::idle()),
        ("quorum", Plan::reference_quorum()),
        ("replicated", Plan::reference_replicated()),
    ] {
        let measured = match measure(load, &plan, arguments.times) {
            Ok(measured) => measured,
            Err(verdict) => {
                eprintln!("the {load} load: {}", verdict.line());
                return Ok(verdict.exit_code());
            }
        };
        if !arguments.json {
            say!(
                "{load:<10} {:>10.0} simulated seconds per second (median {:.0}): {:.0} s and {} events in {:.3} s, {:.0} \
                 events/s, {:.0} % of it for the checks",
                measured.speed,
                measured.speed_median,
                measured.simulated_seconds,
                measured.events,
                measured.seconds,
                measured.events_per_second,
                measured.checks_percent,
            );
        }
        all.push(measured);
    }
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?);
    }
    Ok(0)
}

/// Measures a load. What it comes to instead if it does not pass, or not the same way each time.
fn measure(load: &'static str, plan: &Plan, times: u32) -> Result<Measured, Verdict> {
    let (outcome, seconds) = time(times, || World::new(plan, Telling::Nothing))?;
    let (unchecked, unchecked_seconds) = time(times, || World::new(plan, Telling::Nothing).without_checks())?;
    if unchecked.trace_hash != outcome.trace_hash {
        return Err(Verdict::Nondeterministic("it is another run without the checks".to_owned()));
    }
    let simulated_seconds = outcome.virtual_us as f64 / 1e6;
    let (fastest, median) = (seconds[0], seconds[seconds.len() / 2]);
    Ok(Measured {
        load,
        simulated_seconds,
        events: outcome.events,
        seconds: fastest,
        speed: simulated_seconds / fastest,
        speed_median: simulated_seconds / median,
        events_per_second: outcome.events as f64 / fastest,
        checks_percent: 100.0 * (1.0 - unchecked_seconds[0] / fastest),
    })
}

/// Runs a world so many times: the outcome of the last, and the seconds of computing of each, the fastest first. It has to
/// pass each time, and in the same way.
fn time(times: u32, world: impl Fn() -> World) -> Result<(Outcome, Vec<f64>), Verdict> {
    let mut seconds = Vec::new();
    let mut last: Option<Outcome> = None;
    for _ in 0..times {
        let watch = Stopwatch::start();
        let (verdict, outcome) = run_in(&world);
        // A clock that counts in coarse steps may show none.
        seconds.push(watch.cpu().as_secs_f64().max(1e-6));
        let Some(outcome) = outcome.filter(|_| verdict == Verdict::Passed) else { return Err(verdict) };
        if last.as_ref().is_some_and(|last| last.trace_hash != outcome.trace_hash) {
            return Err(Verdict::Nondeterministic("two runs have different hashes".to_owned()));
        }
        last = Some(outcome);
    }
    seconds.sort_by(f64::total_cmp);
    Ok((last.expect("a load is run at least once"), seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_sim::plan::Mutation;

    fn verdict_of(mutation: Mutation) -> Verdict {
        let plan = Plan { mutation: Some(mutation), ..Plan::draw(1) };
        time(2, || World::new(&plan, Telling::Nothing)).expect_err("it is broken on purpose")
    }

    #[test]
    fn a_load_that_does_not_pass_says_what_it_came_to() {
        assert_eq!(verdict_of(Mutation::CompletionSwallowed).exit_code(), 3);
        assert_eq!(verdict_of(Mutation::DelaysFromOutside).exit_code(), 5);
    }
}
