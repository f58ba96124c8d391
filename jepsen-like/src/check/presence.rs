//! Values that should be there and are not.

use super::index::{Index, Write, write_numbers};
use super::{asked, finding};
use crate::anomaly::{Anomaly, Finding};
use crate::history::{Acks, Fate, Op, Send};

/// A value that nobody read although it was acknowledged.
struct Unread {
    partition: u32,
    /// Where it was acknowledged.
    offset: Option<i64>,
    write: u32,
    /// The last scan ended without it.
    scan: Option<u32>,
    /// The first poll that returned what is behind its offset.
    passed_by: Option<u32>,
}

pub(super) fn check(index: &mut Index<'_>, findings: &mut Vec<Finding>) {
    let mut unread = Vec::new();
    let mut lost = Vec::new();
    for op in index.history.ops() {
        let Some(send) = op.send() else { continue };
        let acknowledged = send.base_offset.filter(|_| op.fate == Fate::Ok);
        for (nth, write) in (0..).zip(write_numbers(&send.range)) {
            let offset = acknowledged.map(|base| base + nth);
            let seen = &index.writes[write as usize];
            let scan =
                missed_by_scan(index, op, seen).filter(|_| !is_removed(index, op.partition, offset, seen));
            if let Some(reader) = seen.reader() {
                let Some(scan) = scan else { continue };
                lost.push(write);
                findings.push(missing(index, write, &send, offset, &[reader, scan]));
            } else if scan.is_some() || offset.is_some() {
                unread.push(Unread { partition: op.partition, offset, write, scan, passed_by: None });
            }
        }
    }
    unread.sort_unstable_by_key(|value| (value.partition, value.offset, value.write));
    find_passers(index, &mut unread);
    for value in unread {
        let Some(send) = index.send_op(value.write).send() else { continue };
        let Some(witness) = value.passed_by.or(value.scan) else { continue };
        lost.push(value.write);
        let mut found = missing(index, value.write, &send, value.offset, &[witness]);
        if found.anomaly == Anomaly::LostAcked && value.passed_by.is_none() {
            found.anomaly = Anomaly::Unseen;
        }
        findings.push(found);
    }
    for write in lost {
        index.writes[write as usize].is_lost = true;
    }
}

/// The contract lets the value be gone at the end, for it lay below the log start. One that lay nobody knows where may have.
fn is_removed(index: &Index<'_>, partition: u32, acknowledged: Option<i64>, seen: &Write) -> bool {
    let offset = seen.places().map(|(_, high)| high).or(acknowledged).unwrap_or(0);
    offset < index.removed_end(partition)
}

/// The partition's last scan, if it began after the value was acknowledged, or read, and did not find it.
fn missed_by_scan(index: &Index<'_>, op: &Op, seen: &Write) -> Option<u32> {
    let scan = index.scans[op.partition as usize].filter(|_| !seen.is_scanned)?;
    let begin = index.history.op(scan).invoked;
    let is_acknowledged = op.fate == Fate::Ok && op.ended < begin;
    let is_read = seen.reader().is_some_and(|reader| index.history.op(reader).ended < begin);
    (is_acknowledged || is_read).then_some(scan)
}

/// Finds for each value the first poll that passed it. The values are sorted by partition and offset, and each is given away
/// once: `next` leads past those that are.
fn find_passers(index: &Index<'_>, unread: &mut [Unread]) {
    let mut next: Vec<usize> = (0..=unread.len()).collect();
    for (&at, position) in index.history.ended().iter().zip(&index.positions) {
        let poll = index.history.op(at);
        let Some(last) = index.history.polled(poll).last() else { continue };
        let from = position.next.max(index.removed_for(poll));
        // A value without an offset sorts before all that have one, and is never found from an offset on.
        let begin = (poll.partition, Some(from));
        let end = (poll.partition, Some(last.offset));
        let first = unread.partition_point(|value| (value.partition, value.offset) < begin);
        let mut here = follow(&mut next, first);
        while unread.get(here).is_some_and(|value| (value.partition, value.offset) <= end) {
            unread[here].passed_by = Some(at);
            next[here] = here + 1;
            here = follow(&mut next, here);
        }
    }
}

/// The first place from `at` on that is not given away, with the way there made shorter.
fn follow(next: &mut [usize], mut at: usize) -> usize {
    while next[at] != at {
        next[at] = next[next[at]];
        at = next[at];
    }
    at
}

/// What somebody has read was committed, whatever its producer waited for.
fn missing(index: &Index<'_>, write: u32, send: &Send, acknowledged: Option<i64>, others: &[u32]) -> Finding {
    let op = index.send_op(write);
    let seen = &index.writes[write as usize];
    let is_committed = send.acks == Acks::All || seen.reader().is_some();
    let others = others.iter().map(|&other| index.history.op(other).invoked);
    Finding {
        offset: seen.places().map(|(low, _)| low).or(acknowledged),
        value: Some(index.value(write)),
        operations: [op.invoked].into_iter().chain(others).collect(),
        asked: Some(asked(send)),
        ..finding(if is_committed { Anomaly::LostAcked } else { Anomaly::LostAcks1 }, op.partition)
    }
}
