//! `metadata_images`: what every controller says at the end, and what every node knows of partitions, brokers, features and access
//! control entries, is what the committed log says, replayed from its beginning (K9, K13). And whoever is told the finalized
//! levels of features is told those of the offset that he is told with them (KIP-584).

use super::Reading;
use super::cluster::{Cluster, Partition};
use crate::check::Violation;
use crate::plan::{BrokerPlan, Feature};
use sordini_core::ids::NodeId;
use sordini_core::node::{Node, PartitionStateView};
use sordini_protocol::messages::ApiVersionsResponse;
use sordini_protocol::records::AccessControlEntryRecord;
use sordini_protocol::wire::Uuid;
use std::collections::BTreeMap;

/// What a node knows of partitions and brokers.
#[derive(Clone, Debug)]
pub struct Image {
    /// The node, by its place in the plan.
    node: usize,
    /// By topic and index.
    partitions: BTreeMap<(String, i32), Partition>,
    /// By number: epoch, whether it is fenced, whether it is about to go.
    brokers: BTreeMap<i32, (i64, bool, bool)>,
    acls: BTreeMap<Uuid, AccessControlEntryRecord>,
    /// The levels above 0 of features, by name.
    features: BTreeMap<String, i16>,
}

impl Image {
    /// What the node at a place in the plan knows.
    #[must_use]
    pub fn of(place: usize, node: &Node) -> Self {
        let ids = |nodes: &[NodeId]| nodes.iter().map(|id| id.0).collect();
        let partition = |view: PartitionStateView<'_>| {
            let partition = Partition {
                replicas: ids(view.replicas),
                isr: ids(view.isr),
                adding: ids(view.adding_replicas),
                removing: ids(view.removing_replicas),
                elr: ids(view.eligible_leader_replicas),
                last_known: ids(view.last_known_elr),
                leader: view.leader.map_or(-1, |id| id.0),
                leader_epoch: view.leader_epoch.0,
                partition_epoch: view.partition_epoch.0,
                is_recovering: view.leader_recovery_state > 0,
            };
            ((view.topic.to_owned(), view.id.partition), partition)
        };
        let brokers = node
            .known_brokers()
            .map(|view| (view.id.0, (view.epoch.0, view.is_fenced, view.in_controlled_shutdown)));
        Self {
            node: place,
            partitions: node.known_partitions().map(partition).collect(),
            brokers: brokers.collect(),
            acls: node.known_acls().map(|record| (record.id, record)).collect(),
            features: node.known_features().map(|(name, level)| (name.to_owned(), level)).collect(),
        }
    }
}

pub(super) fn check_images(images: &[Image], cluster: &Cluster) -> Result<(), Violation> {
    let violation = |sentence| Err(Violation { property: "metadata_images", sentence });
    let of_topic = |topic: &super::cluster::Topic| {
        let name = topic.name.clone();
        let named = move |(index, partition): (&i32, &Partition)| ((name.clone(), *index), partition.clone());
        topic.partitions.iter().map(named).collect::<Vec<_>>()
    };
    let partitions: BTreeMap<(String, i32), Partition> = cluster.topics.values().flat_map(of_topic).collect();
    let brokers: BTreeMap<i32, (i64, bool, bool)> = cluster
        .brokers
        .iter()
        .map(|(id, broker)| (*id, (broker.epoch, broker.is_fenced, broker.is_leaving)))
        .collect();
    for image in images {
        let node = image.node;
        if image.partitions != partitions {
            return violation(format!(
                "at the end node {node} knows of the partitions {:?}, and by the log they are {partitions:?}",
                image.partitions
            ));
        }
        if image.brokers != brokers {
            return violation(format!(
                "at the end node {node} knows of the brokers {:?}, each with its epoch, whether it is fenced and whether it is \
                 about to go, and by the log they are {brokers:?}",
                image.brokers
            ));
        }
        let acls = &cluster.access_control.entries;
        if image.acls != *acls {
            return violation(format!(
                "at the end node {node} knows of the access control entries {:?}, and by the log they are {acls:?}",
                image.acls
            ));
        }
        let features = cluster.levels_below(i64::MAX);
        if image.features != features {
            return violation(format!(
                "at the end node {node} knows of the features {:?}, and by the log they are {features:?}",
                image.features
            ));
        }
    }
    Ok(())
}

/// A node tells the finalized levels of features.
pub(super) fn check_told(
    node: usize,
    response: &ApiVersionsResponse,
    cluster: &Cluster,
) -> Result<(), Violation> {
    let end = response.finalized_features_epoch + 1;
    let told = response.finalized_features.iter();
    let mut told: BTreeMap<String, i16> =
        told.map(|feature| (feature.name.to_string(), feature.max_version_level)).collect();
    let committed = cluster.levels_below(end);
    // Where the log names the voters, it does so from when that is appended on.
    let kraft = Feature::KraftVersion.name();
    if !committed.contains_key(kraft) {
        told.remove(kraft);
    }
    if told == committed || end > cluster.end {
        return Ok(());
    }
    Err(Violation {
        property: "metadata_images",
        sentence: format!(
            "node {node} tells the finalized features {told:?} as of what lies below {end}, and by the log they were {committed:?}"
        ),
    })
}

pub(super) fn check(readings: &[Reading<'_>], cluster: &Cluster) -> Result<(), Violation> {
    let set = |topic: &super::cluster::Topic| topic.configs.get(BrokerPlan::TOPIC_KEY).cloned();
    let replayed: BTreeMap<String, Option<String>> =
        cluster.topics.values().map(|topic| (topic.name.clone(), set(topic))).collect();
    match readings.iter().find(|reading| *reading.topics != replayed) {
        None => Ok(()),
        Some(Reading { node, at_us, topics, .. }) => Err(Violation {
            property: "metadata_images",
            sentence: format!(
                "at {at_us} us node {node} says that the topics are {topics:?}, and by the log they are {replayed:?}"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::messages::api_versions_response::FinalizedFeatureKey;
    use sordini_protocol::wire::Str;

    #[test]
    fn every_controller_has_the_topics_that_the_log_has() {
        let cluster = Cluster::example();
        let values = BTreeMap::new();
        let judge = |topics: &[(&str, Option<&str>)]| {
            let owned = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
            let topics = topics.iter().map(owned).collect();
            let reading = Reading { node: 2, at_us: 100, values: &values, topics: &topics };
            check(&[reading], &cluster).map_err(|violation| violation.sentence)
        };
        assert_eq!(judge(&[("orders", None)]), Ok(()));
        assert!(judge(&[("orders", Some("7"))]).is_err_and(|why| why.contains("node 2 says")));
        assert!(judge(&[]).is_err());
        assert!(judge(&[("orders", None), ("returns", None)]).is_err());
    }

    #[test]
    fn who_is_told_of_features_is_told_what_is_committed_at_the_offset_he_is_told() {
        let mut cluster = Cluster::example();
        let (kraft, metadata) = (Feature::KraftVersion.name(), Feature::MetadataVersion.name());
        cluster.features.insert(metadata.to_owned(), vec![(0, 29), (20, 30)]);
        cluster.features.insert(kraft.to_owned(), vec![(20, 1)]);
        cluster.end = 21;
        let judge = |epoch, levels: &[(&'static str, i16)]| {
            let told = levels.iter().map(|(name, level)| FinalizedFeatureKey {
                name: Str::from_static(name),
                max_version_level: *level,
                ..FinalizedFeatureKey::default()
            });
            let response = ApiVersionsResponse {
                finalized_features_epoch: epoch,
                finalized_features: told.collect(),
                ..ApiVersionsResponse::default()
            };
            check_told(1, &response, &cluster).is_ok()
        };
        assert!(judge(19, &[(metadata, 29)]));
        assert!(judge(19, &[(metadata, 29), (kraft, 1)]), "it counts from when it is appended");
        assert!(judge(20, &[(metadata, 30), (kraft, 1)]));
        assert!(!judge(20, &[(metadata, 30)]));
        assert!(!judge(20, &[(metadata, 29), (kraft, 1)]));
        assert!(!judge(19, &[(metadata, 30)]));
        assert!(judge(21, &[]), "nobody knows of what is not committed");
    }

    #[test]
    fn every_node_knows_of_partitions_and_brokers_what_the_log_has() {
        let cluster = Cluster::example();
        let orders = cluster.topic("orders").expect("the example has it").partitions[&0].clone();
        let image = Image {
            node: 2,
            partitions: BTreeMap::from([(("orders".to_owned(), 0), orders.clone())]),
            brokers: BTreeMap::from([(51, (10, false, false)), (52, (12, false, false))]),
            acls: BTreeMap::new(),
            features: BTreeMap::new(),
        };
        let judge = |image: &Image| {
            check_images(std::slice::from_ref(image), &cluster).map_err(|violation| violation.sentence)
        };
        assert_eq!(judge(&image), Ok(()));
        for wrong in [
            Partition { isr: vec![51], ..orders.clone() },
            Partition { partition_epoch: 1, ..orders.clone() },
            Partition { is_recovering: true, ..orders },
        ] {
            let partitions = BTreeMap::from([(("orders".to_owned(), 0), wrong)]);
            let wrong = judge(&Image { partitions, ..image.clone() });
            assert!(wrong.is_err_and(|why| why.contains("node 2 knows of the partitions")));
        }
        let brokers = BTreeMap::from([(51, (10, false, false)), (52, (12, true, false))]);
        let wrong = judge(&Image { brokers, ..image.clone() });
        assert!(wrong.is_err_and(|why| why.contains("node 2 knows of the brokers")));
        let acls = BTreeMap::from([(Uuid::from_u64s(5, 1), AccessControlEntryRecord::default())]);
        let wrong = judge(&Image { acls, ..image.clone() });
        assert!(wrong.is_err_and(|why| why.contains("node 2 knows of the access control entries")));
        let features = BTreeMap::from([(Feature::KraftVersion.name().to_owned(), 1)]);
        let wrong = judge(&Image { features, ..image });
        assert!(wrong.is_err_and(|why| why.contains("node 2 knows of the features")));
    }
}
