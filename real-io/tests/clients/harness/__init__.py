"""What the checks share: installing, the processes of brokers and controllers, Kafka's own programs, and the report."""

import pathlib
import socket
import threading

CLIENTS = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = CLIENTS.parent.parent.parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


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
