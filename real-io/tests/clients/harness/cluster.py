"""Three controllers, and under them three Apache Kafka brokers, each a process of its own."""

import pathlib
import re

from . import free_port
from .controller import Controller
from .programs import Programs
from .server import ApacheBroker

SESSION_SECONDS = 3.0
CONTROLLER = {
    # Apache Kafka's followers are answered by an idle leader after half a second. With less patience than that they would
    # elect another one again and again, and a program that asks in between who leads does not ask a second time.
    "controller.quorum.fetch.timeout.ms": 1000,
    "controller.quorum.election.timeout.ms": 500,
    "broker.session.timeout.ms": int(SESSION_SECONDS * 1000),
    # Preferred leaders come back when they are asked to.
    "auto.leader.rebalance.enable": "false",
}
BROKER = {
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": int(SESSION_SECONDS * 1000),
    "replica.lag.time.max.ms": 5000,
    "group.initial.rebalance.delay.ms": 0,
    "offsets.topic.num.partitions": 3,
    "num.recovery.threads.per.data.dir": 1,
}


def addresses(servers):
    return ",".join(f"127.0.0.1:{s.port}" for s in servers if s.process is not None)


class Cluster:
    """Controllers 1 to 3, of this repository or of Apache Kafka, and brokers 4 to 6."""

    def __init__(self, directory, apache):
        self.directory, self.programs = pathlib.Path(directory), Programs()
        ports = [free_port() for _ in range(6)]
        self.controllers = [Controller(node, ports[:3], directory, CONTROLLER, apache) for node in (1, 2, 3)]
        self.brokers = {
            node: ApacheBroker(node, ports[node - 1], ports[:3], directory, BROKER) for node in (4, 5, 6)
        }

    @property
    def servers(self):
        return [*self.controllers, *self.brokers.values()]

    @property
    def bootstrap(self):
        return addresses(self.brokers.values())

    def start(self):
        for server in self.servers:
            server.format()
            server.start()

    def close(self):
        self.programs.close()
        for server in self.servers:
            server.kill()

    def tool(self, program, *args, at_controllers=False):
        where = ["--bootstrap-server", self.bootstrap]
        if at_controllers:
            where = ["--bootstrap-controller", addresses(self.controllers)]
        # Some programs take it before what is to be done, and some behind.
        return self.programs.run(program, *([*args, *where] if program == "kafka-cluster" else [*where, *args]))

    def states(self):
        """What list-endpoints says of each broker."""
        _, text = self.tool("kafka-cluster", "list-endpoints", "--include-fenced-brokers")
        found = re.findall(r"^(\d+)\s+127\.0\.0\.1\s+\d+\s+\S+\s+(\S+)\s+broker", text, re.MULTILINE)
        return {int(node): state for node, state in found}
