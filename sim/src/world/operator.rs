//! Who looks after a quorum whose voters stand in its log (KIP-853): what is formatted for whom, and what of the quorum may be
//! taken away so that it can still go on. A quorum more than half of whose voters have lost their disks never elects anybody
//! again: no plan goes so far.

use super::World;
use crate::check::{VoterSet, directory_of, voters_on};
use crate::client::{Client, Outlook};
use crate::field::Place;
use crate::plan::Plan;
use sordini_core::format::{FirstVoter, FirstVoters};
use sordini_core::ids::NodeId;
use sordini_protocol::wire::Uuid;

/// How long a controller whose disk is gone may still be made a voter with that disk, by what was asked before.
const GHOST_US: u64 = 30_000_000;

/// Tells the directories of the voters at first from all else that the field says of nodes.
const FIRST_VOTER: u64 = 1 << 62;

impl World {
    /// By whom the disk of a node is to be formatted as one of a quorum.
    pub(super) fn first_voters(&self, node: usize) -> FirstVoters {
        let Some(first) = self.plan.first_voters else { return FirstVoters::Own };
        // Who gets a new disk follows those that are there.
        if node >= first || self.machines[node].lives > 0 {
            return FirstVoters::Others;
        }
        let word = |node: usize, half: u64| {
            self.field.word(Place::Incarnation, FIRST_VOTER | half << 32 | node as u64, 0)
        };
        let voter = |node: usize| FirstVoter {
            id: NodeId(i32::try_from(node).expect("a handful of nodes") + 1),
            host: Plan::host(node),
            port: Plan::CONTROLLER_PORT,
            directory: Uuid::from_u64s(word(node, 0), word(node, 1)),
        };
        FirstVoters::Listed((0..first).map(voter).collect())
    }

    /// What can be known of the quorum by whoever looks at every disk.
    pub(super) fn outlook(&self) -> Outlook {
        let own_disks = || self.plan.controllers().map(|node| self.machines[node].its_own_disk());
        let found: Vec<((i32, i64), Vec<VoterSet>)> = own_disks().map(voters_on).collect();
        let newest = found.iter().max_by_key(|(end, _)| *end).and_then(|(_, sets)| sets.last());
        Outlook {
            newest: newest.cloned().unwrap_or_default(),
            directories: own_disks().map(directory_of).collect(),
            sets: found.into_iter().flat_map(|(_, sets)| sets).collect(),
            ghosts: self.ghosts.iter().filter(|at| **at + GHOST_US > self.now).count(),
        }
    }

    /// Whether the quorum can go on if a controller loses its disk. Where voters are known by their numbers alone nobody asks.
    pub(super) fn stands_loss_of_disk(&self, node: usize) -> bool {
        if self.plan.first_voters.is_none() || !self.plan.nodes[node].role.is_voter() {
            return true;
        }
        let mut outlook = self.outlook();
        outlook.ghosts += usize::from(self.becomes_ghost(node, &outlook));
        let may_remove = |client: &Client| match client {
            Client::Operator(operator) => operator.may_remove(self.now),
            Client::Admin(_)
            | Client::Producer(_)
            | Client::Consumer(_)
            | Client::Configurator(_)
            | Client::Gatekeeper(_)
            | Client::PretendBroker(_)
            | Client::ConfigReader(_)
            | Client::Observer(_) => false,
        };
        let more = self.seats.iter().filter(|seat| may_remove(&seat.client)).count();
        outlook.stands(None, Some(node), more)
    }

    /// Whether a node may be made a voter with the disk that it has, and is none yet.
    fn becomes_ghost(&self, node: usize, outlook: &Outlook) -> bool {
        let id = i32::try_from(node).expect("a handful of nodes") + 1;
        let key = (id, outlook.directories[node]);
        !outlook.sets.iter().filter(|set| !set.is_empty()).all(|set| set.has(key))
    }

    /// A controller is about to lose its disk.
    pub(super) fn note_ghost(&mut self, node: usize) {
        if self.plan.first_voters.is_some()
            && self.plan.nodes[node].role.is_voter()
            && self.becomes_ghost(node, &self.outlook())
        {
            self.ghosts.push(self.now);
        }
    }
}
