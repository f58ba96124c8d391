//! The log of one replica: segments, what lies where, what is on its way to the disk and what is durable.
//!
//! Three ends, each at or below the one before: `next_offset` (given to the next record), `written_end` (below it the
//! disk has confirmed every byte to the process) and `flushed_end` (below it everything is durable; Kafka's recovery
//! point). A log knows nothing of leaders, replicas or clients.

use super::leader_epoch_cache::LeaderEpochCache;
use super::lookup::{BatchPlace, Found, Lookup, Next, Target};
use super::producer_state::ProducerStates;
use super::segment::{RollCause, RollLimits, Segment};
use crate::config::topic::TopicConfig;
use crate::ids::{LeaderEpoch, Offset};
use crate::mark::Mark;
use crate::museum::{Exhibit, Museum};
use crate::node::Output;
use crate::outbox::Outbox;
use crate::storage_op::{Completion, StorageFault, StorageOp, StoragePath, StorageToken};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::AppendableBatch;
use sordini_protocol::wire::StoredRange;

/// How many of the newest batches are remembered with their exact place, so that a consumer that keeps up is served
/// without reading an index.
const RECENT_BATCHES: usize = 256;

/// The sequence of operations that nobody waits for; only their failure matters.
const UNAWAITED: u64 = 0;

/// Names a search for an offset or a timestamp within its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LookupId(u64);

/// What a completed operation changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// `written_end` has risen.
    pub(crate) written: bool,
    /// A search is over.
    pub(crate) found: Option<(LookupId, Found)>,
    /// What [`PartitionLog::read`] asked for.
    pub(crate) read: Option<Result<Bytes, StorageFault>>,
}

/// What of a log's files comes at a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// These bytes, which begin with a batch.
    Bytes { file: StoragePath, len: u64 },
    /// The beginning of the segment with this base offset.
    NextSegment(Offset),
    /// Nothing yet.
    End,
    /// There is no such segment any more.
    Gone,
}

/// Where the records at an offset begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Here.
    Known(BatchPlace),
    /// Reads are under way; [`Progress::found`] will tell.
    Searching(LookupId),
    /// At the end of the log.
    End,
}

#[derive(Clone, Copy, Debug)]
struct RecentBatch {
    base: Offset,
    segment: Offset,
    position: u64,
    size: u64,
}

/// An append that the disk has not confirmed, or that waits to be durable.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    sequence: u64,
    base: Offset,
    end: Offset,
    appended: bool,
    /// `flush.messages`: the batch counts only while fewer records than this are not durable, as in Kafka, where the
    /// append itself flushes.
    flush_messages: i64,
}

/// A group of operations after which everything below `end` is durable.
#[derive(Clone, Copy, Debug)]
struct Flush {
    end: Offset,
    remaining: u32,
    /// Indexes are durable too, not the records alone.
    covers_indexes: bool,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    Append,
    Flush {
        number: u64,
    },
    /// A small file, or a name, beside the records: nobody waits for it but a clean stop.
    Aside,
    /// The file of the leader epochs.
    Epochs,
    /// The name of the segment after the first doomed one.
    Successor,
    /// The new name of the first doomed segment.
    Doomed,
    Lookup(LookupId),
    /// A stretch of another log's file.
    Read,
}

/// A segment that is given up.
#[derive(Clone, Debug)]
struct DoomedSegment {
    segment: Box<Segment>,
    /// Log file of the segment after it.
    successor: StoragePath,
    /// When its files may be removed.
    due: Instant,
}

/// A replica's log.
#[derive(Clone, Debug)]
pub(crate) struct PartitionLog {
    pub(super) dir: StoragePath,
    /// How the node finds this log when an operation completes.
    pub(super) owner: u32,
    /// Never empty; the last is the active one. Most logs have one, for which a node of the map has room ten times over.
    pub(super) segments: BTreeMap<Offset, Box<Segment>>,
    /// First offset that readers may have.
    pub(super) log_start: Offset,
    pub(super) next_offset: Offset,
    written_end: Offset,
    pub(super) flushed_end: Offset,
    /// Segments wholly below it need not be looked at after a crash, neither their records nor their indexes.
    pub(super) recovery_point: Offset,
    /// Records and indexes below it are durable; the file of the leader epochs may not be.
    durable_end: Offset,
    pub(super) epochs: LeaderEpochCache,
    pub(super) producers: ProducerStates,
    /// The newest batches, oldest first, without a gap up to `next_offset`; at least all at or above `written_end`.
    recent: VecDeque<RecentBatch>,
    /// Appends at or above `written_end`, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Flushes not yet complete, oldest first; their numbers begin at `first_flush`.
    flushes: VecDeque<Flush>,
    first_flush: u64,
    lookups: BTreeMap<LookupId, Lookup>,
    waits: BTreeMap<u64, Wait>,
    /// How many of them are [`Wait::Aside`] or [`Wait::Epochs`].
    aside: usize,
    /// How many of them are [`Wait::Epochs`].
    epoch_writes: usize,
    /// The log was cut, and not all of that is durable.
    is_cutting: bool,
    /// Where the log ended when it was opened: a snapshot of the producers may be named for that.
    opened_end: Offset,
    next_sequence: u64,
    /// Segments whose log file has not lost its name, oldest first. One goes after the other, and each when the name of
    /// the next is durable: whenever a crash comes, it leaves the end of the log and no hole.
    doomed: VecDeque<DoomedSegment>,
    /// Renamed files and when they may be removed.
    deletions: VecDeque<(Instant, StoragePath)>,
    /// When `flush.ms` asks for a flush; set while something is not durable.
    flush_due: Option<Instant>,
    /// This log's share of `segment.jitter.ms`, drawn once.
    jitter: u64,
    museum: Museum,
}

impl PartitionLog {
    /// A log in memory only, without a segment; the loader fills it.
    pub(super) fn empty(dir: StoragePath, owner: u32, jitter: u64, museum: Museum) -> Self {
        Self {
            dir,
            owner,
            segments: BTreeMap::new(),
            log_start: Offset(0),
            next_offset: Offset(0),
            written_end: Offset(0),
            flushed_end: Offset(0),
            recovery_point: Offset(0),
            durable_end: Offset(0),
            epochs: LeaderEpochCache::default(),
            producers: ProducerStates::default(),
            recent: VecDeque::new(),
            in_flight: VecDeque::new(),
            flushes: VecDeque::new(),
            first_flush: 0,
            lookups: BTreeMap::new(),
            waits: BTreeMap::new(),
            aside: 0,
            is_cutting: false,
            opened_end: Offset(0),
            epoch_writes: 0,
            next_sequence: UNAWAITED + 1,
            doomed: VecDeque::new(),
            deletions: VecDeque::new(),
            flush_due: None,
            jitter,
            museum,
        }
    }

    /// A new log in a directory that does not exist yet. Its first record will have the offset `begin`.
    pub(crate) fn create(
        dir: StoragePath,
        owner: u32,
        begin: Offset,
        jitter: u64,
        museum: Museum,
        now: Now,
        out: &mut Outbox,
    ) -> Self {
        let mut log = Self::empty(dir, owner, jitter, museum);
        for end in [
            &mut log.log_start,
            &mut log.next_offset,
            &mut log.written_end,
            &mut log.flushed_end,
            &mut log.recovery_point,
            &mut log.durable_end,
        ] {
            *end = begin;
        }
        log.add_segment(begin, now.wall_ms, out);
        log
    }

    pub(super) fn add_segment(&mut self, base: Offset, wall_ms: i64, out: &mut Outbox) {
        let segment = Segment::new(&self.dir, base, wall_ms);
        segment.create_files(self.unawaited(), out);
        self.segments.insert(base, Box::new(segment));
    }

    /// Settles the ends after loading: all that is there is written.
    pub(super) fn settle(&mut self) {
        self.written_end = self.next_offset;
        self.flushed_end = self.flushed_end.min(self.next_offset);
        self.recovery_point = self.flushed_end;
        self.durable_end = self.flushed_end;
        self.opened_end = self.next_offset;
    }

    /// Numbers operations on from where the loader stopped, so that no late completion of its is mistaken.
    pub(super) const fn continue_sequences(&mut self, from: u64) {
        self.next_sequence = from;
    }

    pub(crate) const fn dir(&self) -> &StoragePath {
        &self.dir
    }

    /// How the node finds this log when an operation completes.
    pub(crate) const fn owner(&self) -> u32 {
        self.owner
    }

    /// The files with the records, oldest first.
    pub(crate) fn files(&self) -> VecDeque<StoragePath> {
        self.segments.values().map(|segment| segment.log.clone()).collect()
    }

    /// Base offset of the first segment.
    pub(crate) fn first_base(&self) -> Offset {
        *self.segments.first_key_value().expect("a log has a segment").0
    }

    pub(crate) const fn log_start(&self) -> Offset {
        self.log_start
    }

    pub(crate) const fn next_offset(&self) -> Offset {
        self.next_offset
    }

    pub(crate) const fn written_end(&self) -> Offset {
        self.written_end
    }

    pub(crate) const fn flushed_end(&self) -> Offset {
        self.flushed_end
    }

    pub(crate) const fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    pub(crate) const fn epochs(&self) -> &LeaderEpochCache {
        &self.epochs
    }

    pub(crate) const fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    /// Forgets producers that are silent for long; answers whether there were any.
    pub(crate) fn expire_producers(&mut self, wall_ms: i64, expiration_ms: i64) -> bool {
        self.producers.expire(wall_ms, expiration_ms)
    }

    pub(crate) const fn museum(&self) -> Museum {
        self.museum
    }

    /// Bytes of all segments.
    pub(crate) fn size(&self) -> u64 {
        self.segments.values().map(|segment| segment.size).sum()
    }

    /// Base offset of the active segment.
    pub(crate) fn active_base(&self) -> Offset {
        self.active().base
    }

    fn active(&self) -> &Segment {
        self.segments.last_key_value().expect("a log has a segment").1
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_entry().expect("a log has a segment").into_mut()
    }

    pub(super) const fn unawaited(&self) -> StorageToken {
        StorageToken { owner: self.owner, sequence: UNAWAITED }
    }

    fn push(&mut self, wait: Wait, op: StorageOp, out: &mut Outbox) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.waits.insert(sequence, wait);
        out.push(Output::Storage { token: StorageToken { owner: self.owner, sequence }, op });
        sequence
    }

    fn push_aside(&mut self, op: StorageOp, out: &mut Outbox) {
        self.aside += 1;
        self.push(Wait::Aside, op, out);
    }

    /// Writes a small file of the log's directory.
    pub(crate) fn replace(&mut self, name: &str, text: String, out: &mut Outbox) {
        let file = self.dir.join(name);
        self.push_aside(StorageOp::Replace { file, bytes: Bytes::from(text.into_bytes()) }, out);
    }

    /// Notes that `epoch` writes from here on, also when it never does.
    pub(crate) fn assign_epoch(&mut self, epoch: LeaderEpoch, out: &mut Outbox) {
        if self.epochs.assign(epoch, self.next_offset) {
            out.sometimes_if(self.next_offset > self.log_start, Mark::LogEpochNew);
            self.write_epochs(out);
        }
    }

    pub(super) fn write_epochs(&mut self, out: &mut Outbox) {
        let (name, text) = ("leader-epoch-checkpoint", self.epochs.to_checkpoint());
        if self.museum.has(Exhibit::A43EpochFileNoSync) {
            let file = self.dir.join(name);
            self.push_aside(StorageOp::Remove { path: file.clone() }, out);
            let bytes = [Bytes::from(text.into_bytes()), Bytes::new()];
            self.push_aside(StorageOp::Append { file, position: 0, bytes }, out);
        } else {
            let op = StorageOp::Replace { file: self.dir.join(name), bytes: Bytes::from(text.into_bytes()) };
            self.aside += 1;
            self.epoch_writes += 1;
            self.push(Wait::Epochs, op, out);
        }
    }

    /// Appends a batch whose offsets begin at `next_offset`. It is written when `written_end` has passed it.
    pub(crate) fn append(
        &mut self,
        batch: AppendableBatch,
        config: &TopicConfig,
        now: Now,
        out: &mut Outbox,
    ) {
        let header = *batch.header();
        assert_eq!(header.base_offset, self.next_offset.0, "a batch goes to the end of the log");
        assert!(!self.is_cutting, "nothing is written behind a cut before that is durable");
        let size = header.size() as u64;
        let limits = RollLimits {
            segment_bytes: u64::from(config.segment_bytes),
            segment_ms: config.segment_ms,
            jitter_ms: self.jitter_ms(config),
            index_bytes: config.segment_index_bytes,
        };
        let counts_at_once = self.museum.has(Exhibit::A45MutateStateBeforeAppend);
        if counts_at_once {
            self.producers.apply(&header);
        }
        if let Some(cause) = self.active().roll_cause(&header, size, now.wall_ms, &limits) {
            match cause {
                RollCause::OffsetSpan => {}
                RollCause::Size => out.sometimes(Mark::LogRollSize),
                RollCause::Age => out.sometimes(Mark::LogRollAge),
                RollCause::IndexFull => out.sometimes(Mark::LogRollIndexFull),
            }
            self.roll(now, out);
        }
        if !counts_at_once {
            // The snapshot that a roll takes is of the producers before this batch.
            self.producers.apply(&header);
        }
        let interval = u64::from(config.index_interval_bytes);
        let unawaited = self.unawaited();
        let active = self.active_mut();
        let (segment, position, file) = (active.base, active.size, active.log.clone());
        active.on_append(&header, interval, unawaited, out);

        let (base, end) = (self.next_offset, Offset(header.last_offset()).plus(1));
        self.next_offset = end;
        if self.epochs.assign(LeaderEpoch(header.partition_leader_epoch), base) {
            self.write_epochs(out);
        }
        self.recent.push_back(RecentBatch { base, segment, position, size });
        self.trim_recent();

        let sequence =
            self.push(Wait::Append, StorageOp::Append { file, position, bytes: batch.into_bytes() }, out);
        let flush_messages = config.flush_messages;
        self.in_flight.push_back(InFlight { sequence, base, end, appended: false, flush_messages });
        if end.0 - self.flushing_end().0 >= flush_messages {
            self.flush(out);
        } else if config.flush_ms != i64::MAX && self.flush_due.is_none() {
            self.flush_due = Some(now.monotonic.plus_millis(config.flush_ms));
        }
    }

    fn jitter_ms(&self, config: &TopicConfig) -> i64 {
        let bound = u64::try_from(config.segment_jitter_ms.min(config.segment_ms)).unwrap_or(0);
        if bound == 0 { 0 } else { i64::try_from(self.jitter % bound).unwrap_or(0) }
    }

    /// Keeps [`RECENT_BATCHES`], and beyond them whatever is not yet written.
    fn trim_recent(&mut self) {
        while self.recent.len() > RECENT_BATCHES && self.recent[1].base <= self.written_end {
            self.recent.pop_front();
        }
    }

    /// Closes the active segment and begins another at the log's end.
    pub(crate) fn roll(&mut self, now: Now, out: &mut Outbox) {
        let base = self.next_offset;
        if self.active().size == 0 && self.active().base == base {
            return;
        }
        let unawaited = self.unawaited();
        self.active_mut().add_time_entry_if_due(unawaited, out);
        // Below the recovery point nothing is looked at after a crash, so it moves past a segment only when all that a
        // reader of it needs is durable: indexes and the producers' snapshot too.
        let number = self.first_flush + self.flushes.len() as u64;
        let files = self.files_from(self.flushing_end());
        let snapshot = self.snapshot_op();
        self.push_flush(number, files, Some(snapshot), out);
        self.add_segment(base, now.wall_ms, out);
    }

    fn snapshot_op(&self) -> StorageOp {
        let file = self.dir.join(&format!("{:020}.snapshot", self.next_offset.0));
        StorageOp::Replace { file, bytes: self.producers.to_snapshot() }
    }

    /// Where the newest flush under way will end.
    fn flushing_end(&self) -> Offset {
        self.flushes.back().map_or(self.flushed_end, |flush| flush.end)
    }

    /// Makes everything up to the log's end durable.
    pub(crate) fn flush(&mut self, out: &mut Outbox) {
        self.flush_due = None;
        if self.flushing_end() == self.next_offset {
            return;
        }
        let number = self.first_flush + self.flushes.len() as u64;
        let mut files = self.files_from(self.flushing_end());
        // The segment that holds the recovery point is read again after a crash and its indexes are made anew, so of
        // the active segment the records are enough.
        let active = self.active();
        files.retain(|file| *file != active.index && *file != active.time_index);
        self.push_flush(number, files, None, out);
    }

    /// The files of every segment that may hold something at or above `from`.
    fn files_from(&self, from: Offset) -> Vec<StoragePath> {
        // After a start the recovery point may lie some segments back.
        let first = self.segments.range(..=from).next_back().map_or(from, |(base, _)| *base);
        self.segments.range(first..).flat_map(|(_, segment)| segment.files()).cloned().collect()
    }

    /// Begins a flush of `files`. With the producers' `snapshot` it is one of whole segments, their indexes included.
    fn push_flush(
        &mut self,
        number: u64,
        files: Vec<StoragePath>,
        snapshot: Option<StorageOp>,
        out: &mut Outbox,
    ) {
        out.sometimes_if(!self.flushes.is_empty(), Mark::LogFlushOverlaps);
        let covers_indexes = snapshot.is_some();
        let mut remaining = 0;
        for op in files.into_iter().map(|file| StorageOp::Sync { file }).chain(snapshot) {
            self.push(Wait::Flush { number }, op, out);
            remaining += 1;
        }
        self.flushes.push_back(Flush { end: self.next_offset, remaining, covers_indexes });
    }

    /// Takes note of a completed operation. A fault means that the disk under this log cannot be trusted any more.
    pub(crate) fn on_completed(
        &mut self,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        out: &mut Outbox,
    ) -> Result<Progress, StorageFault> {
        let Some(wait) = self.waits.remove(&sequence) else {
            return match result {
                Ok(_) => Ok(Progress::default()),
                Err(_) if self.museum.has(Exhibit::A46AdvanceLogEndAfterIndex) => {
                    self.take_back_append();
                    Ok(Progress::default())
                }
                Err(fault) => Err(fault),
            };
        };
        let mut progress = Progress::default();
        match wait {
            Wait::Append => {
                if !self.museum.has(Exhibit::A47AppendAfterIoError) {
                    result?;
                }
                let at = self.in_flight.partition_point(|append| append.sequence < sequence);
                out.sometimes_if(at > 0 && !self.in_flight[0].appended, Mark::LogAppendOutOfOrder);
                self.in_flight[at].appended = true;
            }
            Wait::Flush { number } => {
                result?;
                let at = self.flush_index(number);
                self.flushes[at].remaining -= 1;
                out.sometimes_if(at > 0 && self.flushes[at].remaining == 0, Mark::LogFlushOutOfOrder);
                if self.museum.has(Exhibit::B06LaterFlushVouchesForEarlier) && self.flushes[at].remaining == 0
                {
                    let end = self.flushes[at].end;
                    self.flushes.iter_mut().take(at).for_each(|earlier| earlier.end = end);
                    self.flushed_end = self.flushed_end.max(end);
                }
            }
            Wait::Aside => {
                result?;
                self.aside -= 1;
            }
            Wait::Epochs => {
                result?;
                self.aside -= 1;
                self.epoch_writes -= 1;
            }
            Wait::Successor => {
                result?;
                let log = &self.doomed.front().expect("one is doomed").segment.log;
                let (from, to) = (log.clone(), deleted_name(log));
                self.push(Wait::Doomed, StorageOp::Rename { from, to }, out);
            }
            Wait::Doomed => {
                result?;
                self.on_log_renamed(out);
            }
            Wait::Read => {
                let bytes = result.map(|completion| match completion {
                    Completion::Bytes(bytes) => bytes,
                    Completion::Done | Completion::Entries(_) => unreachable!("a read brings bytes"),
                });
                progress.read = Some(bytes);
            }
            Wait::Lookup(id) => {
                let bytes = match result {
                    Ok(Completion::Bytes(bytes)) => bytes,
                    // The segment was deleted under the search: there is nothing in it.
                    Err(StorageFault::NotFound) => {
                        let segment = self.lookups.get(&id).map(Lookup::segment);
                        let is_deleted = segment.is_some_and(|base| !self.segments.contains_key(&base));
                        out.sometimes_if(is_deleted, Mark::LogLookupSegmentDeleted);
                        Bytes::new()
                    }
                    Ok(Completion::Done | Completion::Entries(_)) => unreachable!("a read brings bytes"),
                    Err(fault) => return Err(fault),
                };
                progress.found = self.resume_lookup(id, &bytes, out).map(|found| (id, found));
            }
        }
        while let Some(flush) = self.flushes.front().copied().filter(|flush| self.is_flushed(flush)) {
            assert!(self.flushed_end <= flush.end, "the recovery point does not fall");
            self.flushed_end = flush.end;
            // With the records alone durable the segment that ends here must still be looked at.
            let is_whole = flush.covers_indexes || self.museum.has(Exhibit::B02RecoveryPointIgnoresIndexes);
            let point = if is_whole { flush.end } else { flush.end.plus(-1) };
            self.durable_end = self.durable_end.max(point);
            out.sometimes_if(self.epoch_writes > 0, Mark::LogFlushBeforeEpochs);
            self.flushes.pop_front();
            self.first_flush += 1;
        }
        // What epochs began below it is read from their file alone, and that is the old one while a write is under way.
        if self.epoch_writes == 0 {
            self.recovery_point = self.recovery_point.max(self.durable_end);
        }
        while let Some(append) = self.in_flight.front() {
            let awaits_flush = append.end.0 - self.flushed_end.0 >= append.flush_messages
                && !self.museum.has(Exhibit::A49AckBeforeFlush);
            if !append.appended || awaits_flush {
                out.sometimes_if(append.appended, Mark::LogAppendAwaitsFlush);
                break;
            }
            self.written_end = append.end;
            progress.written = true;
            self.in_flight.pop_front();
        }
        if progress.written {
            self.trim_recent();
        }
        self.is_cutting &= self.aside > 0;
        self.assert_invariants();
        Ok(progress)
    }

    /// Whether all of a flush is answered, and all that it covers. The answers come in any order, and a sync that succeeded
    /// says nothing about an append before it that failed.
    fn is_flushed(&self, flush: &Flush) -> bool {
        let covered = || self.in_flight.iter().take_while(|append| append.end <= flush.end);
        flush.remaining == 0 && covered().all(|append| append.appended)
    }

    /// The wrong rule of [`Exhibit::A46AdvanceLogEndAfterIndex`]: the newest append did not happen, its offsets are free.
    fn take_back_append(&mut self) {
        let Some(append) = self.in_flight.pop_back() else { return };
        self.waits.remove(&append.sequence);
        self.recent.pop_back();
        self.next_offset = append.base;
        self.flushes.iter_mut().for_each(|flush| flush.end = flush.end.min(append.base));
    }

    fn flush_index(&self, number: u64) -> usize {
        usize::try_from(number - self.first_flush).expect("a flush under way is in the list")
    }

    fn resume_lookup(&mut self, id: LookupId, bytes: &Bytes, out: &mut Outbox) -> Option<Found> {
        let mut lookup = self.lookups.remove(&id)?;
        let next = match self.segments.get_mut(&lookup.segment()) {
            Some(segment) => lookup.resume(bytes, segment),
            None => Next::Done(Found::Nothing),
        };
        self.go_on(id, lookup, next, out)
    }

    fn go_on(&mut self, id: LookupId, lookup: Lookup, next: Next, out: &mut Outbox) -> Option<Found> {
        match next {
            Next::Read(op) => {
                self.lookups.insert(id, lookup);
                self.push(Wait::Lookup(id), op, out);
                None
            }
            Next::Done(found) => Some(found),
        }
    }

    /// Where the batch that holds `offset` begins. `max_bytes` is how far the reader will go from there, and `end` the offset
    /// it may go to.
    pub(crate) fn find(&mut self, offset: Offset, max_bytes: u64, end: Offset, out: &mut Outbox) -> Start {
        if offset >= self.next_offset {
            return Start::End;
        }
        if let Some(oldest) = self.recent.front()
            && offset >= oldest.base
        {
            let at = self.recent.partition_point(|batch| batch.base <= offset) - 1;
            let batch = self.recent[at];
            return Start::Known(BatchPlace {
                segment: batch.segment,
                base: batch.base,
                position: batch.position,
                size: batch.size,
                boundary: None,
            });
        }
        let segment = self.segments.range(..=offset).next_back().or_else(|| self.segments.first_key_value());
        let segment = segment.expect("a log has a segment").1;
        self.search(segment.base, Target::Offset { offset, max_bytes, end }, out)
    }

    fn search(&mut self, segment: Offset, target: Target, out: &mut Outbox) -> Start {
        let id = LookupId(self.next_sequence);
        let segment = &self.segments[&segment];
        let (lookup, next) = Lookup::begin(segment, target);
        match self.go_on(id, lookup, next, out) {
            None => {
                out.sometimes(Mark::LogLookupIndex);
                Start::Searching(id)
            }
            Some(Found::Batch(place)) => Start::Known(place),
            Some(Found::Record { .. } | Found::Nothing | Found::Damage) => Start::End,
        }
    }

    /// Goes on in the next segment when a search found nothing in one: a segment may end before the next begins.
    pub(crate) fn find_after(&mut self, nothing_in: Offset, target: Target, out: &mut Outbox) -> Start {
        match self.segments.range(nothing_in.plus(1)..).next() {
            Some((base, _)) => {
                let base = *base;
                self.search(base, target, out)
            }
            None => Start::End,
        }
    }

    /// Base offset of the segment after `segment`, or the log's end.
    pub(crate) fn segment_after(&self, segment: Offset) -> Offset {
        self.segments.range(segment.plus(1)..).next().map_or(self.next_offset, |(base, _)| *base)
    }

    /// Looks for the first record at or above `timestamp`. `Start::End` when no segment can hold one.
    pub(crate) fn find_timestamp(&mut self, timestamp: i64, out: &mut Outbox) -> (Start, Offset) {
        let segment =
            self.segments.values().find(|segment| segment.max_timestamp >= timestamp).map(|s| s.base);
        let Some(base) = segment else { return (Start::End, self.next_offset) };
        let target = Target::Timestamp { timestamp, from: self.log_start };
        (self.search(base, target, out), base)
    }

    /// The largest timestamp in the log, if any record has one.
    pub(crate) fn max_timestamp(&self) -> Option<i64> {
        self.segments.values().map(|segment| segment.max_timestamp).max().filter(|timestamp| *timestamp >= 0)
    }

    /// The stretch of file from `place` up to `end`, which lies between two batches: whole ones as far as they are known, not
    /// longer than `max_bytes` unless `at_least_one` batch is promised. `None` when there is nothing to send, or the segment
    /// is gone.
    pub(crate) fn slice(
        &self,
        place: BatchPlace,
        end: Offset,
        max_bytes: u64,
        at_least_one: bool,
    ) -> Option<StoredRange> {
        let segment = self.segments.get(&place.segment)?;
        if place.base >= end {
            return None;
        }
        let known_boundary = place.boundary.filter(|it| it.offset < end).map(|it| it.position);
        // Where memory does not tell what lies at `end`, a reader gets what is surely below it, and asks again.
        let stop = self.position_of(end, segment).or(known_boundary).unwrap_or(place.position + place.size);
        let available = stop.checked_sub(place.position).filter(|bytes| *bytes > 0)?;
        let mut len = available.min(max_bytes);
        if len < available {
            let limit = place.position + len;
            let boundary = self
                .boundary_at_or_below(limit, segment.base)
                .or_else(|| known_boundary.filter(|at| *at <= limit));
            if let Some(boundary) = boundary.filter(|at| *at > place.position) {
                len = boundary - place.position;
            }
        }
        if len < place.size {
            // Part of a batch is of no use to a reader.
            if !at_least_one {
                return None;
            }
            len = place.size.min(available);
        }
        Some(StoredRange {
            file: segment.log.shared(),
            position: place.position,
            len: u32::try_from(len).expect("a segment is smaller than 2^32 bytes"),
        })
    }

    /// The greatest known start of a batch in `segment` not above `limit`.
    fn boundary_at_or_below(&self, limit: u64, segment: Offset) -> Option<u64> {
        let from = self.recent.partition_point(|batch| batch.segment < segment);
        let upto = self.recent.partition_point(|batch| {
            batch.segment < segment || (batch.segment == segment && batch.position <= limit)
        });
        (upto > from).then(|| self.recent[upto - 1].position)
    }

    /// Whether memory tells where the records below `end` stop, for whoever reads in `segment`.
    pub(crate) fn tells_where(&self, end: Offset, segment: Offset) -> bool {
        self.segments.get(&segment).is_none_or(|segment| self.position_of(end, segment).is_some())
    }

    /// Where in the file of `segment` the records below `end` stop. `None` where `end` lies below what is remembered, as a
    /// high watermark does after a start, or while a follower in sync lags far behind.
    fn position_of(&self, end: Offset, segment: &Segment) -> Option<u64> {
        if end >= self.segment_after(segment.base) {
            return Some(segment.size);
        }
        let at = self.recent.partition_point(|batch| batch.base < end);
        let next = self.recent.get(at)?;
        if at == 0 && next.base > end {
            return None;
        }
        Some(if next.segment == segment.base { next.position } else { segment.size })
    }

    /// Moves the log's start up. Segments wholly below it are given up.
    pub(crate) fn advance_log_start(&mut self, to: Offset, config: &TopicConfig, now: Now, out: &mut Outbox) {
        if to <= self.log_start {
            return;
        }
        assert!(to <= self.next_offset, "the log starts within itself");
        self.log_start = to;
        out.sometimes_if(!self.segments.contains_key(&to), Mark::LogStartWithinSegment);
        let bases: Vec<Offset> = self.segments.keys().copied().collect();
        for pair in bases.windows(2) {
            if pair[1] <= to {
                out.sometimes(Mark::LogStartPassedSegment);
                self.delete_segment(pair[0], config, now, out);
            }
        }
        let epochs = self.epochs.len();
        if self.epochs.truncate_from_start(to) {
            out.sometimes_if(self.epochs.len() < epochs, Mark::LogEpochForgotten);
            self.write_epochs(out);
        }
    }

    /// Deletes what the retention limits allow, oldest first, and never at or above `high_watermark`. Answers how many
    /// segments went.
    pub(crate) fn apply_retention(
        &mut self,
        high_watermark: Offset,
        config: &TopicConfig,
        now: Now,
        out: &mut Outbox,
    ) -> usize {
        if !config.cleanup_policy.delete {
            return 0;
        }
        let mut excess = config.retention_bytes.map_or(0, |limit| self.size().saturating_sub(limit));
        let bases: Vec<Offset> = self.segments.keys().copied().collect();
        let mut doomed = 0;
        for (at, base) in bases.iter().enumerate() {
            let segment = &self.segments[base];
            let end = bases.get(at + 1).copied().unwrap_or(self.next_offset);
            let age = now.wall_ms.saturating_sub(segment.retention_timestamp());
            let is_old = config.retention_ms.is_some_and(|limit| age > limit);
            let is_surplus = segment.size > 0 && excess >= segment.size;
            let is_empty = segment.size == 0 && at + 1 == bases.len();
            let is_committed =
                end <= high_watermark || self.museum.has(Exhibit::A13RetentionIgnoresHighWatermark);
            if !is_committed || is_empty || !(is_old || is_surplus) {
                let is_held_back = !is_committed && !is_empty && (is_old || is_surplus);
                out.sometimes_if(is_held_back, Mark::LogRetentionUncommitted);
                break;
            }
            excess = excess.saturating_sub(segment.size);
            out.sometimes(if is_old { Mark::LogRetentionTime } else { Mark::LogRetentionSize });
            doomed = at + 1;
        }
        if doomed == 0 {
            return 0;
        }
        if doomed == bases.len() {
            out.sometimes(Mark::LogRetentionActive);
            self.roll(now, out);
        }
        let start = self.segments.keys().nth(doomed).copied().expect("the active segment stays");
        self.advance_log_start(start.max(self.log_start), config, now, out);
        doomed
    }

    fn delete_segment(&mut self, base: Offset, config: &TopicConfig, now: Now, out: &mut Outbox) {
        let segment = self.segments.remove(&base).expect("only known segments are deleted");
        let (_, successor) = self.segments.range(base..).next().expect("the active segment stays");
        while self.recent.front().is_some_and(|batch| batch.segment == base) {
            self.recent.pop_front();
        }
        let due = now.monotonic.plus_millis(config.file_delete_delay_ms);
        self.doomed.push_back(DoomedSegment { segment, successor: successor.log.clone(), due });
        if self.doomed.len() == 1 {
            self.sync_successor(out);
        }
    }

    fn sync_successor(&mut self, out: &mut Outbox) {
        if let Some(doomed) = self.doomed.front() {
            let file = doomed.successor.clone();
            self.push(Wait::Successor, StorageOp::Sync { file }, out);
        }
    }

    /// Without its log the other files of a segment mean nothing: they go in any order.
    fn on_log_renamed(&mut self, out: &mut Outbox) {
        let DoomedSegment { segment, due, .. } = self.doomed.pop_front().expect("one is doomed");
        for file in [&segment.index, &segment.time_index] {
            self.push_aside(StorageOp::Rename { from: file.clone(), to: deleted_name(file) }, out);
        }
        if segment.base > Offset(0) {
            let path = self.dir.join(&format!("{:020}.snapshot", segment.base.0));
            self.push_aside(StorageOp::Remove { path }, out);
        }
        self.deletions.extend(segment.files().map(|file| (due, deleted_name(file))));
        self.sync_successor(out);
    }

    /// Gives up everything from the batch at `place` on. Nothing may be under way, and nothing may be appended while
    /// [`Self::is_cutting`]: a segment that outlives the batches before it would follow others.
    pub(crate) fn truncate(&mut self, place: BatchPlace, out: &mut Outbox) {
        let to = place.base;
        assert!(self.is_idle(), "a log is cut while nothing is written to it");
        self.is_cutting = true;
        assert!(self.log_start <= to && to <= self.next_offset, "a log is cut within itself");
        out.sometimes(Mark::LogTruncated);
        while let Some(last) = self.segments.last_entry()
            && *last.key() > place.segment
        {
            out.sometimes(Mark::LogTruncatedSegment);
            let (base, segment) = last.remove_entry();
            for path in segment.files() {
                self.push_aside(StorageOp::Remove { path: path.clone() }, out);
            }
            let snapshot = self.dir.join(&format!("{:020}.snapshot", base.0));
            self.push_aside(StorageOp::Remove { path: snapshot }, out);
        }
        if self.opened_end > to {
            self.forget_snapshot_at_opened_end(out);
        }
        let active = self.active_mut();
        assert!(active.base == place.segment, "a batch lies in a segment that is there");
        let cuts = [
            (active.log.clone(), place.position),
            // An index may have fewer entries than it could: what lies behind the last is read from there on.
            (active.index.clone(), 0),
            (active.time_index.clone(), 0),
        ];
        active.truncate(place.position);
        for (file, len) in cuts {
            self.push_aside(StorageOp::Truncate { file: file.clone(), len }, out);
            // Before anything is appended: a batch in the place of one that was cut, of the same length, would be followed by
            // what followed that one, should a loss of power bring it back.
            self.push_aside(StorageOp::Sync { file }, out);
        }
        while self.recent.back().is_some_and(|batch| batch.base >= to) {
            self.recent.pop_back();
        }
        self.lookups.clear();
        self.next_offset = to;
        self.written_end = to;
        self.flushed_end = self.flushed_end.min(to);
        self.durable_end = self.durable_end.min(to);
        self.recovery_point = self.recovery_point.min(to);
        if self.epochs.truncate_from_end(to) {
            self.write_epochs(out);
        }
        self.assert_invariants();
    }

    /// Gives up everything and begins anew at `to`. No record may be on its way to the disk, and nothing may be appended while
    /// [`Self::is_cutting`]. Whenever a crash comes, it leaves the beginning of what there was.
    pub(crate) fn truncate_fully(&mut self, to: Offset, now: Now, out: &mut Outbox) {
        assert!(
            self.in_flight.is_empty() && self.flushes.is_empty() && self.doomed.is_empty(),
            "a log is cut while no record is on its way to the disk"
        );
        self.is_cutting = true;
        for (base, segment) in core::mem::take(&mut self.segments).into_iter().rev() {
            for path in segment.files() {
                self.push_aside(StorageOp::Remove { path: path.clone() }, out);
            }
            let snapshot = self.dir.join(&format!("{:020}.snapshot", base.0));
            self.push_aside(StorageOp::Remove { path: snapshot }, out);
        }
        for (_, path) in core::mem::take(&mut self.deletions) {
            // A segment that begins where one of these did is deleted by the same name.
            self.push_aside(StorageOp::Remove { path }, out);
        }
        self.forget_snapshot_at_opened_end(out);
        self.recent.clear();
        self.lookups.clear();
        self.producers = ProducerStates::default();
        self.log_start = to;
        self.next_offset = to;
        self.written_end = to;
        self.flushed_end = to;
        self.durable_end = to;
        // As long as a crash may bring back what was there, nothing of that is vouched for.
        self.recovery_point = self.recovery_point.min(to);
        if self.epochs.truncate_from_end(Offset(0)) {
            self.write_epochs(out);
        }
        self.add_segment(to, now.wall_ms, out);
        // Where the log begins is written in this name alone.
        let file = self.active().log.clone();
        self.push_aside(StorageOp::Sync { file }, out);
        self.assert_invariants();
    }

    /// A snapshot of the producers that a clean stop left would outlive the records that it is of.
    fn forget_snapshot_at_opened_end(&mut self, out: &mut Outbox) {
        let path = self.dir.join(&format!("{:020}.snapshot", self.opened_end.0));
        self.opened_end = Offset(0);
        self.push_aside(StorageOp::Remove { path }, out);
    }

    // ---- a log in the place of another ----

    /// What comes at a place in this log, for whoever copies it.
    pub(crate) fn stretch(&self, segment: Offset, position: u64) -> Stretch {
        let Some(at) = self.segments.get(&segment) else { return Stretch::Gone };
        if position < at.size {
            return Stretch::Bytes { file: at.log.clone(), len: at.size - position };
        }
        let next = self.segments.range(segment.plus(1)..).next();
        next.map_or(Stretch::End, |(base, _)| Stretch::NextSegment(*base))
    }

    /// Whether a segment begins at this offset.
    pub(crate) fn has_segment(&self, base: Offset) -> bool {
        self.segments.contains_key(&base)
    }

    /// Reads a stretch of this log's file, or of another's; [`Progress::read`] brings it. Answers the operation's number.
    pub(crate) fn read(&mut self, file: StoragePath, position: u64, len: u32, out: &mut Outbox) -> u64 {
        self.push(Wait::Read, StorageOp::Read { file, position, len }, out)
    }

    /// Takes over what the batches of a log do not tell, whose batches this one has all: which epochs began where, which
    /// producers there are, where readers begin. All of it is durable when the flush that this begins is over.
    pub(crate) fn take_over(&mut self, of: &Self, config: &TopicConfig, now: Now, out: &mut Outbox) {
        assert_eq!(self.next_offset, of.next_offset, "a copy is whole");
        self.advance_log_start(of.log_start, config, now, out);
        self.epochs = of.epochs.clone();
        self.write_epochs(out);
        self.producers = of.producers.clone();
        if self.active().size == 0 {
            // There is nothing to roll. Where the log begins is written in a name alone.
            let file = self.active().log.clone();
            self.push_aside(StorageOp::Sync { file }, out);
            let snapshot = self.snapshot_op();
            self.push_aside(snapshot, out);
        }
        self.roll(now, out);
    }

    /// Whether as much of this log as of `other` is durable, and all that lies beside it.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.flushed_end >= other.flushed_end && self.aside == 0
    }

    /// Goes by another name from here on: the directory was just renamed.
    pub(crate) fn move_to(&mut self, dir: StoragePath) {
        for segment in self.segments.values_mut() {
            segment.move_to(&dir);
        }
        for doomed in &mut self.doomed {
            doomed.segment.move_to(&dir);
            doomed.successor = dir.join(doomed.successor.name());
        }
        for (_, file) in &mut self.deletions {
            *file = dir.join(file.name());
        }
        self.dir = dir;
    }

    /// Whether something that was cut off may still come back after a crash.
    pub(crate) const fn is_cutting(&self) -> bool {
        self.is_cutting
    }

    /// Does what has come due: removes deleted files, flushes by time.
    pub(crate) fn on_deadline(&mut self, now: Now, out: &mut Outbox) {
        while self.deletions.front().is_some_and(|(due, _)| *due <= now.monotonic) {
            let (_, path) = self.deletions.pop_front().expect("it has a front");
            self.push_aside(StorageOp::Remove { path }, out);
        }
        if self.flush_due.is_some_and(|due| due <= now.monotonic) {
            out.sometimes(Mark::LogFlushTime);
            self.flush(out);
        }
    }

    /// When [`Self::on_deadline`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deletions.front().map(|(due, _)| *due).into_iter().chain(self.flush_due).min()
    }

    /// Puts the log in the state that a clean stop promises: all durable, time index closed, producers on disk.
    /// `flushed_end` reaches `next_offset`, and [`Self::is_idle`] says when.
    pub(crate) fn close(&mut self, out: &mut Outbox) {
        let unawaited = self.unawaited();
        let added = self.active_mut().add_time_entry_if_due(unawaited, out);
        self.flush_due = None;
        let number = self.first_flush + self.flushes.len() as u64;
        // After a clean stop indexes are believed, so that durable records alone are not enough.
        let is_whole = (!added && self.recovery_point == self.next_offset)
            || self.museum.has(Exhibit::B05CleanShutdownWithoutFlush);
        let files = if is_whole { Vec::new() } else { self.files_from(self.recovery_point) };
        let snapshot = self.snapshot_op();
        self.push_flush(number, files, Some(snapshot), out);
    }

    /// Whether nothing that a clean stop has to wait for is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.flushes.is_empty() && self.aside == 0 && self.doomed.is_empty()
    }

    /// Whether all records, and where their epochs began, are what a crash leaves. Files that are given up below them may be under
    /// way still: a log whose beginning goes on being removed would never be idle.
    pub(crate) fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.flushes.is_empty() && self.epoch_writes == 0 && !self.is_cutting
    }

    /// Whether nothing at all is under way. What a search reads counts too.
    pub(crate) fn is_still(&self) -> bool {
        self.waits.is_empty()
    }

    /// Believes nothing from `offset` on to be durable, nor anything below it to be deleted, before the log is cut there:
    /// whatever comes there next is other records.
    pub(crate) fn doubt(&mut self, offset: Offset) {
        self.log_start = self.log_start.min(offset);
        self.flushed_end = self.flushed_end.min(offset);
        self.durable_end = self.durable_end.min(offset);
        self.recovery_point = self.recovery_point.min(offset);
    }

    /// Forgets epochs that began where the log ends, and in which it has no records: another leader began others there.
    /// Answers whether there were any.
    pub(crate) fn forget_epochs_at_end(&mut self, out: &mut Outbox) -> bool {
        let are_any = self.epochs.truncate_from_end(self.next_offset);
        if are_any {
            self.write_epochs(out);
        }
        are_any
    }

    /// How much of [`TopicConfig::segment_jitter_ms`] is this log's.
    pub(crate) const fn jitter(&self) -> u64 {
        self.jitter
    }

    fn assert_invariants(&self) {
        assert!(self.log_start <= self.next_offset, "the log starts within itself");
        assert!(self.written_end <= self.next_offset, "what was not appended is not written");
        assert!(self.flushed_end <= self.next_offset, "what was not appended is not durable");
        let first_in_flight = self.in_flight.front().map_or(self.next_offset, |append| append.base);
        assert!(
            first_in_flight == self.written_end,
            "written_end is where the first unconfirmed append begins"
        );
    }
}

/// The name of a file that waits to be removed.
fn deleted_name(file: &StoragePath) -> StoragePath {
    StoragePath::new(&format!("{file}.deleted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use sordini_protocol::batch::{Batch, BatchBuilder, BatchParams};

    const NOW: Now = Now { monotonic: Instant(0), wall_ms: 0 };

    /// Every operation pushed, as text without the directory, and its number.
    fn pushed(out: &mut Outbox) -> Vec<(u64, String)> {
        let op = |output| match output {
            Output::Storage { token, op } => match op {
                StorageOp::Sync { file } => Some((token.sequence, format!("sync {}", file.name()))),
                StorageOp::Rename { from, to } => {
                    Some((token.sequence, format!("{} to {}", from.name(), to.name())))
                }
                StorageOp::Append { .. }
                | StorageOp::Read { .. }
                | StorageOp::Truncate { .. }
                | StorageOp::Replace { .. }
                | StorageOp::Remove { .. }
                | StorageOp::List { .. } => None,
            },
            Output::Respond { .. }
            | Output::NoResponse { .. }
            | Output::Close { .. }
            | Output::Ask { .. }
            | Output::HangUp { .. } => None,
        };
        out.drain().filter_map(op).collect()
    }

    fn orders(out: &mut Outbox) -> PartitionLog {
        PartitionLog::create(StoragePath::new("0/orders-0"), 2, Offset(0), 0, Museum::NONE, NOW, out)
    }

    #[test]
    fn segments_lose_their_names_one_after_the_other_and_each_when_the_next_is_durable() {
        let mut out = Outbox::new();
        let mut log = orders(&mut out);
        let config = TopicConfig { segment_bytes: 1, ..TopicConfig::default() };
        for offset in 0..3 {
            let mut builder = BatchBuilder::new(BatchParams::default());
            builder.append(0, None, Some(b"v"), &[]);
            let batch = Batch::new(builder.build()).expect("a batch built here is whole");
            log.append(batch.assign(offset, 0), &config, NOW, &mut out);
        }
        let _ = pushed(&mut out);
        log.advance_log_start(Offset(2), &config, NOW, &mut out);
        for (segment, successor) in [(0, 1), (1, 2)] {
            let ops = pushed(&mut out);
            let (sequence, op) = ops.last().expect("something is to be done");
            assert_eq!(*op, format!("sync {successor:020}.log"));
            log.on_completed(*sequence, Ok(Completion::Done), &mut out).expect("nothing failed");
            let ops = pushed(&mut out);
            let [(sequence, op)] = &*ops else { panic!("one thing at a time: {ops:?}") };
            assert_eq!(*op, format!("{segment:020}.log to {segment:020}.log.deleted"));
            assert!(!log.is_idle());
            log.on_completed(*sequence, Ok(Completion::Done), &mut out).expect("nothing failed");
        }
        let indexes: Vec<String> = pushed(&mut out).into_iter().map(|(_, op)| op).collect();
        assert_eq!(indexes.len(), 2, "of the last one the indexes: {indexes:?}");
    }

    /// Does what was pushed until nothing is under way, and answers what was found on the way.
    fn settle(
        log: &mut PartitionLog,
        files: &mut BTreeMap<StoragePath, Vec<u8>>,
        out: &mut Outbox,
    ) -> Option<Found> {
        let mut found = None;
        loop {
            let outputs: Vec<Output> = out.drain().collect();
            if outputs.is_empty() {
                return found;
            }
            for output in outputs {
                let Output::Storage { token, op } = output else { continue };
                let completion = match op {
                    StorageOp::Append { file, bytes, .. } => {
                        let file = files.entry(file).or_default();
                        bytes.iter().for_each(|part| file.extend_from_slice(part));
                        Completion::Done
                    }
                    StorageOp::Read { file, position, len } => {
                        let file = files.get(&file).map_or(&[][..], Vec::as_slice);
                        let from = usize::try_from(position).expect("a small file").min(file.len());
                        let upto = file.len().min(from + len as usize);
                        Completion::Bytes(Bytes::copy_from_slice(&file[from..upto]))
                    }
                    StorageOp::Sync { .. }
                    | StorageOp::Truncate { .. }
                    | StorageOp::Replace { .. }
                    | StorageOp::Rename { .. }
                    | StorageOp::Remove { .. }
                    | StorageOp::List { .. } => Completion::Done,
                };
                let progress = log.on_completed(token.sequence, Ok(completion), out).expect("nothing failed");
                found = progress.found.map(|(_, found)| found).or(found);
            }
        }
    }

    #[test]
    fn readers_get_all_below_their_end_and_nothing_above_it_where_memory_does_not_tell_where_it_lies() {
        let mut out = Outbox::new();
        let mut files = BTreeMap::new();
        let mut log = orders(&mut out);
        let config = TopicConfig { index_interval_bytes: 200, ..TopicConfig::default() };
        let mut builder = BatchBuilder::new(BatchParams::default());
        builder.append(0, None, Some(b"v"), &[]);
        let batch = Batch::new(builder.build()).expect("a batch built here is whole");
        let size = batch.header().size() as u64;
        let forgotten = 20;
        for offset in 0..RECENT_BATCHES as i64 + forgotten {
            log.append(batch.clone().assign(offset, 0), &config, NOW, &mut out);
            let _ = settle(&mut log, &mut files, &mut out);
        }
        assert_eq!(log.recent[0].base, Offset(forgotten), "what lies before is not remembered");
        let mut most_read_at_once = 0;
        for end in 1..=forgotten + 2 {
            assert_eq!(log.tells_where(Offset(end), Offset(0)), end >= forgotten, "up to {end}");
            let mut at = 0;
            while at < end {
                let place = match log.find(Offset(at), 1 << 20, Offset(end), &mut out) {
                    Start::Known(place) => place,
                    Start::Searching(_) => match settle(&mut log, &mut files, &mut out) {
                        Some(Found::Batch(place)) => place,
                        found => panic!("{at} is in the log: {found:?}"),
                    },
                    Start::End => panic!("{at} lies below the end of the log"),
                };
                let range = log.slice(place, Offset(end), 1 << 20, true).expect("it lies below the end");
                assert_eq!(range.position, at.cast_unsigned() * size);
                let batches = i64::from(range.len) / size as i64;
                assert_eq!(i64::from(range.len) % size as i64, 0, "whole batches");
                at += batches;
                most_read_at_once = most_read_at_once.max(batches);
            }
            assert_eq!(at, end, "a reader gets to its end and not beyond");
        }
        assert!(most_read_at_once > 10, "and not batch by batch: {most_read_at_once}");
    }
}
