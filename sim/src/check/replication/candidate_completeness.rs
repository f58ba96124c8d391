//! `candidate_completeness`: whoever may be elected without loss, in sync or eligible, has all that is committed (R2).

use super::{Copies, Loss, Trusted, Truth, node_of};
use crate::check::{LogTruth, Violation};

/// Looks at those whom the committed metadata log lets lead.
pub(super) fn check(
    name: &str,
    truth: &Truth,
    trusted: Trusted<'_>,
    losses: &[Loss],
    copies: Copies<'_>,
) -> Result<(), Violation> {
    let promised_end = truth.promised_end();
    for id in trusted.isr.iter().chain(trusted.elr) {
        let (node, copy) = (node_of(*id), copies(node_of(*id)));
        // Who has lost its memory and not yet said so is trusted until it does.
        let Loss { at_us, metadata_end } = losses[node];
        let has_owned_up = copy.broker_epoch.is_some_and(|epoch| epoch >= metadata_end);
        if !copy.is_known() || !(at_us.is_none() || has_owned_up) {
            continue;
        }
        let known_end = |log: &LogTruth| truth.copies.get(&node).map_or(0, |seen| seen.known_end(log));
        let matching_end = copy.log.map_or(0, |log| truth.matching_end(known_end(log), log));
        if matching_end < promised_end {
            return Err(Violation {
                property: "candidate_completeness",
                sentence: format!(
                    "broker {id} may be elected to lead {name} (in sync: {:?}, eligible: {:?}) and has what is committed up to \
                     offset {matching_end}; it is committed up to {promised_end}",
                    trusted.isr, trusted.elr
                ),
            });
        }
    }
    Ok(())
}
