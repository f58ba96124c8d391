//! The primitive types, tagged fields and splices.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sordini_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use sordini_protocol::messages::produce_response::{
    LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use sordini_protocol::messages::{
    ApiVersionsResponse, FetchResponse, HeartbeatRequest, HeartbeatResponse, ProduceResponse,
};
use sordini_protocol::wire::{
    DecodeError, EncodeError, Message, Reader, Records, Splice, Spliced, StoredRange, Str, TaggedFields,
    Uuid, Writer,
};
use support::{hex, unhex};

#[test]
fn id_is_shown_and_read_as_22_url_safe_base64_characters() {
    let one = Uuid::from_u64s(0, 1);
    let high = Uuid([0xff; 16]);
    let mixed = Uuid::from_u64s(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
    for (id, text) in [
        (Uuid::ZERO, "AAAAAAAAAAAAAAAAAAAAAA"),
        (one, "AAAAAAAAAAAAAAAAAAAAAQ"),
        (high, "_____________________w"),
        (mixed, "ASNFZ4mrze_-3LqYdlQyEA"),
    ] {
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:?}"), text);
        assert_eq!(text.parse(), Ok(id));
    }
    for text in [
        "",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAB",
        "AAAAAAAAAA+AAAAAAAAAAA",
    ] {
        assert!(text.parse::<Uuid>().is_err(), "{text}");
    }
    assert!(Uuid::ZERO < one && one < mixed && mixed < high);
}

#[test]
fn text_that_is_not_utf_8_has_its_bad_parts_replaced() {
    let text = Str::from_bytes_lossy(Bytes::from_static(b"a\xffb\xc3"));
    assert_eq!(text, "a\u{fffd}b\u{fffd}");
    let request =
        HeartbeatRequest::decode_all(0, Bytes::from_static(b"\0\x02\xff\xfe\0\0\0\x01\0\0")).expect("fields");
    assert_eq!(request.group_id, "\u{fffd}\u{fffd}");
}

#[test]
fn text_is_a_slice_of_its_frame_and_finds_its_key_in_a_map() {
    let frame = Bytes::from(b"\0\x05group\0\0\0\x01\0\0".to_vec());
    let request = HeartbeatRequest::decode_all(0, frame.clone()).expect("fields");
    assert_eq!(request.group_id.bytes().as_ptr(), frame[2..].as_ptr());
    assert_ne!(request.group_id.detached().bytes().as_ptr(), frame[2..].as_ptr());
    let map = BTreeMap::from([(request.group_id.detached(), 1)]);
    assert_eq!(map.get("group"), Some(&1));
}

#[test]
fn variable_length_integer_takes_at_most_32_bits() {
    let read = |bytes: &'static [u8]| {
        let bytes = Bytes::from_static(bytes);
        let mut reader = Reader::new(&bytes, true);
        let value = reader.uvarint();
        reader.finish().map(|read| (value, read))
    };
    assert_eq!(read(b"\x7f"), Ok((127, 1)));
    assert_eq!(read(b"\x80\x01"), Ok((128, 2)));
    assert_eq!(read(b"\xff\xff\xff\xff\x0f"), Ok((u32::MAX, 5)));
    assert_eq!(read(b"\xff\xff\xff\xff\x1f"), Err(DecodeError::BadVarint));
    assert_eq!(read(b"\x80\x80\x80\x80\x80\x01"), Err(DecodeError::BadVarint));
    assert_eq!(read(b"\x80\x80"), Err(DecodeError::Truncated));
}

#[test]
fn null_where_it_is_not_allowed_is_refused_in_both_directions() {
    assert_eq!(
        HeartbeatRequest::decode_all(0, Bytes::from_static(b"\xff\xff")),
        Err(DecodeError::NullNotAllowed)
    );
    let mut buf = Bytes::from_static(b"\xff\xff");
    let _ = HeartbeatRequest::decode(0, &mut buf);
    assert_eq!(buf.len(), 2, "a refused input is as it was");
    let response = FetchResponse { responses: vec![fetched(None)], ..FetchResponse::default() };
    assert!(response.to_bytes(12).is_ok());
    let request = sordini_protocol::messages::MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(
        request.to_bytes(0),
        Err(EncodeError::NullNotAllowed { message: "MetadataRequest", version: 0, field: "Topics" })
    );
    assert!(request.to_bytes(1).is_ok());
}

#[test]
fn field_that_a_version_lacks_is_dropped_if_ignorable_and_refused_if_not() {
    let request = HeartbeatRequest { group_instance_id: Some("i".into()), ..Default::default() };
    assert_eq!(
        request.to_bytes(2),
        Err(EncodeError::FieldNotSupported {
            message: "HeartbeatRequest",
            version: 2,
            field: "GroupInstanceId"
        })
    );
    assert!(request.to_bytes(3).is_ok());
    let response = HeartbeatResponse { throttle_time_ms: 9, error_code: 5, ..Default::default() };
    assert_eq!(response.to_bytes(0).map(|bytes| hex(&bytes)).as_deref(), Ok("0005"));
}

#[test]
fn version_that_does_not_exist_is_refused_in_both_directions() {
    let unsupported = HeartbeatRequest::default().to_bytes(5);
    assert_eq!(unsupported, Err(EncodeError::UnsupportedVersion { message: "HeartbeatRequest", version: 5 }));
    let unsupported = HeartbeatRequest::decode_all(-1, Bytes::new());
    assert_eq!(
        unsupported,
        Err(DecodeError::UnsupportedVersion { message: "HeartbeatRequest", version: -1 })
    );
}

#[test]
fn text_longer_than_its_length_can_say_is_refused() {
    let longest = HeartbeatRequest { group_id: "g".repeat(0x7fff).into(), ..Default::default() };
    let longer = HeartbeatRequest { group_id: "g".repeat(0x8000).into(), ..Default::default() };
    for version in [0, 4] {
        let bytes = longest.to_bytes(version).expect("a length that can be said");
        assert_eq!(HeartbeatRequest::decode_all(version, bytes).as_ref(), Ok(&longest));
        assert_eq!(longer.to_bytes(version), Err(EncodeError::TooLong { message: "HeartbeatRequest" }));
    }
}

#[test]
fn unknown_tagged_fields_are_written_among_the_known_ones_by_their_tags() {
    let mut unknown = TaggedFields::new();
    unknown.insert(9, Bytes::from_static(b"nine"));
    unknown.insert(4, Bytes::new());
    let response = ApiVersionsResponse {
        zk_migration_ready: true,
        finalized_features_epoch: 2,
        unknown_tagged_fields: unknown.clone(),
        ..Default::default()
    };
    let bytes = response.to_bytes(3).expect("a flexible version");
    let tagged = "04 0108 0000000000000002 0301 01 0400 0904 6e696e65".replace(' ', "");
    assert_eq!(hex(&bytes), format!("00000100000000{tagged}"));
    assert_eq!(ApiVersionsResponse::decode_all(3, bytes), Ok(response.clone()));
    assert_eq!(
        response.to_bytes(2),
        Err(EncodeError::FieldNotSupported {
            message: "ApiVersionsResponse",
            version: 2,
            field: "unknown tagged fields"
        })
    );
    unknown.insert(3, Bytes::from_static(b"\x01"));
    let twice = ApiVersionsResponse { unknown_tagged_fields: unknown, ..response };
    assert_eq!(twice.to_bytes(3), Err(EncodeError::InvalidTag { message: "ApiVersionsResponse", tag: 3 }));
}

#[test]
fn tagged_fields_out_of_order_repeated_misplaced_or_of_a_wrong_size_are_refused() {
    let decode = |tagged: &str| {
        ApiVersionsResponse::decode_all(
            3,
            unhex(&format!("00000100000000{}", tagged.replace(' ', ""))).into(),
        )
    };
    assert!(decode("02 0301 01 0500").is_ok());
    assert_eq!(decode("02 0500 0301 01"), Err(DecodeError::InvalidTag(3)));
    assert_eq!(decode("02 0500 0500"), Err(DecodeError::InvalidTag(5)));
    assert_eq!(decode("01 0302 0101"), Err(DecodeError::InvalidTaggedFieldSize(3)));
    assert_eq!(decode("01 0107 00000000000000 02"), Err(DecodeError::Truncated));
    assert_eq!(decode("01 0301"), Err(DecodeError::Truncated));
    assert_eq!(decode("ffffffff0f"), Err(DecodeError::Truncated));
    // CurrentLeader of a partition came with version 10.
    let at_9 = "02 00000000000000000000000000000000".replace(' ', "");
    assert!(ProduceResponse::decode_all(9, unhex(&at_9).into()).is_err());
    let old = "02 01 02 00000000 0000 0000000000000000 0000000000000000 0000000000000000 01 00 01 00 01 00 00 00000000 00";
    let decoded = ProduceResponse::decode_all(9, unhex(&old.replace(' ', "")).into());
    assert_eq!(decoded, Err(DecodeError::InvalidTag(0)));
}

#[test]
fn tagged_field_longer_than_127_bytes_is_sized_by_more_than_one_byte() {
    let partition = PartitionProduceResponse {
        current_leader: LeaderIdAndEpoch {
            leader_id: 1,
            leader_epoch: 2,
            unknown_tagged_fields: {
                let mut unknown = TaggedFields::new();
                (0..200).for_each(|tag| unknown.insert(tag, Bytes::from(vec![7; 300])));
                unknown
            },
        },
        ..Default::default()
    };
    let topic = TopicProduceResponse { partition_responses: vec![partition; 3], ..Default::default() };
    let response = ProduceResponse { responses: vec![topic], ..Default::default() };
    let bytes = response.to_bytes(12).expect("a flexible version");
    assert_eq!(response.encoded_len(12), Ok(bytes.len()));
    assert_eq!(ProduceResponse::decode_all(12, bytes), Ok(response));
}

fn fetched(records: Option<Records>) -> FetchableTopicResponse {
    let mut unknown_tagged_fields = TaggedFields::new();
    unknown_tagged_fields.insert(77, Bytes::from(vec![1; 500]));
    let partition = PartitionData { records, unknown_tagged_fields, ..PartitionData::default() };
    FetchableTopicResponse { partitions: vec![partition], ..FetchableTopicResponse::default() }
}

#[test]
fn stored_ranges_and_long_bytes_are_spliced_in_where_their_bytes_belong() {
    let long = Bytes::from(vec![0xab; 10_000]);
    let short = Bytes::from_static(b"short");
    let range = StoredRange { file: Arc::from("00000000000000000000.log"), position: 512, len: 9_000 };
    let with = |stored: Records| FetchResponse {
        responses: vec![
            fetched(Some(Records::Bytes(long.clone()))),
            fetched(Some(Records::Bytes(short.clone()))),
            fetched(Some(stored)),
            fetched(None),
            fetched(Some(Records::Stored(StoredRange { len: 0, ..range.clone() }))),
        ],
        ..FetchResponse::default()
    };
    let response = with(Records::Stored(range.clone()));
    for version in [12, 15, 18] {
        let mut out = Writer::with_capacity(0);
        response.encode(version, &mut out).map_err(|error| (version, error)).expect("a version it has");
        assert_eq!(Ok(out.len()), response.encoded_len(version));
        let len = out.len();
        let encoded = out.finish();
        assert_eq!(encoded.len(), len);
        let kinds: Vec<&Spliced> = encoded.splices.iter().map(|splice| &splice.what).collect();
        assert_eq!(kinds, [&Spliced::Bytes(long.clone()), &Spliced::Stored(range.clone())]);
        // With the file's bytes in place it is the message that has them in memory.
        let mut whole = Vec::new();
        let mut from = 0;
        for Splice { at, what } in &encoded.splices {
            whole.extend(&encoded.bytes[from..*at]);
            match what {
                Spliced::Bytes(bytes) => whole.extend(bytes),
                Spliced::Stored(range) => whole.resize(whole.len() + range.len as usize, 0xcd),
            }
            from = *at;
        }
        whole.extend(&encoded.bytes[from..]);
        let read = FetchResponse::decode_all(version, whole.into()).expect("a whole message");
        let in_memory = with(Records::Bytes(Bytes::from(vec![0xcd; 9_000])));
        let records = |response: &FetchResponse| -> Vec<usize> {
            let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.records.as_ref().map_or(usize::MAX, Records::len)).collect()
        };
        assert_eq!(records(&read), records(&in_memory));
        assert_eq!(response.to_bytes(version), Err(EncodeError::StoredRange { message: "FetchResponse" }));
    }
}
