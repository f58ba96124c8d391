//! What became of what clients sent and read: the end of a stored plan's transcript, counted from its history.

use sordini_protocol::error_code::ErrorCode;
use sordini_sim::history::{Entry, Operation, Stage};
use sordini_sim::world::{AUDITOR_FIRST, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// What the last reading found, by partition.
type Found<'a> = BTreeMap<(&'a str, Option<i32>), FoundPartition>;

/// What it found of one.
#[derive(Debug, Default)]
struct FoundPartition {
    /// Where the log begins.
    start: i64,
    /// How often each value is there.
    values: BTreeMap<u64, usize>,
}

/// What one producer was told.
#[derive(Debug, Default)]
struct Sent {
    acks: i16,
    records: u64,
    refused: u64,
    acknowledged: u64,
    /// How many records that were acknowledged lay below where the log begins in the end.
    deleted: u64,
    /// How many others that were acknowledged the last reading did not find.
    lost: u64,
    /// Under which offsets they were acknowledged, as far as their producer was told.
    lost_offsets: Vec<i64>,
    /// How many records were found that it was not told of.
    untold: u64,
    /// How many records were found twice.
    twice: u64,
}

/// What one consumer got.
#[derive(Debug, Default)]
struct Read {
    values: BTreeSet<u64>,
    gone: u64,
    /// Where it met what was not as it was written.
    damage: Option<i64>,
    /// How often it was sent back, since what it had read was there no more.
    sent_back: u64,
}

/// A line for each producer and each consumer, what was lost with the plan's leave, and a last one for the run.
#[must_use]
pub fn account(outcome: &Outcome) -> Vec<String> {
    let found = found(&outcome.history);
    let mut lines: Vec<String> = Vec::new();
    lines.extend(sent(&outcome.history, &found).iter().map(|(client, sent)| sent.line(*client)));
    lines.extend(read(&outcome.history, &found).iter().map(|(client, read)| read.line(*client)));
    lines.extend(outcome.losses.iter().map(|loss| format!("lost, as the contract permits: {loss}")));
    let verdict = if outcome.failure.is_none() { "kept" } else { "broken" };
    lines.push(format!("the contract was {verdict}"));
    lines
}

fn found(history: &[Entry]) -> Found<'_> {
    let mut found = Found::new();
    for entry in history.iter().filter(|entry| entry.client >= AUDITOR_FIRST) {
        let partition = found.entry((&*entry.topic, entry.partition)).or_default();
        if is_reading(entry) {
            for_each_value(entry, |value| *partition.values.entry(value).or_default() += 1);
        } else if entry.operation == Operation::ListOffsets && entry.stage == Stage::Ok {
            partition.start = entry.offset.unwrap_or(0);
        }
    }
    found
}

fn sent(history: &[Entry], found: &Found<'_>) -> BTreeMap<u64, Sent> {
    let mut all: BTreeMap<u64, Sent> = BTreeMap::new();
    for entry in history.iter().filter(|entry| entry.operation == Operation::Send) {
        let sent = all.entry(entry.client).or_default();
        let count: u64 = entry.values.iter().map(|(_, count)| count).sum();
        let partition = found.get(&(&*entry.topic, entry.partition));
        let times = |value: u64| partition.and_then(|it| it.values.get(&value)).copied().unwrap_or(0);
        match entry.stage {
            Stage::Invoke => {
                sent.acks = entry.acks.unwrap_or(0);
                sent.records += count;
                for_each_value(entry, |value| sent.twice += u64::from(times(value) > 1));
            }
            Stage::Fail => sent.refused += count,
            Stage::Info => for_each_value(entry, |value| sent.untold += u64::from(times(value) > 0)),
            Stage::Ok => {
                sent.acknowledged += count;
                let start = partition.map_or(0, |it| it.start);
                let first = entry.offset.filter(|offset| *offset >= 0);
                let mut offsets = first.into_iter().flat_map(|first| first..);
                for_each_value(entry, |value| {
                    let offset = offsets.next();
                    if times(value) > 0 {
                        return;
                    }
                    if offset.is_some_and(|offset| offset < start) {
                        sent.deleted += 1;
                    } else {
                        sent.lost += 1;
                        sent.lost_offsets.extend(offset);
                    }
                });
            }
        }
    }
    all
}

fn read(history: &[Entry], found: &Found<'_>) -> BTreeMap<u64, Read> {
    let mut all: BTreeMap<u64, Read> = BTreeMap::new();
    let of_consumers = history.iter().filter(|entry| entry.client < AUDITOR_FIRST);
    for entry in of_consumers {
        if is_reading(entry) {
            let partition = found.get(&(&*entry.topic, entry.partition));
            let read = all.entry(entry.client).or_default();
            for_each_value(entry, |value| {
                let is_gone = partition.is_none_or(|it| !it.values.contains_key(&value));
                read.gone += u64::from(read.values.insert(value) && is_gone);
            });
        } else if entry.operation == Operation::Poll && entry.error == ErrorCode::CorruptMessage {
            all.entry(entry.client).or_default().damage = entry.offset;
        } else if entry.operation == Operation::Seek || entry.error == ErrorCode::OffsetOutOfRange {
            all.entry(entry.client).or_default().sent_back += 1;
        }
    }
    all
}

fn is_reading(entry: &Entry) -> bool {
    entry.operation == Operation::Poll && entry.stage == Stage::Ok
}

fn for_each_value(entry: &Entry, mut each: impl FnMut(u64)) {
    for (first, count) in &entry.values {
        (*first..first + count).for_each(&mut each);
    }
}

impl Sent {
    fn line(&self, client: u64) -> String {
        let Self { acks, records, refused, acknowledged, deleted, lost, lost_offsets, untold, twice } = self;
        let asked = if *acks == -1 { "all".to_owned() } else { acks.to_string() };
        let mut line = format!("producer {client} sent {records} with acks={asked}, ");
        let open = records - refused - acknowledged;
        if *acks == 0 {
            line += &format!("of which {untold} are there in the end");
        } else {
            line += &format!("acknowledged: {acknowledged}");
            for (what, count) in
                [("refused", refused), ("without an answer", &open), ("deleted since", deleted)]
            {
                if *count > 0 {
                    line += &format!(", {what}: {count}");
                }
            }
            if open > 0 {
                line += &format!(", of which {untold} are there");
            }
            let offsets: Vec<String> = lost_offsets.iter().map(ToString::to_string).collect();
            line += &format!(", acknowledged and lost: {}", number(*lost));
            if !offsets.is_empty() {
                line += &format!(", of offset {}", offsets.join(", "));
            }
        }
        line + &format!(", there twice: {}", number(*twice))
    }
}

impl Read {
    fn line(&self, client: u64) -> String {
        let mut line = format!("consumer {client} read {}", self.values.len());
        if self.gone > 0 {
            line += &format!(", of which {} are gone in the end", self.gone);
        }
        if self.sent_back > 0 {
            line += &format!(", and was sent back {}", times(self.sent_back));
        }
        if let Some(offset) = self.damage {
            line += &format!(", and stopped at offset {offset}, where the checksum is wrong");
        }
        line
    }
}

fn number(count: u64) -> String {
    if count == 0 { "none".to_owned() } else { count.to_string() }
}

/// How often, in words.
fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
