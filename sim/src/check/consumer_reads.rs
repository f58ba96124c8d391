//! `consumer_reads`: what a consumer is handed at an offset is what was appended there, byte by byte, in the order of
//! offsets and without a gap, beginning with what it asked for and ending below the high watermark.

use super::Violation;
use super::truth::LogTruth;
use crate::disk::Disk;
use sordini_protocol::batch::HEADER_LEN;
use sordini_protocol::messages::fetch_response::PartitionData;
use sordini_protocol::wire::Records;

pub(super) fn check(
    dir: &str,
    log: &LogTruth,
    partition: &PartitionData,
    requested: Option<i64>,
    disk: &Disk,
) -> Result<(), Violation> {
    let violation = |sentence| Err(Violation { property: "consumer_reads", sentence });
    let Some(Records::Bytes(records)) = &partition.records else { return Ok(()) };
    if records.is_empty() {
        return Ok(());
    }
    // What the disk has damaged is handed out as it lies there: it is the reader's checksum that tells.
    let is_damaged = disk.is_damaged();
    let base_offset = records.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes));
    let Some((first, batch)) = base_offset.and_then(|offset| log.batch_at(offset)) else {
        return if is_damaged {
            Ok(())
        } else {
            violation(format!("{dir} handed out records at offset {base_offset:?}, where there are none"))
        };
    };
    if let Some(requested) = requested
        .filter(|requested| !is_damaged && !(batch.base_offset..batch.end_offset).contains(requested))
    {
        return violation(format!(
            "{dir} was asked for offset {requested} and handed out the batch of offsets {} to {}",
            batch.base_offset, batch.end_offset
        ));
    }
    let mut rest = &records[..];
    for batch in &log.batches()[first..] {
        let len = rest.len().min(usize::try_from(batch.len()).unwrap_or(usize::MAX));
        let (found, after) = rest.split_at(len);
        if !batch.begins_with(found) {
            if is_damaged {
                return Ok(());
            }
            return violation(format!(
                "{dir} handed out for offsets {} to {} what differs from what was appended there",
                batch.base_offset, batch.end_offset
            ));
        }
        let is_whole = len as u64 == batch.len();
        if batch.end_offset > partition.high_watermark && (is_whole || len > HEADER_LEN) {
            return violation(format!(
                "{dir} handed out offsets {} to {} beyond the high watermark {}",
                batch.base_offset, batch.end_offset, partition.high_watermark
            ));
        }
        rest = after;
        if rest.is_empty() {
            return Ok(());
        }
    }
    violation(format!("{dir} handed out {} bytes beyond the end of the log", rest.len()))
}
