"""C-ECHO and DIMSE-N handlers: what they return and what is answered (PS3.7 C.5.15: 0110); and what a fault of the
library itself gives, for every service: one final response all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract.stage import (
    CT,
    CT_UID,
    ECHO,
    IDENTIFIER,
    SERVICES,
    Script,
    make_server,
    open_stage,
    register,
    status_dataset,
)
from pydicom.dataset import Dataset
from scripted import wire

import aiodimse
from aiodimse import sop_class
from aiodimse.services.provider import query, retrieve, single_answer

MPPS = str(sop_class.ModalityPerformedProcedureStep)
N_SET_RQ, N_CREATE_RQ = 0x0120, 0x0140
STEP = 11
CONTEXTS = ((ECHO, wire.VERIFICATION, [wire.EXPLICIT_LE]), (STEP, MPPS, [wire.EXPLICIT_LE]))
DATA = wire.dataset({(0x0010, 0x0020): ("LO", "1")})

NAME = "Doe^John"


def one(value: Any = "1") -> Dataset:
    dataset = Dataset()
    dataset.PatientID = value
    return dataset


class Raise:
    def __init__(self, error: BaseException) -> None:
        self.error = error


# What a handler returns, and the status that is answered; with a data set where it says so.
RETURNS: dict[str, tuple[Any, int, bool]] = {
    "Success": (0x0000, 0x0000, False),
    "a Warning": (0x0107, 0x0107, False),
    "an unknown status": (0x1234, 0x1234, False),
    "a status data set": (status_dataset(0x0110, ErrorComment="no"), 0x0110, False),
    "text": ("x", 0x0110, False),
    "a bool": (True, 0x0110, False),
    "raises": (Raise(ValueError(NAME)), 0x0110, False),
    "raises CancelledError": (Raise(asyncio.CancelledError()), 0x0110, False),
    "raises StopAsyncIteration": (Raise(StopAsyncIteration()), 0x0110, False),  # as anext() in a handler does
    "raises DIMSEFailure": (Raise(aiodimse.DIMSEFailure(0xA700, "later")), 0xA700, False),
}
N_RETURNS: dict[str, tuple[Any, int, bool]] = {
    "a data set": (one(), 0x0000, True),
    "a status and a data set": ((0x0107, one()), 0x0107, True),
    "a status and no data set": ((0x0107, None), 0x0107, False),
    "a data set that has no encoding": (one(object()), 0x0110, False),
}


def handler_of(result: Any) -> Any:
    async def handler(request: Any) -> Any:
        if isinstance(result, Raise):
            raise result.error
        return result

    return handler


@pytest.mark.parametrize("case", RETURNS)
async def test_a_c_echo_handler(case: str, caplog: pytest.LogCaptureFixture) -> None:
    result, status, _ = RETURNS[case]
    server = make_server()
    server.on_c_echo(handler_of(result))
    async with open_stage(server, CONTEXTS[:1], roles={}) as stage:
        (response,) = await stage.peer.responses(await stage.peer.request(ECHO, wire.echo_rq(5)))
    assert response.status == status
    assert NAME not in caplog.text
    assert "in the library itself" not in caplog.text


@pytest.mark.parametrize("case", {**RETURNS, **N_RETURNS})
async def test_an_n_set_handler(case: str, caplog: pytest.LogCaptureFixture) -> None:
    result, status, data = {**RETURNS, **N_RETURNS}[case]
    server = make_server()
    server.on_n_set(MPPS)(handler_of(result))
    async with open_stage(server, CONTEXTS, roles={}) as stage:
        response = await ask(stage, N_SET_RQ, DATA)
        assert response.status == status
        assert response.data == (DATA if data else None)
        await stage.nothing_more()
    assert NAME not in caplog.text
    assert "in the library itself" not in caplog.text


async def ask(stage: Any, field: int, data: bytes | None) -> Any:
    elements = {wire.COMMAND_FIELD: field, wire.MESSAGE_ID: 5}
    elements |= {wire.REQUESTED_SOP_CLASS: MPPS, wire.REQUESTED_INSTANCE: "1.2.3"}
    await stage.peer.request(STEP, elements, data)
    response = await stage.peer.read_message()
    assert (response.field, response.responded_to) == (field | wire.RESPONSE, 5)
    return response


async def test_an_n_set_whose_data_set_does_not_decode() -> None:
    called = []

    async def n_set(request: Any) -> int:
        called.append(request)
        return 0x0000

    server = make_server()
    server.on_n_set(MPPS)(n_set)
    async with open_stage(server, CONTEXTS, roles={}) as stage:
        assert (await ask(stage, N_SET_RQ, DATA[:-1])).status == 0x0212
        assert called == []
        assert (await ask(stage, N_SET_RQ, DATA)).status == 0x0000
        await stage.nothing_more()


# --- faults of our own ------------------------------------------------------------------------------------------------

FAULTS = {
    "C-ECHO": (single_answer, "provide", 0x0110),
    "C-STORE": (single_answer, "provide", 0xC211),
    "C-FIND": (query, "provide", 0xC311),
    "C-GET": (retrieve, "provide_get", 0xC411),
    "C-MOVE": (retrieve, "provide_move", 0xC511),
}


@pytest.mark.parametrize("service", FAULTS)
async def test_a_fault_of_the_library_is_answered_and_logged(
    service: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module, name, status = FAULTS[service]

    async def fail(*_: Any, **__: Any) -> None:
        raise KeyError(NAME)

    server = make_server()
    if service == "C-ECHO":
        server.on_c_echo(handler_of(0x0000))
    elif service == "C-STORE":
        server.on_c_store(handler_of(0x0000))
    else:
        register(server, service, Script())
    monkeypatch.setattr(module, name, fail)
    async with open_stage(server, roles={}) as stage:
        if service == "C-ECHO":
            message_id = await stage.peer.request(ECHO, wire.echo_rq(7))
        elif service == "C-STORE":
            message_id = await stage.peer.request(CT, wire.store_rq(CT_UID, "1.2.3", 7), DATA)
        else:
            context_id, rq = SERVICES[service]
            message_id = await stage.peer.request(context_id, rq, IDENTIFIER)
        (final,) = await stage.peer.responses(message_id)
        assert (final.status, final.responded_to) == (status, 7)
        await stage.peer.release()
    assert "failed in the library itself" in caplog.text
    assert NAME not in caplog.text
