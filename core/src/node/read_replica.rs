//! Which replica a consumer had best read from: one in its own rack, so that what it reads costs no way between racks (KIP-392).

use super::broker::Broker;
use crate::config::broker::ReplicaSelector;
use crate::controller::image;
use crate::ids::{NodeId, Offset};
use sordini_protocol::wire::Str;

/// A consumer that may read from followers.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    /// `client.rack`; empty where it was not set.
    pub(super) rack: Str,
    /// Name of the listener by which it asks.
    pub(super) listener: Str,
}

impl Broker {
    /// The follower that a consumer had better ask than this leader, if there is one: of those in its rack the one that has most,
    /// then the one that was caught up last.
    pub(super) fn preferred_replica(
        &self,
        owner: u32,
        consumer: &Consumer,
        offset: Offset,
    ) -> Option<NodeId> {
        if self.config.replica_selector != ReplicaSelector::RackAware || consumer.rack.is_empty() {
            return None;
        }
        let partition = self.partitions.get(&owner)?;
        let is_near = |broker: &image::Broker| broker.rack.as_ref() == Some(&consumer.rack);
        let live = |id: NodeId| self.image.brokers().get(&id).filter(|broker| !broker.fenced);
        if live(self.config.node_id).is_some_and(is_near) {
            return None;
        }
        let is_reachable =
            |broker: &image::Broker| broker.endpoints.iter().any(|it| it.name == consumer.listener);
        let near = partition
            .read_replicas(offset)
            .filter(|it| live(it.id).is_some_and(|broker| is_near(broker) && is_reachable(broker)));
        near.max_by_key(|it| (it.end, it.caught_up_at, it.id)).map(|it| it.id)
    }
}
