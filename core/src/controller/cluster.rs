//! What this node can live with, and brokers that are forgotten.

use super::{Controller, Decision, text};
use crate::ids::NodeId;
use alloc::format;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use sordini_protocol::records::{MetadataRecord, UnregisterBrokerRecord};

/// The oldest and the newest metadata.version that this node can live with, and the feature's name.
pub(crate) const METADATA_VERSION: (&str, i16, i16) = ("metadata.version", 7, 30);

/// The same of kraft.version.
pub(crate) const KRAFT_VERSION: (&str, i16, i16) = ("kraft.version", 0, 1);

/// The same of what lets replicas that left the ISR lead (KIP-966).
pub(crate) const ELR_VERSION: (&str, i16, i16) = ("eligible.leader.replicas.version", 0, 1);

/// Every feature that this node can live with. The last four say how coordinators of groups and transactions work. There are
/// none here, as the APIs that are announced tell, so that a node lives with each of their levels, and a cluster of Apache
/// Kafka's that has them takes it in.
pub(crate) const FEATURES: [(&str, i16, i16); 7] = [
    METADATA_VERSION,
    KRAFT_VERSION,
    ELR_VERSION,
    ("group.version", 0, 1),
    ("transaction.version", 0, 2),
    ("share.version", 0, 1),
    ("streams.version", 0, 1),
];

impl Controller {
    /// Forgets a broker, whether it lives or not: it is in sync with nothing any more and leads nothing.
    pub(super) fn unregister_broker(
        &mut self,
        request: &UnregisterBrokerRequest,
    ) -> Decision<UnregisterBrokerResponse> {
        let mut response = UnregisterBrokerResponse { error_message: None, ..Default::default() };
        let mut records = Vec::new();
        let node = NodeId(request.broker_id);
        match self.image.brokers().get(&node) {
            Some(broker) => {
                records.extend(self.leave_isrs(node).into_iter().map(MetadataRecord::from));
                let record = UnregisterBrokerRecord {
                    broker_id: node.0,
                    broker_epoch: broker.epoch.0,
                    ..UnregisterBrokerRecord::default()
                };
                records.push(record.into());
                self.heartbeats.end(node);
            }
            None => {
                response.error_code = ErrorCode::BrokerIdNotRegistered.as_i16();
                response.error_message = text(&format!("broker {node} is not registered"));
            }
        }
        Decision { records, response }
    }
}
