//! Who leads: how a node's part in its epoch changes, and what others are told who ask it about that.

use super::leader::Leader;
use super::membership::kraft_version_records;
use super::messages::LeaderHint;
use super::voters::is_same_disk;
use super::{Address, BACKOFF_DOUBLINGS_MAX, ElectionState, Quorum, Role, Tally, VoterKey, messages};
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::mark::Mark;
use crate::museum::Exhibit;
use crate::node::ReplyTo;
use crate::outbox::Outbox;
use crate::peer::Channel;
use crate::time::{Instant, Now};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::BatchParams;
use sordini_protocol::control::{ControlType, control_batch};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::{BeginQuorumEpochRequest, EndQuorumEpochRequest, VoteRequest, VoteResponse};
use sordini_protocol::records::LeaderChangeMessage;
use sordini_protocol::records::leader_change_message::Voter;
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Message as _, Str, Uuid};

impl Quorum {
    pub(super) fn election_deadline(&mut self, now: Now) -> Instant {
        self.jittered(self.config.election_timeout_ms, now)
    }

    /// Some time from `millis` to twice that: nodes that begin to wait together do not stop waiting together.
    fn jittered(&mut self, millis: i64, now: Now) -> Instant {
        let span = millis.max(1);
        let jitter = self.rng.below(span.unsigned_abs());
        now.monotonic.plus_millis(span + i64::try_from(jitter).expect("it is below a number of 63 bits"))
    }

    /// The one way from a role to another. A fetch that waits for a leader is never answered by what becomes of it: the
    /// follower would take its word for what is committed.
    fn enter(&mut self, role: Role, out: &mut Outbox) {
        self.truncating = None;
        self.snapshots.stop_fetching();
        if let Role::Leader(leader) = &mut self.role
            && let Some(change) = leader.change.take()
        {
            self.drop_voter_change(change, out);
        }
        self.role = role;
        for (_, fetch) in core::mem::take(&mut self.fetches) {
            out.sometimes(Mark::QuorumFetchRefusedAtEnd);
            self.refuse_fetch(&fetch.reply_to, ErrorCode::NotLeaderOrFollower, out);
        }
    }

    pub(super) fn become_unattached(&mut self, epoch: LeaderEpoch, now: Now, out: &mut Outbox) {
        assert!(epoch >= self.election.epoch, "an epoch does not fall");
        if epoch > self.election.epoch {
            self.election = ElectionState { epoch, leader: None, voted: None };
            self.write_election_state(out);
        } else if self.museum.has(Exhibit::A17ClearVoteOnStepDown) {
            self.election.voted = None;
        }
        let election_at = self.election_deadline(now);
        self.enter(Role::Unattached { election_at }, out);
        self.pursue(now, out);
    }

    fn become_follower(&mut self, epoch: LeaderEpoch, leader: NodeId, now: Now, out: &mut Outbox) {
        assert!(epoch >= self.election.epoch, "an epoch does not fall");
        assert!(leader != self.identity.node, "nobody follows itself");
        let before = self.election;
        if epoch > before.epoch {
            self.election = ElectionState { epoch, leader: Some(leader), voted: None };
        } else {
            assert!(before.leader.is_none_or(|known| known == leader), "an epoch has one leader");
            self.election.leader = Some(leader);
        }
        if self.election != before {
            self.write_election_state(out);
        }
        self.follow(leader, now, out);
    }

    pub(super) fn follow(&mut self, leader: NodeId, now: Now, out: &mut Outbox) {
        let fetch_by = now.monotonic.plus_millis(self.config.fetch_timeout_ms);
        self.enter(Role::Follower { leader, has_fetched: false, fetch_by, is_introduced: false }, out);
        self.lost_elections = 0;
        self.backoffs.remove(&(leader, Channel::Fetch));
        self.pursue(now, out);
    }

    pub(super) fn transition_to_prospective(&mut self, now: Now, out: &mut Outbox) {
        assert!(!matches!(self.role, Role::Leader(_)), "a leader resigns before it stands for election");
        out.sometimes(Mark::QuorumPreVote);
        let until = self.election_deadline(now);
        let mut tally = Tally::default();
        if self.is_voter() {
            tally.note(self.identity.node, true);
        }
        self.enter(Role::Prospective { tally, until }, out);
        // Who is alone needs nobody else.
        self.maybe_win(now, out);
        self.pursue(now, out);
    }

    pub(super) fn transition_to_candidate(&mut self, now: Now, out: &mut Outbox) {
        let epoch = LeaderEpoch(self.election.epoch.0 + 1);
        if epoch.0 == i32::MAX {
            self.fail(String::from(
                "the epochs of the metadata quorum are used up: nobody can be elected any more",
            ));
            return;
        }
        self.election = ElectionState { epoch, leader: None, voted: Some(self.identity) };
        self.write_election_state(out);
        let until = self.election_deadline(now);
        let (tally, vote_write) = (Tally::default(), self.state_writes);
        self.enter(Role::Candidate { tally, until, vote_write, is_lost: false }, out);
        self.pursue(now, out);
    }

    /// A majority would not have this node, or did not answer in time.
    pub(super) fn leave_prospective(&mut self, now: Now, out: &mut Outbox) {
        match self.election.leader.filter(|leader| *leader != self.identity.node) {
            Some(leader) => self.follow(leader, now, out),
            None => self.become_unattached(self.election.epoch, now, out),
        }
    }

    pub(super) fn maybe_win(&mut self, now: Now, out: &mut Outbox) {
        if self.is_stopping {
            return;
        }
        let majority = self.voters.majority();
        let is_lost = |tally: &Tally| tally.rejected.len() > self.voters.ids().count() - majority;
        match &mut self.role {
            Role::Prospective { tally, .. } if tally.granted.len() >= majority => {
                self.transition_to_candidate(now, out);
            }
            Role::Prospective { tally, .. } if is_lost(tally) => {
                out.sometimes(Mark::QuorumPreVoteRejected);
                self.leave_prospective(now, out);
            }
            Role::Candidate { tally, .. } if tally.granted.len() >= majority => {
                let granted = core::mem::take(&mut tally.granted);
                self.transition_to_leader(granted, now, out);
            }
            Role::Candidate { tally, until, is_lost: was_lost, .. } if !*was_lost && is_lost(tally) => {
                *was_lost = true;
                out.sometimes(Mark::QuorumElectionLost);
                let doublings = self.lost_elections.min(BACKOFF_DOUBLINGS_MAX);
                self.lost_elections += 1;
                let bound = (self.config.retry_backoff_ms.max(1) << doublings)
                    .min(self.config.election_backoff_max_ms);
                let wait = self.rng.below(bound.max(1).unsigned_abs());
                let at =
                    now.monotonic.plus_millis(i64::try_from(wait).expect("it is below a number of 63 bits"));
                *until = at.min(*until);
            }
            Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Follower { .. }
            | Role::Leader(_)
            | Role::Resigned { .. } => {}
        }
    }

    pub(super) fn transition_to_leader(&mut self, granted: Vec<NodeId>, now: Now, out: &mut Outbox) {
        assert!(matches!(self.role, Role::Candidate { .. }), "a leader was voted for");
        out.sometimes_if(!self.is_sole_voter(), Mark::QuorumElected);
        self.election.leader = Some(self.identity.node);
        self.write_election_state(out);
        self.lost_elections = 0;
        let leader = Leader::new(
            self.log.next_offset(),
            self.voters.others(self.identity.node),
            now.monotonic.plus_millis(self.check_quorum_ms()),
            now.monotonic,
        );
        self.enter(Role::Leader(leader), out);
        // What earlier epochs wrote and did not live to see committed is committed with the first batch of this one.
        let voter = |id: NodeId| Voter { voter_id: id.0, ..Voter::default() };
        let leader_change = LeaderChangeMessage {
            leader_id: self.identity.node.0,
            voters: self.voters.ids().map(voter).collect(),
            granting_voters: granted.into_iter().map(voter).collect(),
            ..LeaderChangeMessage::default()
        };
        let encode =
            |bytes: Result<Bytes, _>| bytes.expect("control records are written at a version they have");
        let mut records = alloc::vec![(ControlType::LeaderChange, encode(leader_change.to_bytes(0)))];
        if self.log.next_offset() == Offset(0)
            && self.voters.get(self.identity.node).is_some_and(|voter| !voter.voter_directory_id.is_zero())
        {
            records.extend(kraft_version_records(&self.voters));
        }
        let params = BatchParams { control: true, ..BatchParams::default() };
        self.append_batch(control_batch(params, now.wall_ms, &records), Vec::new(), now, out);
        self.pursue(now, out);
    }

    pub(super) fn become_resigned(&mut self, successors: Vec<NodeId>, now: Now, out: &mut Outbox) {
        let until = self.election_deadline(now);
        self.enter(Role::Resigned { successors, told: Vec::new(), until }, out);
        self.pursue(now, out);
    }

    pub(super) const fn check_quorum_ms(&self) -> i64 {
        self.config.fetch_timeout_ms.saturating_mul(3) / 2
    }

    /// Takes note of an epoch and its leader, as another node told them.
    pub(super) fn learn(&mut self, epoch: LeaderEpoch, leader: Option<NodeId>, now: Now, out: &mut Outbox) {
        let leader = leader.filter(|id| *id != self.identity.node && self.address_of(*id).is_some());
        if is_last(epoch) {
            // Nobody was elected so often: whoever says so is wrong, or wants nobody to be elected any more.
        } else if epoch > self.election.epoch {
            match leader {
                Some(leader) => self.become_follower(epoch, leader, now, out),
                None => self.become_unattached(epoch, now, out),
            }
        } else if epoch == self.election.epoch
            && self.election.leader.is_none()
            && let Some(leader) = leader
        {
            self.become_follower(epoch, leader, now, out);
        }
    }

    pub(super) fn hint(&self) -> LeaderHint {
        let leader = self.election.leader.map(|id| (id, self.address_of(id)));
        LeaderHint { epoch: self.election.epoch, leader }
    }

    // ---- requests ----

    /// A peer is of another cluster, whose elections are none of this node's business.
    pub(super) fn is_of_other_cluster(&self, cluster_id: Option<&Str>) -> bool {
        cluster_id.is_some_and(|id| *id != self.cluster_id)
    }

    pub(crate) fn on_vote(&mut self, reply_to: &ReplyTo, request: &VoteRequest, now: Now, out: &mut Outbox) {
        let partition = match messages::voted_on(request) {
            _ if self.is_of_other_cluster(request.cluster_id.as_ref()) => {
                Err(ErrorCode::InconsistentClusterId)
            }
            None => Err(ErrorCode::InvalidRequest),
            Some(partition) => Ok(partition),
        };
        let partition = match partition {
            Ok(partition) => partition,
            Err(code) => {
                let response = VoteResponse { error_code: code.as_i16(), ..VoteResponse::default() };
                return self.respond(reply_to, AnyResponse::Vote(response), out);
            }
        };
        let (epoch, last_epoch) =
            (LeaderEpoch(partition.replica_epoch), LeaderEpoch(partition.last_offset_epoch));
        let is_pre_vote = partition.pre_vote;
        // A log cannot have been written in an epoch that is only now being voted on.
        let is_impossible = if is_pre_vote { last_epoch > epoch } else { last_epoch >= epoch };
        let code = if is_impossible
            || last_epoch.0 < 0
            || partition.last_offset < 0
            || partition.replica_id < 0
            || is_last(epoch)
        {
            ErrorCode::InvalidRequest
        } else if epoch < self.election.epoch {
            ErrorCode::FencedLeaderEpoch
        } else if !self.is_addressed(request.voter_id, partition.voter_directory_id) {
            ErrorCode::InvalidVoterKey
        } else {
            ErrorCode::None
        };
        let mut is_granted = false;
        if code == ErrorCode::None {
            self.learn(epoch, None, now, out);
            let candidate =
                VoterKey { node: NodeId(partition.replica_id), directory: partition.replica_directory_id };
            let own = (self.last_epoch(), self.log.next_offset());
            let is_up_to_date = (last_epoch, Offset(partition.last_offset)) >= own;
            out.sometimes_if(!is_up_to_date, Mark::QuorumVoteLogBehind);
            is_granted = if is_pre_vote {
                self.would_vote(is_up_to_date)
            } else {
                self.vote(candidate, is_up_to_date, out)
            };
        }
        let response = messages::vote_response(code, &self.hint(), is_granted);
        self.respond(reply_to, AnyResponse::Vote(response), out);
    }

    /// Whether a request that names a voter means this node, with the disk that it has.
    fn is_addressed(&self, voter: i32, directory: Uuid) -> bool {
        let is_node = voter == self.identity.node.0 || voter == -1;
        is_node && is_same_disk(self.identity.directory, directory, self.museum)
    }

    /// The epoch of the last batch, or of what a snapshot contains where the log holds nothing; 0 where there was nothing yet.
    pub(super) fn last_epoch(&self) -> LeaderEpoch {
        self.epoch_below(self.log.next_offset())
    }

    /// The epoch of what ends at an offset.
    pub(super) fn epoch_below(&self, end: Offset) -> LeaderEpoch {
        let snapshot = || self.snapshots.ids().find(|id| id.end == end).map(|id| id.epoch);
        self.log.epochs().epoch_at(end.plus(-1)).or_else(snapshot).unwrap_or_default()
    }

    fn would_vote(&self, is_up_to_date: bool) -> bool {
        match &self.role {
            Role::Leader(_) => false,
            // Its leader is there: whoever does not see it is cut off, and must not disturb the others (KIP-996).
            Role::Follower { has_fetched, .. } => is_up_to_date && !has_fetched,
            Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Resigned { .. } => is_up_to_date,
        }
    }

    fn vote(&mut self, candidate: VoterKey, is_up_to_date: bool, out: &mut Outbox) -> bool {
        match (self.election.leader, self.election.voted) {
            (Some(_), _) => false,
            (None, Some(voted)) => voted == candidate,
            (None, None) if is_up_to_date => {
                out.sometimes(Mark::QuorumVoted);
                self.election.voted = Some(candidate);
                self.write_election_state(out);
                true
            }
            (None, None) => false,
        }
    }

    pub(crate) fn on_begin_quorum_epoch(
        &mut self,
        reply_to: &ReplyTo,
        request: &BeginQuorumEpochRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let partition = messages::begun(request);
        let code = match partition {
            _ if self.is_of_other_cluster(request.cluster_id.as_ref()) => ErrorCode::InconsistentClusterId,
            None => ErrorCode::InvalidRequest,
            Some(partition) => {
                let (epoch, leader) = (LeaderEpoch(partition.leader_epoch), NodeId(partition.leader_id));
                let endpoint = request.leader_endpoints.first();
                let told = endpoint.map(|endpoint| Address::new(&endpoint.host, endpoint.port));
                let is_other =
                    epoch == self.election.epoch && self.election.leader.is_some_and(|known| known != leader);
                if is_last(epoch) {
                    ErrorCode::InvalidRequest
                } else if epoch < self.election.epoch {
                    ErrorCode::FencedLeaderEpoch
                } else if is_other
                    || (told.is_none() && self.address_of(leader).is_none())
                    || leader == self.identity.node
                {
                    ErrorCode::InvalidRequest
                } else if !self.is_addressed(request.voter_id, partition.voter_directory_id) {
                    ErrorCode::InvalidVoterKey
                } else {
                    self.note_address(epoch, Some(leader), told);
                    // A node that has begun to ask for votes, because it had lost its leader, has found it again.
                    let is_followed =
                        matches!(&self.role, Role::Follower { leader: known, .. } if *known == leader);
                    if epoch > self.election.epoch || !is_followed {
                        self.become_follower(epoch, leader, now, out);
                    }
                    ErrorCode::None
                }
            }
        };
        let response = messages::begin_quorum_epoch_response(code, &self.hint());
        self.respond(reply_to, AnyResponse::BeginQuorumEpoch(response), out);
    }

    pub(crate) fn on_end_quorum_epoch(
        &mut self,
        reply_to: &ReplyTo,
        request: &EndQuorumEpochRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let partition = messages::ended(request);
        let code = match partition {
            _ if self.is_of_other_cluster(request.cluster_id.as_ref()) => ErrorCode::InconsistentClusterId,
            None => ErrorCode::InvalidRequest,
            Some(partition) => {
                let (epoch, leader) = (LeaderEpoch(partition.leader_epoch), NodeId(partition.leader_id));
                if is_last(epoch) || leader.0 < 0 {
                    ErrorCode::InvalidRequest
                } else if epoch < self.election.epoch {
                    ErrorCode::FencedLeaderEpoch
                } else {
                    self.learn(epoch, Some(leader), now, out);
                    let rank = messages::successors(partition).position(|id| id == self.identity.node);
                    self.on_leader_gone(leader, rank, now, out);
                    ErrorCode::None
                }
            }
        };
        let response = messages::end_quorum_epoch_response(code, &self.hint());
        self.respond(reply_to, AnyResponse::EndQuorumEpoch(response), out);
    }

    /// The leader has resigned. Whom it would have follow it stands at once, the others a little later each, and whom it
    /// does not name last of all.
    fn on_leader_gone(&mut self, gone: NodeId, rank: Option<usize>, now: Now, out: &mut Outbox) {
        if !matches!(self.role, Role::Follower { leader, .. } if leader == gone) {
            return;
        }
        out.sometimes(Mark::QuorumLeaderGone);
        let longest = self.config.election_backoff_max_ms.max(1);
        let wait = match rank {
            // Those that it does not name should not all stand at once.
            None => i64::try_from(self.rng.below(longest.unsigned_abs())).unwrap_or(longest),
            Some(0) => 0,
            Some(rank) => {
                let doublings = u32::try_from(rank).unwrap_or(u32::MAX).min(BACKOFF_DOUBLINGS_MAX);
                (self.config.retry_backoff_ms.max(1) << doublings).min(longest)
            }
        };
        if let Role::Follower { fetch_by, .. } = &mut self.role {
            *fetch_by = now.monotonic.plus_millis(wait).min(*fetch_by);
        }
        self.pursue(now, out);
    }
}

/// Whether an epoch is one of the last, after which nobody could be elected: nobody was elected so often.
const fn is_last(epoch: LeaderEpoch) -> bool {
    epoch.0 >= i32::MAX - 1
}
