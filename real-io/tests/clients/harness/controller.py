"""A controller's process, and the few requests to it that these checks send themselves, byte by byte."""

import socket
import struct
import time

from .server import Server, quorum_settings

DESCRIBE_QUORUM, INCREMENTAL_ALTER_CONFIGS, DESCRIBE_CONFIGS = 55, 44, 32
BROKER_RESOURCE = 4


def compact(text):
    data = text.encode()
    return bytes([len(data) + 1]) + data


class Answer:
    """Reads an answer from its beginning on."""

    def __init__(self, data):
        self.data = data

    def take(self, form):
        size = struct.calcsize(form)
        value, self.data = struct.unpack(form, self.data[:size])[0], self.data[size:]
        return value

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(">B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def text(self):
        length = self.uvarint() - 1
        if length < 0:
            return None
        value, self.data = self.data[:length], self.data[length:]
        return value.decode()


def ask(port, api, version, body, seconds=2.0):
    """The body of an answer, or None when there is none."""
    client = b"quorum-checks"
    request = struct.pack(">hhih", api, version, 7, len(client)) + client + b"\0" + body
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
            s.settimeout(seconds)
            s.sendall(struct.pack(">i", len(request)) + request)
            data = b""
            while len(data) < 4 or len(data) < 4 + struct.unpack(">i", data[:4])[0]:
                more = s.recv(65536)
                if not more:
                    return None
                data += more
    except OSError:
        return None
    answer = Answer(data[4:])
    if answer.take(">i") != 7:
        return None
    answer.uvarint()
    return answer


class Controller(Server):
    """One controller, of this repository or of Apache Kafka. With `first`, an option of formatting, the voters stand in the
    log; without, every controller's configuration names them all."""

    def __init__(self, node, ports, directory, settings=(), apache=False, first=None):
        self.port = ports[node - 1]
        values = {
            "process.roles": "controller",
            "node.id": node,
            "listeners": f"CONTROLLER://127.0.0.1:{self.port}",
            **quorum_settings(ports, first is None),
            **dict(settings),
        }
        super().__init__(node, directory, values, apache, [] if first is None else [first])

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
        running = [c for c in controllers if c.process is not None]
        leading = [(epoch, c) for c in running if (epoch := c.leads()) is not None]
        if leading:
            return max(leading, key=lambda pair: pair[0])[1], time.monotonic() - begun
        time.sleep(0.01)
    return None, time.monotonic() - begun
