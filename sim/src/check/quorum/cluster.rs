//! The cluster as the committed metadata log says that it is, for an observer that replays it by itself. What a record must not
//! say is for the checks of the files beside this one.

use super::access_control::AccessControl;
use super::eligible_replicas::NewLife;
use super::voter_log::VoterBatch;
use super::{
    broker_epochs, clean_elections, eligible_replicas, partition_leaders, producer_id_blocks, reassignments,
    topic_ids,
};
use crate::check::Violation;
use crate::plan::{BrokerPlan, Feature};
use sordini_protocol::batch::Batch;
use sordini_protocol::control::{self, ControlType};
use sordini_protocol::records::{
    KRaftVersionRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord,
};
use sordini_protocol::wire::{Message as _, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// How far a batch may grow when it is decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 26;
/// In a partition change: the leader stays.
const LEADER_UNCHANGED: i32 = -2;
/// What configurations call a topic.
const RESOURCE_TOPIC: i8 = 2;

/// A registered broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) epoch: i64,
    pub(super) incarnation: Uuid,
    pub(super) is_fenced: bool,
    /// Whether it is about to go, and may not be elected any more.
    pub(super) is_leaving: bool,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) replicas: Vec<i32>,
    pub(super) isr: Vec<i32>,
    /// Of the replicas those that a reassignment adds, and those that it is to remove.
    pub(super) adding: Vec<i32>,
    pub(super) removing: Vec<i32>,
    /// Those who may lead when nobody is in sync.
    pub(super) elr: Vec<i32>,
    /// Who led last, where nobody is left that has it.
    pub(super) last_known: Vec<i32>,
    /// -1 for nobody.
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    /// How often it has changed.
    pub(super) partition_epoch: i32,
    /// Whether its leader was none of those that were in sync, and has not yet said that it has made the best of it.
    pub(super) is_recovering: bool,
}

impl Partition {
    pub(super) fn is_moved(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas that there are to be when it is not moved any more.
    pub(super) fn target(&self) -> Vec<i32> {
        without(&self.replicas, &self.removing)
    }

    /// The replicas that there were before it was moved.
    pub(super) fn original(&self) -> Vec<i32> {
        without(&self.replicas, &self.adding)
    }
}

fn without(ids: &[i32], out: &[i32]) -> Vec<i32> {
    ids.iter().copied().filter(|id| !out.contains(id)).collect()
}

/// A partition by its place, for sentences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) topic: &'a str,
    pub(super) index: i32,
    /// Of the record that says it.
    pub(super) offset: i64,
}

/// A topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) partitions: BTreeMap<i32, Partition>,
    /// What is set of it, by key.
    pub(super) configs: BTreeMap<String, String>,
}

/// The cluster, and what has ever been of it that a check asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) brokers: BTreeMap<i32, Broker>,
    /// The epoch of every process that ever registered, by broker and incarnation.
    pub(super) incarnations: BTreeMap<(i32, Uuid), i64>,
    /// Of every process that asked to be registered, by broker and incarnation, the epochs in which its last life ended cleanly,
    /// as it said; -1 where it did not.
    pub(super) previous_epochs: BTreeMap<(i32, Uuid), BTreeSet<i64>>,
    /// The greatest broker epoch.
    pub(super) last_broker_epoch: i64,
    /// Brokers with those of their epochs in which they were ever unfenced.
    pub(super) unfenced: BTreeSet<(i32, i64)>,
    pub(super) topics: BTreeMap<Uuid, Topic>,
    pub(super) topics_by_name: BTreeMap<String, Uuid>,
    /// Every id that a topic ever had.
    pub(super) topic_ids: BTreeSet<Uuid>,
    /// How often each topic was created.
    pub(super) creations: BTreeMap<String, u64>,
    /// How often each value was set of a topic.
    pub(super) values: BTreeMap<String, u64>,
    /// The greatest number of partitions that each topic ever had.
    pub(super) partitions: BTreeMap<String, i32>,
    /// The levels that each feature ever had, in turn, but for the 0 before the first, with the offsets of the records that say so.
    pub(super) features: BTreeMap<String, Vec<(i64, i16)>>,
    /// Where the first levels of features end.
    pub(super) beginning_end: Option<i64>,
    /// What is set of all brokers for `min.insync.replicas`.
    pub(super) min_isr: Option<String>,
    /// What was ever set for it, in turn: of topics by their names, of brokers by their numbers, of all brokers without a name.
    pub(super) min_isrs: BTreeMap<String, Vec<Option<String>>>,
    /// The number of partitions that each topic was created with, by the batch that created it.
    pub(super) created_partitions: BTreeMap<String, i32>,
    /// Each partition by topic and index, as it ever was, with the offset of the record that says so.
    pub(super) changes: BTreeMap<(String, i32), Vec<(i64, Partition)>>,
    /// When which broker's registration was taken away, by offset.
    pub(super) unregistrations: Vec<(i64, i32)>,
    /// The partitions of which somebody has asked for a leader that may lack records.
    pub(super) unclean_elections: BTreeSet<(String, i32)>,
    /// Where the batches end that it has taken.
    pub(super) end: i64,
    pub(super) next_producer_id: i64,
    pub(super) access_control: AccessControl,
    /// The blocks of producer ids by their first, each with the first behind it and the broker and epoch it went to.
    pub(super) blocks: BTreeMap<i64, (i64, i32, i64)>,
}

impl Cluster {
    /// Takes the next batch of the committed log.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "no other record begins the life of a broker, or changes how many have to be in sync"
    )]
    pub(super) fn replay(&mut self, batch: &VoterBatch) -> Result<(), Violation> {
        let unreadable = |error: &dyn std::fmt::Display| Violation {
            property: "committed_metadata",
            sentence: format!("the committed batch at offset {} cannot be read: {error}", batch.base),
        };
        let whole = Batch::new(batch.bytes.clone()).map_err(|error| unreadable(&error))?;
        if whole.header().is_control() {
            for record in whole.records(DECOMPRESSED_BYTES_MAX).into_iter().flatten().flatten() {
                if let Ok(Some((ControlType::KraftVersion, mut value))) = control::parse(&record)
                    && let Ok(record) = KRaftVersionRecord::decode(0, &mut value)
                {
                    self.set_level(Feature::KraftVersion.name(), batch.base, record.kraft_version);
                }
            }
            self.end = batch.end;
            return Ok(());
        }
        let mut records = Vec::new();
        for record in whole.records(DECOMPRESSED_BYTES_MAX).map_err(|error| unreadable(&error))? {
            let value = record.map_err(|error| unreadable(&error))?.value.unwrap_or_default();
            records.push(MetadataRecord::decode(value).map_err(|error| unreadable(&error))?);
        }
        let lives = records.iter().filter_map(|record| match record {
            MetadataRecord::RegisterBroker(record) => NewLife::of(record, self),
            _ => None,
        });
        let lives: Vec<NewLife> = lives.collect();
        let judged_anew = records.iter().filter_map(|record| match record {
            MetadataRecord::Config(record) if *record.name == *BrokerPlan::MIN_ISR_KEY => {
                let is_of_topic = record.resource_type == RESOURCE_TOPIC;
                let is_of_all = record.resource_name.is_empty();
                (is_of_topic || is_of_all).then(|| is_of_topic.then(|| record.resource_name.to_string()))
            }
            _ => None,
        });
        let judged_anew: Vec<Option<String>> = judged_anew.collect();
        let had_elr = self.has_elr();
        self.access_control.replay(batch.end, &records)?;
        let mut concerns_partitions = false;
        let mut created = Vec::new();
        for (offset, record) in (batch.base..).zip(records) {
            concerns_partitions |= self.apply(offset, &record)?;
            if let MetadataRecord::Topic(topic) = &record {
                created.push(topic.name.to_string());
            }
        }
        for name in created {
            let count = self.partitions.get(&name).copied().unwrap_or(0);
            self.created_partitions.insert(name, count);
        }
        self.end = batch.end;
        if !self.features.is_empty() {
            self.beginning_end.get_or_insert(batch.end);
        }
        // A decision is one batch: between its records the cluster need not be as it should be.
        if concerns_partitions {
            partition_leaders::check(batch.end, self)?;
            eligible_replicas::check(batch.end, self)?;
        }
        for name in judged_anew {
            // Who was eligible before the feature was taken away may lead still where nobody is in sync.
            let is_empty_isr_excused = !had_elr;
            eligible_replicas::check_judged_anew(batch.end, self, name.as_deref(), is_empty_isr_excused)?;
        }
        lives.iter().try_for_each(|life| life.check(batch.end, self))
    }

    /// A process asks to be registered as a broker and says in which epoch its last life ended cleanly, -1 for none.
    pub(super) fn claim_previous_epoch(&mut self, broker: i32, incarnation: Uuid, previous_epoch: i64) {
        self.previous_epochs.entry((broker, incarnation)).or_default().insert(previous_epoch);
    }

    /// Takes a record; whether it says something of brokers or partitions.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what no client of a plan asks for leads to no record, and no check asks for it"
    )]
    pub(super) fn apply(&mut self, offset: i64, record: &MetadataRecord) -> Result<bool, Violation> {
        match record {
            MetadataRecord::RegisterBroker(record) => {
                broker_epochs::check_registration(self, offset, record)?;
                self.register(record);
            }
            MetadataRecord::UnregisterBroker(record) => {
                broker_epochs::check_change(self, offset, record.broker_id, record.broker_epoch)?;
                self.brokers.remove(&record.broker_id);
                self.unregistrations.push((offset, record.broker_id));
            }
            MetadataRecord::BrokerRegistrationChange(record) => {
                broker_epochs::check_change(self, offset, record.broker_id, record.broker_epoch)?;
                if record.fenced != 0 {
                    self.set_fenced(record.broker_id, record.fenced > 0);
                }
                if let Some(broker) = self.brokers.get_mut(&record.broker_id)
                    && record.in_controlled_shutdown != 0
                {
                    broker.is_leaving = record.in_controlled_shutdown > 0;
                }
            }
            MetadataRecord::FenceBroker(record) => {
                broker_epochs::check_change(self, offset, record.id, record.epoch)?;
                self.set_fenced(record.id, true);
            }
            MetadataRecord::UnfenceBroker(record) => {
                broker_epochs::check_change(self, offset, record.id, record.epoch)?;
                self.set_fenced(record.id, false);
            }
            MetadataRecord::Topic(record) => {
                topic_ids::check(self, offset, &record.name, record.topic_id)?;
                let name = record.name.to_string();
                self.topic_ids.insert(record.topic_id);
                *self.creations.entry(name.clone()).or_default() += 1;
                self.topics_by_name.insert(name.clone(), record.topic_id);
                self.topics.insert(record.topic_id, Topic { name, ..Topic::default() });
            }
            MetadataRecord::RemoveTopic(record) => {
                if let Some(topic) = self.topics.remove(&record.topic_id) {
                    self.topics_by_name.remove(&topic.name);
                }
            }
            MetadataRecord::Partition(record) => self.set_partition(offset, record),
            MetadataRecord::PartitionChange(record) => self.change_partition(offset, record)?,
            MetadataRecord::ClearElr(record) => self.clear_elr(offset, &record.topic_name),
            MetadataRecord::FeatureLevel(record) => {
                self.set_level(&record.name, offset, record.feature_level);
                return Ok(false);
            }
            MetadataRecord::Config(record) => {
                let (of, value) = (&record.resource_name, record.value.as_deref());
                let is_min_isr = *record.name == *BrokerPlan::MIN_ISR_KEY;
                if record.resource_type == RESOURCE_TOPIC {
                    self.set_topic_config(of, &record.name, value);
                } else if of.is_empty() && is_min_isr {
                    self.min_isr = value.map(str::to_owned);
                }
                if is_min_isr {
                    self.min_isrs.entry(of.to_string()).or_default().push(value.map(str::to_owned));
                }
                return Ok(is_min_isr);
            }
            MetadataRecord::ProducerIds(record) => {
                producer_id_blocks::check(self, offset, record)?;
                let block = (record.next_producer_id, record.broker_id, record.broker_epoch);
                self.blocks.insert(self.next_producer_id, block);
                self.next_producer_id = record.next_producer_id;
                return Ok(false);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn register(&mut self, record: &RegisterBrokerRecord) {
        let RegisterBrokerRecord { broker_id, broker_epoch, incarnation_id, fenced, .. } = *record;
        let broker = Broker {
            epoch: broker_epoch,
            incarnation: incarnation_id,
            is_fenced: fenced,
            is_leaving: record.in_controlled_shutdown,
        };
        self.brokers.insert(broker_id, broker);
        self.incarnations.insert((broker_id, incarnation_id), broker_epoch);
        self.last_broker_epoch = self.last_broker_epoch.max(broker_epoch);
    }

    fn set_fenced(&mut self, id: i32, is_fenced: bool) {
        let Some(broker) = self.brokers.get_mut(&id) else { return };
        broker.is_fenced = is_fenced;
        if !is_fenced {
            self.unfenced.insert((id, broker.epoch));
        }
    }

    fn set_partition(&mut self, offset: i64, record: &PartitionRecord) {
        let Some(topic) = self.topics.get_mut(&record.topic_id) else { return };
        let partition = Partition {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            adding: record.adding_replicas.clone(),
            removing: record.removing_replicas.clone(),
            elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known: record.last_known_elr.clone().unwrap_or_default(),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            is_recovering: record.leader_recovery_state > 0,
        };
        let place = (topic.name.clone(), record.partition_id);
        self.changes.entry(place).or_default().push((offset, partition.clone()));
        topic.partitions.insert(record.partition_id, partition);
        let most = self.partitions.entry(topic.name.clone()).or_default();
        *most = (*most).max(record.partition_id + 1);
    }

    fn change_partition(&mut self, offset: i64, record: &PartitionChangeRecord) -> Result<(), Violation> {
        let has_elr = self.has_elr();
        let Some(topic) = self.topics.get_mut(&record.topic_id) else { return Ok(()) };
        let Some(partition) = topic.partitions.get_mut(&record.partition_id) else { return Ok(()) };
        let before = partition.clone();
        for (list, with) in [
            (&mut partition.replicas, &record.replicas),
            (&mut partition.isr, &record.isr),
            (&mut partition.adding, &record.adding_replicas),
            (&mut partition.removing, &record.removing_replicas),
            (&mut partition.elr, &record.eligible_leader_replicas),
            (&mut partition.last_known, &record.last_known_elr),
        ] {
            if let Some(with) = with {
                list.clone_from(with);
            }
        }
        if record.leader != LEADER_UNCHANGED {
            partition.leader = record.leader;
            // Whoever leads, or nobody, it is another time.
            partition.leader_epoch += 1;
        }
        if record.leader_recovery_state >= 0 {
            partition.is_recovering = record.leader_recovery_state > 0;
        }
        partition.partition_epoch += 1;
        let after = partition.clone();
        let place = Place { topic: &topic.name, index: record.partition_id, offset };
        reassignments::check(place, &before, &after)?;
        let name = (topic.name.clone(), record.partition_id);
        clean_elections::check(place, &before, &after, self.unclean_elections.contains(&name))?;
        eligible_replicas::check_change(&topic.name, record.partition_id, &before, &after, has_elr)?;
        self.changes.entry(name).or_default().push((offset, after));
        Ok(())
    }

    /// Nobody is eligible any more for the partitions of a topic, or, without a name, of any.
    fn clear_elr(&mut self, offset: i64, name: &str) {
        for topic in self.topics.values_mut().filter(|topic| name.is_empty() || topic.name == name) {
            for (index, partition) in &mut topic.partitions {
                if partition.elr.is_empty() && partition.last_known.is_empty() {
                    continue;
                }
                partition.elr.clear();
                partition.last_known.clear();
                partition.partition_epoch += 1;
                let place = (topic.name.clone(), *index);
                self.changes.entry(place).or_default().push((offset, partition.clone()));
            }
        }
    }

    fn set_topic_config(&mut self, name: &str, key: &str, value: Option<&str>) {
        let id = self.topics_by_name.get(name);
        let Some(topic) = id.and_then(|id| self.topics.get_mut(id)) else { return };
        if let Some(value) = value {
            *self.values.entry(value.to_owned()).or_default() += 1;
            topic.configs.insert(key.to_owned(), value.to_owned());
        } else {
            topic.configs.remove(key);
        }
    }

    fn set_level(&mut self, feature: &str, offset: i64, level: i16) {
        if self.level(feature) != level {
            self.features.entry(feature.to_owned()).or_default().push((offset, level));
        }
    }

    /// The levels that a feature ever had, in turn: first that with which the cluster began, 0 where nothing is said of it.
    pub(super) fn levels(&self, feature: &str) -> impl DoubleEndedIterator<Item = i16> {
        let said = self.features.get(feature).map_or(&[][..], |said| said);
        let is_first = |offset: i64| self.beginning_end.is_none_or(|end| offset < end);
        let began_without = said.first().is_none_or(|(offset, _)| !is_first(*offset));
        began_without.then_some(0).into_iter().chain(said.iter().map(|(_, level)| *level))
    }

    /// The level of a feature.
    pub(super) fn level(&self, feature: &str) -> i16 {
        self.levels(feature).next_back().unwrap_or(0)
    }

    /// The levels above 0 of all features as of what lies below an offset.
    pub(super) fn levels_below(&self, end: i64) -> BTreeMap<String, i16> {
        let below = |(name, said): (&String, &Vec<(i64, i16)>)| {
            let (_, level) = said.iter().rfind(|(offset, _)| *offset < end)?;
            (*level > 0).then(|| (name.clone(), *level))
        };
        self.features.iter().filter_map(below).collect()
    }

    /// Whether others than those in sync may lead.
    pub(super) fn has_elr(&self) -> bool {
        self.level(Feature::EligibleLeaderReplicas.name()) > 0
    }

    /// The same at some time.
    pub(super) fn ever_had_elr(&self) -> bool {
        self.levels(Feature::EligibleLeaderReplicas.name()).any(|level| level > 0)
    }

    /// The same from the beginning on.
    pub(super) fn always_had_elr(&self) -> bool {
        self.levels(Feature::EligibleLeaderReplicas.name()).all(|level| level > 0)
    }

    /// The topic of a name.
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(self.topics_by_name.get(name)?)
    }
}

#[cfg(test)]
impl Cluster {
    /// A cluster of two brokers, 51 and 52, which are not fenced, and of a topic `orders` with one partition on both.
    pub(super) fn example() -> Self {
        use sordini_protocol::records::{BrokerRegistrationChangeRecord, TopicRecord};
        use sordini_protocol::wire::Str;
        let mut cluster = Self::default();
        let mut offset = 10;
        for broker_id in [51, 52] {
            let register = RegisterBrokerRecord {
                broker_id,
                broker_epoch: offset,
                incarnation_id: Self::incarnation(broker_id),
                fenced: true,
                ..RegisterBrokerRecord::default()
            };
            let unfence = BrokerRegistrationChangeRecord {
                broker_id,
                broker_epoch: offset,
                fenced: -1,
                ..BrokerRegistrationChangeRecord::default()
            };
            assert_eq!(cluster.apply(offset, &register.into()), Ok(true));
            assert_eq!(cluster.apply(offset + 1, &unfence.into()), Ok(true));
            offset += 2;
        }
        let topic = TopicRecord {
            name: Str::from_static("orders"),
            topic_id: Self::ORDERS,
            ..TopicRecord::default()
        };
        let partition = PartitionRecord {
            topic_id: Self::ORDERS,
            partition_id: 0,
            replicas: vec![51, 52],
            isr: vec![51, 52],
            leader: 51,
            leader_epoch: 0,
            partition_epoch: 0,
            ..PartitionRecord::default()
        };
        assert_eq!(cluster.apply(14, &topic.into()), Ok(true));
        assert_eq!(cluster.apply(15, &partition.into()), Ok(true));
        assert_eq!(partition_leaders::check(16, &cluster), Ok(()));
        cluster
    }

    /// The same where others than those in sync may lead, from the beginning on.
    pub(super) fn example_with_elr() -> Self {
        let elr = Feature::EligibleLeaderReplicas.name().to_owned();
        Self { features: BTreeMap::from([(elr, vec![(0, 1)])]), beginning_end: Some(1), ..Self::example() }
    }

    pub(super) const ORDERS: Uuid = Uuid::from_u64s(7, 7);

    /// The only life of a broker of the example.
    pub(super) fn incarnation(broker: i32) -> Uuid {
        Uuid::from_u64s(u64::from(broker.cast_unsigned()), 1)
    }
}
