//! `leader_completeness`: whoever leads has all that is committed (R1, R7, R11), unless nobody has it any more whom the controller
//! trusts.

use super::Truth;
use crate::check::Violation;

/// A broker begins to lead whose log is what is committed up to an offset.
pub(super) fn check(
    name: &str,
    node: usize,
    epoch: i32,
    truth: &Truth,
    matching_end: i64,
) -> Result<(), Violation> {
    if matching_end >= truth.promised_end() {
        return Ok(());
    }
    Err(Violation {
        property: "leader_completeness",
        sentence: format!(
            "node {node} leads {name} in epoch {epoch} and has what is committed up to offset {matching_end}; it is committed \
             up to {}, and others have it",
            truth.end()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_has_what_anybody_has_to_have() {
        let mut truth = Truth::example();
        assert_eq!(check("orders-0", 1, 2, &truth, 6), Ok(()));
        assert!(check("orders-0", 1, 2, &truth, 4).is_err());
        truth.lost_from = Some(4);
        assert_eq!(check("orders-0", 1, 2, &truth, 4), Ok(()));
        assert!(check("orders-0", 1, 2, &truth, 2).is_err(), "that was not lost");
    }
}
