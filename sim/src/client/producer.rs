//! A producer with the rules of the Java client: a request without an answer is sent again as it was, and what waits is
//! sent in its order. An idempotent producer numbers its batches by partition, sends none again before the ones below it
//! are answered, and raises its epoch when the numbers cannot go on. Another one that has several requests under way may
//! have its batches appended in another order than theirs when one has to be sent again.

use super::{ClientOutbox, Link, Surroundings, Way};
use crate::history::{Entry, Numbering as Numbered, Operation, Stage};
use crate::plan::{Codec, Mutation, ProducerPlan, SendPlan};
use bytes::Bytes;
use sordini_core::ids::RequestId;
use sordini_protocol::batch::{BatchBuilder, BatchParams};
use sordini_protocol::compression::Compression;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use sordini_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Records, Str, Uuid};
use std::collections::BTreeMap;

/// The version of its InitProducerId requests: the newest that 4.3 finishes without two-phase commit.
const INIT_PRODUCER_ID_VERSION: i16 = 5;

/// Most partitions that one of its requests writes to.
const PARTITIONS_PER_REQUEST_MAX: usize = 3;

/// Who it is to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    id: i64,
    epoch: i16,
}

/// How the batches of one partition are numbered.
#[derive(Clone, Copy, Debug)]
struct Numbering {
    identity: Identity,
    next: i32,
    /// Batches that have a number of this identity and no answer.
    unresolved: u32,
}

/// A batch from the application's handing it over to its answer.
#[derive(Clone, Debug)]
struct Batch {
    plan: SendPlan,
    /// Number of its first record's value, unique in the run.
    first_value: u64,
    sequence: Option<(Identity, i32)>,
    /// Whether it was sent under another sequence before.
    is_renumbered: bool,
    /// What is sent, once the sequence is known.
    bytes: Bytes,
    attempts: u32,
    /// It is not sent again before this time.
    retry_at: u64,
}

impl Batch {
    const fn place(&self) -> (usize, i32) {
        (self.plan.topic, self.plan.partition)
    }
}

/// Sends the batches of its plan and does not rest before each is answered.
#[derive(Clone, Debug)]
pub struct Producer {
    pub(super) link: Link,
    plan: ProducerPlan,
    mutation: Option<Mutation>,
    /// How many of the plan's batches the application has handed over.
    handed_over: usize,
    /// Batches to be sent, by partition and their number in the plan: retries keep their place. None is empty.
    queues: BTreeMap<(usize, i32), BTreeMap<usize, Batch>>,
    in_flight: BTreeMap<RequestId, BTreeMap<usize, Batch>>,
    identity: Option<Identity>,
    identity_request: Option<RequestId>,
    numberings: BTreeMap<(usize, i32), Numbering>,
    /// Partitions whose numbers cannot go on, until nothing of theirs is under way and they start again with a new epoch.
    broken: Vec<(usize, i32)>,
    last_error: ErrorCode,
    /// Answers that a correct broker never gives to a correct client.
    refusals: Vec<String>,
}

/// Bytes that fill values up.
static PADDING: [u8; 2_048] = [b'.'; 2_048];

impl Producer {
    /// A producer that follows `plan`.
    #[must_use]
    pub fn new(surroundings: Surroundings, plan: ProducerPlan, mutation: Option<Mutation>) -> Self {
        Self {
            link: Link::new(plan.client, surroundings).at(plan.node),
            plan,
            mutation,
            handed_over: 0,
            queues: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            identity: None,
            identity_request: None,
            numberings: BTreeMap::new(),
            broken: Vec::new(),
            last_error: ErrorCode::None,
            refusals: Vec::new(),
        }
    }

    /// Takes the answers that a correct broker never gives to a correct client, each as a sentence.
    pub fn take_refusals(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusals)
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        self.take_over(now, out);
        self.send_what_is_due(now, out);
    }

    fn take_over(&mut self, now: u64, out: &mut ClientOutbox) {
        while let Some(send) = self.plan.sends.get(self.handed_over).filter(|send| send.at_us <= now) {
            let first_value = (self.link.client << 40) | ((self.handed_over as u64) << 16);
            let bytes = Bytes::new();
            let batch = Batch {
                plan: *send,
                first_value,
                sequence: None,
                is_renumbered: false,
                bytes,
                attempts: 0,
                retry_at: 0,
            };
            out.history.push(self.entry(now, Stage::Invoke, &batch, None, ErrorCode::None));
            self.enqueue(self.handed_over, batch);
            self.handed_over += 1;
        }
    }

    fn enqueue(&mut self, number: usize, batch: Batch) {
        self.queues.entry(batch.place()).or_default().insert(number, batch);
    }

    fn send_what_is_due(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.link.backoff_until > now || self.queues.is_empty() {
            return;
        }
        if !self.link.knows_all_topics() {
            self.link.ask_for_metadata(now, self.plan.request_timeout_us, out);
            return;
        }
        if !self.has_found_leader(now, out) {
            return;
        }
        if self.lacks_identity() {
            self.ask_for_identity(now, out);
            return;
        }
        self.mend_broken_partitions();
        while self.has_room() {
            let mut numbers: Vec<_> = self
                .sendable()
                .filter(|(_, batch)| batch.retry_at <= now)
                .map(|(number, batch)| (number, batch.place()))
                .collect();
            if numbers.is_empty() {
                break;
            }
            // What was handed over first goes first.
            numbers.sort_unstable();
            numbers.truncate(PARTITIONS_PER_REQUEST_MAX);
            self.send_batches(now, &numbers, out);
        }
    }

    /// Whether it talks to the leader of what it writes to.
    fn has_found_leader(&mut self, now: u64, out: &mut ClientOutbox) -> bool {
        let Some(place) = self.queues.keys().next().copied() else { return true };
        let way = self.link.way_to(place, now, out);
        if way == Way::Turned {
            self.forget_requests();
        }
        way != Way::Unknown && self.link.knows_all_topics()
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < usize::try_from(self.plan.in_flight_max).expect("at most five")
    }

    const fn lacks_identity(&self) -> bool {
        self.plan.is_idempotent && self.identity.is_none()
    }

    /// The first batch that waits of each partition, with its number, unless something that is under way keeps it back.
    fn sendable(&self) -> impl Iterator<Item = (usize, &Batch)> {
        let firsts = self.queues.values().filter_map(BTreeMap::first_key_value);
        firsts
            .filter(|(number, batch)| !self.is_kept_back(**number, batch))
            .map(|(number, batch)| (*number, batch))
    }

    fn is_kept_back(&self, number: usize, batch: &Batch) -> bool {
        let place = batch.place();
        if self.broken.contains(&place) {
            self.under_way(place).next().is_some()
        } else if batch.sequence.is_some() {
            // What is sent again waits for everything below it: then a gap can only be the broker's loss.
            self.under_way(place).any(|other| other < number)
        } else {
            // The numbers of a new epoch begin when those of the old one are answered.
            self.numberings.get(&place).is_some_and(|numbering| {
                numbering.unresolved > 0 && Some(numbering.identity) != self.identity
            })
        }
    }

    /// The numbers of the batches of a partition that are under way.
    fn under_way(&self, place: (usize, i32)) -> impl Iterator<Item = usize> {
        let batches = self.in_flight.values().flatten();
        batches.filter(move |(_, batch)| batch.place() == place).map(|(number, _)| *number)
    }

    fn ask_for_identity(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.identity_request.is_none() {
            let request = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: i32::MAX,
                producer_id: -1,
                producer_epoch: -1,
                ..Default::default()
            };
            let deadline = now + self.plan.request_timeout_us;
            self.identity_request =
                Some(self.link.send(INIT_PRODUCER_ID_VERSION, request.into(), Some(deadline), out));
        }
    }

    /// The Java client raises its epoch by itself and numbers from 0 what it sends to the partitions concerned; the
    /// others take the new epoch over when none of their batches is without an answer.
    fn mend_broken_partitions(&mut self) {
        let (mended, broken): (Vec<_>, Vec<_>) = std::mem::take(&mut self.broken)
            .into_iter()
            .partition(|place| self.under_way(*place).next().is_none());
        self.broken = broken;
        if mended.is_empty() {
            return;
        }
        let identity = self.identity.as_mut().expect("only numbered batches break");
        identity.epoch += 1;
        for place in mended {
            self.numberings.remove(&place);
            for batch in self.queues.get_mut(&place).into_iter().flat_map(BTreeMap::values_mut) {
                batch.is_renumbered |= batch.sequence.is_some();
                batch.sequence = None;
            }
        }
    }

    /// Sends the first batch of some queues in one request.
    fn send_batches(&mut self, now: u64, firsts: &[(usize, (usize, i32))], out: &mut ClientOutbox) {
        let mut batches = BTreeMap::new();
        for (number, place) in firsts {
            let queue = self.queues.get_mut(place).expect("it was found there");
            let mut batch = queue.remove(number).expect("it was found there");
            if queue.is_empty() {
                self.queues.remove(place);
            }
            self.prepare(&mut batch);
            batches.insert(*number, batch);
        }
        let request = self.request(&batches);
        if self.plan.acks == 0 {
            self.link.send(self.plan.api_version, request.into(), None, out);
            for batch in batches.values() {
                out.history.push(self.entry(now, Stage::Info, batch, None, ErrorCode::None));
            }
        } else {
            let deadline = now + self.plan.request_timeout_us;
            let request = self.link.send(self.plan.api_version, request.into(), Some(deadline), out);
            self.in_flight.insert(request, batches);
        }
    }

    /// Numbers a batch that has no number, and builds its bytes once for all attempts.
    fn prepare(&mut self, batch: &mut Batch) {
        batch.attempts += 1;
        let place = batch.place();
        let mut is_new = batch.bytes.is_empty();
        if let (Some(current), None) = (self.identity, batch.sequence) {
            let fresh = Numbering { identity: current, next: 0, unresolved: 0 };
            let numbering = self.numberings.entry(place).or_insert(fresh);
            if numbering.identity != current {
                *numbering = fresh;
            }
            batch.sequence = Some((numbering.identity, numbering.next));
            numbering.next += i32::from(batch.plan.records);
            numbering.unresolved += 1;
            is_new = true;
        }
        let is_forgetful = self.mutation == Some(Mutation::RetriesForgetTheirSequence) && batch.attempts > 1;
        if is_new || is_forgetful {
            batch.bytes = build(batch, is_forgetful);
        }
    }

    fn request(&self, batches: &BTreeMap<usize, Batch>) -> ProduceRequest {
        let mut topics: BTreeMap<usize, TopicProduceData> = BTreeMap::new();
        for batch in batches.values() {
            let topic = topics.entry(batch.plan.topic).or_insert_with(|| {
                // From version 13 on a topic is named by its id.
                let by_id = self.plan.api_version >= 13;
                TopicProduceData {
                    name: if by_id {
                        Str::new()
                    } else {
                        self.link.surroundings.topics[batch.plan.topic].clone()
                    },
                    topic_id: if by_id { self.link.topic_ids[&batch.plan.topic] } else { Uuid::ZERO },
                    ..Default::default()
                }
            });
            topic.partition_data.push(PartitionProduceData {
                index: batch.plan.partition,
                records: Some(Records::Bytes(batch.bytes.clone())),
                ..Default::default()
            });
        }
        ProduceRequest {
            transactional_id: None,
            acks: self.plan.acks,
            timeout_ms: 30_000,
            topic_data: topics.into_values().collect(),
            ..Default::default()
        }
    }

    pub(super) fn on_response(
        &mut self,
        now: u64,
        request: RequestId,
        body: &AnyResponse,
        out: &mut ClientOutbox,
    ) {
        self.link.deadlines.remove(&request);
        if let AnyResponse::Metadata(response) = body {
            self.link.on_metadata(now, request, response);
        } else if let AnyResponse::InitProducerId(response) = body {
            self.identity_request = None;
            let error = ErrorCode::from_i16(response.error_code);
            if error.is_error() {
                self.last_error = error;
                self.link.back_off(now);
            } else {
                self.identity = Some(Identity { id: response.producer_id, epoch: response.producer_epoch });
            }
        } else if let AnyResponse::Produce(response) = body
            && let Some(batches) = self.in_flight.remove(&request)
        {
            self.on_produced(now, batches, response, out);
        }
        self.send_what_is_due(now, out);
    }

    fn on_produced(
        &mut self,
        now: u64,
        mut batches: BTreeMap<usize, Batch>,
        response: &ProduceResponse,
        out: &mut ClientOutbox,
    ) {
        for topic in &response.responses {
            let index = self.link.topic_index(&topic.name, topic.topic_id);
            for partition in &topic.partition_responses {
                let place = (index, partition.index);
                let number = batches
                    .iter()
                    .find(|(_, batch)| (Some(batch.plan.topic), batch.plan.partition) == place)
                    .map(|(number, _)| *number);
                let Some(batch) = number.and_then(|number| batches.remove(&number)) else {
                    self.refusals.push(format!("an answer about {place:?}, of which nobody asked"));
                    continue;
                };
                let number = number.expect("a batch was found by it");
                let error = ErrorCode::from_i16(partition.error_code);
                self.on_partition_answered(now, number, batch, error, partition.base_offset, out);
            }
        }
        for (_, batch) in batches {
            self.refusals.push(format!("no answer about partition {} in the response", batch.plan.partition));
        }
    }

    fn on_partition_answered(
        &mut self,
        now: u64,
        number: usize,
        batch: Batch,
        error: ErrorCode,
        base_offset: i64,
        out: &mut ClientOutbox,
    ) {
        let place = batch.place();
        let is_of_numbering = |numbering: &&mut Numbering| {
            batch.sequence.is_some_and(|(identity, _)| identity == numbering.identity)
        };
        let is_sequence_error =
            matches!(error, ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId);
        if matches!(error, ErrorCode::None | ErrorCode::DuplicateSequenceNumber) {
            if let Some(numbering) = self.numberings.get_mut(&place).filter(is_of_numbering) {
                numbering.unresolved -= 1;
            }
            let offset = (error == ErrorCode::None).then_some(base_offset);
            out.history.push(self.entry(now, Stage::Ok, &batch, offset, error));
        } else if is_sequence_error && self.plan.is_idempotent {
            // An earlier batch without an answer explains the gap; otherwise the broker has lost what it had.
            let queue = self.queues.get(&place);
            let has_earlier = queue.is_some_and(|queue| queue.range(..number).next().is_some())
                || self.under_way(place).any(|other| other < number);
            if !has_earlier && !self.broken.contains(&place) {
                self.broken.push(place);
            }
            self.retry(now, number, batch, error);
        } else if error.is_retriable() {
            if error.refreshes_metadata() {
                self.link.topic_ids.remove(&place.0);
            }
            self.link.is_astray |= error.refreshes_metadata();
            self.retry(now, number, batch, error);
        } else {
            if let Some(numbering) = self.numberings.get_mut(&place).filter(is_of_numbering) {
                numbering.unresolved -= 1;
            }
            // An earlier attempt may have been taken.
            let stage = if batch.attempts > 1 { Stage::Info } else { Stage::Fail };
            out.history.push(self.entry(now, stage, &batch, None, error));
            let client = self.link.client;
            let (topic, partition) = (&self.link.surroundings.topics[place.0], place.1);
            // Clocks that differ by more than an hour are a reason that Kafka has to refuse a batch.
            // A batch that is larger than `max.message.bytes` is another.
            if matches!(error, ErrorCode::InvalidTimestamp | ErrorCode::MessageTooLarge) {
                if batch.sequence.is_some() && !self.broken.contains(&place) {
                    // What follows it in this partition has numbers that will never follow.
                    self.broken.push(place);
                }
                return;
            }
            self.refusals
                .push(format!("{error} to client {client} for batch {number} to {topic}-{partition}"));
        }
    }

    /// The partition waits for a while, and the others go on.
    fn retry(&mut self, now: u64, number: usize, batch: Batch, error: ErrorCode) {
        self.last_error = error;
        let retry_at = now + self.link.backoff(now);
        self.enqueue(number, Batch { retry_at, ..batch });
    }

    pub(super) fn on_disconnected(&mut self, now: u64, out: &mut ClientOutbox) {
        self.link.on_disconnected(now);
        self.link.turn_to_another(out);
        self.forget_requests();
    }

    /// Whatever was under way is not answered any more, and is sent again.
    fn forget_requests(&mut self) {
        self.identity_request = None;
        for (number, batch) in std::mem::take(&mut self.in_flight).into_values().flatten() {
            self.enqueue(number, batch);
        }
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        let next_send = self.plan.sends.get(self.handed_over).map(|send| send.at_us);
        let is_asking = self.link.metadata_request.is_some() || self.identity_request.is_some();
        let due = if is_asking || self.queues.is_empty() {
            None
        } else if !self.link.knows_all_topics() || self.lacks_identity() {
            Some(0)
        } else {
            self.sendable().map(|(_, batch)| batch.retry_at).min().filter(|_| self.has_room())
        };
        let due = due.map(|at| at.max(self.link.backoff_until));
        [next_send, due, self.link.earliest_deadline()].into_iter().flatten().min()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.handed_over == self.plan.sends.len() && self.queues.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn waits_for(&self) -> String {
        format!(
            "answers to {} requests and to send {} batches; last error {}",
            self.in_flight.len(),
            self.queues.values().map(BTreeMap::len).sum::<usize>() + self.plan.sends.len() - self.handed_over,
            self.last_error
        )
    }

    fn entry(&self, now: u64, stage: Stage, batch: &Batch, offset: Option<i64>, error: ErrorCode) -> Entry {
        let numbering = batch.sequence.map(|(identity, base_sequence)| Numbered {
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            base_sequence,
            is_second: batch.is_renumbered,
        });
        Entry {
            partition: Some(batch.plan.partition),
            values: vec![(batch.first_value, u64::from(batch.plan.records))],
            offset,
            acks: Some(self.plan.acks),
            numbering,
            error,
            ..self.link.entry(now, stage, Operation::Send, batch.plan.topic)
        }
    }
}

/// The bytes of a batch. Each value begins with its number, so that every record of a run can be told from every other.
fn build(batch: &Batch, is_forgetful: bool) -> Bytes {
    let mut params = BatchParams {
        compression: match batch.plan.codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        },
        ..BatchParams::default()
    };
    if let Some((identity, sequence)) = batch.sequence.filter(|_| !is_forgetful) {
        params.producer_id = identity.id;
        params.producer_epoch = identity.epoch;
        params.base_sequence = sequence;
    }
    let mut builder = BatchBuilder::new(params);
    let timestamp = crate::world::wall_ms(batch.plan.at_us);
    let padding =
        usize::try_from(batch.plan.value_bytes).expect("it fits").saturating_sub(8).min(PADDING.len());
    let mut value = Vec::with_capacity(8 + padding);
    for record in 0..batch.plan.records {
        value.clear();
        value.extend_from_slice(&(batch.first_value + u64::from(record)).to_be_bytes());
        value.extend_from_slice(&PADDING[..padding]);
        builder.append(timestamp, None, Some(&value), &[]);
    }
    builder.build()
}
