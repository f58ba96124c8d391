//! `durable_fetch`: a voter that asks for more has what is before it, durable: to ask is to acknowledge (K15). And what it
//! takes for durable, is.

use super::Seen;
use super::voter_log::VoterLog;
use crate::check::Violation;
use crate::disk::Disk;

fn violation(sentence: String) -> Violation {
    Violation { property: "durable_fetch", sentence }
}

pub(super) fn check_fetch(
    node: usize,
    offset: i64,
    log: &mut VoterLog,
    disk: &Disk,
) -> Result<(), Violation> {
    let durable_end = log.durable_end(disk);
    if offset <= durable_end {
        return Ok(());
    }
    Err(violation(format!(
        "node {node} asks for what lies from {offset} on, and its log is durable up to {durable_end}"
    )))
}

pub(super) fn check_view(node: usize, seen: &Seen, log: &mut VoterLog, disk: &Disk) -> Result<(), Violation> {
    if seen.log_end != log.end() {
        return Err(violation(format!(
            "node {node} believes that its log ends at {}, and it ends at {}",
            seen.log_end,
            log.end()
        )));
    }
    let durable_end = log.durable_end(disk);
    if seen.flushed_end > durable_end {
        return Err(violation(format!(
            "node {node} believes that its log is durable up to {}, and it is up to {durable_end}",
            seen.flushed_end
        )));
    }
    Ok(())
}
