//! `committed_metadata`: what was committed once stays what it is, at its offset, in every log that is committed that far
//! (K11); whoever comes to lead a later epoch has it (K3); nobody cuts it off (K8). And an epoch and an offset name one batch,
//! and all that lies before it, in all logs and for all time (K4).

use super::Seen;
use super::cluster::Cluster;
use super::voter_changes;
use super::voter_log::{VoterBatch, VoterLog};
use super::voter_set::VoterSet;
use crate::check::Violation;
use bytes::Bytes;
use sordini_core::node::QuorumRole;
use std::collections::BTreeMap;
use std::sync::Arc;

fn violation(sentence: String) -> Violation {
    Violation { property: "committed_metadata", sentence }
}

/// Every batch that was ever written, by epoch and offset, with who was seen to write it first.
#[derive(Clone, Debug, Default)]
pub(super) struct Written(BTreeMap<(i32, i64), (VoterBatch, usize)>);

impl Written {
    pub(super) fn check(&mut self, node: usize, batch: &VoterBatch) -> Result<(), Violation> {
        let entry = self.0.entry((batch.epoch, batch.base)).or_insert_with(|| (batch.without_bytes(), node));
        let (first, by) = entry;
        if first.is(batch) {
            if first.prefix == batch.prefix {
                return Ok(());
            }
            return Err(violation(format!(
                "node {node} writes the batch of offsets {} to {} of epoch {} behind other batches than node {by} did",
                batch.base, batch.end, batch.epoch
            )));
        }
        Err(violation(format!(
            "node {node} writes a batch of offsets {} to {} in epoch {}, and node {by} wrote another there, of offsets {} to {}",
            batch.base, batch.end, batch.epoch, first.base, first.end
        )))
    }
}

/// What is committed, from offset 0 on.
#[derive(Clone, Debug, Default)]
pub(super) struct Committed {
    /// Each batch with the epoch of whoever was the first to say so: it was committed in that epoch at the latest.
    batches: Vec<(VoterBatch, i32)>,
    /// Who votes, each time with the offset from which on.
    voters: Vec<(i64, Arc<VoterSet>)>,
}

impl Committed {
    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(0, |(batch, _)| batch.end)
    }

    /// Every batch: where it ends, its epoch and its bytes.
    pub(super) fn batches(&self) -> impl Iterator<Item = (i64, i32, &Bytes)> {
        self.batches.iter().map(|(batch, _)| (batch.end, batch.epoch, &batch.bytes))
    }

    /// Every set of voters that there ever was, oldest first.
    pub(super) fn voters(&self) -> impl Iterator<Item = &VoterSet> {
        self.voters.iter().map(|(_, voters)| &**voters)
    }

    /// Who votes as of what lies below an offset, if that says so, and where it stands.
    pub(super) fn voters_below(&self, end: i64) -> Option<(i64, Arc<VoterSet>)> {
        let below = self.voters.partition_point(|(at, _)| *at < end);
        self.voters[..below].last().cloned()
    }

    /// The hash of all that lies below an offset.
    pub(super) fn prefix_at(&self, end: i64) -> u64 {
        let count = self.batches.partition_point(|(batch, _)| batch.end <= end);
        count.checked_sub(1).map_or(0, |last| self.batches[last].0.prefix)
    }

    /// A voter says that more is committed than anybody did before. What that says of the cluster is `cluster`'s.
    pub(super) fn extend(
        &mut self,
        node: usize,
        seen: &Seen,
        log: &VoterLog,
        cluster: &mut Cluster,
    ) -> Result<(), Violation> {
        let high_watermark = seen.high_watermark.unwrap_or(0);
        for batch in log.from(self.end()) {
            if batch.base != self.end() || batch.end > high_watermark {
                break;
            }
            cluster.replay(batch)?;
            if let Some(voters) = &batch.voters {
                voter_changes::check_committed(batch.base, self.voters().last(), voters)?;
                self.voters.push((batch.base, Arc::clone(voters)));
            }
            self.batches.push((batch.clone(), seen.epoch));
        }
        if self.end() != high_watermark {
            return Err(violation(format!(
                "node {node} says that what lies below {high_watermark} is committed, and has batches up to {} there",
                self.end()
            )));
        }
        Ok(())
    }

    /// The batches between two offsets.
    fn between(&self, from: i64, to: i64) -> impl Iterator<Item = &VoterBatch> {
        let first = self.batches.partition_point(|(batch, _)| batch.base < from);
        self.batches[first..].iter().map(|(batch, _)| batch).take_while(move |batch| batch.end <= to)
    }

    /// What a voter takes for committed is what is committed.
    pub(super) fn check_log(
        &self,
        node: usize,
        high_watermark: i64,
        log: &VoterLog,
        compared_end: &mut i64,
    ) -> Result<(), Violation> {
        let end = high_watermark.min(log.end());
        if end <= *compared_end {
            return Ok(());
        }
        let mut own = log.from(*compared_end).iter();
        for committed in self.between(*compared_end, end) {
            match own.next() {
                Some(batch) if batch.is(committed) => *compared_end = batch.end,
                other => {
                    return Err(violation(format!(
                        "node {node} takes for committed what lies below {high_watermark}; of epoch {} and offsets {} to {}, \
                         which are, it has {}",
                        committed.epoch,
                        committed.base,
                        committed.end,
                        told(other)
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whoever begins to lead an epoch has all that was committed in earlier ones.
    pub(super) fn check_leader(
        &self,
        node: usize,
        before: Option<&Seen>,
        seen: &Seen,
        log: &VoterLog,
    ) -> Result<(), Violation> {
        let leads = |seen: &Seen| seen.role == QuorumRole::Leader;
        if !leads(seen) || before.is_some_and(|before| leads(before) && before.epoch == seen.epoch) {
            return Ok(());
        }
        // What lies before its log begins is in a snapshot.
        let earlier = self.batches.iter().take_while(|(_, committed_in)| *committed_in < seen.epoch);
        let earlier = earlier.skip_while(|(committed, _)| committed.base < log.start());
        let mut own = log.from(0).iter();
        for (committed, committed_in) in earlier {
            let other = own.next();
            if !other.is_some_and(|batch| batch.is(committed)) {
                return Err(violation(format!(
                    "node {node} leads epoch {}; of offsets {} to {}, which were committed in epoch {committed_in}, it has {}",
                    seen.epoch,
                    committed.base,
                    committed.end,
                    told(other)
                )));
            }
        }
        Ok(())
    }

    /// A voter cuts batches off its log.
    pub(super) fn check_cut(&self, node: usize, cut: &[VoterBatch]) -> Result<(), Violation> {
        let is_committed =
            |batch: &&VoterBatch| self.between(batch.base, batch.end).any(|committed| committed.is(batch));
        match cut.iter().find(is_committed) {
            None => Ok(()),
            Some(batch) => Err(violation(format!(
                "node {node} cuts off its log the batch of epoch {} and offsets {} to {}, which is committed",
                batch.epoch, batch.base, batch.end
            ))),
        }
    }
}

fn told(batch: Option<&VoterBatch>) -> String {
    batch.map_or_else(
        || "nothing".to_owned(),
        |batch| format!("a batch of epoch {} and offsets {} to {}", batch.epoch, batch.base, batch.end),
    )
}

#[cfg(test)]
impl Committed {
    /// Nothing but changes of the voters.
    pub(super) fn of_voters(sets: &[Arc<VoterSet>]) -> Self {
        Self { voters: (0..).zip(sets.iter().cloned()).collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of voters that write these logs, each a list of epochs, one after the other.
    fn judge(logs: &[&[i32]]) -> Result<(), String> {
        let mut written = Written::default();
        for (node, epochs) in logs.iter().enumerate() {
            for batch in VoterLog::of_epochs(epochs).from(0) {
                written.check(node, batch).map_err(|violation| violation.sentence)?;
            }
        }
        Ok(())
    }

    #[test]
    fn logs_that_part_may_differ_from_there_on() {
        assert_eq!(judge(&[&[1, 1, 2], &[1, 1, 1, 1], &[1, 1, 2, 3], &[1, 1, 1, 1, 4]]), Ok(()));
    }

    #[test]
    fn the_batch_of_an_epoch_and_offset_has_the_same_batches_before_it_in_all_logs() {
        let judged = judge(&[&[1, 1, 2, 2], &[1, 1, 1, 2]]);
        assert!(judged.is_err_and(|why| {
            why.contains("node 1 writes the batch of offsets 3 to 4 of epoch 2 behind other")
        }));
        // However far back the difference lies.
        let judged = judge(&[&[1, 2, 2, 3], &[1, 1, 3]]);
        assert_eq!(judged, Ok(()), "the offsets are others");
        let mut written = Written::default();
        let (one, other) = (VoterLog::of_epochs(&[1, 2, 4, 4]), VoterLog::of_epochs(&[1, 3, 4, 4]));
        assert!(one.from(3).iter().all(|batch| written.check(0, batch).is_ok()));
        assert!(written.check(1, &other.from(3)[0]).is_err());
    }
}
