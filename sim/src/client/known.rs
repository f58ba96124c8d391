//! What a broker in name only knows of the cluster, as one that follows the metadata log does, and what it asks for by that:
//! moves of partitions, leaders, in-sync replicas.

use crate::history::{Entry, Operation};
use crate::plan::{BrokerDeed, StaleEpoch, WantedIsr};
use sordini_core::node::{Node, PartitionStateView};
use sordini_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use sordini_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use sordini_protocol::messages::elect_leaders_request::TopicPartitions;
use sordini_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, UnregisterBrokerRequest,
};
use sordini_protocol::request::AnyRequest;
use sordini_protocol::wire::{Str, Uuid};

const ALTER_PARTITION_VERSION: i16 = 3;
const ALTER_PARTITION_REASSIGNMENTS_VERSION: i16 = 1;
const LIST_PARTITION_REASSIGNMENTS_VERSION: i16 = 0;
const ELECT_LEADERS_VERSION: i16 = 2;
const UNREGISTER_BROKER_VERSION: i16 = 0;
/// How long a controller may take.
const TIMEOUT_MS: i32 = 5_000;

/// The cluster, by a node that has followed the metadata log so far.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// By their numbers.
    brokers: Vec<KnownBroker>,
    /// By topic and index.
    partitions: Vec<KnownPartition>,
}

#[derive(Clone, Copy, Debug)]
struct KnownBroker {
    id: i32,
    epoch: i64,
    /// Whether it may be in sync.
    is_active: bool,
}

#[derive(Clone, Debug)]
struct KnownPartition {
    topic: Str,
    topic_id: Uuid,
    index: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    is_moved: bool,
    leader: Option<i32>,
    leader_epoch: i32,
    partition_epoch: i32,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) broker_id: i32,
    pub(super) epoch: Option<i64>,
    /// The newest of its topics.
    pub(super) topic: Option<&'a Str>,
}

/// What is asked for, and what the history says of it.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) entry: Entry,
    pub(super) version: i16,
    pub(super) request: AnyRequest,
}

impl Known {
    /// What a node knows.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let ids = |nodes: &[sordini_core::ids::NodeId]| nodes.iter().map(|id| id.0).collect();
        let partition = |view: PartitionStateView<'_>| KnownPartition {
            topic: Str::from(view.topic),
            topic_id: view.id.topic,
            index: view.id.partition,
            replicas: ids(view.replicas),
            isr: ids(view.isr),
            is_moved: !view.adding_replicas.is_empty() || !view.removing_replicas.is_empty(),
            leader: view.leader.map(|id| id.0),
            leader_epoch: view.leader_epoch.0,
            partition_epoch: view.partition_epoch.0,
        };
        let brokers = node.known_brokers().map(|view| KnownBroker {
            id: view.id.0,
            epoch: view.epoch.0,
            is_active: !view.is_fenced && !view.in_controlled_shutdown,
        });
        Self { brokers: brokers.collect(), partitions: node.known_partitions().map(partition).collect() }
    }

    /// What somebody asks for who does this deed, if there is something to ask for. `entry` says who and when.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other deed depends on the cluster")]
    pub(super) fn wish(&self, deed: BrokerDeed, asker: Asker<'_>, entry: Entry) -> Option<Wish> {
        match deed {
            BrokerDeed::Reassign { partition, replicas, first } => {
                let partition = self.own(asker.topic?, partition)?;
                let from = self.brokers.iter().cycle().skip(first % self.brokers.len().max(1));
                let target: Vec<i32> =
                    from.take(replicas.min(self.brokers.len())).map(|broker| broker.id).collect();
                Some(reassignment(partition, Some(target), entry))
            }
            BrokerDeed::CancelReassignment { partition } => {
                Some(reassignment(self.own(asker.topic?, partition)?, None, entry))
            }
            BrokerDeed::ListReassignments => Some(Wish {
                entry: Entry { operation: Operation::ListReassignments, topic: Str::new(), ..entry },
                version: LIST_PARTITION_REASSIGNMENTS_VERSION,
                request: ListPartitionReassignmentsRequest {
                    timeout_ms: TIMEOUT_MS,
                    topics: None,
                    ..ListPartitionReassignmentsRequest::default()
                }
                .into(),
            }),
            BrokerDeed::ElectLeader { partition, unclean } => {
                Some(election(self.own(asker.topic?, partition)?, unclean, entry))
            }
            BrokerDeed::UnregisterBroker { broker } => {
                let broker_id = round(&self.brokers, broker)?.id;
                let operation = Operation::UnregisterBroker;
                Some(Wish {
                    entry: Entry { operation, topic: Str::from(broker_id.to_string()), ..entry },
                    version: UNREGISTER_BROKER_VERSION,
                    request: UnregisterBrokerRequest { broker_id, ..UnregisterBrokerRequest::default() }
                        .into(),
                })
            }
            BrokerDeed::AlterIsr { partition, wanted, stale } => {
                let mut led: Vec<&KnownPartition> =
                    self.partitions.iter().filter(|it| it.leader == Some(asker.broker_id)).collect();
                led.sort_by_key(|it| !it.is_moved);
                let partition = led.get(partition % led.len().max(1))?;
                self.isr_change(partition, wanted, stale, asker, entry)
            }
            _ => {
                assert!(!deed.depends_on_cluster(), "{deed:?} depends on the cluster");
                None
            }
        }
    }

    /// A partition of a topic.
    fn own(&self, topic: &Str, place: usize) -> Option<&KnownPartition> {
        let of_topic: Vec<&KnownPartition> = self.partitions.iter().filter(|it| it.topic == *topic).collect();
        round(&of_topic, place).copied()
    }

    fn active(&self, id: i32) -> Option<&KnownBroker> {
        self.brokers.iter().find(|broker| broker.id == id && broker.is_active)
    }

    fn isr_change(
        &self,
        partition: &KnownPartition,
        wanted: WantedIsr,
        stale: Option<StaleEpoch>,
        asker: Asker<'_>,
        entry: Entry,
    ) -> Option<Wish> {
        let Asker { broker_id, .. } = asker;
        let mut epoch = asker.epoch?;
        let others = |ids: &[i32]| {
            let others = ids.iter().copied().filter(|id| *id != broker_id && self.active(*id).is_some());
            others.collect::<Vec<i32>>()
        };
        let mut followers = match wanted {
            WantedIsr::All => others(&partition.replicas),
            WantedIsr::OneMore | WantedIsr::OneLess => others(&partition.isr),
            WantedIsr::Alone => Vec::new(),
        };
        match wanted {
            WantedIsr::OneMore => {
                followers.extend(others(&partition.replicas).iter().rfind(|id| !partition.isr.contains(id)));
            }
            WantedIsr::OneLess => drop(followers.pop()),
            WantedIsr::All | WantedIsr::Alone => {}
        }
        let isr: Vec<i32> = std::iter::once(broker_id).chain(followers).collect();
        let mut states = Vec::new();
        for id in &isr {
            let broker_epoch = if *id == broker_id { epoch } else { self.active(*id)?.epoch };
            states.push(BrokerState { broker_id: *id, broker_epoch, ..BrokerState::default() });
        }
        let KnownPartition { index, mut leader_epoch, mut partition_epoch, .. } = *partition;
        match stale {
            None => {}
            Some(StaleEpoch::Leader) => leader_epoch -= 1,
            Some(StaleEpoch::Partition) => partition_epoch -= 1,
            Some(StaleEpoch::OwnBroker) => epoch -= 1,
            Some(StaleEpoch::Follower) => states.iter_mut().skip(1).last()?.broker_epoch -= 1,
        }
        let data = PartitionData {
            partition_index: index,
            leader_epoch,
            new_isr_with_epochs: states,
            partition_epoch,
            ..PartitionData::default()
        };
        let topic =
            TopicData { topic_id: partition.topic_id, partitions: vec![data], ..TopicData::default() };
        let request = AlterPartitionRequest {
            broker_id,
            broker_epoch: epoch,
            topics: vec![topic],
            ..AlterPartitionRequest::default()
        };
        Some(Wish {
            entry: Entry { replicas: isr, ..partition.entry(Operation::AlterIsr, entry) },
            version: ALTER_PARTITION_VERSION,
            request: request.into(),
        })
    }
}

impl KnownPartition {
    fn entry(&self, operation: Operation, entry: Entry) -> Entry {
        Entry { operation, topic: self.topic.clone(), partition: Some(self.index), ..entry }
    }
}

/// One of several, counted round.
fn round<T>(all: &[T], place: usize) -> Option<&T> {
    all.get(place % all.len().max(1))
}

fn reassignment(partition: &KnownPartition, target: Option<Vec<i32>>, entry: Entry) -> Wish {
    let replicas = target.clone().unwrap_or_default();
    let (version, request) = reassignment_request(partition.topic.clone(), partition.index, target);
    Wish { entry: Entry { replicas, ..partition.entry(Operation::Reassign, entry) }, version, request }
}

/// Asks for a partition to be moved, or, without replicas, to stay where it is.
pub(super) fn reassignment_request(
    name: Str,
    partition_index: i32,
    replicas: Option<Vec<i32>>,
) -> (i16, AnyRequest) {
    let wanted = ReassignablePartition { partition_index, replicas, ..ReassignablePartition::default() };
    let topic = ReassignableTopic { name, partitions: vec![wanted], ..ReassignableTopic::default() };
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: TIMEOUT_MS,
        allow_replication_factor_change: true,
        topics: vec![topic],
        ..AlterPartitionReassignmentsRequest::default()
    };
    (ALTER_PARTITION_REASSIGNMENTS_VERSION, request.into())
}

fn election(partition: &KnownPartition, unclean: bool, entry: Entry) -> Wish {
    let (version, request) = election_request(partition.topic.clone(), partition.index, unclean);
    let operation = if unclean { Operation::ElectLeaderUncleanly } else { Operation::ElectLeader };
    Wish { entry: partition.entry(operation, entry), version, request }
}

/// Asks for the first replica of a partition to lead it, or for anybody, if there is nobody in sync.
pub(super) fn election_request(topic: Str, partition: i32, unclean: bool) -> (i16, AnyRequest) {
    let topic = TopicPartitions { topic, partitions: vec![partition], ..TopicPartitions::default() };
    let request = ElectLeadersRequest {
        election_type: i8::from(unclean),
        topic_partitions: Some(vec![topic]),
        timeout_ms: TIMEOUT_MS,
        ..ElectLeadersRequest::default()
    };
    (ELECT_LEADERS_VERSION, request.into())
}
