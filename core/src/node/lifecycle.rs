//! A broker's way into the cluster and out of it (KIP-631), as it asks for it step by step:
//!
//! | it | asks | until |
//! |---|---|---|
//! | is not registered | to be registered | it has a broker epoch, which is the offset of its registration |
//! | does not know what the cluster was then | nothing but to be known as there | the metadata log has come to that offset |
//! | opens its logs | the same | they are open |
//! | may serve | to be unfenced | the controller has done so |
//! | serves | the same | it is to stop |
//! | is leaving | to go | it leads nothing, and everybody knows |
//!
//! Heartbeats are what it asks with. A controller that hears none for `broker.session.timeout.ms` fences the broker.

use super::broker::{Broker, Stage, Timer, clean_stop_marker, dir_index};
use super::loading::{LogLoading, Logs, OpenedLog, topic_config};
use super::to_controller::Question;
use crate::controller::cluster::FEATURES;
use crate::ids::{BrokerEpoch, TopicIdPartition};
use crate::mark::Mark;
use crate::museum::Exhibit;
use crate::outbox::Outbox;
use crate::partition::Partition;
use crate::storage_op::StorageOp;
use crate::time::{Instant, Now};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::broker_registration_request::{Feature, Listener};
use sordini_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};
use sordini_protocol::request::AnyRequest;
use sordini_protocol::wire::{Str, Uuid};

/// How often a broker that is leaving asks whether it may go.
const LEAVING_INTERVAL_MS: i64 = 50;

/// How long it asks at most, as Kafka has it.
const LEAVING_TIMEOUT_MS: i64 = 300_000;

/// The first wait after something that did not work; each next one is twice as long, up to a session.
const BACKOFF_MS: i64 = 100;
const BACKOFF_DOUBLINGS_MAX: u32 = 10;

/// Where a broker is on its way.
#[derive(Clone, Debug)]
pub(super) struct Lifecycle {
    /// This life of the process.
    incarnation: Uuid,
    epoch: Option<BrokerEpoch>,
    /// It had one in this life.
    was_registered: bool,
    /// Something was asked and is not answered.
    is_asking: bool,
    /// When something is to be asked next.
    next_at: Instant,
    /// Since it was asked last there is something new to be said.
    is_urgent: bool,
    /// What the active controller has answered to the last registration, if it was no.
    refused: Option<ErrorCode>,
    /// How often in a row nothing came of it.
    failures: u32,
    /// Without a word of the controller by then, it is of no use to wait for one: the registration has failed, or whoever
    /// leaves has long been fenced.
    give_up_at: Instant,
    /// When a broker that is leaving goes without leave.
    leave_by: Option<Instant>,
    /// It asked for leave and was answered.
    was_heard_leaving: bool,
}

impl Lifecycle {
    /// Whether the controller knows of this life.
    pub(super) const fn is_registered(&self) -> bool {
        self.epoch.is_some()
    }

    pub(super) const fn new(incarnation: Uuid, registered_by: Instant, now: Now) -> Self {
        Self {
            incarnation,
            epoch: None,
            was_registered: false,
            is_asking: false,
            next_at: now.monotonic,
            is_urgent: false,
            refused: None,
            failures: 0,
            give_up_at: registered_by,
            leave_by: None,
            was_heard_leaving: false,
        }
    }

    pub(super) const fn incarnation(&self) -> Uuid {
        self.incarnation
    }
}

impl Broker {
    /// Asks what is to be asked next, if it is time for it.
    pub(super) fn pursue_lifecycle(&mut self, now: Now, out: &mut Outbox) {
        self.open_logs(now, out);
        while let Some(lifecycle) = &mut self.lifecycle {
            if !matches!(self.stage, Stage::Joining | Stage::Running | Stage::Leaving) {
                return self.timers.cancel(&Timer::Lifecycle);
            }
            let is_late = lifecycle.give_up_at <= now.monotonic;
            let is_unregistered = lifecycle.epoch.is_none();
            let leave_by = lifecycle.leave_by;
            if self.stage == Stage::Leaving && (is_late || leave_by.is_some_and(|at| at <= now.monotonic)) {
                out.sometimes(Mark::BrokerLeftUnheard);
                return self.close(now, out);
            }
            if is_late && is_unregistered && !lifecycle.was_registered {
                let waited_ms = self.config.initial_broker_registration_timeout_ms;
                let why = why_not_registered(lifecycle.refused);
                return self.fail(format!(
                    "the broker could not be registered within {waited_ms} ms \
                     (initial.broker.registration.timeout.ms): {why}"
                ));
            }
            if lifecycle.is_asking || lifecycle.next_at > now.monotonic {
                let next = (!lifecycle.is_asking).then_some(lifecycle.next_at);
                let is_given_up =
                    (is_unregistered && !lifecycle.was_registered) || self.stage == Stage::Leaving;
                let give_up = is_given_up.then_some(lifecycle.give_up_at);
                return match next.into_iter().chain(give_up).chain(leave_by).min() {
                    Some(at) => self.timers.arm(Timer::Lifecycle, at),
                    None => self.timers.cancel(&Timer::Lifecycle),
                };
            }
            lifecycle.is_asking = true;
            lifecycle.is_urgent = false;
            let (question, request) = match lifecycle.epoch {
                None => (Question::Registration, self.registration()),
                Some(epoch) => (Question::Heartbeat, self.heartbeat(epoch)),
            };
            if !self.ask_controller(question, request, now, out) {
                self.put_lifecycle_off(now);
            }
        }
    }

    fn registration(&self) -> AnyRequest {
        let lifecycle = self.lifecycle.as_ref().expect("a broker registers");
        let listeners = self.config.advertised_listeners.iter().map(|listener| Listener {
            name: Str::from(&*listener.name),
            host: Str::from(&*listener.host),
            port: listener.port,
            security_protocol: listener.protocol.code(),
            ..Listener::default()
        });
        let features = FEATURES.into_iter().map(|(name, min, max)| Feature {
            name: Str::from_static(name),
            min_supported_version: min,
            max_supported_version: max,
            ..Feature::default()
        });
        AnyRequest::BrokerRegistration(BrokerRegistrationRequest {
            broker_id: self.config.node_id.0,
            cluster_id: self.cluster_id.clone(),
            incarnation_id: lifecycle.incarnation,
            listeners: listeners.collect(),
            features: features.collect(),
            rack: self.config.broker_rack.as_deref().map(Str::from),
            log_dirs: self.log_dirs.iter().filter(|dir| !dir.failed).map(|dir| dir.id).collect(),
            previous_broker_epoch: self.broker_epoch.0,
            ..BrokerRegistrationRequest::default()
        })
    }

    fn heartbeat(&self, epoch: BrokerEpoch) -> AnyRequest {
        // Whose id could not be read, was not registered.
        let failed = self.log_dirs.iter().filter(|dir| dir.failed && !dir.id.is_zero());
        AnyRequest::BrokerHeartbeat(BrokerHeartbeatRequest {
            broker_id: self.config.node_id.0,
            broker_epoch: epoch.0,
            // What is committed is acted on when it is known.
            current_metadata_offset: self.quorum.high_watermark().0 - 1,
            want_fence: !matches!(self.logs, Logs::Open),
            want_shut_down: self.stage == Stage::Leaving,
            offline_log_dirs: failed.map(|dir| dir.id).collect(),
            ..BrokerHeartbeatRequest::default()
        })
    }

    pub(super) fn on_registered(
        &mut self,
        response: &BrokerRegistrationResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        if response.error_code != ErrorCode::None.as_i16() {
            out.sometimes(Mark::BrokerRegistrationRefused);
            if let Some(lifecycle) = &mut self.lifecycle {
                lifecycle.refused = Some(ErrorCode::from_i16(response.error_code));
            }
            return self.put_lifecycle_off(now);
        }
        let Some(lifecycle) = &mut self.lifecycle else { return };
        lifecycle.refused = None;
        let epoch = BrokerEpoch(response.broker_epoch);
        lifecycle.epoch = Some(epoch);
        lifecycle.was_registered = true;
        self.broker_epoch = epoch;
        self.heard_of_controller(0, now);
    }

    pub(super) fn on_heartbeat_answered(
        &mut self,
        response: &BrokerHeartbeatResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        if response.error_code == ErrorCode::StaleBrokerEpoch.as_i16()
            && let Some(lifecycle) = &mut self.lifecycle
        {
            // Somebody took the registration away. It is the same process, with the same logs.
            out.sometimes(Mark::BrokerEpochStale);
            lifecycle.epoch = None;
        }
        if response.error_code != ErrorCode::None.as_i16() {
            return self.put_lifecycle_off(now);
        }
        let is_leaving = self.stage == Stage::Leaving;
        let was_heard_leaving = self
            .lifecycle
            .as_mut()
            .is_some_and(|it| core::mem::replace(&mut it.was_heard_leaving, is_leaving));
        let interval_ms = match (is_leaving, was_heard_leaving) {
            (false, _) => self.config.broker_heartbeat_interval_ms,
            // What it led has been given away by now, and there may be nobody else who has to know.
            (true, false) => 0,
            (true, true) => LEAVING_INTERVAL_MS,
        };
        self.heard_of_controller(interval_ms, now);
        if response.should_shut_down && self.stage == Stage::Leaving {
            out.sometimes(Mark::BrokerLeft);
            return self.close(now, out);
        }
        if !response.is_fenced && self.stage == Stage::Joining {
            self.stage = Stage::Running;
            self.arm_periodic(now);
        }
    }

    /// How long the controller takes the broker for there without hearing of it.
    pub(super) fn session_ms(&self) -> i64 {
        i64::try_from(self.config.broker_session_timeout_ms).unwrap_or(i64::MAX)
    }

    fn heard_of_controller(&mut self, next_ms: i64, now: Now) {
        let session_ms = self.session_ms();
        if let Some(lifecycle) = &mut self.lifecycle {
            lifecycle.is_asking = false;
            lifecycle.failures = 0;
            lifecycle.next_at = now.monotonic.plus_millis(if lifecycle.is_urgent { 0 } else { next_ms });
            lifecycle.give_up_at = now.monotonic.plus_millis(session_ms);
        }
    }

    /// Nothing came of what was asked: it is asked again, later.
    pub(super) fn put_lifecycle_off(&mut self, now: Now) {
        let session_ms = self.session_ms();
        if let Some(lifecycle) = &mut self.lifecycle {
            let wait = BACKOFF_MS << lifecycle.failures.min(BACKOFF_DOUBLINGS_MAX);
            lifecycle.failures = lifecycle.failures.saturating_add(1);
            lifecycle.is_asking = false;
            lifecycle.next_at = now.monotonic.plus_millis(wait.min(session_ms).max(1));
        }
    }

    /// A registration from before there were directories in the metadata does not say which ones this broker has (KIP-858).
    pub(super) fn renew_registration(&mut self, now: Now) {
        let own = self.image.brokers().get(&self.config.node_id);
        if let Some(lifecycle) = &mut self.lifecycle
            && self.image.has_directories()
            && own.is_some_and(|own| own.incarnation == lifecycle.incarnation && own.log_dirs.is_empty())
        {
            lifecycle.epoch = None;
            self.hasten_lifecycle(now);
        }
    }

    /// There is something to be said at once: of a disk, of a stop, or because there is somebody to say it to.
    pub(super) fn hasten_lifecycle(&mut self, now: Now) {
        if let Some(lifecycle) = &mut self.lifecycle {
            lifecycle.next_at = now.monotonic;
            lifecycle.is_urgent = true;
        }
    }

    /// A stop was asked for.
    pub(super) fn begin_to_leave(&mut self, now: Now, out: &mut Outbox) {
        let session_ms = self.session_ms();
        if let Some(lifecycle) = &mut self.lifecycle {
            lifecycle.give_up_at = now.monotonic.plus_millis(session_ms);
            lifecycle.leave_by = Some(now.monotonic.plus_millis(LEAVING_TIMEOUT_MS));
        }
        self.hasten_lifecycle(now);
        self.pursue_lifecycle(now, out);
    }

    // ---- logs ----

    /// Begins to open the logs when it is known what the cluster was when the broker was registered.
    fn open_logs(&mut self, now: Now, out: &mut Outbox) {
        let epoch = self.lifecycle.as_ref().and_then(|lifecycle| lifecycle.epoch);
        let is_known = epoch.is_some_and(|epoch| self.quorum.high_watermark().0 > epoch.0);
        let Logs::Unopened(dirs) = &mut self.logs else { return };
        if !is_known || self.stage != Stage::Joining {
            return;
        }
        let dirs = core::mem::take(dirs);
        if !self.museum.has(Exhibit::A42MarkerDeletedAfterLoad) {
            for (dir, _) in dirs.iter().enumerate().filter(|(_, facts)| facts.clean.is_some()) {
                self.push_node_write(StorageOp::Remove { path: clean_stop_marker(dir) }, out);
            }
        }
        self.logs = Logs::Unmarking(dirs);
        self.on_unmarked(now, out);
    }

    /// Opens the logs when their life is no longer one that a marker calls clean.
    pub(super) fn on_unmarked(&mut self, now: Now, out: &mut Outbox) {
        let is_unmarked = self.has_written() && self.stage == Stage::Joining;
        let Logs::Unmarking(dirs) = &mut self.logs else { return };
        if !is_unmarked {
            return;
        }
        let dirs = core::mem::take(dirs);
        let Self { image, config, next_owner, rng, log_dirs, .. } = self;
        match LogLoading::begin(dirs, log_dirs, image, config, self.museum, next_owner, rng, out) {
            Ok(loading) => self.logs = Logs::Opening(loading),
            Err(why) => return self.fail(why),
        }
        self.on_logs_looked_at(now, out);
    }

    /// Goes on when nothing is left to be opened.
    pub(super) fn on_logs_looked_at(&mut self, now: Now, out: &mut Outbox) {
        let Logs::Opening(loading) = &mut self.logs else { return };
        let tidying = loading.take_tidying();
        for op in tidying {
            self.push_node_write(op, out);
        }
        // A log may lie where one of these operations has put it.
        let Logs::Opening(loading) = &mut self.logs else { return };
        loading.load_more(out);
        let Some(opened) = loading.finish() else { return };
        self.logs = Logs::Open;
        for (id, OpenedLog { log, high_watermark }) in opened.logs {
            let topic = self.image.topic(id.topic).filter(|_| self.is_replica(id));
            let Some(name) = topic.map(|topic| topic.name.clone()) else {
                // It was deleted while its log was opened.
                out.sometimes(Mark::BootDeletedWhileOpening);
                self.delete_directory(log.dir(), out);
                continue;
            };
            let config = Arc::new(topic_config(&self.image, &self.config, &name));
            let owner = log.owner();
            let partition = Partition::follow(id, name, log, high_watermark, config);
            self.owners.insert(id, owner);
            self.partitions.insert(owner, Box::new(partition));
        }
        let mut stale = opened.checkpointed;
        for partition in self.partitions.values() {
            if let Some(dir) = dir_index(partition.log().dir()) {
                stale.remove(&(dir, partition.topic.clone(), partition.id.partition));
            }
        }
        self.stale_checkpoints = stale.into_iter().map(|(_, topic, partition)| (topic, partition)).collect();
        let known: Vec<TopicIdPartition> = self.image.partition_ids().collect();
        for id in known {
            self.on_partition_change(id, now, out);
        }
        for (id, to) in opened.moving {
            if let Some(owner) = self.owners.get(&id).copied().filter(|_| !self.log_dirs[to].failed) {
                self.move_log(owner, to, out);
            }
        }
        self.pursue_moves(now, out);
        self.hasten_lifecycle(now);
    }
}

/// Why a broker waits in vain to be registered, for its operator.
#[expect(clippy::wildcard_enum_match_arm, reason = "of all errors these have something to be said of")]
fn why_not_registered(refused: Option<ErrorCode>) -> String {
    let Some(code) = refused else {
        return "no active controller was found: see controller.quorum.voters or controller.quorum.bootstrap.servers".into();
    };
    let name = code.name();
    let why = match code {
        ErrorCode::InconsistentClusterId => "its cluster is another than that of this node's meta.properties",
        ErrorCode::DuplicateBrokerRegistration => "another process is running with this node.id",
        ErrorCode::UnsupportedVersion => "its cluster has feature levels that this node does not support",
        ErrorCode::InvalidRegistration => {
            "a log directory of this node is registered by another, or has no id"
        }
        _ => return format!("the active controller has refused it with {name}"),
    };
    format!("the active controller has refused it with {name}: {why}")
}
