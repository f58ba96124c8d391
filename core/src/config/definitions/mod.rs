//! Every configuration key of Apache Kafka 4.3 as data: name, type, default, what is valid, how it may change.
//!
//! The tables are complete, so that configuration files and admin tools of the Kafka world meet no stranger;
//! [`Definition::effect`] says which keys change what Sordini does.

use crate::config::value::{self, ConfigError, Value};

mod broker;
mod group;
mod topic;

pub use broker::BROKER;
pub use group::GROUP;
pub use topic::TOPIC;

/// Type of a value, with the number that DescribeConfigs gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Text without surrounding white space.
    String = 2,
    /// 32 bits, signed.
    Int = 3,
    /// 16 bits, signed.
    Short = 4,
    /// 64 bits, signed.
    Long = 5,
    /// A floating point number.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
    /// Name of a Java class, which Sordini does not load.
    Class = 8,
    /// A secret: never shown, and taken as it is.
    Password = 9,
}

impl ConfigType {
    /// The number by which DescribeConfigs names the type.
    #[must_use]
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's name of the type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// What holds when nobody sets a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// There is none: the key must be set.
    Required,
    /// No value; another key or a rule decides.
    Null,
    /// This text, in the form in which Kafka prints it.
    Is(&'static str),
}

/// What is valid beyond the type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validator {
    /// Everything of the type; lists must not hold an element twice nor an empty one.
    Any,
    /// An integer, at least this.
    AtLeast(i64),
    /// An integer between the two, both included.
    Between(i64, i64),
    /// An integer between the two, both included, or -1.
    MinusOneOrBetween(i64, i64),
    /// A floating point number between the two, both included.
    Fraction(f64, f64),
    /// A text that is not empty.
    NonEmpty,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfIgnoreCase(&'static [&'static str]),
    /// A list of some of these texts, possibly of none.
    ListOf(&'static [&'static str]),
    /// A list of some of these texts, at least of one.
    NonEmptyListOf(&'static [&'static str]),
    /// A list of `id@host:port`.
    Voters,
    /// A list of `host:port`.
    Servers,
    /// `*`, nothing, or a list of `partition:broker`.
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` with an ISO 8601 duration.
    ShareOffsetReset,
}

/// How a key of a running node may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamicMode {
    /// Only by a restart.
    ReadOnly,
    /// For one broker at a time, never for all at once.
    PerBroker,
    /// For one broker or for the whole cluster.
    ClusterWide,
}

impl DynamicMode {
    /// Kafka's name of the mode.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// How much a key matters to somebody who sets up a cluster, as Kafka's documentation ranks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// To be thought about in every cluster.
    High,
    /// To be thought about in some.
    Medium,
    /// Rarely of interest.
    Low,
}

/// Whether a value other than the default changes what Sordini does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Effective,
    /// The value is checked, kept and described, and changes nothing.
    NoEffect,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The key.
    pub name: &'static str,
    /// Type of its value.
    pub kind: ConfigType,
    /// What holds when nobody sets it.
    pub default: DefaultValue,
    /// What is valid beyond the type.
    pub validator: Validator,
    /// How it may change while the node runs.
    pub mode: DynamicMode,
    /// How much it matters.
    pub importance: Importance,
    /// Hidden from descriptions unless it is set.
    pub internal: bool,
    /// Whether Sordini acts on it.
    pub effect: Effect,
    doc: &'static str,
}

impl Definition {
    /// One sentence on what the key does.
    #[must_use]
    pub const fn doc(&self) -> &'static str {
        if self.doc.is_empty() {
            "Taken and kept as Apache Kafka does; changes nothing in Sordini."
        } else {
            self.doc
        }
    }

    /// Whether the value must never be shown.
    #[must_use]
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.kind, ConfigType::Password)
    }

    /// Reads and validates a value.
    ///
    /// # Errors
    /// When `raw` is not of the type or not valid.
    pub fn parse(&self, raw: &str) -> Result<Value, ConfigError> {
        value::parse(self, raw)
    }

    /// The default as a value; `None` when there is none.
    #[must_use]
    pub fn default_value(&self) -> Option<Value> {
        match self.default {
            DefaultValue::Required | DefaultValue::Null => None,
            DefaultValue::Is(text) => Some(self.parse(text).expect("every default passes its own validator")),
        }
    }

    const fn effective(mut self, doc: &'static str) -> Self {
        self.effect = Effect::Effective;
        self.doc = doc;
        self
    }

    const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }
}

const fn define(
    name: &'static str,
    kind: ConfigType,
    default: DefaultValue,
    validator: Validator,
    mode: DynamicMode,
    importance: Importance,
) -> Definition {
    Definition {
        name,
        kind,
        default,
        validator,
        mode,
        importance,
        internal: false,
        effect: Effect::NoEffect,
        doc: "",
    }
}

/// Keys of the resource type BROKER that exist only as dynamic configuration, sorted by name.
pub static BROKER_QUOTA: [Definition; 3] = [
    define(
        "follower.replication.throttled.rate",
        ConfigType::Long,
        DefaultValue::Is("9223372036854775807"),
        Validator::AtLeast(0),
        DynamicMode::PerBroker,
        Importance::Medium,
    )
    .effective(
        "Bytes a second above which this broker fetches no more for those of its replicas that \
         follower.replication.throttled.replicas of their topics name, unless they are in sync.",
    ),
    define(
        "leader.replication.throttled.rate",
        ConfigType::Long,
        DefaultValue::Is("9223372036854775807"),
        Validator::AtLeast(0),
        DynamicMode::PerBroker,
        Importance::Medium,
    )
    .effective(
        "Bytes a second above which this broker sends no more of those of its replicas that \
         leader.replication.throttled.replicas of their topics name to replicas that are not in sync.",
    ),
    define(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        ConfigType::Long,
        DefaultValue::Is("9223372036854775807"),
        Validator::AtLeast(0),
        DynamicMode::PerBroker,
        Importance::Medium,
    )
    .effective("Bytes a second above which this broker copies no more to other log directories."),
];

/// Keys of the resource type CLIENT_METRICS, sorted by name.
pub static CLIENT_METRICS: [Definition; 3] = [
    define(
        "interval.ms",
        ConfigType::Int,
        DefaultValue::Is("300000"),
        Validator::Between(100, 3_600_000),
        DynamicMode::ClusterWide,
        Importance::Medium,
    ),
    define(
        "match",
        ConfigType::List,
        DefaultValue::Is(""),
        Validator::Any,
        DynamicMode::ClusterWide,
        Importance::Medium,
    ),
    define(
        "metrics",
        ConfigType::List,
        DefaultValue::Is(""),
        Validator::Any,
        DynamicMode::ClusterWide,
        Importance::Medium,
    ),
];

/// Quota keys of users and client ids, sorted by name.
pub static CLIENT_QUOTA: [Definition; 4] = [
    quota("consumer_byte_rate", ConfigType::Long, "9223372036854775807"),
    quota("controller_mutation_rate", ConfigType::Double, "2147483647"),
    quota("producer_byte_rate", ConfigType::Long, "9223372036854775807"),
    quota("request_percentage", ConfigType::Double, "2147483647"),
];

/// Quota keys of addresses.
pub static IP_QUOTA: [Definition; 1] = [quota("connection_creation_rate", ConfigType::Int, "2147483647")];

const fn quota(name: &'static str, kind: ConfigType, default: &'static str) -> Definition {
    define(
        name,
        kind,
        DefaultValue::Is(default),
        Validator::Any,
        DynamicMode::ClusterWide,
        Importance::Medium,
    )
}

fn find(table: &'static [Definition], name: &str) -> Option<&'static Definition> {
    table.binary_search_by(|definition| definition.name.cmp(name)).ok().map(|at| &table[at])
}

/// The broker or controller key of this name, whether it may stand in a file or only in dynamic configuration.
#[must_use]
pub fn broker(name: &str) -> Option<&'static Definition> {
    find(&BROKER, name).or_else(|| find(&BROKER_QUOTA, name))
}

/// The broker or controller key of this name that may stand in `server.properties`.
#[must_use]
pub fn broker_static(name: &str) -> Option<&'static Definition> {
    find(&BROKER, name)
}

/// The topic key of this name.
#[must_use]
pub fn topic(name: &str) -> Option<&'static Definition> {
    find(&TOPIC, name)
}

/// The group key of this name.
#[must_use]
pub fn group(name: &str) -> Option<&'static Definition> {
    find(&GROUP, name)
}

/// Topic keys, each with the broker keys that give it its default, the strongest first.
const BEHIND: [(&str, &[&str]); 28] = [
    ("cleanup.policy", &["log.cleanup.policy"]),
    ("compression.gzip.level", &["compression.gzip.level"]),
    ("compression.lz4.level", &["compression.lz4.level"]),
    ("compression.type", &["compression.type"]),
    ("compression.zstd.level", &["compression.zstd.level"]),
    ("delete.retention.ms", &["log.cleaner.delete.retention.ms"]),
    ("file.delete.delay.ms", &["log.segment.delete.delay.ms"]),
    ("flush.messages", &["log.flush.interval.messages"]),
    ("flush.ms", &FLUSH_INTERVAL),
    ("index.interval.bytes", &["log.index.interval.bytes"]),
    ("local.retention.bytes", &["log.local.retention.bytes"]),
    ("local.retention.ms", &["log.local.retention.ms"]),
    ("max.compaction.lag.ms", &["log.cleaner.max.compaction.lag.ms"]),
    ("max.message.bytes", &["message.max.bytes"]),
    ("message.timestamp.after.max.ms", &["log.message.timestamp.after.max.ms"]),
    ("message.timestamp.before.max.ms", &["log.message.timestamp.before.max.ms"]),
    ("message.timestamp.type", &["log.message.timestamp.type"]),
    ("min.cleanable.dirty.ratio", &["log.cleaner.min.cleanable.ratio"]),
    ("min.compaction.lag.ms", &["log.cleaner.min.compaction.lag.ms"]),
    ("min.insync.replicas", &["min.insync.replicas"]),
    ("preallocate", &["log.preallocate"]),
    ("retention.bytes", &["log.retention.bytes"]),
    ("retention.ms", &RETENTION),
    ("segment.bytes", &["log.segment.bytes"]),
    ("segment.index.bytes", &["log.index.size.max.bytes"]),
    ("segment.jitter.ms", &ROLL_JITTER),
    ("segment.ms", &ROLL),
    ("unclean.leader.election.enable", &["unclean.leader.election.enable"]),
];

/// Broker keys that say the same thing in several units, the strongest first.
const FLUSH_INTERVAL: [&str; 2] = ["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];
const RETENTION: [&str; 3] = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
const ROLL: [&str; 2] = ["log.roll.ms", "log.roll.hours"];
const ROLL_JITTER: [&str; 2] = ["log.roll.jitter.ms", "log.roll.jitter.hours"];

/// The broker keys that give a topic key its default, the strongest first; none for a key that only topics have.
#[must_use]
pub fn broker_keys_of_topic_key(topic_key: &str) -> &'static [&'static str] {
    BEHIND.iter().find(|(key, _)| *key == topic_key).map_or(&[], |(_, broker_keys)| broker_keys)
}

/// The topic key to which a broker key gives its default, if it does that.
#[must_use]
pub fn topic_key_behind(broker_key: &str) -> Option<&'static str> {
    BEHIND.iter().find(|(_, broker_keys)| broker_keys.contains(&broker_key)).map(|(key, _)| *key)
}

/// The family of broker keys that say the same thing in several units, the strongest first; empty for a key on its own.
#[must_use]
pub fn broker_synonyms(key: &str) -> &'static [&'static str] {
    match key {
        "log.flush.interval.ms" => &FLUSH_INTERVAL,
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => &RETENTION,
        "log.roll.ms" | "log.roll.hours" => &ROLL,
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => &ROLL_JITTER,
        _ => &[],
    }
}

/// The broker key behind a listener's own form of it: `listener.name.<listener>.` and perhaps a SASL mechanism stand before
/// it. `None` for a key that is not of that form; an unknown key comes back as it is.
#[must_use]
pub fn without_listener_prefix(key: &str) -> Option<&str> {
    let (_, base) = key.strip_prefix("listener.name.")?.split_once('.')?;
    if broker_static(base).is_some() {
        return Some(base);
    }
    let behind_mechanism = base.split_once('.').map(|(_, rest)| rest);
    behind_mechanism.filter(|rest| broker_static(rest).is_some()).or(Some(base))
}

/// Milliseconds in the unit of a key, which its last word names.
#[must_use]
pub fn millis_per_unit(key: &str) -> i64 {
    if key.ends_with(".hours") {
        3_600_000
    } else if key.ends_with(".minutes") {
        60_000
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = &'static Definition> {
        let tables: [&'static [Definition]; 7] =
            [&BROKER, &TOPIC, &GROUP, &BROKER_QUOTA, &CLIENT_METRICS, &CLIENT_QUOTA, &IP_QUOTA];
        tables.into_iter().flatten()
    }

    #[test]
    fn tables_have_the_counts_of_kafka_4_3() {
        let dynamic = |mode| BROKER.iter().filter(|definition| definition.mode == mode).count();
        assert_eq!((BROKER.len(), TOPIC.len(), GROUP.len()), (360, 34, 17));
        assert_eq!(dynamic(DynamicMode::PerBroker), 37);
        assert_eq!(dynamic(DynamicMode::ClusterWide), 62);
        assert_eq!(BROKER.iter().filter(|definition| definition.internal).count(), 20);
    }

    #[test]
    fn tables_are_sorted_so_that_every_key_is_found() {
        for definition in BROKER.iter().chain(&BROKER_QUOTA) {
            assert_eq!(broker(definition.name).map(|found| found.name), Some(definition.name));
        }
        for definition in &TOPIC {
            assert_eq!(topic(definition.name).map(|found| found.name), Some(definition.name));
        }
        for definition in &GROUP {
            assert_eq!(group(definition.name).map(|found| found.name), Some(definition.name));
        }
        assert!(broker("log.retention.sm").is_none());
    }

    #[test]
    fn every_default_passes_its_own_validator_and_prints_as_itself() {
        for definition in all() {
            let DefaultValue::Is(text) = definition.default else { continue };
            let value = definition.parse(text);
            assert!(value.is_ok(), "{}: {value:?}", definition.name);
            let value = definition.default_value().expect("it has one");
            if definition.kind != ConfigType::Double {
                assert_eq!(alloc::string::ToString::to_string(&value), text, "{}", definition.name);
            }
        }
    }

    #[test]
    fn every_effective_key_says_what_it_does() {
        for definition in all().filter(|definition| definition.effect == Effect::Effective) {
            assert!(definition.doc.ends_with('.'), "{}", definition.name);
        }
    }

    #[test]
    fn broker_keys_behind_a_topic_key_exist_and_have_its_default() {
        for definition in &TOPIC {
            let keys = broker_keys_of_topic_key(definition.name);
            for key in keys {
                assert!(broker(key).is_some(), "{key}");
            }
            let Some(weakest) = keys.last().and_then(|key| broker(key)) else { continue };
            let of_topic = definition.default_value().and_then(|value| value.as_i64());
            let of_broker = weakest.default_value().and_then(|value| value.as_i64());
            let scaled = of_broker.map(|value| value * millis_per_unit(weakest.name));
            assert_eq!(scaled, of_topic, "{}", definition.name);
        }
    }

    #[test]
    fn synonyms_are_a_family_whoever_asks() {
        for definition in &BROKER {
            let family = broker_synonyms(definition.name);
            assert!(family.is_empty() || family.contains(&definition.name), "{}", definition.name);
        }
    }
}
