//! Brokers that are other processes: they register, send heartbeats, and are fenced when they fall silent (KIP-631,
//! KIP-841). What each of them may do follows from its registration in the image; that it is there, from its heartbeats.

use super::cluster::METADATA_VERSION;
use super::image::{Broker, MetadataImage};
use super::partition_change::is_reserved_directory;
use super::{Asked, Controller, Decision, PRODUCER_ID_BLOCK, Refusal, text};
use crate::ids::{BrokerEpoch, NodeId};
use crate::museum::Exhibit;
use crate::time::{Instant, Now};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, ControllerRegistrationRequest,
    ControllerRegistrationResponse,
};
use sordini_protocol::records::register_broker_record::{BrokerEndpoint, BrokerFeature};
use sordini_protocol::records::register_controller_record::{ControllerEndpoint, ControllerFeature};
use sordini_protocol::records::{
    BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord, ProducerIdsRecord,
    RegisterBrokerRecord, RegisterControllerRecord,
};
use sordini_protocol::wire::Uuid;

/// The level of metadata.version from which on controllers register.
pub(crate) const CONTROLLERS_REGISTER_FROM: i16 = 15;

/// In a `BrokerRegistrationChangeRecord`.
const FENCED: i8 = 1;
const UNFENCED: i8 = -1;
const IN_CONTROLLED_SHUTDOWN: i8 = 1;

/// What becomes of a broker that has sent a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Fenced,
    Unfenced,
    /// It leads nothing any more and goes when the others know it.
    ControlledShutdown,
    ShutdownNow,
}

impl Controller {
    /// The broker of a request, if it is the one that registered last: another life of the process, or another process of
    /// the same number, decides nothing.
    pub(super) fn check_broker_epoch(&self, id: i32, epoch: i64) -> Result<(NodeId, &Broker), ErrorCode> {
        let node = NodeId(id);
        match self.image.brokers().get(&node) {
            Some(broker) if broker.epoch == BrokerEpoch(epoch) => Ok((node, broker)),
            Some(_) | None => Err(ErrorCode::StaleBrokerEpoch),
        }
    }

    /// Registers a broker, fenced. Its epoch is the offset of the record that says so, which no other record ever has.
    pub(super) fn register_broker(
        &mut self,
        request: &BrokerRegistrationRequest,
        asked: &Asked,
    ) -> Decision<BrokerRegistrationResponse> {
        let mut response = BrokerRegistrationResponse::default();
        if let Err(refusal) = self.check_registration(request, asked.now) {
            response.error_code = refusal.code.as_i16();
            return Decision { records: Vec::new(), response };
        }
        let node = NodeId(request.broker_id);
        let end_points = request.listeners.iter().map(|listener| BrokerEndpoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            security_protocol: listener.security_protocol,
            ..BrokerEndpoint::default()
        });
        let features = request.features.iter().map(|feature| BrokerFeature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..BrokerFeature::default()
        });
        let mut record = RegisterBrokerRecord {
            broker_id: node.0,
            incarnation_id: request.incarnation_id,
            end_points: end_points.collect(),
            features: features.collect(),
            rack: request.rack.clone(),
            fenced: true,
            log_dirs: if self.image.has_directories() { request.log_dirs.clone() } else { Vec::new() },
            ..RegisterBrokerRecord::default()
        };
        let mut records = Vec::new();
        let existing = self.image.brokers().get(&node);
        match existing.filter(|broker| broker.incarnation == request.incarnation_id) {
            // The same process, which has not heard the answer or has something to correct, is what it was.
            Some(existing) => {
                record.broker_epoch = existing.epoch.0;
                record.fenced = existing.fenced;
                record.in_controlled_shutdown = existing.in_controlled_shutdown;
            }
            // The life before it is over, whether or not anybody noticed. Where it matters if that one's end was clean, the
            // broker says by the epoch in which it was (KIP-966).
            None => {
                let is_clean =
                    existing.is_some_and(|broker| broker.epoch == BrokerEpoch(request.previous_broker_epoch));
                let left = if is_clean { self.leave_isrs(node) } else { self.lose_replicas(node) };
                records.extend(left.into_iter().map(MetadataRecord::from));
                record.broker_epoch = asked.offset_after(records.len());
                self.heartbeats.register(node, asked.now);
            }
        }
        response.broker_epoch = record.broker_epoch;
        // A broker that has waited too long for the log to go on must not make it longer.
        if existing != Some(&Broker::registered(&record)) {
            records.push(record.into());
        }
        Decision { records, response }
    }

    fn check_registration(&self, request: &BrokerRegistrationRequest, now: Now) -> Result<(), Refusal> {
        let node = NodeId(request.broker_id);
        if request.cluster_id != self.cluster_id {
            let message = format!("this is cluster {}", self.cluster_id);
            return Err(Refusal::new(ErrorCode::InconsistentClusterId, message));
        }
        let is_other_life = |broker: &&Broker| broker.incarnation != request.incarnation_id;
        let is_there = self.heartbeats.has_session(node, now);
        if is_there && self.image.brokers().get(&node).filter(is_other_life).is_some() {
            let message = format!("another process is broker {node}");
            return Err(Refusal::new(ErrorCode::DuplicateBrokerRegistration, message));
        }
        if self.image.has_directories() {
            check_log_dirs(&self.image, node, &request.log_dirs)?;
        }
        for (name, level) in self.image.features() {
            let feature = request.features.iter().find(|feature| feature.name == *name);
            let is_supported = feature.is_some_and(|feature| {
                (feature.min_supported_version..=feature.max_supported_version).contains(level)
            });
            if !is_supported {
                let message = format!("the broker does not support level {level} of {name}");
                return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
            }
        }
        Ok(())
    }

    /// Hears of a broker, and lets it serve or go when it asks for that and may.
    pub(super) fn on_broker_heartbeat(
        &mut self,
        request: &BrokerHeartbeatRequest,
        asked: &Asked,
    ) -> Decision<BrokerHeartbeatResponse> {
        let refused = |code: ErrorCode| {
            let response = BrokerHeartbeatResponse { error_code: code.as_i16(), ..Default::default() };
            Decision { records: Vec::new(), response }
        };
        let (node, broker) = match self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            Ok(found) => found,
            Err(code) => return refused(code),
        };
        let (epoch, was_fenced, was_leaving) = (broker.epoch, broker.fenced, broker.in_controlled_shutdown);
        // Its epoch is the offset of its registration: before it has acted on that it knows of no partition it may host.
        let is_caught_up = request.current_metadata_offset >= epoch.0;
        let log_dirs = self.change_log_dirs(node, epoch, request);
        let mut next = self.next_state(node, broker, request, is_caught_up);
        if next == Next::Unfenced && was_fenced && !log_dirs.is_empty() {
            // It would be elected for what lies in a directory that has failed. It asks again, of an image that knows.
            next = Next::Fenced;
        }
        let records = match next {
            Next::Fenced if !was_fenced => self.fence(node, epoch),
            Next::ShutdownNow if !was_fenced => self.fence(node, epoch),
            Next::Unfenced if was_fenced => self.unfence(node, epoch),
            Next::ControlledShutdown => self.leave(node, epoch, was_leaving),
            Next::Fenced | Next::ShutdownNow | Next::Unfenced => log_dirs,
        };
        if next == Next::ShutdownNow {
            // The number is free for the next life of the broker.
            self.heartbeats.end(node);
        } else {
            self.heartbeats.touch(node, request.current_metadata_offset, asked.now);
        }
        if next == Next::ControlledShutdown
            && (!records.is_empty() || self.heartbeats.shutdown_offset(node).is_none())
        {
            self.heartbeats.shut_down_after(node, asked.offset_after(records.len()) - 1);
        }
        let response = BrokerHeartbeatResponse {
            is_caught_up,
            is_fenced: matches!(next, Next::Fenced | Next::ShutdownNow),
            should_shut_down: next == Next::ShutdownNow,
            ..BrokerHeartbeatResponse::default()
        };
        Decision { records, response }
    }

    fn next_state(
        &self,
        node: NodeId,
        broker: &Broker,
        request: &BrokerHeartbeatRequest,
        is_caught_up: bool,
    ) -> Next {
        match (request.want_shut_down, request.want_fence) {
            (true, _) if broker.fenced => Next::ShutdownNow,
            (false, false) if broker.fenced && is_caught_up => Next::Unfenced,
            (false, _) if broker.fenced => Next::Fenced,
            (_, _) if broker.in_controlled_shutdown => {
                let waits_for = self.heartbeats.shutdown_offset(node).unwrap_or(i64::MAX);
                let reached = self.heartbeats.lowest_active_offset(&self.image);
                let all_know = reached.is_none_or(|reached| reached >= waits_for);
                if all_know && !self.leads(node) { Next::ShutdownNow } else { Next::ControlledShutdown }
            }
            (true, true) => Next::ShutdownNow,
            (true, false) if self.leads(node) => Next::ControlledShutdown,
            (true, false) => Next::ShutdownNow,
            (false, true) => Next::Fenced,
            (false, false) => Next::Unfenced,
        }
    }

    fn leads(&self, node: NodeId) -> bool {
        let mut partitions = self.image.topics_by_name().flat_map(|topic| topic.partitions.values());
        partitions.any(|partition| partition.leader == Some(node))
    }

    /// A broker may not lead, nor be in sync, until it asks for it again.
    pub(super) fn fence(&self, node: NodeId, epoch: BrokerEpoch) -> Vec<MetadataRecord> {
        let change = BrokerRegistrationChangeRecord { fenced: FENCED, ..registration_change(node, epoch) };
        with_partitions(change, self.leave_isrs(node))
    }

    /// A broker may lead from here on, and leads what nobody else could.
    pub(super) fn unfence(&self, node: NodeId, epoch: BrokerEpoch) -> Vec<MetadataRecord> {
        let change = BrokerRegistrationChangeRecord { fenced: UNFENCED, ..registration_change(node, epoch) };
        with_partitions(change, self.elect_for_leaderless(Some(node)))
    }

    /// A broker is about to go: others lead what it leads.
    fn leave(&self, node: NodeId, epoch: BrokerEpoch, was_leaving: bool) -> Vec<MetadataRecord> {
        let partitions = self.leave_isrs(node);
        if was_leaving {
            return partitions.into_iter().map(MetadataRecord::from).collect();
        }
        let change = BrokerRegistrationChangeRecord {
            in_controlled_shutdown: IN_CONTROLLED_SHUTDOWN,
            ..registration_change(node, epoch)
        };
        with_partitions(change, partitions)
    }

    /// Fences the next broker that is silent for too long. Each is decided on by itself, from an image that has the
    /// decisions about those before it: what two of them had in common is else given to the other that is gone
    /// (KAFKA-13173).
    pub(crate) fn fence_next_expired(&mut self, now: Now) -> Option<Vec<MetadataRecord>> {
        loop {
            let node = self.heartbeats.take_expired(now)?;
            if let Some(broker) = self.image.brokers().get(&node).filter(|broker| !broker.fenced) {
                return Some(self.fence(node, broker.epoch));
            }
        }
    }

    /// When [`Self::fence_next_expired`] may have something to do.
    pub(crate) fn next_session_expiry(&self) -> Option<Instant> {
        self.heartbeats.next_expiry()
    }

    /// Reserves the next block of producer ids for a broker. Blocks are never used again (KIP-98).
    pub(super) fn allocate_producer_ids_for(
        &self,
        request: &AllocateProducerIdsRequest,
    ) -> Decision<AllocateProducerIdsResponse> {
        let mut response = AllocateProducerIdsResponse::default();
        match self.check_broker_epoch(request.broker_id, request.broker_epoch) {
            Ok((node, broker)) => {
                let first = self.image.next_producer_id();
                let is_again = self.museum.has(Exhibit::A37PersistCurrentProducerIdBlock);
                let record = ProducerIdsRecord {
                    broker_id: node.0,
                    broker_epoch: broker.epoch.0,
                    next_producer_id: if is_again { first } else { first + i64::from(PRODUCER_ID_BLOCK) },
                    ..ProducerIdsRecord::default()
                };
                response.producer_id_start = first;
                response.producer_id_len = PRODUCER_ID_BLOCK;
                Decision { records: vec![record.into()], response }
            }
            Err(code) => {
                response.error_code = code.as_i16();
                Decision { records: Vec::new(), response }
            }
        }
    }

    /// Writes down which levels a controller can live with, and where it is (KIP-919).
    pub(super) fn register_controller(
        &self,
        request: &ControllerRegistrationRequest,
    ) -> Decision<ControllerRegistrationResponse> {
        let mut response = ControllerRegistrationResponse { error_message: None, ..Default::default() };
        if self.image.metadata_version() < CONTROLLERS_REGISTER_FROM {
            response.error_code = ErrorCode::UnsupportedVersion.as_i16();
            let (name, ..) = METADATA_VERSION;
            response.error_message = text(&format!("{name} is too low for controllers to register"));
            return Decision { records: Vec::new(), response };
        }
        let end_points = request.listeners.iter().map(|listener| ControllerEndpoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            security_protocol: listener.security_protocol,
            ..ControllerEndpoint::default()
        });
        let features = request.features.iter().map(|feature| ControllerFeature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..ControllerFeature::default()
        });
        let record = RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: request.zk_migration_ready,
            end_points: end_points.collect(),
            features: features.collect(),
            ..RegisterControllerRecord::default()
        };
        Decision { records: vec![record.into()], response }
    }

    /// Whether brokers that are other processes are registered.
    pub(crate) fn has_remote_brokers(&self) -> bool {
        self.image.brokers().keys().any(|id| *id != self.node)
    }
}

fn registration_change(node: NodeId, epoch: BrokerEpoch) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord { broker_id: node.0, broker_epoch: epoch.0, ..Default::default() }
}

fn with_partitions(
    change: BrokerRegistrationChangeRecord,
    partitions: Vec<PartitionChangeRecord>,
) -> Vec<MetadataRecord> {
    let mut records = vec![change.into()];
    records.extend(partitions.into_iter().map(MetadataRecord::from));
    records
}

/// A log directory belongs to one broker: if its disk is moved to another, that one would take the replicas in it for its
/// own.
fn check_log_dirs(image: &MetadataImage, node: NodeId, log_dirs: &[Uuid]) -> Result<(), Refusal> {
    let refusal = |message| Err(Refusal::new(ErrorCode::InvalidRegistration, message));
    if log_dirs.is_empty() {
        return refusal("the broker has no log directory".into());
    }
    if log_dirs.iter().any(is_reserved_directory) {
        return refusal("a log directory has a reserved id".into());
    }
    let distinct: BTreeSet<&Uuid> = log_dirs.iter().collect();
    if distinct.len() != log_dirs.len() {
        return refusal("two log directories have the same id".into());
    }
    let mut others = image.brokers().iter().filter(|(id, _)| **id != node);
    match others.find(|(_, broker)| broker.log_dirs.iter().any(|dir| log_dirs.contains(dir))) {
        Some((other, _)) => refusal(format!("a log directory is that of broker {other}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kraft;
    use super::super::tests::{CLUSTER, cluster, partition as partition_of};
    use super::*;
    use crate::controller::partition_change::LOST;
    use crate::ids::Offset;
    use sordini_protocol::messages::broker_registration_request::Feature;
    use sordini_protocol::records::{PartitionRecord, UnregisterBrokerRecord};
    use sordini_protocol::wire::Str;

    const LIFE: Uuid = Uuid([40; 16]);

    fn asked(end: i64, seconds: u64) -> Asked {
        let now = Now { monotonic: Instant(seconds * 1_000_000), wall_ms: 0 };
        Asked { version: 1, end: Offset(end), now, kraft: Kraft::default() }
    }

    fn registration(id: u8) -> BrokerRegistrationRequest {
        BrokerRegistrationRequest {
            broker_id: id.into(),
            cluster_id: CLUSTER,
            incarnation_id: LIFE,
            features: vec![Feature {
                name: Str::from_static("metadata.version"),
                min_supported_version: 7,
                max_supported_version: 30,
                ..Feature::default()
            }],
            log_dirs: vec![Uuid([id; 16])],
            ..BrokerRegistrationRequest::default()
        }
    }

    /// Of the controller's process, in which there is a broker too.
    const THIS_LIFE: Uuid = Uuid([99; 16]);

    /// Three brokers, of which number 1 was in an earlier life of the controller's process, and a partition of all of them. The
    /// others are just heard of.
    fn three(leader: i32) -> Controller {
        let replicas = vec![1, 2, 3];
        let partition = PartitionRecord { isr: replicas.clone(), replicas, leader, ..Default::default() };
        let mut controller = cluster(3, partition);
        controller.activate(controller.image().clone(), Some(THIS_LIFE), asked(0, 0).now);
        controller
    }

    fn apply(controller: &mut Controller, records: &[MetadataRecord]) {
        records.iter().for_each(|record| controller.apply(record));
    }

    fn heartbeat(id: i32, offset: i64) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: 0,
            current_metadata_offset: offset,
            ..BrokerHeartbeatRequest::default()
        }
    }

    /// Sends a heartbeat; answers whether the broker is fenced then and whether it may stop.
    fn beat(controller: &mut Controller, request: &BrokerHeartbeatRequest, asked: &Asked) -> (bool, bool) {
        let Decision { records, response } = controller.on_broker_heartbeat(request, asked);
        assert_eq!(response.error_code, 0);
        apply(controller, &records);
        (response.is_fenced, response.should_shut_down)
    }

    #[test]
    fn a_broker_is_registered_only_as_one_that_can_live_in_the_cluster() {
        let other_cluster = BrokerRegistrationRequest { cluster_id: Str::from("other"), ..registration(4) };
        let level = |min, max| {
            let mut request = registration(4);
            request.features[0].min_supported_version = min;
            request.features[0].max_supported_version = max;
            request
        };
        let dirs =
            |log_dirs: &[Uuid]| BrokerRegistrationRequest { log_dirs: log_dirs.to_vec(), ..registration(4) };
        let (own, others) = (Uuid([4; 16]), Uuid([2; 16]));
        let table = [
            (registration(4), 0, ErrorCode::None),
            (other_cluster, 0, ErrorCode::InconsistentClusterId),
            (level(7, 29), 0, ErrorCode::UnsupportedVersion),
            (level(31, 31), 0, ErrorCode::UnsupportedVersion),
            (
                BrokerRegistrationRequest { features: vec![], ..registration(4) },
                0,
                ErrorCode::UnsupportedVersion,
            ),
            (dirs(&[]), 0, ErrorCode::InvalidRegistration),
            (dirs(&[own, own]), 0, ErrorCode::InvalidRegistration),
            (dirs(&[own, LOST]), 0, ErrorCode::InvalidRegistration),
            (dirs(&[own, others]), 0, ErrorCode::InvalidRegistration),
            (registration(2), 8, ErrorCode::DuplicateBrokerRegistration),
            (registration(2), 9, ErrorCode::None),
            (registration(1), 0, ErrorCode::None),
        ];
        for (request, seconds, code) in table {
            let Decision { records, response } = three(1).register_broker(&request, &asked(50, seconds));
            assert_eq!(response.error_code, code.as_i16(), "{request:?}");
            assert_eq!(records.is_empty(), code != ErrorCode::None, "{request:?}");
        }
    }

    #[test]
    fn the_epoch_of_a_broker_is_the_offset_of_its_registration_and_the_life_before_leaves_the_isr() {
        let mut controller = three(2);
        let Decision { records, response } = controller.register_broker(&registration(2), &asked(50, 20));
        assert_eq!((records.len(), response.broker_epoch), (2, 51));
        apply(&mut controller, &records);
        let state = partition_of(&controller);
        assert_eq!((state.leader, &state.isr[..]), (Some(NodeId(1)), &[NodeId(1), NodeId(3)][..]));
        let broker = &controller.image().brokers()[&NodeId(2)];
        assert!(broker.fenced && broker.epoch == BrokerEpoch(51));

        let again = controller.register_broker(&registration(2), &asked(60, 20));
        assert_eq!((again.records.len(), again.response.broker_epoch), (0, 51), "the same life again");
        let corrected = BrokerRegistrationRequest { rack: Some(Str::from_static("r2")), ..registration(2) };
        let corrected = controller.register_broker(&corrected, &asked(60, 20));
        assert_eq!(
            (corrected.records.len(), corrected.response.broker_epoch),
            (1, 51),
            "and what is new of it"
        );
        let stale = controller.on_broker_heartbeat(&heartbeat(2, 99), &asked(61, 20));
        assert_eq!(stale.response.error_code, ErrorCode::StaleBrokerEpoch.as_i16());
    }

    #[test]
    fn a_fenced_broker_is_unfenced_when_it_asks_for_it_and_knows_of_its_registration() {
        for (want_fence, offset, is_fenced) in [(true, 51, true), (false, 50, true), (false, 51, false)] {
            let mut controller = three(1);
            let records = controller.register_broker(&registration(4), &asked(51, 0)).records;
            apply(&mut controller, &records);
            let request = BrokerHeartbeatRequest { broker_epoch: 51, want_fence, ..heartbeat(4, offset) };
            let Decision { records, response } = controller.on_broker_heartbeat(&request, &asked(52, 1));
            assert_eq!((response.is_fenced, response.is_caught_up), (is_fenced, offset >= 51));
            apply(&mut controller, &records);
            assert_eq!(controller.image().brokers()[&NodeId(4)].fenced, is_fenced);
        }
    }

    #[test]
    fn brokers_that_expire_together_are_fenced_one_after_another() {
        let mut controller = three(2);
        assert_eq!(controller.fence_next_expired(asked(0, 8).now), None);
        let mut fenced = 0;
        while let Some(records) = controller.fence_next_expired(asked(0, 9).now) {
            apply(&mut controller, &records);
            fenced += 1;
        }
        assert_eq!(
            (fenced, controller.next_session_expiry()),
            (2, None),
            "an earlier life of this process has none"
        );
        let state = partition_of(&controller);
        assert_eq!((state.leader, &state.isr[..]), (Some(NodeId(1)), &[NodeId(1)][..]));
    }

    #[test]
    fn who_leads_again_gives_every_broker_a_full_session() {
        let mut controller = three(1);
        controller.activate(controller.image().clone(), Some(THIS_LIFE), asked(0, 100).now);
        assert_eq!(controller.fence_next_expired(asked(0, 108).now), None);
        assert!(controller.fence_next_expired(asked(0, 109).now).is_some());
    }

    #[test]
    fn a_broker_stops_when_it_leads_nothing_and_the_others_know_it() {
        let mut controller = three(2);
        beat(&mut controller, &heartbeat(3, 10), &asked(20, 1));
        let leaving = BrokerHeartbeatRequest { want_shut_down: true, ..heartbeat(2, 10) };
        assert_eq!(beat(&mut controller, &leaving, &asked(20, 1)), (false, false));
        let state = partition_of(&controller);
        assert_eq!((state.leader, &state.isr[..]), (Some(NodeId(1)), &[NodeId(1), NodeId(3)][..]));
        // Two records were written, at 20 and 21.
        assert_eq!(beat(&mut controller, &leaving, &asked(22, 2)), (false, false));
        beat(&mut controller, &heartbeat(3, 20), &asked(22, 2));
        assert_eq!(beat(&mut controller, &leaving, &asked(22, 2)), (false, false), "one record is not known");
        beat(&mut controller, &heartbeat(3, 21), &asked(22, 3));
        assert_eq!(beat(&mut controller, &leaving, &asked(22, 3)), (true, true));
        assert!(controller.image().brokers()[&NodeId(2)].fenced);
        let next_life = controller.register_broker(&registration(2), &asked(30, 3));
        assert_eq!(next_life.response.error_code, 0, "the number is free at once");
    }

    #[test]
    fn a_broker_that_leads_nothing_stops_at_once() {
        let mut controller = three(1);
        let leaving = BrokerHeartbeatRequest { want_shut_down: true, ..heartbeat(2, 10) };
        assert_eq!(beat(&mut controller, &leaving, &asked(20, 1)), (true, true));
        assert_eq!(partition_of(&controller).isr, [NodeId(1), NodeId(3)]);
    }

    #[test]
    fn a_partition_whose_last_broker_was_gone_is_led_by_it_again() {
        let partition = PartitionRecord { replicas: vec![2], isr: vec![2], leader: 2, ..Default::default() };
        let mut controller = cluster(2, partition);
        controller.activate(controller.image().clone(), Some(THIS_LIFE), asked(0, 0).now);
        let records = controller.fence_next_expired(asked(0, 9).now).expect("it is silent");
        apply(&mut controller, &records);
        assert_eq!(partition_of(&controller).leader, None);
        assert_eq!(beat(&mut controller, &heartbeat(2, 10), &asked(20, 10)), (false, false));
        let state = partition_of(&controller);
        assert_eq!(
            (state.leader, state.leader_epoch.0, &state.isr[..]),
            (Some(NodeId(2)), 2, &[NodeId(2)][..])
        );
    }

    #[test]
    fn blocks_of_producer_ids_follow_each_other_and_are_for_registered_brokers() {
        let mut controller = three(1);
        let request = |broker_id, broker_epoch| AllocateProducerIdsRequest {
            broker_id,
            broker_epoch,
            ..AllocateProducerIdsRequest::default()
        };
        for first in [0, 1000] {
            let Decision { records, response } = controller.allocate_producer_ids_for(&request(2, 0));
            assert_eq!((response.producer_id_start, response.producer_id_len), (first, 1000));
            apply(&mut controller, &records);
        }
        let gone = UnregisterBrokerRecord { broker_id: 3, ..Default::default() };
        controller.apply(&gone.into());
        for (id, epoch) in [(2, 7), (3, 0)] {
            let refused = controller.allocate_producer_ids_for(&request(id, epoch));
            assert_eq!(refused.response.error_code, ErrorCode::StaleBrokerEpoch.as_i16());
            assert!(refused.records.is_empty());
        }
    }
}
