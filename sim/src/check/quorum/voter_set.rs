//! Who votes, as records say, for an observer that reads them by itself.

use super::voter_log::VoterLog;
use crate::check::metadata_snapshots;
use crate::disk::{Contents, Disk};
use bytes::Bytes;
use sordini_protocol::batch::Batch;
use sordini_protocol::control::{self, ControlType};
use sordini_protocol::records::VotersRecord;
use sordini_protocol::wire::{Message as _, Uuid};
use std::collections::BTreeMap;

/// How far a batch may grow when it is decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 26;

/// A voter: the number of its node, and the directory of the disk that it has as a voter, zero if any will do.
pub(crate) type VoterKey = (i32, Uuid);

/// The voters of a quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet(BTreeMap<i32, Uuid>);

impl VoterSet {
    /// Those of a configuration, which names their numbers alone.
    pub(super) fn configured(ids: impl IntoIterator<Item = i32>) -> Self {
        Self(ids.into_iter().map(|id| (id, Uuid::ZERO)).collect())
    }

    pub(super) fn new(keys: impl IntoIterator<Item = VoterKey>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Those that the control records of a file or of some batches name last.
    pub(crate) fn in_batches(bytes: &Bytes) -> Option<Self> {
        let (mut rest, mut voters) = (bytes.clone(), None);
        while let Ok(Some(batch)) = Batch::first_of(&mut rest) {
            if !batch.header().is_control() {
                continue;
            }
            for record in batch.records(DECOMPRESSED_BYTES_MAX).into_iter().flatten().flatten() {
                if let Ok(Some((ControlType::KraftVoters, mut value))) = control::parse(&record)
                    && let Ok(record) = VotersRecord::decode(0, &mut value)
                {
                    let keys = record.voters.iter().map(|it| (it.voter_id, it.voter_directory_id));
                    voters = Some(Self::new(keys));
                }
            }
        }
        voters
    }

    /// The voters, by their numbers.
    pub(crate) fn keys(&self) -> impl Iterator<Item = VoterKey> {
        self.0.iter().map(|(id, directory)| (*id, *directory))
    }

    /// Whether there is none: who was formatted without voters has not heard of any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a node with the disk that it has is one of them.
    pub(crate) fn has(&self, (id, directory): VoterKey) -> bool {
        self.0.get(&id).is_some_and(|own| own.is_zero() || *own == directory)
    }

    /// Whether so many of them are more than half.
    pub(super) fn is_majority(&self, count: usize) -> bool {
        2 * count > self.len()
    }

    /// Whether the others are the same, each with its disk where that was known.
    pub(super) fn is_same(&self, others: &Self) -> bool {
        self.len() == others.len() && others.keys().all(|key| self.has(key))
    }

    /// How many of these are none of the others.
    pub(super) fn beside(&self, other: &Self) -> usize {
        self.keys().filter(|key| !other.keys().any(|known| known == *key)).count()
    }
}

impl std::fmt::Display for VoterSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |(id, directory): VoterKey| {
            if directory.is_zero() { id.to_string() } else { format!("{id}@{directory}") }
        };
        let names: Vec<String> = self.keys().map(name).collect();
        write!(f, "{}", names.join(", "))
    }
}

/// The directory id of a disk, zero of one that nobody formatted.
pub(crate) fn directory_of(disk: &Disk) -> Uuid {
    let bytes = disk.contents("0/meta.properties").map(Contents::all).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("directory.id="));
    line.and_then(|id| id.trim().parse().ok()).unwrap_or(Uuid::ZERO)
}

/// Who votes by the newest snapshot of a disk: formatting writes one of those that vote at first.
pub(super) fn in_snapshots(disk: &Disk) -> Option<VoterSet> {
    let newest = metadata_snapshots::newest(disk)?;
    VoterSet::in_batches(&disk.contents(&metadata_snapshots::file_of(newest)).map(Contents::all)?)
}

/// What a disk says of who votes: where its log ends, by epoch and offset, and the voters of now and those before them, which
/// are again the voters if the log is cut; the last are those of now.
pub(crate) fn voters_on(disk: &Disk) -> ((i32, i64), Vec<VoterSet>) {
    let log = VoterLog::to_be_on(disk, |_| 0);
    let named = log.from(0).iter().filter_map(|batch| batch.voters.as_deref().cloned());
    let mut sets: Vec<VoterSet> = in_snapshots(disk).into_iter().chain(named).collect();
    let last = log.from(0).last().map(|batch| batch.epoch);
    let epoch = last.or_else(|| metadata_snapshots::newest(disk).map(|(_, epoch)| epoch)).unwrap_or(0);
    sets.drain(..sets.len().saturating_sub(2));
    ((epoch, log.end()), sets)
}
