//! What the metadata log says: the cluster as a pure function of its records.
//!
//! [`MetadataImage::apply`] is the only way it changes, live and on load. A node holds two: the controller's, at the end
//! of the log, on which it decides; and the broker's, at the high watermark, which clients see.

use crate::config::Overrides;
use crate::ids::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, TopicIdPartition};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use sordini_protocol::records::MetadataRecord;
use sordini_protocol::records::register_broker_record::BrokerEndpoint;
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetadataImage {
    topics: BTreeMap<Uuid, Topic>,
    topic_ids: BTreeMap<Str, Uuid>,
    brokers: BTreeMap<NodeId, Broker>,
    /// Never holds an empty map.
    configs: BTreeMap<(ConfigResource, Str), Overrides>,
    features: BTreeMap<Str, i16>,
    /// First producer id of the next block.
    next_producer_id: i64,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// What a record changed, for those who act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A partition was created or its state changed.
    Partition(TopicIdPartition),
    /// A topic is gone; these were its partitions.
    TopicRemoved { topic: Topic },
    /// A configuration changed.
    Config { resource: ConfigResource, name: Str },
    /// A broker's registration changed.
    Broker(NodeId),
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

    /// First producer id that no block holds.
    pub(crate) const fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Applies a record. Answers what it changed; records about things that this version has no use for change nothing.
    pub(crate) fn apply(&mut self, record: &MetadataRecord) -> Option<Change> {
        match record {
            MetadataRecord::Topic(record) => {
                let topic =
                    Topic { name: record.name.detached(), id: record.topic_id, partitions: BTreeMap::new() };
                self.topic_ids.insert(topic.name.clone(), topic.id);
                self.topics.insert(topic.id, topic);
                None
            }
            MetadataRecord::Partition(record) => {
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
                    eligible_leader_replicas: nodes(
                        record.eligible_leader_replicas.as_deref().unwrap_or(&[]),
                    ),
                    last_known_elr: nodes(record.last_known_elr.as_deref().unwrap_or(&[])),
                };
                let topic = self.topics.get_mut(&record.topic_id)?;
                topic.partitions.insert(record.partition_id, state);
                Some(Change::Partition(TopicIdPartition {
                    topic: record.topic_id,
                    partition: record.partition_id,
                }))
            }
            MetadataRecord::PartitionChange(record) => {
                let id = TopicIdPartition { topic: record.topic_id, partition: record.partition_id };
                let state = self.topics.get_mut(&id.topic)?.partitions.get_mut(&id.partition)?;
                let replace = |list: &mut Vec<NodeId>, with: &Option<Vec<i32>>| {
                    if let Some(with) = with {
                        *list = nodes(with);
                    }
                };
                replace(&mut state.isr, &record.isr);
                replace(&mut state.replicas, &record.replicas);
                replace(&mut state.removing_replicas, &record.removing_replicas);
                replace(&mut state.adding_replicas, &record.adding_replicas);
                replace(&mut state.eligible_leader_replicas, &record.eligible_leader_replicas);
                replace(&mut state.last_known_elr, &record.last_known_elr);
                if let Some(directories) = &record.directories {
                    state.directories.clone_from(directories);
                }
                if record.leader_recovery_state >= 0 {
                    state.leader_recovery_state = record.leader_recovery_state;
                }
                if record.leader != LEADER_UNCHANGED {
                    state.leader = leader(record.leader);
                    state.leader_epoch = LeaderEpoch(state.leader_epoch.0 + 1);
                }
                state.partition_epoch = PartitionEpoch(state.partition_epoch.0 + 1);
                Some(Change::Partition(id))
            }
            MetadataRecord::RemoveTopic(record) => {
                let topic = self.topics.remove(&record.topic_id)?;
                self.topic_ids.remove(&topic.name);
                self.configs.remove(&(ConfigResource::Topic, topic.name.clone()));
                Some(Change::TopicRemoved { topic })
            }
            MetadataRecord::Config(record) => {
                let resource = ConfigResource::from_code(record.resource_type)?;
                let at = (resource, record.resource_name.detached());
                match &record.value {
                    Some(value) => {
                        self.configs
                            .entry(at.clone())
                            .or_default()
                            .insert(record.name.detached(), value.detached());
                    }
                    None => {
                        let values = self.configs.get_mut(&at)?;
                        values.remove(&record.name);
                        if values.is_empty() {
                            self.configs.remove(&at);
                        }
                    }
                }
                Some(Change::Config { resource, name: at.1 })
            }
            MetadataRecord::RegisterBroker(record) => {
                let id = NodeId(record.broker_id);
                let broker = Broker {
                    epoch: BrokerEpoch(record.broker_epoch),
                    incarnation: record.incarnation_id,
                    endpoints: record.end_points.clone(),
                    rack: record.rack.as_ref().map(Str::detached),
                    fenced: record.fenced,
                    in_controlled_shutdown: record.in_controlled_shutdown,
                    log_dirs: record.log_dirs.clone(),
                };
                self.brokers.insert(id, broker);
                Some(Change::Broker(id))
            }
            MetadataRecord::BrokerRegistrationChange(record) => {
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
                Some(Change::Broker(NodeId(record.broker_id)))
            }
            MetadataRecord::FenceBroker(record) => self.set_fenced(NodeId(record.id), true),
            MetadataRecord::UnfenceBroker(record) => self.set_fenced(NodeId(record.id), false),
            MetadataRecord::UnregisterBroker(record) => {
                let id = NodeId(record.broker_id);
                self.brokers.remove(&id).map(|_| Change::Broker(id))
            }
            MetadataRecord::FeatureLevel(record) => {
                if record.feature_level == 0 {
                    self.features.remove(&record.name);
                } else {
                    self.features.insert(record.name.detached(), record.feature_level);
                }
                None
            }
            MetadataRecord::ProducerIds(record) => {
                self.next_producer_id = record.next_producer_id;
                None
            }
            // Records of features that this broker does not serve. They stay in the log, where a broker that knows them
            // finds them.
            MetadataRecord::DelegationToken(_)
            | MetadataRecord::UserScramCredential(_)
            | MetadataRecord::ClientQuota(_)
            | MetadataRecord::AccessControlEntry(_)
            | MetadataRecord::RemoveAccessControlEntry(_)
            | MetadataRecord::NoOp(_)
            | MetadataRecord::ZkMigrationState(_)
            | MetadataRecord::RemoveUserScramCredential(_)
            | MetadataRecord::BeginTransaction(_)
            | MetadataRecord::EndTransaction(_)
            | MetadataRecord::AbortTransaction(_)
            | MetadataRecord::RemoveDelegationToken(_)
            | MetadataRecord::RegisterController(_)
            | MetadataRecord::ClearElr(_) => None,
        }
    }

    fn set_fenced(&mut self, id: NodeId, fenced: bool) -> Option<Change> {
        self.brokers.get_mut(&id)?.fenced = fenced;
        Some(Change::Broker(id))
    }
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

const fn leader(id: i32) -> Option<NodeId> {
    if id == NO_LEADER { None } else { Some(NodeId(id)) }
}
