"""Locks by name, so that an object is saved, read and indexed by one task at a time.

The tasks may be in this process or in any process that shares the folder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import random
from time import monotonic
from typing import Any, Protocol

fcntl: Any
try:
    import fcntl
except ImportError:  # not on Windows, which has no workers either
    fcntl = None

_FIRST_WAIT, _LONGEST_WAIT = 0.001, 0.1
"""Seconds before another process that holds a lock is asked again."""
_PATIENCE = 60.0
"""Seconds after which it is not asked any more."""
_TAKING = nullcontext()
"""Does nothing where locks are taken."""


class ProcessLocks(Protocol):
    """Locks between processes, by numbers below 2**62. The system releases them when a process dies.

    No method waits for a lock: a thread that waited for another process would be missing elsewhere.
    """

    async def try_lock(self, numbers: Sequence[int], *, is_shared: bool = False) -> bool:
        """Take the locks with these numbers, all of them or none. Shared locks may be held by any number of processes.

        Cancellation: no lock is held.
        """

    async def unlock(self, numbers: Sequence[int], *, is_shared: bool = False) -> None:
        """Release the locks. Cancellation: the locks are released."""

    async def close(self, timeout: float = 5.0) -> None:
        """Release all locks.

        Args:
            timeout: The time in seconds to wait for a database that does not answer.
        """


class FileLocks:
    """Locks on bytes of one file (POSIX record locks), which any number of processes of one machine share.

    A process must have only one of these for a file: the system releases all its locks when any descriptor is closed.

    Args:
        file: The file. It is created if it does not exist; nothing is written to it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    async def try_lock(self, numbers: Sequence[int], *, is_shared: bool = False) -> bool:
        """See `ProcessLocks.try_lock`."""
        if self._descriptor is None:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        kind = (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        for place, number in enumerate(numbers):
            try:
                fcntl.lockf(self._descriptor, kind, 1, number)
            except (BlockingIOError, PermissionError):  # POSIX allows EACCES for a held lock, too
                await self.unlock(numbers[:place])
                return False
            except OSError:  # for example ENOLCK: the system has no more locks
                await self.unlock(numbers[:place])
                raise
        return True

    async def unlock(self, numbers: Sequence[int], *, is_shared: bool = False) -> None:
        """See `ProcessLocks.unlock`."""
        if self._descriptor is not None:
            for number in numbers:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)

    async def close(self, timeout: float = 5.0) -> None:
        """See `ProcessLocks.close`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(slots=True)
class _Lock:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    """The number of tasks that hold the lock or wait for it. The last one removes it from the table."""
    sharers: int = 0
    """The number of tasks that share the lock."""


class Locks:
    """Locks by name. Only those in use are in memory.

    Args:
        between: The same locks between processes; None: there is only one process.
    """

    def __init__(self, between: ProcessLocks | None = None) -> None:
        self._locks: dict[str, _Lock] = {}
        self._between = between

    def hold(
        self, names: Iterable[str], taking: AbstractContextManager[None] = _TAKING
    ) -> AbstractAsyncContextManager[None]:
        """Hold the locks with these names. All tasks take them in the same order.

        Args:
            names: The names.
            taking: Entered while they are taken.
        """
        return _Holding(self, sorted(set(names)), taking)

    @asynccontextmanager
    async def try_hold(self, name: str) -> AsyncIterator[bool]:
        """Hold a lock if nobody holds or shares it. Yields whether it is held."""
        with self._used(name) as entry:
            if entry.lock.locked() or entry.sharers:
                yield False
                return
            async with entry.lock:
                if self._between is None:
                    yield True
                    return
                numbers = _numbers([name])
                if not await self._between.try_lock(numbers):
                    yield False
                    return
                try:
                    yield True
                finally:
                    await self._between.unlock(numbers)

    @asynccontextmanager
    async def share(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Share the locks with these names. Any number of tasks may; meanwhile `try_hold` of them fails."""
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):
                await stack.enter_async_context(self._shared(name))
            yield

    async def close(self, timeout: float = 5.0) -> None:
        """Release what the locks use of the system.

        Args:
            timeout: The time in seconds to wait for a database that does not answer.
        """
        if self._between is not None:
            await self._between.close(timeout)

    def _use(self, name: str) -> _Lock:
        entry = self._locks.setdefault(name, _Lock())
        entry.users += 1
        return entry

    def _leave(self, name: str, entry: _Lock) -> None:
        entry.users -= 1
        if not entry.users:
            del self._locks[name]

    @contextmanager
    def _used(self, name: str) -> Iterator[_Lock]:
        entry = self._use(name)
        try:
            yield entry
        finally:
            self._leave(name, entry)

    @asynccontextmanager
    async def _shared(self, name: str) -> AsyncIterator[None]:
        with self._used(name) as entry:
            async with entry.lock:
                if not entry.sharers:  # only the first task asks the other processes
                    await self._wait_between(_numbers([name]), is_shared=True)
                entry.sharers += 1
            try:
                yield
            finally:
                entry.sharers -= 1
                if not entry.sharers and self._between is not None:
                    await self._between.unlock(_numbers([name]), is_shared=True)

    async def acquire(self, name: str) -> _Lock:
        """Take a lock of this process."""
        entry = self._use(name)
        try:
            await entry.lock.acquire()
        except BaseException:
            self._leave(name, entry)
            raise
        return entry

    def release(self, name: str, entry: _Lock) -> None:
        """Give back a lock of this process."""
        entry.lock.release()
        self._leave(name, entry)

    async def acquire_between(self, names: Sequence[str]) -> Sequence[int]:
        """Take locks between processes, if there are several. Return their numbers."""
        if self._between is None:
            return ()
        numbers = _numbers(names)
        await self._wait_between(numbers)
        return numbers

    async def release_between(self, numbers: Sequence[int]) -> None:
        """Give back locks between processes."""
        if self._between is not None:
            await self._between.unlock(numbers)

    async def _wait_between(self, numbers: Sequence[int], *, is_shared: bool = False) -> None:
        """Ask the other processes until this one has the locks.

        Raises:
            TimeoutError: Another process has had one of them for too long: it has been stopped, or its disk hangs.
        """
        wait, until = _FIRST_WAIT, monotonic() + _PATIENCE
        while self._between is not None and not await self._between.try_lock(numbers, is_shared=is_shared):
            if monotonic() >= until:
                raise TimeoutError("another process holds a lock")
            # The wait is random, so that two processes that want each other's locks do not collide again.
            await asyncio.sleep(wait * (0.5 + random()))
            wait = min(2 * wait, _LONGEST_WAIT)


class _Holding:
    """Locks that are held. It is a class, since each store enters one, and a generator takes three times as long.

    Args:
        locks: All locks.
        names: The names of those to hold, in order.
        taking: Entered while they are taken.
    """

    __slots__ = ("_held", "_locks", "_names", "_numbers", "_taking")

    def __init__(self, locks: Locks, names: Sequence[str], taking: AbstractContextManager[None]) -> None:
        self._locks, self._names, self._taking = locks, names, taking
        self._held: list[tuple[str, _Lock]] = []
        self._numbers: Sequence[int] = ()

    async def __aenter__(self) -> None:
        with self._taking:
            try:
                for name in self._names:
                    self._held.append((name, await self._locks.acquire(name)))
                self._numbers = await self._locks.acquire_between(self._names)
            except BaseException:
                self._release()
                raise

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._locks.release_between(self._numbers)
        finally:
            self._release()

    def _release(self) -> None:
        while self._held:
            self._locks.release(*self._held.pop())


def _numbers(names: Iterable[str]) -> list[int]:
    return sorted({int.from_bytes(sha256(name.encode("utf-8", "surrogatepass")).digest()[:8]) >> 2 for name in names})
