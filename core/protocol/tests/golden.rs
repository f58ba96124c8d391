//! The bytes of Kafka 4.3's own serializer, for every message and version; see the head of the vectors' file.

mod support;

use bytes::Bytes;
use sordini_protocol::messages::{
    FetchRequest, InitProducerIdRequest, MetadataRequest, RequestHeader, fetch_request, produce_request,
};
use sordini_protocol::records::{
    ConsumerGroupMemberMetadataValue, FeatureLevelRecord, MetadataRecord, NoOpRecord, PartitionChangeRecord,
    RegisterBrokerRecord,
};
use sordini_protocol::wire::{DecodeError, Message, TaggedFields};
use support::generated::{NAMES, Visitor, visit};
use support::{hex, unhex};

const VECTORS: &str = include_str!("vectors/vectors-4.3.tsv");

/// One line of the vectors.
struct Vector<'a> {
    version: i16,
    one_of_each: bool,
    /// None where Kafka's encoder refuses.
    bytes: Option<Bytes>,
    line: &'a str,
}

#[derive(Default)]
struct Counts {
    encoded: usize,
    refused: usize,
    /// Of the encoded: those where decoding gave the very value; elsewhere ignorable fields were dropped.
    same_value: usize,
}

struct Check<'a> {
    vector: Vector<'a>,
    counts: &'a mut Counts,
}

impl Visitor for Check<'_> {
    fn visit<M: Message>(&mut self, one_of_each: M) {
        let Vector { version, line, .. } = self.vector;
        let value = if self.vector.one_of_each { one_of_each } else { M::default() };
        let written = value.to_bytes(version);
        let Some(bytes) = &self.vector.bytes else {
            assert!(written.is_err(), "{line}: written as {:?}", written.map(|bytes| hex(&bytes)));
            self.counts.refused += 1;
            return;
        };
        let written = written.unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(hex(&written), hex(bytes), "{line}");
        assert_eq!(value.encoded_len(version), Ok(bytes.len()), "{line}");
        let read = M::decode_all(version, bytes.clone()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(read.to_bytes(version).as_ref(), Ok(bytes), "{line}: written again");
        assert!(self.vector.one_of_each || read == value, "{line}: read as {read:?}");
        self.counts.encoded += 1;
        self.counts.same_value += usize::from(read == value);
    }
}

#[test]
fn every_vector_of_kafkas_serializer_is_reproduced_read_and_written_again() {
    let mut counts = Counts::default();
    let mut seen = std::collections::BTreeSet::new();
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
        let [name, version, mode, bytes] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not four columns: {line}")
        };
        let vector = Vector {
            version: version.parse().expect("a version"),
            one_of_each: mode == "1",
            bytes: if bytes == "FAIL" { None } else { Some(Bytes::from(unhex(bytes))) },
            line,
        };
        seen.insert(name);
        assert!(visit(name, &mut Check { vector, counts: &mut counts }), "no message {name}");
    }
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(counts.encoded + counts.refused, lines);
    assert_eq!((counts.encoded, counts.refused, counts.same_value, seen.len()), (1321, 76, 1312, 254));
    let mut without: Vec<&str> = NAMES.into_iter().filter(|name| !seen.contains(name)).collect();
    without.sort_unstable();
    assert_eq!(without, WITHOUT_VECTORS);
}

/// Headers, remote log metadata and blobs, in ascending order: the differential tests have most of them.
const WITHOUT_VECTORS: [&str; 18] = [
    "ConsumerProtocolAssignment",
    "ConsumerProtocolSubscription",
    "ControlRecordTypeSchema",
    "DefaultPrincipalData",
    "EndTxnMarker",
    "KRaftVersionRecord",
    "LeaderChangeMessage",
    "ProducerSnapshot",
    "QuorumStateData",
    "RemoteLogSegmentMetadataRecord",
    "RemoteLogSegmentMetadataSnapshotRecord",
    "RemoteLogSegmentMetadataUpdateRecord",
    "RemotePartitionDeleteMetadataRecord",
    "RequestHeader",
    "ResponseHeader",
    "SnapshotFooterRecord",
    "SnapshotHeaderRecord",
    "VotersRecord",
];

fn assert_bytes<M: Message>(message: &M, version: i16, bytes: &str) {
    assert_eq!(message.to_bytes(version).map(|bytes| hex(&bytes)).as_deref(), Ok(bytes));
    assert_eq!(M::decode_all(version, unhex(bytes).into()).as_ref(), Ok(message));
}

#[test]
fn client_id_of_a_flexible_header_keeps_its_two_byte_length() {
    let header = RequestHeader {
        request_api_key: 18,
        request_api_version: 4,
        correlation_id: 7,
        client_id: Some("ab".into()),
        unknown_tagged_fields: TaggedFields::new(),
    };
    assert_bytes(&header, 1, "001200040000000700026162");
    assert_bytes(&header, 2, "00120004000000070002616200");
    let anonymous = RequestHeader { client_id: None, ..header };
    assert_bytes(&anonymous, 2, "0012000400000007ffff00");
}

#[test]
fn metadata_record_is_framed_by_frame_version_type_and_version() {
    let level =
        FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30, ..Default::default() };
    let record = MetadataRecord::from(level);
    let bytes = record.to_bytes(0).expect("a version it has");
    assert_eq!(hex(&bytes), "010c00116d657461646174612e76657273696f6e001e00");
    assert_eq!(MetadataRecord::decode(bytes), Ok(record));
    let empty = MetadataRecord::from(NoOpRecord::default());
    assert_eq!(empty.to_bytes(0).map(|bytes| hex(&bytes)).as_deref(), Ok("01140000"));
    assert_eq!((empty.highest_version(), empty.name(), empty.record_type()), (0, "NoOpRecord", 20));
}

#[test]
fn metadata_record_of_unknown_frame_type_or_version_is_refused() {
    let decode = |bytes: &str| MetadataRecord::decode(unhex(bytes).into());
    assert_eq!(decode("00140000"), Err(DecodeError::UnsupportedFrameVersion(0)));
    assert_eq!(decode("02140000"), Err(DecodeError::UnsupportedFrameVersion(2)));
    assert_eq!(decode("01060000"), Err(DecodeError::UnknownRecordType(6)));
    assert_eq!(
        decode("01140100"),
        Err(DecodeError::UnsupportedVersion { message: "NoOpRecord", version: 1 })
    );
    assert_eq!(decode("0114000000"), Err(DecodeError::TrailingBytes(1)));
    assert_eq!(decode("0114"), Err(DecodeError::Truncated));
}

#[test]
fn null_of_a_tagged_field_whose_default_is_empty_is_written() {
    let member = ConsumerGroupMemberMetadataValue { classic_member_metadata: None, ..Default::default() };
    let bytes = member.to_bytes(0).expect("a version it has");
    assert!(hex(&bytes).ends_with("01000100"), "one tagged field, tag 0, size 1, null: {}", hex(&bytes));
    assert_eq!(ConsumerGroupMemberMetadataValue::decode_all(0, bytes), Ok(member));
    let default = ConsumerGroupMemberMetadataValue::default();
    assert_eq!(default.classic_member_metadata, Some(Default::default()));
}

#[test]
fn defaults_are_those_of_the_schema() {
    assert_eq!(FetchRequest::default().max_bytes, i32::MAX);
    assert_eq!(fetch_request::FetchPartition::default().high_watermark, i64::MAX);
    assert_eq!(PartitionChangeRecord::default().leader, -2);
    assert!(RegisterBrokerRecord::default().fenced);
    assert_eq!(MetadataRequest::default().topics, Some(vec![]));
    assert_eq!(InitProducerIdRequest::default().transactional_id, Some("".into()));
    assert_eq!(produce_request::PartitionProduceData::default().records, None);
}
