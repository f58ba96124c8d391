//! `eligible_replicas`: whoever may lead without being in sync has every committed record, as far as the log can tell (KIP-966): it
//! was in sync or eligible just before, it is a replica and not in sync, and too few are in sync for anything to be committed.

use super::cluster::{Cluster, Partition};
use crate::check::Violation;

fn violation(sentence: String) -> Violation {
    Violation { property: "eligible_replicas", sentence }
}

/// A record changes a partition.
pub(super) fn check_change(
    topic: &str,
    index: i32,
    before: &Partition,
    after: &Partition,
) -> Result<(), Violation> {
    let had_everything = |id: &i32| before.isr.contains(id) || before.elr.contains(id);
    match after.elr.iter().find(|id| !had_everything(id)) {
        Some(id) => Err(violation(format!(
            "broker {id} comes to be eligible for {topic}-{index}, and was neither that nor in sync: {before:?}, {after:?}"
        ))),
        None => Ok(()),
    }
}

/// Looks at all partitions as they are behind a decision that ends at this offset.
pub(super) fn check(end: i64, cluster: &Cluster) -> Result<(), Violation> {
    for topic in cluster.topics.values() {
        let min_isr = topic.configs.get("min.insync.replicas").or(cluster.min_isr.as_ref());
        let min_isr = min_isr.and_then(|text| text.parse().ok()).unwrap_or(1_usize);
        for (index, partition) in &topic.partitions {
            let Partition { replicas, isr, elr, .. } = partition;
            let problem = if elr.is_empty() {
                continue;
            } else if !cluster.has_elr {
                "the feature is not enabled"
            } else if elr.iter().any(|id| isr.contains(id)) {
                "one is in sync"
            } else if !elr.iter().all(|id| replicas.contains(id)) {
                "one is no replica"
            } else if isr.len() >= min_isr.min(replicas.len()) {
                "enough are in sync"
            } else {
                continue;
            };
            let name = &topic.name;
            return Err(violation(format!(
                "below offset {end} others than those in sync may lead {name}-{index}, and {problem}: {partition:?}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::records::{ConfigRecord, FeatureLevelRecord, PartitionChangeRecord};
    use sordini_protocol::wire::Str;

    /// What is said of the example, where two have to be in sync, when those in sync and those eligible change twice.
    fn judge(changes: [(&[i32], &[i32]); 2]) -> Result<(), String> {
        let mut cluster = Cluster::example();
        let level = FeatureLevelRecord {
            name: Str::from_static("eligible.leader.replicas.version"),
            feature_level: 1,
            ..FeatureLevelRecord::default()
        };
        let two = ConfigRecord {
            resource_type: 4,
            name: Str::from_static("min.insync.replicas"),
            value: Some(Str::from_static("2")),
            ..ConfigRecord::default()
        };
        assert_eq!(cluster.apply(20, &level.into()), Ok(false));
        assert_eq!(cluster.apply(21, &two.into()), Ok(false));
        for (isr, elr) in changes {
            let change = PartitionChangeRecord {
                topic_id: Cluster::ORDERS,
                partition_id: 0,
                isr: Some(isr.to_vec()),
                eligible_leader_replicas: Some(elr.to_vec()),
                ..PartitionChangeRecord::default()
            };
            cluster.apply(22, &change.into()).map_err(|violation| violation.sentence)?;
            check(23, &cluster).map_err(|violation| violation.sentence)?;
        }
        Ok(())
    }

    #[test]
    fn whoever_was_in_sync_last_is_eligible_while_too_few_are() {
        assert_eq!(judge([(&[51], &[52]), (&[], &[51, 52])]), Ok(()));
        assert!(judge([(&[51], &[52]), (&[51, 52], &[52])]).is_err_and(|why| why.contains("one is in sync")));
        assert!(
            judge([(&[51], &[]), (&[], &[52])]).is_err_and(|why| why.contains("neither that nor in sync"))
        );
        assert!(
            judge([(&[51], &[52]), (&[51, 53], &[52])]).is_err_and(|why| why.contains("enough are in sync"))
        );
    }
}
