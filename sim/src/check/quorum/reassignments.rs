//! `reassignments`: a partition loses a replica only when all that are left are in sync, or when it goes back to what it was
//! before it was moved (R17). Whoever loses one has another leader epoch, so that whoever was a replica notices.

use super::cluster::{Partition, Place};
use crate::check::Violation;

pub(super) fn check(place: Place<'_>, before: &Partition, after: &Partition) -> Result<(), Violation> {
    let Some(problem) = problem_of(before, after) else { return Ok(()) };
    let Place { topic, index, offset } = place;
    let sentence =
        format!("at offset {offset} {topic}-{index} {problem}: it was {before:?} and is {after:?}");
    Err(Violation { property: "reassignments", sentence })
}

fn problem_of(before: &Partition, after: &Partition) -> Option<&'static str> {
    let is_replica = |id: &i32| after.replicas.contains(id);
    let loses = !before.replicas.iter().all(is_replica);
    let is_done = !after.is_moved() && after.replicas.iter().all(|id| after.isr.contains(id));
    // In another order they may be, if somebody asked for all of them.
    let is_cancelled =
        before.is_moved() && !after.is_moved() && sorted(&after.replicas) == sorted(&before.original());
    if !after.adding.iter().chain(&after.removing).all(is_replica) {
        Some("is to gain or to lose a replica that it has not")
    } else if after.adding.iter().any(|id| after.removing.contains(id)) {
        Some("is to gain the replica that it is to lose")
    } else if after.target().is_empty() {
        Some("is to lose all replicas")
    } else if before.is_moved() && !after.is_moved() && !is_done && !is_cancelled {
        Some("is where it was to be moved to before all replicas there are in sync")
    } else if loses && !is_done && !is_cancelled {
        Some("has lost a replica before all others are in sync")
    } else if loses && after.leader_epoch == before.leader_epoch {
        Some("has lost a replica, which learns of it by no leader epoch")
    } else {
        None
    }
}

fn sorted(ids: &[i32]) -> Vec<i32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use super::super::cluster::Cluster;
    use sordini_protocol::records::PartitionChangeRecord;

    /// What is said of a partition on 51 and 52, in sync, that is being moved to 53 and 52, when it changes so.
    fn judge(
        replicas: &[i32],
        adding: &[i32],
        removing: &[i32],
        isr: &[i32],
        leader: i32,
    ) -> Result<(), String> {
        let mut cluster = Cluster::example();
        let change = PartitionChangeRecord {
            topic_id: Cluster::ORDERS,
            partition_id: 0,
            ..PartitionChangeRecord::default()
        };
        let moved = PartitionChangeRecord {
            replicas: Some(vec![53, 52, 51]),
            adding_replicas: Some(vec![53]),
            removing_replicas: Some(vec![51]),
            ..change.clone()
        };
        assert_eq!(cluster.apply(20, &moved.into()), Ok(true));
        let then = PartitionChangeRecord {
            replicas: Some(replicas.to_vec()),
            adding_replicas: Some(adding.to_vec()),
            removing_replicas: Some(removing.to_vec()),
            isr: Some(isr.to_vec()),
            leader,
            ..change
        };
        cluster.apply(21, &then.into()).map(drop).map_err(|violation| violation.sentence)
    }

    /// In a change: the leader stays.
    const SAME: i32 = -2;

    #[test]
    fn a_partition_is_moved_when_all_that_stay_are_in_sync() {
        assert_eq!(judge(&[53, 52], &[], &[], &[52, 53], 52), Ok(()));
        assert_eq!(judge(&[53, 52, 51], &[53], &[51], &[51, 53], SAME), Ok(()), "it is not moved yet");
        let early = judge(&[53, 52], &[], &[], &[53], 53);
        assert!(early.is_err_and(|why| why.contains("before all replicas there are in sync")));
        let early = judge(&[53, 52], &[53], &[], &[53], 53);
        assert!(early.is_err_and(|why| why.contains("before all others are in sync")));
    }

    #[test]
    fn a_partition_goes_back_to_what_it_was() {
        assert_eq!(judge(&[52, 51], &[], &[], &[52], 52), Ok(()));
        assert_eq!(judge(&[51, 52], &[], &[], &[52], 52), Ok(()), "in whatever order");
        assert!(judge(&[51], &[], &[], &[], 51).is_err(), "52 was a replica too");
    }

    #[test]
    fn who_is_no_replica_any_more_learns_of_it() {
        assert!(judge(&[53, 52], &[], &[], &[52, 53], SAME).is_err_and(|why| why.contains("leader epoch")));
    }

    #[test]
    fn what_is_gained_or_lost_is_a_replica_and_something_is_left() {
        assert!(judge(&[53, 52, 51], &[54], &[51], &[51], SAME).is_err());
        assert!(judge(&[53, 52, 51], &[51], &[51], &[51], SAME).is_err());
        assert!(judge(&[53, 52, 51], &[], &[51, 52, 53], &[51], SAME).is_err());
    }
}
