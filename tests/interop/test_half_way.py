"""Operations that a stranger, or our user toward a stranger, ends half way: by C-CANCEL, or by going."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from interop import dcmtk, pynetdicom_peers, samples
from interop.dcmtk import StoreSCP
from interop.ours import HOST, TITLE, keys
from interop.programs import need
from interop.pynetdicom_peers import NetdicomSCP, association
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
COUNT = 200
ASKED = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}


def numbered(number: int) -> Dataset:
    """The CT with a SOP Instance UID of its own."""
    dataset = copy.deepcopy(samples.CT.header)
    dataset.SOPInstanceUID = f"1.2.3.{number}"
    return dataset


class Provider:
    """Handlers that go on for COUNT instances; with .stop_after, they wait for ever after so many."""

    def __init__(self) -> None:
        self.server = aiodimse.Server(ae_title=TITLE)
        self.stop_after = COUNT + 1
        self.waiting, self.closed = asyncio.Event(), asyncio.Event()
        self.destination = 0
        self.server.on_c_get(self._get)
        self.server.on_c_move(self._move)

    async def _instances(self) -> AsyncIterator[Any]:
        try:
            yield COUNT
            for number in range(COUNT):
                if number == self.stop_after:
                    self.waiting.set()
                    await asyncio.get_running_loop().create_future()
                yield numbered(number)
        finally:
            self.closed.set()

    async def _get(self, request: Any) -> AsyncIterator[Any]:
        async for each in self._instances():
            yield each

    async def _move(self, request: Any) -> AsyncIterator[Any]:
        yield HOST, self.destination
        async for each in self._instances():
            yield each


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Provider, int]]:
    """A provider and its port; it answers an echo afterwards, and no association is left."""
    provider = Provider()
    async with provider.server.listen(HOST, 0) as listening:
        yield provider, listening.port
        assert (await dcmtk.echoscu(listening.port, called=TITLE, code=0)).final.status == 0x0000


@pytest.mark.parametrize("waits", [False, True], ids=["going on", "waiting"])
async def test_movescu_cancels(storescp: Callable[..., StoreSCP], waits: bool) -> None:
    target = storescp(title="DEST")
    async with serving() as (provider, port):
        provider.destination = target.port
        if waits:
            provider.stop_after = 3
        talk = await dcmtk.movescu(port, "-S", ASKED, "DEST", "--cancel", "3", called=TITLE)
        final = talk.final
        assert final.status == 0xFE00, talk
        assert (final.failed, final.warning) == (0, 0)
        assert final.completed is not None
        assert final.remaining is not None
        assert (final.completed + final.remaining, final.completed < COUNT) == (COUNT, True)
        assert not waits or final.completed == 3
        await asyncio.wait_for(provider.closed.wait(), 5)
    assert len(target.files()) == final.completed


@pytest.mark.parametrize("program", ["getscu", "movescu"])
async def test_a_user_that_is_killed(storescp: Callable[..., StoreSCP], program: str, tmp_path: Path) -> None:
    """getscu 3.6.7 has no C-CANCEL: who has enough of it ends the process."""
    target, got = storescp(title="DEST"), tmp_path / "got"
    got.mkdir()
    words = ["-S", "-aec", TITLE, "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID="]
    words += ["-aem", "DEST"] if program == "movescu" else ["-od", str(got)]
    async with serving() as (provider, port):
        provider.destination, provider.stop_after = target.port, 7
        process = await asyncio.create_subprocess_exec(need(program), *words, HOST, str(port))
        try:
            await asyncio.wait_for(provider.waiting.wait(), 20)
            assert not provider.closed.is_set()
        finally:
            process.kill()
            await process.wait()
        await asyncio.wait_for(provider.closed.wait(), 5)
    stored = len(target.files() if program == "movescu" else list(got.iterdir()))
    assert stored in (6, 7), "the handler is one instance ahead"


async def test_pynetdicom_cancels_a_c_get() -> None:
    async with serving() as (provider, port):

        def get() -> tuple[list[Any], int]:
            from pynetdicom import build_role, evt

            stored = 0

            def store(event: evt.Event) -> int:
                nonlocal stored
                stored += 1
                if stored == 3:
                    event.assoc.send_c_cancel(1, query_model=GET)
                return 0x0000

            contexts = [(str(GET), pynetdicom_peers.UNCOMPRESSED), (samples.CT.sop_class, [samples.EXPLICIT_LE])]
            role = build_role(samples.CT.sop_class, scp_role=True)
            with association(
                port, contexts, called=TITLE, ext_neg=[role], evt_handlers=[(evt.EVT_C_STORE, store)]
            ) as assoc:
                return [status for status, _ in assoc.send_c_get(keys(**ASKED), GET)], stored

        responses, stored = await asyncio.to_thread(get)
        final = responses[-1]
        assert final.Status == 0xFE00
        assert final.NumberOfCompletedSuboperations == stored
        assert final.NumberOfCompletedSuboperations + final.NumberOfRemainingSuboperations == COUNT
        assert stored < COUNT
        await asyncio.wait_for(provider.closed.wait(), 5)


@pytest.mark.parametrize("how", ["cancel", "leave"])
@pytest.mark.parametrize("model", [FIND, GET, MOVE], ids=["C-FIND", "C-GET", "C-MOVE"])
async def test_our_user_cancels_at_pynetdicom(
    netdicom: Callable[..., NetdicomSCP], storescp: Callable[..., StoreSCP], model: str, how: str
) -> None:
    """Its handlers look at is_cancelled before each match or instance and say 0xFE00."""
    target = storescp(title="DEST")
    scp = netdicom([samples.CT.path] * COUNT, {"DEST": target.port}, [FIND], [GET, MOVE])
    contexts = [sop_class.Verification, aiodimse.PresentationContext(model)]
    storage = [samples.CT.sop_class]
    async with aiodimse.connect(HOST, scp.port, contexts=contexts, storage=storage) as user:
        operation: Any
        if model == FIND:
            operation = user.c_find(keys(**ASKED), FIND)
        elif model == GET:
            operation = user.c_get(keys(**ASKED), GET)
        else:
            operation = user.c_move(keys(**ASKED), MOVE, destination="DEST")
        seen = 0
        async with operation as running:
            async for each in running:
                seen += 1
                if model == GET:
                    await each.discard()
                if seen == 3:
                    if how == "leave":
                        break
                    await running.cancel()
        assert seen < COUNT
        if how == "cancel":
            assert running.status == 0xFE00
        assert (await user.c_echo()).status == 0x0000
