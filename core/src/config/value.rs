//! One value against one definition: Kafka's rules for reading the text of a configuration value.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::config::definitions::{ConfigType, Definition, DynamicMode, Validator};

/// A value that passed its definition. Its `Display` form is the one DescribeConfigs answers with.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of type BOOLEAN.
    Boolean(bool),
    /// Of type INT.
    Int(i32),
    /// Of type SHORT.
    Short(i16),
    /// Of type LONG.
    Long(i64),
    /// Of type DOUBLE.
    Double(f64),
    /// Of type STRING or CLASS.
    String(String),
    /// Of type LIST.
    List(Vec<String>),
    /// Of type PASSWORD.
    Password(Secret),
}

/// A text that neither `Debug` nor `Display` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for whoever has to use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl Value {
    /// The number of a BOOLEAN (0 or 1), INT, SHORT or LONG.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Boolean(value) => Some(i64::from(*value)),
            Self::Int(value) => Some(i64::from(*value)),
            Self::Short(value) => Some(i64::from(*value)),
            Self::Long(value) => Some(*value),
            Self::Double(_) | Self::String(_) | Self::List(_) | Self::Password(_) => None,
        }
    }

    /// The text of a STRING or CLASS.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            Self::Boolean(_)
            | Self::Int(_)
            | Self::Short(_)
            | Self::Long(_)
            | Self::Double(_)
            | Self::List(_)
            | Self::Password(_) => None,
        }
    }

    /// The elements of a LIST.
    #[must_use]
    pub fn as_list(&self) -> Option<&[String]> {
        match self {
            Self::List(value) => Some(value),
            Self::Boolean(_)
            | Self::Int(_)
            | Self::Short(_)
            | Self::Long(_)
            | Self::Double(_)
            | Self::String(_)
            | Self::Password(_) => None,
        }
    }

    /// The number of a DOUBLE.
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            Self::Boolean(_)
            | Self::Int(_)
            | Self::Short(_)
            | Self::Long(_)
            | Self::String(_)
            | Self::List(_)
            | Self::Password(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Short(value) => value.fmt(f),
            Self::Long(value) => value.fmt(f),
            Self::Double(value) => write_double(*value, f),
            Self::String(value) => f.write_str(value),
            Self::List(values) => f.write_str(&values.join(",")),
            Self::Password(_) => f.write_str("[hidden]"),
        }
    }
}

/// Writes a double as Java does: always with a point, and with an exponent below 0.001 and from ten million.
fn write_double(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return write!(f, "{value:?}");
    }
    let scientific = alloc::format!("{value:E}");
    match scientific.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => write!(f, "{digits}.0E{exponent}"),
        Some(_) | None => f.write_str(&scientific),
    }
}

/// Which of Kafka's error codes a refusal travels under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// INVALID_CONFIG, 40.
    InvalidConfig,
    /// INVALID_REQUEST, 42.
    InvalidRequest,
}

/// Why a value or a change of values is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not of the key's type.
    #[error("Invalid value {value} for configuration {key}: expected {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// The text.
        value: String,
        /// What the type takes.
        expected: Expected,
    },
    /// The value is of the type, and not valid.
    #[error("Invalid value {value} for configuration {key}: {allowed}")]
    NotAllowed {
        /// The key.
        key: String,
        /// The text.
        value: String,
        /// What is valid.
        allowed: Allowed,
    },
    /// A list holds an element twice.
    #[error("Invalid value {value} for configuration {key}: {element} stands in the list more than once")]
    Repeated {
        /// The key.
        key: String,
        /// The text.
        value: String,
        /// The element.
        element: String,
    },
    /// A list holds an element of no letters, or no element where one is due.
    #[error("Invalid value '{value}' for configuration {key}: the list has an empty element")]
    EmptyElement {
        /// The key.
        key: String,
        /// The text.
        value: String,
    },
    /// `log.retention.ms` and its kin are neither -1 nor positive.
    #[error("Invalid value {value} for configuration {key}: must be -1 (no limit) or at least 1")]
    ZeroRetention {
        /// The key.
        key: String,
        /// The text.
        value: String,
    },
    /// No topic has this key.
    #[error("Unknown topic config name: {key}{}", DidYouMean(*.nearest))]
    UnknownTopicKey {
        /// The key.
        key: String,
        /// The topic key that it resembles.
        nearest: Option<&'static str>,
    },
    /// The two compaction lags contradict each other.
    #[error(
        "Configuration min.compaction.lag.ms ({min}) must not be greater than max.compaction.lag.ms ({max})"
    )]
    CompactionLags {
        /// `min.compaction.lag.ms`.
        min: i64,
        /// `max.compaction.lag.ms`.
        max: i64,
    },
    /// `remote.storage.enable` without tiered storage.
    #[error("Tiered storage is disabled in this cluster: remote.storage.enable cannot be true")]
    TieredStorageDisabled,
    /// APPEND or SUBTRACT on a key that holds one value.
    #[error("Can't {op} to key {key} because its type is not LIST.")]
    NotAList {
        /// The key.
        key: String,
        /// The operation.
        op: &'static str,
    },
    /// The operation's number is none of the four.
    #[error("Unknown operation {op} on key {key}: 0 sets, 1 deletes, 2 appends, 3 subtracts")]
    UnknownOperation {
        /// The key.
        key: String,
        /// The number.
        op: i8,
    },
    /// An operation that needs a value came without.
    #[error("Null value not supported for : {key}")]
    NullValue {
        /// The key.
        key: String,
    },
    /// A request names a key twice for the same resource.
    #[error("Error due to duplicate config keys: {key}")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The key cannot change as the request asks.
    #[error("{}", Refusal(.key, *.mode))]
    NotDynamic {
        /// The key.
        key: String,
        /// How it may change.
        mode: DynamicMode,
    },
    /// No resource of this kind has the key.
    #[error("Unknown {resource} configuration: {key}")]
    UnknownKey {
        /// The kind of resource.
        resource: &'static str,
        /// The key.
        key: String,
    },
    /// A group's value is beyond what the broker allows.
    #[error("Invalid value {value} for configuration {key}: the broker's {bound_key} is {bound}")]
    BeyondBound {
        /// The group's key.
        key: String,
        /// Its value.
        value: i64,
        /// The broker's key.
        bound_key: String,
        /// Its value.
        bound: i64,
    },
    /// The members of a group would be thrown out before they are heard of.
    #[error(
        "{kind}.session.timeout.ms ({session}) must be greater than {kind}.heartbeat.interval.ms ({heartbeat})"
    )]
    SessionWithinHeartbeat {
        /// The kind of group.
        kind: &'static str,
        /// The session timeout.
        session: i64,
        /// The interval.
        heartbeat: i64,
    },
    /// An element of a client metrics subscription's `match` is no choice of clients.
    #[error("Illegal client matching pattern: '{element}' is not of the form selector=pattern")]
    NotASelector {
        /// The element.
        element: String,
    },
    /// A resource of a kind that has no default for all was given no name.
    #[error("Default {resource} resources are not allowed: a name is needed")]
    Unnamed {
        /// The kind of resource.
        resource: &'static str,
    },
    /// A security key was set for all listeners at once.
    #[error("Cannot update {key} dynamically for all listeners: set it as listener.name.<listener>.{key}")]
    NeedsListenerPrefix {
        /// The key.
        key: String,
    },
    /// A number of threads would change by more than a factor of two at once.
    #[error(
        "Dynamic update of {key} from {current} to {wanted} is too large a step: it may at most double or halve"
    )]
    ThreadPoolStep {
        /// The key.
        key: String,
        /// Threads that run.
        current: i64,
        /// Threads asked for.
        wanted: i64,
    },
    /// The name of a BROKER resource is neither empty nor a number.
    #[error("Unable to parse broker name {name} as a base 10 number.")]
    BrokerName {
        /// The name.
        name: String,
    },
    /// The request reached another broker than the one it names.
    #[error("Unexpected broker id, expected {expected} or empty string, but received {received}")]
    OtherBroker {
        /// This broker.
        expected: i32,
        /// The broker named.
        received: i32,
    },
}

impl ConfigError {
    /// The error code for a topic or a group; a broker's refusals all travel as INVALID_REQUEST (KAFKA-13609).
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongType { .. }
            | Self::NotAllowed { .. }
            | Self::Repeated { .. }
            | Self::EmptyElement { .. }
            | Self::ZeroRetention { .. }
            | Self::UnknownTopicKey { .. }
            | Self::CompactionLags { .. }
            | Self::TieredStorageDisabled
            | Self::UnknownKey { .. }
            | Self::BeyondBound { .. }
            | Self::SessionWithinHeartbeat { .. }
            | Self::NotASelector { .. }
            | Self::NotAList { .. } => ErrorKind::InvalidConfig,
            Self::UnknownOperation { .. }
            | Self::NullValue { .. }
            | Self::DuplicateKey { .. }
            | Self::Unnamed { .. }
            | Self::NotDynamic { .. }
            | Self::NeedsListenerPrefix { .. }
            | Self::ThreadPoolStep { .. }
            | Self::BrokerName { .. }
            | Self::OtherBroker { .. } => ErrorKind::InvalidRequest,
        }
    }
}

/// What a type takes, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected(ConfigType);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ConfigType::Boolean => f.write_str("true or false"),
            ConfigType::Int | ConfigType::Short | ConfigType::Long | ConfigType::Double => {
                write!(f, "a number of type {}", self.0.name())
            }
            ConfigType::String | ConfigType::List | ConfigType::Class | ConfigType::Password => {
                write!(f, "a {}", self.0.name())
            }
        }
    }
}

/// What a validator takes, for messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed(pub Validator);

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Validator::Any => f.write_str("any value is valid"),
            Validator::AtLeast(min) => write!(f, "Value must be at least {min}"),
            Validator::Between(min, max) => write!(f, "Value must be between {min} and {max}"),
            Validator::MinusOneOrBetween(min, max) => {
                write!(f, "Value must be between {min} and {max}, or -1")
            }
            Validator::Fraction(min, max) => write!(f, "Value must be between {min} and {max}"),
            Validator::NonEmpty => f.write_str("Value must not be empty"),
            Validator::OneOf(texts) => write!(f, "Value must be one of: {}", texts.join(", ")),
            Validator::OneOfIgnoreCase(texts) => {
                write!(f, "Value must be one of (in any case): {}", texts.join(", "))
            }
            Validator::ListOf(texts) => write!(f, "Every element must be one of: {}", texts.join(", ")),
            Validator::NonEmptyListOf(texts) => {
                write!(f, "Value must be a list of at least one of: {}", texts.join(", "))
            }
            Validator::Voters => f.write_str("Value must be a list of id@host:port"),
            Validator::Servers => f.write_str("Value must be a list of host:port"),
            Validator::ThrottledReplicas => {
                f.write_str("Value must be *, empty, or a list of partition:broker")
            }
            Validator::ShareOffsetReset => {
                f.write_str("Value must be earliest, latest, or by_duration:PnDTnHnMn.nS")
            }
        }
    }
}

struct DidYouMean(Option<&'static str>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest}?"))
    }
}

struct Refusal<'a>(&'a str, DynamicMode);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            DynamicMode::ReadOnly => {
                write!(f, "Cannot update {} dynamically: it changes only with a restart", self.0)
            }
            DynamicMode::PerBroker => write!(
                f,
                "Cannot update {} at default cluster level: it holds for one broker, name that broker's id",
                self.0
            ),
            DynamicMode::ClusterWide => write!(f, "Cannot update {}", self.0),
        }
    }
}

/// Takes white space and control characters off both ends, as Java's `trim` does.
#[must_use]
pub fn trim(raw: &str) -> &str {
    raw.trim_matches(|c: char| c <= ' ')
}

/// Splits a list: nothing gives no element, everything else one more element than it has commas.
#[must_use]
pub fn split_list(raw: &str) -> Vec<String> {
    let raw = trim(raw);
    if raw.is_empty() { Vec::new() } else { raw.split(',').map(|element| trim(element).to_owned()).collect() }
}

pub(super) fn parse(definition: &Definition, raw: &str) -> Result<Value, ConfigError> {
    let trimmed = trim(raw);
    let wrong_type = || ConfigError::WrongType {
        key: definition.name.to_owned(),
        value: trimmed.to_owned(),
        expected: Expected(definition.kind),
    };
    let value = match definition.kind {
        ConfigType::Boolean => {
            if trimmed.eq_ignore_ascii_case("true") {
                Value::Boolean(true)
            } else if trimmed.eq_ignore_ascii_case("false") {
                Value::Boolean(false)
            } else {
                return Err(wrong_type());
            }
        }
        ConfigType::Int => Value::Int(trimmed.parse().map_err(|_| wrong_type())?),
        ConfigType::Short => Value::Short(trimmed.parse().map_err(|_| wrong_type())?),
        ConfigType::Long => Value::Long(trimmed.parse().map_err(|_| wrong_type())?),
        ConfigType::Double => {
            // Rust also reads "inf" and "nan" in any case, which Java does not and no key wants.
            if trimmed.bytes().any(|b| b.is_ascii_alphabetic() && !b.eq_ignore_ascii_case(&b'e')) {
                return Err(wrong_type());
            }
            Value::Double(trimmed.parse().map_err(|_| wrong_type())?)
        }
        ConfigType::String | ConfigType::Class => Value::String(trimmed.to_owned()),
        ConfigType::List => Value::List(split_list(trimmed)),
        ConfigType::Password => Value::Password(Secret(raw.to_owned())),
    };
    validate(definition, trimmed, &value)?;
    Ok(value)
}

fn validate(definition: &Definition, trimmed: &str, value: &Value) -> Result<(), ConfigError> {
    let key = || definition.name.to_owned();
    let list = value.as_list().unwrap_or_default();
    if definition.validator != Validator::ThrottledReplicas {
        if list.iter().any(String::is_empty) {
            return Err(ConfigError::EmptyElement { key: key(), value: trimmed.to_owned() });
        }
        let repeated = list.iter().enumerate().find(|(at, element)| list[..*at].contains(element));
        if let Some((_, element)) = repeated {
            return Err(ConfigError::Repeated {
                key: key(),
                value: trimmed.to_owned(),
                element: element.clone(),
            });
        }
    }
    let number = value.as_i64();
    let text = value.as_str();
    let passes = match definition.validator {
        Validator::Any => true,
        Validator::AtLeast(min) => number.is_some_and(|number| number >= min),
        Validator::Between(min, max) => number.is_some_and(|number| (min..=max).contains(&number)),
        Validator::MinusOneOrBetween(min, max) => {
            number.is_some_and(|number| number == -1 || (min..=max).contains(&number))
        }
        Validator::Fraction(min, max) => value.as_f64().is_some_and(|number| (min..=max).contains(&number)),
        Validator::NonEmpty => text.is_some_and(|text| !text.is_empty()),
        Validator::OneOf(texts) => text.is_some_and(|text| texts.contains(&text)),
        Validator::OneOfIgnoreCase(texts) => {
            text.is_some_and(|text| texts.iter().any(|valid| valid.eq_ignore_ascii_case(text)))
        }
        Validator::ListOf(texts) => list.iter().all(|element| texts.contains(&element.as_str())),
        Validator::NonEmptyListOf(texts) => {
            !list.is_empty() && list.iter().all(|element| texts.contains(&element.as_str()))
        }
        Validator::Voters => list.iter().all(|element| is_voter(element)),
        Validator::Servers => list.iter().all(|element| is_server(element)),
        Validator::ThrottledReplicas => {
            trimmed.is_empty() || trimmed == "*" || list.iter().all(|element| is_throttled_replica(element))
        }
        Validator::ShareOffsetReset => text.is_some_and(is_share_offset_reset),
    };
    if passes {
        return Ok(());
    }
    let allowed = Allowed(definition.validator);
    Err(ConfigError::NotAllowed { key: key(), value: trimmed.to_owned(), allowed })
}

/// Splits `host:port`; the host may be an IPv6 address in brackets.
#[must_use]
pub fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port.parse().ok()?))
}

fn is_server(text: &str) -> bool {
    split_host_port(text).is_some_and(|(host, _)| !host.is_empty())
}

fn is_voter(text: &str) -> bool {
    text.split_once('@').is_some_and(|(id, server)| id.parse::<u32>().is_ok() && is_server(server))
}

fn is_throttled_replica(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once(':').is_some_and(|(partition, broker)| digits(partition) && digits(broker))
}

fn is_share_offset_reset(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text == "earliest" || text == "latest" || text.strip_prefix("by_duration:").is_some_and(is_duration)
}

/// Whether `text` (in small letters) is an ISO 8601 duration of days, hours, minutes and seconds that is not negative.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('p') else { return false };
    let (days, time) = rest.split_once('t').map_or((rest, None), |(days, time)| (days, Some(time)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let seconds = |part: &str| match part.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(part),
    };
    if !days.is_empty() && !days.strip_suffix('d').is_some_and(digits) {
        return false;
    }
    let Some(mut time) = time else { return !days.is_empty() };
    if time.is_empty() {
        return false;
    }
    for unit in ['h', 'm', 's'] {
        if let Some((number, rest)) = time.split_once(unit) {
            if !(if unit == 's' { seconds(number) } else { digits(number) }) {
                return false;
            }
            time = rest;
        }
    }
    time.is_empty()
}

/// The name in `known` that differs least from `wanted`, if it is near enough to be a slip of the keyboard.
pub fn nearest(wanted: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let limit = 2.max(wanted.len() / 6);
    known
        .filter(|name| name.len().abs_diff(wanted.len()) <= limit)
        .map(|name| (edit_distance(wanted, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one text to the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut cost: Vec<Vec<usize>> = (0..=from.len()).map(|i| alloc::vec![i; to.len() + 1]).collect();
    cost[0] = (0..=to.len()).collect();
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let replaced = cost[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            cost[i][j] = replaced.min(cost[i - 1][j] + 1).min(cost[i][j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                cost[i][j] = cost[i][j].min(cost[i - 2][j - 2] + 1);
            }
        }
    }
    cost[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::config::definitions;

    fn written(definition: Option<&Definition>, raw: &str) -> Option<String> {
        definition
            .map(|definition| definition.parse(raw).map_or_else(|_| "refused".into(), |it| it.to_string()))
    }

    #[test]
    fn broker_values_are_read_as_kafka_reads_them() {
        let table = [
            ("auto.create.topics.enable", " TRUE ", Some("true")),
            ("auto.create.topics.enable", "yes", None),
            ("auto.create.topics.enable", "1", None),
            ("num.partitions", "\t12\n", Some("12")),
            ("num.partitions", "+12", Some("12")),
            ("num.partitions", "1_000", None),
            ("num.partitions", "1.0", None),
            ("num.partitions", "", None),
            ("num.partitions", "2147483648", None),
            ("offsets.topic.replication.factor", "32767", Some("32767")),
            ("offsets.topic.replication.factor", "32768", None),
            ("log.retention.ms", "9223372036854775807", Some("9223372036854775807")),
            ("log.retention.ms", "9223372036854775808", None),
            ("log.cleaner.min.cleanable.ratio", "1", Some("1.0")),
            ("log.cleaner.min.cleanable.ratio", "1e-1", Some("0.1")),
            ("log.cleaner.min.cleanable.ratio", "1.01", None),
            ("log.cleaner.min.cleanable.ratio", "NaN", None),
            ("log.cleaner.io.max.bytes.per.second", "inf", None),
            ("log.cleaner.io.max.bytes.per.second", "20000000", Some("2.0E7")),
            ("compression.gzip.level", "-1", Some("-1")),
            ("compression.gzip.level", "0", None),
            ("compression.gzip.level", "9", Some("9")),
            ("compression.type", "ZSTD", None),
            ("group.consumer.migration.policy", "Upgrade", Some("Upgrade")),
            ("process.roles", "", None),
            ("process.roles", "broker , controller", Some("broker,controller")),
            ("process.roles", "broker,broker", None),
            ("process.roles", "broker,", None),
            ("controller.quorum.voters", "1@a:9,2@[::1]:9", Some("1@a:9,2@[::1]:9")),
            ("controller.quorum.voters", "a:9", None),
            ("controller.quorum.voters", "-1@a:9", None),
            ("controller.quorum.bootstrap.servers", "a:9", Some("a:9")),
            ("controller.quorum.bootstrap.servers", "a", None),
            ("controller.quorum.bootstrap.servers", "a:70000", None),
            ("remote.log.metadata.manager.impl.prefix", " ", None),
            ("ssl.keystore.password", "x", Some("[hidden]")),
        ];
        for (key, raw, expected) in table {
            let expected = expected.or(Some("refused"));
            assert_eq!(written(definitions::broker(key), raw).as_deref(), expected, "{key}={raw:?}");
        }
    }

    #[test]
    fn topic_values_are_read_as_kafka_reads_them() {
        let replicas = "leader.replication.throttled.replicas";
        let table = [
            ("cleanup.policy", "", Some("")),
            ("cleanup.policy", "compact,delete", Some("compact,delete")),
            ("cleanup.policy", "Compact", None),
            ("retention.ms", "-1", Some("-1")),
            ("retention.ms", "-2", None),
            ("segment.bytes", "1048575", None),
            ("message.timestamp.type", "CreateTime", Some("CreateTime")),
            ("message.timestamp.type", "createtime", None),
            (replicas, "*", Some("*")),
            (replicas, "0:1,2:3", Some("0:1,2:3")),
            (replicas, "0-1", None),
            (replicas, "0:1,*", None),
        ];
        for (key, raw, expected) in table {
            let expected = expected.or(Some("refused"));
            assert_eq!(written(definitions::topic(key), raw).as_deref(), expected, "{key}={raw:?}");
        }
    }

    #[test]
    fn share_offset_reset_takes_two_words_and_durations() {
        let definition = definitions::group("share.auto.offset.reset").expect("the key exists");
        for good in ["latest", "earliest", "by_duration:PT1H", "by_duration:P2DT3H4M5.5S", "by_duration:P1D"]
        {
            assert!(definition.parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "none",
            "by_duration:",
            "by_duration:P",
            "by_duration:PT",
            "by_duration:-PT1H",
            "by_duration:PT1D",
        ] {
            assert!(definition.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refusals_say_the_key_the_value_and_what_is_allowed() {
        let refusal = |key: &str, raw: &str| {
            definitions::broker(key).expect("the key exists").parse(raw).expect_err("not valid").to_string()
        };
        assert_eq!(
            refusal("log.segment.bytes", "7"),
            "Invalid value 7 for configuration log.segment.bytes: Value must be at least 1048576"
        );
        assert_eq!(
            refusal("log.segment.bytes", "1g"),
            "Invalid value 1g for configuration log.segment.bytes: expected a number of type INT"
        );
        assert_eq!(
            refusal("log.message.timestamp.type", "x"),
            "Invalid value x for configuration log.message.timestamp.type: \
             Value must be one of: CreateTime, LogAppendTime"
        );
    }

    #[test]
    fn secrets_do_not_leak_through_debug_output() {
        let value = definitions::broker("ssl.key.password").expect("the key exists").parse("swordfish");
        assert_eq!(alloc::format!("{value:?}"), "Ok(Password([hidden]))");
        let Ok(Value::Password(secret)) = value else { panic!("a password") };
        assert_eq!(secret.reveal(), "swordfish");
    }

    #[test]
    fn nearest_key_is_a_slip_of_the_keyboard_away() {
        let known = || definitions::BROKER.iter().map(|definition| definition.name);
        let table = [
            ("log.retention.sm", Some("log.retention.ms")),
            ("log.retentions.ms", Some("log.retention.ms")),
            ("advertized.listeners", Some("advertised.listeners")),
            ("nodeid", Some("node.id")),
            ("completely.different", None),
        ];
        for (wanted, expected) in table {
            assert_eq!(nearest(wanted, known()), expected, "{wanted}");
        }
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        for (number, expected) in [
            (0.0, "0.0"),
            (0.05, "0.05"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (9_999_999.0, "9999999.0"),
            (10_000_000.0, "1.0E7"),
            (2_147_483_647.0, "2.147483647E9"),
            (f64::MAX, "1.7976931348623157E308"),
        ] {
            assert_eq!(Value::Double(number).to_string(), expected);
        }
    }
}
