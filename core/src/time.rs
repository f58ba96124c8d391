//! Time as an argument. The core reads no clock: whoever calls `step` says what time it is.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

/// A point on the node's monotonic clock, in microseconds since an origin that the shell chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant `millis` later; a negative wait is none.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(u64::try_from(millis).unwrap_or(0).saturating_mul(1000)))
    }

    /// How long after `earlier` this is; zero when it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// What time it is, twice: timers run on the monotonic clock, records and retention on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Never goes back; drives every timer.
    pub monotonic: Instant,
    /// Milliseconds since the Unix epoch; may jump either way.
    pub wall_ms: i64,
}

/// Deadlines by key, at most one each, in a total order: equal times fire in the order of their keys.
#[derive(Clone, Debug)]
pub struct TimerTable<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K> Default for TimerTable<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> TimerTable<K> {
    /// Sets the deadline of `key`, in place of an earlier one.
    pub fn arm(&mut self, key: K, at: Instant) {
        if let Some(before) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Forgets the deadline of `key`, if it has one.
    pub fn cancel(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// Takes the earliest key whose deadline has passed.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let key = key.clone();
        self.cancel(&key);
        Some(key)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn earliest(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }
}
