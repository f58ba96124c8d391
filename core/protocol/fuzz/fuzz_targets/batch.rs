//! Bytes as record batches from a producer and from a disk. The checksum is made right first: guessing it is all that a
//! fuzzer would do otherwise.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sordini_protocol::batch::{Batch, Limits, validate};
use sordini_protocol::control;
use sordini_protocol::crc::crc32c;

/// Where the checksum is in a batch, and what it covers to the end.
const CRC_AT: usize = 17;
const CRC_COVERS_FROM: usize = 21;

/// What a body may decompress to.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    // The length covers what follows it.
    if let Some(after_length) = data.len().checked_sub(12).and_then(|len| u32::try_from(len).ok())
        && data.len() > CRC_COVERS_FROM
    {
        bytes[8..12].copy_from_slice(&after_length.to_be_bytes());
        let crc = crc32c(&bytes[CRC_COVERS_FROM..]);
        bytes[CRC_AT..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
    }
    let bytes = Bytes::from(bytes);
    for zstd_allowed in [false, true] {
        let limits = Limits { decompressed_bytes_max: DECOMPRESSED_BYTES_MAX, zstd_allowed };
        if let Ok(batch) = validate(bytes.clone(), &limits) {
            let records = batch.records().expect("a valid batch has records");
            assert_eq!(records.filter(Result::is_ok).count(), usize::try_from(batch.records_count()).expect("a count"));
        }
    }
    let mut rest = bytes;
    while let Ok(Some(batch)) = Batch::first_of(&mut rest) {
        let _ = batch.check_crc();
        if let Ok(records) = batch.records(DECOMPRESSED_BYTES_MAX) {
            for record in records.flatten() {
                let _ = control::parse(&record);
            }
        }
    }
});
