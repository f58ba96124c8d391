//! A node from its formatted directory to its answers, and over its restarts.

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use sordini_core::node::{Input, RequestBody};
use sordini_core::outbox::Outbox;
use sordini_core::time::Now;
use sordini_protocol::batch::{Batch, BatchBuilder, BatchParams};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use sordini_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use sordini_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use sordini_protocol::messages::metadata_request::MetadataRequestTopic;
use sordini_protocol::messages::{
    AlterReplicaLogDirsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeLogDirsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Str};
use std::collections::BTreeSet;
use support::{Host, batch};

fn create(host: &mut Host, topic: &str) {
    let topic = CreatableTopic {
        name: Str::from(topic),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    let AnyResponse::CreateTopics(response) = host.ask(7, AnyRequest::CreateTopics(request)) else {
        panic!("a response is of its request's API")
    };
    assert_eq!((response.topics[0].error_code, &response.topics[0].error_message), (0, &None));
}

fn produce(host: &mut Host, topic: &str, timestamp: i64, values: &[&str]) -> i64 {
    let AnyResponse::Produce(response) = host.produce(topic, batch(timestamp, values)) else {
        panic!("a response is of its request's API")
    };
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0, "{:?}", partition.error_message);
    partition.base_offset
}

fn fetch_request(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition =
        FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let topic = FetchTopic { topic: Str::from(topic), partitions: vec![partition], ..FetchTopic::default() };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// Offsets and values of the records in a fetch response.
fn records(host: &Host, response: AnyResponse) -> Vec<(i64, String)> {
    let AnyResponse::Fetch(response) = response else { panic!("a response is of its request's API") };
    let partition = &response.responses[0].partitions[0];
    assert_eq!((response.error_code, partition.error_code), (0, 0));
    let mut bytes = match &partition.records {
        Some(Records::Stored(range)) => host.disk.read(range),
        Some(Records::Bytes(bytes)) => bytes.clone(),
        None => return Vec::new(),
    };
    let mut found = Vec::new();
    while let Some(batch) = Batch::first_of(&mut bytes).expect("the log holds batches") {
        batch.check_crc().expect("the log holds whole batches");
        for record in batch.records(1 << 20).expect("they can be read") {
            let record = record.expect("they can be read");
            let value = record.value.expect("every record here has a value");
            found.push((record.offset, String::from_utf8_lossy(&value).into_owned()));
        }
    }
    found
}

fn fetch(host: &mut Host, topic: &str, offset: i64) -> Vec<(i64, String)> {
    let response = host.ask(12, AnyRequest::Fetch(fetch_request(topic, offset, 0)));
    records(host, response)
}

fn list_offset(host: &mut Host, topic: &str, timestamp: i64) -> (i16, i64, i64) {
    let partition =
        ListOffsetsPartition { timestamp, current_leader_epoch: -1, ..ListOffsetsPartition::default() };
    let topic =
        ListOffsetsTopic { name: Str::from(topic), partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
    let AnyResponse::ListOffsets(response) = host.ask(9, AnyRequest::ListOffsets(request)) else {
        panic!("a response is of its request's API")
    };
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.offset, partition.timestamp)
}

fn delete_records(host: &mut Host, topic: &str, offset: i64) {
    let partition = DeleteRecordsPartition { offset, ..DeleteRecordsPartition::default() };
    let topic =
        DeleteRecordsTopic { name: Str::from(topic), partitions: vec![partition], ..Default::default() };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    let AnyResponse::DeleteRecords(response) = host.ask(2, AnyRequest::DeleteRecords(request)) else {
        panic!("a response is of its request's API")
    };
    assert_eq!(response.topics[0].partitions[0].low_watermark, offset);
}

fn owned(records: &[(i64, &str)]) -> Vec<(i64, String)> {
    records.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect()
}

#[test]
fn what_was_produced_is_fetched_before_and_after_a_stop_and_a_crash() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    assert_eq!(produce(&mut host, "orders", 1000, &["a", "b"]), 0);
    assert_eq!(produce(&mut host, "orders", 2000, &["c"]), 2);
    let all = owned(&[(0, "a"), (1, "b"), (2, "c")]);
    assert_eq!(fetch(&mut host, "orders", 0), all);
    assert_eq!(fetch(&mut host, "orders", 2), all[2..]);
    assert_eq!(fetch(&mut host, "orders", 3), []);

    host.stop();
    host.restart();
    assert_eq!(fetch(&mut host, "orders", 0), all, "after a clean stop");
    assert_eq!(produce(&mut host, "orders", 3000, &["d"]), 3);

    host.restart();
    assert_eq!(fetch(&mut host, "orders", 3), owned(&[(3, "d")]), "after a crash");
    assert_eq!(produce(&mut host, "orders", 3000, &["e"]), 4);
}

#[test]
fn a_torn_batch_at_the_end_is_cut_off_after_a_crash() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    produce(&mut host, "orders", 1000, &["a"]);
    produce(&mut host, "orders", 1000, &["b"]);
    let log = host.disk.files.get_mut("0/orders-0/00000000000000000000.log").expect("the log is there");
    log.truncate(log.len() - 3);
    host.restart();
    assert_eq!(fetch(&mut host, "orders", 0), owned(&[(0, "a")]));
    assert_eq!(produce(&mut host, "orders", 1000, &["c"]), 1);
    assert_eq!(fetch(&mut host, "orders", 0), owned(&[(0, "a"), (1, "c")]));
}

#[test]
fn a_snapshot_of_producers_beyond_the_recovered_end_is_believed_by_no_later_start() {
    let mut host = Host::formatted(&[("log.segment.bytes", "1048576")]);
    create(&mut host, "orders");
    let value = "x".repeat(400_000);
    let produce = |host: &mut Host, base_sequence: i32| {
        let producer =
            BatchParams { producer_id: 7, producer_epoch: 0, base_sequence, ..BatchParams::default() };
        let mut builder = BatchBuilder::new(producer);
        builder.append(1000, None, Some(value.as_bytes()), &[]);
        let AnyResponse::Produce(response) = host.produce("orders", builder.build()) else {
            panic!("a response is of its request's API")
        };
        response.responses[0].partition_responses[0].base_offset
    };
    for sequence in 0..3 {
        assert_eq!(produce(&mut host, sequence), i64::from(sequence));
    }
    assert!(host.disk.files.contains_key("0/orders-0/00000000000000000002.snapshot"), "a segment was rolled");
    // The power was lost before the second batch, and all that followed, had reached the disk.
    host.disk.files.retain(|file, _| file.contains("snapshot") || !file.contains("00000000000000000002."));
    let log = host.disk.files.get_mut("0/orders-0/00000000000000000000.log").expect("the log is there");
    log.truncate(log.len() / 2);
    host.restart();
    assert_eq!(list_offset(&mut host, "orders", -1), (0, 1, -1));
    host.stop();
    host.restart();
    assert_eq!(produce(&mut host, 1), 1, "what is not in the log is no duplicate");
    assert_eq!(list_offset(&mut host, "orders", -1), (0, 2, -1));
}

#[test]
fn what_recovery_cuts_off_cannot_come_back() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    let log = "0/orders-0/00000000000000000000.log";
    // Nothing is ever appended after it, so that no flush of records covers the cut.
    host.disk.files.get_mut(log).expect("the log is there").extend_from_slice(&[1; 100]);
    host.restart();
    assert_eq!(host.disk.files[log].len(), 0);
    host.stop();
    assert_eq!(host.disk.unsynced_cuts, BTreeSet::new());
}

#[test]
fn what_a_recovery_cut_off_that_was_killed_itself_cannot_come_back() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    let log = "0/orders-0/00000000000000000000.log";
    // The cut has taken effect, its sync has not, and the file looks as if there had never been more.
    host.disk.unsynced_cuts.insert(log.to_owned());
    host.restart();
    host.stop();
    assert_eq!(host.disk.unsynced_cuts, BTreeSet::new());
}

#[test]
fn a_reader_of_what_is_damaged_is_told() {
    let mut host = Host::formatted(&[("log.index.interval.bytes", "0")]);
    create(&mut host, "orders");
    produce(&mut host, "orders", 1000, &["a"]);
    produce(&mut host, "orders", 2000, &["b"]);
    let error = |host: &mut Host, offset| {
        let AnyResponse::Fetch(response) =
            host.ask(12, AnyRequest::Fetch(fetch_request("orders", offset, 0)))
        else {
            panic!("a response is of its request's API")
        };
        ErrorCode::from_i16(response.responses[0].partitions[0].error_code)
    };
    // The magic of the first batch; the position in the only index entry, which then lies beyond the file.
    for (damaged, position, offset) in [("log", 16, 0), ("index", 4, 1)] {
        host.stop();
        host.restart();
        assert_eq!(error(&mut host, offset), ErrorCode::None, "before the {damaged} is damaged");
        let file = format!("0/orders-0/00000000000000000000.{damaged}");
        let byte = |host: &mut Host, byte: u8| {
            let bytes = host.disk.files.get_mut(&file).expect("it is there");
            std::mem::replace(&mut bytes[position], byte)
        };
        let right = byte(&mut host, 0x55);
        assert_eq!(error(&mut host, offset), ErrorCode::CorruptMessage, "after the {damaged} is damaged");
        byte(&mut host, right);
    }
}

#[test]
fn offsets_are_found_by_time_over_many_batches_and_segments() {
    let mut host = Host::formatted(&[("log.segment.bytes", "1048576"), ("log.index.interval.bytes", "200")]);
    create(&mut host, "orders");
    let value = "x".repeat(4000);
    for n in 0..1000 {
        assert_eq!(produce(&mut host, "orders", 10_000 + n * 10, &[&value]), n);
    }
    for (timestamp, expected) in [
        (0, (0, 0, 10_000)),
        (10_000, (0, 0, 10_000)),
        (10_001, (0, 1, 10_010)),
        (15_000, (0, 500, 15_000)),
        (19_990, (0, 999, 19_990)),
        (19_991, (0, -1, -1)),
        (-1, (0, 1000, -1)),
        (-2, (0, 0, -1)),
        (-3, (0, 999, 19_990)),
    ] {
        assert_eq!(list_offset(&mut host, "orders", timestamp), expected, "timestamp {timestamp}");
    }
    for restart in ["none", "clean", "crash"] {
        match restart {
            "clean" => {
                host.stop();
                host.restart();
            }
            "crash" => host.restart(),
            _ => {}
        }
        for offset in [0, 1, 255, 256, 257, 300, 511, 700, 999] {
            let found = fetch(&mut host, "orders", offset);
            assert_eq!(
                found.first().map(|(first, _)| *first),
                Some(offset),
                "offset {offset}, restart {restart}"
            );
        }
        assert_eq!(list_offset(&mut host, "orders", 12_345), (0, 235, 12_350), "restart {restart}");
    }
}

#[test]
fn a_fetch_at_the_end_waits_for_the_next_record_or_its_time() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    let waiting = host.send(12, RequestBody::Other(AnyRequest::Fetch(fetch_request("orders", 0, 500))));
    assert!(!host.answers.contains_key(&waiting));
    produce(&mut host, "orders", 1000, &["a"]);
    let answer = host.answers.remove(&waiting).expect("the record woke it");
    assert_eq!(records(&host, answer), owned(&[(0, "a")]));

    let waiting = host.send(12, RequestBody::Other(AnyRequest::Fetch(fetch_request("orders", 1, 500))));
    host.advance(499);
    assert!(!host.answers.contains_key(&waiting));
    host.advance(1);
    let answer = host.answers.remove(&waiting).expect("its time is up");
    assert_eq!(records(&host, answer), []);
}

#[test]
fn a_topic_that_is_asked_for_is_created_when_the_client_allows_it() {
    let mut host = Host::formatted(&[]);
    let mut ask = |allow_auto_topic_creation| {
        let topic = MetadataRequestTopic { name: Some(Str::from_static("new")), ..Default::default() };
        let request =
            MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation, ..Default::default() };
        let AnyResponse::Metadata(response) = host.ask(9, AnyRequest::Metadata(request)) else {
            panic!("a response is of its request's API")
        };
        (response.topics[0].error_code, response.topics[0].partitions.len())
    };
    assert_eq!(ask(false), (ErrorCode::UnknownTopicOrPartition.as_i16(), 0));
    assert_eq!(ask(true), (0, 1));
    assert_eq!(ask(false), (0, 1));
}

#[test]
fn a_fetch_that_is_cut_short_ends_with_a_whole_batch() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    let value = "x".repeat(5000);
    for _ in 0..600 {
        produce(&mut host, "orders", 10_000, &[&value]);
    }
    for offset in [0, 3, 250, 560] {
        let mut request = fetch_request("orders", offset, 0);
        request.topics[0].partitions[0].partition_max_bytes = 26_000;
        let AnyResponse::Fetch(response) = host.ask(12, AnyRequest::Fetch(request)) else {
            panic!("a response is of its request's API")
        };
        let Some(Records::Stored(range)) = &response.responses[0].partitions[0].records else {
            panic!("there are records at {offset}")
        };
        let mut bytes = host.disk.read(range);
        let mut batches = 0;
        while Batch::first_of(&mut bytes).expect("the log holds batches").is_some() {
            batches += 1;
        }
        assert_eq!((batches, bytes.len()), (5, 0), "from offset {offset}");
    }
}

#[test]
fn what_is_named_twice_is_described_once_and_not_deleted() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    let topic = || MetadataRequestTopic { name: Some(Str::from_static("orders")), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic(), topic(), topic()]), ..Default::default() };
    let AnyResponse::Metadata(response) = host.ask(9, AnyRequest::Metadata(request)) else {
        panic!("a response is of its request's API")
    };
    assert_eq!(response.topics.len(), 1);

    let names = vec![Str::from_static("orders"), Str::from_static("orders")];
    let request = DeleteTopicsRequest { topic_names: names, ..DeleteTopicsRequest::default() };
    let AnyResponse::DeleteTopics(response) = host.ask(5, AnyRequest::DeleteTopics(request)) else {
        panic!("a response is of its request's API")
    };
    let codes: Vec<i16> = response.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.as_i16(); 2]);
    assert_eq!(fetch(&mut host, "orders", 0), [], "the topic is still there");
}

#[test]
fn deleted_records_stay_deleted_over_restarts() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    for value in ["a", "b", "c"] {
        produce(&mut host, "orders", 1000, &[value]);
    }
    delete_records(&mut host, "orders", 2);
    host.stop();
    host.restart();
    assert_eq!(list_offset(&mut host, "orders", -2), (0, 2, -1));
    assert_eq!(fetch(&mut host, "orders", 2), owned(&[(2, "c")]));
}

fn move_to(host: &mut Host, topic: &str, partition: i32, path: &'static str) -> ErrorCode {
    let topics = vec![AlterReplicaLogDirTopic {
        name: Str::from(topic),
        partitions: vec![partition],
        ..Default::default()
    }];
    let dirs = vec![AlterReplicaLogDir { path: Str::from_static(path), topics, ..Default::default() }];
    let request = AlterReplicaLogDirsRequest { dirs, ..Default::default() };
    let AnyResponse::AlterReplicaLogDirs(response) = host.ask(2, request.into()) else {
        panic!("a response is of its request's API")
    };
    ErrorCode::from_i16(response.results[0].partitions[0].error_code)
}

/// What a reader gets who asks again where it got less than there is, as at the end of a segment.
fn read_all(host: &mut Host, topic: &str, from: i64, last: i64) -> Vec<(i64, String)> {
    let mut read = fetch(host, topic, from);
    while let Some((end, _)) = read.last().filter(|(end, _)| *end < last) {
        let next = end + 1;
        read.extend(fetch(host, topic, next));
    }
    read
}

/// The log directories that hold something of a topic, with its bytes there, and whether that is a copy.
fn places(host: &mut Host, topic: &str) -> Vec<(String, i64, bool)> {
    let AnyResponse::DescribeLogDirs(response) =
        host.ask(4, DescribeLogDirsRequest { topics: None, ..Default::default() }.into())
    else {
        panic!("a response is of its request's API")
    };
    let mut places = Vec::new();
    for dir in &response.results {
        for of_topic in dir.topics.iter().filter(|of_topic| *of_topic.name == *topic) {
            let partition = &of_topic.partitions[0];
            places.push((dir.log_dir.to_string(), partition.partition_size, partition.is_future_key));
        }
    }
    places
}

#[test]
fn replicas_move_between_log_directories_with_all_that_is_known_of_them() {
    let settings =
        [("log.dirs", "a,b"), ("log.segment.bytes", "1048576"), ("log.initial.task.delay.ms", "0")];
    let mut host = Host::formatted(&settings);
    create(&mut host, "orders");
    for value in ["a", "b", "c", "d"] {
        produce(&mut host, "orders", 1000, &[value]);
    }
    delete_records(&mut host, "orders", 2);
    let before = places(&mut host, "orders");
    assert_eq!((before.len(), &*before[0].0), (1, "a"), "{before:?}");
    let waiting = host.send(12, RequestBody::Other(fetch_request("orders", 4, 500).into()));
    assert_eq!(move_to(&mut host, "orders", 0, "c"), ErrorCode::LogDirNotFound);
    assert_eq!(move_to(&mut host, "orders", 1, "b"), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(move_to(&mut host, "orders", 0, "a"), ErrorCode::None, "it is there");
    assert_eq!(places(&mut host, "orders"), before);
    assert_eq!(move_to(&mut host, "orders", 0, "b"), ErrorCode::None);
    assert_eq!(places(&mut host, "orders"), [("b".to_owned(), before[0].1, false)]);
    let in_first = |host: &Host| host.disk.files.keys().any(|path| path.starts_with("0/orders-0"));
    assert!(!in_first(&host), "{:?}", host.disk.files.keys());
    assert_eq!(produce(&mut host, "orders", 1000, &["e"]), 4);
    let answer = host.answers.remove(&waiting).expect("who waits for records gets them from where they are");
    assert_eq!(records(&host, answer), owned(&[(4, "e")]));
    for _ in 0..2 {
        assert_eq!(list_offset(&mut host, "orders", -2).1, 2, "what was deleted stays deleted");
        assert_eq!(read_all(&mut host, "orders", 2, 4), owned(&[(2, "c"), (3, "d"), (4, "e")]));
        host.restart();
        assert_eq!(places(&mut host, "orders").len(), 1);
    }
    assert_eq!(move_to(&mut host, "orders", 0, "a"), ErrorCode::None, "and back");
    assert_eq!(produce(&mut host, "orders", 1000, &["f"]), 5);
    assert_eq!(read_all(&mut host, "orders", 4, 5), owned(&[(4, "e"), (5, "f")]));
}

#[test]
fn what_was_checkpointed_of_a_deleted_topic_does_not_count_for_one_of_its_name() {
    for is_deleted_before_the_crash in [true, false] {
        let mut host = Host::formatted(&[]);
        create(&mut host, "orders");
        for value in ["a", "b", "c"] {
            produce(&mut host, "orders", 1000, &[value]);
        }
        delete_records(&mut host, "orders", 2);
        host.stop();
        host.restart();
        let request = DeleteTopicsRequest {
            topic_names: vec![Str::from_static("orders")],
            timeout_ms: 1000,
            ..Default::default()
        };
        host.ask(4, AnyRequest::DeleteTopics(request));
        if is_deleted_before_the_crash {
            host.restart();
        }
        create(&mut host, "orders");
        assert_eq!(produce(&mut host, "orders", 1000, &["d"]), 0);
        host.restart();
        assert_eq!(fetch(&mut host, "orders", 0), owned(&[(0, "d")]));
    }
}

#[test]
fn a_partition_whose_topic_was_not_written_down_before_a_crash_gets_it_at_the_next_start() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    let written = host.disk.files.remove("0/orders-0/partition.metadata");
    assert!(written.is_some());
    host.restart();
    assert_eq!(host.disk.files.get("0/orders-0/partition.metadata"), written.as_ref());
}

#[test]
fn age_and_size_do_not_delete_more_together_than_one_after_the_other() {
    let mut host = Host::formatted(&[
        ("log.segment.bytes", "1048576"),
        ("log.retention.bytes", "1500000"),
        ("log.retention.ms", "100000"),
    ]);
    create(&mut host, "orders");
    let (half, most) = ("x".repeat(500_000), "x".repeat(600_000));
    // The first segment is too old, and too large to go for the size of the log; with it gone the log is small enough.
    for (timestamp, value) in [(0, &half), (0, &half), (1_000_000, &most), (1_000_000, &most)] {
        produce(&mut host, "orders", timestamp, &[value]);
    }
    host.advance(60_000);
    assert_eq!(list_offset(&mut host, "orders", -2), (0, 2, -1));
}

#[test]
fn a_node_that_stops_does_nothing_that_only_time_asks_for() {
    let settings = [("log.retention.ms", "1"), ("controlled.shutdown.enable", "false")];
    let mut host = Host::formatted(&settings);
    create(&mut host, "orders");
    produce(&mut host, "orders", 0, &["a"]);
    let mut out = Outbox::new();
    host.node.step(host.now, Input::StopRequested, &mut out);
    assert!(out.drain().count() > 0, "the logs are being closed");
    let later = Now { monotonic: host.now.monotonic.plus_millis(600_000), ..host.now };
    host.node.step(later, Input::DeadlinePassed, &mut out);
    assert!(out.is_empty(), "{:?}", out.drain().collect::<Vec<_>>());
}

#[test]
fn a_fetch_does_not_wait_for_more_than_it_has_room_for() {
    let mut host = Host::formatted(&[]);
    create(&mut host, "orders");
    produce(&mut host, "orders", 1000, &["a"]);
    let request = FetchRequest { min_bytes: 1 << 20, max_bytes: 1, ..fetch_request("orders", 0, 500) };
    let response = host.ask(12, AnyRequest::Fetch(request));
    assert_eq!(records(&host, response), owned(&[(0, "a")]));
}

#[test]
fn an_index_that_points_beyond_the_log_costs_no_records_after_a_clean_stop() {
    let mut host = Host::formatted(&[("log.index.interval.bytes", "0")]);
    create(&mut host, "orders");
    produce(&mut host, "orders", 1000, &["a"]);
    produce(&mut host, "orders", 2000, &["b"]);
    host.stop();
    // The position in the only entry.
    let index = host.disk.files.get_mut("0/orders-0/00000000000000000000.index").expect("it is there");
    index[4] ^= 1;
    host.restart();
    assert_eq!(fetch(&mut host, "orders", 0), owned(&[(0, "a"), (1, "b")]));
}

#[test]
fn a_segment_that_recovery_believes_has_the_entry_that_closes_its_time_index() {
    let mut host = Host::formatted(&[("log.segment.bytes", "1048576")]);
    create(&mut host, "orders");
    let most = "x".repeat(600_000);
    produce(&mut host, "orders", 1000, &[&most]);
    // The recovery point is where the segment ends, and its time index is closed.
    host.stop();
    let time_index = "0/orders-0/00000000000000000000.timeindex";
    let closed = host.disk.files[time_index].clone();
    assert_eq!(closed.len(), 12);
    host.restart();
    // A crash before anything else is written: the segment is the last, and its indexes are made anew.
    host.restart();
    // The next one begins at the recovery point, and what its beginning adds to the one before is lost.
    host.disk.failing = Some(time_index);
    let _ = host.produce("orders", batch(2000, &[&most]));
    assert!(host.disk.files.contains_key("0/orders-0/00000000000000000001.log"), "a segment was rolled");
    host.restart();
    assert_eq!(host.disk.files[time_index], closed);
    assert_eq!(list_offset(&mut host, "orders", 1000), (0, 0, 1000));
}

#[test]
fn an_index_of_a_closed_segment_that_is_missing_or_ends_within_an_entry_is_made_anew() {
    let mut host = Host::formatted(&[("log.segment.bytes", "1048576"), ("log.index.interval.bytes", "0")]);
    create(&mut host, "orders");
    let half = "x".repeat(400_000);
    for timestamp in [1000, 2000, 3000] {
        produce(&mut host, "orders", timestamp, &[&half]);
    }
    host.stop();
    for suffix in ["index", "timeindex"] {
        let index = format!("0/orders-0/00000000000000000000.{suffix}");
        let whole = host.disk.files.remove(&index).expect("it is there");
        for cut in [None, Some(&whole[..whole.len() - 5])] {
            host.disk.files.extend(cut.map(|rest| (index.clone(), rest.to_vec())));
            host.restart();
            assert_eq!(host.disk.files[&index], whole, "{index} was {cut:?}");
            host.stop();
        }
    }
}
