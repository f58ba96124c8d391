//! Every check fails when the rule it is about is broken. The rules are broken in the simulated world, never in the core:
//! a disk that loses what was synced, a shell that answers too early, a client that forgets its sequence.

use sordini_sim::plan::Mutation;
use sordini_sim::sweep::{Verdict, plan_of, run};
use sordini_sim::trace::Telling;
use sordini_sim::world::Failure;

/// How many seeds a broken rule may need before it is found.
const SEEDS: u64 = 60;

/// What a seed finds to be broken: the property's name and the sentence.
fn find(seed: u64, mutation: Mutation) -> Option<(&'static str, String)> {
    let (verdict, _) = run(&plan_of(seed, Some(mutation)), Telling::Nothing);
    match verdict {
        Verdict::Passed => None,
        Verdict::Failed(Failure::Safety(violation)) => Some((violation.property, violation.sentence)),
        Verdict::Failed(Failure::Liveness(sentence)) => Some(("liveness", sentence)),
        Verdict::Panicked(panic) => Some(("panic", panic.message)),
        Verdict::Nondeterministic(text) => Some(("nondeterminism", text)),
    }
}

#[track_caller]
fn assert_found(mutation: Mutation, property: &str, words: &str) {
    let mut others = Vec::new();
    for seed in 0..SEEDS {
        match find(seed, mutation) {
            Some((name, sentence)) if name == property && sentence.contains(words) => return,
            Some(other) => others.push((seed, other)),
            None => {}
        }
    }
    panic!("{mutation:?} is not found as {property} with the words {words:?}; found: {others:#?}");
}

#[test]
fn a_disk_that_loses_what_was_synced_is_found() {
    assert_found(Mutation::DiskLosesSynced, "acknowledged_data", "without power");
}

#[test]
fn a_sync_that_does_nothing_is_found() {
    assert_found(Mutation::SyncDoesNothing, "acknowledged_data", "flush.messages");
}

#[test]
fn a_node_that_believes_a_sync_that_did_nothing_is_found() {
    assert_found(Mutation::SyncDoesNothing, "truthful_view", "believes to be durable");
}

#[test]
fn an_acknowledgement_before_the_append_has_taken_effect_is_found() {
    assert_found(Mutation::AppendsAnsweredEarly, "truthful_view", "believes to be written");
}

#[test]
fn a_flipped_bit_in_a_closed_segment_is_found() {
    assert_found(Mutation::DiskFlipsClosedSegments, "log_prefix", "differs after recovery");
}

#[test]
fn a_wrong_entry_in_an_offset_index_is_found() {
    assert_found(Mutation::IndexEntriesSpoiled, "index_recomputation", "offset index entry");
}

#[test]
fn a_wrong_entry_in_a_time_index_is_found() {
    assert_found(Mutation::TimeIndexEntriesSpoiled, "index_recomputation", "time index entry");
}

#[test]
fn a_high_watermark_that_falls_is_found() {
    assert_found(Mutation::HighWatermarkFalls, "high_watermark", "later in the same life");
}

#[test]
fn a_read_of_other_bytes_than_were_appended_is_found() {
    assert_found(Mutation::ReadsFlipped, "consumer_reads", "differs from what was appended there");
}

#[test]
fn a_batch_that_is_appended_twice_is_found() {
    assert_found(Mutation::RetriesForgetTheirSequence, "no_duplicates", "of an idempotent producer");
}

#[test]
fn a_producer_id_that_is_handed_out_twice_is_found() {
    assert_found(Mutation::ProducerIdHandedOutTwice, "producer_ids", "handed out twice");
}

#[test]
fn a_topic_that_is_forgotten_is_found() {
    assert_found(Mutation::TopicForgotten, "topics", "whose creation was acknowledged");
}

#[test]
fn a_panic_is_found() {
    assert_found(Mutation::AppendPanics, "panic", "as the plan asks");
}

#[test]
fn a_completion_that_is_never_delivered_is_found() {
    assert_found(Mutation::CompletionSwallowed, "liveness", "the nodes are [Some(Starting)");
}
