//! Exhibits of the core's museum, looked for by seed: whether the swarm notices a wrong rule, and how soon.

use crate::plan::Plan;
use crate::shrink::Signature;
use crate::sweep::{Verdict, run};
use crate::trace::Telling;
use sordini_core::museum::Exhibit;

/// Exhibits that no drawn plan is known to find, each with the reason. Tests of the core walk them by hand.
pub const BY_HAND: [(Exhibit, &str); 1] = [(
    Exhibit::B04SnapshotNotVerified,
    "a snapshot of producers is wrong and as long as it should be only where a bit of it has flipped, and on a \
         damaged disk no check judges which sequences are refused",
)];

/// Why an exhibit is walked by hand, if it is.
#[must_use]
pub fn by_hand(exhibit: Exhibit) -> Option<&'static str> {
    BY_HAND.into_iter().find(|(other, _)| *other == exhibit).map(|(_, why)| why)
}

/// A plan that fails with an exhibit switched on and passes without.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The seed that drew it.
    pub seed: u64,
    /// The plan, with the exhibit in it.
    pub plan: Plan,
    /// What the failure is known by.
    pub signature: Signature,
    /// What happened, in one line.
    pub sentence: String,
}

/// The plan of a seed with an exhibit switched on in every node.
#[must_use]
pub fn plan_of(seed: u64, exhibit: Exhibit) -> Plan {
    Plan { museum: vec![exhibit.name().to_owned()], ..Plan::draw(seed) }
}

/// Runs a seed with an exhibit switched on. What it fails of is a finding if it passes with the exhibit off: what fails
/// either way says nothing about the exhibit.
#[must_use]
pub fn try_seed(seed: u64, exhibit: Exhibit) -> Option<Finding> {
    let plan = plan_of(seed, exhibit);
    let (verdict, _) = run(&plan, Telling::Nothing);
    let signature = verdict.signature()?;
    let (clean, _) = run(&Plan { museum: Vec::new(), ..plan.clone() }, Telling::Nothing);
    let finding = Finding { seed, plan, signature, sentence: verdict.line() };
    (clean == Verdict::Passed).then_some(finding)
}

/// The first finding among some seeds, as long as `has_time` says so.
pub fn find(
    exhibit: Exhibit,
    seeds: impl IntoIterator<Item = u64>,
    mut has_time: impl FnMut() -> bool,
) -> Option<Finding> {
    seeds.into_iter().take_while(|_| has_time()).find_map(|seed| try_seed(seed, exhibit))
}
