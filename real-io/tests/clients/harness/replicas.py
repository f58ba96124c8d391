"""A topic whose partitions have three replicas each, a load that writes to it, and the judge of what is left of it."""

import subprocess

from . import CLIENTS, install
from .broker import answers
from .cluster import addresses
from .progress import Progress
from .story import SECONDS, Story

TOPIC = "replicated-idempotent"


class Replicas(Story):
    """The cluster and its load, which is `replication_client.py`."""

    def __init__(self, report, directory, controllers, brokers, partitions):
        super().__init__(report, directory, controllers, brokers)
        self.client = [str(install.python()), "-B", str(CLIENTS / "replication_client.py")]
        self.everywhere = addresses(broker.client_port for broker in brokers.values())
        self.count, self.written = partitions, str(directory / "written")
        self.load = self.progress = None

    def close(self):
        if self.load is not None:
            self.load.kill()
            self.load.wait()
        super().close()

    def begin(self, who, load="load"):
        """Starts all of them, and one of the client's loads."""
        self.start()
        up = lambda: all(answers(broker.client_port) for broker in self.brokers.values())
        self.becomes(f"{who} start", lambda: None if up() else "not all of them serve")
        argv = [*self.client, load, self.everywhere, self.written, TOPIC]
        self.load = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.progress = Progress(self.load, 1)
        self.report.check(self.progress.wait_more(SECONDS), "records are acknowledged")
        self.becomes("every partition has three replicas in sync", self.in_sync(self.brokers))

    def end(self):
        """The load ends once everything is acknowledged."""
        self.load.stdin.close()
        code = self.load.wait(timeout=180)
        self.report.check(code == 0, f"the producer ends (exit code {code})")

    def ask(self, what, *args):
        """What the client prints, and its exit code."""
        done = subprocess.run([*self.client, what, self.everywhere, *args], stdout=subprocess.PIPE, timeout=500, text=True)
        return done.stdout.splitlines(), done.returncode

    def verify(self):
        """What was acknowledged is there, once and in order, says whoever leads."""
        lines, code = self.ask("verify", self.written)
        for line in lines:
            word, _, text = line.partition(" ")
            self.report.check(word == "ok", text)
        self.report.check(code == 0 and len(lines) == 3, f"the records are judged (exit code {code})")

    def in_sync(self, nodes):
        return self.all_in_sync(TOPIC, self.count, nodes)

    def described(self):
        return self.describe(TOPIC)

    def same_bytes(self, topic, partition):
        """When nobody runs any more: the logs, which must be one another's copies."""
        logs = [broker.partition_log(topic, partition) for broker in self.brokers.values()]
        is_same = len(logs[0]) > 0 and all(other == logs[0] for other in logs)
        sizes = " ".join(str(len(it)) for it in logs)
        self.report.check(is_same, f"{topic}-{partition} has the same bytes on all brokers ({sizes})")
        return logs
