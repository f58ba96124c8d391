//! A bounded number of seeds, every property on; `cargo sim sweep` runs as many as one likes.

use sordini_sim::sweep::{Summary, Verdict, plan_of, run, run_twice};
use sordini_sim::trace::Telling;
use std::collections::BTreeMap;

/// How many seeds: some seconds' worth in a debug build.
const SEEDS: u64 = 150;

/// What so few seeds come by; a sweep of thousands says what it never came by.
const MARKS: [&str; 12] = [
    "process.kill",
    "process.power_loss",
    "process.second_crash_in_recovery",
    "process.gave_up",
    "recovery.shorter",
    "recovery.tail_cut",
    "disk.torn",
    "disk.partial_write",
    "network.request_lost",
    "network.request_encoded",
    "client.duplicate_recognised",
    "client.offset_reset",
];

#[test]
fn no_property_fails_and_what_befalls_nodes_befalls_them() {
    let mut summary = Summary::default();
    for seed in 0..SEEDS {
        let (verdict, outcome) = run(&plan_of(seed, None), Telling::Nothing);
        assert_eq!(verdict, Verdict::Passed, "replay: cargo sim run --seed {seed} --transcript");
        summary.add(seed, &verdict, outcome.as_ref());
    }
    let hits: BTreeMap<&str, u64> = summary.marks.rarest_first().into_iter().collect();
    for mark in MARKS {
        assert!(hits[mark] > 0, "{mark}: never in {SEEDS} seeds, which prove nothing about it");
    }
}

#[test]
fn a_run_compared_with_itself_event_by_event_is_the_same() {
    for seed in [3, 30, 300] {
        assert_eq!(run_twice(&plan_of(seed, None)), Verdict::Passed, "seed {seed}");
    }
}
