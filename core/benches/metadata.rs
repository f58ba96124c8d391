//! What a cluster of 100,000 partitions costs its controller: a start from a snapshot, and one more topic.
//!
//! `cargo bench -p sordini-core --bench metadata`. The largest number of bytes that a start had allocated at once bounds what
//! the image takes.

#[allow(dead_code, reason = "a bench uses less of the host than the tests do")]
#[path = "../tests/support/mod.rs"]
mod support;

use divan::{AllocProfiler, Bencher};
use sordini_core::node::RequestBody;
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::messages::{BrokerHeartbeatRequest, BrokerRegistrationRequest, CreateTopicsRequest};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Str, Uuid};
use support::{Host, features};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const TOPICS: usize = 1_000;
const PARTITIONS: i32 = 100;
const REPLICAS: i16 = 3;

fn main() {
    divan::main();
}

fn ask(host: &mut Host, version: i16, request: AnyRequest) -> AnyResponse {
    let id = host.send_to("CONTROLLER", version, RequestBody::Other(request));
    host.answers.remove(&id).expect("who is alone answers at once")
}

fn join(host: &mut Host, id: u8) {
    let request = BrokerRegistrationRequest {
        broker_id: id.into(),
        cluster_id: Str::from_static("5L6g3nShT-eMCtK--X86sw"),
        incarnation_id: Uuid([id; 16]),
        features: features(),
        log_dirs: vec![Uuid([id; 16])],
        ..BrokerRegistrationRequest::default()
    };
    let AnyResponse::BrokerRegistration(response) = ask(host, 4, AnyRequest::BrokerRegistration(request))
    else {
        panic!("another answer")
    };
    assert_eq!(response.error_code, 0);
    let request = BrokerHeartbeatRequest {
        broker_id: id.into(),
        broker_epoch: response.broker_epoch,
        current_metadata_offset: i64::MAX,
        ..BrokerHeartbeatRequest::default()
    };
    ask(host, 1, AnyRequest::BrokerHeartbeat(request));
}

fn create(host: &mut Host, name: String, partitions: i32) {
    let topic = CreatableTopic {
        name: Str::from(name),
        num_partitions: partitions,
        replication_factor: REPLICAS,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    let AnyResponse::CreateTopics(response) = ask(host, 7, AnyRequest::CreateTopics(request)) else {
        panic!("another answer")
    };
    assert_eq!(response.topics[0].error_code, 0);
}

/// A controller of all these partitions, which lie in its newest snapshot.
fn large() -> Host {
    let mut host = Host::formatted(&[
        ("process.roles", "controller"),
        ("listeners", "CONTROLLER://localhost:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.bootstrap.servers", "localhost:9093"),
        ("metadata.log.max.snapshot.interval.ms", "1000"),
        ("broker.session.timeout.ms", "1000000000"),
    ]);
    for id in 2..=5 {
        join(&mut host, id);
    }
    for topic in 0..TOPICS {
        create(&mut host, format!("topic-{topic}"), PARTITIONS);
    }
    host.advance(2_000);
    create(&mut host, "last".to_owned(), 1);
    assert!(
        host.disk
            .files
            .keys()
            .any(|file| file.ends_with(".checkpoint") && !file.contains("00000000000000000000-"))
    );
    host
}

/// From the beginning of a process to its image, all of it from a snapshot in memory.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn start_from_a_snapshot(bencher: Bencher<'_, '_>) {
    let mut host = large();
    bencher.bench_local(|| host.restart());
}

/// A topic of one partition with three replicas, from the request to its answer.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn one_topic_more(bencher: Bencher<'_, '_>) {
    let mut host = large();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        create(&mut host, format!("another-{number}"), 1);
    });
}

/// The same when a snapshot is due.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn one_topic_more_and_a_snapshot(bencher: Bencher<'_, '_>) {
    let mut host = large();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        host.now.monotonic = host.now.monotonic.plus_millis(2_000);
        create(&mut host, format!("another-{number}"), 1);
    });
}
