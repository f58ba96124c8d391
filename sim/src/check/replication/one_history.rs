//! `one_history`: an epoch and an offset name one batch, in all logs of a partition and at all times (R4). It is what cutting by
//! epochs rests on.

use super::BatchId;
use crate::check::{LogTruth, Violation};
use std::collections::BTreeMap;

/// Every batch that any log of a partition ever had, by epoch and offset, and when it was first seen.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    batches: BTreeMap<(i32, i64), (BatchId, u64)>,
    /// The last batch of each log that was looked at.
    last: BTreeMap<usize, BatchId>,
}

impl History {
    /// Takes what a log has at its end that it had not when it was looked at last.
    pub(super) fn note(
        &mut self,
        now: u64,
        name: &str,
        node: usize,
        log: &LogTruth,
    ) -> Result<(), Violation> {
        let last = self.last.get(&node).copied();
        for batch in log.batches().iter().rev() {
            let id = BatchId::of(&batch.header);
            if Some(id) == last {
                break;
            }
            let (first, _) = *self.batches.entry((id.epoch, id.base)).or_insert((id, now));
            if first != id {
                return Err(Violation {
                    property: "one_history",
                    sentence: format!(
                        "node {node} has for {name} a batch of epoch {} at offset {} that is another than the one that was \
                         there in that epoch: {id:?}, {first:?}",
                        id.epoch, id.base
                    ),
                });
            }
        }
        if let Some(batch) = log.batches().last() {
            self.last.insert(node, BatchId::of(&batch.header));
        }
        Ok(())
    }

    /// When a batch was first seen in a log, in virtual microseconds.
    pub(super) fn appended_us(&self, id: BatchId) -> Option<u64> {
        self.batches.get(&(id.epoch, id.base)).map(|(_, at_us)| *at_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::{Life, at, batch, segment};

    #[test]
    fn an_epoch_and_an_offset_name_one_batch() {
        let mut history = History::default();
        let mut note = |node: usize, value: &str| {
            let mut life = Life::begin();
            assert_eq!(life.write(&segment(0), batch(at(0), 0, value)), Ok(()));
            history.note(3, "orders-0", node, life.checks.log(0, 0).expect("it was appended to"))
        };
        assert_eq!(note(0, "a"), Ok(()));
        assert_eq!(note(1, "a"), Ok(()));
        assert!(note(2, "b").is_err());
    }
}
