//! What clients are told about the cluster: Metadata, DescribeCluster, DescribeTopicPartitions.

use super::RequestContext;
use super::broker::{Broker, Committed, ReplyTo};
use super::envelope::Asker;
use crate::controller::image::{PartitionState, Topic};
use crate::controller::{ControllerRequest, is_internal, topic_name_problem};
use crate::ids::NodeId;
use crate::outbox::Outbox;
use crate::time::Now;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use sordini_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use sordini_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use sordini_protocol::messages::{
    CreateTopicsRequest, DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;

/// Operations that a client may do on the cluster and on a topic when nothing forbids any: bit n stands for operation n
/// of Kafka's ACLs (KIP-430).
const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
const TOPIC_OPERATIONS: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;

/// "Not asked for".
const OPERATIONS_OMITTED: i32 = i32::MIN;

/// A metadata request whose topics are being created.
#[derive(Clone, Debug)]
pub(crate) struct ParkedMetadata {
    pub(crate) reply_to: ReplyTo,
    pub(crate) listener: Str,
    pub(crate) request: MetadataRequest,
}

impl Broker {
    pub(super) fn on_metadata(
        &mut self,
        parked: ParkedMetadata,
        context: RequestContext,
        now: Now,
        out: &mut Outbox,
    ) {
        let missing = self.topics_to_create(&parked);
        if missing.is_empty() {
            return self.answer_metadata(parked, out);
        }
        if self.active_epoch.is_none() {
            let body = CreateTopicsRequest { topics: missing, ..Default::default() };
            let body = AnyRequest::CreateTopics(body);
            let context = RequestContext { api_version: *body.api_key().versions().end(), ..context };
            return self.forward(Asker::Metadata(parked), context, body, now, out);
        }
        // The client is answered when its topics are there, instead of being told to ask again. Whoever asks for the same
        // topics meanwhile finds them in the controller's image and waits behind.
        let creation =
            ControllerRequest::CreateTopics(CreateTopicsRequest { topics: missing, ..Default::default() });
        let asked = self.asked(0, now);
        let decision = self.controller.decide(&creation, &asked, &mut self.rng, out);
        self.commit(decision.records, Committed::Metadata(parked), now, out);
    }

    fn topics_to_create(&self, parked: &ParkedMetadata) -> Vec<CreatableTopic> {
        if !self.config.auto_create_topics_enable || !parked.request.allow_auto_topic_creation {
            return Vec::new();
        }
        let named = parked.request.topics.iter().flatten().filter_map(|topic| topic.name.as_ref());
        let missing: BTreeSet<&Str> = named
            .filter(|name| self.image.topic_by_name(name).is_none())
            .filter(|name| topic_name_problem(name).is_none() && !is_internal(name))
            .collect();
        missing
            .into_iter()
            .map(|name| CreatableTopic {
                name: name.clone(),
                num_partitions: -1,
                replication_factor: -1,
                ..CreatableTopic::default()
            })
            .collect()
    }

    pub(super) fn answer_metadata(&self, parked: ParkedMetadata, out: &mut Outbox) {
        let ParkedMetadata { reply_to, listener, request } = parked;
        let version = reply_to.version;
        let live: BTreeSet<NodeId> = self.image.live_brokers().map(|(id, _)| id).collect();
        let brokers = self.endpoints_on(&live, &listener).into_iter().map(|(id, host, port, rack)| {
            MetadataResponseBroker { node_id: id.0, host, port, rack, ..MetadataResponseBroker::default() }
        });
        let mut response = MetadataResponse {
            brokers: brokers.collect(),
            cluster_id: Some(self.cluster_id.clone()),
            // Any broker forwards to the controller, so that any will do (KIP-590).
            controller_id: self.node_id().0,
            cluster_authorized_operations: OPERATIONS_OMITTED,
            ..MetadataResponse::default()
        };
        if (8..=10).contains(&version) && request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = CLUSTER_OPERATIONS;
        }
        let with_operations = version >= 8 && request.include_topic_authorized_operations;
        let describe = |topic: &Topic| {
            let partitions =
                topic.partitions.iter().map(|(index, state)| self.partition_metadata(*index, state, version));
            MetadataResponseTopic {
                name: Some(topic.name.clone()),
                topic_id: topic.id,
                is_internal: is_internal(&topic.name),
                partitions: partitions.collect(),
                topic_authorized_operations: if with_operations {
                    TOPIC_OPERATIONS
                } else {
                    OPERATIONS_OMITTED
                },
                ..MetadataResponseTopic::default()
            }
        };
        let mut seen = BTreeSet::new();
        response.topics = match &request.topics {
            None => self.image.topics_by_name().map(describe).collect(),
            // Version 0 had no null: an empty list asked for everything.
            Some(topics) if topics.is_empty() && version == 0 => {
                self.image.topics_by_name().map(describe).collect()
            }
            // Whoever names a topic twice is told of it once: an answer is not to outgrow its question without bound.
            Some(topics) => topics
                .iter()
                .filter(|wanted| seen.insert((wanted.topic_id, wanted.name.as_deref())))
                .map(|wanted| {
                    let by_name = wanted.name.as_ref().filter(|_| wanted.topic_id.is_zero());
                    let found = match by_name {
                        Some(name) => self.image.topic_by_name(name),
                        None => self.image.topic(wanted.topic_id),
                    };
                    found.map(describe).unwrap_or_else(|| MetadataResponseTopic {
                        error_code: match by_name {
                            Some(name) if topic_name_problem(name).is_some() => ErrorCode::InvalidTopic,
                            Some(_) => ErrorCode::UnknownTopicOrPartition,
                            None => ErrorCode::UnknownTopicId,
                        }
                        .as_i16(),
                        // Before version 12 the name could not be null.
                        name: by_name.cloned().or_else(|| (version < 12).then(Str::default)),
                        topic_id: wanted.topic_id,
                        topic_authorized_operations: OPERATIONS_OMITTED,
                        ..MetadataResponseTopic::default()
                    })
                })
                .collect(),
        };
        reply_to.respond(AnyResponse::Metadata(response), out);
    }

    fn partition_metadata(
        &self,
        index: i32,
        state: &PartitionState,
        version: i16,
    ) -> MetadataResponsePartition {
        let is_live = |id: &NodeId| self.image.brokers().get(id).is_some_and(|broker| !broker.fenced);
        let leader = state.leader.filter(is_live);
        MetadataResponsePartition {
            error_code: if leader.is_some() { 0 } else { ErrorCode::LeaderNotAvailable.as_i16() },
            partition_index: index,
            leader_id: leader.map_or(-1, |leader| leader.0),
            leader_epoch: if version >= 7 { state.leader_epoch.0 } else { -1 },
            replica_nodes: ids(&state.replicas),
            isr_nodes: ids(&state.isr),
            offline_replicas: ids(state.replicas.iter().filter(|id| !is_live(id))),
            ..MetadataResponsePartition::default()
        }
    }

    /// Addresses of brokers on the listener that clients of the inter-broker listener know.
    pub(super) fn endpoints(&self, of: &BTreeSet<NodeId>) -> Vec<(NodeId, Str, i32, Option<Str>)> {
        self.endpoints_on(of, &self.config.inter_broker_listener_name)
    }

    /// Addresses of brokers on a listener; a broker without it is not reachable for who asks, and left out.
    pub(super) fn endpoints_on(
        &self,
        of: &BTreeSet<NodeId>,
        listener: &str,
    ) -> Vec<(NodeId, Str, i32, Option<Str>)> {
        self.image
            .brokers()
            .iter()
            .filter(|(id, _)| of.contains(id))
            .filter_map(|(id, broker)| {
                let endpoint = broker.endpoints.iter().find(|endpoint| *endpoint.name == *listener)?;
                Some((*id, endpoint.host.clone(), i32::from(endpoint.port), broker.rack.clone()))
            })
            .collect()
    }

    pub(super) fn on_describe_cluster(
        &self,
        reply_to: &ReplyTo,
        listener: &str,
        request: &DescribeClusterRequest,
        out: &mut Outbox,
    ) {
        // 1 asks for brokers, 2 for controllers (KIP-919); each kind is found on the listeners of its own.
        const BROKERS: i8 = 1;
        const CONTROLLERS: i8 = 2;
        let is_peer = self.is_controller_listener(listener);
        let described = if is_peer { CONTROLLERS } else { BROKERS };
        let asked = if reply_to.version >= 1 { request.endpoint_type } else { BROKERS };
        if asked != described {
            let is_known = asked == BROKERS || asked == CONTROLLERS;
            let code =
                if is_known { ErrorCode::MismatchedEndpointType } else { ErrorCode::UnsupportedEndpointType };
            let why = if is_peer {
                "this listener describes controllers"
            } else {
                "this listener describes brokers"
            };
            let response = DescribeClusterResponse {
                error_code: code.as_i16(),
                error_message: Some(Str::from_static(why)),
                endpoint_type: described,
                ..DescribeClusterResponse::default()
            };
            return reply_to.respond(AnyResponse::DescribeCluster(response), out);
        }
        let operations = request.include_cluster_authorized_operations;
        let cluster_authorized_operations = if operations { CLUSTER_OPERATIONS } else { OPERATIONS_OMITTED };
        if is_peer {
            let voters = self.quorum.voters();
            let controllers = voters.ids().filter_map(|id| Some((id, voters.address(id)?)));
            let controllers = controllers.map(|(id, address)| DescribeClusterBroker {
                broker_id: id.0,
                host: address.host(),
                port: i32::from(address.port),
                ..DescribeClusterBroker::default()
            });
            let response = DescribeClusterResponse {
                endpoint_type: CONTROLLERS,
                cluster_id: self.cluster_id.clone(),
                controller_id: self.quorum.leader().map_or(-1, |id| id.0),
                brokers: controllers.collect(),
                cluster_authorized_operations,
                ..DescribeClusterResponse::default()
            };
            return reply_to.respond(AnyResponse::DescribeCluster(response), out);
        }
        let wanted: BTreeSet<NodeId> = self
            .image
            .brokers()
            .iter()
            .filter(|(_, broker)| !broker.fenced || request.include_fenced_brokers)
            .map(|(id, _)| *id)
            .collect();
        let brokers = self.endpoints_on(&wanted, listener).into_iter().map(|(id, host, port, rack)| {
            let is_fenced = self.image.brokers()[&id].fenced;
            DescribeClusterBroker {
                broker_id: id.0,
                host,
                port,
                rack,
                is_fenced,
                ..DescribeClusterBroker::default()
            }
        });
        let response = DescribeClusterResponse {
            endpoint_type: BROKERS,
            cluster_id: self.cluster_id.clone(),
            controller_id: self.node_id().0,
            brokers: brokers.collect(),
            cluster_authorized_operations,
            ..DescribeClusterResponse::default()
        };
        reply_to.respond(AnyResponse::DescribeCluster(response), out);
    }

    pub(super) fn on_describe_topic_partitions(
        &self,
        reply_to: &ReplyTo,
        request: &DescribeTopicPartitionsRequest,
        out: &mut Outbox,
    ) {
        let cursor = request.cursor.as_ref();
        let mut names: BTreeSet<&str> = request.topics.iter().map(|topic| &*topic.name).collect();
        if let Some(cursor) = cursor
            && (cursor.partition_index < 0 || (!names.is_empty() && !names.contains(&*cursor.topic_name)))
        {
            let refused = names.into_iter().map(|name| DescribeTopicPartitionsResponseTopic {
                error_code: ErrorCode::InvalidRequest.as_i16(),
                name: Some(Str::from(name)),
                topic_authorized_operations: OPERATIONS_OMITTED,
                ..DescribeTopicPartitionsResponseTopic::default()
            });
            let response =
                DescribeTopicPartitionsResponse { topics: refused.collect(), ..Default::default() };
            return reply_to.respond(AnyResponse::DescribeTopicPartitions(response), out);
        }
        let first = cursor.map_or("", |cursor| &*cursor.topic_name);
        if request.topics.is_empty() {
            names = self.image.topics_from(first).map(|topic| &*topic.name).collect();
        }
        let limit = i64::from(request.response_partition_limit)
            .min(i64::from(self.config.max_request_partition_size_limit))
            .max(1);
        let mut room = usize::try_from(limit).expect("it is positive");
        let mut response = DescribeTopicPartitionsResponse::default();
        for name in names.range(first..) {
            let Some(topic) = self.image.topic_by_name(name) else {
                let code = match topic_name_problem(name) {
                    Some(_) => ErrorCode::InvalidTopic,
                    None => ErrorCode::UnknownTopicOrPartition,
                };
                response.topics.push(DescribeTopicPartitionsResponseTopic {
                    error_code: code.as_i16(),
                    name: Some(Str::from(*name)),
                    topic_authorized_operations: OPERATIONS_OMITTED,
                    ..DescribeTopicPartitionsResponseTopic::default()
                });
                continue;
            };
            if room == 0 {
                response.next_cursor = Some(cursor_at(&topic.name, 0));
                break;
            }
            let from = cursor
                .filter(|cursor| cursor.topic_name == topic.name)
                .map_or(0, |cursor| cursor.partition_index);
            let mut partitions = topic.partitions.range(from..);
            let told: Vec<_> = partitions
                .by_ref()
                .take(room)
                .map(|(index, state)| self.described_partition(*index, state))
                .collect();
            room -= told.len();
            response.topics.push(DescribeTopicPartitionsResponseTopic {
                name: Some(topic.name.clone()),
                topic_id: topic.id,
                is_internal: is_internal(&topic.name),
                partitions: told,
                topic_authorized_operations: TOPIC_OPERATIONS,
                ..DescribeTopicPartitionsResponseTopic::default()
            });
            if let Some((index, _)) = partitions.next() {
                response.next_cursor = Some(cursor_at(&topic.name, *index));
                break;
            }
        }
        reply_to.respond(AnyResponse::DescribeTopicPartitions(response), out);
    }

    fn described_partition(
        &self,
        index: i32,
        state: &PartitionState,
    ) -> DescribeTopicPartitionsResponsePartition {
        let told = self.partition_metadata(index, state, i16::MAX);
        DescribeTopicPartitionsResponsePartition {
            error_code: told.error_code,
            partition_index: index,
            leader_id: told.leader_id,
            leader_epoch: told.leader_epoch,
            replica_nodes: told.replica_nodes,
            isr_nodes: told.isr_nodes,
            eligible_leader_replicas: Some(ids(&state.eligible_leader_replicas)),
            last_known_elr: Some(ids(&state.last_known_elr)),
            offline_replicas: told.offline_replicas,
            ..DescribeTopicPartitionsResponsePartition::default()
        }
    }
}

fn cursor_at(topic: &Str, partition_index: i32) -> Cursor {
    Cursor { topic_name: topic.clone(), partition_index, ..Cursor::default() }
}

fn ids<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> Vec<i32> {
    nodes.into_iter().map(|id| id.0).collect()
}
