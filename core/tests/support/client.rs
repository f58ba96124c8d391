//! What clients ask of the brokers of a cluster that is moved by hand.

use super::cluster::Cluster;
use super::{batch, produce_request, set_config};
use sordini_core::node::{Input, NodeState};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use sordini_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use sordini_protocol::messages::describe_topic_partitions_request::TopicRequest;
use sordini_protocol::messages::metadata_request::MetadataRequestTopic;
use sordini_protocol::messages::metadata_response::MetadataResponsePartition;
use sordini_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DescribeTopicPartitionsRequest, FetchRequest,
    InitProducerIdRequest, MetadataRequest, MetadataResponse, fetch_request,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;

/// The number of topics among the kinds of what is configured.
const TOPIC: i8 = 2;
/// And that of brokers.
const BROKER: i8 = 4;

impl Cluster {
    /// What a broker answers its client, who waits no longer than half a minute for it.
    pub(crate) fn ask(&mut self, at: usize, version: i16, body: AnyRequest) -> AnyResponse {
        let connection = self.client_request(at, version, body);
        for _ in 0..3_500 {
            if let Some(answer) = self.machines[at].answers.remove(&connection) {
                return answer;
            }
            assert!(!self.machines[at].closed.contains(&connection), "the connection was closed");
            self.run_for(10);
        }
        panic!("there was no answer")
    }

    pub(crate) fn metadata(&mut self, at: usize, topics: Option<&[&'static str]>) -> MetadataResponse {
        let named = |name: &&'static str| MetadataRequestTopic {
            name: Some(Str::from_static(name)),
            ..MetadataRequestTopic::default()
        };
        let topics = topics.map(|topics| topics.iter().map(named).collect());
        let request =
            MetadataRequest { topics, allow_auto_topic_creation: true, ..MetadataRequest::default() };
        let AnyResponse::Metadata(response) = self.ask(at, 12, AnyRequest::Metadata(request)) else {
            panic!("a response is of its request's API")
        };
        response
    }

    /// The only partition of a topic, as a broker knows it.
    pub(crate) fn partition(&mut self, at: usize, topic: &'static str) -> MetadataResponsePartition {
        self.metadata(at, Some(&[topic])).topics[0].partitions[0].clone()
    }

    /// Who besides those in sync may lead the only partition of a topic.
    pub(crate) fn eligible(&mut self, at: usize, topic: &'static str) -> Vec<i32> {
        let request = DescribeTopicPartitionsRequest {
            topics: vec![TopicRequest { name: Str::from_static(topic), ..TopicRequest::default() }],
            response_partition_limit: 10,
            ..DescribeTopicPartitionsRequest::default()
        };
        let request = AnyRequest::DescribeTopicPartitions(request);
        let AnyResponse::DescribeTopicPartitions(response) = self.ask(at, 0, request) else {
            panic!("a response is of its request's API")
        };
        response.topics[0].partitions[0].eligible_leader_replicas.clone().unwrap_or_default()
    }

    /// Creates a topic of one partition with these replicas.
    pub(crate) fn create(&mut self, at: usize, topic: &'static str, replicas: &[i32]) -> ErrorCode {
        let assignment = CreatableReplicaAssignment {
            broker_ids: replicas.to_vec(),
            ..CreatableReplicaAssignment::default()
        };
        let topic = CreatableTopic {
            name: Str::from_static(topic),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            ..CreatableTopic::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() };
        let AnyResponse::CreateTopics(response) = self.ask(at, 7, AnyRequest::CreateTopics(request)) else {
            panic!("a response is of its request's API")
        };
        ErrorCode::from_i16(response.topics[0].error_code)
    }

    /// Sets a key of a topic.
    pub(crate) fn configure(&mut self, at: usize, topic: &str, key: &str, value: &str) {
        self.set(at, TOPIC, topic, key, value);
    }

    /// Sets a key of a broker, which is asked itself.
    pub(crate) fn configure_broker(&mut self, at: usize, key: &str, value: &str) {
        self.set(at, BROKER, &(at + 1).to_string(), key, value);
    }

    fn set(&mut self, at: usize, kind: i8, name: &str, key: &str, value: &str) {
        let request = AnyRequest::IncrementalAlterConfigs(set_config(kind, name, key, value));
        let AnyResponse::IncrementalAlterConfigs(response) = self.ask(at, 1, request) else {
            panic!("a response is of its request's API")
        };
        assert_eq!(response.responses[0].error_code, 0);
    }

    pub(crate) fn produce(&mut self, at: usize, topic: &str, value: &str) -> (ErrorCode, i64) {
        self.produce_with(-1, at, topic, value)
    }

    pub(crate) fn produce_with(
        &mut self,
        acks: i16,
        at: usize,
        topic: &str,
        value: &str,
    ) -> (ErrorCode, i64) {
        self.produce_all(acks, at, topic, &[value])
    }

    /// Produces one batch of several records.
    pub(crate) fn produce_batch(&mut self, at: usize, topic: &str, values: &[&str]) -> (ErrorCode, i64) {
        self.produce_all(-1, at, topic, values)
    }

    fn produce_all(&mut self, acks: i16, at: usize, topic: &str, values: &[&str]) -> (ErrorCode, i64) {
        let request = AnyRequest::Produce(produce_request(topic, 0, acks, batch(1_000, values)));
        let AnyResponse::Produce(response) = self.ask(at, 9, request) else {
            panic!("a response is of its request's API")
        };
        let one = &response.responses[0].partition_responses[0];
        (ErrorCode::from_i16(one.error_code), one.base_offset)
    }

    /// What a broker answers who reads a topic from its beginning: an error, and how far it may be read.
    pub(crate) fn fetch(&mut self, at: usize, topic: &'static str) -> (ErrorCode, i64) {
        let partition = fetch_request::FetchPartition {
            partition: 0,
            fetch_offset: 0,
            partition_max_bytes: 1 << 20,
            ..fetch_request::FetchPartition::default()
        };
        let topic = fetch_request::FetchTopic {
            topic: Str::from_static(topic),
            partitions: vec![partition],
            ..fetch_request::FetchTopic::default()
        };
        let request = FetchRequest {
            max_wait_ms: 0,
            max_bytes: 1 << 20,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let AnyResponse::Fetch(response) = self.ask(at, 12, AnyRequest::Fetch(request)) else {
            panic!("a response is of its request's API")
        };
        let data = &response.responses[0].partitions[0];
        (ErrorCode::from_i16(data.error_code), data.high_watermark)
    }

    pub(crate) fn producer_id(&mut self, at: usize) -> i64 {
        let request = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
        let AnyResponse::InitProducerId(response) = self.ask(at, 4, AnyRequest::InitProducerId(request))
        else {
            panic!("a response is of its request's API")
        };
        assert_eq!(response.error_code, 0);
        response.producer_id
    }

    pub(crate) fn stop(&mut self, at: usize) {
        self.step(at, Input::StopRequested);
    }

    pub(crate) fn is_running(&self, at: usize) -> bool {
        self.state(at) == Some(NodeState::Running)
    }

    /// Deletes the records of a topic below an offset; answers where it begins.
    pub(crate) fn delete_records(&mut self, at: usize, topic: &'static str, below: i64) -> (ErrorCode, i64) {
        let partition = DeleteRecordsPartition { offset: below, ..DeleteRecordsPartition::default() };
        let topic = DeleteRecordsTopic {
            name: Str::from_static(topic),
            partitions: vec![partition],
            ..DeleteRecordsTopic::default()
        };
        let request = DeleteRecordsRequest {
            topics: vec![topic],
            timeout_ms: 5_000,
            ..DeleteRecordsRequest::default()
        };
        let AnyResponse::DeleteRecords(response) = self.ask(at, 2, AnyRequest::DeleteRecords(request)) else {
            panic!("a response is of its request's API")
        };
        let one = &response.topics[0].partitions[0];
        (ErrorCode::from_i16(one.error_code), one.low_watermark)
    }
}
