//! The client that creates the topics of the plan, and then does what the plan has for an administrator.

use super::known::{election_request, reassignment_request};
use super::{ClientOutbox, Link, METADATA_VERSION, Surroundings, with_last_answer};
use crate::history::{Entry, Operation, Stage};
use crate::plan::{AdminDeed, AdminPlan, Spoiled, TopicPlan};
use bytes::Bytes;
use sordini_core::ids::RequestId;
use sordini_protocol::batch::{BatchBuilder, BatchParams};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use sordini_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use sordini_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use sordini_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use sordini_protocol::messages::delete_topics_request::DeleteTopicState;
use sordini_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use sordini_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use sordini_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use sordini_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use sordini_protocol::messages::metadata_request::MetadataRequestTopic;
use sordini_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use sordini_protocol::messages::{
    AlterReplicaLogDirsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, FetchRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Str, Uuid};

/// The version of its CreateTopics requests: the first whose answers have the topic id.
const CREATE_TOPICS_VERSION: i16 = 7;
const DELETE_RECORDS_VERSION: i16 = 2;
const INCREMENTAL_ALTER_CONFIGS_VERSION: i16 = 1;
const LIST_OFFSETS_VERSION: i16 = 7;
/// The first version with a time that the client is willing to wait.
const LIST_OFFSETS_VERSION_TIMED: i16 = 10;
const DELETE_TOPICS_VERSION: i16 = 6;
const CREATE_PARTITIONS_VERSION: i16 = 3;
const ALTER_REPLICA_LOG_DIRS_VERSION: i16 = 2;
/// How fast replicas move between the log directories of a broker.
const MOVES_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
/// The last versions that name topics.
const FETCH_VERSION: i16 = 12;
const PRODUCE_VERSION: i16 = 12;
/// What ListOffsets calls the offset after the last record that can be read.
const LATEST: i64 = -1;
/// What configurations call a topic.
const RESOURCE_TOPIC: i8 = 2;
/// And a broker; the one without a name is all of them.
const RESOURCE_BROKER: i8 = 4;
const TIMEOUT_US: u64 = 5_000_000;

/// Does one thing after the other, each again and again until the answer says that it is done.
#[derive(Clone, Debug)]
pub struct Admin {
    pub(super) link: Link,
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
    /// The id of the topic that the deed under way deletes.
    doomed: Option<Uuid>,
    /// Whether the deed under way has said in which order brokers are to have a partition.
    has_ordered: bool,
    /// Answers that a correct broker never gives.
    refusals: Vec<String>,
    /// Why the last attempt failed, for the sentence about what it waits for.
    last_error: Option<(ErrorCode, String)>,
}

impl Admin {
    /// A client that creates `topics` and then does `deeds`, in the order of their times.
    #[must_use]
    pub fn new(
        client: u64,
        node: usize,
        surroundings: Surroundings,
        topics: Vec<TopicPlan>,
        deeds: Vec<AdminPlan>,
    ) -> Self {
        Self {
            link: Link::new(client, surroundings).at(node),
            missing: topics.clone(),
            topics,
            deeds,
            done: 0,
            asked: Vec::new(),
            high_watermark: None,
            doomed: None,
            has_ordered: false,
            refusals: Vec::new(),
            last_error: None,
        }
    }

    /// The same where somebody else has created the topics.
    #[must_use]
    pub fn with_topics_there(self) -> Self {
        Self { missing: Vec::new(), ..self }
    }

    /// The cluster is another: none of the topics exists.
    pub fn create_everything_again(&mut self) {
        self.missing.clone_from(&self.topics);
    }

    /// Takes the answers that a correct broker never gives, each as a sentence.
    pub fn take_refusals(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusals)
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.link.deadlines.is_empty() && self.link.backoff_until <= now {
            let next = if self.missing.is_empty() { self.next_deed(now) } else { Some(self.creation()) };
            if let Some((_, AnyRequest::AlterReplicaLogDirs(_))) = next
                && let Some(node) = self.deeds.get(self.done).map(|planned| planned.node)
                && node != self.link.node
            {
                // Of its log directories each broker is asked itself.
                return self.link.turn_to(node, out);
            }
            if let Some((version, request)) = next {
                self.asked = self.asked_by(now, &request);
                out.history.extend(self.asked.iter().cloned());
                let is_answered = !matches!(&request, AnyRequest::Produce(produce) if produce.acks == 0);
                self.link.send(version, request, is_answered.then_some(now + TIMEOUT_US), out);
                if !is_answered {
                    self.on_done();
                }
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
        } else if let Some(AdminDeed::ElectUncleanly { topic, partition }) = self.deed() {
            let topic = Str::from(&*self.topics[*topic].name);
            vec![Entry { partition: Some(*partition), ..entry(Operation::ElectLeaderUncleanly, &topic) }]
        } else if let (AnyRequest::DeleteTopics(_), Some(AdminDeed::RecreateTopic { topic })) =
            (request, self.deed())
        {
            vec![entry(Operation::DeleteTopic, &Str::from(&*self.topics[*topic].name))]
        } else if let AnyRequest::IncrementalAlterConfigs(request) = request
            && matches!(self.deed(), Some(AdminDeed::AlterConfig { .. }))
        {
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
        self.creation_of(&mut self.missing.iter())
    }

    fn creation_of(&self, topics: &mut dyn Iterator<Item = &TopicPlan>) -> (i16, AnyRequest) {
        let is_placed = !self.link.surroundings.brokers.is_empty();
        let topics = topics.map(|topic| CreatableTopic {
            name: Str::from(&*topic.name),
            // -1 where it is said which brokers have which partition.
            num_partitions: if is_placed { -1 } else { topic.partitions },
            replication_factor: if is_placed { -1 } else { 1 },
            assignments: if is_placed { self.placement(topic) } else { Vec::new() },
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

    /// Which brokers have which partition, one after the other: brokers that are none but in name get none.
    fn placement(&self, topic: &TopicPlan) -> Vec<CreatableReplicaAssignment> {
        let brokers = &self.link.surroundings.brokers;
        let placed = |partition_index: i32| {
            let first = usize::try_from(partition_index).expect("an index");
            let replicas = brokers.iter().cycle().skip(first % brokers.len()).take(topic.replicas);
            let id = |node: &usize| i32::try_from(*node).expect("a handful of nodes") + 1;
            let broker_ids = replicas.map(id).collect();
            CreatableReplicaAssignment { partition_index, broker_ids, ..Default::default() }
        };
        (0..topic.partitions).map(placed).collect()
    }

    fn next_deed(&self, now: u64) -> Option<(i16, AnyRequest)> {
        let planned = self.deeds.get(self.done).filter(|planned| planned.at_us <= now)?;
        Some(match &planned.deed {
            AdminDeed::DeleteRecords { topic, partition, per_cent } => {
                let name = Str::from(&*self.topics[*topic].name);
                match self.high_watermark {
                    None => Self::question(name, *partition, LIST_OFFSETS_VERSION, LATEST),
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
            AdminDeed::Throttle { topic, bytes_per_second } => self.throttling(*topic, *bytes_per_second),
            AdminDeed::RecreateTopic { topic } => self.topic_deletion(*topic),
            AdminDeed::AddPartitions { topic, more } => {
                let topic = &self.topics[*topic];
                let topic = CreatePartitionsTopic {
                    name: Str::from(&*topic.name),
                    count: topic.partitions + more,
                    assignments: None,
                    ..Default::default()
                };
                let request =
                    CreatePartitionsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
                (CREATE_PARTITIONS_VERSION, request.into())
            }
            AdminDeed::NameTopicTwice { topic } => {
                let topic = &self.topics[*topic];
                self.creation_of(&mut [topic, topic].into_iter())
            }
            AdminDeed::LookUpTime { topic, partition, time_us } => {
                let (name, time) = (Str::from(&*self.topics[*topic].name), crate::world::wall_ms(*time_us));
                Self::question(name, *partition, LIST_OFFSETS_VERSION_TIMED, time)
            }
            AdminDeed::FetchOfOtherEpoch { topic, partition, leader_epoch, last_fetched_epoch } => {
                let partition = FetchPartition {
                    partition: *partition,
                    current_leader_epoch: *leader_epoch,
                    fetch_offset: 0,
                    last_fetched_epoch: *last_fetched_epoch,
                    log_start_offset: -1,
                    partition_max_bytes: 1_000,
                    ..Default::default()
                };
                let topic = FetchTopic {
                    topic: Str::from(&*self.topics[*topic].name),
                    partitions: vec![partition],
                    ..Default::default()
                };
                let request = FetchRequest {
                    replica_id: -1,
                    max_bytes: 1_000,
                    session_epoch: -1,
                    topics: vec![topic],
                    ..Default::default()
                };
                (FETCH_VERSION, request.into())
            }
            AdminDeed::WriteSpoiled { topic, partition, spoiled } => {
                let acks = if *spoiled == Spoiled::FlippedWithoutAcks { 0 } else { -1 };
                let partition = PartitionProduceData {
                    index: *partition,
                    records: Some(Records::Bytes(self.spoiled_batch(planned.at_us, *spoiled))),
                    ..Default::default()
                };
                let topic = TopicProduceData {
                    name: Str::from(&*self.topics[*topic].name),
                    partition_data: vec![partition],
                    ..Default::default()
                };
                let request =
                    ProduceRequest { acks, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() };
                (PRODUCE_VERSION, request.into())
            }
            AdminDeed::Lead { topic, partition, .. } if self.has_ordered => {
                election_request(Str::from(&*self.topics[*topic].name), *partition, false)
            }
            AdminDeed::Reassign { topic, partition, brokers }
            | AdminDeed::Lead { topic, partition, brokers } => {
                let id = |node: &usize| i32::try_from(*node).expect("a handful of nodes") + 1;
                let replicas = (!brokers.is_empty()).then(|| brokers.iter().map(id).collect());
                reassignment_request(Str::from(&*self.topics[*topic].name), *partition, replicas)
            }
            AdminDeed::MoveReplica { topic, partition, dir } => {
                let topic = AlterReplicaLogDirTopic {
                    name: Str::from(&*self.topics[*topic].name),
                    partitions: vec![*partition],
                    ..Default::default()
                };
                let path = Str::from(crate::plan::log_dir_path(*dir));
                let dir = AlterReplicaLogDir { path, topics: vec![topic], ..Default::default() };
                let request = AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() };
                (ALTER_REPLICA_LOG_DIRS_VERSION, request.into())
            }
            AdminDeed::ElectPreferred { topic, partition } => {
                election_request(Str::from(&*self.topics[*topic].name), *partition, false)
            }
            AdminDeed::ElectUncleanly { topic, partition } => {
                election_request(Str::from(&*self.topics[*topic].name), *partition, true)
            }
        })
    }

    /// Names all replicas of the topic, and sets the rates of all brokers.
    fn throttling(&self, topic: usize, bytes_per_second: Option<u64>) -> (i16, AnyRequest) {
        let config = |name: String, value: &str| AlterableConfig {
            name: Str::from(name),
            // 0 sets a value, 1 takes it back.
            config_operation: i8::from(bytes_per_second.is_none()),
            value: bytes_per_second.map(|_| Str::from(value)),
            ..Default::default()
        };
        let rate = bytes_per_second.unwrap_or_default().to_string();
        let configs = |what: &str, value: &str| {
            let name = |role| format!("{role}.replication.throttled.{what}");
            vec![config(name("leader"), value), config(name("follower"), value)]
        };
        let replicas = AlterConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: Str::from(&*self.topics[topic].name),
            configs: configs("replicas", "*"),
            ..Default::default()
        };
        let rates = AlterConfigsResource {
            resource_type: RESOURCE_BROKER,
            configs: [configs("rate", &rate), vec![config(MOVES_RATE.to_owned(), &rate)]].concat(),
            ..Default::default()
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![replicas, rates], ..Default::default() };
        (INCREMENTAL_ALTER_CONFIGS_VERSION, request.into())
    }

    /// Deletes the topic by the id it has, which is asked for first: a deletion that arrives late and by another way must
    /// not befall the topic that was created since.
    fn topic_deletion(&self, topic: usize) -> (i16, AnyRequest) {
        if let Some(topic_id) = self.doomed {
            let topic = DeleteTopicState { name: None, topic_id, ..Default::default() };
            let request =
                DeleteTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
            return (DELETE_TOPICS_VERSION, request.into());
        }
        let name = Some(Str::from(&*self.topics[topic].name));
        let topic = MetadataRequestTopic { name, ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        (METADATA_VERSION, request.into())
    }

    fn spoiled_batch(&self, at_us: u64, spoiled: Spoiled) -> Bytes {
        const FUTURE_US: u64 = 10 * 86_400_000_000;
        let mut builder = BatchBuilder::new(BatchParams::default());
        let is_of_the_future = spoiled == Spoiled::FromTheFuture;
        let at_us = if is_of_the_future { at_us + FUTURE_US } else { at_us };
        let value = ((self.link.client << 40) | self.done as u64).to_be_bytes();
        builder.append(crate::world::wall_ms(at_us), None, Some(&value), &[]);
        let mut bytes = builder.build().to_vec();
        if let Some(last) = bytes.last_mut().filter(|_| !is_of_the_future) {
            *last ^= 1;
        }
        Bytes::from(bytes)
    }

    fn question(name: Str, partition: i32, version: i16, timestamp: i64) -> (i16, AnyRequest) {
        let partition = ListOffsetsPartition {
            partition_index: partition,
            current_leader_epoch: -1,
            timestamp,
            ..Default::default()
        };
        let topic = ListOffsetsTopic { name, partitions: vec![partition], ..Default::default() };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], timeout_ms: 3, ..Default::default() };
        (version, request.into())
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
            if self.missing.is_empty() {
                // A name that was given twice.
                let error = response.topics.first().map(|topic| ErrorCode::from_i16(topic.error_code));
                if error != Some(ErrorCode::InvalidRequest) {
                    self.refusals.push(format!("{error:?} to the creation of a topic that is named twice"));
                }
                self.on_done();
                return;
            }
            for topic in &response.topics {
                let error = ErrorCode::from_i16(topic.error_code);
                self.note(now, &topic.name, error, None, out);
                if matches!(error, ErrorCode::None | ErrorCode::TopicAlreadyExists) {
                    self.missing.retain(|missing| topic.name != *missing.name);
                } else {
                    self.on_refused(now, error, topic.error_message.as_ref(), out);
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
                if matches!(self.deed(), Some(AdminDeed::LookUpTime { .. })) {
                    // The search may take longer than this asker waits.
                    self.on_done();
                } else if error.is_error() {
                    self.on_refused(now, error, None, out);
                } else {
                    self.high_watermark = Some(partition.offset);
                }
            }
        } else if let AnyResponse::Metadata(response) = body {
            let Some(topic) = response.topics.first() else { return };
            let error = ErrorCode::from_i16(topic.error_code);
            if error == ErrorCode::None {
                self.doomed = Some(topic.topic_id);
            } else if error == ErrorCode::UnknownTopicOrPartition {
                self.on_deleted();
            } else {
                self.on_refused(now, error, None, out);
            }
        } else if let AnyResponse::DeleteTopics(response) = body {
            let Some(topic) = response.responses.first() else { return };
            let error = ErrorCode::from_i16(topic.error_code);
            if let Some(AdminDeed::RecreateTopic { topic }) = self.deed() {
                let name = Str::from(&*self.topics[*topic].name);
                self.note(now, &name, error, None, out);
            }
            if matches!(error, ErrorCode::None | ErrorCode::UnknownTopicId) {
                self.on_deleted();
            } else {
                self.on_refused(now, error, topic.error_message.as_ref(), out);
            }
        } else if let AnyResponse::CreatePartitions(response) = body {
            let Some(topic) = response.results.first() else { return };
            let error = ErrorCode::from_i16(topic.error_code);
            // Invalid partitions: another deed has added as many.
            if matches!(error, ErrorCode::None | ErrorCode::InvalidPartitions) {
                self.on_done();
            } else {
                self.on_refused(now, error, topic.error_message.as_ref(), out);
            }
        } else if let AnyResponse::AlterPartitionReassignments(response) = body {
            let partition = response.responses.first().and_then(|topic| topic.partitions.first());
            let error = partition.map_or(response.error_code, |partition| partition.error_code);
            let text = partition.and_then(|partition| partition.error_message.as_ref());
            // There is nothing to be cancelled any more.
            self.on_told(now, error, text, &[ErrorCode::NoReassignmentInProgress], out);
        } else if let AnyResponse::ElectLeaders(response) = body {
            let topic = response.replica_election_results.first();
            let partition = topic.and_then(|topic| topic.partition_result.first());
            let error = partition.map_or(response.error_code, |partition| partition.error_code);
            let text = partition.and_then(|partition| partition.error_message.as_ref());
            if let Some(topic) = topic.map(|topic| topic.topic.clone()) {
                self.note(now, &topic, ErrorCode::from_i16(error), None, out);
            }
            // It leads already, or it cannot now.
            let needless = [ErrorCode::ElectionNotNeeded, ErrorCode::PreferredLeaderNotAvailable];
            self.on_told(now, error, text, &needless, out);
        } else if let AnyResponse::AlterReplicaLogDirs(response) = body {
            let partition = response.results.first().and_then(|topic| topic.partitions.first());
            let error = partition.map_or(0, |partition| partition.error_code);
            // It is on its way there, or the directory is not to be had.
            let needless =
                [ErrorCode::ReplicaNotAvailable, ErrorCode::KafkaStorageError, ErrorCode::LogDirNotFound];
            self.on_told(now, error, None, &needless, out);
        } else if let AnyResponse::Fetch(_) = body {
            self.on_done();
        } else if let AnyResponse::Produce(response) = body {
            let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
            let error =
                partition.map_or(ErrorCode::None, |partition| ErrorCode::from_i16(partition.error_code));
            if !error.is_error()
                && let Some(AdminDeed::WriteSpoiled { topic, spoiled, .. }) = self.deed()
                && !(*spoiled == Spoiled::FromTheFuture && self.topics[*topic].log_append_time)
            {
                self.refusals.push(format!("a batch was taken that is spoiled: {spoiled:?}"));
            }
            self.on_done();
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
                    self.on_refused(now, error, None, out);
                } else {
                    self.on_done();
                }
            }
        } else if let AnyResponse::IncrementalAlterConfigs(response) = body {
            for resource in &response.responses {
                let error = ErrorCode::from_i16(resource.error_code);
                self.note(now, &resource.resource_name, error, None, out);
            }
            let error = |resource: &AlterConfigsResourceResponse| ErrorCode::from_i16(resource.error_code);
            match response.responses.iter().find(|resource| error(resource).is_error()) {
                Some(refused) => self.on_refused(now, error(refused), refused.error_message.as_ref(), out),
                None => self.on_done(),
            }
        }
    }

    fn deed(&self) -> Option<&AdminDeed> {
        self.deeds.get(self.done).map(|planned| &planned.deed)
    }

    /// The topic of the deed under way is gone and is to be created again.
    fn on_deleted(&mut self) {
        if let Some(AdminDeed::RecreateTopic { topic }) = self.deed() {
            let topic = &self.topics[*topic];
            // After damage all of them are to be created again already.
            if !self.missing.iter().any(|missing| missing.name == topic.name) {
                self.missing.push(topic.clone());
            }
            self.on_done();
        }
    }

    const fn on_done(&mut self) {
        self.done += 1;
        self.high_watermark = None;
        self.doomed = None;
        self.has_ordered = false;
    }

    /// The deed under way is done, or there is no need for it, or it was refused.
    fn on_told(
        &mut self,
        now: u64,
        code: i16,
        text: Option<&Str>,
        needless: &[ErrorCode],
        out: &mut ClientOutbox,
    ) {
        let error = ErrorCode::from_i16(code);
        if error.is_error() && !needless.contains(&error) {
            self.on_refused(now, error, text, out);
        } else if matches!(self.deed(), Some(AdminDeed::Lead { .. })) && !self.has_ordered {
            self.has_ordered = true;
        } else {
            self.on_done();
        }
    }

    fn on_refused(&mut self, now: u64, error: ErrorCode, text: Option<&Str>, out: &mut ClientOutbox) {
        if error == ErrorCode::NotLeaderOrFollower {
            // Somebody else leads.
            self.link.turn_to_another(out);
        }
        self.last_error = Some((error, text.map(ToString::to_string).unwrap_or_default()));
        self.link.back_off(now);
    }

    pub(super) fn on_disconnected(&mut self, now: u64, out: &mut ClientOutbox) {
        self.link.on_disconnected(now);
        // Without an answer nobody can tell.
        let unanswered = self.asked.drain(..);
        out.history.extend(unanswered.map(|asked| Entry { at_us: now, stage: Stage::Info, ..asked }));
        self.link.turn_to_another(out);
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
        with_last_answer(what, self.last_error.as_ref())
    }
}
