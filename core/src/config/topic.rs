//! What the configuration says about one topic, as the log and the partition read it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::config::Overrides;
use crate::config::broker::BrokerConfigLayers;
use crate::config::definitions::{self, millis_per_unit};
use crate::config::value::{Allowed, ConfigError, Value, nearest};
use crate::ids::NodeId;

/// The key that tests of Kafka's set for segments smaller than `segment.bytes` allows.
const INTERNAL_SEGMENT_BYTES: &str = "internal.segment.bytes";

/// The effective configuration of one topic. Sizes are bytes; durations are milliseconds and, unless said otherwise,
/// not negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `segment.bytes`: size at which the active segment is closed. `internal.segment.bytes` beats it.
    pub segment_bytes: u32,
    /// `segment.ms`: age of the first record at which the active segment is closed; at least 1.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: upper bound of a random reduction of `segment_ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: size of the offset index at which the active segment is closed; at least 4.
    pub segment_index_bytes: u32,
    /// `flush.messages`: records between two syncs; at least 1.
    pub flush_messages: i64,
    /// `flush.ms`: longest time that a record stays unsynced.
    pub flush_ms: i64,
    /// `retention.bytes`: size above which the oldest segments go; `None` for no limit.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`: age above which closed segments go; `None` for no limit.
    pub retention_ms: Option<i64>,
    /// `max.message.bytes`: largest batch that may be appended.
    pub max_message_bytes: u32,
    /// `index.interval.bytes`: bytes of records between two index entries.
    pub index_interval_bytes: u32,
    /// `file.delete.delay.ms`: time between the renaming of a segment and its removal.
    pub file_delete_delay_ms: i64,
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `min.insync.replicas`: at least 1.
    pub min_insync_replicas: u32,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `compression.gzip.level`: 1 to 9, or -1 for the codec's default.
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`: 1 to 17.
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`: -131072 to 22.
    pub compression_zstd_level: i32,
    /// `message.timestamp.type`.
    pub message_timestamp_type: MessageTimestampType,
    /// `message.timestamp.before.max.ms`: how far a record's time may lie before the broker's.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a record's time may lie after the broker's.
    pub message_timestamp_after_max_ms: i64,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
    /// `preallocate`.
    pub preallocate: bool,
    /// `leader.replication.throttled.replicas`: whose broker's rate holds for them while they lead.
    pub leader_throttled_replicas: ThrottledReplicas,
    /// `follower.replication.throttled.replicas`: whose broker's rate holds for them while they follow.
    pub follower_throttled_replicas: ThrottledReplicas,
}

/// Which replicas of a topic a throttle holds for (KIP-73).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    /// All.
    All,
    /// These.
    Of(Vec<(i32, NodeId)>),
}

impl ThrottledReplicas {
    /// What a list of `partition:broker` says, or `*`. Numbers that nothing can have name nobody.
    fn from_list(list: &[String]) -> Self {
        if matches!(list, [all] if all == "*") {
            return Self::All;
        }
        let replica = |text: &String| {
            let (partition, broker) = text.split_once(':')?;
            Some((partition.parse().ok()?, NodeId(broker.parse().ok()?)))
        };
        Self::Of(list.iter().filter_map(replica).collect())
    }

    /// Whether the throttle holds for the replica of `partition` on `broker`.
    #[must_use]
    pub fn has(&self, partition: i32, broker: NodeId) -> bool {
        match self {
            Self::All => true,
            Self::Of(replicas) => replicas.contains(&(partition, broker)),
        }
    }
}

/// What becomes of old segments. Neither flag set: they stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments go by age and size.
    pub delete: bool,
    /// Of every key the last record stays.
    pub compact: bool,
}

/// In which form batches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// In this codec, whatever the producer sent.
    Codec(Codec),
}

/// A codec that a broker may be told to store batches in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// `uncompressed`.
    Uncompressed,
    /// `gzip`.
    Gzip,
    /// `snappy`.
    Snappy,
    /// `lz4`.
    Lz4,
    /// `zstd`.
    Zstd,
}

/// Whose clock dates a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageTimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::KAFKA
    }
}

impl TopicConfig {
    /// What holds where nobody sets anything.
    const KAFKA: Self = Self {
        segment_bytes: 1 << 30,
        segment_ms: 604_800_000,
        segment_jitter_ms: 0,
        segment_index_bytes: 10 << 20,
        flush_messages: i64::MAX,
        flush_ms: i64::MAX,
        retention_bytes: None,
        retention_ms: Some(604_800_000),
        max_message_bytes: 1_048_588,
        index_interval_bytes: 4096,
        file_delete_delay_ms: 60_000,
        cleanup_policy: CleanupPolicy { delete: true, compact: false },
        min_insync_replicas: 1,
        compression_type: CompressionType::Producer,
        compression_gzip_level: -1,
        compression_lz4_level: 9,
        compression_zstd_level: 3,
        message_timestamp_type: MessageTimestampType::CreateTime,
        message_timestamp_before_max_ms: i64::MAX,
        message_timestamp_after_max_ms: 3_600_000,
        unclean_leader_election_enable: false,
        preallocate: false,
        leader_throttled_replicas: ThrottledReplicas::Of(Vec::new()),
        follower_throttled_replicas: ThrottledReplicas::Of(Vec::new()),
    };

    /// What holds on a broker with these layers for a topic of which nothing is set: the broker's dynamic value, then the
    /// cluster's dynamic default, the static one, and Kafka's default at last. A value that does not parse counts as absent: it
    /// came from a disk, and the next layer is the best that can be said.
    #[must_use]
    pub fn of_broker(broker: &BrokerConfigLayers<'_>) -> Self {
        let mut config = Self::KAFKA;
        // Few of the keys are set anywhere.
        for key in broker.set_keys() {
            config.set_default(key, broker);
        }
        config
    }

    /// Takes what a broker's layers say of the topic key behind which a broker key stands; whether it stands behind one.
    pub(super) fn set_default(&mut self, broker_key: &str, broker: &BrokerConfigLayers<'_>) -> bool {
        let Some(key) = definitions::topic_key_behind(broker_key) else { return false };
        if let Some(value) = value_of(key, &Overrides::new(), broker) {
            self.set(key, &value);
        }
        true
    }

    /// What holds for a topic with these overrides where this holds for topics without any. A value that does not parse counts
    /// as absent.
    #[must_use]
    pub fn with_overrides(&self, overrides: &Overrides) -> Self {
        let mut config = self.clone();
        let value = |key: &str| definitions::topic(key)?.parse(overrides.get(key)?).ok();
        // The internal key is the stronger of two, and set last.
        let names = overrides.keys().map(|key| -> &str { key });
        for key in names.filter(|key| *key != INTERNAL_SEGMENT_BYTES).chain([INTERNAL_SEGMENT_BYTES]) {
            if let Some(value) = value(key) {
                config.set(key, &value);
            }
        }
        config
    }

    /// Takes the value of a topic key, if this is one that has an effect.
    fn set(&mut self, key: &str, value: &Value) {
        let number = || value.as_i64().expect("the key has a number");
        let bytes = || u32::try_from(number()).expect("validated as an INT that is not negative");
        let level = || i32::try_from(number()).expect("validated as an INT");
        let flag = || number() == 1;
        let replicas = || ThrottledReplicas::from_list(value.as_list().unwrap_or_default());
        let has = |wanted: &str| value.as_list().is_some_and(|list| list.iter().any(|one| one == wanted));
        match key {
            "segment.bytes" => self.segment_bytes = bytes(),
            INTERNAL_SEGMENT_BYTES => {
                let set = value.as_i64().and_then(|bytes| u32::try_from(bytes).ok());
                self.segment_bytes = set.filter(|bytes| *bytes > 0).unwrap_or(self.segment_bytes);
            }
            "segment.ms" => self.segment_ms = number(),
            "segment.jitter.ms" => self.segment_jitter_ms = number(),
            "segment.index.bytes" => self.segment_index_bytes = bytes(),
            "flush.messages" => self.flush_messages = number(),
            "flush.ms" => self.flush_ms = number(),
            "retention.bytes" => self.retention_bytes = u64::try_from(number()).ok(),
            "retention.ms" => self.retention_ms = Some(number()).filter(|millis| *millis >= 0),
            "max.message.bytes" => self.max_message_bytes = bytes(),
            "index.interval.bytes" => self.index_interval_bytes = bytes(),
            "file.delete.delay.ms" => self.file_delete_delay_ms = number(),
            "cleanup.policy" => {
                self.cleanup_policy = CleanupPolicy { delete: has("delete"), compact: has("compact") };
            }
            "min.insync.replicas" => self.min_insync_replicas = bytes(),
            "compression.type" => {
                let named = value.as_str().and_then(compression_type);
                self.compression_type = named.expect("validated as one of six");
            }
            "compression.gzip.level" => self.compression_gzip_level = level(),
            "compression.lz4.level" => self.compression_lz4_level = level(),
            "compression.zstd.level" => self.compression_zstd_level = level(),
            "message.timestamp.type" => {
                self.message_timestamp_type = match value.as_str() {
                    Some("LogAppendTime") => MessageTimestampType::LogAppendTime,
                    Some(_) | None => MessageTimestampType::CreateTime,
                };
            }
            "message.timestamp.before.max.ms" => self.message_timestamp_before_max_ms = number(),
            "message.timestamp.after.max.ms" => self.message_timestamp_after_max_ms = number(),
            "unclean.leader.election.enable" => self.unclean_leader_election_enable = flag(),
            "preallocate" => self.preallocate = flag(),
            "leader.replication.throttled.replicas" => self.leader_throttled_replicas = replicas(),
            "follower.replication.throttled.replicas" => self.follower_throttled_replicas = replicas(),
            _ => {}
        }
    }
}

fn compression_type(name: &str) -> Option<CompressionType> {
    Some(match name {
        "producer" => CompressionType::Producer,
        "uncompressed" => CompressionType::Codec(Codec::Uncompressed),
        "gzip" => CompressionType::Codec(Codec::Gzip),
        "snappy" => CompressionType::Codec(Codec::Snappy),
        "lz4" => CompressionType::Codec(Codec::Lz4),
        "zstd" => CompressionType::Codec(Codec::Zstd),
        _ => return None,
    })
}

/// The effective value of a topic key, in the topic's unit; `None` when it has neither value nor default.
pub(crate) fn value_of(key: &str, overrides: &Overrides, broker: &BrokerConfigLayers<'_>) -> Option<Value> {
    let definition = definitions::topic(key)?;
    let own = overrides.get(key).and_then(|raw| definition.parse(raw).ok());
    own.or_else(|| value_from_broker(key, broker)).or_else(|| definition.default_value())
}

/// The value that the broker's layers give a topic key, in the topic's unit.
fn value_from_broker(key: &str, broker: &BrokerConfigLayers<'_>) -> Option<Value> {
    definitions::broker_keys_of_topic_key(key)
        .iter()
        .find_map(|broker_key| as_topic_value(broker_key, key, broker.set_value(broker_key)?).ok())
}

/// Judges a broker key's value as the default of the topic key that it stands behind, if it stands behind one.
///
/// # Errors
/// When no topic could have that value.
pub(super) fn check_as_topic_default(broker_key: &str, value: &Value) -> Result<(), ConfigError> {
    match definitions::topic_key_behind(broker_key) {
        Some(topic_key) => as_topic_value(broker_key, topic_key, value.clone()).map(drop),
        None => Ok(()),
    }
}

/// A broker key's value in the unit of the topic key that it stands behind.
fn as_topic_value(broker_key: &str, topic_key: &str, value: Value) -> Result<Value, ConfigError> {
    let raw = value.to_string();
    let unit = millis_per_unit(broker_key);
    let value = match value.as_i64() {
        // The hour and minute forms are INT and their topic key is LONG.
        Some(number) if unit > 1 => Value::Long(number.saturating_mul(unit)),
        Some(_) | None => value,
    };
    if topic_key == "retention.ms" {
        return match value.as_i64() {
            // Every negative number means no limit, and a topic says so with -1.
            Some(millis) if millis < 0 => Ok(Value::Long(-1)),
            Some(0) => Err(ConfigError::ZeroRetention { key: broker_key.to_string(), value: raw }),
            Some(_) | None => Ok(value),
        };
    }
    let definition = definitions::topic(topic_key).expect("the caller took the key from the table");
    match definition.parse(&value.to_string()) {
        Ok(_) => Ok(value),
        Err(_) => Err(ConfigError::NotAllowed {
            key: broker_key.to_string(),
            value: raw,
            allowed: Allowed(definition.validator),
        }),
    }
}

/// Judges the whole set of overrides that a topic would have, as creating and altering it do.
///
/// # Errors
/// The first refusal, by the order of the keys: an unknown key, a value that is not valid, or values that contradict each
/// other.
pub fn validate(overrides: &Overrides, broker: &BrokerConfigLayers<'_>) -> Result<(), ConfigError> {
    for (key, raw) in overrides {
        let Some(definition) = definitions::topic(key) else {
            let known = definitions::TOPIC.iter().map(|definition| definition.name);
            return Err(ConfigError::UnknownTopicKey { key: key.to_string(), nearest: nearest(key, known) });
        };
        definition.parse(raw)?;
    }
    let number = |key| value_of(key, overrides, broker).and_then(|value| value.as_i64()).unwrap_or(0);
    let (min, max) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if min > max {
        return Err(ConfigError::CompactionLags { min, max });
    }
    if number("remote.storage.enable") == 1 {
        return Err(ConfigError::TieredStorageDisabled);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Str;
    use crate::config::broker::{Entry, Origin, StaticEntries};

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(key, value)| (Str::from(*key), Str::from(*value))).collect()
    }

    fn resolved(
        topic: &[(&str, &str)],
        broker: &[(&str, &str)],
        cluster_default: &[(&str, &str)],
        file: &[(&str, &str)],
    ) -> TopicConfig {
        let entry = |value: &str| Entry { value: value.into(), origin: Origin::BuiltIn };
        let file: StaticEntries = file.iter().map(|(key, value)| ((*key).into(), entry(value))).collect();
        let (broker, cluster_default) = (overrides(broker), overrides(cluster_default));
        let layers =
            BrokerConfigLayers { broker: &broker, cluster_default: &cluster_default, static_entries: &file };
        TopicConfig::of_broker(&layers).with_overrides(&overrides(topic))
    }

    #[test]
    fn what_holds_where_nobody_sets_anything_is_the_default_of_every_key() {
        for definition in &definitions::TOPIC {
            let mut config = TopicConfig::default();
            if let Some(value) = definition.default_value() {
                config.set(definition.name, &value);
            }
            assert_eq!(config, TopicConfig::default(), "{}", definition.name);
        }
    }

    #[test]
    fn topic_beats_broker_beats_cluster_default_beats_file() {
        let (topic, broker) = ([("max.message.bytes", "1")], [("message.max.bytes", "2")]);
        let (cluster_default, file) = ([("message.max.bytes", "3")], [("message.max.bytes", "4")]);
        let bytes = |config: TopicConfig| config.max_message_bytes;
        assert_eq!(bytes(resolved(&topic, &broker, &cluster_default, &file)), 1);
        assert_eq!(bytes(resolved(&[], &broker, &cluster_default, &file)), 2);
        assert_eq!(bytes(resolved(&[], &[], &cluster_default, &file)), 3);
        assert_eq!(bytes(resolved(&[], &[], &[], &file)), 4);
    }

    #[test]
    fn finer_units_beat_coarser_ones_and_negative_times_are_no_limit() {
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<i64>);
        let table: [Row<'_>; 6] = [
            (&[("log.retention.hours", "2")], Some(7_200_000)),
            (&[("log.retention.hours", "2"), ("log.retention.minutes", "3")], Some(180_000)),
            (&[("log.retention.minutes", "3"), ("log.retention.ms", "4")], Some(4)),
            (&[("log.retention.minutes", "3"), ("log.retention.ms", "-1")], None),
            (&[("log.retention.hours", "-1")], None),
            (&[("log.retention.hours", "2147483647")], Some(7_730_941_129_200_000)),
        ];
        for (file, expected) in table {
            assert_eq!(resolved(&[], &[], &[], file).retention_ms, expected, "{file:?}");
        }
        let dynamic = resolved(&[], &[], &[("log.retention.ms", "9")], &[("log.retention.minutes", "3")]);
        assert_eq!(dynamic.retention_ms, Some(9));
        let roll = resolved(&[], &[], &[], &[("log.roll.hours", "1"), ("log.roll.jitter.hours", "2")]);
        assert_eq!((roll.segment_ms, roll.segment_jitter_ms), (3_600_000, 7_200_000));
        let flush = resolved(&[], &[], &[], &[("log.flush.scheduler.interval.ms", "50")]);
        assert_eq!(flush.flush_ms, 50);
    }

    #[test]
    fn every_override_reaches_its_field() {
        let config = resolved(
            &[
                ("cleanup.policy", "compact , delete"),
                ("compression.type", "zstd"),
                ("compression.zstd.level", "-5"),
                ("message.timestamp.type", "LogAppendTime"),
                ("retention.bytes", "1000"),
                ("min.insync.replicas", "2"),
                ("unclean.leader.election.enable", "TRUE"),
                ("preallocate", "true"),
                ("segment.bytes", "2097152"),
                ("flush.messages", "1"),
                ("leader.replication.throttled.replicas", "0:2, 3:4"),
                ("follower.replication.throttled.replicas", " * "),
            ],
            &[],
            &[],
            &[],
        );
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: true });
        assert_eq!(config.compression_type, CompressionType::Codec(Codec::Zstd));
        assert_eq!(config.compression_zstd_level, -5);
        assert_eq!(config.message_timestamp_type, MessageTimestampType::LogAppendTime);
        assert_eq!((config.retention_bytes, config.min_insync_replicas), (Some(1000), 2));
        assert!(config.unclean_leader_election_enable && config.preallocate);
        assert_eq!((config.segment_bytes, config.flush_messages), (2_097_152, 1));
        let throttled = |partition, broker| config.leader_throttled_replicas.has(partition, NodeId(broker));
        assert!(throttled(0, 2) && throttled(3, 4) && !throttled(0, 4) && !throttled(3, 2));
        assert_eq!(config.follower_throttled_replicas, ThrottledReplicas::All);
        let nothing = resolved(&[("cleanup.policy", "")], &[], &[], &[]);
        assert_eq!(nothing.cleanup_policy, CleanupPolicy { delete: false, compact: false });
        let small =
            resolved(&[("internal.segment.bytes", "200"), ("segment.bytes", "2097152")], &[], &[], &[]);
        assert_eq!(small.segment_bytes, 200);
    }

    #[test]
    fn value_that_does_not_parse_counts_as_absent() {
        let config = resolved(&[("max.message.bytes", "x")], &[("message.max.bytes", "-7")], &[], &[]);
        assert_eq!(config.max_message_bytes, 1_048_588);
    }

    #[test]
    fn contradictory_lags_are_judged_against_what_the_broker_says() {
        let layers = BrokerConfigLayers::defaults();
        assert_eq!(validate(&overrides(&[("min.compaction.lag.ms", "5")]), &layers), Ok(()));
        let broker = overrides(&[("log.cleaner.max.compaction.lag.ms", "4")]);
        let layers = BrokerConfigLayers { broker: &broker, ..layers };
        assert_eq!(
            validate(&overrides(&[("min.compaction.lag.ms", "5")]), &layers),
            Err(ConfigError::CompactionLags { min: 5, max: 4 })
        );
    }

    #[test]
    fn unknown_topic_key_is_refused_with_its_neighbour() {
        let refusal = validate(&overrides(&[("retention.sm", "5")]), &BrokerConfigLayers::defaults());
        let refusal = refusal.expect_err("no such key").to_string();
        assert_eq!(refusal, "Unknown topic config name: retention.sm; did you mean retention.ms?");
    }
}
