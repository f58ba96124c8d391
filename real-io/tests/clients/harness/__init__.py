"""What the checks share: installing, the processes of brokers and controllers, Kafka's own programs, and the report."""

import pathlib
import random
import socket
import threading

CLIENTS = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = CLIENTS.parent.parent.parent


GIVEN = set()


def free_port():
    """A port that nobody listens on, and from which no connection goes out: one would have it before the server does."""
    while True:
        port = random.randint(10_000, 32_000)
        with socket.socket() as s:
            if port not in GIVEN and s.connect_ex(("127.0.0.1", port)) != 0:
                GIVEN.add(port)
                return port


class Report:
    """One line per check as it is decided, and the closing line that counts them."""

    def __init__(self):
        self.passed = self.failed = 0
        self.lock = threading.Lock()

    def check(self, ok, text):
        with self.lock:
            if ok:
                self.passed += 1
            else:
                self.failed += 1
            print(("ok    " if ok else "FAIL  ") + text, flush=True)
        return ok

    def note(self, text):
        with self.lock:
            print("      " + text, flush=True)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0
