//! One replica of a partition: what may be appended while it leads, how far readers may see, and who waits for what. What its
//! leader knows of the others is in [`replication`].
//!
//! It does not know connections or requests: whoever waits is a name of the node's.

mod future_log;
mod replication;

pub(crate) use future_log::{Copied, FutureLog};
pub(crate) use replication::{DecidedIsr, FollowerFetch, ReadReplica, Refused, WantedIsr};

use crate::config::topic::{Codec, CompressionType, MessageTimestampType, TopicConfig};
use crate::controller::image::PartitionState;
use crate::ids::{BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, TopicIdPartition};
use crate::log::lookup::{BatchPlace, Found, Target};
use crate::log::partition_log::{LookupId, PartitionLog, Start};
use crate::log::producer_state::SequenceVerdict;
use crate::mark::Mark;
use crate::museum::Exhibit;
use crate::outbox::Outbox;
use crate::storage_op::{Completion, StorageFault};
use crate::time::Now;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};
use bytes::Bytes;
use core::time::Duration;
use replication::Replication;
use sordini_protocol::batch::{Batch, BatchHeader, InvalidBatch, NO_TIMESTAMP, ValidatedBatch, assign};
use sordini_protocol::compression::Compression;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::wire::Str;

/// Names a parked request within its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ParkedId(pub(crate) u64);

/// One partition's part of a parked request: which request, and which of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    pub(crate) parked: ParkedId,
    pub(crate) index: usize,
}

/// What a replica is at the moment.
#[derive(Clone, Debug)]
enum Role {
    /// It takes appends and serves readers, who see what all replicas in sync have.
    Leader(Box<Replication>),
    /// Another leads, or nobody does. What that one said last of its high watermark holds here as far as the log goes.
    Follower { leader_high_watermark: Offset },
    /// Its log directory failed. There is no way back but a restart.
    Offline,
}

/// How far the log is there for who reads it: Kafka's FetchIsolation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchIsolation {
    /// All that is written, for another replica.
    LogEnd,
    /// What is replicated.
    HighWatermark,
    /// What is replicated and of no open transaction.
    TxnCommitted,
}

impl FetchIsolation {
    /// What a request asks for, which names a replica or an isolation level.
    pub(crate) const fn of(replica_id: i32, isolation_level: i8) -> Self {
        match (replica_id, isolation_level) {
            (0.., _) => Self::LogEnd,
            (_, 1) => Self::TxnCommitted,
            (..) => Self::HighWatermark,
        }
    }
}

/// Where an accepted batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: Offset,
    /// The batch is in the log when everything below this is.
    pub(crate) required_end: Offset,
    /// For LogAppendTime.
    pub(crate) log_append_time_ms: i64,
}

/// What waits for this partition and can go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Awakened {
    /// Produce requests whose records are where their acks ask for.
    pub(crate) produced: Vec<Part>,
    /// Fetch requests that might have enough.
    pub(crate) fetches: Vec<Part>,
    /// Searches that are over: who waits, and what was found.
    pub(crate) searches: Vec<(Part, Resolved)>,
    /// What was read for whoever reads the log through, with the number of the operation.
    pub(crate) read: Option<(u64, Result<Bytes, StorageFault>)>,
}

/// The result of a search, in terms of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The batch that holds the offset, or follows it.
    Batch(BatchPlace),
    /// The record with the timestamp.
    Record { offset: Offset, timestamp: i64, leader_epoch: LeaderEpoch },
    /// There is none.
    Nothing,
    /// The files do not hold what they should.
    Damage,
}

/// A partition hosted by this node.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) id: TopicIdPartition,
    pub(crate) topic: Str,
    /// The epoch under which this replica leads.
    leader_epoch: LeaderEpoch,
    role: Role,
    log: PartitionLog,
    /// What is to take its place in another log directory.
    future: Option<Box<FutureLog>>,
    /// Below it every in-sync replica has the log. Never falls while this replica leads.
    high_watermark: Offset,
    config: Arc<TopicConfig>,
    /// Produce requests with acks=all, by the high watermark they need.
    waiting_for_high_watermark: BTreeSet<(Offset, Part)>,
    /// Produce requests with acks=1, by the written end they need.
    waiting_for_write: BTreeSet<(Offset, Part)>,
    /// Fetch requests to be told when there is more to read.
    waiting_for_data: BTreeSet<Part>,
    /// Those of other replicas, which read all that is written.
    waiting_for_records: BTreeSet<Part>,
    /// Searches under way, and whom to tell.
    searches: BTreeMap<LookupId, Search>,
}

#[derive(Clone, Copy, Debug)]
struct Search {
    part: Part,
    target: Target,
    segment: Offset,
}

impl Partition {
    /// A replica with the log it has, which leads nothing yet. `high_watermark` is what it knew when that was written down.
    pub(crate) fn follow(
        id: TopicIdPartition,
        topic: Str,
        log: PartitionLog,
        high_watermark: Offset,
        config: Arc<TopicConfig>,
    ) -> Self {
        Self {
            id,
            topic,
            leader_epoch: LeaderEpoch::UNKNOWN,
            role: Role::Follower { leader_high_watermark: Offset(0) },
            high_watermark: high_watermark.clamp(log.log_start(), log.written_end()),
            log,
            future: None,
            config,
            waiting_for_high_watermark: BTreeSet::new(),
            waiting_for_write: BTreeSet::new(),
            waiting_for_data: BTreeSet::new(),
            waiting_for_records: BTreeSet::new(),
            searches: BTreeMap::new(),
        }
    }

    /// Leads from here on, or goes on to, under the epoch and with the replicas that the metadata says. A follower that lags
    /// for longer than `lag_max` is not in sync.
    pub(crate) fn become_leader(
        &mut self,
        own: NodeId,
        state: &PartitionState,
        lag_max: Duration,
        now: Now,
        out: &mut Outbox,
    ) -> Awakened {
        assert!(self.leader_epoch <= state.leader_epoch, "epochs do not fall");
        let has_led = self.is_leader();
        match &mut self.role {
            Role::Leader(replication) if self.leader_epoch == state.leader_epoch => {
                replication.update(state, now.monotonic);
            }
            Role::Leader(_) | Role::Follower { .. } | Role::Offline => {
                let epoch_start = self.log.next_offset();
                let museum = self.log.museum();
                let replication = Replication::begin(own, lag_max, state, epoch_start, now.monotonic, museum);
                self.role = Role::Leader(Box::new(replication));
            }
        }
        self.leader_epoch = state.leader_epoch;
        let has_to_flush = !has_led && self.config.flush_messages != i64::MAX;
        let twin = self.future.as_deref_mut().filter(|future| future.is_twin());
        for log in [Some(&mut self.log), twin.map(|twin| &mut twin.log)].into_iter().flatten() {
            log.assign_epoch(state.leader_epoch, out);
            if has_to_flush {
                // What a crash left in the page cache is counted from here on as what it is taken for: durable.
                log.flush(out);
            }
        }
        self.maybe_advance_high_watermark(now)
    }

    /// Leads no more, if it did. Everybody who waits is to be told, unless nothing is new.
    pub(crate) fn become_follower(&mut self, epoch: LeaderEpoch) -> Awakened {
        if self.is_follower_in(epoch) {
            return Awakened::default();
        }
        self.leader_epoch = epoch;
        self.role = Role::Follower { leader_high_watermark: self.high_watermark };
        self.take_waiting()
    }

    /// Gives up: the disk under the log failed. Everybody who waits is to be told.
    pub(crate) fn become_offline(&mut self) -> Awakened {
        self.role = Role::Offline;
        self.future = None;
        self.take_waiting()
    }

    /// Everybody who waits, and does so no more.
    pub(crate) fn take_waiting(&mut self) -> Awakened {
        let mut awakened = Awakened::default();
        awakened
            .produced
            .extend(core::mem::take(&mut self.waiting_for_high_watermark).into_iter().map(|(_, p)| p));
        awakened.produced.extend(core::mem::take(&mut self.waiting_for_write).into_iter().map(|(_, p)| p));
        awakened.fetches.extend(core::mem::take(&mut self.waiting_for_data));
        awakened.fetches.extend(core::mem::take(&mut self.waiting_for_records));
        let searches = core::mem::take(&mut self.searches);
        awakened.searches.extend(searches.into_values().map(|search| (search.part, Resolved::Nothing)));
        awakened
    }

    pub(crate) const fn is_offline(&self) -> bool {
        matches!(self.role, Role::Offline)
    }

    pub(crate) const fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    const fn replication(&self) -> Option<&Replication> {
        match &self.role {
            Role::Leader(replication) => Some(replication),
            Role::Follower { .. } | Role::Offline => None,
        }
    }

    /// Whether a replica is in sync, as far as its leader, which this is to be, knows from the controller.
    pub(crate) fn is_in_sync(&self, id: NodeId) -> bool {
        self.replication().is_some_and(|it| it.is_in_sync(id))
    }

    const fn replication_mut(&mut self) -> Option<&mut Replication> {
        match &mut self.role {
            Role::Leader(replication) => Some(replication),
            Role::Follower { .. } | Role::Offline => None,
        }
    }

    /// So many replicas have to be in sync: `min.insync.replicas`, or all, of a partition that has fewer.
    fn min_isr(&self, replication: &Replication) -> usize {
        replication.replicas().min(self.config.min_insync_replicas as usize)
    }

    /// Whether fewer replicas are in sync than have to be.
    pub(crate) fn is_under_min_isr(&self) -> bool {
        self.replication().is_some_and(|it| it.in_sync() < self.min_isr(it))
    }

    /// Whether too few replicas are in sync for what was appended when there were enough, even if all comes true that this
    /// leader has proposed.
    pub(crate) fn has_lost_min_isr(&self) -> bool {
        self.replication().is_some_and(|it| it.maximal_isr().len() < self.min_isr(it))
    }

    pub(crate) const fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    pub(crate) const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Whether a leader does not know yet how far the log was replicated when its epoch began: its high watermark may be less
    /// than what the leader before had told.
    pub(crate) fn is_behind_epoch_start(&self) -> bool {
        self.replication().is_some_and(|it| self.high_watermark < it.epoch_start())
    }

    /// Where the log ends for who reads it.
    pub(crate) fn visible_end(&self, isolation: FetchIsolation) -> Offset {
        match isolation {
            FetchIsolation::LogEnd => self.written_end(),
            FetchIsolation::HighWatermark => self.high_watermark,
            FetchIsolation::TxnCommitted => self.last_stable_offset(),
        }
    }

    /// With no transaction open, everything below the high watermark is stable.
    pub(crate) const fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    pub(crate) const fn log(&self) -> &PartitionLog {
        &self.log
    }

    pub(crate) const fn log_mut(&mut self) -> &mut PartitionLog {
        &mut self.log
    }

    pub(crate) fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// Goes by another configuration from here on, which may let readers see more.
    pub(crate) fn set_config(&mut self, config: Arc<TopicConfig>, now: Now) -> Awakened {
        self.config = config;
        self.maybe_advance_high_watermark(now)
    }

    // ---- the other replicas ----

    /// Takes note of how far another replica is. Answers who can go on, and whether the controller is to be asked to take it for
    /// one in sync; nothing if it is no replica that this leader knows of.
    pub(crate) fn on_follower_fetch(&mut self, fetch: &FollowerFetch, now: Now) -> Option<(Awakened, bool)> {
        let leader_end = self.written_end();
        let high_watermark = self.high_watermark;
        let replication = self.replication_mut()?;
        if !replication.on_fetch(fetch, leader_end, now.monotonic) {
            return None;
        }
        let is_proposed = replication.propose_expansion(fetch.replica, high_watermark);
        Some((self.maybe_advance_high_watermark(now), is_proposed))
    }

    /// Proposes to leave out of the ISR who lags behind; answers whether the controller is to be asked.
    pub(crate) fn look_for_lagging(&mut self, now: Now) -> bool {
        let leader_end = self.written_end();
        self.replication_mut().is_some_and(|it| it.propose_shrinking(leader_end, now.monotonic))
    }

    /// The followers that a consumer may read from at an offset, as far as this leader knows.
    pub(crate) fn read_replicas(&self, offset: Offset) -> impl Iterator<Item = ReadReplica> {
        self.replication().into_iter().flat_map(move |it| it.read_replicas(offset))
    }

    /// From where on this leader and every replica has the records that `counts`; nothing if this is no leader.
    pub(crate) fn low_watermark(&self, counts: impl Fn(NodeId) -> bool) -> Option<Offset> {
        Some(self.replication()?.low_watermark(self.log.log_start(), counts))
    }

    /// The life of a broker that fetches, as far as it has said which, if it has fetched from this leader.
    pub(crate) fn follower_epoch(&self, replica: NodeId) -> Option<Option<BrokerEpoch>> {
        self.replication()?.follower_epoch(replica)
    }

    /// Takes note of whether the life of a broker that fetches may be in sync.
    pub(crate) fn judge_follower(&mut self, replica: NodeId, is_eligible: bool, now: Now) -> Awakened {
        if let Some(replication) = self.replication_mut() {
            replication.judge(replica, is_eligible);
        }
        self.maybe_advance_high_watermark(now)
    }

    /// What the controller is to be asked for, if anything. Of itself the broker says in which life it is.
    pub(crate) fn wanted_isr(&self, own_epoch: BrokerEpoch) -> Option<WantedIsr> {
        self.replication()?.wanted(self.leader_epoch, own_epoch)
    }

    /// The controller has decided what was proposed.
    pub(crate) fn on_isr_decided(&mut self, decided: DecidedIsr, now: Now) -> Awakened {
        if decided.leader_epoch == self.leader_epoch
            && let Some(replication) = self.replication_mut()
        {
            replication.on_decided(decided);
        }
        self.maybe_advance_high_watermark(now)
    }

    /// The controller has refused what was proposed in this epoch on what was known at `partition_epoch`.
    pub(crate) fn on_isr_refused(
        &mut self,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        code: ErrorCode,
    ) -> Refused {
        if leader_epoch != self.leader_epoch {
            return Refused::AwaitsMetadata;
        }
        self.replication_mut().map_or(Refused::AwaitsMetadata, |it| it.on_refused(partition_epoch, code))
    }

    // ---- as a follower ----

    /// Whether another leads in this epoch.
    pub(crate) fn is_follower_in(&self, leader_epoch: LeaderEpoch) -> bool {
        matches!(self.role, Role::Follower { .. }) && self.leader_epoch == leader_epoch
    }

    /// Where a log without records has to begin, so that it can take what the leader sent: its log may start within a batch.
    pub(crate) fn beginning_for(&self, bytes: &Bytes) -> Option<Offset> {
        let next = self.log.next_offset();
        let first = BatchHeader::parse(bytes).ok().filter(|first| first.base_offset >= 0)?;
        let holds_next = (first.base_offset + 1..=first.last_offset()).contains(&next.0);
        (holds_next && self.log.log_start() == next).then_some(Offset(first.base_offset))
    }

    /// Appends what the leader sent, batch by batch, as far as it is what comes next and was written in no later epoch than the
    /// leader's own. Answers whether all of it was.
    pub(crate) fn append_fetched(&mut self, mut bytes: Bytes, now: Now, out: &mut Outbox) -> bool {
        let begun_at = self.log.next_offset();
        loop {
            let batch = match Batch::first_of(&mut bytes) {
                Ok(Some(batch)) => batch,
                // The last batch may be cut short, but not the first one too.
                Ok(None) => return self.log.next_offset() > begun_at,
                Err(_) => return false,
            };
            let header = *batch.header();
            let epoch = LeaderEpoch(header.partition_leader_epoch);
            let last_epoch = self.log.epochs().latest().unwrap_or(LeaderEpoch::UNKNOWN);
            let is_next = header.base_offset == self.log.next_offset().0
                && header.last_offset() >= header.base_offset
                && (last_epoch..=self.leader_epoch).contains(&epoch);
            if !is_next || batch.check_crc().is_err() {
                return false;
            }
            self.append_batch(batch.assign(header.base_offset, epoch.0), now, out);
        }
    }

    /// Takes over what the leader says of its high watermark and of where its log begins. Answers who can read more of it.
    pub(crate) fn follow_ends(
        &mut self,
        high_watermark: Offset,
        log_start: Offset,
        now: Now,
        out: &mut Outbox,
    ) -> Awakened {
        let mut awakened = Awakened::default();
        if let Role::Follower { leader_high_watermark } = &mut self.role {
            *leader_high_watermark = high_watermark;
            awakened.fetches = self.follow_high_watermark();
            self.advance_log_start(log_start.min(self.high_watermark), now, out);
        }
        awakened
    }

    /// A follower's high watermark is the leader's, as far as its log goes. It may fall: a new leader may know of less. Answers
    /// who can read more.
    fn follow_high_watermark(&mut self) -> Vec<Part> {
        let Role::Follower { leader_high_watermark } = self.role else { return Vec::new() };
        let was = self.high_watermark;
        self.high_watermark = leader_high_watermark.min(self.written_end()).max(self.log.log_start());
        if self.high_watermark > was { self.waiting_for_data.iter().copied().collect() } else { Vec::new() }
    }

    /// Where this log has to be cut when the leader's has something else behind the end of an epoch (KIP-101, KIP-279): what it
    /// has of that epoch in common with the leader's stays. It may take several rounds to find the point at which they part.
    pub(crate) fn parting_point(&self, epoch: LeaderEpoch, end: Offset) -> Offset {
        let log_end = self.log.next_offset();
        let own = self.log.epochs().end_offset_for(epoch, log_end);
        own.map_or(end, |(_, own_end)| own_end.min(end)).min(log_end)
    }

    /// Goes on with the log as it is after a cut.
    pub(crate) fn replace_log(&mut self, log: PartitionLog) {
        self.log = log;
        self.on_cut();
    }

    /// What lies behind the end of the log was not committed, or nobody vouched for it.
    pub(crate) fn on_cut(&mut self) {
        self.lower_frozen_ends();
        self.high_watermark = self.high_watermark.min(self.written_end()).max(self.log.log_start());
        if let Role::Follower { leader_high_watermark } = &mut self.role {
            *leader_high_watermark = self.high_watermark;
        }
    }

    // ---- appends and readers ----

    /// Compares the epoch that a client or follower believes in with the one that holds (KIP-320).
    pub(crate) fn check_leader_epoch(&self, believed: LeaderEpoch) -> Result<(), ErrorCode> {
        if believed == LeaderEpoch::UNKNOWN || believed == self.leader_epoch {
            Ok(())
        } else if believed < self.leader_epoch {
            Err(ErrorCode::FencedLeaderEpoch)
        } else {
            Err(ErrorCode::UnknownLeaderEpoch)
        }
    }

    /// Judges a client's batch by the topic's configuration and its producer's past, and appends it.
    pub(crate) fn append(
        &mut self,
        batch: ValidatedBatch,
        now: Now,
        out: &mut Outbox,
    ) -> Result<Appended, InvalidBatch> {
        let config = Arc::clone(&self.config);
        let batch = self.as_configured(batch, &config, now)?;
        let header = *batch.header();
        if header.has_producer_id() {
            let verdict = self.log.producers().judge(&header, self.log.museum()).map_err(|code| {
                let is_old = code == ErrorCode::InvalidProducerEpoch;
                out.sometimes(if is_old { Mark::ProducerEpochOld } else { Mark::ProducerOutOfOrder });
                InvalidBatch {
                    code,
                    record_errors: Vec::new(),
                    message: Cow::Owned(format!(
                        "producer {} epoch {} sent sequence {}",
                        header.producer_id, header.producer_epoch, header.base_sequence
                    )),
                }
            })?;
            out.sometimes_if(verdict == SequenceVerdict::NewEpoch, Mark::ProducerEpochRaised);
            let is_unknown = verdict == SequenceVerdict::NewProducer && header.base_sequence != 0;
            out.sometimes_if(is_unknown, Mark::ProducerUnknown);
            if let SequenceVerdict::Duplicate { base_offset, timestamp } = verdict {
                out.sometimes(Mark::ProducerDuplicate);
                let is_unwritten = self.written_end() <= base_offset;
                out.sometimes_if(is_unwritten, Mark::ProducerDuplicateUnwritten);
                let is_log_append_time = config.message_timestamp_type == MessageTimestampType::LogAppendTime;
                let is_awaited = !self.log.museum().has(Exhibit::B09DuplicateAckedBeforeWritten);
                let count = if is_awaited { i64::from(header.last_offset_delta) + 1 } else { 0 };
                return Ok(Appended {
                    base_offset,
                    required_end: base_offset.plus(count),
                    log_append_time_ms: if is_log_append_time { timestamp } else { NO_TIMESTAMP },
                });
            }
        }
        let log_append_time =
            (config.message_timestamp_type == MessageTimestampType::LogAppendTime).then_some(now.wall_ms);
        let base_offset = self.log.next_offset();
        let batch = assign(batch, base_offset.0, self.leader_epoch.0, log_append_time);
        self.append_batch(batch, now, out);
        Ok(Appended {
            base_offset,
            required_end: self.log.next_offset(),
            log_append_time_ms: log_append_time.unwrap_or(NO_TIMESTAMP),
        })
    }

    fn as_configured(
        &self,
        batch: ValidatedBatch,
        config: &TopicConfig,
        now: Now,
    ) -> Result<ValidatedBatch, InvalidBatch> {
        let refusal =
            |code, message| InvalidBatch { code, record_errors: Vec::new(), message: Cow::Owned(message) };
        if config.message_timestamp_type == MessageTimestampType::CreateTime {
            check_timestamps(&batch, config, now)?;
        }
        if let Some(index) = batch.first_keyless_record().filter(|_| config.cleanup_policy.compact) {
            let why = "a record of a compacted topic must have a key";
            return Err(InvalidBatch {
                code: ErrorCode::InvalidRecord,
                record_errors: vec![(index, Cow::Borrowed(why))],
                message: Cow::Borrowed(why),
            });
        }
        let codec = match config.compression_type {
            CompressionType::Producer => None,
            CompressionType::Codec(Codec::Uncompressed) => Some((Compression::None, None)),
            CompressionType::Codec(Codec::Gzip) => {
                Some((Compression::Gzip, Some(config.compression_gzip_level)))
            }
            CompressionType::Codec(Codec::Snappy) => Some((Compression::Snappy, None)),
            CompressionType::Codec(Codec::Lz4) => {
                Some((Compression::Lz4, Some(config.compression_lz4_level)))
            }
            CompressionType::Codec(Codec::Zstd) => {
                Some((Compression::Zstd, Some(config.compression_zstd_level)))
            }
        };
        let batch = match codec {
            Some((codec, level)) if batch.header().compression().ok() != Some(codec) => {
                batch.recompress(codec, level).map_err(InvalidBatch::from)?
            }
            Some(_) | None => batch,
        };
        let size = batch.header().size();
        if size > config.max_message_bytes as usize {
            let limit = config.max_message_bytes;
            let message = format!("the batch has {size} bytes, max.message.bytes allows {limit}");
            return Err(refusal(ErrorCode::MessageTooLarge, message));
        }
        if size > config.segment_bytes as usize {
            let limit = config.segment_bytes;
            let message = format!("the batch has {size} bytes, a segment holds {limit}");
            return Err(refusal(ErrorCode::RecordListTooLarge, message));
        }
        Ok(batch)
    }

    /// Has `part` told when the log is written up to `end` (acks=1) or replicated up to it (acks=all). `false` when
    /// that is so already.
    pub(crate) fn await_produced(&mut self, end: Offset, all: bool, part: Part) -> bool {
        let (reached, waiting) = if all {
            (self.high_watermark, &mut self.waiting_for_high_watermark)
        } else {
            (self.written_end(), &mut self.waiting_for_write)
        };
        reached < end && waiting.insert((end, part))
    }

    /// Has `part` told whenever there is more to read for it, until [`Self::forget_fetch`]: another replica reads all that is
    /// written.
    pub(crate) fn await_data(&mut self, part: Part, isolation: FetchIsolation) {
        let waiting = match isolation {
            FetchIsolation::LogEnd => &mut self.waiting_for_records,
            FetchIsolation::HighWatermark | FetchIsolation::TxnCommitted => &mut self.waiting_for_data,
        };
        waiting.insert(part);
    }

    /// Forgets a part of a fetch that is over. A search of its goes on, since its reads are under way; the result finds
    /// nobody.
    pub(crate) fn forget_fetch(&mut self, part: Part) {
        self.waiting_for_data.remove(&part);
        self.waiting_for_records.remove(&part);
    }

    /// Forgets a part of a produce request that is over: it timed out, or its client is gone.
    pub(crate) fn forget_produce(&mut self, part: Part) {
        self.waiting_for_high_watermark.retain(|(_, waiting)| *waiting != part);
        self.waiting_for_write.retain(|(_, waiting)| *waiting != part);
    }

    /// Where reading from `offset` towards `end` begins; `None` when `part` will be told.
    pub(crate) fn find(
        &mut self,
        offset: Offset,
        max_bytes: u64,
        end: Offset,
        part: Part,
        out: &mut Outbox,
    ) -> Option<Resolved> {
        let start = self.log.find(offset, max_bytes, end, out);
        let segment = offset;
        self.resolve(start, Search { part, target: Target::Offset { offset, max_bytes, end }, segment })
    }

    /// The first record with `timestamp` or a later one; `None` when `part` will be told.
    pub(crate) fn find_timestamp(
        &mut self,
        timestamp: i64,
        part: Part,
        out: &mut Outbox,
    ) -> Option<Resolved> {
        let (start, segment) = self.log.find_timestamp(timestamp, out);
        let target = Target::Timestamp { timestamp, from: self.log.log_start() };
        self.resolve(start, Search { part, target, segment })
    }

    fn resolve(&mut self, start: Start, search: Search) -> Option<Resolved> {
        match start {
            Start::Known(place) => Some(Resolved::Batch(place)),
            Start::End => Some(Resolved::Nothing),
            Start::Searching(id) => {
                self.searches.insert(id, search);
                None
            }
        }
    }

    /// Takes note of a completed storage operation, and answers who can go on.
    pub(crate) fn on_storage_completed(
        &mut self,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<Awakened, StorageFault> {
        let progress = self.log.on_completed(sequence, result, out)?;
        let mut awakened = Awakened::default();
        if progress.written {
            awakened = self.on_written(now);
        }
        awakened.read = progress.read.map(|read| (sequence, read));
        if let Some((id, found)) = progress.found
            && let Some(search) = self.searches.remove(&id)
        {
            let resolved = match found {
                Found::Batch(place) => Some(Resolved::Batch(place)),
                Found::Record { offset, timestamp, leader_epoch } => {
                    Some(Resolved::Record { offset, timestamp, leader_epoch: LeaderEpoch(leader_epoch) })
                }
                Found::Damage => Some(Resolved::Damage),
                Found::Nothing => {
                    let start = self.log.find_after(search.segment, search.target, out);
                    out.sometimes_if(start != Start::End, Mark::LogLookupNextSegment);
                    let segment = self.log.segment_after(search.segment);
                    match search.target {
                        // Of the active segment, which nothing has compacted, what readers may see is there, or its
                        // index or its log is damaged.
                        Target::Offset { offset, .. }
                            if start == Start::End
                                && offset >= self.log.log_start().max(self.log.active_base())
                                && offset < self.high_watermark =>
                        {
                            Some(Resolved::Damage)
                        }
                        Target::Offset { .. } | Target::Timestamp { .. } => {
                            self.resolve(start, Search { segment, ..search })
                        }
                    }
                }
            };
            out.sometimes_if(resolved == Some(Resolved::Damage), Mark::LogLookupDamage);
            awakened.searches.extend(resolved.map(|resolved| (search.part, resolved)));
        }
        Ok(awakened)
    }

    /// The high watermark is how far all in-sync replicas have the log, and never falls while this one leads. It stays where it
    /// is while too few are in sync, whatever was asked for with a record: replicas that left the ISR may lead then, and have
    /// everything below it (KIP-966).
    fn maybe_advance_high_watermark(&mut self, now: Now) -> Awakened {
        let mut awakened = Awakened::default();
        let written_end = self.written_end();
        let counts_alone = self.log.museum().has(Exhibit::A08HighWatermarkUnderMinIsr);
        let replication = self.replication().filter(|_| counts_alone || !self.is_under_min_isr());
        let replicated = replication.and_then(|it| it.replicated_end(written_end, now.monotonic));
        let Some(end) = replicated.filter(|end| *end > self.high_watermark) else { return awakened };
        self.high_watermark = end;
        take_reached(&mut self.waiting_for_high_watermark, end, &mut awakened.produced);
        awakened.fetches.extend(&self.waiting_for_data);
        awakened
    }

    /// Deletes records below `offset` at a client's request; -1 stands for the high watermark.
    pub(crate) fn delete_records(
        &mut self,
        offset: Offset,
        now: Now,
        out: &mut Outbox,
    ) -> Result<Offset, ErrorCode> {
        let to = if offset.0 == -1 { self.high_watermark } else { offset };
        if to < Offset(0) || to > self.high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        self.advance_log_start(to, now, out);
        Ok(self.log.log_start())
    }

    /// Deletes what the retention limits allow.
    pub(crate) fn apply_retention(&mut self, now: Now, out: &mut Outbox) {
        let config = Arc::clone(&self.config);
        self.log.apply_retention(self.high_watermark, &config, now, out);
        self.advance_log_start(self.log.log_start(), now, out);
    }
}

fn take_reached(waiting: &mut BTreeSet<(Offset, Part)>, end: Offset, reached: &mut Vec<Part>) {
    while let Some((needed, part)) = waiting.first().copied().filter(|(needed, _)| *needed <= end) {
        waiting.remove(&(needed, part));
        reached.push(part);
    }
}

/// So many records of a batch are named as the ones to blame; a client does nothing more with the others.
const RECORD_ERRORS_MAX: usize = 256;

fn check_timestamps(batch: &ValidatedBatch, config: &TopicConfig, now: Now) -> Result<(), InvalidBatch> {
    let earliest = now.wall_ms.saturating_sub(config.message_timestamp_before_max_ms);
    let latest = now.wall_ms.saturating_add(config.message_timestamp_after_max_ms);
    let is_allowed = |timestamp: i64| timestamp == NO_TIMESTAMP || (earliest..=latest).contains(&timestamp);
    if is_allowed(batch.min_timestamp()) && is_allowed(batch.max_timestamp()) {
        return Ok(());
    }
    let why =
        "the timestamp lies outside of message.timestamp.before.max.ms and message.timestamp.after.max.ms";
    let records = batch.records().map_err(InvalidBatch::from)?;
    let record_errors = records
        .enumerate()
        .filter_map(|(index, record)| Some((i32::try_from(index).ok()?, record.ok()?.timestamp)))
        .filter(|(_, timestamp)| !is_allowed(*timestamp))
        .take(RECORD_ERRORS_MAX)
        .map(|(index, _)| (index, Cow::Borrowed(why)))
        .collect();
    Err(InvalidBatch { code: ErrorCode::InvalidTimestamp, record_errors, message: Cow::Borrowed(why) })
}
