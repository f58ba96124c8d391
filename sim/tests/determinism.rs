//! The same seed gives the same run: in one process, and in two.

use sordini_sim::plan::Mutation;
use sordini_sim::sweep::plan_of;
use sordini_sim::trace::Telling;
use sordini_sim::world;
use std::process::Command;

/// What the binary prints about a seed: its hash, its events, its virtual time and its verdict.
fn in_a_process_of_its_own(seed: u64, more: &[&str]) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sordini-sim"));
    let output = command.args(["run", "--seed", &seed.to_string()]).args(more).output();
    let output = output.expect("the binary of this package can be run");
    (String::from_utf8(output.stdout).expect("it prints text"), output.status.code())
}

#[test]
fn a_seed_gives_one_run_in_two_processes_and_in_this_one() {
    for seed in 0..12 {
        let (one, _) = in_a_process_of_its_own(seed, &[]);
        let (other, _) = in_a_process_of_its_own(seed, &[]);
        assert_eq!(one, other, "seed {seed}");
        let here = world::run(&plan_of(seed, None), Telling::Nothing);
        assert!(
            one.contains(&format!("hash {:016x} events {} ", here.trace_hash, here.events)),
            "seed {seed}: {one} and here hash {:016x} events {}",
            here.trace_hash,
            here.events
        );
    }
}

#[test]
fn a_transcript_changes_nothing_and_is_the_same_twice() {
    let plan = plan_of(5, None);
    let silent = world::run(&plan, Telling::Nothing);
    let (one, other) = (world::run(&plan, Telling::Everything), world::run(&plan, Telling::Everything));
    assert_eq!(one.trace_hash, silent.trace_hash);
    assert!(one.transcript().lines().count() > 100);
    assert!(one.transcript() == other.transcript(), "two transcripts of one plan differ");
    assert!(one.history == other.history, "two histories of one plan differ");
    assert!(one.history == silent.history, "telling changes what clients do");
}

#[test]
fn two_seeds_give_two_runs() {
    assert_ne!(
        world::run(&plan_of(1, None), Telling::Nothing).trace_hash,
        world::run(&plan_of(2, None), Telling::Nothing).trace_hash
    );
}

#[test]
fn a_run_that_depends_on_its_process_is_told_from_one_that_does_not() {
    let mutation = ["--mutation", "delays_from_outside"];
    let (one, _) = in_a_process_of_its_own(1, &mutation);
    let (other, _) = in_a_process_of_its_own(1, &mutation);
    assert_ne!(one, other, "the comparison of two processes finds a delay that comes from outside the plan");
    let mutation = Some(Mutation::DelaysFromOutside);
    assert_ne!(
        world::run(&plan_of(1, mutation), Telling::Nothing).trace_hash,
        world::run(&plan_of(1, None), Telling::Nothing).trace_hash
    );
}
