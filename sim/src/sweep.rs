//! Runs of many seeds, and of one, with what a panic comes to.

use crate::plan::{Mutation, Plan};
use crate::world::{self, Failure, Marks, Outcome, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a run ended; each way has its exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every property held.
    Passed,
    /// A property did not hold, or something did not come to pass in time.
    Failed(Failure),
    /// The core or the simulator panicked.
    Panicked(String),
    /// Two runs of one plan differed.
    Nondeterministic(String),
}

impl Verdict {
    /// The exit code of the command.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed(Failure::Safety(_)) => 1,
            Self::Failed(Failure::Liveness(_)) => 3,
            Self::Panicked(_) => 4,
            Self::Nondeterministic(_) => 5,
        }
    }

    /// The whole in one line.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::Failed(failure) => failure.to_string(),
            Self::Panicked(text) => format!("panic: {text}"),
            Self::Nondeterministic(text) => format!("nondeterminism: {text}"),
        }
    }
}

/// Runs a plan, and takes a panic for a result.
#[must_use]
pub fn run(plan: &Plan, transcript: bool) -> (Verdict, Option<Outcome>) {
    let result = catch_unwind(AssertUnwindSafe(|| world::run(plan, transcript)));
    match result {
        Ok(outcome) => {
            let verdict = outcome.failure.clone().map_or(Verdict::Passed, Verdict::Failed);
            (verdict, Some(outcome))
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            (Verdict::Panicked(text.unwrap_or_else(|| "without words".to_owned())), None)
        }
    }
}

/// Runs a plan twice and compares the two event by event. A difference is a verdict of its own.
#[must_use]
pub fn run_twice(plan: &Plan) -> Verdict {
    let steps = || {
        catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(plan.clone(), false);
            world.keep_steps();
            let _ = world.run();
            world.trace().steps().to_vec()
        }))
    };
    let (Ok(one), Ok(other)) = (steps(), steps()) else { return Verdict::Passed };
    if one == other {
        return Verdict::Passed;
    }
    let at = one.iter().zip(&other).position(|(one, other)| one != other);
    let at = at.unwrap_or_else(|| one.len().min(other.len()));
    Verdict::Nondeterministic(format!("two runs of one plan part before event {at} of {}", one.len()))
}

/// The plan of a seed, with a rule of the world broken if one is named.
#[must_use]
pub fn plan_of(seed: u64, mutation: Option<Mutation>) -> Plan {
    Plan { mutation, ..Plan::draw(seed) }
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Virtual microseconds in all.
    pub virtual_us: u64,
    /// Inputs and outputs in all.
    pub events: u64,
    /// What happened in all.
    pub marks: Marks,
    /// The seeds that did not pass.
    pub failures: Vec<(u64, Verdict)>,
}

impl Summary {
    /// Adds one run.
    pub fn add(&mut self, seed: u64, verdict: Verdict, outcome: Option<&Outcome>) {
        self.seeds += 1;
        if let Some(outcome) = outcome {
            self.virtual_us += outcome.virtual_us;
            self.events += outcome.events;
            self.marks.add(&outcome.marks);
        }
        if verdict != Verdict::Passed {
            self.failures.push((seed, verdict));
        }
    }
}
