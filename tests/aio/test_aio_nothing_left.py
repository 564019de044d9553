"""A request whose answer was sent leaves no task, no open file, no growing map: counted over 10,000 requests."""

from __future__ import annotations

import asyncio
import gc
import types
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.errors import AssociationClosed

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT, MR = sop_class.CTImageStorage, sop_class.MRImageStorage


def query() -> Dataset:
    found = Dataset()
    found.QueryRetrieveLevel = "STUDY"
    return found


@pytest.fixture
def server() -> aiodimse.Server:
    """Answers everything: what it finds and retrieves is one match, or one instance."""
    server = aiodimse.Server(environment=aiodimse.Environment(testing.ManualClock(), testing.MemoryNetwork()))
    path = Path(str(get_testdata_file("CT_small.dcm")))

    @server.on_c_find
    async def find(request):
        yield query()

    @server.on_c_get
    async def get(request):
        yield 1
        yield path

    @server.on_c_move
    async def move(request):
        yield "memory", 104
        yield 1
        yield path

    @server.on_c_store
    async def store(request):
        await request.discard()
        return 0x0000

    return server


CONTAINERS = (dict, list, set, frozenset, tuple, deque)
LINKS = (types.MethodType, types.CellType)
NOT_OURS = (type, types.ModuleType, types.FunctionType, asyncio.AbstractEventLoop)


def held(*roots: object) -> int:
    """How many things the containers hold that can be reached from these objects through those of this library."""
    seen: set[int] = set()
    count = 0
    stack: list[Any] = list(roots)
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, NOT_OURS):
            continue
        seen.add(id(thing))
        where = type(thing).__module__
        if isinstance(thing, CONTAINERS):
            count += len(thing)
        elif not isinstance(thing, LINKS) and (not where.startswith("aiodimse") or "testing" in where):
            continue
        stack += gc.get_referents(thing)
    return count


async def test_ten_thousand_requests(server, tmp_path):
    clock, network = server.environment.clock, server.environment.network
    saved = 0
    path = str(get_testdata_file("MR_small.dcm"))
    async with (
        server.listen("memory", 104) as listening,
        aiodimse.connect(
            "memory",
            104,
            contexts=[
                sop_class.Verification,
                FIND,
                GET,
                MOVE,
                aiodimse.PresentationContext(MR),
            ],  # a bare UID would be for C-GET
            storage=[CT],
            called_ae_title="AIODIMSE",
            environment=aiodimse.Environment(clock, network),
        ) as association,
    ):

        async def some(number: int) -> None:
            nonlocal saved
            for n in range(number):
                match n % 20:
                    case 0:
                        assert (await association.c_store(path)).status == 0
                    case 1:
                        async with association.c_get(query(), GET) as retrieval:
                            async for instance in retrieval:
                                if n % 100 == 1:
                                    await instance.save(tmp_path, durable=False)
                                    saved += 1
                                await instance.discard()
                        assert retrieval.status == 0
                    case 2 if n % 100 == 2:
                        assert (await association.c_move(query(), MOVE, destination="AIODIMSE")).status == 0
                    case 3 | 4 | 5 | 6:
                        assert len(await association.c_find(query(), FIND).collect()) == 1
                    case 7:  # left early: the association drains it
                        async with association.c_find(query(), FIND) as matches:
                            await anext(matches)
                    case _:
                        assert (await association.c_echo()).status == 0
            await testing.settle()
            gc.collect()

        def counts() -> tuple[int, ...]:
            provider = list(listening._acceptor._all)
            assert len(provider) == 1
            return (
                len(asyncio.all_tasks()),
                len(list(Path("/proc/self/fd").iterdir())),
                held(association, listening, server, *provider),
                clock.timers,
                len(network.open),
            )

        await some(400)
        before = counts()
        await some(9600)
        assert counts() == before
        assert saved == 4 + 96
        assert before[0] == 1
    assert network.open == []
    assert clock.timers == 0
    assert len(asyncio.all_tasks()) == 1


async def test_a_release_ends_what_another_task_awaits(server):
    """Found by the state machine: the task that awaited the operation was never told."""
    going_on = asyncio.Event()

    @server.on_c_find(FIND)
    async def find(request):
        going_on.set()
        await asyncio.get_running_loop().create_future()
        yield query()

    async with testing.joined(
        server, contexts=[sop_class.Verification, FIND], network=server.environment.network
    ) as association:
        finding = asyncio.create_task(association.c_find(query(), FIND).collect())
        await going_on.wait()
        waiting = asyncio.create_task(association.c_echo())  # for a place in the window of 1
        await testing.settle()
        await association.release()
        for task in (finding, waiting):
            with pytest.raises(AssociationClosed):
                await task
        with pytest.raises(AssociationClosed):
            await association.c_echo()
