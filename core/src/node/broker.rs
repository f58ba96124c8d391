//! A node that has read its disk: its partitions, its view of the cluster, and who is waiting for what.
//!
//! The rules of each API stand in files of their own beside this one; here is what they share.

use super::active_controller::ControllerTask;
use super::assignments::Assignments;
use super::delete_records::ParkedDeleteRecords;
use super::envelope::{self, Forwarded};
use super::fetch::ParkedFetch;
use super::find_coordinator::ParkedFind;
use super::group_coordinator::GroupCoordinators;
use super::in_sync::IsrChanges;
use super::lifecycle::Lifecycle;
use super::list_offsets::ParkedListOffsets;
use super::loading::{DirFacts, Logs, topic_config};
use super::log_dir_moves::LogDirMoves;
use super::metadata::ParkedMetadata;
use super::output::Output;
use super::produce::ParkedProduce;
use super::replica_fetcher::ReplicaFetchers;
use super::replication_quota::{ReplicationQuota, ReplicationQuotas};
use super::to_controller::{Question, ToController};
use super::truncation::Cut;
use crate::config::broker::BrokerConfig;
use crate::config::topic::TopicConfig;
use crate::config::{BrokerConfigLayers, Overrides};
use crate::controller::cluster;
use crate::controller::image::{Change, ConfigResource, MetadataImage, Topic};
use crate::controller::{self, Asked, Controller, ControllerRequest, Kraft};
use crate::coordinator::UntilCommitted;
use crate::fetch_session::FetchSessions;
use crate::ids::{BrokerEpoch, ConnectionId, LeaderEpoch, NodeId, Offset, RequestId, TopicIdPartition};
use crate::log::loader::partition_metadata;
use crate::log::partition_log::PartitionLog;
use crate::mark::Mark;
use crate::museum::{Exhibit, Museum};
use crate::outbox::Outbox;
use crate::partition::{Awakened, ParkedId, Part, Partition, Resolved};
use crate::quorum::{Address, Quorum};
use crate::rng::Rng;
use crate::storage_op::{Completion, StorageFault, StorageOp, StoragePath, StorageToken};
use crate::time::{Instant, Now, TimerTable};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::records::{AbortTransactionRecord, FeatureLevelRecord, MetadataRecord};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Str, Uuid};

/// Owners of storage tokens below the first partition's: the node itself, and its metadata log.
pub(super) const OWNER_NODE: u32 = 0;
pub(super) const OWNER_QUORUM: u32 = 1;
pub(super) const FIRST_PARTITION_OWNER: u32 = 2;
/// And above the last partition's: the quorum's election state.
pub(super) const OWNER_ELECTION: u32 = u32::MAX;
/// And the snapshots of its log.
pub(super) const OWNER_SNAPSHOTS: u32 = u32::MAX - 1;

/// Where and how an answer is wanted.
#[derive(Clone, Debug)]
pub(crate) struct ReplyTo {
    pub(crate) connection: ConnectionId,
    pub(crate) request: RequestId,
    /// Of the API that is answered.
    pub(crate) version: i16,
    /// The request came in an envelope, and so does the answer go.
    pub(crate) forwarded: Option<Forwarded>,
}

impl ReplyTo {
    /// The answer as it leaves the node.
    pub(crate) fn answer(&self, body: AnyResponse) -> Output {
        let (version, body) = match &self.forwarded {
            None => (self.version, body),
            Some(forwarded) => (envelope::VERSION, forwarded.wrap(self.version, &body)),
        };
        Output::Respond { connection: self.connection, request: self.request, version, body }
    }

    pub(crate) fn respond(&self, body: AnyResponse, out: &mut Outbox) {
        out.push(self.answer(body));
    }
}

/// A log directory of the node.
#[derive(Clone, Debug)]
pub(crate) struct LogDir {
    pub(crate) id: Uuid,
    /// As configured, for clients that ask.
    pub(crate) path: String,
    pub(crate) failed: bool,
}

/// A request that cannot be answered yet.
#[derive(Clone, Debug)]
pub(crate) enum Parked {
    Produce(ParkedProduce),
    Fetch(ParkedFetch),
    ListOffsets(ParkedListOffsets),
    DeleteRecords(ParkedDeleteRecords),
}

impl Parked {
    const fn connection(&self) -> ConnectionId {
        match self {
            Self::Produce(parked) => parked.reply_to.connection,
            Self::Fetch(parked) => parked.reply_to.connection,
            Self::ListOffsets(parked) => parked.reply_to.connection,
            Self::DeleteRecords(parked) => parked.reply_to.connection,
        }
    }
}

/// What is to be done when a decision of the controller is committed.
#[derive(Clone, Debug)]
pub(super) enum Committed {
    /// Answer.
    Respond(ReplyTo, AnyResponse),
    /// Look at a metadata request again: the topics it asked to be created are there.
    Metadata(ParkedMetadata),
    /// Look at a FindCoordinator request again: the topic of groups is there.
    Coordinator(ParkedFind),
    /// Take it as the answer to what this node asked itself.
    Own(Question, AnyResponse),
    /// Nobody waits for it.
    Nothing,
}

/// What a deadline is about, in the order in which equal times are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A parked request has waited long enough.
    Parked(ParkedId),
    /// A log has something to do.
    Log(u32),
    /// Old segments are looked for.
    Retention,
    /// Recovery points are written down.
    RecoveryPoints,
    /// Log starts are written down.
    LogStarts,
    /// High watermarks are written down.
    HighWatermarks,
    /// Producers that are silent for long are forgotten.
    ProducerExpiration,
    /// The quorum has something to do.
    Quorum,
    /// The active controller has something to do.
    Controller(ControllerTask),
    /// Something is to be asked of the active controller, or was asked for too long.
    ToController,
    /// The broker has something to tell the active controller.
    Lifecycle,
    /// Replicas that lag behind are looked for.
    InSyncReplicas,
    /// Replicas are to be fetched, or a fetch has taken too long.
    ReplicaFetchers,
    /// Replicas that move between log directories may be copied on.
    LogDirMoves,
    /// A group coordinator, by the owner of its partition, has something to do.
    Groups(u32),
    /// Offsets that nobody needs any more are looked for.
    OffsetRetention,
}

/// How far serving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The broker is not unfenced yet, and no client is served.
    Joining,
    Running,
    /// A stop was asked for: others are to lead what the broker leads.
    Leaving,
    /// Logs are being closed.
    Closing,
    /// Logs are closed: checkpoints and the marker of a clean stop are being written.
    Marking,
    Stopped,
}

/// Everything that booting found out.
pub(super) struct Found {
    pub(super) config: BrokerConfig,
    pub(super) museum: Museum,
    pub(super) cluster_id: Str,
    pub(super) log_dirs: Vec<LogDir>,
    pub(super) rng: Rng,
    pub(super) quorum: Quorum,
    pub(super) image: MetadataImage,
    pub(super) bootstrap_records: Vec<MetadataRecord>,
    /// What the log directories hold.
    pub(super) dirs: Vec<DirFacts>,
    pub(super) next_node_sequence: u64,
}

/// A node at work.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    pub(super) config: BrokerConfig,
    pub(super) museum: Museum,
    pub(super) cluster_id: Str,
    pub(super) log_dirs: Vec<LogDir>,
    pub(super) rng: Rng,
    pub(super) stage: Stage,
    pub(super) quorum: Quorum,
    pub(super) controller: Controller,
    /// This life of a process whose controller others can reach.
    pub(super) controller_incarnation: Option<Uuid>,
    /// The epoch in which the controller is the active one, if it is.
    pub(super) active_epoch: Option<LeaderEpoch>,
    /// The active controller looks after other nodes at intervals.
    pub(super) has_company: bool,
    /// The end of the metadata log when it was last looked at for being idle.
    pub(super) idle_since: Offset,
    /// The cluster as far as it is committed: what clients are told.
    pub(super) image: MetadataImage,
    /// The epoch of the last registration, of this life or, where that ended cleanly, of the one before; -1 for none.
    pub(super) broker_epoch: BrokerEpoch,
    /// How the broker comes and goes, if the node is one.
    pub(super) lifecycle: Option<Lifecycle>,
    pub(super) to_controller: ToController,
    /// What it is to be told of log directories.
    pub(super) assignments: Assignments,
    /// What it is to be asked to decide of in-sync replicas.
    pub(super) isr_changes: IsrChanges,
    /// What it reads of those who lead what it has replicas of.
    pub(super) fetchers: ReplicaFetchers,
    pub(super) replication_quotas: ReplicationQuotas,
    pub(super) groups: GroupCoordinators,
    pub(super) log_dir_moves: LogDirMoves,
    /// Logs, by their owners, whose end is being cut off.
    pub(super) cuts: BTreeMap<u32, Cut>,
    /// Where the active controller was when this was last looked at.
    known_controller: Option<Address>,
    pub(super) logs: Logs,
    /// Records that the first leader of an empty log begins with.
    bootstrap_records: Vec<MetadataRecord>,
    until_committed: UntilCommitted<Committed>,
    pub(super) partitions: BTreeMap<u32, Box<Partition>>,
    pub(super) owners: BTreeMap<TopicIdPartition, u32>,
    pub(super) next_owner: u32,
    pub(super) parked: BTreeMap<ParkedId, Parked>,
    parked_by_connection: BTreeSet<(ConnectionId, ParkedId)>,
    next_parked: u64,
    /// Those of `parked` that wait for replicas to delete records.
    pub(super) deletions: BTreeSet<ParkedId>,
    pub(super) timers: TimerTable<Timer>,
    pub(super) sessions: FetchSessions,
    /// Producer ids that are reserved and not given out.
    pub(super) producer_ids: core::ops::Range<i64>,
    /// Who waits for a block of producer ids to be reserved.
    pub(super) waiting_for_producer_ids: VecDeque<ReplyTo>,
    pub(super) producer_ids_requested: bool,
    /// Files of the node itself that are being written, with their log directories, and what is left to be written before it
    /// has stopped.
    node_writes: BTreeMap<u64, Option<usize>>,
    /// Counts on from booting, which does not wait for everything that it begins.
    next_node_sequence: u64,
    /// What the checkpoint files say, so that an idle node leaves its disk alone.
    checkpoints: BTreeMap<StoragePath, Bytes>,
    /// Partitions that are not hosted any more and of which checkpoint files may still speak.
    pub(super) stale_checkpoints: BTreeSet<(Str, i32)>,
    /// Why the node cannot go on.
    pub(super) failure: Option<String>,
}

impl Broker {
    pub(super) fn new(found: Found, now: Now, out: &mut Outbox) -> Self {
        let Found {
            config,
            museum,
            cluster_id,
            log_dirs,
            rng,
            quorum,
            image,
            bootstrap_records,
            dirs,
            next_node_sequence,
        } = found;
        let controller = Controller::new(config.node_id, cluster_id.clone(), config.clone(), museum);
        let slots = config.max_incremental_fetch_session_cache_slots as usize;
        let (windows, window_ms) = (config.replication_quota_windows, config.replication_quota_window_ms);
        let replication_quotas = ReplicationQuotas::new(windows, window_ms);
        let (windows, window_ms) =
            (config.alter_log_dirs_quota_windows, config.alter_log_dirs_quota_window_ms);
        let log_dir_moves = LogDirMoves::new(ReplicationQuota::new(windows, window_ms));
        let mut rng = rng;
        let has_peers = config.process_roles.controller && !config.controller_listener_names.is_empty();
        let controller_incarnation = has_peers.then(|| rng.uuid());
        let broker_epoch = stopped_in(&dirs).unwrap_or(BrokerEpoch(-1));
        let registered_by = now.monotonic.plus_millis(config.initial_broker_registration_timeout_ms);
        let lifecycle = config.process_roles.broker.then(|| Lifecycle::new(rng.uuid(), registered_by, now));
        let mut broker = Self {
            cluster_id,
            log_dirs,
            rng,
            controller_incarnation,
            // A controller alone has nothing to wait for.
            stage: if config.process_roles.broker { Stage::Joining } else { Stage::Running },
            quorum,
            controller,
            active_epoch: None,
            has_company: false,
            idle_since: Offset(0),
            image,
            broker_epoch,
            lifecycle,
            to_controller: ToController::default(),
            assignments: Assignments::default(),
            isr_changes: IsrChanges::default(),
            fetchers: ReplicaFetchers::default(),
            replication_quotas,
            groups: GroupCoordinators::default(),
            log_dir_moves,
            cuts: BTreeMap::new(),
            known_controller: None,
            // What a controller finds beside its metadata log is nobody's business.
            logs: if config.process_roles.broker { Logs::Unopened(dirs) } else { Logs::Open },
            bootstrap_records,
            until_committed: UntilCommitted::default(),
            partitions: BTreeMap::new(),
            owners: BTreeMap::new(),
            next_owner: FIRST_PARTITION_OWNER,
            parked: BTreeMap::new(),
            parked_by_connection: BTreeSet::new(),
            next_parked: 1,
            deletions: BTreeSet::new(),
            timers: TimerTable::default(),
            sessions: FetchSessions::new(slots),
            producer_ids: 0..0,
            waiting_for_producer_ids: VecDeque::new(),
            producer_ids_requested: false,
            node_writes: BTreeMap::new(),
            next_node_sequence,
            checkpoints: BTreeMap::new(),
            stale_checkpoints: BTreeSet::new(),
            failure: None,
            config,
            museum,
        };
        let (none, own) = (Overrides::new(), broker.config.node_id.to_string());
        let of = |name: &str| broker.image.config(ConfigResource::Broker, name).unwrap_or(&none);
        let (cluster_default, own) = (of(""), of(&own));
        for key in cluster_default.keys().chain(own.keys()) {
            broker.config.read_dynamic(key, cluster_default, own);
        }
        broker.after_quorum(now, out);
        broker
    }

    /// Begins with what is done to open logs at intervals.
    pub(super) fn arm_periodic(&mut self, now: Now) {
        let config = &self.config;
        let first = now.monotonic.plus_millis(config.log_initial_task_delay_ms);
        self.timers.arm(Timer::Retention, first);
        self.timers.arm(Timer::RecoveryPoints, first);
        self.timers.arm(Timer::LogStarts, first);
        self.timers.arm(Timer::InSyncReplicas, now.monotonic.plus_millis(self.isr_check_interval_ms()));
        self.timers.arm(
            Timer::HighWatermarks,
            now.monotonic.plus_millis(config.replica_high_watermark_checkpoint_interval_ms),
        );
        self.timers.arm(
            Timer::ProducerExpiration,
            now.monotonic.plus_millis(config.producer_id_expiration_check_interval_ms),
        );
        self.timers.arm(
            Timer::OffsetRetention,
            now.monotonic.plus_millis(config.offsets_retention_check_interval_ms),
        );
    }

    /// Routes a completed storage operation to whoever asked for it.
    pub(super) fn on_storage_completed(
        &mut self,
        token: StorageToken,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) {
        match token.owner {
            OWNER_NODE => self.on_node_write(token, result, now, out),
            OWNER_QUORUM => {
                if let Err(fault) = self.quorum.on_storage_completed(token.sequence, result, now, out) {
                    self.fail(format!("the metadata log cannot be written: {fault}"));
                }
                self.after_quorum(now, out);
            }
            OWNER_ELECTION => match result {
                Ok(_) => {
                    self.quorum.on_state_written(token.sequence, now, out);
                    self.after_quorum(now, out);
                }
                Err(fault) => self.fail(format!("the vote cannot be written: {fault}")),
            },
            OWNER_SNAPSHOTS => match result {
                Ok(_) => {
                    self.quorum.on_snapshot_stored(token.sequence, now, out);
                    self.after_quorum(now, out);
                }
                Err(fault) => self.fail(format!("a snapshot of the metadata log cannot be written: {fault}")),
            },
            owner => self.on_partition_storage(owner, token.sequence, result, now, out),
        }
    }

    fn on_partition_storage(
        &mut self,
        owner: u32,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) {
        if matches!(self.logs, Logs::Opening(_)) && self.is_stopping() {
            // What is half open is left as after a crash.
            return;
        }
        if let Logs::Opening(loading) = &mut self.logs {
            let done = loading.on_storage_completed(owner, sequence, result, &mut self.rng, now, out);
            if let Err((log, fault)) = done {
                let dir = dir_index(&log).expect("a log lies in a log directory");
                self.on_directory_fault(dir, &format!("{log} cannot be opened: {fault}"), now, out);
                if self.failure.is_some() {
                    return;
                }
            }
            self.on_logs_looked_at(now, out);
            return self.after_quorum(now, out);
        }
        let log = owner;
        let owner = self.log_dir_moves.partition_of(log);
        let partition = self.partitions.get_mut(&owner);
        if partition.as_ref().is_some_and(|it| it.future().is_some_and(|future| future.log.owner() == log)) {
            self.on_future_storage(owner, sequence, result, now, out);
        } else if let Some(partition) = partition.filter(|it| it.log().owner() == log) {
            if self.cuts.get(&owner).is_some_and(Cut::is_under_way) {
                return self.on_cut_storage(owner, sequence, result, now, out);
            }
            match partition.on_storage_completed(sequence, result, now, out) {
                Ok(awakened) => self.on_awakened(owner, awakened, now, out),
                Err(fault) => self.on_storage_fault(owner, fault, now, out),
            }
            self.arm_log_timer(owner);
            self.pursue_cuts(now, out);
            self.pursue_moves(now, out);
            self.pursue_replica_fetchers(now, out);
        }
        // Otherwise the partition was deleted meanwhile, or its log lies elsewhere by now.
        self.maybe_mark_clean(out);
    }

    pub(super) fn on_awakened(&mut self, owner: u32, awakened: Awakened, now: Now, out: &mut Outbox) {
        for part in awakened.produced {
            self.on_produced(part, owner, out);
        }
        for (part, resolved) in awakened.searches {
            self.on_search_resolved(part, owner, resolved, now, out);
        }
        for part in awakened.fetches {
            self.on_more_data(part, now, out);
        }
        if let Some((sequence, read)) = awakened.read {
            self.on_groups_read(owner, sequence, read, now, out);
        }
        self.release_groups(owner, now, out);
    }

    fn on_search_resolved(&mut self, part: Part, owner: u32, resolved: Resolved, now: Now, out: &mut Outbox) {
        match self.parked.get(&part.parked) {
            Some(Parked::Fetch(_)) => self.on_fetch_located(part, resolved, now, out),
            Some(Parked::ListOffsets(_)) => self.on_offset_found(part, owner, resolved, out),
            // The request is over: it timed out or its connection is gone.
            Some(Parked::Produce(_) | Parked::DeleteRecords(_)) | None => {}
        }
    }

    /// A disk under a log failed.
    pub(super) fn on_storage_fault(&mut self, owner: u32, fault: StorageFault, now: Now, out: &mut Outbox) {
        let Some(partition) = self.partitions.get(&owner) else { return };
        let Some(dir) = dir_index(partition.log().dir()) else { return };
        self.on_directory_fault(dir, &fault.to_string(), now, out);
    }

    /// A log directory failed: everything in it is offline, as Kafka has it (KIP-112). Without the metadata log, or any
    /// directory, the node cannot go on.
    pub(super) fn on_directory_fault(&mut self, dir: usize, why: &str, now: Now, out: &mut Outbox) {
        self.log_dirs[dir].failed = true;
        out.sometimes(Mark::DirectoryFailed);
        let path = self.log_dirs[dir].path.clone();
        if self.log_dirs.iter().all(|dir| dir.failed) || dir_index(self.quorum.log().dir()) == Some(dir) {
            self.fail(format!("log directory {path} failed ({why}) and nothing can be kept elsewhere"));
            if !matches!(self.logs, Logs::Open) {
                return;
            }
        }
        match &mut self.logs {
            Logs::Unopened(dirs) | Logs::Unmarking(dirs) => dirs[dir] = DirFacts::default(),
            Logs::Opening(loading) => loading.give_up(dir, out),
            Logs::Open => self.on_moves_failed(dir, now, out),
        }
        let owners: Vec<u32> = self
            .partitions
            .iter()
            .filter(|(_, partition)| dir_index(partition.log().dir()) == Some(dir) && !partition.is_offline())
            .map(|(owner, _)| *owner)
            .collect();
        for owner in owners {
            let partition = self.partitions.get_mut(&owner).expect("it was just listed");
            self.fetchers.forget(partition.id);
            self.cuts.remove(&owner);
            self.log_dir_moves.forget(owner);
            let awakened = partition.become_offline();
            self.on_awakened(owner, awakened, now, out);
            self.review_group_coordinator(owner, now, out);
        }
        self.pursue_deletions(out);
        if self.failure.is_none() {
            // Others are to lead what was there.
            self.hasten_lifecycle(now);
            self.pursue_lifecycle(now, out);
        }
    }

    /// The node cannot go on. The first reason is the one that counts.
    pub(super) fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    // ---- the metadata log ----

    /// Acts on what the quorum came to: records that are committed, and who is the active controller.
    pub(super) fn after_quorum(&mut self, now: Now, out: &mut Outbox) {
        if let Some(why) = self.quorum.take_failure() {
            self.fail(why);
        }
        if let Some(records) = self.quorum.take_installed() {
            self.replace_image(&records, now, out);
        }
        for record in self.quorum.take_committed() {
            for change in self.image.apply(&record) {
                self.on_change(change, now, out);
            }
        }
        // What a metadata transaction holds is not part of the cluster before it ends.
        if self.quorum.is_snapshot_due(now) && !self.image.is_in_transaction() {
            self.quorum.take_snapshot(&self.image.records(), self.image.metadata_version(), now, out);
        }
        let leads = self.quorum.leads();
        if leads != self.active_epoch {
            if self.active_epoch.take().is_some() {
                self.on_deposed(now, out);
            }
            if leads.is_some() {
                self.active_epoch = leads;
                // What is in the log and not committed will be, with the first record of this epoch.
                let mut image = self.image.clone();
                for record in self.quorum.uncommitted() {
                    image.apply(record);
                }
                let incarnation = self.lifecycle.as_ref().map(Lifecycle::incarnation);
                let was_active = !self.controller.image().features().is_empty();
                if !(was_active && self.museum.has(Exhibit::A24ControllerWriteUnfenced)) {
                    self.controller.activate(image, incarnation, now);
                }
                self.on_elected(now, out);
            }
        }
        if matches!(self.stage, Stage::Joining | Stage::Running) {
            self.register_controller(now, out);
        }
        self.release_committed(now, out);
        self.pursue_controller(now, out);
        let controller = self.quorum.leader_address();
        if controller != self.known_controller {
            // There is somebody to talk to, who has not been heard of for a while.
            self.hasten_lifecycle(now);
            self.known_controller = controller;
        }
        self.pursue_lifecycle(now, out);
        self.pursue_replica_fetchers(now, out);
        self.maybe_mark_clean(out);
        self.quorum.leave_silent_leader(now, out);
        match self.quorum.next_deadline(now) {
            Some(at) => self.timers.arm(Timer::Quorum, at),
            None => self.timers.cancel(&Timer::Quorum),
        }
    }

    /// Another node leads: whether what was decided here survives is not for this one to say.
    fn on_deposed(&mut self, now: Now, out: &mut Outbox) {
        self.stop_controller_tasks();
        for committed in self.until_committed.take_all() {
            match committed {
                Committed::Respond(ReplyTo { connection, .. }, _)
                | Committed::Coordinator(ParkedFind { reply_to: ReplyTo { connection, .. }, .. })
                | Committed::Metadata(ParkedMetadata { reply_to: ReplyTo { connection, .. }, .. }) => {
                    out.sometimes(Mark::ControllerDeposed);
                    out.push(Output::Close { connection });
                }
                Committed::Own(question, _) => self.on_no_answer(question, now),
                Committed::Nothing => {}
            }
        }
    }

    /// This node leads the quorum: what the log needs to begin with.
    fn on_elected(&mut self, now: Now, out: &mut Outbox) {
        let mut records = self.bootstrap_records.clone();
        if !self.controller.image().features().is_empty() {
            records.clear();
        } else if records.is_empty() {
            // A directory that was formatted without a bootstrap file begins at the newest level.
            let (name, _, level) = cluster::METADATA_VERSION;
            let record = FeatureLevelRecord {
                name: Str::from_static(name),
                feature_level: level,
                ..FeatureLevelRecord::default()
            };
            records.push(record.into());
        }
        records.extend(self.controller.min_insync_replicas_for(&records));
        if self.controller.image().is_in_transaction() {
            // Whoever began it leads no more, and nobody else ends it (KIP-868).
            out.sometimes(Mark::ControllerTransactionAborted);
            let reason = Some(Str::from_static("failover"));
            records.insert(0, AbortTransactionRecord { reason, ..AbortTransactionRecord::default() }.into());
        }
        self.commit(records, Committed::Nothing, now, out);
        self.hasten_lifecycle(now);
    }

    /// Appends what the controller decided, applies it to the controller's image, and has `then` done when it is
    /// committed.
    pub(super) fn commit(
        &mut self,
        records: Vec<MetadataRecord>,
        then: Committed,
        now: Now,
        out: &mut Outbox,
    ) {
        for record in &records {
            self.controller.apply(record);
        }
        let end = self.quorum.append(records, self.controller.image().metadata_version(), now, out);
        self.until_committed.park(end, then);
        self.arm_controller_tasks(now);
        self.release_committed(now, out);
    }

    fn release_committed(&mut self, now: Now, out: &mut Outbox) {
        loop {
            let reached = if self.museum.has(Exhibit::A21AnswerBeforeMajority) {
                self.quorum.log().flushed_end().max(self.quorum.high_watermark())
            } else {
                self.quorum.high_watermark()
            };
            let Some(committed) = self.until_committed.release(reached) else { break };
            match committed {
                Committed::Respond(reply_to, response) => reply_to.respond(response, out),
                Committed::Metadata(parked) => self.answer_metadata(parked, out),
                Committed::Coordinator(parked) => self.answer_find_coordinator(parked, out),
                Committed::Own(question, response) => self.on_own_answer(question, response, now, out),
                Committed::Nothing => {}
            }
        }
    }

    /// Hands a request to the controller.
    pub(super) fn decide(
        &mut self,
        request: &ControllerRequest,
        reply_to: ReplyTo,
        now: Now,
        out: &mut Outbox,
    ) {
        if self.active_epoch.is_none() {
            out.sometimes(Mark::ControllerNotActive);
            return reply_to.respond(Controller::refuse(request, ErrorCode::NotController), out);
        }
        let asked = self.asked(reply_to.version, now);
        let decision = self.controller.decide(request, &asked, &mut self.rng, out);
        if controller::features::raises_kraft_version(request, &decision) {
            self.quorum.log_voters(now, out);
        }
        self.commit(decision.records, Committed::Respond(reply_to, decision.response), now, out);
    }

    /// What the controller is told with a request that comes to it at this time.
    pub(super) fn asked(&self, version: i16, now: Now) -> Asked {
        let kraft = Kraft { level: self.quorum.kraft_version(), may_rise: self.quorum.can_log_voters() };
        Asked { version, end: self.quorum.log().next_offset(), now, kraft }
    }

    /// A snapshot came in the place of the log: the cluster is what it says, whatever came to be and went before it.
    fn replace_image(&mut self, records: &[MetadataRecord], now: Now, out: &mut Outbox) {
        let mut image = MetadataImage::default();
        for record in records {
            image.apply(record);
        }
        let changes = self.image.changes_to(&image);
        self.image = image;
        for change in changes {
            self.on_change(change, now, out);
        }
    }

    /// Acts on a committed change of the cluster.
    fn on_change(&mut self, change: Change, now: Now, out: &mut Outbox) {
        match change {
            Change::Partition(id) => self.on_partition_change(id, now, out),
            Change::TopicRemoved { topic } => self.on_topic_removed(&topic, now, out),
            Change::Config { resource, name, key } => {
                self.on_config_change(resource, &name, &key, now, out);
            }
            Change::Features => self.renew_registration(now),
            Change::Broker(id) => self.judge_follower(id, now, out),
        }
        self.pursue_deletions(out);
    }

    /// Whether this node is to have a replica of a partition.
    pub(super) fn is_replica(&self, id: TopicIdPartition) -> bool {
        let state = self.image.partition(id);
        self.lifecycle.is_some() && state.is_some_and(|state| state.replicas.contains(&self.config.node_id))
    }

    /// Has this node's replica of a partition, if there is to be one, be what the cluster says.
    pub(super) fn on_partition_change(&mut self, id: TopicIdPartition, now: Now, out: &mut Outbox) {
        if !matches!(self.logs, Logs::Open) {
            return;
        }
        let Some(topic) = self.image.topic(id.topic) else { return };
        let name = topic.name.clone();
        if !self.is_replica(id) {
            return self.remove_replica(id, &name, now, out);
        }
        let state = topic.partitions[&id.partition].clone();
        let (own, lag_max) = (self.config.node_id, self.replica_lag_max());
        let owner = match self.owners.get(&id) {
            Some(owner) => *owner,
            None => {
                let Some(dir) = self.directory_for(id) else {
                    out.sometimes(Mark::PartitionNotRecreated);
                    return;
                };
                let config = self.topic_config(&name);
                self.log_dir_moves.forget_preferred(id);
                let dir = StoragePath::new(&format!("{dir}/{name}-{}", id.partition));
                let log = self.create_log(&name, id, dir, Offset(0), now, out);
                let owner = log.owner();
                self.owners.insert(id, owner);
                let partition = Partition::follow(id, name, log, Offset(0), config);
                self.partitions.insert(owner, Box::new(partition));
                owner
            }
        };
        let partition = self.partitions.get_mut(&owner).expect("owners and partitions agree");
        if partition.is_offline() || self.cuts.contains_key(&owner) {
            // A log that is cut is looked at again when it is whole.
            return;
        }
        self.fetchers.follow(id, owner, &state, own, self.museum);
        let awakened = if state.leader == Some(own) {
            partition.become_leader(own, &state, lag_max, now, out)
        } else {
            out.sometimes_if(partition.is_leader(), Mark::PartitionLeaderLost);
            partition.become_follower(state.leader_epoch)
        };
        self.on_awakened(owner, awakened, now, out);
        self.arm_log_timer(owner);
        self.compare_directory(id);
        self.pursue_move(owner, now, out);
        self.review_group_coordinator(owner, now, out);
    }

    /// In which log directory a replica begins of which no log was found: the one that the cluster knows, the one that was asked for
    /// before the replica came here, or the emptiest. None,
    /// while a directory has failed in which its log may lie: an empty one would count as in sync until the controller
    /// hears of the failure (KIP-858).
    fn directory_for(&self, id: TopicIdPartition) -> Option<usize> {
        let said = self.said_directory(id).filter(|directory| !directory.is_zero());
        let found = said.and_then(|said| self.log_dirs.iter().position(|dir| !dir.failed && dir.id == said));
        let may_lie_there = said.is_some() && found.is_none() && self.log_dirs.iter().any(|dir| dir.failed);
        if may_lie_there && !self.museum.has(Exhibit::A26RecreateMissingLog) {
            return None;
        }
        let preferred = || self.log_dir_moves.preferred(id).filter(|dir| !self.log_dirs[*dir].failed);
        Some(found.or_else(preferred).unwrap_or_else(|| self.emptiest_dir()))
    }

    /// Begins a log of a partition, whose first record will have the offset `begin`.
    pub(super) fn create_log(
        &mut self,
        topic: &Str,
        id: TopicIdPartition,
        dir: StoragePath,
        begin: Offset,
        now: Now,
        out: &mut Outbox,
    ) -> PartitionLog {
        self.forget_stale_checkpoints(topic, id.partition, out);
        let owner = self.next_owner;
        self.next_owner += 1;
        let mut log = PartitionLog::create(dir, owner, begin, self.rng.next_u64(), self.museum, now, out);
        log.replace("partition.metadata", partition_metadata(id.topic), out);
        log
    }

    /// Sees to it that no crash lets what was checkpointed of an earlier partition of that name count for a new one:
    /// more of it would be taken for durable, or deleted, than it has.
    fn forget_stale_checkpoints(&mut self, topic: &Str, partition: i32, out: &mut Outbox) {
        if !self.stale_checkpoints.contains(&(topic.clone(), partition)) {
            return;
        }
        self.stale_checkpoints.clear();
        self.write_recovery_points(out);
        self.write_log_starts(out);
        self.write_high_watermarks(out);
        for dir in 0..self.log_dirs.len() {
            if !self.log_dirs[dir].failed {
                // Between two files there is no order: a listing comes after what was pushed before, and before the rest.
                let dir = StoragePath::new(&format!("{dir}"));
                self.push_node_write(StorageOp::List { dir }, out);
            }
        }
    }

    /// The log directory with the fewest partitions, the first of equals.
    fn emptiest_dir(&self) -> usize {
        let mut counts = alloc::vec![0_usize; self.log_dirs.len()];
        for partition in self.partitions.values() {
            let future = partition.future().map(|future| &future.log);
            for dir in
                [Some(partition.log()), future].into_iter().flatten().filter_map(|log| dir_index(log.dir()))
            {
                counts[dir] += 1;
            }
        }
        let alive = (0..counts.len()).filter(|dir| !self.log_dirs[*dir].failed);
        alive.min_by_key(|dir| counts[*dir]).expect("a node without a log directory has failed")
    }

    fn on_topic_removed(&mut self, topic: &Topic, now: Now, out: &mut Outbox) {
        for index in topic.partitions.keys() {
            let id = TopicIdPartition { topic: topic.id, partition: *index };
            self.log_dir_moves.forget_preferred(id);
            self.remove_replica(id, &topic.name, now, out);
        }
        self.forget_offsets_of(&topic.name, now, out);
    }

    /// This node is not to have a replica of a partition, if it has one.
    fn remove_replica(&mut self, id: TopicIdPartition, topic: &Str, now: Now, out: &mut Outbox) {
        let Some(owner) = self.owners.remove(&id) else { return };
        out.sometimes_if(self.image.partition(id).is_some(), Mark::PartitionTaken);
        let mut partition = self.partitions.remove(&owner).expect("owners and partitions agree");
        self.timers.cancel(&Timer::Log(owner));
        self.assignments.forget(id);
        self.fetchers.forget(id);
        self.cuts.remove(&owner);
        self.log_dir_moves.forget(owner);
        // One that was given up is being removed already.
        if let Some(future) = partition.drop_future().filter(|future| !future.is_frozen()) {
            self.delete_directory(future.log.dir(), out);
        }
        let awakened = partition.become_offline();
        self.on_awakened(owner, awakened, now, out);
        self.review_group_coordinator(owner, now, out);
        self.stale_checkpoints.insert((topic.clone(), id.partition));
        self.delete_directory(partition.log().dir(), out);
    }

    /// Gives the directory a name under which nobody looks for the partition, then removes it. Answers the operation that does the
    /// former, unless the directory has failed.
    pub(super) fn delete_directory(&mut self, dir: &StoragePath, out: &mut Outbox) -> Option<u64> {
        if dir_index(dir).is_some_and(|dir| self.log_dirs[dir].failed) {
            // Whoever finds it when the disk is back puts it aside.
            return None;
        }
        let to = StoragePath::new(&format!(
            "{}/{}",
            dir.parent(),
            condemned_name(dir.name(), self.rng.uuid(), "delete")
        ));
        let rename = self.push_node_write(StorageOp::Rename { from: dir.clone(), to: to.clone() }, out);
        self.push_node_write(StorageOp::Remove { path: to }, out);
        Some(rename)
    }

    fn on_config_change(
        &mut self,
        resource: ConfigResource,
        name: &Str,
        key: &str,
        now: Now,
        out: &mut Outbox,
    ) {
        match resource {
            ConfigResource::Topic => {
                self.reconfigure_partitions(|partition| partition.topic == *name, now, out);
            }
            ConfigResource::Broker => {
                let (none, own) = (Overrides::new(), self.config.node_id.to_string());
                let of = |name: &str| self.image.config(ConfigResource::Broker, name).unwrap_or(&none);
                let concerns_me = name.is_empty() || **name == *own;
                if concerns_me && self.config.read_dynamic(key, of(""), of(&own)) {
                    self.reconfigure_partitions(|_| true, now, out);
                }
            }
            // Nothing here reads them.
            ConfigResource::BrokerLogger | ConfigResource::ClientMetrics | ConfigResource::Group => {}
        }
    }

    fn reconfigure_partitions(&mut self, concerns: impl Fn(&Partition) -> bool, now: Now, out: &mut Outbox) {
        let mut configs = BTreeMap::new();
        let mut reconfigured = Vec::new();
        for (owner, partition) in self.partitions.iter_mut().filter(|(_, partition)| concerns(partition)) {
            let config = || Arc::new(topic_config(&self.image, &self.config, &partition.topic));
            let config = configs.entry(partition.topic.clone()).or_insert_with(config);
            reconfigured.push((*owner, partition.set_config(Arc::clone(config), now)));
        }
        for (owner, awakened) in reconfigured {
            self.on_awakened(owner, awakened, now, out);
        }
    }

    fn broker_overrides<'a>(&'a self, none: &'a Overrides) -> (&'a Overrides, &'a Overrides) {
        let of = |name: &str| self.image.config(ConfigResource::Broker, name).unwrap_or(none);
        (of(""), of(&self.config.node_id.to_string()))
    }

    /// The configuration layers of this broker.
    pub(super) fn layers<'a>(&'a self, none: &'a Overrides) -> BrokerConfigLayers<'a> {
        let (cluster_default, broker) = self.broker_overrides(none);
        self.config.layers(cluster_default, broker)
    }

    fn topic_config(&self, name: &Str) -> Arc<TopicConfig> {
        Arc::new(topic_config(&self.image, &self.config, name))
    }

    // ---- partitions ----

    /// The partition that a request names, if this node leads it or did so until its disk failed.
    pub(super) fn led(&mut self, id: TopicIdPartition) -> Option<(u32, &mut Partition)> {
        let owner = *self.owners.get(&id)?;
        let partition = self.partitions.get_mut(&owner)?;
        (partition.is_leader() || partition.is_offline()).then_some((owner, partition))
    }

    /// The partition that a request names, if this node has a replica of it.
    pub(super) fn hosted(&self, id: TopicIdPartition) -> Option<(u32, &Partition)> {
        let owner = *self.owners.get(&id)?;
        Some((owner, self.partitions.get(&owner)?))
    }

    pub(super) const fn is_stopping(&self) -> bool {
        matches!(self.stage, Stage::Closing | Stage::Marking | Stage::Stopped)
    }

    pub(super) fn arm_log_timer(&mut self, owner: u32) {
        let partition = self.partitions.get(&owner).filter(|partition| !partition.is_offline());
        match partition.and_then(|partition| partition.next_log_deadline()) {
            Some(at) => self.timers.arm(Timer::Log(owner), at),
            None => self.timers.cancel(&Timer::Log(owner)),
        }
    }

    // ---- parked requests ----

    pub(super) fn next_parked_id(&mut self) -> ParkedId {
        let id = ParkedId(self.next_parked);
        self.next_parked += 1;
        id
    }

    pub(super) fn park(&mut self, id: ParkedId, parked: Parked, deadline: Option<Instant>) {
        self.parked_by_connection.insert((parked.connection(), id));
        self.parked.insert(id, parked);
        if let Some(deadline) = deadline {
            self.timers.arm(Timer::Parked(id), deadline);
        }
    }

    pub(super) fn unpark(&mut self, id: ParkedId) -> Option<Parked> {
        let parked = self.parked.remove(&id)?;
        self.parked_by_connection.remove(&(parked.connection(), id));
        self.timers.cancel(&Timer::Parked(id));
        Some(parked)
    }

    pub(super) fn on_connection_closed(&mut self, connection: ConnectionId, out: &mut Outbox) {
        self.quorum.on_connection_closed(connection);
        self.to_controller.on_connection_closed(connection);
        self.groups.on_connection_closed(connection);
        self.waiting_for_producer_ids.retain(|reply_to| reply_to.connection != connection);
        let from = (connection, ParkedId(0));
        let until = (ConnectionId(connection.0 + 1), ParkedId(0));
        let ids: Vec<ParkedId> = self.parked_by_connection.range(from..until).map(|(_, id)| *id).collect();
        for id in ids {
            match self.unpark(id) {
                Some(Parked::Fetch(fetch)) => {
                    out.sometimes(Mark::ConnectionClosedFetching);
                    self.forget_fetch(id, &fetch);
                }
                Some(Parked::Produce(produce)) => {
                    out.sometimes(Mark::ConnectionClosedProducing);
                    self.forget_produce(id, &produce);
                }
                Some(Parked::DeleteRecords(_)) => drop(self.deletions.remove(&id)),
                Some(Parked::ListOffsets(_)) | None => {}
            }
        }
    }

    // ---- time ----

    pub(super) fn on_deadline(&mut self, now: Now, out: &mut Outbox) {
        while let Some(timer) = self.timers.pop_due(now.monotonic) {
            if self.is_stopping() && !matches!(timer, Timer::Parked(_)) {
                // What a clean stop says of the logs and their files must stay so.
                continue;
            }
            match timer {
                Timer::Parked(id) => self.on_parked_deadline(id, now, out),
                Timer::Log(owner) => {
                    if self.cuts.contains_key(&owner) {
                        // It is armed again when the log is whole.
                        continue;
                    }
                    if let Some(partition) = self.partitions.get_mut(&owner) {
                        partition.on_log_deadline(now, out);
                    }
                    self.arm_log_timer(owner);
                }
                Timer::Retention => {
                    for (owner, partition) in &mut self.partitions {
                        if !partition.is_offline() && !self.cuts.contains_key(owner) {
                            partition.apply_retention(now, out);
                        }
                    }
                    if self.museum.has(Exhibit::A23MetadataLogTimeRetention) {
                        let config = self.config.topic_defaults.clone();
                        let end = self.quorum.high_watermark();
                        self.quorum.log_mut().apply_retention(end, &config, now, out);
                    }
                    let owners: Vec<u32> = self.partitions.keys().copied().collect();
                    for owner in owners {
                        self.arm_log_timer(owner);
                    }
                    self.arm_again(timer, self.config.log_retention_check_interval_ms, now);
                }
                Timer::RecoveryPoints => {
                    if self.museum.has(Exhibit::A42MarkerDeletedAfterLoad) {
                        for dir in 0..self.log_dirs.len() {
                            self.push_node_write(StorageOp::Remove { path: clean_stop_marker(dir) }, out);
                        }
                    }
                    self.write_recovery_points(out);
                    self.arm_again(timer, self.config.log_flush_offset_checkpoint_interval_ms, now);
                }
                Timer::LogStarts => {
                    self.write_log_starts(out);
                    self.arm_again(timer, self.config.log_flush_start_offset_checkpoint_interval_ms, now);
                }
                Timer::InSyncReplicas => {
                    self.look_for_lagging_replicas(now, out);
                    self.arm_again(timer, self.isr_check_interval_ms(), now);
                }
                Timer::ReplicaFetchers => self.pursue_replica_fetchers(now, out),
                Timer::LogDirMoves => self.pursue_moves(now, out),
                Timer::HighWatermarks => {
                    self.write_high_watermarks(out);
                    self.arm_again(timer, self.config.replica_high_watermark_checkpoint_interval_ms, now);
                }
                Timer::ProducerExpiration => {
                    for partition in self.partitions.values_mut() {
                        let expiration_ms = self.config.producer_id_expiration_ms;
                        let expired = partition.expire_producers(now.wall_ms, expiration_ms);
                        out.sometimes_if(expired, Mark::ProducerExpired);
                    }
                    self.arm_again(timer, self.config.producer_id_expiration_check_interval_ms, now);
                }
                Timer::Groups(owner) => self.on_groups_deadline(owner, now, out),
                Timer::OffsetRetention => {
                    self.expire_offsets(now, out);
                    self.arm_again(timer, self.config.offsets_retention_check_interval_ms, now);
                }
                Timer::Quorum => {
                    self.quorum.on_deadline(now, out);
                    self.after_quorum(now, out);
                }
                Timer::Controller(task) => self.on_controller_task(task, now, out),
                Timer::ToController => {
                    self.pursue_controller(now, out);
                    self.pursue_lifecycle(now, out);
                }
                Timer::Lifecycle => self.pursue_lifecycle(now, out),
            }
        }
    }

    pub(super) fn arm_again(&mut self, timer: Timer, interval_ms: i64, now: Now) {
        // An interval of 0 would never let time go on.
        self.timers.arm(timer, now.monotonic.plus_millis(interval_ms.max(1)));
    }

    fn on_parked_deadline(&mut self, id: ParkedId, now: Now, out: &mut Outbox) {
        match self.parked.get(&id) {
            Some(Parked::Produce(_)) => self.on_produce_deadline(id, out),
            Some(Parked::Fetch(_)) => {
                out.sometimes(Mark::FetchTimedOut);
                self.on_fetch_deadline(id, now, out);
            }
            Some(Parked::ListOffsets(_)) => self.on_list_offsets_deadline(id, out),
            Some(Parked::DeleteRecords(_)) => self.on_delete_records_deadline(id, out),
            None => {}
        }
    }

    // ---- files of the node ----

    /// Writes a file of the node itself, or changes a name. Answers the operation's number.
    pub(super) fn push_node_write(&mut self, op: StorageOp, out: &mut Outbox) -> u64 {
        let sequence = self.next_node_sequence;
        self.next_node_sequence += 1;
        self.node_writes.insert(sequence, dir_index(op.path()));
        out.push(Output::Storage { token: StorageToken { owner: OWNER_NODE, sequence }, op });
        sequence
    }

    fn on_node_write(
        &mut self,
        token: StorageToken,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(dir) = self.node_writes.remove(&token.sequence) else {
            // Booting asked for it and did not wait.
            if let Err(fault) = result {
                self.fail(format!("a log directory cannot be written: {fault}"));
            }
            return;
        };
        if let Err(fault) = result {
            let what = if matches!(self.logs, Logs::Unmarking(_)) {
                "the marker of the last clean stop cannot be removed"
            } else {
                "a checkpoint cannot be written"
            };
            let dir = dir.expect("files of the node lie in log directories");
            self.on_directory_fault(dir, &format!("{what}: {fault}"), now, out);
            if self.failure.is_some() {
                return;
            }
        }
        self.on_unmarked(now, out);
        self.pursue_moves(now, out);
        self.pursue_cuts(now, out);
        self.maybe_mark_clean(out);
    }

    /// Whether every file of the node is as it is to be.
    pub(super) fn has_written(&self) -> bool {
        self.node_writes.is_empty()
    }

    /// Whether an operation of the node's is not over.
    pub(super) fn is_writing(&self, sequence: u64) -> bool {
        self.node_writes.contains_key(&sequence)
    }

    fn write_checkpoint(
        &mut self,
        name: &str,
        of: impl Fn(&PartitionLog, Offset) -> Option<Offset>,
        out: &mut Outbox,
    ) {
        if self.lifecycle.is_none() {
            // It has opened no log, and would forget what a broker on these directories wrote down.
            return;
        }
        for dir in 0..self.log_dirs.len() {
            if self.log_dirs[dir].failed {
                continue;
            }
            let mut lines = Vec::new();
            for partition in self.partitions.values() {
                let copy = partition.future().filter(|future| future.counts() && !future.is_frozen());
                let here = [Some(partition.log()), copy.map(|copy| &copy.log)];
                let here = here.into_iter().flatten().find(|log| dir_index(log.dir()) == Some(dir));
                if let Some(offset) = here.and_then(|log| of(log, partition.high_watermark())) {
                    lines.push(format!("{} {} {offset}", partition.topic, partition.id.partition));
                }
            }
            let file = StoragePath::new(&format!("{dir}/{name}"));
            let bytes = Bytes::from(crate::log::checkpoint::text(lines.into_iter()).into_bytes());
            if self.checkpoints.get(&file) == Some(&bytes) {
                continue;
            }
            self.checkpoints.insert(file.clone(), bytes.clone());
            self.push_node_write(StorageOp::Replace { file, bytes }, out);
        }
    }

    pub(super) fn write_recovery_points(&mut self, out: &mut Outbox) {
        let point = if self.museum.has(Exhibit::B01RecoveryPointAheadOfFlush) {
            PartitionLog::next_offset
        } else {
            PartitionLog::recovery_point
        };
        self.write_checkpoint("recovery-point-offset-checkpoint", |log, _| Some(point(log)), out);
    }

    pub(super) fn write_log_starts(&mut self, out: &mut Outbox) {
        // A log that starts where its first segment does says so itself.
        let above_first =
            |log: &PartitionLog, _| (log.log_start() > log.first_base()).then_some(log.log_start());
        self.write_checkpoint("log-start-offset-checkpoint", above_first, out);
    }

    pub(super) fn write_high_watermarks(&mut self, out: &mut Outbox) {
        // A log that begins anew may end, for now, before what is known to be committed.
        let within_log =
            |log: &PartitionLog, high_watermark: Offset| Some(high_watermark.min(log.next_offset()));
        self.write_checkpoint("replication-offset-checkpoint", within_log, out);
    }

    // ---- stopping ----

    /// Begins a clean stop: others lead what this node leads, no request is taken any more, every log is closed, then the
    /// marker is written.
    pub(super) fn on_stop_requested(&mut self, now: Now, out: &mut Outbox) {
        match self.stage {
            Stage::Running if self.lifecycle.is_some() && self.config.controlled_shutdown_enable => {
                self.stage = Stage::Leaving;
                self.begin_to_leave(now, out);
            }
            Stage::Joining | Stage::Running => self.close(now, out),
            Stage::Leaving | Stage::Closing | Stage::Marking | Stage::Stopped => {}
        }
    }

    /// Nobody waits for this node any more.
    pub(super) fn close(&mut self, now: Now, out: &mut Outbox) {
        self.stage = Stage::Closing;
        self.unload_all_groups(now, out);
        let ids: Vec<ParkedId> = self.parked.keys().copied().collect();
        for id in ids {
            // A fetch is answered with what there is, so that nobody waits for a broker that is gone.
            if matches!(self.parked.get(&id), Some(Parked::Fetch(_))) {
                out.sometimes(Mark::StopAnswersFetch);
                self.on_fetch_deadline(id, now, out);
            }
        }
        for (owner, partition) in &mut self.partitions {
            if !partition.is_offline() && !self.cuts.contains_key(owner) {
                partition.close(out);
            }
        }
        self.quorum.stop(now, out);
        self.quorum.log_mut().close(out);
        self.after_quorum(now, out);
    }

    pub(super) fn maybe_mark_clean(&mut self, out: &mut Outbox) {
        let all_closed = || {
            self.partitions.values().filter(|partition| !partition.is_offline()).all(|it| it.is_idle())
                && !self.cuts.values().any(Cut::is_under_way)
                && self.quorum.is_settled()
                && self.has_written()
        };
        match self.stage {
            Stage::Closing if all_closed() => {
                self.stage = Stage::Marking;
                if matches!(self.logs, Logs::Open) {
                    self.write_recovery_points(out);
                    self.write_log_starts(out);
                    self.write_high_watermarks(out);
                }
                for dir in self.clean_dirs() {
                    let file = clean_stop_marker(dir);
                    let text = format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.broker_epoch);
                    self.push_node_write(
                        StorageOp::Replace { file, bytes: Bytes::from(text.into_bytes()) },
                        out,
                    );
                }
                self.maybe_mark_clean(out);
            }
            Stage::Marking if self.has_written() => self.stage = Stage::Stopped,
            Stage::Joining
            | Stage::Running
            | Stage::Leaving
            | Stage::Closing
            | Stage::Marking
            | Stage::Stopped => {}
        }
    }

    /// The log directories in which every log of a partition is whole and durable, now that all is closed.
    fn clean_dirs(&self) -> Vec<usize> {
        match &self.logs {
            // A controller has opened no log of a partition, and can vouch for none.
            Logs::Open if self.lifecycle.is_none() => Vec::new(),
            Logs::Open => {
                // Nor for a log that is half cut.
                let cut = |owner: &u32| dir_index(self.partitions.get(owner)?.log().dir());
                let cut: BTreeSet<usize> = self.cuts.keys().filter_map(cut).collect();
                let is_whole = |dir: &usize| !self.log_dirs[*dir].failed && !cut.contains(dir);
                (0..self.log_dirs.len()).filter(is_whole).collect()
            }
            // They are as the life before left them. The broker may be registered anew since then.
            Logs::Unopened(dirs) | Logs::Unmarking(dirs) => {
                (0..dirs.len()).filter(|dir| dirs[*dir].clean.is_some()).collect()
            }
            // Some may be half recovered.
            Logs::Opening(_) => Vec::new(),
        }
    }

    /// Whether requests that come in by this listener are served.
    pub(super) fn serves(&self, listener: &str) -> bool {
        match self.stage {
            Stage::Running | Stage::Leaving => true,
            // Other nodes need this controller before it needs them.
            Stage::Joining => self.is_controller_listener(listener),
            Stage::Closing | Stage::Marking | Stage::Stopped => false,
        }
    }

    /// Whether controllers, and not clients, come in by this listener.
    pub(super) fn is_controller_listener(&self, name: &str) -> bool {
        self.config.controller_listener_names.iter().any(|listener| listener == name)
    }

    pub(super) fn node_id(&self) -> NodeId {
        self.config.node_id
    }
}

/// In which epoch a broker has stopped cleanly, if all its log directories say the same.
fn stopped_in(dirs: &[DirFacts]) -> Option<BrokerEpoch> {
    let first = dirs.first()?.clean?;
    dirs.iter().all(|dir| dir.clean == Some(first)).then_some(first)
}

/// The file whose presence says that everything in a log directory is whole and durable.
pub(super) fn clean_stop_marker(dir: usize) -> StoragePath {
    StoragePath::new(&format!("{dir}/.kafka_cleanshutdown"))
}

/// The number of the log directory that a path lies in.
pub(super) fn dir_index(path: &StoragePath) -> Option<usize> {
    path.as_str().split('/').next()?.parse().ok()
}

/// The name of a partition directory that is not to be found any more: `<topic>-<partition>.<32 hex>-<why>`, cut to 255
/// bytes in its first part.
pub(super) fn condemned_name(name: &str, id: Uuid, why: &str) -> String {
    let mut suffix = String::from(".");
    for byte in id.0 {
        suffix.push_str(&format!("{byte:02x}"));
    }
    suffix.push('-');
    suffix.push_str(why);
    let kept = name.len().min(255 - suffix.len());
    format!("{}{suffix}", &name[..name.floor_char_boundary(kept)])
}
