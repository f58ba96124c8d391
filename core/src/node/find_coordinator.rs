//! FindCoordinator: which broker has a group. The topic in which groups are kept is created when somebody first asks.

use super::RequestContext;
use super::broker::{Broker, Committed, ReplyTo};
use super::envelope::Asker;
use super::group_coordinator::OFFSETS_TOPIC;
use crate::controller::ControllerRequest;
use crate::outbox::Outbox;
use crate::time::Now;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use sordini_protocol::messages::find_coordinator_response::Coordinator;
use sordini_protocol::messages::{CreateTopicsRequest, FindCoordinatorRequest, FindCoordinatorResponse};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;

/// What the key of a request is: a group's name, as opposed to a transactional id or a partition of a share group.
const GROUP: i8 = 0;
const KEY_TYPES: core::ops::RangeInclusive<i8> = 0..=2;

/// From this version on several are asked for at a time (KIP-699).
const BATCHED_FROM: i16 = 4;

/// A request that waits for the topic to be created.
#[derive(Clone, Debug)]
pub(crate) struct ParkedFind {
    pub(crate) reply_to: ReplyTo,
    pub(crate) listener: Str,
    pub(crate) request: FindCoordinatorRequest,
}

impl Broker {
    pub(super) fn on_find_coordinator(
        &mut self,
        parked: ParkedFind,
        context: RequestContext,
        now: Now,
        out: &mut Outbox,
    ) {
        let is_there = self.image.topic_by_name(&OFFSETS_TOPIC).is_some();
        if is_there || parked.request.key_type != GROUP {
            return self.answer_find_coordinator(parked, out);
        }
        let creation = CreateTopicsRequest { topics: [self.offsets_topic()].into(), ..Default::default() };
        if self.active_epoch.is_none() {
            let body = AnyRequest::CreateTopics(creation);
            let context = RequestContext { api_version: *body.api_key().versions().end(), ..context };
            return self.forward(Asker::Coordinator(parked), context, body, now, out);
        }
        let asked = self.asked(0, now);
        let creation = ControllerRequest::CreateTopics(creation);
        let decision = self.controller.decide(&creation, &asked, &mut self.rng, out);
        self.commit(decision.records, Committed::Coordinator(parked), now, out);
    }

    /// The topic as Kafka creates it.
    fn offsets_topic(&self) -> CreatableTopic {
        let config = |name: &'static str, value: Str| CreatableTopicConfig {
            name: Str::from_static(name),
            value: Some(value),
            ..CreatableTopicConfig::default()
        };
        let segment_bytes = self.config.offsets_topic_segment_bytes.to_string();
        CreatableTopic {
            name: OFFSETS_TOPIC,
            num_partitions: self.config.offsets_topic_partitions,
            replication_factor: self.config.offsets_topic_replication_factor,
            configs: [
                config("cleanup.policy", Str::from_static("compact")),
                config("compression.type", Str::from_static("producer")),
                config("segment.bytes", Str::from(segment_bytes)),
            ]
            .into(),
            ..CreatableTopic::default()
        }
    }

    pub(super) fn answer_find_coordinator(&self, parked: ParkedFind, out: &mut Outbox) {
        let ParkedFind { reply_to, listener, request } = parked;
        let find = |key: &Str| {
            self.found_coordinator(key, request.key_type, &listener).unwrap_or_else(|code| Coordinator {
                key: key.clone(),
                node_id: -1,
                port: -1,
                error_code: code.as_i16(),
                ..Coordinator::default()
            })
        };
        let response = if reply_to.version >= BATCHED_FROM {
            let coordinators: Vec<Coordinator> = request.coordinator_keys.iter().map(find).collect();
            FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() }
        } else {
            let Coordinator { node_id, host, port, error_code, error_message, .. } = find(&request.key);
            FindCoordinatorResponse {
                error_code,
                error_message,
                node_id,
                host,
                port,
                ..FindCoordinatorResponse::default()
            }
        };
        reply_to.respond(AnyResponse::FindCoordinator(response), out);
    }

    fn found_coordinator(&self, key: &Str, key_type: i8, listener: &str) -> Result<Coordinator, ErrorCode> {
        if !KEY_TYPES.contains(&key_type) {
            return Err(ErrorCode::InvalidRequest);
        }
        if key_type != GROUP {
            // Nobody coordinates transactions or share groups here.
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let leader = self.group_partition(key).and_then(|id| self.image.partition(id)?.leader);
        let leader = leader.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let found = self.endpoints_on(&BTreeSet::from([leader]), listener).into_iter().next();
        let is_live = self.image.brokers().get(&leader).is_some_and(|broker| !broker.fenced);
        let (id, host, port, _) = found.filter(|_| is_live).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        Ok(Coordinator { key: key.clone(), node_id: id.0, host, port, ..Coordinator::default() })
    }
}
