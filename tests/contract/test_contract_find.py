"""The column C-FIND of the contract, each row at each point where it can happen, on the wire
(docs/topics/query-retrieve.md)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from contract.stage import (
    ALWAYS,
    FIND,
    IDENTIFIER,
    Script,
    check_find,
    make_server,
    match,
    open_stage,
    patient_ids,
    play,
    register,
    status_dataset,
    unencodable,
)
from scripted import wire

import aiodimse
from aiodimse import DIMSEFailure, EncodedDataset, Status


class OddError(BaseException):
    """Not an Exception, as those of test frameworks and of other event loops are."""


# What the handler does last, the final status, and its Error Comment.
ENDINGS: dict[str, tuple[Any, int, str | None]] = {
    "yields Success": (0x0000, 0x0000, None),
    "yields Success as a pair": ((0x0000, None), 0x0000, None),
    # raises
    "raises": (ValueError("patient data"), 0xC311, None),
    "raises CancelledError by itself": (asyncio.CancelledError(), 0xC311, None),
    "raises StopAsyncIteration": (StopAsyncIteration(), 0xC311, None),
    "raises TimeoutError": (TimeoutError(), 0xC311, None),
    "raises an error of another association": (aiodimse.AssociationClosed("of another association"), 0xC311, None),
    "raises what is no Exception": (OddError(), 0xC311, None),
    "raises DIMSEFailure": (DIMSEFailure(0xA700, "full"), 0xA700, "full"),
    "raises DIMSEFailure without a comment": (DIMSEFailure(0xC123), 0xC123, None),
    "raises DIMSEFailure with a long comment": (DIMSEFailure(0xA900, "x" * 80), 0xA900, "x" * 64),
    "raises DIMSEFailure with any text": (DIMSEFailure(0xA900, "Bj\u00f6rn\\\u65e5"), 0xA900, "Bj?rn/?"),
    "raises DIMSEFailure that is Pending": (DIMSEFailure(0xFF00), 0xC311, None),
    "raises DIMSEFailure that is the other Pending": (DIMSEFailure(0xFF01), 0xC311, None),
    "raises DIMSEFailure that is no status": (DIMSEFailure(0x10000), 0xC311, None),
    "raises DIMSEFailure below every status": (DIMSEFailure(-1), 0xC311, None),
    "raises DIMSEFailure with the largest status": (DIMSEFailure(0xFFFF), 0xFFFF, None),
    # a status that is none
    "status Dataset without Status": ((status_dataset(None), match()), 0xC001, None),
    "status Dataset with ErrorComment alone": ((status_dataset(None, ErrorComment="x"), None), 0xC001, None),
    "status Dataset with an empty Status": ((status_dataset(0, Status=None), match()), 0xC002, None),
    "None": (None, 0xC002, None),
    "status None": ((None, match()), 0xC002, None),
    "status a str": (("0xFF00", match()), 0xC002, None),
    "status a float": ((65280.0, match()), 0xC002, None),
    "status a bool": ((True, match()), 0xC002, None),
    "status too large": ((0x10000, match()), 0xC002, None),
    "status negative": ((-1, None), 0xC002, None),
    "a tuple of one": ((0xFF00,), 0xC002, None),
    "a tuple of three": ((0xFF00, match(), match()), 0xC002, None),
    "an empty tuple": ((), 0xC002, None),
    "a list": ([0xFF00, match()], 0xC002, None),
    "an object": (object(), 0xC002, None),
    # Pending without an encodable Identifier
    "Pending alone": (0xFF00, 0xC312, None),
    "Pending with None": ((0xFF00, None), 0xC312, None),
    "Pending 0xFF01 with None": ((0xFF01, None), 0xC312, None),
    "Pending with a number": ((0xFF00, 5), 0xC312, None),
    "Pending as a Status": (Status(0xFF00), 0xC312, None),
    "Pending as a Dataset": (status_dataset(0xFF00), 0xC312, None),
    "Pending with what does not encode": ((0xFF00, unencodable(match())), 0xC312, None),
    "a match that does not encode": (unencodable(match()), 0xC312, None),
    "encoded in another transfer syntax": (EncodedDataset(b"", wire.IMPLICIT_LE), 0xC312, None),
    # Failure, Cancel, Warning, unknown
    "yields a Failure": (0xA700, 0xA700, None),
    "yields a Failure with None": ((0xA900, None), 0xA900, None),
    "yields a Failure with an Identifier": ((0xC000, match()), 0xC000, None),
    "yields a Status": (Status(0xC001), 0xC001, None),
    "yields a status Dataset": ((status_dataset(0xA900, ErrorComment="why"), None), 0xA900, "why"),
    "yields a bare status Dataset": (status_dataset(0xC000, ErrorComment="why"), 0xC000, "why"),
    "yields Cancel": ((0xFE00, None), 0xFE00, None),
    "yields a Warning": (0xB000, 0xB000, None),
    "yields a general Warning": (0x0001, 0x0001, None),
    "yields an unknown status": (0x1234, 0x1234, None),
    "yields an unknown status above the Pending ones": (0xFF02, 0xFF02, None),
    "yields the largest status": (0xFFFF, 0xFFFF, None),
}


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("ending", ENDINGS)
async def test_an_ending_after_some_matches(ending: str, before: int, caplog: pytest.LogCaptureFixture) -> None:
    step, status, comment = ENDINGS[ending]
    script = Script(*([match()] * before), step, match(9), 0xA700)
    played = await play("C-FIND", script)
    check_find(played, [0xFF00] * before + [status], comment)
    assert len(script.closed) == 1, "the handler has ended, and before the final response"
    assert script.yielded <= before + 1, "and did not go on"
    assert "failed in the library itself" not in caplog.text


@pytest.mark.parametrize("count", [0, 1, 2, 100])
async def test_falling_off_the_end_is_success(count: int) -> None:
    script = Script(*map(match, range(count)))
    played = await play("C-FIND", script)
    check_find(played, [0xFF00] * count + [0x0000])
    assert patient_ids(played.pending) == [str(number) for number in range(count)]
    assert script.closed == [None]


PENDINGS: dict[str, tuple[Any, int]] = {
    "a bare Dataset": (match(1), 0xFF00),
    "0xFF00 and a Dataset": ((0xFF00, match(1)), 0xFF00),
    "0xFF01 and a Dataset": ((0xFF01, match(1)), 0xFF01),
    "a Status and a Dataset": ((Status(0xFF01), match(1)), 0xFF01),
    "a status Dataset and a Dataset": ((status_dataset(0xFF00), match(1)), 0xFF00),
    "encoded": (EncodedDataset(wire.dataset({(0x0010, 0x0020): ("LO", "1")}), wire.EXPLICIT_LE), 0xFF00),
    "0xFF01 and encoded": (
        (0xFF01, EncodedDataset(wire.dataset({(0x0010, 0x0020): ("LO", "1")}), wire.EXPLICIT_LE)),
        0xFF01,
    ),
}


@pytest.mark.parametrize("pending", PENDINGS)
async def test_a_match_in_each_of_its_shapes(pending: str) -> None:
    value, status = PENDINGS[pending]
    played = await play("C-FIND", Script(value))
    check_find(played, [status, 0x0000])
    assert patient_ids(played.pending) == ["1"]


async def test_a_comment_goes_with_a_pending_response() -> None:
    played = await play("C-FIND", Script((status_dataset(0xFF01, ErrorComment="key ignored"), match())))
    assert [response.status for response in played.responses] == [0xFF01, 0x0000]
    assert set(played.responses[0]) == ALWAYS | {wire.ERROR_COMMENT}
    assert played.responses[0].comment == "key ignored"


async def test_offending_elements_and_error_id() -> None:
    failure = DIMSEFailure(0xA900, "two", offending_elements=(0x00100020, 0x00080052))
    played = await play("C-FIND", Script(failure))
    check_find(played, [0xA900], "two")
    assert played.final.offending == [(0x0010, 0x0020), (0x0008, 0x0052)]
    played = await play("C-FIND", Script(status_dataset(0xA900, OffendingElement=[0x00100020], ErrorID=0xFFFF)))
    assert (played.final.offending, played.final.number(wire.ERROR_ID)) == ([(0x0010, 0x0020)], 0xFFFF)


NOT_FINAL_AFTER_ALL: dict[str, Any] = {
    "an Error ID below all": status_dataset(0xA900, ErrorID=-1),
    "an Error ID above all": status_dataset(0xA900, ErrorID=0x10000),
    "an Error ID that is text": status_dataset(0xA900, ErrorID="many"),
}


@pytest.mark.parametrize("case", NOT_FINAL_AFTER_ALL)
async def test_a_status_dataset_with_values_that_cannot_be_sent_is_an_invalid_status(case: str) -> None:
    check_find(await play("C-FIND", Script(match(), NOT_FINAL_AFTER_ALL[case])), [0xFF00, 0xC002])


# --- handlers of other shapes -----------------------------------------------------------------------------------------


class _RaisesWhenCalled:
    def __init__(self, request: Any) -> None:
        raise ValueError

    def __aiter__(self) -> Any:
        raise AssertionError


async def _returns_nothing(request: Any) -> None:
    return None


async def _returns_a_status(request: Any) -> int:
    return 0xA700


async def _returns_a_match(request: Any) -> Any:
    return 0xFF00, match()


class _Plain:
    """An asynchronous iterator without aclose."""

    def __init__(self, request: Any) -> None:
        self._left = 2

    def __aiter__(self) -> _Plain:
        return self

    async def __anext__(self) -> Any:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return match()


HANDLERS: dict[str, tuple[Any, list[int]]] = {
    "raises when it is called": (_RaisesWhenCalled, [0xC311]),
    "a coroutine that returns None": (_returns_nothing, [0x0000]),
    "a coroutine that returns a status": (_returns_a_status, [0xA700]),
    "a coroutine that returns a match": (_returns_a_match, [0xFF00, 0x0000]),
    "an iterator": (_Plain, [0xFF00, 0xFF00, 0x0000]),
}


@pytest.mark.parametrize("shape", HANDLERS)
async def test_a_handler_of_another_shape(shape: str) -> None:
    handler, statuses = HANDLERS[shape]
    check_find(await play("C-FIND", Script(), handler=handler), statuses)


class _BadAtTheEnd(Script):
    """Raises in its `finally`."""

    def __init__(self, error: BaseException, *steps: Any) -> None:
        super().__init__(*steps)
        self.error = error

    async def __call__(self, request: Any) -> Any:
        try:
            async for step in super().__call__(request):
                yield step
        finally:
            raise self.error


@pytest.mark.parametrize("error", [ValueError(), asyncio.CancelledError(), OddError()], ids=repr)
async def test_what_a_handler_raises_while_it_is_closed_changes_nothing(error: BaseException) -> None:
    check_find(await play("C-FIND", _BadAtTheEnd(error, match(), 0xA700, match())), [0xFF00, 0xA700])


class _Unclosable(Script):
    """Yields once more when it is told to end."""

    async def __call__(self, request: Any) -> Any:
        try:
            yield match()
            yield 0xA700
        except GeneratorExit:
            yield match()


async def test_a_handler_that_yields_when_it_is_closed_changes_nothing() -> None:
    check_find(await play("C-FIND", _Unclosable()), [0xFF00, 0xA700])


# --- the Identifier ---------------------------------------------------------------------------------------------------

_SEQUENCE = bytes.fromhex("08001511") + b"SQ\0\0"  # (0008,1115), length to follow
_OPEN = bytes.fromhex("ffffffff")
NOT_DECODED: dict[str, bytes] = {
    "cut in a value": IDENTIFIER[:-1],
    "cut in a header": IDENTIFIER + b"\x10\x00\x20",
    "something after the end": IDENTIFIER + b"\0\1",
    "a length past the end": bytes.fromhex("08005200") + b"CS" + bytes.fromhex("1000") + b"STUDY ",
    "a sequence without its end": _SEQUENCE + _OPEN,
    "an item without its end": _SEQUENCE + _OPEN + bytes.fromhex("feff00e0") + _OPEN,
    "no VR": bytes.fromhex("08005200") + b"\1\2" + bytes.fromhex("0000"),
    "nested too deeply": (_SEQUENCE + _OPEN + bytes.fromhex("feff00e0") + _OPEN) * 70,
    "noise": bytes(range(1, 200)),
}
DECODED: dict[str, bytes] = {
    "empty": b"",
    "no level": wire.identifier(None),
    "a bad value in a sound element": wire.dataset({(0x0008, 0x0052): ("CS", "no such level!")}),
    "an empty sequence without a length": _SEQUENCE + _OPEN + bytes.fromhex("feffdde000000000"),
    "a NUL after the end": IDENTIFIER + b"\0",
    "many NULs after the end": IDENTIFIER + bytes(100),
    "group 0002": bytes.fromhex("02001000") + b"UI" + bytes.fromhex("0000") + IDENTIFIER,
    "group 0000 in an item": _SEQUENCE + bytes.fromhex("10000000feff00e0080000000000000055490000"),
    "a value of odd length": bytes.fromhex("08005200") + b"CS" + bytes.fromhex("0500") + b"STUDY",
    "a private element": wire.dataset({(0x0009, 0x0010): ("LO", "SCRIPTED"), (0x0009, 0x1001): ("UN", b"\1\2")}),
}


@pytest.mark.parametrize("case", NOT_DECODED)
async def test_an_identifier_that_does_not_decode(case: str) -> None:
    script, server = Script(match()), make_server()
    register(server, "C-FIND", script)
    async with open_stage(server) as stage:
        (final,) = await stage.peer.responses(await stage.ask("C-FIND", NOT_DECODED[case]))
        assert (final.status, final.data, script.requests) == (0xC310, None, [])
        assert set(final) == ALWAYS | {wire.ERROR_COMMENT}
        await stage.nothing_more()


@pytest.mark.parametrize("case", DECODED)
async def test_an_identifier_that_decodes(case: str) -> None:
    script, server = Script(), make_server()
    register(server, "C-FIND", script)
    async with open_stage(server) as stage:
        (final,) = await stage.peer.responses(await stage.ask("C-FIND", DECODED[case]))
        assert (final.status, len(script.requests)) == (0x0000, 1)
        assert "(0002," not in str(script.requests[0].identifier)
        assert "(0000," not in str(script.requests[0].identifier)
        await stage.nothing_more()


@pytest.mark.parametrize("transfer_syntax", [wire.IMPLICIT_LE, wire.EXPLICIT_LE, wire.DEFLATED_LE])
async def test_the_request_as_the_handler_sees_it(transfer_syntax: str) -> None:
    import zlib

    plain = wire.EXPLICIT_LE if transfer_syntax == wire.DEFLATED_LE else transfer_syntax
    data = wire.dataset({(0x0008, 0x0052): ("CS", "STUDY"), (0x0010, 0x0020): ("LO", "42")}, plain)
    if transfer_syntax == wire.DEFLATED_LE:
        deflater = zlib.compressobj(wbits=-15)
        data = deflater.compress(data) + deflater.flush()
        data += b"\0" * (len(data) % 2)
    script, server = Script(match(4)), make_server()
    register(server, "C-FIND", script)
    async with open_stage(
        server, [(FIND, wire.STUDY_ROOT_FIND, [transfer_syntax])], roles={}, calling="CALLER"
    ) as stage:
        message_id = await stage.peer.request(FIND, wire.find_rq(message_id=9, priority=1), data)
        pending, final = await stage.peer.responses(message_id)
        assert (pending.status, final.status) == (0xFF00, 0x0000)
        answer = pending.data or b""
        if transfer_syntax == wire.DEFLATED_LE:
            answer = zlib.decompressobj(-15).decompress(answer)
        assert wire.read_dataset(answer, plain) == {(0x0010, 0x0020): b"4 "}
        address = stage.peer.writer.get_extra_info("sockname")[:2]
    (request,) = script.requests
    assert (request.identifier.QueryRetrieveLevel, request.identifier.PatientID) == ("STUDY", "42")
    assert (request.message_id, request.priority, request.sop_class_uid) == (9, 1, wire.STUDY_ROOT_FIND)
    assert (request.context.context_id, request.context.transfer_syntax) == (FIND, transfer_syntax)
    assert (request.extended, request.is_cancelled) == (None, False)
    peer = request.association
    assert (peer.peer_address, peer.calling_ae_title, peer.called_ae_title) == (address, "CALLER", "ARCHIVE")
    assert [context.context_id for context in peer.contexts] == [FIND]
    assert (peer.user_identity, peer.certificate) == (None, None)
