"""A C-STORE of ours whose own data do not come: where the association ends, the call raises that at once.

The data may hang before the message has begun or in the middle of it, in the application's own code or in a thread of
the file pool that reads from a disk that does not answer. Nothing here waits for a time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import AssociationAborted, AssociationClosed, Instance, datasets, sop_class, testing
from aiodimse.aio import files
from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.files import WORKERS
from aiodimse.services import sources
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian

CT = sop_class.CTImageStorage
PIECE = bytes(1 << 18)
SOON = 60
"""Seconds that no machine needs; what hangs would hang for ever."""


class Stage:
    """An association, and both ends of it."""

    def __init__(self, association: aiodimse.Association, theirs: Endpoint) -> None:
        self.association, self.theirs = association, theirs
        self.ours = association._endpoint


@asynccontextmanager
async def standing() -> AsyncIterator[Stage]:
    server, network = aiodimse.Server(), testing.MemoryNetwork()

    @server.on_c_store
    async def store(request: Any) -> int:
        async for _ in request.stream():
            pass
        return 0x0000

    offer = [aiodimse.PresentationContext(CT, [ExplicitVRLittleEndian])]
    async with server.listen(network=network) as listening:
        association = await aiodimse.connect(
            "memory",
            listening.port,
            contexts=offer,
            environment=aiodimse.Environment(network=network),
            called_ae_title="AIODIMSE",
        )
        (theirs,) = listening._acceptor._all  # type: ignore[union-attr]
        yield Stage(association, theirs)
        association.abort()


async def we_abort(stage: Stage) -> None:
    stage.association.abort()


async def peer_aborts(stage: Stage) -> None:
    stage.theirs.abort()


async def peer_vanishes(stage: Stage) -> None:
    stage.theirs.connection.drop()


ENDS = (we_abort, peer_aborts, peer_vanishes)
ends = pytest.mark.parametrize("end", ENDS)


async def peer_releases(stage: Stage) -> None:
    await stage.theirs.release()


async def check(stage: Stage, source: Any, waiting: asyncio.Event, end: Callable[[Stage], Awaitable[None]]) -> Any:
    """The call ends with what ended the association, and is not seen as cancelled."""

    async def call() -> None:
        try:
            await stage.association.c_store(source)
        finally:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    storing = asyncio.create_task(call())
    async with asyncio.timeout(SOON):
        await waiting.wait()
        await testing.settle()
        assert not storing.done()
        await end(stage)
        with pytest.raises(aiodimse.AssociationError) as raised:
            await storing
    ended = stage.ours.error
    assert (type(raised.value), raised.value.args) == (type(ended), getattr(ended, "args", None))
    assert not raised.value.sent
    return raised.value


class Source(Instance):
    """So many pieces, and then one that never comes."""

    def __init__(self, pieces: int) -> None:
        super().__init__(CT, "1.2.3", ExplicitVRLittleEndian)
        self.pieces = pieces
        self.waiting = asyncio.Event()
        self.ended: list[type[BaseException]] = []

    async def stream(self) -> AsyncIterator[bytes]:  # type: ignore[override]
        try:
            for _ in range(self.pieces):
                yield PIECE
            self.waiting.set()
            await asyncio.get_running_loop().create_future()
        except BaseException as error:
            self.ended.append(type(error))
            raise


@ends
@pytest.mark.parametrize("pieces", [0, 1, 3])
async def test_a_source_that_hangs_is_cancelled(pieces: int, end: Callable[[Stage], Awaitable[None]]) -> None:
    async with standing() as stage:
        source = Source(pieces)
        await check(stage, source, source.waiting, end)
        assert source.ended == [asyncio.CancelledError]


async def test_a_source_that_hangs_before_the_message_when_the_peer_releases() -> None:
    async with standing() as stage:
        source = Source(0)
        assert type(await check(stage, source, source.waiting, peer_releases)) is AssociationClosed
        assert source.ended == [asyncio.CancelledError]


class Iterates(Instance):
    """An iterator that is no generator: it notes what becomes of it."""

    def __init__(self, pieces: int, swallows: bool = False) -> None:
        super().__init__(CT, "1.2.3", ExplicitVRLittleEndian)
        self.pieces, self.swallows = pieces, swallows
        self.waiting = asyncio.Event()
        self.told: list[str] = []

    def stream(self) -> Any:
        return self

    def __aiter__(self) -> Iterates:
        return self

    async def __anext__(self) -> bytes:
        if self.pieces:
            self.pieces -= 1
            return PIECE
        self.waiting.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.told.append("cancelled")
            if not self.swallows:
                raise
        return PIECE

    async def aclose(self) -> None:
        self.told.append("closed")


@ends
@pytest.mark.parametrize("pieces", [0, 2])
@pytest.mark.parametrize("swallows", [False, True])
async def test_a_source_is_closed(pieces: int, swallows: bool, end: Callable[[Stage], Awaitable[None]]) -> None:
    """One that goes on when it is cancelled is not asked again."""
    async with standing() as stage:
        source = Iterates(pieces, swallows)
        await check(stage, source, source.waiting, end)
        assert source.told == ["cancelled", "closed"]


class Encodes(Source):
    """It hangs before there is anything to be sent."""

    async def encoded(self, transfer_syntax: str) -> Any:
        async for _ in self.stream():
            pass


@ends
async def test_an_encoding_that_hangs_is_cancelled(end: Callable[[Stage], Awaitable[None]]) -> None:
    async with standing() as stage:
        source = Encodes(0)
        await check(stage, source, source.waiting, end)
        assert source.ended == [asyncio.CancelledError]


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_source_that_aborts_its_own_association(goes_on: bool) -> None:
    """Nobody cancels the task that does so; the call raises what it did when the next piece comes, or none."""

    class Aborts(Instance):
        async def stream(self) -> AsyncIterator[bytes]:  # type: ignore[override]
            yield PIECE
            stage.association.abort()
            if goes_on:
                yield PIECE

    async with standing() as stage:
        with pytest.raises(AssociationAborted) as raised:
            await stage.association.c_store(Aborts(CT, "1.2.3", ExplicitVRLittleEndian))
        ended = stage.ours.error
        assert (type(raised.value), raised.value.args) == (type(ended), getattr(ended, "args", None))
        assert not raised.value.sent


async def test_the_error_of_a_source_stays_its_own() -> None:
    class Fails(Instance):
        async def stream(self) -> AsyncIterator[bytes]:  # type: ignore[override]
            yield PIECE
            raise OSError("the bucket is gone")

    async with standing() as stage:
        with pytest.raises(OSError, match="bucket"):
            await stage.association.c_store(Fails(CT, "1.2.3", ExplicitVRLittleEndian))
        assert isinstance(stage.ours.error, AssociationAborted)  # half a message cannot be taken back


@pytest.mark.parametrize("pieces", [0, 2])
async def test_who_is_cancelled_himself_is_cancelled(pieces: int) -> None:
    """Even where the association ends at the same moment."""
    async with standing() as stage:
        source = Source(pieces)
        storing = asyncio.create_task(stage.association.c_store(source))
        await source.waiting.wait()
        storing.cancel()
        stage.association.abort()
        await asyncio.wait([storing])
        assert storing.cancelled()


class ClosesBadly(Instance):
    """Its closing, after all pieces were sent, raises or does not come to an end."""

    def __init__(self, hangs: bool) -> None:
        super().__init__(CT, "1.2.3", ExplicitVRLittleEndian)
        self.hangs, self.left, self.closing = hangs, 2, asyncio.Event()

    def stream(self) -> Any:
        return self

    def __aiter__(self) -> ClosesBadly:
        return self

    async def __anext__(self) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise StopAsyncIteration
        return PIECE

    async def aclose(self) -> None:
        self.closing.set()
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        raise OSError("not closed")


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_store_whose_source_closes_badly_is_left(hangs: bool) -> None:
    """The request has gone out. Nobody awaits its response, which must not count as unread for ever."""
    async with standing() as stage:
        source = ClosesBadly(hangs)
        storing = asyncio.create_task(stage.association.c_store(source))
        await source.closing.wait()
        (invoked,) = stage.ours.invoker._open.values()
        if hangs:
            storing.cancel()
        with pytest.raises(asyncio.CancelledError if hangs else OSError):
            await storing
        assert invoked.is_left
        await testing.settle()
        assert (stage.ours.throttle._unread, len(stage.ours.invoker)) == (0, 0)
        assert stage.association.is_open


# --- a disk that does not answer --------------------------------------------------------------------------------------


class Disk:
    """A file whose next piece does not come before `answer` is set; how its pieces ended."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces
        self.loop = asyncio.get_running_loop()
        self.waiting, self.closed = asyncio.Event(), asyncio.Event()
        self.answer = threading.Event()
        self.closed_after_answer: bool | None = None

    def read(self, *_: Any) -> Iterator[bytes]:
        try:
            for _ in range(self.pieces):
                yield PIECE
            self.loop.call_soon_threadsafe(self.waiting.set)
            assert self.answer.wait(SOON)
            yield PIECE
        finally:
            self.closed_after_answer = self.answer.is_set()
            self.loop.call_soon_threadsafe(self.closed.set)


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    path = tmp_path / "large.dcm"
    with datasets.PartTenWriter(tmp_path, CT, "1.2.3", ExplicitVRLittleEndian, durable=False) as writer:
        writer.write(b"\x08" * (1 << 19))
        return Path(writer.finish()).rename(path)


@ends
@pytest.mark.parametrize("pieces", [0, 2])
async def test_a_file_on_a_disk_that_hangs(
    pieces: int, end: Callable[[Stage], Awaitable[None]], large_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(pieces)
    monkeypatch.setattr(datasets, "open_pieces", disk.read)
    async with standing() as stage:
        await check(stage, large_file, disk.waiting, end)
        assert disk.closed_after_answer is None
        disk.answer.set()
        async with asyncio.timeout(SOON):
            await disk.closed.wait()
        assert disk.closed_after_answer


@ends
async def test_a_file_that_cannot_even_be_opened(
    end: Callable[[Stage], Awaitable[None]], large_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, answer, loop, opened = asyncio.Event(), threading.Event(), asyncio.get_running_loop(), asyncio.Event()
    really = sources.open_file

    def hang(path: Any) -> Any:
        loop.call_soon_threadsafe(opening.set)
        assert answer.wait(SOON)
        try:
            return really(path)
        finally:
            loop.call_soon_threadsafe(opened.set)

    monkeypatch.setattr(sources, "open_file", hang)
    async with standing() as stage:
        await check(stage, large_file, opening, end)
        answer.set()
        async with asyncio.timeout(SOON):
            await opened.wait()


async def test_cancelling_does_not_wait_for_the_disk(large_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(1)
    monkeypatch.setattr(datasets, "open_pieces", disk.read)
    async with standing() as stage:
        storing = asyncio.create_task(stage.association.c_store(large_file))
        await disk.waiting.wait()
        storing.cancel()
        async with asyncio.timeout(SOON):
            await asyncio.wait([storing])
        assert storing.cancelled()
        assert disk.closed_after_answer is None
        disk.answer.set()
        await disk.closed.wait()


async def test_what_has_not_begun_when_it_is_left_never_begins() -> None:
    """All threads of the pool hang; what waits for one is taken back."""
    hang, begun = threading.Event(), []
    hung = [asyncio.create_task(files.off_loop(hang.wait, SOON)) for _ in range(WORKERS)]
    await testing.settle()
    waiting = asyncio.create_task(files.read_off_loop(begun.append, 1))
    pieces = files.pieces_off_loop(iter([b"a"]))
    reading = asyncio.create_task(anext(pieces))
    await testing.settle()
    for task in (waiting, reading):
        task.cancel()
    async with asyncio.timeout(SOON):
        await asyncio.wait([waiting, reading])
    assert waiting.cancelled()
    assert reading.cancelled()
    hang.set()
    await asyncio.gather(*hung)
    await files.off_loop(int)
    assert begun == []


async def test_a_read_that_fails_when_nobody_waits_is_not_reported() -> None:
    hang = threading.Event()

    def fail() -> None:
        hang.wait(SOON)
        raise OSError("too late")

    reading = asyncio.create_task(files.read_off_loop(fail))
    await testing.settle()
    reading.cancel()
    await asyncio.wait([reading])
    hang.set()
    await asyncio.gather(*(files.off_loop(int) for _ in range(2 * WORKERS)))
    await testing.settle()
    assert reading.cancelled()


# --- sub-operations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "pieces"), [(Source, 0), (Source, 2), (Encodes, 0)])
async def test_a_c_move_whose_destination_goes_away_while_the_source_hangs(kind: type[Source], pieces: int) -> None:
    """It is not waited for. One more association is opened for the rest; when that is lost too, what is not sent has
    failed (docs/topics/query-retrieve.md)."""
    move = sop_class.StudyRootQueryRetrieveInformationModelMove
    network, archive, target = testing.MemoryNetwork(), aiodimse.Server(ae_title="ARCHIVE"), aiodimse.Server()
    source, asked = kind(pieces), []
    sources = (source, Source(0), Source(0))
    for each in sources:
        each.waiting = source.waiting

    @target.on_c_store
    async def store(request: Any) -> int:
        async for _ in request.stream():
            pass
        return 0x0000

    @archive.on_c_move(move)
    async def moved(request: Any) -> AsyncIterator[Any]:
        yield "memory", there.port
        yield 3
        for each in sources:
            asked.append(each)
            yield each

    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    async with (
        target.listen(network=network) as there,
        testing.joined(archive, contexts=[move], network=network) as association,
    ):
        moving = asyncio.ensure_future(association.c_move(query, move, destination="AIODIMSE"))  # type: ignore[arg-type]
        async with asyncio.timeout(SOON):
            for _ in range(2):
                await source.waiting.wait()
                await testing.settle()
                source.waiting.clear()
                (theirs,) = there._acceptor._all  # type: ignore[union-attr]
                theirs.abort()
                await testing.settle()
            response = await moving
    assert response.status == 0xA702
    assert len(asked) <= 2, "nothing is asked for that cannot be sent any more"
    ended = [how for each in sources for how in each.ended]
    assert ended == [asyncio.CancelledError, asyncio.CancelledError]
