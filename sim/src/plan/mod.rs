//! What is decided before a run: the cluster's shape and configuration, what clients do, what breaks and when. A plan is
//! drawn from a seed ([`draw`]) or written by hand; a run is a function of its plan.
//!
//! Everything that chance decides while the run is under way is the [`crate::field::Field`] of `field_seed`.

mod acls;
mod draw;
mod fault;
mod items;
mod problem;
mod quorum;
mod reference;
mod simplify;

pub use acls::{GatekeeperDeed, GatekeeperDeedPlan, GatekeeperPlan, PlannedAcl, PlannedFilter};
pub use fault::{
    CrashKind, DiskAfter, DiskFault, End, Fault, FaultPlan, FileKind, RecoveryFaultPlan, WriteError,
};
pub use items::Item;

use serde::{Deserialize, Serialize};
use sordini_core::features::{FirstLevels, LevelError, WantedLevel};
use sordini_core::museum::{Exhibit, Museum};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// A whole run, decided. Times are virtual microseconds from the beginning of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The form of this structure, [`Plan::VERSION`].
    pub version: u32,
    /// Seed of the field.
    pub field_seed: u64,
    /// The machines. A node's id is its place in this list and one.
    pub nodes: Vec<NodePlan>,
    /// Topics, which the plan's administrators create on every cluster at the beginning. In a cluster of several nodes each
    /// client keeps to one partition, and follows its leader.
    pub topics: Vec<TopicPlan>,
    /// The network.
    pub network: NetworkPlan,
    /// Producers.
    pub producers: Vec<ProducerPlan>,
    /// Consumers.
    pub consumers: Vec<ConsumerPlan>,
    /// Who sets configurations of the quorum's cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configurators: Vec<ConfiguratorPlan>,
    /// Who says who may do what in the quorum's cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gatekeepers: Vec<GatekeeperPlan>,
    /// Brokers in name only, of the quorum's cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<BrokerPlan>,
    /// How many of the controllers, the first, vote at first, if the voters of the quorum stand in its log (KIP-853). The
    /// others follow until they are made voters. Without it all vote for ever, as their configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_voters: Option<usize>,
    /// Who changes the voters of such a quorum, and the feature levels of any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<OperatorPlan>,
    /// What administrators do beside creating the topics, in the order of times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub administration: Vec<AdminPlan>,
    /// Faults, in the order of their times.
    pub faults: Vec<FaultPlan>,
    /// From when on the field is that of another seed, in the order of times. What happens at one time happens under one
    /// weather.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weather: Vec<WeatherChange>,
    /// How long after the last fault and the last planned operation every client must have finished.
    pub liveness_bound_us: u64,
    /// Whether nobody may lead in the cluster but who is in sync, as before Kafka 4.1.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub without_elr: bool,
    /// The metadata.version that the cluster of a quorum begins with, if it is not the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_version: Option<i16>,
    /// Exhibits of the museum that are switched on in every node, by the names of their mutations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub museum: Vec<String>,
    /// A rule of the simulated world that is broken on purpose, so that a check has something to find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutation: Option<Mutation>,
}

/// Other chance from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeatherChange {
    /// The first time at which it holds.
    pub at_us: u64,
    /// Seed of the field.
    pub field_seed: u64,
}

/// What a node is among the others of its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// A cluster of its own: broker and controller, and the only voter.
    #[default]
    Standalone,
    /// A voter of the one quorum that its plan has, or one that may become one, and nothing else.
    Controller,
    /// The same and a broker of its cluster.
    Both,
    /// A broker of that cluster, which has no vote.
    Broker,
}

impl NodeRole {
    const fn is_standalone(&self) -> bool {
        matches!(self, Self::Standalone)
    }

    /// Whether it votes in the quorum of its plan, or may become one that does.
    #[must_use]
    pub const fn is_voter(self) -> bool {
        matches!(self, Self::Controller | Self::Both)
    }

    /// Whether it is one of the nodes of one cluster.
    #[must_use]
    pub const fn is_member(self) -> bool {
        !matches!(self, Self::Standalone)
    }

    /// Whether it serves clients as a broker.
    #[must_use]
    pub const fn is_broker(self) -> bool {
        !matches!(self, Self::Controller)
    }
}

/// A machine: one process on one disk with one clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePlan {
    /// What its process is.
    #[serde(default, skip_serializing_if = "NodeRole::is_standalone")]
    pub role: NodeRole,
    /// Entries of `server.properties` beside those that every simulated node has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// How many log directories it has, the metadata log in the first.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub log_dirs: usize,
    /// How fast the disk is.
    pub disk: DiskPlan,
    /// How the clock goes.
    #[serde(default, skip_serializing_if = "ClockPlan::is_exact")]
    pub clock: ClockPlan,
}

/// How the clocks of a machine differ from virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockPlan {
    /// By how much the wall clock is ahead at the beginning, in milliseconds.
    pub offset_ms: i64,
    /// By how many parts in a million both clocks run fast.
    pub drift_ppm: i32,
}

impl ClockPlan {
    const fn is_exact(&self) -> bool {
        self.offset_ms == 0 && self.drift_ppm == 0
    }
}

/// A topic and those of its settings that checks have to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many brokers have each of them; one where every node is a cluster of its own.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub replicas: usize,
    /// `min.insync.replicas`; nothing for what holds for all topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_isr: Option<usize>,
    /// `flush.messages`; nothing for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flush_messages: Option<u64>,
    /// `internal.segment.bytes`.
    pub segment_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// Whether `message.timestamp.type` is `LogAppendTime`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub log_append_time: bool,
    /// `retention.ms`; nothing for Kafka's default, a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; nothing for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<i64>,
    /// `segment.ms`; nothing for Kafka's default, a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_ms: Option<i64>,
    /// Whether `unclean.leader.election.enable` is set: rather than nobody, a replica leads that lacks records.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unclean_elections: bool,
}

const fn is_false(value: &bool) -> bool {
    !*value
}

const fn one() -> usize {
    1
}

const fn is_one(count: &usize) -> bool {
    *count == 1
}

impl TopicPlan {
    /// The settings as CreateTopics takes them.
    #[must_use]
    pub fn configs(&self) -> Vec<(&'static str, String)> {
        let mut configs = vec![
            ("internal.segment.bytes", self.segment_bytes.to_string()),
            ("index.interval.bytes", self.index_interval_bytes.to_string()),
        ];
        let mut set = |key, value: Option<String>| configs.extend(value.map(|value| (key, value)));
        set("min.insync.replicas", self.min_isr.map(|replicas| replicas.to_string()));
        set("flush.messages", self.flush_messages.map(|messages| messages.to_string()));
        set("message.timestamp.type", self.log_append_time.then(|| "LogAppendTime".to_owned()));
        set("retention.ms", self.retention_ms.map(|millis| millis.to_string()));
        set("retention.bytes", self.retention_bytes.map(|bytes| bytes.to_string()));
        set("segment.ms", self.segment_ms.map(|millis| millis.to_string()));
        set("unclean.leader.election.enable", self.unclean_elections.then(|| true.to_string()));
        configs
    }
}

/// The numbers from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The smallest.
    pub low: u64,
    /// The largest.
    pub high: u64,
}

impl Range {
    /// The one number.
    #[must_use]
    pub const fn exactly(number: u64) -> Self {
        Self { low: number, high: number }
    }
}

/// How fast a disk is, in microseconds per operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskPlan {
    /// Appends and truncations.
    pub write_us: Range,
    /// Reads and listings.
    pub read_us: Range,
    /// Syncs, and what syncs: replacements, renames, removals.
    pub sync_us: Range,
    /// From taking effect to the node's hearing of it.
    pub answer_us: Range,
}

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPlan {
    /// From a client to a node, in microseconds per message.
    pub to_node_us: Range,
    /// From a node to a client, in microseconds per message.
    pub to_client_us: Range,
    /// From a node to another, in microseconds per message.
    #[serde(default = "NetworkPlan::near", skip_serializing_if = "NetworkPlan::is_near")]
    pub between_nodes_us: Range,
    /// How many messages in a thousand go through the real encoder, are cut at random places, and go through the real
    /// decoder. The others are handed over as they are.
    pub encoded_per_mille: u16,
}

impl NetworkPlan {
    /// How long messages take from one node to another unless the plan says otherwise: as within a data centre.
    pub(crate) const fn near() -> Range {
        Range { low: 50, high: 400 }
    }

    fn is_near(range: &Range) -> bool {
        *range == Self::near()
    }
}

/// What a producer does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerPlan {
    /// Its number among all clients. It stays the same when other clients leave the plan, and so does its weather.
    pub client: u64,
    /// The place in the plan of the node it talks to.
    pub node: usize,
    /// 0, 1, or -1 for all.
    pub acks: i16,
    /// Whether it asks for a producer id and numbers its batches.
    pub is_idempotent: bool,
    /// How many requests it sends without an answer, at most.
    pub in_flight_max: u32,
    /// The version of its produce requests.
    pub api_version: i16,
    /// How long it waits for an answer before it closes the connection.
    pub request_timeout_us: u64,
    /// Its batches, in the order of their times.
    pub sends: Vec<SendPlan>,
}

/// One batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendPlan {
    /// When the application hands it over.
    pub at_us: u64,
    /// Index of its topic in the plan.
    pub topic: usize,
    /// The partition.
    pub partition: i32,
    /// How many records it has.
    pub records: u16,
    /// How long each record's value is, from [`SendPlan::VALUE_BYTES_MIN`] to [`SendPlan::VALUE_BYTES_MAX`].
    pub value_bytes: u32,
    /// How it is compressed.
    #[serde(default, skip_serializing_if = "Codec::is_none")]
    pub codec: Codec,
}

impl SendPlan {
    /// Every value begins with its number.
    pub const VALUE_BYTES_MIN: u32 = 8;
    /// The longest value that producers make.
    pub const VALUE_BYTES_MAX: u32 = 2_056;
}

/// How a batch is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// As gzip.
    Gzip,
    /// As Snappy in the Java client's framing.
    Snappy,
    /// As LZ4 frames.
    Lz4,
    /// As Zstandard.
    Zstd,
}

impl Codec {
    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// What a consumer does: reads its partitions from their beginning to their end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerPlan {
    /// Its number among all clients, as [`ProducerPlan::client`].
    pub client: u64,
    /// The place in the plan of the node it talks to.
    pub node: usize,
    /// When it starts.
    pub start_us: u64,
    /// What it is assigned: index of a topic in the plan and a partition.
    pub assignment: Vec<(usize, i32)>,
    /// The version of its fetch requests; topics are named by ids from 13 on.
    pub api_version: i16,
    /// Whether it uses fetch sessions.
    pub has_sessions: bool,
    /// `fetch.max.wait.ms`.
    pub max_wait_ms: i32,
    /// `fetch.min.bytes`.
    pub min_bytes: i32,
    /// `fetch.max.bytes`.
    pub max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: i32,
    /// How long it waits beyond `max_wait_ms` for an answer before it closes the connection.
    pub request_timeout_us: u64,
    /// `client.rack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
}

/// What a client does that sets configurations which hold for all brokers. Every value is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfiguratorPlan {
    /// Its number among all clients.
    pub client: u64,
    /// The place in the plan of the controller that it asks first.
    pub node: usize,
    /// How long it waits for an answer before it goes on without knowing whether its value was set.
    pub request_timeout_us: u64,
    /// What it sets, in the order of the times.
    pub sets: Vec<SetPlan>,
}

/// One value that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPlan {
    /// When, at the earliest.
    pub at_us: u64,
    /// Of which key, by its place in [`ConfiguratorPlan::KEYS`].
    pub key: usize,
}

impl ConfiguratorPlan {
    /// Configurations that hold for all brokers, change while they run, and take any number.
    pub const KEYS: [&str; 4] = [
        "log.cleaner.backoff.ms",
        "log.cleaner.delete.retention.ms",
        "log.cleaner.min.compaction.lag.ms",
        "log.segment.delete.delay.ms",
    ];
    /// How many values one of them sets at most.
    pub const SETS_MAX: usize = 10_000;
}

/// What a broker does that is one in name only: it registers with the quorum's controllers, sends them heartbeats until it has
/// done all its deeds, and hosts nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerPlan {
    /// Its number among all clients, which is its number among the brokers too.
    pub client: u64,
    /// The place in the plan of the controller that it asks first.
    pub node: usize,
    /// How long it waits for an answer.
    pub request_timeout_us: u64,
    /// From the answer to a heartbeat to the next heartbeat.
    pub heartbeat_us: u64,
    /// What it does beside that, in the order of the times.
    pub deeds: Vec<BrokerDeedPlan>,
}

/// One deed of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerDeedPlan {
    /// When, at the earliest.
    pub at_us: u64,
    /// What.
    pub deed: BrokerDeed,
}

/// What a broker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BrokerDeed {
    /// Begins anew, as another process on the same machine.
    Restart,
    /// Sends no heartbeats.
    FallSilent {
        /// For how long.
        for_us: u64,
    },
    /// Asks whether it may go, and goes when it may, until it begins anew.
    Leave,
    /// Asks for a block of producer ids.
    AllocateProducerIds,
    /// Asks for a topic of which nobody has heard before.
    CreateTopic {
        /// How many partitions it is to have.
        partitions: i32,
        /// How many replicas each.
        replicas: i16,
    },
    /// Deletes the newest of its topics.
    DeleteTopic,
    /// Asks for one partition more of the newest of its topics.
    AddPartition,
    /// Sets a configuration of the newest of its topics.
    SetTopicConfig,
    /// Sets how many replicas have to be in sync for records to be committed, by `min.insync.replicas`.
    SetMinIsr {
        /// Of what.
        of: MinIsrOf,
        /// How many; without it, what was set is taken back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replicas: Option<u8>,
    },
    /// Asks for a partition of the newest of its topics to be moved.
    Reassign {
        /// The partition, counted round if there are fewer.
        partition: usize,
        /// To how many brokers, at most as many as there are.
        replicas: usize,
        /// To which: those that are registered from this place on, counted round.
        first: usize,
    },
    /// Asks for a partition of the newest of its topics to stay where it is.
    CancelReassignment {
        /// The partition, counted round if there are fewer.
        partition: usize,
    },
    /// Asks which partitions are being moved.
    ListReassignments,
    /// Asks for another leader of a partition of the newest of its topics.
    ElectLeader {
        /// The partition, counted round if there are fewer.
        partition: usize,
        /// Whether one will do that lacks records, where there is no other.
        unclean: bool,
    },
    /// Asks for the registration of a broker to be taken away.
    UnregisterBroker {
        /// Which of those that are registered, counted round.
        broker: usize,
    },
    /// Asks, as the leader of a partition, for other replicas to be in sync: no others follow it, and it says of them what it
    /// likes.
    AlterIsr {
        /// The partition among those that it leads, counted round; those that are being moved come first.
        partition: usize,
        /// Who is to be in sync.
        wanted: WantedIsr,
        /// What it asks with that was so before, if anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stale: Option<StaleEpoch>,
    },
}

impl BrokerDeed {
    /// Whether what is asked for depends on what is known of the cluster.
    #[must_use]
    pub const fn depends_on_cluster(self) -> bool {
        matches!(
            self,
            Self::Reassign { .. }
                | Self::CancelReassignment { .. }
                | Self::ListReassignments
                | Self::ElectLeader { .. }
                | Self::UnregisterBroker { .. }
                | Self::AlterIsr { .. }
        )
    }
}

/// What `min.insync.replicas` is set of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinIsrOf {
    /// Of the newest of the broker's topics.
    Topic,
    /// Of all brokers.
    AllBrokers,
    /// Of the broker alone, which is refused where others than those in sync may lead.
    Itself,
}

/// Which replicas a leader says are in sync, beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedIsr {
    /// All that are there.
    All,
    /// Those that are, and the last of the others that are there.
    OneMore,
    /// Those that are but the last.
    OneLess,
    /// None.
    Alone,
}

/// An epoch that is over, with which a leader asks for something: it has to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaleEpoch {
    /// In which it leads the partition.
    Leader,
    /// Of the partition.
    Partition,
    /// Of its own registration.
    OwnBroker,
    /// Of the registration of another that it wants in sync.
    Follower,
}

impl BrokerPlan {
    /// The configuration that it sets of topics: any number will do.
    pub const TOPIC_KEY: &str = "file.delete.delay.ms";
    /// The configuration of how many have to be in sync.
    pub const MIN_ISR_KEY: &str = "min.insync.replicas";
    /// How much it does at most.
    pub const DEEDS_MAX: usize = 10_000;

    /// Its number among the brokers.
    #[must_use]
    pub fn broker_id(&self) -> i32 {
        i32::try_from(self.client).expect("the numbers of clients are small")
    }

    /// The name of a topic of its own, by how many it has asked for before.
    #[must_use]
    pub fn topic(&self, before: u64) -> String {
        format!("t{}-{before}", self.client)
    }

    /// The names of all topics that it asks for.
    pub fn topics(&self) -> impl Iterator<Item = String> {
        let is_creation = |planned: &&BrokerDeedPlan| matches!(planned.deed, BrokerDeed::CreateTopic { .. });
        (0..).zip(self.deeds.iter().filter(is_creation)).map(|(before, _)| self.topic(before))
    }

    /// The value that a deed sets, which no other does.
    #[must_use]
    pub const fn value(&self, deed: usize) -> u64 {
        self.client * Self::DEEDS_MAX as u64 + deed as u64
    }
}

/// What an operator does who makes controllers voters, takes their votes from them, and updates features.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorPlan {
    /// Its number among all clients.
    pub client: u64,
    /// The place in the plan of the controller that it asks first.
    pub node: usize,
    /// How long it waits for an answer before it asks another.
    pub request_timeout_us: u64,
    /// The changes, in the order of the times.
    pub changes: Vec<QuorumChangePlan>,
}

/// One change of the quorum or of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuorumChangePlan {
    /// When, at the earliest.
    pub at_us: u64,
    /// What.
    pub change: QuorumChange,
}

/// A change of the quorum or of its cluster. One of the voters is left out where there is nothing to change, where too few voters
/// would be left that still have their disks, and where no log names the voters: an operator looks before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum QuorumChange {
    /// A controller, with the disk that it has, becomes a voter.
    Add {
        /// Its place in the plan.
        node: usize,
    },
    /// The voter of a node's number is none any more, whatever disk it had.
    Remove {
        /// The node's place in the plan.
        node: usize,
    },
    /// A feature gets another level (KIP-584).
    UpdateFeature {
        /// The feature.
        feature: Feature,
        /// Its level to be.
        level: i16,
        /// Whether the level may fall.
        direction: Direction,
        /// Whether it is only asked whether it could be done.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        is_dry_run: bool,
    },
}

impl QuorumChange {
    /// The place in the plan of the node that it is about, if it is about one.
    #[must_use]
    pub const fn node(self) -> Option<usize> {
        match self {
            Self::Add { node } | Self::Remove { node } => Some(node),
            Self::UpdateFeature { .. } => None,
        }
    }
}

/// A feature of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// From 1 on the voters stand in the log (KIP-853).
    KraftVersion,
    /// Which records there may be.
    MetadataVersion,
    /// From 1 on others than those in sync may lead (KIP-966).
    EligibleLeaderReplicas,
    /// One that no node knows.
    Unknown,
}

impl Feature {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KraftVersion => "kraft.version",
            Self::MetadataVersion => "metadata.version",
            Self::EligibleLeaderReplicas => "eligible.leader.replicas.version",
            Self::Unknown => "sordini.version",
        }
    }
}

/// Which way the level of a feature may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Up.
    Upgrade,
    /// Down, if nothing is lost by it.
    SafeDowngrade,
    /// Down.
    UnsafeDowngrade,
}

/// Something an administrator does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminPlan {
    /// When.
    pub at_us: u64,
    /// The place in the plan of the node that is asked.
    pub node: usize,
    /// What.
    pub deed: AdminDeed,
}

/// What an administrator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminDeed {
    /// Removes what lies below the high watermark of a partition, as far as `per_cent` of it.
    DeleteRecords {
        /// Index of the topic in the plan.
        topic: usize,
        /// The partition.
        partition: i32,
        /// How much of what there is between the log's start and its high watermark, 100 for all.
        per_cent: u8,
    },
    /// Sets a configuration of a topic.
    AlterConfig {
        /// Index of the topic in the plan.
        topic: usize,
        /// The key, one of those that no check has to know.
        key: String,
        /// The value.
        value: String,
    },
    /// Deletes a topic, and creates it again when it is gone.
    RecreateTopic {
        /// Index of the topic in the plan.
        topic: usize,
    },
    /// Gives a topic more partitions than the plan has for it. Nobody uses them.
    AddPartitions {
        /// Index of the topic in the plan.
        topic: usize,
        /// How many more than planned.
        more: i32,
    },
    /// Asks for a topic to be created that is named twice in the request, which must be refused.
    NameTopicTwice {
        /// Index of the topic in the plan.
        topic: usize,
    },
    /// Looks the offset up that a partition had at a time.
    LookUpTime {
        /// Index of the topic in the plan.
        topic: usize,
        /// The partition.
        partition: i32,
        /// The virtual time.
        time_us: u64,
    },
    /// Fetches once as a reader does that was led to other leader epochs than there are; -1 for one that says nothing.
    FetchOfOtherEpoch {
        /// Index of the topic in the plan.
        topic: usize,
        /// The partition.
        partition: i32,
        /// The epoch that it believes to be the leader's.
        leader_epoch: i32,
        /// The epoch of the record that it read last.
        last_fetched_epoch: i32,
    },
    /// Writes a batch that must be refused.
    WriteSpoiled {
        /// Index of the topic in the plan.
        topic: usize,
        /// The partition.
        partition: i32,
        /// What is wrong with it.
        spoiled: Spoiled,
    },
    /// Moves a partition of a cluster.
    Reassign {
        /// Index of the topic in the plan.
        topic: usize,
        /// The partition.
        partition: i32,
        /// To which brokers, by their places in the plan; without any, it is to stay where it is.
        brokers: Vec<usize>,
    },
    /// Has the first of a partition's replicas lead it (KIP-460).
    ElectPreferred {
        /// Index of the topic in the plan.
        topic: usize,
        /// The partition.
        partition: i32,
    },
    /// Has whoever is there lead a partition that nobody leads, though it may lack records (KIP-460).
    ElectUncleanly {
        /// Index of the topic in the plan.
        topic: usize,
        /// The partition.
        partition: i32,
    },
    /// Says in which order brokers are to have a partition, and has the first of them lead it.
    Lead {
        /// Index of the topic in the plan.
        topic: usize,
        /// The partition.
        partition: i32,
        /// The brokers, by their places in the plan. Without any the order is what it is.
        brokers: Vec<usize>,
    },
    /// Moves a replica of the broker that is asked to another of its log directories (KIP-113).
    MoveReplica {
        /// Index of the topic in the plan.
        topic: usize,
        /// The partition.
        partition: i32,
        /// To which, by its place among the broker's.
        dir: usize,
    },
    /// Limits how fast replicas of a topic are copied, wherever they lie (KIP-73).
    Throttle {
        /// Index of the topic in the plan.
        topic: usize,
        /// To how many bytes a second, of each broker as a leader, as a follower and between its log directories; without it, the
        /// limit is taken back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes_per_second: Option<u64>,
    },
}

impl AdminDeed {
    /// Whether it is of a cluster of several nodes, and not of one alone.
    pub(crate) const fn is_of_cluster(&self) -> bool {
        matches!(
            self,
            Self::Reassign { .. }
                | Self::ElectPreferred { .. }
                | Self::ElectUncleanly { .. }
                | Self::Lead { .. }
                | Self::MoveReplica { .. }
                | Self::Throttle { .. }
        )
    }

    /// Whether it is of the one and of the other.
    pub(crate) const fn is_of_any(&self) -> bool {
        matches!(self, Self::DeleteRecords { .. } | Self::RecreateTopic { .. } | Self::AddPartitions { .. })
    }

    /// The topic and, if it is about one, the partition.
    pub(crate) const fn place(&mut self) -> (&mut usize, Option<&mut i32>) {
        match self {
            Self::DeleteRecords { topic, partition, .. }
            | Self::LookUpTime { topic, partition, .. }
            | Self::FetchOfOtherEpoch { topic, partition, .. }
            | Self::WriteSpoiled { topic, partition, .. }
            | Self::Reassign { topic, partition, .. }
            | Self::Lead { topic, partition, .. }
            | Self::MoveReplica { topic, partition, .. }
            | Self::ElectPreferred { topic, partition }
            | Self::ElectUncleanly { topic, partition } => (topic, Some(partition)),
            Self::AlterConfig { topic, .. }
            | Self::RecreateTopic { topic }
            | Self::AddPartitions { topic, .. }
            | Self::NameTopicTwice { topic }
            | Self::Throttle { topic, .. } => (topic, None),
        }
    }
}

/// What a simulated node calls a log directory, by its place.
pub(crate) fn log_dir_path(place: usize) -> String {
    if place == 0 { "/simulated".to_owned() } else { format!("/simulated-{place}") }
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spoiled {
    /// A bit of its last record is flipped.
    Flipped,
    /// The same, and nobody waits for an answer: the connection is closed.
    FlippedWithoutAcks,
    /// Its records are of a day far in the future. A topic with `LogAppendTime` takes it.
    FromTheFuture,
}

/// A rule of the world that a run breaks on purpose. Each is found by the check that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutation {
    /// A loss of power takes up to four sectors of a log that were synced: `acknowledged_data`.
    DiskLosesSynced,
    /// A sync is answered and does nothing: `acknowledged_data`.
    SyncDoesNothing,
    /// Appends to logs are answered before they have taken effect: `truthful_view`.
    AppendsAnsweredEarly,
    /// A loss of power flips a bit in every closed segment: `log_prefix`.
    DiskFlipsClosedSegments,
    /// The entries of offset indexes reach the disk with their last bit flipped: `index_recomputation`.
    IndexEntriesSpoiled,
    /// The entries of time indexes reach the disk with their last bit flipped: `index_recomputation`.
    TimeIndexEntriesSpoiled,
    /// Every seventh fetch answer says a high watermark one lower, where it brings no records: `high_watermark`.
    HighWatermarkFalls,
    /// Fetch answers carry their records with a bit flipped: `consumer_reads`.
    ReadsFlipped,
    /// Resent batches of idempotent producers have lost their producer: `no_duplicates`.
    RetriesForgetTheirSequence,
    /// The tenth completion of the last start is never delivered: `liveness`.
    CompletionSwallowed,
    /// The simulator's process id, and how many runs it has made, decide the delays: found by running twice, in one process
    /// or in two.
    DelaysFromOutside,
    /// An InitProducerId answer is replaced by the first one there was: `producer_ids`.
    ProducerIdHandedOutTwice,
    /// From the second start on, metadata answers say that the first topic is unknown: `topics`.
    TopicForgotten,
    /// The simulator panics at the first append to a log: found as a panic.
    AppendPanics,
}

impl Plan {
    /// The form that this version of the program reads and writes.
    pub const VERSION: u32 = 2;

    /// The name of the listener for clients.
    pub const LISTENER: &'static str = "PLAINTEXT";

    /// The number of the client that creates the topics on a node, and administers it.
    #[must_use]
    pub const fn admin_of(node: usize) -> u64 {
        1 + node as u64
    }

    /// Where every request comes from, as nodes are told.
    pub const CLIENT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// The listener that the controllers of a quorum have.
    pub const CONTROLLER_LISTENER: &'static str = "CONTROLLER";

    /// The port of that listener.
    pub const CONTROLLER_PORT: u16 = 9_093;

    /// The port of the listener for clients.
    pub const PORT: u16 = 9_092;

    /// The listener of a member of a quorum that has a port, if one has.
    #[must_use]
    pub fn listener_at(&self, node: usize, port: u16) -> Option<&'static str> {
        match (self.nodes[node].role, port) {
            (NodeRole::Controller | NodeRole::Both | NodeRole::Standalone, Self::CONTROLLER_PORT) => {
                Some(Self::CONTROLLER_LISTENER)
            }
            (NodeRole::Broker | NodeRole::Both | NodeRole::Standalone, Self::PORT) => Some(Self::LISTENER),
            _ => None,
        }
    }

    /// The host of a node.
    #[must_use]
    pub fn host(node: usize) -> String {
        format!("127.0.0.{}", node + 1)
    }

    /// The levels of the features with which the clusters begin.
    ///
    /// # Errors
    /// They do not go together.
    pub fn first_levels(&self) -> Result<FirstLevels, LevelError> {
        let metadata = self.metadata_version.map(|level| (Feature::MetadataVersion, level));
        let elr = self.without_elr.then_some((Feature::EligibleLeaderReplicas, 0));
        let wanted = metadata.into_iter().chain(elr);
        let wanted: Vec<WantedLevel> =
            wanted.map(|(feature, level)| WantedLevel { name: feature.name().to_owned(), level }).collect();
        FirstLevels::choose(None, &wanted, self.first_voters.is_none())
    }

    /// The nodes that vote in the quorum or may come to, by their places in the plan, which are the first; none if every node
    /// is a cluster of its own.
    pub fn controllers(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].role.is_voter())
    }

    /// The brokers of the one cluster of a plan, by their places in it; none if every node is a cluster of its own.
    pub fn cluster_brokers(&self) -> impl Iterator<Item = usize> {
        let is_broker = |role: NodeRole| role.is_member() && role.is_broker();
        (0..self.nodes.len()).filter(move |node| is_broker(self.nodes[*node].role))
    }

    /// Whether somebody deletes a topic and creates it again.
    pub(crate) fn recreates_topics(&self) -> bool {
        let is_recreation = |planned: &AdminPlan| matches!(planned.deed, AdminDeed::RecreateTopic { .. });
        self.administration.iter().any(is_recreation)
    }

    /// Whether there are partitions that several brokers have.
    #[must_use]
    pub fn has_replicas(&self) -> bool {
        self.topics.iter().any(|topic| topic.replicas > 1)
    }

    /// Whether an administrator has brokers take turns in leading a partition.
    #[must_use]
    pub fn has_flapping_leaders(&self) -> bool {
        self.administration.iter().any(|planned| matches!(planned.deed, AdminDeed::Lead { .. }))
    }

    /// The listener by which a client reaches a node; `asks_controllers` if it has nothing to do with brokers.
    #[must_use]
    pub fn listener_of(&self, node: usize, asks_controllers: bool) -> &'static str {
        match self.nodes[node].role {
            NodeRole::Controller => Self::CONTROLLER_LISTENER,
            NodeRole::Both if asks_controllers => Self::CONTROLLER_LISTENER,
            NodeRole::Standalone | NodeRole::Both | NodeRole::Broker => Self::LISTENER,
        }
    }

    /// What every simulated node has in its `server.properties`, each with its own number.
    fn fixed_properties(&self, node: usize) -> Vec<(&'static str, String)> {
        let log_dirs: Vec<String> = (0..self.nodes[node].log_dirs).map(log_dir_path).collect();
        let log_dirs = log_dirs.join(",");
        let id = node + 1;
        let role = self.nodes[node].role;
        if role.is_member() {
            let port = Self::CONTROLLER_PORT;
            let servers =
                self.controllers().map(|voter| (voter + 1, format!("{}:{port}", Self::host(voter))));
            let (who, servers): (_, Vec<String>) = if self.first_voters.is_some() {
                ("controller.quorum.bootstrap.servers", servers.map(|(_, server)| server).collect())
            } else {
                ("controller.quorum.voters", servers.map(|(id, server)| format!("{id}@{server}")).collect())
            };
            let host = Self::host(node);
            let (client, peer) = (
                format!("{}://{host}:{}", Self::LISTENER, Self::PORT),
                format!("{}://{host}:{port}", Self::CONTROLLER_LISTENER),
            );
            let (roles, listeners) = match role {
                NodeRole::Controller | NodeRole::Standalone => ("controller", peer),
                NodeRole::Both => ("broker,controller", format!("{client},{peer}")),
                NodeRole::Broker => ("broker", client),
            };
            return vec![
                ("process.roles", roles.to_owned()),
                ("node.id", id.to_string()),
                ("listeners", listeners),
                ("controller.listener.names", Self::CONTROLLER_LISTENER.to_owned()),
                (who, servers.join(",")),
                ("log.dirs", log_dirs),
            ];
        }
        vec![
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", id.to_string()),
            ("listeners", format!("PLAINTEXT://127.0.0.{id}:9092,CONTROLLER://127.0.0.{id}:9093")),
            ("advertised.listeners", format!("PLAINTEXT://127.0.0.{id}:9092")),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("controller.quorum.voters", format!("{id}@127.0.0.{id}:9093")),
            ("log.dirs", log_dirs),
            ("auto.create.topics.enable", "false".to_owned()),
        ]
    }

    /// The entries of `server.properties` of a node.
    #[must_use]
    pub fn server_properties(&self, node: usize) -> Vec<(String, String)> {
        let fixed = self.fixed_properties(node).into_iter();
        let mut entries: BTreeMap<String, String> =
            fixed.map(|(key, value)| (key.to_owned(), value)).collect();
        let own = self.nodes[node].properties.iter();
        entries.extend(own.map(|(key, value)| (key.clone(), value.clone())));
        entries.into_iter().collect()
    }

    /// Whether all that breaks is what the configuration promises to survive. If not, records may be lost that were
    /// acknowledged, and the run says which and why.
    #[must_use]
    pub fn is_within_budget(&self) -> bool {
        let is_survived = |fault: &Fault| {
            // A quorum whose voters are known by their disks too is not fooled by one that has another.
            let is_new_voter = matches!(fault, Fault::Crash { disk: DiskAfter::Empty, .. });
            fault.is_survivable() || (is_new_voter && self.first_voters.is_some())
        };
        self.faults.iter().all(|planned| is_survived(&planned.fault))
    }

    /// When the last operation or fault of the plan is over.
    #[must_use]
    pub fn last_us(&self) -> u64 {
        let sends = self.producers.iter().filter_map(|producer| producer.sends.last()).map(|send| send.at_us);
        let consumers = self.consumers.iter().map(|consumer| consumer.start_us);
        let administration = self.administration.iter().map(|planned| planned.at_us);
        let faults = self.faults.iter().map(|planned| planned.at_us + planned.fault.lasts_us());
        let sets = self.configurators.iter().filter_map(|it| it.sets.last()).map(|set| set.at_us);
        let deeds = self.brokers.iter().filter_map(|it| it.deeds.last()).map(|deed| deed.at_us);
        let changes = self.operators.iter().filter_map(|it| it.changes.last()).map(|it| it.at_us);
        let acls = self.gatekeepers.iter().filter_map(|it| it.deeds.last()).map(|it| it.at_us);
        let of_quorums = sets.chain(deeds).chain(changes).chain(acls);
        sends.chain(consumers).chain(administration).chain(of_quorums).chain(faults).max().unwrap_or(0)
    }

    /// The wrong rules that hold in every node.
    ///
    /// # Errors
    /// A sentence, if there is no such exhibit or this program was built without the museum.
    pub fn museum(&self) -> Result<Museum, String> {
        let mut museum = Museum::NONE;
        for name in &self.museum {
            museum = switch_on(museum, exhibit(name)?)?;
        }
        Ok(museum)
    }

    /// What makes this plan one that cannot be run, as a sentence. A plan that was drawn has nothing of the kind; one
    /// that a person edited may.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem_anywhere().or_else(|| self.museum().err())
    }
}

fn exhibit(name: &str) -> Result<Exhibit, String> {
    Exhibit::from_name(name).ok_or_else(|| format!("the museum has no exhibit {name}"))
}

#[cfg(feature = "museum")]
#[expect(clippy::unnecessary_wraps, reason = "without the museum it fails")]
const fn switch_on(museum: Museum, exhibit: Exhibit) -> Result<Museum, String> {
    Ok(museum.with(exhibit))
}

#[cfg(not(feature = "museum"))]
fn switch_on(_: Museum, exhibit: Exhibit) -> Result<Museum, String> {
    Err(format!("{} needs a build with the feature `museum`", exhibit.name()))
}
