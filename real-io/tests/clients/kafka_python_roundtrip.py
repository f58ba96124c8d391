"""kafka-python, which speaks the protocol in Python itself, creates, writes and reads back its topics."""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from records import CODECS, PARTITIONS, Reading, Topic, arguments, say, say_reading

# What each codec's producer promises differs, so that all kinds meet the broker.
PRODUCERS = {
    "none": {},
    "gzip": {"acks": 1, "enable_idempotence": False},
    "snappy": {"acks": "all", "enable_idempotence": False},
    "lz4": {"enable_idempotence": True},
    "zstd": {"acks": 1, "enable_idempotence": False},
}
args = arguments(__doc__)


def write(topic, codec):
    compression = None if codec == "none" else codec
    producer = KafkaProducer(
        bootstrap_servers=args.bootstrap, compression_type=compression, linger_ms=10, batch_size=65536, **PRODUCERS[codec]
    )
    futures = []
    for i in range(topic.count):
        r = topic.record(i)
        futures.append(
            producer.send(topic.name, r.value, r.key, r.headers, partition=r.partition, timestamp_ms=r.timestamp)
        )
    producer.flush(args.seconds)
    for f in futures:
        f.get(1)
    producer.close(10)


def read(c, topic, starts=None):
    reading = Reading(topic, starts)
    partitions = [TopicPartition(topic.name, p) for p in range(PARTITIONS)]
    c.assign(partitions)
    for p in partitions:
        c.seek(p, starts[p.partition] if starts else 0)
    deadline = time.monotonic() + args.seconds
    while not reading.done() and time.monotonic() < deadline:
        for batch in c.poll(200, max_records=2000).values():
            for m in batch:
                if m.timestamp_type != 0:
                    reading.fail(m.partition, m.offset, f"timestamp type is {m.timestamp_type}, not 0")
                reading.take(m.partition, m.offset, m.timestamp, m.key, m.value, [(k, v) for k, v in m.headers])
    return reading


topics = {codec: Topic(f"kafkapython-{codec}", args.count, args.base_ms) for codec in CODECS}
admin = KafkaAdminClient(bootstrap_servers=args.bootstrap)
admin.create_topics([NewTopic(t.name, PARTITIONS, 1) for t in topics.values()])
listed = set(admin.list_topics())
say(listed >= {t.name for t in topics.values()}, "its topics are created and listed")
admin.close()

c = KafkaConsumer(bootstrap_servers=args.bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="none")
for codec, topic in topics.items():
    try:
        write(topic, codec)
        say_reading(read(c, topic), f"{topic.count} records written and read back")
        middle = [len(o) // 2 for o in topic.by_partition()]
        say_reading(read(c, topic, middle), f"read again from offsets {middle}")
        got = c.end_offsets([TopicPartition(topic.name, p) for p in range(PARTITIONS)])
        got = [got[TopicPartition(topic.name, p)] for p in range(PARTITIONS)]
        want = [len(o) for o in topic.by_partition()]
        say(got == want, f"{topic.name}: end offsets are {got} (expected {want})")
    except Exception as e:
        say(False, f"{topic.name}: {type(e).__name__}: {e}")
c.close()
