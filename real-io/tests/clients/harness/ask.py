"""The few requests that these checks send themselves, byte by byte."""

import socket
import struct

METADATA = 3


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

    def ids(self):
        return [self.take(">i") for _ in range(self.uvarint() - 1)]


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


def leaders(port, topic):
    """Each partition's leader (None without one) and its epoch, of what `partitions` answers."""
    found = partitions(port, topic)
    return found and {partition: (leader, epoch) for partition, (leader, epoch, _) in found.items()}


def partitions(port, topic):
    """What the broker at this port says of a topic: its partitions, each with its leader (None without one), the leader's
    epoch, and the replicas in sync. None when it does not answer, nothing of a topic that it does not know."""
    body = b"\x02" + compact(topic) + b"\0\0\0\0\0"
    answer = ask(port, METADATA, 9, body)
    if answer is None:
        return None
    answer.take(">i")
    for _ in range(answer.uvarint() - 1):
        answer.take(">i")
        answer.text()
        answer.take(">i")
        answer.text()
        answer.uvarint()
    answer.text()
    answer.take(">i")
    found = {}
    for _ in range(answer.uvarint() - 1):
        answer.take(">h")
        answer.text()
        answer.take(">b")
        for _ in range(answer.uvarint() - 1):
            error, partition, leader, epoch = (answer.take(form) for form in (">h", ">i", ">i", ">i"))
            _replicas, in_sync, _offline = answer.ids(), answer.ids(), answer.ids()
            answer.uvarint()
            found[partition] = (leader if error == 0 and leader >= 0 else None, epoch, in_sync)
        answer.take(">i")
        answer.uvarint()
    return found
