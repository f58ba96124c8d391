//! One process of the cluster: the only door to the core.
//!
//! [`Node::step`] takes one thing that happened and pushes what should happen. A node boots (`boot`: reads its disk), then
//! serves (`broker`: everything else), each a state machine of its own; the files beside them hold the rules of one group
//! of APIs each.

mod active_controller;
mod assignments;
mod boot;
mod broker;
mod controller_registration;
mod delete_records;
mod describe;
mod envelope;
mod fetch;
mod find_coordinator;
mod group_coordinator;
mod in_sync;
mod input;
mod lifecycle;
mod list_offsets;
mod loading;
mod log_dir_moves;
mod metadata;
mod output;
mod produce;
mod read_replica;
mod replica_fetcher;
mod replication_quota;
mod to_controller;
mod truncation;

pub use crate::quorum::{QuorumRole, QuorumView};
pub(crate) use broker::ReplyTo;
pub use input::{Input, RequestBody, RequestContext};
pub use output::Output;

use crate::config::broker::BrokerConfig;
use crate::controller::{ControllerRequest, acls, client_quotas, reassignment, scram};
use crate::group::Client;
use crate::ids::{BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, TopicIdPartition};
use crate::mark::Mark;
use crate::museum::Museum;
use crate::outbox::Outbox;
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use boot::{Boot, BootStep};
use broker::{Broker, Stage};
use envelope::Asker;
use find_coordinator::ParkedFind;
use metadata::ParkedMetadata;
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::records::AccessControlEntryRecord;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;

/// What a node is told at its birth; all else it reads from its disk.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The static configuration, `server.properties`.
    pub broker: BrokerConfig,
    /// Seed of everything random in the node: ids, jitter.
    pub seed: u64,
    /// Wrong rules that are switched on, [`Museum::NONE`] in a broker.
    pub museum: Museum,
}

/// How far a node's life has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Reading its disk; requests are refused by closing their connection.
    Starting,
    /// Taking part in the metadata quorum, and not serving clients yet; [`Node::serves`] tells whom it does serve.
    Joining,
    /// Serving.
    Running,
    /// Writing what a clean stop promises.
    Stopping,
    /// Nothing more will be pushed; the process may end.
    Stopped,
    /// It cannot go on; the process must end. The text is for the operator.
    Failed(String),
}

#[derive(Clone, Debug)]
enum Life {
    Unborn(Box<NodeConfig>),
    Booting(Box<Boot>),
    Serving(Box<Broker>),
    Failed(String),
}

/// What one process runs: the broker role, the controller role, or both.
#[derive(Clone, Debug)]
pub struct Node {
    life: Life,
}

/// What an observer may know of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Identity of the partition.
    pub id: TopicIdPartition,
    /// The epoch under which this node leads it, if it does.
    pub leads: Option<LeaderEpoch>,
    /// The newest epoch that this node has heard of, whoever leads.
    pub leader_epoch: LeaderEpoch,
    /// First offset that readers may have.
    pub log_start: Offset,
    /// Below it readers may see.
    pub high_watermark: Offset,
    /// Below it the disk has confirmed every byte to the process.
    pub written_end: Offset,
    /// Below it everything is durable.
    pub flushed_end: Offset,
    /// Offset of the next record.
    pub log_end: Offset,
    /// Directory of the log.
    pub dir: &'a str,
}

/// What the committed metadata log says of a partition, as far as a node has followed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionStateView<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Identity of the partition.
    pub id: TopicIdPartition,
    /// In order of preference as leader.
    pub replicas: &'a [NodeId],
    /// Those of them that are in sync.
    pub isr: &'a [NodeId],
    /// Those of them that a reassignment adds.
    pub adding_replicas: &'a [NodeId],
    /// Those of them that a reassignment is to remove.
    pub removing_replicas: &'a [NodeId],
    /// Who leads it, if anybody does.
    pub leader: Option<NodeId>,
    /// Raised with every change of leader.
    pub leader_epoch: LeaderEpoch,
    /// Raised with every change.
    pub partition_epoch: PartitionEpoch,
    /// Those that are not in sync and have all the records that were committed (KIP-966).
    pub eligible_leader_replicas: &'a [NodeId],
    /// Who led last, where nobody is left that has them all.
    pub last_known_elr: &'a [NodeId],
    /// 1 while the leader has not made up for its election from outside the in-sync replicas, else 0.
    pub leader_recovery_state: i8,
}

/// What the committed metadata log says of a broker, as far as a node has followed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisteredBrokerView {
    /// Its number.
    pub id: NodeId,
    /// Of its registration.
    pub epoch: BrokerEpoch,
    /// Whether it may not lead, nor be in sync with others.
    pub is_fenced: bool,
    /// Whether it is about to go.
    pub in_controlled_shutdown: bool,
}

impl Node {
    /// A node that has not yet looked at its disk. Its first input is [`Input::Started`].
    #[must_use]
    pub fn new(config: NodeConfig) -> Self {
        Self { life: Life::Unborn(Box::new(config)) }
    }

    /// Takes one thing that happened and pushes what should happen.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match (&mut self.life, input) {
            (Life::Unborn(config), Input::Started) => {
                let boot = Boot::begin(config.broker.clone(), config.seed, config.museum, out);
                self.life = Life::Booting(Box::new(boot));
            }
            (Life::Booting(boot), Input::StorageCompleted { token, result }) => {
                match boot.on_storage_completed(token, result, now, out) {
                    Ok(BootStep::Pending) => {}
                    Ok(BootStep::Done(broker)) => self.life = Life::Serving(Box::new(broker)),
                    Err(why) => {
                        out.sometimes(Mark::NodeFailed);
                        self.life = Life::Failed(why);
                    }
                }
            }
            (Life::Serving(broker), input) => {
                serve(broker, now, input, out);
                if let Some(why) = broker.failure.take() {
                    out.sometimes(Mark::NodeFailed);
                    self.life = Life::Failed(why);
                }
            }
            // Nobody is served before the node runs, or after it failed.
            (_, Input::Request { connection, .. }) => {
                out.sometimes(Mark::RequestWhileNotServing);
                out.push(Output::Close { connection });
            }
            // A node that has not begun to serve has nothing that a stop would have to save.
            (Life::Unborn(_) | Life::Booting(_), Input::StopRequested) => {
                self.life = Life::Failed(String::from("stopped before it had started"));
            }
            // What happens to a node that is not there, or is no more, changes nothing.
            (Life::Unborn(_) | Life::Booting(_) | Life::Failed(_), _) => {}
        }
    }

    /// When the node wants [`Input::DeadlinePassed`], if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.life {
            Life::Serving(broker) if broker.stage != Stage::Stopped => broker.timers.earliest(),
            Life::Unborn(_) | Life::Booting(_) | Life::Serving(_) | Life::Failed(_) => None,
        }
    }

    /// How far its life has come.
    #[must_use]
    pub fn state(&self) -> NodeState {
        match &self.life {
            Life::Unborn(_) | Life::Booting(_) => NodeState::Starting,
            Life::Serving(broker) => match broker.stage {
                Stage::Joining => NodeState::Joining,
                // Whoever is leaving serves until it may go.
                Stage::Running | Stage::Leaving => NodeState::Running,
                Stage::Closing | Stage::Marking => NodeState::Stopping,
                Stage::Stopped => NodeState::Stopped,
            },
            Life::Failed(why) => NodeState::Failed(why.clone()),
        }
    }

    /// Whether requests that come in by a listener of this name are served. It may change when the state does.
    #[must_use]
    pub fn serves(&self, listener: &str) -> bool {
        match &self.life {
            Life::Serving(broker) => broker.serves(listener),
            Life::Unborn(_) | Life::Booting(_) | Life::Failed(_) => false,
        }
    }

    /// The node's part in the metadata quorum, once its log is open, for observers.
    #[must_use]
    pub fn quorum(&self) -> Option<QuorumView<'_>> {
        match &self.life {
            Life::Serving(broker) => Some(broker.quorum.view()),
            Life::Unborn(_) | Life::Booting(_) | Life::Failed(_) => None,
        }
    }

    /// All partitions of the cluster that the node knows of, by topic and index, for observers.
    pub fn known_partitions(&self) -> impl Iterator<Item = PartitionStateView<'_>> {
        let topics = self.serving().into_iter().flat_map(|broker| broker.image.topics_by_name());
        topics.flat_map(|topic| {
            topic.partitions.iter().map(|(index, state)| PartitionStateView {
                topic: &topic.name,
                id: TopicIdPartition { topic: topic.id, partition: *index },
                replicas: &state.replicas,
                isr: &state.isr,
                adding_replicas: &state.adding_replicas,
                removing_replicas: &state.removing_replicas,
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                partition_epoch: state.partition_epoch,
                eligible_leader_replicas: &state.eligible_leader_replicas,
                last_known_elr: &state.last_known_elr,
                leader_recovery_state: state.leader_recovery_state,
            })
        })
    }

    /// All registered brokers of the cluster that the node knows of, by their numbers, for observers.
    pub fn known_brokers(&self) -> impl Iterator<Item = RegisteredBrokerView> {
        let brokers = self.serving().into_iter().flat_map(|broker| broker.image.brokers());
        brokers.map(|(id, broker)| RegisteredBrokerView {
            id: *id,
            epoch: broker.epoch,
            is_fenced: broker.fenced,
            in_controlled_shutdown: broker.in_controlled_shutdown,
        })
    }

    /// All access control entries that the node knows of, each as it was written, for observers.
    pub fn known_acls(&self) -> impl Iterator<Item = AccessControlEntryRecord> {
        let acls = self.serving().into_iter().flat_map(|broker| broker.image.acls());
        acls.map(|(id, acl)| acl.record(*id))
    }

    /// The finalized levels of the cluster's features that the node knows of, for observers.
    pub fn known_features(&self) -> impl Iterator<Item = (&str, i16)> {
        let features = self.serving().into_iter().flat_map(Broker::finalized_features);
        features.map(|(name, level)| (&**name, level))
    }

    fn serving(&self) -> Option<&Broker> {
        match &self.life {
            Life::Serving(broker) => Some(broker),
            Life::Unborn(_) | Life::Booting(_) | Life::Failed(_) => None,
        }
    }

    /// The log directories without which it goes on, by their places in the configuration.
    pub fn failed_directories(&self) -> impl Iterator<Item = usize> {
        let dirs = self.serving().into_iter().flat_map(|broker| broker.log_dirs.iter().enumerate());
        dirs.filter(|(_, dir)| dir.failed).map(|(place, _)| place)
    }

    /// The partitions that the node hosts, for observers: checks, metrics, reports. One whose log is being cut is not among
    /// them, since nobody knows the log until it is open again, nor is one whose log directory has failed.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionView<'_>> {
        let broker = self.serving();
        let hosted = broker.into_iter().flat_map(|broker| {
            let is_known = |owner: &u32| !broker.is_half_cut(*owner);
            let hosted = broker.partitions.iter().filter(move |(owner, _)| is_known(owner));
            hosted.map(|(_, partition)| partition).filter(|partition| !partition.is_offline())
        });
        hosted.map(|partition| PartitionView {
            topic: &partition.topic,
            id: partition.id,
            leads: partition.is_leader().then(|| partition.leader_epoch()),
            leader_epoch: partition.leader_epoch(),
            log_start: partition.log().log_start(),
            high_watermark: partition.high_watermark(),
            written_end: partition.written_end(),
            flushed_end: partition.flushed_end(),
            log_end: partition.log().next_offset(),
            dir: partition.log().dir().as_str(),
        })
    }
}

fn serve(broker: &mut Broker, now: Now, input: Input, out: &mut Outbox) {
    match input {
        // A node is born once.
        Input::Started => {}
        Input::Request { connection, request, context, body } => {
            if !broker.serves(&context.listener) {
                out.sometimes(Mark::RequestWhileNotServing);
                out.push(Output::Close { connection });
                return;
            }
            let reply_to = ReplyTo { connection, request, version: context.api_version, forwarded: None };
            match body {
                RequestBody::Produce(produce) => broker.on_produce(reply_to, produce, now, out),
                RequestBody::UnsupportedApiVersions => {
                    let reply_to = ReplyTo { version: 0, ..reply_to };
                    reply_to.respond(AnyResponse::ApiVersions(describe::unsupported_api_versions()), out);
                }
                RequestBody::Other(body) => {
                    if !on_request(broker, reply_to, context, body, now, out) {
                        out.push(Output::Close { connection });
                    }
                }
            }
        }
        Input::ConnectionClosed { connection } => broker.on_connection_closed(connection, out),
        Input::StorageCompleted { token, result } => broker.on_storage_completed(token, result, now, out),
        Input::DeadlinePassed => broker.on_deadline(now, out),
        Input::PeerAnswered { request, result } if to_controller::is_own(request) => {
            broker.on_controller_answered(request, result, now, out);
        }
        Input::PeerAnswered { request, result } if replica_fetcher::is_own(request) => {
            broker.on_replica_answered(request, result, now, out);
        }
        Input::PeerAnswered { request, result } => {
            broker.quorum.on_answer(request, result, now, out);
            broker.after_quorum(now, out);
        }
        Input::StopRequested => broker.on_stop_requested(now, out),
    }
}

/// Answers a request now or later; `false` when there is no answer but to close the connection.
fn on_request(
    broker: &mut Broker,
    reply_to: ReplyTo,
    context: RequestContext,
    body: AnyRequest,
    now: Now,
    out: &mut Outbox,
) -> bool {
    let api = body.api_key();
    let is_peer = broker.is_controller_listener(&context.listener);
    let served = describe::served(is_peer);
    if !served.contains(&api) || !describe::served_versions(api).contains(&reply_to.version) {
        return false;
    }
    if acls::is_unreadable(&body) {
        return false;
    }
    if !is_peer && broker.active_epoch.is_none() && envelope::is_forwarded(api) {
        broker.forward(Asker::Client(reply_to), context, body, now, out);
        return true;
    }
    // A change of voters is the quorum's, whoever asks for it.
    let concerns_quorum = is_peer || matches!(api, ApiKey::AddRaftVoter | ApiKey::RemoveRaftVoter);
    let body = match ControllerRequest::of(body) {
        Ok(request) => {
            broker.decide(&request, reply_to, now, out);
            if is_peer {
                broker.after_quorum(now, out);
            }
            return true;
        }
        Err(body) => body,
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is served is the list of the listener, checked above"
    )]
    match body {
        AnyRequest::Vote(request) => broker.quorum.on_vote(&reply_to, &request, now, out),
        AnyRequest::BeginQuorumEpoch(request) => {
            broker.quorum.on_begin_quorum_epoch(&reply_to, &request, now, out);
        }
        AnyRequest::EndQuorumEpoch(request) => {
            broker.quorum.on_end_quorum_epoch(&reply_to, &request, now, out);
        }
        AnyRequest::DescribeQuorum(request) => {
            broker.quorum.on_describe_quorum(&reply_to, &request, now, out);
        }
        AnyRequest::AddRaftVoter(request) => {
            broker.quorum.on_add_raft_voter(reply_to, &request, now, out);
        }
        AnyRequest::RemoveRaftVoter(request) => {
            broker.quorum.on_remove_raft_voter(reply_to, &request, now, out);
        }
        AnyRequest::UpdateRaftVoter(request) => {
            broker.quorum.on_update_raft_voter(&reply_to, &request, now, out);
        }
        AnyRequest::FetchSnapshot(request) => {
            broker.quorum.on_fetch_snapshot(&reply_to, &request, now, out);
        }
        AnyRequest::Fetch(request) if is_peer => broker.quorum.on_fetch(reply_to, &request, now, out),
        AnyRequest::ListPartitionReassignments(request) => {
            let response = reassignment::list(&broker.image, &request);
            reply_to.respond(AnyResponse::ListPartitionReassignments(response), out);
        }
        AnyRequest::Envelope(request) => match broker.unwrap(&reply_to, request) {
            Ok((reply_to, body)) => {
                let context = RequestContext { api_version: reply_to.version, ..context };
                return on_request(broker, reply_to, context, body, now, out);
            }
            Err(code) => reply_to.respond(envelope::refuse(code), out),
        },
        AnyRequest::DescribeClientQuotas(request) => {
            let response = client_quotas::describe(&broker.image, &request);
            reply_to.respond(AnyResponse::DescribeClientQuotas(response), out);
        }
        AnyRequest::DescribeUserScramCredentials(request) => {
            let response = scram::describe(&broker.image, &request);
            reply_to.respond(AnyResponse::DescribeUserScramCredentials(response), out);
        }
        AnyRequest::DescribeAcls(request) => {
            let response = acls::describe(&broker.image, broker.config.keeps_acls, &request);
            reply_to.respond(AnyResponse::DescribeAcls(response), out);
        }
        AnyRequest::ApiVersions(request) => broker.on_api_versions(&reply_to, is_peer, &request, out),
        AnyRequest::FindCoordinator(request) => {
            let listener = context.listener.clone();
            broker.on_find_coordinator(ParkedFind { reply_to, listener, request }, context, now, out);
        }
        AnyRequest::JoinGroup(request) => {
            let client = Client {
                id: context.client_id.clone().unwrap_or_default(),
                host: Str::from(format!("/{}", context.client_address.to_canonical())),
            };
            broker.on_join_group(reply_to, &request, &client, now, out);
        }
        AnyRequest::SyncGroup(request) => broker.on_sync_group(reply_to, &request, now, out),
        AnyRequest::Heartbeat(request) => broker.on_heartbeat(&reply_to, &request, now, out),
        AnyRequest::LeaveGroup(request) => broker.on_leave_group(reply_to, request, now, out),
        AnyRequest::OffsetCommit(request) => broker.on_offset_commit(reply_to, &request, now, out),
        AnyRequest::OffsetFetch(request) => broker.on_offset_fetch(reply_to, request, now, out),
        AnyRequest::OffsetDelete(request) => broker.on_offset_delete(reply_to, &request, now, out),
        AnyRequest::ListGroups(request) => broker.on_list_groups(reply_to, &request, now, out),
        AnyRequest::DescribeGroups(request) => broker.on_describe_groups(reply_to, &request, now, out),
        AnyRequest::DeleteGroups(request) => broker.on_delete_groups(reply_to, &request, now, out),
        AnyRequest::Metadata(request) => {
            let listener = context.listener.clone();
            broker.on_metadata(ParkedMetadata { reply_to, listener, request }, context, now, out);
        }
        AnyRequest::DescribeCluster(request) => {
            broker.on_describe_cluster(&reply_to, &context.listener, &request, out);
        }
        AnyRequest::DescribeTopicPartitions(request) => {
            broker.on_describe_topic_partitions(&reply_to, &request, out);
        }
        AnyRequest::Fetch(request) => broker.on_fetch(reply_to, &context.listener, &request, now, out),
        AnyRequest::ListOffsets(request) => broker.on_list_offsets(reply_to, &request, now, out),
        AnyRequest::OffsetForLeaderEpoch(request) => {
            broker.on_offset_for_leader_epoch(&reply_to, &request, out)
        }
        AnyRequest::DeleteRecords(request) => broker.on_delete_records(reply_to, &request, now, out),
        AnyRequest::InitProducerId(request) => broker.on_init_producer_id(reply_to, &request, now, out),
        AnyRequest::ListConfigResources(request) => {
            broker.on_list_config_resources(&reply_to, &context.listener, &request, out);
        }
        AnyRequest::DescribeConfigs(request) => broker.on_describe_configs(&reply_to, &request, out),
        AnyRequest::AlterReplicaLogDirs(request) => {
            broker.on_alter_replica_log_dirs(&reply_to, &request, now, out);
        }
        AnyRequest::DescribeLogDirs(request) => broker.on_describe_log_dirs(&reply_to, &request, out),
        _ => return false,
    }
    if concerns_quorum {
        broker.after_quorum(now, out);
    }
    true
}
