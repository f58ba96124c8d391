//! What IncrementalAlterConfigs and AlterConfigs would make of a resource's values, and whether that is allowed.
//!
//! Nothing is changed here. The answer is a list of changes, each of which becomes a ConfigRecord, or one refusal: of one
//! resource all is applied or nothing.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::config::broker::BrokerConfigLayers;
use crate::config::definitions::{self, ConfigType, DefaultValue, Definition, DynamicMode};
use crate::config::value::{ConfigError, ErrorKind, split_list};
use crate::config::{Overrides, Str};
use crate::config::{client_metrics, group, topic};
use crate::ids::NodeId;

/// Whose values are altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic,
    /// The broker that judges.
    Broker,
    /// A broker other than the one that judges. It has judged the values itself before it handed them on.
    OtherBroker,
    /// All brokers: the BROKER resource with the empty name.
    ClusterDefault,
    /// A client metrics subscription.
    ClientMetrics,
    /// A group.
    Group,
}

impl Resource {
    /// Reads the name of a BROKER resource as the broker `this` does: its own number, or nothing for all brokers.
    ///
    /// # Errors
    /// When the name is no number, or another broker's.
    pub fn of_broker_name(name: &str, this: NodeId) -> Result<Self, ConfigError> {
        if name.is_empty() {
            return Ok(Self::ClusterDefault);
        }
        match name.parse::<i32>() {
            Ok(id) if id == this.0 => Ok(Self::Broker),
            Ok(id) => Err(ConfigError::OtherBroker { expected: this.0, received: id }),
            Err(_) => Err(ConfigError::BrokerName { name: name.to_string() }),
        }
    }

    /// A resource of a kind of which every one has a name.
    ///
    /// # Errors
    /// When the name is empty.
    pub fn named(self, name: &str) -> Result<Self, ConfigError> {
        let resource = match self {
            Self::Topic => "topic",
            Self::Broker | Self::OtherBroker | Self::ClusterDefault => "broker",
            Self::ClientMetrics => "client metrics",
            Self::Group => "group",
        };
        if name.is_empty() { Err(ConfigError::Unnamed { resource }) } else { Ok(self) }
    }

    /// The error code under which a refusal travels. A value that a broker cannot take is INVALID_REQUEST for historical
    /// reasons (KAFKA-13609), for a topic it is INVALID_CONFIG.
    #[must_use]
    pub const fn error_kind(self, error: &ConfigError) -> ErrorKind {
        match self {
            Self::Topic | Self::Group => error.kind(),
            // Kafka has a code of its own for the pattern alone.
            Self::ClientMetrics
                if matches!(error, ConfigError::NotASelector { .. } | ConfigError::NotAList { .. }) =>
            {
                error.kind()
            }
            Self::ClientMetrics => ErrorKind::InvalidRequest,
            Self::Broker | Self::OtherBroker | Self::ClusterDefault
                if matches!(error, ConfigError::NotAList { .. }) =>
            {
                error.kind()
            }
            Self::Broker | Self::OtherBroker | Self::ClusterDefault => ErrorKind::InvalidRequest,
        }
    }

    fn definition(self, key: &str) -> Option<&'static Definition> {
        match self {
            Self::Topic => definitions::topic(key),
            Self::Broker | Self::OtherBroker | Self::ClusterDefault => definitions::broker(key),
            Self::ClientMetrics => client_metrics::definition(key),
            Self::Group => definitions::group(key),
        }
    }
}

/// One wish of an IncrementalAlterConfigs request.
#[derive(Clone, Copy, Debug)]
pub struct Alteration<'a> {
    /// The key.
    pub key: &'a str,
    /// The operation by its number: 0 sets, 1 deletes, 2 appends, 3 subtracts.
    pub operation: i8,
    /// The value; a deletion has none.
    pub value: Option<&'a str>,
}

/// One value that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The key.
    pub key: Str,
    /// Its value; `None` takes the override away.
    pub value: Option<Str>,
}

/// Judges an IncrementalAlterConfigs request for one resource whose overrides are `current`. Wishes that change nothing
/// leave no change behind.
///
/// # Errors
/// The first refusal: a malformed wish, then a resulting value that is not allowed.
pub fn incremental(
    resource: Resource,
    current: &Overrides,
    alterations: &[Alteration<'_>],
    broker: &BrokerConfigLayers<'_>,
) -> Result<Vec<ConfigChange>, ConfigError> {
    refuse_duplicates(alterations.iter().map(|alteration| alteration.key))?;
    let mut wanted = current.clone();
    for alteration in alterations {
        let key = alteration.key;
        let value = || alteration.value.ok_or_else(|| ConfigError::NullValue { key: key.to_string() });
        match alteration.operation {
            0 => {
                wanted.insert(Str::from(key), Str::from(value()?));
            }
            1 => {
                wanted.remove(key);
            }
            2 => {
                let mut list = list_to_alter(resource, current, key, "APPEND")?;
                for element in split_list(value()?) {
                    if !list.contains(&element) {
                        list.push(element);
                    }
                }
                wanted.insert(Str::from(key), Str::from(list.join(",")));
            }
            3 => {
                let mut list = list_to_alter(resource, current, key, "SUBTRACT")?;
                let removed = split_list(value()?);
                list.retain(|element| !removed.contains(element));
                wanted.insert(Str::from(key), Str::from(list.join(",")));
            }
            op => return Err(ConfigError::UnknownOperation { key: key.to_string(), op }),
        }
    }
    judge(resource, current, &wanted, broker)
}

/// Judges an AlterConfigs request for one resource: its overrides become `entries` and nothing else.
///
/// # Errors
/// The first refusal: a key without value, a key named twice, then a value that is not allowed.
pub fn replace<'a>(
    resource: Resource,
    current: &Overrides,
    entries: &[(&'a str, Option<&'a str>)],
    broker: &BrokerConfigLayers<'_>,
) -> Result<Vec<ConfigChange>, ConfigError> {
    refuse_duplicates(entries.iter().map(|(key, _)| *key))?;
    let mut wanted = Overrides::new();
    for (key, value) in entries {
        let Some(value) = value else { return Err(ConfigError::NullValue { key: (*key).to_string() }) };
        wanted.insert(Str::from(*key), Str::from(*value));
    }
    judge(resource, current, &wanted, broker)
}

fn refuse_duplicates<'a>(mut keys: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    let repeated = keys.find(|key| !seen.insert(*key));
    repeated.map_or(Ok(()), |key| Err(ConfigError::DuplicateKey { key: key.to_string() }))
}

/// The list that an operation starts from: the resource's own override or Kafka's default, never a layer between.
fn list_to_alter(
    resource: Resource,
    current: &Overrides,
    key: &str,
    op: &'static str,
) -> Result<Vec<String>, ConfigError> {
    let definition = resource.definition(key).filter(|definition| definition.kind == ConfigType::List);
    let Some(definition) = definition else {
        return Err(ConfigError::NotAList { key: key.to_string(), op });
    };
    Ok(match (current.get(key), definition.default) {
        (Some(raw), _) => split_list(raw),
        (None, DefaultValue::Is(text)) => split_list(text),
        (None, DefaultValue::Null | DefaultValue::Required) => Vec::new(),
    })
}

/// Judges the whole set of values that a resource would have, and lists the differences.
fn judge(
    resource: Resource,
    current: &Overrides,
    wanted: &Overrides,
    broker: &BrokerConfigLayers<'_>,
) -> Result<Vec<ConfigChange>, ConfigError> {
    match resource {
        Resource::Topic => topic::validate(wanted, broker)?,
        Resource::ClientMetrics => client_metrics::validate(wanted)?,
        Resource::Group => group::validate(wanted, broker)?,
        Resource::OtherBroker => {}
        Resource::Broker | Resource::ClusterDefault => {
            for (key, raw) in wanted {
                judge_broker_value(resource, key, raw, broker)?;
            }
        }
    }
    let set = wanted
        .iter()
        .filter(|(key, value)| current.get(*key) != Some(value))
        .map(|(key, value)| ConfigChange { key: key.detached(), value: Some(value.detached()) });
    let deleted = current
        .keys()
        .filter(|key| !wanted.contains_key(*key))
        .map(|key| ConfigChange { key: key.clone(), value: None });
    Ok(set.chain(deleted).collect())
}

/// Numbers of threads, which may at most double or halve at once.
const THREAD_POOLS: [&str; 6] = [
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// Keys that Kafka can change while it runs and Sordini reads only at its start.
const READ_AT_START: [&str; 2] = ["listener.security.protocol.map", "listeners"];

fn judge_broker_value(
    resource: Resource,
    key: &str,
    raw: &str,
    broker: &BrokerConfigLayers<'_>,
) -> Result<(), ConfigError> {
    let refusal = |mode| Err(ConfigError::NotDynamic { key: key.to_string(), mode });
    let base = definitions::without_listener_prefix(key);
    let Some(definition) = definitions::broker(base.unwrap_or(key)) else {
        // Plugins have keys of their own, so a broker takes what it does not know.
        return Ok(());
    };
    let is_for_one_broker = base.is_some() || definition.mode == DynamicMode::PerBroker;
    if definition.mode == DynamicMode::ReadOnly || READ_AT_START.contains(&key) {
        return refusal(DynamicMode::ReadOnly);
    }
    if is_for_one_broker && resource == Resource::ClusterDefault && !is_quota(definition) {
        return refusal(DynamicMode::PerBroker);
    }
    if base.is_none() && is_key_material(key) {
        return Err(ConfigError::NeedsListenerPrefix { key: key.to_string() });
    }
    let value = definition.parse(raw)?;
    topic::check_as_topic_default(key, &value)?;
    let steps = broker.value(key).and_then(|value| value.as_i64()).zip(value.as_i64());
    if let Some((current, wanted)) = steps
        && THREAD_POOLS.contains(&key)
        && (wanted < 1 || wanted > current.saturating_mul(2) || wanted < current / 2)
    {
        return Err(ConfigError::ThreadPoolStep { key: key.to_string(), current, wanted });
    }
    Ok(())
}

fn is_quota(definition: &Definition) -> bool {
    definitions::broker_static(definition.name).is_none()
}

/// Whether a key names certificates or keys, which belong to one listener.
fn is_key_material(key: &str) -> bool {
    key == "ssl.key.password" || key.starts_with("ssl.keystore.") || key.starts_with("ssl.truststore.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::ErrorKind::{InvalidConfig, InvalidRequest};

    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(key, value)| (Str::from(*key), Str::from(*value))).collect()
    }

    fn alter(
        resource: Resource,
        current: &Overrides,
        wish: (&str, i8, Option<&str>),
    ) -> Result<Vec<(String, Option<String>)>, ConfigError> {
        let alteration = Alteration { key: wish.0, operation: wish.1, value: wish.2 };
        let changes = incremental(resource, current, &[alteration], &BrokerConfigLayers::defaults())?;
        Ok(changes.into_iter().map(|it| (it.key.into(), it.value.map(String::from))).collect())
    }

    #[test]
    fn wishes_become_the_fewest_changes() {
        let compacted = overrides(&[("cleanup.policy", "compact"), ("retention.ms", "1000")]);
        type Row<'a> = ((&'a str, i8, Option<&'a str>), Option<(&'a str, Option<&'a str>)>);
        let table: [Row<'_>; 9] = [
            (("retention.ms", SET, Some("2000")), Some(("retention.ms", Some("2000")))),
            (("retention.ms", SET, Some("1000")), None),
            (("retention.ms", DELETE, None), Some(("retention.ms", None))),
            (("segment.ms", DELETE, None), None),
            (("cleanup.policy", APPEND, Some("delete")), Some(("cleanup.policy", Some("compact,delete")))),
            (("cleanup.policy", APPEND, Some("compact")), None),
            (("cleanup.policy", SUBTRACT, Some("compact")), Some(("cleanup.policy", Some("")))),
            (("cleanup.policy", SUBTRACT, Some("delete")), None),
            (("segment.ms", SET, Some(" 5 ")), Some(("segment.ms", Some(" 5 ")))),
        ];
        for (wish, expected) in table {
            let expected: Vec<_> =
                expected.iter().map(|(key, value)| ((*key).to_string(), value.map(String::from))).collect();
            assert_eq!(alter(Resource::Topic, &compacted, wish), Ok(expected), "{wish:?}");
        }
    }

    #[test]
    fn list_operations_on_an_unset_key_start_from_the_default() {
        let appended = alter(Resource::Topic, &Overrides::new(), ("cleanup.policy", APPEND, Some("compact")));
        assert_eq!(appended, Ok(alloc::vec![("cleanup.policy".into(), Some("delete,compact".into()))]));
    }

    #[test]
    fn refused_wishes_carry_kafka_s_error_code() {
        let none = Overrides::new();
        let lagging = overrides(&[("max.compaction.lag.ms", "5")]);
        let table = [
            (Resource::Topic, ("retention.ms", SET, Some("soon")), InvalidConfig),
            (Resource::Topic, ("retention.ms", SET, Some("-2")), InvalidConfig),
            (Resource::Topic, ("retention.ms", SET, None), InvalidRequest),
            (Resource::Topic, ("retention.ms", 4, Some("1")), InvalidRequest),
            (Resource::Topic, ("retention.ms", APPEND, Some("1")), InvalidConfig),
            (Resource::Topic, ("no.such.key", SET, Some("1")), InvalidConfig),
            (Resource::Topic, ("cleanup.policy", SET, Some("shred")), InvalidConfig),
            (Resource::Topic, ("cleanup.policy", SET, Some("delete,delete")), InvalidConfig),
            (Resource::Topic, ("remote.storage.enable", SET, Some("true")), InvalidConfig),
            (Resource::Topic, ("min.compaction.lag.ms", SET, Some("6")), InvalidConfig),
            (Resource::Broker, ("node.id", SET, Some("2")), InvalidRequest),
            (Resource::Broker, ("message.max.bytes", SET, Some("-1")), InvalidRequest),
            (Resource::Broker, ("log.retention.ms", SET, Some("0")), InvalidRequest),
            (Resource::Broker, ("log.flush.interval.ms", SET, Some("-1")), InvalidRequest),
            (Resource::Broker, ("num.io.threads", SET, Some("17")), InvalidRequest),
            (Resource::Broker, ("num.io.threads", SET, Some("3")), InvalidRequest),
            (Resource::Broker, ("num.io.threads", APPEND, Some("3")), InvalidConfig),
            (Resource::Broker, ("ssl.keystore.location", SET, Some("/k")), InvalidRequest),
            (Resource::Broker, ("listeners", SET, Some("PLAINTEXT://:9")), InvalidRequest),
            (Resource::ClusterDefault, ("listeners", SET, Some("PLAINTEXT://:9")), InvalidRequest),
            (Resource::ClusterDefault, ("ssl.client.auth", SET, Some("none")), InvalidRequest),
            (
                Resource::ClusterDefault,
                ("listener.name.inside.ssl.keystore.location", SET, Some("/k")),
                InvalidRequest,
            ),
        ];
        for (resource, wish, expected) in table {
            let current = if resource == Resource::Topic { &lagging } else { &none };
            let refusal = match alter(resource, current, wish) {
                Ok(changes) => panic!("{wish:?} is let through as {changes:?}"),
                Err(refusal) => refusal,
            };
            assert_eq!(resource.error_kind(&refusal), expected, "{wish:?}: {refusal}");
        }
    }

    #[test]
    fn brokers_take_what_is_dynamic_and_what_they_do_not_know() {
        let none = Overrides::new();
        let table = [
            (Resource::Broker, ("message.max.bytes", "2000")),
            (Resource::ClusterDefault, ("message.max.bytes", "2000")),
            (Resource::ClusterDefault, ("log.retention.ms", "-1")),
            (Resource::Broker, ("num.io.threads", "16")),
            (Resource::Broker, ("ssl.client.auth", "required")),
            (Resource::Broker, ("listener.name.inside.ssl.keystore.location", "/k")),
            (Resource::Broker, ("leader.replication.throttled.rate", "1000")),
            (Resource::ClusterDefault, ("leader.replication.throttled.rate", "1000")),
            (Resource::Broker, ("my.plugin.key", "anything")),
        ];
        for (resource, (key, value)) in table {
            let expected = alloc::vec![(key.into(), Some(value.into()))];
            assert_eq!(alter(resource, &none, (key, SET, Some(value))), Ok(expected), "{key}");
        }
    }

    #[test]
    fn one_refused_wish_refuses_all_and_a_key_may_stand_once() {
        let set = |key, value| Alteration { key, operation: SET, value: Some(value) };
        let layers = BrokerConfigLayers::defaults();
        let none = Overrides::new();
        let mixed = [set("retention.ms", "1"), set("segment.ms", "0")];
        assert!(incremental(Resource::Topic, &none, &mixed, &layers).is_err());
        let twice = [set("retention.ms", "1"), set("retention.ms", "1")];
        let refusal = incremental(Resource::Topic, &none, &twice, &layers);
        assert_eq!(refusal, Err(ConfigError::DuplicateKey { key: "retention.ms".into() }));
    }

    #[test]
    fn replacing_deletes_what_is_not_named() {
        let current = overrides(&[("retention.ms", "1000"), ("segment.ms", "7")]);
        let layers = BrokerConfigLayers::defaults();
        let changes = replace(
            Resource::Topic,
            &current,
            &[("segment.ms", Some("7")), ("flush.ms", Some("1"))],
            &layers,
        );
        let change =
            |key: &str, value: Option<&str>| ConfigChange { key: key.into(), value: value.map(Str::from) };
        assert_eq!(changes, Ok(alloc::vec![change("flush.ms", Some("1")), change("retention.ms", None)]));
        let refusal = replace(Resource::Topic, &current, &[("segment.ms", None)], &layers);
        assert_eq!(refusal, Err(ConfigError::NullValue { key: "segment.ms".into() }));
    }

    #[test]
    fn broker_names_are_this_node_or_nothing() {
        let name = |name| Resource::of_broker_name(name, NodeId(3));
        assert_eq!(name(""), Ok(Resource::ClusterDefault));
        assert_eq!(name("3"), Ok(Resource::Broker));
        assert_eq!(name("4"), Err(ConfigError::OtherBroker { expected: 3, received: 4 }));
        assert_eq!(name("three"), Err(ConfigError::BrokerName { name: "three".into() }));
    }
}
