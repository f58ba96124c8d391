//! Configuration: which keys exist, what their values may be, and what they mean together.
//!
//! Reading order: [`definitions`] (every key of Apache Kafka 4.3), [`value`] (one value against one definition), [`topic`]
//! and [`broker`] (the typed structs that the rest of the core reads), [`group`] and [`client_metrics`] (judged and stored), [`describe`] and [`alter`] (the admin APIs).
//! Nothing here knows files, environment variables or command lines; whoever reads those hands over keys and values.

pub mod alter;
pub mod broker;
pub mod client_metrics;
pub mod definitions;
pub mod describe;
pub mod group;
pub mod topic;
pub mod value;

pub use broker::{BrokerConfig, BrokerConfigLayers, QuorumConfig};
pub use topic::TopicConfig;
pub use value::ConfigError;

/// Text as it stands in records and requests.
pub use sordini_protocol::wire::Str;

/// Values that were set for one resource, by key.
pub type Overrides = alloc::collections::BTreeMap<Str, Str>;
