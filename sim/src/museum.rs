//! Exhibits of the core's museum, looked for by seed: whether the swarm notices a wrong rule, and how soon.

use crate::plan::Plan;
use crate::shrink::Signature;
use crate::sweep::{Verdict, run};
use crate::trace::Telling;
use sordini_core::museum::Exhibit;

/// Exhibits that no drawn plan is known to find, each with the reason. Tests of the core walk them by hand.
pub const BY_HAND: [(Exhibit, &str); 1] = [(
    Exhibit::B04SnapshotNotVerified,
    "a snapshot of producers is wrong and as long as it should be only where a bit of it has flipped, and on a \
         damaged disk no check judges which sequences are refused",
)];

/// Why an exhibit is walked by hand, if it is.
#[must_use]
pub fn by_hand(exhibit: Exhibit) -> Option<&'static str> {
    BY_HAND.into_iter().find(|(other, _)| *other == exhibit).map(|(_, why)| why)
}

/// A plan that fails with an exhibit switched on and passes without.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The seed that drew it.
    pub seed: u64,
    /// The plan, with the exhibit in it.
    pub plan: Plan,
    /// What the failure is known by.
    pub signature: Signature,
    /// What happened, in one line.
    pub sentence: String,
}

/// The plan of a seed with an exhibit switched on in every node.
#[must_use]
pub fn plan_of(seed: u64, exhibit: Exhibit) -> Plan {
    Plan { museum: vec![exhibit.name().to_owned()], ..Plan::draw(seed) }
}

/// Runs a seed with an exhibit switched on. What it fails of is a finding if it passes with the exhibit off: what fails
/// either way says nothing about the exhibit.
#[must_use]
pub fn try_seed(seed: u64, exhibit: Exhibit) -> Option<Finding> {
    let plan = plan_of(seed, exhibit);
    let (verdict, _) = run(&plan, Telling::Nothing);
    let signature = verdict.signature()?;
    let (clean, _) = run(&Plan { museum: Vec::new(), ..plan.clone() }, Telling::Nothing);
    let finding = Finding { seed, plan, signature, sentence: verdict.line() };
    (clean == Verdict::Passed).then_some(finding)
}

/// What a plan must have for an exhibit to do harm in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Producers that write records, as in all plans but those about a quorum.
    Producers,
    /// Partitions that several brokers have, with clients that write to them: some plans about a quorum have them.
    Replicas,
    /// The same, with leaders that take turns within moments.
    Flapping,
    /// The same as replicas, on brokers with several log directories.
    Directories,
    /// Voters, leaders among them, and brokers that follow the leader: in other plans each node is alone.
    Quorum,
    /// A log or a controller, which every plan has.
    Nothing,
}

const fn need(exhibit: Exhibit) -> Need {
    match exhibit {
        Exhibit::A01TruncateToOwnHighWatermark
        | Exhibit::A10TwoPhaseFetchBound
        | Exhibit::A13RetentionIgnoresHighWatermark
        | Exhibit::A32DedupeWindowZero
        | Exhibit::A44SkipEpochZero
        | Exhibit::A45MutateStateBeforeAppend
        | Exhibit::A49AckBeforeFlush
        | Exhibit::B01RecoveryPointAheadOfFlush
        | Exhibit::B04SnapshotNotVerified
        | Exhibit::B09DuplicateAckedBeforeWritten => Need::Producers,
        Exhibit::A04IsrJoinAtHighWatermarkOnly
        | Exhibit::A05HighWatermarkIgnoresPendingIsr
        | Exhibit::A06IgnoreBrokerEpochInAlterPartition
        | Exhibit::A07AcceptFencedInIsr
        | Exhibit::A08HighWatermarkUnderMinIsr
        | Exhibit::A09HighWatermarkBeforeTruncation => Need::Replicas,
        Exhibit::A02EpochLookupOneRound
        | Exhibit::A03NoEpochInFetch
        | Exhibit::A12SkipTruncationIfSameLeader => Need::Flapping,
        Exhibit::A26RecreateMissingLog => Need::Directories,
        Exhibit::A14ResumeLeadershipSameEpoch
        | Exhibit::A15VoterSkipsFlush
        | Exhibit::A16HighWatermarkAtEpochStart
        | Exhibit::A17ClearVoteOnStepDown
        | Exhibit::A18NoCheckQuorum
        | Exhibit::A19ReconfigWithoutOwnCommit
        | Exhibit::A20VoterIdentityWithoutDirectoryId
        | Exhibit::A21AnswerBeforeMajority
        | Exhibit::A22FenceFromOneImage
        | Exhibit::A24ControllerWriteUnfenced
        | Exhibit::A25ReassignDoneOnAddingOnly => Need::Quorum,
        Exhibit::A23MetadataLogTimeRetention
        | Exhibit::A37PersistCurrentProducerIdBlock
        | Exhibit::A42MarkerDeletedAfterLoad
        | Exhibit::A43EpochFileNoSync
        | Exhibit::A46AdvanceLogEndAfterIndex
        | Exhibit::A47AppendAfterIoError
        | Exhibit::A48BadCrcIsEndOfLog
        | Exhibit::B02RecoveryPointIgnoresIndexes
        | Exhibit::B03IndexNotTruncatedWithLog
        | Exhibit::B05CleanShutdownWithoutFlush
        | Exhibit::B06LaterFlushVouchesForEarlier
        | Exhibit::B07RecoverySkipsChecksum
        | Exhibit::B08HoleBetweenSegments
        | Exhibit::B10CutNotSynced => Need::Nothing,
    }
}

/// Whether the plan of a seed has what an exhibit needs.
fn may_show(seed: u64, exhibit: Exhibit) -> bool {
    match need(exhibit) {
        Need::Producers => !Plan::is_of_a_quorum(seed),
        Need::Replicas => Plan::is_of_a_quorum(seed) && Plan::draw(seed).has_replicas(),
        Need::Flapping => {
            Plan::is_of_a_quorum(seed) && Plan::may_flap(seed) && Plan::draw(seed).has_flapping_leaders()
        }
        Need::Directories => {
            let plan = Plan::is_of_a_quorum(seed).then(|| Plan::draw(seed));
            plan.is_some_and(|plan| plan.has_replicas() && plan.nodes.iter().any(|node| node.log_dirs > 1))
        }
        Need::Quorum => Plan::is_of_a_quorum(seed),
        Need::Nothing => true,
    }
}

/// The first finding among some seeds, as long as `has_time` says so. Seeds whose plans cannot show the exhibit are passed
/// over, and take no time.
pub fn find(
    exhibit: Exhibit,
    seeds: impl IntoIterator<Item = u64>,
    mut has_time: impl FnMut() -> bool,
) -> Option<Finding> {
    let seeds = seeds.into_iter().filter(|seed| may_show(*seed, exhibit));
    seeds.take_while(|_| has_time()).find_map(|seed| try_seed(seed, exhibit))
}

#[cfg(test)]
mod tests {
    use super::may_show;
    use crate::plan::{NodeRole, Plan};
    use sordini_core::museum::Exhibit;

    #[test]
    fn plans_that_may_show_an_exhibit_have_what_it_needs() {
        let (mut quorums, mut producers) = (0, 0);
        for seed in 0..40 {
            let plan = Plan::draw(seed);
            let is_of_voters = plan.nodes.iter().any(|node| node.role == NodeRole::Controller);
            if may_show(seed, Exhibit::A17ClearVoteOnStepDown) {
                quorums += 1;
                assert!(is_of_voters || plan.nodes[0].role == NodeRole::Both, "seed {seed}");
            }
            assert_eq!(
                may_show(seed, Exhibit::A04IsrJoinAtHighWatermarkOnly),
                plan.has_replicas(),
                "seed {seed}"
            );
            if may_show(seed, Exhibit::A44SkipEpochZero) {
                producers += 1;
                assert!(!plan.producers.is_empty() && !is_of_voters, "seed {seed}");
            }
            assert!(may_show(seed, Exhibit::B06LaterFlushVouchesForEarlier), "every plan has a log");
        }
        assert!(quorums > 0 && producers > 0 && quorums + producers == 40, "{quorums} and {producers}");
    }
}
