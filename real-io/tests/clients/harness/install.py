"""Brings what the checks need into the cache directory, once. Each step is skipped when its inputs are unchanged.

The cache is `target/clients` of the repository, or CLIENTS_CACHE. A lock keeps two runs from installing at once.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

from . import CLIENTS, REPOSITORY


def cache():
    path = pathlib.Path(os.environ.get("CLIENTS_CACHE") or REPOSITORY / "target" / "clients")
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def _lock():
    with open(cache() / "install.lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _step(what, argv, **kwargs):
    print(f"installing: {what} …", flush=True)
    start = time.monotonic()
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if done.returncode != 0:
        sys.stdout.write(done.stdout[-4000:])
        sys.exit(f"installing {what} failed with exit code {done.returncode}")
    print(f"installing: {what}: {time.monotonic() - start:.0f} s", flush=True)


def _debian(package, what):
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    _step("Debian's package lists", root + ["apt-get", "update", "-q"], env=env)
    _step(what, root + ["apt-get", "install", "-y", "-q", "--no-install-recommends", package], env=env)


def _once(name, inputs, make):
    """Runs `make(directory)` unless the cache holds `name` made from the same inputs."""
    digest = hashlib.sha256()
    for i in inputs:
        digest.update(i if isinstance(i, bytes) else pathlib.Path(i).read_bytes())
    directory = cache() / name
    stamp = directory / ".made-from"
    with _lock():
        if not stamp.exists() or stamp.read_text() != digest.hexdigest():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            make(directory)
            stamp.write_text(digest.hexdigest())
    return directory


def kcat():
    """Debian's kcat."""
    with _lock():
        if shutil.which("kcat") is None:
            _debian("kcat", "kcat")
    return shutil.which("kcat") or sys.exit("kcat is not on PATH after its installation")


def python():
    """A Python with the packages of requirements.txt."""

    def make(directory):
        venv = [sys.executable, "-m", "venv", directory]
        if subprocess.run([str(a) for a in venv], capture_output=True).returncode != 0:
            _debian("python3-venv", "python3-venv")
            _step("a virtual environment", venv)
        pip = [directory / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _step("Python clients", pip + ["--only-binary", ":all:", "-r", CLIENTS / "requirements.txt"])

    version = sys.version.encode()
    return _once("python", [CLIENTS / "requirements.txt", version], make) / "bin" / "python"


def jars():
    """The directory of Kafka's jars, which the pom names."""
    with _lock():
        if shutil.which("javac") is None:
            _debian("openjdk-17-jdk-headless", "a JDK")
        if shutil.which("mvn") is None:
            _debian("maven", "Maven")

    def make(directory):
        copy = ["mvn", "-q", "-B", "-f", CLIENTS / "pom.xml", "dependency:copy-dependencies"]
        _step("Kafka's jars", copy + [f"-DoutputDirectory={directory}"])

    return _once("jars", [CLIENTS / "pom.xml"], make)


def java_classes():
    """The directory of RoundTrip's class files."""
    libraries = jars()

    def make(directory):
        _step("RoundTrip.java", ["javac", "-cp", f"{libraries}/*", "-d", directory, CLIENTS / "RoundTrip.java"])

    return _once("java", [CLIENTS / "pom.xml", CLIENTS / "RoundTrip.java"], make)


def rdkafka():
    """The program of rdkafka-roundtrip. Cargo itself knows whether there is anything to do."""
    target = cache() / "rdkafka-roundtrip"
    manifest = CLIENTS / "rdkafka-roundtrip" / "Cargo.toml"
    with _lock():
        build = ["cargo", "build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target]
        _step("rdkafka-roundtrip", build)
    return target / "release" / "rdkafka-roundtrip"


def sordini():
    """The broker under test, as the workspace builds it."""
    build = ["cargo", "build", "--release", "--package", "sordini"]
    _step("the broker", build, cwd=REPOSITORY)
    return REPOSITORY / "target" / "release" / "sordini"
