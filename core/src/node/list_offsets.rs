//! Where things are in a log: ListOffsets, OffsetForLeaderEpoch.

use super::broker::{Broker, Parked, ReplyTo};
use crate::ids::{LeaderEpoch, Offset, TopicIdPartition};
use crate::mark::Mark;
use crate::outbox::Outbox;
use crate::partition::{FetchIsolation, ParkedId, Part, Partition, Resolved};
use crate::time::Now;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::list_offsets_request::ListOffsetsPartition;
use sordini_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use sordini_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use sordini_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use sordini_protocol::request::AnyResponse;

/// Timestamps that stand for a place, and the version from which a client may use them.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// A request that waits for timestamps to be found.
#[derive(Clone, Debug)]
pub(crate) struct ParkedListOffsets {
    pub(crate) reply_to: ReplyTo,
    response: ListOffsetsResponse,
    /// Place in the response of each part; `None` when it is found.
    parts: Vec<Option<(usize, usize)>>,
    remaining: usize,
    isolation: FetchIsolation,
}

/// What is said of an end that a new leader does not know yet: it may be less than was told of it before (KIP-207).
fn check_end(partition: &Partition, isolation: FetchIsolation, version: i16) -> Result<(), ErrorCode> {
    if isolation == FetchIsolation::LogEnd || !partition.is_behind_epoch_start() {
        Ok(())
    } else if version >= 5 {
        Err(ErrorCode::OffsetNotAvailable)
    } else {
        Err(ErrorCode::LeaderNotAvailable)
    }
}

/// What can be said at once about a partition, or that it is being looked up.
enum Answer {
    At { offset: Offset, timestamp: i64, leader_epoch: LeaderEpoch },
    Nothing,
    Searching,
}

impl Broker {
    pub(super) fn on_list_offsets(
        &mut self,
        reply_to: ReplyTo,
        request: &ListOffsetsRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let id = self.next_parked_id();
        let isolation = FetchIsolation::of(request.replica_id, request.isolation_level);
        let version = reply_to.version;
        let mut parked = ParkedListOffsets {
            response: ListOffsetsResponse::default(),
            parts: Vec::new(),
            remaining: 0,
            isolation,
            reply_to,
        };
        let mut named = alloc::collections::BTreeMap::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                *named.entry((&*topic.name, partition.partition_index)).or_insert(0) += 1;
            }
        }
        for topic in &request.topics {
            let mut answered = ListOffsetsTopicResponse { name: topic.name.clone(), ..Default::default() };
            for wanted in &topic.partitions {
                let part = Part { parked: id, index: parked.parts.len() };
                let answer = if named[&(&*topic.name, wanted.partition_index)] > 1 {
                    Err(ErrorCode::InvalidRequest)
                } else {
                    self.led_by_name(&topic.name, wanted.partition_index)
                        .and_then(|partition| list_offset(partition, wanted, version, isolation, part, out))
                };
                let mut one = ListOffsetsPartitionResponse {
                    partition_index: wanted.partition_index,
                    timestamp: -1,
                    offset: -1,
                    leader_epoch: -1,
                    ..ListOffsetsPartitionResponse::default()
                };
                match answer {
                    Err(code) => one.error_code = code.as_i16(),
                    Ok(Answer::Nothing) => {}
                    Ok(Answer::At { offset, timestamp, leader_epoch }) => {
                        tell(&mut one, offset, timestamp, leader_epoch, version);
                    }
                    Ok(Answer::Searching) => {
                        parked.parts.push(Some((parked.response.topics.len(), answered.partitions.len())));
                        parked.remaining += 1;
                    }
                }
                answered.partitions.push(one);
            }
            parked.response.topics.push(answered);
        }
        if parked.remaining == 0 {
            return parked.reply_to.respond(AnyResponse::ListOffsets(parked.response), out);
        }
        out.sometimes(Mark::ListOffsetsSearched);
        let timeout_ms = if request.timeout_ms > 0 {
            i64::from(request.timeout_ms)
        } else {
            self.config.request_timeout_ms
        };
        let deadline = now.monotonic.plus_millis(timeout_ms);
        self.park(id, Parked::ListOffsets(parked), Some(deadline));
    }

    /// The partition of this name, or the error to answer.
    pub(super) fn led_by_name(&mut self, topic: &str, partition: i32) -> Result<&mut Partition, ErrorCode> {
        let known = self.image.topic_by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !known.partitions.contains_key(&partition) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let id = TopicIdPartition { topic: known.id, partition };
        let (_, led) = self.led(id).ok_or(ErrorCode::NotLeaderOrFollower)?;
        if led.is_offline() { Err(ErrorCode::KafkaStorageError) } else { Ok(led) }
    }

    /// A search of a parked request is over.
    pub(super) fn on_offset_found(&mut self, part: Part, owner: u32, resolved: Resolved, out: &mut Outbox) {
        let lost = match self.partitions.get(&owner) {
            Some(partition) if partition.is_leader() => None,
            Some(partition) if partition.is_offline() => Some(ErrorCode::KafkaStorageError),
            Some(_) | None => Some(ErrorCode::NotLeaderOrFollower),
        };
        let Some(Parked::ListOffsets(parked)) = self.parked.get_mut(&part.parked) else { return };
        let version = parked.reply_to.version;
        let Some((topic, partition)) = parked.parts[part.index].take() else { return };
        let one = &mut parked.response.topics[topic].partitions[partition];
        if let Some(code) = lost {
            one.error_code = code.as_i16();
        } else if resolved == Resolved::Damage {
            one.error_code = ErrorCode::CorruptMessage.as_i16();
        } else if let Resolved::Record { offset, timestamp, leader_epoch } = resolved {
            // Records that are not visible yet are not found yet.
            let led = self.partitions.get(&owner);
            if led.is_some_and(|led| offset < led.visible_end(parked.isolation)) {
                tell(one, offset, timestamp, leader_epoch, version);
            } else {
                out.sometimes(Mark::ListOffsetsInvisible);
                let error = led.and_then(|led| check_end(led, parked.isolation, version).err());
                one.error_code = error.map_or(0, ErrorCode::as_i16);
            }
        }
        parked.remaining -= 1;
        if parked.remaining == 0
            && let Some(Parked::ListOffsets(parked)) = self.unpark(part.parked)
        {
            parked.reply_to.respond(AnyResponse::ListOffsets(parked.response), out);
        }
    }

    pub(super) fn on_list_offsets_deadline(&mut self, id: ParkedId, out: &mut Outbox) {
        let Some(Parked::ListOffsets(mut parked)) = self.unpark(id) else { return };
        out.sometimes(Mark::ListOffsetsTimedOut);
        for (topic, partition) in parked.parts.iter().flatten() {
            let one = &mut parked.response.topics[*topic].partitions[*partition];
            one.error_code = ErrorCode::RequestTimedOut.as_i16();
        }
        parked.reply_to.respond(AnyResponse::ListOffsets(parked.response), out);
    }

    pub(super) fn on_offset_for_leader_epoch(
        &mut self,
        reply_to: &ReplyTo,
        request: &OffsetForLeaderEpochRequest,
        out: &mut Outbox,
    ) {
        let mut response = OffsetForLeaderEpochResponse::default();
        for topic in &request.topics {
            let mut answered =
                OffsetForLeaderTopicResult { topic: topic.topic.clone(), ..Default::default() };
            for wanted in &topic.partitions {
                let mut one = EpochEndOffset { partition: wanted.partition, ..EpochEndOffset::default() };
                let asked = self.led_by_name(&topic.topic, wanted.partition).and_then(|partition| {
                    partition.check_leader_epoch(LeaderEpoch(wanted.current_leader_epoch))?;
                    let log_end = partition.log().next_offset();
                    // Consumers and followers alike learn where an epoch ended; the end of the current one is what a
                    // reader may see.
                    let end = if request.replica_id == -1 { partition.high_watermark() } else { log_end };
                    Ok(partition.log().epochs().end_offset_for(LeaderEpoch(wanted.leader_epoch), end))
                });
                match asked {
                    Err(code) => one.error_code = code.as_i16(),
                    Ok(Some((epoch, end))) => (one.leader_epoch, one.end_offset) = (epoch.0, end.0),
                    Ok(None) => (one.leader_epoch, one.end_offset) = (-1, -1),
                }
                answered.partitions.push(one);
            }
            response.topics.push(answered);
        }
        reply_to.respond(AnyResponse::OffsetForLeaderEpoch(response), out);
    }
}

/// Puts a place into an answer. Before version 4 nobody asked under which epoch it was written (KIP-320).
const fn tell(
    one: &mut ListOffsetsPartitionResponse,
    offset: Offset,
    timestamp: i64,
    leader_epoch: LeaderEpoch,
    version: i16,
) {
    one.offset = offset.0;
    one.timestamp = timestamp;
    one.leader_epoch = if version >= 4 { leader_epoch.0 } else { -1 };
}

fn list_offset(
    partition: &mut Partition,
    wanted: &ListOffsetsPartition,
    version: i16,
    isolation: FetchIsolation,
    part: Part,
    out: &mut Outbox,
) -> Result<Answer, ErrorCode> {
    partition.check_leader_epoch(LeaderEpoch(wanted.current_leader_epoch))?;
    let log_start = partition.log().log_start();
    let earliest = Answer::At {
        offset: log_start,
        timestamp: -1,
        leader_epoch: partition.log().epochs().epoch_at(log_start).unwrap_or(LeaderEpoch::UNKNOWN),
    };
    match wanted.timestamp {
        LATEST => {
            check_end(partition, isolation, version)?;
            let offset = partition.visible_end(isolation);
            Ok(Answer::At { offset, timestamp: -1, leader_epoch: partition.leader_epoch() })
        }
        EARLIEST => Ok(earliest),
        MAX_TIMESTAMP if version >= 7 => match partition.log().max_timestamp() {
            None => Ok(Answer::Nothing),
            Some(timestamp) => Ok(find(partition, timestamp, part, out)),
        },
        // Without tiered storage everything is local and nothing is, or waits to be, uploaded.
        EARLIEST_LOCAL if version >= 8 => Ok(earliest),
        LATEST_TIERED if version >= 9 => Ok(Answer::Nothing),
        EARLIEST_PENDING_UPLOAD if version >= 11 => Ok(Answer::Nothing),
        timestamp if timestamp >= 0 => Ok(find(partition, timestamp, part, out)),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn find(partition: &mut Partition, timestamp: i64, part: Part, out: &mut Outbox) -> Answer {
    match partition.find_timestamp(timestamp, part, out) {
        None => Answer::Searching,
        Some(_) => Answer::Nothing,
    }
}
