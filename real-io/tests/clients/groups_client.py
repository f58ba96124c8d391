"""A member of a group, as a process: it says what it was assigned, gives up, has read and committed.

    groups_client.py confluent|kafka-python BOOTSTRAP GROUP TOPIC STRATEGY [INSTANCE]

One JSON object a line, with the time by the clock that all processes share. What was read is committed before it is told, a few
records at a time. SIGTERM has the member leave.
"""

import json
import signal
import sys
import time

SESSION_MS = 6000
STOPPING = []


def say(what, **facts):
    print(json.dumps({"at": time.monotonic(), "what": what, **facts}), flush=True)


def number(value):
    """Records are `record 0`, `record 1` and so on."""
    return int(value.split()[1])


def confluent(bootstrap, group, topic, strategy, instance):
    from confluent_kafka import Consumer, KafkaException

    settings = {
        "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
        "session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 500, "partition.assignment.strategy": strategy,
        "reconnect.backoff.max.ms": 500,
    }
    if instance:
        settings["group.instance.id"] = instance
    c = Consumer(settings)
    is_cooperative = strategy == "cooperative-sticky"
    named = lambda partitions: [p.partition for p in partitions]

    def commit():
        try:
            c.commit(asynchronous=False)
        except KafkaException as e:
            # Nothing to commit, or somebody else has the partition by now.
            say("refused", why=e.args[0].name())

    def assigned(_, partitions):
        say("assigned", partitions=named(partitions), whole=not is_cooperative)
        c.incremental_assign(partitions) if is_cooperative else c.assign(partitions)

    def revoked(_, partitions):
        commit()
        say("revoked", partitions=named(partitions))
        c.incremental_unassign(partitions) if is_cooperative else c.unassign()

    def lost(_, partitions):
        say("lost", partitions=named(partitions))

    c.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=lost)
    while not STOPPING:
        read = [m for m in c.consume(50, 0.1) if m.error() is None]
        if read:
            commit()
            say("read", records=[[m.partition(), m.offset(), number(m.value())] for m in read])
    c.close()


def kafka_python(bootstrap, group, topic, strategy, instance):
    import kafka
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from kafka.errors import KafkaError

    assignors = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}
    c = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest",
        session_timeout_ms=SESSION_MS, heartbeat_interval_ms=500, partition_assignment_strategy=[assignors[strategy]],
        **({"group_instance_id": instance} if instance else {}),
    )

    def commit():
        try:
            c.commit()
        except KafkaError as e:
            say("refused", why=type(e).__name__)

    class Listener(kafka.ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            say("assigned", partitions=[p.partition for p in assigned], whole=True)

        def on_partitions_revoked(self, revoked):
            # All that was read is committed by now; from here a request cannot be waited for.
            say("revoked", partitions=[p.partition for p in revoked])

    c.subscribe([topic], listener=Listener())
    while not STOPPING:
        # With little time a poll ends while the answer to its SyncGroup is under way, and kafka-python 3.0.12 then never takes up
        # the assignment that comes.
        read = [m for batch in c.poll(3000, max_records=50).values() for m in batch]
        if read:
            commit()
            say("read", records=[[m.partition, m.offset, number(m.value)] for m in read])
    c.close()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: STOPPING.append(True))
    library, *rest = sys.argv[1:]
    {"confluent": confluent, "kafka-python": kafka_python}[library](*(rest + [None])[:5])
