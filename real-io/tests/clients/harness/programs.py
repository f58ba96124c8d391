"""Kafka's command-line programs, one after the other in one JVM: a JVM for each would take most of the time."""

import queue
import subprocess
import threading

from . import CLIENTS, install
from .server import JAVA

# What they are called in Apache Kafka's `bin`, and their classes.
PROGRAMS = {
    "kafka-acls": "org.apache.kafka.tools.AclCommand",
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-dump-log": "org.apache.kafka.tools.DumpLogSegments",
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
}


class Programs:
    """A JVM that runs `Tools.java`, started when it is first needed and again after a program took it along."""

    def __init__(self):
        self.process = self.lines = None

    def _start(self):
        argv = JAVA + ["-cp", f"{install.jars()}/*", str(CLIENTS / "Tools.java")]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.lines = queue.Queue()

        def read(process, lines):
            for line in process.stdout:
                lines.put(line.decode(errors="replace").rstrip("\n"))
            lines.put(None)

        threading.Thread(target=read, args=(self.process, self.lines), daemon=True).start()

    def run(self, program, *args, seconds=60.0):
        """Exit code and everything printed. A program that hangs counts as exit code -1."""
        if self.process is None:
            self._start()
        self.process.stdin.write("\t".join([PROGRAMS[program], *map(str, args)]).encode() + b"\n")
        self.process.stdin.flush()
        printed = []
        while True:
            try:
                line = self.lines.get(timeout=seconds)
            except queue.Empty:
                self.close()
                return -1, "\n".join([*printed, f"still running after {seconds} s"])
            if line is None:
                # It ended the JVM itself.
                code = self.process.wait()
                self.process = None
                return code, "\n".join(printed)
            if line.startswith("\x01"):
                return int(line[1:]), "\n".join(printed)
            printed.append(line)

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
