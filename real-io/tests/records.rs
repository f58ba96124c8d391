//! What is produced is fetched byte for byte, however large, however compressed, and after a restart.

mod support;

use bytes::Bytes;
use sordini_protocol::batch::{BatchBuilder, BatchParams};
use sordini_protocol::compression::Compression;
use sordini_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use sordini_protocol::messages::metadata_request::MetadataRequestTopic;
use sordini_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use sordini_protocol::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Str};
use std::io::Write as _;
use support::{Broker, Client, frame, read_answer};

const TOPIC: &str = "bytes";

/// A batch with one record of `len` bytes that no codec makes much smaller.
fn batch(len: usize, compression: Compression, seed: u64) -> Bytes {
    let mut state = seed;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56).to_le_bytes()[0]
    })
    .take(len)
    .collect();
    let mut builder = BatchBuilder::new(BatchParams { compression, ..BatchParams::default() });
    builder.append(1_700_000_000_000, None, Some(&value), &[]);
    builder.build()
}

fn produce(records: Bytes, acks: i16) -> ProduceRequest {
    let partition = PartitionProduceData {
        index: 0,
        records: Some(Records::Bytes(records)),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: Str::from_static(TOPIC),
        partition_data: vec![partition],
        ..TopicProduceData::default()
    };
    ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() }
}

fn create_topic(client: &mut Client) {
    let topic =
        MetadataRequestTopic { name: Some(Str::from_static(TOPIC)), ..MetadataRequestTopic::default() };
    loop {
        let request = MetadataRequest {
            topics: Some(vec![topic.clone()]),
            allow_auto_topic_creation: true,
            ..MetadataRequest::default()
        };
        let AnyResponse::Metadata(answer) = client.call(8, request) else { panic!("another answer") };
        if answer.topics[0].error_code == 0 {
            return;
        }
    }
}

fn base_offset(answer: &AnyResponse) -> i64 {
    let AnyResponse::Produce(answer) = answer else { panic!("another answer: {answer:?}") };
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0, "{partition:?}");
    partition.base_offset
}

fn fetch(client: &mut Client, offset: i64, bytes_max: i32) -> (i16, Bytes) {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: offset,
        partition_max_bytes: bytes_max,
        ..FetchPartition::default()
    };
    let topic =
        FetchTopic { topic: Str::from_static(TOPIC), partitions: vec![partition], ..FetchTopic::default() };
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: i32::MAX,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    let AnyResponse::Fetch(answer) = client.call(12, request) else { panic!("another answer") };
    let partition = &answer.responses[0].partitions[0];
    match &partition.records {
        Some(Records::Bytes(bytes)) => (partition.error_code, bytes.clone()),
        other => panic!("other records: {other:?}"),
    }
}

/// What the broker makes of a batch: the same, but for the offset and the epoch in its first 16 bytes.
fn same_but_for_its_place(fetched: &[u8], produced: &[u8], offset: i64) -> bool {
    fetched.len() == produced.len() && fetched[..8] == offset.to_be_bytes() && fetched[16..] == produced[16..]
}

#[test]
fn what_is_produced_is_fetched_byte_for_byte_and_survives_a_stop() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut broker = Broker::start_on(directory.path(), &["message.max.bytes=20000000"]);
    let mut client = broker.client();
    create_topic(&mut client);
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    // Both sides of every border: inline and by threads, copied and sent from the file, one step of memory and several.
    let lengths = [1, 30_000, 40_000, 70_000, 1_100_000, 5_000_000];
    let mut produced = Vec::new();
    for (seed, len) in (1..).zip(lengths) {
        for codec in codecs {
            let batch = batch(len, codec, seed);
            let offset = base_offset(&client.call(9, produce(batch.clone(), -1)));
            assert_eq!(offset, i64::try_from(produced.len()).expect("it is small"));
            produced.push(batch);
        }
    }
    for restart in [false, true] {
        if restart {
            assert!(broker.stop().success());
            broker = Broker::start_on(directory.path(), &["message.max.bytes=20000000"]);
            client = broker.client();
        }
        for (offset, batch) in (0..).zip(&produced) {
            let (error, fetched) =
                fetch(&mut client, offset, i32::try_from(batch.len()).expect("it is small"));
            assert_eq!(error, 0);
            let fetched = &fetched[..batch.len()];
            assert!(same_but_for_its_place(fetched, batch, offset), "batch {offset} is another");
        }
        let (_, all) = fetch(&mut client, 0, i32::MAX);
        assert_eq!(all.len(), produced.iter().map(Bytes::len).sum::<usize>());
    }
}

#[test]
fn answers_keep_the_order_of_requests_when_judging_takes_place_elsewhere() {
    let broker = Broker::start(&[]);
    let mut client = broker.client();
    create_topic(&mut client);
    let mut requests = Vec::new();
    for id in 0..40 {
        // Compressed and large, which another thread judges; unconfirmed; small.
        let (len, codec, acks) = match id % 4 {
            0 => (200_000, Compression::Zstd, -1),
            1 => (100, Compression::None, 0),
            2 => (100_000, Compression::Gzip, 1),
            _ => (10, Compression::None, 1),
        };
        let request =
            AnyRequest::from(produce(batch(len, codec, u64::try_from(id).expect("not negative")), acks));
        requests.extend_from_slice(&frame(id, 9, &request));
    }
    client.stream.write_all(&requests).expect("the broker reads");
    for (id, acks) in (0..40).map(|id| (id, if id % 4 == 1 { 0 } else { 1 })) {
        if acks != 0 {
            let (correlation_id, answer) =
                read_answer(&mut client.stream, sordini_protocol::api_key::ApiKey::Produce, 9);
            assert_eq!((correlation_id, base_offset(&answer)), (id, i64::from(id)));
        }
    }
}

#[test]
fn records_that_are_not_what_their_checksum_says_are_refused_and_the_connection_lives() {
    let broker = Broker::start(&[]);
    let mut client = broker.client();
    create_topic(&mut client);
    for (len, codec) in
        [(100, Compression::None), (100_000, Compression::Lz4), (2_000_000, Compression::None)]
    {
        let mut bytes = batch(len, codec, 3).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let AnyResponse::Produce(answer) = client.call(9, produce(bytes.into(), -1)) else {
            panic!("another")
        };
        // CORRUPT_MESSAGE
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 2);
    }
    assert_eq!(base_offset(&client.call(9, produce(batch(10, Compression::None, 1), -1))), 0);
}
