//! Brokers and controllers in several processes, moved by hand: how a broker comes, serves, and goes, and how what its clients
//! ask for reaches the controller.

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use bytes::Bytes;
use sordini_core::node::NodeState;
use sordini_protocol::batch::Batch;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::delete_topics_request::DeleteTopicState;
use sordini_protocol::messages::{DeleteTopicsRequest, DescribeQuorumRequest};
use sordini_protocol::records::MetadataRecord;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;
use std::collections::BTreeSet;
use support::cluster::Cluster;
use support::raise_feature;

const BOTH: &str = "broker,controller";

#[test]
fn three_nodes_of_both_roles_make_a_cluster() {
    let mut cluster = Cluster::of_roles(&[BOTH; 3], &[]);
    assert!((0..3).all(|at| !cluster.is_running(at)), "who is registered nowhere serves nobody");
    cluster.run_for(5_000);
    assert!((0..3).all(|at| cluster.is_running(at)));
    for at in 0..3 {
        let known: Vec<i32> =
            cluster.metadata(at, None).brokers.iter().map(|broker| broker.node_id).collect();
        assert_eq!(known, [1, 2, 3], "as node {at} knows them");
    }
    // Whoever is asked, the active controller decides; and each replica is where it is to be.
    for (at, topic, replica) in [(0, "a", 2), (1, "b", 3), (2, "c", 1)] {
        assert_eq!(cluster.create(at, topic, &[replica]), ErrorCode::None);
        cluster.run_for(1_000);
        for other in 0..3 {
            let answer = cluster.produce(other, topic, "x");
            let leads = i32::try_from(other).expect("a few") + 1 == replica;
            let expected = if leads { (ErrorCode::None, 0) } else { (ErrorCode::NotLeaderOrFollower, -1) };
            assert_eq!(answer, expected, "of {topic} on node {other}");
        }
    }
    assert_eq!(cluster.create(1, "a", &[1]), ErrorCode::TopicAlreadyExists);
}

#[test]
fn brokers_alone_follow_the_controllers_log_and_ask_them() {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker"], &[]);
    cluster.run_for(5_000);
    assert!((0..3).all(|at| cluster.is_running(at)));
    assert_eq!(cluster.create(1, "orders", &[3]), ErrorCode::None);
    cluster.run_for(1_000);
    assert_eq!(cluster.produce(2, "orders", "x"), (ErrorCode::None, 0));
    assert_eq!(cluster.fetch(2, "orders"), (ErrorCode::None, 1));
    let first = [cluster.producer_id(1), cluster.producer_id(2), cluster.producer_id(1)];
    assert_eq!(first, [0, 1_000, 1], "each broker reserves a block of its own");
    // A topic that nobody created.
    let made = cluster.metadata(1, Some(&["made"]));
    cluster.run_for(1_000);
    assert!(made.topics[0].error_code == 0 || cluster.metadata(1, Some(&["made"])).topics[0].error_code == 0);
    let request = DescribeQuorumRequest {
        topics: vec![sordini_protocol::messages::describe_quorum_request::TopicData {
            topic_name: Str::from_static("__cluster_metadata"),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..DescribeQuorumRequest::default()
    };
    let AnyResponse::DescribeQuorum(response) = cluster.ask(1, 2, AnyRequest::DescribeQuorum(request)) else {
        panic!("a response is of its request's API")
    };
    let data = &response.topics[0].partitions[0];
    let observers: BTreeSet<i32> = data.observers.iter().map(|observer| observer.replica_id).collect();
    assert_eq!((data.leader_id, observers), (1, BTreeSet::from([2, 3])));
    let named = DeleteTopicState { name: Some(Str::from_static("orders")), ..DeleteTopicState::default() };
    let request = DeleteTopicsRequest { topics: vec![named], timeout_ms: 1_000, ..Default::default() };
    let AnyResponse::DeleteTopics(response) = cluster.ask(1, 6, AnyRequest::DeleteTopics(request)) else {
        panic!("a response is of its request's API")
    };
    assert_eq!(response.responses[0].error_code, 0);
    cluster.run_for(1_000);
    assert!(cluster.machines[2].disk.files.keys().all(|file| !file.contains("orders")), "its log is gone");
}

#[test]
fn a_broker_that_is_killed_leads_again_under_another_epoch_with_what_it_had() {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker"], &[]);
    cluster.run_for(5_000);
    assert_eq!(cluster.create(1, "orders", &[3]), ErrorCode::None);
    cluster.run_for(1_000);
    assert_eq!(cluster.produce(2, "orders", "x"), (ErrorCode::None, 0));
    let before = cluster.partition(1, "orders");
    assert_eq!(before.leader_id, 3);
    cluster.kill(2);
    cluster.run_for(12_000);
    let without = cluster.partition(1, "orders");
    assert_eq!((without.leader_id, without.error_code), (-1, ErrorCode::LeaderNotAvailable.as_i16()));
    cluster.start(2);
    cluster.run_for(5_000);
    let after = cluster.partition(1, "orders");
    assert!(after.leader_id == 3 && after.leader_epoch > before.leader_epoch, "{after:?}");
    assert_eq!(cluster.produce(2, "orders", "y"), (ErrorCode::None, 1));
    // Again, and back before anybody has missed it: the process that is gone is in the way until its session is over.
    cluster.kill(2);
    cluster.start(2);
    cluster.run_for(5_000);
    assert!(!cluster.is_running(2));
    cluster.run_for(15_000);
    assert!(cluster.is_running(2));
    assert_eq!(cluster.fetch(2, "orders"), (ErrorCode::None, 2));
}

/// Versions and directories of a broker's registrations in the metadata log of a machine.
fn registrations(cluster: &Cluster, at: usize) -> Vec<(u8, usize)> {
    let file = &cluster.machines[at].disk.files["0/__cluster_metadata-0/00000000000000000000.log"];
    let mut rest = Bytes::from(file.clone());
    let mut found = Vec::new();
    while let Some(batch) = Batch::first_of(&mut rest).expect("the log holds batches") {
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records(1 << 20).expect("it is not compressed") {
            let value = record.expect("it is whole").value.expect("metadata has a value");
            if let Ok(MetadataRecord::RegisterBroker(record)) = MetadataRecord::decode(value.clone()) {
                found.push((value[2], record.log_dirs.len()));
            }
        }
    }
    found
}

#[test]
fn records_are_those_of_the_metadata_version_and_a_broker_tells_what_a_later_one_asks_for() {
    let mut cluster = Cluster::of_release("3.7-IV1");
    cluster.run_for(2_000);
    assert_eq!(registrations(&cluster, 0), [(2, 0)]);
    assert_eq!(cluster.create(0, "orders", &[1]), ErrorCode::None);
    let request = raise_feature("metadata.version", 30);
    let AnyResponse::UpdateFeatures(response) = cluster.ask(0, 1, AnyRequest::UpdateFeatures(request)) else {
        panic!("a response is of its request's API")
    };
    assert_eq!((response.error_code, response.error_message), (0, None));
    cluster.run_for(2_000);
    assert_eq!(registrations(&cluster, 0), [(2, 0), (4, 1)]);
    assert!(cluster.is_running(0));
    assert_eq!(cluster.produce(0, "orders", "x"), (ErrorCode::None, 0));
}

#[test]
fn nobody_reads_what_only_too_few_replicas_have() {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker"], &[]);
    cluster.run_for(5_000);
    cluster.kill(2);
    cluster.run_for(12_000);
    assert_eq!(cluster.create(1, "orders", &[2, 3]), ErrorCode::None);
    cluster.configure(1, "orders", "min.insync.replicas", "2");
    cluster.run_for(1_000);
    assert_eq!(cluster.partition(1, "orders").isr_nodes, [2]);
    assert_eq!(cluster.produce(1, "orders", "x").0, ErrorCode::NotEnoughReplicas);
    assert_eq!(
        cluster.produce_with(1, 1, "orders", "y"),
        (ErrorCode::None, 0),
        "it asks for the leader alone"
    );
    assert_eq!(cluster.fetch(1, "orders"), (ErrorCode::None, 0), "another replica may lead, without it");
    cluster.configure(1, "orders", "min.insync.replicas", "1");
    cluster.run_for(1_000);
    assert_eq!(cluster.fetch(1, "orders"), (ErrorCode::None, 1));
    assert_eq!(cluster.produce(1, "orders", "z"), (ErrorCode::None, 1));
}

#[test]
fn a_broker_whose_disk_was_replaced_says_so_and_leads_again_what_nobody_else_has() {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker"], &[]);
    cluster.run_for(5_000);
    assert_eq!(cluster.create(1, "orders", &[3]), ErrorCode::None);
    cluster.run_for(1_000);
    assert_eq!(cluster.produce(2, "orders", "x"), (ErrorCode::None, 0));
    cluster.kill(2);
    cluster.replace_disk(2);
    cluster.start(2);
    cluster.run_for(25_000);
    assert!(cluster.is_running(2));
    assert_eq!(cluster.partition(1, "orders").leader_id, 3);
    assert_eq!(cluster.produce(2, "orders", "y"), (ErrorCode::None, 0), "what was there is lost");
}

#[test]
#[should_panic(expected = "the active controller has refused it with INVALID_REGISTRATION")]
fn a_broker_whose_disk_was_copied_from_another_gives_up_and_says_why() {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker"], &[]);
    cluster.kill(2);
    let file = String::from_utf8(cluster.machines[1].disk.files["0/meta.properties"].clone());
    let copied = file.expect("it is text").replace("node.id=2", "node.id=3");
    cluster.machines[2].disk.files.insert("0/meta.properties".into(), copied.into_bytes());
    cluster.start(2);
    cluster.run_for(61_000);
}

#[test]
fn a_broker_that_stops_gives_away_what_it_leads_and_takes_its_leave() {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker"], &[]);
    cluster.run_for(5_000);
    assert_eq!(cluster.create(1, "orders", &[3, 2]), ErrorCode::None);
    assert_eq!(cluster.create(1, "alone", &[3]), ErrorCode::None);
    cluster.run_for(1_000);
    assert_eq!(cluster.partition(1, "orders").leader_id, 3);
    cluster.stop(2);
    cluster.run_for(4_000);
    assert_eq!(cluster.state(2), Some(NodeState::Stopped));
    assert_eq!(cluster.partition(1, "orders").leader_id, 2);
    assert_eq!(cluster.partition(1, "alone").leader_id, -1);
    assert!(cluster.machines[2].disk.files.contains_key("0/.kafka_cleanshutdown"));
    cluster.kill(2);
    cluster.start(2);
    cluster.run_for(1_000);
    assert!(cluster.is_running(2), "its number was free at once");
    assert_eq!(cluster.partition(1, "alone").leader_id, 3);
}

/// A controller and two brokers, the second of which has stopped cleanly and is eligible to lead what needs two in sync.
fn with_a_clean_stop() -> Cluster {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker"], &[]);
    cluster.run_for(5_000);
    assert_eq!(cluster.create(1, "orders", &[3, 2]), ErrorCode::None);
    cluster.configure(1, "orders", "min.insync.replicas", "2");
    cluster.run_for(1_000);
    cluster.stop(2);
    cluster.run_for(4_000);
    assert_eq!(cluster.state(2), Some(NodeState::Stopped));
    assert_eq!(cluster.eligible(1, "orders"), [3]);
    // It cannot come to be in sync again, and stays what it is.
    cluster.cut.extend([(1, 2), (2, 1)]);
    cluster
}

fn marker(cluster: &Cluster) -> Option<Vec<u8>> {
    cluster.machines[2].disk.files.get("0/.kafka_cleanshutdown").cloned()
}

/// Starts the second broker, which is registered and does not know yet that the marker is gone.
fn begin_to_open(cluster: &mut Cluster) {
    cluster.slow = Some((2, ".kafka_cleanshutdown"));
    cluster.start(2);
    // The first answer is what the marker says.
    cluster.answer_held();
    cluster.slow = Some((2, ".kafka_cleanshutdown"));
    cluster.run_for(1_000);
    assert_eq!(marker(cluster), None);
}

#[test]
fn a_broker_that_gave_up_before_it_joined_is_as_clean_as_it_was() {
    let mut cluster = with_a_clean_stop();
    cluster.kill(0);
    cluster.start(2);
    cluster.run_for(1_000);
    assert_eq!(cluster.state(2), Some(NodeState::Joining));
    cluster.kill(2);
    cluster.start(2);
    cluster.run_for(1_000);
    cluster.stop(2);
    assert_eq!(cluster.state(2), Some(NodeState::Stopped));
    cluster.start(0);
    cluster.start(2);
    cluster.run_for(20_000);
    assert!(cluster.is_running(2));
    assert_eq!(cluster.eligible(1, "orders"), [3]);
}

#[test]
fn a_broker_that_is_stopped_before_it_opens_its_logs_says_in_which_epoch() {
    let mut cluster = with_a_clean_stop();
    let before = marker(&cluster);
    begin_to_open(&mut cluster);
    cluster.stop(2);
    cluster.answer_held();
    assert_eq!(cluster.state(2), Some(NodeState::Stopped));
    assert_ne!(marker(&cluster), before, "it has another epoch");
    cluster.start(2);
    cluster.run_for(20_000);
    assert!(cluster.is_running(2));
    assert_eq!(cluster.eligible(1, "orders"), [3]);
}

#[test]
fn a_broker_that_is_killed_while_it_opens_its_logs_was_not_stopped_cleanly() {
    let mut cluster = with_a_clean_stop();
    begin_to_open(&mut cluster);
    cluster.kill(2);
    (cluster.slow, cluster.held) = (None, Vec::new());
    cluster.start(2);
    cluster.run_for(20_000);
    assert!(cluster.is_running(2));
    assert_eq!(cluster.eligible(1, "orders"), [0; 0]);
}

#[test]
fn a_broker_that_stops_when_no_controller_is_left_waits_no_longer_than_a_session() {
    let mut cluster = Cluster::of_roles(&["controller", "broker"], &[]);
    cluster.run_for(5_000);
    cluster.kill(0);
    cluster.run_for(1_000);
    cluster.stop(1);
    cluster.run_for(8_000);
    assert!(cluster.is_running(1), "there may be another controller soon");
    cluster.run_for(1_100);
    assert_eq!(cluster.state(1), Some(NodeState::Stopped));
}

#[test]
fn what_a_client_asks_while_nobody_leads_waits_for_somebody_who_does() {
    let mut cluster = Cluster::of_roles(&[BOTH; 3], &[]);
    cluster.run_for(5_000);
    let old = cluster.leader().expect("one was elected");
    let other = (old + 1) % 3;
    cluster.kill(old);
    let replica = i32::try_from(other).expect("a few") + 1;
    assert_eq!(cluster.create(other, "orders", &[replica]), ErrorCode::None);
    assert!(cluster.leader().is_some_and(|leader| leader != old));
    cluster.run_for(1_000);
    assert_eq!(cluster.produce(other, "orders", "x"), (ErrorCode::None, 0));
    // Of three one is left: nobody will ever lead.
    let third = (old + 2) % 3;
    cluster.kill(third);
    assert_eq!(cluster.create(other, "more", &[replica]), ErrorCode::RequestTimedOut);
}

#[test]
fn a_partition_that_is_deleted_while_its_log_is_opened_leaves_nothing() {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker"], &[]);
    cluster.run_for(5_000);
    assert_eq!(cluster.create(1, "orders", &[3]), ErrorCode::None);
    assert_eq!(cluster.create(1, "kept", &[3]), ErrorCode::None);
    cluster.run_for(1_000);
    cluster.stop(2);
    cluster.run_for(4_000);
    cluster.kill(2);
    cluster.slow = Some((2, "0/orders-0/partition.metadata"));
    cluster.start(2);
    cluster.run_for(2_000);
    assert!(!cluster.is_running(2), "it waits for its disk");
    let named = DeleteTopicState { name: Some(Str::from_static("orders")), ..DeleteTopicState::default() };
    let request = DeleteTopicsRequest { topics: vec![named], timeout_ms: 1_000, ..Default::default() };
    cluster.ask(1, 6, AnyRequest::DeleteTopics(request));
    cluster.run_for(1_000);
    assert!(cluster.machines[2].disk.files.keys().any(|file| file.contains("orders")));
    cluster.answer_held();
    cluster.run_for(1_000);
    assert!(cluster.is_running(2));
    assert!(cluster.machines[2].disk.files.keys().all(|file| !file.contains("orders")));
    assert_eq!(cluster.partition(1, "kept").leader_id, 3);
}

#[test]
fn a_broker_whose_registration_was_taken_away_registers_again() {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker"], &[]);
    cluster.run_for(5_000);
    let request = sordini_protocol::messages::UnregisterBrokerRequest {
        broker_id: 3,
        ..sordini_protocol::messages::UnregisterBrokerRequest::default()
    };
    let AnyResponse::UnregisterBroker(response) = cluster.ask(1, 0, AnyRequest::UnregisterBroker(request))
    else {
        panic!("a response is of its request's API")
    };
    assert_eq!(response.error_code, 0);
    let brokers = |cluster: &mut Cluster| -> Vec<i32> {
        cluster.metadata(1, None).brokers.iter().map(|broker| broker.node_id).collect()
    };
    cluster.run_for(100);
    assert_eq!(brokers(&mut cluster), [2]);
    cluster.run_for(5_000);
    assert_eq!(brokers(&mut cluster), [2, 3]);
}
