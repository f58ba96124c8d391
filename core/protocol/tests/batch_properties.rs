//! Properties of batches over generated records: what is built is read, and what is broken is refused with a typed error.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use sordini_protocol::batch::{
    Batch, BatchBuilder, BatchError, BatchHeader, BatchParams, HEADER_LEN, Limits, Record, RecordHeader,
    TimestampType, assign, recompress, retain, validate,
};
use sordini_protocol::compression::{Compression, CompressionError, compress, decompress};
use sordini_protocol::crc::crc32c;

const LIMIT: usize = 1 << 20;
const LIMITS: Limits = Limits { decompressed_bytes_max: LIMIT, zstd_allowed: true };

fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(0x50_4F52_4449),
        failure_persistence: None,
        ..ProptestConfig::with_cases(400)
    }
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..80), vec(select(vec![b'a', b'b']), 0..3000)].prop_map(Bytes::from)
}

/// Few distinct header keys, so that a record often has one twice.
fn header() -> impl Strategy<Value = RecordHeader> {
    (select(vec!["", "k", "trace-id"]), option::of(bytes()))
        .prop_map(|(key, value)| RecordHeader { key: Bytes::from_static(key.as_bytes()), value })
}

fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![Just(-1), 0..10_i64, 1_700_000_000_000..1_700_000_100_000_i64, 0..i64::MAX]
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    vec((timestamp(), option::of(bytes()), option::of(bytes()), vec(header(), 0..4)), 1..12).prop_map(
        |records| {
            (0..)
                .zip(records)
                .map(|(offset, (timestamp, key, value, headers))| Record {
                    offset,
                    timestamp,
                    key,
                    value,
                    headers,
                })
                .collect()
        },
    )
}

fn codec() -> impl Strategy<Value = Compression> {
    select(Compression::ALL.to_vec())
}

fn build(params: BatchParams, records: &[Record]) -> Bytes {
    let mut builder = BatchBuilder::new(params);
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|header| (str::from_utf8(&header.key).expect("UTF-8"), header.value.as_deref()))
            .collect();
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    builder.build()
}

fn produced(compression: Compression, records: &[Record]) -> Bytes {
    build(BatchParams { compression, ..BatchParams::default() }, records)
}

fn read(bytes: Bytes) -> Result<Vec<Record>, BatchError> {
    Batch::new(bytes)?.records(LIMIT)?.collect()
}

/// Makes length and checksum right, so that what is broken is behind them.
fn reseal(bytes: &mut BytesMut) {
    let length = i32::try_from(bytes.len() - 12).expect("short");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_built_is_read(
        records in records(),
        compression in codec(),
        base_offset in 0..i64::MAX / 2,
        leader_epoch in any::<i32>(),
        (producer_id, producer_epoch, base_sequence) in any::<(i64, i16, i32)>(),
        transactional in any::<bool>(),
        control in any::<bool>(),
    ) {
        let params = BatchParams {
            base_offset, leader_epoch, compression, compression_level: None,
            timestamp_type: TimestampType::CreateTime, producer_id, producer_epoch, base_sequence, transactional, control,
        };
        let bytes = build(params, &records);
        let batch = Batch::new(bytes.clone()).expect("a batch");
        batch.check_crc().expect("the right checksum");
        let header = batch.header();
        prop_assert_eq!(&header.to_bytes()[..], &bytes[..HEADER_LEN]);
        prop_assert_eq!(
            (header.base_offset, header.partition_leader_epoch, header.compression()),
            (base_offset, leader_epoch, Ok(compression))
        );
        prop_assert_eq!(
            (header.producer_id, header.producer_epoch, header.base_sequence),
            (producer_id, producer_epoch, base_sequence)
        );
        prop_assert_eq!((header.is_transactional(), header.is_control()), (transactional, control));
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|record| record.timestamp).max());
        let placed: Vec<Record> = records
            .into_iter()
            .map(|record| Record { offset: base_offset + record.offset, ..record })
            .collect();
        prop_assert_eq!(header.last_offset(), placed.last().expect("a record").offset);
        prop_assert_eq!(read(bytes), Ok(placed));
    }

    #[test]
    fn a_built_batch_is_valid_and_stays_itself_in_every_codec_and_place(
        records in records(), from in codec(), to in codec(), base_offset in 0..i64::MAX / 2,
    ) {
        let validated = validate(produced(from, &records), &LIMITS).expect("valid");
        prop_assert_eq!(Some(validated.max_timestamp()), records.iter().map(|record| record.timestamp).max());
        let first_keyless = records.iter().position(|record| record.key.is_none());
        prop_assert_eq!(
            validated.first_keyless_record().map(|index| usize::try_from(index).expect("an index")),
            first_keyless
        );
        let validated = validated.recompress(to, None).expect("recompresses");
        let stored = assign(validated, base_offset, 3, None).to_contiguous();
        Batch::new(stored.clone()).expect("a batch").check_crc().expect("the right checksum");
        let placed: Vec<Record> = records
            .into_iter()
            .map(|record| Record { offset: base_offset + record.offset, ..record })
            .collect();
        prop_assert_eq!(read(stored), Ok(placed));
    }

    #[test]
    fn an_append_time_keeps_the_checksum_right(
        records in records(), codec in codec(), time in 0..i64::MAX, base_offset in 0..i64::MAX / 2,
    ) {
        let validated = validate(produced(codec, &records), &LIMITS).expect("valid");
        let stored = Batch::new(assign(validated, base_offset, 3, Some(time)).to_contiguous()).expect("a batch");
        stored.check_crc().expect("the right checksum");
        prop_assert_eq!(stored.header().max_timestamp, time);
        for record in stored.records(LIMIT).expect("records") {
            prop_assert_eq!(record.expect("a record").timestamp, time);
        }
    }

    #[test]
    fn compaction_leaves_exactly_the_chosen_records(
        records in records(), codec in codec(), chosen in any::<u16>(), horizon in option::of(0..i64::MAX),
    ) {
        let kept = |record: &Record| chosen >> record.offset & 1 == 1;
        let batch = Batch::new(produced(codec, &records)).expect("a batch");
        let left = retain(&batch, None, horizon, LIMIT, kept).expect("retains");
        let after = Batch::new(left.clone()).expect("a batch");
        after.check_crc().expect("the right checksum");
        prop_assert_eq!(after.header().last_offset(), batch.header().last_offset());
        prop_assert_eq!(after.header().delete_horizon(), horizon);
        let expected: Vec<Record> = records.into_iter().filter(kept).collect();
        prop_assert_eq!(read(left), Ok(expected));
    }

    #[test]
    fn a_batch_cut_anywhere_is_incomplete(records in records(), codec in codec()) {
        let bytes = produced(codec, &records);
        for len in 0..bytes.len() {
            prop_assert_eq!(Batch::first_of(&mut bytes.slice(..len)), Ok(None));
            prop_assert!(validate(bytes.slice(..len), &LIMITS).is_err());
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_refused_even_if_the_header_agrees(records in records(), codec in codec(), at in any::<Index>()) {
        let bytes = produced(codec, &records);
        let mut cut = BytesMut::from(&bytes[..HEADER_LEN + at.index(bytes.len() - HEADER_LEN)]);
        reseal(&mut cut);
        let cut = cut.freeze();
        Batch::new(cut.clone()).expect("a batch").check_crc().expect("the right checksum");
        prop_assert!(read(cut.clone()).is_err());
        prop_assert!(validate(cut, &LIMITS).is_err());
    }

    #[test]
    fn a_flipped_bit_is_found_by_the_checksum_or_stands_before_it(
        records in records(), codec in codec(), at in any::<Index>(), bit in 0..8_u32,
    ) {
        let good = produced(codec, &records);
        let mut bytes = BytesMut::from(&good[..]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let refused = validate(bytes.clone().freeze(), &LIMITS);
        if let Ok(batch) = Batch::new(bytes.freeze()) {
            prop_assert_eq!(batch.check_crc().is_err(), at >= 17);
        }
        // The leader's epoch is the leader's to write; nobody looks at what a producer put there.
        prop_assert_eq!(refused.is_ok(), (12..16).contains(&at));
    }

    #[test]
    fn broken_bytes_behind_a_right_checksum_never_panic_and_what_passes_can_be_read(
        records in records(), codec in codec(), changes in vec((any::<Index>(), any::<u8>()), 1..4), inside in any::<bool>(),
    ) {
        let good = produced(codec, &records);
        let mut bytes;
        if inside {
            // Behind the compression as well.
            let mut body = decompress(codec, &good[HEADER_LEN..], LIMIT).expect("decompresses");
            for (at, value) in changes {
                let at = at.index(body.len());
                body[at] = value;
            }
            bytes = BytesMut::from(&good[..HEADER_LEN]);
            bytes.extend_from_slice(&compress(codec, None, &body).expect("compresses"));
        } else {
            bytes = BytesMut::from(&good[..]);
            for (at, value) in changes {
                let at = 21 + at.index(bytes.len() - 21);
                bytes[at] = value;
            }
        }
        reseal(&mut bytes);
        let bytes = bytes.freeze();
        if let Ok(validated) = validate(bytes.clone(), &LIMITS) {
            let count = usize::try_from(validated.records_count()).expect("a count");
            prop_assert_eq!(read(validated.bytes().clone()).expect("what is valid is readable").len(), count);
        }
        // What a follower or a restarted broker reads was never validated by it.
        if let Ok(batch) = Batch::new(bytes) {
            let kept = retain(&batch, None, None, LIMIT, |_| true);
            prop_assert_eq!(kept.is_ok(), read(batch.bytes().clone()).is_ok());
            let _either = recompress(&batch, Compression::None, None, LIMIT);
        }
    }

    #[test]
    fn any_bytes_are_a_typed_refusal(bytes in vec(any::<u8>(), 0..200), codec in codec()) {
        let bytes = Bytes::from(bytes);
        let _either = BatchHeader::parse(&bytes);
        prop_assert!(validate(bytes.clone(), &LIMITS).is_err());
        if let Ok(output) = decompress(codec, &bytes, 1000) {
            prop_assert!(output.len() <= 1000);
        }
    }

    #[test]
    fn every_codec_gives_back_what_it_took_and_not_a_byte_above_the_limit(input in bytes(), codec in codec(), level in -5..25) {
        let compressed = compress(codec, Some(level), &input).expect("compresses");
        let output = decompress(codec, &compressed, input.len()).expect("decompresses");
        prop_assert_eq!(&output, &input);
        if let Some(limit) = input.len().checked_sub(1) {
            prop_assert_eq!(decompress(codec, &compressed, limit), Err(CompressionError::OutputLimit { limit }));
        }
    }
}
