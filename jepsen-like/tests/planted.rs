//! Generated histories: those of a log that keeps its promises hold, and of one anomaly planted into them the checker names
//! just that one.

mod common;

use common::history;
use common::plant::plant;
use common::world::{Action, World};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseResult, TestRunner};
use sordini_jepsen::anomaly::Anomaly;
use sordini_jepsen::check;
use sordini_jepsen::history::{Answer, Event, History, Line, Operation, Step};
use sordini_jepsen::verdict::Verdict;
use std::cell::Cell;

/// Permitted by what the producer asked for, whatever the contract is.
const INFORMATION: [Anomaly; 2] = [Anomaly::InconsistentOffsetWeak, Anomaly::LostAcks1];

fn run<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> TestCaseResult) {
    let config = ProptestConfig {
        rng_seed: RngSeed::Fixed(0x4A_5550_5345),
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    if let Err(error) = TestRunner::new(config).run(strategy, test) {
        panic!("{error}");
    }
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    proptest::collection::vec(any::<Action>(), 0..400)
}

fn broken(verdict: &Verdict) -> Vec<Anomaly> {
    let mut kinds: Vec<_> = verdict.broken().map(|found| found.anomaly).collect();
    kinds.dedup();
    kinds
}

#[test]
fn a_log_that_keeps_its_promises_is_found_to() {
    let seen = Cell::new(0_u64);
    run(1500, &actions(), |actions| {
        let verdict = World::run(&actions).story.verdict();
        seen.set(seen.get() + verdict.counts.permitted);
        prop_assert!(verdict.holds(), "{verdict}");
        Ok(())
    });
    assert!(seen.get() > 1000, "what is permitted happens: {}", seen.get());
}

#[test]
fn the_one_anomaly_that_is_planted_is_the_one_that_is_named() {
    for anomaly in Anomaly::ALL {
        let planted = Cell::new(0);
        run(400, &(actions(), any::<u16>()), |(actions, pick)| {
            let mut world = World::run(&actions);
            let Some((value, offset)) = plant(&mut world, anomaly, usize::from(pick)) else { return Ok(()) };
            planted.set(planted.get() + 1);
            let verdict = world.story.verdict();
            let is_it = |found: &&sordini_jepsen::anomaly::Finding| {
                found.anomaly == anomaly
                    && value.is_none_or(|value| found.value == Some(value))
                    && offset.is_none_or(|offset| found.offset == Some(offset))
            };
            prop_assert!(
                verdict.findings.iter().any(|found| is_it(&found)),
                "{anomaly} is not named: {verdict}"
            );
            let expected = if INFORMATION.contains(&anomaly) { vec![] } else { vec![anomaly] };
            prop_assert_eq!(broken(&verdict), expected, "{}", verdict);
            Ok(())
        });
        assert!(planted.get() >= 100, "{anomaly} was planted only {} times", planted.get());
    }
}

/// Any history of a world, with an anomaly or not.
fn any_history(actions: &[Action], pick: u16) -> World {
    let mut world = World::run(actions);
    let kinds = Anomaly::ALL.len();
    if let Some(&anomaly) = Anomaly::ALL.get(usize::from(pick) % (kinds + 1)) {
        plant(&mut world, anomaly, usize::from(pick) / kinds);
    }
    world
}

/// The same with other values, in the same order among themselves.
fn rename(event: &mut Event, name: impl Fn(u64) -> u64) {
    match &mut event.step {
        Step::Invoke(Operation::Send { values, .. }) => {
            values.iter_mut().for_each(|value| *value = name(*value))
        }
        Step::Ok(Answer::Polled { records, .. }) => {
            records.iter_mut().for_each(|record| record.value = name(record.value));
        }
        Step::Invoke(_) | Step::Ok(_) | Step::Fail | Step::Info => {}
    }
}

/// Those who know less see nothing that is not there, but what one consumer left out is lost for all they know.
fn is_explained(less: &[Anomaly], whole: &[Anomaly]) -> bool {
    let is_skipped = whole.iter().any(|kind| matches!(kind, Anomaly::PollSkip | Anomaly::InternalPollSkip));
    less.iter().all(|kind| whole.contains(kind) || is_skipped && *kind == Anomaly::LostAcked)
}

#[test]
fn the_names_of_values_do_not_matter() {
    run(500, &(actions(), any::<u16>()), |(actions, pick)| {
        let world = any_history(&actions, pick);
        let mut expected = world.story.verdict();
        let name = |value: u64| (value + 1) << 32;
        for found in &mut expected.findings {
            found.value = found.value.map(name);
            found.other_value = found.other_value.map(name);
        }
        let mut events = world.story.events.clone();
        for event in &mut events {
            rename(event, name);
        }
        prop_assert_eq!(check(&history(&world.story.contracts, &events)), expected);
        Ok(())
    });
}

#[test]
fn the_names_of_processes_do_not_matter() {
    run(500, &(actions(), any::<u16>()), |(actions, pick)| {
        let world = any_history(&actions, pick);
        let mut events = world.story.events.clone();
        for event in &mut events {
            event.process = u32::MAX - event.process;
        }
        prop_assert_eq!(check(&history(&world.story.contracts, &events)), world.story.verdict());
        Ok(())
    });
}

#[test]
fn who_has_seen_less_finds_nothing_else() {
    run(500, &(actions(), any::<u16>(), any::<u16>()), |(actions, pick, cut)| {
        let world = any_history(&actions, pick);
        let whole = broken(&world.story.verdict());
        // A poll that is left out has left no trace; a scan too, for who knows of it only in part must not take it for whole.
        let cut = u64::from(cut) % (world.story.events.len() as u64 + 1);
        let sends: Vec<u64> = world
            .story
            .events
            .iter()
            .filter(|event| matches!(event.step, Step::Invoke(Operation::Send { .. })))
            .map(|event| event.op)
            .collect();
        let is_kept = |event: &&Event| event.seq < cut || sends.contains(&event.op);
        let events: Vec<_> = world.story.events.iter().filter(is_kept).cloned().collect();
        let less = broken(&check(&history(&world.story.contracts, &events)));
        prop_assert!(is_explained(&less, &whole), "{less:?} of {whole:?}");
        Ok(())
    });
}

#[test]
fn a_history_that_goes_on_shows_what_it_has_shown() {
    run(500, &(actions(), any::<u16>(), any::<u16>()), |(actions, pick, cut)| {
        let world = any_history(&actions, pick);
        let cut = usize::from(cut) % (world.story.events.len() + 1);
        let before = check(&history(&world.story.contracts, &world.story.events[..cut]));
        let whole = broken(&world.story.verdict());
        prop_assert!(is_explained(&broken(&before), &whole), "{before}");
        Ok(())
    });
}

#[test]
fn a_history_from_its_file_has_the_same_verdict() {
    run(200, &(actions(), any::<u16>()), |(actions, pick)| {
        let world = any_history(&actions, pick);
        let contracts = world.story.contracts.iter().cloned().map(Line::Contract);
        let lines = contracts.chain(world.story.events.iter().cloned().map(Line::Event));
        let text: Vec<_> = lines.map(|line| serde_json::to_string(&line).unwrap()).collect();
        let read = History::read(text.join("\n").as_bytes()).unwrap();
        prop_assert_eq!(check(&read).json(), world.story.verdict().json());
        Ok(())
    });
}
