//! What the configuration says about one node: the typed struct, the layers behind it, and the rules between keys.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::config::Overrides;
use crate::config::definitions::{self, DefaultValue, Effect};
use crate::config::topic::{self, TopicConfig};
use crate::config::value::{ConfigError, Value, nearest, split_host_port, split_list};
use crate::ids::NodeId;
use sordini_protocol::compression::Compression;

/// Where a static entry came from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `--override` on the command line.
    CommandLine,
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A properties file.
    File {
        /// Its path as the user gave it.
        path: String,
        /// The line on which the key begins, from 1.
        line: u32,
    },
    /// What `sordini dev` assumes, or a program that embeds the core.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("--override"),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::BuiltIn => f.write_str("built-in"),
        }
    }
}

/// A static entry as it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The text, without interpretation.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key, and with it whether the text is a secret, is not known here.
        f.debug_struct("Entry").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The static entries of a node by key, the ones without meaning included.
pub type StaticEntries = BTreeMap<String, Entry>;

static NO_ENTRIES: StaticEntries = StaticEntries::new();
static NO_OVERRIDES: Overrides = Overrides::new();

/// Everything that can set a broker key, the strongest first: this broker's dynamic values, the cluster's dynamic defaults,
/// the static entries.
#[derive(Clone, Copy, Debug)]
pub struct BrokerConfigLayers<'a> {
    /// Dynamic values of the BROKER resource with this node's id.
    pub broker: &'a Overrides,
    /// Dynamic values of the BROKER resource with the empty name.
    pub cluster_default: &'a Overrides,
    /// Static entries.
    pub static_entries: &'a StaticEntries,
}

impl BrokerConfigLayers<'static> {
    /// Layers in which nothing is set.
    #[must_use]
    pub fn defaults() -> Self {
        Self { broker: &NO_OVERRIDES, cluster_default: &NO_OVERRIDES, static_entries: &NO_ENTRIES }
    }
}

impl BrokerConfigLayers<'_> {
    /// The value set for a broker key in the strongest layer that has a readable one; `None` when only a default is left.
    #[must_use]
    pub fn set_value(&self, key: &str) -> Option<Value> {
        // Hardly any key is set, and all are asked for whenever one changes.
        let is_set = [self.broker, self.cluster_default].iter().any(|layer| layer.contains_key(key))
            || self.static_entries.contains_key(key);
        if !is_set {
            return None;
        }
        let definition = definitions::broker(key)?;
        let dynamic = [self.broker, self.cluster_default].into_iter().find_map(|layer| {
            let value = definition.parse(layer.get(key)?).ok()?;
            topic::check_as_topic_default(key, &value).ok()?;
            Some(value)
        });
        dynamic.or_else(|| definition.parse(&self.static_entries.get(key)?.value).ok())
    }

    /// Every key that is set in one of the layers, as often as it is.
    pub fn set_keys(&self) -> impl Iterator<Item = &str> {
        let dynamic = self.broker.keys().chain(self.cluster_default.keys()).map(|key| &**key);
        dynamic.chain(self.static_entries.keys().map(|key| &**key))
    }

    /// The effective value of a broker key; `None` when it has neither value nor default.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Value> {
        self.set_value(key).or_else(|| definitions::broker(key)?.default_value())
    }
}

/// Roles of a process; at least one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRoles {
    /// Holds partitions and serves clients.
    pub broker: bool,
    /// Votes in the metadata quorum.
    pub controller: bool,
}

/// How bytes travel on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Nothing is encrypted, nobody is authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without TLS.
    SaslPlaintext,
    /// SASL inside TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// The protocol of this name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The number in registration records.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
}

/// One entry of `listeners` or `advertised.listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in capitals.
    pub name: String,
    /// Host name or address, an IPv6 address without brackets; empty for every interface.
    pub host: String,
    /// The port; 0 lets the operating system choose.
    pub port: u16,
    /// How bytes travel.
    pub protocol: SecurityProtocol,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// A voter of `controller.quorum.voters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its `node.id`.
    pub id: NodeId,
    /// Host name or address.
    pub host: String,
    /// Port of its controller listener.
    pub port: u16,
}

/// The keys `controller.quorum.*` that elections and the metadata log's replication go by; durations in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumConfig {
    /// `controller.quorum.election.timeout.ms`: how long an election may take; nodes draw up to twice that.
    pub election_timeout_ms: i64,
    /// `controller.quorum.election.backoff.max.ms`: how long a node that lost waits at most.
    pub election_backoff_max_ms: i64,
    /// `controller.quorum.fetch.timeout.ms`: how long a follower waits for its leader, and the leader, once and a half, for
    /// a majority.
    pub fetch_timeout_ms: i64,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout_ms: i64,
    /// `controller.quorum.retry.backoff.ms`.
    pub retry_backoff_ms: i64,
    /// `controller.quorum.fetch.max.bytes`.
    pub fetch_max_bytes: u64,
    /// `controller.quorum.fetch.snapshot.max.bytes`.
    pub fetch_snapshot_max_bytes: u64,
    /// `controller.quorum.auto.join.enable`: a controller that does not vote asks to.
    pub auto_join: bool,
    /// `metadata.log.max.record.bytes.between.snapshots`: with so much committed since the newest, another is taken.
    pub snapshot_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`: and after so long, when anything was; 0 stands for never.
    pub snapshot_interval_ms: i64,
    /// `metadata.max.retention.bytes`: how much log and snapshots may take together; `None` stands for any.
    pub retention_bytes: Option<u64>,
    /// `metadata.max.retention.ms`: how long a snapshot stays that is not the newest; `None` stands for ever.
    pub retention_ms: Option<i64>,
    /// `metadata.log.segment.bytes`.
    pub segment_bytes: u32,
    /// `metadata.log.segment.ms`.
    pub segment_ms: i64,
    /// `internal.metadata.delete.delay.millis`: how long files stay that are not needed any more.
    pub file_delete_delay_ms: i64,
}

/// Keys that exist as dynamic configuration alone.
const LEADER_THROTTLED_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_THROTTLED_RATE: &str = "follower.replication.throttled.rate";
const ALTER_LOG_DIRS_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// The authorizer that keeps access control lists in the metadata log.
const STANDARD_AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// The effective configuration of one node. Sizes are bytes, durations milliseconds; none is negative unless said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: NodeId,
    /// `process.roles`.
    pub process_roles: ProcessRoles,
    /// `listeners`, those of the controller included.
    pub listeners: Vec<Listener>,
    /// `advertised.listeners`, without those of the controller; an empty host or the port 0 stands for what was bound.
    pub advertised_listeners: Vec<Listener>,
    /// `controller.listener.names`; empty on a quorum of one without a controller listener.
    pub controller_listener_names: Vec<String>,
    /// `inter.broker.listener.name`, or the listener that speaks `security.inter.broker.protocol`; empty on a controller
    /// alone that does not name it.
    pub inter_broker_listener_name: String,
    /// `controller.quorum.voters`.
    pub controller_quorum_voters: Vec<Voter>,
    /// `controller.quorum.bootstrap.servers` as host and port.
    pub controller_quorum_bootstrap_servers: Vec<(String, u16)>,
    /// How the metadata quorum elects and replicates, `controller.quorum.*`.
    pub quorum: QuorumConfig,
    /// `broker.rack`.
    pub broker_rack: Option<String>,
    /// `replica.selector.class`.
    pub replica_selector: ReplicaSelector,
    /// `log.dirs`, or `log.dir`; not empty.
    pub log_dirs: Vec<String>,
    /// `metadata.log.dir`, or the first of `log_dirs`.
    pub metadata_log_dir: String,
    /// `num.partitions`; at least 1.
    pub num_partitions: i32,
    /// `default.replication.factor`; at least 1.
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `socket.request.max.bytes`; at least 1.
    pub socket_request_max_bytes: u32,
    /// `queued.max.request.bytes`; `None` for no limit.
    pub queued_max_request_bytes: Option<u64>,
    /// `fetch.max.bytes`; at least 1024.
    pub fetch_max_bytes: u32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub max_incremental_fetch_session_cache_slots: u32,
    /// `connections.max.idle.ms`; `None` keeps idle connections for ever.
    pub connections_max_idle_ms: Option<i64>,
    /// `max.connections`.
    pub max_connections: u32,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: u32,
    /// `max.connections.per.ip.overrides`: host and limit.
    pub max_connections_per_ip_overrides: Vec<(String, u32)>,
    /// `group.min.session.timeout.ms`.
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub group_max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay_ms: i64,
    /// `group.max.size`; at least 1.
    pub group_max_size: u32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: u32,
    /// `offsets.commit.timeout.ms`; at least 1.
    pub offsets_commit_timeout_ms: i64,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`; at least 1.
    pub offsets_retention_check_interval_ms: i64,
    /// `offsets.topic.num.partitions`; at least 1.
    pub offsets_topic_partitions: i32,
    /// `offsets.topic.replication.factor`; at least 1.
    pub offsets_topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`; at least 1.
    pub offsets_topic_segment_bytes: u32,
    /// `offsets.topic.compression.codec`.
    pub offsets_topic_compression: Compression,
    /// `request.timeout.ms`.
    pub request_timeout_ms: i64,
    /// `max.request.partition.size.limit`; at least 1.
    pub max_request_partition_size_limit: u32,
    /// `producer.id.expiration.ms`; at least 1.
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`; at least 1.
    pub producer_id_expiration_check_interval_ms: i64,
    /// `replica.lag.time.max.ms`: a replica that had not all that there is for longer than this, is not in sync.
    pub replica_lag_time_max_ms: i64,
    /// `replica.fetch.wait.max.ms`: how long a fetch of a replica waits for records.
    pub replica_fetch_wait_max_ms: i32,
    /// `replica.fetch.min.bytes`: for how many bytes.
    pub replica_fetch_min_bytes: i32,
    /// `replica.fetch.max.bytes`: how many bytes of one partition it asks for.
    pub replica_fetch_max_bytes: i32,
    /// `replica.fetch.response.max.bytes`: how many bytes in all.
    pub replica_fetch_response_max_bytes: i32,
    /// `replica.fetch.backoff.ms`: how long a partition that cannot be fetched is left alone.
    pub replica_fetch_backoff_ms: i64,
    /// `replica.socket.timeout.ms`: how long a fetch may take.
    pub replica_socket_timeout_ms: i64,
    /// `replication.quota.window.num`: how many windows the rate of throttled replication is taken over; at least 1.
    pub replication_quota_windows: u32,
    /// `replication.quota.window.size.seconds`, in milliseconds.
    pub replication_quota_window_ms: i64,
    /// `leader.replication.throttled.rate`, in bytes a second.
    pub leader_replication_throttled_rate: u64,
    /// `follower.replication.throttled.rate`, in bytes a second.
    pub follower_replication_throttled_rate: u64,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`: how fast replicas move between log directories.
    pub replica_alter_log_dirs_rate: u64,
    /// `alter.log.dirs.replication.quota.window.num`: how many windows that rate is taken over; at least 1.
    pub alter_log_dirs_quota_windows: u32,
    /// `alter.log.dirs.replication.quota.window.size.seconds`, in milliseconds.
    pub alter_log_dirs_quota_window_ms: i64,
    /// `num.replica.alter.log.dirs.threads`: how many replicas move at a time; as many as there are log directories, if unset.
    pub alter_log_dirs_at_once: usize,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub replica_high_watermark_checkpoint_interval_ms: i64,
    /// `log.flush.scheduler.interval.ms`.
    pub log_flush_scheduler_interval_ms: i64,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub log_flush_offset_checkpoint_interval_ms: i64,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub log_flush_start_offset_checkpoint_interval_ms: i64,
    /// `log.retention.check.interval.ms`; at least 1.
    pub log_retention_check_interval_ms: i64,
    /// `log.initial.task.delay.ms`.
    pub log_initial_task_delay_ms: i64,
    /// `broker.session.timeout.ms`: how long the controller waits for a heartbeat of a broker.
    pub broker_session_timeout_ms: u64,
    /// Milliseconds between two heartbeats of a broker.
    pub broker_heartbeat_interval_ms: i64,
    /// Milliseconds in which a starting broker must have been registered.
    pub initial_broker_registration_timeout_ms: i64,
    /// A broker that stops hands its partitions over first.
    pub controlled_shutdown_enable: bool,
    /// `leader.imbalance.check.interval.seconds`, in milliseconds; `None` when `auto.leader.rebalance.enable` is off.
    pub leader_imbalance_check_interval_ms: Option<i64>,
    /// `unclean.leader.election.interval.ms`
    pub unclean_leader_election_interval_ms: i64,
    /// `metadata.max.idle.interval.ms`; `None` lets the metadata log be silent.
    pub metadata_max_idle_interval_ms: Option<i64>,
    /// Whether `authorizer.class.name` is the authorizer that keeps access control lists.
    pub keeps_acls: bool,
    /// What holds for a topic without overrides.
    pub topic_defaults: TopicConfig,
    /// The static entries as they were written, for descriptions and for building layers.
    pub entries: StaticEntries,
}

/// Something in the configuration that stops the node, with everything needed to mend it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigProblem {
    /// The key that is wrong, or the first of those that contradict each other.
    pub key: String,
    /// Where the key was set; `None` when it was not.
    pub origin: Option<Origin>,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}: {}", self.key, self.reason),
            None => write!(f, "{}: {}", self.key, self.reason),
        }
    }
}

impl core::error::Error for ConfigProblem {}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The value is not valid by itself.
    #[error("{0}")]
    Invalid(ConfigError),
    /// Neither Kafka nor Sordini has the key.
    #[error("Kafka has no such key; did you mean {nearest}?")]
    UnknownNear {
        /// The known key that it resembles.
        nearest: &'static str,
    },
    /// Neither Kafka nor Sordini has the key, and none resembles it.
    #[error("Kafka has no such key; remove it (`sordini config list` prints every key)")]
    Unknown,
    /// A topic's key stands among those of the broker.
    #[error("this is a topic's key; the broker's default for it is {broker_key}")]
    TopicKey {
        /// The broker key that gives its default.
        broker_key: &'static str,
    },
    /// The key must be set.
    #[error("must be set, for instance {key}={example}")]
    Required {
        /// The key.
        key: &'static str,
        /// A value that works on one machine.
        example: &'static str,
    },
    /// An entry of a list of listeners cannot be read.
    #[error("'{entry}' is not of the form NAME://host:port (an empty host listens on every interface)")]
    MalformedListener {
        /// The entry.
        entry: String,
    },
    /// A listener name has no security protocol.
    #[error(
        "the listener {name} has no security protocol; add {name}:PLAINTEXT to listener.security.protocol.map"
    )]
    UnmappedListener {
        /// The listener's name.
        name: String,
    },
    /// An entry of `listener.security.protocol.map` cannot be read.
    #[error(
        "'{entry}' is not of the form NAME:PROTOCOL with a protocol of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
    )]
    MalformedProtocolMap {
        /// The entry.
        entry: String,
    },
    /// Two listeners have one name.
    #[error("the listener name {name} stands in the list more than once; give each listener its own name")]
    RepeatedListenerName {
        /// The name.
        name: String,
    },
    /// Two listeners have one port.
    #[error("the port {port} stands in the list more than once; give each listener its own port")]
    RepeatedListenerPort {
        /// The port.
        port: u16,
    },
    /// There is no listener for clients or none at all.
    #[error("{0}")]
    Contradiction(Contradiction),
    /// The value asks for what Sordini cannot do yet; going on would promise what is not there.
    #[error("{0}")]
    Unsupported(Unsupported),
}

/// Keys that contradict each other, each with the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Contradiction {
    /// `broker.id` and `node.id` differ.
    #[error("broker.id is an old name of node.id and must be the same number; remove broker.id")]
    BrokerIdIsNotNodeId,
    /// A static voter set without this controller.
    #[error("this node is a controller and stands not among the voters; add {0}@host:port")]
    ControllerIsNoVoter(i32),
    /// A static voter set with this broker.
    #[error(
        "this node is no controller and stands among the voters; add controller to process.roles or remove {0}@..."
    )]
    BrokerIsVoter(i32),
    /// Two voters of one number.
    #[error("{0} stands twice among the voters; every voter has an id of its own")]
    VoterTwice(NodeId),
    /// Two ways of finding the quorum.
    #[error("set either controller.quorum.voters or controller.quorum.bootstrap.servers, not both")]
    TwoQuorums,
    /// No way of finding the quorum.
    #[error("set controller.quorum.bootstrap.servers=host:port so that the metadata quorum can be found")]
    NoQuorum,
    /// A controller listener that the controller does not listen on.
    #[error("the controller listener {0} stands not in listeners; add {0}://host:port to listeners")]
    ControllerListenerMissing(String),
    /// A controller listener on a node that is no controller.
    #[error("this node is no controller; remove the controller listener {0} from listeners")]
    ControllerListenerOnBroker(String),
    /// A listener for clients on a node that is no broker.
    #[error(
        "this node is only a controller; remove {0} from listeners or name it in controller.listener.names"
    )]
    ClientListenerOnController(String),
    /// Nothing for clients to connect to.
    #[error("all listeners are the controller's; add one for clients, for instance PLAINTEXT://:9092")]
    NoClientListener,
    /// An advertised listener that is not listened on.
    #[error("{0} is advertised and stands not in listeners; use the same names in both")]
    AdvertisedNotListened(String),
    /// An address that leads nowhere.
    #[error(
        "{host} leads clients to themselves; \
         set advertised.listeners={name}://HOST:{port} with a HOST that clients can resolve"
    )]
    AdvertisedWildcard {
        /// The listener's name.
        name: String,
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
    /// The inter-broker listener is not told to others.
    #[error("{0} is the inter-broker listener and must stand in listeners and in advertised.listeners")]
    InterBrokerNotAdvertised(String),
    /// Two ways of naming the inter-broker listener.
    #[error("set either inter.broker.listener.name or security.inter.broker.protocol, not both")]
    TwoInterBrokerListeners,
    /// The inter-broker listener is the controller's.
    #[error("{0} is a controller listener; brokers need one of their own")]
    InterBrokerIsController(String),
    /// A controller's key on a node that is none.
    #[error("needs the role controller; add it to process.roles or remove the key")]
    AutoJoinWithoutController,
    /// Less room than one request needs.
    #[error(
        "must be -1 or at least socket.request.max.bytes ({0}); otherwise the largest request never fits"
    )]
    QueueSmallerThanRequest(i64),
    /// A limit of nothing for everybody.
    #[error(
        "0 closes every connection; set max.connections.per.ip.overrides for the addresses that may connect"
    )]
    NobodyMayConnect,
    /// An exception to the connection limit that cannot be read.
    #[error("'{0}' is not of the form host:count")]
    MalformedConnectionOverride(String),
    /// A wait longer than the timeout around it.
    #[error("must be at most {0} ({1}); otherwise every idle fetch looks like a failure")]
    FetchWaitTooLong(&'static str, i64),
    /// A delay longer than the connection lives.
    #[error("must be below connections.max.idle.ms ({0})")]
    AuthenticationDelayTooLong(i64),
    /// A number outside the bounds that other keys set.
    #[error("must lie between {low} ({low_value}) and {high} ({high_value})")]
    OutsideBounds {
        /// The key of the lower bound.
        low: &'static str,
        /// Its value.
        low_value: i64,
        /// The key of the upper bound.
        high: &'static str,
        /// Its value.
        high_value: i64,
    },
    /// Heartbeats rarer than sessions end.
    #[error("must be greater than {0} ({1}); otherwise every member is thrown out between two heartbeats")]
    SessionBelowHeartbeat(&'static str, i64),
    /// Too little memory for every cleaner thread.
    #[error("must leave each of the {0} cleaner threads more than 1 MiB")]
    CleanerBufferTooSmall(i64),
    /// Directories to spare that are none of the log directories.
    #[error("{0} stands not in log.dirs; name some of log.dirs, or * alone for all")]
    CordonedUnknownDir(String),
    /// A factor of no replicas.
    #[error("must be -1 or at least 1")]
    NoReplicas,
}

/// What Kafka can do and Sordini cannot yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// TLS or SASL.
    #[error(
        "the listener {name} asks for {protocol}, and only PLAINTEXT works so far; \
         nobody would be protected as the file says"
    )]
    SecurityProtocol {
        /// The listener.
        name: String,
        /// Its protocol.
        protocol: &'static str,
    },
    /// An authorizer that is not Kafka's own.
    #[error(
        "there is no authorizer but {STANDARD_AUTHORIZER}, which keeps access control lists; \
         remove the key to keep none"
    )]
    Authorizer,
    /// A class that selects replicas and is not Kafka's own.
    #[error(
        "there are no replica selectors but {RACK_AWARE_SELECTOR} and {LEADER_SELECTOR}; \
         remove the key to have consumers read from leaders"
    )]
    ReplicaSelector,
}

const LEADER_SELECTOR: &str = "org.apache.kafka.common.replica.LeaderSelector";
const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// Whom a leader has consumers read from (KIP-392).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaSelector {
    /// Itself.
    #[default]
    Leader,
    /// A follower in the consumer's rack, if it is not there itself.
    RackAware,
}

impl ReplicaSelector {
    /// By the name of its class; nothing if there is none of that name.
    fn of_class(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("" | LEADER_SELECTOR) => Some(Self::Leader),
            Some(RACK_AWARE_SELECTOR) => Some(Self::RackAware),
            Some(_) => None,
        }
    }
}

/// Something in the configuration that does not do what its author may think.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key.
    pub key: String,
    /// Where it was set.
    pub origin: Origin,
    /// What is to be known.
    pub note: Note,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.key, self.note)
    }
}

/// What is to be known about a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Note {
    /// Known to Kafka and without effect here.
    #[error("a Kafka key without effect in Sordini")]
    NoEffect,
    /// Removed from Kafka.
    #[error("removed in Kafka {0}, ignored")]
    Removed(&'static str),
    /// Newer than Kafka 4.3.
    #[error("a key of Kafka {0}, ignored")]
    Newer(&'static str),
    /// Meant for a plugin.
    #[error("a key for a plugin of Kafka, ignored")]
    Plugin,
    /// Access control lists are kept and change nothing.
    #[error("access control lists are kept and not enforced yet: everything is allowed to everybody")]
    AclsNotEnforced,
    /// Set more than once in a file.
    #[error("set twice; the value of {first} is not used")]
    Repeated {
        /// Where the value stands that is not used.
        first: Origin,
    },
}

impl BrokerConfig {
    /// Reads a node's configuration from entries; of two entries with one key, the later one counts.
    ///
    /// # Errors
    /// Every problem that was found, in the order of the keys, single values before rules between keys.
    pub fn from_entries(
        entries: impl IntoIterator<Item = (String, String, Origin)>,
    ) -> Result<(Self, Vec<Warning>), Vec<ConfigProblem>> {
        let mut warnings = Vec::new();
        let mut kept = StaticEntries::new();
        for (key, value, origin) in entries {
            let before = kept.insert(key.clone(), Entry { value, origin: origin.clone() });
            if let Some(Entry { origin: first @ Origin::File { .. }, .. }) = before
                && matches!(origin, Origin::File { .. })
            {
                warnings.push(Warning { key, origin, note: Note::Repeated { first } });
            }
        }
        let mut problems = Vec::new();
        for (key, entry) in &kept {
            match judge_entry(key, entry) {
                Ok(None) => {}
                Ok(Some(note)) => {
                    warnings.push(Warning { key: key.clone(), origin: entry.origin.clone(), note });
                }
                Err(reason) => {
                    problems.push(ConfigProblem {
                        key: key.clone(),
                        origin: Some(entry.origin.clone()),
                        reason,
                    });
                }
            }
        }
        let layers = BrokerConfigLayers { static_entries: &kept, ..BrokerConfigLayers::defaults() };
        let mut rules = Rules { layers, problems };
        let config = rules.read();
        rules.check_numbers();
        let problems = rules.problems;
        match config {
            Some(config) if problems.is_empty() => Ok((Self { entries: kept, ..config }, warnings)),
            Some(_) | None => {
                assert!(!problems.is_empty(), "a configuration that cannot be read has a problem");
                Err(problems)
            }
        }
    }

    /// The layers of this node under the given dynamic values.
    #[must_use]
    pub fn layers<'a>(
        &'a self,
        cluster_default: &'a Overrides,
        broker: &'a Overrides,
    ) -> BrokerConfigLayers<'a> {
        BrokerConfigLayers { broker, cluster_default, static_entries: &self.entries }
    }

    /// Reads anew what holds of a key under the given dynamic values. One that a restart alone can change stays as it is. Whether
    /// it changes what holds for topics.
    pub fn read_dynamic(&mut self, key: &str, cluster_default: &Overrides, broker: &Overrides) -> bool {
        let layers = BrokerConfigLayers { broker, cluster_default, static_entries: &self.entries };
        let read = Numbers { layers: &layers };
        match key {
            "max.connections" => self.max_connections = read.u32(key),
            "max.connections.per.ip" => self.max_connections_per_ip = read.u32(key),
            "max.connections.per.ip.overrides" => {
                let text = read.text(key);
                if let Some(overrides) = text.and_then(|text| connection_overrides(&text).ok()) {
                    self.max_connections_per_ip_overrides = overrides;
                }
            }
            "producer.id.expiration.ms" => self.producer_id_expiration_ms = read.i64(key),
            LEADER_THROTTLED_RATE => self.leader_replication_throttled_rate = read.u64(key),
            FOLLOWER_THROTTLED_RATE => self.follower_replication_throttled_rate = read.u64(key),
            ALTER_LOG_DIRS_RATE => self.replica_alter_log_dirs_rate = read.u64(key),
            _ => return self.topic_defaults.set_default(key, &layers),
        }
        false
    }

    /// The listeners that clients and brokers use.
    pub fn client_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|listener| !self.controller_listener_names.contains(&listener.name))
    }
}

/// Judges one entry by itself: fine, fine with a note, or a problem.
fn judge_entry(key: &str, entry: &Entry) -> Result<Option<Note>, Reason> {
    let Some(definition) = definitions::broker_static(key) else { return judge_stranger(key, entry) };
    let value = definition.parse(&entry.value).map_err(Reason::Invalid)?;
    topic::check_as_topic_default(key, &value).map_err(Reason::Invalid)?;
    if key == "authorizer.class.name" {
        return match value.as_str() {
            Some("") => Ok(None),
            Some(STANDARD_AUTHORIZER) => Ok(Some(Note::AclsNotEnforced)),
            Some(_) | None => Err(Reason::Unsupported(Unsupported::Authorizer)),
        };
    }
    if key == "replica.selector.class" && ReplicaSelector::of_class(value.as_str()).is_none() {
        return Err(Reason::Unsupported(Unsupported::ReplicaSelector));
    }
    let changes_something = definition.effect == Effect::Effective || is_judged_by_rules(key);
    let is_default = definition.default_value().is_some_and(|default| default == value);
    Ok((!changes_something && !is_default).then_some(Note::NoEffect))
}

/// Keys without effect of their own that decide how others are read.
fn is_judged_by_rules(key: &str) -> bool {
    matches!(key, "security.inter.broker.protocol")
}

/// Keys that are in no table and in many files.
const STRANGERS: [(&str, Note); 36] = [
    ("allow.everyone.if.no.acl.found", Note::Plugin),
    ("auto.include.jmx.reporter", Note::Removed("4.0")),
    ("broker.id.generation.enable", Note::Removed("4.0")),
    ("control.plane.listener.name", Note::Removed("4.0")),
    ("delegation.token.master.key", Note::Removed("4.0")),
    ("errors.deadletterqueue.auto.create.topics.enable", Note::Newer("4.4")),
    ("errors.deadletterqueue.topic.name.prefix", Note::Newer("4.4")),
    ("group.consumer.assignor.offload.enable", Note::Newer("4.4")),
    ("group.share.assignor.offload.enable", Note::Newer("4.4")),
    ("group.share.dlq.manager.class.name", Note::Newer("4.4")),
    ("group.share.enable", Note::Removed("4.3")),
    ("group.streams.acceptable.recovery.lag", Note::Newer("4.4")),
    ("group.streams.assignor.offload.enable", Note::Newer("4.4")),
    ("group.streams.assignors", Note::Newer("4.4")),
    ("group.streams.max.warmup.replicas", Note::Newer("4.4")),
    ("group.streams.min.task.offset.interval.ms", Note::Newer("4.4")),
    ("group.streams.num.warmup.replicas", Note::Newer("4.4")),
    ("group.streams.rack.aware.assignment.tags", Note::Newer("4.4")),
    ("group.streams.task.offset.interval.ms", Note::Newer("4.4")),
    ("group.streams.topology.description.plugin.class", Note::Newer("4.4")),
    ("inter.broker.protocol.version", Note::Removed("4.0")),
    ("log.message.downconversion.enable", Note::Removed("4.0")),
    ("log.message.format.version", Note::Removed("4.0")),
    ("log.message.timestamp.difference.max.ms", Note::Removed("4.0")),
    ("log.remote.copy.lag.bytes", Note::Newer("4.4")),
    ("log.remote.copy.lag.ms", Note::Newer("4.4")),
    ("metadata.max.fetch.size.in.bytes", Note::Removed("4.3")),
    ("offsets.commit.required.acks", Note::Removed("4.0")),
    ("password.encoder.secret", Note::Removed("4.0")),
    ("sasl.oauthbearer.allow.unverified.audience", Note::Newer("4.4")),
    ("sasl.oauthbearer.allow.unverified.issuer", Note::Newer("4.4")),
    ("super.users", Note::Plugin),
    ("zookeeper.connect", Note::Removed("4.0")),
    ("zookeeper.connection.timeout.ms", Note::Removed("4.0")),
    ("zookeeper.session.timeout.ms", Note::Removed("4.0")),
    ("zookeeper.set.acl", Note::Removed("4.0")),
];

/// Judges an entry that has no definition of its own.
fn judge_stranger(key: &str, entry: &Entry) -> Result<Option<Note>, Reason> {
    if let Some(base) = definitions::without_listener_prefix(key) {
        let Some(definition) = definitions::broker_static(base) else { return Err(unknown(base)) };
        definition.parse(&entry.value).map_err(Reason::Invalid)?;
        return Ok(Some(Note::NoEffect));
    }
    if ["rsm.config.", "rlmm.config.", "config.providers."].iter().any(|prefix| key.starts_with(prefix)) {
        return Ok(Some(Note::Plugin));
    }
    if let Some((_, note)) = STRANGERS.iter().find(|(name, _)| *name == key) {
        return Ok(Some(note.clone()));
    }
    if let Some(broker_key) = definitions::broker_keys_of_topic_key(key).first() {
        return Err(Reason::TopicKey { broker_key });
    }
    Err(unknown(key))
}

fn unknown(key: &str) -> Reason {
    let known = definitions::BROKER.iter().map(|definition| definition.name);
    nearest(key, known).map_or(Reason::Unknown, |nearest| Reason::UnknownNear { nearest })
}

/// Reads typed values out of layers; what is not readable counts as unset, so that one wrong key hides no other problem.
struct Numbers<'a> {
    layers: &'a BrokerConfigLayers<'a>,
}

impl Numbers<'_> {
    fn i64(&self, key: &str) -> i64 {
        self.layers.value(key).and_then(|value| value.as_i64()).expect("the key has a number by default")
    }

    /// A number of a LONG key whose validator excludes negative ones.
    fn u64(&self, key: &str) -> u64 {
        u64::try_from(self.i64(key)).expect("validated as not negative")
    }

    /// A number of a key whose validator excludes negative ones; 0 stands for a negative one where it does not.
    fn u32(&self, key: &str) -> u32 {
        u32::try_from(self.i64(key).max(0)).expect("the key is an INT")
    }

    /// How many of something, of an INT key that may be unset; 1 stands for less.
    fn usize(&self, key: &str) -> Option<usize> {
        let number = self.layers.value(key)?.as_i64()?;
        Some(usize::try_from(number).unwrap_or(0).max(1))
    }

    fn i32(&self, key: &str) -> i32 {
        i32::try_from(self.i64(key)).expect("the key is an INT")
    }

    fn flag(&self, key: &str) -> bool {
        self.i64(key) == 1
    }

    fn text(&self, key: &str) -> Option<String> {
        self.layers.value(key)?.as_str().map(ToOwned::to_owned)
    }

    fn list(&self, key: &str) -> Option<Vec<String>> {
        self.layers.value(key)?.as_list().map(<[String]>::to_vec)
    }
}

/// The rules between keys, and the problems that they found.
struct Rules<'a> {
    layers: BrokerConfigLayers<'a>,
    problems: Vec<ConfigProblem>,
}

impl Rules<'_> {
    fn numbers(&self) -> Numbers<'_> {
        Numbers { layers: &self.layers }
    }

    fn is_set(&self, key: &str) -> bool {
        self.layers.static_entries.contains_key(key)
    }

    /// Notes a problem, unless the key has one already: a second sentence about the same line only distracts.
    fn problem(&mut self, key: &str, reason: Reason) {
        if self.problems.iter().all(|problem| problem.key != key) {
            let origin = self.layers.static_entries.get(key).map(|entry| entry.origin.clone());
            self.problems.push(ConfigProblem { key: key.to_owned(), origin, reason });
        }
    }

    fn contradiction(&mut self, key: &str, contradiction: Contradiction) {
        self.problem(key, Reason::Contradiction(contradiction));
    }

    fn require(&mut self, key: &'static str, example: &'static str) {
        debug_assert!(definitions::broker(key).is_some_and(|it| it.default == DefaultValue::Required));
        if !self.is_set(key) {
            self.problem(key, Reason::Required { key, example });
        }
    }

    fn read(&mut self) -> Option<BrokerConfig> {
        self.require("node.id", "1");
        self.require("process.roles", "broker,controller");
        let read = self.numbers();
        let node_id = read.layers.value("node.id")?.as_i64().and_then(|id| i32::try_from(id).ok())?;
        let roles = read.list("process.roles")?;
        let role = |name: &str| roles.iter().any(|role| role == name);
        let process_roles = ProcessRoles { broker: role("broker"), controller: role("controller") };
        let broker_id = read.i64("broker.id");
        if self.is_set("broker.id") && broker_id != i64::from(node_id) {
            self.contradiction("broker.id", Contradiction::BrokerIdIsNotNodeId);
        }
        let (voters, bootstrap_servers) = self.read_quorum(node_id, process_roles);
        let listeners =
            self.read_listeners(process_roles, !voters.is_empty() || !bootstrap_servers.is_empty())?;
        let read = self.numbers();
        let overrides_text = read.text("max.connections.per.ip.overrides").unwrap_or_default();
        let connection_overrides = connection_overrides(&overrides_text).unwrap_or_else(|entry| {
            self.contradiction(
                "max.connections.per.ip.overrides",
                Contradiction::MalformedConnectionOverride(entry),
            );
            Vec::new()
        });
        let read = self.numbers();
        let log_dirs = read
            .list("log.dirs")
            .filter(|dirs| !dirs.is_empty())
            .or_else(|| read.list("log.dir").filter(|dirs| !dirs.is_empty()))
            .unwrap_or_else(|| split_list("/tmp/kafka-logs"));
        let log_dir_count = log_dirs.len();
        let metadata_log_dir = read.text("metadata.log.dir").unwrap_or_else(|| log_dirs[0].clone());
        let replication_factor =
            i16::try_from(read.i64("default.replication.factor").max(1)).unwrap_or(i16::MAX);
        Some(BrokerConfig {
            node_id: NodeId(node_id),
            process_roles,
            listeners: listeners.bound,
            advertised_listeners: listeners.advertised,
            controller_listener_names: listeners.controller_names,
            inter_broker_listener_name: listeners.inter_broker,
            controller_quorum_voters: voters,
            controller_quorum_bootstrap_servers: bootstrap_servers,
            quorum: QuorumConfig {
                election_timeout_ms: read.i64("controller.quorum.election.timeout.ms"),
                election_backoff_max_ms: read.i64("controller.quorum.election.backoff.max.ms"),
                fetch_timeout_ms: read.i64("controller.quorum.fetch.timeout.ms"),
                request_timeout_ms: read.i64("controller.quorum.request.timeout.ms"),
                retry_backoff_ms: read.i64("controller.quorum.retry.backoff.ms"),
                fetch_max_bytes: u64::from(read.u32("controller.quorum.fetch.max.bytes")),
                fetch_snapshot_max_bytes: u64::from(read.u32("controller.quorum.fetch.snapshot.max.bytes")),
                auto_join: read.flag("controller.quorum.auto.join.enable"),
                snapshot_bytes: u64::try_from(read.i64("metadata.log.max.record.bytes.between.snapshots"))
                    .unwrap_or(u64::MAX),
                snapshot_interval_ms: read.i64("metadata.log.max.snapshot.interval.ms"),
                retention_bytes: u64::try_from(read.i64("metadata.max.retention.bytes")).ok(),
                retention_ms: Some(read.i64("metadata.max.retention.ms")).filter(|millis| *millis >= 0),
                segment_bytes: if self.is_set("internal.metadata.log.segment.bytes") {
                    read.u32("internal.metadata.log.segment.bytes")
                } else {
                    read.u32("metadata.log.segment.bytes")
                },
                segment_ms: read.i64("metadata.log.segment.ms"),
                file_delete_delay_ms: read.i64("internal.metadata.delete.delay.millis").max(0),
            },
            broker_rack: read.text("broker.rack"),
            replica_selector: ReplicaSelector::of_class(read.text("replica.selector.class").as_deref())
                .unwrap_or_default(),
            log_dirs,
            metadata_log_dir,
            num_partitions: i32::try_from(read.i64("num.partitions")).expect("the key is an INT"),
            default_replication_factor: replication_factor,
            auto_create_topics_enable: read.flag("auto.create.topics.enable"),
            delete_topic_enable: read.flag("delete.topic.enable"),
            socket_request_max_bytes: read.u32("socket.request.max.bytes"),
            queued_max_request_bytes: u64::try_from(read.i64("queued.max.request.bytes"))
                .ok()
                .filter(|bytes| *bytes > 0),
            fetch_max_bytes: read.u32("fetch.max.bytes"),
            max_incremental_fetch_session_cache_slots: read.u32("max.incremental.fetch.session.cache.slots"),
            connections_max_idle_ms: Some(read.i64("connections.max.idle.ms")).filter(|millis| *millis >= 0),
            max_connections: read.u32("max.connections"),
            max_connections_per_ip: read.u32("max.connections.per.ip"),
            max_connections_per_ip_overrides: connection_overrides,
            group_min_session_timeout_ms: read.i32("group.min.session.timeout.ms"),
            group_max_session_timeout_ms: read.i32("group.max.session.timeout.ms"),
            group_initial_rebalance_delay_ms: read.i64("group.initial.rebalance.delay.ms").max(0),
            group_max_size: read.u32("group.max.size"),
            offset_metadata_max_bytes: read.u32("offset.metadata.max.bytes"),
            offsets_commit_timeout_ms: read.i64("offsets.commit.timeout.ms"),
            offsets_retention_ms: read.i64("offsets.retention.minutes").saturating_mul(60_000),
            offsets_retention_check_interval_ms: read.i64("offsets.retention.check.interval.ms"),
            offsets_topic_partitions: read.i32("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: i16::try_from(read.i32("offsets.topic.replication.factor"))
                .expect("the key is a SHORT"),
            offsets_topic_segment_bytes: read.u32("offsets.topic.segment.bytes"),
            offsets_topic_compression: offsets_topic_compression(&read),
            request_timeout_ms: read.i64("request.timeout.ms").max(0),
            max_request_partition_size_limit: read.u32("max.request.partition.size.limit"),
            producer_id_expiration_ms: read.i64("producer.id.expiration.ms"),
            producer_id_expiration_check_interval_ms: read.i64("producer.id.expiration.check.interval.ms"),
            replica_lag_time_max_ms: read.i64("replica.lag.time.max.ms").max(0),
            replica_fetch_wait_max_ms: read.i32("replica.fetch.wait.max.ms"),
            replica_fetch_min_bytes: read.i32("replica.fetch.min.bytes"),
            replica_fetch_max_bytes: read.i32("replica.fetch.max.bytes"),
            replica_fetch_response_max_bytes: read.i32("replica.fetch.response.max.bytes"),
            replica_fetch_backoff_ms: read.i64("replica.fetch.backoff.ms").max(1),
            replica_socket_timeout_ms: read.i64("replica.socket.timeout.ms").max(1),
            replication_quota_windows: read.u32("replication.quota.window.num"),
            replication_quota_window_ms: read
                .i64("replication.quota.window.size.seconds")
                .saturating_mul(1000),
            leader_replication_throttled_rate: read.u64(LEADER_THROTTLED_RATE),
            follower_replication_throttled_rate: read.u64(FOLLOWER_THROTTLED_RATE),
            replica_alter_log_dirs_rate: read.u64(ALTER_LOG_DIRS_RATE),
            alter_log_dirs_quota_windows: read.u32("alter.log.dirs.replication.quota.window.num"),
            alter_log_dirs_quota_window_ms: read
                .i64("alter.log.dirs.replication.quota.window.size.seconds")
                .saturating_mul(1000),
            alter_log_dirs_at_once: read.usize("num.replica.alter.log.dirs.threads").unwrap_or(log_dir_count),
            replica_high_watermark_checkpoint_interval_ms: read
                .i64("replica.high.watermark.checkpoint.interval.ms")
                .max(0),
            log_flush_scheduler_interval_ms: read.i64("log.flush.scheduler.interval.ms").max(0),
            log_flush_offset_checkpoint_interval_ms: read.i64("log.flush.offset.checkpoint.interval.ms"),
            log_flush_start_offset_checkpoint_interval_ms: read
                .i64("log.flush.start.offset.checkpoint.interval.ms"),
            log_retention_check_interval_ms: read.i64("log.retention.check.interval.ms"),
            log_initial_task_delay_ms: read.i64("log.initial.task.delay.ms"),
            broker_session_timeout_ms: u64::from(read.u32("broker.session.timeout.ms")),
            broker_heartbeat_interval_ms: read.i64("broker.heartbeat.interval.ms").max(1),
            initial_broker_registration_timeout_ms: read.i64("initial.broker.registration.timeout.ms"),
            controlled_shutdown_enable: read.flag("controlled.shutdown.enable"),
            leader_imbalance_check_interval_ms: read
                .flag("auto.leader.rebalance.enable")
                .then(|| read.i64("leader.imbalance.check.interval.seconds").saturating_mul(1000)),
            unclean_leader_election_interval_ms: read.i64("unclean.leader.election.interval.ms"),
            metadata_max_idle_interval_ms: Some(read.i64("metadata.max.idle.interval.ms"))
                .filter(|millis| *millis > 0),
            keeps_acls: read.text("authorizer.class.name").is_some_and(|name| name == STANDARD_AUTHORIZER),
            topic_defaults: TopicConfig::of_broker(&self.layers),
            entries: StaticEntries::new(),
        })
    }

    fn read_quorum(&mut self, node_id: i32, roles: ProcessRoles) -> (Vec<Voter>, Vec<(String, u16)>) {
        let voter = |text: &String| {
            let (id, server) = text.split_once('@')?;
            let (host, port) = split_host_port(server)?;
            Some(Voter { id: NodeId(id.parse().ok()?), host: host.to_owned(), port })
        };
        let server = |text: &String| split_host_port(text).map(|(host, port)| (host.to_owned(), port));
        let read = self.numbers();
        let voters = read.list("controller.quorum.voters").unwrap_or_default();
        let voters: Vec<Voter> = voters.iter().filter_map(voter).collect();
        let servers = read.list("controller.quorum.bootstrap.servers").unwrap_or_default();
        let servers: Vec<(String, u16)> = servers.iter().filter_map(server).collect();
        let is_voter = voters.iter().any(|voter| voter.id == NodeId(node_id));
        let twice = voters
            .iter()
            .enumerate()
            .find(|(at, voter)| voters[..*at].iter().any(|other| other.id == voter.id));
        if let Some((_, voter)) = twice {
            self.contradiction("controller.quorum.voters", Contradiction::VoterTwice(voter.id));
        } else if !voters.is_empty() && !servers.is_empty() {
            self.contradiction("controller.quorum.voters", Contradiction::TwoQuorums);
        } else if !voters.is_empty() && roles.controller && !is_voter {
            self.contradiction("controller.quorum.voters", Contradiction::ControllerIsNoVoter(node_id));
        } else if is_voter && !roles.controller {
            self.contradiction("controller.quorum.voters", Contradiction::BrokerIsVoter(node_id));
        }
        (voters, servers)
    }

    /// Reads every key about listeners. A node that is its own quorum and names no controller listener needs none: its
    /// broker and its controller speak inside the process.
    fn read_listeners(&mut self, roles: ProcessRoles, has_quorum_address: bool) -> Option<Listeners> {
        let read = self.numbers();
        let texts = read.list("listeners").unwrap_or_default();
        let advertised_texts = read.list("advertised.listeners").filter(|list| !list.is_empty());
        let map_text = read.text("listener.security.protocol.map").unwrap_or_default();
        let named = read.text("inter.broker.listener.name").filter(|name| !name.is_empty());
        let protocol_name = read.text("security.inter.broker.protocol").unwrap_or_default();
        let mut controller_names = read.list("controller.listener.names").unwrap_or_default();
        for name in &mut controller_names {
            name.make_ascii_uppercase();
        }
        let is_own_quorum = roles.broker && roles.controller;
        if !has_quorum_address && !is_own_quorum {
            self.contradiction("controller.quorum.bootstrap.servers", Contradiction::NoQuorum);
        }
        if has_quorum_address || !roles.broker {
            self.require("controller.listener.names", "CONTROLLER");
        }
        let mut map = self.read_protocol_map(&map_text);
        if !self.is_set("listener.security.protocol.map") {
            // Kafka maps controller listeners to PLAINTEXT while nobody maps anything.
            map.extend(controller_names.iter().map(|name| (name.clone(), SecurityProtocol::Plaintext)));
        }
        let bound = self.read_listener_list("listeners", &texts, &map);
        self.check_unique("listeners", &bound, true);
        for name in &controller_names {
            let listens = bound.iter().any(|listener| listener.name == *name);
            if roles.controller && !listens {
                self.contradiction(
                    "controller.listener.names",
                    Contradiction::ControllerListenerMissing(name.clone()),
                );
            } else if !roles.controller && listens {
                self.contradiction("listeners", Contradiction::ControllerListenerOnBroker(name.clone()));
            }
        }
        let for_clients: Vec<&Listener> =
            bound.iter().filter(|listener| !controller_names.contains(&listener.name)).collect();
        if roles.broker && for_clients.is_empty() {
            self.contradiction("listeners", Contradiction::NoClientListener);
            return None;
        }
        if let Some(listener) = for_clients.first()
            && !roles.broker
        {
            let name = listener.name.clone();
            self.contradiction("listeners", Contradiction::ClientListenerOnController(name));
        }
        let advertised = match &advertised_texts {
            Some(texts) => self.read_listener_list("advertised.listeners", texts, &map),
            None => for_clients.iter().map(|listener| (*listener).clone()).collect(),
        };
        self.check_advertised(&advertised, advertised_texts.is_some(), &bound);
        // A file may advertise the controller's listeners too, as the one that Kafka ships does; no client learns of them.
        let advertised: Vec<Listener> =
            advertised.into_iter().filter(|listener| !controller_names.contains(&listener.name)).collect();
        // A controller alone has no listener for brokers; which one they use among themselves is nothing to it.
        let inter_broker = if roles.broker {
            self.read_inter_broker(named, &protocol_name, &advertised)?
        } else {
            named.unwrap_or_default()
        };
        if controller_names.contains(&inter_broker) {
            self.contradiction(
                "inter.broker.listener.name",
                Contradiction::InterBrokerIsController(inter_broker.clone()),
            );
        }
        Some(Listeners { bound, advertised, controller_names, inter_broker })
    }

    fn read_protocol_map(&mut self, text: &str) -> Vec<(String, SecurityProtocol)> {
        let mut map = Vec::new();
        for entry in split_list(text) {
            let pair = entry
                .split_once(':')
                .and_then(|(name, protocol)| Some((name, SecurityProtocol::from_name(protocol.trim())?)));
            match pair {
                Some((name, protocol)) => map.push((name.trim().to_ascii_uppercase(), protocol)),
                None => {
                    self.problem("listener.security.protocol.map", Reason::MalformedProtocolMap { entry });
                }
            }
        }
        map
    }

    fn read_listener_list(
        &mut self,
        key: &str,
        texts: &[String],
        map: &[(String, SecurityProtocol)],
    ) -> Vec<Listener> {
        let mut listeners = Vec::new();
        for entry in texts {
            let parts = entry
                .split_once("://")
                .filter(|(name, _)| is_listener_name(name))
                .and_then(|(name, address)| Some((name.to_ascii_uppercase(), split_host_port(address)?)));
            let Some((name, (host, port))) = parts else {
                self.problem(key, Reason::MalformedListener { entry: entry.clone() });
                continue;
            };
            let Some((_, protocol)) = map.iter().find(|(mapped, _)| *mapped == name) else {
                self.problem(key, Reason::UnmappedListener { name });
                continue;
            };
            if *protocol != SecurityProtocol::Plaintext {
                let protocol = protocol.name();
                self.problem(
                    key,
                    Reason::Unsupported(Unsupported::SecurityProtocol { name: name.clone(), protocol }),
                );
            }
            listeners.push(Listener { name, host: host.to_owned(), port, protocol: *protocol });
        }
        listeners
    }

    fn check_unique(&mut self, key: &str, listeners: &[Listener], ports_too: bool) {
        for (at, listener) in listeners.iter().enumerate() {
            let before = &listeners[..at];
            if before.iter().any(|other| other.name == listener.name) {
                self.problem(key, Reason::RepeatedListenerName { name: listener.name.clone() });
            }
            let clash = before.iter().any(|other| {
                // One port on one IPv4 and one IPv6 address is a pair, not a clash.
                let pair = listener.host.contains(':') != other.host.contains(':')
                    && !listener.host.is_empty()
                    && !other.host.is_empty();
                other.port == listener.port && !pair
            });
            if ports_too && listener.port != 0 && clash {
                self.problem(key, Reason::RepeatedListenerPort { port: listener.port });
            }
        }
    }

    fn check_advertised(&mut self, advertised: &[Listener], is_explicit: bool, bound: &[Listener]) {
        let key = if is_explicit { "advertised.listeners" } else { "listeners" };
        self.check_unique(key, advertised, false);
        for Listener { name, host, port, .. } in advertised {
            if bound.iter().all(|other| other.name != *name) {
                self.contradiction(key, Contradiction::AdvertisedNotListened(name.clone()));
            } else if host == "0.0.0.0" || host == "::" {
                let (name, host, port) = (name.clone(), host.clone(), *port);
                self.contradiction(key, Contradiction::AdvertisedWildcard { name, host, port });
            }
        }
    }

    fn read_inter_broker(
        &mut self,
        named: Option<String>,
        protocol_name: &str,
        advertised: &[Listener],
    ) -> Option<String> {
        let by_name = |name: &str| advertised.iter().any(|listener| listener.name == name);
        if let Some(name) = named {
            let name = name.to_ascii_uppercase();
            if self.is_set("security.inter.broker.protocol") {
                self.contradiction("inter.broker.listener.name", Contradiction::TwoInterBrokerListeners);
            } else if !by_name(&name) {
                self.contradiction(
                    "inter.broker.listener.name",
                    Contradiction::InterBrokerNotAdvertised(name.clone()),
                );
            }
            return Some(name);
        }
        let protocol = SecurityProtocol::from_name(protocol_name)?;
        if by_name(protocol.name()) {
            return Some(protocol.name().to_owned());
        }
        // Without a listener of that very name Kafka refuses; one that speaks the protocol serves as well.
        let Some(listener) = advertised.iter().find(|listener| listener.protocol == protocol) else {
            if !advertised.is_empty() {
                self.contradiction(
                    "security.inter.broker.protocol",
                    Contradiction::InterBrokerNotAdvertised(protocol.name().to_owned()),
                );
            }
            return None;
        };
        Some(listener.name.clone())
    }

    fn check_numbers(&mut self) {
        let value = |rules: &Self, key: &str| rules.numbers().i64(key);
        let request = value(self, "socket.request.max.bytes");
        let queued = value(self, "queued.max.request.bytes");
        if queued > 0 && queued < request {
            self.contradiction("queued.max.request.bytes", Contradiction::QueueSmallerThanRequest(request));
        }
        let overrides = self.numbers().text("max.connections.per.ip.overrides").unwrap_or_default();
        if value(self, "max.connections.per.ip") == 0 && overrides.is_empty() {
            self.contradiction("max.connections.per.ip", Contradiction::NobodyMayConnect);
        }
        let wait = value(self, "replica.fetch.wait.max.ms");
        for limit_key in ["replica.socket.timeout.ms", "replica.lag.time.max.ms"] {
            let limit = value(self, limit_key);
            if wait > limit {
                self.contradiction(
                    "replica.fetch.wait.max.ms",
                    Contradiction::FetchWaitTooLong(limit_key, limit),
                );
            }
        }
        let idle = value(self, "connections.max.idle.ms");
        if idle > 0 && value(self, "connection.failed.authentication.delay.ms") >= idle {
            self.contradiction(
                "connection.failed.authentication.delay.ms",
                Contradiction::AuthenticationDelayTooLong(idle),
            );
        }
        let threads = value(self, "log.cleaner.threads");
        if threads > 0 && value(self, "log.cleaner.dedupe.buffer.size") / threads <= 1024 * 1024 {
            self.contradiction(
                "log.cleaner.dedupe.buffer.size",
                Contradiction::CleanerBufferTooSmall(threads),
            );
        }
        let factor = value(self, "default.replication.factor");
        if factor < 1 && factor != -1 {
            self.contradiction("default.replication.factor", Contradiction::NoReplicas);
        }
        let is_controller = self
            .numbers()
            .list("process.roles")
            .is_some_and(|roles| roles.iter().any(|role| role == "controller"));
        if self.numbers().flag("controller.quorum.auto.join.enable") && !is_controller {
            self.contradiction(
                "controller.quorum.auto.join.enable",
                Contradiction::AutoJoinWithoutController,
            );
        }
        for (key, low, high) in GROUP_BOUNDS {
            let (low_value, high_value) = (value(self, low), value(self, high));
            if !(low_value..=high_value).contains(&value(self, key)) {
                self.contradiction(key, Contradiction::OutsideBounds { low, low_value, high, high_value });
            }
        }
        for (session, heartbeat) in GROUP_SESSIONS {
            let millis = value(self, heartbeat);
            if value(self, session) <= millis {
                self.contradiction(session, Contradiction::SessionBelowHeartbeat(heartbeat, millis));
            }
        }
        let cordoned = self.numbers().list("cordoned.log.dirs").unwrap_or_default();
        let dirs =
            self.numbers().list("log.dirs").or_else(|| self.numbers().list("log.dir")).unwrap_or_default();
        let stranger = cordoned.iter().find(|dir| !dirs.contains(dir));
        if let Some(stranger) = stranger
            && cordoned != ["*"]
        {
            self.contradiction("cordoned.log.dirs", Contradiction::CordonedUnknownDir(stranger.clone()));
        }
    }
}

struct Listeners {
    bound: Vec<Listener>,
    advertised: Vec<Listener>,
    controller_names: Vec<String>,
    inter_broker: String,
}

/// A key, and the keys of its bounds.
const GROUP_BOUNDS: [(&str, &str, &str); 6] = [
    (
        "group.consumer.session.timeout.ms",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ),
    (
        "group.consumer.heartbeat.interval.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    (
        "group.share.session.timeout.ms",
        "group.share.min.session.timeout.ms",
        "group.share.max.session.timeout.ms",
    ),
    (
        "group.share.heartbeat.interval.ms",
        "group.share.min.heartbeat.interval.ms",
        "group.share.max.heartbeat.interval.ms",
    ),
    (
        "group.streams.session.timeout.ms",
        "group.streams.min.session.timeout.ms",
        "group.streams.max.session.timeout.ms",
    ),
    (
        "group.streams.heartbeat.interval.ms",
        "group.streams.min.heartbeat.interval.ms",
        "group.streams.max.heartbeat.interval.ms",
    ),
];

/// A session timeout and the heartbeat interval that it must exceed.
const GROUP_SESSIONS: [(&str, &str); 3] = [
    ("group.consumer.session.timeout.ms", "group.consumer.heartbeat.interval.ms"),
    ("group.share.session.timeout.ms", "group.share.heartbeat.interval.ms"),
    ("group.streams.session.timeout.ms", "group.streams.heartbeat.interval.ms"),
];

fn is_listener_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.')
}

/// Reads `max.connections.per.ip.overrides`; the error is the entry that cannot be read.
fn connection_overrides(text: &str) -> Result<Vec<(String, u32)>, String> {
    split_list(text)
        .into_iter()
        .map(|entry| match entry.rsplit_once(':') {
            Some((host, count)) if !host.is_empty() => {
                count.trim().parse().map(|count| (host.trim().to_string(), count)).map_err(|_| entry.clone())
            }
            Some(_) | None => Err(entry),
        })
        .collect()
}

/// The codec of `offsets.topic.compression.codec`, which is a number; one that stands for no codec is none.
fn offsets_topic_compression(read: &Numbers<'_>) -> Compression {
    match read.i64("offsets.topic.compression.codec") {
        1 => Compression::Gzip,
        2 => Compression::Snappy,
        3 => Compression::Lz4,
        4 => Compression::Zstd,
        _ => Compression::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic::CleanupPolicy;

    /// The entries of a properties file, one to a line.
    fn read(file: &str) -> Result<(BrokerConfig, Vec<Warning>), Vec<ConfigProblem>> {
        BrokerConfig::from_entries(file.lines().enumerate().filter_map(|(at, line)| {
            let (key, value) = line.trim().split_once('=')?;
            let line = u32::try_from(at + 1).expect("a short file");
            Some((key.to_owned(), value.to_owned(), Origin::File { path: "f".into(), line }))
        }))
    }

    fn accepted(file: &str) -> BrokerConfig {
        read(file).expect("the file is fine").0
    }

    /// The only problem of a file that is added to a complete one, as a sentence.
    fn problem(addition: &str) -> String {
        let file = alloc::format!("node.id=1\nprocess.roles=broker,controller\n{addition}");
        let problems = read(&file).expect_err(addition);
        assert_eq!(problems.len(), 1, "{addition}: {problems:?}");
        problems[0].to_string()
    }

    const SMALLEST: &str = "node.id=1\nprocess.roles=broker,controller";

    #[test]
    fn smallest_file_is_a_quorum_of_one_with_kafka_s_defaults() {
        let config = accepted(SMALLEST);
        assert_eq!(config.node_id, NodeId(1));
        assert_eq!(
            config.listeners.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["PLAINTEXT://:9092"]
        );
        assert_eq!(config.advertised_listeners, config.listeners);
        assert_eq!(config.inter_broker_listener_name, "PLAINTEXT");
        assert!(config.controller_listener_names.is_empty());
        assert_eq!(config.log_dirs, ["/tmp/kafka-logs"]);
        assert_eq!(config.metadata_log_dir, "/tmp/kafka-logs");
        assert_eq!(config.topic_defaults, TopicConfig::default());
        assert_eq!((config.num_partitions, config.default_replication_factor), (1, 1));
        assert_eq!(config.queued_max_request_bytes, None);
        assert_eq!(config.connections_max_idle_ms, Some(600_000));
    }

    #[test]
    fn file_of_the_shape_that_kafka_ships_is_accepted() {
        let (config, warnings) = read(
            "process.roles=broker,controller
             node.id=1
             controller.quorum.bootstrap.servers=localhost:9093
             listeners=PLAINTEXT://:9092,CONTROLLER://:9093
             inter.broker.listener.name=PLAINTEXT
             advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
             controller.listener.names=CONTROLLER
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL
             num.network.threads=3
             num.io.threads=12
             log.dirs=/a,/b
             offsets.topic.replication.factor=1
             log.retention.hours=24",
        )
        .expect("the file is fine");
        assert_eq!(config.controller_listener_names, ["CONTROLLER"]);
        let advertised: Vec<_> = config.advertised_listeners.iter().map(ToString::to_string).collect();
        assert_eq!(advertised, ["PLAINTEXT://localhost:9092"]);
        assert_eq!(config.client_listeners().count(), 1);
        assert_eq!((config.log_dirs.len(), config.metadata_log_dir.as_str()), (2, "/a"));
        assert_eq!(config.topic_defaults.retention_ms, Some(86_400_000));
        let warned: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warned, ["f:10: num.io.threads: a Kafka key without effect in Sordini"]);
    }

    #[test]
    fn problems_name_the_key_the_line_and_the_way_out() {
        let table = [
            (
                "log.retention.sm=5",
                "f:3: log.retention.sm: Kafka has no such key; did you mean log.retention.ms?",
            ),
            (
                "retention.ms=5",
                "f:3: retention.ms: this is a topic's key; the broker's default for it is log.retention.ms",
            ),
            (
                "num.partitions=none",
                "f:3: num.partitions: Invalid value none for configuration num.partitions: \
                 expected a number of type INT",
            ),
            (
                "num.partitions=0",
                "f:3: num.partitions: Invalid value 0 for configuration num.partitions: \
                 Value must be at least 1",
            ),
            (
                "log.retention.minutes=0",
                "f:3: log.retention.minutes: Invalid value 0 for configuration log.retention.minutes: \
                 must be -1 (no limit) or at least 1",
            ),
            (
                "listeners=PLAINTEXT//:9092",
                "f:3: listeners: 'PLAINTEXT//:9092' is not of the form NAME://host:port \
                 (an empty host listens on every interface)",
            ),
            (
                "listeners=PLAINTEXT://0.0.0.0:9092",
                "f:3: listeners: 0.0.0.0 leads clients to themselves; \
                 set advertised.listeners=PLAINTEXT://HOST:9092 with a HOST that clients can resolve",
            ),
            (
                "listeners=PLAINTEXT://:9092,OTHER://:9093",
                "f:3: listeners: the listener OTHER has no security protocol; \
                 add OTHER:PLAINTEXT to listener.security.protocol.map",
            ),
            (
                "broker.id=2",
                "f:3: broker.id: broker.id is an old name of node.id and must be the same number; remove broker.id",
            ),
            (
                "queued.max.request.bytes=100",
                "f:3: queued.max.request.bytes: must be -1 or at least socket.request.max.bytes (104857600); \
                 otherwise the largest request never fits",
            ),
            (
                "max.connections.per.ip.overrides=host",
                "f:3: max.connections.per.ip.overrides: 'host' is not of the form host:count",
            ),
        ];
        for (addition, sentence) in table {
            assert_eq!(problem(addition), sentence);
        }
    }

    #[test]
    fn contradictions_are_found_on_the_key_that_can_mend_them() {
        let table = [
            (
                "advertised.listeners=OTHER://h:1\nlistener.security.protocol.map=OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                "advertised.listeners",
            ),
            ("advertised.listeners=PLAINTEXT://0.0.0.0:1", "advertised.listeners"),
            ("inter.broker.listener.name=OTHER", "inter.broker.listener.name"),
            (
                "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT",
                "inter.broker.listener.name",
            ),
            ("controller.listener.names=CONTROLLER", "controller.listener.names"),
            ("controller.quorum.bootstrap.servers=h:1", "controller.listener.names"),
            ("listeners=PLAINTEXT://:1,PLAINTEXT://:2", "listeners"),
            (
                "listeners=PLAINTEXT://h:1,SECOND://:1\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECOND:PLAINTEXT",
                "listeners",
            ),
            ("listeners=C://:1\ncontroller.listener.names=C", "listeners"),
            ("listeners=SSL://:9092\nsecurity.inter.broker.protocol=SSL", "listeners"),
            ("listener.security.protocol.map=PLAINTEXT:PLAINTEXT,X:CLEAR", "listener.security.protocol.map"),
            ("max.connections.per.ip=0", "max.connections.per.ip"),
            ("replica.fetch.wait.max.ms=30001", "replica.fetch.wait.max.ms"),
            ("connection.failed.authentication.delay.ms=600000", "connection.failed.authentication.delay.ms"),
            ("log.cleaner.threads=200", "log.cleaner.dedupe.buffer.size"),
            ("default.replication.factor=0", "default.replication.factor"),
            ("group.consumer.session.timeout.ms=70000", "group.consumer.session.timeout.ms"),
            ("group.share.heartbeat.interval.ms=4000", "group.share.heartbeat.interval.ms"),
            ("cordoned.log.dirs=/elsewhere", "cordoned.log.dirs"),
            ("authorizer.class.name=com.example.Authorizer", "authorizer.class.name"),
        ];
        for (addition, key) in table {
            let file = alloc::format!("{SMALLEST}\n{addition}");
            let problems = read(&file).expect_err(addition);
            assert_eq!(problems.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), [key], "{addition}");
        }
    }

    #[test]
    fn voters_must_contain_a_controller_once() {
        let with_voters = |voters: &str| {
            read(&alloc::format!(
                "{SMALLEST}\nlisteners=PLAINTEXT://:1,C://:2\ncontroller.listener.names=C\n\
                 controller.quorum.voters={voters}"
            ))
            .map(|(config, _)| config.controller_quorum_voters)
            .map_err(|problems| problems.into_iter().map(|it| it.reason).collect::<Vec<_>>())
        };
        let voter = Voter { id: NodeId(1), host: "::1".into(), port: 2 };
        assert_eq!(with_voters("1@[::1]:2"), Ok(alloc::vec![voter]));
        let missing = Reason::Contradiction(Contradiction::ControllerIsNoVoter(1));
        assert_eq!(with_voters("2@h:2"), Err(alloc::vec![missing]));
        assert_eq!(with_voters("1@h:2,2@h:2").map(|voters| voters.len()), Ok(2));
        let twice = Reason::Contradiction(Contradiction::VoterTwice(NodeId(1)));
        assert_eq!(with_voters("1@h:2,1@g:2"), Err(alloc::vec![twice]));
    }

    #[test]
    fn every_problem_is_reported_at_once_and_a_key_once() {
        let problems = read("log.segment.bytes=1\nnonsense.key=1\nnum.partitions=x").expect_err("all wrong");
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["log.segment.bytes", "nonsense.key", "num.partitions", "node.id", "process.roles"]);
    }

    #[test]
    fn the_authorizer_of_kafka_keeps_lists_and_no_other_is_taken() {
        let with = |name: &str| read(&alloc::format!("{SMALLEST}\nauthorizer.class.name={name}"));
        let (config, warnings) = with(STANDARD_AUTHORIZER).expect("it is taken");
        assert!(config.keeps_acls);
        assert_eq!(warnings.iter().map(|it| it.note.clone()).collect::<Vec<_>>(), [Note::AclsNotEnforced]);
        assert!(
            warnings[0].to_string().contains("authorizer.class.name: access control lists are kept and not")
        );
        let (config, warnings) = with("").expect("there need be none");
        assert!(!config.keeps_acls && warnings.is_empty());
        let problems = with("com.example.Authorizer").expect_err("it is not taken");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains(STANDARD_AUTHORIZER), "{}", problems[0]);
    }

    #[test]
    fn keys_of_plugins_of_other_releases_and_of_listeners_are_taken_with_a_note() {
        let (_, warnings) = read(&alloc::format!(
            "{SMALLEST}\nsuper.users=User:a\nzookeeper.connect=h\nrsm.config.x=1\n\
             group.streams.assignors=sticky\nlistener.name.plaintext.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.plaintext.plain.sasl.jaas.config=x\nnum.partitions=1\nnum.partitions=2"
        ))
        .expect("all are taken");
        let notes: Vec<_> = warnings.into_iter().map(|warning| (warning.key, warning.note)).collect();
        let first = Origin::File { path: "f".into(), line: 9 };
        assert_eq!(
            notes,
            [
                ("num.partitions".to_owned(), Note::Repeated { first }),
                ("group.streams.assignors".to_owned(), Note::Newer("4.4")),
                ("listener.name.plaintext.plain.sasl.jaas.config".to_owned(), Note::NoEffect),
                ("listener.name.plaintext.sasl.enabled.mechanisms".to_owned(), Note::NoEffect),
                ("rsm.config.x".to_owned(), Note::Plugin),
                ("super.users".to_owned(), Note::Plugin),
                ("zookeeper.connect".to_owned(), Note::Removed("4.0")),
            ]
        );
        assert!(problem("listener.name.plaintext.sasl.enabled.mechanism=PLAIN").contains("did you mean"));
    }

    #[test]
    fn later_entries_beat_earlier_ones_and_their_origin_is_kept() {
        let entry = |key: &str, value: &str, origin| (key.to_owned(), value.to_owned(), origin);
        let (config, warnings) = BrokerConfig::from_entries([
            entry("node.id", "1", Origin::BuiltIn),
            entry("process.roles", "broker,controller", Origin::BuiltIn),
            entry("num.partitions", "3", Origin::File { path: "f".into(), line: 1 }),
            entry("num.partitions", "4", Origin::CommandLine),
        ])
        .expect("fine");
        assert_eq!((config.num_partitions, warnings.len()), (4, 0));
        assert_eq!(config.entries["num.partitions"].origin, Origin::CommandLine);
    }

    #[test]
    fn dynamic_values_change_what_is_dynamic_and_an_unreadable_one_is_passed_over() {
        let config =
            accepted(&alloc::format!("{SMALLEST}\nmessage.max.bytes=100\nlog.cleanup.policy=compact"));
        let set = |key: &str, value: &str| Overrides::from([(key.into(), value.into())]);
        let mut changed = config.clone();
        let mut read = |key: &str, cluster_default: &Overrides, broker: &Overrides| {
            let is_of_topics = changed.read_dynamic(key, cluster_default, broker);
            (is_of_topics, changed.topic_defaults.max_message_bytes, changed.max_connections)
        };
        let (bytes, none) = ("message.max.bytes", Overrides::new());
        let connections = config.max_connections;
        assert_eq!(read(bytes, &set(bytes, "200"), &none), (true, 200, connections));
        assert_eq!(read("max.connections", &none, &set("max.connections", "7")), (false, 200, 7));
        assert_eq!(read(bytes, &set(bytes, "200"), &set(bytes, "300")), (true, 300, 7));
        assert_eq!(read(bytes, &set(bytes, "200"), &set(bytes, "many")), (true, 200, 7));
        assert_eq!(read(bytes, &none, &none), (true, 100, 7));
        assert_eq!(read("max.connections", &none, &none), (false, 100, connections));
        assert_eq!(changed.topic_defaults.cleanup_policy, CleanupPolicy { delete: false, compact: true });
        assert_eq!(changed, config);
    }
}
