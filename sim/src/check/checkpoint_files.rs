//! `checkpoint_files`: what the small files of a node say is true when it is written, and whole whenever it is read (S3).
//! A recovery point never exceeds what is durable, a high watermark what was written, a log start the high watermark;
//! the marker of a clean stop says that all is durable; the epoch of the quorum does not fall and has one vote; the id
//! of a topic stays. After a crash each file holds what it held before, or what was being written, and nothing else.

use super::moved_logs::{is_coming, is_copy, replica_of};
use super::truth::{LogTruth, is_going};
use super::{Violation, leader_epochs, log_dir_of, producer_state};
use crate::disk::{Contents, Disk};
use bytes::Bytes;
use sordini_core::storage_op::{StorageOp, StoragePath};
use sordini_protocol::wire::Uuid;
use std::collections::BTreeMap;
use std::sync::Arc;

const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const META: &str = "meta.properties";
const QUORUM_STATE: &str = "quorum-state";
pub(super) const PARTITION_METADATA: &str = "partition.metadata";

/// What of the small files has to be remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct CheckpointFiles {
    /// Since a crash, until somebody has looked: what each file may hold, the first of it before the crash. Nothing is
    /// said of a file that was about to be removed.
    at_crash: Option<BTreeMap<Arc<str>, Vec<Option<Bytes>>>>,
    /// By file: the newest epoch of the quorum that was written, and the vote in it.
    quorum: BTreeMap<Arc<str>, (i64, i64)>,
}

fn violation(sentence: String) -> Violation {
    Violation { property: "checkpoint_files", sentence }
}

fn is_small(file: &str) -> bool {
    let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
    // Most files are those of segments.
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return producer_state::offset_of(name).is_some();
    }
    matches!(
        name,
        RECOVERY_POINTS
            | LOG_STARTS
            | HIGH_WATERMARKS
            | CLEAN_SHUTDOWN
            | META
            | QUORUM_STATE
            | PARTITION_METADATA
            | leader_epochs::FILE
    )
}

impl CheckpointFiles {
    /// A crash comes; the disk has not yet heard of it.
    pub(super) fn before_crash(&mut self, disk: &Disk) {
        let mut files: BTreeMap<Arc<str>, Vec<Option<Bytes>>> = BTreeMap::new();
        for file in disk.paths().filter(|file| is_small(file)) {
            files.insert(Arc::from(file), vec![disk.contents(file).map(Contents::all)]);
        }
        for op in disk.pending() {
            if let StorageOp::Replace { file, bytes } = op
                && is_small(file.as_str())
            {
                files.entry(file.shared()).or_insert_with(|| vec![None]).push(Some(bytes.clone()));
            }
        }
        files.retain(|file, _| !is_going(disk, file) && !is_coming(disk, file));
        self.at_crash = Some(files);
    }

    /// Files are gone by a fault: nothing is said of those that are not there.
    pub(super) fn excuse_absent(&mut self, disk: &Disk) {
        if let Some(at_crash) = &mut self.at_crash {
            at_crash.retain(|file, _| disk.contents(file).is_some());
        }
    }

    /// After a crash, before anything changes: every file is whole.
    pub(super) fn check_after_crash(&mut self, disk: &Disk) -> Result<(), Violation> {
        let Some(at_crash) = self.at_crash.take() else { return Ok(()) };
        // What was to be written counts for what came of it.
        self.quorum.retain(|file, written| {
            let found = disk.contents(file).and_then(|contents| quorum_state(&contents.all()).ok());
            found.is_some_and(|(epoch, vote, _)| {
                *written = (epoch, vote);
                true
            })
        });
        for (file, candidates) in at_crash {
            let found = disk.contents(&file).map(Contents::all);
            if candidates.contains(&found) {
                continue;
            }
            let lens = |contents: &Option<Bytes>| {
                contents
                    .as_ref()
                    .map_or_else(|| "nothing".to_owned(), |bytes| format!("{} bytes", bytes.len()))
            };
            let expected: Vec<String> = candidates.iter().map(lens).collect();
            return Err(violation(format!(
                "{file} holds {} after a crash; it held, or was to hold, one of these whole: {}",
                lens(&found),
                expected.join(", ")
            )));
        }
        Ok(())
    }

    /// A file is about to be replaced: what it will say must be so at this moment.
    pub(super) fn check(
        &mut self,
        file: &StoragePath,
        bytes: &Bytes,
        logs: &mut BTreeMap<Arc<str>, LogTruth>,
        disk: &Disk,
    ) -> Result<(), Violation> {
        if !is_small(file.as_str()) {
            return Ok(());
        }
        if let RECOVERY_POINTS | LOG_STARTS | HIGH_WATERMARKS = file.name() {
            return check_offsets(file, bytes, logs, disk);
        }
        parse(file.as_str(), bytes)?;
        match file.name() {
            CLEAN_SHUTDOWN => check_clean(file.parent(), logs, disk),
            QUORUM_STATE => self.check_quorum(file, bytes),
            META | PARTITION_METADATA => check_identity(file, bytes, disk),
            _ => Ok(()),
        }
    }

    fn check_quorum(&mut self, file: &StoragePath, bytes: &Bytes) -> Result<(), Violation> {
        let (epoch, vote, leader) = quorum_state(bytes).map_err(|why| violation(format!("{file} {why}")))?;
        // Where an epoch has its leader, nobody votes in it any more, and Kafka forgets the vote that it won by.
        let is_won = vote == -1 && leader != -1;
        let remembered = |(last, voted): &(i64, i64)| is_won && *last == epoch && *voted != -1;
        let before = self.quorum.get(&file.shared()).copied();
        self.quorum.insert(file.shared(), before.filter(remembered).unwrap_or((epoch, vote)));
        match before {
            Some((last, voted)) if last > epoch => Err(violation(format!(
                "{file} gets the epoch {epoch} with a vote for {vote}, and had {last} with one for {voted}"
            ))),
            Some((last, voted)) if last == epoch && voted != -1 && voted != vote && !is_won => {
                let sentence =
                    format!("{file} gets a vote for {vote} in epoch {epoch}, and had one for {voted}");
                Err(Violation { property: "one_vote", sentence })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Looks at every small file of a disk; those that are compared with their log are looked at there.
pub(super) fn check_all(disk: &Disk) -> Result<(), Violation> {
    let is_compared = |file: &str| file.ends_with(leader_epochs::FILE) || file.ends_with(".snapshot");
    disk.paths().filter(|file| is_small(file) && !is_compared(file)).try_for_each(|file| {
        let bytes = disk.contents(file).map(Contents::all).unwrap_or_default();
        parse(file, &bytes)
    })
}

/// A file of a known name can be read.
fn parse(file: &str, bytes: &Bytes) -> Result<(), Violation> {
    let parsed = match file.rsplit('/').next().unwrap_or(file) {
        RECOVERY_POINTS | LOG_STARTS | HIGH_WATERMARKS => offsets(bytes).map(drop),
        leader_epochs::FILE => leader_epochs::parse(bytes).map(drop),
        QUORUM_STATE => quorum_state(bytes).map(drop),
        CLEAN_SHUTDOWN => json(bytes).map(drop),
        META => ["version", "cluster.id", "node.id", "directory.id"]
            .into_iter()
            .try_for_each(|key| value(bytes, key, '=').map(drop)),
        PARTITION_METADATA => {
            ["version", "topic_id"].into_iter().try_for_each(|key| value(bytes, key, ':').map(drop))
        }
        _ => producer_state::decode(bytes).map(drop),
    };
    parsed.map_err(|why| violation(format!("{file} {why}")))
}

fn text(bytes: &Bytes) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|error| format!("is no text: {error}"))
}

/// Topic and partition, as a directory is named, with its offset.
pub(super) fn offsets(bytes: &Bytes) -> Result<Vec<(String, i64)>, String> {
    let text = text(bytes)?;
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return Err("does not begin with its version 0".to_owned());
    }
    let count = lines.next().and_then(|line| line.parse::<usize>().ok());
    let entry = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [topic, partition, offset] = *words else { return None };
        Some((format!("{topic}-{}", partition.parse::<i32>().ok()?), offset.parse().ok()?))
    };
    let entry =
        |line| entry(line).ok_or_else(|| format!("has the line {line:?}, which is no partition and offset"));
    let entries = lines.map(entry).collect::<Result<Vec<_>, String>>()?;
    if count != Some(entries.len()) || !text.ends_with('\n') {
        return Err(format!("announces {count:?} entries and has {}, or a torn line", entries.len()));
    }
    Ok(entries)
}

fn json(bytes: &Bytes) -> Result<serde_json::Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("is no JSON: {error}"))
}

/// Epoch, vote and leader.
fn quorum_state(bytes: &Bytes) -> Result<(i64, i64, i64), String> {
    let state = json(bytes)?;
    let number =
        |key: &str| state.get(key).and_then(serde_json::Value::as_i64).ok_or_else(|| format!("has no {key}"));
    Ok((number("leaderEpoch")?, number("votedId")?, number("leaderId")?))
}

/// The topic that a `partition.metadata` names.
pub(super) fn topic_id(bytes: &Bytes) -> Option<Uuid> {
    value(bytes, "topic_id", ':').ok()?.parse().ok()
}

/// The value of a line `key<separator>value`.
fn value<'a>(bytes: &'a Bytes, key: &str, separator: char) -> Result<&'a str, String> {
    let lines = || text(bytes).map(|text| text.lines().filter_map(|line| line.split_once(separator)));
    let value = lines()?.find(|(name, _)| *name == key).map(|(_, value)| value.trim());
    value.filter(|value| !value.is_empty()).ok_or_else(|| format!("has no {key}"))
}

fn check_offsets(
    file: &StoragePath,
    bytes: &Bytes,
    logs: &mut BTreeMap<Arc<str>, LogTruth>,
    disk: &Disk,
) -> Result<(), Violation> {
    for (partition, offset) in offsets(bytes).map_err(|why| violation(format!("{file} {why}")))? {
        // What it says of a copy counts when that gets the replica's name.
        let is_here = |dir: &str| log_dir_of(dir) == file.parent() && replica_of(dir) == partition;
        let dir = format!("{}/{partition}", file.parent());
        let found = if logs.contains_key(&*dir) { Some(&*dir) } else { None };
        let log = match found {
            Some(dir) => logs.get_mut(dir),
            None => logs.iter_mut().find(|(dir, _)| is_here(dir)).map(|(_, log)| log),
        };
        let (limit, what) = match log {
            // While a log is being recovered nobody knows where it ends.
            Some(log) if log.is_unverified() => continue,
            Some(log) => match file.name() {
                RECOVERY_POINTS => (log.durable_end(disk), "is durable up to"),
                HIGH_WATERMARKS => (log.applied_end(disk), "is written up to"),
                _ => (log.high_watermark_bound(disk), "has the high watermark"),
            },
            None => (0, "has nothing in it and ends at"),
        };
        if offset > limit {
            return Err(violation(format!("{file} is to say {offset} of {dir}, which {what} {limit}")));
        }
    }
    Ok(())
}

/// The marker of a clean stop: after it nobody looks whether files are whole.
fn check_clean(dir: &str, logs: &mut BTreeMap<Arc<str>, LogTruth>, disk: &Disk) -> Result<(), Violation> {
    // No clean stop vouches for a copy.
    let logs = logs.iter_mut().filter(|(name, _)| log_dir_of(name) == dir && !is_copy(name));
    for (name, log) in logs {
        let (durable_end, end) = (log.durable_end(disk), log.end());
        if durable_end < end {
            return Err(violation(format!(
                "the marker of a clean stop is to be written when {name}, which ends at offset {end}, is durable up to \
                 {durable_end}"
            )));
        }
        let is_index = |file: &&str| file.ends_with(".index") || file.ends_with(".timeindex");
        let is_volatile =
            |file: &&str| disk.contents(file).is_some_and(|all| all.len() > disk.durable_len(file));
        if let Some(index) = disk.paths_beneath(name).filter(is_index).find(is_volatile) {
            return Err(violation(format!(
                "the marker of a clean stop is to be written when {index} is durable up to position {}",
                disk.durable_len(index)
            )));
        }
    }
    Ok(())
}

/// What names a directory's owner does not change.
fn check_identity(file: &StoragePath, bytes: &Bytes, disk: &Disk) -> Result<(), Violation> {
    let Some(before) = disk.contents(file.as_str()).filter(|_| !is_going(disk, file.as_str())) else {
        return Ok(());
    };
    let (keys, separator): (&[&str], char) = if file.name() == META {
        (&["cluster.id", "node.id", "directory.id"], '=')
    } else {
        (&["topic_id"], ':')
    };
    let before = before.all();
    for key in keys {
        let (old, new) = (value(&before, key, separator), value(bytes, key, separator));
        if old != new {
            return Err(violation(format!("{file} has the {key} {old:?} and is to get {new:?}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::check::example::{DIR, Life, assert_violates, at, batch, file, segment};
    use bytes::Bytes;
    use sordini_core::storage_op::{StorageOp, StoragePath};

    const PROPERTY: &str = "checkpoint_files";

    /// A log in which offset 0 is durable, offset 1 written, and offset 2 on its way.
    fn life() -> Life {
        let mut life = Life::begin();
        life.write(&segment(0), batch(at(0), 10, "a")).expect("a log goes on");
        life.append(&segment(0), batch(at(1), 10, "b")).expect("a log goes on");
        life.settle();
        life.append(&segment(0), batch(at(2), 10, "c")).expect("a log goes on");
        life
    }

    fn offset(life: &mut Life, name: &str, offset: i64) -> Result<(), crate::check::Violation> {
        let file = StoragePath::new(&format!("0/{name}"));
        let bytes = Bytes::from(format!("0\n1\norders 0 {offset}\n"));
        life.push(StorageOp::Replace { file, bytes })
    }

    #[test]
    fn a_recovery_point_is_durable() {
        let mut life = life();
        offset(&mut life, "recovery-point-offset-checkpoint", 1).expect("so it is");
        let wrong = offset(&mut life, "recovery-point-offset-checkpoint", 2);
        assert_violates(wrong, PROPERTY, "is to say 2 of 0/orders-0, which is durable up to 1");
    }

    #[test]
    fn a_high_watermark_is_written() {
        let mut life = life();
        offset(&mut life, "replication-offset-checkpoint", 2).expect("so it is");
        let wrong = offset(&mut life, "replication-offset-checkpoint", 3);
        assert_violates(wrong, PROPERTY, "is to say 3 of 0/orders-0, which is written up to 2");
    }

    #[test]
    fn a_log_start_is_not_above_the_high_watermark() {
        let mut life = life();
        offset(&mut life, "log-start-offset-checkpoint", 2).expect("so it is");
        let wrong = offset(&mut life, "log-start-offset-checkpoint", 3);
        assert_violates(wrong, PROPERTY, "is to say 3 of 0/orders-0, which has the high watermark 2");
    }

    #[test]
    fn a_log_that_was_never_written_has_no_offsets() {
        let mut life = Life::begin();
        offset(&mut life, "replication-offset-checkpoint", 0).expect("so it is");
        let wrong = offset(&mut life, "replication-offset-checkpoint", 1);
        assert_violates(wrong, PROPERTY, "has nothing in it");
    }

    #[test]
    fn the_marker_of_a_clean_stop_comes_when_all_is_durable() {
        let mut life = life();
        let marker = StoragePath::new("0/.kafka_cleanshutdown");
        let text = r#"{"version":0,"brokerEpoch":3}"#;
        assert_violates(life.replace(&marker, text), PROPERTY, "is durable up to 1");
        life.settle();
        life.push(StorageOp::Sync { file: segment(0) }).expect("a sync says nothing");
        life.settle();
        life.replace(&marker, text).expect("all is durable");
        life.append(&file("00000000000000000000.index"), Bytes::from_static(&[1; 8]))
            .expect("an index may grow");
        life.settle();
        assert_violates(life.replace(&marker, text), PROPERTY, "index is durable up to position 0");
    }

    #[test]
    fn the_epoch_of_the_quorum_does_not_fall_and_has_one_vote() {
        let mut life = Life::begin();
        let state = StoragePath::new("0/__cluster_metadata-0/quorum-state");
        let mut write = |epoch: i64, vote: i64| {
            life.replace(&state, format!(r#"{{"leaderId":1,"leaderEpoch":{epoch},"votedId":{vote}}}"#))
        };
        write(3, -1).expect("an epoch begins without a vote");
        write(3, 1).expect("then there is one");
        write(3, 1).expect("which stays");
        assert_violates(write(3, 2), "one_vote", "gets a vote for 2 in epoch 3, and had one for 1");
        write(4, 2).expect("every epoch has its own");
        assert_violates(write(3, 2), PROPERTY, "gets the epoch 3 with a vote for 2, and had 4");
    }

    #[test]
    fn the_id_of_a_topic_stays() {
        let mut life = Life::begin();
        let metadata = file("partition.metadata");
        life.replace(&metadata, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n").expect("it is new");
        life.replace(&metadata, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n").expect("it is the same");
        let other = life.replace(&metadata, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAg\n");
        assert_violates(other, PROPERTY, "partition.metadata has the topic_id");
    }

    #[test]
    fn a_file_that_is_not_replaced_at_once_is_found_torn() {
        let checkpoint = StoragePath::new("0/replication-offset-checkpoint");
        let words = "0/replication-offset-checkpoint holds ";
        // What a loss of power makes of it is the field's business: the file may also be whole.
        let mut torn = 0;
        for number in 0..10 {
            let mut life = life();
            life.append(&checkpoint, Bytes::from(format!("0\n1\norders 0 {}\n", number % 2)))
                .expect("no log");
            for _ in 0..number {
                life.settle();
                let read = StorageOp::Read { file: segment(0), position: 0, len: 1 };
                life.push(read).expect("time passes");
            }
            life.settle();
            if let Err(violation) = life.lose_power() {
                assert_eq!(violation.property, PROPERTY, "{violation}");
                assert!(violation.sentence.contains(words), "{violation}");
                torn += 1;
            }
        }
        assert!(torn > 0, "a file that was not synced is never found torn");
    }

    #[test]
    fn after_a_crash_a_file_holds_the_old_or_the_new() {
        let mut life = life();
        offset(&mut life, "replication-offset-checkpoint", 1).expect("so it is");
        life.settle();
        offset(&mut life, "replication-offset-checkpoint", 2).expect("so it is");
        life.lose_power().expect("one or the other");
    }

    #[test]
    fn what_lies_on_a_quiet_disk_is_whole() {
        let mut life = life();
        life.replace(&file("leader-epoch-checkpoint"), "0\n1\n1 0\n").expect("one epoch");
        life.append(&StoragePath::new("0/meta.properties"), Bytes::from_static(b"#\nversion=1\n"))
            .expect("no log");
        life.settle();
        let index = ["index", "timeindex"].map(|kind| file(&format!("{:020}.{kind}", 0)));
        assert!(index.iter().all(|file| life.disk.contents(file.as_str()).is_none()), "{DIR} has no index");
        assert_violates(life.checks.on_quiet_disk(&life.disk), PROPERTY, "meta.properties has no cluster.id");
    }
}
