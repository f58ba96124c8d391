//! `log_prefix`: what is recovered after a crash is a prefix of what was appended before it, batch by batch and byte by
//! byte, at the same offsets; and it has in it everything that the crash could not take (S1).

use super::truth::{LogTruth, is_going, len_after_truncations};
use super::{Violation, acknowledged_data};
use crate::disk::Disk;
use crate::plan::FaultKind;
use bytes::Bytes;
use sordini_protocol::batch::Batch;

pub(super) fn violation(sentence: String) -> Violation {
    Violation { property: "log_prefix", sentence }
}

/// Compares the log files with the truth. The node has finished recovering the log: to `recovered_end` if it has said so
/// by appending there. Answers 1 if something is gone, 0 if not.
pub(super) fn check(
    dir: &str,
    log: &mut LogTruth,
    disk: &Disk,
    recovered_end: Option<i64>,
) -> Result<u64, Violation> {
    let must_keep = log.must_keep().expect("only a log that went through a crash is verified");
    let count = compare(dir, log, disk)?;
    let end = count.checked_sub(1).map_or(0, |last| log.batches()[last].end_offset);
    if let Some(said) = recovered_end.filter(|said| *said != end) {
        return Err(violation(format!(
            "{dir} was recovered up to offset {end}, and the node goes on appending at {said}"
        )));
    }
    if end < must_keep.end {
        let what = match must_keep.kind {
            FaultKind::Kill | FaultKind::Stop => "killed when everything below {} had been written",
            FaultKind::PowerLoss => "without power when everything below {} had been synced",
        };
        let what = what.replace("{}", &must_keep.end.to_string());
        return Err(acknowledged_data::violation(format!(
            "{dir} ends at offset {end} after recovery; the node was {what}"
        )));
    }
    let is_shorter = count < log.batches().len();
    log.recovered(count, disk);
    Ok(u64::from(is_shorter))
}

/// At a clean stop the log files hold all that was appended, and it is durable.
pub(super) fn check_at_clean_stop(dir: &str, log: &mut LogTruth, disk: &Disk) -> Result<(), Violation> {
    let count = compare(dir, log, disk)?;
    let appended = log.batches().len();
    if count != appended {
        return Err(violation(format!("{dir} has {count} of {appended} batches after a clean stop")));
    }
    let (durable_end, end) = (log.durable_end(disk), log.end());
    if durable_end != end {
        return Err(violation(format!(
            "{dir} ends at offset {end} and is durable up to {durable_end} after a clean stop, which says that no \
             recovery is needed"
        )));
    }
    Ok(())
}

/// How many batches of the truth the log files hold, which must hold nothing else.
fn compare(dir: &str, log: &LogTruth, disk: &Disk) -> Result<usize, Violation> {
    let mut count: usize = 0;
    for file in disk.paths_beneath(dir) {
        let Some(name) = file.strip_suffix(".log") else { continue };
        if is_going(disk, file) {
            continue;
        }
        let next_offset = count.checked_sub(1).map_or(0, |last| log.batches()[last].end_offset);
        let named = name.rsplit('/').next().and_then(|name| name.parse::<i64>().ok());
        if named != Some(next_offset) {
            return Err(violation(format!("{file} follows a segment that ends at offset {next_offset}")));
        }
        let contents = disk.contents(file).expect("it was listed");
        let mut rest = contents.read(0, len_after_truncations(disk, file));
        while !rest.is_empty() {
            let found = batch_of(&mut rest);
            let Some(truth) = log.batches().get(count) else {
                return Err(violation(format!(
                    "{file} has {} bytes more than was ever appended, or than recovery may leave",
                    found.map_or(rest.len(), |batch| batch.len() + rest.len())
                )));
            };
            if !found.is_some_and(|found| truth.is(&found)) {
                return Err(violation(format!(
                    "{file} differs after recovery at position {} from the batch of offsets {} to {} that was \
                     appended there",
                    truth.position, truth.base_offset, truth.end_offset
                )));
            }
            count += 1;
        }
    }
    Ok(count)
}

fn batch_of(rest: &mut Bytes) -> Option<Bytes> {
    Batch::first_of(rest).ok().flatten().map(Batch::into_bytes)
}
