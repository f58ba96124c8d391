//! `check_quorum`: a leader that a majority has not asked anything for so long does not lead any more (K19). All times are of
//! its own clock.

use super::voter_set::{VoterKey, VoterSet};
use super::{Moment, Seen};
use crate::check::Violation;
use crate::plan::Plan;
use sordini_core::node::QuorumRole;
use std::collections::BTreeMap;

/// `controller.quorum.fetch.timeout.ms` where nobody sets it.
const FETCH_TIMEOUT_MS: u64 = 2_000;
/// What is due at a time may come behind other things of that time.
const SLACK_US: u64 = 20_000;

/// How long a voter may lead without the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    us: u64,
}

impl Limit {
    pub(super) fn of(plan: &Plan, node: usize) -> Self {
        let set = plan.nodes[node].properties.get("controller.quorum.fetch.timeout.ms");
        let fetch_timeout_ms = set.and_then(|text| text.parse().ok()).unwrap_or(FETCH_TIMEOUT_MS);
        Self { us: fetch_timeout_ms * 1_500 }
    }
}

/// When a leader heard of each of the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Contact {
    /// Since when it leads, in which epoch.
    leads_since: Option<(i32, u64)>,
    /// Where the voters stand by which it counts, and since when it does.
    counts_since: (Option<i64>, u64),
    heard: BTreeMap<VoterKey, u64>,
}

impl Contact {
    pub(super) fn note(&mut self, moment: Moment, from: VoterKey) {
        self.heard.insert(from, moment.clock.0);
    }

    /// The node does not lead.
    pub(super) const fn end(&mut self) {
        self.leads_since = None;
    }

    /// Looks at a node that leads.
    pub(super) fn check(
        &mut self,
        moment: Moment,
        before: Option<Seen>,
        seen: &Seen,
        limit: Limit,
        own: VoterKey,
        (voters, named_at): (&VoterSet, Option<i64>),
    ) -> Result<(), Violation> {
        let leads = |seen: &Seen| seen.role == QuorumRole::Leader;
        let now = moment.clock.0;
        if !before.is_some_and(|before| leads(&before) && before.epoch == seen.epoch) {
            self.leads_since = Some((seen.epoch, now));
        }
        if self.counts_since.0 != named_at {
            // Who was alone has heard of nobody yet.
            self.counts_since = (named_at, now);
        }
        // How many others make a majority with it, if it votes, or without it.
        let others = voters.len() / 2 + 1 - usize::from(voters.has(own));
        let Some((_, since)) = self.leads_since.filter(|_| others > 0) else { return Ok(()) };
        let heard = self.heard.iter().filter(|(key, _)| **key != own && voters.has(**key));
        let mut heard: Vec<u64> = heard.map(|(_, at)| *at).collect();
        heard.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        let majority = heard.get(others - 1).copied().unwrap_or(0);
        let last = majority.max(since).max(self.counts_since.1).max(moment.paused_until.0);
        // Kafka's leader waits for one and a half fetch time-outs from when it last had heard of enough. Where that takes
        // several, the first of them may have asked just after, and then not any more.
        let rounds = if others > 1 { 2 } else { 1 };
        if now <= last + limit.us * rounds + SLACK_US {
            return Ok(());
        }
        Err(Violation {
            property: "check_quorum",
            sentence: format!(
                "node {} leads epoch {}, and has not heard of a majority for {} us",
                moment.node,
                seen.epoch,
                now - last
            ),
        })
    }
}
