"""A cluster of processes: controllers and brokers, and Kafka's programs that ask them."""

import pathlib
import re

from . import free_port
from .controller import Controller
from .programs import Programs
from .server import BrokerAlone

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


def addresses(ports):
    return ",".join(f"127.0.0.1:{port}" for port in ports)


class Cluster:
    """Controllers, and brokers by their ids, of this repository or of Apache Kafka. Who is both stands among both."""

    def __init__(self, directory, controllers, brokers):
        self.directory, self.programs = pathlib.Path(directory), Programs()
        self.controllers, self.brokers = controllers, brokers

    @property
    def servers(self):
        """Every process, once."""
        return list(dict.fromkeys([*self.controllers, *self.brokers.values()]))

    @property
    def bootstrap(self):
        return addresses(broker.client_port for broker in self.brokers.values() if broker.runs())

    def start(self):
        for server in self.servers:
            server.format()
            server.start()

    def close(self):
        self.programs.close()
        for server in self.servers:
            server.kill()

    def tool(self, program, *args, at=None, at_controllers=False):
        """One of Kafka's programs, told of all servers, or of one broker alone."""
        where = ["--bootstrap-server", self.bootstrap if at is None else addresses([at.client_port])]
        if at_controllers:
            where = ["--bootstrap-controller", addresses(c.port for c in self.controllers if c.runs())]
        # Some programs take it before what is to be done, and some behind.
        return self.programs.run(program, *([*args, *where] if program == "kafka-cluster" else [*where, *args]))

    def states(self):
        """What list-endpoints says of each broker."""
        _, text = self.tool("kafka-cluster", "list-endpoints", "--include-fenced-brokers")
        found = re.findall(r"^(\d+)\s+127\.0\.0\.1\s+\d+\s+\S+\s+(\S+)\s+broker", text, re.MULTILINE)
        return {int(node): state for node, state in found}


def controllers_and_brokers(directory, apache_controllers, apache_brokers, settings=()):
    """Controllers 1 to 3 and brokers 4 to 6, each a process of its own, all of them with `settings`."""
    ports = [free_port() for _ in range(6)]
    controllers = [Controller(node, ports[:3], directory, {**CONTROLLER, **dict(settings)}, apache_controllers) for node in (1, 2, 3)]
    brokers = {
        node: BrokerAlone(node, ports[node - 1], ports[:3], directory, {**BROKER, **dict(settings)}, apache_brokers) for node in (4, 5, 6)
    }
    return controllers, brokers
