//! The quorum that keeps the metadata log (KIP-595, KIP-996): who leads, what is committed, and how a voter's log becomes
//! the leader's.
//!
//! | from | to | when |
//! |---|---|---|
//! | any | Unattached | somebody has a higher epoch, and its leader is not known |
//! | any but Leader | Follower | the leader of this epoch, or a higher one, is known |
//! | Unattached, Follower, Resigned | Prospective | nothing was heard of a leader for too long |
//! | Prospective | Candidate | a majority would vote for this node |
//! | Prospective | Follower, Unattached | a majority would not, or time is up |
//! | Candidate | Leader | a majority voted for this node |
//! | Candidate | Prospective | a majority did not, or time is up |
//! | Leader | Resigned | nothing was heard of a majority for too long, or the node stops |
//!
//! A node says nothing of an epoch, a vote or a leader before it is durable: what it has to say waits in `held`.
//!
//! Followers fetch. A fetch from an offset says that everything below it is durable, and so it waits until that is so. The
//! machine knows nothing of what the records of the log mean.

mod describe;
mod election_state;
mod leader;
mod messages;
mod voters;

pub(crate) use election_state::ElectionState;
pub(crate) use voters::{Address, VoterKey, VoterSet};

use crate::config::QuorumConfig;
use crate::config::topic::TopicConfig;
use crate::ids::{ConnectionId, LeaderEpoch, NodeId, Offset, RequestId};
use crate::log::lookup::{BatchPlace, Found};
use crate::log::partition_log::{LookupId, PartitionLog, Start};
use crate::mark::Mark;
use crate::museum::{Exhibit, Museum};
use crate::node::{Output, ReplyTo};
use crate::outbox::Outbox;
use crate::peer::{Channel, Peer, PeerFault};
use crate::rng::Rng;
use crate::storage_op::{Completion, StorageFault, StorageOp, StoragePath, StorageToken};
use crate::time::{Instant, Now};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use leader::Leader;
use messages::{Ballot, Fetched, LeaderHint, LogFetch};
use sordini_protocol::batch::{Batch, BatchBuilder, BatchParams};
use sordini_protocol::control::{ControlType, control_batch};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, FetchRequest, FetchResponse, VoteRequest, VoteResponse,
};
use sordini_protocol::records::leader_change_message::Voter;
use sordini_protocol::records::{KRaftVersionRecord, LeaderChangeMessage, MetadataRecord, VotersRecord};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Message, Records, Str, Uuid};

/// Directory of the metadata log, beneath its log directory.
pub(crate) const METADATA_LOG_NAME: &str = "__cluster_metadata-0";

/// Name of the snapshot that formatting writes for a quorum whose voters are in the log.
pub(crate) const BOOTSTRAP_CHECKPOINT: &str = "00000000000000000000-0000000000.checkpoint";

/// How long the leader keeps a fetch that finds nothing new. It is the quorum's heartbeat.
const FETCH_MAX_WAIT_MS: i32 = 500;

/// The most that a record batch of the metadata log may unfold to; Kafka writes them uncompressed and below 8 MiB.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 26;

/// No epoch is so high: the one before it has to have a successor.
const EPOCHS_END: LeaderEpoch = LeaderEpoch(i32::MAX);

/// After so many failures in a row the wait between two tries grows no more.
const BACKOFF_DOUBLINGS_MAX: u32 = 6;

/// Records of one batch, which are committed together.
#[derive(Clone, Debug)]
pub(crate) struct Uncommitted {
    /// End of the batch.
    pub(crate) end: Offset,
    pub(crate) records: Vec<MetadataRecord>,
}

/// What a voter is made of when its log is open.
pub(crate) struct Setup {
    pub(crate) identity: VoterKey,
    pub(crate) cluster_id: Str,
    pub(crate) voters: VoterSet,
    /// The voters are those of the configuration, and not those of a record in the log.
    pub(crate) is_configured: bool,
    /// Name of the listener for peers.
    pub(crate) listener: Str,
    pub(crate) config: QuorumConfig,
    pub(crate) museum: Museum,
    pub(crate) rng: Rng,
    pub(crate) election: ElectionState,
    pub(crate) log: PartitionLog,
    /// What the log holds and may not be committed, oldest first.
    pub(crate) uncommitted: VecDeque<Uncommitted>,
    /// Voters as formatting wrote them, to be put into an empty log by its first leader.
    pub(crate) bootstrap_voters: Option<VotersRecord>,
    /// Owner of the tokens under which the election state is written.
    pub(crate) state_owner: u32,
}

/// What a voter is in its epoch. The module's comment has the transitions.
#[derive(Clone, Debug)]
enum Role {
    /// No leader is known.
    Unattached {
        election_at: Instant,
    },
    /// Asks whether it would be voted for.
    Prospective {
        tally: Tally,
        until: Instant,
    },
    /// Asks to be voted for. Its own vote counts when the write of this number is durable.
    Candidate {
        tally: Tally,
        until: Instant,
        vote_write: u64,
        /// So many voted for another that it cannot win: it waits for its next try.
        is_lost: bool,
    },
    Follower {
        leader: NodeId,
        /// A fetch from this leader was answered: it is there.
        has_fetched: bool,
        /// When it takes the leader for gone.
        fetch_by: Instant,
    },
    Leader(Leader),
    /// Led this epoch and does so no more. It tells the others, so that they need not find out.
    Resigned {
        successors: Vec<NodeId>,
        told: Vec<NodeId>,
        until: Instant,
    },
}

/// Who answered a ballot, and how.
#[derive(Clone, Debug, Default)]
struct Tally {
    granted: Vec<NodeId>,
    rejected: Vec<NodeId>,
}

impl Tally {
    fn note(&mut self, voter: NodeId, is_granted: bool) {
        if !self.has(voter) {
            if is_granted { self.granted.push(voter) } else { self.rejected.push(voter) }
        }
    }

    fn has(&self, voter: NodeId) -> bool {
        self.granted.contains(&voter) || self.rejected.contains(&voter)
    }
}

/// What was asked of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Vote { is_pre_vote: bool },
    BeginEpoch,
    EndEpoch,
    Fetch,
}

/// A request to a voter that has no answer.
#[derive(Clone, Debug)]
struct Asked {
    voter: NodeId,
    peer: Peer,
    question: Question,
    /// The epoch it was asked in.
    epoch: LeaderEpoch,
    deadline: Instant,
}

/// When a voter that could not be reached may be asked again.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    until: Instant,
    failures: u32,
}

/// A follower's fetch that waits for records, or for the disk to say where they are.
#[derive(Clone, Debug)]
struct ParkedFetch {
    reply_to: ReplyTo,
    offset: Offset,
    max_bytes: u64,
    /// The high watermark that the follower knows of.
    known_high_watermark: Offset,
    deadline: Instant,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Unknown,
    Searching(LookupId),
    Known(BatchPlace),
}

/// How far a voter is in its epoch, for observers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumRole {
    /// No leader is known.
    Unattached,
    /// Asks whether it would be voted for.
    Prospective,
    /// Asks to be voted for.
    Candidate,
    /// Follows a leader.
    Follower,
    /// Leads.
    Leader,
    /// Led this epoch and does so no more.
    Resigned,
}

/// What an observer may know of a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumView<'a> {
    /// The voter.
    pub node: NodeId,
    /// What it is in its epoch.
    pub role: QuorumRole,
    /// The newest epoch it knows of.
    pub epoch: LeaderEpoch,
    /// Who leads in that epoch, if it knows.
    pub leader: Option<NodeId>,
    /// Whom it voted for in that epoch.
    pub voted: Option<NodeId>,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// First offset of its log.
    pub log_start: Offset,
    /// Below it the log is committed, as far as it knows; nothing before it has heard of a leader.
    pub high_watermark: Option<Offset>,
    /// Below it its log is durable.
    pub flushed_end: Offset,
    /// Offset of its next record.
    pub log_end: Offset,
    /// Where the epoch begins that it leads.
    pub epoch_start: Option<Offset>,
    /// Directory of the log.
    pub dir: &'a str,
}

/// The voter and its log.
#[derive(Clone, Debug)]
pub(crate) struct Quorum {
    identity: VoterKey,
    cluster_id: Str,
    voters: VoterSet,
    is_configured: bool,
    listener: Str,
    config: QuorumConfig,
    museum: Museum,
    rng: Rng,
    /// Epoch, vote and leader. Every change is written before anybody hears of it.
    election: ElectionState,
    role: Role,
    /// How many writes of the election state were begun, and how many are durable.
    state_writes: u64,
    state_written: u64,
    state_owner: u32,
    /// What waits for the write of this number.
    held: VecDeque<(u64, Output)>,
    log: PartitionLog,
    log_config: TopicConfig,
    /// Never falls; `None` until a leader told, or a majority has a record of the own epoch.
    high_watermark: Option<Offset>,
    /// Batches above the high watermark, oldest first.
    uncommitted: VecDeque<Uncommitted>,
    /// Records that were committed and that nobody took yet.
    committed: Vec<MetadataRecord>,
    bootstrap_voters: Option<VotersRecord>,
    asked: BTreeMap<RequestId, Asked>,
    next_request: u64,
    backoffs: BTreeMap<(NodeId, Channel), Backoff>,
    /// How many elections in a row this node has lost.
    lost_elections: u32,
    fetches: BTreeMap<u64, ParkedFetch>,
    next_fetch: u64,
    /// Where the log is about to be cut, while that place is looked for.
    truncating: Option<(LookupId, Offset)>,
    /// The node stops: what others answer is nothing to it any more.
    is_stopping: bool,
    failure: Option<String>,
}

impl Quorum {
    /// A voter that begins where it stopped: as what its election state says, except that who led leads no more.
    pub(crate) fn start(setup: Setup, now: Now, out: &mut Outbox) -> Self {
        let mut election = setup.election;
        if let Some(latest) = setup.log.epochs().latest()
            && latest > election.epoch
        {
            election = ElectionState { epoch: latest, leader: None, voted: None };
        }
        out.sometimes_if(election.epoch > LeaderEpoch(0), Mark::QuorumLaterEpoch);
        let mut quorum = Self {
            identity: setup.identity,
            cluster_id: setup.cluster_id,
            voters: setup.voters,
            is_configured: setup.is_configured,
            listener: setup.listener,
            config: setup.config,
            museum: setup.museum,
            rng: setup.rng,
            election,
            role: Role::Unattached { election_at: now.monotonic },
            state_writes: 0,
            state_written: 0,
            state_owner: setup.state_owner,
            held: VecDeque::new(),
            log: setup.log,
            log_config: log_config(),
            high_watermark: None,
            uncommitted: setup.uncommitted,
            committed: Vec::new(),
            bootstrap_voters: setup.bootstrap_voters,
            asked: BTreeMap::new(),
            next_request: 0,
            backoffs: BTreeMap::new(),
            lost_elections: 0,
            fetches: BTreeMap::new(),
            next_fetch: 0,
            truncating: None,
            is_stopping: false,
            failure: None,
        };
        quorum.log.flush(out);
        let me = quorum.identity.node;
        match quorum.election.leader {
            _ if quorum.is_sole_voter() => quorum.transition_to_candidate(now, out),
            Some(leader) if leader == me && quorum.museum.has(Exhibit::A14ResumeLeadershipSameEpoch) => {
                let (tally, until) = (Tally::default(), now.monotonic);
                quorum.role = Role::Candidate { tally, until, vote_write: 0, is_lost: false };
                quorum.transition_to_leader(alloc::vec![me], now, out);
            }
            Some(leader) if leader == me => {
                // What it wrote in this epoch and did not live to see durable may be with others: it must not write other
                // records at the same offsets (KAFKA-10661).
                out.sometimes(Mark::QuorumLeaderRestarted);
                quorum.election.voted = Some(quorum.identity);
                quorum.become_resigned(Vec::new(), now, out);
            }
            Some(leader) => quorum.follow(leader, now, out),
            None => quorum.role = Role::Unattached { election_at: quorum.election_deadline(now) },
        }
        quorum
    }

    fn is_sole_voter(&self) -> bool {
        self.voters.others(self.identity.node).is_empty() && self.voters.contains(self.identity.node)
    }

    // ---- what others ask of this machine ----

    pub(crate) const fn log(&self) -> &PartitionLog {
        &self.log
    }

    pub(crate) const fn log_mut(&mut self) -> &mut PartitionLog {
        &mut self.log
    }

    /// Below it the log is committed, as far as this node knows.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.high_watermark.unwrap_or_default()
    }

    /// The epoch that this node leads, if it does.
    pub(crate) const fn leads(&self) -> Option<LeaderEpoch> {
        match self.role {
            Role::Leader(_) => Some(self.election.epoch),
            Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Follower { .. }
            | Role::Resigned { .. } => None,
        }
    }

    /// Who leads, as far as this node knows and may say.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.election.leader.filter(|_| self.is_idle())
    }

    /// Who votes, and where they are.
    pub(crate) const fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// Records that were committed since this was last asked, oldest first.
    pub(crate) fn take_committed(&mut self) -> Vec<MetadataRecord> {
        core::mem::take(&mut self.committed)
    }

    /// Records that are in the log and above the high watermark, oldest first.
    pub(crate) fn uncommitted(&self) -> impl Iterator<Item = &MetadataRecord> {
        self.uncommitted.iter().flat_map(|batch| &batch.records)
    }

    /// Why the node cannot go on, once.
    pub(crate) const fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// Whether no election state is on its way to the disk.
    pub(crate) const fn is_idle(&self) -> bool {
        self.state_writes == self.state_written
    }

    pub(crate) fn view(&self) -> QuorumView<'_> {
        let (role, epoch_start) = match &self.role {
            Role::Unattached { .. } => (QuorumRole::Unattached, None),
            Role::Prospective { .. } => (QuorumRole::Prospective, None),
            Role::Candidate { .. } => (QuorumRole::Candidate, None),
            Role::Follower { .. } => (QuorumRole::Follower, None),
            Role::Leader(leader) => (QuorumRole::Leader, Some(leader.epoch_start)),
            Role::Resigned { .. } => (QuorumRole::Resigned, None),
        };
        QuorumView {
            node: self.identity.node,
            role,
            epoch: self.election.epoch,
            leader: self.election.leader,
            voted: self.election.voted.map(|voter| voter.node),
            voters: self.voters.ids().collect(),
            log_start: self.log.log_start(),
            high_watermark: self.high_watermark,
            flushed_end: self.log.flushed_end(),
            log_end: self.log.next_offset(),
            epoch_start,
            dir: self.log.dir().as_str(),
        }
    }

    /// Appends records, all in one batch so that all or none survive. They are committed when a majority has them durable.
    /// Answers the end of the log.
    pub(crate) fn append(&mut self, records: Vec<MetadataRecord>, now: Now, out: &mut Outbox) -> Offset {
        assert!(matches!(self.role, Role::Leader(_)), "only a leader appends");
        if records.is_empty() {
            return self.log.next_offset();
        }
        let mut builder = BatchBuilder::new(BatchParams::default());
        for record in &records {
            let value = record.to_bytes(record.highest_version());
            let value = value.expect("records are written at a version they have");
            builder.append(now.wall_ms, None, Some(&value), &[]);
        }
        self.append_batch(builder.build(), records, now, out);
        self.log.next_offset()
    }

    fn append_batch(&mut self, bytes: Bytes, records: Vec<MetadataRecord>, now: Now, out: &mut Outbox) {
        let batch = Batch::new(bytes).expect("a batch built here is whole");
        let batch = batch.assign(self.log.next_offset().0, self.election.epoch.0);
        self.log.append(batch, &self.log_config, now, out);
        self.uncommitted.push_back(Uncommitted { end: self.log.next_offset(), records });
        self.log.flush(out);
    }

    /// The node stops. A leader lets the others choose another before it is gone (KIP-595).
    pub(crate) fn stop(&mut self, now: Now, out: &mut Outbox) {
        self.is_stopping = true;
        // The log is closed as it is.
        self.truncating = None;
        if let Role::Leader(leader) = &self.role
            && !self.is_sole_voter()
        {
            let successors = leader.successors();
            self.become_resigned(successors, now, out);
        }
    }

    /// The node cannot go on. The first reason is the one that counts.
    fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    // ---- durability of what is said ----

    /// Says something to another node when all that it tells of this one is durable.
    fn say(&mut self, output: Output, out: &mut Outbox) {
        if self.is_idle() {
            out.push(output);
        } else {
            self.held.push_back((self.state_writes, output));
        }
    }

    fn respond(&mut self, reply_to: &ReplyTo, body: AnyResponse, out: &mut Outbox) {
        self.say(reply_to.answer(body), out);
    }

    fn write_election_state(&mut self, out: &mut Outbox) {
        self.state_writes += 1;
        let mut state = self.election;
        if state.leader == Some(self.identity.node) {
            // That it leads says more than for whom it voted, as Kafka has it.
            state.voted = None;
        }
        let ids: Vec<NodeId> = self.voters.ids().collect();
        let bytes = state.to_file(self.is_configured.then_some(&*ids));
        let file = self.log.dir().join("quorum-state");
        let token = StorageToken { owner: self.state_owner, sequence: self.state_writes };
        out.push(Output::Storage { token, op: StorageOp::Replace { file, bytes } });
    }

    /// The write of the election state of this number is durable.
    pub(crate) fn on_state_written(&mut self, number: u64, now: Now, out: &mut Outbox) {
        // Operations on one file take effect in their order, and are answered in any.
        self.state_written = self.state_written.max(number);
        let written = self.state_written;
        while self.held.front().is_some_and(|(after, _)| *after <= written) {
            out.push(self.held.pop_front().expect("it has a front").1);
        }
        if let Role::Candidate { tally, vote_write, .. } = &mut self.role
            && *vote_write <= written
        {
            tally.note(self.identity.node, true);
            self.maybe_win(now, out);
        }
        self.pursue(now, out);
    }

    // ---- transitions ----

    fn election_deadline(&mut self, now: Now) -> Instant {
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
        self.role = role;
        for (_, fetch) in core::mem::take(&mut self.fetches) {
            out.sometimes(Mark::QuorumFetchRefusedAtEnd);
            self.refuse_fetch(&fetch.reply_to, ErrorCode::NotLeaderOrFollower, out);
        }
    }

    fn become_unattached(&mut self, epoch: LeaderEpoch, now: Now, out: &mut Outbox) {
        assert!(epoch >= self.election.epoch, "an epoch does not fall");
        if epoch > self.election.epoch {
            self.election = ElectionState { epoch, leader: None, voted: None };
            self.write_election_state(out);
        } else if self.museum.has(Exhibit::A17ClearVoteOnStepDown) {
            self.election.voted = None;
        }
        let election_at = self.election_deadline(now);
        self.enter(Role::Unattached { election_at }, out);
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

    fn follow(&mut self, leader: NodeId, now: Now, out: &mut Outbox) {
        let fetch_by = now.monotonic.plus_millis(self.config.fetch_timeout_ms);
        self.enter(Role::Follower { leader, has_fetched: false, fetch_by }, out);
        self.lost_elections = 0;
        self.backoffs.remove(&(leader, Channel::Fetch));
        self.pursue(now, out);
    }

    fn transition_to_prospective(&mut self, now: Now, out: &mut Outbox) {
        assert!(!matches!(self.role, Role::Leader(_)), "a leader resigns before it stands for election");
        out.sometimes(Mark::QuorumPreVote);
        let until = self.election_deadline(now);
        let mut tally = Tally::default();
        tally.note(self.identity.node, true);
        self.enter(Role::Prospective { tally, until }, out);
        // Who is alone needs nobody else.
        self.maybe_win(now, out);
        self.pursue(now, out);
    }

    fn transition_to_candidate(&mut self, now: Now, out: &mut Outbox) {
        let epoch = LeaderEpoch(self.election.epoch.0 + 1);
        if epoch >= EPOCHS_END {
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
    fn leave_prospective(&mut self, now: Now, out: &mut Outbox) {
        match self.election.leader.filter(|leader| *leader != self.identity.node) {
            Some(leader) => self.follow(leader, now, out),
            None => self.become_unattached(self.election.epoch, now, out),
        }
    }

    fn maybe_win(&mut self, now: Now, out: &mut Outbox) {
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

    fn transition_to_leader(&mut self, granted: Vec<NodeId>, now: Now, out: &mut Outbox) {
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
            && let Some(voters) = self.bootstrap_voters.take()
        {
            let version = KRaftVersionRecord { kraft_version: 1, ..KRaftVersionRecord::default() };
            records.push((ControlType::KraftVersion, encode(version.to_bytes(0))));
            records.push((ControlType::KraftVoters, encode(voters.to_bytes(0))));
        }
        let params = BatchParams { control: true, ..BatchParams::default() };
        self.append_batch(control_batch(params, now.wall_ms, &records), Vec::new(), now, out);
        self.pursue(now, out);
    }

    fn become_resigned(&mut self, successors: Vec<NodeId>, now: Now, out: &mut Outbox) {
        let until = self.election_deadline(now);
        self.enter(Role::Resigned { successors, told: Vec::new(), until }, out);
        self.pursue(now, out);
    }

    const fn check_quorum_ms(&self) -> i64 {
        self.config.fetch_timeout_ms.saturating_mul(3) / 2
    }

    /// Takes note of an epoch and its leader, as another node told them.
    fn learn(&mut self, epoch: LeaderEpoch, leader: Option<NodeId>, now: Now, out: &mut Outbox) {
        let leader = leader.filter(|id| *id != self.identity.node && self.voters.contains(*id));
        if epoch >= EPOCHS_END {
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

    fn hint(&self) -> LeaderHint {
        let leader = self.election.leader.map(|id| (id, self.voters.address(id).cloned()));
        LeaderHint { epoch: self.election.epoch, leader }
    }

    // ---- requests ----

    /// A peer is of another cluster, whose elections are none of this node's business.
    fn is_of_other_cluster(&self, cluster_id: Option<&Str>) -> bool {
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
            || epoch >= EPOCHS_END
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
        is_node && (directory.is_zero() || directory == self.identity.directory)
    }

    /// The epoch of the last batch; 0 in an empty log.
    fn last_epoch(&self) -> LeaderEpoch {
        self.log.epochs().epoch_at(self.log.next_offset().plus(-1)).unwrap_or_default()
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
                let is_other =
                    epoch == self.election.epoch && self.election.leader.is_some_and(|known| known != leader);
                if epoch >= EPOCHS_END {
                    ErrorCode::InvalidRequest
                } else if epoch < self.election.epoch {
                    ErrorCode::FencedLeaderEpoch
                } else if is_other || !self.voters.contains(leader) || leader == self.identity.node {
                    ErrorCode::InvalidRequest
                } else if !self.is_addressed(request.voter_id, partition.voter_directory_id) {
                    ErrorCode::InvalidVoterKey
                } else {
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
                if epoch >= EPOCHS_END || leader.0 < 0 {
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
        let Role::Follower { leader, fetch_by, .. } = &mut self.role else { return };
        if *leader != gone {
            return;
        }
        out.sometimes(Mark::QuorumLeaderGone);
        let longest = self.config.election_backoff_max_ms;
        let wait = match rank {
            None => longest,
            Some(0) => 0,
            Some(rank) => {
                let doublings = u32::try_from(rank).unwrap_or(u32::MAX).min(BACKOFF_DOUBLINGS_MAX);
                (self.config.retry_backoff_ms.max(1) << doublings).min(longest)
            }
        };
        *fetch_by = now.monotonic.plus_millis(wait).min(*fetch_by);
        self.pursue(now, out);
    }

    // ---- the log, as its leader serves it ----

    pub(crate) fn on_fetch(&mut self, reply_to: ReplyTo, request: &FetchRequest, now: Now, out: &mut Outbox) {
        if self.is_of_other_cluster(request.cluster_id.as_ref()) {
            let code = ErrorCode::InconsistentClusterId.as_i16();
            let response = FetchResponse { error_code: code, ..FetchResponse::default() };
            return self.respond(&reply_to, AnyResponse::Fetch(response), out);
        }
        let partition = messages::fetched(request, reply_to.version).filter(|partition| {
            // Kafka refuses these too: nobody who follows the log says so.
            request.max_wait_ms >= 0
                && partition.fetch_offset >= 0
                && partition.last_fetched_epoch >= 0
                && partition.current_leader_epoch >= 0
        });
        let Some(partition) = partition else {
            let code = ErrorCode::InvalidRequest.as_i16();
            let response = FetchResponse { error_code: code, ..FetchResponse::default() };
            return self.respond(&reply_to, AnyResponse::Fetch(response), out);
        };
        let epoch = LeaderEpoch(partition.current_leader_epoch);
        let check_quorum_ms = self.check_quorum_ms();
        let Role::Leader(leader) = &mut self.role else {
            return self.refuse_fetch(&reply_to, ErrorCode::NotLeaderOrFollower, out);
        };
        if epoch != self.election.epoch {
            let code = if epoch < self.election.epoch {
                ErrorCode::FencedLeaderEpoch
            } else {
                ErrorCode::UnknownLeaderEpoch
            };
            return self.refuse_fetch(&reply_to, code, out);
        }
        let offset = Offset(partition.fetch_offset);
        let last_epoch = LeaderEpoch(partition.last_fetched_epoch);
        let (log_start, log_end) = (self.log.log_start(), self.log.next_offset());
        let replica =
            if reply_to.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
        if leader.on_heard(NodeId(replica), &self.voters, now) {
            leader.check_quorum_at = now.monotonic.plus_millis(check_quorum_ms);
        }
        if offset < log_start {
            return self.refuse_fetch(&reply_to, ErrorCode::OffsetOutOfRange, out);
        }
        if offset > Offset(0) {
            match self.log.epochs().end_offset_for(last_epoch, log_end) {
                Some((found, end)) if found == last_epoch && end >= offset => {}
                found => {
                    out.sometimes(Mark::QuorumDiverging);
                    // A newer epoch than any here: the two part at the end of this log, or before.
                    let latest = self.log.epochs().latest().unwrap_or_default();
                    let diverging = Some(found.unwrap_or((latest, log_end)));
                    let fetched = Fetched {
                        code: ErrorCode::None,
                        high_watermark: self.high_watermark,
                        log_start,
                        diverging,
                        records: Records::Bytes(Bytes::new()),
                    };
                    return self.respond_fetch(&reply_to, fetched, out);
                }
            }
        }
        // A negative number is that of nobody who keeps the log: a tool that reads it.
        if replica >= 0 && !self.voters.contains(NodeId(replica)) {
            let observer = (NodeId(replica), partition.replica_directory_id);
            leader.on_observer_fetch(observer, offset, log_end, now);
        }
        leader.on_fetch(NodeId(replica), offset, log_end, now);
        self.maybe_advance_high_watermark(out);
        let max_bytes = u64::try_from(partition.partition_max_bytes.min(request.max_bytes)).unwrap_or(0);
        let fetch = ParkedFetch {
            reply_to,
            offset,
            max_bytes: max_bytes.min(self.config.fetch_max_bytes),
            known_high_watermark: Offset(partition.high_watermark),
            deadline: now.monotonic.plus_millis(i64::from(request.max_wait_ms)),
            place: Place::Unknown,
        };
        let id = self.next_fetch;
        self.next_fetch += 1;
        self.fetches.insert(id, fetch);
        self.serve_fetches(now, out);
    }

    fn refuse_fetch(&mut self, reply_to: &ReplyTo, code: ErrorCode, out: &mut Outbox) {
        let fetched = Fetched {
            code,
            high_watermark: None,
            log_start: self.log.log_start(),
            diverging: None,
            records: Records::Bytes(Bytes::new()),
        };
        self.respond_fetch(reply_to, fetched, out);
    }

    fn respond_fetch(&mut self, reply_to: &ReplyTo, fetched: Fetched, out: &mut Outbox) {
        let response = messages::fetch_response(fetched, &self.hint(), reply_to.version);
        self.respond(reply_to, AnyResponse::Fetch(response), out);
    }

    /// Answers every fetch that need not wait any more.
    fn serve_fetches(&mut self, now: Now, out: &mut Outbox) {
        let ids: Vec<u64> = self.fetches.keys().copied().collect();
        for id in ids {
            let fetch = self.fetches.get_mut(&id).expect("it was just listed");
            let written_end = self.log.written_end();
            if fetch.offset < written_end && fetch.place == Place::Unknown {
                fetch.place = match self.log.find(fetch.offset, fetch.max_bytes, out) {
                    Start::Known(place) => Place::Known(place),
                    Start::Searching(lookup) => Place::Searching(lookup),
                    Start::End => Place::Unknown,
                };
            }
            let (records, is_due) = match fetch.place {
                Place::Known(place) => {
                    (self.log.slice(place, written_end, fetch.max_bytes, true).map(Records::Stored), true)
                }
                Place::Searching(_) => (None, false),
                Place::Unknown => {
                    let is_news = self.high_watermark.is_some_and(|at| at > fetch.known_high_watermark);
                    (None, is_news || fetch.deadline <= now.monotonic)
                }
            };
            if is_due {
                let fetch = self.fetches.remove(&id).expect("it was just there");
                let fetched = Fetched {
                    code: ErrorCode::None,
                    high_watermark: self.high_watermark,
                    log_start: self.log.log_start(),
                    diverging: None,
                    records: records.unwrap_or(Records::Bytes(Bytes::new())),
                };
                self.respond_fetch(&fetch.reply_to, fetched, out);
            }
        }
    }

    /// A connection is gone, and whoever fetched over it.
    pub(crate) fn on_connection_closed(&mut self, connection: ConnectionId) {
        self.fetches.retain(|_, fetch| fetch.reply_to.connection != connection);
    }

    fn maybe_advance_high_watermark(&mut self, out: &mut Outbox) {
        let Role::Leader(leader) = &self.role else { return };
        let end = leader.majority_end(self.log.flushed_end(), &self.voters);
        let is_of_epoch = if self.museum.has(Exhibit::A16HighWatermarkAtEpochStart) {
            end >= leader.epoch_start
        } else {
            end > leader.epoch_start
        };
        // A majority that has what earlier epochs wrote does not commit it: only what this epoch wrote does, and all below.
        if is_of_epoch && self.high_watermark.is_none_or(|at| end > at) {
            self.advance_high_watermark(end, out);
        }
    }

    fn advance_high_watermark(&mut self, to: Offset, out: &mut Outbox) {
        out.sometimes_if(!self.is_sole_voter(), Mark::QuorumCommitted);
        self.high_watermark = Some(to);
        while self.uncommitted.front().is_some_and(|batch| batch.end <= to) {
            self.committed.extend(self.uncommitted.pop_front().into_iter().flat_map(|batch| batch.records));
        }
    }

    // ---- the log, as a follower takes it ----

    fn on_fetched(&mut self, asked: &Asked, response: FetchResponse, now: Now, out: &mut Outbox) {
        let topic = response.responses.into_iter().next();
        let Some(data) = topic.and_then(|topic| topic.partitions.into_iter().next()) else {
            return self.back_off(asked.voter, Channel::Fetch, now);
        };
        let answered = LeaderEpoch(data.current_leader.leader_epoch);
        let told = Some(NodeId(data.current_leader.leader_id)).filter(|id| id.0 >= 0);
        self.learn(answered, told, now, out);
        // An answer may tell of a newer epoch, and may come when there is one: what it says of the log is about another
        // leader's then.
        if asked.epoch != self.election.epoch || self.is_stopping {
            return;
        }
        let fetch_timeout_ms = self.config.fetch_timeout_ms;
        let (has_fetched, fetch_by) = match &mut self.role {
            Role::Follower { leader, has_fetched, fetch_by } if *leader == asked.voter => {
                (has_fetched, fetch_by)
            }
            Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Follower { .. }
            | Role::Leader(_)
            | Role::Resigned { .. } => return,
        };
        if data.error_code != ErrorCode::None.as_i16() || answered != asked.epoch {
            return self.back_off(asked.voter, Channel::Fetch, now);
        }
        *has_fetched = true;
        *fetch_by = now.monotonic.plus_millis(fetch_timeout_ms);
        if data.diverging_epoch.epoch >= 0 {
            let end = Offset(data.diverging_epoch.end_offset);
            return self.on_diverging(LeaderEpoch(data.diverging_epoch.epoch), end, now, out);
        }
        if data.snapshot_id.end_offset >= 0 {
            return self.back_off(asked.voter, Channel::Fetch, now);
        }
        if let Some(Records::Bytes(bytes)) = data.records
            && !bytes.is_empty()
            && !self.append_fetched(bytes, now, out)
        {
            return self.back_off(asked.voter, Channel::Fetch, now);
        }
        let high_watermark = Offset(data.high_watermark).min(self.log.next_offset());
        if data.high_watermark >= 0 && self.high_watermark.is_none_or(|at| high_watermark > at) {
            self.advance_high_watermark(high_watermark, out);
        }
    }

    /// Appends what the leader sent, batch by batch; false if something of it is not what comes next, or is no batch. What
    /// came before that stays.
    fn append_fetched(&mut self, mut bytes: Bytes, now: Now, out: &mut Outbox) -> bool {
        let begun_at = self.log.next_offset();
        let is_whole = loop {
            let batch = match Batch::first_of(&mut bytes) {
                Ok(Some(batch)) => batch,
                // The last batch may be cut short, but not the first one too.
                Ok(None) => break self.log.next_offset() > begun_at,
                Err(_) => break false,
            };
            let header = *batch.header();
            let epoch = LeaderEpoch(header.partition_leader_epoch);
            let is_next = header.base_offset == self.log.next_offset().0
                && epoch <= self.election.epoch
                && epoch >= self.last_epoch();
            if !is_next || batch.check_crc().is_err() {
                break false;
            }
            let records = match records_of(batch.bytes()) {
                Ok(records) => records,
                Err(why) => {
                    self.fail(why);
                    break false;
                }
            };
            let end = Offset(header.next_offset());
            self.log.append(batch.assign(header.base_offset, epoch.0), &self.log_config, now, out);
            self.uncommitted.push_back(Uncommitted { end, records });
        };
        out.sometimes_if(!is_whole, Mark::QuorumFetchedDamage);
        self.log.flush(out);
        is_whole
    }

    /// The leader's log has something else behind the end of this epoch: so goes what this one has there. It may take
    /// several rounds to find the point at which the two part (KIP-279).
    fn on_diverging(&mut self, epoch: LeaderEpoch, end: Offset, now: Now, out: &mut Outbox) {
        let log_end = self.log.next_offset();
        let own = self.log.epochs().end_offset_for(epoch, log_end);
        let to = own.map_or(end, |(_, own_end)| own_end.min(end)).max(self.log.log_start());
        self.cut(to, now, out);
    }

    fn cut(&mut self, to: Offset, now: Now, out: &mut Outbox) {
        let log_end = self.log.next_offset();
        if self.high_watermark.is_some_and(|at| to < at) {
            self.fail(format!(
                "the leader of the metadata quorum has no records from offset {to} on, which were committed: this node's \
                 metadata log, or that of the leader, is not of this cluster or was damaged"
            ));
            return;
        }
        // A log is cut while nothing is under way: fetches wait for that.
        if to >= log_end || !self.log.is_idle() {
            return self.back_off_fetch(now);
        }
        match self.log.find(to, 0, out) {
            Start::Known(place) => self.truncate(to, place, out),
            Start::Searching(lookup) => self.truncating = Some((lookup, to)),
            Start::End => self.back_off_fetch(now),
        }
    }

    fn truncate(&mut self, to: Offset, place: BatchPlace, out: &mut Outbox) {
        if place.base != to {
            // Epochs begin with a batch, in every log.
            self.fail(format!(
                "the leader of the metadata quorum parts from this log at offset {to}, within a batch"
            ));
            return;
        }
        out.sometimes(Mark::QuorumTruncated);
        self.log.truncate(place, out);
        while self.uncommitted.back().is_some_and(|batch| batch.end > to) {
            self.uncommitted.pop_back();
        }
    }

    fn on_found(&mut self, lookup: LookupId, found: Found, now: Now, out: &mut Outbox) {
        if let Some((awaited, to)) = self.truncating
            && awaited == lookup
        {
            self.truncating = None;
            match found {
                Found::Batch(place) => self.truncate(to, place, out),
                Found::Record { .. } | Found::Nothing | Found::Damage => {
                    self.fail(format!("the metadata log is damaged at offset {to}"));
                }
            }
            return;
        }
        let waiting = self.fetches.values_mut().find(|fetch| fetch.place == Place::Searching(lookup));
        let Some(fetch) = waiting else { return };
        match found {
            Found::Batch(place) => fetch.place = Place::Known(place),
            Found::Record { .. } | Found::Nothing | Found::Damage => {
                let offset = fetch.offset;
                self.fail(format!("the metadata log is damaged at offset {offset}"));
            }
        }
        self.serve_fetches(now, out);
    }

    /// Takes note of a completed operation on the log.
    pub(crate) fn on_storage_completed(
        &mut self,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), StorageFault> {
        let progress = self.log.on_completed(sequence, result, out)?;
        if let Some((lookup, found)) = progress.found {
            self.on_found(lookup, found, now, out);
        }
        self.maybe_advance_high_watermark(out);
        self.serve_fetches(now, out);
        self.pursue(now, out);
        Ok(())
    }

    // ---- asking ----

    fn ask(
        &mut self,
        voter: NodeId,
        question: Question,
        version: i16,
        body: AnyRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(address) = self.voters.address(voter) else { return };
        let channel = channel_of(question);
        let peer = address.peer(channel);
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let deadline = now.monotonic.plus_millis(self.config.request_timeout_ms);
        let asked = Asked { voter, peer: peer.clone(), question, epoch: self.election.epoch, deadline };
        self.asked.insert(request, asked);
        self.say(Output::Ask { peer, request, version, body }, out);
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
        match &self.role {
            Role::Unattached { .. } => Vec::new(),
            Role::Prospective { tally, .. } => {
                let open = others().filter(|id| !tally.has(*id));
                open.map(|id| (id, Question::Vote { is_pre_vote: true })).collect()
            }
            Role::Candidate { tally, .. } => {
                let open = others().filter(|id| !tally.has(*id));
                open.map(|id| (id, Question::Vote { is_pre_vote: false })).collect()
            }
            Role::Follower { leader, .. } => {
                let is_durable = self.log.is_idle() && self.log.flushed_end() == self.log.next_offset();
                let may_fetch = is_durable || self.museum.has(Exhibit::A15VoterSkipsFlush);
                if may_fetch && self.truncating.is_none() {
                    alloc::vec![(*leader, Question::Fetch)]
                } else {
                    Vec::new()
                }
            }
            Role::Leader(leader) => {
                if leader.begin_epoch_at > now.monotonic {
                    return Vec::new();
                }
                let recently = self.config.fetch_timeout_ms / 2;
                let is_silent = |id: &NodeId| {
                    let heard = leader.replicas.get(id).and_then(|replica| replica.heard);
                    heard.is_none_or(|at| at.plus_millis(recently) <= now.monotonic)
                };
                others().filter(is_silent).map(|id| (id, Question::BeginEpoch)).collect()
            }
            Role::Resigned { told, .. } => {
                let open = others().filter(|id| !told.contains(id));
                open.map(|id| (id, Question::EndEpoch)).collect()
            }
        }
    }

    /// Asks what there is to ask.
    fn pursue(&mut self, now: Now, out: &mut Outbox) {
        for (voter, question) in self.questions(now) {
            if !self.may_ask(voter, question, now) {
                continue;
            }
            // Its directory is not known where voters are configured; zero means whichever it has.
            let key = VoterKey { node: voter, directory: Uuid::ZERO };
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
                    let Some(address) = self.voters.address(me) else { continue };
                    let request = messages::begin_quorum_epoch_request(
                        &self.cluster_id,
                        key,
                        me,
                        self.election.epoch,
                        (&self.listener, address),
                    );
                    (messages::BEGIN_QUORUM_EPOCH_VERSION, AnyRequest::BeginQuorumEpoch(request))
                }
                Question::EndEpoch => {
                    let Role::Resigned { successors, .. } = &self.role else { continue };
                    let of = |node: &NodeId| VoterKey { node: *node, directory: Uuid::ZERO };
                    let successors: Vec<VoterKey> = successors.iter().map(of).collect();
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
                        max_wait_ms: FETCH_MAX_WAIT_MS,
                        max_bytes: i32::try_from(self.config.fetch_max_bytes).unwrap_or(i32::MAX),
                    };
                    let request = messages::fetch_request(&self.cluster_id, &fetch);
                    (messages::FETCH_VERSION, AnyRequest::Fetch(request))
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

    fn back_off(&mut self, voter: NodeId, channel: Channel, now: Now) {
        let failures = self.backoffs.get(&(voter, channel)).map_or(0, |backoff| backoff.failures);
        let wait = self.config.retry_backoff_ms.max(1) << failures.min(BACKOFF_DOUBLINGS_MAX);
        let backoff =
            Backoff { until: now.monotonic.plus_millis(wait), failures: failures.saturating_add(1) };
        self.backoffs.insert((voter, channel), backoff);
    }

    /// The leader's log and this one do not go together as they are.
    fn back_off_fetch(&mut self, now: Now) {
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
        match result {
            Err(PeerFault::Disconnected) => self.back_off(asked.voter, asked.peer.channel, now),
            Ok(body) => self.on_response(&asked, body, now, out),
        }
        self.pursue(now, out);
    }

    fn on_response(&mut self, asked: &Asked, body: AnyResponse, now: Now, out: &mut Outbox) {
        let told = |code: i16, leader: i32, epoch: i32| {
            (code, LeaderEpoch(epoch), Some(NodeId(leader)).filter(|id| id.0 >= 0))
        };
        let answer = match (asked.question, body) {
            (Question::Fetch, AnyResponse::Fetch(response)) => {
                if response.error_code == ErrorCode::None.as_i16() {
                    self.backoffs.remove(&(asked.voter, Channel::Fetch));
                    self.on_fetched(asked, response, now, out);
                } else {
                    self.back_off(asked.voter, Channel::Fetch, now);
                }
                return;
            }
            (Question::Vote { .. }, AnyResponse::Vote(response)) => {
                let data = response.topics.first().and_then(|topic| topic.partitions.first());
                data.map(|data| (told(data.error_code, data.leader_id, data.leader_epoch), data.vote_granted))
            }
            (Question::BeginEpoch, AnyResponse::BeginQuorumEpoch(response)) => {
                let data = response.topics.first().and_then(|topic| topic.partitions.first());
                data.map(|data| (told(data.error_code, data.leader_id, data.leader_epoch), false))
            }
            (Question::EndEpoch, AnyResponse::EndQuorumEpoch(response)) => {
                let data = response.topics.first().and_then(|topic| topic.partitions.first());
                data.map(|data| (told(data.error_code, data.leader_id, data.leader_epoch), false))
            }
            _ => None,
        };
        let Some(((code, epoch, leader), is_granted)) = answer else {
            return self.back_off(asked.voter, asked.peer.channel, now);
        };
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
            Role::Leader(_) if self.is_sole_voter() => None,
            // Whoever stops stands for nothing.
            _ if self.is_stopping => None,
            // What it has cut off must be gone before it may write, and so before it stands for election.
            _ if self.log.is_cutting() => None,
            Role::Leader(leader) => Some(leader.check_quorum_at.min(leader.begin_epoch_at)),
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
            (!self.is_asked(voter, question)).then_some(backoff.until)
        });
        [role, asked, fetches, retries.min()].into_iter().flatten().min()
    }

    /// Does what has come due.
    pub(crate) fn on_deadline(&mut self, now: Now, out: &mut Outbox) {
        self.give_up_on_silent_peers(now, out);
        let at = now.monotonic;
        match &self.role {
            Role::Leader(_) if self.is_sole_voter() => {}
            _ if self.is_stopping || self.log.is_cutting() => {}
            Role::Leader(leader) => {
                if leader.check_quorum_at <= at && !self.museum.has(Exhibit::A18NoCheckQuorum) {
                    out.sometimes(Mark::QuorumCheckQuorum);
                    let successors = leader.successors();
                    self.become_resigned(successors, now, out);
                } else if leader.check_quorum_at <= at {
                    self.put_check_quorum_off(now);
                }
            }
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
        Question::Vote { .. } | Question::BeginEpoch | Question::EndEpoch => Channel::Election,
        Question::Fetch => Channel::Fetch,
    }
}

/// The metadata log rolls like any other; nothing of it is deleted by age, and a record counts when it is durable.
pub(crate) fn log_config() -> TopicConfig {
    TopicConfig { flush_messages: i64::MAX, ..TopicConfig::default() }
}

/// The records of every data batch in `bytes`. One that cannot be read is no reason to forget what it says: a node that
/// meets one cannot go on.
pub(crate) fn records_of(bytes: &Bytes) -> Result<Vec<MetadataRecord>, String> {
    let mut all = Vec::new();
    let mut rest = bytes.clone();
    while let Ok(Some(batch)) = Batch::first_of(&mut rest) {
        if batch.header().is_control() {
            continue;
        }
        let refused = |why: &dyn core::fmt::Display| {
            format!("the metadata batch at offset {} cannot be read: {why}", batch.header().base_offset)
        };
        for record in batch.records(DECOMPRESSED_BYTES_MAX).map_err(|error| refused(&error))? {
            let record = record.map_err(|error| refused(&error))?;
            let value = record.value.ok_or_else(|| refused(&"a record has no value"))?;
            all.push(MetadataRecord::decode(value).map_err(|error| refused(&error))?);
        }
    }
    Ok(all)
}

/// Path of the metadata log beneath log directory `dir`.
pub(crate) fn metadata_log_dir(dir: usize) -> StoragePath {
    StoragePath::new(&format!("{dir}/{METADATA_LOG_NAME}"))
}
