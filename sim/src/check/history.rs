//! `history`: what clients did and were told can have been so with a log that keeps its promises. The judge from outside
//! (`sordini-jepsen`) says so, at the end of a run, from the clients' history alone and the contract of each partition.
//!
//! The contracts are what whoever looks at the whole world knows beside: which partitions have lost what was written, so that
//! committed records may be gone; and of which records may be removed. A partition that never has but one replica shows at once
//! what was acknowledged: its reads are linearizable. What is on a disk that was damaged is not judged.
//!
//! The last read of each partition is that of an auditor, who came when everything else was over.

use super::Violation;
use crate::history::{Entry, Operation, Stage};
use crate::plan::{AdminDeed, Fault, NodeRole, Plan, TopicPlan};
use sordini_jepsen::anomaly::{Anomaly, Finding};
use sordini_jepsen::history as judged;
use sordini_jepsen::history::{Acks, Answer, At, Contract, Event, Record, Step};
use sordini_jepsen::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// What a run that is over knows of its clients and partitions.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The plan that was run.
    pub(crate) plan: &'a Plan,
    /// What clients did and were told.
    pub(crate) history: &'a [Entry],
    /// By partition of the plan, on each node that is a cluster of its own, or on the first one of the cluster: whether it has
    /// lost what was written.
    pub(crate) lossy: &'a BTreeSet<(usize, usize, i32)>,
    /// The same of those that have forgotten their producers with records below the start of the log.
    pub(crate) forgetful: &'a BTreeSet<(usize, usize, i32)>,
    /// The clients that read everything in the end, and the nodes that they asked.
    pub(crate) auditors: &'a BTreeMap<u64, usize>,
    /// What of the partitions they came to the end of.
    pub(crate) read_to_the_end: &'a BTreeSet<(u64, usize, i32)>,
    /// When that was, in virtual microseconds.
    pub(crate) now: u64,
}

/// What a history shows that is permitted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Permitted {
    /// Values that a leader alone had acknowledged, and that are lost.
    pub(crate) lost_acks1: u64,
    /// Values that were committed, and that are lost.
    pub(crate) lost: u64,
    /// Values that are there twice.
    pub(crate) duplicates: u64,
}

/// Judges a history. Answers what it shows that is permitted.
///
/// # Errors
/// The anomaly that is not.
pub(crate) fn check(facts: &Facts<'_>) -> Result<Permitted, Violation> {
    let mut story = Story::new(facts);
    for entry in facts.history {
        story.take(entry);
    }
    story.end(facts.now);
    let told = story.into_told();
    let verdict = sordini_jepsen::check(&told.history);
    if let Some(found) = verdict.broken().next() {
        return Err(Violation { property: "history", sentence: told.sentence(&verdict, found) });
    }
    let count = |kinds: &[Anomaly]| {
        verdict.findings.iter().filter(|found| kinds.contains(&found.anomaly)).count() as u64
    };
    Ok(Permitted {
        lost_acks1: count(&[Anomaly::LostAcks1]),
        lost: count(&[Anomaly::LostAcked, Anomaly::Unseen]),
        duplicates: count(&[Anomaly::Duplicate]),
    })
}

/// A partition that is judged: the node that is its cluster or the first one of it, index of the topic, and its own.
type Place = (usize, usize, i32);

/// Something that is invoked or ends, with what orders it among others.
struct Happening {
    at_us: u64,
    /// What is asked at a moment is asked before anything is answered at it.
    rank: u8,
    process: u32,
    /// Index of the operation.
    op: usize,
    step: Step,
}

const ASKS_TO_SCAN: u8 = 0;
const ASKS: u8 = 1;
const HAPPENS: u8 = 2;

/// The history in the words of the judge, as it grows.
struct Story<'a> {
    facts: &'a Facts<'a>,
    contracts: Vec<Contract>,
    /// By partition, its index among the contracts.
    places: BTreeMap<Place, u32>,
    /// The node that each client reads from or writes to, if it is one that is judged.
    clients: BTreeMap<u64, Client>,
    /// Producers whose numbers did not go on in a partition: what they sent again there may be there twice.
    renumbered: BTreeSet<(u64, i32, usize)>,
    happenings: Vec<Happening>,
    /// How many operations there are.
    ops: usize,
    /// Batches without an end, by the first value: the operation.
    sends: BTreeMap<u64, usize>,
    /// The scan under way, by auditor and partition.
    scans: BTreeMap<(u64, Place), usize>,
}

/// Who takes part.
#[derive(Clone, Copy)]
struct Client {
    /// The cluster it talks to, as in [`Place`].
    cluster: usize,
    is_idempotent: bool,
    /// Whether its requests may arrive once more, after they were answered.
    is_doubled: bool,
    is_auditor: bool,
}

impl<'a> Story<'a> {
    fn new(facts: &'a Facts<'a>) -> Self {
        let mut story = Self {
            facts,
            contracts: Vec::new(),
            places: BTreeMap::new(),
            clients: clients(facts),
            renumbered: BTreeSet::new(),
            happenings: Vec::with_capacity(facts.history.len() * 2),
            ops: 0,
            sends: BTreeMap::new(),
            scans: BTreeMap::new(),
        };
        let clusters: BTreeSet<usize> = story.clients.values().map(|client| client.cluster).collect();
        for cluster in clusters {
            for (index, topic) in facts.plan.topics.iter().enumerate() {
                for partition in 0..topic.partitions {
                    let place = (cluster, index, partition);
                    if is_written_by_admins_and_lost(facts, place) {
                        continue;
                    }
                    story.places.insert(place, u32::try_from(story.contracts.len()).expect("not that many"));
                    story.contracts.push(contract(facts, place, topic));
                }
            }
        }
        for entry in facts.history {
            if entry.numbering.is_some_and(|numbering| numbering.is_second)
                && let (Some(partition), Some(topic)) = (entry.partition, story.topic(entry))
            {
                story.renumbered.insert((entry.client, partition, topic));
            }
        }
        story
    }

    fn topic(&self, entry: &Entry) -> Option<usize> {
        self.facts.plan.topics.iter().position(|topic| *topic.name == *entry.topic)
    }

    fn take(&mut self, entry: &Entry) {
        let Some(client) = self.clients.get(&entry.client).copied() else { return };
        let (Some(topic), Some(partition)) = (self.topic(entry), entry.partition) else { return };
        let place = (client.cluster, topic, partition);
        let Some(index) = self.places.get(&place).copied() else { return };
        match (entry.operation, entry.stage) {
            (Operation::Send, Stage::Invoke) => self.on_send(entry, client, index, place),
            (Operation::Send, Stage::Ok | Stage::Fail | Stage::Info) => self.on_send_ended(entry, client),
            (Operation::Poll, Stage::Ok) => self.on_polled(entry, index),
            (Operation::ListOffsets, Stage::Ok) => self.on_beginning(entry, client, place, index),
            (Operation::Seek, Stage::Ok) => {
                self.now(entry, seek(index, entry.offset), Answer::Sought);
            }
            _ => {}
        }
    }

    fn happen(&mut self, at_us: u64, rank: u8, client: u64, op: usize, step: Step) {
        let process = u32::try_from(client).expect("clients have small numbers");
        self.happenings.push(Happening { at_us, rank, process, op, step });
    }

    fn begin(&mut self, at_us: u64, rank: u8, client: u64, operation: judged::Operation) -> usize {
        let op = self.ops;
        self.ops += 1;
        self.happen(at_us, rank, client, op, Step::Invoke(operation));
        op
    }

    /// Something that is done in no time.
    fn now(&mut self, entry: &Entry, operation: judged::Operation, answer: Answer) {
        let op = self.begin(entry.at_us, HAPPENS, entry.client, operation);
        self.happen(entry.at_us, HAPPENS, entry.client, op, Step::Ok(answer));
    }

    fn on_send(&mut self, entry: &Entry, client: Client, partition: u32, place: Place) {
        let Some((first, count)) = entry.values.first().copied() else { return };
        let (_, topic, index) = place;
        let is_known = !self.renumbered.contains(&(entry.client, index, topic))
            && !self.facts.forgetful.contains(&place);
        let send = judged::Operation::Send {
            partition,
            values: (first..first + count).collect(),
            acks: match entry.acks {
                Some(0) => Acks::None,
                Some(1) => Acks::Leader,
                Some(_) | None => Acks::All,
            },
            idempotent: client.is_idempotent && is_known,
        };
        let op = self.begin(entry.at_us, HAPPENS, entry.client, send);
        self.sends.insert(first, op);
    }

    fn on_send_ended(&mut self, entry: &Entry, client: Client) {
        let first = entry.values.first().map(|(first, _)| *first);
        let Some(op) = first.and_then(|first| self.sends.remove(&first)) else { return };
        let step = match entry.stage {
            Stage::Ok => Step::Ok(Answer::Sent { base_offset: entry.offset.filter(|offset| *offset >= 0) }),
            Stage::Fail if !client.is_doubled => Step::Fail,
            Stage::Fail | Stage::Info | Stage::Invoke => Step::Info,
        };
        self.happen(entry.at_us, HAPPENS, entry.client, op, step);
    }

    fn on_polled(&mut self, entry: &Entry, partition: u32) {
        let mut records = Vec::new();
        for ((first, count), offset) in entry.values.iter().zip(&entry.offsets) {
            // What administrators write is to be refused, or to be taken for its time alone, and no part of the history.
            let is_of_admin = |node: usize| Plan::admin_of(node) == first >> 40;
            if !(0..self.facts.plan.nodes.len()).any(is_of_admin) {
                records.extend(
                    (*first..first + count).zip(*offset..).map(|(value, offset)| Record { offset, value }),
                );
            }
        }
        let from = entry.offsets.first().or(entry.offset.as_ref()).copied().unwrap_or(0);
        let isolation = judged::Isolation::ReadUncommitted;
        let asked_us = entry.asked_us.unwrap_or(entry.at_us);
        let poll = judged::Operation::Poll { partition, from, isolation };
        let op = self.begin(asked_us, ASKS, entry.client, poll);
        let high_watermark = entry.high_watermark;
        let answer = Answer::Polled { records: records.into(), high_watermark, log_start: None };
        self.happen(entry.at_us, HAPPENS, entry.client, op, Step::Ok(answer));
    }

    /// A consumer was told where the partition begins, and goes there. Of an auditor a reading begins with it.
    fn on_beginning(&mut self, entry: &Entry, client: Client, place: Place, partition: u32) {
        let Some(offset) = entry.offset else { return };
        if client.is_auditor {
            let scan = judged::Operation::Scan { partition, from: offset };
            let op = self.begin(entry.at_us, ASKS_TO_SCAN, entry.client, scan);
            self.scans.insert((entry.client, place), op);
        }
        let question = judged::Operation::ListOffsets { partition, at: At::Earliest };
        self.now(entry, question, Answer::Listed { offset });
        self.now(entry, seek(partition, entry.offset), Answer::Sought);
    }

    /// The run is over: auditors have come to the end of what they read.
    fn end(&mut self, now: u64) {
        for ((client, (_, topic, partition)), op) in std::mem::take(&mut self.scans) {
            if self.facts.read_to_the_end.contains(&(client, topic, partition)) {
                self.happen(now, HAPPENS, client, op, Step::Ok(Answer::Scanned));
            }
        }
    }

    fn into_told(mut self) -> Told {
        // The sort keeps the order of what happens at one moment.
        self.happenings.sort_by_key(|happening| (happening.at_us, happening.rank));
        let mut numbers = vec![0; self.ops];
        let mut history = judged::History::new(self.contracts);
        let mut who = Vec::with_capacity(self.happenings.len());
        for (seq, Happening { at_us, process, op, step, .. }) in (0..).zip(self.happenings) {
            if matches!(step, Step::Invoke(_)) {
                numbers[op] = seq;
            }
            who.push((process, at_us));
            let event = Event { seq, at_us, process, op: numbers[op], step };
            history.push(event).expect("every operation begins before it ends, in partitions that there are");
        }
        Told { history, who }
    }
}

const fn seek(partition: u32, to: Option<i64>) -> judged::Operation {
    judged::Operation::Seek {
        partition,
        to: match to {
            Some(to) => to,
            None => 0,
        },
    }
}

/// Whom the history is about. Of nodes whose disks the plan damages nothing is asked.
fn clients(facts: &Facts<'_>) -> BTreeMap<u64, Client> {
    let plan = facts.plan;
    let first = plan.cluster_brokers().next();
    let is_damaged = |node: usize| {
        let damages = |fault: &Fault| {
            matches!(fault, Fault::Disk { node: of, .. } if *of == node) && !fault.is_survivable()
        };
        plan.faults.iter().any(|planned| damages(&planned.fault))
    };
    let cluster_of = |node: usize| match (plan.nodes[node].role, first) {
        (NodeRole::Standalone, _) | (_, None) => Some(node).filter(|node| !is_damaged(*node)),
        (NodeRole::Controller | NodeRole::Both | NodeRole::Broker, Some(first)) => {
            Some(first).filter(|_| !plan.cluster_brokers().any(is_damaged))
        }
    };
    let is_doubled = |client: u64| {
        let doubles = |fault: &Fault| matches!(fault, Fault::Duplicate { client: of, .. } if *of == client);
        plan.faults.iter().any(|planned| doubles(&planned.fault))
    };
    let reader = |node: usize, is_auditor: bool| {
        let cluster = cluster_of(node)?;
        Some(Client { cluster, is_idempotent: false, is_doubled: false, is_auditor })
    };
    // Who is forgotten while the run goes on is taken for another, and what he sends again for new, as by Kafka.
    let is_forgetful = |node: usize| plan.nodes[node].properties.contains_key("producer.id.expiration.ms");
    let producers = plan.producers.iter().filter_map(|producer| {
        let client = Client {
            is_idempotent: producer.is_idempotent && !is_forgetful(producer.node),
            is_doubled: is_doubled(producer.client),
            ..reader(producer.node, false)?
        };
        Some((producer.client, client))
    });
    let consumers = plan.consumers.iter();
    let consumers = consumers.filter_map(|it| Some((it.client, reader(it.node, false)?)));
    let auditors = facts.auditors.iter().filter_map(|(client, node)| Some((*client, reader(*node, true)?)));
    producers.chain(consumers).chain(auditors).collect()
}

/// Whether an administrator writes to a partition, and what he writes may be gone: it was lost, or the topic is created again.
/// It is no part of the history, and who has read it seems to have passed over what stands at its offset since.
fn is_written_by_admins_and_lost(facts: &Facts<'_>, place: Place) -> bool {
    let (plan, (cluster, topic, partition)) = (facts.plan, place);
    let deeds = || plan.administration.iter().filter(|planned| planned.node == cluster).map(|it| &it.deed);
    let writes = |deed: &AdminDeed| matches!(deed, AdminDeed::WriteSpoiled { topic: to, partition: at, .. } if (*to, *at) == (topic, partition));
    deeds().any(writes) && (facts.lossy.contains(&place) || is_created_again(plan, cluster, topic))
}

/// Whether somebody has a topic of a cluster deleted and created again.
fn is_created_again(plan: &Plan, cluster: usize, topic: usize) -> bool {
    let is_it = |deed: &AdminDeed| matches!(deed, AdminDeed::RecreateTopic { topic: of } if *of == topic);
    plan.administration.iter().any(|planned| planned.node == cluster && is_it(&planned.deed))
}

/// What is promised of a partition.
fn contract(facts: &Facts<'_>, place: Place, topic: &TopicPlan) -> Contract {
    let (cluster, index, partition) = place;
    let plan = facts.plan;
    let name = match plan.nodes[cluster].role {
        NodeRole::Standalone if plan.nodes.len() > 1 => format!("{} of node {cluster}", topic.name),
        NodeRole::Standalone | NodeRole::Controller | NodeRole::Both | NodeRole::Broker => topic.name.clone(),
    };
    let deeds = || plan.administration.iter().filter(|planned| planned.node == cluster).map(|it| &it.deed);
    let is_cut =
        deeds().any(|deed| matches!(deed, AdminDeed::DeleteRecords { topic, .. } if *topic == index));
    // Who names a topic by its name cannot tell one from another that was created since: both are judged as one, of which
    // everything may have been lost.
    let is_another = is_created_again(plan, cluster, index);
    let has_limits = topic.retention_ms.is_some()
        || topic.retention_bytes.is_some()
        || plan.nodes[cluster].properties.contains_key("log.retention.ms");
    let small = |number: usize| u16::try_from(number).expect("a handful of nodes");
    let replicas = small(topic.replicas);
    let is_reassigned = deeds().any(|deed| {
        matches!(deed, AdminDeed::Reassign { topic, partition: at, .. } if (*topic, *at) == (index, partition))
    });
    Contract {
        replication_factor: replicas,
        min_insync_replicas: small(topic.min_isr.unwrap_or(1)),
        amnesiac_replicas_max: if is_another || facts.lossy.contains(&place) { replicas } else { 0 },
        removes_records: is_cut || has_limits,
        linearizable_reads: topic.replicas == 1 && !is_reassigned,
        ..Contract::new(name, u32::try_from(partition).expect("an index"))
    }
}

/// A history as the judge takes it.
struct Told {
    history: judged::History,
    /// By number of the event: whose it is, and when it happened in virtual microseconds.
    who: Vec<(u32, u64)>,
}

impl Told {
    /// What an anomaly is, with who did what it shows and when he began, and how many more there are.
    fn sentence(&self, verdict: &Verdict, found: &Finding) -> String {
        let contract = &verdict.contracts[found.partition as usize];
        let mut text = format!("{} in {}-{}", found.anomaly, contract.topic, contract.partition);
        let mut push = |name: &str, what: Option<String>| {
            text.extend(what.map(|what| format!(", {name} {what}")));
        };
        push("offset", found.offset.map(|offset| offset.to_string()));
        push("value", found.value.map(|value| value.to_string()));
        push("other offset", found.other_offset.map(|offset| offset.to_string()));
        push("other value", found.other_value.map(|value| value.to_string()));
        let who = found.operations.iter().filter_map(|op| self.who.get(usize::try_from(*op).ok()?));
        let who: Vec<String> =
            who.map(|(client, at_us)| format!("client {client} from {at_us} us on")).collect();
        let asked = found.asked.map(|asked| format!("{asked}; ")).unwrap_or_default();
        let more = match verdict.counts.broken {
            1 => String::new(),
            broken => format!("; {} more", broken - 1),
        };
        format!("{text}: {} ({asked}{contract}){more}", who.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, check};
    use crate::history::{Entry, Operation, Stage};
    use crate::plan::{DiskFault, Fault, FaultPlan, FileKind, Plan};
    use sordini_protocol::wire::Str;
    use std::collections::{BTreeMap, BTreeSet};

    const AUDITOR: u64 = 1_000_000;

    /// A run of one node with one idempotent producer and its history, which grows.
    struct Run {
        plan: Plan,
        history: Vec<Entry>,
        is_lossy: bool,
        is_forgetful: bool,
    }

    impl Run {
        fn new() -> Self {
            let reference = Plan::reference();
            let mut producers = reference.producers.clone();
            producers.retain(|producer| producer.is_idempotent);
            let plan = Plan { producers, faults: Vec::new(), ..reference };
            Self { plan, history: Vec::new(), is_lossy: false, is_forgetful: false }
        }

        fn note(&mut self, client: u64, stage: Stage, operation: Operation, what: Entry) {
            let topic = Str::from(&*self.plan.topics[0].name);
            let at_us = 10 * (self.history.len() as u64 + 1);
            self.history.push(Entry { at_us, client, stage, operation, topic, partition: Some(0), ..what });
        }

        fn producer(&self) -> u64 {
            self.plan.producers[0].client
        }

        fn value(&self, number: u64) -> u64 {
            self.producer() << 40 | number << 16
        }

        /// A batch of one record is sent, and what becomes of it is told.
        fn send(&mut self, number: u64, stage: Stage, offset: Option<i64>) {
            let values = vec![(self.value(number), 1)];
            let sent = |offset| Entry { values: values.clone(), acks: Some(-1), offset, ..nothing() };
            self.note(self.producer(), Stage::Invoke, Operation::Send, sent(None));
            self.note(self.producer(), stage, Operation::Send, sent(offset));
        }

        /// A reader gets the records of these batches, from an offset on.
        fn read(&mut self, client: u64, from: i64, numbers: &[u64]) {
            let values = numbers.iter().map(|number| (self.value(*number), 1)).collect();
            let offsets = (from..).take(numbers.len()).collect();
            self.note(client, Stage::Ok, Operation::Poll, Entry { values, offsets, ..nothing() });
        }

        fn begin_to_audit(&mut self) {
            self.note(AUDITOR, Stage::Ok, Operation::ListOffsets, Entry { offset: Some(0), ..nothing() });
        }

        fn judge(&self) -> Result<(), String> {
            let facts = Facts {
                plan: &self.plan,
                history: &self.history,
                lossy: &BTreeSet::from_iter(self.is_lossy.then_some((0, 0, 0))),
                forgetful: &BTreeSet::from_iter(self.is_forgetful.then_some((0, 0, 0))),
                auditors: &BTreeMap::from([(AUDITOR, 0)]),
                read_to_the_end: &BTreeSet::from([(AUDITOR, 0, 0)]),
                now: 1_000_000,
            };
            check(&facts).map(drop).map_err(|violation| violation.sentence)
        }

        #[track_caller]
        fn assert_shows(&self, anomaly: &str) {
            let sentence = self.judge().expect_err("it is not permitted");
            assert!(sentence.starts_with(&format!("{anomaly} in ")), "{sentence}");
        }
    }

    fn nothing() -> Entry {
        Entry::new(0, 0, Stage::Ok, Operation::Poll, Str::new())
    }

    #[test]
    fn what_was_acknowledged_and_is_not_read_in_the_end_is_lost_unless_the_power_was() {
        let mut run = Run::new();
        run.send(0, Stage::Ok, Some(0));
        run.send(1, Stage::Ok, Some(1));
        run.begin_to_audit();
        run.read(AUDITOR, 0, &[0]);
        run.assert_shows("unseen");
        run.is_lossy = true;
        assert_eq!(run.judge(), Ok(()));
        run.is_lossy = false;
        run.read(AUDITOR, 1, &[1]);
        assert_eq!(run.judge(), Ok(()));
    }

    #[test]
    fn what_was_refused_is_not_read_unless_it_arrived_once_more() {
        let mut run = Run::new();
        run.send(0, Stage::Fail, None);
        run.begin_to_audit();
        run.read(AUDITOR, 0, &[0]);
        run.assert_shows("failed-read");
        let fault = Fault::Duplicate { client: run.producer(), node: 0, after_us: 5, for_us: 5 };
        run.plan.faults = vec![FaultPlan { at_us: 1, fault }];
        assert_eq!(run.judge(), Ok(()));
    }

    #[test]
    fn what_an_idempotent_producer_sent_is_there_once_as_long_as_it_is_known() {
        let mut run = Run::new();
        run.send(0, Stage::Ok, Some(0));
        run.begin_to_audit();
        run.read(AUDITOR, 0, &[0, 0]);
        run.assert_shows("duplicate");
        run.is_forgetful = true;
        assert_eq!(run.judge(), Ok(()));
        run.is_forgetful = false;
        let key = "producer.id.expiration.ms".to_owned();
        run.plan.nodes[0].properties.insert(key, "300".to_owned());
        assert_eq!(run.judge(), Ok(()));
    }

    #[test]
    fn two_readers_of_one_offset_read_one_value() {
        let mut run = Run::new();
        run.send(0, Stage::Info, None);
        run.send(1, Stage::Info, None);
        run.read(run.plan.consumers[0].client, 0, &[0]);
        run.begin_to_audit();
        run.read(AUDITOR, 0, &[1, 0]);
        run.assert_shows("inconsistent-offset");
    }

    #[test]
    fn a_reader_that_asks_when_all_is_acknowledged_is_told_of_it() {
        let mut run = Run::new();
        run.send(0, Stage::Ok, Some(0));
        let asked_us = Some(10 * run.history.len() as u64 + 1);
        let told = |high_watermark| Entry { high_watermark: Some(high_watermark), asked_us, ..nothing() };
        let reader = run.plan.consumers[0].client;
        run.note(reader, Stage::Ok, Operation::Poll, told(0));
        run.begin_to_audit();
        run.read(AUDITOR, 0, &[0]);
        run.assert_shows("stale-read");
        run.history[2].asked_us = Some(15);
        assert_eq!(run.judge(), Ok(()), "it asked before");
    }

    #[test]
    fn of_a_disk_that_was_damaged_nothing_is_asked() {
        let mut run = Run::new();
        run.send(0, Stage::Ok, Some(0));
        run.begin_to_audit();
        run.assert_shows("unseen");
        let how = DiskFault::Rot { files: FileKind::ClosedSegment };
        run.plan.faults = vec![FaultPlan { at_us: 1, fault: Fault::Disk { node: 0, how } }];
        assert_eq!(run.judge(), Ok(()));
    }
}
