//! Known batches, byte for byte: written by hand from the format, and by Apache Kafka itself.

use bytes::{Bytes, BytesMut};
use sordini_protocol::batch::{
    Batch, BatchBuilder, BatchError, BatchHeader, BatchParams, HEADER_LEN, Limits, Record, RecordHeader,
    TimestampType, assign, recompress, retain, validate,
};
use sordini_protocol::compression::{Compression, CompressionError, compress, decompress};
use sordini_protocol::control::{self, ControlError, ControlType, EndTxnMarker, TxnResult};

const LIMIT: usize = 1 << 20;
const LIMITS: Limits = Limits { decompressed_bytes_max: LIMIT, zstd_allowed: true };

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hexadecimal digit")).expect("below 16"))
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn vector(name: &str) -> Bytes {
    include_str!("batch_vectors.tsv")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .find(|(known, _)| *known == name)
        .map(|(_, hex)| unhex(hex))
        .unwrap_or_else(|| panic!("no vector {name}"))
}

fn records(batch: &Batch) -> Vec<Record> {
    batch.records(LIMIT).expect("records").map(|record| record.expect("a record")).collect()
}

/// What the vectors hold.
fn vector_records(codec: Compression) -> Vec<Record> {
    let letters = (b'a'..=b'z').cycle().take(70_000).collect();
    let record = |offset, timestamp, key: Option<&'static [u8]>, value| Record {
        offset,
        timestamp,
        key: key.map(Bytes::from_static),
        value,
        headers: Vec::new(),
    };
    let mut records = vec![
        record(0, 1_700_000_000_000, Some(b"key"), Some(Bytes::from_static(b"value"))),
        record(1, 1_700_000_000_005, None, None),
        record(
            2,
            1_699_999_999_999,
            Some(b""),
            Some(if codec == Compression::None { Bytes::from_static(&[0; 3]) } else { letters }),
        ),
    ];
    records[0].headers = vec![
        RecordHeader { key: Bytes::from_static(b"k"), value: Some(Bytes::from_static(b"1")) },
        RecordHeader { key: Bytes::from_static(b"k"), value: None },
    ];
    records
}

fn rebuilt(codec: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(BatchParams {
        compression: codec,
        producer_id: 4711,
        producer_epoch: 3,
        base_sequence: 7,
        transactional: true,
        ..BatchParams::default()
    });
    for record in vector_records(codec) {
        builder.append_at(&record);
    }
    builder.build()
}

#[test]
fn a_batch_of_one_record_is_as_the_format_says() {
    let expected = unhex(
        "0000000000000102 00000043 00000007 02 54f9102b 0000 00000000 0000018bcfe56800 0000018bcfe56800
         0000000000001267 0003 00000007 00000001
         22 00 00 00 06 6b6579 0a 76616c7565 02 02 6b 01",
    );
    let params = BatchParams {
        base_offset: 258,
        leader_epoch: 7,
        producer_id: 4711,
        producer_epoch: 3,
        base_sequence: 7,
        ..BatchParams::default()
    };
    let mut builder = BatchBuilder::new(params);
    assert!(builder.is_empty());
    builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[("k", None)]);
    assert_eq!(builder.size_estimate(), expected.len());
    let built = builder.build();
    assert_eq!(built, expected);

    let batch = Batch::new(built).expect("a batch");
    batch.check_crc().expect("the right checksum");
    assert_eq!(batch.header().size(), 79);
    assert_eq!(batch.header().next_offset(), 259);
}

#[test]
fn a_commit_marker_is_78_bytes_as_the_format_says() {
    let params = BatchParams {
        base_offset: 42,
        leader_epoch: 5,
        producer_id: 4711,
        producer_epoch: 3,
        ..BatchParams::default()
    };
    let marker = control::end_txn_marker(
        params,
        1_700_000_000_000,
        TxnResult::Commit,
        EndTxnMarker { coordinator_epoch: 9 },
    );
    let expected = unhex(
        "000000000000002a 00000042 00000005 02 a8da8731 0030 00000000 0000018bcfe56800 0000018bcfe56800
         0000000000001267 0003 ffffffff 00000001
         20 00 00 00 08 0000 0001 0c 0000 00000009 00",
    );
    assert_eq!(marker.len(), 78);
    assert_eq!(marker, expected);

    let batch = Batch::new(marker).expect("a batch");
    batch.check_crc().expect("the right checksum");
    assert!(batch.header().is_control());
    assert!(batch.header().is_transactional());
    let (kind, message) =
        control::parse(&records(&batch)[0]).expect("a control record").expect("a known kind");
    assert_eq!(kind, ControlType::Commit);
    assert_eq!(EndTxnMarker::parse(&message), Ok(EndTxnMarker { coordinator_epoch: 9 }));
}

#[test]
fn a_control_batch_keeps_its_records_in_order_and_has_no_sequence() {
    let messages = [
        (ControlType::LeaderChange, Bytes::from_static(b"leader")),
        (ControlType::KraftVersion, Bytes::from_static(b"version")),
        (ControlType::KraftVoters, Bytes::from_static(b"voters")),
    ];
    let params = BatchParams {
        base_offset: 7,
        leader_epoch: 2,
        base_sequence: 5,
        compression: Compression::Gzip,
        ..BatchParams::default()
    };
    let batch = Batch::new(control::control_batch(params, 3, &messages)).expect("a batch");
    assert!(batch.header().is_control());
    assert!(!batch.header().is_transactional());
    assert_eq!(batch.header().base_sequence, -1);
    assert_eq!(batch.header().compression(), Ok(Compression::None));
    let parsed: Vec<_> = records(&batch)
        .iter()
        .map(|record| control::parse(record).expect("a control record").expect("a known kind"))
        .collect();
    assert_eq!(parsed, messages);
}

#[test]
fn control_keys_are_read_leniently_but_not_blindly() {
    assert_eq!(ControlType::of_key(&[0, 0, 0, 3]), Ok(Some(ControlType::SnapshotHeader)));
    assert_eq!(ControlType::of_key(&[0, 1, 0, 3]), Ok(Some(ControlType::SnapshotHeader)));
    assert_eq!(ControlType::of_key(&[0, 0, 0, 99]), Ok(None));
    assert_eq!(ControlType::of_key(&[0xFF, 0xFF, 0, 3]), Err(ControlError::Key));
    assert_eq!(ControlType::of_key(&[0, 0, 0]), Err(ControlError::Key));
    assert_eq!(EndTxnMarker::parse(&[0, 0, 0, 0, 0]), Err(ControlError::Value));
    for kind in (-1..=7).filter_map(ControlType::from_i16) {
        assert_eq!(ControlType::of_key(&kind.key()), Ok(Some(kind)));
    }
}

#[test]
fn batches_of_kafka_in_every_codec_are_read_and_accepted() {
    for codec in Compression::ALL {
        let bytes = vector(&format!("kafka-{}", codec.name()));
        let batch = Batch::new(bytes.clone()).expect("a batch");
        batch.check_crc().expect("the right checksum");
        assert_eq!(batch.header().compression(), Ok(codec));
        assert_eq!(records(&batch), vector_records(codec));

        let validated = validate(bytes, &LIMITS).expect("Kafka writes valid batches");
        assert_eq!(validated.header(), batch.header());
        assert_eq!(validated.max_timestamp(), 1_700_000_000_005);
        assert_eq!(validated.min_timestamp(), 1_699_999_999_999);
        assert_eq!(validated.offset_of_max_timestamp_delta(), 1);
        assert_eq!(validated.first_keyless_record(), Some(1));
        assert_eq!(validated.records_count(), 3);
    }
}

#[test]
fn an_uncompressed_batch_is_built_exactly_as_kafka_builds_it() {
    assert_eq!(rebuilt(Compression::None), vector("kafka-none"));
}

#[test]
fn a_compressed_batch_differs_from_kafkas_only_in_what_the_compressor_chose() {
    for codec in Compression::ALL {
        let ours = Batch::new(rebuilt(codec)).expect("a batch");
        let theirs = Batch::new(vector(&format!("kafka-{}", codec.name()))).expect("a batch");
        let chosen = BatchHeader { crc: 0, batch_length: 0, ..*theirs.header() };
        assert_eq!(BatchHeader { crc: 0, batch_length: 0, ..*ours.header() }, chosen);
        assert_eq!(decompress(codec, ours.body(), LIMIT), decompress(codec, theirs.body(), LIMIT));
    }
}

#[test]
fn snappy_and_lz4_begin_with_the_framing_that_kafkas_readers_look_for() {
    let letters: Vec<u8> = (b'a'..=b'z').cycle().take(70_000).collect();
    let snappy = compress(Compression::Snappy, None, &letters).expect("compresses");
    assert_eq!(snappy[..16], vector("kafka-snappy")[HEADER_LEN..HEADER_LEN + 16]);
    // Version 1, independent blocks, no size, no checksums; blocks of 64 KiB; header checksum.
    let lz4 = compress(Compression::Lz4, None, &letters).expect("compresses");
    assert_eq!(lz4[..7], vector("kafka-lz4")[HEADER_LEN..HEADER_LEN + 7]);
}

#[test]
fn lz4_frames_of_other_libraries_and_several_in_a_row_are_read() {
    let expected: Vec<u8> = (0..=250).cycle().take(200_000).collect();
    let linked = vector("lz4-linked");
    assert_eq!(decompress(Compression::Lz4, &linked, LIMIT).as_ref(), Ok(&expected));

    let twice = [&linked[..], &linked[..]].concat();
    assert_eq!(decompress(Compression::Lz4, &twice, LIMIT), Ok(expected.repeat(2)));
    assert_eq!(
        decompress(Compression::Lz4, &twice, 399_999),
        Err(CompressionError::OutputLimit { limit: 399_999 })
    );
}

#[test]
fn an_lz4_frame_without_its_end_mark_is_corrupt() {
    let corrupt = Err(CompressionError::Corrupt { codec: Compression::Lz4 });
    let frame = compress(Compression::Lz4, None, &[7; 1000]).expect("compresses");
    for len in 1..frame.len() {
        assert_eq!(decompress(Compression::Lz4, &frame[..len], LIMIT), corrupt);
    }
}

#[test]
fn gzip_members_and_zstd_frames_in_a_row_are_read() {
    for codec in [Compression::Gzip, Compression::Zstd] {
        let one = compress(codec, None, b"one ").expect("compresses");
        let two = compress(codec, None, b"two").expect("compresses");
        assert_eq!(decompress(codec, &[one, two].concat(), LIMIT), Ok(b"one two".to_vec()));
    }
}

#[test]
fn raw_snappy_without_framing_and_repeated_framing_are_read() {
    let raw = snap::raw::Encoder::new().compress_vec(b"raw raw raw raw raw").expect("compresses");
    assert_eq!(decompress(Compression::Snappy, &raw, LIMIT), Ok(b"raw raw raw raw raw".to_vec()));

    let framed = compress(Compression::Snappy, None, &[7; 40_000]).expect("compresses");
    let twice = [&framed[..], &framed[..]].concat();
    assert_eq!(decompress(Compression::Snappy, &twice, LIMIT), Ok(vec![7; 80_000]));
}

#[test]
fn levels_outside_of_the_scale_are_brought_to_its_ends() {
    for codec in Compression::ALL {
        for level in [i32::MIN, -1, 0, 1, 9, 22, i32::MAX] {
            let compressed = compress(codec, Some(level), &[7; 1000]).expect("compresses");
            assert_eq!(decompress(codec, &compressed, 1000), Ok(vec![7; 1000]));
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 32 << 20];
    for codec in Compression::ALL {
        let bomb = compress(codec, None, &zeros).expect("compresses");
        for limit in [0, 1, 1000, zeros.len() - 1] {
            assert_eq!(decompress(codec, &bomb, limit), Err(CompressionError::OutputLimit { limit }));
        }
        assert_eq!(decompress(codec, &bomb, zeros.len()).as_ref(), Ok(&zeros));
    }
}

#[test]
fn a_snappy_block_that_claims_more_than_it_can_hold_is_corrupt() {
    // A length of 4 GiB less one byte, and hardly anything behind it.
    let liar = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0x00, 0x00];
    assert_eq!(
        decompress(Compression::Snappy, &liar, usize::MAX),
        Err(CompressionError::Corrupt { codec: Compression::Snappy })
    );
}

#[test]
fn the_first_whole_batch_is_split_off_and_a_cut_one_left_alone() {
    let one = vector("kafka-none");
    let mut bytes = Bytes::from([&one[..], &one[..], &one[..70]].concat());
    for _ in 0..2 {
        assert_eq!(Batch::first_of(&mut bytes), Ok(Some(Batch::new(one.clone()).expect("a batch"))));
    }
    assert_eq!(Batch::first_of(&mut bytes), Ok(None));
    assert_eq!(bytes.len(), 70);
    assert_eq!(Batch::first_of(&mut Bytes::new()), Ok(None));
}

#[test]
fn a_header_that_cannot_be_is_refused() {
    let good = vector("kafka-none");
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = BytesMut::from(&good[..]);
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        Batch::new(changed.freeze()).map(|batch| *batch.header())
    };
    assert_eq!(with(16, &[1]), Err(BatchError::UnsupportedMagic(1)));
    assert_eq!(with(16, &[0xFF]), Err(BatchError::UnsupportedMagic(-1)));
    assert_eq!(with(8, &48_i32.to_be_bytes()), Err(BatchError::IllegalLength(48)));
    assert_eq!(with(8, &i32::MIN.to_be_bytes()), Err(BatchError::IllegalLength(i32::MIN)));
    assert_eq!(
        with(8, &i32::MAX.to_be_bytes()),
        Err(BatchError::Truncated { available: 100, needed: (1 << 31) + 11 })
    );
    assert_eq!(with(8, &87_i32.to_be_bytes()), Err(BatchError::TrailingBytes { count: 1 }));
    assert_eq!(
        BatchHeader::parse(&good[..60]),
        Err(BatchError::Truncated { available: 60, needed: HEADER_LEN })
    );
}

#[test]
fn sequences_wrap_from_the_greatest_to_zero() {
    let header = *Batch::new(vector("kafka-none")).expect("a batch").header();
    let last = |base_sequence| BatchHeader { base_sequence, ..header }.last_sequence();
    assert_eq!(last(7), 9);
    assert_eq!(last(i32::MAX - 2), i32::MAX);
    assert_eq!(last(i32::MAX - 1), 0);
    assert_eq!(last(i32::MAX), 1);
    assert_eq!(last(-1), -1);
}

#[test]
fn assigning_an_offset_and_an_epoch_leaves_body_and_checksum_alone() {
    for codec in Compression::ALL {
        let bytes = vector(&format!("kafka-{}", codec.name()));
        let validated = validate(bytes.clone(), &LIMITS).expect("valid");
        let assigned = assign(validated, 1 << 40, 17, None);
        assert_eq!(assigned.header().base_offset, 1 << 40);
        assert_eq!(assigned.header().next_offset(), (1 << 40) + 3);
        assert_eq!(assigned.header().partition_leader_epoch, 17);
        assert_eq!(assigned.bytes()[1].as_ptr(), bytes[HEADER_LEN..].as_ptr());

        let stored = Batch::new(assigned.to_contiguous()).expect("a batch");
        assert_eq!(stored.header(), assigned.header());
        stored.check_crc().expect("the right checksum");
        assert_eq!(stored.bytes()[17..], bytes[17..]);
    }
}

#[test]
fn an_append_time_stands_for_all_records_and_the_checksum_is_right() {
    for codec in Compression::ALL {
        let bytes = vector(&format!("kafka-{}", codec.name()));
        let assigned = assign(validate(bytes, &LIMITS).expect("valid"), 5, 1, Some(1_800_000_000_000));
        let stored = Batch::new(assigned.to_contiguous()).expect("a batch");
        stored.check_crc().expect("the right checksum");
        assert_eq!(stored.header().timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(stored.header().max_timestamp, 1_800_000_000_000);
        assert_eq!(stored.header().compression(), Ok(codec));
        assert!(records(&stored).iter().all(|record| record.timestamp == 1_800_000_000_000));
    }
}

#[test]
fn recompression_changes_the_codec_and_nothing_else() {
    for from in Compression::ALL {
        let before = Batch::new(vector(&format!("kafka-{}", from.name()))).expect("a batch");
        for to in Compression::ALL {
            let after =
                Batch::new(recompress(&before, to, None, LIMIT).expect("recompresses")).expect("a batch");
            after.check_crc().expect("the right checksum");
            assert_eq!(after.header().compression(), Ok(to));
            assert_eq!(records(&after), records(&before));
            let same = |header: &BatchHeader| BatchHeader {
                crc: 0,
                batch_length: 0,
                attributes: header.attributes & !Compression::ATTRIBUTE_MASK,
                ..*header
            };
            assert_eq!(same(after.header()), same(before.header()));

            let validated = validate(before.bytes().clone(), &LIMITS)
                .expect("valid")
                .recompress(to, None)
                .expect("recompresses");
            assert_eq!(validated.batch(), &after);
        }
    }
}

#[test]
fn compaction_keeps_offsets_timestamps_and_producer_of_what_stays() {
    for codec in Compression::ALL {
        let before = Batch::new(vector(&format!("kafka-{}", codec.name()))).expect("a batch");
        let before = Batch::new(before.assign(100, 4).to_contiguous()).expect("a batch");
        let bytes = retain(&before, None, None, LIMIT, |record| record.key.is_none()).expect("retains");
        let after = Batch::new(bytes).expect("a batch");
        after.check_crc().expect("the right checksum");
        assert_eq!(records(&after), records(&before)[1..2]);
        assert_eq!(after.header().base_offset, 100);
        assert_eq!(after.header().next_offset(), 103);
        assert_eq!(after.header().last_sequence(), 9);
        assert_eq!(after.header().records_count, 1);
        assert_eq!(after.header().max_timestamp, 1_700_000_000_005);
        assert_eq!(after.header().compression(), Ok(codec));
        assert_eq!(after.header().delete_horizon(), None);
    }
}

#[test]
fn a_delete_horizon_takes_the_base_timestamps_place_and_stays() {
    let before = Batch::new(vector("kafka-zstd")).expect("a batch");
    let horizon = Some(1_900_000_000_000);
    let once = retain(&before, None, horizon, LIMIT, |_| true).expect("retains");
    let once = Batch::new(once).expect("a batch");
    assert_eq!(once.header().delete_horizon(), horizon);
    assert_eq!(records(&once), records(&before));
    let twice = Batch::new(retain(&once, None, None, LIMIT, |_| true).expect("retains")).expect("a batch");
    assert_eq!(twice.header().delete_horizon(), horizon);
    assert_eq!(records(&twice), records(&before));
}

#[test]
fn a_batch_may_lose_all_its_records_to_compaction() {
    let before = Batch::new(vector("kafka-lz4")).expect("a batch");
    let empty = Batch::new(retain(&before, None, None, LIMIT, |_| false).expect("retains")).expect("a batch");
    empty.check_crc().expect("the right checksum");
    assert_eq!(empty.header().size(), HEADER_LEN);
    assert_eq!(empty.header().records_count, 0);
    assert_eq!(empty.header().next_offset(), before.header().next_offset());
    assert_eq!(empty.header().last_sequence(), before.header().last_sequence());
    assert_eq!(empty.header().producer_id, before.header().producer_id);
    assert_eq!(records(&empty), []);
}
