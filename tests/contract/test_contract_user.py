"""The user's view: what it makes of every answer, leaving and cancelling, deadlines (docs/topics/user.md,
docs/topics/flow.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from contract.provider import CONTEXTS, MATCH, MODELS, Talk, counters, open_talk
from contract.stage import CT_UID, HOST, image
from scripted import wire
from scripted.peer import DEADLINE, Message, ScriptedListener

import aiodimse
from aiodimse import Category, DIMSEFailure, Progress, sop_class
from aiodimse.testing import ManualClock, settle

every = pytest.mark.parametrize("service", MODELS)
DRAIN = aiodimse.Timeouts().cancel_drain or 0.0
SECTION = "1.2.840.10008.5.1.4.1.1.201.6"

FINALS: dict[int, Category] = {
    0x0000: Category.SUCCESS,
    0xFE00: Category.CANCEL,
    0x0001: Category.WARNING,
    0x0107: Category.WARNING,
    0x0116: Category.WARNING,
    0xB000: Category.WARNING,
    0xBFFF: Category.WARNING,
    0x0110: Category.FAILURE,
    0x0122: Category.FAILURE,
    0x0124: Category.FAILURE,
    0x0210: Category.FAILURE,
    0x0211: Category.FAILURE,
    0x0212: Category.FAILURE,
    0xA700: Category.FAILURE,
    0xA702: Category.FAILURE,
    0xA801: Category.FAILURE,
    0xA900: Category.FAILURE,
    0xC000: Category.FAILURE,
    0xC311: Category.FAILURE,
    0xCFFF: Category.FAILURE,
    0x1234: Category.FAILURE,
    0xFF02: Category.FAILURE,
}


async def serve(talk: Talk, before: int, status: int, more: Any = None, data: bytes | None = None) -> Message:
    """Answer the request that comes with so many items, and a final response; returns the request."""
    request = await talk.peer.read_message()
    for number in range(1, before + 1):
        await talk.item(request, number)
        if request.field == wire.C_GET:
            answer = await talk.peer.read_message()
            assert (answer.field, answer.status) == (0x8001, 0x0000)
    await talk.peer.respond(request, status, more, data)
    return request


async def consume(operation: Any, into: list[Any]) -> None:
    async with operation:
        async for item in operation:
            if isinstance(item, aiodimse.Instance):
                await item.discard()
            into.append(item)


@every
@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("status", FINALS, ids=hex)
async def test_what_each_final_status_means(service: str, before: int, status: int) -> None:
    category = FINALS[status]
    offending = wire.struct.pack("<HHHH", 8, 0x52, 0x10, 0x20)
    more: dict[Any, Any] = {wire.ERROR_COMMENT: "it says why", wire.OFFENDING_ELEMENT: offending}
    data = None
    if service != "C-FIND":
        more |= counters(None, 3, 2, 1)
        data = wire.dataset({(0x0008, 0x0058): ("UI", "1.2.3\\1.2.4")}) if status else None
    async with open_talk() as talk:
        operation, items = talk.begin(service), []
        serving = asyncio.create_task(serve(talk, before, status, more, data))
        if category is Category.FAILURE:
            with pytest.raises(DIMSEFailure) as caught:
                await consume(operation, items)
            error = caught.value
            assert (error.status, error.comment) == (status, "it says why")
            assert error.status.category is Category.FAILURE  # type: ignore[attr-defined]
            assert error.offending_elements == (0x00080052, 0x00100020)
            if service != "C-FIND":
                assert error.progress == Progress(None, 3, 2, 1)
                assert error.failed_sop_instance_uids == ("1.2.3", "1.2.4")
            assert "it says why" in str(error)
            assert f"{status:04X}" in str(error)
        elif service != "C-FIND" and category is not Category.CANCEL:
            with pytest.raises(aiodimse.IncompleteRetrieval) as incomplete:
                await consume(operation, items)
            told = incomplete.value
            assert (told.status, told.progress) == (status, Progress(None, 3, 2, 1))
            assert told.failed_sop_instance_uids == (("1.2.3", "1.2.4") if status else ())
        else:
            await consume(operation, items)
        await serving
        assert len(items) == before
        assert (operation.status, operation.status.category, operation.last_status) == (status, category, status)
        response = operation.response
        assert (response.status, response.error_comment) == (status, "it says why")
        assert response.offending_elements == (0x00080052, 0x00100020)
        if service != "C-FIND":
            assert operation.progress == response.progress == Progress(None, 3, 2, 1)
            assert operation.failed_sop_instance_uids == (("1.2.3", "1.2.4") if status else ())
        await talk.usable()


@pytest.mark.parametrize(("sent", "completed", "missing"), [(1, 5, 4), (2, 2, 0), (2, 1, 0), (0, 1, 1)])
async def test_what_a_get_counts_and_does_not_send(sent: int, completed: int, missing: int, caplog: Any) -> None:
    async with open_talk() as talk:
        operation, items = talk.begin("C-GET"), []
        serving = asyncio.create_task(serve(talk, sent, 0x0000, counters(None, completed, 0, 0)))
        await consume(operation, items)
        await serving
        assert (len(items), operation.missing) == (sent, missing)
        assert ("than have arrived" in caplog.text) is (missing > 0)


async def test_a_get_that_is_awaited_misses_nothing(caplog: Any) -> None:
    """A handler may have taken its instances."""
    async with open_talk() as talk:
        operation = talk.begin("C-GET")
        serving = asyncio.create_task(serve(talk, 0, 0x0000, counters(None, 3, 0, 0)))
        assert (await operation).status == 0x0000
        await serving
        assert operation.missing == 0
        assert "than have arrived" not in caplog.text


@every
@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xFE00, 0xA700])
async def test_an_awaited_operation_never_raises_on_a_status(service: str, status: int) -> None:
    async with open_talk() as talk:

        async def answer() -> None:
            request = await talk.peer.read_message()
            if service != "C-GET":
                await talk.pending(request)
            await talk.peer.respond(request, status, {wire.ERROR_COMMENT: "x"})

        answering = asyncio.create_task(answer())
        response = await talk.begin(service)
        await answering
        assert (response.status, response.error_comment) == (status, "x")
        if status == 0xA700:
            with pytest.raises(DIMSEFailure):
                response.raise_for_status()
        elif status == 0xB000 and service != "C-FIND":
            with pytest.raises(aiodimse.IncompleteRetrieval):
                response.raise_for_status()
        else:
            assert response.raise_for_status() is response
        await talk.usable()


@pytest.mark.parametrize("status", FINALS, ids=hex)
async def test_echo_and_store_return_a_response(status: int) -> None:
    async with open_talk((*CONTEXTS[:1], CT_UID)) as talk:
        for call in (talk.association.c_echo, lambda: talk.association.c_store(image(1))):
            task = asyncio.create_task(call())  # type: ignore[arg-type]
            request = await talk.peer.read_message()
            await talk.peer.respond(request, status, {wire.ERROR_COMMENT: "x"})
            response = await task
            assert (response.status, response.error_comment, response.progress) == (status, "x", None)


async def test_pending_statuses_and_matches() -> None:
    async with open_talk() as talk:
        seen = []

        async def answer() -> None:
            request = await talk.peer.read_message()
            for status in (0xFF00, 0xFF01, 0xFF00):
                await talk.peer.respond(request, status, data=MATCH)
            await talk.peer.respond(request, 0x0000)

        answering = asyncio.create_task(answer())
        async with talk.begin("C-FIND") as matches:
            assert matches.status is None
            async for found in matches:
                seen.append((found.PatientID, int(matches.last_status), matches.last_status.category))  # noqa: PERF401
        assert seen == [("1", status, Category.PENDING) for status in (0xFF00, 0xFF01, 0xFF00)]
        await answering


async def test_progress_after_each_pending() -> None:
    async with open_talk() as talk:

        async def answer() -> None:
            request = await talk.peer.read_message()
            assert request.text(wire.MOVE_DESTINATION) == "DEST"
            for n in range(1, 4):
                await talk.peer.respond(request, 0xFF00, counters(4 - n, n - 1, 1, 0))
            await talk.peer.respond(request, 0xB000, counters(None, 3, 1, 0))

        answering = asyncio.create_task(answer())
        seen: list[Any] = []
        async with talk.begin("C-MOVE") as move:
            with pytest.raises(aiodimse.IncompleteRetrieval, match="1 sub-operations failed"):
                await consume(move, seen)
        assert seen == [Progress(3, 0, 1, 0), Progress(2, 1, 1, 0), Progress(1, 2, 1, 0)]
        assert (move.progress, move.status) == (Progress(None, 3, 1, 0), 0xB000)
        await answering


@pytest.mark.parametrize(("vr", "count"), [("UI", 1), ("UI", 3), ("UN", 3), ("UN", 2000)])
@pytest.mark.parametrize("service", ["C-GET", "C-MOVE"])
async def test_failed_uids_in_both_encodings(service: str, vr: str, count: int) -> None:
    uids = tuple(f"1.2.3.{n:040d}".replace(".0", ".9") for n in range(count))
    async with open_talk() as talk:
        data = wire.dataset({(0x0008, 0x0058): (vr, "\\".join(uids).encode() + b"\0" * ((count * 47 - 1) % 2))})
        serving = asyncio.create_task(serve(talk, 0, 0xB000, counters(None, 0, count, 0), data))
        operation = talk.begin(service)
        with pytest.raises(aiodimse.IncompleteRetrieval) as incomplete:
            await consume(operation, [])
        await serving
        assert operation.failed_sop_instance_uids == incomplete.value.failed_sop_instance_uids == uids


@pytest.mark.parametrize(
    ("told", "is_incomplete"),
    [((None, 3, 0, 0), False), ((None, 2, 1, 0), True), ((None, 2, 0, 1), False), ((None, 0, 0, 0), True)],
)
@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("service", ["C-GET", "C-MOVE"])
async def test_an_incomplete_retrieval_may_be_allowed(
    service: str, allowed: bool, told: tuple[int | None, int, int, int], is_incomplete: bool
) -> None:
    async with open_talk() as talk:
        serving = asyncio.create_task(serve(talk, 2, 0xB000, counters(*told)))
        call = talk.association.c_get if service == "C-GET" else talk.association.c_move
        more: Any = {"allow_incomplete": True} if allowed else {}
        if service == "C-MOVE":
            more["destination"] = "DEST"
        operation, items = call(image(1), **more), []  # type: ignore[operator, var-annotated]
        if is_incomplete and not allowed:
            with pytest.raises(aiodimse.IncompleteRetrieval):
                await consume(operation, items)
        else:
            await consume(operation, items)
        assert len(items) == 2  # all that came was handed out
        await serving
        await talk.usable()


async def test_meanings_by_service_class() -> None:
    """The same code says different things in different services (PS3.4)."""
    patient = str(sop_class.GeneralRelevantPatientInformationQuery)
    async with open_talk([wire.STUDY_ROOT_FIND, patient]) as talk:
        meanings = []
        for uid in (wire.STUDY_ROOT_FIND, patient):
            serving = asyncio.create_task(serve(talk, 0, 0xC100))
            response = await talk.association.c_find(image(1), uid)
            meanings.append(response.status.meaning)
            await serving
        assert all(meanings)
        assert meanings[0] != meanings[1]


async def test_repository_query_ends_with_b001_and_a_further_0000_is_dropped(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    async with open_talk([wire.VERIFICATION, SECTION]) as talk:
        matches = talk.association.c_find(image(1), SECTION)
        task = asyncio.create_task(consume(matches, []))
        request = await serve(talk, 1, 0xB001)
        await talk.peer.respond(request, 0x0000)
        await task
        assert (matches.status, matches.status.category) == (0xB001, Category.WARNING)
        await talk.usable()
        assert "dropped" in caplog.text


@pytest.mark.parametrize(
    ("further", "more"),
    [(0xFF00, {}), (0xB001, {}), (0xC000, {}), (0x0000, {wire.COMMAND_FIELD: 0x8030})],
    ids=["Pending", "B001", "Failure", "C-ECHO-RSP"],
)
async def test_nothing_but_0000_is_dropped_after_b001(further: int, more: dict[Any, Any]) -> None:
    async with open_talk([wire.VERIFICATION, SECTION]) as talk:
        task = asyncio.create_task(consume(talk.association.c_find(image(1), SECTION), []))
        request = await serve(talk, 1, 0xB001)
        await talk.peer.respond(request, further, more)
        assert await talk.peer.expect_abort() == (2, 2)
        await task


# --- the instances of a C-GET -----------------------------------------------------------------------------------------


async def _save(instance: Any, directory: Path) -> None:
    path = await instance.save(directory)
    assert path.parent == directory


async def _dataset(instance: Any, directory: Path) -> None:
    assert (await instance.dataset()).PatientID == "1"


async def _stream(instance: Any, directory: Path) -> None:
    assert b"".join([bytes(piece) async for piece in instance.stream()]) == MATCH


async def _discard(instance: Any, directory: Path) -> None:
    await instance.discard()


async def _nothing(instance: Any, directory: Path) -> None:
    return None


async def _begin(instance: Any, directory: Path) -> None:
    stream = instance.stream()
    await anext(stream)
    await stream.aclose()


async def _both(first: Any, second: Any) -> None:
    await first
    with pytest.raises(RuntimeError, match=r"its bytes are not kept.* save\(\) first, then read the file"):
        await second


async def _dataset_and_save(instance: Any, directory: Path) -> None:
    await _both(instance.dataset(), instance.save(directory))


async def _save_and_dataset(instance: Any, directory: Path) -> None:
    await _both(instance.save(directory), instance.dataset())


async def _begin_and_save(instance: Any, directory: Path) -> None:
    await _both(_begin(instance, directory), instance.save(directory))


CONSUMED: dict[str, tuple[Callable[[Any, Path], Any], bool]] = {
    "saved": (_save, True),
    "decoded": (_dataset, True),
    "streamed to its end": (_stream, True),
    "discarded": (_discard, True),
    "not touched": (_nothing, False),
    "streamed half way": (_begin, False),
    "decoded, and not saved then": (_dataset_and_save, True),
    "saved, and not decoded then": (_save_and_dataset, True),
    "streamed half way, and not saved then": (_begin_and_save, False),
}


@pytest.mark.parametrize("how", CONSUMED)
async def test_a_sub_operation_is_answered_when_the_loop_comes_back(how: str, tmp_path: Path, caplog: Any) -> None:
    consume_it, consumed = CONSUMED[how]
    async with open_talk() as talk:
        reached, proceed = asyncio.Event(), asyncio.Event()

        async def user() -> Any:
            async with talk.begin("C-GET") as retrieval:
                async for instance in retrieval:
                    assert (instance.sop_class_uid, instance.sop_instance_uid) == (CT_UID, "1.2.3.1")
                    try:
                        await consume_it(instance, tmp_path)
                    finally:
                        reached.set()
                    await proceed.wait()
            return retrieval

        task = asyncio.create_task(user())
        request = await talk.peer.read_message()
        store = await talk.store()
        await reached.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        proceed.set()
        (answer,) = await talk.peer.responses(store)
        assert (answer.status, answer.instance) == (0x0000 if consumed else 0x0110, "1.2.3.1")
        assert ("not saved" in caplog.text) is not consumed
        await talk.peer.respond(request, 0x0000, counters(None, 1, 0, 0))
        assert (await task).status == 0x0000
        await talk.usable()


@pytest.mark.parametrize("how", CONSUMED)
async def test_leaving_answers_the_last_instance(how: str, tmp_path: Path) -> None:
    consume_it, consumed = CONSUMED[how]
    async with open_talk() as talk:

        async def user() -> None:
            async with talk.begin("C-GET") as retrieval:
                async for instance in retrieval:
                    await consume_it(instance, tmp_path)
                    break

        task = asyncio.create_task(user())
        request = await talk.peer.read_message()
        store = await talk.store()
        messages = [await talk.peer.read_message() for _ in range(2)]
        assert {m.field for m in messages} == {0x8001, wire.C_CANCEL}
        answer = next(m for m in messages if m.field == 0x8001)
        assert (answer.responded_to, answer.status) == (store, 0x0000 if consumed else 0xA700)
        await task
        (later,) = await talk.peer.responses(await talk.store(2))  # the provider has not heard yet
        assert later.status == 0xA700
        await talk.peer.respond(request, 0xFE00, counters(1, 1, 1, 0))
        await talk.usable()


@pytest.mark.parametrize(("consumed", "status"), [(True, 0x0000), (False, 0xA700)])
async def test_an_answer_that_is_cancelled_while_it_waits_is_given(consumed: bool, status: int) -> None:
    """It waits for another message that is being written. The peer needs it, or would be aborted after
    Timeouts.cancel_drain."""

    class Big(aiodimse.Instance):
        async def _stream(self) -> AsyncIterator[bytes]:
            yield bytes(16_000_000)

        def stream(self) -> AsyncIterator[bytes]:
            return self._stream()

    contexts = [*CONTEXTS, sop_class.MRImageStorage]
    window: dict[str, Any] = {"operations_window": (2, 1), "answer": {"window": (2, 1)}}
    async with open_talk(contexts, **window) as talk, asyncio.timeout(10):
        retrieval = talk.begin("C-GET")
        first = asyncio.ensure_future(anext(retrieval))
        request = await talk.peer.read_message()
        store = await talk.store()
        instance = await first
        if consumed:
            await instance.discard()
        big = Big(sop_class.MRImageStorage, "1.2.9", wire.EXPLICIT_LE)
        storing = asyncio.create_task(talk.association.c_store(big))
        await settle()
        second = asyncio.ensure_future(anext(retrieval))
        await settle()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        other = await talk.peer.read_message()
        assert len(other.data or b"") == 16_000_000
        messages = [await talk.peer.read_message() for _ in range(2)]
        assert sorted((message.field, message.responded_to, message.status) for message in messages) == [
            (wire.C_CANCEL, request.message_id, None),
            (0x8001, store, status),
        ]
        await talk.peer.respond(other, 0x0000)
        await storing
        await talk.peer.respond(request, 0xFE00, counters(0, 1, 0, 0))
        await talk.usable()


async def test_a_large_sub_operation_beyond_the_window_waits_for_a_slow_user() -> None:
    """It fills our buffer and is not refused: the user makes room, whatever else the peer has to say."""
    async with open_talk(limits=aiodimse.Limits(max_pdu_length=4096)) as talk, asyncio.timeout(10):
        come = asyncio.Event()

        async def user() -> None:
            async with talk.begin("C-GET") as retrieval:
                async for instance in retrieval:
                    await come.wait()
                    await instance.discard()

        task = asyncio.create_task(user())
        request = await talk.peer.read_message()
        first = await talk.store(1)
        sending = asyncio.create_task(talk.store(2, MATCH + bytes(100_000)))
        await settle()
        come.set()
        second = await sending
        messages = [await talk.peer.read_message() for _ in range(2)]
        assert {message.responded_to: message.status for message in messages} == {first: 0x0000, second: 0x0000}
        await talk.peer.respond(request, 0x0000, counters(None, 2, 0, 0))
        await task


async def test_leaving_answers_those_that_wait() -> None:
    """Two have come, as the window allows, and the loop ends with the first."""
    async with open_talk(operations_window=(2, 2), answer={"window": (2, 2)}) as talk:
        left = asyncio.Event()

        async def user() -> None:
            async with talk.begin("C-GET") as retrieval:
                async for instance in retrieval:
                    await instance.dataset()
                    await left.wait()
                    break

        task = asyncio.create_task(user())
        request = await talk.peer.read_message()
        first, second = await talk.store(1), await talk.store(2)
        await talk.usable()  # both are in
        left.set()
        messages = [await talk.peer.read_message() for _ in range(3)]
        answers = {message.responded_to: message.status for message in messages if message.field == 0x8001}
        assert answers == {first: 0x0000, second: 0xA700}
        await task
        await talk.peer.respond(request, 0xFE00, counters(0, 1, 1, 0))
        await talk.usable()


async def test_an_instance_without_a_retrieval() -> None:
    async with open_talk() as talk:
        (answer,) = await talk.peer.responses(await talk.store())
        assert answer.status == 0x0122
        await talk.usable()


async def test_one_get_at_a_time() -> None:
    async with open_talk() as talk:
        async with talk.begin("C-GET") as retrieval:
            with pytest.raises(aiodimse.ProtocolError):
                talk.begin("C-GET")
            request = await talk.peer.read_message()
            await talk.peer.respond(request, 0x0000)
            assert [instance async for instance in retrieval] == []
        await asyncio.gather(consume(talk.begin("C-GET"), []), serve(talk, 0, 0x0000))


async def test_a_get_that_was_not_begun_takes_nothing() -> None:
    async with open_talk() as talk:
        first, second = talk.begin("C-GET"), talk.begin("C-GET")
        found: list[Any] = []
        await asyncio.gather(consume(first, found), serve(talk, 2, 0x0000))
        assert len(found) == 2
        async with talk.begin("C-GET") as third:
            with pytest.raises(aiodimse.ProtocolError, match="another C-GET"):
                await second
            await talk.peer.respond(await talk.peer.read_message(), 0x0000)
            await third
        await asyncio.gather(consume(second, found), serve(talk, 1, 0x0000))
        assert len(found) == 3


@every
async def test_one_task_awaits_an_operation(service: str) -> None:
    """The other is told so, and disturbs nothing."""
    async with open_talk() as talk:
        operation, found = talk.begin(service), []
        first = asyncio.create_task(consume(operation, found))
        await asyncio.sleep(0)
        with pytest.raises(aiodimse.ProtocolError, match="another task"):
            await anext(operation)
        with pytest.raises(aiodimse.ProtocolError, match="another task"):
            await operation
        await serve(talk, 3, 0x0000)
        await first
        assert len(found) == 3
        await talk.usable()


@every
async def test_a_cancel_while_the_request_waits(service: str) -> None:
    """It follows the request, of which there is one."""
    async with open_talk() as talk:
        echo = asyncio.create_task(talk.association.c_echo())
        asked = await talk.peer.read_message()
        operation, found = talk.begin(service), []
        first = asyncio.create_task(consume(operation, found))
        await asyncio.sleep(0)
        cancel = asyncio.create_task(operation.cancel())
        await talk.peer.respond(asked, 0x0000)
        await echo
        await cancel
        request = await talk.peer.read_message()
        await talk.expect_cancel(request)
        await talk.peer.respond(request, 0xFE00)
        await first
        assert found == []
        await talk.usable()


# --- leaving ----------------------------------------------------------------------------------------------------------


class Leaving(Exception):
    pass


async def _break(operation: Any, sent: asyncio.Event) -> None:
    async with operation:
        async for _ in operation:
            break


async def _raise(operation: Any, sent: asyncio.Event) -> None:
    async def body() -> None:
        async with operation:
            async for _ in operation:
                raise Leaving

    with pytest.raises(Leaving):
        await body()


async def _never_iterate(operation: Any, sent: asyncio.Event) -> None:
    async with operation:
        pass


async def _timeout(operation: Any, sent: asyncio.Event) -> None:
    async def pass_when_sent(deadline: asyncio.Timeout) -> None:
        await sent.wait()
        deadline.reschedule(0.0)

    async def body() -> None:
        async with asyncio.timeout(None) as deadline, operation:
            passing = asyncio.create_task(pass_when_sent(deadline))
            async for _ in operation:
                pass
            await passing

    with pytest.raises(TimeoutError) as caught:
        await body()
    assert not isinstance(caught.value, aiodimse.AiodimseError)


async def _cancelled(operation: Any, sent: asyncio.Event) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with operation:
            async for _ in operation:
                begun.set()

    task = asyncio.create_task(work())
    await begun.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _cancelled_while_awaited(operation: Any, sent: asyncio.Event) -> None:
    async def work() -> None:
        await operation

    task = asyncio.create_task(work())
    await sent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


LEAVING = {
    "break": _break,
    "an exception in the body": _raise,
    "not iterated": _never_iterate,
    "asyncio.timeout": _timeout,
    "task cancellation": _cancelled,
    "task cancellation while awaited": _cancelled_while_awaited,
}


@every
@pytest.mark.parametrize("how", LEAVING)
async def test_leaving_sends_cancel_and_returns(service: str, how: str) -> None:
    """It does not wait for the final response; the association drains the rest by itself and stays usable."""
    async with open_talk() as talk:
        sent = asyncio.Event()
        leaving = asyncio.create_task(LEAVING[how](talk.begin(service), sent))
        request = await talk.peer.read_message()
        if how != "not iterated":
            await talk.item(request)
        sent.set()
        await talk.expect_cancel(request)
        async with asyncio.timeout(DEADLINE):
            await leaving
        assert talk.association.is_open
        # what comes still is drained; the place is taken until the final response
        echo = asyncio.create_task(talk.association.c_echo())
        if service != "C-GET":
            for _ in range(3):
                await talk.pending(request)
        assert not echo.done()
        await talk.peer.respond(request, 0xFE00)
        message = await talk.peer.read_message()
        while message.field == 0x8001:
            message = await talk.peer.read_message()
        assert message.field == wire.C_ECHO
        await talk.peer.respond(message, 0x0000)
        assert (await echo).status == 0x0000
        await talk.usable()


async def test_collect_with_a_limit() -> None:
    async with open_talk() as talk:
        collecting = asyncio.create_task(talk.begin("C-FIND").collect(limit=2))
        request = await talk.peer.read_message()
        for _ in range(3):
            await talk.pending(request)
        await talk.expect_cancel(request)
        assert len(await collecting) == 2
        await talk.peer.respond(request, 0xFE00)
        await talk.usable()


async def test_collect_raises_on_a_failure() -> None:
    async with open_talk() as talk:
        collecting = asyncio.create_task(talk.begin("C-FIND").collect(limit=1000))
        await serve(talk, 2, 0xA700)
        with pytest.raises(DIMSEFailure):
            await collecting


@every
async def test_cancel_and_go_on(service: str) -> None:
    """cancel() sends C-CANCEL once; what still comes is given, up to the final response."""
    async with open_talk() as talk:
        operation, items = talk.begin(service), []

        async def user() -> None:
            async with operation:
                async for item in operation:
                    items.append(item)
                    if isinstance(item, aiodimse.Instance):
                        await item.discard()
                    await operation.cancel()

        task = asyncio.create_task(user())
        request = await talk.peer.read_message()
        await talk.item(request, 1)
        await talk.expect_cancel(request)
        await talk.item(request, 2)
        if service == "C-GET":
            while (await talk.peer.read_message()).responded_to != 1002:
                pass
        await talk.peer.respond(request, 0xFE00)
        await task
        assert (operation.status, operation.status.category, len(items)) == (0xFE00, Category.CANCEL, 2)
        await operation.cancel()  # too late: nothing is sent
        await talk.usable()


@every
async def test_the_provider_may_finish_in_spite_of_a_cancel(service: str) -> None:
    async with open_talk() as talk:
        operation = talk.begin(service)

        async def user() -> None:
            async with operation:
                await operation.cancel()
                async for _ in operation:
                    pass

        task = asyncio.create_task(user())
        request = await talk.peer.read_message()
        await talk.expect_cancel(request)
        await talk.peer.respond(request, 0x0000)
        await task
        assert operation.status == 0x0000
        await talk.usable()


@every
async def test_past_cancel_drain_the_association_is_aborted(service: str) -> None:
    clock = ManualClock()
    async with open_talk(environment=aiodimse.Environment(clock)) as talk:
        leaving = asyncio.create_task(_never_iterate(talk.begin(service), asyncio.Event()))
        request = await talk.peer.read_message()
        await talk.expect_cancel(request)
        await leaving
        waiting = asyncio.create_task(talk.association.c_echo())
        await clock.elapse(DRAIN - 0.1)
        assert talk.association.is_open
        await clock.elapse(0.2)
        assert await talk.peer.expect_abort() == (0, 0)
        with pytest.raises(aiodimse.AssociationTimeout) as caught:
            await waiting
        assert caught.value.phase == "response"
        assert not talk.association.is_open


async def test_a_left_operation_that_ends_in_time_aborts_nothing() -> None:
    clock = ManualClock()
    async with open_talk(environment=aiodimse.Environment(clock)) as talk:
        leaving = asyncio.create_task(_never_iterate(talk.begin("C-FIND"), asyncio.Event()))
        request = await talk.peer.read_message()
        await talk.expect_cancel(request)
        await leaving
        await talk.peer.respond(request, 0xFE00)
        await talk.usable()
        await clock.elapse(2 * DRAIN)
        await talk.usable()


@every
async def test_an_operation_that_was_left_is_over(service: str) -> None:
    async with open_talk() as talk:
        operation = talk.begin(service)
        leaving = asyncio.create_task(_never_iterate(operation, asyncio.Event()))
        request = await talk.peer.read_message()
        await talk.expect_cancel(request)
        await leaving
        with pytest.raises(aiodimse.ProtocolError):
            await anext(operation)
        assert operation.status is None
        await talk.peer.respond(request, 0xFE00)


# --- deadlines, faults, the end ---------------------------------------------------------------------------------------


@every
async def test_no_response_in_time(service: str) -> None:
    clock, timeouts = ManualClock(), aiodimse.Timeouts(response=20, move_response=20)
    async with open_talk(timeouts=timeouts, environment=aiodimse.Environment(clock)) as talk:
        task = asyncio.create_task(consume(talk.begin(service), []))
        request = await talk.peer.read_message()
        await clock.elapse(19.9)
        assert not task.done()
        await clock.elapse(0.2)
        with pytest.raises(aiodimse.AssociationTimeout) as caught:
            await task
        assert caught.value.phase == "response"
        await talk.expect_cancel(request)
        await talk.peer.respond(request, 0xFE00)
        assert talk.association.is_open


@every
@pytest.mark.parametrize("how", ["A-ABORT", "FIN", "RST"])
async def test_the_provider_goes(service: str, how: str) -> None:
    async with open_talk() as talk:
        items: list[Any] = []
        task = asyncio.create_task(consume(talk.begin(service), items))
        request = await talk.peer.read_message()
        await talk.item(request)
        if service == "C-GET":
            await talk.peer.read_message()
        if how == "A-ABORT":
            await talk.peer.send(wire.abort(2, 6))
        elif how == "FIN":
            talk.peer.shut()
        else:
            talk.peer.reset()
        with pytest.raises(aiodimse.AssociationAborted) as caught:
            await task
        expected = (2, 6, True) if how == "A-ABORT" else (None, None, True)
        assert (caught.value.source, caught.value.reason, caught.value.by_peer) == expected
        assert not talk.association.is_open
        with pytest.raises(aiodimse.AssociationError):
            await talk.association.c_echo()


@every
async def test_the_provider_releases(service: str) -> None:
    async with open_talk() as talk:
        task = asyncio.create_task(consume(talk.begin(service), []))
        await talk.peer.read_message()
        await talk.peer.send(wire.RELEASE_RQ)
        await talk.peer.expect(wire.A_RELEASE_RP)
        with pytest.raises(aiodimse.AssociationClosed):
            await task


async def test_a_match_that_does_not_decode() -> None:
    """It costs itself alone; who is strict is told, and the operation left like any other."""
    async with open_talk() as talk:
        matches, found = talk.begin("C-FIND"), []  # type: ignore[var-annotated]
        task = asyncio.create_task(consume(matches, found))
        request = await talk.peer.read_message()
        for data in (MATCH, MATCH[:-1], MATCH, b"\x10\0"):
            await talk.peer.respond(request, 0xFF00, data=data)
        await talk.peer.respond(request, 0x0000)
        await task
        assert len(found) == 2
        assert [undecodable.data for undecodable in matches.undecodable] == [MATCH[:-1], b"\x10\0"]
        assert {type(undecodable) for undecodable in matches.undecodable} == {aiodimse.EncodedDataset}
        await talk.usable()
    async with open_talk(strict=True) as talk:
        task = asyncio.create_task(consume(talk.begin("C-FIND"), []))
        request = await talk.peer.read_message()
        await talk.peer.respond(request, 0xFF00, data=MATCH[:-1])
        await talk.expect_cancel(request)
        with pytest.raises(aiodimse.DatasetDecodeError):
            await task
        await talk.peer.respond(request, 0xFE00)
        await talk.usable()


STRAY: dict[str, tuple[dict[Any, Any], tuple[int, int]]] = {
    "to another message ID": ({wire.RESPONDED_TO: 77}, (2, 2)),
    "of another command": ({wire.COMMAND_FIELD: 0x8021}, (2, 2)),
    "without a status": ({wire.STATUS: b""}, (2, 6)),
}


@pytest.mark.parametrize("case", STRAY)
async def test_a_stray_response_aborts(case: str) -> None:
    more, reason = STRAY[case]
    async with open_talk() as talk:
        task = asyncio.create_task(consume(talk.begin("C-FIND"), []))
        request = await talk.peer.read_message()
        await talk.peer.respond(request, 0x0000, more)
        assert await talk.peer.expect_abort() == reason
        with pytest.raises(aiodimse.AssociationAborted) as caught:
            await task
        assert (caught.value.source, caught.value.reason, caught.value.by_peer) == (*reason, False)
        assert isinstance(caught.value.__cause__, aiodimse.ProtocolError)


@pytest.mark.parametrize("results", ["none", "some"])
async def test_contexts_that_were_not_accepted(results: str) -> None:
    async with await ScriptedListener.open() as listener:

        async def provider() -> None:
            peer = await listener.accept()
            rq = await peer.read_associate_rq()
            taken = [] if results == "none" else [wire.VERIFICATION]
            await peer.accept([(key, 0 if uid in taken else 3, ts[0]) for key, (uid, ts) in rq.proposed.items()])
            await peer.expect_release()

        providing = asyncio.create_task(provider())
        connecting = aiodimse.connect(HOST, listener.port, contexts=[wire.VERIFICATION, wire.STUDY_ROOT_FIND])
        if results == "none":
            with pytest.raises(aiodimse.NoAcceptedContext) as caught:
                await connecting
            assert set(caught.value.answers) == {wire.VERIFICATION, wire.STUDY_ROOT_FIND}
        else:
            async with connecting as association:
                with pytest.raises(aiodimse.NoAcceptedContext) as caught:
                    await association.c_find(image(1), wire.STUDY_ROOT_FIND)
                assert set(caught.value.answers) == {wire.STUDY_ROOT_FIND}
                assert "abstract" in caught.value.answers[wire.STUDY_ROOT_FIND]
        await providing


BODIES: dict[str, tuple[bool, type[BaseException] | None, str]] = {
    "ends": (False, None, "release"),
    "raises": (False, Leaving, "release"),
    "ends with an operation that was left": (True, None, "release"),
    "is cancelled": (False, asyncio.CancelledError, "abort"),
}


@pytest.mark.parametrize("case", BODIES)
async def test_how_an_association_is_left(case: str) -> None:
    leaves, error, how = BODIES[case]
    async with await ScriptedListener.open() as listener:

        async def user() -> None:
            async with aiodimse.connect(HOST, listener.port, contexts=[wire.STUDY_ROOT_FIND]) as association:
                if leaves:
                    async with association.c_find(image(1), wire.STUDY_ROOT_FIND):
                        pass
                if error is not None:
                    raise error

        task = asyncio.create_task(user())
        peer = await listener.accept()
        await peer.accept()
        if leaves:
            request, cancel = await peer.read_message(), await peer.read_message()
            assert cancel.field == wire.C_CANCEL
            await peer.respond(request, 0xFE00)  # waited for before the release
        if how == "release":
            await peer.expect_release()
        else:
            assert await peer.expect_abort() == (0, 0)
            await peer.close()
        if error is None:
            await task
        else:
            with pytest.raises(error):
                await task


# --- the window as user -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "granted", "places"), [(1, None, 1), (3, None, 1), (3, (2, 1), 2), (3, (0, 0), 3)])
async def test_gather_fills_the_window_in_order(asked: int, granted: tuple[int, int] | None, places: int) -> None:
    async with open_talk((*CONTEXTS, CT_UID), operations_window=asked, answer={"window": granted}) as talk:
        assert talk.rq.window == (None if asked == 1 else (asked, asked))

        async def run(n: int) -> Any:
            if n % 2:
                return await talk.association.c_store(image(n))
            return await talk.association.c_find(image(n), wire.STUDY_ROOT_FIND)

        task = asyncio.gather(*map(run, range(6)))
        requests = [await talk.peer.read_message() for _ in range(places)]
        answered = 0
        while answered < 6:
            for _ in range(20):
                await asyncio.sleep(0)
            request = requests.pop(0)
            await talk.peer.respond(request, 0x0000, {wire.ERROR_COMMENT: str(answered)})
            answered += 1
            if answered + places <= 6:
                requests.append(await talk.peer.read_message())
            assert len(requests) <= places
        assert sorted(int(response.error_comment or "") for response in await task) == list(range(6))


async def test_waiters_are_served_in_order() -> None:
    async with open_talk() as talk:
        done: list[int] = []

        async def echo(number: int) -> None:
            await talk.association.c_echo()
            done.append(number)

        tasks = []
        for number in range(8):
            tasks.append(asyncio.create_task(echo(number)))
            await asyncio.sleep(0)
        tasks[3].cancel()
        for _ in range(7):
            await talk.peer.respond(await talk.peer.read_message(), 0x0000)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert done == [0, 1, 2, 4, 5, 6, 7]


@every
async def test_a_place_that_ones_own_operation_holds(service: str) -> None:
    """To wait for it would be for ever: an error at once, and nothing is sent."""
    async with open_talk() as talk:
        async with talk.begin(service) as operation:
            with pytest.raises(aiodimse.ProtocolError, match="window"):
                await talk.association.c_echo()
            request = await talk.peer.read_message()
            await talk.peer.respond(request, 0x0000)
            async for _ in operation:
                pass
        await talk.usable()


async def test_a_place_that_another_task_holds() -> None:
    async with open_talk() as talk:
        async with talk.begin("C-FIND") as operation:
            echo = asyncio.create_task(talk.association.c_echo())
            request = await talk.peer.read_message()
            await talk.peer.respond(request, 0x0000)
            async for _ in operation:
                pass
        await talk.peer.respond(await talk.peer.read_message(), 0x0000)
        assert (await echo).status == 0x0000


async def test_a_place_that_another_task_has_not_used_yet() -> None:
    """It will come to its end without us: we wait."""
    begun, proceed = asyncio.Event(), asyncio.Event()

    class Slow(aiodimse.Instance):
        def stream(self) -> AsyncIterator[bytes]:
            async def pieces() -> AsyncIterator[bytes]:
                begun.set()
                await proceed.wait()
                yield bytes(8)

            return pieces()

    async with open_talk((*CONTEXTS, CT_UID), operations_window=2, answer={"window": (2, 1)}) as talk:

        async def ask() -> None:
            async with talk.begin("C-FIND") as operation:
                await talk.association.c_echo()
                await operation

        slow = asyncio.create_task(talk.association.c_store(Slow(CT_UID, "1.2.3", wire.EXPLICIT_LE)))
        await begun.wait()
        asking = asyncio.create_task(ask())
        find = await talk.peer.read_message()
        await settle()
        proceed.set()
        for field in (wire.C_STORE, wire.C_ECHO):
            request = await talk.peer.read_message()
            assert request.field == field
            await talk.peer.respond(request, 0x0000)
        await talk.peer.respond(find, 0x0000)
        await asyncio.gather(slow, asking)


async def test_waiting_for_a_place_counts_against_the_response() -> None:
    clock = ManualClock()
    async with open_talk(
        timeouts=aiodimse.Timeouts(response=20, move_response=None), environment=aiodimse.Environment(clock)
    ) as talk:
        async with talk.begin("C-MOVE"):
            echo = asyncio.create_task(talk.association.c_echo())
            await clock.elapse(20.1)
            with pytest.raises(aiodimse.AssociationTimeout) as caught:
                await echo
            assert caught.value.phase == "response"
            request = await talk.peer.read_message()
        await talk.expect_cancel(request)
        await talk.peer.respond(request, 0xFE00)
        await talk.usable()


# --- role reversal ----------------------------------------------------------------------------------------------------


def serving() -> tuple[aiodimse.Server, list[Any]]:
    server, seen = aiodimse.Server(ae_title="ARCHIVE"), []

    @server.on_c_store
    async def store(request: Any) -> int:
        seen.append(request)
        await request.dataset()
        return 0xB007

    @server.on_c_find
    async def find(request: Any) -> AsyncIterator[Any]:
        seen.append(request)
        yield image(5)

    return server, seen


REVERSED = (
    wire.VERIFICATION,
    aiodimse.PresentationContext(CT_UID, scu=True, scp=True),
    aiodimse.PresentationContext(wire.STUDY_ROOT_FIND, scu=True, scp=True),
)


async def test_the_peer_asks_on_an_association_that_we_opened() -> None:
    server, seen = serving()
    async with open_talk(REVERSED, handlers=server) as talk:
        assert talk.rq.roles == {CT_UID: (1, 1), wire.STUDY_ROOT_FIND: (1, 1)}
        (stored,) = await talk.peer.responses(await talk.store())
        assert stored.status == 0xB007
        message_id = await talk.peer.request(talk.context(wire.STUDY_ROOT_FIND), wire.find_rq(message_id=5), MATCH)
        found = await talk.peer.responses(message_id)
        assert [m.status for m in found] == [0xFF00, 0x0000]
        assert [request.association.called_ae_title for request in seen] == ["ANY-SCP"] * 2
        await talk.usable()


async def test_without_the_role_the_peer_may_not_ask() -> None:
    server, seen = serving()
    async with open_talk((wire.VERIFICATION, CT_UID, wire.STUDY_ROOT_FIND), handlers=server) as talk:
        (stored,) = await talk.peer.responses(await talk.store())
        assert stored.status == 0x0122
        message_id = await talk.peer.request(talk.context(wire.STUDY_ROOT_FIND), wire.find_rq(message_id=5), MATCH)
        (found,) = await talk.peer.responses(message_id)
        assert (found.status, seen) == (0x0122, [])


async def test_without_handlers_every_request_is_refused() -> None:
    async with open_talk(REVERSED) as talk:
        (stored,) = await talk.peer.responses(await talk.store())
        message_id = await talk.peer.request(talk.context(wire.STUDY_ROOT_FIND), wire.find_rq(message_id=5), MATCH)
        (found,) = await talk.peer.responses(message_id)
        assert (stored.status, found.status) == (0x0122, 0x0122)
        await talk.usable()


async def test_both_ask_at_once() -> None:
    server, seen = serving()
    async with open_talk(REVERSED, handlers=server) as talk:
        task = asyncio.create_task(consume(talk.association.c_find(image(1), wire.STUDY_ROOT_FIND), []))
        request = await talk.peer.read_message()
        store = await talk.store()
        (answer,) = await talk.peer.responses(store)
        assert answer.status == 0xB007
        await talk.peer.respond(request, 0x0000)
        await task
        assert len(seen) == 1


@pytest.mark.parametrize("iterated", [True, False])
async def test_instances_of_a_get_with_handlers(iterated: bool) -> None:
    """Whoever iterates the retrieval gets them; where nobody does, the C-STORE handler."""
    server, seen = serving()
    contexts = (wire.STUDY_ROOT_GET, aiodimse.PresentationContext(CT_UID, scu=True, scp=True))
    async with open_talk(contexts, handlers=server) as talk:
        items: list[Any] = []

        async def run() -> None:
            operation = talk.begin("C-GET")
            if iterated:
                await consume(operation, items)
            else:
                await operation

        task = asyncio.create_task(run())
        request = await talk.peer.read_message()
        (answer,) = await talk.peer.responses(await talk.store())
        await talk.peer.respond(request, 0x0000)
        await task
        assert (answer.status, len(items), len(seen)) == ((0x0000, 1, 0) if iterated else (0xB007, 0, 1))


# --- requests that cannot be encoded ----------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ["A TITLE THAT IS TOO LONG", "A\\B", "\u00c4"])
async def test_a_request_that_cannot_be_encoded_leaves_nothing_open(title: str) -> None:
    """Nothing is sent: the message ID and the place in the window are free again."""
    async with open_talk((*CONTEXTS, CT_UID)) as talk:
        with pytest.raises(aiodimse.ProtocolError):
            await talk.association.c_move(image(1), wire.STUDY_ROOT_MOVE, destination=title)
        with pytest.raises(aiodimse.ProtocolError):
            await talk.association.c_store(image(1), move_originator_ae_title=title)
        await talk.usable()
