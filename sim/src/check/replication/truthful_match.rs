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
