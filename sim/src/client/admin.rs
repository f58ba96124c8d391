//! The client that creates the topics of the plan, and then does what the plan has for an administrator.

use super::{Action, ClientOutbox, Link, Surroundings};
use crate::plan::{AdminDeed, AdminPlan, TopicPlan};
use sordini_core::ids::RequestId;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use sordini_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use sordini_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use sordini_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use sordini_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;

/// The version of its CreateTopics requests: the first whose answers have the topic id.
const CREATE_TOPICS_VERSION: i16 = 7;
const DELETE_RECORDS_VERSION: i16 = 2;
const INCREMENTAL_ALTER_CONFIGS_VERSION: i16 = 1;
const LIST_OFFSETS_VERSION: i16 = 7;
/// What ListOffsets calls the offset after the last record that can be read.
const LATEST: i64 = -1;
/// What configurations call a topic.
const RESOURCE_TOPIC: i8 = 2;
const TIMEOUT_US: u64 = 5_000_000;

/// Does one thing after the other, each again and again until the answer says that it is done.
#[derive(Clone, Debug)]
pub struct Admin {
    link: Link,
    topics: Vec<TopicPlan>,
    /// Topics that are not known to exist.
    missing: Vec<TopicPlan>,
    deeds: Vec<AdminPlan>,
    /// How many of the deeds are done.
    done: usize,
    /// The high watermark that the deed under way has learnt of.
    high_watermark: Option<i64>,
    /// Why the last attempt failed, for the sentence about what it waits for.
    last_error: Option<(ErrorCode, String)>,
}

impl Admin {
    /// A client that creates `topics` and then does `deeds`, in the order of their times.
    #[must_use]
    pub fn new(
        client: u64,
        surroundings: Surroundings,
        topics: Vec<TopicPlan>,
        deeds: Vec<AdminPlan>,
    ) -> Self {
        Self {
            link: Link::new(client, surroundings),
            missing: topics.clone(),
            topics,
            deeds,
            done: 0,
            high_watermark: None,
            last_error: None,
        }
    }

    /// The cluster is another: none of the topics exists.
    pub fn create_everything_again(&mut self) {
        self.missing.clone_from(&self.topics);
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.link.is_overdue(now) {
            out.actions.push(Action::Close);
            self.link.on_disconnected(now);
        } else if self.link.deadlines.is_empty() && self.link.backoff_until <= now {
            let next = if self.missing.is_empty() { self.next_deed(now) } else { Some(self.creation()) };
            if let Some((version, request)) = next {
                self.link.send(version, request, Some(now + TIMEOUT_US), out);
            }
        }
    }

    fn creation(&self) -> (i16, AnyRequest) {
        let topics = self.missing.iter().map(|topic| CreatableTopic {
            name: Str::from(&*topic.name),
            num_partitions: topic.partitions,
            replication_factor: 1,
            configs: topic
                .configs()
                .into_iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: Str::from(name),
                    value: Some(Str::from(value)),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        let request =
            CreateTopicsRequest { topics: topics.collect(), timeout_ms: 5_000, ..Default::default() };
        (CREATE_TOPICS_VERSION, request.into())
    }

    fn next_deed(&self, now: u64) -> Option<(i16, AnyRequest)> {
        let planned = self.deeds.get(self.done).filter(|planned| planned.at_us <= now)?;
        Some(match &planned.deed {
            AdminDeed::DeleteRecords { topic, partition, per_cent } => {
                let name = Str::from(&*self.topics[*topic].name);
                match self.high_watermark {
                    None => Self::question(name, *partition),
                    Some(high_watermark) => {
                        let offset = high_watermark * i64::from(*per_cent) / 100;
                        Self::deletion(name, *partition, offset)
                    }
                }
            }
            AdminDeed::AlterConfig { topic, key, value } => {
                let config = AlterableConfig {
                    name: Str::from(&**key),
                    // 0 sets a value.
                    config_operation: 0,
                    value: Some(Str::from(&**value)),
                    ..Default::default()
                };
                let resource = AlterConfigsResource {
                    resource_type: RESOURCE_TOPIC,
                    resource_name: Str::from(&*self.topics[*topic].name),
                    configs: vec![config],
                    ..Default::default()
                };
                let request =
                    IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
                (INCREMENTAL_ALTER_CONFIGS_VERSION, request.into())
            }
        })
    }

    fn question(name: Str, partition: i32) -> (i16, AnyRequest) {
        let partition = ListOffsetsPartition {
            partition_index: partition,
            current_leader_epoch: -1,
            timestamp: LATEST,
            ..Default::default()
        };
        let topic = ListOffsetsTopic { name, partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        (LIST_OFFSETS_VERSION, request.into())
    }

    fn deletion(name: Str, partition: i32, offset: i64) -> (i16, AnyRequest) {
        let partition = DeleteRecordsPartition { partition_index: partition, offset, ..Default::default() };
        let topic = DeleteRecordsTopic { name, partitions: vec![partition], ..Default::default() };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
        (DELETE_RECORDS_VERSION, request.into())
    }

    pub(super) fn on_response(
        &mut self,
        now: u64,
        request: RequestId,
        body: &AnyResponse,
        _out: &mut ClientOutbox,
    ) {
        self.link.deadlines.remove(&request);
        if let AnyResponse::CreateTopics(response) = body {
            for topic in &response.topics {
                let error = ErrorCode::from_i16(topic.error_code);
                if matches!(error, ErrorCode::None | ErrorCode::TopicAlreadyExists) {
                    self.missing.retain(|missing| topic.name != *missing.name);
                } else {
                    self.on_refused(now, error, topic.error_message.as_ref());
                }
            }
        } else if let AnyResponse::ListOffsets(response) = body {
            for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                let error = ErrorCode::from_i16(partition.error_code);
                if error.is_error() {
                    self.on_refused(now, error, None);
                } else {
                    self.high_watermark = Some(partition.offset);
                }
            }
        } else if let AnyResponse::DeleteRecords(response) = body {
            for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                let error = ErrorCode::from_i16(partition.error_code);
                // Out of range: a crash took what was to be deleted.
                if error.is_error() && error != ErrorCode::OffsetOutOfRange {
                    self.on_refused(now, error, None);
                } else {
                    self.on_done();
                }
            }
        } else if let AnyResponse::IncrementalAlterConfigs(response) = body {
            for resource in &response.responses {
                let error = ErrorCode::from_i16(resource.error_code);
                if error.is_error() {
                    self.on_refused(now, error, resource.error_message.as_ref());
                } else {
                    self.on_done();
                }
            }
        }
    }

    const fn on_done(&mut self) {
        self.done += 1;
        self.high_watermark = None;
    }

    fn on_refused(&mut self, now: u64, error: ErrorCode, text: Option<&Str>) {
        self.last_error = Some((error, text.map(ToString::to_string).unwrap_or_default()));
        self.link.back_off(now);
    }

    pub(super) fn on_disconnected(&mut self, now: u64, _out: &mut ClientOutbox) {
        self.link.on_disconnected(now);
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        let next_deed =
            || self.deeds.get(self.done).map(|planned| planned.at_us.max(self.link.backoff_until));
        match self.link.earliest_deadline() {
            None if self.missing.is_empty() => next_deed(),
            None => Some(self.link.backoff_until),
            deadline => deadline,
        }
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.missing.is_empty() && self.done == self.deeds.len()
    }

    pub(super) fn waits_for(&self) -> String {
        let names: Vec<&str> = self.missing.iter().map(|topic| &*topic.name).collect();
        let left = self.deeds.len() - self.done;
        let what = format!("topics {names:?} to be created and {left} administrative deeds");
        match &self.last_error {
            None => what,
            Some((error, text)) => format!("{what}; last answer {error} {text:?}"),
        }
    }
}
