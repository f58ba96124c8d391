//! Clients that behave as real ones do, as state machines: the world wakes them, hands them answers and tells them when
//! their connection is gone.

mod admin;
mod configurator;
mod consumer;
mod gatekeeper;
mod known;
mod observer;
mod operator;
mod pretend_broker;
mod producer;

pub use admin::Admin;
pub use configurator::{ConfigReader, Configurator};
pub use consumer::Consumer;
pub use gatekeeper::Gatekeeper;
pub use known::Known;
pub use observer::Observer;
pub use operator::{Operator, Outlook};
pub use pretend_broker::PretendBroker;
pub use producer::Producer;

use crate::field::{Field, Place};
use crate::history::{Entry, Operation, Stage};
use crate::marks::WorldMark;
use sordini_core::ids::RequestId;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::metadata_response::MetadataResponsePartition;
use sordini_protocol::messages::{ApiVersionsRequest, MetadataRequest, MetadataResponse};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Str, Uuid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a client asks of the world.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a request, on a new connection if there is none.
    Send {
        /// The client's number for it.
        request: RequestId,
        /// The version it is in.
        version: i16,
        /// What it says.
        body: AnyRequest,
    },
    /// Close the connection.
    Close,
    /// Close the connection, if there is one, and talk to another node from here on.
    TurnTo {
        /// Its place in the plan.
        node: usize,
    },
}

/// What the clients of a run share.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Names of the topics, as in the plan.
    pub topics: Arc<[Str]>,
    /// The run's field.
    pub field: Field,
    /// The brokers of the one cluster, by their places in the plan; none if every node is a cluster of its own.
    pub brokers: Arc<[usize]>,
}

/// What a client pushes while it reacts.
#[derive(Clone, Debug, Default)]
pub struct ClientOutbox {
    /// What it asks of the world, in order.
    pub actions: Vec<Action>,
    /// What it did or was told, in order.
    pub history: Vec<Entry>,
    /// What rarely happens to a client.
    pub marks: Vec<WorldMark>,
}

/// The part that all clients have: requests under way with their deadlines, a wait before the next attempt, and what is
/// known of the topics.
#[derive(Clone, Debug)]
struct Link {
    client: u64,
    surroundings: Surroundings,
    next_request: u64,
    /// When each request that is under way is given up.
    deadlines: BTreeMap<RequestId, u64>,
    /// Nothing is sent before this time.
    backoff_until: u64,
    /// Topic ids by index in the plan; a topic that is not known is missing.
    topic_ids: BTreeMap<usize, Uuid>,
    /// Every id that a topic ever had: answers to what was asked before may still name one.
    known_ids: BTreeMap<Uuid, usize>,
    /// The newest leader epoch that each partition is known to have, and the id of the topic that it is of.
    leader_epochs: BTreeMap<(usize, i32), (Uuid, i32)>,
    metadata_request: Option<RequestId>,
    /// Whom it talks to, by its place in the plan.
    node: usize,
    /// The broker of the cluster that was asked last what it knows.
    asked: usize,
    /// Who leads each partition, in the newest epoch that is known of it.
    leaders: BTreeMap<(usize, i32), usize>,
    /// Whether something was refused, so that another broker of the cluster may know better.
    is_astray: bool,
}

/// Whether a client may ask the leader of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It talks to the leader, or to the only node that it knows.
    There,
    /// It has turned to another node. What was under way on its connection is not answered any more.
    Turned,
    /// It is not known who leads.
    Unknown,
}

/// The version of the metadata requests: the newest that names topics by id.
const METADATA_VERSION: i16 = 13;
const API_VERSIONS_VERSION: i16 = 3;

impl Link {
    const fn new(client: u64, surroundings: Surroundings) -> Self {
        Self {
            client,
            node: 0,
            asked: 0,
            leaders: BTreeMap::new(),
            is_astray: false,
            surroundings,
            next_request: 0,
            deadlines: BTreeMap::new(),
            backoff_until: 0,
            topic_ids: BTreeMap::new(),
            known_ids: BTreeMap::new(),
            leader_epochs: BTreeMap::new(),
            metadata_request: None,
        }
    }

    /// The same, of a client that talks to a node first.
    fn at(self, node: usize) -> Self {
        Self { node, asked: node, ..self }
    }

    fn send(
        &mut self,
        version: i16,
        body: AnyRequest,
        deadline: Option<u64>,
        out: &mut ClientOutbox,
    ) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        if let Some(deadline) = deadline {
            self.deadlines.insert(request, deadline);
        }
        out.actions.push(Action::Send { request, version, body });
        request
    }

    /// Asks a node what it serves, to learn whether it is one that answers.
    fn greet(&mut self, deadline: Option<u64>, out: &mut ClientOutbox) {
        self.send(API_VERSIONS_VERSION, ApiVersionsRequest::default().into(), deadline, out);
    }

    /// Waits some tens of milliseconds before the next attempt.
    fn back_off(&mut self, now: u64) {
        self.backoff_until = self.backoff_until.max(now + self.backoff(now));
    }

    /// How long something that has failed waits for its next attempt.
    fn backoff(&self, now: u64) -> u64 {
        self.surroundings.field.between(Place::Backoff, self.client, now, 10_000, 100_000)
    }

    /// Whether some request has waited for too long.
    fn is_overdue(&self, now: u64) -> bool {
        self.deadlines.values().any(|deadline| *deadline <= now)
    }

    fn earliest_deadline(&self) -> Option<u64> {
        self.deadlines.values().min().copied()
    }

    fn on_disconnected(&mut self, now: u64) {
        self.deadlines.clear();
        self.metadata_request = None;
        self.back_off(now);
    }

    /// Sees to it that the client talks to the leader of a partition, of which all topics are known.
    fn way_to(&mut self, place: (usize, i32), now: u64, out: &mut ClientOutbox) -> Way {
        if self.surroundings.brokers.is_empty() {
            return Way::There;
        }
        if self.is_astray {
            self.turn_to_another(out);
            return Way::Turned;
        }
        match self.leaders.get(&place) {
            Some(leader) if *leader == self.node => Way::There,
            Some(leader) => {
                let leader = *leader;
                self.turn_to(leader, out);
                Way::Turned
            }
            None => {
                self.is_astray = true;
                self.back_off(now);
                Way::Unknown
            }
        }
    }

    fn turn_to(&mut self, node: usize, out: &mut ClientOutbox) {
        self.node = node;
        self.deadlines.clear();
        self.metadata_request = None;
        out.actions.push(Action::TurnTo { node });
    }

    /// Turns to the next broker of the cluster, if there is one, to learn what it knows.
    fn turn_to_another(&mut self, out: &mut ClientOutbox) {
        self.is_astray = false;
        let brokers = Arc::clone(&self.surroundings.brokers);
        let next = brokers.iter().find(|broker| **broker > self.asked).or_else(|| brokers.first());
        if let Some(next) = next {
            self.asked = *next;
            self.topic_ids.clear();
            self.turn_to(*next, out);
        }
    }

    /// Asks what is known of the topics, unless that is being asked.
    fn ask_for_metadata(&mut self, now: u64, timeout_us: u64, out: &mut ClientOutbox) {
        if self.metadata_request.is_some() {
            return;
        }
        let topics = self.surroundings.topics.iter().map(|name| {
            sordini_protocol::messages::metadata_request::MetadataRequestTopic {
                name: Some(name.clone()),
                ..Default::default()
            }
        });
        let request = MetadataRequest {
            topics: Some(topics.collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        self.metadata_request =
            Some(self.send(METADATA_VERSION, request.into(), Some(now + timeout_us), out));
    }

    /// Takes the answer to [`Self::ask_for_metadata`], if it is one.
    fn on_metadata(&mut self, now: u64, request: RequestId, response: &MetadataResponse) {
        if self.metadata_request != Some(request) {
            return;
        }
        self.metadata_request = None;
        for topic in &response.topics {
            let index = self.surroundings.topics.iter().position(|name| topic.name.as_ref() == Some(name));
            if let (Some(index), ErrorCode::None) = (index, ErrorCode::from_i16(topic.error_code)) {
                self.topic_ids.insert(index, topic.topic_id);
                self.known_ids.insert(topic.topic_id, index);
                for partition in &topic.partitions {
                    self.note_leader_epoch((index, partition.partition_index), topic.topic_id, partition);
                }
            }
        }
        if !self.knows_all_topics() {
            self.back_off(now);
        }
    }

    /// As the Java client does: of one topic an older epoch than the known one is old news, and a topic that was created
    /// again counts anew.
    fn note_leader_epoch(&mut self, place: (usize, i32), topic: Uuid, told: &MetadataResponsePartition) {
        let known = self.leader_epochs.entry(place).or_insert((topic, told.leader_epoch));
        if known.0 != topic || known.1 <= told.leader_epoch {
            *known = (topic, told.leader_epoch);
            match usize::try_from(told.leader_id - 1) {
                Ok(leader) => drop(self.leaders.insert(place, leader)),
                Err(_) => drop(self.leaders.remove(&place)),
            }
        }
    }

    /// The leader epoch of a partition as far as it is known, -1 if it is not, as requests carry it (KIP-320).
    fn leader_epoch(&self, place: (usize, i32)) -> i32 {
        self.leader_epochs.get(&place).map_or(-1, |(_, epoch)| *epoch)
    }

    fn entry(&self, now: u64, stage: Stage, operation: Operation, topic: usize) -> Entry {
        Entry::new(now, self.client, stage, operation, self.surroundings.topics[topic].clone())
    }

    fn knows_all_topics(&self) -> bool {
        self.topic_ids.len() == self.surroundings.topics.len()
    }

    fn topic_index(&self, name: &Str, id: Uuid) -> Option<usize> {
        let by_name = || self.surroundings.topics.iter().position(|known| known == name);
        if name.is_empty() { self.known_ids.get(&id).copied() } else { by_name() }
    }
}

/// Whom a client talks to that asks one node after the other.
#[derive(Clone, Debug)]
struct Turn {
    /// Its place in the plan.
    node: usize,
    /// How many there are to ask.
    nodes: usize,
    /// Whether it has answered on this connection, so that it is one that answers.
    is_connected: bool,
}

impl Turn {
    const fn new(node: usize, nodes: usize) -> Self {
        Self { node, nodes, is_connected: false }
    }

    fn advance(&mut self, link: &mut Link, now: u64, out: &mut ClientOutbox) {
        self.node = (self.node + 1) % self.nodes;
        out.actions.push(Action::TurnTo { node: self.node });
        self.is_connected = false;
        link.on_disconnected(now);
    }
}

/// What a client waits for, with the answer that it got last.
fn with_last_answer(what: String, last: Option<&(ErrorCode, String)>) -> String {
    match last {
        None => what,
        Some((error, text)) => format!("{what}; last answer {error} {text:?}"),
    }
}

/// Any client.
#[derive(Clone, Debug)]
pub enum Client {
    /// Creates the topics, and administers.
    Admin(Admin),
    /// Writes.
    Producer(Producer),
    /// Reads.
    Consumer(Consumer),
    /// Sets configurations.
    Configurator(Configurator),
    /// Creates and deletes access control entries.
    Gatekeeper(Box<Gatekeeper>),
    /// Registers with controllers, and hosts nothing.
    PretendBroker(Box<PretendBroker>),
    /// Changes the voters.
    Operator(Box<Operator>),
    /// Reads what was set.
    ConfigReader(ConfigReader),
    /// Looks, and is no part of any plan.
    Observer(Observer),
}

impl Client {
    const fn link(&self) -> &Link {
        match self {
            Self::Admin(admin) => &admin.link,
            Self::Producer(producer) => &producer.link,
            Self::Consumer(consumer) => &consumer.link,
            Self::Configurator(configurator) => &configurator.link,
            Self::Gatekeeper(gatekeeper) => &gatekeeper.link,
            Self::PretendBroker(broker) => &broker.link,
            Self::Operator(operator) => &operator.link,
            Self::ConfigReader(reader) => &reader.link,
            Self::Observer(observer) => &observer.link,
        }
    }

    /// Reacts to the time it asked for by [`Self::next_wake`].
    pub fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.link().is_overdue(now) {
            out.actions.push(Action::Close);
            self.on_disconnected(now, out);
        }
        match self {
            Self::Admin(admin) => admin.on_wake(now, out),
            Self::Producer(producer) => producer.on_wake(now, out),
            Self::Consumer(consumer) => consumer.on_wake(now, out),
            Self::Configurator(configurator) => configurator.on_wake(now, out),
            Self::Gatekeeper(gatekeeper) => gatekeeper.on_wake(now, out),
            Self::PretendBroker(broker) => broker.on_wake(now, out),
            Self::Operator(operator) => operator.on_wake(now, out),
            Self::ConfigReader(reader) => reader.on_wake(now, out),
            Self::Observer(observer) => observer.on_wake(now, out),
        }
    }

    /// Takes an answer.
    pub fn on_response(&mut self, now: u64, request: RequestId, body: AnyResponse, out: &mut ClientOutbox) {
        match self {
            Self::Admin(admin) => admin.on_response(now, request, &body, out),
            Self::Producer(producer) => producer.on_response(now, request, &body, out),
            Self::Consumer(consumer) => consumer.on_response(now, request, body, out),
            Self::Configurator(configurator) => configurator.on_response(now, request, &body, out),
            Self::Gatekeeper(gatekeeper) => gatekeeper.on_response(now, request, &body, out),
            Self::PretendBroker(broker) => broker.on_response(now, request, &body, out),
            Self::Operator(operator) => operator.on_response(now, request, &body, out),
            Self::ConfigReader(reader) => reader.on_response(now, request, &body),
            Self::Observer(observer) => observer.on_response(request),
        }
    }

    /// Learns that its connection is gone, and with it the answers to what was under way.
    pub fn on_disconnected(&mut self, now: u64, out: &mut ClientOutbox) {
        match self {
            Self::Admin(admin) => admin.on_disconnected(now, out),
            Self::Producer(producer) => producer.on_disconnected(now, out),
            Self::Consumer(consumer) => consumer.on_disconnected(now, out),
            Self::Configurator(configurator) => configurator.on_disconnected(now, out),
            Self::Gatekeeper(gatekeeper) => gatekeeper.on_disconnected(now, out),
            Self::PretendBroker(broker) => broker.on_disconnected(now, out),
            Self::Operator(operator) => operator.on_disconnected(now, out),
            Self::ConfigReader(reader) => reader.on_disconnected(now),
            Self::Observer(observer) => observer.on_disconnected(now),
        }
    }

    /// When it wants to be woken, if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        match self {
            Self::Admin(admin) => admin.next_wake(),
            Self::Producer(producer) => producer.next_wake(),
            Self::Consumer(consumer) => consumer.next_wake(),
            Self::Configurator(configurator) => configurator.next_wake(),
            Self::Gatekeeper(gatekeeper) => gatekeeper.next_wake(),
            Self::PretendBroker(broker) => broker.next_wake(),
            Self::Operator(operator) => operator.next_wake(),
            Self::ConfigReader(reader) => reader.next_wake(),
            Self::Observer(observer) => observer.next_wake(),
        }
    }

    /// Whether it has done all that its plan says. A consumer has when it has read to the end since `quiet_since`, the
    /// time at which the last producer had finished.
    #[must_use]
    pub fn is_finished(&self, quiet_since: Option<u64>) -> bool {
        match self {
            Self::Admin(admin) => admin.is_finished(),
            Self::Producer(producer) => producer.is_finished(),
            Self::Consumer(consumer) => quiet_since.is_some_and(|since| consumer.is_at_end_since(since)),
            Self::Configurator(configurator) => configurator.is_finished(),
            Self::Gatekeeper(gatekeeper) => gatekeeper.is_finished(),
            Self::PretendBroker(broker) => broker.is_finished(),
            Self::Operator(operator) => operator.is_finished(),
            Self::ConfigReader(reader) => reader.is_finished(),
            Self::Observer(_) => true,
        }
    }

    /// What it waits for, as the end of a sentence.
    #[must_use]
    pub fn waits_for(&self) -> String {
        match self {
            Self::Admin(admin) => admin.waits_for(),
            Self::Producer(producer) => producer.waits_for(),
            Self::Consumer(consumer) => consumer.waits_for(),
            Self::Configurator(configurator) => configurator.waits_for(),
            Self::Gatekeeper(gatekeeper) => gatekeeper.waits_for(),
            Self::PretendBroker(broker) => broker.waits_for(),
            Self::Operator(operator) => operator.waits_for(),
            Self::ConfigReader(_) => "what is set".to_owned(),
            Self::Observer(_) => "nothing".to_owned(),
        }
    }
}
