//! Feature levels of the cluster: raised and lowered by UpdateFeatures (KIP-584, KIP-778).

use super::cluster::{FEATURES, KRAFT_VERSION, METADATA_VERSION};
use super::{Controller, Decision, Refusal, text};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::update_features_request::FeatureUpdateKey;
use sordini_protocol::messages::update_features_response::UpdatableFeatureResult;
use sordini_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use sordini_protocol::records::{FeatureLevelRecord, MetadataRecord};

/// Levels of metadata.version that brought records or fields of records which the level before does not have.
const FORMAT_CHANGES: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];

/// Whether a level may fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

impl Controller {
    /// Either every level is changed or none.
    pub(super) fn update_features(
        &self,
        request: &UpdateFeaturesRequest,
        version: i16,
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
                self.update_feature(update, version)
            })
            .collect();
        let mut response = UpdateFeaturesResponse { error_message: None, ..Default::default() };
        let mut records = Vec::new();
        match outcome {
            Ok(changes) => {
                if !request.validate_only {
                    records.extend(changes.into_iter().flatten());
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
                let message = format!("No feature was updated, because of one: {}", refusal.message);
                response.error_message = text(&message);
            }
        }
        Decision { records, response }
    }

    fn update_feature(
        &self,
        update: &FeatureUpdateKey,
        version: i16,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let (feature, wanted) = (&update.feature, update.max_version_level);
        let refusal = |why: String| {
            let message = format!("Invalid update version {wanted} for feature {feature}. {why}");
            Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message))
        };
        let direction = match (version, update.allow_downgrade, update.upgrade_type) {
            (0, false, _) | (1.., _, 1) => Direction::Upgrade,
            (0, true, _) | (1.., _, 2) => Direction::SafeDowngrade,
            (1.., _, 3) => Direction::UnsafeDowngrade,
            (_, _, other) => return refusal(format!("There is no upgrade type {other}.")),
        };
        if wanted < 0 {
            return refusal("A level is not below 0.".into());
        }
        if **feature == *KRAFT_VERSION.0 {
            let (_, min, max) = KRAFT_VERSION;
            if !(min..=max).contains(&wanted) {
                return refusal(format!("The controller supports the levels from {min} to {max}."));
            }
            return refusal("kraft.version is chosen when the cluster is formatted.".into());
        }
        let Some((_, min, max)) = FEATURES.into_iter().find(|(name, ..)| **feature == **name) else {
            return refusal("The controller does not know the feature.".into());
        };
        if !(min..=max).contains(&wanted) {
            return refusal(format!("The controller supports the levels from {min} to {max}."));
        }
        if let Some(who) = self.without_support(feature, wanted) {
            return refusal(format!("{who} does not support the level."));
        }
        let current = self.image.feature_level(feature);
        if wanted == current {
            return Ok(None);
        }
        match direction {
            Direction::Upgrade if wanted < current => {
                return refusal(format!(
                    "The level is {current}, and a lower one needs the upgrade type of a safe or unsafe downgrade."
                ));
            }
            Direction::SafeDowngrade | Direction::UnsafeDowngrade if wanted > current => {
                return refusal(format!("The level is {current}, and this would not be a downgrade."));
            }
            Direction::Upgrade | Direction::SafeDowngrade | Direction::UnsafeDowngrade => {}
        }
        // The log would still hold what the lower level does not know.
        let is_metadata = **feature == *METADATA_VERSION.0;
        if is_metadata
            && wanted < current
            && FORMAT_CHANGES.iter().any(|level| (wanted + 1..=current).contains(level))
        {
            return refusal(match direction {
                Direction::UnsafeDowngrade => "Unsafe downgrades of the metadata are not supported.".into(),
                Direction::SafeDowngrade | Direction::Upgrade => {
                    "The downgrade might lose metadata that the lower level does not know.".into()
                }
            });
        }
        let record = FeatureLevelRecord {
            name: feature.detached(),
            feature_level: wanted,
            ..FeatureLevelRecord::default()
        };
        Ok(Some(record.into()))
    }

    /// A registered node that could not live with a level.
    fn without_support(&self, feature: &str, level: i16) -> Option<String> {
        let brokers = self.image.brokers().iter();
        let brokers = brokers.map(|(id, broker)| ("Broker", id, &broker.features));
        let controllers = self.image.controllers().iter();
        let controllers = controllers.map(|(id, controller)| ("Controller", id, &controller.features));
        brokers
            .chain(controllers)
            .find(|(_, _, features)| {
                features.get(feature).is_none_or(|levels| level < levels.min || levels.max < level)
            })
            .map(|(role, id, _)| format!("{role} {id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::controller;
    use super::*;
    use alloc::vec;
    use sordini_protocol::records::RegisterBrokerRecord;
    use sordini_protocol::records::register_broker_record::BrokerFeature;
    use sordini_protocol::wire::Str;

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
            let Decision { records, response } = controller.update_features(&request, 2);
            let code = if is_allowed { 0 } else { ErrorCode::InvalidUpdateVersion.as_i16() };
            assert_eq!(response.error_code, code, "{from} {to} {upgrade_type}: {:?}", response.error_message);
            let is_change = is_allowed && from != to;
            assert_eq!(records, if is_change { vec![at_level(to)] } else { vec![] });
        }
    }

    #[test]
    fn the_feature_of_eligible_leader_replicas_is_raised_and_lowered() {
        let name = "eligible.leader.replicas.version";
        let at = |level| -> MetadataRecord {
            let name = Str::from_static(name);
            FeatureLevelRecord { name, feature_level: level, ..Default::default() }.into()
        };
        let mut controller = controller([at_level(30)]);
        assert_eq!(controller.image().feature_level(name), 0);
        for (level, upgrade_type) in [(1, 1), (0, 2)] {
            let records = controller.update_features(&update(name, level, upgrade_type), 2).records;
            assert_eq!(records, [at(level)]);
            controller.apply(&records[0]);
            assert_eq!(controller.image().feature_level(name), level);
        }
        assert_eq!(controller.update_features(&update(name, 2, 1), 2).response.error_code, 95);
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
        assert_eq!(controller.update_features(&request(26), 2).response.error_code, 0);
        let response = controller.update_features(&request(27), 2).response;
        let message = response.error_message.expect("it says why");
        assert!(message.contains("Broker 5"), "{message}");
    }

    #[test]
    fn all_levels_change_or_none_and_none_in_a_dry_run() {
        let controller = controller([at_level(25)]);
        let mut request = update("metadata.version", 26, 1);
        request.validate_only = true;
        let Decision { records, response } = controller.update_features(&request, 1);
        assert_eq!((records.len(), response.error_code, response.results.len()), (0, 0, 1));
        request.validate_only = false;
        request.feature_updates.push(FeatureUpdateKey {
            feature: Str::from_static("nonsense.version"),
            max_version_level: 1,
            ..FeatureUpdateKey::default()
        });
        let Decision { records, response } = controller.update_features(&request, 1);
        assert_eq!(records, []);
        assert_eq!((response.error_code, response.results.len()), (95, 0));
        let twice = request.feature_updates[0].clone();
        request.feature_updates[1] = twice;
        let response = controller.update_features(&request, 1).response;
        assert_eq!(response.error_code, ErrorCode::InvalidRequest.as_i16());
    }
}
