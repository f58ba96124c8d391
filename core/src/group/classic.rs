//! A group of the classic protocol: members join, one of them assigns, all get their assignments (KIP-62, KIP-345, KIP-394).
//!
//! | state | who is there | leaves it when |
//! |---|---|---|
//! | Empty | nobody | somebody joins |
//! | PreparingRebalance | members that are to join again, those that have wait | all have joined, or the time for it is over |
//! | CompletingRebalance | members of a generation that wait for assignments | the leader's are written, or somebody comes or goes |
//! | Stable | members with assignments | somebody comes, goes, or wants something else |
//!
//! What is written is a generation with its assignments, and that there is nobody; all else is gone with the coordinator, and
//! members join again.

use super::records::GroupRecord;
use super::{GroupTimer, Then, Turn};
use crate::node::ReplyTo;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::join_group_response::JoinGroupResponseMember;
use sordini_protocol::messages::leave_group_request::MemberIdentity;
use sordini_protocol::messages::leave_group_response::MemberResponse;
use sordini_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use sordini_protocol::records::GroupMetadataValue;
use sordini_protocol::records::group_metadata_value::MemberMetadata;
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::Str;

/// How long a member whose first JoinGroup waits may be silent: it cannot send heartbeats yet, and its connection is not
/// listened to while it waits. Kafka's constant.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// How much of a client's name stands in its member id, which is to fit wherever ids are written.
const NAME_IN_ID_LEN_MAX: usize = 1_000;

/// How long members with names of their own are waited for at least, before it is looked again whether one leads.
const REJOIN_WAIT_MIN_MS: i64 = 1_000;

/// From this version on a member joins with the id that it was given (KIP-394).
const KNOWN_MEMBER_ID_FROM: i16 = 4;

/// From this version on the leader may be told that there is nothing to assign (KIP-814).
const SKIPS_ASSIGNMENT_FROM: i16 = 9;

/// Where a group is in its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    PreparingRebalance { is_first: bool },
    CompletingRebalance,
    Stable,
}

impl State {
    /// In Kafka's words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance { .. } => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A member of a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The name that it keeps when it comes again under another id (KIP-345).
    pub(crate) instance_id: Option<Str>,
    /// What its client calls itself.
    pub(crate) client_id: Str,
    /// Where its client is.
    pub(crate) client_host: Str,
    /// How long it may be silent.
    session_timeout_ms: i32,
    /// How long it may take to join again.
    rebalance_timeout_ms: i32,
    /// By name, in the order in which the member prefers them.
    protocols: Vec<(Str, Bytes)>,
    /// What the leader gave it, empty before that.
    pub(crate) assignment: Bytes,
    /// It has not been told yet that it is one.
    is_new: bool,
    /// Its requests that are answered when all have joined: a client that asks again before it was answered gets each of them
    /// answered, or nothing more would come over its connection. Whoever waits, here or below, and is not new is not silent,
    /// whatever its timer says.
    awaits_join: Vec<ReplyTo>,
    /// Its requests that are answered with its assignment.
    awaits_sync: Vec<ReplyTo>,
}

impl Member {
    pub(crate) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| **name == *protocol).map(|(_, metadata)| metadata)
    }
}

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    /// Its name.
    id: Str,
    /// Tells it from one of the same name that was there before.
    pub(super) incarnation: u64,
    /// Where it is in its protocol.
    pub(crate) state: State,
    /// When it came into its state, by the wall clock, where that is known.
    pub(crate) since_ms: Option<i64>,
    /// What its members do together, "consumer" for most; none of a group that nobody has joined.
    pub(crate) protocol_type: Option<Str>,
    /// Raised whenever the members agree anew.
    generation: i32,
    /// Of the protocols that all members have the one that they agreed on.
    pub(crate) protocol: Option<Str>,
    /// The member that assigns.
    leader: Option<Str>,
    /// By their ids.
    pub(crate) members: BTreeMap<Str, Member>,
    /// Members by the names that they keep when they come again (KIP-345).
    static_members: BTreeMap<Str, Str>,
    /// Ids that were given out and have not joined yet.
    pending: BTreeSet<Str>,
    /// Members of this generation that have not asked for their assignments.
    unsynced: BTreeSet<Str>,
    /// Somebody came while the first generation was waited for.
    has_newcomer: bool,
    /// For how long that may go on.
    initial_ms_left: i64,
}

/// What became of a join.
pub(super) enum Joined {
    /// It is answered, or is when the others have joined. This is to be written.
    Held(Vec<GroupRecord>, Then),
    Refused(ErrorCode, Str),
}

impl ClassicGroup {
    /// A group that nobody has joined yet.
    pub(super) fn new(id: Str, incarnation: u64, wall_ms: i64) -> Self {
        Self {
            id,
            incarnation,
            state: State::Empty,
            since_ms: Some(wall_ms),
            protocol_type: None,
            generation: 0,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            has_newcomer: false,
            initial_ms_left: 0,
        }
    }

    /// The group that a record speaks of.
    pub(super) fn of_record(id: Str, value: GroupMetadataValue) -> Self {
        let mut group = Self::new(id, 0, 0);
        let protocol = value.protocol.clone().unwrap_or_default();
        for member in value.members {
            let loaded = Member {
                instance_id: member.group_instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout_ms: member.session_timeout,
                rebalance_timeout_ms: member.rebalance_timeout,
                protocols: alloc::vec![(protocol.clone(), member.subscription)],
                assignment: member.assignment,
                is_new: false,
                awaits_join: Vec::new(),
                awaits_sync: Vec::new(),
            };
            group.members.insert(member.member_id, loaded);
        }
        let named = group.members.iter().filter_map(|(id, it)| Some((it.instance_id.clone()?, id.clone())));
        group.static_members = named.collect();
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        group.since_ms = (value.current_state_timestamp >= 0).then_some(value.current_state_timestamp);
        group.protocol_type = (!value.protocol_type.is_empty()).then_some(value.protocol_type);
        group.generation = value.generation;
        group.protocol = value.protocol;
        group.leader = value.leader;
        group
    }

    /// What is written of a group that has just come to be.
    pub(super) fn founding_record(&self) -> GroupRecord {
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            current_state_timestamp: self.since_ms.unwrap_or(-1),
            ..GroupMetadataValue::default()
        };
        GroupRecord::Group { group: self.id.clone(), value: Some(value) }
    }

    /// What is written of the group.
    fn record(&self, assignments: Option<&BTreeMap<Str, Bytes>>) -> GroupRecord {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let members = self.members.iter().map(|(id, member)| MemberMetadata {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol).cloned().unwrap_or_default(),
            assignment: match assignments {
                Some(assignments) => assignments.get(id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            },
            ..MemberMetadata::default()
        });
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.since_ms.unwrap_or(-1),
            members: members.collect(),
            ..GroupMetadataValue::default()
        };
        GroupRecord::Group { group: self.id.clone(), value: Some(value) }
    }

    #[cfg(test)]
    pub(super) const fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty()
    }

    /// Whether its members subscribe to topics as consumers do.
    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some("consumer")
    }

    fn enter(&mut self, state: State, turn: &Turn<'_>) {
        self.state = state;
        self.since_ms = Some(turn.now.wall_ms);
    }

    // ---- who it is ----

    /// Whether a member is one, and has the name that it says it has.
    fn check_member(&self, member: &str, instance_id: Option<&Str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *member => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether a member of this generation may commit offsets now.
    pub(super) fn check_commit(
        &self,
        generation: i32,
        member: &str,
        instance_id: Option<&Str>,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation < 0 && member.is_empty() && instance_id.is_none() {
            // While there are members, nobody else commits.
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    fn awaiting_join(&self) -> usize {
        self.members.values().filter(|member| !member.awaits_join.is_empty()).count()
    }

    fn have_all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| !member.awaits_join.is_empty())
    }

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    fn has_room_for(&self, member: &str, most: usize) -> bool {
        match self.state {
            State::Empty => true,
            State::PreparingRebalance { .. } => {
                self.members.get(member).is_some_and(|member| !member.awaits_join.is_empty())
                    || self.awaiting_join() < most
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member) || self.members.len() < most
            }
        }
    }

    // ---- protocols ----

    /// Whether somebody who offers these could be one of the members.
    fn supports(&self, protocol_type: &str, offered: &[(Str, Bytes)]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !offered.is_empty();
        }
        let common = self.common_protocols();
        self.protocol_type.as_deref() == Some(protocol_type)
            && offered.iter().any(|(name, _)| common.contains(&**name))
    }

    /// The protocols that all members have.
    fn common_protocols(&self) -> BTreeSet<&str> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let own: BTreeSet<&str> = member.protocols.iter().map(|(name, _)| &**name).collect();
            for name in own {
                *counts.entry(name).or_default() += 1;
            }
        }
        counts.into_iter().filter(|(_, count)| *count == self.members.len()).map(|(name, _)| name).collect()
    }

    /// Every member votes for the first of its own that all have. Of those with most votes it is the first by name.
    fn elected_protocol(&self) -> Option<Str> {
        let common = self.common_protocols();
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common.contains(&**name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    // ---- joining ----

    /// Somebody wants to be a member, or a member says so again.
    pub(super) fn join(
        &mut self,
        request: &JoinGroupRequest,
        reply_to: ReplyTo,
        client: &Client,
        turn: &mut Turn<'_>,
    ) -> Joined {
        let version = reply_to.version;
        let offered: Vec<(Str, Bytes)> = request
            .protocols
            .iter()
            .map(|protocol| (protocol.name.detached(), Bytes::copy_from_slice(&protocol.metadata)))
            .collect();
        let most = turn.config.group_max_size as usize;
        if !self.has_room_for(&request.member_id, most) {
            answer_join(&reply_to, ErrorCode::GroupMaxSizeReached, Str::new(), turn);
            let was_member = self.members.contains_key(&request.member_id);
            self.forget_member(&request.member_id, turn);
            let records = if was_member { self.after_leaving(turn) } else { Vec::new() };
            return Joined::Held(records, Then::Nothing);
        }
        if !self.supports(&request.protocol_type, &offered) {
            return Joined::Refused(ErrorCode::InconsistentGroupProtocol, request.member_id.clone());
        }
        let rebalance_timeout_ms =
            if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
        let instance_id = request.group_instance_id.as_ref();
        let newcomer = Member {
            instance_id: instance_id.map(Str::detached),
            client_id: client.id.detached(),
            client_host: client.host.clone(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms,
            protocols: offered,
            assignment: Bytes::new(),
            is_new: true,
            awaits_join: Vec::new(),
            awaits_sync: Vec::new(),
        };
        if request.member_id.is_empty() {
            let name = instance_id.map_or(&*client.id, |instance_id| instance_id);
            let name = &name[..name.floor_char_boundary(NAME_IN_ID_LEN_MAX)];
            let id = Str::from(format!("{name}-{}", hyphenated(turn.rng.uuid().0)));
            if let Some(before) =
                instance_id.and_then(|instance_id| self.static_members.get(instance_id)).cloned()
            {
                return self.replace_static(&before, id, newcomer, reply_to, turn);
            }
            if instance_id.is_none() && version >= KNOWN_MEMBER_ID_FROM {
                self.pending.insert(id.clone());
                let at = turn.after_ms(i64::from(request.session_timeout_ms));
                turn.timers.arm(GroupTimer::Session(self.id.clone(), id.clone()), at);
                return Joined::Refused(ErrorCode::MemberIdRequired, id);
            }
            return self.add(id, newcomer, &request.protocol_type, reply_to, turn);
        }
        let id = request.member_id.detached();
        if self.pending.contains(&id) && instance_id.is_none() {
            return self.add(id, newcomer, &request.protocol_type, reply_to, turn);
        }
        if let Err(code) = self.check_member(&id, instance_id) {
            return Joined::Refused(code, id);
        }
        let wants_the_same = self.members[&id].protocols == newcomer.protocols;
        let is_told = match self.state {
            State::Empty => return Joined::Refused(ErrorCode::UnknownMemberId, id),
            State::PreparingRebalance { .. } => false,
            // It may not have heard the answer.
            State::CompletingRebalance => wants_the_same,
            // The leader joins again when what there is to assign has changed.
            State::Stable => wants_the_same && !self.is_leader(&id),
        };
        if is_told {
            let response = self.joined(&id, false);
            reply_to.respond(join_answer(response, version), turn.out);
            return Joined::Held(Vec::new(), Then::Nothing);
        }
        let member = self.members.get_mut(&id).expect("it is a member");
        member.protocols = newcomer.protocols;
        member.session_timeout_ms = newcomer.session_timeout_ms;
        member.rebalance_timeout_ms = newcomer.rebalance_timeout_ms;
        if let Some(oldest) = push_asker(&mut member.awaits_join, reply_to) {
            answer_join(&oldest, ErrorCode::RebalanceInProgress, id, turn);
        }
        Joined::Held(self.rebalance_or_complete(turn), Then::Nothing)
    }

    fn add(
        &mut self,
        id: Str,
        member: Member,
        protocol_type: &Str,
        reply_to: ReplyTo,
        turn: &mut Turn<'_>,
    ) -> Joined {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.detached());
        }
        if let State::PreparingRebalance { is_first: true } = self.state {
            self.has_newcomer = true;
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.pending.remove(&id);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
        }
        self.members.insert(id.clone(), Member { awaits_join: alloc::vec![reply_to], ..member });
        let at = turn.after_ms(NEW_MEMBER_JOIN_TIMEOUT_MS);
        turn.timers.arm(GroupTimer::Session(self.id.clone(), id), at);
        Joined::Held(self.rebalance_or_complete(turn), Then::Nothing)
    }

    /// A member that has a name of its own comes again, under another id. Where nothing changes for the others, they do not
    /// notice.
    fn replace_static(
        &mut self,
        before: &Str,
        id: Str,
        newcomer: Member,
        reply_to: ReplyTo,
        turn: &mut Turn<'_>,
    ) -> Joined {
        let leader_before = self.leader.clone();
        let mut member = self.members.remove(before).expect("static members are members");
        turn.timers.cancel(&GroupTimer::Session(self.id.clone(), before.clone()));
        let fenced = ErrorCode::FencedInstanceId;
        for waiting in core::mem::take(&mut member.awaits_join) {
            answer_join(&waiting, fenced, before.clone(), turn);
        }
        for waiting in core::mem::take(&mut member.awaits_sync) {
            answer_sync(&waiting, Err(fenced), turn);
        }
        self.unsynced.remove(before);
        if self.is_leader(before) {
            self.leader = Some(id.clone());
        }
        if let Some(instance_id) = &newcomer.instance_id {
            self.static_members.insert(instance_id.clone(), id.clone());
        }
        let version = reply_to.version;
        let former = member.clone();
        let assignment = member.assignment;
        let member = Member { assignment, is_new: false, awaits_join: alloc::vec![reply_to], ..newcomer };
        self.members.insert(id.clone(), member);
        self.expect_heartbeat(&id, turn);
        match self.state {
            State::Stable if self.elected_protocol() == self.protocol => {
                let skips = version >= SKIPS_ASSIGNMENT_FROM;
                let mut response = self.joined(&id, skips && self.is_leader(&id));
                if !skips {
                    // Its assignment is asked for: it must not take itself for the one who makes it.
                    response.members.clear();
                    response.leader = leader_before.unwrap_or_default();
                }
                let member = self.members.get_mut(&id).expect("it was just put there");
                let reply_to = member.awaits_join.pop().expect("it was just put there");
                let then = Then::Replaced {
                    group: self.id.clone(),
                    reply_to,
                    response,
                    former: Box::new((before.clone(), former)),
                };
                Joined::Held(alloc::vec![self.record(None)], then)
            }
            State::Stable => Joined::Held(self.rebalance_or_complete(turn), Then::Nothing),
            // The leader may assign to the id that is gone.
            State::CompletingRebalance => Joined::Held(self.prepare_rebalance(turn), Then::Nothing),
            State::Empty | State::PreparingRebalance { .. } => {
                Joined::Held(self.maybe_complete_join(turn), Then::Nothing)
            }
        }
    }

    /// That somebody has come in the place of a member could not be written: the member is who it was.
    pub(super) fn restore(&mut self, id: &Str, former: Str, member: Member, turn: &mut Turn<'_>) {
        let Some(instance_id) =
            member.instance_id.clone().filter(|it| self.static_members.get(it) == Some(id))
        else {
            // Somebody has come since.
            return;
        };
        self.members.remove(id);
        turn.timers.cancel(&GroupTimer::Session(self.id.clone(), id.clone()));
        if self.is_leader(id) {
            self.leader = Some(former.clone());
        }
        self.static_members.insert(instance_id, former.clone());
        self.members.insert(former.clone(), member);
        self.expect_heartbeat(&former, turn);
    }

    fn rebalance_or_complete(&mut self, turn: &mut Turn<'_>) -> Vec<GroupRecord> {
        match self.state {
            State::PreparingRebalance { .. } => self.maybe_complete_join(turn),
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(turn),
        }
    }

    fn maybe_complete_join(&mut self, turn: &mut Turn<'_>) -> Vec<GroupRecord> {
        match self.state {
            State::PreparingRebalance { is_first: false } if self.have_all_joined() => {
                self.complete_join(turn)
            }
            State::PreparingRebalance { .. } | State::Empty | State::CompletingRebalance | State::Stable => {
                Vec::new()
            }
        }
    }

    /// All are to join again.
    fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) -> Vec<GroupRecord> {
        if self.state == State::CompletingRebalance {
            self.propagate(Err(ErrorCode::RebalanceInProgress), turn);
        }
        turn.timers.cancel(&GroupTimer::Sync(self.id.clone()));
        let is_first = self.state == State::Empty;
        self.enter(State::PreparingRebalance { is_first }, turn);
        if is_first {
            // Others may be about to come.
            let delay_ms = turn.config.group_initial_rebalance_delay_ms;
            self.initial_ms_left = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.has_newcomer = false;
            if delay_ms > 0 {
                turn.timers.arm(GroupTimer::Join(self.id.clone()), turn.after_ms(delay_ms));
                return Vec::new();
            }
            return self.complete_join(turn);
        }
        if self.have_all_joined() {
            return self.complete_join(turn);
        }
        turn.timers.arm(GroupTimer::Join(self.id.clone()), turn.after_ms(self.rebalance_timeout_ms()));
        Vec::new()
    }

    /// The time to join is over.
    pub(super) fn on_join_deadline(&mut self, turn: &mut Turn<'_>) -> Vec<GroupRecord> {
        match self.state {
            State::PreparingRebalance { is_first: true } if self.has_newcomer && self.initial_ms_left > 0 => {
                self.has_newcomer = false;
                let delay_ms = turn.config.group_initial_rebalance_delay_ms.min(self.initial_ms_left);
                self.initial_ms_left -= delay_ms;
                turn.timers.arm(GroupTimer::Join(self.id.clone()), turn.after_ms(delay_ms));
                Vec::new()
            }
            State::PreparingRebalance { .. } => self.complete_join(turn),
            State::Empty | State::CompletingRebalance | State::Stable => Vec::new(),
        }
    }

    /// Whoever has joined is of the next generation.
    fn complete_join(&mut self, turn: &mut Turn<'_>) -> Vec<GroupRecord> {
        turn.timers.cancel(&GroupTimer::Join(self.id.clone()));
        let is_gone = |member: &Member| member.awaits_join.is_empty() && member.instance_id.is_none();
        let gone: Vec<Str> =
            self.members.iter().filter(|(_, member)| is_gone(member)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.forget_member(&id, turn);
        }
        let leads = |member: Option<&Member>| member.is_some_and(|member| !member.awaits_join.is_empty());
        if !leads(self.leader.as_ref().and_then(|leader| self.members.get(leader)))
            && !self.members.is_empty()
        {
            let other = self.members.iter().find(|(_, member)| leads(Some(member)));
            let Some((id, _)) = other else {
                // Members with names of their own are waited for until their sessions end.
                let at = turn.after_ms(self.rebalance_timeout_ms().max(REJOIN_WAIT_MIN_MS));
                turn.timers.arm(GroupTimer::Join(self.id.clone()), at);
                return Vec::new();
            };
            self.leader = Some(id.clone());
        }
        self.generation = self.generation.wrapping_add(1).max(0);
        self.unsynced.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.enter(State::Empty, turn);
            return alloc::vec![self.record(None)];
        }
        self.protocol = self.elected_protocol();
        self.enter(State::CompletingRebalance, turn);
        let ids: Vec<Str> = self.members.keys().cloned().collect();
        for id in ids {
            let response = self.joined(&id, false);
            let member = self.members.get_mut(&id).expect("it is a member");
            for reply_to in core::mem::take(&mut member.awaits_join) {
                reply_to.respond(join_answer(response.clone(), reply_to.version), turn.out);
            }
            member.is_new = false;
            self.expect_heartbeat(&id, turn);
            self.unsynced.insert(id);
        }
        turn.timers.arm(GroupTimer::Sync(self.id.clone()), turn.after_ms(self.rebalance_timeout_ms()));
        Vec::new()
    }

    fn joined(&self, id: &Str, skip_assignment: bool) -> JoinGroupResponse {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let members = self.members.iter().map(|(id, member)| JoinGroupResponseMember {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol).cloned().unwrap_or_default(),
            ..JoinGroupResponseMember::default()
        });
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment,
            member_id: id.clone(),
            members: if self.is_leader(id) { members.collect() } else { Vec::new() },
            ..JoinGroupResponse::default()
        }
    }

    // ---- assignments ----

    /// A member asks for its assignment; the leader brings all of them.
    pub(super) fn sync(
        &mut self,
        request: &SyncGroupRequest,
        reply_to: ReplyTo,
        turn: &mut Turn<'_>,
    ) -> Result<(Vec<GroupRecord>, Then), (ErrorCode, ReplyTo)> {
        let is_other = |said: &Option<Str>, own: &Option<Str>| said.is_some() && said != own;
        let checked = self.check_member(&request.member_id, request.group_instance_id.as_ref());
        let checked = checked.and_then(|()| {
            if request.generation_id != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
            if is_other(&request.protocol_type, &self.protocol_type)
                || is_other(&request.protocol_name, &self.protocol)
            {
                return Err(ErrorCode::InconsistentGroupProtocol);
            }
            Ok(())
        });
        if let Err(code) = checked {
            return Err((code, reply_to));
        }
        let id = &request.member_id;
        match self.state {
            State::Empty => Err((ErrorCode::UnknownMemberId, reply_to)),
            State::PreparingRebalance { .. } => Err((ErrorCode::RebalanceInProgress, reply_to)),
            State::Stable => {
                self.note_synced(id, turn);
                let assignment = self.members[id].assignment.clone();
                answer_sync(&reply_to, Ok(self.synced(assignment)), turn);
                Ok((Vec::new(), Then::Nothing))
            }
            State::CompletingRebalance => {
                self.note_synced(id, turn);
                let member = self.members.get_mut(id).expect("it was just looked up");
                if let Some(oldest) = push_asker(&mut member.awaits_sync, reply_to) {
                    answer_sync(&oldest, Err(ErrorCode::RebalanceInProgress), turn);
                }
                if !self.is_leader(id) {
                    return Ok((Vec::new(), Then::Nothing));
                }
                let assigned =
                    request.assignments.iter().filter(|it| self.members.contains_key(&it.member_id));
                let assignments: BTreeMap<Str, Bytes> = assigned
                    .map(|it| (it.member_id.detached(), Bytes::copy_from_slice(&it.assignment)))
                    .collect();
                let record = self.record(Some(&assignments));
                let (group, incarnation) = (self.id.clone(), self.incarnation);
                let then = Then::Assign { group, incarnation, generation: self.generation, assignments };
                Ok((alloc::vec![record], then))
            }
        }
    }

    fn note_synced(&mut self, id: &Str, turn: &mut Turn<'_>) {
        self.unsynced.remove(id);
        if self.unsynced.is_empty() {
            turn.timers.cancel(&GroupTimer::Sync(self.id.clone()));
        }
    }

    /// What the leader has assigned is written, or never will be.
    pub(super) fn on_assigned(
        &mut self,
        generation: i32,
        mut assignments: BTreeMap<Str, Bytes>,
        outcome: Result<(), ErrorCode>,
        turn: &mut Turn<'_>,
    ) -> Vec<GroupRecord> {
        if self.state != State::CompletingRebalance || self.generation != generation {
            // Somebody came or went meanwhile.
            return Vec::new();
        }
        match outcome {
            Ok(()) => {
                for (id, member) in &mut self.members {
                    member.assignment = assignments.remove(id).unwrap_or_default();
                }
                self.propagate(Ok(()), turn);
                self.enter(State::Stable, turn);
                Vec::new()
            }
            Err(code) => {
                self.propagate(Err(code), turn);
                self.enter(State::Stable, turn);
                self.prepare_rebalance(turn)
            }
        }
    }

    /// Tells everybody who asked for it its assignment, or that there is none.
    fn propagate(&mut self, outcome: Result<(), ErrorCode>, turn: &mut Turn<'_>) {
        let ids: Vec<Str> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("it is a member");
            if outcome.is_err() {
                member.assignment = Bytes::new();
            }
            let assignment = member.assignment.clone();
            for reply_to in core::mem::take(&mut member.awaits_sync) {
                let answer = outcome.map(|()| self.synced(assignment.clone()));
                answer_sync(&reply_to, answer, turn);
                // That it waited was a sign of life, which no timer has noted.
                self.expect_heartbeat(&id, turn);
            }
        }
    }

    fn synced(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment,
            ..SyncGroupResponse::default()
        }
    }

    /// Members of the generation that have not asked for their assignments are taken for dead.
    pub(super) fn on_sync_deadline(&mut self, turn: &mut Turn<'_>) -> Vec<GroupRecord> {
        let is_awaited = matches!(self.state, State::CompletingRebalance | State::Stable);
        if !is_awaited || self.unsynced.is_empty() {
            return Vec::new();
        }
        for id in core::mem::take(&mut self.unsynced) {
            self.forget_member(&id, turn);
        }
        self.prepare_rebalance(turn)
    }

    // ---- sessions ----

    fn expect_heartbeat(&self, id: &Str, turn: &mut Turn<'_>) {
        // The group's own text: the caller's may be a slice of a whole request.
        if let Some((id, member)) = self.members.get_key_value(id) {
            let at = turn.after_ms(i64::from(member.session_timeout_ms));
            turn.timers.arm(GroupTimer::Session(self.id.clone(), id.clone()), at);
        }
    }

    /// The coordinator begins with the group: everybody has as long as after a heartbeat.
    pub(super) fn expect_all(&self, turn: &mut Turn<'_>) {
        for id in self.members.keys() {
            self.expect_heartbeat(id, turn);
        }
    }

    /// A member that has committed is alive.
    pub(super) fn on_committed_by(&self, member: &Str, turn: &mut Turn<'_>) {
        if matches!(self.state, State::Stable | State::PreparingRebalance { .. }) {
            self.expect_heartbeat(member, turn);
        }
    }

    pub(super) fn heartbeat(&self, request: &HeartbeatRequest, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance { .. } => {
                self.expect_heartbeat(&request.member_id, turn);
                Err(ErrorCode::RebalanceInProgress)
            }
            State::CompletingRebalance | State::Stable => {
                self.expect_heartbeat(&request.member_id, turn);
                Ok(())
            }
        }
    }

    /// A member, or whoever was to become one, has been silent for too long.
    pub(super) fn on_session_deadline(&mut self, id: &Str, turn: &mut Turn<'_>) -> Vec<GroupRecord> {
        if self.pending.remove(id) {
            return self.maybe_complete_join(turn);
        }
        let Some(member) = self.members.get(id) else { return Vec::new() };
        let waits = !member.awaits_join.is_empty() || !member.awaits_sync.is_empty();
        if waits && !member.is_new {
            // Whoever waits here is not silent, and has its time when it is answered.
            return Vec::new();
        }
        self.forget_member(id, turn);
        self.after_leaving(turn)
    }

    /// Members leave, or are made to.
    pub(super) fn leave(
        &mut self,
        leaving: &[MemberIdentity],
        turn: &mut Turn<'_>,
    ) -> (Vec<MemberResponse>, Vec<GroupRecord>) {
        let mut has_left = false;
        let mut answers = Vec::new();
        for MemberIdentity { member_id, group_instance_id, .. } in leaving {
            let outcome = if member_id.is_empty() {
                let named = group_instance_id.as_ref().and_then(|it| self.static_members.get(it)).cloned();
                named.ok_or(ErrorCode::UnknownMemberId)
            } else if self.pending.contains(member_id) {
                Ok(member_id.clone())
            } else {
                self.check_member(member_id, group_instance_id.as_ref()).map(|()| member_id.clone())
            };
            if let Ok(id) = &outcome {
                has_left = true;
                if self.pending.remove(id) {
                    turn.timers.cancel(&GroupTimer::Session(self.id.clone(), id.clone()));
                } else {
                    self.forget_member(id, turn);
                }
            }
            answers.push(MemberResponse {
                member_id: member_id.clone(),
                group_instance_id: group_instance_id.clone(),
                error_code: outcome.err().map_or(0, ErrorCode::as_i16),
                ..MemberResponse::default()
            });
        }
        let records = if has_left { self.after_leaving(turn) } else { Vec::new() };
        (answers, records)
    }

    fn after_leaving(&mut self, turn: &mut Turn<'_>) -> Vec<GroupRecord> {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(turn),
            State::PreparingRebalance { .. } => self.maybe_complete_join(turn),
            State::Empty => Vec::new(),
        }
    }

    /// Whoever waits for an answer as this member is told to begin again.
    fn forget_member(&mut self, id: &Str, turn: &mut Turn<'_>) {
        turn.timers.cancel(&GroupTimer::Session(self.id.clone(), id.clone()));
        self.unsynced.remove(id);
        let Some(mut member) = self.members.remove(id) else { return };
        for reply_to in core::mem::take(&mut member.awaits_join) {
            answer_join(&reply_to, ErrorCode::UnknownMemberId, Str::new(), turn);
        }
        for reply_to in core::mem::take(&mut member.awaits_sync) {
            answer_sync(&reply_to, Err(ErrorCode::UnknownMemberId), turn);
        }
        if let Some(instance_id) = member.instance_id.filter(|it| self.static_members.get(it) == Some(id)) {
            self.static_members.remove(&instance_id);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Another broker coordinates the group: everybody who waits is to look for it.
    pub(super) fn unload(&mut self, code: ErrorCode, turn: &mut Turn<'_>) {
        for (id, member) in &mut self.members {
            for reply_to in core::mem::take(&mut member.awaits_join) {
                answer_join(&reply_to, code, id.clone(), turn);
            }
            for reply_to in core::mem::take(&mut member.awaits_sync) {
                answer_sync(&reply_to, Err(code), turn);
            }
        }
    }

    /// The topics that consumers among its members subscribe to; none, if that cannot be read.
    pub(super) fn subscribed(&self) -> Option<BTreeSet<Str>> {
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(super::subscription::topics(member.metadata(protocol)?)?);
        }
        Some(topics)
    }
}

/// How many requests of a member wait at a time.
const ASKED_AT_ONCE_MAX: usize = 16;

/// Has one more request of a member wait; answers the oldest, if those are too many.
fn push_asker(waiting: &mut Vec<ReplyTo>, reply_to: ReplyTo) -> Option<ReplyTo> {
    waiting.push(reply_to);
    (waiting.len() > ASKED_AT_ONCE_MAX).then(|| waiting.remove(0))
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: Str,
    /// As Kafka writes an address without a name: `/127.0.0.1`.
    pub(crate) host: Str,
}

/// In versions without null a protocol has a name, if an empty one.
pub(super) fn join_answer(mut response: JoinGroupResponse, version: i16) -> AnyResponse {
    if version < 7 {
        response.protocol_name.get_or_insert_default();
    }
    AnyResponse::JoinGroup(response)
}

/// Refuses a join.
pub(super) fn answer_join(reply_to: &ReplyTo, code: ErrorCode, member_id: Str, turn: &mut Turn<'_>) {
    let response = JoinGroupResponse {
        error_code: code.as_i16(),
        generation_id: -1,
        protocol_name: (reply_to.version < 7).then(Str::new),
        member_id,
        ..JoinGroupResponse::default()
    };
    reply_to.respond(join_answer(response, reply_to.version), turn.out);
}

pub(super) fn answer_sync(
    reply_to: &ReplyTo,
    answer: Result<SyncGroupResponse, ErrorCode>,
    turn: &mut Turn<'_>,
) {
    let response = answer.unwrap_or_else(|code| SyncGroupResponse {
        error_code: code.as_i16(),
        ..SyncGroupResponse::default()
    });
    reply_to.respond(AnyResponse::SyncGroup(response), turn.out);
}

/// A UUID as Java writes it.
fn hyphenated(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl Turn<'_> {
    /// When a wait that begins now is over.
    fn after_ms(&self, millis: i64) -> Instant {
        self.now.monotonic.plus_millis(millis)
    }
}
