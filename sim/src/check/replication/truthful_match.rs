//! `truthful_match`: when a leader takes a batch for committed, everybody in sync has it, in the page cache at least (R6). What a
//! loss of power took from a follower after it had said that it has it, the leader cannot know.

use super::{BatchId, Copies, Loss, node_of};
use crate::check::Violation;

/// A batch that was first appended at a time is about to be committed, with these in sync.
pub(super) fn check(
    name: &str,
    batch: BatchId,
    appended_us: u64,
    isr: &[i32],
    losses: &[Loss],
    copies: Copies<'_>,
) -> Result<(), Violation> {
    let lacks = |id: &&i32| {
        let (copy, loss) = (copies(node_of(**id)), losses[node_of(**id)]);
        let may_have_lost = loss.at_us.is_some_and(|at_us| at_us >= appended_us) || copy.disk.is_damaged();
        !may_have_lost && !copy.has_written(batch)
    };
    match isr.iter().find(lacks) {
        None => Ok(()),
        Some(id) => Err(Violation {
            property: "truthful_match",
            sentence: format!(
                "{name} is committed up to offset {}, and broker {id}, which is in sync, has not written the batch at {}",
                batch.end, batch.base
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::{Life, at, batch, segment};
    use crate::check::replication::Copy;

    #[test]
    fn whoever_is_in_sync_has_written_what_is_committed() {
        let (mut with, without) = (Life::begin(), Life::begin());
        assert_eq!(with.write(&segment(0), batch(at(0), 0, "a")), Ok(()));
        let log = with.checks.log(0, 0).expect("it was appended to");
        let id = BatchId::of(&log.batches()[0].header);
        let copy = |log, disk| Copy { log, disk, is_running: true, broker_epoch: None };
        let copies = |node: usize| match node {
            0 => copy(Some(log), &with.disk),
            1 => copy(Some(log), &without.disk),
            _ => copy(None, &without.disk),
        };
        let judge = |isr: &[i32], lost_us: Option<u64>| {
            let loss = Loss { at_us: lost_us, metadata_end: 0 };
            check("orders-0", id, 7, isr, &[Loss::default(), Loss::default(), loss], &copies)
        };
        assert_eq!(judge(&[1], None), Ok(()));
        assert!(judge(&[1, 2], None).is_err(), "it was appended, and is not written");
        assert!(judge(&[1, 3], None).is_err(), "it was never appended");
        assert_eq!(judge(&[1, 3], Some(7)), Ok(()), "it may have been");
        assert!(judge(&[1, 3], Some(6)).is_err(), "not before there was anything");
    }
}
