//! From a plan that fails to a small one that fails the same way.
//!
//! First whatever lies behind the failure goes, then whole clients and kinds, then what delta debugging finds (Zeller and
//! Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002), then pairs, whose halves cannot go alone. Then
//! values sink. That is repeated until nothing changes any more.
//!
//! The result is a function of the plan, the judge and the budget in runs.

use crate::plan::{Item, Plan};
use crate::trace::hash_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What a failure is known by. Two plans fail the same way if they fail with one signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(
    /// The name of the property that does not hold, or what else there is to know it by.
    pub String,
);

/// The properties: the files of [`crate::check`], and what the world itself sees.
const PROPERTIES: [&str; 54] = [
    "access_control",
    "acknowledged_data",
    "answers",
    "append_after_error",
    "broker_epochs",
    "candidate_completeness",
    "check_quorum",
    "checkpoint_files",
    "clean_elections",
    "committed_metadata",
    "consistent_read",
    "consumer_reads",
    "durable_fetch",
    "eligible_replicas",
    "fault_budget",
    "follower_high_watermark",
    "high_watermark",
    "history",
    "honest_acks",
    "honest_administration",
    "honest_controller",
    "hosted_partitions",
    "index_recomputation",
    "kept_replicas",
    "leader_completeness",
    "leader_epochs",
    "log_prefix",
    "metadata_epochs",
    "metadata_high_watermark",
    "metadata_images",
    "metadata_snapshots",
    "no_duplicates",
    "node_lives",
    "one_history",
    "one_leader",
    "one_topic",
    "one_vote",
    "own_disk",
    "partition_leaders",
    "producer_id_blocks",
    "producer_ids",
    "producer_state",
    "reassignments",
    "retention",
    "sent_once",
    "single_leader",
    "topic_ids",
    "topics",
    "truncation_guard",
    "truthful_match",
    "truthful_view",
    "unique_batch",
    "voter_changes",
    "wire",
];

impl Signature {
    /// Reads one that some run may have: a property, "liveness", "nondeterminism", or a panic with its file and words.
    ///
    /// # Errors
    /// A sentence with all there are, if it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_known = PROPERTIES.contains(&text)
            || matches!(text, "liveness" | "nondeterminism")
            || text.starts_with("panic in ");
        let known = || PROPERTIES.join(", ");
        is_known.then(|| Self(text.to_owned())).ok_or_else(|| {
            format!(
                "no run fails with {text}; there are {}, liveness, nondeterminism, panic in FILE: WORDS",
                known()
            )
        })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a plan fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is known by.
    pub signature: Signature,
    /// The virtual time at which it was found, in microseconds.
    pub at_us: u64,
}

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan that was found to fail the same way.
    pub plan: Plan,
    /// How it fails.
    pub found: Found,
    /// How many plans were run.
    pub runs: u64,
    /// Whether no single step could make it smaller. If not, the budget was spent before that.
    pub is_finished: bool,
}

/// Up to how many items pairs are tried: beyond, they are too many.
const PAIRS_ITEMS_MAX: usize = 16;

/// Shrinks a plan in at most `runs_max` runs, as long as `has_time` says so. Nothing if the plan does not fail.
pub fn shrink(
    plan: &Plan,
    runs_max: u64,
    mut judge: impl FnMut(&Plan) -> Option<Found>,
    mut has_time: impl FnMut() -> bool,
) -> Option<Shrunk> {
    let found = judge(plan)?;
    let mut shrinker = Shrinker {
        plan: plan.clone(),
        found,
        runs: 1,
        runs_max,
        tried: BTreeSet::new(),
        is_spent: false,
        judge: &mut judge,
        has_time: &mut has_time,
    };
    loop {
        shrinker.cut_what_comes_after();
        shrinker.leave_out_groups();
        shrinker.leave_out_chunks();
        shrinker.leave_out_pairs();
        if !shrinker.simplify() {
            break;
        }
    }
    let Shrinker { plan, found, runs, is_spent, .. } = shrinker;
    Some(Shrunk { plan, found, runs, is_finished: !is_spent })
}

struct Shrinker<'a> {
    /// The smallest plan so far.
    plan: Plan,
    /// How it fails.
    found: Found,
    runs: u64,
    runs_max: u64,
    /// Hashes of plans that do not fail this way.
    tried: BTreeSet<u64>,
    is_spent: bool,
    judge: &'a mut dyn FnMut(&Plan) -> Option<Found>,
    has_time: &'a mut dyn FnMut() -> bool,
}

impl Shrinker<'_> {
    /// Goes on with `smaller` if it fails the same way.
    fn goes_on_with(&mut self, smaller: Plan) -> bool {
        if smaller == self.plan || self.is_spent {
            return false;
        }
        let text = serde_json::to_vec(&smaller).expect("a plan can be written");
        if !self.tried.insert(hash_of(&text)) {
            return false;
        }
        if self.runs >= self.runs_max || !(self.has_time)() {
            self.is_spent = true;
            return false;
        }
        self.runs += 1;
        match (self.judge)(&smaller) {
            Some(found) if found.signature == self.found.signature => {
                self.plan = smaller;
                self.found = found;
                true
            }
            Some(_) | None => false,
        }
    }

    fn cut_what_comes_after(&mut self) {
        let kept = self.plan.items().into_iter();
        let kept = kept.filter(|item| self.plan.item_at_us(item) <= self.found.at_us).collect();
        self.goes_on_with(self.plan.keeping(&kept));
    }

    fn leave_out_groups(&mut self) {
        // Names of items hold in the plan that they were listed from.
        let whole = self.plan.clone();
        let mut kept: BTreeSet<Item> = whole.items().into_iter().collect();
        for group in whole.item_groups() {
            let fewer = &kept - &group;
            if self.goes_on_with(whole.keeping(&fewer)) {
                kept = fewer;
            }
        }
    }

    /// Leaves out halves of the items, quarters, and so on down to single ones, and those again until none can go.
    fn leave_out_chunks(&mut self) {
        let whole = self.plan.clone();
        let mut kept = whole.items();
        let mut chunk = kept.len().div_ceil(2);
        while chunk > 0 {
            let mut has_changed = false;
            let mut end = kept.len();
            // From the end, because what comes late rarely causes what comes early.
            while end > 0 {
                let begin = end.saturating_sub(chunk);
                let fewer: BTreeSet<Item> = kept[..begin].iter().chain(&kept[end..]).cloned().collect();
                if self.goes_on_with(whole.keeping(&fewer)) {
                    kept.drain(begin..end);
                    has_changed = true;
                }
                end = begin;
            }
            if chunk > 1 || !has_changed {
                chunk /= 2;
            }
        }
    }

    /// Leaves out two items that only together can go, such as a fault and what makes up for it.
    fn leave_out_pairs(&mut self) {
        let mut has_changed = true;
        while has_changed {
            has_changed = false;
            let whole = self.plan.clone();
            let items = whole.items();
            if items.len() > PAIRS_ITEMS_MAX {
                return;
            }
            let pairs = (0..items.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
            for (one, other) in pairs {
                let fewer = items.iter().enumerate().filter(|(place, _)| ![one, other].contains(place));
                let fewer = fewer.map(|(_, item)| item.clone()).collect();
                if self.goes_on_with(whole.keeping(&fewer)) {
                    self.leave_out_chunks();
                    has_changed = true;
                    break;
                }
            }
        }
    }

    /// Lets values sink until none does. Says whether one has.
    fn simplify(&mut self) -> bool {
        let mut has_changed = false;
        loop {
            let mut sinks = false;
            let mut place = 0;
            let mut candidates = self.plan.simplifications();
            while place < candidates.len() && !self.is_spent {
                let candidate = std::mem::replace(&mut candidates[place], self.plan.clone());
                if self.goes_on_with(candidate) {
                    // What could be simplified in one respect may be once more in the same.
                    candidates = self.plan.simplifications();
                    sinks = true;
                } else {
                    place += 1;
                }
            }
            if !sinks {
                return has_changed;
            }
            has_changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ProducerPlan, SendPlan};

    const SENDS: u64 = 200;

    /// 200 batches, one per millisecond, with values that tell them apart.
    fn many_sends() -> Plan {
        let plan = Plan::reference();
        let send = plan.producers[0].sends[0];
        let sends = (0..SENDS).map(|number| SendPlan {
            at_us: 1_000 * (number + 1),
            value_bytes: 100 + u32::try_from(number).expect("few"),
            ..send
        });
        let producers = vec![ProducerPlan { sends: sends.collect(), ..plan.producers[0].clone() }];
        Plan { producers, consumers: Vec::new(), faults: Vec::new(), ..plan }
    }

    /// The numbers of the batches that are left.
    fn numbers(plan: &Plan) -> BTreeSet<u32> {
        let sends = plan.producers.iter().flat_map(|producer| &producer.sends);
        sends.filter_map(|send| send.value_bytes.checked_sub(100)).collect()
    }

    fn found(name: &str, at_us: u64) -> Option<Found> {
        Some(Found { signature: Signature(name.to_owned()), at_us })
    }

    /// Shrinks by the numbers of batches alone: whatever touches a value passes.
    #[track_caller]
    fn assert_shrinks_to(fails: impl Fn(&BTreeSet<u32>) -> bool, expected: &[u32], runs_max: u64) {
        let plan = many_sends();
        let values = |plan: &Plan| plan.keeping(&BTreeSet::new());
        let untouched = values(&plan);
        let judge = |plan: &Plan| {
            let is_one_of_ours = plan.producers.iter().flat_map(|producer| &producer.sends).all(|send| {
                send.value_bytes >= 100 && send.at_us == 1_000 * u64::from(send.value_bytes - 99)
            });
            let fails = is_one_of_ours && values(plan) == untouched && fails(&numbers(plan));
            if fails { found("it", u64::MAX) } else { None }
        };
        let shrunk = shrink(&plan, 10_000, judge, || true).expect("it fails");
        assert_eq!(numbers(&shrunk.plan).into_iter().collect::<Vec<_>>(), expected);
        assert!(shrunk.is_finished);
        let on_values = shrunk.plan.simplifications().len() as u64;
        assert!(shrunk.runs <= runs_max + 2 * on_values, "{} runs", shrunk.runs);
    }

    #[test]
    fn every_property_is_one_that_may_be_expected() {
        let files = |directory: &str| {
            let path = format!("{}/src/{directory}", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(path).expect("it is there");
            files.map(|file| file.expect("it can be listed").path()).collect::<Vec<_>>()
        };
        let mut names: BTreeSet<String> = [files("check"), files("check/quorum"), files("check/replication")]
            .iter()
            .flatten()
            .map(|path| path.file_stem().expect("files have names").to_string_lossy().into_owned())
            .filter(|name| {
                !matches!(
                    &**name,
                    "mod"
                        | "truth"
                        | "batches"
                        | "moved_logs"
                        | "example"
                        | "quorum"
                        | "replication"
                        | "cluster"
                        | "voter_log"
                        | "voter_set"
                        // A run that does not come to it in time has not lived.
                        | "converged_replicas"
                )
            })
            .collect();
        for path in files("world") {
            let text = std::fs::read_to_string(path).expect("it can be read");
            let calls = text.split(".violation(").skip(1).filter_map(|call| call.split('"').nth(1));
            names.extend(calls.map(str::to_owned));
        }
        assert_eq!(names, PROPERTIES.map(str::to_owned).into());
        assert!(Signature::parse("panic in core/src/x.rs: y").is_ok());
        assert!(Signature::parse("nonsense").is_err_and(|error| error.contains("truthful_view")));
    }

    #[test]
    fn one_of_two_hundred_is_found() {
        for needed in [0, 77, 199] {
            assert_shrinks_to(|sends| sends.contains(&needed), &[needed], 40);
        }
    }

    #[test]
    fn three_of_two_hundred_are_found_wherever_they_are() {
        assert_shrinks_to(
            |sends| [3, 90, 198].iter().all(|needed| sends.contains(needed)),
            &[3, 90, 198],
            120,
        );
        assert_shrinks_to(
            |sends| [99, 100, 101].iter().all(|needed| sends.contains(needed)),
            &[99, 100, 101],
            120,
        );
    }

    #[test]
    fn two_that_can_only_go_together_go_together() {
        // 50 spoils what 51 mends: it fails with both or with neither.
        let fails = |sends: &BTreeSet<u32>| sends.contains(&7) && sends.contains(&50) == sends.contains(&51);
        assert_shrinks_to(fails, &[7], 200);
    }

    #[test]
    fn one_that_is_in_the_way_of_leaving_out_much_does_not_stop_it() {
        // 120 hides it as long as a tenth of the others is there.
        let fails =
            |sends: &BTreeSet<u32>| sends.contains(&30) && (!sends.contains(&120) || sends.len() > 20);
        assert_shrinks_to(fails, &[30], 200);
    }

    #[test]
    fn what_lies_behind_the_failure_goes_in_one_run() {
        let mut runs = 0;
        let judge = |plan: &Plan| {
            runs += 1;
            let at_us = if plan.producers.is_empty() { return None } else { 5_000 };
            assert!(runs != 3 || numbers(plan).len() <= 5, "the second run has nothing behind the failure");
            found("it", at_us)
        };
        let shrunk = shrink(&many_sends(), 1_000, judge, || true).expect("it fails");
        assert_eq!(shrunk.plan.items().len(), 1);
    }

    #[test]
    fn another_failure_is_not_taken_for_the_same() {
        // Small plans fail in another way, as plans that make no sense may.
        let judge = |plan: &Plan| {
            let name = if plan.items().len() >= 20 { "the one" } else { "another" };
            found(name, u64::MAX)
        };
        let shrunk = shrink(&many_sends(), 2_000, judge, || true).expect("it fails");
        assert_eq!((shrunk.plan.items().len(), shrunk.found.signature.0.as_str()), (20, "the one"));
    }

    #[test]
    fn values_sink_to_the_least_that_fails() {
        let send_of = |plan: &Plan| plan.producers.first().map(|producer| producer.sends[0]);
        let judge = |plan: &Plan| {
            let send = send_of(plan)?;
            if send.at_us >= 120 && send.value_bytes >= 57 && plan.topics[0].partitions > 1 {
                found("it", u64::MAX)
            } else {
                None
            }
        };
        let shrunk = shrink(&many_sends(), 10_000, judge, || true).expect("it fails");
        let send = send_of(&shrunk.plan).expect("a batch is left");
        assert_eq!((send.at_us, send.value_bytes, send.records, send.partition), (120, 57, 1, 0));
        assert_eq!(shrunk.plan.topics[0].partitions, 2);
        assert_eq!(shrunk.plan.network.encoded_per_mille, 0);
        assert!(shrunk.is_finished);
    }

    #[test]
    fn a_plan_that_passes_has_nothing_to_be_shrunk_to() {
        assert!(shrink(&many_sends(), 100, |_| None, || true).is_none());
    }

    #[test]
    fn the_same_runs_give_the_same_plan_and_no_more_runs_than_were_given() {
        let once = |runs_max| {
            let mut runs = 0;
            let judge = |plan: &Plan| {
                runs += 1;
                if numbers(plan).contains(&77) { found("it", u64::MAX) } else { None }
            };
            let shrunk = shrink(&many_sends(), runs_max, judge, || true).expect("it fails");
            assert_eq!(shrunk.runs, runs);
            (shrunk.plan, shrunk.runs, shrunk.is_finished)
        };
        for runs_max in [1, 5, 12, 30] {
            let (plan, runs, is_finished) = once(runs_max);
            assert_eq!((runs, is_finished), (runs_max, false));
            assert_eq!(once(runs_max).0, plan);
        }
        assert!(once(100_000).2);
    }

    #[test]
    fn time_that_is_over_ends_it_with_the_smallest_so_far() {
        let mut asked = 0;
        let has_time = || {
            asked += 1;
            asked < 4
        };
        let judge = |plan: &Plan| if numbers(plan).contains(&77) { found("it", u64::MAX) } else { None };
        let shrunk = shrink(&many_sends(), 1_000, judge, has_time).expect("it fails");
        assert!(!shrunk.is_finished && numbers(&shrunk.plan).contains(&77));
    }
}
