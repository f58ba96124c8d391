//! What must hold, one property per file. The checks see what an observer of the whole world sees: everything the node
//! asked of its disk, what the disk made of it, and everything the node told its clients. They never ask the node.

mod acknowledged_data;
mod append_after_error;
mod batches;
mod checkpoint_files;
mod consumer_reads;
#[cfg(test)]
mod example;
mod high_watermark;
mod history;
mod index_recomputation;
mod leader_epochs;
mod log_prefix;
mod metadata_snapshots;
mod moved_logs;
mod no_duplicates;
mod one_topic;
mod producer_ids;
mod producer_state;
mod quorum;
mod replication;
mod retention;
mod topics;
mod truth;
mod truthful_view;
mod unique_batch;

pub(crate) use history::{Facts, check as check_history};
pub(crate) use one_topic::SentRecords;
pub use quorum::{Hosted, Image, Moment, QuorumChecks, Reading, VoterSet};
pub(crate) use quorum::{directory_of, voters_on};
pub use replication::{Copy, News, ReplicationChecks, Said, Trusted};
pub use retention::LogLimits;
pub use truth::{LogTruth, TrueBatch};

use crate::disk::{Contents, Disk};
use crate::plan::{CrashKind, Plan};
use bytes::Bytes;
use moved_logs::{is_copy, replica_of};
use sordini_core::node::PartitionView;
use sordini_core::storage_op::{StorageFault, StorageOp, StoragePath};
use sordini_protocol::messages::{FetchResponse, InitProducerIdResponse, MetadataResponse};
use sordini_protocol::wire::Uuid;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property's name, which is that of its file.
    pub property: &'static str,
    /// What happened, with the facts in it.
    pub sentence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.sentence)
    }
}

/// A batch that a client sent and that the node acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Index of the topic in the plan.
    pub topic: usize,
    /// The partition.
    pub partition: i32,
    /// 1 or -1.
    pub acks: i16,
    /// Where the node said that the batch begins; before that, where the batch was when it was sent again, or -1.
    pub base_offset: i64,
    /// What the client sent.
    pub sent: Bytes,
}

/// All checks of one run and the facts they keep.
#[derive(Clone, Debug)]
pub struct Checks {
    /// By directory, "0/orders-3".
    logs: BTreeMap<Arc<str>, LogTruth>,
    /// Directory of each partition of the plan, and how many records may be acknowledged without a sync.
    partitions: BTreeMap<(usize, i32), PlannedPartition>,
    high_watermarks: BTreeMap<(usize, i32), i64>,
    producer_ids: producer_ids::ProducerIds,
    topics: topics::Topics,
    checkpoint_files: checkpoint_files::CheckpointFiles,
    failed_dirs: append_after_error::FailedDirs,
    acknowledged: no_duplicates::Acknowledgements,
    /// Where each log ended when the node last stopped cleanly, unless it crashed since.
    stopped_at: BTreeMap<Arc<str>, i64>,
    /// Topics of whom a client asked that they be deleted.
    unwanted: BTreeSet<String>,
    /// The node's wall clock.
    wall_ms: i64,
    /// `producer.id.expiration.ms`.
    producer_expiration_ms: i64,
    is_recovering: bool,
    /// Logs that were found shorter than they had been, since the node last began to run.
    shortened: u64,
    /// What was lost to faults that no single replica survives, as sentences.
    losses: Vec<String>,
    /// Logs that were damaged so that nothing can be asked of them any more.
    abandoned: BTreeSet<Arc<str>>,
    /// Whether the disk was damaged elsewhere than in closed segments.
    is_deeply_damaged: bool,
    /// Whether the disk was changed for an empty one: the node hands out producer ids again that others have already, and
    /// takes what one of two producers sends for what the other sent.
    has_lost_ids: bool,
    verified_indexes: index_recomputation::Verified,
    /// Whether the node is one of several of a cluster: its logs follow those of others, and what it knows is not the newest.
    is_member: bool,
    /// The partitions of the plan whose directories have gone from a member of a cluster, until somebody asks.
    gone: Vec<Gone>,
    /// Copies of logs, by the names that they had and were about to get when a crash came.
    named_at_crash: Vec<(Arc<str>, Arc<str>)>,
    /// Logs that a broker with several log directories has renamed in this life, since another took their place.
    left: BTreeMap<Arc<str>, LogTruth>,
    /// Those of them that had their names still when a crash came.
    leaving_at_crash: Vec<Arc<str>>,
    /// Whether the node has several log directories, and a partition lies in one or another.
    has_several_dirs: bool,
    /// The log directories that the node has given up in this life.
    given_up: BTreeSet<String>,
    /// Whether nothing is looked at, to measure what looking costs.
    are_off: bool,
}

/// What the plan says of a partition.
#[derive(Clone, Debug)]
struct PlannedPartition {
    dir: Arc<str>,
    flush_messages: Option<u64>,
    has_log_append_time: bool,
    index_interval: u64,
    limits: LogLimits,
    /// Where others that led it said that it starts, by the topics that have had the name.
    leaders_starts: BTreeMap<Uuid, i64>,
}

/// A directory of a partition of the plan has gone.
#[derive(Clone, Copy, Debug)]
pub struct Gone {
    /// The partition.
    pub place: (usize, i32),
    /// The topic that it was of, if anybody has said so.
    pub topic_id: Option<Uuid>,
}

/// Where the metadata log lies on every disk.
const METADATA_DIR: &str = "0/__cluster_metadata-0";

/// What a broker leaves that has stopped with all its logs closed.
const CLEAN_STOP_MARKER: &str = ".kafka_cleanshutdown";

/// The log directory that a path lies in, by its number.
fn log_dir_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

/// The name of a directory within its log directory.
fn name_of(dir: &str) -> &str {
    dir.split_once('/').map_or(dir, |(_, name)| name)
}

/// `producer.id.expiration.ms`, unless the plan says otherwise: Kafka's default.
const PRODUCER_EXPIRATION_MS_DEFAULT: i64 = 86_400_000;

/// The interval of index entries in logs that are not the plan's: Kafka's default.
const INDEX_INTERVAL_DEFAULT: u64 = 4_096;

impl Checks {
    /// The checks of a plan's run.
    #[must_use]
    pub fn new(plan: &Plan, node: usize) -> Self {
        let mut partitions = BTreeMap::new();
        for (index, topic) in plan.topics.iter().enumerate() {
            for partition in 0..topic.partitions {
                let planned = PlannedPartition {
                    dir: Arc::from(format!("0/{}-{partition}", topic.name)),
                    flush_messages: topic.flush_messages,
                    has_log_append_time: topic.log_append_time,
                    index_interval: u64::from(topic.index_interval_bytes),
                    limits: LogLimits::of(topic, &plan.nodes[node]),
                    leaders_starts: BTreeMap::new(),
                };
                partitions.insert((index, partition), planned);
            }
        }
        let expiration = plan.nodes[node].properties.get("producer.id.expiration.ms");
        let expiration = expiration.and_then(|text| text.parse().ok());
        Self {
            logs: BTreeMap::new(),
            partitions,
            checkpoint_files: checkpoint_files::CheckpointFiles::default(),
            failed_dirs: append_after_error::FailedDirs::default(),
            acknowledged: no_duplicates::Acknowledgements::default(),
            stopped_at: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            // Until somebody says what time it is, everything is old.
            wall_ms: i64::MAX,
            producer_expiration_ms: expiration.unwrap_or(PRODUCER_EXPIRATION_MS_DEFAULT),
            high_watermarks: BTreeMap::new(),
            producer_ids: producer_ids::ProducerIds::default(),
            topics: topics::Topics::new(&plan.topics),
            is_recovering: false,
            shortened: 0,
            losses: Vec::new(),
            abandoned: BTreeSet::new(),
            is_deeply_damaged: false,
            has_lost_ids: false,
            verified_indexes: index_recomputation::Verified::new(),
            is_member: plan.nodes[node].role.is_member(),
            gone: Vec::new(),
            given_up: BTreeSet::new(),
            named_at_crash: Vec::new(),
            left: BTreeMap::new(),
            leaving_at_crash: Vec::new(),
            has_several_dirs: plan.nodes[node].log_dirs > 1,
            are_off: false,
        }
    }

    /// From here on nothing is looked at, and nothing noted.
    pub(crate) const fn switch_off(&mut self) {
        self.are_off = true;
    }

    /// Whether nothing is looked at.
    pub(crate) const fn are_off(&self) -> bool {
        self.are_off
    }

    /// The log of a partition of the plan, if anything was ever written to it.
    #[must_use]
    pub fn log(&self, topic: usize, partition: i32) -> Option<&LogTruth> {
        self.logs.get(&self.partitions.get(&(topic, partition))?.dir)
    }

    /// The node pushed a storage operation.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_storage_op(&mut self, op: &StorageOp, disk: &Disk) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        if self.has_several_dirs {
            self.find_copies(disk);
            if self.on_copy_named(op) {
                return Ok(());
            }
            self.note_place(op);
        }
        if disk.is_damaged() {
            return match op {
                StorageOp::Append { file, position, bytes } => self.on_append(file, *position, bytes, disk),
                StorageOp::Rename { from: path, .. } | StorageOp::Remove { path } => {
                    self.on_damaged_going(path, disk)
                }
                StorageOp::Sync { .. }
                | StorageOp::Read { .. }
                | StorageOp::Truncate { .. }
                | StorageOp::Replace { .. }
                | StorageOp::List { .. } => Ok(()),
            };
        }
        self.checkpoint_files.check_after_crash(disk)?;
        match op {
            StorageOp::Append { file, position, bytes } => self.on_append(file, *position, bytes, disk),
            StorageOp::Replace { file, bytes } => self.on_replace(file, bytes, disk),
            StorageOp::Rename { from: path, .. } | StorageOp::Remove { path } => {
                self.on_going(path, op, disk)
            }
            StorageOp::Truncate { file, len } => {
                self.on_cut(file, *len);
                Ok(())
            }
            StorageOp::Sync { .. } | StorageOp::Read { .. } | StorageOp::List { .. } => Ok(()),
        }
    }

    /// A partition lies where a node that has several log directories writes it.
    fn note_place(&mut self, op: &StorageOp) {
        let (StorageOp::Append { file, .. } | StorageOp::Replace { file, .. }) = op else { return };
        let dir = file.parent();
        let of_dir = |planned: &&mut PlannedPartition| replica_of(&planned.dir) == name_of(dir);
        let Self { partitions, logs, given_up, .. } = self;
        // While a replica moves, both logs are written.
        let is_there = |dir: &Arc<str>| logs.contains_key(dir) && !given_up.contains(log_dir_of(dir));
        if let Some(planned) = partitions.values_mut().find(of_dir)
            && *planned.dir != *dir
            && !is_there(&planned.dir)
        {
            planned.dir = Arc::from(dir);
        }
    }

    /// Whether the log of a directory follows that of another node, which knows better what belongs there. Whether it is cut
    /// where it may be is for the checks of the quorum and of replicas to say: nobody else cuts a log but to recover it.
    fn is_follower(&self, dir: &str) -> bool {
        self.is_member || dir == METADATA_DIR
    }

    /// A file is cut.
    fn on_cut(&mut self, file: &StoragePath, len: u64) {
        let is_follower = self.is_follower(file.parent());
        let log = self.logs.get_mut(file.parent()).filter(|log| !log.is_unverified());
        if let Some(log) = log.filter(|_| is_follower) {
            log.cut(file.as_str(), len);
        }
    }

    /// A segment begins; where there is none, the log begins anew.
    fn on_new_segment(&mut self, file: &StoragePath, disk: &Disk) -> Result<(), Violation> {
        let (dir, base) = (file.parent(), truth::segment_base(file.as_str()));
        if is_copy(dir) {
            if !self.logs.contains_key(dir) {
                self.on_copy_begun(dir, base);
            }
            return Ok(());
        }
        // A log that begins at 0 does so when it is created, or when the leader's first batch holds what is to come next.
        let begins_again = base > 0 || self.logs.get(dir).is_some_and(|log| log.start_limit() > 0);
        if disk.is_damaged() || !begins_again || !truth::segments_to_be(dir, disk).is_empty() {
            return Ok(());
        }
        if dir == METADATA_DIR {
            metadata_snapshots::check_beginning(base, disk)?;
        }
        log_of(&mut self.logs, &Arc::from(dir), disk).begin_anew(base);
        Ok(())
    }

    fn on_append(
        &mut self,
        file: &StoragePath,
        position: u64,
        bytes: &[Bytes; 2],
        disk: &Disk,
    ) -> Result<(), Violation> {
        if !file.as_str().ends_with(".log") {
            return Ok(());
        }
        if bytes.iter().all(Bytes::is_empty) {
            let begins = self.is_follower(file.parent()) || is_copy(file.parent());
            return if begins { self.on_new_segment(file, disk) } else { Ok(()) };
        }
        self.failed_dirs.check(file)?;
        let dir = file.parent();
        if self.abandoned.contains(dir) {
            return Ok(());
        }
        if self.is_follower(dir) && disk.has_unsynced_cut(file.as_str()) {
            return Err(log_prefix::violation(format!(
                "{file} is appended to while a loss of power may bring back what was cut off it: behind the new batch what \
                 followed the old one would stand"
            )));
        }
        if disk.is_damaged() {
            self.check_damaged(&Arc::from(dir), disk)?;
            if self.abandoned.contains(dir) {
                return Ok(());
            }
        }
        let log = match self.logs.get_mut(dir) {
            Some(log) => log,
            None => log_of(&mut self.logs, &Arc::from(dir), disk),
        };
        for batch in truth::batches_of(file, position, bytes, self.wall_ms).map_err(|error| {
            log_prefix::violation(format!(
                "the node appended to {file} at {position} what is no batch: {error}"
            ))
        })? {
            if log.is_unverified() {
                // The node has finished recovering this log, and goes on from where it says that it ends.
                self.shortened += log_prefix::check(dir, log, disk, Some(batch.base_offset))?;
            }
            if !disk.is_damaged() {
                unique_batch::check(dir, log, &batch)?;
            }
            if disk.is_damaged() && batch.base_offset != log.end() {
                // The node took a damaged batch for one of other offsets, and goes on from there.
                let dir: Arc<str> = Arc::from(dir);
                self.losses.push(format!("{dir}, which goes on at offset {}", batch.base_offset));
                self.logs.remove(&dir);
                self.abandoned.insert(dir);
                return Ok(());
            }
            log.push(batch).map_err(|sentence| log_prefix::violation(format!("{file}: {sentence}")))?;
        }
        Ok(())
    }

    fn on_replace(&mut self, file: &StoragePath, bytes: &Bytes, disk: &Disk) -> Result<(), Violation> {
        self.checkpoint_files.check(file, bytes, &mut self.logs, disk)?;
        if file.name() == checkpoint_files::PARTITION_METADATA
            && let Some(log) = self.logs.get_mut(file.parent()).filter(|log| log.topic_id().is_none())
            && let Some(topic_id) = checkpoint_files::topic_id(bytes)
        {
            log.note_topic(topic_id);
        }
        self.agree_on_start(file.parent());
        let expired = self.expired_ms();
        // What a node that recovers writes of a log is looked at when it has recovered it.
        let known = self.logs.get_mut(file.parent()).filter(|log| !log.is_unverified());
        let Some(log) = known.filter(|log| !log.is_unnamed(disk)) else {
            return Ok(());
        };
        if file.parent() == METADATA_DIR {
            log.allow_start(metadata_snapshots::contained_end(disk));
        }
        if file.name() == leader_epochs::FILE {
            if let Ok([(_, start), ..]) = leader_epochs::parse(bytes).as_deref() {
                // The file may be the first to tell of a start that moves up. A start that nothing allows is not raised,
                // and the comparison below says what is wrong.
                let limits = limits_of(&self.partitions, file.parent());
                let _ = retention::allow(file.parent(), log, *start, &limits, self.wall_ms, disk);
            }
            leader_epochs::check(file.parent(), log, Some(bytes))?;
        } else if let Some(offset) = producer_state::offset_of(file.as_str()) {
            producer_state::Replay::new(log, expired).check(file.as_str(), offset, bytes)?;
        }
        Ok(())
    }

    /// A file or directory leaves its name.
    fn on_going(&mut self, path: &StoragePath, op: &StorageOp, disk: &Disk) -> Result<(), Violation> {
        if self.logs.contains_key(path.as_str()) {
            if self.is_member {
                // Whether it may go is for the checks of replicas to say.
                let dir = path.as_str();
                let place = self.partitions.iter().find(|(_, it)| *it.dir == *dir).map(|(place, _)| *place);
                // After a crash it may be an earlier log that has its name still.
                let topic_id = truth::topic_id_to_be(dir, disk);
                self.gone.extend(place.map(|place| Gone { place, topic_id }));
            } else if self.partitions.values().any(|planned| *planned.dir == *path.as_str()) {
                retention::check_directory(path, &self.unwanted)?;
            }
            self.note_leaving(path, op);
            self.stopped_at.remove(path.as_str());
            let (partitions, gone) = (&self.partitions, path.as_str());
            self.high_watermarks.retain(|place, _| &*partitions[place].dir != gone);
            return Ok(());
        }
        let is_follower = self.is_follower(path.parent());
        let Some(log) = self.logs.get_mut(path.parent()).filter(|_| path.as_str().ends_with(".log")) else {
            return Ok(());
        };
        if log.is_unverified() {
            // Recovery removes what it cannot use, and what is left is looked at when it is over.
            if matches!(op, StorageOp::Remove { .. }) {
                return Ok(());
            }
            self.shortened += log_prefix::check(path.parent(), log, disk, None)?;
        }
        if is_follower && matches!(op, StorageOp::Remove { .. }) {
            // It goes with all behind it, and nobody asks for it any more.
            log.cut(path.as_str(), 0);
            return Ok(());
        }
        if path.parent() == METADATA_DIR {
            // A follower may know of a snapshot's end as committed before it has written what the snapshot contains.
            if let [(_, first), (end, _), ..] = &*truth::segments_to_be(METADATA_DIR, disk)
                && **first == *path.as_str()
            {
                metadata_snapshots::check_going(path.as_str(), *end, disk)?;
                log.delete_before(*end);
                return Ok(());
            }
        }
        let limits = limits_of(&self.partitions, path.parent());
        retention::check_segment(path, log, &limits, self.wall_ms, disk)
    }

    /// What the node told readers was committed binds it no more: it begins to lead, or ceases to. A follower goes by its
    /// leader's high watermark, which may be late.
    pub fn forget_high_watermark(&mut self, place: (usize, i32)) {
        self.high_watermarks.remove(&place);
    }

    /// Somebody else has deleted the records of a partition of a topic below an offset, and this node is to follow, if not now,
    /// then when it gets a replica.
    pub fn allow_start(&mut self, place: (usize, i32), topic_id: Uuid, offset: i64) {
        let Some(planned) = self.partitions.get_mut(&place) else { return };
        let start = planned.leaders_starts.entry(topic_id).or_default();
        *start = offset.max(*start);
        let logs = self.logs.iter_mut().filter(|(dir, _)| replica_of(dir) == replica_of(&planned.dir));
        for (_, log) in logs.filter(|(_, log)| log.is_of(topic_id)) {
            log.allow_start(offset);
        }
    }

    /// The partitions of the plan whose directories have gone since somebody asked.
    pub fn take_gone(&mut self) -> Vec<Gone> {
        std::mem::take(&mut self.gone)
    }

    /// A file or directory of a damaged disk leaves its name.
    fn on_damaged_going(&mut self, path: &StoragePath, disk: &Disk) -> Result<(), Violation> {
        if self.logs.remove(path.as_str()).is_some() {
            self.abandoned.remove(path.as_str());
        } else if path.as_str().ends_with(".log") && !self.is_recovering {
            self.check_damaged(&Arc::from(path.parent()), disk)?;
            if let Some(log) = self.logs.get_mut(path.parent()) {
                log.delete_file(path.as_str());
            }
        }
        Ok(())
    }

    /// The process dies, or the power is lost, in this very moment; the disk has not yet heard of it.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn before_crash(&mut self, kind: CrashKind, disk: &Disk) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        if !disk.is_damaged() {
            self.checkpoint_files.check_after_crash(disk)?;
            self.checkpoint_files.before_crash(disk);
        }
        self.unname_copies(disk);
        self.end_life();
        self.stopped_at.clear();
        self.is_recovering = true;
        for (dir, log) in &mut self.logs {
            log.before_crash(dir, kind, disk);
            if disk.is_damaged() {
                log.forget_acknowledged_losses();
                continue;
            }
            acknowledged_data::check_before_crash(dir, log, kind, self.partitions.values())?;
            log.forget_acknowledged_losses();
        }
        Ok(())
    }

    /// The disk is about to be damaged elsewhere than in closed segments.
    pub const fn on_deep_damage(&mut self) {
        self.is_deeply_damaged = true;
    }

    /// Files beside the segments are gone by a fault.
    pub fn on_lost_files(&mut self, disk: &Disk) {
        self.checkpoint_files.excuse_absent(disk);
    }

    /// A process is about to start. On a disk that holds something else than what it took, it is noted what.
    pub fn before_start(&mut self, disk: &Disk) {
        self.find_copies(disk);
        // Of a copy that had just begun, a loss of power may have left nothing.
        self.logs.retain(|dir, _| !is_copy(dir) || disk.paths_beneath(dir).next().is_some());
        if !disk.is_damaged() {
            return;
        }
        self.is_recovering = true;
        for (dir, log) in &mut self.logs {
            let beside = |name: &str| format!("{}/{name}", log_dir_of(dir));
            let is_clean = disk.contents(&beside(CLEAN_STOP_MARKER)).is_some();
            let points = disk.contents(&beside("recovery-point-offset-checkpoint"));
            // A node that cannot read the file looks through everything.
            let points = points.map(Contents::all).and_then(|all| checkpoint_files::offsets(&all).ok());
            let point = points.into_iter().flatten().find(|(log, _)| log == name_of(dir));
            let point = point.map_or(0, |(_, point)| point);
            // When nothing of a clean stop is believed, all is looked through.
            let point = if is_clean { 0 } else { point };
            log.note_damage(disk, point, self.is_deeply_damaged);
        }
    }

    /// Looks at a log that the node has recovered on a damaged disk.
    fn check_damaged(&mut self, dir: &Arc<str>, disk: &Disk) -> Result<(), Violation> {
        let Some(log) = self.logs.get_mut(dir).filter(|log| log.is_unverified()) else { return Ok(()) };
        let damage = log.take_damage().unwrap_or_else(|| {
            // It was damaged while the node was reading it.
            log.look_for_damage(disk, 0, self.is_deeply_damaged)
        });
        match log_prefix::check_damaged(dir, log, disk, &damage)? {
            log_prefix::Damaged::Explained(losses) => self.losses.extend(losses),
            log_prefix::Damaged::Abandoned(why) => {
                self.losses.push(why);
                self.logs.remove(dir);
                self.abandoned.insert(Arc::clone(dir));
            }
        }
        Ok(())
    }

    /// Whether the node has not yet recovered what the last crash left.
    #[must_use]
    pub fn is_unverified(&self) -> bool {
        let is_open = |dir: &str| !self.given_up.contains(log_dir_of(dir));
        self.logs.iter().any(|(dir, log)| is_open(dir) && log.is_unverified())
    }

    /// The machine gets a new disk: nothing of what was is there, and nothing is promised. Answers what is lost.
    pub fn on_empty_disk(&mut self, plan: &Plan, node: usize) -> Vec<String> {
        let lost = |(dir, log): (&Arc<str>, &LogTruth)| {
            (log.acknowledged_end() > 0).then(|| format!("{dir} up to offset {}", log.acknowledged_end()))
        };
        let losses = self.logs.iter().filter_map(lost).collect();
        *self = Self { are_off: self.are_off, has_lost_ids: true, ..Self::new(plan, node) };
        losses
    }

    /// Takes what was lost to faults that no single replica survives, as sentences.
    pub fn take_losses(&mut self) -> Vec<String> {
        std::mem::take(&mut self.losses)
    }

    /// The node goes on without a log directory, whose logs it leaves as they are.
    pub fn on_given_up(&mut self, dir: usize) {
        self.given_up.insert(dir.to_string());
    }

    /// The node has opened its metadata log, and may write it and cut it from here on. Answers how many logs lost something.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_joining(&mut self, disk: &Disk) -> Result<u64, Violation> {
        if self.are_off || disk.is_damaged() {
            return Ok(0);
        }
        let Some(log) = self.logs.get_mut(METADATA_DIR).filter(|log| log.is_unverified()) else {
            return Ok(0);
        };
        log.allow_start(metadata_snapshots::contained_end(disk));
        log_prefix::check(METADATA_DIR, log, disk, None)
    }

    /// A node that joins its cluster has opened a log, and may follow others in it from here on. Answers how many records it
    /// lost.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_opened(&mut self, dir: &str, disk: &Disk) -> Result<u64, Violation> {
        if self.are_off || disk.is_damaged() {
            return Ok(0);
        }
        let Some(log) = self.logs.get_mut(dir).filter(|log| log.is_unverified()) else { return Ok(0) };
        log_prefix::check(dir, log, disk, None)
    }

    /// The node runs: what it recovered is on the disk. Answers how many logs lost something.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_running(&mut self, disk: &Disk) -> Result<u64, Violation> {
        if self.are_off {
            return Ok(0);
        }
        self.is_recovering = false;
        if let Some(log) = self.logs.get_mut(METADATA_DIR) {
            log.allow_start(metadata_snapshots::contained_end(disk));
        }
        if disk.is_damaged() {
            for dir in self.logs.keys().cloned().collect::<Vec<_>>() {
                self.check_damaged(&dir, disk)?;
            }
            return Ok(std::mem::take(&mut self.shortened));
        }
        let given_up = |dir: &str| self.given_up.contains(log_dir_of(dir));
        for (dir, log) in self.logs.iter_mut().filter(|(dir, _)| !given_up(dir)) {
            if log.is_unverified() {
                self.shortened += log_prefix::check(dir, log, disk, None)?;
            }
        }
        let expired = self.expired_ms();
        for (dir, log) in self.logs.iter_mut().filter(|(dir, _)| !given_up(dir)) {
            check_beside(dir, log, expired, disk)?;
        }
        Ok(std::mem::take(&mut self.shortened))
    }

    /// Producers that last wrote by then may have been forgotten.
    const fn expired_ms(&self) -> i64 {
        self.wall_ms.saturating_sub(self.producer_expiration_ms)
    }

    /// A process has ended: what it said binds nobody any more.
    fn end_life(&mut self) {
        self.high_watermarks.clear();
        self.failed_dirs.clear();
        self.given_up.clear();
        for log in self.logs.values_mut() {
            log.forget_views();
        }
    }

    /// What the node believes of its partitions.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_view<'a>(
        &mut self,
        views: impl Iterator<Item = PartitionView<'a>>,
        disk: &Disk,
    ) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        if disk.is_damaged() {
            return Ok(());
        }
        for view in views {
            if let Some(log) = self.logs.get_mut(view.dir) {
                one_topic::check(&view, log)?;
            }
            match self.logs.get_mut(view.dir) {
                // What was true of the log stays true as long as it ends where it did.
                Some(log) if log.is_seen(&view) => {}
                Some(log) => {
                    truthful_view::check(&view, log, disk)?;
                    let limits = || limits_of(&self.partitions, view.dir);
                    retention::check_start(&view, log, limits, self.wall_ms, disk)?;
                    log.high_watermark = Some(view.high_watermark.0);
                    log.note_seen(&view);
                }
                None => truthful_view::check(&view, &mut LogTruth::default(), disk)?,
            }
        }
        Ok(())
    }

    /// Nothing is under way on the disk: every index and every file beside a log must be what can be computed from it.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_quiet_disk(&mut self, disk: &Disk) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        if disk.is_damaged() {
            return Ok(());
        }
        assert!(!self.is_recovering, "indexes of a node that recovers are whatever the crash left");
        let expired = self.expired_ms();
        for (dir, log) in &mut self.logs {
            if self.given_up.contains(log_dir_of(dir)) {
                // Nobody knows what came of what was under way when it failed.
                continue;
            }
            let planned =
                self.partitions.values().find(|planned| replica_of(&planned.dir) == replica_of(dir));
            let interval = planned.map_or(INDEX_INTERVAL_DEFAULT, |planned| planned.index_interval);
            index_recomputation::check(dir, log, disk, interval, &mut self.verified_indexes)?;
            check_beside(dir, log, expired, disk)?;
        }
        checkpoint_files::check_all(disk)
    }

    /// The node begins to stop: it closes its logs where they end.
    pub fn on_stopping(&mut self) {
        for log in self.logs.values_mut() {
            log.note_interruption();
        }
    }

    /// The node has stopped cleanly.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_stopped(&mut self, disk: &Disk) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        // A follower that was to cut a log when it stopped says of none that it is whole.
        let is_vouched_for =
            |dir: &str| disk.contents(&format!("{}/{CLEAN_STOP_MARKER}", log_dir_of(dir))).is_some();
        if !disk.is_damaged() {
            let opened = self.logs.iter_mut().filter(|(dir, _)| !self.given_up.contains(log_dir_of(dir)));
            for (dir, log) in opened {
                if !is_copy(dir) && (is_vouched_for(dir) || !self.is_member || &**dir == METADATA_DIR) {
                    log_prefix::check_at_clean_stop(dir, log, disk)?;
                }
            }
        }
        self.on_quiet_disk(disk)?;
        let is_whole = |dir: &str| !self.given_up.contains(log_dir_of(dir)) && !is_copy(dir);
        let whole = self.logs.iter().filter(|(dir, _)| is_whole(dir));
        self.stopped_at = whole.map(|(dir, log)| (Arc::clone(dir), log.end())).collect();
        for (dir, log) in self.logs.iter_mut().filter(|(dir, _)| !is_whole(dir)) {
            // It is opened again as after a crash.
            log.before_crash(dir, CrashKind::Kill, disk);
            log.forget_acknowledged_losses();
            self.is_recovering = true;
        }
        self.end_life();
        Ok(())
    }

    /// The node acknowledged a batch.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_acknowledged(&mut self, acknowledged: &Acknowledged, disk: &Disk) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        let planned = &self.partitions[&(acknowledged.topic, acknowledged.partition)];
        if disk.is_damaged() {
            return Ok(());
        }
        let log = log_of(&mut self.logs, &planned.dir, disk);
        let topic = name_of(&planned.dir).rsplit_once('-').map(|(topic, _)| topic);
        if topic.is_some_and(|topic| self.unwanted.contains(topic))
            && log
                .batch_at(acknowledged.base_offset)
                .is_none_or(|(_, batch)| !batch.holds(&acknowledged.sent))
        {
            // It was written before the topic was deleted, and is answered after.
            return Ok(());
        }
        acknowledged_data::check(acknowledged, planned, log, disk, self.has_lost_ids)?;
        if self.has_lost_ids || self.producer_expiration_ms < PRODUCER_EXPIRATION_MS_DEFAULT {
            return Ok(());
        }
        self.acknowledged.check(acknowledged, &planned.dir, log)
    }

    /// A batch is about to reach the node: notes where it is already, if the node has to know it.
    pub fn on_sent(&self, sent: &mut Acknowledged, disk: &Disk) {
        let is_forgetful = self.producer_expiration_ms < PRODUCER_EXPIRATION_MS_DEFAULT;
        if let Some(log) = self.log(sent.topic, sent.partition).filter(|log| !log.is_unverified())
            && !(is_forgetful || disk.is_damaged())
        {
            let dir = &self.partitions[&(sent.topic, sent.partition)].dir;
            let stopped_at = self.stopped_at.get(dir).copied().unwrap_or(0);
            let life_start = stopped_at.max(log.opened_end());
            sent.base_offset = no_duplicates::known_at(&sent.sent, log, life_start).unwrap_or(-1);
        }
    }

    /// The node refused a batch because its sequence does not follow.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_out_of_order(&self, sent: &Acknowledged, disk: &Disk) -> Result<(), Violation> {
        if disk.is_damaged() {
            return Ok(());
        }
        no_duplicates::check_refused(sent, &self.partitions[&(sent.topic, sent.partition)].dir)
    }

    /// The node answered a fetch; `requested` are the offsets that were asked for, where they are known.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_fetched(
        &mut self,
        response: &FetchResponse,
        topic_of: impl Fn(&str, Uuid) -> Option<usize>,
        requested: &BTreeMap<(usize, i32), i64>,
        disk: &Disk,
    ) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        for topic in &response.responses {
            let Some(index) = topic_of(&topic.topic, topic.topic_id) else { continue };
            for partition in &topic.partitions {
                let place = (index, partition.partition_index);
                let Some(planned) = self.partitions.get(&place) else { continue };
                if partition.error_code != 0 || self.abandoned.contains(&planned.dir) {
                    continue;
                }
                let log = log_of(&mut self.logs, &planned.dir, disk);
                let before = self.high_watermarks.insert(place, partition.high_watermark);
                if !disk.is_damaged() {
                    high_watermark::check(&planned.dir, log, before, partition.high_watermark, disk)?;
                }
                consumer_reads::check(&planned.dir, log, partition, requested.get(&place).copied(), disk)?;
            }
        }
        Ok(())
    }

    /// The node's wall clock, in milliseconds since the Unix epoch, as it is told with its next input. What was old once has
    /// been, wherever the clock is set to later.
    pub const fn on_clock(&mut self, wall_ms: i64) {
        if self.wall_ms == i64::MAX || wall_ms > self.wall_ms {
            self.wall_ms = wall_ms;
        }
    }

    /// A storage operation has failed. The node has not heard of it yet.
    pub fn on_failed(&mut self, op: &StorageOp) {
        if let StorageOp::Append { file, position, .. } = op
            && let Some(log) = self.logs.get_mut(file.parent())
        {
            log.note_failed_append(file.as_str(), *position);
        }
        self.on_name_refused(op);
    }

    /// A storage operation failed, and the node is about to hear of it.
    pub fn on_storage_fault(&mut self, op: &StorageOp, fault: StorageFault) {
        self.failed_dirs.on_fault(op, fault);
    }

    /// A request to delete the records of a partition below `offset` is about to reach the node; -1 stands for the high
    /// watermark.
    pub fn on_delete_records(&mut self, topic: usize, partition: i32, offset: i64, disk: &Disk) {
        let planned = self.partitions.get(&(topic, partition));
        if let Some(log) = planned.and_then(|planned| self.logs.get_mut(&planned.dir)) {
            retention::on_delete_records(log, offset, disk);
        }
    }

    /// A request to delete a topic is about to reach the node.
    pub fn on_delete_topic(&mut self, name: &str) {
        self.unwanted.insert(name.to_owned());
        self.topics.on_delete(name);
    }

    /// A request to give a topic `count` partitions is about to reach the node.
    pub fn on_create_partitions(&mut self, name: &str, count: i32) {
        self.topics.on_create_partitions(name, count);
    }

    /// The node handed out a producer id.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_producer_id(&mut self, response: &InitProducerIdResponse) -> Result<(), Violation> {
        self.producer_ids.check(response)
    }

    /// The node said that a topic exists.
    pub fn on_topic_created(&mut self, now: u64, name: &str) {
        self.topics.on_created(now, name);
    }

    /// The node described topics; it has been running since `running_since`.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_metadata(
        &mut self,
        now: u64,
        running_since: u64,
        response: &MetadataResponse,
    ) -> Result<(), Violation> {
        // What a member of a cluster knows of it is compared with the metadata log.
        if self.are_off || self.is_member {
            return Ok(());
        }
        self.topics.check(now, running_since, response)
    }

    /// The run is over: everything that costs much. Answers how many values of idempotent producers are there twice
    /// because an epoch was raised.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn at_end(&self, idempotent_clients: &BTreeSet<u64>) -> Result<u64, Violation> {
        // A node that forgets producers within the run takes what they send again for new, as Kafka's does.
        if self.are_off || self.producer_expiration_ms < PRODUCER_EXPIRATION_MS_DEFAULT {
            return Ok(0);
        }
        no_duplicates::check(
            self.partitions
                .values()
                .filter_map(|planned| Some((&*planned.dir, self.logs.get(&planned.dir)?))),
            idempotent_clients,
            self.producer_expiration_ms,
        )
    }
}

/// The truth of the log in a directory.
fn log_of<'a>(logs: &'a mut BTreeMap<Arc<str>, LogTruth>, dir: &Arc<str>, disk: &Disk) -> &'a mut LogTruth {
    logs.entry(Arc::clone(dir)).or_insert_with_key(|dir| LogTruth::begin(dir, disk))
}

/// Looks at what lies beside a log. Beside one that is cut it is written anew when that is done, which appends tell.
fn check_beside(dir: &str, log: &mut LogTruth, expired: i64, disk: &Disk) -> Result<(), Violation> {
    if log.was_just_cut() {
        return Ok(());
    }
    let epochs = truth::contents_to_be(disk, &format!("{dir}/{}", leader_epochs::FILE));
    leader_epochs::check(dir, log, epochs.as_ref())?;
    producer_state::check(dir, log, expired, disk)
}

/// The limits of the log in a directory; what is not the plan's has none.
fn limits_of(partitions: &BTreeMap<(usize, i32), PlannedPartition>, dir: &str) -> LogLimits {
    let planned = partitions.values().find(|planned| replica_of(&planned.dir) == replica_of(dir));
    planned.map_or_else(LogLimits::default, |planned| planned.limits)
}
