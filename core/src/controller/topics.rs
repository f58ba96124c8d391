//! Topics: created, deleted, given more partitions (KIP-4, KIP-195, KIP-516).

use super::image::{Broker, ConfigResource, MetadataImage, Topic};
use super::{Controller, Decision, Refusal, text};
use crate::config::alter::Resource;
use crate::config::{Overrides, describe, topic};
use crate::ids::NodeId;
use crate::mark::Mark;
use crate::outbox::Outbox;
use crate::rng::Rng;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use sordini_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use sordini_protocol::messages::delete_topics_request::DeleteTopicState;
use sordini_protocol::messages::delete_topics_response::DeletableTopicResult;
use sordini_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse,
};
use sordini_protocol::records::{
    ConfigRecord, MetadataRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};
use sordini_protocol::wire::{Str, Uuid};

/// The longest topic name: directory names are `<topic>-<partition>` and may have 255 bytes.
const TOPIC_NAME_LEN_MAX: usize = 249;

/// Most partitions that one request may create, so that a batch of records stays atomic.
const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// Whether clients may neither create nor write a topic, since the cluster keeps its own state in it.
pub(crate) fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

/// Why a name cannot be a topic's.
pub(crate) fn topic_name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("a topic name must not be empty")
    } else if name == "." || name == ".." {
        Some("a topic name must not be \".\" or \"..\"")
    } else if name.len() > TOPIC_NAME_LEN_MAX {
        Some("a topic name has at most 249 characters")
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        Some("a topic name consists of ASCII letters, digits, '.', '_' and '-'")
    } else if name == "__cluster_metadata" {
        Some("the name is reserved for the metadata log")
    } else {
        None
    }
}

impl Controller {
    pub(super) fn create_topics(
        &self,
        request: &CreateTopicsRequest,
        rng: &mut Rng,
        out: &mut Outbox,
    ) -> Decision<CreateTopicsResponse> {
        let mut records = Vec::new();
        let mut results = Vec::new();
        let mut taken: BTreeSet<alloc::string::String> = BTreeSet::new();
        let mut budget = PARTITIONS_PER_REQUEST_MAX;
        for (wanted, is_repeated) in each_once(&request.topics, |topic| &topic.name) {
            out.sometimes_if(is_repeated, Mark::ControllerNameRepeated);
            let outcome = if is_repeated {
                Err(named_more_than_once())
            } else {
                self.create_topic(wanted, &taken, &mut budget, rng)
            };
            results.push(match outcome {
                Ok((mut created, result)) => {
                    taken.insert(collision_key(&wanted.name));
                    if !request.validate_only {
                        records.append(&mut created);
                    }
                    result
                }
                Err(refusal) => {
                    let exists = refusal.code == ErrorCode::TopicAlreadyExists;
                    out.sometimes_if(exists, Mark::ControllerTopicExists);
                    CreatableTopicResult {
                        name: wanted.name.clone(),
                        error_code: refusal.code.as_i16(),
                        error_message: text(&refusal.message),
                        ..CreatableTopicResult::default()
                    }
                }
            });
        }
        let response = CreateTopicsResponse { topics: results, ..CreateTopicsResponse::default() };
        Decision { records, response }
    }

    fn create_topic(
        &self,
        wanted: &CreatableTopic,
        taken: &BTreeSet<alloc::string::String>,
        budget: &mut usize,
        rng: &mut Rng,
    ) -> Result<(Vec<MetadataRecord>, CreatableTopicResult), Refusal> {
        let name = &wanted.name;
        if let Some(problem) = topic_name_problem(name) {
            return Err(Refusal::new(ErrorCode::InvalidTopic, problem));
        }
        if self.image.topic_by_name(name).is_some() {
            return Err(Refusal::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        let key = collision_key(name);
        let collides = self.image.topics_by_name().find(|other| collision_key(&other.name) == key);
        if let Some(other) = collides.map(|topic| &*topic.name).or_else(|| taken.get(&key).map(|key| &**key))
        {
            return Err(Refusal::new(
                ErrorCode::InvalidTopic,
                format!(
                    "'{name}' and '{other}' differ in '.' and '_' alone, which metric names cannot tell apart"
                ),
            ));
        }
        let assignments = self.assign(wanted, rng)?;
        *budget = budget.checked_sub(assignments.len()).ok_or_else(|| {
            Refusal::new(
                ErrorCode::PolicyViolation,
                format!("a request may create at most {PARTITIONS_PER_REQUEST_MAX} partitions"),
            )
        })?;

        let none = Overrides::new();
        let layers = self.layers(&none);
        let mut overrides = Overrides::new();
        for config in &wanted.configs {
            let Some(value) = &config.value else {
                let message = format!("'{}' has no value", config.name);
                return Err(Refusal::new(ErrorCode::InvalidConfig, message));
            };
            overrides.insert(config.name.clone(), value.clone());
        }
        topic::validate(&overrides, &layers)
            .map_err(|error| Self::config_refusal(Resource::Topic, &error))?;

        let topic_id = rng.uuid();
        let mut records: Vec<MetadataRecord> =
            vec![TopicRecord { name: name.clone(), topic_id, ..TopicRecord::default() }.into()];
        for (key, value) in &overrides {
            let record = ConfigRecord {
                resource_type: ConfigResource::Topic.code(),
                resource_name: name.clone(),
                name: key.clone(),
                value: Some(value.clone()),
                ..ConfigRecord::default()
            };
            records.push(record.into());
        }
        for (partition, replicas) in (0..).zip(&assignments) {
            records.push(self.new_partition(topic_id, partition, replicas)?.into());
        }
        let configs =
            describe::topic(&overrides, &layers, None).into_iter().map(|entry| CreatableTopicConfigs {
                name: entry.name,
                value: entry.value,
                read_only: entry.read_only,
                config_source: entry.source.code(),
                is_sensitive: entry.is_sensitive,
                ..CreatableTopicConfigs::default()
            });
        let result = CreatableTopicResult {
            name: name.clone(),
            topic_id,
            error_message: None,
            num_partitions: partition_count(assignments.len()),
            replication_factor: replica_count(assignments[0].len()),
            configs: Some(configs.collect()),
            ..CreatableTopicResult::default()
        };
        Ok((records, result))
    }

    fn new_partition(
        &self,
        topic_id: Uuid,
        partition_id: i32,
        replicas: &[NodeId],
    ) -> Result<PartitionRecord, Refusal> {
        // Who cannot lead is not in sync either, or it would be elected later without having the records.
        let is_active = |id: &&NodeId| self.image.brokers().get(*id).is_some_and(Broker::is_active);
        let isr: Vec<i32> = replicas.iter().filter(is_active).map(|id| id.0).collect();
        let Some(leader) = isr.first().copied() else {
            let message = format!("no broker that partition {partition_id} would be on is alive");
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        };
        let replicas_with_directories = if self.image.has_directories() { replicas } else { &[] };
        let directories = replicas_with_directories.iter().map(|id| self.image.directory_of_new_replica(*id));
        Ok(PartitionRecord {
            partition_id,
            topic_id,
            leader,
            isr,
            replicas: replicas.iter().map(|id| id.0).collect(),
            leader_epoch: 0,
            partition_epoch: 0,
            directories: directories.collect(),
            ..PartitionRecord::default()
        })
    }

    fn assign(&self, wanted: &CreatableTopic, rng: &mut Rng) -> Result<Vec<Vec<NodeId>>, Refusal> {
        if !wanted.assignments.is_empty() {
            if wanted.num_partitions != -1 || wanted.replication_factor != -1 {
                return Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    "a manual assignment leaves no choice of partition count and replication factor: both must be -1",
                ));
            }
            let mut by_index: BTreeMap<i32, &[i32]> = BTreeMap::new();
            for assignment in &wanted.assignments {
                if by_index.insert(assignment.partition_index, &assignment.broker_ids).is_some() {
                    let message = format!("partition {} is assigned twice", assignment.partition_index);
                    return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
                }
            }
            if by_index.keys().zip(0..).any(|(index, expected)| *index != expected) {
                return Err(Refusal::new(
                    ErrorCode::InvalidReplicaAssignment,
                    "partitions must be numbered from 0 without a gap",
                ));
            }
            let assignments: Result<Vec<_>, _> =
                by_index.values().map(|ids| self.check_replicas(ids)).collect();
            let assignments = assignments?;
            if assignments.iter().any(|replicas| replicas.len() != assignments[0].len()) {
                return Err(Refusal::new(
                    ErrorCode::InvalidReplicaAssignment,
                    "every partition must have the same number of replicas",
                ));
            }
            return Ok(assignments);
        }
        let partitions = match wanted.num_partitions {
            -1 => self.config.num_partitions,
            count if count >= 1 => count,
            _ => {
                return Err(Refusal::new(ErrorCode::InvalidPartitions, "a topic has at least one partition"));
            }
        };
        let replication_factor = match wanted.replication_factor {
            -1 => self.config.default_replication_factor,
            factor if factor >= 1 => factor,
            _ => {
                let message = "the replication factor must be at least 1, or -1 for the broker's default";
                return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
            }
        };
        let count = usize::try_from(partitions).unwrap_or(0);
        if count > PARTITIONS_PER_REQUEST_MAX {
            return Err(Refusal::new(
                ErrorCode::PolicyViolation,
                format!("a request may create at most {PARTITIONS_PER_REQUEST_MAX} partitions"),
            ));
        }
        let factor = usize::try_from(replication_factor).unwrap_or(0);
        self.place(count, factor, rng)
    }

    /// Spreads replicas over the brokers, round robin from a random one. Those that are not alive get some only when the
    /// others are too few, and never the first.
    fn place(&self, partitions: usize, factor: usize, rng: &mut Rng) -> Result<Vec<Vec<NodeId>>, Refusal> {
        let brokers: Vec<(NodeId, bool)> = self
            .image
            .brokers()
            .iter()
            .filter(|(_, broker)| broker.takes_replicas())
            .map(|(id, broker)| (*id, broker.is_active()))
            .collect();
        let refusal = |message| Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
        if brokers.len() < factor {
            let count = brokers.len();
            return refusal(format!(
                "replication factor {factor} needs as many brokers, and there are {count}"
            ));
        }
        let with = |is_active: bool| -> Vec<NodeId> {
            brokers.iter().filter(|(_, it)| *it == is_active).map(|(id, _)| *id).collect()
        };
        let (live, gone) = (with(true), with(false));
        if live.is_empty() {
            return refusal("no broker is alive".into());
        }
        let first = rng.index(live.len());
        let from = |nodes: &[NodeId], partition: usize| -> Vec<NodeId> {
            let round = nodes.iter().cycle().skip((first + partition) % nodes.len().max(1));
            round.take(nodes.len()).copied().collect()
        };
        let replicas = |partition: usize| -> Vec<NodeId> {
            from(&live, partition).into_iter().chain(from(&gone, partition)).take(factor).collect()
        };
        Ok((0..partitions).map(replicas).collect())
    }

    pub(super) fn check_replicas(&self, ids: &[i32]) -> Result<Vec<NodeId>, Refusal> {
        if ids.is_empty() {
            let message = "a partition has at least one replica";
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        let distinct: BTreeSet<i32> = ids.iter().copied().collect();
        if distinct.len() != ids.len() {
            let message = "a broker holds at most one replica of a partition";
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        let unknown = ids.iter().find(|id| !self.image.brokers().contains_key(&NodeId(**id)));
        if let Some(id) = unknown {
            let message = format!("there is no broker {id}");
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        Ok(ids.iter().copied().map(NodeId).collect())
    }

    pub(super) fn delete_topics(
        &self,
        request: &DeleteTopicsRequest,
        version: i16,
        out: &mut Outbox,
    ) -> Decision<DeleteTopicsResponse> {
        // Until version 5 topics are named; from version 6 on named or identified.
        let by_name = request
            .topic_names
            .iter()
            .map(|name| DeleteTopicState { name: Some(name.clone()), ..Default::default() });
        let wanted: Vec<DeleteTopicState> =
            if version < 6 { by_name.collect() } else { request.topics.clone() };
        let mut records = Vec::new();
        let mut times_named: BTreeMap<Uuid, usize> = BTreeMap::new();
        for found in wanted.iter().filter_map(|topic| self.find_doomed(topic).ok()) {
            *times_named.entry(found.id).or_default() += 1;
        }
        out.sometimes_if(times_named.values().any(|times| *times > 1), Mark::ControllerNameRepeated);
        let mut responses = Vec::new();
        for topic in wanted {
            let outcome = self.find_doomed(&topic).and_then(|found| {
                // Nothing is deleted by a request that says it twice: one of the two may be a mistake.
                if times_named[&found.id] == 1 { Ok(found) } else { Err(named_more_than_once()) }
            });
            responses.push(match outcome {
                Ok(found) => {
                    records.push(RemoveTopicRecord { topic_id: found.id, ..Default::default() }.into());
                    DeletableTopicResult {
                        name: Some(found.name.clone()),
                        topic_id: found.id,
                        ..DeletableTopicResult::default()
                    }
                }
                Err(refusal) => DeletableTopicResult {
                    name: topic.name,
                    topic_id: topic.topic_id,
                    error_code: refusal.code.as_i16(),
                    error_message: text(&refusal.message),
                    ..DeletableTopicResult::default()
                },
            });
        }
        Decision { records, response: DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() } }
    }

    fn find_doomed(&self, wanted: &DeleteTopicState) -> Result<&Topic, Refusal> {
        if !self.config.delete_topic_enable {
            let message = "delete.topic.enable is false";
            return Err(Refusal::new(ErrorCode::TopicDeletionDisabled, message));
        }
        match (&wanted.name, wanted.topic_id.is_zero()) {
            (Some(_), false) => {
                Err(Refusal::new(ErrorCode::InvalidRequest, "name the topic or give its id, not both"))
            }
            (Some(name), true) => self.image.topic_by_name(name).ok_or_else(|| {
                Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'"))
            }),
            (None, false) => self.image.topic(wanted.topic_id).ok_or_else(|| {
                Refusal::new(ErrorCode::UnknownTopicId, format!("no topic has the id {}", wanted.topic_id))
            }),
            (None, true) => Err(Refusal::new(ErrorCode::InvalidRequest, "neither name nor id was given")),
        }
    }

    pub(super) fn create_partitions(
        &self,
        request: &CreatePartitionsRequest,
        rng: &mut Rng,
        out: &mut Outbox,
    ) -> Decision<CreatePartitionsResponse> {
        let mut records = Vec::new();
        let mut results = Vec::new();
        let mut budget = PARTITIONS_PER_REQUEST_MAX;
        for (wanted, is_repeated) in each_once(&request.topics, |topic| &topic.name) {
            out.sometimes_if(is_repeated, Mark::ControllerNameRepeated);
            let outcome = if is_repeated {
                Err(named_more_than_once())
            } else {
                self.more_partitions(wanted, &mut budget, rng)
            };
            let mut result = CreatePartitionsTopicResult { name: wanted.name.clone(), ..Default::default() };
            match outcome {
                Ok(mut created) if !request.validate_only => records.append(&mut created),
                Ok(_) => {}
                Err(refusal) => {
                    result.error_code = refusal.code.as_i16();
                    result.error_message = text(&refusal.message);
                }
            }
            results.push(result);
        }
        Decision {
            records,
            response: CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() },
        }
    }

    fn more_partitions(
        &self,
        wanted: &CreatePartitionsTopic,
        budget: &mut usize,
        rng: &mut Rng,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let Some(topic) = self.image.topic_by_name(&wanted.name) else {
            let message = format!("there is no topic '{}'", wanted.name);
            return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
        };
        let present = topic.partitions.len();
        let total = usize::try_from(wanted.count).unwrap_or(0);
        let Some(added) = total.checked_sub(present).filter(|added| *added > 0) else {
            let message =
                format!("the topic has {present} partitions; {} would not be an increase", wanted.count);
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        };
        *budget = budget.checked_sub(added).ok_or_else(|| {
            let message = format!("a request may create at most {PARTITIONS_PER_REQUEST_MAX} partitions");
            Refusal::new(ErrorCode::PolicyViolation, message)
        })?;
        let factor = topic.partitions.values().next().map_or(1, |partition| partition.replicas.len());
        let assignments = match &wanted.assignments {
            None => self.place(added, factor, rng)?,
            Some(assignments) => {
                if assignments.len() != added {
                    let message = format!("{added} partitions are added and {} assigned", assignments.len());
                    return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
                }
                let checked: Result<Vec<_>, _> = assignments
                    .iter()
                    .map(|assignment| self.check_replicas(&assignment.broker_ids))
                    .collect();
                let checked = checked?;
                if checked.iter().any(|replicas| replicas.len() != factor) {
                    let message = format!("the topic's partitions have {factor} replicas each");
                    return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
                }
                checked
            }
        };
        let first = partition_count(present);
        (first..)
            .zip(&assignments)
            .map(|(index, replicas)| Ok(self.new_partition(topic.id, index, replicas)?.into()))
            .collect()
    }
}

/// What a request wants, by name: each name once, in the order of the request, and whether it is named again.
fn each_once<T>(wanted: &[T], name: impl Fn(&T) -> &Str) -> Vec<(&T, bool)> {
    let mut times_named: BTreeMap<&Str, usize> = BTreeMap::new();
    for one in wanted {
        *times_named.entry(name(one)).or_default() += 1;
    }
    // Taking the count away is what makes the second of a name the one that is passed over.
    wanted.iter().filter_map(|one| times_named.remove(name(one)).map(|times| (one, times > 1))).collect()
}

fn named_more_than_once() -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, "the request names the topic more than once")
}

/// A number of partitions, as messages carry it.
fn partition_count(count: usize) -> i32 {
    i32::try_from(count)
        .expect("a topic grows by at most 10,000 partitions at a time, and they are counted in 32 bits")
}

/// A number of replicas, as messages carry it.
fn replica_count(count: usize) -> i16 {
    i16::try_from(count).expect("there are at most as many replicas as a request could name")
}

/// Names that give the same metric name are one name.
fn collision_key(name: &str) -> alloc::string::String {
    name.replace('.', "_")
}

impl MetadataImage {
    /// A topic by id when there is one, by name otherwise: how requests name topics in different versions.
    pub(crate) fn find_topic(&self, id: Uuid, name: &Str) -> Option<&Topic> {
        if id.is_zero() { self.topic_by_name(name) } else { self.topic(id) }
    }
}
