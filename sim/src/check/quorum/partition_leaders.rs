//! `partition_leaders`: a broker that is fenced, is about to go, or is not there, leads nothing, and is in sync with others nowhere
//! (R15); who leads is in sync, and who is in sync is a replica (R19).

use super::cluster::{Cluster, Partition};
use crate::check::Violation;

/// Looks at all partitions as they are behind a decision that ends at this offset.
pub(super) fn check(end: i64, cluster: &Cluster) -> Result<(), Violation> {
    for topic in cluster.topics.values() {
        for (index, partition) in &topic.partitions {
            if let Some(problem) = problem_of(partition, cluster) {
                return Err(Violation {
                    property: "partition_leaders",
                    sentence: format!(
                        "below offset {end} {}-{index} is as it must not be: {problem}: {partition:?}",
                        topic.name
                    ),
                });
            }
        }
    }
    Ok(())
}

fn problem_of(partition: &Partition, cluster: &Cluster) -> Option<&'static str> {
    let is_there =
        |id: &i32| cluster.brokers.get(id).is_some_and(|broker| !broker.is_fenced && !broker.is_leaving);
    let Partition { replicas, isr, leader, .. } = partition;
    if isr.is_empty() && !cluster.ever_had_elr() {
        Some("nobody is in sync")
    } else if !isr.iter().all(|id| replicas.contains(id)) {
        Some("one that is in sync is no replica")
    } else if (isr.len() > 1 || cluster.always_had_elr()) && !isr.iter().all(is_there) {
        // The last one stays where nothing else says who has all of it.
        Some("one that is in sync is fenced or about to go")
    } else if *leader >= 0 && !isr.contains(leader) {
        Some("the leader is not in sync")
    } else if *leader >= 0 && !is_there(leader) {
        Some("the leader is fenced or about to go")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::records::{BrokerRegistrationChangeRecord, PartitionChangeRecord};

    /// What is said of the example when a broker is fenced, and the partition changes so.
    fn judge(fenced: i32, isr: &[i32], leader: i32) -> Result<(), String> {
        let mut cluster = Cluster::example();
        let broker_epoch = cluster.brokers[&fenced].epoch;
        let fence = BrokerRegistrationChangeRecord {
            broker_id: fenced,
            broker_epoch,
            fenced: 1,
            ..BrokerRegistrationChangeRecord::default()
        };
        let change = PartitionChangeRecord {
            topic_id: Cluster::ORDERS,
            partition_id: 0,
            isr: Some(isr.to_vec()),
            leader,
            leader_recovery_state: 1,
            ..PartitionChangeRecord::default()
        };
        // Whether the leader may lack records is another question.
        cluster.unclean_elections.insert(("orders".to_owned(), 0));
        assert_eq!(cluster.apply(20, &fence.into()), Ok(true));
        assert_eq!(cluster.apply(21, &change.into()), Ok(true));
        check(22, &cluster).map_err(|violation| violation.sentence)
    }

    #[test]
    fn a_broker_that_is_fenced_leads_nothing() {
        assert_eq!(judge(51, &[52], 52), Ok(()));
        assert_eq!(judge(51, &[51], -1), Ok(()), "the last one in sync stays in sync");
        assert!(judge(51, &[51], 51).is_err_and(|why| why.contains("the leader is fenced or about to go")));
        assert!(
            judge(51, &[51, 52], 52)
                .is_err_and(|why| why.contains("one that is in sync is fenced or about to go"))
        );
    }

    #[test]
    fn a_broker_that_is_about_to_go_leads_nothing() {
        let mut cluster = Cluster::example();
        let leaving = BrokerRegistrationChangeRecord {
            broker_id: 51,
            broker_epoch: cluster.brokers[&51].epoch,
            in_controlled_shutdown: 1,
            ..BrokerRegistrationChangeRecord::default()
        };
        assert_eq!(cluster.apply(20, &leaving.into()), Ok(true));
        assert!(check(21, &cluster).is_err_and(|violation| violation.sentence.contains("about to go")));
    }

    #[test]
    fn who_leads_is_in_sync_and_who_is_in_sync_is_a_replica() {
        assert!(judge(52, &[51], 53).is_err_and(|why| why.contains("the leader is not in sync")));
        assert!(judge(52, &[53], 53).is_err_and(|why| why.contains("is no replica")));
        assert!(judge(52, &[], -1).is_err_and(|why| why.contains("nobody is in sync")));
    }
}
