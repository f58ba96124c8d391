//! `committed_metadata`: what was committed once stays what it is, at its offset, in every log that is committed that far
//! (K11); whoever comes to lead a later epoch has it (K3); nobody cuts it off (K8). And an epoch and an offset name one batch,
//! in all logs and for all time (K4).

use super::Seen;
use super::voter_log::{VoterBatch, VoterLog};
use crate::check::Violation;
use sordini_core::node::QuorumRole;
use std::collections::BTreeMap;

fn violation(sentence: String) -> Violation {
    Violation { property: "committed_metadata", sentence }
}

/// Every batch that was ever written, by epoch and offset, with who was seen to write it first.
#[derive(Clone, Debug, Default)]
pub(super) struct Written(BTreeMap<(i32, i64), (VoterBatch, usize)>);

impl Written {
    pub(super) fn check(&mut self, node: usize, batch: &VoterBatch) -> Result<(), Violation> {
        let entry = self.0.entry((batch.epoch, batch.base)).or_insert_with(|| (batch.clone(), node));
        let (first, by) = entry;
        if first.is(batch) {
            return Ok(());
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
}

impl Committed {
    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(0, |(batch, _)| batch.end)
    }

    /// A voter says that more is committed than anybody did before.
    pub(super) fn extend(&mut self, node: usize, seen: &Seen, log: &VoterLog) -> Result<(), Violation> {
        let high_watermark = seen.high_watermark.unwrap_or(0);
        for batch in log.from(self.end()) {
            if batch.base != self.end() || batch.end > high_watermark {
                break;
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
        let earlier = self.batches.iter().take_while(|(_, committed_in)| *committed_in < seen.epoch);
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
