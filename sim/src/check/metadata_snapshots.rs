//! `metadata_snapshots`: nothing of the metadata log goes that no durable snapshot on the same disk contains, and a log that
//! starts above 0 has such a snapshot (K8, K9). And a snapshot holds what the committed log comes to, replayed from its
//! beginning up to where the snapshot ends (K13).

use super::truth::{is_going, segments_to_be};
use super::{METADATA_DIR, Violation, VoterSet};
use crate::disk::{Contents, Disk};
use bytes::Bytes;
use sordini_core::storage_op::StoragePath;
use sordini_protocol::batch::Batch;
use sordini_protocol::records::{
    AccessControlEntryRecord, BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord,
    PartitionRecord, RegisterBrokerRecord, RegisterControllerRecord,
};
use sordini_protocol::wire::{Str, Uuid};
use std::collections::BTreeMap;
use std::fmt::Debug;

const SUFFIX: &str = ".checkpoint";
/// How far a batch may grow when it is decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 26;
/// In a partition change: the leader stays.
const LEADER_UNCHANGED: i32 = -2;
/// What configurations call a topic.
const RESOURCE_TOPIC: i8 = 2;

fn violation(sentence: String) -> Violation {
    Violation { property: "metadata_snapshots", sentence }
}

/// What a snapshot contains: everything below an offset, the last of it of an epoch.
pub(super) type SnapshotId = (i64, i32);

/// The name of a snapshot.
pub(super) fn file_of((end, epoch): SnapshotId) -> String {
    format!("{METADATA_DIR}/{end:020}-{epoch:010}{SUFFIX}")
}

fn id_of(file: &str) -> Option<SnapshotId> {
    let (end, epoch) = file.rsplit('/').next()?.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((end.parse().ok()?, epoch.parse().ok()?))
}

/// The snapshots that are on a disk and stay there whatever comes, oldest first.
fn durable(disk: &Disk) -> Vec<SnapshotId> {
    let is_durable = |file: &&str| {
        let len = disk.contents(file).map_or(0, Contents::len);
        len > 0 && disk.durable_len(file) == len && !is_going(disk, file)
    };
    let files = disk.paths_beneath(METADATA_DIR).filter(|file| file.ends_with(SUFFIX)).filter(is_durable);
    let mut found: Vec<SnapshotId> = files.filter_map(id_of).collect();
    found.sort_unstable();
    found
}

/// The offset below which everything is in a snapshot that stays.
pub(super) fn contained_end(disk: &Disk) -> i64 {
    durable(disk).last().map_or(0, |(end, _)| *end)
}

/// The newest snapshot that is whole on a disk, the one that formatting writes included.
pub(super) fn newest(disk: &Disk) -> Option<SnapshotId> {
    durable(disk).last().copied()
}

/// Everything below `end` is about to leave the log.
pub(super) fn check_going(what: &str, end: i64, disk: &Disk) -> Result<(), Violation> {
    let contained_end = contained_end(disk);
    if end <= contained_end {
        return Ok(());
    }
    Err(violation(format!(
        "{what} goes, which ends at offset {end}, and the snapshots on its disk contain what lies below {contained_end}"
    )))
}

/// A log is about to begin at `base`, where there is none.
pub(super) fn check_beginning(base: i64, disk: &Disk) -> Result<(), Violation> {
    let durable = durable(disk);
    if base == 0 || durable.iter().any(|(end, _)| *end == base) {
        return Ok(());
    }
    Err(violation(format!("a log begins at offset {base}, and the snapshots on its disk are {durable:?}")))
}

/// A snapshot is about to go.
pub(super) fn check_snapshot_going(file: &StoragePath, disk: &Disk) -> Result<(), Violation> {
    let Some(gone) = id_of(file.as_str()) else { return Ok(()) };
    let first = segments_to_be(METADATA_DIR, disk).first().map_or(0, |(base, _)| *base);
    let left = durable(disk).into_iter().rfind(|id| *id != gone).map_or(0, |(end, _)| end);
    if first <= left {
        return Ok(());
    }
    Err(violation(format!(
        "{file} goes, and of what lies below offset {first}, where the log begins, the others contain what lies below {left}"
    )))
}

/// What a node says of its log's start and of its snapshots.
pub(super) fn check_view(
    node: usize,
    log_start: i64,
    newest: Option<SnapshotId>,
    disk: &Disk,
) -> Result<(), Violation> {
    let durable = durable(disk);
    if let Some(newest) = newest.filter(|newest| !durable.contains(newest)) {
        return Err(violation(format!(
            "node {node} believes that it has the snapshot {newest:?}, and durable are {durable:?}"
        )));
    }
    let contained_end = newest.map_or(0, |(end, _)| end);
    if log_start <= contained_end {
        return Ok(());
    }
    Err(violation(format!(
        "the log of node {node} starts at {log_start}, and its snapshots contain what lies below {contained_end}"
    )))
}

/// The cluster, as records say that it is.
#[derive(Clone, Debug, Default)]
struct Image {
    features: BTreeMap<Str, i16>,
    brokers: BTreeMap<i32, RegisterBrokerRecord>,
    controllers: BTreeMap<i32, RegisterControllerRecord>,
    topics: BTreeMap<Uuid, Str>,
    partitions: BTreeMap<(Uuid, i32), PartitionRecord>,
    configs: BTreeMap<(i8, Str, Str), Str>,
    next_producer_id: i64,
    acls: BTreeMap<Uuid, AccessControlEntryRecord>,
}

impl Image {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what no client of a plan asks for leads to no record"
    )]
    fn apply(&mut self, record: MetadataRecord) {
        match record {
            MetadataRecord::FeatureLevel(record) => {
                self.features.insert(record.name, record.feature_level);
                // Of a level of 0 nothing is left to say.
                self.features.retain(|_, level| *level != 0);
            }
            MetadataRecord::RegisterBroker(record) => {
                self.brokers.insert(record.broker_id, record);
            }
            MetadataRecord::UnregisterBroker(record) => {
                self.brokers.remove(&record.broker_id);
            }
            MetadataRecord::BrokerRegistrationChange(record) => self.change_broker(&record),
            MetadataRecord::FenceBroker(record) => self.set_fenced(record.id, true),
            MetadataRecord::UnfenceBroker(record) => self.set_fenced(record.id, false),
            MetadataRecord::RegisterController(record) => {
                self.controllers.insert(record.controller_id, record);
            }
            MetadataRecord::Topic(record) => {
                self.topics.insert(record.topic_id, record.name);
            }
            MetadataRecord::RemoveTopic(record) => {
                self.partitions.retain(|(topic, _), _| *topic != record.topic_id);
                if let Some(name) = self.topics.remove(&record.topic_id) {
                    self.configs.retain(|(kind, of, _), _| *kind != RESOURCE_TOPIC || *of != name);
                }
            }
            MetadataRecord::Partition(record) => {
                self.partitions.insert((record.topic_id, record.partition_id), record);
            }
            MetadataRecord::PartitionChange(record) => self.change_partition(record),
            MetadataRecord::ClearElr(record) => self.clear_elr(&record.topic_name),
            MetadataRecord::Config(record) => {
                let key = (record.resource_type, record.resource_name, record.name);
                match record.value {
                    Some(value) => self.configs.insert(key, value),
                    None => self.configs.remove(&key),
                };
            }
            MetadataRecord::ProducerIds(record) => self.next_producer_id = record.next_producer_id,
            MetadataRecord::AccessControlEntry(record) => {
                self.acls.insert(record.id, record);
            }
            MetadataRecord::RemoveAccessControlEntry(record) => {
                self.acls.remove(&record.id);
            }
            _ => {}
        }
    }

    fn set_fenced(&mut self, id: i32, is_fenced: bool) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.fenced = is_fenced;
        }
    }

    fn change_broker(&mut self, record: &BrokerRegistrationChangeRecord) {
        let Some(broker) = self.brokers.get_mut(&record.broker_id) else { return };
        if record.fenced != 0 {
            broker.fenced = record.fenced > 0;
        }
        broker.in_controlled_shutdown |= record.in_controlled_shutdown > 0;
    }

    fn change_partition(&mut self, record: PartitionChangeRecord) {
        let Some(partition) = self.partitions.get_mut(&(record.topic_id, record.partition_id)) else {
            return;
        };
        partition.partition_epoch += 1;
        if record.leader != LEADER_UNCHANGED {
            partition.leader = record.leader;
            partition.leader_epoch += 1;
        }
        if record.leader_recovery_state >= 0 {
            partition.leader_recovery_state = record.leader_recovery_state;
        }
        let lists = [
            (record.eligible_leader_replicas, partition.eligible_leader_replicas.get_or_insert_default()),
            (record.last_known_elr, partition.last_known_elr.get_or_insert_default()),
            (record.isr, &mut partition.isr),
            (record.replicas, &mut partition.replicas),
            (record.adding_replicas, &mut partition.adding_replicas),
            (record.removing_replicas, &mut partition.removing_replicas),
        ];
        for (changed, list) in lists {
            if let Some(changed) = changed {
                *list = changed;
            }
        }
    }

    /// Nobody is eligible any more for the partitions of a topic, or, without a name, of any.
    fn clear_elr(&mut self, name: &Str) {
        for ((topic, _), partition) in &mut self.partitions {
            if !name.is_empty() && self.topics.get(topic) != Some(name) {
                continue;
            }
            let PartitionRecord { eligible_leader_replicas, last_known_elr, .. } = partition;
            let lists = [eligible_leader_replicas, last_known_elr];
            let cleared = lists.into_iter().filter_map(Option::take).filter(|list| !list.is_empty());
            partition.partition_epoch += i32::from(cleared.count() > 0);
        }
    }

    /// What it comes to, so that two can be compared: what is there, and what is to be said of it.
    fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::new();
        let mut fact = |what: String, value: &dyn Debug| drop(facts.insert(what, format!("{value:?}")));
        for (name, level) in &self.features {
            fact(format!("feature {name}"), level);
        }
        for (id, broker) in &self.brokers {
            let said =
                (broker.broker_epoch, broker.incarnation_id, broker.fenced, broker.in_controlled_shutdown);
            fact(format!("broker {id}"), &said);
        }
        for (id, controller) in &self.controllers {
            fact(format!("controller {id}"), &controller.incarnation_id);
        }
        for (id, name) in &self.topics {
            fact(format!("topic {id:?}"), name);
        }
        for ((topic, index), partition) in &self.partitions {
            let who = (&partition.replicas, &partition.isr, partition.leader);
            let moving = (&partition.adding_replicas, &partition.removing_replicas);
            let epochs = (partition.leader_epoch, partition.partition_epoch);
            fact(format!("partition {topic:?}-{index}"), &(who, moving, epochs));
            let list = |list: &Option<Vec<i32>>| list.clone().unwrap_or_default();
            let eligible = (list(&partition.eligible_leader_replicas), list(&partition.last_known_elr));
            let said = (eligible, partition.leader_recovery_state);
            fact(format!("who may lead {topic:?}-{index}, and how complete it is"), &said);
        }
        for ((kind, of, key), value) in &self.configs {
            fact(format!("{key} of {kind} {of}"), value);
        }
        for (id, record) in &self.acls {
            fact(format!("the access control entry {id:?}"), record);
        }
        fact("the next producer id".to_owned(), &self.next_producer_id);
        facts
    }

    /// Takes the records of a batch, whatever a control batch says.
    fn replay(&mut self, batch: &Batch) -> Result<(), String> {
        if batch.header().is_control() {
            return Ok(());
        }
        for record in batch.records(DECOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())? {
            let value = record.map_err(|error| error.to_string())?.value.unwrap_or_default();
            self.apply(MetadataRecord::decode(value).map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    fn of_snapshot(file: &Bytes) -> Result<Self, String> {
        let mut image = Self::default();
        let mut rest = file.clone();
        let mut are_control = Vec::new();
        while let Some(batch) = Batch::first_of(&mut rest).map_err(|error| error.to_string())? {
            batch.check_crc().map_err(|error| error.to_string())?;
            are_control.push(batch.header().is_control());
            image.replay(&batch)?;
        }
        let is_framed =
            are_control.len() > 1 && are_control.first() == Some(&true) && are_control.last() == Some(&true);
        if is_framed && rest.is_empty() {
            Ok(image)
        } else {
            Err("it lacks its header or its footer".to_owned())
        }
    }
}

/// Replays the committed log for the snapshots that are taken of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Replay {
    image: Image,
    /// How far the image has come.
    end: i64,
    /// Snapshots that were found right.
    right: BTreeMap<SnapshotId, Bytes>,
}

impl Replay {
    /// A node has a snapshot. `committed` are the committed batches from offset 0 on: where each ends, its epoch and its bytes;
    /// `voters` are who votes by what lies below its end, if that says so.
    pub(super) fn check<'a>(
        &mut self,
        node: usize,
        id: SnapshotId,
        committed: impl Iterator<Item = (i64, i32, &'a Bytes)>,
        voters: Option<&VoterSet>,
        disk: &Disk,
    ) -> Result<(), Violation> {
        let wrong = |why: String| violation(format!("the snapshot {id:?} of node {node} is wrong: {why}"));
        let contents = disk.contents(&file_of(id)).map(Contents::all).unwrap_or_default();
        if self.right.get(&id) == Some(&contents) {
            return Ok(());
        }
        if id.0 < self.end {
            (self.image, self.end) = (Image::default(), 0);
        }
        let mut last_epoch = None;
        for (end, epoch, bytes) in committed.take_while(|(end, ..)| *end <= id.0) {
            last_epoch = Some((end, epoch));
            if end > self.end {
                let batch = Batch::new(bytes.clone()).map_err(|error| wrong(error.to_string()))?;
                self.image.replay(&batch).map_err(wrong)?;
                self.end = end;
            }
        }
        if last_epoch != Some(id) {
            return Err(wrong(format!("the last that is committed below its end ends so: {last_epoch:?}")));
        }
        let said = VoterSet::in_batches(&contents);
        if said.as_ref() != voters {
            return Err(wrong(format!("it says of the voters {said:?}, and the log {voters:?}")));
        }
        let found = Image::of_snapshot(&contents).map_err(wrong)?.facts();
        let replayed = self.image.facts();
        let mut keys = replayed.keys().chain(found.keys());
        if let Some(key) = keys.find(|key| found.get(*key) != replayed.get(*key)) {
            return Err(wrong(format!(
                "it says of {key} {:?}, and the log {:?}",
                found.get(key),
                replayed.get(key)
            )));
        }
        self.right.insert(id, contents);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::Life;
    use sordini_core::storage_op::StorageOp;
    use sordini_protocol::batch::{BatchBuilder, BatchParams};
    use sordini_protocol::records::{ClearElrRecord, ConfigRecord, TopicRecord};

    fn batch(base_offset: i64, control: bool, records: &[MetadataRecord]) -> Bytes {
        let params = BatchParams { base_offset, control, leader_epoch: 1, ..BatchParams::default() };
        let mut builder = BatchBuilder::new(params);
        for record in records {
            let value = record.to_bytes(record.highest_version()).expect("it has this version");
            builder.append(0, None, Some(&value), &[]);
        }
        if records.is_empty() {
            builder.append(0, None, None, &[]);
        }
        builder.build()
    }

    fn set(key: &'static str, value: &'static str) -> MetadataRecord {
        let (name, value) = (Str::from_static(key), Some(Str::from_static(value)));
        ConfigRecord { resource_type: 4, name, value, ..ConfigRecord::default() }.into()
    }

    fn store(life: &mut Life, id: SnapshotId, bytes: Bytes) {
        let file = StoragePath::new(&file_of(id));
        life.push(StorageOp::Replace { file, bytes }).expect("a snapshot may be written at any time");
    }

    #[test]
    fn what_a_durable_snapshot_contains_may_go_and_nothing_else() {
        let mut life = Life::begin();
        assert!(check_going("a segment", 1, &life.disk).is_err());
        store(&mut life, (5, 1), Bytes::from_static(b"a snapshot"));
        assert!(check_going("a segment", 5, &life.disk).is_err(), "it is not durable");
        assert!(check_beginning(5, &life.disk).is_err());
        life.settle();
        assert_eq!(check_going("a segment", 5, &life.disk), Ok(()));
        assert!(check_going("a segment", 6, &life.disk).is_err());
        assert_eq!((check_beginning(0, &life.disk), check_beginning(5, &life.disk)), (Ok(()), Ok(())));
        assert!(check_beginning(4, &life.disk).is_err());
        assert_eq!(check_view(0, 5, Some((5, 1)), &life.disk), Ok(()));
        assert!(check_view(0, 6, Some((5, 1)), &life.disk).is_err());
        assert!(check_view(0, 5, Some((6, 1)), &life.disk).is_err());
        assert!(check_view(0, 5, None, &life.disk).is_err());
    }

    #[test]
    fn a_snapshot_says_who_may_lead_without_being_in_sync() {
        let (topic_id, name) = (Uuid::from_u64s(7, 7), Str::from_static("orders"));
        let with = |elr: &[i32], last_known: &[i32], partition_epoch| {
            let mut image = Image::default();
            image.apply(TopicRecord { name: name.clone(), topic_id, ..TopicRecord::default() }.into());
            let partition = PartitionRecord {
                topic_id,
                eligible_leader_replicas: Some(elr.to_vec()),
                last_known_elr: Some(last_known.to_vec()),
                partition_epoch,
                ..PartitionRecord::default()
            };
            image.apply(partition.into());
            image
        };
        assert_ne!(with(&[52], &[], 1).facts(), with(&[], &[], 1).facts());
        assert_ne!(with(&[], &[52], 1).facts(), with(&[], &[], 1).facts());
        for (topic_name, is_cleared) in [("", true), ("orders", true), ("returns", false)] {
            let mut image = with(&[52], &[51], 1);
            let record =
                ClearElrRecord { topic_name: Str::from_static(topic_name), ..ClearElrRecord::default() };
            image.apply(record.clone().into());
            let cleared = with(&[], &[], 2).facts();
            assert_eq!(image.facts() == cleared, is_cleared, "{topic_name}");
            // Where there is nothing to clear, nothing changes.
            image.apply(record.into());
            assert_eq!(image.facts() == cleared, is_cleared, "{topic_name}");
        }
    }

    #[test]
    fn a_snapshot_says_what_the_log_comes_to() {
        let mut life = Life::begin();
        let log = [batch(0, false, &[set("a", "1"), set("b", "1")]), batch(2, false, &[set("a", "2")])];
        let (header, footer) = (batch(0, true, &[]), batch(9, true, &[]));
        let mut judge = |id: SnapshotId, parts: &[&Bytes]| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
            store(&mut life, id, Bytes::from(parts.concat()));
            life.settle();
            let committed = [(2, 1, &log[0]), (3, 1, &log[1])].into_iter();
            Replay::default()
                .check(0, id, committed, None, &life.disk)
                .map_err(|violation| violation.sentence)
        };
        let newest = batch(1, false, &[set("b", "1"), set("a", "2")]);
        assert_eq!(judge((3, 1), &[&header, &newest, &footer]), Ok(()));
        assert_eq!(judge((2, 1), &[&header, &log[0], &footer]), Ok(()));
        assert!(judge((2, 1), &[&header, &newest, &footer]).is_err_and(|why| why.contains("it says of a")));
        assert!(judge((3, 1), &[&header, &newest]).is_err_and(|why| why.contains("footer")));
        assert!(judge((1, 1), &[&header, &newest, &footer]).is_err_and(|why| why.contains("ends so")));
        assert!(judge((3, 2), &[&header, &newest, &footer]).is_err_and(|why| why.contains("ends so")));
    }
}
