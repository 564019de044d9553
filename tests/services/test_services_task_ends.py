"""However the task of a handler ends, its operation does not stay open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing

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
