//! Every key of a topic in Apache Kafka 4.3, in the order of their names.

use crate::config::definitions::ConfigType::{Boolean, Double, Int, List, Long, String};
use crate::config::definitions::DefaultValue::{Is, Null};
use crate::config::definitions::DynamicMode::ClusterWide;
use crate::config::definitions::Importance::{Low, Medium};
use crate::config::definitions::Validator::{
    Any, AtLeast, Between, Fraction, ListOf, MinusOneOrBetween, OneOf, ThrottledReplicas,
};
use crate::config::definitions::{Definition, define};

/// The keys of the resource type TOPIC, sorted by name. All of them are dynamic.
pub static TOPIC: [Definition; 34] = [
    define("cleanup.policy", List, Is("delete"), ListOf(&["compact", "delete"]), ClusterWide, Medium)
        .effective(
            "What becomes of old segments: delete removes them by age and size, \
             compact keeps the last record of every key.",
        ),
    define("compression.gzip.level", Int, Is("-1"), MinusOneOrBetween(1, 9), ClusterWide, Low).effective(
        "Level used when the broker itself compresses with gzip; -1 is the \
             codec's own default.",
    ),
    define("compression.lz4.level", Int, Is("9"), Between(1, 17), ClusterWide, Low)
        .effective("Level used when the broker itself compresses with lz4."),
    define(
        "compression.type",
        String,
        Is("producer"),
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        ClusterWide,
        Medium,
    )
    .effective("Codec in which batches are stored; producer keeps the codec the producer chose."),
    define("compression.zstd.level", Int, Is("3"), Between(-131_072, 22), ClusterWide, Low)
        .effective("Level used when the broker itself compresses with zstd."),
    define("delete.retention.ms", Long, Is("86400000"), AtLeast(0), ClusterWide, Medium),
    define("file.delete.delay.ms", Long, Is("60000"), AtLeast(0), ClusterWide, Medium)
        .effective("Milliseconds between renaming a segment to .deleted and removing its files."),
    define("flush.messages", Long, Is("9223372036854775807"), AtLeast(1), ClusterWide, Medium)
        .effective("Number of records after which the log is synced to disk."),
    define("flush.ms", Long, Is("9223372036854775807"), AtLeast(0), ClusterWide, Medium)
        .effective("Milliseconds a record may stay unsynced before the log is synced to disk."),
    define("follower.replication.throttled.replicas", List, Is(""), ThrottledReplicas, ClusterWide, Medium)
        .effective(
            "The replicas that their brokers' follower.replication.throttled.rate holds for, as partition:broker; \
             * for all.",
        ),
    define("index.interval.bytes", Int, Is("4096"), AtLeast(0), ClusterWide, Medium)
        .effective("Bytes of records between two entries of the offset index."),
    define("internal.segment.bytes", Int, Null, Any, ClusterWide, Medium)
        .effective("Beats segment.bytes and may be smaller; made for tests.")
        .internal(),
    define("leader.replication.throttled.replicas", List, Is(""), ThrottledReplicas, ClusterWide, Medium)
        .effective(
            "The replicas that their brokers' leader.replication.throttled.rate holds for while they lead, as \
             partition:broker; * for all.",
        ),
    define("local.retention.bytes", Long, Is("-2"), AtLeast(-2), ClusterWide, Medium),
    define("local.retention.ms", Long, Is("-2"), AtLeast(-2), ClusterWide, Medium),
    define("max.compaction.lag.ms", Long, Is("9223372036854775807"), AtLeast(1), ClusterWide, Medium),
    define("max.message.bytes", Int, Is("1048588"), AtLeast(0), ClusterWide, Medium)
        .effective("Largest record batch in bytes, after compression, that a producer may append."),
    define("message.timestamp.after.max.ms", Long, Is("3600000"), AtLeast(0), ClusterWide, Medium).effective(
        "How far in milliseconds a record's own timestamp may lie after the \
             broker's clock.",
    ),
    define(
        "message.timestamp.before.max.ms",
        Long,
        Is("9223372036854775807"),
        AtLeast(0),
        ClusterWide,
        Medium,
    )
    .effective(
        "How far in milliseconds a record's own timestamp may lie before the \
             broker's clock.",
    ),
    define(
        "message.timestamp.type",
        String,
        Is("CreateTime"),
        OneOf(&["CreateTime", "LogAppendTime"]),
        ClusterWide,
        Medium,
    )
    .effective(
        "Whether a record carries the time its producer gave it or the time \
             the broker appended it.",
    ),
    define("min.cleanable.dirty.ratio", Double, Is("0.5"), Fraction(0.0, 1.0), ClusterWide, Medium),
    define("min.compaction.lag.ms", Long, Is("0"), AtLeast(0), ClusterWide, Medium),
    define("min.insync.replicas", Int, Is("1"), AtLeast(1), ClusterWide, Medium)
        .effective("Replicas that must be in sync before a produce with acks=all is accepted."),
    define("preallocate", Boolean, Is("false"), Any, ClusterWide, Medium),
    define("remote.log.copy.disable", Boolean, Is("false"), Any, ClusterWide, Medium),
    define("remote.log.delete.on.disable", Boolean, Is("false"), Any, ClusterWide, Medium),
    define("remote.storage.enable", Boolean, Is("false"), Any, ClusterWide, Medium),
    define("retention.bytes", Long, Is("-1"), Any, ClusterWide, Medium).effective(
        "Bytes a partition may hold before its oldest segments are deleted; -1 \
             sets no limit.",
    ),
    define("retention.ms", Long, Is("604800000"), AtLeast(-1), ClusterWide, Medium).effective(
        "Milliseconds a closed segment is kept after its newest record; -1 \
             keeps it for ever.",
    ),
    define("segment.bytes", Int, Is("1073741824"), AtLeast(1_048_576), ClusterWide, Medium)
        .effective("Size in bytes at which the active segment file is closed and a new one begun."),
    define("segment.index.bytes", Int, Is("10485760"), AtLeast(4), ClusterWide, Medium).effective(
        "Largest size in bytes of a segment's offset index; a full index \
             closes the segment.",
    ),
    define("segment.jitter.ms", Long, Is("0"), AtLeast(0), ClusterWide, Medium).effective(
        "Upper bound of a random number of milliseconds taken off segment.ms, \
             so that partitions do not roll together.",
    ),
    define("segment.ms", Long, Is("604800000"), AtLeast(1), ClusterWide, Medium).effective(
        "Age in milliseconds, counted from its first record, at which a \
             segment is closed even if it is not full.",
    ),
    define("unclean.leader.election.enable", Boolean, Is("false"), Any, ClusterWide, Medium),
];
