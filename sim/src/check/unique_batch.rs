//! `unique_batch`: a log, a leader epoch and an offset name one batch, in all time (R4). What a crash takes from the end
//! of a log, its offsets are given again; but under a newer leader epoch, so that whoever remembers the epoch of what it
//! read can tell.

use super::Violation;
use super::truth::{LogTruth, TrueBatch};
use std::collections::BTreeMap;

/// The batches that crashes took from the end of a log, by leader epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct LostBatches(BTreeMap<i32, Vec<TrueBatch>>);

impl LostBatches {
    pub(super) fn iter(&self) -> impl Iterator<Item = &TrueBatch> {
        self.0.values().flatten()
    }

    pub(super) fn add(&mut self, lost: Vec<TrueBatch>) {
        for batch in lost {
            self.0.entry(batch.header.partition_leader_epoch).or_default().push(batch);
        }
    }
}

/// At the moment of an append.
pub(super) fn check(dir: &str, log: &LogTruth, batch: &TrueBatch) -> Result<(), Violation> {
    let epoch = batch.header.partition_leader_epoch;
    let overlaps =
        |lost: &&TrueBatch| lost.base_offset < batch.end_offset && batch.base_offset < lost.end_offset;
    let mut of_epoch = log.lost.0.get(&epoch).into_iter().flatten();
    match of_epoch.find(overlaps) {
        Some(lost) if lost.contiguous() != batch.contiguous() => Err(Violation {
            property: "unique_batch",
            sentence: format!(
                "{dir} appended a batch of offsets {} to {} in leader epoch {epoch}, in which a batch of offsets {} to {} \
                 had been appended before a crash took it",
                batch.base_offset, batch.end_offset, lost.base_offset, lost.end_offset
            ),
        }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::check::example::{Life, assert_violates, at, batch, segment};
    use sordini_protocol::batch::BatchParams;

    #[test]
    fn offsets_that_a_crash_took_are_given_again_under_a_newer_epoch_only() {
        let mut life = Life::begin();
        life.write(&segment(0), batch(at(0), 10, "a")).expect("a log begins at 0");
        life.append(&segment(0), batch(at(1), 10, "b")).expect("and goes on");
        life.lose_power().expect("nothing is known to be missing");
        let newer = BatchParams { leader_epoch: 2, ..at(1) };
        assert_violates(
            life.append(&segment(0), batch(at(1), 10, "c")),
            "unique_batch",
            "in leader epoch 1, in which a batch of offsets 1 to 2 had been appended before a crash took it",
        );
        life.append(&segment(0), batch(newer, 10, "c")).expect("a newer epoch tells the two apart");
    }

    #[test]
    fn the_same_batch_may_be_appended_again() {
        let mut life = Life::begin();
        life.write(&segment(0), batch(at(0), 10, "a")).expect("a log begins at 0");
        life.append(&segment(0), batch(at(1), 10, "b")).expect("and goes on");
        life.lose_power().expect("nothing is known to be missing");
        life.append(&segment(0), batch(at(1), 10, "b")).expect("it is the same");
    }
}
