//! `metadata_high_watermark`: what a voter takes for committed a majority has, durable (K5); a leader moves its high watermark
//! only beyond where its own epoch begins (K6), and tells nobody of it before, if there is anything below; and in one life of a process it does not fall.

use super::voter_log::VoterLog;
use super::voter_set::{VoterKey, VoterSet};
use super::{Seen, Voter, id_of};
use crate::check::Violation;
use crate::disk::Disk;
use sordini_core::node::QuorumRole;

fn violation(sentence: String) -> Violation {
    Violation { property: "metadata_high_watermark", sentence }
}

pub(super) fn check_view(node: usize, before: Option<&Seen>, seen: &Seen) -> Result<(), Violation> {
    let Some(high_watermark) = seen.high_watermark else { return Ok(()) };
    let last = before.and_then(|before| before.high_watermark);
    if let Some(last) = last.filter(|last| *last > high_watermark) {
        return Err(violation(format!("node {node} takes {high_watermark} for committed, and took {last}")));
    }
    if high_watermark > seen.log_end {
        return Err(violation(format!(
            "node {node} takes for committed what lies below {high_watermark}, and its log ends at {}",
            seen.log_end
        )));
    }
    if seen.role == QuorumRole::Leader
        && last != Some(high_watermark)
        && high_watermark > 0
        && let Some(start) = seen.epoch_start.filter(|start| *start >= high_watermark)
    {
        return Err(violation(format!(
            "node {node} leads epoch {}, which begins at {start}, and takes {high_watermark} for committed: all below is of earlier \
             epochs, and another leader may lack it and replace it",
            seen.epoch
        )));
    }
    Ok(())
}

/// A node answers a fetch with a high watermark, or with none. What a leader had before it led may be less than its followers
/// have: an Apache Kafka broker that is told so gives up.
pub(super) fn check_told(node: usize, seen: &Seen, told: i64) -> Result<(), Violation> {
    if seen.role == QuorumRole::Leader
        && told > 0
        && let Some(start) = seen.epoch_start.filter(|start| *start >= told)
    {
        return Err(violation(format!(
            "node {node} leads epoch {}, which begins at {start}, and tells that {told} is committed",
            seen.epoch
        )));
    }
    Ok(())
}

/// Nobody has said before that so much is committed.
pub(super) fn check_majority<'a>(
    node: usize,
    seen: &Seen,
    voting: &VoterSet,
    voters: &mut [Voter],
    gone: &[(VoterKey, VoterLog, i64)],
    disk_of: impl Fn(usize) -> &'a Disk,
) -> Result<(), Violation> {
    let Some(high_watermark) = seen.high_watermark else { return Ok(()) };
    let Some(last) = voters[node].log.ending_at(high_watermark).cloned() else {
        return Err(violation(format!(
            "node {node} takes for committed what lies below {high_watermark}, where no batch of its log ends"
        )));
    };
    let is_same = |log: &VoterLog| log.ending_at(high_watermark).is_some_and(|batch| batch.is(&last));
    let mut having = Vec::new();
    for (other, voter) in voters.iter_mut().enumerate() {
        let is_voter = voting.has((id_of(other), voter.directory));
        if is_voter && is_same(&voter.log) && voter.log.durable_end(disk_of(other)) >= high_watermark {
            having.push(id_of(other));
        }
    }
    // Whose disk is gone has said what it had, and will not vote as if it had never had it.
    let had =
        gone.iter().filter(|(key, log, end)| voting.has(*key) && *end >= high_watermark && is_same(log));
    having.extend(had.map(|((id, _), ..)| *id));
    if voting.is_majority(having.len()) {
        return Ok(());
    }
    Err(violation(format!(
        "node {node} takes for committed in epoch {} what lies below {high_watermark}, and of the voters {voting} these have it durable: {having:?}",
        seen.epoch
    )))
}
