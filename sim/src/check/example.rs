//! A hand-made life of a node, for the tests of the checks: whoever writes one says which storage operations the node
//! pushes, and what befalls it.

use super::{Checks, LogLimits, Violation};
use crate::disk::{Disk, Due};
use crate::field::Field;
use crate::plan::{CrashKind, DiskPlan, Plan, Range};
use bytes::Bytes;
use sordini_core::ids::{LeaderEpoch, Offset, TopicIdPartition};
use sordini_core::node::PartitionView;
use sordini_core::storage_op::{StorageOp, StoragePath, StorageToken};
use sordini_protocol::batch::{BatchBuilder, BatchParams};
use sordini_protocol::wire::Uuid;
use std::collections::VecDeque;

/// The only log.
pub(super) const DIR: &str = "0/orders-0";

/// A batch of one record.
pub(super) fn batch(params: BatchParams, timestamp: i64, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(params);
    builder.append(timestamp, None, Some(value.as_bytes()), &[]);
    builder.build()
}

/// The params of a batch of leader epoch 1 at an offset.
pub(super) fn at(base_offset: i64) -> BatchParams {
    BatchParams { base_offset, leader_epoch: 1, ..BatchParams::default() }
}

/// A file of the log.
pub(super) fn file(name: &str) -> StoragePath {
    StoragePath::new(&format!("{DIR}/{name}"))
}

/// The log file of a segment.
pub(super) fn segment(base: i64) -> StoragePath {
    file(&format!("{base:020}.log"))
}

/// A disk, what is under way on it, and the checks that watch.
pub(super) struct Life {
    pub(super) checks: Checks,
    pub(super) disk: Disk,
    under_way: VecDeque<Due>,
    now: u64,
}

impl Life {
    /// A node with a topic "orders" of one partition and nothing in it.
    pub(super) fn begin() -> Self {
        let mut plan = Plan::draw(1);
        plan.topics.truncate(1);
        plan.topics[0].name = "orders".to_owned();
        plan.topics[0].partitions = 1;
        plan.topics[0].flush_messages = None;
        // No log here is long enough for an index entry.
        plan.topics[0].index_interval_bytes = 1 << 20;
        let range = Range { low: 1, high: 1 };
        let disk = DiskPlan { write_us: range, read_us: range, sync_us: range, answer_us: range };
        let mut checks = Checks::new(&plan, 0);
        checks.on_clock(100);
        Self { checks, disk: Disk::new(Field::new(1), disk, None), under_way: VecDeque::new(), now: 0 }
    }

    /// The same with a topic whose segments may be deleted.
    pub(super) fn with_limits(limits: LogLimits) -> Self {
        let mut life = Self::begin();
        life.checks.partitions.get_mut(&(0, 0)).expect("the topic is there").limits = limits;
        life
    }

    /// The node pushes an operation, which stays under way.
    pub(super) fn push(&mut self, op: StorageOp) -> Result<(), Violation> {
        self.checks.on_storage_op(&op, &self.disk)?;
        let due = self.disk.submit(self.now, StorageToken { owner: 0, sequence: 0 }, op);
        self.under_way.push_back(due);
        Ok(())
    }

    /// The node appends to the end of a file, which stays under way.
    pub(super) fn append(&mut self, file: &StoragePath, bytes: Bytes) -> Result<(), Violation> {
        let position = self.disk.contents(file.as_str()).map_or(0, crate::disk::Contents::len);
        self.push(StorageOp::Append { file: file.clone(), position, bytes: [bytes, Bytes::new()] })
    }

    /// The node appends to the end of a file, and that happens and is made durable.
    pub(super) fn write(&mut self, file: &StoragePath, bytes: Bytes) -> Result<(), Violation> {
        self.append(file, bytes)?;
        self.settle();
        self.push(StorageOp::Sync { file: file.clone() })?;
        self.settle();
        Ok(())
    }

    /// The node replaces a file, and that happens.
    pub(super) fn replace(&mut self, file: &StoragePath, bytes: impl Into<Bytes>) -> Result<(), Violation> {
        self.push(StorageOp::Replace { file: file.clone(), bytes: bytes.into() })?;
        self.settle();
        Ok(())
    }

    /// The node gives a log file the name of one that is deleted, and that happens.
    pub(super) fn delete(&mut self, base: i64) -> Result<(), Violation> {
        let (from, to) = (segment(base), file(&format!("{base:020}.log.deleted")));
        self.push(StorageOp::Rename { from, to })?;
        self.settle();
        Ok(())
    }

    /// All that is under way happens.
    pub(super) fn settle(&mut self) {
        for due in std::mem::take(&mut self.under_way) {
            self.now = self.now.max(due.at);
            let _ = self.disk.complete(due.number, due.at, 0);
        }
    }

    /// The power is lost, and a node begins to look at what is left. Of the first segment recovery leaves what was durable.
    pub(super) fn lose_power(&mut self) -> Result<(), Violation> {
        let durable = self.disk.durable_len(segment(0).as_str());
        self.checks.before_crash(CrashKind::PowerLoss, &self.disk)?;
        self.under_way.clear();
        self.disk.lose_power(self.now, 0);
        self.now += 1;
        self.push(StorageOp::List { dir: StoragePath::new("0") })?;
        if self.disk.contents(segment(0).as_str()).is_some_and(|contents| contents.len() > durable) {
            self.push(StorageOp::Truncate { file: segment(0), len: durable })?;
        }
        self.settle();
        Ok(())
    }

    /// The node says where its log starts, and how far readers may see.
    pub(super) fn view(&mut self, log_start: i64, high_watermark: i64) -> Result<(), Violation> {
        self.view_with(Uuid::ZERO, log_start, high_watermark)
    }

    /// The node says of which topic the log is, and nothing else that is new.
    pub(super) fn view_of(&mut self, topic: Uuid) -> Result<(), Violation> {
        self.view_with(topic, 0, 0)
    }

    fn view_with(&mut self, topic: Uuid, log_start: i64, high_watermark: i64) -> Result<(), Violation> {
        let end = Offset(self.checks.logs[DIR].end());
        let flushed_end = Offset(self.checks.logs.get_mut(DIR).expect("it is there").durable_end(&self.disk));
        let view = PartitionView {
            leads: None,
            leader_epoch: LeaderEpoch(0),
            topic: "orders",
            id: TopicIdPartition { topic, partition: 0 },
            log_start: Offset(log_start),
            high_watermark: Offset(high_watermark),
            written_end: end,
            flushed_end,
            log_end: end,
            dir: DIR,
        };
        self.checks.on_view(std::iter::once(view), &self.disk)
    }
}

/// Asserts that something is a violation of a property, with these words in its sentence.
#[track_caller]
pub(super) fn assert_violates(result: Result<(), Violation>, property: &str, words: &str) {
    let violation = result.expect_err("this must not be taken for right");
    assert_eq!(violation.property, property, "{violation}");
    assert!(violation.sentence.contains(words), "{violation}");
}
