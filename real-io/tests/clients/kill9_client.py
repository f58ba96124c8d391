"""The load of `kill9`, and the judge of what is left of it. Both speak through confluent-kafka (librdkafka).

    load BOOTSTRAP REPORT          writes until its standard input closes, prints how many records of each
                                   producer were acknowledged so far, then waits for the rest and leaves REPORT
    verify BOOTSTRAP REPORT KILLS  reads everything back; KILLS holds the moments at which the broker was killed

One producer writes with acks=1 and one request in flight, so that a retry cannot overtake; another is idempotent.
Each writes numbered records, round robin over the partitions of its topic, and never gives a record up.
"""

import array
import pickle
import struct
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from records import PARTITIONS, POOL, POOL_BYTES, splitmix64

TOPICS = {
    "kill9-acks1": {"acks": "1", "max.in.flight.requests.per.connection": 1},
    "kill9-idempotent": {"enable.idempotence": True},
}
# Records of one producer that are neither acknowledged nor given up.
OUTSTANDING = 3000
# Records of one producer per turn of the loop, 2 ms: enough to keep requests under way, few enough to judge all.
TURN = 40
FLUSH_SECONDS = 60


def value(partition, number):
    """The number, then up to 600 bytes of noise."""
    draw = splitmix64(number * PARTITIONS + partition)
    size, at = draw % 601, (draw >> 16) % (POOL_BYTES - 601)
    return struct.pack(">q", number) + POOL[at : at + size]


class Load:
    """One producer and what became of each record: when it was sent, when acknowledged (0: never), and where."""

    def __init__(self, bootstrap, topic, settings, records):
        self.topic, self.records = topic, records
        self.sent = [array.array("d") for _ in range(PARTITIONS)]
        self.acked = [array.array("d") for _ in range(PARTITIONS)]
        self.offsets = [array.array("q") for _ in range(PARTITIONS)]
        self.count = 0
        self.turn = -1
        self.outstanding = 0
        self.failures = []
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 1,
                "reconnect.backoff.ms": 5,
                "reconnect.backoff.max.ms": 50,
                "retry.backoff.ms": 10,
                "retry.backoff.max.ms": 50,
                "message.timeout.ms": 0,
                "topic.metadata.propagation.max.ms": 60000,
                "log_level": 0,
                "error_cb": self.error,
                **settings,
            }
        )

    def error(self, error):
        if error.fatal():
            self.failures.append(f"fatal: {error}")

    def send_some(self):
        """Sends what a turn has, up to the limits."""
        for _ in range(min(self.records, OUTSTANDING - self.outstanding)):
            p = self.turn = (self.turn + 1) % PARTITIONS
            number = len(self.sent[p])
            self.sent[p].append(time.monotonic())
            self.acked[p].append(0.0)
            self.offsets[p].append(-1)

            def delivered(error, message, p=p, number=number):
                self.outstanding -= 1
                if error is not None:
                    self.failures.append(f"{self.topic}-{p} record {number}: {error}")
                    return
                self.acked[p][number] = time.monotonic()
                # librdkafka does not tell the offset of a record whose acknowledgement is in that of a later one.
                self.offsets[p][number] = -1 if message.offset() is None else message.offset()
                self.count += 1

            self.producer.produce(self.topic, value(p, number), partition=p, on_delivery=delivered)
            self.outstanding += 1


def load(bootstrap, report, topics=TOPICS, replicas=1, configs=(), records=TURN):
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    # Small segments, so that kills meet segments as they are rolled.
    settings = {"segment.bytes": "1048576", "retention.ms": "-1", **dict(configs)}
    made = admin.create_topics([NewTopic(t, PARTITIONS, replicas, config=settings) for t in topics])
    for future in made.values():
        future.result(30)
    del admin
    loads = [Load(bootstrap, topic, settings, records) for topic, settings in topics.items()]
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    told = None
    while not stop.is_set():
        for one in loads:
            try:
                one.producer.poll(0)
                if not one.failures:
                    one.send_some()
            except KafkaException as e:
                sys.exit(f"{one.topic}: {e}")
        counts = [one.count for one in loads]
        if counts != told:
            print(*counts, flush=True)
            told = counts
        time.sleep(0.002)
    for one in loads:
        one.producer.flush(FLUSH_SECONDS)
    with open(report, "wb") as f:
        pickle.dump({o.topic: (o.sent, o.acked, o.offsets, o.failures) for o in loads}, f)


def watermarks(consumer, where):
    """The first offset and the end of a partition. A leader that was just elected may not know yet how far its log was
    replicated (KIP-207), and librdkafka asks a few times only."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return consumer.get_watermark_offsets(where, timeout=30)
        except KafkaException as e:
            if e.args[0].code() != KafkaError.OFFSET_NOT_AVAILABLE or time.monotonic() > deadline:
                raise


def verify(bootstrap, report, kills_file=None):
    with open(report, "rb") as f:
        loads = pickle.load(f)
    kills = [] if kills_file is None else [float(line) for line in open(kills_file)]
    settings = {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "error", "check.crcs": True})
    for topic, (sent, acked, offsets, failures) in loads.items():
        idempotent = "idempotent" in topic
        problems = failures[:5]
        lost = duplicates = unexplained = 0
        total = sum(1 for of in acked for a in of if a)
        for p in range(PARTITIONS):
            where = TopicPartition(topic, p)
            low, high = watermarks(consumer, where)
            if low != 0:
                problems.append(f"{topic}-{p} begins at offset {low}")
            consumer.assign([TopicPartition(topic, p, low)])
            copies = array.array("H", bytes(2 * len(sent[p])))
            log = array.array("q")
            deadline = time.monotonic() + 120
            while len(log) < high - low and time.monotonic() < deadline:
                for m in consumer.consume(10000, 0.5):
                    if m.error() is not None:
                        problems.append(f"{topic}-{p}: {m.error()}")
                        continue
                    data = m.value()
                    number = struct.unpack(">q", data[:8])[0] if data and len(data) >= 8 else -1
                    if not 0 <= number < len(copies) or data != value(p, number):
                        problems.append(f"{topic}-{p} at offset {m.offset()}: not what was written as {number}")
                        number = -1
                    else:
                        copies[number] += 1
                    if m.offset() != len(log):
                        problems.append(f"{topic}-{p} at offset {m.offset()}: expected offset {len(log)}")
                    log.append(number)
            if len(log) != high:
                problems.append(f"{topic}-{p}: read {len(log)} of {high} records")
            previous = -1
            for offset, number in enumerate(log):
                # A retry of what was not acknowledged goes back; nothing may jump ahead.
                if number > previous + 1 or (idempotent and number != previous + 1):
                    problems.append(f"{topic}-{p} at offset {offset}: {number} follows {previous}")
                previous = number
            for number in range(len(copies)):
                duplicates += max(copies[number] - 1, 0)
                if acked[p][number]:
                    lost += copies[number] == 0
                    at = offsets[p][number]
                    if at >= 0 and (at >= len(log) or log[at] != number):
                        problems.append(f"{topic}-{p}: {number} was acknowledged at offset {at}, which is not it")
                if copies[number] > 1:
                    end = acked[p][number] or float("inf")
                    retries = 0 if idempotent else sum(1 for k in kills if sent[p][number] <= k <= end)
                    unexplained += max(copies[number] - 1 - retries, 0)
        unacknowledged = sum(1 for of in acked for a in of if not a)
        if unacknowledged:
            problems.append(f"{unacknowledged} records were never acknowledged, up to {FLUSH_SECONDS} s after the end")
        print(("ok " if lost == 0 and total else "FAIL ") + f"{topic}: acknowledged {total}, lost {lost}")
        words = "no record twice" if idempotent else "no record twice but those retried without an acknowledgement"
        print(("ok " if unexplained == 0 else "FAIL ") + f"{topic}: {words} (copies {duplicates}, unexplained {unexplained})")
        text = f"{topic}: every record as written, in order, at the offset it was acknowledged with"
        print(("ok " if not problems else "FAIL ") + text + "".join(f"; {x}" for x in problems[:5]), flush=True)
    consumer.close()


if __name__ == "__main__":
    {"load": load, "verify": verify}[sys.argv[1]](*sys.argv[2:])
