"""Locks by name: in one process, between processes of one machine, and between all that share a PostgreSQL."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from archive.databases import new_database

from aiodimse.archive.index.sql.advisory import AdvisoryLocks
from aiodimse.archive.index.sql.engines import url_of
from aiodimse.archive.locks import FileLocks, Locks

HOLDER = """
import asyncio, sys
from pathlib import Path
from aiodimse.archive.locks import FileLocks, Locks

async def main():
    locks = Locks(FileLocks(Path(sys.argv[1])))
    async with locks.hold(["a"]), locks.share(["b"]):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@asynccontextmanager
async def held_elsewhere(file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that holds "a" and shares "b"."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(file), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"held\n"
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Holder:
    """Takes a lock in a task of its own, as soon as it is free, and keeps it until told to leave."""

    def __init__(self, lock: AbstractAsyncContextManager[object]) -> None:
        self.entered, self.leave = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._hold(lock))

    async def _hold(self, lock: AbstractAsyncContextManager[object]) -> None:
        async with lock:
            self.entered.set()
            await self.leave.wait()

    async def end(self) -> None:
        self.leave.set()
        await asyncio.wait_for(self.task, 10)

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        assert self.task.cancelled()


async def is_free(locks: Locks, name: str) -> bool:
    async with locks.try_hold(name) as is_held:
        return is_held


async def test_in_one_process() -> None:
    locks = Locks()
    async with locks.hold(["a"]):
        assert not await is_free(locks, "a")
        assert await is_free(locks, "b")
    async with locks.share(["a"]), locks.share(["a", "b"]):
        assert not await is_free(locks, "a")
    assert await is_free(locks, "a")
    async with locks.try_hold("a"):
        waiting = Holder(locks.share(["a"]))
        await asyncio.sleep(0)
        assert not waiting.entered.is_set()
    await waiting.entered.wait()
    await waiting.end()


async def test_between_processes_of_a_machine(tmp_path: Path) -> None:
    locks = Locks(FileLocks(tmp_path / "locks"))
    async with locks.share(["a"]), locks.hold(["b"]):
        pass  # the other process would wait for what stays locked
    async with held_elsewhere(tmp_path / "locks") as other:
        assert not await is_free(locks, "a")
        assert not await is_free(locks, "b")
        assert await is_free(locks, "c")
        async with locks.share(["b"]):
            waiting = Holder(locks.hold(["a", "c"]))
            while "c" not in locks._locks:  # noqa: ASYNC110
                await asyncio.sleep(0)
            other.kill()
            # The system gives back what a dead process held.
            await asyncio.wait_for(waiting.entered.wait(), 10)
            assert not await is_free(locks, "b")
            await waiting.end()
    assert await is_free(locks, "b")
    await locks.close()


async def test_between_all_that_share_a_database() -> None:
    url = url_of(new_database())
    one, other = Locks(AdvisoryLocks(url)), Locks(AdvisoryLocks(url))
    async with one.hold(["a", "b"]), one.share(["c"]):
        assert not await is_free(other, "a")
        assert not await is_free(other, "c")
        async with other.share(["c"]):
            waiting = Holder(other.hold(["b", "d"]))
            while not other._locks.get("d"):  # noqa: ASYNC110
                await asyncio.sleep(0)
    await asyncio.wait_for(waiting.entered.wait(), 10)
    assert not await is_free(one, "d")
    await waiting.end()
    for name in "abcd":
        assert await is_free(one, name)
        assert await is_free(other, name)
    await one.close()
    await other.close()


async def test_a_session_that_was_lost() -> None:
    """Its locks are gone, and giving them back is no error; the next one gets a new session."""
    locks = AdvisoryLocks(url_of(new_database()))
    assert await locks.try_lock([1, 2])
    assert locks._connection is not None
    locks._connection.connection.driver_connection.close()  # type: ignore[union-attr]
    await locks.unlock([1, 2])
    async with asyncio.timeout(10), Locks(locks).hold(["a"]):
        pass
    while not await locks.try_lock([1]):  # the server ends the old session when it hears of it
        pass
    await locks.close()


async def test_several_locks_are_taken_all_or_none() -> None:
    url = url_of(new_database())
    one, other = AdvisoryLocks(url), AdvisoryLocks(url)
    assert await one.try_lock([2])
    assert not await other.try_lock([1, 2])
    assert await one.try_lock([1])
    await one.close()
    await other.close()


@pytest.mark.parametrize("kind", ["files", "database"])
async def test_a_wait_that_is_cancelled_leaves_nothing(tmp_path: Path, kind: str) -> None:
    url = None if kind == "files" else url_of(new_database())

    def locks() -> Locks:
        return Locks(FileLocks(tmp_path / "locks") if url is None else AdvisoryLocks(url))

    one, other = locks(), locks()
    async with one.hold(["a"]):
        if kind == "database":
            waiting = Holder(other.hold(["a"]))
            while "a" not in other._locks:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await waiting.cancel()
            assert other._locks == {}
        waiting = Holder(one.hold(["a"]))
        await asyncio.sleep(0)
        await waiting.cancel()
    assert one._locks == {}
    assert await is_free(other, "a")
    await one.close()
    await other.close()


async def test_locks_that_fail_in_the_middle_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system has no locks to spare, for example."""
    fcntl = pytest.importorskip("fcntl")
    lockf, calls = fcntl.lockf, list[str]()

    def failing(descriptor: int, kind: int, *args: int) -> None:
        calls.append("unlock" if kind == fcntl.LOCK_UN else "lock")
        if calls == ["lock", "lock"]:
            raise OSError(errno.ENOLCK, "no locks")
        lockf(descriptor, kind, *args)

    monkeypatch.setattr(fcntl, "lockf", failing)
    locks = FileLocks(tmp_path / "lock")
    with pytest.raises(OSError, match="no locks"):
        await locks.try_lock([1, 2])
    assert calls == ["lock", "lock", "unlock"]
    await locks.close()


async def test_a_process_that_keeps_a_lock_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has been stopped, for example, and its lock stays."""
    monkeypatch.setattr("aiodimse.archive.locks._PATIENCE", 0.0)

    class Kept:
        async def try_lock(self, numbers: Sequence[int], *, is_shared: bool = False) -> bool:
            return False

        async def unlock(self, numbers: Sequence[int], *, is_shared: bool = False) -> None:
            raise AssertionError("it has no lock")

        async def close(self, timeout: float = 5.0) -> None: ...

    locks = Locks(Kept())
    for take in (locks.hold, locks.share):
        with pytest.raises(TimeoutError):
            async with take(["1.2.3"]):
                raise AssertionError("it has the lock")
    assert locks._locks == {}
