"""Somebody between the peers cuts TLS off without close_notify: what came so far is never taken for a whole instance.

RFC 8446 6.1: without close_notify, the end of the connection says nothing about the end of the data.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class, tls

HOST = "127.0.0.1"
CT, GET = sop_class.CTImageStorage, sop_class.StudyRootQueryRetrieveInformationModelGet
SIZE = 120_000
CUTS = [0, 100, 1500, 3000, 4000, 5000, 20_000, 60_000, 100_000, SIZE, SIZE + 1500, SIZE + 2500]


def image() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, "1.2.3"
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.add_new(0x7FE00010, "OB", bytes(SIZE))
    return dataset


class Between:
    """Passes bytes on, and closes one direction, or both at once, when so many of it have passed."""

    def __init__(self, port: int, direction: str, most: int, how: str) -> None:
        self._port, self._direction, self._most, self._how = port, direction, most, how
        self.passed = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        tasks: list[asyncio.Task[Any]] = []

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.append(asyncio.current_task())  # type: ignore[arg-type]
            there = await asyncio.open_connection(HOST, self._port)
            both = (writer, there[1])
            with suppress(OSError, asyncio.CancelledError):
                up = self._pass(reader, there[1], both, is_cut=self._direction == "up")
                down = self._pass(there[0], writer, both, is_cut=self._direction == "down")
                await asyncio.gather(up, down)
            for each in both:
                each.transport.abort()

        server = await asyncio.start_server(connected, HOST, 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, ...],
        *,
        is_cut: bool,
    ) -> None:
        while data := await reader.read(1 << 16):
            if is_cut and self.passed + len(data) > self._most:
                writer.write(data[: self._most - self.passed])
                self.passed = self._most
                if self._how == "FIN":
                    await writer.drain()
                    writer.write_eof()
                    while await reader.read(1 << 16):
                        pass
                else:
                    for each in both:
                        each.transport.abort()
                return
            if is_cut:
                self.passed += len(data)
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def stored(port: int, client: ssl.SSLContext) -> None:
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[CT], ssl=client) as association:
        await association.c_store(image())
        await association.wait_closed()


async def retrieved(port: int, client: ssl.SSLContext, got: list[int]) -> None:
    connecting = aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[GET], storage=[CT], ssl=client)
    async with connecting as association:
        async with association.c_get(aiodimse.identifier("STUDY"), GET) as retrieval:
            got += [len((await instance.dataset())[0x7FE00010].value) async for instance in retrieval]
        await association.wait_closed()


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("cut", CUTS)
async def test_a_store_that_is_cut_off(certificates: Any, tmp_path: Path, cut: int, how: str) -> None:
    server, outcomes = aiodimse.Server(ae_title="ARCHIVE"), list[str]()

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        try:
            await request.save(tmp_path, durable=False)
        except BaseException as error:
            outcomes.append(type(error).__name__)
            raise
        outcomes.append("saved")
        return 0x0000

    context = tls.server_context(**certificates.pair("server"), ca=certificates.ca)
    client = tls.client_context(certificates.ca, **certificates.pair("ct1"))
    async with server.listen(HOST, 0, ssl=context) as listening:
        between = Between(listening.port, "up", cut, how)
        async with between.listening() as port:
            with pytest.raises((aiodimse.AiodimseError, OSError)):
                await stored(port, client)
        async with asyncio.timeout(20):
            await listening.wait_empty()
    assert between.passed == cut
    kept = [path.stat().st_size for path in tmp_path.iterdir()]
    assert all(size > SIZE for size in kept)
    assert len(kept) == outcomes.count("saved")
    if cut <= SIZE:
        assert kept == []
    if cut >= 20_000:
        assert len(outcomes) == 1, "the handler was at it"


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("cut", CUTS)
async def test_a_retrieval_that_is_cut_off(certificates: Any, cut: int, how: str) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_get
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 1
        yield image()

    context = tls.server_context(**certificates.pair("server"), ca=certificates.ca)
    client = tls.client_context(certificates.ca, **certificates.pair("ct1"))
    got: list[int] = []
    async with server.listen(HOST, 0, ssl=context) as listening:
        between = Between(listening.port, "down", cut, how)
        async with between.listening() as port:
            with pytest.raises((aiodimse.AiodimseError, OSError)):
                await retrieved(port, client, got)
        async with asyncio.timeout(20):
            await listening.wait_empty()
    assert between.passed == cut
    assert all(size == SIZE for size in got)
    if cut <= SIZE:
        assert got == []
