//! AlterReplicaLogDirs: replicas move from one log directory of this node to another (KIP-113, KIP-858).
//!
//! Where a replica counts is what the cluster says. So the copy has to have everything before the controller is told of its
//! directory, and from then on until the other log is gone nothing counts as written that is not written in both: a crash may
//! leave either. `<topic>-<partition>.<id>-future` is the copy's name until the cluster says that the replica is there; a node
//! that starts takes it for the replica's log if the cluster says so, else it begins to copy anew.

use super::broker::{Broker, ReplyTo, Timer, condemned_name, dir_index};
use super::loading::Logs;
use super::replication_quota::ReplicationQuota;
use crate::ids::TopicIdPartition;
use crate::mark::Mark;
use crate::outbox::Outbox;
use crate::partition::{Copied, FutureLog};
use crate::storage_op::{Completion, StorageFault, StorageOp, StoragePath};
use crate::time::Now;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use sordini_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::Str;

/// Bytes of the longest name that a directory may have.
const NAME_LEN_MAX: usize = 255;

/// Replicas that are to lie in other log directories than they do.
#[derive(Clone, Debug)]
pub(super) struct LogDirMoves {
    /// Where replicas are to begin that are not here yet.
    preferred: BTreeMap<TopicIdPartition, usize>,
    /// By the owner number of the partition.
    moves: BTreeMap<u32, Move>,
    /// The partition's owner number of those logs that have another of their own.
    logs: BTreeMap<u32, u32>,
    /// What was copied lately.
    quota: ReplicationQuota,
}

#[derive(Clone, Copy, Debug)]
struct Move {
    /// The log directory to which the replica moves, by its place.
    to: usize,
    step: Step,
    /// Where to go after that.
    then: Option<usize>,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is copied before the log is whole and the cluster knows where it lies.
    Waiting,
    /// The copy has a part.
    Copying,
    /// The copy has everything, and not as durably as the log has.
    CatchingUp,
    /// What checkpoint files say of the copy is being written.
    Noting,
    /// The controller is being told.
    Telling,
    /// The copy's directory gets the replica's name, by this operation of the node's.
    Renaming(u64),
    /// It was given up after the controller may have heard of it: until this operation has removed the copy, or the controller has
    /// heard that the replica is where it was.
    Ending(Option<u64>),
}

impl LogDirMoves {
    pub(super) const fn new(quota: ReplicationQuota) -> Self {
        Self { preferred: BTreeMap::new(), moves: BTreeMap::new(), logs: BTreeMap::new(), quota }
    }

    /// The owner number of the partition whose log, or future log, has this number.
    pub(super) fn partition_of(&self, log: u32) -> u32 {
        self.logs.get(&log).copied().unwrap_or(log)
    }

    /// Where a replica that is not here yet was asked to begin.
    pub(super) fn preferred(&self, id: TopicIdPartition) -> Option<usize> {
        self.preferred.get(&id).copied()
    }

    pub(super) fn forget_preferred(&mut self, id: TopicIdPartition) {
        self.preferred.remove(&id);
    }

    /// The partition is not on this node any more, or not to be had.
    pub(super) fn forget(&mut self, owner: u32) {
        self.moves.remove(&owner);
        self.logs.retain(|_, partition| *partition != owner);
    }

    /// Whether the controller may have been told that the partition lies where its copy does.
    pub(super) fn is_told_of(&self, owner: u32) -> bool {
        let step = self.moves.get(&owner).map(|it| it.step);
        matches!(step, Some(Step::Telling | Step::Renaming(_)))
    }

    fn set_step(&mut self, owner: u32, step: Step) {
        if let Some(it) = self.moves.get_mut(&owner) {
            it.step = step;
        }
    }
}

impl Broker {
    pub(super) fn on_alter_replica_log_dirs(
        &mut self,
        reply_to: &ReplyTo,
        request: &AlterReplicaLogDirsRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let mut results: BTreeMap<Str, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
        for dir in &request.dirs {
            let place = self.log_dirs.iter().position(|known| known.path == *dir.path);
            for topic in &dir.topics {
                for partition in &topic.partitions {
                    let code = self.alter_log_dir(&topic.name, *partition, place, out);
                    results.entry(topic.name.detached()).or_default().push(
                        AlterReplicaLogDirPartitionResult {
                            partition_index: *partition,
                            error_code: code.err().unwrap_or(ErrorCode::None).as_i16(),
                            ..AlterReplicaLogDirPartitionResult::default()
                        },
                    );
                }
            }
        }
        let results = results.into_iter().map(|(topic_name, partitions)| AlterReplicaLogDirTopicResult {
            topic_name,
            partitions,
            ..AlterReplicaLogDirTopicResult::default()
        });
        let results = results.collect();
        let response = AlterReplicaLogDirsResponse { results, ..AlterReplicaLogDirsResponse::default() };
        reply_to.respond(AnyResponse::AlterReplicaLogDirs(response), out);
        self.pursue_moves(now, out);
    }

    fn alter_log_dir(
        &mut self,
        topic: &Str,
        partition: i32,
        place: Option<usize>,
        out: &mut Outbox,
    ) -> Result<(), ErrorCode> {
        // A dot, 32 digits and "-future" come behind the name.
        if format!("{topic}-{partition}").len() + 40 > NAME_LEN_MAX {
            return Err(ErrorCode::InvalidTopic);
        }
        let to = place.ok_or(ErrorCode::LogDirNotFound)?;
        if self.log_dirs[to].failed {
            return Err(ErrorCode::KafkaStorageError);
        }
        let known = self.image.topic_by_name(topic).filter(|known| known.partitions.contains_key(&partition));
        let known = known.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let id = TopicIdPartition { topic: known.id, partition };
        let Some((owner, hosted)) = self.hosted(id) else {
            // It may be on its way here: the directory is remembered.
            self.log_dir_moves.preferred.insert(id, to);
            return Err(ErrorCode::ReplicaNotAvailable);
        };
        if hosted.is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        self.move_log(owner, to, out);
        Ok(())
    }

    /// Has a replica's log lie in another log directory, or stay where it is.
    pub(super) fn move_log(&mut self, owner: u32, to: usize, out: &mut Outbox) {
        let Some(partition) = self.partitions.get(&owner) else { return };
        let is_here = dir_index(partition.log().dir()) == Some(to);
        let then = (!is_here).then_some(to);
        match self.log_dir_moves.moves.get_mut(&owner) {
            // It is too late to stop.
            Some(it) if matches!(it.step, Step::Renaming(_)) => it.then = (it.to != to).then_some(to),
            Some(it) if matches!(it.step, Step::Ending(_)) => it.then = then,
            Some(it) if it.to == to => {}
            Some(_) => self.end_move(owner, then, out),
            None if is_here => {}
            None => self.begin_move(owner, to),
        }
    }

    fn begin_move(&mut self, owner: u32, to: usize) {
        if self.log_dirs[to].failed {
            return;
        }
        self.log_dir_moves.moves.insert(owner, Move { to, step: Step::Waiting, then: None });
    }

    /// Gives a move up, to begin another, if any.
    fn end_move(&mut self, owner: u32, then: Option<usize>, out: &mut Outbox) {
        let Some(partition) = self.partitions.get_mut(&owner) else { return };
        let (id, topic) = (partition.id, partition.topic.clone());
        let mut removal = None;
        if let Some(future) = partition.future() {
            let (dir, log) = (future.log.dir().clone(), future.log.owner());
            if future.counts() {
                out.sometimes(Mark::LogDirMoveFrozen);
                partition.freeze_future();
            } else {
                partition.drop_future();
                self.log_dir_moves.logs.remove(&log);
            }
            self.stale_checkpoints.insert((topic, id.partition));
            removal = self.delete_directory(&dir, out);
        }
        if let Some(it) = self.log_dir_moves.moves.get_mut(&owner) {
            (it.step, it.then) = (Step::Ending(removal), then);
        }
        self.compare_directory(id);
    }

    /// A log is about to be cut, and what was copied of it is of no use any more.
    pub(super) fn interrupt_move(&mut self, owner: u32, out: &mut Outbox) {
        match self.log_dir_moves.moves.get(&owner) {
            // What comes next is right for any log.
            Some(Move { step: Step::Ending(_) | Step::Waiting, .. }) | None => {}
            Some(Move { to, then, .. }) => {
                let to = then.unwrap_or(*to);
                self.end_move(owner, Some(to), out);
            }
        }
    }

    /// A log directory has failed. Moves to it end. Of a replica that moves out of it, and of which the cluster says so already,
    /// the copy is the log.
    pub(super) fn on_moves_failed(&mut self, dir: usize, now: Now, out: &mut Outbox) {
        let owners: Vec<u32> = self.log_dir_moves.moves.keys().copied().collect();
        for owner in owners {
            let (Some(it), Some(partition)) =
                (self.log_dir_moves.moves.get(&owner).copied(), self.partitions.get(&owner))
            else {
                continue;
            };
            let is_told =
                matches!(it.step, Step::Telling | Step::Renaming(_)) && self.is_said(partition.id, it.to);
            let then = it.then.filter(|then| *then != dir);
            if it.to == dir && matches!(it.step, Step::Ending(_)) {
                // What was to be removed may be there still.
                let ended = Move { step: Step::Ending(None), then, ..it };
                self.log_dir_moves.moves.insert(owner, ended);
            } else if it.to == dir {
                self.end_move(owner, then, out);
            } else if dir_index(partition.log().dir()) == Some(dir) && is_told {
                out.sometimes(Mark::LogDirMovePromoted);
                if !matches!(it.step, Step::Renaming(_)) {
                    self.rename_copy(owner, out);
                }
                self.take_copy(owner, now, out);
            }
        }
    }

    /// Goes on with every move.
    pub(super) fn pursue_moves(&mut self, now: Now, out: &mut Outbox) {
        if self.log_dir_moves.moves.is_empty() || !matches!(self.logs, Logs::Open) || self.is_stopping() {
            return;
        }
        let owners: Vec<u32> = self.log_dir_moves.moves.keys().copied().collect();
        for owner in owners {
            self.pursue_move(owner, now, out);
        }
        self.pursue_copies(now, out);
        // More may be written everywhere than was.
        self.pursue_replica_fetchers(now, out);
    }

    /// Goes on with one move, as far as it needs nobody else.
    pub(super) fn pursue_move(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        if !matches!(self.logs, Logs::Open) || self.is_stopping() {
            return;
        }
        while let Some(Move { to, step, then }) = self.log_dir_moves.moves.get(&owner).copied() {
            let Some(id) = self.partitions.get(&owner).map(|partition| partition.id) else { return };
            match step {
                // A copy that is half done must not lie where the cluster looks for the replica.
                Step::Waiting if self.is_movable(owner, id) => {
                    self.begin_copying(owner, to, now, out);
                }
                Step::CatchingUp if self.begins_to_count(owner, out) => {
                    self.write_recovery_points(out);
                    self.write_log_starts(out);
                    self.write_high_watermarks(out);
                    self.log_dir_moves.set_step(owner, Step::Noting);
                }
                Step::Noting if self.has_written() => {
                    self.log_dir_moves.set_step(owner, Step::Telling);
                    self.compare_directory(id);
                    self.tell_directories(now, out);
                }
                Step::Telling if self.is_said(id, to) => self.rename_copy(owner, out),
                Step::Renaming(rename) if !self.is_writing(rename) => self.take_copy(owner, now, out),
                Step::Ending(removal) if self.has_ended(id, owner, removal) => {
                    if let Some(future) = self.partitions.get_mut(&owner).and_then(|it| it.drop_future()) {
                        self.log_dir_moves.logs.remove(&future.log.owner());
                    }
                    self.log_dir_moves.moves.remove(&owner);
                    self.on_copy_counts_no_more(owner, now, out);
                    then.into_iter().for_each(|to| self.move_log(owner, to, out));
                }
                Step::Waiting
                | Step::Copying
                | Step::CatchingUp
                | Step::Telling
                | Step::Noting
                | Step::Renaming(_)
                | Step::Ending(_) => return,
            }
        }
    }

    /// From here on a crash may leave the copy as the one that counts, if that can be borne. Answers whether it can.
    fn begins_to_count(&mut self, owner: u32, out: &mut Outbox) -> bool {
        self.partitions.get_mut(&owner).is_some_and(|partition| partition.begin_counting(out))
    }

    /// Whether a log is one, and the cluster knows where it lies.
    fn is_movable(&self, owner: u32, id: TopicIdPartition) -> bool {
        let is_there = self.partitions.get(&owner).is_some_and(|partition| !partition.is_offline());
        is_there && !self.cuts.contains_key(&owner) && self.is_directory_told(id)
    }

    /// Whether the cluster says that a replica lies in a directory, and is to say nothing else. Before metadata.version 17 it says nothing.
    fn is_said(&self, id: TopicIdPartition, dir: usize) -> bool {
        let said = self.said_directory(id);
        said.is_none_or(|said| said == self.log_dirs[dir].id) && self.is_directory_told(id)
    }

    /// Whether no crash leaves a copy that was given up as the one that counts.
    fn has_ended(&self, id: TopicIdPartition, owner: u32, removal: Option<u64>) -> bool {
        let has_copy = self.partitions.get(&owner).and_then(|it| it.future()).is_some();
        match removal {
            Some(removal) => !self.is_writing(removal),
            // What lies in a directory that failed cannot be removed.
            None => !has_copy || self.is_directory_told(id),
        }
    }

    fn on_copy_counts_no_more(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        if let Some(partition) = self.partitions.get_mut(&owner) {
            let awakened = partition.on_written(now);
            self.on_awakened(owner, awakened, now, out);
        }
    }

    fn begin_copying(&mut self, owner: u32, to: usize, now: Now, out: &mut Outbox) {
        let Some(partition) = self.partitions.get(&owner) else { return };
        let (id, topic, begin) = (partition.id, partition.topic.clone(), partition.log().first_base());
        let name = condemned_name(&format!("{topic}-{}", id.partition), self.rng.uuid(), "future");
        let dir = StoragePath::new(&format!("{to}/{name}"));
        let log = self.create_log(&topic, id, dir, begin, now, out);
        self.log_dir_moves.logs.insert(log.owner(), owner);
        if let Some(partition) = self.partitions.get_mut(&owner) {
            partition.begin_future(FutureLog::new(log, begin));
        }
        self.log_dir_moves.set_step(owner, Step::Copying);
    }

    /// Copies on, as many logs at a time and as fast as is configured.
    fn pursue_copies(&mut self, now: Now, out: &mut Outbox) {
        let copying = self.log_dir_moves.moves.iter().filter(|(_, it)| it.step == Step::Copying);
        let at_once = self.config.alter_log_dirs_at_once;
        let owners: Vec<u32> = copying.map(|(owner, _)| *owner).take(at_once).collect();
        let rate = self.config.replica_alter_log_dirs_rate;
        for owner in owners {
            if let Some(until) = self.log_dir_moves.quota.exceeded_until(rate, now.monotonic) {
                out.sometimes(Mark::LogDirMoveThrottled);
                // The rate may be raised meanwhile.
                let soon = now.monotonic.plus_millis(self.config.replica_fetch_backoff_ms);
                return self.timers.arm(Timer::LogDirMoves, until.min(soon));
            }
            let Some(partition) = self.partitions.get_mut(&owner) else { continue };
            let copied = partition.copy_more(now, out);
            self.on_copied(owner, copied, now, out);
        }
    }

    fn on_copied(&mut self, owner: u32, copied: Copied, now: Now, out: &mut Outbox) {
        let to = self.log_dir_moves.moves.get(&owner).map(|it| it.to);
        match copied {
            Copied::Pending => {}
            Copied::Reading(len) => self.log_dir_moves.quota.record(u64::from(len), now.monotonic),
            Copied::All => {
                self.log_dir_moves.set_step(owner, Step::CatchingUp);
                self.pursue_move(owner, now, out);
            }
            Copied::Overtaken => {
                out.sometimes(Mark::LogDirMoveOvertaken);
                self.end_move(owner, to, out);
                self.pursue_move(owner, now, out);
            }
            // It lies where it is.
            Copied::Damaged => {
                out.sometimes(Mark::LogDirMoveDamaged);
                self.end_move(owner, None, out);
                self.pursue_move(owner, now, out);
            }
            Copied::Failed(fault) => self.on_storage_fault(owner, fault, now, out),
        }
    }

    /// Takes note of a completed operation of a future log.
    pub(super) fn on_future_storage(
        &mut self,
        owner: u32,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(partition) = self.partitions.get_mut(&owner) else { return };
        if partition.future().is_some_and(FutureLog::is_frozen) {
            // Nothing more is to be done beneath a directory that goes.
            return;
        }
        match partition.on_future_completed(sequence, result, now, out) {
            Ok((awakened, copied)) => {
                self.on_awakened(owner, awakened, now, out);
                self.on_copied(owner, copied, now, out);
            }
            Err(fault) => {
                let future = partition.future().expect("it has completed something");
                let dir = dir_index(future.log.dir()).expect("a log lies in a log directory");
                self.on_directory_fault(dir, &fault.to_string(), now, out);
            }
        }
        self.arm_log_timer(owner);
        self.pursue_moves(now, out);
    }

    /// Gives the copy the replica's name.
    fn rename_copy(&mut self, owner: u32, out: &mut Outbox) {
        let Some(partition) = self.partitions.get_mut(&owner) else { return };
        let name = format!("{}-{}", partition.topic, partition.id.partition);
        let Some(from) = partition.future().map(|future| future.log.dir().clone()) else { return };
        let to = StoragePath::new(&format!("{}/{name}", from.parent()));
        partition.rename_future(to.clone());
        let rename = self.push_node_write(StorageOp::Rename { from, to }, out);
        self.log_dir_moves.set_step(owner, Step::Renaming(rename));
    }

    /// The copy is the replica's log from here on.
    fn take_copy(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        let Some(partition) = self.partitions.get_mut(&owner) else { return };
        let (id, topic) = (partition.id, partition.topic.clone());
        let Some((log, awakened)) = partition.become_future(now, out) else { return };
        let readers = partition.readers();
        out.sometimes(Mark::LogDirMoved);
        self.log_dir_moves.logs.remove(&log.owner());
        let then = self.log_dir_moves.moves.remove(&owner).and_then(|it| it.then);
        self.stale_checkpoints.insert((topic, id.partition));
        self.delete_directory(log.dir(), out);
        self.on_awakened(owner, awakened, now, out);
        for part in readers {
            self.on_log_moved(part, now, out);
        }
        self.read_groups_anew(owner, now, out);
        self.arm_log_timer(owner);
        self.compare_directory(id);
        then.into_iter().for_each(|to| self.move_log(owner, to, out));
    }
}
