//! Finding where in a segment an offset or a timestamp lies, when memory does not tell: a small machine that reads a
//! page of an index and then the headers of a few batches. Several run at once in one log.

use super::segment::{self, INDEX_ENTRY_LEN, IndexEntry, Segment, THIN_STRIDE, TIME_INDEX_ENTRY_LEN};
use crate::ids::Offset;
use crate::produce_request::DECOMPRESSED_BYTES_MAX;
use crate::storage_op::{StorageOp, StoragePath};
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::{Batch, BatchError, BatchHeader, HEADER_LEN};

/// How much of the log is read at once while looking for a batch: two index intervals, so that one read is mostly enough.
const SCAN_CHUNK_LEN: u32 = 8192;

/// How much of an offset index is read at once: the entries behind one that is in memory, and as many more, so that the
/// end of a fetch of some megabytes is found by the same read.
const INDEX_CHUNK_LEN: u32 = 2 * THIN_STRIDE * INDEX_ENTRY_LEN;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The batch that holds this offset, or the next one that does not lie below it. `max_bytes` is how far from there
    /// the reader will go, and `end` the offset it may go to; the answer says where a batch begins before either.
    Offset { offset: Offset, max_bytes: u64, end: Offset },
    /// The first record at or above `from` whose timestamp is not below `timestamp`.
    Timestamp { timestamp: i64, from: Offset },
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A batch.
    Batch(BatchPlace),
    /// A record.
    Record { offset: Offset, timestamp: i64, leader_epoch: i32 },
    /// Nothing in this segment.
    Nothing,
    /// There is no batch where one begins.
    Damage,
}

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchPlace {
    /// Base offset of the segment.
    pub(crate) segment: Offset,
    /// Base offset of the batch.
    pub(crate) base: Offset,
    pub(crate) position: u64,
    /// Bytes of the batch itself.
    pub(crate) size: u64,
    /// A batch further on, by where it begins and what it ends with: not more than the reader's `max_bytes` away, and below
    /// the end it asked for.
    pub(crate) boundary: Option<IndexEntry>,
}

/// A search under way.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    target: Target,
    segment: Offset,
    log: StoragePath,
    index: StoragePath,
    time_index: StoragePath,
    index_entries: u32,
    time_entries: u32,
    /// Bytes of the log file when the search began; what came later is not searched.
    log_size: u64,
    /// The page of the offset index that was read: starts of batches, for the end of the fetch.
    page: Vec<IndexEntry>,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The whole time index was asked for.
    TimeIndex,
    /// The whole offset index was asked for: it had not been read since the start.
    WholeIndex,
    /// A page of the offset index was asked for.
    IndexPage,
    /// The log was asked for, from `position`.
    Scan { position: u64, len: u32 },
}

/// What a lookup needs next.
#[derive(Debug)]
pub(crate) enum Next {
    /// This read.
    Read(StorageOp),
    /// Nothing; it is over.
    Done(Found),
}

impl Lookup {
    /// Begins a search in `segment`.
    pub(crate) fn begin(segment: &Segment, target: Target) -> (Self, Next) {
        let mut lookup = Self {
            target,
            segment: segment.base,
            log: segment.log.clone(),
            index: segment.index.clone(),
            time_index: segment.time_index.clone(),
            index_entries: segment.index_entries,
            time_entries: segment.time_entries,
            log_size: segment.size,
            page: Vec::new(),
            stage: Stage::TimeIndex,
        };
        let next = match target {
            Target::Timestamp { .. } if segment.time_entries > 0 => {
                let len = lookup.time_entries * TIME_INDEX_ENTRY_LEN;
                Next::Read(StorageOp::Read { file: lookup.time_index.clone(), position: 0, len })
            }
            Target::Timestamp { from, .. } => lookup.find_offset(from, segment),
            Target::Offset { offset, .. } => lookup.find_offset(offset, segment),
        };
        (lookup, next)
    }

    /// Goes on with what a read brought. `segment` is the segment as it is by this time. `None` for the bytes when the
    /// file is gone.
    pub(crate) fn resume(&mut self, bytes: &Bytes, segment: &mut Segment) -> Next {
        match self.stage {
            Stage::TimeIndex => {
                let Target::Timestamp { timestamp, from } = self.target else {
                    unreachable!("only a search for a timestamp reads the time index")
                };
                // An entry says that no record before its offset has a greater timestamp; so below the last entry with a
                // smaller timestamp there is nothing to find.
                let entries = segment::decode_time_index(self.segment, bytes);
                let below = entries.partition_point(|(at, _)| *at < timestamp);
                let start = below.checked_sub(1).map_or(from, |at| entries[at].1.max(from));
                self.find_offset(start, segment)
            }
            Stage::WholeIndex => {
                let entries = segment::decode_index(self.segment, bytes);
                segment.thin = Some(entries.iter().copied().step_by(THIN_STRIDE as usize).collect());
                self.scan_from(entries)
            }
            Stage::IndexPage => self.scan_from(segment::decode_index(self.segment, bytes)),
            Stage::Scan { position, len } => self.scan(position, len, bytes),
        }
    }

    /// The segment that is searched.
    pub(crate) const fn segment(&self) -> Offset {
        self.segment
    }

    const fn start_offset(&self) -> Offset {
        match self.target {
            Target::Offset { offset, .. } => offset,
            Target::Timestamp { from, .. } => from,
        }
    }

    fn find_offset(&mut self, offset: Offset, segment: &Segment) -> Next {
        if let Target::Timestamp { from, .. } = &mut self.target {
            *from = offset;
        }
        let Some(thin) = &segment.thin else {
            self.stage = Stage::WholeIndex;
            let len = self.index_entries * INDEX_ENTRY_LEN;
            return Next::Read(StorageOp::Read { file: self.index.clone(), position: 0, len });
        };
        if thin.is_empty() {
            return self.read_log(0, SCAN_CHUNK_LEN);
        }
        let page = thin.partition_point(|entry| entry.offset <= offset).saturating_sub(1);
        self.stage = Stage::IndexPage;
        let position = page as u64 * u64::from(THIN_STRIDE * INDEX_ENTRY_LEN);
        Next::Read(StorageOp::Read { file: self.index.clone(), position, len: INDEX_CHUNK_LEN })
    }

    fn scan_from(&mut self, entries: Vec<IndexEntry>) -> Next {
        let offset = self.start_offset();
        let after = entries.partition_point(|entry| entry.offset <= offset);
        let start = after.checked_sub(1).map_or(0, |at| entries[at].position);
        self.page = entries;
        self.read_log(start, SCAN_CHUNK_LEN)
    }

    fn read_log(&mut self, position: u64, len: u32) -> Next {
        if position >= self.log_size {
            return Next::Done(Found::Nothing);
        }
        self.stage = Stage::Scan { position, len };
        Next::Read(StorageOp::Read { file: self.log.clone(), position, len })
    }

    fn scan(&mut self, start: u64, asked_len: u32, chunk: &Bytes) -> Next {
        let mut position = start;
        let mut rest = chunk.clone();
        loop {
            let header = match BatchHeader::parse(&rest) {
                Ok(header) => header,
                Err(BatchError::Truncated { .. }) if position > start => {
                    return self.read_log(position, SCAN_CHUNK_LEN);
                }
                // The file, or what is right in it, ends where a batch begins.
                Err(_) => return Next::Done(Found::Damage),
            };
            let size = header.size();
            let sought = match self.target {
                Target::Offset { offset, .. } => header.last_offset() >= offset.0,
                Target::Timestamp { timestamp, from } => {
                    header.max_timestamp >= timestamp && header.last_offset() >= from.0
                }
            };
            if sought {
                match self.target {
                    Target::Offset { max_bytes, end, .. } => {
                        let (next, limit) = (position + size as u64, position + max_bytes);
                        let after = self.page.partition_point(|it| it.position <= limit && it.offset < end);
                        let last = after.checked_sub(1).map(|at| self.page[at]);
                        let boundary = last.filter(|it| it.position >= next);
                        return Next::Done(Found::Batch(BatchPlace {
                            segment: self.segment,
                            base: Offset(header.base_offset),
                            position,
                            size: size as u64,
                            boundary,
                        }));
                    }
                    Target::Timestamp { timestamp, from } => {
                        if rest.len() < size {
                            let len = u32::try_from(size).unwrap_or(u32::MAX);
                            if position == start && asked_len >= len {
                                // The file is shorter than the batch, or than it was.
                                return Next::Done(Found::Damage);
                            }
                            return self.read_log(position, len);
                        }
                        match first_record(&rest, timestamp, from) {
                            Ok(None) => {}
                            Ok(Some(found)) => return Next::Done(found),
                            Err(_) => return Next::Done(Found::Damage),
                        }
                    }
                }
            }
            position += size as u64;
            if position >= self.log_size {
                return Next::Done(Found::Nothing);
            }
            if rest.len() < size + HEADER_LEN {
                return self.read_log(position, SCAN_CHUNK_LEN);
            }
            rest = rest.slice(size..);
        }
    }
}

fn first_record(bytes: &Bytes, timestamp: i64, from: Offset) -> Result<Option<Found>, BatchError> {
    let Some(batch) = Batch::first_of(&mut bytes.clone())? else { return Ok(None) };
    for record in batch.records(DECOMPRESSED_BYTES_MAX)? {
        let record = record?;
        if record.timestamp >= timestamp && record.offset >= from.0 {
            return Ok(Some(Found::Record {
                offset: Offset(record.offset),
                timestamp: record.timestamp,
                leader_epoch: batch.header().partition_leader_epoch,
            }));
        }
    }
    Ok(None)
}
