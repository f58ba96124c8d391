//! `eligible_replicas`: whoever may lead without being in sync has every committed record, as far as the log can tell (KIP-966): it
//! was in sync or eligible just before, it is a replica and not in sync, and too few are in sync for anything to be committed. A
//! broker whose last life did not end cleanly may have lost what it had: when it registers anew it is neither eligible nor in
//! sync. One whose last life ended cleanly stays eligible. Who is eligible is judged anew when it changes how many have to be in
//! sync.

use super::cluster::{Cluster, Partition};
use crate::check::Violation;
use sordini_protocol::records::RegisterBrokerRecord;
use sordini_protocol::wire::Uuid;

fn violation(sentence: String) -> Violation {
    Violation { property: "eligible_replicas", sentence }
}

/// A record changes a partition.
pub(super) fn check_change(
    topic: &str,
    index: i32,
    before: &Partition,
    after: &Partition,
    has_elr: bool,
) -> Result<(), Violation> {
    let was_in_sync = |id: &i32| has_elr && before.isr.contains(id);
    let had_everything = |id: &i32| was_in_sync(id) || before.elr.contains(id);
    match after.elr.iter().find(|id| !had_everything(id)) {
        Some(id) => Err(violation(format!(
            "broker {id} comes to be eligible for {topic}-{index}, and was neither that nor in sync with the feature \
             enabled: {before:?}, {after:?}"
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
            // Who was eligible when the feature was taken away stays it until something else changes.
            let problem = if elr.is_empty() || !cluster.has_elr() {
                continue;
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

/// Looks at the partitions of a topic, or of all, behind a decision that ends at this offset and changes how many of them have to
/// be in sync. Where nobody is in sync may be excused.
pub(super) fn check_judged_anew(
    end: i64,
    cluster: &Cluster,
    topic: Option<&str>,
    is_empty_isr_excused: bool,
) -> Result<(), Violation> {
    let topics = cluster.topics.values().filter(|it| topic.is_none_or(|name| it.name == name));
    let mut partitions =
        topics.flat_map(|it| it.partitions.iter().map(|(index, state)| (&it.name, index, state)));
    let is_excused = |partition: &Partition| is_empty_isr_excused && partition.isr.is_empty();
    let is_judged = |partition: &Partition| cluster.has_elr() && !is_excused(partition);
    match partitions.find(|(_, _, partition)| is_judged(partition) && !partition.elr.is_empty()) {
        Some((name, index, partition)) => Err(violation(format!(
            "below offset {end} it changes how many have to be in sync, and who was eligible for {name}-{index} still is: \
             {partition:?}"
        ))),
        None => Ok(()),
    }
}

/// A broker that is about to be registered in another life than before.
#[derive(Clone, Debug)]
pub(super) struct NewLife {
    broker: i32,
    /// Whether the life before it ended cleanly. Nobody saw that asked if a controller registers with itself.
    is_clean: Option<bool>,
    /// The partitions that it is eligible for.
    eligible: Vec<(Uuid, i32)>,
}

impl NewLife {
    /// The life that a record begins, of a cluster as it is before all of the decision that the record belongs to.
    pub(super) fn of(record: &RegisterBrokerRecord, cluster: &Cluster) -> Option<Self> {
        let (broker, incarnation) = (record.broker_id, record.incarnation_id);
        let registered = cluster.brokers.get(&broker);
        if registered.is_some_and(|registered| registered.incarnation == incarnation) {
            return None;
        }
        let claims = cluster.previous_epochs.get(&(broker, incarnation));
        let is_last = |epoch: &i64| registered.is_some_and(|registered| registered.epoch == *epoch);
        let is_clean = claims.and_then(|claims| {
            let are_clean = claims.iter().filter(|epoch| is_last(epoch)).count();
            // What has said both in one life is judged by neither.
            (are_clean == 0 || are_clean == claims.len()).then_some(are_clean > 0)
        });
        let partitions = cluster.topics.iter().flat_map(|(id, topic)| {
            let eligible = topic.partitions.iter().filter(|(_, partition)| partition.elr.contains(&broker));
            eligible.map(|(index, _)| (*id, *index))
        });
        Some(Self { broker, is_clean, eligible: partitions.collect() })
    }

    /// Looks at all partitions as they are behind that decision, which ends at this offset.
    pub(super) fn check(&self, end: i64, cluster: &Cluster) -> Result<(), Violation> {
        let Some(is_clean) = self.is_clean.filter(|_| cluster.has_elr()) else { return Ok(()) };
        let Self { broker, .. } = self;
        for (id, topic) in &cluster.topics {
            for (index, partition) in &topic.partitions {
                let is_eligible = partition.elr.contains(broker);
                let problem = if is_clean {
                    let was_eligible = self.eligible.contains(&(*id, *index));
                    (was_eligible && !is_eligible).then_some("ended cleanly, and is not eligible any more")
                } else {
                    let is_trusted = is_eligible || partition.isr.contains(broker);
                    is_trusted.then_some("did not end cleanly, and is in sync or eligible")
                };
                if let Some(problem) = problem {
                    return Err(violation(format!(
                        "below offset {end} broker {broker} begins a new life, after one that {problem} for {}-{index}: \
                         {partition:?}",
                        topic.name
                    )));
                }
            }
        }
        Ok(())
    }
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
        assert_eq!(cluster.apply(21, &two.into()), Ok(true));
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

    #[test]
    fn nobody_stays_eligible_when_it_changes_how_many_have_to_be_in_sync() {
        let mut cluster = Cluster::example_with_elr();
        assert_eq!(check_judged_anew(20, &cluster, None, false), Ok(()));
        let partition = cluster.topics.get_mut(&Cluster::ORDERS).and_then(|it| it.partitions.get_mut(&0));
        partition.expect("it is in the example").elr = vec![52];
        for (topic, is_excused) in [(None, false), (Some("orders"), false), (Some("orders"), true)] {
            let judged = check_judged_anew(20, &cluster, topic, is_excused);
            assert!(judged.is_err_and(|violation| violation.sentence.contains("still is")), "{topic:?}");
        }
        assert_eq!(check_judged_anew(20, &cluster, Some("returns"), false), Ok(()));
        let partition = cluster.topics.get_mut(&Cluster::ORDERS).and_then(|it| it.partitions.get_mut(&0));
        partition.expect("it is in the example").isr = Vec::new();
        assert!(check_judged_anew(20, &cluster, Some("orders"), false).is_err());
        assert_eq!(check_judged_anew(20, &cluster, Some("orders"), true), Ok(()));
    }

    /// What is said of the example, which has eligible replicas, when 52, who is in sync or eligible, registers anew and says
    /// that its last life ended cleanly in this epoch, and those in sync and those eligible are these then.
    fn judge_life(previous_epoch: i64, was_eligible: bool, isr: &[i32], elr: &[i32]) -> Result<(), String> {
        let mut cluster = Cluster::example_with_elr();
        let partition = cluster.topics.get_mut(&Cluster::ORDERS).and_then(|it| it.partitions.get_mut(&0));
        let partition = partition.expect("it is in the example");
        if was_eligible {
            (partition.isr, partition.elr) = (vec![51], vec![52]);
        }
        let record = RegisterBrokerRecord {
            broker_id: 52,
            incarnation_id: Uuid::from_u64s(52, 2),
            ..RegisterBrokerRecord::default()
        };
        cluster.claim_previous_epoch(52, record.incarnation_id, previous_epoch);
        let life = NewLife::of(&record, &cluster).expect("it is another life");
        let partition = cluster.topics.get_mut(&Cluster::ORDERS).and_then(|it| it.partitions.get_mut(&0));
        let partition = partition.expect("it is in the example");
        (partition.isr, partition.elr) = (isr.to_vec(), elr.to_vec());
        life.check(30, &cluster).map_err(|violation| violation.sentence)
    }

    #[test]
    fn whoever_may_have_lost_what_it_had_is_neither_in_sync_nor_eligible() {
        let unclean = "did not end cleanly";
        for was_eligible in [false, true] {
            assert_eq!(judge_life(-1, was_eligible, &[51], &[]), Ok(()));
            assert!(judge_life(-1, was_eligible, &[51], &[52]).is_err_and(|why| why.contains(unclean)));
            assert!(judge_life(-1, was_eligible, &[51, 52], &[]).is_err_and(|why| why.contains(unclean)));
            assert!(judge_life(11, was_eligible, &[51], &[52]).is_err(), "of another life of it");
        }
    }

    #[test]
    fn whoever_ended_cleanly_stays_eligible() {
        assert_eq!(judge_life(12, true, &[51], &[52]), Ok(()));
        assert_eq!(judge_life(12, false, &[51], &[]), Ok(()), "enough are in sync");
        assert!(judge_life(12, true, &[51], &[]).is_err_and(|why| why.contains("not eligible any more")));
    }

    #[test]
    fn the_same_life_may_register_again() {
        let cluster = Cluster::example();
        let again = RegisterBrokerRecord {
            broker_id: 52,
            incarnation_id: Cluster::incarnation(52),
            ..RegisterBrokerRecord::default()
        };
        assert!(NewLife::of(&again, &cluster).is_none());
    }
}
