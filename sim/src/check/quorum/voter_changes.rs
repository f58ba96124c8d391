//! `voter_changes`: the voters change by one at a time, and each change begins when the one before it and something of its
//! leader's epoch are committed, so that a majority of the old voters and one of the new ones have a voter in common; a node
//! counts by the voters that its log names last, be that committed or not, and by those before where its log is cut (K14).
//! And who is told that a change was made, has it committed (K17).

use super::Seen;
use super::committed_metadata::Committed;
use super::voter_log::VoterBatch;
use super::voter_set::{VoterKey, VoterSet};
use crate::check::Violation;
use crate::history::{Entry, Operation, Stage};
use sordini_core::node::QuorumView;
use std::collections::BTreeMap;
use std::sync::Arc;

fn violation(sentence: String) -> Violation {
    Violation { property: "voter_changes", sentence }
}

/// A change of the voters that was put into a log.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Where it stands.
    pub(super) base: i64,
    /// Of the leader that wrote it.
    epoch: i32,
    voters: Arc<VoterSet>,
}

impl Change {
    /// The change that a batch makes, if it makes one.
    pub(super) fn of(batch: &VoterBatch) -> Option<Self> {
        Some(Self { base: batch.base, epoch: batch.epoch, voters: Arc::clone(batch.voters.as_ref()?) })
    }

    /// A leader has put it into its log. `before` are those who voted before it, and where that stands, below 0 if in no log.
    pub(super) fn check(
        &self,
        node: usize,
        seen: &Seen,
        (named_at, before): (i64, Arc<VoterSet>),
    ) -> Result<(), Violation> {
        let Self { base, epoch, voters } = self;
        if *epoch != seen.epoch {
            return Ok(());
        }
        let change =
            format!("node {node} makes {voters} of the voters {before}, at offset {base} in epoch {epoch}");
        check_one(&before, voters).map_err(|why| violation(format!("{change}: {why}")))?;
        if before.is_same(voters) && seen.epoch_start == Some(*base) {
            // The first leader of all puts those into the log that formatting wrote.
            return Ok(());
        }
        let committed = seen.high_watermark.unwrap_or(0);
        if committed <= named_at {
            return Err(violation(format!(
                "{change}: the change before it, at {named_at}, is not committed, which ends at {committed}"
            )));
        }
        match seen.epoch_start.filter(|start| committed <= *start) {
            None => Ok(()),
            Some(start) => Err(violation(format!(
                "{change}: nothing of this epoch is committed, which begins at {start}, and what is ends at {committed}"
            ))),
        }
    }
}

/// One voter more or less, or the same with other addresses, or with the disks that nobody knew before.
fn check_one(before: &VoterSet, after: &VoterSet) -> Result<(), String> {
    if before.is_same(after) {
        return Ok(());
    }
    let (gone, new) = (before.beside(after), after.beside(before));
    if gone + new > 1 || after.is_empty() {
        return Err(format!("{gone} voters less and {new} more at once"));
    }
    Ok(())
}

/// A change of the voters is committed.
pub(super) fn check_committed(
    base: i64,
    before: Option<&VoterSet>,
    after: &VoterSet,
) -> Result<(), Violation> {
    let Some(before) = before else { return Ok(()) };
    check_one(before, after).map_err(|why| {
        violation(format!("at offset {base} {after} are committed to be the voters after {before}: {why}"))
    })
}

/// By whom a node counts, against what its log says at the place.
pub(super) fn check_view(
    node: usize,
    view: &QuorumView<'_>,
    voters: &VoterSet,
    named_at: Option<i64>,
) -> Result<(), Violation> {
    let ids = view.voters().into_iter().map(|id| id.0);
    let believed = VoterSet::new(ids.zip(view.voter_directories()));
    if believed == *voters {
        return Ok(());
    }
    let place = named_at.map_or_else(|| "that are none yet".to_owned(), |at| format!("of offset {at}"));
    Err(violation(format!(
        "node {node} takes {believed} for the voters, and by its log, {place}, they are {voters}"
    )))
}

/// What operators asked for, and were told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// How many sets of voters had been committed when each client asked for what it is waiting for.
    asked: BTreeMap<u64, usize>,
}

impl Told {
    pub(super) fn note(&mut self, entry: &Entry, committed: &Committed) -> Result<(), Violation> {
        if !matches!(entry.operation, Operation::AddVoter | Operation::RemoveVoter) {
            return Ok(());
        }
        let is_added = entry.operation == Operation::AddVoter;
        if entry.stage == Stage::Invoke {
            self.asked.insert(entry.client, committed.voters().count());
        }
        let key = entry.topic.split_once('@');
        let key: Option<VoterKey> =
            key.and_then(|(id, directory)| Some((id.parse().ok()?, directory.parse().ok()?)));
        let Some(key) = key.filter(|_| entry.stage == Stage::Ok) else { return Ok(()) };
        // Those who voted when it was asked for, and all since.
        let before = self.asked.get(&entry.client).map_or(0, |count| count.saturating_sub(1));
        if committed.voters().skip(before).any(|voters| voters.has(key) == is_added) {
            return Ok(());
        }
        Err(violation(format!(
            "client {} is told that the voter {} was {}, and no committed change says so",
            entry.client,
            entry.topic,
            if is_added { "added" } else { "removed" }
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_core::node::QuorumRole;
    use sordini_protocol::wire::{Str, Uuid};

    /// Voters, each with a directory of its number unless another is named.
    fn set(voters: &[i32]) -> Arc<VoterSet> {
        let key = |voter: &i32| (voter % 10, Uuid::from_u64s(0, u64::from(voter.unsigned_abs())));
        Arc::new(VoterSet::new(voters.iter().map(key)))
    }

    /// What is said of a leader of epoch 3, which begins at offset 10, that makes one of these sets the other at offset 20.
    fn judge(before: &[i32], named_at: i64, after: &[i32], high_watermark: i64) -> Result<(), String> {
        let seen = Seen {
            role: QuorumRole::Leader,
            epoch: 3,
            leader: Some(1),
            voted: None,
            high_watermark: Some(high_watermark),
            flushed_end: 20,
            log_end: 21,
            epoch_start: Some(10),
            log_start: 0,
            newest_snapshot: None,
        };
        let change = Change { base: 20, epoch: 3, voters: set(after) };
        change.check(0, &seen, (named_at, set(before))).map_err(|violation| violation.sentence)
    }

    #[test]
    fn one_voter_comes_or_goes_at_a_time() {
        for after in [&[1, 2, 3, 4][..], &[1, 2], &[1, 2, 3]] {
            assert_eq!(judge(&[1, 2, 3], 5, after, 20), Ok(()), "{after:?}");
        }
        for after in [&[1][..], &[1, 2, 3, 4, 5], &[1, 2, 4], &[1, 2, 13], &[]] {
            assert!(judge(&[1, 2, 3], 5, after, 20).is_err_and(|why| why.contains("at once")), "{after:?}");
        }
    }

    #[test]
    fn a_change_waits_for_the_one_before_it_and_for_its_leader_to_commit_something() {
        assert_eq!(judge(&[1, 2, 3], 15, &[1, 2], 16), Ok(()));
        assert!(judge(&[1, 2, 3], 15, &[1, 2], 15).is_err_and(|why| why.contains("is not committed")));
        assert!(judge(&[1, 2, 3], 5, &[1, 2], 10).is_err_and(|why| why.contains("nothing of this epoch")));
    }

    #[test]
    fn who_is_told_of_a_change_was_told_when_it_was_committed() {
        let mut told = Told::default();
        let mut judge = |stage, operation, committed: &Committed| {
            let name = Str::from(format!("2@{}", Uuid::from_u64s(0, 2)));
            told.note(&Entry::new(1, 70, stage, operation, name), committed).is_ok()
        };
        let (both, one) = (Committed::of_voters(&[set(&[1, 2])]), [set(&[1, 2]), set(&[1])]);
        assert!(judge(Stage::Invoke, Operation::RemoveVoter, &both));
        assert!(!judge(Stage::Ok, Operation::RemoveVoter, &both));
        assert!(judge(Stage::Ok, Operation::RemoveVoter, &Committed::of_voters(&one)));
        let none = Committed::of_voters(&one);
        assert!(judge(Stage::Invoke, Operation::AddVoter, &none));
        assert!(
            !judge(Stage::Ok, Operation::AddVoter, &none),
            "that it was one before it was asked for is long ago"
        );
    }
}
