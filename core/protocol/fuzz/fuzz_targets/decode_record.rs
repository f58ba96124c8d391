//! Bytes as a metadata record, as remote log metadata, and as the keys and values of the coordinators' logs.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sordini_protocol::Message;
use sordini_protocol::records::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue, ConsumerProtocolAssignment,
    ConsumerProtocolSubscription, GroupMetadataValue, LeaderChangeMessage, MetadataRecord, OffsetCommitKey,
    OffsetCommitValue, ProducerSnapshot, QuorumStateData, RemoteLogMetadata, ShareSnapshotValue,
    StreamsGroupTopologyValue, TransactionLogValue, VotersRecord,
};

/// What is read is written and read again as the same.
fn judge<M: Message>(version: i16, bytes: &Bytes) {
    let Ok(record) = M::decode_all(version, bytes.clone()) else { return };
    let written = record.to_bytes(version).expect("what was read can be written");
    let again = M::decode_all(version, written.clone()).expect("what was written can be read");
    assert_eq!(again.to_bytes(version), Ok(written));
}

fuzz_target!(|data: &[u8]| {
    let value = Bytes::copy_from_slice(data);
    if let Ok(record) = MetadataRecord::decode(value.clone()) {
        let written = (0..=record.highest_version()).find_map(|version| record.to_bytes(version).ok());
        MetadataRecord::decode(written.expect("some version carries it")).expect("what was written can be read");
    }
    let _ = RemoteLogMetadata::decode(value.clone());
    let [version, ..] = data else { return };
    let (version, body) = (i16::from(*version), value.slice(1..));
    judge::<OffsetCommitKey>(version, &body);
    judge::<OffsetCommitValue>(version, &body);
    judge::<GroupMetadataValue>(version, &body);
    judge::<ConsumerGroupMemberMetadataValue>(version, &body);
    judge::<ConsumerGroupCurrentMemberAssignmentValue>(version, &body);
    judge::<StreamsGroupTopologyValue>(version, &body);
    judge::<TransactionLogValue>(version, &body);
    judge::<ShareSnapshotValue>(version, &body);
    judge::<ConsumerProtocolSubscription>(version, &body);
    judge::<ConsumerProtocolAssignment>(version, &body);
    judge::<LeaderChangeMessage>(version, &body);
    judge::<VotersRecord>(version, &body);
    judge::<ProducerSnapshot>(version, &body);
    judge::<QuorumStateData>(version, &body);
});
