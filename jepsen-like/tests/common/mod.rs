//! Histories told line by line, for the tests.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part, and is a crate of its own")]

pub mod plant;
pub mod world;

use sordini_jepsen::anomaly::{Anomaly, Permit};
use sordini_jepsen::history::{
    Acks, Answer, At, Contract, Event, History, Isolation, Operation, Record, Step,
};
use sordini_jepsen::verdict::Verdict;

/// The producer of a story that has only one. It is idempotent.
pub const PRODUCER: u32 = 1;
/// Who scans.
pub const SCANNER: u32 = 99;

/// A history that grows by whole operations, unless one is begun and ended by itself.
pub struct Story {
    pub contracts: Vec<Contract>,
    pub events: Vec<Event>,
}

impl Story {
    /// Three replicas, two of which have to be in sync, of each of so many partitions.
    pub fn new(partitions: u32) -> Self {
        let contract =
            |at| Contract { replication_factor: 3, min_insync_replicas: 2, ..Contract::new("orders", at) };
        Self { contracts: (0..partitions).map(contract).collect(), events: Vec::new() }
    }

    fn push(&mut self, process: u32, op: Option<u64>, step: Step) -> u64 {
        let seq = self.events.last().map_or(0, |last| last.seq + 1);
        let op = op.unwrap_or(seq);
        self.events.push(Event { seq, at_us: 10 * seq, process, op, step });
        op
    }

    pub fn invoke(&mut self, process: u32, operation: Operation) -> u64 {
        self.push(process, None, Step::Invoke(operation))
    }

    pub fn end(&mut self, process: u32, op: u64, step: Step) {
        self.push(process, Some(op), step);
    }

    pub fn done(&mut self, process: u32, operation: Operation, answer: Answer) -> u64 {
        let op = self.invoke(process, operation);
        self.end(process, op, Step::Ok(answer));
        op
    }

    /// The producer's send to partition 0 is acknowledged by all.
    pub fn sent(&mut self, values: &[u64], base_offset: i64) -> u64 {
        self.done(PRODUCER, send(0, values, Acks::All), Answer::Sent { base_offset: Some(base_offset) })
    }

    /// A send to partition 0 of which nobody knows what became.
    pub fn sent_perhaps(&mut self, values: &[u64]) -> u64 {
        let op = self.invoke(PRODUCER, send(0, values, Acks::All));
        self.end(PRODUCER, op, Step::Info);
        op
    }

    /// A poll of partition 0.
    pub fn polled(&mut self, process: u32, from: i64, records: &[(i64, u64)]) -> u64 {
        self.polled_of(process, 0, from, records, None)
    }

    pub fn polled_of(
        &mut self,
        process: u32,
        partition: u32,
        from: i64,
        records: &[(i64, u64)],
        high_watermark: Option<i64>,
    ) -> u64 {
        self.done(process, poll(partition, from), polled(records, high_watermark, None))
    }

    /// A scan of partition 0 with one poll.
    pub fn scanned(&mut self, records: &[(i64, u64)]) -> u64 {
        let op = self.invoke(SCANNER, Operation::Scan { partition: 0, from: 0 });
        self.polled(SCANNER, 0, records);
        self.end(SCANNER, op, Step::Ok(Answer::Scanned));
        op
    }

    pub fn history(&self) -> History {
        history(&self.contracts, &self.events)
    }

    pub fn verdict(&self) -> Verdict {
        sordini_jepsen::check(&self.history())
    }

    /// Each finding: its kind, offset and value.
    pub fn found(&self) -> Vec<(Anomaly, Option<i64>, Option<u64>)> {
        self.verdict().findings.iter().map(|found| (found.anomaly, found.offset, found.value)).collect()
    }

    /// The kind of each finding, and why it is permitted.
    pub fn judged(&self) -> Vec<(Anomaly, Option<Permit>)> {
        self.verdict().findings.iter().map(|found| (found.anomaly, found.permitted)).collect()
    }
}

pub fn history(contracts: &[Contract], events: &[Event]) -> History {
    let mut history = History::new(contracts.to_vec());
    for event in events {
        history.push(event.clone()).expect("the story is well formed");
    }
    history
}

pub fn send(partition: u32, values: &[u64], acks: Acks) -> Operation {
    Operation::Send { partition, values: values.into(), acks, idempotent: acks == Acks::All }
}

pub fn poll(partition: u32, from: i64) -> Operation {
    Operation::Poll { partition, from, isolation: Isolation::ReadUncommitted }
}

pub fn polled(records: &[(i64, u64)], high_watermark: Option<i64>, log_start: Option<i64>) -> Answer {
    let records = records.iter().map(|&record| Record::from(record)).collect();
    Answer::Polled { records, high_watermark, log_start }
}

pub fn latest(partition: u32) -> Operation {
    Operation::ListOffsets { partition, at: At::Latest }
}
