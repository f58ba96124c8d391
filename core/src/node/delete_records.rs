//! DeleteRecords: the leader's log begins later from now on, and the answer comes when the logs of all replicas that live do,
//! whose brokers hear of it with their next fetches (KIP-107).

use super::broker::{Broker, Parked, ReplyTo};
use crate::ids::{Offset, TopicIdPartition};
use crate::mark::Mark;
use crate::outbox::Outbox;
use crate::partition::ParkedId;
use crate::time::Now;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use sordini_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use sordini_protocol::request::AnyResponse;

/// A request that waits for replicas to delete.
#[derive(Clone, Debug)]
pub(crate) struct ParkedDeleteRecords {
    pub(crate) reply_to: ReplyTo,
    response: DeleteRecordsResponse,
    /// The partitions of which not all replicas have deleted.
    waiting: Vec<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Place in the response.
    place: (usize, usize),
    id: TopicIdPartition,
    /// Where the logs have to begin.
    to: Offset,
}

impl Broker {
    pub(super) fn on_delete_records(
        &mut self,
        reply_to: ReplyTo,
        request: &DeleteRecordsRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let mut response = DeleteRecordsResponse::default();
        let mut waiting = Vec::new();
        for topic in &request.topics {
            let mut answered = DeleteRecordsTopicResult {
                name: topic.name.detached(),
                ..DeleteRecordsTopicResult::default()
            };
            for wanted in &topic.partitions {
                let mut one = DeleteRecordsPartitionResult {
                    partition_index: wanted.partition_index,
                    low_watermark: -1,
                    ..DeleteRecordsPartitionResult::default()
                };
                let deleted = self.led_by_name(&topic.name, wanted.partition_index).and_then(|partition| {
                    if !partition.config().cleanup_policy.delete && partition.config().cleanup_policy.compact
                    {
                        // The records of a compacted topic go when their keys are written again.
                        return Err(ErrorCode::PolicyViolation);
                    }
                    let to = partition.delete_records(Offset(wanted.offset), now, out)?;
                    Ok((partition.id, to))
                });
                match deleted {
                    Ok((id, to)) => {
                        let place = (response.topics.len(), answered.partitions.len());
                        waiting.push(Waiting { place, id, to });
                    }
                    Err(code) => one.error_code = code.as_i16(),
                }
                answered.partitions.push(one);
            }
            response.topics.push(answered);
        }
        let owners: Vec<u32> = self.partitions.keys().copied().collect();
        for owner in owners {
            self.arm_log_timer(owner);
        }
        let mut parked = ParkedDeleteRecords { reply_to, response, waiting };
        self.look_at_deletions(&mut parked);
        if parked.waiting.is_empty() {
            return parked.reply_to.respond(AnyResponse::DeleteRecords(parked.response), out);
        }
        out.sometimes(Mark::DeleteRecordsAwaited);
        let id = self.next_parked_id();
        self.deletions.insert(id);
        let deadline = now.monotonic.plus_millis(i64::from(request.timeout_ms));
        self.park(id, Parked::DeleteRecords(parked), Some(deadline));
    }

    /// Takes note of the partitions for which there is nothing to wait any more.
    fn look_at_deletions(&self, parked: &mut ParkedDeleteRecords) {
        let ParkedDeleteRecords { response, waiting, .. } = parked;
        waiting.retain(|Waiting { place: (topic, partition), id, to }| {
            let one = &mut response.topics[*topic].partitions[*partition];
            match self.low_watermark(*id) {
                Ok(low_watermark) if low_watermark < *to => return true,
                Ok(low_watermark) => one.low_watermark = low_watermark.0,
                Err(code) => one.error_code = code.as_i16(),
            }
            false
        });
    }

    /// From where on every replica of a partition that is led here has the records, as far as its broker lives.
    fn low_watermark(&self, id: TopicIdPartition) -> Result<Offset, ErrorCode> {
        let (_, partition) = self.hosted(id).ok_or(ErrorCode::NotLeaderOrFollower)?;
        if partition.is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let is_live = |node| self.image.brokers().get(&node).is_some_and(|broker| !broker.fenced);
        partition.low_watermark(is_live).ok_or(ErrorCode::NotLeaderOrFollower)
    }

    /// Replicas have told where their logs begin, or the cluster has changed: some may have waited for that.
    pub(super) fn pursue_deletions(&mut self, out: &mut Outbox) {
        for id in self.deletions.clone() {
            let Some(Parked::DeleteRecords(mut parked)) = self.parked.remove(&id) else { continue };
            self.look_at_deletions(&mut parked);
            let is_over = parked.waiting.is_empty();
            self.parked.insert(id, Parked::DeleteRecords(parked));
            if is_over {
                self.finish_deletion(id, out);
            }
        }
    }

    /// Time is up: what is not deleted everywhere may yet be.
    pub(super) fn on_delete_records_deadline(&mut self, id: ParkedId, out: &mut Outbox) {
        out.sometimes(Mark::DeleteRecordsTimedOut);
        self.finish_deletion(id, out);
    }

    fn finish_deletion(&mut self, id: ParkedId, out: &mut Outbox) {
        self.deletions.remove(&id);
        let Some(Parked::DeleteRecords(mut parked)) = self.unpark(id) else { return };
        for Waiting { place: (topic, partition), .. } in parked.waiting {
            let one = &mut parked.response.topics[topic].partitions[partition];
            one.error_code = ErrorCode::RequestTimedOut.as_i16();
        }
        parked.reply_to.respond(AnyResponse::DeleteRecords(parked.response), out);
    }
}
