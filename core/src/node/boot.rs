//! From a directory to a broker: what a node reads before it serves, in order, each look at the disk an effect.
//!
//! ```text
//! Files ──▶ Markers ──▶ MetadataLog ──▶ Replay ──▶ Logs ──▶ Voting ──▶ (Broker)
//! ```
//!
//! `Files` reads the small files of every log directory; `Markers` removes the markers of a clean stop, so that a crash
//! from here on is known as one; `MetadataLog` opens and `Replay` reads what the cluster is; `Logs` opens the
//! partitions' logs, a few at a time; `Voting` begins a new epoch of the quorum.

use super::broker::{
    Broker, FIRST_PARTITION_OWNER, Found, LogDir, OWNER_ELECTION, OWNER_NODE, OWNER_QUORUM,
    clean_stop_marker, condemned_name,
};
use crate::config::BrokerConfig;
use crate::config::Overrides;
use crate::config::topic::TopicConfig;
use crate::controller::image::{ConfigResource, MetadataImage};
use crate::ids::{Offset, TopicIdPartition};
use crate::log::checkpoint;
use crate::log::loader::{LoadRequest, LoadStep, Loaded, LogLoader, partition_metadata};
use crate::log::partition_log::PartitionLog;
use crate::mark::Mark;
use crate::museum::{Exhibit, Museum};
use crate::node::Output;
use crate::outbox::Outbox;
use crate::properties::Properties;
use crate::quorum::{
    Address, BOOTSTRAP_CHECKPOINT, ElectionState, METADATA_LOG_NAME, Quorum, Setup, Uncommitted, VoterKey,
    VoterSet, log_config, metadata_log_dir, records_of,
};
use crate::rng::Rng;
use crate::storage_op::{Completion, DirectoryEntry, StorageFault, StorageOp, StoragePath, StorageToken};
use crate::time::Now;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};
use sordini_protocol::batch::{Batch, BatchHeader, HEADER_LEN};
use sordini_protocol::control::{self, ControlType};
use sordini_protocol::records::{MetadataRecord, VotersRecord};
use sordini_protocol::wire::{Message, Str, Uuid};

/// How many logs are opened at a time.
const LOADS_AT_ONCE: usize = 8;

/// How much of a file is read at once.
const CHUNK_LEN: u32 = 1 << 20;

/// The most that a record batch of the metadata log may unfold to; Kafka writes them uncompressed and below 8 MiB.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 26;

/// A small file of a log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DirFile {
    MetaProperties,
    CleanShutdown,
    RecoveryPoints,
    LogStarts,
    /// For the exhibit that cuts logs there.
    HighWatermarks,
    /// Of the directory with the metadata log.
    BootstrapCheckpoint,
    QuorumState,
    BootstrapSnapshot,
    Listing,
    MetadataListing,
}

/// What was read of a log directory.
#[derive(Clone, Debug, Default)]
struct DirFacts {
    meta: Option<Properties>,
    clean: bool,
    recovery_points: BTreeMap<(String, i32), Offset>,
    log_starts: BTreeMap<(String, i32), Offset>,
    high_watermarks: BTreeMap<(String, i32), Offset>,
    entries: Vec<DirectoryEntry>,
}

#[derive(Clone, Debug)]
enum Stage {
    Files {
        waiting: BTreeMap<u64, (usize, DirFile)>,
    },
    Markers {
        waiting: usize,
    },
    MetadataLog(LogLoader),
    /// Reading a file of batches whole: the snapshot, then each segment.
    Replay {
        log: PartitionLog,
        sequence: u64,
        file: StoragePath,
        position: u64,
        /// What was read and is not yet a whole batch.
        rest: BytesMut,
        is_snapshot: bool,
        files: VecDeque<StoragePath>,
    },
    Logs {
        log: PartitionLog,
    },
    Over,
}

/// A node that reads its disk.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    config: BrokerConfig,
    museum: Museum,
    rng: Rng,
    stage: Stage,
    next_sequence: u64,
    dirs: Vec<DirFacts>,
    /// Index of the directory with the metadata log.
    metadata_dir: usize,
    election: ElectionState,
    bootstrap_records: Vec<MetadataRecord>,
    bootstrap_voters: Option<VotersRecord>,
    /// The newest snapshot of the metadata log, and the offset at which it ends.
    snapshot: Option<(Offset, StoragePath)>,
    image: MetadataImage,
    /// What the metadata log holds and other voters may not have.
    uncommitted: VecDeque<Uncommitted>,
    /// Logs to be opened: the partition and the directory.
    to_load: VecDeque<(TopicIdPartition, StoragePath, LoadRequest)>,
    loading: BTreeMap<u32, (TopicIdPartition, LogLoader)>,
    loaded: BTreeMap<TopicIdPartition, PartitionLog>,
    next_owner: u32,
}

/// What a step of booting came to.
pub(super) enum BootStep {
    Pending,
    Done(Broker),
}

impl Boot {
    pub(super) fn begin(config: BrokerConfig, seed: u64, museum: Museum, out: &mut Outbox) -> Self {
        let metadata_dir =
            config.log_dirs.iter().position(|dir| *dir == config.metadata_log_dir).unwrap_or(0);
        let mut boot = Self {
            rng: Rng::new(seed),
            stage: Stage::Over,
            next_sequence: 1,
            dirs: alloc::vec![DirFacts::default(); config.log_dirs.len()],
            metadata_dir,
            election: ElectionState::default(),
            bootstrap_records: Vec::new(),
            bootstrap_voters: None,
            snapshot: None,
            image: MetadataImage::default(),
            uncommitted: VecDeque::new(),
            to_load: VecDeque::new(),
            loading: BTreeMap::new(),
            loaded: BTreeMap::new(),
            next_owner: FIRST_PARTITION_OWNER,
            config,
            museum,
        };
        let mut waiting = BTreeMap::new();
        for dir in 0..boot.dirs.len() {
            let at = |name: &str| StoragePath::new(&format!("{dir}/{name}"));
            let mut wanted = alloc::vec![
                (DirFile::MetaProperties, at("meta.properties")),
                (DirFile::CleanShutdown, clean_stop_marker(dir)),
                (DirFile::RecoveryPoints, at("recovery-point-offset-checkpoint")),
                (DirFile::LogStarts, at("log-start-offset-checkpoint")),
            ];
            if museum.has(Exhibit::A01TruncateToOwnHighWatermark) {
                wanted.push((DirFile::HighWatermarks, at("replication-offset-checkpoint")));
            }
            if dir == metadata_dir {
                let metadata = metadata_log_dir(dir);
                wanted.push((DirFile::BootstrapCheckpoint, at("bootstrap.checkpoint")));
                wanted.push((DirFile::QuorumState, metadata.join("quorum-state")));
                wanted.push((DirFile::BootstrapSnapshot, metadata.join(BOOTSTRAP_CHECKPOINT)));
                let sequence = boot.push(StorageOp::List { dir: metadata }, out);
                waiting.insert(sequence, (dir, DirFile::MetadataListing));
            }
            for (what, file) in wanted {
                let sequence = boot.push(StorageOp::Read { file, position: 0, len: u32::MAX }, out);
                waiting.insert(sequence, (dir, what));
            }
            let sequence = boot.push(StorageOp::List { dir: StoragePath::new(&format!("{dir}")) }, out);
            waiting.insert(sequence, (dir, DirFile::Listing));
        }
        boot.stage = Stage::Files { waiting };
        boot
    }

    fn push(&mut self, op: StorageOp, out: &mut Outbox) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        out.push(Output::Storage { token: StorageToken { owner: OWNER_NODE, sequence }, op });
        sequence
    }

    /// Takes what the disk brought; an error is a sentence for the operator.
    pub(super) fn on_storage_completed(
        &mut self,
        token: StorageToken,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<BootStep, String> {
        if let Some(log) = self.open_log(token.owner) {
            // What a log that is open already writes beside its records.
            let done = log.on_completed(token.sequence, result, out);
            return done
                .map(|_| BootStep::Pending)
                .map_err(|fault| format!("{} cannot be written: {fault}", log.dir()));
        }
        match &mut self.stage {
            Stage::Files { waiting } => {
                let Some((dir, what)) = waiting.remove(&token.sequence) else { return Ok(BootStep::Pending) };
                let is_last = waiting.is_empty();
                self.on_file(dir, what, result, out)?;
                if is_last {
                    self.check_identity()?;
                    // From here on a crash has to be known as one.
                    if self.museum.has(Exhibit::A42MarkerDeletedAfterLoad) {
                        self.load_metadata_log(out);
                    } else {
                        self.remove_markers(out);
                    }
                }
            }
            Stage::Markers { waiting } => {
                result.map_err(|fault| {
                    format!("the marker of the last clean stop cannot be removed: {fault}")
                })?;
                *waiting -= 1;
                if *waiting == 0 {
                    self.load_metadata_log(out);
                }
            }
            Stage::MetadataLog(loader) if token.owner == OWNER_QUORUM => {
                let step = loader.on_completed(token.sequence, result, now, out);
                if let LoadStep::Done(loaded) =
                    step.map_err(|fault| format!("the metadata log cannot be read: {fault}"))?
                {
                    self.replay(loaded.log, out);
                }
            }
            Stage::Replay { sequence, .. } if token.owner == OWNER_NODE && token.sequence == *sequence => {
                let bytes = match result {
                    Ok(Completion::Bytes(bytes)) => bytes,
                    Ok(Completion::Done | Completion::Entries(_)) => unreachable!("a read brings bytes"),
                    Err(fault) => return Err(format!("the metadata log cannot be read: {fault}")),
                };
                return self.on_replayed(&bytes, now, out);
            }
            Stage::Logs { .. } => {
                if let Some((id, loader)) = self.loading.get_mut(&token.owner) {
                    let (id, dir) = (*id, loader.request().dir.clone());
                    match loader.on_completed(token.sequence, result, now, out) {
                        Ok(LoadStep::Pending) => {}
                        Ok(LoadStep::Done(loaded)) => {
                            self.loading.remove(&token.owner);
                            self.on_loaded(id, loaded, out);
                            return self.load_more(now, out);
                        }
                        Err(fault) => return Err(format!("{dir} cannot be read: {fault}")),
                    }
                } else {
                    result.map_err(|fault| format!("a log directory cannot be written: {fault}"))?;
                }
            }
            Stage::MetadataLog(_) | Stage::Replay { .. } | Stage::Over => {
                result.map_err(|fault| format!("a log directory cannot be written: {fault}"))?;
            }
        }
        Ok(BootStep::Pending)
    }

    fn open_log(&mut self, owner: u32) -> Option<&mut PartitionLog> {
        match &mut self.stage {
            Stage::Replay { log, .. } | Stage::Logs { log } if owner == OWNER_QUORUM => Some(log),
            Stage::Files { .. }
            | Stage::Markers { .. }
            | Stage::MetadataLog(_)
            | Stage::Replay { .. }
            | Stage::Logs { .. }
            | Stage::Over => self.loaded.values_mut().find(|log| log.owner() == owner),
        }
    }

    fn on_file(
        &mut self,
        dir: usize,
        what: DirFile,
        result: Result<Completion, StorageFault>,
        out: &mut Outbox,
    ) -> Result<(), String> {
        let path = self.config.log_dirs[dir].clone();
        let bytes = match result {
            Ok(Completion::Entries(entries)) => {
                if what == DirFile::MetadataListing {
                    self.snapshot = newest_snapshot(&metadata_log_dir(dir), &entries);
                } else {
                    self.dirs[dir].entries = entries;
                }
                return Ok(());
            }
            Ok(Completion::Bytes(bytes)) => bytes,
            Ok(Completion::Done) => unreachable!("a read brings bytes"),
            Err(StorageFault::NotFound) => return Ok(()),
            Err(fault) => return Err(format!("log directory {path} cannot be read: {fault}")),
        };
        let mut offsets = || {
            let offsets = checkpoint::partition_offsets(&bytes);
            out.sometimes_if(offsets.is_err(), Mark::BootCheckpointDamaged);
            offsets.unwrap_or_default()
        };
        let facts = &mut self.dirs[dir];
        match what {
            DirFile::MetaProperties => facts.meta = Some(Properties::parse(&bytes)),
            DirFile::CleanShutdown => facts.clean = true,
            // A damaged file only costs time: everything is read from the beginning.
            DirFile::RecoveryPoints => facts.recovery_points = offsets(),
            DirFile::LogStarts => facts.log_starts = offsets(),
            DirFile::HighWatermarks => facts.high_watermarks = offsets(),
            DirFile::BootstrapCheckpoint => {
                self.bootstrap_records = records_of(&bytes)?;
            }
            DirFile::QuorumState => {
                self.election = ElectionState::from_file(&bytes)
                    .ok_or_else(|| format!("{path}/{METADATA_LOG_NAME}/quorum-state is damaged"))?;
            }
            DirFile::BootstrapSnapshot => {
                self.bootstrap_voters = voters_of(&bytes);
                self.check_voters(self.bootstrap_voters.as_ref())?;
            }
            DirFile::Listing | DirFile::MetadataListing => unreachable!("a listing brings entries"),
        }
        Ok(())
    }

    /// The directories must all be this node's, of one cluster.
    fn check_identity(&self) -> Result<(), String> {
        let mut cluster: Option<(&str, &str)> = None;
        for (facts, path) in self.dirs.iter().zip(&self.config.log_dirs) {
            let Some(meta) = &facts.meta else {
                return Err(format!("log directory {path} is not formatted: it has no meta.properties"));
            };
            let value =
                |key: &str| meta.value(key).ok_or_else(|| format!("{path}/meta.properties has no {key}"));
            let (node, id) = (value("node.id")?, value("cluster.id")?);
            if *node != *format!("{}", self.config.node_id) {
                let configured = self.config.node_id;
                return Err(format!(
                    "log directory {path} belongs to node {node}, node.id says {configured}"
                ));
            }
            if let Some((other, other_path)) = cluster.filter(|(other, _)| *other != id) {
                return Err(format!("{path} belongs to cluster {id} and {other_path} to cluster {other}"));
            }
            cluster = Some((id, path));
            let directory = value("directory.id")?;
            if directory.parse::<Uuid>().is_err() {
                return Err(format!("{path}/meta.properties: directory.id is no id: '{directory}'"));
            }
        }
        Ok(())
    }

    fn remove_markers(&mut self, out: &mut Outbox) {
        let marked: Vec<usize> = (0..self.dirs.len()).filter(|dir| self.dirs[*dir].clean).collect();
        for dir in &marked {
            self.push(StorageOp::Remove { path: clean_stop_marker(*dir) }, out);
        }
        if marked.is_empty() {
            self.load_metadata_log(out);
        } else {
            self.stage = Stage::Markers { waiting: marked.len() };
        }
    }

    fn load_metadata_log(&mut self, out: &mut Outbox) {
        let dir = metadata_log_dir(self.metadata_dir);
        let facts = &self.dirs[self.metadata_dir];
        // Everything up to a snapshot may be gone from the log: it starts there at the latest.
        let request = LoadRequest {
            dir,
            owner: OWNER_QUORUM,
            jitter: 0,
            clean: facts.clean,
            recovery_point: Offset(0),
            log_start: Offset(0),
            high_watermark: Offset(i64::MAX),
            config: log_config(),
            museum: self.museum,
        };
        self.stage = Stage::MetadataLog(LogLoader::begin(request, out));
    }

    fn replay(&mut self, log: PartitionLog, out: &mut Outbox) {
        let mut files: VecDeque<StoragePath> = log.files();
        let is_snapshot = self.snapshot.is_some();
        if let Some((_, snapshot)) = &self.snapshot {
            files.push_front(snapshot.clone());
        }
        let file = files.pop_front().expect("a log has a segment");
        let sequence = self.push(StorageOp::Read { file: file.clone(), position: 0, len: CHUNK_LEN }, out);
        let rest = BytesMut::new();
        self.stage = Stage::Replay { log, sequence, file, position: 0, rest, is_snapshot, files };
    }

    fn on_replayed(&mut self, bytes: &Bytes, now: Now, out: &mut Outbox) -> Result<BootStep, String> {
        let Stage::Replay { log, file, mut position, mut rest, mut is_snapshot, mut files, .. } =
            core::mem::replace(&mut self.stage, Stage::Over)
        else {
            unreachable!("only a replay reads batches")
        };
        position += bytes.len() as u64;
        rest.extend_from_slice(bytes);
        while let Ok(header) = BatchHeader::parse(&rest) {
            let size = header.size();
            if rest.len() < size || size < HEADER_LEN {
                break;
            }
            let batch = rest.split_to(size).freeze();
            let covered = self.snapshot.as_ref().is_some_and(|(end, _)| header.base_offset < end.0);
            if covered && !is_snapshot {
                continue;
            }
            self.check_voters(voters_of(&batch).as_ref())?;
            let records = records_of(&batch)?;
            if is_snapshot || !self.has_other_voters() {
                // A snapshot is of what was committed, and so is all that the only voter wrote.
                for record in &records {
                    self.image.apply(record);
                }
            } else {
                self.uncommitted.push_back(Uncommitted { end: Offset(header.next_offset()), records });
            }
        }
        let is_at_end = bytes.len() < CHUNK_LEN as usize;
        let mut file = file;
        if is_at_end {
            let Some(next) = files.pop_front() else {
                return self.load_logs(log, now, out);
            };
            (file, position, is_snapshot) = (next, 0, false);
            rest.clear();
        }
        let sequence = self.push(StorageOp::Read { file: file.clone(), position, len: CHUNK_LEN }, out);
        self.stage = Stage::Replay { log, sequence, file, position, rest, is_snapshot, files };
        Ok(BootStep::Pending)
    }

    /// Voters that stand in the log are what counts, as the other nodes have them there too (KIP-853).
    fn check_voters(&self, logged: Option<&VotersRecord>) -> Result<(), String> {
        let Some(logged) = logged.filter(|_| self.has_other_voters()) else { return Ok(()) };
        let ids: Vec<String> = logged.voters.iter().map(|voter| format!("{}", voter.voter_id)).collect();
        Err(format!(
            "the metadata log in {} says itself who votes (kraft.version 1): {}. controller.quorum.voters names others: remove \
             it, or format the directory anew with it",
            self.config.metadata_log_dir,
            ids.join(", ")
        ))
    }

    fn has_other_voters(&self) -> bool {
        self.config.controller_quorum_voters.len() > 1
    }

    /// Decides what becomes of every directory: opened, or put aside as belonging to nobody.
    fn load_logs(&mut self, log: PartitionLog, now: Now, out: &mut Outbox) -> Result<BootStep, String> {
        self.stage = Stage::Logs { log };
        out.sometimes_if(self.image.topics_by_name().next().is_some(), Mark::BootTopicsKnown);
        for dir in 0..self.dirs.len() {
            for entry in core::mem::take(&mut self.dirs[dir].entries) {
                let name: &str = &entry.name;
                let path = StoragePath::new(&format!("{dir}/{name}"));
                if !entry.is_directory || name == METADATA_LOG_NAME || name.ends_with("-stray") {
                    continue;
                }
                if name.ends_with("-delete") {
                    out.sometimes(Mark::BootDeletedDirectory);
                    self.push(StorageOp::Remove { path }, out);
                    continue;
                }
                let Some((topic, partition)) = partition_of(name) else { continue };
                let known =
                    self.image.topic_by_name(topic).filter(|topic| topic.partitions.contains_key(&partition));
                let Some(id) = known.map(|topic| TopicIdPartition { topic: topic.id, partition }) else {
                    self.put_aside(&path, out);
                    continue;
                };
                if let Some((_, other, _)) = self.to_load.iter().find(|(other, _, _)| *other == id) {
                    return Err(format!(
                        "{other} and {path} are the same partition: remove the one that is not wanted"
                    ));
                }
                let facts = &self.dirs[dir];
                let key = (String::from(topic), partition);
                let request = LoadRequest {
                    dir: path.clone(),
                    owner: self.next_owner,
                    jitter: self.rng.next_u64(),
                    clean: facts.clean,
                    recovery_point: facts.recovery_points.get(&key).copied().unwrap_or_default(),
                    log_start: facts.log_starts.get(&key).copied().unwrap_or_default(),
                    high_watermark: facts.high_watermarks.get(&key).copied().unwrap_or_default(),
                    config: self.topic_config(topic),
                    museum: self.museum,
                };
                self.next_owner += 1;
                self.to_load.push_back((id, path, request));
            }
        }
        self.load_more(now, out)
    }

    fn topic_config(&self, topic: &str) -> TopicConfig {
        let none = Overrides::new();
        let of = |resource, name: &str| self.image.config(resource, name).unwrap_or(&none);
        let own = format!("{}", self.config.node_id);
        let layers = self.config.layers(of(ConfigResource::Broker, ""), of(ConfigResource::Broker, &own));
        TopicConfig::resolve(of(ConfigResource::Topic, topic), &layers)
    }

    /// Renames a directory that no partition of the cluster explains. It is kept: only an operator knows what it was.
    fn put_aside(&mut self, path: &StoragePath, out: &mut Outbox) {
        out.sometimes(Mark::BootStrayDirectory);
        let name = condemned_name(path.name(), self.rng.uuid(), "stray");
        let to = StoragePath::new(&format!("{}/{name}", path.parent()));
        self.push(StorageOp::Rename { from: path.clone(), to }, out);
    }

    fn load_more(&mut self, now: Now, out: &mut Outbox) -> Result<BootStep, String> {
        while self.loading.len() < LOADS_AT_ONCE {
            let Some((id, _, request)) = self.to_load.pop_front() else { break };
            let owner = request.owner;
            self.loading.insert(owner, (id, LogLoader::begin(request, out)));
        }
        if self.loading.is_empty() { Ok(self.vote(now, out)) } else { Ok(BootStep::Pending) }
    }

    fn on_loaded(&mut self, id: TopicIdPartition, loaded: Loaded, out: &mut Outbox) {
        match loaded.topic_id {
            // The directory is of an earlier topic of the same name.
            Some(other) if other != id.topic => {
                let dir = loaded.log.dir().clone();
                self.put_aside(&dir, out);
            }
            Some(_) | None => {
                let mut log = loaded.log;
                if loaded.topic_id.is_none() {
                    // A crash came between the log and the file that names its topic.
                    log.replace("partition.metadata", partition_metadata(id.topic), out);
                }
                let other = self.loaded.insert(id, log);
                assert!(other.is_none(), "two directories of a partition are refused before they are opened");
            }
        }
    }

    fn vote(&mut self, now: Now, out: &mut Outbox) -> BootStep {
        let Stage::Logs { log } = core::mem::replace(&mut self.stage, Stage::Over) else {
            unreachable!("logs are loaded before the vote")
        };
        let meta = |dir: usize, key: &str| {
            let meta = self.dirs[dir].meta.as_ref().expect("directories were checked");
            meta.value(key).expect("directories were checked")
        };
        let directory =
            |dir: usize| meta(dir, "directory.id").parse::<Uuid>().expect("directories were checked");
        let identity = VoterKey { node: self.config.node_id, directory: directory(self.metadata_dir) };
        let quorum_rng = Rng::new(self.rng.clone().next_u64());
        let setup = Setup {
            identity,
            cluster_id: Str::from(meta(0, "cluster.id")),
            voters: self.voters(),
            is_configured: self.has_other_voters(),
            listener: self
                .config
                .controller_listener_names
                .first()
                .map_or_else(Str::default, |name| Str::from(&**name)),
            config: self.config.quorum,
            museum: self.museum,
            rng: quorum_rng,
            election: self.election,
            log,
            uncommitted: core::mem::take(&mut self.uncommitted),
            bootstrap_voters: self.bootstrap_voters.take(),
            state_owner: OWNER_ELECTION,
        };
        let quorum = Quorum::start(setup, now, out);
        let hosted = |topic: &str, partition: i32| {
            let topic = self.image.topic_by_name(topic);
            topic.is_some_and(|topic| {
                self.loaded.contains_key(&TopicIdPartition { topic: topic.id, partition })
            })
        };
        let checkpointed =
            self.dirs.iter().flat_map(|facts| facts.recovery_points.keys().chain(facts.log_starts.keys()));
        let stale_checkpoints = checkpointed
            .filter(|(topic, partition)| !hosted(topic, *partition))
            .map(|(topic, partition)| (Str::from(&**topic), *partition))
            .collect();
        let log_dirs = self.config.log_dirs.iter().enumerate().map(|(dir, path)| LogDir {
            id: directory(dir),
            path: path.clone(),
            failed: false,
        });
        let found = Found {
            cluster_id: Str::from(meta(0, "cluster.id")),
            log_dirs: log_dirs.collect(),
            rng: self.rng.clone(),
            quorum,
            image: core::mem::take(&mut self.image),
            bootstrap_records: core::mem::take(&mut self.bootstrap_records),
            logs: core::mem::take(&mut self.loaded),
            stale_checkpoints,
            next_owner: self.next_owner,
            next_node_sequence: self.next_sequence,
            config: self.config.clone(),
            museum: self.museum,
        };
        BootStep::Done(Broker::new(found, now, out))
    }

    /// Who votes: those that the configuration names, or this node alone.
    fn voters(&self) -> VoterSet {
        let configured = &self.config.controller_quorum_voters;
        if configured.is_empty() {
            let controllers = self
                .config
                .listeners
                .iter()
                .find(|listener| self.config.controller_listener_names.contains(&listener.name));
            let (host, port) = controllers.map_or(("", 0), |listener| (&*listener.host, listener.port));
            let host = if host.is_empty() { "localhost" } else { host };
            return VoterSet::new([(self.config.node_id, Address { host: host.into(), port })]);
        }
        VoterSet::new(
            configured
                .iter()
                .map(|voter| (voter.id, Address { host: (&*voter.host).into(), port: voter.port })),
        )
    }
}

/// The voters in the snapshot that formatting wrote.
fn voters_of(snapshot: &Bytes) -> Option<VotersRecord> {
    let mut rest = snapshot.clone();
    while let Ok(Some(batch)) = Batch::first_of(&mut rest) {
        if !batch.header().is_control() {
            continue;
        }
        for record in batch.records(DECOMPRESSED_BYTES_MAX).ok()? {
            if let Ok(Some((ControlType::KraftVoters, mut value))) = control::parse(&record.ok()?) {
                return VotersRecord::decode(0, &mut value).ok();
            }
        }
        if !rest.has_remaining() {
            break;
        }
    }
    None
}

/// The snapshot that reaches furthest. The one of offset 0 holds no data.
fn newest_snapshot(dir: &StoragePath, entries: &[DirectoryEntry]) -> Option<(Offset, StoragePath)> {
    let snapshots = entries.iter().filter_map(|entry| {
        let (end, epoch) = entry.name.strip_suffix(".checkpoint")?.split_once('-')?;
        let is_number =
            |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(end, 20) || !is_number(epoch, 10) {
            return None;
        }
        Some((Offset(end.parse().ok()?), dir.join(&entry.name)))
    });
    snapshots.filter(|(end, _)| *end > Offset(0)).max_by_key(|(end, _)| *end)
}

/// The partition that a directory's name says: split at the last dash.
fn partition_of(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    if topic.is_empty() || !is_number { None } else { Some((topic, partition.parse().ok()?)) }
}
