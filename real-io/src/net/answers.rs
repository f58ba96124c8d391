//! What a connection's requests were answered, put in the order of the requests.

use crate::disk::LentFile;
use bytes::Bytes;
use sordini_core::ids::RequestId;
use sordini_protocol::api_key::ApiKey;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

/// Something to be sent.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Bytes(Bytes),
    File { file: Arc<LentFile>, position: u64, len: u64 },
}

impl Piece {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// What it takes of the process's memory.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File { .. } => 0,
        }
    }
}

/// Stands between the driver, which answers, and the connection's task, which sends.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    state: RefCell<State>,
    /// Bytes have moved since the last sweep.
    pub(crate) moved: Cell<bool>,
    /// Sweeps since bytes have moved.
    pub(crate) idle_sweeps: Cell<u32>,
    /// Part of a large frame has arrived and takes memory that others may wait for.
    pub(crate) is_amid_large_frame: Cell<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the request in front of `slots`.
    first: u64,
    /// One for each request that was read and not yet handed to the writer.
    slots: VecDeque<Slot>,
    /// Memory that the answers in `slots` take.
    memory: usize,
    ending: Ending,
    /// The connection's task, and whether it sleeps.
    waker: Option<Waker>,
    armed: bool,
}

#[derive(Debug)]
enum Slot {
    Expected { correlation_id: i32, api_key: ApiKey },
    Answered(Vec<Piece>),
}

/// Whether a connection is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    #[default]
    No,
    /// When what can be sent is sent.
    Flushed,
    /// Without another byte.
    AtOnce,
}

impl Answers {
    /// Numbers a request that was read.
    pub(crate) fn expect(&self, correlation_id: i32, api_key: ApiKey) -> RequestId {
        let mut state = self.state.borrow_mut();
        let id = RequestId(state.first + state.slots.len() as u64);
        state.slots.push_back(Slot::Expected { correlation_id, api_key });
        id
    }

    /// How to answer a request that waits for it.
    pub(crate) fn expected(&self, request: RequestId) -> Option<(i32, ApiKey)> {
        let state = self.state.borrow();
        match state.slots.get(state.index(request)?)? {
            Slot::Expected { correlation_id, api_key } => Some((*correlation_id, *api_key)),
            Slot::Answered(_) => None,
        }
    }

    /// Answers a request; no pieces are no answer, and the next request's is sent.
    pub(crate) fn answer(&self, request: RequestId, pieces: Vec<Piece>) {
        let mut state = self.state.borrow_mut();
        let Some(index) = state.index(request) else { return };
        let memory: usize = pieces.iter().map(Piece::memory).sum();
        if let Some(slot @ Slot::Expected { .. }) = state.slots.get_mut(index) {
            *slot = Slot::Answered(pieces);
            state.memory += memory;
            // Behind one that waits there is nothing to be sent yet.
            if index == 0 {
                state.wake();
            }
        }
    }

    /// Ends the connection after the answers that can be sent.
    pub(crate) fn close(&self) {
        self.end(Ending::Flushed);
    }

    pub(crate) fn end(&self, ending: Ending) {
        let mut state = self.state.borrow_mut();
        state.ending = ending;
        state.wake();
    }

    pub(crate) fn ending(&self) -> Ending {
        self.state.borrow().ending
    }

    /// The oldest request's answer, if it is there.
    pub(crate) fn take_next(&self) -> Option<Vec<Piece>> {
        let mut state = self.state.borrow_mut();
        let Some(Slot::Answered(_)) = state.slots.front() else { return None };
        let Some(Slot::Answered(pieces)) = state.slots.pop_front() else { return None };
        state.first += 1;
        state.memory -= pieces.iter().map(Piece::memory).sum::<usize>();
        // A quiet connection keeps no memory.
        if state.slots.is_empty() && state.slots.capacity() > SLOTS_KEPT {
            state.slots = VecDeque::new();
        }
        Some(pieces)
    }

    /// Requests in progress, and the memory their answers take so far.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = self.state.borrow();
        (state.slots.len(), state.memory)
    }

    /// Notes whom to wake when there is something to send.
    pub(crate) fn arm(&self, waker: &Waker) {
        let mut state = self.state.borrow_mut();
        state.armed = true;
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Nobody needs to be woken: the connection's task runs.
    pub(crate) fn disarm(&self) {
        self.state.borrow_mut().armed = false;
    }
}

const SLOTS_KEPT: usize = 4;

impl State {
    fn index(&self, request: RequestId) -> Option<usize> {
        usize::try_from(request.0.checked_sub(self.first)?).ok()
    }

    fn wake(&self) {
        if self.armed
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}
