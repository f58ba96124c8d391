//! Leaders elected because somebody asks for it: ElectLeaders (KIP-183, KIP-460).

use super::partition_change::Election;
use super::{Controller, Decision, Refusal, text};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use sordini_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use sordini_protocol::records::{MetadataRecord, PartitionChangeRecord};
use sordini_protocol::wire::Str;

/// So many partitions are given back at one check, and the others at the next: every one of them moves clients.
const ELECTIONS_PER_CHECK_MAX: usize = 1000;

/// The answer to a request that is not decided on.
pub(super) fn refuse(request: &ElectLeadersRequest, code: ErrorCode) -> ElectLeadersResponse {
    let error_code = code.as_i16();
    let refused = |index: &i32| PartitionResult {
        partition_id: *index,
        error_code,
        error_message: None,
        ..PartitionResult::default()
    };
    let topics = request.topic_partitions.iter().flatten();
    let results = topics.map(|topic| ReplicaElectionResult {
        topic: topic.topic.clone(),
        partition_result: topic.partitions.iter().map(refused).collect(),
        ..ReplicaElectionResult::default()
    });
    ElectLeadersResponse { error_code, replica_election_results: results.collect(), ..Default::default() }
}

impl Controller {
    pub(super) fn elect_leaders(
        &self,
        request: &ElectLeadersRequest,
        version: i16,
    ) -> Decision<ElectLeadersResponse> {
        let election = match (version, request.election_type) {
            // Version 0 knew preferred leaders alone.
            (0, _) | (_, 0) => Ok(Election::Preferred),
            (_, 1) => Ok(Election::Unclean),
            (_, other) => {
                let message = format!("there is no election of type {other}");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            }
        };
        let mut records = Vec::new();
        let mut response = ElectLeadersResponse {
            error_code: election.as_ref().map_or_else(|refusal| refusal.code.as_i16(), |_| 0),
            ..ElectLeadersResponse::default()
        };
        let mut seen = BTreeSet::new();
        let mut elect = |topic: &Str, index: i32| {
            let outcome = election.clone().and_then(|election| {
                if !seen.insert((topic.clone(), index)) {
                    let message = "the request names the partition more than once";
                    return Err(Refusal::new(ErrorCode::InvalidRequest, message));
                }
                self.elect_leader(topic, index, election)
            });
            let mut result =
                PartitionResult { partition_id: index, error_message: None, ..PartitionResult::default() };
            match outcome {
                Ok(record) => records.push(MetadataRecord::from(record)),
                Err(refusal) => {
                    result.error_code = refusal.code.as_i16();
                    result.error_message = text(&refusal.message);
                }
            }
            result
        };
        let of_topic = |topic: Str, partition_result: Vec<PartitionResult>| ReplicaElectionResult {
            topic,
            partition_result,
            ..ReplicaElectionResult::default()
        };
        match &request.topic_partitions {
            Some(topics) => {
                for topic in topics {
                    let results = topic.partitions.iter().map(|index| elect(&topic.topic, *index)).collect();
                    response.replica_election_results.push(of_topic(topic.topic.clone(), results));
                }
            }
            // Whoever asks for all is not told of those that were well as they were.
            None => {
                for topic in self.image.topics_by_name() {
                    let results = topic.partitions.keys().map(|index| elect(&topic.name, *index));
                    let is_news =
                        |result: &PartitionResult| result.error_code != ErrorCode::ElectionNotNeeded.as_i16();
                    let results = results.filter(is_news).collect();
                    response.replica_election_results.push(of_topic(topic.name.clone(), results));
                }
            }
        }
        Decision { records, response }
    }

    /// Gives partitions back to the first of their replicas where that one can lead and does not.
    pub(crate) fn elect_preferred_leaders(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        for topic in self.image.topics_by_name() {
            for (index, state) in &topic.partitions {
                let preferred = state.replicas.first().copied();
                if state.leader == preferred || !preferred.is_some_and(|node| state.isr.contains(&node)) {
                    continue;
                }
                let mut change = self.change_of(topic, *index, state);
                change.election = Election::Preferred;
                records.extend(change.record().map(MetadataRecord::from));
                if records.len() == ELECTIONS_PER_CHECK_MAX {
                    return records;
                }
            }
        }
        records
    }

    /// Tries once more to find leaders for partitions without one, where a replica that lacks records will do.
    pub(crate) fn retry_elections(&self) -> Vec<MetadataRecord> {
        self.elect_for_leaderless(None).into_iter().map(MetadataRecord::from).collect()
    }

    fn elect_leader(
        &self,
        topic_name: &str,
        index: i32,
        election: Election,
    ) -> Result<PartitionChangeRecord, Refusal> {
        let topic = self.image.topic_by_name(topic_name);
        let Some((topic, state)) = topic.and_then(|topic| Some((topic, topic.partitions.get(&index)?)))
        else {
            let message = format!("there is no partition {topic_name}-{index}");
            return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
        };
        let is_needed = match election {
            Election::Preferred => state.leader.is_none() || state.leader != state.replicas.first().copied(),
            Election::Online | Election::Unclean => state.leader.is_none(),
        };
        if !is_needed {
            let message = "the partition has the leader that it should have";
            return Err(Refusal::new(ErrorCode::ElectionNotNeeded, message));
        }
        let mut change = self.change_of(topic, index, state);
        change.election = election;
        change.record().ok_or_else(|| match election {
            Election::Preferred => {
                let message = "the preferred leader is not there or not in sync";
                Refusal::new(ErrorCode::PreferredLeaderNotAvailable, message)
            }
            Election::Online | Election::Unclean => {
                let message = "no replica is there to lead";
                Refusal::new(ErrorCode::EligibleLeadersNotAvailable, message)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cluster, partition as partition_of};
    use super::*;
    use crate::ids::NodeId;
    use alloc::vec;
    use sordini_protocol::messages::elect_leaders_request::TopicPartitions;
    use sordini_protocol::records::{
        BrokerRegistrationChangeRecord, FeatureLevelRecord, FenceBrokerRecord, PartitionRecord,
    };

    const PREFERRED: i8 = 0;
    const UNCLEAN: i8 = 1;

    fn fenced(id: i32) -> MetadataRecord {
        FenceBrokerRecord { id, ..Default::default() }.into()
    }

    fn leaving(broker_id: i32) -> MetadataRecord {
        let in_controlled_shutdown = 1;
        BrokerRegistrationChangeRecord { broker_id, in_controlled_shutdown, ..Default::default() }.into()
    }

    #[test]
    fn a_leader_is_elected_by_the_rules_of_its_election() {
        let partition = |isr: &[i32], leader: i32| PartitionRecord {
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            leader,
            ..PartitionRecord::default()
        };
        let preferred_gone = ErrorCode::PreferredLeaderNotAvailable;
        type Row = (i8, PartitionRecord, Vec<MetadataRecord>, Result<(Option<i32>, Vec<i32>, i8), ErrorCode>);
        let table: [Row; 11] = [
            (PREFERRED, partition(&[1, 2], 1), vec![], Err(ErrorCode::ElectionNotNeeded)),
            (PREFERRED, partition(&[1, 2], 2), vec![], Ok((Some(1), vec![1, 2], 0))),
            (PREFERRED, partition(&[2, 3], 2), vec![], Err(preferred_gone)),
            (PREFERRED, partition(&[1, 2], 2), vec![fenced(1)], Err(preferred_gone)),
            (PREFERRED, partition(&[1, 2], 2), vec![leaving(1)], Err(preferred_gone)),
            (PREFERRED, partition(&[2, 3], -1), vec![], Ok((Some(2), vec![2, 3], 0))),
            (PREFERRED, partition(&[2], -1), vec![fenced(2)], Err(preferred_gone)),
            (UNCLEAN, partition(&[2], 2), vec![fenced(2)], Err(ErrorCode::ElectionNotNeeded)),
            (UNCLEAN, partition(&[2], -1), vec![], Ok((Some(2), vec![2], 0))),
            (UNCLEAN, partition(&[2], -1), vec![fenced(2)], Ok((Some(1), vec![1], 1))),
            (
                UNCLEAN,
                partition(&[2], -1),
                vec![fenced(1), fenced(2), fenced(3)],
                Err(ErrorCode::EligibleLeadersNotAvailable),
            ),
        ];
        for (election_type, partition, events, expected) in table {
            let mut controller = cluster(3, partition.clone());
            events.iter().for_each(|event| controller.apply(event));
            let wanted =
                TopicPartitions { topic: Str::from("orders"), partitions: vec![0], ..Default::default() };
            let request = ElectLeadersRequest {
                election_type,
                topic_partitions: Some(vec![wanted]),
                ..Default::default()
            };
            let Decision { records, response } = controller.elect_leaders(&request, 2);
            let code = response.replica_election_results[0].partition_result[0].error_code;
            let case = format!("{election_type} {partition:?} {events:?}");
            assert_eq!(code, expected.as_ref().map_or_else(|code| code.as_i16(), |_| 0), "{case}");
            assert_eq!(records.is_empty(), expected.is_err(), "{case}");
            records.iter().for_each(|record| controller.apply(record));
            if let Ok((leader, isr, recovery)) = expected {
                let state = partition_of(&controller);
                assert_eq!(state.leader, leader.map(NodeId), "{case}");
                assert_eq!(state.isr, isr.into_iter().map(NodeId).collect::<Vec<_>>(), "{case}");
                assert_eq!((state.leader_recovery_state, state.leader_epoch.0), (recovery, 1), "{case}");
            }
        }
    }

    #[test]
    fn an_election_for_all_passes_over_those_that_need_none() {
        let partition =
            PartitionRecord { replicas: vec![1, 2], isr: vec![1, 2], leader: 1, ..Default::default() };
        let request = ElectLeadersRequest { topic_partitions: None, ..Default::default() };
        let Decision { records, response } = cluster(2, partition.clone()).elect_leaders(&request, 2);
        assert_eq!((records.len(), response.replica_election_results[0].partition_result.len()), (0, 0));
        let other_leads = PartitionRecord { leader: 2, ..partition };
        let Decision { records, response } = cluster(2, other_leads).elect_leaders(&request, 2);
        assert_eq!((records.len(), response.replica_election_results[0].partition_result.len()), (1, 1));
    }

    #[test]
    fn who_leaves_the_isr_leads_nothing_and_the_last_one_stays_in_it() {
        let partition = |isr: &[i32]| PartitionRecord {
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            leader: 1,
            ..PartitionRecord::default()
        };
        let after = |isr: &[i32], node: i32| {
            let mut controller = cluster(3, partition(isr));
            for record in controller.leave_isrs(NodeId(node)) {
                controller.apply(&record.into());
            }
            let state = partition_of(&controller);
            let isr: Vec<i32> = state.isr.iter().map(|node| node.0).collect();
            (state.leader.map(|node| node.0), isr, state.leader_epoch.0, state.partition_epoch.0)
        };
        assert_eq!(after(&[1, 2], 1), (Some(2), vec![2], 1, 1));
        assert_eq!(after(&[1, 2], 2), (Some(1), vec![1], 0, 1), "a smaller ISR alone is no new epoch");
        assert_eq!(after(&[1, 2], 3), (Some(1), vec![1, 2], 0, 0));
        assert_eq!(after(&[1], 1), (None, vec![1], 1, 1));
    }

    #[test]
    fn before_metadata_version_12_a_smaller_isr_is_a_new_epoch() {
        let partition =
            PartitionRecord { replicas: vec![1, 2], isr: vec![1, 2], leader: 1, ..Default::default() };
        for (feature_level, leader_epoch) in [(11, 1), (12, 0)] {
            let mut controller = cluster(2, partition.clone());
            let name = Str::from_static("metadata.version");
            let version = FeatureLevelRecord { name, feature_level, ..FeatureLevelRecord::default() };
            controller.apply(&version.into());
            for record in controller.leave_isrs(NodeId(2)) {
                controller.apply(&record.into());
            }
            let state = partition_of(&controller);
            assert_eq!((state.leader, state.leader_epoch.0), (Some(NodeId(1)), leader_epoch));
        }
    }
}
