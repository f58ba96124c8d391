//! Two values at one offset, one value at two, and values that were never to be there.

use super::index::{Index, Sighting, Strength, write_numbers};
use super::{asked, finding};
use crate::anomaly::{Anomaly, Finding};
use crate::history::Fate;

pub(super) fn check(index: &Index<'_>, findings: &mut Vec<Finding>) {
    let offsets = index.sightings.chunk_by(|a, b| (a.partition, a.offset) == (b.partition, b.offset));
    for at_offset in offsets.filter(|at_offset| at_offset.len() > 1) {
        inconsistent(index, at_offset, findings);
    }
    for op in index.history.ops() {
        let Some(send) = op.send() else { continue };
        for write in write_numbers(&send.range) {
            let Some((low, high)) = index.writes[write as usize].places() else { continue };
            if low != high {
                findings.push(duplicate(index, write, low, high));
            }
            let reader = index.writes[write as usize].reader().filter(|_| op.fate == Fate::Fail);
            if let Some(reader) = reader {
                findings.push(Finding {
                    offset: Some(low),
                    value: Some(index.value(write)),
                    operations: vec![op.invoked, index.history.op(reader).invoked],
                    asked: Some(asked(&send)),
                    ..finding(Anomaly::FailedRead, op.partition)
                });
            }
        }
    }
}

/// Each value that an offset has beyond its first. What a leader alone acknowledged is compared with what is certain, and with
/// its like only where nothing is.
fn inconsistent(index: &Index<'_>, at_offset: &[Sighting], findings: &mut Vec<Finding>) {
    let is_certain = |seen: &&Sighting| seen.strength != Strength::Weak;
    let Some(first) = at_offset.iter().find(is_certain).or_else(|| at_offset.first()) else { return };
    for other in at_offset.iter().filter(|other| other.write != first.write) {
        let anomaly = match other.strength {
            Strength::Weak => Anomaly::InconsistentOffsetWeak,
            Strength::Polled | Strength::Acknowledged => Anomaly::InconsistentOffset,
        };
        findings.push(Finding {
            offset: Some(first.offset),
            value: Some(index.value(other.write)),
            other_value: Some(index.value(first.write)),
            operations: vec![index.history.op(other.op).invoked, index.history.op(first.op).invoked],
            asked: index.send_op(other.write).send().as_ref().map(asked),
            ..finding(anomaly, first.partition)
        });
    }
}

fn duplicate(index: &Index<'_>, write: u32, low: i64, high: i64) -> Finding {
    let op = index.send_op(write);
    let reporters = [low, high].into_iter().filter_map(|offset| index.reporter(op.partition, offset, write));
    Finding {
        offset: Some(low),
        other_offset: Some(high),
        value: Some(index.value(write)),
        operations: [op.invoked].into_iter().chain(reporters.map(|op| op.invoked)).collect(),
        asked: op.send().as_ref().map(asked),
        ..finding(Anomaly::Duplicate, op.partition)
    }
}
