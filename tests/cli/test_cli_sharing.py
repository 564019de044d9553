"""Processes that listen on the same sockets: who takes a connection that comes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

import aiodimse
from aiodimse import sop_class
from aiodimse.aio.listener import TCPListener
from aiodimse.cli.sharing import Inherited, Place, SharedPort, Worker

HOST = "127.0.0.1"


@pytest.fixture
def inherited() -> Iterator[Inherited]:
    bound = socket.create_server((HOST, 0))
    with Inherited([bound], 3) as inherited:
        yield inherited


@asynccontextmanager
async def listening(inherited: Inherited, place: int) -> AsyncIterator[aiodimse.Listening]:
    """A worker, in this process."""
    words = ",".join(str(os.dup(descriptor)) for descriptor in inherited.descriptors)
    server = aiodimse.Server(ae_title="ARCHIVE")
    async with server.listen(HOST, 0, network=SharedPort(Worker.read(f"{place},{words}"))) as here:
        yield here


def connect(inherited: Inherited) -> aiodimse.Connect:
    return aiodimse.connect(HOST, inherited.port, called_ae_title="ARCHIVE", contexts=[sop_class.Verification])


async def test_each_has_as_many_as_the_others(inherited: Inherited) -> None:
    async with listening(inherited, 0) as first, listening(inherited, 1) as second, listening(inherited, 2) as third:
        associations = [await connect(inherited) for _ in range(9)]
        assert [len(each.associations) for each in (first, second, third)] == [3, 3, 3]
        for association in associations:
            await association.release()


async def test_connections_are_counted_together(inherited: Inherited) -> None:
    assert inherited.counts.connections == 0
    async with listening(inherited, 0), listening(inherited, 1):
        associations = [await connect(inherited) for _ in range(3)]
        assert inherited.counts.connections == 3
        for association in associations:
            await association.release()


async def test_those_that_have_ended_make_room(inherited: Inherited) -> None:
    async with listening(inherited, 0) as first:
        early = [await connect(inherited) for _ in range(2)]
        async with listening(inherited, 1) as second:
            late = [await connect(inherited) for _ in range(2)]
            assert (len(first.associations), len(second.associations)) == (2, 2)
            for association in early:
                await association.release()
            await first.wait_empty()
            late += [await connect(inherited) for _ in range(2)]
            assert (len(first.associations), len(second.associations)) == (2, 2)
            for association in late:
                await association.release()


async def test_who_does_not_answer_keeps_nobody_waiting(inherited: Inherited) -> None:
    """A worker that is stopped has no connections, and takes none."""
    inherited.counts.set(2, 0)
    async with listening(inherited, 0) as here:
        associations = [await asyncio.wait_for(connect(inherited), 5) for _ in range(3)]
        assert len(here.associations) == 3
        for association in associations:
            await association.release()


async def test_nothing_is_left_to_who_listens_no_more(inherited: Inherited) -> None:
    share = Place(inherited.counts, 0)
    share.publish(5)
    async with listening(inherited, 1):
        assert share.wait() > 0
    assert share.wait() == 0


async def test_what_ends_behind_a_listener_is_not_told(inherited: Inherited) -> None:
    """The associations of a worker that drains are not counted: it takes no others."""
    place = Place(inherited.counts, 0)
    listener = TCPListener([socket.create_server((HOST, 0))], asyncio.Protocol, place)
    listener.close()
    listener.count(0)
    inherited.counts.set(1, 7)
    assert not inherited.counts.has_more_than_another(1)


async def test_a_connection_that_nobody_accepts_yet_waits(inherited: Inherited) -> None:
    """The parent keeps the port while all workers are away."""
    async with listening(inherited, 0):
        pass
    early = asyncio.create_task(connect(inherited).__aenter__())
    async with listening(inherited, 1) as here:
        association = await asyncio.wait_for(early, 5)
        assert len(here.associations) == 1
        await association.release()
