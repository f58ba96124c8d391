//! What was really appended to a log, by whoever looks at the node's storage operations from outside.

use crate::disk::Disk;
use crate::plan::FaultKind;
use bytes::{Bytes, BytesMut};
use sordini_core::storage_op::{StorageOp, StoragePath};
use sordini_protocol::batch::{BatchError, BatchHeader, HEADER_LEN};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A batch as the node pushed it to the disk.
#[derive(Clone, Debug)]
pub struct TrueBatch {
    /// Offset of its first record.
    pub base_offset: i64,
    /// The offset after its last record.
    pub end_offset: i64,
    /// The file it was pushed to.
    pub file: Arc<str>,
    /// Where in the file it begins.
    pub position: u64,
    /// Its bytes, in the two pieces in which they were pushed.
    pub bytes: [Bytes; 2],
}

impl TrueBatch {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.bytes[0].len() + self.bytes[1].len()) as u64
    }

    /// Whether it has no bytes; it always has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where in its file it ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position + self.len()
    }

    /// Whether `bytes` are its bytes.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        let [first, second] = &self.bytes;
        bytes.len() == first.len() + second.len() && bytes.starts_with(first) && bytes.ends_with(second)
    }

    /// Whether `bytes` are the first of its bytes.
    #[must_use]
    pub fn begins_with(&self, bytes: &[u8]) -> bool {
        let [first, second] = &self.bytes;
        let (head, tail) = bytes.split_at(bytes.len().min(first.len()));
        first.starts_with(head) && second.starts_with(tail)
    }

    /// Its bytes in one piece.
    #[must_use]
    pub fn contiguous(&self) -> Bytes {
        let [first, second] = &self.bytes;
        if second.is_empty() {
            return first.clone();
        }
        let mut joined = BytesMut::with_capacity(first.len() + second.len());
        joined.extend_from_slice(first);
        joined.extend_from_slice(second);
        joined.freeze()
    }

    fn is_in(&self, disk: &Disk) -> bool {
        let contents = disk.contents(&self.file);
        contents.is_some_and(|contents| self.is(&contents.read(self.position, self.len())))
    }
}

/// The batches of an append.
pub(super) fn batches_of(
    file: &StoragePath,
    position: u64,
    bytes: &[Bytes; 2],
) -> Result<Vec<TrueBatch>, BatchError> {
    let [first, second] = bytes;
    let batch = |header: &BatchHeader, position, bytes| TrueBatch {
        base_offset: header.base_offset,
        end_offset: header.next_offset(),
        file: file.shared(),
        position,
        bytes,
    };
    // The common case: one batch, in one piece or with its patched header beside its untouched body.
    if first.len() >= HEADER_LEN {
        let header = BatchHeader::parse(first)?;
        if header.size() == first.len() + second.len() {
            return Ok(vec![batch(&header, position, bytes.clone())]);
        }
    }
    let mut rest = [&first[..], &second[..]].concat();
    let mut at = position;
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let header = BatchHeader::parse(&rest)?;
        if header.size() > rest.len() {
            return Err(BatchError::Truncated { available: rest.len(), needed: header.size() });
        }
        let after = rest.split_off(header.size());
        batches.push(batch(&header, at, [Bytes::from(rest), Bytes::new()]));
        at += header.size() as u64;
        rest = after;
    }
    Ok(batches)
}

/// The truth about one log.
#[derive(Clone, Debug, Default)]
pub struct LogTruth {
    batches: Vec<TrueBatch>,
    /// How many of them, from the first, are known to have taken effect on the disk.
    applied: usize,
    /// How many of them, from the first, are known to be durable.
    durable: usize,
    /// The offset after the last record that was acknowledged with acks 1 or all.
    acknowledged_end: i64,
    /// Where the log ended when the node last recovered it.
    recovered_end: i64,
    /// After a crash, until the node has recovered the log: what must be there.
    must_keep: Option<MustKeep>,
    /// Lengths that segment files had at clean stops, or as the last of a log after a crash, which may have come when the
    /// segment had been closed: there an additional time index entry is in order.
    pub(super) interruptions: BTreeSet<(Arc<str>, u64)>,
}

/// What must be found in a log after one or several crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MustKeep {
    /// Below this offset everything is durable.
    pub(super) durable_end: i64,
    /// Below this offset everything must be there.
    pub(super) end: i64,
    /// What took the rest, for the sentence.
    pub(super) kind: FaultKind,
}

impl LogTruth {
    /// The batches, in the order of their offsets.
    #[must_use]
    pub fn batches(&self) -> &[TrueBatch] {
        &self.batches
    }

    /// The offset after the last record.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.end_offset)
    }

    /// The offset after the last record that was acknowledged.
    #[must_use]
    pub const fn acknowledged_end(&self) -> i64 {
        self.acknowledged_end
    }

    /// Where the log ended when the node last recovered it; 0 in its first life.
    pub(super) const fn recovered_end(&self) -> i64 {
        self.recovered_end
    }

    pub(super) const fn acknowledge(&mut self, end: i64) {
        if end > self.acknowledged_end {
            self.acknowledged_end = end;
        }
    }

    /// The batch that holds an offset, with its index.
    pub(super) fn batch_at(&self, offset: i64) -> Option<(usize, &TrueBatch)> {
        let index = self.batches.partition_point(|batch| batch.end_offset <= offset);
        Some((index, self.batches.get(index).filter(|batch| batch.base_offset <= offset)?))
    }

    pub(super) fn push(&mut self, batch: TrueBatch) -> Result<(), String> {
        if batch.base_offset != self.end() {
            return Err(format!(
                "a batch of offsets {} to {} was appended to a log that ends at {}",
                batch.base_offset,
                batch.end_offset,
                self.end()
            ));
        }
        self.batches.push(batch);
        Ok(())
    }

    /// The offset below which everything has taken effect on the disk.
    pub(super) fn applied_end(&mut self, disk: &Disk) -> i64 {
        while let Some(batch) = self.batches.get(self.applied)
            && disk.contents(&batch.file).is_some_and(|contents| contents.len() >= batch.end())
        {
            self.applied += 1;
        }
        self.end_of(self.applied)
    }

    /// The offset below which everything is durable.
    pub(super) fn durable_end(&mut self, disk: &Disk) -> i64 {
        while let Some(batch) = self.batches.get(self.durable)
            && disk.durable_len(&batch.file) >= batch.end()
        {
            self.durable += 1;
        }
        self.end_of(self.durable)
    }

    fn end_of(&self, count: usize) -> i64 {
        count.checked_sub(1).map_or(0, |last| self.batches[last].end_offset)
    }

    /// Whether the log has not been looked at since a crash.
    pub(super) const fn is_unverified(&self) -> bool {
        self.must_keep.is_some()
    }

    pub(super) const fn must_keep(&self) -> Option<MustKeep> {
        self.must_keep
    }

    /// Takes note of what the crash that comes now may not take. A crash during recovery may not take what the first
    /// crash left durable, whatever the node did to its files in between.
    pub(super) fn before_crash(&mut self, kind: FaultKind, disk: &Disk) {
        let (applied_end, durable_end) = match self.must_keep {
            None => (self.applied_end(disk), self.durable_end(disk)),
            Some(before) => {
                // What the last crash left has to be looked up byte by byte: lengths prove nothing any more.
                let is_there = |batch: &&TrueBatch| batch.is_in(disk);
                let is_durable =
                    |batch: &&TrueBatch| disk.durable_len(&batch.file) >= batch.end() && batch.is_in(disk);
                let applied = self.batches.iter().take_while(is_there).last();
                let durable = self.batches.iter().take_while(is_durable).last();
                let end = |batch: Option<&TrueBatch>| batch.map_or(0, |batch| batch.end_offset);
                (end(applied), end(durable).max(before.durable_end))
            }
        };
        let end = match kind {
            FaultKind::PowerLoss => durable_end,
            FaultKind::Kill | FaultKind::Stop => applied_end.max(durable_end),
        };
        self.must_keep = Some(MustKeep { durable_end, end, kind });
    }

    /// What the crash may take need not be there, acknowledged or not.
    pub(super) fn forget_acknowledged_losses(&mut self) {
        let end = self.must_keep.map_or(i64::MAX, |must_keep| must_keep.end);
        self.acknowledged_end = self.acknowledged_end.min(end);
    }

    /// The log was recovered with its first `count` batches: the rest is gone, and its offsets are free.
    pub(super) fn recovered(&mut self, count: usize, disk: &Disk) {
        self.batches.truncate(count);
        self.must_keep = None;
        self.acknowledged_end = self.acknowledged_end.min(self.end());
        self.applied = count;
        self.durable = 0;
        self.durable_end(disk);
        self.recovered_end = self.end();
        self.note_interruption();
    }

    /// Remembers where the last segment ends.
    pub(super) fn note_interruption(&mut self) {
        if let Some(last) = self.batches.last() {
            self.interruptions.insert((Arc::clone(&last.file), last.end()));
        }
    }
}

/// How long a file is once the truncations that are under way have taken effect.
pub(super) fn len_after_truncations(disk: &Disk, file: &str) -> u64 {
    let len = disk.contents(file).map_or(0, crate::disk::Contents::len);
    let cuts = disk.pending().filter_map(|op| {
        if let StorageOp::Truncate { file: cut, len } = op {
            (cut.as_str() == file).then_some(*len)
        } else {
            None
        }
    });
    cuts.fold(len, u64::min)
}

/// Whether a file is about to be removed or renamed.
pub(super) fn is_going(disk: &Disk, file: &str) -> bool {
    disk.pending().any(|op| {
        matches!(op, StorageOp::Remove { .. } | StorageOp::Rename { .. })
            && file
                .strip_prefix(op.path().as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}
