//! Fetch: answered with stretches of files as soon as enough bytes are there for the reader to see, or time is up. What
//! another replica fetches says how far it is, too. A consumer may read from a follower, and is sent to one in its rack (KIP-392).

use super::broker::{Broker, Parked, ReplyTo};
use super::read_replica::Consumer;
use crate::fetch_session::{SessionPartition, SessionUse, Told, Wanted};
use crate::ids::{BrokerEpoch, LeaderEpoch, NodeId, Offset, TopicIdPartition};
use crate::log::lookup::BatchPlace;
use crate::mark::Mark;
use crate::museum::Exhibit;
use crate::outbox::Outbox;
use crate::partition::{FetchIsolation, FollowerFetch, ParkedId, Part, Resolved};
use crate::time::Now;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use sordini_protocol::messages::{FetchRequest, FetchResponse};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::{Records, StoredRange, Str};

/// A fetch that looks for its offsets, or waits for more bytes.
#[derive(Clone, Debug)]
pub(crate) struct ParkedFetch {
    pub(crate) reply_to: ReplyTo,
    session: SessionUse,
    reader: Reader,
    isolation: FetchIsolation,
    min_bytes: u64,
    max_bytes: u64,
    parts: Vec<FetchPart>,
    /// Searches under way.
    searching: usize,
    /// Bytes that could be sent, over all parts.
    ready_bytes: u64,
    /// It does not wait for more bytes: something is to be told at once, or time is up.
    is_due: bool,
}

/// Another replica that fetches. From version 15 on it says in which life its broker is.
#[derive(Clone, Copy, Debug)]
struct Replica {
    id: NodeId,
    broker_epoch: Option<BrokerEpoch>,
}

impl Replica {
    fn of(request: &FetchRequest, version: i16) -> Option<Self> {
        let (id, epoch) = if version >= 15 {
            (request.replica_state.replica_id, request.replica_state.replica_epoch)
        } else {
            (request.replica_id, -1)
        };
        let broker_epoch = (epoch >= 0).then_some(BrokerEpoch(epoch));
        (id >= 0).then_some(Self { id: NodeId(id), broker_epoch })
    }
}

/// Who reads.
#[derive(Clone, Debug)]
enum Reader {
    /// Another replica, which says how far it is unless it has done so before.
    Replica { replica: Replica, has_said: bool },
    /// A client that knows of leaders only.
    Client,
    /// A client that may read from followers.
    Consumer(Consumer),
}

impl Reader {
    fn of(request: &FetchRequest, version: i16, listener: &Str) -> Self {
        match Replica::of(request, version) {
            Some(replica) => Self::Replica { replica, has_said: false },
            None if version >= FOLLOWER_READS_FROM => {
                // A parked fetch outlives its frame.
                Self::Consumer(Consumer { rack: request.rack_id.detached(), listener: listener.clone() })
            }
            None => Self::Client,
        }
    }

    /// The broker for whose replicas is fetched, if it is not a client who fetches.
    const fn follower(&self) -> Option<NodeId> {
        match self {
            Self::Replica { replica, .. } => Some(replica.id),
            Self::Client | Self::Consumer(_) => None,
        }
    }
}

#[derive(Clone, Debug)]
struct FetchPart {
    name: SessionPartition,
    wanted: Wanted,
    /// The partition's owner number, if this node leads it.
    owner: Option<u32>,
    state: PartState,
    /// What of [`ParkedFetch::ready_bytes`] is this part's.
    ready_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartState {
    Failed(ErrorCode),
    /// The reader's log parts from this one: it has to go back to the end of this epoch (KIP-595).
    Diverging {
        epoch: LeaderEpoch,
        end: Offset,
    },
    /// Where the offset lies is being looked up.
    Searching,
    /// A follower is nearer to who asks.
    Preferred(NodeId),
    /// Records begin here.
    At(BatchPlace),
    /// Nothing to read yet.
    AtEnd,
}

/// The first version whose clients know that they may read from followers (KIP-392).
const FOLLOWER_READS_FROM: i16 = 11;

/// The first version that tells clients where the leader went (KIP-951).
const LEADER_HINTS_FROM: i16 = 16;

impl Broker {
    pub(super) fn on_fetch(
        &mut self,
        reply_to: ReplyTo,
        listener: &Str,
        request: &FetchRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let evictions = self.sessions.evictions();
        let opened = self.sessions.open(request, reply_to.version, now.monotonic, &mut self.rng);
        out.sometimes_if(self.sessions.evictions() > evictions, Mark::FetchSessionEvicted);
        let (session, wanted) = match opened {
            Ok((session, wanted)) => {
                out.sometimes_if(matches!(session, SessionUse::Continued(_)), Mark::FetchSessionContinued);
                let is_refused = request.session_epoch == 0 && session == SessionUse::None;
                out.sometimes_if(is_refused && !wanted.is_empty(), Mark::FetchSessionsFull);
                (session, wanted)
            }
            Err(code) => {
                let is_unknown = code == ErrorCode::FetchSessionIdNotFound;
                out.sometimes(if is_unknown { Mark::FetchSessionUnknown } else { Mark::FetchSessionEpoch });
                let response = FetchResponse { error_code: code.as_i16(), ..FetchResponse::default() };
                return reply_to.respond(AnyResponse::Fetch(response), out);
            }
        };
        let id = self.next_parked_id();
        let asked = u64::try_from(request.max_bytes).unwrap_or(0);
        let max_bytes = asked.min(u64::from(self.config.fetch_max_bytes));
        let reader = Reader::of(request, reply_to.version, listener);
        let isolation = match &reader {
            Reader::Replica { .. } => FetchIsolation::LogEnd,
            Reader::Client | Reader::Consumer(_) => FetchIsolation::of(-1, request.isolation_level),
        };
        let mut fetch = ParkedFetch {
            session,
            reader,
            isolation,
            reply_to,
            // Nobody waits for more than there is room for.
            min_bytes: u64::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
            max_bytes,
            parts: Vec::with_capacity(wanted.len()),
            searching: 0,
            ready_bytes: 0,
            // Nothing was asked for, or there is no time to wait.
            is_due: wanted.is_empty() || request.max_wait_ms <= 0,
        };
        for (index, (name, wanted)) in wanted.into_iter().enumerate() {
            let part = Part { parked: id, index };
            let (owner, state) = self.begin_part(part, &name, wanted, isolation, &fetch.reader, now, out);
            fetch.parts.push(FetchPart { name, wanted, owner, state, ready_bytes: 0 });
            self.count(&mut fetch, index, now);
        }
        if fetch.searching == 0 && (fetch.is_due || fetch.ready_bytes >= fetch.min_bytes) {
            return self.answer_fetch(fetch, now, out);
        }
        if let Reader::Replica { has_said, .. } = &mut fetch.reader {
            *has_said = true;
        }
        for (index, part) in fetch.parts.iter().enumerate() {
            if let Some(partition) = part.owner.and_then(|owner| self.partitions.get_mut(&owner)) {
                partition.await_data(Part { parked: id, index }, isolation);
            }
        }
        let deadline = now.monotonic.plus_millis(i64::from(request.max_wait_ms));
        self.park(id, Parked::Fetch(fetch), Some(deadline));
    }

    /// Looks at one partition: errors first, then where its records begin.
    fn begin_part(
        &mut self,
        part: Part,
        name: &SessionPartition,
        wanted: Wanted,
        isolation: FetchIsolation,
        reader: &Reader,
        now: Now,
        out: &mut Outbox,
    ) -> (Option<u32>, PartState) {
        let Some(topic) = self.image.find_topic(name.topic_id, &name.topic) else {
            let unknown = if name.topic_id.is_zero() {
                ErrorCode::UnknownTopicOrPartition
            } else {
                ErrorCode::UnknownTopicId
            };
            return (None, PartState::Failed(unknown));
        };
        if !topic.partitions.contains_key(&name.partition) {
            return (None, PartState::Failed(ErrorCode::UnknownTopicOrPartition));
        }
        let id = TopicIdPartition { topic: topic.id, partition: name.partition };
        let (owner, partition) = match self.hosted(id) {
            Some((_, partition)) if partition.is_offline() => {
                return (None, PartState::Failed(ErrorCode::KafkaStorageError));
            }
            Some(hosted) if hosted.1.is_leader() || matches!(reader, Reader::Consumer(_)) => hosted,
            Some(_) | None => return (None, PartState::Failed(ErrorCode::NotLeaderOrFollower)),
        };
        if let Err(code) = partition.check_leader_epoch(wanted.current_leader_epoch) {
            return (None, PartState::Failed(code));
        }
        if self.cuts.contains_key(&owner) {
            // Soon it will be the leader's log again.
            return (None, PartState::Failed(ErrorCode::ReplicaNotAvailable));
        }
        let partition = &self.partitions[&owner];
        let (log_start, log_end) = (partition.log().log_start(), partition.log().next_offset());
        if wanted.last_fetched_epoch != LeaderEpoch::UNKNOWN {
            let mut found = partition.log().epochs().end_offset_for(wanted.last_fetched_epoch, log_end);
            if self.museum.has(Exhibit::A02EpochLookupOneRound) {
                found = found.map(|(_, end)| (wanted.last_fetched_epoch, end));
            }
            match found {
                None => return (None, PartState::Failed(ErrorCode::OffsetOutOfRange)),
                Some((epoch, end)) if epoch != wanted.last_fetched_epoch || end < wanted.fetch_offset => {
                    return (Some(owner), PartState::Diverging { epoch, end });
                }
                Some(_) => {}
            }
        }
        if wanted.fetch_offset < log_start || wanted.fetch_offset > log_end {
            return (None, PartState::Failed(ErrorCode::OffsetOutOfRange));
        }
        if let Reader::Consumer(consumer) = reader
            && let Some(preferred) = self.preferred_replica(owner, consumer, wanted.fetch_offset)
        {
            out.sometimes(Mark::FetchPreferredReplica);
            return (Some(owner), PartState::Preferred(preferred));
        }
        if let Reader::Replica { replica: Replica { id: replica, broker_epoch }, has_said: false } = *reader {
            if self.is_of_an_earlier_life(replica, broker_epoch) {
                return (None, PartState::Failed(ErrorCode::NotLeaderOrFollower));
            }
            let is_eligible = self.may_be_in_sync(replica, broker_epoch);
            let Wanted { fetch_offset: end, log_start, .. } = wanted;
            let fetch = FollowerFetch { replica, broker_epoch, is_eligible, end, log_start };
            if !self.on_follower_fetch(owner, &fetch, now, out) {
                // A replica that asks in this very epoch knows of metadata that this node has not seen.
                let is_ahead = wanted.current_leader_epoch != LeaderEpoch::UNKNOWN;
                let code =
                    if is_ahead { ErrorCode::UnknownLeaderEpoch } else { ErrorCode::NotLeaderOrFollower };
                return (None, PartState::Failed(code));
            }
        }
        let partition = self.partitions.get_mut(&owner).expect("it was just found");
        out.sometimes_if(!partition.is_leader(), Mark::FetchFromFollower);
        let end = partition.visible_end(isolation);
        if wanted.fetch_offset >= end {
            return (Some(owner), PartState::AtEnd);
        }
        let state = match partition.find(wanted.fetch_offset, wanted.max_bytes, end, part, out) {
            None => PartState::Searching,
            Some(Resolved::Batch(place)) => PartState::At(place),
            Some(Resolved::Damage) => PartState::Failed(ErrorCode::CorruptMessage),
            Some(Resolved::Nothing | Resolved::Record { .. }) => PartState::AtEnd,
        };
        (Some(owner), state)
    }

    /// Counts what a part can bring, after its state has changed.
    fn count(&self, fetch: &mut ParkedFetch, index: usize, now: Now) {
        let (isolation, follower) = (fetch.isolation, fetch.reader.follower());
        let part = &mut fetch.parts[index];
        fetch.ready_bytes -= part.ready_bytes;
        part.ready_bytes = 0;
        match part.state {
            PartState::Failed(_) | PartState::Diverging { .. } | PartState::Preferred(_) => {
                fetch.is_due = true
            }
            PartState::Searching => fetch.searching += 1,
            PartState::AtEnd => {}
            PartState::At(place) => {
                let partition = part.owner.and_then(|owner| self.partitions.get(&owner));
                let partition = partition.filter(|partition| !self.is_kept_from(follower, partition, now));
                let range = partition.and_then(|partition| {
                    let end = partition.visible_end(isolation);
                    // A reader of an older segment than the active one has waited long enough: its segment is full.
                    fetch.is_due |= place.segment < partition.log().active_base();
                    // What there is beyond the last place that is known is not counted.
                    fetch.is_due |= !partition.log().tells_where(end, place.segment);
                    partition.log().slice(place, end, part.wanted.max_bytes, true)
                });
                part.ready_bytes = range.map_or(0, |range| u64::from(range.len));
            }
        }
        fetch.ready_bytes += part.ready_bytes;
    }

    /// A search of a parked fetch is over.
    pub(super) fn on_fetch_located(&mut self, part: Part, resolved: Resolved, now: Now, out: &mut Outbox) {
        let Some(Parked::Fetch(fetch)) = self.parked.get_mut(&part.parked) else { return };
        if fetch.parts[part.index].state != PartState::Searching {
            return;
        }
        fetch.searching -= 1;
        fetch.parts[part.index].state = match resolved {
            Resolved::Batch(place) => PartState::At(place),
            Resolved::Damage => PartState::Failed(ErrorCode::CorruptMessage),
            Resolved::Nothing | Resolved::Record { .. } => PartState::AtEnd,
        };
        self.recount(part, now, out);
    }

    /// A partition of a parked fetch has more to read, or is gone.
    pub(super) fn on_more_data(&mut self, part: Part, now: Now, out: &mut Outbox) {
        let Some(Parked::Fetch(fetch)) = self.parked.get(&part.parked) else { return };
        let FetchPart { name, wanted, owner, state, .. } = fetch.parts[part.index].clone();
        if state == PartState::Searching && owner.is_some_and(|owner| self.partitions.contains_key(&owner)) {
            return;
        }
        let (isolation, reader) = (fetch.isolation, fetch.reader.clone());
        let keeps_place = matches!(state, PartState::At(_))
            && owner.and_then(|owner| self.partitions.get(&owner)).is_some_and(|it| it.is_leader());
        if !keeps_place {
            let (owner, state) = self.begin_part(part, &name, wanted, isolation, &reader, now, out);
            if let Some(partition) = owner.and_then(|owner| self.partitions.get_mut(&owner)) {
                // Who leads no more has told everybody who waited, and a consumer goes on to wait.
                partition.await_data(part, isolation);
            }
            let Some(Parked::Fetch(fetch)) = self.parked.get_mut(&part.parked) else { return };
            if fetch.parts[part.index].state == PartState::Searching {
                fetch.searching -= 1;
            }
            fetch.parts[part.index].owner = owner;
            fetch.parts[part.index].state = state;
        }
        self.recount(part, now, out);
        out.sometimes_if(!self.parked.contains_key(&part.parked), Mark::FetchWoken);
    }

    /// The log of a partition lies in other files from here on.
    pub(super) fn on_log_moved(&mut self, part: Part, now: Now, out: &mut Outbox) {
        if let Some(Parked::Fetch(fetch)) = self.parked.get_mut(&part.parked)
            && matches!(fetch.parts[part.index].state, PartState::At(_))
        {
            fetch.parts[part.index].state = PartState::AtEnd;
        }
        self.on_more_data(part, now, out);
    }

    fn recount(&mut self, part: Part, now: Now, out: &mut Outbox) {
        let Some(Parked::Fetch(mut fetch)) = self.parked.remove(&part.parked) else { return };
        self.count(&mut fetch, part.index, now);
        let is_over = fetch.searching == 0 && (fetch.is_due || fetch.ready_bytes >= fetch.min_bytes);
        self.parked.insert(part.parked, Parked::Fetch(fetch));
        if is_over {
            self.finish_fetch(part.parked, now, out);
        }
    }

    fn finish_fetch(&mut self, id: ParkedId, now: Now, out: &mut Outbox) {
        let Some(Parked::Fetch(fetch)) = self.unpark(id) else { return };
        self.forget_fetch(id, &fetch);
        self.answer_fetch(fetch, now, out);
    }

    /// The reader does not want to wait longer. A search under way is waited for: it takes a disk's time, not a
    /// producer's.
    pub(super) fn on_fetch_deadline(&mut self, id: ParkedId, now: Now, out: &mut Outbox) {
        let Some(Parked::Fetch(fetch)) = self.parked.get_mut(&id) else { return };
        fetch.is_due = true;
        if fetch.searching == 0 {
            self.finish_fetch(id, now, out);
        } else {
            out.sometimes(Mark::FetchDueWhileSearching);
        }
    }

    pub(super) fn forget_fetch(&mut self, id: ParkedId, fetch: &ParkedFetch) {
        for (index, part) in fetch.parts.iter().enumerate() {
            if let Some(partition) = part.owner.and_then(|owner| self.partitions.get_mut(&owner)) {
                partition.forget_fetch(Part { parked: id, index });
            }
        }
    }

    fn answer_fetch(&mut self, fetch: ParkedFetch, now: Now, out: &mut Outbox) {
        let mut response = FetchResponse { session_id: fetch.session.id(), ..FetchResponse::default() };
        let mut budget = fetch.max_bytes;
        let mut is_first = true;
        let mut leader_is_elsewhere = false;
        let mut throttled_bytes = 0;
        for part in &fetch.parts {
            let mut data = PartitionData {
                partition_index: part.name.partition,
                high_watermark: -1,
                last_stable_offset: -1,
                log_start_offset: -1,
                aborted_transactions: (fetch.isolation == FetchIsolation::TxnCommitted).then(Vec::new),
                records: Some(Records::Bytes(bytes::Bytes::new())),
                ..PartitionData::default()
            };
            let partition = part.owner.and_then(|owner| self.partitions.get(&owner));
            if let Some(partition) = partition {
                data.high_watermark = partition.high_watermark().0;
                data.last_stable_offset = partition.last_stable_offset().0;
                data.log_start_offset = partition.log().log_start().0;
            }
            let mut has_records = false;
            // Its topic was deleted, and the end of the wait comes from another partition of it.
            let is_gone = partition.is_none() && !matches!(part.state, PartState::Failed(_));
            let state =
                if is_gone { PartState::Failed(ErrorCode::UnknownTopicOrPartition) } else { part.state };
            match state {
                PartState::Failed(code) => {
                    data.error_code = code.as_i16();
                    out.sometimes_if(code == ErrorCode::OffsetOutOfRange, Mark::FetchOutOfRange);
                    let is_fenced =
                        matches!(code, ErrorCode::FencedLeaderEpoch | ErrorCode::UnknownLeaderEpoch);
                    out.sometimes_if(is_fenced, Mark::FetchEpochFenced);
                    leader_is_elsewhere |=
                        matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
                }
                PartState::Diverging { epoch, end } => {
                    out.sometimes(Mark::FetchDiverging);
                    data.diverging_epoch =
                        EpochEndOffset { epoch: epoch.0, end_offset: end.0, ..EpochEndOffset::default() };
                }
                PartState::Preferred(replica) => data.preferred_read_replica = replica.0,
                PartState::Searching | PartState::AtEnd => {}
                // Retention or a client deleted the records while the request waited.
                PartState::At(_) if part.wanted.fetch_offset.0 < data.log_start_offset => {
                    out.sometimes(Mark::FetchDeletedWhileWaiting);
                    data.error_code = ErrorCode::OffsetOutOfRange.as_i16();
                }
                PartState::At(place) => {
                    let max_bytes = part.wanted.max_bytes.min(budget);
                    let partition =
                        partition.filter(|it| !self.is_kept_from(fetch.reader.follower(), it, now));
                    let range = partition.and_then(|partition| {
                        let end = if self.museum.has(Exhibit::A10TwoPhaseFetchBound) {
                            partition.log().next_offset()
                        } else {
                            partition.visible_end(fetch.isolation)
                        };
                        partition.log().slice(place, end, max_bytes, is_first)
                    });
                    let has_no_room = partition.is_some() && range.is_none() && !is_first;
                    out.sometimes_if(has_no_room, Mark::FetchNoRoomLeft);
                    if let Some(StoredRange { len, .. }) = range {
                        out.sometimes_if(u64::from(len) > max_bytes, Mark::FetchBatchBeyondLimit);
                        budget = budget.saturating_sub(u64::from(len));
                        let is_throttled = partition.is_some_and(|it| self.is_throttled_leader(it));
                        throttled_bytes += if is_throttled { u64::from(len) } else { 0 };
                        has_records = true;
                        is_first = false;
                    }
                    data.records = range.map(Records::Stored).or(data.records);
                }
            }
            let told = Told { high_watermark: data.high_watermark, log_start: data.log_start_offset };
            let must_tell = data.error_code != 0
                || matches!(part.state, PartState::Diverging { .. } | PartState::Preferred(_));
            if !self.sessions.is_news(fetch.session, &part.name, told, has_records, must_tell) {
                continue;
            }
            match response.responses.last_mut() {
                Some(topic) if topic.topic_id == part.name.topic_id && topic.topic == part.name.topic => {
                    topic.partitions.push(data);
                }
                Some(_) | None => response.responses.push(FetchableTopicResponse {
                    topic: part.name.topic.clone(),
                    topic_id: part.name.topic_id,
                    partitions: alloc::vec![data],
                    ..FetchableTopicResponse::default()
                }),
            }
        }
        if fetch.reply_to.version >= LEADER_HINTS_FROM && leader_is_elsewhere {
            self.add_fetch_leader_hints(&mut response);
        }
        if fetch.reader.follower().is_some() && throttled_bytes > 0 {
            self.replication_quotas.leader.record(throttled_bytes, now.monotonic);
        }
        fetch.reply_to.respond(AnyResponse::Fetch(response), out);
    }

    fn add_fetch_leader_hints(&self, response: &mut FetchResponse) {
        let mut leaders = BTreeSet::new();
        let told = [ErrorCode::NotLeaderOrFollower.as_i16(), ErrorCode::FencedLeaderEpoch.as_i16()];
        for topic in &mut response.responses {
            let Some(known) = self.image.find_topic(topic.topic_id, &topic.topic) else { continue };
            for data in topic.partitions.iter_mut().filter(|data| told.contains(&data.error_code)) {
                let Some(state) = known.partitions.get(&data.partition_index) else { continue };
                data.current_leader = LeaderIdAndEpoch {
                    leader_id: state.leader.map_or(-1, |leader| leader.0),
                    leader_epoch: state.leader_epoch.0,
                    ..LeaderIdAndEpoch::default()
                };
                leaders.extend(state.leader);
            }
        }
        for (id, host, port, rack) in self.endpoints(&leaders) {
            let endpoint = NodeEndpoint { node_id: id.0, host, port, rack, ..NodeEndpoint::default() };
            response.node_endpoints.push(endpoint);
        }
    }
}
