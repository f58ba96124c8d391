"""The load of `replication` and of `mixed`, and its judge: those of `kill9`, with a topic of three replicas.

    load BOOTSTRAP REPORT TOPIC    as kill9_client.py has it
    gentle BOOTSTRAP REPORT TOPIC  likewise, with less at a time
    verify BOOTSTRAP REPORT        likewise
    refuse BOOTSTRAP TOPIC TEXT    writes a record to each partition, once, and prints what became of each
"""

import sys

import kill9_client
from confluent_kafka import Producer
from records import PARTITIONS


# It does not wait long for a leader that is paused: when that goes on, the same records have gone to another one.
SETTINGS = {"acks": "all", "enable.idempotence": True, "request.timeout.ms": 1500, "socket.timeout.ms": 2000}
CONFIGS = {"min.insync.replicas": "2"}
# Of a gentle load, in each turn.
FEW = 2


def load(bootstrap, report, topic):
    kill9_client.load(bootstrap, report, {topic: SETTINGS}, 3, CONFIGS)


def gentle(bootstrap, report, topic):
    # A broker may learn that it leads between two requests, refuse the first one and answer OUT_OF_ORDER_SEQUENCE_NUMBER to the
    # second. librdkafka then begins another producer epoch, in which it repeats what is under way to all other partitions, and
    # no broker can tell that it has that already. Where leaders are elected all the time, one request is under way.
    settings = {**SETTINGS, "max.in.flight.requests.per.connection": 1}
    kill9_client.load(bootstrap, report, {topic: settings}, 3, CONFIGS, FEW)


def refuse(bootstrap, topic, text):
    # Without a retry the broker's own answer is told.
    settings = {"acks": "all", "retries": 0, "message.timeout.ms": 10000, "log_level": 0}
    producer = Producer({"bootstrap.servers": bootstrap, **settings})
    told = lambda error, message: print("taken" if error is None else error.name(), flush=True)
    for partition in range(PARTITIONS):
        producer.produce(topic, text, partition=partition, on_delivery=told)
    producer.flush(20)


if __name__ == "__main__":
    {"load": load, "gentle": gentle, "refuse": refuse, "verify": kill9_client.verify}[sys.argv[1]](*sys.argv[2:])
