//! What the command ends with says what was found.

use std::process::{Command, Output};

fn sim(words: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_sordini-sim")).args(words).output();
    output.expect("the binary of this package can be run")
}

#[track_caller]
fn assert_ends_with(words: &[&str], code: i32, says: &str) {
    let output = sim(words);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
    assert!(text.contains(says), "{words:?} says: {text}");
}

#[test]
fn a_run_in_which_everything_holds_ends_with_0() {
    assert_ends_with(&["run", "--seed", "1"], 0, "passed");
}

#[test]
fn a_property_that_does_not_hold_ends_with_1_and_a_line_that_replays_it() {
    let mutation = "producer_id_handed_out_twice";
    let sweep = ["sweep", "--seeds", "0..60", "--mutation", mutation];
    assert_ends_with(&sweep, 1, "replay: cargo sim run --seed ");
    // Which seed has two producers is the plan's business; the sweep found one that fails.
    let found = String::from_utf8_lossy(&sim(&sweep).stdout).into_owned();
    let seed = found.split_once("--seed ").and_then(|(_, rest)| rest.split(' ').next());
    let seed = seed.expect("the replay line names the seed");
    assert_ends_with(&["run", "--seed", seed, "--mutation", mutation], 1, "safety: producer_ids");
}

#[test]
fn words_that_mean_nothing_end_with_2_and_the_usage() {
    for words in [&["run"][..], &["dance"], &[], &["run", "--seed", "x"], &["sweep", "--seeds", "7"]] {
        assert_ends_with(words, 2, "cargo sim run --seed N");
    }
}

#[test]
fn what_does_not_come_to_pass_ends_with_3() {
    assert_ends_with(&["run", "--seed", "1", "--mutation", "completion_swallowed"], 3, "liveness: ");
}

#[test]
fn a_plan_that_panics_the_simulator_ends_with_4() {
    // Only a plan that was made by hand can name a configuration that is none.
    let mut plan = sordini_sim::plan::Plan::draw(1);
    plan.broker.insert("num.partitions".to_owned(), "many".to_owned());
    let broken = serde_json::to_string(&plan).expect("a plan can be written");
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken-plan.json");
    std::fs::write(&path, broken).expect("a file can be written");
    assert_ends_with(&["run", "--plan", path.to_str().expect("a path is text")], 4, "panic: ");
}

#[test]
fn a_run_that_is_not_a_function_of_its_plan_ends_with_5() {
    assert_ends_with(
        &["run", "--seed", "1", "--mutation", "delays_from_outside"],
        5,
        "nondeterminism: two runs",
    );
}
