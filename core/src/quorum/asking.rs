//! What a node asks of others: what there is to ask in its role, when, and what becomes of the answers.

use super::membership::VoterChange;
use super::messages::{Ballot, LogFetch};
use super::{
    Address, Asked, BACKOFF_DOUBLINGS_MAX, Backoff, Place, Question, Quorum, Role, VoterKey, messages,
};
use crate::ids::{LeaderEpoch, NodeId, RequestId};
use crate::mark::Mark;
use crate::museum::Exhibit;
use crate::node::Output;
use crate::outbox::Outbox;
use crate::peer::{Channel, Peer, PeerFault};
use crate::time::{Instant, Now};
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::request::{AnyRequest, AnyResponse};

/// Servers that are asked who leads have numbers from here on down: no node has them.
const FIRST_BOOTSTRAP: i32 = -2;

impl Quorum {
    fn ask(
        &mut self,
        voter: NodeId,
        question: Question,
        version: i16,
        body: AnyRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(address) = self.address_of(voter) else { return };
        let channel = channel_of(question);
        let peer = address.peer(channel);
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let deadline = now.monotonic.plus_millis(self.config.request_timeout_ms);
        let asked = Asked { voter, peer: peer.clone(), question, epoch: self.election.epoch, deadline };
        self.asked.insert(request, asked);
        self.say(Output::Ask { peer, request, version, body }, out);
    }

    /// The server to be asked who leads, in the place of a voter.
    fn bootstrap_server(&self) -> Option<NodeId> {
        let count = i32::try_from(self.bootstrap.len()).unwrap_or(i32::MAX);
        (count > 0).then(|| NodeId(FIRST_BOOTSTRAP - i32::try_from(self.next_bootstrap).unwrap_or(0) % count))
    }

    /// A server was asked, whatever it answered: next time it is another's turn.
    const fn leave_bootstrap_server(&mut self, asked: NodeId) {
        if asked.0 <= FIRST_BOOTSTRAP {
            self.next_bootstrap = self.next_bootstrap.wrapping_add(1);
        }
    }

    /// Where a node is reached: as it was told last, or as the log or the configuration have it.
    pub(super) fn address_of(&self, node: NodeId) -> Option<Address> {
        if node.0 <= FIRST_BOOTSTRAP {
            let index = usize::try_from(FIRST_BOOTSTRAP.checked_sub(node.0)?).ok()?;
            return self.bootstrap.get(index).cloned();
        }
        if let Role::Leader(leader) = &self.role
            && let Some(voter) = leader.change.as_ref().and_then(VoterChange::joining)
            && voter.voter_id == node.0
        {
            let endpoint = voter.endpoints.iter().find(|endpoint| endpoint.name == self.listener)?;
            return Some(Address::new(&endpoint.host, endpoint.port));
        }
        match &self.leader_address {
            Some((leader, address)) if *leader == node => Some(address.clone()),
            Some(_) | None => self.voters.address(node),
        }
    }

    /// A leader, of no older epoch than the one that is known, said where it is, or another did.
    pub(super) fn note_address(&mut self, epoch: LeaderEpoch, leader: Option<NodeId>, told: Option<Address>) {
        let told = told.filter(|address| !address.host.is_empty() && address.port > 0);
        if let Some(address) = told
            && let Some(leader) = leader
            && epoch >= self.election.epoch
        {
            self.leader_address = Some((leader, address));
        }
    }

    fn is_asked(&self, voter: NodeId, question: Question) -> bool {
        let is_same = |asked: &Asked| {
            (asked.voter, asked.question, asked.epoch) == (voter, question, self.election.epoch)
        };
        self.asked.values().any(is_same)
    }

    fn may_ask(&self, voter: NodeId, question: Question, now: Now) -> bool {
        let backoff = self.backoffs.get(&(voter, channel_of(question)));
        !self.is_asked(voter, question) && backoff.is_none_or(|backoff| backoff.until <= now.monotonic)
    }

    /// Voters that are to be asked something, and what, whether or not they may be asked yet.
    fn questions(&self, now: Now) -> Vec<(NodeId, Question)> {
        if self.is_stopping && !matches!(self.role, Role::Resigned { .. }) {
            return Vec::new();
        }
        let others = || self.voters.others(self.identity.node).into_iter();
        // To fetch is to say that everything before is durable, whomever one asks.
        let is_durable = self.log.is_settled() && self.log.flushed_end() == self.log.next_offset();
        let may_fetch = (is_durable || self.museum.has(Exhibit::A15VoterSkipsFlush))
            && self.truncating.is_none()
            && !self.snapshots.is_installing();
        let bootstrap = || -> Vec<(NodeId, Question)> {
            let server = self.bootstrap_server().filter(|_| may_fetch);
            server.map(|server| (server, Question::Fetch)).into_iter().collect()
        };
        match &self.role {
            // Who votes waits for a leader to say so, or stands for election.
            Role::Unattached { .. } if self.is_voter() => Vec::new(),
            Role::Unattached { .. } => bootstrap(),
            Role::Prospective { tally, .. } => {
                let open = others().filter(|id| !tally.has(*id));
                let votes = open.map(|id| (id, Question::Vote { is_pre_vote: true }));
                // Who has no vote may have missed that others vote than those it asks.
                let elsewhere = if self.is_voter() { Vec::new() } else { bootstrap() };
                votes.chain(elsewhere).collect()
            }
            Role::Candidate { tally, .. } => {
                let open = others().filter(|id| !tally.has(*id));
                open.map(|id| (id, Question::Vote { is_pre_vote: false })).collect()
            }
            Role::Follower { fetch_by, .. } if !self.is_voter() && *fetch_by <= now.monotonic => bootstrap(),
            Role::Follower { leader, .. } => {
                if may_fetch {
                    let fetch = match self.snapshots.wanted() {
                        // One is written at a time.
                        Some(_) if self.snapshots.is_writing() => None,
                        Some(_) => Some(Question::FetchSnapshot),
                        None => Some(Question::Fetch),
                    };
                    [fetch, self.wish(now)].into_iter().flatten().map(|it| (*leader, it)).collect()
                } else {
                    Vec::new()
                }
            }
            Role::Leader(leader) => {
                let joining = leader.change.as_ref().and_then(VoterChange::joining);
                let joining = joining.map(|voter| (NodeId(voter.voter_id), Question::Supported));
                if leader.begin_epoch_at > now.monotonic {
                    return joining.into_iter().collect();
                }
                let recently = self.config.fetch_timeout_ms / 2;
                let is_silent = |id: &NodeId| {
                    let heard = leader.replicas.get(id).and_then(|replica| replica.heard);
                    heard.is_none_or(|at| at.plus_millis(recently) <= now.monotonic)
                };
                let silent = others().filter(is_silent).map(|id| (id, Question::BeginEpoch));
                silent.chain(joining).collect()
            }
            Role::Resigned { told, .. } => {
                let open = others().filter(|id| !told.contains(id));
                open.map(|id| (id, Question::EndEpoch)).collect()
            }
        }
    }

    /// Who has no vote and hears nothing of its leader asks elsewhere, whether its deadline is what tells it so or something else
    /// comes first and finds that the time is over.
    pub(crate) fn leave_silent_leader(&mut self, now: Now, out: &mut Outbox) {
        let is_overdue = match self.role {
            Role::Follower { fetch_by, .. } => !self.is_voter() && fetch_by <= now.monotonic,
            Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Leader(_)
            | Role::Resigned { .. } => false,
        };
        if is_overdue {
            self.pursue(now, out);
        }
    }

    /// Asks what there is to ask.
    pub(super) fn pursue(&mut self, now: Now, out: &mut Outbox) {
        for (voter, question) in self.questions(now) {
            if !self.may_ask(voter, question, now) {
                continue;
            }
            let key = self.voters.key(voter);
            let (version, body) = match question {
                Question::Vote { is_pre_vote } => {
                    let ballot = Ballot {
                        candidate: self.identity,
                        epoch: self.election.epoch,
                        last_epoch: self.last_epoch(),
                        log_end: self.log.next_offset(),
                        is_pre_vote,
                    };
                    let request = messages::vote_request(&self.cluster_id, key, &ballot);
                    (messages::VOTE_VERSION, AnyRequest::Vote(request))
                }
                Question::BeginEpoch => {
                    let me = self.identity.node;
                    let own = self.own_voter.endpoints.first();
                    let Some(own) = own.map(|own| Address::new(&own.host, own.port)) else { continue };
                    let request = messages::begin_quorum_epoch_request(
                        &self.cluster_id,
                        key,
                        me,
                        self.election.epoch,
                        (&self.listener, &own),
                    );
                    (messages::BEGIN_QUORUM_EPOCH_VERSION, AnyRequest::BeginQuorumEpoch(request))
                }
                Question::EndEpoch => {
                    let Role::Resigned { successors, .. } = &self.role else { continue };
                    let keys = successors.iter().map(|node| self.voters.key(*node));
                    let successors: Vec<VoterKey> = keys.collect();
                    let request = messages::end_quorum_epoch_request(
                        &self.cluster_id,
                        self.identity.node,
                        self.election.epoch,
                        &successors,
                    );
                    (messages::END_QUORUM_EPOCH_VERSION, AnyRequest::EndQuorumEpoch(request))
                }
                Question::Fetch => {
                    let fetch = LogFetch {
                        replica: self.identity,
                        epoch: self.election.epoch,
                        offset: self.log.next_offset(),
                        last_epoch: self.last_epoch(),
                        log_start: self.log.log_start(),
                        high_watermark: self.high_watermark,
                        max_wait_ms: self.fetch_max_wait_ms(),
                        max_bytes: i32::try_from(self.config.fetch_max_bytes).unwrap_or(i32::MAX),
                    };
                    let request = messages::fetch_request(&self.cluster_id, &fetch);
                    (messages::FETCH_VERSION, AnyRequest::Fetch(request))
                }
                Question::FetchSnapshot => {
                    let Some(wanted) = self.snapshots.wanted() else { continue };
                    let request = messages::fetch_snapshot_request(
                        &self.cluster_id,
                        self.identity,
                        self.election.epoch,
                        wanted,
                        i32::try_from(self.config.fetch_snapshot_max_bytes).unwrap_or(i32::MAX),
                    );
                    (messages::FETCH_SNAPSHOT_VERSION, AnyRequest::FetchSnapshot(request))
                }
                Question::Supported => {
                    let request = messages::api_versions_request();
                    (messages::API_VERSIONS_VERSION, AnyRequest::ApiVersions(request))
                }
                Question::AddVoter | Question::RemoveVoter | Question::UpdateVoter | Question::Register => {
                    let Some(request) = self.wish_request(question) else { continue };
                    request
                }
            };
            self.ask(voter, question, version, body, now, out);
        }
        if let Role::Leader(leader) = &mut self.role
            && leader.begin_epoch_at <= now.monotonic
        {
            leader.begin_epoch_at = now.monotonic.plus_millis((self.config.fetch_timeout_ms / 2).max(1));
        }
    }

    pub(super) fn back_off(&mut self, voter: NodeId, channel: Channel, now: Now) {
        let failures = self.backoffs.get(&(voter, channel)).map_or(0, |backoff| backoff.failures);
        let wait = self.config.retry_backoff_ms.max(1) << failures.min(BACKOFF_DOUBLINGS_MAX);
        let backoff =
            Backoff { until: now.monotonic.plus_millis(wait), failures: failures.saturating_add(1) };
        self.backoffs.insert((voter, channel), backoff);
    }

    /// The leader's log and this one do not go together as they are.
    pub(super) fn back_off_fetch(&mut self, now: Now) {
        if let Role::Follower { leader, .. } = self.role {
            self.back_off(leader, Channel::Fetch, now);
        }
    }

    /// Takes what another node answered.
    pub(crate) fn on_answer(
        &mut self,
        request: RequestId,
        result: Result<AnyResponse, PeerFault>,
        now: Now,
        out: &mut Outbox,
    ) {
        // Nothing is known of what was asked over a connection that was given up.
        let Some(asked) = self.asked.remove(&request) else { return };
        if self.is_stopping {
            return;
        }
        self.leave_bootstrap_server(asked.voter);
        match result {
            Err(PeerFault::Disconnected) => self.back_off(asked.voter, asked.peer.channel, now),
            Ok(body) => self.on_response(&asked, body, now, out),
        }
        self.pursue(now, out);
    }

    fn on_response(&mut self, asked: &Asked, body: AnyResponse, now: Now, out: &mut Outbox) {
        /// What an answer tells: its code, the epoch and its leader, and where that is.
        macro_rules! told {
            ($response:expr) => {{
                let data = $response.topics.first().and_then(|topic| topic.partitions.first());
                data.map(|data| {
                    let leader = data.leader_id;
                    let endpoint = $response.node_endpoints.iter().find(|node| node.node_id == leader);
                    let address = endpoint.map(|node| Address::new(&node.host, node.port));
                    let leader = Some(NodeId(leader)).filter(|id| id.0 >= 0);
                    (data.error_code, LeaderEpoch(data.leader_epoch), leader, address)
                })
            }};
        }
        let answer = match (asked.question, body) {
            (Question::Fetch, AnyResponse::Fetch(response)) => {
                if response.error_code == ErrorCode::None.as_i16() {
                    self.on_fetched(asked, response, now, out);
                } else {
                    self.back_off(asked.voter, Channel::Fetch, now);
                }
                return;
            }
            (Question::FetchSnapshot, AnyResponse::FetchSnapshot(response)) => {
                if response.error_code == ErrorCode::None.as_i16() {
                    self.on_snapshot_chunk(asked, response, now, out);
                } else {
                    self.back_off(asked.voter, Channel::Fetch, now);
                }
                return;
            }
            (Question::Supported, AnyResponse::ApiVersions(response)) => {
                self.backoffs.remove(&(asked.voter, asked.peer.channel));
                return self.on_supported(asked, &response, now, out);
            }
            (Question::UpdateVoter, AnyResponse::UpdateRaftVoter(response)) => {
                self.backoffs.remove(&(asked.voter, asked.peer.channel));
                if response.error_code == ErrorCode::None.as_i16() {
                    self.on_introduced(asked);
                }
                return self.on_wish_answered(now);
            }
            (Question::AddVoter, AnyResponse::AddRaftVoter(_))
            | (Question::RemoveVoter, AnyResponse::RemoveRaftVoter(_))
            | (Question::Register, AnyResponse::ControllerRegistration(_)) => {
                self.backoffs.remove(&(asked.voter, asked.peer.channel));
                return self.on_wish_answered(now);
            }
            (Question::Vote { .. }, AnyResponse::Vote(response)) => {
                let data = response.topics.first().and_then(|topic| topic.partitions.first());
                let is_granted = data.is_some_and(|data| data.vote_granted);
                told!(response).map(|told| (told, is_granted))
            }
            (Question::BeginEpoch, AnyResponse::BeginQuorumEpoch(response)) => {
                told!(response).map(|told| (told, false))
            }
            (Question::EndEpoch, AnyResponse::EndQuorumEpoch(response)) => {
                told!(response).map(|told| (told, false))
            }
            _ => None,
        };
        let Some(((code, epoch, leader, address), is_granted)) = answer else {
            return self.back_off(asked.voter, asked.peer.channel, now);
        };
        self.note_address(epoch, leader, address);
        self.backoffs.remove(&(asked.voter, asked.peer.channel));
        self.learn(epoch, leader, now, out);
        let is_answered = code == ErrorCode::None.as_i16();
        if !is_answered {
            self.back_off(asked.voter, asked.peer.channel, now);
        }
        if asked.epoch != self.election.epoch {
            return;
        }
        match (&mut self.role, asked.question) {
            (Role::Prospective { tally, .. }, Question::Vote { is_pre_vote: true })
            | (Role::Candidate { tally, .. }, Question::Vote { is_pre_vote: false }) => {
                tally.note(asked.voter, is_granted && is_answered);
                self.maybe_win(now, out);
            }
            (Role::Leader(leader), Question::BeginEpoch) if is_answered => {
                if let Some(replica) = leader.replicas.get_mut(&asked.voter) {
                    replica.heard = Some(now.monotonic);
                }
            }
            (Role::Resigned { told, .. }, Question::EndEpoch) => told.push(asked.voter),
            _ => {}
        }
    }

    // ---- time ----

    /// When [`Self::on_deadline`] has something to do.
    pub(crate) fn next_deadline(&self, now: Now) -> Option<Instant> {
        let role = match &self.role {
            // Nobody has to be heard of.
            Role::Leader(leader) if self.is_sole_voter() => leader.change.as_ref().map(VoterChange::deadline),
            // Whoever stops stands for nothing.
            _ if self.is_stopping => None,
            // What it has cut off must be gone before it may write, and so before it stands for election.
            _ if self.log.is_cutting() || self.snapshots.is_installing() => None,
            Role::Leader(leader) => {
                let change = leader.change.as_ref().map(VoterChange::deadline);
                change.into_iter().chain([leader.check_quorum_at, leader.begin_epoch_at]).min()
            }
            // Who does not stand waits for no election, and asks elsewhere when it hears nothing of its leader.
            Role::Unattached { .. } | Role::Prospective { .. } | Role::Candidate { .. } if !self.stands() => {
                None
            }
            Role::Follower { fetch_by, .. } if !self.stands() => {
                Some(*fetch_by).filter(|at| *at > now.monotonic)
            }
            Role::Unattached { election_at: at }
            | Role::Prospective { until: at, .. }
            | Role::Candidate { until: at, .. }
            | Role::Follower { fetch_by: at, .. }
            | Role::Resigned { until: at, .. } => Some(*at),
        };
        let asked = self.asked.values().map(|asked| asked.deadline).min();
        let fetches = self.fetches.values().filter(|fetch| fetch.place == Place::Unknown);
        let fetches = fetches.map(|fetch| fetch.deadline).min();
        let retries = self.questions(now).into_iter().filter_map(|(voter, question)| {
            let backoff = self.backoffs.get(&(voter, channel_of(question)))?;
            // Who cannot be reached is not asked, however long that is put off.
            self.address_of(voter)?;
            (!self.is_asked(voter, question)).then_some(backoff.until)
        });
        let wish = match self.role {
            Role::Follower { .. } if self.wish_at > now.monotonic && !self.is_stopping => Some(self.wish_at),
            Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Follower { .. }
            | Role::Leader(_)
            | Role::Resigned { .. } => None,
        };
        let snapshots = if self.is_stopping { None } else { self.snapshots.next_deadline() };
        let log = if self.is_stopping { None } else { self.log.next_deadline() };
        [role, asked, fetches, retries.min(), snapshots, log, wish].into_iter().flatten().min()
    }

    /// Does what has come due.
    pub(crate) fn on_deadline(&mut self, now: Now, out: &mut Outbox) {
        self.give_up_on_silent_peers(now, out);
        if !self.is_stopping {
            self.log.on_deadline(now, out);
            self.on_snapshot_deadline(now, out);
        }
        let at = now.monotonic;
        self.give_up_voter_change(now, out);
        match &self.role {
            Role::Leader(_) if self.is_sole_voter() => {}
            _ if self.is_stopping || self.log.is_cutting() || self.snapshots.is_installing() => {}
            Role::Leader(leader) => {
                if leader.check_quorum_at <= at && !self.museum.has(Exhibit::A18NoCheckQuorum) {
                    out.sometimes(Mark::QuorumCheckQuorum);
                    let successors = leader.successors();
                    self.become_resigned(successors, now, out);
                } else if leader.check_quorum_at <= at {
                    self.put_check_quorum_off(now);
                }
            }
            // Who does not stand for election waits to hear of a leader.
            Role::Resigned { until, .. } if *until <= at && !self.stands() => {
                self.become_unattached(self.election.epoch, now, out);
            }
            Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Follower { .. }
                if !self.stands() => {}
            Role::Unattached { election_at: due } | Role::Resigned { until: due, .. } if *due <= at => {
                self.transition_to_prospective(now, out);
            }
            Role::Follower { fetch_by, .. } if *fetch_by <= at => {
                out.sometimes(Mark::QuorumLeaderSilent);
                self.transition_to_prospective(now, out);
            }
            Role::Prospective { until, .. } if *until <= at => self.leave_prospective(now, out),
            Role::Candidate { until, .. } if *until <= at => self.transition_to_prospective(now, out),
            Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Follower { .. }
            | Role::Resigned { .. } => {}
        }
        self.serve_fetches(now, out);
        self.pursue(now, out);
    }

    /// The wrong rule of [`Exhibit::A18NoCheckQuorum`]: a leader that hears of nobody goes on.
    fn put_check_quorum_off(&mut self, now: Now) {
        let at = now.monotonic.plus_millis(self.check_quorum_ms().max(1));
        if let Role::Leader(leader) = &mut self.role {
            leader.check_quorum_at = at;
        }
    }

    /// Hangs up on peers that did not answer in time: an answer that came later would be taken for one to the next request
    /// by nobody, but whoever waits behind it would wait with it.
    fn give_up_on_silent_peers(&mut self, now: Now, out: &mut Outbox) {
        let is_silent = |asked: &&Asked| asked.deadline <= now.monotonic;
        let mut silent: Vec<(NodeId, Peer)> = Vec::new();
        for asked in self.asked.values().filter(is_silent) {
            if !silent.iter().any(|(_, peer)| *peer == asked.peer) {
                silent.push((asked.voter, asked.peer.clone()));
            }
        }
        for (voter, peer) in silent {
            self.leave_bootstrap_server(voter);
            out.sometimes(Mark::QuorumPeerSilent);
            self.asked.retain(|_, asked| asked.peer != peer);
            self.held
                .retain(|(_, output)| !matches!(output, Output::Ask { peer: other, .. } if *other == peer));
            self.back_off(voter, peer.channel, now);
            out.push(Output::HangUp { peer });
        }
    }
}

const fn channel_of(question: Question) -> Channel {
    match question {
        Question::Vote { .. }
        | Question::BeginEpoch
        | Question::EndEpoch
        | Question::Supported
        | Question::AddVoter
        | Question::RemoveVoter
        | Question::UpdateVoter
        | Question::Register => Channel::Election,
        Question::Fetch | Question::FetchSnapshot => Channel::Fetch,
    }
}
