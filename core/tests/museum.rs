//! Exhibits that a simulated world sees only with faults of a disk, with time or with a closer look, walked by hand: beside
//! the wrong rule, the right one.
#![cfg(feature = "museum")]

#[allow(dead_code, reason = "other tests use more of the host")]
mod support;

use bytes::Bytes;
use sordini_core::ids::Offset;
use sordini_core::museum::{Exhibit, Museum};
use sordini_core::node::{NodeState, RequestBody};
use sordini_core::produce_request::JudgedProduce;
use sordini_protocol::batch::{BatchBuilder, BatchHeader, BatchParams};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use sordini_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use sordini_protocol::messages::{CreateTopicsRequest, ListOffsetsRequest};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;
use support::{Host, batch, produce_request};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

const LOG: &str = "0/orders-0/00000000000000000000.log";

/// A host that believes in an exhibit, or in none, with an empty log.
fn host(museum: Museum, settings: &[(&str, &str)]) -> Host {
    let mut host = Host::formatted(settings);
    host.museum = museum;
    host.restart();
    let topic = CreatableTopic {
        name: Str::from_static("orders"),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    host.ask(7, AnyRequest::CreateTopics(request));
    host
}

/// What the node answers to `bytes`: the offset or the error. `None` as long as it does not answer.
fn produce(host: &mut Host, bytes: Bytes) -> Option<Result<i64, ErrorCode>> {
    let request = produce_request("orders", 0, -1, bytes);
    let id = host.send(9, RequestBody::Produce(JudgedProduce::judge(request, 9)));
    let AnyResponse::Produce(response) = host.answers.remove(&id)? else {
        panic!("a response is of its request's API")
    };
    let partition = &response.responses[0].partition_responses[0];
    let code = ErrorCode::from_i16(partition.error_code);
    Some(if code == ErrorCode::None { Ok(partition.base_offset) } else { Err(code) })
}

/// One record of an idempotent producer.
fn numbered(sequence: i32) -> Bytes {
    let params =
        BatchParams { producer_id: 7, producer_epoch: 0, base_sequence: sequence, ..BatchParams::default() };
    let mut builder = BatchBuilder::new(params);
    builder.append(1_000_000, None, Some(b"value"), &[]);
    builder.build()
}

fn list_offset(host: &mut Host, timestamp: i64) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition { timestamp, current_leader_epoch: -1, ..Default::default() };
    let topic = ListOffsetsTopic {
        name: Str::from_static("orders"),
        partitions: vec![partition],
        ..ListOffsetsTopic::default()
    };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
    let AnyResponse::ListOffsets(response) = host.ask(9, AnyRequest::ListOffsets(request)) else {
        panic!("a response is of its request's API")
    };
    response.topics[0].partitions[0].clone()
}

/// The right rule and the wrong one.
fn both(exhibit: Exhibit) -> [Museum; 2] {
    [Museum::NONE, Museum::NONE.with(exhibit)]
}

#[test]
fn an_old_high_watermark_cuts_the_log() {
    let ends = both(Exhibit::A01TruncateToOwnHighWatermark).map(|museum| {
        let mut host = host(museum, &[]);
        for _ in 0..10 {
            produce(&mut host, batch(1_000_000, &["value"]));
        }
        host.stop();
        let checkpoint = b"0\n1\norders 0 8\n".to_vec();
        host.disk.files.insert("0/replication-offset-checkpoint".to_owned(), checkpoint);
        host.restart();
        list_offset(&mut host, LATEST).offset
    });
    assert_eq!(ends, [10, 8]);
}

#[test]
fn retention_deletes_what_is_not_committed() {
    let ends = both(Exhibit::A13RetentionIgnoresHighWatermark).map(|museum| {
        let mut host = host(museum, &[("log.retention.ms", "1000")]);
        host.silent = Some("orders-0/00000000000000000000.log");
        assert_eq!(produce(&mut host, batch(1_000_000, &["value"])), None);
        host.advance(600_000);
        [EARLIEST, LATEST].map(|timestamp| list_offset(&mut host, timestamp).offset)
    });
    assert_eq!(ends, [[0, 0], [1, 0]]);
}

#[test]
fn retention_of_the_metadata_log_takes_what_no_snapshot_contains() {
    let begins = both(Exhibit::A23MetadataLogTimeRetention).map(|museum| {
        let mut host = host(museum, &[("log.retention.ms", "1000")]);
        host.advance(600_000);
        let view = host.node.quorum().expect("its log is open");
        (view.log_start > Offset(0), view.snapshots().is_empty())
    });
    assert_eq!(begins, [(false, true), (true, true)]);
}

#[test]
fn a_repeated_batch_is_out_of_order_without_a_memory_of_batches() {
    let answers = both(Exhibit::A32DedupeWindowZero).map(|museum| {
        let mut host = host(museum, &[]);
        [0, 1, 0].map(|sequence| produce(&mut host, numbered(sequence)).expect("it is answered at once"))
    });
    assert_eq!(answers, [[Ok(0), Ok(1), Ok(0)], [Ok(0), Ok(1), Err(ErrorCode::OutOfOrderSequenceNumber)]]);
}

#[test]
fn a_rebuilt_epoch_cache_without_epoch_zero_has_nothing_to_say() {
    let epochs = both(Exhibit::A44SkipEpochZero).map(|museum| {
        let mut host = host(museum, &[]);
        produce(&mut host, numbered(0));
        host.disk.files.remove("0/orders-0/leader-epoch-checkpoint").expect("it was written");
        host.restart();
        list_offset(&mut host, EARLIEST).leader_epoch
    });
    assert_eq!(epochs, [0, -1]);
}

#[test]
fn an_index_that_cannot_be_written_lets_offsets_be_given_out_twice() {
    for museum in both(Exhibit::A46AdvanceLogEndAfterIndex) {
        let mut host = host(museum, &[("log.index.interval.bytes", "0")]);
        produce(&mut host, numbered(0));
        host.disk.failing = Some(".index");
        let answer = produce(&mut host, numbered(1));
        if museum == Museum::NONE {
            assert_eq!(answer, Some(Err(ErrorCode::KafkaStorageError)));
            assert!(matches!(host.node.state(), NodeState::Failed(_)));
            continue;
        }
        assert_eq!(answer, None, "the batch did not happen");
        // The entry that failed left a hole.
        host.disk.files.insert(LOG.replace(".log", ".index"), vec![0; 8]);
        assert_eq!(produce(&mut host, batch(1_000_000, &["other"])), Some(Ok(1)));
        let mut rest = &host.disk.files[LOG][..];
        let mut offsets = Vec::new();
        while let Ok(header) = BatchHeader::parse(rest) {
            offsets.push(header.base_offset);
            rest = &rest[header.size()..];
        }
        assert_eq!(offsets, [0, 1, 1]);
    }
}

#[test]
fn a_failed_write_is_acknowledged_where_nobody_looks_at_it() {
    let answers = both(Exhibit::A47AppendAfterIoError).map(|museum| {
        let mut host = host(museum, &[]);
        host.disk.failing = Some("orders-0/00000000000000000000.log");
        (produce(&mut host, numbered(0)), host.disk.files[LOG].len())
    });
    assert_eq!(answers, [(Some(Err(ErrorCode::KafkaStorageError)), 0), (Some(Ok(0)), 0)]);
}

#[test]
fn a_flipped_bit_in_a_closed_segment_ends_the_log() {
    let ends = both(Exhibit::A48BadCrcIsEndOfLog).map(|museum| {
        let mut host = host(museum, &[("log.segment.bytes", "1048576")]);
        let value = "x".repeat(300_000);
        for _ in 0..10 {
            produce(&mut host, batch(1_000_000, &[&value]));
        }
        host.stop();
        host.disk.files.get_mut(LOG).expect("it is there")[400_000] ^= 1;
        host.restart();
        list_offset(&mut host, LATEST).offset
    });
    assert_eq!(ends, [10, 1]);
}

#[test]
fn a_flipped_bit_in_a_snapshot_becomes_a_sequence() {
    // In a snapshot the last sequence of the first producer ends here.
    const SEQUENCE_END: usize = 24;
    let answers = both(Exhibit::B04SnapshotNotVerified).map(|museum| {
        let mut host = host(museum, &[]);
        produce(&mut host, numbered(0));
        host.stop();
        let snapshot = host.disk.files.get_mut("0/orders-0/00000000000000000001.snapshot");
        snapshot.expect("a clean stop takes one")[SEQUENCE_END - 1] ^= 4;
        host.restart();
        produce(&mut host, numbered(1)).expect("it is answered at once")
    });
    assert_eq!(answers, [Ok(1), Err(ErrorCode::OutOfOrderSequenceNumber)]);
}

#[test]
fn a_torn_tail_is_cut_off_without_a_sync() {
    let unsynced = both(Exhibit::B10CutNotSynced).map(|museum| {
        let mut host = host(museum, &[]);
        produce(&mut host, numbered(0));
        host.disk.files.get_mut(LOG).expect("it is there").extend_from_slice(&[0; 20]);
        host.restart();
        assert_eq!(list_offset(&mut host, LATEST).offset, 1);
        host.disk.unsynced_cuts.contains(LOG)
    });
    assert_eq!(unsynced, [false, true]);
}
