//! How a follower's log becomes the leader's: by fetches, each of which says what the follower has.

use super::messages::Fetched;
use super::snapshot_file::SnapshotId;
use super::{Address, Asked, ParkedFetch, Place, Quorum, Role, Uncommitted, VoterKey, messages, records_of};
use crate::ids::{ConnectionId, LeaderEpoch, NodeId, Offset};
use crate::log::lookup::{BatchPlace, Found};
use crate::log::partition_log::{LookupId, Start};
use crate::mark::Mark;
use crate::museum::Exhibit;
use crate::node::ReplyTo;
use crate::outbox::Outbox;
use crate::peer::Channel;
use crate::storage_op::{Completion, StorageFault};
use crate::time::Now;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::batch::Batch;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::{FetchRequest, FetchResponse};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::Records;

impl Quorum {
    pub(crate) fn on_fetch(&mut self, reply_to: ReplyTo, request: &FetchRequest, now: Now, out: &mut Outbox) {
        if self.is_of_other_cluster(request.cluster_id.as_ref()) {
            let code = ErrorCode::InconsistentClusterId.as_i16();
            let response = FetchResponse { error_code: code, ..FetchResponse::default() };
            return self.respond(&reply_to, AnyResponse::Fetch(response), out);
        }
        let partition = messages::fetched(request, reply_to.version).filter(|partition| {
            // Kafka refuses these too: nobody who follows the log says so.
            request.max_wait_ms >= 0
                && partition.fetch_offset >= 0
                && partition.last_fetched_epoch >= 0
                && partition.current_leader_epoch >= 0
        });
        let Some(partition) = partition else {
            let code = ErrorCode::InvalidRequest.as_i16();
            let response = FetchResponse { error_code: code, ..FetchResponse::default() };
            return self.respond(&reply_to, AnyResponse::Fetch(response), out);
        };
        let epoch = LeaderEpoch(partition.current_leader_epoch);
        let (check_quorum_ms, votes) = (self.check_quorum_ms(), self.is_voter());
        let Role::Leader(leader) = &mut self.role else {
            return self.refuse_fetch(&reply_to, ErrorCode::NotLeaderOrFollower, out);
        };
        if epoch != self.election.epoch {
            let code = if epoch < self.election.epoch {
                ErrorCode::FencedLeaderEpoch
            } else {
                ErrorCode::UnknownLeaderEpoch
            };
            return self.refuse_fetch(&reply_to, code, out);
        }
        let offset = Offset(partition.fetch_offset);
        let last_epoch = LeaderEpoch(partition.last_fetched_epoch);
        let (log_start, log_end) = (self.log.log_start(), self.log.next_offset());
        let replica =
            if reply_to.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
        let key = VoterKey { node: NodeId(replica), directory: partition.replica_directory_id };
        if leader.on_heard(key, &self.voters, votes, self.museum, now) {
            leader.check_quorum_at = now.monotonic.plus_millis(check_quorum_ms);
        }
        // A log that has forgotten an epoch cannot tell where a log of that epoch parts from it.
        let is_forgotten =
            self.log.epochs().first().is_some_and(|(oldest, start)| {
                last_epoch < oldest && start > log_start && offset > Offset(0)
            });
        if is_forgotten && self.snapshots.newest().is_some() {
            return self.answer_with_snapshot(&reply_to, out);
        }
        if log_start > Offset(0)
            && let Some(oldest) = self.snapshots.oldest()
            && (offset < log_start
                || (offset == log_start && last_epoch != oldest.epoch)
                || last_epoch < oldest.epoch)
        {
            return self.answer_with_snapshot(&reply_to, out);
        }
        if offset < log_start {
            return self.refuse_fetch(&reply_to, ErrorCode::OffsetOutOfRange, out);
        }
        if offset > log_start {
            match self.log.epochs().end_offset_for(last_epoch, log_end) {
                Some((found, end)) if found == last_epoch && end >= offset => {}
                found => {
                    out.sometimes(Mark::QuorumDiverging);
                    // A newer epoch than any here: the two part at the end of this log, or before.
                    let latest = self.log.epochs().latest().unwrap_or_default();
                    let diverging = Some(found.unwrap_or((latest, log_end)));
                    let fetched = Fetched {
                        code: ErrorCode::None,
                        high_watermark: self.told_high_watermark(),
                        log_start,
                        diverging,
                        snapshot: None,
                        records: Records::Bytes(Bytes::new()),
                    };
                    return self.respond_fetch(&reply_to, fetched, out);
                }
            }
        }
        // A negative number is that of nobody who keeps the log: a tool that reads it.
        if self.voters.has(key, self.museum) {
            leader.on_fetch(key.node, offset, log_end, now);
        } else if replica >= 0 {
            leader.on_observer_fetch((key.node, key.directory), offset, log_end, now);
        }
        self.maybe_advance_high_watermark(out);
        self.settle_voters(now, out);
        if !matches!(self.role, Role::Leader(_)) {
            // It was no voter any more, and that is committed.
            return self.refuse_fetch(&reply_to, ErrorCode::NotLeaderOrFollower, out);
        }
        let max_bytes = u64::try_from(partition.partition_max_bytes.min(request.max_bytes)).unwrap_or(0);
        let fetch = ParkedFetch {
            reply_to,
            offset,
            max_bytes: max_bytes.min(self.config.fetch_max_bytes),
            known_high_watermark: Offset(partition.high_watermark),
            // Kafka's followers ask for half a second, whatever their patience.
            deadline: now.monotonic.plus_millis(i64::from(request.max_wait_ms.min(self.fetch_max_wait_ms()))),
            place: Place::Unknown,
        };
        let id = self.next_fetch;
        self.next_fetch += 1;
        self.fetches.insert(id, fetch);
        self.serve_fetches(now, out);
    }

    pub(super) fn refuse_fetch(&mut self, reply_to: &ReplyTo, code: ErrorCode, out: &mut Outbox) {
        let fetched = Fetched {
            code,
            high_watermark: None,
            log_start: self.log.log_start(),
            diverging: None,
            snapshot: None,
            records: Records::Bytes(Bytes::new()),
        };
        self.respond_fetch(reply_to, fetched, out);
    }

    fn respond_fetch(&mut self, reply_to: &ReplyTo, fetched: Fetched, out: &mut Outbox) {
        let response = messages::fetch_response(fetched, &self.hint(), reply_to.version);
        self.respond(reply_to, AnyResponse::Fetch(response), out);
    }

    /// What a follower lacks is not in the log any more: the newest snapshot has it.
    fn answer_with_snapshot(&mut self, reply_to: &ReplyTo, out: &mut Outbox) {
        out.sometimes(Mark::QuorumSnapshotOffered);
        let fetched = Fetched {
            code: ErrorCode::None,
            high_watermark: self.told_high_watermark(),
            log_start: self.log.log_start(),
            diverging: None,
            snapshot: self.snapshots.newest(),
            records: Records::Bytes(Bytes::new()),
        };
        self.respond_fetch(reply_to, fetched, out);
    }

    /// The log's start has moved: whoever waits for something below it is sent for a snapshot.
    pub(super) fn send_for_snapshot(&mut self, out: &mut Outbox) {
        let log_start = self.log.log_start();
        let below = self.fetches.extract_if(.., |_, fetch| fetch.offset < log_start);
        for fetch in below.map(|(_, fetch)| fetch).collect::<Vec<_>>() {
            self.answer_with_snapshot(&fetch.reply_to, out);
        }
    }

    /// Answers every fetch that need not wait any more.
    pub(super) fn serve_fetches(&mut self, now: Now, out: &mut Outbox) {
        let told = self.told_high_watermark();
        let ids: Vec<u64> = self.fetches.keys().copied().collect();
        for id in ids {
            let fetch = self.fetches.get_mut(&id).expect("it was just listed");
            let written_end = self.log.written_end();
            if fetch.offset < written_end && fetch.place == Place::Unknown {
                fetch.place = match self.log.find(fetch.offset, fetch.max_bytes, written_end, out) {
                    Start::Known(place) => Place::Known(place),
                    Start::Searching(lookup) => Place::Searching(lookup),
                    Start::End => Place::Unknown,
                };
            }
            let (records, is_due) = match fetch.place {
                Place::Known(place) => {
                    (self.log.slice(place, written_end, fetch.max_bytes, true).map(Records::Stored), true)
                }
                Place::Searching(_) => (None, false),
                Place::Unknown => {
                    let is_news = told.is_some_and(|at| at > fetch.known_high_watermark);
                    (None, is_news || fetch.deadline <= now.monotonic)
                }
            };
            if is_due {
                let fetch = self.fetches.remove(&id).expect("it was just there");
                let fetched = Fetched {
                    code: ErrorCode::None,
                    high_watermark: self.told_high_watermark(),
                    log_start: self.log.log_start(),
                    diverging: None,
                    snapshot: None,
                    records: records.unwrap_or(Records::Bytes(Bytes::new())),
                };
                self.respond_fetch(&fetch.reply_to, fetched, out);
            }
        }
    }

    /// A connection is gone, and whoever fetched over it.
    pub(crate) fn on_connection_closed(&mut self, connection: ConnectionId) {
        self.fetches.retain(|_, fetch| fetch.reply_to.connection != connection);
    }

    /// What a leader says of its high watermark: nothing until its own epoch has one. What it learnt as a follower, or has from a
    /// snapshot, may be less than its followers know, and they never go back (KIP-595).
    pub(super) fn told_high_watermark(&self) -> Option<Offset> {
        let Role::Leader(leader) = &self.role else { return self.high_watermark };
        self.high_watermark.filter(|at| *at > leader.epoch_start)
    }

    fn maybe_advance_high_watermark(&mut self, out: &mut Outbox) {
        let Role::Leader(leader) = &self.role else { return };
        let own_end = self.is_voter().then(|| self.log.flushed_end());
        let end = leader.majority_end(own_end, &self.voters);
        let is_of_epoch = if self.museum.has(Exhibit::A16HighWatermarkAtEpochStart) {
            end >= leader.epoch_start
        } else {
            end > leader.epoch_start
        };
        // A majority that has what earlier epochs wrote does not commit it: only what this epoch wrote does, and all below.
        if is_of_epoch && self.high_watermark.is_none_or(|at| end > at) {
            self.advance_high_watermark(end, out);
        }
    }

    fn advance_high_watermark(&mut self, to: Offset, out: &mut Outbox) {
        out.sometimes_if(!self.is_sole_voter(), Mark::QuorumCommitted);
        self.high_watermark = Some(to);
        while self.uncommitted.front().is_some_and(|batch| batch.end <= to) {
            let batch = self.uncommitted.pop_front().expect("it has a front");
            self.snapshots.on_committed(batch.end, batch.bytes, batch.timestamp_ms);
            self.committed.extend(batch.records);
        }
    }

    // ---- the log, as a follower takes it ----

    pub(super) fn on_fetched(&mut self, asked: &Asked, response: FetchResponse, now: Now, out: &mut Outbox) {
        let endpoints = response.node_endpoints;
        let topic = response.responses.into_iter().next();
        let Some(data) = topic.and_then(|topic| topic.partitions.into_iter().next()) else {
            return self.back_off(asked.voter, Channel::Fetch, now);
        };
        let told = (data.current_leader.leader_id, data.current_leader.leader_epoch);
        let endpoint = endpoints.iter().find(|node| node.node_id == told.0);
        let address = endpoint.map(|node| Address::new(&node.host, u16::try_from(node.port).unwrap_or(0)));
        self.note_address(LeaderEpoch(told.1), Some(NodeId(told.0)), address);
        if !self.is_from_leader(asked, told, now, out) {
            return;
        }
        if data.error_code != ErrorCode::None.as_i16() {
            return self.back_off(asked.voter, Channel::Fetch, now);
        }
        self.heard_of_leader(now);
        if data.diverging_epoch.epoch >= 0 {
            let end = Offset(data.diverging_epoch.end_offset);
            return self.on_diverging(LeaderEpoch(data.diverging_epoch.epoch), end, now, out);
        }
        if data.snapshot_id.end_offset >= 0 {
            let (end, epoch) = (data.snapshot_id.end_offset, data.snapshot_id.epoch);
            let id = SnapshotId { end: Offset(end), epoch: LeaderEpoch(epoch) };
            return self.fetch_snapshot(id, asked, now, out);
        }
        if let Some(Records::Bytes(bytes)) = data.records
            && !bytes.is_empty()
            && !self.append_fetched(bytes, now, out)
        {
            return self.back_off(asked.voter, Channel::Fetch, now);
        }
        let high_watermark = Offset(data.high_watermark).min(self.log.next_offset());
        if data.high_watermark >= 0 && self.high_watermark.is_none_or(|at| high_watermark > at) {
            self.advance_high_watermark(high_watermark, out);
            self.settle_voters(now, out);
        }
    }

    /// Whether an answer comes from the leader that this node follows, of the epoch that it was asked in, once what it tells of
    /// leaders is taken note of. An answer may tell of a newer epoch, and may come when there is one: what it says of the log
    /// is about another leader's then.
    pub(super) fn is_from_leader(
        &mut self,
        asked: &Asked,
        (leader, epoch): (i32, i32),
        now: Now,
        out: &mut Outbox,
    ) -> bool {
        let (told, epoch) = (Some(NodeId(leader)).filter(|id| id.0 >= 0), LeaderEpoch(epoch));
        self.learn(epoch, told, now, out);
        if asked.epoch != self.election.epoch || self.is_stopping {
            self.back_off(asked.voter, Channel::Fetch, now);
            return false;
        }
        if !self.is_voter()
            && let Role::Follower { leader, fetch_by, .. } = self.role
            && told == Some(leader)
            && fetch_by <= now.monotonic
        {
            // Somebody else says that it leads still, and perhaps where.
            self.follow(leader, now, out);
        }
        match self.role {
            Role::Follower { leader, .. } if leader == asked.voter && epoch == asked.epoch => true,
            Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Follower { .. }
            | Role::Leader(_)
            | Role::Resigned { .. } => {
                self.back_off(asked.voter, Channel::Fetch, now);
                false
            }
        }
    }

    /// The leader is there.
    pub(super) fn heard_of_leader(&mut self, now: Now) {
        let until = now.monotonic.plus_millis(self.config.fetch_timeout_ms);
        if let Role::Follower { leader, has_fetched, fetch_by, .. } = &mut self.role {
            (*has_fetched, *fetch_by) = (true, until);
            self.backoffs.remove(&(*leader, Channel::Fetch));
        }
    }

    /// Appends what the leader sent, batch by batch; false if something of it is not what comes next, or is no batch. What
    /// came before that stays.
    fn append_fetched(&mut self, mut bytes: Bytes, now: Now, out: &mut Outbox) -> bool {
        let begun_at = self.log.next_offset();
        let is_whole = loop {
            let batch = match Batch::first_of(&mut bytes) {
                Ok(Some(batch)) => batch,
                // The last batch may be cut short, but not the first one too.
                Ok(None) => break self.log.next_offset() > begun_at,
                Err(_) => break false,
            };
            let header = *batch.header();
            let epoch = LeaderEpoch(header.partition_leader_epoch);
            let is_next = header.base_offset == self.log.next_offset().0
                && epoch <= self.election.epoch
                && epoch >= self.last_epoch();
            if !is_next || batch.check_crc().is_err() {
                break false;
            }
            let records = match records_of(batch.bytes()) {
                Ok(records) => records,
                Err(why) => {
                    self.fail(why);
                    break false;
                }
            };
            self.on_appended(&header, batch.bytes(), now);
            self.log.append(batch.assign(header.base_offset, epoch.0), &self.log_config, now, out);
            self.uncommitted.push_back(Uncommitted::new(&header, records));
        };
        out.sometimes_if(!is_whole, Mark::QuorumFetchedDamage);
        self.log.flush(out);
        is_whole
    }

    /// The leader's log has something else behind the end of this epoch: so goes what this one has there. It may take
    /// several rounds to find the point at which the two part (KIP-279).
    fn on_diverging(&mut self, epoch: LeaderEpoch, end: Offset, now: Now, out: &mut Outbox) {
        let log_end = self.log.next_offset();
        let own = self.log.epochs().end_offset_for(epoch, log_end);
        let to = own.map_or(end, |(_, own_end)| own_end.min(end)).max(self.log.log_start());
        self.cut(to, now, out);
    }

    fn cut(&mut self, to: Offset, now: Now, out: &mut Outbox) {
        let log_end = self.log.next_offset();
        if self.high_watermark.is_some_and(|at| to < at) {
            self.fail(format!(
                "the leader of the metadata quorum has no records from offset {to} on, which were committed: this node's \
                 metadata log, or that of the leader, is not of this cluster or was damaged"
            ));
            return;
        }
        // A log is cut while nothing is under way: fetches wait for that.
        if to >= log_end || !self.log.is_idle() {
            return self.back_off_fetch(now);
        }
        match self.log.find(to, 0, to, out) {
            Start::Known(place) => self.truncate(to, place, now, out),
            Start::Searching(lookup) => self.truncating = Some((lookup, to)),
            Start::End => self.back_off_fetch(now),
        }
    }

    fn truncate(&mut self, to: Offset, place: BatchPlace, now: Now, out: &mut Outbox) {
        if !self.log.is_idle() {
            // Something was given up or removed meanwhile: the next fetch leads here again.
            return self.back_off_fetch(now);
        }
        if place.base != to {
            // Epochs begin with a batch, in every log.
            self.fail(format!(
                "the leader of the metadata quorum parts from this log at offset {to}, within a batch"
            ));
            return;
        }
        out.sometimes(Mark::QuorumTruncated);
        self.log.truncate(place, out);
        self.take_back_voters(to, out);
        while self.uncommitted.back().is_some_and(|batch| batch.end > to) {
            self.uncommitted.pop_back();
        }
    }

    fn on_found(&mut self, lookup: LookupId, found: Found, now: Now, out: &mut Outbox) {
        if let Some((awaited, to)) = self.truncating
            && awaited == lookup
        {
            self.truncating = None;
            match found {
                Found::Batch(place) => self.truncate(to, place, now, out),
                Found::Record { .. } | Found::Nothing | Found::Damage => {
                    self.fail(format!("the metadata log is damaged at offset {to}"));
                }
            }
            return;
        }
        let waiting = self.fetches.values_mut().find(|fetch| fetch.place == Place::Searching(lookup));
        let Some(fetch) = waiting else { return };
        match found {
            Found::Batch(place) => fetch.place = Place::Known(place),
            Found::Record { .. } | Found::Nothing | Found::Damage => {
                let offset = fetch.offset;
                self.fail(format!("the metadata log is damaged at offset {offset}"));
            }
        }
        self.serve_fetches(now, out);
    }

    /// Takes note of a completed operation on the log.
    pub(crate) fn on_storage_completed(
        &mut self,
        sequence: u64,
        result: Result<Completion, StorageFault>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), StorageFault> {
        let progress = self.log.on_completed(sequence, result, out)?;
        if let Some((lookup, found)) = progress.found {
            self.on_found(lookup, found, now, out);
        }
        self.maybe_install(now, out);
        self.maybe_advance_high_watermark(out);
        self.settle_voters(now, out);
        self.serve_fetches(now, out);
        self.pursue(now, out);
        Ok(())
    }
}
