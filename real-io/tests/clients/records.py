"""The records every client writes, as a function of (topic, index).

`records.py`, `RoundTrip.java` and `rdkafka-roundtrip/src/main.rs` say the same thing three times, so that
a client in one language can judge what a client in another wrote without either telling the other.

* `POOL` is 512 KiB of noise: the 64-bit word at index j is `splitmix64(j)`, little-endian.
* `draw(topic, i, k)` is `splitmix64(fnv1a64(topic) + 16 * i + k)`, everything modulo 2^64.
* Partition: `draw 0 mod 4`.
* Key: null where `i % 10 == 3`, empty where `i % 10 == 4`; else the text `topic/i/` and up to 23 bytes of noise.
* Value: null where `i % 50` is 13 (with a null key) or 37, empty where it is 24 (with an empty key) or 48;
  else `draw 3 mod 2049` bytes, and at `i % 2500 == 2499` 100 KiB and up to 200 KiB more. Half of them are noise,
  which no codec makes smaller, half are the text `topic i ` over and over.
* Headers by `i % 5`: none; one of noise; one key three times with another between; a null and an empty value;
  names that are not ASCII, and an empty name.
* Timestamp: the time the run began, in milliseconds, plus i.

Topics of kcat differ where its command line leaves no choice. One run of it sends one group of records (a tenth
of the topic), with one partition (`group % 4`), one set of headers (by `group % 5`, values as text), and says
once for all of them whether something empty is null (even groups) or empty (odd groups). It sets no timestamp.
kafka-python refuses a null header value, and a null value with a null key: its topics have empty ones instead.
"""

import struct

MASK = (1 << 64) - 1
PARTITIONS = 4
KCAT_GROUPS = 10
POOL_BYTES = 512 * 1024
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def splitmix64(x):
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def fnv1a64(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & MASK
    return h


POOL = struct.pack("<%dQ" % (POOL_BYTES // 8), *(splitmix64(j) for j in range(POOL_BYTES // 8)))


class Record:
    __slots__ = ("index", "partition", "key", "value", "headers", "timestamp")

    def __init__(self, index, partition, key, value, headers, timestamp):
        self.index, self.partition, self.key, self.value = index, partition, key, value
        self.headers, self.timestamp = headers, timestamp


class Topic:
    """All records of one topic. `timestamp` of a record is None where the writer could not choose it."""

    def __init__(self, name, count, base_ms):
        self.name, self.count, self.base_ms = name, count, base_ms
        self.seed = fnv1a64(name.encode())
        self.kcat, self.kafka_python = name.startswith("kcat-"), name.startswith("kafkapython-")

    def draw(self, i, k):
        return splitmix64((self.seed + 16 * i + k) & MASK)

    def noise(self, size, draw):
        at = draw % (POOL_BYTES - size)
        return POOL[at : at + size]

    def group(self, i):
        return i * KCAT_GROUPS // self.count

    def partition(self, i):
        return self.group(i) % PARTITIONS if self.kcat else self.draw(i, 0) % PARTITIONS

    def headers(self, i):
        if self.kcat:
            g = self.group(i)
            return [
                [],
                [("h", b"value-%d" % g)],
                [("dup", b"first"), ("other", b"%d" % g), ("dup", b"second"), ("dup", b"")],
                [("null", None), ("empty", b"")],
                [("schl\u00fcssel", "wert-\u2713".encode())],
            ][g % 5]
        kind = i % 5
        if kind == 0:
            return []
        if kind == 1:
            return [("h", self.noise(self.draw(i, 6) % 33, self.draw(i, 7)))]
        if kind == 2:
            return [("dup", b"first"), ("other", b"%d" % i), ("dup", b"second"), ("dup", b"")]
        if kind == 3:
            return [("null", b"" if self.kafka_python else None), ("empty", b"")]
        return [("schl\u00fcssel", "wert-\u2713".encode()), ("", b"x")]

    def key(self, i):
        if i % 10 == 3:
            return None
        if i % 10 == 4:
            return b""
        return f"{self.name}/{i}/".encode() + self.noise(self.draw(i, 1) % 24, self.draw(i, 2))

    def value(self, i):
        if i % 50 in (13, 37):
            return b"" if self.kafka_python and i % 50 == 13 else None
        if i % 50 in (24, 48):
            return b""
        size = self.draw(i, 3) % 2049
        if i % 2500 == 2499:
            size = 102400 + self.draw(i, 3) % 204801
        if self.draw(i, 4) % 2 == 1:
            return self.noise(size, self.draw(i, 5))
        text = f"{self.name} {i} ".encode()
        return (text * (size // len(text) + 1))[:size]

    def record(self, i):
        key, value = self.key(i), self.value(i)
        if self.kcat:
            blank = None if self.group(i) % 2 == 0 else b""
            key, value = key or blank, value or blank
        timestamp = None if self.kcat else self.base_ms + i
        return Record(i, self.partition(i), key, value, self.headers(i), timestamp)

    def by_partition(self):
        """The indexes of each partition, in the order of their offsets 0, 1, 2, …"""
        out = [[] for _ in range(PARTITIONS)]
        for i in range(self.count):
            out[self.partition(i)].append(i)
        return out


def difference(expected, partition, offset, offset_expected, timestamp, key, value, headers):
    """What differs between a record as read and as written, as a sentence, or None."""
    if partition != expected.partition:
        return f"partition is {partition}, not {expected.partition}"
    if offset != offset_expected:
        return f"offset is {offset}, not {offset_expected}"
    if expected.timestamp is not None and timestamp != expected.timestamp:
        return f"timestamp is {timestamp}, not {expected.timestamp}"
    for what, got, want in (("key", key, expected.key), ("value", value, expected.value)):
        if got != want:
            return f"{what} is {brief(got)}, not {brief(want)}"
    if headers != expected.headers:
        return f"headers are {headers}, not {expected.headers}"
    return None


def brief(data):
    if data is None:
        return "null"
    return f"{len(data)} bytes {data[:40]!r}"


class Reading:
    """Compares what one topic gives back, record by record. Each `take` is the next record of its partition."""

    def __init__(self, topic, starts=None):
        self.topic = topic
        self.order = topic.by_partition()
        self.next = list(starts or [0] * PARTITIONS)
        self.left = sum(len(o) - n for o, n in zip(self.order, self.next))
        self.problem = None

    def take(self, partition, offset, timestamp, key, value, headers):
        at = self.next[partition]
        if at >= len(self.order[partition]):
            self.fail(partition, offset, "there are more records than were written")
            return
        expected = self.topic.record(self.order[partition][at])
        found = difference(expected, partition, offset, at, timestamp, key, value, headers)
        if found:
            self.fail(partition, offset, f"record {expected.index}: {found}")
        self.next[partition] += 1
        self.left -= 1

    def fail(self, partition, offset, what):
        if self.problem is None:
            self.problem = f"{self.topic.name}-{partition} at offset {offset}: {what}"

    def done(self):
        return self.left <= 0 or self.problem is not None

    def verdict(self):
        if self.problem is None and self.left > 0:
            have = [f"{n}/{len(o)}" for n, o in zip(self.next, self.order)]
            return f"{self.topic.name}: {self.left} records missing, read {' '.join(have)}"
        return self.problem


def say(ok, text):
    """One line of a client's report, which `run` collects."""
    print(("ok " if ok else "FAIL ") + text, flush=True)


def say_reading(reading, what):
    verdict = reading.verdict()
    say(verdict is None, f"{reading.topic.name}: {what}" if verdict is None else f"{what}: {verdict}")


def arguments(description):
    import argparse

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--base-ms", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=100, help="give up after this long")
    return parser.parse_args()
