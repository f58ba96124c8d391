//! Committed offsets: how far a group says that it has come in each partition.

use super::classic::{ClassicGroup, State};
use super::records::GroupRecord;
use crate::config::BrokerConfig;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use sordini_protocol::wire::{Str, Uuid};

/// What was committed of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    /// Of the record before it, -1 where nobody said.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Str,
    /// By the wall clock, in milliseconds since the Unix epoch.
    pub(crate) commit_timestamp: i64,
    /// When it is forgotten, where that was asked for with it (until version 4 of OffsetCommit).
    pub(crate) expire_timestamp: Option<i64>,
    /// Of the topic that had the name when it was committed, if that is known.
    pub(crate) topic_id: Uuid,
}

/// By topic and partition.
pub(crate) type OfGroup = BTreeMap<(Str, i32), CommittedOffset>;

/// What all groups have committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets {
    by_group: BTreeMap<Str, OfGroup>,
}

impl Offsets {
    pub(super) fn of(&self, group: &str) -> Option<&OfGroup> {
        self.by_group.get(group)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&Str, &OfGroup)> {
        self.by_group.iter()
    }

    /// Applies a record: the only way in which this changes.
    pub(super) fn apply(&mut self, group: Str, topic: Str, partition: i32, value: Option<CommittedOffset>) {
        match value {
            Some(value) => {
                self.by_group.entry(group).or_default().insert((topic, partition), value);
            }
            None => {
                if let Some(of_group) = self.by_group.get_mut(&group) {
                    of_group.remove(&(topic, partition));
                    if of_group.is_empty() {
                        self.by_group.remove(&group);
                    }
                }
            }
        }
    }
}

/// What a commit of one partition comes to.
pub(super) fn committed(
    group: &Str,
    topic: &Str,
    topic_id: Uuid,
    asked: &OffsetCommitRequestPartition,
    retention_time_ms: i64,
    config: &BrokerConfig,
    wall_ms: i64,
) -> Result<GroupRecord, ErrorCode> {
    let metadata = asked.committed_metadata.as_ref().map(Str::detached).unwrap_or_default();
    if metadata.len() > config.offset_metadata_max_bytes as usize {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    let expires = retention_time_ms != -1;
    let value = CommittedOffset {
        offset: asked.committed_offset,
        // The version of the record that has a place for the time has none for these.
        leader_epoch: if expires { -1 } else { asked.committed_leader_epoch },
        topic_id: if expires { Uuid::ZERO } else { topic_id },
        metadata,
        commit_timestamp: wall_ms,
        expire_timestamp: expires.then(|| wall_ms.saturating_add(retention_time_ms)),
    };
    Ok(GroupRecord::Offset {
        group: group.detached(),
        topic: topic.detached(),
        partition: asked.partition_index,
        value: Some(value),
    })
}

/// What says that nothing is committed of partitions any more.
pub(super) fn tombstones<'a>(
    group: &Str,
    places: impl Iterator<Item = &'a (Str, i32)>,
) -> impl Iterator<Item = GroupRecord> {
    let group = group.clone();
    places.map(move |(topic, partition)| GroupRecord::Offset {
        group: group.clone(),
        topic: topic.clone(),
        partition: *partition,
        value: None,
    })
}

/// The partitions whose offsets have expired (`offsets.retention.minutes`; KIP-211, KIP-496). A group whose members are there
/// keeps what it reads; one that is empty, from when it became that; offsets that were committed without a group, from when they
/// were committed.
pub(super) fn expired<'a>(
    offsets: &'a OfGroup,
    group: Option<&ClassicGroup>,
    retention_ms: i64,
    wall_ms: i64,
) -> Vec<&'a (Str, i32)> {
    let since = |committed: &CommittedOffset, topic: &Str| match group {
        Some(group) if group.state != State::Empty => {
            let subscribed =
                group.subscribed().filter(|_| group.is_of_consumers() && group.state == State::Stable)?;
            (!subscribed.contains(topic)).then_some(committed.commit_timestamp)
        }
        Some(ClassicGroup { protocol_type: Some(_), since_ms: Some(since_ms), .. }) => Some(*since_ms),
        Some(_) | None => Some(committed.commit_timestamp),
    };
    let is_expired = |((topic, _), committed): &(&(Str, i32), &CommittedOffset)| {
        let Some(since) = since(committed, topic) else { return false };
        match committed.expire_timestamp {
            Some(at) => wall_ms >= at,
            None => wall_ms.saturating_sub(since) >= retention_ms,
        }
    };
    offsets.iter().filter(is_expired).map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::records::GroupMetadataValue;
    use sordini_protocol::records::group_metadata_value::MemberMetadata;

    const RETENTION_MS: i64 = 100;

    /// A group that has been empty since a time, or has a member that reads `orders`.
    fn group(protocol_type: &'static str, since_ms: i64, is_there: bool) -> ClassicGroup {
        let subscription = [0, 0, 0, 0, 0, 1, 0, 6, b'o', b'r', b'd', b'e', b'r', b's', 255, 255, 255, 255];
        let member = MemberMetadata {
            member_id: Str::from_static("ada"),
            subscription: bytes::Bytes::copy_from_slice(&subscription),
            ..MemberMetadata::default()
        };
        let value = GroupMetadataValue {
            protocol_type: Str::from_static(protocol_type),
            protocol: Some(Str::from_static("range")),
            current_state_timestamp: since_ms,
            members: if is_there { alloc::vec![member] } else { Vec::new() },
            ..GroupMetadataValue::default()
        };
        ClassicGroup::of_record(Str::from_static("billing"), value)
    }

    #[test]
    fn offsets_expire_when_nobody_needs_them() {
        let empty = group("consumer", 1_050, false);
        let reading = group("consumer", 1_050, true);
        let connect = group("connect", 1_050, true);
        let unknown_since = group("consumer", -1, false);
        // What was committed at 1000, of `orders` or of another topic, is forgotten from this time on, or never.
        let table = [
            (None, "orders", None, Some(1_100)),
            (Some(&empty), "orders", None, Some(1_150)),
            (Some(&unknown_since), "orders", None, Some(1_100)),
            (Some(&reading), "orders", None, None),
            (Some(&reading), "others", None, Some(1_100)),
            (Some(&connect), "others", None, None),
            (None, "orders", Some(1_007), Some(1_007)),
            (Some(&empty), "orders", Some(1_007), Some(1_007)),
            (Some(&reading), "orders", Some(1_007), None),
        ];
        for (index, (group, topic, expire_timestamp, at)) in table.into_iter().enumerate() {
            let committed = CommittedOffset {
                offset: 1,
                leader_epoch: -1,
                metadata: Str::new(),
                commit_timestamp: 1_000,
                expire_timestamp,
                topic_id: Uuid::ZERO,
            };
            let offsets = OfGroup::from([((Str::from_static(topic), 0), committed)]);
            let is_expired = |wall_ms| !expired(&offsets, group, RETENTION_MS, wall_ms).is_empty();
            match at {
                Some(at) => assert_eq!((is_expired(at - 1), is_expired(at)), (false, true), "row {index}"),
                None => assert!(!is_expired(i64::MAX), "row {index}"),
            }
        }
    }
}
