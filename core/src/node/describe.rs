//! What clients ask about the broker itself: ApiVersions, DescribeConfigs, DescribeLogDirs; and ids for producers.

use super::broker::{Broker, ReplyTo, dir_index};
use super::to_controller::Question;
use crate::config::alter::Resource;
use crate::config::describe::{self, ConfigEntry};
use crate::config::{ConfigError, Overrides};
use crate::controller::cluster::{FEATURES, KRAFT_VERSION};
use crate::controller::image::ConfigResource;
use crate::mark::Mark;
use crate::outbox::Outbox;
use crate::time::Now;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use sordini_protocol::messages::describe_configs_request::DescribeConfigsResource;
use sordini_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use sordini_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use sordini_protocol::messages::list_config_resources_response::ConfigResource as ListedResource;
use sordini_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, ApiVersionsRequest, ApiVersionsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
    InitProducerIdRequest, InitProducerIdResponse, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;

/// The APIs that this broker serves, in Kafka's versions except for those of [`served_versions`].
const SERVED: [ApiKey; 45] = [
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeAcls,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeClientQuotas,
    ApiKey::AlterClientQuotas,
    ApiKey::DescribeUserScramCredentials,
    ApiKey::AlterUserScramCredentials,
    ApiKey::UpdateFeatures,
    ApiKey::UnregisterBroker,
    ApiKey::DescribeCluster,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
    ApiKey::DescribeQuorum,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

/// What is served on a controller's listener: to other controllers, to brokers, and to tools that ask one (KIP-919).
const SERVED_TO_PEERS: [ApiKey; 34] = [
    ApiKey::Fetch,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DescribeAcls,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::AlterClientQuotas,
    ApiKey::AlterUserScramCredentials,
    ApiKey::UpdateFeatures,
    ApiKey::UnregisterBroker,
    ApiKey::Vote,
    ApiKey::BeginQuorumEpoch,
    ApiKey::EndQuorumEpoch,
    ApiKey::DescribeQuorum,
    ApiKey::AlterPartition,
    ApiKey::Envelope,
    ApiKey::FetchSnapshot,
    ApiKey::DescribeCluster,
    ApiKey::BrokerRegistration,
    ApiKey::BrokerHeartbeat,
    ApiKey::AllocateProducerIds,
    ApiKey::ControllerRegistration,
    ApiKey::AssignReplicasToDirs,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
    ApiKey::UpdateRaftVoter,
];

/// What is served on a listener.
pub(super) const fn served(is_peer: bool) -> &'static [ApiKey] {
    if is_peer { &SERVED_TO_PEERS } else { &SERVED }
}

/// The versions of an API that are served.
pub(super) fn served_versions(api: ApiKey) -> core::ops::RangeInclusive<i16> {
    let versions = api.versions();
    if api == ApiKey::InitProducerId {
        // The newest version, of two-phase commit (KIP-939), is unstable in Kafka and not announced there either.
        return *versions.start()..=*versions.end() - 1;
    }
    versions
}

/// The answer to ApiVersions in a version that does not exist: of version 0, with the versions that do (KIP-511).
pub(super) fn unsupported_api_versions() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.as_i16(),
        api_keys: alloc::vec![announced(ApiKey::ApiVersions)],
        ..ApiVersionsResponse::default()
    }
}

fn announced(api: ApiKey) -> ApiVersion {
    let versions = served_versions(api);
    // Produce 0 to 2 are refused, yet announced: a librdkafka that does not see version 0 takes the broker for one
    // that cannot compress (KAFKA-18659).
    let min_version = if api == ApiKey::Produce { 0 } else { *versions.start() };
    ApiVersion { api_key: api.as_i16(), min_version, max_version: *versions.end(), ..ApiVersion::default() }
}

/// Whether a client's name for its software has the form that KIP-511 asks for.
fn is_software_name(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

impl Broker {
    pub(super) fn on_api_versions(
        &self,
        reply_to: &ReplyTo,
        is_peer: bool,
        request: &ApiVersionsRequest,
        out: &mut Outbox,
    ) {
        let is_named = is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version);
        if reply_to.version >= 3 && !is_named {
            let error_code = ErrorCode::InvalidRequest.as_i16();
            let response = ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
            return reply_to.respond(AnyResponse::ApiVersions(response), out);
        }
        // Clients of before version 4 stumble over a feature whose lowest level is 0 (KAFKA-17011).
        let supported = FEATURES.into_iter().filter(|(_, min, _)| reply_to.version >= 4 || *min > 0);
        let finalized = self.finalized_features().map(|(name, level)| FinalizedFeatureKey {
            name: name.clone(),
            max_version_level: level,
            min_version_level: level,
            ..FinalizedFeatureKey::default()
        });
        let response = ApiVersionsResponse {
            api_keys: served(is_peer).iter().copied().map(announced).collect(),
            supported_features: supported
                .map(|(name, min_version, max_version)| SupportedFeatureKey {
                    name: Str::from_static(name),
                    min_version,
                    max_version,
                    ..SupportedFeatureKey::default()
                })
                .collect(),
            finalized_features_epoch: self.quorum.high_watermark().0 - 1,
            finalized_features: finalized.collect(),
            ..ApiVersionsResponse::default()
        };
        reply_to.respond(AnyResponse::ApiVersions(response), out);
    }

    /// The level of each feature that has one above 0, by what is committed; of kraft.version, by what the log says.
    pub(super) fn finalized_features(&self) -> impl Iterator<Item = (&Str, i16)> {
        static KRAFT: Str = Str::from_static(KRAFT_VERSION.0);
        let kraft = self.quorum.kraft_version();
        let levels = self.image.features().iter().map(|(name, level)| (name, *level));
        levels.chain((kraft > 0).then_some((&KRAFT, kraft)))
    }

    pub(super) fn on_describe_configs(
        &self,
        reply_to: &ReplyTo,
        request: &DescribeConfigsRequest,
        out: &mut Outbox,
    ) {
        let mut seen = BTreeSet::new();
        let named = |resource: &&DescribeConfigsResource| {
            seen.insert((resource.resource_type, resource.resource_name.clone()))
        };
        let results = request.resources.iter().filter(named).map(|resource| {
            let mut result = DescribeConfigsResult {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                error_message: None,
                ..DescribeConfigsResult::default()
            };
            match self.describe_resource(resource) {
                Ok(entries) => {
                    result.configs = entries
                        .into_iter()
                        .map(|entry| {
                            config_result(entry, request.include_synonyms, request.include_documentation)
                        })
                        .collect();
                }
                Err((code, message)) => {
                    result.error_code = code.as_i16();
                    result.error_message = Some(Str::from(message));
                }
            }
            result
        });
        let response =
            DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() };
        reply_to.respond(AnyResponse::DescribeConfigs(response), out);
    }

    fn describe_resource(
        &self,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<ConfigEntry>, (ErrorCode, alloc::string::String)> {
        let name = &resource.resource_name;
        let none = Overrides::new();
        let layers = self.layers(&none);
        // An empty list of keys stands for all of them, as null does.
        let wanted = resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty());
        match ConfigResource::from_code(resource.resource_type) {
            Some(ConfigResource::Topic) => {
                if self.image.topic_by_name(name).is_none() {
                    let message = format!("there is no topic '{name}'");
                    return Err((ErrorCode::UnknownTopicOrPartition, message));
                }
                let overrides = self.image.config(ConfigResource::Topic, name).unwrap_or(&none);
                Ok(describe::topic(overrides, &layers, wanted))
            }
            Some(ConfigResource::Broker) => match Resource::of_broker_name(name, self.node_id()) {
                Ok(Resource::ClusterDefault) => Ok(describe::cluster_default(&layers, wanted)),
                Ok(_) => Ok(describe::broker(&layers, wanted)),
                Err(error) => Err((ErrorCode::InvalidRequest, error.to_string())),
            },
            Some(ConfigResource::ClientMetrics) => {
                let refusal = |error: ConfigError| (ErrorCode::InvalidRequest, error.to_string());
                Resource::ClientMetrics.named(name).map_err(refusal)?;
                let overrides = self.image.config(ConfigResource::ClientMetrics, name).unwrap_or(&none);
                Ok(describe::client_metrics(overrides, wanted))
            }
            Some(ConfigResource::Group) => {
                let refusal = |error: ConfigError| (ErrorCode::InvalidRequest, error.to_string());
                Resource::Group.named(name).map_err(refusal)?;
                let overrides = self.image.config(ConfigResource::Group, name).unwrap_or(&none);
                Ok(describe::group(overrides, &layers, wanted))
            }
            Some(ConfigResource::BrokerLogger) | None => {
                let kind = resource.resource_type;
                Err((
                    ErrorCode::InvalidRequest,
                    format!("resources of type {kind} are not described by this broker"),
                ))
            }
        }
    }

    /// Answers which resources there are that have, or could have, a configuration. Loggers are not configured through
    /// the protocol here, so that there is none to list.
    pub(super) fn on_list_config_resources(
        &self,
        reply_to: &ReplyTo,
        listener: &Str,
        request: &ListConfigResourcesRequest,
        out: &mut Outbox,
    ) {
        let mut respond = |response| reply_to.respond(AnyResponse::ListConfigResources(response), out);
        const ALL: [ConfigResource; 5] = [
            ConfigResource::Group,
            ConfigResource::ClientMetrics,
            ConfigResource::BrokerLogger,
            ConfigResource::Broker,
            ConfigResource::Topic,
        ];
        // The API began as the list of client metrics subscriptions, and version 0 still is.
        let wanted: Option<BTreeSet<ConfigResource>> = if reply_to.version == 0 {
            Some(BTreeSet::from([ConfigResource::ClientMetrics]))
        } else if request.resource_types.is_empty() {
            Some(BTreeSet::from(ALL))
        } else {
            request.resource_types.iter().map(|code| ConfigResource::from_code(*code)).collect()
        };
        let Some(wanted) = wanted else {
            return respond(ListConfigResourcesResponse {
                error_code: ErrorCode::UnsupportedVersion.as_i16(),
                ..ListConfigResourcesResponse::default()
            });
        };
        let live = self.image.live_brokers().map(|(id, _)| id).collect();
        let mut config_resources = Vec::new();
        for resource in ALL.into_iter().filter(|resource| wanted.contains(resource)) {
            let mut list = |resource_name: Str| {
                let resource_type = resource.code();
                config_resources.push(ListedResource { resource_name, resource_type, ..Default::default() });
            };
            match resource {
                ConfigResource::Group | ConfigResource::ClientMetrics => {
                    let configured = self.image.configs().keys().filter(|(of, _)| *of == resource);
                    configured.for_each(|(_, name)| list(name.clone()));
                }
                ConfigResource::Broker => {
                    let known = self.endpoints_on(&live, listener);
                    known.into_iter().for_each(|(id, ..)| list(Str::from(id.to_string())));
                }
                ConfigResource::Topic => {
                    self.image.topics_by_name().for_each(|topic| list(topic.name.clone()));
                }
                ConfigResource::BrokerLogger => {}
            }
        }
        respond(ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() });
    }

    pub(super) fn on_describe_log_dirs(
        &self,
        reply_to: &ReplyTo,
        request: &DescribeLogDirsRequest,
        out: &mut Outbox,
    ) {
        let wanted: Option<BTreeSet<(&Str, i32)>> = request.topics.as_ref().map(|topics| {
            let named = topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(move |index| (&topic.topic, *index)));
            named.collect()
        });
        let is_wanted = |topic: &Str, partition: i32| {
            wanted.as_ref().is_none_or(|wanted| wanted.contains(&(topic, partition)))
        };
        let results = self.log_dirs.iter().enumerate().map(|(index, dir)| {
            let mut topics: BTreeMap<&Str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
            let all = self.partitions.values();
            for partition in all.filter(|it| is_wanted(&it.topic, it.id.partition)) {
                let future = partition.future().map(|future| (true, &future.log));
                let logs = [Some((false, partition.log())), future].into_iter().flatten();
                for (is_future_key, log) in logs.filter(|(_, log)| dir_index(log.dir()) == Some(index)) {
                    let described = DescribeLogDirsPartition {
                        partition_index: partition.id.partition,
                        partition_size: i64::try_from(log.size()).unwrap_or(i64::MAX),
                        offset_lag: (partition.log().next_offset().0 - log.next_offset().0).max(0),
                        is_future_key,
                        ..DescribeLogDirsPartition::default()
                    };
                    topics.entry(&partition.topic).or_default().push(described);
                }
            }
            let topics = topics.into_iter().map(|(name, mut partitions)| {
                partitions.sort_by_key(|partition| partition.partition_index);
                DescribeLogDirsTopic { name: name.clone(), partitions, ..DescribeLogDirsTopic::default() }
            });
            DescribeLogDirsResult {
                error_code: if dir.failed { ErrorCode::KafkaStorageError.as_i16() } else { 0 },
                log_dir: Str::from(&*dir.path),
                topics: if dir.failed { Vec::new() } else { topics.collect() },
                // The size of the volume is not known to the core; -1 says so.
                total_bytes: -1,
                usable_bytes: -1,
                ..DescribeLogDirsResult::default()
            }
        });
        let response =
            DescribeLogDirsResponse { results: results.collect(), ..DescribeLogDirsResponse::default() };
        reply_to.respond(AnyResponse::DescribeLogDirs(response), out);
    }

    pub(super) fn on_init_producer_id(
        &mut self,
        reply_to: ReplyTo,
        request: &InitProducerIdRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        if request.transactional_id.is_some() {
            let response = InitProducerIdResponse {
                error_code: ErrorCode::CoordinatorNotAvailable.as_i16(),
                producer_id: -1,
                producer_epoch: -1,
                ..InitProducerIdResponse::default()
            };
            return reply_to.respond(AnyResponse::InitProducerId(response), out);
        }
        self.waiting_for_producer_ids.push_back(reply_to);
        self.hand_out_producer_ids(now, out);
    }

    /// Gives ids to those who wait, and reserves another block when there are too few.
    pub(super) fn hand_out_producer_ids(&mut self, now: Now, out: &mut Outbox) {
        while !self.producer_ids.is_empty() {
            let Some(reply_to) = self.waiting_for_producer_ids.pop_front() else { return };
            let producer_id = self.producer_ids.start;
            self.producer_ids.start += 1;
            let response = InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() };
            reply_to.respond(AnyResponse::InitProducerId(response), out);
        }
        let is_open = !self.waiting_for_producer_ids.is_empty() && !self.producer_ids_requested;
        if is_open {
            self.producer_ids_requested = true;
            let request = AnyRequest::AllocateProducerIds(AllocateProducerIdsRequest {
                broker_id: self.config.node_id.0,
                broker_epoch: self.broker_epoch.0,
                ..AllocateProducerIdsRequest::default()
            });
            if !self.ask_controller(Question::ProducerIds, request, now, out) {
                self.on_no_answer(Question::ProducerIds, now);
            }
        }
    }

    /// A block of producer ids is reserved, or is not.
    pub(super) fn on_producer_ids(
        &mut self,
        response: &AllocateProducerIdsResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        let first = response.producer_id_start;
        let end =
            first.checked_add(i64::from(response.producer_id_len)).filter(|end| (0..*end).contains(&first));
        let Some(end) = end.filter(|_| response.error_code == ErrorCode::None.as_i16()) else {
            return self.on_no_answer(Question::ProducerIds, now);
        };
        self.producer_ids_requested = false;
        out.sometimes_if(first > 0, Mark::ControllerProducerIdsReserved);
        self.producer_ids = first..end;
        self.hand_out_producer_ids(now, out);
    }
}

fn config_result(
    entry: ConfigEntry,
    with_synonyms: bool,
    with_documentation: bool,
) -> DescribeConfigsResourceResult {
    let config_type = entry.type_code();
    let synonyms =
        entry.synonyms.into_iter().filter(|_| with_synonyms).map(|synonym| DescribeConfigsSynonym {
            name: synonym.name,
            value: synonym.value,
            source: synonym.source.code(),
            ..DescribeConfigsSynonym::default()
        });
    DescribeConfigsResourceResult {
        name: entry.name,
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.is_sensitive,
        synonyms: synonyms.collect(),
        config_type,
        documentation: with_documentation.then(|| Str::from_static(entry.documentation)),
        ..DescribeConfigsResourceResult::default()
    }
}
