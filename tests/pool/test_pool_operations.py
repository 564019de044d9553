"""The operations of an Association, on associations of a pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from pool.conftest import CT, FIND, Stage, identifier, image
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.services.instance import InstanceSource


async def test_a_query_is_entered_iterated_awaited_and_collected(stage: Stage) -> None:
    async with stage.pool() as pool:
        async with pool.c_find(identifier(), FIND) as matches:
            entered = [match.PatientID async for match in matches]
        iterated = [match.PatientID async for match in pool.c_find(identifier(), FIND)]
        collected = [match.PatientID for match in await pool.c_find(identifier(), FIND).collect()]
        response = await pool.c_find(identifier(), FIND)
        assert entered == iterated == collected == ["0", "1", "2"]
        assert response.status == matches.status == 0x0000
        assert (stage.opened, pool.idle) == (1, 1)


@pytest.mark.parametrize("service", ["c_echo", "c_find"])
async def test_a_request_that_did_not_go_out_is_repeated_once(stage: Stage, service: str) -> None:
    """The association ends between the moment at which it is handed out and the request."""
    async with stage.pool() as pool:
        await pool.c_echo()
        member = pool._members._idle[0]
        taken = pool._members.take

        async def take(need: Any) -> object:
            found = await taken(need)
            if found is member:
                member.association.abort()
            return found

        pool._members.take = take  # type: ignore[method-assign, assignment]
        response = await (pool.c_echo() if service == "c_echo" else pool.c_find(identifier(), FIND))
        assert response.status == 0x0000
        assert stage.opened == 2


async def test_a_request_that_may_have_been_acted_on_is_not_repeated(stage: Stage) -> None:
    stage.hold = asyncio.Event()
    async with stage.pool() as pool:
        storing = asyncio.create_task(pool.c_store(image()))
        await stage.until(lambda: stage.at_once == 1)
        await stage.kill()
        with pytest.raises(aiodimse.AssociationError) as caught:
            await storing
        assert caught.value.sent is True
        assert stage.opened == 1


# --- many -------------------------------------------------------------------------------------------------------------


async def test_many_instances_go_side_by_side_each_with_its_result(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "no.dcm").write_bytes(b"no DICOM")
    images = [image() for _ in range(30)]
    sources: list[InstanceSource] = [*images[:10], tmp_path / "no.dcm", *images[10:], tmp_path / "missing.dcm"]
    async with stage.pool(max_size=3) as pool:
        results = [result async for result in pool.c_store_many(sources)]
    failed = {Path(result.source).name: result.error for result in results if isinstance(result.source, Path)}
    assert len(results) == 32
    assert sorted(stage.stored) == sorted(one.SOPInstanceUID for one in images)
    assert isinstance(failed["no.dcm"], aiodimse.NotDICOM)
    assert isinstance(failed["missing.dcm"], FileNotFoundError)
    assert all(result.response.status == 0 for result in results if result.response is not None)
    assert stage.opened == 3
    with pytest.raises(FileNotFoundError):
        next(result for result in results if result.error is failed["missing.dcm"]).raise_for_status()


@pytest.mark.parametrize("max_size", [1, 4])
@pytest.mark.parametrize("where", [0, 1, 2])
async def test_a_source_that_is_none_is_not_the_end_of_the_sources(stage: Stage, max_size: int, where: int) -> None:
    sources: list[Any] = [image(), image()]
    sources.insert(where, None)
    async with stage.pool(max_size=max_size) as pool:
        results = [result async for result in pool.c_store_many(sources)]
    assert [type(result.error) for result in results if result.source is None] == [TypeError]
    assert [result.response.status for result in results if result.response is not None] == [0x0000, 0x0000]


class SourceGone(Exception):
    """What a library for HTTP raises: no OSError."""


@pytest.mark.parametrize("error", [SourceGone, KeyError, AssertionError])
async def test_any_error_of_one_instance_is_in_its_own_result(stage: Stage, error: type[Exception]) -> None:
    whole = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()

    async def gone() -> AsyncIterator[bytes]:
        yield whole[:30_000]
        raise error

    async with stage.pool(max_size=2) as pool:
        sources = [image(), await aiodimse.Instance.from_part10(gone()), image(), image()]
        results = {id(result.source): result async for result in pool.c_store_many(sources)}
    assert len(results) == 4
    assert [type(results[id(source)].error) for source in sources] == [type(None), error, type(None), type(None)]


@pytest.mark.parametrize(("window", "at_once"), [(3, 6), ((3, 1), 6), (0, 32)])
async def test_many_use_all_places_of_the_window(stage: Stage, window: int | tuple[int, int], at_once: int) -> None:
    """A window of 0 has no bound (PS3.7 D.3.3.3); the pool then uses 16 places of it."""
    stage.hold = asyncio.Event()
    async with stage.pool(max_size=2, operations_window=window) as pool:

        async def all_of_them() -> int:
            return len([result async for result in pool.c_store_many(image() for _ in range(40))])

        storing = asyncio.create_task(all_of_them())
        await stage.until(lambda: stage.at_once >= at_once)
        await testing.settle()
        assert stage.at_once == at_once
        stage.hold.set()
        assert await storing == 40
        assert stage.opened == 2


async def test_sources_are_read_no_faster_than_they_are_sent_and_results_taken(stage: Stage) -> None:
    read = 0

    async def sources() -> AsyncIterator[InstanceSource]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield image()

    async with stage.pool(max_size=2) as pool:
        results = pool.c_store_many(sources())
        assert (await anext(results)).response is not None
        await testing.settle()
        assert read <= 10
        await results.aclose()


async def test_leaving_the_loop_stops_the_sending(stage: Stage) -> None:
    async with stage.pool(max_size=2) as pool:
        async for _ in pool.c_store_many(image() for _ in range(1000)):
            break
        await testing.settle()
        assert len(stage.stored) < 20
        assert pool.idle == pool.size


@pytest.mark.parametrize("kind", ["async", "plain", "iterable"])
@pytest.mark.parametrize("how", ["left", "cancelled", "with the pool", "at the end"])
async def test_a_generator_of_sources_is_closed(stage: Stage, kind: str, how: str) -> None:
    """It may hold a cursor of a database, and nobody else knows that it is no longer read."""
    closed: list[str] = []

    def plain() -> Iterator[InstanceSource]:
        try:
            for _ in range(3 if how == "at the end" else 1000):
                yield image()
        finally:
            closed.append(kind)

    async def slow() -> AsyncIterator[InstanceSource]:
        try:
            for source in plain():
                yield source
        finally:
            await asyncio.sleep(0)
            closed.append(kind)

    class Each:
        def __iter__(self) -> Iterator[InstanceSource]:
            return plain()

    sources = {"async": slow(), "plain": plain(), "iterable": Each()}[kind]
    async with stage.pool(max_size=2) as pool, aclosing(pool.c_store_many(sources)) as results:
        assert (await anext(results)).error is None
        if how == "at the end":
            assert len([result async for result in results]) == 2
        elif how == "cancelled":
            stage.hold = asyncio.Event()
            waiting = asyncio.create_task(_all(results))
            await stage.until(lambda: stage.at_once == 2)
            waiting.cancel()
            await asyncio.wait([waiting])
            stage.hold.set()
        elif how == "with the pool":
            await pool.close()
        else:
            await results.aclose()
        assert kind in closed


async def test_sources_that_are_no_generator_stay_open(stage: Stage, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("one\ntwo\nthree\n")
    with names.open() as lines:
        async with stage.pool(max_size=1) as pool, aclosing(pool.c_store_many(lines)) as results:
            assert (await anext(results)).source == "one\n"
        assert next(lines)


async def test_what_the_sources_raise_when_they_are_closed(stage: Stage) -> None:
    def sources() -> Iterator[InstanceSource]:
        try:
            while True:
                yield image()
        finally:
            raise KeyError("not committed")

    async with stage.pool(max_size=2) as pool:
        results = pool.c_store_many(sources())
        assert (await anext(results)).error is None
        with pytest.raises(KeyError, match="not committed"):
            await results.aclose()
        assert await pool.c_echo()


async def test_what_the_sources_raise_comes_after_what_they_gave(stage: Stage) -> None:
    async def sources() -> AsyncIterator[InstanceSource]:
        yield image()
        yield image()
        raise KeyError("gone")

    async with stage.pool(max_size=1) as pool:
        results = pool.c_store_many(sources())
        assert (await anext(results)).error is None
        assert (await anext(results)).error is None
        with pytest.raises(KeyError):
            await anext(results)
    assert len(stage.stored) == 2


@pytest.mark.parametrize("pieces", [0, 1])
async def test_an_instance_that_raises_cancelled_error_by_itself_has_its_result(stage: Stage, pieces: int) -> None:
    """It awaits something that another task has cancelled."""

    class Odd(aiodimse.Instance):
        async def _stream(self) -> AsyncIterator[bytes]:
            for _ in range(pieces):
                yield bytes(100_000)
            raise asyncio.CancelledError

        def stream(self) -> AsyncIterator[bytes]:
            return self._stream()

    odd = Odd(CT, "1.2.3", "1.2.840.10008.1.2.1")
    async with stage.pool(max_size=2) as pool:
        results = [result async for result in pool.c_store_many([odd, image(), odd, odd, image()])]
    assert len(results) == 5
    for result in results:
        if result.source is odd:
            assert isinstance(result.error, RuntimeError)
            assert isinstance(result.error.__cause__, asyncio.CancelledError)
        else:
            assert result.error is None


@pytest.mark.parametrize("max_size", [1, 3])
async def test_sources_that_raise_cancelled_error_by_themselves_are_not_at_their_end(
    stage: Stage, max_size: int
) -> None:
    async def sources() -> AsyncIterator[InstanceSource]:
        yield image()
        raise asyncio.CancelledError

    async with stage.pool(max_size=max_size) as pool:
        results = pool.c_store_many(sources())
        assert (await anext(results)).error is None
        with pytest.raises(RuntimeError, match="CancelledError"):
            await anext(results)


async def test_closing_the_pool_ends_what_is_being_sent(stage: Stage) -> None:
    stage.hold = asyncio.Event()
    pool = stage.pool(max_size=2)
    results = pool.c_store_many(image() for _ in range(10))
    first = asyncio.create_task(anext(results, None))
    await stage.until(lambda: stage.at_once == 2)
    closing = asyncio.create_task(pool.close())
    await stage.clock.elapse(15)
    await closing
    assert await first is None
    assert pool.size == 0


async def test_a_peer_that_is_killed_again_and_again_loses_nothing(stage: Stage) -> None:
    """No instance is reported stored that is not there, and each arrives at last."""
    images = [image() for _ in range(200)]
    reported: set[str] = set()
    async with stage.pool(max_size=3, acquire_timeout=60.0) as pool:

        async def send() -> None:
            left = {one.SOPInstanceUID: one for one in images}
            while left:
                async for result in pool.c_store_many(list(left.values())):
                    if result.response is not None and result.response.status == 0x0000:
                        uid = result.source.SOPInstanceUID  # type: ignore[union-attr]
                        assert uid in stage.stored
                        reported.add(uid)
                        left.pop(uid)

        sending = asyncio.create_task(send())
        for number in range(1, 11):
            while len(stage.stored) < 15 * number:
                await stage.clock.elapse(0.01)
                await asyncio.to_thread(int)
            await stage.kill()
            await stage.clock.elapse(1)
            await stage.start()
        await stage.until_done(sending)
        await sending
    assert reported == {one.SOPInstanceUID for one in images}


async def test_attempts_repeat_what_ended_with_its_association(stage: Stage) -> None:
    stage.hold = asyncio.Event()
    async with stage.pool(max_size=1, acquire_timeout=60.0) as pool:

        async def send() -> list[aiodimse.StoreResult]:
            return [result async for result in pool.c_store_many([image(), image()], attempts=2)]

        sending = asyncio.create_task(send())
        await stage.until(lambda: stage.at_once == 1)
        await stage.kill()
        stage.hold = None
        await stage.start()
        await stage.until_done(sending)
        assert [result.error for result in await sending] == [None, None]


async def test_a_free_place_of_the_window_is_of_no_use_without_the_context(stage: Stage) -> None:
    """An instance of another SOP class waits for an association that proposes it, and is stored over that one."""
    stage.hold = asyncio.Event()
    mr = image()
    mr.SOPClassUID = sop_class.MRImageStorage
    is_stored = asyncio.Event()

    async def sources() -> AsyncIterator[InstanceSource]:
        yield image()
        await is_stored.wait()  # then nobody waits, and two places are free
        yield mr
        yield image()

    async with stage.pool(max_size=1, operations_window=3) as pool:
        storing = asyncio.create_task(_all(pool.c_store_many(sources())))
        await stage.until(lambda: stage.at_once == 1)
        is_stored.set()
        await testing.settle()
        stage.hold.set()
        await stage.until_done(storing)
        assert [result.error for result in storing.result()] == [None] * 3
        assert stage.opened == 2


async def _all(results: AsyncIterator[aiodimse.StoreResult]) -> list[aiodimse.StoreResult]:
    return [result async for result in results]


async def elsewhere(use: Callable[[], Awaitable[Any]]) -> Any:
    """Use it on an event loop of another thread."""

    async def there() -> Any:
        return await use()

    return await asyncio.to_thread(lambda: asyncio.run(there()))


@pytest.mark.parametrize("made_outside", [False, True])
async def test_a_pool_belongs_to_the_loop_of_its_first_use(stage: Stage, made_outside: bool) -> None:
    pool = await asyncio.to_thread(stage.pool) if made_outside else stage.pool()
    await pool.c_echo()
    uses: list[Callable[[], Awaitable[Any]]] = [
        pool.c_echo,
        lambda: pool.acquire().__aenter__(),
        lambda: pool.c_find(identifier(), FIND).collect(),
        lambda: pool.c_store(image()),
        pool.close,
    ]
    for use in uses:
        with pytest.raises(aiodimse.LocalProtocolError, match="a pool belongs to one event loop"):
            await elsewhere(use)
    assert (pool.size, pool.idle) == (1, 1)
    assert (await pool.c_echo()).status == 0x0000
    await pool.close()
