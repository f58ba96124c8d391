//! `acknowledged_data`: what was acknowledged is there. After a kill, every acknowledged record; after a loss of power,
//! everything that was synced, and with `flush.messages=n` all but the last n-1 of what was acknowledged. And an
//! acknowledgement is honest when it is given: the batch is in the log, as it was sent, and has been written.

use super::truth::LogTruth;
use super::{Acknowledged, PlannedPartition, Violation};
use crate::disk::Disk;
use crate::plan::CrashKind;
use sordini_protocol::batch::{BatchHeader, HEADER_LEN};

pub(super) fn violation(sentence: String) -> Violation {
    Violation { property: "acknowledged_data", sentence }
}

/// At the moment of an acknowledgement.
pub(super) fn check(
    acknowledged: &Acknowledged,
    planned: &PlannedPartition,
    log: &mut LogTruth,
    disk: &Disk,
    has_lost_ids: bool,
) -> Result<(), Violation> {
    let (dir, offset) = (&planned.dir, acknowledged.base_offset);
    let Some((_, batch)) = log.batch_at(offset).filter(|(_, batch)| batch.base_offset == offset) else {
        return Err(violation(format!(
            "{dir} acknowledged a batch at offset {offset}, where none was appended; the log ends at {}",
            log.end()
        )));
    };
    let stored = batch.contiguous();
    // With LogAppendTime the broker changes attributes and timestamps; offset and epoch it always changes.
    let same_header = |bytes: &[u8]| {
        let header = BatchHeader::parse(bytes).ok();
        header.map(|header| {
            (header.producer_id, header.producer_epoch, header.base_sequence, header.records_count)
        })
    };
    let compared_from = if planned.has_log_append_time { HEADER_LEN } else { CRC_AT };
    let is_it = stored.len() == acknowledged.sent.len()
        && stored[compared_from..] == acknowledged.sent[compared_from..]
        && same_header(&stored) == same_header(&acknowledged.sent);
    // The id is another producer's as well.
    let may_be_another = has_lost_ids && batch.header.has_producer_id();
    if !is_it && !may_be_another {
        return Err(violation(format!(
            "{dir} acknowledged a batch at offset {offset}, where another batch was appended"
        )));
    }
    let end = batch.end_offset;
    log.acknowledge(end);
    let applied_end = log.applied_end(disk);
    if applied_end < end {
        return Err(violation(format!(
            "{dir} acknowledged offsets {offset} to {end} with acks={} when the disk had only written up to \
             {applied_end}: a kill at this moment loses acknowledged records",
            acknowledged.acks
        )));
    }
    check_flushed(dir, log, planned.flush_messages, disk)
}

/// With `flush.messages=n`, at most n-1 acknowledged records are not durable. What a crash left in the page cache does
/// not count: Kafka does not sync it before it goes on, and acknowledges a batch of it that is sent again.
fn check_flushed(
    dir: &str,
    log: &mut LogTruth,
    flush_messages: Option<u64>,
    disk: &Disk,
) -> Result<(), Violation> {
    let Some(flush_messages) = flush_messages else { return Ok(()) };
    let durable_end = log.durable_end(disk).max(log.recovered_end());
    let acknowledged_end = log.acknowledged_end();
    if acknowledged_end - durable_end >= i64::try_from(flush_messages).unwrap_or(i64::MAX) {
        return Err(violation(format!(
            "{dir} is durable up to offset {durable_end} and has acknowledged up to {acknowledged_end} with \
             flush.messages={flush_messages}"
        )));
    }
    Ok(())
}

/// In the moment of a crash: what must be kept covers what was acknowledged.
pub(super) fn check_before_crash<'a>(
    dir: &str,
    log: &LogTruth,
    kind: CrashKind,
    mut planned: impl Iterator<Item = &'a PlannedPartition>,
) -> Result<(), Violation> {
    let must_keep = log.must_keep().expect("a crash was noted");
    let acknowledged_end = log.acknowledged_end();
    let (allowed, why) = match kind {
        CrashKind::Kill | CrashKind::Stop => (0, "a kill".to_owned()),
        CrashKind::PowerLoss => {
            let flush_messages =
                planned.find(|planned| &*planned.dir == dir).and_then(|planned| planned.flush_messages);
            let Some(messages) = flush_messages else { return Ok(()) };
            (messages - 1, format!("a loss of power with flush.messages={messages}"))
        }
    };
    let kept_end = must_keep.end.max(log.recovered_end());
    if acknowledged_end.saturating_sub(kept_end) > i64::try_from(allowed).unwrap_or(i64::MAX) {
        return Err(violation(format!(
            "{dir} has acknowledged up to offset {acknowledged_end}; {why} at this moment leaves only what is below {}",
            must_keep.end
        )));
    }
    Ok(())
}

/// Where in a batch the CRC lies; before it only what the broker assigns.
const CRC_AT: usize = 17;
