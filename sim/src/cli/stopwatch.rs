//! How long something took: of the machine's time, which is no part of any run.

use std::time::{Duration, Instant};

/// A stopwatch that is running.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    begun: Instant,
    cpu_begun: Option<Duration>,
}

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "how fast a run was is not part of it")]
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), cpu_begun: cpu_time() }
    }

    /// What the clock on the wall says.
    pub(crate) fn wall(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What this thread has computed, where the system says so, and otherwise what the clock on the wall says.
    pub(crate) fn cpu(&self) -> Duration {
        match (self.cpu_begun, cpu_time()) {
            (Some(begun), Some(now)) => now.saturating_sub(begun),
            (None, _) | (_, None) => self.wall(),
        }
    }
}

/// Linux counts it per thread.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}
