//! What the replicas of a partition owe each other and their clients, one property per file. The committed records of a partition
//! are those below the greatest high watermark that a leader has named; from then on they are held against every leader, every
//! follower and every reader.
//!
//! Records that nobody has any more whom the controller trusts, after losses of power, may be lost: a run says which.

mod candidate_completeness;
mod consistent_read;
mod converged_replicas;
mod follower_high_watermark;
mod honest_acks;
mod kept_replicas;
mod leader_completeness;
mod one_history;
mod one_leader;
mod sent_once;
mod truncation_guard;
mod truthful_match;

use super::{LogTruth, TrueBatch, Violation};
use crate::disk::{Contents, Disk};
use crate::plan::Plan;
use sordini_core::node::PartitionView;
use sordini_protocol::batch::BatchHeader;
use sordini_protocol::wire::Uuid;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A partition of the plan: index of the topic, and its own.
type Place = (usize, i32);

/// What makes a batch the same in every log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchId {
    base: i64,
    end: i64,
    epoch: i32,
    crc: u32,
}

impl BatchId {
    /// Of the batch of a header.
    fn of(header: &BatchHeader) -> Self {
        Self {
            base: header.base_offset,
            end: header.next_offset(),
            epoch: header.partition_leader_epoch,
            crc: header.crc,
        }
    }
}

/// A committed batch.
#[derive(Clone, Copy, Debug)]
struct Committed {
    batch: BatchId,
    /// When a log had it first, in virtual microseconds.
    appended_us: u64,
}

/// What a broker says of a partition that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The topic that it is of.
    pub topic_id: Uuid,
    /// The epoch under which it leads it, if it does.
    pub leads: Option<i32>,
    /// The newest epoch that it has heard of, whoever leads.
    pub leader_epoch: i32,
    /// Where its log starts.
    pub log_start: i64,
    /// Below it readers may see.
    pub high_watermark: i64,
    /// Offset of the next record.
    pub log_end: i64,
}

impl Said {
    const fn of(view: &PartitionView<'_>) -> Self {
        let leads = match view.leads {
            Some(epoch) => Some(epoch.0),
            None => None,
        };
        Self {
            topic_id: view.id.topic,
            leads,
            leader_epoch: view.leader_epoch.0,
            log_start: view.log_start.0,
            high_watermark: view.high_watermark.0,
            log_end: view.log_end.0,
        }
    }
}

/// What a broker says of partitions that it has not said before.
pub type News = Vec<(Place, Said)>;

/// What the committed metadata log says of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'a> {
    /// The topic that has the name.
    pub topic_id: Uuid,
    /// The numbers of those who are to have it.
    pub replicas: &'a [i32],
    /// The numbers of those of them that are in sync.
    pub isr: &'a [i32],
    /// The numbers of those of them that may lead without.
    pub elr: &'a [i32],
    /// The number of who leads; -1 for nobody.
    pub leader: i32,
    /// The newest leader epoch.
    pub leader_epoch: i32,
    /// Whether it is being moved.
    pub is_moved: bool,
    /// Whether who leads was elected although it may lack records, as the topic allows or somebody has asked for.
    pub is_unclean: bool,
}

impl fmt::Display for Trusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic_id: _, replicas, isr, elr, leader, leader_epoch, is_moved, is_unclean: _ } = self;
        let moved = if *is_moved { ", and it is being moved" } else { "" };
        write!(
            f,
            "replicas {replicas:?}, in sync {isr:?}, eligible {elr:?}, {leader} leads epoch {leader_epoch}{moved}"
        )
    }
}

impl Trusted<'_> {
    /// The places of the nodes whom the controller would let lead.
    fn candidates(&self) -> impl Iterator<Item = usize> {
        self.isr.iter().chain(self.elr).map(|id| node_of(*id))
    }
}

fn id_of(node: usize) -> i32 {
    i32::try_from(node).expect("a handful of nodes") + 1
}

fn node_of(id: i32) -> usize {
    usize::try_from(id - 1).expect("nodes have positive numbers")
}

/// A node's copy of a partition, as who looks from outside sees it.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// What was appended to it.
    pub log: Option<&'a LogTruth>,
    /// Where it lies.
    pub disk: &'a Disk,
    /// Whether a process serves it.
    pub is_running: bool,
    /// The epoch of the broker's registration, if it has one.
    pub broker_epoch: Option<i64>,
}

impl Copy<'_> {
    /// Whether a batch was ever appended to it and is not lost.
    fn has(&self, batch: BatchId) -> bool {
        self.find(batch).is_some()
    }

    fn find(&self, batch: BatchId) -> Option<&TrueBatch> {
        let (_, found) = self.log?.batch_at(batch.base)?;
        (BatchId::of(&found.header) == batch).then_some(found)
    }

    /// Whether the bytes of a batch have reached the page cache.
    fn has_written(&self, batch: BatchId) -> bool {
        self.log.zip(self.find(batch)).is_some_and(|(log, found)| {
            let contents = self.disk.contents(&log.name_on(self.disk, &found.file));
            contents.map_or(0, Contents::len) >= found.end()
        })
    }

    /// Whether a batch is there whatever crash there was.
    fn keeps(&self, batch: BatchId) -> bool {
        let is_kept = |log: &LogTruth| log.must_keep().is_none_or(|kept| batch.end <= kept.end);
        !self.disk.is_damaged() && self.log.is_some_and(is_kept) && self.has(batch)
    }

    /// Whether it can be looked at: a process serves it, on a disk that holds what it took.
    fn is_known(&self) -> bool {
        let is_verified = self.log.is_none_or(|log| !log.is_unverified());
        self.is_running && is_verified && !self.disk.is_damaged()
    }
}

/// The copies of a partition, by node.
type Copies<'a> = &'a dyn Fn(usize) -> Copy<'a>;

/// What was said to a client, to be judged when it is known what the node that said it has come to believe.
#[derive(Clone, Debug)]
enum Promise {
    /// That a batch is in the log of every replica in sync, from an offset on.
    Acknowledged { node: usize, place: Place, topic_id: Uuid, base_offset: i64 },
    /// That a batch is what the log holds.
    Read { node: usize, place: Place, topic_id: Uuid, batch: BatchId },
}

impl Promise {
    /// Who said it.
    const fn node(&self) -> usize {
        match self {
            Self::Acknowledged { node, .. } | Self::Read { node, .. } => *node,
        }
    }

    /// Of which partition.
    const fn place(&self) -> Place {
        match self {
            Self::Acknowledged { place, .. } | Self::Read { place, .. } => *place,
        }
    }

    /// Of which of the topics that have had the name.
    const fn topic_id(&self) -> Uuid {
        match self {
            Self::Acknowledged { topic_id, .. } | Self::Read { topic_id, .. } => *topic_id,
        }
    }
}

/// The last crash of a node that may have taken what was not durable.
#[derive(Clone, Copy, Debug, Default)]
struct Loss {
    /// When, in virtual microseconds; nothing for never.
    at_us: Option<u64>,
    /// Where the metadata log ended then: whoever has registered since has said that it lost its memory.
    metadata_end: i64,
}

/// What is known of a copy.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    said: Option<Said>,
    /// Below this offset it is known to be what is committed.
    matching_end: i64,
}

impl Seen {
    /// The offset below which a log is known to be what is committed.
    fn known_end(&self, log: &LogTruth) -> i64 {
        // A log that was begun anew has nothing of what it had.
        if log.first_base() > 0 { 0 } else { self.matching_end.min(log.end()) }
    }
}

/// The truth about a partition, which begins anew with every topic that gets the name. What a node says of an earlier one, which
/// has not heard yet that it is deleted, binds nobody.
#[derive(Clone, Debug, Default)]
struct Truth {
    name: Arc<str>,
    /// The topic that has the name by the committed metadata log, if there is one.
    topic_id: Option<Uuid>,
    committed: Vec<Committed>,
    /// Who led in which epoch.
    leaders: one_leader::Leaders,
    history: one_history::History,
    sent: sent_once::Sent,
    copies: BTreeMap<usize, Seen>,
    /// Where the log starts of whoever has deleted most. Whether that may go is for the check of each log to say.
    start: i64,
    /// The newest epoch that has a leader, and what he took for committed at first.
    begun_with: Option<(i32, i64)>,
    /// Where the log starts of the leader that has deleted most.
    leaders_start: i64,
    /// The nodes that have been none of its replicas while they had copies that they have still.
    left_out: BTreeSet<usize>,
    /// From this offset on nobody has the committed records any more whom the controller trusts.
    lost_from: Option<i64>,
    /// How often committed records were lost.
    losses: u64,
    /// The epoch that began with the last loss: what leaders of earlier ones take for committed is not there any more.
    lost_before: i32,
}

impl Truth {
    /// The offset after the last committed record.
    fn end(&self) -> i64 {
        self.committed.last().map_or(0, |last| last.batch.end)
    }

    /// The offset below which somebody has to have what was committed.
    fn promised_end(&self) -> i64 {
        self.lost_from.map_or(i64::MAX, |from| from).min(self.end())
    }

    fn committed_at(&self, offset: i64) -> Option<&Committed> {
        let index = self.committed.partition_point(|committed| committed.batch.end <= offset);
        self.committed.get(index).filter(|committed| committed.batch.base <= offset)
    }

    /// The offset up to which a log is what is committed; it is known to be that up to `from`. What others have deleted it may
    /// lack, or have otherwise: whoever deleted it cannot say any more where a log parted from it (KIP-101).
    fn matching_end(&self, from: i64, log: &LogTruth) -> i64 {
        let from = if log.first_base() > self.start { from } else { from.max(self.start.min(log.end())) };
        if from >= self.end() {
            return from;
        }
        let mut end = from;
        let committed = &self.committed[self.committed.partition_point(|it| it.batch.end <= from)..];
        let batches = &log.batches()[log.batches().partition_point(|batch| batch.end_offset <= from)..];
        for (committed, batch) in committed.iter().zip(batches) {
            if committed.batch != BatchId::of(&batch.header) {
                break;
            }
            end = committed.batch.end;
        }
        end
    }
}

/// All checks of a plan's replicas, and the facts they keep.
#[derive(Clone, Debug)]
pub struct ReplicationChecks {
    /// The names of the topics, and how many replicas have to have what is acknowledged.
    topics: Vec<(String, usize)>,
    truths: BTreeMap<Place, Truth>,
    losses: Vec<Loss>,
    promises: Vec<Promise>,
    metadata_end: i64,
    are_off: bool,
}

impl ReplicationChecks {
    /// The checks of a plan's run.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let min_isr = |replicas: usize, min_isr: Option<usize>| min_isr.unwrap_or(1).min(replicas);
        let topics = plan.topics.iter().map(|it| (it.name.clone(), min_isr(it.replicas, it.min_isr)));
        let places = plan.topics.iter().enumerate().flat_map(|(topic, planned)| {
            (0..planned.partitions).map(move |partition| {
                let name = Arc::from(format!("{}-{partition}", planned.name));
                ((topic, partition), Truth { name, ..Truth::default() })
            })
        });
        Self {
            topics: topics.collect(),
            truths: places.collect(),
            losses: vec![Loss::default(); plan.nodes.len()],
            promises: Vec::new(),
            metadata_end: 0,
            are_off: plan.cluster_brokers().next().is_none() || plan.topics.is_empty(),
        }
    }

    /// From here on nothing is looked at, and nothing noted.
    pub(crate) const fn switch_off(&mut self) {
        self.are_off = true;
    }

    /// Whether nothing is looked at.
    #[must_use]
    pub const fn are_off(&self) -> bool {
        self.are_off
    }

    /// Where the committed metadata log ended when it was last looked at.
    #[must_use]
    pub const fn metadata_end(&self) -> i64 {
        self.metadata_end
    }

    /// The index of a topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<usize> {
        self.topics.iter().position(|(topic, _)| topic == name)
    }

    /// Whether committed records were lost that nobody had any more whom the controller trusts.
    #[must_use]
    pub fn has_losses(&self) -> bool {
        self.truths.values().any(|truth| truth.losses > 0)
    }

    /// Whether committed records of a partition were lost that way.
    #[must_use]
    pub fn has_lost(&self, place: (usize, i32)) -> bool {
        self.truths.get(&place).is_some_and(|truth| truth.losses > 0)
    }

    /// What a broker says of partitions of the plan, as far as it has said something else before.
    #[must_use]
    pub fn news(&self, node: usize, views: &[PartitionView<'_>]) -> News {
        if self.are_off {
            return News::new();
        }
        let of_place = |view: &PartitionView<'_>| {
            let (place, said) = ((self.topic(view.topic)?, view.id.partition), Said::of(view));
            self.is_news(node, place, said).then_some((place, said))
        };
        views.iter().filter_map(of_place).collect()
    }

    /// Whether a broker has said something else of a partition before.
    #[must_use]
    pub fn is_news(&self, node: usize, place: Place, said: Said) -> bool {
        let seen = self.truths.get(&place).and_then(|truth| truth.copies.get(&node));
        seen.is_none_or(|seen| seen.said != Some(said))
    }

    /// Topics are what the committed metadata log says: another that has a name has nothing of the one that had it before. Who is
    /// none of the replicas any more may give up what it has.
    pub fn begin_topics<'a>(&mut self, trusted: impl Fn(Place) -> Option<Trusted<'a>>) {
        for (place, truth) in &mut self.truths {
            let trusted = trusted(*place);
            let topic_id = trusted.map(|trusted| trusted.topic_id);
            if truth.topic_id != topic_id {
                *truth = Truth { name: Arc::clone(&truth.name), topic_id, ..Truth::default() };
            }
            if let Some(trusted) = trusted {
                let is_out = |node: &usize| !trusted.replicas.contains(&id_of(*node));
                truth.left_out.extend(truth.copies.keys().copied().filter(is_out));
            }
        }
    }

    /// Whether what a broker says of a partition is about the topic that has the name.
    #[must_use]
    pub fn is_current(&self, place: Place, said: Said) -> bool {
        self.truths.get(&place).is_some_and(|truth| truth.topic_id == Some(said.topic_id))
    }

    /// Whether a broker has begun or ceased to lead a partition since it was heard last, or follows a leader who began with less
    /// for committed than it knew: followers take their leader's word.
    #[must_use]
    pub fn is_other_leadership(&self, node: usize, place: Place, said: Said) -> bool {
        let Some(truth) = self.truths.get(&place) else { return true };
        let Some(before) = truth.copies.get(&node).and_then(|seen| seen.said) else { return true };
        let began_with_less =
            |(epoch, committed)| epoch == said.leader_epoch && committed < before.high_watermark;
        before.leads != said.leads || (said.leads.is_none() && truth.begun_with.is_some_and(began_with_less))
    }

    /// A broker says something new of a partition. Answers how many committed records were lost.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_said(
        &mut self,
        now: u64,
        node: usize,
        place: Place,
        said: Said,
        trusted: Option<Trusted<'_>>,
        copies: Copies<'_>,
    ) -> Result<i64, Violation> {
        let Some(truth) = self.truths.get_mut(&place) else { return Ok(0) };
        let copy = copies(node);
        if !copy.is_known() {
            return Ok(0);
        }
        if trusted.is_some_and(|trusted| !trusted.replicas.contains(&id_of(node))) {
            // It has not heard yet, or heard late that it was to have it.
            truth.left_out.insert(node);
        }
        let name = Arc::clone(&truth.name);
        let empty;
        let log = if let Some(log) = copy.log {
            log
        } else {
            empty = LogTruth::default();
            &empty
        };
        truth.history.note(now, &name, node, log)?;
        let seen = truth.copies.entry(node).or_default();
        let before = seen.matching_end;
        truth.start = truth.start.max(said.log_start);
        if let Some(epoch) = said.leads {
            if truth.begun_with.is_none_or(|(newest, _)| newest < epoch) {
                truth.begun_with = Some((epoch, said.high_watermark));
            }
            truth.leaders_start = truth.leaders_start.max(said.log_start);
        }
        let known_end = seen.known_end(log);
        truncation_guard::check_leader(&name, node, seen.said, said)?;
        // Who learns in one step that it leads with fewer in sync and that it leads no more has taken for committed what it
        // could as long as it led.
        let led = said.leads.or_else(|| seen.said.and_then(|before| before.leads));
        seen.said = Some(said);
        let matching_end = truth.matching_end(known_end, log);
        // Of what was deleted nobody says what it was.
        let had = if before > truth.start { before.min(truth.end()) } else { 0 };
        // Who was left out and is a replica again begins anew, beside what it cannot reach where a directory has failed.
        let begins_anew = matching_end < had && truth.left_out.remove(&node);
        truncation_guard::check(&name, node, truth, if begins_anew { 0 } else { had }, matching_end)?;
        let mut lost = 0;
        if let Some(epoch) = said.leads
            && truth.leaders.note(&name, node, epoch)?
        {
            leader_completeness::check(&name, node, epoch, truth, matching_end)?;
            lost = truth.end() - matching_end;
            if lost > 0 {
                truth.losses += 1;
                truth.lost_before = epoch;
                truth.sent.forget_from(matching_end);
                truth.committed.retain(|committed| committed.batch.end <= matching_end);
                for seen in truth.copies.values_mut() {
                    seen.matching_end = seen.matching_end.min(matching_end);
                }
            }
            truth.lost_from = None;
        }
        let committed_before = truth.end();
        // Who has led for less than a step says nothing of it: then all who may lead have what it has committed.
        let may_have_led =
            led.is_none() && trusted.is_some_and(|trusted| trusted.candidates().any(|it| it == node));
        if may_have_led || led.is_some_and(|epoch| epoch >= truth.lost_before) {
            // Who has been succeeded may hear late that those in sync had everything; then its successor has it too.
            let successor = truth.leaders.successor_of(led).map(id_of);
            let isr = || -> Vec<i32> {
                match trusted {
                    Some(trusted) if may_have_led => trusted.candidates().map(id_of).collect(),
                    Some(trusted) if said.leads == Some(trusted.leader_epoch) => trusted.isr.to_vec(),
                    Some(_) | None => successor.into_iter().collect(),
                }
            };
            let first = log.batches().partition_point(|batch| batch.base_offset < truth.end());
            let new = log.batches()[first..].iter();
            for batch in new.take_while(|batch| batch.end_offset <= said.high_watermark) {
                let id = BatchId::of(&batch.header);
                let appended_us = truth.history.appended_us(id).unwrap_or(now);
                truthful_match::check(&name, id, appended_us, &isr(), &self.losses, copies)?;
                truth.sent.note(&name, &batch.header)?;
                truth.committed.push(Committed { batch: id, appended_us });
            }
        }
        let matching_end = truth.matching_end(matching_end.min(truth.end()), log);
        truth.copies.entry(node).or_default().matching_end = matching_end;
        follower_high_watermark::check(&name, node, truth, matching_end, said.high_watermark)?;
        if let Some(trusted) = trusted.filter(|_| truth.end() > committed_before) {
            candidate_completeness::check(&name, truth, trusted, &self.losses, copies)?;
        }
        Ok(lost)
    }

    /// The committed metadata log has grown to an end; `trusted` says of each partition what stands in it.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_metadata<'a>(
        &mut self,
        end: i64,
        trusted: impl Fn(Place) -> Option<Trusted<'a>>,
        copies: &dyn Fn(Place, usize) -> Copy<'a>,
    ) -> Result<(), Violation> {
        if std::mem::replace(&mut self.metadata_end, end) == end {
            return Ok(());
        }
        self.look_for_losses(&trusted, copies);
        for (place, truth) in &mut self.truths {
            if let Some(trusted) = trusted(*place) {
                let has_said = |node: &usize| truth.copies.get(node).is_some_and(|seen| seen.said.is_some());
                let has_copy = |node: &usize| has_said(node) || copies(*place, *node).log.is_some();
                let others = (0..self.losses.len()).filter(|node| !trusted.replicas.contains(&id_of(*node)));
                truth.left_out.extend(others.filter(has_copy));
            }
        }
        for (place, truth) in &self.truths {
            let Some(trusted) = trusted(*place) else { continue };
            let copies = |node| copies(*place, node);
            candidate_completeness::check(&truth.name, truth, trusted, &self.losses, &copies)?;
        }
        Ok(())
    }

    /// A broker throws its copy of a partition away.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_gone(
        &mut self,
        node: usize,
        place: Place,
        trusted: Option<Trusted<'_>>,
    ) -> Result<(), Violation> {
        let Some(truth) = self.truths.get_mut(&place) else { return Ok(()) };
        let was_left_out = truth.left_out.remove(&node);
        let is_replica = trusted.is_some_and(|trusted| trusted.replicas.contains(&id_of(node)));
        kept_replicas::check(&truth.name, node, is_replica && !was_left_out)?;
        truth.copies.remove(&node);
        Ok(())
    }

    /// A process has ended, and with it what it said. What its page cache holds is there still.
    pub fn on_end<'a>(&mut self, node: usize, copies: &dyn Fn(Place, usize) -> Copy<'a>) {
        self.promises.retain(|promise| promise.node() != node);
        for (place, truth) in &mut self.truths {
            let Some(seen) = truth.copies.get_mut(&node) else { continue };
            let log = copies(*place, node).log;
            let kept_end = log.map_or(0, |log| log.must_keep().map_or_else(|| log.end(), |kept| kept.end));
            *seen = Seen { said: None, matching_end: seen.matching_end.min(kept_end) };
        }
    }

    /// A machine has lost what was not durable, or its disk.
    pub fn on_loss<'a>(
        &mut self,
        now: u64,
        node: usize,
        trusted: impl Fn(Place) -> Option<Trusted<'a>>,
        copies: &dyn Fn(Place, usize) -> Copy<'a>,
    ) {
        self.losses[node] = Loss { at_us: Some(now), metadata_end: self.metadata_end };
        self.begin_topics(&trusted);
        for truth in self.truths.values_mut() {
            truth.copies.remove(&node);
        }
        self.look_for_losses(&trusted, copies);
    }

    /// Notes from where on nobody has what was committed any more whom the controller trusts.
    pub fn look_for_losses<'a>(
        &mut self,
        trusted: &impl Fn(Place) -> Option<Trusted<'a>>,
        copies: &dyn Fn(Place, usize) -> Copy<'a>,
    ) {
        let losses = &self.losses;
        for (place, truth) in &mut self.truths {
            let Some(trusted) = trusted(*place) else { continue };
            let has_lost = |it: &Committed, node: usize| {
                let is_since = losses[node].at_us.is_some_and(|at_us| at_us >= it.appended_us);
                (is_since || copies(*place, node).disk.is_damaged()) && !copies(*place, node).keeps(it.batch)
            };
            // Nobody is to blame for what it has not but who has lost it.
            let is_lost = |it: &&Committed| {
                if trusted.is_unclean {
                    return !copies(*place, node_of(trusted.leader)).has(it.batch);
                }
                if trusted.candidates().next().is_none() {
                    return trusted.replicas.iter().any(|id| has_lost(it, node_of(*id)));
                }
                trusted.candidates().all(|node| has_lost(it, node))
            };
            let lost = truth.committed.iter().rev().take_while(is_lost).last();
            let lost_from = lost.map(|committed| committed.batch.base);
            truth.lost_from = [truth.lost_from, lost_from].into_iter().flatten().min();
        }
    }

    /// A broker says that it has a batch that was sent with acks=all.
    pub fn on_acknowledged(&mut self, node: usize, place: Place, topic_id: Uuid, base_offset: i64) {
        self.promises.push(Promise::Acknowledged { node, place, topic_id, base_offset });
    }

    /// A broker hands a batch to a reader.
    pub fn on_read(&mut self, node: usize, place: Place, topic_id: Uuid, header: &BatchHeader) {
        self.promises.push(Promise::Read { node, place, topic_id, batch: BatchId::of(header) });
    }

    /// Whether something was said to clients that was not judged.
    #[must_use]
    pub const fn has_promises(&self) -> bool {
        !self.promises.is_empty()
    }

    /// Judges what was said to clients.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn judge<'a>(
        &mut self,
        trusted: impl Fn(Place) -> Option<Trusted<'a>>,
        copies: &dyn Fn(Place, usize) -> Copy<'a>,
    ) -> Result<(), Violation> {
        for promise in std::mem::take(&mut self.promises) {
            // What is committed is not known from who has a damaged disk.
            if copies(promise.place(), promise.node()).disk.is_damaged() {
                continue;
            }
            // Of a topic that is deleted nothing is promised.
            if self.truths[&promise.place()].topic_id != Some(promise.topic_id()) {
                continue;
            }
            match promise {
                Promise::Acknowledged { place, base_offset, .. } => {
                    let truth = &self.truths[&place];
                    let min_isr = self.topics[place.0].1;
                    let replicas = trusted(place).map_or(&[][..], |trusted| trusted.replicas);
                    let nodes = replicas.iter().map(|id| node_of(*id));
                    let copies = nodes.map(|node| (copies(place, node), self.losses[node]));
                    honest_acks::check(&truth.name, truth, base_offset, min_isr, copies)?;
                }
                Promise::Read { node, place, batch, .. } => {
                    let truth = &self.truths[&place];
                    consistent_read::check(&truth.name, node, truth, batch)?;
                }
            }
        }
        Ok(())
    }

    /// What is missing until all replicas have the same and are in sync, for a sentence.
    #[must_use]
    pub fn is_behind<'a>(
        &self,
        trusted: impl Fn(Place) -> Option<Trusted<'a>>,
        copies: &dyn Fn(Place, usize) -> Copy<'a>,
    ) -> Option<String> {
        let mut behind = self.truths.iter().filter_map(|(place, truth)| {
            let trusted = trusted(*place).filter(|trusted| truth.topic_id == Some(trusted.topic_id));
            converged_replicas::missing(truth, trusted, &|node| copies(*place, node))
                .map(|why| format!("{} {why}", truth.name))
        });
        behind.next().filter(|_| !self.are_off)
    }
}

#[cfg(test)]
mod example {
    use super::{BatchId, Committed, Truth};

    impl Truth {
        /// Three batches of two records each are committed, the last of epoch 1.
        pub(super) fn example() -> Self {
            let committed =
                |base: i64, epoch| Committed { batch: BatchId::example(base, epoch), appended_us: 7 };
            Self { committed: vec![committed(0, 0), committed(2, 0), committed(4, 1)], ..Self::default() }
        }
    }

    impl BatchId {
        pub(super) const fn example(base: i64, epoch: i32) -> Self {
            Self { base, end: base + 2, epoch, crc: 5 }
        }
    }
}
