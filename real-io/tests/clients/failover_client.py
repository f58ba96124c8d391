"""The load of `failover`: one producer that writes to one partition with acks=all, a record every few milliseconds.

    BOOTSTRAP TOPIC  creates the topic with three replicas, writes until its standard input closes, and prints of every
                     acknowledged record when it was handed over and when its acknowledgement came, in seconds of the
                     clock that all processes share
"""

import contextlib
import sys
import threading
import time

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

INTERVAL_SECONDS = 0.005
# librdkafka looks for a lost leader at intervals that double up to two seconds, which is longer than what is measured. So it is
# made to look all the time.
LOOK_SECONDS = 0.02
SETTINGS = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 0,
    # What a client waits on its own account is small, so that the servers' part is what shows.
    "reconnect.backoff.ms": 5,
    "reconnect.backoff.max.ms": 50,
    "retry.backoff.ms": 10,
    "retry.backoff.max.ms": 50,
    "message.timeout.ms": 0,
    "topic.metadata.propagation.max.ms": 60000,
    "log_level": 0,
}


def main(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    wanted = NewTopic(topic, 1, 3, config={"min.insync.replicas": "2"})
    admin.create_topics([wanted])[topic].result(30)
    del admin
    failures = []
    note = lambda error: failures.append(error) if error.fatal() else None
    producer = Producer({"bootstrap.servers": bootstrap, "error_cb": note, **SETTINGS})
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

    def look():
        while not stop.wait(LOOK_SECONDS):
            with contextlib.suppress(KafkaException):
                producer.list_topics(topic, timeout=0.2)

    threading.Thread(target=look, daemon=True).start()

    def write():
        sent = time.monotonic()

        def delivered(error, _message):
            if error is not None:
                failures.append(error)
            else:
                print(f"{sent:.6f} {time.monotonic():.6f}", flush=True)

        producer.produce(topic, b"x" * 100, partition=0, on_delivery=delivered)

    due = time.monotonic()
    while not stop.is_set() and not failures:
        if time.monotonic() >= due:
            try:
                write()
            except (BufferError, KafkaException) as error:
                sys.exit(str(error))
            due += INTERVAL_SECONDS
        producer.poll(max(0.0, due - time.monotonic()))
    producer.flush(30)
    sys.exit(f"{failures[0]}" if failures else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
