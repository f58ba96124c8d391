//! What a leader knows of the other replicas: how far each is, who is in sync, and what change of that it has proposed
//! (KIP-497, KIP-841, KIP-903, KIP-966).
//!
//! The controller decides who is in sync. From the moment the leader proposes a change until it hears of it, it goes by the
//! larger of both sets, the *maximal* ISR: whichever of them holds, no record counts as replicated that one of them lacks.

use crate::controller::image::PartitionState;
use crate::ids::{BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch};
use crate::museum::{Exhibit, Museum};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use sordini_protocol::error_code::ErrorCode;

/// Another replica, as its fetches tell.
#[derive(Clone, Copy, Debug)]
struct Follower {
    /// Where its log ends; not known before its first fetch in this epoch.
    end: Option<Offset>,
    /// Where its log begins, as far as it has said where that ends.
    log_start: Offset,
    /// When it had last all that there was.
    caught_up_at: Option<Instant>,
    /// When it fetched last, and where the leader's log ended then.
    last_fetch: Option<(Instant, Offset)>,
    /// The life of its broker that fetches; `None` where the request did not say.
    broker_epoch: Option<BrokerEpoch>,
    /// Whether the cluster takes that life for one that may be in sync.
    is_eligible: bool,
}

impl Follower {
    /// At the beginning of an epoch nothing is known, but that somebody in sync was so a moment ago.
    fn unheard(is_in_sync: bool, now: Instant) -> Self {
        Self {
            end: None,
            log_start: Offset(0),
            caught_up_at: is_in_sync.then_some(now),
            last_fetch: None,
            broker_epoch: None,
            is_eligible: false,
        }
    }

    /// Whether it has all that there is, or had so within `lag_max`. To fetch is not enough.
    fn is_caught_up(&self, leader_end: Offset, lag_max: Duration, now: Instant) -> bool {
        self.end == Some(leader_end) || self.caught_up_at.is_some_and(|at| now.since(at) <= lag_max)
    }
}

/// A fetch of another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FollowerFetch {
    pub(crate) replica: NodeId,
    /// The life of its broker, if it says which.
    pub(crate) broker_epoch: Option<BrokerEpoch>,
    /// Whether the cluster takes that life for one that may be in sync.
    pub(crate) is_eligible: bool,
    /// It has everything below.
    pub(crate) end: Offset,
    /// Down to here.
    pub(crate) log_start: Offset,
}

/// A follower in sync that consumers may read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadReplica {
    pub(crate) id: NodeId,
    /// Where its log ends.
    pub(crate) end: Offset,
    /// When it had last all that there was.
    pub(crate) caught_up_at: Option<Instant>,
}

/// A change of the in-sync replicas that was proposed and not heard of, with the lives in which their brokers were then: what
/// was true of one life says nothing of the next, however late the controller is asked (KIP-903).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proposal {
    isr: Vec<(NodeId, Option<BrokerEpoch>)>,
}

/// What the controller is asked for: AlterPartition of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedIsr {
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: PartitionEpoch,
    /// With the life of each broker as far as it is known.
    pub(crate) isr: Vec<(NodeId, Option<BrokerEpoch>)>,
}

/// What the controller answered: what holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DecidedIsr {
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: PartitionEpoch,
    pub(crate) isr: Vec<NodeId>,
}

/// What becomes of a proposal that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is given up.
    GivenUp,
    /// The metadata will say what holds: the leader has not heard of something.
    AwaitsMetadata,
    /// It may be asked for again.
    TryAgain,
}

/// The replicas of a partition, as its leader sees them in one epoch.
#[derive(Clone, Debug)]
pub(crate) struct Replication {
    own: NodeId,
    /// Who had not all that there is for longer than this, is not in sync (`replica.lag.time.max.ms`).
    lag_max: Duration,
    /// Where the leader's log ended when its epoch began.
    epoch_start: Offset,
    partition_epoch: PartitionEpoch,
    followers: BTreeMap<NodeId, Follower>,
    /// In sync, as far as the controller has said, in its order. The leader is always one of them.
    isr: Vec<NodeId>,
    proposal: Option<Proposal>,
    /// Those that are in sync, whichever becomes of what was proposed.
    maximal_isr: Vec<NodeId>,
    museum: Museum,
}

impl Replication {
    /// At the beginning of an epoch that `own` leads.
    pub(crate) fn begin(
        own: NodeId,
        lag_max: Duration,
        state: &PartitionState,
        epoch_start: Offset,
        now: Instant,
        museum: Museum,
    ) -> Self {
        let mut replication = Self {
            museum,
            own,
            lag_max,
            epoch_start,
            partition_epoch: state.partition_epoch,
            followers: BTreeMap::new(),
            isr: Vec::new(),
            proposal: None,
            maximal_isr: Vec::new(),
        };
        replication.take_over(state, now);
        replication
    }

    /// Goes by what the metadata says, in the same epoch, unless the controller's answer has told more already.
    pub(crate) fn update(&mut self, state: &PartitionState, now: Instant) {
        if state.partition_epoch > self.partition_epoch {
            self.take_over(state, now);
        }
    }

    fn take_over(&mut self, state: &PartitionState, now: Instant) {
        self.partition_epoch = state.partition_epoch;
        self.settle(&state.isr);
        self.followers.retain(|id, _| state.replicas.contains(id));
        for id in state.replicas.iter().filter(|id| **id != self.own) {
            let is_in_sync = self.isr.contains(id);
            self.followers.entry(*id).or_insert_with(|| Follower::unheard(is_in_sync, now));
        }
    }

    pub(crate) const fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    fn settle(&mut self, isr: &[NodeId]) {
        self.isr = isr.to_vec();
        self.maximal_isr = isr.to_vec();
        self.proposal = None;
    }

    fn propose(&mut self, isr: Vec<NodeId>, is_expansion: bool) {
        if is_expansion {
            self.maximal_isr.clone_from(&isr);
        }
        let epoch = |id: NodeId| self.followers.get(&id).and_then(|follower| follower.broker_epoch);
        let isr = isr.into_iter().map(|id| (id, epoch(id))).collect();
        self.proposal = Some(Proposal { isr });
    }

    /// How many replicas are in sync, as far as the controller has said.
    pub(crate) fn in_sync(&self) -> usize {
        self.isr.len()
    }

    /// Whether a replica is in sync, as far as the controller has said.
    pub(crate) fn is_in_sync(&self, id: NodeId) -> bool {
        self.isr.contains(&id)
    }

    /// How many replicas there are.
    pub(crate) fn replicas(&self) -> usize {
        self.followers.len() + 1
    }

    /// Those that are in sync, whichever becomes of what was proposed.
    pub(crate) fn maximal_isr(&self) -> &[NodeId] {
        &self.maximal_isr
    }

    /// How far everybody in sync has the log, and also who is about to be: a high watermark that ran past somebody who has
    /// caught up would keep him out. `None` while somebody in sync was not heard of in this epoch.
    pub(crate) fn replicated_end(&self, leader_end: Offset, now: Instant) -> Option<Offset> {
        let mut end = leader_end;
        let ignores_pending = self.museum.has(Exhibit::A05HighWatermarkIgnoresPendingIsr);
        let in_sync = if ignores_pending { &*self.isr } else { self.maximal_isr() };
        for (id, follower) in &self.followers {
            let is_joining = || {
                !ignores_pending
                    && follower.is_eligible
                    && follower.is_caught_up(leader_end, self.lag_max, now)
            };
            if in_sync.contains(id) || is_joining() {
                end = end.min(follower.end?);
            }
        }
        Some(end)
    }

    /// Takes note of a fetch. A replica that the leader has not heard of, or a life of a broker that another has followed, is
    /// none of it.
    pub(crate) fn on_fetch(&mut self, fetch: &FollowerFetch, leader_end: Offset, now: Instant) -> bool {
        let Some(follower) = self.followers.get_mut(&fetch.replica) else { return false };
        if fetch.broker_epoch.is_some() && follower.broker_epoch > fetch.broker_epoch {
            return false;
        }
        if fetch.end >= leader_end {
            follower.caught_up_at = Some(now);
        } else if let Some((at, _)) = follower.last_fetch.filter(|(_, end_then)| fetch.end >= *end_then) {
            follower.caught_up_at = follower.caught_up_at.max(Some(at));
        }
        follower.last_fetch = Some((now, leader_end));
        follower.end = Some(fetch.end);
        follower.log_start = fetch.log_start;
        follower.broker_epoch = fetch.broker_epoch;
        follower.is_eligible = fetch.is_eligible;
        true
    }

    /// The life of a broker that fetches, as far as it has said which, if it has fetched in this epoch.
    pub(crate) fn follower_epoch(&self, replica: NodeId) -> Option<Option<BrokerEpoch>> {
        let follower = self.followers.get(&replica)?;
        follower.last_fetch.map(|_| follower.broker_epoch)
    }

    /// The followers in sync that have what is read at an offset, or will have it next. One that is not in sync may lag behind
    /// for ever, and a consumer with it (KIP-392).
    pub(crate) fn read_replicas(&self, offset: Offset) -> impl Iterator<Item = ReadReplica> {
        self.followers.iter().filter_map(move |(id, follower)| {
            let end = follower.end.filter(|end| (follower.log_start..=*end).contains(&offset))?;
            let is_in_sync = self.isr.contains(id);
            is_in_sync.then_some(ReadReplica { id: *id, end, caught_up_at: follower.caught_up_at })
        })
    }

    /// From where on the leader and every follower that `counts` has the records; -1 while one of them has not said.
    pub(crate) fn low_watermark(&self, leader_start: Offset, counts: impl Fn(NodeId) -> bool) -> Offset {
        let followers = self.followers.iter().filter(|(id, _)| counts(**id));
        let starts = followers.map(|(_, it)| if it.end.is_some() { it.log_start } else { Offset(-1) });
        starts.fold(leader_start, Offset::min)
    }

    /// Takes note of whether the life of a broker that fetches may be in sync.
    pub(crate) fn judge(&mut self, replica: NodeId, is_eligible: bool) {
        if let Some(follower) = self.followers.get_mut(&replica) {
            follower.is_eligible = is_eligible;
        }
    }

    /// Proposes that a replica is in sync, if it is: it has what is committed, and all that earlier epochs wrote.
    pub(crate) fn propose_expansion(&mut self, replica: NodeId, high_watermark: Offset) -> bool {
        let Some(follower) = self.followers.get(&replica) else { return false };
        let is_hasty = self.museum.has(Exhibit::A04IsrJoinAtHighWatermarkOnly);
        let needed = if is_hasty { high_watermark } else { high_watermark.max(self.epoch_start) };
        let has_all = follower.end.is_some_and(|end| end >= needed);
        if self.proposal.is_some() || self.isr.contains(&replica) || !follower.is_eligible || !has_all {
            return false;
        }
        let mut isr = self.isr.clone();
        isr.push(replica);
        self.propose(isr, true);
        true
    }

    /// Proposes to leave those out who lag behind for too long, if there are any.
    pub(crate) fn propose_shrinking(&mut self, leader_end: Offset, now: Instant) -> bool {
        let lags = |id: &NodeId| {
            self.followers.get(id).is_some_and(|it| !it.is_caught_up(leader_end, self.lag_max, now))
        };
        if self.proposal.is_some() || !self.isr.iter().any(lags) {
            return false;
        }
        let isr = self.isr.iter().copied().filter(|id| !lags(id)).collect();
        self.propose(isr, false);
        true
    }

    /// What the controller is to be asked for, if something is proposed. Of itself the broker says in which life it is.
    pub(crate) fn wanted(&self, leader_epoch: LeaderEpoch, own_epoch: BrokerEpoch) -> Option<WantedIsr> {
        let isr = self.proposal.as_ref()?.isr.iter();
        let isr =
            isr.map(|(id, epoch)| (*id, if *id == self.own { Some(own_epoch) } else { *epoch })).collect();
        Some(WantedIsr { leader_epoch, partition_epoch: self.partition_epoch, isr })
    }

    /// What was proposed is decided. News that are older than what is known change nothing.
    pub(crate) fn on_decided(&mut self, decided: DecidedIsr) {
        if decided.partition_epoch >= self.partition_epoch {
            self.partition_epoch = decided.partition_epoch;
            self.settle(&decided.isr);
        }
    }

    /// What was proposed, on what was known at `partition_epoch`, is refused.
    pub(crate) fn on_refused(&mut self, partition_epoch: PartitionEpoch, code: ErrorCode) -> Refused {
        if self.proposal.is_none() || partition_epoch != self.partition_epoch {
            return Refused::AwaitsMetadata;
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is may pass")]
        match code {
            ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted => {
                self.settle(&self.isr.clone());
                Refused::GivenUp
            }
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::NewLeaderElected
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::InvalidUpdateVersion
            | ErrorCode::InvalidRequest => Refused::AwaitsMetadata,
            _ => Refused::TryAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG_MAX: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000)
    }

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    fn state(partition_epoch: i32, isr: &[i32]) -> PartitionState {
        PartitionState {
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(isr),
            leader: Some(NodeId(1)),
            partition_epoch: PartitionEpoch(partition_epoch),
            ..PartitionState::default()
        }
    }

    /// Broker 1 leads brokers 2 and 3 since second 0, in a log that ended at 10 then.
    fn led(isr: &[i32]) -> Replication {
        Replication::begin(NodeId(1), LAG_MAX, &state(0, isr), Offset(10), at(0), Museum::NONE)
    }

    fn fetch(replica: i32, end: i64) -> FollowerFetch {
        FollowerFetch {
            replica: NodeId(replica),
            broker_epoch: Some(BrokerEpoch(100)),
            is_eligible: true,
            end: Offset(end),
            log_start: Offset(0),
        }
    }

    fn replicated(replication: &Replication, leader_end: i64, seconds: u64) -> Option<i64> {
        replication.replicated_end(Offset(leader_end), at(seconds)).map(|end| end.0)
    }

    #[test]
    fn what_all_in_sync_have_is_replicated_once_all_were_heard() {
        let mut replication = led(&[1, 2, 3]);
        assert_eq!(replicated(&replication, 12, 0), None);
        assert!(replication.on_fetch(&fetch(2, 12), Offset(12), at(1)));
        assert_eq!(replicated(&replication, 12, 1), None);
        assert!(replication.on_fetch(&fetch(3, 11), Offset(12), at(1)));
        assert_eq!(replicated(&replication, 12, 1), Some(11));
    }

    #[test]
    fn somebody_who_has_caught_up_is_waited_for_before_he_is_in_sync() {
        let mut replication = led(&[1, 2]);
        replication.on_fetch(&fetch(2, 12), Offset(12), at(1));
        assert_eq!(replicated(&replication, 12, 1), Some(12), "nobody waits for one that is silent");
        replication.on_fetch(&fetch(3, 9), Offset(12), at(1));
        assert_eq!(replicated(&replication, 12, 1), Some(12), "nor for one that lags behind");
        replication.on_fetch(&fetch(3, 12), Offset(12), at(2));
        replication.on_fetch(&fetch(2, 14), Offset(14), at(2));
        assert_eq!(replicated(&replication, 14, 2), Some(12));
        replication.judge(NodeId(3), false);
        assert_eq!(replicated(&replication, 14, 2), Some(14), "who may not be in sync is not waited for");
    }

    #[test]
    fn to_have_what_there_was_at_the_fetch_before_is_to_have_been_caught_up_then() {
        let mut replication = led(&[1, 2]);
        replication.on_fetch(&fetch(2, 10), Offset(15), at(10));
        replication.on_fetch(&fetch(2, 15), Offset(20), at(20));
        assert!(!replication.propose_shrinking(Offset(25), at(40)), "it was caught up at 10");
        assert!(replication.propose_shrinking(Offset(25), at(41)));
    }

    #[test]
    fn who_lags_is_left_out_and_counts_until_the_controller_says_so() {
        let mut replication = led(&[1, 2, 3]);
        replication.on_fetch(&fetch(2, 12), Offset(12), at(31));
        replication.on_fetch(&fetch(3, 11), Offset(12), at(31));
        assert!(replication.propose_shrinking(Offset(12), at(31)));
        assert!(!replication.propose_shrinking(Offset(12), at(99)), "one change at a time");
        assert_eq!(replicated(&replication, 12, 31), Some(11));
        let wanted = replication.wanted(LeaderEpoch(4), BrokerEpoch(7)).expect("it is proposed");
        let isr = alloc::vec![(NodeId(1), Some(BrokerEpoch(7))), (NodeId(2), Some(BrokerEpoch(100)))];
        assert_eq!(
            (wanted.leader_epoch, wanted.partition_epoch, wanted.isr),
            (LeaderEpoch(4), PartitionEpoch(0), isr)
        );
        replication.on_decided(DecidedIsr {
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(1),
            isr: nodes(&[1, 2]),
        });
        assert_eq!(replicated(&replication, 12, 70), Some(12));
        replication.update(&state(1, &[1, 2, 3]), at(70));
        assert_eq!(replication.in_sync(), 2, "the metadata says nothing that is newer");
        replication.update(&state(2, &[1]), at(70));
        assert_eq!(replication.in_sync(), 1);
    }

    #[test]
    fn who_has_all_of_earlier_epochs_and_all_that_is_committed_is_proposed() {
        let mut replication = led(&[1]);
        replication.on_fetch(&fetch(2, 9), Offset(12), at(1));
        assert!(!replication.propose_expansion(NodeId(2), Offset(5)), "the epoch began at 10");
        replication.on_fetch(&fetch(2, 10), Offset(12), at(1));
        assert!(
            !replication.propose_expansion(NodeId(2), Offset(11)),
            "something is committed that it lacks"
        );
        let stranger = FollowerFetch { is_eligible: false, ..fetch(2, 12) };
        replication.on_fetch(&stranger, Offset(12), at(1));
        assert!(!replication.propose_expansion(NodeId(2), Offset(11)));
        replication.on_fetch(&fetch(2, 11), Offset(12), at(1));
        assert!(replication.propose_expansion(NodeId(2), Offset(11)));
        assert_eq!(replication.maximal_isr().len(), 2, "it counts at once");
        assert_eq!(replication.in_sync(), 1);
        assert_eq!(replicated(&replication, 12, 1), Some(11));
    }

    #[test]
    fn consumers_may_read_from_who_is_in_sync_and_has_the_offset() {
        let mut replication = led(&[1, 2]);
        let serving = |replication: &Replication, offset| {
            replication.read_replicas(Offset(offset)).map(|it| it.id.0).collect::<Vec<i32>>()
        };
        assert_eq!(serving(&replication, 5), Vec::<i32>::new(), "nobody has said what it has");
        let from = |replica, log_start| FollowerFetch { log_start: Offset(log_start), ..fetch(replica, 12) };
        replication.on_fetch(&from(2, 5), Offset(12), at(1));
        replication.on_fetch(&from(3, 0), Offset(12), at(1));
        assert_eq!(serving(&replication, 5), [2], "3 is not in sync");
        assert_eq!(serving(&replication, 12), [2], "what comes next is there soon");
        assert_eq!((serving(&replication, 4), serving(&replication, 13)), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_life_that_another_has_followed_is_not_listened_to() {
        let mut replication = led(&[1, 2]);
        assert!(replication.on_fetch(&fetch(2, 12), Offset(12), at(1)));
        let earlier = FollowerFetch { broker_epoch: Some(BrokerEpoch(99)), ..fetch(2, 5) };
        assert!(!replication.on_fetch(&earlier, Offset(12), at(1)));
        assert!(!replication.on_fetch(&fetch(4, 12), Offset(12), at(1)), "it is no replica");
        assert_eq!(replicated(&replication, 12, 1), Some(12));
    }

    #[test]
    fn a_refusal_ends_a_proposal_or_waits_for_news_or_comes_again() {
        let refused = |code| {
            let mut replication = led(&[1]);
            replication.on_fetch(&fetch(2, 12), Offset(12), at(1));
            assert!(replication.propose_expansion(NodeId(2), Offset(12)));
            let of_before = replication.on_refused(PartitionEpoch(-1), code);
            assert_eq!(of_before, Refused::AwaitsMetadata, "it was of another proposal");
            (replication.on_refused(PartitionEpoch(0), code), replication.maximal_isr().len())
        };
        assert_eq!(refused(ErrorCode::IneligibleReplica), (Refused::GivenUp, 1));
        assert_eq!(refused(ErrorCode::InvalidUpdateVersion), (Refused::AwaitsMetadata, 2));
        assert_eq!(refused(ErrorCode::NotController), (Refused::TryAgain, 2));
    }
}
