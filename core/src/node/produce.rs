//! Produce: appended at once, answered when the records are where `acks` asks for.

use super::broker::{Broker, Parked, ReplyTo};
use super::output::Output;
use crate::controller::is_internal;
use crate::ids::TopicIdPartition;
use crate::mark::Mark;
use crate::outbox::Outbox;
use crate::partition::{Appended, ParkedId, Part};
use crate::produce_request::{JudgedProduce, JudgedTopic};
use crate::time::Now;
use alloc::vec::Vec;
use sordini_protocol::batch::{InvalidBatch, ValidatedBatch};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::ProduceResponse;
use sordini_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Str, Uuid};

/// A produce request whose records are on their way.
#[derive(Clone, Debug)]
pub(crate) struct ParkedProduce {
    pub(crate) reply_to: ReplyTo,
    response: ProduceResponse,
    /// With acks=all: it is answered when all replicas in sync have it.
    awaits_all: bool,
    /// The partitions that were appended to: place in the response, and the partition's owner number, in the order of
    /// the parts' indexes. A part that is done is `None`.
    parts: Vec<Option<(usize, usize, u32)>>,
    remaining: usize,
}

/// The first version that tells clients where the leader went (KIP-951).
const LEADER_HINTS_FROM: i16 = 10;

impl Broker {
    pub(super) fn on_produce(
        &mut self,
        reply_to: ReplyTo,
        request: JudgedProduce,
        now: Now,
        out: &mut Outbox,
    ) {
        let (acks, timeout_ms) = (request.acks, request.timeout_ms);
        let id = self.next_parked_id();
        let mut response = ProduceResponse::default();
        let mut parts = Vec::new();
        let mut remaining = 0;
        let mut failed = false;
        let is_refused = !(-1..=1).contains(&acks);
        for topic in request.topics {
            let resolved = self.resolve_produced(&topic, reply_to.version);
            let mut answered = TopicProduceResponse {
                name: topic.name,
                topic_id: topic.id,
                partition_responses: Vec::with_capacity(topic.partitions.len()),
                ..TopicProduceResponse::default()
            };
            for partition in topic.partitions {
                let mut one = PartitionProduceResponse {
                    index: partition.index,
                    base_offset: -1,
                    ..PartitionProduceResponse::default()
                };
                let outcome = if is_refused {
                    Err(refusal(ErrorCode::InvalidRequiredAcks, "acks must be -1, 0 or 1"))
                } else {
                    match (resolved, partition.batch) {
                        (Err(code), _) => Err(refusal(code, "")),
                        (Ok(_), Err(invalid)) => Err(invalid),
                        (Ok(topic), Ok(batch)) => {
                            let id = TopicIdPartition { topic, partition: partition.index };
                            self.append_produced(id, batch, acks, now, out)
                        }
                    }
                };
                match outcome {
                    Ok((owner, appended)) => {
                        one.base_offset = appended.base_offset.0;
                        one.log_append_time_ms = appended.log_append_time_ms;
                        let led = self.partitions.get_mut(&owner).expect("it was appended to");
                        one.log_start_offset = led.log().log_start().0;
                        let part = Part { parked: id, index: parts.len() };
                        let place = (response.responses.len(), answered.partition_responses.len(), owner);
                        if acks != 0 && led.await_produced(appended.required_end, acks == -1, part) {
                            parts.push(Some(place));
                            remaining += 1;
                        }
                        self.arm_log_timer(owner);
                    }
                    Err(invalid) => {
                        failed = true;
                        if let Some(mark) = mark_of(invalid.code) {
                            out.sometimes(mark);
                        }
                        put_error(&mut one, invalid, reply_to.version);
                    }
                }
                answered.partition_responses.push(one);
            }
            response.responses.push(answered);
        }
        if reply_to.version >= LEADER_HINTS_FROM && failed {
            self.add_leader_hints(&mut response);
        }
        if acks == 0 {
            // There is no answer that could carry an error: a closed connection is one (as Kafka does it).
            out.sometimes_if(failed, Mark::ProduceClosed);
            let ReplyTo { connection, request, .. } = reply_to;
            out.push(if failed {
                Output::Close { connection }
            } else {
                Output::NoResponse { connection, request }
            });
        } else if remaining == 0 {
            reply_to.respond(AnyResponse::Produce(response), out);
        } else {
            let deadline = now.monotonic.plus_millis(i64::from(timeout_ms));
            let parked = ParkedProduce { reply_to, response, awaits_all: acks == -1, parts, remaining };
            self.park(id, Parked::Produce(parked), Some(deadline));
        }
    }

    fn resolve_produced(&self, topic: &JudgedTopic, version: i16) -> Result<Uuid, ErrorCode> {
        if version >= 13 {
            return self.image.topic(topic.id).map(|topic| topic.id).ok_or(ErrorCode::UnknownTopicId);
        }
        self.image.topic_by_name(&topic.name).map(|topic| topic.id).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    fn append_produced(
        &mut self,
        id: TopicIdPartition,
        batch: ValidatedBatch,
        acks: i16,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(u32, Appended), InvalidBatch> {
        if batch.header().is_transactional() {
            return Err(refusal(ErrorCode::InvalidTxnState, "this broker does not serve transactions"));
        }
        if self.image.partition(id).is_none() {
            return Err(refusal(ErrorCode::UnknownTopicOrPartition, ""));
        }
        let Some((owner, partition)) = self.led(id) else {
            return Err(refusal(ErrorCode::NotLeaderOrFollower, ""));
        };
        if is_internal(&partition.topic) {
            return Err(refusal(ErrorCode::InvalidTopic, "clients cannot write to an internal topic"));
        }
        if partition.is_offline() {
            return Err(refusal(ErrorCode::KafkaStorageError, "the log directory of the partition failed"));
        }
        if acks == -1 && partition.is_under_min_isr() {
            return Err(refusal(
                ErrorCode::NotEnoughReplicas,
                "fewer replicas in sync than min.insync.replicas",
            ));
        }
        partition.append(batch, now, out).map(|appended| (owner, appended))
    }

    fn add_leader_hints(&self, response: &mut ProduceResponse) {
        let mut leaders = alloc::collections::BTreeSet::new();
        for topic in &mut response.responses {
            let Some(known) = self.image.find_topic(topic.topic_id, &topic.name) else { continue };
            for partition in &mut topic.partition_responses {
                if partition.error_code != ErrorCode::NotLeaderOrFollower.as_i16() {
                    continue;
                }
                let Some(state) = known.partitions.get(&partition.index) else { continue };
                partition.current_leader = LeaderIdAndEpoch {
                    leader_id: state.leader.map_or(-1, |leader| leader.0),
                    leader_epoch: state.leader_epoch.0,
                    ..LeaderIdAndEpoch::default()
                };
                leaders.extend(state.leader);
            }
        }
        for (id, host, port, rack) in self.endpoints(&leaders) {
            let endpoint = NodeEndpoint { node_id: id.0, host, port, rack, ..NodeEndpoint::default() };
            response.node_endpoints.push(endpoint);
        }
    }

    /// A part of a parked request is where its acks ask for, or its partition is gone.
    pub(super) fn on_produced(&mut self, part: Part, owner: u32, out: &mut Outbox) {
        // A request that timed out was answered; its records are in the log all the same.
        let Some(Parked::Produce(produce)) = self.parked.get_mut(&part.parked) else { return };
        let Some((topic, partition, _)) = produce.parts[part.index].take() else { return };
        let failed = match self.partitions.get(&owner) {
            None => Some(ErrorCode::NotLeaderOrFollower),
            Some(partition) if partition.is_offline() => Some(ErrorCode::KafkaStorageError),
            Some(partition) if !partition.is_leader() => Some(ErrorCode::NotLeaderOrFollower),
            // All who are in sync have it, and these have become too few since it was appended.
            Some(partition) if produce.awaits_all && partition.has_lost_min_isr() => {
                Some(ErrorCode::NotEnoughReplicasAfterAppend)
            }
            Some(_) => None,
        };
        if let Some(code) = failed {
            out.sometimes_if(code == ErrorCode::KafkaStorageError, Mark::ProduceFailedWaiting);
            let one = &mut produce.response.responses[topic].partition_responses[partition];
            (one.error_code, one.base_offset) = (code.as_i16(), -1);
        }
        produce.remaining -= 1;
        if produce.remaining == 0
            && let Some(Parked::Produce(produce)) = self.unpark(part.parked)
        {
            produce.reply_to.respond(AnyResponse::Produce(produce.response), out);
        }
    }

    /// The request's timeout has passed: what is not done is answered as timed out, though it is in the log.
    pub(super) fn on_produce_deadline(&mut self, id: ParkedId, out: &mut Outbox) {
        let Some(Parked::Produce(mut produce)) = self.unpark(id) else { return };
        out.sometimes(Mark::ProduceTimedOut);
        self.forget_produce(id, &produce);
        for (topic, partition, _) in produce.parts.iter().flatten() {
            let one = &mut produce.response.responses[*topic].partition_responses[*partition];
            (one.error_code, one.base_offset) = (ErrorCode::RequestTimedOut.as_i16(), -1);
        }
        produce.reply_to.respond(AnyResponse::Produce(produce.response), out);
    }

    pub(super) fn forget_produce(&mut self, id: ParkedId, produce: &ParkedProduce) {
        for (index, part) in produce.parts.iter().enumerate() {
            if let Some((_, _, owner)) = part
                && let Some(partition) = self.partitions.get_mut(owner)
            {
                partition.forget_produce(Part { parked: id, index });
            }
        }
    }
}

/// The mark of a refusal that is not marked where it is decided.
fn mark_of(code: ErrorCode) -> Option<Mark> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other codes are of other refusals, or of other requests"
    )]
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => Some(Mark::ProduceUnknownTopic),
        ErrorCode::CorruptMessage | ErrorCode::InvalidRecord => Some(Mark::ProduceCorrupt),
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => Some(Mark::ProduceTooLarge),
        ErrorCode::InvalidTimestamp => Some(Mark::ProduceTimestamp),
        ErrorCode::KafkaStorageError => Some(Mark::ProduceOffline),
        _ => None,
    }
}

fn refusal(code: ErrorCode, message: &'static str) -> InvalidBatch {
    InvalidBatch { code, record_errors: Vec::new(), message: message.into() }
}

fn put_error(one: &mut PartitionProduceResponse, invalid: InvalidBatch, version: i16) {
    one.error_code = invalid.code.as_i16();
    if version < 8 {
        // Messages and the records to blame came with version 8 (KIP-467).
        return;
    }
    one.error_message = (!invalid.message.is_empty()).then(|| Str::from(&*invalid.message));
    one.record_errors = invalid
        .record_errors
        .into_iter()
        .map(|(batch_index, message)| BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: Some(Str::from(&*message)),
            ..BatchIndexAndErrorMessage::default()
        })
        .collect();
}
