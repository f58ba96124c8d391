//! What time it is, for the core.

use sordini_core::time::{Instant, Now};
use std::time::{SystemTime, UNIX_EPOCH};

/// The monotonic clock of the runtime, counted from the start of the process, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock that stands at zero.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// Both clocks. Half a million years fit the microseconds, and a wall clock before 1970 is taken for 1970.
    #[must_use]
    pub fn now(&self) -> Now {
        let monotonic = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: Instant(monotonic), wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
    }

    /// The runtime's name for a point of the core's monotonic clock.
    #[must_use]
    pub fn at(&self, instant: Instant) -> tokio::time::Instant {
        self.origin + std::time::Duration::from_micros(instant.0)
    }
}
