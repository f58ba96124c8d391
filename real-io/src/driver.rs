//! Input, step, effects, timer: what turns the core's decisions into deeds.
//!
//! The driver lives on one thread with everything that calls it. It is called directly, not through a channel: a request
//! is decided, appended and answered in the call of the connection that read it.

use crate::clock::Clock;
use crate::disk::{Disk, DiskOptions, Range, Warmer};
use crate::net::answers::{Answers, Piece};
use crate::net::peer::Peers;
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::node::{Input, Node, NodeState, Output};
use sordini_core::outbox::Outbox;
use sordini_core::peer::{Peer, PeerFault};
use sordini_core::time::Instant;
use sordini_protocol::frame::encode_response;
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::Spliced;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::mem::discriminant;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use tokio::sync::Notify;

/// A node and the world it acts on.
pub struct Driver {
    /// Itself, for the connections that it opens.
    this: Weak<Self>,
    inner: RefCell<Inner>,
    clock: Clock,
    warmer: Warmer,
    /// The deadline for which the timer sleeps; `None` when it sleeps for none.
    armed: Cell<Option<Instant>>,
    /// Wakes the timer because the deadline came nearer.
    rearm: Notify,
    /// Rung by disk threads.
    disk_bell: Arc<Notify>,
    /// Wakes whoever waits for a change of the node's state.
    state_changed: Notify,
    /// A step panicked: a bug, after which the node's state means nothing.
    broken: Cell<bool>,
}

struct Inner {
    node: Node,
    outbox: Outbox,
    disk: Disk,
    connections: BTreeMap<ConnectionId, Rc<Answers>>,
    connections_ever: u64,
    peers: Peers,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver for a node that has not started.
    #[must_use]
    pub fn new(node: Node, clock: Clock, log_dirs: &[PathBuf], options: DiskOptions) -> Rc<Self> {
        let disk_bell = Arc::new(Notify::new());
        let bell = Arc::clone(&disk_bell);
        let disk = Disk::new(log_dirs, options, Arc::new(move || bell.notify_one()));
        let warmer = disk.warmer();
        let (outbox, connections) = (Outbox::new(), BTreeMap::new());
        let peers = Peers::default();
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            inner: RefCell::new(Inner { node, outbox, disk, connections, connections_ever: 0, peers }),
            clock,
            warmer,
            armed: Cell::new(None),
            rearm: Notify::new(),
            disk_bell,
            state_changed: Notify::new(),
            broken: Cell::new(false),
        })
    }

    /// Tells the node that something happened, and does all that follows from it here and now.
    pub fn submit(&self, input: Input) {
        self.run(Some(input));
    }

    fn run(&self, first: Option<Input>) {
        if self.broken.get() {
            return;
        }
        let breaks = BreaksOnPanic(self);
        let Inner { node, outbox, disk, connections, peers, .. } = &mut *self.inner.borrow_mut();
        // What could not even be asked.
        let mut unasked = VecDeque::new();
        let before = discriminant(&node.state());
        let mut next = first.or_else(|| completion(disk));
        while let Some(input) = next {
            node.step(self.clock.now(), input, outbox);
            for output in outbox.drain() {
                match output {
                    Output::Respond { connection, request, version, body } => {
                        if let Some(answers) = connections.get(&connection) {
                            respond(disk, answers, request, version, &body);
                        }
                    }
                    Output::NoResponse { connection, request } => {
                        if let Some(answers) = connections.get(&connection) {
                            answers.answer(request, Vec::new());
                        }
                    }
                    Output::Close { connection } => {
                        if let Some(answers) = connections.get(&connection) {
                            answers.close();
                        }
                    }
                    Output::Storage { token, op } => disk.submit(token, op),
                    Output::Ask { peer, request, version, body } => {
                        if let Err(error) = peers.ask(&self.this, peer, request, version, &body) {
                            tracing::error!(version, %error, "a request to another node cannot be encoded");
                            unasked.push_back(request);
                        }
                    }
                    Output::HangUp { peer } => peers.hang_up(&peer),
                }
            }
            let unasked = unasked
                .pop_front()
                .map(|request| Input::PeerAnswered { request, result: Err(PeerFault::Disconnected) });
            next = unasked.or_else(|| completion(disk));
        }
        if discriminant(&node.state()) != before {
            self.state_changed.notify_waiters();
        }
        let deadline = node.next_deadline();
        if deadline.is_some_and(|deadline| self.armed.get().is_none_or(|armed| deadline < armed)) {
            self.rearm.notify_one();
        }
        std::mem::forget(breaks);
    }

    /// Wakes the node at its deadlines. Never returns.
    pub async fn keep_time(self: Rc<Self>) {
        loop {
            let deadline = self.inner.borrow().node.next_deadline();
            self.armed.set(deadline);
            match deadline {
                None => self.rearm.notified().await,
                Some(deadline) if deadline <= self.clock.now().monotonic => {
                    self.submit(Input::DeadlinePassed);
                    // A deadline that stays in the past must not starve the connections.
                    tokio::task::yield_now().await;
                }
                Some(deadline) => tokio::select! {
                    () = tokio::time::sleep_until(self.clock.at(deadline)) => {}
                    () = self.rearm.notified() => {}
                },
            }
            if self.broken.get() {
                return;
            }
        }
    }

    /// Brings the node what disk threads have finished. Never returns.
    pub async fn collect_completions(self: Rc<Self>) {
        loop {
            self.disk_bell.notified().await;
            self.inner.borrow_mut().disk.collect();
            self.run(None);
        }
    }

    /// How far the node's life has come; a broken node failed.
    #[must_use]
    pub fn state(&self) -> NodeState {
        if self.broken.get() {
            NodeState::Failed(BROKEN.to_owned())
        } else {
            self.inner.borrow().node.state()
        }
    }

    /// Whether the node serves who comes in by a listener of this name.
    pub(crate) fn serves(&self, listener: &str) -> bool {
        !self.broken.get() && self.inner.borrow().node.serves(listener)
    }

    /// Whether the node ended by a bug of ours.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Waits until the node's state is one that `wanted` accepts.
    pub async fn until(&self, wanted: impl Fn(&NodeState) -> bool) -> NodeState {
        loop {
            // Registered before looking, so that a change in between is not missed.
            let changed = self.state_changed.notified();
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            changed.await;
        }
    }

    /// Takes in a connection.
    pub(crate) fn connect(&self) -> (ConnectionId, Rc<Answers>) {
        let mut inner = self.inner.borrow_mut();
        let id = ConnectionId(inner.connections_ever);
        inner.connections_ever += 1;
        let answers = Rc::new(Answers::default());
        inner.connections.insert(id, Rc::clone(&answers));
        (id, answers)
    }

    /// Lets go of a connection that ended.
    pub(crate) fn disconnect(&self, id: ConnectionId) {
        self.inner.borrow_mut().connections.remove(&id);
        self.submit(Input::ConnectionClosed { connection: id });
    }

    /// Lets go of a connection to another node that ended.
    pub(crate) fn forget_link(&self, peer: &Peer, number: u64) {
        self.inner.borrow_mut().peers.forget(peer, number);
    }

    /// The connections there are.
    pub(crate) fn connections(&self) -> Vec<Rc<Answers>> {
        self.inner.borrow().connections.values().cloned().collect()
    }

    pub(crate) fn warmer(&self) -> &Warmer {
        &self.warmer
    }
}

const BROKEN: &str = "internal error: a step of the state machine panicked";

/// Marks the driver as broken unless it is forgotten.
struct BreaksOnPanic<'a>(&'a Driver);

impl Drop for BreaksOnPanic<'_> {
    fn drop(&mut self) {
        self.0.broken.set(true);
        self.0.state_changed.notify_waiters();
        self.0.rearm.notify_one();
    }
}

fn completion(disk: &mut Disk) -> Option<Input> {
    disk.next_completed().map(|(token, result)| Input::StorageCompleted { token, result })
}

/// Encodes an answer and opens the files it is sent from. An answer that cannot be given closes its connection: the
/// client asks again, which is better than an answer that is not what the core decided.
fn respond(disk: &mut Disk, answers: &Answers, request: RequestId, version: i16, body: &AnyResponse) {
    let Some((correlation_id, api_key)) = answers.expected(request) else {
        tracing::error!(?request, "an answer to a request that is not waiting for one");
        return;
    };
    if api_key != body.api_key() {
        tracing::error!(%api_key, answer = %body.api_key(), "an answer of another API");
        return answers.close();
    }
    let encoded = match encode_response(correlation_id, api_key, version, body) {
        Ok(encoded) => encoded,
        Err(error) => {
            tracing::error!(%api_key, version, %error, "an answer cannot be encoded");
            return answers.close();
        }
    };
    let mut pieces = Vec::with_capacity(2 * encoded.splices.len() + 1);
    let mut rest = encoded.bytes;
    let mut taken = 0;
    for splice in encoded.splices {
        let before = rest.split_to(splice.at - taken);
        taken = splice.at;
        pieces.push(Piece::Bytes(before));
        match splice.what {
            Spliced::Bytes(bytes) => pieces.push(Piece::Bytes(bytes)),
            Spliced::Stored(range) => match disk.range(&range.file, range.position, range.len) {
                Ok(Range::Copied(bytes)) => pieces.push(Piece::Bytes(bytes)),
                Ok(Range::Lent(file)) => {
                    pieces.push(Piece::File { file, position: range.position, len: u64::from(range.len) });
                }
                Err(error) => {
                    tracing::error!(file = %range.file, %error, "a file to be sent cannot be read");
                    return answers.close();
                }
            },
        }
    }
    pieces.push(Piece::Bytes(rest));
    pieces.retain(|piece| piece.len() > 0);
    answers.answer(request, pieces);
}
