//! Who sent each value, and where it was seen.

use std::collections::{BTreeMap, BTreeSet};

use super::finding;
use crate::anomaly::{Anomaly, Finding};
use crate::history::{Acks, At, Body, Fate, History, Malformed, Op, Record, Send};
use crate::verdict::Tally;

/// Of a value that nobody has read.
const NOBODY: u32 = u32::MAX;

/// What the checks look at.
pub(super) struct Index<'h> {
    pub(super) history: &'h History,
    /// By the place of its value among the history's values, which is the order of invocation.
    pub(super) writes: Vec<Write>,
    /// Every offset at which a value was reported, once; by partition, offset and write.
    pub(super) sightings: Vec<Sighting>,
    /// Where consumers were, and read on; in the order in which operations end.
    pub(super) positions: Vec<Position>,
    /// By partition: the highest offset at which a log was told to begin.
    log_starts: Vec<i64>,
    /// By partition: the last scan that ended well.
    pub(super) scans: Vec<Option<u32>>,
}

/// What is known of a value that was sent.
pub(super) struct Write {
    /// Its send.
    pub(super) op: u32,
    /// The first poll that returned it, or `NOBODY`.
    reader: u32,
    /// The lowest offset at which it was polled, or acknowledged with acks=all; above all offsets if there is none.
    low: i64,
    /// The highest; below all offsets if there is none.
    high: i64,
    /// The last scan of its partition found it.
    pub(super) is_scanned: bool,
    /// It should be there and is not. Set by the check of presence.
    pub(super) is_lost: bool,
}

impl Write {
    pub(super) fn reader(&self) -> Option<u32> {
        (self.reader != NOBODY).then_some(self.reader)
    }

    /// The lowest and the highest offset at which it is, as polls and acknowledgements with acks=all have it.
    pub(super) fn places(&self) -> Option<(i64, i64)> {
        (self.low <= self.high).then_some((self.low, self.high))
    }

    fn see(&mut self, offset: i64) {
        self.low = self.low.min(offset);
        self.high = self.high.max(offset);
    }
}

/// A consumer's place in a partition.
#[derive(Clone, Copy)]
pub(super) struct Position {
    /// The offset it reads next.
    pub(super) next: i64,
    /// The poll that brought it there; none if it went there by itself.
    pub(super) by: Option<u64>,
}

/// A value at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sighting {
    pub(super) partition: u32,
    pub(super) offset: i64,
    /// Index of the write.
    pub(super) write: u32,
    pub(super) strength: Strength,
    /// Who reported it first.
    pub(super) op: u32,
}

/// How much a report of an offset is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// A consumer got it from there.
    Polled,
    /// It was acknowledged there with acks=all.
    Acknowledged,
    /// It was acknowledged there by a leader alone.
    Weak,
}

/// Where the write of a value is: a table where values are as dense as a counter's, sorted where they are not.
enum Dictionary {
    Table { first: u64, writes: Vec<u32> },
    Sorted(Vec<(u64, u32)>),
}

impl Dictionary {
    fn new(values: &[u64]) -> Self {
        let (first, last) = values.iter().fold((u64::MAX, 0), |(low, high), &v| (low.min(v), high.max(v)));
        let width = usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX);
        if width >= values.len().saturating_mul(4) {
            let mut sorted: Vec<_> = values.iter().copied().zip(0..).collect();
            sorted.sort_unstable();
            if let Some(twice) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                panic!("{}", Malformed::SentTwice { value: twice[0].0 });
            }
            return Self::Sorted(sorted);
        }
        let mut writes = vec![NOBODY; width + 1];
        for (&value, write) in values.iter().zip(0..) {
            let place = usize::try_from(value - first).expect("no farther from the first than the last is");
            let place = &mut writes[place];
            assert!(*place == NOBODY, "{}", Malformed::SentTwice { value });
            *place = write;
        }
        Self::Table { first, writes }
    }

    fn find(&self, value: u64) -> Option<u32> {
        match self {
            Self::Table { first, writes } => {
                let place = usize::try_from(value.checked_sub(*first)?).ok()?;
                writes.get(place).copied().filter(|&write| write != NOBODY)
            }
            Self::Sorted(sorted) => {
                sorted.binary_search_by_key(&value, |&(value, _)| value).ok().map(|at| sorted[at].1)
            }
        }
    }
}

impl<'h> Index<'h> {
    /// Reads the history. What was read of values that were not sent, or not there, is a finding here and otherwise left out.
    pub(super) fn new(history: &'h History, findings: &mut Vec<Finding>) -> Self {
        let partitions = history.contracts().len();
        let mut index = Self {
            history,
            writes: writes(history),
            sightings: Vec::with_capacity(history.values().len()),
            positions: positions(history),
            log_starts: vec![0; partitions],
            scans: vec![None; partitions],
        };
        for (op, at) in history.ops().iter().zip(0..) {
            index.learn_of_partition(op, at);
        }
        index.see_polls(findings);
        index.see_acknowledgements();
        index.sightings.sort_unstable();
        index.sightings.dedup_by_key(|seen| (seen.partition, seen.offset, seen.write));
        index
    }

    fn learn_of_partition(&mut self, op: &Op, at: u32) {
        let log_start = &mut self.log_starts[op.partition as usize];
        match op.body {
            Body::Poll { log_start: Some(told), .. }
            | Body::ListOffsets { at: At::Earliest, told: Some(told) } => *log_start = told.max(*log_start),
            Body::Scan { from } => {
                *log_start = from.max(*log_start);
                if op.fate == Fate::Ok {
                    self.scans[op.partition as usize] = Some(at);
                }
            }
            Body::Poll { .. } | Body::ListOffsets { .. } | Body::Send { .. } | Body::Seek { .. } => {}
        }
    }

    fn see_polls(&mut self, findings: &mut Vec<Finding>) {
        let history = self.history;
        let dictionary = Dictionary::new(history.values());
        let mut strays = BTreeSet::new();
        for &at in history.ended() {
            let poll = history.op(at);
            let is_scan =
                self.scans[poll.partition as usize].map(|scan| history.op(scan)).is_some_and(|scan| {
                    scan.process == poll.process && scan.invoked < poll.invoked && poll.ended < scan.ended
                });
            for record in history.polled(poll) {
                let write = dictionary.find(record.value);
                let stray = match write.map(|write| history.op(self.writes[write as usize].op)) {
                    None => Some(Anomaly::UnsentRead),
                    Some(send) if send.partition != poll.partition => Some(Anomaly::Misrouted),
                    Some(send) if send.invoked > poll.ended => Some(Anomaly::UnsentRead),
                    Some(_) => None,
                };
                if let Some(anomaly) = stray {
                    // Everybody who reads it sees it: the first tells.
                    if strays.insert((anomaly, poll.partition, record.offset, record.value)) {
                        findings.push(self.stray(anomaly, poll, record, write));
                    }
                } else if let Some(write) = write {
                    self.see(write, at, record.offset, is_scan);
                }
            }
        }
    }

    fn see(&mut self, write: u32, poll: u32, offset: i64, is_scan: bool) {
        let seen = &mut self.writes[write as usize];
        seen.is_scanned |= is_scan;
        if seen.reader == NOBODY {
            seen.reader = poll;
        } else if offset == seen.low || offset == seen.high {
            return;
        }
        seen.see(offset);
        let partition = self.history.op(poll).partition;
        self.sightings.push(Sighting { partition, offset, write, strength: Strength::Polled, op: poll });
    }

    /// Acknowledgements after the polls: most say what these have said.
    fn see_acknowledgements(&mut self) {
        for (op, at) in self.history.ops().iter().zip(0..) {
            let Some(Send { range, acks, base_offset: Some(base), .. }) = op.send() else { continue };
            for ((write, offset), number) in range.clone().zip(base..).zip(write_numbers(&range)) {
                let write = &mut self.writes[write];
                if offset == write.low || offset == write.high {
                    continue;
                }
                let strength = if acks == Acks::All { Strength::Acknowledged } else { Strength::Weak };
                if strength == Strength::Acknowledged {
                    write.see(offset);
                }
                let partition = op.partition;
                self.sightings.push(Sighting { partition, offset, write: number, strength, op: at });
            }
        }
    }

    fn stray(&self, anomaly: Anomaly, poll: &Op, record: &Record, write: Option<u32>) -> Finding {
        let send = write.map(|write| self.send_op(write).invoked);
        Finding {
            offset: Some(record.offset),
            value: Some(record.value),
            operations: send.into_iter().chain([poll.invoked]).collect(),
            ..finding(anomaly, poll.partition)
        }
    }

    /// The send of a write.
    pub(super) fn send_op(&self, write: u32) -> &'h Op {
        self.history.op(self.writes[write as usize].op)
    }

    /// The value of a write.
    pub(super) fn value(&self, write: u32) -> u64 {
        self.history.values()[write as usize]
    }

    /// Who reported a write at an offset.
    pub(super) fn reporter(&self, partition: u32, offset: i64, write: u32) -> Option<&'h Op> {
        let key = (partition, offset, write);
        let found =
            self.sightings.binary_search_by_key(&key, |seen| (seen.partition, seen.offset, seen.write));
        found.ok().map(|at| self.history.op(self.sightings[at].op))
    }

    /// The partition's contract lets what is below this offset be gone at the end.
    pub(super) fn removed_end(&self, partition: u32) -> i64 {
        let removes = self.history.contracts()[partition as usize].removes_records;
        if removes { self.log_starts[partition as usize] } else { 0 }
    }

    /// The contract lets what is below this offset be gone when a poll was answered.
    pub(super) fn removed_for(&self, poll: &Op) -> i64 {
        let end = self.removed_end(poll.partition);
        match poll.body {
            Body::Poll { log_start: Some(told), .. } => told.min(end),
            Body::Poll { .. }
            | Body::Send { .. }
            | Body::Seek { .. }
            | Body::ListOffsets { .. }
            | Body::Scan { .. } => end,
        }
    }

    /// How much there is of everything.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally {
            operations: self.history.ops().len() as u64,
            partitions: self.scans.len() as u64,
            partitions_scanned: self.scans.iter().flatten().count() as u64,
            values: self.writes.len() as u64,
            ..Tally::default()
        };
        for op in self.history.ops() {
            tally.polls += u64::from(matches!(op.body, Body::Poll { .. }));
            let Some(send) = op.send() else { continue };
            tally.sends += 1;
            if op.fate == Fate::Ok {
                tally.values_acknowledged += send.range.len() as u64;
            }
        }
        tally.values_read = self.writes.iter().filter(|write| write.reader().is_some()).count() as u64;
        tally
    }
}

/// The position from which each operation that ended read on; of other operations than polls nothing is meant by it.
fn positions(history: &History) -> Vec<Position> {
    let mut now: BTreeMap<(u32, u32), Position> = BTreeMap::new();
    let mut positions = Vec::with_capacity(history.ended().len());
    for &at in history.ended() {
        let op = history.op(at);
        let consumer = (op.process, op.partition);
        positions.push(match op.body {
            Body::Seek { to } => {
                let there = Position { next: to, by: None };
                now.insert(consumer, there);
                there
            }
            Body::Poll { from, .. } if op.fate == Fate::Ok => {
                let position = now.entry(consumer).or_insert(Position { next: from, by: None });
                let before = *position;
                if let Some(last) = history.polled(op).last() {
                    *position = Position { next: last.offset + 1, by: Some(op.invoked) };
                }
                before
            }
            Body::Poll { .. } | Body::Send { .. } | Body::ListOffsets { .. } | Body::Scan { .. } => {
                Position { next: 0, by: None }
            }
        });
    }
    positions
}

fn writes(history: &History) -> Vec<Write> {
    let mut writes = Vec::with_capacity(history.values().len());
    for (op, at) in history.ops().iter().zip(0..) {
        for _ in op.send().map_or(0..0, |send| send.range) {
            let unseen = Write {
                op: at,
                reader: NOBODY,
                low: i64::MAX,
                high: i64::MIN,
                is_scanned: false,
                is_lost: false,
            };
            writes.push(unseen);
        }
    }
    writes
}

/// The writes of a send, as sightings name them.
pub(super) fn write_numbers(range: &std::ops::Range<usize>) -> std::ops::Range<u32> {
    let number = |at| u32::try_from(at).expect("a history has fewer than 2^32 values");
    number(range.start)..number(range.end)
}
