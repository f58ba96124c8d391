//! A consumer of assigned partitions: asks where they begin, then fetches from there to the end, with a fetch session or
//! without. When a partition has another leader epoch, it asks whether the log still has what it read last (KIP-320). It reads
//! from a follower that the leader names (KIP-392), until there is an error or a while has passed.

use super::{ClientOutbox, Link, Surroundings, Way};
use crate::history::{Entry, Isolation, Operation, Stage};
use crate::marks::WorldMark;
use crate::plan::ConsumerPlan;
use bytes::Bytes;
use sordini_core::ids::RequestId;
use sordini_protocol::batch::Batch;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use sordini_protocol::messages::fetch_response::PartitionData;
use sordini_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use sordini_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use sordini_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use sordini_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Records, Str, Uuid};
use std::collections::BTreeMap;

/// The version of its ListOffsets requests.
const LIST_OFFSETS_VERSION: i16 = 7;

/// The version of its OffsetForLeaderEpoch requests.
const OFFSET_FOR_LEADER_EPOCH_VERSION: i16 = 4;

/// A consumer whose fetches wait for less than this waits by itself when one brought nothing.
const IDLE_WAIT_MS_MIN: i32 = 20;

/// How long it reads from a follower before it asks the leader again: `metadata.max.age.ms`, much less than Kafka's default of
/// five minutes.
const PREFERRED_FOR_US: u64 = 3_000_000;

/// No batch of a plan is larger.
const DECOMPRESSED_MAX: usize = 1 << 24;

/// What ListOffsets calls the first offset of a partition.
const EARLIEST: i64 = -2;

#[derive(Clone, Debug, Default)]
struct Assigned {
    /// The next offset to read; nothing before ListOffsets has answered.
    position: Option<i64>,
    /// The leader epoch of the batch before the position, as far as it is known.
    position_epoch: Option<i32>,
    /// The leader epoch of the partition in which the position is known to be good.
    leader_epoch: i32,
    /// The high watermark last heard of.
    high_watermark: Option<i64>,
    /// When the request was sent whose answer last showed that there is nothing more to read.
    at_end_since: Option<u64>,
    /// The offset and the leader epoch that the fetch session has.
    in_session: Option<(i64, i32)>,
    /// Whether what comes next is not as it was written. A real consumer hands the application an error and stays there.
    is_stopped: bool,
}

/// Reads its partitions to their end, and goes on doing so.
#[derive(Clone, Debug)]
pub struct Consumer {
    pub(super) link: Link,
    plan: ConsumerPlan,
    assigned: BTreeMap<(usize, i32), Assigned>,
    list_request: Option<RequestId>,
    epoch_request: Option<RequestId>,
    /// The fetch under way and when it was sent.
    fetch: Option<(RequestId, u64)>,
    session_id: i32,
    session_epoch: i32,
    last_error: ErrorCode,
    refusals: Vec<String>,
    /// The place in the plan of the follower that it reads from, and until when.
    preferred: Option<(usize, u64)>,
}

impl Consumer {
    /// A consumer that follows `plan`.
    #[must_use]
    pub fn new(surroundings: Surroundings, plan: ConsumerPlan) -> Self {
        let assigned = plan.assignment.iter().map(|place| (*place, Assigned::default())).collect();
        Self {
            link: Link::new(plan.client, surroundings).at(plan.node),
            plan,
            assigned,
            list_request: None,
            epoch_request: None,
            fetch: None,
            session_id: 0,
            session_epoch: 0,
            last_error: ErrorCode::None,
            refusals: Vec::new(),
            preferred: None,
        }
    }

    /// Takes the answers that a correct broker never gives to a correct client, each as a sentence.
    pub fn take_refusals(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusals)
    }

    /// Whether every partition was at its end in an answer to a request that was sent at `since` or later.
    #[must_use]
    pub fn is_at_end_since(&self, since: u64) -> bool {
        let is_at_end = |assigned: &Assigned| assigned.at_end_since.is_some_and(|at| at >= since);
        self.assigned.values().all(|assigned| assigned.is_stopped || is_at_end(assigned))
    }

    /// The partitions that it came to the end of.
    pub fn ends(&self) -> impl Iterator<Item = (usize, i32)> + '_ {
        let is_at_end = |assigned: &Assigned| assigned.at_end_since.is_some() && !assigned.is_stopped;
        self.assigned.iter().filter(move |(_, assigned)| is_at_end(assigned)).map(|(place, _)| *place)
    }

    /// Whether it stopped at a batch of this partition that is not as it was written.
    #[must_use]
    pub fn has_stopped_at_damage(&self, topic: usize, partition: i32) -> bool {
        self.assigned.get(&(topic, partition)).is_some_and(|assigned| assigned.is_stopped)
    }

    /// The next offset it would read of each partition that it knows one of.
    pub fn positions(&self) -> impl Iterator<Item = ((usize, i32), i64)> + '_ {
        self.assigned.iter().filter_map(|(place, assigned)| Some((*place, assigned.position?)))
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        self.ask_what_is_next(now, out);
    }

    /// Whether there is nothing left that it could read.
    fn has_stopped(&self) -> bool {
        self.assigned.values().all(|assigned| assigned.is_stopped)
    }

    fn is_asking(&self) -> bool {
        let has_question = self.list_request.is_some() || self.epoch_request.is_some();
        self.link.metadata_request.is_some() || has_question || self.fetch.is_some()
    }

    fn ask_what_is_next(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.is_asking() || self.link.backoff_until > now || self.plan.start_us > now || self.has_stopped()
        {
            return;
        }
        if !self.link.knows_all_topics() {
            self.link.ask_for_metadata(now, self.plan.request_timeout_us, out);
        } else if self.has_found_follower(now, out) {
            self.ask_for_records(now, out);
        } else if !self.has_found_leader(now, out) {
            // The topics are asked for again first.
            self.ask_what_is_next(now, out);
        } else if self.assigned.values().any(|assigned| assigned.position.is_none() && !assigned.is_stopped) {
            self.ask_for_beginnings(now, out);
        } else if self.has_doubtful_positions() {
            self.ask_for_epoch_ends(now, out);
        } else {
            self.ask_for_records(now, out);
        }
    }

    /// Whether it talks to the follower that it is to read from, and has nothing to ask that only leaders answer.
    fn has_found_follower(&mut self, now: u64, out: &mut ClientOutbox) -> bool {
        self.preferred.take_if(|(_, until)| *until <= now);
        let Some((follower, _)) = self.preferred else { return false };
        let is_lost = |assigned: &Assigned| assigned.position.is_none() && !assigned.is_stopped;
        if self.assigned.values().any(is_lost) || self.has_doubtful_positions() {
            return false;
        }
        if self.link.node != follower {
            self.link.turn_to(follower, out);
            self.forget_requests();
        }
        true
    }

    /// Whether it talks to the leader of what it reads.
    fn has_found_leader(&mut self, now: u64, out: &mut ClientOutbox) -> bool {
        let Some(place) = self.plan.assignment.first().copied() else { return true };
        let way = self.link.way_to(place, now, out);
        if way == Way::Turned {
            self.forget_requests();
        }
        way != Way::Unknown && self.link.knows_all_topics()
    }

    /// Whether a partition has another leader epoch than that in which its position is known to be good. A position
    /// that has no epoch cannot be doubted.
    fn has_doubtful_positions(&mut self) -> bool {
        let mut has_some = false;
        for (place, assigned) in self.assigned.iter_mut().filter(|(_, assigned)| !assigned.is_stopped) {
            let leader_epoch = self.link.leader_epoch(*place);
            if assigned.position_epoch.is_none() {
                assigned.leader_epoch = leader_epoch;
            }
            has_some |= assigned.leader_epoch != leader_epoch;
        }
        has_some
    }

    fn ask_for_epoch_ends(&mut self, now: u64, out: &mut ClientOutbox) {
        let mut topics: BTreeMap<usize, OffsetForLeaderTopic> = BTreeMap::new();
        for (place, assigned) in self.assigned.iter().filter(|(_, assigned)| !assigned.is_stopped) {
            let current_leader_epoch = self.link.leader_epoch(*place);
            let Some(leader_epoch) = assigned.position_epoch else { continue };
            if assigned.leader_epoch != current_leader_epoch {
                let entry = topics.entry(place.0).or_insert_with(|| OffsetForLeaderTopic {
                    topic: self.link.surroundings.topics[place.0].clone(),
                    ..Default::default()
                });
                entry.partitions.push(OffsetForLeaderPartition {
                    partition: place.1,
                    current_leader_epoch,
                    leader_epoch,
                    ..Default::default()
                });
            }
        }
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: topics.into_values().collect(),
            ..Default::default()
        };
        let deadline = now + self.plan.request_timeout_us;
        self.epoch_request =
            Some(self.link.send(OFFSET_FOR_LEADER_EPOCH_VERSION, request.into(), Some(deadline), out));
    }

    fn ask_for_beginnings(&mut self, now: u64, out: &mut ClientOutbox) {
        let mut topics: BTreeMap<usize, ListOffsetsTopic> = BTreeMap::new();
        for ((topic, partition), assigned) in &self.assigned {
            if assigned.position.is_none() {
                let entry = topics.entry(*topic).or_insert_with(|| ListOffsetsTopic {
                    name: self.link.surroundings.topics[*topic].clone(),
                    ..Default::default()
                });
                entry.partitions.push(ListOffsetsPartition {
                    partition_index: *partition,
                    current_leader_epoch: self.link.leader_epoch((*topic, *partition)),
                    timestamp: EARLIEST,
                    ..Default::default()
                });
            }
        }
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: topics.into_values().collect(),
            ..Default::default()
        };
        let deadline = now + self.plan.request_timeout_us;
        self.list_request = Some(self.link.send(LIST_OFFSETS_VERSION, request.into(), Some(deadline), out));
    }

    fn ask_for_records(&mut self, now: u64, out: &mut ClientOutbox) {
        let is_incremental = self.plan.has_sessions && self.session_epoch > 0;
        let mut topics: BTreeMap<usize, FetchTopic> = BTreeMap::new();
        for ((topic, partition), assigned) in &mut self.assigned {
            if assigned.is_stopped {
                continue;
            }
            let position = assigned.position.expect("every position is known");
            // A session has what was said before: only what changed is said again.
            let said = Some((position, assigned.leader_epoch));
            if is_incremental && assigned.in_session == said {
                continue;
            }
            assigned.in_session = said;
            let by_id = self.plan.api_version >= 13;
            let entry = topics.entry(*topic).or_insert_with(|| FetchTopic {
                topic: if by_id { Str::new() } else { self.link.surroundings.topics[*topic].clone() },
                topic_id: if by_id { self.link.topic_ids[topic] } else { Uuid::ZERO },
                ..Default::default()
            });
            entry.partitions.push(FetchPartition {
                partition: *partition,
                current_leader_epoch: assigned.leader_epoch,
                fetch_offset: position,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                partition_max_bytes: self.plan.partition_max_bytes,
                ..Default::default()
            });
        }
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: self.plan.max_wait_ms,
            min_bytes: self.plan.min_bytes,
            max_bytes: self.plan.max_bytes,
            session_id: if self.plan.has_sessions { self.session_id } else { 0 },
            session_epoch: if self.plan.has_sessions { self.session_epoch } else { -1 },
            topics: topics.into_values().collect(),
            rack_id: self.plan.rack.as_deref().map(Str::from).unwrap_or_default(),
            ..Default::default()
        };
        let max_wait_us = u64::try_from(self.plan.max_wait_ms).expect("not negative") * 1_000;
        let deadline = now + max_wait_us + self.plan.request_timeout_us;
        let request = self.link.send(self.plan.api_version, request.into(), Some(deadline), out);
        self.fetch = Some((request, now));
    }

    pub(super) fn on_response(
        &mut self,
        now: u64,
        request: RequestId,
        body: AnyResponse,
        out: &mut ClientOutbox,
    ) {
        self.link.deadlines.remove(&request);
        if let AnyResponse::Metadata(response) = &body {
            self.link.on_metadata(now, request, response);
        } else if let AnyResponse::ListOffsets(response) = &body {
            self.list_request = None;
            self.on_beginnings(now, response, out);
        } else if let AnyResponse::OffsetForLeaderEpoch(response) = &body {
            self.epoch_request = None;
            self.on_epoch_ends(now, response, out);
        } else if let AnyResponse::Fetch(response) = body
            && let Some((_, sent)) = self.fetch.take_if(|(fetch, _)| *fetch == request)
        {
            self.on_fetched(now, sent, response, out);
        }
        self.ask_what_is_next(now, out);
    }

    fn on_beginnings(&mut self, now: u64, response: &ListOffsetsResponse, out: &mut ClientOutbox) {
        for topic in &response.topics {
            let index = self.link.topic_index(&topic.name, Uuid::ZERO);
            for partition in &topic.partitions {
                let place = index.map(|index| (index, partition.partition_index));
                let assigned = place.and_then(|place| Some((place, self.assigned.get_mut(&place)?)));
                let Some((place, assigned)) = assigned else {
                    self.refusals.push(format!("an answer about {place:?}, of which nobody asked"));
                    continue;
                };
                let error = ErrorCode::from_i16(partition.error_code);
                if !error.is_error() {
                    assigned.position = Some(partition.offset);
                    assigned.position_epoch = Some(partition.leader_epoch).filter(|epoch| *epoch >= 0);
                    assigned.leader_epoch = self.link.leader_epoch(place);
                    out.history.push(Entry {
                        partition: Some(partition.partition_index),
                        offset: Some(partition.offset),
                        leader_epoch: Some(partition.leader_epoch),
                        isolation: Some(Isolation::ReadUncommitted),
                        ..self.link.entry(now, Stage::Ok, Operation::ListOffsets, place.0)
                    });
                } else {
                    self.on_question_refused(now, error, place, "ListOffsets");
                }
            }
        }
    }

    fn on_epoch_ends(&mut self, now: u64, response: &OffsetForLeaderEpochResponse, out: &mut ClientOutbox) {
        for topic in &response.topics {
            let index = self.link.topic_index(&topic.topic, Uuid::ZERO);
            for partition in &topic.partitions {
                let place = index.map(|index| (index, partition.partition));
                let Some(place) = place.filter(|place| self.assigned.contains_key(place)) else {
                    self.refusals.push(format!("an answer about {place:?}, of which nobody asked"));
                    continue;
                };
                let error = ErrorCode::from_i16(partition.error_code);
                if error.is_error() {
                    self.on_question_refused(now, error, place, "OffsetForLeaderEpoch");
                } else {
                    self.on_epoch_end(now, place, partition, out);
                }
            }
        }
    }

    /// Compares a position with the end of the epoch that was read last.
    fn on_epoch_end(
        &mut self,
        now: u64,
        place: (usize, i32),
        answered: &EpochEndOffset,
        out: &mut ClientOutbox,
    ) {
        let leader_epoch = self.link.leader_epoch(place);
        let assigned = self.assigned.get_mut(&place).expect("it is assigned");
        if answered.leader_epoch < 0 || answered.end_offset < 0 {
            // The log knows nothing of what was read: what it has is read from its beginning.
            out.marks.push(WorldMark::OffsetReset);
            *assigned = Assigned::default();
            self.start_session_anew();
            return;
        }
        assigned.leader_epoch = leader_epoch;
        if assigned.position.is_some_and(|position| answered.end_offset < position) {
            out.marks.push(WorldMark::PositionTruncated);
            assigned.position = Some(answered.end_offset);
            assigned.position_epoch = Some(answered.leader_epoch);
            assigned.high_watermark = None;
            assigned.at_end_since = None;
            out.history.push(Entry {
                partition: Some(place.1),
                offset: Some(answered.end_offset),
                leader_epoch: Some(answered.leader_epoch),
                ..self.link.entry(now, Stage::Ok, Operation::Seek, place.0)
            });
        }
    }

    /// An error to a question about offsets: it is asked again, and of whom, if the metadata is not what it was.
    fn on_question_refused(&mut self, now: u64, error: ErrorCode, place: (usize, i32), question: &str) {
        self.preferred = None;
        if error.is_retriable() {
            self.link.is_astray = true;
            self.last_error = error;
            self.forget_if_stale(place, error);
            self.link.back_off(now);
        } else {
            self.refusals.push(format!("{error} to {question} of {place:?}"));
        }
    }

    /// Has the metadata asked for again after an error that says that it may be stale, on one side or the other.
    fn forget_if_stale(&mut self, place: (usize, i32), error: ErrorCode) {
        if error.refreshes_metadata() || error == ErrorCode::UnknownLeaderEpoch {
            self.link.topic_ids.remove(&place.0);
            self.start_session_anew();
        }
    }

    fn on_fetched(&mut self, now: u64, sent: u64, response: FetchResponse, out: &mut ClientOutbox) {
        let error = ErrorCode::from_i16(response.error_code);
        if error.is_error() {
            self.last_error = error;
            self.start_session_anew();
            if !matches!(error, ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch) {
                self.refusals.push(format!("{error} to a whole fetch"));
                self.link.back_off(now);
            }
            return;
        }
        if self.plan.has_sessions {
            if response.session_id == 0 {
                // The broker has no room for a session: every request stands for itself.
                self.start_session_anew();
            } else {
                self.session_id = response.session_id;
                self.session_epoch = self.session_epoch.checked_add(1).unwrap_or(1);
            }
        }
        let mut is_healthy = true;
        let mut has_records = false;
        for topic in response.responses {
            let index = self.link.topic_index(&topic.topic, topic.topic_id);
            for partition in topic.partitions {
                has_records |= partition.records.as_ref().is_some_and(|records| !records.is_empty());
                let Some(index) = index else {
                    self.refusals.push("an answer about a topic of which nobody asked".to_owned());
                    continue;
                };
                is_healthy &=
                    self.on_partition_fetched(now, sent, (index, partition.partition_index), partition, out);
            }
        }
        if is_healthy && !has_records && self.plan.max_wait_ms < IDLE_WAIT_MS_MIN {
            // A real application does something between two polls that bring nothing.
            self.link.back_off(now);
        }
        if is_healthy {
            for assigned in self.assigned.values_mut() {
                // A session does not mention what has not changed.
                if assigned.position.is_some() && assigned.position == assigned.high_watermark {
                    assigned.at_end_since = Some(sent);
                }
            }
        }
    }

    /// Takes the records of one partition; false if there was an error.
    fn on_partition_fetched(
        &mut self,
        now: u64,
        sent: u64,
        place: (usize, i32),
        partition: PartitionData,
        out: &mut ClientOutbox,
    ) -> bool {
        let Some(assigned) = self.assigned.get_mut(&place) else {
            self.refusals.push(format!("an answer about {place:?}, of which nobody asked"));
            return true;
        };
        let error = ErrorCode::from_i16(partition.error_code);
        let entry = |stage| Entry {
            partition: Some(place.1),
            asked_us: Some(sent),
            isolation: Some(Isolation::ReadUncommitted),
            error,
            ..self.link.entry(now, stage, Operation::Poll, place.0)
        };
        if error.is_error() {
            out.history.push(Entry { offset: assigned.position, ..entry(Stage::Fail) });
        }
        if error == ErrorCode::OffsetOutOfRange && self.preferred.take().is_some() {
            // The leader's log may have it.
            out.marks.push(WorldMark::OutOfFollowersRange);
            return false;
        }
        if error == ErrorCode::OffsetOutOfRange {
            // A loss of power took what was read, or somebody deleted it: what is left is read from its beginning.
            out.marks.push(WorldMark::OffsetReset);
            *assigned = Assigned::default();
            self.start_session_anew();
            return false;
        }
        if error == ErrorCode::CorruptMessage {
            self.stop_at_damage(place, out);
            return false;
        }
        if error.is_error() {
            self.on_question_refused(now, error, place, "a fetch");
            return false;
        }
        if let Ok(follower) = usize::try_from(partition.preferred_read_replica - 1) {
            self.preferred = Some((follower, now + PREFERRED_FOR_US));
            return true;
        }
        let high_watermark = Some(partition.high_watermark);
        let is_news = std::mem::replace(&mut assigned.high_watermark, high_watermark) != high_watermark;
        let records = match partition.records {
            Some(Records::Bytes(records)) => records,
            Some(Records::Stored(_)) | None => Bytes::new(),
        };
        let has_bytes = !records.is_empty();
        let Span { read, leader_epoch, values, offsets, is_damaged } = span(records, assigned.position);
        // The first batch is handed out whole, however small the limits (KIP-74).
        let is_damaged = is_damaged || (has_bytes && read.is_none());
        if let Some((offset, end)) = read {
            assigned.position = Some(end);
            assigned.position_epoch = leader_epoch;
            let (offset, end) = (Some(offset), Some(end));
            let read = Entry { values, offsets, offset, end, leader_epoch, ..entry(Stage::Ok) };
            out.history.push(Entry { high_watermark, ..read });
        } else if is_news {
            out.history.push(Entry { high_watermark, ..entry(Stage::Ok) });
        }
        if is_damaged {
            let (offset, error) = (assigned.position, ErrorCode::CorruptMessage);
            out.history.push(Entry { offset, error, ..entry(Stage::Fail) });
            self.stop_at_damage(place, out);
        }
        true
    }

    /// As the Java consumer does: the application is told, and nothing is skipped.
    fn stop_at_damage(&mut self, place: (usize, i32), out: &mut ClientOutbox) {
        out.marks.push(WorldMark::StoppedAtDamage);
        if let Some(assigned) = self.assigned.get_mut(&place) {
            assigned.is_stopped = true;
        }
        self.start_session_anew();
    }

    fn start_session_anew(&mut self) {
        (self.session_id, self.session_epoch) = (0, 0);
        for assigned in self.assigned.values_mut() {
            assigned.in_session = None;
        }
    }

    pub(super) fn on_disconnected(&mut self, now: u64, out: &mut ClientOutbox) {
        self.link.on_disconnected(now);
        self.link.turn_to_another(out);
        self.preferred = None;
        self.forget_requests();
    }

    /// Whatever was under way is not answered any more.
    fn forget_requests(&mut self) {
        self.list_request = None;
        self.epoch_request = None;
        self.fetch = None;
        self.start_session_anew();
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        if self.is_asking() {
            self.link.earliest_deadline()
        } else if self.has_stopped() {
            None
        } else {
            Some(self.link.backoff_until.max(self.plan.start_us))
        }
    }

    pub(super) fn waits_for(&self) -> String {
        let behind: Vec<String> = self
            .assigned
            .iter()
            .map(|((topic, partition), assigned)| {
                let name = &self.link.surroundings.topics[*topic];
                let (position, end) = (assigned.position, assigned.high_watermark);
                format!("{name}-{partition} at {position:?} of {end:?}")
            })
            .collect();
        format!("the end of {}; last error {}", behind.join(", "), self.last_error)
    }
}

/// What whole batches of an answer a consumer takes.
#[derive(Debug, Default)]
struct Span {
    /// The offset of the first, and the one after the last. Nothing if there is no whole batch, or none that ends at the
    /// position or later.
    read: Option<(i64, i64)>,
    /// The leader epoch of the last.
    leader_epoch: Option<i32>,
    /// The values of the records from the position on, as in an [`Entry`].
    values: Vec<(u64, u64)>,
    /// The offset of the first of each range of values.
    offsets: Vec<i64>,
    /// Whether a batch follows that is not as it was written.
    is_damaged: bool,
}

fn span(mut records: Bytes, position: Option<i64>) -> Span {
    let mut span = Span::default();
    loop {
        let batch = match Batch::first_of(&mut records) {
            Ok(Some(batch)) if batch.check_crc().is_ok() => batch,
            Ok(None) => return span,
            Ok(Some(_)) | Err(_) => return Span { is_damaged: true, ..span },
        };
        let header = batch.header();
        if position.is_none_or(|position| header.last_offset() >= position) {
            let first = span.read.map_or(header.base_offset, |(first, _)| first);
            span.read = Some((first, header.next_offset()));
            span.leader_epoch = Some(header.partition_leader_epoch);
            span.note_values(&batch, position.unwrap_or(0));
        }
    }
}

impl Span {
    /// Adds the values of a batch from an offset on. Each begins with its number.
    fn note_values(&mut self, batch: &Batch, from: i64) {
        let Ok(records) = batch.records(DECOMPRESSED_MAX) else { return };
        // The offset and the value that go on with the last range.
        let mut next = None;
        for record in records.map_while(Result::ok).filter(|record| record.offset >= from) {
            let value = record.value.as_deref().and_then(<[u8]>::first_chunk::<8>);
            let Some(value) = value.map(|bytes| u64::from_be_bytes(*bytes)) else { continue };
            match self.values.last_mut() {
                Some((_, count)) if next == Some((record.offset, value)) => *count += 1,
                Some(_) | None => {
                    self.values.push((value, 1));
                    self.offsets.push(record.offset);
                }
            }
            next = Some((record.offset + 1, value + 1));
        }
    }
}
