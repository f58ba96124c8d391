"""Kafka's own command-line programs against a running broker: what they print and how they exit."""

import json
import pathlib
import re
import subprocess

from .dump import JAVA

TOPICS = "org.apache.kafka.tools.TopicCommand"
CONSOLE_PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
CONFIGS = "kafka.admin.ConfigCommand"
DELETE_RECORDS = "org.apache.kafka.tools.DeleteRecordsCommand"
LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
API_VERSIONS = "org.apache.kafka.tools.BrokerApiVersionsCommand"
CLUSTER = "org.apache.kafka.tools.ClusterTool"

# What a broker without transactions must announce, with the versions of Kafka 4.3.
APIS = {
    "Produce": (0, 0, 13),
    "Fetch": (1, 4, 18),
    "ListOffsets": (2, 1, 11),
    "Metadata": (3, 0, 13),
    "OffsetCommit": (8, 2, 10),
    "OffsetFetch": (9, 1, 10),
    "FindCoordinator": (10, 0, 6),
    "JoinGroup": (11, 0, 9),
    "Heartbeat": (12, 0, 4),
    "LeaveGroup": (13, 0, 5),
    "SyncGroup": (14, 0, 5),
    "DescribeGroups": (15, 0, 6),
    "ListGroups": (16, 0, 5),
    "ApiVersions": (18, 0, 4),
    "CreateTopics": (19, 2, 7),
    "DeleteTopics": (20, 1, 6),
    "DeleteRecords": (21, 0, 2),
    "InitProducerId": (22, 0, 5),
    "OffsetForLeaderEpoch": (23, 2, 4),
    "DescribeConfigs": (32, 1, 4),
    "AlterConfigs": (33, 0, 2),
    "DescribeLogDirs": (35, 1, 5),
    "CreatePartitions": (37, 0, 3),
    "DeleteGroups": (42, 0, 2),
    "IncrementalAlterConfigs": (44, 0, 1),
    "OffsetDelete": (47, 0, 0),
    "DescribeCluster": (60, 0, 2),
    "DescribeTopicPartitions": (75, 0, 0),
}


class Tools:
    def __init__(self, report, jars, bootstrap, scratch, kcat):
        self.report, self.jars, self.bootstrap, self.kcat = report, jars, bootstrap, kcat
        self.scratch = pathlib.Path(scratch)

    def run(self, main, *args, data=None):
        """Exit code and everything printed. A program that hangs counts as exit code -1."""
        argv = JAVA + ["-cp", f"{self.jars}/*", main, *map(str, args)]
        if "--bootstrap-server" not in argv:
            argv += ["--bootstrap-server", self.bootstrap]
        try:
            done = subprocess.run(
                argv, input=data or b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
            )
        except subprocess.TimeoutExpired as e:
            return -1, (e.stdout or b"").decode(errors="replace") + "\nstill running after 60 s"
        return done.returncode, done.stdout.decode(errors="replace")

    def expect(self, what, code, patterns, main, *args, data=None, absent=()):
        """One check: the exit code, a regular expression for each thing that must be printed, and what must not."""
        got, out = self.run(main, *args, data=data)
        missing = [p for p in patterns if not re.search(p, out, re.MULTILINE)]
        present = [p for p in absent if re.search(p, out, re.MULTILINE)]
        ok = got == code and not missing and not present
        text = what
        if not ok:
            text += f"\n        exit code {got}, expected {code}; missing {missing}; unwanted {present}; printed:"
            text += "".join(f"\n        | {line[:300]}" for line in out.splitlines()[:30])
        self.report.check(ok, text)
        return out


def offsets(out):
    """`topic:partition:offset` lines as {(topic, partition): offset}."""
    found = re.findall(r"^([\w.-]+):(\d+):(-?\d+)$", out, re.MULTILINE)
    return {(t, int(p)): int(o) for t, p, o in found}


def inspect(report, jars, bootstrap, scratch, kcat, data_dir, written, base_ms):
    """`data_dir` is None when it is not known. `written` holds records.Topic of topics the clients wrote whole."""
    t = Tools(report, jars, bootstrap, scratch, kcat)

    # kafka-broker-api-versions
    _, out = t.run(API_VERSIONS)
    node = re.search(r"\(id: (\d+) rack: \S+ isFenced: false\) -> \(", out)
    lines = re.findall(r"^\t(\w+)\((\d+)\): (\d+)(?: to (\d+))? \[usable: \d+\]", out, re.MULTILINE)
    announced = {name: (int(key), int(low), int(high or low)) for name, key, low, high in lines}
    wrong = {n: announced.get(n) for n, v in APIS.items() if announced.get(n) != v}
    text = f"kafka-broker-api-versions: {len(APIS)} APIs with the versions of Kafka 4.3"
    report.check(node is not None and not wrong, text + (f" (differing: {wrong}; {out[:300]})" if wrong or not node else ""))
    node = node[1] if node else "1"

    # kafka-cluster
    cluster_id = r"^Cluster ID: \S{22}$"
    if data_dir is not None:
        properties = (pathlib.Path(data_dir) / "meta.properties").read_text()
        cluster_id = f"^Cluster ID: {re.escape(re.search(r'^cluster.id=(.+)$', properties, re.MULTILINE)[1].strip())}$"
    t.expect("kafka-cluster cluster-id", 0, [cluster_id], CLUSTER, "cluster-id")

    # kafka-topics. Refusals are known by the exit code and what they are about: a broker has its own words for them.
    create = [TOPICS, "--create", "--topic", "tools-t"]
    e = t.expect
    e("kafka-topics --create", 0, [r"^Created topic tools-t\.$"], *create, "--partitions", 2, "--config", "retention.ms=-1")
    e("kafka-topics --create of a topic that exists is refused", 1, ["(?i)topic 'tools-t' already exists"], *create)
    e("kafka-topics --create --if-not-exists", 0, [], *create, "--if-not-exists", absent=["Error"])
    assigned = ["--topic", "tools-assigned", "--replica-assignment", f"{node},{node},{node}"]
    e("kafka-topics --create --replica-assignment", 0, ["^Created topic tools-assigned"], TOPICS, "--create", *assigned)
    bad = [TOPICS, "--create", "--topic", "tools-bad"]
    value = "Invalid value 10 for configuration segment.bytes"
    e("kafka-topics --create with a bad value is refused", 1, [value], *bad, "--config", "segment.bytes=10")
    e("kafka-topics --create with an unknown key is refused", 1, ["no.such.key"], *bad, "--config", "no.such.key=1")
    e("kafka-topics --create with two replicas is refused", 1, ["(?i)replica"], *bad, "--replication-factor", 2)
    e("kafka-topics --create without partitions is refused", 1, ["Error"], *bad, "--partitions", 0)
    line = rf"^\tTopic: tools-t\tPartition: %d\tLeader: {node}\tReplicas: {node}\tIsr: {node}\b"
    head = r"^Topic: tools-t\tTopicId: \S{22}\tPartitionCount: %d\tReplicationFactor: 1\tConfigs: \S*\bretention.ms=-1"
    describe = [TOPICS, "--describe", "--topic", "tools-t"]
    e("kafka-topics --describe", 0, [head % 2, line % 0, line % 1], *describe, absent=["Partition: 2"])
    e("kafka-topics --list", 0, ["^tools-t$", "^tools-assigned$"], TOPICS, "--list", absent=["^tools-bad$", "^__cluster_metadata$"])
    alter = [TOPICS, "--alter", "--topic", "tools-t", "--partitions"]
    e("kafka-topics --alter --partitions", 0, [], *alter, 4, absent=["Error"])
    e("kafka-topics --alter to fewer partitions is refused", 1, ["^Error while executing topic command : .*partition"], *alter, 3)
    e("kafka-topics --describe after --alter", 0, [head % 4, line % 3], *describe)
    e("kafka-topics --describe of no such topic", 1, ["does not exist"], TOPICS, "--describe", "--topic", "tools-none")

    # kafka-console-producer, read back with kcat; `groups` has Kafka's console consumer.
    create = [TOPICS, "--create", "--topic", "tools-console", "--partitions", 1]
    e("kafka-topics --create for the console", 0, ["^Created"], *create)
    expected = b""
    for n, codec in enumerate(["none", "gzip", "snappy", "lz4", "zstd"]):
        lines = b"".join(b"h:%s,n:%d\tkey-%d\t%s of %d\n" % (codec.encode(), i, i, codec.encode(), i) for i in range(20))
        expected += b"".join(
            b"%d h=%s,n=%d key-%d=%s of %d\n" % (20 * n + i, codec.encode(), i, i, codec.encode(), i) for i in range(20)
        )
        options = ["--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"]
        options += ["--compression-codec", codec, "--request-required-acks", ["all", "1", "-1", "0", "all"][n]]
        if n in (1, 3):
            options += ["--command-property", "enable.idempotence=false"]
        what = f"kafka-console-producer --compression-codec {codec}"
        e(what, 0, [], CONSOLE_PRODUCER, "--topic", "tools-console", *options, data=lines, absent=["(?i)error|exception"])
    got = b""
    for _ in range(50):  # acks=0 may arrive a moment later
        read = [kcat, "-C", "-b", bootstrap, "-t", "tools-console", "-p", "0", "-o", "beginning", "-e", "-q"]
        got = subprocess.run(read + ["-f", r"%o %h %k=%s\n"], capture_output=True, timeout=60).stdout
        if len(got) >= len(expected):
            break
    report.check(got == expected, "kafka-console-producer: kcat reads 100 records with headers and keys, in order")

    # kafka-get-offsets
    console = [OFFSETS, "--topic-partitions", "tools-console:0", "--time"]
    for time, want in [("-1", 100), ("-2", 0), ("latest", 100), ("earliest", 0), ("0", 0)]:
        e(f"kafka-get-offsets --time {time}", 0, [rf"^tools-console:0:{want}$"], *console, time)
    # The newest timestamp belongs to one of the last run's records, which may share it.
    e("kafka-get-offsets --time -3", 0, [r"^tools-console:0:(8|9)\d$"], *console, "-3")
    e("kafka-get-offsets --time of the far future finds nothing", 0, [], *console, 9999999999999, absent=["^tools-console:0:\\d"])
    e("kafka-get-offsets of no such topic", 1, ["Could not match"], OFFSETS, "--topic", "tools-none", "--time", "-1")
    if written:
        names = ",".join(w.name for w in written)
        order = {w.name: w.by_partition() for w in written}
        middle = base_ms + min(w.count for w in written) // 2
        want = {
            "-1": {(n, p): len(o) for n, by in order.items() for p, o in enumerate(by)},
            "-2": {(n, p): 0 for n, by in order.items() for p, o in enumerate(by)},
            "-3": {(n, p): len(o) - 1 for n, by in order.items() for p, o in enumerate(by)},
            str(middle): {
                (n, p): sum(1 for i in o if base_ms + i < middle) for n, by in order.items() for p, o in enumerate(by)
            },
        }
        for time, expected_offsets in want.items():
            _, out = t.run(OFFSETS, "--topic-partitions", names, "--time", time)
            got = offsets(out)
            wrong = {k: (got.get(k), v) for k, v in expected_offsets.items() if got.get(k) != v}
            wrong.update({k: (v, None) for k, v in got.items() if k not in expected_offsets})
            name = "a timestamp" if len(time) > 2 else time
            text = f"kafka-get-offsets --time {name} of {len(written)} topics the clients wrote"
            report.check(not wrong, text + (f" (got, expected: {wrong})" if wrong else ""))

    # kafka-configs
    topic = [CONFIGS, "--entity-type", "topics", "--entity-name", "tools-t"]
    own = r"^  retention.ms=-1 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention.ms=-1"
    e("kafka-configs --describe of a topic", 0, [r"^Dynamic configs for topic tools-t are:", own], *topic, "--describe")
    defaults = [
        r"^  segment.bytes=1073741824 sensitive=false synonyms=\{DEFAULT_CONFIG:log.segment.bytes=1073741824\}",
        r"^  cleanup.policy=delete sensitive=false synonyms=\{DEFAULT_CONFIG:log.cleanup.policy=delete\}",
        r"^  max.message.bytes=1048588 sensitive=false synonyms=\{DEFAULT_CONFIG:message.max.bytes=1048588\}",
        r"^  compression.type=producer ",
        r"^  message.timestamp.type=CreateTime ",
        r"^  min.insync.replicas=1 ",
        r"^  index.interval.bytes=4096 ",
    ]
    e("kafka-configs --describe --all of a topic", 0, [*defaults, own], *topic, "--describe", "--all")
    done = "^Completed updating config for topic tools-t"
    add = ["--alter", "--add-config"]
    e("kafka-configs --add-config of a topic", 0, [done], *topic, *add, "retention.ms=1234567,max.message.bytes=2000000")
    changed = [r"^  max.message.bytes=2000000 .*DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000, DEFAULT_CONFIG:message.max.bytes"]
    changed += [r"^  retention.ms=1234567 "]
    e("kafka-configs --describe after --add-config", 0, changed, *topic, "--describe")
    e("kafka-configs --delete-config of a topic", 0, [done], *topic, "--alter", "--delete-config", "retention.ms")
    after = [r"^  max.message.bytes=2000000 "]
    e("kafka-configs --describe after --delete-config", 0, after, *topic, "--describe", absent=["retention.ms"])
    invalid = "InvalidConfigurationException: Invalid value abc for configuration retention.ms"
    e("kafka-configs refuses a bad value", 1, [invalid], *topic, *add, "retention.ms=abc")
    e("kafka-configs refuses an unknown key", 1, ["InvalidConfigurationException.*no.such.key"], *topic, *add, "no.such.key=1")
    e("kafka-configs limits a topic's messages", 0, [done], *topic, *add, "max.message.bytes=200")
    big = b"x" * 1000 + b"\n"
    t.run(CONSOLE_PRODUCER, "--topic", "tools-t", "--command-property", "delivery.timeout.ms=5000",
          "--command-property", "request.timeout.ms=2000", "--command-property", "linger.ms=0", data=big)  # fmt: skip
    small = ["--topic", "tools-t", "--command-property", "linger.ms=0"]
    e("kafka-console-producer within the limit", 0, [], CONSOLE_PRODUCER, *small, data=b"y\n", absent=["(?i)error|exception"])
    _, out = t.run(OFFSETS, "--topic", "tools-t", "--time", "-1")
    total = sum(offsets(out).values())
    report.check(total == 1, f"a message above max.message.bytes is refused, one below is taken ({total} of 1 records)")
    broker = [CONFIGS, "--entity-type", "brokers", "--entity-name", node]
    shown = [rf"^All configs for broker {node} are:", r"^  log.segment.bytes=1073741824 ", rf"^  node.id={node} "]
    e("kafka-configs --describe --all of the broker", 0, shown, *broker, "--describe", "--all")
    e("kafka-configs --add-config of the broker", 0, ["^Completed updating"], *broker, *add, "log.retention.ms=7654321")
    shown = [r"^  log.retention.ms=7654321 .*DYNAMIC_BROKER_CONFIG:log.retention.ms=7654321"]
    e("kafka-configs --describe of the broker", 0, shown, *broker, "--describe")
    inherited = [r"^  retention.ms=7654321 .*DYNAMIC_BROKER_CONFIG:log.retention.ms=7654321"]
    e("a topic inherits what the broker is told", 0, inherited, *topic, "--describe", "--all")
    e("kafka-configs --delete-config of the broker", 0, ["^Completed"], *broker, "--alter", "--delete-config", "log.retention.ms")
    e("kafka-configs --describe of the broker again", 0, [], *broker, "--describe", absent=["log.retention.ms"])
    every = [CONFIGS, "--entity-type", "brokers", "--entity-default"]
    e("kafka-configs --add-config of all brokers", 0, ["^Completed"], *every, *add, "log.retention.ms=7654322")
    shown = [r"^  log.retention.ms=7654322 .*DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=7654322"]
    e("kafka-configs --describe of all brokers", 0, shown, *every, "--describe")
    e("kafka-configs --delete-config of all brokers", 0, ["^Completed"], *every, "--alter", "--delete-config", "log.retention.ms")

    # kafka-delete-records
    def delete(offset, partition=0):
        path = t.scratch / f"delete-{offset}.json"
        partitions = [{"topic": "tools-console", "partition": partition, "offset": offset}]
        path.write_text(json.dumps({"version": 1, "partitions": partitions}))
        return [DELETE_RECORDS, "--offset-json-file", path]

    e("kafka-delete-records", 0, [r"^partition: tools-console-0\tlow_watermark: 50$"], *delete(50))
    e("kafka-get-offsets --time -2 after it", 0, ["^tools-console:0:50$"], *console, "-2")
    e("kafka-delete-records beyond the end", 0, ["error: .*OffsetOutOfRangeException"], *delete(101))
    e("kafka-delete-records below the start changes nothing", 0, [r"low_watermark: 50$"], *delete(10))
    read = [kcat, "-C", "-b", bootstrap, "-t", "tools-console", "-p", "0", "-o", "beginning", "-e", "-q"]
    got = subprocess.run(read + ["-f", r"%o %h %k=%s\n"], capture_output=True, timeout=60).stdout
    rest = b"".join(expected.splitlines(keepends=True)[50:])
    report.check(got == rest, "kcat reads the 50 records that are left, from offset 50")
    e("kafka-delete-records up to the high watermark", 0, [r"low_watermark: 100$"], *delete(-1))

    # kafka-log-dirs
    for name, args, topics in [("every topic", [], None), ("one topic", ["--topic-list", "tools-console"], {"tools-console"})]:
        code, out = t.run(LOG_DIRS, "--describe", *args)
        problem = None
        try:
            document = json.loads(next(l for l in out.splitlines() if l.startswith("{")))
            (only,) = document["brokers"]
            partitions = {p["partition"]: p for d in only["logDirs"] for p in d["partitions"]}
            if code != 0 or only["broker"] != int(node) or any(d["error"] for d in only["logDirs"]):
                problem = f"exit code {code}, {out[:500]}"
            elif topics is not None and {p.rpartition("-")[0] for p in partitions} != topics:
                problem = f"partitions {sorted(partitions)}"
            elif "tools-console-0" not in partitions or (topics is None and "tools-t-3" not in partitions):
                problem = f"partitions {sorted(partitions)}"
            elif data_dir is not None:
                sizes = {
                    p: sum(f.stat().st_size for f in (pathlib.Path(data_dir) / p).glob("*.log")) for p in partitions
                }
                wrong = {p: (partitions[p]["size"], s) for p, s in sizes.items() if partitions[p]["size"] != s}
                problem = f"sizes (told, on disk): {wrong}" if wrong else None
        except (StopIteration, ValueError, KeyError) as error:
            problem = f"{error!r}: {out[:500]}"
        text = f"kafka-log-dirs --describe of {name}, sizes as on disk"
        report.check(problem is None, text if problem is None else f"{text}: {problem}")

    # Deletion, last.
    delete_topic = [TOPICS, "--delete", "--topic", "tools-t"]
    e("kafka-topics --delete", 0, [], *delete_topic, absent=["Error"])
    e("kafka-topics --list after --delete", 0, ["^tools-console$"], TOPICS, "--list", absent=["^tools-t$"])
    e("kafka-topics --delete of no such topic is refused", 1, ["does not exist"], *delete_topic)
    create = [TOPICS, "--create", "--topic", "tools-t", "--partitions", 1]
    e("kafka-topics --create of the same name again", 0, [r"^Created topic tools-t\.$"], *create)
    e("the topic of the same name is empty", 0, ["^tools-t:0:0$"], OFFSETS, "--topic", "tools-t", "--time", "-1")
