"""Debian's kcat writes and reads back its topics, which exist already, and one that is created by writing to it."""

import os
import subprocess
import sys
import time

from records import CODECS, KCAT_GROUPS, PARTITIONS, Reading, Topic, arguments, say, say_reading

KEY_END, MESSAGE_END = "<~key/value~>", "<~end~>"
KCAT = os.environ.get("KCAT", "kcat")
args = arguments(__doc__)
broker = ["-b", args.bootstrap, "-m", "20"]


def kcat(argv, data=None):
    done = subprocess.run([KCAT] + argv, input=data, capture_output=True, timeout=args.seconds)
    if done.returncode != 0:
        raise RuntimeError(f"kcat {' '.join(argv)}: exit code {done.returncode}: {done.stderr.decode()[-500:]}")
    return done.stdout


def write(topic, codec):
    groups = [[] for _ in range(KCAT_GROUPS)]
    for i in range(topic.count):
        groups[topic.group(i)].append(topic.record(i))
    for g, records in enumerate(groups):
        argv = ["-P", "-t", topic.name, "-p", str(records[0].partition), "-z", codec]
        argv += ["-K", KEY_END, "-D", MESSAGE_END]
        argv += ["-Z"] if g % 2 == 0 else []
        for name, value in records[0].headers:
            argv += ["-H", name if value is None else f"{name}={value.decode()}"]
        # Codecs apply per batch: a little lingering makes batches of more than a few records.
        argv += ["-X", "linger.ms=20", "-X", f"topic.request.required.acks={[1, -1][g % 2]}"]
        parts = []
        for r in records:
            parts += [r.key or b"", KEY_END.encode(), r.value or b"", MESSAGE_END.encode()]
        kcat(broker + argv, b"".join(parts))


def read(topic, starts=None):
    reading = Reading(topic, starts)
    for p in range(PARTITIONS):
        argv = ["-C", "-t", topic.name, "-p", str(p), "-o", str(starts[p]) if starts else "beginning", "-e", "-q"]
        out = kcat(broker + argv + ["-f", r"%p %o %T %K %S %h\n%k%s\n"])
        at = 0
        while at < len(out):
            line_end = out.index(b"\n", at)
            fields = out[at:line_end].split(b" ", 5)
            partition, offset, timestamp, key_size, value_size = map(int, fields[:5])
            at = line_end + 1
            key = None if key_size < 0 else out[at : at + key_size]
            at += max(key_size, 0)
            value = None if value_size < 0 else out[at : at + value_size]
            at += max(value_size, 0) + 1
            headers = []
            for h in fields[5].split(b",") if fields[5] else []:
                name, text = h.split(b"=", 1)
                headers.append((name.decode(), None if text == b"NULL" else text))
            if not args.base_ms <= timestamp <= time.time() * 1000 + 1000:
                reading.fail(partition, offset, f"timestamp is {timestamp}, not between start and end of the run")
            reading.take(partition, offset, timestamp, key, value, headers)
    return reading


for codec in CODECS:
    topic = Topic(f"kcat-{codec}", args.count, args.base_ms)
    start = time.monotonic()
    try:
        write(topic, codec)
        say_reading(read(topic), f"{topic.count} records written and read back")
        middle = [len(o) // 2 for o in topic.by_partition()]
        say_reading(read(topic, middle), f"read again from offsets {middle}")
    except Exception as e:
        say(False, f"{topic.name}: {e}")

try:
    kcat(broker + ["-P", "-t", "kcat.auto", "-K", "=", "-X", "allow.auto.create.topics=true"], b"a=1\nb=2\n")
    out = kcat(broker + ["-C", "-t", "kcat.auto", "-o", "beginning", "-e", "-q", "-f", "%k=%s "])
    ok = sorted(out.split()) == [b"a=1", b"b=2"]
    say(ok, f"a topic is created by writing to it (read back {out!r})")
except Exception as e:
    say(False, f"a topic is created by writing to it: {e}")
try:
    out = kcat(broker + ["-L"]).decode()
    missing = [c for c in CODECS if f'topic "kcat-{c}" with {PARTITIONS} partitions' not in out]
    say(not missing, f"kcat -L lists the topics with {PARTITIONS} partitions (missing: {missing})")
    # The timestamp of the very first record of a partition finds offset 0, one in the far future finds none.
    out = kcat(broker + ["-Q", "-t", f"kcat-none:0:{args.base_ms}", "-t", "kcat-zstd:1:99999999999999"]).decode()
    ok = "kcat-none [0] offset 0" in out and "kcat-zstd [1] offset -1" in out
    say(ok, f"kcat -Q finds offsets by timestamp ({' '.join(out.split())})")
except Exception as e:
    say(False, f"kcat -L and -Q: {e}")
sys.exit(0)
