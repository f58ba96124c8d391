//! Partitions with replicas on several brokers, moved by hand: what is replicated, who is in sync, and what becomes of a log
//! that has what others have not.

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use sordini_core::node::NodeState;
use sordini_protocol::error_code::ErrorCode;
use support::cluster::Cluster;

/// A controller and three brokers, numbered from 2 on.
const ROLES: [&str; 4] = ["controller", "broker", "broker", "broker"];

/// A topic of one partition with replicas on all brokers, led by the first.
fn replicated(more: &[(&'static str, &str)]) -> Cluster {
    let mut cluster = Cluster::of_roles(&ROLES, more);
    cluster.run_for(5_000);
    assert_eq!(cluster.create(1, "orders", &[2, 3, 4]), ErrorCode::None);
    cluster.run_for(1_000);
    cluster
}

/// The records of the topic on a broker's disk, byte by byte.
fn log(cluster: &Cluster, at: usize) -> &[u8] {
    &cluster.machines[at].disk.files["0/orders-0/00000000000000000000.log"]
}

fn isr(cluster: &mut Cluster, at: usize) -> Vec<i32> {
    cluster.partition(at, "orders").isr_nodes
}

#[test]
fn what_is_acknowledged_by_all_is_on_every_broker_and_outlives_its_leader() {
    let mut cluster = replicated(&[]);
    assert_eq!(cluster.produce(1, "orders", "a"), (ErrorCode::None, 0));
    assert_eq!(log(&cluster, 2), log(&cluster, 1));
    assert_eq!(log(&cluster, 3), log(&cluster, 1));
    assert_eq!(cluster.fetch(1, "orders"), (ErrorCode::None, 1));
    cluster.kill(1);
    cluster.run_for(12_000);
    assert_eq!(cluster.partition(2, "orders").leader_id, 3);
    assert_eq!(cluster.produce(2, "orders", "b"), (ErrorCode::None, 1));
    assert_eq!(cluster.fetch(2, "orders"), (ErrorCode::None, 2));
    cluster.start(1);
    cluster.run_for(5_000);
    assert_eq!(log(&cluster, 1), log(&cluster, 2), "who comes back catches up");
    assert_eq!(isr(&mut cluster, 2), [3, 4, 2], "and is in sync again");
}

#[test]
fn a_record_that_not_all_in_sync_have_is_not_visible_and_not_acknowledged_by_all() {
    let mut cluster = replicated(&[]);
    cluster.isolate(3);
    cluster.cut.remove(&(0, 3));
    cluster.cut.remove(&(3, 0));
    assert_eq!(cluster.produce_with(1, 1, "orders", "a"), (ErrorCode::None, 0));
    cluster.run_for(5_000);
    assert_eq!(cluster.fetch(1, "orders"), (ErrorCode::None, 0));
    cluster.run_for(60_000);
    assert_eq!(isr(&mut cluster, 1), [2, 3], "who lags for too long is left out");
    assert_eq!(cluster.fetch(1, "orders"), (ErrorCode::None, 1));
    cluster.cut.clear();
    cluster.run_for(35_000);
    assert_eq!(isr(&mut cluster, 1), [2, 3, 4]);
    assert_eq!(log(&cluster, 3), log(&cluster, 1));
}

#[test]
fn with_too_few_in_sync_nothing_is_acknowledged_by_all() {
    let mut cluster = replicated(&[]);
    cluster.configure(1, "orders", "min.insync.replicas", "3");
    cluster.run_for(1_000);
    assert_eq!(cluster.produce(1, "orders", "a"), (ErrorCode::None, 0));
    cluster.kill(3);
    cluster.run_for(12_000);
    assert_eq!(isr(&mut cluster, 1), [2, 3]);
    assert_eq!(cluster.produce(1, "orders", "b").0, ErrorCode::NotEnoughReplicas);
    assert_eq!(cluster.produce_with(1, 1, "orders", "c"), (ErrorCode::None, 1));
    cluster.run_for(1_000);
    assert_eq!(cluster.fetch(1, "orders"), (ErrorCode::None, 1), "nor does anybody see what it lacks");
    cluster.start(3);
    cluster.run_for(5_000);
    assert_eq!(cluster.fetch(1, "orders"), (ErrorCode::None, 2));
}

#[test]
fn what_a_deposed_leader_wrote_alone_is_cut_off() {
    let mut cluster = replicated(&[]);
    assert_eq!(cluster.produce(1, "orders", "a"), (ErrorCode::None, 0));
    cluster.isolate(1);
    assert_eq!(cluster.produce_with(1, 1, "orders", "lost"), (ErrorCode::None, 1));
    assert_eq!(cluster.produce_with(1, 1, "orders", "too"), (ErrorCode::None, 2));
    cluster.run_for(12_000);
    assert_eq!(cluster.partition(2, "orders").leader_id, 3);
    assert_eq!(cluster.produce(2, "orders", "b"), (ErrorCode::None, 1));
    assert_ne!(log(&cluster, 1), log(&cluster, 2));
    cluster.cut.clear();
    cluster.run_for(10_000);
    assert_eq!(log(&cluster, 1), log(&cluster, 2));
    assert_eq!(isr(&mut cluster, 2), [3, 4, 2]);
    assert_eq!(cluster.produce(2, "orders", "c"), (ErrorCode::None, 2));
    cluster.kill(2);
    cluster.run_for(12_000);
    let leader = cluster.partition(1, "orders").leader_id;
    assert_eq!(
        cluster.fetch(usize::try_from(leader).expect("somebody leads") - 1, "orders"),
        (ErrorCode::None, 3)
    );
}

#[test]
fn a_replica_that_ends_before_the_leader_begins_begins_anew() {
    let mut cluster = replicated(&[]);
    assert_eq!(cluster.produce(1, "orders", "a"), (ErrorCode::None, 0));
    cluster.kill(3);
    cluster.run_for(12_000);
    for value in ["b", "c", "d"] {
        assert_eq!(cluster.produce(1, "orders", value).0, ErrorCode::None);
    }
    assert_eq!(cluster.delete_records(1, "orders", 3), (ErrorCode::None, 3));
    cluster.start(3);
    cluster.run_for(8_000);
    assert_eq!(isr(&mut cluster, 1), [2, 3, 4]);
    let file = "0/orders-0/00000000000000000003.log";
    assert!(cluster.machines[3].disk.files.contains_key(file), "it begins where the leader's does");
    assert_eq!(cluster.produce(1, "orders", "e"), (ErrorCode::None, 4));
}

#[test]
fn a_replica_begins_with_the_batch_that_the_leader_s_log_starts_within() {
    let mut cluster = replicated(&[]);
    cluster.kill(3);
    cluster.run_for(12_000);
    assert_eq!(cluster.produce_batch(1, "orders", &["a", "b", "c", "d"]), (ErrorCode::None, 0));
    assert_eq!(cluster.delete_records(1, "orders", 2), (ErrorCode::None, 2));
    cluster.start(3);
    cluster.run_for(8_000);
    assert_eq!(isr(&mut cluster, 1), [2, 3, 4]);
    assert_eq!(log(&cluster, 3), log(&cluster, 1));
    assert_eq!(cluster.produce(1, "orders", "e"), (ErrorCode::None, 4));
}

#[test]
fn a_stop_in_the_middle_of_a_cut_comes_to_its_end_and_leaves_a_log_to_be_recovered() {
    for held in ["orders-0", "recovery-point-offset-checkpoint", "00000000000000000000.log"] {
        let mut cluster = replicated(&[]);
        assert_eq!(cluster.produce(1, "orders", "a"), (ErrorCode::None, 0));
        cluster.isolate(1);
        assert_eq!(cluster.produce_with(1, 1, "orders", "lost"), (ErrorCode::None, 1));
        cluster.run_for(12_000);
        assert_eq!(cluster.produce(2, "orders", "b"), (ErrorCode::None, 1));
        cluster.slow = Some((1, held));
        cluster.cut.clear();
        cluster.run_for(5_000);
        cluster.stop(1);
        cluster.run_for(1_000);
        cluster.answer_held();
        cluster.run_for(10_000);
        assert_eq!(cluster.state(1), Some(NodeState::Stopped), "with {held} held back");
        cluster.start(1);
        cluster.run_for(20_000);
        assert_eq!(log(&cluster, 1), log(&cluster, 2), "with {held} held back");
        assert_eq!(cluster.produce(2, "orders", "c"), (ErrorCode::None, 2));
    }
}

/// Twelve kilobytes and a half are written, in batches of one record, while the last broker is away; it is back then.
fn one_is_far_behind(cluster: &mut Cluster) {
    cluster.kill(3);
    cluster.run_for(12_000);
    assert_eq!(isr(cluster, 1), [2, 3]);
    let value = "x".repeat(430);
    for _ in 0..25 {
        assert_eq!(cluster.produce(1, "orders", &value).0, ErrorCode::None);
    }
    assert_eq!(log(cluster, 1).len(), 12_525);
    cluster.start(3);
}

#[test]
fn a_throttled_follower_is_as_fast_as_its_broker_may_be_and_in_sync_as_soon_as_it_has_all() {
    let mut cluster = replicated(&[("replica.fetch.max.bytes", "600")]);
    cluster.configure(1, "orders", "follower.replication.throttled.replicas", "0:4,1:2");
    cluster.configure_broker(3, "follower.replication.throttled.rate", "250");
    one_is_far_behind(&mut cluster);
    cluster.run_for(25_000);
    let copied = log(&cluster, 3).len();
    assert!((5_000..7_500).contains(&copied), "a quarter of a kilobyte a second makes {copied} bytes");
    assert_eq!(isr(&mut cluster, 1), [2, 3]);
    let mut waited_ms = 0;
    while log(&cluster, 3) != log(&cluster, 1) {
        assert!(waited_ms < 30_000, "the rest takes {waited_ms} ms");
        cluster.run_for(50);
        waited_ms += 50;
    }
    assert!(waited_ms > 20_000, "the rest takes {waited_ms} ms");
    cluster.run_for(200);
    assert_eq!(isr(&mut cluster, 1), [2, 3, 4]);
}

#[test]
fn a_throttled_leader_keeps_back_from_those_in_sync_nothing_and_from_others_not_everything() {
    let mut cluster = replicated(&[("replica.fetch.max.bytes", "600")]);
    cluster.configure(1, "orders", "leader.replication.throttled.replicas", "*");
    cluster.configure_broker(1, "leader.replication.throttled.rate", "10");
    one_is_far_behind(&mut cluster);
    cluster.run_for(60_000);
    let copied = log(&cluster, 3).len();
    assert!((1_000..4_000).contains(&copied), "one batch for each eleven seconds makes {copied} bytes");
    let before = cluster.now.monotonic;
    assert_eq!(cluster.produce(1, "orders", "a"), (ErrorCode::None, 25));
    let took_ms = cluster.now.monotonic.since(before).as_millis();
    assert!(took_ms < 50, "those in sync take {took_ms} ms");
    cluster.configure_broker(1, "leader.replication.throttled.rate", "1000000");
    cluster.run_for(1_500);
    assert_eq!(isr(&mut cluster, 1), [2, 3, 4], "the throttle is lifted");
    assert_eq!(log(&cluster, 3), log(&cluster, 1));
}

#[test]
fn what_a_leader_s_disk_has_damaged_is_taken_over_by_nobody() {
    let mut cluster = replicated(&[]);
    cluster.kill(3);
    cluster.run_for(12_000);
    assert_eq!(cluster.produce(1, "orders", "a"), (ErrorCode::None, 0));
    let file = cluster.machines[1].disk.files.get_mut("0/orders-0/00000000000000000000.log");
    *file.and_then(|bytes| bytes.last_mut()).expect("it has a record") ^= 1;
    cluster.start(3);
    cluster.run_for(8_000);
    assert_eq!(cluster.state(3), Some(NodeState::Running));
    assert!(log(&cluster, 3).is_empty());
    assert_eq!(isr(&mut cluster, 1), [2, 3], "it has not what is committed");
}

#[test]
fn a_broker_that_stops_while_others_are_in_sync_gives_what_it_leads_to_one_that_has_all() {
    let mut cluster = replicated(&[]);
    for value in ["a", "b"] {
        assert_eq!(cluster.produce(1, "orders", value).0, ErrorCode::None);
    }
    cluster.stop(1);
    cluster.run_for(4_000);
    assert_eq!(cluster.state(1), Some(NodeState::Stopped));
    assert_eq!(cluster.partition(2, "orders").leader_id, 3);
    assert_eq!(cluster.fetch(2, "orders"), (ErrorCode::None, 2));
}
