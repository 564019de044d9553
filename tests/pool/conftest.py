"""A peer in memory that can be killed and started anew, a clock that tests move, and pools of associations with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.aio.threads import not_ended

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
CT = sop_class.CTImageStorage
PORT = 104
SECONDS = 20
"""For what takes a moment of real time, on a machine that does other things, too."""


class Stage:
    """One port of a network in memory, on which a peer listens or does not."""

    def __init__(self) -> None:
        self.network, self.clock = testing.MemoryNetwork(), testing.ManualClock()
        self.stored: list[str] = []
        self.opened = 0
        self.at_once = self.most_at_once = 0
        self.hold: asyncio.Event | None = None
        """While it is not set, handlers wait in the middle of their work."""
        self.held = 0
        """How many handlers wait so now."""
        self.listening: aiodimse.Listening | None = None

    async def start(self, **options: Any) -> None:
        server = aiodimse.Server(ae_title="PEER", environment=aiodimse.Environment(self.clock, self.network), **options)

        @server.on_associate
        async def opened(request: aiodimse.AssociationRequest) -> None:
            self.opened += 1

        @server.on_c_store
        async def store(request: aiodimse.StoreRequest) -> int:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await request.dataset()
                await self.may_go_on()
            finally:
                self.at_once -= 1
            self.stored.append(request.sop_instance_uid)
            return 0x0000

        @server.on_c_find(FIND)
        async def find(request: aiodimse.FindRequest) -> AsyncIterator[Dataset]:
            for number in range(3):
                match = Dataset()
                match.PatientID = str(number)
                yield match
                await self.may_go_on()

        @server.on_c_get(GET)
        async def get(request: aiodimse.GetRequest) -> AsyncIterator[aiodimse.handler_types.Retrieved]:
            yield 3
            for number in range(3):
                yield 0xFF00, image(f"1.2.3.{number}")
                await self.may_go_on()

        self.listening = await server.listen(port=PORT).__aenter__()

    async def may_go_on(self) -> None:
        if self.hold is not None:
            self.held += 1
            try:
                await self.hold.wait()
            finally:
                self.held -= 1

    async def kill(self) -> None:
        """The peer's process dies: its associations are aborted, and nobody listens."""
        listening, self.listening = self.listening, None
        if listening is not None:
            killed = RuntimeError("killed")
            await listening.__aexit__(RuntimeError, killed, None)
            await testing.settle()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let everything run, threads that encode data sets too, until this is so."""
        async with self._in_time():
            while not is_so():
                await asyncio.to_thread(int)
                await testing.settle()

    async def until_done(self, *tasks: asyncio.Task[Any]) -> None:
        """Move the clock a little at a time, but not while data sets are encoded in threads, which take real time."""
        async with self._in_time():
            while not all(task.done() for task in tasks):
                await self.clock.elapse(0.01)
                await asyncio.to_thread(int)
                await not_ended(20.0)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Fail if what the test waits for does not come, and say what the peer has seen."""
        try:
            async with asyncio.timeout(SECONDS):
                yield
        except TimeoutError:
            pytest.fail(
                f"what the test waits for has not come in {SECONDS} s: {self.opened} associations were opened,"
                f" {self.at_once} operations are open, {self.held} are held, {len(self.stored)} are stored"
            )

    def pool(self, **options: Any) -> aiodimse.Pool:
        options = {"contexts": [sop_class.Verification, FIND, CT], **options}
        return aiodimse.Pool(
            "memory",
            PORT,
            called_ae_title="PEER",
            environment=aiodimse.Environment(self.clock, self.network),
            **options,
        )


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.start()
    yield stage
    await stage.kill()


def image(uid: str | None = None, transfer_syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """A CT image of no pixels."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, uid or generate_uid()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    return dataset


def identifier() -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel, dataset.PatientID = "STUDY", ""
    return dataset
