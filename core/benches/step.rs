//! What the core itself costs: one step from a request to its answer, on a disk that is done at once.
//!
//! `cargo bench -p sordini-core`

#[allow(dead_code, reason = "a bench uses less of the host than the tests do")]
#[path = "../tests/support/mod.rs"]
mod support;

use divan::{Bencher, counter::ItemsCount};
use sordini_core::node::RequestBody;
use sordini_core::produce_request::JudgedProduce;
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use sordini_protocol::messages::{CreateTopicsRequest, FetchRequest};
use sordini_protocol::request::AnyRequest;
use sordini_protocol::wire::Str;
use support::{Host, batch, produce_request};

fn main() {
    divan::main();
}

fn host() -> Host {
    let mut host = Host::formatted(&[]);
    let topic = CreatableTopic {
        name: Str::from_static("bench"),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    host.ask(7, AnyRequest::CreateTopics(request));
    host
}

fn fetch_request(offset: i64) -> FetchRequest {
    let partition =
        FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let topic =
        FetchTopic { topic: Str::from_static("bench"), partitions: vec![partition], ..Default::default() };
    FetchRequest {
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// A batch of one small record, acks=all: judged, appended, confirmed, answered.
#[divan::bench]
fn produce(bencher: Bencher<'_, '_>) {
    let mut host = host();
    let bytes = batch(1_000_000, &["value"]);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let request = produce_request("bench", 0, -1, bytes.clone());
        let id = host.send(9, RequestBody::Produce(JudgedProduce::judge(request, 9)));
        host.answers.remove(&id)
    });
}

/// A fetch of the newest batch, which memory knows.
#[divan::bench]
fn fetch_newest(bencher: Bencher<'_, '_>) {
    let mut host = host();
    for _ in 0..1000 {
        host.produce("bench", batch(1_000_000, &["value"]));
    }
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| host.ask(12, AnyRequest::Fetch(fetch_request(999))));
}

/// A fetch of an old batch, which two reads find.
#[divan::bench]
fn fetch_old(bencher: Bencher<'_, '_>) {
    let mut host = host();
    for _ in 0..1000 {
        host.produce("bench", batch(1_000_000, &["value"]));
    }
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| host.ask(12, AnyRequest::Fetch(fetch_request(1))));
}
