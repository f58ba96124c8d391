//! `metadata_epochs`: the epoch that a voter knows of never falls, and what was durable of it survives its process (K7); what
//! it is in its epoch fits what else it says, and follows from what it was (K16).

use super::{Seen, id_of};
use crate::check::Violation;
use sordini_core::node::QuorumRole;

pub(super) fn check(node: usize, before: Option<&Seen>, seen: &Seen, durable: i32) -> Result<(), Violation> {
    let violation = |sentence| Err(Violation { property: "metadata_epochs", sentence });
    let floor = before.map_or(durable, |before| before.epoch);
    if seen.epoch < floor {
        return violation(format!("node {node} is in epoch {}, and was in {floor}", seen.epoch));
    }
    let me = id_of(node);
    let fits = match seen.role {
        QuorumRole::Leader => seen.leader == Some(me) && seen.epoch_start.is_some(),
        QuorumRole::Follower => seen.leader.is_some_and(|leader| leader != me),
        QuorumRole::Candidate => seen.leader.is_none() && seen.voted == Some(me),
        QuorumRole::Unattached | QuorumRole::Prospective | QuorumRole::Resigned => true,
    };
    if !fits {
        return violation(format!("node {node} cannot be what it says: {seen:?}"));
    }
    if let Some(before) = before.filter(|before| before.epoch == seen.epoch)
        && !may_become(before.role, seen.role)
    {
        return violation(format!(
            "node {node} was {:?} in epoch {} and becomes {:?} in it",
            before.role, seen.epoch, seen.role
        ));
    }
    Ok(())
}

/// Whether a voter may become that within one epoch.
const fn may_become(was: QuorumRole, is: QuorumRole) -> bool {
    use QuorumRole::{Candidate, Follower, Leader, Prospective, Resigned, Unattached};
    match was {
        Leader => matches!(is, Leader | Resigned),
        Resigned => matches!(is, Resigned | Unattached | Prospective),
        Follower => matches!(is, Follower | Prospective | Unattached),
        Candidate => matches!(is, Candidate | Leader | Follower | Prospective | Unattached),
        Prospective | Unattached => matches!(is, Prospective | Unattached | Follower),
    }
}
