"""C-CANCEL everywhere: whenever it comes, FE00 follows the handler's `finally`, once (docs/topics/query-retrieve.md,
"Cancel")."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from contract.stage import (
    ALWAYS,
    COUNTERS,
    CT,
    DESTINATION,
    FIND,
    GET,
    HOST,
    IDENTIFIER,
    MOVE,
    PAUSE,
    SERVICES,
    Destination,
    Do,
    Played,
    Script,
    Stage,
    check_find,
    check_retrieve,
    images,
    make_server,
    match,
    open_destination,
    register,
)
from contract.stage import open_stage as open_stage_with
from scripted import wire
from scripted.peer import Message

import aiodimse

every = pytest.mark.parametrize("service", SERVICES)
both = pytest.mark.parametrize("service", ["C-GET", "C-MOVE"])
SHORT = 0.05


def script(service: str, *steps: Any, kind: Callable[..., Script] = Script) -> Script:
    """Steps between what a service wants first, and its items: integers stand for so many of them."""
    first = {"C-FIND": [], "C-GET": [4], "C-MOVE": [DESTINATION, 4]}[service]
    items: list[Any] = []
    number = 0
    for step in steps:
        if isinstance(step, int):
            items += [match(n) if service == "C-FIND" else images(n)[-1] for n in range(number + 1, number + step + 1)]
            number += step
        else:
            items.append(step)
    return kind(*first, *items)


def check_cancelled(service: str, played: Played, done: int) -> None:
    """FE00 is the final response; for C-GET and C-MOVE with all counters."""
    if service == "C-FIND":
        check_find(played, [0xFF00] * done + [0xFE00])
    else:
        check_retrieve(played, service, 4, 0xFE00, (4 - done, done, 0, 0))


async def responses(stage: Stage, found: list[Message] | None = None) -> list[Message]:
    """The responses to message 7 from here on; C-STORE sub-operations are answered 0x0000."""
    return [*(found or []), *await stage.peer.responses(7, store=0x0000)]


async def cancel(stage: Stage, service: str, message_id: int = 7) -> None:
    await stage.peer.cancel(SERVICES[service][0], message_id)


def open_stage(server: aiodimse.Server, window: tuple[int, int] | None = (4, 1)) -> Any:
    """With room for the C-ECHO that proves, while the operation runs, that nothing is sent."""
    return open_stage_with(server, window=window)


# --- in the same segment ----------------------------------------------------------------------------------------------


@every
async def test_in_the_same_segment_as_the_request(service: str) -> None:
    """Not started: the handler is not called."""
    handler, server = script(service, 4), make_server()
    register(server, service, handler)
    context_id, rq = SERVICES[service]
    async with open_stage(server) as stage:
        await stage.peer.send(wire.message(context_id, rq, IDENTIFIER) + wire.message(context_id, wire.cancel_rq(7)))
        (final,) = await stage.peer.responses(7)
        assert (final.status, final.data, handler.requests) == (0xFE00, None, [])
        assert set(final) == ALWAYS | (set() if service == "C-FIND" else COUNTERS)
        assert final.counters == ((None,) * 4 if service == "C-FIND" else (0, 0, 0, 0))
        await stage.nothing_more()


@every
async def test_in_the_same_segment_for_some_of_several_requests(service: str) -> None:
    handler, server = script(service), make_server()
    register(server, service, handler)
    context_id, rq = SERVICES[service]
    async with open_stage(server, window=(0, 0)) as stage:
        first, second = ({**rq, wire.MESSAGE_ID: n} for n in (1, 2))
        both_of_them = wire.message(context_id, first, IDENTIFIER) + wire.message(context_id, second, IDENTIFIER)
        await stage.peer.send(both_of_them + wire.message(context_id, wire.cancel_rq(2)))
        answers = [await stage.peer.read_message() for _ in range(2)]
        statuses = {answer.responded_to: answer.status for answer in answers}
        assert statuses == {1: {"C-FIND": 0x0000, "C-GET": 0xA702, "C-MOVE": 0xA702}[service], 2: 0xFE00}
        assert len(handler.requests) == 1
        await stage.nothing_more()


@every
async def test_while_the_identifier_is_still_coming(service: str) -> None:
    """A fragment of a C-CANCEL cannot stand within the request's message; after it, but before its data is decoded."""
    handler, server = script(service, 4), make_server()
    register(server, service, handler)
    context_id, rq = SERVICES[service]
    async with open_stage(server) as stage:
        whole = wire.message(context_id, rq, IDENTIFIER) + wire.message(context_id, wire.cancel_rq(7))
        await stage.peer.send(whole[:-60])
        await stage.peer.send(whole[-60:])
        found = await stage.peer.responses(7, store=0x0000)
        assert found[-1].status in (0xFE00, 0x0000)
        await stage.nothing_more()


# --- while the handler waits ------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("done", [0, 1, 3])
async def test_while_the_handler_waits_in_its_own_await(service: str, done: int) -> None:
    """It is cancelled there, its `finally` runs, FE00 follows."""
    handler, server, destination = script(service, done, PAUSE, 4), make_server(), Destination()
    register(server, service, handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        await stage.ask(service)
        found = [await _answering(stage) for _ in range(done)]
        await handler.waiting.wait()
        await cancel(stage, service)
        found += await responses(stage)
        assert handler.closed == [asyncio.CancelledError]
        check_cancelled(service, Played(found, [], handler, destination), done)
        await stage.nothing_more()
        if service == "C-MOVE" and done:
            await destination.over.wait()
            assert destination.ended == ["released"]
    assert handler.requests[0].is_cancelled


async def _answering(stage: Stage) -> Message:
    """The next response; a sub-operation that comes before it is answered."""
    message = await stage.peer.read_message()
    if message.field == wire.C_STORE:
        await stage.peer.respond(message, 0x0000)
        message = await stage.peer.read_message()
    return message


@both
async def test_before_the_number_of_sub_operations(service: str) -> None:
    first = [DESTINATION] if service == "C-MOVE" else []
    for steps in ([PAUSE], [*first, PAUSE]):
        handler, server = Script(*steps), make_server()
        register(server, service, handler)
        async with open_stage(server) as stage:
            await stage.ask(service)
            await handler.waiting.wait()
            await cancel(stage, service)
            (final,) = await responses(stage)
            assert (final.status, final.counters) == (0xFE00, (0, 0, 0, 0))
            assert handler.closed == [asyncio.CancelledError]
            await stage.nothing_more()


class _Swallows(Script):
    """Takes no notice of being cancelled, the given number of times, and goes on to yield."""

    async def __call__(self, request: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        try:
            for step in self.steps:
                if step is PAUSE:
                    self.waiting.set()
                    try:
                        await asyncio.get_running_loop().create_future()
                    except asyncio.CancelledError:
                        continue
                if isinstance(step, BaseException):
                    raise step
                yield step.what(self) if hasattr(step, "what") else step
        finally:
            self.closed.append(None)
            self.has_closed.set()


@every
@pytest.mark.parametrize(
    "then",
    [[match()], [], [ValueError()], [0xA700], [0x0000], [None]],
    ids=["yields", "ends", "raises", "fails", "succeeds", "None"],
)
async def test_a_handler_that_swallows_its_cancellation(service: str, then: list[Any]) -> None:
    """Whatever it does then is dropped."""
    handler = script(service, 1, PAUSE, kind=_Swallows)
    handler.steps = (*handler.steps, *then)
    server, destination = make_server(), Destination()
    register(server, service, handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        await stage.ask(service)
        found = [await _answering(stage)]
        await handler.waiting.wait()
        await cancel(stage, service)
        found += await responses(stage)
        check_cancelled(service, Played(found, [], handler, destination), 1)
        assert len(handler.closed) == 1
        await stage.nothing_more()


class _Answers(Script):
    """Raises something else when it is cancelled."""

    async def __call__(self, request: Any) -> AsyncIterator[Any]:
        try:
            async for step in super().__call__(request):
                yield step
        except asyncio.CancelledError:
            raise aiodimse.DIMSEFailure(0xA700, "I was not done") from None


class _Quits(Script):
    """Takes the cancellation for done, and then raises one of its own."""

    async def __call__(self, request: Any) -> AsyncIterator[Any]:
        try:
            async for step in super().__call__(request):
                yield step
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            raise


@every
@pytest.mark.parametrize("kind", [_Answers, _Quits])
async def test_a_handler_that_raises_when_it_is_cancelled(service: str, kind: Callable[..., Script]) -> None:
    handler, server, destination = script(service, 1, PAUSE, kind=kind), make_server(), Destination()
    register(server, service, handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        await stage.ask(service)
        found = [await _answering(stage)]
        await handler.waiting.wait()
        await cancel(stage, service)
        check_cancelled(service, Played([*found, *await responses(stage)], [], handler, destination), 1)
        await stage.nothing_more()


# --- the handler's finally --------------------------------------------------------------------------------------------


class _Cleans(Script):
    """Awaits something in its `finally`."""

    def __init__(self, *steps: Any) -> None:
        super().__init__(*steps)
        self.cleaning = asyncio.Event()
        self.clean = asyncio.Event()
        self.cleaned = asyncio.Event()

    async def __call__(self, request: Any) -> AsyncIterator[Any]:
        try:
            async for step in super().__call__(request):
                yield step
        finally:
            self.cleaning.set()
            await self.clean.wait()
            self.cleaned.set()


@asynccontextmanager
async def cleaning(service: str, step: Any) -> AsyncIterator[tuple[_Cleans, Stage]]:
    """Ask a handler that takes this step, and cleans up when it is closed."""
    handler, server = script(service, step, kind=_Cleans), make_server()
    assert isinstance(handler, _Cleans)
    register(server, service, handler)
    async with open_stage(server) as stage:
        await stage.ask(service)
        yield handler, stage


@every
@pytest.mark.parametrize("cancels", [1, 2, 50])
async def test_the_final_response_follows_the_finally(service: str, cancels: int) -> None:
    """However often the peer cancels, a `finally` is not interrupted."""
    async with cleaning(service, PAUSE) as (handler, stage):
        await handler.waiting.wait()
        for _ in range(cancels):
            await cancel(stage, service)
        await handler.cleaning.wait()
        await cancel(stage, service)
        await stage.nothing_more()  # no response to 7 yet: echoes are answered meanwhile
        assert not handler.cleaned.is_set()
        handler.clean.set()
        (final,) = await responses(stage)
        assert (final.status, handler.cleaned.is_set()) == (0xFE00, True)
        await stage.nothing_more()


@every
async def test_while_a_handler_is_closed_that_has_said_its_last_status(service: str) -> None:
    """Too late: that status stands."""
    async with cleaning(service, (0xA900, None)) as (handler, stage):
        await handler.cleaning.wait()
        await cancel(stage, service)
        await stage.nothing_more()
        handler.clean.set()
        (final,) = await responses(stage)
        assert (final.status, handler.cleaned.is_set()) == (0xA900, True)
        await stage.nothing_more()


@every
@pytest.mark.parametrize("how", ["A-ABORT", "A-RELEASE-RQ"])
async def test_the_finally_is_not_interrupted_by_the_end_of_the_association(service: str, how: str) -> None:
    async with cleaning(service, PAUSE) as (handler, stage):
        await handler.waiting.wait()
        await cancel(stage, service)
        await handler.cleaning.wait()
        await stage.peer.send(wire.abort() if how == "A-ABORT" else wire.RELEASE_RQ)
        if how == "A-RELEASE-RQ":
            await stage.peer.expect(wire.A_RELEASE_RP)
        await stage.peer.expect_close()
        handler.clean.set()
        await handler.has_closed.wait()
        await handler.cleaned.wait()


class _Stubborn(Script):
    """Will not end when it is cancelled, until it is let go."""

    def __init__(self, *steps: Any) -> None:
        super().__init__(*steps)
        self.go = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, request: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        try:
            for step in self.steps:
                while step is PAUSE and not self.go.is_set():
                    self.waiting.set()
                    try:
                        await self.go.wait()
                    except asyncio.CancelledError:
                        self.closed.append(asyncio.CancelledError)
                if step is not PAUSE:
                    yield step.what(self) if hasattr(step, "what") else step
        finally:
            self.gone.set()


@every
@pytest.mark.parametrize("where", ["in its await", "in its finally"])
async def test_a_stubborn_handler_is_left_to_end_alone(
    service: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """FE00 at the latest after Timeouts.handler_close; what is still yielded is dropped, the association lives."""
    kind: Any = _Stubborn if where == "in its await" else _Cleans
    handler: Any = script(service, 1, PAUSE, 2, kind=kind)
    server, destination = make_server(timeouts=aiodimse.Timeouts(handler_close=SHORT)), Destination()
    register(server, service, handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        await stage.ask(service)
        found = [await _answering(stage)]
        await handler.waiting.wait()
        await cancel(stage, service)
        with caplog.at_level(logging.WARNING):
            found += await responses(stage)
        check_cancelled(service, Played(found, [], handler, destination), 1)
        assert "did not end within" in caplog.text
        if service == "C-MOVE":  # nothing will be sent any more
            await destination.over.wait()
            assert destination.ended == ["released"]
        if where == "in its await":
            assert not handler.gone.is_set()
            handler.go.set()
            await handler.gone.wait()
        else:
            assert not handler.cleaned.is_set()
            handler.clean.set()
            await handler.cleaned.wait()
        await stage.nothing_more()
        # the message ID is free again, and so is its place
        handler.steps, handler.go, handler.clean = (), asyncio.Event(), asyncio.Event()
        handler.clean.set()
        await stage.ask(service)
        assert len(await responses(stage)) == 1


@both
async def test_a_stubborn_handler_with_a_sub_operation_under_way(service: str) -> None:
    """What was initiated is finished and counted, though the handler is not waited for."""
    destination = Destination(proceed=asyncio.Event(), window=(2, 1))
    handler: Any = script(service, 1, PAUSE, 2, kind=_Stubborn)
    if service == "C-MOVE":
        wide = Do(lambda script: aiodimse.Destination(HOST, script.port, operations_window=2))
        handler.steps = (wide, *handler.steps[1:])
    server = make_server(timeouts=aiodimse.Timeouts(handler_close=0.0))
    register(server, service, handler)
    async with open_destination(destination) as handler.port, open_stage(server, window=(4, 2)) as stage:
        await stage.ask(service)
        if service == "C-GET":
            store = await stage.peer.read_message()
        else:
            await destination.arrived.wait()
        await handler.waiting.wait()
        await cancel(stage, service)
        for _ in range(3):
            await stage.nothing_more()
        if service == "C-GET":
            await stage.peer.respond(store, 0x0000)
        elif destination.proceed is not None:
            destination.proceed.set()
        (final,) = await stage.peer.responses(7)
        assert not handler.gone.is_set()
        check_retrieve(Played([final], [], handler, destination), service, 4, 0xFE00, (3, 1, 0, 0))
        handler.go.set()
        await handler.gone.wait()
        await stage.nothing_more()


# --- while a sub-operation or a message is under way ------------------------------------------------------------------


@both
@pytest.mark.parametrize("answer", [0x0000, 0xA700, 0xB000])
async def test_during_a_sub_operation(service: str, answer: int) -> None:
    """It is finished and counted; no Pending response follows, but FE00 with what was not initiated."""
    destination = Destination([answer], proceed=asyncio.Event())
    handler, server = script(service, 4), make_server(timeouts=aiodimse.Timeouts(handler_close=0.0))
    register(server, service, handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        await stage.ask(service)
        if service == "C-GET":
            store = await stage.peer.read_message()
            assert (store.field, store.context_id) == (wire.C_STORE, CT)
        else:
            await destination.arrived.wait()
        await cancel(stage, service)
        await stage.nothing_more()
        if service == "C-GET":
            await stage.peer.respond(store, answer)
        elif destination.proceed is not None:
            destination.proceed.set()
        (final,) = await stage.peer.responses(7)
        counters = {0x0000: (1, 0, 0), 0xA700: (0, 1, 0), 0xB000: (0, 0, 1)}[answer]
        failed = ["1.2.3.1"] if answer == 0xA700 else []
        played = Played([final], [], handler, destination)
        check_retrieve(played, service, 4, 0xFE00, (3, *counters), failed)
        assert handler.closed == [GeneratorExit]
        await stage.nothing_more()


@both
async def test_during_pipelined_sub_operations(service: str) -> None:
    """All that were initiated are finished and counted."""
    destination = Destination(proceed=asyncio.Event(), window=(2, 1))
    handler, server, third = script(service, 4), make_server(), asyncio.Event()
    if service == "C-MOVE":
        wide = Do(lambda script: aiodimse.Destination(HOST, script.port, operations_window=2))
        number, one, two, *more = handler.steps[1:]
        handler.steps = (wide, number, one, two, Do(lambda script: third.set() or more[0]), more[1])  # type: ignore[func-returns-value]
    register(server, service, handler)
    async with open_destination(destination) as handler.port, open_stage(server, window=(4, 2)) as stage:
        await stage.ask(service)
        stores = []
        if service == "C-GET":
            stores = [await stage.peer.read_message() for _ in range(2)]
        else:
            await third.wait()  # who is asked for the third has seen two go out
        await cancel(stage, service)
        await stage.nothing_more()
        for store in stores:
            await stage.peer.respond(store, 0x0000)
        if destination.proceed is not None:
            destination.proceed.set()
        (final,) = await stage.peer.responses(7)
        assert (final.status, final.counters) == (0xFE00, (2, 2, 0, 0))
        await stage.nothing_more()


async def test_while_the_peer_takes_no_responses() -> None:
    """A handler that is suspended at a yield, because its matches do not go out, is closed there."""
    big = match()
    big.add_new((0x0008, 0x103E), "LT", "x" * 8000)
    handler, server = Script(*([big] * 5000)), make_server()
    register(server, "C-FIND", handler)
    async with open_stage(server) as stage:
        stage.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await stage.ask("C-FIND")
        await handler.called.wait()
        before = -1
        while handler.yielded != before:
            before = handler.yielded
            for _ in range(20):
                await asyncio.sleep(0)
        await cancel(stage, "C-FIND")
        stage.peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        found = await responses(stage)
        assert found[-1].status == 0xFE00
        assert handler.yielded < 5000
        assert handler.closed == [GeneratorExit]
        await stage.nothing_more()


# --- between responses, often, late, elsewhere ------------------------------------------------------------------------


async def test_between_responses_of_a_handler_that_never_waits() -> None:
    """It is heard: the loop gets its turn."""

    async def endless(request: Any) -> AsyncIterator[Any]:
        while True:
            yield match()

    server = make_server()
    register(server, "C-FIND", endless)
    async with open_stage(server) as stage:
        await stage.ask("C-FIND")
        await stage.peer.read_message()
        await cancel(stage, "C-FIND")
        found = await responses(stage)
        assert found[-1].status == 0xFE00
        await stage.nothing_more()


@every
async def test_after_the_final_response(service: str) -> None:
    handler, server, destination = script(service, 4), make_server(), Destination()
    register(server, service, handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        await stage.ask(service)
        found = await responses(stage)
        assert found[-1].status == 0x0000
        await cancel(stage, service)
        await stage.nothing_more()
        await stage.ask(service)  # the same message ID again: the old C-CANCEL has nothing to do with it
        assert (await responses(stage))[-1].status == 0x0000


@every
@pytest.mark.parametrize("message_id", [0, 1, 6, 8, 65535])
async def test_for_another_message_id(service: str, message_id: int) -> None:
    handler, server = script(service, PAUSE), make_server()
    register(server, service, handler)
    async with open_stage(server) as stage:
        await cancel(stage, service, message_id)
        await stage.ask(service)
        await handler.waiting.wait()
        await cancel(stage, service, message_id)
        await stage.nothing_more()
        assert handler.closed == []
        await cancel(stage, service)
        assert (await responses(stage))[-1].status == 0xFE00


@every
@pytest.mark.parametrize("when", ["before", "while", "after"])
async def test_five_hundred_in_a_row(service: str, when: str) -> None:
    handler, server = script(service, PAUSE), make_server()
    register(server, service, handler)
    context_id = SERVICES[service][0]
    many = wire.message(context_id, wire.cancel_rq(7)) * 500
    async with open_stage(server) as stage:
        if when == "before":
            await stage.peer.send(many)
            await stage.nothing_more()
        await stage.ask(service)
        await handler.waiting.wait()
        await (stage.peer.send(many) if when == "while" else cancel(stage, service))
        (final,) = await responses(stage)
        assert final.status == 0xFE00
        if when == "after":
            await stage.peer.send(many)
        await stage.nothing_more()
    assert handler.closed == [asyncio.CancelledError]


@pytest.mark.parametrize("elsewhere", [FIND, GET, MOVE])
async def test_in_another_context(elsewhere: int) -> None:
    """A C-CANCEL-RQ names its operation by message ID alone (PS3.7 9.3.2.3)."""
    handler, server = script("C-FIND", PAUSE), make_server()
    for service in SERVICES:
        register(server, service, handler)
    async with open_stage(server) as stage:
        await stage.ask("C-FIND")
        await handler.waiting.wait()
        await stage.peer.cancel(elsewhere, 7)
        (final,) = await responses(stage)
        assert (final.status, final.context_id) == (0xFE00, FIND)


async def test_a_cancel_with_a_data_set_is_read_and_dropped() -> None:
    handler, server = script("C-FIND", PAUSE), make_server()
    register(server, "C-FIND", handler)
    async with open_stage(server) as stage:
        await stage.ask("C-FIND")
        await handler.waiting.wait()
        await stage.peer.request(FIND, wire.cancel_rq(7), b"what is this doing here")
        (final,) = await responses(stage)
        assert final.status == 0xFE00
        await stage.nothing_more()


# --- requests that wait, and those that cannot be cancelled -----------------------------------------------------------


@every
async def test_a_request_that_waits_for_its_place(service: str) -> None:
    """FE00 without a place in the window, and without calling the handler."""
    handler, server = script(service, PAUSE), make_server()
    register(server, service, handler)
    context_id, rq = SERVICES[service]
    async with open_stage(server, window=None) as stage:
        await stage.ask(service)
        await handler.waiting.wait()
        await stage.peer.request(context_id, {**rq, wire.MESSAGE_ID: 8}, IDENTIFIER)
        await stage.peer.request(context_id, {**rq, wire.MESSAGE_ID: 9}, IDENTIFIER)
        await cancel(stage, service, 9)
        final = await stage.peer.read_message()
        assert (final.status, final.responded_to, len(handler.requests)) == (0xFE00, 9, 1)
        handler.steps = tuple(step for step in handler.steps if step is not PAUSE)
        await cancel(stage, service)
        assert [(await stage.peer.read_message()).responded_to for _ in range(2)] == [7, 8]
        assert len(handler.requests) == 2
        await stage.nothing_more()


async def test_a_store_is_not_cancelled() -> None:
    """C-CANCEL is for C-FIND, C-GET and C-MOVE (PS3.7 9.3.2.3): a C-STORE goes on, and one that waits keeps waiting."""
    server, proceed, begun, stored = make_server(), asyncio.Event(), asyncio.Event(), []

    @server.on_c_store
    async def store(request: Any) -> int:
        stored.append(request.sop_instance_uid)
        begun.set()
        await proceed.wait()
        return 0x0000

    async with open_stage_with(server, roles={}) as stage:
        data = wire.dataset({(0x0010, 0x0020): ("LO", "1")})
        for number in (7, 8):
            await stage.peer.request(CT, wire.store_rq(wire.CT_IMAGE_STORAGE, f"1.2.{number}", number), data)
            await stage.peer.cancel(CT, number)
        await begun.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert stored == ["1.2.7"]
        proceed.set()
        answers = [await stage.peer.read_message() for _ in range(2)]
        assert [(answer.responded_to, answer.status) for answer in answers] == [(7, 0x0000), (8, 0x0000)]


@every
async def test_while_authorization_is_asked_for(service: str) -> None:
    handler, server = script(service, 4), make_server()
    register(server, service, handler)
    asked, proceed = asyncio.Event(), asyncio.Event()

    @server.authorize
    async def authorize(request: Any) -> bool:
        if request.message_id == 7:
            asked.set()
            await proceed.wait()
        return True

    async with open_stage(server) as stage:
        await stage.ask(service)
        await asked.wait()
        await cancel(stage, service)
        await stage.peer.cancel(SERVICES[service][0], 60000)
        for _ in range(20):
            await asyncio.sleep(0)
        proceed.set()
        (final,) = await responses(stage)
        assert (final.status, handler.requests) == (0xFE00, [])
        await stage.nothing_more()
