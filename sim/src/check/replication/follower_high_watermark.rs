//! `follower_high_watermark`: whoever has a partition takes nothing for committed that is not (R9), so that whoever reads from it
//! reads what is.

use super::Truth;
use crate::check::Violation;

/// A log is what is committed up to an offset, and its broker takes it for committed up to another.
pub(super) fn check(
    name: &str,
    node: usize,
    truth: &Truth,
    matching_end: i64,
    high_watermark: i64,
) -> Result<(), Violation> {
    // Since something was lost, those who had it take it for committed until they hear of it.
    if high_watermark <= matching_end || truth.losses > 0 {
        return Ok(());
    }
    Err(Violation {
        property: "follower_high_watermark",
        sentence: format!(
            "node {node} takes {name} for committed up to offset {high_watermark}, and has what is committed up to \
             {matching_end}; it is committed up to {}",
            truth.end()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_for_committed_that_is_not_there_and_is() {
        assert_eq!(check("orders-0", 1, &Truth::example(), 4, 4), Ok(()));
        assert!(check("orders-0", 1, &Truth::example(), 4, 5).is_err());
    }
}
