//! A replica on its way to another log directory: Kafka's future replica (KIP-113).
//!
//! The records of its log are copied to one in the other directory. Once that has all of them, what is appended goes to both.
//! From some point on a crash may leave either as the one that counts, and until that is over nothing is written, for whoever
//! waits, that is not written in both.

use super::{Awakened, Part, Partition, take_reached};
use crate::ids::Offset;
use crate::log::cursor::{Ahead, Cursor};
use crate::log::lookup::Target;
use crate::log::partition_log::PartitionLog;
use crate::outbox::Outbox;
use crate::storage_op::{Completion, StorageFault, StoragePath};
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::AppendableBatch;

/// A log that is to take the place of another.
#[derive(Clone, Debug)]
pub(crate) struct FutureLog {
    pub(crate) log: PartitionLog,
    stage: Stage,
}

/// What a future log is to the log in whose place it is to be.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// It has the beginning.
    Copying(Cursor),
    /// It has everything, and gets everything.
    Twin,
    /// And a crash may leave this one as the one that counts.
    Counting,
    /// It gets nothing any more, and a crash may still leave it as the one that counts, with what was written and durable of it.
    Frozen { written: Offset, flushed: Offset },
}

impl FutureLog {
    /// A log without records, for all those of another.
    pub(crate) const fn new(log: PartitionLog, begin: Offset) -> Self {
        Self { log, stage: Stage::Copying(Cursor::at(begin)) }
    }

    /// Whether a crash may leave this one as the one that counts.
    pub(crate) const fn counts(&self) -> bool {
        matches!(self.stage, Stage::Counting | Stage::Frozen { .. })
    }

    pub(crate) const fn is_frozen(&self) -> bool {
        matches!(self.stage, Stage::Frozen { .. })
    }

    /// Whether it gets what is appended.
    pub(super) const fn is_twin(&self) -> bool {
        matches!(self.stage, Stage::Twin | Stage::Counting)
    }
}

/// What became of copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// It goes on when the disk has answered.
    Pending,
    /// So many bytes are being read.
    Reading(u32),
    /// The future log has everything.
    All,
    /// What comes next was deleted under the copying, which has to begin anew.
    Overtaken,
    /// The log cannot be read: what is there are no batches that follow one another.
    Damaged,
    /// The disk under the log failed.
    Failed(StorageFault),
}

impl Partition {
    pub(crate) fn future(&self) -> Option<&FutureLog> {
        self.future.as_deref()
    }

    /// Begins to move to another directory.
    pub(crate) fn begin_future(&mut self, future: FutureLog) {
        self.future = Some(Box::new(future));
    }

    /// Gives the future log up. Nobody may look for it any more.
    pub(crate) fn drop_future(&mut self) -> Option<FutureLog> {
        self.future.take().map(|future| *future)
    }

    /// Gives the future log up, which a crash may still leave as the one that counts.
    pub(crate) fn freeze_future(&mut self) {
        if let Some(future) = &mut self.future {
            let (written, flushed) = (future.log.written_end(), future.log.flushed_end());
            future.stage = Stage::Frozen { written, flushed };
        }
    }

    /// What is written from here on where the log was cut is other records than what a frozen copy has there.
    pub(super) fn lower_frozen_ends(&mut self) {
        let end = self.log.next_offset();
        if let Some(FutureLog { stage: Stage::Frozen { written, flushed }, .. }) = self.future.as_deref_mut()
        {
            (*written, *flushed) = ((*written).min(end), (*flushed).min(end));
        }
    }

    fn twin_mut(&mut self) -> Option<&mut FutureLog> {
        self.future.as_deref_mut().filter(|future| future.is_twin())
    }

    /// Below it every record is written wherever this replica's log may be looked for after a crash.
    pub(crate) fn written_end(&self) -> Offset {
        let copied = self.future().and_then(|future| match future.stage {
            Stage::Copying(_) => None,
            // Nobody must be told faster than the slower of two disks can write.
            Stage::Twin | Stage::Counting => Some(future.log.written_end()),
            Stage::Frozen { written, .. } => Some(written),
        });
        self.log.written_end().min(copied.unwrap_or(Offset(i64::MAX)))
    }

    /// Below it every record is durable wherever this replica's log may be looked for after a crash.
    pub(crate) fn flushed_end(&self) -> Offset {
        let copied = self.future().and_then(|future| match future.stage {
            Stage::Copying(_) | Stage::Twin => None,
            Stage::Counting => Some(future.log.flushed_end()),
            Stage::Frozen { flushed, .. } => Some(flushed),
        });
        self.log.flushed_end().min(copied.unwrap_or(Offset(i64::MAX)))
    }

    /// Copies what comes next, unless that is under way.
    pub(crate) fn copy_more(&mut self, now: Now, out: &mut Outbox) -> Copied {
        let Some(FutureLog { log: future, stage }) = self.future.as_deref_mut() else {
            return Copied::Pending;
        };
        let Stage::Copying(cursor) = stage else { return Copied::Pending };
        // A disk that is slower than the other must not be given more than it can write.
        if cursor.is_reading() || future.written_end() < future.next_offset() {
            return Copied::Pending;
        }
        match cursor.ahead(&self.log) {
            Ahead::Pending => Copied::Pending,
            Ahead::Bytes { file, position, len } => {
                future.read(file, position, len, out);
                Copied::Reading(len)
            }
            Ahead::End if future.next_offset() == self.log.next_offset() => {
                future.take_over(&self.log, &self.config, now, out);
                *stage = Stage::Twin;
                Copied::All
            }
            Ahead::End | Ahead::Damaged => Copied::Damaged,
            Ahead::Overtaken => Copied::Overtaken,
        }
    }

    /// Takes note of a completed operation of the future log.
    pub(crate) fn on_future_completed(
        &mut self,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(Awakened, Copied), StorageFault> {
        let Some(future) = self.future.as_deref_mut() else {
            return Ok((Awakened::default(), Copied::Pending));
        };
        let progress = future.log.on_completed(sequence, result, out)?;
        let mut awakened = Awakened::default();
        if progress.written && future.is_twin() {
            awakened = self.on_written(now);
        }
        let copied = match progress.read {
            None => Copied::Pending,
            Some(Ok(bytes)) => self.take_copied(bytes, now, out),
            // The segment was deleted under the read; what it held is looked for again.
            Some(Err(StorageFault::NotFound)) => self.take_copied(Bytes::new(), now, out),
            Some(Err(fault)) => Copied::Failed(fault),
        };
        Ok((awakened, copied))
    }

    /// Appends to the future log what was read of the log.
    fn take_copied(&mut self, bytes: Bytes, now: Now, out: &mut Outbox) -> Copied {
        let config = Arc::clone(&self.config);
        let Some(FutureLog { log: future, stage: Stage::Copying(cursor) }) = self.future.as_deref_mut()
        else {
            return Copied::Pending;
        };
        let Ok(batches) = cursor.take(&self.log, bytes) else { return Copied::Damaged };
        for batch in batches {
            let header = *batch.header();
            if header.base_offset != future.next_offset().0 {
                return Copied::Damaged;
            }
            let batch = batch.assign(header.base_offset, header.partition_leader_epoch);
            future.append(batch, &config, now, out);
        }
        Copied::Pending
    }

    /// From here on a crash may leave the future log as the one that counts, if that can be borne. Answers whether it can.
    pub(crate) fn begin_counting(&mut self, out: &mut Outbox) -> bool {
        let log = &self.log;
        let twin = self.future.as_deref_mut().filter(|future| matches!(future.stage, Stage::Twin));
        let Some(twin) = twin else { return false };
        if !twin.log.covers(log) {
            twin.log.flush(out);
            return false;
        }
        twin.stage = Stage::Counting;
        true
    }

    /// The directory of the future log has got another name.
    pub(crate) fn rename_future(&mut self, dir: StoragePath) {
        if let Some(future) = &mut self.future {
            future.log.move_to(dir);
        }
    }

    /// Goes on with the future log in the place of the log. Answers the log, and who can go on; what parked fetches know of
    /// places in files does not hold any more.
    pub(crate) fn become_future(&mut self, now: Now, out: &mut Outbox) -> Option<(PartitionLog, Awakened)> {
        let future = self.future.take()?;
        assert!(matches!(future.stage, Stage::Counting), "the future log has all that was promised");
        let log = core::mem::replace(&mut self.log, future.log);
        let mut awakened = self.on_written(now);
        for search in core::mem::take(&mut self.searches).into_values() {
            let start = match search.target {
                Target::Offset { offset, max_bytes, end } => self.log.find(offset, max_bytes, end, out),
                Target::Timestamp { timestamp, .. } => self.log.find_timestamp(timestamp, out).0,
            };
            let resolved = self.resolve(start, search);
            awakened.searches.extend(resolved.map(|resolved| (search.part, resolved)));
        }
        Some((log, awakened))
    }

    /// Who fetches, and waits.
    pub(crate) fn readers(&self) -> Vec<Part> {
        self.waiting_for_data.iter().chain(&self.waiting_for_records).copied().collect()
    }

    /// More is written than was.
    pub(crate) fn on_written(&mut self, now: Now) -> Awakened {
        let mut awakened = Awakened { fetches: self.follow_high_watermark(), ..Awakened::default() };
        let written_end = self.written_end();
        take_reached(&mut self.waiting_for_write, written_end, &mut awakened.produced);
        let Awakened { produced, fetches, .. } = self.maybe_advance_high_watermark(now);
        awakened.produced.extend(produced);
        awakened.fetches.extend(fetches.iter().chain(&self.waiting_for_records));
        awakened
    }

    // ---- what is done to the log and its twin ----

    pub(super) fn append_batch(&mut self, batch: AppendableBatch, now: Now, out: &mut Outbox) {
        let config = Arc::clone(&self.config);
        if let Some(twin) = self.twin_mut() {
            twin.log.append(batch.clone(), &config, now, out);
        }
        self.log.append(batch, &config, now, out);
    }

    pub(super) fn advance_log_start(&mut self, to: Offset, now: Now, out: &mut Outbox) {
        let config = Arc::clone(&self.config);
        self.log.advance_log_start(to, &config, now, out);
        let log_start = self.log.log_start();
        if let Some(twin) = self.twin_mut() {
            twin.log.advance_log_start(log_start, &config, now, out);
        }
    }

    /// Does what has come due.
    pub(crate) fn on_log_deadline(&mut self, now: Now, out: &mut Outbox) {
        self.log.on_deadline(now, out);
        if let Some(future) = self.future.as_deref_mut().filter(|future| !future.is_frozen()) {
            future.log.on_deadline(now, out);
        }
    }

    /// When [`Self::on_log_deadline`] has something to do.
    pub(crate) fn next_log_deadline(&self) -> Option<Instant> {
        let future = self.future().filter(|future| !future.is_frozen());
        let future = future.and_then(|future| future.log.next_deadline());
        self.log.next_deadline().into_iter().chain(future).min()
    }

    /// Forgets producers that are silent for long; answers whether there were any.
    pub(crate) fn expire_producers(&mut self, wall_ms: i64, expiration_ms: i64) -> bool {
        if let Some(twin) = self.twin_mut() {
            twin.log.expire_producers(wall_ms, expiration_ms);
        }
        self.log.expire_producers(wall_ms, expiration_ms)
    }

    /// Forgets epochs that began where the log ends, and in which it has no records.
    pub(crate) fn forget_epochs_at_end(&mut self, out: &mut Outbox) -> bool {
        if let Some(twin) = self.twin_mut() {
            twin.log.forget_epochs_at_end(out);
        }
        self.log.forget_epochs_at_end(out)
    }

    /// Puts the log in the state that a clean stop promises.
    pub(crate) fn close(&mut self, out: &mut Outbox) {
        self.log.close(out);
        if let Some(future) =
            self.future.as_deref_mut().filter(|future| future.counts() && !future.is_frozen())
        {
            future.log.close(out);
        }
    }

    /// Whether nothing that a clean stop has to wait for is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let counting = self.future().filter(|future| future.counts() && !future.is_frozen());
        self.log.is_idle() && counting.is_none_or(|future| future.log.is_idle())
    }
}
