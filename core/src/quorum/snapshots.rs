//! Snapshots of the metadata log (KIP-630): which there are, when another is due, how a follower that lacks what the log
//! does not hold any more gets one, and what of the log and of older snapshots may go.
//!
//! A snapshot counts from when it is durable: only then does anything go that it contains. It is of what is committed, and so
//! nothing of it is ever taken back: a node that has got one keeps it, whoever leads then. Until its log begins where the
//! snapshot ends, it neither fetches nor stands for election.

use super::messages::{self, SnapshotChunk, SnapshotRequested};
use super::snapshot_file::{self, Contents, SnapshotId};
use super::voters::{VoterKey, VoterSet};
use super::{Address, Asked, Quorum, Role};
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::mark::Mark;
use crate::node::{Output, ReplyTo};
use crate::outbox::Outbox;
use crate::peer::Channel;
use crate::storage_op::{StorageOp, StoragePath, StorageToken};
use crate::time::{Instant, Now};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::{FetchSnapshotRequest, FetchSnapshotResponse};
use sordini_protocol::records::{MetadataRecord, VotersRecord};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Records, StoredRange};

/// How often it is looked whether older snapshots may go.
const CLEAN_INTERVAL_MS: i64 = 60_000;

/// The largest snapshot that is taken from a leader; it is held in memory until it is whole.
const DOWNLOAD_BYTES_MAX: u64 = 1 << 30;

/// A snapshot that is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    pub(crate) size: u64,
    /// Time of the last record that went into it, or, where that was not read, when the file was written.
    pub(crate) timestamp_ms: i64,
}

/// How far the log is committed, as far as snapshots go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// End of the last committed batch.
    pub(crate) end: Offset,
    /// Bytes of what was committed since the newest snapshot.
    pub(crate) bytes: u64,
    /// Time of its last record.
    pub(crate) timestamp_ms: i64,
}

/// A snapshot on its way from the leader.
#[derive(Clone, Debug)]
struct Download {
    id: SnapshotId,
    bytes: BytesMut,
}

/// What becomes of a snapshot that is being written.
#[derive(Clone, Debug)]
enum Purpose {
    /// It was taken of this node's image.
    Own,
    /// It is the leader's, and what this node's log lacks.
    Install { records: Vec<MetadataRecord>, voters: Option<VotersRecord>, is_durable: bool },
}

#[derive(Clone, Debug)]
struct Writing {
    sequence: u64,
    id: SnapshotId,
    file: SnapshotFile,
    purpose: Purpose,
}

/// The snapshots of a node.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    owner: u32,
    writes: u64,
    /// Those that are durable, oldest first.
    files: BTreeMap<SnapshotId, SnapshotFile>,
    /// One at a time.
    writing: Option<Writing>,
    download: Option<Download>,
    /// Operations under way that nobody waits for but a clean stop.
    removing: usize,
    /// Files that go when nobody reads them any more.
    removals: VecDeque<(Instant, StoragePath)>,
    applied: Applied,
    /// When the last one was taken, or the node started.
    taken_at: Instant,
    clean_at: Instant,
}

impl Snapshots {
    pub(super) fn new(
        owner: u32,
        files: BTreeMap<SnapshotId, SnapshotFile>,
        applied: Applied,
        now: Now,
    ) -> Self {
        Self {
            owner,
            writes: 0,
            files,
            writing: None,
            download: None,
            removing: 0,
            removals: VecDeque::new(),
            applied,
            taken_at: now.monotonic,
            clean_at: now.monotonic.plus_millis(CLEAN_INTERVAL_MS),
        }
    }

    /// The newest that is durable.
    pub(super) fn newest(&self) -> Option<SnapshotId> {
        self.files.last_key_value().map(|(id, _)| *id)
    }

    /// The oldest that is durable.
    pub(super) fn oldest(&self) -> Option<SnapshotId> {
        self.files.first_key_value().map(|(id, _)| *id)
    }

    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = SnapshotId> {
        self.files.keys().copied()
    }

    /// Whether nothing is on its way to the disk.
    pub(super) const fn is_idle(&self) -> bool {
        self.writing.is_none() && self.removing == 0
    }

    /// A snapshot has come from the leader, and the log does not begin at its end yet.
    pub(super) const fn is_installing(&self) -> bool {
        matches!(&self.writing, Some(Writing { purpose: Purpose::Install { .. }, .. }))
    }

    /// One is on its way to the disk, whatever for.
    pub(super) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The node stops. What is durable is found by the next start.
    pub(super) fn stop_installing(&mut self) {
        self.writing.take_if(|writing| matches!(writing.purpose, Purpose::Install { is_durable: true, .. }));
    }

    /// The snapshot that is being fetched, and from where on.
    pub(super) fn wanted(&self) -> Option<(SnapshotId, u64)> {
        self.download.as_ref().map(|download| (download.id, download.bytes.len() as u64))
    }

    /// What was got so far is of no use when another leads.
    pub(super) fn stop_fetching(&mut self) {
        self.download = None;
    }

    pub(super) fn on_committed(&mut self, end: Offset, bytes: u64, timestamp_ms: i64) {
        self.applied = Applied { end, bytes: self.applied.bytes + bytes, timestamp_ms };
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let clean = (self.files.len() > 1).then_some(self.clean_at);
        self.removals.front().map(|(due, _)| *due).into_iter().chain(clean).min()
    }

    fn token(&mut self) -> StorageToken {
        self.writes += 1;
        StorageToken { owner: self.owner, sequence: self.writes }
    }
}

impl Quorum {
    // ---- taking ----

    /// Whether there is so much in the log since the newest snapshot, or that is so long ago, that another is due.
    pub(crate) fn is_snapshot_due(&self, now: Now) -> bool {
        let snapshots = &self.snapshots;
        let interval = self.config.snapshot_interval_ms;
        let is_late = interval > 0 && now.monotonic >= snapshots.taken_at.plus_millis(interval);
        let is_due = snapshots.applied.bytes >= self.config.snapshot_bytes || is_late;
        is_due
            && snapshots.applied.bytes > 0
            && snapshots.writing.is_none()
            && snapshots.download.is_none()
            && self.high_watermark.is_some_and(|at| at >= snapshots.applied.end)
            && !self.is_stopping
    }

    /// Writes a snapshot: these records are what everything that was committed so far comes to, at a metadata.version.
    pub(crate) fn take_snapshot(
        &mut self,
        records: &[MetadataRecord],
        metadata_version: i16,
        now: Now,
        out: &mut Outbox,
    ) {
        out.sometimes(Mark::QuorumSnapshotTaken);
        let Applied { end, timestamp_ms, .. } = self.snapshots.applied;
        let epoch = self.epoch_below(end);
        // Who voted there, which may be others than do here.
        let voters = self.history.below(end).unwrap_or(&self.voters);
        let voters = voters.is_logged().then(|| voters.to_record());
        let bytes = snapshot_file::write(
            epoch,
            timestamp_ms,
            voters.as_ref(),
            records,
            metadata_version,
            now.wall_ms,
        );
        self.snapshots.taken_at = now.monotonic;
        self.snapshots.applied.bytes = 0;
        self.write_snapshot(SnapshotId { end, epoch }, timestamp_ms, bytes, Purpose::Own, out);
    }

    fn write_snapshot(
        &mut self,
        id: SnapshotId,
        timestamp_ms: i64,
        bytes: Bytes,
        purpose: Purpose,
        out: &mut Outbox,
    ) {
        assert!(self.snapshots.writing.is_none(), "snapshots are written one at a time");
        let file = SnapshotFile { size: bytes.len() as u64, timestamp_ms };
        let token = self.snapshots.token();
        self.snapshots.writing = Some(Writing { sequence: token.sequence, id, file, purpose });
        let op = StorageOp::Replace { file: self.log.dir().join(&id.file_name()), bytes };
        out.push(Output::Storage { token, op });
    }

    /// An operation on a snapshot is done.
    pub(crate) fn on_snapshot_stored(&mut self, sequence: u64, now: Now, out: &mut Outbox) {
        match &mut self.snapshots.writing {
            Some(writing) if writing.sequence == sequence => {
                let (id, file) = (writing.id, writing.file);
                self.snapshots.files.insert(id, file);
                match &mut writing.purpose {
                    Purpose::Own => {
                        self.snapshots.writing = None;
                        self.clean_snapshots(now, out);
                    }
                    Purpose::Install { is_durable, .. } => {
                        *is_durable = true;
                        if self.is_stopping {
                            self.snapshots.stop_installing();
                        }
                        self.maybe_install(now, out);
                    }
                }
            }
            Some(_) | None => self.snapshots.removing -= 1,
        }
    }

    // ---- cleaning ----

    /// Gives up older snapshots, and the log up to the next one, as far as the limits ask for that. The newest stays.
    fn clean_snapshots(&mut self, now: Now, out: &mut Outbox) {
        self.snapshots.clean_at = now.monotonic.plus_millis(CLEAN_INTERVAL_MS);
        let is_busy = self.snapshots.is_installing() || self.log.is_cutting() || self.truncating.is_some();
        if self.is_stopping || is_busy {
            return;
        }
        while let [(_, oldest), (next, _)] = *self.snapshots.files.iter().take(2).collect::<Vec<_>>() {
            let size = self.snapshots.files.values().map(|file| file.size).sum::<u64>() + self.log.size();
            let age = now.wall_ms.saturating_sub(oldest.timestamp_ms);
            let is_old = self.config.retention_ms.is_some_and(|limit| age > limit);
            let is_surplus = self.config.retention_bytes.is_some_and(|limit| size > limit);
            if !is_old && !is_surplus {
                return;
            }
            out.sometimes(if is_old { Mark::QuorumRetentionTime } else { Mark::QuorumRetentionSize });
            let next = *next;
            self.log.advance_log_start(next.end, &self.log_config, now, out);
            self.forget_snapshots_before(next, now);
            self.send_for_snapshot(out);
        }
    }

    /// Whoever reads one of them may go on for a while.
    fn forget_snapshots_before(&mut self, kept: SnapshotId, now: Now) {
        let due = now.monotonic.plus_millis(self.log_config.file_delete_delay_ms);
        let kept = self.snapshots.files.split_off(&kept);
        for id in core::mem::replace(&mut self.snapshots.files, kept).into_keys() {
            self.snapshots.removals.push_back((due, self.log.dir().join(&id.file_name())));
        }
    }

    /// Does what has come due.
    pub(super) fn on_snapshot_deadline(&mut self, now: Now, out: &mut Outbox) {
        while self.snapshots.removals.front().is_some_and(|(due, _)| *due <= now.monotonic) {
            let (_, path) = self.snapshots.removals.pop_front().expect("it has a front");
            self.snapshots.removing += 1;
            out.push(Output::Storage { token: self.snapshots.token(), op: StorageOp::Remove { path } });
        }
        if self.snapshots.files.len() > 1 && self.snapshots.clean_at <= now.monotonic {
            self.clean_snapshots(now, out);
        }
    }

    // ---- serving ----

    pub(crate) fn on_fetch_snapshot(
        &mut self,
        reply_to: &ReplyTo,
        request: &FetchSnapshotRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        if self.is_of_other_cluster(request.cluster_id.as_ref()) {
            let code = ErrorCode::InconsistentClusterId.as_i16();
            let response = FetchSnapshotResponse { error_code: code, ..FetchSnapshotResponse::default() };
            return self.respond(reply_to, AnyResponse::FetchSnapshot(response), out);
        }
        let chunk = match messages::snapshot_fetched(request) {
            None => Err(ErrorCode::UnknownTopicOrPartition),
            Some(partition) => {
                let wanted = SnapshotRequested::of(partition);
                let directory = partition.replica_directory_id;
                let replica = VoterKey { node: NodeId(request.replica_id), directory };
                self.snapshot_chunk(&wanted, request.max_bytes, replica, now)
            }
        };
        let response = messages::fetch_snapshot_response(request, chunk, &self.hint(), reply_to.version);
        self.respond(reply_to, AnyResponse::FetchSnapshot(response), out);
    }

    fn snapshot_chunk(
        &mut self,
        wanted: &SnapshotRequested,
        max_bytes: i32,
        replica: VoterKey,
        now: Now,
    ) -> Result<SnapshotChunk, ErrorCode> {
        let (check_quorum_ms, votes) = (self.check_quorum_ms(), self.is_voter());
        let Role::Leader(leader) = &mut self.role else { return Err(ErrorCode::NotLeaderOrFollower) };
        match wanted.leader_epoch.cmp(&self.election.epoch) {
            core::cmp::Ordering::Less => return Err(ErrorCode::FencedLeaderEpoch),
            core::cmp::Ordering::Greater => return Err(ErrorCode::UnknownLeaderEpoch),
            core::cmp::Ordering::Equal => {}
        }
        if leader.on_heard(replica, &self.voters, votes, self.museum, now) {
            leader.check_quorum_at = now.monotonic.plus_millis(check_quorum_ms);
        }
        let file = self.snapshots.files.get(&wanted.id).ok_or(ErrorCode::SnapshotNotFound)?;
        let position = u64::try_from(wanted.position).ok().filter(|position| *position < file.size);
        let position = position.ok_or(ErrorCode::PositionOutOfRange)?;
        let max_bytes = u64::try_from(max_bytes).unwrap_or(0).min(self.config.fetch_snapshot_max_bytes);
        let len = (file.size - position).min(max_bytes);
        let range = StoredRange {
            file: self.log.dir().join(&wanted.id.file_name()).shared(),
            position,
            len: u32::try_from(len).unwrap_or(u32::MAX),
        };
        Ok(SnapshotChunk { id: wanted.id, size: file.size, position, records: Records::Stored(range) })
    }

    // ---- getting ----

    /// The leader's log does not hold what this one lacks, and this snapshot contains it.
    pub(super) fn fetch_snapshot(&mut self, id: SnapshotId, asked: &Asked, now: Now, out: &mut Outbox) {
        if id.epoch.0 < 0 || self.high_watermark.is_some_and(|at| at >= id.end) {
            // What it contains is here already: the leader is mistaken, or its answer is old.
            return self.back_off(asked.voter, Channel::Fetch, now);
        }
        out.sometimes(Mark::QuorumSnapshotWanted);
        self.snapshots.download = Some(Download { id, bytes: BytesMut::new() });
    }

    pub(super) fn on_snapshot_chunk(
        &mut self,
        asked: &Asked,
        response: FetchSnapshotResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        let endpoints = response.node_endpoints;
        let topic = response.topics.into_iter().next();
        let Some(data) = topic.and_then(|topic| topic.partitions.into_iter().next()) else {
            return self.back_off(asked.voter, Channel::Fetch, now);
        };
        let told = (data.current_leader.leader_id, data.current_leader.leader_epoch);
        let endpoint = endpoints.iter().find(|node| node.node_id == told.0);
        let address = endpoint.map(|node| Address::new(&node.host, node.port));
        self.note_address(LeaderEpoch(told.1), Some(NodeId(told.0)), address);
        if !self.is_from_leader(asked, told, now, out) {
            return;
        }
        let Some(download) = &mut self.snapshots.download else { return };
        let chunk = match data.unaligned_records {
            Some(Records::Bytes(bytes)) => bytes,
            Some(Records::Stored(_)) | None => Bytes::new(),
        };
        let id = SnapshotId {
            end: Offset(data.snapshot_id.end_offset),
            epoch: LeaderEpoch(data.snapshot_id.epoch),
        };
        let (received, size) = (download.bytes.len() as u64, u64::try_from(data.size).unwrap_or(0));
        let is_next = data.error_code == ErrorCode::None.as_i16()
            && id == download.id
            && u64::try_from(data.position) == Ok(received)
            && !chunk.is_empty()
            && received + chunk.len() as u64 <= size
            && size <= DOWNLOAD_BYTES_MAX;
        if !is_next {
            // The leader may have given it up for a newer one: the next fetch of the log tells.
            out.sometimes(Mark::QuorumSnapshotLost);
            self.snapshots.download = None;
            return self.back_off(asked.voter, Channel::Fetch, now);
        }
        download.bytes.extend_from_slice(&chunk);
        let is_whole = download.bytes.len() as u64 == size;
        out.sometimes_if(received > 0, Mark::QuorumSnapshotContinued);
        self.heard_of_leader(now);
        if !is_whole {
            return;
        }
        let download = self.snapshots.download.take().expect("it was just written to");
        let bytes = download.bytes.freeze();
        match snapshot_file::read(&bytes) {
            Ok(Contents { last_timestamp_ms, voters, records }) => {
                let purpose = Purpose::Install { records, voters, is_durable: false };
                self.write_snapshot(id, last_timestamp_ms, bytes, purpose, out);
            }
            Err(_) => {
                out.sometimes(Mark::QuorumFetchedDamage);
                self.back_off(asked.voter, Channel::Fetch, now);
            }
        }
    }

    /// Begins the log anew where the leader's snapshot ends, when that is durable and nothing is written to the log.
    pub(super) fn maybe_install(&mut self, now: Now, out: &mut Outbox) {
        if !self.log.is_idle() || self.is_stopping {
            return;
        }
        let is_due =
            |writing: &mut Writing| matches!(writing.purpose, Purpose::Install { is_durable: true, .. });
        let Some(Writing { id, file, purpose: Purpose::Install { records, voters, .. }, .. }) =
            self.snapshots.writing.take_if(is_due)
        else {
            return;
        };
        out.sometimes(Mark::QuorumSnapshotInstalled);
        self.log.truncate_fully(id.end, now, out);
        self.forget_snapshots_before(id, now);
        match voters {
            Some(voters) => self.replace_voters(VoterSet::of_record(voters)),
            // What named them stood in the log that is gone, and was not committed.
            None => self.take_back_voters(Offset(0), out),
        }
        self.uncommitted.clear();
        self.committed.clear();
        self.installed = Some(records);
        self.snapshots.applied = Applied { end: id.end, bytes: 0, timestamp_ms: file.timestamp_ms };
        self.high_watermark = Some(id.end);
    }
}
