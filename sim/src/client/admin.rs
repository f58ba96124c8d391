//! The client that creates the topics of the plan, and then does what the plan has for an administrator.

use super::{Action, ClientOutbox, Link, Surroundings};
use crate::history::{Entry, Operation, Stage};
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
    /// What the request under way asks for.
    asked: Vec<Entry>,
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
            asked: Vec::new(),
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
            self.on_disconnected(now, out);
        } else if self.link.deadlines.is_empty() && self.link.backoff_until <= now {
            let next = if self.missing.is_empty() { self.next_deed(now) } else { Some(self.creation()) };
            if let Some((version, request)) = next {
                self.asked = self.asked_by(now, &request);
                out.history.extend(self.asked.iter().cloned());
                self.link.send(version, request, Some(now + TIMEOUT_US), out);
            }
        }
    }

    /// What a request asks for, one entry for each topic or partition.
    fn asked_by(&self, now: u64, request: &AnyRequest) -> Vec<Entry> {
        let entry = |operation, topic: &Str| {
            Entry::new(now, self.link.client, Stage::Invoke, operation, topic.clone())
        };
        if let AnyRequest::CreateTopics(request) = request {
            request.topics.iter().map(|topic| entry(Operation::CreateTopic, &topic.name)).collect()
        } else if let AnyRequest::ListOffsets(request) = request {
            let of_topic = |topic: &ListOffsetsTopic| {
                let partition = topic.partitions.first().map(|partition| partition.partition_index);
                Entry { partition, ..entry(Operation::ListOffsets, &topic.name) }
            };
            request.topics.iter().map(of_topic).collect()
        } else if let AnyRequest::DeleteRecords(request) = request {
            let of_topic = |topic: &DeleteRecordsTopic| {
                let asked = topic.partitions.first();
                let partition = asked.map(|partition| partition.partition_index);
                let offset = asked.map(|partition| partition.offset);
                Entry { partition, offset, ..entry(Operation::DeleteRecords, &topic.name) }
            };
            request.topics.iter().map(of_topic).collect()
        } else if let AnyRequest::IncrementalAlterConfigs(request) = request {
            let topics = request.resources.iter().map(|resource| &resource.resource_name);
            topics.map(|topic| entry(Operation::AlterConfigs, topic)).collect()
        } else {
            Vec::new()
        }
    }

    /// Notes what was answered about a topic, with the offset that was.
    fn note(&mut self, now: u64, topic: &Str, error: ErrorCode, offset: Option<i64>, out: &mut ClientOutbox) {
        let stage = if error.is_error() { Stage::Fail } else { Stage::Ok };
        for asked in self.asked.extract_if(.., |asked| asked.topic == *topic) {
            let offset = if error.is_error() { asked.offset } else { offset };
            out.history.push(Entry { at_us: now, stage, error, offset, ..asked });
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
        out: &mut ClientOutbox,
    ) {
        self.link.deadlines.remove(&request);
        if let AnyResponse::CreateTopics(response) = body {
            for topic in &response.topics {
                let error = ErrorCode::from_i16(topic.error_code);
                self.note(now, &topic.name, error, None, out);
                if matches!(error, ErrorCode::None | ErrorCode::TopicAlreadyExists) {
                    self.missing.retain(|missing| topic.name != *missing.name);
                } else {
                    self.on_refused(now, error, topic.error_message.as_ref());
                }
            }
        } else if let AnyResponse::ListOffsets(response) = body {
            let partitions = response
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(move |partition| (&topic.name, partition)));
            for (topic, partition) in partitions {
                let error = ErrorCode::from_i16(partition.error_code);
                self.note(now, topic, error, Some(partition.offset), out);
                if error.is_error() {
                    self.on_refused(now, error, None);
                } else {
                    self.high_watermark = Some(partition.offset);
                }
            }
        } else if let AnyResponse::DeleteRecords(response) = body {
            let partitions = response
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(move |partition| (&topic.name, partition)));
            for (topic, partition) in partitions {
                let error = ErrorCode::from_i16(partition.error_code);
                self.note(now, topic, error, Some(partition.low_watermark), out);
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
                self.note(now, &resource.resource_name, error, None, out);
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

    pub(super) fn on_disconnected(&mut self, now: u64, out: &mut ClientOutbox) {
        self.link.on_disconnected(now);
        // Without an answer nobody can tell.
        let unanswered = self.asked.drain(..);
        out.history.extend(unanswered.map(|asked| Entry { at_us: now, stage: Stage::Info, ..asked }));
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
