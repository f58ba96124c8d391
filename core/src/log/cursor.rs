//! Reading a log from one place to its end, whole batches at a time: for whoever copies it, or knows by its records what is so.

use super::partition_log::{PartitionLog, Stretch};
use crate::ids::Offset;
use crate::produce_request::DECOMPRESSED_BYTES_MAX;
use crate::storage_op::StoragePath;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::Batch;

/// How much is read of a log at a time, unless a batch is larger.
const CHUNK_LEN: u32 = 1 << 20;

/// How far a log is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    segment: Offset,
    position: u64,
    /// The offset after the last batch that was taken.
    next: Offset,
    /// How much is read at a time.
    len: u32,
    /// How much is being read.
    reading: Option<u32>,
}

/// What comes at a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// It is being read.
    Pending,
    /// To be read, and handed to [`Cursor::take`].
    Bytes { file: StoragePath, position: u64, len: u32 },
    /// The end of the log.
    End,
    /// It was deleted, and whoever reads has to begin anew.
    Overtaken,
    /// A segment that does not follow.
    Damaged,
}

/// What was read are no batches that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage;

impl Cursor {
    /// At the beginning of a segment of a log.
    pub(crate) const fn at(segment: Offset) -> Self {
        Self { segment, position: 0, next: segment, len: CHUNK_LEN, reading: None }
    }

    /// Whether something is being read.
    pub(crate) const fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// What comes next in the log. What is to be read counts as being read from here on.
    pub(crate) fn ahead(&mut self, log: &PartitionLog) -> Ahead {
        if self.reading.is_some() {
            return Ahead::Pending;
        }
        loop {
            match log.stretch(self.segment, self.position) {
                Stretch::Bytes { file, len } => {
                    let len = u32::try_from(len).unwrap_or(u32::MAX).min(self.len);
                    self.reading = Some(len);
                    return Ahead::Bytes { file, position: self.position, len };
                }
                Stretch::NextSegment(base) if base >= self.next => {
                    (self.segment, self.position, self.next) = (base, 0, base);
                }
                Stretch::NextSegment(_) => return Ahead::Damaged,
                Stretch::End => return Ahead::End,
                Stretch::Gone if self.segment != self.next && log.has_segment(self.next) => {
                    (self.segment, self.position) = (self.next, 0);
                }
                Stretch::Gone => return Ahead::Overtaken,
            }
        }
    }

    /// Takes what was read at the place that [`Self::ahead`] told; nothing, if the segment was deleted under the read. Answers
    /// the batches that are whole in it.
    pub(crate) fn take(&mut self, log: &PartitionLog, mut bytes: Bytes) -> Result<Vec<Batch>, Damage> {
        let asked = self.reading.take().map_or(0, |len| len as usize);
        let Stretch::Bytes { len: left, .. } = log.stretch(self.segment, self.position) else {
            // What it held is looked for again.
            return Ok(Vec::new());
        };
        let read = bytes.len();
        let mut batches = Vec::new();
        while let Some(batch) = Batch::first_of(&mut bytes).map_err(|_| Damage)? {
            let header = *batch.header();
            let follows = header.base_offset >= self.next.0 && header.last_offset() >= header.base_offset;
            if !follows || batch.check_crc().is_err() {
                return Err(Damage);
            }
            self.next = Offset(header.next_offset());
            batches.push(batch);
        }
        self.position += (read - bytes.len()) as u64;
        if batches.is_empty() {
            if read < asked || read as u64 == left || asked >= DECOMPRESSED_BYTES_MAX {
                return Err(Damage);
            }
            // The batch is longer than what was read.
            self.len = self.len.saturating_mul(2);
        }
        Ok(batches)
    }
}
