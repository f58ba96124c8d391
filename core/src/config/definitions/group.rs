//! Every key of a group in Apache Kafka 4.3, in the order of their names.

use crate::config::definitions::ConfigType::{Boolean, Int, String};
use crate::config::definitions::DefaultValue::Is;
use crate::config::definitions::DynamicMode::ClusterWide;
use crate::config::definitions::Importance::Medium;
use crate::config::definitions::Validator::{Any, AtLeast, OneOf, ShareOffsetReset};
use crate::config::definitions::{Definition, define};

/// The keys of the resource type GROUP, sorted by name. All of them are dynamic.
pub static GROUP: [Definition; 17] = [
    define("consumer.assignment.interval.ms", Int, Is("1000"), AtLeast(0), ClusterWide, Medium),
    define("consumer.heartbeat.interval.ms", Int, Is("5000"), AtLeast(1), ClusterWide, Medium),
    define("consumer.session.timeout.ms", Int, Is("45000"), AtLeast(1), ClusterWide, Medium),
    define("share.assignment.interval.ms", Int, Is("1000"), AtLeast(0), ClusterWide, Medium),
    define("share.auto.offset.reset", String, Is("latest"), ShareOffsetReset, ClusterWide, Medium),
    define("share.delivery.count.limit", Int, Is("5"), AtLeast(2), ClusterWide, Medium),
    define("share.heartbeat.interval.ms", Int, Is("5000"), AtLeast(1), ClusterWide, Medium),
    define(
        "share.isolation.level",
        String,
        Is("read_uncommitted"),
        OneOf(&["read_committed", "read_uncommitted"]),
        ClusterWide,
        Medium,
    ),
    define("share.partition.max.record.locks", Int, Is("2000"), AtLeast(100), ClusterWide, Medium),
    define("share.record.lock.duration.ms", Int, Is("30000"), AtLeast(1000), ClusterWide, Medium),
    define("share.renew.acknowledge.enable", Boolean, Is("true"), Any, ClusterWide, Medium),
    define("share.session.timeout.ms", Int, Is("45000"), AtLeast(1), ClusterWide, Medium),
    define("streams.assignment.interval.ms", Int, Is("1000"), AtLeast(0), ClusterWide, Medium),
    define("streams.heartbeat.interval.ms", Int, Is("5000"), AtLeast(1), ClusterWide, Medium),
    define("streams.initial.rebalance.delay.ms", Int, Is("3000"), AtLeast(0), ClusterWide, Medium),
    define("streams.num.standby.replicas", Int, Is("0"), AtLeast(0), ClusterWide, Medium),
    define("streams.session.timeout.ms", Int, Is("45000"), AtLeast(1), ClusterWide, Medium),
];
