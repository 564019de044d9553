"""A user of only sockets and prepared bytes: many associations at once, the same for every provider.

It uses epoll and never blocks, so that the provider is what is measured. An answer counts if it is a P-DATA-TF whose
Status is 0000. Refused, closed and silent associations are counted too.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from typing import Any

from benchmarks.peers import wire
from benchmarks.peers.commands import go, run_commands

SILENCE = 5.0
"""Seconds of silence after which a caller may try again."""
READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Caller:
    """One association."""

    __slots__ = ("asked", "heard", "kept", "socket", "state")

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(("127.0.0.1", port))
        self.state, self.asked, self.kept = "connecting", 0, b""
        self.heard = time.monotonic()


class Crowd:
    """Callers that each associate, send a number of echoes, and release."""

    def __init__(
        self, port: int, called: str, associations: int, echoes: int, *, together: bool, again: bool = False
    ) -> None:
        """together: The echoes begin when every caller is associated or has failed. again: A caller that is refused,
        closed, or not answered for SILENCE seconds tries again, with the echoes that are left."""
        self.port, self.echoes, self.together, self.again = port, echoes, together, again
        self.requests = [wire.echo_rq(n + 1) for n in range(min(echoes, 65535))]
        self.associate = wire.associate(called)
        self.epoll = select.epoll()
        self.callers: dict[int, Caller] = {}
        self.counts = dict.fromkeys(("associated", "refused", "failed", "echoes", "finished"), 0)
        for _ in range(associations):
            self.call(0)
        self.waiting: list[Caller] = []
        self.unsettled = associations

    def call(self, answered: int) -> None:
        """Add a caller that already has this many answers."""
        caller = Caller(self.port)
        caller.asked = answered
        self.callers[caller.socket.fileno()] = caller
        self.epoll.register(caller.socket, WRITE)

    def run(self, patience: float) -> None:
        """Run until no caller is left, or until `patience` seconds are over; the callers left then have failed."""
        deadline = time.monotonic() + patience
        callers, poll = self.callers, self.epoll.poll
        while callers and (left := deadline - time.monotonic()) > 0:
            for number, _ in poll(min(left, 1.0) if self.again else left, 1024):
                caller = callers.get(number)
                if caller is not None:
                    self.step(caller)
            if self.again:
                self.give_up(time.monotonic() - SILENCE)
        self.again = False
        for caller in list(callers.values()):
            self.end(caller, "failed")

    def give_up(self, before: float) -> None:
        """Disconnect the callers that have heard nothing for SILENCE seconds, so that they try again."""
        for caller in list(self.callers.values()):
            if caller.heard < before:
                self.end(caller, "failed")

    def settle(self, patience: float) -> None:
        """Run until every caller is associated or has failed."""
        deadline = time.monotonic() + patience
        while self.unsettled and (left := deadline - time.monotonic()) > 0:
            for number, _ in self.epoll.poll(left, 1024):
                if number in self.callers:
                    self.step(self.callers[number])

    def end(self, caller: Caller, how: str) -> None:
        self.counts[how] += 1
        if caller.state in ("connecting", "associating"):
            self.settled()
        echoing, caller.state = caller.state == "echoing", how
        del self.callers[caller.socket.fileno()]
        self.epoll.unregister(caller.socket)
        caller.socket.close()
        if self.again and how != "finished":
            self.call(caller.asked - echoing)

    def settled(self) -> None:
        self.unsettled -= 1
        if not self.unsettled and self.together:
            for caller in self.waiting:
                self.ask(caller)

    def ask(self, caller: Caller) -> None:
        if caller.asked == self.echoes:
            caller.state = "releasing"
            caller.socket.send(wire.RELEASE_RQ)
        else:
            caller.state = "echoing"
            caller.socket.send(self.requests[caller.asked % len(self.requests)])
            caller.asked += 1

    def step(self, caller: Caller) -> None:
        try:
            if caller.state == "connecting":
                if error := caller.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(error, "connect")
                self.epoll.modify(caller.socket, READ)
                caller.state = "associating"
                caller.socket.send(self.associate)
                return
            data = caller.socket.recv(65536)
            if not data:
                raise ConnectionError("closed")
            if caller.kept:
                data = caller.kept + data
            if len(data) < 6 or len(data) < (size := 6 + int.from_bytes(data[2:6], "big")):
                caller.kept = data
                return
            caller.kept = data[size:]
            if self.again:
                caller.heard = time.monotonic()
            self.take(caller, data)
        except BlockingIOError:
            return
        except OSError:
            self.end(caller, "failed")

    def take(self, caller: Caller, data: bytes) -> None:
        kind, state = data[0], caller.state
        if kind == 4 and state == "echoing" and wire.SUCCESS in data:
            self.counts["echoes"] += 1
            self.ask(caller)
        elif kind == 2 and state == "associating":
            self.counts["associated"] += 1
            caller.state = "associated"
            if self.together:
                self.waiting.append(caller)
                self.settled()
            else:
                self.settled()
                self.ask(caller)
        elif kind == 3:
            self.end(caller, "refused")
        elif kind == 6 and state == "releasing":
            self.end(caller, "finished")
        else:
            self.end(caller, "failed")


held: list[Crowd] = []


async def crowd(
    port: int,
    called: str,
    associations: int,
    echoes: int,
    within: float = 60.0,
    together: bool = False,
    again: bool = False,
) -> dict[str, Any]:
    """Run a number of associations at once, with a number of echoes each."""
    started = time.perf_counter()
    callers = Crowd(port, called, associations, echoes, together=together, again=again)
    callers.run(within)
    return {"seconds": time.perf_counter() - started, **callers.counts}


async def hold(port: int, called: str, associations: int, batch: int = 500, within: float = 60.0) -> dict[str, Any]:
    """Associate in batches, because a provider may limit connections that have not associated, and stay."""
    associated = 0
    for start in range(0, associations, batch):
        callers = Crowd(port, called, min(batch, associations - start), 1, together=True)
        callers.waiting = _Nobody()
        callers.settle(within)
        held.append(callers)
        associated += callers.counts["associated"]
    return {"associated": associated}


class _Nobody(list[Caller]):
    """A list that ignores callers, so that none of them echoes."""

    def append(self, caller: Caller) -> None:
        pass


async def let_go() -> None:
    """Close the associations of `hold`."""
    while held:
        for caller in held.pop().callers.values():
            caller.socket.close()


async def ping(port: int, called: str, times: int, pause: float) -> dict[str, Any]:
    """Echo now and then on one association; return how long each echo took, in seconds."""
    latencies = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(wire.associate(called))
        sock.recv(65536)
        for number in range(times):
            started = time.perf_counter()
            sock.sendall(wire.echo_rq(number % 65535 + 1))
            data = sock.recv(65536)
            latencies.append(time.perf_counter() - started)
            if wire.SUCCESS not in data:
                raise ConnectionError("an echo was not answered")
            await asyncio.sleep(pause)
        sock.sendall(wire.RELEASE_RQ)
        sock.recv(64)
    return {"latencies": latencies}


async def main() -> None:
    await run_commands({"crowd": crowd, "hold": hold, "let_go": let_go, "ping": ping})


if __name__ == "__main__":
    go(main)
