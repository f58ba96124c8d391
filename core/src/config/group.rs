//! The configuration of a group: its own values over the broker's defaults, within the broker's bounds.

use alloc::format;
use alloc::string::{String, ToString};

use crate::config::Overrides;
use crate::config::broker::BrokerConfigLayers;
use crate::config::definitions;
use crate::config::value::{ConfigError, Value};

/// The effective value of a group's key; `None` for a key that no group has.
#[must_use]
pub fn value_of(key: &str, overrides: &Overrides, broker: &BrokerConfigLayers<'_>) -> Option<Value> {
    let definition = definitions::group(key)?;
    let own = overrides.get(key).and_then(|raw| definition.parse(raw).ok());
    own.or_else(|| {
        let default = format!("group.{key}");
        definitions::broker(&default).and_then(|_| broker.value(&default))
    })
    .or_else(|| definition.default_value())
}

/// Judges all values that a group would have.
///
/// # Errors
/// An unknown key, a value that is not of its type, one outside the broker's bounds, or a session that would be over
/// before its first heartbeat.
pub fn validate(overrides: &Overrides, broker: &BrokerConfigLayers<'_>) -> Result<(), ConfigError> {
    for (key, raw) in overrides {
        let Some(definition) = definitions::group(key) else {
            return Err(ConfigError::UnknownKey { resource: "group", key: key.to_string() });
        };
        definition.parse(raw)?;
    }
    for definition in &definitions::GROUP {
        let key = definition.name;
        let value = value_of(key, overrides, broker).and_then(|value| value.as_i64());
        for (which, is_beyond) in [("min", i64::lt as fn(&i64, &i64) -> bool), ("max", i64::gt)] {
            let Some(bound_key) = bound_key(key, which) else { continue };
            let bound = broker.value(&bound_key).and_then(|bound| bound.as_i64());
            if let Some((value, bound)) = value.zip(bound)
                && is_beyond(&value, &bound)
            {
                return Err(ConfigError::BeyondBound { key: key.to_string(), value, bound_key, bound });
            }
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let millis = |key: &str| value_of(&format!("{kind}.{key}"), overrides, broker)?.as_i64();
        let session_and_heartbeat = millis("session.timeout.ms").zip(millis("heartbeat.interval.ms"));
        if let Some((session, heartbeat)) = session_and_heartbeat
            && session <= heartbeat
        {
            return Err(ConfigError::SessionWithinHeartbeat { kind, session, heartbeat });
        }
    }
    Ok(())
}

/// The broker's key for the least or the greatest value of a group's key, if there is one.
fn bound_key(key: &str, which: &str) -> Option<String> {
    let (kind, rest) = key.split_once('.')?;
    let rest = rest.strip_prefix("num.").unwrap_or(rest);
    let bound_key = format!("group.{kind}.{which}.{rest}");
    definitions::broker(&bound_key).map(|_| bound_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Str;
    use crate::config::broker::{Entry, Origin, StaticEntries};
    use crate::config::value::ErrorKind;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(key, value)| (Str::from(*key), Str::from(*value))).collect()
    }

    fn static_entries(pairs: &[(&str, &str)]) -> StaticEntries {
        let entry = |value: &str| Entry { value: value.into(), origin: Origin::BuiltIn };
        pairs.iter().map(|(key, value)| ((*key).into(), entry(value))).collect()
    }

    #[test]
    fn values_come_from_the_group_then_the_broker_then_kafka() {
        let entries = static_entries(&[("group.consumer.session.timeout.ms", "50000")]);
        let layers = BrokerConfigLayers { static_entries: &entries, ..BrokerConfigLayers::defaults() };
        let session =
            |own: &[(&str, &str)]| value_of("consumer.session.timeout.ms", &overrides(own), &layers);
        assert_eq!(session(&[]), Some(Value::Int(50_000)));
        assert_eq!(session(&[("consumer.session.timeout.ms", "60000")]), Some(Value::Int(60_000)));
        let level = value_of("share.isolation.level", &Overrides::new(), &layers);
        assert_eq!(level, Some(Value::String("read_uncommitted".into())));
        assert_eq!(value_of("no.such.key", &Overrides::new(), &layers), None);
    }

    #[test]
    fn values_lie_within_the_bounds_of_the_broker() {
        let table: [(&[(&str, &str)], bool); 12] = [
            (&[], true),
            (&[("consumer.session.timeout.ms", "45000")], true),
            (&[("consumer.session.timeout.ms", "44999")], false),
            (&[("consumer.session.timeout.ms", "60000")], true),
            (&[("consumer.session.timeout.ms", "60001")], false),
            (&[("consumer.heartbeat.interval.ms", "4999")], false),
            (&[("share.delivery.count.limit", "10")], true),
            (&[("share.delivery.count.limit", "11")], false),
            (&[("streams.num.standby.replicas", "3")], false),
            (&[("share.auto.offset.reset", "by_duration:P1D")], true),
            (&[("share.auto.offset.reset", "never")], false),
            (&[("session.timeout.ms", "45000")], false),
        ];
        for (own, is_valid) in table {
            let verdict = validate(&overrides(own), &BrokerConfigLayers::defaults());
            assert_eq!(verdict.is_ok(), is_valid, "{own:?}: {verdict:?}");
        }
    }

    #[test]
    fn a_session_outlives_the_interval_of_its_heartbeats() {
        let entries = static_entries(&[
            ("group.share.min.session.timeout.ms", "1"),
            ("group.share.max.heartbeat.interval.ms", "50000"),
        ]);
        let layers = BrokerConfigLayers { static_entries: &entries, ..BrokerConfigLayers::defaults() };
        let own = overrides(&[("share.session.timeout.ms", "9000"), ("share.heartbeat.interval.ms", "9000")]);
        let refusal = validate(&own, &layers).expect_err("it could never be in time");
        assert_eq!(refusal.kind(), ErrorKind::InvalidConfig);
        assert_eq!(
            refusal.to_string(),
            "share.session.timeout.ms (9000) must be greater than share.heartbeat.interval.ms (9000)"
        );
    }
}
