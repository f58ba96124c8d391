//! The quorum that keeps the metadata log (KIP-595, KIP-996): who leads, what is committed, and how a voter's log becomes
//! the leader's.
//!
//! | from | to | when |
//! |---|---|---|
//! | any | Unattached | somebody has a higher epoch, and its leader is not known |
//! | any | Follower | the leader of a higher epoch is known; any but Leader: that of this epoch is |
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

mod asking;
mod describe;
mod election_state;
mod elections;
mod leader;
mod membership;
mod messages;
mod replication;
pub(crate) mod snapshot_file;
mod snapshots;
mod voters;

pub(crate) use election_state::ElectionState;
pub(crate) use snapshots::{Applied, SnapshotFile};
pub(crate) use voters::{Address, Voter, VoterHistory, VoterKey, VoterSet, endpoint, voter, voters_in};

use crate::config::QuorumConfig;
use crate::config::topic::TopicConfig;
use crate::features::record_bytes;
use crate::ids::{LeaderEpoch, NodeId, Offset, RequestId};
use crate::log::lookup::BatchPlace;
use crate::log::partition_log::{LookupId, PartitionLog};
use crate::mark::Mark;
use crate::museum::{Exhibit, Museum};
use crate::node::{Output, ReplyTo};
use crate::outbox::Outbox;
use crate::peer::{Channel, Peer};
use crate::rng::Rng;
use crate::storage_op::{StorageOp, StoragePath, StorageToken};
use crate::time::{Instant, Now};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use leader::Leader;
use snapshot_file::SnapshotId;
use snapshots::Snapshots;
use sordini_protocol::batch::{Batch, BatchBuilder, BatchHeader, BatchParams};
use sordini_protocol::messages::ControllerRegistrationRequest;
use sordini_protocol::records::MetadataRecord;
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Str, Uuid};

/// Directory of the metadata log, beneath its log directory.
pub(crate) const METADATA_LOG_NAME: &str = "__cluster_metadata-0";

/// Name of the snapshot that formatting writes for a quorum whose voters are in the log.
pub(crate) const BOOTSTRAP_CHECKPOINT: &str = "00000000000000000000-0000000000.checkpoint";

/// How long the leader keeps a fetch that finds nothing new, if followers wait long enough for it. It is the quorum's
/// heartbeat.
const FETCH_MAX_WAIT_MS: i32 = 500;

/// The most that a record batch of the metadata log may unfold to; Kafka writes them uncompressed and below 8 MiB.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 26;

/// After so many failures in a row the wait between two tries grows no more.
const BACKOFF_DOUBLINGS_MAX: u32 = 6;

/// Records of one batch, which are committed together.
#[derive(Clone, Debug)]
pub(crate) struct Uncommitted {
    /// End of the batch.
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
    /// Time of its last record.
    pub(crate) timestamp_ms: i64,
    pub(crate) records: Vec<MetadataRecord>,
}

impl Uncommitted {
    pub(crate) fn new(header: &BatchHeader, records: Vec<MetadataRecord>) -> Self {
        Self {
            end: Offset(header.next_offset()),
            bytes: header.size() as u64,
            timestamp_ms: header.max_timestamp,
            records,
        }
    }
}

/// What a voter is made of when its log is open.
pub(crate) struct Setup {
    pub(crate) identity: VoterKey,
    pub(crate) cluster_id: Str,
    pub(crate) voters: VoterSet,
    /// What of them the log may still take back.
    pub(crate) history: VoterHistory,
    /// This node as the log should name it.
    pub(crate) own_voter: Voter,
    /// The node may vote, and not only follow.
    pub(crate) is_controller: bool,
    /// The node may be one of several voters.
    pub(crate) may_have_others: bool,
    /// Where to ask who leads, as long as nobody is known.
    pub(crate) bootstrap: Vec<Address>,
    /// Name of the listener for peers.
    pub(crate) listener: Str,
    pub(crate) config: QuorumConfig,
    pub(crate) museum: Museum,
    pub(crate) rng: Rng,
    pub(crate) election: ElectionState,
    pub(crate) log: PartitionLog,
    /// What the log holds and may not be committed, oldest first.
    pub(crate) uncommitted: VecDeque<Uncommitted>,
    /// Snapshots that are on the disk.
    pub(crate) snapshots: BTreeMap<SnapshotId, SnapshotFile>,
    /// What of the log was committed and applied when it was read.
    pub(crate) applied: Applied,
    /// Owner of the tokens under which the election state is written.
    pub(crate) state_owner: u32,
    /// Owner of the tokens under which snapshots are.
    pub(crate) snapshot_owner: u32,
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
        /// This leader knows who this voter is, although the log does not say so.
        is_introduced: bool,
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
    Vote {
        is_pre_vote: bool,
    },
    BeginEpoch,
    EndEpoch,
    Fetch,
    FetchSnapshot,
    /// What a new voter supports.
    Supported,
    AddVoter,
    RemoveVoter,
    UpdateVoter,
    /// That it writes down where this controller is.
    Register,
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
#[derive(Clone, Debug)]
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
    /// The newest of [`Self::snapshots`].
    pub newest_snapshot: Option<(Offset, LeaderEpoch)>,
    /// Directory of the log.
    pub dir: &'a str,
    quorum: &'a Quorum,
}

impl QuorumView<'_> {
    /// Who votes.
    #[must_use]
    pub fn voters(&self) -> Vec<NodeId> {
        self.quorum.voters.ids().collect()
    }

    /// The directory that each of these had when it became a voter, zero where it is known by its number alone.
    #[must_use]
    pub fn voter_directories(&self) -> Vec<Uuid> {
        let voters = &self.quorum.voters;
        voters.ids().map(|id| voters.key(id).directory).collect()
    }

    /// Its snapshots, oldest first: each contains everything below an offset, the last of it of this epoch.
    #[must_use]
    pub fn snapshots(&self) -> Vec<(Offset, LeaderEpoch)> {
        self.quorum.snapshots.ids().map(|id| (id.end, id.epoch)).collect()
    }
}

/// The voter and its log.
#[derive(Clone, Debug)]
pub(crate) struct Quorum {
    identity: VoterKey,
    cluster_id: Str,
    /// Those of now. The first leader puts those that formatting wrote into the log.
    voters: VoterSet,
    history: VoterHistory,
    own_voter: Voter,
    is_controller: bool,
    may_have_others: bool,
    bootstrap: Vec<Address>,
    /// Which of them is asked next.
    next_bootstrap: usize,
    /// Where the leader said it is, while no voter's address tells.
    leader_address: Option<(NodeId, Address)>,
    /// When what this node wishes of its leader is looked at again.
    wish_at: Instant,
    /// What this controller has to say of itself, until that is written down.
    registration: Option<ControllerRegistrationRequest>,
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
    /// All of what the log held up to where a snapshot ends that came in its place, until somebody takes it.
    installed: Option<Vec<MetadataRecord>>,
    snapshots: Snapshots,
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
        let snapshots = Snapshots::new(setup.snapshot_owner, setup.snapshots, setup.applied, now);
        let mut election = setup.election;
        let latest = setup.log.epochs().latest().max(snapshots.newest().map(|id| id.epoch));
        if let Some(latest) = latest.filter(|latest| *latest > election.epoch) {
            election = ElectionState { epoch: latest, leader: None, voted: None };
        }
        // What a snapshot contains was committed.
        let high_watermark = snapshots.newest().map(|id| id.end);
        out.sometimes_if(election.epoch > LeaderEpoch(0), Mark::QuorumLaterEpoch);
        let mut quorum = Self {
            identity: setup.identity,
            cluster_id: setup.cluster_id,
            voters: setup.voters,
            history: setup.history,
            own_voter: setup.own_voter,
            is_controller: setup.is_controller,
            may_have_others: setup.may_have_others,
            bootstrap: setup.bootstrap,
            next_bootstrap: 0,
            leader_address: None,
            wish_at: now.monotonic,
            registration: None,
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
            log_config: log_config(&setup.config),
            high_watermark,
            uncommitted: setup.uncommitted,
            committed: Vec::new(),
            installed: None,
            snapshots,
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
            _ if quorum.is_sole_voter() && !quorum.log.is_cutting() => {
                quorum.transition_to_candidate(now, out)
            }
            // It stands as soon as it may write.
            _ if quorum.is_sole_voter() => quorum.role = Role::Unattached { election_at: now.monotonic },
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
            None => {
                quorum.role = Role::Unattached { election_at: quorum.election_deadline(now) };
                quorum.pursue(now, out);
            }
        }
        quorum
    }

    fn is_sole_voter(&self) -> bool {
        self.voters.len() == 1 && self.is_voter()
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

    /// Where another node is that leads, as far as this node knows and may say.
    pub(crate) fn leader_address(&self) -> Option<Address> {
        let leader = self.leader().filter(|leader| *leader != self.identity.node)?;
        self.address_of(leader)
    }

    /// Who votes, and where they are.
    pub(crate) const fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// Records that were committed since this was last asked, oldest first.
    pub(crate) fn take_committed(&mut self) -> Vec<MetadataRecord> {
        core::mem::take(&mut self.committed)
    }

    /// What the whole log up to some point comes to, when a snapshot came in its place: the cluster is that, and what was
    /// committed since.
    pub(crate) const fn take_installed(&mut self) -> Option<Vec<MetadataRecord>> {
        self.installed.take()
    }

    /// Records that are in the log and above the high watermark, oldest first.
    pub(crate) fn uncommitted(&self) -> impl Iterator<Item = &MetadataRecord> {
        self.uncommitted.iter().flat_map(|batch| &batch.records)
    }

    /// Why the node cannot go on, once.
    pub(crate) const fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// Whether a clean stop has nothing to wait for.
    pub(crate) fn is_settled(&self) -> bool {
        self.log.is_idle() && self.is_idle() && self.snapshots.is_idle()
    }

    /// Whether no election state is on its way to the disk.
    const fn is_idle(&self) -> bool {
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
            log_start: self.log.log_start(),
            high_watermark: self.high_watermark,
            flushed_end: self.log.flushed_end(),
            log_end: self.log.next_offset(),
            epoch_start,
            newest_snapshot: self.snapshots.ids().next_back().map(|id| (id.end, id.epoch)),
            dir: self.log.dir().as_str(),
            quorum: self,
        }
    }

    /// Appends records, all in one batch so that all or none survive. They are committed when a majority has them durable.
    /// They are written as a metadata.version has them. Answers the end of the log.
    pub(crate) fn append(
        &mut self,
        records: Vec<MetadataRecord>,
        metadata_version: i16,
        now: Now,
        out: &mut Outbox,
    ) -> Offset {
        assert!(matches!(self.role, Role::Leader(_)), "only a leader appends");
        if records.is_empty() {
            return self.log.next_offset();
        }
        let mut builder = BatchBuilder::new(BatchParams::default());
        for record in &records {
            builder.append(now.wall_ms, None, Some(&record_bytes(record, metadata_version)), &[]);
        }
        self.append_batch(builder.build(), records, now, out);
        self.log.next_offset()
    }

    fn append_batch(&mut self, bytes: Bytes, records: Vec<MetadataRecord>, now: Now, out: &mut Outbox) {
        let batch = Batch::new(bytes.clone()).expect("a batch built here is whole");
        let batch = batch.assign(self.log.next_offset().0, self.election.epoch.0);
        let header = *batch.header();
        self.on_appended(&header, &bytes, now);
        self.uncommitted.push_back(Uncommitted::new(&header, records));
        self.log.append(batch, &self.log_config, now, out);
        self.log.flush(out);
    }

    /// The node stops. A leader lets the others choose another before it is gone (KIP-595).
    pub(crate) fn stop(&mut self, now: Now, out: &mut Outbox) {
        self.is_stopping = true;
        // The log is closed as it is. The next start begins it anew at a snapshot that it does not reach.
        self.truncating = None;
        self.snapshots.stop_installing();
        if let Role::Leader(leader) = &self.role
            && !self.is_sole_voter()
        {
            let successors = leader.successors();
            self.become_resigned(successors, now, out);
        }
    }

    /// How long a fetch may wait: a follower that hears nothing for longer than it has patience for takes its leader for gone.
    fn fetch_max_wait_ms(&self) -> i32 {
        let patience = i32::try_from(self.config.fetch_timeout_ms / 2).unwrap_or(i32::MAX);
        FETCH_MAX_WAIT_MS.min(patience)
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
        let bytes = state.to_file((!self.voters.is_logged()).then_some(&*ids));
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
        let votes = self.is_voter();
        if let Role::Candidate { tally, vote_write, .. } = &mut self.role
            && *vote_write <= written
        {
            if votes {
                tally.note(self.identity.node, true);
            }
            self.maybe_win(now, out);
        }
        self.pursue(now, out);
    }
}

/// The metadata log rolls by keys of its own. Nothing of it goes that no snapshot contains, and a record counts when it is
/// durable.
pub(crate) fn log_config(config: &QuorumConfig) -> TopicConfig {
    TopicConfig {
        flush_messages: i64::MAX,
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
        file_delete_delay_ms: config.file_delete_delay_ms,
        ..TopicConfig::default()
    }
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
