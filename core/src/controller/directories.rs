//! In which log directory of a broker a replica lies: AssignReplicasToDirs, and directories that fail (KIP-858).

use super::image::Broker;
use super::{Controller, Decision};
use crate::ids::{BrokerEpoch, NodeId, TopicIdPartition};
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData};
use sordini_protocol::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest,
};
use sordini_protocol::records::{BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord};
use sordini_protocol::wire::Uuid;

impl Controller {
    /// Writes down where a broker has put its replicas.
    pub(super) fn assign_replicas_to_dirs(
        &self,
        request: &AssignReplicasToDirsRequest,
    ) -> Decision<AssignReplicasToDirsResponse> {
        let mut response = AssignReplicasToDirsResponse::default();
        let mut records = Vec::new();
        let broker = self.check_broker_epoch(request.broker_id, request.broker_epoch);
        let broker = match broker {
            Ok(_) if !self.image.has_directories() => Err(ErrorCode::UnsupportedVersion),
            Ok(_) | Err(_) => broker,
        };
        let (node, broker) = match broker {
            Ok(found) => found,
            Err(code) => {
                response.error_code = code.as_i16();
                return Decision { records, response };
            }
        };
        for directory in &request.directories {
            let mut topics = Vec::new();
            for topic in &directory.topics {
                let mut partitions = Vec::new();
                for partition in &topic.partitions {
                    let id = TopicIdPartition { topic: topic.topic_id, partition: partition.partition_index };
                    let outcome = self.assign_replica((node, broker), id, directory.id);
                    let error_code = outcome.as_ref().map_or_else(|code| code.as_i16(), |_| 0);
                    records.extend(outcome.ok().flatten().map(MetadataRecord::from));
                    partitions.push(PartitionData {
                        partition_index: id.partition,
                        error_code,
                        ..Default::default()
                    });
                }
                topics.push(TopicData { topic_id: topic.topic_id, partitions, ..Default::default() });
            }
            response.directories.push(DirectoryData { id: directory.id, topics, ..Default::default() });
        }
        Decision { records, response }
    }

    fn assign_replica(
        &self,
        (node, broker): (NodeId, &Broker),
        id: TopicIdPartition,
        directory: Uuid,
    ) -> Result<Option<PartitionChangeRecord>, ErrorCode> {
        let topic = self.image.topic(id.topic).ok_or(ErrorCode::UnknownTopicId)?;
        let state = topic.partitions.get(&id.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !state.replicas.contains(&node) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let mut change = self.change_of(topic, id.partition, state);
        change.directory = Some((node, directory));
        if !broker.log_dirs.contains(&directory) {
            // The directory has failed meanwhile, and the replica with it.
            change.leave_isr(node);
        }
        Ok(change.record())
    }

    /// What a heartbeat says of log directories: those that have failed hold no replica that is in sync, those that are
    /// cordoned get no new one (KIP-1066).
    pub(super) fn change_log_dirs(
        &self,
        node: NodeId,
        epoch: BrokerEpoch,
        request: &BrokerHeartbeatRequest,
    ) -> Vec<MetadataRecord> {
        let Some(broker) = self.image.brokers().get(&node) else { return Vec::new() };
        if !self.image.has_directories() {
            return Vec::new();
        }
        let is_offline = |dir: &Uuid| request.offline_log_dirs.contains(dir);
        let online: Vec<Uuid> = broker.log_dirs.iter().copied().filter(|dir| !is_offline(dir)).collect();
        let mut change = BrokerRegistrationChangeRecord {
            broker_id: node.0,
            broker_epoch: epoch.0,
            ..BrokerRegistrationChangeRecord::default()
        };
        let unchanged = change.clone();
        let mut records = Vec::new();
        // A record without directories changes none: a broker that has lost all of them stops by itself.
        if online != broker.log_dirs && !online.is_empty() {
            let failed = self.leave_isrs_of(node, |state| {
                let at = state.replicas.iter().position(|replica| *replica == node);
                at.and_then(|at| state.directories.get(at)).is_some_and(is_offline)
            });
            records.extend(failed.into_iter().map(MetadataRecord::from));
            change.log_dirs = online;
        }
        change.cordoned_log_dirs =
            request.cordoned_log_dirs.clone().filter(|cordoned| *cordoned != broker.cordoned_log_dirs);
        if change != unchanged {
            records.push(change.into());
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ORDERS, cluster, partition as partition_of};
    use super::super::{Asked, Kraft};
    use super::*;
    use crate::ids::Offset;
    use crate::time::{Instant, Now};
    use alloc::vec;
    use sordini_protocol::messages::assign_replicas_to_dirs_request as request;
    use sordini_protocol::records::{PartitionRecord, RegisterBrokerRecord};

    const FIRST: Uuid = Uuid([21; 16]);
    const SECOND: Uuid = Uuid([22; 16]);

    /// Broker 2 has two directories and leads a partition that lies in the first.
    fn led_by_2() -> Controller {
        let partition =
            PartitionRecord { replicas: vec![2, 1], isr: vec![2, 1], leader: 2, ..Default::default() };
        let mut controller = cluster(2, partition);
        let two_dirs = RegisterBrokerRecord {
            broker_id: 2,
            fenced: false,
            log_dirs: vec![FIRST, SECOND],
            ..RegisterBrokerRecord::default()
        };
        controller.apply(&two_dirs.into());
        let records = controller.assign_replicas_to_dirs(&assignment(2, FIRST)).records;
        records.iter().for_each(|record| controller.apply(record));
        controller
    }

    fn assignment(broker_id: i32, id: Uuid) -> AssignReplicasToDirsRequest {
        let topic = |topic_id, partition_index| request::TopicData {
            topic_id,
            partitions: vec![request::PartitionData { partition_index, ..Default::default() }],
            ..request::TopicData::default()
        };
        let topics = vec![topic(ORDERS, 0), topic(ORDERS, 3), topic(Uuid([9; 16]), 0)];
        let directory = request::DirectoryData { id, topics, ..Default::default() };
        AssignReplicasToDirsRequest {
            broker_id,
            broker_epoch: 0,
            directories: vec![directory],
            ..AssignReplicasToDirsRequest::default()
        }
    }

    #[test]
    fn a_broker_says_where_its_replica_lies() {
        let mut controller = led_by_2();
        assert_eq!(partition_of(&controller).directories, [FIRST, Uuid([1; 16])]);
        let Decision { records, response } = controller.assign_replicas_to_dirs(&assignment(2, SECOND));
        let codes: Vec<i16> =
            response.directories[0].topics.iter().map(|topic| topic.partitions[0].error_code).collect();
        let unknown = [ErrorCode::UnknownTopicOrPartition.as_i16(), ErrorCode::UnknownTopicId.as_i16()];
        assert_eq!(codes, [0, unknown[0], unknown[1]]);
        records.iter().for_each(|record| controller.apply(record));
        let state = partition_of(&controller);
        assert_eq!((&state.directories[..], state.leader), (&[SECOND, Uuid([1; 16])][..], Some(NodeId(2))));
        assert!(controller.assign_replicas_to_dirs(&assignment(2, SECOND)).records.is_empty(), "as it is");

        let lost = Uuid([23; 16]);
        let records = controller.assign_replicas_to_dirs(&assignment(2, lost)).records;
        records.iter().for_each(|record| controller.apply(record));
        let state = partition_of(&controller);
        assert_eq!(
            (state.leader, &state.isr[..]),
            (Some(NodeId(1)), &[NodeId(1)][..]),
            "it has failed since"
        );
    }

    #[test]
    fn a_directory_that_fails_takes_its_replicas_out_of_their_isrs() {
        for (offline, leader) in [(FIRST, NodeId(1)), (SECOND, NodeId(2))] {
            let mut controller = led_by_2();
            let request = BrokerHeartbeatRequest {
                broker_id: 2,
                broker_epoch: 0,
                current_metadata_offset: 10,
                offline_log_dirs: vec![offline],
                ..BrokerHeartbeatRequest::default()
            };
            let now = Now { monotonic: Instant(0), wall_ms: 0 };
            let asked = Asked { version: 1, end: Offset(10), now, kraft: Kraft::default() };
            let Decision { records, .. } = controller.on_broker_heartbeat(&request, &asked);
            records.iter().for_each(|record| controller.apply(record));
            assert_eq!(partition_of(&controller).leader, Some(leader));
            assert_eq!(controller.image().brokers()[&NodeId(2)].log_dirs.len(), 1);
            let again = controller.on_broker_heartbeat(&request, &asked);
            assert!(again.records.is_empty(), "it is known");
        }
    }
}
