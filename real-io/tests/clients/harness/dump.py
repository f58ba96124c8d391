"""Kafka's DumpLogSegments over a data directory that no broker holds open.

The tool exits with 0 whatever it finds, so its output is read instead: what it may say is listed, everything else
is a complaint. `prove` shows that the reading finds what is wrong, on deliberately damaged copies.
"""

import collections
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

MAIN = "org.apache.kafka.tools.DumpLogSegments"
JAVA = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]

DUMPING = re.compile(rb"Dumping (.+)$")
BATCH = re.compile(rb"baseOffset: \d+ lastOffset: \d+ count: \d+ .* compresscodec: (\w+) crc: \d+ isvalid: (\w+)$")
RECORD = re.compile(rb"\| offset: \d+ ")
INVALID_BYTES = re.compile(rb"Found \d+ invalid bytes at the end of ")
# What an index, a snapshot or the metadata log may print besides batches and records.
EXPECTED = [
    re.compile(rb".* is empty\.$"),
    re.compile(rb".* passed sanity check\.$"),
    re.compile(rb"offset: \d+ position: \d+$"),
    re.compile(rb"timestamp: \d+ offset: \d+$"),
    re.compile(rb"Log starting offset: \d+$"),
    re.compile(rb"KRaft bootstrap snapshot$"),
    re.compile(rb"Snapshot end offset: \d+, epoch: \d+$"),
    re.compile(rb"producerId: \d+ producerEpoch: \d+ coordinatorEpoch: -?\d+ currentTxnFirstOffset: "),
]
# Kafka's decoders report what they cannot read on the record's own line, and go on.
UNREADABLE = re.compile(rb"payload: Error at |Could not decode|skipping\.")


class Dumped:
    """What the tool said about some files."""

    def __init__(self):
        self.complaints = []
        self.files = []
        self.lines = collections.Counter()
        self.records = collections.Counter()
        self.codecs = collections.defaultdict(set)


def topic_of(path):
    """The topic of a file in a partition's directory: the name up to the last dash."""
    return pathlib.Path(path).parent.name.rpartition("-")[0]


def dump(jars, files, options, contents_are_free=False):
    """Runs the tool. `contents_are_free` when records' own bytes are printed, which may hold any line."""
    out = Dumped()
    # One argument of a program can be at most 128 KiB long.
    some, length = [], 0
    for file in map(str, files):
        if length + len(file) > 100_000:
            dump_some(out, jars, some, options, contents_are_free)
            some, length = [], 0
        some.append(file)
        length += len(file) + 1
    if some:
        dump_some(out, jars, some, options, contents_are_free)
    unseen = {str(f) for f in files} - set(out.files)
    if unseen:
        out.complaints.append(f"{len(unseen)} files were not dumped, {sorted(unseen)[0]} among them")
    return out


def dump_some(out, jars, files, options, contents_are_free):
    with tempfile.TemporaryFile() as err:
        argv = JAVA + ["-cp", f"{jars}/*", MAIN] + options + ["--files", ",".join(files)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=err)
        topic = None
        for line in process.stdout:
            line = line.rstrip(b"\n")
            if match := DUMPING.match(line):
                out.files.append(match[1].decode())
                topic = topic_of(match[1].decode())
            elif RECORD.match(line):
                out.records[topic] += 1
                if not contents_are_free and UNREADABLE.search(line):
                    out.complaints.append(line.decode(errors="replace"))
            elif line.startswith(b"baseOffset: "):
                match = BATCH.match(line)
                if match is None or match[2] != b"true":
                    out.complaints.append(line.decode(errors="replace"))
                else:
                    out.codecs[topic].add(match[1].decode().lower())
            elif INVALID_BYTES.match(line):
                out.complaints.append(line.decode(errors="replace"))
            elif expected := next((e for e in EXPECTED if e.match(line)), None):
                out.lines[expected.pattern] += 1
            elif not contents_are_free:
                out.complaints.append(line.decode(errors="replace"))
        code = process.wait()
        err.seek(0)
        out.complaints += errors(err.read().decode(errors="replace").splitlines())
    if code != 0:
        out.complaints.append(f"exit code {code}")


def errors(lines):
    """Standard error, less one mistake of the tool: it takes the offset before a log's first record to be -1, and
    calls every segment but the first one non-consecutive."""
    kept, header, first = [], None, None
    for line in lines:
        if match := re.match(r"Non-consecutive offsets in .*/(\d{20})\.log$", line):
            header, first = line, f"  -1 is followed by {int(match[1])}"
        elif line != first:
            if header is not None:
                kept.append(header)
                header = None
            kept.append(line)
    return kept


LOG = ["--deep-iteration", "--print-data-log"]
METADATA = ["--deep-iteration", "--print-data-log", "--cluster-metadata-decoder"]


def inspect(report, jars, data_dir, expected):
    """Dumps everything in `data_dir`. `expected` maps topics to (records, codec or None)."""
    files = sorted(p for p in pathlib.Path(data_dir).rglob("*") if p.is_file())
    # Deleted topics wait for their removal with indexes of their full preallocated size, which nobody opens again.
    files = [f for f in files if not f.parent.name.endswith("-delete")]
    metadata = [f for f in files if f.parent.name.startswith("__cluster_metadata-") or f.name == "bootstrap.checkpoint"]
    logs = [f for f in files if f.suffix == ".log" and f not in metadata]
    indexes = [f for f in files if f.suffix in (".index", ".timeindex")]
    snapshots = [f for f in files if f.suffix in (".snapshot", ".txnindex")]
    metadata = [f for f in metadata if f.suffix in (".log", ".checkpoint")]

    def verdict(name, dumped, found, ok=True):
        text = f"DumpLogSegments: {name}: {found}"
        if dumped.complaints:
            text += "".join(f"\n        {c[:300]}" for c in dumped.complaints[:10])
        report.check(ok and not dumped.complaints, text)

    dumped = dump(jars, logs, LOG, contents_are_free=True)
    total = sum(dumped.records.values())
    verdict("deep iteration of .log", dumped, f"{len(logs)} files, {total} records", total > 0)
    differing = []
    for topic, (count, codec) in sorted(expected.items()):
        have = dumped.records[topic]
        if have != count or (codec and codec not in dumped.codecs[topic]):
            used = ", ".join(sorted(dumped.codecs[topic])) or "none"
            # Every librdkafka writes lz4 only where the broker announces FindCoordinator (its rdkafka_feature.c), else
            # it writes the records uncompressed without a word.
            differing.append(f"{topic} has {have} records of {count}, codecs {used}, expected {codec}")
    text = f"DumpLogSegments: {len(expected)} topics hold as many records as were written, each with its codec"
    if expected:
        report.check(not differing, text + "".join(f"\n        {d}" for d in differing))

    sane = dump(jars, indexes, ["--index-sanity-check"])
    verdict("--index-sanity-check", sane, f"{len(indexes)} index files", bool(indexes))
    verified = dump(jars, indexes, [])
    entries = sum(n for pattern, n in verified.lines.items() if b"position" in pattern or b"timestamp" in pattern)
    verdict("index entries against the log", verified, f"{entries} entries", entries > 0)
    verdict("--verify-index-only", dump(jars, indexes, ["--verify-index-only"]), f"{len(indexes)} index files")
    producers = dump(jars, snapshots, [])
    count = sum(n for pattern, n in producers.lines.items() if b"producerId" in pattern)
    verdict("producer snapshots", producers, f"{len(snapshots)} files, {count} producers", count > 0)
    decoded = dump(jars, metadata, METADATA)
    count = sum(decoded.records.values())
    verdict("--cluster-metadata-decoder", decoded, f"{len(metadata)} files, {count} records", count > 0)


def prove(report, jars, data_dir):
    """Damages copies of one partition's directory, one thing each, and demands a complaint about every one."""
    data_dir = pathlib.Path(data_dir)
    candidates = [
        log
        for log in sorted(data_dir.glob("*-?/*.log"))
        if not log.parent.name.startswith("__")
        and log.with_suffix(".index").stat().st_size >= 24
        and log.with_suffix(".timeindex").stat().st_size >= 36
        and any(s.stat().st_size > 10 for s in log.parent.glob("*.snapshot"))
    ]
    if not candidates:
        report.check(False, "no partition has a log, both indexes and a producer snapshot to damage")
        return
    log = candidates[0]
    base = log.stem

    def flip(path, at):
        data = bytearray(path.read_bytes())
        data[at] ^= 0x40
        path.write_bytes(data)

    def batch_ends(path):
        data, at = path.read_bytes(), 0
        while at < len(data):
            at += 12 + struct.unpack_from(">i", data, at + 8)[0]
            yield at

    def flip_record(d):
        flip(d / f"{base}.log", next(batch_ends(d / f"{base}.log")) - 2)

    def cut_tail(d):
        path = d / f"{base}.log"
        path.write_bytes(path.read_bytes()[:-3])

    def skip_offsets(d):
        path = d / f"{base}.log"
        second = next(batch_ends(path))
        data = bytearray(path.read_bytes())
        struct.pack_into(">q", data, second, struct.unpack_from(">q", data, second)[0] + 1)
        path.write_bytes(data)

    def flip_codec(d):
        # The batch is of another codec than the low byte of its attributes says.
        data = bytearray((d / f"{base}.log").read_bytes())
        data[22] = (data[22] & ~7) | ((data[22] & 7) + 1) % 5
        (d / f"{base}.log").write_bytes(data)

    def index_offset(d):
        path = d / f"{base}.index"
        data = bytearray(path.read_bytes())
        struct.pack_into(">i", data, 8, struct.unpack_from(">i", data, 8)[0] + 1)
        path.write_bytes(data)

    def index_position(d):
        path = d / f"{base}.index"
        data = bytearray(path.read_bytes())
        struct.pack_into(">i", data, 12, struct.unpack_from(">i", data, 12)[0] + 7)
        path.write_bytes(data)

    def index_order(d):
        path = d / f"{base}.index"
        data = bytearray(path.read_bytes())
        struct.pack_into(">i", data, len(data) - 8, -1)
        path.write_bytes(data)

    def time_index_timestamp(d):
        path = d / f"{base}.timeindex"
        data = bytearray(path.read_bytes())
        struct.pack_into(">q", data, 12, struct.unpack_from(">q", data, 12)[0] + 1)
        path.write_bytes(data)

    def time_index_offset(d):
        path = d / f"{base}.timeindex"
        data = bytearray(path.read_bytes())
        struct.pack_into(">i", data, 12 + 8, struct.unpack_from(">i", data, 20)[0] + 1)
        path.write_bytes(data)

    def time_index_order(d):
        path = d / f"{base}.timeindex"
        data = bytearray(path.read_bytes())
        struct.pack_into(">q", data, len(data) - 12, struct.unpack_from(">q", data, 0)[0] - 1)
        path.write_bytes(data)

    def snapshot_crc(d):
        snapshot = next(s for s in d.glob("*.snapshot") if s.stat().st_size > 10)
        flip(snapshot, snapshot.stat().st_size - 5)

    def metadata_record(d):
        flip(d / f"{'0' * 20}.log", (d / f"{'0' * 20}.log").stat().st_size - 2)

    index, time_index, sanity = [f"{base}.index"], [f"{base}.timeindex"], ["--index-sanity-check"]
    metadata_dir = data_dir / "__cluster_metadata-0"
    cases = [
        ("a flipped bit in a record", log.parent, flip_record, [log.name], LOG, True),
        ("a torn last batch", log.parent, cut_tail, [log.name], LOG, True),
        ("a gap between offsets", log.parent, skip_offsets, [log.name], LOG, True),
        ("a wrong codec", log.parent, flip_codec, [log.name], LOG, True),
        ("an offset index entry for another offset", log.parent, index_offset, index, [], False),
        ("an offset index entry between batches", log.parent, index_position, index, ["--verify-index-only"], False),
        ("an offset index that ends below its base", log.parent, index_order, index, sanity, False),
        ("a time index entry with another timestamp", log.parent, time_index_timestamp, time_index, [], False),
        ("a time index entry for another offset", log.parent, time_index_offset, time_index, [], False),
        ("a time index that goes back", log.parent, time_index_order, time_index, sanity, False),
        ("a producer snapshot with a flipped bit", log.parent, snapshot_crc, None, [], False),
        ("a flipped bit in the metadata log", metadata_dir, metadata_record, [f"{'0' * 20}.log"], METADATA, False),
    ]

    def attempt(case):
        name, source, damage, files, options, contents_are_free = case
        with tempfile.TemporaryDirectory() as scratch:
            copy = pathlib.Path(scratch) / source.name
            shutil.copytree(source, copy)
            names = files or [s.name for s in source.glob("*.snapshot")]
            before = dump(jars, [copy / n for n in names], options, contents_are_free).complaints
            damage(copy)
            after = dump(jars, [copy / n for n in names], options, contents_are_free).complaints
            return name, before, after

    with ThreadPoolExecutor(2) as pool:
        missed = []
        for name, before, after in pool.map(attempt, cases):
            if before:
                missed.append(f"{name} (the sound copy has a complaint: {before[0][:200]})")
            elif not after:
                missed.append(name)
    found = f"{len(cases) - len(missed)} of {len(cases)} kinds of damage to a copy of {log.parent.name} are found"
    report.check(not missed, f"DumpLogSegments: {found}" + "".join(f"\n        not found: {m}" for m in missed))
