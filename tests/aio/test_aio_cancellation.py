"""Cancelled at its k-th await, for every k, no operation leaves a task, a connection or half an association."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from kth_await import at_each, cancelled_at, ended
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse import sop_class

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT, MR = sop_class.CTImageStorage, sop_class.MRImageStorage
COMMITMENT = sop_class.StorageCommitmentPushModel
STEP, RETRIEVED_STEP = sop_class.ModalityPerformedProcedureStep, sop_class.ModalityPerformedProcedureStepRetrieve
FILM_BOX = sop_class.BasicFilmBox
CONTEXTS: list[str | aiodimse.PresentationContext] = [
    sop_class.Verification,
    FIND,
    GET,
    MOVE,
    aiodimse.PresentationContext(MR),
    aiodimse.PresentationContext(COMMITMENT, scp=True),
    STEP,
    RETRIEVED_STEP,
    FILM_BOX,
]
EXPLICIT = "1.2.840.10008.1.2.1"
PATH = str(get_testdata_file("CT_small.dcm"))


class Big(aiodimse.Instance):
    """Larger than what is in flight, so that sending it has to wait for room."""

    async def _stream(self) -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0)
            yield bytes(40_000)

    def stream(self) -> AsyncIterator[bytes]:
        return self._stream()


@pytest.fixture(params=["TCP", "TLS"])
async def world(request, make_world, certificates):
    async with make_world(certificates if request.param == "TLS" else None) as world:
        yield world


@pytest.fixture
def server(world) -> aiodimse.Server:
    server = world.server(accept_called=True)

    @server.on_c_find
    async def find(request):
        for _ in range(3):
            await asyncio.sleep(0)
            yield world.query()

    @server.on_c_get
    async def get(request):
        yield 2
        for _ in range(2):
            await asyncio.sleep(0)
            yield PATH

    @server.on_c_move
    async def move(request):
        yield world.destination
        yield 1
        yield Big(MR, "1.2.3", EXPLICIT)

    @server.on_c_store
    async def store(request):
        async for _ in request.stream():
            await asyncio.sleep(0)
        return 0x0000

    @server.on_n_action(COMMITMENT)
    @server.on_n_event_report(COMMITMENT)
    @server.on_n_create(STEP)
    @server.on_n_set(STEP)
    @server.on_n_get(RETRIEVED_STEP)
    @server.on_n_delete(FILM_BOX)
    async def normalized(request):
        await asyncio.sleep(0)
        return 0x0000

    return server


async def echo(world, association, tmp_path):
    assert (await association.c_echo()).status == 0


async def store(world, association, tmp_path):
    assert (await association.c_store(Big(MR, "1.2.3", EXPLICIT))).status == 0


async def store_file(world, association, tmp_path):
    assert (await association.c_store(str(get_testdata_file("MR_small.dcm")))).status == 0


async def find(world, association, tmp_path):
    async with association.c_find(world.query(), FIND) as matches:
        assert len([match async for match in matches]) == 3


async def find_bare(world, association, tmp_path):
    assert (await association.c_find(world.query(), FIND)).status == 0


async def find_some(world, association, tmp_path):
    assert len(await association.c_find(world.query(), FIND).collect(limit=2)) == 2


async def find_and_cancel(world, association, tmp_path):
    async with association.c_find(world.query(), FIND) as matches:
        await anext(matches)
        await matches.cancel()
        assert all([match async for match in matches])


async def get(world, association, tmp_path):
    async with association.c_get(world.query(), GET) as retrieval:
        async for instance in retrieval:
            await instance.discard()
    assert retrieval.status == 0


async def get_and_save(world, association, tmp_path):
    async with association.c_get(world.query(), GET) as retrieval:
        async for instance in retrieval:
            await instance.save(tmp_path, durable=False)
    assert retrieval.status == 0


async def move(world, association, tmp_path):
    async with association.c_move(world.query(), MOVE, destination="X") as moving:
        assert [progress async for progress in moving] == []
    assert moving.status == 0


async def get_and_decode(world, association, tmp_path):
    async with association.c_get(world.query(), GET) as retrieval:
        async for instance in retrieval:
            assert (await instance.dataset()).SOPClassUID == CT
    assert retrieval.status == 0


async def get_in_pieces(world, association, tmp_path):
    async with association.c_get(world.query(), GET) as retrieval:
        async for instance in retrieval:
            assert sum([len(piece) async for piece in instance.stream()])
    assert retrieval.status == 0


async def n_action(world, association, tmp_path):
    assert (await association.n_action(COMMITMENT, "1.2.840.10008.1.20.1.1", 1, world.query())).status == 0


async def n_event_report(world, association, tmp_path):
    assert (await association.n_event_report(COMMITMENT, "1.2.840.10008.1.20.1.1", 1, world.query())).status == 0


async def n_create(world, association, tmp_path):
    assert (await association.n_create(STEP, "1.2.3", world.query())).status == 0


async def n_set(world, association, tmp_path):
    assert (await association.n_set(STEP, "1.2.3", world.query())).status == 0


async def n_get(world, association, tmp_path):
    assert (await association.n_get(RETRIEVED_STEP, "1.2.3")).status == 0


async def n_delete(world, association, tmp_path):
    assert (await association.n_delete(FILM_BOX, "1.2.3")).status == 0


async def release(world, association, tmp_path):
    await association.release()


async def release_and_watch(world, association, tmp_path):
    watcher = asyncio.create_task(association.wait_closed())
    try:
        await association.release()
        await association.wait_closed()
    finally:
        watcher.cancel()


async def wait_for_a_place(world, association, tmp_path):
    first, second = asyncio.create_task(association.c_echo()), asyncio.create_task(association.c_echo())
    await asyncio.gather(first, second)


Scenario = Callable[..., Awaitable[None]]
SCENARIOS: list[Scenario] = [
    echo,
    store,
    store_file,
    find,
    find_bare,
    find_some,
    find_and_cancel,
    get,
    get_and_save,
    get_and_decode,
    get_in_pieces,
    move,
    n_action,
    n_event_report,
    n_create,
    n_set,
    n_get,
    n_delete,
    release,
    release_and_watch,
    wait_for_a_place,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_a_whole_association(world, server, scenario, tmp_path, record_property):
    """Cancelled anywhere from connect to the end of release."""
    world.network.in_flight = 2000

    async def whole() -> None:
        async with world.connect(contexts=CONTEXTS, storage=[CT]) as association:
            await scenario(world, association, tmp_path)

    async def once(k: int) -> bool:
        done = await ended(asyncio.create_task(cancelled_at(k, whole())))
        await world.clock.elapse(1.1)  # Timeouts.close_after_abort
        assert (len(listening.associations), world.network.open) == (0, []), f"at await {k}"
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:  # a file is being read: it is waited for
            _, tasks = await asyncio.wait(tasks, timeout=60)
        assert not tasks, f"at await {k}"
        assert not list(tmp_path.glob(".*")), f"a temporary file, at await {k}"
        return done

    async with world.listen(server) as listening:
        cancelled = await at_each(once)
        assert cancelled > 2
    record_property("awaits cancelled", cancelled)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_an_operation_on_an_association_that_lives(world, server, scenario, tmp_path, record_property):
    """The association is of use to others, or closed; its window is not used up."""
    world.network.in_flight = 2000

    async def once(k: int) -> bool:
        async with world.connect(contexts=CONTEXTS, storage=[CT]) as association:
            done = await ended(asyncio.create_task(cancelled_at(k, scenario(world, association, tmp_path))))
            if association.is_open:
                again = asyncio.create_task(association.c_echo())
                await ended(again)
                assert again.result().status == 0, f"at await {k}"
                assert len(association._endpoint.invoker) == 0
        await world.clock.elapse(1.1)
        return done

    async with world.listen(server):
        record_property("awaits cancelled", await at_each(once))


async def test_a_cancelled_task_group(world, server):
    world.network.in_flight = 2000
    async with world.listen(server):
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with asyncio.TaskGroup() as group:
                for scenario in (echo, find, move, store):

                    async def whole(scenario: Scenario = scenario) -> None:
                        async with world.connect(contexts=CONTEXTS, storage=[CT]) as association:
                            for _ in range(50):
                                await scenario(world, association, None)

                    group.create_task(whole())

                async def fail() -> None:
                    for _ in range(100):
                        await asyncio.sleep(0)
                    raise ValueError("one of them failed")

                group.create_task(fail())
        assert caught.group_contains(ValueError)
        await world.clock.elapse(1.1)
        assert world.network.open == []
