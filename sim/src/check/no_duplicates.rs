//! `no_duplicates`: what an idempotent producer sent under one epoch is in the log once at most, however often it was sent,
//! and the sequence numbers of an id and epoch follow one another without a gap (T6).
//!
//! Under two epochs a value may be there twice: the snapshot of the producers' state holds the last batch of each, as
//! Kafka's does, so that after a restart the resending of an earlier one is out of order, and the Java client then raises
//! its epoch and sends it as new.

use super::Violation;
use super::truth::LogTruth;
use sordini_protocol::batch::{Batch, BatchHeader};
use std::collections::{BTreeMap, BTreeSet};

/// Where a value was found.
#[derive(Clone, Copy)]
struct Place<'a> {
    dir: &'a str,
    offset: i64,
    producer: (i64, i16),
}

/// Looks at every record of every log. A value begins with its number, whose upper 24 bits are the client's. Answers how
/// many values are there twice because of a raised epoch.
pub(super) fn check<'a>(
    logs: impl Iterator<Item = (&'a str, &'a LogTruth)>,
    idempotent_clients: &BTreeSet<u64>,
) -> Result<u64, Violation> {
    let violation = |sentence| Err(Violation { property: "no_duplicates", sentence });
    let mut seen: BTreeMap<u64, Place<'_>> = BTreeMap::new();
    let mut twice = 0;
    for (dir, log) in logs {
        let mut sequences: BTreeMap<(i64, i16), i32> = BTreeMap::new();
        for batch in log.batches() {
            let bad = |error: &dyn std::fmt::Display| {
                violation(format!("{dir} has at {} what is no batch: {error}", batch.base_offset))
            };
            let batch = match Batch::new(batch.contiguous()) {
                Ok(batch) => batch,
                Err(error) => return bad(&error),
            };
            let header = *batch.header();
            if let Some(sentence) = follow(dir, &header, &mut sequences) {
                return violation(sentence);
            }
            let records = match batch.records(1 << 24) {
                Ok(records) => records,
                Err(error) => return bad(&error),
            };
            for record in records {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => return bad(&error),
                };
                let value = record.value.as_deref().and_then(|value| value.first_chunk::<8>());
                let Some(value) = value.map(|bytes| u64::from_be_bytes(*bytes)) else { continue };
                if !idempotent_clients.contains(&(value >> 40)) {
                    continue;
                }
                let place = Place {
                    dir,
                    offset: record.offset,
                    producer: (header.producer_id, header.producer_epoch),
                };
                let Some(other) = seen.insert(value, place) else { continue };
                let (one, two) = (other.producer, place.producer);
                if other.dir == dir && one.0 == two.0 && one.1 < two.1 {
                    twice += 1;
                    continue;
                }
                return violation(format!(
                    "the value {value:#x} of an idempotent producer is at offset {} of {}, with producer id and epoch \
                     {one:?}, and at offset {} of {dir}, with {two:?}",
                    other.offset, other.dir, place.offset
                ));
            }
        }
    }
    Ok(twice)
}

/// The sequence numbers of an id and epoch follow one another.
fn follow(dir: &str, header: &BatchHeader, sequences: &mut BTreeMap<(i64, i16), i32>) -> Option<String> {
    if header.producer_id < 0 {
        return None;
    }
    let producer = (header.producer_id, header.producer_epoch);
    let before = sequences.insert(producer, header.last_sequence());
    let expected = match before {
        Some(i32::MAX) => 0,
        Some(last) => last + 1,
        None => return None,
    };
    (header.base_sequence != expected).then(|| {
        format!(
            "{dir} has at offset {} the sequence {} of producer id and epoch {producer:?}, where {expected} follows",
            header.base_offset, header.base_sequence
        )
    })
}
