//! What several processes do together is what one does alone.

use sordini_sim::sweep::Summary;
use std::io::Write as _;
use std::process::{Command, Stdio};

fn sim(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sordini-sim")).args(words).output();
    let output = output.expect("the binary of this package can be run");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// What a sweep prints about all in the end.
fn swept(words: &[&str]) -> Summary {
    let printed = sim(&[&["sweep", "--json", "--keep-going"][..], words].concat());
    let last = printed.lines().last().expect("a sweep says what it came to");
    let line: serde_json::Value = serde_json::from_str(last).expect("lines are JSON");
    serde_json::from_value(line["summary"].clone()).expect("the last one is the summary")
}

#[test]
fn a_sweep_comes_to_the_same_in_one_process_in_several_and_in_shards() {
    // So that there are failures to put together.
    let mutation = ["--seeds", "0..24", "--mutation", "high_watermark_falls"];
    let whole = swept(&mutation);
    assert_eq!(whole.seeds, 24);
    assert!(!whole.failures.is_empty() && whole.failures.is_sorted_by_key(|failed| failed.seed));
    assert_eq!(swept(&[&mutation[..], &["--jobs", "3"]].concat()), whole);
    let mut put_together = Summary::default();
    for shard in ["2/2", "1/2"] {
        put_together.merge(swept(&[&mutation[..], &["--shard", shard, "--jobs", "2"]].concat()));
    }
    assert_eq!(put_together, whole);
}

#[test]
fn every_failure_of_a_sweep_is_printed_with_the_line_that_replays_it() {
    let mutation = ["--seeds", "0..24", "--mutation", "high_watermark_falls"];
    let failures = swept(&mutation).failures;
    let printed = sim(&[&["sweep", "--keep-going", "--jobs", "2"][..], &mutation].concat());
    for failed in &failures {
        let line = format!(
            "\nreplay: cargo sim run --seed {} --mutation high_watermark_falls --transcript\n",
            failed.seed
        );
        assert!(format!("\n{printed}").contains(&line), "{line} in {printed}");
    }
    // Which failure a sweep that stops at the first finds first is up to the processes.
    let printed = sim(&[&["sweep", "--jobs", "2"][..], &mutation].concat());
    assert_eq!(printed.matches("replay: ").count(), 1, "{printed}");
}

#[test]
fn seeds_are_the_same_here_and_in_another_process() {
    let printed = sim(&["meta", "--seeds", "12"]);
    assert!(printed.starts_with("12 seeds: the same here and in "), "{printed}");
}

#[test]
fn a_run_is_stepped_through_forward_and_back() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sordini-sim"))
        .args(["replay", "--seed", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary of this package can be run");
    let mut input = child.stdin.take().expect("it was asked for");
    input.write_all(b"n 300\np 0\nn 200\nb 200\np 0\ne\ng 0.1\np 0\nq\n").expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    let places: Vec<&str> =
        printed.lines().filter(|line| line.starts_with("event ") && line.contains("hash")).collect();
    let [there, back, _] = places[..] else { panic!("{places:?}") };
    assert!(there.starts_with("event 300 at "), "{there}");
    assert_eq!(there, back);
    assert!(printed.contains("the run is over: passed"), "{printed}");
    assert!(output.status.success());
}
