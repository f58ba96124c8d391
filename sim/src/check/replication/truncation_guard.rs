//! `truncation_guard`: nobody gives up what is committed, and whoever leads gives up nothing (R7, R16).

use super::{Said, Truth};
use crate::check::Violation;

/// A broker says something else of a partition than before.
pub(super) fn check_leader(
    name: &str,
    node: usize,
    before: Option<Said>,
    now: Said,
) -> Result<(), Violation> {
    let Some(before) = before.filter(|before| before.leads.is_some() && before.leads == now.leads) else {
        return Ok(());
    };
    if now.log_end >= before.log_end {
        return Ok(());
    }
    Err(Violation {
        property: "truncation_guard",
        sentence: format!(
            "node {node} leads {name} and has given up what it had from offset {} to {}",
            now.log_end, before.log_end
        ),
    })
}

/// A log that was what is committed up to an offset is that up to another now.
pub(super) fn check(name: &str, node: usize, truth: &Truth, before: i64, now: i64) -> Result<(), Violation> {
    if now >= before {
        return Ok(());
    }
    Err(Violation {
        property: "truncation_guard",
        sentence: format!(
            "node {node} had what is committed of {name} up to offset {before}, and has given up all from {now} on; it is \
             committed up to {}",
            truth.end()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::wire::Uuid;

    #[test]
    fn what_is_committed_stays() {
        assert_eq!(check("orders-0", 1, &Truth::example(), 4, 4), Ok(()));
        assert!(check("orders-0", 1, &Truth::example(), 4, 2).is_err());
    }

    #[test]
    fn a_leader_gives_up_nothing() {
        let said = |leads: Option<i32>, log_end| Said {
            topic_id: Uuid::ZERO,
            leads,
            leader_epoch: leads.unwrap_or(0),
            log_start: 0,
            high_watermark: 2,
            log_end,
        };
        assert_eq!(check_leader("orders-0", 1, None, said(Some(3), 4)), Ok(()));
        assert_eq!(check_leader("orders-0", 1, Some(said(Some(3), 4)), said(Some(3), 4)), Ok(()));
        assert_eq!(
            check_leader("orders-0", 1, Some(said(Some(3), 4)), said(None, 2)),
            Ok(()),
            "it leads no more"
        );
        assert!(check_leader("orders-0", 1, Some(said(Some(3), 4)), said(Some(3), 2)).is_err());
    }
}
