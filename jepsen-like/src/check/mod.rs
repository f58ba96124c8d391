//! How anomalies are found.
//!
//! [`index`] reads the history once: who sent each value and where it was seen. The others look at that: [`places`] (two values
//! at an offset, two offsets of a value, values that should not be there), [`presence`] (values that should be there),
//! [`polls`] (how consumers move), [`order`] (what came before what, and what consumers were told of it).

mod index;
mod order;
mod places;
mod polls;
mod presence;

use crate::anomaly::{Anomaly, Asked, Finding};
use crate::history::{History, Send};
use crate::verdict::{Counts, Verdict};
use index::Index;

/// Judges a history.
///
/// # Panics
/// If a value was sent twice: whoever made the history did not keep to its form.
pub fn check(history: &History) -> Verdict {
    let mut findings = Vec::new();
    let mut index = Index::new(history, &mut findings);
    places::check(&index, &mut findings);
    // Whoever passes over something that is lost skipped nothing, and what was sent after it is not out of order: what is lost
    // is told once, as lost.
    presence::check(&mut index, &mut findings);
    polls::check(&index, &mut findings);
    let lag = order::check(&index, &mut findings);
    Verdict::new(history.contracts().to_vec(), Counts::of(&index.tally(), lag), findings)
}

/// A finding that has nothing yet.
fn finding(anomaly: Anomaly, partition: u32) -> Finding {
    Finding {
        anomaly,
        partition,
        offset: None,
        value: None,
        other_offset: None,
        other_value: None,
        operations: Vec::new(),
        asked: None,
        permitted: None,
    }
}

fn asked(send: &Send) -> Asked {
    Asked { acks: send.acks, idempotent: send.idempotent }
}
