//! The world of one run: virtual time, the queue of events, one node with its disk, its clients and what befalls it.
//!
//! A run has three phases. In the first the plan happens, faults and all, until every client has done what its plan says.
//! Then the node is stopped cleanly. Then it starts once more, and an auditor reads everything.

use crate::check::{Acknowledged, Checks, Violation};
use crate::client::{Action, Admin, Client, ClientOutbox, Consumer, Producer, Surroundings};
use crate::disk::{Disk, DiskMarks};
use crate::field::{Field, Place};
use crate::history::Entry;
use crate::plan::{ConsumerPlan, FaultKind, FaultPlan, Mutation, Plan, RecoveryFaultPlan};
use crate::trace::{Trace, hash_of};
use crate::transcript;
use bytes::Bytes;
use sordini_core::config::BrokerConfig;
use sordini_core::config::broker::Origin;
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::museum::Museum;
use sordini_core::node::{Input, Node, NodeConfig, NodeState, Output, RequestBody, RequestContext};
use sordini_core::outbox::Outbox;
use sordini_core::produce_request::JudgedProduce;
use sordini_core::storage_op::{Completion, StorageFault, StorageOp, StorageToken};
use sordini_core::time::{Instant, Now};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::ProduceRequest;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Str, Uuid, Writer};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The wall clock at a virtual time, in milliseconds since the Unix epoch. A run begins in October 2025.
#[must_use]
pub fn wall_ms(now_us: u64) -> i64 {
    1_760_000_000_000 + i64::try_from(now_us / 1_000).expect("a run ends within the age of the universe")
}

/// More events than this at one virtual time are a node or client that spins.
const EVENTS_AT_ONCE_MAX: u64 = 1_000_000;

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A property did not hold.
    Safety(Violation),
    /// Something that must come to pass did not, within its bound of virtual time.
    Liveness(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safety(violation) => write!(f, "safety: {violation}"),
            Self::Liveness(sentence) => write!(f, "liveness: {sentence}"),
        }
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::Safety(violation)
    }
}

/// What happened in a run, by counts; a sweep in which one stays 0 proves nothing about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// What the disk did.
    pub disk: DiskMarks,
    /// Clean stops.
    pub stops: u64,
    /// Deaths of the process.
    pub kills: u64,
    /// Losses of power.
    pub power_losses: u64,
    /// Losses of power while no process was there.
    pub power_losses_while_stopped: u64,
    /// Crashes while the node was still reading its disk.
    pub crashes_in_recovery: u64,
    /// Recoveries that found less than had been appended.
    pub recoveries_with_loss: u64,
    /// Segments that logs of the plan had at the end beyond their first.
    pub rolls: u64,
    /// Batches that were sent again and had been appended already.
    pub duplicates_recognised: u64,
    /// Records that are in the log twice because a producer raised its epoch, as Kafka's may be.
    pub raised_epoch_duplicates: u64,
    /// Records that were acknowledged.
    pub records_acknowledged: u64,
    /// Answers with records for a partition that consumers got.
    pub reads: u64,
    /// Answers of a fetch session that left partitions out.
    pub incremental_fetches: u64,
}

impl Marks {
    /// Adds the counts of another run.
    pub const fn add(&mut self, other: &Self) {
        self.disk.add(&other.disk);
        self.stops += other.stops;
        self.kills += other.kills;
        self.power_losses += other.power_losses;
        self.power_losses_while_stopped += other.power_losses_while_stopped;
        self.crashes_in_recovery += other.crashes_in_recovery;
        self.recoveries_with_loss += other.recoveries_with_loss;
        self.rolls += other.rolls;
        self.duplicates_recognised += other.duplicates_recognised;
        self.raised_epoch_duplicates += other.raised_epoch_duplicates;
        self.records_acknowledged += other.records_acknowledged;
        self.reads += other.reads;
        self.incremental_fetches += other.incremental_fetches;
    }

    /// Every mark by name.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        let mut marks = vec![
            ("clean stop", self.stops),
            ("kill", self.kills),
            ("power loss", self.power_losses),
            ("power loss while the process was down", self.power_losses_while_stopped),
            ("crash during recovery", self.crashes_in_recovery),
            ("recovery that found less than was appended", self.recoveries_with_loss),
            ("segment rolled", self.rolls),
            ("resent batch recognised", self.duplicates_recognised),
            ("record acknowledged", self.records_acknowledged),
            ("fetch answer with records", self.reads),
            ("incremental fetch answer", self.incremental_fetches),
        ];
        marks.extend(self.disk.named());
        marks
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The 64 bits that two runs of one plan agree in.
    pub trace_hash: u64,
    /// Inputs and outputs of the node.
    pub events: u64,
    /// How long it lasted, in virtual microseconds.
    pub virtual_us: u64,
    /// What happened.
    pub marks: Marks,
    /// What clients did and were told.
    pub history: Vec<Entry>,
    /// The transcript, empty unless it was asked for.
    pub transcript: String,
}

/// Something that happens at a virtual time.
#[derive(Debug)]
enum Event {
    Start,
    Fault(usize),
    StorageDue { number: u64 },
    Completion { incarnation: u64, token: StorageToken, result: Result<Completion, StorageFault> },
    Deadline { incarnation: u64 },
    ToNode { connection: ConnectionId, message: ToNode },
    ToClient { client: usize, connection: ConnectionId, message: ToClient },
    ClientWake { client: usize },
}

#[derive(Debug)]
enum ToNode {
    Request { request: RequestId, version: i16, body: AnyRequest },
    Closed,
}

#[derive(Debug)]
enum ToClient {
    Response { request: RequestId, body: AnyResponse },
    Closed,
}

/// Events to come, in their total order: time, then the order in which they were pushed.
#[derive(Debug, Default)]
struct Queue {
    /// Time, number, slot: small, because a heap moves its elements about.
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Event>>,
    free: Vec<usize>,
    pushed: u64,
}

impl Queue {
    fn push(&mut self, at: u64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(event);
        self.pushed += 1;
        self.order.push(Reverse((at, self.pushed, slot)));
    }

    fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse((at, _, slot)) = self.order.pop()?;
        self.free.push(slot);
        Some((at, self.slots[slot].take()?))
    }
}

/// One life of the node's process.
#[derive(Debug)]
struct Incarnation {
    node: Node,
    state: NodeState,
    /// The virtual time at which its clock showed `clock_origin`.
    started_at: u64,
    clock_origin: u64,
    running_since: Option<u64>,
    /// Storage operations that were answered to it.
    completions: u64,
    /// For when a [`Event::Deadline`] is in the queue, the earliest.
    deadline_at: Option<u64>,
    /// Whether indexes were looked at since it runs.
    indexes_checked: bool,
}

/// A connection, as the node's shell has it.
#[derive(Debug)]
struct Connection {
    client: usize,
    /// The life of the node it was opened to; nothing if there was none.
    incarnation: Option<u64>,
    /// When the last message in each direction arrives: a connection keeps their order.
    last_to_node: u64,
    last_to_client: u64,
    /// Requests without an answer, in their order. Answers leave in that order.
    waiting: VecDeque<Waiting>,
    is_closing: bool,
}

#[derive(Debug)]
struct Waiting {
    request: RequestId,
    version: i16,
    /// The batches of a produce request, to compare acknowledgements with.
    produced: Vec<Acknowledged>,
    /// What the node answered, once it has; nothing in it for acks=0.
    answer: Option<Option<AnyResponse>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The plan happens.
    Plan,
    /// The node was asked to stop.
    Stop,
    /// The auditor reads.
    Audit,
}

struct Seat {
    client: Client,
    connection: Option<ConnectionId>,
    /// For when a wake is in the queue, the earliest.
    wake_at: Option<u64>,
}

/// A world under way.
pub struct World {
    plan: Plan,
    field: Field,
    config: BrokerConfig,
    now: u64,
    queue: Queue,
    disk: Disk,
    node: Option<Incarnation>,
    incarnations: u64,
    seats: Vec<Seat>,
    connections: BTreeMap<ConnectionId, Connection>,
    connections_opened: u64,
    /// Connections whose clients hear that they are gone only when the machine is up again.
    reset_at_start: Vec<(usize, ConnectionId)>,
    is_powered: bool,
    faults_left: usize,
    recovery_faults: VecDeque<RecoveryFaultPlan>,
    /// How long the node stays down after the stop that is under way.
    down_after_stop_us: u64,
    phase: Phase,
    quiet_since: Option<u64>,
    last_start: u64,
    topic_ids: BTreeMap<Uuid, usize>,
    topic_names: Arc<[Str]>,
    checks: Checks,
    trace: Trace,
    history: Vec<Entry>,
    marks: Marks,
    outbox: Outbox,
    client_outbox: ClientOutbox,
    /// Appends that were answered before they took effect, by a mutation.
    answered_early: BTreeSet<StorageToken>,
    fetches_answered: u64,
    first_producer_id: Option<i64>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: &Plan, transcript: bool) -> Outcome {
    let mut world = World::new(plan.clone(), transcript);
    let failure = world.run().err();
    world.outcome(failure)
}

impl World {
    /// The world of a plan, before anything happens.
    ///
    /// # Panics
    /// If the plan's configuration is not valid.
    #[must_use]
    pub fn new(plan: Plan, transcript: bool) -> Self {
        let mut field_seed = plan.field_seed;
        if plan.mutation == Some(Mutation::DelaysFromOutside) {
            field_seed ^= u64::from(std::process::id());
            field_seed ^= RUNS_FROM_OUTSIDE.fetch_add(1, Ordering::Relaxed) << 32;
        }
        let field = Field::new(field_seed);
        let entries = plan.server_properties().into_iter().map(|(key, value)| (key, value, Origin::BuiltIn));
        let config = match BrokerConfig::from_entries(entries) {
            Ok((config, _)) => config,
            Err(problems) => panic!("the plan's configuration is not valid: {problems:?}"),
        };
        let topic_names: Arc<[Str]> = plan.topics.iter().map(|topic| Str::from(&*topic.name)).collect();
        let surroundings = Surroundings { topics: Arc::clone(&topic_names), field };
        let mut clients = vec![Client::Admin(Admin::new(0, surroundings.clone(), plan.topics.clone()))];
        for producer in &plan.producers {
            let client = clients.len();
            let producer = Producer::new(client, surroundings.clone(), producer.clone(), plan.mutation);
            clients.push(Client::Producer(producer));
        }
        for consumer in &plan.consumers {
            let client = clients.len();
            clients.push(Client::Consumer(Consumer::new(client, surroundings.clone(), consumer.clone())));
        }
        let seats =
            clients.into_iter().map(|client| Seat { client, connection: None, wake_at: None }).collect();
        let mut world = Self {
            disk: Disk::new(field, plan.disk, plan.mutation),
            checks: Checks::new(&plan),
            faults_left: plan.faults.len(),
            plan,
            field,
            config,
            now: 0,
            queue: Queue::default(),
            node: None,
            incarnations: 0,
            seats,
            connections: BTreeMap::new(),
            connections_opened: 0,
            reset_at_start: Vec::new(),
            is_powered: true,
            recovery_faults: VecDeque::new(),
            down_after_stop_us: 0,
            phase: Phase::Plan,
            quiet_since: None,
            last_start: 0,
            topic_ids: BTreeMap::new(),
            topic_names,
            trace: Trace::new(transcript),
            history: Vec::new(),
            marks: Marks::default(),
            outbox: Outbox::new(),
            client_outbox: ClientOutbox::default(),
            answered_early: BTreeSet::new(),
            fetches_answered: 0,
            first_producer_id: None,
        };
        world.format();
        world.schedule(0, Event::Start);
        for index in 0..world.plan.faults.len() {
            world.schedule(world.plan.faults[index].at_us, Event::Fault(index));
        }
        for client in 0..world.seats.len() {
            world.wake_later(client);
        }
        world
    }

    /// Keeps the trace hash after every event, to find where two runs part.
    pub fn keep_steps(&mut self) {
        self.trace.keep_steps();
    }

    /// The trace of the run.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first thing that must not happen, or the thing that did not happen in time.
    pub fn run(&mut self) -> Result<(), Failure> {
        let (mut at_once, mut last_at) = (0, 0);
        while !self.is_over()? {
            let Some((at, event)) = self.queue.pop() else {
                return Err(self.stuck("nothing is left to happen"));
            };
            at_once = if at == last_at { at_once + 1 } else { 0 };
            last_at = at;
            if at_once > EVENTS_AT_ONCE_MAX {
                return Err(self.stuck("a million events happened at one moment"));
            }
            if at > self.bound() {
                return Err(self.stuck("the time for it is over"));
            }
            self.now = at;
            self.happen(event)?;
        }
        let idempotent =
            self.plan.producers.iter().enumerate().filter(|(_, producer)| producer.is_idempotent);
        // Client 0 is the admin.
        let clients = idempotent.map(|(index, _)| index as u64 + 1).collect();
        self.marks.raised_epoch_duplicates += self.checks.at_end(&clients)?;
        Ok(())
    }

    /// What the run came to.
    #[must_use]
    pub fn outcome(mut self, failure: Option<Failure>) -> Outcome {
        self.marks.disk = self.disk.marks();
        let segments = |dir: &str| self.disk.paths_beneath(dir).filter(|file| file.ends_with(".log")).count();
        self.marks.rolls = self
            .checks
            .logs()
            .filter(|(dir, _)| !dir.ends_with("__cluster_metadata-0"))
            .map(|(dir, _)| (segments(dir) as u64).saturating_sub(1))
            .sum();
        if let Some(failure) = &failure {
            self.trace.line(self.now, || failure.to_string());
        }
        Outcome {
            failure,
            trace_hash: self.trace.hash(),
            events: self.trace.events(),
            virtual_us: self.now,
            marks: self.marks,
            history: self.history,
            transcript: self.trace.transcript().to_owned(),
        }
    }

    fn bound(&self) -> u64 {
        self.plan.last_us().max(self.last_start) + self.plan.liveness_bound_us
    }

    fn stuck(&self, why: &str) -> Failure {
        let state = self.node.as_ref().map(|incarnation| &incarnation.state);
        let waiting: Vec<String> = self
            .seats
            .iter()
            .enumerate()
            .filter(|(_, seat)| !seat.client.is_finished(self.quiet_since))
            .map(|(index, seat)| format!("client {index} waits for {}", seat.client.waits_for()))
            .collect();
        Failure::Liveness(format!(
            "{why}; at {} us in phase {:?} the node is {state:?}; {}",
            self.now,
            self.phase,
            waiting.join("; ")
        ))
    }

    /// Looks whether a phase has come to its end, and begins the next.
    fn is_over(&mut self) -> Result<bool, Failure> {
        let is_running =
            self.node.as_ref().is_some_and(|incarnation| incarnation.state == NodeState::Running);
        match self.phase {
            Phase::Plan => {
                if !is_running || self.faults_left > 0 || !self.recovery_faults.is_empty() {
                    return Ok(false);
                }
                if self.quiet_since.is_none() {
                    let is_consumer = |client: &Client| matches!(client, Client::Consumer(_));
                    if self
                        .seats
                        .iter()
                        .all(|seat| is_consumer(&seat.client) || seat.client.is_finished(None))
                    {
                        self.quiet_since = Some(self.now);
                    }
                }
                if self.quiet_since.is_some()
                    && self.seats.iter().all(|seat| seat.client.is_finished(self.quiet_since))
                {
                    self.phase = Phase::Stop;
                    self.down_after_stop_us = 1_000;
                    self.step(Input::StopRequested)?;
                }
                Ok(false)
            }
            Phase::Stop => Ok(false),
            Phase::Audit => {
                let Client::Consumer(auditor) = &self.seats[0].client else { return Ok(false) };
                if !is_running || !auditor.is_at_end_since(self.last_start) {
                    return Ok(false);
                }
                for ((topic, partition), position) in auditor.positions() {
                    let end = self.checks.log(topic, partition).map_or(0, crate::check::LogTruth::end);
                    if position != end {
                        return Err(Failure::Safety(Violation {
                            property: "acknowledged_data",
                            sentence: format!(
                                "after the last start {}-{partition} can be read up to offset {position} and was \
                                 appended to up to {end}",
                                self.topic_names[topic]
                            ),
                        }));
                    }
                }
                Ok(true)
            }
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.queue.push(at, event);
    }

    /// Writes what `sordini format` writes, before the run begins.
    fn format(&mut self) {
        let seed = self.field.word(Place::Incarnation, 0, 0);
        let cluster_id = sordini_core::format::new_cluster_id(seed).to_string();
        for op in sordini_core::format::format(&self.config, &cluster_id, seed, wall_ms(0)) {
            let due = self.disk.submit(0, StorageToken { owner: 0, sequence: 0 }, op);
            self.disk.complete(due.number, wall_ms(0));
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Start => self.on_start(),
            Event::Fault(index) => self.on_fault(index),
            Event::StorageDue { number } => self.on_storage_due(number),
            Event::Completion { incarnation, token, result } => {
                self.on_completion(incarnation, token, result)
            }
            Event::Deadline { incarnation } => self.on_deadline(incarnation),
            Event::ToNode { connection, message } => self.on_message_to_node(connection, message),
            Event::ToClient { client, connection, message } => {
                self.on_message_to_client(client, connection, message)
            }
            Event::ClientWake { client } => {
                // Clients leave when the plan is over.
                let Some(seat) = self.seats.get_mut(client) else { return Ok(()) };
                // A client that found a reason to wake earlier has another wake in the queue.
                if seat.wake_at == Some(self.now) {
                    seat.wake_at = None;
                    if seat.client.next_wake().is_some_and(|at| at <= self.now) {
                        seat.client.on_wake(self.now, &mut self.client_outbox);
                    }
                    self.after_client(client)?;
                }
                Ok(())
            }
        }
    }

    // The node's life.

    fn on_start(&mut self) -> Result<(), Failure> {
        assert!(self.node.is_none(), "one process at a time");
        self.incarnations += 1;
        self.is_powered = true;
        self.last_start = self.now;
        let seed = self.field.word(Place::Incarnation, self.incarnations, self.now);
        self.node = Some(Incarnation {
            node: Node::new(NodeConfig { broker: self.config.clone(), seed, museum: Museum::NONE }),
            state: NodeState::Starting,
            started_at: self.now,
            // A machine's monotonic clock counts from its boot, whenever that was.
            clock_origin: seed % 1_000_000_000,
            running_since: None,
            completions: 0,
            deadline_at: None,
            indexes_checked: false,
        });
        let incarnation = self.incarnations;
        self.trace.line(self.now, || format!("==== start {incarnation}"));
        for (client, connection) in std::mem::take(&mut self.reset_at_start) {
            let at = self.now + self.delay(Place::ToClient, client);
            self.schedule(at, Event::ToClient { client, connection, message: ToClient::Closed });
        }
        self.step(Input::Started)
    }

    fn on_fault(&mut self, index: usize) -> Result<(), Failure> {
        self.faults_left -= 1;
        if self.phase != Phase::Plan {
            return Ok(());
        }
        let FaultPlan { kind, down_us, while_recovering, .. } = self.plan.faults[index].clone();
        let Some(incarnation) = &self.node else {
            // No process is there to die, but a machine is there to lose its power.
            if kind == FaultKind::PowerLoss && self.is_powered {
                self.is_powered = false;
                self.marks.power_losses_while_stopped += 1;
                self.lose_power()?;
            }
            return Ok(());
        };
        match (kind, &incarnation.state) {
            (FaultKind::Stop, NodeState::Running) => {
                self.down_after_stop_us = down_us;
                self.trace.line(self.now, || "---- stop requested".to_owned());
                self.step(Input::StopRequested)
            }
            (FaultKind::Stop, NodeState::Stopping) => Ok(()),
            // A node that has not started cannot be asked to stop: it is ended.
            (FaultKind::Stop | FaultKind::Kill, _) => self.crash(FaultKind::Kill, down_us, while_recovering),
            (FaultKind::PowerLoss, _) => self.crash(FaultKind::PowerLoss, down_us, while_recovering),
        }
    }

    fn crash(
        &mut self,
        kind: FaultKind,
        down_us: u64,
        while_recovering: Vec<RecoveryFaultPlan>,
    ) -> Result<(), Failure> {
        let incarnation = self.node.take().expect("only a process that is there crashes");
        self.trace.event(self.now, EVENT_CRASH).word(kind as u64);
        self.trace.line(self.now, || format!("==== {kind:?}"));
        if incarnation.state == NodeState::Starting {
            self.marks.crashes_in_recovery += 1;
        }
        self.recovery_faults.extend(while_recovering);
        match kind {
            FaultKind::PowerLoss => {
                self.is_powered = false;
                self.lose_power()?;
            }
            FaultKind::Kill | FaultKind::Stop => {
                self.marks.kills += 1;
                self.checks.before_crash(kind, &self.disk)?;
                self.disk.kill(self.now, wall_ms(self.now));
            }
        }
        self.forget_connections();
        self.schedule(self.now + down_us, Event::Start);
        Ok(())
    }

    fn lose_power(&mut self) -> Result<(), Failure> {
        self.trace.event(self.now, EVENT_POWER_LOSS);
        self.trace.line(self.now, || "==== no power".to_owned());
        self.marks.power_losses += 1;
        self.checks.before_crash(FaultKind::PowerLoss, &self.disk)?;
        self.disk.lose_power(self.now, wall_ms(self.now));
        Ok(())
    }

    /// The process has ended: its connections end, at once where a kernel is left to say so.
    fn forget_connections(&mut self) {
        for (connection, state) in std::mem::take(&mut self.connections) {
            self.lose_connection(state.client, connection);
        }
    }

    fn lose_connection(&mut self, client: usize, connection: ConnectionId) {
        if self.is_powered {
            let at = self.now + self.delay(Place::ToClient, client);
            self.schedule(at, Event::ToClient { client, connection, message: ToClient::Closed });
        } else {
            self.reset_at_start.push((client, connection));
        }
    }

    fn on_stopped(&mut self) -> Result<(), Failure> {
        self.node = None;
        self.marks.stops += 1;
        // Whatever is still under way when the process ends may be lost.
        self.disk.kill(self.now, wall_ms(self.now));
        self.trace.line(self.now, || "==== stopped".to_owned());
        self.checks.on_stopped(&self.disk)?;
        self.forget_connections();
        self.schedule(self.now + self.down_after_stop_us, Event::Start);
        if self.phase == Phase::Stop {
            self.phase = Phase::Audit;
            self.seat_auditor();
        }
        Ok(())
    }

    /// All clients go home; one comes that reads everything there is.
    fn seat_auditor(&mut self) {
        let mut assignment = Vec::new();
        for (index, topic) in self.plan.topics.iter().enumerate() {
            assignment.extend((0..topic.partitions).map(|partition| (index, partition)));
        }
        let plan = ConsumerPlan {
            start_us: self.now,
            assignment,
            api_version: 16,
            has_sessions: false,
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1 << 20,
            partition_max_bytes: 1 << 20,
            request_timeout_us: 30_000_000,
        };
        let surroundings = Surroundings { topics: Arc::clone(&self.topic_names), field: self.field };
        // A number of its own keeps it apart from messages to those that left.
        let auditor = Client::Consumer(Consumer::new(0, surroundings, plan));
        self.seats.clear();
        self.seats.push(Seat { client: auditor, connection: None, wake_at: None });
        self.wake_later(0);
    }

    // Inputs.

    fn now_of(&self, incarnation: &Incarnation) -> Now {
        let monotonic = Instant(incarnation.clock_origin + self.now - incarnation.started_at);
        Now { monotonic, wall_ms: wall_ms(self.now) }
    }

    /// Gives the node an input, carries out what it wants done, and looks at what has become of it.
    fn step(&mut self, input: Input) -> Result<(), Failure> {
        let Some(incarnation) = &self.node else { return Ok(()) };
        let now = self.now_of(incarnation);
        let incarnation = self.node.as_mut().expect("it was just there");
        let mut outbox = std::mem::take(&mut self.outbox);
        incarnation.node.step(now, input, &mut outbox);
        for output in outbox.drain() {
            self.carry_out(output)?;
        }
        self.outbox = outbox;
        self.after_step()
    }

    fn after_step(&mut self) -> Result<(), Failure> {
        let incarnation = self.node.as_mut().expect("a step does not end the process");
        let state = incarnation.node.state();
        if state != incarnation.state {
            self.trace.line(self.now, || format!("node  {state:?}"));
            incarnation.state = state.clone();
            match state {
                NodeState::Starting => {}
                NodeState::Stopping => self.checks.on_stopping(),
                NodeState::Running => {
                    incarnation.running_since = Some(self.now);
                    // A recovery that is over is not disturbed any more.
                    self.recovery_faults.clear();
                    self.marks.recoveries_with_loss += self.checks.on_running(&self.disk)?;
                }
                NodeState::Stopped => return self.on_stopped(),
                NodeState::Failed(why) => {
                    let sentence = format!("the node gave up: {why}");
                    return Err(Failure::Safety(Violation { property: "node_lives", sentence }));
                }
            }
        }
        let incarnation = self.node.as_ref().expect("it has not stopped");
        if incarnation.running_since.is_some() {
            self.checks.on_view(incarnation.node.partitions(), &self.disk)?;
        }
        self.arm_deadline();
        Ok(())
    }

    fn arm_deadline(&mut self) {
        let number = self.incarnations;
        let now = self.now;
        let Some(incarnation) = &mut self.node else { return };
        let Some(deadline) = incarnation.node.next_deadline() else { return };
        let at = (deadline.0.saturating_sub(incarnation.clock_origin) + incarnation.started_at).max(now);
        if incarnation.deadline_at.is_none_or(|armed| at < armed) {
            incarnation.deadline_at = Some(at);
            self.schedule(at, Event::Deadline { incarnation: number });
        }
    }

    fn on_deadline(&mut self, number: u64) -> Result<(), Failure> {
        if number != self.incarnations {
            return Ok(());
        }
        let Some(incarnation) = &mut self.node else { return Ok(()) };
        if incarnation.deadline_at != Some(self.now) {
            return Ok(());
        }
        incarnation.deadline_at = None;
        let monotonic = Instant(incarnation.clock_origin + self.now - incarnation.started_at);
        if incarnation.node.next_deadline().is_none_or(|deadline| deadline > monotonic) {
            self.arm_deadline();
            return Ok(());
        }
        self.trace.event(self.now, EVENT_DEADLINE);
        self.step(Input::DeadlinePassed)
    }

    fn on_storage_due(&mut self, number: u64) -> Result<(), Failure> {
        let Some((token, result)) = self.disk.complete(number, wall_ms(self.now)) else { return Ok(()) };
        if self.answered_early.remove(&token) {
            return Ok(());
        }
        let incarnation = self.incarnations;
        let device = hash_of(&[token.owner.to_le_bytes(), [0; 4]].concat());
        let wait = self.plan.disk.answer_us;
        let wait = self.field.between(Place::CompletionDelay, device, self.now, wait.low, wait.high);
        if wait == 0 {
            return self.on_completion(incarnation, token, result);
        }
        self.schedule(self.now + wait, Event::Completion { incarnation, token, result });
        Ok(())
    }

    fn on_completion(
        &mut self,
        number: u64,
        token: StorageToken,
        result: Result<Completion, StorageFault>,
    ) -> Result<(), Failure> {
        if number != self.incarnations {
            return Ok(());
        }
        let Some(incarnation) = &mut self.node else { return Ok(()) };
        incarnation.completions += 1;
        let (completions, is_starting) = (incarnation.completions, incarnation.state == NodeState::Starting);
        if self.plan.mutation == Some(Mutation::CompletionSwallowed)
            && self.faults_left == 0
            && self.recovery_faults.is_empty()
            && completions == 10
        {
            return Ok(());
        }
        let hash = self.trace.event(self.now, EVENT_COMPLETION);
        hash.word(u64::from(token.owner));
        hash.word(token.sequence);
        transcript::hash_completion(hash, &result);
        self.trace.line(self.now, || transcript::completion(token, &result));
        self.step(Input::StorageCompleted { token, result })?;
        self.maybe_check_indexes()?;
        if is_starting
            && let Some(fault) = self.recovery_faults.front().copied()
            && completions >= u64::from(fault.after_completions)
            && self.node.as_ref().is_some_and(|incarnation| incarnation.state == NodeState::Starting)
        {
            self.recovery_faults.pop_front();
            let kind = if fault.kind == FaultKind::PowerLoss { fault.kind } else { FaultKind::Kill };
            return self.crash(kind, fault.down_us, Vec::new());
        }
        Ok(())
    }

    /// Looks at the indexes once in every life, in the first moment in which nothing is under way on the disk.
    fn maybe_check_indexes(&mut self) -> Result<(), Failure> {
        let Some(incarnation) = &mut self.node else { return Ok(()) };
        if incarnation.state == NodeState::Running
            && !incarnation.indexes_checked
            && self.disk.pending().next().is_none()
        {
            incarnation.indexes_checked = true;
            self.checks.on_quiet_disk(&self.disk)?;
        }
        Ok(())
    }

    fn on_message_to_node(&mut self, id: ConnectionId, message: ToNode) -> Result<(), Failure> {
        let is_up = self.node.is_some();
        let incarnations = self.incarnations;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if !is_up || connection.incarnation != Some(incarnations) {
            let client = connection.client;
            self.connections.remove(&id);
            self.lose_connection(client, id);
            return Ok(());
        }
        match message {
            ToNode::Closed => {
                self.connections.remove(&id);
                self.trace.event(self.now, EVENT_CLOSED).word(id.0);
                self.trace.line(self.now, || format!("  in  connection {id} is gone"));
                self.step(Input::ConnectionClosed { connection: id })
            }
            ToNode::Request { request, version, body } => {
                if connection.is_closing {
                    return Ok(());
                }
                let produced = if let AnyRequest::Produce(produce) = &body {
                    sent_batches(produce, &self.topic_names, &self.topic_ids)
                } else {
                    Vec::new()
                };
                connection.waiting.push_back(Waiting { request, version, produced, answer: None });
                let client = connection.client;
                let hash = self.trace.event(self.now, EVENT_REQUEST);
                hash.word(id.0);
                hash.word(request.0);
                let mut writer = Writer::with_capacity(256);
                let encoded = body.encode(version, &mut writer);
                assert_eq!(encoded, Ok(()), "clients send what can be sent");
                transcript::hash_encoded(hash, writer);
                self.trace.line(self.now, || transcript::request(client, id, request, &body));
                let context = RequestContext {
                    api_version: version,
                    client_id: None,
                    listener: Str::from_static(Plan::LISTENER),
                };
                let body = if let AnyRequest::Produce(produce) = body {
                    RequestBody::Produce(JudgedProduce::judge(produce, version))
                } else {
                    RequestBody::Other(body)
                };
                self.step(Input::Request { connection: id, request, context, body })
            }
        }
    }

    // Outputs.

    fn carry_out(&mut self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Storage { token, op } => self.submit(token, op),
            Output::Respond { connection, request, version, body } => {
                self.on_respond(connection, request, version, body)
            }
            Output::NoResponse { connection, request } => {
                self.trace.event(self.now, EVENT_NO_RESPONSE).word(request.0);
                self.trace.line(self.now, || format!("  out connection {connection} request {request}: -"));
                self.answer(connection, request, None);
                Ok(())
            }
            Output::Close { connection } => {
                self.trace.event(self.now, EVENT_CLOSE).word(connection.0);
                self.trace.line(self.now, || format!("  out connection {connection}: close"));
                if let Some(state) = self.connections.get_mut(&connection) {
                    state.is_closing = true;
                    let client = state.client;
                    let at = (self.now + self.delay(Place::ToClient, client))
                        .max(self.connections[&connection].last_to_client);
                    self.schedule(at, Event::ToClient { client, connection, message: ToClient::Closed });
                    self.schedule(self.now, Event::ToNode { connection, message: ToNode::Closed });
                }
                Ok(())
            }
        }
    }

    fn submit(&mut self, token: StorageToken, mut op: StorageOp) -> Result<(), Failure> {
        let hash = self.trace.event(self.now, EVENT_STORAGE);
        hash.word(u64::from(token.owner));
        hash.word(token.sequence);
        transcript::hash_op(hash, &op);
        self.trace.line(self.now, || format!("  out {token:?} {}", transcript::op(&op)));
        self.checks.on_storage_op(&op, &self.disk)?;
        self.spoil(&mut op);
        let is_log_append = matches!(&op, StorageOp::Append { file, .. } if file.as_str().ends_with(".log"));
        let due = self.disk.submit(self.now, token, op);
        if is_log_append && self.plan.mutation == Some(Mutation::AppendsAnsweredEarly) {
            self.answered_early.insert(token);
            let result = Ok(Completion::Done);
            self.schedule(self.now, Event::Completion { incarnation: self.incarnations, token, result });
        }
        self.schedule(due.at, Event::StorageDue { number: due.number });
        Ok(())
    }

    /// Does to an operation what the plan's mutation says.
    fn spoil(&self, op: &mut StorageOp) {
        let suffix = match self.plan.mutation {
            Some(Mutation::IndexEntriesSpoiled) => ".index",
            Some(Mutation::TimeIndexEntriesSpoiled) => ".timeindex",
            _ => return,
        };
        if let StorageOp::Append { file, bytes: [first, _], .. } = op
            && file.as_str().ends_with(suffix)
            && !first.is_empty()
        {
            let mut entry = first.to_vec();
            *entry.last_mut().expect("it is not empty") ^= 1;
            *first = Bytes::from(entry);
        }
    }

    fn on_respond(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        version: i16,
        mut body: AnyResponse,
    ) -> Result<(), Failure> {
        self.read_stored(&mut body)?;
        self.mutate(&mut body);
        let hash = self.trace.event(self.now, EVENT_RESPONSE);
        hash.word(connection.0);
        hash.word(request.0);
        let mut writer = Writer::with_capacity(256);
        if let Err(error) = body.encode(version, &mut writer) {
            let sentence = format!("an answer cannot be encoded in version {version}: {error}: {body:?}");
            return Err(Failure::Safety(Violation { property: "answers", sentence }));
        }
        transcript::hash_encoded(hash, writer);
        self.trace.line(self.now, || transcript::response(connection, request, &body));
        self.judge_response(connection, request, version, &body)?;
        self.answer(connection, request, Some(body));
        Ok(())
    }

    /// Puts the bytes of files in the place of their ranges, as the shell does when it sends them.
    fn read_stored(&self, body: &mut AnyResponse) -> Result<(), Failure> {
        let AnyResponse::Fetch(fetch) = body else { return Ok(()) };
        for topic in &mut fetch.responses {
            for partition in &mut topic.partitions {
                if let Some(Records::Stored(range)) = &partition.records {
                    let contents = self.disk.contents(&range.file);
                    let bytes = contents.map(|contents| contents.read(range.position, u64::from(range.len)));
                    let bytes = bytes.unwrap_or_default();
                    if bytes.len() as u64 != u64::from(range.len) {
                        let sentence = format!(
                            "an answer promises {} bytes of {} from {} on, and there are {}",
                            range.len,
                            range.file,
                            range.position,
                            bytes.len()
                        );
                        return Err(Failure::Safety(Violation { property: "consumer_reads", sentence }));
                    }
                    partition.records = Some(Records::Bytes(bytes));
                }
            }
        }
        Ok(())
    }

    /// Does to an answer what the plan's mutation says.
    fn mutate(&mut self, body: &mut AnyResponse) {
        let Some(mutation) = self.plan.mutation else { return };
        match (mutation, body) {
            (Mutation::HighWatermarkFalls, AnyResponse::Fetch(fetch)) => {
                self.fetches_answered += 1;
                if self.fetches_answered.is_multiple_of(7) {
                    for partition in fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                        if partition.error_code == 0
                            && partition.records.as_ref().is_none_or(Records::is_empty)
                        {
                            partition.high_watermark -= 1;
                        }
                    }
                }
            }
            (Mutation::ReadsFlipped, AnyResponse::Fetch(fetch)) => {
                for partition in fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    if let Some(Records::Bytes(bytes)) = &mut partition.records
                        && bytes.len() > 70
                    {
                        let mut flipped = bytes.to_vec();
                        flipped[70] ^= 1;
                        *bytes = Bytes::from(flipped);
                    }
                }
            }
            (Mutation::ProducerIdHandedOutTwice, AnyResponse::InitProducerId(response)) => {
                response.producer_id = *self.first_producer_id.get_or_insert(response.producer_id);
            }
            (Mutation::TopicForgotten, AnyResponse::Metadata(response)) if self.incarnations > 1 => {
                if let Some(topic) = response.topics.first_mut() {
                    topic.error_code = ErrorCode::UnknownTopicOrPartition.as_i16();
                    topic.partitions.clear();
                }
            }
            _ => {}
        }
    }

    fn judge_response(
        &mut self,
        id: ConnectionId,
        request: RequestId,
        version: i16,
        body: &AnyResponse,
    ) -> Result<(), Failure> {
        let violation = |sentence| Err(Failure::Safety(Violation { property: "answers", sentence }));
        // A client that closed its connection does not hear the answer, and nobody holds the node to it.
        let Some(connection) = self.connections.get(&id) else { return Ok(()) };
        let Some(waiting) = connection.waiting.iter().find(|waiting| waiting.request == request) else {
            return violation(format!(
                "connection {id} gets an answer to request {request}, which does not wait"
            ));
        };
        if waiting.answer.is_some() || waiting.version != version {
            return violation(format!(
                "request {request} of connection {id} is answered twice, or in version {version} instead of {}",
                waiting.version
            ));
        }
        let seat = &self.seats[connection.client];
        let is_current = seat.connection == Some(id);
        if let AnyResponse::Produce(response) = body {
            for topic in &response.responses {
                let index = topic_index(&self.topic_names, &self.topic_ids, &topic.name, topic.topic_id);
                for partition in &topic.partition_responses {
                    let sent = waiting
                        .produced
                        .iter()
                        .find(|sent| (Some(sent.topic), sent.partition) == (index, partition.index));
                    if let Some(sent) = sent.filter(|_| partition.error_code == 0) {
                        let sent = Acknowledged { base_offset: partition.base_offset, ..sent.clone() };
                        let before = self
                            .checks
                            .log(sent.topic, sent.partition)
                            .map_or(0, |log| log.acknowledged_end());
                        self.checks.on_acknowledged(&sent, &self.disk)?;
                        let after = self
                            .checks
                            .log(sent.topic, sent.partition)
                            .map_or(0, |log| log.acknowledged_end());
                        self.marks.records_acknowledged += (after - before).unsigned_abs();
                        self.marks.duplicates_recognised += u64::from(partition.base_offset < before);
                    }
                }
            }
        } else if let AnyResponse::Fetch(response) = body {
            let mut requested = BTreeMap::new();
            if let (Client::Consumer(consumer), true) = (&seat.client, is_current) {
                requested.extend(consumer.positions());
            }
            let (names, ids) = (&self.topic_names, &self.topic_ids);
            let topic_of = |name: &str, id| topic_index(names, ids, name, id);
            self.checks.on_fetched(response, topic_of, &requested, &self.disk)?;
            let mentioned: usize = response.responses.iter().map(|topic| topic.partitions.len()).sum();
            if response.session_id != 0 && mentioned < requested.len() {
                self.marks.incremental_fetches += 1;
            }
        } else if let AnyResponse::InitProducerId(response) = body {
            self.checks.on_producer_id(response)?;
        } else if let AnyResponse::CreateTopics(response) = body {
            for topic in &response.topics {
                if matches!(
                    ErrorCode::from_i16(topic.error_code),
                    ErrorCode::None | ErrorCode::TopicAlreadyExists
                ) {
                    self.checks.on_topic_created(self.now, &topic.name);
                }
            }
        } else if let AnyResponse::Metadata(response) = body {
            let running_since = self.node.as_ref().and_then(|incarnation| incarnation.running_since);
            self.checks.on_metadata(self.now, running_since.unwrap_or(self.now), response)?;
            for topic in &response.topics {
                let index = self.topic_names.iter().position(|name| topic.name.as_ref() == Some(name));
                if let Some(index) = index.filter(|_| topic.error_code == 0) {
                    self.topic_ids.insert(topic.topic_id, index);
                }
            }
        }
        Ok(())
    }

    /// Notes an answer, and sends what is now first in its connection's order.
    fn answer(&mut self, id: ConnectionId, request: RequestId, answer: Option<AnyResponse>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(waiting) = connection.waiting.iter_mut().find(|waiting| waiting.request == request) else {
            return;
        };
        waiting.answer = Some(answer);
        let client = connection.client;
        let mut ready = Vec::new();
        while let Some(Waiting { answer: Some(_), .. }) = connection.waiting.front() {
            ready.extend(connection.waiting.pop_front().map(|waiting| (waiting.request, waiting.answer)));
        }
        for (request, answer) in ready {
            if let Some(body) = answer.flatten() {
                let at = self.now + self.delay(Place::ToClient, client);
                let connection = self.connections.get_mut(&id).expect("it was just there");
                connection.last_to_client = connection.last_to_client.max(at);
                let at = connection.last_to_client;
                let message = ToClient::Response { request, body };
                self.schedule(at, Event::ToClient { client, connection: id, message });
            }
        }
    }

    // Clients.

    fn delay(&self, place: Place, client: usize) -> u64 {
        let network = &self.plan.network;
        let range = if place == Place::ToNode { network.to_node_us } else { network.to_client_us };
        self.field.between(place, client as u64, self.now, range.low, range.high)
    }

    fn on_message_to_client(
        &mut self,
        client: usize,
        connection: ConnectionId,
        message: ToClient,
    ) -> Result<(), Failure> {
        let Some(seat) = self.seats.get_mut(client) else { return Ok(()) };
        if seat.connection != Some(connection) {
            return Ok(());
        }
        match message {
            ToClient::Response { request, body } => {
                if let AnyResponse::Fetch(fetch) = &body {
                    self.marks.reads += fetch
                        .responses
                        .iter()
                        .flat_map(|topic| &topic.partitions)
                        .filter(|partition| {
                            partition.records.as_ref().is_some_and(|records| !records.is_empty())
                        })
                        .count() as u64;
                }
                seat.client.on_response(self.now, request, body, &mut self.client_outbox);
            }
            ToClient::Closed => {
                seat.connection = None;
                self.trace.line(self.now, || format!("      client {client} has lost its connection"));
                seat.client.on_disconnected(self.now, &mut self.client_outbox);
            }
        }
        self.after_client(client)
    }

    /// Does what a client asked for, and sees to it that it is woken when it wants to be.
    fn after_client(&mut self, client: usize) -> Result<(), Failure> {
        let mut outbox = std::mem::take(&mut self.client_outbox);
        self.history.append(&mut outbox.history);
        for action in outbox.actions.drain(..) {
            match action {
                Action::Close => {
                    if let Some(connection) = self.seats[client].connection.take() {
                        let at = self.arrival_at_node(client, connection);
                        self.schedule(at, Event::ToNode { connection, message: ToNode::Closed });
                    }
                }
                Action::Send { request, version, body } => {
                    let connection = self.connection_of(client);
                    let at = self.arrival_at_node(client, connection);
                    let message = ToNode::Request { request, version, body };
                    self.schedule(at, Event::ToNode { connection, message });
                }
            }
        }
        self.client_outbox = outbox;
        let refusals = match &mut self.seats[client].client {
            Client::Producer(producer) => producer.take_refusals(),
            Client::Consumer(consumer) => consumer.take_refusals(),
            Client::Admin(_) => Vec::new(),
        };
        if let Some(sentence) = refusals.into_iter().next() {
            return Err(Failure::Safety(Violation { property: "answers", sentence }));
        }
        self.wake_later(client);
        Ok(())
    }

    fn connection_of(&mut self, client: usize) -> ConnectionId {
        if let Some(connection) = self.seats[client].connection {
            return connection;
        }
        self.connections_opened += 1;
        let id = ConnectionId(self.connections_opened);
        let connection = Connection {
            client,
            incarnation: self.node.is_some().then_some(self.incarnations),
            last_to_node: 0,
            last_to_client: 0,
            waiting: VecDeque::new(),
            is_closing: false,
        };
        self.connections.insert(id, connection);
        self.seats[client].connection = Some(id);
        id
    }

    /// When a message that is sent on a connection arrives: not before the one sent before it.
    fn arrival_at_node(&mut self, client: usize, connection: ConnectionId) -> u64 {
        let at = self.now + self.delay(Place::ToNode, client);
        match self.connections.get_mut(&connection) {
            Some(connection) => {
                connection.last_to_node = connection.last_to_node.max(at);
                connection.last_to_node
            }
            None => at,
        }
    }

    fn wake_later(&mut self, client: usize) {
        let seat = &mut self.seats[client];
        let Some(at) = seat.client.next_wake() else { return };
        let at = at.max(self.now);
        if seat.wake_at.is_none_or(|armed| at < armed) {
            seat.wake_at = Some(at);
            self.schedule(at, Event::ClientWake { client });
        }
    }
}

/// The batches of a produce request, with where they are to go.
fn sent_batches(request: &ProduceRequest, names: &[Str], ids: &BTreeMap<Uuid, usize>) -> Vec<Acknowledged> {
    let mut sent = Vec::new();
    for topic in &request.topic_data {
        let Some(index) = topic_index(names, ids, &topic.name, topic.topic_id) else { continue };
        for partition in &topic.partition_data {
            if let Some(Records::Bytes(bytes)) = &partition.records {
                sent.push(Acknowledged {
                    topic: index,
                    partition: partition.index,
                    acks: request.acks,
                    base_offset: -1,
                    sent: bytes.clone(),
                });
            }
        }
    }
    sent
}

fn topic_index(names: &[Str], ids: &BTreeMap<Uuid, usize>, name: &str, id: Uuid) -> Option<usize> {
    if name.is_empty() { ids.get(&id).copied() } else { names.iter().position(|known| *known == *name) }
}

/// The one thing that outlives a run, for [`Mutation::DelaysFromOutside`] alone.
static RUNS_FROM_OUTSIDE: AtomicU64 = AtomicU64::new(0);

const EVENT_CRASH: u64 = 1;
const EVENT_DEADLINE: u64 = 2;
const EVENT_COMPLETION: u64 = 3;
const EVENT_CLOSED: u64 = 4;
const EVENT_REQUEST: u64 = 5;
const EVENT_NO_RESPONSE: u64 = 6;
const EVENT_CLOSE: u64 = 7;
const EVENT_STORAGE: u64 = 8;
const EVENT_RESPONSE: u64 = 9;
const EVENT_POWER_LOSS: u64 = 10;
