"""confluent-kafka (librdkafka) creates, writes and reads back its topics."""

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from records import CODECS, PARTITIONS, Reading, Topic, arguments, say, say_reading

# What each codec's producer promises differs, so that all kinds meet the broker.
PRODUCERS = {
    "none": {"enable.idempotence": True},
    "gzip": {"acks": "1"},
    "snappy": {"acks": "all"},
    "lz4": {"enable.idempotence": True},
    "zstd": {"acks": "1", "linger.ms": 20},
}
args = arguments(__doc__)


def write(topic, codec):
    settings = {"bootstrap.servers": args.bootstrap, "compression.type": codec, **PRODUCERS[codec]}
    producer = Producer(settings)
    errors = []

    def delivered(error, message):
        if error is not None:
            errors.append(str(error))

    for i in range(topic.count):
        r = topic.record(i)
        while True:
            try:
                producer.produce(
                    topic.name, r.value, r.key, r.partition, on_delivery=delivered, timestamp=r.timestamp, headers=r.headers
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(args.seconds)
    if left or errors:
        raise RuntimeError(f"{left} records not delivered, {len(errors)} errors: {errors[:3]}")


def consumer():
    # A group id is required for assign(), but no group is joined and no offset committed.
    settings = {"bootstrap.servers": args.bootstrap, "group.id": "unused", "enable.auto.commit": False}
    return Consumer({**settings, "auto.offset.reset": "error", "enable.partition.eof": False})


def read(c, topic, starts=None):
    reading = Reading(topic, starts)
    begin = starts or [OFFSET_BEGINNING] * PARTITIONS
    c.assign([TopicPartition(topic.name, p, begin[p]) for p in range(PARTITIONS)])
    deadline = time.monotonic() + args.seconds
    while not reading.done() and time.monotonic() < deadline:
        for m in c.consume(1000, 0.2):
            if m.error() is not None:
                raise RuntimeError(f"reading {topic.name}: {m.error()}")
            reading.take(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers() or [])
    return reading


admin = AdminClient({"bootstrap.servers": args.bootstrap})
topics = {codec: Topic(f"confluent-{codec}", args.count, args.base_ms) for codec in CODECS}
created = admin.create_topics([NewTopic(t.name, PARTITIONS, 1) for t in topics.values()], operation_timeout=10)
for name, future in created.items():
    future.result(args.seconds)
again = admin.create_topics([NewTopic("confluent-none", PARTITIONS, 1)])["confluent-none"]
error = again.exception(args.seconds)
code = error.args[0].code() if error else None
say(code == KafkaError.TOPIC_ALREADY_EXISTS, f"creating a topic that exists is refused ({error})")
listed = admin.list_topics(timeout=args.seconds).topics
missing = sorted({topic.name for topic in topics.values()} - set(listed))
say(not missing, f"all topics are listed (missing: {missing})")

c = consumer()
for codec, topic in topics.items():
    try:
        write(topic, codec)
        say_reading(read(c, topic), f"{topic.count} records written and read back")
        middle = [len(o) // 2 for o in topic.by_partition()]
        say_reading(read(c, topic, middle), f"read again from offsets {middle}")
        # Timestamps rise with the index, so this names the first record at or after the middle of each partition.
        at = args.base_ms + args.count // 2
        want = [sum(1 for i in o if i < args.count // 2) for o in topic.by_partition()]
        found = c.offsets_for_times([TopicPartition(topic.name, p, at) for p in range(PARTITIONS)], timeout=20)
        got = [t.offset for t in sorted(found, key=lambda t: t.partition)]
        say(got == want, f"{topic.name}: offsets for a timestamp are {got} (expected {want})")
        got = [c.get_watermark_offsets(TopicPartition(topic.name, p), timeout=20) for p in range(PARTITIONS)]
        want = [(0, len(o)) for o in topic.by_partition()]
        say(got == want, f"{topic.name}: first and end offsets are {got} (expected {want})")
    except Exception as e:
        say(False, f"{topic.name}: {e}")
c.close()
