//! Who is in sync with what this node leads: what other replicas' fetches say of it, and what the controller is asked to decide
//! (AlterPartition: KIP-497, KIP-841, KIP-903).

use super::broker::Broker;
use super::lifecycle::Lifecycle;
use super::to_controller::Question;
use crate::ids::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, TopicIdPartition};
use crate::outbox::Outbox;
use crate::partition::{DecidedIsr, FollowerFetch, Refused, WantedIsr};
use crate::time::Now;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use sordini_protocol::messages::alter_partition_response::PartitionData as Decided;
use sordini_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use sordini_protocol::request::AnyRequest;
use sordini_protocol::wire::Uuid;

/// What the controller is to be asked, one request at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct IsrChanges {
    /// The partitions of which a change is proposed that nobody was asked for.
    unasked: BTreeSet<TopicIdPartition>,
    /// Those of which the request asks that has no answer yet, and on what was known then.
    asked: Option<BTreeMap<TopicIdPartition, (LeaderEpoch, PartitionEpoch)>>,
}

impl IsrChanges {
    /// There is no answer, and what was asked for may or may not be decided. It is asked for again: what was decided is then
    /// answered as it is.
    pub(super) fn on_no_answer(&mut self) {
        self.unasked.extend(self.asked.take().into_iter().flatten().map(|(id, _)| id));
    }
}

impl Broker {
    /// Who had not all that there is for longer than this, is not in sync.
    pub(super) fn replica_lag_max(&self) -> Duration {
        Duration::from_millis(self.config.replica_lag_time_max_ms.unsigned_abs())
    }

    /// How often replicas that lag behind are looked for: each is found before half as long again has passed, as in Kafka.
    pub(super) fn isr_check_interval_ms(&self) -> i64 {
        (self.config.replica_lag_time_max_ms / 2).max(1)
    }

    /// Whether the life of a broker that fetches is one that the cluster has registered, and that it has neither fenced nor is
    /// shutting down. One that does not say which it is, is taken for the one that is registered.
    pub(super) fn may_be_in_sync(&self, replica: NodeId, broker_epoch: Option<BrokerEpoch>) -> bool {
        self.image.brokers().get(&replica).is_some_and(|broker| {
            let is_registered = broker_epoch.is_none_or(|epoch| epoch == broker.epoch);
            is_registered && !broker.fenced && !broker.in_controlled_shutdown
        })
    }

    /// Whether what a replica says is of a life of its broker that another has followed by now (KIP-903).
    pub(super) fn is_of_an_earlier_life(&self, replica: NodeId, broker_epoch: Option<BrokerEpoch>) -> bool {
        let registered = self.image.brokers().get(&replica);
        broker_epoch.is_some_and(|epoch| registered.is_some_and(|broker| epoch < broker.epoch))
    }

    /// Takes note of how far another replica is, which may be all that others wait for. `false` if it is no replica.
    pub(super) fn on_follower_fetch(
        &mut self,
        owner: u32,
        fetch: &FollowerFetch,
        now: Now,
        out: &mut Outbox,
    ) -> bool {
        let Some(partition) = self.partitions.get_mut(&owner) else { return false };
        let id = partition.id;
        let Some((awakened, is_proposed)) = partition.on_follower_fetch(fetch, now) else { return false };
        self.on_awakened(owner, awakened, now, out);
        self.pursue_deletions(out);
        if is_proposed {
            self.isr_changes.unasked.insert(id);
            self.ask_for_isr_changes(now, out);
        }
        true
    }

    /// A broker came, went, or was fenced: its replicas may be in sync now, or may not.
    pub(super) fn judge_follower(&mut self, replica: NodeId, now: Now, out: &mut Outbox) {
        let owners: Vec<u32> = self.partitions.keys().copied().collect();
        for owner in owners {
            let epoch = self.partitions.get(&owner).and_then(|partition| partition.follower_epoch(replica));
            let Some(broker_epoch) = epoch else { continue };
            let is_eligible = self.may_be_in_sync(replica, broker_epoch);
            if let Some(partition) = self.partitions.get_mut(&owner) {
                let awakened = partition.judge_follower(replica, is_eligible, now);
                self.on_awakened(owner, awakened, now, out);
            }
        }
    }

    /// Proposes to leave those out of the ISR who lag behind.
    pub(super) fn look_for_lagging_replicas(&mut self, now: Now, out: &mut Outbox) {
        for partition in self.partitions.values_mut() {
            if partition.look_for_lagging(now) {
                self.isr_changes.unasked.insert(partition.id);
            }
        }
        self.ask_for_isr_changes(now, out);
    }

    /// Whether there is something to ask for, and nothing was asked that has no answer. Of a broker that is not registered
    /// nothing is heard.
    pub(super) fn has_isr_changes_to_ask(&self) -> bool {
        let is_registered = self.lifecycle.as_ref().is_some_and(Lifecycle::is_registered);
        is_registered && !self.isr_changes.unasked.is_empty() && self.isr_changes.asked.is_none()
    }

    /// Asks the active controller for what is proposed.
    pub(super) fn ask_for_isr_changes(&mut self, now: Now, out: &mut Outbox) {
        if !self.has_isr_changes_to_ask() {
            return;
        }
        let mut asked = BTreeMap::new();
        let mut topics: BTreeMap<Uuid, Vec<PartitionData>> = BTreeMap::new();
        for id in core::mem::take(&mut self.isr_changes.unasked) {
            let partition = self.owners.get(&id).and_then(|owner| self.partitions.get(owner));
            // Otherwise it leads no more, or what holds is known by now.
            let Some(wanted) = partition.and_then(|it| it.wanted_isr(self.broker_epoch)) else { continue };
            asked.insert(id, (wanted.leader_epoch, wanted.partition_epoch));
            topics.entry(id.topic).or_default().push(request_of(id.partition, wanted));
        }
        if asked.is_empty() {
            return;
        }
        let topic = |(topic_id, partitions)| TopicData { topic_id, partitions, ..TopicData::default() };
        let request = AnyRequest::AlterPartition(AlterPartitionRequest {
            broker_id: self.config.node_id.0,
            broker_epoch: self.broker_epoch.0,
            topics: topics.into_iter().map(topic).collect(),
            ..AlterPartitionRequest::default()
        });
        self.isr_changes.asked = Some(asked);
        if !self.ask_controller(Question::InSyncReplicas, request, now, out) {
            self.on_no_answer(Question::InSyncReplicas, now);
        }
    }

    /// The controller has decided, or refused to.
    pub(super) fn on_isr_changes_answered(
        &mut self,
        response: &AlterPartitionResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        if response.error_code != ErrorCode::None.as_i16() {
            return self.on_no_answer(Question::InSyncReplicas, now);
        }
        let mut asked = self.isr_changes.asked.take().unwrap_or_default();
        let mut is_refused = false;
        for topic in &response.topics {
            for decided in &topic.partitions {
                let id = TopicIdPartition { topic: topic.topic_id, partition: decided.partition_index };
                if let Some(epochs) = asked.remove(&id) {
                    is_refused |= self.on_isr_change_answered(id, epochs, decided, now, out);
                }
            }
        }
        // What the answer leaves out is asked for again.
        is_refused |= !asked.is_empty();
        self.isr_changes.unasked.extend(asked.into_keys());
        if is_refused {
            self.on_no_answer(Question::InSyncReplicas, now);
        } else {
            self.ask_for_isr_changes(now, out);
        }
    }

    /// Takes the answer about one partition; `true` if it is to be asked for again.
    fn on_isr_change_answered(
        &mut self,
        id: TopicIdPartition,
        (leader_epoch, partition_epoch): (LeaderEpoch, PartitionEpoch),
        answer: &Decided,
        now: Now,
        out: &mut Outbox,
    ) -> bool {
        let Some(owner) = self.owners.get(&id).copied() else { return false };
        let partition = self.partitions.get_mut(&owner).expect("owners and partitions agree");
        let code = ErrorCode::from_i16(answer.error_code);
        if code.is_error() {
            let is_to_ask =
                partition.on_isr_refused(leader_epoch, partition_epoch, code) == Refused::TryAgain;
            if is_to_ask {
                self.isr_changes.unasked.insert(id);
            }
            return is_to_ask;
        }
        let decided = DecidedIsr {
            leader_epoch: LeaderEpoch(answer.leader_epoch),
            partition_epoch: PartitionEpoch(answer.partition_epoch),
            isr: answer.isr.iter().copied().map(NodeId).collect(),
        };
        let awakened = partition.on_isr_decided(decided, now);
        self.on_awakened(owner, awakened, now, out);
        false
    }
}

fn request_of(partition_index: i32, wanted: WantedIsr) -> PartitionData {
    let broker = |(id, epoch): (NodeId, Option<BrokerEpoch>)| BrokerState {
        broker_id: id.0,
        broker_epoch: epoch.map_or(-1, |epoch| epoch.0),
        ..BrokerState::default()
    };
    PartitionData {
        partition_index,
        leader_epoch: wanted.leader_epoch.0,
        partition_epoch: wanted.partition_epoch.0,
        new_isr_with_epochs: wanted.isr.into_iter().map(broker).collect(),
        ..PartitionData::default()
    }
}
