//! Opening a log after a stop or a crash: a state machine, since every look at the disk is an effect, and since the
//! node may die again at any of them.
//!
//! Nothing found is believed beyond what the recovery point vouches for. After a clean stop only the end of the last
//! segment is read. After a crash every segment from the recovery point on is read whole: the log ends before the first
//! batch that is not right, later segments are deleted, and indexes, leader epochs and producers are made anew from
//! what is left.

use super::leader_epoch_cache::LeaderEpochCache;
use super::partition_log::PartitionLog;
use super::producer_state::ProducerStates;
use super::segment::{self, INDEX_ENTRY_LEN, Segment, TIME_INDEX_ENTRY_LEN, encode_index_entry};
use crate::config::topic::TopicConfig;
use crate::ids::{LeaderEpoch, Offset};
use crate::mark::Mark;
use crate::museum::{Exhibit, Museum};
use crate::node::Output;
use crate::outbox::Outbox;
use crate::storage_op::{Completion, DirectoryEntry, StorageFault, StorageOp, StoragePath, StorageToken};
use crate::time::Now;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::{Batch, BatchHeader, HEADER_LEN};
use sordini_protocol::wire::Uuid;

/// How much of a log is read at once: large enough that a spinning disk streams, small enough that a few loaders at a
/// time cost some megabytes.
const CHUNK_LEN: u32 = 1 << 20;

/// A batch header.
const FIRST_HEADER_LEN: u32 = 61;

/// What is known about a log before it is opened.
#[derive(Clone, Debug)]
pub(crate) struct LoadRequest {
    pub(crate) dir: StoragePath,
    pub(crate) owner: u32,
    pub(crate) jitter: u64,
    /// The last stop was clean: files are whole.
    pub(crate) clean: bool,
    /// From `recovery-point-offset-checkpoint`; 0 when absent.
    pub(crate) recovery_point: Offset,
    /// From `log-start-offset-checkpoint`; 0 when absent.
    pub(crate) log_start: Offset,
    /// From `replication-offset-checkpoint`, for the exhibit that cuts the log there.
    pub(crate) high_watermark: Offset,
    /// Where the log is cut, if it goes on behind that: before the batch that holds this offset, or follows it. The recovery
    /// point is not above it.
    pub(crate) end: Option<Offset>,
    pub(crate) config: TopicConfig,
    pub(crate) museum: Museum,
}

/// A log that is open.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) log: PartitionLog,
    /// What `partition.metadata` says, if it is there and whole.
    pub(crate) topic_id: Option<Uuid>,
}

/// A log that is being opened.
#[derive(Clone, Debug)]
pub(crate) struct LogLoader {
    request: LoadRequest,
    log: PartitionLog,
    topic_id: Option<Uuid>,
    /// Segments found and not yet taken over, by base offset.
    found: BTreeMap<Offset, FoundSegment>,
    /// Producer snapshots, newest first, that may be believed and were not tried yet.
    snapshots: Vec<Offset>,
    /// Producer snapshots that may tell of more than the log still has, or of less than is missing before it.
    doubtful_snapshots: Vec<Offset>,
    /// Offset in the last entry of the last segment's index, if that was read and has one.
    last_indexed: Option<Offset>,
    /// Producers before `replay_from` come from a snapshot, from there on from the log.
    replay_from: Offset,
    /// Small files still to be read, in this order.
    to_read: VecDeque<SmallRead>,
    /// Segments still to be read, oldest first.
    to_scan: VecDeque<Offset>,
    stage: Stage,
    /// Repairs under way.
    repairs: BTreeSet<u64>,
    next_sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct FoundSegment {
    log_len: u64,
    index_len: Option<u64>,
    time_len: Option<u64>,
    modified_ms: i64,
}

impl FoundSegment {
    /// How many entries the two indexes have, if both are there and no entry is cut.
    fn whole_entries(&self) -> Option<(u32, u32)> {
        let entries = |len: Option<u64>, entry_len: u32| {
            let len = len.filter(|len| len.is_multiple_of(u64::from(entry_len)))?;
            u32::try_from(len / u64::from(entry_len)).ok()
        };
        Some((entries(self.index_len, INDEX_ENTRY_LEN)?, entries(self.time_len, TIME_INDEX_ENTRY_LEN)?))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SmallRead {
    PartitionMetadata,
    Epochs,
    /// The last entry of a closed segment's time index.
    LastTimeEntry(Offset),
    /// The first batch's header of the last segment, after a clean stop: from when its age counts.
    FirstBatch(Offset),
    /// The whole offset index of the last segment, after a clean stop: where to begin reading.
    LastIndex(Offset),
    Snapshot(Offset),
}

#[derive(Clone, Debug)]
enum Stage {
    Listing {
        sequence: u64,
    },
    Reading {
        sequence: u64,
        what: SmallRead,
    },
    Scanning {
        sequence: u64,
        scan: Scan,
    },
    /// All is read; repairs may be under way.
    Read,
}

/// A segment being read.
#[derive(Clone, Debug)]
struct Scan {
    segment: Segment,
    /// Length of the file.
    len: u64,
    /// Whether every batch is looked at and the indexes are made anew.
    validate: bool,
    /// Whether the recovery point does not vouch for the batches, so that each is checked whole.
    doubtful: bool,
    index: Vec<u8>,
    time_index: Vec<u8>,
}

/// What a step of loading came to.
#[derive(Debug)]
pub(crate) enum LoadStep {
    /// It waits for the disk.
    Pending,
    /// The log is open.
    Done(Loaded),
}

impl LogLoader {
    /// Begins to open the log in a directory.
    pub(crate) fn begin(request: LoadRequest, out: &mut Outbox) -> Self {
        let mut log = PartitionLog::empty(request.dir.clone(), request.owner, request.jitter, request.museum);
        log.log_start = request.log_start;
        let mut loader = Self {
            log,
            topic_id: None,
            found: BTreeMap::new(),
            snapshots: Vec::new(),
            doubtful_snapshots: Vec::new(),
            last_indexed: None,
            replay_from: Offset(0),
            to_read: VecDeque::new(),
            to_scan: VecDeque::new(),
            stage: Stage::Listing { sequence: 0 },
            repairs: BTreeSet::new(),
            next_sequence: 1,
            request,
        };
        let dir = loader.request.dir.clone();
        let sequence = loader.push(StorageOp::List { dir }, out);
        loader.stage = Stage::Listing { sequence };
        loader
    }

    /// Bytes read and bytes to read, for a progress line.
    pub(crate) const fn request(&self) -> &LoadRequest {
        &self.request
    }

    fn push(&mut self, op: StorageOp, out: &mut Outbox) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        out.push(Output::Storage { token: StorageToken { owner: self.request.owner, sequence }, op });
        sequence
    }

    /// Mends what a crash left. The log is open when all of it is done.
    fn push_repair(&mut self, op: StorageOp, out: &mut Outbox) {
        let sequence = self.push(op, out);
        self.repairs.insert(sequence);
    }

    /// Takes what the disk brought.
    pub(crate) fn on_completed(
        &mut self,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<LoadStep, StorageFault> {
        if self.repairs.remove(&sequence) {
            result?;
            return Ok(self.done_if_repaired(out));
        }
        let awaited = match &self.stage {
            Stage::Listing { sequence }
            | Stage::Reading { sequence, .. }
            | Stage::Scanning { sequence, .. } => Some(*sequence),
            Stage::Read => None,
        };
        if Some(sequence) != awaited {
            // A new segment's files; only their failure matters.
            return result.map(|_| LoadStep::Pending);
        }
        match &mut self.stage {
            Stage::Listing { .. } => {
                let Completion::Entries(entries) = result? else { unreachable!("a listing brings entries") };
                self.on_listed(&entries, out);
            }
            Stage::Reading { what, .. } => {
                let bytes = match result {
                    Ok(Completion::Bytes(bytes)) => Some(bytes),
                    Ok(Completion::Done | Completion::Entries(_)) => unreachable!("a read brings bytes"),
                    Err(StorageFault::NotFound) => None,
                    Err(fault) => return Err(fault),
                };
                let what = what.clone();
                self.on_small_read(&what, bytes.unwrap_or_default(), out);
            }
            Stage::Read => unreachable!("when all is read only repairs are awaited"),
            Stage::Scanning { .. } => {
                let Completion::Bytes(bytes) = result? else { unreachable!("a read brings bytes") };
                return Ok(self.on_scanned(&bytes, now, out));
            }
        }
        Ok(self.go_on(now, out))
    }

    fn on_listed(&mut self, entries: &[DirectoryEntry], out: &mut Outbox) {
        let names: BTreeMap<&str, &DirectoryEntry> =
            entries.iter().map(|entry| (&*entry.name, entry)).collect();
        for entry in entries {
            let name: &str = &entry.name;
            if [".deleted", ".cleaned", ".tmp"].iter().any(|suffix| name.ends_with(suffix)) {
                out.sometimes(Mark::RecoveryLeftovers);
                self.push_repair(StorageOp::Remove { path: self.request.dir.join(name) }, out);
            } else if let Some(base) = offset_of(name, ".log") {
                let len = |suffix: &str| {
                    names.get(&*alloc::format!("{:020}{suffix}", base.0)).map(|entry| entry.len)
                };
                let found = FoundSegment {
                    log_len: entry.len,
                    index_len: len(".index"),
                    time_len: len(".timeindex"),
                    modified_ms: entry.modified_ms,
                };
                self.found.insert(base, found);
            } else if let Some(offset) = offset_of(name, ".snapshot") {
                self.snapshots.push(offset);
            } else if name == "partition.metadata" {
                self.to_read.push_back(SmallRead::PartitionMetadata);
            } else if name == "leader-epoch-checkpoint" {
                self.to_read.push_back(SmallRead::Epochs);
            }
        }
        // Index files without their log are left over from a deletion.
        for entry in entries {
            let index_of = offset_of(&entry.name, ".index").or_else(|| offset_of(&entry.name, ".timeindex"));
            if index_of.is_some_and(|base| !self.found.contains_key(&base)) {
                out.sometimes(Mark::RecoveryIndexOrphaned);
                self.push_repair(StorageOp::Remove { path: self.request.dir.join(&entry.name) }, out);
            }
        }
        self.snapshots.sort_unstable_by(|a, b| b.cmp(a));
        self.plan(out);
    }

    /// The first segment that is not believed: the one with the recovery point after a crash, none after a clean stop.
    fn first_doubtful(&self) -> Option<Offset> {
        if self.request.museum.has(Exhibit::A48BadCrcIsEndOfLog) {
            return self.found.keys().next().copied();
        }
        if self.request.clean {
            return None;
        }
        let point = self.request.recovery_point;
        self.found.range(..=point).next_back().or_else(|| self.found.first_key_value()).map(|(base, _)| *base)
    }

    /// Decides what has to be read before the segments are.
    fn plan(&mut self, out: &mut Outbox) {
        let doubtful = self.first_doubtful();
        let last = self.found.last_key_value().map(|(base, _)| *base);
        for (base, found) in &self.found {
            if doubtful.is_some_and(|first| *base >= first) {
                continue;
            }
            if found.time_len.unwrap_or(0) >= u64::from(TIME_INDEX_ENTRY_LEN) {
                self.to_read.push_back(SmallRead::LastTimeEntry(*base));
            }
            if Some(*base) == last {
                self.to_read.push_back(SmallRead::FirstBatch(*base));
                if found.index_len.unwrap_or(0) > 0 {
                    self.to_read.push_back(SmallRead::LastIndex(*base));
                }
            }
        }
        // What a snapshot above the first doubtful segment says may not be in the log any more. Without any segment the log
        // begins anew where it is to start.
        let begun_anew = self.found.is_empty().then_some(self.log.log_start);
        if let Some(first) = doubtful.or(begun_anew) {
            let believed = self.snapshots.partition_point(|offset| *offset > first);
            self.doubtful_snapshots = self.snapshots.drain(..believed).collect();
            out.sometimes_if(!self.doubtful_snapshots.is_empty(), Mark::RecoverySnapshotDoubted);
        }
        // Between an older one and where the log begins something is missing, which the producers may have sent. Kafka
        // deletes what lies at the start of the log as well, of which nothing is missing.
        let begins = self.found.first_key_value().map_or(self.log.log_start, |(base, _)| *base);
        let continued = self.snapshots.partition_point(|offset| *offset >= begins);
        let outlived = self.snapshots.split_off(continued);
        out.sometimes_if(!outlived.is_empty(), Mark::RecoverySnapshotOutlived);
        self.doubtful_snapshots.extend(outlived);
        if let Some(newest) = self.snapshots.first() {
            self.to_read.push_back(SmallRead::Snapshot(*newest));
        }
        for (base, found) in &self.found {
            let segment = Segment::new(&self.request.dir, *base, found.modified_ms);
            self.log.segments.insert(*base, Box::new(segment));
        }
    }

    fn on_small_read(&mut self, what: &SmallRead, bytes: Bytes, out: &mut Outbox) {
        match what {
            SmallRead::PartitionMetadata => self.topic_id = partition_metadata_topic_id(&bytes),
            SmallRead::Epochs => {
                // A damaged file is made anew from what is scanned; what lies before is answered as unknown.
                let epochs = LeaderEpochCache::from_checkpoint(&bytes);
                out.sometimes_if(epochs.is_err(), Mark::RecoveryEpochsDamaged);
                self.log.epochs = epochs.unwrap_or_default();
            }
            SmallRead::LastTimeEntry(base) => {
                let last = segment::decode_time_index(*base, &bytes).last().copied();
                let segment = self.log.segments.get_mut(base).expect("planned segments are known");
                if let Some((timestamp, offset)) = last {
                    segment.max_timestamp = timestamp;
                    segment.max_timestamp_offset = offset;
                    segment.last_time_entry = timestamp;
                }
            }
            SmallRead::FirstBatch(base) => {
                let segment = self.log.segments.get_mut(base).expect("planned segments are known");
                segment.first_timestamp = BatchHeader::parse(&bytes).ok().map(|header| header.max_timestamp);
            }
            SmallRead::LastIndex(base) => {
                let entries = segment::decode_index(*base, &bytes);
                let segment = self.log.segments.get_mut(base).expect("planned segments are known");
                for entry in entries {
                    self.last_indexed = Some(entry.offset);
                    segment.add_index_entry(entry);
                    segment.size = entry.position;
                }
            }
            SmallRead::Snapshot(offset) => match ProducerStates::from_snapshot(&bytes, self.request.museum) {
                Some(states) => {
                    out.sometimes(Mark::RecoverySnapshotUsed);
                    self.log.producers = states;
                    self.replay_from = *offset;
                }
                None => {
                    out.sometimes(Mark::RecoverySnapshotDamaged);
                    let name = alloc::format!("{:020}.snapshot", offset.0);
                    self.push_repair(StorageOp::Remove { path: self.request.dir.join(&name) }, out);
                    self.snapshots.retain(|other| other != offset);
                    if let Some(next) = self.snapshots.first() {
                        self.to_read.push_back(SmallRead::Snapshot(*next));
                    }
                }
            },
        }
    }

    fn go_on(&mut self, now: Now, out: &mut Outbox) -> LoadStep {
        if let Some(what) = self.to_read.pop_front() {
            let dir = &self.request.dir;
            let (file, position, len) = match &what {
                SmallRead::PartitionMetadata => (dir.join("partition.metadata"), 0, 4096),
                SmallRead::Epochs => (dir.join("leader-epoch-checkpoint"), 0, u32::MAX),
                SmallRead::LastTimeEntry(base) => {
                    let len = self.found[base].time_len.unwrap_or(0);
                    let whole = len - len % u64::from(TIME_INDEX_ENTRY_LEN);
                    let at = whole - u64::from(TIME_INDEX_ENTRY_LEN);
                    (self.log.segments[base].time_index.clone(), at, TIME_INDEX_ENTRY_LEN)
                }
                SmallRead::FirstBatch(base) => (self.log.segments[base].log.clone(), 0, FIRST_HEADER_LEN),
                SmallRead::LastIndex(base) => (self.log.segments[base].index.clone(), 0, u32::MAX),
                SmallRead::Snapshot(offset) => {
                    (dir.join(&alloc::format!("{:020}.snapshot", offset.0)), 0, u32::MAX)
                }
            };
            let sequence = self.push(StorageOp::Read { file, position, len }, out);
            self.stage = Stage::Reading { sequence, what };
            return LoadStep::Pending;
        }
        self.plan_scans(out);
        self.scan_next(now, out)
    }

    /// Decides which segments are read: the doubtful ones, the last one, those the producers must be replayed from, and
    /// those of which an index is missing or ends within an entry.
    fn plan_scans(&mut self, out: &mut Outbox) {
        let doubtful = self.first_doubtful();
        let last = self.found.last_key_value().map(|(base, _)| *base);
        let replayed_from = self.found.range(..=self.replay_from).next_back().map(|(base, _)| *base);
        for (base, found) in &self.found {
            let is_doubtful = doubtful.is_some_and(|first| *base >= first);
            let is_replayed = replayed_from.is_none_or(|first| *base >= first);
            if is_doubtful || is_replayed || Some(*base) == last || found.whole_entries().is_none() {
                self.to_scan.push_back(*base);
            } else {
                out.sometimes_if(!self.request.clean, Mark::RecoverySegmentsTrusted);
                let segment = self.log.segments.get_mut(base).expect("found segments are known");
                segment.size = found.log_len;
                segment.index_entries =
                    u32::try_from(found.index_len.unwrap_or(0) / u64::from(INDEX_ENTRY_LEN))
                        .unwrap_or(u32::MAX);
                segment.time_entries =
                    u32::try_from(found.time_len.unwrap_or(0) / u64::from(TIME_INDEX_ENTRY_LEN))
                        .unwrap_or(u32::MAX);
                segment.thin = None;
            }
        }
    }

    fn scan_next(&mut self, now: Now, out: &mut Outbox) -> LoadStep {
        let Some(base) = self.to_scan.pop_front() else { return self.finish(now, out) };
        let found = self.found[&base];
        if self.leaves_a_hole(base) {
            // It was begun while the end of the one before was on its way to the disk, and that did not arrive.
            out.sometimes(Mark::RecoveryHole);
            self.to_scan.push_front(base);
            self.drop_rest(out);
            return self.finish(now, out);
        }
        let doubtful = self.first_doubtful().is_some_and(|first| base >= first);
        // As by Kafka, an index that somebody took away is made anew.
        let validate = doubtful || found.whole_entries().is_none();
        let entries = |len: Option<u64>, entry_len: u32| -> u32 {
            u32::try_from(len.unwrap_or(0) / u64::from(entry_len)).unwrap_or(u32::MAX)
        };
        let index_entries = entries(found.index_len, INDEX_ENTRY_LEN);
        let known = &self.log.segments[&base];
        let is_last = self.to_scan.is_empty();
        if !validate && is_last && known.index_entries != index_entries {
            // An index with anything but entries in it was not closed cleanly.
            return self.begin_again_doubting(out);
        }
        if !validate && is_last && known.size >= found.log_len && known.size > 0 {
            // The last entry points beyond the last batch, and what follows would pass for nothing.
            return self.begin_again_doubting(out);
        }
        let mut segment = Segment::new(&self.request.dir, base, found.modified_ms);
        if !validate {
            segment.clone_from(known);
            segment.time_entries = entries(found.time_len, TIME_INDEX_ENTRY_LEN);
            if !is_last {
                segment.index_entries = index_entries;
                segment.thin = None;
            }
            // Behind the last index entry lie a few batches that nothing else tells of; before it, only producers
            // that no snapshot has kept are a reason to look.
            if self.last_indexed.is_none_or(|indexed| self.replay_from <= indexed) || !is_last {
                segment.size = 0;
            }
        }
        let scan = Scan {
            len: found.log_len,
            validate,
            doubtful,
            index: Vec::new(),
            time_index: Vec::new(),
            segment,
        };
        self.log.next_offset = self.log.next_offset.max(base);
        self.read_on(scan, now, out)
    }

    fn read_on(&mut self, scan: Scan, now: Now, out: &mut Outbox) -> LoadStep {
        if scan.segment.size >= scan.len {
            return self.finish_scan(scan, true, now, out);
        }
        let op =
            StorageOp::Read { file: scan.segment.log.clone(), position: scan.segment.size, len: CHUNK_LEN };
        let sequence = self.push(op, out);
        self.stage = Stage::Scanning { sequence, scan };
        LoadStep::Pending
    }

    fn on_scanned(&mut self, chunk: &Bytes, now: Now, out: &mut Outbox) -> LoadStep {
        let Stage::Scanning { scan, .. } = &self.stage else { unreachable!("only a scan reads batches") };
        let mut scan = scan.clone();
        let start = scan.segment.size;
        let mut rest = chunk.clone();
        let interval = u64::from(self.request.config.index_interval_bytes);
        loop {
            let position = scan.segment.size;
            let remaining = scan.len - position;
            if remaining == 0 {
                return self.finish_scan(scan, true, now, out);
            }
            if remaining < HEADER_LEN as u64 {
                return self.finish_scan(scan, false, now, out);
            }
            if rest.len() < HEADER_LEN {
                if position == start {
                    // The file is shorter than the listing said.
                    return self.finish_scan(scan, false, now, out);
                }
                return self.read_on(scan, now, out);
            }
            let Ok(header) = BatchHeader::parse(&rest) else {
                return self.finish_scan(scan, false, now, out);
            };
            let size = header.size();
            // Offsets lie outside of what the checksum covers: a damaged one must not pass for a far jump.
            let span = header.last_offset().checked_sub(scan.segment.base.0);
            let in_order = header.base_offset >= self.log.next_offset.0
                && header.last_offset() >= header.base_offset
                && span.is_some_and(|span| span < i64::from(i32::MAX));
            let is_cut_off = self.request.end.is_some_and(|end| header.last_offset() >= end.0)
                || (self.request.museum.has(Exhibit::A01TruncateToOwnHighWatermark)
                    && header.base_offset >= self.request.high_watermark.0);
            if size as u64 > remaining || !in_order || is_cut_off {
                return self.finish_scan(scan, false, now, out);
            }
            if scan.doubtful && rest.len() < size {
                if position > start {
                    return self.read_on(scan, now, out);
                }
                let len = u32::try_from(size).unwrap_or(u32::MAX);
                let op = StorageOp::Read { file: scan.segment.log.clone(), position, len };
                if chunk.len() >= CHUNK_LEN as usize {
                    // A batch larger than a chunk: once more, as much as it needs.
                    let sequence = self.push(op, out);
                    self.stage = Stage::Scanning { sequence, scan };
                    return LoadStep::Pending;
                }
                return self.finish_scan(scan, false, now, out);
            }
            if scan.doubtful {
                let whole = Batch::first_of(&mut rest.slice(..size));
                let believes = self.request.museum.has(Exhibit::B07RecoverySkipsChecksum);
                if !matches!(whole, Ok(Some(batch)) if believes || batch.check_crc().is_ok()) {
                    out.sometimes(Mark::RecoveryChecksumWrong);
                    return self.finish_scan(scan, false, now, out);
                }
            }
            self.take(&mut scan, &header, interval);
            rest = if rest.len() > size { rest.slice(size..) } else { Bytes::new() };
        }
    }

    /// Takes over a batch that is in the log.
    fn take(&mut self, scan: &mut Scan, header: &BatchHeader, interval: u64) {
        if scan.validate {
            if let Some(entry) = scan.segment.note(header, interval) {
                let at = scan.index.len();
                scan.index.resize(at + INDEX_ENTRY_LEN as usize, 0);
                encode_index_entry(&mut scan.index[at..], scan.segment.base, entry);
                scan.segment.add_index_entry(entry);
                if let Some(entry) = scan.segment.due_time_entry() {
                    scan.time_index.extend_from_slice(&entry);
                    scan.segment.add_time_entry();
                }
            }
            let epoch = LeaderEpoch(header.partition_leader_epoch);
            if epoch > LeaderEpoch(0) || !self.request.museum.has(Exhibit::A44SkipEpochZero) {
                self.log.epochs.assign(epoch, Offset(header.base_offset));
            }
        } else {
            // The index is believed; only what it does not say is taken from the batch.
            let _ = scan.segment.note(header, u64::MAX);
        }
        if header.base_offset >= self.replay_from.0 {
            self.log.producers.apply(header);
        }
        self.log.next_offset = self.log.next_offset.max(Offset(header.last_offset()).plus(1));
    }

    fn finish_scan(&mut self, mut scan: Scan, whole: bool, now: Now, out: &mut Outbox) -> LoadStep {
        let base = scan.segment.base;
        if !whole && !scan.validate {
            // After a clean stop files are whole. These are not, so nothing of the clean stop is believed.
            return self.begin_again_doubting(out);
        }
        if scan.validate {
            if scan.segment.size < scan.len {
                out.sometimes(Mark::RecoveryTailCut);
                let file = scan.segment.log.clone();
                let op = StorageOp::Truncate { file, len: scan.segment.size };
                self.push_repair(op, out);
            }
            // Nothing may ever be appended here that a flush would make durable, and a clean stop says that the file is
            // as it should be: what is cut off must not come back. A recovery before this one may have cut it and been
            // killed before its sync, and a file that is whole does not tell.
            if !self.request.museum.has(Exhibit::B10CutNotSynced) {
                self.push_repair(StorageOp::Sync { file: scan.segment.log.clone() }, out);
            }
            // A closed segment ends with an entry for its largest timestamp, and so, as in Kafka, does the last one. If that ends at
            // the recovery point and the next batch begins another, it is believed from then on: an entry written as late as that
            // could be lost.
            if let Some(entry) = scan.segment.due_time_entry() {
                scan.time_index.extend_from_slice(&entry);
                scan.segment.add_time_entry();
            }
            if self.request.museum.has(Exhibit::B03IndexNotTruncatedWithLog)
                && let Some((index_entries, time_entries)) = self.found[&base].whole_entries()
            {
                (scan.segment.index_entries, scan.segment.time_entries) = (index_entries, time_entries);
                scan.segment.thin = None;
            } else {
                let FoundSegment { index_len, time_len, .. } = self.found[&base];
                for (file, bytes, len, mark) in [
                    (&scan.segment.index, scan.index, index_len, Mark::RecoveryIndexRebuilt),
                    (&scan.segment.time_index, scan.time_index, time_len, Mark::RecoveryTimeIndexRebuilt),
                ] {
                    out.sometimes_if(len != Some(bytes.len() as u64), mark);
                    let bytes = Bytes::from(bytes);
                    self.push_repair(StorageOp::Replace { file: file.clone(), bytes }, out);
                }
            }
        } else {
            let since_entry = scan.segment.size.checked_sub(scan.segment.last_entry_position);
            let Some(since_entry) = since_entry else {
                // The index speaks of more than there is.
                return self.begin_again_doubting(out);
            };
            scan.segment.bytes_since_index = since_entry;
        }
        self.log.segments.insert(base, Box::new(scan.segment));
        if !whole {
            self.drop_rest(out);
        }
        self.scan_next(now, out)
    }

    /// Deletes the segments that were not looked at: the log ends before them.
    fn drop_rest(&mut self, out: &mut Outbox) {
        out.sometimes_if(!self.to_scan.is_empty(), Mark::RecoverySegmentsDropped);
        while let Some(later) = self.to_scan.pop_front() {
            let segment = self.log.segments.remove(&later).expect("planned segments are known");
            for file in segment.files() {
                self.push_repair(StorageOp::Remove { path: file.clone() }, out);
            }
        }
    }

    /// Whether a segment that a crash may have cut does not begin where the one before it ends. In a compacted log that
    /// is how it should be: the records between were cleaned away.
    fn leaves_a_hole(&self, base: Offset) -> bool {
        if self.request.museum.has(Exhibit::B08HoleBetweenSegments) {
            return false;
        }
        let follows_doubtful = self.first_doubtful().is_some_and(|first| base > first);
        follows_doubtful && !self.request.config.cleanup_policy.compact && base != self.log.next_offset
    }

    fn begin_again_doubting(&mut self, out: &mut Outbox) -> LoadStep {
        out.sometimes(Mark::RecoveryCleanDoubted);
        let request = LoadRequest { clean: false, recovery_point: Offset(0), ..self.request.clone() };
        let next_sequence = self.next_sequence;
        let mut fresh =
            PartitionLog::empty(request.dir.clone(), request.owner, request.jitter, request.museum);
        fresh.log_start = request.log_start;
        self.log = fresh;
        self.found.clear();
        self.snapshots.clear();
        self.doubtful_snapshots.clear();
        self.to_read.clear();
        self.to_scan.clear();
        self.last_indexed = None;
        self.replay_from = Offset(0);
        self.next_sequence = next_sequence;
        let dir = request.dir.clone();
        self.request = request;
        let sequence = self.push(StorageOp::List { dir }, out);
        self.stage = Stage::Listing { sequence };
        LoadStep::Pending
    }

    fn finish(&mut self, now: Now, out: &mut Outbox) -> LoadStep {
        self.stage = Stage::Read;
        // Everything up to the start was deleted on request, and less than that is left: nothing is.
        if self.log.next_offset < self.log.log_start {
            out.sometimes(Mark::RecoveryBelowStart);
            for segment in core::mem::take(&mut self.log.segments).into_values() {
                for file in segment.files() {
                    self.push_repair(StorageOp::Remove { path: file.clone() }, out);
                }
            }
            self.log.next_offset = self.log.log_start;
            self.log.producers = ProducerStates::default();
        }
        let kept: BTreeSet<Offset> =
            self.log.segments.keys().copied().chain([self.log.next_offset]).collect();
        // One beyond the log's end would be taken for the newest by the next start.
        let snapshots = core::mem::take(&mut self.snapshots);
        for offset in snapshots.into_iter().chain(core::mem::take(&mut self.doubtful_snapshots)) {
            if !kept.contains(&offset) {
                let name = alloc::format!("{:020}.snapshot", offset.0);
                self.push_repair(StorageOp::Remove { path: self.request.dir.join(&name) }, out);
            }
        }
        let log = &mut self.log;
        if log.segments.is_empty() {
            log.next_offset = log.next_offset.max(log.log_start);
            let base = log.next_offset;
            log.add_segment(base, now.wall_ms, out);
            if base > Offset(0) {
                // Where the log begins is written in this name alone.
                let file = log.segments[&base].log.clone();
                self.push_repair(StorageOp::Sync { file }, out);
            }
        }
        let log = &mut self.log;
        log.log_start = log.log_start.max(log.first_base());
        out.sometimes_if(self.request.clean && log.next_offset > log.log_start, Mark::RecoveryClean);
        log.flushed_end = if self.request.clean { log.next_offset } else { self.request.recovery_point };
        log.settle();
        self.done_if_repaired(out)
    }

    fn done_if_repaired(&mut self, out: &mut Outbox) -> LoadStep {
        if !matches!(self.stage, Stage::Read) || !self.repairs.is_empty() {
            return LoadStep::Pending;
        }
        let LoadRequest { dir, owner, jitter, museum, .. } = &self.request;
        let nothing = PartitionLog::empty(dir.clone(), *owner, *jitter, *museum);
        let mut log = core::mem::replace(&mut self.log, nothing);
        log.continue_sequences(self.next_sequence);
        let cut = log.epochs.truncate_from_end(log.next_offset);
        out.sometimes_if(cut, Mark::RecoveryEpochsCut);
        let raised = log.epochs.truncate_from_start(log.log_start);
        if cut || raised || !self.request.clean {
            log.write_epochs(out);
        }
        LoadStep::Done(Loaded { log, topic_id: self.topic_id })
    }
}

/// The number in a file name of the form `<20 digits><suffix>`.
fn offset_of(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Offset)
}

/// The topic id in a `partition.metadata` file.
fn partition_metadata_topic_id(bytes: &[u8]) -> Option<Uuid> {
    let text = core::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    if lines.next()?.trim() != "version: 0" {
        return None;
    }
    lines.next()?.strip_prefix("topic_id:")?.trim().parse().ok()
}

/// The text of a `partition.metadata` file.
pub(crate) fn partition_metadata(topic_id: Uuid) -> String {
    alloc::format!("version: 0\ntopic_id: {topic_id}\n")
}
