//! A broker in name only: it registers with the quorum and sends heartbeats as Kafka's do, hosts nothing, and asks the
//! active controller for what brokers ask for and forward.

use super::known::{Asker, Known, Wish};
use super::{ClientOutbox, Link, Surroundings, Turn};
use crate::history::{Entry, Operation, Stage};
use crate::plan::{BrokerDeed, BrokerPlan, MinIsrOf};
use sordini_core::ids::RequestId;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::broker_registration_request::{Feature, Listener};
use sordini_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::messages::delete_topics_request::DeleteTopicState;
use sordini_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use sordini_protocol::messages::{
    AllocateProducerIdsRequest, BrokerHeartbeatRequest, BrokerRegistrationRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Str, Uuid};

const BROKER_REGISTRATION_VERSION: i16 = 4;
const BROKER_HEARTBEAT_VERSION: i16 = 1;
const ALLOCATE_PRODUCER_IDS_VERSION: i16 = 0;
const CREATE_TOPICS_VERSION: i16 = 7;
const DELETE_TOPICS_VERSION: i16 = 6;
const CREATE_PARTITIONS_VERSION: i16 = 3;
const INCREMENTAL_ALTER_CONFIGS_VERSION: i16 = 1;
/// What configurations call a topic, and a broker; the one without a name is all of them.
const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;
/// The features that a controller may ask a broker about.
const FEATURES: [&str; 7] = [
    "metadata.version",
    "kraft.version",
    "group.version",
    "transaction.version",
    "eligible.leader.replicas.version",
    "share.version",
    "streams.version",
];

/// What was asked over its connection and is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InFlight {
    ApiVersions,
    Registration,
    Heartbeat,
    Deed,
}

/// A topic that it has created.
#[derive(Clone, Debug)]
struct OwnTopic {
    name: Str,
    partitions: i32,
}

/// Does one thing after the other. What it was not told the outcome of it does not try again, but for registrations and
/// heartbeats.
#[derive(Clone, Debug)]
pub struct PretendBroker {
    pub(super) link: Link,
    plan: BrokerPlan,
    cluster_id: Str,
    turn: Turn,
    in_flight: Option<InFlight>,
    /// How often its process has begun anew.
    life: u64,
    /// Its epoch in this life, once it was told.
    epoch: Option<i64>,
    /// The epoch of the life before, if that ended as it should.
    clean_epoch: Option<i64>,
    /// What it asks for with its registration, and with its first heartbeats.
    registering: Option<Entry>,
    unfencing: Option<Entry>,
    /// Whether it was told so in its epoch, and not that it is fenced again.
    is_unfenced: bool,
    /// What it asks for when it wants to go, until it may.
    leaving: Option<Entry>,
    is_gone: bool,
    next_heartbeat: u64,
    /// How many of its deeds it has done with.
    done: usize,
    /// The deed under way, once it was asked for.
    asked: Option<Entry>,
    /// What it asks for by what it knew of the cluster: it asks for the same again.
    wish: Option<Wish>,
    /// Whether a controller that got the deed before has lost its office meanwhile: it may have happened, or happen yet.
    may_have_happened: bool,
    topics: Vec<OwnTopic>,
    /// How many topics it has asked for.
    named: u64,
    refusals: Vec<String>,
    last_error: Option<ErrorCode>,
}

impl PretendBroker {
    /// A broker that does what `plan` says, of a cluster with `nodes` controllers.
    #[must_use]
    pub const fn new(plan: BrokerPlan, cluster_id: Str, nodes: usize, surroundings: Surroundings) -> Self {
        Self {
            link: Link::new(plan.client, surroundings),
            turn: Turn::new(plan.node, nodes),
            plan,
            cluster_id,
            in_flight: None,
            life: 0,
            epoch: None,
            clean_epoch: None,
            registering: None,
            unfencing: None,
            is_unfenced: false,
            leaving: None,
            is_gone: false,
            next_heartbeat: 0,
            done: 0,
            asked: None,
            wish: None,
            may_have_happened: false,
            topics: Vec::new(),
            named: 0,
            refusals: Vec::new(),
            last_error: None,
        }
    }

    /// Takes the answers that a correct controller never gives, each as a sentence.
    pub fn take_refusals(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusals)
    }

    /// Learns of the cluster what the controller knows that it talks to. A broker that follows the metadata log has it from
    /// there; of what it learns too late there is enough, as it asks for what it decided on when it was last told.
    pub fn learn(&mut self, now: u64, known: &Known) {
        let Some((_, deed)) = self.next_deed().filter(|(at_us, _)| *at_us <= now) else { return };
        if self.asked.is_some() {
            return;
        }
        let topic = self.topics.last().map(|topic| &topic.name);
        let asker = Asker { broker_id: self.plan.broker_id(), epoch: self.epoch, topic };
        let entry = self.entry(now, Operation::Reassign, Str::new());
        self.wish = known.wish(deed, asker, entry);
    }

    /// Whether it is about to ask for something that depends on the cluster.
    #[must_use]
    pub fn is_about_to_learn(&self, now: u64) -> bool {
        let next = self.next_deed().filter(|(at_us, _)| *at_us <= now);
        self.asked.is_none()
            && self.turn.is_connected
            && next.is_some_and(|(_, deed)| deed.depends_on_cluster())
    }

    fn next_deed(&self) -> Option<(u64, BrokerDeed)> {
        self.plan.deeds.get(self.done).map(|planned| (planned.at_us, planned.deed))
    }

    fn entry(&self, now: u64, operation: Operation, name: Str) -> Entry {
        Entry::new(now, self.link.client, Stage::Invoke, operation, name)
    }

    fn own_name(&self) -> Str {
        Str::from(self.plan.broker_id().to_string())
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.in_flight.is_some() || self.link.backoff_until > now || self.is_finished() {
            return;
        }
        while self.asked.is_none()
            && let Some((_, deed)) = self.next_deed().filter(|(at_us, _)| *at_us <= now)
            && self.begin(now, deed)
        {}
        if !self.turn.is_connected {
            self.in_flight = Some(InFlight::ApiVersions);
            self.link.greet(Some(now + self.plan.request_timeout_us), out);
        } else if self.epoch.is_none() && !self.is_gone {
            self.register(now, out);
        } else if self.next_heartbeat <= now && !self.is_gone {
            self.send_heartbeat(now, out);
        } else if let Some((_, deed)) = self.next_deed().filter(|(at_us, _)| *at_us <= now) {
            self.ask_for(now, deed, out);
        }
    }

    fn send(
        &mut self,
        now: u64,
        what: InFlight,
        version: i16,
        request: impl Into<AnyRequest>,
        out: &mut ClientOutbox,
    ) {
        self.in_flight = Some(what);
        self.link.send(version, request.into(), Some(now + self.plan.request_timeout_us), out);
    }

    /// Does what concerns nobody but itself; whether that is done.
    fn begin(&mut self, now: u64, deed: BrokerDeed) -> bool {
        match deed {
            BrokerDeed::Restart => {
                self.life += 1;
                // A process that ends before it may go leaves nothing that says in which epoch it was.
                self.clean_epoch = self.epoch.take().filter(|_| self.is_gone);
                self.registering = None;
                self.unfencing = None;
                self.is_unfenced = false;
                self.leaving = None;
                self.is_gone = false;
                self.next_heartbeat = 0;
            }
            BrokerDeed::FallSilent { for_us } => self.next_heartbeat = self.next_heartbeat.max(now + for_us),
            BrokerDeed::Leave => {
                let leaving = self.entry(now, Operation::LeaveCluster, self.own_name());
                self.leaving.get_or_insert(leaving);
            }
            BrokerDeed::DeleteTopic | BrokerDeed::AddPartition | BrokerDeed::SetTopicConfig => {
                if !self.topics.is_empty() {
                    return false;
                }
            }
            BrokerDeed::AllocateProducerIds | BrokerDeed::AlterIsr { .. } => {
                if !self.is_gone {
                    return false;
                }
            }
            BrokerDeed::SetMinIsr { of: MinIsrOf::Topic, .. }
            | BrokerDeed::Reassign { .. }
            | BrokerDeed::CancelReassignment { .. }
            | BrokerDeed::ElectLeader { .. } => {
                if !self.topics.is_empty() {
                    return false;
                }
            }
            BrokerDeed::CreateTopic { .. }
            | BrokerDeed::SetMinIsr { .. }
            | BrokerDeed::ListReassignments
            | BrokerDeed::UnregisterBroker { .. } => return false,
        }
        self.done += 1;
        true
    }

    fn register(&mut self, now: u64, out: &mut ClientOutbox) {
        let incarnation_id = self.plan.incarnation(self.life);
        if self.registering.is_none() {
            let entry = self.entry(now, Operation::RegisterBroker, self.own_name());
            let entry = Entry { values: vec![(self.life, 1)], ..entry };
            out.history.push(entry.clone());
            self.registering = Some(entry);
        }
        let listener = Listener {
            name: Str::from_static("PLAINTEXT"),
            host: Str::from_static("127.0.1.1"),
            port: 9092,
            ..Listener::default()
        };
        let feature = |name| Feature {
            name: Str::from_static(name),
            min_supported_version: 0,
            max_supported_version: i16::MAX,
            ..Feature::default()
        };
        let request = BrokerRegistrationRequest {
            broker_id: self.plan.broker_id(),
            cluster_id: self.cluster_id.clone(),
            incarnation_id,
            listeners: vec![listener],
            features: FEATURES.map(feature).to_vec(),
            rack: None,
            log_dirs: vec![self.plan.log_dir()],
            previous_broker_epoch: self.clean_epoch.unwrap_or(-1),
            ..BrokerRegistrationRequest::default()
        };
        self.send(now, InFlight::Registration, BROKER_REGISTRATION_VERSION, request, out);
    }

    fn send_heartbeat(&mut self, now: u64, out: &mut ClientOutbox) {
        let Some(epoch) = self.epoch else { return };
        if self.leaving.is_none() && self.unfencing.is_none() && !self.is_unfenced {
            let entry = self.entry(now, Operation::UnfenceBroker, self.own_name());
            self.unfencing = Some(Entry { offset: Some(epoch), ..entry });
        }
        let request = BrokerHeartbeatRequest {
            broker_id: self.plan.broker_id(),
            broker_epoch: epoch,
            // It hosts nothing, and so has acted on all that concerns it.
            current_metadata_offset: epoch,
            want_fence: false,
            want_shut_down: self.leaving.is_some(),
            ..BrokerHeartbeatRequest::default()
        };
        self.send(now, InFlight::Heartbeat, BROKER_HEARTBEAT_VERSION, request, out);
    }

    fn ask_for(&mut self, now: u64, deed: BrokerDeed, out: &mut ClientOutbox) {
        let is_new = self.asked.is_none();
        let newest = self.topics.last().cloned();
        let (entry, version, request): (Entry, i16, AnyRequest) = match deed {
            BrokerDeed::CreateTopic { partitions, replicas } => {
                let name = Str::from(self.plan.topic(self.named));
                let topic = CreatableTopic {
                    name: name.clone(),
                    num_partitions: partitions,
                    replication_factor: replicas,
                    ..CreatableTopic::default()
                };
                let request =
                    CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
                let entry = self.entry(now, Operation::CreateTopic, name);
                let entry = Entry { partition: Some(partitions), ..entry };
                (entry, CREATE_TOPICS_VERSION, request.into())
            }
            BrokerDeed::DeleteTopic => {
                let Some(OwnTopic { name, .. }) = newest else { return };
                let topic = DeleteTopicState { name: Some(name.clone()), ..DeleteTopicState::default() };
                let request =
                    DeleteTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
                (self.entry(now, Operation::DeleteTopic, name), DELETE_TOPICS_VERSION, request.into())
            }
            BrokerDeed::AddPartition => {
                let Some(OwnTopic { name, partitions }) = newest else { return };
                let count = partitions + 1;
                let topic = CreatePartitionsTopic {
                    name: name.clone(),
                    count,
                    assignments: None,
                    ..CreatePartitionsTopic::default()
                };
                let request =
                    CreatePartitionsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
                let entry = self.entry(now, Operation::CreatePartitions, name);
                let entry = Entry { partition: Some(count), ..entry };
                (entry, CREATE_PARTITIONS_VERSION, request.into())
            }
            BrokerDeed::SetTopicConfig => {
                let Some(OwnTopic { name, .. }) = newest else { return };
                let value = self.plan.value(self.done);
                let request = config_change(RESOURCE_TOPIC, &name, BrokerPlan::TOPIC_KEY, Some(value));
                let entry = self.entry(now, Operation::AlterConfigs, name);
                let entry = Entry { values: vec![(value, 1)], ..entry };
                (entry, INCREMENTAL_ALTER_CONFIGS_VERSION, request.into())
            }
            BrokerDeed::SetMinIsr { of, replicas } => {
                let (resource_type, name) = match of {
                    MinIsrOf::Topic => {
                        let Some(OwnTopic { name, .. }) = newest else { return };
                        (RESOURCE_TOPIC, name)
                    }
                    MinIsrOf::AllBrokers => (RESOURCE_BROKER, Str::new()),
                    MinIsrOf::Itself => (RESOURCE_BROKER, self.own_name()),
                };
                let value = replicas.map(u64::from);
                let request = config_change(resource_type, &name, BrokerPlan::MIN_ISR_KEY, value);
                let entry = self.entry(now, Operation::SetMinIsr, name);
                let values = value.map(|value| (value, 1)).into_iter().collect();
                (Entry { values, ..entry }, INCREMENTAL_ALTER_CONFIGS_VERSION, request.into())
            }
            BrokerDeed::AllocateProducerIds => {
                let Some(epoch) = self.epoch else { return };
                let request = AllocateProducerIdsRequest {
                    broker_id: self.plan.broker_id(),
                    broker_epoch: epoch,
                    ..AllocateProducerIdsRequest::default()
                };
                let entry = self.entry(now, Operation::AllocateProducerIds, self.own_name());
                let entry = Entry { offset: Some(epoch), ..entry };
                (entry, ALLOCATE_PRODUCER_IDS_VERSION, request.into())
            }
            BrokerDeed::Reassign { .. }
            | BrokerDeed::CancelReassignment { .. }
            | BrokerDeed::ListReassignments
            | BrokerDeed::ElectLeader { .. }
            | BrokerDeed::UnregisterBroker { .. }
            | BrokerDeed::AlterIsr { .. } => {
                let Some(Wish { entry, version, request }) = self.wish.clone() else {
                    // By what it knows there is nothing to ask for.
                    self.done += 1;
                    return;
                };
                (entry, version, request)
            }
            BrokerDeed::Restart | BrokerDeed::FallSilent { .. } | BrokerDeed::Leave => return,
        };
        if is_new {
            out.history.push(entry.clone());
            self.asked = Some(entry);
        } else if let Some(asked) = &mut self.asked {
            // It may have another epoch than when it asked first.
            asked.offset = entry.offset;
        }
        self.send(now, InFlight::Deed, version, request, out);
    }

    pub(super) fn on_response(
        &mut self,
        now: u64,
        request: RequestId,
        body: &AnyResponse,
        out: &mut ClientOutbox,
    ) {
        if self.link.deadlines.remove(&request).is_none() {
            return;
        }
        match (self.in_flight.take(), body) {
            (Some(InFlight::ApiVersions), AnyResponse::ApiVersions(_)) => self.turn.is_connected = true,
            (Some(InFlight::Registration), AnyResponse::BrokerRegistration(response)) => {
                self.on_registration(
                    now,
                    ErrorCode::from_i16(response.error_code),
                    response.broker_epoch,
                    out,
                );
            }
            (Some(InFlight::Heartbeat), AnyResponse::BrokerHeartbeat(response)) => {
                let error = ErrorCode::from_i16(response.error_code);
                self.on_heartbeat(now, error, response.is_fenced, response.should_shut_down, out);
            }
            (Some(InFlight::Deed), body) => match Self::told(body) {
                Some((error, _)) if error == 0 && self.is_stale() => {
                    self.refusals.push(format!("{body:?} to a request with an epoch that is over"));
                }
                Some((error, values)) => {
                    self.note_answer(now, body, out);
                    self.on_deed(now, ErrorCode::from_i16(error), values, out);
                }
                None => self.refusals.push(format!("{body:?} to a broker's request")),
            },
            (_, body) => self.refusals.push(format!("{body:?} to a broker that asked something else")),
        }
    }

    /// The error of an answer to a deed, and what was handed out with it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is an answer to a deed")]
    fn told(body: &AnyResponse) -> Option<(i16, Vec<(u64, u64)>)> {
        let error = match body {
            AnyResponse::CreateTopics(response) => response.topics.first()?.error_code,
            AnyResponse::DeleteTopics(response) => response.responses.first()?.error_code,
            AnyResponse::CreatePartitions(response) => response.results.first()?.error_code,
            AnyResponse::IncrementalAlterConfigs(response) => response.responses.first()?.error_code,
            AnyResponse::AllocateProducerIds(response) => {
                let first = u64::try_from(response.producer_id_start).unwrap_or(0);
                let count = u64::try_from(response.producer_id_len).unwrap_or(0);
                return Some((response.error_code, vec![(first, count)]));
            }
            AnyResponse::AlterPartitionReassignments(response) => {
                let partition = response.responses.first().and_then(|topic| topic.partitions.first());
                partition.map_or(response.error_code, |partition| partition.error_code)
            }
            AnyResponse::ElectLeaders(response) => {
                let topic = response.replica_election_results.first();
                let partition = topic.and_then(|topic| topic.partition_result.first());
                partition.map_or(response.error_code, |partition| partition.error_code)
            }
            AnyResponse::UnregisterBroker(response) => response.error_code,
            AnyResponse::ListPartitionReassignments(response) => response.error_code,
            AnyResponse::AlterPartition(response) => {
                let partition = response.topics.first().and_then(|topic| topic.partitions.first());
                partition.map_or(response.error_code, |partition| partition.error_code)
            }
            _ => return None,
        };
        Some((error, Vec::new()))
    }

    /// Whether the deed under way names an epoch that is over.
    fn is_stale(&self) -> bool {
        matches!(self.next_deed(), Some((_, BrokerDeed::AlterIsr { stale: Some(_), .. })))
    }

    /// What the answer to a deed says of partitions.
    fn note_answer(&mut self, now: u64, body: &AnyResponse, out: &mut ClientOutbox) {
        let Some(asked) = &mut self.asked else { return };
        if let AnyResponse::AlterPartition(response) = body
            && let Some(partition) = response.topics.first().and_then(|topic| topic.partitions.first())
            && partition.error_code == 0
        {
            asked.replicas.clone_from(&partition.isr);
            asked.leader_epoch = Some(partition.leader_epoch);
            asked.offset = Some(i64::from(partition.partition_epoch));
        } else if let AnyResponse::ListPartitionReassignments(response) = body {
            let count = |ids: &[i32]| i64::try_from(ids.len()).ok();
            for topic in &response.topics {
                out.history.extend(topic.partitions.iter().map(|partition| Entry {
                    at_us: now,
                    stage: Stage::Ok,
                    topic: topic.name.clone(),
                    partition: Some(partition.partition_index),
                    replicas: partition.replicas.clone(),
                    offset: count(&partition.adding_replicas),
                    end: count(&partition.removing_replicas),
                    ..asked.clone()
                }));
            }
        }
    }

    fn on_registration(&mut self, now: u64, error: ErrorCode, epoch: i64, out: &mut ClientOutbox) {
        self.last_error = Some(error);
        if error == ErrorCode::None {
            self.epoch = Some(epoch);
            self.next_heartbeat = now;
            out.history.extend(self.registering.take().map(|asked| Entry {
                at_us: now,
                stage: Stage::Ok,
                offset: Some(epoch),
                ..asked
            }));
        } else if error == ErrorCode::NotController {
            self.turn_to_the_next(now, out);
        } else if error == ErrorCode::DuplicateBrokerRegistration && self.life > 0 {
            // Its life before is not known to be over.
            self.link.back_off(now);
        } else {
            self.refusals.push(format!("{error:?} to a registration that every controller takes"));
        }
    }

    fn on_heartbeat(
        &mut self,
        now: u64,
        error: ErrorCode,
        is_fenced: bool,
        should_shut_down: bool,
        out: &mut ClientOutbox,
    ) {
        self.last_error = Some(error);
        if error == ErrorCode::None {
            self.next_heartbeat = self.next_heartbeat.max(now + self.plan.heartbeat_us);
            let epoch = self.epoch;
            let answered = |asked: Entry| {
                let asked = Entry { offset: epoch, ..asked };
                let told = Entry { at_us: now, stage: Stage::Ok, ..asked.clone() };
                [asked, told]
            };
            if should_shut_down {
                out.history.extend(self.leaving.take().into_iter().flat_map(answered));
                self.is_gone = true;
            } else if is_fenced {
                self.is_unfenced = false;
            } else if self.leaving.is_none() {
                self.is_unfenced = true;
                out.history.extend(self.unfencing.take().into_iter().flat_map(answered));
            }
        } else if error == ErrorCode::StaleBrokerEpoch {
            // Somebody took the registration away, or a controller was deposed and does not know it, nor of a registration.
            // To register again is right in both cases: it is the same process.
            self.epoch = None;
            self.unfencing = None;
            self.is_unfenced = false;
            self.turn_to_the_next(now, out);
        } else if error == ErrorCode::NotController {
            self.turn_to_the_next(now, out);
        } else {
            self.refusals.push(format!("{error:?} to a heartbeat"));
        }
    }

    fn on_deed(&mut self, now: u64, error: ErrorCode, values: Vec<(u64, u64)>, out: &mut ClientOutbox) {
        self.last_error = Some(error);
        if error == ErrorCode::NotController {
            // What a controller had begun when it lost its office may be in the log.
            self.may_have_happened = true;
            self.turn_to_the_next(now, out);
            return;
        }
        if error == ErrorCode::None {
            if let Some(asked) = self.asked.as_mut().filter(|_| !values.is_empty()) {
                asked.values = values;
            }
            self.end(now, Stage::Ok, error, out);
        } else if error == ErrorCode::RequestTimedOut {
            self.end(now, Stage::Info, error, out);
            self.turn_to_the_next(now, out);
        } else {
            let is_of_the_times =
                matches!(
                    error,
                    // There are too few brokers.
                    ErrorCode::InvalidReplicationFactor
                    // A controller that was deposed and does not know it does not know of this either.
                    | ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::StaleBrokerEpoch
                    | ErrorCode::InvalidPartitions
                ) || self.asked.as_ref().is_some_and(|asked| may_be_refused(asked.operation, error));
            let is_done_before = self.may_have_happened && error == ErrorCode::TopicAlreadyExists;
            if !is_of_the_times && !is_done_before {
                let what = self.asked.as_ref().map(|asked| asked.operation);
                self.refusals.push(format!("{error:?} to {what:?}, which a controller may not refuse"));
            }
            let stage = if self.may_have_happened { Stage::Info } else { Stage::Fail };
            self.end(now, stage, error, out);
        }
    }

    /// The deed under way was done, or was not, or nobody can tell.
    fn end(&mut self, now: u64, stage: Stage, error: ErrorCode, out: &mut ClientOutbox) {
        let Some(asked) = self.asked.take() else { return };
        let is_of = |topic: &OwnTopic| topic.name == asked.topic;
        match (asked.operation, stage) {
            (Operation::CreateTopic, _) => {
                self.named += 1;
                if let (Stage::Ok, Some(partitions)) = (stage, asked.partition) {
                    self.topics.push(OwnTopic { name: asked.topic.clone(), partitions });
                }
            }
            // What nobody can tell anything of is left alone.
            (Operation::DeleteTopic | Operation::CreatePartitions, Stage::Info)
            | (Operation::DeleteTopic, Stage::Ok) => self.topics.retain(|topic| !is_of(topic)),
            (Operation::CreatePartitions, Stage::Ok) => {
                if let Some(topic) = self.topics.iter_mut().find(|topic| is_of(topic)) {
                    topic.partitions = asked.partition.unwrap_or(topic.partitions);
                }
            }
            _ => {}
        }
        out.history.push(Entry { at_us: now, stage, error, ..asked });
        self.wish = None;
        self.may_have_happened = false;
        self.done += 1;
    }

    fn turn_to_the_next(&mut self, now: u64, out: &mut ClientOutbox) {
        self.in_flight = None;
        self.turn.advance(&mut self.link, now, out);
    }

    pub(super) fn on_disconnected(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.in_flight == Some(InFlight::Deed) {
            self.end(now, Stage::Info, ErrorCode::None, out);
        }
        self.turn_to_the_next(now, out);
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        if self.is_finished() {
            return None;
        }
        if let Some(deadline) = self.link.earliest_deadline() {
            return Some(deadline);
        }
        let deed = self.next_deed().map(|(at_us, _)| at_us);
        let due = match (self.is_gone, self.epoch) {
            (true, _) => deed?,
            (false, None) => 0,
            (false, Some(_)) => self.next_heartbeat.min(deed.unwrap_or(u64::MAX)),
        };
        Some(due.max(self.link.backoff_until))
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.done == self.plan.deeds.len()
    }

    pub(super) fn waits_for(&self) -> String {
        let left = self.plan.deeds.len() - self.done;
        format!(
            "{left} deeds of broker {} in its life {}, whose epoch is {:?}; last answer {:?}",
            self.plan.broker_id(),
            self.life,
            self.epoch,
            self.last_error
        )
    }
}

/// The request that sets a configuration of a topic or of brokers, or takes back what was set.
fn config_change(
    resource_type: i8,
    resource_name: &Str,
    key: &'static str,
    value: Option<u64>,
) -> IncrementalAlterConfigsRequest {
    let config = AlterableConfig {
        name: Str::from_static(key),
        // 0 sets a value, 1 takes it back.
        config_operation: i8::from(value.is_none()),
        value: value.map(|value| Str::from(value.to_string())),
        ..AlterableConfig::default()
    };
    let resource = AlterConfigsResource {
        resource_type,
        resource_name: resource_name.clone(),
        configs: vec![config],
        ..AlterConfigsResource::default()
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }
}

/// Whether a controller may refuse an operation for this reason, as the cluster may have changed since the asker last heard
/// of it.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else depends on what the asker knows")]
const fn may_be_refused(operation: Operation, error: ErrorCode) -> bool {
    match operation {
        Operation::Reassign => {
            matches!(error, ErrorCode::InvalidReplicaAssignment | ErrorCode::NoReassignmentInProgress)
        }
        Operation::ElectLeader => {
            matches!(error, ErrorCode::ElectionNotNeeded | ErrorCode::PreferredLeaderNotAvailable)
        }
        Operation::ElectLeaderUncleanly => {
            matches!(error, ErrorCode::ElectionNotNeeded | ErrorCode::EligibleLeadersNotAvailable)
        }
        Operation::UnregisterBroker => matches!(error, ErrorCode::BrokerIdNotRegistered),
        // Whether the value may not be set is for whoever knows if others than those in sync may lead.
        Operation::SetMinIsr => {
            matches!(error, ErrorCode::InvalidConfig | ErrorCode::BrokerIdNotRegistered)
        }
        Operation::AlterIsr => matches!(
            error,
            ErrorCode::FencedLeaderEpoch
                | ErrorCode::InvalidUpdateVersion
                | ErrorCode::IneligibleReplica
                | ErrorCode::NewLeaderElected
        ),
        _ => false,
    }
}

impl BrokerPlan {
    /// The incarnation of one of its lives.
    fn incarnation(&self, life: u64) -> Uuid {
        Uuid::from_u64s(self.client, life + 1)
    }

    /// Its only log directory. The first hundred ids have other meanings.
    const fn log_dir(&self) -> Uuid {
        Uuid::from_u64s(u64::MAX, self.client + 1_000)
    }
}
