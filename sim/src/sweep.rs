//! Runs of one plan and of many seeds, with what a panic comes to.

use crate::branch::Branch;
use crate::marks::Coverage;
use crate::plan::{Mutation, Plan, WeatherChange};
use crate::shrink::{Found, Signature};
use crate::trace::Telling;
use crate::world::{Failure, Outcome, World};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

/// How a run ended; each way has its exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every property held.
    Passed,
    /// A property did not hold, or something did not come to pass in time.
    Failed(Failure),
    /// The core or the simulator panicked.
    Panicked(Panic),
    /// Two runs of one plan differed.
    Nondeterministic(String),
}

/// A panic of the core or the simulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// The file, as the compiler was given it, with directories above the package left out.
    pub file: String,
    /// The line.
    pub line: u32,
    /// What it said.
    pub message: String,
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

    /// The failure of a property, if it is one.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Failed(failure) => Some(failure.clone()),
            Self::Passed | Self::Panicked(_) | Self::Nondeterministic(_) => None,
        }
    }

    /// The whole in one line.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::Failed(failure) => failure.to_string(),
            Self::Panicked(Panic { file, line, message }) => format!("panic: {file}:{line}: {message}"),
            Self::Nondeterministic(text) => format!("nondeterminism: {text}"),
        }
    }

    /// What the failure is known by; nothing if there is none.
    #[must_use]
    pub fn signature(&self) -> Option<Signature> {
        let name = match self {
            Self::Passed => return None,
            Self::Failed(Failure::Safety(violation)) => violation.property.to_owned(),
            Self::Failed(Failure::Liveness(_)) => "liveness".to_owned(),
            Self::Panicked(panic) => panic.name(),
            Self::Nondeterministic(_) => "nondeterminism".to_owned(),
        };
        Some(Signature(name))
    }
}

/// As much of a panic's message as its name has.
const PANIC_NAME_CHARS: usize = 80;

impl Panic {
    /// Where it was and what it said, without what differs from run to run: lines of code, and all numbers.
    fn name(&self) -> String {
        let head = self.message.lines().next().unwrap_or_default();
        let mut name = String::new();
        for char in head.chars() {
            match char {
                '0'..='9' if name.ends_with('#') => {}
                '0'..='9' => name.push('#'),
                other => name.push(other),
            }
        }
        let head: String = name.chars().take(PANIC_NAME_CHARS).collect();
        format!("panic in {}: {head}", self.file)
    }
}

thread_local! {
    /// Whether this thread is in a run, and where that run panicked last.
    static IN_RUN: RefCell<(bool, Option<(String, u32)>)> = const { RefCell::new((false, None)) };
}

/// Takes a panic of a run for a result: it is noted where it was, and nothing is printed.
///
/// # Errors
/// The panic.
pub fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let is_ours = IN_RUN.with_borrow_mut(|(is_in_run, at)| {
                *at = info.location().map(|location| (short(location.file()), location.line()));
                *is_in_run
            });
            if !is_ours {
                usual(info);
            }
        }));
    });
    IN_RUN.set((true, None));
    let result = catch_unwind(AssertUnwindSafe(run));
    let (_, at) = IN_RUN.replace((false, None));
    result.map_err(|panic| {
        let (file, line) = at.unwrap_or_default();
        Panic { file, line, message: words_of(&*panic) }
    })
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "without words".to_owned())
}

/// A path from the directory of its package on.
fn short(path: &str) -> String {
    let path = path.replace('\\', "/");
    let Some(source) = path.rfind("/src/") else { return path };
    let package = path[..source].rfind('/').map_or(0, |slash| slash + 1);
    path[package..].to_owned()
}

/// Runs a plan, and takes a panic for a result. There is no outcome if the world could not even be made.
#[must_use]
pub fn run(plan: &Plan, telling: Telling) -> (Verdict, Option<Outcome>) {
    run_in(|| World::new(plan, telling))
}

/// As [`run`], in the world that is made.
pub fn run_in(make: impl FnOnce() -> World) -> (Verdict, Option<Outcome>) {
    let world = match catch(make) {
        Ok(world) => world,
        Err(panic) => return (Verdict::Panicked(panic), None),
    };
    let (verdict, outcome) = run_world(world);
    (verdict, Some(outcome))
}

/// Runs a world to its end, and takes a panic for a result.
pub(crate) fn run_world(mut world: World) -> (Verdict, Outcome) {
    let verdict = match catch(|| world.run()) {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(failure)) => Verdict::Failed(failure),
        Err(panic) => Verdict::Panicked(panic),
    };
    // A world that panicked still says how far it came.
    let outcome = world.outcome(verdict.failure());
    (verdict, outcome)
}

/// Runs a plan in two worlds at once and compares them after every event. A difference is a verdict of its own.
#[must_use]
pub fn run_twice(plan: &Plan) -> Verdict {
    let make = || catch(|| World::new(plan, Telling::Nothing));
    let (mut one, mut other) = match (make(), make()) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(panic), Err(same)) if panic == same => return Verdict::Panicked(panic),
        (Err(panic), Err(_) | Ok(_)) | (Ok(_), Err(panic)) => {
            return Verdict::Nondeterministic(format!(
                "one of two runs of one plan panics at once: {}",
                panic.message
            ));
        }
    };
    let mut event: u64 = 0;
    loop {
        event += 1;
        let (step, same) = (Step::of(&mut one), Step::of(&mut other));
        if step.hash != same.hash || step.verdict != same.verdict {
            return Verdict::Nondeterministic(format!(
                "two runs of one plan part at event {event}, at {} us: after it {step} in one and {same} in the other; \
                 `replay` shows what comes before",
                one.now()
            ));
        }
        if let Some(verdict) = step.verdict {
            return verdict;
        }
    }
}

/// What one event of a world came to.
#[derive(Debug)]
struct Step {
    hash: u64,
    /// Nothing while the run goes on.
    verdict: Option<Verdict>,
}

impl Step {
    fn of(world: &mut World) -> Self {
        let verdict = match catch(|| world.go_on()) {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some(Verdict::Passed),
            Ok(Err(failure)) => Some(Verdict::Failed(failure)),
            Err(panic) => Some(Verdict::Panicked(panic)),
        };
        Self { hash: world.trace().hash(), verdict }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hash, verdict } = self;
        match verdict {
            None => write!(f, "the hash is {hash:016x}"),
            Some(verdict) => write!(f, "the hash is {hash:016x} and the run over ({})", verdict.line()),
        }
    }
}

/// How a plan fails, as [`crate::shrink::shrink`] asks.
#[must_use]
pub fn judge(plan: &Plan) -> Option<Found> {
    let (verdict, outcome) = run(plan, Telling::Nothing);
    let at_us = outcome.map_or(0, |outcome| outcome.virtual_us);
    verdict.signature().map(|signature| Found { signature, at_us })
}

/// The plan of a seed, with a rule of the world broken if one is named.
#[must_use]
pub fn plan_of(seed: u64, mutation: Option<Mutation>) -> Plan {
    Plan { mutation, ..Plan::draw(seed) }
}

/// The part of a sweep that falls to one of several machines or processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 0.
    pub index: u64,
    /// Of how many.
    pub count: u64,
}

impl Shard {
    /// All there is.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// The part of a part: one of `count` of them.
    #[must_use]
    pub const fn part(self, index: u64, count: u64) -> Self {
        Self { index: self.index + self.count * index, count: self.count * count }
    }

    /// The seeds of this part.
    pub fn seeds(self, from: u64, to: u64) -> impl Iterator<Item = u64> {
        (from..to).filter(move |seed| (seed - from) % self.count == self.index)
    }
}

/// A seed that did not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedSeed {
    /// The seed.
    pub seed: u64,
    /// How the weather of the run that failed differs from what the seed has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<WeatherChange>,
    /// What the failure is known by.
    pub signature: Signature,
    /// The exit code that stands for its kind.
    pub exit_code: u8,
    /// What happened, in one line.
    pub sentence: String,
    /// Inputs and outputs until then.
    pub events: u64,
    /// Virtual microseconds until then.
    pub virtual_us: u64,
}

/// What a sweep came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Runs that branched off from those of the seeds.
    #[serde(default)]
    pub branches: u64,
    /// Virtual microseconds in all.
    pub virtual_us: u64,
    /// Inputs and outputs in all.
    pub events: u64,
    /// In how many runs each mark was hit, branches included.
    pub marks: Coverage,
    /// The seeds that did not pass.
    pub failures: Vec<FailedSeed>,
}

impl Summary {
    /// Adds one run. Answers what failed, if something did.
    pub fn add(&mut self, seed: u64, verdict: &Verdict, outcome: Option<&Outcome>) -> Option<&FailedSeed> {
        self.seeds += 1;
        if let Some(outcome) = outcome {
            self.virtual_us += outcome.virtual_us;
            self.events += outcome.events;
            self.marks.add(&outcome.marks);
        }
        self.failures.push(FailedSeed {
            seed,
            change: None,
            signature: verdict.signature()?,
            exit_code: verdict.exit_code(),
            sentence: verdict.line(),
            events: outcome.map_or(0, |outcome| outcome.events),
            virtual_us: outcome.map_or(0, |outcome| outcome.virtual_us),
        });
        self.failures.last()
    }

    /// Adds what branched off from the run of a seed. Answers what failed, if something did.
    pub fn add_branch(&mut self, seed: u64, branch: &Branch) -> Option<&FailedSeed> {
        let Branch { change, verdict, outcome, events_before, .. } = branch;
        self.branches += 1;
        // What it has in common with the other run was simulated once.
        self.virtual_us += outcome.virtual_us.saturating_sub(change.at_us);
        self.events += outcome.events - events_before;
        self.marks.add(&outcome.marks);
        self.failures.push(FailedSeed {
            seed,
            change: Some(*change),
            signature: verdict.signature()?,
            exit_code: verdict.exit_code(),
            sentence: verdict.line(),
            events: outcome.events,
            virtual_us: outcome.virtual_us,
        });
        self.failures.last()
    }

    /// Adds what another part of the sweep came to.
    pub fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.branches += other.branches;
        self.virtual_us += other.virtual_us;
        self.events += other.events;
        self.marks.merge(&other.marks);
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failed| failed.seed);
    }

    /// The failures by what they are known by, those of the most seeds first, and in each the one that comes after the
    /// fewest events first.
    #[must_use]
    pub fn failure_groups(&self) -> Vec<Vec<&FailedSeed>> {
        let mut groups: BTreeMap<&Signature, Vec<&FailedSeed>> = BTreeMap::new();
        for failed in &self.failures {
            groups.entry(&failed.signature).or_default().push(failed);
        }
        let mut groups: Vec<Vec<&FailedSeed>> = groups.into_values().collect();
        for group in &mut groups {
            group.sort_by_key(|failed| (failed.events, failed.seed));
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
        groups
    }

    /// The exit code of the first seed that failed, 0 if none has.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.failures.iter().min_by_key(|failed| failed.seed).map_or(0, |failed| failed.exit_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::{Marks, WorldMark};

    #[test]
    fn shards_and_their_parts_take_every_seed_once() {
        let shards = (0..3).flat_map(|index| {
            let shard = Shard { index, count: 3 };
            (0..2).map(move |part| shard.part(part, 2))
        });
        let mut seeds: Vec<u64> = shards.flat_map(|shard| shard.seeds(100, 151)).collect();
        seeds.sort_unstable();
        assert_eq!(seeds, (100..151).collect::<Vec<_>>());
        assert_eq!(Shard::WHOLE.seeds(7, 10).collect::<Vec<_>>(), [7, 8, 9]);
    }

    #[test]
    fn a_panic_is_caught_with_its_place_and_known_by_what_stays_the_same() {
        let panic = catch(|| panic!("offset {} of {} is no offset", 1_234, 56)).expect_err("it panics");
        assert_eq!(
            (panic.file.as_str(), panic.message.as_str()),
            ("sim/src/sweep.rs", "offset 1234 of 56 is no offset")
        );
        let other =
            Panic { line: panic.line + 1, message: panic.message.replace("56", "9"), ..panic.clone() };
        let (panic, other) = (Verdict::Panicked(panic), Verdict::Panicked(other));
        assert_eq!(panic.signature(), other.signature());
        assert_eq!(
            panic.signature().map(|signature| signature.0),
            Some("panic in sim/src/sweep.rs: offset # of # is no offset".to_owned())
        );
    }

    #[test]
    fn paths_are_short() {
        assert_eq!(short("core/src/log/partition_log.rs"), "core/src/log/partition_log.rs");
        assert_eq!(short("/a/b/bytes-1.12.1/src/lib.rs"), "bytes-1.12.1/src/lib.rs");
    }

    fn failed(seed: u64, signature: &str, events: u64) -> FailedSeed {
        let signature = Signature(signature.to_owned());
        let sentence = String::new();
        FailedSeed { seed, change: None, signature, exit_code: 1, sentence, events, virtual_us: 0 }
    }

    #[test]
    fn parts_of_a_sweep_come_to_the_same_in_any_order() {
        let part = |failures: &[FailedSeed], hit: &[WorldMark]| {
            let (mut marks, mut coverage) = (Marks::default(), Coverage::default());
            hit.iter().for_each(|mark| marks.hit(*mark));
            coverage.add(&marks);
            let failures = failures.to_vec();
            Summary { seeds: 5, branches: 2, virtual_us: 10, events: 100, marks: coverage, failures }
        };
        let one = part(&[failed(8, "log_prefix", 50)], &[WorldMark::Kill]);
        let two = part(
            &[failed(3, "topics", 70), failed(9, "log_prefix", 20)],
            &[WorldMark::Kill, WorldMark::Pause],
        );
        let (mut forward, mut backward) = (one.clone(), two.clone());
        forward.merge(two);
        backward.merge(one);
        assert_eq!(forward, backward);
        let marks = forward.marks.rarest_first();
        assert_eq!(marks.last(), Some(&("process.kill", 2)));
        assert_eq!(marks.first().map(|(_, runs)| *runs), Some(0));
        let seeds: Vec<Vec<u64>> = forward
            .failure_groups()
            .iter()
            .map(|group| group.iter().map(|failed| failed.seed).collect())
            .collect();
        assert_eq!(seeds, [vec![9, 8], vec![3]], "most first, and the fastest of them first");
        let text = serde_json::to_string(&forward).expect("a summary can be written");
        assert_eq!(serde_json::from_str::<Summary>(&text).expect("and read"), forward);
    }
}
