//! In-sync replicas as their leader sees them: AlterPartition (KIP-497, KIP-841, KIP-903).

use super::image::PartitionState;
use super::partition_change::{Election, PartitionChange, RECOVERING};
use super::{Controller, Decision};
use crate::ids::{BrokerEpoch, NodeId, TopicIdPartition};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_partition_request::PartitionData as Wanted;
use sordini_protocol::messages::alter_partition_response::{PartitionData, TopicData};
use sordini_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use sordini_protocol::records::{MetadataRecord, PartitionChangeRecord};

/// In a request: whatever epoch the broker has.
const ANY_EPOCH: i64 = -1;

/// The in-sync replicas that a leader wants, with the epochs in which it knows their brokers.
fn wanted_isr(wanted: &Wanted) -> Vec<(NodeId, i64)> {
    // The versions before 3 name no epochs.
    let without = wanted.new_isr.iter().map(|id| (NodeId(*id), ANY_EPOCH));
    let with = wanted.new_isr_with_epochs.iter().map(|it| (NodeId(it.broker_id), it.broker_epoch));
    without.chain(with).collect()
}

impl Controller {
    pub(super) fn alter_partition(
        &self,
        request: &AlterPartitionRequest,
    ) -> Decision<AlterPartitionResponse> {
        let mut response = AlterPartitionResponse::default();
        let mut records = Vec::new();
        let node = match self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            Ok((node, _)) => node,
            Err(code) => {
                response.error_code = code.as_i16();
                return Decision { records, response };
            }
        };
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for wanted in &topic.partitions {
                let id = TopicIdPartition { topic: topic.topic_id, partition: wanted.partition_index };
                partitions.push(match self.alter_isr(node, id, wanted) {
                    Ok((state, record)) => {
                        let changed = described(id, state, record.as_ref());
                        records.extend(record.map(MetadataRecord::from));
                        // A reassignment that this completes may give the partition another leader, and then the one that
                        // asks is to look at the metadata before it asks again.
                        if changed.leader_id == node.0 {
                            changed
                        } else {
                            refused(id, ErrorCode::NewLeaderElected)
                        }
                    }
                    Err(code) => refused(id, code),
                });
            }
            response.topics.push(TopicData { topic_id: topic.topic_id, partitions, ..Default::default() });
        }
        Decision { records, response }
    }

    fn alter_isr(
        &self,
        sender: NodeId,
        id: TopicIdPartition,
        wanted: &Wanted,
    ) -> Result<(&PartitionState, Option<PartitionChangeRecord>), ErrorCode> {
        let topic = self.image.topic(id.topic).ok_or(ErrorCode::UnknownTopicId)?;
        let state = topic.partitions.get(&id.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let isr = wanted_isr(wanted);
        self.check_isr(sender, state, wanted, &isr)?;
        let mut change = PartitionChange::new(&self.image, id, state);
        change.isr = isr.into_iter().map(|(node, _)| node).collect();
        change.leader_recovery_state = wanted.leader_recovery_state;
        if self.is_unclean_election_enabled(&topic.name) {
            change.election = Election::Unclean;
        }
        Ok((state, change.record()))
    }

    fn check_isr(
        &self,
        sender: NodeId,
        state: &PartitionState,
        wanted: &Wanted,
        isr: &[(NodeId, i64)],
    ) -> Result<(), ErrorCode> {
        let (leader_epoch, partition_epoch) = (state.leader_epoch.0, state.partition_epoch.0);
        if wanted.leader_epoch > leader_epoch || wanted.partition_epoch > partition_epoch {
            // The broker knows what this controller does not: another one must have decided it.
            return Err(ErrorCode::NotController);
        }
        if wanted.leader_epoch < leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if state.leader != Some(sender) {
            return Err(ErrorCode::InvalidRequest);
        }
        if wanted.partition_epoch < partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let distinct: BTreeSet<NodeId> = isr.iter().map(|(node, _)| *node).collect();
        let is_of_replicas = distinct.iter().all(|node| state.replicas.contains(node));
        if distinct.len() != isr.len() || !is_of_replicas || !distinct.contains(&sender) {
            return Err(ErrorCode::InvalidRequest);
        }
        let recovers = match wanted.leader_recovery_state {
            0 => false,
            RECOVERING => true,
            _ => return Err(ErrorCode::InvalidRequest),
        };
        if recovers && (isr.len() > 1 || state.leader_recovery_state != RECOVERING) {
            return Err(ErrorCode::InvalidRequest);
        }
        // A broker that is fenced or about to go must not be elected, and so not be in sync; one that has begun a new life
        // since the leader last heard of it may have lost what it had.
        let is_eligible = |(node, epoch): &(NodeId, i64)| {
            self.image.brokers().get(node).is_some_and(|broker| {
                broker.is_active() && (*epoch == ANY_EPOCH || broker.epoch == BrokerEpoch(*epoch))
            })
        };
        if isr.iter().all(is_eligible) { Ok(()) } else { Err(ErrorCode::IneligibleReplica) }
    }
}

fn refused(id: TopicIdPartition, code: ErrorCode) -> PartitionData {
    PartitionData { partition_index: id.partition, error_code: code.as_i16(), ..PartitionData::default() }
}

/// The partition as it is when the record, if there is one, has taken effect.
fn described(
    id: TopicIdPartition,
    state: &PartitionState,
    record: Option<&PartitionChangeRecord>,
) -> PartitionData {
    let mut state = state.clone();
    if let Some(record) = record {
        state.change(record);
    }
    PartitionData {
        partition_index: id.partition,
        leader_id: state.leader.map_or(super::image::NO_LEADER, |leader| leader.0),
        leader_epoch: state.leader_epoch.0,
        isr: state.isr.iter().map(|node| node.0).collect(),
        leader_recovery_state: state.leader_recovery_state,
        partition_epoch: state.partition_epoch.0,
        ..PartitionData::default()
    }
}
