//! How consumers move that assign partitions to themselves: on, to the next record that there is.

use super::finding;
use super::index::{Index, Position, Sighting, Strength};
use crate::anomaly::{Anomaly, Finding};
use crate::history::{Op, Record};

pub(super) fn check(index: &Index<'_>, findings: &mut Vec<Finding>) {
    let known = Known::new(index);
    for (&at, &before) in index.history.ended().iter().zip(&index.positions) {
        let poll = index.history.op(at);
        let mut position = before;
        for record in index.history.polled(poll) {
            step(index, &known, poll, position, record, findings);
            position = Position { next: record.offset + 1, by: Some(poll.invoked) };
        }
    }
}

fn step(
    index: &Index<'_>,
    known: &Known,
    poll: &Op,
    position: Position,
    record: &Record,
    findings: &mut Vec<Finding>,
) {
    let is_internal = position.by == Some(poll.invoked);
    let before = position.by.filter(|_| !is_internal);
    if record.offset < position.next {
        let anomaly = if is_internal { Anomaly::InternalNonmonotonicPoll } else { Anomaly::NonmonotonicPoll };
        findings.push(Finding {
            offset: Some(record.offset),
            value: Some(record.value),
            operations: before.into_iter().chain([poll.invoked]).collect(),
            ..finding(anomaly, poll.partition)
        });
    } else if record.offset > position.next {
        // Who was at an offset that has been removed goes on at the log start.
        let from = position.next.max(index.removed_for(poll));
        let Some(skipped) = known.next(poll.partition, from).filter(|seen| seen.offset < record.offset)
        else {
            return;
        };
        let anomaly = if is_internal { Anomaly::InternalPollSkip } else { Anomaly::PollSkip };
        findings.push(Finding {
            offset: Some(skipped.offset),
            value: Some(index.value(skipped.write)),
            operations: before
                .into_iter()
                .chain([poll.invoked, index.history.op(skipped.op).invoked])
                .collect(),
            ..finding(anomaly, poll.partition)
        });
    }
}

/// The records that somebody got and that are not lost, by partition and offset.
struct Known(Vec<Sighting>);

impl Known {
    fn new(index: &Index<'_>) -> Self {
        let is_there = |seen: &&Sighting| {
            seen.strength == Strength::Polled && !index.writes[seen.write as usize].is_lost
        };
        Self(index.sightings.iter().filter(is_there).copied().collect())
    }

    /// The first at an offset or behind it.
    fn next(&self, partition: u32, offset: i64) -> Option<Sighting> {
        let at = self.0.partition_point(|seen| (seen.partition, seen.offset) < (partition, offset));
        self.0.get(at).copied().filter(|seen| seen.partition == partition)
    }
}
