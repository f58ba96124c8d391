//! The binary: what it says of a file, and the exit code that answers.

mod common;

use common::plant::plant;
use common::world::{Action, World};
use common::{PRODUCER, Story, send};
use sordini_jepsen::anomaly::Anomaly;
use sordini_jepsen::history::{Acks, Answer, Line, Step};
use sordini_jepsen::verdict::Verdict;
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn lines(story: &Story) -> Vec<String> {
    let contracts = story.contracts.iter().cloned().map(Line::Contract);
    let events = story.events.iter().cloned().map(Line::Event);
    contracts.chain(events).map(|line| serde_json::to_string(&line).unwrap()).collect()
}

/// What clients do in a world of this seed.
fn actions(seed: u16) -> Vec<Action> {
    let mut state = u32::from(seed);
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The low bits of such a generator are no noise.
        state.to_be_bytes()[0]
    };
    (0..300).map(|_| (draw(), draw(), draw(), draw())).collect()
}

/// What the binary makes of a history that it reads from its standard input.
fn judge(text: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sordini-jepsen"))
        .args(["judge", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who finds an error does not read to the end.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn two_partitions() -> Story {
    let mut story = Story::new(2);
    story.sent(&[10, 11], 0);
    story.scanned(&[(0, 10), (1, 11)]);
    story
}

#[test]
fn a_history_that_holds_is_told_with_its_contracts() {
    let (code, said, _) = told(&judge(&lines(&two_partitions()).join("\n"), &[]));
    assert_eq!(
        said,
        "orders 0 1: 2 of 3 replicas in sync, clean elections, 0 amnesiac at most\n\
         3 operations: 1 sends, 1 polls\n\
         2 values sent, 2 acknowledged, 2 read\n\
         1 of 2 partitions read to the end\n\
         every promise was kept\n"
    );
    assert_eq!(code, Some(0));
}

#[test]
fn what_is_planted_into_a_file_is_named_and_ends_with_1() {
    for anomaly in Anomaly::ALL {
        let (world, value) = (0..200_u16)
            .find_map(|seed| {
                let mut world = World::run(&actions(seed));
                let (value, _) = plant(&mut world, anomaly, usize::from(seed))?;
                Some((world, value))
            })
            .unwrap_or_else(|| panic!("no world takes {anomaly}"));
        let text = lines(&world.story).join("\n");
        let is_permitted = world.story.verdict().holds();
        let (code, said, _) = told(&judge(&text, &[]));
        assert_eq!(code, Some(i32::from(!is_permitted)), "{anomaly}: {said}");
        assert!(said.contains(&format!(" {anomaly}: ")), "{anomaly}: {said}");
        let (code, json, _) = told(&judge(&text, &["--json"]));
        assert_eq!(code, Some(i32::from(!is_permitted)), "{anomaly}: {json}");
        let verdict: Verdict = serde_json::from_str(&json).unwrap();
        let is_it = |found: &sordini_jepsen::anomaly::Finding| {
            found.anomaly == anomaly && (value.is_none() || found.value == value)
        };
        assert!(verdict.findings.iter().any(is_it), "{anomaly}: {json}");
    }
}

#[test]
fn what_a_line_has_wrong_is_told_with_its_number() {
    let mut wrong = lines(&two_partitions());
    wrong[3] = "{\"event\":{\"seq\":1}}".into();
    let mut cut = lines(&two_partitions());
    let last = cut.pop().unwrap();
    cut.push(last[..last.len() / 2].into());
    let mut story = two_partitions();
    story.end(PRODUCER, 0, Step::Ok(Answer::Sent { base_offset: Some(0) }));
    let unasked = lines(&story);
    let mut other = two_partitions();
    other.invoke(PRODUCER, send(2, &[12], Acks::All));
    for (lines, expected) in [
        (vec![String::new()], "-: line 1: EOF while parsing a value"),
        (wrong, "-: line 4: missing field `at_us`"),
        (cut, "-: line 8: EOF while parsing"),
        (unasked, "-: line 9: event 6 ends what its process has not under way"),
        (lines(&other), "-: line 9: event 6 names a partition without a contract"),
        (vec![" ".repeat((16 << 20) + 1)], "-: line 1: it has more than 16777216 bytes"),
    ] {
        // With and without a line end behind the last one.
        for end in ["", "\n"] {
            let text = lines.join("\n") + end;
            if text.is_empty() {
                continue;
            }
            let (code, said, complaint) = told(&judge(&text, &[]));
            assert!(complaint.starts_with(expected), "{complaint}");
            assert_eq!((code, said.as_str()), (Some(2), ""));
        }
    }
}

#[test]
fn what_is_no_history_keeps_no_promise() {
    let (code, _, complaint) = told(&judge("", &[]));
    assert_eq!((code, complaint.as_str()), (Some(2), "-: no history: it has no contract\n"));
    let mut story = two_partitions();
    story.invoke(PRODUCER, send(0, &[10], Acks::All));
    let (code, _, complaint) = told(&judge(&lines(&story).join("\n"), &[]));
    assert_eq!((code, complaint.as_str()), (Some(2), "-: value 10 is sent twice\n"));
    let output = Command::new(env!("CARGO_BIN_EXE_sordini-jepsen"))
        .args(["judge", "/there/is/none"])
        .output()
        .unwrap();
    let (code, _, complaint) = told(&output);
    assert_eq!(code, Some(2));
    assert!(complaint.starts_with("/there/is/none: No such file"), "{complaint}");
}
