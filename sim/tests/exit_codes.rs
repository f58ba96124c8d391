//! What the command ends with says what was found.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

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

/// A file of this test, by a name that no other test uses.
fn file(name: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A seed that a sweep found to fail.
fn failing_seed(mutation: &str) -> String {
    let output = sim(&["sweep", "--seeds", "0..60", "--mutation", mutation]);
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    let seed = found.split_once("--seed ").and_then(|(_, rest)| rest.split(' ').next());
    seed.expect("the replay line names the seed").to_owned()
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
    let seed = failing_seed(mutation);
    assert_ends_with(&["run", "--seed", &seed, "--mutation", mutation], 1, "safety: producer_ids");
}

#[test]
fn words_that_mean_nothing_end_with_2_and_the_usage() {
    let wrong = [
        &["run"][..],
        &["dance"],
        &[],
        &["run", "--seed", "x"],
        &["run", "--seed", "1", "--plan", "x"],
        &["run", "--seed", "1", "--mutation", "x"],
        &["sweep", "--seeds", "7"],
        &["sweep", "--seeds", "7..7"],
        &["sweep", "--seeds", "0..7", "--shard", "3/2"],
        &["sweep", "--seeds", "0..7", "--minutes", "inf"],
        &["sweep", "--seeds", "0..7", "--minutes", "nan"],
        &["sweep", "--seeds", "0..7", "--minutes=-1"],
        &["shrink", "--seed", "1", "--expect", "nonsense"],
    ];
    for words in wrong {
        assert_ends_with(words, 2, "--help");
    }
    assert_ends_with(&["run", "--plan", "/no/such/file"], 2, "/no/such/file: ");
}

#[test]
fn what_does_not_come_to_pass_ends_with_3() {
    assert_ends_with(&["run", "--seed", "1", "--mutation", "completion_swallowed"], 3, "liveness: ");
}

#[test]
fn a_panic_ends_with_4_wherever_it_is_met() {
    let mutation = ["--mutation", "append_panics"];
    let says = "panic: sim/src/world/life.rs:";
    let bare = [&["run", "--seed", "1"][..], &["meta", "--print-events", "--from", "1"]];
    for words in bare {
        assert_ends_with(&[words, &mutation].concat(), 4, says);
    }
    let replay = [&["replay", "--seed", "1"][..], &mutation].concat();
    let mut child = Command::new(env!("CARGO_BIN_EXE_sordini-sim"));
    child.args(&replay).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("the binary of this package can be run");
    child.stdin.take().expect("it is piped").write_all(b"e\nb 3\ne\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{printed}");
    assert_eq!(printed.matches(&format!("the run is over: {says}")).count(), 2, "{printed}");
    assert!(output.stderr.is_empty(), "no backtrace: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_plan_that_cannot_be_run_ends_with_2_and_says_where_it_is_wrong() {
    // Only a plan that was made by hand can name a configuration that is none.
    let mut plan = sordini_sim::plan::Plan::draw(1);
    plan.nodes[0].properties.insert("num.partitions".to_owned(), "many".to_owned());
    let json = serde_json::to_value(&plan).expect("a plan can be written");
    let path = file("broken-plan.json");
    std::fs::write(&path, json.to_string()).expect("a file can be written");
    let path = path.to_str().expect("a path is text");
    for command in ["run", "plan", "replay", "shrink"] {
        assert_ends_with(&[command, "--plan", path], 2, "nodes[0].properties: num.partitions: ");
    }
}

#[test]
fn a_field_of_a_fault_that_means_nothing_ends_with_2() {
    let mut json = serde_json::to_value(sordini_sim::plan::Plan::reference()).expect("a plan can be written");
    json["faults"][4]["aip"] = 0.into();
    let path = file("plan-with-a-slip.json");
    std::fs::write(&path, json.to_string()).expect("a file can be written");
    let path = path.to_str().expect("a path is text");
    assert_ends_with(&["run", "--plan", path], 2, "unknown field `aip` in the fault");
}

#[test]
fn a_run_that_is_not_a_function_of_its_plan_ends_with_5() {
    let mutation = ["--mutation", "delays_from_outside"];
    assert_ends_with(&[&["run", "--seed", "1"][..], &mutation].concat(), 5, "nondeterminism: two runs");
    assert_ends_with(&[&["meta", "--seeds", "3"][..], &mutation].concat(), 5, "they part at event ");
    assert_ends_with(
        &[&["meta", "--seeds", "1"][..], &mutation].concat(),
        5,
        "replay: cargo sim meta --seeds 1 --from 0 --builds ",
    );
}

#[test]
fn a_plan_that_was_shrunk_and_stored_fails_as_the_seed_did() {
    let mutation = "producer_id_handed_out_twice";
    let path = file("one-id-for-two.json");
    let path = path.to_str().expect("a path is text");
    let seed = failing_seed(mutation);
    assert_ends_with(
        &["shrink", "--seed", &seed, "--mutation", mutation, "--out", path],
        0,
        "producer_ids is expected of it",
    );
    assert_ends_with(&["run", "--plan", path], 1, "safety: producer_ids");
    let stored = std::fs::read_to_string(path).expect("it was stored");
    let stored = sordini_sim::regression::Regression::parse(&stored).expect("it can be read");
    assert_eq!((stored.cause.as_str(), stored.expect.0.as_str()), ("one id for two", "producer_ids"));
    // Two producers, each with the batch that makes it ask for an id.
    assert!(stored.plan.items().len() <= 2, "{:#?}", stored.plan);
}

#[test]
fn a_plan_that_passes_is_not_shrunk() {
    assert_ends_with(&["shrink", "--seed", "1"], 2, "there is nothing to shrink");
}

#[cfg(unix)]
#[test]
fn a_build_that_dies_is_told_with_its_status_and_what_to_ask_it() {
    let says = "/bin/false ended before seed 7 with exit status: 1; to see what it says of it alone: /bin/false meta \
                --print --seeds 1 --from 7";
    assert_ends_with(&["meta", "--from", "7", "--seeds", "1", "--builds", "/bin/false"], 4, says);
}

#[test]
fn events_printed_one_by_one_end_as_the_run_does() {
    let words = ["meta", "--print-events", "--from", "1"];
    assert_ends_with(&words, 0, "\npassed\n");
    assert_ends_with(&[&words[..], &["--mutation", "completion_swallowed"]].concat(), 3, "\nliveness: ");
}
