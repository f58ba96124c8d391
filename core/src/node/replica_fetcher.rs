//! How this node's replicas follow those who lead them: it fetches from each leader what it has of all partitions that it
//! leads, with one request at a time, in a fetch session (KIP-101, KIP-227, KIP-595's diverging epochs, KIP-903).
//!
//! To ask for an offset is to say that everything below it is here. So nothing is asked before all that came last is written.

use super::broker::{Broker, Timer};
use super::output::Output;
use crate::controller::image::PartitionState;
use crate::ids::{LeaderEpoch, NodeId, Offset, RequestId, TopicIdPartition};
use crate::mark::Mark;
use crate::museum::{Exhibit, Museum};
use crate::outbox::Outbox;
use crate::peer::{Channel, Peer, PeerFault};
use crate::quorum::Address;
use crate::time::{Instant, Now};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use sordini_protocol::messages::fetch_response::PartitionData;
use sordini_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use sordini_protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Str, Uuid};

/// Requests to those who lead partitions have numbers from here on, below those to the active controller.
const FIRST_REQUEST: u64 = 1 << 62;

/// Kafka's version for replicas' fetches with this release's metadata.version; 18 says more of metadata logs only.
const FETCH_VERSION: i16 = 17;

/// The version of ListOffsets by which replicas learn where a leader's log ends and begins.
const LIST_OFFSETS_VERSION: i16 = 9;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// What a leader's session knows of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    fetch_offset: Offset,
    log_start: Offset,
    leader_epoch: LeaderEpoch,
    last_fetched_epoch: LeaderEpoch,
}

/// A replica here of what another node leads.
#[derive(Clone, Copy, Debug)]
struct Followed {
    owner: u32,
    /// It is left alone until then.
    retry_at: Option<Instant>,
    /// What the leader is to be asked about its log, which is not where this one ends.
    unknown_edge: Option<Edge>,
    /// It had all that the leader took for committed when that last told of it.
    is_caught_up: bool,
    /// The leader has answered in this epoch, and its log is this one as far as this one goes.
    is_aligned: bool,
}

/// The two ends of a leader's log, in the order in which they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    End,
    Start,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Records,
    Edges(Edge),
}

#[derive(Clone, Debug)]
struct Asked {
    request: RequestId,
    peer: Peer,
    question: Question,
    deadline: Instant,
}

/// What is fetched from one leader.
#[derive(Clone, Debug, Default)]
struct Fetcher {
    followed: BTreeMap<TopicIdPartition, Followed>,
    session_id: i32,
    /// Of the next request; 0 begins a session.
    session_epoch: i32,
    told: BTreeMap<TopicIdPartition, Told>,
    asked: Option<Asked>,
    /// Nothing is asked before.
    retry_at: Option<Instant>,
}

impl Fetcher {
    /// Whatever the leader knows of a session, the next request begins another.
    fn begin_session_anew(&mut self, is_known: bool) {
        self.session_epoch = 0;
        if !is_known {
            self.session_id = 0;
        }
        self.told.clear();
    }

    /// The leader has answered in its session, or has none for us.
    fn on_session(&mut self, session_id: i32) {
        if session_id == 0 {
            self.begin_session_anew(false);
        } else if self.session_epoch == 0 {
            (self.session_id, self.session_epoch) = (session_id, 1);
        } else {
            self.session_epoch = if self.session_epoch == i32::MAX { 1 } else { self.session_epoch + 1 };
        }
    }

    fn earliest(&self, now: Instant) -> Option<Instant> {
        if let Some(asked) = &self.asked {
            return Some(asked.deadline);
        }
        let retries = self.followed.values().filter_map(|followed| followed.retry_at);
        let waits = retries.chain(self.retry_at).filter(|at| *at > now);
        waits.min()
    }
}

/// Everything that is followed, by who leads it.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplicaFetchers {
    by_leader: BTreeMap<NodeId, Fetcher>,
    leaders: BTreeMap<TopicIdPartition, NodeId>,
    next_request: u64,
}

impl ReplicaFetchers {
    /// Follows whoever leads a partition by now, if that is another node.
    pub(super) fn follow(
        &mut self,
        id: TopicIdPartition,
        owner: u32,
        state: &PartitionState,
        own: NodeId,
        museum: Museum,
    ) {
        let leader = state.leader.filter(|leader| *leader != own);
        if self.leaders.get(&id).copied() != leader {
            self.forget(id);
        }
        if let Some(leader) = leader {
            self.leaders.insert(id, leader);
            let fetcher = self.by_leader.entry(leader).or_default();
            // News of a partition are a reason to try at once.
            let before = fetcher.followed.get(&id);
            let is_caught_up = before.is_some_and(|before| before.is_caught_up);
            let is_aligned = museum.has(Exhibit::A12SkipTruncationIfSameLeader)
                && before.is_some_and(|before| before.is_aligned);
            let followed = Followed { owner, retry_at: None, unknown_edge: None, is_caught_up, is_aligned };
            fetcher.followed.insert(id, followed);
        }
    }

    /// A partition is not followed any more.
    pub(super) fn forget(&mut self, id: TopicIdPartition) {
        if let Some(fetcher) = self.leaders.remove(&id).and_then(|leader| self.by_leader.get_mut(&leader)) {
            fetcher.followed.remove(&id);
        }
    }

    fn followed_mut(&mut self, id: TopicIdPartition) -> Option<&mut Followed> {
        self.by_leader.get_mut(self.leaders.get(&id)?)?.followed.get_mut(&id)
    }
}

/// Whether a request of this number was asked here.
pub(super) const fn is_own(request: RequestId) -> bool {
    request.0 >= FIRST_REQUEST
}

impl Broker {
    /// Asks every leader that can be asked for what it has.
    pub(super) fn pursue_replica_fetchers(&mut self, now: Now, out: &mut Outbox) {
        if self.fetchers.by_leader.is_empty() || self.is_stopping() {
            return;
        }
        let leaders: Vec<NodeId> = self.fetchers.by_leader.keys().copied().collect();
        for leader in leaders {
            let Some(fetcher) = self.fetchers.by_leader.get(&leader) else { continue };
            let is_overdue = fetcher.asked.as_ref().is_some_and(|asked| asked.deadline <= now.monotonic);
            if fetcher.followed.is_empty() || is_overdue {
                self.hang_up(leader, now, out);
            }
            self.ask_leader(leader, now, out);
        }
        let earliest = self.fetchers.by_leader.values().filter_map(|it| it.earliest(now.monotonic)).min();
        match earliest {
            Some(at) => self.timers.arm(Timer::ReplicaFetchers, at),
            None => self.timers.cancel(&Timer::ReplicaFetchers),
        }
    }

    /// Gives up the connection to a leader, which is silent, or of which nothing is wanted.
    fn hang_up(&mut self, leader: NodeId, now: Now, out: &mut Outbox) {
        let Some(fetcher) = self.fetchers.by_leader.get_mut(&leader) else { return };
        if let Some(Asked { peer, .. }) = fetcher.asked.take() {
            out.push(Output::HangUp { peer });
            self.put_leader_off(leader, now);
        }
        self.fetchers.by_leader.retain(|_, fetcher| !fetcher.followed.is_empty());
    }

    fn ask_leader(&mut self, leader: NodeId, now: Now, out: &mut Outbox) {
        let Some(fetcher) = self.fetchers.by_leader.get(&leader) else { return };
        if fetcher.asked.is_some() || fetcher.retry_at.is_some_and(|at| at > now.monotonic) {
            return;
        }
        if fetcher.followed.values().any(|followed| self.is_unsettled(followed.owner)) {
            return;
        }
        let of_leader = BTreeSet::from([leader]);
        let Some((_, host, port, _)) = self.endpoints(&of_leader).into_iter().next() else { return };
        let Ok(port) = u16::try_from(port) else { return };
        let peer = Address::new(&host, port).peer(Channel::Replication);
        let edges = [Edge::End, Edge::Start].into_iter();
        let edges = edges.filter_map(|edge| Some((edge, self.edges_request(leader, edge, now)?))).next();
        let (question, version, body) = match edges {
            Some((edge, request)) => {
                (Question::Edges(edge), LIST_OFFSETS_VERSION, AnyRequest::ListOffsets(request))
            }
            None => match self.records_request(leader, now) {
                Some(request) => (Question::Records, FETCH_VERSION, AnyRequest::Fetch(request)),
                None => return,
            },
        };
        let request = RequestId(FIRST_REQUEST + self.fetchers.next_request);
        self.fetchers.next_request += 1;
        let deadline = now.monotonic.plus_millis(self.config.replica_socket_timeout_ms);
        if let Some(fetcher) = self.fetchers.by_leader.get_mut(&leader) {
            fetcher.retry_at = None;
            fetcher.asked = Some(Asked { request, peer: peer.clone(), question, deadline });
        }
        out.push(Output::Ask { peer, request, version, body });
    }

    /// The replicas that follow a leader, and that may be asked for.
    fn to_fetch(&self, leader: NodeId, now: Now) -> impl Iterator<Item = (TopicIdPartition, &Followed)> {
        let followed = self.fetchers.by_leader.get(&leader).into_iter().flat_map(|it| &it.followed);
        followed.map(|(id, followed)| (*id, followed)).filter(move |(_, followed)| {
            self.is_fetchable(followed.owner) && followed.retry_at.is_none_or(|at| at <= now.monotonic)
        })
    }

    /// A fetch of all that is not known to the session yet; none if there is nothing to be fetched.
    fn records_request(&mut self, leader: NodeId, now: Now) -> Option<FetchRequest> {
        self.hold_back(leader, now);
        let wanted: BTreeMap<TopicIdPartition, Told> = self
            .to_fetch(leader, now)
            .filter_map(|(id, followed)| {
                let partition = self.partitions.get(&followed.owner)?;
                let log = partition.log();
                let asks_no_more = followed.is_aligned
                    && (self.museum.has(Exhibit::A03NoEpochInFetch)
                        || self.museum.has(Exhibit::A12SkipTruncationIfSameLeader));
                let last_epoch = log.epochs().latest().filter(|_| !asks_no_more);
                let told = Told {
                    fetch_offset: log.next_offset(),
                    log_start: log.log_start(),
                    leader_epoch: partition.leader_epoch(),
                    last_fetched_epoch: last_epoch.unwrap_or(LeaderEpoch::UNKNOWN),
                };
                Some((id, told))
            })
            .collect();
        let fetcher = self.fetchers.by_leader.get_mut(&leader)?;
        if wanted.is_empty() {
            return None;
        }
        let says_epoch = !self.museum.has(Exhibit::A03NoEpochInFetch);
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (id, told) in wanted.iter().filter(|(id, told)| fetcher.told.get(id) != Some(told)) {
            let partition = FetchPartition {
                partition: id.partition,
                current_leader_epoch: if says_epoch { told.leader_epoch.0 } else { LeaderEpoch::UNKNOWN.0 },
                fetch_offset: told.fetch_offset.0,
                last_fetched_epoch: told.last_fetched_epoch.0,
                log_start_offset: told.log_start.0,
                partition_max_bytes: self.config.replica_fetch_max_bytes,
                ..FetchPartition::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.topic_id == id.topic => topic.partitions.push(partition),
                Some(_) | None => topics.push(FetchTopic {
                    topic_id: id.topic,
                    partitions: alloc::vec![partition],
                    ..FetchTopic::default()
                }),
            }
        }
        let mut forgotten: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for id in fetcher.told.keys().filter(|id| !wanted.contains_key(id)) {
            forgotten.entry(id.topic).or_default().push(id.partition);
        }
        let forgotten = forgotten.into_iter().map(|(topic_id, partitions)| ForgottenTopic {
            topic_id,
            partitions,
            ..ForgottenTopic::default()
        });
        fetcher.told = wanted;
        Some(FetchRequest {
            replica_state: ReplicaState {
                replica_id: self.config.node_id.0,
                replica_epoch: self.broker_epoch.0,
                ..ReplicaState::default()
            },
            max_wait_ms: self.config.replica_fetch_wait_max_ms,
            min_bytes: self.config.replica_fetch_min_bytes,
            max_bytes: self.config.replica_fetch_response_max_bytes,
            session_id: fetcher.session_id,
            session_epoch: fetcher.session_epoch,
            topics,
            forgotten_topics_data: forgotten.collect(),
            ..FetchRequest::default()
        })
    }

    /// Leaves replicas alone for a while that get more than their throttle allows.
    fn hold_back(&mut self, leader: NodeId, now: Now) {
        let Some(until) = self.follower_throttled_until(now) else { return };
        let followed = self.to_fetch(leader, now).filter(|(_, followed)| !followed.is_caught_up);
        let held = followed.filter(|(id, followed)| self.may_be_held_back(*id, followed.owner));
        let held: Vec<TopicIdPartition> = held.map(|(id, _)| id).collect();
        for id in held {
            if let Some(followed) = self.fetchers.followed_mut(id) {
                followed.retry_at = Some(until);
            }
        }
    }

    /// The question where the leader's logs end or begin, of those that are not where this node's are.
    fn edges_request(&self, leader: NodeId, edge: Edge, now: Now) -> Option<ListOffsetsRequest> {
        let mut topics: BTreeMap<Str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        let asks = |followed: &Followed| followed.unknown_edge == Some(edge);
        for (id, followed) in self.to_fetch(leader, now).filter(|(_, followed)| asks(followed)) {
            let partition = self.partitions.get(&followed.owner)?;
            topics.entry(partition.topic.clone()).or_default().push(ListOffsetsPartition {
                partition_index: id.partition,
                current_leader_epoch: partition.leader_epoch().0,
                timestamp: if edge == Edge::End { LATEST } else { EARLIEST },
                ..ListOffsetsPartition::default()
            });
        }
        let topic = |(name, partitions)| ListOffsetsTopic { name, partitions, ..ListOffsetsTopic::default() };
        (!topics.is_empty()).then(|| ListOffsetsRequest {
            replica_id: self.config.node_id.0,
            topics: topics.into_iter().map(topic).collect(),
            ..ListOffsetsRequest::default()
        })
    }

    /// Whether what came last for a replica is not written yet.
    fn is_unsettled(&self, owner: u32) -> bool {
        self.is_fetchable(owner) && !self.is_settled(owner)
    }

    /// A leader is asked again after a while, in a new session.
    fn put_leader_off(&mut self, leader: NodeId, now: Now) {
        let retry_at = now.monotonic.plus_millis(self.config.replica_fetch_backoff_ms);
        if let Some(fetcher) = self.fetchers.by_leader.get_mut(&leader) {
            fetcher.begin_session_anew(false);
            fetcher.retry_at = Some(retry_at);
        }
    }

    /// A replica is asked for again after a while, or when there is news of its partition.
    fn put_replica_off(&mut self, id: TopicIdPartition, now: Now) {
        let retry_at = now.monotonic.plus_millis(self.config.replica_fetch_backoff_ms);
        if let Some(followed) = self.fetchers.followed_mut(id) {
            followed.unknown_edge = None;
            followed.retry_at = Some(retry_at);
        }
    }

    /// Before it is asked for again the leader is asked about its log.
    fn ask_for_edge(&mut self, id: TopicIdPartition, edge: Option<Edge>) {
        if let Some(followed) = self.fetchers.followed_mut(id) {
            followed.unknown_edge = edge;
        }
    }

    /// Takes what a leader answered, or that it never will.
    pub(super) fn on_replica_answered(
        &mut self,
        request: RequestId,
        result: Result<AnyResponse, PeerFault>,
        now: Now,
        out: &mut Outbox,
    ) {
        if self.is_stopping() {
            // What a clean stop says of the logs must stay so.
            return;
        }
        let is_asked = |fetcher: &Fetcher| fetcher.asked.as_ref().is_some_and(|it| it.request == request);
        let fetchers = &mut self.fetchers.by_leader;
        let Some((leader, fetcher)) = fetchers.iter_mut().find(|(_, fetcher)| is_asked(fetcher)) else {
            return;
        };
        let leader = *leader;
        let Some(Asked { question, .. }) = fetcher.asked.take() else { return };
        match (question, result) {
            (Question::Records, Ok(AnyResponse::Fetch(response))) => {
                self.on_replicas_fetched(leader, response, now, out);
            }
            (Question::Edges(edge), Ok(AnyResponse::ListOffsets(response))) => {
                self.on_edges(leader, edge, &response, now, out);
            }
            (_, Ok(_) | Err(PeerFault::Disconnected)) => self.put_leader_off(leader, now),
        }
        self.pursue_replica_fetchers(now, out);
    }

    fn on_replicas_fetched(&mut self, leader: NodeId, response: FetchResponse, now: Now, out: &mut Outbox) {
        let Some(fetcher) = self.fetchers.by_leader.get_mut(&leader) else { return };
        let code = ErrorCode::from_i16(response.error_code);
        if matches!(code, ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch) {
            return fetcher.begin_session_anew(code == ErrorCode::InvalidFetchSessionEpoch);
        }
        if code.is_error() {
            return self.put_leader_off(leader, now);
        }
        let told = fetcher.told.clone();
        fetcher.on_session(response.session_id);
        for topic in response.responses {
            for data in topic.partitions {
                let id = TopicIdPartition { topic: topic.topic_id, partition: data.partition_index };
                if let Some(told) = told.get(&id) {
                    self.on_replica_fetched(leader, id, *told, data, now, out);
                }
            }
        }
    }

    fn on_replica_fetched(
        &mut self,
        leader: NodeId,
        id: TopicIdPartition,
        told: Told,
        data: PartitionData,
        now: Now,
        out: &mut Outbox,
    ) {
        // It may be led by another, or be cut, by the time the answer comes.
        let followed = self.fetchers.by_leader.get(&leader).and_then(|fetcher| fetcher.followed.get(&id));
        let Some(owner) = followed.map(|followed| followed.owner).filter(|owner| self.is_fetchable(*owner))
        else {
            return;
        };
        let Some(partition) = self.partitions.get_mut(&owner) else { return };
        if partition.leader_epoch() != told.leader_epoch || partition.log().next_offset() != told.fetch_offset
        {
            return;
        }
        let code = ErrorCode::from_i16(data.error_code);
        if code == ErrorCode::OffsetOutOfRange {
            return self.ask_for_edge(id, Some(Edge::End));
        }
        if code.is_error() {
            return self.put_replica_off(id, now);
        }
        if data.diverging_epoch.epoch >= 0 {
            let end = Offset(data.diverging_epoch.end_offset.max(0));
            let to = partition.parting_point(LeaderEpoch(data.diverging_epoch.epoch), end);
            if self.museum.has(Exhibit::A09HighWatermarkBeforeTruncation) {
                let (high_watermark, log_start) =
                    (Offset(data.high_watermark), Offset(data.log_start_offset));
                let awakened = partition.follow_ends(high_watermark, log_start, now, out);
                self.on_awakened(owner, awakened, now, out);
            }
            if !self.cut_log(owner, to, now, out) {
                // The leader contradicts itself.
                self.put_replica_off(id, now);
            }
            return;
        }
        let mut is_whole = true;
        if let Some(Records::Bytes(bytes)) = data.records
            && !bytes.is_empty()
        {
            let throttled = &partition.config().follower_throttled_replicas;
            if throttled.has(id.partition, self.config.node_id) {
                self.replication_quotas.follower.record(bytes.len() as u64, now.monotonic);
            }
            if let Some(to) = partition.beginning_for(&bytes) {
                return self.begin_log_at(owner, to, (told.leader_epoch, bytes), now, out);
            }
            is_whole = partition.append_fetched(bytes, now, out);
        }
        let (high_watermark, log_start) = (Offset(data.high_watermark), Offset(data.log_start_offset));
        let is_caught_up = partition.log().next_offset() >= high_watermark;
        let awakened = partition.follow_ends(high_watermark, log_start, now, out);
        self.on_awakened(owner, awakened, now, out);
        self.arm_log_timer(owner);
        if let Some(followed) = self.fetchers.followed_mut(id) {
            followed.is_caught_up = is_caught_up;
            followed.is_aligned = true;
        }
        if !is_whole {
            out.sometimes(Mark::ReplicaFetchedDamage);
            self.put_replica_off(id, now);
        }
    }

    /// What lies behind the end of a leader's log is cut off. Where it begins behind the end of this node's, nothing here is of
    /// use.
    fn on_edges(
        &mut self,
        leader: NodeId,
        edge: Edge,
        response: &ListOffsetsResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(fetcher) = self.fetchers.by_leader.get(&leader) else { return };
        let asked: Vec<(TopicIdPartition, u32)> = fetcher
            .followed
            .iter()
            .filter(|(_, followed)| followed.unknown_edge == Some(edge))
            .map(|(id, followed)| (*id, followed.owner))
            .collect();
        for (id, owner) in asked {
            let Some(partition) = self.partitions.get(&owner) else { continue };
            let (name, log_end) = (partition.topic.clone(), partition.log().next_offset());
            let topic = response.topics.iter().find(|topic| topic.name == name);
            let answers = topic.into_iter().flat_map(|topic| &topic.partitions);
            let answer = answers.into_iter().find(|answer| answer.partition_index == id.partition);
            let told = answer.filter(|answer| answer.error_code == 0).map(|answer| Offset(answer.offset));
            let Some(told) = told.filter(|told| *told >= Offset(0) && self.is_fetchable(owner)) else {
                self.put_replica_off(id, now);
                continue;
            };
            let is_beyond = if edge == Edge::End { told < log_end } else { told > log_end };
            if is_beyond {
                out.sometimes(Mark::ReplicaOutOfRange);
                self.ask_for_edge(id, None);
                self.cut_log(owner, told, now, out);
            } else if edge == Edge::End {
                self.ask_for_edge(id, Some(Edge::Start));
            } else {
                // It was so a moment ago.
                self.put_replica_off(id, now);
            }
        }
    }
}
