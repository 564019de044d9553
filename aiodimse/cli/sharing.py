"""How the workers of serve share a port: all of them listen on the sockets that their parent has bound.

A connection that comes wakes every worker. A worker that has more connections than another one leaves it to that one
for a moment, and takes it if it still waits then: so a worker that is busy or stopped keeps nobody waiting. With a
socket for each worker (SO_REUSEPORT) the system would deal connections by chance, and one that waits would be lost with
its worker.
"""

from __future__ import annotations

import mmap
import os
import socket
import tempfile
from collections.abc import Sequence
from typing import NamedTuple, Self

from aiodimse.aio.listener import TCPListener
from aiodimse.aio.network import Network, ProtocolFactory

LEFT_TO_OTHERS: float = 0.02
"""Seconds: what it may take on a busy machine until another process runs."""
_SIZE = 8
"""Bytes of a number in the memory."""
_NOT_THERE = 1 << 62
"""In the place of a worker that takes no connections: nothing is left to it."""


class Counts:
    """How many connections each worker has, in memory that all of them and their parent share.

    Args:
        descriptor: A file of such memory, which is kept open.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int = descriptor
        self._memory = mmap.mmap(descriptor, 0)
        self._numbers = memoryview(self._memory).cast("q")  # each is read and written at once

    @classmethod
    def new(cls, workers: int) -> Counts:
        """Make the memory. No worker is there yet.

        Args:
            workers: How many places there are.
        """
        with tempfile.TemporaryFile() as file:
            file.write(_NOT_THERE.to_bytes(_SIZE, "little") * workers)
            file.flush()
            counts = cls(os.dup(file.fileno()))
        for place in range(workers):
            counts.leave(place)
        return counts

    def set(self, place: int, connections: int) -> None:
        """Say how many connections the worker of a place has."""
        self._numbers[place] = connections

    def leave(self, place: int) -> None:
        """Say that the worker of a place takes no connections."""
        self._numbers[place] = _NOT_THERE

    def has_more_than_another(self, place: int) -> bool:
        """Whether another worker has fewer connections than the one of this place."""
        return min(self._numbers) < self._numbers[place]

    def close(self) -> None:
        """Release the memory."""
        self._numbers.release()
        self._memory.close()
        os.close(self.descriptor)


class Inherited:
    """What workers get from their parent: bound sockets and the counts. As a context manager it closes them at its end.

    Args:
        sockets: Bound to one port.
        workers: How many there are.
    """

    def __init__(self, sockets: Sequence[socket.socket], workers: int) -> None:
        self._sockets = tuple(sockets)
        self.counts: Counts = Counts.new(workers)
        self.port: int = self._sockets[0].getsockname()[1]
        """Of the sockets."""
        self.descriptors: tuple[int, ...] = (self.counts.descriptor, *(each.fileno() for each in self._sockets))
        """What a worker is to inherit."""

    def words(self, place: int) -> str:
        """Return what the worker of this place is told on its command line: see `Worker.read`."""
        return ",".join(map(str, (place, *self.descriptors)))

    def stop_listening(self) -> None:
        """Close the sockets; nobody listens on them any more once the workers have closed theirs."""
        for each in self._sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_listening()
        self.counts.close()


class Worker(NamedTuple):
    """What a worker was told by its parent."""

    place: int
    """Its place among the workers, from 0 on."""
    counts: int
    """The descriptor of the counts."""
    sockets: tuple[int, ...]
    """The descriptors of the sockets."""

    @classmethod
    def read(cls, words: str) -> Worker:
        """Read what `Inherited.words` wrote."""
        place, counts, *sockets = map(int, words.split(","))
        return cls(place, counts, tuple(sockets))


class Place:
    """The share of one worker (see `aiodimse.aio.listener.Share`).

    Args:
        counts: Of all workers.
        place: Its place among them.
    """

    def __init__(self, counts: Counts, place: int) -> None:
        self._counts, self._place = counts, place

    def publish(self, connections: int) -> None:
        """Tell the other workers how many connections this one has."""
        self._counts.set(self._place, connections)

    def wait(self) -> float:
        """Return how long to leave a connection to the others."""
        return LEFT_TO_OTHERS if self._counts.has_more_than_another(self._place) else 0.0

    def leave(self) -> None:
        """Tell the other workers that nothing is to be left to this one."""
        self._counts.leave(self._place)


class SharedPort(Network):
    """The network of a worker: it listens on sockets of its parent. Connections are opened as everywhere.

    Args:
        worker: What the worker was told.
    """

    def __init__(self, worker: Worker) -> None:
        self._share, self._descriptors = Place(Counts(worker.counts), worker.place), worker.sockets

    async def listen(
        self,
        factory: ProtocolFactory,
        host: str | None,
        port: int,
        *,
        sock: socket.socket | None,
        reuse_port: bool,
    ) -> TCPListener:
        """Take connections on the sockets, whatever the arguments say of an address; see `Network.listen`."""
        for descriptor in self._descriptors:
            os.set_inheritable(descriptor, False)  # from here on
        sockets = [socket.socket(fileno=descriptor) for descriptor in self._descriptors]
        return TCPListener(sockets, factory, self._share)
