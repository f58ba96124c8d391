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
        match self.0.insert(who, header.base_offset) {
            None => Ok(()),
            Some(at) => Err(Violation {
                property: "sent_once",
                sentence: format!(
                    "{name} has what producer {} in epoch {} sent as number {} committed at offset {at} and at {}",
                    who.0, who.1, who.2, header.base_offset
                ),
            }),
        }
    }

    /// What was committed from an offset on is lost, and may be sent again.
    pub(super) fn forget_from(&mut self, offset: i64) {
        self.0.retain(|_, at| *at < offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::batch::{BatchBuilder, BatchParams};

    fn header(producer_id: i64, base_sequence: i32, base_offset: i64) -> BatchHeader {
        let params = BatchParams { producer_id, producer_epoch: 0, base_sequence, ..BatchParams::default() };
        let mut builder = BatchBuilder::new(params);
        builder.append(0, None, Some(b"v"), &[]);
        BatchHeader { base_offset, ..BatchHeader::parse(&builder.build()).expect("it was just built") }
    }

    #[test]
    fn a_number_is_committed_once_unless_it_was_lost() {
        let mut sent = Sent::default();
        assert_eq!(sent.note("orders-0", &header(9, 0, 0)), Ok(()));
        assert_eq!(sent.note("orders-0", &header(9, 1, 1)), Ok(()));
        assert_eq!(sent.note("orders-0", &header(-1, -1, 2)), Ok(()), "who has no number may send again");
        assert_eq!(sent.note("orders-0", &header(-1, -1, 3)), Ok(()));
        assert!(sent.clone().note("orders-0", &header(9, 1, 4)).is_err());
        sent.forget_from(1);
        assert_eq!(sent.note("orders-0", &header(9, 1, 4)), Ok(()));
        assert!(sent.note("orders-0", &header(9, 0, 5)).is_err());
    }
}
