//! How the voters change (KIP-853): one change at a time, each a record of the log that counts from when it is appended. A new
//! voter is asked what it supports and has to have caught up before; a leader that is no voter any more leads until that is
//! committed, and does not count itself.

use super::voters::{Voter, VoterKey, VoterSet, voters_in};
use super::{Asked, Question, Quorum, Role, messages};
use crate::controller::cluster::KRAFT_VERSION;
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::mark::Mark;
use crate::museum::Exhibit;
use crate::node::ReplyTo;
use crate::outbox::Outbox;
use crate::time::{Instant, Now};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::{BatchHeader, BatchParams};
use sordini_protocol::control::{ControlType, control_batch};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, ApiVersionsResponse, ControllerRegistrationRequest,
    RemoveRaftVoterRequest, RemoveRaftVoterResponse, UpdateRaftVoterRequest,
};
use sordini_protocol::records::KRaftVersionRecord;
use sordini_protocol::records::voters_record::{Endpoint, KRaftVersionFeature};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Message as _, Str};

/// The level of kraft.version at which voters stand in the log.
const VOTERS_IN_LOG: i16 = 1;

/// A change that was asked for.
#[derive(Clone, Debug)]
pub(super) struct VoterChange {
    stage: Stage,
    /// When whoever asked is told that it took too long. What was appended may be committed for all that.
    deadline: Instant,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The new voter is asked what it supports.
    Asking { reply_to: ReplyTo, voter: Voter, is_answered_when_committed: bool },
    /// It is appended up to here.
    Appended { reply_to: ReplyTo, kind: Kind, end: Offset },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Add,
    Remove,
}

impl VoterChange {
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The voter that is to be asked what it supports.
    pub(super) const fn joining(&self) -> Option<&Voter> {
        match &self.stage {
            Stage::Asking { voter, .. } => Some(voter),
            Stage::Appended { .. } => None,
        }
    }

    fn answer(self, code: ErrorCode, why: Option<String>) -> (ReplyTo, AnyResponse) {
        let (reply_to, kind) = match self.stage {
            Stage::Asking { reply_to, .. } => (reply_to, Kind::Add),
            Stage::Appended { reply_to, kind, .. } => (reply_to, kind),
        };
        (reply_to, response(kind, code, why))
    }
}

fn response(kind: Kind, code: ErrorCode, why: Option<String>) -> AnyResponse {
    let (error_code, error_message) = (code.as_i16(), why.map(Str::from));
    match kind {
        Kind::Add => AnyResponse::AddRaftVoter(AddRaftVoterResponse {
            error_code,
            error_message,
            ..AddRaftVoterResponse::default()
        }),
        Kind::Remove => AnyResponse::RemoveRaftVoter(RemoveRaftVoterResponse {
            error_code,
            error_message,
            ..RemoveRaftVoterResponse::default()
        }),
    }
}

type Refusal = (ErrorCode, Option<String>);

/// What makes the log name the voters.
pub(super) fn kraft_version_records(voters: &VoterSet) -> [(ControlType, Bytes); 2] {
    let version = KRaftVersionRecord { kraft_version: VOTERS_IN_LOG, ..KRaftVersionRecord::default() };
    let version = version.to_bytes(0).expect("control records have a version 0");
    let voters = voters.to_record().to_bytes(0).expect("control records have a version 0");
    [(ControlType::KraftVersion, version), (ControlType::KraftVoters, voters)]
}

impl Quorum {
    // ---- what the log says of voters ----

    /// Whether this node, with the disk that it has, votes.
    pub(super) fn is_voter(&self) -> bool {
        self.voters.has(self.identity, self.museum)
    }

    /// Whether this node stands for election: it votes, or would if a change did not take its vote from it that may not be
    /// committed. The others may lack that change, and cannot elect one of them as long as this node, which has more of the
    /// log, refuses them (section 4.2.2 of Ongaro's thesis). It needs the votes of a majority of those that vote, without its
    /// own.
    pub(super) fn stands(&self) -> bool {
        self.is_voter() || self.history.was_voter(self.identity, self.museum)
    }

    /// A batch was put at the end of the log.
    pub(super) fn on_appended(&mut self, header: &BatchHeader, bytes: &Bytes, now: Now) {
        if header.is_control()
            && let Some(record) = voters_in(bytes)
        {
            let before = core::mem::replace(&mut self.voters, VoterSet::of_record(record));
            self.history.change(Offset(header.base_offset), before);
            self.on_voters_changed();
            let check_quorum_ms = self.check_quorum_ms();
            if let Role::Leader(leader) = &mut self.role {
                // Who was alone has heard of nobody yet.
                leader.check_quorum_at = now.monotonic.plus_millis(check_quorum_ms);
            }
        }
    }

    /// The log was cut, and with it perhaps what said who votes.
    pub(super) fn take_back_voters(&mut self, to: Offset, out: &mut Outbox) {
        if let Some(before) = self.history.truncate(to) {
            out.sometimes(Mark::QuorumVotersTakenBack);
            self.voters = before;
            self.on_voters_changed();
        }
    }

    /// A snapshot came in the place of the log.
    pub(super) fn replace_voters(&mut self, voters: VoterSet) {
        self.history.forget_below(Offset(i64::MAX));
        self.voters = voters;
        self.on_voters_changed();
    }

    fn on_voters_changed(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            leader.set_voters(&self.voters, self.identity.node);
        }
    }

    /// What was committed stays so. A leader that has removed itself leads until then.
    pub(super) fn settle_voters(&mut self, now: Now, out: &mut Outbox) {
        let Some(high_watermark) = self.high_watermark else { return };
        self.history.forget_below(high_watermark);
        let Role::Leader(leader) = &mut self.role else { return };
        let is_done = |change: &mut VoterChange| matches!(change.stage, Stage::Appended { end, .. } if end <= high_watermark);
        if let Some(change) = leader.change.take_if(is_done) {
            out.sometimes(Mark::QuorumVotersChanged);
            let (reply_to, body) = change.answer(ErrorCode::None, None);
            self.respond(&reply_to, body, out);
        }
        if !self.is_voter()
            && self.history.is_settled()
            && let Role::Leader(leader) = &self.role
        {
            out.sometimes(Mark::QuorumLeaderRemoved);
            let successors = leader.successors();
            self.become_resigned(successors, now, out);
        }
    }

    /// A change that took too long.
    pub(super) fn give_up_voter_change(&mut self, now: Now, out: &mut Outbox) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(change) = leader.change.take_if(|change| change.deadline <= now.monotonic) {
            let why = match &change.stage {
                Stage::Asking { voter, .. } => {
                    format!("Voter {} did not answer in time.", voter.voter_id)
                }
                Stage::Appended { .. } => String::from(
                    "A majority of the voters did not have the change in time; it may come to be.",
                ),
            };
            let (reply_to, body) = change.answer(ErrorCode::RequestTimedOut, Some(why));
            self.respond(&reply_to, body, out);
        }
    }

    /// The node leads no more: whether what it began comes to be, is not for it to say.
    pub(super) fn drop_voter_change(&mut self, change: VoterChange, out: &mut Outbox) {
        let (reply_to, body) = change.answer(ErrorCode::NotLeaderOrFollower, None);
        self.respond(&reply_to, body, out);
    }

    // ---- requests ----

    /// Why the voters cannot be changed at this moment, if they cannot.
    fn change_refusal(&self) -> Option<Refusal> {
        let Role::Leader(leader) = &self.role else { return Some((ErrorCode::NotLeaderOrFollower, None)) };
        let wait = |why: &str| Some((ErrorCode::RequestTimedOut, Some(String::from(why))));
        if leader.change.is_some() {
            return wait("Another change of the voters is under way.");
        }
        let is_new = self.told_high_watermark().is_none();
        if is_new && !self.museum.has(Exhibit::A19ReconfigWithoutOwnCommit) {
            return wait("The leader has committed nothing in its epoch.");
        }
        if !self.voters.is_logged() {
            let why = "Voters are configured by controller.quorum.voters: kraft.version is 0.";
            return Some((ErrorCode::UnsupportedVersion, Some(String::from(why))));
        }
        if !self.history.is_settled() {
            return wait("The latest change of the voters is not committed.");
        }
        None
    }

    pub(crate) fn on_add_raft_voter(
        &mut self,
        reply_to: ReplyTo,
        request: &AddRaftVoterRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        match self.begin_to_add(&reply_to, request, now) {
            Ok(change) => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.change = Some(change);
                }
                self.pursue(now, out);
            }
            Err((code, why)) => self.respond(&reply_to, response(Kind::Add, code, why), out),
        }
    }

    fn begin_to_add(
        &self,
        reply_to: &ReplyTo,
        request: &AddRaftVoterRequest,
        now: Now,
    ) -> Result<VoterChange, Refusal> {
        if self.is_of_other_cluster(request.cluster_id.as_ref()) {
            return Err((ErrorCode::InconsistentClusterId, None));
        }
        let refused = |code, why: String| Err((code, Some(why)));
        if request.voter_id < 0 || request.voter_directory_id.is_zero() {
            return refused(ErrorCode::InvalidRequest, "A voter has an id and a directory.".into());
        }
        let listeners = request.listeners.iter();
        let endpoints = listeners.map(|listener| Endpoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            ..Endpoint::default()
        });
        let endpoints: Vec<Endpoint> = endpoints.collect();
        if !endpoints.iter().any(|endpoint| endpoint.name == self.listener) {
            let why = format!("The voter has no endpoint for the listener {}.", &*self.listener);
            return refused(ErrorCode::InvalidRequest, why);
        }
        if let Some(refusal) = self.change_refusal() {
            return Err(refusal);
        }
        if !self.may_have_others {
            let why = "This node has no listener for controllers (controller.listener.names), and no other can reach it.";
            return refused(ErrorCode::InvalidRequest, why.into());
        }
        let key = VoterKey { node: NodeId(request.voter_id), directory: request.voter_directory_id };
        if self.voters.contains(key.node) {
            let why = format!("A voter of the id {} is there already.", request.voter_id);
            return refused(ErrorCode::DuplicateVoter, why);
        }
        let timeout_ms = i64::from(request.timeout_ms).clamp(0, self.config.request_timeout_ms.max(0));
        let stage = Stage::Asking {
            reply_to: reply_to.clone(),
            voter: super::voters::voter(key, endpoints, (0, 0)),
            is_answered_when_committed: reply_to.version == 0 || request.ack_when_committed,
        };
        Ok(VoterChange { stage, deadline: now.monotonic.plus_millis(timeout_ms.max(1)) })
    }

    /// What a new voter supports.
    pub(super) fn on_supported(
        &mut self,
        asked: &Asked,
        response: &ApiVersionsResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        // An answer may come when another voter is asked, or in another epoch.
        let is_asking = |change: &mut VoterChange| {
            change.joining().is_some_and(|voter| voter.voter_id == asked.voter.0)
                && asked.epoch == self.election.epoch
        };
        let Some(change) = leader.change.take_if(is_asking) else { return };
        let Stage::Asking { reply_to, mut voter, is_answered_when_committed } = change.stage else { return };
        let features = &response.supported_features;
        let kraft = features.iter().find(|feature| *feature.name == *KRAFT_VERSION.0);
        let (min, max) = kraft.map_or((0, 0), |feature| (feature.min_version, feature.max_version));
        let key = VoterKey { node: NodeId(voter.voter_id), directory: voter.voter_directory_id };
        let refusal = if response.error_code != ErrorCode::None.as_i16() {
            Some((ErrorCode::InvalidRequest, format!("Voter {} did not say what it supports.", key.node)))
        } else if !(min..=max).contains(&VOTERS_IN_LOG) {
            let why = format!("Voter {} supports kraft.version from {min} to {max} only.", key.node);
            Some((ErrorCode::InvalidRequest, why))
        } else if !leader.has_caught_up(key, now) {
            let why = format!("Voter {} has not caught up with the log.", key.node);
            Some((ErrorCode::RequestTimedOut, why))
        } else {
            None
        };
        if let Some((code, why)) = refusal {
            return self.respond(&reply_to, self::response(Kind::Add, code, Some(why)), out);
        }
        voter.kraft_version_feature = KRaftVersionFeature {
            min_supported_version: min,
            max_supported_version: max,
            ..KRaftVersionFeature::default()
        };
        self.append_voters(&self.voters.with(voter), now, out);
        if !is_answered_when_committed {
            return self.respond(&reply_to, self::response(Kind::Add, ErrorCode::None, None), out);
        }
        self.await_commit(reply_to, Kind::Add, change.deadline, now, out);
    }

    pub(crate) fn on_remove_raft_voter(
        &mut self,
        reply_to: ReplyTo,
        request: &RemoveRaftVoterRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let key = VoterKey { node: NodeId(request.voter_id), directory: request.voter_directory_id };
        let is_there =
            self.voters.get(key.node).is_some_and(|voter| voter.voter_directory_id == key.directory);
        let refusal = if self.is_of_other_cluster(request.cluster_id.as_ref()) {
            Some((ErrorCode::InconsistentClusterId, None))
        } else if request.voter_id < 0 || request.voter_directory_id.is_zero() {
            let why = "A voter has an id and a directory.";
            Some((ErrorCode::InvalidRequest, Some(String::from(why))))
        } else if let Some(refusal) = self.change_refusal() {
            Some(refusal)
        } else if !is_there {
            let why = format!("There is no voter {} with the directory {}.", key.node, key.directory);
            Some((ErrorCode::VoterNotFound, Some(why)))
        } else if self.voters.len() == 1 {
            let why = "It is the last voter.";
            Some((ErrorCode::InvalidRequest, Some(String::from(why))))
        } else {
            None
        };
        if let Some((code, why)) = refusal {
            return self.respond(&reply_to, response(Kind::Remove, code, why), out);
        }
        self.append_voters(&self.voters.without(key.node), now, out);
        let deadline = now.monotonic.plus_millis(self.config.request_timeout_ms);
        self.await_commit(reply_to, Kind::Remove, deadline, now, out);
    }

    pub(crate) fn on_update_raft_voter(
        &mut self,
        reply_to: &ReplyTo,
        request: &UpdateRaftVoterRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let code = self.update_voter(request, now, out).err().unwrap_or(ErrorCode::None);
        let response = messages::update_raft_voter_response(code, &self.hint());
        self.respond(reply_to, AnyResponse::UpdateRaftVoter(response), out);
    }

    fn update_voter(
        &mut self,
        request: &UpdateRaftVoterRequest,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), ErrorCode> {
        if self.is_of_other_cluster(request.cluster_id.as_ref()) {
            return Err(ErrorCode::InconsistentClusterId);
        }
        if !matches!(self.role, Role::Leader(_)) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        match LeaderEpoch(request.current_leader_epoch).cmp(&self.election.epoch) {
            core::cmp::Ordering::Less => return Err(ErrorCode::FencedLeaderEpoch),
            core::cmp::Ordering::Greater => return Err(ErrorCode::UnknownLeaderEpoch),
            core::cmp::Ordering::Equal => {}
        }
        let is_logged = self.voters.is_logged();
        if is_logged && let Some((code, _)) = self.change_refusal() {
            return Err(code);
        }
        let key = VoterKey { node: NodeId(request.voter_id), directory: request.voter_directory_id };
        let is_same = |voter: &&Voter| !is_logged || voter.voter_directory_id == key.directory;
        let known = self.voters.get(key.node).filter(is_same).ok_or(ErrorCode::VoterNotFound)?;
        let listeners = request.listeners.iter();
        let endpoints = listeners.map(|listener| Endpoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            ..Endpoint::default()
        });
        let endpoints: Vec<Endpoint> = endpoints.collect();
        let feature = &request.kraft_version_feature;
        let (min, max) = (feature.min_supported_version, feature.max_supported_version);
        let is_reachable = endpoints.iter().any(|endpoint| endpoint.name == self.listener);
        if !is_reachable || !(min..=max).contains(&self.kraft_version()) {
            return Err(ErrorCode::InvalidRequest);
        }
        let updated = super::voters::voter(key, endpoints, (min, max));
        if !is_logged {
            if let Role::Leader(leader) = &mut self.role {
                leader.introduced.insert(key.node, updated);
            }
        } else if updated != *known {
            self.append_voters(&self.voters.with(updated), now, out);
        }
        Ok(())
    }

    // ---- from the configuration into the log ----

    /// The level of kraft.version: 1 where the log names the voters.
    pub(crate) fn kraft_version(&self) -> i16 {
        if self.voters.is_logged() { VOTERS_IN_LOG } else { 0 }
    }

    /// The voters that the configuration names, as they are to stand in the log, if this is the leader and each of them has
    /// said who it is and supports that.
    fn introduced_voters(&self) -> Option<VoterSet> {
        let Role::Leader(leader) = &self.role else { return None };
        let introduced = |id: NodeId| {
            let voter =
                if id == self.identity.node { Some(&self.own_voter) } else { leader.introduced.get(&id) };
            voter.filter(|voter| {
                let feature = &voter.kraft_version_feature;
                (feature.min_supported_version..=feature.max_supported_version).contains(&VOTERS_IN_LOG)
                    && !voter.voter_directory_id.is_zero()
            })
        };
        let voters: Option<Vec<Voter>> = self.voters.ids().map(|id| introduced(id).cloned()).collect();
        Some(VoterSet::new(voters?))
    }

    /// Whether the voters can be written into the log. Another leader could else take back what names them, as with every
    /// change of theirs.
    pub(crate) fn can_log_voters(&self) -> bool {
        self.told_high_watermark().is_some() && self.introduced_voters().is_some()
    }

    /// Writes the voters into the log, which makes kraft.version 1, if they do not stand there.
    pub(crate) fn log_voters(&mut self, now: Now, out: &mut Outbox) {
        if !self.voters.is_logged()
            && let Some(voters) = self.introduced_voters()
        {
            out.sometimes(Mark::QuorumVotersLogged);
            let params = BatchParams { control: true, ..BatchParams::default() };
            let batch = control_batch(params, now.wall_ms, &kraft_version_records(&voters));
            self.append_batch(batch, Vec::new(), now, out);
        }
    }

    /// The leader has noted who this voter is.
    pub(super) fn on_introduced(&mut self, asked: &Asked) {
        if let Role::Follower { leader, is_introduced, .. } = &mut self.role
            && (*leader, self.election.epoch) == (asked.voter, asked.epoch)
        {
            *is_introduced = true;
        }
    }

    fn append_voters(&mut self, voters: &VoterSet, now: Now, out: &mut Outbox) {
        let bytes = voters.to_record().to_bytes(0).expect("control records have a version 0");
        let params = BatchParams { control: true, ..BatchParams::default() };
        let batch = control_batch(params, now.wall_ms, &[(ControlType::KraftVoters, bytes)]);
        self.append_batch(batch, Vec::new(), now, out);
    }

    fn await_commit(&mut self, reply_to: ReplyTo, kind: Kind, deadline: Instant, now: Now, out: &mut Outbox) {
        let stage = Stage::Appended { reply_to, kind, end: self.log.next_offset() };
        if let Role::Leader(leader) = &mut self.role {
            leader.change = Some(VoterChange { stage, deadline });
        }
        self.pursue(now, out);
    }

    // ---- what this node asks about itself ----

    /// What the leader is asked to write down of this controller, if it follows one.
    pub(crate) fn wish_to_register(&mut self, registration: Option<ControllerRegistrationRequest>) {
        self.registration = registration;
    }

    /// What a follower asks its leader to write of it: where it is, that it has other addresses as a voter, or, where that is
    /// configured, that it votes.
    pub(super) fn wish(&self, now: Now) -> Option<Question> {
        let Role::Follower { leader, has_fetched: true, is_introduced, .. } = self.role else { return None };
        if now.monotonic < self.wish_at || self.high_watermark.is_none() {
            return None;
        }
        if self.registration.is_some() {
            return Some(Question::Register);
        }
        if self.is_voter() {
            let is_known = if self.voters.is_logged() {
                self.voters.get(self.identity.node) == Some(&self.own_voter)
            } else {
                is_introduced
            };
            return (!is_known).then_some(Question::UpdateVoter);
        }
        if !self.config.auto_join
            || !self.is_controller
            || !self.voters.is_logged()
            || leader == self.identity.node
        {
            return None;
        }
        // The disk that it had is gone, and stands in the way of the one that it has.
        let question =
            if self.voters.contains(self.identity.node) { Question::RemoveVoter } else { Question::AddVoter };
        Some(question)
    }

    /// The request for what this node wishes.
    pub(super) fn wish_request(&self, question: Question) -> Option<(i16, AnyRequest)> {
        match question {
            Question::UpdateVoter => {
                let epoch = self.election.epoch;
                let request = messages::update_raft_voter_request(&self.cluster_id, epoch, &self.own_voter);
                Some((messages::UPDATE_RAFT_VOTER_VERSION, AnyRequest::UpdateRaftVoter(request)))
            }
            Question::AddVoter => {
                let timeout_ms = i32::try_from(self.config.request_timeout_ms).unwrap_or(i32::MAX);
                let request = messages::add_raft_voter_request(&self.cluster_id, timeout_ms, &self.own_voter);
                Some((messages::ADD_RAFT_VOTER_VERSION, AnyRequest::AddRaftVoter(request)))
            }
            Question::RemoveVoter => {
                let key = self.voters.key(self.identity.node);
                let request = messages::remove_raft_voter_request(&self.cluster_id, key);
                Some((messages::REMOVE_RAFT_VOTER_VERSION, AnyRequest::RemoveRaftVoter(request)))
            }
            Question::Register => {
                let request = self.registration.clone()?;
                Some((messages::CONTROLLER_REGISTRATION_VERSION, AnyRequest::ControllerRegistration(request)))
            }
            Question::Vote { .. }
            | Question::BeginEpoch
            | Question::EndEpoch
            | Question::Fetch
            | Question::FetchSnapshot
            | Question::Supported => None,
        }
    }

    /// The leader has answered. The log says what came of it; the wish is looked at again after a while.
    pub(super) fn on_wish_answered(&mut self, now: Now) {
        self.wish_at = now.monotonic.plus_millis(self.config.fetch_timeout_ms);
    }
}
