//! Three controllers and the connections between them, moved by hand: who leads, what is committed, what a log is cut to.

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use bytes::Bytes;
use sordini_core::format::{Beginning, FirstVoter, FirstVoters};
use sordini_core::ids::{NodeId, Offset};
use sordini_core::node::{Input, Node, NodeState, QuorumRole};
use sordini_protocol::batch::{BatchBuilder, BatchParams};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::describe_configs_request::DescribeConfigsResource;
use sordini_protocol::messages::fetch_response::{
    FetchableTopicResponse, LeaderIdAndEpoch, PartitionData as FetchedPartition,
};
use sordini_protocol::messages::{
    AddRaftVoterRequest, ApiVersionsRequest, BeginQuorumEpochRequest, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, DescribeConfigsRequest, DescribeQuorumRequest,
    FetchRequest, FetchResponse, FetchSnapshotRequest, RemoveRaftVoterRequest, VoteRequest,
    add_raft_voter_request, begin_quorum_epoch_request, describe_quorum_request, fetch_request,
    fetch_snapshot_request, vote_request,
};
use sordini_protocol::records::{BeginTransactionRecord, ConfigRecord, MetadataRecord};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Str, Uuid};
use std::collections::BTreeSet;
use support::cluster::{Cluster, Message};
use support::{Disk, raise_feature, set_config};

/// Id of the metadata log's topic, the same in every cluster.
const METADATA_TOPIC_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// The number of brokers among the kinds of what is configured.
const BROKER: i8 = 4;

impl Cluster {
    /// Asks a machine to set a cluster-wide configuration; answers the connection.
    fn alter(&mut self, at: usize, value: &str) -> u64 {
        let request = set_config(BROKER, "", "log.flush.interval.messages", value);
        self.request(at, 1, AnyRequest::IncrementalAlterConfigs(request))
    }

    fn altered(&mut self, at: usize, connection: u64) -> Option<ErrorCode> {
        let answer = self.machines[at].answers.remove(&connection)?;
        let AnyResponse::IncrementalAlterConfigs(response) = answer else {
            panic!("another answer: {answer:?}")
        };
        Some(ErrorCode::from_i16(response.responses[0].error_code))
    }
}

#[test]
fn three_voters_elect_a_leader_and_commit_what_it_writes() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(3_000);
    let leader = cluster.leader().expect("one was elected");
    let follower = (leader + 1) % 3;
    let refused = cluster.alter(follower, "2");
    assert_eq!(cluster.altered(follower, refused), Some(ErrorCode::NotController));
    let taken = cluster.alter(leader, "2");
    assert_eq!(cluster.altered(leader, taken), None, "nobody else has it yet");
    cluster.run_for(1_000);
    assert_eq!(cluster.altered(leader, taken), Some(ErrorCode::None));
    let ends: Vec<_> = (0..3).map(|at| (cluster.view(at).high_watermark, cluster.view(at).log_end)).collect();
    assert!(
        ends.iter().all(|(high_watermark, end)| *high_watermark == Some(*end) && *end == ends[0].1),
        "{ends:?}"
    );
    let epochs: BTreeSet<_> = (0..3).map(|at| cluster.view(at).epoch).collect();
    assert_eq!(epochs.len(), 1);
}

#[test]
fn a_leader_that_is_killed_is_succeeded_and_follows_when_it_is_back() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(3_000);
    let first = cluster.leader().expect("one was elected");
    cluster.kill(first);
    cluster.run_for(8_000);
    let second = cluster.leader().expect("another was elected");
    assert_ne!(first, second);
    let taken = cluster.alter(second, "3");
    cluster.run_for(1_000);
    assert_eq!(cluster.altered(second, taken), Some(ErrorCode::None));
    cluster.start(first);
    cluster.run_for(5_000);
    assert_eq!(cluster.view(first).role, QuorumRole::Follower);
    assert_eq!(cluster.view(first).log_end, cluster.view(second).log_end);
    assert_eq!(cluster.leader(), Some(second), "nobody disturbed it");
}

#[test]
fn a_leader_without_a_majority_commits_nothing_and_steps_down() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(3_000);
    let old = cluster.leader().expect("one was elected");
    let committed = cluster.view(old).high_watermark;
    cluster.isolate(old);
    let hopeless = cluster.alter(old, "4");
    cluster.run_for(10_000);
    assert_ne!(cluster.view(old).role, QuorumRole::Leader);
    assert_eq!(cluster.view(old).high_watermark, committed);
    assert_eq!(cluster.altered(old, hopeless), None);
    assert!(cluster.machines[old].closed.contains(&hopeless), "whoever waited is told that nobody knows");
    let new = cluster.leader().expect("the others elected one");
    let taken = cluster.alter(new, "5");
    cluster.run_for(1_000);
    assert_eq!(cluster.altered(new, taken), Some(ErrorCode::None));
    let epoch = cluster.view(new).epoch;
    cluster.cut.clear();
    cluster.run_for(10_000);
    assert_eq!(
        cluster.view(new).epoch,
        epoch,
        "a node that was cut off does not disturb the others (KIP-996)"
    );
    assert_eq!(cluster.view(old).role, QuorumRole::Follower);
    assert_eq!(cluster.view(old).log_end, cluster.view(new).log_end, "its log is that of the leader");
    let file = |at: usize| {
        cluster.machines[at].disk.files["0/__cluster_metadata-0/00000000000000000000.log"].clone()
    };
    assert_eq!(file(old), file(new), "what it had written without a majority is gone");
}

#[test]
fn the_quorum_tells_how_far_every_voter_is() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(3_000);
    let leader = cluster.leader().expect("one was elected");
    let topic = describe_quorum_request::TopicData {
        topic_name: Str::from_static("__cluster_metadata"),
        partitions: vec![describe_quorum_request::PartitionData::default()],
        ..describe_quorum_request::TopicData::default()
    };
    let request = DescribeQuorumRequest { topics: vec![topic], ..DescribeQuorumRequest::default() };
    let asked = cluster.request(leader, 2, AnyRequest::DescribeQuorum(request));
    let Some(AnyResponse::DescribeQuorum(response)) = cluster.machines[leader].answers.remove(&asked) else {
        panic!("it is answered at once")
    };
    let data = &response.topics[0].partitions[0];
    let end = cluster.view(leader).log_end;
    assert_eq!(data.error_code, 0);
    assert_eq!(Offset(data.high_watermark), end);
    let ends: Vec<_> =
        data.current_voters.iter().map(|voter| (voter.replica_id, voter.log_end_offset)).collect();
    assert_eq!(ends, [(1, end.0), (2, end.0), (3, end.0)]);
    assert_eq!(response.nodes.len(), 3);
}

const CLUSTER: Str = Str::from_static("5L6g3nShT-eMCtK--X86sw");

/// A heartbeat of broker 7 in this epoch.
fn heartbeat(cluster: &mut Cluster, at: usize, epoch: i64, offset: i64) -> Option<BrokerHeartbeatResponse> {
    let request = BrokerHeartbeatRequest {
        broker_id: 7,
        broker_epoch: epoch,
        current_metadata_offset: offset,
        ..BrokerHeartbeatRequest::default()
    };
    let asked = cluster.request(at, 1, AnyRequest::BrokerHeartbeat(request));
    cluster.run_for(100);
    let answer = cluster.machines[at].answers.remove(&asked)?;
    let AnyResponse::BrokerHeartbeat(response) = answer else { panic!("another answer: {answer:?}") };
    Some(response)
}

/// Broker 7 serves. Answers its epoch.
fn join(cluster: &mut Cluster, leader: usize) -> i64 {
    let request = BrokerRegistrationRequest {
        broker_id: 7,
        cluster_id: CLUSTER,
        incarnation_id: Uuid([7; 16]),
        features: support::features(),
        log_dirs: vec![Uuid([7; 16])],
        ..BrokerRegistrationRequest::default()
    };
    let asked = cluster.request(leader, 4, AnyRequest::BrokerRegistration(request));
    assert!(!cluster.machines[leader].answers.contains_key(&asked), "nobody else has it yet");
    cluster.run_for(100);
    let answer = cluster.machines[leader].answers.remove(&asked);
    let Some(AnyResponse::BrokerRegistration(response)) = answer else { panic!("{answer:?}") };
    assert_eq!(response.error_code, 0);
    let unfenced = heartbeat(cluster, leader, response.broker_epoch, i64::MAX).expect("it is committed");
    assert!(!unfenced.is_fenced);
    response.broker_epoch
}

#[test]
fn a_broker_outlives_the_controller_that_it_registered_with() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(3_000);
    let first = cluster.leader().expect("one was elected");
    let epoch = join(&mut cluster, first);
    let follower = (first + 1) % 3;
    let refused = heartbeat(&mut cluster, follower, epoch, i64::MAX).expect("it is refused at once");
    assert_eq!(refused.error_code, ErrorCode::NotController.as_i16());

    cluster.kill(first);
    cluster.run_for(8_000);
    let second = cluster.leader().expect("another was elected");
    // It was silent for longer than a session is, and not with this controller. A broker that is fenced stays so as long
    // as it has not acted on its registration, and this one tells that it has not.
    cluster.run_for(2_000);
    let response = heartbeat(&mut cluster, second, epoch, 0).expect("it is committed");
    assert!(response.error_code == 0 && !response.is_fenced);
    cluster.run_for(8_500);
    assert!(!heartbeat(&mut cluster, second, epoch, 0).expect("it is committed").is_fenced);
    cluster.run_for(9_500);
    assert!(heartbeat(&mut cluster, second, epoch, 0).expect("it is committed").is_fenced);
}

#[test]
fn a_controller_without_a_majority_tells_no_broker_anything() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(3_000);
    let old = cluster.leader().expect("one was elected");
    let epoch = join(&mut cluster, old);
    cluster.isolate(old);
    let leaving = BrokerHeartbeatRequest {
        broker_id: 7,
        broker_epoch: epoch,
        want_shut_down: true,
        ..Default::default()
    };
    let asked = cluster.request(old, 1, AnyRequest::BrokerHeartbeat(leaving));
    cluster.run_for(10_000);
    assert!(!cluster.machines[old].answers.contains_key(&asked));
    assert!(cluster.machines[old].closed.contains(&asked), "the broker looks for another controller");
    let new = cluster.leader().expect("the others elected one");
    let response = heartbeat(&mut cluster, new, epoch, 0).expect("it is committed");
    assert!(!response.is_fenced, "what was decided without a majority was never so");
}

/// A fetch of the metadata log, as who has everything from before `offset` sends it.
fn log_fetch(replica_id: i32, epoch: i32, offset: Offset) -> FetchRequest {
    let partition = fetch_request::FetchPartition {
        current_leader_epoch: epoch,
        fetch_offset: offset.0,
        last_fetched_epoch: if offset == Offset(0) { 0 } else { epoch },
        partition_max_bytes: 1 << 20,
        high_watermark: offset.0,
        ..fetch_request::FetchPartition::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: Str::from_static("__cluster_metadata"),
        topic_id: METADATA_TOPIC_ID,
        partitions: vec![partition],
        ..fetch_request::FetchTopic::default()
    };
    FetchRequest {
        cluster_id: Some(CLUSTER),
        replica_state: fetch_request::ReplicaState { replica_id, ..Default::default() },
        max_wait_ms: 500,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

/// A request for a vote, as who has a longer log than anybody sends it.
fn ballot(candidate: i32, epoch: i32) -> AnyRequest {
    let partition = vote_request::PartitionData {
        replica_epoch: epoch,
        replica_id: candidate,
        last_offset_epoch: epoch - 1,
        last_offset: 1_000_000,
        ..vote_request::PartitionData::default()
    };
    let topic = vote_request::TopicData {
        topic_name: Str::from_static("__cluster_metadata"),
        partitions: vec![partition],
        ..vote_request::TopicData::default()
    };
    AnyRequest::Vote(VoteRequest {
        cluster_id: Some(CLUSTER),
        voter_id: -1,
        topics: vec![topic],
        ..VoteRequest::default()
    })
}

#[test]
fn a_fetch_that_waits_for_a_leader_is_refused_when_that_leads_no_more() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(3_000);
    let leader = cluster.leader().expect("one was elected");
    let (epoch, end) = (cluster.view(leader).epoch.0, cluster.view(leader).log_end);
    let follower = (leader + 1) % 3;
    let follower = i32::try_from(follower + 1).expect("a few");
    let parked = cluster.request(leader, 18, AnyRequest::Fetch(log_fetch(follower, epoch, end)));
    assert!(!cluster.machines[leader].answers.contains_key(&parked), "there is nothing new");
    cluster.request(leader, 2, ballot(follower, epoch + 5));
    let Some(AnyResponse::Fetch(response)) = cluster.machines[leader].answers.remove(&parked) else {
        panic!("nobody leads whom it could wait for")
    };
    let data = &response.responses[0].partitions[0];
    assert_eq!(ErrorCode::from_i16(data.error_code), ErrorCode::NotLeaderOrFollower);
    assert_eq!(data.current_leader.leader_epoch, epoch + 5);
}

#[test]
fn who_is_alone_leads_again_after_a_foreign_ballot() {
    let mut cluster = Cluster::formatted(1);
    cluster.run_for(1_000);
    let epoch = cluster.view(0).epoch.0;
    cluster.request(0, 2, ballot(7, epoch + 5));
    assert_eq!(cluster.leader(), None);
    cluster.run_for(5_000);
    assert_eq!(cluster.leader(), Some(0));
    assert!(cluster.view(0).epoch.0 > epoch + 5);
    let taken = cluster.alter(0, "2");
    assert_eq!(cluster.altered(0, taken), Some(ErrorCode::None));
}

#[test]
fn an_epoch_without_a_successor_is_refused() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(3_000);
    let epoch = cluster.view(0).epoch;
    let asked = cluster.request(0, 2, ballot(2, i32::MAX));
    let Some(AnyResponse::Vote(response)) = cluster.machines[0].answers.remove(&asked) else {
        panic!("it is answered at once")
    };
    let code = response.topics[0].partitions[0].error_code;
    assert_eq!(ErrorCode::from_i16(code), ErrorCode::InvalidRequest);
    assert_eq!(cluster.view(0).epoch, epoch);
}

#[test]
fn what_is_no_fetch_of_the_metadata_log_is_refused() {
    let mut cluster = Cluster::formatted(1);
    cluster.run_for(1_000);
    let epoch = cluster.view(0).epoch.0;
    type Change = fn(&mut FetchRequest);
    let wrong: [Change; 5] = [
        |request| request.topics[0].topic_id = Uuid([7; 16]),
        |request| request.topics[0].partitions[0].partition = 1,
        |request| request.topics[0].partitions[0].fetch_offset = -1,
        |request| request.topics[0].partitions[0].current_leader_epoch = -1,
        |request| request.topics.push(request.topics[0].clone()),
    ];
    for change in wrong {
        let mut request = log_fetch(7, epoch, Offset(0));
        change(&mut request);
        let asked = cluster.request(0, 17, AnyRequest::Fetch(request));
        let Some(AnyResponse::Fetch(response)) = cluster.machines[0].answers.remove(&asked) else {
            panic!("it is answered at once")
        };
        assert_eq!(ErrorCode::from_i16(response.error_code), ErrorCode::InvalidRequest);
    }
}

/// The fetch that a machine has on its way, by its place among the messages.
fn fetch_of(cluster: &Cluster, at: usize) -> Option<usize> {
    cluster.messages.iter().position(|(_, message)| {
        matches!(message, Message::Request { from, body: AnyRequest::Fetch(_), .. } if *from == at)
    })
}

/// Takes the fetch that a machine has on its way and answers it by hand.
fn answer_fetch(cluster: &mut Cluster, at: usize, change: impl FnOnce(&mut FetchedPartition)) {
    let index = fetch_of(cluster, at).expect("it fetches");
    let Some((_, Message::Request { life, request, .. })) = cluster.messages.remove(index) else {
        unreachable!("it was just there")
    };
    let view = cluster.view(at);
    let leader = view.leader.expect("it follows");
    let mut data = FetchedPartition {
        high_watermark: view.log_end.0,
        current_leader: LeaderIdAndEpoch {
            leader_id: leader.0,
            leader_epoch: view.epoch.0,
            ..LeaderIdAndEpoch::default()
        },
        ..FetchedPartition::default()
    };
    change(&mut data);
    let topic = FetchableTopicResponse { partitions: vec![data], ..FetchableTopicResponse::default() };
    let body = AnyResponse::Fetch(FetchResponse { responses: vec![topic], ..FetchResponse::default() });
    let result = Ok(body);
    cluster.send(0, Message::Answer { to: at, life, request, result });
}

#[test]
fn a_follower_believes_only_its_leader_and_only_of_the_epoch_that_it_asked_in() {
    type Change = fn(&mut FetchedPartition);
    let wrong: [(&str, Change); 4] = [
        ("the answer is of a newer epoch", |data| data.current_leader.leader_epoch += 1),
        ("the answer is of an older epoch", |data| data.current_leader.leader_epoch -= 1),
        ("these are no batches", |data| data.records = Some(Records::Bytes(Bytes::from_static(&[1; 100])))),
        ("this is the beginning of a batch", |data| {
            data.records = Some(Records::Bytes(Bytes::from_static(&[0; 8])));
        }),
    ];
    for (what, change) in wrong {
        let mut cluster = Cluster::formatted(3);
        cluster.run_for(3_000);
        let leader = cluster.leader().expect("one was elected");
        let follower = (leader + 1) % 3;
        // What nobody but the leader has is with a follower, and it does not hear that it is committed.
        let third = (leader + 2) % 3;
        cluster.isolate(third);
        cluster.alter(leader, "2");
        while cluster.view(follower).log_end < cluster.view(leader).log_end {
            cluster.run_for(1);
        }
        let before = cluster.view(follower).high_watermark;
        assert!(before < Some(cluster.view(follower).log_end), "{what}");
        answer_fetch(&mut cluster, follower, change);
        cluster.isolate(follower);
        cluster.run_for(50);
        assert_eq!(cluster.view(follower).high_watermark, before, "{what}");
    }
}

#[test]
fn who_follows_without_a_vote_is_an_observer() {
    let mut cluster = Cluster::found(vec![FirstVoters::Own], &[]);
    cluster.run_for(1_000);
    let directory = Uuid([9; 16]);
    for replica_id in [7, -1, 1] {
        let mut request = log_fetch(replica_id, cluster.view(0).epoch.0, Offset(0));
        request.topics[0].partitions[0].replica_directory_id = directory;
        cluster.request(0, 17, AnyRequest::Fetch(request));
    }
    for (version, told) in [(1, Uuid::ZERO), (2, directory)] {
        let topic = describe_quorum_request::TopicData {
            topic_name: Str::from_static("__cluster_metadata"),
            partitions: vec![describe_quorum_request::PartitionData::default()],
            ..describe_quorum_request::TopicData::default()
        };
        let request = DescribeQuorumRequest { topics: vec![topic], ..DescribeQuorumRequest::default() };
        let asked = cluster.request(0, version, AnyRequest::DescribeQuorum(request));
        let Some(AnyResponse::DescribeQuorum(response)) = cluster.machines[0].answers.remove(&asked) else {
            panic!("it is answered at once")
        };
        let observers = &response.topics[0].partitions[0].observers;
        let observers: Vec<_> = observers
            .iter()
            .map(|observer| (observer.replica_id, observer.replica_directory_id, observer.log_end_offset))
            .collect();
        assert_eq!(observers, [(1, told, 0), (7, told, 0)], "a voter with another disk is none");
    }
}

/// What a machine says is set.
fn described(cluster: &mut Cluster, at: usize) -> Option<String> {
    let resource = DescribeConfigsResource { resource_type: 4, ..DescribeConfigsResource::default() };
    let request = DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
    let asked = cluster.request(at, 4, AnyRequest::DescribeConfigs(request));
    let Some(AnyResponse::DescribeConfigs(response)) = cluster.machines[at].answers.remove(&asked) else {
        panic!("it is answered at once")
    };
    let set = response.results.into_iter().flat_map(|result| result.configs);
    let mut values = set.filter(|config| *config.name == *"log.flush.interval.messages");
    values.next().and_then(|config| config.value).map(|value| value.to_string())
}

/// Snapshots come often, the log goes soon, and what comes at once is small.
const SHORT_LOG: [(&str, &str); 5] = [
    ("metadata.log.max.record.bytes.between.snapshots", "2000"),
    ("metadata.max.retention.bytes", "4000"),
    ("internal.metadata.log.segment.bytes", "1000"),
    ("controller.quorum.fetch.snapshot.max.bytes", "150"),
    ("metadata.max.idle.interval.ms", "100"),
];

#[test]
fn who_lacks_what_the_log_does_not_hold_any_more_begins_with_a_snapshot() {
    let mut cluster = Cluster::configured(3, &SHORT_LOG);
    cluster.run_for(3_000);
    let leader = cluster.leader().expect("one was elected");
    let late = (leader + 1) % 3;
    cluster.kill(late);
    let taken = cluster.alter(leader, "7");
    cluster.run_for(20_000);
    assert_eq!(cluster.altered(leader, taken), Some(ErrorCode::None));
    let log_start = cluster.view(leader).log_start;
    assert!(log_start > Offset(0), "it is cleaned");
    let kept = cluster.view(leader).snapshots();
    assert!(kept.iter().all(|(end, _)| *end >= log_start), "{log_start:?} {kept:?}");
    cluster.start(late);
    let old_end = cluster.view(late).log_end;
    assert!(old_end < log_start);
    cluster.run_for(5_000);
    let view = cluster.view(late);
    assert!(view.log_start >= log_start, "its log begins where a snapshot ends");
    assert!(view.snapshots().iter().any(|(end, _)| *end == view.log_start));
    // It says so after it was killed again, and when it comes to lead.
    assert_eq!(described(&mut cluster, late).as_deref(), Some("7"));
    cluster.kill(late);
    cluster.start(late);
    cluster.run_for(5_000);
    cluster.kill(leader);
    cluster.isolate((leader + 2) % 3);
    cluster.run_for(100);
    cluster.cut.clear();
    cluster.run_for(10_000);
    let second = cluster.leader().expect("two of three are enough");
    let taken = cluster.alter(second, "8");
    cluster.run_for(1_000);
    assert_eq!(cluster.altered(second, taken), Some(ErrorCode::None));
    assert_eq!(described(&mut cluster, late).as_deref(), Some("8"));
}

#[test]
fn who_is_alone_takes_snapshots_and_starts_from_the_newest() {
    let mut cluster = Cluster::configured(1, &SHORT_LOG);
    cluster.run_for(1_000);
    for value in 1..=60 {
        let taken = cluster.alter(0, &value.to_string());
        cluster.run_for(1_000);
        assert_eq!(cluster.altered(0, taken), Some(ErrorCode::None));
    }
    let before: Vec<_> = cluster.view(0).snapshots();
    assert!(!before.is_empty());
    assert!(cluster.view(0).log_start > Offset(0));
    cluster.kill(0);
    cluster.start(0);
    cluster.run_for(3_000);
    assert_eq!(described(&mut cluster, 0).as_deref(), Some("60"));
    assert_eq!(cluster.view(0).snapshots(), before, "nothing came to be that another would be taken of");
}

#[test]
fn a_part_of_a_snapshot_is_refused_that_there_is_not() {
    let mut cluster = Cluster::configured(1, &SHORT_LOG);
    cluster.run_for(1_000);
    for value in 1..=60 {
        cluster.alter(0, &value.to_string());
        cluster.run_for(10);
    }
    let (end, epoch) = *cluster.view(0).snapshots().last().expect("one was taken");
    let leader_epoch = cluster.view(0).epoch;
    let fetch = |end: i64, epoch: i32, leader_epoch: i32, position: i64, name: &'static str| {
        let partition = fetch_snapshot_request::PartitionSnapshot {
            current_leader_epoch: leader_epoch,
            snapshot_id: fetch_snapshot_request::SnapshotId {
                end_offset: end,
                epoch,
                ..fetch_snapshot_request::SnapshotId::default()
            },
            position,
            ..fetch_snapshot_request::PartitionSnapshot::default()
        };
        let topic = fetch_snapshot_request::TopicSnapshot {
            name: Str::from_static(name),
            partitions: vec![partition],
            ..fetch_snapshot_request::TopicSnapshot::default()
        };
        AnyRequest::FetchSnapshot(FetchSnapshotRequest {
            cluster_id: Some(CLUSTER),
            max_bytes: 1 << 20,
            topics: vec![topic],
            ..FetchSnapshotRequest::default()
        })
    };
    let log = "__cluster_metadata";
    let (end, epoch, now) = (end.0, epoch.0, leader_epoch.0);
    for (request, code) in [
        (fetch(end, epoch, now, 0, log), ErrorCode::None),
        (fetch(end, epoch, now, 1 << 20, log), ErrorCode::PositionOutOfRange),
        (fetch(end, epoch, now, -1, log), ErrorCode::PositionOutOfRange),
        (fetch(end + 1, epoch, now, 0, log), ErrorCode::SnapshotNotFound),
        (fetch(end, epoch, now - 1, 0, log), ErrorCode::FencedLeaderEpoch),
        (fetch(end, epoch, now + 1, 0, log), ErrorCode::UnknownLeaderEpoch),
        (fetch(end, epoch, now, 0, "orders"), ErrorCode::UnknownTopicOrPartition),
    ] {
        let asked = cluster.request(0, 1, request);
        let Some(AnyResponse::FetchSnapshot(response)) = cluster.machines[0].answers.remove(&asked) else {
            panic!("it is answered at once")
        };
        let data = &response.topics[0].partitions[0];
        assert_eq!(ErrorCode::from_i16(data.error_code), code);
        assert_eq!(data.size > 0, code == ErrorCode::None);
    }
}

#[test]
fn a_transaction_whose_leader_is_gone_is_given_up() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(3_000);
    let leader = cluster.leader().expect("one was elected");
    let follower = (leader + 1) % 3;
    while fetch_of(&cluster, follower).is_none() {
        cluster.run_for(1);
    }
    let (end, epoch) = (cluster.view(follower).log_end, cluster.view(follower).epoch);
    let config = ConfigRecord {
        resource_type: 4,
        name: Str::from_static("log.flush.interval.messages"),
        value: Some(Str::from_static("9")),
        ..ConfigRecord::default()
    };
    let records: [MetadataRecord; 2] = [BeginTransactionRecord::default().into(), config.into()];
    let mut batch = BatchBuilder::new(BatchParams {
        base_offset: end.0,
        leader_epoch: epoch.0,
        ..BatchParams::default()
    });
    for record in &records {
        let value = record.to_bytes(record.highest_version()).expect("it has its highest version");
        batch.append(0, None, Some(&value), &[]);
    }
    let batch = batch.build();
    cluster.kill(leader);
    answer_fetch(&mut cluster, follower, |data| data.records = Some(Records::Bytes(batch)));
    cluster.run_for(10_000);
    assert_eq!(cluster.leader(), Some(follower), "nobody else has so much");
    assert_eq!(cluster.view(follower).high_watermark, Some(cluster.view(follower).log_end));
    assert_ne!(described(&mut cluster, follower).as_deref(), Some("9"), "the transaction never ended");
    let taken = cluster.alter(follower, "10");
    cluster.run_for(1_000);
    assert_eq!(cluster.altered(follower, taken), Some(ErrorCode::None));
    assert_eq!(described(&mut cluster, follower).as_deref(), Some("10"), "and nothing waits for its end");
}

#[test]
fn who_has_little_patience_is_answered_soon() {
    let impatient = [
        ("controller.quorum.election.timeout.ms", "100"),
        ("controller.quorum.fetch.timeout.ms", "200"),
        ("metadata.max.idle.interval.ms", "0"),
    ];
    let mut cluster = Cluster::configured(3, &impatient);
    cluster.run_for(2_000);
    let epoch = cluster.view(0).epoch;
    cluster.run_for(30_000);
    assert_eq!(cluster.view(0).epoch, epoch, "nobody is taken for gone who is there");
}

/// A controller as formatting names it.
fn listed(id: i32) -> FirstVoter {
    format!("{id}@h{id}:9093:{}", directory(id)).parse().expect("it is one")
}

fn directory(id: i32) -> Uuid {
    Uuid([u8::try_from(id).expect("a few"); 16])
}

/// The directory that a machine was formatted with.
fn own_directory(cluster: &Cluster, at: usize) -> Uuid {
    let meta = &cluster.machines[at].disk.files["0/meta.properties"];
    let text = String::from_utf8(meta.clone()).expect("it is text");
    let line = text.lines().find_map(|line| line.strip_prefix("directory.id="));
    line.and_then(|id| id.parse().ok()).expect("it has one")
}

fn add(cluster: &mut Cluster, leader: usize, at: usize) -> u64 {
    let id = i32::try_from(at + 1).expect("a few");
    let listener = add_raft_voter_request::Listener {
        name: Str::from_static("CONTROLLER"),
        host: Str::from(format!("h{id}")),
        port: 9093,
        ..add_raft_voter_request::Listener::default()
    };
    let request = AddRaftVoterRequest {
        cluster_id: Some(CLUSTER),
        timeout_ms: 5_000,
        voter_id: id,
        voter_directory_id: own_directory(cluster, at),
        listeners: vec![listener],
        ack_when_committed: true,
        ..AddRaftVoterRequest::default()
    };
    cluster.request(leader, 1, AnyRequest::AddRaftVoter(request))
}

fn added(cluster: &mut Cluster, at: usize, connection: u64) -> Option<ErrorCode> {
    let AnyResponse::AddRaftVoter(response) = cluster.machines[at].answers.remove(&connection)? else {
        panic!("another answer")
    };
    Some(ErrorCode::from_i16(response.error_code))
}

fn remove(cluster: &mut Cluster, leader: usize, at: usize) -> u64 {
    let request = RemoveRaftVoterRequest {
        cluster_id: Some(CLUSTER),
        voter_id: i32::try_from(at + 1).expect("a few"),
        voter_directory_id: own_directory(cluster, at),
        ..RemoveRaftVoterRequest::default()
    };
    cluster.request(leader, 0, AnyRequest::RemoveRaftVoter(request))
}

fn removed(cluster: &mut Cluster, at: usize, connection: u64) -> Option<ErrorCode> {
    let AnyResponse::RemoveRaftVoter(response) = cluster.machines[at].answers.remove(&connection)? else {
        panic!("another answer")
    };
    Some(ErrorCode::from_i16(response.error_code))
}

fn ids(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

#[test]
fn voters_that_formatting_listed_elect_one_of_them() {
    let first = FirstVoters::Listed((1..=3).map(listed).collect());
    let mut cluster = Cluster::found(vec![first; 3], &[]);
    cluster.run_for(3_000);
    let leader = cluster.leader().expect("one was elected");
    let taken = cluster.alter(leader, "2");
    cluster.run_for(1_000);
    assert_eq!(cluster.altered(leader, taken), Some(ErrorCode::None));
    for at in 0..3 {
        assert_eq!(cluster.view(at).voters(), ids(&[1, 2, 3]));
        assert_eq!(described(&mut cluster, at).as_deref(), Some("2"));
    }
    cluster.kill(leader);
    cluster.run_for(8_000);
    assert!(cluster.leader().is_some_and(|second| second != leader));
}

/// Asks a machine to raise kraft.version; answers the connection.
fn raise_kraft_version(cluster: &mut Cluster, at: usize) -> u64 {
    cluster.request(at, 2, AnyRequest::UpdateFeatures(raise_feature("kraft.version", 1)))
}

fn raised(cluster: &mut Cluster, at: usize, connection: u64) -> Option<ErrorCode> {
    let AnyResponse::UpdateFeatures(response) = cluster.machines[at].answers.remove(&connection)? else {
        panic!("another answer")
    };
    Some(ErrorCode::from_i16(response.error_code))
}

/// The finalized level of kraft.version, if any is told.
fn kraft_version(cluster: &mut Cluster, at: usize) -> Option<i16> {
    let request = ApiVersionsRequest {
        client_software_name: Str::from_static("test"),
        client_software_version: Str::from_static("1"),
        ..ApiVersionsRequest::default()
    };
    let connection = cluster.request(at, 4, AnyRequest::ApiVersions(request));
    let Some(AnyResponse::ApiVersions(response)) = cluster.machines[at].answers.remove(&connection) else {
        panic!("another answer")
    };
    let features = &response.finalized_features;
    features.iter().find(|it| &*it.name == "kraft.version").map(|it| it.max_version_level)
}

#[test]
fn voters_of_the_configuration_come_into_the_log_and_change_from_then_on() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(5_000);
    let leader = cluster.leader().expect("one was elected");
    assert_eq!(kraft_version(&mut cluster, leader), None);
    let asked = raise_kraft_version(&mut cluster, leader);
    assert_eq!(raised(&mut cluster, leader, asked), None, "nobody else has it yet");
    cluster.run_for(2_000);
    assert_eq!(raised(&mut cluster, leader, asked), Some(ErrorCode::None));
    for at in 0..3 {
        assert_eq!(kraft_version(&mut cluster, at), Some(1), "node {at}");
        assert_eq!(cluster.view(at).voters(), ids(&[1, 2, 3]));
        cluster.kill(at);
        cluster.start(at);
    }
    cluster.run_for(8_000);
    let leader = cluster.leader().expect("one was elected");
    assert_eq!(kraft_version(&mut cluster, leader), Some(1), "it stands in the log");
    let other = (leader + 1) % 3;
    let gone = remove(&mut cluster, leader, other);
    cluster.run_for(2_000);
    assert_eq!(removed(&mut cluster, leader, gone), Some(ErrorCode::None));
    assert_eq!(cluster.view(leader).voters().len(), 2);
    let back = add(&mut cluster, leader, other);
    cluster.run_for(2_000);
    assert_eq!(added(&mut cluster, leader, back), Some(ErrorCode::None));
}

#[test]
fn voters_come_into_the_log_when_each_of_them_has_said_who_it_is() {
    let mut cluster = Cluster::formatted(3);
    cluster.kill(2);
    cluster.run_for(5_000);
    let leader = cluster.leader().expect("one was elected");
    let asked = raise_kraft_version(&mut cluster, leader);
    cluster.run_for(100);
    assert_eq!(raised(&mut cluster, leader, asked), Some(ErrorCode::InvalidUpdateVersion));
    cluster.start(2);
    cluster.run_for(3_000);
    let asked = raise_kraft_version(&mut cluster, leader);
    cluster.run_for(1_000);
    assert_eq!(raised(&mut cluster, leader, asked), Some(ErrorCode::None));
}

#[test]
fn voters_that_were_written_down_without_a_majority_are_those_of_the_configuration_again() {
    let mut cluster = Cluster::formatted(3);
    cluster.run_for(5_000);
    let leader = cluster.leader().expect("one was elected");
    cluster.isolate(leader);
    let asked = raise_kraft_version(&mut cluster, leader);
    assert_eq!(kraft_version(&mut cluster, leader), Some(1), "it counts from when it is appended");
    cluster.run_for(500);
    // Whoever reads its log anew knows what to go back to, too.
    cluster.kill(leader);
    cluster.start(leader);
    cluster.run_for(10_000);
    assert_eq!(kraft_version(&mut cluster, leader), Some(1));
    let second = cluster.leader().expect("the others elected one");
    assert_ne!(second, leader);
    cluster.cut.clear();
    cluster.run_for(10_000);
    assert_eq!(raised(&mut cluster, leader, asked), None);
    for at in 0..3 {
        assert_eq!(kraft_version(&mut cluster, at), None, "node {at}");
        assert_eq!(cluster.view(at).voters(), ids(&[1, 2, 3]));
        assert_eq!(cluster.view(at).log_end, cluster.view(second).log_end);
    }
}

#[test]
fn voters_that_were_written_down_without_a_majority_go_with_the_log_that_a_snapshot_replaces() {
    let mut cluster = Cluster::configured(3, &SHORT_LOG);
    cluster.run_for(5_000);
    let leader = cluster.leader().expect("one was elected");
    cluster.isolate(leader);
    raise_kraft_version(&mut cluster, leader);
    cluster.run_for(30_000);
    let second = cluster.leader().expect("the others elected one");
    assert_eq!(kraft_version(&mut cluster, leader), Some(1));
    assert!(cluster.view(leader).log_end < cluster.view(second).log_start, "it has to take a snapshot");
    cluster.cut.clear();
    cluster.run_for(5_000);
    assert!(cluster.view(leader).log_start > Offset(0));
    assert_eq!(kraft_version(&mut cluster, leader), None, "the snapshot names none");
    assert_eq!(cluster.view(leader).voters(), ids(&[1, 2, 3]));
}

/// One voter, and two that follow it.
fn one_and_two() -> Cluster {
    let mut cluster = Cluster::found(vec![FirstVoters::Own, FirstVoters::Others, FirstVoters::Others], &[]);
    cluster.run_for(3_000);
    assert_eq!(cluster.leader(), Some(0));
    cluster
}

#[test]
fn voters_are_added_one_after_the_other_and_the_first_can_go() {
    let mut cluster = one_and_two();
    assert_eq!(cluster.view(1).role, QuorumRole::Follower, "it was told who leads");
    assert_eq!(cluster.view(1).log_end, cluster.view(0).log_end);
    let (second, third) = (add(&mut cluster, 0, 1), add(&mut cluster, 0, 2));
    assert_eq!(added(&mut cluster, 0, third), Some(ErrorCode::RequestTimedOut), "one at a time");
    cluster.run_for(1_000);
    assert_eq!(added(&mut cluster, 0, second), Some(ErrorCode::None));
    let again = add(&mut cluster, 0, 1);
    assert_eq!(added(&mut cluster, 0, again), Some(ErrorCode::DuplicateVoter));
    let third = add(&mut cluster, 0, 2);
    cluster.run_for(1_000);
    assert_eq!(added(&mut cluster, 0, third), Some(ErrorCode::None));
    for at in 0..3 {
        assert_eq!(cluster.view(at).voters(), ids(&[1, 2, 3]));
    }
    // The leader leads until it is committed that it is none any more.
    let gone = remove(&mut cluster, 0, 0);
    cluster.run_for(5_000);
    assert_eq!(removed(&mut cluster, 0, gone), Some(ErrorCode::None));
    let leader = cluster.leader().expect("another was elected");
    assert_ne!(leader, 0);
    let taken = cluster.alter(leader, "5");
    cluster.run_for(1_000);
    assert_eq!(cluster.altered(leader, taken), Some(ErrorCode::None));
    assert_eq!(cluster.view(0).voters(), ids(&[2, 3]));
    assert_eq!(described(&mut cluster, 0).as_deref(), Some("5"), "it follows without a vote");
    // It knows that after it was killed, too.
    cluster.kill(0);
    cluster.start(0);
    cluster.run_for(3_000);
    assert_eq!(cluster.view(0).role, QuorumRole::Follower);
    assert_eq!(cluster.leader(), Some(leader));
}

#[test]
fn who_is_cut_off_cannot_be_added_and_nobody_is_removed_who_is_no_voter() {
    let mut cluster = one_and_two();
    cluster.isolate(2);
    let third = add(&mut cluster, 0, 2);
    cluster.run_for(6_000);
    assert_eq!(added(&mut cluster, 0, third), Some(ErrorCode::RequestTimedOut));
    let gone = remove(&mut cluster, 0, 1);
    assert_eq!(removed(&mut cluster, 0, gone), Some(ErrorCode::VoterNotFound));
    let last = remove(&mut cluster, 0, 0);
    assert_eq!(removed(&mut cluster, 0, last), Some(ErrorCode::InvalidRequest), "somebody has to vote");
    assert_eq!(cluster.view(0).voters(), ids(&[1]));
    let configured = &mut Cluster::formatted(3);
    configured.run_for(3_000);
    let leader = configured.leader().expect("one was elected");
    let fourth = add(configured, leader, (leader + 1) % 3);
    assert_eq!(added(configured, leader, fourth), Some(ErrorCode::UnsupportedVersion));
}

#[test]
fn a_leader_that_has_removed_itself_stands_again_where_nobody_else_has_that_in_its_log() {
    let mut cluster = one_and_two();
    let second = add(&mut cluster, 0, 1);
    cluster.run_for(1_000);
    assert_eq!(added(&mut cluster, 0, second), Some(ErrorCode::None));
    cluster.isolate(0);
    remove(&mut cluster, 0, 0);
    cluster.run_for(100);
    assert_eq!(cluster.view(0).voters(), ids(&[2]));
    assert_eq!(cluster.view(1).voters(), ids(&[1, 2]), "it needs the vote of one that has more of the log");
    cluster.kill(0);
    cluster.start(0);
    cluster.cut.clear();
    cluster.run_for(20_000);
    assert_eq!(cluster.leader(), Some(1), "it led until the change was committed");
    for at in 0..3 {
        assert_eq!(cluster.view(at).voters(), ids(&[2]), "node {at}");
        assert_eq!(cluster.view(at).log_end, cluster.view(1).log_end, "node {at}");
    }
}

#[test]
fn a_change_of_voters_that_nobody_committed_is_taken_back() {
    let first = FirstVoters::Listed((1..=3).map(listed).collect());
    let four = [vec![first; 3], vec![FirstVoters::Others]].concat();
    let mut cluster = Cluster::found(four, &[]);
    cluster.run_for(5_000);
    let leader = cluster.leader().expect("one was elected");
    // It hears the newcomer and nobody else.
    for other in (0..3).filter(|other| *other != leader) {
        cluster.cut.extend([(leader, other), (other, leader)]);
    }
    let asked = add(&mut cluster, leader, 3);
    cluster.run_for(500);
    assert_eq!(cluster.view(leader).voters(), ids(&[1, 2, 3, 4]), "it counts from when it is appended");
    cluster.run_for(10_000);
    let second = cluster.leader().expect("the other two elected one");
    assert_ne!(second, leader);
    cluster.cut.clear();
    cluster.run_for(10_000);
    assert_eq!(added(&mut cluster, leader, asked), Some(ErrorCode::RequestTimedOut));
    for at in 0..4 {
        assert_eq!(cluster.view(at).voters(), ids(&[1, 2, 3]), "node {at}");
        assert_eq!(cluster.view(at).log_end, cluster.view(second).log_end);
    }
}

#[test]
fn a_controller_joins_by_itself_where_it_may_and_again_with_another_disk() {
    let more = [("controller.quorum.auto.join.enable", "true")];
    let first = vec![FirstVoters::Own, FirstVoters::Others, FirstVoters::Others];
    let mut cluster = Cluster::found(first, &more);
    cluster.run_for(20_000);
    assert_eq!(cluster.view(0).voters(), ids(&[1, 2, 3]));
    let leader = cluster.leader().expect("there is one");
    let emptied = (leader + 1) % 3;
    cluster.kill(emptied);
    let config = cluster.machines[emptied].config.clone();
    let mut disk = Disk::default();
    let beginning = Beginning { voters: FirstVoters::Others, ..Beginning::default() };
    for op in sordini_core::format::format(&config, &CLUSTER, &beginning, 99, 1_000_000) {
        disk.run(op).expect("formatting works");
    }
    cluster.machines[emptied].disk = disk;
    cluster.start(emptied);
    cluster.run_for(30_000);
    assert_eq!(cluster.view(0).voters(), ids(&[1, 2, 3]));
    let other = (leader + 2) % 3;
    cluster.kill(other);
    let taken = cluster.alter(leader, "6");
    cluster.run_for(1_000);
    assert_eq!(
        cluster.altered(leader, taken),
        Some(ErrorCode::None),
        "its vote counts, with the disk that it has"
    );
}

/// Snapshots come often and the log goes soon, but for its only segment.
const ONE_SEGMENT: [(&str, &str); 3] = [
    ("metadata.log.max.record.bytes.between.snapshots", "2000"),
    ("metadata.max.retention.bytes", "4000"),
    ("metadata.max.idle.interval.ms", "0"),
];

#[test]
fn a_leader_that_has_forgotten_an_epoch_sends_who_has_it_for_a_snapshot() {
    let mut cluster = Cluster::configured(3, &ONE_SEGMENT);
    cluster.run_for(3_000);
    let old = cluster.leader().expect("one was elected");
    cluster.isolate(old);
    for value in 0..5 {
        cluster.alter(old, &format!("{}", 1_000 + value));
    }
    cluster.run_for(10_000);
    let new = cluster.leader().expect("the others elected one");
    assert_ne!(new, old);
    for value in 1..=200 {
        let taken = cluster.alter(new, &value.to_string());
        cluster.run_for(20);
        assert_eq!(cluster.altered(new, taken), Some(ErrorCode::None));
    }
    assert!(cluster.view(new).log_start > cluster.view(old).log_end);
    for at in (0..3).filter(|at| *at != old) {
        cluster.kill(at);
        cluster.start(at);
    }
    cluster.run_for(8_000);
    cluster.cut.clear();
    cluster.run_for(8_000);
    assert!(cluster.view(old).log_start > Offset(0), "what it wrote by itself is gone");
    for at in 0..3 {
        assert_eq!(described(&mut cluster, at).as_deref(), Some("200"));
    }
}

#[test]
fn who_looks_for_a_leader_where_there_is_none_asks_now_and_then() {
    let listed = FirstVoters::Listed(vec![listed(1), listed(2)]);
    let mut cluster = Cluster::found(vec![listed.clone(), listed, FirstVoters::Others], &[]);
    cluster.cut.extend([(0, 1), (1, 0)]);
    cluster.run_for(10);
    let before = cluster.connections;
    cluster.run_for(1_000);
    let asked = cluster.connections - before;
    assert!(asked < 60, "{asked} requests in a second");
}

#[test]
fn a_voter_that_missed_who_votes_is_told_where_the_leader_is() {
    let first = [vec![FirstVoters::Own], vec![FirstVoters::Others; 4]].concat();
    let mut cluster = Cluster::found(first, &[]);
    cluster.run_for(3_000);
    let change = |cluster: &mut Cluster, at: usize| {
        let leader = cluster.leader().expect("there is one");
        let asked = add(cluster, leader, at);
        cluster.run_for(3_000);
        assert_eq!(added(cluster, leader, asked), Some(ErrorCode::None));
    };
    change(&mut cluster, 1);
    change(&mut cluster, 2);
    cluster.kill(2);
    change(&mut cluster, 3);
    change(&mut cluster, 4);
    for at in [2, 0] {
        let leader = cluster.leader().expect("there is one");
        let asked = remove(&mut cluster, leader, at);
        cluster.run_for(5_000);
        assert_eq!(removed(&mut cluster, leader, asked), Some(ErrorCode::None));
    }
    cluster.kill(1);
    cluster.run_for(8_000);
    cluster.start(1);
    cluster.run_for(5_000);
    cluster.kill(0);
    cluster.start(2);
    cluster.run_for(20_000);
    let leader = cluster.leader().expect("there is one");
    assert_eq!(cluster.view(2).log_end, cluster.view(leader).log_end);
}

#[test]
fn what_was_cleaned_leaves_the_disk() {
    let mut cluster = Cluster::configured(1, &SHORT_LOG);
    cluster.run_for(1_000);
    for value in 1..=300 {
        cluster.alter(0, &value.to_string());
        cluster.run_for(10);
    }
    let deleted = |cluster: &Cluster| {
        cluster.machines[0].disk.files.keys().filter(|file| file.ends_with(".deleted")).count()
    };
    assert!(deleted(&cluster) > 0);
    cluster.run_for(120_000);
    assert_eq!(deleted(&cluster), 0);
    let files = cluster.machines[0].disk.files.keys();
    let snapshots = files.filter(|file| file.ends_with(".checkpoint")).count();
    assert!(snapshots <= cluster.view(0).snapshots().len() + 2, "and those that formatting wrote");
}

#[test]
fn a_snapshot_is_not_fetched_while_an_own_one_is_being_written() {
    let more = [&SHORT_LOG[..], &[("metadata.log.max.snapshot.interval.ms", "5000")]].concat();
    let mut cluster = Cluster::configured(3, &more);
    cluster.run_for(3_000);
    let leader = cluster.leader().expect("one was elected");
    let late = (leader + 1) % 3;
    cluster.isolate(late);
    cluster.slow = Some((late, ".checkpoint"));
    cluster.run_for(30_000);
    cluster.cut.clear();
    cluster.run_for(5_000);
    cluster.answer_held();
    cluster.run_for(10_000);
    let leader = cluster.leader().expect("there is one");
    assert_eq!(cluster.view(late).log_end, cluster.view(leader).log_end);
}

#[test]
fn a_node_stops_while_a_snapshot_comes_in_the_place_of_its_log() {
    let mut cluster = Cluster::configured(3, &SHORT_LOG);
    cluster.run_for(3_000);
    let leader = cluster.leader().expect("one was elected");
    let late = (leader + 1) % 3;
    cluster.kill(late);
    cluster.run_for(20_000);
    cluster.start(late);
    cluster.slow = Some((late, ".checkpoint"));
    cluster.run_for(5_000);
    assert!(!cluster.held.is_empty(), "it has come and is not written");
    cluster.step(late, Input::StopRequested);
    cluster.answer_held();
    let state = cluster.machines[late].node.as_ref().map(Node::state);
    assert_eq!(state, Some(NodeState::Stopped));
    // The next start goes on from there.
    cluster.kill(late);
    cluster.start(late);
    assert!(cluster.view(late).log_start > Offset(0));
}

#[test]
fn where_a_leader_is_said_to_be_counts_when_it_may_lead() {
    let mut cluster = one_and_two();
    let second = add(&mut cluster, 0, 1);
    cluster.run_for(2_000);
    assert_eq!(added(&mut cluster, 0, second), Some(ErrorCode::None));
    remove(&mut cluster, 0, 0);
    while cluster.view(1).voters() != ids(&[2]) {
        cluster.run_for(1);
    }
    cluster.kill(0);
    cluster.run_for(3);
    let partition = begin_quorum_epoch_request::PartitionData {
        leader_id: 9,
        leader_epoch: 0,
        ..begin_quorum_epoch_request::PartitionData::default()
    };
    let topic = begin_quorum_epoch_request::TopicData {
        topic_name: Str::from_static("__cluster_metadata"),
        partitions: vec![partition],
        ..begin_quorum_epoch_request::TopicData::default()
    };
    let endpoint = begin_quorum_epoch_request::LeaderEndpoint {
        name: Str::from_static("CONTROLLER"),
        host: Str::from_static("h9"),
        port: 9093,
        ..begin_quorum_epoch_request::LeaderEndpoint::default()
    };
    let request = BeginQuorumEpochRequest {
        cluster_id: Some(CLUSTER),
        voter_id: 2,
        topics: vec![topic],
        leader_endpoints: vec![endpoint],
        ..BeginQuorumEpochRequest::default()
    };
    cluster.request(1, 1, AnyRequest::BeginQuorumEpoch(request));
    cluster.run_for(10_000);
    assert_eq!(cluster.leader(), Some(1), "it is the only voter");
}

#[test]
fn a_log_is_not_cleaned_while_it_is_about_to_be_cut() {
    let more = [
        ("metadata.log.max.record.bytes.between.snapshots", "2000"),
        ("metadata.max.retention.bytes", "60000"),
        ("metadata.max.idle.interval.ms", "0"),
    ];
    let mut cluster = Cluster::configured(3, &more);
    cluster.run_for(3_000);
    let old = cluster.leader().expect("one was elected");
    for value in 1..=60 {
        cluster.alter(old, &value.to_string());
        cluster.run_for(20);
    }
    cluster.isolate(old);
    // More than is remembered: where to cut is looked for on the disk.
    for value in 0..600 {
        cluster.alter(old, &format!("{}", 1_000 + value));
    }
    cluster.run_for(8_000);
    cluster.cut.clear();
    cluster.slow = Some((old, "index"));
    cluster.run_for(120_000);
    cluster.answer_held();
    cluster.run_for(5_000);
    let leader = cluster.leader().expect("there is one");
    assert_eq!(cluster.view(old).log_end, cluster.view(leader).log_end);
}
