//! `cargo sim shrink`.

use super::stopwatch::Stopwatch;
use super::{Broken, Source, seconds};
use sordini_sim::plan::Plan;
use sordini_sim::regression::Regression;
use sordini_sim::shrink::{Shrunk, Signature, shrink as shrink_plan};
use sordini_sim::sweep::judge;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    broken: Broken,
    /// Where to store the result, named for the cause: scenarios/regressions/CAUSE.json; if not given, it is printed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What a stored plan must come to whenever it is replayed: "passed", or the name of a property; "passed" if not given,
    /// unless something in the plan is broken on purpose
    #[arg(long, value_name = "NAME", value_parser = expect)]
    expect: Option<Signature>,
    /// How many runs it may take
    #[arg(long, value_name = "N", default_value_t = 4_000)]
    runs: u64,
    /// How many seconds of computing it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
}

fn expect(name: &str) -> Result<Signature, String> {
    if name == Regression::PASSED { Ok(Signature(name.to_owned())) } else { Signature::parse(name) }
}

pub(crate) fn shrink(arguments: &Arguments) -> Result<u8, String> {
    let plan = arguments.source.read(&arguments.broken)?;
    let watch = Stopwatch::start();
    let limit = Duration::from_secs(arguments.seconds);
    let shrunk = shrink_plan(&plan, arguments.runs, judge, || watch.cpu() < limit);
    let Shrunk { plan: small, found, runs, is_finished } =
        shrunk.ok_or("the plan passes: there is nothing to shrink")?;
    eprintln!(
        "{}: {} items of {} after {runs} runs in {:.1} s{}; fails after {}",
        found.signature,
        small.items().len(),
        plan.items().len(),
        watch.cpu().as_secs_f64(),
        if is_finished { "" } else { ", and there was no time to try all" },
        seconds(found.at_us),
    );
    let Some(path) = &arguments.out else {
        say!("{}", serde_json::to_string_pretty(&small).map_err(|error| error.to_string())?);
        return Ok(0);
    };
    let cause = path.file_stem().and_then(|stem| stem.to_str()).ok_or("the file is named for the cause")?;
    let expect = arguments.expect.clone().unwrap_or_else(|| expected(&small, found.signature));
    let stored = Regression::new(cause.replace(['-', '_'], " "), expect, small);
    std::fs::write(path, stored.to_text()).map_err(|error| format!("{}: {error}", path.display()))?;
    eprintln!("stored as {}; {} is expected of it from now on", path.display(), stored.expect);
    Ok(0)
}

/// A bug is mended, and then the plan passes; what is broken on purpose stays broken.
fn expected(plan: &Plan, found: Signature) -> Signature {
    if plan.museum.is_empty() && plan.mutation.is_none() {
        Signature(Regression::PASSED.to_owned())
    } else {
        found
    }
}
