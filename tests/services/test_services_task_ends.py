"""However the task of a handler ends, its operation does not stay open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.pdu.pdus import P_DATA_TF

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
CONTEXTS = [sop_class.Verification, FIND, sop_class.ModalityPerformedProcedureStep]


def query() -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = "STUDY"
    return made


def serving(error: BaseException) -> aiodimse.Server:
    server = aiodimse.Server()

    @server.on_c_echo
    async def echo(request: aiodimse.EchoRequest) -> int:
        raise error

    @server.on_c_find(FIND)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        yield query()
        raise error

    @server.on_n_set(sop_class.ModalityPerformedProcedureStep)
    async def change(request: aiodimse.NormalizedRequest) -> int:
        raise error

    return server


class Odd(BaseException):
    """No Exception."""


async def ask(association: aiodimse.Association, service: str) -> int:
    if service == "C-ECHO":
        return int((await association.c_echo()).status)
    if service == "C-FIND":
        return int((await association.c_find(query(), FIND)).status)
    return int((await association.n_set(sop_class.ModalityPerformedProcedureStep, "1.2.3", query())).status)


@pytest.mark.parametrize("error", [GeneratorExit(), Odd(), aiodimse.AssociationTimeout("response", "of another one")])
@pytest.mark.parametrize(("service", "status"), [("C-ECHO", 0x0110), ("C-FIND", 0xC311), ("N-SET", 0x0110)])
async def test_it_is_answered_with_a_failure(error: BaseException, service: str, status: int) -> None:
    async with testing.joined(serving(error), contexts=CONTEXTS) as association:
        assert await ask(association, service) == status
        assert association.is_open


@pytest.mark.parametrize("service", ["C-ECHO", "C-FIND", "N-SET"])
async def test_no_handler_begins_after_the_end_of_its_association(service: str) -> None:
    """The association ends after the request has come, and before the task of its handler has begun."""
    begun: list[bool] = []
    loop = asyncio.get_running_loop()

    def trace(role: str) -> Callable[[str, bytes | memoryview], None]:
        def tap(way: str, data: bytes | memoryview) -> None:
            if way == ">" and data[:1] == bytes((P_DATA_TF,)):
                loop.call_soon(abort)

        return tap

    def abort() -> None:
        for each in listening.associations:
            each.abort()

    network = testing.MemoryNetwork()
    server = aiodimse.Server(environment=aiodimse.Environment(network=network), trace=trace)

    @server.on_c_echo
    async def echo(request: aiodimse.EchoRequest) -> int:
        begun.append(request.association.is_open)
        return 0x0000

    @server.on_c_find(FIND)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        begun.append(request.association.is_open)
        while True:
            yield query()

    @server.on_n_set(sop_class.ModalityPerformedProcedureStep)
    async def change(request: aiodimse.NormalizedRequest) -> int:
        begun.append(request.association.is_open)
        return 0x0000

    async with server.listen("memory", 104) as listening:
        environment = aiodimse.Environment(network=network)
        async with aiodimse.connect(
            "memory", 104, called_ae_title="AIODIMSE", contexts=CONTEXTS, environment=environment
        ) as association:
            with pytest.raises(aiodimse.AssociationAborted):
                await ask(association, service)
        await testing.settle()
        assert False not in begun
