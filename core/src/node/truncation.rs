//! Cutting off what a follower's log has and the leader's has not (KIP-101, KIP-279).
//!
//! A log is cut while nothing is under way on it, and not before the checkpoint file says that nothing behind the cut is
//! durable: after a crash what then stands there is looked at, whether it is what was cut off or what came after it. Then the
//! log is opened anew up to the cut, as after a crash, so that indexes, leader epochs and producers are those of what is left;
//! or it is given up whole, where the leader's begins later.

use super::broker::Broker;
use crate::ids::{LeaderEpoch, Offset};
use crate::log::loader::{LoadRequest, LoadStep, LogLoader};
use crate::mark::Mark;
use crate::outbox::Outbox;
use crate::storage_op::{Completion, StorageFault};
use crate::time::Now;
use alloc::vec::Vec;
use bytes::Bytes;

/// How far a cut is.
#[derive(Clone, Debug)]
enum Step {
    /// What is under way on the log comes first.
    Waiting,
    /// The checkpoint file is being written.
    Doubting,
    /// The log is opened up to the cut.
    Opening(LogLoader),
    /// The log is given up and begins anew.
    Emptying,
}

/// A log whose end is being cut off.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// Where it is to end, or to begin.
    to: Offset,
    /// It is to be empty.
    is_whole: bool,
    /// What comes next, if it is here already, and the leader's epoch in which it came.
    next: Option<(LeaderEpoch, Bytes)>,
    step: Step,
}

impl Cut {
    /// Whether somebody else than the log changes its files.
    pub(super) const fn is_under_way(&self) -> bool {
        matches!(self.step, Step::Opening(_))
    }

    /// Whether the log is not what it was any more, and not yet what it will be.
    const fn is_half_done(&self) -> bool {
        !matches!(self.step, Step::Waiting)
    }
}

impl Broker {
    /// Begins to cut a follower's log, so that it ends at an offset, or is empty and begins there. Answers whether there was
    /// anything to cut.
    pub(super) fn cut_log(&mut self, owner: u32, to: Offset, now: Now, out: &mut Outbox) -> bool {
        let Some(partition) = self.partitions.get_mut(&owner) else { return false };
        let log = partition.log();
        if to == log.next_offset() {
            // There is nothing to cut but epochs without records.
            return partition.forget_epochs_at_end(out);
        }
        let is_whole = !(log.log_start()..log.next_offset()).contains(&to);
        self.begin_cutting(owner, Cut { to, is_whole, next: None, step: Step::Waiting }, now, out);
        true
    }

    /// Has a log without records begin at an offset, with what the leader sent.
    pub(super) fn begin_log_at(
        &mut self,
        owner: u32,
        to: Offset,
        next: (LeaderEpoch, Bytes),
        now: Now,
        out: &mut Outbox,
    ) {
        let cut = Cut { to, is_whole: true, next: Some(next), step: Step::Waiting };
        self.begin_cutting(owner, cut, now, out);
    }

    fn begin_cutting(&mut self, owner: u32, cut: Cut, now: Now, out: &mut Outbox) {
        out.sometimes(Mark::PartitionCut);
        self.interrupt_move(owner, out);
        self.cuts.insert(owner, cut);
        if let Some(partition) = self.partitions.get_mut(&owner) {
            let awakened = partition.take_waiting();
            self.on_awakened(owner, awakened, now, out);
        }
        self.pursue_cuts(now, out);
    }

    /// Whether nobody can say what a log is until it was cut.
    pub(super) fn is_half_cut(&self, owner: u32) -> bool {
        self.cuts.get(&owner).is_some_and(Cut::is_half_done)
    }

    /// Goes on with what waits.
    pub(super) fn pursue_cuts(&mut self, now: Now, out: &mut Outbox) {
        if self.cuts.is_empty() || self.is_stopping() {
            return;
        }
        let owners: Vec<u32> = self.cuts.keys().copied().collect();
        let mut has_doubted = false;
        for owner in &owners {
            let (Some(cut), Some(partition)) = (self.cuts.get_mut(owner), self.partitions.get_mut(owner))
            else {
                continue;
            };
            if matches!(cut.step, Step::Waiting) && partition.log().is_still() {
                partition.log_mut().doubt(cut.to);
                cut.step = Step::Doubting;
                has_doubted = true;
            }
        }
        if has_doubted {
            self.write_recovery_points(out);
            self.write_log_starts(out);
        }
        for owner in owners {
            self.begin_cut(owner, now, out);
            self.end_emptying(owner, now, out);
        }
    }

    fn begin_cut(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        let has_written = self.has_written();
        let (Some(cut), Some(partition)) = (self.cuts.get_mut(&owner), self.partitions.get_mut(&owner))
        else {
            return;
        };
        if !matches!(cut.step, Step::Doubting) || !has_written || !partition.log().is_still() {
            return;
        }
        if cut.is_whole {
            cut.step = Step::Emptying;
            partition.log_mut().truncate_fully(cut.to, now, out);
            return;
        }
        let log = partition.log();
        let request = LoadRequest {
            dir: log.dir().clone(),
            owner: log.owner(),
            jitter: log.jitter(),
            clean: false,
            recovery_point: log.recovery_point(),
            log_start: log.log_start(),
            high_watermark: partition.high_watermark(),
            end: Some(cut.to),
            config: partition.config().clone(),
            museum: self.museum,
        };
        cut.step = Step::Opening(LogLoader::begin(request, out));
    }

    /// Takes what the disk brought to a log that is opened up to its cut.
    pub(super) fn on_cut_storage(
        &mut self,
        owner: u32,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(Cut { step: Step::Opening(loader), .. }) = self.cuts.get_mut(&owner) else { return };
        match loader.on_completed(sequence, result, now, out) {
            Ok(LoadStep::Pending) => {}
            Ok(LoadStep::Done(loaded)) => {
                if let Some(partition) = self.partitions.get_mut(&owner) {
                    partition.replace_log(loaded.log);
                }
                self.end_cut(owner, now, out);
            }
            Err(fault) => self.on_storage_fault(owner, fault, now, out),
        }
        self.maybe_mark_clean(out);
    }

    fn end_emptying(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        let is_emptying = self.cuts.get(&owner).is_some_and(|cut| matches!(cut.step, Step::Emptying));
        if let Some(partition) = self.partitions.get_mut(&owner).filter(|_| is_emptying)
            && !partition.log().is_cutting()
        {
            partition.on_cut();
            self.end_cut(owner, now, out);
        }
    }

    /// The log is whole: the replica becomes what the cluster says by now.
    fn end_cut(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        let next = self.cuts.remove(&owner).and_then(|cut| cut.next);
        let is_stopping = self.is_stopping();
        let Some(partition) = self.partitions.get_mut(&owner) else { return };
        if is_stopping {
            return partition.close(out);
        }
        let id = partition.id;
        self.on_partition_change(id, now, out);
        if let Some((leader_epoch, bytes)) = next
            && let Some(partition) = self.partitions.get_mut(&owner)
            && partition.is_follower_in(leader_epoch)
        {
            partition.append_fetched(bytes, now, out);
        }
        self.pursue_replica_fetchers(now, out);
    }

    /// Whether a follower's log can take what comes next.
    pub(super) fn is_settled(&self, owner: u32) -> bool {
        self.partitions.get(&owner).is_some_and(|partition| {
            let log = partition.log();
            partition.written_end() == log.next_offset() && !log.is_cutting()
        })
    }

    /// A follower's partition by its owner's number, unless it is being cut or cannot be read.
    pub(super) fn is_fetchable(&self, owner: u32) -> bool {
        let is_there = self.partitions.get(&owner).is_some_and(|partition| !partition.is_offline());
        is_there && !self.cuts.contains_key(&owner)
    }
}
