"""The process of one node of a cluster, of this repository or of Apache Kafka."""

import os
import pathlib
import signal
import subprocess

from . import install

CLUSTER = "5L6g3nShT-eMCtK--X86sw"
JAVA = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


def quorum_settings(ports, with_voters=True):
    """How a node is told of the controllers, whose ids are 1, 2, and so on: who votes, or only where to ask."""
    servers = [f"127.0.0.1:{port}" for port in ports]
    voters = [f"{i + 1}@{server}" for i, server in enumerate(servers)]
    quorum = ("voters", voters) if with_voters else ("bootstrap.servers", servers)
    return {"controller.listener.names": "CONTROLLER", f"controller.quorum.{quorum[0]}": ",".join(quorum[1])}


class Server:
    """One node: its configuration, its directory, and the process that runs on it, if any."""

    def __init__(self, node, directory, values, apache, format_options=(), client_port=None):
        """`client_port` is where it serves clients, if it is a broker."""
        self.node, self.apache, self.format_options, self.client_port = node, apache, format_options, client_port
        self.dir = pathlib.Path(directory) / f"{'kafka' if apache else 'node'}{node}"
        self.log_path = self.dir.with_suffix(".log")
        self.properties = self.dir.with_suffix(".properties")
        self.programs = install.jars() if apache else install.sordini()
        values = {**values, "log.dirs": self.dir}
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        self.process, self.is_frozen = None, False

    def command(self, what):
        if not self.apache:
            more = ["--cluster-id", CLUSTER, *self.format_options] if what == "format" else []
            return [str(self.programs), what, "--config", str(self.properties), *more]
        java = JAVA + ["-cp", f"{self.programs}/*"]
        if what == "format":
            format_ = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self.properties)]
            return [*java, *format_, *self.format_options]
        return java + ["kafka.Kafka", str(self.properties)]

    def format(self):
        subprocess.run(self.command("format"), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def directory_id(self):
        lines = (self.dir / "meta.properties").read_text().splitlines()
        return next(line.split("=", 1)[1] for line in lines if line.startswith("directory.id="))

    def partition_log(self, topic, partition):
        """What is in the segments, one after the other: each replica begins a new one where its own appends make it."""
        return b"".join(file.read_bytes() for file in sorted((self.dir / f"{topic}-{partition}").glob("*.log")))

    def start(self):
        assert self.process is None
        self.is_frozen = False
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command("start"), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def runs(self):
        """It was started, and nothing was done to it since."""
        return self.process is not None and not self.is_frozen

    def kill(self):
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.process = None

    def freeze(self):
        """It does nothing until it is thawed, and says nothing of that."""
        self.process.send_signal(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)
        self.is_frozen = False

    def stop(self):
        """Ends it as an operator does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process = None
        return code


def client_settings(port):
    """How a broker is told where its clients find it."""
    return {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}", "inter.broker.listener.name": "PLAINTEXT"}


class BrokerAlone(Server):
    """A broker without a controller, of this repository or of Apache Kafka, whose controllers are anybody's."""

    def __init__(self, node, port, controllers, directory, settings=(), apache=False):
        self.port = port
        values = {
            "process.roles": "broker",
            "node.id": node,
            "listeners": f"PLAINTEXT://127.0.0.1:{port}",
            **client_settings(port),
            **quorum_settings(controllers),
            **dict(settings),
        }
        super().__init__(node, directory, values, apache, client_port=port)
