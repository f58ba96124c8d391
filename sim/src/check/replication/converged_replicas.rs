//! `converged_replicas`: when nothing befalls a cluster any more, all replicas come to have the same, committed, and to be in sync,
//! and no partition is being moved (R3, L1, L10).

use super::{Copies, Trusted, Truth, node_of};

/// What is missing, for a sentence.
pub(super) fn missing(truth: &Truth, trusted: Option<Trusted<'_>>, copies: Copies<'_>) -> Option<String> {
    let Some(trusted) = trusted else { return Some("does not exist".to_owned()) };
    if trusted.is_moved {
        return Some(format!("is being moved, with the replicas {:?}", trusted.replicas));
    }
    let is_in_sync = |id: &i32| trusted.isr.contains(id);
    if !trusted.replicas.iter().all(is_in_sync) {
        return Some(format!("has {:?} in sync of {:?}", trusted.isr, trusted.replicas));
    }
    let end = truth.end();
    let differs = |id: &&i32| {
        let log = copies(node_of(**id)).log;
        log.map_or(end > truth.start, |log| log.end() != end || truth.matching_end(0, log) != end)
    };
    let differing = trusted.replicas.iter().find(differs)?;
    let log_end = copies(node_of(*differing)).log.map(super::LogTruth::end);
    Some(format!("is committed up to {end}, and ends at {log_end:?} on broker {differing}"))
}
