//! What must hold of a quorum, one property per file. An observer of the whole world sees what every voter asks of its disk and
//! what the disk made of it, what voters ask and answer each other, and what each says of itself.

mod access_control;
mod broker_epochs;
mod check_quorum;
mod clean_elections;
mod cluster;
mod committed_metadata;
mod durable_fetch;
mod eligible_replicas;
mod honest_administration;
mod honest_controller;
mod hosted_partitions;
mod metadata_epochs;
mod metadata_high_watermark;
mod metadata_images;
mod one_vote;
mod partition_leaders;
mod producer_id_blocks;
mod reassignments;
mod single_leader;
mod topic_ids;
mod voter_changes;
mod voter_log;
mod voter_set;

pub use hosted_partitions::Hosted;
pub use metadata_images::Image;
pub use voter_set::VoterSet;
pub(crate) use voter_set::{directory_of, voters_on};

use super::{METADATA_DIR as DIR, Violation, metadata_snapshots};
use crate::check::Trusted;
use crate::disk::{Contents, Disk};
use crate::history::{Entry, Operation};
use crate::plan::Plan;
use cluster::Cluster;
use sordini_core::node::{QuorumRole, QuorumView};
use sordini_core::storage_op::StorageOp;
use sordini_core::time::Instant;
use sordini_protocol::messages::{ApiVersionsResponse, BrokerRegistrationRequest};
use sordini_protocol::wire::Uuid;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use voter_log::VoterLog;
use voter_set::VoterKey;

/// Where a voter's last vote lies.
const ELECTION_STATE: &str = "0/__cluster_metadata-0/quorum-state";

/// What a voter said of itself last, in the life of its process that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    role: QuorumRole,
    epoch: i32,
    leader: Option<i32>,
    voted: Option<i32>,
    high_watermark: Option<i64>,
    flushed_end: i64,
    log_end: i64,
    epoch_start: Option<i64>,
    log_start: i64,
    newest_snapshot: Option<metadata_snapshots::SnapshotId>,
}

impl Seen {
    fn of(view: &QuorumView<'_>) -> Self {
        Self {
            role: view.role,
            epoch: view.epoch.0,
            leader: view.leader.map(|node| node.0),
            voted: view.voted.map(|node| node.0),
            high_watermark: view.high_watermark.map(|offset| offset.0),
            flushed_end: view.flushed_end.0,
            log_end: view.log_end.0,
            epoch_start: view.epoch_start.map(|offset| offset.0),
            log_start: view.log_start.0,
            newest_snapshot: view.newest_snapshot.map(|(end, epoch)| (end.0, epoch.0)),
        }
    }
}

/// A voter, or somebody who only follows.
#[derive(Clone, Debug, Default)]
struct Voter {
    /// Of its disk.
    directory: Uuid,
    /// Who votes as far as it knows before its log says so.
    formatted: Arc<VoterSet>,
    /// Changes of the voters that it has put into its log since it was last looked at.
    changes: Vec<voter_changes::Change>,
    /// Its log, as it asked its disk for it.
    log: VoterLog,
    seen: Option<Seen>,
    /// The epoch that was durable when its last life ended.
    durable_epoch: i32,
    contact: check_quorum::Contact,
    /// Below this offset its log was compared with what is committed.
    compared_end: i64,
}

/// When something happens to a voter.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The voter, by its place in the plan.
    pub node: usize,
    /// Which life of its process it is.
    pub life: u64,
    /// Its own monotonic clock.
    pub clock: Instant,
    /// Until when it was paused, by the same clock.
    pub paused_until: Instant,
}

/// What a controller said to one that asked it.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The controller, by its place in the plan.
    pub node: usize,
    /// When it was asked, in virtual microseconds.
    pub at_us: u64,
    /// What is set for all brokers, by key.
    pub values: &'a BTreeMap<String, String>,
    /// The topics that exist, of those that anybody asked for, and what is set of each.
    pub topics: &'a BTreeMap<String, Option<String>>,
}

/// All checks of a plan's quorum, and the facts they keep.
#[derive(Clone, Debug)]
pub struct QuorumChecks {
    voters: Vec<Voter>,
    /// Disks that are gone, each with how far its log was durable.
    gone: Vec<(VoterKey, VoterLog, i64)>,
    leaders: single_leader::Leaders,
    votes: one_vote::Votes,
    committed: committed_metadata::Committed,
    written: committed_metadata::Written,
    told: voter_changes::Told,
    cluster: Cluster,
    snapshots: metadata_snapshots::Replay,
    settings: honest_controller::Settings,
    administration: honest_administration::Administration,
    limits: Vec<check_quorum::Limit>,
    /// Whether nothing is looked at: there is no quorum, or it is to be measured what looking costs, or a disk was damaged
    /// beyond what one replica survives.
    are_off: bool,
}

/// The partitions whose topics allow that who leads them lacks records.
fn unclean_elections(plan: &Plan) -> BTreeSet<(String, i32)> {
    let topics = plan.topics.iter().filter(|topic| topic.unclean_elections);
    topics.flat_map(|topic| (0..topic.partitions).map(|index| (topic.name.clone(), index))).collect()
}

/// The number of a node, which is not its place.
fn id_of(node: usize) -> i32 {
    i32::try_from(node).expect("a handful of nodes") + 1
}

/// What stands in the `quorum-state` of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ElectionState {
    epoch: i32,
    voted: Option<i32>,
    leader: Option<i32>,
}

impl ElectionState {
    fn on(disk: &Disk) -> Option<Self> {
        let bytes = disk.contents(ELECTION_STATE).map(Contents::all)?;
        let file: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let number = |key: &str| file.get(key)?.as_i64().and_then(|number| i32::try_from(number).ok());
        let node = |key: &str| number(key).filter(|id| *id >= 0);
        Some(Self { epoch: number("leaderEpoch")?, voted: node("votedId"), leader: node("leaderId") })
    }
}

impl QuorumChecks {
    /// The checks of a plan's run.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let voting = plan.controllers().count();
        let configured = if plan.first_voters.is_none() {
            VoterSet::configured(plan.controllers().map(id_of))
        } else {
            VoterSet::default()
        };
        let voter = Voter { formatted: Arc::new(configured), ..Voter::default() };
        Self {
            voters: vec![voter; plan.nodes.len()],
            gone: Vec::new(),
            leaders: single_leader::Leaders::default(),
            votes: one_vote::Votes::default(),
            committed: committed_metadata::Committed::default(),
            written: committed_metadata::Written::default(),
            told: voter_changes::Told::default(),
            cluster: Cluster { unclean_elections: unclean_elections(plan), ..Cluster::default() },
            snapshots: metadata_snapshots::Replay::default(),
            settings: honest_controller::Settings::default(),
            administration: honest_administration::Administration::default(),
            limits: (0..plan.nodes.len()).map(|node| check_quorum::Limit::of(plan, node)).collect(),
            are_off: voting == 0,
        }
    }

    /// From here on nothing is looked at, and nothing noted.
    pub(crate) const fn switch_off(&mut self) {
        self.are_off = true;
    }

    /// A disk was formatted for a voter.
    pub fn on_formatted(&mut self, node: usize, disk: &Disk) {
        let voter = &mut self.voters[node];
        voter.directory = directory_of(disk);
        if let Some(voters) = voter_set::in_snapshots(disk) {
            voter.formatted = Arc::new(voters);
        }
    }

    /// A voter gets a new disk: this was the old one.
    pub fn on_disk_gone(&mut self, node: usize, old: &Disk) {
        if self.are_off {
            return;
        }
        let voter = std::mem::take(&mut self.voters[node]);
        let mut log = VoterLog::on(old, |end| self.committed.prefix_at(end));
        let durable_end = log.durable_end(old);
        self.gone.push(((id_of(node), voter.directory), log, durable_end));
    }

    /// A node with the disk that it has.
    fn key_of(&self, node: usize) -> VoterKey {
        (id_of(node), self.voters[node].directory)
    }

    /// Who votes by the log of a node, with where that stands; nowhere if it is not in its log.
    fn voters_of(&self, node: usize) -> (Arc<VoterSet>, Option<i64>) {
        let voter = &self.voters[node];
        let in_log = voter.log.naming_voters(i64::MAX);
        if let Some((named, voters)) = in_log.and_then(|batch| Some((batch.base, batch.voters.clone()?))) {
            return (voters, Some(named));
        }
        let contained = self.committed.voters_below(voter.log.start());
        contained.map_or_else(|| (Arc::clone(&voter.formatted), None), |(at, voters)| (voters, Some(at)))
    }

    /// A voter pushed a storage operation.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_storage_op(&mut self, node: usize, op: &StorageOp, disk: &Disk) -> Result<(), Violation> {
        if self.are_off || !op.path().as_str().starts_with(DIR) {
            return Ok(());
        }
        let voter = &mut self.voters[node];
        match op {
            StorageOp::Append { file, position, bytes } => {
                let appended = voter.log.append(file, *position, bytes, |end| self.committed.prefix_at(end));
                for batch in voter.log.last(appended) {
                    self.written.check(node, batch)?;
                    voter.changes.extend(voter_changes::Change::of(batch));
                }
            }
            StorageOp::Truncate { file, len } => {
                let cut = voter.log.truncate(file.as_str(), *len);
                self.committed.check_cut(node, &cut)?;
                voter.compared_end = voter.compared_end.min(voter.log.end());
            }
            StorageOp::Rename { from: path, .. } => voter.log.remove_front(path.as_str()),
            StorageOp::Remove { path } => {
                metadata_snapshots::check_snapshot_going(path, disk)?;
                let mut cut = voter.log.remove(path.as_str());
                // What is in a snapshot may go with all of the log, which then begins where the snapshot ends.
                let contained_end = metadata_snapshots::contained_end(disk);
                cut.retain(|batch| batch.end > contained_end);
                self.committed.check_cut(node, &cut)?;
                voter.compared_end = voter.compared_end.min(voter.log.end());
            }
            StorageOp::Sync { .. }
            | StorageOp::Read { .. }
            | StorageOp::Replace { .. }
            | StorageOp::List { .. } => {}
        }
        self.are_off |= disk.is_metadata_damaged();
        Ok(())
    }

    /// The process of a voter has ended, and this is the disk that it left.
    pub fn on_end(&mut self, node: usize, disk: &Disk) {
        if self.are_off {
            return;
        }
        let voter = &mut self.voters[node];
        voter.log = VoterLog::on(disk, |end| self.committed.prefix_at(end));
        voter.compared_end = 0;
        if voter.seen.take().is_some() {
            voter.durable_epoch = ElectionState::on(disk).map_or(0, |state| state.epoch);
        }
        voter.contact = check_quorum::Contact::default();
    }

    /// What a voter says of itself.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_view<'a>(
        &mut self,
        moment: Moment,
        view: &QuorumView<'_>,
        disk_of: impl Fn(usize) -> &'a Disk,
    ) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        let (node, disk) = (moment.node, disk_of(moment.node));
        if disk.is_metadata_damaged() {
            self.are_off = true;
            return Ok(());
        }
        let seen = Seen::of(view);
        let before = self.voters[node].seen;
        if before == Some(seen) && self.voters[node].changes.is_empty() {
            return self.check_contact(moment, before, &seen);
        }
        if before.is_none() {
            // What it recovered it has cut where it could not be read.
            self.voters[node].log = VoterLog::to_be_on(disk, |end| self.committed.prefix_at(end));
            self.voters[node].compared_end = 0;
        }
        self.check_contact(moment, before, &seen)?;
        let (voters, named_at) = self.voters_of(node);
        let changes = std::mem::take(&mut self.voters[node].changes);
        for change in changes.iter().filter(|_| seen.role == QuorumRole::Leader) {
            let before = self.voters[node].log.naming_voters(change.base).cloned();
            let contained = || self.committed.voters_below(self.voters[node].log.start());
            let before = before.and_then(|batch| Some((batch.base, batch.voters?))).or_else(contained);
            let formatted = || (-1, Arc::clone(&self.voters[node].formatted));
            change.check(node, &seen, before.unwrap_or_else(formatted))?;
        }
        voter_changes::check_view(node, view, &voters, named_at)?;
        metadata_epochs::check(node, before.as_ref(), &seen, self.voters[node].durable_epoch)?;
        self.leaders.check(moment, &seen)?;
        let key = self.key_of(node);
        let becomes_leader = seen.role == QuorumRole::Leader
            && before.is_none_or(|before| (before.role, before.epoch) != (seen.role, seen.epoch));
        if becomes_leader {
            self.votes.cast(key, seen.epoch, id_of(node), ElectionState::on(disk))?;
            self.votes.check_elected(node, seen.epoch, &voters)?;
        }
        self.votes.check_view(moment, key, &seen)?;
        durable_fetch::check_view(node, &seen, &mut self.voters[node].log, disk)?;
        metadata_high_watermark::check_view(node, before.as_ref(), &seen)?;
        self.committed.check_leader(node, before.as_ref(), &seen, &self.voters[node].log)?;
        if let Some(high_watermark) = seen.high_watermark {
            if high_watermark > self.committed.end() {
                metadata_high_watermark::check_majority(
                    node,
                    &seen,
                    &voters,
                    &mut self.voters,
                    &self.gone,
                    &disk_of,
                )?;
                self.committed.extend(node, &seen, &self.voters[node].log, &mut self.cluster)?;
            }
            let voter = &mut self.voters[node];
            voter.compared_end = voter.compared_end.max(voter.log.start());
            self.committed.check_log(node, high_watermark, &voter.log, &mut voter.compared_end)?;
        }
        metadata_snapshots::check_view(node, seen.log_start, seen.newest_snapshot, disk)?;
        if let Some(newest) = seen.newest_snapshot
            && before.and_then(|before| before.newest_snapshot) != Some(newest)
        {
            let voters = self.committed.voters_below(newest.0).map(|(_, voters)| voters);
            self.snapshots.check(node, newest, self.committed.batches(), voters.as_deref(), disk)?;
        }
        self.voters[node].seen = Some(seen);
        Ok(())
    }

    /// Who leads has heard of a majority of those that vote by its log.
    fn check_contact(&mut self, moment: Moment, before: Option<Seen>, seen: &Seen) -> Result<(), Violation> {
        if seen.role != QuorumRole::Leader {
            self.voters[moment.node].contact.end();
            return Ok(());
        }
        let (voters, named_at) = self.voters_of(moment.node);
        let (own, limit) = (self.key_of(moment.node), self.limits[moment.node]);
        let contact = &mut self.voters[moment.node].contact;
        contact.check(moment, before, seen, limit, own, (&voters, named_at))
    }

    /// A voter answers that it votes for somebody.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_vote(&mut self, node: usize, epoch: i32, candidate: i32, disk: &Disk) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        let key = self.key_of(node);
        self.votes.cast(key, epoch, candidate, ElectionState::on(disk))
    }

    /// A voter asks another for what lies from `offset` on, and so says that it has what lies before.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_fetch(&mut self, node: usize, offset: i64, disk: &Disk) -> Result<(), Violation> {
        if self.are_off || disk.is_metadata_damaged() {
            return Ok(());
        }
        durable_fetch::check_fetch(node, offset, &mut self.voters[node].log, disk)
    }

    /// A node answers who fetches the metadata log, with the high watermark that it tells, -1 for none.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_told_high_watermark(&self, node: usize, told: i64) -> Result<(), Violation> {
        match &self.voters[node].seen {
            Some(seen) if !self.are_off => metadata_high_watermark::check_told(node, seen, told),
            Some(_) | None => Ok(()),
        }
    }

    /// A node answers somebody who asks what it serves.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_told_features(&self, node: usize, response: &ApiVersionsResponse) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        metadata_images::check_told(node, response, &self.cluster)
    }

    /// A fetch of `from` has reached a voter, which it sent when its log lay in this directory.
    pub fn on_fetched_by(&mut self, moment: Moment, from: usize, directory: Uuid) {
        if !self.are_off {
            self.voters[moment.node].contact.note(moment, (id_of(from), directory));
        }
    }

    /// A broker asks to be registered.
    pub fn on_registering(&mut self, request: &BrokerRegistrationRequest) {
        if !self.are_off {
            let BrokerRegistrationRequest { broker_id, incarnation_id, previous_broker_epoch, .. } = *request;
            self.cluster.claim_previous_epoch(broker_id, incarnation_id, previous_broker_epoch);
        }
    }

    /// A client has done something, or was told something.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_history(&mut self, entry: &Entry) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        self.settings.note(entry);
        self.told.note(entry, &self.committed)?;
        if entry.operation == Operation::ElectLeaderUncleanly {
            self.cluster
                .unclean_elections
                .extend(entry.partition.map(|index| (entry.topic.to_string(), index)));
        }
        self.administration.note(entry, &self.cluster)
    }

    /// What the committed metadata log says of a partition, if there is one.
    #[must_use]
    pub fn trusted(&self, topic: &str, index: i32) -> Option<Trusted<'_>> {
        let id = self.cluster.topics_by_name.get(topic)?;
        let partition = self.cluster.topics.get(id)?.partitions.get(&index)?;
        Some(Trusted {
            topic_id: *id,
            replicas: &partition.replicas,
            isr: &partition.isr,
            elr: &partition.elr,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            is_moved: partition.is_moved(),
            is_unclean: partition.is_recovering
                && partition.leader >= 0
                && self.cluster.unclean_elections.contains(&(topic.to_owned(), index)),
        })
    }

    /// The id of the topic that has a name by the committed metadata log.
    #[must_use]
    pub fn topic_id(&self, topic: &str) -> Option<Uuid> {
        self.cluster.topics_by_name.get(topic).copied()
    }

    /// The epoch of a node's registration as a broker, if it has one.
    #[must_use]
    pub fn broker_epoch(&self, node: usize) -> Option<i64> {
        self.cluster.brokers.get(&id_of(node)).map(|broker| broker.epoch)
    }

    /// Where the committed metadata log ends.
    #[must_use]
    pub const fn metadata_end(&self) -> i64 {
        self.cluster.end
    }

    /// What each node says at the end, what each broker has, and what each node knows.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn at_end(
        &self,
        readings: &[Reading<'_>],
        hosts: &[Hosted],
        images: &[Image],
    ) -> Result<(), Violation> {
        if self.are_off {
            return Ok(());
        }
        self.settings.check(readings)?;
        self.administration.at_end(&self.cluster)?;
        hosted_partitions::check(hosts, &self.cluster)?;
        metadata_images::check_images(images, &self.cluster)?;
        metadata_images::check(readings, &self.cluster)
    }
}
