//! DescribeQuorum: what the leader knows of its followers.

use super::leader::Replica;
use super::{Quorum, Role, Voter, messages};
use crate::ids::NodeId;
use crate::node::ReplyTo;
use crate::outbox::Outbox;
use crate::time::Now;
use alloc::vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use sordini_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use sordini_protocol::records::voters_record::Endpoint;
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Str, Uuid};

/// Offset and timestamps that are not known.
const UNKNOWN: i64 = -1;

impl Quorum {
    pub(crate) fn on_describe_quorum(
        &mut self,
        reply_to: &ReplyTo,
        request: &DescribeQuorumRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        // Whoever asks about more is told nothing of this one either, as Kafka does it.
        let is_described = messages::is_described(request);
        let partitions = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| (topic.topic_name.clone(), partition.partition_index))
        });
        let topics = partitions.map(|(topic_name, index)| TopicData {
            partitions: vec![self.describe(is_described, index, now)],
            topic_name,
            ..TopicData::default()
        });
        let mut response =
            DescribeQuorumResponse { topics: topics.collect(), ..DescribeQuorumResponse::default() };
        let is_answered =
            response.topics.iter().flat_map(|topic| &topic.partitions).all(|data| data.error_code == 0);
        if reply_to.version < 2 {
            let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            for replica in
                partitions.flat_map(|data| data.observers.iter_mut().chain(&mut data.current_voters))
            {
                replica.replica_directory_id = Uuid::ZERO;
            }
        }
        if reply_to.version >= 2 && is_answered {
            let nodes = self.voters.ids().filter_map(|id| self.voters.get(id));
            let node = |voter: &Voter| Node {
                node_id: voter.voter_id,
                listeners: voter.endpoints.iter().map(listener).collect(),
                ..Node::default()
            };
            response.nodes = nodes.map(node).collect();
        }
        self.respond(reply_to, AnyResponse::DescribeQuorum(response), out);
    }

    fn describe(&self, is_described: bool, index: i32, now: Now) -> PartitionData {
        let refused = |code: ErrorCode, why: Option<&'static str>| PartitionData {
            partition_index: index,
            error_code: code.as_i16(),
            error_message: why.map(Str::from_static),
            ..PartitionData::default()
        };
        if !is_described {
            return refused(ErrorCode::UnknownTopicOrPartition, None);
        }
        let Role::Leader(leader) = &self.role else {
            let data = refused(ErrorCode::NotLeaderOrFollower, None);
            return PartitionData {
                leader_id: self.election.leader.map_or(-1, |id| id.0),
                leader_epoch: self.election.epoch.0,
                ..data
            };
        };
        let me = self.identity.node;
        let described = |id: NodeId, directory: Uuid, replica: Replica| ReplicaState {
            replica_id: id.0,
            replica_directory_id: directory,
            log_end_offset: replica.end.map_or(UNKNOWN, |end| end.0),
            last_fetch_timestamp: replica.fetched_ms.unwrap_or(UNKNOWN),
            last_caught_up_timestamp: replica.caught_up_ms.unwrap_or(UNKNOWN),
            ..ReplicaState::default()
        };
        let voter = |id: NodeId| {
            let replica = if id == me {
                let at = Some(now.wall_ms);
                Replica {
                    end: Some(self.log.next_offset()),
                    fetched_ms: at,
                    caught_up_ms: at,
                    ..Replica::default()
                }
            } else {
                leader.replicas.get(&id).copied().unwrap_or_default()
            };
            described(id, self.voters.key(id).directory, replica)
        };
        let observers = leader.observers(now);
        PartitionData {
            partition_index: index,
            leader_id: me.0,
            leader_epoch: self.election.epoch.0,
            high_watermark: self.told_high_watermark().map_or(UNKNOWN, |at| at.0),
            current_voters: self.voters.ids().map(voter).collect(),
            observers: observers.map(|(id, directory, replica)| described(id, directory, replica)).collect(),
            ..PartitionData::default()
        }
    }
}

fn listener(endpoint: &Endpoint) -> Listener {
    Listener {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..Listener::default()
    }
}
