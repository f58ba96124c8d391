//! The world of one run: virtual time, the queue of events, machines with their disks, clients, and what befalls them.
//!
//! A run has three phases. In the first the plan happens, faults and all, until every client has done what its plan says.
//! Then every node is stopped cleanly. Then they start once more, and auditors read everything. In the end the judge from outside
//! looks at what clients did and were told.
//!
//! A world is a value: a clone of it is a second world that goes on from the same moment, with other weather if its field
//! is another.

mod judge;
mod life;
mod links;
mod machine;
mod network;
mod operator;
mod queue;
mod replicas;
mod traffic;

use crate::check::{Checks, Hosted, Image, QuorumChecks, ReplicationChecks, SentRecords, Violation};
use crate::client::{
    Admin, Client, ClientOutbox, ConfigReader, Configurator, Consumer, Gatekeeper, Observer, Operator,
    PretendBroker, Producer, Surroundings,
};
use crate::disk::Disk;
use crate::field::{Field, Place};
use crate::history::Entry;
use crate::marks::{Marks, WorldMark};
use crate::plan::{
    BrokerPlan, ConsumerPlan, Fault, GatekeeperPlan, Mutation, NodePlan, NodeRole, Plan, WeatherChange,
};
use crate::trace::{Kind, Line, Telling, Trace};
use crate::transcript;
use links::LinkMessage;
use machine::Machine;
use network::Network;
use queue::Queue;
use sordini_core::config::BrokerConfig;
use sordini_core::config::broker::Origin;
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::museum::Museum;
use sordini_core::node::{Input, PartitionView, QuorumRole, QuorumView};
use sordini_core::outbox::Outbox;
use sordini_core::storage_op::{Completion, StorageFault, StorageToken};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Str, Uuid};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The wall clock of a machine with an exact clock at a virtual time, in milliseconds since the Unix epoch. A run begins
/// in October 2025.
#[must_use]
pub fn wall_ms(now_us: u64) -> i64 {
    1_760_000_000_000 + i64::try_from(now_us / 1_000).expect("a run ends within the age of the universe")
}

/// More events than this at one virtual time are a node or client that spins.
const EVENTS_AT_ONCE_MAX: u64 = 1_000_000;

/// So long without any event that is more than a timer is an idle stretch.
const IDLE_US: u64 = 60_000_000;

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

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The 64 bits that two runs of one plan agree in.
    pub trace_hash: u64,
    /// Inputs and outputs of the nodes.
    pub events: u64,
    /// How long it lasted, in virtual microseconds.
    pub virtual_us: u64,
    /// What happened.
    pub marks: Marks,
    /// What clients did and were told.
    pub history: Vec<Entry>,
    /// Whether its plan has only faults that its configuration promises to survive.
    pub is_within_budget: bool,
    /// What was lost to faults that the configuration does not promise to survive, as sentences.
    pub losses: Vec<String>,
    /// What was told of the run.
    pub lines: Vec<Line>,
}

impl Outcome {
    /// The run as a person reads it, as far as it was told.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.lines.iter().map(|line| line.to_text() + "\n").collect()
    }
}

/// Something that happens at a virtual time. Nodes and clients are named by their places in the world.
#[derive(Clone, Debug)]
enum Event {
    Start {
        node: usize,
    },
    Fault(usize),
    StorageDue {
        node: usize,
        life: u64,
        number: u64,
    },
    Completion {
        node: usize,
        life: u64,
        token: StorageToken,
        result: Result<Completion, StorageFault>,
    },
    Deadline {
        node: usize,
        life: u64,
    },
    ToNode {
        connection: ConnectionId,
        message: ToNode,
    },
    ToClient {
        seat: usize,
        connection: ConnectionId,
        message: ToClient,
    },
    Link {
        connection: ConnectionId,
        message: LinkMessage,
    },
    LinkClosedHere {
        node: usize,
        life: u64,
        connection: ConnectionId,
    },
    Duplicate {
        seat: usize,
        node: usize,
        life: u64,
        version: i16,
        body: AnyRequest,
    },
    ClientWake {
        seat: usize,
    },
    /// Nothing that was armed and has not struck will strike any more.
    Heal,
}

#[derive(Clone, Debug)]
enum ToNode {
    Request { request: RequestId, version: i16, body: AnyRequest },
    Closed,
}

#[derive(Clone, Debug)]
enum ToClient {
    Response { request: RequestId, body: AnyResponse },
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The plan happens.
    Plan,
    /// The nodes were asked to stop.
    Stop,
    /// Auditors read.
    Audit,
}

/// A client in its place.
#[derive(Clone, Debug)]
struct Seat {
    number: u64,
    /// The node it talks to.
    node: usize,
    client: Client,
    connection: Option<ConnectionId>,
    /// For when a wake is in the queue, the earliest.
    wake_at: Option<u64>,
    paused_until: u64,
}

/// A world under way.
#[derive(Clone)]
pub struct World {
    plan: Arc<Plan>,
    field: Field,
    museum: Museum,
    now: u64,
    queue: Queue<Event>,
    machines: Vec<Machine>,
    seats: Vec<Seat>,
    quorum_checks: QuorumChecks,
    replication_checks: ReplicationChecks,
    /// What was last told of each partition of the cluster.
    told_partitions: BTreeMap<(usize, i32), String>,
    network: Network,
    faults_left: usize,
    /// How many of the plan's changes of the weather have come.
    weather_changes: usize,
    /// When the last operation or fault of the plan is over.
    planned_until: u64,
    phase: Phase,
    /// Whether all that can still strike is what clients and nodes do to each other.
    is_healed: bool,
    /// When it is looked next for partitions that nobody may lead.
    looks_for_leaders_at: u64,
    /// Since when every producer and administrator has done what its plan says.
    quiet_since: Option<u64>,
    /// In the audit, since when everything is committed that brokers of the cluster have.
    committed_since: Option<u64>,
    /// Whether what clients did and were told is not judged.
    is_unjudged: bool,
    last_active: u64,
    at_once: u64,
    /// When disks of controllers went that may yet be made those of voters.
    ghosts: Vec<u64>,
    /// Of the one cluster that all members of a plan's quorum are of.
    cluster_id: Uuid,
    topic_ids: BTreeMap<Uuid, usize>,
    topic_names: Arc<[Str]>,
    /// What was sent where, if a topic of the plan is created again.
    sent_records: Option<SentRecords>,
    trace: Trace,
    history: Vec<Entry>,
    losses: Vec<String>,
    marks: Marks,
    outbox: Scratch,
    client_outbox: ClientOutbox,
    fetches_answered: u64,
    first_producer_id: Option<i64>,
}

/// An outbox that is empty between two steps: a clone of it is another empty one.
#[derive(Debug, Default)]
struct Scratch(Outbox);

impl Clone for Scratch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: &Plan, telling: Telling) -> Outcome {
    let mut world = World::new(plan, telling);
    let failure = world.run().err();
    world.outcome(failure)
}

impl World {
    /// The world of a plan, before anything happens.
    ///
    /// # Panics
    /// If the plan cannot be run: see [`Plan::problem`].
    #[must_use]
    pub fn new(plan: &Plan, telling: Telling) -> Self {
        assert_eq!(plan.problem(), None, "a plan that cannot be run");
        let mut field_seed = plan.field_seed;
        if plan.mutation == Some(Mutation::DelaysFromOutside) {
            field_seed ^= u64::from(std::process::id());
            field_seed ^= RUNS_FROM_OUTSIDE.fetch_add(1, Ordering::Relaxed) << 32;
        }
        let field = Field::new(field_seed);
        let topic_names: Arc<[Str]> = plan.topics.iter().map(|topic| Str::from(&*topic.name)).collect();
        let machines = (0..plan.nodes.len()).map(|node| {
            let disk = Disk::new(field.of_node(node), plan.nodes[node].disk, plan.mutation);
            Machine::new(&plan.nodes[node], config_of(plan, node), disk, Checks::new(plan, node))
        });
        let mut world = Self {
            machines: machines.collect(),
            seats: Vec::new(),
            quorum_checks: QuorumChecks::new(plan),
            replication_checks: ReplicationChecks::new(plan),
            told_partitions: BTreeMap::new(),
            network: Network::new(field, plan.network),
            faults_left: plan.faults.len(),
            weather_changes: 0,
            planned_until: plan.last_us(),
            plan: Arc::new(plan.clone()),
            field,
            museum: plan.museum().expect("the plan can be run"),
            now: 0,
            queue: Queue::default(),
            phase: Phase::Plan,
            is_healed: false,
            looks_for_leaders_at: 0,
            quiet_since: None,
            committed_since: None,
            is_unjudged: false,
            last_active: 0,
            at_once: 0,
            ghosts: Vec::new(),
            cluster_id: new_cluster_id(field, 0, 0),
            topic_ids: BTreeMap::new(),
            topic_names,
            sent_records: plan.recreates_topics().then(SentRecords::default),
            trace: Trace::new(telling),
            history: Vec::new(),
            losses: Vec::new(),
            marks: Marks::default(),
            outbox: Scratch::default(),
            client_outbox: ClientOutbox::default(),
            fetches_answered: 0,
            first_producer_id: None,
        };
        world.seat_clients();
        for node in 0..world.machines.len() {
            world.format(node);
            world.schedule(0, Event::Start { node });
        }
        for index in 0..plan.faults.len() {
            world.schedule(plan.faults[index].at_us, Event::Fault(index));
        }
        let over = plan.faults.iter().map(|planned| planned.at_us + planned.fault.lasts_us()).max();
        let has_disk_faults = plan.faults.iter().any(|planned| matches!(planned.fault, Fault::Disk { .. }));
        let patience = if has_disk_faults { ARMED_US } else { 0 };
        world.schedule(over.unwrap_or(0) + patience, Event::Heal);
        for seat in 0..world.seats.len() {
            world.wake_later(seat);
        }
        world
    }

    /// The world of a plan, with something in it that is no part of the plan and of no concern to it: clients that look at
    /// each node from the beginning on. A plan that fails should fail the same way in it.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn with_observer(plan: &Plan, telling: Telling) -> Self {
        let mut world = Self::new(plan, telling);
        for node in 0..world.machines.len() {
            let number = OBSERVER_FIRST + node as u64;
            let observer = Observer::new(number, world.surroundings());
            world.seat(number, node, Client::Observer(observer));
            world.wake_later(world.seats.len() - 1);
        }
        world
    }

    /// The same world with nobody to look whether it keeps its promises, to measure what looking costs. Nothing else in the
    /// run changes.
    #[must_use]
    pub fn without_checks(self) -> Self {
        Self { is_unjudged: true, ..self.judged_by_clients_alone() }
    }

    /// The same world with nobody to look but clients: whether it keeps its promises is judged in the end, by what they did and
    /// were told.
    #[must_use]
    pub fn judged_by_clients_alone(mut self) -> Self {
        self.machines.iter_mut().for_each(|machine| machine.checks.switch_off());
        self.quorum_checks.switch_off();
        self.replication_checks.switch_off();
        self
    }

    fn seat_clients(&mut self) {
        let surroundings = self.surroundings();
        let plan = Arc::clone(&self.plan);
        // Members of one cluster are administered by other clients.
        for node in (0..plan.nodes.len()).filter(|node| plan.nodes[*node].role == NodeRole::Standalone) {
            let number = Plan::admin_of(node);
            let deeds = plan.administration.iter().filter(|planned| planned.node == node).cloned().collect();
            let admin = Admin::new(number, node, surroundings.clone(), plan.topics.clone(), deeds);
            self.seat(number, node, Client::Admin(admin));
        }
        if let Some(node) = surroundings.brokers.first().copied().filter(|_| !plan.topics.is_empty()) {
            let number = Plan::admin_of(node);
            let deeds = plan.administration.clone();
            let admin = Admin::new(number, node, surroundings.clone(), plan.topics.clone(), deeds);
            self.seat(number, node, Client::Admin(admin));
        }
        for producer in &plan.producers {
            let client = Producer::new(surroundings.clone(), producer.clone(), plan.mutation);
            self.seat(producer.client, producer.node, Client::Producer(client));
        }
        for consumer in &plan.consumers {
            let client = Consumer::new(surroundings.clone(), consumer.clone());
            self.seat(consumer.client, consumer.node, Client::Consumer(client));
        }
        for configurator in &plan.configurators {
            let client = Configurator::new(configurator.clone(), plan.nodes.len(), surroundings.clone());
            self.seat(configurator.client, configurator.node, Client::Configurator(client));
        }
        let (key, authorizer) = GatekeeperPlan::AUTHORIZER;
        let keeps = |node: &NodePlan| node.properties.get(key).is_some_and(|value| value == authorizer);
        let are_kept = plan.nodes.iter().all(keeps);
        for gatekeeper in &plan.gatekeepers {
            let client =
                Gatekeeper::new(gatekeeper.clone(), plan.nodes.len(), are_kept, surroundings.clone());
            self.seat(gatekeeper.client, gatekeeper.node, Client::Gatekeeper(Box::new(client)));
        }
        let cluster_id = Str::from(self.cluster_id.to_string());
        for operator in &plan.operators {
            let client = Operator::new(
                operator.clone(),
                cluster_id.clone(),
                plan.controllers().count(),
                plan.first_voters.is_some(),
                surroundings.clone(),
            );
            self.seat(operator.client, operator.node, Client::Operator(Box::new(client)));
        }
        for broker in &plan.brokers {
            let client = PretendBroker::new(
                broker.clone(),
                cluster_id.clone(),
                plan.controllers().count(),
                surroundings.clone(),
            );
            self.seat(broker.client, broker.node, Client::PretendBroker(Box::new(client)));
        }
    }

    pub(super) fn surroundings(&self) -> Surroundings {
        let brokers = self.plan.cluster_brokers().collect();
        Surroundings { topics: Arc::clone(&self.topic_names), field: self.field, brokers }
    }

    pub(super) fn seat(&mut self, number: u64, node: usize, client: Client) {
        self.seats.push(Seat { number, node, client, connection: None, wake_at: None, paused_until: 0 });
    }

    /// The trace of the run.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The virtual time, in microseconds.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// What has happened so far.
    #[must_use]
    pub fn marks(&self) -> Marks {
        let mut marks = self.marks.clone();
        for machine in &self.machines {
            marks.disk.add(&machine.disk.marks());
        }
        marks.count(WorldMark::MessageHeld, self.network.held);
        marks
    }

    /// A world that goes on from this moment as a run of this world's plan with one change of the weather more would, and
    /// that change. It comes when all that happens at this time has happened.
    #[must_use]
    pub fn branch(&self, field_seed: u64) -> (Self, WeatherChange) {
        let change = WeatherChange { at_us: self.now + 1, field_seed };
        let mut plan = Plan::clone(&self.plan);
        plan.weather.insert(self.weather_changes, change);
        (Self { plan: Arc::new(plan), ..self.clone() }, change)
    }

    /// Lets the weather be what the plan says that it is at the time `at`.
    fn change_weather(&mut self, at: u64) {
        while let Some(change) = self.plan.weather.get(self.weather_changes).filter(|it| it.at_us <= at) {
            let seed = change.field_seed;
            self.weather_changes += 1;
            self.trace.tell(at, Kind::Fault, None, || format!("the weather of field {seed}"));
            self.become_field(Field::new(seed));
        }
    }

    /// From here on, chance decides as another field does.
    fn become_field(&mut self, field: Field) {
        self.field = field;
        self.network.change_weather(self.field);
        for (node, machine) in self.machines.iter_mut().enumerate() {
            machine.disk.change_weather(self.field.of_node(node));
        }
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first thing that must not happen, or the thing that did not happen in time.
    pub fn run(&mut self) -> Result<(), Failure> {
        while self.go_on()? {}
        Ok(())
    }

    /// Lets one event happen; false if the run is over.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn go_on(&mut self) -> Result<bool, Failure> {
        if self.is_over()? {
            self.check_at_end()?;
            return Ok(false);
        }
        let Some((at, event)) = self.queue.pop() else {
            return Err(self.stuck("nothing is left to happen"));
        };
        self.at_once = if at == self.now { self.at_once + 1 } else { 0 };
        if self.at_once > EVENTS_AT_ONCE_MAX {
            return Err(self.stuck("a million events happened at one moment"));
        }
        if at > self.bound() {
            return Err(self.stuck("the time for it is over"));
        }
        self.change_weather(at);
        self.now = at;
        self.happen(event)?;
        Ok(true)
    }

    fn check_at_end(&mut self) -> Result<(), Failure> {
        for node in 0..self.machines.len() {
            // Producers of the plan that talk to this node.
            let idempotent =
                self.plan.producers.iter().filter(|producer| producer.is_idempotent && producer.node == node);
            let clients = idempotent.map(|producer| producer.client).collect();
            if self.machines[node].disk.is_damaged() {
                continue;
            }
            let twice = self.machines[node].checks.at_end(&clients)?;
            self.marks.count(WorldMark::RaisedEpochDuplicate, twice);
        }
        self.judge_history()
    }

    /// What the run came to.
    #[must_use]
    pub fn outcome(mut self, failure: Option<Failure>) -> Outcome {
        let marks = self.marks();
        if let Some(failure) = &failure {
            self.trace.tell(self.now, Kind::Verdict, None, || failure.to_string());
        }
        Outcome {
            failure,
            trace_hash: self.trace.hash(),
            events: self.trace.events(),
            virtual_us: self.now,
            marks,
            history: self.history,
            is_within_budget: self.plan.is_within_budget(),
            losses: self.losses,
            lines: self.trace.into_lines(),
        }
    }

    fn bound(&self) -> u64 {
        let last_start = self.machines.iter().map(|machine| machine.last_start).max().unwrap_or(0);
        self.planned_until.max(last_start) + self.plan.liveness_bound_us
    }

    fn stuck(&self, why: &str) -> Failure {
        let states: Vec<_> = self
            .machines
            .iter()
            .map(|machine| machine.process.as_ref().map(|process| &process.state))
            .collect();
        let waiting: Vec<String> = self
            .seats
            .iter()
            .filter(|seat| !seat.client.is_finished(self.quiet_since))
            .map(|seat| format!("client {} waits for {}", seat.number, seat.client.waits_for()))
            .collect();
        let views = self.machines.iter().filter_map(|machine| machine.process.as_ref()?.node.quorum());
        let quorum: Vec<String> = match self.plan.controllers().next() {
            Some(_) => views.map(|view| format!("; {}", transcript::voter(&view))).collect(),
            None => Vec::new(),
        };
        let behind = self.replicas_behind().map(|behind| format!("; {behind}"));
        Failure::Liveness(format!(
            "{why}; at {} us in phase {:?} the nodes are {states:?}; {}{}{}",
            self.now,
            self.phase,
            waiting.join("; "),
            quorum.concat(),
            behind.unwrap_or_default()
        ))
    }

    /// Looks whether a phase has come to its end, and begins the next.
    fn is_over(&mut self) -> Result<bool, Failure> {
        match self.phase {
            Phase::Plan => {
                if self.faults_left > 0 || !self.is_healed || !self.is_whole() {
                    return Ok(false);
                }
                self.have_somebody_lead();
                if self.quiet_since.is_none() {
                    let is_consumer = |client: &Client| matches!(client, Client::Consumer(_));
                    let is_done = |seat: &Seat| is_consumer(&seat.client) || seat.client.is_finished(None);
                    if self.seats.iter().all(is_done) {
                        self.quiet_since = Some(self.now);
                    }
                }
                if let Some(since) = self.quiet_since
                    && self.is_quorum_whole()
                    && (0..self.seats.len()).all(|seat| self.is_done_since(since, seat))
                    && self.replicas_behind().is_none()
                {
                    self.phase = Phase::Stop;
                    for node in 0..self.machines.len() {
                        self.step(node, Input::StopRequested)?;
                    }
                }
                Ok(false)
            }
            Phase::Stop => {
                // A node that has stopped waits for the others.
                if self.machines.iter().all(|machine| machine.process.is_none()) {
                    self.phase = Phase::Audit;
                    self.seat_auditors();
                    for node in 0..self.machines.len() {
                        self.schedule(self.now + AUDIT_AFTER_US, Event::Start { node });
                    }
                }
                Ok(false)
            }
            Phase::Audit => {
                if !self.begin_to_read() {
                    return Ok(false);
                }
                for node in 0..self.machines.len() {
                    let machine = &self.machines[node];
                    if !machine.is_running() || !self.is_done_since(machine.last_start, node) {
                        return Ok(false);
                    }
                }
                // What nodes know is compared when all of them know the same.
                if self.members().next().is_some() && !self.is_quorum_whole() {
                    return Ok(false);
                }
                if !self.is_read_to_the_end() {
                    return Ok(false);
                }
                self.audit()?;
                Ok(true)
            }
        }
    }

    /// Whether a client has done what there was to do at a time. What a damaged disk brings may look whole to its reader
    /// and lead it in a circle, as an offset does, which no checksum covers: that has a time limit.
    fn is_done_since(&self, since: u64, seat: usize) -> bool {
        let Seat { client, node, .. } = &self.seats[seat];
        client.is_finished(Some(since)) || (self.is_damaged(*node) && self.now > since + DAMAGED_READ_MAX_US)
    }

    /// Whether every node runs and nothing befalls anybody any more.
    fn is_whole(&self) -> bool {
        let is_whole = |machine: &Machine| {
            machine.is_running()
                && machine.recovery_faults.is_empty()
                && machine.paused_until <= self.now
                && machine.own_disk.is_none()
        };
        self.machines.iter().all(is_whole) && self.network.is_healed(self.now)
    }

    /// Whether all members of the plan's cluster follow one leader, who has committed something in its epoch, and take the same
    /// for committed.
    pub(super) fn is_quorum_whole(&self) -> bool {
        let views: Option<Vec<QuorumView<'_>>> =
            self.members().map(|node| self.machines[node].process.as_ref()?.node.quorum()).collect();
        let Some(views) = views else { return false };
        let Some(first) = views.first() else { return true };
        let Some(leader) = views.iter().find(|view| view.role == QuorumRole::Leader) else { return false };
        let is_committed = leader.high_watermark > leader.epoch_start;
        let agree = |view: &QuorumView<'_>| {
            (view.epoch, view.leader) == (leader.epoch, Some(leader.node))
                && view.high_watermark == first.high_watermark
        };
        is_committed && views.iter().all(agree)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = usize> {
        (0..self.machines.len()).filter(|node| self.plan.nodes[*node].role.is_member())
    }

    /// Lets those read who read what is set, as soon as there is a quorum that can say it; false until then.
    fn begin_to_read(&mut self) -> bool {
        let waits = |seat: &Seat| matches!(&seat.client, Client::ConfigReader(reader) if !reader.has_begun());
        if !self.seats.iter().any(waits) {
            return true;
        }
        if !self.machines.iter().all(Machine::is_running) || !self.is_quorum_whole() {
            return false;
        }
        for seat in 0..self.seats.len() {
            if let Client::ConfigReader(reader) = &mut self.seats[seat].client {
                reader.begin(self.now);
                self.wake_later(seat);
            }
        }
        true
    }

    /// All clients go home; one comes to each node that reads everything there is.
    fn seat_auditors(&mut self) {
        self.seats.clear();
        let mut assignment = Vec::new();
        for (index, topic) in self.plan.topics.iter().enumerate() {
            assignment.extend((0..topic.partitions).map(|partition| (index, partition)));
        }
        for node in 0..self.machines.len() {
            let number = AUDITOR_FIRST + node as u64;
            if self.plan.nodes[node].role.is_member() {
                let of_brokers = self.plan.brokers.iter().flat_map(BrokerPlan::topics);
                let planned = self.plan.topics.iter().map(|topic| topic.name.clone());
                let topics = of_brokers.chain(planned).collect();
                let reader = ConfigReader::new(number, topics, self.surroundings());
                self.seat(number, node, Client::ConfigReader(reader));
                continue;
            }
            self.seat_auditor(number, node, assignment.clone());
        }
        // What brokers of a cluster have is read from whoever leads it.
        let first = self.plan.cluster_brokers().next();
        if let Some(node) = first {
            for (number, place) in (AUDITOR_FIRST + self.machines.len() as u64..).zip(assignment) {
                self.seat_auditor(number, node, vec![place]);
            }
        }
    }

    /// Somebody comes who reads partitions from their beginnings to their ends.
    fn seat_auditor(&mut self, client: u64, node: usize, assignment: Vec<(usize, i32)>) {
        let plan = ConsumerPlan {
            client,
            node,
            start_us: self.now,
            assignment,
            api_version: 16,
            has_sessions: false,
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1 << 20,
            partition_max_bytes: 1 << 20,
            request_timeout_us: 30_000_000,
            rack: None,
        };
        let auditor = Client::Consumer(Consumer::new(self.surroundings(), plan));
        self.seat(client, node, auditor);
        self.wake_later(self.seats.len() - 1);
    }

    /// What the auditors read is what was appended.
    fn audit(&self) -> Result<(), Failure> {
        let readings = self.seats.iter().filter_map(|seat| match &seat.client {
            Client::ConfigReader(reader) => reader.reading(seat.node),
            Client::Admin(_)
            | Client::Producer(_)
            | Client::Consumer(_)
            | Client::Configurator(_)
            | Client::Gatekeeper(_)
            | Client::PretendBroker(_)
            | Client::Operator(_)
            | Client::Observer(_) => None,
        });
        let is_broker = |node: &usize| self.plan.nodes[*node].role.is_broker();
        let hosts = self.members().filter(is_broker).filter_map(|node| {
            let partitions = self.machines[node].process.as_ref()?.node.partitions();
            let led = |view: PartitionView<'_>| {
                ((view.id.topic, view.id.partition), view.leads.map(|epoch| epoch.0))
            };
            Some(Hosted { node, partitions: partitions.map(led).collect() })
        });
        let (readings, hosts): (Vec<_>, Vec<_>) = (readings.collect(), hosts.collect());
        let images = self.members().filter_map(|node| {
            let process = self.machines[node].process.as_ref()?;
            Some(Image::of(node, &process.node))
        });
        self.quorum_checks.at_end(&readings, &hosts, &images.collect::<Vec<_>>())?;
        for (node, machine) in self.machines.iter().enumerate() {
            let Client::Consumer(auditor) = &self.seats[node].client else { continue };
            if machine.disk.is_damaged() || machine.checks.are_off() {
                continue;
            }
            for ((topic, partition), position) in auditor.positions() {
                let end = machine.checks.log(topic, partition).map_or(0, crate::check::LogTruth::end);
                if position != end && !auditor.has_stopped_at_damage(topic, partition) {
                    return Err(Failure::Safety(Violation {
                        property: "acknowledged_data",
                        sentence: format!(
                            "after the last start {}-{partition} of node {node} can be read up to offset {position} and was \
                             appended to up to {end}",
                            self.topic_names[topic]
                        ),
                    }));
                }
            }
        }
        Ok(())
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.queue.push(at, event);
    }

    fn happen(&mut self, event: Event) -> Result<(), Failure> {
        if let Some(later) = self.waits_until(&event) {
            self.schedule(later, event);
            return Ok(());
        }
        self.note_idleness(&event);
        match event {
            Event::Start { node } => self.on_start(node),
            Event::Fault(index) => self.on_fault(index),
            Event::StorageDue { node, life, number } => self.on_storage_due(node, life, number),
            Event::Completion { node, life, token, result } => self.on_completion(node, life, token, result),
            Event::Deadline { node, life } => self.on_deadline(node, life),
            Event::ToNode { connection, message } => self.on_message_to_node(connection, message),
            Event::ToClient { seat, connection, message } => {
                self.on_message_to_client(seat, connection, message)
            }
            Event::Link { connection, message } => self.on_link_message(connection, message),
            Event::LinkClosedHere { node, life, connection } => {
                self.on_link_closed_here(node, life, connection)
            }
            Event::Duplicate { seat, node, life, version, body } => {
                self.on_duplicate(seat, node, life, version, body)
            }
            Event::ClientWake { seat } => self.on_client_wake(seat),
            Event::Heal => {
                self.is_healed = true;
                self.machines.iter_mut().for_each(|machine| machine.disk.heal());
                self.restart_after_repair()
            }
        }
    }

    /// Until when an event has to wait because whom it happens to is paused.
    fn waits_until(&self, event: &Event) -> Option<u64> {
        let paused_until = match event {
            Event::Completion { node, .. }
            | Event::Deadline { node, .. }
            | Event::LinkClosedHere { node, .. }
            | Event::Duplicate { node, .. } => self.machines[*node].paused_until,
            Event::Link { connection, message } => {
                let link = self.network.links.get(connection)?;
                let node = if message.is_there() { link.to? } else { link.from };
                self.machines[node].paused_until
            }
            Event::ToNode { connection, .. } => {
                let connection = self.network.connections.get(connection)?;
                self.machines[connection.node].paused_until
            }
            Event::ToClient { seat, .. } | Event::ClientWake { seat } => self.seats.get(*seat)?.paused_until,
            Event::Start { .. } | Event::Fault(_) | Event::StorageDue { .. } | Event::Heal => return None,
        };
        (paused_until > self.now).then_some(paused_until)
    }

    fn note_idleness(&mut self, event: &Event) {
        if matches!(event, Event::Deadline { .. } | Event::StorageDue { .. } | Event::Completion { .. }) {
            return;
        }
        if self.now - self.last_active >= IDLE_US {
            self.marks.hit(WorldMark::Idle);
        }
        self.last_active = self.now;
    }

    fn violation(&self, property: &'static str, sentence: String) -> Failure {
        Failure::Safety(Violation { property, sentence })
    }
}

/// How long disk faults that were armed and have not struck wait for something to strike.
const ARMED_US: u64 = 3_000_000;
/// How long a reader of a damaged disk is waited for.
const DAMAGED_READ_MAX_US: u64 = 60_000_000;
/// How long the nodes stay down before the auditors come.
const AUDIT_AFTER_US: u64 = 1_000;
/// The numbers of the auditors begin here, beyond those of all clients.
pub const AUDITOR_FIRST: u64 = 1_000_000;

/// The number of the client who has somebody lead what nobody may lead any more.
pub const CARETAKER: u64 = AUDITOR_FIRST - 1;
/// The numbers of observers begin here, beyond those of the auditors.
const OBSERVER_FIRST: u64 = 2_000_000;

/// The id of a cluster whose first node is formatted at a time.
fn new_cluster_id(field: Field, node: usize, now: u64) -> Uuid {
    sordini_core::format::new_cluster_id(field.word(Place::Incarnation, node as u64, now))
}

fn config_of(plan: &Plan, node: usize) -> BrokerConfig {
    let entries = plan.server_properties(node).into_iter().map(|(key, value)| (key, value, Origin::BuiltIn));
    match BrokerConfig::from_entries(entries) {
        Ok((config, _)) => config,
        Err(problems) => panic!("the plan's configuration of node {node} is not valid: {problems:?}"),
    }
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
const EVENT_ASK: u64 = 11;
const EVENT_HANG_UP: u64 = 12;
const EVENT_ANSWER: u64 = 13;
