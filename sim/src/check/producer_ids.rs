//! `producer_ids`: no producer id is handed out twice, whatever happens in between (K18).

use super::Violation;
use sordini_protocol::messages::InitProducerIdResponse;
use std::collections::BTreeSet;

/// The ids that were handed out.
#[derive(Clone, Debug, Default)]
pub(super) struct ProducerIds {
    known: BTreeSet<i64>,
}

impl ProducerIds {
    pub(super) fn check(&mut self, response: &InitProducerIdResponse) -> Result<(), Violation> {
        if response.error_code != 0 || self.known.insert(response.producer_id) {
            return Ok(());
        }
        let sentence = format!("the id {} was handed out twice", response.producer_id);
        Err(Violation { property: "producer_ids", sentence })
    }
}
