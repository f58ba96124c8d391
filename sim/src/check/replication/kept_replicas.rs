//! `kept_replicas`: nobody throws its copy of a partition away whom the controller counts among the replicas (R17).

use super::Truth;
use crate::check::Violation;

/// A broker throws its copy away, and is one of these replicas or was taken out of them since it had it.
pub(super) fn check(name: &str, node: usize, truth: &Truth) -> Result<(), Violation> {
    if truth.left_out.contains(&node) {
        return Ok(());
    }
    Err(Violation {
        property: "kept_replicas",
        sentence: format!("node {node} throws its copy of {name} away, of which it is to have one"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_left_out_throws_its_copy_away() {
        let mut truth = Truth::example();
        assert!(check("orders-0", 1, &truth).is_err());
        truth.left_out.insert(1);
        assert_eq!(check("orders-0", 1, &truth), Ok(()));
        assert!(check("orders-0", 2, &truth).is_err());
    }
}
