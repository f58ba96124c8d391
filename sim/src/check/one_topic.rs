//! `one_topic`: a log is of one topic in all its life, and what a node hands out of the topic of an id was sent to that topic: when a
//! topic is created again, nobody reads under its new id what was written under another (KIP-516).

use super::Violation;
use super::no_duplicates::DECOMPRESSED_BYTES_MAX;
use super::truth::LogTruth;
use sordini_core::node::PartitionView;
use sordini_protocol::batch::Batch;
use sordini_protocol::messages::{FetchResponse, ProduceRequest};
use sordini_protocol::wire::{Records, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// A node says of which topic a log is.
pub(super) fn check(view: &PartitionView<'_>, log: &mut LogTruth) -> Result<(), Violation> {
    let said = view.id.topic;
    match log.topic_id() {
        Some(known) if known == said => Ok(()),
        // Where nothing is left of a log, another may begin.
        Some(known) if log.end() > log.first_base() => Err(Violation {
            property: "one_topic",
            sentence: format!(
                "{} is the log of topic {known}, and is taken for that of topic {said}",
                view.dir
            ),
        }),
        Some(_) | None => {
            log.note_topic(said);
            Ok(())
        }
    }
}

/// The first values of the batches that clients have sent, with the topics that they were sent to.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentRecords {
    topics: BTreeMap<u64, BTreeSet<Uuid>>,
}

impl SentRecords {
    /// A request is about to reach a node. Of who names the topic, it cannot be said which is meant of those that have had the
    /// name: its id is zero.
    pub(crate) fn on_sent(&mut self, request: &ProduceRequest) {
        for topic in &request.topic_data {
            for records in topic.partition_data.iter().filter_map(|partition| partition.records.as_ref()) {
                for value in first_values(records) {
                    self.topics.entry(value).or_default().insert(topic.topic_id);
                }
            }
        }
    }

    /// A node answers a fetch.
    ///
    /// # Errors
    /// Something of another topic is in it.
    pub(crate) fn check(&self, node: usize, response: &FetchResponse) -> Result<(), Violation> {
        for topic in response.responses.iter().filter(|topic| !topic.topic_id.is_zero()) {
            for partition in topic.partitions.iter().filter(|partition| partition.error_code == 0) {
                let values = partition.records.iter().flat_map(first_values);
                let may_be_there = |topics: &BTreeSet<Uuid>| {
                    topics.contains(&topic.topic_id) || topics.contains(&Uuid::ZERO)
                };
                for value in values {
                    let Some(topics) = self.topics.get(&value).filter(|it| !may_be_there(it)) else {
                        continue;
                    };
                    return Err(Violation {
                        property: "one_topic",
                        sentence: format!(
                            "node {node} handed out partition {} of the topic {} with the value {value:#x}, which was sent to \
                             {topics:?} alone",
                            partition.partition_index, topic.topic_id
                        ),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The number with which the first value of each batch begins.
fn first_values(records: &Records) -> Vec<u64> {
    let Records::Bytes(bytes) = records else { return Vec::new() };
    let (mut rest, mut values) = (bytes.clone(), Vec::new());
    while let Ok(Some(batch)) = Batch::first_of(&mut rest) {
        let Ok(mut records) = batch.records(DECOMPRESSED_BYTES_MAX) else { continue };
        let value = records.next().and_then(Result::ok).and_then(|record| record.value);
        values.extend(value.as_deref().and_then(<[u8]>::first_chunk::<8>).map(|it| u64::from_be_bytes(*it)));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::{Life, assert_violates, at, batch, segment};
    use sordini_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use sordini_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

    #[test]
    fn a_log_with_records_is_of_one_topic() {
        let mut life = Life::begin();
        life.write(&segment(0), batch(at(0), 10, "a")).expect("a log begins");
        life.view_of(Uuid::from_u64s(1, 1)).expect("nobody has said of which topic it is");
        life.view_of(Uuid::from_u64s(1, 1)).expect("it still is");
        assert_violates(life.view_of(Uuid::from_u64s(1, 2)), "one_topic", "is taken for that of topic");
    }

    #[test]
    fn what_was_sent_to_one_topic_is_not_read_of_another() {
        const OLD: Uuid = Uuid::from_u64s(1, 1);
        const NEW: Uuid = Uuid::from_u64s(1, 2);
        let records = |value: &str| Some(Records::Bytes(batch(at(0), 0, value)));
        let sent = |topic_id, value| ProduceRequest {
            topic_data: vec![TopicProduceData {
                topic_id,
                partition_data: vec![PartitionProduceData {
                    records: records(value),
                    ..PartitionProduceData::default()
                }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let read = |topic_id, value| FetchResponse {
            responses: vec![FetchableTopicResponse {
                topic_id,
                partitions: vec![PartitionData { records: records(value), ..PartitionData::default() }],
                ..FetchableTopicResponse::default()
            }],
            ..FetchResponse::default()
        };
        let mut known = SentRecords::default();
        known.on_sent(&sent(OLD, "eight or more"));
        assert_eq!(known.check(1, &read(OLD, "eight or more")), Ok(()));
        assert!(known.check(1, &read(NEW, "eight or more")).is_err(), "it was sent to the old one alone");
        known.on_sent(&sent(NEW, "eight or more"));
        assert_eq!(known.check(1, &read(NEW, "eight or more")), Ok(()), "it was sent again");
    }
}
