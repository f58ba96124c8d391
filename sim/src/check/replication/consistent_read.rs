//! `consistent_read`: readers get what is committed and nothing else (R8, R9).

use super::{BatchId, Truth};
use crate::check::Violation;

/// A node hands out a batch.
pub(super) fn check(name: &str, node: usize, truth: &Truth, batch: BatchId) -> Result<(), Violation> {
    let committed = truth.committed_at(batch.base);
    // Since something was lost, who led before may hand out what is not there any more.
    if committed.is_some_and(|committed| committed.batch == batch) || truth.losses > 0 {
        return Ok(());
    }
    Err(Violation {
        property: "consistent_read",
        sentence: format!(
            "node {node} handed out {batch:?} of {name}, which is committed up to offset {}, where there is {:?}",
            truth.end(),
            committed.map(|committed| committed.batch)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_get_what_is_committed() {
        let mut truth = Truth::example();
        let read = |truth: &Truth, batch| check("orders-0", 1, truth, batch);
        assert_eq!(read(&truth, BatchId::example(4, 1)), Ok(()));
        assert!(read(&truth, BatchId::example(6, 1)).is_err(), "it is not committed");
        assert!(read(&truth, BatchId::example(4, 0)).is_err(), "it is another");
        truth.losses = 1;
        assert_eq!(read(&truth, BatchId::example(6, 0)), Ok(()));
    }
}
