"""Conversations at the same time with one or two archives on one folder; some break off anywhere.

Seeds draw what is done. A reference decides what has to be found afterward (`archive.conversations`): what was answered
0000 is kept whole and found by all, what was refused has changed nothing, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from archive.conversations import (
    CT,
    MR,
    PROTOCOL,
    Operation,
    Removal,
    Scan,
    Sent,
    State,
    Store,
    Sweep,
    all_for,
    possible,
)
from archive.strategies import asked

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, MemoryIndex, Retention, provide
from aiodimse.archive.checking import check
from aiodimse.archive.storage.hashed import hashed_name

HOST, ROUNDS, SECONDS = "127.0.0.1", 5, 60
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
SENT = {each[0].uid: each for each in (all_for(study, image) for study in "12" for image in "12")}


class Between:
    """The locks of two processes: those of a folder are for one process only."""

    def __init__(self, held: dict[int, list[object]]) -> None:
        self._held = held
        self._mine: dict[int, list[object]] = {}

    async def try_lock(self, numbers: Sequence[int], *, is_shared: bool = False) -> bool:
        kinds = [self._held.get(number, []) for number in numbers]
        if any(None in kind or (kind and not is_shared) for kind in kinds):
            return False
        for number in numbers:
            self._held.setdefault(number, []).append(self if is_shared else None)
        return True

    async def unlock(self, numbers: Sequence[int], *, is_shared: bool = False) -> None:
        for number in numbers:
            self._held[number].remove(self if is_shared else None)

    async def close(self, timeout: float = 5.0) -> None:
        pass


def is_busy(archive: Archive) -> bool:
    """Whether it works on what was sent to it, or is about to write a row for it."""
    return bool(archive.locks._locks) or archive._ingest._batches._task is not None


class Conversation:
    """Some archives on one folder, each on a port of its own."""

    def __init__(self, random: Random, folder: Path, archives: Sequence[Archive], *, replaces: bool) -> None:
        self._random, self._folder, self._archives, self._replaces = random, folder, archives, replaces
        self._ports: list[int] = []
        self._done: dict[str, list[Operation]] = {}

    async def serve(self, stack: AsyncExitStack) -> None:
        for archive in self._archives:
            server = aiodimse.Server(ae_title="ARCHIVE")
            provide(server, archive, durable=False)
            self._ports.append((await stack.enter_async_context(server.listen(HOST, 0))).port)

    def _association(self) -> Any:
        port, classes = self._random.choice(self._ports), [MR, CT, PROTOCOL]
        return aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[*classes, GET], storage=classes)

    async def state(self, uid: str) -> State:
        known = [uid in await archive.index.lookup([uid]) for archive in self._archives]
        assert len(set(known)) == 1, "all processes know the same"
        path, file = self._folder / hashed_name(uid), None
        if path.exists():
            data = path.read_bytes()[aiodimse.read_head(path).data_offset :]
            (file,) = [each for each in SENT[uid] if each.data == data]
        return State(file, known[0])

    async def _store(self, sent: Sent) -> None:
        number = len(self._done[sent.uid])
        self._done[sent.uid].append(Store(sent, None))
        async with self._association() as association:
            response = await association.c_store(await aiodimse.Instance.from_part10(sent.part10()))
            self._done[sent.uid][number] = Store(sent, response.status)

    async def _get(self) -> None:
        """Whatever comes is whole, and one of those that were sent."""
        study = self._random.choice(["1", "2", "9"])
        got = list[str]()
        async with self._association() as association:
            with suppress(aiodimse.DIMSEFailure, aiodimse.IncompleteRetrieval):
                async for instance in association.c_get(asked("STUDY", StudyInstanceUID=f"1.2.{study}"), GET):
                    data = b"".join([bytes(piece) async for piece in instance.stream()])
                    assert any(data.endswith(each.data) for each in SENT[instance.sop_instance_uid])
                    got.append(instance.sop_instance_uid)
        assert len(got) == len(set(got))

    async def _scan(self) -> None:
        for operations in self._done.values():
            operations += [Scan(), Scan()]
        await self._random.choice(self._archives).scan()

    async def _sweep(self) -> None:
        for operations in self._done.values():
            operations += [Sweep(), Sweep()]
        await Retention(self._random.choice(self._archives), max_bytes=self._random.choice([0, 1500])).sweep()

    async def _remove(self, uid: str) -> None:
        self._done[uid].append(Removal())
        (self._folder / hashed_name(uid)).unlink(missing_ok=True)

    def _drawn(self) -> Iterator[Coroutine[Any, Any, None]]:
        uids = self._random.sample(list(SENT), 2)
        weights = [5, 5, 2, 2, 1, 1, 1, 1, 1]
        for _ in range(self._random.randint(2, 6)):
            uid = self._random.choice(uids)
            yield self._random.choices(
                [
                    lambda: self._store(self._random.choices(SENT[uid], weights)[0]),  # noqa: B023
                    self._get,
                    self._scan,
                    self._sweep,
                    lambda: self._remove(uid),  # noqa: B023
                ],
                [12, 2, 1, 1, 1],
            )[0]()

    async def _until_cut(self, work: Coroutine[Any, Any, None], turns: int | None) -> None:
        """Run to the end, or for some turns of the event loop."""
        task = asyncio.create_task(work)
        for _ in range(turns or 0):
            await asyncio.sleep(0)
        if turns is not None:
            task.cancel()
        with suppress(asyncio.CancelledError, aiodimse.AssociationError):
            await task

    async def round(self) -> None:
        """Do something at the same time, and look what there is then."""
        before = {uid: await self.state(uid) for uid in SENT}
        self._done = {uid: [] for uid in SENT}
        turns = [self._random.choice([None, None, self._random.randint(1, 200)]) for _ in range(6)]
        await asyncio.gather(*(self._until_cut(work, cut) for work, cut in zip(self._drawn(), turns, strict=False)))
        while any(map(is_busy, self._archives)):  # noqa: ASYNC110 (what was cut comes to its end)
            await asyncio.sleep(0)
        for uid, operations in self._done.items():
            ends = possible(before[uid], operations, replaces=self._replaces)
            assert await self.state(uid) in ends, (before[uid], operations)
        assert not list(self._folder.rglob("*.part"))

    async def compare(self) -> None:
        """A scan leaves what a new index has of the same files."""
        await self._random.choice(self._archives).scan()
        fresh = await Archive.open(self._folder, index=MemoryIndex())
        for archive in self._archives:
            report = await check(archive, read=True)
            assert report.is_sound, report
            assert await archive.index.lookup(list(SENT)) == await fresh.index.lookup(list(SENT))
            assert await archive.index.counts() == await fresh.index.counts()
        await fresh.close()


@pytest.mark.parametrize("seed", [7, 8])
@pytest.mark.parametrize(("count", "duplicates"), [(1, "keep"), (1, "replace"), (2, "keep"), (2, "replace")])
async def test_what_is_found_afterward(
    tmp_path: Path, seed: int, count: int, duplicates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[int, list[object]] = {}
    monkeypatch.setattr("aiodimse.archive.archive.FileLocks", lambda _: Between(held))
    options: dict[str, Any] = {"duplicates": duplicates, "shared": count > 1, "index": None if count > 1 else "memory:"}
    archives = [await Archive.open(tmp_path, **options) for _ in range(count)]
    conversation = Conversation(Random(seed), tmp_path, archives, replaces=duplicates == "replace")
    async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
        await conversation.serve(stack)
        for _ in range(ROUNDS):
            await conversation.round()
        await conversation.compare()
    assert not any(held.values())
    for archive in archives:
        await archive.close()
