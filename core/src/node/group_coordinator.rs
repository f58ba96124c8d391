//! The group coordinators of a broker, one for each partition of `__consumer_offsets` that it leads: reading what they know from
//! the log, writing what they decide, and answering when that is committed.

use super::broker::{Broker, ReplyTo, Timer};
use crate::config::BrokerConfig;
use crate::coordinator::UntilCommitted;
use crate::group::offsets::CommittedOffset;
use crate::group::records::GroupRecord;
use crate::group::{Client, Decided, GroupCoordinator, Surroundings, Then};
use crate::ids::{ConnectionId, LeaderEpoch, Offset, TopicIdPartition};
use crate::log::cursor::{Ahead, Cursor};
use crate::outbox::Outbox;
use crate::produce_request::DECOMPRESSED_BYTES_MAX;
use crate::rng::Rng;
use crate::storage_op::StorageFault;
use crate::time::{Instant, Now};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::{Batch, BatchBuilder, BatchParams, Limits, validate};
use sordini_protocol::control::ControlType;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use sordini_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use sordini_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
    SyncGroupResponse, delete_groups_response, describe_groups_response, leave_group_request,
};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Str, Uuid};

/// The topic in which groups keep what they know.
pub(super) const OFFSETS_TOPIC: Str = Str::from_static("__consumer_offsets");

/// How many offsets are forgotten with one batch. A name has 249 bytes at most, and a group hardly more.
const TOMBSTONES_IN_BATCH_MAX: usize = 500;

/// Operations that a client may do on a group when nothing forbids any: bit n stands for operation n of Kafka's ACLs (KIP-430).
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// From this version on an OffsetFetch asks about several groups (KIP-709).
const FETCHES_OF_GROUPS_FROM: i16 = 8;

/// From this version on topics of offsets are named by their ids (KIP-848).
const TOPIC_IDS_FROM: i16 = 10;

/// From this version on several members leave at a time (KIP-345).
const LEAVES_TOGETHER_FROM: i16 = 3;

/// An answer that is given when all parts of it are committed.
#[derive(Clone, Debug)]
struct Assembling {
    reply_to: ReplyTo,
    body: AnyResponse,
    parts_left: usize,
}

/// One part of an answer: of which, and the how-manieth group of it.
#[derive(Clone, Copy, Debug)]
struct AnswerPart {
    answer: u64,
    index: usize,
}

/// What waits for a decision to be committed.
#[derive(Clone, Debug)]
enum Waiting {
    Answer(AnswerPart),
    Then(Then),
}

/// How far a coordinator knows its log.
#[derive(Clone, Debug)]
enum Stage {
    /// It reads it. A read of this number is under way, if one is.
    Loading {
        cursor: Cursor,
        read: Option<u64>,
    },
    Loaded,
    /// What the log holds is not to be understood. It answers nothing in this epoch.
    Failed,
}

/// The coordinator of the groups of one partition.
#[derive(Clone, Debug)]
struct Shard {
    /// The epoch in which this broker leads the partition.
    epoch: LeaderEpoch,
    stage: Stage,
    coordinator: GroupCoordinator,
    /// While the log is read: offsets of transactions that have not ended, by their producers.
    in_transactions: BTreeMap<i64, Vec<GroupRecord>>,
    /// What is to be done when it is committed, and until when somebody waits for that.
    until_committed: UntilCommitted<(Instant, Waiting)>,
}

impl Shard {
    fn begin(epoch: LeaderEpoch, first: Offset) -> Self {
        Self {
            epoch,
            stage: Stage::Loading { cursor: Cursor::at(first), read: None },
            coordinator: GroupCoordinator::default(),
            in_transactions: BTreeMap::new(),
            until_committed: UntilCommitted::default(),
        }
    }

    const fn is_loaded(&self) -> bool {
        matches!(self.stage, Stage::Loaded)
    }

    const fn is_loading(&self) -> bool {
        matches!(self.stage, Stage::Loading { .. })
    }
}

/// The group coordinators of a broker.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupCoordinators {
    /// By the owners of their partitions.
    shards: BTreeMap<u32, Shard>,
    /// Answers that wait, by their numbers.
    answers: BTreeMap<u64, Assembling>,
    /// How many there ever were.
    next_answer: u64,
}

impl GroupCoordinators {
    /// Nobody listens any more.
    pub(super) fn on_connection_closed(&mut self, connection: ConnectionId) {
        self.answers.retain(|_, answer| answer.reply_to.connection != connection);
    }

    /// What a coordinator has at hand, and itself.
    fn with<T>(
        &mut self,
        owner: u32,
        config: &BrokerConfig,
        rng: &mut Rng,
        now: Now,
        out: &mut Outbox,
        act: impl FnOnce(&mut GroupCoordinator, &mut Surroundings<'_>) -> T,
    ) -> Option<T> {
        let shard = self.shards.get_mut(&owner)?;
        Some(act(&mut shard.coordinator, &mut Surroundings { config, now, rng, out }))
    }
}

impl Broker {
    // ---- which of them this broker is ----

    /// A partition is led by somebody else, or is led here, or is not here any more: whoever leads a partition of
    /// `__consumer_offsets` coordinates its groups.
    pub(super) fn review_group_coordinator(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        let partition = self.partitions.get(&owner).filter(|partition| partition.topic == OFFSETS_TOPIC);
        let led = partition.filter(|partition| partition.is_leader() && !self.is_stopping());
        let Some(led) = led else { return self.unload_groups(owner, now, out) };
        let (epoch, first) = (led.leader_epoch(), led.log().first_base());
        match self.groups.shards.get_mut(&owner) {
            Some(shard) if matches!(shard.stage, Stage::Failed) && shard.epoch < epoch => {}
            Some(shard) => {
                // Who goes on to lead has appended everything itself.
                shard.epoch = epoch;
                return;
            }
            None => {}
        }
        self.groups.shards.insert(owner, Shard::begin(epoch, first));
        self.load_groups(owner, now, out);
    }

    /// The log lies in another directory from here on: a coordinator that was reading it begins anew.
    pub(super) fn read_groups_anew(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        let (Some(shard), Some(partition)) =
            (self.groups.shards.get_mut(&owner), self.partitions.get(&owner))
        else {
            return;
        };
        if shard.is_loading() {
            *shard = Shard::begin(shard.epoch, partition.log().first_base());
            self.load_groups(owner, now, out);
        }
    }

    fn unload_groups(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        let Some(mut shard) = self.groups.shards.remove(&owner) else { return };
        self.timers.cancel(&Timer::Groups(owner));
        let code = ErrorCode::NotCoordinator;
        let Self { config, rng, .. } = self;
        let mut around = Surroundings { config, now, rng, out };
        shard.coordinator.unload(code, &mut around);
        for (_, waiting) in shard.until_committed.take_all() {
            match waiting {
                Waiting::Answer(part) => self.refuse_part(part, code, out),
                Waiting::Then(then) => {
                    let Self { config, rng, .. } = self;
                    let mut around = Surroundings { config, now, rng, out };
                    shard.coordinator.settle(then, Err(code), &mut around);
                }
            }
        }
    }

    /// No coordinator works on while the broker stops.
    pub(super) fn unload_all_groups(&mut self, now: Now, out: &mut Outbox) {
        let owners: Vec<u32> = self.groups.shards.keys().copied().collect();
        for owner in owners {
            self.unload_groups(owner, now, out);
        }
    }

    // ---- loading ----

    fn load_groups(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        let (Some(shard), Some(partition)) =
            (self.groups.shards.get_mut(&owner), self.partitions.get_mut(&owner))
        else {
            return;
        };
        let Stage::Loading { cursor, read } = &mut shard.stage else { return };
        match cursor.ahead(partition.log()) {
            Ahead::Pending => {}
            Ahead::Bytes { file, position, len } => {
                *read = Some(partition.log_mut().read(file, position, len, out));
            }
            Ahead::Overtaken => self.read_groups_anew(owner, now, out),
            Ahead::Damaged => shard.stage = Stage::Failed,
            Ahead::End => {
                shard.stage = Stage::Loaded;
                shard.in_transactions.clear();
                let Self { groups, config, rng, .. } = self;
                groups.with(owner, config, rng, now, out, GroupCoordinator::begin);
                self.arm_groups(owner);
            }
        }
    }

    /// Takes what was read of the log.
    pub(super) fn on_groups_read(
        &mut self,
        owner: u32,
        sequence: u64,
        found: Result<Bytes, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) {
        let (Some(shard), Some(partition)) =
            (self.groups.shards.get_mut(&owner), self.partitions.get(&owner))
        else {
            return;
        };
        let Stage::Loading { cursor, read } = &mut shard.stage else { return };
        if *read != Some(sequence) {
            // An earlier coordinator of this partition asked for it.
            return;
        }
        *read = None;
        let bytes = match found {
            Ok(bytes) => bytes,
            // The segment was deleted under the read.
            Err(StorageFault::NotFound) => Bytes::new(),
            Err(fault) => return self.on_storage_fault(owner, fault, now, out),
        };
        let understood = cursor.take(partition.log(), bytes).ok();
        if understood
            .and_then(|batches| batches.iter().try_for_each(|batch| load_batch(shard, batch)))
            .is_none()
        {
            shard.stage = Stage::Failed;
            return;
        }
        self.load_groups(owner, now, out);
    }

    // ---- deciding ----

    /// The owner of the partition whose coordinator a group has, if it is here and can answer.
    fn coordinator_of(&self, group: &str) -> Result<u32, ErrorCode> {
        let id = self.group_partition(group).ok_or(ErrorCode::NotCoordinator)?;
        let owner = *self.owners.get(&id).ok_or(ErrorCode::NotCoordinator)?;
        let shard = self.groups.shards.get(&owner).ok_or(ErrorCode::NotCoordinator)?;
        match shard.stage {
            Stage::Loading { .. } => Err(ErrorCode::CoordinatorLoadInProgress),
            Stage::Loaded => Ok(owner),
            Stage::Failed => Err(ErrorCode::NotCoordinator),
        }
    }

    /// The same of a group that must have a name: only offsets may be kept under none.
    fn coordinator_of_named(&self, group: &str) -> Result<u32, ErrorCode> {
        if group.is_empty() { Err(ErrorCode::InvalidGroupId) } else { self.coordinator_of(group) }
    }

    /// The partition of `__consumer_offsets` that is a group's.
    pub(super) fn group_partition(&self, group: &str) -> Option<TopicIdPartition> {
        let topic = self.image.topic_by_name(&OFFSETS_TOPIC)?;
        let count = i32::try_from(topic.partitions.len()).ok().filter(|count| *count > 0)?;
        let partition = java_hash(group).checked_abs().unwrap_or(0) % count;
        Some(TopicIdPartition { topic: topic.id, partition })
    }

    fn assemble(&mut self, reply_to: ReplyTo, body: AnyResponse, parts: usize) -> u64 {
        let groups = &mut self.groups;
        groups.next_answer += 1;
        groups.answers.insert(groups.next_answer, Assembling { reply_to, body, parts_left: parts });
        groups.next_answer
    }

    /// Gives an answer of one part, when the group's decision is committed.
    fn answer_when_committed(
        &mut self,
        owner: u32,
        records: Vec<GroupRecord>,
        reply_to: ReplyTo,
        body: AnyResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        let answer = self.assemble(reply_to, body, 1);
        let decided = Decided { records, then: Then::Nothing };
        self.conclude(owner, decided, Some(AnswerPart { answer, index: 0 }), now, out);
    }

    /// Writes what was decided, and has the rest done when that is committed.
    fn conclude(
        &mut self,
        owner: u32,
        decided: Decided,
        part: Option<AnswerPart>,
        now: Now,
        out: &mut Outbox,
    ) {
        let Decided { records, then } = decided;
        match self.append_group_records(owner, &records, now, out) {
            Ok(end) => {
                let deadline = now.monotonic.plus_millis(self.config.offsets_commit_timeout_ms);
                let Some(shard) = self.groups.shards.get_mut(&owner) else { return };
                for record in records {
                    shard.coordinator.apply(record);
                }
                let then = (!matches!(then, Then::Nothing)).then_some(Waiting::Then(then));
                for waiting in then.into_iter().chain(part.map(Waiting::Answer)) {
                    shard.until_committed.park(end, (deadline, waiting));
                }
            }
            Err(code) => {
                if let Some(part) = part {
                    self.refuse_part(part, code, out);
                }
                self.settle(owner, then, Err(code), now, out);
            }
        }
        self.release_groups(owner, now, out);
    }

    fn settle(&mut self, owner: u32, then: Then, outcome: Result<(), ErrorCode>, now: Now, out: &mut Outbox) {
        if matches!(then, Then::Nothing) {
            return;
        }
        let Self { groups, config, rng, .. } = self;
        let decided = groups.with(owner, config, rng, now, out, |coordinator, around| {
            coordinator.settle(then, outcome, around)
        });
        if let Some(decided) = decided.filter(|decided| !decided.records.is_empty()) {
            self.conclude(owner, decided, None, now, out);
        }
    }

    /// Appends records to the log of a coordinator. Answers up to where it has to be committed for them to be.
    fn append_group_records(
        &mut self,
        owner: u32,
        records: &[GroupRecord],
        now: Now,
        out: &mut Outbox,
    ) -> Result<Offset, ErrorCode> {
        let compression = self.config.offsets_topic_compression;
        let partition = self.partitions.get_mut(&owner).ok_or(ErrorCode::NotCoordinator)?;
        if records.is_empty() {
            return Ok(partition.log().next_offset());
        }
        if !partition.is_leader() {
            return Err(ErrorCode::NotCoordinator);
        }
        if partition.is_under_min_isr() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let mut batch = BatchBuilder::new(BatchParams { compression, ..BatchParams::default() });
        for record in records.iter().map(GroupRecord::encode) {
            let record = record.map_err(|_| ErrorCode::UnknownServerError)?;
            batch.append(now.wall_ms, Some(&record.key), record.value.as_deref(), &[]);
        }
        let limits = Limits { decompressed_bytes_max: DECOMPRESSED_BYTES_MAX, zstd_allowed: true };
        let batch = validate(batch.build(), &limits);
        let appended = batch.and_then(|batch| partition.append(batch, now, out));
        // A batch that is too large, or that the topic is configured to refuse.
        let appended = appended.map_err(|_| ErrorCode::UnknownServerError)?;
        self.arm_log_timer(owner);
        Ok(appended.required_end)
    }

    /// Does what was to be done when what is committed by now is.
    pub(super) fn release_groups(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        loop {
            let high_watermark = self.partitions.get(&owner).map(|partition| partition.high_watermark());
            let (Some(high_watermark), Some(shard)) = (high_watermark, self.groups.shards.get_mut(&owner))
            else {
                return;
            };
            match shard.until_committed.release(high_watermark) {
                Some((_, Waiting::Answer(part))) => self.complete_part(part, out),
                Some((_, Waiting::Then(then))) => self.settle(owner, then, Ok(()), now, out),
                None => break,
            }
        }
        self.arm_groups(owner);
    }

    fn arm_groups(&mut self, owner: u32) {
        let due = self.groups.shards.get(&owner).filter(|shard| shard.is_loaded()).and_then(|shard| {
            let oldest = shard.until_committed.oldest().map(|(deadline, _)| *deadline);
            shard.coordinator.next_deadline().into_iter().chain(oldest).min()
        });
        match due {
            Some(at) => self.timers.arm(Timer::Groups(owner), at),
            None => self.timers.cancel(&Timer::Groups(owner)),
        }
    }

    /// Something of a coordinator is due.
    pub(super) fn on_groups_deadline(&mut self, owner: u32, now: Now, out: &mut Outbox) {
        loop {
            let Self { groups, config, rng, .. } = self;
            let decided = groups.with(owner, config, rng, now, out, GroupCoordinator::on_deadline);
            let Some(decided) = decided.flatten() else { break };
            self.conclude(owner, decided, None, now, out);
        }
        // Who has waited for too long is told so. What was decided stays, and may be committed yet.
        while let Some(shard) = self.groups.shards.get_mut(&owner)
            && shard.until_committed.oldest().is_some_and(|(deadline, _)| *deadline <= now.monotonic)
        {
            let code = ErrorCode::CoordinatorNotAvailable;
            match shard.until_committed.take_oldest() {
                Some((_, Waiting::Answer(part))) => {
                    self.refuse_part(part, code, out);
                }
                // It stands in the log, and will be committed or be another coordinator's not to know.
                Some((_, Waiting::Then(Then::Created { .. }))) => {}
                Some((_, Waiting::Then(then))) => self.settle(owner, then, Err(code), now, out),
                None => break,
            }
        }
        self.arm_groups(owner);
    }

    /// Offsets that nobody needs any more are forgotten.
    pub(super) fn expire_offsets(&mut self, now: Now, out: &mut Outbox) {
        let retention_ms = self.config.offsets_retention_ms;
        self.write_everywhere(|coordinator| coordinator.expire(retention_ms, now.wall_ms), now, out);
    }

    /// A topic is gone, and what was committed of it.
    pub(super) fn forget_offsets_of(&mut self, topic: &str, now: Now, out: &mut Outbox) {
        self.write_everywhere(|coordinator| coordinator.forget_topic(topic), now, out);
    }

    fn write_everywhere(
        &mut self,
        decide: impl Fn(&GroupCoordinator) -> Vec<GroupRecord>,
        now: Now,
        out: &mut Outbox,
    ) {
        let is_there = |(_, shard): &(&u32, &Shard)| shard.is_loaded();
        let decided = self.groups.shards.iter().filter(is_there);
        let decided: Vec<(u32, Vec<GroupRecord>)> =
            decided.map(|(owner, shard)| (*owner, decide(&shard.coordinator))).collect();
        for (owner, records) in decided {
            // Nothing holds these together, and all of them may be more than fits into a batch.
            for some in records.chunks(TOMBSTONES_IN_BATCH_MAX) {
                let decided = Decided { records: some.to_vec(), then: Then::Nothing };
                self.conclude(owner, decided, None, now, out);
            }
        }
    }

    // ---- answers ----

    fn complete_part(&mut self, part: AnswerPart, out: &mut Outbox) {
        let Some(answer) = self.groups.answers.get_mut(&part.answer) else { return };
        answer.parts_left -= 1;
        if answer.parts_left == 0
            && let Some(Assembling { reply_to, body, .. }) = self.groups.answers.remove(&part.answer)
        {
            reply_to.respond(body, out);
        }
    }

    fn refuse_part(&mut self, part: AnswerPart, code: ErrorCode, out: &mut Outbox) {
        if let Some(answer) = self.groups.answers.get_mut(&part.answer) {
            refuse(&mut answer.body, part.index, code, answer.reply_to.version);
        }
        self.complete_part(part, out);
    }

    // ---- requests of members ----

    pub(super) fn on_join_group(
        &mut self,
        reply_to: ReplyTo,
        request: &JoinGroupRequest,
        client: &Client,
        now: Now,
        out: &mut Outbox,
    ) {
        let found = self.coordinator_of_named(&request.group_id);
        let owner = match found {
            Ok(owner) => owner,
            Err(code) => {
                let response = JoinGroupResponse {
                    error_code: code.as_i16(),
                    protocol_name: (reply_to.version < 7).then(Str::new),
                    member_id: request.member_id.clone(),
                    ..JoinGroupResponse::default()
                };
                return reply_to.respond(AnyResponse::JoinGroup(response), out);
            }
        };
        let Self { groups, config, rng, .. } = self;
        let decided = groups.with(owner, config, rng, now, out, |coordinator, around| {
            coordinator.join(request, reply_to, client, around)
        });
        if let Some(decided) = decided {
            self.conclude(owner, decided, None, now, out);
        }
    }

    pub(super) fn on_sync_group(
        &mut self,
        reply_to: ReplyTo,
        request: &SyncGroupRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let found = self.coordinator_of_named(&request.group_id);
        // A member whose coordinator has not read the group's assignments yet is to join again.
        let owner = match found {
            Ok(owner) => owner,
            Err(code) => {
                let code = if code == ErrorCode::CoordinatorLoadInProgress {
                    ErrorCode::RebalanceInProgress
                } else {
                    code
                };
                let response = SyncGroupResponse { error_code: code.as_i16(), ..Default::default() };
                return reply_to.respond(AnyResponse::SyncGroup(response), out);
            }
        };
        let Self { groups, config, rng, .. } = self;
        let decided = groups.with(owner, config, rng, now, out, |coordinator, around| {
            coordinator.sync(request, reply_to, around)
        });
        if let Some(decided) = decided {
            self.conclude(owner, decided, None, now, out);
        }
    }

    pub(super) fn on_heartbeat(
        &mut self,
        reply_to: &ReplyTo,
        request: &HeartbeatRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let found = self.coordinator_of_named(&request.group_id);
        let outcome = match found {
            // It is read, and whoever sent it is to go on.
            Err(ErrorCode::CoordinatorLoadInProgress) => Ok(()),
            Err(code) => Err(code),
            Ok(owner) => {
                let Self { groups, config, rng, .. } = self;
                let outcome = groups.with(owner, config, rng, now, out, |coordinator, around| {
                    coordinator.heartbeat(request, around)
                });
                self.arm_groups(owner);
                outcome.expect("it is there")
            }
        };
        let error_code = outcome.err().map_or(0, ErrorCode::as_i16);
        let response = HeartbeatResponse { error_code, ..HeartbeatResponse::default() };
        reply_to.respond(AnyResponse::Heartbeat(response), out);
    }

    pub(super) fn on_leave_group(
        &mut self,
        reply_to: ReplyTo,
        request: LeaveGroupRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let found = self.coordinator_of_named(&request.group_id);
        let is_alone = reply_to.version < LEAVES_TOGETHER_FROM;
        let leaving = if is_alone {
            let member_id = request.member_id.clone();
            alloc::vec![leave_group_request::MemberIdentity { member_id, ..Default::default() }]
        } else {
            request.members
        };
        let mut response = LeaveGroupResponse::default();
        let owner = match found {
            Ok(owner) => owner,
            Err(code) => {
                response.error_code = code.as_i16();
                return reply_to.respond(AnyResponse::LeaveGroup(response), out);
            }
        };
        let Self { groups, config, rng, .. } = self;
        let left = groups.with(owner, config, rng, now, out, |coordinator, around| {
            coordinator.leave(&request.group_id, &leaving, around)
        });
        let (answers, decided) = left.expect("it is there");
        let unknown = |member: leave_group_request::MemberIdentity| {
            let error_code = ErrorCode::UnknownMemberId.as_i16();
            sordini_protocol::messages::leave_group_response::MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code,
                ..Default::default()
            }
        };
        response.members = answers.unwrap_or_else(|| leaving.into_iter().map(unknown).collect());
        if is_alone {
            response.error_code = response.members.first().map_or(0, |member| member.error_code);
            response.members.clear();
        }
        let answer = self.assemble(reply_to, AnyResponse::LeaveGroup(response), 1);
        self.conclude(owner, decided, Some(AnswerPart { answer, index: 0 }), now, out);
    }

    // ---- requests about offsets ----

    pub(super) fn on_offset_commit(
        &mut self,
        reply_to: ReplyTo,
        request: &OffsetCommitRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let version = reply_to.version;
        let known: Vec<Option<(Str, Uuid)>> = request
            .topics
            .iter()
            .map(|topic| {
                let found = if version >= TOPIC_IDS_FROM {
                    self.image.topic(topic.topic_id)
                } else {
                    self.image.topic_by_name(&topic.name)
                };
                found.map(|topic| (topic.name.clone(), topic.id))
            })
            .collect();
        let mut response = OffsetCommitResponse::default();
        let owner = match self.coordinator_of(&request.group_id) {
            Ok(owner) => owner,
            Err(code) => {
                let mut body = AnyResponse::OffsetCommit(all_of(request));
                refuse(&mut body, 0, code, version);
                return reply_to.respond(body, out);
            }
        };
        let Self { groups, config, rng, image, .. } = self;
        let exists = |topic, partition| image.partition(TopicIdPartition { topic, partition }).is_some();
        let records = groups.with(owner, config, rng, now, out, |coordinator, around| {
            coordinator.commit(request, &known, exists, version, &mut response, around)
        });
        let body = AnyResponse::OffsetCommit(response);
        self.answer_when_committed(owner, records.unwrap_or_default(), reply_to, body, now, out);
    }

    pub(super) fn on_offset_fetch(
        &mut self,
        reply_to: ReplyTo,
        request: OffsetFetchRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let version = reply_to.version;
        let mut seen = BTreeSet::new();
        let mut wanted: Vec<(Str, Option<Vec<OffsetFetchRequestTopics>>)> =
            if version >= FETCHES_OF_GROUPS_FROM {
                request.groups.into_iter().map(|group| (group.group_id, group.topics)).collect()
            } else {
                let topics = request.topics.map(|topics| {
                    let renamed = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
                        name: topic.name,
                        partition_indexes: topic.partition_indexes,
                        ..OffsetFetchRequestTopics::default()
                    });
                    renamed.collect()
                });
                alloc::vec![(request.group_id, topics)]
            };
        // An answer is not to outgrow its question without bound: whoever names a group twice is told of it once.
        wanted.retain(|(group, _)| seen.insert(group.clone()));
        let found: Vec<_> = wanted.iter().map(|(group, _)| self.coordinator_of(group)).collect();
        let fetched = wanted.iter().zip(&found).map(|((group, topics), found)| match found {
            Ok(owner) => self.fetched_offsets(*owner, group, topics.as_deref(), version),
            Err(code) => refused_fetch(group, topics.as_deref(), *code, version),
        });
        let fetched: Vec<OffsetFetchResponseGroup> = fetched.collect();
        let body = if version >= FETCHES_OF_GROUPS_FROM {
            OffsetFetchResponse { groups: fetched, ..OffsetFetchResponse::default() }
        } else {
            fetched.into_iter().next().map(of_one_group).unwrap_or_default()
        };
        self.answer_parts(found, reply_to, AnyResponse::OffsetFetch(body), now, out);
    }

    /// Answers about several groups, each when what was known of it is committed.
    fn answer_parts(
        &mut self,
        found: Vec<Result<u32, ErrorCode>>,
        reply_to: ReplyTo,
        body: AnyResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        let here: Vec<(usize, u32)> =
            found.into_iter().enumerate().filter_map(|(index, owner)| Some((index, owner.ok()?))).collect();
        if here.is_empty() {
            return reply_to.respond(body, out);
        }
        let answer = self.assemble(reply_to, body, here.len());
        for (index, owner) in here {
            self.conclude(owner, Decided::NOTHING, Some(AnswerPart { answer, index }), now, out);
        }
    }

    fn fetched_offsets(
        &self,
        owner: u32,
        group: &Str,
        wanted: Option<&[OffsetFetchRequestTopics]>,
        version: i16,
    ) -> OffsetFetchResponseGroup {
        let coordinator = &self.groups.shards[&owner].coordinator;
        let committed = coordinator.committed(group);
        let mut response = OffsetFetchResponseGroup { group_id: group.clone(), ..Default::default() };
        let Some(wanted) = wanted else {
            for ((name, index), offset) in committed.into_iter().flatten() {
                let topic_id = self.image.topic_by_name(name).map(|topic| topic.id);
                if version >= TOPIC_IDS_FROM && topic_id.is_none() {
                    continue;
                }
                if response.topics.last().is_none_or(|topic| topic.name != *name) {
                    response.topics.push(OffsetFetchResponseTopics {
                        name: name.clone(),
                        topic_id: topic_id.unwrap_or_default(),
                        ..OffsetFetchResponseTopics::default()
                    });
                }
                let topic = response.topics.last_mut().expect("one was just put there");
                topic.partitions.push(OffsetFetchResponsePartitions {
                    partition_index: *index,
                    committed_offset: offset.offset,
                    committed_leader_epoch: offset.leader_epoch,
                    metadata: Some(offset.metadata.clone()),
                    ..OffsetFetchResponsePartitions::default()
                });
            }
            return response;
        };
        let mut seen = BTreeSet::new();
        for topic in wanted {
            let name = if version >= TOPIC_IDS_FROM {
                self.image.topic(topic.topic_id).map(|known| known.name.clone())
            } else {
                Some(topic.name.clone())
            };
            let mut is_first = |index: &&i32| seen.insert((topic.topic_id, &topic.name, **index));
            let asked: Vec<&i32> = topic.partition_indexes.iter().filter(&mut is_first).collect();
            let partitions = asked.into_iter().map(|index| {
                let Some(name) = &name else {
                    return nothing_committed(*index, ErrorCode::UnknownTopicId);
                };
                // What was committed of an earlier topic of that name is nothing to this one.
                let current = self.image.topic_by_name(name).map(|topic| topic.id);
                let is_of_it = |offset: &&CommittedOffset| {
                    offset.topic_id.is_zero() || current.is_none_or(|current| current == offset.topic_id)
                };
                match committed.and_then(|it| it.get(&(name.clone(), *index))).filter(is_of_it) {
                    None => nothing_committed(*index, ErrorCode::None),
                    Some(offset) => OffsetFetchResponsePartitions {
                        partition_index: *index,
                        committed_offset: offset.offset,
                        committed_leader_epoch: offset.leader_epoch,
                        metadata: Some(offset.metadata.clone()),
                        ..OffsetFetchResponsePartitions::default()
                    },
                }
            });
            response.topics.push(OffsetFetchResponseTopics {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: partitions.collect(),
                ..OffsetFetchResponseTopics::default()
            });
        }
        response
    }

    pub(super) fn on_offset_delete(
        &mut self,
        reply_to: ReplyTo,
        request: &OffsetDeleteRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let mut response = OffsetDeleteResponse::default();
        let found = self.coordinator_of_named(&request.group_id);
        let owner = match found {
            Ok(owner) => owner,
            Err(code) => {
                response.error_code = code.as_i16();
                return reply_to.respond(AnyResponse::OffsetDelete(response), out);
            }
        };
        let exists = |name: &str, index: i32| {
            self.image.topic_by_name(name).is_some_and(|topic| topic.partitions.contains_key(&index))
        };
        let coordinator = &self.groups.shards[&owner].coordinator;
        let records = coordinator.delete_offsets(request, exists, &mut response);
        self.answer_when_committed(owner, records, reply_to, AnyResponse::OffsetDelete(response), now, out);
    }

    // ---- requests of tools ----

    pub(super) fn on_list_groups(
        &mut self,
        reply_to: ReplyTo,
        request: &ListGroupsRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let mut response = ListGroupsResponse::default();
        if self.groups.shards.values().any(Shard::is_loading) {
            response.error_code = ErrorCode::CoordinatorLoadInProgress.as_i16();
            return reply_to.respond(AnyResponse::ListGroups(response), out);
        }
        let is_in = |filter: &[Str], value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let here: Vec<_> = self.groups.shards.iter().filter(|(_, shard)| shard.is_loaded()).collect();
        let found = here.iter().map(|(owner, _)| Ok(**owner)).collect();
        let listed = here.iter().flat_map(|(_, shard)| shard.coordinator.list());
        response.groups = listed
            .filter(|group| is_in(&request.states_filter, &group.group_state))
            .filter(|group| is_in(&request.types_filter, &group.group_type))
            .collect();
        self.answer_parts(found, reply_to, AnyResponse::ListGroups(response), now, out);
    }

    pub(super) fn on_describe_groups(
        &mut self,
        reply_to: ReplyTo,
        request: &DescribeGroupsRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let version = reply_to.version;
        let with_operations = version >= 3 && request.include_authorized_operations;
        let mut seen = BTreeSet::new();
        let wanted: Vec<&Str> = request.groups.iter().filter(|group| seen.insert(*group)).collect();
        let found: Vec<_> = wanted.iter().map(|group| self.coordinator_of_named(group)).collect();
        let described = wanted.into_iter().zip(&found).map(|(group, found)| {
            let described = match found {
                Ok(owner) => self.groups.shards[owner].coordinator.describe(group, version),
                Err(code) => describe_groups_response::DescribedGroup {
                    group_id: group.clone(),
                    error_code: code.as_i16(),
                    ..Default::default()
                },
            };
            let is_there = described.error_code == 0 && with_operations;
            let authorized_operations = if is_there { GROUP_OPERATIONS } else { i32::MIN };
            describe_groups_response::DescribedGroup { authorized_operations, ..described }
        });
        let response =
            DescribeGroupsResponse { groups: described.collect(), ..DescribeGroupsResponse::default() };
        self.answer_parts(found, reply_to, AnyResponse::DescribeGroups(response), now, out);
    }

    pub(super) fn on_delete_groups(
        &mut self,
        reply_to: ReplyTo,
        request: &DeleteGroupsRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let mut decided = Vec::new();
        let mut results = Vec::new();
        let mut seen = BTreeSet::new();
        for group in request.groups_names.iter().filter(|group| seen.insert(*group)) {
            let found = self.coordinator_of_named(group);
            let records = found.and_then(|owner| {
                let records = self.groups.shards[&owner].coordinator.delete(group)?;
                Ok((owner, records))
            });
            results.push(delete_groups_response::DeletableGroupResult {
                group_id: group.clone(),
                error_code: records.as_ref().err().map_or(0, |code| code.as_i16()),
                ..Default::default()
            });
            decided.extend(records.ok().map(|(owner, records)| (results.len() - 1, owner, records)));
        }
        let response = DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() };
        let body = AnyResponse::DeleteGroups(response);
        if decided.is_empty() {
            return reply_to.respond(body, out);
        }
        let answer = self.assemble(reply_to, body, decided.len());
        for (index, owner, records) in decided {
            let decided = Decided { records, then: Then::Nothing };
            self.conclude(owner, decided, Some(AnswerPart { answer, index }), now, out);
        }
    }
}

/// What Java's `String.hashCode` makes of a text: clients and brokers agree by it where a group is.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Has a coordinator know what a batch says; None if that is not to be understood. What was committed in a transaction, by a
/// coordinator of Apache Kafka, is so when its marker says so.
fn load_batch(shard: &mut Shard, batch: &Batch) -> Option<()> {
    let header = *batch.header();
    for record in batch.records(DECOMPRESSED_BYTES_MAX).ok()? {
        let record = record.ok()?;
        if header.is_control() {
            let ended = shard.in_transactions.remove(&header.producer_id).unwrap_or_default();
            if ControlType::of_key(&record.key?) == Ok(Some(ControlType::Commit)) {
                ended.into_iter().for_each(|record| shard.coordinator.load(record));
            }
            continue;
        }
        let Some(known) = GroupRecord::decode(record.key?, record.value).ok()? else { continue };
        // Records are slices of all that was read at a time.
        let known = known.detached();
        if header.is_transactional() {
            shard.in_transactions.entry(header.producer_id).or_default().push(known);
        } else {
            shard.coordinator.load(known);
        }
    }
    Some(())
}

/// The answer to a commit, before it is known what becomes of it.
fn all_of(request: &OffsetCommitRequest) -> OffsetCommitResponse {
    use sordini_protocol::messages::offset_commit_response::{
        OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| OffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            ..OffsetCommitResponsePartition::default()
        });
        OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
            ..OffsetCommitResponseTopic::default()
        }
    });
    OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
}

const fn nothing_committed(partition_index: i32, code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::new()),
        error_code: code.as_i16(),
        unknown_tagged_fields: sordini_protocol::wire::TaggedFields::new(),
    }
}

/// The refusal to say what a group has committed. In version 1 there is a place for it with each partition alone.
fn refused_fetch(
    group: &Str,
    wanted: Option<&[OffsetFetchRequestTopics]>,
    code: ErrorCode,
    version: i16,
) -> OffsetFetchResponseGroup {
    let wanted = wanted.filter(|_| version < 2);
    let topics = wanted.unwrap_or_default().iter().map(|topic| OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(|index| nothing_committed(*index, code)).collect(),
        ..OffsetFetchResponseTopics::default()
    });
    OffsetFetchResponseGroup {
        group_id: group.clone(),
        error_code: code.as_i16(),
        topics: topics.collect(),
        ..OffsetFetchResponseGroup::default()
    }
}

/// The answer in the form of before there were several groups.
fn of_one_group(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| OffsetFetchResponsePartition {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
            ..OffsetFetchResponsePartition::default()
        });
        OffsetFetchResponseTopic {
            name: topic.name,
            partitions: partitions.collect(),
            ..OffsetFetchResponseTopic::default()
        }
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}

/// Puts a refusal into one part of an answer.
fn refuse(body: &mut AnyResponse, index: usize, code: ErrorCode, version: i16) {
    let error_code = code.as_i16();
    #[expect(clippy::wildcard_enum_match_arm, reason = "these are the answers that wait for groups")]
    match body {
        AnyResponse::OffsetCommit(response) => {
            for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                if partition.error_code == 0 {
                    partition.error_code = error_code;
                }
            }
        }
        AnyResponse::OffsetFetch(response) if version < 2 => {
            for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                *partition = OffsetFetchResponsePartition {
                    partition_index: partition.partition_index,
                    committed_offset: -1,
                    committed_leader_epoch: -1,
                    metadata: Some(Str::new()),
                    error_code,
                    ..OffsetFetchResponsePartition::default()
                };
            }
        }
        AnyResponse::OffsetFetch(response) if version < FETCHES_OF_GROUPS_FROM => {
            response.error_code = error_code;
            response.topics.clear();
        }
        AnyResponse::OffsetFetch(response) => {
            let group = &mut response.groups[index];
            group.error_code = error_code;
            group.topics.clear();
        }
        AnyResponse::OffsetDelete(response) => {
            *response = OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() };
        }
        AnyResponse::DescribeGroups(response) => {
            let described = &mut response.groups[index];
            *described = describe_groups_response::DescribedGroup {
                group_id: described.group_id.clone(),
                error_code,
                ..Default::default()
            };
        }
        AnyResponse::ListGroups(response) => {
            *response = ListGroupsResponse { error_code, ..ListGroupsResponse::default() };
        }
        AnyResponse::DeleteGroups(response) => response.results[index].error_code = error_code,
        AnyResponse::LeaveGroup(response) => {
            *response = LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
        }
        other => unreachable!("{:?} does not wait for groups", other.api_key()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: i64 = 7;

    fn offset(value: i64) -> GroupRecord {
        let committed = CommittedOffset {
            offset: value,
            leader_epoch: -1,
            metadata: Str::new(),
            commit_timestamp: 0,
            expire_timestamp: None,
            topic_id: Uuid::ZERO,
        };
        let (group, topic) = (Str::from_static("billing"), Str::from_static("orders"));
        GroupRecord::Offset { group, topic, partition: 0, value: Some(committed) }
    }

    fn batch(params: BatchParams, key: &[u8], value: Option<&[u8]>) -> Batch {
        let mut builder = BatchBuilder::new(params);
        builder.append(0, Some(key), value, &[]);
        Batch::new(builder.build()).expect("it is a batch")
    }

    fn committing(value: i64, producer_id: Option<i64>) -> Batch {
        let record = offset(value).encode().expect("it is short");
        let params = match producer_id {
            None => BatchParams::default(),
            Some(producer_id) => BatchParams {
                producer_id,
                producer_epoch: 0,
                base_sequence: 0,
                transactional: true,
                ..BatchParams::default()
            },
        };
        batch(params, &record.key, record.value.as_deref())
    }

    fn marker(kind: ControlType, producer_id: i64) -> Batch {
        let params = BatchParams {
            producer_id,
            producer_epoch: 0,
            transactional: true,
            control: true,
            ..BatchParams::default()
        };
        batch(params, &kind.key(), Some(&[0, 0, 0, 0, 0, 0]))
    }

    #[test]
    fn what_was_committed_in_a_transaction_is_so_when_its_marker_says_so() {
        let mut shard = Shard::begin(LeaderEpoch(0), Offset(0));
        let mut read = |batch: Batch| {
            load_batch(&mut shard, &batch).expect("it is to be understood");
            let committed = shard.coordinator.committed("billing");
            committed.map(|committed| committed[&(Str::from_static("orders"), 0)].offset)
        };
        assert_eq!(read(committing(1, None)), Some(1));
        assert_eq!(read(committing(2, Some(PRODUCER))), Some(1), "the transaction has not ended");
        assert_eq!(read(marker(ControlType::Commit, PRODUCER + 1)), Some(1), "that was another's");
        assert_eq!(read(marker(ControlType::Commit, PRODUCER)), Some(2));
        assert_eq!(read(committing(3, Some(PRODUCER))), Some(2));
        assert_eq!(read(marker(ControlType::Abort, PRODUCER)), Some(2));
        assert_eq!(read(marker(ControlType::Commit, PRODUCER)), Some(2), "it is void");
    }

    #[test]
    fn what_is_not_to_be_understood_is_not_taken_for_nothing() {
        let mut shard = Shard::begin(LeaderEpoch(0), Offset(0));
        let broken = batch(BatchParams::default(), &[0, 1, 0], None);
        assert_eq!(load_batch(&mut shard, &broken), None);
        let unknown = batch(BatchParams::default(), &[0, 99], None);
        assert_eq!(load_batch(&mut shard, &unknown), Some(()), "a type of record that is nothing to it");
    }

    #[test]
    fn clients_and_brokers_agree_where_a_group_is() {
        for (name, hash) in [("", 0), ("a", 97), ("billing", -109_829_509), ("\u{1F600}", 1_772_899)] {
            assert_eq!(java_hash(name), hash, "{name}");
        }
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }
}
