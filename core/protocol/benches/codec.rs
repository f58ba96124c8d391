//! What the codec costs on the messages that a busy broker sees.

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use sordini_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use sordini_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use sordini_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use sordini_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use sordini_protocol::messages::{FetchRequest, FetchResponse, MetadataResponse, ProduceRequest};
use sordini_protocol::wire::{Message, Records, StoredRange, Uuid, Writer};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 17;
const METADATA_VERSION: i16 = 12;

/// Ten partitions with 16 KiB each.
fn produce() -> ProduceRequest {
    let partition = |index| PartitionProduceData {
        index,
        records: Some(Records::Bytes(vec![7; 16 * 1024].into())),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: "payments".into(),
        partition_data: (0..10).map(partition).collect(),
        ..TopicProduceData::default()
    };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() }
}

/// A thousand partitions.
fn fetch_request() -> FetchRequest {
    let partition =
        |partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let topic = FetchTopic {
        topic_id: Uuid([7; 16]),
        partitions: (0..1000).map(partition).collect(),
        ..FetchTopic::default()
    };
    FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..FetchRequest::default() }
}

/// A hundred partitions with 16 KiB each, in memory or in a file.
fn fetch_response(records: &Records) -> FetchResponse {
    let partition = |partition_index| PartitionData {
        partition_index,
        high_watermark: 1 << 30,
        records: Some(records.clone()),
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: Uuid([7; 16]),
        partitions: (0..100).map(partition).collect(),
        ..FetchableTopicResponse::default()
    };
    FetchResponse { responses: vec![topic], ..FetchResponse::default() }
}

/// Thirty topics of a hundred partitions.
fn metadata() -> MetadataResponse {
    let broker = |node_id| MetadataResponseBroker {
        node_id,
        host: "broker.example.com".into(),
        port: 9092,
        ..MetadataResponseBroker::default()
    };
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: partition_index % 3,
        leader_epoch: 5,
        replica_nodes: vec![0, 1, 2],
        isr_nodes: vec![0, 1, 2],
        ..MetadataResponsePartition::default()
    };
    let topic = |i| MetadataResponseTopic {
        name: Some(format!("topic-{i}").into()),
        topic_id: Uuid([i; 16]),
        partitions: (0..100).map(partition).collect(),
        ..MetadataResponseTopic::default()
    };
    MetadataResponse {
        brokers: (0..3).map(broker).collect(),
        topics: (0..30).map(topic).collect(),
        ..MetadataResponse::default()
    }
}

fn decode<M: Message>(bencher: Bencher<'_, '_>, message: &M, version: i16) {
    let bytes = message.to_bytes(version).expect("a version it has");
    bencher.counter(BytesCount::new(bytes.len())).bench(|| M::decode_all(version, black_box(bytes.clone())));
}

fn encode<M: Message + Sync>(bencher: Bencher<'_, '_>, message: &M, version: i16) {
    let len = message.encoded_len(version).expect("a version it has");
    bencher.counter(BytesCount::new(len)).bench(|| {
        let mut out = Writer::with_capacity(64);
        black_box(message).encode(version, &mut out).map(|()| out.finish())
    });
}

#[divan::bench]
fn produce_request_of_10_batches_of_16_kib_decode(bencher: Bencher<'_, '_>) {
    decode(bencher, &produce(), PRODUCE_VERSION);
}

#[divan::bench]
fn produce_request_of_10_batches_of_16_kib_encode(bencher: Bencher<'_, '_>) {
    encode(bencher, &produce(), PRODUCE_VERSION);
}

#[divan::bench]
fn fetch_request_of_1000_partitions_decode(bencher: Bencher<'_, '_>) {
    decode(bencher, &fetch_request(), FETCH_VERSION);
}

#[divan::bench]
fn fetch_response_of_100_stored_ranges_encode(bencher: Bencher<'_, '_>) {
    let range = StoredRange { file: Arc::from("00000000000000000000.log"), position: 0, len: 16 * 1024 };
    encode(bencher, &fetch_response(&Records::Stored(range)), FETCH_VERSION);
}

#[divan::bench]
fn fetch_response_of_100_batches_in_memory_encode(bencher: Bencher<'_, '_>) {
    encode(bencher, &fetch_response(&Records::Bytes(Bytes::from(vec![7; 16 * 1024]))), FETCH_VERSION);
}

#[divan::bench]
fn metadata_response_of_3000_partitions_decode(bencher: Bencher<'_, '_>) {
    decode(bencher, &metadata(), METADATA_VERSION);
}

#[divan::bench]
fn metadata_response_of_3000_partitions_encode(bencher: Bencher<'_, '_>) {
    encode(bencher, &metadata(), METADATA_VERSION);
}

#[divan::bench]
fn metadata_response_of_3000_partitions_count(bencher: Bencher<'_, '_>) {
    let message = metadata();
    bencher.bench(|| black_box(&message).encoded_len(METADATA_VERSION));
}
