"""One lock for each SOP Instance UID: who saves, reads and indexes an object does so alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # not on Windows, which has no SO_REUSEPORT for workers either
    fcntl = None


@dataclass(slots=True)
class _Lock:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    """Those who hold it or wait for it; the last one takes it out of the table."""


class Locks:
    """Locks by name, as many as are in use.

    Args:
        folder: Where several processes lock files, one for 1/256 of all names; None where there is one process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._locks: dict[str, _Lock] = {}
        self._folder = folder

    @asynccontextmanager
    async def hold(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Hold the locks of these names, taken in one order by everybody."""
        async with AsyncExitStack() as stack:
            wanted = sorted(set(names))
            for name in wanted:
                await stack.enter_async_context(self._hold(name))
            if self._folder is not None:
                for number in sorted({sha256(name.encode("utf-8", "surrogatepass")).digest()[0] for name in wanted}):
                    await stack.enter_async_context(self._hold(f"file {number}"))
                    await stack.enter_async_context(_file_held(self._folder / f"{number:02x}"))
            yield

    @asynccontextmanager
    async def _hold(self, name: str) -> AsyncIterator[None]:
        entry = self._locks.setdefault(name, _Lock())
        entry.users += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.users -= 1
            if not entry.users:
                del self._locks[name]


@asynccontextmanager
async def _file_held(file: Path) -> AsyncIterator[None]:
    """Hold the lock on a file, which the system gives back when a process dies.

    The system is asked again and again: a thread that waited for another process would be one less for everybody.
    """
    file.parent.mkdir(exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        wait = 0.001
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(wait)
                wait = min(2 * wait, 0.1)
        yield
    finally:
        os.close(descriptor)
