"""The load of `replication` and its judge: those of `kill9`, with a topic of three replicas.

    load BOOTSTRAP REPORT TOPIC  as kill9_client.py has it
    verify BOOTSTRAP REPORT      likewise
    refuse BOOTSTRAP TOPIC TEXT  writes a record to each partition, once, and prints what became of each
"""

import sys

import kill9_client
from confluent_kafka import Producer
from records import PARTITIONS


def load(bootstrap, report, topic):
    # It does not wait long for a leader that is paused: when that goes on, the same records have gone to another one.
    settings = {"acks": "all", "enable.idempotence": True, "request.timeout.ms": 1500, "socket.timeout.ms": 2000}
    kill9_client.load(bootstrap, report, {topic: settings}, 3, {"min.insync.replicas": "2"})


def refuse(bootstrap, topic, text):
    # Without a retry the broker's own answer is told.
    settings = {"acks": "all", "retries": 0, "message.timeout.ms": 10000, "log_level": 0}
    producer = Producer({"bootstrap.servers": bootstrap, **settings})
    told = lambda error, message: print("taken" if error is None else error.name(), flush=True)
    for partition in range(PARTITIONS):
        producer.produce(topic, text, partition=partition, on_delivery=told)
    producer.flush(20)


if __name__ == "__main__":
    {"load": load, "refuse": refuse, "verify": kill9_client.verify}[sys.argv[1]](*sys.argv[2:])
