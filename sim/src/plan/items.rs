//! The items of a plan: what can be left out of it while the rest stays what it is.
//!
//! Items are named by their place in the plan they were listed from. Whatever is left out, and in whatever order, what
//! remains keeps its client numbers, its nodes, its topics and its times, and with them its weather.

use super::{DiskFault, Fault, Plan, RecoveryFaultPlan};
use std::collections::{BTreeMap, BTreeSet};

/// Something that can be left out of a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A batch of a producer. A producer without batches is no part of a plan.
    Send {
        /// The producer's number.
        client: u64,
        /// The place among its batches.
        index: usize,
    },
    /// A consumer.
    Consumer {
        /// Its number.
        client: u64,
    },
    /// A value that a configurator sets. A configurator that sets nothing is no part of a plan.
    Set {
        /// The configurator's number.
        client: u64,
        /// The place among its values.
        index: usize,
    },
    /// Something that a broker in name only does. One that does nothing is no part of a plan.
    BrokerDeed {
        /// The broker's number.
        client: u64,
        /// The place among its deeds.
        index: usize,
    },
    /// Something that a gatekeeper does. One that does nothing is no part of a plan.
    GatekeeperDeed {
        /// The gatekeeper's number.
        client: u64,
        /// The place among its deeds.
        index: usize,
    },
    /// A change by an operator. Who changes nothing is no part of a plan.
    QuorumChange {
        /// The client's number.
        client: u64,
        /// The place among its changes.
        index: usize,
    },
    /// Something an administrator does.
    Administration {
        /// The place in the plan.
        index: usize,
    },
    /// A fault, with all that befalls the node while it comes up again.
    Fault {
        /// The place in the plan.
        index: usize,
    },
    /// A change of the weather.
    Weather {
        /// The place in the plan.
        index: usize,
    },
    /// Something that befalls a node while it comes up again.
    RecoveryFault {
        /// The place of the fault that the node comes up from.
        fault: usize,
        /// The place among those of that fault.
        index: usize,
    },
    /// An entry of a node's `server.properties`.
    Property {
        /// The place of the node in the plan.
        node: usize,
        /// The entry's key.
        key: String,
    },
}

impl Plan {
    /// All that can be left out, each next to what it is likely to be needed with.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        let sends = self.producers.iter().flat_map(|producer| {
            let client = producer.client;
            (0..producer.sends.len()).map(move |index| Item::Send { client, index })
        });
        let consumers = self.consumers.iter().map(|consumer| Item::Consumer { client: consumer.client });
        let sets = self.configurators.iter().flat_map(|configurator| {
            let client = configurator.client;
            (0..configurator.sets.len()).map(move |index| Item::Set { client, index })
        });
        let deeds = self.brokers.iter().flat_map(|broker| {
            let client = broker.client;
            (0..broker.deeds.len()).map(move |index| Item::BrokerDeed { client, index })
        });
        let acls = self.gatekeepers.iter().flat_map(|gatekeeper| {
            let client = gatekeeper.client;
            (0..gatekeeper.deeds.len()).map(move |index| Item::GatekeeperDeed { client, index })
        });
        let changes = self.operators.iter().flat_map(|operator| {
            let client = operator.client;
            (0..operator.changes.len()).map(move |index| Item::QuorumChange { client, index })
        });
        let administration = (0..self.administration.len()).map(|index| Item::Administration { index });
        let faults = self.faults.iter().enumerate().flat_map(|(fault, planned)| {
            let again = 0..planned.fault.while_recovering().len();
            std::iter::once(Item::Fault { index: fault })
                .chain(again.map(move |index| Item::RecoveryFault { fault, index }))
        });
        let properties = self.nodes.iter().enumerate().flat_map(|(node, planned)| {
            planned.properties.keys().map(move |key| Item::Property { node, key: key.clone() })
        });
        let weather = (0..self.weather.len()).map(|index| Item::Weather { index });
        let of_quorums = sets.chain(deeds).chain(acls).chain(changes);
        let clients = sends.chain(consumers).chain(of_quorums).chain(administration);
        clients.chain(faults).chain(weather).chain(properties).collect()
    }

    /// The plan with those of its items that are in `kept`.
    #[must_use]
    pub fn keeping(&self, kept: &BTreeSet<Item>) -> Self {
        let mut plan = self.clone();
        for producer in &mut plan.producers {
            let client = producer.client;
            retain_places(&mut producer.sends, |index| kept.contains(&Item::Send { client, index }));
        }
        plan.producers.retain(|producer| !producer.sends.is_empty());
        plan.consumers.retain(|consumer| kept.contains(&Item::Consumer { client: consumer.client }));
        for configurator in &mut plan.configurators {
            let client = configurator.client;
            retain_places(&mut configurator.sets, |index| kept.contains(&Item::Set { client, index }));
        }
        plan.configurators.retain(|configurator| !configurator.sets.is_empty());
        for broker in &mut plan.brokers {
            let client = broker.client;
            retain_places(&mut broker.deeds, |index| kept.contains(&Item::BrokerDeed { client, index }));
        }
        plan.brokers.retain(|broker| !broker.deeds.is_empty());
        for gatekeeper in &mut plan.gatekeepers {
            let client = gatekeeper.client;
            retain_places(&mut gatekeeper.deeds, |index| {
                kept.contains(&Item::GatekeeperDeed { client, index })
            });
        }
        plan.gatekeepers.retain(|gatekeeper| !gatekeeper.deeds.is_empty());
        for operator in &mut plan.operators {
            let client = operator.client;
            retain_places(&mut operator.changes, |index| {
                kept.contains(&Item::QuorumChange { client, index })
            });
        }
        plan.operators.retain(|operator| !operator.changes.is_empty());
        retain_places(&mut plan.administration, |index| kept.contains(&Item::Administration { index }));
        for (fault, planned) in plan.faults.iter_mut().enumerate() {
            if let Fault::Crash { while_recovering, .. } = &mut planned.fault {
                retain_places(while_recovering, |index| kept.contains(&Item::RecoveryFault { fault, index }));
            }
        }
        retain_places(&mut plan.faults, |index| kept.contains(&Item::Fault { index }));
        retain_places(&mut plan.weather, |index| kept.contains(&Item::Weather { index }));
        for (node, planned) in plan.nodes.iter_mut().enumerate() {
            planned.properties.retain(|key, _| kept.contains(&Item::Property { node, key: key.clone() }));
        }
        plan
    }

    /// When an item of this plan begins to matter; 0 for what is there from the beginning.
    #[must_use]
    pub fn item_at_us(&self, item: &Item) -> u64 {
        let at = match item {
            Item::Send { client, index } => {
                let producer = self.producers.iter().find(|producer| producer.client == *client);
                producer.and_then(|producer| producer.sends.get(*index)).map(|send| send.at_us)
            }
            Item::Consumer { client } => {
                let consumer = self.consumers.iter().find(|consumer| consumer.client == *client);
                consumer.map(|consumer| consumer.start_us)
            }
            Item::Set { client, index } => {
                let configurator = self.configurators.iter().find(|it| it.client == *client);
                configurator.and_then(|it| it.sets.get(*index)).map(|set| set.at_us)
            }
            Item::BrokerDeed { client, index } => {
                let broker = self.brokers.iter().find(|it| it.client == *client);
                broker.and_then(|it| it.deeds.get(*index)).map(|deed| deed.at_us)
            }
            Item::GatekeeperDeed { client, index } => {
                let gatekeeper = self.gatekeepers.iter().find(|it| it.client == *client);
                gatekeeper.and_then(|it| it.deeds.get(*index)).map(|deed| deed.at_us)
            }
            Item::QuorumChange { client, index } => {
                let operator = self.operators.iter().find(|it| it.client == *client);
                operator.and_then(|it| it.changes.get(*index)).map(|change| change.at_us)
            }
            Item::Administration { index } => self.administration.get(*index).map(|planned| planned.at_us),
            Item::Fault { index } | Item::RecoveryFault { fault: index, .. } => {
                self.faults.get(*index).map(|planned| planned.at_us)
            }
            Item::Weather { index } => self.weather.get(*index).map(|change| change.at_us),
            Item::Property { .. } => None,
        };
        at.unwrap_or(0)
    }

    /// Items that are likely to go together: those of a client, those of a kind, those of a node. The largest come first.
    #[must_use]
    pub fn item_groups(&self) -> Vec<BTreeSet<Item>> {
        let mut groups: BTreeMap<(&str, u64), BTreeSet<Item>> = BTreeMap::new();
        for item in self.items() {
            let mut of = |kind: &'static str, number: u64| {
                groups.entry((kind, number)).or_default().insert(item.clone());
            };
            match &item {
                Item::Send { client, .. } => of("producer", *client),
                Item::Consumer { .. } => of("consumers", 0),
                Item::Set { client, .. } => of("configurator", *client),
                Item::BrokerDeed { client, .. } => of("broker", *client),
                Item::GatekeeperDeed { client, .. } => of("gatekeeper", *client),
                Item::QuorumChange { client, .. } => of("operator", *client),
                Item::Administration { .. } => of("administration", 0),
                Item::Fault { index } => {
                    let fault = &self.faults[*index].fault;
                    of("faults", 0);
                    of(fault.kind(), 0);
                    if let Some(node) = fault.node() {
                        of("faults of a node", node as u64);
                    }
                }
                Item::Weather { .. } => of("weather", 0),
                Item::RecoveryFault { .. } => of("recovery faults", 0),
                Item::Property { .. } => of("properties", 0),
            }
        }
        let mut groups: Vec<BTreeSet<Item>> = groups.into_values().collect();
        // The sort keeps the order of names among those of one size.
        groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
        groups
    }
}

/// Keeps the elements whose places are asked for.
fn retain_places<T>(elements: &mut Vec<T>, mut is_kept: impl FnMut(usize) -> bool) {
    let mut places = 0..;
    elements.retain(|_| places.next().is_some_and(&mut is_kept));
}

impl Fault {
    /// The word for what breaks, as it stands in a plan.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::Pause { .. } => "pause",
            Self::PauseClient { .. } => "pause_client",
            Self::ClockStep { .. } => "clock_step",
            Self::Cut { .. } => "cut",
            Self::Drop { .. } => "drop",
            Self::Clog { .. } => "clog",
            Self::Reset { .. } => "reset",
            Self::ResetNodes { .. } => "reset_nodes",
            Self::Duplicate { .. } => "duplicate",
            Self::Disk { how, .. } => match how {
                DiskFault::FailWrites { .. } => "fail_writes",
                DiskFault::FailReads { .. } => "fail_reads",
                DiskFault::FailSyncs { .. } => "fail_syncs",
                DiskFault::Full { .. } => "full",
                DiskFault::Stall { .. } => "stall",
                DiskFault::LoseDirectory { .. } => "lost directory",
                DiskFault::PhantomWrites { .. } => "phantom_writes",
                DiskFault::MisdirectedWrites { .. } => "misdirected_writes",
                DiskFault::Rot { .. } => "rot",
                DiskFault::Lose { .. } => "lose",
            },
        }
    }

    fn while_recovering(&self) -> &[RecoveryFaultPlan] {
        match self {
            Self::Crash { while_recovering, .. } => while_recovering,
            Self::Pause { .. }
            | Self::PauseClient { .. }
            | Self::ClockStep { .. }
            | Self::Cut { .. }
            | Self::Drop { .. }
            | Self::Clog { .. }
            | Self::Reset { .. }
            | Self::ResetNodes { .. }
            | Self::Duplicate { .. }
            | Self::Disk { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mutation;
    use super::*;

    fn all(plan: &Plan) -> BTreeSet<Item> {
        plan.items().into_iter().collect()
    }

    #[test]
    fn a_plan_that_keeps_all_its_items_is_itself() {
        for seed in 0..200 {
            let plan = Plan::draw(seed);
            let kept = all(&plan);
            assert_eq!(kept.len(), plan.items().len(), "seed {seed}: an item stands there once");
            // A draw may end before its first batch.
            let mut whole = plan.clone();
            whole.producers.retain(|producer| !producer.sends.is_empty());
            whole.configurators.retain(|configurator| !configurator.sets.is_empty());
            whole.brokers.retain(|broker| !broker.deeds.is_empty());
            whole.gatekeepers.retain(|gatekeeper| !gatekeeper.deeds.is_empty());
            whole.operators.retain(|operator| !operator.changes.is_empty());
            assert_eq!(plan.keeping(&kept), whole, "seed {seed}");
        }
    }

    #[test]
    fn a_plan_that_keeps_nothing_is_a_cluster_that_nobody_talks_to() {
        for seed in 0..200 {
            let plan = Plan { mutation: Some(Mutation::TopicForgotten), ..Plan::draw(seed) };
            let bare = plan.keeping(&BTreeSet::new());
            assert_eq!((bare.items(), bare.problem()), (Vec::new(), None), "seed {seed}");
            assert_eq!((&bare.topics, bare.mutation), (&plan.topics, plan.mutation));
        }
    }

    #[test]
    fn the_order_in_which_items_leave_does_not_matter_to_those_that_stay() {
        for seed in 0..100 {
            let plan = Plan::draw(seed);
            let items = plan.items();
            // Every third item goes, from the front in one plan and from the back in the other, one at a time.
            let gone: Vec<&Item> = items.iter().step_by(3).collect();
            let (mut forward, mut backward) = (all(&plan), all(&plan));
            for (first, last) in gone.iter().zip(gone.iter().rev()) {
                forward.remove(*first);
                backward.remove(*last);
                for kept in [&forward, &backward] {
                    let smaller = plan.keeping(kept);
                    assert_eq!(smaller.problem(), None, "seed {seed}");
                    for producer in &smaller.producers {
                        let whole = plan.producers.iter().find(|whole| whole.client == producer.client);
                        let whole = whole.expect("no client appears");
                        assert!(producer.sends.iter().all(|send| whole.sends.contains(send)), "seed {seed}");
                    }
                }
            }
            assert_eq!(plan.keeping(&forward), plan.keeping(&backward), "seed {seed}");
        }
    }

    #[test]
    fn a_recovery_fault_leaves_with_the_fault_it_follows() {
        let with_one = |plan: &Plan| {
            plan.items().into_iter().find_map(|item| match item {
                Item::RecoveryFault { fault, .. } => Some(fault),
                Item::Send { .. }
                | Item::Consumer { .. }
                | Item::Set { .. }
                | Item::BrokerDeed { .. }
                | Item::GatekeeperDeed { .. }
                | Item::QuorumChange { .. }
                | Item::Administration { .. }
                | Item::Fault { .. }
                | Item::Weather { .. }
                | Item::Property { .. } => None,
            })
        };
        let (plan, fault) = (0..50)
            .map(Plan::draw)
            .find_map(|plan| Some((with_one(&plan)?, plan)).map(|(fault, plan)| (plan, fault)))
            .expect("some seed has a crash in recovery");
        let mut kept = all(&plan);
        kept.remove(&Item::Fault { index: fault });
        let smaller = plan.keeping(&kept);
        assert_eq!(smaller.faults.len() + 1, plan.faults.len());
        assert!(smaller.items().len() < kept.len(), "its recovery faults were kept by name and are gone");
    }

    #[test]
    fn every_item_is_in_some_group() {
        for seed in 0..100 {
            let plan = Plan::draw(seed);
            let grouped: BTreeSet<Item> = plan.item_groups().into_iter().flatten().collect();
            assert_eq!(grouped, all(&plan), "seed {seed}");
        }
    }
}
