//! `clean_elections`: of those that are in sync one at least was so before, or was known to have all that was committed, unless
//! somebody asked for a leader that lacks records; and whoever is elected so is known to lack them (R14).

use super::cluster::{Partition, Place};
use crate::check::Violation;

pub(super) fn check(
    place: Place<'_>,
    before: &Partition,
    after: &Partition,
    is_asked_for: bool,
) -> Result<(), Violation> {
    let is_complete = |id: &i32| before.isr.contains(id) || before.elr.contains(id);
    // Where all who have everything are replicas no more, they have vouched for the others.
    let is_moved = before.replicas != after.replicas && !after.replicas.iter().any(is_complete);
    let is_clean = is_moved || after.isr.is_empty() || after.isr.iter().any(is_complete);
    // Where nobody is left who has everything, it is whoever led last that is waited for.
    let is_last = before.isr.is_empty() && before.last_known.contains(&after.leader);
    let problem = if is_clean {
        return Ok(());
    } else if !is_asked_for && !is_last {
        "nobody has asked for a leader that lacks records"
    } else if !after.is_recovering {
        "nothing says that the leader lacks records"
    } else {
        return Ok(());
    };
    let Place { topic, index, offset } = place;
    Err(Violation {
        property: "clean_elections",
        sentence: format!(
            "at offset {offset} of {topic}-{index} others are in sync than all who were, and {problem}: it was {before:?} and \
             is {after:?}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::cluster::Cluster;
    use sordini_protocol::records::PartitionChangeRecord;

    /// One replica alone is in sync.
    fn alone() -> PartitionChangeRecord {
        PartitionChangeRecord {
            topic_id: Cluster::ORDERS,
            partition_id: 0,
            isr: Some(vec![51]),
            ..PartitionChangeRecord::default()
        }
    }

    /// What is said of a partition on 51 and 52 when first 51 alone is in sync and then others are.
    fn judge(isr: &[i32], leader_recovery_state: i8, is_asked_for: bool) -> Result<(), String> {
        let mut cluster = Cluster::example();
        if is_asked_for {
            cluster.unclean_elections.insert(("orders".to_owned(), 0));
        }
        let alone = alone();
        let then = PartitionChangeRecord {
            isr: Some(isr.to_vec()),
            leader: isr[0],
            leader_recovery_state,
            ..alone.clone()
        };
        assert_eq!(cluster.apply(20, &alone.into()), Ok(true));
        cluster.apply(21, &then.into()).map(drop).map_err(|violation| violation.sentence)
    }

    #[test]
    fn one_of_those_in_sync_was_so_before() {
        assert_eq!(judge(&[51, 52], -1, false), Ok(()));
        assert!(judge(&[52], -1, false).is_err_and(|why| why.contains("nobody has asked")));
        assert!(judge(&[52], 1, false).is_err());
    }

    #[test]
    fn whoever_has_everything_vouches_for_the_others_only_by_being_a_replica_no_more() {
        let judge = |replicas: &[i32], adding: &[i32]| {
            let mut cluster = Cluster::example();
            let alone = alone();
            let moved = PartitionChangeRecord {
                replicas: Some(replicas.to_vec()),
                adding_replicas: Some(adding.to_vec()),
                isr: Some(vec![53]),
                leader: 53,
                ..alone.clone()
            };
            assert_eq!(cluster.apply(20, &alone.into()), Ok(true));
            cluster.apply(21, &moved.into()).map(drop).map_err(|violation| violation.sentence)
        };
        assert_eq!(judge(&[53], &[]), Ok(()));
        assert!(judge(&[53, 51, 52], &[53]).is_err_and(|why| why.contains("nobody has asked")));
    }

    #[test]
    fn a_leader_that_lacks_records_is_known_to() {
        assert_eq!(judge(&[52], 1, true), Ok(()));
        assert!(judge(&[52], -1, true).is_err_and(|why| why.contains("nothing says")));
    }

    #[test]
    fn whoever_is_known_to_have_everything_may_lead_and_whoever_led_last_may_be_all_there_is() {
        let empty = |eligible: &[i32], last_known: &[i32]| {
            let mut cluster = Cluster::example_with_elr();
            let nobody = PartitionChangeRecord {
                topic_id: Cluster::ORDERS,
                partition_id: 0,
                isr: Some(Vec::new()),
                leader: -1,
                eligible_leader_replicas: Some(eligible.to_vec()),
                last_known_elr: Some(last_known.to_vec()),
                ..PartitionChangeRecord::default()
            };
            assert_eq!(cluster.apply(20, &nobody.clone().into()), Ok(true));
            move |leader, leader_recovery_state| {
                let then = PartitionChangeRecord {
                    isr: Some(vec![leader]),
                    leader,
                    leader_recovery_state,
                    ..nobody.clone()
                };
                cluster.clone().apply(21, &then.into()).map(drop).map_err(|violation| violation.sentence)
            }
        };
        let eligible = empty(&[52], &[]);
        assert_eq!(eligible(52, -1), Ok(()));
        assert!(eligible(51, 1).is_err_and(|why| why.contains("nobody has asked")));
        let last = empty(&[], &[52]);
        assert_eq!(last(52, 1), Ok(()));
        assert!(last(52, -1).is_err_and(|why| why.contains("nothing says")));
        assert!(last(51, 1).is_err());
    }
}
