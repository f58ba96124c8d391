//! The group coordinator: what is so of the groups of one partition of `__consumer_offsets`.
//!
//! A request comes to records and an answer. The records are appended, then applied, and the answer leaves when they are
//! committed, and all before them; so does one that comes to no records. What groups of the classic protocol hold beside that
//! (who waits, who is expected) is changed when it is decided, and gone when another broker coordinates.

pub(crate) mod classic;
pub(crate) mod offsets;
pub(crate) mod records;
mod subscription;

pub(crate) use classic::Client;
pub(crate) use records::GroupRecord;

use crate::config::BrokerConfig;
use crate::node::ReplyTo;
use crate::outbox::Outbox;
use crate::rng::Rng;
use crate::time::{Instant, Now, TimerTable};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use classic::{ClassicGroup, Joined, Member, State, answer_join, answer_sync, join_answer};
use offsets::{OfGroup, Offsets};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use sordini_protocol::messages::leave_group_request::MemberIdentity;
use sordini_protocol::messages::leave_group_response::MemberResponse;
use sordini_protocol::messages::list_groups_response::ListedGroup;
use sordini_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, SyncGroupRequest, offset_commit_response,
    offset_delete_response,
};
use sordini_protocol::wire::{Str, Uuid};

/// What a deadline of a group is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GroupTimer {
    /// A member, or who was to become one, is silent.
    Session(Str, Str),
    /// Members have had their time to join.
    Join(Str),
    /// Members have had their time to ask for their assignments.
    Sync(Str),
}

/// What is to be done when the records of a decision are committed, or when it is known that they never will be.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    Nothing,
    /// Tell somebody who came in the place of a static member that it is that. If not, who was there before is.
    Replaced {
        group: Str,
        reply_to: ReplyTo,
        response: JoinGroupResponse,
        former: Box<(Str, Member)>,
    },
    /// Give the members of a generation their assignments.
    Assign {
        group: Str,
        incarnation: u64,
        generation: i32,
        assignments: BTreeMap<Str, Bytes>,
    },
    /// A group that is new is one.
    Created {
        group: Str,
        incarnation: u64,
    },
}

/// What a coordinator has at hand while it decides.
pub(crate) struct Turn<'a> {
    pub(crate) config: &'a BrokerConfig,
    pub(crate) now: Now,
    pub(crate) rng: &'a mut Rng,
    pub(crate) timers: &'a mut TimerTable<GroupTimer>,
    pub(crate) out: &'a mut Outbox,
}

/// What was decided.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) records: Vec<GroupRecord>,
    pub(crate) then: Then,
}

impl Decided {
    pub(crate) const NOTHING: Self = Self { records: Vec::new(), then: Then::Nothing };

    const fn of(records: Vec<GroupRecord>) -> Self {
        Self { records, then: Then::Nothing }
    }
}

/// The groups of one partition of `__consumer_offsets`.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupCoordinator {
    /// Groups that members of the classic protocol have joined, by their names.
    classic: BTreeMap<Str, ClassicGroup>,
    /// What groups have committed, those that nobody has joined among them.
    offsets: Offsets,
    /// What members and groups have time for.
    timers: TimerTable<GroupTimer>,
    /// How many groups came to be here.
    incarnations: u64,
}

/// What the node gives a coordinator for a decision.
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a BrokerConfig,
    pub(crate) now: Now,
    pub(crate) rng: &'a mut Rng,
    pub(crate) out: &'a mut Outbox,
}

impl GroupCoordinator {
    fn parts<'a>(
        &'a mut self,
        around: &'a mut Surroundings<'_>,
    ) -> (&'a mut BTreeMap<Str, ClassicGroup>, Turn<'a>) {
        let turn = Turn {
            config: around.config,
            now: around.now,
            rng: around.rng,
            timers: &mut self.timers,
            out: around.out,
        };
        (&mut self.classic, turn)
    }

    // ---- what is so ----

    /// Applies a record of the log as it is read when the coordinator begins.
    pub(crate) fn load(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::Group { group, value: Some(value) } => {
                self.classic.insert(group.clone(), ClassicGroup::of_record(group, value));
            }
            GroupRecord::Group { group, value: None } => drop(self.classic.remove(&group)),
            GroupRecord::Offset { group, topic, partition, value } => {
                self.offsets.apply(group, topic, partition, value);
            }
        }
    }

    /// Applies a record that was just decided. What it says of a group of the classic protocol is so already.
    pub(crate) fn apply(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::Group { value: Some(_), .. } => {}
            GroupRecord::Group { group, value: None } => drop(self.classic.remove(&group)),
            GroupRecord::Offset { group, topic, partition, value } => {
                self.offsets.apply(group, topic, partition, value);
            }
        }
    }

    /// All is read: members are expected from here on.
    pub(crate) fn begin(&mut self, around: &mut Surroundings<'_>) {
        let (groups, mut turn) = self.parts(around);
        for group in groups.values() {
            group.expect_all(&mut turn);
        }
    }

    /// Another broker coordinates.
    pub(crate) fn unload(&mut self, code: ErrorCode, around: &mut Surroundings<'_>) {
        let (groups, mut turn) = self.parts(around);
        for group in groups.values_mut() {
            group.unload(code, &mut turn);
        }
    }

    fn is_known(&self, group: &str) -> bool {
        self.classic.contains_key(group) || self.offsets.of(group).is_some()
    }

    // ---- members ----

    pub(crate) fn join(
        &mut self,
        request: &JoinGroupRequest,
        reply_to: ReplyTo,
        client: &Client,
        around: &mut Surroundings<'_>,
    ) -> Decided {
        self.incarnations += 1;
        let incarnation = self.incarnations;
        let (groups, mut turn) = self.parts(around);
        let id = &request.group_id;
        let sessions = turn.config.group_min_session_timeout_ms..=turn.config.group_max_session_timeout_ms;
        if !sessions.contains(&request.session_timeout_ms) {
            answer_join(&reply_to, ErrorCode::InvalidSessionTimeout, request.member_id.clone(), &mut turn);
            return Decided::NOTHING;
        }
        let is_created = !groups.contains_key(id);
        if is_created {
            if !request.member_id.is_empty() {
                answer_join(&reply_to, ErrorCode::UnknownMemberId, request.member_id.clone(), &mut turn);
                return Decided::NOTHING;
            }
            groups.insert(id.detached(), ClassicGroup::new(id.detached(), incarnation, turn.now.wall_ms));
        }
        let group = groups.get_mut(id).expect("it is there");
        match group.join(request, reply_to.clone(), client, &mut turn) {
            Joined::Held(records, then) => {
                if is_created && records.is_empty() {
                    // A group that exists stands in the log.
                    return Decided {
                        records: alloc::vec![group.founding_record()],
                        then: Then::Created { group: id.detached(), incarnation },
                    };
                }
                Decided { records, then }
            }
            Joined::Refused(code, member_id) => {
                answer_join(&reply_to, code, member_id, &mut turn);
                if !is_created {
                    return Decided::NOTHING;
                }
                if group.is_empty() {
                    groups.remove(id);
                    return Decided::NOTHING;
                }
                // Whoever was given an id may come with it to another coordinator.
                Decided::of(alloc::vec![group.founding_record()])
            }
        }
    }

    pub(crate) fn sync(
        &mut self,
        request: &SyncGroupRequest,
        reply_to: ReplyTo,
        around: &mut Surroundings<'_>,
    ) -> Decided {
        let (groups, mut turn) = self.parts(around);
        let synced = match groups.get_mut(&request.group_id) {
            Some(group) => group.sync(request, reply_to, &mut turn),
            None => Err((ErrorCode::UnknownMemberId, reply_to)),
        };
        match synced {
            Ok((records, then)) => Decided { records, then },
            Err((code, reply_to)) => {
                answer_sync(&reply_to, Err(code), &mut turn);
                Decided::NOTHING
            }
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        around: &mut Surroundings<'_>,
    ) -> Result<(), ErrorCode> {
        let (groups, mut turn) = self.parts(around);
        let group = groups.get(&request.group_id).ok_or(ErrorCode::UnknownMemberId)?;
        group.heartbeat(request, &mut turn)
    }

    pub(crate) fn leave(
        &mut self,
        group: &Str,
        leaving: &[MemberIdentity],
        around: &mut Surroundings<'_>,
    ) -> (Option<Vec<MemberResponse>>, Decided) {
        let (groups, mut turn) = self.parts(around);
        let Some(group) = groups.get_mut(group) else { return (None, Decided::NOTHING) };
        let (answers, records) = group.leave(leaving, &mut turn);
        (Some(answers), Decided::of(records))
    }

    // ---- time ----

    /// When something is next due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.earliest()
    }

    /// Does one of the things that are due.
    pub(crate) fn on_deadline(&mut self, around: &mut Surroundings<'_>) -> Option<Decided> {
        let timer = self.timers.pop_due(around.now.monotonic)?;
        let (groups, mut turn) = self.parts(around);
        let records = match timer {
            GroupTimer::Session(group, member) => {
                groups.get_mut(&group).map(|group| group.on_session_deadline(&member, &mut turn))
            }
            GroupTimer::Join(group) => groups.get_mut(&group).map(|group| group.on_join_deadline(&mut turn)),
            GroupTimer::Sync(group) => groups.get_mut(&group).map(|group| group.on_sync_deadline(&mut turn)),
        };
        Some(Decided::of(records.unwrap_or_default()))
    }

    /// What was decided is committed, or never will be.
    pub(crate) fn settle(
        &mut self,
        then: Then,
        outcome: Result<(), ErrorCode>,
        around: &mut Surroundings<'_>,
    ) -> Decided {
        let (groups, mut turn) = self.parts(around);
        match then {
            Then::Nothing => Decided::NOTHING,
            Then::Replaced { group, reply_to, response, former } => {
                match outcome {
                    Ok(()) => reply_to.respond(join_answer(response, reply_to.version), turn.out),
                    Err(code) => {
                        let (former, member) = *former;
                        if let Some(group) = groups.get_mut(&group) {
                            group.restore(&response.member_id, former, member, &mut turn);
                        }
                        answer_join(&reply_to, code, response.member_id, &mut turn);
                    }
                }
                Decided::NOTHING
            }
            Then::Assign { group, incarnation, generation, assignments } => {
                let group = groups.get_mut(&group).filter(|group| group.incarnation == incarnation);
                let records =
                    group.map(|group| group.on_assigned(generation, assignments, outcome, &mut turn));
                Decided::of(records.unwrap_or_default())
            }
            Then::Created { group: id, incarnation } => {
                let is_it = groups.get(&id).is_some_and(|group| group.incarnation == incarnation);
                if let Err(code) = outcome
                    && is_it
                    && let Some(mut group) = groups.remove(&id)
                {
                    group.unload(code, &mut turn);
                }
                Decided::NOTHING
            }
        }
    }

    // ---- offsets ----

    /// Decides about a commit to topics that have these names and ids, as far as they are there. Fills in the answer.
    pub(crate) fn commit(
        &mut self,
        request: &OffsetCommitRequest,
        topics: &[Option<(Str, Uuid)>],
        exists: impl Fn(Uuid, i32) -> bool,
        version: i16,
        response: &mut OffsetCommitResponse,
        around: &mut Surroundings<'_>,
    ) -> Vec<GroupRecord> {
        let group = self.classic.get(&request.group_id);
        let member = &request.member_id;
        let generation = request.generation_id_or_member_epoch;
        let checked = match group {
            Some(group) => group.check_commit(generation, member, request.group_instance_id.as_ref()),
            // Whoever is in no group commits as it likes.
            None if generation < 0 => Ok(()),
            None if version >= 9 => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        };
        if let (Ok(()), Some(_)) = (checked, group) {
            let (groups, mut turn) = self.parts(around);
            groups[&request.group_id].on_committed_by(member, &mut turn);
        }
        let mut records = Vec::new();
        for (asked, known) in request.topics.iter().zip(topics) {
            let partitions = asked.partitions.iter().map(|partition| {
                let outcome = match (checked, known) {
                    (_, None) if version >= 10 => Err(ErrorCode::UnknownTopicId),
                    (_, None) => Err(ErrorCode::UnknownTopicOrPartition),
                    (_, Some((_, topic_id))) if !exists(*topic_id, partition.partition_index) => {
                        Err(ErrorCode::UnknownTopicOrPartition)
                    }
                    (Err(code), Some(_)) => Err(code),
                    (Ok(()), Some((name, topic_id))) => offsets::committed(
                        &request.group_id,
                        name,
                        *topic_id,
                        partition,
                        request.retention_time_ms,
                        around.config,
                        around.now.wall_ms,
                    ),
                };
                let code = outcome.map_or_else(ErrorCode::as_i16, |record| {
                    records.push(record);
                    0
                });
                offset_commit_response::OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code,
                    ..Default::default()
                }
            });
            response.topics.push(offset_commit_response::OffsetCommitResponseTopic {
                name: asked.name.clone(),
                topic_id: asked.topic_id,
                partitions: partitions.collect(),
                ..Default::default()
            });
        }
        records
    }

    /// What a group has committed, if there is one.
    pub(crate) fn committed(&self, group: &str) -> Option<&OfGroup> {
        self.offsets.of(group)
    }

    /// Decides which offsets of a group are forgotten. Fills in the answer.
    pub(crate) fn delete_offsets(
        &self,
        request: &OffsetDeleteRequest,
        exists: impl Fn(&str, i32) -> bool,
        response: &mut OffsetDeleteResponse,
    ) -> Vec<GroupRecord> {
        let group = self.classic.get(&request.group_id);
        if !self.is_known(&request.group_id) {
            response.error_code = ErrorCode::GroupIdNotFound.as_i16();
            return Vec::new();
        }
        let busy = group.filter(|group| group.state != State::Empty);
        if busy.is_some_and(|group| !group.is_of_consumers()) {
            response.error_code = ErrorCode::NonEmptyGroup.as_i16();
            return Vec::new();
        }
        let committed = self.offsets.of(&request.group_id);
        let mut places = Vec::new();
        for topic in &request.topics {
            // What consumers read whose metadata cannot be read may be all.
            let is_read = |group: &ClassicGroup| group.subscribed().is_none_or(|it| it.contains(&topic.name));
            let is_subscribed = busy.is_some_and(is_read);
            let partitions = topic.partitions.iter().map(|partition| {
                let place = (topic.name.clone(), partition.partition_index);
                let error_code = if !exists(&topic.name, partition.partition_index) {
                    ErrorCode::UnknownTopicOrPartition.as_i16()
                } else if is_subscribed {
                    ErrorCode::GroupSubscribedToTopic.as_i16()
                } else {
                    places.extend(committed.filter(|it| it.contains_key(&place)).map(|_| place));
                    0
                };
                offset_delete_response::OffsetDeleteResponsePartition {
                    partition_index: partition.partition_index,
                    error_code,
                }
            });
            response.topics.push(offset_delete_response::OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions: partitions.collect(),
            });
        }
        offsets::tombstones(&request.group_id, places.iter()).collect()
    }

    /// Decides about deleting a group with all that it has committed.
    pub(crate) fn delete(&self, group: &Str) -> Result<Vec<GroupRecord>, ErrorCode> {
        if !self.is_known(group) {
            return Err(ErrorCode::GroupIdNotFound);
        }
        if self.classic.get(group).is_some_and(|group| group.state != State::Empty) {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let places = self.offsets.of(group).into_iter().flat_map(BTreeMap::keys);
        let mut records: Vec<GroupRecord> = offsets::tombstones(group, places).collect();
        records.push(GroupRecord::Group { group: group.clone(), value: None });
        Ok(records)
    }

    /// What has expired: offsets, and groups of which nothing else is left.
    pub(crate) fn expire(&self, retention_ms: i64, wall_ms: i64) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        let none = OfGroup::new();
        let empty = self.classic.iter().filter(|(id, _)| self.offsets.of(id).is_none());
        let groups = empty.map(|(id, _)| (id, &none)).chain(self.offsets.groups());
        for (id, committed) in groups {
            let group = self.classic.get(id);
            let expired = offsets::expired(committed, group, retention_ms, wall_ms);
            let is_all = expired.len() == committed.len();
            records.extend(offsets::tombstones(id, expired.into_iter()));
            if is_all && group.is_none_or(ClassicGroup::is_empty) {
                records.push(GroupRecord::Group { group: id.clone(), value: None });
            }
        }
        records
    }

    /// What groups have committed of a topic that is gone.
    pub(crate) fn forget_topic(&self, topic: &str) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for (group, committed) in self.offsets.groups() {
            let places = committed.keys().filter(|(name, _)| **name == *topic);
            records.extend(offsets::tombstones(group, places));
        }
        records
    }

    // ---- what tools ask ----

    /// All groups, as they are listed.
    pub(crate) fn list(&self) -> Vec<ListedGroup> {
        let listed = |id: &Str, group: Option<&ClassicGroup>| ListedGroup {
            group_id: id.clone(),
            protocol_type: group.and_then(|group| group.protocol_type.clone()).unwrap_or_default(),
            group_state: Str::from_static(group.map_or(State::Empty, |group| group.state).name()),
            group_type: Str::from_static("classic"),
            ..ListedGroup::default()
        };
        let simple = self.offsets.groups().filter(|(id, _)| !self.classic.contains_key(*id));
        let groups = self.classic.iter().map(|(id, group)| listed(id, Some(group)));
        groups.chain(simple.map(|(id, _)| listed(id, None))).collect()
    }

    /// A group as it is described; before version 6 one that is not there is dead.
    pub(crate) fn describe(&self, id: &Str, version: i16) -> DescribedGroup {
        let described = DescribedGroup { group_id: id.clone(), ..DescribedGroup::default() };
        let Some(group) = self.classic.get(id) else {
            if self.offsets.of(id).is_some() {
                return DescribedGroup { group_state: Str::from_static(State::Empty.name()), ..described };
            }
            let is_told = version >= 6;
            return DescribedGroup {
                group_state: Str::from_static("Dead"),
                error_code: if is_told { ErrorCode::GroupIdNotFound.as_i16() } else { 0 },
                error_message: is_told.then(|| Str::from(alloc::format!("Group {id} not found."))),
                ..described
            };
        };
        let protocol = group.protocol.clone().filter(|_| group.state == State::Stable);
        let members = group.members.iter().map(|(id, member)| DescribedGroupMember {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            member_metadata: protocol
                .as_deref()
                .and_then(|protocol| member.metadata(protocol))
                .cloned()
                .unwrap_or_default(),
            member_assignment: protocol.as_ref().map(|_| member.assignment.clone()).unwrap_or_default(),
            ..DescribedGroupMember::default()
        });
        DescribedGroup {
            group_state: Str::from_static(group.state.name()),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.clone().unwrap_or_default(),
            members: members.collect(),
            ..described
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker::Origin;
    use crate::ids::{ConnectionId, RequestId};
    use crate::node::Output;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec;
    use sordini_protocol::messages::join_group_request::JoinGroupRequestProtocol;
    use sordini_protocol::messages::offset_commit_request::{
        OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    };
    use sordini_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
    use sordini_protocol::messages::{SyncGroupResponse, offset_delete_request};
    use sordini_protocol::request::AnyResponse;

    const GROUP: Str = Str::from_static("billing");
    const ORDERS: Str = Str::from_static("orders");
    const TOPIC_ID: Uuid = Uuid([7; 16]);

    fn config(entries: &[(&str, &str)]) -> BrokerConfig {
        let basic = [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://localhost:9092"),
            ("log.dirs", "data"),
            ("group.initial.rebalance.delay.ms", "3000"),
        ];
        let entries = basic.iter().chain(entries);
        let entries = entries.map(|(key, value)| ((*key).into(), (*value).into(), Origin::CommandLine));
        BrokerConfig::from_entries(entries).expect("the configuration is right").0
    }

    /// A coordinator, what stands in its log, and what members were told.
    struct Office {
        coordinator: GroupCoordinator,
        log: Vec<KeyValue>,
        config: BrokerConfig,
        rng: Rng,
        now: Now,
        out: Outbox,
        /// The number of the next request.
        next: u64,
        told: BTreeMap<u64, AnyResponse>,
    }

    use records::KeyValue;

    /// A member as its client knows it.
    #[derive(Clone, Debug, Default)]
    struct Person {
        instance_id: Option<Str>,
        member_id: Str,
        generation: i32,
        protocols: Vec<&'static str>,
        /// 20 s, if it says nothing else.
        rebalance_ms: Option<i32>,
    }

    impl Office {
        fn open(entries: &[(&str, &str)]) -> Self {
            Self {
                coordinator: GroupCoordinator::default(),
                log: Vec::new(),
                config: config(entries),
                rng: Rng::new(1),
                now: Now { monotonic: Instant(0), wall_ms: 1_000_000 },
                out: Outbox::new(),
                next: 0,
                told: BTreeMap::new(),
            }
        }

        fn act<T>(&mut self, act: impl FnOnce(&mut GroupCoordinator, &mut Surroundings<'_>) -> T) -> T {
            let mut around =
                Surroundings { config: &self.config, now: self.now, rng: &mut self.rng, out: &mut self.out };
            let result = act(&mut self.coordinator, &mut around);
            for output in self.out.drain() {
                let Output::Respond { request, body, .. } = output else { panic!("{output:?}") };
                assert!(self.told.insert(request.0, body).is_none(), "a request has one answer");
            }
            result
        }

        /// Writes what was decided, commits it, and has the rest done.
        fn conclude(&mut self, decided: Decided, outcome: Result<(), ErrorCode>) {
            let Decided { records, then } = decided;
            if outcome.is_ok() {
                for record in records {
                    self.log.push(record.encode().expect("texts are short"));
                    self.coordinator.apply(record);
                }
            }
            let more = self.act(|coordinator, around| coordinator.settle(then, outcome, around));
            if !more.records.is_empty() {
                self.conclude(more, Ok(()));
            }
        }

        fn reply_to(&mut self, version: i16) -> (u64, ReplyTo) {
            self.next += 1;
            let (connection, request) = (ConnectionId(self.next), RequestId(self.next));
            (self.next, ReplyTo { connection, request, version, forwarded: None })
        }

        fn join(&mut self, person: &Person) -> u64 {
            self.join_as(person, 9)
        }

        fn join_as(&mut self, person: &Person, version: i16) -> u64 {
            let (number, reply_to) = self.reply_to(version);
            let offered = person.protocols.iter().map(|name| JoinGroupRequestProtocol {
                name: Str::from_static(name),
                metadata: Bytes::copy_from_slice(name.as_bytes()),
                ..JoinGroupRequestProtocol::default()
            });
            let request = JoinGroupRequest {
                group_id: GROUP,
                session_timeout_ms: 10_000,
                rebalance_timeout_ms: person.rebalance_ms.unwrap_or(20_000),
                member_id: person.member_id.clone(),
                group_instance_id: person.instance_id.clone(),
                protocol_type: Str::from_static("consumer"),
                protocols: offered.collect(),
                ..JoinGroupRequest::default()
            };
            let client = Client { id: Str::from_static("client"), host: Str::from_static("/127.0.0.1") };
            let decided =
                self.act(|coordinator, around| coordinator.join(&request, reply_to, &client, around));
            self.conclude(decided, Ok(()));
            number
        }

        /// A new member comes with the id that it is given.
        fn enter(&mut self, protocols: &[&'static str]) -> (Person, u64) {
            let mut person = Person { protocols: protocols.to_vec(), ..Person::default() };
            let given = self.join(&person);
            let response = self.joined(given);
            assert_eq!(ErrorCode::from_i16(response.error_code), ErrorCode::MemberIdRequired);
            person.member_id = response.member_id;
            let number = self.join(&person);
            (person, number)
        }

        fn joined(&self, number: u64) -> JoinGroupResponse {
            match self.told.get(&number) {
                Some(AnyResponse::JoinGroup(response)) => response.clone(),
                other => panic!("{other:?} is no answer to a join"),
            }
        }

        fn sync(&mut self, person: &Person, assignments: &[(&Person, &str)]) -> (u64, Decided) {
            let (number, reply_to) = self.reply_to(5);
            let assignments = assignments.iter().map(|(person, text)| SyncGroupRequestAssignment {
                member_id: person.member_id.clone(),
                assignment: Bytes::copy_from_slice(text.as_bytes()),
                ..SyncGroupRequestAssignment::default()
            });
            let request = SyncGroupRequest {
                group_id: GROUP,
                generation_id: person.generation,
                member_id: person.member_id.clone(),
                group_instance_id: person.instance_id.clone(),
                assignments: assignments.collect(),
                ..SyncGroupRequest::default()
            };
            (number, self.act(|coordinator, around| coordinator.sync(&request, reply_to, around)))
        }

        fn synced(&self, number: u64) -> Result<String, ErrorCode> {
            match self.told.get(&number) {
                Some(AnyResponse::SyncGroup(SyncGroupResponse { error_code: 0, assignment, .. })) => {
                    Ok(String::from_utf8_lossy(assignment).into_owned())
                }
                Some(AnyResponse::SyncGroup(refused)) => Err(ErrorCode::from_i16(refused.error_code)),
                other => panic!("{other:?} is no answer to a sync"),
            }
        }

        fn heartbeat(&mut self, person: &Person) -> Result<(), ErrorCode> {
            let request = HeartbeatRequest {
                group_id: GROUP,
                generation_id: person.generation,
                member_id: person.member_id.clone(),
                group_instance_id: person.instance_id.clone(),
                ..HeartbeatRequest::default()
            };
            self.act(|coordinator, around| coordinator.heartbeat(&request, around))
        }

        fn leave(&mut self, person: &Person) -> i16 {
            let member = MemberIdentity {
                member_id: person.member_id.clone(),
                group_instance_id: person.instance_id.clone(),
                ..MemberIdentity::default()
            };
            let (answers, decided) =
                self.act(|coordinator, around| coordinator.leave(&GROUP, &[member], around));
            self.conclude(decided, Ok(()));
            answers.expect("there is a group")[0].error_code
        }

        fn commit(&mut self, person: Option<&Person>, offset: i64) -> ErrorCode {
            self.commit_for(person, offset, -1)
        }

        fn commit_for(&mut self, person: Option<&Person>, offset: i64, retention_ms: i64) -> ErrorCode {
            let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
            let topic = OffsetCommitRequestTopic {
                name: ORDERS,
                partitions: vec![partition],
                ..OffsetCommitRequestTopic::default()
            };
            let request = OffsetCommitRequest {
                group_id: GROUP,
                generation_id_or_member_epoch: person.map_or(-1, |person| person.generation),
                member_id: person.map(|person| person.member_id.clone()).unwrap_or_default(),
                group_instance_id: person.and_then(|person| person.instance_id.clone()),
                retention_time_ms: retention_ms,
                topics: vec![topic],
                ..OffsetCommitRequest::default()
            };
            let mut response = OffsetCommitResponse::default();
            let known = [Some((ORDERS, TOPIC_ID))];
            let records = self.act(|coordinator, around| {
                coordinator.commit(&request, &known, |_, _| true, 9, &mut response, around)
            });
            self.conclude(Decided::of(records), Ok(()));
            ErrorCode::from_i16(response.topics[0].partitions[0].error_code)
        }

        fn committed(&self) -> Option<i64> {
            Some(self.coordinator.committed(&GROUP)?.get(&(ORDERS, 0))?.offset)
        }

        fn wait(&mut self, millis: u64) {
            let until = Instant(self.now.monotonic.0 + millis * 1000);
            let mut done = 0;
            while let Some(at) = self.coordinator.next_deadline().filter(|at| *at <= until) {
                self.set(at);
                let decided = self.act(GroupCoordinator::on_deadline);
                self.conclude(decided.expect("it is due"), Ok(()));
                done += 1;
                assert!(done < 1_000, "time goes on");
            }
            self.set(until);
        }

        fn set(&mut self, at: Instant) {
            let passed = at.since(self.now.monotonic);
            self.now.wall_ms += i64::try_from(passed.as_millis()).expect("a short time");
            self.now.monotonic = self.now.monotonic.max(at);
        }

        fn state(&self) -> String {
            let described = self.coordinator.describe(&GROUP, 6);
            format!("{} {}", described.group_state, described.members.len())
        }

        /// Two members in a stable group, the first of which leads.
        fn stable(entries: &[(&str, &str)]) -> (Self, Person, Person) {
            let mut office = Self::open(entries);
            let (mut ada, first) = office.enter(&["range"]);
            let (mut bob, second) = office.enter(&["range"]);
            office.wait(6_000);
            ada.generation = office.joined(first).generation_id;
            bob.generation = office.joined(second).generation_id;
            assert_eq!((ada.generation, office.joined(first).leader), (1, ada.member_id.clone()));
            let (asked, decided) = office.sync(&bob, &[]);
            office.conclude(decided, Ok(()));
            let (_, decided) = office.sync(&ada, &[(&ada, "a"), (&bob, "b")]);
            office.conclude(decided, Ok(()));
            assert_eq!(office.synced(asked), Ok("b".to_string()));
            assert_eq!(office.state(), "Stable 2");
            (office, ada, bob)
        }

        /// A coordinator that knows what the log says and nothing else.
        fn replayed(&self) -> GroupCoordinator {
            let mut other = GroupCoordinator::default();
            for KeyValue { key, value } in self.log.iter().cloned() {
                let record = GroupRecord::decode(key, value).expect("it was just written");
                other.load(record.expect("it is of a known type"));
            }
            other
        }
    }

    #[test]
    fn the_first_generation_waits_for_others_as_long_as_some_come() {
        let mut office = Office::open(&[]);
        let (_, first) = office.enter(&["range"]);
        office.wait(2_000);
        let (_, second) = office.enter(&["range"]);
        office.wait(2_000);
        assert!(!office.told.contains_key(&first), "somebody came, and others may");
        office.wait(2_000);
        let (ada, bob) = (office.joined(first), office.joined(second));
        assert_eq!((ada.generation_id, ada.members.len(), bob.members.len()), (1, 2, 0));
        assert_eq!((ada.leader, ada.skip_assignment), (bob.leader, false));

        let mut office = Office::open(&[("group.initial.rebalance.delay.ms", "0")]);
        let (_, alone) = office.enter(&["range"]);
        assert_eq!(office.joined(alone).generation_id, 1, "without a delay nobody waits");
    }

    #[test]
    fn members_get_what_the_leader_says_when_it_is_written() {
        let (mut office, mut ada, bob) = Office::stable(&[]);
        let rejoined = office.join(&ada);
        assert_eq!(office.state(), "PreparingRebalance 2");
        assert_eq!(office.heartbeat(&bob), Err(ErrorCode::RebalanceInProgress));
        let again = office.join(&bob);
        ada.generation = office.joined(rejoined).generation_id;
        let bob = Person { generation: office.joined(again).generation_id, ..bob };
        assert_eq!((ada.generation, bob.generation), (2, 2));
        let (asked, decided) = office.sync(&bob, &[]);
        office.conclude(decided, Ok(()));
        // What cannot be written is nobody's assignment, and all begin again.
        let (leading, decided) = office.sync(&ada, &[(&ada, "x"), (&bob, "y")]);
        assert!(!office.told.contains_key(&asked) && !office.told.contains_key(&leading));
        office.conclude(decided, Err(ErrorCode::NotCoordinator));
        for number in [asked, leading] {
            assert_eq!(office.synced(number), Err(ErrorCode::NotCoordinator));
        }
        assert_eq!(office.state(), "PreparingRebalance 2");
    }

    #[test]
    fn whoever_is_silent_is_out_and_the_others_begin_again() {
        let (mut office, ada, bob) = Office::stable(&[]);
        office.wait(9_000);
        assert_eq!(office.heartbeat(&ada), Ok(()));
        office.wait(2_000);
        assert_eq!(office.heartbeat(&bob), Err(ErrorCode::UnknownMemberId));
        assert_eq!(office.heartbeat(&ada), Err(ErrorCode::RebalanceInProgress));
        let joined = office.join(&ada);
        assert_eq!((office.joined(joined).generation_id, office.joined(joined).members.len()), (2, 1));
        // Whoever does not ask for its assignment in time is out as well.
        office.wait(9_000);
        let ada = Person { generation: 2, ..ada };
        assert_eq!(office.heartbeat(&ada), Ok(()));
        office.wait(9_000);
        assert_eq!(office.heartbeat(&ada), Ok(()));
        office.wait(3_000);
        assert_eq!(office.state(), "Empty 0");
    }

    #[test]
    fn an_id_that_was_given_out_is_waited_for_as_long_as_a_session() {
        let (mut office, ada, bob) = Office::stable(&[]);
        let newcomer = Person { protocols: vec!["range"], ..Person::default() };
        office.join(&newcomer);
        let first = office.join(&ada);
        office.join(&bob);
        assert!(!office.told.contains_key(&first), "whoever has an id may come");
        office.wait(10_000);
        assert_eq!(office.joined(first).generation_id, 2);
    }

    #[test]
    fn an_id_that_was_given_out_is_nobodys_who_has_a_name() {
        let mut office = Office::open(&[]);
        let given = office.join(&Person { protocols: vec!["range"], ..Person::default() });
        let named = Person {
            member_id: office.joined(given).member_id,
            instance_id: Some(Str::from_static("till-1")),
            protocols: vec!["range"],
            ..Person::default()
        };
        let refused = office.join(&named);
        assert_eq!(office.joined(refused).error_code, ErrorCode::UnknownMemberId.as_i16());
    }

    #[test]
    fn members_agree_on_a_protocol_that_all_have() {
        let mut office = Office::open(&[]);
        let (_, first) = office.enter(&["sticky", "range"]);
        office.enter(&["range", "sticky", "other"]);
        office.enter(&["range", "sticky"]);
        let stranger = Person { protocols: vec!["other"], ..Person::default() };
        let refused = office.join(&stranger);
        assert_eq!(office.joined(refused).error_code, ErrorCode::InconsistentGroupProtocol.as_i16());
        office.wait(9_000);
        assert_eq!(office.joined(first).protocol_name.as_deref(), Some("range"), "two of three want it");
    }

    #[test]
    fn a_group_has_no_more_members_than_it_may() {
        let mut office = Office::open(&[("group.max.size", "2")]);
        office.enter(&["range"]);
        office.enter(&["range"]);
        let one_more = office.join(&Person { protocols: vec!["range"], ..Person::default() });
        assert_eq!(office.joined(one_more).error_code, ErrorCode::GroupMaxSizeReached.as_i16());
    }

    #[test]
    fn a_session_lies_within_the_bounds_of_the_broker() {
        for (key, value) in
            [("group.min.session.timeout.ms", "10001"), ("group.max.session.timeout.ms", "9999")]
        {
            let mut office = Office::open(&[(key, value)]);
            let refused = office.join(&Person { protocols: vec!["range"], ..Person::default() });
            assert_eq!(office.joined(refused).error_code, ErrorCode::InvalidSessionTimeout.as_i16(), "{key}");
        }
    }

    #[test]
    fn who_changes_nothing_is_told_the_generation_that_there_is() {
        let (mut office, ada, bob) = Office::stable(&[]);
        let told = office.join(&bob);
        assert_eq!((office.joined(told).generation_id, office.state()), (1, "Stable 2".to_string()));
        let other = Person { protocols: vec!["range", "sticky"], ..bob };
        office.join(&other);
        assert_eq!(office.state(), "PreparingRebalance 2", "it wants something else");
        let unknown = office.join(&Person { member_id: Str::from_static("nobody"), ..ada });
        assert_eq!(office.joined(unknown).error_code, ErrorCode::UnknownMemberId.as_i16());
    }

    #[test]
    fn a_static_member_comes_back_as_itself() {
        let mut office = Office::open(&[("group.initial.rebalance.delay.ms", "0")]);
        let till = |name| Person {
            instance_id: Some(Str::from_static(name)),
            protocols: vec!["range"],
            ..Person::default()
        };
        let mut ada = till("till-1");
        let first = office.join(&ada);
        (ada.member_id, ada.generation) = (office.joined(first).member_id, 1);
        let (_, decided) = office.sync(&ada, &[(&ada, "a")]);
        office.conclude(decided, Ok(()));
        let written = office.log.len();

        let second = office.join(&till("till-1"));
        let response = office.joined(second);
        assert_eq!(
            (response.generation_id, response.skip_assignment),
            (1, true),
            "it leads, and all is assigned"
        );
        assert!(office.log.len() > written, "who it is stands in the log");
        assert_ne!(response.member_id, ada.member_id);
        assert_eq!(office.heartbeat(&ada), Err(ErrorCode::FencedInstanceId));
        assert_eq!(office.commit(Some(&ada), 5), ErrorCode::FencedInstanceId);
        let ada = Person { member_id: response.member_id, ..ada };
        assert_eq!(office.heartbeat(&ada), Ok(()));
        assert_eq!(office.leave(&till("till-1")), 0, "an administrator names it");
        assert_eq!(office.leave(&till("till-9")), ErrorCode::UnknownMemberId.as_i16());
        assert_eq!(office.state(), "Empty 0");
    }

    #[test]
    fn what_cannot_be_written_of_a_static_member_is_undone() {
        let mut office = Office::open(&[("group.initial.rebalance.delay.ms", "0")]);
        let till = Person {
            instance_id: Some(Str::from_static("till-1")),
            protocols: vec!["range"],
            ..Person::default()
        };
        let first = office.join(&till);
        let ada = Person { member_id: office.joined(first).member_id, generation: 1, ..till.clone() };
        let (_, decided) = office.sync(&ada, &[(&ada, "a")]);
        office.conclude(decided, Ok(()));

        let (number, reply_to) = office.reply_to(9);
        let request = JoinGroupRequest {
            group_id: GROUP,
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            group_instance_id: till.instance_id,
            protocol_type: Str::from_static("consumer"),
            protocols: vec![JoinGroupRequestProtocol {
                name: Str::from_static("range"),
                metadata: Bytes::from_static(b"range"),
                ..JoinGroupRequestProtocol::default()
            }],
            ..JoinGroupRequest::default()
        };
        let client = Client { id: Str::new(), host: Str::new() };
        let decided = office.act(|coordinator, around| coordinator.join(&request, reply_to, &client, around));
        assert_eq!(decided.records.len(), 1);
        assert_eq!(office.heartbeat(&ada), Err(ErrorCode::FencedInstanceId));
        office.conclude(decided, Err(ErrorCode::CoordinatorNotAvailable));
        assert_eq!(office.joined(number).error_code, ErrorCode::CoordinatorNotAvailable.as_i16());
        assert_eq!((office.heartbeat(&ada), office.state()), (Ok(()), "Stable 1".to_string()));
    }

    #[test]
    fn whoever_asks_twice_is_told_twice() {
        let (mut office, ada, bob) = Office::stable(&[]);
        let asked = [office.join(&ada), office.join(&ada)];
        assert!(asked.iter().all(|number| !office.told.contains_key(number)));
        office.join(&bob);
        for number in asked {
            assert_eq!(
                office.joined(number).generation_id,
                2,
                "nothing else comes over its connection before"
            );
        }
        let bob = Person { generation: 2, ..bob };
        let asked: Vec<u64> = (0..18).map(|_| office.sync(&bob, &[]).0).collect();
        for number in &asked[..2] {
            assert_eq!(office.synced(*number), Err(ErrorCode::RebalanceInProgress), "these are too many");
        }
        let ada = Person { generation: 2, ..ada };
        let (_, decided) = office.sync(&ada, &[(&bob, "b")]);
        office.conclude(decided, Ok(()));
        assert!(asked[2..].iter().all(|number| office.synced(*number) == Ok("b".to_string())));
    }

    #[test]
    fn a_group_of_the_same_name_is_another() {
        let mut office = Office::open(&[("group.initial.rebalance.delay.ms", "0")]);
        let (ada, _) = office.enter(&["range"]);
        let ada = Person { generation: 1, ..ada };
        let (_, decided) = office.sync(&ada, &[(&ada, "x")]);
        assert_eq!(office.leave(&ada), 0);
        let gone = office.coordinator.delete(&GROUP).expect("it is empty");
        office.conclude(Decided::of(gone), Ok(()));
        let (_, joined) = office.enter(&["range"]);
        assert_eq!(office.joined(joined).generation_id, 1);
        office.conclude(decided, Ok(()));
        assert_eq!(
            office.state(),
            "CompletingRebalance 1",
            "what was said of the one before is nothing to it"
        );
    }

    #[test]
    fn static_members_that_do_not_come_are_waited_for_until_their_sessions_end() {
        let mut office = Office::open(&[("group.initial.rebalance.delay.ms", "0")]);
        let till = Person {
            instance_id: Some(Str::from_static("till-1")),
            protocols: vec!["range"],
            rebalance_ms: Some(0),
            ..Person::default()
        };
        let first = office.join(&till);
        let till = Person { member_id: office.joined(first).member_id, generation: 1, ..till };
        let (_, decided) = office.sync(&till, &[]);
        office.conclude(decided, Ok(()));
        let (bob, _) = office.enter(&["range"]);
        assert_eq!(office.leave(&bob), 0);
        office.wait(9_000);
        assert_eq!(office.state(), "PreparingRebalance 1");
        office.wait(2_000);
        assert_eq!(office.state(), "Empty 0");
    }

    #[test]
    fn offsets_are_committed_by_members_of_this_generation_or_by_anybody_if_there_are_none() {
        let mut office = Office::open(&[]);
        assert_eq!(office.commit(None, 3), ErrorCode::None);
        let late = Person { generation: 1, member_id: Str::from_static("late"), ..Person::default() };
        assert_eq!(office.commit(Some(&late), 4), ErrorCode::GroupIdNotFound);

        let (mut office, ada, bob) = Office::stable(&[]);
        assert_eq!(office.commit(None, 3), ErrorCode::UnknownMemberId);
        assert_eq!(office.commit(Some(&ada), 4), ErrorCode::None);
        let zombie = Person { generation: 0, ..ada.clone() };
        assert_eq!(office.commit(Some(&zombie), 5), ErrorCode::IllegalGeneration);
        office.join(&ada);
        assert_eq!(
            office.commit(Some(&bob), 6),
            ErrorCode::None,
            "before it joins again it commits what it read"
        );
        office.join(&bob);
        let bob = Person { generation: 2, ..bob };
        assert_eq!(office.commit(Some(&bob), 7), ErrorCode::RebalanceInProgress);
        assert_eq!(office.committed(), Some(6));
    }

    #[test]
    fn a_commit_is_a_sign_of_life() {
        let (mut office, ada, bob) = Office::stable(&[]);
        office.wait(9_000);
        assert_eq!((office.commit(Some(&ada), 4), office.heartbeat(&bob)), (ErrorCode::None, Ok(())));
        office.wait(9_000);
        assert_eq!(office.state(), "Stable 2");
    }

    #[test]
    fn long_metadata_is_refused_and_the_rest_is_committed() {
        let mut office = Office::open(&[("offset.metadata.max.bytes", "2")]);
        let partition = |index, text: &'static str| OffsetCommitRequestPartition {
            partition_index: index,
            committed_metadata: Some(Str::from_static(text)),
            ..OffsetCommitRequestPartition::default()
        };
        let partitions = vec![partition(0, "abc"), partition(1, "ab"), partition(2, "")];
        let topic = OffsetCommitRequestTopic { partitions, ..OffsetCommitRequestTopic::default() };
        let request = OffsetCommitRequest {
            group_id: GROUP,
            topics: vec![topic.clone(), topic],
            ..OffsetCommitRequest::default()
        };
        let mut response = OffsetCommitResponse::default();
        let known = [Some((ORDERS, TOPIC_ID)), None];
        let records = office.act(|coordinator, around| {
            coordinator.commit(&request, &known, |_, index| index < 2, 9, &mut response, around)
        });
        let codes: Vec<_> = response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| ErrorCode::from_i16(partition.error_code))
            .collect();
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let expected =
            [ErrorCode::OffsetMetadataTooLarge, ErrorCode::None, unknown, unknown, unknown, unknown];
        assert_eq!((codes, records.len()), (expected.to_vec(), 1));
    }

    #[test]
    fn groups_and_offsets_are_deleted_when_nobody_needs_them() {
        let (mut office, ada, bob) = Office::stable(&[]);
        assert_eq!(office.commit(Some(&ada), 4), ErrorCode::None);
        assert_eq!(office.coordinator.delete(&GROUP), Err(ErrorCode::NonEmptyGroup));
        assert_eq!(office.coordinator.delete(&ORDERS), Err(ErrorCode::GroupIdNotFound));
        let partitions = vec![offset_delete_request::OffsetDeleteRequestPartition::default()];
        let topics = vec![offset_delete_request::OffsetDeleteRequestTopic { name: ORDERS, partitions }];
        let request = OffsetDeleteRequest { group_id: GROUP, topics };
        let mut response = OffsetDeleteResponse::default();
        assert!(office.coordinator.delete_offsets(&request, |_, _| true, &mut response).is_empty());
        let code = ErrorCode::GroupSubscribedToTopic.as_i16();
        assert_eq!(response.topics[0].partitions[0].error_code, code, "what it reads cannot be known");

        assert_eq!((office.leave(&ada), office.leave(&bob)), (0, 0));
        let mut response = OffsetDeleteResponse::default();
        let records = office.coordinator.delete_offsets(&request, |_, _| true, &mut response);
        assert_eq!((records.len(), response.topics[0].partitions[0].error_code), (1, 0));
        let day_ms = 86_400_000;
        assert!(office.coordinator.expire(day_ms, office.now.wall_ms + day_ms - 1).is_empty());
        let records = office.coordinator.expire(day_ms, office.now.wall_ms + day_ms);
        assert_eq!(records.len(), 2, "the offset, and the group of which nothing else is left");
        office.conclude(Decided::of(records), Ok(()));
        assert_eq!(office.coordinator.list(), []);
        assert_eq!(office.replayed().list(), []);
    }

    #[test]
    fn offsets_go_with_their_topic() {
        let mut office = Office::open(&[]);
        office.commit(None, 3);
        assert!(office.coordinator.forget_topic("others").is_empty());
        let records = office.coordinator.forget_topic(&ORDERS);
        office.conclude(Decided::of(records), Ok(()));
        assert_eq!((office.committed(), office.replayed().list()), (None, Vec::new()));
    }

    #[test]
    fn another_broker_goes_on_with_what_stands_in_the_log() {
        let (mut office, ada, bob) = Office::stable(&[]);
        office.commit(Some(&ada), 4);
        let waiting = office.join(&ada);
        office.act(|coordinator, around| coordinator.unload(ErrorCode::NotCoordinator, around));
        assert_eq!(office.joined(waiting).error_code, ErrorCode::NotCoordinator.as_i16());

        office.coordinator = office.replayed();
        office.act(GroupCoordinator::begin);
        assert_eq!((office.state(), office.committed()), ("Stable 2".to_string(), Some(4)));
        assert_eq!((office.heartbeat(&ada), office.heartbeat(&bob)), (Ok(()), Ok(())));
        let (asked, decided) = office.sync(&bob, &[]);
        office.conclude(decided, Ok(()));
        assert_eq!(office.synced(asked), Ok("b".to_string()));
        office.coordinator = office.replayed();
        office.act(GroupCoordinator::begin);
        office.wait(9_999);
        assert_eq!(office.state(), "Stable 2", "they have as long as after a heartbeat");
        office.wait(1);
        assert_eq!(office.state(), "Empty 0");
    }

    #[test]
    fn what_the_leader_said_is_nothing_when_somebody_has_left_meanwhile() {
        let (mut office, mut ada, bob) = Office::stable(&[]);
        office.join(&ada);
        office.join(&bob);
        ada.generation = 2;
        let (leading, decided) = office.sync(&ada, &[(&ada, "x"), (&bob, "y")]);
        assert_eq!(office.leave(&bob), 0);
        assert_eq!(office.synced(leading), Err(ErrorCode::RebalanceInProgress));
        office.conclude(decided, Ok(()));
        assert_eq!(office.state(), "PreparingRebalance 1");
    }

    /// Members that do what they like: whatever comes of it, nobody is in two generations, nobody has what another has, and
    /// what the log says is what there is.
    #[test]
    fn members_that_do_what_they_like_share_what_there_is() {
        for seed in 0..200 {
            let mut office = Office::open(&[("group.initial.rebalance.delay.ms", "500")]);
            let mut rng = Rng::new(seed);
            let mut people = vec![Person { protocols: vec!["range"], ..Person::default() }; 4];
            for (person, name) in people.iter_mut().zip(["till-1", "till-2"]) {
                person.instance_id = (rng.below(2) == 0).then(|| Str::from_static(name));
                person.rebalance_ms = (rng.below(2) == 0).then_some(0);
            }
            let mut joins: Vec<Option<u64>> = vec![None; 4];
            let mut owned: BTreeMap<usize, (i32, String)> = BTreeMap::new();
            let mut newest = 0;
            for _ in 0..300 {
                let who = rng.index(4);
                match rng.below(10) {
                    0..=3 => joins[who] = Some(office.join(&people[who])),
                    4 | 5 => {
                        let everybody = people.clone();
                        let shares = ["0", "1", "2", "3"];
                        let assigned: Vec<_> = everybody.iter().zip(shares).collect();
                        let (number, decided) = office.sync(&people[who], &assigned);
                        office.conclude(decided, Ok(()));
                        if office.told.contains_key(&number)
                            && let Ok(share) = office.synced(number)
                        {
                            owned.insert(who, (people[who].generation, share));
                        }
                    }
                    6 => {
                        if office.heartbeat(&people[who]).is_err() {
                            owned.remove(&who);
                        }
                    }
                    7 => {
                        let retention_ms = if rng.below(3) == 0 { 5_000 } else { -1 };
                        let generation = i64::from(people[who].generation);
                        office.commit_for(Some(&people[who]), generation, retention_ms);
                    }
                    8 => {
                        office.wait(rng.below(8_000));
                    }
                    _ => {
                        if !people[who].member_id.is_empty()
                            && office.coordinator.classic.contains_key(&GROUP)
                        {
                            office.leave(&people[who]);
                        }
                        owned.remove(&who);
                        people[who].member_id = Str::new();
                    }
                }
                for (person, join) in people.iter_mut().zip(&joins) {
                    let told = join.and_then(|number| office.told.get(&number));
                    if let Some(AnyResponse::JoinGroup(response)) = told {
                        let is_refused = response.error_code != 0
                            && response.error_code != ErrorCode::MemberIdRequired.as_i16();
                        person.member_id = if is_refused { Str::new() } else { response.member_id.clone() };
                        person.generation = response.generation_id;
                    }
                }
                let generation = office.coordinator.classic.get(&GROUP).map_or(0, ClassicGroup::generation);
                assert!(generation >= newest || generation == 0, "seed {seed}: generations do not fall");
                newest = generation;
                // Of one generation nobody has what another has.
                for (who, (generation, share)) in &owned {
                    let same =
                        owned.iter().filter(|(_, (other, theirs))| other == generation && theirs == share);
                    assert_eq!(
                        same.count(),
                        1,
                        "seed {seed}: {who} shares {share} of generation {generation}"
                    );
                }
                let replayed = office.replayed();
                assert_eq!(
                    replayed.offsets.of(&GROUP),
                    office.coordinator.offsets.of(&GROUP),
                    "seed {seed}: what the log says of offsets is what there is"
                );
                let group = office.coordinator.classic.get(&GROUP);
                if let Some(group) = group.filter(|group| group.state == State::Stable) {
                    let written = &replayed.classic[&GROUP];
                    let of = |group: &ClassicGroup| -> Vec<(Str, Bytes)> {
                        group.members.iter().map(|(id, it)| (id.clone(), it.assignment.clone())).collect()
                    };
                    assert_eq!(
                        (written.generation(), of(written)),
                        (group.generation(), of(group)),
                        "seed {seed}"
                    );
                }
            }
        }
    }
}
