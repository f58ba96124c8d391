//! What a produced batch must be like, and what its producer is told otherwise. The codes are those of Apache Kafka 4.3.1's
//! `LogValidator` and of what runs before it, except where Kafka says `UNKNOWN_SERVER_ERROR` because an exception escaped.

use bytes::{BufMut, Bytes, BytesMut};
use sordini_protocol::batch::{
    Batch, BatchBuilder, BatchHeader, BatchParams, HEADER_LEN, InvalidBatch, Limits, validate,
};
use sordini_protocol::compression::{Compression, compress};
use sordini_protocol::control::{self, EndTxnMarker, TxnResult};
use sordini_protocol::crc::crc32c;
use sordini_protocol::error_code::ErrorCode;

const LIMITS: Limits = Limits { decompressed_bytes_max: 1 << 20, zstd_allowed: true };

/// Three records with the timestamps 1000, -1 and 900; the second has no key.
fn batch(compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(BatchParams {
        compression,
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: 0,
        ..BatchParams::default()
    });
    builder.append(1000, Some(b"a"), Some(b"first"), &[]);
    builder.append(-1, None, Some(b"second"), &[]);
    builder.append(900, Some(b"c"), None, &[("trace", Some(b"1"))]);
    builder.build()
}

/// A batch with another header, its checksum right.
fn with_header(bytes: &[u8], change: impl Fn(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(bytes).expect("a header");
    change(&mut header);
    let mut bytes = BytesMut::from(bytes);
    header.write(&mut bytes);
    header.crc = crc32c(&bytes[21..]);
    header.write(&mut bytes);
    bytes.freeze()
}

/// A batch with another body, its length and checksum right. The body is compressed as the header says.
fn with_body(bytes: &[u8], body: &[u8]) -> Bytes {
    let header = BatchHeader::parse(bytes).expect("a header");
    let body = compress(header.compression().expect("a codec"), None, body).expect("compresses");
    let mut whole = BytesMut::from(&bytes[..HEADER_LEN]);
    whole.put_slice(&body);
    let length = i32::try_from(whole.len() - 12).expect("short");
    with_header(&whole, |header| header.batch_length = length)
}

fn refusal(bytes: impl Into<Bytes>) -> InvalidBatch {
    validate(bytes.into(), &LIMITS).expect_err("refused")
}

fn code(bytes: impl Into<Bytes>) -> ErrorCode {
    refusal(bytes).code
}

#[test]
fn a_good_batch_passes_and_says_what_the_topics_rules_need() {
    for codec in Compression::ALL {
        let bytes = batch(codec);
        let validated = validate(bytes.clone(), &LIMITS).expect("valid");
        assert_eq!(validated.bytes(), &bytes);
        assert_eq!(validated.records_count(), 3);
        assert_eq!(validated.max_timestamp(), 1000);
        assert_eq!(validated.min_timestamp(), 900);
        assert_eq!(validated.offset_of_max_timestamp_delta(), 0);
        assert_eq!(validated.first_keyless_record(), Some(1));
        assert_eq!(validated.decompressed_len(), batch(Compression::None).len() - HEADER_LEN);
        let keys: Vec<_> =
            validated.records().expect("records").map(|record| record.expect("a record").key).collect();
        assert_eq!(keys, [Some(Bytes::from_static(b"a")), None, Some(Bytes::from_static(b"c"))]);
    }
}

#[test]
fn records_without_timestamps_have_no_greatest_and_no_smallest() {
    let mut builder = BatchBuilder::new(BatchParams::default());
    builder.append(-1, Some(b"k"), None, &[]);
    let validated = validate(builder.build(), &LIMITS).expect("valid");
    assert_eq!(validated.max_timestamp(), -1);
    assert_eq!(validated.min_timestamp(), -1);
    assert_eq!(validated.first_keyless_record(), None);
}

#[test]
fn there_is_exactly_one_batch() {
    let good = batch(Compression::None);
    assert_eq!(code(Bytes::new()), ErrorCode::InvalidRecord);
    for len in 1..good.len() {
        assert_eq!(code(good.slice(..len)), ErrorCode::InvalidRecord, "cut after {len} bytes");
    }
    assert_eq!(code([&good[..], &good[..]].concat()), ErrorCode::InvalidRecord);
    assert_eq!(code([&good[..], &[0]].concat()), ErrorCode::InvalidRecord);
}

#[test]
fn the_magic_is_2() {
    let good = batch(Compression::None);
    for (magic, expected) in [
        (0, ErrorCode::InvalidRecord),
        (1, ErrorCode::InvalidRecord),
        (3, ErrorCode::CorruptMessage),
        (-1, ErrorCode::CorruptMessage),
    ] {
        assert_eq!(code(with_header(&good, |header| header.magic = magic)), expected);
    }
    // A message of the first format: offset, size, checksum, magic 0, attributes, no key, no value.
    let old = [&[0; 8][..], &14_i32.to_be_bytes(), &[0; 4], &[0, 0], &[0xFF; 8]].concat();
    assert_eq!(code(old), ErrorCode::InvalidRecord);
}

#[test]
fn the_length_is_a_batchs() {
    let good = batch(Compression::None);
    for length in [i32::MIN, -1, 0, 13, 14, 48] {
        assert_eq!(
            code(with_header(&good, |header| header.batch_length = length)),
            ErrorCode::CorruptMessage,
            "length {length}"
        );
    }
    assert_eq!(code(with_header(&good, |header| header.batch_length = i32::MAX)), ErrorCode::InvalidRecord);
}

#[test]
fn every_flipped_bit_behind_the_checksum_is_found() {
    let good = batch(Compression::None);
    for at in 17..good.len() {
        for bit in 0..8 {
            let mut bytes = BytesMut::from(&good[..]);
            bytes[at] ^= 1 << bit;
            assert_eq!(code(bytes), ErrorCode::CorruptMessage, "byte {at} bit {bit}");
        }
    }
}

#[test]
fn the_header_keeps_the_rules_for_producers() {
    let good = batch(Compression::None);
    let refused = |change: fn(&mut BatchHeader)| code(with_header(&good, change));
    assert_eq!(refused(|header| header.base_offset = 1), ErrorCode::InvalidRecord);
    assert_eq!(refused(|header| header.last_offset_delta = 3), ErrorCode::InvalidRecord);
    assert_eq!(refused(|header| header.last_offset_delta = -1), ErrorCode::InvalidRecord);
    assert_eq!(refused(|header| header.records_count = 0), ErrorCode::InvalidRecord);
    assert_eq!(refused(|header| header.records_count = -1), ErrorCode::InvalidRecord);
    assert_eq!(refused(|header| header.records_count = i32::MAX), ErrorCode::InvalidRecord);
    assert_eq!(refused(|header| header.base_sequence = -1), ErrorCode::InvalidRecord);
    assert_eq!(refused(|header| header.attributes |= 1 << 5), ErrorCode::InvalidRecord);
    assert_eq!(refused(|header| header.attributes |= 5), ErrorCode::UnsupportedCompressionType);
    assert_eq!(refused(|header| header.attributes |= 7), ErrorCode::UnsupportedCompressionType);
    let without_producer = with_header(&good, |header| {
        header.producer_id = -1;
        header.base_sequence = -1;
    });
    assert!(validate(without_producer, &LIMITS).is_ok());
}

#[test]
fn a_marker_is_not_a_clients_to_write() {
    let params = BatchParams { producer_id: 7, producer_epoch: 0, ..BatchParams::default() };
    let marker = control::end_txn_marker(params, 0, TxnResult::Commit, EndTxnMarker { coordinator_epoch: 0 });
    assert_eq!(code(marker), ErrorCode::InvalidRecord);
}

#[test]
fn the_append_time_is_not_a_producers_to_set() {
    let error = refusal(with_header(&batch(Compression::None), |header| header.attributes |= 1 << 3));
    assert_eq!(error.code, ErrorCode::InvalidTimestamp);
    assert!(error.record_errors.is_empty(), "the batch is to blame, not its records");
}

#[test]
fn the_count_of_records_is_the_true_one() {
    for codec in Compression::ALL {
        for count in [2, 4] {
            let lying = with_header(&batch(codec), |header| {
                header.records_count = count;
                header.last_offset_delta = count - 1;
            });
            assert_eq!(code(lying), ErrorCode::InvalidRecord);
        }
    }
}

#[test]
fn malformed_records_are_refused() {
    // length, attributes, timestamp delta, offset delta, key length, value length, header count
    let cases: [(&str, &[u8]); 14] = [
        ("no record", &[]),
        ("negative record length", &[0x01, 0, 0, 0, 1, 1, 0]),
        ("record length beyond the batch", &[0x0E, 0, 0, 0, 1, 1, 0]),
        ("record length beyond the record", &[0x0E, 0, 0, 0, 1, 1, 0, 0]),
        ("record length that cuts the record", &[0x0A, 0, 0, 0, 1, 1, 0]),
        ("record of no length", &[0x00]),
        ("key length below null", &[0x0C, 0, 0, 0, 3, 1, 0]),
        ("value length below null", &[0x0C, 0, 0, 0, 1, 3, 0]),
        ("key beyond the record", &[0x0C, 0, 0, 0, 0x80, 1, 0]),
        ("negative header count", &[0x0C, 0, 0, 0, 1, 1, 1]),
        ("more headers than bytes", &[0x0C, 0, 0, 0, 1, 1, 2]),
        ("header without a key", &[0x10, 0, 0, 0, 1, 1, 2, 1, 1]),
        ("offset that does not begin at 0", &[0x0C, 0, 0, 2, 1, 1, 0]),
        ("endless number", &[0x16, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 0]),
    ];
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(BatchParams { compression: codec, ..BatchParams::default() });
        builder.append(0, None, None, &[]);
        let good = builder.build();
        assert!(validate(with_body(&good, &[0x0C, 0, 0, 0, 1, 1, 0]), &LIMITS).is_ok());
        for (what, body) in cases {
            assert_eq!(code(with_body(&good, body)), ErrorCode::InvalidRecord, "{what}, {codec:?}");
        }
    }
}

#[test]
fn offsets_have_no_gap() {
    let mut builder = BatchBuilder::new(BatchParams::default());
    let records = Batch::new(batch(Compression::None)).expect("a batch");
    for record in records.records(0).expect("records") {
        let mut record = record.expect("a record");
        record.offset *= 2;
        builder.append_at(&record);
    }
    let gaps = with_header(&builder.build(), |header| header.last_offset_delta = 2);
    assert_eq!(code(gaps), ErrorCode::InvalidRecord);
}

#[test]
fn a_wrong_greatest_timestamp_is_corrected_with_the_checksum() {
    for codec in Compression::ALL {
        let good = batch(codec);
        for lie in [i64::MIN, -1, 0, 999, i64::MAX] {
            let validated = validate(with_header(&good, |header| header.max_timestamp = lie), &LIMITS)
                .expect("corrected");
            assert_eq!(validated.bytes(), &good);
            assert_eq!(validated.header().max_timestamp, 1000);
        }
    }
}

#[test]
fn zstd_needs_a_produce_request_that_knows_it() {
    let limits = Limits { zstd_allowed: false, ..LIMITS };
    for codec in Compression::ALL {
        let result = validate(batch(codec), &limits).map_err(|error| error.code);
        if codec == Compression::Zstd {
            assert_eq!(result, Err(ErrorCode::UnsupportedCompressionType));
        } else {
            assert!(result.is_ok());
        }
    }
}

#[test]
fn a_bomb_is_too_large() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut builder = BatchBuilder::new(BatchParams { compression: codec, ..BatchParams::default() });
        builder.append(0, None, Some(&vec![0; LIMITS.decompressed_bytes_max]), &[]);
        assert_eq!(code(builder.build()), ErrorCode::MessageTooLarge);
    }
}

#[test]
fn a_body_that_is_not_its_codecs_is_refused() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let lying = with_header(&batch(Compression::None), |header| header.attributes |= codec.attributes());
        assert_eq!(code(lying), ErrorCode::InvalidRecord, "{codec:?}");
    }
}
