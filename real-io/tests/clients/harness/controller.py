"""A controller's process, and what it says for itself."""

import struct
import time

from .ask import ask, compact
from .server import Server, client_settings, quorum_settings

DESCRIBE_QUORUM, INCREMENTAL_ALTER_CONFIGS, DESCRIBE_CONFIGS = 55, 44, 32
BROKER_RESOURCE = 4


class Controller(Server):
    """One controller, of this repository or of Apache Kafka, which is a broker as well if it has a `client_port`. With
    `first`, an option of formatting, the voters stand in the log; without, every controller's configuration names them all."""

    def __init__(self, node, ports, directory, settings=(), apache=False, first=None, client_port=None):
        self.port = ports[node - 1]
        roles, listeners, clients = "controller", f"CONTROLLER://127.0.0.1:{self.port}", {}
        if client_port is not None:
            roles, listeners = "broker,controller", f"PLAINTEXT://127.0.0.1:{client_port},{listeners}"
            clients = client_settings(client_port)
        values = {
            "process.roles": roles,
            "node.id": node,
            "listeners": listeners,
            **clients,
            **quorum_settings(ports, first is None),
            **dict(settings),
        }
        super().__init__(node, directory, values, apache, [] if first is None else [first], client_port)

    def leads(self):
        """The epoch that it leads, or None."""
        body = b"\x02" + compact("__cluster_metadata") + b"\x02" + struct.pack(">i", 0) + b"\0\0\0"
        answer = ask(self.port, DESCRIBE_QUORUM, 0, body)
        if answer is None or answer.take(">h") != 0 or answer.uvarint() != 2:
            return None
        answer.text()
        answer.uvarint()
        answer.take(">i")
        error, leader, epoch = answer.take(">h"), answer.take(">i"), answer.take(">i")
        return epoch if error == 0 and leader == self.node else None

    def alter(self, key, value):
        """Sets a configuration of all brokers: 0 for done, an error code, or None when nobody knows."""
        config = compact(key) + b"\0" + compact(str(value)) + b"\0"
        resource = struct.pack(">b", BROKER_RESOURCE) + compact("") + b"\x02" + config + b"\0"
        answer = ask(self.port, INCREMENTAL_ALTER_CONFIGS, 1, b"\x02" + resource + b"\0\0", seconds=5.0)
        if answer is None:
            return None
        answer.take(">i")
        answer.uvarint()
        return answer.take(">h")

    def value(self, key):
        """What it says is set for all brokers."""
        resource = struct.pack(">b", BROKER_RESOURCE) + compact("") + b"\x02" + compact(key) + b"\0"
        answer = ask(self.port, DESCRIBE_CONFIGS, 4, b"\x02" + resource + b"\0\0\0")
        if answer is None:
            return None
        answer.take(">i")
        answer.uvarint()
        answer.take(">h")
        answer.text()
        answer.take(">b")
        answer.text()
        if answer.uvarint() != 2:
            return None
        answer.text()
        return answer.text()


def leader_among(controllers, seconds):
    """Who leads of those that run, in the newest epoch, as soon as somebody does, and after how long."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        running = [c for c in controllers if c.runs()]
        leading = [(epoch, c) for c in running if (epoch := c.leads()) is not None]
        if leading:
            return max(leading, key=lambda pair: pair[0])[1], time.monotonic() - begun
        time.sleep(0.01)
    return None, time.monotonic() - begun
