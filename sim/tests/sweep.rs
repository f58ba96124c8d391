//! A bounded number of seeds, every property on; `cargo sim sweep` runs as many as one likes.

use sordini_sim::sweep::{Summary, Verdict, plan_of, run, run_twice};

/// How many seeds: some seconds' worth in a debug build.
const SEEDS: u64 = 150;

#[test]
fn no_property_fails_and_everything_that_can_befall_a_node_does() {
    let mut summary = Summary::default();
    for seed in 0..SEEDS {
        let (verdict, outcome) = run(&plan_of(seed, None), false);
        assert_eq!(verdict, Verdict::Passed, "replay: cargo sim run --seed {seed} --transcript");
        summary.add(seed, verdict, outcome.as_ref());
    }
    for (mark, hits) in summary.marks.named() {
        assert!(hits > 0, "{mark}: never in {SEEDS} seeds, which prove nothing about it");
    }
}

#[test]
fn a_run_compared_with_itself_event_by_event_is_the_same() {
    for seed in [3, 30, 300] {
        assert_eq!(run_twice(&plan_of(seed, None)), Verdict::Passed, "seed {seed}");
    }
}
