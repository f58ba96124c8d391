//! What several processes do together is what one does alone.

use sordini_sim::sweep::Summary;
use std::io::Write as _;
use std::path::Path;
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
    let (printed, code) = replayed(&["--seed", "1"], "n 300\np 0\nn 200\nb 200\np 0\ne\ng 0.1\np 0\nq\n");
    let places: Vec<&str> =
        printed.lines().filter(|line| line.starts_with("event ") && line.contains("hash")).collect();
    let [there, back, _] = places[..] else { panic!("{places:?}") };
    assert!(there.starts_with("event 300 at "), "{there}");
    assert_eq!(there, back);
    assert!(printed.contains("the run is over: passed"), "{printed}");
    assert_eq!(code, Some(0));
}

/// What `replay` prints when these lines come in, and its exit code.
fn replayed(words: &[&str], lines: &str) -> (String, Option<i32>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sordini-sim"))
        .args([&["replay"], words].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary of this package can be run");
    let mut input = child.stdin.take().expect("it was asked for");
    input.write_all(lines.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    (String::from_utf8(output.stdout).expect("it prints text"), output.status.code())
}

#[test]
fn a_plan_from_a_file_is_stepped_to_the_event_that_violates_a_property_and_one_back() {
    let failing = ["--seed", "1", "--mutation", "high_watermark_falls"];
    let plan = sim(&[&["plan"], &failing[..]].concat());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("high_watermark_falls.json");
    std::fs::write(&path, plan).expect("the directory for tests can be written to");
    let path = path.to_str().expect("it is text");
    let (printed, code) = replayed(&["--plan", path], "e\np 0\nb 1\np 0\nn 1\np 0\n");
    assert_eq!(code, Some(1), "it ends where the property does not hold");
    let places: Vec<&str> = printed.lines().filter(|line| line.contains(", hash ")).collect();
    let [end, before, again] = places[..] else { panic!("{places:?} in {printed}") };
    assert_eq!(end, again);
    let event = |place: &str| place.split(' ').nth(1).and_then(|word| word.parse::<u64>().ok());
    assert_eq!(event(before).map(|event| event + 1), event(end), "{before}");
    // At the end, where it was asked for the place, and when it came there again; not one event earlier.
    assert_eq!(printed.matches("the run is over: safety: high_watermark: ").count(), 4, "{printed}");
    let (_, code) = replayed(&["--plan", path], "e\nb 1\nq\n");
    assert_eq!(code, Some(0), "one event earlier everything holds");
}

#[test]
fn what_branches_off_is_counted_and_its_failures_are_replayed_by_the_line_that_is_printed() {
    let mutation = ["--mutation", "high_watermark_falls"];
    let sweep = [&["--seeds", "0..2", "--branch", "1", "--rare", "2"], &mutation[..]].concat();
    let summary = swept(&sweep);
    let branched: Vec<_> = summary.failures.iter().filter(|failed| failed.change.is_some()).collect();
    assert!(summary.seeds == 2 && summary.branches > 10 && !branched.is_empty());
    let printed = sim(&[&["sweep", "--keep-going"], &sweep[..]].concat());
    let failed = branched[0];
    let change = failed.change.expect("it has one");
    let weather = format!("{}:{}", change.at_us, change.field_seed);
    let seed = failed.seed.to_string();
    let line = ["--seed", &seed, "--weather", &weather, "--mutation", "high_watermark_falls"];
    let replay = format!("replay: cargo sim run {} --transcript", line.join(" "));
    assert!(printed.contains(&replay), "{replay} in {printed}");
    assert!(printed.contains(&format!("{} runs branched off", summary.branches)), "{printed}");
    let ran = sim(&[&["run"], &line[..]].concat());
    assert!(ran.ends_with(&format!("{}\n", failed.sentence)), "{} in {ran}", failed.sentence);
    assert!(ran.contains(&format!("events {} virtual", failed.events)), "{ran}");
}

#[test]
fn a_recording_is_written_beside_what_is_printed() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("run.jsonl");
    let words = ["run", "--seed", "1", "--short", "--record"];
    let printed = sim(&[&words[..], &[path.to_str().expect("it is text")]].concat());
    assert!(!printed.contains(" request "), "the short form has no requests: {printed}");
    let recorded = std::fs::read_to_string(&path).expect("it was written");
    assert!(recorded.starts_with("{\"v\":1,\"kind\":\"run\",\"seed\":1,\"hash\":\""), "{:.100}", recorded);
    assert!(recorded.contains("\"kind\":\"request\"") && recorded.contains("\"kind\":\"history\""));
    assert!(recorded.lines().last().is_some_and(|line| line.starts_with("{\"kind\":\"outcome\"")));
}
