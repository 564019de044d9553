"""Listening sockets: the kernel's queue, a few connections at a time, and a process without file descriptors."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

import aiodimse
from aiodimse import Limits, sop_class
from aiodimse.aio.listener import BACKLOG, TCPListener, bound_copies

HOST = "127.0.0.1"


class Counted(asyncio.Protocol):
    """Keeps its connection, and those of its kind."""

    def __init__(self, those: list[Counted]) -> None:
        self._those = those

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._those.append(self)


async def until(true: object, timeout: float = 5) -> None:
    assert callable(true)
    async with asyncio.timeout(timeout):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def turned() -> None:
    """What was closed has let its socket go."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def listening(those: list[Counted]) -> AsyncIterator[TCPListener]:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, HOST, 0, start_serving=False)
    listener = TCPListener(bound_copies(server), lambda: Counted(those))
    yield listener
    listener.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [each.fileno() for each in listener.sockets] == [-1]
    for one in those:
        one.transport.abort()  # type: ignore[attr-defined]
    await turned()


def connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), 5)


@pytest.fixture
def few_files() -> Iterator[None]:
    """The limit is put back at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def leave_files(number: int) -> None:
    """Let this process open so many more."""
    taken = [os.dup(0) for _ in range(number + 1)]
    highest = max(taken)
    for each in taken:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


async def test_connections_wait_in_the_kernel_and_are_taken_a_few_at_a_time():
    assert BACKLOG == 4096
    those: list[Counted] = []
    async with listening(those) as listener:
        port = listener.sockets[0].getsockname()[1]
        peers = [connected(port) for _ in range(100)]  # this loop has not turned: the kernel takes them all
        counts = []
        for _ in range(40):
            await asyncio.sleep(0)
            counts.append(len(those))
        await until(lambda: len(those) == 100)
        assert max(after - before for before, after in itertools.pairwise(counts)) <= 32
        for peer in peers:
            peer.close()


async def test_who_has_gone_while_it_waited_keeps_nobody_out():
    those: list[Counted] = []
    async with listening(those) as listener:
        port = listener.sockets[0].getsockname()[1]
        connected(port).close()
        with connected(port):
            await until(lambda: len(those) == 2)


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.EHOSTUNREACH, errno.EPERM])
async def test_an_error_of_one_connection_keeps_nobody_out(code, caplog):
    """Linux reports by accept() what has befallen a connection while it waited, and that a firewall forbids it."""

    class Failing(socket.socket):
        def accept(self):
            if codes:
                super().accept()[0].close()
                raise OSError(codes.pop(), "befallen")
            return super().accept()

    codes, those = [code], []
    listener = TCPListener([Failing(fileno=socket.create_server((HOST, 0)).detach())], lambda: Counted(those))
    with connected(listener.sockets[0].getsockname()[1]), connected(listener.sockets[0].getsockname()[1]):
        await until(lambda: those)
    listener.close()
    await turned()
    assert (codes, caplog.records) == ([], [])


async def test_the_spare_descriptor_is_made_again_once_there_is_room(few_files, monkeypatch):
    """Another thread may open a file at the moment at which a newcomer is turned away."""
    those: list[Counted] = []
    most = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def is_turned_away(peer: socket.socket) -> bool:
        peer.setblocking(False)
        leave_files(0)
        await loop.sock_connect(peer, (HOST, port))
        try:
            return await asyncio.wait_for(loop.sock_recv(peer, 1), 1) == b""
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)

    def taken_by_another(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    loop = asyncio.get_running_loop()
    async with listening(those) as listener:
        port = listener.sockets[0].getsockname()[1]
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            with monkeypatch.context() as another:
                another.setattr("aiodimse.aio.listener.os.open", taken_by_another)
                assert await is_turned_away(first)
            second.setblocking(False)
            await loop.sock_connect(second, (HOST, port))
            await until(lambda: those)
            assert await is_turned_away(third)


async def test_a_protocol_that_cannot_be_made_costs_its_connection_only(caplog):
    those: list[Counted] = []

    def make() -> asyncio.Protocol:
        if not those:
            those.append(Counted([]))
            raise ZeroDivisionError
        return Counted(those)

    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, HOST, 0, start_serving=False)
    listener = TCPListener(bound_copies(server), make)
    port = listener.sockets[0].getsockname()[1]
    with connected(port) as first, connected(port):
        await until(lambda: len(those) == 2)
        first.settimeout(5)
        assert await asyncio.to_thread(first.recv, 1) == b""
    listener.close()
    those[1].transport.abort()  # type: ignore[attr-defined]
    await turned()
    assert "ZeroDivisionError" in caplog.text


async def test_without_descriptors_and_with_nothing_to_close_a_newcomer_is_turned_away(few_files):
    those: list[Counted] = []
    errors: list[OSError] = []

    def nothing_to_close(error: OSError) -> bool:
        errors.append(error)
        return False

    async with listening(those) as listener:
        listener.on_exhausted = nothing_to_close
        port = listener.sockets[0].getsockname()[1]
        peers = [socket.socket() for _ in range(3)]
        leave_files(2)
        loop = asyncio.get_running_loop()
        for peer in peers:
            peer.setblocking(False)
            await loop.sock_connect(peer, (HOST, port))
        assert await asyncio.wait_for(loop.sock_recv(peers[2], 1), 5) == b""  # it is told, and does not wait
        assert len(those) == 2
        assert {error.errno for error in errors} == {errno.EMFILE}
        for peer in peers:
            peer.close()


@pytest.mark.parametrize("pending", [True, False])
async def test_a_server_without_descriptors(few_files, caplog, pending):
    """The oldest connection without an association makes room; where there is none, associations go on all the same."""
    caplog.set_level(logging.WARNING, logger="aiodimse.acceptor")
    server = aiodimse.Server(ae_title="ANY", limits=Limits(max_pending_connections=1000))
    loop = asyncio.get_running_loop()
    async with (
        server.listen(HOST, 0) as listening,
        aiodimse.connect(HOST, listening.port, called_ae_title="ANY", contexts=[sop_class.Verification]) as association,
    ):
        peers = [socket.socket() for _ in range(12)]
        leave_files(4 if pending else 0)
        for peer in peers:
            peer.setblocking(False)
            await loop.sock_connect(peer, (HOST, listening.port))
        for peer in peers[:8]:  # each of them made room for another one, or was turned away
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(loop.sock_recv(peer, 1), 5) == b""
        assert (await association.c_echo()).status == 0
        for peer in peers:
            peer.close()
    lines = [record.getMessage() for record in caplog.records if "no file descriptor" in record.getMessage()]
    assert len(lines) == 1
    assert "EMFILE" in lines[0]
    assert ("the oldest" if pending else "that one") in lines[0]
