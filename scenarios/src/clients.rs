//! Who asks the node: what a client remembers, and the requests it sends.

use crate::script::PartitionName;
use bytes::Bytes;
use sordini_core::ids::ConnectionId;
use sordini_protocol::batch::{BatchBuilder, BatchParams};
use sordini_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use sordini_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use sordini_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use sordini_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use sordini_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, FetchRequest, InitProducerIdRequest, ProduceRequest,
};
use sordini_protocol::request::AnyRequest;
use sordini_protocol::wire::{Records, Str};
use std::collections::BTreeMap;

/// The newest version in which topics have their names, which are easier on the reader than their ids.
pub(crate) const PRODUCE_VERSION: i16 = 12;
/// As [`PRODUCE_VERSION`].
pub(crate) const FETCH_VERSION: i16 = 12;
pub(crate) const CREATE_TOPICS_VERSION: i16 = 7;
pub(crate) const INIT_PRODUCER_ID_VERSION: i16 = 5;
pub(crate) const DELETE_RECORDS_VERSION: i16 = 2;

/// Who an idempotent producer is to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// What a member of a group was told of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    /// Empty for who is none.
    pub(crate) member_id: Str,
    /// The name that it keeps, whatever its id.
    pub(crate) instance_id: Option<Str>,
    /// -1 for who is none.
    pub(crate) generation: i32,
}

impl Default for Membership {
    fn default() -> Self {
        Self { member_id: Str::new(), instance_id: None, generation: -1 }
    }
}

/// What a client remembers from one request to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    /// The connection it has, if any.
    pub(crate) connection: Option<ConnectionId>,
    /// Whether it numbers its batches.
    pub(crate) is_idempotent: bool,
    /// Who it is, once it was told.
    pub(crate) identity: Option<Identity>,
    /// The number of the next record for each partition.
    pub(crate) sequences: BTreeMap<PartitionName, i32>,
    /// Who it is in its group.
    pub(crate) membership: Membership,
    /// What it last sent to each partition, and how that was told.
    pub(crate) sent: BTreeMap<PartitionName, (Bytes, String)>,
}

/// A batch with these values, numbered if there is an identity.
pub(crate) fn batch(values: &[&str], wall_ms: i64, numbering: Option<(Identity, i32)>) -> Bytes {
    let mut params = BatchParams::default();
    if let Some((identity, sequence)) = numbering {
        params.producer_id = identity.id;
        params.producer_epoch = identity.epoch;
        params.base_sequence = sequence;
    }
    let mut builder = BatchBuilder::new(params);
    for value in values {
        builder.append(wall_ms, None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

pub(crate) fn produce(partition: &PartitionName, acks: i16, timeout_ms: i32, batch: Bytes) -> AnyRequest {
    let data = PartitionProduceData {
        index: partition.index,
        records: Some(Records::Bytes(batch)),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: Str::from(&*partition.topic),
        partition_data: vec![data],
        ..TopicProduceData::default()
    };
    ProduceRequest { acks, timeout_ms, topic_data: vec![topic], ..ProduceRequest::default() }.into()
}

pub(crate) fn fetch(partition: &PartitionName, from: i64, max_wait_ms: i32, min_bytes: i32) -> AnyRequest {
    let wanted = FetchPartition {
        partition: partition.index,
        fetch_offset: from,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic =
        FetchTopic { topic: Str::from(&*partition.topic), partitions: vec![wanted], ..FetchTopic::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms,
        min_bytes,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    request.into()
}

pub(crate) fn create_topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> AnyRequest {
    let config = |(key, value): &(&str, &str)| CreatableTopicConfig {
        name: Str::from(*key),
        value: Some(Str::from(*value)),
        ..CreatableTopicConfig::default()
    };
    let topic = CreatableTopic {
        name: Str::from(name),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() }.into()
}

pub(crate) fn delete_records(partition: &PartitionName, before: i64) -> AnyRequest {
    let wanted = DeleteRecordsPartition {
        partition_index: partition.index,
        offset: before,
        ..DeleteRecordsPartition::default()
    };
    let topic = DeleteRecordsTopic {
        name: Str::from(&*partition.topic),
        partitions: vec![wanted],
        ..DeleteRecordsTopic::default()
    };
    DeleteRecordsRequest { topics: vec![topic], timeout_ms: 5_000, ..DeleteRecordsRequest::default() }.into()
}

pub(crate) fn init_producer_id() -> AnyRequest {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    request.into()
}
