//! Opening the logs of a broker's partitions, a few at a time, once it knows what the cluster is.
//!
//! A directory that no partition of the cluster explains is put aside, and kept: only an operator knows what it was.

use super::assignments::said_directory;
use super::broker::{LogDir, condemned_name, dir_index};
use crate::config::BrokerConfig;
use crate::config::topic::TopicConfig;
use crate::controller::image::{ConfigResource, MetadataImage};
use crate::ids::{BrokerEpoch, Offset, TopicIdPartition};
use crate::log::loader::{LoadRequest, LoadStep, Loaded, LogLoader, partition_metadata};
use crate::log::partition_log::PartitionLog;
use crate::mark::Mark;
use crate::museum::Museum;
use crate::outbox::Outbox;
use crate::quorum::METADATA_LOG_NAME;
use crate::rng::Rng;
use crate::storage_op::{Completion, DirectoryEntry, StorageFault, StorageOp, StoragePath};
use crate::time::Now;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use sordini_protocol::wire::Str;

/// How many logs are opened at a time.
const LOADS_AT_ONCE: usize = 8;

/// What was read of a log directory before its logs are opened.
#[derive(Clone, Debug, Default)]
pub(super) struct DirFacts {
    /// The last stop was a clean one, and the broker's epoch was this; -1 for one that had none.
    pub(super) clean: Option<BrokerEpoch>,
    pub(super) recovery_points: BTreeMap<(String, i32), Offset>,
    pub(super) log_starts: BTreeMap<(String, i32), Offset>,
    pub(super) high_watermarks: BTreeMap<(String, i32), Offset>,
    pub(super) entries: Vec<DirectoryEntry>,
}

/// How far a node's logs are.
#[derive(Clone, Debug)]
pub(super) enum Logs {
    /// What the cluster is, and so whose the directories are, is not known yet.
    Unopened(Vec<DirFacts>),
    /// The markers of the last clean stop are being removed, so that a crash from here on is known as one.
    Unmarking(Vec<DirFacts>),
    Opening(LogLoading),
    Open,
}

/// A log that was opened, and what the files beside it say.
#[derive(Clone, Debug)]
pub(super) struct OpenedLog {
    pub(super) log: PartitionLog,
    /// As it was written down last.
    pub(super) high_watermark: Offset,
}

/// The logs of a broker while they are opened.
#[derive(Clone, Debug)]
pub(super) struct LogLoading {
    to_load: VecDeque<(TopicIdPartition, LoadRequest)>,
    loading: BTreeMap<u32, (TopicIdPartition, LogLoader)>,
    /// By owner.
    opened: BTreeMap<u32, (TopicIdPartition, OpenedLog)>,
    /// Partitions of which checkpoint files of log directories speak.
    checkpointed: BTreeSet<(usize, Str, i32)>,
    /// Replicas that were on their way to another log directory.
    moving: Vec<(TopicIdPartition, usize)>,
    /// To be carried out by the node: what is done to directories that are no partition's.
    tidying: Vec<StorageOp>,
}

/// What opening came to.
pub(super) struct Opened {
    pub(super) logs: BTreeMap<TopicIdPartition, OpenedLog>,
    pub(super) checkpointed: BTreeSet<(usize, Str, i32)>,
    pub(super) moving: Vec<(TopicIdPartition, usize)>,
}

impl LogLoading {
    /// Decides what becomes of every directory, and begins. Owners of logs are counted on from `next_owner`.
    pub(super) fn begin(
        dirs: Vec<DirFacts>,
        log_dirs: &[LogDir],
        image: &MetadataImage,
        config: &BrokerConfig,
        museum: Museum,
        next_owner: &mut u32,
        rng: &mut Rng,
        out: &mut Outbox,
    ) -> Result<Self, String> {
        out.sometimes_if(image.topics_by_name().next().is_some(), Mark::BootTopicsKnown);
        let mut loading = Self {
            to_load: VecDeque::new(),
            loading: BTreeMap::new(),
            opened: BTreeMap::new(),
            checkpointed: BTreeSet::new(),
            moving: Vec::new(),
            tidying: Vec::new(),
        };
        let mut found: BTreeMap<TopicIdPartition, StoragePath> = BTreeMap::new();
        let mut copies = Vec::new();
        let is_said = |id, path: &StoragePath| {
            dir_index(path)
                .is_some_and(|dir| said_directory(image, config.node_id, id) == Some(log_dirs[dir].id))
        };
        for (dir, facts) in dirs.into_iter().enumerate() {
            let checkpointed = facts.recovery_points.keys().chain(facts.log_starts.keys());
            let checkpointed = checkpointed.chain(facts.high_watermarks.keys());
            let checkpointed = checkpointed.map(|(topic, partition)| (dir, Str::from(&**topic), *partition));
            loading.checkpointed.extend(checkpointed);
            for entry in &facts.entries {
                let name: &str = &entry.name;
                let path = StoragePath::new(&format!("{dir}/{name}"));
                if !entry.is_directory || name == METADATA_LOG_NAME || name.ends_with("-stray") {
                    continue;
                }
                if name.ends_with("-delete") {
                    out.sometimes(Mark::BootDeletedDirectory);
                    loading.tidying.push(StorageOp::Remove { path });
                    continue;
                }
                let copy = name.strip_suffix("-future").and_then(|rest| Some(rest.rsplit_once('.')?.0));
                let Some((topic, partition)) = partition_of(copy.unwrap_or(name)) else { continue };
                let hosted = image.topic_by_name(topic).and_then(|known| {
                    let state = known.partitions.get(&partition)?;
                    let is_replica = state.replicas.contains(&config.node_id);
                    is_replica.then_some(TopicIdPartition { topic: known.id, partition })
                });
                let Some(id) = hosted else {
                    loading.put_aside(&path, rng, out);
                    continue;
                };
                let key = (String::from(topic), partition);
                let request = |dir, clean, owner: &mut u32, rng: &mut Rng| {
                    *owner += 1;
                    LoadRequest {
                        dir,
                        owner: *owner - 1,
                        jitter: rng.next_u64(),
                        clean,
                        recovery_point: facts.recovery_points.get(&key).copied().unwrap_or_default(),
                        log_start: facts.log_starts.get(&key).copied().unwrap_or_default(),
                        high_watermark: facts.high_watermarks.get(&key).copied().unwrap_or_default(),
                        end: None,
                        config: topic_config(image, config, topic),
                        museum,
                    }
                };
                if copy.is_some() {
                    if is_said(id, &path) {
                        // No clean stop vouches for a copy.
                        let place = StoragePath::new(&format!("{dir}/{topic}-{partition}"));
                        copies.push((id, path, request(place, false, next_owner, rng)));
                    } else {
                        // The cluster does not look for the replica here.
                        out.sometimes(Mark::BootCopyRemoved);
                        loading.tidying.push(StorageOp::Remove { path });
                        loading.moving.push((id, dir));
                    }
                    continue;
                }
                if let Some(other) = found.get(&id).cloned() {
                    // A replica was moved here, or began anew, while the other directory was not there.
                    if is_said(id, &other) {
                        loading.put_aside(&path, rng, out);
                        continue;
                    }
                    if !is_said(id, &path) {
                        return Err(format!(
                            "{other} and {path} are the same partition: remove the one that is not wanted"
                        ));
                    }
                    loading.put_aside(&other, rng, out);
                    loading.to_load.retain(|(it, _)| *it != id);
                }
                found.insert(id, path.clone());
                loading.to_load.push_back((id, request(path, facts.clean.is_some(), next_owner, rng)));
            }
        }
        for (id, path, request) in copies {
            let other = found.insert(id, request.dir.clone());
            if other.as_ref() == Some(&request.dir) {
                loading.tidying.push(StorageOp::Remove { path });
                continue;
            }
            out.sometimes(Mark::BootCopyTaken);
            loading.tidying.push(StorageOp::Rename { from: path, to: request.dir.clone() });
            if let Some(other) = other {
                loading.put_aside(&other, rng, out);
                loading.to_load.retain(|(it, _)| *it != id);
            }
            loading.to_load.push_back((id, request));
        }
        Ok(loading)
    }

    /// Takes what is to be done to directories that are no partition's.
    pub(super) fn take_tidying(&mut self) -> Vec<StorageOp> {
        core::mem::take(&mut self.tidying)
    }

    /// Gives up the logs in a log directory that has failed.
    pub(super) fn give_up(&mut self, dir: usize, out: &mut Outbox) {
        let is_elsewhere = |path: &StoragePath| dir_index(path) != Some(dir);
        self.to_load.retain(|(_, request)| is_elsewhere(&request.dir));
        self.loading.retain(|_, (_, loader)| is_elsewhere(&loader.request().dir));
        self.opened.retain(|_, (_, opened)| is_elsewhere(opened.log.dir()));
        self.tidying.retain(|op| is_elsewhere(op.path()));
        self.load_more(out);
    }

    /// Takes everything, when nothing is left to be opened.
    pub(super) fn finish(&mut self) -> Option<Opened> {
        if !self.loading.is_empty() || !self.to_load.is_empty() {
            return None;
        }
        let opened = core::mem::take(&mut self.opened);
        let count = opened.len();
        let logs: BTreeMap<_, _> = opened.into_values().collect();
        assert_eq!(logs.len(), count, "two directories of a partition are refused before they are opened");
        Some(Opened {
            logs,
            checkpointed: core::mem::take(&mut self.checkpointed),
            moving: core::mem::take(&mut self.moving),
        })
    }

    fn put_aside(&mut self, path: &StoragePath, rng: &mut Rng, out: &mut Outbox) {
        out.sometimes(Mark::BootStrayDirectory);
        let name = condemned_name(path.name(), rng.uuid(), "stray");
        let to = StoragePath::new(&format!("{}/{name}", path.parent()));
        self.tidying.push(StorageOp::Rename { from: path.clone(), to });
    }

    /// Opens logs, so many at a time. What is to be tidied comes first.
    pub(super) fn load_more(&mut self, out: &mut Outbox) {
        while self.loading.len() < LOADS_AT_ONCE {
            let Some((id, request)) = self.to_load.pop_front() else { break };
            let owner = request.owner;
            self.loading.insert(owner, (id, LogLoader::begin(request, out)));
        }
    }

    /// Takes what the disk brought; an error is of the log in a directory.
    pub(super) fn on_storage_completed(
        &mut self,
        owner: u32,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        rng: &mut Rng,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), (StoragePath, StorageFault)> {
        let Some((id, loader)) = self.loading.get_mut(&owner) else {
            let Some((_, OpenedLog { log, .. })) = self.opened.get_mut(&owner) else { return Ok(()) };
            // What a log that is open already writes beside its records.
            let done = log.on_completed(sequence, result, out);
            return done.map(drop).map_err(|fault| (log.dir().clone(), fault));
        };
        let (id, dir) = (*id, loader.request().dir.clone());
        let high_watermark = loader.request().high_watermark;
        match loader.on_completed(sequence, result, now, out) {
            Ok(LoadStep::Pending) => {}
            Ok(LoadStep::Done(loaded)) => {
                self.loading.remove(&owner);
                self.on_loaded(id, loaded, high_watermark, rng, out);
                self.load_more(out);
            }
            Err(fault) => return Err((dir, fault)),
        }
        Ok(())
    }

    fn on_loaded(
        &mut self,
        id: TopicIdPartition,
        loaded: Loaded,
        high_watermark: Offset,
        rng: &mut Rng,
        out: &mut Outbox,
    ) {
        match loaded.topic_id {
            // The directory is of an earlier topic of the same name.
            Some(other) if other != id.topic => {
                let dir = loaded.log.dir().clone();
                self.put_aside(&dir, rng, out);
            }
            Some(_) | None => {
                let mut log = loaded.log;
                if loaded.topic_id.is_none() {
                    // A crash came between the log and the file that names its topic.
                    log.replace("partition.metadata", partition_metadata(id.topic), out);
                }
                self.opened.insert(log.owner(), (id, OpenedLog { log, high_watermark }));
            }
        }
    }
}

/// How a topic is configured on a node.
pub(super) fn topic_config(image: &MetadataImage, config: &BrokerConfig, topic: &str) -> TopicConfig {
    match image.config(ConfigResource::Topic, topic) {
        Some(overrides) => config.topic_defaults.with_overrides(overrides),
        None => config.topic_defaults.clone(),
    }
}

/// The partition that a directory's name says: split at the last dash.
fn partition_of(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    if topic.is_empty() || !is_number { None } else { Some((topic, partition.parse().ok()?)) }
}
