//! Which brokers are there, as far as the active controller has heard of them. It is the part of what a controller knows
//! that is in no record, and that ends with its leadership.

use super::image::MetadataImage;
use crate::ids::NodeId;
use crate::time::{Instant, Now};
use alloc::collections::BTreeMap;
use core::time::Duration;

/// Metadata offset of a broker that has not told one.
const NONE_TOLD: i64 = -1;

/// A broker that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    heard: Instant,
    /// The last offset of the metadata log that the broker has acted on.
    metadata_offset: i64,
    /// The other brokers have to act on the log up to here before this one may go: then they know that it leads nothing.
    shutdown_offset: Option<i64>,
}

/// The sessions of the brokers that send heartbeats, by monotonic time: a wall clock that jumps fences nobody.
#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeats {
    timeout: Duration,
    sessions: BTreeMap<NodeId, Session>,
}

impl Heartbeats {
    /// A controller becomes the active one: every broker that may lead gets a full session, since nobody knows when the
    /// controller before heard of it, but for those that are known to be gone.
    pub(super) fn begin(
        image: &MetadataImage,
        is_gone: impl Fn(NodeId) -> bool,
        timeout: Duration,
        now: Now,
    ) -> Self {
        let brokers = image.live_brokers().map(|(id, _)| id).filter(|id| !is_gone(*id));
        let session = Session { heard: now.monotonic, metadata_offset: NONE_TOLD, shutdown_offset: None };
        Self { timeout, sessions: brokers.map(|id| (id, session)).collect() }
    }

    /// A broker was heard of; nothing is known of what it was before.
    pub(super) fn register(&mut self, broker: NodeId, now: Now) {
        let session = Session { heard: now.monotonic, metadata_offset: NONE_TOLD, shutdown_offset: None };
        self.sessions.insert(broker, session);
    }

    /// A broker was heard of, and how far it is.
    pub(super) fn touch(&mut self, broker: NodeId, metadata_offset: i64, now: Now) {
        let shutdown_offset = self.sessions.get(&broker).and_then(|session| session.shutdown_offset);
        let session = Session { heard: now.monotonic, metadata_offset, shutdown_offset };
        self.sessions.insert(broker, session);
    }

    /// A broker is gone, or may be.
    pub(super) fn end(&mut self, broker: NodeId) {
        self.sessions.remove(&broker);
    }

    /// Whether a broker was heard of lately.
    pub(super) fn has_session(&self, broker: NodeId, now: Now) -> bool {
        self.sessions.get(&broker).is_some_and(|session| now.monotonic < self.expiry(session))
    }

    fn expiry(&self, session: &Session) -> Instant {
        let micros = u64::try_from(self.timeout.as_micros()).unwrap_or(u64::MAX);
        Instant(session.heard.0.saturating_add(micros))
    }

    /// When the next session expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.sessions.values().map(|session| self.expiry(session)).min()
    }

    /// Takes a session that has expired, the oldest first.
    pub(super) fn take_expired(&mut self, now: Now) -> Option<NodeId> {
        let (expiry, broker) =
            self.sessions.iter().map(|(broker, session)| (self.expiry(session), *broker)).min()?;
        if expiry > now.monotonic {
            return None;
        }
        self.sessions.remove(&broker);
        Some(broker)
    }

    /// A broker is about to go: the others have to act on the log up to `offset` first.
    pub(super) fn shut_down_after(&mut self, broker: NodeId, offset: i64) {
        if let Some(session) = self.sessions.get_mut(&broker) {
            session.shutdown_offset = Some(offset);
        }
    }

    /// What was said with [`Self::shut_down_after`], if it was.
    pub(super) fn shutdown_offset(&self, broker: NodeId) -> Option<i64> {
        self.sessions.get(&broker)?.shutdown_offset
    }

    /// The offset of the metadata log that every active broker has acted on; `None` when there is none to wait for.
    pub(super) fn lowest_active_offset(&self, image: &MetadataImage) -> Option<i64> {
        let is_active = |id: &NodeId| image.brokers().get(id).is_some_and(|broker| broker.is_active());
        let active = self.sessions.iter().filter(|(id, _)| is_active(id));
        active.map(|(_, session)| session.metadata_offset).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now { monotonic: Instant(millis * 1000), wall_ms: 0 }
    }

    fn heartbeats() -> Heartbeats {
        Heartbeats { timeout: Duration::from_secs(9), sessions: BTreeMap::new() }
    }

    #[test]
    fn a_session_lasts_its_time_from_the_last_heartbeat_on() {
        let mut heartbeats = heartbeats();
        assert_eq!(heartbeats.next_expiry(), None);
        heartbeats.register(NodeId(1), at(0));
        heartbeats.touch(NodeId(1), 5, at(4_000));
        heartbeats.register(NodeId(2), at(1_000));
        assert_eq!(heartbeats.next_expiry(), Some(at(10_000).monotonic));
        assert!(
            heartbeats.has_session(NodeId(2), at(9_999)) && !heartbeats.has_session(NodeId(2), at(10_000))
        );
        assert_eq!(heartbeats.take_expired(at(9_999)), None);
        assert_eq!(
            heartbeats.take_expired(at(20_000)),
            Some(NodeId(2)),
            "who is silent for longest goes first"
        );
        assert_eq!(heartbeats.take_expired(at(20_000)), Some(NodeId(1)));
        assert_eq!(heartbeats.take_expired(at(20_000)), None);
    }

    #[test]
    fn what_a_broker_waits_for_before_it_goes_outlives_its_heartbeats_and_not_its_registration() {
        let mut heartbeats = heartbeats();
        heartbeats.register(NodeId(1), at(0));
        heartbeats.shut_down_after(NodeId(1), 7);
        heartbeats.touch(NodeId(1), 5, at(1));
        assert_eq!(heartbeats.shutdown_offset(NodeId(1)), Some(7));
        heartbeats.register(NodeId(1), at(2));
        assert_eq!(heartbeats.shutdown_offset(NodeId(1)), None);
    }
}
