//! The controller: decides what becomes of a request, in records.
//!
//! A decision reads the image at the end of the metadata log and changes nothing. Its records are appended, applied to
//! that image at once so that the next decision sees them, and the response leaves when the high watermark of the log has
//! passed them. A decision without records waits in the same way: what it was based on must be committed first.

pub(crate) mod acls;
mod alter_partition;
pub(crate) mod brokers;
pub(crate) mod client_quotas;
pub(crate) mod cluster;
mod configs;
mod directories;
mod elections;
pub(crate) mod features;
mod heartbeats;
pub(crate) mod image;
mod partition_change;
pub(crate) mod reassignment;
pub(crate) mod scram;
mod snapshot;
mod topics;

pub(crate) use topics::{is_internal, topic_name_problem};

use crate::config::broker::{BrokerConfig, BrokerConfigLayers};
use crate::config::{ConfigError, Overrides};
use crate::ids::{NodeId, Offset};
use crate::mark::Mark;
use crate::museum::Museum;
use crate::outbox::Outbox;
use crate::rng::Rng;
use crate::time::Now;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use heartbeats::Heartbeats;
use image::{ConfigResource, MetadataImage};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use sordini_protocol::messages::create_topics_response::CreatableTopicResult;
use sordini_protocol::messages::delete_topics_response::DeletableTopicResult;
use sordini_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterClientQuotasRequest, AlterConfigsRequest,
    AlterConfigsResponse, AlterPartitionReassignmentsRequest, AlterPartitionRequest, AlterPartitionResponse,
    AlterUserScramCredentialsRequest, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    ControllerRegistrationRequest, ControllerRegistrationResponse, CreateAclsRequest,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteAclsRequest, DeleteTopicsRequest, DeleteTopicsResponse, ElectLeadersRequest,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, UnregisterBrokerRequest,
    UnregisterBrokerResponse, UpdateFeaturesRequest, UpdateFeaturesResponse, alter_configs_request,
    alter_configs_response, create_partitions_request, create_topics_request,
    incremental_alter_configs_request, incremental_alter_configs_response,
};
use sordini_protocol::records::MetadataRecord;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Str, Uuid};

/// How many producer ids a broker reserves at a time.
const PRODUCER_ID_BLOCK: i32 = 1000;

/// What a request comes to: records to append, and the answer to give once they are committed.
#[derive(Debug)]
pub(crate) struct Decision<T> {
    pub(crate) records: Vec<MetadataRecord>,
    pub(crate) response: T,
}

impl<T> Decision<T> {
    fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Decision<U> {
        Decision { records: self.records, response: wrap(self.response) }
    }
}

/// A request to the controller.
#[derive(Clone, Debug)]
pub(crate) enum ControllerRequest {
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    CreatePartitions(CreatePartitionsRequest),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    AlterConfigs(AlterConfigsRequest),
    AlterClientQuotas(AlterClientQuotasRequest),
    AlterUserScramCredentials(AlterUserScramCredentialsRequest),
    CreateAcls(CreateAclsRequest),
    DeleteAcls(DeleteAclsRequest),
    UpdateFeatures(UpdateFeaturesRequest),
    ElectLeaders(ElectLeadersRequest),
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    UnregisterBroker(UnregisterBrokerRequest),
    BrokerRegistration(BrokerRegistrationRequest),
    BrokerHeartbeat(BrokerHeartbeatRequest),
    AlterPartition(AlterPartitionRequest),
    AllocateProducerIds(AllocateProducerIdsRequest),
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
    ControllerRegistration(ControllerRegistrationRequest),
}

impl ControllerRequest {
    /// The request, if the controller is to decide about it.
    #[expect(clippy::result_large_err, reason = "what is not taken is given back")]
    pub(crate) fn of(body: AnyRequest) -> Result<Self, AnyRequest> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "this is the list of what the controller decides about"
        )]
        match body {
            AnyRequest::CreateTopics(request) => Ok(Self::CreateTopics(request)),
            AnyRequest::DeleteTopics(request) => Ok(Self::DeleteTopics(request)),
            AnyRequest::CreatePartitions(request) => Ok(Self::CreatePartitions(request)),
            AnyRequest::IncrementalAlterConfigs(request) => Ok(Self::IncrementalAlterConfigs(request)),
            AnyRequest::AlterConfigs(request) => Ok(Self::AlterConfigs(request)),
            AnyRequest::AlterClientQuotas(request) => Ok(Self::AlterClientQuotas(request)),
            AnyRequest::AlterUserScramCredentials(request) => Ok(Self::AlterUserScramCredentials(request)),
            AnyRequest::CreateAcls(request) => Ok(Self::CreateAcls(request)),
            AnyRequest::DeleteAcls(request) => Ok(Self::DeleteAcls(request)),
            AnyRequest::UpdateFeatures(request) => Ok(Self::UpdateFeatures(request)),
            AnyRequest::ElectLeaders(request) => Ok(Self::ElectLeaders(request)),
            AnyRequest::AlterPartitionReassignments(request) => {
                Ok(Self::AlterPartitionReassignments(request))
            }
            AnyRequest::UnregisterBroker(request) => Ok(Self::UnregisterBroker(request)),
            AnyRequest::BrokerRegistration(request) => Ok(Self::BrokerRegistration(request)),
            AnyRequest::BrokerHeartbeat(request) => Ok(Self::BrokerHeartbeat(request)),
            AnyRequest::AlterPartition(request) => Ok(Self::AlterPartition(request)),
            AnyRequest::AllocateProducerIds(request) => Ok(Self::AllocateProducerIds(request)),
            AnyRequest::AssignReplicasToDirs(request) => Ok(Self::AssignReplicasToDirs(request)),
            AnyRequest::ControllerRegistration(request) => Ok(Self::ControllerRegistration(request)),
            other => Err(other),
        }
    }
}

/// How a request was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Version of its API.
    pub(crate) version: i16,
    /// Where the decision's records will be in the log.
    pub(crate) end: Offset,
    pub(crate) now: Now,
    pub(crate) kraft: Kraft,
}

/// What the controller is told of kraft.version, which stands in records that are not its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kraft {
    /// The level.
    pub(crate) level: i16,
    /// Whether level 1 could follow level 0: every voter has said who it is, and supports it.
    pub(crate) may_rise: bool,
}

impl Asked {
    /// The offset of a record that so many records of the decision come before.
    fn offset_after(&self, records: usize) -> i64 {
        self.end.0 + i64::try_from(records).expect("records are counted in 63 bits")
    }
}

/// A refusal, in the two forms in which responses carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    code: ErrorCode,
    message: String,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The controller's state and what it is told about its node.
#[derive(Clone, Debug)]
pub(crate) struct Controller {
    /// The cluster at the end of the metadata log.
    image: MetadataImage,
    heartbeats: Heartbeats,
    node: NodeId,
    cluster_id: Str,
    config: BrokerConfig,
    museum: Museum,
}

impl Controller {
    pub(crate) fn new(node: NodeId, cluster_id: Str, config: BrokerConfig, museum: Museum) -> Self {
        let (image, heartbeats) = (MetadataImage::default(), Heartbeats::default());
        Self { image, heartbeats, node, cluster_id, config, museum }
    }

    pub(crate) const fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Becomes the active controller, with what the log says to its end. `incarnation` is this life of the process.
    pub(crate) fn activate(&mut self, image: MetadataImage, incarnation: Option<Uuid>, now: Now) {
        let timeout = Duration::from_millis(self.config.broker_session_timeout_ms);
        let is_gone = |id: NodeId| {
            // An earlier life of this process is over, and will be followed by the registration of this one.
            let life = image.brokers().get(&id).map(|broker| broker.incarnation);
            id == self.node && incarnation.is_some() && life != incarnation
        };
        self.heartbeats = Heartbeats::begin(&image, is_gone, timeout, now);
        self.image = image;
    }

    /// Applies a record that is in the log.
    pub(crate) fn apply(&mut self, record: &MetadataRecord) {
        self.image.apply(record);
    }

    /// Decides about a request.
    pub(crate) fn decide(
        &mut self,
        request: &ControllerRequest,
        asked: &Asked,
        rng: &mut Rng,
        out: &mut Outbox,
    ) -> Decision<AnyResponse> {
        let version = asked.version;
        let (mark, decision) = match request {
            ControllerRequest::CreateTopics(request) => (
                Some(Mark::ControllerTopicCreated),
                self.create_topics(request, rng, out).map(AnyResponse::CreateTopics),
            ),
            ControllerRequest::DeleteTopics(request) => (
                Some(Mark::ControllerTopicDeleted),
                self.delete_topics(request, version, out).map(AnyResponse::DeleteTopics),
            ),
            ControllerRequest::CreatePartitions(request) => (
                Some(Mark::ControllerPartitionsAdded),
                self.create_partitions(request, rng, out).map(AnyResponse::CreatePartitions),
            ),
            ControllerRequest::IncrementalAlterConfigs(request) => (
                Some(Mark::ControllerConfigChanged),
                self.incremental_alter_configs(request, out).map(AnyResponse::IncrementalAlterConfigs),
            ),
            ControllerRequest::AlterConfigs(request) => (
                Some(Mark::ControllerConfigChanged),
                self.alter_configs(request, out).map(AnyResponse::AlterConfigs),
            ),
            ControllerRequest::AlterClientQuotas(request) => {
                (None, self.alter_client_quotas(request).map(AnyResponse::AlterClientQuotas))
            }
            ControllerRequest::AlterUserScramCredentials(request) => {
                (None, self.alter_user_scram_credentials(request).map(AnyResponse::AlterUserScramCredentials))
            }
            ControllerRequest::CreateAcls(request) => (
                Some(Mark::ControllerAclsCreated),
                self.create_acls(request, rng).map(AnyResponse::CreateAcls),
            ),
            ControllerRequest::DeleteAcls(request) => {
                (Some(Mark::ControllerAclsDeleted), self.delete_acls(request).map(AnyResponse::DeleteAcls))
            }
            ControllerRequest::UpdateFeatures(request) => {
                (None, self.update_features(request, version, asked.kraft).map(AnyResponse::UpdateFeatures))
            }
            ControllerRequest::ElectLeaders(request) => {
                (None, self.elect_leaders(request, version).map(AnyResponse::ElectLeaders))
            }
            ControllerRequest::AlterPartitionReassignments(request) => (
                None,
                self.alter_partition_reassignments(request).map(AnyResponse::AlterPartitionReassignments),
            ),
            ControllerRequest::UnregisterBroker(request) => {
                (None, self.unregister_broker(request).map(AnyResponse::UnregisterBroker))
            }
            ControllerRequest::BrokerRegistration(request) => {
                (None, self.register_broker(request, asked).map(AnyResponse::BrokerRegistration))
            }
            ControllerRequest::BrokerHeartbeat(request) => {
                (None, self.on_broker_heartbeat(request, asked).map(AnyResponse::BrokerHeartbeat))
            }
            ControllerRequest::AlterPartition(request) => {
                (None, self.alter_partition(request).map(AnyResponse::AlterPartition))
            }
            ControllerRequest::AllocateProducerIds(request) => {
                (None, self.allocate_producer_ids_for(request).map(AnyResponse::AllocateProducerIds))
            }
            ControllerRequest::AssignReplicasToDirs(request) => {
                (None, self.assign_replicas_to_dirs(request).map(AnyResponse::AssignReplicasToDirs))
            }
            ControllerRequest::ControllerRegistration(request) => {
                (None, self.register_controller(request).map(AnyResponse::ControllerRegistration))
            }
        };
        if let Some(mark) = mark {
            out.sometimes_if(!decision.records.is_empty(), mark);
        }
        decision
    }

    /// The answer to a request that is not decided on at all: every part of it is refused with `code`.
    pub(crate) fn refuse(request: &ControllerRequest, code: ErrorCode) -> AnyResponse {
        let error_code = code.as_i16();
        match request {
            ControllerRequest::CreateTopics(request) => {
                let topic = |topic: &create_topics_request::CreatableTopic| CreatableTopicResult {
                    name: topic.name.clone(),
                    error_code,
                    ..CreatableTopicResult::default()
                };
                let topics = request.topics.iter().map(topic).collect();
                AnyResponse::CreateTopics(CreateTopicsResponse { topics, ..CreateTopicsResponse::default() })
            }
            ControllerRequest::DeleteTopics(request) => {
                let named = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO));
                let states = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
                let result = |(name, topic_id)| DeletableTopicResult {
                    name,
                    topic_id,
                    error_code,
                    ..DeletableTopicResult::default()
                };
                let responses = named.chain(states).map(result).collect();
                AnyResponse::DeleteTopics(DeleteTopicsResponse {
                    responses,
                    ..DeleteTopicsResponse::default()
                })
            }
            ControllerRequest::CreatePartitions(request) => {
                let result =
                    |topic: &create_partitions_request::CreatePartitionsTopic| CreatePartitionsTopicResult {
                        name: topic.name.clone(),
                        error_code,
                        ..CreatePartitionsTopicResult::default()
                    };
                let results = request.topics.iter().map(result).collect();
                let response = CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() };
                AnyResponse::CreatePartitions(response)
            }
            ControllerRequest::IncrementalAlterConfigs(request) => {
                let response = |resource: &incremental_alter_configs_request::AlterConfigsResource| {
                    incremental_alter_configs_response::AlterConfigsResourceResponse {
                        resource_type: resource.resource_type,
                        resource_name: resource.resource_name.clone(),
                        error_code,
                        ..incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                    }
                };
                let responses = request.resources.iter().map(response).collect();
                AnyResponse::IncrementalAlterConfigs(IncrementalAlterConfigsResponse {
                    responses,
                    ..IncrementalAlterConfigsResponse::default()
                })
            }
            ControllerRequest::AlterConfigs(request) => {
                let response = |resource: &alter_configs_request::AlterConfigsResource| {
                    alter_configs_response::AlterConfigsResourceResponse {
                        resource_type: resource.resource_type,
                        resource_name: resource.resource_name.clone(),
                        error_code,
                        ..alter_configs_response::AlterConfigsResourceResponse::default()
                    }
                };
                let responses = request.resources.iter().map(response).collect();
                AnyResponse::AlterConfigs(AlterConfigsResponse {
                    responses,
                    ..AlterConfigsResponse::default()
                })
            }
            ControllerRequest::AlterClientQuotas(request) => {
                AnyResponse::AlterClientQuotas(client_quotas::refuse(request, code))
            }
            ControllerRequest::AlterUserScramCredentials(request) => {
                AnyResponse::AlterUserScramCredentials(scram::refuse(request, code))
            }
            ControllerRequest::CreateAcls(request) => {
                AnyResponse::CreateAcls(acls::refuse_create(request, code, None))
            }
            ControllerRequest::DeleteAcls(request) => {
                AnyResponse::DeleteAcls(acls::refuse_delete(request, code, None))
            }
            ControllerRequest::ElectLeaders(request) => {
                AnyResponse::ElectLeaders(elections::refuse(request, code))
            }
            ControllerRequest::AlterPartitionReassignments(request) => {
                AnyResponse::AlterPartitionReassignments(reassignment::refuse(request, code))
            }
            ControllerRequest::UnregisterBroker(_) => {
                AnyResponse::UnregisterBroker(UnregisterBrokerResponse {
                    error_code,
                    error_message: None,
                    ..UnregisterBrokerResponse::default()
                })
            }
            ControllerRequest::UpdateFeatures(_) => AnyResponse::UpdateFeatures(UpdateFeaturesResponse {
                error_code,
                error_message: None,
                ..UpdateFeaturesResponse::default()
            }),
            ControllerRequest::BrokerRegistration(_) => {
                let response = BrokerRegistrationResponse { error_code, ..Default::default() };
                AnyResponse::BrokerRegistration(response)
            }
            ControllerRequest::BrokerHeartbeat(_) => {
                let response = BrokerHeartbeatResponse { error_code, ..Default::default() };
                AnyResponse::BrokerHeartbeat(response)
            }
            ControllerRequest::AlterPartition(_) => {
                AnyResponse::AlterPartition(AlterPartitionResponse { error_code, ..Default::default() })
            }
            ControllerRequest::AllocateProducerIds(_) => {
                let response = AllocateProducerIdsResponse { error_code, ..Default::default() };
                AnyResponse::AllocateProducerIds(response)
            }
            ControllerRequest::AssignReplicasToDirs(_) => {
                let response = AssignReplicasToDirsResponse { error_code, ..Default::default() };
                AnyResponse::AssignReplicasToDirs(response)
            }
            ControllerRequest::ControllerRegistration(_) => {
                AnyResponse::ControllerRegistration(ControllerRegistrationResponse {
                    error_code,
                    error_message: None,
                    ..ControllerRegistrationResponse::default()
                })
            }
        }
    }

    fn cluster_default_overrides(&self) -> Option<&Overrides> {
        self.image.config(ConfigResource::Broker, "")
    }

    fn broker_overrides(&self) -> Option<&Overrides> {
        self.image.config(ConfigResource::Broker, &self.node.to_string())
    }

    fn layers<'a>(&'a self, none: &'a Overrides) -> BrokerConfigLayers<'a> {
        self.config
            .layers(self.cluster_default_overrides().unwrap_or(none), self.broker_overrides().unwrap_or(none))
    }

    /// A configuration error as it travels.
    fn config_refusal(resource: crate::config::alter::Resource, error: &ConfigError) -> Refusal {
        let code = match resource.error_kind(error) {
            crate::config::value::ErrorKind::InvalidConfig => ErrorCode::InvalidConfig,
            crate::config::value::ErrorKind::InvalidRequest => ErrorCode::InvalidRequest,
        };
        Refusal::new(code, error.to_string())
    }
}

/// Text of a response.
fn text(text: &str) -> Option<Str> {
    Some(Str::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker::Origin;
    use crate::ids::TopicIdPartition;
    use image::PartitionState;
    use sordini_protocol::records::{
        ConfigRecord, FeatureLevelRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
    };
    use sordini_protocol::wire::Uuid;

    pub(super) const ORDERS: Uuid = Uuid([7; 16]);

    pub(super) const CLUSTER: Str = Str::from_static("5L6g3nShT-eMCtK--X86sw");

    /// The controller of node 1, in a cluster that these records make.
    pub(super) fn controller(records: impl IntoIterator<Item = MetadataRecord>) -> Controller {
        let entries = [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://localhost:9092"),
            ("log.dirs", "data"),
        ];
        let entries = entries.map(|(key, value)| (key.into(), value.into(), Origin::CommandLine));
        let (config, _) = BrokerConfig::from_entries(entries).expect("the configuration is right");
        let mut controller = Controller::new(NodeId(1), CLUSTER, config, Museum::NONE);
        for record in records {
            controller.apply(&record);
        }
        controller
    }

    /// A cluster of live brokers, from number 1 on, and partition 0 of topic `orders`.
    pub(super) fn cluster(brokers: u8, partition: PartitionRecord) -> Controller {
        let version = FeatureLevelRecord {
            name: Str::from_static("metadata.version"),
            feature_level: 30,
            ..FeatureLevelRecord::default()
        };
        let broker = |id: u8| RegisterBrokerRecord {
            broker_id: id.into(),
            fenced: false,
            log_dirs: alloc::vec![Uuid([id; 16])],
            ..RegisterBrokerRecord::default()
        };
        let topic =
            TopicRecord { name: Str::from_static("orders"), topic_id: ORDERS, ..TopicRecord::default() };
        let directory = |id: &i32| Uuid([u8::try_from(*id).expect("brokers have small numbers"); 16]);
        let partition = PartitionRecord {
            partition_id: 0,
            topic_id: ORDERS,
            directories: partition.replicas.iter().map(directory).collect(),
            leader_epoch: 0,
            partition_epoch: 0,
            ..partition
        };
        let brokers = (1..=brokers).map(|id| broker(id).into());
        let rest = [version.into(), topic.into(), partition.into()];
        controller(brokers.chain(rest))
    }

    pub(super) fn set_topic_config(controller: &mut Controller, key: &str, value: &str) {
        let record = ConfigRecord {
            resource_type: ConfigResource::Topic.code(),
            resource_name: Str::from_static("orders"),
            name: Str::from(key),
            value: Some(Str::from(value)),
            ..ConfigRecord::default()
        };
        controller.apply(&record.into());
    }

    /// The partition of [`cluster`] as it has become.
    pub(super) fn partition(controller: &Controller) -> &PartitionState {
        let id = TopicIdPartition { topic: ORDERS, partition: 0 };
        controller.image().partition(id).expect("it is there")
    }

    #[test]
    fn a_controller_that_is_not_active_refuses_every_part_of_a_request() {
        use sordini_protocol::messages::alter_partition_reassignments_request::{
            ReassignablePartition, ReassignableTopic,
        };
        use sordini_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
        use sordini_protocol::messages::elect_leaders_request::TopicPartitions;
        use sordini_protocol::messages::{
            alter_client_quotas_request as quotas, alter_user_scram_credentials_request as scram_request,
        };
        let code = ErrorCode::NotController;
        let expected = code.as_i16();

        let request = AlterClientQuotasRequest {
            entries: alloc::vec![quotas::EntryData::default(); 2],
            ..Default::default()
        };
        let response = client_quotas::refuse(&request, code);
        assert!(response.entries.len() == 2 && response.entries.iter().all(|it| it.error_code == expected));

        let named = |name| ScramCredentialUpsertion { name: Str::from_static(name), ..Default::default() };
        let deletion =
            scram_request::ScramCredentialDeletion { name: Str::from_static("ada"), ..Default::default() };
        let request = AlterUserScramCredentialsRequest {
            deletions: alloc::vec![deletion],
            upsertions: alloc::vec![named("ada"), named("bob")],
            ..Default::default()
        };
        let response = scram::refuse(&request, code);
        assert!(response.results.len() == 2 && response.results.iter().all(|it| it.error_code == expected));

        let topic = TopicPartitions { partitions: alloc::vec![0, 1], ..TopicPartitions::default() };
        let request = ElectLeadersRequest {
            topic_partitions: Some(alloc::vec![topic]),
            ..ElectLeadersRequest::default()
        };
        let response = elections::refuse(&request, code);
        assert_eq!(response.error_code, expected);
        let results = &response.replica_election_results[0].partition_result;
        assert!(results.len() == 2 && results.iter().all(|it| it.error_code == expected));

        let topic = ReassignableTopic {
            partitions: alloc::vec![ReassignablePartition::default()],
            ..ReassignableTopic::default()
        };
        let request = AlterPartitionReassignmentsRequest { topics: alloc::vec![topic], ..Default::default() };
        let response = reassignment::refuse(&request, code);
        assert_eq!(
            (response.error_code, response.responses[0].partitions[0].error_code),
            (expected, expected)
        );
    }
}
