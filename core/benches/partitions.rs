//! What a broker of a cluster keeps in memory for 20,000 idle partitions with three replicas each, of which it has one of all.
//!
//! `cargo bench -p sordini-core --bench partitions`. Three brokers and a controller in one process, with disks and a network in
//! memory that are not counted: a broker is measured by what is free when it is gone.
#![expect(unsafe_code, reason = "counting what is allocated takes an allocator")]

#[allow(dead_code, reason = "a bench uses less of the cluster than the tests do")]
#[path = "../tests/support/mod.rs"]
mod support;

use sordini_protocol::messages::CreateTopicsRequest;
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;
use support::cluster::Cluster;

/// Counts the bytes that are in use.
struct Counting;

thread_local! {
    static IN_USE: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: everything is handed to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.set(IN_USE.get() + layout.size().cast_signed());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.set(IN_USE.get() - layout.size().cast_signed());
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// So many topics, since no request may ask for more than 10,000 partitions.
const TOPICS: [&str; 4] = ["one", "two", "three", "four"];
const PARTITIONS_EACH: i32 = 5_000;
const REPLICAS: i16 = 3;
const BROKER: usize = 1;

fn main() {
    let mut cluster = Cluster::of_roles(&["controller", "broker", "broker", "broker"], &[]);
    cluster.run_for(5_000);
    let empty = taken_down(&mut cluster);
    start(&mut cluster);
    let watch = Instant::now();
    for name in TOPICS {
        create(&mut cluster, name);
    }
    cluster.run_for(60_000);
    tell(&mut cluster, "where they were created", watch, empty);
    let watch = Instant::now();
    start(&mut cluster);
    cluster.stop(BROKER);
    cluster.run_for(60_000);
    start(&mut cluster);
    tell(&mut cluster, "after a crash, a clean stop and a start", watch, empty);
}

/// Starts the broker and waits: what it is still registered with has to end first, and it has to get in sync.
fn start(cluster: &mut Cluster) {
    cluster.start(BROKER);
    cluster.run_for(60_000);
    assert!(cluster.is_running(BROKER));
}

fn create(cluster: &mut Cluster, name: &'static str) {
    let topic = CreatableTopic {
        name: Str::from_static(name),
        num_partitions: PARTITIONS_EACH,
        replication_factor: REPLICAS,
        ..CreatableTopic::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..CreateTopicsRequest::default() };
    let AnyResponse::CreateTopics(response) = cluster.ask(BROKER, 7, AnyRequest::CreateTopics(request))
    else {
        panic!("a response is of its request's API")
    };
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
}

/// The bytes that a broker had in use, which is no more.
fn taken_down(cluster: &mut Cluster) -> isize {
    let node = cluster.machines[BROKER].node.take().expect("it runs");
    let before = IN_USE.get();
    drop(node);
    before - IN_USE.get()
}

/// Tells what the broker takes for each partition, all of whose replicas have to be in sync, and takes it down.
fn tell(cluster: &mut Cluster, when: &str, watch: Instant, empty: isize) {
    let took = watch.elapsed().as_secs_f64();
    let metadata = cluster.metadata(BROKER, Some(&TOPICS));
    let partitions = || metadata.topics.iter().flat_map(|topic| &topic.partitions);
    let count = partitions().count();
    assert_eq!(count, TOPICS.len() * usize::try_from(PARTITIONS_EACH).expect("some"));
    assert!(partitions().all(|it| it.isr_nodes.len() == usize::try_from(REPLICAS).expect("some")));
    let led = partitions().filter(|it| it.leader_id == 2).count();
    drop(metadata);
    let each = (taken_down(cluster) - empty) as f64 / count as f64;
    println!("{count} partitions, {led} of which it leads, {when}: {each:.0} bytes each, in {took:.1} s");
}
