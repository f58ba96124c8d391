//! What becomes of a partition when its replicas, its in-sync replicas or the brokers change: who leads it then, who else could
//! (KIP-966), whether its reassignment is done, and the one record that says so.

use super::Controller;
use super::cluster::ELR_VERSION;
use super::features::MIN_INSYNC_REPLICAS;
use super::image::{
    Broker, ConfigResource, LEADER_UNCHANGED, MetadataImage, NO_LEADER, PartitionState, Topic,
};
use crate::config::value::Value;
use crate::config::{Overrides, topic};
use crate::ids::{NodeId, TopicIdPartition};
use crate::museum::{Exhibit, Museum};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use sordini_protocol::records::PartitionChangeRecord;
use sordini_protocol::wire::Uuid;

/// Directories that stand for no directory, or for one that is gone.
pub(super) const LOST: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
pub(super) const MIGRATING: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

/// Whether an id is of no directory.
pub(super) fn is_reserved_directory(id: &Uuid) -> bool {
    id.is_zero() || *id == LOST || *id == MIGRATING
}

/// The leader was elected from outside the in-sync replicas: what it lacks is lost.
pub(super) const RECOVERING: i8 = 1;

/// The level of metadata.version below which a smaller ISR needs another leader epoch.
const ISR_SHRINK_RAISES_EPOCH_BELOW: i16 = 12;

/// Which leader is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica if it can lead, the present leader if not.
    Preferred,
    /// The present leader if it can stay, else the first replica that can lead of those that have every committed record.
    Online,
    /// As `Online`; when there is none, any replica that can lead, at the price of records.
    Unclean,
}

/// Who leads from here on, and how it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elected {
    /// It has every record that was committed; or nobody was found.
    Cleanly(Option<NodeId>),
    /// It may lack some.
    Uncleanly(NodeId),
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
    /// The broker that may have lost what it had, since its last life did not end as it should.
    unclean: Option<NodeId>,
    /// With so many in sync every committed record is on all of them; `None` where nobody who left the ISR may lead.
    min_isr: Option<usize>,
    /// Who has every committed record without being in sync.
    elr: Vec<NodeId>,
    /// The directory in which a replica lies from here on.
    pub(super) directory: Option<(NodeId, Uuid)>,
    pub(super) leader_recovery_state: i8,
    pub(super) election: Election,
    pub(super) isr: Vec<NodeId>,
    pub(super) replicas: Vec<NodeId>,
    pub(super) removing: Vec<NodeId>,
    pub(super) adding: Vec<NodeId>,
    museum: Museum,
}

impl<'a> PartitionChange<'a> {
    /// Begins with the partition as it is.
    fn new(
        image: &'a MetadataImage,
        id: TopicIdPartition,
        now: &'a PartitionState,
        min_isr: Option<usize>,
    ) -> Self {
        Self {
            image,
            id,
            now,
            without: None,
            with: None,
            unclean: None,
            min_isr,
            elr: now.eligible_leader_replicas.clone(),
            directory: None,
            leader_recovery_state: now.leader_recovery_state,
            election: Election::Online,
            isr: now.isr.clone(),
            replicas: now.replicas.clone(),
            removing: now.removing_replicas.clone(),
            adding: now.adding_replicas.clone(),
            museum: Museum::NONE,
        }
    }

    /// A broker is not to be in sync any more, nor to lead.
    pub(super) fn leave_isr(&mut self, node: NodeId) {
        self.without = Some(node);
        self.isr.retain(|replica| *replica != node);
    }

    /// A broker has begun a new life, and the one before it ended in a way that may have lost records.
    fn lose(&mut self, node: NodeId) {
        self.leave_isr(node);
        self.unclean = Some(node);
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
        self.update_elr();
        let (leader, is_unclean) = match self.elect() {
            Elected::Cleanly(leader) => (leader, false),
            Elected::Uncleanly(leader) => (Some(leader), true),
        };
        if leader != now.leader {
            record.leader = leader.map_or(NO_LEADER, |leader| leader.0);
            if let Some(leader) = leader.filter(|leader| is_unclean || self.elr.contains(leader)) {
                // Whoever leads is in sync, and here nobody else is.
                self.isr = Vec::from([leader]);
                let others_are_eligible = !is_unclean && self.min_isr.is_some();
                self.elr.retain(|node| *node != leader && others_are_eligible);
            }
            if is_unclean {
                self.leader_recovery_state = RECOVERING;
            }
        }
        if self.leader_recovery_state != now.leader_recovery_state {
            record.leader_recovery_state = self.leader_recovery_state;
        }
        let loses = |old: &[NodeId], new: &[NodeId]| old.iter().any(|node| !new.contains(node));
        // A partition keeps its last in-sync replica where there is no other list of those who have all the records.
        let isr_changes = (!self.isr.is_empty() || self.min_isr.is_some()) && self.isr != now.isr;
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
        if has_moved && self.image.has_directories() {
            let directories: Vec<Uuid> = self.replicas.iter().map(|node| self.directory(*node)).collect();
            record.directories = (directories != now.directories).then_some(directories);
        }
        if self.min_isr.is_none() && self.unclean.is_none() && record == unchanged {
            return None;
        }
        record.eligible_leader_replicas = changed(&self.elr, &now.eligible_leader_replicas);
        record.last_known_elr = changed(&self.last_known_leader(leader), &now.last_known_elr);
        (record != unchanged).then_some(record)
    }

    /// While fewer are in sync than a committed record needs, nothing is committed, and whoever was in sync last still has
    /// everything that was. It loses that with its disk, or with what it had not flushed, and nobody else can tell (KIP-966).
    fn update_elr(&mut self) {
        let is_committing = match self.min_isr {
            Some(min_isr) => self.isr.len() >= min_isr.min(self.replicas.len()),
            // Of a partition whose ISR ran empty before the feature was taken away, only they can be elected.
            None => !self.now.isr.is_empty(),
        };
        if is_committing {
            return self.elr.clear();
        }
        let candidates: BTreeSet<NodeId> = self.elr.iter().chain(&self.now.isr).copied().collect();
        let is_eligible = |node: &NodeId| {
            self.replicas.contains(node) && !self.isr.contains(node) && self.unclean != Some(*node)
        };
        self.elr = candidates.into_iter().filter(is_eligible).collect();
    }

    /// Who led last, of a partition that has nobody left in sync: the one to wait for when there is no eligible replica either.
    fn last_known_leader(&self, leader: Option<NodeId>) -> Vec<NodeId> {
        if self.min_isr.is_none() || leader.is_some() {
            return Vec::new();
        }
        match self.now.leader {
            Some(last) if self.isr.is_empty() => Vec::from([last]),
            Some(_) | None => self.now.last_known_elr.clone(),
        }
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
        let is_early = self.museum.has(Exhibit::A25ReassignDoneOnAddingOnly);
        let awaited = if is_early { &self.adding } else { &replicas };
        if isr.is_empty() || replicas.is_empty() || awaited.iter().any(|node| !isr.contains(node)) {
            return;
        }
        self.replicas = replicas;
        self.isr = isr;
        self.removing.clear();
        self.adding.clear();
    }

    fn elect(&self) -> Elected {
        let is_complete =
            |node: &NodeId| self.isr.contains(node) || self.isr.is_empty() && self.elr.contains(node);
        let may_lead = |node: &NodeId| is_complete(node) && self.can_lead(*node);
        let present = self.now.leader.filter(may_lead);
        let first = self.replicas.iter().copied().find(may_lead);
        let clean = match self.election {
            Election::Preferred if first.is_some() && first == self.replicas.first().copied() => first,
            Election::Preferred | Election::Online | Election::Unclean => present.or(first),
        };
        if clean.is_some() {
            return Elected::Cleanly(clean);
        }
        // Nobody is known to have everything: who led last has most of it, whatever the topic says of lost records.
        let is_nobody_left = self.min_isr.is_some() && self.isr.is_empty() && self.elr.is_empty();
        let last = match self.now.last_known_elr[..] {
            [last] if is_nobody_left && self.can_lead(last) => Some(last),
            _ => None,
        };
        let is_any_enough = self.election == Election::Unclean;
        let any = || self.replicas.iter().copied().find(|node| is_any_enough && self.can_lead(*node));
        last.or_else(any).map_or(Elected::Cleanly(None), Elected::Uncleanly)
    }

    /// Whether a replica's broker is there to lead and has the directory of the replica.
    fn can_lead(&self, node: NodeId) -> bool {
        let is_online = |broker: &Broker| {
            let directory = self.directory(node);
            directory != LOST
                && (is_reserved_directory(&directory)
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
    /// A partition as it is, to be changed.
    pub(super) fn change_of<'a>(
        &'a self,
        topic: &Topic,
        index: i32,
        state: &'a PartitionState,
    ) -> PartitionChange<'a> {
        let id = TopicIdPartition { topic: topic.id, partition: index };
        let min_isr = self.has_elr().then(|| self.topic_value(MIN_INSYNC_REPLICAS, &topic.name)).flatten();
        let min_isr = min_isr.and_then(|value| usize::try_from(value.as_i64()?).ok());
        PartitionChange { museum: self.museum, ..PartitionChange::new(&self.image, id, state, min_isr) }
    }

    /// Whether replicas that left the ISR may lead.
    pub(super) fn has_elr(&self) -> bool {
        self.image.feature_level(ELR_VERSION.0) > 0
    }

    /// Whether a topic would rather lose records than be without a leader.
    pub(super) fn is_unclean_election_enabled(&self, topic_name: &str) -> bool {
        let value = self.topic_value("unclean.leader.election.enable", topic_name);
        value.and_then(|value| value.as_i64()) == Some(1)
    }

    fn topic_value(&self, key: &str, topic_name: &str) -> Option<Value> {
        let none = Overrides::new();
        let overrides = self.image.config(ConfigResource::Topic, topic_name).unwrap_or(&none);
        topic::value_of(key, overrides, &self.layers(&none))
    }

    /// What becomes of the partitions of which a broker is an in-sync replica when it is one no longer: others lead them,
    /// and the others alone are in sync.
    pub(super) fn leave_isrs(&self, node: NodeId) -> Vec<PartitionChangeRecord> {
        self.leave_isrs_of(node, |_| true)
    }

    /// As [`Self::leave_isrs`], of the partitions alone for which `is_left` holds.
    pub(super) fn leave_isrs_of(
        &self,
        node: NodeId,
        is_left: impl Fn(&PartitionState) -> bool,
    ) -> Vec<PartitionChangeRecord> {
        self.change_where(
            |state| state.isr.contains(&node) && is_left(state),
            |change| change.leave_isr(node),
        )
    }

    /// What becomes of the partitions of a broker that has begun a new life after one that did not end as it should: it may have
    /// lost what nobody else has, and neither leads nor is in sync or eligible before it has caught up (KIP-966).
    pub(super) fn lose_replicas(&self, node: NodeId) -> Vec<PartitionChangeRecord> {
        self.change_where(
            |state| state.isr.contains(&node) || state.eligible_leader_replicas.contains(&node),
            |change| change.lose(node),
        )
    }

    /// Elects leaders for partitions that have none; `with` is about to be unfenced. None of them is worse off than before:
    /// a partition for which nobody is found stays as it is.
    pub(super) fn elect_for_leaderless(&self, with: Option<NodeId>) -> Vec<PartitionChangeRecord> {
        self.change_where(|state| state.leader.is_none(), |change| change.with = with)
    }

    /// Changes all partitions of which something holds. Where the topic would rather lose records than be without a leader, it
    /// may get one that lacks some.
    fn change_where(
        &self,
        holds: impl Fn(&PartitionState) -> bool,
        apply: impl Fn(&mut PartitionChange<'_>),
    ) -> Vec<PartitionChangeRecord> {
        let mut records = Vec::new();
        for topic in self.image.topics_by_name() {
            for (index, state) in topic.partitions.iter().filter(|(_, state)| holds(state)) {
                let mut change = self.change_of(topic, *index, state);
                apply(&mut change);
                if self.is_unclean_election_enabled(&topic.name) {
                    change.election = Election::Unclean;
                }
                records.extend(change.record());
            }
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CLUSTER, cluster, partition as partition_of, set_topic_config};
    use super::super::{Asked, Kraft};
    use super::*;
    use crate::ids::Offset;
    use crate::time::{Instant, Now};
    use alloc::vec;
    use sordini_protocol::messages::BrokerRegistrationRequest;
    use sordini_protocol::messages::broker_registration_request::Feature;
    use sordini_protocol::records::{FeatureLevelRecord, MetadataRecord, PartitionRecord};
    use sordini_protocol::wire::Str;

    fn set_elr_version(controller: &mut Controller, feature_level: i16) {
        let name = Str::from_static(ELR_VERSION.0);
        controller.apply(&FeatureLevelRecord { name, feature_level, ..Default::default() }.into());
    }

    /// Three replicas on three brokers, number 1 leads, and two have to be in sync.
    fn with_elr(isr: &[i32]) -> Controller {
        let partition =
            PartitionRecord { replicas: vec![1, 2, 3], isr: isr.to_vec(), leader: 1, ..Default::default() };
        let mut controller = cluster(3, partition);
        set_elr_version(&mut controller, 1);
        set_topic_config(&mut controller, "min.insync.replicas", "2");
        controller
    }

    /// Leader, ISR, eligible replicas, last known ones, and whether the leader is recovering.
    type State = (Option<i32>, Vec<i32>, Vec<i32>, Vec<i32>, bool);

    fn state(controller: &Controller) -> State {
        let state = partition_of(controller);
        (
            state.leader.map(|node| node.0),
            ids(&state.isr),
            ids(&state.eligible_leader_replicas),
            ids(&state.last_known_elr),
            state.leader_recovery_state == RECOVERING,
        )
    }

    /// Changes the partition as somebody wants it.
    fn change(controller: &mut Controller, wanted: impl FnOnce(&mut PartitionChange<'_>)) {
        let topic = controller.image().topic_by_name("orders").expect("it is there");
        let mut change = controller.change_of(topic, 0, partition_of(controller));
        wanted(&mut change);
        let record = change.record().expect("something changes");
        controller.apply(&MetadataRecord::from(record));
    }

    fn fence(controller: &mut Controller, id: i32) -> State {
        let epoch = controller.image().brokers()[&NodeId(id)].epoch;
        let records = controller.fence(NodeId(id), epoch);
        records.iter().for_each(|record| controller.apply(record));
        state(controller)
    }

    fn unfence(controller: &mut Controller, id: i32) -> State {
        let epoch = controller.image().brokers()[&NodeId(id)].epoch;
        let records = controller.unfence(NodeId(id), epoch);
        records.iter().for_each(|record| controller.apply(record));
        state(controller)
    }

    /// A broker registers in a new life, after one that ended in an epoch.
    fn register(controller: &mut Controller, id: u8, previous_broker_epoch: i64) -> State {
        let feature = |name, max| Feature {
            name: Str::from_static(name),
            min_supported_version: 0,
            max_supported_version: max,
            ..Feature::default()
        };
        let request = BrokerRegistrationRequest {
            broker_id: id.into(),
            cluster_id: CLUSTER,
            incarnation_id: Uuid([40 + id; 16]),
            features: vec![feature("metadata.version", 30), feature(ELR_VERSION.0, 1)],
            log_dirs: vec![Uuid([id; 16])],
            previous_broker_epoch,
            ..BrokerRegistrationRequest::default()
        };
        let now = Now { monotonic: Instant(60_000_000), wall_ms: 0 };
        let asked = Asked { version: 4, end: Offset(100), now, kraft: Kraft::default() };
        let decision = controller.register_broker(&request, &asked);
        assert_eq!(decision.response.error_code, 0);
        decision.records.iter().for_each(|record| controller.apply(record));
        state(controller)
    }

    #[test]
    fn whoever_leaves_a_small_isr_may_lead_when_nobody_is_left_in_it() {
        let mut controller = with_elr(&[1, 2, 3]);
        assert_eq!(fence(&mut controller, 3), (Some(1), vec![1, 2], vec![], vec![], false), "two are enough");
        assert_eq!(fence(&mut controller, 2), (Some(1), vec![1], vec![2], vec![], false));
        assert_eq!(
            fence(&mut controller, 1),
            (None, vec![], vec![1, 2], vec![1], false),
            "the ISR may be empty"
        );
        // Number 3 was out of sync when records were committed that it does not have.
        assert_eq!(unfence(&mut controller, 3), (None, vec![], vec![1, 2], vec![1], false));
        assert_eq!(unfence(&mut controller, 2), (Some(2), vec![2], vec![1], vec![], false));
        change(&mut controller, |change| change.isr = vec![NodeId(2), NodeId(3)]);
        assert_eq!(
            state(&controller),
            (Some(2), vec![2, 3], vec![], vec![], false),
            "enough are in sync again"
        );
    }

    #[test]
    fn without_the_feature_the_last_in_sync_replica_stays_so_and_nobody_else_may_lead() {
        let mut controller = with_elr(&[1, 2]);
        set_elr_version(&mut controller, 0);
        assert_eq!(fence(&mut controller, 2), (Some(1), vec![1], vec![], vec![], false));
        assert_eq!(fence(&mut controller, 1), (None, vec![1], vec![], vec![], false));
        assert_eq!(unfence(&mut controller, 2), (None, vec![1], vec![], vec![], false));
    }

    #[test]
    fn who_was_eligible_when_the_feature_was_taken_away_may_lead_once_more() {
        let mut controller = with_elr(&[1, 2]);
        fence(&mut controller, 2);
        fence(&mut controller, 1);
        assert_eq!(state(&controller), (None, vec![], vec![1, 2], vec![1], false));
        set_elr_version(&mut controller, 0);
        let mut unclean = controller.clone();
        assert_eq!(unfence(&mut controller, 2), (Some(2), vec![2], vec![], vec![], false));
        assert_eq!(register(&mut unclean, 2, -1), (None, vec![], vec![1], vec![], false));
        assert_eq!(unfence(&mut unclean, 2), (None, vec![], vec![1], vec![], false));
    }

    #[test]
    fn only_a_replica_is_eligible() {
        let mut controller = with_elr(&[1, 3]);
        assert_eq!(fence(&mut controller, 3), (Some(1), vec![1], vec![3], vec![], false));
        change(&mut controller, |change| change.replicas = vec![NodeId(1), NodeId(2)]);
        assert_eq!(state(&controller), (Some(1), vec![1], vec![], vec![], false));
    }

    #[test]
    fn who_led_last_leads_again_when_the_preferred_leader_is_asked_for() {
        let mut controller = with_elr(&[1]);
        fence(&mut controller, 1);
        assert_eq!(register(&mut controller, 1, -1), (None, vec![], vec![], vec![1], false));
        change(&mut controller, |change| {
            (change.election, change.with) = (Election::Preferred, Some(NodeId(1)));
        });
        assert_eq!(state(&controller), (Some(1), vec![1], vec![], vec![], true));
    }

    #[test]
    fn whoever_did_not_end_cleanly_is_neither_in_sync_nor_eligible() {
        let mut controller = with_elr(&[1, 2]);
        fence(&mut controller, 2);
        fence(&mut controller, 1);
        assert_eq!(state(&controller), (None, vec![], vec![1, 2], vec![1], false));
        let clean = controller.clone();
        // Broker 2 has no epoch but 0 here.
        assert_eq!(register(&mut controller, 2, 0), (None, vec![], vec![1, 2], vec![1], false));
        assert_eq!(unfence(&mut controller, 2), (Some(2), vec![2], vec![1], vec![], false));
        let mut controller = clean;
        assert_eq!(register(&mut controller, 2, -1), (None, vec![], vec![1], vec![1], false));
        assert_eq!(unfence(&mut controller, 2), (None, vec![], vec![1], vec![1], false));
        // When that holds for every one of them, the last leader is the best there is.
        assert_eq!(register(&mut controller, 1, -1), (None, vec![], vec![], vec![1], false));
        assert_eq!(unfence(&mut controller, 1), (Some(1), vec![1], vec![], vec![], true));
    }

    #[test]
    fn a_leader_that_may_have_lost_records_makes_nobody_eligible() {
        let mut controller = with_elr(&[1, 2]);
        set_topic_config(&mut controller, "unclean.leader.election.enable", "true");
        fence(&mut controller, 2);
        assert_eq!(fence(&mut controller, 1), (Some(3), vec![3], vec![], vec![], true));
    }
}
