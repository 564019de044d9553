"""Requests that would open files are refused before the descriptors are gone, and above one association's share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import Limits, sop_class, testing
from aiodimse.aio.descriptors import Descriptors

resource = pytest.importorskip("resource", reason="Windows has no limit of descriptors")

CT = sop_class.CTImageStorage
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove


def image(number: int = 1) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, f"1.2.3.{number}"
    return made


def query() -> Dataset:
    return aiodimse.identifier("STUDY", StudyInstanceUID="1.2.3")


def server(
    limits: Limits | None = None, until: asyncio.Event | None = None, entered: asyncio.Event | None = None
) -> aiodimse.Server:
    """It stores when it may, and has nothing to be found."""
    made = aiodimse.Server(ae_title="PACS", limits=limits or Limits(), operations_window=(0, 0))

    @made.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.discard()
        if entered is not None:
            entered.set()
        if until is not None:
            await until.wait()
        return 0

    @made.on_c_find
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        yield 0x0000, None

    @made.on_c_get
    async def get(request: aiodimse.GetRequest) -> AsyncIterator[Any]:
        yield 0

    @made.on_c_move
    async def move(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
        yield aiodimse.Destination("memory", 4242)
        yield 0

    return made


@pytest.fixture
def file_limit() -> Iterator[None]:
    """The limit is put back at the end."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def open_now() -> int:
    probe = os.dup(0)
    os.close(probe)
    return probe


def test_nine_tenths_are_open(file_limit: None) -> None:
    seconds = 0.0
    descriptors = Descriptors(lambda: seconds)
    assert not descriptors.are_short()
    hard, before = resource.getrlimit(resource.RLIMIT_NOFILE)[1], open_now()
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 1, hard))
    assert not descriptors.are_short()  # an answer holds for 20 ms
    seconds = 0.1
    assert descriptors.are_short()
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))  # not one is left
    seconds = 0.2
    assert descriptors.are_short()
    resource.setrlimit(resource.RLIMIT_NOFILE, (before * 10 // 8, hard))
    seconds = 0.3
    assert not descriptors.are_short()


async def statuses(association: Any) -> dict[str, int]:
    found = {"C-ECHO": (await association.c_echo()).status, "C-STORE": (await association.c_store(image())).status}
    found["C-GET"] = (await association.c_get(query())).status
    found["C-MOVE"] = (await association.c_move(query(), destination="THERE")).status
    async with association.c_find(query()) as matches:
        found["C-FIND"] = (await matches).status
    return {service: int(status) for service, status in found.items()}


async def test_what_opens_files_is_refused_while_they_are_short(file_limit: None) -> None:
    contexts = [sop_class.Verification, CT, FIND, GET, MOVE]
    async with testing.joined(server(), contexts=contexts) as association:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now() + 1, hard))
        assert await statuses(association) == {
            "C-ECHO": 0,
            "C-STORE": 0xA700,
            "C-GET": 0xA700,
            "C-MOVE": 0xA700,
            "C-FIND": 0,
        }


async def test_it_goes_on_when_there_are_some_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with testing.joined(server(), contexts=[CT]) as association:
        for short, status in ((True, 0xA700), (False, 0)):
            monkeypatch.setattr(Descriptors, "are_short", lambda _, short=short: short)
            assert (await association.c_store(image())).status == status


@pytest.mark.parametrize(("most", "stored"), [(1, 1), (2, 2), (64, 4)])
async def test_the_share_of_one_association(most: int, stored: int) -> None:
    """Of four at once; another association has a share of its own, and each place is free again."""
    until = asyncio.Event()
    provider = server(Limits(files_per_association=most), until)
    async with testing.joined(provider, contexts=[CT], operations_window=(4, 1)) as association:
        storing = [asyncio.ensure_future(association.c_store(image(number))) for number in range(4)]
        while sum(each.done() for each in storing) < 4 - stored:  # noqa: ASYNC110
            await asyncio.sleep(0)
        until.set()
        found = [int((await each).status) for each in storing]
        assert sorted(found) == [0] * stored + [0xA700] * (4 - stored)
        assert (await association.c_store(image(9))).status == 0


async def test_a_c_move_needs_three() -> None:
    """Beside a C-STORE, three are within four and not within three; alone it is always within."""
    until, entered = asyncio.Event(), asyncio.Event()
    for most, status in ((4, 0), (3, 0xA700), (1, 0)):
        until.clear()
        entered.clear()
        provider = server(Limits(files_per_association=most), until, entered)
        async with testing.joined(provider, contexts=[CT, MOVE], operations_window=(4, 1)) as association:
            if most > 1:
                storing = asyncio.ensure_future(association.c_store(image()))
                await entered.wait()
            response = await association.c_move(query(), destination="THERE")
            assert response.status == status
            until.set()
            if most > 1:
                assert (await storing).status == 0
