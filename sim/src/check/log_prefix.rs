//! `log_prefix`: what is recovered after a crash is a prefix of what was appended before it, batch by batch and byte by
//! byte, at the same offsets; and it has in it everything that the crash could not take (S1).

use super::truth::{
    Compared, ComparedFile, Damage, Extent, LogTruth, is_going, len_after_truncations, segment_base,
    segments_to_be,
};
use super::{Violation, acknowledged_data};
use crate::disk::Disk;
use crate::plan::CrashKind;

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
    let mut compared = Compared::new();
    let found = compare(dir, log, disk, None, &mut compared)?;
    let (end, limit) = (found.end, log.start_limit());
    // Of what was never durable the front may go as well as the end.
    if found.first_base > limit && must_keep.end > limit {
        return Err(violation(format!(
            "{dir} begins at offset {} after recovery; from {limit} on nothing may be missing",
            found.first_base
        )));
    }
    if let Some(said) = recovered_end.filter(|said| *said != end) {
        return Err(violation(format!(
            "{dir} was recovered up to offset {end}, and the node goes on appending at {said}"
        )));
    }
    if end < must_keep.end {
        let what = match must_keep.kind {
            CrashKind::Kill | CrashKind::Stop => "killed when everything below {} had been written",
            CrashKind::PowerLoss => "without power when everything below {} had been synced",
        };
        let what = what.replace("{}", &must_keep.end.to_string());
        return Err(acknowledged_data::violation(format!(
            "{dir} ends at offset {end} after recovery; the node was {what}"
        )));
    }
    let is_shorter = found.count < log.batches().len();
    log.recovered(found, compared, disk);
    Ok(u64::from(is_shorter))
}

/// What a check after damage came to.
pub(super) enum Damaged {
    /// All is there, or what a recovery that looks through it may have cut off is not, as the sentences say.
    Explained(Vec<String>),
    /// The damage goes so deep that nothing can be asked of the log any more.
    Abandoned(String),
}

/// As [`check`], of a log that was damaged before the node looked at it: what is not damaged stays, and nothing is cut off
/// but from a damaged batch on that recovery has looked at.
pub(super) fn check_damaged(
    dir: &str,
    log: &mut LogTruth,
    disk: &Disk,
    damage: &Damage,
) -> Result<Damaged, Violation> {
    let must_keep = log.must_keep().expect("a log that was looked at for damage is verified");
    let abandoned =
        |why: String| Ok(Damaged::Abandoned(format!("{dir}, of which nothing can be said: {why}")));
    let found = match compare(dir, log, disk, Some(damage), &mut Compared::new()) {
        Ok(found) => found,
        Err(violation) if damage.batches.is_empty() && !damage.is_deep => return Err(violation),
        Err(violation) => return abandoned(violation.sentence),
    };
    if found.first_base > log.start_limit() && must_keep.end > log.start_limit() {
        return abandoned(format!("it begins at offset {}", found.first_base));
    }
    let (end, cut) = (found.end, log.batches().get(found.count));
    let mut losses = Vec::new();
    if cut.is_some() && end < must_keep.end {
        // A damaged batch may end the log, or pass for a whole one of other offsets and end it at the next.
        let is_looked_through =
            |index: &usize| segment_base(&log.batches()[*index].file) >= damage.looked_through_from;
        if !damage.is_deep && !damage.batches.range(..=found.count).any(is_looked_through) {
            return Err(acknowledged_data::violation(format!(
                "{dir} ends at offset {end} after recovery; everything below {} was there but for damage to the batches \
                 at {:?}, and recovery looks through segments from {} on alone",
                must_keep.end,
                damage.batches.iter().map(|index| log.batches()[*index].base_offset).collect::<Vec<_>>(),
                damage.looked_through_from
            )));
        }
        losses.push(format!("{dir} from offset {end} to {}: damage ends the log there", must_keep.end));
    }
    log.recovered(found, Compared::new(), disk);
    Ok(Damaged::Explained(losses))
}

/// At a clean stop the log files hold all that was appended, and it is durable.
pub(super) fn check_at_clean_stop(dir: &str, log: &mut LogTruth, disk: &Disk) -> Result<(), Violation> {
    let Extent { first_base, count, .. } = compare(dir, log, disk, None, &mut Compared::new())?;
    let appended = log.batches().len();
    if first_base != log.first_base() {
        return Err(violation(format!(
            "{dir} begins with the segment {first_base} after a clean stop, where {} was the first that was not deleted",
            log.first_base()
        )));
    }
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
    let mut segments = segments_to_be(dir, disk).into_iter();
    if let Some((_, file)) = segments.find(|(_, file)| disk.has_unsynced_cut(file)) {
        return Err(violation(format!(
            "what was cut off {file} may be there again after a loss of power, and a clean stop says that no recovery \
             is needed"
        )));
    }
    Ok(())
}

/// What the log files hold, which must be of the truth and nothing else. What was compared goes into `compared`.
fn compare(
    dir: &str,
    log: &LogTruth,
    disk: &Disk,
    damage: Option<&Damage>,
    compared: &mut Compared,
) -> Result<Extent, Violation> {
    let segments = segments_to_be(dir, disk);
    let first_base = segments.first().map_or_else(|| log.first_base(), |(base, _)| *base);
    let deleted = log.batches().partition_point(|batch| batch.end_offset <= first_base);
    let mut found = Extent { first_base, deleted, count: deleted, end: first_base };
    for (base, file) in segments {
        if base != found.end {
            return Err(violation(format!("{file} follows a segment that ends at offset {}", found.end)));
        }
        // What is about to be renamed away from this name is not of this log.
        let Some(contents) = disk.contents(&file).filter(|_| !is_going(disk, &file)) else { continue };
        let len = len_after_truncations(disk, &file);
        let mut position = 0;
        let first = found.count;
        // What was compared before and has not changed since is what it was.
        if damage.is_none()
            && let Some(before) = log.compared.get(&file)
            && (before.stamp, before.first) == (contents.stamp(), first)
            && before.len <= len
        {
            position = before.len;
            found.count = before.count;
            found.end = log.end_of(before.count);
        }
        let mut is_in_place = true;
        while position < len {
            let truth = log.batches().get(found.count);
            let is_damaged = damage.is_some_and(|damage| damage.batches.contains(&found.count));
            if let Some(truth) = truth
                && truth.len() <= len - position
                && ((is_damaged && (&*truth.file, truth.position) == (&*file, position))
                    || truth.is_at(position, contents))
            {
                is_in_place &= (&*truth.file, truth.position) == (&*file, position);
                position += truth.len();
                found.count += 1;
                found.end = truth.end_offset;
                continue;
            }
            let Some(truth) = truth else {
                return Err(violation(format!(
                    "{file} has {} bytes more than was ever appended, or than recovery may leave",
                    len - position
                )));
            };
            return Err(violation(format!(
                "{file} differs after recovery at position {} from the batch of offsets {} to {} that was appended there",
                truth.position, truth.base_offset, truth.end_offset
            )));
        }
        if is_in_place && found.count > first {
            let part = ComparedFile { stamp: contents.stamp(), len, first, count: found.count };
            compared.insert(file, part);
        }
    }
    Ok(found)
}
