//! The quorum that keeps the metadata log: of one voter, this node.
//!
//! It leads from the moment its vote for itself is durable; a record is committed when it is durable here, a majority of
//! one. Elections among several voters are not part of it.

use crate::config::topic::TopicConfig;
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::log::partition_log::PartitionLog;
use crate::mark::Mark;
use crate::node::Output;
use crate::outbox::Outbox;
use crate::storage_op::{Completion, StorageFault, StorageOp, StoragePath, StorageToken};
use crate::time::Now;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::{Batch, BatchBuilder, BatchParams};
use sordini_protocol::control::{ControlType, control_batch};
use sordini_protocol::records::leader_change_message::Voter;
use sordini_protocol::records::{KRaftVersionRecord, LeaderChangeMessage, MetadataRecord, VotersRecord};
use sordini_protocol::wire::{Message, Uuid};

/// Directory of the metadata log, beneath its log directory.
pub(crate) const METADATA_LOG_NAME: &str = "__cluster_metadata-0";

/// Name of the snapshot that formatting writes for a quorum whose voters are in the log.
pub(crate) const BOOTSTRAP_CHECKPOINT: &str = "00000000000000000000-0000000000.checkpoint";

/// Who the node is, to its quorum.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    /// Id of the directory with the metadata log (KIP-853): an empty disk is another voter.
    pub(crate) directory: Uuid,
}

/// Allowed transitions: Unattached → Voted (at start) → Leader (its vote is durable).
#[derive(Clone, Debug)]
enum State {
    /// The vote for itself in a new epoch is on its way to the disk.
    Voted {
        token: StorageToken,
    },
    Leader,
}

/// The voter, and the log it leads.
#[derive(Clone, Debug)]
pub(crate) struct Quorum {
    identity: Identity,
    epoch: LeaderEpoch,
    state: State,
    log: PartitionLog,
    config: TopicConfig,
    /// Records that are in the log and not yet committed, oldest first, each with its end.
    uncommitted: VecDeque<(Offset, MetadataRecord)>,
    /// Voters as formatting wrote them, to be put into an empty log by its first leader.
    bootstrap_voters: Option<VotersRecord>,
}

impl Quorum {
    /// Votes for itself in the epoch after `last_epoch`. `token` names the write of the vote.
    pub(crate) fn stand(
        identity: Identity,
        last_epoch: LeaderEpoch,
        log: PartitionLog,
        config: TopicConfig,
        bootstrap_voters: Option<VotersRecord>,
        token: StorageToken,
        out: &mut Outbox,
    ) -> Self {
        let seen = log.epochs().latest().map_or(last_epoch, |latest| latest.max(last_epoch));
        let epoch = LeaderEpoch(seen.0 + 1);
        out.sometimes_if(seen > LeaderEpoch(0), Mark::QuorumLaterEpoch);
        let quorum = Self {
            identity,
            epoch,
            state: State::Voted { token },
            log,
            config,
            uncommitted: VecDeque::new(),
            bootstrap_voters,
        };
        let file = quorum.log.dir().join("quorum-state");
        let bytes = Bytes::from(quorum.state_file().into_bytes());
        out.push(Output::Storage { token, op: StorageOp::Replace { file, bytes } });
        quorum
    }

    /// The `quorum-state` of a sole voter: its vote for itself is its election.
    fn state_file(&self) -> String {
        format!(
            "{{\"leaderId\":{id},\"leaderEpoch\":{epoch},\"votedId\":{id},\"votedDirectoryId\":\"{directory}\",\
             \"data_version\":1}}",
            id = self.identity.node,
            epoch = self.epoch,
            directory = self.identity.directory,
        )
    }

    pub(crate) const fn log(&self) -> &PartitionLog {
        &self.log
    }

    pub(crate) const fn log_mut(&mut self) -> &mut PartitionLog {
        &mut self.log
    }

    /// Below it the log is committed: durable on a majority of one.
    pub(crate) const fn high_watermark(&self) -> Offset {
        self.log.flushed_end()
    }

    /// Takes note of the vote's completion.
    pub(crate) fn on_vote_written(&mut self, token: StorageToken, now: Now, out: &mut Outbox) -> bool {
        let State::Voted { token: awaited } = &self.state else { return false };
        if *awaited != token {
            return false;
        }
        self.transition_to_leader(now, out);
        true
    }

    fn transition_to_leader(&mut self, now: Now, out: &mut Outbox) {
        assert!(matches!(self.state, State::Voted { .. }), "a leader was voted for");
        self.state = State::Leader;
        // What earlier epochs wrote and did not live to see committed is committed with the first batch of this one.
        let voter = Voter { voter_id: self.identity.node.0, ..Voter::default() };
        let leader_change = LeaderChangeMessage {
            leader_id: self.identity.node.0,
            voters: vec![voter.clone()],
            granting_voters: vec![voter],
            ..LeaderChangeMessage::default()
        };
        let encode =
            |bytes: Result<Bytes, _>| bytes.expect("control records are written at a version they have");
        let mut records = vec![(ControlType::LeaderChange, encode(leader_change.to_bytes(0)))];
        if self.log.next_offset() == Offset(0)
            && let Some(voters) = self.bootstrap_voters.take()
        {
            let version = KRaftVersionRecord { kraft_version: 1, ..KRaftVersionRecord::default() };
            records.push((ControlType::KraftVersion, encode(version.to_bytes(0))));
            records.push((ControlType::KraftVoters, encode(voters.to_bytes(0))));
        }
        let params = BatchParams { control: true, ..BatchParams::default() };
        self.append_batch(control_batch(params, now.wall_ms, &records), now, out);
    }

    fn append_batch(&mut self, bytes: Bytes, now: Now, out: &mut Outbox) {
        let batch = Batch::new(bytes).expect("a batch built here is whole");
        let batch = batch.assign(self.log.next_offset().0, self.epoch.0);
        self.log.append(batch, &self.config, now, out);
    }

    /// Appends records, all in one batch so that all or none survive. They are committed when they are durable; see
    /// [`Self::flush`]. Answers the end of the log.
    pub(crate) fn append(&mut self, records: Vec<MetadataRecord>, now: Now, out: &mut Outbox) -> Offset {
        assert!(matches!(self.state, State::Leader), "only a leader appends");
        if records.is_empty() {
            return self.log.next_offset();
        }
        let mut builder = BatchBuilder::new(BatchParams::default());
        for record in &records {
            let value = record.to_bytes(record.highest_version());
            let value = value.expect("records are written at a version they have");
            builder.append(now.wall_ms, None, Some(&value), &[]);
        }
        self.append_batch(builder.build(), now, out);
        let end = self.log.next_offset();
        let first = end.0 - i64::try_from(records.len()).expect("records are counted in 63 bits");
        self.uncommitted.extend((first + 1..).map(Offset).zip(records));
        end
    }

    /// Has everything appended so far made durable, and so committed.
    pub(crate) fn flush(&mut self, out: &mut Outbox) {
        self.log.flush(out);
    }

    /// Takes note of a completed operation on the log.
    pub(crate) fn on_storage_completed(
        &mut self,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        out: &mut Outbox,
    ) -> Result<Vec<MetadataRecord>, StorageFault> {
        self.log.on_completed(sequence, result, out)?;
        let high_watermark = self.high_watermark();
        let mut committed = Vec::new();
        while self.uncommitted.front().is_some_and(|(end, _)| *end <= high_watermark) {
            committed.extend(self.uncommitted.pop_front().map(|(_, record)| record));
        }
        Ok(committed)
    }
}

/// The epoch in a `quorum-state` file; `None` when it is damaged.
pub(crate) fn epoch_of_state_file(bytes: &[u8]) -> Option<LeaderEpoch> {
    let state: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let epoch = state.get("leaderEpoch")?.as_i64()?;
    Some(LeaderEpoch(i32::try_from(epoch).ok()?))
}

/// Path of the metadata log beneath log directory `dir`.
pub(crate) fn metadata_log_dir(dir: usize) -> StoragePath {
    StoragePath::new(&format!("{dir}/{METADATA_LOG_NAME}"))
}
