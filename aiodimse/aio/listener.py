"""Listening TCP sockets: a long queue in the kernel, few connections taken at once, and no storm without descriptors.

asyncio's own server takes as many connections at once as the kernel may queue, and where file descriptors run out it
reports each of them to the exception handler of the loop, again every second (docs/topics/limits-and-leniencies.md).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from aiodimse.aio.tasks import Tasks

BACKLOG = 4096
"""The number of connections that the kernel may queue. Linux allows net.core.somaxconn, 4096 by default."""
_AT_ONCE = 16
"""The number of connections that are accepted in one turn of the event loop."""
_PAUSE = 0.02
"""Seconds without accepting a connection, after there was no descriptor for one."""
_OF_ONE = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET",
        "ENOPROTOOPT", "EOPNOTSUPP", "ETIMEDOUT",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""What accept(2) says about the connection that it would have returned: it has gone, or a firewall forbids it."""
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Share(Protocol):
    """Distributes the connections of sockets on which several processes listen."""

    def publish(self, connections: int) -> None:
        """Tell the other processes how many connections this one has.

        Args:
            connections: The number, those included that are being opened.
        """

    def wait(self) -> float:
        """Return how long to leave a connection that waits to the other processes.

        Returns:
            Seconds, after which it is accepted if no other process did; 0: it is accepted now.
        """

    def leave(self) -> None:
        """Tell the other processes that this one accepts no more connections."""


class TCPListener:
    """Accepts connections on bound sockets, from its creation until `close`."""

    def __init__(
        self, sockets: Sequence[socket.socket], factory: Callable[[], asyncio.Protocol], share: Share | None = None
    ) -> None:
        """Begin to listen.

        Args:
            sockets: Bound sockets, which are closed by `close`.
            factory: Makes a protocol for each connection.
            share: Given if other processes listen on the same sockets. One connection is then accepted in each turn of
                the event loop.
        """
        self.sockets: tuple[socket.socket, ...] = tuple(sockets)
        self.on_exhausted: Callable[[OSError], bool] | None = None
        """Called when a connection waits without a descriptor for it. It returns whether it closes another one."""
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._share = share
        self._open = self._opening = 0
        self._reserve: int | None = os.open(os.devnull, os.O_RDONLY)
        """A descriptor that is given up to turn a newcomer away where there is no other."""
        self._tasks = Tasks()
        for each in self.sockets:
            each.setblocking(False)
            each.listen(BACKLOG)
            self._begin(each)
        self._publish()

    def close(self) -> None:
        """Accept no more connections, and close the sockets. Connections that were accepted are still opened."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._share is not None:
            self._share.leave()
        for each in self.sockets:
            self._loop.remove_reader(each)
            each.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def count(self, connections: int) -> None:
        """Set how many of the accepted connections are open, for the other processes.

        Args:
            connections: The number.
        """
        self._open = connections
        self._publish()

    def _publish(self) -> None:
        if self._share is not None and not self._is_closed:
            self._share.publish(self._open + self._opening)

    def _begin(self, listening: socket.socket) -> None:
        if not self._is_closed:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Accept a few of the connections that wait, or leave them to the other processes for a moment."""
        if self._share is None:
            self._take(listening, _AT_ONCE)
        elif wait := self._share.wait():
            self._loop.remove_reader(listening)
            self._loop.call_later(wait, self._take_late, listening)
        else:
            self._take(listening, 1)

    def _take_late(self, listening: socket.socket) -> None:
        """Accept the connection that was left to the others, if it still waits."""
        self._begin(listening)  # first, since where there are no descriptors it is ended again
        self._take(listening, 1)

    def _take(self, listening: socket.socket, most: int) -> None:
        for _ in range(most):
            if self._is_closed:
                return
            try:
                taken, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OF_ONE:
                    continue
                if error.errno not in _EXHAUSTED:
                    raise
                self._make_room(listening, error)
                return
            if self._reserve is None:  # it was lost while another thread opened a file
                self._keep_reserve()
            taken.setblocking(False)
            self._opening += 1
            self._publish()
            self._tasks.spawn(self._connect(taken), "aiodimse connection")

    async def _connect(self, taken: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, taken)
        except Exception:  # If it is cancelled, its transport closes the socket.
            taken.close()
            raise
        finally:
            self._opening -= 1
            self._publish()

    def _make_room(self, listening: socket.socket, error: OSError) -> None:
        """Have the oldest connection closed that has no association. If there is none, close the one that waits."""
        if (self.on_exhausted is None or not self.on_exhausted(error)) and self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
            with suppress(OSError):
                listening.accept()[0].close()
            self._keep_reserve()
        self._loop.remove_reader(listening)
        self._loop.call_later(_PAUSE, self._begin, listening)

    def _keep_reserve(self) -> None:
        with suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)


def bound_copies(server: asyncio.Server) -> list[socket.socket]:
    """Return sockets of our own for what a server is bound to, and close the server, which never listened.

    Args:
        server: What create_server has made with start_serving=False.
    """
    try:
        return [socket.socket(fileno=os.dup(each.fileno())) for each in server.sockets]
    finally:
        server.close()
