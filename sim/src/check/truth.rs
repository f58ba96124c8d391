//! What was really appended to a log, by whoever looks at the node's storage operations from outside.

use super::batches::Batches;
use super::checkpoint_files::{PARTITION_METADATA, topic_id};
use super::unique_batch::LostBatches;
use crate::disk::{Contents, Disk};
use crate::plan::CrashKind;
use bytes::{Bytes, BytesMut};
use sordini_core::node::PartitionView;
use sordini_core::storage_op::{StorageOp, StoragePath};
use sordini_protocol::batch::{BatchError, BatchHeader, HEADER_LEN};
use sordini_protocol::wire::Uuid;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Its header.
    pub header: BatchHeader,
    /// When, by the node's wall clock in milliseconds.
    pub appended_ms: i64,
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

    /// Whether its records are those of a batch that was sent. The header is the broker's to change.
    #[must_use]
    pub fn holds(&self, sent: &[u8]) -> bool {
        let stored = self.contiguous();
        stored.len() == sent.len() && stored.get(HEADER_LEN..) == sent.get(HEADER_LEN..)
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

    pub(super) fn is_in(&self, disk: &Disk) -> bool {
        disk.contents(&self.file).is_some_and(|contents| self.is_at(self.position, contents))
    }

    /// Whether its bytes are what lies at `position`.
    pub(super) fn is_at(&self, position: u64, contents: &Contents) -> bool {
        let [first, second] = &self.bytes;
        contents.holds(position, first) && contents.holds(position + first.len() as u64, second)
    }
}

/// The batches of an append.
pub(super) fn batches_of(
    file: &StoragePath,
    position: u64,
    bytes: &[Bytes; 2],
    wall_ms: i64,
) -> Result<Vec<TrueBatch>, BatchError> {
    let [first, second] = bytes;
    let batch = |header: &BatchHeader, position, bytes| TrueBatch {
        base_offset: header.base_offset,
        end_offset: header.next_offset(),
        file: file.shared(),
        position,
        bytes,
        header: *header,
        appended_ms: wall_ms,
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
    /// All that was appended and not lost, what was deleted since at the log's beginning included.
    batches: Batches,
    /// What was cut off the end, as long as nothing was appended there: until the cut is durable a crash may bring it back.
    cut_off: Vec<TrueBatch>,
    /// The log as it was before all of it was given up, as long as nothing was appended since: until its files are gone a crash
    /// may bring it back.
    given_up: Option<Box<Self>>,
    /// The topic that it is of, as far as anybody has said so.
    topic_id: Option<Uuid>,
    /// The offset at which `batches` begin.
    origin: i64,
    /// How many batches, from the first, lie in segments that the node has deleted.
    deleted: usize,
    /// How many of them, from the first, are known to have taken effect on the disk.
    applied: usize,
    /// How many of them, from the first, are known to be durable.
    durable: usize,
    /// The offset after the last record that was acknowledged with acks 1 or all.
    acknowledged_end: i64,
    /// Where the log ended when the node last recovered it, or before what of that was cut off since.
    recovered_end: i64,
    /// Where the log ended when it was last cut, and so opened anew: of the producers before that the last batches alone are known.
    reopened_end: i64,
    /// Where the log's files began when the node recovered it: what was before, recovery could not read.
    recovered_starts: BTreeSet<i64>,
    /// The log may start here at the latest: so far it was deleted, or somebody asked for it.
    start_limit: i64,
    /// Where the log starts, in the words of the node that lives.
    pub(super) log_start: Option<i64>,
    /// Where the high watermark is, in the words of the node that lives.
    pub(super) high_watermark: Option<i64>,
    /// The ends of the log in the last words of the node that lives: start, high watermark, written, flushed and log end.
    seen: Option<[i64; 5]>,
    /// The offset from which on nothing counts as written, because an append there failed.
    failed_from: Option<i64>,
    /// What of it the disk has damaged, from the start of a process until it has recovered the log.
    damage: Option<Damage>,
    /// After a crash, until the node has recovered the log: what must be there.
    must_keep: Option<MustKeep>,
    /// Batches that a crash took.
    pub(super) lost: LostBatches,
    /// Whether the power was lost since the node last recovered it.
    was_without_power: bool,
    /// Whether a loss of power ever took what lay below the start of the log, and with it what was known of its producers.
    has_forgotten_producers: bool,
    /// Whether a loss of power ever took what had been written.
    has_lost_written: bool,
    /// The log's directory, if the one of an earlier log of that name was there when this one began, and was about to
    /// be renamed: until that has happened nothing of this log can be on the disk.
    behind: Option<Arc<str>>,
    /// The name that the log's directory had, and the one that it got.
    moved: Option<(Arc<str>, Arc<str>)>,
    /// Lengths that segment files had at clean stops, or as the last of a log after a crash, which may have come when the
    /// segment had been closed: there an additional time index entry is in order.
    pub(super) interruptions: BTreeSet<(Arc<str>, u64)>,
    /// Files that were cut under way.
    cut_files: BTreeSet<Arc<str>>,
    /// What of the files was compared with the batches at the last recovery, and found to be these.
    pub(super) compared: Compared,
    /// Snapshots of the producers' state that were compared with the batches and found right: the stamp and the length of each
    /// file at that time.
    pub(super) right_snapshots: BTreeMap<Arc<str>, (u64, u64)>,
}

/// Parts of segment files that were compared with the batches of a log, byte by byte, by file.
pub(super) type Compared = BTreeMap<Arc<str>, ComparedFile>;

/// The first part of a segment file, which was compared with batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ComparedFile {
    /// The stamp of the file's contents at that time.
    pub(super) stamp: u64,
    /// How much of the file it was.
    pub(super) len: u64,
    /// The first of the batches, by index.
    pub(super) first: usize,
    /// How many batches lie before the end of that part.
    pub(super) count: usize,
}

/// What must be found in a log after one or several crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MustKeep {
    /// Below this offset everything is durable.
    pub(super) durable_end: i64,
    /// Below this offset everything must be there.
    pub(super) end: i64,
    /// What took the rest, for the sentence.
    pub(super) kind: CrashKind,
}

/// What a fault beyond the contract has made of a log, before a process looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// The batches, by index, that are not on the disk as they were written.
    pub(super) batches: BTreeSet<usize>,
    /// Base offset of the first segment that the process looks through; it takes those before for what they should be.
    pub(super) looked_through_from: i64,
    /// Whether the disk was damaged elsewhere than in closed segments too: a node that finds an index to be wrong, or pages
    /// that look clean and are not, may doubt everything.
    pub(super) is_deep: bool,
}

/// What the files of a log hold, in terms of its truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Base offset of the first segment.
    pub(super) first_base: i64,
    /// How many batches of the truth lie wholly before it.
    pub(super) deleted: usize,
    /// How many batches of the truth lie before the end of what was found.
    pub(super) count: usize,
    /// The offset after the last record.
    pub(super) end: i64,
}

impl LogTruth {
    /// A log that begins. `dir` may still be that of an earlier one.
    pub(super) fn begin(dir: &Arc<str>, disk: &Disk) -> Self {
        let behind = is_going(disk, dir).then(|| Arc::clone(dir));
        Self { behind, topic_id: topic_id_to_be(dir, disk), ..Self::default() }
    }

    /// Whether it is of the topic of an id, or may be, since nobody has said of which it is.
    #[must_use]
    pub fn is_of(&self, topic_id: Uuid) -> bool {
        self.topic_id.is_none_or(|it| it == topic_id)
    }

    /// The topic that it is of, if anybody has said so.
    #[must_use]
    pub const fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// Somebody says of which topic it is.
    pub(super) const fn note_topic(&mut self, topic_id: Uuid) {
        self.topic_id = Some(topic_id);
    }

    /// The batches, in the order of their offsets; those of deleted segments are among them.
    #[must_use]
    pub fn batches(&self) -> &[TrueBatch] {
        &self.batches
    }

    /// Where each leader epoch began that has written something.
    pub(super) fn epochs(&self) -> &[(i32, i64)] {
        self.batches.epochs()
    }

    /// The batches of the segments that were not deleted.
    pub(super) fn kept(&self) -> &[TrueBatch] {
        &self.batches[self.deleted..]
    }

    /// The offset after the last record.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.end_of(self.batches.len())
    }

    /// Base offset of the first segment that was not deleted.
    #[must_use]
    pub fn first_base(&self) -> i64 {
        self.end_of(self.deleted)
    }

    /// The offset at which the log may start at the latest.
    pub(super) const fn start_limit(&self) -> i64 {
        self.start_limit
    }

    /// Whether a loss of power ever took something of it.
    #[must_use]
    pub const fn has_lost_written(&self) -> bool {
        self.has_lost_written
    }

    /// Whether a loss of power ever took what was known of its producers.
    #[must_use]
    pub const fn has_forgotten_producers(&self) -> bool {
        self.has_forgotten_producers
    }

    /// Whether a recovery began between an offset and another, and could not read what was before the first.
    pub(super) fn is_forgotten_between(&self, end: i64, base: i64) -> bool {
        self.recovered_starts.range(end..).next().is_some_and(|start| *start <= base)
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

    /// Where the log ended when the node last opened it, to recover or to cut it; 0 before it has.
    pub(super) fn opened_end(&self) -> i64 {
        self.recovered_end.max(self.reopened_end)
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
        self.cut_off.clear();
        self.given_up = None;
        self.batches.push(batch);
        Ok(())
    }

    /// Whether it was cut, and nothing was appended since.
    pub(super) fn was_just_cut(&self) -> bool {
        !self.cut_off.is_empty()
    }

    /// A file was cut to a length by who knows better than this log what belongs there.
    pub(super) fn cut(&mut self, file: &str, len: u64) {
        let is_cut = |batch: &TrueBatch| *batch.file == *file && batch.end() > len;
        let Some(first) = self.batches.iter().position(is_cut) else { return };
        // Of several files the last is cut first.
        let mut cut_off = self.batches.split_off(first);
        self.right_snapshots.clear();
        cut_off.append(&mut self.cut_off);
        self.cut_off = cut_off;
        self.deleted = self.deleted.min(first);
        self.applied = self.applied.min(first);
        self.durable = self.durable.min(first);
        // Should the log grow to the same end again, it is not what was recovered.
        self.recovered_end = self.recovered_end.min(self.end() - 1);
        self.reopened_end = self.end();
        self.acknowledged_end = self.acknowledged_end.min(self.end());
        self.compared.remove(file);
        self.seen = None;
        self.cut_files.insert(Arc::from(file));
        self.note_interruption();
    }

    /// All of it was given up, and it begins at `base`.
    pub(super) fn begin_anew(&mut self, base: i64) {
        let must_keep = self.must_keep.map(|before| MustKeep { durable_end: base, end: base, ..before });
        let allowed = self.start_limit;
        let mut before = std::mem::take(self);
        // A log that was given up twice is that of the first time.
        let given_up = before.given_up.take().unwrap_or_else(|| Box::new(before));
        *self = Self {
            topic_id: given_up.topic_id,
            origin: base,
            // What may be missing stays so, where the first batch holds the start.
            start_limit: base.max(allowed),
            must_keep,
            lost: given_up.lost.clone(),
            was_without_power: given_up.was_without_power,
            has_lost_written: given_up.has_lost_written,
            has_forgotten_producers: given_up.has_forgotten_producers,
            interruptions: given_up.interruptions.clone(),
            given_up: Some(given_up),
            ..Self::default()
        };
    }

    /// A log that is to have everything that another has, of which it is given what lies from `base` on.
    pub(super) fn copy_of(of: &Self, base: i64) -> Self {
        let before = of.batches.iter().take_while(|batch| batch.end_offset <= base);
        let mut batches = Batches::default();
        batches.extend(before.cloned());
        let count = batches.len();
        Self {
            topic_id: of.topic_id,
            origin: if count == 0 { base } else { of.origin },
            batches,
            deleted: count,
            applied: count,
            durable: count,
            start_limit: of.start_limit,
            // Before it is whole, what was deleted before it began is not known to it.
            recovered_starts: of.recovered_starts.iter().copied().chain([base]).collect(),
            has_forgotten_producers: of.has_forgotten_producers,
            ..Self::default()
        }
    }

    /// What another log promised, this one keeps from here on.
    pub(super) fn take_promises(&mut self, of: &Self) {
        self.acknowledge(of.acknowledged_end);
        self.allow_start(of.start_limit);
        self.has_lost_written |= of.has_lost_written;
        self.has_forgotten_producers |= of.has_forgotten_producers;
        self.lost.add(of.lost.iter().cloned().collect());
        if let Some(must_keep) = &mut self.must_keep {
            must_keep.end = must_keep.end.max(of.acknowledged_end);
        }
    }

    /// Its directory gets another name.
    pub(super) fn move_to(&mut self, from: &str, to: &str) {
        let moved = |file: &Arc<str>| moved_name(file, from, to);
        self.moved = Some((Arc::from(from), Arc::from(to)));
        self.batches.rename_files(moved);
        for batch in &mut self.cut_off {
            batch.file = moved(&batch.file);
        }
        self.right_snapshots.clear();
        if let Some(given_up) = &mut self.given_up {
            given_up.move_to(from, to);
        }
        self.interruptions = self.interruptions.iter().map(|(file, len)| (moved(file), *len)).collect();
        self.cut_files = self.cut_files.iter().map(moved).collect();
        self.compared =
            std::mem::take(&mut self.compared).into_iter().map(|(file, it)| (moved(&file), it)).collect();
    }

    /// Whether batches that this log had were ever cut off a file.
    pub(super) fn was_cut(&self, file: &str) -> bool {
        self.cut_files.contains(file)
    }

    /// The segments below `base` are deleted.
    pub(super) fn delete_before(&mut self, base: i64) {
        self.deleted = self.batches.partition_point(|batch| batch.end_offset <= base);
        self.applied = self.applied.max(self.deleted);
        self.allow_start(base);
    }

    /// A segment goes, for whatever reason.
    pub(super) fn delete_file(&mut self, file: &str) {
        if let Some(last) = self.batches.iter().rev().find(|batch| *batch.file == *file) {
            self.delete_before(last.end_offset);
        }
    }

    /// Somebody may ask for the log to start at `offset`.
    pub(super) const fn allow_start(&mut self, offset: i64) {
        if offset > self.start_limit {
            self.start_limit = offset;
        }
    }

    /// The offset below which everything has taken effect on the disk.
    pub(super) fn applied_end(&mut self, disk: &Disk) -> i64 {
        while let Some(batch) = self.batches.get(self.applied)
            && disk.contents(&self.name_on(disk, &batch.file)).is_some_and(|it| it.len() >= batch.end())
            && self.failed_from.is_none_or(|failed| batch.base_offset < failed)
            && !self.is_behind(disk)
        {
            self.applied += 1;
        }
        self.end_of(self.applied)
    }

    /// The offset below which everything is durable, or deleted.
    pub(super) fn durable_end(&mut self, disk: &Disk) -> i64 {
        while let Some(batch) = self.batches.get(self.durable)
            && (disk.durable_len(&self.name_on(disk, &batch.file)) >= batch.end()
                || self.is_gone(self.durable, disk))
            && self.failed_from.is_none_or(|failed| batch.base_offset < failed)
            && !self.is_behind(disk)
        {
            self.durable += 1;
        }
        self.end_of(self.durable)
    }

    /// Whether its directory has not got the name yet that it is to have.
    pub(super) fn is_unnamed(&self, disk: &Disk) -> bool {
        self.moved.as_ref().is_some_and(|(_, to)| disk.paths_beneath(to).next().is_none())
    }

    /// The name that a file has on the disk, until the directory's has become the one it is to have.
    pub(super) fn name_on(&self, disk: &Disk, file: &Arc<str>) -> Arc<str> {
        let Some((from, to)) = self.moved.as_ref().filter(|_| disk.contents(file).is_none()) else {
            return Arc::clone(file);
        };
        moved_name(file, to, from)
    }

    /// Whether everything below an offset has taken effect on the disk, which is not asked for what is known.
    pub(super) fn is_applied(&mut self, offset: i64, disk: &Disk) -> bool {
        offset <= self.end_of(self.applied) || offset <= self.applied_end(disk)
    }

    /// Whether everything below an offset is durable, or deleted; the disk is not asked for what is known.
    pub(super) fn is_durable(&mut self, offset: i64, disk: &Disk) -> bool {
        offset <= self.end_of(self.durable) || offset <= self.durable_end(disk)
    }

    /// An append to `file` at `position` failed: it may have left any part of its bytes there, and what follows is not where
    /// it should be.
    pub(super) fn note_failed_append(&mut self, file: &str, position: u64) {
        let mut failed =
            self.batches.iter().filter(|batch| *batch.file == *file && batch.position >= position);
        if let Some(first) = failed.next() {
            let from = self.failed_from.map_or(first.base_offset, |at| at.min(first.base_offset));
            self.failed_from = Some(from);
        }
    }

    /// The high watermark, or, before the node has named one, what it cannot lie above.
    pub(super) fn high_watermark_bound(&mut self, disk: &Disk) -> i64 {
        let applied_end = self.applied_end(disk);
        self.high_watermark.map_or(applied_end, |high_watermark| high_watermark.min(applied_end))
    }

    /// Whether the segment of a batch was deleted, and the disk has it no more.
    fn is_gone(&self, index: usize, disk: &Disk) -> bool {
        index < self.deleted && disk.contents(&self.batches[index].file).is_none()
    }

    /// Whether the files under this log's name are those of an earlier one.
    fn is_behind(&mut self, disk: &Disk) -> bool {
        if self.behind.as_ref().is_some_and(|dir| !is_going(disk, dir)) {
            self.behind = None;
        }
        self.behind.is_some()
    }

    /// The offset after the first `count` batches.
    pub(super) fn end_of(&self, count: usize) -> i64 {
        count.checked_sub(1).map_or(self.origin, |last| self.batches[last].end_offset)
    }

    /// Whether the log has not been looked at since a crash.
    pub(super) const fn is_unverified(&self) -> bool {
        self.must_keep.is_some()
    }

    pub(super) const fn must_keep(&self) -> Option<MustKeep> {
        self.must_keep
    }

    /// A process is about to start on a disk that holds something else than what it took. Recovery looks through the segment
    /// that holds `recovery_point`, and what follows.
    pub(super) fn note_damage(&mut self, disk: &Disk, recovery_point: i64, is_deep: bool) {
        self.damage = Some(self.look_for_damage(disk, recovery_point, is_deep));
        let end = self.end();
        self.must_keep.get_or_insert(MustKeep { durable_end: end, end, kind: CrashKind::Stop });
    }

    /// What is not as it was written, of a log that a node looks through from its recovery point on.
    pub(super) fn look_for_damage(&self, disk: &Disk, recovery_point: i64, is_deep: bool) -> Damage {
        // A segment that was being deleted may be there still.
        let is_damaged = |index: &usize| {
            let batch = &self.batches[*index];
            (*index >= self.deleted || disk.contents(&batch.file).is_some()) && !batch.is_in(disk)
        };
        let damaged = (0..self.batches.len()).filter(is_damaged);
        let batches: BTreeSet<usize> = damaged.collect();
        // A segment may have gone with the power: then the one before it is the last there is.
        let is_doubted = |batch: &&TrueBatch| {
            batch.position == 0 && batch.base_offset <= recovery_point && disk.contents(&batch.file).is_some()
        };
        let doubted = self.batches.iter().rev().find(is_doubted);
        let looked_through_from = doubted.map_or(0, |batch| batch.base_offset);
        Damage { batches, looked_through_from, is_deep }
    }

    /// What was damaged before the process started that has just recovered the log.
    pub(super) const fn take_damage(&mut self) -> Option<Damage> {
        self.damage.take()
    }

    /// What the node said of the log is said by nobody any more.
    pub(super) const fn forget_views(&mut self) {
        (self.log_start, self.high_watermark, self.seen) = (None, None, None);
    }

    /// Whether a view is the last one that was looked at, and the log has not moved since.
    pub(super) fn is_seen(&self, view: &PartitionView<'_>) -> bool {
        self.seen == Some(ends_of(view))
            && view.log_end.0 == self.end()
            && view.log_start.0 >= self.first_base()
    }

    /// A view was looked at, and is true.
    pub(super) const fn note_seen(&mut self, view: &PartitionView<'_>) {
        self.seen = Some(ends_of(view));
    }

    /// Takes note of what the crash that comes now may not take. A crash during recovery may not take what the first
    /// crash left durable, whatever the node did to its files in between.
    pub(super) fn before_crash(&mut self, dir: &str, kind: CrashKind, disk: &Disk) {
        self.forget_views();
        self.was_without_power |= kind == CrashKind::PowerLoss;
        if let Some(mut given_up) = self.given_up.take() {
            given_up.batches.extend(given_up.cut_off.drain(..));
            // A disk that failed meanwhile may have kept it, and not have taken what was to be there instead.
            let first = format!("{dir}/{:020}.log", self.origin);
            let is_earlier = |path: &str| path.ends_with(".log") && path != first;
            if disk.contents(&first).is_none() || disk.paths_beneath(dir).any(is_earlier) {
                // Whatever is still there of it, none of it has to be.
                let end = given_up.first_base();
                *self = Self { must_keep: Some(MustKeep { durable_end: end, end, kind }), ..*given_up };
                return;
            }
        }
        let (applied_end, durable_end) = match self.must_keep {
            None => (self.applied_end(disk), self.durable_end(disk)),
            Some(before) => {
                // What the last crash left has to be looked up byte by byte: lengths prove nothing any more.
                let (applied, durable) = self.found_on(disk);
                (self.end_of(applied), self.end_of(durable).max(before.durable_end))
            }
        };
        let end = match kind {
            CrashKind::PowerLoss => durable_end,
            CrashKind::Kill | CrashKind::Stop => applied_end.max(durable_end),
        };
        self.must_keep = Some(MustKeep { durable_end, end, kind });
        self.batches.extend(self.cut_off.drain(..));
    }

    /// How many batches, from the first, are on the disk, or were deleted; and how many of these are durable.
    fn found_on(&self, disk: &Disk) -> (usize, usize) {
        let mut durable = None;
        let mut at = 0;
        while let Some(TrueBatch { file, .. }) = self.batches.get(at) {
            let in_file = self.batches[at..].iter().take_while(|batch| batch.file == *file).count();
            let contents = disk.contents(file);
            let durable_len = disk.durable_len(file);
            let compared = self
                .compared
                .get(file)
                .filter(|compared| contents.is_some_and(|contents| contents.stamp() == compared.stamp));
            for (index, batch) in (at..).zip(&self.batches[at..at + in_file]) {
                let is_gone = contents.is_none() && index < self.deleted;
                let was_compared =
                    |compared: &ComparedFile| (compared.first..compared.count).contains(&index);
                let is_there = is_gone
                    || compared.is_some_and(was_compared)
                    || contents.is_some_and(|contents| batch.is_at(batch.position, contents));
                if !is_gone && (!is_there || durable_len < batch.end()) {
                    durable.get_or_insert(index);
                }
                if !is_there {
                    return (index, durable.unwrap_or(index));
                }
            }
            at += in_file;
        }
        (at, durable.unwrap_or(at))
    }

    /// What the crash may take need not be there, acknowledged or not.
    pub(super) fn forget_acknowledged_losses(&mut self) {
        let end = self.must_keep.map_or(i64::MAX, |must_keep| must_keep.end);
        self.acknowledged_end = self.acknowledged_end.min(end);
    }

    /// The log was recovered with what was found of it: the rest is gone, and its offsets are free.
    pub(super) fn recovered(&mut self, found: Extent, compared: Compared, disk: &Disk) {
        let Extent { first_base, deleted, count, end } = found;
        self.compared = compared;
        self.seen = None;
        let was_without_power = std::mem::take(&mut self.was_without_power);
        self.has_lost_written |= was_without_power && count < self.batches.len();
        self.has_forgotten_producers |= was_without_power && first_base > self.first_base();
        self.lost.add(self.batches.split_off(count));
        self.right_snapshots.clear();
        if self.end_of(deleted) != first_base {
            // What was left lay below the start of the log, which begins there anew.
            self.batches = Batches::default();
            self.compared.clear();
            self.origin = first_base;
        }
        self.deleted = deleted.min(self.batches.len());
        self.must_keep = None;
        self.failed_from = None;
        self.acknowledged_end = self.acknowledged_end.min(end);
        self.applied = self.batches.len();
        self.durable = self.deleted;
        self.durable_end(disk);
        self.recovered_end = end;
        self.recovered_starts.insert(first_base);
        self.start_limit = self.start_limit.max(first_base).min(end);
        self.note_interruption();
    }

    /// Remembers where the last segment ends.
    pub(super) fn note_interruption(&mut self) {
        if let Some(last) = self.batches.last() {
            self.interruptions.insert((Arc::clone(&last.file), last.end()));
        }
    }
}

/// The name of a file of a directory that gets another name.
fn moved_name(file: &Arc<str>, from: &str, to: &str) -> Arc<str> {
    let rest = file.strip_prefix(from).filter(|rest| rest.starts_with('/'));
    rest.map_or_else(|| Arc::clone(file), |rest| Arc::from(format!("{to}{rest}")))
}

const fn ends_of(view: &PartitionView<'_>) -> [i64; 5] {
    [view.log_start.0, view.high_watermark.0, view.written_end.0, view.flushed_end.0, view.log_end.0]
}

/// How long a file is once the truncations that are under way have taken effect.
pub(super) fn len_after_truncations(disk: &Disk, file: &str) -> u64 {
    let len = disk.contents(file).map_or(0, Contents::len);
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
    disk.pending().any(|op| goes_with(op, file))
}

/// Whether an operation takes a file away from its name.
fn goes_with(op: &StorageOp, file: &str) -> bool {
    matches!(op, StorageOp::Remove { .. } | StorageOp::Rename { .. })
        && file.strip_prefix(op.path().as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a file holds once all that is under way has taken effect.
pub(super) fn contents_to_be(disk: &Disk, file: &str) -> Option<Bytes> {
    let mut contents = disk.contents(file).map(Contents::all);
    for op in disk.pending() {
        if let StorageOp::Replace { file: replaced, bytes } = op
            && replaced.as_str() == file
        {
            contents = Some(bytes.clone());
        } else if goes_with(op, file) {
            contents = None;
        }
    }
    contents
}

/// The topic that the directory of a log is of by what it holds once all that is under way has taken effect.
pub(super) fn topic_id_to_be(dir: &str, disk: &Disk) -> Option<Uuid> {
    topic_id(&contents_to_be(disk, &format!("{dir}/{PARTITION_METADATA}"))?)
}

/// The base offset in a segment's name.
pub(super) fn segment_base(file: &str) -> i64 {
    let name = file.rsplit('/').next().and_then(|name| name.strip_suffix(".log"));
    name.and_then(|base| base.parse().ok()).unwrap_or(0)
}

/// The segments of a log once all that is under way has taken effect: base offset and log file, oldest first.
pub(super) fn segments_to_be(dir: &str, disk: &Disk) -> Vec<(i64, Arc<str>)> {
    let base_of = |file: &str| {
        let (parent, name) = file.rsplit_once('/')?;
        let base = name.strip_suffix(".log").filter(|_| parent == dir)?;
        base.parse::<i64>().ok()
    };
    let on_disk = disk.paths_beneath(dir).filter_map(|file| Some((base_of(file)?, Arc::from(file))));
    let mut segments: BTreeMap<i64, Arc<str>> = on_disk.collect();
    for op in disk.pending() {
        if let StorageOp::Rename { from, to } = op
            && to.as_str() == dir
        {
            // A directory comes with all that is in it or was to be written there before.
            let files = disk.paths_beneath(from.as_str()).map(Arc::from);
            let to_be = disk.pending().filter_map(|op| {
                if let StorageOp::Append { file, position: 0, .. } = op { Some(file.shared()) } else { None }
            });
            let moved = files.chain(to_be).map(|file: Arc<str>| moved_name(&file, from.as_str(), dir));
            segments.extend(moved.filter_map(|file| Some((base_of(&file)?, file))));
        } else if let StorageOp::Append { file, position: 0, .. } = op
            && let Some(base) = base_of(file.as_str())
        {
            segments.insert(base, file.shared());
        } else {
            segments.retain(|_, file| !goes_with(op, file));
        }
    }
    segments.into_iter().collect()
}
