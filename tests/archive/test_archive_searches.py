"""Searches take turns, and have limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, MemoryIndex, find_query, provide, retrieve_query
from aiodimse.archive.index import slices
from aiodimse.archive.models import STUDY_ROOT
from aiodimse.archive.searches import Searches, Turns

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
IMAGES = 5


# --- turns ------------------------------------------------------------------------------------------------------------


async def test_one_owner_after_the_other_has_a_turn() -> None:
    """Who waits with many searches has no more turns than who waits with one."""
    turns, order = Turns(1), []

    async def take(owner: str) -> None:
        await turns.take(owner)
        order.append(owner)
        await asyncio.sleep(0)
        turns.leave()

    await turns.take("first")
    async with asyncio.TaskGroup() as group:
        for owner in ["many"] * 4 + ["few"] * 2 + ["one"]:
            group.create_task(take(owner))
        await testing.settle()
        assert order == []
        turns.leave()
    assert order == ["many", "few", "one", "many", "few", "many", "many"]


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_so_many_turns_at_once(at_once: int) -> None:
    turns, taken = Turns(at_once), []

    async def take(owner: int) -> None:
        await turns.take(owner % 3)
        taken.append(owner)

    tasks = [asyncio.create_task(take(owner)) for owner in range(5)]
    await testing.settle()
    assert len(taken) == at_once
    for number in range(5):
        turns.leave()
        await testing.settle()
        assert len(taken) == min(at_once + number + 1, 5)
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("when", ["waiting", "at its turn"])
async def test_who_is_cancelled_has_no_turn(when: str) -> None:
    turns = Turns(1)
    await turns.take("first")
    cancelled, following = (asyncio.create_task(turns.take(owner)) for owner in ("second", "third"))
    await testing.settle()
    if when == "waiting":
        cancelled.cancel()
        await testing.settle()
        assert not following.done()
    turns.leave()
    cancelled.cancel()
    await testing.settle()
    assert cancelled.cancelled()
    assert following.done()
    turns.leave()
    await turns.take("free again")


# --- searches of an association ---------------------------------------------------------------------------------------


class Association:
    pass


def asking(association: Association) -> Any:
    return SimpleNamespace(association=association, message="C-FIND-RQ 1", logger=lambda logger: logger)


async def test_a_few_searches_of_one_association_are_under_way_and_the_rest_waits() -> None:
    """Another association does not wait for them, though none of them gets on."""
    searches, server, go = Searches(of_one=2), aiodimse.Server(), asyncio.Event()
    greedy, modest = Association(), Association()
    under_way: list[Association] = []

    async def search(association: Association) -> None:
        async with searches.search(asking(association), server):
            under_way.append(association)
            await go.wait()

    async with asyncio.TaskGroup() as group:
        for association in (greedy, greedy, greedy, greedy, modest):
            group.create_task(search(association))
        await testing.settle()
        assert under_way == [greedy, greedy, modest]
        go.set()
    assert len(under_way) == 5


# --- an archive -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "SQLite"])
async def archive(
    request: pytest.FixtureRequest, tmp_path: Path, a_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Archive]:
    """Five images of one study; a slice of a search looks at one of them."""
    pytest.importorskip("sqlalchemy")
    monkeypatch.setattr(slices, "_MATCHES", 1)
    for number in range(IMAGES):
        a_file(f"{number}.dcm", SOPInstanceUID=f"1.2.3.{number}", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1")
    opened = await Archive.open(tmp_path, index=MemoryIndex() if request.param == "memory" else None)
    yield opened
    await opened.close()


def images() -> Dataset:
    return aiodimse.identifier("IMAGE", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1", SOPInstanceUID=None)


def all_of() -> Dataset:
    return aiodimse.identifier("STUDY", StudyInstanceUID="1.2")


class Counted:
    """Counts the slices, and how many there are at once."""

    def __init__(self) -> None:
        self.entered = self.inside = 0

    async def __aenter__(self) -> None:
        self.entered += 1
        self.inside += 1

    async def __aexit__(self, *_: object) -> None:
        self.inside -= 1


@pytest.mark.parametrize("what", ["find", "entries"])
async def test_an_index_waits_for_each_slice_and_holds_none_while_it_yields(archive: Archive, what: str) -> None:
    turn, found = Counted(), 0
    query = find_query(images(), STUDY_ROOT) if what == "find" else retrieve_query(all_of(), STUDY_ROOT)
    generator = getattr(archive.index, what)(query, turn)
    async with aclosing(generator) as each:
        async for _ in each:
            found += 1
            assert (turn.entered, turn.inside) == (found, 0)
    assert found == IMAGES
    assert turn.entered > IMAGES


@asynccontextmanager
async def asked(
    archive: Archive, limits: aiodimse.Limits, timeouts: aiodimse.Timeouts
) -> AsyncIterator[aiodimse.Association]:
    environment = aiodimse.Environment(network=testing.MemoryNetwork())
    server = aiodimse.Server(ae_title="ARCHIVE", limits=limits, timeouts=timeouts, environment=environment)
    provide(server, archive)
    async with (
        server.listen("memory", 104),
        aiodimse.connect(
            "memory", 104, called_ae_title="ARCHIVE", contexts=[FIND, GET], environment=environment
        ) as association,
    ):
        yield association


async def collected(operation: Any) -> tuple[int, int]:
    """How much came, and the final status."""
    number = 0
    async with operation as results:
        try:
            async for _ in results:
                number += 1
        except aiodimse.DIMSEFailure as error:
            return number, error.status
        return number, results.status


@pytest.mark.parametrize(("most", "status"), [(IMAGES, 0x0000), (IMAGES - 1, 0xA700), (1, 0xA700)])
async def test_a_search_that_finds_too_much(
    archive: Archive, most: int, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What was found is sent; the status, its comment and the log say that there is more."""
    async with asked(archive, aiodimse.Limits(search_responses=most), aiodimse.Timeouts()) as association:
        assert await collected(association.c_find(images(), FIND)) == (most, status)
        assert await collected(association.c_find(all_of(), FIND)) == (1, 0x0000)
    said = [r for r in caplog.records if r.levelno == logging.WARNING and "the search is ended" in r.getMessage()]
    assert len(said) == (status != 0)


async def test_a_search_that_takes_too_long(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    async with asked(archive, aiodimse.Limits(), aiodimse.Timeouts(search=0)) as association:
        assert await collected(association.c_find(images(), FIND)) == (0, 0xA700)
        assert await collected(association.c_get(all_of(), GET)) == (0, 0xA701)
    assert len([r for r in caplog.records if "the search is ended: longer than 0 s" in r.getMessage()]) == 2
