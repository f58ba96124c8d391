//! A run as a file: what reports are made of, and what other programs can read.
//!
//! The file is JSON Lines, each line an object with a `kind`. The first is the head; what the run told follows in its
//! order, then what clients did and were told, in theirs, and at the end what it came to.
//!
//! * `run`, the head: `v` (the version of this form), `program` (the version of the program), `seed` (if the plan was
//!   drawn), `hash` (of the trace, 16 hexadecimal digits), `plan`;
//! * what was told, a [`Line`] each, whose kinds are those of [`crate::trace::Kind`];
//! * `history`: an [`Entry`] each;
//! * `outcome`: `exit_code`, `signature`, `sentence`, `events`, `virtual_us`, `within_budget`, `losses`, `marks`.
//!
//! The table of all kinds and fields stands in the `README.md` of this package.
//!
//! A field that has nothing to say is left out. Two recordings of a plan by one program are the same byte for byte: there is
//! nothing in them of the machine or its time.

use crate::history::Entry;
use crate::plan::Plan;
use crate::shrink::Signature;
use crate::sweep::Verdict;
use crate::trace::Line;
use crate::world::Outcome;
use serde::Serialize;
use std::io;

/// The version of the form of the file. A field may be added in the same version; what a field means does not change.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Own<'a> {
    Run {
        #[serde(skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
        hash: String,
        program: &'a str,
        plan: &'a Plan,
    },
    History(&'a Entry),
    Outcome {
        exit_code: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
        sentence: String,
        events: u64,
        virtual_us: u64,
        within_budget: bool,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        losses: &'a [String],
        marks: Vec<&'a str>,
    },
}

/// The first line.
#[derive(Serialize)]
struct Head<'a> {
    v: u32,
    #[serde(flatten)]
    head: Own<'a>,
}

/// Writes a run that was told. `seed` is that of the plan, if it was drawn.
///
/// # Errors
/// Those of `out`.
pub fn write(
    out: &mut impl io::Write,
    plan: &Plan,
    seed: Option<u64>,
    verdict: &Verdict,
    outcome: &Outcome,
) -> io::Result<()> {
    let hash = format!("{:016x}", outcome.trace_hash);
    let head = Own::Run { seed, hash, program: env!("CARGO_PKG_VERSION"), plan };
    write_line(out, &Head { v: VERSION, head })?;
    outcome.lines.iter().try_for_each(|line: &Line| write_line(out, line))?;
    outcome.history.iter().try_for_each(|entry| write_line(out, &Own::History(entry)))?;
    write_line(
        out,
        &Own::Outcome {
            exit_code: verdict.exit_code(),
            signature: verdict.signature(),
            sentence: verdict.line(),
            events: outcome.events,
            virtual_us: outcome.virtual_us,
            within_budget: outcome.is_within_budget,
            losses: &outcome.losses,
            marks: outcome.marks.named().filter(|(_, is_hit)| *is_hit).map(|(name, _)| name).collect(),
        },
    )
}

fn write_line(out: &mut impl io::Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Mutation;
    use crate::sweep;
    use crate::trace::Telling;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn recorded(plan: &Plan) -> String {
        let (verdict, outcome) = sweep::run(plan, Telling::Everything);
        let mut file = Vec::new();
        let outcome = outcome.expect("the world can be made");
        write(&mut file, plan, Some(7), &verdict, &outcome).expect("memory takes it");
        String::from_utf8(file).expect("JSON is text")
    }

    fn lines(file: &str) -> Vec<Value> {
        file.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }

    #[test]
    fn two_recordings_of_a_plan_are_the_same_byte_for_byte() {
        for seed in 0..2 {
            let plan = sweep::plan_of(seed, None);
            assert!(recorded(&plan) == recorded(&plan), "seed {seed}");
        }
    }

    #[test]
    fn a_recording_begins_with_the_plan_and_ends_with_what_it_came_to() {
        let plan = sweep::plan_of(3, Some(Mutation::CompletionSwallowed));
        let lines = lines(&recorded(&plan));
        let (head, end) = (&lines[0], lines.last().expect("there are lines"));
        assert_eq!((&head["v"], &head["kind"], &head["seed"]), (&1.into(), &"run".into(), &7.into()));
        assert_eq!(serde_json::from_value::<Plan>(head["plan"].clone()).expect("it is a plan"), plan);
        let hash =
            sweep::run(&plan, Telling::Nothing).1.map(|outcome| format!("{:016x}", outcome.trace_hash));
        assert_eq!(head["hash"].as_str().map(str::to_owned), hash);
        assert_eq!((&end["kind"], &end["exit_code"]), (&"outcome".into(), &3.into()));
        assert_eq!(end["signature"], "liveness");
        let told = lines.iter().filter(|line| line.get("text").is_some());
        let told: Vec<u64> = told.filter_map(|line| line["at_us"].as_u64()).collect();
        assert!(told.len() > 100 && told.is_sorted());
    }

    #[test]
    fn the_history_says_who_did_what_and_what_became_of_it() {
        let plan = sweep::plan_of(0, None);
        let lines = lines(&recorded(&plan));
        let history: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "history").collect();
        let places: Vec<Option<u64>> = history.iter().map(|entry| entry["seq"].as_u64()).collect();
        assert_eq!(places, (0..history.len() as u64).map(Some).collect::<Vec<_>>());
        let of = |operation: &str, stage: &str| {
            let is_it = |entry: &&&Value| entry["operation"] == operation && entry["stage"] == stage;
            history.iter().filter(is_it).copied().collect::<Vec<_>>()
        };
        assert_eq!(of("create_topic", "ok").len(), plan.topics.len() * plan.nodes.len());
        let sends: usize = plan.producers.iter().map(|producer| producer.sends.len()).sum();
        assert_eq!(of("send", "invoke").len(), sends);
        // Whatever was read was sent.
        let values = |entries: Vec<&Value>| {
            let mut values = BTreeSet::new();
            for range in entries.iter().filter_map(|entry| entry["values"].as_array()).flatten() {
                let number = |at: usize| range[at].as_u64().expect("a range is two numbers");
                values.extend(number(0)..number(0) + number(1));
            }
            values
        };
        let (sent, read) = (values(of("send", "invoke")), values(of("poll", "ok")));
        assert!(!read.is_empty() && read.is_subset(&sent));
    }
}
