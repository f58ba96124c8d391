//! What a voter must not forget about elections, and the file that it stands in, `quorum-state`.
//!
//! `{"leaderId":3,"leaderEpoch":7,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`, and, where the
//! voters are in every node's configuration (kraft.version 0), version 0 with the voters in the place of the directory.

use super::voters::VoterKey;
use crate::ids::{LeaderEpoch, NodeId};
use alloc::string::String;
use bytes::Bytes;
use core::fmt::Write as _;
use serde_json::Value;
use sordini_protocol::wire::Uuid;

/// The number that stands for no node.
const NOBODY: i32 = -1;

/// An epoch, and what this node has seen of it. It grows: within an epoch a vote or a leader once set stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ElectionState {
    pub(crate) epoch: LeaderEpoch,
    /// Who won it, once that is known.
    pub(crate) leader: Option<NodeId>,
    /// Whom this node voted for.
    pub(crate) voted: Option<VoterKey>,
}

impl ElectionState {
    /// Reads the file; `None` when it is damaged.
    pub(crate) fn from_file(bytes: &[u8]) -> Option<Self> {
        let file: Value = serde_json::from_slice(bytes).ok()?;
        let number = |key: &str| i32::try_from(file.get(key)?.as_i64()?).ok();
        let node = |key: &str| number(key).filter(|id| *id != NOBODY).map(NodeId);
        let directory = match file.get("votedDirectoryId") {
            Some(text) => text.as_str()?.parse().ok()?,
            None => Uuid::ZERO,
        };
        let voted = node("votedId").map(|node| VoterKey { node, directory });
        let epoch = number("leaderEpoch").filter(|epoch| *epoch >= 0)?;
        Some(Self { epoch: LeaderEpoch(epoch), leader: node("leaderId"), voted })
    }

    /// The file, for a quorum whose voters are configured or, without `configured` ones, stand in its log.
    pub(crate) fn to_file(self, configured: Option<&[NodeId]>) -> Bytes {
        let id = |node: Option<NodeId>| node.map_or(NOBODY, |node| node.0);
        let (leader, voted) = (id(self.leader), id(self.voted.map(|voter| voter.node)));
        let epoch = self.epoch;
        let mut text = String::from("{");
        let written = match configured {
            Some(voters) => {
                let voters = voters.iter().map(|node| alloc::format!("{{\"voterId\":{node}}}"));
                let voters = voters.collect::<alloc::vec::Vec<_>>().join(",");
                write!(
                    text,
                    "\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\"appliedOffset\":0,\
                     \"currentVoters\":[{voters}],\"data_version\":0}}"
                )
            }
            None => {
                let directory = self.voted.map_or(Uuid::ZERO, |voter| voter.directory);
                write!(
                    text,
                    "\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\"votedDirectoryId\":\"{directory}\",\
                     \"data_version\":1}}"
                )
            }
        };
        written.expect("text takes what is written to it");
        Bytes::from(text.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_quorum_whose_voters_are_in_its_log_is_that_of_kafka() {
        let state = ElectionState { epoch: LeaderEpoch(7), leader: Some(NodeId(3)), voted: None };
        let file = state.to_file(None);
        assert_eq!(
            &*file,
            br#"{"leaderId":3,"leaderEpoch":7,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#
        );
        assert_eq!(ElectionState::from_file(&file), Some(state));
    }

    #[test]
    fn the_file_of_a_quorum_whose_voters_are_configured_names_them() {
        let voted = VoterKey { node: NodeId(2), directory: Uuid::ZERO };
        let state = ElectionState { epoch: LeaderEpoch(4), leader: None, voted: Some(voted) };
        let file = state.to_file(Some(&[NodeId(1), NodeId(2)]));
        assert_eq!(
            &*file,
            br#"{"clusterId":"","leaderId":-1,"leaderEpoch":4,"votedId":2,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#
        );
        assert_eq!(ElectionState::from_file(&file), Some(state));
    }

    #[test]
    fn a_damaged_file_is_known_as_one() {
        for damaged in [
            &b""[..],
            b"{",
            b"{}",
            br#"{"leaderEpoch":"7"}"#,
            br#"{"leaderEpoch":4294967296}"#,
            br#"{"leaderEpoch":-1}"#,
        ] {
            assert_eq!(ElectionState::from_file(damaged), None, "{damaged:?}");
        }
    }
}
