//! Forks of a run at rare moments: where a run comes by a mark that few have come by, it is cloned, and the clones go on
//! under other weather. What led to the moment was rare; what may follow from it is tried several times.
//!
//! A branch is a plan too, the run's own with one [`WeatherChange`] more, and so it is replayed and shrunk like any other.

use crate::marks::Coverage;
use crate::plan::{Plan, WeatherChange};
use crate::sweep::{Verdict, catch, run_world};
use crate::trace::{Telling, hash_of};
use crate::world::{Failure, Outcome, World};

/// How a sweep forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branching {
    /// How many branches a moment gets.
    pub branches: u64,
    /// A mark is rare as long as fewer runs have come by it, branches included.
    pub rare: u64,
}

/// A run that parted from another.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The mark that was hit.
    pub mark: &'static str,
    /// Where it parts from the plan that was run.
    pub change: WeatherChange,
    /// Inputs and outputs that it has in common with that plan's run.
    pub events_before: u64,
    /// What it came to.
    pub verdict: Verdict,
    /// The whole run, from the beginning.
    pub outcome: Outcome,
}

/// Runs a plan as [`crate::sweep::run`] does, and then what branches off. There is no outcome if the world could not even
/// be made.
#[must_use]
pub fn run(
    plan: &Plan,
    branching: Branching,
    coverage: &Coverage,
) -> (Verdict, Option<Outcome>, Vec<Branch>) {
    let mut world = match catch(|| World::new(plan, Telling::Nothing)) {
        Ok(world) => world,
        Err(panic) => return (Verdict::Panicked(panic), None, Vec::new()),
    };
    let mut forks = Vec::new();
    let verdict = match catch(|| go(&mut world, branching.rare, coverage, &mut forks)) {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(failure)) => Verdict::Failed(failure),
        Err(panic) => Verdict::Panicked(panic),
    };
    let outcome = world.outcome(verdict.failure());
    let branches = forks.into_iter().flat_map(|(mark, world)| {
        (0..branching.branches).map(move |number| {
            let text = format!("{} {mark} {number}", plan.field_seed);
            let (world, change) = world.branch(hash_of(text.as_bytes()));
            let events_before = world.trace().events();
            let (verdict, outcome) = run_world(world);
            Branch { mark, change, events_before, verdict, outcome }
        })
    });
    (verdict, Some(outcome), branches.collect())
}

/// Runs a world to its end, and clones it after each event that hit a rare mark for the first time.
fn go(
    world: &mut World,
    rare: u64,
    coverage: &Coverage,
    forks: &mut Vec<(&'static str, World)>,
) -> Result<(), Failure> {
    let mut last = world.marks();
    let mut is_awaited: Vec<bool> =
        last.named().map(|(name, is_hit)| !is_hit && coverage.of(name) < rare).collect();
    while world.go_on()? {
        let marks = world.marks();
        if marks == last {
            continue;
        }
        for ((name, is_hit), is_awaited) in marks.named().zip(&mut is_awaited) {
            if is_hit && *is_awaited {
                *is_awaited = false;
                forks.push((name, world.clone()));
            }
        }
        last = marks;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Mutation;
    use crate::shrink::shrink;
    use crate::sweep;

    const BRANCHING: Branching = Branching { branches: 1, rare: 1 };

    fn with(plan: &Plan, change: WeatherChange) -> Plan {
        Plan { weather: vec![change], ..plan.clone() }
    }

    /// What another run came by, so that few moments are left to branch at.
    fn elsewhere() -> Coverage {
        let mut coverage = Coverage::default();
        for seed in [0, 2] {
            let (_, outcome) = sweep::run(&sweep::plan_of(seed, None), Telling::Nothing);
            coverage.add(&outcome.expect("the world can be made").marks);
        }
        coverage
    }

    #[test]
    fn a_branch_is_the_run_of_the_plan_with_its_change_of_weather() {
        let plan = sweep::plan_of(1, None);
        let (verdict, outcome, branches) = run(&plan, BRANCHING, &elsewhere());
        let outcome = outcome.expect("the world can be made");
        let (usual, same) = sweep::run(&plan, Telling::Nothing);
        assert_eq!(verdict, usual);
        assert_eq!(same.map(|same| same.trace_hash), Some(outcome.trace_hash));
        let mut others = 0;
        for branch in &branches {
            let (verdict, again) = sweep::run(&with(&plan, branch.change), Telling::Nothing);
            let again = again.expect("the world can be made");
            assert_eq!(again.trace_hash, branch.outcome.trace_hash, "{} {:?}", branch.mark, branch.change);
            assert_eq!(verdict, branch.verdict);
            others += usize::from(again.trace_hash != outcome.trace_hash);
        }
        assert!(others > 0 && others * 2 > branches.len(), "{others} of {} are other runs", branches.len());
    }

    #[test]
    fn what_enough_runs_came_by_has_no_branches() {
        let plan = sweep::plan_of(1, None);
        let mut coverage = elsewhere();
        let (_, outcome, branches) = run(&plan, BRANCHING, &coverage);
        coverage.add(&outcome.expect("the world can be made").marks);
        assert!(!branches.is_empty());
        assert!(run(&plan, BRANCHING, &coverage).2.is_empty());
    }

    #[test]
    fn a_change_of_weather_that_a_failure_does_not_need_is_shrunk_away() {
        let plan = sweep::plan_of(3, Some(Mutation::CompletionSwallowed));
        let plan = with(&plan, WeatherChange { at_us: 5, field_seed: 6 });
        let shrunk = shrink(&plan, 200, sweep::judge, || true).expect("it fails");
        assert_eq!(shrunk.plan.weather, []);
    }
}
