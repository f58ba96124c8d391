"""The clients of `real_cluster`, each a process that notes what it does and is told.

    create BOOTSTRAP                              makes the topic
    WRITER BOOTSTRAP LOG PROCESS SEED             writes until its standard input closes, prints how many records of each partition
                                                  were acknowledged so far, then waits for the rest
    READER BOOTSTRAP LOG PROCESS FROM...          follows the partitions from these offsets until its standard input closes
    SCANNER BOOTSTRAP LOG PROCESS ACKNOWLEDGED... reads every partition to its end, which is to come behind these offsets

A line of LOG is `[nanoseconds, process, operation, step]`, with a step as histories have it. An operation is noted before it is
handed to the library, and its end after the library has told of it, so that a kill leaves an operation without an end.

What counts as failed, and so must never be read: a record that the library did not take, and one that was sent once and refused
with NOT_ENOUGH_REPLICAS. That error alone is given before an append and never after one: NOT_LEADER_OR_FOLLOWER, for instance, is
also told to those who wait while a leader that has appended steps down. Of anything else that went wrong nobody knows what became.

An idempotent producer promises that nothing comes twice as long as it gives nothing up. Once it does it has itself a new epoch,
and what else it has under way, of which it does not know whether it arrived, is sent again in that, as something new. So one
that gives up soon counts as one that promises nothing, and the others do not give up.
"""

import json
import os
import random
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
import kafka

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from runner import PARTITIONS, TOPIC

# Records of one partition that a writer has under way. A partition without a leader holds up no other.
OUTSTANDING = 100
TURN_SECONDS, BURST, SINGLE_SECONDS = 0.02, 8, 0.02
FLUSH_SECONDS, SCAN_SECONDS, TOLD_SECONDS = 60, 120, 0.1
# kafka-python always gives up some day. No fault lasts so long.
GIVE_UP_MS = 600_000
# A value names its process and its number. Text that is no record's has a value that nobody sent.
VALUES, NOT_A_RECORD = 1 << 32, 1 << 52
# It does not wait long for a leader that is away, and knows soon of another one.
RDKAFKA = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 2000, "log_level": 0}
RDKAFKA["topic.metadata.refresh.interval.ms"] = 2000
PYTHON = {"reconnect_backoff_ms": 20, "reconnect_backoff_max_ms": 200, "retry_backoff_ms": 50, "metadata_max_age_ms": 2000}
PYTHON["request_timeout_ms"] = 2000


def payload(value):
    """The value, and noise of up to 400 bytes that follows from it."""
    return b"%d:" % value + random.Random(value).randbytes(value % 401)


def value_of(data):
    """The value of a record; one that nobody sent if the record is not as it was written."""
    digits = (data or b"").partition(b":")[0]
    if digits.isdigit() and int(digits) < NOT_A_RECORD and payload(int(digits)) == data:
        return int(digits)
    return NOT_A_RECORD


class Log:
    """The notes of one process."""

    def __init__(self, path, process):
        self.process, self.lock, self.operations = int(process), threading.Lock(), 0
        # What was written is the file's, whatever becomes of the process.
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, operation, step, at=None):
        line = json.dumps([at or time.monotonic_ns(), self.process, operation, step], separators=(",", ":"))
        os.write(self.file, line.encode() + b"\n")

    def invoke(self, operation, at=None):
        with self.lock:
            self.operations += 1
            self.write(self.operations, {"invoke": operation}, at)
            return self.operations

    def end(self, operation, step):
        with self.lock:
            self.write(operation, step)

    def ok(self, operation, answer):
        self.end(operation, {"ok": answer})


class Writer:
    """Sends values of its own, and counts what becomes of them."""

    def __init__(self, log, seed):
        self.log, self.rng = Log(*log), random.Random(int(seed))
        self.sent, self.under_way, self.acknowledged = 0, [0] * PARTITIONS, [0] * PARTITIONS
        self.stopped, self.lock = threading.Event(), threading.Lock()
        threading.Thread(target=lambda: (sys.stdin.read(), self.stopped.set()), daemon=True).start()
        threading.Thread(target=self.tell, daemon=True).start()

    def tell(self):
        told = None
        while True:
            if told != self.acknowledged:
                told = list(self.acknowledged)
                print(*told, flush=True)
            time.sleep(TOLD_SECONDS)

    def begin(self, partition, idempotent):
        """The operation that sends the next value, and the value."""
        self.sent += 1
        value = self.log.process * VALUES + self.sent
        with self.lock:
            self.under_way[partition] += 1
        send = {"partition": partition, "values": [value], "acks": "all", "idempotent": idempotent}
        return self.log.invoke({"send": send}), value

    def end(self, operation, partition, step):
        self.log.end(operation, step)
        with self.lock:
            self.under_way[partition] -= 1
            self.acknowledged[partition] += isinstance(step, dict)

    def burst(self):
        """The partitions of the next records: one several times, as often as there is room."""
        partition = self.rng.randrange(PARTITIONS)
        return [partition] * min(self.rng.randint(1, BURST), OUTSTANDING - self.under_way[partition])


def sent(offset):
    """A retry whose first copy is known to be there may be answered without its offset."""
    return {"ok": {"sent": {"base_offset": offset if offset is not None and offset >= 0 else None}}}


def rdkafka(bootstrap, log, seed, timeout_ms):
    """An idempotent producer of librdkafka, which gives a record up after so long; 0 for never."""
    writer, fatal, promises = Writer(log, seed), threading.Event(), timeout_ms == 0

    def on_error(error):
        if error.fatal():
            print(f"fatal: {error}", file=sys.stderr, flush=True)
            fatal.set()

    settings = {"acks": "all", "enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": timeout_ms}
    settings |= {"request.timeout.ms": 1500, "retry.backoff.ms": 20, "retry.backoff.max.ms": 100, "error_cb": on_error}
    producer = Producer({"bootstrap.servers": bootstrap, **RDKAFKA, **settings})

    def send(partition):
        operation, value = writer.begin(partition, promises)

        def delivered(error, message):
            writer.end(operation, partition, "info" if error is not None else sent(message.offset()))

        try:
            producer.produce(TOPIC, payload(value), partition=partition, on_delivery=delivered)
        except BufferError:
            writer.end(operation, partition, "fail")
        except KafkaException as error:
            # After a fatal error nothing is taken; whether this was one the error does not say.
            print(f"not taken: {error}", file=sys.stderr, flush=True)
            writer.end(operation, partition, "info")
            fatal.set()

    while not writer.stopped.is_set() and not fatal.is_set():
        for partition in writer.burst():
            send(partition)
        producer.poll(0)
        time.sleep(TURN_SECONDS)
    producer.flush(0 if fatal.is_set() else FLUSH_SECONDS)
    return 3 if fatal.is_set() else 0


def kafka_python(bootstrap, log, seed, idempotent):
    """kafka-python, idempotent or one that sends every record once, one after the other."""
    writer = Writer(log, seed)
    settings = {"linger_ms": 5, "delivery_timeout_ms": GIVE_UP_MS} if idempotent else {"retries": 0, "delivery_timeout_ms": 4000}
    settings |= {"acks": "all", "enable_idempotence": idempotent, "max_block_ms": 4000}
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap.split(","), **PYTHON, **settings)

    def send(partition):
        operation, value = writer.begin(partition, idempotent)

        def failed(error):
            is_refused = not idempotent and type(error) is kafka.errors.NotEnoughReplicasError
            writer.end(operation, partition, "fail" if is_refused else "info")

        try:
            future = producer.send(TOPIC, payload(value), partition=partition)
        except kafka.errors.KafkaError:
            return writer.end(operation, partition, "info")
        future.add_callback(lambda told: writer.end(operation, partition, sent(told.offset))).add_errback(failed)

    while not writer.stopped.is_set():
        for partition in writer.burst() if idempotent else [writer.rng.randrange(PARTITIONS)]:
            if writer.under_way[partition] < OUTSTANDING:
                send(partition)
        time.sleep(2 * TURN_SECONDS if idempotent else SINGLE_SECONDS)
    try:
        producer.flush(FLUSH_SECONDS)
    except kafka.errors.KafkaTimeoutError:
        return 1
    return 0


class RdkafkaReader:
    """A consumer of librdkafka with all partitions."""

    # Where a consumer is that has read what is committed, the log cannot end before it.
    LOST = {KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION}

    def __init__(self, bootstrap, start):
        settings = {"group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error", "check.crcs": True}
        settings |= {"fetch.wait.max.ms": 200, "fetch.error.backoff.ms": 50}
        self.consumer = Consumer({"bootstrap.servers": bootstrap, **RDKAFKA, **settings})
        self.consumer.assign([TopicPartition(TOPIC, partition, offset) for partition, offset in enumerate(start)])

    def poll(self):
        """What was read, as (partition, offset, value)."""
        found = []
        for message in self.consumer.consume(1000, 0.3):
            if message.error() is None:
                found.append((message.partition(), message.offset(), value_of(message.value())))
            elif message.error().code() in self.LOST:
                sys.exit(f"partition {message.partition()}: {message.error()}")
        return found

    def bounds(self, partition):
        return self.consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=30)


class PythonReader:
    """A consumer of kafka-python with all partitions."""

    def __init__(self, bootstrap, start):
        settings = {"group_id": None, "enable_auto_commit": False, "auto_offset_reset": "none", "fetch_max_wait_ms": 200}
        self.consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap.split(","), **PYTHON, **settings)
        self.partitions = [kafka.TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
        self.consumer.assign(self.partitions)
        for partition, offset in zip(self.partitions, start):
            self.consumer.seek(partition, offset)

    def poll(self):
        # It raises when the position is out of range, for it has no way to reset it.
        batches = self.consumer.poll(300, max_records=1000).values()
        return [(m.partition, m.offset, value_of(m.value)) for batch in batches for m in batch]

    def bounds(self, partition):
        where = self.partitions[partition]
        return self.consumer.beginning_offsets([where])[where], self.consumer.end_offsets([where])[where]


def poll(reader, log, position):
    """One poll, noted of every partition that it had records of."""
    begun, found = time.monotonic_ns(), {}
    for partition, offset, value in reader.poll():
        found.setdefault(partition, []).append([offset, value])
    asked = lambda p: {"poll": {"partition": p, "from": position[p], "isolation": "read_uncommitted"}}
    operations = {p: log.invoke(asked(p), begun) for p in found}
    for partition, records in found.items():
        answer = {"records": records, "high_watermark": None, "log_start": None}
        log.ok(operations[partition], {"polled": answer})
        position[partition] = records[-1][0] + 1


def follow(reader, bootstrap, log, *start):
    log, position, stopped = Log(*log), [int(offset) for offset in start], threading.Event()
    reader = reader(bootstrap, position)
    threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    while not stopped.is_set():
        poll(reader, log, position)
    return 0


def listed(reader, log, partition):
    """The end of a partition as the reader is told it, and both ends noted."""
    operations = {at: log.invoke({"list_offsets": {"partition": partition, "at": at}}) for at in ("earliest", "latest")}
    offsets = dict(zip(operations, reader.bounds(partition)))
    for at, operation in operations.items():
        log.ok(operation, {"listed": {"offset": offsets[at]}})
    return offsets["latest"]


def scan(reader, bootstrap, log, *acknowledged):
    """Every partition from 0 to where it ends. If that does not come behind what was acknowledged, the judge will tell."""
    log, position = Log(*log), [0] * PARTITIONS
    scans = [log.invoke({"scan": {"partition": partition, "from": 0}}) for partition in range(PARTITIONS)]
    reader, begun = reader(bootstrap, position), time.monotonic()
    while time.monotonic() - begun < SCAN_SECONDS:
        ends = [listed(reader, log, partition) for partition in range(PARTITIONS)]
        deadline = time.monotonic() + SCAN_SECONDS
        while any(at < end for at, end in zip(position, ends)) and time.monotonic() < deadline:
            poll(reader, log, position)
        if all(at > int(offset) for at, offset in zip(position, acknowledged)):
            break
        time.sleep(1)
    for operation, at, end in zip(scans, position, ends):
        if at >= end:
            log.ok(operation, "scanned")
    return 0


def create(bootstrap):
    configs = {"min.insync.replicas": "2", "segment.bytes": "1048576", "retention.ms": "-1"}
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3, config=configs)])[TOPIC].result(30)
    return 0


ROLES = {
    "rdkafka": lambda *args: rdkafka(*args, 0),
    "rdkafka-gives-up": lambda *args: rdkafka(*args, 4000),
    "python": lambda *args: kafka_python(*args, True),
    "python-once": lambda *args: kafka_python(*args, False),
    "read-rdkafka": lambda *args: follow(RdkafkaReader, *args),
    "read-python": lambda *args: follow(PythonReader, *args),
    "scan-rdkafka": lambda *args: scan(RdkafkaReader, *args),
    "scan-python": lambda *args: scan(PythonReader, *args),
}

if __name__ == "__main__":
    role, bootstrap, *rest = sys.argv[1:]
    if role == "create":
        sys.exit(create(bootstrap))
    sys.exit(ROLES[role](bootstrap, rest[:2], *rest[2:]))
