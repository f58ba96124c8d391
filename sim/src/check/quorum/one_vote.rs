//! `one_vote`: a voter votes for one candidate in an epoch, in all its lives, and its vote is durable before anybody hears of
//! it (K2). A voter is a node with the disk that it has; and whoever leads was voted for by a majority of the voters that its
//! log names.

use super::voter_set::{VoterKey, VoterSet};
use super::{ElectionState, Moment, Seen, id_of};
use crate::check::Violation;
use std::collections::BTreeMap;

/// Who voted for whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Votes {
    /// What others heard of, by voter and epoch.
    cast: BTreeMap<(VoterKey, i32), i32>,
    /// What a voter said of itself in one life, by voter, epoch and life: what nobody heard of it may forget.
    said: BTreeMap<(usize, i32, u64), i32>,
}

fn name((id, directory): VoterKey) -> String {
    format!("voter {id} with the disk {directory}")
}

fn violation(sentence: String) -> Violation {
    Violation { property: "one_vote", sentence }
}

impl Votes {
    /// A vote leaves the voter. `stored` is what stands on its disk.
    pub(super) fn cast(
        &mut self,
        voter: VoterKey,
        epoch: i32,
        candidate: i32,
        stored: Option<ElectionState>,
    ) -> Result<(), Violation> {
        let first = *self.cast.entry((voter, epoch)).or_insert(candidate);
        if first != candidate {
            return Err(violation(format!(
                "{} votes for {candidate} in epoch {epoch}, in which it voted for {first}",
                name(voter)
            )));
        }
        // Where an epoch has its leader, nobody votes in it any more, and Kafka forgets the vote that it won by.
        let is_durable = stored.is_some_and(|stored| {
            stored.epoch > epoch
                || (stored.epoch == epoch && [stored.voted, stored.leader].contains(&Some(candidate)))
        });
        if !is_durable {
            return Err(violation(format!(
                "{} votes for {candidate} in epoch {epoch}, and on its disk stands {stored:?}",
                name(voter)
            )));
        }
        Ok(())
    }

    /// A node begins to lead an epoch, in which these are the voters.
    pub(super) fn check_elected(&self, node: usize, epoch: i32, voters: &VoterSet) -> Result<(), Violation> {
        let votes = self
            .cast
            .iter()
            .filter(|((_, cast_in), candidate)| *cast_in == epoch && **candidate == id_of(node));
        let by: Vec<VoterKey> =
            votes.map(|((voter, _), _)| *voter).filter(|voter| voters.has(*voter)).collect();
        if voters.is_majority(by.len()) {
            return Ok(());
        }
        let by: Vec<String> = by.into_iter().map(name).collect();
        Err(violation(format!(
            "node {node} leads epoch {epoch}, and of the voters {voters} only these voted for it: {}",
            by.join(", ")
        )))
    }

    pub(super) fn check_view(
        &mut self,
        moment: Moment,
        voter: VoterKey,
        seen: &Seen,
    ) -> Result<(), Violation> {
        let Moment { node, life, .. } = moment;
        let epoch = seen.epoch;
        let Some(voted) = seen.voted else { return Ok(()) };
        let said = *self.said.entry((node, epoch, life)).or_insert(voted);
        let cast = self.cast.get(&(voter, epoch)).copied().unwrap_or(voted);
        if let Some(other) = [said, cast].into_iter().find(|other| *other != voted) {
            return Err(violation(format!(
                "node {node} has voted for {voted} in epoch {epoch}, and for {other}"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::wire::Uuid;

    fn key(id: i32, disk: u64) -> VoterKey {
        (id, Uuid::from_u64s(1, disk))
    }

    #[test]
    fn a_leader_has_the_votes_of_a_majority_of_the_voters_with_their_disks() {
        let mut votes = Votes::default();
        let stored = |voted| Some(ElectionState { epoch: 4, voted: Some(voted), leader: None });
        let voters = VoterSet::new([key(1, 1), key(2, 2), key(3, 3)]);
        assert_eq!(votes.cast(key(1, 1), 4, 1, stored(1)), Ok(()));
        assert_eq!(votes.cast(key(2, 9), 4, 1, stored(1)), Ok(()), "whoever it is may say so");
        assert!(
            votes.check_elected(0, 4, &voters).is_err(),
            "2 has another disk than when it became a voter"
        );
        assert_eq!(votes.check_elected(0, 4, &VoterSet::configured([1, 2, 3])), Ok(()), "any disk will do");
        assert_eq!(votes.cast(key(2, 2), 4, 3, stored(3)), Ok(()), "it is another voter");
        assert!(votes.cast(key(2, 2), 4, 1, stored(1)).is_err(), "it has voted");
        assert_eq!(votes.cast(key(3, 3), 4, 1, stored(1)), Ok(()));
        assert_eq!(votes.check_elected(0, 4, &voters), Ok(()));
        assert!(votes.check_elected(0, 5, &voters).is_err(), "nobody voted in epoch 5");
    }
}
