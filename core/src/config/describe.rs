//! What DescribeConfigs says about a topic, a broker, a group and a client metrics subscription.
//!
//! An entry carries its synonyms and its documentation always; whoever answers the request leaves out what was not asked
//! for.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::config::broker::BrokerConfigLayers;
use crate::config::definitions::{self, ConfigType, DefaultValue, Definition, DynamicMode};
use crate::config::value::Value;
use crate::config::{Overrides, Str};
use crate::config::{client_metrics, group, topic};

/// Which layer a value stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// The topic's own override.
    DynamicTopic = 1,
    /// The broker's dynamic value.
    DynamicBroker = 2,
    /// The cluster's dynamic default for brokers.
    DynamicDefaultBroker = 3,
    /// The broker's file, environment or command line.
    StaticBroker = 4,
    /// Kafka's default.
    Default = 5,
    /// The client metrics subscription's own value.
    DynamicClientMetrics = 7,
    /// The group's own value.
    DynamicGroup = 8,
}

impl Source {
    /// The number by which DescribeConfigs names the source.
    #[must_use]
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// One layer's value of a key, or of another key that says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The key.
    pub name: Str,
    /// The text as it was set; `None` for a secret.
    pub value: Option<Str>,
    /// The layer.
    pub source: Source,
}

/// One key of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: Str,
    /// The effective value; `None` when there is none, and for a secret.
    pub value: Option<Str>,
    /// Whether only a restart can change it.
    pub read_only: bool,
    /// Where the effective value comes from.
    pub source: Source,
    /// Whether the value is a secret, or of a key nobody knows and therefore perhaps one.
    pub is_sensitive: bool,
    /// All values that were set, the strongest first.
    pub synonyms: Vec<Synonym>,
    /// Type of the value; `None` for a key nobody knows.
    pub kind: Option<ConfigType>,
    /// One sentence on the key; empty for a key nobody knows.
    pub documentation: &'static str,
}

impl ConfigEntry {
    /// The number by which DescribeConfigs names the type, 0 for none.
    #[must_use]
    pub const fn type_code(&self) -> i8 {
        match self.kind {
            Some(kind) => kind.code(),
            None => 0,
        }
    }
}

/// Describes a topic with these overrides. Of the keys named in `wanted`, the ones that do not exist are passed over; no
/// names at all stand for every key.
#[must_use]
pub fn topic(
    overrides: &Overrides,
    broker: &BrokerConfigLayers<'_>,
    wanted: Option<&[Str]>,
) -> Vec<ConfigEntry> {
    let shown = definitions::TOPIC
        .iter()
        .filter(|definition| !definition.internal || overrides.contains_key(definition.name))
        .filter(|definition| is_wanted(definition.name, wanted));
    shown.map(|definition| topic_entry(definition, overrides, broker)).collect()
}

/// Describes a group with these overrides. What comes from the broker is shown as a default, as in Kafka.
#[must_use]
pub fn group(
    overrides: &Overrides,
    broker: &BrokerConfigLayers<'_>,
    wanted: Option<&[Str]>,
) -> Vec<ConfigEntry> {
    let shown = definitions::GROUP.iter().filter(|definition| is_wanted(definition.name, wanted));
    shown
        .map(|definition| {
            let value = group::value_of(definition.name, overrides, broker);
            named_entry(definition, overrides, value, Source::DynamicGroup)
        })
        .collect()
}

/// Describes a client metrics subscription with these overrides.
#[must_use]
pub fn client_metrics(overrides: &Overrides, wanted: Option<&[Str]>) -> Vec<ConfigEntry> {
    let shown = definitions::CLIENT_METRICS.iter().filter(|definition| is_wanted(definition.name, wanted));
    shown
        .map(|definition| {
            let value = client_metrics::value_of(definition.name, overrides);
            named_entry(definition, overrides, value, Source::DynamicClientMetrics)
        })
        .collect()
}

/// A key of a resource that has its own values and defaults, and no layers between them.
fn named_entry(
    definition: &Definition,
    overrides: &Overrides,
    value: Option<Value>,
    source: Source,
) -> ConfigEntry {
    let name = Str::from_static(definition.name);
    let value = value.map(|value| Str::from(value.to_string()));
    let own = overrides.contains_key(definition.name);
    let synonym = own.then(|| Synonym { name: name.clone(), value: value.clone(), source });
    ConfigEntry {
        name,
        value,
        read_only: false,
        source: if own { source } else { Source::Default },
        is_sensitive: definition.is_sensitive(),
        synonyms: synonym.into_iter().collect(),
        kind: Some(definition.kind),
        documentation: definition.doc(),
    }
}

/// Describes the broker that these layers belong to.
#[must_use]
pub fn broker(layers: &BrokerConfigLayers<'_>, wanted: Option<&[Str]>) -> Vec<ConfigEntry> {
    let is_set = |key: &str| {
        layers.broker.contains_key(key)
            || layers.cluster_default.contains_key(key)
            || layers.static_entries.contains_key(key)
    };
    let known =
        definitions::BROKER.iter().filter(|definition| !definition.internal || is_set(definition.name));
    let mut names: Vec<&str> = known.map(|definition| definition.name).collect();
    let set = layers.static_entries.keys().map(|key| &**key);
    let set = set.chain(layers.broker.keys().chain(layers.cluster_default.keys()).map(|key| &**key));
    names.extend(set.filter(|key| definitions::broker_static(key).is_none()));
    names.sort_unstable();
    names.dedup();
    names.retain(|name| is_wanted(name, wanted));
    names.into_iter().map(|name| broker_entry(name, layers)).collect()
}

/// Describes the cluster's dynamic defaults for brokers: the keys that are set there and nothing else.
#[must_use]
pub fn cluster_default(layers: &BrokerConfigLayers<'_>, wanted: Option<&[Str]>) -> Vec<ConfigEntry> {
    let names = layers.cluster_default.iter().filter(|(name, _)| is_wanted(name, wanted));
    let entry = |(name, raw): (&Str, &Str)| {
        let mut entry = broker_entry(name, layers);
        entry.value = (!entry.is_sensitive).then(|| normalised(definitions::broker(name), raw));
        entry.synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
        entry.source = entry.synonyms.first().map_or(Source::Default, |synonym| synonym.source);
        entry
    };
    names.map(entry).collect()
}

fn is_wanted(name: &str, wanted: Option<&[Str]>) -> bool {
    wanted.is_none_or(|wanted| wanted.is_empty() || wanted.iter().any(|one| one == name))
}

fn normalised(definition: Option<&Definition>, raw: &Str) -> Str {
    definition
        .and_then(|definition| definition.parse(raw).ok())
        .map_or_else(|| raw.clone(), |value| Str::from(value.to_string()))
}

fn topic_entry(
    definition: &Definition,
    overrides: &Overrides,
    broker: &BrokerConfigLayers<'_>,
) -> ConfigEntry {
    let name = Str::from(definition.name);
    let is_sensitive = definition.is_sensitive();
    let value = topic::value_of(definition.name, overrides, broker)
        .filter(|_| !is_sensitive)
        .map(|value| Str::from(value.to_string()));
    let mut synonyms = Vec::new();
    if overrides.contains_key(definition.name) {
        synonyms.push(Synonym { name: name.clone(), value: value.clone(), source: Source::DynamicTopic });
    }
    let broker_keys = definitions::broker_keys_of_topic_key(definition.name);
    if let Some(first) = broker_keys.first() {
        synonyms.extend(broker_synonyms(first, broker_keys, broker, is_sensitive));
    }
    ConfigEntry {
        source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
        name,
        value,
        read_only: false,
        is_sensitive,
        synonyms,
        kind: Some(definition.kind),
        documentation: definition.doc(),
    }
}

fn broker_entry(name: &str, layers: &BrokerConfigLayers<'_>) -> ConfigEntry {
    let base = definitions::without_listener_prefix(name);
    let definition = base.and_then(definitions::broker).or_else(|| definitions::broker(name));
    let is_sensitive = definition.is_none_or(Definition::is_sensitive);
    let value = if base.is_some() {
        // A listener's own form of a key has no layers but the text that was set.
        let set = layers.broker.get(name).or_else(|| layers.cluster_default.get(name)).cloned();
        set.or_else(|| layers.static_entries.get(name).map(|entry| Str::from(entry.value.as_str())))
            .map(|raw| normalised(definition, &raw))
    } else {
        layers.value(name).map(|value| Str::from(value.to_string()))
    };
    let family = match (definitions::broker_synonyms(name), base) {
        ([], None) => alloc::vec![name],
        ([], Some(base)) => alloc::vec![name, base],
        (family, _) => family.to_vec(),
    };
    let synonyms = broker_synonyms(name, &family, layers, is_sensitive);
    ConfigEntry {
        name: Str::from(name),
        value: value.filter(|_| !is_sensitive),
        read_only: definitions::broker(name)
            .is_none_or(|definition| definition.mode == DynamicMode::ReadOnly),
        source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
        is_sensitive,
        synonyms,
        kind: definition.map(|definition| definition.kind),
        documentation: definition.map_or("", Definition::doc),
    }
}

/// The values that a family of broker keys has in the layers, the strongest layer first and within it the strongest key.
///
/// As in Kafka, whatever precedes the first value of the key itself is left out: `retention.ms` of a topic therefore lists
/// no synonym, and names the default as its source, where only `log.retention.hours` is set.
fn broker_synonyms(
    key: &str,
    family: &[&str],
    layers: &BrokerConfigLayers<'_>,
    is_sensitive: bool,
) -> Vec<Synonym> {
    let of_source = |source: Source, name: &str| match source {
        Source::DynamicBroker => layers.broker.get(name).cloned(),
        Source::DynamicDefaultBroker => layers.cluster_default.get(name).cloned(),
        Source::StaticBroker => layers.static_entries.get(name).map(|entry| Str::from(entry.value.as_str())),
        Source::Default => match definitions::broker_static(name)?.default {
            DefaultValue::Is(text) => Some(Str::from_static(text)),
            DefaultValue::Required | DefaultValue::Null => None,
        },
        Source::DynamicTopic | Source::DynamicClientMetrics | Source::DynamicGroup => None,
    };
    [Source::DynamicBroker, Source::DynamicDefaultBroker, Source::StaticBroker, Source::Default]
        .into_iter()
        .flat_map(|source| family.iter().map(move |name| (source, *name)))
        .filter_map(|(source, name)| {
            let value = of_source(source, name)?;
            Some(Synonym { name: Str::from(name), value: (!is_sensitive).then_some(value), source })
        })
        .skip_while(|synonym| synonym.name != *key)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker::{Entry, Origin, StaticEntries};

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(key, value)| (Str::from(*key), Str::from(*value))).collect()
    }

    fn static_entries(pairs: &[(&str, &str)]) -> StaticEntries {
        let entry = |value: &str| Entry { value: value.into(), origin: Origin::BuiltIn };
        pairs.iter().map(|(key, value)| ((*key).into(), entry(value))).collect()
    }

    fn one(entries: &[ConfigEntry], name: &str) -> ConfigEntry {
        entries.iter().find(|entry| entry.name == *name).cloned().expect("the key is described")
    }

    fn layer_list(entry: &ConfigEntry) -> Vec<(Str, Option<Str>, i8)> {
        entry
            .synonyms
            .iter()
            .map(|synonym| (synonym.name.clone(), synonym.value.clone(), synonym.source.code()))
            .collect()
    }

    fn row(name: &str, value: &str, source: i8) -> (Str, Option<Str>, i8) {
        (name.into(), Some(value.into()), source)
    }

    #[test]
    fn topic_without_overrides_shows_every_public_key_with_kafka_s_default() {
        let entries = topic(&Overrides::new(), &BrokerConfigLayers::defaults(), None);
        assert_eq!(entries.len(), 33);
        for entry in &entries {
            assert_eq!(entry.source, Source::Default, "{}", entry.name);
            assert!(entry.value.is_some(), "{}", entry.name);
            assert!(!entry.read_only && !entry.is_sensitive && !entry.documentation.is_empty());
        }
        let bytes = one(&entries, "max.message.bytes");
        assert_eq!(layer_list(&bytes), [row("message.max.bytes", "1048588", 5)]);
        assert_eq!((bytes.type_code(), one(&entries, "cleanup.policy").type_code()), (3, 7));
    }

    #[test]
    fn synonyms_come_in_the_order_in_which_they_count() {
        let cluster_default = overrides(&[("log.retention.ms", "3000")]);
        let per_broker = overrides(&[("log.retention.ms", "4000")]);
        let entries = static_entries(&[("log.retention.ms", "2000"), ("log.retention.hours", "1")]);
        let layers = BrokerConfigLayers {
            broker: &per_broker,
            cluster_default: &cluster_default,
            static_entries: &entries,
        };
        let described = topic(&overrides(&[("retention.ms", "5000")]), &layers, None);
        let retention = one(&described, "retention.ms");
        assert_eq!((retention.value.as_deref(), retention.source.code()), (Some("5000"), 1));
        assert_eq!(
            layer_list(&retention),
            [
                row("retention.ms", "5000", 1),
                row("log.retention.ms", "4000", 2),
                row("log.retention.ms", "3000", 3),
                row("log.retention.ms", "2000", 4),
                row("log.retention.hours", "1", 4),
                row("log.retention.hours", "168", 5),
            ]
        );
    }

    #[test]
    fn topic_key_set_only_in_hours_names_the_default_as_its_source() {
        let entries = static_entries(&[("log.retention.hours", "2")]);
        let layers = BrokerConfigLayers { static_entries: &entries, ..BrokerConfigLayers::defaults() };
        let retention = one(&topic(&Overrides::new(), &layers, None), "retention.ms");
        assert_eq!((retention.value.as_deref(), retention.source), (Some("7200000"), Source::Default));
        assert!(retention.synonyms.is_empty());
        let hours = one(&broker(&layers, None), "log.retention.hours");
        assert_eq!((hours.value.as_deref(), hours.source), (Some("2"), Source::StaticBroker));
        assert_eq!(one(&broker(&layers, None), "log.retention.ms").value, None);
    }

    #[test]
    fn secrets_and_unknown_keys_never_show_their_value() {
        let entries = static_entries(&[
            ("ssl.keystore.password", "swordfish"),
            ("listener.name.inside.ssl.key.password", "swordfish"),
            ("my.plugin.token", "swordfish"),
        ]);
        let layers = BrokerConfigLayers { static_entries: &entries, ..BrokerConfigLayers::defaults() };
        let described = broker(&layers, None);
        assert!(!alloc::format!("{described:?}").contains("swordfish"));
        for (name, code) in [
            ("ssl.keystore.password", 9),
            ("listener.name.inside.ssl.key.password", 9),
            ("my.plugin.token", 0),
        ] {
            let entry = one(&described, name);
            assert!(entry.is_sensitive, "{name}");
            assert_eq!(
                (entry.value.clone(), entry.type_code(), entry.source.code()),
                (None, code, 4),
                "{name}"
            );
        }
    }

    #[test]
    fn internal_keys_are_shown_only_where_they_are_set() {
        let shown = |entries: &[ConfigEntry], name: &str| entries.iter().any(|entry| entry.name == *name);
        let none = Overrides::new();
        let layers = BrokerConfigLayers::defaults();
        assert!(!shown(&topic(&none, &layers, None), "internal.segment.bytes"));
        assert!(shown(
            &topic(&overrides(&[("internal.segment.bytes", "100")]), &layers, None),
            "internal.segment.bytes"
        ));
        assert!(!shown(&broker(&layers, None), "log.initial.task.delay.ms"));
        let entries = static_entries(&[("log.initial.task.delay.ms", "5")]);
        let layers = BrokerConfigLayers { static_entries: &entries, ..layers };
        assert!(shown(&broker(&layers, None), "log.initial.task.delay.ms"));
        assert_eq!(broker(&layers, None).len(), 341);
    }

    #[test]
    fn wanted_keys_are_filtered_and_an_empty_wish_is_every_key() {
        let layers = BrokerConfigLayers::defaults();
        let wanted = [Str::from("retention.ms"), Str::from("no.such.key")];
        let entries = topic(&Overrides::new(), &layers, Some(&wanted));
        assert_eq!(entries.iter().map(|entry| &*entry.name).collect::<Vec<_>>(), ["retention.ms"]);
        assert_eq!(topic(&Overrides::new(), &layers, Some(&[])).len(), 33);
    }

    #[test]
    fn cluster_default_shows_what_is_set_there_and_no_other_layer() {
        let cluster_default = overrides(&[("message.max.bytes", " 2000 "), ("num.io.threads", "4")]);
        let per_broker = overrides(&[("message.max.bytes", "3000")]);
        let layers = BrokerConfigLayers {
            broker: &per_broker,
            cluster_default: &cluster_default,
            ..BrokerConfigLayers::defaults()
        };
        let described = super::cluster_default(&layers, None);
        assert_eq!(described.len(), 2);
        assert_eq!(described[0].value.as_deref(), Some("2000"));
        assert_eq!(layer_list(&described[0]), [row("message.max.bytes", " 2000 ", 3)]);
        assert!(!described[0].read_only);
        assert!(one(&broker(&layers, None), "node.id").read_only);
    }
}
