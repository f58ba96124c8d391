"""One history of what several processes noted, and what its times tell."""

import heapq
import json

from . import PARTITIONS, TOPIC

CONTRACT = {
    "replication_factor": 3,
    "min_insync_replicas": 2,
    "unclean_leader_election": False,
    # A process that is killed leaves what it wrote with the operating system.
    "amnesiac_replicas_max": 0,
    "removes_records": False,
    "linearizable_reads": False,
}


def notes(path):
    with open(path) as lines:
        for line in lines:
            # The end of what a process wrote when it was killed.
            if line.endswith("\n"):
                at, process, operation, step = json.loads(line)
                # Of two that happened at once the beginning comes first: then nothing is said to be over before it.
                yield at, not (isinstance(step, dict) and "invoke" in step), process, operation, step


class Silence:
    """The times without an acknowledged record of a partition while a majority was reachable, from a second on."""

    def __init__(self, begun, away):
        """`away` are the times without a majority, in order and apart, as (from, to)."""
        self.away, self.last = list(away), [begun] * PARTITIONS
        # As (nanoseconds, from).
        self.times = []

    def acknowledged(self, partition, at):
        while self.away and self.away[0][1] <= min(self.last):
            self.away.pop(0)
        before, self.last[partition] = self.last[partition], at
        edges = [before, *(edge for span in self.away for edge in span), at]
        for begin, end in zip(edges[::2], edges[1::2]):
            begin, end = max(begin, before), min(end, at)
            if end - begin >= 1_000_000_000:
                self.times.append((end - begin, begin))


def merge(logs, path, silence):
    """Writes the history, in the order of its times; the highest acknowledged offset of each partition, -1 without one."""
    partitions, acknowledged = {}, [-1] * PARTITIONS
    with open(path, "w") as out:
        for partition in range(PARTITIONS):
            out.write(json.dumps({"contract": {"topic": TOPIC, "partition": partition, **CONTRACT}}) + "\n")
        begun, numbers = None, {}
        for seq, (at, is_end, process, operation, step) in enumerate(heapq.merge(*map(notes, logs), key=lambda note: note[:2])):
            begun = begun or at
            key = process, operation
            if not is_end:
                numbers[key] = seq
                (asked,) = step["invoke"].values()
                partitions[key] = asked["partition"]
            number, partition = numbers[key], partitions[key]
            if is_end:
                del numbers[key], partitions[key]
                if isinstance(step, dict) and "sent" in step["ok"]:
                    silence.acknowledged(partition, at)
                    offset = step["ok"]["sent"]["base_offset"]
                    acknowledged[partition] = max(acknowledged[partition], -1 if offset is None else offset)
            event = {"seq": seq, "at_us": (at - begun) // 1000, "process": process, "op": number, "step": step}
            out.write(json.dumps({"event": event}, separators=(",", ":")) + "\n")
    return acknowledged
