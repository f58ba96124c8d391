"""The links between processes on one machine: a proxy before every listener, which can be cut for one peer and one direction.

Everybody is told the proxy's port in place of the listener's own. Who has come is found by the socket at the other end, which
is of one process; who is none of the cluster's is a client. Bytes that meet a link that is held wait, as those wait that TCP
sends again and again: nobody is told of it, and when the link heals they go on, or the connection is gone. A link that is
severed resets its connections and every new one.
"""

import asyncio
import collections
import os
import threading

CLIENTS = "clients"


def owner(port, peer_port, processes):
    """Whose socket goes from `port` to `peer_port` of the loopback, of the processes by name; None when it is nobody's."""
    wanted = f"0100007F:{port:04X} 0100007F:{peer_port:04X}"
    with open("/proc/net/tcp") as table:
        inode = next((line.split()[9] for line in table if wanted in line), None)
    for name, pid in processes.items():
        try:
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                if os.readlink(descriptor.path) == f"socket:[{inode}]":
                    return name
        except OSError:
            # It is gone, or the descriptor is.
            continue
    return None


class Connection:
    """One connection through a proxy, from who opened it to who listens."""

    def __init__(self, source, target, *writers):
        self.source, self.target, self.writers = source, target, writers

    def abort(self):
        for writer in self.writers:
            writer.transport.abort()


class Links:
    """All proxies, on a thread of their own. A way is a pair of names: who speaks and who hears."""

    def __init__(self, processes):
        """`processes` answers the process ids of those who run, by name."""
        self.processes, self.loop = processes, asyncio.new_event_loop()
        # How many faults hold or sever a way; who waits for one to pass.
        self.held, self.severed = collections.Counter(), collections.Counter()
        self.changed, self.connections = asyncio.Event(), set()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def listen(self, port, target, target_port, source=None):
        """Hands on what comes at `port`; it comes from `source`, or from whom it is found to come."""

        async def accept(reader, writer):
            await self.serve(reader, writer, port, target, target_port, source)

        self.call(asyncio.start_server(accept, "127.0.0.1", port))

    async def serve(self, reader, writer, port, target, target_port, source):
        peer_port = writer.get_extra_info("peername")[1]
        source = source or owner(peer_port, port, self.processes()) or CLIENTS
        if self.severed[source, target]:
            return writer.transport.abort()
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target_port)
        except OSError:
            return writer.transport.abort()
        connection = Connection(source, target, writer, inner_writer)
        self.connections.add(connection)
        # Cut while it was opened.
        if self.severed[source, target]:
            connection.abort()
        try:
            await asyncio.gather(
                self.pump(reader, inner_writer, (source, target)), self.pump(inner_reader, writer, (target, source))
            )
        finally:
            self.connections.discard(connection)
            connection.abort()

    async def pump(self, reader, writer, way):
        try:
            while data := await reader.read(65536):
                await self.passes(way)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        # That one end is gone is told along the same way, and not while that is held.
        await self.passes(way)
        writer.close()

    async def passes(self, way):
        while self.held[way]:
            await self.changed.wait()

    def hold(self, ways):
        async def change():
            self.held.update(ways)

        self.call(change())

    def heal(self, ways, is_late):
        """What was held goes on late, or is lost with its connections."""

        async def change():
            self.held.subtract(ways)
            if not is_late:
                self.abort(ways)
            self.changed.set()
            self.changed = asyncio.Event()

        self.call(change())

    def sever(self, ways):
        async def change():
            self.severed.update(ways)
            self.abort(ways)

        self.call(change())

    def mend(self, ways):
        async def change():
            self.severed.subtract(ways)

        self.call(change())

    def abort(self, ways):
        for connection in list(self.connections):
            if {(connection.source, connection.target), (connection.target, connection.source)} & set(ways):
                connection.abort()
