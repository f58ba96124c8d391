//! Brokers of the cluster: registration and what it does to the partitions they lead.

use super::image::PartitionState;
use super::{Controller, Decision, text};
use crate::config::broker::Listener;
use crate::ids::{BrokerEpoch, NodeId};
use alloc::format;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use sordini_protocol::records::register_broker_record::{BrokerEndpoint, BrokerFeature};
use sordini_protocol::records::{
    MetadataRecord, PartitionChangeRecord, RegisterBrokerRecord, UnregisterBrokerRecord,
};
use sordini_protocol::wire::{Str, Uuid};

/// The oldest and the newest metadata.version that this node can live with, and the feature's name.
pub(crate) const METADATA_VERSION: (&str, i16, i16) = ("metadata.version", 7, 30);

/// The same of kraft.version.
pub(crate) const KRAFT_VERSION: (&str, i16, i16) = ("kraft.version", 0, 1);

/// What a broker says of itself when it registers.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Uuid,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) rack: Option<Str>,
    pub(crate) log_dirs: Vec<Uuid>,
}

/// Registers a broker, fenced. Its epoch is the offset that the record will have.
pub(crate) fn register(registration: &Registration, record_offset: i64) -> MetadataRecord {
    let end_points = registration.listeners.iter().map(|listener| BrokerEndpoint {
        name: Str::from(&*listener.name),
        host: Str::from(&*listener.host),
        port: listener.port,
        security_protocol: listener.protocol.code(),
        ..BrokerEndpoint::default()
    });
    let features = [METADATA_VERSION, KRAFT_VERSION].into_iter().map(|(name, min, max)| BrokerFeature {
        name: Str::from_static(name),
        min_supported_version: min,
        max_supported_version: max,
        ..BrokerFeature::default()
    });
    RegisterBrokerRecord {
        broker_id: registration.node.0,
        incarnation_id: registration.incarnation,
        broker_epoch: record_offset,
        end_points: end_points.collect(),
        features: features.collect(),
        rack: registration.rack.clone(),
        fenced: true,
        log_dirs: registration.log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    }
    .into()
}

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

    /// What the life before of the broker in this process was in sync with, together with others, is theirs alone when it
    /// begins anew.
    pub(crate) fn begin_own_life(&self) -> Vec<MetadataRecord> {
        let is_shared = |_, state: &PartitionState| state.isr.len() > 1;
        self.leave_isrs_of(self.node, is_shared).into_iter().map(MetadataRecord::from).collect()
    }

    /// Lets the broker in this process serve. It is elected again for every partition of which it is the only in-sync
    /// replica: under a new epoch, so that a reader of its earlier life notices when a crash has taken what it had read
    /// (KIP-320). And it leads what nobody else could.
    pub(crate) fn unfence_own(&self, epoch: BrokerEpoch) -> Vec<MetadataRecord> {
        let node = self.node;
        let mut records = self.unfence(node, epoch);
        for topic in self.image.topics_by_name() {
            for (index, partition) in &topic.partitions {
                if partition.isr == [node] && partition.leader == Some(node) {
                    let record = PartitionChangeRecord {
                        partition_id: *index,
                        topic_id: topic.id,
                        leader: node.0,
                        ..PartitionChangeRecord::default()
                    };
                    records.push(record.into());
                }
            }
        }
        records
    }
}
