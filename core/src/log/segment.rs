//! One segment of a log: three files that belong together, and what is known of them without reading.
//!
//! The offset index has an entry for about every 4 KiB of log. A terabyte of log would need gigabytes of memory for
//! them, so only every [`THIN_STRIDE`]th is kept; a reader that needs the others reads one page of the index file.

use crate::ids::Offset;
use crate::node::Output;
use crate::outbox::Outbox;
use crate::storage_op::{StorageOp, StoragePath, StorageToken};
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::BatchHeader;

/// Bytes of an offset index entry: relative offset, position.
pub(crate) const INDEX_ENTRY_LEN: u32 = 8;

/// Bytes of a time index entry: timestamp, relative offset.
pub(crate) const TIME_INDEX_ENTRY_LEN: u32 = 12;

/// How many index entries stand behind one that is kept in memory: a page of the index file.
pub(crate) const THIN_STRIDE: u32 = 512;

/// "No timestamp", as batches without one have it and as an empty time index starts.
const NO_TIMESTAMP: i64 = -1;

/// What an index entry says: the batch that starts at `position` ends with `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) offset: Offset,
    pub(crate) position: u64,
}

/// When a segment gives way to the next, by configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollLimits {
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
    /// Taken off `segment_ms`, so that not all logs of a node roll at once.
    pub(crate) jitter_ms: i64,
    pub(crate) index_bytes: u32,
}

/// Why a segment gives way to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RollCause {
    /// An index holds offsets as 31 bits above the segment's base.
    OffsetSpan,
    Size,
    Age,
    IndexFull,
}

/// A segment, by what its files are known to hold.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// First offset the segment may hold; its name.
    pub(crate) base: Offset,
    pub(crate) log: StoragePath,
    pub(crate) index: StoragePath,
    pub(crate) time_index: StoragePath,
    /// Bytes of the log file, those in flight to the disk included.
    pub(crate) size: u64,
    /// Entries of the offset index file.
    pub(crate) index_entries: u32,
    /// Every [`THIN_STRIDE`]th of them; `None` until the file was read.
    pub(crate) thin: Option<Vec<IndexEntry>>,
    /// Entries of the time index file.
    pub(crate) time_entries: u32,
    /// Timestamp of the last of them: entries are added only for greater ones.
    pub(crate) last_time_entry: i64,
    /// Log bytes since the batch that the last index entry points to, that batch included.
    pub(crate) bytes_since_index: u64,
    /// Position in the last entry of the offset index; 0 without one.
    pub(crate) last_entry_position: u64,
    /// The largest timestamp in the segment, and the last offset of the batch that has it.
    pub(crate) max_timestamp: i64,
    pub(crate) max_timestamp_offset: Offset,
    /// Largest timestamp of the first batch, from which the segment's age is counted; `None` while empty or unread.
    pub(crate) first_timestamp: Option<i64>,
    /// When the segment was created or its file last written, for records without timestamps.
    pub(crate) created_ms: i64,
}

impl Segment {
    /// A segment without contents, in memory only.
    pub(crate) fn new(dir: &StoragePath, base: Offset, created_ms: i64) -> Self {
        Self {
            base,
            log: dir.join(&format!("{:020}.log", base.0)),
            index: dir.join(&format!("{:020}.index", base.0)),
            time_index: dir.join(&format!("{:020}.timeindex", base.0)),
            size: 0,
            index_entries: 0,
            thin: Some(Vec::new()),
            time_entries: 0,
            last_time_entry: NO_TIMESTAMP,
            bytes_since_index: 0,
            last_entry_position: 0,
            max_timestamp: NO_TIMESTAMP,
            max_timestamp_offset: base,
            first_timestamp: None,
            created_ms,
        }
    }

    /// Names its files anew: the directory that they lie in is another's from here on.
    pub(crate) fn move_to(&mut self, dir: &StoragePath) {
        for file in [&mut self.log, &mut self.index, &mut self.time_index] {
            *file = dir.join(file.name());
        }
    }

    /// Makes the three files exist, so that the directory looks as Kafka's tools expect it.
    pub(crate) fn create_files(&self, unawaited: StorageToken, out: &mut Outbox) {
        for file in [&self.log, &self.index, &self.time_index] {
            let op =
                StorageOp::Append { file: file.clone(), position: 0, bytes: [Bytes::new(), Bytes::new()] };
            out.push(Output::Storage { token: unawaited, op });
        }
    }

    /// Why a batch of `size` bytes with these facts belongs in the next segment, if it does.
    pub(crate) fn roll_cause(
        &self,
        header: &BatchHeader,
        size: u64,
        wall_ms: i64,
        limits: &RollLimits,
    ) -> Option<RollCause> {
        let relative_end = header.last_offset() - self.base.0;
        if relative_end > i64::from(i32::MAX) {
            return Some(RollCause::OffsetSpan);
        }
        if self.size == 0 {
            return None;
        }
        // Age is measured by record timestamps where there are any: replicas then roll alike.
        let age = match self.first_timestamp {
            Some(first) if first >= 0 => header.max_timestamp - first,
            Some(_) | None => wall_ms - self.created_ms,
        };
        let is_index_full = self.index_entries >= limits.index_bytes / INDEX_ENTRY_LEN
            // The last slot is kept for the entry that is made on rolling.
            || self.time_entries + 1 >= limits.index_bytes / TIME_INDEX_ENTRY_LEN;
        if self.size + size > limits.segment_bytes {
            Some(RollCause::Size)
        } else if age > limits.segment_ms - limits.jitter_ms {
            Some(RollCause::Age)
        } else {
            is_index_full.then_some(RollCause::IndexFull)
        }
    }

    /// Takes note of a batch that goes to the end of the log file, and writes the index entries that are due: one for
    /// the first batch after more than `index_interval` bytes without.
    pub(crate) fn on_append(
        &mut self,
        header: &BatchHeader,
        index_interval: u64,
        unawaited: StorageToken,
        out: &mut Outbox,
    ) {
        let position = self.size;
        if let Some(entry) = self.note(header, index_interval) {
            let mut bytes = [0_u8; INDEX_ENTRY_LEN as usize];
            encode_index_entry(&mut bytes, self.base, entry);
            self.write(IndexFile::Offset, &bytes, unawaited, out);
            self.add_index_entry(entry);
            self.add_time_entry_if_due(unawaited, out);
        }
        debug_assert!(self.size > position, "a batch has bytes");
    }

    /// The part of [`Self::on_append`] that changes no file: recovery goes through it for every batch it finds. Answers
    /// the index entry that is due before this batch.
    pub(crate) fn note(&mut self, header: &BatchHeader, index_interval: u64) -> Option<IndexEntry> {
        let size = header.size() as u64;
        if self.size == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_offset = Offset(header.last_offset());
        }
        let due = self.bytes_since_index > index_interval;
        let entry = due.then(|| IndexEntry { offset: Offset(header.last_offset()), position: self.size });
        if due {
            self.bytes_since_index = 0;
        }
        self.bytes_since_index += size;
        self.size += size;
        entry
    }

    /// Takes note that the log file was cut to `size` bytes and the indexes emptied. What the largest timestamp below the cut
    /// is, nobody looks up in the one log that is cut so: the metadata log.
    pub(crate) fn truncate(&mut self, size: u64) {
        self.size = size;
        self.index_entries = 0;
        self.thin = Some(Vec::new());
        self.time_entries = 0;
        self.last_time_entry = NO_TIMESTAMP;
        self.bytes_since_index = size;
        self.last_entry_position = 0;
        self.max_timestamp = NO_TIMESTAMP;
        self.max_timestamp_offset = self.base;
    }

    /// Counts an entry that was added to the offset index file.
    pub(crate) fn add_index_entry(&mut self, entry: IndexEntry) {
        if self.index_entries.is_multiple_of(THIN_STRIDE)
            && let Some(thin) = &mut self.thin
        {
            thin.push(entry);
        }
        self.index_entries += 1;
        self.last_entry_position = entry.position;
    }

    /// The time index entry that is due, if the largest timestamp has grown since the last.
    pub(crate) fn due_time_entry(&self) -> Option<[u8; TIME_INDEX_ENTRY_LEN as usize]> {
        if self.max_timestamp <= self.last_time_entry {
            return None;
        }
        let mut bytes = [0_u8; TIME_INDEX_ENTRY_LEN as usize];
        bytes[..8].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&relative(self.base, self.max_timestamp_offset).to_be_bytes());
        Some(bytes)
    }

    /// Counts an entry that was added to the time index file.
    pub(crate) const fn add_time_entry(&mut self) {
        self.last_time_entry = self.max_timestamp;
        self.time_entries += 1;
    }

    /// Writes the time index entry that is due, beside an offset index entry and once more when the segment is closed.
    /// Answers whether there was one.
    pub(crate) fn add_time_entry_if_due(&mut self, unawaited: StorageToken, out: &mut Outbox) -> bool {
        let Some(bytes) = self.due_time_entry() else { return false };
        self.write(IndexFile::Time, &bytes, unawaited, out);
        self.add_time_entry();
        true
    }

    fn write(&self, which: IndexFile, bytes: &[u8], unawaited: StorageToken, out: &mut Outbox) {
        let (file, entries, entry_len) = match which {
            IndexFile::Offset => (&self.index, self.index_entries, INDEX_ENTRY_LEN),
            IndexFile::Time => (&self.time_index, self.time_entries, TIME_INDEX_ENTRY_LEN),
        };
        let op = StorageOp::Append {
            file: file.clone(),
            position: u64::from(entries) * u64::from(entry_len),
            bytes: [Bytes::copy_from_slice(bytes), Bytes::new()],
        };
        out.push(Output::Storage { token: unawaited, op });
    }

    /// The files of the segment.
    pub(crate) const fn files(&self) -> [&StoragePath; 3] {
        [&self.log, &self.index, &self.time_index]
    }

    /// The timestamp by which retention judges the segment: its largest, or the file's own when records have none.
    pub(crate) const fn retention_timestamp(&self) -> i64 {
        if self.max_timestamp >= 0 { self.max_timestamp } else { self.created_ms }
    }
}

#[derive(Clone, Copy)]
enum IndexFile {
    Offset,
    Time,
}

/// An offset as the index files hold it.
fn relative(base: Offset, offset: Offset) -> i32 {
    i32::try_from(offset.0 - base.0).expect("a segment spans fewer than 2^31 offsets: it rolls before")
}

/// Writes an offset index entry.
pub(crate) fn encode_index_entry(to: &mut [u8], base: Offset, entry: IndexEntry) {
    let position = u32::try_from(entry.position).expect("a segment is smaller than 2^31 bytes");
    to[..4].copy_from_slice(&relative(base, entry.offset).to_be_bytes());
    to[4..8].copy_from_slice(&position.to_be_bytes());
}

/// The entries of (a part of) an offset index file, up to where it stops making sense: Kafka preallocates index files
/// with zeros, and a power loss leaves anything.
pub(crate) fn decode_index(base: Offset, bytes: &[u8]) -> Vec<IndexEntry> {
    let mut entries: Vec<IndexEntry> = Vec::with_capacity(bytes.len() / INDEX_ENTRY_LEN as usize);
    for entry in bytes.chunks_exact(INDEX_ENTRY_LEN as usize) {
        let (offset, position) = entry.split_at(4);
        let offset = i32::from_be_bytes(offset.try_into().expect("four bytes"));
        let position = i32::from_be_bytes(position.try_into().expect("four bytes"));
        let Ok(position) = u64::try_from(position) else { break };
        let entry = IndexEntry { offset: base.plus(i64::from(offset)), position };
        let follows = entries.last().map_or(
            // The first batch of a segment has no entry, so no position is 0.
            offset >= 0 && position > 0,
            |last| entry.offset > last.offset && entry.position > last.position,
        );
        if !follows {
            break;
        }
        entries.push(entry);
    }
    entries
}

/// The entries of a time index file, up to where it stops making sense: (timestamp, offset).
pub(crate) fn decode_time_index(base: Offset, bytes: &[u8]) -> Vec<(i64, Offset)> {
    let mut entries: Vec<(i64, Offset)> = Vec::with_capacity(bytes.len() / TIME_INDEX_ENTRY_LEN as usize);
    for entry in bytes.chunks_exact(TIME_INDEX_ENTRY_LEN as usize) {
        let (timestamp, offset) = entry.split_at(8);
        let timestamp = i64::from_be_bytes(timestamp.try_into().expect("eight bytes"));
        let offset = i32::from_be_bytes(offset.try_into().expect("four bytes"));
        let last = entries.last().map_or(NO_TIMESTAMP, |(timestamp, _)| *timestamp);
        // Zeros at the start of a preallocated file look like timestamp 0: without an entry before it, only an offset
        // beyond the base tells them from a record written in 1970.
        if offset < 0 || timestamp <= last || (timestamp == 0 && offset == 0) {
            break;
        }
        entries.push((timestamp, base.plus(i64::from(offset))));
    }
    entries
}
