//! `honest_administration`: what a controller answered to have done stands in the committed log by then, once; what it answered
//! not to have done never stands there (K17). Nobody knows of what was not answered, but that it is not half done.

use super::cluster::{Cluster, Partition};
use crate::check::Violation;
use crate::history::{Entry, Operation, Stage};
use crate::plan::Feature;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::wire::Str;
use std::collections::{BTreeMap, BTreeSet};

const KRAFT: &str = Feature::KraftVersion.name();
const METADATA: &str = Feature::MetadataVersion.name();
const ELR: &str = Feature::EligibleLeaderReplicas.name();
/// The lowest and the highest level of each feature that a plan updates.
const LEVELS: [(&str, i16, i16); 3] = [(KRAFT, 0, 1), (METADATA, 7, 30), (ELR, 0, 1)];
/// The levels of metadata.version whose records those below cannot say.
const FORMAT_CHANGES: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];
/// The metadata.version that eligible leader replicas need.
const ELR_FROM: i16 = 23;

/// What was refused, and what was handed out.
#[derive(Clone, Debug, Default)]
pub(super) struct Administration {
    refused: Vec<Entry>,
    /// The first ids of the blocks that brokers were told of.
    blocks: BTreeSet<u64>,
    /// With how many partitions each topic was asked for.
    topics: BTreeMap<String, i32>,
    /// How often somebody asked for each topic to be deleted.
    deletions: BTreeMap<String, u64>,
    /// The levels of features that were asked for, and not refused.
    updates: Vec<Update>,
    /// Of each client and operation, where what was committed ended when it asked for that last.
    asked_at: BTreeMap<(u64, Operation), i64>,
}

impl Administration {
    pub(super) fn note(&mut self, entry: &Entry, cluster: &Cluster) -> Result<(), Violation> {
        match entry.stage {
            Stage::Invoke => {
                self.asked_at.insert((entry.client, entry.operation), cluster.end);
                // Who asks for the same again has not been refused for good.
                let is_same = |it: &Entry| {
                    (it.client, it.operation, &it.topic) == (entry.client, entry.operation, &entry.topic)
                };
                self.refused.retain(|refused| !is_same(refused));
                if entry.operation == Operation::UpdateFeature {
                    self.updates.push(Update::of(entry));
                }
                if let (Operation::CreateTopic, Some(count)) = (entry.operation, entry.partition) {
                    self.topics.insert(entry.topic.to_string(), count);
                }
                if entry.operation == Operation::DeleteTopic {
                    *self.deletions.entry(entry.topic.to_string()).or_default() += 1;
                }
                Ok(())
            }
            // A refusal is one whatever became of the same request before.
            Stage::Info
                if entry.operation == Operation::UpdateFeature
                    && entry.error == ErrorCode::InvalidUpdateVersion =>
            {
                Update::of(entry).check(entry, cluster, true)
            }
            Stage::Info => Ok(()),
            Stage::Fail => {
                let is_there = entry.error == ErrorCode::TopicAlreadyExists;
                if matches!(entry.operation, Operation::CreateTopic | Operation::AlterConfigs) && !is_there {
                    self.refused.push(entry.clone());
                }
                if matches!(entry.operation, Operation::UpdateFeature | Operation::TryFeature) {
                    self.updates.extract_if(.., |asked| *asked == Update::of(entry)).for_each(drop);
                    return Update::of(entry).check(entry, cluster, true);
                }
                let is_not_taken =
                    entry.operation == Operation::SetMinIsr && entry.error == ErrorCode::InvalidConfig;
                if is_not_taken && !(is_min_isr_for_all(entry) && cluster.ever_had_elr()) {
                    return Err(violation(format!(
                        "at {} us client {} may not set {:?} replicas of {:?} to be in sync, which every controller takes",
                        entry.at_us, entry.client, entry.values, entry.topic
                    )));
                }
                Ok(())
            }
            Stage::Ok => self.check_done(entry, cluster),
        }
    }

    fn check_done(&mut self, entry: &Entry, cluster: &Cluster) -> Result<(), Violation> {
        let Entry { topic, values, .. } = entry;
        let number = values.first().map_or(0, |(number, _)| *number);
        let since = self.asked_at.get(&(entry.client, entry.operation)).copied().unwrap_or(0);
        let (is_so, found) = match entry.operation {
            Operation::CreateTopic => {
                let created = cluster.creations.get(&**topic).copied();
                let partitions = cluster.partitions.get(&**topic).copied();
                let deletions = self.deletions.get(&**topic).copied().unwrap_or(0);
                let is_so = created.is_some_and(|count| (1..=1 + deletions).contains(&count))
                    && partitions >= entry.partition;
                (is_so, format!("it was created {created:?} times, with {partitions:?} partitions"))
            }
            Operation::DeleteTopic => (cluster.topic(topic).is_none(), "it exists".to_owned()),
            Operation::CreatePartitions => {
                let partitions = cluster.partitions.get(&**topic).copied();
                (partitions == entry.partition, format!("it has {partitions:?} partitions"))
            }
            Operation::AlterConfigs => {
                let times = cluster.values.get(&number.to_string()).copied();
                (times >= Some(1), format!("{number} was set {times:?} times"))
            }
            // To take back from one broker what it has not changes nothing.
            Operation::SetMinIsr
                if is_min_isr_for_all(entry)
                    && cluster.always_had_elr()
                    && (topic.is_empty() || !values.is_empty()) =>
            {
                (false, "others than those in sync may lead, by what is the same for all brokers".to_owned())
            }
            Operation::SetMinIsr => {
                let set = cluster.min_isrs.get(&**topic).map_or(&[][..], |set| set);
                let text = values.first().map(|(value, _)| value.to_string());
                // What is so already is not written once more, and at first nothing is set.
                let is_so = text.is_none() || set.contains(&text);
                (is_so, format!("it was {set:?} in turn, and never {text:?}"))
            }
            Operation::RegisterBroker => {
                let id = broker(topic);
                let epochs: Vec<i64> = cluster
                    .incarnations
                    .range((id, sordini_protocol::wire::Uuid::ZERO)..)
                    .take_while(|((other, _), _)| *other == id)
                    .map(|(_, epoch)| *epoch)
                    .collect();
                let is_so = entry.offset.is_some_and(|epoch| epochs.contains(&epoch));
                (is_so, format!("its epochs are {epochs:?}"))
            }
            Operation::UnfenceBroker => {
                let is_so =
                    entry.offset.is_some_and(|epoch| cluster.unfenced.contains(&(broker(topic), epoch)));
                (is_so, "it never was in this epoch".to_owned())
            }
            Operation::LeaveCluster => {
                let registered = cluster.brokers.get(&broker(topic)).copied();
                let is_in_epoch = registered.filter(|registered| Some(registered.epoch) == entry.offset);
                (is_in_epoch.is_none_or(|it| it.is_fenced), format!("it is {registered:?}"))
            }
            Operation::AllocateProducerIds => {
                let first = i64::try_from(number).unwrap_or(-1);
                let count = values.first().and_then(|(_, count)| i64::try_from(*count).ok());
                let block = cluster.blocks.get(&first).copied();
                let asked = entry.offset.zip(count);
                let asked = asked.map(|(epoch, count)| (first + count, broker(topic), epoch));
                let is_new = self.blocks.insert(number);
                (
                    block.is_some() && block == asked && is_new,
                    format!("the block is {block:?}, new: {is_new}"),
                )
            }
            Operation::TryFeature => return Update::of(entry).check(entry, cluster, false),
            Operation::UpdateFeature => {
                let update = Update::of(entry);
                update.check(entry, cluster, false)?;
                let is_so = cluster.levels(topic).any(|level| level == update.level);
                (is_so, format!("its levels were {:?}", cluster.features.get(&**topic)))
            }
            Operation::Reassign if entry.replicas.is_empty() => {
                became(entry, cluster, since, |_, partition| !partition.is_moved())
            }
            // If that is what it is moved to already, there is nothing to write.
            Operation::Reassign => ever_was(entry, cluster, |partition| partition.target() == entry.replicas),
            Operation::ListReassignments if topic.is_empty() => return Ok(()),
            Operation::ListReassignments => ever_was(entry, cluster, |partition| {
                let count = |ids: &[i32]| i64::try_from(ids.len()).ok();
                partition.replicas == entry.replicas
                    && count(&partition.adding) == entry.offset
                    && count(&partition.removing) == entry.end
            }),
            Operation::ElectLeader => became(entry, cluster, since, |before, partition| {
                partition.replicas.first() == Some(&partition.leader) || is_moved_at_last(before, partition)
            }),
            Operation::ElectLeaderUncleanly => became(entry, cluster, since, |before, partition| {
                partition.leader >= 0 || is_moved_at_last(before, partition)
            }),
            Operation::UnregisterBroker => {
                let is_so = |(offset, id): &(i64, i32)| *offset >= since && *id == broker(topic);
                let is_done = cluster.unregistrations.iter().any(is_so);
                (is_done, format!("it was not since offset {since}: {:?}", cluster.unregistrations))
            }
            Operation::CreateAcls | Operation::DeleteAcls | Operation::DescribeAcls => {
                return cluster.access_control.check_told(entry, since);
            }
            Operation::AlterIsr => ever_was(entry, cluster, |partition| {
                partition.isr == entry.replicas
                    && Some(partition.leader_epoch) == entry.leader_epoch
                    && Some(i64::from(partition.partition_epoch)) == entry.offset
            }),
            Operation::Send
            | Operation::Poll
            | Operation::ListOffsets
            | Operation::Seek
            | Operation::DeleteRecords
            | Operation::SetConfig
            | Operation::AddVoter
            | Operation::RemoveVoter => return Ok(()),
        };
        if is_so {
            return Ok(());
        }
        Err(violation(format!(
            "at {} us client {} is told that {:?} of {topic} is done; by the committed log {found}",
            entry.at_us, entry.client, entry.operation
        )))
    }

    pub(super) fn at_end(&self, cluster: &Cluster) -> Result<(), Violation> {
        for (topic, count) in &self.topics {
            if let Some(created) = cluster.created_partitions.get(topic).filter(|created| *created != count) {
                return Err(violation(format!(
                    "{topic} was asked for with {count} partitions, and by the committed log it was created with {created}"
                )));
            }
        }
        for (feature, said) in &cluster.features {
            let befores = std::iter::once(0).chain(said.iter().map(|(_, level)| *level));
            for (before, (offset, after)) in befores.zip(said) {
                let is_first = cluster.beginning_end.is_none_or(|end| *offset < end);
                if !is_first && !self.updates.iter().any(|update| update.makes(feature, before, *after)) {
                    return Err(violation(format!(
                        "{feature} has the level {after} after {before} from offset {offset} on, and nobody asked for that but who \
                         was told that it is not so: {:?}",
                        self.updates
                    )));
                }
            }
        }
        let is_set = |value: u64| cluster.values.contains_key(&value.to_string());
        let is_done = |entry: &&Entry| {
            let is_created = entry.operation == Operation::CreateTopic;
            is_created && cluster.creations.contains_key(&*entry.topic)
                || entry.values.iter().any(|(value, _)| is_set(*value))
        };
        match self.refused.iter().find(is_done) {
            None => Ok(()),
            Some(entry) => Err(violation(format!(
                "at {} us client {} was told that {:?} of {} is not done, for {}; by the committed log it is",
                entry.at_us,
                entry.client,
                entry.operation,
                entry.topic,
                entry.error.name()
            ))),
        }
    }
}

/// Whether a move of the partition is over. As in Kafka, whatever is decided on a partition ends a move for which nothing but
/// that is missing, and a decision that writes something is answered to be done: an election that finds no leader is too.
fn is_moved_at_last(before: Option<&Partition>, partition: &Partition) -> bool {
    before.is_some_and(Partition::is_moved) && !partition.is_moved()
}

/// Whether a record says since an offset that a partition is so, where `is_so` is told how it was before too, and what it is by
/// the last one. What is refused where it is so already is done by a record or not at all.
fn became(
    entry: &Entry,
    cluster: &Cluster,
    since: i64,
    is_so: impl Fn(Option<&Partition>, &Partition) -> bool,
) -> (bool, String) {
    let states = states_of(entry, cluster);
    let before = std::iter::once(None).chain(states.iter().map(|(_, before)| Some(before)));
    let is_done =
        before.zip(states).any(|(before, (offset, partition))| *offset >= since && is_so(before, partition));
    let Entry { operation, .. } = entry;
    let last = states.last();
    (is_done, format!("no record since offset {since} is that of {operation:?}, and the last is {last:?}"))
}

/// Whether a partition ever was so, and what it is by the last record. A controller that is none any more and does not know it
/// may say what was so before others decided something else: where it has nothing to write it waits for nothing.
fn ever_was(entry: &Entry, cluster: &Cluster, is_so: impl Fn(&Partition) -> bool) -> (bool, String) {
    let states = states_of(entry, cluster);
    let is_known = states.iter().any(|(_, partition)| is_so(partition));
    (is_known, format!("the partition never was {:?}, and is {:?}", entry.replicas, states.last()))
}

/// The states of the partition that is asked about, each with the offset of its record.
fn states_of<'a>(entry: &Entry, cluster: &'a Cluster) -> &'a [(i64, Partition)] {
    let place = (entry.topic.to_string(), entry.partition.unwrap_or(-1));
    cluster.changes.get(&place).map_or(&[], |states| states)
}

/// Whether somebody sets what is not to be set: where others than those in sync may lead, all brokers have one
/// `min.insync.replicas`, and have it always (KIP-966).
fn is_min_isr_for_all(entry: &Entry) -> bool {
    let is_of_one_broker = entry.topic.parse::<i32>().is_ok();
    let is_taken_back = entry.topic.is_empty() && entry.values.is_empty();
    is_of_one_broker || is_taken_back
}

/// A feature and the level that somebody asks it to have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Update {
    feature: String,
    level: i16,
    /// Whether the level may fall, and then may not rise.
    is_downgrade: bool,
}

impl Update {
    fn of(entry: &Entry) -> Self {
        let (level, upgrade_type) = entry.values.first().copied().unwrap_or_default();
        Self {
            feature: entry.topic.to_string(),
            level: i16::try_from(level).unwrap_or(i16::MAX),
            is_downgrade: upgrade_type > 1,
        }
    }

    /// Whether a cluster in which the feature and metadata.version have these levels must refuse it.
    fn is_wrong_at(&self, current: i16, metadata_version: i16) -> bool {
        let Self { ref feature, level, is_downgrade } = *self;
        let range = LEVELS.iter().find(|(known, ..)| known == feature);
        let is_known = range.is_some_and(|(_, lowest, highest)| (*lowest..=*highest).contains(&level));
        let loses_records = || FORMAT_CHANGES.iter().any(|change| (level + 1..=current).contains(change));
        !is_known
            || (if is_downgrade { level > current } else { level < current })
            || (*feature == *KRAFT && level < current)
            || (*feature == *METADATA && loses_records())
            || (*feature == *ELR && level > 0 && level != current && metadata_version < ELR_FROM)
    }

    /// It was refused, or was not. A controller that was deposed and does not know it may go by levels that are history.
    fn check(&self, entry: &Entry, cluster: &Cluster, is_refused: bool) -> Result<(), Violation> {
        let currents = cluster.levels(&self.feature);
        let mut wrong = currents.flat_map(|current| {
            cluster.levels(METADATA).map(move |metadata_version| self.is_wrong_at(current, metadata_version))
        });
        if wrong.any(|is_wrong| is_wrong == is_refused) {
            return Ok(());
        }
        Err(violation(format!(
            "at {} us client {} is told {} to {self:?}, and by the committed log the levels were {:?}",
            entry.at_us,
            entry.client,
            entry.error.name(),
            cluster.features
        )))
    }

    /// Whether it is what makes a feature's level another.
    fn makes(&self, feature: &str, before: i16, after: i16) -> bool {
        self.feature == feature && self.level == after && self.is_downgrade == (after < before)
    }
}

fn violation(sentence: String) -> Violation {
    Violation { property: "honest_administration", sentence }
}

/// The number of a broker, which stands in the place of a topic.
fn broker(name: &Str) -> i32 {
    name.parse().unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::records::{
        ConfigRecord, FeatureLevelRecord, PartitionChangeRecord, ProducerIdsRecord,
    };

    fn entry(operation: Operation, stage: Stage, name: &'static str) -> Entry {
        Entry::new(100, 51, stage, operation, Str::from_static(name))
    }

    fn judge(entry: &Entry, cluster: &Cluster) -> Result<(), String> {
        let mut administration = Administration::default();
        let judged = administration.note(entry, cluster).and_then(|()| administration.at_end(cluster));
        judged.map_err(|violation| violation.sentence)
    }

    #[test]
    fn a_topic_that_was_answered_to_exist_stands_in_the_log_and_one_that_was_refused_does_not() {
        let cluster = Cluster::example();
        let created =
            |stage, name| Entry { partition: Some(1), ..entry(Operation::CreateTopic, stage, name) };
        assert_eq!(judge(&created(Stage::Ok, "orders"), &cluster), Ok(()));
        assert!(judge(&created(Stage::Ok, "returns"), &cluster).is_err());
        assert!(
            judge(&created(Stage::Fail, "orders"), &cluster).is_err_and(|why| why.contains("is not done"))
        );
        assert_eq!(judge(&created(Stage::Fail, "returns"), &cluster), Ok(()));
        assert_eq!(judge(&created(Stage::Info, "returns"), &cluster), Ok(()));
        let deleted = |name| entry(Operation::DeleteTopic, Stage::Ok, name);
        assert_eq!(judge(&deleted("returns"), &cluster), Ok(()));
        assert!(judge(&deleted("orders"), &cluster).is_err_and(|why| why.contains("it exists")));
        let grown = |count| Entry {
            partition: Some(count),
            ..entry(Operation::CreatePartitions, Stage::Ok, "orders")
        };
        assert_eq!(judge(&grown(1), &cluster), Ok(()));
        assert!(judge(&grown(2), &cluster).is_err());
    }

    /// What is asked of a feature, as UpdateFeatures numbers the direction.
    fn update(stage: Stage, feature: &'static str, level: u64, upgrade_type: u64) -> Entry {
        Entry { values: vec![(level, upgrade_type)], ..entry(Operation::UpdateFeature, stage, feature) }
    }

    /// A cluster that began with these levels of metadata.version and of eligible leader replicas.
    fn with_levels(metadata_version: i16, elr: i16) -> Cluster {
        let mut cluster = Cluster::example();
        cluster.features.insert(METADATA.to_owned(), vec![(0, metadata_version)]);
        cluster.features.insert(ELR.to_owned(), vec![(1, elr)]);
        cluster.beginning_end = Some(10);
        cluster
    }

    #[test]
    fn an_update_is_refused_where_it_must_be_and_nowhere_else() {
        let table = [
            (ELR, 0, 1, 30, 1, false),
            (ELR, 0, 2, 30, 1, true),
            (ELR, 0, 3, 30, 1, true),
            (ELR, 1, 1, 30, 1, true),
            (ELR, 2, 1, 30, 1, false),
            (ELR, 1, 1, 22, 0, false),
            (ELR, 1, 1, 23, 0, true),
            (ELR, 1, 2, 23, 0, false),
            (METADATA, 29, 2, 30, 1, false),
            (METADATA, 28, 2, 29, 1, true),
            (METADATA, 31, 1, 30, 1, false),
            (METADATA, 30, 1, 25, 1, true),
            (METADATA, 6, 3, 7, 0, false),
            (KRAFT, 1, 1, 30, 1, true),
            ("sordini.version", 0, 2, 30, 1, false),
        ];
        for (feature, level, upgrade_type, metadata_version, elr, is_taken) in table {
            let cluster = with_levels(metadata_version, elr);
            for (is_refused, stage) in [(true, Stage::Fail), (false, Stage::Ok)] {
                let entry = update(stage, feature, level, upgrade_type);
                let judged = Update::of(&entry).check(&entry, &cluster, is_refused);
                assert_eq!(
                    judged.is_ok(),
                    is_refused != is_taken,
                    "{feature} {level} {upgrade_type} {judged:?}"
                );
            }
        }
    }

    #[test]
    fn a_level_that_was_answered_to_be_so_stands_in_the_log_and_nobody_else_changes_it() {
        let mut cluster = with_levels(30, 1);
        let asked = update(Stage::Invoke, ELR, 0, 2);
        let done = |administration: &mut Administration, cluster: &Cluster| {
            administration.note(&asked, cluster).expect("it may be asked for");
            let told = administration.note(&update(Stage::Ok, ELR, 0, 2), cluster);
            told.and_then(|()| administration.at_end(cluster)).map_err(|violation| violation.sentence)
        };
        assert!(
            done(&mut Administration::default(), &cluster).is_err_and(|why| why.contains("its levels were"))
        );
        let lower = FeatureLevelRecord { name: Str::from_static(ELR), ..FeatureLevelRecord::default() };
        assert_eq!(cluster.apply(20, &lower.into()), Ok(false));
        assert_eq!(done(&mut Administration::default(), &cluster), Ok(()));
        let by_nobody = Administration::default().at_end(&cluster).expect_err("nobody asked for it");
        assert!(by_nobody.sentence.contains("nobody asked for that"), "{by_nobody:?}");
        let mut upwards = Administration::default();
        upwards.note(&update(Stage::Invoke, ELR, 0, 1), &cluster).expect("it may be asked for");
        assert!(upwards.at_end(&cluster).is_err(), "an upgrade does not lower it");
        let mut refused = Administration::default();
        refused.note(&asked, &cluster).expect("it may be asked for");
        assert!(refused.note(&update(Stage::Fail, ELR, 0, 2), &cluster).is_err(), "it need not be refused");
        assert!(refused.at_end(&cluster).is_err(), "who was refused has not done it");
    }

    #[test]
    fn a_value_that_was_answered_to_be_set_stands_in_the_log() {
        let set = Entry { values: vec![(7, 1)], ..entry(Operation::AlterConfigs, Stage::Ok, "orders") };
        assert!(judge(&set, &Cluster::example()).is_err());
    }

    #[test]
    fn how_many_have_to_be_in_sync_is_one_number_for_all_brokers_where_others_may_lead() {
        let mut cluster = Cluster::example();
        let two = ConfigRecord {
            resource_type: 4,
            name: Str::from_static("min.insync.replicas"),
            value: Some(Str::from_static("2")),
            ..ConfigRecord::default()
        };
        let of_topic =
            ConfigRecord { resource_type: 2, resource_name: Str::from_static("orders"), ..two.clone() };
        assert_eq!(cluster.apply(20, &two.into()), Ok(true));
        assert_eq!(cluster.apply(21, &of_topic.into()), Ok(true));
        let set = |name, replicas: Option<u64>| Entry {
            values: replicas.map(|replicas| (replicas, 1)).into_iter().collect(),
            ..entry(Operation::SetMinIsr, Stage::Ok, name)
        };
        let refused = |entry: Entry| Entry { stage: Stage::Fail, error: ErrorCode::InvalidConfig, ..entry };
        let mut with_elr = cluster.clone();
        with_elr.features.insert(ELR.to_owned(), vec![(0, 1)]);
        for name in ["", "orders"] {
            for cluster in [&cluster, &with_elr] {
                assert_eq!(judge(&set(name, Some(2)), cluster), Ok(()));
                assert!(judge(&set(name, Some(3)), cluster).is_err_and(|why| why.contains("never")));
                assert!(judge(&refused(set(name, Some(2))), cluster).is_err());
            }
        }
        for entry in [set("", None), set("51", Some(2)), set("51", None)] {
            assert_eq!(judge(&refused(entry.clone()), &with_elr), Ok(()));
            assert!(judge(&refused(entry.clone()), &cluster).is_err());
        }
        for entry in [set("", None), set("51", Some(2))] {
            assert!(judge(&entry, &with_elr).is_err_and(|why| why.contains("the same for all brokers")));
        }
        for cluster in [&cluster, &with_elr] {
            assert_eq!(judge(&set("51", None), cluster), Ok(()), "nothing was set");
        }
    }

    #[test]
    fn a_broker_is_told_the_epoch_that_the_log_has() {
        let cluster = Cluster::example();
        for operation in [Operation::RegisterBroker, Operation::UnfenceBroker] {
            let told = |epoch| Entry { offset: Some(epoch), ..entry(operation, Stage::Ok, "52") };
            assert_eq!(judge(&told(12), &cluster), Ok(()));
            assert!(judge(&told(10), &cluster).is_err(), "{operation:?}");
        }
        let left = Entry { offset: Some(12), ..entry(Operation::LeaveCluster, Stage::Ok, "52") };
        assert!(judge(&left, &cluster).is_err(), "it is not fenced");
    }

    #[test]
    fn a_topic_is_created_whole() {
        let mut cluster = Cluster::example();
        cluster.created_partitions.insert("orders".to_owned(), 1);
        let asked = |count| Entry {
            partition: Some(count),
            ..entry(Operation::CreateTopic, Stage::Invoke, "orders")
        };
        assert_eq!(judge(&asked(1), &cluster), Ok(()));
        let half = judge(&asked(2), &cluster);
        assert!(half.is_err_and(|why| {
            why.contains("with 2 partitions, and by the committed log it was created with 1")
        }));
    }

    #[test]
    fn what_was_answered_of_a_partition_was_so() {
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
        let alone = PartitionChangeRecord { isr: Some(vec![51]), ..change };
        assert_eq!(cluster.apply(21, &alone.into()), Ok(true));
        let told = |operation, replicas: &[i32]| Entry {
            partition: Some(0),
            replicas: replicas.to_vec(),
            ..entry(operation, Stage::Ok, "orders")
        };
        assert_eq!(judge(&told(Operation::Reassign, &[53, 52]), &cluster), Ok(()));
        assert!(judge(&told(Operation::Reassign, &[52, 53]), &cluster).is_err(), "another is preferred");
        let isr = |epoch, isr: &[i32]| Entry {
            offset: Some(epoch),
            leader_epoch: Some(0),
            ..told(Operation::AlterIsr, isr)
        };
        assert_eq!(judge(&isr(2, &[51]), &cluster), Ok(()));
        assert!(judge(&isr(1, &[51]), &cluster).is_err());
        assert!(judge(&isr(2, &[51, 52]), &cluster).is_err());
        let listed = |adding, removing| Entry {
            offset: Some(adding),
            end: Some(removing),
            ..told(Operation::ListReassignments, &[53, 52, 51])
        };
        assert_eq!(judge(&listed(1, 1), &cluster), Ok(()));
        assert!(judge(&listed(1, 0), &cluster).is_err());
        let nowhere = Entry { partition: Some(1), ..told(Operation::Reassign, &[53, 52]) };
        assert!(judge(&nowhere, &cluster).is_err(), "there is no such partition");
    }

    /// What is said to whoever asked for something of a partition when the log ended at `since`, and is told that it is done.
    /// From 20 on the partition is moved and nobody leads it, and from 21 on it is where it was, and `leader` leads it.
    fn judge_since(operation: Operation, since: i64, partition: i32, leader: i32) -> Result<(), String> {
        let mut cluster = Cluster::example();
        let asked = Entry { partition: Some(partition), ..entry(operation, Stage::Invoke, "orders") };
        let mut administration = Administration::default();
        let then = Cluster { end: since, ..cluster.clone() };
        assert_eq!(administration.note(&asked, &then), Ok(()));
        let moved = PartitionChangeRecord {
            topic_id: Cluster::ORDERS,
            partition_id: 0,
            replicas: Some(vec![51, 52, 53]),
            adding_replicas: Some(vec![53]),
            leader: -1,
            ..PartitionChangeRecord::default()
        };
        let back = PartitionChangeRecord {
            replicas: Some(vec![51, 52]),
            adding_replicas: Some(Vec::new()),
            leader,
            ..moved.clone()
        };
        assert_eq!(cluster.apply(20, &moved.into()), Ok(true));
        assert_eq!(cluster.apply(21, &back.into()), Ok(true));
        let told = Entry { stage: Stage::Ok, ..asked };
        administration.note(&told, &cluster).map_err(|violation| violation.sentence)
    }

    #[test]
    fn what_is_never_done_without_a_record_has_one_since_it_was_asked_for() {
        for operation in [Operation::Reassign, Operation::ElectLeader, Operation::ElectLeaderUncleanly] {
            for since in [15, 20, 21] {
                assert_eq!(judge_since(operation, since, 0, 51), Ok(()), "{operation:?} since {since}");
            }
            let late = judge_since(operation, 22, 0, 51);
            assert!(late.is_err_and(|why| why.contains("no record since offset 22")), "{operation:?}");
            assert!(judge_since(operation, 15, 1, 51).is_err(), "there is no such partition");
        }
        assert_eq!(judge_since(Operation::ElectLeader, 20, 0, -1), Ok(()), "a move has ended");
    }

    #[test]
    fn a_registration_that_was_answered_to_be_taken_away_was_since_that_was_asked_for() {
        let mut cluster = Cluster::example();
        let asked = entry(Operation::UnregisterBroker, Stage::Invoke, "52");
        let told = entry(Operation::UnregisterBroker, Stage::Ok, "52");
        cluster.unregistrations.push((20, 52));
        for (end, is_so) in [(20, true), (21, false)] {
            let mut administration = Administration::default();
            assert_eq!(administration.note(&asked, &Cluster { end, ..cluster.clone() }), Ok(()));
            assert_eq!(administration.note(&told, &cluster).is_ok(), is_so, "asked at {end}");
        }
    }

    #[test]
    fn a_block_of_ids_is_that_of_the_log_and_is_handed_out_once() {
        let mut cluster = Cluster::example();
        let record = ProducerIdsRecord {
            broker_id: 51,
            broker_epoch: 10,
            next_producer_id: 1_000,
            ..ProducerIdsRecord::default()
        };
        assert_eq!(cluster.apply(20, &record.into()), Ok(false));
        let told = |first, count| Entry {
            offset: Some(10),
            values: vec![(first, count)],
            ..entry(Operation::AllocateProducerIds, Stage::Ok, "51")
        };
        assert_eq!(judge(&told(0, 1_000), &cluster), Ok(()));
        assert!(judge(&told(0, 2_000), &cluster).is_err());
        assert!(judge(&told(1_000, 1_000), &cluster).is_err());
        let mut administration = Administration::default();
        assert_eq!(administration.note(&told(0, 1_000), &cluster), Ok(()));
        assert!(administration.note(&told(0, 1_000), &cluster).is_err(), "a second time");
    }
}
