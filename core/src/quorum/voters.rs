//! Who votes in the quorum, where to reach them, and how that changes with the log.

use crate::ids::{NodeId, Offset};
use crate::museum::{Exhibit, Museum};
use crate::peer::{Channel, Peer};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sordini_protocol::batch::Batch;
use sordini_protocol::control::{self, ControlType};
use sordini_protocol::records::VotersRecord;
use sordini_protocol::records::voters_record::{Endpoint, KRaftVersionFeature};
use sordini_protocol::wire::{Message as _, Str, Uuid};

pub(crate) use sordini_protocol::records::voters_record::Voter;

/// Who a voter is: a node with the disk that it had when it became one (KIP-853). The directory is zero where the voters are
/// configured by their ids alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VoterKey {
    pub(crate) node: NodeId,
    pub(crate) directory: Uuid,
}

/// Where a voter listens for its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    pub(crate) fn peer(&self, channel: Channel) -> Peer {
        Peer { host: Arc::clone(&self.host), port: self.port, channel }
    }

    pub(crate) fn host(&self) -> Str {
        Str::from(&*self.host)
    }
}

/// A voter as it stands in a record of the log.
pub(crate) fn voter(key: VoterKey, endpoints: Vec<Endpoint>, (min, max): (i16, i16)) -> Voter {
    Voter {
        voter_id: key.node.0,
        voter_directory_id: key.directory,
        endpoints,
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: min,
            max_supported_version: max,
            ..KRaftVersionFeature::default()
        },
        ..Voter::default()
    }
}

/// Where a voter listens, by the name of its listener.
pub(crate) fn endpoint(name: &Str, address: &Address) -> Endpoint {
    Endpoint { name: name.clone(), host: address.host(), port: address.port, ..Endpoint::default() }
}

/// The voters of a quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VoterSet {
    voters: BTreeMap<NodeId, Voter>,
}

impl VoterSet {
    pub(crate) fn new(voters: impl IntoIterator<Item = Voter>) -> Self {
        Self { voters: voters.into_iter().map(|voter| (NodeId(voter.voter_id), voter)).collect() }
    }

    /// Voters that are known by their ids and addresses alone.
    pub(crate) fn configured(listener: &Str, voters: impl IntoIterator<Item = (NodeId, Address)>) -> Self {
        let directory = Uuid::ZERO;
        Self::new(voters.into_iter().map(|(node, address)| {
            voter(VoterKey { node, directory }, alloc::vec![endpoint(listener, &address)], (0, 0))
        }))
    }

    pub(crate) fn of_record(record: VotersRecord) -> Self {
        Self::new(record.voters)
    }

    pub(crate) fn to_record(&self) -> VotersRecord {
        VotersRecord { voters: self.voters.values().cloned().collect(), ..VotersRecord::default() }
    }

    /// With a voter, in the place of the one of its number if there is one.
    pub(crate) fn with(&self, voter: Voter) -> Self {
        let mut voters = self.voters.clone();
        voters.insert(NodeId(voter.voter_id), voter);
        Self { voters }
    }

    pub(crate) fn without(&self, node: NodeId) -> Self {
        let mut voters = self.voters.clone();
        voters.remove(&node);
        Self { voters }
    }

    pub(crate) fn contains(&self, node: NodeId) -> bool {
        self.voters.contains_key(&node)
    }

    /// Whether a node with its disk is a voter.
    pub(crate) fn has(&self, key: VoterKey, museum: Museum) -> bool {
        let voter = self.get(key.node);
        voter.is_some_and(|voter| is_same_disk(voter.voter_directory_id, key.directory, museum))
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Voter> {
        self.voters.get(&node)
    }

    /// Whether the log names these voters, with their directories, and not the configuration.
    pub(crate) fn is_logged(&self) -> bool {
        self.voters.values().any(|voter| !voter.voter_directory_id.is_zero())
    }

    /// The voter of a number; its directory is zero if it is not known.
    pub(crate) fn key(&self, node: NodeId) -> VoterKey {
        VoterKey { node, directory: self.get(node).map_or(Uuid::ZERO, |voter| voter.voter_directory_id) }
    }

    pub(crate) fn len(&self) -> usize {
        self.voters.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.voters.keys().copied()
    }

    /// The voters beside `node`.
    pub(crate) fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.ids().filter(|id| *id != node).collect()
    }

    /// Where a voter is reached: at the first of its listeners.
    pub(crate) fn address(&self, node: NodeId) -> Option<Address> {
        let endpoint = self.get(node)?.endpoints.first()?;
        Some(Address::new(&endpoint.host, endpoint.port))
    }

    /// How many voters are more than half of them.
    pub(crate) fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}

/// The voters of now, and how to take back what is not committed. A change counts from when it is appended (KIP-853): a
/// majority of the new voters commits it.
#[derive(Clone, Debug, Default)]
pub(crate) struct VoterHistory {
    /// Where each change stands, and who voted before it; oldest first.
    changes: Vec<(Offset, VoterSet)>,
}

impl VoterHistory {
    /// From `offset` on others vote than `before`.
    pub(crate) fn change(&mut self, offset: Offset, before: VoterSet) {
        self.changes.push((offset, before));
    }

    /// The log was cut: who votes, if that changes.
    pub(crate) fn truncate(&mut self, to: Offset) -> Option<VoterSet> {
        let kept = self.changes.partition_point(|(offset, _)| *offset < to);
        self.changes.drain(kept..).next().map(|(_, before)| before)
    }

    /// Who voted as of what lies below `end`, if not those of now.
    pub(crate) fn below(&self, end: Offset) -> Option<&VoterSet> {
        self.changes.iter().find(|(offset, _)| *offset >= end).map(|(_, before)| before)
    }

    /// What lies below is committed and is not taken back.
    pub(crate) fn forget_below(&mut self, committed: Offset) {
        self.changes.retain(|(offset, _)| *offset >= committed);
    }

    /// Whether a node with its disk votes again if the last change is taken back. Those before it are committed, or it could not
    /// have been made.
    pub(crate) fn was_voter(&self, key: VoterKey, museum: Museum) -> bool {
        self.changes.last().is_some_and(|(_, before)| before.has(key, museum))
    }

    /// Whether nothing may be taken back.
    pub(crate) const fn is_settled(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Whether two directories are that of one voter. One that is not known may be any.
pub(crate) fn is_same_disk(one: Uuid, other: Uuid, museum: Museum) -> bool {
    let is_known = !one.is_zero() && !other.is_zero();
    !is_known || one == other || museum.has(Exhibit::A20VoterIdentityWithoutDirectoryId)
}

/// The voters that a batch, or a file of them, names last. Nobody is no answer: such a quorum could not elect anybody again.
pub(crate) fn voters_in(batches: &bytes::Bytes) -> Option<VotersRecord> {
    let mut rest = batches.clone();
    let mut voters = None;
    while let Ok(Some(batch)) = Batch::first_of(&mut rest) {
        if !batch.header().is_control() {
            continue;
        }
        for record in batch.records(super::DECOMPRESSED_BYTES_MAX).into_iter().flatten().flatten() {
            if let Ok(Some((ControlType::KraftVoters, mut value))) = control::parse(&record) {
                let record = VotersRecord::decode(0, &mut value).ok();
                voters = record.filter(|record| !record.voters.is_empty()).or(voters);
            }
        }
    }
    voters
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::batch::BatchParams;
    use sordini_protocol::control::control_batch;

    fn set(ids: &[i32]) -> VoterSet {
        let address = |id: i32| Address::new("localhost", u16::try_from(9090 + id).expect("a port"));
        VoterSet::configured(&Str::from_static("C"), ids.iter().map(|id| (NodeId(*id), address(*id))))
    }

    #[test]
    fn a_change_is_taken_back_with_what_it_stands_in() {
        let mut history = VoterHistory::default();
        history.change(Offset(5), set(&[1]));
        history.change(Offset(9), set(&[1, 2]));
        assert_eq!(history.below(Offset(5)), Some(&set(&[1])), "the record at 5 is not below 5");
        assert_eq!(history.below(Offset(6)), Some(&set(&[1, 2])));
        assert_eq!(history.below(Offset(10)), None, "those of now");
        assert_eq!(history.clone().truncate(Offset(10)), None);
        assert_eq!(history.clone().truncate(Offset(9)), Some(set(&[1, 2])));
        assert_eq!(history.clone().truncate(Offset(3)), Some(set(&[1])));
        history.forget_below(Offset(6));
        assert_eq!(history.truncate(Offset(3)), Some(set(&[1, 2])), "what is committed stays");
        assert!(history.is_settled());
    }

    #[test]
    fn nobody_is_no_answer_to_the_question_who_votes() {
        let batch = |voters: &VoterSet| {
            let record = voters.to_record().to_bytes(0).expect("control records have a version 0");
            let params = BatchParams { control: true, ..BatchParams::default() };
            control_batch(params, 0, &[(ControlType::KraftVoters, record)])
        };
        let (some, none) = (batch(&set(&[1, 2])), batch(&VoterSet::default()));
        assert_eq!(voters_in(&none), None);
        let both = bytes::Bytes::from([&some[..], &none[..]].concat());
        assert_eq!(voters_in(&both).map(VoterSet::of_record), Some(set(&[1, 2])));
    }

    #[test]
    fn a_voter_is_a_node_with_its_disk() {
        let key = |directory: u8| VoterKey { node: NodeId(1), directory: Uuid([directory; 16]) };
        let logged = VoterSet::new([voter(key(7), Vec::new(), (0, 1))]);
        assert!(logged.has(key(7), Museum::NONE));
        assert!(!logged.has(key(8), Museum::NONE), "another disk");
        assert!(set(&[1]).has(key(8), Museum::NONE), "whichever it has");
        assert!(!logged.has(VoterKey { node: NodeId(2), ..key(7) }, Museum::NONE));
        assert_eq!(VoterSet::of_record(logged.to_record()), logged);
    }
}
