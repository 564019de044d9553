"""Every exception of the library: it survives pickle and copy with all its fields, and says what it is about."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from typing import Any

import pytest
from scripted.peer import ScriptedListener

import aiodimse
from aiodimse import errors, sop_class
from aiodimse.services.response import Progress
from aiodimse.standard.service_class import QUERY_RETRIEVE

STATUS = aiodimse.Status(0xA702, QUERY_RETRIEVE, "C-GET")
PROGRESS = Progress(None, 1, 2, 3)
MADE: dict[type[BaseException], tuple[tuple[Any, ...], dict[str, Any]]] = {
    errors.AssociationRejected: ((1, 2, 3, "why"), {}),
    errors.AssociationAborted: ((2, 6), {"by_peer": False, "meaning": "why"}),
    errors.AssociationTimeout: (("response", "too late"), {}),
    errors.NoAcceptedContext: (("no context", {"1.2": "refused"}), {"negotiated": ["all"]}),
    errors.RemoteProtocolError: (("broken",), {"reason": 2}),
    errors.PDUDecodeError: (("bad",), {"field": "PDU-type", "offset": 7, "reason": 1, "looks_like": "TLS"}),
    errors.DatasetDecodeError: (("bad",), {"offset": 12}),
    errors.DatasetTooLarge: (("large",), {"offset": 3}),
    errors.DIMSEFailure: (
        (STATUS, "no room"),
        {"offending_elements": (0x00100020,), "progress": PROGRESS, "failed_sop_instance_uids": ("1.2",)},
    ),
    errors.IncompleteRetrieval: ((STATUS, PROGRESS, ["1.2", "1.3"]), {}),
}
"""What is passed to the exceptions that take more than a message."""

EVERY = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
]


def made(kind: type[BaseException]) -> BaseException:
    arguments, more = MADE.get(kind, (("it says this",), {}))
    return kind(*arguments, **more)


def through_pickle(error: BaseException) -> BaseException:
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, through_pickle])
def test_every_exception_survives_with_all_its_fields(again: Any) -> None:
    assert len(EVERY) > 15
    for kind in EVERY:
        error = made(kind)
        error.noted = ["by the application"]  # type: ignore[attr-defined]
        found = again(error)
        assert type(found) is kind, kind
        assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error)), kind
        if isinstance(error, errors.DIMSEFailure | errors.IncompleteRetrieval):
            assert found.status.meaning == STATUS.meaning != ""


def test_every_exception_is_public_or_names_itself() -> None:
    for kind in EVERY:
        assert issubclass(kind, errors.AiodimseError)
        assert kind.__doc__, kind


def test_no_accepted_context_is_no_end_of_the_association() -> None:
    assert not issubclass(errors.NoAcceptedContext, errors.AssociationError)


def test_an_incomplete_retrieval_says_how_many() -> None:
    assert str(errors.IncompleteRetrieval(STATUS, PROGRESS)).startswith("2 sub-operations failed: status 0xA702 (")
    assert str(errors.IncompleteRetrieval(0xB000, None, ["1.2"])) == "1 sub-operations failed: status 0xB000"
    assert str(errors.IncompleteRetrieval(0xB000)) == "not all instances were stored: status 0xB000"


@pytest.mark.parametrize("name", ["timeouts", "limits"])
def test_a_bare_number_is_neither_timeouts_nor_limits(name: str) -> None:
    wants = rf"{name} wants an aiodimse\.{name.title()}, not 5"
    with pytest.raises(TypeError, match=wants):
        aiodimse.connect("127.0.0.1", 104, contexts=[sop_class.Verification], **{name: 5})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=wants):
        aiodimse.Server(**{name: 5})  # type: ignore[arg-type]


@pytest.mark.parametrize("port", ["104", 104.0, True, None])
async def test_what_is_no_number_is_no_port(port: Any) -> None:
    with pytest.raises(aiodimse.LocalProtocolError, match=r"not a port \(0 to 65535\): "):
        await aiodimse.connect("127.0.0.1", port, contexts=[sop_class.Verification])
    with pytest.raises(aiodimse.LocalProtocolError, match="not a port"):
        async with aiodimse.Server().listen("127.0.0.1", port):
            pass


@pytest.mark.parametrize("answer", [b"\x15\x03\x03\0\2\2\x46", b"\x16\x03\x01\0\x05hello"], ids=["alert", "handshake"])
async def test_an_answer_in_tls_to_a_plain_user_says_tls(answer: bytes) -> None:
    async with await ScriptedListener.open() as listener:
        opening = asyncio.ensure_future(
            aiodimse.connect("127.0.0.1", listener.port, contexts=[sop_class.Verification]).__aenter__()
        )
        peer = await listener.accept()
        await peer.read_associate_rq()
        await peer.send(answer)
        await peer.close()
        with pytest.raises(aiodimse.AssociationAborted, match="answers with TLS"):
            await opening
