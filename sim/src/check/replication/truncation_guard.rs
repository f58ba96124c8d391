//! `truncation_guard`: nobody gives up what is committed (R7, R16).

use super::Truth;
use crate::check::Violation;

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
