//! The metadata log of one voter, as it asked its disk for it.

use super::voter_set::VoterSet;
use crate::check::METADATA_DIR as DIR;
use crate::check::truth::{batches_of, len_after_truncations, segment_base, segments_to_be};
use crate::disk::{Contents, Disk};
use crate::trace::Hash64;
use bytes::Bytes;
use sordini_core::storage_op::{StorageOp, StoragePath};
use sordini_protocol::batch::{Batch, BatchHeader};
use std::sync::Arc;

/// A batch of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VoterBatch {
    /// Offset of its first record.
    pub(super) base: i64,
    /// The offset after its last record.
    pub(super) end: i64,
    /// Of the leader that wrote it.
    pub(super) epoch: i32,
    /// Of its bytes.
    pub(super) hash: u64,
    /// The bytes.
    pub(super) bytes: Bytes,
    /// Of it and of all that lies before it in its log.
    pub(super) prefix: u64,
    /// Who votes from it on, if it says so.
    pub(super) voters: Option<Arc<VoterSet>>,
    file: Arc<str>,
    position: u64,
    len: u64,
}

impl VoterBatch {
    /// The same without its bytes, for those who keep it for all time.
    pub(super) fn without_bytes(&self) -> Self {
        Self { bytes: Bytes::new(), ..self.clone() }
    }

    /// Whether it is the same as one of another log.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.base, self.end, self.epoch, self.hash) == (other.base, other.end, other.epoch, other.hash)
    }
}

/// The batches, in the order of their offsets.
#[derive(Clone, Debug, Default)]
pub(super) struct VoterLog {
    /// Where it begins.
    start: i64,
    /// Of all that lies before.
    prefix: u64,
    batches: Vec<VoterBatch>,
    /// Whether any batch ever said who votes: most logs never do, and need not be looked through for one.
    has_voters: bool,
    /// How many, from the first, are known to be durable.
    durable: usize,
}

impl VoterLog {
    /// What lies on a disk that nobody writes to, up to the first bytes that are no batch.
    pub(super) fn on(disk: &Disk, prefix_at: impl Fn(i64) -> u64) -> Self {
        let mut log = Self::default();
        let segments = disk.paths_beneath(DIR).filter(|file| file.ends_with(".log")).map(Arc::from);
        let segments: Vec<Arc<str>> = segments.collect();
        for file in segments {
            let contents = disk.contents(&file).map(Contents::all).unwrap_or_default();
            log.begin_at(segment_base(&file), &prefix_at);
            if !log.read(&file, &contents) {
                break;
            }
        }
        log
    }

    /// The same of a disk on which operations are under way.
    pub(super) fn to_be_on(disk: &Disk, prefix_at: impl Fn(i64) -> u64) -> Self {
        let mut log = Self::default();
        for (_, file) in segments_to_be(DIR, disk) {
            log.begin_at(segment_base(&file), &prefix_at);
            let len = len_after_truncations(disk, &file);
            let contents = disk.contents(&file).map(|contents| contents.read(0, len)).unwrap_or_default();
            if !log.read(&file, &contents) {
                break;
            }
        }
        for op in disk.pending() {
            if let StorageOp::Append { file, position, bytes } = op
                && file.parent() == DIR
                && file.as_str().ends_with(".log")
            {
                log.append(file, *position, bytes, &prefix_at);
            }
        }
        log
    }

    /// A segment begins: where there is nothing before it, that is where the log does.
    fn begin_at(&mut self, base: i64, prefix_at: impl Fn(i64) -> u64) {
        if self.batches.is_empty() {
            (self.start, self.prefix) = (base, prefix_at(base));
        }
    }

    /// Adds the batches of a file; false if something else stands there too.
    fn read(&mut self, file: &Arc<str>, contents: &Bytes) -> bool {
        let mut position = 0;
        while position < contents.len() {
            let rest = contents.slice(position..);
            let Ok(header) = BatchHeader::parse(&rest) else { return false };
            if header.size() > rest.len() {
                return false;
            }
            let bytes = rest.slice(..header.size());
            let is_whole = Batch::new(bytes.clone()).is_ok_and(|batch| batch.check_crc().is_ok());
            if !is_whole || header.base_offset != self.end() {
                return false;
            }
            self.push(&header, file, position as u64, &[bytes, Bytes::new()]);
            position += header.size();
        }
        true
    }

    fn push(&mut self, header: &BatchHeader, file: &Arc<str>, position: u64, bytes: &[Bytes; 2]) {
        let mut hash = Hash64::default();
        let bytes = Bytes::from(bytes.concat());
        hash.bytes(&bytes);
        let hash = hash.finish();
        let mut prefix = Hash64::default();
        prefix.word(self.batches.last().map_or(self.prefix, |before| before.prefix));
        prefix.word(hash);
        let voters = if header.is_control() { VoterSet::in_batches(&bytes).map(Arc::new) } else { None };
        self.has_voters |= voters.is_some();
        self.batches.push(VoterBatch {
            base: header.base_offset,
            end: header.next_offset(),
            epoch: header.partition_leader_epoch,
            hash,
            bytes,
            prefix: prefix.finish(),
            voters,
            file: Arc::clone(file),
            position,
            len: header.size() as u64,
        });
    }

    /// The offset after the last record.
    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |batch| batch.end)
    }

    /// Where its first segment begins.
    pub(super) const fn start(&self) -> i64 {
        self.start
    }

    /// Takes what was appended, and answers how many batches that was. What is no batch, other checks find.
    pub(super) fn append(
        &mut self,
        file: &StoragePath,
        position: u64,
        bytes: &[Bytes; 2],
        prefix_at: impl Fn(i64) -> u64,
    ) -> usize {
        if !file.as_str().ends_with(".log") {
            return 0;
        }
        if position == 0 {
            self.begin_at(segment_base(file.as_str()), prefix_at);
        }
        if bytes.iter().all(Bytes::is_empty) {
            return 0;
        }
        let batches = batches_of(file, position, bytes, 0).unwrap_or_default();
        for batch in &batches {
            self.push(&batch.header, &file.shared(), batch.position, &batch.bytes);
        }
        batches.len()
    }

    /// The last `count` batches.
    pub(super) fn last(&self, count: usize) -> &[VoterBatch] {
        &self.batches[self.batches.len() - count..]
    }

    /// A file was cut; answers what went.
    pub(super) fn truncate(&mut self, file: &str, len: u64) -> Vec<VoterBatch> {
        self.take(|batch| &*batch.file == file && batch.position + batch.len > len)
    }

    /// A file or directory is removed; answers what went with it.
    pub(super) fn remove(&mut self, path: &str) -> Vec<VoterBatch> {
        self.take(|batch| batch.file.starts_with(path))
    }

    /// The first segment loses its name.
    pub(super) fn remove_front(&mut self, path: &str) {
        let gone = self.take(|batch| batch.file.starts_with(path));
        if let Some(last) = gone.last() {
            (self.start, self.prefix) = (last.end, last.prefix);
        }
    }

    fn take(&mut self, is_gone: impl Fn(&VoterBatch) -> bool) -> Vec<VoterBatch> {
        let gone: Vec<VoterBatch> = self.batches.extract_if(.., |batch| is_gone(batch)).collect();
        if !gone.is_empty() {
            self.durable = 0;
        }
        gone
    }

    /// The batches that begin at an offset or behind.
    pub(super) fn from(&self, offset: i64) -> &[VoterBatch] {
        &self.batches[self.batches.partition_point(|batch| batch.base < offset)..]
    }

    /// The batch that ends at an offset.
    pub(super) fn ending_at(&self, end: i64) -> Option<&VoterBatch> {
        let index = self.batches.partition_point(|batch| batch.end < end);
        self.batches.get(index).filter(|batch| batch.end == end)
    }

    /// The last batch below an offset that says who votes.
    pub(super) fn naming_voters(&self, end: i64) -> Option<&VoterBatch> {
        if !self.has_voters {
            return None;
        }
        let below = self.batches.partition_point(|batch| batch.base < end);
        self.batches[..below].iter().rfind(|batch| batch.voters.is_some())
    }

    /// The offset below which everything is durable.
    pub(super) fn durable_end(&mut self, disk: &Disk) -> i64 {
        while let Some(batch) = self.batches.get(self.durable)
            && disk.durable_len(&batch.file) >= batch.position + batch.len
        {
            self.durable += 1;
        }
        self.durable.checked_sub(1).map_or(self.start, |last| self.batches[last].end)
    }
}

#[cfg(test)]
impl VoterLog {
    /// A log of batches of one record each, of these epochs.
    pub(super) fn of_epochs(epochs: &[i32]) -> Self {
        let mut log = Self::default();
        let mut position = 0;
        for (leader_epoch, base_offset) in epochs.iter().copied().zip(0..) {
            let params = sordini_protocol::batch::BatchParams {
                base_offset,
                leader_epoch,
                ..sordini_protocol::batch::BatchParams::default()
            };
            let batch = crate::check::example::batch(params, 0, "a record");
            let len = batch.len() as u64;
            let file = StoragePath::new(&format!("{DIR}/{:020}.log", 0));
            assert_eq!(log.append(&file, position, &[batch, Bytes::new()], |_| 0), 1);
            position += len;
        }
        log
    }
}
