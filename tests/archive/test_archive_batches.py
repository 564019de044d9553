"""What is processed together, and what happens to it if a part of it is refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from archive.conftest import make_object, write_object
from archive.databases import open_index

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, Header, MemoryIndex, ObjectRefused, provide
from aiodimse.archive.batches import Batches
from aiodimse.archive.header import header_of
from aiodimse.archive.models import Level

SECONDS = 10
"""For what takes a moment of real time, on a machine that does other things, too."""
MR, PROTOCOL = sop_class.MRImageStorage, sop_class.HangingProtocolStorage


class Refused(Exception):
    """Some of the numbers are bad."""


class Numbers:
    """Takes numbers, the first time once it is allowed to."""

    def __init__(self, bad: Iterable[int] = (), error: Exception | None = None) -> None:
        self.bad, self.error = set(bad), error
        self.calls: list[list[int]] = []
        self.taken: list[int] = []
        self.was_called, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def take(self, numbers: Sequence[int]) -> int:
        self.calls.append(list(numbers))
        self.was_called.set()
        await self.may_go_on.wait()
        if self.error is not None and len(self.calls) > 1:
            raise self.error
        if self.bad.intersection(numbers):
            raise Refused(sorted(self.bad.intersection(numbers)))
        self.taken += numbers
        return len(numbers)


async def add_all(batches: Batches[int, int], numbers: Numbers, count: int) -> list[int | BaseException]:
    """Add the number 0, and the others while it is processed, so that they are one batch."""
    first = asyncio.create_task(batches.add(0))
    await numbers.was_called.wait()
    others = [asyncio.create_task(batches.add(number)) for number in range(1, count)]
    await asyncio.sleep(0)
    numbers.may_go_on.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


async def test_what_waits_for_others_has_no_more_time_than_they() -> None:
    """They may wait for a database that does not answer."""
    numbers = Numbers()
    batches = Batches(numbers.take, Refused, seconds=0.0)
    adding = [asyncio.create_task(batches.add(number)) for number in range(3)]
    await asyncio.wait(adding, timeout=SECONDS)
    assert [each.done() for each in adding] == [True] * 3, "they wait for ever"
    assert [type(each.exception()) for each in adding] == [TimeoutError] * 3
    numbers.may_go_on.set()
    assert await Batches(numbers.take, Refused).add(3) == 1
    assert sorted(numbers.taken) == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [[], [1], [7], [4], [1, 7], [2, 3], list(range(1, 8))])
async def test_what_is_refused_fails_alone(bad: list[int]) -> None:
    numbers = Numbers(bad)
    results = await add_all(Batches(numbers.take, Refused), numbers, 8)
    assert [number for number, result in enumerate(results) if isinstance(result, Refused)] == bad
    assert [str(result) for result in results if isinstance(result, Refused)] == [f"[{number}]" for number in bad]
    assert numbers.taken == [number for number in range(8) if number not in bad], "each once, and in order"


async def test_one_of_many_costs_few_more_calls() -> None:
    numbers = Numbers([100])
    await add_all(Batches(numbers.take, Refused), numbers, 257)
    assert len(numbers.calls) <= 2 + 2 * 8
    assert len(numbers.taken) == 256


async def test_the_result_is_that_of_the_part() -> None:
    numbers = Numbers([4])
    results = await add_all(Batches(numbers.take, Refused), numbers, 5)
    assert results[:4] == [1, 2, 2, 1]


async def test_another_exception_is_not_tried_again() -> None:
    """With a connection that is gone, each piece would wait for it."""
    numbers = Numbers(error=ConnectionError())
    results = await add_all(Batches(numbers.take, Refused), numbers, 8)
    assert [type(result) for result in results] == [int, *[ConnectionError] * 7]
    assert len(numbers.calls) == 2


async def test_the_connection_goes_between_two_pieces() -> None:
    numbers = Numbers([7])

    async def take(some: Sequence[int]) -> int:
        if some == [6, 7]:
            raise ConnectionError
        return await numbers.take(some)

    results = await add_all(Batches(take, Refused), numbers, 8)
    assert results[:6] == [1, 3, 3, 3, 2, 2]
    assert [type(result) for result in results[6:]] == [ConnectionError] * 2
    assert numbers.taken == [0, 1, 2, 3, 4, 5]


async def test_who_goes_away_keeps_nobody_from_the_rest() -> None:
    numbers = Numbers([2])
    batches = Batches(numbers.take, Refused)
    first = asyncio.create_task(batches.add(0))
    await asyncio.sleep(0)
    others = [asyncio.create_task(batches.add(number)) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    others[1].cancel()
    numbers.may_go_on.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(result) for result in results] == [int, int, asyncio.CancelledError, int]


# --- indexes ----------------------------------------------------------------------------------------------------------


def header(number: int, patient: str = "P1") -> Header:
    made = header_of(make_object(image=str(number)), f"{number}.dcm", "1.2.840.10008.1.2.1")
    return replace(made, levels={**made.levels, Level.PATIENT: {"PatientID": (patient,)}})


TOO_LONG = "".join(Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=16000))
"""No row of an index of PostgreSQL has room for it, not even compressed."""


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("postgresql", header(9, TOO_LONG)),
        ("postgresql", replace(header(9), transfer_syntax="\ud800", model="of a name with more than 32 characters")),
        ("sqlite", replace(header(9), size=1 << 63)),
        ("postgresql", replace(header(9), size=1 << 63)),
    ],
    ids=["key", "text", "integer of SQLite", "integer"],
)
async def test_a_database_refuses_an_object(kind: str, bad: Header, tmp_path: Path) -> None:
    index = await open_index(kind, tmp_path)
    with pytest.raises(ObjectRefused):
        await index.add([header(1), bad, header(2)])
    assert (await index.counts()).instances == 0
    batches = Batches(index.add, ObjectRefused)
    adding = [asyncio.create_task(batches.add(each)) for each in (header(1), header(2), bad, header(3))]
    results = await asyncio.gather(*adding, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), type(None), ObjectRefused, type(None)]
    assert (await index.counts()).instances == 3
    await index.close()


async def test_a_database_that_is_away_refuses_nothing(tmp_path: Path) -> None:
    index = await open_index("postgresql", tmp_path)
    await index.close()
    with pytest.raises(OSError, match="closed"):
        await index.add([header(1)])


class Picky(MemoryIndex):
    """Refuses some objects."""

    async def add(self, headers: Iterable[Header]) -> None:
        headers = list(headers)
        if any(each.text("SOPInstanceUID").endswith(".666") for each in headers):
            raise ObjectRefused
        await super().add(headers)


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    archive = await Archive.open(tmp_path, index=Picky())
    yield archive
    await archive.close()


@pytest.mark.parametrize(("uid", "status"), [(MR, 0xB007), (PROTOCOL, 0xC000)])
async def test_a_store_of_what_the_index_refuses(
    archive: Archive, uid: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    bad, good = make_object(image="666", SOPClassUID=uid), make_object(image="2")
    for each in (bad, good):
        each.ensure_file_meta()
        each.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    async with (
        server.listen("127.0.0.1", 0) as listening,
        aiodimse.connect("127.0.0.1", listening.port, called_ae_title="ARCHIVE", contexts=[MR, PROTOCOL]) as peer,
    ):
        for _ in range(2):  # the second time, the file is there
            assert (await peer.c_store(bad)).status == status
        assert (await peer.c_store(good)).status == 0x0000
    assert archive.availability.is_up
    said = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(said) == 2
    assert all("a stored object cannot be found: ObjectRefused" in each for each in said)


async def test_a_scan_of_what_the_index_refuses(tmp_path: Path) -> None:
    for number in (0, 666, 2):
        write_object(tmp_path / f"{number}.dcm", make_object(image=str(number)))
    archive = await Archive.open(tmp_path, index=Picky())
    for _ in range(2):
        report = await archive.scan()
        assert (report.files, report.indexed, report.damaged, report.forgotten) == (3, 2, 1, 0)
    write_object(tmp_path / "0.dcm", make_object(image="666", StudyDescription="it was another one"))
    report = await archive.scan()
    assert (report.files, report.indexed, report.damaged, report.forgotten) == (3, 1, 2, 1)
    assert set(await archive.index.lookup(["1.2.1.1.0", "1.2.1.1.2"])) == {"1.2.1.1.2"}
    await archive.close()
