//! Who votes in the quorum, and where to reach them.

use crate::ids::NodeId;
use crate::peer::{Channel, Peer};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sordini_protocol::wire::{Str, Uuid};

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
    pub(crate) fn peer(&self, channel: Channel) -> Peer {
        Peer { host: Arc::clone(&self.host), port: self.port, channel }
    }

    pub(crate) fn host(&self) -> Str {
        Str::from(&*self.host)
    }
}

/// The voters of a quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VoterSet {
    voters: BTreeMap<NodeId, Address>,
}

impl VoterSet {
    pub(crate) fn new(voters: impl IntoIterator<Item = (NodeId, Address)>) -> Self {
        Self { voters: voters.into_iter().collect() }
    }

    pub(crate) fn contains(&self, node: NodeId) -> bool {
        self.voters.contains_key(&node)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.voters.keys().copied()
    }

    /// The voters beside `node`.
    pub(crate) fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.ids().filter(|id| *id != node).collect()
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<&Address> {
        self.voters.get(&node)
    }

    /// How many voters are more than half of them.
    pub(crate) fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}
