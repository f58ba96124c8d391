//! Partitions moved to other brokers: AlterPartitionReassignments and ListPartitionReassignments (KIP-455).
//!
//! New replicas are added first, and the old ones removed when the new ones are in sync; see [`PartitionChange`].

use super::image::{MetadataImage, PartitionState};
use super::partition_change::{Election, PartitionChange};
use super::{Controller, Decision, Refusal, text};
use crate::ids::NodeId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use sordini_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use sordini_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use sordini_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use sordini_protocol::records::PartitionChangeRecord;
use sordini_protocol::wire::Str;

impl PartitionState {
    fn is_reassigned(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    /// The replicas without those that a reassignment adds: what it began with.
    fn original_replicas(&self) -> Vec<NodeId> {
        without(&self.replicas, &self.adding_replicas)
    }
}

fn without(nodes: &[NodeId], out: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| !out.contains(node)).collect()
}

/// The answer to a request that is not decided on.
pub(super) fn refuse(
    request: &AlterPartitionReassignmentsRequest,
    code: ErrorCode,
) -> AlterPartitionReassignmentsResponse {
    let error_code = code.as_i16();
    let refused = |wanted: &ReassignablePartition| ReassignablePartitionResponse {
        partition_index: wanted.partition_index,
        error_code,
        error_message: None,
        ..ReassignablePartitionResponse::default()
    };
    let responses = request.topics.iter().map(|topic| ReassignableTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(refused).collect(),
        ..ReassignableTopicResponse::default()
    });
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        error_code,
        error_message: None,
        responses: responses.collect(),
        ..AlterPartitionReassignmentsResponse::default()
    }
}

impl Controller {
    pub(super) fn alter_partition_reassignments(
        &self,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Decision<AlterPartitionReassignmentsResponse> {
        let mut records = Vec::new();
        let mut responses = Vec::new();
        let mut times_named: BTreeMap<(&Str, i32), usize> = BTreeMap::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                *times_named.entry((&topic.name, partition.partition_index)).or_default() += 1;
            }
        }
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for wanted in &topic.partitions {
                let partition_index = wanted.partition_index;
                // Nothing is moved by a request that says it twice: one of the two may be a mistake.
                let outcome = if times_named[&(&topic.name, partition_index)] > 1 {
                    let message = "the request names the partition more than once";
                    Err(Refusal::new(ErrorCode::InvalidRequest, message))
                } else {
                    self.reassign(&topic.name, wanted, request.allow_replication_factor_change)
                };
                let mut response = ReassignablePartitionResponse {
                    partition_index,
                    error_message: None,
                    ..ReassignablePartitionResponse::default()
                };
                match outcome {
                    Ok(record) => records.extend(record.map(Into::into)),
                    Err(refusal) => {
                        response.error_code = refusal.code.as_i16();
                        response.error_message = text(&refusal.message);
                    }
                }
                partitions.push(response);
            }
            let name = topic.name.clone();
            responses.push(ReassignableTopicResponse { name, partitions, ..Default::default() });
        }
        let response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: request.allow_replication_factor_change,
            error_message: None,
            responses,
            ..AlterPartitionReassignmentsResponse::default()
        };
        Decision { records, response }
    }

    fn reassign(
        &self,
        topic_name: &str,
        wanted: &ReassignablePartition,
        allow_replication_factor_change: bool,
    ) -> Result<Option<PartitionChangeRecord>, Refusal> {
        let index = wanted.partition_index;
        let topic = self.image.topic_by_name(topic_name);
        let Some((topic, state)) = topic.and_then(|topic| Some((topic, topic.partitions.get(&index)?)))
        else {
            let message = format!("there is no partition {topic_name}-{index}");
            return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
        };
        let mut change = self.change_of(topic, index, state);
        let Some(target) = &wanted.replicas else {
            self.cancel(topic_name, state, &mut change)?;
            return Ok(change.record());
        };
        let target = self.check_replicas(target)?;
        let original = state.original_replicas();
        if !allow_replication_factor_change && target.len() != original.len() {
            let (from, to) = (original.len(), target.len());
            let message = format!("the replication factor would change from {from} to {to}");
            return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
        }
        // As in Kafka, what a reassignment before this one was adding, and this one does not want, is removed like any other
        // replica: a cancellation goes back to it too.
        change.adding = without(&target, &original);
        change.removing = without(&state.replicas, &target);
        change.adding.sort_unstable();
        change.removing.sort_unstable();
        change.replicas = target;
        change.replicas.extend(&change.removing);
        Ok(change.record())
    }

    /// Back to what the reassignment began with.
    fn cancel(
        &self,
        topic_name: &str,
        state: &PartitionState,
        change: &mut PartitionChange<'_>,
    ) -> Result<(), Refusal> {
        if !state.is_reassigned() {
            let message = "the partition is not being reassigned";
            return Err(Refusal::new(ErrorCode::NoReassignmentInProgress, message));
        }
        let may_be_unclean = self.is_unclean_election_enabled(topic_name);
        let original = state.original_replicas();
        let Some(first) = original.first().copied() else {
            let message = "every replica is one that the reassignment adds";
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        };
        change.isr = without(&state.isr, &state.adding_replicas);
        if change.isr.is_empty() {
            if !may_be_unclean {
                let message =
                    "none of the replicas to go back to is in sync: it would take an unclean election";
                return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
            }
            change.isr.push(first);
        }
        if may_be_unclean {
            change.election = Election::Unclean;
        }
        change.replicas = original;
        change.adding.clear();
        change.removing.clear();
        Ok(())
    }
}

/// What ListPartitionReassignments answers.
pub(crate) fn list(
    image: &MetadataImage,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let wanted: Option<BTreeSet<(&Str, i32)>> = request.topics.as_ref().map(|topics| {
        let named = topics
            .iter()
            .flat_map(|topic| topic.partition_indexes.iter().map(move |index| (&topic.name, *index)));
        named.collect()
    });
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    let topics = image.topics_by_name().filter_map(|topic| {
        let is_wanted =
            |index: i32| wanted.as_ref().is_none_or(|wanted| wanted.contains(&(&topic.name, index)));
        let moving = topic.partitions.iter();
        let moving = moving.filter(|(index, state)| state.is_reassigned() && is_wanted(**index));
        let partitions: Vec<_> = moving
            .map(|(index, state)| OngoingPartitionReassignment {
                partition_index: *index,
                replicas: ids(&state.replicas),
                adding_replicas: ids(&state.adding_replicas),
                removing_replicas: ids(&state.removing_replicas),
                ..OngoingPartitionReassignment::default()
            })
            .collect();
        let name = topic.name.clone();
        (!partitions.is_empty()).then(|| OngoingTopicReassignment { name, partitions, ..Default::default() })
    });
    ListPartitionReassignmentsResponse {
        error_message: None,
        topics: topics.collect(),
        ..ListPartitionReassignmentsResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cluster, partition as partition_of, set_topic_config};
    use super::*;
    use alloc::vec;
    use sordini_protocol::messages::alter_partition_reassignments_request::ReassignableTopic;
    use sordini_protocol::records::{FenceBrokerRecord, PartitionRecord};

    fn request(replicas: Option<&[i32]>) -> AlterPartitionReassignmentsRequest {
        let partition = ReassignablePartition {
            partition_index: 0,
            replicas: replicas.map(<[i32]>::to_vec),
            ..ReassignablePartition::default()
        };
        let topic = ReassignableTopic {
            name: Str::from("orders"),
            partitions: vec![partition],
            ..ReassignableTopic::default()
        };
        AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() }
    }

    /// Decides, applies, and answers the code.
    fn alter(controller: &mut Controller, request: &AlterPartitionReassignmentsRequest) -> i16 {
        let Decision { records, response } = controller.alter_partition_reassignments(request);
        records.iter().for_each(|record| controller.apply(record));
        response.responses[0].partitions[0].error_code
    }

    /// Replicas, those added, those removed, those in sync, the leader.
    type Shape = (Vec<i32>, Vec<i32>, Vec<i32>, Vec<i32>, Option<i32>);

    fn shape(controller: &Controller) -> Shape {
        let state = partition_of(controller);
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
        (
            ids(&state.replicas),
            ids(&state.adding_replicas),
            ids(&state.removing_replicas),
            ids(&state.isr),
            state.leader.map(|leader| leader.0),
        )
    }

    fn on_1_2() -> PartitionRecord {
        PartitionRecord { replicas: vec![1, 2], isr: vec![1, 2], leader: 1, ..Default::default() }
    }

    #[test]
    fn replicas_are_added_before_others_are_removed() {
        type Row<'a> = (&'a [i32], Shape);
        let table: [Row<'_>; 5] = [
            (&[1, 2], (vec![1, 2], vec![], vec![], vec![1, 2], Some(1))),
            (&[2, 1], (vec![2, 1], vec![], vec![], vec![1, 2], Some(1))),
            (&[2], (vec![2], vec![], vec![], vec![2], Some(2))),
            (&[3, 2], (vec![3, 2, 1], vec![3], vec![1], vec![1, 2], Some(1))),
            (&[1, 2, 3, 4], (vec![1, 2, 3, 4], vec![3, 4], vec![], vec![1, 2], Some(1))),
        ];
        for (target, expected) in table {
            let mut controller = cluster(4, on_1_2());
            assert_eq!(alter(&mut controller, &request(Some(target))), 0);
            assert_eq!(shape(&controller), expected, "{target:?}");
            let state = partition_of(&controller);
            assert_eq!(state.directories.len(), state.replicas.len(), "each replica has a directory");
        }
    }

    #[test]
    fn a_reassignment_changes_its_target_and_is_cancelled() {
        let mut controller = cluster(4, on_1_2());
        assert_eq!(alter(&mut controller, &request(Some(&[3, 2]))), 0);
        let listed = list(controller.image(), &ListPartitionReassignmentsRequest::default());
        let partition = &listed.topics[0].partitions[0];
        assert_eq!((&partition.adding_replicas[..], &partition.removing_replicas[..]), (&[3][..], &[1][..]));

        assert_eq!(alter(&mut controller, &request(Some(&[4, 2]))), 0);
        assert_eq!(shape(&controller), (vec![4, 2, 1, 3], vec![4], vec![1, 3], vec![1, 2], Some(1)));
        assert_eq!(alter(&mut controller, &request(Some(&[1, 4]))), 0);
        let kept = (vec![1, 4, 2, 3], vec![4], vec![2, 3], vec![1, 2], Some(1));
        assert_eq!(shape(&controller), kept, "what is still added is no replica yet");

        assert_eq!(alter(&mut controller, &request(None)), 0);
        assert_eq!(shape(&controller), (vec![1, 2, 3], vec![], vec![], vec![1, 2], Some(1)));
        assert_eq!(partition_of(&controller).leader_epoch.0, 1, "a replica was taken away");
        assert_eq!(list(controller.image(), &ListPartitionReassignmentsRequest::default()).topics, []);
        let none = ErrorCode::NoReassignmentInProgress.as_i16();
        assert_eq!(alter(&mut controller, &request(None)), none);
    }

    #[test]
    fn a_reassignment_cannot_be_cancelled_into_the_loss_of_records_unless_that_is_allowed() {
        let moving = PartitionRecord {
            replicas: vec![3, 2, 1],
            isr: vec![3],
            adding_replicas: vec![3],
            removing_replicas: vec![1],
            leader: 3,
            ..PartitionRecord::default()
        };
        let mut controller = cluster(3, moving);
        let refused = ErrorCode::InvalidReplicaAssignment.as_i16();
        assert_eq!(alter(&mut controller, &request(None)), refused);
        set_topic_config(&mut controller, "unclean.leader.election.enable", "true");
        assert_eq!(alter(&mut controller, &request(None)), 0);
        assert_eq!(shape(&controller), (vec![2, 1], vec![], vec![], vec![2], Some(2)));
    }

    #[test]
    fn targets_that_cannot_be_are_refused() {
        let invalid = ErrorCode::InvalidReplicaAssignment;
        let table: [(&[i32], bool, ErrorCode); 5] = [
            (&[], true, invalid),
            (&[1, 1], true, invalid),
            (&[9, 1], true, invalid),
            (&[1], false, ErrorCode::InvalidReplicationFactor),
            (&[1, 2, 3], false, ErrorCode::InvalidReplicationFactor),
        ];
        for (target, allow_replication_factor_change, code) in table {
            let mut controller = cluster(3, on_1_2());
            let request = AlterPartitionReassignmentsRequest {
                allow_replication_factor_change,
                ..request(Some(target))
            };
            assert_eq!(alter(&mut controller, &request), code.as_i16(), "{target:?}");
            assert_eq!(shape(&controller).0, [1, 2]);
        }
        let mut controller = cluster(3, on_1_2());
        let mut twice = request(Some(&[2, 3]));
        let again = twice.topics[0].partitions[0].clone();
        twice.topics[0].partitions.push(again);
        assert_eq!(alter(&mut controller, &twice), ErrorCode::InvalidRequest.as_i16());
        let fenced = FenceBrokerRecord { id: 3, ..FenceBrokerRecord::default() };
        controller.apply(&fenced.into());
        assert_eq!(alter(&mut controller, &request(Some(&[1, 3]))), 0, "a fenced broker may come back");
    }
}
