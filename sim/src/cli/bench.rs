//! `cargo sim bench`.

use super::stopwatch::Stopwatch;
use serde::Serialize;
use sordini_sim::plan::Plan;
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
    for (load, plan) in [("reference", Plan::reference()), ("idle", Plan::idle())] {
        let measured = measure(load, &plan, arguments.times)?;
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

fn measure(load: &'static str, plan: &Plan, times: u32) -> Result<Measured, String> {
    let (outcome, seconds) = time(load, times, || World::new(plan, Telling::Nothing))?;
    let (unchecked, unchecked_seconds) =
        time(load, times, || World::new(plan, Telling::Nothing).without_checks())?;
    if unchecked.trace_hash != outcome.trace_hash {
        return Err(format!("the {load} load is another run without the checks"));
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

/// Runs a world so many times: the outcome of the last, and the seconds of computing of each, the fastest first.
fn time(load: &str, times: u32, world: impl Fn() -> World) -> Result<(Outcome, Vec<f64>), String> {
    let mut seconds = Vec::new();
    let mut outcome = None;
    for _ in 0..times {
        let watch = Stopwatch::start();
        let mut world = world();
        let failure = world.run().err();
        let run = world.outcome(failure);
        // A clock that counts in coarse steps may show none.
        seconds.push(watch.cpu().as_secs_f64().max(1e-6));
        if let Some(failure) = &run.failure {
            return Err(format!("the {load} load does not pass: {failure}"));
        }
        outcome = Some(run);
    }
    seconds.sort_by(f64::total_cmp);
    Ok((outcome.ok_or("a load is run at least once")?, seconds))
}
