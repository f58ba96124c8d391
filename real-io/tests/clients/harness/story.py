"""What is told of a cluster while a producer writes and its processes die, and the directory in which that happens."""

import contextlib
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from . import install
from .ask import partitions
from .cluster import Cluster
from .controller import leader_among

# From what happened to what the tools must say of it: the session and a JVM that starts are in it, on a busy machine.
SECONDS = 60.0
PARTITION = re.compile(r"Topic: (\S+)\s+Partition: (\d+)\s+Leader: (\S+)\s+Replicas: (\S*)\s+Isr: (\S*)")


@contextlib.contextmanager
def scratch(report, prefix, keep):
    """A directory, which is deleted in the end. When something failed it is kept, and the ends of its logs are shown."""
    # A signal runs the `finally` clauses, which end what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory, begun = pathlib.Path(tempfile.mkdtemp(prefix=prefix)), time.monotonic()
    is_done = False
    try:
        yield directory
        is_done = True
    finally:
        if report.failed or not is_done:
            # Those of the nodes, not of the partitions that they hold.
            for log in sorted([*directory.glob("*.log"), *directory.glob("*/*.log")]):
                print(f"---- {log.relative_to(directory)}\n" + log.read_text(errors="replace")[-2000:])
        if keep or report.failed:
            print(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    report.note(f"took {time.monotonic() - begun:.0f} s")


class Producer:
    """kcat, which is handed a record every few milliseconds and told to have it on every in-sync replica. Each has a key, so
    that it is of one partition whoever leads that, or nobody."""

    def __init__(self, bootstrap, topic, errors):
        options = ["acks=all", "enable.idempotence=true", "message.timeout.ms=120000", "linger.ms=5"]
        options += ["reconnect.backoff.max.ms=500"]
        # It does not end when every broker is away.
        argv = [install.kcat(), "-P", "-E", "-b", bootstrap, "-t", topic, "-K", ":", *(x for o in options for x in ("-X", o))]
        self.errors = open(errors, "wb")
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=self.errors, stderr=self.errors)
        self.written, self.stopping = 0, threading.Event()
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def write(self):
        try:
            while not self.stopping.wait(0.005):
                self.process.stdin.write(b"%d:record %d\n" % (self.written, self.written))
                self.process.stdin.flush()
                self.written += 1
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def finish(self):
        """How many records were handed over, and kcat's exit code: 0 when all were acknowledged."""
        self.stopping.set()
        self.thread.join()
        return self.written, self.process.wait(timeout=150)

    def kill(self):
        self.stopping.set()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.errors.close()


class Story(Cluster):
    """The cluster, and what is said of it."""

    def __init__(self, report, directory, controllers, brokers):
        super().__init__(directory, controllers, brokers)
        self.report, self.producer = report, None

    def close(self):
        if self.producer is not None:
            self.producer.kill()
        super().close()

    def produce(self, topic):
        """Writes to a topic from here on."""
        self.producer = Producer(self.bootstrap, topic, self.directory / "producer.log")

    def check(self, what, program, *args, patterns=(), at=None):
        code, text = self.tool(program, *args, at=at)
        missing = [pattern for pattern in patterns if not re.search(pattern, text, re.MULTILINE)]
        return self.report.check(
            code == 0 and not missing, what + (f": exit code {code}, {missing} not in {text!r}" if code or missing else "")
        )

    def becomes(self, what, is_so, seconds=SECONDS):
        """One check: `is_so` answers None in time, where it otherwise says what is not so."""
        begun = time.monotonic()
        while True:
            problem = is_so()
            took = time.monotonic() - begun
            if problem is None or took >= seconds:
                return self.report.check(problem is None, f"{what} ({took:.1f} s)" + (f": {problem}" if problem else ""))

    def partitions(self, *topics, at=None):
        """(topic, partition) to the leader, the replicas and the in-sync replicas."""
        only = ["--topic", "|".join(topics)] if topics else []
        _, text = self.tool("kafka-topics", "--describe", *only, at=at)
        ids = lambda text: [int(i) for i in text.split(",") if i]
        return {
            (topic, int(partition)): (int(leader) if leader.isdigit() else None, ids(replicas), ids(isr))
            for topic, partition, leader, replicas, isr in PARTITION.findall(text)
        }

    def ends(self, topic, partitions=None):
        """How many records its partitions have, or those of them that are asked for, which must have leaders."""
        only = [topic if partitions is None else ",".join(f"{topic}:{partition}" for partition in partitions)]
        _, text = self.tool("kafka-get-offsets", "--topic-partitions", *only, "--time", "-1")
        return {int(p): int(end) for p, end in re.findall(rf"^{topic}:(\d+):(\d+)$", text, re.MULTILINE)}

    def all_in_sync(self, topic, count, nodes):
        """For `becomes`: every broker that runs says that these are the in-sync replicas of each of so many partitions, and that
        one of them leads."""
        wanted = sorted(nodes)

        def problem():
            told = {n: partitions(b.client_port, topic) or {} for n, b in self.brokers.items() if b.runs()}
            is_so = lambda found: len(found) == count and all(
                leader in wanted and sorted(in_sync) == wanted for leader, _, in_sync in found.values()
            )
            return None if all(map(is_so, told.values())) else f"{told}"

        return problem

    def describe(self, topic):
        """What the first broker that runs and answers says of a topic's partitions."""
        told = (partitions(broker.client_port, topic) for broker in self.brokers.values() if broker.runs())
        return next((found for found in told if found), {})

    def unfenced(self, nodes):
        def problem():
            wanted = {node: "unfenced" if node in nodes else "fenced" for node in self.brokers}
            states = self.states()
            return None if states == wanted else f"{states}"

        return problem

    def kill_active_controller(self):
        """The controller that was killed, once another one leads."""
        leader, _ = leader_among(self.controllers, 20)
        if leader is not None:
            leader.kill()
        next_leader, took = leader_among(self.controllers, 20)
        self.report.check(
            leader is not None and next_leader is not None,
            f"the active controller is killed, another one leads after {took:.2f} s",
        )
        return leader

    def all_run(self):
        for server in self.servers:
            role = "broker" if server in self.brokers.values() else "controller"
            self.report.check(server.process.poll() is None, f"{role} {server.node} runs until the end")
