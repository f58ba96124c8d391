//! The quorum's requests and answers as they travel: each is about one partition, that of the metadata log.

use super::snapshot_file::SnapshotId;
use super::voters::{Address, Voter, VoterKey};
use crate::ids::{LeaderEpoch, NodeId, Offset};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData as FetchedPartition,
};
use sordini_protocol::messages::{
    AddRaftVoterRequest, ApiVersionsRequest, BeginQuorumEpochRequest, BeginQuorumEpochResponse,
    DescribeQuorumRequest, EndQuorumEpochRequest, EndQuorumEpochResponse, FetchRequest, FetchResponse,
    FetchSnapshotRequest, FetchSnapshotResponse, RemoveRaftVoterRequest, UpdateRaftVoterRequest,
    UpdateRaftVoterResponse, VoteRequest, VoteResponse, add_raft_voter_request, begin_quorum_epoch_request,
    begin_quorum_epoch_response, end_quorum_epoch_request, end_quorum_epoch_response, fetch_request,
    fetch_response, fetch_snapshot_request, fetch_snapshot_response, update_raft_voter_request,
    update_raft_voter_response, vote_request, vote_response,
};
use sordini_protocol::records::voters_record::Endpoint;
use sordini_protocol::wire::{Records, Str, Uuid};

/// Name of the metadata log's topic.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";

/// Id of the metadata log's topic, the same in every cluster.
pub(crate) const METADATA_TOPIC_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// In a fetch: the high watermark is not known, tell whatever it is.
const NO_HIGH_WATERMARK: i64 = -1;

/// Versions in which the quorum's nodes speak to each other, those of Apache Kafka 4.3.
pub(crate) const VOTE_VERSION: i16 = 2;
pub(crate) const BEGIN_QUORUM_EPOCH_VERSION: i16 = 1;
pub(crate) const END_QUORUM_EPOCH_VERSION: i16 = 1;
pub(crate) const FETCH_VERSION: i16 = 18;
pub(crate) const FETCH_SNAPSHOT_VERSION: i16 = 1;
/// Before it, features whose lowest level is 0 are not told.
pub(crate) const API_VERSIONS_VERSION: i16 = 4;
pub(crate) const ADD_RAFT_VOTER_VERSION: i16 = 1;
pub(crate) const REMOVE_RAFT_VOTER_VERSION: i16 = 0;
pub(crate) const UPDATE_RAFT_VOTER_VERSION: i16 = 0;
pub(crate) const CONTROLLER_REGISTRATION_VERSION: i16 = 0;

fn topic() -> Str {
    Str::from_static(METADATA_TOPIC)
}

/// What a request is about, if that is the metadata log and nothing else.
macro_rules! of_metadata_log {
    ($request:expr) => {
        match &*$request.topics {
            [topic] if *topic.topic_name == *METADATA_TOPIC => match &*topic.partitions {
                [partition] if partition.partition_index == 0 => Some(partition),
                _ => None,
            },
            _ => None,
        }
    };
}

pub(crate) fn voted_on(request: &VoteRequest) -> Option<&vote_request::PartitionData> {
    of_metadata_log!(request)
}

pub(crate) fn begun(request: &BeginQuorumEpochRequest) -> Option<&begin_quorum_epoch_request::PartitionData> {
    of_metadata_log!(request)
}

pub(crate) fn ended(request: &EndQuorumEpochRequest) -> Option<&end_quorum_epoch_request::PartitionData> {
    of_metadata_log!(request)
}

pub(crate) fn is_described(request: &DescribeQuorumRequest) -> bool {
    of_metadata_log!(request).is_some()
}

pub(crate) fn fetched(request: &FetchRequest, version: i16) -> Option<&fetch_request::FetchPartition> {
    let [topic] = &*request.topics else { return None };
    let [partition] = &*topic.partitions else { return None };
    // Topics have ids from this version on.
    let is_metadata =
        if version >= 13 { topic.topic_id == METADATA_TOPIC_ID } else { *topic.topic == *METADATA_TOPIC };
    (is_metadata && partition.partition == 0).then_some(partition)
}

pub(crate) fn snapshot_fetched(
    request: &FetchSnapshotRequest,
) -> Option<&fetch_snapshot_request::PartitionSnapshot> {
    match &*request.topics {
        [topic] if *topic.name == *METADATA_TOPIC => match &*topic.partitions {
            [partition] if partition.partition == 0 => Some(partition),
            _ => None,
        },
        _ => None,
    }
}

/// Whom a leader that goes would have follow it, the first choice first. Version 0 has them without their directories.
pub(crate) fn successors(
    partition: &end_quorum_epoch_request::PartitionData,
) -> impl Iterator<Item = NodeId> + '_ {
    let candidates = partition.preferred_candidates.iter().map(|candidate| candidate.candidate_id);
    candidates.chain(partition.preferred_successors.iter().copied()).map(NodeId)
}

/// What a node knows of who leads, as every answer carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaderHint {
    pub(crate) epoch: LeaderEpoch,
    /// The leader, and where it is if that is known.
    pub(crate) leader: Option<(NodeId, Option<Address>)>,
}

impl LeaderHint {
    fn id(&self) -> i32 {
        self.leader.as_ref().map_or(-1, |(id, _)| id.0)
    }

    fn address(&self) -> Option<(i32, &Address)> {
        let (id, address) = self.leader.as_ref()?;
        Some((id.0, address.as_ref()?))
    }
}

/// A request for a vote.
pub(crate) struct Ballot {
    pub(crate) candidate: VoterKey,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) log_end: Offset,
    pub(crate) is_pre_vote: bool,
}

pub(crate) fn vote_request(cluster_id: &Str, voter: VoterKey, ballot: &Ballot) -> VoteRequest {
    VoteRequest {
        cluster_id: Some(cluster_id.clone()),
        voter_id: voter.node.0,
        topics: vec![vote_request::TopicData {
            topic_name: topic(),
            partitions: vec![vote_request::PartitionData {
                replica_epoch: ballot.epoch.0,
                replica_id: ballot.candidate.node.0,
                replica_directory_id: ballot.candidate.directory,
                voter_directory_id: voter.directory,
                last_offset_epoch: ballot.last_epoch.0,
                last_offset: ballot.log_end.0,
                pre_vote: ballot.is_pre_vote,
                ..vote_request::PartitionData::default()
            }],
            ..vote_request::TopicData::default()
        }],
        ..VoteRequest::default()
    }
}

pub(crate) fn vote_response(code: ErrorCode, hint: &LeaderHint, is_granted: bool) -> VoteResponse {
    let endpoint = |(id, address): (i32, &Address)| vote_response::NodeEndpoint {
        node_id: id,
        host: address.host(),
        port: address.port,
        ..vote_response::NodeEndpoint::default()
    };
    VoteResponse {
        topics: vec![vote_response::TopicData {
            topic_name: topic(),
            partitions: vec![vote_response::PartitionData {
                error_code: code.as_i16(),
                leader_id: hint.id(),
                leader_epoch: hint.epoch.0,
                vote_granted: is_granted,
                ..vote_response::PartitionData::default()
            }],
            ..vote_response::TopicData::default()
        }],
        node_endpoints: hint.address().map(endpoint).into_iter().collect(),
        ..VoteResponse::default()
    }
}

pub(crate) fn begin_quorum_epoch_request(
    cluster_id: &Str,
    voter: VoterKey,
    leader: NodeId,
    epoch: LeaderEpoch,
    (listener, address): (&Str, &Address),
) -> BeginQuorumEpochRequest {
    BeginQuorumEpochRequest {
        cluster_id: Some(cluster_id.clone()),
        voter_id: voter.node.0,
        topics: vec![begin_quorum_epoch_request::TopicData {
            topic_name: topic(),
            partitions: vec![begin_quorum_epoch_request::PartitionData {
                voter_directory_id: voter.directory,
                leader_id: leader.0,
                leader_epoch: epoch.0,
                ..begin_quorum_epoch_request::PartitionData::default()
            }],
            ..begin_quorum_epoch_request::TopicData::default()
        }],
        leader_endpoints: vec![begin_quorum_epoch_request::LeaderEndpoint {
            name: listener.clone(),
            host: address.host(),
            port: address.port,
            ..begin_quorum_epoch_request::LeaderEndpoint::default()
        }],
        ..BeginQuorumEpochRequest::default()
    }
}

pub(crate) fn begin_quorum_epoch_response(code: ErrorCode, hint: &LeaderHint) -> BeginQuorumEpochResponse {
    let endpoint = |(id, address): (i32, &Address)| begin_quorum_epoch_response::NodeEndpoint {
        node_id: id,
        host: address.host(),
        port: address.port,
        ..begin_quorum_epoch_response::NodeEndpoint::default()
    };
    BeginQuorumEpochResponse {
        topics: vec![begin_quorum_epoch_response::TopicData {
            topic_name: topic(),
            partitions: vec![begin_quorum_epoch_response::PartitionData {
                error_code: code.as_i16(),
                leader_id: hint.id(),
                leader_epoch: hint.epoch.0,
                ..begin_quorum_epoch_response::PartitionData::default()
            }],
            ..begin_quorum_epoch_response::TopicData::default()
        }],
        node_endpoints: hint.address().map(endpoint).into_iter().collect(),
        ..BeginQuorumEpochResponse::default()
    }
}

pub(crate) fn end_quorum_epoch_request(
    cluster_id: &Str,
    leader: NodeId,
    epoch: LeaderEpoch,
    successors: &[VoterKey],
) -> EndQuorumEpochRequest {
    let candidate = |voter: &VoterKey| end_quorum_epoch_request::ReplicaInfo {
        candidate_id: voter.node.0,
        candidate_directory_id: voter.directory,
        ..end_quorum_epoch_request::ReplicaInfo::default()
    };
    EndQuorumEpochRequest {
        cluster_id: Some(cluster_id.clone()),
        topics: vec![end_quorum_epoch_request::TopicData {
            topic_name: topic(),
            partitions: vec![end_quorum_epoch_request::PartitionData {
                leader_id: leader.0,
                leader_epoch: epoch.0,
                preferred_successors: successors.iter().map(|voter| voter.node.0).collect(),
                preferred_candidates: successors.iter().map(candidate).collect(),
                ..end_quorum_epoch_request::PartitionData::default()
            }],
            ..end_quorum_epoch_request::TopicData::default()
        }],
        ..EndQuorumEpochRequest::default()
    }
}

pub(crate) fn end_quorum_epoch_response(code: ErrorCode, hint: &LeaderHint) -> EndQuorumEpochResponse {
    let endpoint = |(id, address): (i32, &Address)| end_quorum_epoch_response::NodeEndpoint {
        node_id: id,
        host: address.host(),
        port: address.port,
        ..end_quorum_epoch_response::NodeEndpoint::default()
    };
    EndQuorumEpochResponse {
        topics: vec![end_quorum_epoch_response::TopicData {
            topic_name: topic(),
            partitions: vec![end_quorum_epoch_response::PartitionData {
                error_code: code.as_i16(),
                leader_id: hint.id(),
                leader_epoch: hint.epoch.0,
                ..end_quorum_epoch_response::PartitionData::default()
            }],
            ..end_quorum_epoch_response::TopicData::default()
        }],
        node_endpoints: hint.address().map(endpoint).into_iter().collect(),
        ..EndQuorumEpochResponse::default()
    }
}

/// What a follower asks of the log.
pub(crate) struct LogFetch {
    pub(crate) replica: VoterKey,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) offset: Offset,
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) max_wait_ms: i32,
    pub(crate) max_bytes: i32,
}

pub(crate) fn fetch_request(cluster_id: &Str, fetch: &LogFetch) -> FetchRequest {
    FetchRequest {
        cluster_id: Some(cluster_id.clone()),
        replica_state: fetch_request::ReplicaState {
            replica_id: fetch.replica.node.0,
            ..fetch_request::ReplicaState::default()
        },
        max_wait_ms: fetch.max_wait_ms,
        min_bytes: 0,
        max_bytes: fetch.max_bytes,
        topics: vec![fetch_request::FetchTopic {
            topic_id: METADATA_TOPIC_ID,
            partitions: vec![fetch_request::FetchPartition {
                current_leader_epoch: fetch.epoch.0,
                fetch_offset: fetch.offset.0,
                last_fetched_epoch: fetch.last_epoch.0,
                log_start_offset: fetch.log_start.0,
                partition_max_bytes: fetch.max_bytes,
                replica_directory_id: fetch.replica.directory,
                high_watermark: fetch.high_watermark.map_or(NO_HIGH_WATERMARK, |at| at.0),
                ..fetch_request::FetchPartition::default()
            }],
            ..fetch_request::FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// What the leader answers, or whoever is asked in its place.
pub(crate) struct Fetched {
    pub(crate) code: ErrorCode,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) log_start: Offset,
    /// The asker's log parts from this one here: at the end of this epoch.
    pub(crate) diverging: Option<(LeaderEpoch, Offset)>,
    /// The log does not hold what the asker lacks; this snapshot contains it.
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) records: Records,
}

pub(crate) fn fetch_response(fetched: Fetched, hint: &LeaderHint, version: i16) -> FetchResponse {
    let endpoint = |(id, address): (i32, &Address)| fetch_response::NodeEndpoint {
        node_id: id,
        host: address.host(),
        port: i32::from(address.port),
        ..fetch_response::NodeEndpoint::default()
    };
    let diverging = |(epoch, end): (LeaderEpoch, Offset)| EpochEndOffset {
        epoch: epoch.0,
        end_offset: end.0,
        ..EpochEndOffset::default()
    };
    let snapshot = |id: SnapshotId| fetch_response::SnapshotId {
        end_offset: id.end.0,
        epoch: id.epoch.0,
        ..fetch_response::SnapshotId::default()
    };
    let endpoints: Vec<_> = hint.address().map(endpoint).into_iter().collect();
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: topic(),
            topic_id: METADATA_TOPIC_ID,
            partitions: vec![FetchedPartition {
                error_code: fetched.code.as_i16(),
                high_watermark: fetched.high_watermark.map_or(NO_HIGH_WATERMARK, |at| at.0),
                last_stable_offset: NO_HIGH_WATERMARK,
                log_start_offset: fetched.log_start.0,
                diverging_epoch: fetched.diverging.map(diverging).unwrap_or_default(),
                snapshot_id: fetched.snapshot.map(snapshot).unwrap_or_default(),
                current_leader: LeaderIdAndEpoch {
                    leader_id: hint.id(),
                    leader_epoch: hint.epoch.0,
                    ..LeaderIdAndEpoch::default()
                },
                records: Some(fetched.records),
                ..FetchedPartition::default()
            }],
            ..FetchableTopicResponse::default()
        }],
        // Earlier versions have no room for them.
        node_endpoints: if version >= 16 { endpoints } else { Vec::new() },
        ..FetchResponse::default()
    }
}

/// What of which snapshot a follower asks for.
pub(crate) struct SnapshotRequested {
    pub(crate) id: SnapshotId,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) position: i64,
}

impl SnapshotRequested {
    pub(crate) fn of(partition: &fetch_snapshot_request::PartitionSnapshot) -> Self {
        let fetch_snapshot_request::SnapshotId { end_offset, epoch, .. } = partition.snapshot_id;
        Self {
            id: SnapshotId { end: Offset(end_offset), epoch: LeaderEpoch(epoch) },
            leader_epoch: LeaderEpoch(partition.current_leader_epoch),
            position: partition.position,
        }
    }
}

pub(crate) fn fetch_snapshot_request(
    cluster_id: &Str,
    replica: VoterKey,
    epoch: LeaderEpoch,
    (id, position): (SnapshotId, u64),
    max_bytes: i32,
) -> FetchSnapshotRequest {
    FetchSnapshotRequest {
        cluster_id: Some(cluster_id.clone()),
        replica_id: replica.node.0,
        max_bytes,
        topics: vec![fetch_snapshot_request::TopicSnapshot {
            name: topic(),
            partitions: vec![fetch_snapshot_request::PartitionSnapshot {
                current_leader_epoch: epoch.0,
                snapshot_id: fetch_snapshot_request::SnapshotId {
                    end_offset: id.end.0,
                    epoch: id.epoch.0,
                    ..fetch_snapshot_request::SnapshotId::default()
                },
                position: i64::try_from(position).expect("a file is smaller than 2^63 bytes"),
                replica_directory_id: replica.directory,
                ..fetch_snapshot_request::PartitionSnapshot::default()
            }],
            ..fetch_snapshot_request::TopicSnapshot::default()
        }],
        ..FetchSnapshotRequest::default()
    }
}

/// A part of a snapshot.
pub(crate) struct SnapshotChunk {
    pub(crate) id: SnapshotId,
    /// Of the whole.
    pub(crate) size: u64,
    pub(crate) position: u64,
    pub(crate) records: Records,
}

/// The answer to whoever asked for a part of a snapshot: to each partition that it named, which is one.
pub(crate) fn fetch_snapshot_response(
    request: &FetchSnapshotRequest,
    chunk: Result<SnapshotChunk, ErrorCode>,
    hint: &LeaderHint,
    version: i16,
) -> FetchSnapshotResponse {
    let asked = request.topics.first();
    let partition = asked.and_then(|topic| topic.partitions.first());
    let mut snapshot = fetch_snapshot_response::PartitionSnapshot {
        index: partition.map_or(0, |partition| partition.partition),
        current_leader: fetch_snapshot_response::LeaderIdAndEpoch {
            leader_id: hint.id(),
            leader_epoch: hint.epoch.0,
            ..fetch_snapshot_response::LeaderIdAndEpoch::default()
        },
        unaligned_records: Some(Records::Bytes(Bytes::new())),
        ..fetch_snapshot_response::PartitionSnapshot::default()
    };
    match chunk {
        Ok(SnapshotChunk { id, size, position, records }) => {
            let number = |bytes: u64| i64::try_from(bytes).expect("a file is smaller than 2^63 bytes");
            snapshot.snapshot_id.end_offset = id.end.0;
            snapshot.snapshot_id.epoch = id.epoch.0;
            (snapshot.size, snapshot.position) = (number(size), number(position));
            snapshot.unaligned_records = Some(records);
        }
        Err(code) => snapshot.error_code = code.as_i16(),
    }
    let endpoint = |(id, address): (i32, &Address)| fetch_snapshot_response::NodeEndpoint {
        node_id: id,
        host: address.host(),
        port: address.port,
        ..fetch_snapshot_response::NodeEndpoint::default()
    };
    let endpoints: Vec<_> = hint.address().map(endpoint).into_iter().collect();
    FetchSnapshotResponse {
        topics: vec![fetch_snapshot_response::TopicSnapshot {
            name: asked.map_or_else(topic, |topic| topic.name.clone()),
            partitions: vec![snapshot],
            ..fetch_snapshot_response::TopicSnapshot::default()
        }],
        node_endpoints: if version >= 1 { endpoints } else { Vec::new() },
        ..FetchSnapshotResponse::default()
    }
}

pub(crate) fn api_versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: Str::from_static("sordini"),
        client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
        ..ApiVersionsRequest::default()
    }
}

pub(crate) fn add_raft_voter_request(
    cluster_id: &Str,
    timeout_ms: i32,
    voter: &Voter,
) -> AddRaftVoterRequest {
    let listener = |endpoint: &Endpoint| add_raft_voter_request::Listener {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..add_raft_voter_request::Listener::default()
    };
    AddRaftVoterRequest {
        cluster_id: Some(cluster_id.clone()),
        timeout_ms,
        voter_id: voter.voter_id,
        voter_directory_id: voter.voter_directory_id,
        listeners: voter.endpoints.iter().map(listener).collect(),
        // The log tells, and whoever asks is no voter before it has that.
        ack_when_committed: false,
        ..AddRaftVoterRequest::default()
    }
}

pub(crate) fn remove_raft_voter_request(cluster_id: &Str, voter: VoterKey) -> RemoveRaftVoterRequest {
    RemoveRaftVoterRequest {
        cluster_id: Some(cluster_id.clone()),
        voter_id: voter.node.0,
        voter_directory_id: voter.directory,
        ..RemoveRaftVoterRequest::default()
    }
}

pub(crate) fn update_raft_voter_request(
    cluster_id: &Str,
    epoch: LeaderEpoch,
    voter: &Voter,
) -> UpdateRaftVoterRequest {
    let listener = |endpoint: &Endpoint| update_raft_voter_request::Listener {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..update_raft_voter_request::Listener::default()
    };
    UpdateRaftVoterRequest {
        cluster_id: Some(cluster_id.clone()),
        current_leader_epoch: epoch.0,
        voter_id: voter.voter_id,
        voter_directory_id: voter.voter_directory_id,
        listeners: voter.endpoints.iter().map(listener).collect(),
        kraft_version_feature: update_raft_voter_request::KRaftVersionFeature {
            min_supported_version: voter.kraft_version_feature.min_supported_version,
            max_supported_version: voter.kraft_version_feature.max_supported_version,
            ..update_raft_voter_request::KRaftVersionFeature::default()
        },
        ..UpdateRaftVoterRequest::default()
    }
}

pub(crate) fn update_raft_voter_response(code: ErrorCode, hint: &LeaderHint) -> UpdateRaftVoterResponse {
    let address = hint.address();
    UpdateRaftVoterResponse {
        error_code: code.as_i16(),
        current_leader: update_raft_voter_response::CurrentLeader {
            leader_id: hint.id(),
            leader_epoch: hint.epoch.0,
            host: address.map_or_else(Str::default, |(_, address)| address.host()),
            port: address.map_or(0, |(_, address)| i32::from(address.port)),
            ..update_raft_voter_response::CurrentLeader::default()
        },
        ..UpdateRaftVoterResponse::default()
    }
}
