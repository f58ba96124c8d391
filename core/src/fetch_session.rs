//! Incremental fetch sessions (KIP-227): a reader of many partitions says only what has changed, and is told only what
//! has.

use crate::ids::{LeaderEpoch, Offset};
use crate::rng::Rng;
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::FetchRequest;
use sordini_protocol::wire::{Str, Uuid};

/// A session that was not used for so long gives way to a new one when there is no other place.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// The epoch of a request that begins a session, and of one that wants none.
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;

/// A partition as a session names it: by id from version 13 of Fetch on (the name is empty), by name before (the id is
/// zero).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionPartition {
    pub(crate) topic_id: Uuid,
    pub(crate) topic: Str,
    pub(crate) partition: i32,
}

/// What a reader wants of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) fetch_offset: Offset,
    /// Where the log of a replica begins; -1 of others.
    pub(crate) log_start: Offset,
    pub(crate) max_bytes: u64,
    pub(crate) current_leader_epoch: LeaderEpoch,
    pub(crate) last_fetched_epoch: LeaderEpoch,
}

/// What the reader was last told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
}

#[derive(Clone, Debug)]
struct Cached {
    wanted: Wanted,
    told: Option<Told>,
    /// Place in the session's order; partitions that brought data go to the end, so that all get their turn.
    order: u64,
}

#[derive(Clone, Debug)]
struct Session {
    /// The epoch that the next request must carry.
    epoch: i32,
    uses_topic_ids: bool,
    partitions: BTreeMap<SessionPartition, Cached>,
    order: BTreeMap<u64, SessionPartition>,
    next_order: u64,
    last_used: Instant,
    /// A session may not be pushed out by a larger one before it has lived for a while.
    begun: Instant,
}

impl Session {
    fn new(uses_topic_ids: bool, now: Instant) -> Self {
        Self {
            epoch: 1,
            uses_topic_ids,
            partitions: BTreeMap::new(),
            order: BTreeMap::new(),
            next_order: 0,
            last_used: now,
            begun: now,
        }
    }

    fn want(&mut self, partition: SessionPartition, wanted: Wanted) {
        if let Some(cached) = self.partitions.get_mut(&partition) {
            // Who asks for something else may have had no use for the last answer, and with it for what that told.
            (cached.wanted, cached.told) = (wanted, None);
            return;
        }
        let order = self.next_order;
        self.next_order += 1;
        self.order.insert(order, partition.clone());
        self.partitions.insert(partition, Cached { wanted, told: None, order });
    }

    fn forget(&mut self, partition: &SessionPartition) {
        if let Some(cached) = self.partitions.remove(partition) {
            self.order.remove(&cached.order);
        }
    }

    fn in_order(&self) -> Vec<(SessionPartition, Wanted)> {
        self.order.values().map(|name| (name.clone(), self.partitions[name].wanted)).collect()
    }
}

/// How a fetch request relates to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionUse {
    /// It has none: everything is answered.
    None,
    /// It began this one: everything is answered.
    Begun(i32),
    /// It goes on with this one: only changes are answered.
    Continued(i32),
}

impl SessionUse {
    /// The id that the response carries.
    pub(crate) const fn id(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Begun(id) | Self::Continued(id) => id,
        }
    }
}

/// The sessions of a node.
#[derive(Clone, Debug)]
pub(crate) struct FetchSessions {
    sessions: BTreeMap<i32, Session>,
    slots: usize,
    evictions: u64,
}

impl FetchSessions {
    pub(crate) const fn new(slots: usize) -> Self {
        Self { sessions: BTreeMap::new(), slots, evictions: 0 }
    }

    /// How many sessions gave way to others.
    pub(crate) const fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Says which partitions a request is about, and in which order. Errors go to the top of the response.
    pub(crate) fn open(
        &mut self,
        request: &FetchRequest,
        version: i16,
        now: Instant,
        rng: &mut Rng,
    ) -> Result<(SessionUse, Vec<(SessionPartition, Wanted)>), ErrorCode> {
        let uses_topic_ids = version >= 13;
        match request.session_epoch {
            INITIAL_EPOCH | FINAL_EPOCH => {
                self.sessions.remove(&request.session_id);
                let wanted = wanted(request);
                if request.session_epoch == FINAL_EPOCH {
                    return Ok((SessionUse::None, wanted));
                }
                Ok((self.begin(uses_topic_ids, &wanted, now, rng), wanted))
            }
            epoch => {
                let session =
                    self.sessions.get_mut(&request.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
                if session.epoch != epoch {
                    return Err(ErrorCode::InvalidFetchSessionEpoch);
                }
                if session.uses_topic_ids != uses_topic_ids {
                    return Err(ErrorCode::FetchSessionTopicIdError);
                }
                for (partition, wanted) in wanted(request) {
                    session.want(partition, wanted);
                }
                for topic in &request.forgotten_topics_data {
                    for partition in &topic.partitions {
                        session.forget(&SessionPartition {
                            topic_id: topic.topic_id,
                            topic: topic.topic.clone(),
                            partition: *partition,
                        });
                    }
                }
                session.last_used = now;
                session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
                if session.partitions.is_empty() {
                    self.sessions.remove(&request.session_id);
                    return Ok((SessionUse::None, Vec::new()));
                }
                Ok((SessionUse::Continued(request.session_id), session.in_order()))
            }
        }
    }

    fn begin(
        &mut self,
        uses_topic_ids: bool,
        wanted: &[(SessionPartition, Wanted)],
        now: Instant,
        rng: &mut Rng,
    ) -> SessionUse {
        if wanted.is_empty() || !self.make_room(wanted.len(), now) {
            return SessionUse::None;
        }
        let id = loop {
            let id = i32::try_from(rng.below(i32::MAX as u64)).expect("it is below 2^31") + 1;
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session::new(uses_topic_ids, now);
        for (partition, wanted) in wanted {
            session.want(partition.clone(), *wanted);
        }
        self.sessions.insert(id, session);
        SessionUse::Begun(id)
    }

    /// A full cache gives up the session that is idle for longest, if long enough, or else the smallest that is smaller
    /// than the new one.
    fn make_room(&mut self, size: usize, now: Instant) -> bool {
        if self.sessions.len() < self.slots {
            return true;
        }
        let idle = self.sessions.iter().min_by_key(|(id, session)| (session.last_used, **id));
        let idle = idle.filter(|(_, session)| now.since(session.last_used) > IDLE_MAX).map(|(id, _)| *id);
        let smallest = || {
            let smallest = self.sessions.iter().min_by_key(|(id, session)| (session.partitions.len(), **id));
            let gives_way =
                |session: &Session| session.partitions.len() < size && now.since(session.begun) > IDLE_MAX;
            smallest.filter(|(_, session)| gives_way(session)).map(|(id, _)| *id)
        };
        match idle.or_else(smallest) {
            Some(id) => {
                self.evictions += 1;
                self.sessions.remove(&id).is_some()
            }
            None => false,
        }
    }

    /// Whether a partition belongs into the response of a session: it has records, an error or something that the reader
    /// does not know. Takes note of what the reader is told.
    pub(crate) fn is_news(
        &mut self,
        session: SessionUse,
        partition: &SessionPartition,
        told: Told,
        has_records: bool,
        must_tell: bool,
    ) -> bool {
        let (SessionUse::Begun(id) | SessionUse::Continued(id)) = session else { return true };
        let Some(session_state) = self.sessions.get_mut(&id) else { return true };
        let Some(cached) = session_state.partitions.get_mut(partition) else { return true };
        let is_news =
            matches!(session, SessionUse::Begun(_)) || has_records || must_tell || cached.told != Some(told);
        // After an error everything is news again.
        cached.told = (!must_tell).then_some(told);
        if has_records {
            let order = session_state.next_order;
            session_state.next_order += 1;
            session_state.order.remove(&cached.order);
            cached.order = order;
            session_state.order.insert(order, partition.clone());
        }
        is_news
    }
}

fn wanted(request: &FetchRequest) -> Vec<(SessionPartition, Wanted)> {
    let mut all = Vec::new();
    for topic in &request.topics {
        // Sessions and parked fetches outlive the request, and a name would keep all of its frame in memory.
        let topic_name = topic.topic.detached();
        for partition in &topic.partitions {
            let name = SessionPartition {
                topic_id: topic.topic_id,
                topic: topic_name.clone(),
                partition: partition.partition,
            };
            let wanted = Wanted {
                fetch_offset: Offset(partition.fetch_offset),
                log_start: Offset(partition.log_start_offset),
                max_bytes: u64::try_from(partition.partition_max_bytes).unwrap_or(0),
                current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
                last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
            };
            all.push((name, wanted));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use sordini_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

    const NOW: Instant = Instant(0);

    fn request(session_id: i32, session_epoch: i32, partitions: &[i32]) -> FetchRequest {
        let partitions: Vec<FetchPartition> = partitions
            .iter()
            .map(|partition| FetchPartition {
                partition: *partition,
                partition_max_bytes: 100,
                ..FetchPartition::default()
            })
            .collect();
        let topics = if partitions.is_empty() {
            Vec::new()
        } else {
            vec![FetchTopic { topic: Str::from_static("t"), partitions, ..FetchTopic::default() }]
        };
        FetchRequest { session_id, session_epoch, topics, ..FetchRequest::default() }
    }

    fn partitions(of: &[(SessionPartition, Wanted)]) -> Vec<i32> {
        of.iter().map(|(name, _)| name.partition).collect()
    }

    fn name(partition: i32) -> SessionPartition {
        SessionPartition { topic_id: Uuid::ZERO, topic: Str::from_static("t"), partition }
    }

    #[test]
    fn a_session_remembers_its_partitions_and_takes_additions_and_removals() {
        let mut rng = Rng::new(1);
        let mut sessions = FetchSessions::new(10);
        let (begun, wanted) = sessions.open(&request(0, 0, &[0, 1]), 12, NOW, &mut rng).expect("it begins");
        assert_eq!(partitions(&wanted), [0, 1]);
        let id = begun.id();
        assert!(id > 0);
        let mut more = request(id, 1, &[2]);
        let forgotten =
            ForgottenTopic { topic: Str::from_static("t"), partitions: vec![0], ..Default::default() };
        more.forgotten_topics_data.push(forgotten);
        let (used, wanted) = sessions.open(&more, 12, NOW, &mut rng).expect("the epoch is right");
        assert_eq!((used, partitions(&wanted)), (SessionUse::Continued(id), vec![1, 2]));
        for (epoch, error) in
            [(1, ErrorCode::InvalidFetchSessionEpoch), (3, ErrorCode::InvalidFetchSessionEpoch)]
        {
            assert_eq!(sessions.open(&request(id, epoch, &[]), 12, NOW, &mut rng).err(), Some(error));
        }
        assert_eq!(
            sessions.open(&request(id, 2, &[]), 13, NOW, &mut rng).err(),
            Some(ErrorCode::FetchSessionTopicIdError)
        );
        let unknown = sessions.open(&request(id + 1, 2, &[]), 12, NOW, &mut rng).err();
        assert_eq!(unknown, Some(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn a_partition_is_news_when_it_has_records_or_its_ends_moved() {
        let mut rng = Rng::new(1);
        let mut sessions = FetchSessions::new(10);
        let (begun, _) = sessions.open(&request(0, 0, &[0, 1]), 12, NOW, &mut rng).expect("it begins");
        let told = Told { high_watermark: 5, log_start: 0 };
        assert!(sessions.is_news(begun, &name(0), told, true, false), "the first answer is full");
        let used = SessionUse::Continued(begun.id());
        assert!(!sessions.is_news(used, &name(0), told, false, false));
        assert!(sessions.is_news(used, &name(0), Told { high_watermark: 6, ..told }, false, false));
        assert!(sessions.is_news(used, &name(0), told, false, true), "an error is told");
        assert!(sessions.is_news(used, &name(0), told, false, false), "and so is its end");
        let (_, wanted) = sessions.open(&request(begun.id(), 1, &[]), 12, NOW, &mut rng).expect("it goes on");
        assert_eq!(partitions(&wanted), [1, 0], "the one that brought records went to the end");
        assert!(!sessions.is_news(used, &name(0), told, false, false));
        sessions.open(&request(begun.id(), 2, &[0]), 12, NOW, &mut rng).expect("it goes on");
        assert!(sessions.is_news(used, &name(0), told, false, false), "who asks anew is told anew");
    }

    #[test]
    fn a_full_cache_answers_without_a_session_unless_one_is_idle_or_smaller() {
        let mut rng = Rng::new(1);
        let mut sessions = FetchSessions::new(1);
        sessions.open(&request(0, 0, &[0]), 12, NOW, &mut rng).expect("it begins");
        let (none, _) = sessions.open(&request(0, 0, &[0]), 12, NOW, &mut rng).expect("it is answered");
        assert_eq!(none, SessionUse::None);
        let (young, _) = sessions.open(&request(0, 0, &[0, 1]), 12, NOW, &mut rng).expect("it is answered");
        assert_eq!(young, SessionUse::None, "the smaller one has only begun");
        let id = *sessions.sessions.first_key_value().expect("there is one").0;
        let late = Instant(121_000_000);
        sessions.open(&request(id, 1, &[]), 12, late, &mut rng).expect("it goes on");
        let (same, _) = sessions.open(&request(0, 0, &[0]), 12, late, &mut rng).expect("it is answered");
        assert_eq!(same, SessionUse::None, "it is neither idle nor smaller");
        let (larger, _) = sessions.open(&request(0, 0, &[0, 1]), 12, late, &mut rng).expect("it begins");
        assert!(matches!(larger, SessionUse::Begun(_)));
        let later = Instant(242_000_001);
        let (after_idle, _) = sessions.open(&request(0, 0, &[0]), 12, later, &mut rng).expect("it begins");
        assert!(matches!(after_idle, SessionUse::Begun(_)));
    }
}
