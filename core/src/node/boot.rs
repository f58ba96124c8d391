//! From a directory to a broker: what a node reads before it serves, in order, each look at the disk an effect.
//!
//! ```text
//! Files ──▶ MetadataLog ──▶ Replay ──▶ (Broker)
//! ```
//!
//! `Files` reads the small files of every log directory; `MetadataLog` opens and `Replay` reads what this node has of what
//! the cluster is. The logs of partitions are opened when the node has learned from the quorum which of them are its own,
//! and the marker of a clean stop, which vouches for them alone, stays until then: whoever gives up before has stopped as
//! cleanly as the life before.

use super::broker::{
    Broker, Found, LogDir, OWNER_ELECTION, OWNER_NODE, OWNER_QUORUM, OWNER_SNAPSHOTS, clean_stop_marker,
};
use super::loading::DirFacts;
use crate::config::BrokerConfig;
use crate::controller::image::MetadataImage;
use crate::format::own_voter;
use crate::ids::{BrokerEpoch, Offset};
use crate::log::checkpoint;
use crate::log::loader::{LoadRequest, LoadStep, LogLoader};
use crate::log::partition_log::PartitionLog;
use crate::mark::Mark;
use crate::museum::Museum;
use crate::node::Output;
use crate::outbox::Outbox;
use crate::properties::Properties;
use crate::quorum::snapshot_file::{Contents, SnapshotId};
use crate::quorum::{
    Address, Applied, BOOTSTRAP_CHECKPOINT, ElectionState, METADATA_LOG_NAME, Quorum, Setup, SnapshotFile,
    Uncommitted, VoterHistory, VoterKey, VoterSet, log_config, metadata_log_dir, records_of, snapshot_file,
    voters_in,
};
use crate::rng::Rng;
use crate::storage_op::{Completion, DirectoryEntry, StorageFault, StorageOp, StoragePath, StorageToken};
use crate::time::Now;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use sordini_protocol::batch::{Batch, BatchHeader, HEADER_LEN};
use sordini_protocol::records::MetadataRecord;
use sordini_protocol::wire::{Str, Uuid};

/// How much of a file is read at once.
const CHUNK_LEN: u32 = 1 << 20;

/// A small file of a log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DirFile {
    MetaProperties,
    CleanShutdown,
    RecoveryPoints,
    LogStarts,
    HighWatermarks,
    /// Of the directory with the metadata log.
    BootstrapCheckpoint,
    QuorumState,
    BootstrapSnapshot,
    Listing,
    MetadataListing,
}

#[derive(Clone, Debug)]
enum Stage {
    Files {
        waiting: BTreeMap<u64, (usize, DirFile)>,
    },
    MetadataLog(LogLoader),
    /// Reading a file of batches whole: the newest snapshot, then each segment.
    Replay {
        log: PartitionLog,
        sequence: u64,
        file: StoragePath,
        position: u64,
        /// What was read and is not yet a whole batch.
        rest: BytesMut,
        /// Of the snapshot, while that is read.
        reader: Option<snapshot_file::Reader>,
        files: VecDeque<StoragePath>,
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
    meta: Vec<Option<Properties>>,
    /// Directories that cannot be read.
    failed: BTreeSet<usize>,
    /// Index of the directory with the metadata log.
    metadata_dir: usize,
    election: ElectionState,
    bootstrap_records: Vec<MetadataRecord>,
    /// Voters as they were read last, and what of them the log may still take back.
    logged_voters: Option<VoterSet>,
    history: VoterHistory,
    /// Snapshots of the metadata log.
    snapshots: BTreeMap<SnapshotId, SnapshotFile>,
    /// Where the segments of the metadata log begin.
    metadata_segments: BTreeSet<Offset>,
    image: MetadataImage,
    /// How far the image is.
    applied: Applied,
    /// What the metadata log holds and other voters may not have.
    uncommitted: VecDeque<Uncommitted>,
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
            meta: alloc::vec![None; config.log_dirs.len()],
            failed: BTreeSet::new(),
            metadata_dir,
            election: ElectionState::default(),
            bootstrap_records: Vec::new(),
            logged_voters: None,
            history: VoterHistory::default(),
            snapshots: BTreeMap::new(),
            metadata_segments: BTreeSet::new(),
            image: MetadataImage::default(),
            applied: Applied::default(),
            uncommitted: VecDeque::new(),
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
                (DirFile::HighWatermarks, at("replication-offset-checkpoint")),
            ];
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
                    for dir in &self.failed {
                        self.dirs[*dir] = DirFacts::default();
                    }
                    self.check_identity()?;
                    self.load_metadata_log(out);
                }
            }
            Stage::MetadataLog(loader) if token.owner == OWNER_QUORUM => {
                let step = loader.on_completed(token.sequence, result, now, out);
                if let LoadStep::Done(loaded) =
                    step.map_err(|fault| format!("the metadata log cannot be read: {fault}"))?
                {
                    self.replay(loaded.log, now, out)?;
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
            Stage::MetadataLog(_) | Stage::Replay { .. } | Stage::Over => {
                result.map_err(|fault| format!("a log directory cannot be written: {fault}"))?;
            }
        }
        Ok(BootStep::Pending)
    }

    fn open_log(&mut self, owner: u32) -> Option<&mut PartitionLog> {
        match &mut self.stage {
            Stage::Replay { log, .. } if owner == OWNER_QUORUM => Some(log),
            Stage::Files { .. } | Stage::MetadataLog(_) | Stage::Replay { .. } | Stage::Over => None,
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
                    self.on_metadata_listed(dir, &entries, out);
                } else {
                    self.dirs[dir].entries = entries;
                }
                return Ok(());
            }
            Ok(Completion::Bytes(bytes)) => bytes,
            Ok(Completion::Done) => unreachable!("a read brings bytes"),
            Err(StorageFault::NotFound) => return Ok(()),
            Err(_) if dir != self.metadata_dir => {
                // Its replicas are offline, and the others are not.
                out.sometimes(Mark::BootDirectoryFailed);
                self.failed.insert(dir);
                return Ok(());
            }
            Err(fault) => return Err(format!("log directory {path} cannot be read: {fault}")),
        };
        let mut offsets = || {
            let offsets = checkpoint::partition_offsets(&bytes);
            out.sometimes_if(offsets.is_err(), Mark::BootCheckpointDamaged);
            offsets.unwrap_or_default()
        };
        let facts = &mut self.dirs[dir];
        match what {
            DirFile::MetaProperties => self.meta[dir] = Some(Properties::parse(&bytes)),
            DirFile::CleanShutdown => facts.clean = Some(broker_epoch_in(&bytes)),
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
            // Whatever else is read, is read later.
            DirFile::BootstrapSnapshot => self.logged_voters = voters_in(&bytes).map(VoterSet::of_record),
            DirFile::Listing | DirFile::MetadataListing => unreachable!("a listing brings entries"),
        }
        Ok(())
    }

    fn on_metadata_listed(&mut self, dir: usize, entries: &[DirectoryEntry], out: &mut Outbox) {
        for DirectoryEntry { name, len, modified_ms, .. } in entries {
            if let Some(id) = SnapshotId::of_file(name) {
                // The one of offset 0 is what formatting wrote, and holds no data.
                if id.end > Offset(0) {
                    self.snapshots.insert(id, SnapshotFile { size: *len, timestamp_ms: *modified_ms });
                }
            } else if let Some(base) = name.strip_suffix(".log").and_then(|base| base.parse().ok()) {
                self.metadata_segments.insert(Offset(base));
            } else if name.ends_with(".checkpoint.part") || name.ends_with(".checkpoint.deleted") {
                // Kafka's, of a snapshot that was not finished, and of one that is not needed.
                self.push(StorageOp::Remove { path: metadata_log_dir(dir).join(name) }, out);
            }
        }
    }

    /// The directories must all be this node's, of one cluster.
    fn check_identity(&self) -> Result<(), String> {
        let mut cluster: Option<(&str, &str)> = None;
        for (dir, (meta, path)) in self.meta.iter().zip(&self.config.log_dirs).enumerate() {
            if self.failed.contains(&dir) {
                continue;
            }
            let Some(meta) = meta else {
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

    fn load_metadata_log(&mut self, out: &mut Outbox) {
        let request = LoadRequest {
            dir: metadata_log_dir(self.metadata_dir),
            owner: OWNER_QUORUM,
            jitter: 0,
            // It is short, and no marker speaks for it: that of the directory is of a broker's partitions.
            clean: false,
            recovery_point: Offset(0),
            log_start: self.metadata_log_start(),
            high_watermark: Offset(i64::MAX),
            end: None,
            config: log_config(&self.config.quorum),
            museum: self.museum,
        };
        self.stage = Stage::MetadataLog(LogLoader::begin(request, out));
    }

    /// Where the metadata log begins. Only a snapshot that contains what came before lets it begin later than at 0, and then
    /// it begins where the oldest such one ends, whatever stands before that in the same file.
    fn metadata_log_start(&self) -> Offset {
        let first_base = self.metadata_segments.first().copied();
        if first_base == Some(Offset(0)) {
            return Offset(0);
        }
        let from = first_base.unwrap_or_default();
        self.snapshots.keys().map(|id| id.end).find(|end| *end >= from).unwrap_or(from)
    }

    fn replay(&mut self, mut log: PartitionLog, now: Now, out: &mut Outbox) -> Result<(), String> {
        let newest = self.snapshots.last_key_value().map(|(id, _)| *id);
        // What lies before the first known epoch was given up, and only the first segment's name does not say so. A log without
        // its epochs cannot tell whose another one is.
        let first = log.epochs().first().map(|(_, start)| start);
        let is_within = |start: &Offset| (log.log_start()..=log.next_offset()).contains(start);
        let is_contained = |start: &Offset| newest.is_some_and(|newest| newest.end >= *start);
        let begins = first.filter(is_within).filter(is_contained).unwrap_or_else(|| log.log_start());
        // A snapshot that the log does not hold was got from a leader, and a crash came before the log began anew: what stands
        // there is another's. Without knowing whose it is, it stays if there is anything behind.
        let ahead = newest.filter(|newest| {
            let is_other = match log.epochs().epoch_at(newest.end.plus(-1)) {
                Some(epoch) => epoch != newest.epoch,
                None => newest.end >= log.next_offset(),
            };
            // Nothing of an earlier epoch comes behind a later one.
            let goes_back = newest.end < log.next_offset()
                && log.epochs().epoch_at(newest.end).is_some_and(|epoch| epoch < newest.epoch);
            newest.end > log.next_offset() || (newest.end > begins && is_other) || goes_back
        });
        if let Some(newest) = ahead {
            out.sometimes(Mark::BootSnapshotAhead);
            log.truncate_fully(newest.end, now, out);
        } else {
            log.advance_log_start(begins, &log_config(&self.config.quorum), now, out);
        }
        if log.log_start() > newest.map_or(Offset(0), |id| id.end) {
            return Err(format!(
                "the metadata log in {} begins at offset {} and no snapshot contains what came before: copy the directory of \
                 another controller, or format it anew and let the others bring it up to date",
                self.config.metadata_log_dir,
                log.log_start()
            ));
        }
        let dir = log.dir().clone();
        // They contain less than the log begins with.
        for id in self.snapshots.keys().filter(|id| id.end < log.log_start()).copied().collect::<Vec<_>>() {
            self.snapshots.remove(&id);
            self.push(StorageOp::Remove { path: dir.join(&id.file_name()) }, out);
        }
        let mut files: VecDeque<StoragePath> = log.files();
        if let Some(newest) = newest {
            files.push_front(dir.join(&newest.file_name()));
        }
        let reader = newest.map(|_| snapshot_file::Reader::default());
        let file = files.pop_front().expect("a log has a segment");
        let sequence = self.push(StorageOp::Read { file: file.clone(), position: 0, len: CHUNK_LEN }, out);
        let rest = BytesMut::new();
        self.stage = Stage::Replay { log, sequence, file, position: 0, rest, reader, files };
        Ok(())
    }

    fn on_replayed(&mut self, bytes: &Bytes, now: Now, out: &mut Outbox) -> Result<BootStep, String> {
        let Stage::Replay { log, file, mut position, mut rest, mut reader, mut files, .. } =
            core::mem::replace(&mut self.stage, Stage::Over)
        else {
            unreachable!("only a replay reads batches")
        };
        position += bytes.len() as u64;
        rest.extend_from_slice(bytes);
        let damaged = |why: String| format!("the snapshot {file} is damaged: {why}");
        while let Ok(header) = BatchHeader::parse(&rest) {
            let size = header.size();
            if rest.len() < size || size < HEADER_LEN {
                break;
            }
            let bytes = rest.split_to(size).freeze();
            if let Some(reader) = &mut reader {
                reader
                    .take(&Batch::new(bytes).map_err(|error| damaged(format!("{error}")))?)
                    .map_err(damaged)?;
            } else {
                self.on_replayed_batch(&header, &bytes)?;
            }
        }
        let is_at_end = bytes.len() < CHUNK_LEN as usize;
        let mut file = file;
        if is_at_end {
            if let Some(reader) = reader.take() {
                let contents =
                    reader.finish().map_err(|why| format!("the snapshot {file} is damaged: {why}"))?;
                self.on_snapshot_read(contents);
            }
            let Some(next) = files.pop_front() else {
                return Ok(BootStep::Done(self.serve(log, now, out)));
            };
            (file, position) = (next, 0);
            rest.clear();
        }
        let sequence = self.push(StorageOp::Read { file: file.clone(), position, len: CHUNK_LEN }, out);
        self.stage = Stage::Replay { log, sequence, file, position, rest, reader, files };
        Ok(BootStep::Pending)
    }

    /// A snapshot is of what was committed.
    fn on_snapshot_read(&mut self, contents: Contents) {
        let (id, file) = self.snapshots.iter_mut().next_back().expect("the newest one was read");
        file.timestamp_ms = contents.last_timestamp_ms;
        self.applied = Applied { end: id.end, bytes: 0, timestamp_ms: contents.last_timestamp_ms };
        for record in &contents.records {
            self.image.apply(record);
        }
        self.logged_voters = contents.voters.map(VoterSet::of_record).or_else(|| self.logged_voters.take());
    }

    fn on_replayed_batch(&mut self, header: &BatchHeader, bytes: &Bytes) -> Result<(), String> {
        if self.snapshots.keys().next_back().is_some_and(|newest| header.base_offset < newest.end.0) {
            return Ok(());
        }
        if header.is_control()
            && let Some(record) = voters_in(bytes)
        {
            let before = self.voters();
            self.logged_voters = Some(VoterSet::of_record(record));
            self.history.change(Offset(header.base_offset), before);
        }
        self.uncommitted.push_back(Uncommitted::new(header, records_of(bytes)?));
        Ok(())
    }

    fn identity(&self) -> VoterKey {
        let meta = self.meta[self.metadata_dir].as_ref().expect("directories were checked");
        let directory = meta.value("directory.id").expect("directories were checked");
        let directory = directory.parse().expect("directories were checked");
        VoterKey { node: self.config.node_id, directory }
    }

    fn serve(&mut self, log: PartitionLog, now: Now, out: &mut Outbox) -> Broker {
        let meta = |dir: usize, key: &str| {
            let meta = self.meta[dir].as_ref().expect("directories were checked");
            meta.value(key).expect("directories were checked")
        };
        let directory =
            |dir: usize| meta(dir, "directory.id").parse::<Uuid>().expect("directories were checked");
        let identity = self.identity();
        let quorum_rng = Rng::new(self.rng.clone().next_u64());
        let setup = Setup {
            identity,
            cluster_id: Str::from(meta(self.metadata_dir, "cluster.id")),
            voters: self.voters(),
            history: core::mem::take(&mut self.history),
            own_voter: own_voter(&self.config, identity.directory),
            is_controller: self.config.process_roles.controller,
            may_have_others: !self.config.controller_listener_names.is_empty(),
            bootstrap: self.bootstrap(),
            listener: self.listener(),
            config: self.config.quorum,
            museum: self.museum,
            rng: quorum_rng,
            election: self.election,
            log,
            uncommitted: core::mem::take(&mut self.uncommitted),
            snapshots: core::mem::take(&mut self.snapshots),
            applied: self.applied,
            state_owner: OWNER_ELECTION,
            snapshot_owner: OWNER_SNAPSHOTS,
        };
        let quorum = Quorum::start(setup, now, out);
        let log_dirs = self.config.log_dirs.iter().enumerate().map(|(dir, path)| {
            let failed = self.failed.contains(&dir);
            LogDir { id: if failed { Uuid::ZERO } else { directory(dir) }, path: path.clone(), failed }
        });
        let found = Found {
            cluster_id: Str::from(meta(self.metadata_dir, "cluster.id")),
            log_dirs: log_dirs.collect(),
            rng: self.rng.clone(),
            quorum,
            image: core::mem::take(&mut self.image),
            bootstrap_records: core::mem::take(&mut self.bootstrap_records),
            dirs: core::mem::take(&mut self.dirs),
            next_node_sequence: self.next_sequence,
            config: self.config.clone(),
            museum: self.museum,
        };
        Broker::new(found, now, out)
    }

    /// Name of the listener for peers.
    fn listener(&self) -> Str {
        self.config.controller_listener_names.first().map_or_else(Str::default, |name| Str::from(&**name))
    }

    /// Other servers that know who leads.
    fn bootstrap(&self) -> Vec<Address> {
        let servers = self.config.controller_quorum_bootstrap_servers.iter();
        let servers = servers.map(|(host, port)| Address::new(host, *port));
        let voters = self.config.controller_quorum_voters.iter();
        let servers = servers.chain(voters.map(|voter| Address::new(&voter.host, voter.port)));
        let own = own_voter(&self.config, Uuid::ZERO).endpoints;
        let is_own = |at: &Address| own.iter().any(|own| (&*own.host, own.port) == (&*at.host, at.port));
        servers.filter(|at| !is_own(at)).collect()
    }

    /// Who votes: those that the log names, or the configuration where it names none. A node that is told where to ask
    /// waits to hear of them; one that is not, is alone.
    fn voters(&self) -> VoterSet {
        if let Some(logged) = &self.logged_voters {
            return logged.clone();
        }
        let configured = &self.config.controller_quorum_voters;
        if !configured.is_empty() {
            let voters = configured.iter().map(|voter| (voter.id, Address::new(&voter.host, voter.port)));
            return VoterSet::configured(&self.listener(), voters);
        }
        if !self.config.controller_quorum_bootstrap_servers.is_empty() {
            return VoterSet::default();
        }
        VoterSet::new([own_voter(&self.config, Uuid::ZERO)])
    }
}

/// The broker's epoch in the marker of a clean stop; -1 where it does not say one.
fn broker_epoch_in(marker: &[u8]) -> BrokerEpoch {
    let file: Option<serde_json::Value> = serde_json::from_slice(marker).ok();
    BrokerEpoch(file.and_then(|file| file.get("brokerEpoch")?.as_i64()).unwrap_or(-1))
}
