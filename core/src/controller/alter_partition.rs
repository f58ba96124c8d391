//! In-sync replicas as their leader sees them: AlterPartition (KIP-497, KIP-841, KIP-903).

use super::image::PartitionState;
use super::partition_change::{Election, RECOVERING};
use super::{Controller, Decision};
use crate::ids::{BrokerEpoch, NodeId, TopicIdPartition};
use crate::museum::Exhibit;
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
        let mut change = self.change_of(topic, id.partition, state);
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
        let takes_fenced = self.museum.has(Exhibit::A07AcceptFencedInIsr);
        let takes_any_life = self.museum.has(Exhibit::A06IgnoreBrokerEpochInAlterPartition);
        let is_eligible = |(node, epoch): &(NodeId, i64)| {
            self.image.brokers().get(node).is_some_and(|broker| {
                let is_of_life = *epoch == ANY_EPOCH || broker.epoch == BrokerEpoch(*epoch);
                (broker.is_active() || takes_fenced) && (is_of_life || takes_any_life)
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

#[cfg(test)]
mod tests {
    use super::super::tests::{ORDERS, cluster, partition as partition_of};
    use super::*;
    use alloc::vec;
    use sordini_protocol::messages::alter_partition_request::{BrokerState, TopicData as WantedTopic};
    use sordini_protocol::records::{
        BrokerRegistrationChangeRecord, FenceBrokerRecord, PartitionChangeRecord, PartitionRecord,
    };
    use sordini_protocol::wire::Uuid;

    /// Leads in epoch 1, as of partition epoch 1.
    fn led_by_1(isr: &[i32]) -> Controller {
        let (replicas, isr) = (vec![1, 2, 3], isr.to_vec());
        let mut controller = cluster(4, PartitionRecord { replicas, isr, leader: 1, ..Default::default() });
        let change =
            PartitionChangeRecord { partition_id: 0, topic_id: ORDERS, leader: 1, ..Default::default() };
        controller.apply(&change.into());
        controller
    }

    fn wanted(isr: &[i32]) -> Wanted {
        let with_epoch = |id: &i32| BrokerState { broker_id: *id, broker_epoch: 0, ..Default::default() };
        Wanted {
            leader_epoch: 1,
            partition_epoch: 1,
            new_isr_with_epochs: isr.iter().map(with_epoch).collect(),
            ..Wanted::default()
        }
    }

    fn request(broker_id: i32, wanted: Wanted) -> AlterPartitionRequest {
        let topic = WantedTopic { topic_id: ORDERS, partitions: vec![wanted], ..Default::default() };
        AlterPartitionRequest { broker_id, broker_epoch: 0, topics: vec![topic], ..Default::default() }
    }

    #[test]
    fn an_isr_is_refused_in_the_order_of_the_checks() {
        let epochs = |leader_epoch, partition_epoch| Wanted {
            leader_epoch,
            partition_epoch,
            // Wrong as well, which is looked at later.
            ..wanted(&[9])
        };
        let recovering = |isr: &[i32]| Wanted { leader_recovery_state: 1, ..wanted(isr) };
        let mut of_other_life = wanted(&[1, 2]);
        of_other_life.new_isr_with_epochs[1].broker_epoch = 5;
        let mut of_any_life = wanted(&[1, 2]);
        of_any_life.new_isr_with_epochs[1].broker_epoch = -1;
        let before_epochs = Wanted { new_isr: vec![1, 2], new_isr_with_epochs: vec![], ..wanted(&[]) };
        let no_partition = Wanted { partition_index: 5, ..wanted(&[1]) };
        let fenced: MetadataRecord = FenceBrokerRecord { id: 2, ..Default::default() }.into();
        let leaving: MetadataRecord =
            BrokerRegistrationChangeRecord { broker_id: 2, in_controlled_shutdown: 1, ..Default::default() }
                .into();
        let table = [
            (1, wanted(&[1, 2]), None, ErrorCode::None),
            (1, wanted(&[1]), None, ErrorCode::None),
            (1, of_any_life, None, ErrorCode::None),
            (1, before_epochs, None, ErrorCode::None),
            (1, no_partition, None, ErrorCode::UnknownTopicOrPartition),
            (1, epochs(2, 1), None, ErrorCode::NotController),
            (1, epochs(1, 2), None, ErrorCode::NotController),
            (1, epochs(0, 2), None, ErrorCode::NotController),
            (2, epochs(0, 0), None, ErrorCode::FencedLeaderEpoch),
            (2, epochs(1, 0), None, ErrorCode::InvalidRequest),
            (1, epochs(1, 0), None, ErrorCode::InvalidUpdateVersion),
            (1, wanted(&[1, 4]), None, ErrorCode::InvalidRequest),
            (1, wanted(&[1, 2, 2]), None, ErrorCode::InvalidRequest),
            (1, wanted(&[2, 3]), None, ErrorCode::InvalidRequest),
            (1, recovering(&[1, 2]), None, ErrorCode::InvalidRequest),
            (1, recovering(&[1]), None, ErrorCode::InvalidRequest),
            (1, of_other_life, None, ErrorCode::IneligibleReplica),
            (1, wanted(&[1, 2]), Some(fenced), ErrorCode::IneligibleReplica),
            (1, wanted(&[1, 2]), Some(leaving), ErrorCode::IneligibleReplica),
        ];
        for (sender, wanted, event, code) in table {
            let mut controller = led_by_1(&[1, 3]);
            event.iter().for_each(|event| controller.apply(event));
            let case = alloc::format!("{sender} {wanted:?} {event:?}");
            let Decision { records, response } = controller.alter_partition(&request(sender, wanted));
            let partition = &response.topics[0].partitions[0];
            assert_eq!(partition.error_code, code.as_i16(), "{case}");
            assert_eq!(records.is_empty(), code != ErrorCode::None, "{case}");
            if code == ErrorCode::None {
                records.iter().for_each(|record| controller.apply(record));
                let state = partition_of(&controller);
                let isr: Vec<i32> = state.isr.iter().map(|node| node.0).collect();
                assert_eq!((&partition.isr, partition.partition_epoch), (&isr, 2), "{case}");
                assert_eq!((partition.leader_id, partition.leader_epoch), (1, 1), "{case}");
            }
        }
    }

    #[test]
    fn an_isr_that_is_as_wanted_is_confirmed_without_a_record() {
        let Decision { records, response } = led_by_1(&[1, 2]).alter_partition(&request(1, wanted(&[1, 2])));
        let partition = &response.topics[0].partitions[0];
        assert_eq!((records.len(), partition.error_code, partition.partition_epoch), (0, 0, 1));
    }

    #[test]
    fn a_broker_of_another_life_is_refused_and_so_is_an_unknown_topic() {
        let controller = led_by_1(&[1]);
        let stale = AlterPartitionRequest { broker_epoch: 3, ..request(1, wanted(&[1])) };
        let response = controller.alter_partition(&stale).response;
        assert_eq!((response.error_code, response.topics.len()), (ErrorCode::StaleBrokerEpoch.as_i16(), 0));
        let mut elsewhere = request(1, wanted(&[1]));
        elsewhere.topics[0].topic_id = Uuid([9; 16]);
        let response = controller.alter_partition(&elsewhere).response;
        let code = response.topics[0].partitions[0].error_code;
        assert_eq!(code, ErrorCode::UnknownTopicId.as_i16());
    }

    #[test]
    fn a_leader_that_a_reassignment_removes_is_told_of_the_new_one() {
        let partition = PartitionRecord {
            replicas: vec![2, 1],
            isr: vec![1],
            leader: 1,
            removing_replicas: vec![1],
            adding_replicas: vec![2],
            ..PartitionRecord::default()
        };
        let mut controller = cluster(2, partition);
        let change = Wanted { leader_epoch: 0, partition_epoch: 0, ..wanted(&[1, 2]) };
        let Decision { records, response } = controller.alter_partition(&request(1, change));
        assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NewLeaderElected.as_i16());
        records.iter().for_each(|record| controller.apply(record));
        assert_eq!(partition_of(&controller).leader, Some(NodeId(2)));
    }
}
