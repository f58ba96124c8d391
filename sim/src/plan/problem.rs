//! What makes a plan one that cannot be run. A plan that was drawn has nothing of the kind; one that a person wrote may,
//! and what it gets wrong must not be taken for a failure of the core.

use super::{
    AdminDeed, BrokerDeed, BrokerPlan, Codec, ConfiguratorPlan, ConsumerPlan, DiskAfter, DiskFault, End,
    Fault, FileKind, GatekeeperDeed, GatekeeperPlan, OperatorPlan, Plan, PlannedAcl, PlannedFilter,
    ProducerPlan, Range, SendPlan, TopicPlan, exhibit,
};
use serde_json::Value;
use sordini_core::config::broker::Origin;
use sordini_core::config::{BrokerConfig, Overrides, Str, topic};
use sordini_protocol::api_key::ApiKey;
use std::collections::BTreeSet;
use std::fmt;

/// A sentence, if something is wrong.
type Judgement = Result<(), String>;

/// A hundred years: no time of a plan is later, and no clock is set further forward or back.
const TIME_MAX_US: u64 = 3_155_760_000_000_000;
const CLOCK_MAX_MS: i64 = 3_155_760_000_000;
/// Clocks go, and between a tenth and twice as fast as they should.
const DRIFT_MAX_PPM: i32 = 900_000;
/// Clients that no plan has, who read what is left at the end, have the numbers behind.
const CLIENT_MAX: u64 = 999_999;
/// Kafka creates no more partitions in one request, and all topics of a plan are created by one.
const PARTITIONS_MAX: i64 = 10_000;
/// Kafka's longest topic name.
const TOPIC_NAME_BYTES_MAX: usize = 249;
/// A node remembers so many batches of an idempotent producer.
const IDEMPOTENT_IN_FLIGHT_MAX: u32 = 5;
/// Addresses are given to as many.
const VOTERS_MAX: usize = 9;
/// What a record takes beside its value, at most, and what a batch takes beside its records.
const RECORD_BYTES: u64 = 30;
const BATCH_BYTES: u64 = 61;
/// The first versions in which Zstandard is allowed (KIP-110).
const ZSTD_PRODUCE_VERSION: i16 = 7;
const ZSTD_FETCH_VERSION: i16 = 10;
/// The first version with fetch sessions (KIP-227).
const SESSION_FETCH_VERSION: i16 = 7;

/// Settings of a topic that an administrator may change under way. What the others say, checks and clients know from the
/// plan alone.
const ALTERABLE: [&str; 4] =
    ["max.message.bytes", "file.delete.delay.ms", "segment.jitter.ms", "retention.ms"];
/// Of `retention.ms` that it ends: what may go is judged by the plan, and then less goes.
const RETENTION_ENDS: &str = "-1";

/// Properties of a node that would change for all topics what checks and clients know from the plan alone.
const UNKNOWN_TO_CHECKS: [&str; 7] = [
    "compression.type",
    "delete.topic.enable",
    "log.cleanup.policy",
    "log.message.timestamp.type",
    "log.retention.bytes",
    "log.retention.hours",
    "log.retention.minutes",
];

impl Plan {
    /// What makes this plan one that cannot be run by any program, with the museum or without.
    #[must_use]
    pub fn problem_anywhere(&self) -> Option<String> {
        self.judge().err()
    }

    fn judge(&self) -> Judgement {
        if self.version != Self::VERSION {
            return Err(format!("it is of version {} and this reads {}", self.version, Self::VERSION));
        }
        if self.nodes.is_empty() {
            return Err("it has no nodes".to_owned());
        }
        let json = serde_json::to_value(self).map_err(|error| error.to_string())?;
        judge_times(&json, false).map_err(|why| why.trim_start_matches('.').to_owned())?;
        let configs = (0..self.nodes.len())
            .map(|node| self.judge_node(node))
            .collect::<Result<Vec<BrokerConfig>, String>>()?;
        self.judge_quorum()?;
        self.judge_topics(&configs)?;
        for (name, range) in [
            ("to_node_us", self.network.to_node_us),
            ("to_client_us", self.network.to_client_us),
            ("between_nodes_us", self.network.between_nodes_us),
        ] {
            judge_range(&format!("network.{name}"), range)?;
        }
        at_most("network.encoded_per_mille", self.network.encoded_per_mille, 1_000)?;
        for (index, producer) in self.producers.iter().enumerate() {
            self.judge_producer(&format!("producers[{index}]"), producer)?;
        }
        for (index, consumer) in self.consumers.iter().enumerate() {
            self.judge_consumer(&format!("consumers[{index}]"), consumer)?;
        }
        for (index, configurator) in self.configurators.iter().enumerate() {
            self.judge_configurator(&format!("configurators[{index}]"), configurator)?;
        }
        for (index, broker) in self.brokers.iter().enumerate() {
            self.judge_broker(&format!("brokers[{index}]"), broker)?;
        }
        for (index, gatekeeper) in self.gatekeepers.iter().enumerate() {
            self.judge_gatekeeper(&format!("gatekeepers[{index}]"), gatekeeper)?;
        }
        for (index, operator) in self.operators.iter().enumerate() {
            self.judge_operator(&format!("operators[{index}]"), operator)?;
        }
        self.judge_client_numbers()?;
        for (index, planned) in self.administration.iter().enumerate() {
            let place = format!("administration[{index}]");
            self.judge_node_of(&place, planned.node)?;
            self.judge_deed(&place, &planned.deed, &configs)?;
        }
        for (index, planned) in self.faults.iter().enumerate() {
            self.judge_fault(&format!("faults[{index}]"), &planned.fault)?;
        }
        if !self.weather.is_sorted_by_key(|change| change.at_us) {
            return Err("weather: it does not change in the order of times".to_owned());
        }
        self.museum.iter().try_for_each(|name| exhibit(name).map(drop))
    }

    /// A plan is about a quorum or about clusters of one node each.
    fn judge_quorum(&self) -> Judgement {
        let controllers = self.controllers().count();
        match self.first_voters {
            Some(_) if controllers == 0 => {
                return Err("first_voters: no node is a controller".to_owned());
            }
            Some(first) => {
                at_least("first_voters", first, 1)?;
                at_most("first_voters", first, controllers)?;
            }
            None => {}
        }
        self.first_levels().map_err(|error| format!("metadata_version: {error}"))?;
        if controllers == 0 {
            for (what, is_there) in [
                ("configurators", !self.configurators.is_empty()),
                ("gatekeepers", !self.gatekeepers.is_empty()),
                ("brokers", !self.brokers.is_empty()),
                ("operators", !self.operators.is_empty()),
                ("metadata_version", self.metadata_version.is_some()),
            ] {
                if is_there {
                    return Err(format!("{what}: they are of a quorum, and no node is a controller"));
                }
            }
            return Ok(());
        }
        if !self.nodes.iter().all(|node| node.role.is_member()) {
            return Err("nodes: either all of them are of one cluster or none".to_owned());
        }
        if !self.nodes.is_sorted_by_key(|node| !node.role.is_voter()) {
            return Err("nodes: those that vote come first".to_owned());
        }
        at_most("nodes: the voters of a quorum", controllers, VOTERS_MAX)?;
        for (what, is_empty) in [
            ("topics", self.topics.is_empty()),
            ("producers", self.producers.is_empty()),
            ("consumers", self.consumers.is_empty()),
        ] {
            if !is_empty && self.cluster_brokers().next().is_none() {
                return Err(format!("{what}: controllers alone have no room for them"));
            }
        }
        self.judge_clients_of_a_cluster()
    }

    /// A client of a cluster has one connection, to the leader of its partition.
    pub(super) fn judge_clients_of_a_cluster(&self) -> Judgement {
        if self.cluster_brokers().next().is_none() {
            return Ok(());
        }
        let judge = |place: String, node: usize, partitions: &BTreeSet<(usize, i32)>| {
            self.judge_node_of(&place, node)?;
            if !self.nodes[node].role.is_broker() {
                return Err(format!("{place}.node: it talks to brokers, and node {node} is none"));
            }
            at_most(format_args!("{place}: the partitions of a client of a cluster"), partitions.len(), 1)
        };
        for (index, producer) in self.producers.iter().enumerate() {
            let partitions = producer.sends.iter().map(|send| (send.topic, send.partition)).collect();
            judge(format!("producers[{index}]"), producer.node, &partitions)?;
        }
        for (index, consumer) in self.consumers.iter().enumerate() {
            judge(
                format!("consumers[{index}]"),
                consumer.node,
                &consumer.assignment.iter().copied().collect(),
            )?;
        }
        Ok(())
    }

    fn judge_configurator(&self, place: &str, configurator: &ConfiguratorPlan) -> Judgement {
        self.judge_node_of(place, configurator.node)?;
        at_least(format_args!("{place}.request_timeout_us"), configurator.request_timeout_us, 1)?;
        at_most(
            format_args!("{place}.sets: their number"),
            configurator.sets.len(),
            ConfiguratorPlan::SETS_MAX,
        )?;
        for (index, set) in configurator.sets.iter().enumerate() {
            at_most(format_args!("{place}.sets[{index}].key"), set.key, ConfiguratorPlan::KEYS.len() - 1)?;
        }
        if !configurator.sets.is_sorted_by_key(|set| set.at_us) {
            return Err(format!("{place}.sets: they are not in the order of times"));
        }
        Ok(())
    }

    fn judge_gatekeeper(&self, place: &str, gatekeeper: &GatekeeperPlan) -> Judgement {
        self.judge_node_of(place, gatekeeper.node)?;
        at_least(format_args!("{place}.request_timeout_us"), gatekeeper.request_timeout_us, 1)?;
        let GatekeeperPlan { deeds, .. } = gatekeeper;
        at_most(format_args!("{place}.deeds: their number"), deeds.len(), GatekeeperPlan::DEEDS_MAX)?;
        for (index, planned) in deeds.iter().enumerate() {
            let place = format!("{place}.deeds[{index}]");
            match &planned.deed {
                GatekeeperDeed::Create { acls } => {
                    at_least(format_args!("{place}.acls: their number"), acls.len(), 1)?;
                    at_most(
                        format_args!("{place}.acls: their number"),
                        acls.len(),
                        GatekeeperPlan::ACLS_MAX,
                    )?;
                    for acl in acls {
                        at_most(format_args!("{place}.acls"), *acl, PlannedAcl::COUNT - 1)?;
                    }
                }
                GatekeeperDeed::Delete { filter } | GatekeeperDeed::Describe { filter } => {
                    at_most(format_args!("{place}.filter"), *filter, PlannedFilter::COUNT - 1)?;
                }
            }
        }
        if !deeds.is_sorted_by_key(|planned| planned.at_us) {
            return Err(format!("{place}.deeds: they are not in the order of times"));
        }
        Ok(())
    }

    fn judge_broker(&self, place: &str, broker: &BrokerPlan) -> Judgement {
        self.judge_node_of(place, broker.node)?;
        if !self.nodes[broker.node].role.is_voter() {
            return Err(format!("{place}.node: it talks to a controller, and node {} is none", broker.node));
        }
        at_least(format_args!("{place}.client"), broker.client, self.nodes.len() as u64 + 1)?;
        at_least(format_args!("{place}.request_timeout_us"), broker.request_timeout_us, 1)?;
        at_least(format_args!("{place}.heartbeat_us"), broker.heartbeat_us, 1_000)?;
        at_most(format_args!("{place}.deeds: their number"), broker.deeds.len(), BrokerPlan::DEEDS_MAX)?;
        for (index, planned) in broker.deeds.iter().enumerate() {
            if let BrokerDeed::CreateTopic { partitions, replicas } = planned.deed {
                at_least(format_args!("{place}.deeds[{index}].partitions"), partitions, 1)?;
                at_most(format_args!("{place}.deeds[{index}].partitions"), partitions, 100)?;
                at_least(format_args!("{place}.deeds[{index}].replicas"), replicas, 1)?;
            }
            if let BrokerDeed::Reassign { replicas, .. } = planned.deed {
                at_least(format_args!("{place}.deeds[{index}].replicas"), replicas, 1)?;
            }
            if let BrokerDeed::SetMinIsr { replicas: Some(replicas), .. } = planned.deed {
                at_least(format_args!("{place}.deeds[{index}].replicas"), replicas, 1)?;
            }
        }
        if !broker.deeds.is_sorted_by_key(|planned| planned.at_us) {
            return Err(format!("{place}.deeds: they are not in the order of times"));
        }
        Ok(())
    }

    fn judge_operator(&self, place: &str, operator: &OperatorPlan) -> Judgement {
        let judge_controller = |place: &str, node: usize| {
            self.judge_node_of(place, node)?;
            if self.nodes[node].role.is_voter() {
                return Ok(());
            }
            Err(format!("{place}: it is about controllers, and node {node} is none"))
        };
        judge_controller(place, operator.node)?;
        at_least(format_args!("{place}.request_timeout_us"), operator.request_timeout_us, 1)?;
        for (index, planned) in operator.changes.iter().enumerate() {
            if let Some(node) = planned.change.node() {
                judge_controller(&format!("{place}.changes[{index}]"), node)?;
            }
        }
        if !operator.changes.is_sorted_by_key(|planned| planned.at_us) {
            return Err(format!("{place}.changes: they are not in the order of times"));
        }
        Ok(())
    }

    /// Whether each batch fits into a segment of its topic.
    pub(super) fn every_batch_fits(&self) -> bool {
        let mut sends = self.producers.iter().flat_map(|producer| &producer.sends);
        sends.all(|send| send.bytes_max() <= u64::from(self.topics[send.topic].segment_bytes))
    }

    fn judge_topics(&self, configs: &[BrokerConfig]) -> Judgement {
        let mut names = BTreeSet::new();
        let mut partitions = 0;
        for (index, planned) in self.topics.iter().enumerate() {
            let place = format!("topics[{index}]");
            let name = &*planned.name;
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if !(1..=TOPIC_NAME_BYTES_MAX).contains(&name.len())
                || !name.bytes().all(is_legal)
                || matches!(name, "." | "..")
                || name.starts_with("__")
            {
                return Err(format!(
                    "{place}.name: {name:?} is no name for a topic: 1 to {TOPIC_NAME_BYTES_MAX} ASCII letters, digits, \
                     dots, underscores and dashes, not a dot or two alone, and not the two underscores of Kafka's own"
                ));
            }
            // Metric names do not tell the two apart, and Kafka refuses the second.
            if !names.insert(name.replace('.', "_")) {
                return Err(format!(
                    "{place}.name: {name:?} is taken: names differ in more than dots and underscores"
                ));
            }
            if planned.partitions < 1 {
                return Err(format!(
                    "{place}.partitions: a topic has at least 1, not {}",
                    planned.partitions
                ));
            }
            let brokers = self.cluster_brokers().count().max(1);
            at_least(format_args!("{place}.replicas"), planned.replicas, 1)?;
            at_most(format_args!("{place}.replicas"), planned.replicas, brokers)?;
            if let Some(min_isr) = planned.min_isr {
                at_least(format_args!("{place}.min_isr"), min_isr, 1)?;
            }
            partitions += i64::from(planned.partitions);
            judge_topic_config(&place, planned, None, configs)?;
        }
        at_most("topics: the partitions of all", partitions, PARTITIONS_MAX)
    }

    fn judge_producer(&self, place: &str, producer: &ProducerPlan) -> Judgement {
        self.judge_node_of(place, producer.node)?;
        if !matches!(producer.acks, -1..=1) {
            return Err(format!("{place}.acks: -1, 0 or 1, not {}", producer.acks));
        }
        at_least(format_args!("{place}.in_flight_max"), producer.in_flight_max, 1)?;
        at_least(format_args!("{place}.request_timeout_us"), producer.request_timeout_us, 1)?;
        if producer.is_idempotent {
            if producer.acks != -1 {
                return Err(format!("{place}.acks: -1 of an idempotent producer, not {}", producer.acks));
            }
            at_most(
                format_args!("{place}.in_flight_max of an idempotent producer"),
                producer.in_flight_max,
                IDEMPOTENT_IN_FLIGHT_MAX,
            )?;
        }
        judge_version(place, ApiKey::Produce, producer.api_version)?;
        for (index, send) in producer.sends.iter().enumerate() {
            self.judge_send(format_args!("{place}.sends[{index}]"), send, producer)?;
        }
        if !producer.sends.is_sorted_by_key(|send| send.at_us) {
            return Err(format!("{place}.sends: they are not in the order of times"));
        }
        Ok(())
    }

    fn judge_send(&self, place: fmt::Arguments<'_>, send: &SendPlan, producer: &ProducerPlan) -> Judgement {
        let topic = self.judge_partition(place, send.topic, Some(send.partition))?;
        at_least(format_args!("{place}.records"), send.records, 1)?;
        at_least(format_args!("{place}.value_bytes"), send.value_bytes, SendPlan::VALUE_BYTES_MIN)?;
        at_most(format_args!("{place}.value_bytes"), send.value_bytes, SendPlan::VALUE_BYTES_MAX)?;
        at_most(
            format_args!("{place}: the bytes of a batch, which a segment of its topic has room for"),
            send.bytes_max(),
            u64::from(topic.segment_bytes),
        )?;
        if send.codec == Codec::Zstd {
            at_least(
                format_args!("{place}: the api_version of a producer that sends zstd"),
                producer.api_version,
                ZSTD_PRODUCE_VERSION,
            )?;
        }
        Ok(())
    }

    fn judge_consumer(&self, place: &str, consumer: &ConsumerPlan) -> Judgement {
        self.judge_node_of(place, consumer.node)?;
        for (index, (topic, partition)) in consumer.assignment.iter().enumerate() {
            self.judge_partition(format_args!("{place}.assignment[{index}]"), *topic, Some(*partition))?;
        }
        judge_version(place, ApiKey::Fetch, consumer.api_version)?;
        if consumer.has_sessions {
            at_least(
                format_args!("{place}.api_version with sessions"),
                consumer.api_version,
                SESSION_FETCH_VERSION,
            )?;
        }
        let is_read = |send: &SendPlan| consumer.assignment.contains(&(send.topic, send.partition));
        let mut sends = self.producers.iter().flat_map(|producer| &producer.sends);
        if sends.any(|send| send.codec == Codec::Zstd && is_read(send)) {
            at_least(
                format_args!("{place}.api_version where zstd is read"),
                consumer.api_version,
                ZSTD_FETCH_VERSION,
            )?;
        }
        at_least(format_args!("{place}.request_timeout_us"), consumer.request_timeout_us, 1)?;
        for (name, value) in [
            ("max_wait_ms", consumer.max_wait_ms),
            ("min_bytes", consumer.min_bytes),
            ("max_bytes", consumer.max_bytes),
            ("partition_max_bytes", consumer.partition_max_bytes),
        ] {
            at_least(format_args!("{place}.{name}"), value, 0)?;
        }
        Ok(())
    }

    fn judge_client_numbers(&self) -> Judgement {
        let of_producers = self.producers.iter().map(|producer| producer.client);
        let of_consumers = self.consumers.iter().map(|consumer| consumer.client);
        let of_admins = (0..self.nodes.len()).map(Self::admin_of);
        let mut taken = BTreeSet::new();
        let of_configurators = self.configurators.iter().map(|configurator| configurator.client);
        let of_brokers = self.brokers.iter().map(|broker| broker.client);
        let of_operators = self.operators.iter().map(|operator| operator.client);
        let of_gatekeepers = self.gatekeepers.iter().map(|gatekeeper| gatekeeper.client);
        let of_quorums = of_configurators.chain(of_brokers).chain(of_operators).chain(of_gatekeepers);
        for number in of_admins.chain(of_producers).chain(of_consumers).chain(of_quorums) {
            at_most("the number of a client", number, CLIENT_MAX)?;
            if !taken.insert(number) {
                return Err(format!("two clients have the number {number}"));
            }
        }
        Ok(())
    }

    fn judge_deed(&self, place: &str, deed: &AdminDeed, configs: &[BrokerConfig]) -> Judgement {
        let mut copy = deed.clone();
        let (topic, partition) = copy.place();
        let planned = self.judge_partition(place, *topic, partition.map(|partition| *partition))?;
        let is_cluster = self.controllers().next().is_some();
        if deed.is_of_cluster() != is_cluster && !deed.is_of_any() {
            let what = if is_cluster { "a cluster" } else { "nodes that are clusters of their own" };
            return Err(format!("{place}.deed: it is none that is asked of {what}"));
        }
        match deed {
            AdminDeed::DeleteRecords { per_cent, .. } => {
                at_most(format_args!("{place}.deed.per_cent"), *per_cent, 100)
            }
            AdminDeed::AlterConfig { key, value, .. } => {
                if !ALTERABLE.contains(&&**key) || (key == "retention.ms" && value != RETENTION_ENDS) {
                    return Err(format!(
                        "{place}.deed: {key}={value} would change what checks know from the plan; {} can be set, \
                         retention.ms to {RETENTION_ENDS} alone",
                        ALTERABLE.join(", ")
                    ));
                }
                judge_topic_config(&format!("{place}.deed"), planned, Some((key, value)), configs)
            }
            AdminDeed::AddPartitions { more, .. } => {
                at_least(format_args!("{place}.deed.more"), *more, 1)?;
                let all = i64::from(planned.partitions) + i64::from(*more);
                at_most(format_args!("{place}.deed: all partitions of a topic"), all, PARTITIONS_MAX)
            }
            AdminDeed::FetchOfOtherEpoch { leader_epoch, last_fetched_epoch, .. } => {
                at_least(format_args!("{place}.deed.leader_epoch"), *leader_epoch, -1)?;
                at_least(format_args!("{place}.deed.last_fetched_epoch"), *last_fetched_epoch, -1)
            }
            AdminDeed::RecreateTopic { .. }
            | AdminDeed::NameTopicTwice { .. }
            | AdminDeed::LookUpTime { .. }
            | AdminDeed::WriteSpoiled { .. }
            | AdminDeed::ElectPreferred { .. }
            | AdminDeed::ElectUncleanly { .. } => Ok(()),
            AdminDeed::MoveReplica { dir, .. } => {
                let most = self.nodes.iter().map(|node| node.log_dirs).max().unwrap_or(1) - 1;
                at_most(format!("{place}.deed.dir"), *dir, most)
            }
            AdminDeed::Throttle { bytes_per_second, .. } => {
                let rate = bytes_per_second.unwrap_or(0);
                at_most(format_args!("{place}.deed.bytes_per_second"), rate, i64::MAX.cast_unsigned())
            }
            AdminDeed::Reassign { brokers, .. } | AdminDeed::Lead { brokers, .. } => {
                let is_broker = |node: &usize| self.cluster_brokers().any(|broker| broker == *node);
                if !brokers.iter().all(is_broker) {
                    return Err(format!("{place}.deed.brokers: not all of {brokers:?} are brokers"));
                }
                if brokers.iter().collect::<BTreeSet<_>>().len() < brokers.len() {
                    return Err(format!("{place}.deed.brokers: {brokers:?} names one twice"));
                }
                let min_isr = planned.min_isr.unwrap_or(1);
                if !brokers.is_empty() {
                    at_least(format_args!("{place}.deed.brokers: their number"), brokers.len(), min_isr)?;
                }
                Ok(())
            }
        }
    }

    fn judge_fault(&self, place: &str, fault: &Fault) -> Judgement {
        if let Some(node) = fault.node() {
            self.judge_node_of(place, node)?;
        }
        match fault {
            Fault::Crash { disk: DiskAfter::Of(other), node, .. } if other == node => {
                Err(format!("{place}: node {node} is given its own disk as that of another"))
            }
            Fault::Crash { disk: DiskAfter::Empty, .. }
                if self.controllers().next().is_some() && self.first_voters.is_none() =>
            {
                Err(format!("{place}: a voter with an empty disk is another voter, and the quorum is static"))
            }
            Fault::Crash { disk: DiskAfter::Of(other), .. } => self.judge_node_of(place, *other),
            Fault::Disk { how: DiskFault::LoseDirectory { dir, .. }, node } => {
                at_most(format_args!("{place}.dir"), *dir, self.nodes[*node].log_dirs - 1)
            }
            Fault::ClockStep { by_ms, .. } => judge_clock(&format!("{place}.by_ms"), *by_ms),
            Fault::Cut { from, to, .. } | Fault::Drop { from, to, .. } | Fault::Clog { from, to, .. } => {
                [from, to].into_iter().try_for_each(|end| match end {
                    End::Node(node) => self.judge_node_of(place, *node),
                    End::Client(_) => Ok(()),
                })
            }
            Fault::Reset { node, .. } | Fault::Duplicate { node, .. } => self.judge_node_of(place, *node),
            Fault::ResetNodes { from, to } if from == to => {
                Err(format!("{place}: node {from} has no connection to itself"))
            }
            Fault::ResetNodes { from, to } => {
                self.judge_node_of(place, *from)?;
                self.judge_node_of(place, *to)
            }
            Fault::Disk { how: DiskFault::Lose { files }, .. }
                if !matches!(files, FileKind::Checkpoint | FileKind::Index | FileKind::Snapshot) =>
            {
                Err(format!("{place}: without {files:?} nobody can know what there was"))
            }
            Fault::Crash { .. } | Fault::Pause { .. } | Fault::PauseClient { .. } | Fault::Disk { .. } => {
                Ok(())
            }
        }
    }

    /// Asks the core whether it would start, and answers with the configuration that it would have.
    fn judge_node(&self, node: usize) -> Result<BrokerConfig, String> {
        let planned = &self.nodes[node];
        let place = format!("nodes[{node}]");
        let mut entries = planned.properties.clone();
        for (key, value) in self.fixed_properties(node) {
            let own = entries.insert(key.to_owned(), value.clone());
            if let Some(own) = own.filter(|own| *own != value) {
                return Err(format!(
                    "{place}.properties: {key} is {value} and cannot be {own}: each node stands alone, at an address and on \
                     a disk of its own"
                ));
            }
        }
        at_least(format_args!("{place}.log_dirs"), planned.log_dirs, 1)?;
        if let Some(key) = UNKNOWN_TO_CHECKS.into_iter().find(|key| entries.contains_key(*key)) {
            return Err(format!(
                "{place}.properties: {key} would change for all topics what checks know from the plan; retention and whose \
                 times records have are settings of a topic, and log.retention.ms can be set"
            ));
        }
        for (name, range) in [
            ("write_us", planned.disk.write_us),
            ("read_us", planned.disk.read_us),
            ("sync_us", planned.disk.sync_us),
            ("answer_us", planned.disk.answer_us),
        ] {
            judge_range(&format!("{place}.disk.{name}"), range)?;
        }
        judge_clock(&format!("{place}.clock.offset_ms"), planned.clock.offset_ms)?;
        let drift = format!("{place}.clock.drift_ppm");
        at_least(&drift, planned.clock.drift_ppm, -DRIFT_MAX_PPM)?;
        at_most(&drift, planned.clock.drift_ppm, DRIFT_MAX_PPM)?;
        let entries = entries.into_iter().map(|(key, value)| (key, value, Origin::BuiltIn));
        let config = BrokerConfig::from_entries(entries).map(|(config, _)| config);
        config.map_err(|problems| {
            let sentences: Vec<String> =
                problems.iter().map(|problem| format!("{}: {}", problem.key, problem.reason)).collect();
            format!("{place}.properties: {}", sentences.join("; "))
        })
    }

    fn judge_node_of(&self, place: &str, node: usize) -> Judgement {
        let nodes = self.nodes.len();
        if node < nodes {
            return Ok(());
        }
        Err(format!("{place}: there is no node {node}; the plan has {nodes}, the first of them 0"))
    }

    /// The topic of a place in the plan, if it has that partition.
    fn judge_partition(
        &self,
        place: impl fmt::Display,
        topic: usize,
        partition: Option<i32>,
    ) -> Result<&TopicPlan, String> {
        let topics = self.topics.len();
        let planned = self.topics.get(topic).ok_or_else(|| {
            format!("{place}: there is no topic {topic}; the plan has {topics}, the first of them 0")
        })?;
        match partition.filter(|partition| !(0..planned.partitions).contains(partition)) {
            None => Ok(planned),
            Some(partition) => Err(format!(
                "{place}: there is no partition {partition} of topic {topic}, which has {} from 0 on",
                planned.partitions
            )),
        }
    }
}

impl SendPlan {
    /// How long its batch is, at most.
    pub(super) fn bytes_max(&self) -> u64 {
        u64::from(self.records) * (u64::from(self.value_bytes) + RECORD_BYTES) + BATCH_BYTES
    }
}

/// No time or duration lies beyond what can be added up. A plan has many, and is judged before every run: where one stands is
/// told when it is too large.
fn judge_times(json: &Value, is_time: bool) -> Judgement {
    match json {
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            judge_times(value, is_time || key.ends_with("_us")).map_err(|why| format!(".{key}{why}"))
        }),
        Value::Array(entries) => entries.iter().enumerate().try_for_each(|(index, entry)| {
            judge_times(entry, is_time).map_err(|why| format!("[{index}]{why}"))
        }),
        Value::Number(number) if is_time => at_most("", number.as_u64().unwrap_or(u64::MAX), TIME_MAX_US),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Asks the core whether every node would take the settings of a topic, with one of them altered.
fn judge_topic_config(
    place: &str,
    planned: &TopicPlan,
    altered: Option<(&str, &str)>,
    configs: &[BrokerConfig],
) -> Judgement {
    let planned = planned.configs();
    let planned = planned.iter().map(|(key, value)| (*key, &**value));
    let overrides: Overrides =
        planned.chain(altered).map(|(key, value)| (Str::from(key), Str::from(value))).collect();
    let none = Overrides::new();
    configs.iter().try_for_each(|config| {
        topic::validate(&overrides, &config.layers(&none, &none)).map_err(|error| format!("{place}: {error}"))
    })
}

fn judge_version(place: &str, api: ApiKey, version: i16) -> Judgement {
    let versions = api.stable_versions();
    if versions.contains(&version) {
        return Ok(());
    }
    let (first, last) = (versions.start(), versions.end());
    Err(format!("{place}.api_version: {api:?} has the versions {first} to {last}, not {version}"))
}

fn judge_range(place: &str, range: Range) -> Judgement {
    if range.low <= range.high {
        return Ok(());
    }
    Err(format!("{place}: from {} to {} there is nothing; low is at most high", range.low, range.high))
}

fn judge_clock(place: &str, millis: i64) -> Judgement {
    at_least(place, millis, -CLOCK_MAX_MS)?;
    at_most(place, millis, CLOCK_MAX_MS)
}

fn at_least<T: PartialOrd + fmt::Display>(place: impl fmt::Display, value: T, least: T) -> Judgement {
    if value >= least { Ok(()) } else { Err(format!("{place}: at least {least}, not {value}")) }
}

fn at_most<T: PartialOrd + fmt::Display>(place: impl fmt::Display, value: T, most: T) -> Judgement {
    if value <= most { Ok(()) } else { Err(format!("{place}: at most {most}, not {value}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{AdminPlan, FaultPlan, WeatherChange};

    #[track_caller]
    fn assert_refused(says: &str, spoil: impl FnOnce(&mut Plan)) {
        let mut plan = Plan::reference();
        spoil(&mut plan);
        let problem = plan.problem_anywhere();
        assert!(problem.as_ref().is_some_and(|problem| problem.contains(says)), "{says}: {problem:?}");
    }

    fn set(plan: &mut Plan, key: &str, value: &str) {
        plan.nodes[0].properties.insert(key.to_owned(), value.to_owned());
    }

    fn ask(plan: &mut Plan, deed: AdminDeed) {
        plan.administration.push(AdminPlan { at_us: 1, node: 0, deed });
    }

    #[test]
    fn what_the_core_refuses_to_start_with_is_no_plan() {
        assert_refused("nodes[0].properties: num.partition", |plan| set(plan, "num.partition", "1"));
        assert_refused("nodes[0].properties: num.partitions", |plan| set(plan, "num.partitions", "many"));
        assert_refused("nodes[0].properties: num.partitions", |plan| set(plan, "num.partitions", "0"));
        assert_refused("process.roles is broker,controller and cannot be broker: each node", |plan| {
            set(plan, "process.roles", "broker");
        });
        assert_refused("log.retention.bytes would change for all topics", |plan| {
            set(plan, "log.retention.bytes", "1");
        });
        assert_refused("node.id is 1 and cannot be 7", |plan| set(plan, "node.id", "7"));
    }

    #[test]
    fn topics_that_the_core_refuses_are_no_plan() {
        for name in ["", "a/b", ".", "..", "__consumer_offsets", "ä", &"x".repeat(250)] {
            assert_refused("topics[0].name: ", |plan| plan.topics[0].name = name.to_owned());
        }
        assert_refused("topics[1].name: \"orders\" is taken", |plan| {
            plan.topics.push(plan.topics[0].clone());
        });
        assert_refused("topics[0].partitions: a topic has at least 1, not 0", |plan| {
            plan.topics[0].partitions = 0;
        });
        assert_refused("topics: the partitions of all: at most 10000", |plan| {
            plan.topics[0].partitions = 10_001;
        });
        assert_refused("topics[0]: ", |plan| plan.topics[0].flush_messages = Some(0));
        assert_refused("topics[0]: ", |plan| plan.topics[0].segment_bytes = u32::MAX);
        assert_refused("topics[0]: ", |plan| plan.topics[0].retention_ms = Some(-2));
        assert_refused("topics[0]: ", |plan| plan.topics[0].segment_ms = Some(0));
    }

    #[test]
    fn ranges_times_and_clocks_are_such_as_can_be() {
        let nothing = Range { low: 2, high: 1 };
        assert_refused("nodes[0].disk.read_us: from 2 to 1", |plan| plan.nodes[0].disk.read_us = nothing);
        assert_refused("network.to_node_us: from 2 to 1", |plan| plan.network.to_node_us = nothing);
        assert_refused("network.encoded_per_mille: at most 1000", |plan| {
            plan.network.encoded_per_mille = 1_001;
        });
        assert_refused("nodes[0].clock.drift_ppm: at least -900000, not -1000000", |plan| {
            plan.nodes[0].clock.drift_ppm = -1_000_000;
        });
        assert_refused("nodes[0].clock.offset_ms: at most", |plan| {
            plan.nodes[0].clock.offset_ms = i64::MAX;
        });
        assert_refused("faults[0].by_ms: at least", |plan| {
            plan.faults[0].fault = Fault::ClockStep { node: 0, by_ms: i64::MIN };
        });
        assert_refused("producers[1].sends[2999].at_us: at most 3155760000000000", |plan| {
            plan.producers[1].sends[2_999].at_us = u64::MAX;
        });
        assert_refused("network.to_client_us.high: at most", |plan| {
            plan.network.to_client_us.high = u64::MAX;
        });
        assert_refused("weather", |plan| {
            plan.weather = [2, 1].map(|at_us| WeatherChange { at_us, field_seed: 0 }).to_vec();
        });
    }

    #[test]
    fn clients_ask_for_what_there_is() {
        assert_refused("producers[0].acks: -1, 0 or 1, not 2", |plan| plan.producers[0].acks = 2);
        assert_refused("producers[0].acks: -1 of an idempotent", |plan| plan.producers[0].acks = 1);
        assert_refused("producers[0].in_flight_max: at least 1", |plan| plan.producers[0].in_flight_max = 0);
        assert_refused("producers[0].in_flight_max of an idempotent producer: at most 5", |plan| {
            plan.producers[0].in_flight_max = 6;
        });
        assert_refused("producers[0].api_version: Produce has the versions 3 to 13, not 2", |plan| {
            plan.producers[0].api_version = 2;
        });
        assert_refused("producers[0].sends[0].value_bytes: at most 2056, not 2057", |plan| {
            plan.producers[0].sends[0].value_bytes = 2_057;
        });
        assert_refused("producers[0].sends[0].value_bytes: at least 8", |plan| {
            plan.producers[0].sends[0].value_bytes = 7;
        });
        assert_refused("producers[0].sends[0].records: at least 1", |plan| {
            plan.producers[0].sends[0].records = 0;
        });
        assert_refused("a segment of its topic has room for: at most 262144", |plan| {
            plan.producers[0].sends[0].records = 60_000;
        });
        assert_refused("producers[0].sends[0]: there is no partition 3 of topic 0", |plan| {
            plan.producers[0].sends[0].partition = 3;
        });
        assert_refused("producers[0].sends: they are not in the order", |plan| {
            plan.producers[0].sends[0].at_us = 1_000_000;
        });
        assert_refused("a producer that sends zstd: at least 7", |plan| {
            plan.producers[0].api_version = 3;
            plan.producers[0].sends[0].codec = Codec::Zstd;
        });
        assert_refused("consumers[0].api_version where zstd is read: at least 10", |plan| {
            plan.consumers[0].api_version = 9;
            plan.producers[0].sends[0].codec = Codec::Zstd;
        });
        assert_refused("consumers[0].api_version: Fetch has the versions 4 to 18, not 19", |plan| {
            plan.consumers[0].api_version = 19;
        });
        assert_refused("consumers[0].api_version with sessions: at least 7", |plan| {
            plan.consumers[0].api_version = 6;
        });
        assert_refused("consumers[1].max_wait_ms: at least 0", |plan| plan.consumers[1].max_wait_ms = -1);
        assert_refused("consumers[1].min_bytes: at least 0", |plan| plan.consumers[1].min_bytes = -1);
        assert_refused("consumers[1].max_bytes: at least 0", |plan| plan.consumers[1].max_bytes = -1);
        assert_refused("consumers[1].assignment[0]: there is no topic 1", |plan| {
            plan.consumers[1].assignment[0].0 = 1;
        });
        assert_refused("consumers[1]: there is no node 1", |plan| plan.consumers[1].node = 1);
        assert_refused("two clients have the number 10", |plan| plan.consumers[1].client = 10);
        assert_refused("the number of a client: at most 999999", |plan| plan.consumers[1].client = 1_000_000);
    }

    #[test]
    fn administrators_change_nothing_that_checks_know_from_the_plan() {
        let alter = |plan: &mut Plan, key: &str, value: &str| {
            ask(plan, AdminDeed::AlterConfig { topic: 0, key: key.to_owned(), value: value.to_owned() });
        };
        for (key, value) in [("retention.ms", "1"), ("flush.messages", "5"), ("no.such.key", "1")] {
            assert_refused("would change what checks know", |plan| alter(plan, key, value));
        }
        assert_refused("administration[0].deed: ", |plan| alter(plan, "max.message.bytes", "many"));
        assert_refused("administration[0].deed.per_cent: at most 100", |plan| {
            ask(plan, AdminDeed::DeleteRecords { topic: 0, partition: 0, per_cent: 101 });
        });
        assert_refused("administration[0].deed.more: at least 1", |plan| {
            ask(plan, AdminDeed::AddPartitions { topic: 0, more: 0 });
        });
        assert_refused("administration[0]: there is no topic 3", |plan| {
            ask(plan, AdminDeed::RecreateTopic { topic: 3 });
        });
        let mut plan = Plan::reference();
        alter(&mut plan, "retention.ms", "-1");
        assert_eq!(plan.problem_anywhere(), None);
    }

    #[test]
    fn faults_befall_nodes_that_are_there() {
        let refused = |says, fault| {
            assert_refused(says, |plan| plan.faults[0] = FaultPlan { at_us: 1, fault });
        };
        refused("faults[0]: there is no node 1", Fault::Pause { node: 1, for_us: 1 });
        refused("faults[0]: there is no node 1", Fault::Reset { client: 10, node: 1 });
        let (from, to) = (End::Client(10), End::Node(1));
        refused("faults[0]: there is no node 1", Fault::Cut { from, to, for_us: 1 });
    }

    #[test]
    fn files_are_lost_that_the_segments_make_up_for() {
        let lose = |plan: &mut Plan, files| {
            let how = DiskFault::Lose { files };
            plan.faults[0] = FaultPlan { at_us: 1, fault: Fault::Disk { node: 0, how } };
        };
        assert_refused("faults[0]: without ClosedSegment nobody", |plan| lose(plan, FileKind::ClosedSegment));
        assert_refused("faults[0]: without Any nobody", |plan| lose(plan, FileKind::Any));
        let mut plan = Plan::reference();
        lose(&mut plan, FileKind::Checkpoint);
        assert_eq!(plan.problem(), None);
    }
}
