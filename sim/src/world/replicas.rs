//! What brokers say of the partitions that several of them have, handed to the checks with what is on their disks.

use super::machine::Machine;
use super::{CARETAKER, Failure, World};
use crate::check::{Copy, Gone, News, QuorumChecks, Trusted};
use crate::client::{Admin, Client};
use crate::marks::WorldMark;
use crate::plan::{AdminDeed, AdminPlan};
use crate::trace::Kind;
use sordini_core::node::PartitionStateView;
use sordini_protocol::wire::Str;

/// How often it is looked for partitions that nobody may lead, once everything runs again. Who led last is elected sooner.
const LOOK_FOR_LEADERS_US: u64 = 10_000_000;

impl World {
    /// Looks at what a node says that is new of its partitions, and at what clients were told by it.
    pub(super) fn look_at_replicas(&mut self, node: usize, news: News) -> Result<(), Failure> {
        let process = self.machines[node].process.as_ref();
        if self.replication_checks.are_off() || process.is_none_or(|it| it.running_since.is_none()) {
            return Ok(());
        }
        let Self { machines, quorum_checks, topic_names, replication_checks, .. } = self;
        if replication_checks.metadata_end() != quorum_checks.metadata_end() {
            let outside = Outside { machines, quorum_checks, topic_names };
            let trusted = |place| outside.trusted(place);
            replication_checks.begin_topics(trusted);
            // Who learns in this step that it leads is the controller's choice of those who are left.
            replication_checks.look_for_losses(&trusted, &|place, node| outside.copy(place, node));
        }
        let losses = self.hear(node, news)?;
        let Self { machines, quorum_checks, topic_names, replication_checks, .. } = self;
        let outside = Outside { machines, quorum_checks, topic_names };
        let copies = |place, node| outside.copy(place, node);
        let trusted = |place| outside.trusted(place);
        replication_checks.on_metadata(quorum_checks.metadata_end(), trusted, &copies)?;
        if replication_checks.has_promises() {
            replication_checks.judge(trusted, &copies)?;
        }
        self.tell_trusted();
        for Lost { place: (topic, partition), records, is_unclean } in losses {
            self.marks.hit(WorldMark::CommittedLoss);
            let name = format!("{}-{partition}", self.topic_names[topic]);
            let why = if is_unclean {
                "its leader lacks, by an unclean election"
            } else {
                "nobody has who may lead"
            };
            let sentence = format!("{records} committed records of {name}, which {why}");
            self.trace.tell(self.now, Kind::Loss, Some(node), || sentence.clone());
            self.losses.push(format!("at {} us the cluster lost {sentence}", self.now));
        }
        Ok(())
    }

    /// Hands what a node says of its partitions to the checks. Answers what was lost.
    fn hear(&mut self, node: usize, mut news: News) -> Result<Vec<Lost>, Failure> {
        let Self { machines, quorum_checks, topic_names, replication_checks, .. } = self;
        // Followers delete what their leader has deleted.
        for (place, said) in news.iter().filter(|(_, said)| said.leads.is_some()) {
            let allow = |machine: &mut Machine| {
                machine.checks.allow_start(*place, said.topic_id, said.log_start);
            };
            machines.iter_mut().for_each(allow);
        }
        news.retain(|(place, said)| replication_checks.is_current(*place, *said));
        for (place, said) in &news {
            if replication_checks.is_other_leadership(node, *place, *said) {
                machines[node].checks.forget_high_watermark(*place);
            }
        }
        let gone = machines[node].checks.take_gone();
        let outside = Outside { machines, quorum_checks, topic_names };
        let copies = |place, node| outside.copy(place, node);
        let trusted = |place| outside.trusted(place);
        for Gone { place, topic_id } in gone {
            let is_anothers = |trusted: &Trusted<'_>| topic_id.is_some_and(|id| id != trusted.topic_id);
            let trusted = trusted(place);
            if !trusted.as_ref().is_some_and(is_anothers) {
                replication_checks.on_gone(node, place, trusted)?;
            }
        }
        let (mut losses, mut is_all_judged) = (Vec::new(), true);
        for (place, said) in news {
            let copies = |node| copies(place, node);
            let records = replication_checks.on_said(self.now, node, place, said, trusted(place), &copies)?;
            if records > 0 {
                let is_unclean = trusted(place).is_some_and(|trusted| trusted.is_unclean);
                losses.push(Lost { place, records, is_unclean });
            }
            is_all_judged &= !replication_checks.is_news(node, place, said);
        }
        if let Some(process) = self.machines[node].process.as_mut().filter(|_| !is_all_judged) {
            // What could not be judged yet is heard again.
            process.hearing.is_all_new = true;
        }
        Ok(losses)
    }

    /// Tells what the committed metadata log says of partitions, where it has changed.
    fn tell_trusted(&mut self) {
        if !self.trace.tells(Kind::Log) {
            return;
        }
        for (topic, planned) in self.plan.topics.iter().enumerate() {
            for partition in 0..planned.partitions {
                let Some(trusted) = self.quorum_checks.trusted(&planned.name, partition) else { continue };
                let text = trusted.to_string();
                let told = self.told_partitions.entry((topic, partition)).or_default();
                if *told != text {
                    told.clone_from(&text);
                    self.trace
                        .tell(self.now, Kind::Log, None, || format!("{}-{partition}: {text}", planned.name));
                }
            }
        }
    }

    /// A process has ended.
    pub(super) fn note_end(&mut self, node: usize) {
        let Self { machines, quorum_checks, topic_names, replication_checks, .. } = self;
        let outside = Outside { machines, quorum_checks, topic_names };
        replication_checks.on_end(node, &|place, node| outside.copy(place, node));
    }

    /// A machine has lost what was not durable, or its disk.
    pub(super) fn note_loss(&mut self, node: usize) {
        let Self { machines, quorum_checks, topic_names, replication_checks, .. } = self;
        if replication_checks.are_off() {
            return;
        }
        let outside = Outside { machines, quorum_checks, topic_names };
        let copies = |place, node| outside.copy(place, node);
        replication_checks.on_loss(self.now, node, |place| outside.trusted(place), &copies);
    }

    /// Everybody who had all of a partition may have been lost, one after the other, the last while nobody led it: then it has
    /// no last leader that could be elected, and Kafka waits for its operator. Once nothing befalls anybody any more, that is
    /// who comes.
    pub(super) fn have_somebody_lead(&mut self) {
        if self.now < self.looks_for_leaders_at || self.seats.iter().any(|seat| seat.number == CARETAKER) {
            return;
        }
        self.looks_for_leaders_at = self.now + LOOK_FOR_LEADERS_US;
        let Some((node, broker)) = self.members().next().zip(self.plan.cluster_brokers().next()) else {
            return;
        };
        let Some(process) = self.machines[node].process.as_ref().filter(|_| self.is_quorum_whole()) else {
            return;
        };
        let is_lost = |view: &PartitionStateView<'_>| {
            view.leader.is_none() && view.isr.is_empty() && view.eligible_leader_replicas.is_empty()
        };
        let deed = |view: PartitionStateView<'_>| {
            let topic = self.plan.topics.iter().position(|topic| topic.name == view.topic)?;
            let deed = AdminDeed::ElectUncleanly { topic, partition: view.id.partition };
            Some(AdminPlan { at_us: self.now, node: broker, deed })
        };
        let deeds: Vec<_> = process.node.known_partitions().filter(is_lost).filter_map(deed).collect();
        if deeds.is_empty() {
            return;
        }
        let topics = self.plan.topics.clone();
        let admin = Admin::new(CARETAKER, broker, self.surroundings(), topics, deeds).with_topics_there();
        self.seat(CARETAKER, broker, Client::Admin(admin));
        self.wake_later(self.seats.len() - 1);
    }

    /// What is missing until all replicas have the same.
    pub(super) fn replicas_behind(&self) -> Option<String> {
        let Self { machines, quorum_checks, topic_names, replication_checks, .. } = self;
        let outside = Outside { machines, quorum_checks, topic_names };
        let copies = |place, node| outside.copy(place, node);
        replication_checks.is_behind(|place| outside.trusted(place), &copies)
    }
}

/// Committed records that nobody has any more who may lead.
struct Lost {
    place: (usize, i32),
    records: i64,
    /// Whether by an unclean election.
    is_unclean: bool,
}

/// What is to be seen of partitions without asking who has them: the disks, and the committed metadata log.
#[derive(Clone, Copy)]
struct Outside<'a> {
    machines: &'a [Machine],
    quorum_checks: &'a QuorumChecks,
    topic_names: &'a [Str],
}

impl<'a> Outside<'a> {
    fn copy(self, (topic, partition): (usize, i32), node: usize) -> Copy<'a> {
        let machine = &self.machines[node];
        let topic_id = self.quorum_checks.topic_id(&self.topic_names[topic]);
        let log = machine.checks.log(topic, partition);
        Copy {
            log: log.filter(|log| topic_id.is_some_and(|id| log.is_of(id))),
            disk: &machine.disk,
            is_running: machine.process.as_ref().is_some_and(|process| process.running_since.is_some()),
            broker_epoch: self.quorum_checks.broker_epoch(node),
        }
    }

    fn trusted(self, (topic, partition): (usize, i32)) -> Option<Trusted<'a>> {
        self.quorum_checks.trusted(&self.topic_names[topic], partition)
    }
}
