//! Feature levels of the cluster: raised and lowered by UpdateFeatures (KIP-584, KIP-778).

use super::brokers::CONTROLLERS_REGISTER_FROM;
use super::cluster::{ELR_VERSION, FEATURES, KRAFT_VERSION, METADATA_VERSION};
use super::image::{ConfigResource, SupportedLevels};
use super::{Controller, ControllerRequest, Decision, Kraft, Refusal, text};
use crate::features;
use crate::ids::{NodeId, TopicIdPartition};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::update_features_request::FeatureUpdateKey;
use sordini_protocol::messages::update_features_response::UpdatableFeatureResult;
use sordini_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use sordini_protocol::records::{
    ConfigRecord, FeatureLevelRecord, MetadataRecord, NoOpRecord, PartitionChangeRecord,
};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::Str;

/// Levels of metadata.version that brought records or fields of records which the level before does not have.
const FORMAT_CHANGES: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];

/// With how many in sync a record is committed.
pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// Whether a level may fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

impl Direction {
    const fn of(update: &FeatureUpdateKey, version: i16) -> Option<Self> {
        match (version, update.allow_downgrade, update.upgrade_type) {
            (0, false, _) | (1.., _, 1) => Some(Self::Upgrade),
            (0, true, _) | (1.., _, 2) => Some(Self::SafeDowngrade),
            (1.., _, 3) => Some(Self::UnsafeDowngrade),
            _ => None,
        }
    }
}

/// Whether a request whose decision this is has the voters written into the log.
pub(crate) fn raises_kraft_version(request: &ControllerRequest, decision: &Decision<AnyResponse>) -> bool {
    let ControllerRequest::UpdateFeatures(request) = request else { return false };
    let AnyResponse::UpdateFeatures(response) = &decision.response else { return false };
    let mut updates = request.feature_updates.iter();
    response.error_code == ErrorCode::None.as_i16()
        && !request.validate_only
        && updates.any(|update| *update.feature == *KRAFT_VERSION.0 && update.max_version_level > 0)
}

/// Whether replicas that left the ISR may lead from this record on.
fn enables_elr(record: &MetadataRecord) -> bool {
    matches!(record, MetadataRecord::FeatureLevel(record)
        if *record.name == *ELR_VERSION.0 && record.feature_level > 0)
}

impl Controller {
    /// Either every level is changed or none.
    pub(super) fn update_features(
        &self,
        request: &UpdateFeaturesRequest,
        version: i16,
        kraft: Kraft,
    ) -> Decision<UpdateFeaturesResponse> {
        let mut seen = BTreeSet::new();
        let outcome: Result<Vec<Option<MetadataRecord>>, Refusal> = request
            .feature_updates
            .iter()
            .map(|update| {
                if !seen.insert(&update.feature) {
                    let message = format!("the request names feature {} more than once", update.feature);
                    return Err(Refusal::new(ErrorCode::InvalidRequest, message));
                }
                self.update_feature(update, Direction::of(update, version), &request.feature_updates, kraft)
            })
            .collect();
        let mut response = UpdateFeaturesResponse { error_message: None, ..Default::default() };
        let mut records = Vec::new();
        match outcome {
            Ok(changes) => {
                if !request.validate_only {
                    let changes: Vec<_> = changes.into_iter().flatten().collect();
                    records.extend(self.min_insync_replicas_for(&changes));
                    records.extend(self.eligible_before(&changes));
                    records.extend(changes);
                }
                // From version 2 on there is one answer for all.
                if version < 2 {
                    let result = |update: &FeatureUpdateKey| UpdatableFeatureResult {
                        feature: update.feature.clone(),
                        error_message: None,
                        ..UpdatableFeatureResult::default()
                    };
                    response.results = request.feature_updates.iter().map(result).collect();
                }
            }
            Err(refusal) => {
                response.error_code = refusal.code.as_i16();
                let message = format!(
                    "The update failed for all features since the following feature had an error: {}",
                    refusal.message
                );
                response.error_message = text(&message);
            }
        }
        Decision { records, response }
    }

    /// The record of one update beside others; `None` if the level is what it is to be.
    fn update_feature(
        &self,
        update: &FeatureUpdateKey,
        direction: Option<Direction>,
        updates: &[FeatureUpdateKey],
        kraft: Kraft,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let (feature, wanted) = (&*update.feature, update.max_version_level);
        let error = |message: String| Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message));
        let refusal =
            |why: &str| error(format!("Invalid update version {wanted} for feature {feature}. {why}"));
        let Some(direction) = direction else {
            return refusal("The controller does not support the given upgrade type.");
        };
        if wanted < 0 {
            return refusal("A feature version cannot be less than 0.");
        }
        if let Some(why) = self.not_supported(feature, wanted) {
            return refusal(&why);
        }
        if FEATURES.iter().all(|(name, ..)| *name != feature) {
            return refusal(&format!("Feature {feature} not found."));
        }
        let is_kraft = *feature == *KRAFT_VERSION.0;
        let current = if is_kraft { kraft.level } else { self.image.feature_level(feature) };
        if wanted == current {
            return Ok(None);
        }
        match direction {
            Direction::Upgrade if wanted < current => {
                return refusal(
                    "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                     unsafe downgrade.",
                );
            }
            Direction::SafeDowngrade | Direction::UnsafeDowngrade if wanted > current => {
                return refusal("Can't downgrade to a newer version.");
            }
            Direction::Upgrade | Direction::SafeDowngrade | Direction::UnsafeDowngrade => {}
        }
        if is_kraft {
            if wanted < current {
                return refusal("Can't downgrade the version of this feature.");
            }
            if !kraft.may_rise {
                return error(format!(
                    "Invalid upgrade of {feature} to KRAFT_VERSION_{wanted} because not all of the voters support it"
                ));
            }
            // The change itself stands in records of the quorum. Behind this one of the controller's it is committed.
            return Ok(Some(NoOpRecord::default().into()));
        }
        // The log would still hold what the lower level does not know.
        let is_metadata = *feature == *METADATA_VERSION.0;
        if is_metadata && FORMAT_CHANGES.iter().any(|level| (wanted + 1..=current).contains(level)) {
            let why = match direction {
                Direction::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
                Direction::SafeDowngrade | Direction::Upgrade => {
                    "Refusing to perform the requested downgrade because it might delete metadata information."
                }
            };
            return error(format!("Unsupported {feature} downgrade from {current} to {wanted}. {why}"));
        }
        let proposed = |name: &str| {
            let update = updates.iter().find(|update| *update.feature == *name);
            update.map_or_else(|| self.image.feature_level(name), |update| update.max_version_level)
        };
        if let Some(why) = features::unmet_dependency(feature, wanted, proposed) {
            return refusal(&why);
        }
        let record = FeatureLevelRecord {
            name: update.feature.detached(),
            feature_level: wanted,
            ..FeatureLevelRecord::default()
        };
        Ok(Some(record.into()))
    }

    /// Who was eligible to lead when ELR was taken away is not any more when it comes again, where anybody is in sync: in between
    /// `min.insync.replicas` may have fallen, and something may be committed that only those in sync have.
    fn eligible_before(&self, changes: &[MetadataRecord]) -> Vec<MetadataRecord> {
        if self.has_elr() || !changes.iter().any(enables_elr) {
            return Vec::new();
        }
        let partitions = self.image.partition_ids().filter_map(|id| Some((id, self.image.partition(id)?)));
        let stale = partitions
            .filter(|(_, state)| !state.eligible_leader_replicas.is_empty() && !state.isr.is_empty());
        let record = |(id, _): (TopicIdPartition, _)| {
            let record = PartitionChangeRecord {
                partition_id: id.partition,
                topic_id: id.topic,
                eligible_leader_replicas: Some(Vec::new()),
                ..PartitionChangeRecord::default()
            };
            record.into()
        };
        stale.map(record).collect()
    }

    /// What belongs to records from which on replicas that left the ISR may lead: `min.insync.replicas` is the same for all
    /// brokers then (KIP-966).
    pub(crate) fn min_insync_replicas_for(&self, changes: &[MetadataRecord]) -> Vec<MetadataRecord> {
        if !changes.iter().any(enables_elr) {
            return Vec::new();
        }
        let record = |resource: &Str, value: Option<&str>| -> MetadataRecord {
            let record = ConfigRecord {
                resource_type: ConfigResource::Broker.code(),
                resource_name: resource.clone(),
                name: Str::from_static(MIN_INSYNC_REPLICAS),
                value: value.map(Str::from),
                ..ConfigRecord::default()
            };
            record.into()
        };
        let configs = self.image.configs().iter();
        let of_brokers = configs.filter(|((resource, _), values)| {
            *resource == ConfigResource::Broker && values.contains_key(MIN_INSYNC_REPLICAS)
        });
        let named: BTreeSet<&Str> = of_brokers.map(|((_, name), _)| name).collect();
        let mut records = Vec::new();
        if !named.contains(&Str::default()) {
            let value = self.config.topic_defaults.min_insync_replicas.to_string();
            records.push(record(&Str::default(), Some(&value)));
        }
        records.extend(named.into_iter().filter(|name| !name.is_empty()).map(|name| record(name, None)));
        records
    }

    /// Who could not live with a level, and what it can.
    fn not_supported(&self, feature: &str, level: i16) -> Option<String> {
        let of = |features: &BTreeMap<Str, SupportedLevels>| {
            features.get(feature).map_or((0, 0), |levels| (levels.min, levels.max))
        };
        let own = FEATURES.into_iter().find(|(name, ..)| *name == feature);
        let local =
            (format!("Local controller {}", self.node), own.map_or((0, 0), |(_, min, max)| (min, max)));
        let brokers = self.image.brokers().iter();
        let brokers = brokers.map(|(id, broker)| (format!("Broker {id}"), of(&broker.features)));
        let is_registering = self.image.metadata_version() >= CONTROLLERS_REGISTER_FROM;
        let controllers =
            self.image.controllers().iter().filter(|(id, _)| is_registering && **id != self.node);
        let controllers = controllers.map(|(id, it)| (format!("Controller {id}"), of(&it.features)));
        let problem = |(who, (min, max)): (String, (i16, i16))| match (min..=max).contains(&level) {
            true => None,
            false if max == 0 => Some(format!("{who} does not support this feature.")),
            false if min == max => Some(format!("{who} only supports versions {min}")),
            false => Some(format!("{who} only supports versions {min}-{max}")),
        };
        let unknown = || {
            let configured = self.config.controller_quorum_voters.iter().map(|voter| voter.id);
            let is_known = |id: &NodeId| *id == self.node || self.image.controllers().contains_key(id);
            let id = configured.into_iter().find(|id| is_registering && !is_known(id))?;
            Some(format!("controller {id} has not registered, and may not support this feature"))
        };
        core::iter::once(local).chain(brokers).chain(controllers).find_map(problem).or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::controller;
    use super::*;
    use alloc::vec;
    use sordini_protocol::records::register_broker_record::BrokerFeature;
    use sordini_protocol::records::{PartitionRecord, RegisterBrokerRecord, TopicRecord};
    use sordini_protocol::wire::{Str, Uuid};

    fn at_level(level: i16) -> MetadataRecord {
        let name = Str::from_static("metadata.version");
        FeatureLevelRecord { name, feature_level: level, ..Default::default() }.into()
    }

    fn update(feature: &str, level: i16, upgrade_type: i8) -> UpdateFeaturesRequest {
        let update = FeatureUpdateKey {
            feature: Str::from(feature),
            max_version_level: level,
            upgrade_type,
            ..FeatureUpdateKey::default()
        };
        UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() }
    }

    #[test]
    fn a_level_rises_freely_and_falls_where_the_format_stays() {
        let table = [
            (25, 30, 1, true),
            (30, 30, 1, true),
            (30, 30, 2, true),
            (25, 24, 1, false),
            (25, 24, 2, true),
            (25, 24, 3, true),
            (25, 23, 2, true),
            (25, 22, 2, false),
            (25, 22, 3, false),
            (30, 29, 2, false),
            (25, 26, 2, false),
            (25, 26, 0, false),
            (25, 26, 4, false),
            (25, 31, 1, false),
            (7, 6, 3, false),
            (25, -1, 3, false),
        ];
        for (from, to, upgrade_type, is_allowed) in table {
            let controller = controller([at_level(from)]);
            let request = update("metadata.version", to, upgrade_type);
            let Decision { records, response } = controller.update_features(&request, 2, Kraft::default());
            let code = if is_allowed { 0 } else { ErrorCode::InvalidUpdateVersion.as_i16() };
            assert_eq!(response.error_code, code, "{from} {to} {upgrade_type}: {:?}", response.error_message);
            let is_change = is_allowed && from != to;
            assert_eq!(records, if is_change { vec![at_level(to)] } else { vec![] });
        }
    }

    fn message(response: &UpdateFeaturesResponse) -> &str {
        let message = response.error_message.as_deref().unwrap_or_default();
        let start = "The update failed for all features since the following feature had an error: ";
        message.strip_prefix(start).unwrap_or(message)
    }

    #[test]
    fn with_eligible_leader_replicas_all_brokers_have_the_same_min_insync_replicas() {
        let name = "eligible.leader.replicas.version";
        let at = |level| -> MetadataRecord {
            let name = Str::from_static(name);
            FeatureLevelRecord { name, feature_level: level, ..Default::default() }.into()
        };
        let config = |broker: &'static str, value: Option<&'static str>| -> MetadataRecord {
            let record = ConfigRecord {
                resource_type: ConfigResource::Broker.code(),
                resource_name: Str::from_static(broker),
                name: Str::from_static(MIN_INSYNC_REPLICAS),
                value: value.map(Str::from_static),
                ..ConfigRecord::default()
            };
            record.into()
        };
        let raised = |records: Vec<MetadataRecord>| {
            let controller = controller([at_level(30)].into_iter().chain(records));
            let request = update(name, 1, 1);
            controller.update_features(&request, 2, Kraft::default()).records
        };
        assert_eq!(raised(vec![]), [config("", Some("1")), at(1)]);
        let of_brokers = raised(vec![config("", Some("2")), config("5", Some("3"))]);
        assert_eq!(of_brokers, [config("5", None), at(1)]);
        assert_eq!(raised(vec![at(1)]), []);
        let lowered = controller([at_level(30), at(1)]);
        let decision = lowered.update_features(&update(name, 0, 2), 2, Kraft::default());
        assert_eq!(decision.records, [at(0)]);
    }

    #[test]
    fn who_was_eligible_before_is_not_any_more_where_anybody_is_in_sync() {
        let topic_id = Uuid::from_u64s(1, 1);
        let topic = TopicRecord { name: Str::from_static("orders"), topic_id, ..Default::default() };
        let partition = |partition_id, isr: &[i32]| -> MetadataRecord {
            let record = PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1, 2],
                isr: isr.to_vec(),
                eligible_leader_replicas: Some(vec![2]),
                leader: isr.first().copied().unwrap_or(-1),
                ..PartitionRecord::default()
            };
            record.into()
        };
        let records = [at_level(30), topic.into(), partition(0, &[1]), partition(1, &[])];
        let controller = controller(records);
        let request = update("eligible.leader.replicas.version", 1, 1);
        let records = controller.update_features(&request, 2, Kraft::default()).records;
        let changed: Vec<_> = records
            .iter()
            .filter_map(|record| {
                let MetadataRecord::PartitionChange(record) = record else { return None };
                Some((record.partition_id, record.eligible_leader_replicas.clone()))
            })
            .collect();
        assert_eq!(changed, [(0, Some(vec![]))]);
    }

    #[test]
    fn a_level_needs_what_it_needs_of_others_in_the_same_request() {
        let controller = controller([at_level(22)]);
        let mut request = update("eligible.leader.replicas.version", 1, 1);
        let response = controller.update_features(&request, 2, Kraft::default()).response;
        assert_eq!(
            message(&response),
            "Invalid update version 1 for feature eligible.leader.replicas.version. eligible.leader.replicas.version could \
             not be set to 1 because it depends on metadata.version level 23"
        );
        request.feature_updates.extend(update("metadata.version", 23, 1).feature_updates);
        let decision = controller.update_features(&request, 2, Kraft::default());
        assert_eq!((decision.response.error_code, decision.records.len()), (0, 3));
    }

    #[test]
    fn kraft_version_rises_if_all_voters_are_ready_and_never_falls() {
        let kraft = |level, may_rise| Kraft { level, may_rise };
        let no_fall = "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature.";
        let table = [
            (1, 1, kraft(0, true), ""),
            (1, 1, kraft(1, false), ""),
            (0, 1, kraft(0, true), ""),
            (
                1,
                1,
                kraft(0, false),
                "Invalid upgrade of kraft.version to KRAFT_VERSION_1 because not all of the voters support it",
            ),
            (0, 2, kraft(1, true), no_fall),
            (0, 3, kraft(1, true), no_fall),
            (
                2,
                1,
                kraft(1, true),
                "Invalid update version 2 for feature kraft.version. Local controller 1 only supports versions 0-1",
            ),
        ];
        let controller = controller([at_level(30)]);
        for (level, upgrade_type, kraft, why) in table {
            for validate_only in [false, true] {
                let mut request = update("kraft.version", level, upgrade_type);
                request.validate_only = validate_only;
                let decision = controller.update_features(&request, 2, kraft);
                assert_eq!(message(&decision.response), why, "{level} {kraft:?}");
                assert_eq!(decision.response.error_code, if why.is_empty() { 0 } else { 95 });
                let rises = why.is_empty() && level > kraft.level && !validate_only;
                assert_eq!(decision.records.len(), usize::from(rises), "{level} {kraft:?}");
                let decision = decision.map(AnyResponse::UpdateFeatures);
                let request = ControllerRequest::UpdateFeatures(request);
                let is_wanted = why.is_empty() && level > 0 && !validate_only;
                assert_eq!(raises_kraft_version(&request, &decision), is_wanted, "{level} {kraft:?}");
            }
        }
    }

    #[test]
    fn a_refusal_says_who_does_not_support_what() {
        let controller = controller([at_level(30)]);
        let table = [
            ("nonsense", 1, 1, "Local controller 1 does not support this feature."),
            ("nonsense", 0, 2, "Feature nonsense not found."),
            ("group.version", 9, 1, "Local controller 1 only supports versions 0-1"),
            ("metadata.version", 31, 1, "Local controller 1 only supports versions 7-30"),
            ("group.version", -1, 3, "A feature version cannot be less than 0."),
            ("group.version", 1, 2, "Can't downgrade to a newer version."),
            ("group.version", 1, 0, "The controller does not support the given upgrade type."),
        ];
        for (feature, level, upgrade_type, why) in table {
            let request = update(feature, level, upgrade_type);
            let response = controller.update_features(&request, 2, Kraft::default()).response;
            let expected = format!("Invalid update version {level} for feature {feature}. {why}");
            assert_eq!((response.error_code, message(&response)), (95, &*expected));
        }
    }

    #[test]
    fn a_level_that_some_broker_does_not_support_is_refused() {
        let feature = BrokerFeature {
            name: Str::from_static("metadata.version"),
            min_supported_version: 7,
            max_supported_version: 26,
            ..BrokerFeature::default()
        };
        let broker = RegisterBrokerRecord { broker_id: 5, features: vec![feature], ..Default::default() };
        let controller = controller([at_level(25), broker.into()]);
        let request = |level| update("metadata.version", level, 1);
        assert_eq!(controller.update_features(&request(26), 2, Kraft::default()).response.error_code, 0);
        let response = controller.update_features(&request(27), 2, Kraft::default()).response;
        let message = response.error_message.expect("it says why");
        assert!(message.contains("Broker 5"), "{message}");
    }

    #[test]
    fn all_levels_change_or_none_and_none_in_a_dry_run() {
        let controller = controller([at_level(25)]);
        let mut request = update("metadata.version", 26, 1);
        request.validate_only = true;
        let Decision { records, response } = controller.update_features(&request, 1, Kraft::default());
        assert_eq!((records.len(), response.error_code, response.results.len()), (0, 0, 1));
        request.validate_only = false;
        request.feature_updates.push(FeatureUpdateKey {
            feature: Str::from_static("nonsense.version"),
            max_version_level: 1,
            ..FeatureUpdateKey::default()
        });
        let Decision { records, response } = controller.update_features(&request, 1, Kraft::default());
        assert_eq!(records, []);
        assert_eq!((response.error_code, response.results.len()), (95, 0));
        let twice = request.feature_updates[0].clone();
        request.feature_updates[1] = twice;
        let response = controller.update_features(&request, 1, Kraft::default()).response;
        assert_eq!(response.error_code, ErrorCode::InvalidRequest.as_i16());
    }
}
