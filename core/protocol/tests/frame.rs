//! Headers and bodies in frames.

mod support;

use bytes::Bytes;
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::frame::{
    RequestError, decode_request, decode_response, encode_request, encode_response,
};
use sordini_protocol::messages::{ApiVersionsResponse, MetadataRequest, OffsetDeleteResponse, RequestHeader};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{DecodeError, Message};
use support::{hex, unhex};

fn header(api_key: ApiKey, version: i16) -> RequestHeader {
    RequestHeader {
        request_api_key: api_key.as_i16(),
        request_api_version: version,
        correlation_id: 42,
        client_id: Some("me".into()),
        ..RequestHeader::default()
    }
}

#[test]
fn request_is_read_as_it_was_framed() {
    let request = AnyRequest::from(MetadataRequest { topics: None, ..Default::default() });
    for version in 1..=13 {
        let header = header(ApiKey::Metadata, version);
        let mut encoded = encode_request(&header, &request).expect("a version it has");
        assert!(encoded.splices.is_empty());
        let size = encoded.bytes.split_to(4);
        assert_eq!(size[..], u32::try_from(encoded.bytes.len()).expect("short").to_be_bytes());
        assert_eq!(decode_request(encoded.bytes), Ok((header, request.clone())));
    }
}

#[test]
fn response_is_read_as_it_was_framed() {
    let response = AnyResponse::from(OffsetDeleteResponse { error_code: 16, ..Default::default() });
    let mut encoded = encode_response(7, ApiKey::OffsetDelete, 0, &response).expect("a version it has");
    assert_eq!(hex(&encoded.bytes), "0000000e".to_owned() + "00000007" + "0010" + "00000000" + "00000000");
    let frame = encoded.bytes.split_off(4);
    let (header, read) = decode_response(ApiKey::OffsetDelete, 0, frame).expect("a response");
    assert_eq!((header.correlation_id, read), (7, response));
}

#[test]
fn api_versions_response_has_the_oldest_header_at_every_version() {
    for version in 0..=4 {
        assert_eq!(ApiKey::ApiVersions.response_header_version(version), 0);
    }
    let response = AnyResponse::from(ApiVersionsResponse::default());
    let encoded = encode_response(1, ApiKey::ApiVersions, 3, &response).expect("a version it has");
    assert_eq!(hex(&encoded.bytes), "0000000c".to_owned() + "00000001" + "0000" + "01" + "00000000" + "00");
}

#[test]
fn api_versions_of_an_unknown_version_is_told_apart_with_its_header() {
    for version in [5, 99, i16::MAX, -1] {
        let expected = header(ApiKey::ApiVersions, version);
        let mut frame = Vec::new();
        let bytes = expected.to_bytes(ApiKey::ApiVersions.request_header_version(version)).expect("a header");
        frame.extend(&bytes);
        frame.extend(b"whatever");
        let refused = decode_request(frame.into());
        assert_eq!(refused, Err(RequestError::UnsupportedApiVersions { header: expected }));
    }
}

#[test]
fn other_unknown_keys_and_versions_are_refused_by_name() {
    let decode = |frame: &str| decode_request(unhex(frame).into());
    assert_eq!(decode("0000000d00000001ffff"), Err(RequestError::Header(DecodeError::Truncated)));
    assert_eq!(
        decode("0000000200000001ffff"),
        Err(RequestError::UnsupportedVersion { api_key: ApiKey::Produce, version: 2 })
    );
    assert_eq!(decode("0004000000000001ffff"), Err(RequestError::UnknownApiKey { key: 4 }));
    assert_eq!(decode("ffff000000000001ffff"), Err(RequestError::UnknownApiKey { key: -1 }));
    for len in 0..4 {
        let short = Bytes::from(vec![0; len]);
        assert_eq!(decode_request(short), Err(RequestError::Header(DecodeError::Truncated)));
    }
}

#[test]
fn what_stands_behind_a_body_is_passed_over() {
    // As librdkafka 2.16 asks for all topics: it has four bytes for a compact null array, which is one.
    let (header, request) =
        decode_request(unhex("0003000d00000003000772646b61666b610000000000010000").into())
            .expect("Kafka reads it");
    assert_eq!((header.request_api_key, header.client_id.as_deref()), (3, Some("rdkafka")));
    let all = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
    assert_eq!(request, AnyRequest::from(all));
}

#[test]
fn live_apis_are_the_89_of_kafka_4_3() {
    assert_eq!(ApiKey::ALL.len(), 89);
    for key in i16::MIN..=i16::MAX {
        match ApiKey::try_from(key) {
            Ok(api_key) => assert_eq!(api_key.as_i16(), key),
            Err(error) => assert_eq!(error, DecodeError::UnknownApiKey(key)),
        }
    }
    let removed: Vec<i16> = (0..=92).filter(|key| ApiKey::try_from(*key).is_err()).collect();
    assert_eq!(removed, [4, 5, 6, 7]);
    assert!(ApiKey::ALL.is_sorted());
    assert_eq!(ApiKey::InitProducerId.versions(), 0..=6);
    assert_eq!(ApiKey::InitProducerId.stable_versions(), 0..=5);
    assert_eq!(ApiKey::ALL.iter().filter(|key| key.on_broker()).count(), 77);
    assert_eq!(ApiKey::ALL.iter().filter(|key| key.on_controller()).count(), 41);
    assert!(ApiKey::Fetch.on_controller() && !ApiKey::Vote.on_broker());
    assert_eq!((ApiKey::SaslHandshake.flexible_from(), ApiKey::OffsetDelete.flexible_from()), (None, None));
    assert_eq!(
        (ApiKey::Produce.request_header_version(8), ApiKey::Produce.request_header_version(9)),
        (1, 2)
    );
}
