//! What stands in `__consumer_offsets`: a key that names what a record is about, and what is so of it from there on, or nothing.

use super::offsets::CommittedOffset;
use bytes::{Buf, Bytes};
use sordini_protocol::records::group_metadata_value::MemberMetadata;
use sordini_protocol::records::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, OffsetCommitKey, OffsetCommitValue,
};
use sordini_protocol::wire::{DecodeError, EncodeError, Message, PersistedRecord, Str, Writer};

/// The versions in which Kafka 4.3 writes values. Offsets that expire at a time of their own have a version of their own.
const GROUP_METADATA_VERSION: i16 = 3;
const OFFSET_COMMIT_VERSION: i16 = 4;
const OFFSET_COMMIT_WITH_EXPIRY_VERSION: i16 = 1;

/// A record as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyValue {
    pub(crate) key: Bytes,
    /// Nothing is so of it any more.
    pub(crate) value: Option<Bytes>,
}

/// A record as it is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupRecord {
    /// What a group has committed of a partition.
    Offset { group: Str, topic: Str, partition: i32, value: Option<CommittedOffset> },
    /// A group of the classic protocol.
    Group { group: Str, value: Option<GroupMetadataValue> },
}

impl GroupRecord {
    /// Writes the record. A text may be too long for it that fitted into its request.
    pub(crate) fn encode(&self) -> Result<KeyValue, EncodeError> {
        Ok(match self {
            Self::Offset { group, topic, partition, value } => {
                let key =
                    OffsetCommitKey { group: group.clone(), topic: topic.clone(), partition: *partition };
                let value = value.as_ref().map(|committed| {
                    let value = OffsetCommitValue {
                        offset: committed.offset,
                        leader_epoch: committed.leader_epoch,
                        metadata: committed.metadata.clone(),
                        commit_timestamp: committed.commit_timestamp,
                        expire_timestamp: committed.expire_timestamp.unwrap_or(-1),
                        topic_id: committed.topic_id,
                        ..OffsetCommitValue::default()
                    };
                    let version = match committed.expire_timestamp {
                        Some(_) => OFFSET_COMMIT_WITH_EXPIRY_VERSION,
                        None => OFFSET_COMMIT_VERSION,
                    };
                    framed(version, &value, version)
                });
                KeyValue { key: framed(OffsetCommitKey::RECORD_TYPE, &key, 0)?, value: value.transpose()? }
            }
            Self::Group { group, value } => {
                let key = GroupMetadataKey { group: group.clone() };
                let framed_value = |value| framed(GROUP_METADATA_VERSION, value, GROUP_METADATA_VERSION);
                let value = value.as_ref().map(framed_value).transpose()?;
                KeyValue { key: framed(GroupMetadataKey::RECORD_TYPE, &key, 0)?, value }
            }
        })
    }

    /// The record in an allocation of its own.
    pub(crate) fn detached(self) -> Self {
        match self {
            Self::Offset { group, topic, partition, value } => Self::Offset {
                group: group.detached(),
                topic: topic.detached(),
                partition,
                value: value.map(|value| CommittedOffset { metadata: value.metadata.detached(), ..value }),
            },
            Self::Group { group, value } => {
                let own = |text: Str| text.detached();
                let own_bytes = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
                let value = value.map(|value| GroupMetadataValue {
                    protocol_type: value.protocol_type.detached(),
                    protocol: value.protocol.map(own),
                    leader: value.leader.map(own),
                    members: value
                        .members
                        .into_iter()
                        .map(|member| MemberMetadata {
                            member_id: member.member_id.detached(),
                            group_instance_id: member.group_instance_id.map(own),
                            client_id: member.client_id.detached(),
                            client_host: member.client_host.detached(),
                            subscription: own_bytes(&member.subscription),
                            assignment: own_bytes(&member.assignment),
                            ..member
                        })
                        .collect(),
                    ..value
                });
                Self::Group { group: group.detached(), value }
            }
        }
    }

    /// Reads a record. None for one of a type that is nothing to the coordinator.
    pub(crate) fn decode(mut key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, DecodeError> {
        let record_type = take_i16(&mut key)?;
        if matches!(record_type, LegacyOffsetCommitKey::RECORD_TYPE | OffsetCommitKey::RECORD_TYPE) {
            let OffsetCommitKey { group, topic, partition, .. } = OffsetCommitKey::decode_all(0, key)?;
            let value = versioned::<OffsetCommitValue>(value)?.map(|(version, value)| CommittedOffset {
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: value.metadata,
                commit_timestamp: value.commit_timestamp,
                expire_timestamp: (version == 1 && value.expire_timestamp >= 0)
                    .then_some(value.expire_timestamp),
                topic_id: value.topic_id,
            });
            return Ok(Some(Self::Offset { group, topic, partition, value }));
        }
        if record_type == GroupMetadataKey::RECORD_TYPE {
            let GroupMetadataKey { group, .. } = GroupMetadataKey::decode_all(0, key)?;
            let value = versioned::<GroupMetadataValue>(value)?.map(|(version, mut value)| {
                for MemberMetadata { rebalance_timeout, session_timeout, .. } in &mut value.members {
                    // Version 0 knew of one of them.
                    if version == 0 || *rebalance_timeout < 0 {
                        *rebalance_timeout = *session_timeout;
                    }
                }
                value
            });
            return Ok(Some(Self::Group { group, value }));
        }
        Ok(None)
    }
}

fn framed<M: Message>(prefix: i16, message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut out = Writer::contiguous(size_of::<i16>() + message.encoded_len(version)?);
    out.i16(prefix);
    message.encode(version, &mut out)?;
    Ok(out.finish().bytes)
}

fn take_i16(bytes: &mut Bytes) -> Result<i16, DecodeError> {
    if bytes.len() < size_of::<i16>() {
        return Err(DecodeError::Truncated);
    }
    Ok(bytes.get_i16())
}

fn versioned<M: Message>(value: Option<Bytes>) -> Result<Option<(i16, M)>, DecodeError> {
    let Some(mut value) = value else { return Ok(None) };
    let version = take_i16(&mut value)?;
    Ok(Some((version, M::decode_all(version, value)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::wire::Uuid;

    fn committed(expire_timestamp: Option<i64>, topic_id: Uuid) -> GroupRecord {
        let value = CommittedOffset {
            offset: 258,
            leader_epoch: 3,
            metadata: Str::from_static("m"),
            commit_timestamp: 7,
            expire_timestamp,
            topic_id,
        };
        let (group, topic) = (Str::from_static("g"), Str::from_static("t"));
        GroupRecord::Offset { group, topic, partition: 5, value: Some(value) }
    }

    #[test]
    fn a_committed_offset_stands_in_the_log_as_kafka_writes_it() {
        let KeyValue { key, value } = committed(None, Uuid::ZERO).encode().expect("it is short");
        assert_eq!(&key[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 5]);
        let mut expected = alloc::vec![0, 4];
        expected.extend([0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 2, b'm', 0, 0, 0, 0, 0, 0, 0, 7, 0]);
        assert_eq!(value.as_deref(), Some(&expected[..]));
        // One that expires at a time of its own is of the version that has a place for it, and knows of no epochs.
        let KeyValue { value, .. } = committed(Some(9), Uuid::ZERO).encode().expect("it is short");
        let mut expected = alloc::vec![0, 1];
        expected.extend([0, 0, 0, 0, 0, 0, 1, 2, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(value.as_deref(), Some(&expected[..]));
    }

    #[test]
    fn what_is_written_is_read() {
        let members = alloc::vec![MemberMetadata {
            member_id: Str::from_static("ada-1"),
            group_instance_id: Some(Str::from_static("till")),
            rebalance_timeout: 20,
            session_timeout: 10,
            subscription: Bytes::from_static(b"s"),
            assignment: Bytes::from_static(b"a"),
            ..MemberMetadata::default()
        }];
        let value = GroupMetadataValue {
            protocol_type: Str::from_static("consumer"),
            generation: 4,
            protocol: Some(Str::from_static("range")),
            leader: Some(Str::from_static("ada-1")),
            current_state_timestamp: 11,
            members,
            ..GroupMetadataValue::default()
        };
        let group = Str::from_static("g");
        let gone = GroupRecord::Offset {
            group: group.clone(),
            topic: Str::from_static("t"),
            partition: 0,
            value: None,
        };
        let records = [
            committed(None, Uuid([7; 16])),
            gone,
            GroupRecord::Group { group: group.clone(), value: Some(value) },
            GroupRecord::Group { group, value: None },
        ];
        for record in records {
            let KeyValue { key, value } = record.encode().expect("it is short");
            assert_eq!(GroupRecord::decode(key, value), Ok(Some(record)));
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let group = Str::from("x".repeat(32_768));
        assert!(GroupRecord::Group { group, value: None }.encode().is_err());
    }

    #[test]
    fn a_record_of_another_type_is_passed_over_and_a_broken_one_is_told() {
        let other = Bytes::from_static(&[0, 99, 1, 2, 3]);
        assert_eq!(GroupRecord::decode(other, None), Ok(None));
        for key in [&[][..], &[0], &[0, 1, 0, 9, b'g'], &[0, 2, 0, 1, b'g', 0]] {
            assert!(GroupRecord::decode(Bytes::copy_from_slice(key), None).is_err(), "{key:?}");
        }
        let KeyValue { key, .. } = committed(None, Uuid::ZERO).encode().expect("it is short");
        for value in [&[][..], &[0], &[0, 9, 1], &[0, 4, 1]] {
            let value = Some(Bytes::copy_from_slice(value));
            assert!(GroupRecord::decode(key.clone(), value.clone()).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_member_that_said_nothing_of_rebalances_has_its_session_for_them() {
        let member =
            MemberMetadata { session_timeout: 10, rebalance_timeout: 30, ..MemberMetadata::default() };
        let value = GroupMetadataValue { members: alloc::vec![member], ..GroupMetadataValue::default() };
        for (version, expected) in [(0, 10), (3, 30)] {
            let key = framed(GroupMetadataKey::RECORD_TYPE, &GroupMetadataKey::default(), 0);
            let value = framed(version, &value, version).expect("it is short");
            let record = GroupRecord::decode(key.expect("it is short"), Some(value));
            let Ok(Some(GroupRecord::Group { value: Some(read), .. })) = record else {
                panic!("it is a group");
            };
            assert_eq!(read.members[0].rebalance_timeout, expected, "version {version}");
        }
    }
}
