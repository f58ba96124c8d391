//! What the metadata log says: the cluster as a pure function of its records.
//!
//! [`MetadataImage::apply`] is the only way it changes, live and on load. A node holds two: the controller's, at the end
//! of the log, on which it decides; and the broker's, at the high watermark, which clients see.

use super::acls::Acl;
use super::client_quotas::{QuotaEntity, QuotaValue};
use super::cluster::KRAFT_VERSION;
use super::scram::{ScramCredential, ScramUser};
use crate::config::Overrides;
use crate::features::DIRECTORIES_FROM;
use crate::ids::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, TopicIdPartition};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use sordini_protocol::records::register_broker_record::BrokerEndpoint;
use sordini_protocol::records::register_controller_record::ControllerEndpoint;
use sordini_protocol::records::{
    BrokerRegistrationChangeRecord, ClientQuotaRecord, ConfigRecord, MetadataRecord, PartitionChangeRecord,
    PartitionRecord, RegisterBrokerRecord,
};
use sordini_protocol::wire::{Str, Uuid};

/// Leader of a partition that has none.
pub(crate) const NO_LEADER: i32 = -1;

/// In a `PartitionChangeRecord`: the leader stays.
pub(crate) const LEADER_UNCHANGED: i32 = -2;

/// Kinds of resource that have a configuration, by their number in records and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ConfigResource {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl ConfigResource {
    pub(crate) const fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            8 => Some(Self::BrokerLogger),
            16 => Some(Self::ClientMetrics),
            32 => Some(Self::Group),
            _ => None,
        }
    }

    pub(crate) const fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }
}

/// The cluster as of one offset of the metadata log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MetadataImage {
    topics: BTreeMap<Uuid, Topic>,
    topic_ids: BTreeMap<Str, Uuid>,
    brokers: BTreeMap<NodeId, Broker>,
    /// Never holds an empty map.
    configs: BTreeMap<(ConfigResource, Str), Overrides>,
    controllers: BTreeMap<NodeId, ControllerRegistration>,
    features: BTreeMap<Str, i16>,
    /// Never holds an empty map.
    client_quotas: BTreeMap<QuotaEntity, BTreeMap<Str, QuotaValue>>,
    scram_credentials: BTreeMap<ScramUser, ScramCredential>,
    acls: BTreeMap<Uuid, Acl>,
    /// By their ids.
    delegation_tokens: BTreeMap<Str, DelegationToken>,
    /// First producer id of the next block.
    next_producer_id: i64,
    /// What a metadata transaction that has begun and not ended holds so far (KIP-868). None of it is applied yet.
    transaction: Option<Vec<MetadataRecord>>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: Str,
    pub(crate) id: Uuid,
    /// By index, from 0 without a gap.
    pub(crate) partitions: BTreeMap<i32, PartitionState>,
}

/// What the controller has decided about a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionState {
    /// In order of preference as leader.
    pub(crate) replicas: Vec<NodeId>,
    pub(crate) isr: Vec<NodeId>,
    pub(crate) removing_replicas: Vec<NodeId>,
    pub(crate) adding_replicas: Vec<NodeId>,
    pub(crate) leader: Option<NodeId>,
    pub(crate) leader_recovery_state: i8,
    /// Raised with every change of leader.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Raised with every change.
    pub(crate) partition_epoch: PartitionEpoch,
    /// Log directory of each replica, in the order of `replicas`.
    pub(crate) directories: Vec<Uuid>,
    pub(crate) eligible_leader_replicas: Vec<NodeId>,
    pub(crate) last_known_elr: Vec<NodeId>,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) epoch: BrokerEpoch,
    pub(crate) incarnation: Uuid,
    pub(crate) endpoints: Vec<BrokerEndpoint>,
    pub(crate) rack: Option<Str>,
    pub(crate) fenced: bool,
    pub(crate) in_controlled_shutdown: bool,
    pub(crate) log_dirs: Vec<Uuid>,
    /// Those of `log_dirs` that take no new partition (KIP-1066).
    pub(crate) cordoned_log_dirs: Vec<Uuid>,
    /// The levels that it can live with, by feature.
    pub(crate) features: BTreeMap<Str, SupportedLevels>,
}

impl Broker {
    /// What a broker is by its registration.
    pub(super) fn registered(record: &RegisterBrokerRecord) -> Self {
        let features = record.features.iter().map(|feature| {
            supported(&feature.name, feature.min_supported_version, feature.max_supported_version)
        });
        Self {
            epoch: BrokerEpoch(record.broker_epoch),
            incarnation: record.incarnation_id,
            endpoints: record.end_points.iter().map(detached).collect(),
            rack: record.rack.as_ref().map(Str::detached),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
            cordoned_log_dirs: record.cordoned_log_dirs.clone().unwrap_or_default(),
            features: features.collect(),
        }
    }

    /// Whether the broker may lead and be in sync: it is there, and not about to go (KIP-841).
    pub(crate) const fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether the broker has a log directory for new replicas, as far as is known.
    pub(crate) fn takes_replicas(&self) -> bool {
        self.log_dirs.is_empty() || self.log_dirs.iter().any(|dir| !self.cordoned_log_dirs.contains(dir))
    }
}

/// A registered controller (KIP-919).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControllerRegistration {
    pub(crate) incarnation: Uuid,
    pub(crate) endpoints: Vec<ControllerEndpoint>,
    /// The levels that it can live with, by feature.
    pub(crate) features: BTreeMap<Str, SupportedLevels>,
}

/// The levels of a feature that a node can live with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SupportedLevels {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

/// A delegation token (KIP-48). Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DelegationToken {
    /// Principals, as `type:name`.
    pub(crate) owner: Str,
    pub(crate) requester: Str,
    pub(crate) renewers: Vec<Str>,
    pub(crate) issued_ms: i64,
    pub(crate) expires_ms: i64,
    /// The time beyond which it cannot be renewed.
    pub(crate) max_ms: i64,
}

/// What a record changed, for those who act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A partition was created or its state changed.
    Partition(TopicIdPartition),
    /// A topic is gone; these were its partitions.
    TopicRemoved { topic: Topic },
    /// What is set for a key changed.
    Config { resource: ConfigResource, name: Str, key: Str },
    /// A broker's registration changed.
    Broker(NodeId),
    /// A feature has another level.
    Features,
}

impl PartitionState {
    /// Takes a change of the partition.
    pub(super) fn change(&mut self, record: &PartitionChangeRecord) {
        let replace = |list: &mut Vec<NodeId>, with: &Option<Vec<i32>>| {
            if let Some(with) = with {
                *list = nodes(with);
            }
        };
        replace(&mut self.isr, &record.isr);
        replace(&mut self.replicas, &record.replicas);
        replace(&mut self.removing_replicas, &record.removing_replicas);
        replace(&mut self.adding_replicas, &record.adding_replicas);
        replace(&mut self.eligible_leader_replicas, &record.eligible_leader_replicas);
        replace(&mut self.last_known_elr, &record.last_known_elr);
        if let Some(directories) = &record.directories {
            self.directories.clone_from(directories);
        }
        if record.leader_recovery_state >= 0 {
            self.leader_recovery_state = record.leader_recovery_state;
        }
        // Whoever takes a replica away names the leader for this reason alone, be it the same one.
        if record.leader != LEADER_UNCHANGED {
            self.leader = leader(record.leader);
            self.leader_epoch = LeaderEpoch(self.leader_epoch.0 + 1);
        }
        self.partition_epoch = PartitionEpoch(self.partition_epoch.0 + 1);
    }
}

impl MetadataImage {
    /// The topic of this id.
    pub(crate) fn topic(&self, id: Uuid) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// The topic of this name.
    pub(crate) fn topic_by_name(&self, name: &str) -> Option<&Topic> {
        self.topics.get(self.topic_ids.get(name)?)
    }

    /// Every topic, by name.
    pub(crate) fn topics_by_name(&self) -> impl Iterator<Item = &Topic> {
        self.topic_ids.values().map(|id| &self.topics[id])
    }

    /// Every topic whose name is not below `first`, by name.
    pub(crate) fn topics_from(&self, first: &str) -> impl Iterator<Item = &Topic> {
        use core::ops::Bound;
        self.topic_ids
            .range::<str, _>((Bound::Included(first), Bound::Unbounded))
            .map(|(_, id)| &self.topics[id])
    }

    /// Every partition, by the name of its topic.
    pub(crate) fn partition_ids(&self) -> impl Iterator<Item = TopicIdPartition> {
        self.topics_by_name().flat_map(|topic| {
            topic.partitions.keys().map(|index| TopicIdPartition { topic: topic.id, partition: *index })
        })
    }

    /// A partition's state.
    pub(crate) fn partition(&self, id: TopicIdPartition) -> Option<&PartitionState> {
        self.topics.get(&id.topic)?.partitions.get(&id.partition)
    }

    /// Every registered broker, by id.
    pub(crate) const fn brokers(&self) -> &BTreeMap<NodeId, Broker> {
        &self.brokers
    }

    /// Brokers that may lead, by id.
    pub(crate) fn live_brokers(&self) -> impl Iterator<Item = (NodeId, &Broker)> {
        self.brokers.iter().filter(|(_, broker)| !broker.fenced).map(|(id, broker)| (*id, broker))
    }

    /// What was set for a resource; `None` when nothing is.
    pub(crate) fn config(&self, resource: ConfigResource, name: &str) -> Option<&Overrides> {
        self.configs.get(&(resource, Str::from(name)))
    }

    /// Finalized feature levels.
    pub(crate) const fn features(&self) -> &BTreeMap<Str, i16> {
        &self.features
    }

    /// The level of a feature, 0 where the log says none.
    pub(crate) fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The level of metadata.version, 0 before the log says one.
    pub(crate) fn metadata_version(&self) -> i16 {
        self.feature_level(super::cluster::METADATA_VERSION.0)
    }

    /// Whether the metadata says in which directories replicas lie.
    pub(crate) fn has_directories(&self) -> bool {
        self.metadata_version() >= DIRECTORIES_FROM
    }

    /// First producer id that no block holds.
    pub(crate) const fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Every registered controller, by id.
    pub(crate) const fn controllers(&self) -> &BTreeMap<NodeId, ControllerRegistration> {
        &self.controllers
    }

    /// Everything that was configured.
    pub(crate) const fn configs(&self) -> &BTreeMap<(ConfigResource, Str), Overrides> {
        &self.configs
    }

    /// What is set for each entity.
    pub(crate) const fn client_quotas(&self) -> &BTreeMap<QuotaEntity, BTreeMap<Str, QuotaValue>> {
        &self.client_quotas
    }

    /// What the users of SASL/SCRAM prove themselves by.
    pub(crate) const fn scram_credentials(&self) -> &BTreeMap<ScramUser, ScramCredential> {
        &self.scram_credentials
    }

    /// Access control entries, by id.
    pub(crate) const fn acls(&self) -> &BTreeMap<Uuid, Acl> {
        &self.acls
    }

    /// Delegation tokens, by id.
    pub(crate) const fn delegation_tokens(&self) -> &BTreeMap<Str, DelegationToken> {
        &self.delegation_tokens
    }

    /// Whether a metadata transaction has begun and not ended.
    pub(crate) const fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// What differs in a newer image, for who was not told of the records in between.
    pub(crate) fn changes_to(&self, newer: &Self) -> Vec<Change> {
        let removed = self.topics.values().filter(|topic| !newer.topics.contains_key(&topic.id));
        let mut changes: Vec<Change> =
            removed.map(|topic| Change::TopicRemoved { topic: topic.clone() }).collect();
        for (id, topic) in &newer.topics {
            let before = self.topics.get(id);
            let is_same = |index: &i32, state: &PartitionState| {
                before.and_then(|topic| topic.partitions.get(index)) == Some(state)
            };
            let changed = topic.partitions.iter().filter(|(index, state)| !is_same(index, state));
            let partition = |(index, _): (&i32, _)| TopicIdPartition { topic: *id, partition: *index };
            changes.extend(changed.map(|it| Change::Partition(partition(it))));
        }
        let none = Overrides::new();
        let configured: BTreeSet<_> = self.configs.keys().chain(newer.configs.keys()).collect();
        for resource in configured {
            let before = self.configs.get(resource).unwrap_or(&none);
            let after = newer.configs.get(resource).unwrap_or(&none);
            let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for key in keys.into_iter().filter(|key| before.get(*key) != after.get(*key)) {
                let (resource, name) = resource.clone();
                changes.push(Change::Config { resource, name, key: key.clone() });
            }
        }
        let brokers: BTreeSet<_> = self.brokers.keys().chain(newer.brokers.keys()).collect();
        for id in brokers {
            if self.brokers.get(id) != newer.brokers.get(id) {
                changes.push(Change::Broker(*id));
            }
        }
        if self.features != newer.features {
            changes.push(Change::Features);
        }
        changes
    }

    /// Applies a record. Answers what it changed, in order; records about things that this version has no use for change
    /// nothing. Inside a metadata transaction records take effect at its end, all together, or never.
    pub(crate) fn apply(&mut self, record: &MetadataRecord) -> Vec<Change> {
        let mut changes = Vec::new();
        match record {
            // A transaction whose controller is gone may be left open; the next one is none of its own.
            MetadataRecord::BeginTransaction(_) => self.transaction = Some(Vec::new()),
            MetadataRecord::AbortTransaction(_) => self.transaction = None,
            MetadataRecord::EndTransaction(_) => {
                for record in self.transaction.take().unwrap_or_default() {
                    self.take_effect(&record, &mut changes);
                }
            }
            MetadataRecord::RegisterBroker(_)
            | MetadataRecord::UnregisterBroker(_)
            | MetadataRecord::Topic(_)
            | MetadataRecord::Partition(_)
            | MetadataRecord::Config(_)
            | MetadataRecord::PartitionChange(_)
            | MetadataRecord::FenceBroker(_)
            | MetadataRecord::UnfenceBroker(_)
            | MetadataRecord::RemoveTopic(_)
            | MetadataRecord::DelegationToken(_)
            | MetadataRecord::UserScramCredential(_)
            | MetadataRecord::FeatureLevel(_)
            | MetadataRecord::ClientQuota(_)
            | MetadataRecord::ProducerIds(_)
            | MetadataRecord::BrokerRegistrationChange(_)
            | MetadataRecord::AccessControlEntry(_)
            | MetadataRecord::RemoveAccessControlEntry(_)
            | MetadataRecord::NoOp(_)
            | MetadataRecord::ZkMigrationState(_)
            | MetadataRecord::RemoveUserScramCredential(_)
            | MetadataRecord::RemoveDelegationToken(_)
            | MetadataRecord::RegisterController(_)
            | MetadataRecord::ClearElr(_) => match &mut self.transaction {
                Some(records) => records.push(record.clone()),
                None => self.take_effect(record, &mut changes),
            },
        }
        changes
    }

    fn take_effect(&mut self, record: &MetadataRecord, changes: &mut Vec<Change>) {
        match record {
            MetadataRecord::Topic(record) => {
                let topic =
                    Topic { name: record.name.detached(), id: record.topic_id, partitions: BTreeMap::new() };
                self.topic_ids.insert(topic.name.clone(), topic.id);
                self.topics.insert(topic.id, topic);
            }
            MetadataRecord::Partition(record) => changes.extend(self.set_partition(record)),
            MetadataRecord::PartitionChange(record) => changes.extend(self.change_partition(record)),
            MetadataRecord::ClearElr(record) => self.clear_elr(&record.topic_name, changes),
            MetadataRecord::RemoveTopic(record) => {
                if let Some(topic) = self.topics.remove(&record.topic_id) {
                    self.topic_ids.remove(&topic.name);
                    self.configs.remove(&(ConfigResource::Topic, topic.name.clone()));
                    changes.push(Change::TopicRemoved { topic });
                }
            }
            MetadataRecord::Config(record) => changes.extend(self.set_config(record)),
            MetadataRecord::RegisterBroker(record) => {
                let id = NodeId(record.broker_id);
                self.brokers.insert(id, Broker::registered(record));
                changes.push(Change::Broker(id));
            }
            MetadataRecord::BrokerRegistrationChange(record) => {
                changes.extend(self.change_registration(record))
            }
            MetadataRecord::FenceBroker(record) => changes.extend(self.set_fenced(NodeId(record.id), true)),
            MetadataRecord::UnfenceBroker(record) => {
                changes.extend(self.set_fenced(NodeId(record.id), false))
            }
            MetadataRecord::UnregisterBroker(record) => {
                let id = NodeId(record.broker_id);
                changes.extend(self.brokers.remove(&id).map(|_| Change::Broker(id)));
            }
            MetadataRecord::RegisterController(record) => {
                let features = record.features.iter().map(|feature| {
                    supported(&feature.name, feature.min_supported_version, feature.max_supported_version)
                });
                let registration = ControllerRegistration {
                    incarnation: record.incarnation_id,
                    endpoints: record.end_points.clone(),
                    features: features.collect(),
                };
                self.controllers.insert(NodeId(record.controller_id), registration);
            }
            // Earlier releases of Kafka wrote it here as well as where it stands: beside the voters (KAFKA-18979).
            MetadataRecord::FeatureLevel(record) if *record.name == *KRAFT_VERSION.0 => {}
            MetadataRecord::FeatureLevel(record) => {
                if record.feature_level == 0 {
                    self.features.remove(&record.name);
                } else {
                    self.features.insert(record.name.detached(), record.feature_level);
                }
                changes.push(Change::Features);
            }
            MetadataRecord::ProducerIds(record) => self.next_producer_id = record.next_producer_id,
            MetadataRecord::ClientQuota(record) => self.set_quota(record),
            MetadataRecord::UserScramCredential(record) => {
                let user = ScramUser { name: record.name.detached(), mechanism: record.mechanism };
                self.scram_credentials.insert(user, ScramCredential::of_record(record));
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                let user = ScramUser { name: record.name.clone(), mechanism: record.mechanism };
                self.scram_credentials.remove(&user);
            }
            MetadataRecord::AccessControlEntry(record) => {
                self.acls.insert(record.id, Acl::of_record(record));
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                self.acls.remove(&record.id);
            }
            MetadataRecord::DelegationToken(record) => {
                let token = DelegationToken {
                    owner: record.owner.detached(),
                    requester: record.requester.detached(),
                    renewers: record.renewers.iter().map(Str::detached).collect(),
                    issued_ms: record.issue_timestamp,
                    expires_ms: record.expiration_timestamp,
                    max_ms: record.max_timestamp,
                };
                self.delegation_tokens.insert(record.token_id.detached(), token);
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                self.delegation_tokens.remove(&record.token_id);
            }
            // There is no ZooKeeper to migrate from, and the rest says nothing about the cluster.
            MetadataRecord::ZkMigrationState(_)
            | MetadataRecord::NoOp(_)
            | MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_) => {}
        }
    }

    fn set_partition(&mut self, record: &PartitionRecord) -> Option<Change> {
        let state = PartitionState {
            replicas: nodes(&record.replicas),
            isr: nodes(&record.isr),
            removing_replicas: nodes(&record.removing_replicas),
            adding_replicas: nodes(&record.adding_replicas),
            leader: leader(record.leader),
            leader_recovery_state: record.leader_recovery_state,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: PartitionEpoch(record.partition_epoch),
            directories: record.directories.clone(),
            eligible_leader_replicas: nodes(record.eligible_leader_replicas.as_deref().unwrap_or(&[])),
            last_known_elr: nodes(record.last_known_elr.as_deref().unwrap_or(&[])),
        };
        let topic = self.topics.get_mut(&record.topic_id)?;
        topic.partitions.insert(record.partition_id, state);
        Some(Change::Partition(TopicIdPartition { topic: record.topic_id, partition: record.partition_id }))
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord) -> Option<Change> {
        let id = TopicIdPartition { topic: record.topic_id, partition: record.partition_id };
        let state = self.topics.get_mut(&id.topic)?.partitions.get_mut(&id.partition)?;
        state.change(record);
        Some(Change::Partition(id))
    }

    /// Forgets who may lead without being in sync, of one topic or, without a name, of all of them (KIP-966).
    fn clear_elr(&mut self, name: &Str, changes: &mut Vec<Change>) {
        let only = if name.is_empty() { None } else { Some(self.topic_ids.get(name)) };
        for topic in self.topics.values_mut() {
            if only.is_some_and(|only| only != Some(&topic.id)) {
                continue;
            }
            for (index, state) in &mut topic.partitions {
                if state.eligible_leader_replicas.is_empty() && state.last_known_elr.is_empty() {
                    continue;
                }
                state.eligible_leader_replicas.clear();
                state.last_known_elr.clear();
                state.partition_epoch = PartitionEpoch(state.partition_epoch.0 + 1);
                changes.push(Change::Partition(TopicIdPartition { topic: topic.id, partition: *index }));
            }
        }
    }

    fn set_config(&mut self, record: &ConfigRecord) -> Option<Change> {
        let resource = ConfigResource::from_code(record.resource_type)?;
        let at = (resource, record.resource_name.detached());
        match &record.value {
            Some(value) => {
                let values = self.configs.entry(at.clone()).or_default();
                values.insert(record.name.detached(), value.detached());
            }
            None => {
                let values = self.configs.get_mut(&at)?;
                values.remove(&record.name);
                if values.is_empty() {
                    self.configs.remove(&at);
                }
            }
        }
        Some(Change::Config { resource, name: at.1, key: record.name.detached() })
    }

    fn change_registration(&mut self, record: &BrokerRegistrationChangeRecord) -> Option<Change> {
        let broker = self.brokers.get_mut(&NodeId(record.broker_id))?;
        match record.fenced {
            -1 => broker.fenced = false,
            1 => broker.fenced = true,
            _ => {}
        }
        broker.in_controlled_shutdown |= record.in_controlled_shutdown == 1;
        if !record.log_dirs.is_empty() {
            broker.log_dirs.clone_from(&record.log_dirs);
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned_log_dirs.clone_from(cordoned);
        }
        Some(Change::Broker(NodeId(record.broker_id)))
    }

    fn set_fenced(&mut self, id: NodeId, fenced: bool) -> Option<Change> {
        self.brokers.get_mut(&id)?.fenced = fenced;
        Some(Change::Broker(id))
    }

    fn set_quota(&mut self, record: &ClientQuotaRecord) {
        let part = |part: &sordini_protocol::records::client_quota_record::EntityData| {
            (part.entity_type.detached(), part.entity_name.as_ref().map(Str::detached))
        };
        let entity: QuotaEntity = record.entity.iter().map(part).collect();
        if !record.remove {
            let values = self.client_quotas.entry(entity).or_default();
            values.insert(record.key.detached(), QuotaValue(record.value));
        } else if let Some(values) = self.client_quotas.get_mut(&entity) {
            values.remove(&record.key);
            if values.is_empty() {
                self.client_quotas.remove(&entity);
            }
        }
    }
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// An endpoint that keeps nothing else of the request which named it in memory.
fn detached(endpoint: &BrokerEndpoint) -> BrokerEndpoint {
    BrokerEndpoint { name: endpoint.name.detached(), host: endpoint.host.detached(), ..endpoint.clone() }
}

fn supported(feature: &Str, min: i16, max: i16) -> (Str, SupportedLevels) {
    (feature.detached(), SupportedLevels { min, max })
}

const fn leader(id: i32) -> Option<NodeId> {
    if id == NO_LEADER { None } else { Some(NodeId(id)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use sordini_protocol::records::{
        AbortTransactionRecord, BeginTransactionRecord, ClearElrRecord, EndTransactionRecord,
        FeatureLevelRecord, TopicRecord,
    };

    const TOPIC: Uuid = Uuid([7; 16]);

    fn image(records: impl IntoIterator<Item = MetadataRecord>) -> MetadataImage {
        let mut image = MetadataImage::default();
        for record in records {
            image.apply(&record);
        }
        image
    }

    fn topic() -> MetadataRecord {
        TopicRecord { name: Str::from_static("orders"), topic_id: TOPIC, ..TopicRecord::default() }.into()
    }

    fn partition() -> PartitionRecord {
        PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC,
            replicas: vec![1, 2, 3],
            isr: vec![1, 2],
            leader: 1,
            leader_epoch: 4,
            partition_epoch: 9,
            ..PartitionRecord::default()
        }
    }

    fn change() -> PartitionChangeRecord {
        PartitionChangeRecord { partition_id: 0, topic_id: TOPIC, ..PartitionChangeRecord::default() }
    }

    const ID: TopicIdPartition = TopicIdPartition { topic: TOPIC, partition: 0 };

    #[test]
    fn a_change_of_leader_raises_both_epochs_and_any_other_change_that_of_the_partition() {
        let table = [
            (PartitionChangeRecord { isr: Some(vec![1]), ..change() }, Some(NodeId(1)), 4),
            (PartitionChangeRecord { leader: 2, ..change() }, Some(NodeId(2)), 5),
            (PartitionChangeRecord { leader: 1, ..change() }, Some(NodeId(1)), 5),
            (PartitionChangeRecord { leader: -1, ..change() }, None, 5),
        ];
        for (record, leader, leader_epoch) in table {
            let mut image = image([topic(), partition().into()]);
            assert_eq!(image.apply(&record.into()), [Change::Partition(ID)]);
            let state = image.partition(ID).expect("it is there");
            assert_eq!(
                (state.leader, state.leader_epoch.0, state.partition_epoch.0),
                (leader, leader_epoch, 10)
            );
        }
    }

    #[test]
    fn a_transaction_takes_effect_at_its_end_or_not_at_all() {
        let begin = || BeginTransactionRecord::default().into();
        let mut open = image([begin(), topic(), partition().into()]);
        assert!(open.is_in_transaction() && open.topic(TOPIC).is_none());

        let mut aborted = open.clone();
        assert_eq!(aborted.apply(&AbortTransactionRecord::default().into()), []);
        assert_eq!(aborted, MetadataImage::default());

        let changes = open.apply(&EndTransactionRecord::default().into());
        assert_eq!(changes, [Change::Partition(ID)]);
        assert_eq!(open, image([topic(), partition().into()]));

        let begun_anew = image([begin(), topic(), begin(), EndTransactionRecord::default().into()]);
        assert_eq!(begun_anew, MetadataImage::default(), "what was left open is not applied");
    }

    #[test]
    fn clear_elr_is_for_one_topic_or_for_all() {
        let with_elr = PartitionRecord {
            eligible_leader_replicas: Some(vec![3]),
            last_known_elr: Some(vec![2]),
            ..partition()
        };
        for (name, is_cleared) in [("orders", true), ("", true), ("bills", false)] {
            let mut image = image([topic(), with_elr.clone().into()]);
            let record = ClearElrRecord { topic_name: Str::from(name), ..ClearElrRecord::default() };
            let changes = image.apply(&record.clone().into());
            assert_eq!(changes.len(), usize::from(is_cleared), "{name}");
            let state = image.partition(ID).expect("it is there");
            assert_eq!(state.eligible_leader_replicas.is_empty(), is_cleared);
            assert_eq!(state.last_known_elr.is_empty(), is_cleared);
            assert_eq!(state.partition_epoch.0, if is_cleared { 10 } else { 9 });
            assert_eq!(image.apply(&record.into()), [], "{name}: there is nothing left to clear");
        }
    }

    #[test]
    fn a_level_of_kraft_version_stands_beside_the_voters_and_not_here() {
        let level = |name, feature_level| {
            let name = Str::from_static(name);
            MetadataRecord::from(FeatureLevelRecord { name, feature_level, ..Default::default() })
        };
        let image = image([level("kraft.version", 1), level("group.version", 1)]);
        assert_eq!(image.features().keys().map(|name| &**name).collect::<Vec<_>>(), ["group.version"]);
    }

    #[test]
    fn a_registration_change_says_only_what_changes() {
        let registered = RegisterBrokerRecord {
            broker_id: 1,
            fenced: true,
            log_dirs: vec![Uuid([1; 16]), Uuid([2; 16])],
            cordoned_log_dirs: Some(vec![Uuid([1; 16])]),
            ..RegisterBrokerRecord::default()
        };
        let change = || BrokerRegistrationChangeRecord { broker_id: 1, ..Default::default() };
        let after = |record: BrokerRegistrationChangeRecord| {
            let image = image([registered.clone().into(), record.into()]);
            image.brokers()[&NodeId(1)].clone()
        };
        let before = after(change());
        assert!(before.fenced && !before.in_controlled_shutdown);
        assert_eq!((before.log_dirs.len(), before.cordoned_log_dirs.len()), (2, 1));

        let unfenced = after(BrokerRegistrationChangeRecord { fenced: -1, ..change() });
        assert_eq!(unfenced, Broker { fenced: false, ..before.clone() });
        let leaving = after(BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..change() });
        assert_eq!(leaving, Broker { in_controlled_shutdown: true, ..before.clone() });
        let log_dirs = vec![Uuid([2; 16])];
        let one_dir = after(BrokerRegistrationChangeRecord { log_dirs: log_dirs.clone(), ..change() });
        assert_eq!(one_dir, Broker { log_dirs, ..before.clone() });
        let record = BrokerRegistrationChangeRecord { cordoned_log_dirs: Some(vec![]), ..change() };
        assert_eq!(after(record), Broker { cordoned_log_dirs: vec![], ..before });
    }
}
