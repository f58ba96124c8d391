"""The broker's process: started on a directory and a port, waited for, stopped or killed."""

import os
import pathlib
import shlex
import signal
import socket
import struct
import subprocess
import time

from . import install

# {data_dir} and {port} are filled in.
SORDINI = "{sordini} dev --data-dir {data_dir} --port {port} --host 127.0.0.1"


def answers(port, seconds=1.0):
    """Whether the port answers ApiVersions version 0 without an error."""
    client = b"clients-run"
    request = struct.pack(">hhih", 18, 0, 1, len(client)) + client
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
            s.sendall(struct.pack(">i", len(request)) + request)
            data = b""
            while len(data) < 10:
                more = s.recv(4096)
                if not more:
                    return False
                data += more
    except OSError:
        return False
    _, correlation, error = struct.unpack(">iih", data[:10])
    return correlation == 1 and error == 0


class Broker:
    """One data directory and port, and the process that serves them, if any."""

    def __init__(self, command, data_dir, port, log_path):
        """`command` is a template, or None for the broker of this repository."""
        self.ours = command is None
        template = command or SORDINI.replace("{sordini}", shlex.quote(str(install.sordini())))
        values = {"data_dir": shlex.quote(str(data_dir)), "port": str(port)}
        for name, value in values.items():
            template = template.replace("{" + name + "}", value)
        self.argv = shlex.split(template)
        self.data_dir, self.port, self.log_path = pathlib.Path(data_dir), port, pathlib.Path(log_path)
        self.process = None

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def spawn(self):
        assert self.process is None
        self.log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.spawned = time.monotonic()

    def is_ready(self):
        """The port answers and, if it is this repository's broker, it has said that it is ready."""
        if not answers(self.port):
            return False
        return not self.ours or b"ready" in self.log().lower()

    def log(self):
        with open(self.log_path, "rb") as f:
            f.seek(self.log_from)
            return f.read()

    def wait_ready(self, seconds=60.0):
        """Seconds from the start to the first answer, or None when it died or stayed silent."""
        while time.monotonic() - self.spawned < seconds:
            if self.process.poll() is not None:
                return None
            if self.is_ready():
                return time.monotonic() - self.spawned
            time.sleep(0.002)
        return None

    def kill(self):
        """SIGKILL, and waits until the process is gone."""
        if self.process is not None:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self, seconds=60.0):
        """SIGTERM. The exit code and the seconds it took, or None when it did not stop."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        self.process = None
        return code, time.monotonic() - start
