//! `hosted_partitions`: a broker to which nothing happens has a log for every partition of which it is a replica and for no
//! other, and leads those that the metadata log says it leads, under the epoch that it says (R10, L8).

use super::cluster::Cluster;
use crate::check::Violation;
use sordini_protocol::wire::Uuid;
use std::collections::BTreeMap;

/// The partitions that a broker has, each with the epoch under which it leads it, if it does.
#[derive(Clone, Debug)]
pub struct Hosted {
    /// The broker, by its place in the plan.
    pub node: usize,
    /// By topic and index.
    pub partitions: BTreeMap<(Uuid, i32), Option<i32>>,
}

pub(super) fn check(hosts: &[Hosted], cluster: &Cluster) -> Result<(), Violation> {
    for Hosted { node, partitions } in hosts {
        let id = super::id_of(*node);
        let mut expected = BTreeMap::new();
        for (topic_id, topic) in &cluster.topics {
            for (index, partition) in topic.partitions.iter().filter(|(_, it)| it.replicas.contains(&id)) {
                let leads = (partition.leader == id).then_some(partition.leader_epoch);
                expected.insert((*topic_id, *index), leads);
            }
        }
        if *partitions != expected {
            return Err(Violation {
                property: "hosted_partitions",
                sentence: format!(
                    "node {node} has the partitions {partitions:?}, each with the epoch in which it leads it, and by the log \
                     they are {expected:?}"
                ),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_has_and_leads_what_the_log_says() {
        let cluster = Cluster::example();
        // The node in place 50 has the number 51, and leads the only partition.
        let judge = |node: usize, partitions: &[((Uuid, i32), Option<i32>)]| {
            let hosted = Hosted { node, partitions: partitions.iter().copied().collect() };
            check(&[hosted], &cluster).map_err(|violation| violation.sentence)
        };
        let orders = (Cluster::ORDERS, 0);
        assert_eq!(judge(50, &[(orders, Some(0))]), Ok(()));
        assert_eq!(judge(51, &[(orders, None)]), Ok(()));
        assert_eq!(judge(52, &[]), Ok(()));
        for (node, wrong) in [
            (50, &[(orders, Some(1))][..]),
            (50, &[(orders, None)]),
            (50, &[]),
            (51, &[(orders, Some(0))]),
            (52, &[(orders, None)]),
        ] {
            assert!(judge(node, wrong).is_err(), "node {node}: {wrong:?}");
        }
    }
}
