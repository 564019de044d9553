"""moto's server in a process of its own, and a relay before it that fails as an object store fails."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen
from uuid import uuid4

if TYPE_CHECKING:
    from aiodimse.archive.storage.s3 import S3Storage

HOST = "127.0.0.1"
CREDENTIALS: dict[str, Any] = {"access_key_id": "any", "secret_access_key": "any", "region": "us-east-1"}


@contextmanager
def object_store() -> Iterator[str]:
    """A running store; its URL."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if b"Running on" in line:
            break
    # It writes a line for each request, and stops where nobody reads them.
    reader = Thread(target=deque, args=(process.stderr, 0), daemon=True)
    reader.start()
    yield f"http://{HOST}:{port}"
    process.kill()
    process.wait()
    reader.join()
    process.stderr.close()


def new_bucket(endpoint: str, through: str | None = None) -> S3Storage:
    """An empty bucket, reached at another address if one is given."""
    from aiodimse.archive.storage.s3 import S3Storage  # obstore is an extra

    bucket = f"b{uuid4().hex}"
    urlopen(Request(f"{endpoint}/{bucket}", method="PUT")).close()
    return S3Storage(f"s3://{bucket}/archive", endpoint=through or endpoint, **CREDENTIALS)


class Relay:
    """Passes bytes on between its connections and a store, until it is told to fail."""

    def __init__(self, store: str) -> None:
        self._store = urlsplit(store)
        self.url = ""
        self.is_silent, self.answer = False, b""
        """Whether connections get no answer at all, and what they get instead of the store's."""
        self.most, self.then = 1 << 40, "cut"
        """How many bytes a connection gets, and what happens then: cut, hang, trickle or wait (others wait then)."""
        self.then_silent = False
        """Whether no connection gets an answer after that."""
        self.goes_on = asyncio.Event()
        """Connections wait for it."""
        self.goes_on.set()
        self._open = set[asyncio.Task[None]]()
        self.failed = asyncio.Event()
        """Whether one has got as many as it may."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Relay]:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._open.add(task)
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._relayed(reader, writer)
            writer.transport.abort()

        server = await asyncio.start_server(connected, HOST, 0)
        self.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await self.drop()

    async def drop(self) -> None:
        """Close all connections, of which a client keeps some for its next requests."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._open.clear()

    async def _relayed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.goes_on.wait()
        first = await reader.read(1 << 16)
        if self.is_silent:
            await reader.read()
            return
        if self.answer:
            writer.write(self.answer)
            await writer.drain()
            return
        there = await asyncio.open_connection(self._store.hostname, self._store.port)
        there[1].write(first)
        up = asyncio.ensure_future(_pump(reader, there[1]))
        try:
            await self._down(there[0], writer)
        finally:
            up.cancel()
            there[1].transport.abort()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(1 << 16):
            if passed + len(data) > self.most:
                self.failed.set()
                self.is_silent = self.then_silent
                if self.then == "wait":
                    self.goes_on.clear()
                    return
                writer.write(data[: self.most - passed])
                await writer.drain()
                if self.then == "hang":
                    await asyncio.Event().wait()
                while self.then == "trickle":
                    with suppress(TimeoutError):  # a slow store, whose pace is all that it has
                        await asyncio.wait_for(asyncio.Event().wait(), 0.05)
                    writer.write(data[:1])
                    await writer.drain()
                return
            passed += len(data)
            writer.write(data)
            await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
