//! What the judge from outside is told of a run that is over, and what becomes of its judgement.

use super::machine::Machine;
use super::{AUDITOR_FIRST, Failure, World};
use crate::check::{Facts, LogTruth, check_history};
use crate::client::Client;
use crate::marks::WorldMark;
use crate::plan::NodeRole;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// Whether the auditors have read all that brokers of the cluster have: since all of it is committed, for before that a
    /// leader that has just begun may not know how far it is.
    pub(super) fn is_read_to_the_end(&mut self) -> bool {
        let auditors = self.machines.len()..self.seats.len();
        if auditors.is_empty() {
            return true;
        }
        if self.committed_since.is_none() && self.is_all_committed() {
            self.committed_since = Some(self.now);
        }
        let Some(since) = self.committed_since else { return false };
        auditors.into_iter().all(|seat| self.is_done_since(since, seat))
    }

    /// Whether every partition of the cluster has a leader that knows all of its log to be committed.
    fn is_all_committed(&self) -> bool {
        let nodes = self.members().filter_map(|node| self.machines[node].process.as_ref());
        let led = nodes.flat_map(|process| process.node.partitions()).filter(|view| view.leads.is_some());
        let committed = led.filter(|view| view.high_watermark == view.log_end);
        let committed: BTreeSet<_> = committed.map(|view| (view.topic, view.id.partition)).collect();
        let mut planned = self
            .plan
            .topics
            .iter()
            .flat_map(|topic| (0..topic.partitions).map(move |partition| (&*topic.name, partition)));
        planned.all(|place| committed.contains(&place))
    }

    /// Judges what clients did and were told.
    pub(super) fn judge_history(&mut self) -> Result<(), Failure> {
        if self.is_unjudged || self.plan.producers.is_empty() {
            return Ok(());
        }
        let mut auditors = BTreeMap::new();
        let mut read_to_the_end = BTreeSet::new();
        for seat in &self.seats {
            let Client::Consumer(auditor) = &seat.client else { continue };
            let home = seat.number - AUDITOR_FIRST;
            let home = usize::try_from(home).ok().filter(|home| *home < self.machines.len());
            auditors.insert(seat.number, home.unwrap_or(seat.node));
            read_to_the_end.extend(auditor.ends().map(|(topic, partition)| (seat.number, topic, partition)));
        }
        let facts = Facts {
            plan: &self.plan,
            history: &self.history,
            lossy: &self.places_where(|place| self.has_lost(place)),
            forgetful: &self.places_where(|place| self.has_forgotten_producers(place)),
            auditors: &auditors,
            read_to_the_end: &read_to_the_end,
            now: self.now,
        };
        let permitted = check_history(&facts)?;
        self.marks.count(WorldMark::LostAcks1, permitted.lost_acks1);
        self.marks.count(WorldMark::LostCommitted, permitted.lost);
        self.marks.count(WorldMark::Duplicate, permitted.duplicates);
        Ok(())
    }

    /// Partitions of the nodes that are clusters of their own, and of the cluster, under its first broker.
    fn places_where(&self, is_so: impl Fn((usize, usize, i32)) -> bool) -> BTreeSet<(usize, usize, i32)> {
        let nodes =
            (0..self.machines.len()).filter(|node| self.plan.nodes[*node].role == NodeRole::Standalone);
        let mut found = BTreeSet::new();
        for cluster in nodes.chain(self.plan.cluster_brokers().next()) {
            for (topic, planned) in self.plan.topics.iter().enumerate() {
                let places = (0..planned.partitions).map(|partition| (cluster, topic, partition));
                found.extend(places.filter(|place| is_so(*place)));
            }
        }
        found
    }

    /// Whether a partition has lost what was written: of a node that is a cluster of its own what a loss of power took, or
    /// another disk; of a cluster what nobody had any more whom the controller trusts.
    fn has_lost(&self, (cluster, topic, partition): (usize, usize, i32)) -> bool {
        let machine = &self.machines[cluster];
        if machine.checks.are_off() {
            // Nobody has looked what was lost.
            return [WorldMark::PowerLoss, WorldMark::EmptyDisk].iter().any(|mark| self.marks.of(*mark) > 0);
        }
        if self.plan.nodes[cluster].role.is_member() {
            return self.replication_checks.has_lost((topic, partition));
        }
        let log = machine.checks.log(topic, partition);
        machine.has_lost_disk || log.is_some_and(LogTruth::has_lost_written)
    }

    fn has_forgotten_producers(&self, (cluster, topic, partition): (usize, usize, i32)) -> bool {
        let mut machines = self.machines.iter();
        let is_member = self.plan.nodes[cluster].role.is_member();
        let has_forgotten = |machine: &Machine| {
            machine.checks.log(topic, partition).is_some_and(LogTruth::has_forgotten_producers)
        };
        if is_member { machines.any(has_forgotten) } else { has_forgotten(&self.machines[cluster]) }
    }
}
