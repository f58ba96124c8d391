//! What becomes of a partition when its replicas, its in-sync replicas or the brokers change: who leads it then, whether
//! its reassignment is done, and the one record that says so.

use super::Controller;
use super::image::{Broker, ConfigResource, LEADER_UNCHANGED, MetadataImage, NO_LEADER, PartitionState};
use crate::config::{Overrides, topic};
use crate::ids::{NodeId, TopicIdPartition};
use alloc::vec::Vec;
use sordini_protocol::records::PartitionChangeRecord;
use sordini_protocol::wire::Uuid;

/// Directories that stand for no directory, or for one that is gone.
pub(super) const LOST: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
pub(super) const MIGRATING: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

/// The leader was elected from outside the in-sync replicas: what it lacks is lost.
pub(super) const RECOVERING: i8 = 1;

/// The levels of metadata.version from which on replicas have directories, and below which a smaller ISR needs another
/// leader epoch.
pub(super) const DIRECTORIES_FROM: i16 = 17;
const ISR_SHRINK_RAISES_EPOCH_BELOW: i16 = 12;

/// Which leader is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica if it can lead, the present leader if not.
    Preferred,
    /// The present leader if it can stay, else the first in-sync replica that can lead.
    Online,
    /// As `Online`; when there is none, any replica that can lead, at the price of records.
    Unclean,
}

/// A partition as it is to be.
#[derive(Clone, Debug)]
pub(super) struct PartitionChange<'a> {
    image: &'a MetadataImage,
    id: TopicIdPartition,
    now: &'a PartitionState,
    /// The broker that is not to lead, whatever the image says of it.
    without: Option<NodeId>,
    /// The broker that is about to be unfenced: it may lead.
    with: Option<NodeId>,
    /// The directory in which a replica lies from here on.
    pub(super) directory: Option<(NodeId, Uuid)>,
    pub(super) leader_recovery_state: i8,
    pub(super) election: Election,
    pub(super) isr: Vec<NodeId>,
    pub(super) replicas: Vec<NodeId>,
    pub(super) removing: Vec<NodeId>,
    pub(super) adding: Vec<NodeId>,
}

impl<'a> PartitionChange<'a> {
    /// Begins with the partition as it is.
    pub(super) fn new(image: &'a MetadataImage, id: TopicIdPartition, now: &'a PartitionState) -> Self {
        Self {
            image,
            id,
            now,
            without: None,
            with: None,
            directory: None,
            leader_recovery_state: now.leader_recovery_state,
            election: Election::Online,
            isr: now.isr.clone(),
            replicas: now.replicas.clone(),
            removing: now.removing_replicas.clone(),
            adding: now.adding_replicas.clone(),
        }
    }

    /// A broker is not to be in sync any more, nor to lead.
    pub(super) fn leave_isr(&mut self, node: NodeId) {
        self.without = Some(node);
        self.isr.retain(|replica| *replica != node);
    }

    /// The record that changes the partition; `None` when nothing changes.
    pub(super) fn record(mut self) -> Option<PartitionChangeRecord> {
        let now = self.now;
        self.complete_reassignment();
        let unchanged = PartitionChangeRecord {
            partition_id: self.id.partition,
            topic_id: self.id.topic,
            ..PartitionChangeRecord::default()
        };
        let mut record = unchanged.clone();
        let (leader, is_clean) = self.elect();
        if leader != now.leader {
            record.leader = leader.map_or(NO_LEADER, |leader| leader.0);
            if !is_clean {
                self.isr = leader.into_iter().collect();
                self.leader_recovery_state = RECOVERING;
            }
        }
        if self.leader_recovery_state != now.leader_recovery_state {
            record.leader_recovery_state = self.leader_recovery_state;
        }
        let loses = |old: &[NodeId], new: &[NodeId]| old.iter().any(|node| !new.contains(node));
        // A partition keeps its last in-sync replica: without one, nobody would know who has all the records.
        let isr_changes = !self.isr.is_empty() && self.isr != now.isr;
        let version = self.image.metadata_version();
        let isr_shrink_counts = version < ISR_SHRINK_RAISES_EPOCH_BELOW;
        if record.leader == LEADER_UNCHANGED
            && (loses(&now.replicas, &self.replicas)
                || isr_shrink_counts && isr_changes && loses(&now.isr, &self.isr))
        {
            // The leader stays and its epoch rises, so that whoever is out notices.
            record.leader = now.leader.map_or(NO_LEADER, |leader| leader.0);
        }
        record.isr = isr_changes.then(|| ids(&self.isr));
        let changed = |new: &[NodeId], old: &[NodeId]| (new != old).then(|| ids(new));
        record.replicas = changed(&self.replicas, &now.replicas);
        record.removing_replicas = changed(&self.removing, &now.removing_replicas);
        record.adding_replicas = changed(&self.adding, &now.adding_replicas);
        let has_moved = self.directory.is_some() || record.replicas.is_some();
        if has_moved && version >= DIRECTORIES_FROM {
            let directories: Vec<Uuid> = self.replicas.iter().map(|node| self.directory(*node)).collect();
            record.directories = (directories != now.directories).then_some(directories);
        }
        if record == unchanged {
            return None;
        }
        // Nobody outside the in-sync replicas may lead here, and what is written of such is out of date with this change.
        let cleared = |list: &[NodeId]| (!list.is_empty()).then(Vec::new);
        record.eligible_leader_replicas = cleared(&now.eligible_leader_replicas);
        record.last_known_elr = cleared(&now.last_known_elr);
        Some(record)
    }

    /// A reassignment is done when every replica that is to stay is in sync.
    fn complete_reassignment(&mut self) {
        if self.removing.is_empty() && self.adding.is_empty() {
            return;
        }
        let staying = |nodes: &[NodeId]| -> Vec<NodeId> {
            nodes.iter().copied().filter(|node| !self.removing.contains(node)).collect()
        };
        let (replicas, isr) = (staying(&self.replicas), staying(&self.isr));
        if isr.is_empty() || replicas.is_empty() || replicas.iter().any(|node| !isr.contains(node)) {
            return;
        }
        self.replicas = replicas;
        self.isr = isr;
        self.removing.clear();
        self.adding.clear();
    }

    /// The leader, and whether it has every record that was committed.
    fn elect(&self) -> (Option<NodeId>, bool) {
        let is_in_sync = |node: &NodeId| self.isr.contains(node) && self.can_lead(*node);
        let present = self.now.leader.filter(is_in_sync);
        let first = self.replicas.iter().copied().find(is_in_sync);
        let clean = match self.election {
            Election::Preferred if first.is_some() && first == self.replicas.first().copied() => first,
            Election::Preferred | Election::Online | Election::Unclean => present.or(first),
        };
        if clean.is_some() || self.election != Election::Unclean {
            return (clean, true);
        }
        let unclean = self.replicas.iter().copied().find(|node| self.can_lead(*node));
        (unclean, unclean.is_none())
    }

    /// Whether a replica's broker is there to lead and has the directory of the replica.
    fn can_lead(&self, node: NodeId) -> bool {
        let is_online = |broker: &Broker| {
            let directory = self.directory(node);
            directory != LOST
                && (directory.is_zero()
                    || directory == MIGRATING
                    || broker.log_dirs.is_empty()
                    || broker.log_dirs.contains(&directory))
        };
        let is_active =
            |broker: &&Broker| (self.with == Some(node) || !broker.fenced) && !broker.in_controlled_shutdown;
        self.without != Some(node) && self.image.brokers().get(&node).filter(is_active).is_some_and(is_online)
    }

    /// Where a replica lies: where it lay, or where a new one would.
    fn directory(&self, node: NodeId) -> Uuid {
        if let Some((_, directory)) = self.directory.filter(|(moved, _)| *moved == node) {
            return directory;
        }
        let at = self.now.replicas.iter().position(|replica| *replica == node);
        at.and_then(|at| self.now.directories.get(at))
            .copied()
            .unwrap_or_else(|| self.image.directory_of_new_replica(node))
    }
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

impl MetadataImage {
    /// The directory of a new replica on a broker: with one there is nothing to choose; with several the broker reports
    /// its choice.
    pub(super) fn directory_of_new_replica(&self, broker: NodeId) -> Uuid {
        match self.brokers().get(&broker).map(|broker| &broker.log_dirs[..]) {
            Some([only]) => *only,
            Some(_) | None => Uuid::ZERO,
        }
    }
}

impl Controller {
    /// Whether a topic would rather lose records than be without a leader.
    pub(super) fn is_unclean_election_enabled(&self, topic_name: &str) -> bool {
        let none = Overrides::new();
        let overrides = self.image.config(ConfigResource::Topic, topic_name).unwrap_or(&none);
        let value = topic::value_of("unclean.leader.election.enable", overrides, &self.layers(&none));
        value.and_then(|value| value.as_i64()) == Some(1)
    }

    /// What becomes of the partitions of which a broker is an in-sync replica when it is one no longer: others lead them,
    /// and the others alone are in sync.
    pub(super) fn leave_isrs(&self, node: NodeId) -> Vec<PartitionChangeRecord> {
        self.leave_isrs_of(node, |_, _| true)
    }

    /// As [`Self::leave_isrs`], of the partitions alone for which `is_left` holds.
    pub(super) fn leave_isrs_of(
        &self,
        node: NodeId,
        is_left: impl Fn(TopicIdPartition, &PartitionState) -> bool,
    ) -> Vec<PartitionChangeRecord> {
        let mut records = Vec::new();
        for topic in self.image.topics_by_name() {
            for (index, state) in &topic.partitions {
                let id = TopicIdPartition { topic: topic.id, partition: *index };
                if !state.isr.contains(&node) || !is_left(id, state) {
                    continue;
                }
                let mut change = PartitionChange::new(&self.image, id, state);
                change.leave_isr(node);
                if self.is_unclean_election_enabled(&topic.name) {
                    change.election = Election::Unclean;
                }
                records.extend(change.record());
            }
        }
        records
    }

    /// Elects leaders for partitions that have none; `with` is about to be unfenced. None of them is worse off than before:
    /// a partition for which nobody is found stays as it is.
    pub(super) fn elect_for_leaderless(&self, with: Option<NodeId>) -> Vec<PartitionChangeRecord> {
        let mut records = Vec::new();
        for topic in self.image.topics_by_name() {
            for (index, state) in topic.partitions.iter().filter(|(_, state)| state.leader.is_none()) {
                let id = TopicIdPartition { topic: topic.id, partition: *index };
                let mut change = PartitionChange::new(&self.image, id, state);
                change.with = with;
                if self.is_unclean_election_enabled(&topic.name) {
                    change.election = Election::Unclean;
                }
                records.extend(change.record());
            }
        }
        records
    }
}
