//! `sent_once`: what an idempotent producer sent under a number is committed once, whoever led when it was sent again (KIP-98).

use crate::check::Violation;
use sordini_protocol::batch::BatchHeader;
use std::collections::BTreeMap;

/// Where the batches of idempotent producers are committed, by producer, its epoch and the number.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(BTreeMap<(i64, i16, i32), i64>);

impl Sent {
    /// A batch is committed.
    pub(super) fn note(&mut self, name: &str, header: &BatchHeader) -> Result<(), Violation> {
        if !header.has_producer_id() {
            return Ok(());
        }
        let who = (header.producer_id, header.producer_epoch, header.base_sequence);
        match *self.0.entry(who).or_insert(header.base_offset) {
            // Committed records that were lost may be sent again, and come to lie before.
            at if at >= header.base_offset => {
                self.0.insert(who, header.base_offset);
                Ok(())
            }
            at => Err(Violation {
                property: "sent_once",
                sentence: format!(
                    "{name} has what producer {} in epoch {} sent as number {} committed at offset {at} and at {}",
                    who.0, who.1, who.2, header.base_offset
                ),
            }),
        }
    }
}
