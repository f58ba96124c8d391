//! Dynamic configuration of topics, brokers, groups and client metrics subscriptions (KIP-226, KIP-339, KIP-714).

use super::image::ConfigResource;
use super::{Controller, Decision, Refusal, text};
use crate::config::alter::{self, Alteration, ConfigChange, Resource};
use crate::config::{ConfigError, Overrides};
use crate::ids::NodeId;
use crate::mark::Mark;
use crate::outbox::Outbox;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_configs_response as replaced;
use sordini_protocol::messages::incremental_alter_configs_response as altered;
use sordini_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use sordini_protocol::records::{ConfigRecord, MetadataRecord};
use sordini_protocol::wire::Str;

impl Controller {
    pub(super) fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest,
        out: &mut Outbox,
    ) -> Decision<IncrementalAlterConfigsResponse> {
        let mut records = Vec::new();
        let mut seen = BTreeSet::new();
        let mut responses = Vec::new();
        for resource in &request.resources {
            let (kind, name) = (resource.resource_type, &resource.resource_name);
            let is_repeated = !seen.insert((kind, name));
            out.sometimes_if(is_repeated, Mark::ControllerNameRepeated);
            let wishes: Vec<Alteration<'_>> = resource
                .configs
                .iter()
                .map(|config| Alteration {
                    key: &config.name,
                    operation: config.config_operation,
                    value: config.value.as_deref(),
                })
                .collect();
            let outcome = self.alter(kind, name, is_repeated, |target, current, layers| {
                alter::incremental(target, current, &wishes, layers)
            });
            let mut response = altered::AlterConfigsResourceResponse {
                resource_type: kind,
                resource_name: name.clone(),
                error_message: None,
                ..Default::default()
            };
            match outcome {
                Ok(mut changes) => records.append(&mut changes),
                Err(refusal) => {
                    response.error_code = refusal.code.as_i16();
                    response.error_message = text(&refusal.message);
                }
            }
            responses.push(response);
        }
        if request.validate_only {
            records.clear();
        }
        let response = IncrementalAlterConfigsResponse { responses, ..Default::default() };
        Decision { records, response }
    }

    pub(super) fn alter_configs(
        &self,
        request: &AlterConfigsRequest,
        out: &mut Outbox,
    ) -> Decision<AlterConfigsResponse> {
        let mut records = Vec::new();
        let mut seen = BTreeSet::new();
        let mut responses = Vec::new();
        for resource in &request.resources {
            let (kind, name) = (resource.resource_type, &resource.resource_name);
            let is_repeated = !seen.insert((kind, name));
            out.sometimes_if(is_repeated, Mark::ControllerNameRepeated);
            let entries: Vec<(&str, Option<&str>)> =
                resource.configs.iter().map(|config| (&*config.name, config.value.as_deref())).collect();
            let outcome = self.alter(kind, name, is_repeated, |target, current, layers| {
                alter::replace(target, current, &entries, layers)
            });
            let mut response = replaced::AlterConfigsResourceResponse {
                resource_type: kind,
                resource_name: name.clone(),
                error_message: None,
                ..Default::default()
            };
            match outcome {
                Ok(mut changes) => records.append(&mut changes),
                Err(refusal) => {
                    response.error_code = refusal.code.as_i16();
                    response.error_message = text(&refusal.message);
                }
            }
            responses.push(response);
        }
        if request.validate_only {
            records.clear();
        }
        Decision { records, response: AlterConfigsResponse { responses, ..Default::default() } }
    }

    fn alter(
        &self,
        kind: i8,
        name: &Str,
        is_repeated: bool,
        judge: impl FnOnce(
            Resource,
            &Overrides,
            &crate::config::BrokerConfigLayers<'_>,
        ) -> Result<Vec<ConfigChange>, ConfigError>,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        if is_repeated {
            return Err(Refusal::new(
                ErrorCode::InvalidRequest,
                "the request names the resource more than once",
            ));
        }
        let resource = ConfigResource::from_code(kind);
        let target = match resource {
            Some(ConfigResource::Topic) => {
                if self.image.topic_by_name(name).is_none() {
                    let message = format!("there is no topic '{name}'");
                    return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
                }
                Resource::Topic
            }
            Some(ConfigResource::Broker) => self.broker_resource(name)?,
            Some(ConfigResource::ClientMetrics) => Resource::ClientMetrics
                .named(name)
                .map_err(|error| Self::config_refusal(Resource::ClientMetrics, &error))?,
            Some(ConfigResource::Group) => {
                Resource::Group.named(name).map_err(|error| Self::config_refusal(Resource::Group, &error))?
            }
            Some(ConfigResource::BrokerLogger) | None => {
                let message = format!("resources of type {kind} cannot be configured on this broker");
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
        };
        let none = Overrides::new();
        let layers = self.layers(&none);
        let current = resource.and_then(|resource| self.image.config(resource, name)).unwrap_or(&none);
        let changes =
            judge(target, current, &layers).map_err(|error| Self::config_refusal(target, &error))?;
        Ok(changes
            .into_iter()
            .map(|change| {
                ConfigRecord {
                    resource_type: kind,
                    resource_name: name.clone(),
                    name: change.key,
                    value: change.value,
                    ..ConfigRecord::default()
                }
                .into()
            })
            .collect())
    }

    /// Whose values the name of a BROKER resource means. Brokers hand on what they are asked, so it may be any node's.
    fn broker_resource(&self, name: &Str) -> Result<Resource, Refusal> {
        match Resource::of_broker_name(name, self.node) {
            Err(ConfigError::OtherBroker { received, .. }) => {
                let id = NodeId(received);
                if self.image.brokers().contains_key(&id) || self.image.controllers().contains_key(&id) {
                    return Ok(Resource::OtherBroker);
                }
                let message = format!("No node with id {id} found.");
                Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, message))
            }
            outcome => outcome.map_err(|error| Self::config_refusal(Resource::Broker, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cluster;
    use super::*;
    use sordini_protocol::messages::incremental_alter_configs_request::{
        AlterConfigsResource, AlterableConfig,
    };
    use sordini_protocol::records::PartitionRecord;

    const BROKER: i8 = 4;

    /// The error code, and how many records.
    fn set(controller: &Controller, broker: &str, key: &'static str, value: &'static str) -> (i16, usize) {
        let config = AlterableConfig {
            name: Str::from_static(key),
            value: Some(Str::from_static(value)),
            ..AlterableConfig::default()
        };
        let resource = AlterConfigsResource {
            resource_type: BROKER,
            resource_name: Str::from(broker),
            configs: alloc::vec![config],
            ..AlterConfigsResource::default()
        };
        let request =
            IncrementalAlterConfigsRequest { resources: alloc::vec![resource], ..Default::default() };
        let decision = controller.incremental_alter_configs(&request, &mut Outbox::default());
        (decision.response.responses[0].error_code, decision.records.len())
    }

    #[test]
    fn every_registered_broker_is_configured_and_nobody_else() {
        let partition = PartitionRecord { replicas: alloc::vec![1], ..PartitionRecord::default() };
        let controller = cluster(2, partition);
        for broker in ["", "1", "2"] {
            assert_eq!(set(&controller, broker, "log.cleaner.threads", "2"), (0, 1), "{broker:?}");
        }
        let unknown = ErrorCode::BrokerIdNotRegistered.as_i16();
        assert_eq!(set(&controller, "3", "log.cleaner.threads", "2"), (unknown, 0));
        let invalid = ErrorCode::InvalidRequest.as_i16();
        assert_eq!(set(&controller, "two", "log.cleaner.threads", "2"), (invalid, 0));
    }

    #[test]
    fn only_a_broker_itself_knows_whether_a_value_suits_it() {
        let partition = PartitionRecord { replicas: alloc::vec![1], ..PartitionRecord::default() };
        let controller = cluster(2, partition);
        // More than the double of what this node has, which may be the double of what that one has.
        let invalid = ErrorCode::InvalidRequest.as_i16();
        assert_eq!(set(&controller, "1", "num.io.threads", "100"), (invalid, 0));
        assert_eq!(set(&controller, "2", "num.io.threads", "100"), (0, 1));
    }
}
