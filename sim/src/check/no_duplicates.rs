//! `no_duplicates`: what an idempotent producer sent is in the log once at most, however often it was sent (T6).

use super::Violation;
use super::truth::LogTruth;
use sordini_protocol::batch::Batch;
use std::collections::{BTreeMap, BTreeSet};

/// Looks at every record of every log. A value begins with its number, whose upper 24 bits are the client's.
pub(super) fn check<'a>(
    logs: impl Iterator<Item = (&'a str, &'a LogTruth)>,
    idempotent_clients: &BTreeSet<u64>,
) -> Result<(), Violation> {
    let violation = |sentence| Err(Violation { property: "no_duplicates", sentence });
    let mut seen: BTreeMap<u64, (&str, i64)> = BTreeMap::new();
    for (dir, log) in logs {
        for batch in log.batches() {
            let records = Batch::new(batch.contiguous()).and_then(|batch| batch.records(1 << 24));
            let records = match records {
                Ok(records) => records,
                Err(error) => {
                    return violation(format!(
                        "{dir} has a batch at {} that is none: {error}",
                        batch.base_offset
                    ));
                }
            };
            for record in records {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => {
                        return violation(format!(
                            "{dir} has a bad record from {} on: {error}",
                            batch.base_offset
                        ));
                    }
                };
                let value = record.value.as_deref().and_then(|value| value.first_chunk::<8>());
                let Some(value) = value.map(|bytes| u64::from_be_bytes(*bytes)) else { continue };
                if !idempotent_clients.contains(&(value >> 40)) {
                    continue;
                }
                if let Some((other, offset)) = seen.insert(value, (dir, record.offset)) {
                    return violation(format!(
                        "the value {value:#x} of an idempotent producer is at offset {offset} of {other} and at offset \
                         {} of {dir}",
                        record.offset
                    ));
                }
            }
        }
    }
    Ok(())
}
