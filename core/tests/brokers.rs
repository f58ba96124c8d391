//! Brokers that are other processes, as their controller sees them: registered, fenced when they fall silent, back again.

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use bytes::Bytes;
use sordini_core::node::RequestBody;
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::frame::{decode_response, encode_request};
use sordini_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use sordini_protocol::messages::broker_registration_request::Listener;
use sordini_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use sordini_protocol::messages::metadata_response::MetadataResponsePartition;
use sordini_protocol::messages::{
    AllocateProducerIdsRequest, AlterPartitionRequest, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, CreateTopicsRequest, DescribeClusterRequest, EnvelopeRequest,
    EnvelopeResponse, MetadataRequest, MetadataResponse, RequestHeader, UnregisterBrokerRequest,
};
use sordini_protocol::records::DefaultPrincipalData;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Message as _, Str, Uuid};
use support::Host;

/// A broker and controller that takes in others.
fn controller() -> Host {
    Host::formatted(&[
        ("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", "1@localhost:9093"),
    ])
}

fn ask(host: &mut Host, version: i16, request: AnyRequest) -> AnyResponse {
    let id = host.send_to("CONTROLLER", version, RequestBody::Other(request));
    host.answers.remove(&id).expect("it is answered at once")
}

/// Registers a broker in the life of this number; answers its epoch.
fn register(host: &mut Host, id: u8, life: u8) -> Result<i64, ErrorCode> {
    let request = BrokerRegistrationRequest {
        broker_id: id.into(),
        cluster_id: Str::from_static("5L6g3nShT-eMCtK--X86sw"),
        incarnation_id: Uuid([life; 16]),
        listeners: vec![Listener {
            name: Str::from_static("PLAINTEXT"),
            host: Str::from("localhost"),
            port: 9092 + u16::from(id),
            ..Listener::default()
        }],
        features: support::features(),
        log_dirs: vec![Uuid([id; 16])],
        ..BrokerRegistrationRequest::default()
    };
    let answer = ask(host, 4, AnyRequest::BrokerRegistration(request));
    let AnyResponse::BrokerRegistration(response) = answer else { panic!("another answer: {answer:?}") };
    let code = ErrorCode::from_i16(response.error_code);
    if code == ErrorCode::None { Ok(response.broker_epoch) } else { Err(code) }
}

fn heartbeat(host: &mut Host, id: u8, epoch: i64) -> BrokerHeartbeatResponse {
    let request = BrokerHeartbeatRequest {
        broker_id: id.into(),
        broker_epoch: epoch,
        current_metadata_offset: i64::MAX,
        ..BrokerHeartbeatRequest::default()
    };
    let answer = ask(host, 1, AnyRequest::BrokerHeartbeat(request));
    let AnyResponse::BrokerHeartbeat(response) = answer else { panic!("another answer: {answer:?}") };
    response
}

/// A broker that serves.
fn join(host: &mut Host, id: u8, life: u8) -> i64 {
    let epoch = register(host, id, life).expect("it may register");
    let response = heartbeat(host, id, epoch);
    assert!(response.error_code == 0 && response.is_caught_up && !response.is_fenced);
    epoch
}

fn create_orders(replicas: &[i32]) -> CreateTopicsRequest {
    let assignment = CreatableReplicaAssignment {
        partition_index: 0,
        broker_ids: replicas.to_vec(),
        ..CreatableReplicaAssignment::default()
    };
    let topic = CreatableTopic {
        name: Str::from_static("orders"),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![assignment],
        ..CreatableTopic::default()
    };
    CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() }
}

fn metadata(host: &mut Host) -> MetadataResponse {
    let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let answer = host.ask(12, AnyRequest::Metadata(request));
    let AnyResponse::Metadata(response) = answer else { panic!("another answer: {answer:?}") };
    response
}

fn orders(host: &mut Host) -> (MetadataResponsePartition, Uuid) {
    let response = metadata(host);
    let topic = response.topics.into_iter().next().expect("it was created");
    (topic.partitions[0].clone(), topic.topic_id)
}

fn live_brokers(host: &mut Host) -> Vec<i32> {
    metadata(host).brokers.iter().map(|broker| broker.node_id).collect()
}

#[test]
fn a_silent_broker_is_fenced_and_leads_again_when_it_is_back_and_in_sync() {
    let mut host = controller();
    let (second, third) = (join(&mut host, 2, 20), join(&mut host, 3, 30));
    assert_ne!(second, third);
    host.ask(7, AnyRequest::CreateTopics(create_orders(&[2, 3])));
    let (before, topic_id) = orders(&mut host);
    assert_eq!((before.leader_id, &before.isr_nodes[..]), (2, &[2, 3][..]));

    // Broker 2 is silent, and broker 3 is not.
    for _ in 0..4 {
        host.advance(2_200);
        assert_eq!(orders(&mut host).0.leader_id, 2);
        assert!(!heartbeat(&mut host, 3, third).is_fenced);
    }
    assert_eq!(register(&mut host, 2, 21), Err(ErrorCode::DuplicateBrokerRegistration));
    host.advance(300);
    let (moved, _) = orders(&mut host);
    assert_eq!((moved.leader_id, &moved.isr_nodes[..]), (3, &[3][..]));
    assert_eq!((moved.leader_epoch, &moved.offline_replicas[..]), (before.leader_epoch + 1, &[2][..]));
    assert_eq!(live_brokers(&mut host), [1, 3]);

    // Its next life has another epoch, and the one before has nothing to say.
    let reborn = join(&mut host, 2, 21);
    assert_eq!(heartbeat(&mut host, 2, second).error_code, ErrorCode::StaleBrokerEpoch.as_i16());
    assert_eq!(live_brokers(&mut host), [1, 2, 3]);
    assert_eq!(orders(&mut host).0.isr_nodes, [3], "to be there is not to be in sync");

    let mut grow = |epoch: i64| {
        let with_epoch =
            |broker_id, broker_epoch| BrokerState { broker_id, broker_epoch, ..BrokerState::default() };
        let partition = PartitionData {
            leader_epoch: moved.leader_epoch,
            partition_epoch: 1,
            new_isr_with_epochs: vec![with_epoch(3, third), with_epoch(2, epoch)],
            ..PartitionData::default()
        };
        let topic = TopicData { topic_id, partitions: vec![partition], ..TopicData::default() };
        let request = AlterPartitionRequest {
            broker_id: 3,
            broker_epoch: third,
            topics: vec![topic],
            ..AlterPartitionRequest::default()
        };
        let answer = ask(&mut host, 3, AnyRequest::AlterPartition(request));
        let AnyResponse::AlterPartition(response) = answer else { panic!("another answer: {answer:?}") };
        ErrorCode::from_i16(response.topics[0].partitions[0].error_code)
    };
    assert_eq!(grow(second), ErrorCode::IneligibleReplica, "what its life before had says nothing");
    assert_eq!(grow(reborn), ErrorCode::None);

    // It is the first of the replicas, and is given back what it led.
    for _ in 0..60 {
        host.advance(5_000);
        heartbeat(&mut host, 2, reborn);
        heartbeat(&mut host, 3, third);
    }
    assert_eq!(orders(&mut host).0.leader_id, 2);
}

#[test]
fn brokers_that_fall_silent_together_are_both_fenced() {
    let mut host = controller();
    join(&mut host, 2, 20);
    join(&mut host, 3, 30);
    host.ask(7, AnyRequest::CreateTopics(create_orders(&[2, 3])));
    host.advance(9_000);
    assert_eq!(live_brokers(&mut host), [1]);
    let (partition, _) = orders(&mut host);
    assert_eq!((partition.leader_id, &partition.isr_nodes[..]), (-1, &[][..]));
    let third = register(&mut host, 3, 31).expect("its session is over");
    heartbeat(&mut host, 3, third);
    assert_eq!(orders(&mut host).0.leader_id, 3, "it led last, and there is nobody else");
}

#[test]
fn a_controller_that_restarts_gives_every_broker_a_full_session() {
    let mut host = controller();
    let second = join(&mut host, 2, 20);
    host.advance(8_900);
    host.restart();
    host.advance(8_900);
    assert_eq!(live_brokers(&mut host), [1, 2]);
    assert!(!heartbeat(&mut host, 2, second).is_fenced);
    host.advance(8_900);
    assert_eq!(live_brokers(&mut host), [1, 2]);
    host.advance(200);
    assert_eq!(live_brokers(&mut host), [1], "the own broker needs no heartbeat");
}

#[test]
fn a_broker_that_is_unregistered_is_not_known_any_more() {
    let mut host = controller();
    let second = join(&mut host, 2, 20);
    host.ask(7, AnyRequest::CreateTopics(create_orders(&[2, 1])));
    let request = UnregisterBrokerRequest { broker_id: 2, ..UnregisterBrokerRequest::default() };
    host.ask(0, AnyRequest::UnregisterBroker(request));
    assert_eq!(orders(&mut host).0.leader_id, 1);
    assert_eq!(heartbeat(&mut host, 2, second).error_code, ErrorCode::StaleBrokerEpoch.as_i16());
    assert_eq!(live_brokers(&mut host), [1]);
    let again = join(&mut host, 2, 20);
    assert!(again > second, "an epoch is never given twice");
}

#[test]
fn blocks_of_producer_ids_are_of_one_broker_each() {
    let mut host = controller();
    let (second, third) = (join(&mut host, 2, 20), join(&mut host, 3, 30));
    let mut allocate = |broker_id, broker_epoch| {
        let request =
            AllocateProducerIdsRequest { broker_id, broker_epoch, ..AllocateProducerIdsRequest::default() };
        let answer = ask(&mut host, 0, AnyRequest::AllocateProducerIds(request));
        let AnyResponse::AllocateProducerIds(response) = answer else { panic!("another answer: {answer:?}") };
        (response.error_code, response.producer_id_start, response.producer_id_len)
    };
    assert_eq!(allocate(2, second), (0, 0, 1000));
    assert_eq!(allocate(3, third), (0, 1000, 1000));
    assert_eq!(allocate(2, third).0, ErrorCode::StaleBrokerEpoch.as_i16());
    assert_eq!(allocate(2, second), (0, 2000, 1000));
}

fn principal() -> Bytes {
    let data = DefaultPrincipalData {
        type_: Str::from_static("User"),
        name: Str::from_static("ANONYMOUS"),
        ..DefaultPrincipalData::default()
    };
    let body = data.to_bytes(0).expect("version 0 has all of it");
    [&0_i16.to_be_bytes()[..], &body].concat().into()
}

fn envelope(api: ApiKey, version: i16, request: &AnyRequest) -> EnvelopeRequest {
    let header = RequestHeader {
        request_api_key: api.as_i16(),
        request_api_version: version,
        correlation_id: 77,
        ..RequestHeader::default()
    };
    let encoded = encode_request(&header, request).expect("it can be written");
    EnvelopeRequest {
        request_data: encoded.bytes.slice(4..),
        request_principal: Some(principal()),
        client_host_address: Bytes::from_static(&[127, 0, 0, 1]),
        ..EnvelopeRequest::default()
    }
}

#[test]
fn a_request_in_an_envelope_is_answered_in_an_envelope() {
    let mut host = controller();
    let mut forward = |request: EnvelopeRequest| -> EnvelopeResponse {
        let answer = ask(&mut host, 0, AnyRequest::Envelope(request));
        let AnyResponse::Envelope(response) = answer else { panic!("another answer: {answer:?}") };
        response
    };
    let creation = AnyRequest::CreateTopics(create_orders(&[1]));
    let response = forward(envelope(ApiKey::CreateTopics, 7, &creation));
    let data = response.response_data.expect("it holds an answer");
    let (header, body) = decode_response(ApiKey::CreateTopics, 7, data).expect("it can be read");
    let AnyResponse::CreateTopics(created) = body else { panic!("another answer: {body:?}") };
    assert_eq!((header.correlation_id, created.topics[0].error_code), (77, 0));

    let not_forwarded = AnyRequest::DescribeCluster(DescribeClusterRequest::default());
    let nobody = EnvelopeRequest { request_principal: None, ..envelope(ApiKey::CreateTopics, 7, &creation) };
    let from_nowhere =
        EnvelopeRequest { client_host_address: Bytes::new(), ..envelope(ApiKey::CreateTopics, 7, &creation) };
    let torn = EnvelopeRequest {
        request_data: Bytes::from_static(&[0, 19, 0, 7]),
        ..envelope(ApiKey::CreateTopics, 7, &creation)
    };
    for (request, code) in [
        (envelope(ApiKey::DescribeCluster, 0, &not_forwarded), ErrorCode::InvalidRequest),
        (nobody, ErrorCode::PrincipalDeserializationFailure),
        (from_nowhere, ErrorCode::InvalidRequest),
        (torn, ErrorCode::InvalidRequest),
    ] {
        let response = forward(request);
        assert_eq!((response.error_code, response.response_data), (code.as_i16(), None));
    }
}

#[test]
fn the_log_of_a_controller_with_brokers_goes_on_and_that_of_a_lonely_one_does_not() {
    let mut host = controller();
    let end = |host: &Host| host.node.quorum().expect("its log is open").log_end;
    let before = end(&host);
    host.advance(60_000);
    assert_eq!(end(&host), before);
    let second = join(&mut host, 2, 20);
    let joined = end(&host);
    host.advance(2_600);
    assert!(end(&host) > joined);
    assert!(!heartbeat(&mut host, 2, second).is_fenced);
}

#[test]
fn a_new_partition_is_led_by_a_broker_that_is_there_and_the_others_are_not_in_sync() {
    let mut host = controller();
    join(&mut host, 2, 20);
    register(&mut host, 3, 30).expect("it may register");
    let create = |host: &mut Host, request: CreateTopicsRequest| {
        let answer = host.ask(7, AnyRequest::CreateTopics(request));
        let AnyResponse::CreateTopics(response) = answer else { panic!("another answer: {answer:?}") };
        ErrorCode::from_i16(response.topics[0].error_code)
    };
    assert_eq!(create(&mut host, create_orders(&[3])), ErrorCode::InvalidReplicaAssignment, "it is fenced");
    assert_eq!(create(&mut host, create_orders(&[3, 2])), ErrorCode::None);
    let (partition, _) = orders(&mut host);
    assert_eq!(
        (partition.leader_id, &partition.replica_nodes[..], &partition.isr_nodes[..]),
        (2, &[3, 2][..], &[2][..])
    );

    let of_factor = |replication_factor| {
        let topic = CreatableTopic {
            name: Str::from_static("bills"),
            num_partitions: 4,
            replication_factor,
            ..CreatableTopic::default()
        };
        CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() }
    };
    assert_eq!(create(&mut host, of_factor(4)), ErrorCode::InvalidReplicationFactor);
    assert_eq!(create(&mut host, of_factor(3)), ErrorCode::None);
    let bills = metadata(&mut host).topics.swap_remove(0);
    assert_eq!(bills.partitions.len(), 4);
    for partition in &bills.partitions {
        assert_eq!(partition.replica_nodes[2], 3, "a broker that is not there comes last");
        assert_eq!(partition.isr_nodes, partition.replica_nodes[..2]);
        assert_eq!(partition.leader_id, partition.replica_nodes[0]);
    }
}
