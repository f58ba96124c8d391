//! `single_leader`: an epoch has one leader, in whoever's words, and that one leads it in one life of its process (K1).

use super::{Moment, Seen, id_of};
use crate::check::Violation;
use sordini_core::node::QuorumRole;
use std::collections::BTreeMap;

/// Who led each epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaders {
    named: BTreeMap<i32, i32>,
    lives: BTreeMap<i32, (usize, u64)>,
}

impl Leaders {
    pub(super) fn check(&mut self, moment: Moment, seen: &Seen) -> Result<(), Violation> {
        let violation = |sentence| Err(Violation { property: "single_leader", sentence });
        let Moment { node, life, .. } = moment;
        let epoch = seen.epoch;
        let leads = seen.role == QuorumRole::Leader;
        let leader = if leads { Some(id_of(node)) } else { seen.leader };
        let Some(leader) = leader else { return Ok(()) };
        let first = *self.named.entry(epoch).or_insert(leader);
        if first != leader {
            return violation(format!(
                "epoch {epoch} is led by {leader}, as node {node} says, and was led by {first}"
            ));
        }
        if leads {
            let first = *self.lives.entry(epoch).or_insert((node, life));
            if first != (node, life) {
                return violation(format!(
                    "node {node} leads epoch {epoch} in its life {life}, and led it in its life {}",
                    first.1
                ));
            }
        }
        Ok(())
    }
}
