//! What a broker spends on a produced batch: checksum, validation in every codec, stamping, building.
//!
//! `cargo bench -p sordini-protocol --bench batch`. Throughput counts decompressed bytes.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use sordini_protocol::batch::{self, Batch, BatchBuilder, BatchParams, Limits};
use sordini_protocol::compression::{self, Compression};
use sordini_protocol::crc::crc32c;

const BATCH_BYTES: usize = 1024 * 1024;
const LIMITS: Limits = Limits { decompressed_bytes_max: 4 * BATCH_BYTES, zstd_allowed: true };

fn main() {
    divan::main();
}

/// Bytes that compress to about half: words of a small dictionary between noise.
fn value(len: usize, seed: u64) -> Vec<u8> {
    let words = [&b"order"[..], b"customer", b"partition", b"Barnabas", b"office", b"Sordini"];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut value = Vec::with_capacity(len + 16);
    while value.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bytes = state.to_le_bytes();
        value.extend_from_slice(words[usize::from(bytes[7]) % words.len()]);
        value.extend_from_slice(&bytes[..4]);
    }
    value.truncate(len);
    value
}

fn batch(record_bytes: usize, compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(BatchParams { compression, ..BatchParams::default() });
    let mut seed = 0_u64;
    while builder.size_estimate() + record_bytes < BATCH_BYTES {
        seed += 1;
        let key = seed.to_be_bytes();
        builder.append(1_700_000_000_000, Some(&key), Some(&value(record_bytes - 20, seed)), &[]);
    }
    builder.build()
}

#[divan::bench]
fn crc_alone(bencher: Bencher<'_, '_>) {
    let bytes = batch(1024, Compression::None);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| crc32c(black_box(&bytes)));
}

#[divan::bench(args = [1024, 100])]
fn validate_uncompressed(bencher: Bencher<'_, '_>, record_bytes: usize) {
    let bytes = batch(record_bytes, Compression::None);
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench(|| batch::validate(black_box(bytes.clone()), &LIMITS).expect("valid"));
}

#[divan::bench(args = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd])]
fn validate_1024(bencher: Bencher<'_, '_>, codec: Compression) {
    let bytes = batch(1024, codec);
    bencher
        .counter(BytesCount::new(BATCH_BYTES))
        .bench(|| batch::validate(black_box(bytes.clone()), &LIMITS).expect("valid"));
}

#[divan::bench(args = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd])]
fn validate_small_batch(bencher: Bencher<'_, '_>, codec: Compression) {
    let mut builder = BatchBuilder::new(BatchParams { compression: codec, ..BatchParams::default() });
    builder.append(0, None, Some(&value(1000, 1)), &[]);
    let bytes = builder.build();
    bencher.bench(|| batch::validate(black_box(bytes.clone()), &LIMITS).expect("valid"));
}

#[divan::bench(args = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd])]
fn compress(bencher: Bencher<'_, '_>, codec: Compression) {
    let bytes = batch(1024, Compression::None);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| {
        compression::compress(codec, None, black_box(&bytes[batch::HEADER_LEN..])).expect("compresses")
    });
}

#[divan::bench(args = [1024, 100])]
fn iterate_records(bencher: Bencher<'_, '_>, record_bytes: usize) {
    let batch = Batch::new(batch(record_bytes, Compression::None)).expect("a batch");
    bencher.counter(BytesCount::of_slice(batch.bytes())).bench(|| {
        black_box(&batch)
            .records(0)
            .expect("records")
            .map(|record| record.expect("a record").offset)
            .sum::<i64>()
    });
}

#[divan::bench]
fn build_1024(bencher: Bencher<'_, '_>) {
    let record = value(1000, 1);
    bencher.counter(BytesCount::new(BATCH_BYTES)).bench(|| {
        let mut builder = BatchBuilder::new(BatchParams::default());
        while builder.size_estimate() + 1024 < BATCH_BYTES {
            builder.append(0, Some(b"key"), Some(black_box(&record)), &[]);
        }
        builder.build()
    });
}

#[divan::bench(args = [None, Some(1_700_000_000_000)])]
fn assign(bencher: Bencher<'_, '_>, log_append_time: Option<i64>) {
    let validated = batch::validate(batch(1024, Compression::None), &LIMITS).expect("valid");
    bencher
        .with_inputs(|| validated.clone())
        .bench_values(|validated| batch::assign(validated, 42, 7, log_append_time));
}
