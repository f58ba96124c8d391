//! `cargo sim meta --longevity`: whether plans that fail still fail the same way after the world has got one more kind of
//! event, which is what a stored plan has to survive.

use super::meta::DIFFERENT;
use super::museum::{replay_line, shrink_plan};
use super::stopwatch::Stopwatch;
use sordini_core::museum::Exhibit;
use sordini_sim::museum::{Finding, find};
use sordini_sim::plan::Plan;
use sordini_sim::shrink::Signature;
use sordini_sim::sweep::run_in;
use sordini_sim::trace::Telling;
use sordini_sim::world::World;
use std::time::Duration;

/// How many plans in a hundred have to fail the same way.
const SAME_PER_CENT_MIN: u64 = 95;
/// How long to look for a failing seed, and how long to shrink it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many plans, of those that were looked at, fail as they did.
#[derive(Default)]
struct Column {
    plans: u64,
    same: u64,
}

pub(super) fn longevity(plans: u64, from: u64) -> Result<u8, String> {
    let findings = findings(plans, from);
    let count = findings.len() as u64;
    if count < plans {
        return Err(format!("only {count} failing plans were found"));
    }
    let (mut drawn, mut shrunk) = (Column::default(), Column::default());
    for (exhibit, finding) in &findings {
        let name = |kind: &str| format!("{} seed {}, {kind}", exhibit.id(), finding.seed);
        let replay = replay_line(finding.seed, *exhibit);
        drawn.look_at(&name("as drawn"), &replay, &finding.plan, &finding.signature);
        let small = shrink_plan(&finding.plan, PATIENCE).ok_or("a finding fails whenever it is run")?;
        let shrink = replay.replace("cargo sim run", "cargo sim shrink");
        shrunk.look_at(&name("shrunk"), &shrink, &small.plan, &finding.signature);
    }
    drawn.tell("as drawn");
    shrunk.tell("shrunk");
    Ok(if drawn.is_enough() && shrunk.is_enough() { 0 } else { DIFFERENT })
}

/// So many findings, one of each exhibit after the other, until there are enough or no exhibit has more.
fn findings(plans: u64, from: u64) -> Vec<(Exhibit, Finding)> {
    let mut findings = Vec::new();
    let mut open: Vec<(Exhibit, u64)> = Exhibit::ALL.into_iter().map(|exhibit| (exhibit, from)).collect();
    while !open.is_empty() {
        open.retain_mut(|(exhibit, next)| {
            if findings.len() as u64 == plans {
                return false;
            }
            let watch = Stopwatch::start();
            let Some(finding) = find(*exhibit, *next.., || watch.cpu() < PATIENCE) else { return false };
            *next = finding.seed + 1;
            findings.push((*exhibit, finding));
            true
        });
    }
    findings
}

impl Column {
    fn look_at(&mut self, name: &str, replay: &str, plan: &Plan, before: &Signature) {
        let (verdict, _) = run_in(|| World::with_observer(plan, Telling::Nothing));
        self.plans += 1;
        if verdict.signature().as_ref() == Some(before) {
            self.same += 1;
        } else {
            say!("{name}: {before} before, and with an observer: {}", verdict.line());
            say!("replay without one: {replay}");
        }
    }

    const fn is_enough(&self) -> bool {
        self.same * 100 >= self.plans * SAME_PER_CENT_MIN
    }

    fn tell(&self, kind: &str) {
        let per_cent = self.same as f64 * 100.0 / self.plans as f64;
        say!(
            "{} of {} plans {kind} fail the same way with an observer: {per_cent:.1} %",
            self.same,
            self.plans
        );
    }
}
