//! Dynamic configuration of topics, brokers, groups and client metrics subscriptions (KIP-226, KIP-339, KIP-714).

use super::features::MIN_INSYNC_REPLICAS;
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
use sordini_protocol::records::{ClearElrRecord, ConfigRecord, MetadataRecord};
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
        let elr = self.clear_elr_for(target, name, &changes)?;
        let changes = changes.into_iter().map(|change| {
            ConfigRecord {
                resource_type: kind,
                resource_name: name.clone(),
                name: change.key,
                value: change.value,
                ..ConfigRecord::default()
            }
            .into()
        });
        Ok(changes.chain(elr).collect())
    }

    /// Who is eligible to lead was judged by what `min.insync.replicas` was, and is judged anew when that changes. It is the same
    /// for all brokers, since any of them may have to judge next (KIP-966).
    fn clear_elr_for(
        &self,
        target: Resource,
        name: &Str,
        changes: &[ConfigChange],
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let Some(change) = changes.iter().find(|change| *change.key == *MIN_INSYNC_REPLICAS) else {
            return Ok(None);
        };
        let refusal = |what: &str| {
            let message = format!("{what} while ELR is enabled.");
            Err(Refusal::new(ErrorCode::InvalidConfig, message))
        };
        match target {
            _ if !self.has_elr() => Ok(None),
            Resource::Broker | Resource::OtherBroker => {
                refusal("Broker-level min.insync.replicas cannot be altered")
            }
            Resource::ClusterDefault if change.value.is_none() => {
                refusal("Cluster-level min.insync.replicas cannot be removed")
            }
            // The empty name stands for every topic.
            Resource::Topic | Resource::ClusterDefault => {
                Ok(Some(ClearElrRecord { topic_name: name.clone(), ..ClearElrRecord::default() }.into()))
            }
            Resource::ClientMetrics | Resource::Group => Ok(None),
        }
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
    use super::super::cluster::ELR_VERSION;
    use super::super::tests::cluster;
    use super::*;
    use alloc::string::ToString;
    use sordini_protocol::messages::incremental_alter_configs_request::{
        AlterConfigsResource, AlterableConfig,
    };
    use sordini_protocol::records::{FeatureLevelRecord, PartitionRecord};

    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;

    /// The error code, and how many records.
    fn set(controller: &Controller, broker: &str, key: &'static str, value: &'static str) -> (i16, usize) {
        let (code, records) = alter(controller, (BROKER, broker), key, Some(value));
        (code, records.len())
    }

    fn alter(
        controller: &Controller,
        (resource_type, name): (i8, &str),
        key: &'static str,
        value: Option<&'static str>,
    ) -> (i16, Vec<MetadataRecord>) {
        let config = AlterableConfig {
            name: Str::from_static(key),
            config_operation: i8::from(value.is_none()),
            value: value.map(Str::from_static),
            ..AlterableConfig::default()
        };
        let resource = AlterConfigsResource {
            resource_type,
            resource_name: Str::from(name),
            configs: alloc::vec![config],
            ..AlterConfigsResource::default()
        };
        let request =
            IncrementalAlterConfigsRequest { resources: alloc::vec![resource], ..Default::default() };
        let decision = controller.incremental_alter_configs(&request, &mut Outbox::default());
        (decision.response.responses[0].error_code, decision.records)
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
    fn min_insync_replicas_is_the_same_for_all_brokers_where_others_than_the_isr_may_lead() {
        let partition = PartitionRecord { replicas: alloc::vec![1], ..PartitionRecord::default() };
        let mut controller = cluster(2, partition);
        let changed = |controller: &Controller, resource, value| {
            let (code, records) = alter(controller, resource, MIN_INSYNC_REPLICAS, value);
            let cleared = records.iter().find_map(|record| {
                let MetadataRecord::ClearElr(record) = record else { return None };
                Some(record.topic_name.to_string())
            });
            (code, cleared)
        };
        assert_eq!(changed(&controller, (BROKER, "1"), Some("2")), (0, None));
        assert_eq!(changed(&controller, (TOPIC, "orders"), Some("2")), (0, None));
        let (name, feature_level) = (Str::from_static(ELR_VERSION.0), 1);
        controller.apply(&FeatureLevelRecord { name, feature_level, ..Default::default() }.into());
        for record in alter(&controller, (BROKER, ""), MIN_INSYNC_REPLICAS, Some("2")).1 {
            controller.apply(&record);
        }
        let invalid = ErrorCode::InvalidConfig.as_i16();
        assert_eq!(changed(&controller, (BROKER, "1"), Some("2")), (invalid, None));
        assert_eq!(changed(&controller, (BROKER, "2"), None), (0, None), "it has none");
        assert_eq!(changed(&controller, (BROKER, ""), None), (invalid, None));
        assert_eq!(changed(&controller, (BROKER, ""), Some("3")), (0, Some("".into())), "of every topic");
        assert_eq!(changed(&controller, (TOPIC, "orders"), Some("2")), (0, Some("orders".into())));
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
