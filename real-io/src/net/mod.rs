//! Sockets: listeners, connections, frames, and the memory they take.

pub(crate) mod answers;
pub mod connection;
mod frames;
pub mod listener;
mod memory;
pub(crate) mod peer;
pub mod stream;
mod writer;

pub use memory::FrameMemory;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What all connections of a node share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The memory for large frames.
    pub memory: FrameMemory,
    /// The longest frame a client may send.
    pub frame_bytes_max: usize,
    /// Where bytes arrive whose frame is not known yet. One is enough: nothing stays in it across a poll.
    scratch: Rc<RefCell<Box<[u8]>>>,
    refusals: Rc<LogLimit>,
}

/// A read that brings many small requests at once brings at most this much.
const SCRATCH_BYTES: usize = 64 << 10;

impl Shared {
    /// Frames of up to `frame_bytes_max`, all large ones together within about `queued_bytes_max`.
    #[must_use]
    pub fn new(frame_bytes_max: usize, queued_bytes_max: u64) -> Self {
        Self {
            memory: FrameMemory::new(queued_bytes_max),
            frame_bytes_max,
            scratch: Rc::new(RefCell::new(vec![0; SCRATCH_BYTES].into())),
            refusals: Rc::default(),
        }
    }
}

/// Lets one line a second through, so that a hostile client cannot fill the log.
#[derive(Debug, Default)]
struct LogLimit {
    last: Cell<Option<Instant>>,
    suppressed: Cell<u64>,
}

impl LogLimit {
    /// Whether a line may be written, and how many were not since the last one.
    fn admit(&self) -> Option<u64> {
        let now = Instant::now();
        if self.last.get().is_some_and(|last| now.duration_since(last) < Duration::from_secs(1)) {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.last.set(Some(now));
        Some(self.suppressed.replace(0))
    }
}
