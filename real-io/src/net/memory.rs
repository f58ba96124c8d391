//! Memory for frames too large to pass through the common read buffer: bounded over all connections, and reused, because
//! fresh pages for every frame cost more than reading it.
//!
//! A frame is charged as it arrives, a step at a time, so that a client which announces a hundred megabytes and sends
//! none of them holds nothing. When the bound is reached, frames wait; if all that is held are parts of frames, the
//! oldest of these may go on beyond the bound, or nobody could.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The memory of all connections for large frames.
#[derive(Clone)]
pub struct FrameMemory {
    shared: Arc<Shared>,
}

struct Shared {
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Charged for frames, arriving and whole.
    used: u64,
    /// Of these, for frames that are still arriving.
    arriving: u64,
    /// The frames that are still arriving, oldest first.
    frames: BTreeSet<u64>,
    frames_ever: u64,
    waiting: Vec<Waker>,
    /// Buffers to be used again, the most recently used last.
    free: Vec<Vec<u8>>,
    free_bytes: usize,
    /// A buffer was asked for since the last trim.
    wanted: bool,
}

/// How much of a frame is charged at a time.
const STEP: usize = 1 << 20;
/// Buffers are a multiple of this, so that frames of about the same size can use each other's.
const ROUND: usize = 64 << 10;
/// The most that is kept for use again: a few frames of the largest usual size for each of a few busy connections.
const FREE_BYTES_MAX: usize = 32 << 20;

impl fmt::Debug for FrameMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameMemory").field("bytes_max", &self.shared.bytes_max).finish_non_exhaustive()
    }
}

impl FrameMemory {
    /// Memory for about `bytes_max` of frames; one frame may go beyond.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { shared: Arc::new(Shared { bytes_max, state: Mutex::default() }) }
    }

    /// A frame of `len` bytes begins to arrive.
    pub(super) fn begin(&self, len: usize) -> ArrivingFrame {
        let mut state = self.shared.lock();
        let id = state.frames_ever;
        state.frames_ever += 1;
        ArrivingFrame { shared: Arc::clone(&self.shared), id, buffer: Vec::new(), len, filled: 0, charged: 0 }
    }

    /// Whether somebody waits for memory.
    pub(crate) fn is_short(&self) -> bool {
        !self.shared.lock().waiting.is_empty()
    }

    /// Charged for frames at the moment.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.shared.lock().used
    }

    /// Gives buffers back that nobody has wanted since the last call.
    pub(crate) fn trim(&self) {
        let mut state = self.shared.lock();
        if !std::mem::take(&mut state.wanted) {
            state.free = Vec::new();
            state.free_bytes = 0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back what was charged and perhaps keeps the buffer; wakes all who wait, who then look for themselves.
    fn release(&self, charged: usize, arriving: Option<u64>, buffer: Vec<u8>) {
        let mut state = self.lock();
        state.used -= charged as u64;
        if let Some(frame) = arriving {
            state.arriving -= charged as u64;
            state.frames.remove(&frame);
        }
        let surplus = if buffer.len() >= ROUND && state.free_bytes + buffer.len() <= FREE_BYTES_MAX {
            state.free_bytes += buffer.len();
            state.free.push(buffer);
            Vec::new()
        } else {
            buffer
        };
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(surplus);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A frame of which a part may have arrived.
pub(super) struct ArrivingFrame {
    shared: Arc<Shared>,
    id: u64,
    /// As long as the frame or longer, once the first step is charged.
    buffer: Vec<u8>,
    len: usize,
    filled: usize,
    charged: usize,
}

impl fmt::Debug for ArrivingFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.filled, self.len)
    }
}

impl ArrivingFrame {
    /// Where the next bytes go; waits for memory. Not to be called when the frame is whole.
    pub(super) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<&mut [u8]> {
        if self.filled == self.charged {
            let step = (self.len - self.charged).min(STEP);
            let mut state = self.shared.lock();
            let fits = state.used + step as u64 <= self.shared.bytes_max;
            let only_parts = state.used == state.arriving;
            let is_oldest = state.frames.first().is_none_or(|oldest| *oldest >= self.id);
            if !(fits || only_parts && is_oldest) {
                if !state.waiting.iter().any(|waiting| waiting.will_wake(cx.waker())) {
                    state.waiting.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
            state.used += step as u64;
            state.arriving += step as u64;
            state.frames.insert(self.id);
            self.charged += step;
            if self.buffer.is_empty() {
                state.wanted = true;
                let reused =
                    state.free.iter().rposition(|free| free.len() >= self.len && free.len() / 2 <= self.len);
                if let Some(reused) = reused {
                    self.buffer = state.free.remove(reused);
                    state.free_bytes -= self.buffer.len();
                }
                drop(state);
                if self.buffer.is_empty() {
                    // Zeroed pages come from the kernel when they are first written, not before.
                    self.buffer = vec![0; self.len.next_multiple_of(ROUND)];
                }
            }
        }
        Poll::Ready(&mut self.buffer[self.filled..self.charged])
    }

    /// Notes that `count` bytes were put where [`Self::poll_room`] said.
    pub(super) fn advance(&mut self, count: usize) {
        self.filled += count;
        assert!(self.filled <= self.charged, "bytes arrive where there is room");
    }

    pub(super) fn is_whole(&self) -> bool {
        self.filled == self.len
    }

    /// The frame. Its memory is given back when the last slice of it is dropped, on whatever thread.
    pub(super) fn into_bytes(mut self) -> Bytes {
        assert!(self.is_whole(), "only a whole frame is taken");
        let mut state = self.shared.lock();
        state.arriving -= self.charged as u64;
        state.frames.remove(&self.id);
        drop(state);
        let (buffer, len, charged) = (std::mem::take(&mut self.buffer), self.len, self.charged);
        // What follows gives nothing back a second time.
        self.charged = 0;
        Bytes::from_owner(WholeFrame { shared: Arc::clone(&self.shared), buffer, len, charged })
    }
}

impl Drop for ArrivingFrame {
    fn drop(&mut self) {
        if self.charged > 0 {
            self.shared.release(self.charged, Some(self.id), std::mem::take(&mut self.buffer));
        }
    }
}

struct WholeFrame {
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    len: usize,
    charged: usize,
}

impl AsRef<[u8]> for WholeFrame {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for WholeFrame {
    fn drop(&mut self) {
        self.shared.release(self.charged, None, std::mem::take(&mut self.buffer));
    }
}
