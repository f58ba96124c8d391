//! An exhibit changes what its rule says and a museum without exhibits changes nothing. That a world notices each of them
//! is the simulator's to show.
#![cfg(feature = "museum")]

#[allow(dead_code, reason = "other tests use more of the host")]
mod support;

use sordini_core::museum::{Exhibit, Museum};
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use sordini_protocol::messages::{CreateTopicsRequest, ListOffsetsRequest};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;
use support::{Host, batch};

const LATEST: i64 = -1;

/// A host with a log of several segments, stopped cleanly.
fn stopped() -> Host {
    let mut host = Host::formatted(&[("log.segment.bytes", "1048576")]);
    let topic = CreatableTopic {
        name: Str::from_static("orders"),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    host.ask(7, AnyRequest::CreateTopics(request));
    let value = "x".repeat(300_000);
    for _ in 0..10 {
        host.produce("orders", batch(1_000_000, &[&value]));
    }
    host.stop();
    host
}

fn log_end(host: &mut Host) -> i64 {
    let partition = ListOffsetsPartition {
        timestamp: LATEST,
        current_leader_epoch: -1,
        ..ListOffsetsPartition::default()
    };
    let topic = ListOffsetsTopic {
        name: Str::from_static("orders"),
        partitions: vec![partition],
        ..ListOffsetsTopic::default()
    };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
    let AnyResponse::ListOffsets(response) = host.ask(9, AnyRequest::ListOffsets(request)) else {
        panic!("a response is of its request's API")
    };
    response.topics[0].partitions[0].offset
}

#[test]
fn a_flipped_bit_in_a_closed_segment_ends_the_log_only_where_that_is_believed() {
    for (museum, end) in [(Museum::NONE, 10), (Museum::NONE.with(Exhibit::A48BadCrcIsEndOfLog), 1)] {
        let mut host = stopped();
        let segment = host.disk.files.get_mut("0/orders-0/00000000000000000000.log").expect("it is there");
        segment[400_000] ^= 1;
        host.museum = museum;
        host.restart();
        assert_eq!(log_end(&mut host), end, "{museum:?}");
    }
}

#[test]
fn a_log_is_cut_to_an_old_high_watermark_only_where_that_is_believed() {
    for (museum, end) in [(Museum::NONE, 10), (Museum::NONE.with(Exhibit::A01TruncateToOwnHighWatermark), 8)]
    {
        let mut host = stopped();
        let checkpoint = "0\n1\norders 0 8\n".as_bytes().to_vec();
        host.disk.files.insert("0/replication-offset-checkpoint".to_owned(), checkpoint);
        host.museum = museum;
        host.restart();
        assert_eq!(log_end(&mut host), end, "{museum:?}");
    }
}
