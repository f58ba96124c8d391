//! Every key of a broker or controller in Apache Kafka 4.3, in the order of their names.

use crate::config::definitions::ConfigType::{
    Boolean, Class, Double, Int, List, Long, Password, Short, String,
};
use crate::config::definitions::DefaultValue::{Is, Null, Required};
use crate::config::definitions::DynamicMode::{ClusterWide, PerBroker, ReadOnly};
use crate::config::definitions::Importance::{High, Low, Medium};
use crate::config::definitions::Validator::{
    Any, AtLeast, Between, Fraction, ListOf, MinusOneOrBetween, NonEmpty, NonEmptyListOf, OneOf,
    OneOfIgnoreCase, Servers, Voters,
};
use crate::config::definitions::{Definition, define};

/// The keys of `server.properties` and of the resource type BROKER, sorted by name.
pub static BROKER: [Definition; 360] = [
    define("add.partitions.to.txn.retry.backoff.max.ms", Int, Is("100"), AtLeast(0), ReadOnly, High),
    define("add.partitions.to.txn.retry.backoff.ms", Int, Is("20"), AtLeast(1), ReadOnly, High),
    define("advertised.listeners", List, Null, Any, ReadOnly, High).effective(
        "Addresses that clients are told to connect to; the listeners \
             themselves when unset.",
    ),
    define("alter.config.policy.class.name", Class, Null, Any, ReadOnly, Low),
    define("alter.log.dirs.replication.quota.window.num", Int, Is("11"), AtLeast(1), ReadOnly, Low)
        .effective("Windows over which the rate of moves between log directories is taken."),
    define("alter.log.dirs.replication.quota.window.size.seconds", Int, Is("1"), AtLeast(1), ReadOnly, Low)
        .effective("How long one of these windows is."),
    define("authorizer.class.name", String, Is(""), Any, ReadOnly, Low)
        .effective("Who keeps access control lists, Kafka's StandardAuthorizer or nobody; they are not enforced yet."),
    define("auto.create.topics.enable", Boolean, Is("true"), Any, ReadOnly, High)
        .effective("Whether a metadata request may create a topic that does not exist."),
    define("auto.leader.rebalance.enable", Boolean, Is("true"), Any, ReadOnly, High).effective(
        "Whether the controller gives partitions back to the first of their replicas.",
    ),
    define("background.threads", Int, Is("10"), AtLeast(1), ClusterWide, High),
    define("broker.heartbeat.interval.ms", Int, Is("2000"), Any, ReadOnly, Medium)
        .effective("Milliseconds between two heartbeats of a broker."),
    define("broker.id", Int, Is("-1"), Any, ReadOnly, High)
        .effective("Old name of node.id; when set, it must be the same number."),
    define("broker.rack", String, Null, Any, ReadOnly, Medium)
        .effective("Rack, or any other failure domain, in which this broker stands."),
    define("broker.session.timeout.ms", Int, Is("9000"), Any, ReadOnly, Medium).effective(
        "Milliseconds without a heartbeat after which the controller takes a broker \
             for gone.",
    ),
    define("client.quota.callback.class", Class, Null, Any, ReadOnly, Low),
    define("compression.gzip.level", Int, Is("-1"), MinusOneOrBetween(1, 9), ClusterWide, Medium)
        .effective("Default of the topic key compression.gzip.level."),
    define("compression.lz4.level", Int, Is("9"), Between(1, 17), ClusterWide, Medium)
        .effective("Default of the topic key compression.lz4.level."),
    define(
        "compression.type",
        String,
        Is("producer"),
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        ClusterWide,
        High,
    )
    .effective("Default of the topic key compression.type."),
    define("compression.zstd.level", Int, Is("3"), Between(-131_072, 22), ClusterWide, Medium)
        .effective("Default of the topic key compression.zstd.level."),
    define("config.providers", List, Is(""), Any, ClusterWide, Low),
    define("connection.failed.authentication.delay.ms", Int, Is("100"), AtLeast(0), ReadOnly, Low),
    define("connections.max.idle.ms", Long, Is("600000"), Any, ReadOnly, Medium).effective(
        "Milliseconds after which a connection without traffic is closed; a \
             negative number keeps it open.",
    ),
    define("connections.max.reauth.ms", Long, Is("0"), Any, ReadOnly, Medium),
    define("controlled.shutdown.enable", Boolean, Is("true"), Any, ReadOnly, Medium).effective(
        "Whether a stopping broker first hands its partitions over and takes \
             leave of the controller.",
    ),
    define("controller.listener.names", List, Required, Any, ReadOnly, High)
        .effective("Names of the listeners that controllers use, the preferred one first."),
    define("controller.performance.always.log.threshold.ms", Long, Is("2000"), AtLeast(0), ReadOnly, Medium)
        .internal(),
    define("controller.performance.sample.period.ms", Long, Is("60000"), AtLeast(100), ReadOnly, Medium)
        .internal(),
    define("controller.quorum.append.linger.ms", Int, Is("25"), AtLeast(0), ReadOnly, Medium),
    define("controller.quorum.auto.join.enable", Boolean, Is("false"), Any, ReadOnly, Low)
        .effective("Whether a controller that does not vote asks to be made a voter."),
    define("controller.quorum.bootstrap.servers", List, Is(""), Servers, ReadOnly, High)
        .effective("Addresses, as host:port, at which the metadata quorum can be found."),
    define("controller.quorum.election.backoff.max.ms", Int, Is("1000"), AtLeast(0), ReadOnly, High)
        .effective("How long a controller that lost an election waits at most before it asks for votes again, in ms."),
    define("controller.quorum.election.timeout.ms", Int, Is("1000"), AtLeast(0), ReadOnly, High)
        .effective("How long an election among controllers may take, in ms; each draws up to twice as long for itself."),
    define("controller.quorum.fetch.max.bytes", Int, Is("1048576"), AtLeast(1), ReadOnly, Low)
        .effective("How many bytes of the metadata log a controller is sent at a time."),
    define("controller.quorum.fetch.snapshot.max.bytes", Int, Is("1048576"), AtLeast(1), ReadOnly, Low)
        .effective("How many bytes of a snapshot of the metadata log a controller is sent at a time."),
    define("controller.quorum.fetch.timeout.ms", Int, Is("2000"), AtLeast(0), ReadOnly, High)
        .effective("How long a controller waits for word of the leader before it asks for votes, in ms; \
             a leader that hears of no majority for half as long again steps down."),
    define("controller.quorum.request.timeout.ms", Int, Is("2000"), AtLeast(0), ReadOnly, Medium)
        .effective("How long a controller waits for the answer of another, in ms."),
    define("controller.quorum.retry.backoff.ms", Int, Is("20"), AtLeast(0), ReadOnly, Low)
        .effective("How long a controller waits before it asks another again that it could not reach, in ms."),
    define("controller.quorum.voters", List, Is(""), Voters, ReadOnly, High)
        .effective("The static set of metadata quorum voters, as id@host:port."),
    define("controller.quota.window.num", Int, Is("11"), AtLeast(1), ReadOnly, Low),
    define("controller.quota.window.size.seconds", Int, Is("1"), AtLeast(1), ReadOnly, Low),
    define("controller.socket.timeout.ms", Int, Is("30000"), Any, ReadOnly, Medium),
    define("cordoned.log.dirs", List, Is(""), Any, PerBroker, Medium),
    define("create.topic.policy.class.name", Class, Null, Any, ReadOnly, Low),
    define("default.replication.factor", Int, Is("1"), Any, ReadOnly, Medium)
        .effective("Replicas of a topic whose creator leaves the number to the broker."),
    define("delegation.token.expiry.check.interval.ms", Long, Is("3600000"), AtLeast(1), ReadOnly, Low),
    define("delegation.token.expiry.time.ms", Long, Is("86400000"), AtLeast(1), ReadOnly, Medium),
    define("delegation.token.max.lifetime.ms", Long, Is("604800000"), AtLeast(1), ReadOnly, Medium),
    define("delegation.token.secret.key", Password, Null, Any, ReadOnly, Medium),
    define("delete.records.purgatory.purge.interval.requests", Int, Is("1"), Any, ReadOnly, Medium),
    define("delete.topic.enable", Boolean, Is("true"), Any, ReadOnly, High)
        .effective("Whether topics may be deleted through the admin protocol."),
    define("early.start.listeners", List, Null, Any, ReadOnly, High),
    define("fetch.max.bytes", Int, Is("57671680"), AtLeast(1024), ReadOnly, Medium)
        .effective("Largest fetch response in bytes, whatever the client asks for."),
    define("fetch.purgatory.purge.interval.requests", Int, Is("1000"), Any, ReadOnly, Medium),
    define("follower.fetch.last.tiered.offset.enable", Boolean, Is("false"), Any, ClusterWide, Medium),
    define("group.consumer.assignment.interval.ms", Int, Is("1000"), AtLeast(0), ClusterWide, Medium),
    define("group.consumer.assignors", List, Is("uniform,range"), Any, ReadOnly, Medium),
    define("group.consumer.heartbeat.interval.ms", Int, Is("5000"), AtLeast(1), ReadOnly, Medium),
    define("group.consumer.max.assignment.interval.ms", Int, Is("15000"), AtLeast(0), ReadOnly, Medium),
    define("group.consumer.max.heartbeat.interval.ms", Int, Is("15000"), AtLeast(1), ReadOnly, Medium),
    define("group.consumer.max.session.timeout.ms", Int, Is("60000"), AtLeast(1), ReadOnly, Medium),
    define("group.consumer.max.size", Int, Is("2147483647"), AtLeast(1), ReadOnly, Medium),
    define(
        "group.consumer.migration.policy",
        String,
        Is("bidirectional"),
        OneOfIgnoreCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]),
        ReadOnly,
        Medium,
    ),
    define("group.consumer.min.assignment.interval.ms", Int, Is("0"), AtLeast(0), ReadOnly, Medium),
    define("group.consumer.min.heartbeat.interval.ms", Int, Is("5000"), AtLeast(1), ReadOnly, Medium),
    define("group.consumer.min.session.timeout.ms", Int, Is("45000"), AtLeast(1), ReadOnly, Medium),
    define("group.consumer.regex.refresh.interval.ms", Int, Is("600000"), AtLeast(10_000), ReadOnly, Medium)
        .internal(),
    define("group.consumer.session.timeout.ms", Int, Is("45000"), AtLeast(1), ReadOnly, Medium),
    define("group.coordinator.append.linger.ms", Int, Is("-1"), AtLeast(-1), ReadOnly, Medium),
    define("group.coordinator.background.threads", Int, Is("2"), AtLeast(1), ReadOnly, High),
    define(
        "group.coordinator.cached.buffer.max.bytes",
        Int,
        Is("1048588"),
        AtLeast(524_288),
        ClusterWide,
        Medium,
    ),
    define(
        "group.coordinator.rebalance.protocols",
        List,
        Is("classic,consumer,streams"),
        NonEmptyListOf(&["consumer", "classic", "share", "streams"]),
        ReadOnly,
        Medium,
    ),
    define("group.coordinator.threads", Int, Is("4"), AtLeast(1), ReadOnly, High),
    define("group.initial.rebalance.delay.ms", Int, Is("3000"), Any, ReadOnly, Medium)
        .effective("How long the first members of an empty group wait for others before they are assigned partitions."),
    define("group.max.session.timeout.ms", Int, Is("1800000"), Any, ReadOnly, Medium)
        .effective("The longest session that a member of a group may ask for."),
    define("group.max.size", Int, Is("2147483647"), AtLeast(1), ReadOnly, Medium)
        .effective("How many members a group may have."),
    define("group.min.session.timeout.ms", Int, Is("6000"), Any, ReadOnly, Medium)
        .effective("The shortest session that a member of a group may ask for."),
    define("group.share.assignment.interval.ms", Int, Is("1000"), AtLeast(0), ClusterWide, Medium),
    define("group.share.assignors", List, Is("simple"), Any, ReadOnly, Medium),
    define("group.share.delivery.count.limit", Int, Is("5"), Between(2, 10), ReadOnly, Medium),
    define("group.share.heartbeat.interval.ms", Int, Is("5000"), AtLeast(1), ReadOnly, Medium),
    define("group.share.initialize.retry.interval.ms", Int, Is("30000"), AtLeast(1), ReadOnly, Low)
        .internal(),
    define("group.share.max.assignment.interval.ms", Int, Is("15000"), AtLeast(0), ReadOnly, Medium),
    define("group.share.max.delivery.count.limit", Int, Is("10"), Between(5, 25), ReadOnly, Medium),
    define("group.share.max.heartbeat.interval.ms", Int, Is("15000"), AtLeast(1), ReadOnly, Medium),
    define(
        "group.share.max.partition.max.record.locks",
        Int,
        Is("4000"),
        Between(2000, 10_000),
        ReadOnly,
        Medium,
    ),
    define(
        "group.share.max.record.lock.duration.ms",
        Int,
        Is("60000"),
        Between(30_000, 3_600_000),
        ReadOnly,
        Medium,
    ),
    define("group.share.max.session.timeout.ms", Int, Is("60000"), AtLeast(1), ReadOnly, Medium),
    define("group.share.max.share.sessions", Int, Is("2000"), AtLeast(1), ReadOnly, Medium),
    define("group.share.max.size", Int, Is("200"), Between(1, 1000), ReadOnly, Medium),
    define("group.share.min.assignment.interval.ms", Int, Is("0"), AtLeast(0), ReadOnly, Medium),
    define("group.share.min.delivery.count.limit", Int, Is("2"), Between(2, 5), ReadOnly, Medium),
    define("group.share.min.heartbeat.interval.ms", Int, Is("5000"), AtLeast(1), ReadOnly, Medium),
    define(
        "group.share.min.partition.max.record.locks",
        Int,
        Is("100"),
        Between(100, 2000),
        ReadOnly,
        Medium,
    ),
    define(
        "group.share.min.record.lock.duration.ms",
        Int,
        Is("15000"),
        Between(1000, 30_000),
        ReadOnly,
        Medium,
    ),
    define("group.share.min.session.timeout.ms", Int, Is("45000"), AtLeast(1), ReadOnly, Medium),
    define("group.share.partition.max.record.locks", Int, Is("2000"), Between(100, 10_000), ReadOnly, Medium),
    define(
        "group.share.persister.class.name",
        String,
        Is("org.apache.kafka.server.share.persister.DefaultStatePersister"),
        Any,
        ReadOnly,
        Medium,
    )
    .internal(),
    define(
        "group.share.record.lock.duration.ms",
        Int,
        Is("30000"),
        Between(1000, 3_600_000),
        ReadOnly,
        Medium,
    ),
    define("group.share.session.timeout.ms", Int, Is("45000"), AtLeast(1), ReadOnly, Medium),
    define("group.streams.assignment.interval.ms", Int, Is("1000"), AtLeast(0), ClusterWide, Medium),
    define("group.streams.heartbeat.interval.ms", Int, Is("5000"), AtLeast(1), ReadOnly, Medium),
    define("group.streams.initial.rebalance.delay.ms", Int, Is("3000"), AtLeast(0), ReadOnly, Medium),
    define("group.streams.max.assignment.interval.ms", Int, Is("15000"), AtLeast(0), ReadOnly, Medium),
    define("group.streams.max.heartbeat.interval.ms", Int, Is("15000"), AtLeast(1), ReadOnly, Medium),
    define("group.streams.max.session.timeout.ms", Int, Is("60000"), AtLeast(1), ReadOnly, Medium),
    define("group.streams.max.size", Int, Is("2147483647"), AtLeast(1), ReadOnly, Medium),
    define("group.streams.max.standby.replicas", Int, Is("2"), AtLeast(0), ReadOnly, Medium),
    define("group.streams.min.assignment.interval.ms", Int, Is("0"), AtLeast(0), ReadOnly, Medium),
    define("group.streams.min.heartbeat.interval.ms", Int, Is("5000"), AtLeast(1), ReadOnly, Medium),
    define("group.streams.min.session.timeout.ms", Int, Is("45000"), AtLeast(1), ReadOnly, Medium),
    define("group.streams.num.standby.replicas", Int, Is("0"), AtLeast(0), ReadOnly, Medium),
    define("group.streams.session.timeout.ms", Int, Is("45000"), AtLeast(1), ReadOnly, Medium),
    define("initial.broker.registration.timeout.ms", Int, Is("60000"), Any, ReadOnly, Medium)
        .effective("Milliseconds in which a starting broker must have been registered."),
    define("inter.broker.listener.name", String, Null, Any, ReadOnly, Medium)
        .effective("Listener over which brokers speak to each other."),
    define("internal.metadata.delete.delay.millis", Long, Is("60000"), Any, ReadOnly, Low)
        .internal()
        .effective("How long files of the metadata log that are not needed any more stay, in ms."),
    define("internal.metadata.log.segment.bytes", Int, Null, Any, ReadOnly, Low)
        .internal()
        .effective("metadata.log.segment.bytes below its lowest value, for tests."),
    define("internal.metadata.max.batch.size.in.bytes", Int, Is("8388608"), Any, ReadOnly, Low).internal(),
    define("kafka.metrics.polling.interval.secs", Int, Is("10"), AtLeast(1), ReadOnly, Low),
    define("kafka.metrics.reporters", List, Is(""), Any, ReadOnly, Low),
    define("leader.imbalance.check.interval.seconds", Long, Is("300"), AtLeast(1), ReadOnly, High).effective(
        "Seconds between two looks of the controller for partitions that the first of \
             their replicas does not lead.",
    ),
    define(
        "listener.security.protocol.map",
        String,
        Is("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
        Any,
        PerBroker,
        Low,
    )
    .effective("Security protocol of every listener name."),
    define("listeners", List, Is("PLAINTEXT://:9092"), Any, PerBroker, High).effective(
        "Addresses to listen on, as NAME://host:port; an empty host means \
             every interface.",
    ),
    define("log.cleaner.backoff.ms", Long, Is("15000"), AtLeast(0), ClusterWide, Medium),
    define("log.cleaner.dedupe.buffer.size", Long, Is("134217728"), Any, ClusterWide, Medium),
    define("log.cleaner.delete.retention.ms", Long, Is("86400000"), AtLeast(0), ClusterWide, Medium),
    define("log.cleaner.enable", Boolean, Is("true"), Any, ReadOnly, Medium),
    define("log.cleaner.io.buffer.load.factor", Double, Is("0.9"), Any, ClusterWide, Medium),
    define("log.cleaner.io.buffer.size", Int, Is("524288"), AtLeast(0), ClusterWide, Medium),
    define(
        "log.cleaner.io.max.bytes.per.second",
        Double,
        Is("1.7976931348623157E308"),
        Any,
        ClusterWide,
        Medium,
    ),
    define(
        "log.cleaner.max.compaction.lag.ms",
        Long,
        Is("9223372036854775807"),
        AtLeast(1),
        ClusterWide,
        Medium,
    ),
    define("log.cleaner.min.cleanable.ratio", Double, Is("0.5"), Fraction(0.0, 1.0), ClusterWide, Medium),
    define("log.cleaner.min.compaction.lag.ms", Long, Is("0"), AtLeast(0), ClusterWide, Medium),
    define("log.cleaner.threads", Int, Is("1"), AtLeast(0), ClusterWide, Medium),
    define("log.cleanup.policy", List, Is("delete"), ListOf(&["compact", "delete"]), ClusterWide, Medium)
        .effective("Default of the topic key cleanup.policy."),
    define("log.dir", List, Is("/tmp/kafka-logs"), Any, ReadOnly, High)
        .effective("Directory of the logs, used when log.dirs is unset."),
    define("log.dir.failure.timeout.ms", Long, Is("30000"), AtLeast(1), ReadOnly, Low),
    define("log.dirs", List, Null, Any, ReadOnly, High).effective("Directories of the logs."),
    define("log.flush.interval.messages", Long, Is("9223372036854775807"), AtLeast(1), ClusterWide, High)
        .effective("Default of the topic key flush.messages."),
    define("log.flush.interval.ms", Long, Null, Any, ClusterWide, High)
        .effective("Default of the topic key flush.ms; log.flush.scheduler.interval.ms when unset."),
    define("log.flush.offset.checkpoint.interval.ms", Int, Is("60000"), AtLeast(0), ReadOnly, High)
        .effective(
            "Milliseconds between two writes of the file that says up to where the \
             logs are synced.",
        ),
    define("log.flush.scheduler.interval.ms", Long, Is("9223372036854775807"), Any, ReadOnly, High)
        .effective("Milliseconds between two looks for logs that are due for a sync."),
    define("log.flush.start.offset.checkpoint.interval.ms", Int, Is("60000"), AtLeast(0), ReadOnly, High)
        .effective("Milliseconds between two writes of the file that says where the logs begin."),
    define("log.index.interval.bytes", Int, Is("4096"), AtLeast(0), ClusterWide, Medium)
        .effective("Default of the topic key index.interval.bytes."),
    define("log.index.size.max.bytes", Int, Is("10485760"), AtLeast(4), ClusterWide, Medium)
        .effective("Default of the topic key segment.index.bytes."),
    define("log.initial.task.delay.ms", Long, Is("30000"), AtLeast(0), ReadOnly, Low)
        .effective("Milliseconds after start before the periodic work on logs begins.")
        .internal(),
    define("log.local.retention.bytes", Long, Is("-2"), AtLeast(-2), ClusterWide, Medium),
    define("log.local.retention.ms", Long, Is("-2"), AtLeast(-2), ClusterWide, Medium),
    define("log.message.timestamp.after.max.ms", Long, Is("3600000"), AtLeast(0), ClusterWide, Medium)
        .effective("Default of the topic key message.timestamp.after.max.ms."),
    define(
        "log.message.timestamp.before.max.ms",
        Long,
        Is("9223372036854775807"),
        AtLeast(0),
        ClusterWide,
        Medium,
    )
    .effective("Default of the topic key message.timestamp.before.max.ms."),
    define(
        "log.message.timestamp.type",
        String,
        Is("CreateTime"),
        OneOf(&["CreateTime", "LogAppendTime"]),
        ClusterWide,
        Medium,
    )
    .effective("Default of the topic key message.timestamp.type."),
    define("log.preallocate", Boolean, Is("false"), Any, ClusterWide, Medium),
    define("log.retention.bytes", Long, Is("-1"), Any, ClusterWide, High)
        .effective("Default of the topic key retention.bytes."),
    define("log.retention.check.interval.ms", Long, Is("300000"), AtLeast(1), ReadOnly, Medium)
        .effective("Milliseconds between two looks for segments that retention has condemned."),
    define("log.retention.hours", Int, Is("168"), Any, ReadOnly, High)
        .effective("Default of the topic key retention.ms in hours, the weakest of the three forms."),
    define("log.retention.minutes", Int, Null, Any, ReadOnly, High)
        .effective("Default of the topic key retention.ms in minutes; beats the form in hours."),
    define("log.retention.ms", Long, Null, Any, ClusterWide, High)
        .effective("Default of the topic key retention.ms; beats the forms in minutes and in hours."),
    define("log.roll.hours", Int, Is("168"), AtLeast(1), ReadOnly, High)
        .effective("Default of the topic key segment.ms in hours."),
    define("log.roll.jitter.hours", Int, Is("0"), AtLeast(0), ReadOnly, High)
        .effective("Default of the topic key segment.jitter.ms in hours."),
    define("log.roll.jitter.ms", Long, Null, Any, ClusterWide, High)
        .effective("Default of the topic key segment.jitter.ms; beats the form in hours."),
    define("log.roll.ms", Long, Null, Any, ClusterWide, High)
        .effective("Default of the topic key segment.ms; beats the form in hours."),
    define("log.segment.bytes", Int, Is("1073741824"), AtLeast(1_048_576), ClusterWide, High)
        .effective("Default of the topic key segment.bytes."),
    define("log.segment.delete.delay.ms", Long, Is("60000"), AtLeast(0), ClusterWide, High)
        .effective("Default of the topic key file.delete.delay.ms."),
    define("max.connection.creation.rate", Int, Is("2147483647"), AtLeast(0), ClusterWide, Medium),
    define("max.connections", Int, Is("2147483647"), AtLeast(0), ClusterWide, Medium)
        .effective("Connections this broker holds at once, over all listeners."),
    define("max.connections.per.ip", Int, Is("2147483647"), AtLeast(0), ClusterWide, Medium)
        .effective("Connections this broker holds at once from one address."),
    define("max.connections.per.ip.overrides", String, Is(""), Any, ClusterWide, Medium)
        .effective("Exceptions to max.connections.per.ip, as host:count separated by commas."),
    define("max.incremental.fetch.session.cache.slots", Int, Is("1000"), AtLeast(0), ReadOnly, Medium)
        .effective("Incremental fetch sessions this broker keeps at once."),
    define("max.request.partition.size.limit", Int, Is("2000"), AtLeast(1), ReadOnly, Medium)
        .effective("Partitions that one DescribeTopicPartitions response may hold."),
    define("message.max.bytes", Int, Is("1048588"), AtLeast(0), ClusterWide, High)
        .effective("Default of the topic key max.message.bytes."),
    define("metadata.log.dir", String, Null, Any, ReadOnly, High)
        .effective("Directory of the metadata log; the first of log.dirs when unset."),
    define(
        "metadata.log.max.record.bytes.between.snapshots",
        Long,
        Is("20971520"),
        AtLeast(1),
        ReadOnly,
        High,
    )
    .effective("After how many bytes of committed metadata a snapshot is taken."),
    define("metadata.log.max.snapshot.interval.ms", Long, Is("3600000"), AtLeast(0), ReadOnly, High)
        .effective("After how long a snapshot is taken when any metadata was committed, in ms; 0 stands for never."),
    define("metadata.log.segment.bytes", Int, Is("1073741824"), AtLeast(8_388_608), ReadOnly, High)
        .effective("Size at which the metadata log begins another segment."),
    define("metadata.log.segment.ms", Long, Is("604800000"), Any, ReadOnly, High)
        .effective("Age at which the metadata log begins another segment, in ms."),
    define("metadata.max.idle.interval.ms", Int, Is("500"), AtLeast(0), ReadOnly, Low).effective(
        "Milliseconds without a record after which the controller writes one that says \
             nothing, if there are other nodes; 0 never does.",
    ),
    define("metadata.max.retention.bytes", Long, Is("104857600"), Any, ReadOnly, High).effective(
        "How many bytes the metadata log and its snapshots may take before older ones go; -1 for any number.",
    ),
    define("metadata.max.retention.ms", Long, Is("604800000"), Any, ReadOnly, High)
        .effective("How long a snapshot of the metadata log stays that is not the newest, in ms; -1 for ever."),
    define(
        "metric.reporters",
        List,
        Is("org.apache.kafka.common.metrics.JmxReporter"),
        Any,
        ClusterWide,
        Low,
    ),
    define("metrics.num.samples", Int, Is("2"), AtLeast(1), ReadOnly, Low),
    define("metrics.recording.level", String, Is("INFO"), Any, ReadOnly, Low),
    define("metrics.sample.window.ms", Long, Is("30000"), AtLeast(1), ReadOnly, Low),
    define("min.insync.replicas", Int, Is("1"), AtLeast(1), ClusterWide, High)
        .effective("Default of the topic key min.insync.replicas."),
    define("node.id", Int, Required, AtLeast(0), ReadOnly, High)
        .effective("Number of this node, unique in the cluster."),
    define("num.io.threads", Int, Is("8"), AtLeast(1), ClusterWide, High),
    define("num.network.threads", Int, Is("3"), AtLeast(1), ClusterWide, High),
    define("num.partitions", Int, Is("1"), AtLeast(1), ReadOnly, Medium)
        .effective("Partitions of a topic whose creator leaves the number to the broker."),
    define("num.recovery.threads.per.data.dir", Int, Is("2"), AtLeast(1), ClusterWide, High),
    define("num.replica.alter.log.dirs.threads", Int, Null, Any, ReadOnly, High).effective(
        "How many replicas are copied to other log directories at a time; as many as there are log directories when unset.",
    ),
    define("num.replica.fetchers", Int, Is("1"), AtLeast(1), ClusterWide, High),
    define("offset.metadata.max.bytes", Int, Is("4096"), Any, ReadOnly, High)
        .effective("How long the text may be that is committed with an offset."),
    define("offsets.commit.timeout.ms", Int, Is("5000"), AtLeast(1), ReadOnly, High).effective(
        "How long a request to a group coordinator waits for the replicas of __consumer_offsets before it is refused.",
    ),
    define("offsets.load.buffer.size", Int, Is("5242880"), AtLeast(1), ReadOnly, High),
    define("offsets.retention.check.interval.ms", Long, Is("600000"), AtLeast(1), ReadOnly, High)
        .effective("How often it is looked for committed offsets that nobody needs any more."),
    define("offsets.retention.minutes", Int, Is("10080"), AtLeast(1), ReadOnly, High)
        .effective("How long committed offsets are kept once their group is empty."),
    define("offsets.topic.compression.codec", Int, Is("0"), Any, ReadOnly, High)
        .effective("The codec of what is written to __consumer_offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    define("offsets.topic.num.partitions", Int, Is("50"), AtLeast(1), ReadOnly, High)
        .effective("Partitions of __consumer_offsets, when that is created."),
    define("offsets.topic.replication.factor", Short, Is("3"), AtLeast(1), ReadOnly, High)
        .effective("Replicas of each partition of __consumer_offsets, when that is created."),
    define("offsets.topic.segment.bytes", Int, Is("104857600"), AtLeast(1), ReadOnly, High)
        .effective("segment.bytes of __consumer_offsets, when that is created."),
    define(
        "principal.builder.class",
        Class,
        Is("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"),
        Any,
        PerBroker,
        Medium,
    ),
    define("process.roles", List, Required, NonEmptyListOf(&["broker", "controller"]), ReadOnly, High)
        .effective("Roles this process plays: broker, controller or both."),
    define("producer.id.expiration.check.interval.ms", Int, Is("600000"), AtLeast(1), ReadOnly, Low)
        .effective("Milliseconds between two looks for producers to forget.")
        .internal(),
    define("producer.id.expiration.ms", Int, Is("86400000"), AtLeast(1), ClusterWide, Low)
        .effective("Milliseconds a partition remembers an idle producer."),
    define("producer.purgatory.purge.interval.requests", Int, Is("1000"), Any, ReadOnly, Medium),
    define("queued.max.request.bytes", Long, Is("-1"), Any, ReadOnly, Medium).effective(
        "Bytes of requests that may wait to be handled before reading from \
             sockets pauses; -1 sets no limit.",
    ),
    define("queued.max.requests", Int, Is("500"), AtLeast(1), ReadOnly, High),
    define("quota.window.num", Int, Is("11"), AtLeast(1), ReadOnly, Low),
    define("quota.window.size.seconds", Int, Is("1"), AtLeast(1), ReadOnly, Low),
    define("remote.fetch.max.wait.ms", Int, Is("500"), AtLeast(1), ClusterWide, Medium),
    define("remote.list.offsets.request.timeout.ms", Long, Is("30000"), AtLeast(1), ClusterWide, Medium),
    define(
        "remote.log.index.file.cache.total.size.bytes",
        Long,
        Is("1073741824"),
        AtLeast(1),
        ClusterWide,
        Low,
    ),
    define("remote.log.index.file.cache.ttl.ms", Long, Is("900000"), AtLeast(-1), ReadOnly, Low).internal(),
    define("remote.log.manager.copier.thread.pool.size", Int, Is("10"), AtLeast(1), ClusterWide, Medium),
    define(
        "remote.log.manager.copy.max.bytes.per.second",
        Long,
        Is("9223372036854775807"),
        AtLeast(1),
        ClusterWide,
        Medium,
    ),
    define("remote.log.manager.copy.quota.window.num", Int, Is("11"), AtLeast(1), ReadOnly, Medium),
    define("remote.log.manager.copy.quota.window.size.seconds", Int, Is("1"), AtLeast(1), ReadOnly, Medium),
    define("remote.log.manager.expiration.thread.pool.size", Int, Is("10"), AtLeast(1), ClusterWide, Medium),
    define(
        "remote.log.manager.fetch.max.bytes.per.second",
        Long,
        Is("9223372036854775807"),
        AtLeast(1),
        ClusterWide,
        Medium,
    ),
    define("remote.log.manager.fetch.quota.window.num", Int, Is("11"), AtLeast(1), ReadOnly, Medium),
    define("remote.log.manager.fetch.quota.window.size.seconds", Int, Is("1"), AtLeast(1), ReadOnly, Medium),
    define("remote.log.manager.follower.thread.pool.size", Int, Is("2"), AtLeast(1), ClusterWide, Medium),
    define("remote.log.manager.task.interval.ms", Long, Is("30000"), AtLeast(1), ReadOnly, Low),
    define("remote.log.manager.task.retry.backoff.max.ms", Long, Is("30000"), AtLeast(1), ReadOnly, Low)
        .internal(),
    define("remote.log.manager.task.retry.backoff.ms", Long, Is("500"), AtLeast(1), ReadOnly, Low).internal(),
    define("remote.log.manager.task.retry.jitter", Double, Is("0.2"), Fraction(0.0, 0.5), ReadOnly, Low)
        .internal(),
    define("remote.log.manager.thread.pool.size", Int, Is("2"), AtLeast(1), ReadOnly, Medium),
    define("remote.log.metadata.custom.metadata.max.bytes", Int, Is("128"), AtLeast(0), ReadOnly, Low),
    define(
        "remote.log.metadata.manager.class.name",
        String,
        Is("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"),
        NonEmpty,
        ReadOnly,
        Medium,
    ),
    define("remote.log.metadata.manager.class.path", String, Null, Any, ReadOnly, Medium),
    define("remote.log.metadata.manager.impl.prefix", String, Is("rlmm.config."), NonEmpty, ReadOnly, Medium),
    define("remote.log.metadata.manager.listener.name", String, Null, NonEmpty, ReadOnly, Medium),
    define("remote.log.reader.max.pending.tasks", Int, Is("100"), AtLeast(1), ReadOnly, Medium),
    define("remote.log.reader.threads", Int, Is("10"), AtLeast(1), ClusterWide, Medium),
    define("remote.log.storage.manager.class.name", String, Null, NonEmpty, ReadOnly, Medium),
    define("remote.log.storage.manager.class.path", String, Null, Any, ReadOnly, Medium),
    define("remote.log.storage.manager.impl.prefix", String, Is("rsm.config."), NonEmpty, ReadOnly, Medium),
    define("remote.log.storage.system.enable", Boolean, Is("false"), Any, ReadOnly, Medium),
    define("replica.fetch.backoff.ms", Int, Is("1000"), AtLeast(0), ReadOnly, Medium)
        .effective("How long a replica that cannot be fetched from its leader is left alone, in milliseconds."),
    define("replica.fetch.max.bytes", Int, Is("1048576"), AtLeast(0), ReadOnly, Medium)
        .effective("How many bytes of one partition a replica asks its leader for. A batch that is larger is sent all the same."),
    define("replica.fetch.min.bytes", Int, Is("1"), Any, ReadOnly, High)
        .effective("For how many bytes a replica's fetch waits."),
    define("replica.fetch.response.max.bytes", Int, Is("10485760"), AtLeast(0), ReadOnly, Medium)
        .effective("How many bytes of all partitions a replica's fetch asks for."),
    define("replica.fetch.wait.max.ms", Int, Is("500"), Any, ReadOnly, High)
        .effective("How long a replica's fetch waits for records, in milliseconds. Not more than replica.lag.time.max.ms."),
    define("replica.high.watermark.checkpoint.interval.ms", Long, Is("5000"), Any, ReadOnly, High)
        .effective("Milliseconds between two writes of the file of high watermarks."),
    define("replica.lag.time.max.ms", Long, Is("30000"), Any, ReadOnly, High)
        .effective("A replica that had not all records for longer than this leaves the in-sync replicas, in milliseconds."),
    define("replica.selector.class", String, Null, Any, ReadOnly, Medium)
        .effective("Whom a leader sends consumers to: org.apache.kafka.common.replica.RackAwareReplicaSelector for a follower in the consumer's rack; unset, or org.apache.kafka.common.replica.LeaderSelector, for nobody."),
    define("replica.socket.receive.buffer.bytes", Int, Is("65536"), Any, ReadOnly, High),
    define("replica.socket.timeout.ms", Int, Is("30000"), Any, ReadOnly, High)
        .effective("How long a replica's fetch may take before its connection is given up, in milliseconds."),
    define("replication.quota.window.num", Int, Is("11"), AtLeast(1), ReadOnly, Low)
        .effective("How many windows the rate of throttled replication is taken over."),
    define("replication.quota.window.size.seconds", Int, Is("1"), AtLeast(1), ReadOnly, Low)
        .effective("How long one of the windows is that the rate of throttled replication is taken over, in seconds."),
    define("request.timeout.ms", Int, Is("30000"), Any, ReadOnly, High)
        .effective("Milliseconds this broker waits for another node's answer."),
    define("sasl.client.callback.handler.class", Class, Null, Any, ReadOnly, Medium),
    define("sasl.enabled.mechanisms", List, Is("GSSAPI"), Any, PerBroker, Medium),
    define("sasl.jaas.config", Password, Null, Any, PerBroker, Medium),
    define("sasl.kerberos.kinit.cmd", String, Is("/usr/bin/kinit"), Any, PerBroker, Medium),
    define("sasl.kerberos.min.time.before.relogin", Long, Is("60000"), Any, PerBroker, Medium),
    define("sasl.kerberos.principal.to.local.rules", List, Is("DEFAULT"), Any, PerBroker, Medium),
    define("sasl.kerberos.service.name", String, Null, Any, PerBroker, Medium),
    define("sasl.kerberos.ticket.renew.jitter", Double, Is("0.05"), Any, PerBroker, Medium),
    define("sasl.kerberos.ticket.renew.window.factor", Double, Is("0.8"), Any, PerBroker, Medium),
    define("sasl.login.callback.handler.class", Class, Null, Any, ReadOnly, Medium),
    define("sasl.login.class", Class, Null, Any, ReadOnly, Medium),
    define("sasl.login.connect.timeout.ms", Int, Null, Any, ReadOnly, Low),
    define("sasl.login.read.timeout.ms", Int, Null, Any, ReadOnly, Low),
    define("sasl.login.refresh.buffer.seconds", Short, Is("300"), Any, PerBroker, Medium),
    define("sasl.login.refresh.min.period.seconds", Short, Is("60"), Any, PerBroker, Medium),
    define("sasl.login.refresh.window.factor", Double, Is("0.8"), Any, PerBroker, Medium),
    define("sasl.login.refresh.window.jitter", Double, Is("0.05"), Any, PerBroker, Medium),
    define("sasl.login.retry.backoff.max.ms", Long, Is("10000"), Any, ReadOnly, Low),
    define("sasl.login.retry.backoff.ms", Long, Is("100"), Any, ReadOnly, Low),
    define("sasl.mechanism.controller.protocol", String, Is("GSSAPI"), Any, ReadOnly, High),
    define("sasl.mechanism.inter.broker.protocol", String, Is("GSSAPI"), Any, PerBroker, Medium),
    define(
        "sasl.oauthbearer.assertion.algorithm",
        String,
        Is("RS256"),
        OneOfIgnoreCase(&["ES256", "RS256"]),
        ReadOnly,
        Medium,
    ),
    define("sasl.oauthbearer.assertion.claim.aud", String, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.assertion.claim.exp.seconds", Int, Is("300"), Between(0, 86_400), ReadOnly, Low),
    define("sasl.oauthbearer.assertion.claim.iss", String, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.assertion.claim.jti.include", Boolean, Is("false"), Any, ReadOnly, Medium),
    define("sasl.oauthbearer.assertion.claim.nbf.seconds", Int, Is("60"), Between(0, 3600), ReadOnly, Low),
    define("sasl.oauthbearer.assertion.claim.sub", String, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.assertion.file", String, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.assertion.private.key.file", String, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.assertion.private.key.passphrase", Password, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.assertion.template.file", String, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.client.credentials.client.id", String, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.client.credentials.client.secret", Password, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.clock.skew.seconds", Int, Is("30"), Any, ReadOnly, Low),
    define("sasl.oauthbearer.expected.audience", List, Is(""), Any, ReadOnly, High),
    define("sasl.oauthbearer.expected.issuer", String, Null, Any, ReadOnly, High),
    define("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long, Is("3600000"), Any, ReadOnly, Low),
    define("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long, Is("10000"), Any, ReadOnly, Low),
    define("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long, Is("100"), Any, ReadOnly, Low),
    define("sasl.oauthbearer.jwks.endpoint.url", String, Null, Any, ReadOnly, Medium),
    define(
        "sasl.oauthbearer.jwt.retriever.class",
        Class,
        Is("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"),
        Any,
        ReadOnly,
        Medium,
    ),
    define(
        "sasl.oauthbearer.jwt.validator.class",
        Class,
        Is("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"),
        Any,
        ReadOnly,
        Medium,
    ),
    define("sasl.oauthbearer.scope", String, Null, Any, ReadOnly, Medium),
    define("sasl.oauthbearer.scope.claim.name", String, Is("scope"), Any, ReadOnly, Low),
    define("sasl.oauthbearer.sub.claim.name", String, Is("sub"), Any, ReadOnly, Low),
    define("sasl.oauthbearer.token.endpoint.url", String, Null, Any, ReadOnly, Medium),
    define("sasl.server.callback.handler.class", Class, Null, Any, ReadOnly, Medium),
    define("sasl.server.max.receive.size", Int, Is("524288"), Any, ReadOnly, Medium),
    define(
        "security.inter.broker.protocol",
        String,
        Is("PLAINTEXT"),
        OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        ReadOnly,
        Medium,
    ),
    define("security.providers", String, Null, Any, ReadOnly, Low),
    define("server.max.startup.time.ms", Long, Is("9223372036854775807"), AtLeast(0), ReadOnly, Medium)
        .internal(),
    define("share.coordinator.append.linger.ms", Int, Is("-1"), AtLeast(-1), ReadOnly, Medium),
    define(
        "share.coordinator.cached.buffer.max.bytes",
        Int,
        Is("1048588"),
        AtLeast(524_288),
        ClusterWide,
        Medium,
    ),
    define(
        "share.coordinator.cold.partition.snapshot.interval.ms",
        Int,
        Is("300000"),
        AtLeast(1),
        ReadOnly,
        Low,
    )
    .internal(),
    define("share.coordinator.load.buffer.size", Int, Is("5242880"), AtLeast(1), ReadOnly, High),
    define(
        "share.coordinator.snapshot.update.records.per.snapshot",
        Int,
        Is("500"),
        Between(0, 500),
        ReadOnly,
        Medium,
    ),
    define("share.coordinator.state.topic.compression.codec", Int, Is("0"), Any, ReadOnly, High),
    define("share.coordinator.state.topic.min.isr", Short, Is("2"), AtLeast(1), ReadOnly, High),
    define("share.coordinator.state.topic.num.partitions", Int, Is("50"), AtLeast(1), ReadOnly, High),
    define("share.coordinator.state.topic.prune.interval.ms", Int, Is("300000"), AtLeast(1), ReadOnly, Low)
        .internal(),
    define("share.coordinator.state.topic.replication.factor", Short, Is("3"), AtLeast(1), ReadOnly, High),
    define("share.coordinator.state.topic.segment.bytes", Int, Is("104857600"), AtLeast(1), ReadOnly, High),
    define("share.coordinator.threads", Int, Is("1"), AtLeast(1), ReadOnly, Medium),
    define("share.coordinator.write.timeout.ms", Int, Is("5000"), AtLeast(1), ReadOnly, High),
    define("share.fetch.purgatory.purge.interval.requests", Int, Is("1000"), Any, ReadOnly, Medium),
    define("socket.connection.setup.timeout.max.ms", Long, Is("30000"), Any, ReadOnly, Medium),
    define("socket.connection.setup.timeout.ms", Long, Is("10000"), Any, ReadOnly, Medium),
    define("socket.listen.backlog.size", Int, Is("50"), AtLeast(1), ReadOnly, Medium),
    define("socket.receive.buffer.bytes", Int, Is("102400"), Any, ReadOnly, High),
    define("socket.request.max.bytes", Int, Is("104857600"), AtLeast(1), ReadOnly, High)
        .effective("Largest request in bytes; a larger one closes its connection."),
    define("socket.send.buffer.bytes", Int, Is("102400"), Any, ReadOnly, High),
    define("ssl.allow.dn.changes", Boolean, Is("false"), Any, ReadOnly, Low),
    define("ssl.allow.san.changes", Boolean, Is("false"), Any, ReadOnly, Low),
    define("ssl.cipher.suites", List, Is(""), Any, PerBroker, Medium),
    define(
        "ssl.client.auth",
        String,
        Is("none"),
        OneOf(&["required", "requested", "none"]),
        PerBroker,
        Medium,
    ),
    define("ssl.enabled.protocols", List, Is("TLSv1.2,TLSv1.3"), Any, PerBroker, Medium),
    define("ssl.endpoint.identification.algorithm", String, Is("https"), Any, PerBroker, Low),
    define("ssl.engine.factory.class", Class, Null, Any, PerBroker, Low),
    define("ssl.key.password", Password, Null, Any, PerBroker, Medium),
    define("ssl.keymanager.algorithm", String, Is("SunX509"), Any, PerBroker, Medium),
    define("ssl.keystore.certificate.chain", Password, Null, Any, PerBroker, Medium),
    define("ssl.keystore.key", Password, Null, Any, PerBroker, Medium),
    define("ssl.keystore.location", String, Null, Any, PerBroker, Medium),
    define("ssl.keystore.password", Password, Null, Any, PerBroker, Medium),
    define("ssl.keystore.type", String, Is("JKS"), Any, PerBroker, Medium),
    define("ssl.principal.mapping.rules", String, Is("DEFAULT"), Any, ReadOnly, Low),
    define("ssl.protocol", String, Is("TLSv1.3"), Any, PerBroker, Medium),
    define("ssl.provider", String, Null, Any, PerBroker, Medium),
    define("ssl.secure.random.implementation", String, Null, Any, PerBroker, Low),
    define("ssl.trustmanager.algorithm", String, Is("PKIX"), Any, PerBroker, Medium),
    define("ssl.truststore.certificates", Password, Null, Any, PerBroker, Medium),
    define("ssl.truststore.location", String, Null, Any, PerBroker, Medium),
    define("ssl.truststore.password", Password, Null, Any, PerBroker, Medium),
    define("ssl.truststore.type", String, Is("JKS"), Any, PerBroker, Medium),
    define("telemetry.max.bytes", Int, Is("1048576"), AtLeast(1), ReadOnly, Low),
    define(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        Int,
        Is("10000"),
        AtLeast(1),
        ReadOnly,
        Low,
    ),
    define("transaction.max.timeout.ms", Int, Is("900000"), AtLeast(1), ReadOnly, High),
    define("transaction.partition.verification.enable", Boolean, Is("true"), Any, ClusterWide, Low),
    define(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        Int,
        Is("3600000"),
        AtLeast(1),
        ReadOnly,
        Low,
    ),
    define("transaction.state.log.load.buffer.size", Int, Is("5242880"), AtLeast(1), ReadOnly, High),
    define("transaction.state.log.min.isr", Int, Is("2"), AtLeast(1), ReadOnly, High),
    define("transaction.state.log.num.partitions", Int, Is("50"), AtLeast(1), ReadOnly, High),
    define("transaction.state.log.replication.factor", Short, Is("3"), AtLeast(1), ReadOnly, High),
    define("transaction.state.log.segment.bytes", Int, Is("104857600"), AtLeast(1), ReadOnly, High),
    define("transaction.two.phase.commit.enable", Boolean, Is("false"), Any, ReadOnly, Low),
    define("transactional.id.expiration.ms", Int, Is("604800000"), AtLeast(1), ReadOnly, High),
    define("unclean.leader.election.enable", Boolean, Is("false"), Any, ClusterWide, High),
    define("unclean.leader.election.interval.ms", Long, Is("300000"), AtLeast(1), ReadOnly, Medium)
        .effective("Milliseconds between two tries to find a leader where there is none.")
        .internal(),
    define("unstable.api.versions.enable", Boolean, Is("false"), Any, ReadOnly, High).internal(),
    define("unstable.feature.versions.enable", Boolean, Is("false"), Any, ReadOnly, High).internal(),
];
