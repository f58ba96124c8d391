//! The configuration of a client metrics subscription: which clients push which of their metrics, and how often (KIP-714).

use alloc::string::ToString;

use crate::config::Overrides;
use crate::config::definitions::{self, Definition};
use crate::config::value::{ConfigError, Value};

/// What a client can be chosen by.
const SELECTORS: [&str; 6] = [
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// The key of this name.
#[must_use]
pub fn definition(key: &str) -> Option<&'static Definition> {
    definitions::CLIENT_METRICS.iter().find(|definition| definition.name == key)
}

/// The effective value of a subscription's key; `None` for a key that no subscription has.
#[must_use]
pub fn value_of(key: &str, overrides: &Overrides) -> Option<Value> {
    let definition = definition(key)?;
    let own = overrides.get(key).and_then(|raw| definition.parse(raw).ok());
    own.or_else(|| definition.default_value())
}

/// Judges all values that a subscription would have. What a selector is matched against is left to whoever matches it.
///
/// # Errors
/// An unknown key, a value that is not of its type or out of range, a match that is not `selector=pattern`.
pub fn validate(overrides: &Overrides) -> Result<(), ConfigError> {
    for (key, raw) in overrides {
        let Some(definition) = definition(key) else {
            return Err(ConfigError::UnknownKey { resource: "client metrics", key: key.to_string() });
        };
        let value = definition.parse(raw)?;
        let Value::List(elements) = value else { continue };
        let is_match = |element: &alloc::string::String| {
            element.split_once('=').is_some_and(|(selector, pattern)| {
                SELECTORS.contains(&selector.trim()) && !pattern.trim().is_empty()
            })
        };
        if key == "match"
            && let Some(element) = elements.into_iter().find(|element| !is_match(element))
        {
            return Err(ConfigError::NotASelector { element });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Str;

    #[test]
    fn a_subscription_names_metrics_an_interval_and_clients() {
        let table = [
            ("metrics", "*", true),
            ("metrics", "org.apache.kafka.producer.,org.apache.kafka.consumer.", true),
            ("interval.ms", "100", true),
            ("interval.ms", "99", false),
            ("interval.ms", "3600001", false),
            ("match", "client_id=orders.*,client_source_port = 9.*", true),
            ("match", "", true),
            ("match", "client_id", false),
            ("match", "client_id=", false),
            ("match", "client=orders", false),
            ("period.ms", "100", false),
        ];
        for (key, value, is_valid) in table {
            let overrides = Overrides::from([(Str::from(key), Str::from(value))]);
            assert_eq!(validate(&overrides).is_ok(), is_valid, "{key}={value}");
        }
    }
}
