//! The batches of a log, with what can be told of all of them without looking at each.

use super::truth::TrueBatch;
use std::ops::Deref;
use std::sync::Arc;

/// Batches in the order of their offsets.
#[derive(Clone, Debug, Default)]
pub(super) struct Batches {
    all: Vec<TrueBatch>,
    /// Each leader epoch that is another than that of the batch before, with the offset at which it begins.
    epochs: Vec<(i32, i64)>,
}

impl Deref for Batches {
    type Target = [TrueBatch];

    fn deref(&self) -> &[TrueBatch] {
        &self.all
    }
}

impl Batches {
    pub(super) fn epochs(&self) -> &[(i32, i64)] {
        &self.epochs
    }

    pub(super) fn push(&mut self, batch: TrueBatch) {
        let epoch = batch.header.partition_leader_epoch;
        if self.epochs.last().is_none_or(|(last, _)| *last != epoch) {
            self.epochs.push((epoch, batch.base_offset));
        }
        self.all.push(batch);
    }

    pub(super) fn extend(&mut self, batches: impl Iterator<Item = TrueBatch>) {
        batches.for_each(|batch| self.push(batch));
    }

    /// Their files get other names.
    pub(super) fn rename_files(&mut self, name: impl Fn(&Arc<str>) -> Arc<str>) {
        for batch in &mut self.all {
            batch.file = name(&batch.file);
        }
    }

    /// Takes away all but the first `count`.
    pub(super) fn split_off(&mut self, count: usize) -> Vec<TrueBatch> {
        if let Some(first) = self.all.get(count) {
            self.epochs.truncate(self.epochs.partition_point(|(_, start)| *start < first.base_offset));
        }
        self.all.split_off(count)
    }
}
