"""How the workers of serve share a port: all of them listen on the sockets that their parent has bound.

A new connection wakes every worker. A worker that has more connections than another one first leaves it to the others
for a moment, and takes it if it is still waiting. A worker that is busy or stopped therefore keeps no connection
waiting. With one socket per worker (SO_REUSEPORT) the system would distribute connections at random, and a waiting
connection would be lost with its worker.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

from aiodimse.aio.listener import TCPListener
from aiodimse.aio.network import Network, ProtocolFactory

LEFT_TO_OTHERS: float = 0.02
"""Seconds: what it may take on a busy machine until another process runs."""
_SIZE = 8
"""The size of a number in the memory, in bytes."""
_NOT_THERE = 1 << 62
"""The number of a worker that accepts no connections, so that the others leave nothing to it."""


class Counts:
    """The number of connections of each worker, in memory that the workers and their parent share.

    Args:
        descriptor: A file of such memory. It is closed by `close`.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int = descriptor
        self._memory = mmap.mmap(descriptor, 0)
        self._numbers = memoryview(self._memory).cast("q")  # reading or writing one number is atomic

    @classmethod
    def new(cls, workers: int) -> Counts:
        """Make the memory, without any worker.

        Args:
            workers: How many places there are.
        """
        counts = cls(_file(bytes(_SIZE * workers)))
        for place in range(workers):
            counts.leave(place)
        return counts

    def set(self, place: int, connections: int) -> None:
        """Set the number of connections of the worker in a place."""
        self._numbers[place] = connections

    def leave(self, place: int) -> None:
        """Record that the worker in a place accepts no connections."""
        self._numbers[place] = _NOT_THERE

    @property
    def connections(self) -> int:
        """The number of connections of all workers together."""
        return sum(number for number in self._numbers if number != _NOT_THERE)

    def has_more_than_another(self, place: int) -> bool:
        """Return whether another worker has fewer connections than the one in this place."""
        return min(self._numbers) < self._numbers[place]

    def close(self) -> None:
        """Release the memory."""
        self._numbers.release()
        self._memory.close()
        os.close(self.descriptor)


class InForce(NamedTuple):
    """The configuration that workers have to use, as words of the command line with those of its file."""

    version: int
    """How often the file was read again."""
    started: tuple[str, ...]
    """The words with which the service was started. The options that need a restart are these."""
    read: tuple[str, ...]
    """The words that were read last. The options that take effect at once are these."""


class Configuration:
    """The configuration in force, in a file that the workers and their parent share.

    A worker that is started later, in place of one that died, must not have other options than the rest. So it does not
    read the file of --config, which may have changed or may be wrong by then.

    Args:
        descriptor: The file. It is closed by `close`.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int = descriptor

    def write(self, in_force: InForce) -> None:
        """Replace the configuration.

        Raises:
            OSError: There is no room for it. The one before is still there.
        """
        data = json.dumps(in_force).encode()
        with self._locked():
            size = os.fstat(self.descriptor).st_size
            os.pwrite(self.descriptor, b" " * (len(data) - size), size)
            os.pwrite(self.descriptor, data.ljust(size), 0)

    def read(self) -> InForce:
        """Return the configuration."""
        with self._locked():
            data = os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)
        version, started, read = json.loads(data)
        return InForce(version, tuple(started), tuple(read))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from the file, whose position is always at its beginning."""
        os.lockf(self.descriptor, os.F_LOCK, 0)
        try:
            yield
        finally:
            os.lockf(self.descriptor, os.F_ULOCK, 0)

    def close(self) -> None:
        """Release the file."""
        os.close(self.descriptor)


def _file(content: bytes) -> int:
    """Make a file without a name, and return its descriptor. It is in memory where the system has such files.

    Raises:
        OSError: There is no room. What is mapped to memory has to be written before: without room, that is SIGBUS.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("aiodimse")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.pwrite(descriptor, content, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Inherited:
    """What workers get from their parent: sockets, the counts and the configuration. Leaving the context closes them.

    Args:
        sockets: Sockets that are bound to one port.
        workers: The number of workers.
        words: The words of the configuration with which the workers are started.
    """

    def __init__(self, sockets: Sequence[socket.socket], workers: int, words: Sequence[str] = ()) -> None:
        self._sockets = tuple(sockets)
        self.counts: Counts = Counts.new(workers)
        self.configuration: Configuration = Configuration(_file(b""))
        self.configuration.write(InForce(0, tuple(words), tuple(words)))
        self.port: int = self._sockets[0].getsockname()[1]
        """The port of the sockets."""
        self.descriptors: tuple[int, ...] = (
            self.counts.descriptor,
            self.configuration.descriptor,
            *(each.fileno() for each in self._sockets),
        )
        """The descriptors that a worker inherits."""

    def words(self, place: int) -> str:
        """Return the argument for the command line of the worker in this place: see `Worker.read`."""
        return ",".join(map(str, (place, *self.descriptors)))

    def stop_listening(self) -> None:
        """Close the sockets of the parent. The port is closed once the workers have closed theirs too."""
        for each in self._sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_listening()
        self.counts.close()
        self.configuration.close()


class Worker(NamedTuple):
    """The arguments of a worker from its parent."""

    place: int
    """Its place among the workers, from 0."""
    counts: int
    """The descriptor of the counts."""
    configuration: int
    """The descriptor of the configuration in force."""
    sockets: tuple[int, ...]
    """The descriptors of the sockets."""

    @classmethod
    def read(cls, words: str) -> Worker:
        """Parse the result of `Inherited.words`."""
        place, counts, configuration, *sockets = map(int, words.split(","))
        return cls(place, counts, configuration, tuple(sockets))


class Place:
    """The share of one worker (see `aiodimse.aio.listener.Share`).

    Args:
        counts: The counts of all workers.
        place: The place of this worker.
    """

    def __init__(self, counts: Counts, place: int) -> None:
        self._counts, self._place = counts, place

    def publish(self, connections: int) -> None:
        """Publish to the other workers how many connections this one has."""
        self._counts.set(self._place, connections)

    def wait(self) -> float:
        """Return for how many seconds to leave a connection to the others."""
        return LEFT_TO_OTHERS if self._counts.has_more_than_another(self._place) else 0.0

    def leave(self) -> None:
        """Make the other workers leave nothing to this one."""
        self._counts.leave(self._place)


class SharedPort(Network):
    """The network of a worker: it listens on the sockets of its parent, and connects like any other.

    Args:
        worker: The arguments of the worker.
    """

    def __init__(self, worker: Worker) -> None:
        self._share, self._descriptors = Place(Counts(worker.counts), worker.place), worker.sockets
        self._configuration = worker.configuration

    async def listen(
        self,
        factory: ProtocolFactory,
        host: str | None,
        port: int,
        *,
        sock: socket.socket | None,
        reuse_port: bool,
    ) -> TCPListener:
        """Accept connections on the inherited sockets and ignore the address arguments; see `Network.listen`."""
        for descriptor in (*self._descriptors, self._configuration):
            os.set_inheritable(descriptor, False)  # processes that the worker starts do not inherit it
        sockets = [socket.socket(fileno=descriptor) for descriptor in self._descriptors]
        return TCPListener(sockets, factory, self._share)
