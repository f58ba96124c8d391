//! What the leader of the quorum knows of the other voters: how far they have the log, and when they were last heard of.

use super::membership::VoterChange;
use super::voters::{Voter, VoterKey, VoterSet};
use crate::ids::{NodeId, Offset};
use crate::museum::Museum;
use crate::time::{Instant, Now};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use sordini_protocol::wire::Uuid;

/// An observer that was silent for so long is forgotten.
const OBSERVER_SESSION: Duration = Duration::from_secs(300);

/// So many observers are remembered; whoever fetches says itself which one it is.
const OBSERVERS_MAX: usize = 1000;

/// A voter as its leader sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replica {
    /// Below it the voter has everything durable; `None` until it has fetched in this epoch. It may fall: the log that a
    /// fetch comes from is what the voter has then.
    pub(crate) end: Option<Offset>,
    /// When it last fetched, or said that it knows the leader.
    pub(crate) heard: Option<Instant>,
    /// When it last fetched, by the wall clock, for those who ask.
    pub(crate) fetched_ms: Option<i64>,
    /// When it was last known to have all that there was, by the wall clock.
    pub(crate) caught_up_ms: Option<i64>,
    /// The leader's log end when it last fetched, and when that was.
    pub(crate) last_fetch: Option<(Offset, i64)>,
}

/// The leader's own state, for one epoch.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    /// Offset of the LeaderChange record. What lies below it counts as committed only with something above it: by itself a
    /// majority that has it proves nothing (Raft section 5.4.2).
    pub(crate) epoch_start: Offset,
    /// The other voters.
    pub(crate) replicas: BTreeMap<NodeId, Replica>,
    /// Nodes without a vote that fetch, by themselves and the directory of their log.
    observers: BTreeMap<(NodeId, Uuid), Replica>,
    /// When the leader steps down if it has not heard from a majority until then.
    pub(crate) check_quorum_at: Instant,
    /// Voters that were heard of since the last majority was.
    heard: Vec<NodeId>,
    /// When voters that do not fetch are told again who leads.
    pub(crate) begin_epoch_at: Instant,
    /// A change of the voters that somebody waits for.
    pub(super) change: Option<VoterChange>,
    /// Who the others are that the configuration names, as they say themselves. They stand in the log from kraft.version 1
    /// on.
    pub(super) introduced: BTreeMap<NodeId, Voter>,
}

impl Replica {
    /// It fetched from `end` on when the leader's log ended at `log_end`.
    fn on_fetch(&mut self, end: Offset, log_end: Offset, now: Now) {
        self.end = Some(end);
        self.heard = Some(now.monotonic);
        self.fetched_ms = Some(now.wall_ms);
        if end >= log_end {
            self.caught_up_ms = Some(now.wall_ms);
        } else if let Some((then_end, then)) = self.last_fetch
            && end >= then_end
        {
            self.caught_up_ms = self.caught_up_ms.max(Some(then));
        }
        self.last_fetch = Some((log_end, now.wall_ms));
    }
}

impl Leader {
    pub(crate) fn new(
        epoch_start: Offset,
        others: Vec<NodeId>,
        check_quorum_at: Instant,
        begin_epoch_at: Instant,
    ) -> Self {
        let replicas = others.into_iter().map(|id| (id, Replica::default())).collect();
        let observers = BTreeMap::new();
        let (heard, change, introduced) = (Vec::new(), None, BTreeMap::new());
        Self { epoch_start, replicas, observers, check_quorum_at, heard, begin_epoch_at, change, introduced }
    }

    /// Others vote than before. Who followed without a vote and has one is where it was.
    pub(super) fn set_voters(&mut self, voters: &VoterSet, me: NodeId) {
        let before = core::mem::take(&mut self.replicas);
        for id in voters.others(me) {
            let key = voters.key(id);
            let known = before.get(&id).copied();
            let followed = || self.observers.remove(&(id, key.directory));
            self.replicas.insert(id, known.or_else(followed).unwrap_or_default());
        }
        self.heard.retain(|id| voters.contains(*id));
    }

    /// Whether a node without a vote had all that there was, not long ago.
    pub(super) fn has_caught_up(&self, key: VoterKey, now: Now) -> bool {
        let replica = self.observers.get(&(key.node, key.directory));
        replica.is_some_and(|replica| replica.caught_up_ms.is_some() && !is_forgotten(replica, now))
    }

    /// A node fetches, whatever it is answered. Answers whether a majority was heard of, the leader included if it `votes`,
    /// since that was last so.
    pub(crate) fn on_heard(
        &mut self,
        key: VoterKey,
        voters: &VoterSet,
        votes: bool,
        museum: Museum,
        now: Now,
    ) -> bool {
        let node = key.node;
        let is_voter = voters.has(key, museum);
        let Some(replica) = self.replicas.get_mut(&node).filter(|_| is_voter) else { return false };
        replica.heard = Some(now.monotonic);
        if !self.heard.contains(&node) {
            self.heard.push(node);
        }
        let is_majority = self.heard.len() + usize::from(votes) >= voters.majority();
        if is_majority {
            self.heard.clear();
        }
        is_majority
    }

    /// A node fetches from `end` on, and its log is this one up to there.
    pub(crate) fn on_fetch(&mut self, node: NodeId, end: Offset, log_end: Offset, now: Now) {
        if let Some(replica) = self.replicas.get_mut(&node) {
            replica.on_fetch(end, log_end, now);
        }
    }

    /// Somebody fetched from `end` on who has no vote, from a log in this directory.
    pub(crate) fn on_observer_fetch(
        &mut self,
        observer: (NodeId, Uuid),
        end: Offset,
        log_end: Offset,
        now: Now,
    ) {
        self.observers.retain(|_, replica| !is_forgotten(replica, now));
        if self.observers.len() >= OBSERVERS_MAX && !self.observers.contains_key(&observer) {
            let silent = self.observers.iter().min_by_key(|(_, replica)| replica.heard).map(|(id, _)| *id);
            silent.map(|id| self.observers.remove(&id));
        }
        self.observers.entry(observer).or_default().on_fetch(end, log_end, now);
    }

    /// Who fetches and has no vote, with the directory of its log.
    pub(crate) fn observers(&self, now: Now) -> impl Iterator<Item = (NodeId, Uuid, Replica)> {
        let heard_of = self.observers.iter().filter(move |(_, replica)| !is_forgotten(replica, now));
        heard_of.map(|((node, directory), replica)| (*node, *directory, *replica))
    }

    /// The offset below which a majority of the voters has everything durable, this node up to `own_end` if it votes.
    pub(crate) fn majority_end(&self, own_end: Option<Offset>, voters: &VoterSet) -> Offset {
        let others = self.replicas.values().map(|replica| replica.end.unwrap_or_default());
        let mut ends: Vec<Offset> = others.chain(own_end).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends[voters.majority() - 1]
    }

    /// The other voters, those first that have most of the log: whom a leader that goes would have follow it.
    pub(crate) fn successors(&self) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = self.replicas.keys().copied().collect();
        ids.sort_by_key(|id| core::cmp::Reverse(self.replicas[id].end));
        ids
    }
}

fn is_forgotten(observer: &Replica, now: Now) -> bool {
    observer.heard.is_none_or(|heard| now.monotonic.since(heard) > OBSERVER_SESSION)
}

#[cfg(test)]
mod tests {
    use super::super::voters::Address;
    use super::*;
    use sordini_protocol::wire::Str;

    fn voters(count: i32) -> VoterSet {
        let address = || Address::new("localhost", 9093);
        VoterSet::configured(&Str::from_static("C"), (1..=count).map(|id| (NodeId(id), address())))
    }

    fn now(wall_ms: i64) -> Now {
        Now { monotonic: Instant(0), wall_ms }
    }

    #[test]
    fn the_majority_end_is_what_more_than_half_of_the_voters_have() {
        for (ends, majority_end) in [
            (&[][..], 10),
            (&[Some(7)], 7),
            (&[Some(7), None], 7),
            (&[None, None], 0),
            (&[Some(12), Some(12)], 12),
            (&[Some(9), Some(8), Some(3), None], 8),
        ] {
            let voters = voters(1 + i32::try_from(ends.len()).expect("a few"));
            let mut leader = Leader::new(Offset(0), voters.others(NodeId(1)), Instant(0), Instant(0));
            for (replica, end) in leader.replicas.values_mut().zip(ends) {
                replica.end = end.map(Offset);
            }
            assert_eq!(leader.majority_end(Some(Offset(10)), &voters), Offset(majority_end), "{ends:?}");
        }
    }

    #[test]
    fn a_majority_is_heard_of_when_half_of_the_others_have_fetched_since_the_last_time() {
        let voters = voters(5);
        let mut leader = Leader::new(Offset(0), voters.others(NodeId(1)), Instant(0), Instant(0));
        let key = |id| VoterKey { node: NodeId(id), directory: Uuid::ZERO };
        let mut fetch = |id| leader.on_heard(key(id), &voters, true, Museum::NONE, now(0));
        assert!(!fetch(2));
        assert!(!fetch(2), "the same voter again");
        assert!(!fetch(9), "no voter");
        assert!(fetch(3));
        assert!(!fetch(3), "the next majority");
        assert!(fetch(4));
    }

    #[test]
    fn a_voter_that_has_reached_the_end_as_of_its_last_fetch_was_caught_up_then() {
        let voters = voters(2);
        let mut leader = Leader::new(Offset(0), voters.others(NodeId(1)), Instant(0), Instant(0));
        leader.on_fetch(NodeId(2), Offset(0), Offset(5), now(100));
        assert_eq!(leader.replicas[&NodeId(2)].caught_up_ms, None);
        leader.on_fetch(NodeId(2), Offset(5), Offset(8), now(200));
        assert_eq!(leader.replicas[&NodeId(2)].caught_up_ms, Some(100));
        leader.on_fetch(NodeId(2), Offset(8), Offset(8), now(300));
        assert_eq!(leader.replicas[&NodeId(2)].caught_up_ms, Some(300));
    }

    #[test]
    fn an_observer_is_forgotten_when_it_was_silent_for_five_minutes() {
        let voters = voters(2);
        let mut leader = Leader::new(Offset(0), voters.others(NodeId(1)), Instant(0), Instant(0));
        let at = |seconds: u64| Now { monotonic: Instant(seconds * 1_000_000), wall_ms: 0 };
        let (first, second) = ((NodeId(7), Uuid([7; 16])), (NodeId(8), Uuid([8; 16])));
        leader.on_observer_fetch(first, Offset(3), Offset(3), at(0));
        leader.on_observer_fetch(second, Offset(1), Offset(3), at(200));
        let seen = |leader: &Leader, seconds: u64| -> Vec<i32> {
            leader.observers(at(seconds)).map(|(node, ..)| node.0).collect()
        };
        assert_eq!(seen(&leader, 300), [7, 8]);
        assert_eq!(seen(&leader, 301), [8]);
        leader.on_observer_fetch(second, Offset(3), Offset(3), at(400));
        assert_eq!(leader.observers.len(), 1, "what is forgotten takes no room");
    }
}
