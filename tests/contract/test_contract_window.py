"""The operations window as provider: that many handlers at once, four requests that wait, the next refused; and
sub-operations pipelined within the peer's window (docs/topics/operations-window.md; PS3.7 D.3.3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import pytest
from contract.stage import (
    CT,
    CT_UID,
    ECHO,
    FIND,
    GET,
    HOST,
    IDENTIFIER,
    MOVE,
    SERVICES,
    Destination,
    Do,
    Played,
    Script,
    Stage,
    check_retrieve,
    images,
    make_server,
    match,
    open_destination,
    open_stage,
    register,
)
from scripted import wire
from scripted.peer import Closed, Message

import aiodimse
from aiodimse import sop_class
from aiodimse.aio.turns import SHARE, turns_of

WAITING = aiodimse.Limits().waiting_requests


class Gate:
    """A C-FIND handler, each call of which is let go one by one."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self.running: dict[int, asyncio.Event] = {}
        self.most = 0

    async def __call__(self, request: Any) -> AsyncIterator[Any]:
        go = self.running[request.message_id] = asyncio.Event()
        self.most = max(self.most, len(self.running))
        self.begun.put_nowait(request.message_id)
        try:
            await go.wait()
            yield match(request.message_id)
        finally:
            del self.running[request.message_id]

    async def begins(self) -> int:
        async with asyncio.timeout(60):
            return await self.begun.get()


async def find(stage: Stage, message_id: int) -> None:
    await stage.peer.request(FIND, wire.find_rq(message_id=message_id), IDENTIFIER)


@pytest.mark.parametrize(
    ("window", "places"), [(None, 1), ((1, 1), 1), ((2, 1), 2), ((5, 1), 5), ((0, 1), 16), ((99, 1), 16)]
)
async def test_that_many_at_once(window: tuple[int, int] | None, places: int) -> None:
    gate, server = Gate(), make_server()
    register(server, "C-FIND", gate)
    total = places + WAITING
    async with open_stage(server, window=window) as stage:
        for message_id in range(1, total + 1):
            await find(stage, message_id)
        begun = [await gate.begins() for _ in range(places)]
        assert begun == list(range(1, places + 1))
        for message_id in (total + 1, total + 2):  # too many: nothing is read any more
            await find(stage, message_id)
        total += 2
        assert gate.begun.empty()
        for message_id in range(1, total + 1):
            gate.running[message_id].set()
            pending, final = await stage.peer.read_message(), await stage.peer.read_message()
            assert [(m.responded_to, m.status) for m in (pending, final)] == [(message_id, 0xFF00), (message_id, 0)]
            if message_id + places <= total:
                assert await gate.begins() == message_id + places, "in their order"
        assert gate.most == places
        await stage.nothing_more()


@pytest.mark.parametrize("limit", [1, 3])
async def test_unlimited_is_bounded_by_limits(limit: int) -> None:
    gate = Gate()
    server = make_server(operations_window=0, limits=aiodimse.Limits(operations=limit, waiting_requests=1))
    register(server, "C-FIND", gate)
    async with open_stage(server, window=(0, 0)) as stage:
        assert stage.peer.association is not None
        assert stage.peer.association.window == (0, 0)
        total = limit + 3
        for message_id in range(1, total + 1):
            await find(stage, message_id)
        assert [await gate.begins() for _ in range(limit)] == list(range(1, limit + 1))
        assert gate.begun.empty()
        for message_id in range(1, total + 1):
            gate.running[message_id].set()
            assert [(await stage.peer.read_message()).responded_to for _ in range(2)] == [message_id] * 2
            if message_id + limit <= total:
                await gate.begins()


N_GET_RQ = {
    wire.REQUESTED_SOP_CLASS: str(sop_class.UnifiedProcedureStepPush),
    wire.REQUESTED_INSTANCE: "1.2",
    wire.COMMAND_FIELD: 0x0110,
}
BEYOND: dict[str, tuple[int, dict[Any, Any], bytes | None]] = {
    "C-FIND": (FIND, wire.find_rq(message_id=100), IDENTIFIER),
    "C-GET": (GET, wire.get_rq(message_id=100), IDENTIFIER),
    "C-MOVE": (MOVE, wire.move_rq("DEST", message_id=100), IDENTIFIER),
    "C-STORE": (CT, wire.store_rq(CT_UID, "1.2.3", 100), IDENTIFIER + bytes(300_000)),
    "N-GET": (11, {**N_GET_RQ, wire.MESSAGE_ID: 100}, None),
    "C-ECHO": (ECHO, wire.echo_rq(100), None),
}


@pytest.mark.parametrize("service", BEYOND)
async def test_one_too_many(service: str) -> None:
    """It is not refused: nothing is read before there is a place for it, and then it is served as the others are."""
    context_id, elements, data = BEYOND[service]
    gate, server = Gate(), make_server()
    register(server, "C-FIND", gate)
    register(server, "C-GET", Script(0))
    register(server, "C-MOVE", Script(("127.0.0.1", 1), 0))

    @server.on_c_store(CT_UID)
    async def store(request: Any) -> int:
        return 0x0000

    @server.on_n_get(sop_class.UnifiedProcedureStepPush)
    async def get(request: Any) -> int:
        return 0x0000

    contexts = [
        (ECHO, wire.VERIFICATION, [wire.EXPLICIT_LE]),
        *[(key, rq[wire.SOP_CLASS], [wire.EXPLICIT_LE]) for key, rq in SERVICES.values()],
        (CT, CT_UID, [wire.EXPLICIT_LE]),
        (11, str(sop_class.UnifiedProcedureStepPush), [wire.EXPLICIT_LE]),
    ]
    async with open_stage(server, contexts, roles={}) as stage:  # type: ignore[arg-type]
        for message_id in range(1, 2 + WAITING):
            await find(stage, message_id)
        await gate.begins()
        await stage.peer.request(context_id, elements, data)
        for message_id in range(1, 2 + WAITING):
            gate.running[message_id].set()
            assert [(await stage.peer.read_message()).responded_to for _ in range(2)] == [message_id] * 2
            if message_id <= WAITING:
                await gate.begins()
        if service == "C-FIND":
            gate.running[await gate.begins()].set()
        assert (await stage.peer.responses(100))[-1].status == 0x0000


async def test_a_cancel_is_heard_that_lies_before_what_is_beyond() -> None:
    gate, server = Gate(), make_server()
    register(server, "C-FIND", gate)
    async with open_stage(server) as stage:
        for message_id in range(1, 2 + WAITING):
            await find(stage, message_id)
        assert await gate.begins() == 1
        await stage.peer.cancel(FIND, 1)
        assert (await stage.peer.read_message()).status == 0xFE00
        assert await gate.begins() == 2


async def test_sub_operations_go_on_when_their_requestor_asks_for_too_much() -> None:
    """The responses that we await come behind what is beyond the window: it is refused, and they are read."""
    handler, server = Script(2, *images(2)), make_server()
    register(server, "C-GET", handler)
    async with open_stage(server) as stage:
        await stage.ask("C-GET")
        (store,) = await take(stage, 1)
        for message_id in range(101, 102 + WAITING):
            await stage.peer.request(ECHO, wire.echo_rq(message_id))
        refused = await stage.peer.read_message()
        assert (refused.responded_to, refused.status) == (101 + WAITING, 0x0213)
        await stage.peer.respond(store, 0x0000)
        while (message := await stage.peer.read_message()).field != wire.C_STORE:
            assert message.status == 0xFF00
        await stage.peer.respond(message, 0x0000)
        answers = [await stage.peer.read_message() for _ in range(1 + WAITING)]
        assert [message.status for message in answers] == [0x0000] * (1 + WAITING)


@pytest.mark.parametrize("is_busy", [False, True], ids=["in one turn", "a share in each turn"])
@pytest.mark.parametrize("is_sent_first", [True, False], ids=["sub-operation first", "data set first"])
async def test_sub_operations_go_on_behind_a_data_set_beyond_the_window(is_sent_first: bool, is_busy: bool) -> None:
    """It fills the buffer, and the response that the C-GET awaits comes behind it: it is refused, and dropped.

    Small fragments use up the connection's share of a turn; then the buffer is full only after a later share.
    """
    go_on, stored = asyncio.Event(), list[str]()
    size = 200 if is_busy else 4096
    if is_busy:
        turns_of(asyncio.get_running_loop()).now = count(step=2 * SHARE).__next__
    server = make_server(limits=aiodimse.Limits(max_pdu_length=4096))

    @server.on_c_get
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 2
        await go_on.wait()
        for image in images(2):
            yield image

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.discard()
        stored.append(request.sop_instance_uid)
        return 0x0000

    async with open_stage(server, roles={CT_UID: (1, 1)}) as stage, asyncio.timeout(10):
        if is_sent_first:
            go_on.set()
        await stage.ask("C-GET")
        request = (await take(stage, 1))[0] if is_sent_first else None
        small = await stage.peer.request(CT, wire.store_rq(CT_UID, "1.2.8", 100), IDENTIFIER)
        large = wire.message(CT, wire.store_rq(CT_UID, "1.2.9", 101), IDENTIFIER + bytes(100_000), limit=size)
        sending = asyncio.create_task(stage.peer.send(large))
        for _ in range(10):
            await asyncio.sleep(0)
        go_on.set()
        request = request or (await take(stage, 1))[0]
        await sending
        await stage.peer.respond(request, 0x0000)
        answers = []
        while len(answers) < 4:
            message = await stage.peer.read_message()
            if message.field == wire.C_STORE:
                await stage.peer.respond(message, 0x0000)
            else:
                answers.append((message.responded_to, message.status))
        assert sorted(answers) == [(7, 0x0000), (7, 0xFF00), (small, 0x0000), (101, 0xA700)]
        assert stored == ["1.2.8"]


async def test_a_place_comes_free_while_the_data_set_is_under_way() -> None:
    gate, server = Gate(), make_server()
    register(server, "C-FIND", gate)
    async with open_stage(server) as stage:
        await find(stage, 1)
        assert await gate.begins() == 1
        pdus = wire.message(FIND, wire.find_rq(message_id=2), IDENTIFIER)
        command = 6 + int.from_bytes(pdus[2:6], "big")
        await stage.peer.send(pdus[:command])
        gate.running[1].set()
        assert [message.status for message in await stage.peer.responses(1)] == [0xFF00, 0x0000]
        await stage.peer.send(pdus[command:])
        assert await gate.begins() == 2
        gate.running[2].set()
        assert [message.status for message in await stage.peer.responses(2)] == [0xFF00, 0x0000]


async def test_a_place_comes_free_for_a_request_that_is_cancelled() -> None:
    """The handler that runs ends in the very round of the event loop in which the C-CANCEL is read."""
    gate = Gate()

    def trace(role: str) -> Callable[[str, bytes | memoryview], None]:
        def tap(way: str, data: bytes | memoryview) -> None:
            if way == ">" and cancel in bytes(data):
                gate.running[1].set()

        return tap

    cancel = wire.message(FIND, wire.cancel_rq(2))
    server = make_server(trace=trace)
    register(server, "C-FIND", gate)
    async with open_stage(server) as stage:
        for message_id in (1, 2, 3):
            await find(stage, message_id)
        assert await gate.begins() == 1
        await stage.peer.cancel(FIND, 2)
        assert await gate.begins() == 3
        gate.running[3].set()
        answers = [await stage.peer.read_message() for _ in range(5)]
        assert sorted((message.responded_to, message.status) for message in answers) == [
            (1, 0x0000),
            (1, 0xFF00),
            (2, 0xFE00),
            (3, 0x0000),
            (3, 0xFF00),
        ]


async def test_responses_of_many_operations_are_not_interleaved() -> None:
    """PDVs of two messages never mix: the scripted peer takes none of another message within one."""
    big = match()
    big.add_new((0x0010, 0x4000), "LT", "x" * 9000)
    server = make_server()

    async def answer(request: Any) -> AsyncIterator[Any]:
        for _ in range(5):
            yield big
            await asyncio.sleep(0)

    register(server, "C-FIND", answer)
    async with open_stage(server, window=(0, 0), max_length=512) as stage:
        for message_id in range(1, 17):
            await find(stage, message_id)
        found: dict[int | None, list[int | None]] = {}
        for _ in range(16 * 6):
            message = await stage.peer.read_message()
            found.setdefault(message.responded_to, []).append(message.status)
        assert found == {message_id: [0xFF00] * 5 + [0x0000] for message_id in range(1, 17)}


# --- sub-operations ---------------------------------------------------------------------------------------------------


async def take(stage: Stage, count: int) -> list[Message]:
    """So many C-STORE requests, none of them answered."""
    stores = [await stage.peer.read_message() for _ in range(count)]
    assert all(store.field == wire.C_STORE for store in stores)
    return stores


@pytest.mark.parametrize(
    ("window", "places"), [(None, 1), ((1, 1), 1), ((1, 2), 2), ((1, 3), 3), ((3, 1), 1), ((1, 0), 16)]
)
@pytest.mark.parametrize("order", ["in order", "backwards"])
async def test_sub_operations_of_a_get_are_pipelined(window: tuple[int, int] | None, places: int, order: str) -> None:
    number = 2 * places + 1
    handler, server = Script(number, *images(number)), make_server()
    register(server, "C-GET", handler)
    async with open_stage(server, window=window) as stage:
        await stage.ask("C-GET")
        waiting = await take(stage, places)
        assert len({store.message_id for store in waiting}) == places
        assert handler.yielded <= 1 + places + 1, "the handler is one instance ahead of the window"
        responses: list[Message] = []
        stored = list(waiting)
        while waiting:
            store = waiting.pop(0 if order == "in order" else -1)
            await stage.peer.respond(store, 0x0000)
            if order == "backwards" and waiting:
                continue  # the oldest is the last to be answered
            expected = 1 if order == "in order" else places
            while len(responses) < number and expected:
                message = await stage.peer.read_message()
                if message.field == wire.C_STORE:
                    waiting.append(message)
                    stored.append(message)
                else:
                    responses.append(message)
                    expected -= 1
                    if message.status != 0xFF00:
                        break
            while len(waiting) < min(places, number - len(responses)) and len(stored) < number:
                message = await stage.peer.read_message()
                assert message.field == wire.C_STORE
                waiting.append(message)
                stored.append(message)
        check_retrieve(Played(responses, stored, handler, Destination()), "C-GET", number, 0x0000, (None, number, 0, 0))
        assert [store.instance for store in stored] == [f"1.2.3.{n}" for n in range(1, number + 1)]
        await stage.nothing_more()


async def test_a_slow_handler_delays_no_pending_response() -> None:
    """With a place left in the window the handler looks for the next instance: the answer to this one is told of."""
    go, server = asyncio.Event(), make_server()
    one, two = images(2)

    async def handler(request: Any) -> AsyncIterator[Any]:
        yield 2
        yield one
        await go.wait()
        yield two

    register(server, "C-GET", handler)
    async with open_stage(server, window=(1, 2)) as stage:
        await stage.ask("C-GET")
        (store,) = await take(stage, 1)
        await stage.peer.respond(store, 0x0000)
        pending = await stage.peer.read_message()
        assert (pending.field, pending.status) == (wire.C_GET | 0x8000, 0xFF00)
        go.set()
        (store,) = await take(stage, 1)
        await stage.peer.respond(store, 0x0000)
        assert (await stage.peer.read_message()).status == 0x0000


async def test_an_instance_that_cannot_be_sent_is_counted_in_its_turn() -> None:
    """The handler is one instance ahead, and what is wrong with that one is known while the one before is under way."""
    one, three = images(1)[0], images(3)[2]
    handler, server = Script(3, one, "/no/such/file", three), make_server()
    register(server, "C-GET", handler)
    async with open_stage(server, window=(2, 1)) as stage:
        await stage.ask("C-GET")
        (store,) = await take(stage, 1)
        await stage.nothing_more()
        await stage.peer.respond(store, 0x0000)
        told = [(await stage.peer.read_message()).counters for _ in range(2)]
        assert told == [(2, 1, 0, 0), (1, 1, 1, 0)]
        (store,) = await take(stage, 1)
        await stage.peer.respond(store, 0x0000)
        final = await stage.peer.read_message()
        assert (final.status, final.counters) == (0xB000, (None, 2, 1, 0))


async def test_statuses_of_pipelined_sub_operations() -> None:
    """Each is counted by its own message ID, whatever the order of the answers."""
    handler, server = Script(3, *images(3)), make_server()
    register(server, "C-GET", handler)
    async with open_stage(server, window=(1, 3)) as stage:
        await stage.ask("C-GET")
        one, two, three = await take(stage, 3)
        await stage.peer.respond(three, 0xA700)
        await stage.peer.respond(one, 0x0000)
        await stage.peer.respond(two, 0xB000)
        responses = await stage.peer.responses(7)
        played = Played(responses, [], handler, Destination())
        check_retrieve(played, "C-GET", 3, 0xB000, (None, 1, 1, 1), ["1.2.3.3"])


@pytest.mark.parametrize(("asked", "granted", "places"), [(1, None, 1), (3, None, 1), (3, (2, 1), 2), (3, (0, 0), 3)])
async def test_sub_operations_of_a_move_are_pipelined(asked: int, granted: tuple[int, int] | None, places: int) -> None:
    destination = Destination(proceed=asyncio.Event(), window=granted)
    assert destination.proceed is not None
    wide = Do(lambda script: aiodimse.Destination(HOST, script.port, operations_window=asked))
    handler, server = Script(wide, 6, *images(6)), make_server()
    register(server, "C-MOVE", handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        await stage.ask("C-MOVE")
        await destination.arrived.wait()
        assert destination.asked[0].window == (None if asked == 1 else (asked, 1))
        assert handler.yielded <= 2 + places + 1
        destination.proceed.set()
        responses = await stage.peer.responses(7)
        check_retrieve(Played(responses, [], handler, destination), "C-MOVE", 6, 0x0000, (None, 6, 0, 0))


async def test_a_destination_that_goes_with_several_under_way() -> None:
    destination = Destination([0x0000, Closed], window=(3, 1))
    wide = Do(lambda script: aiodimse.Destination(HOST, script.port, operations_window=3))
    handler, server = Script(wide, 5, *images(5)), make_server()
    register(server, "C-MOVE", handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        await stage.ask("C-MOVE")
        responses = await stage.peer.responses(7)
        final = responses[-1]
        # At most three were under way, of which the first was stored. What had not begun goes on a second association.
        assert (final.status, final.counters[0], final.counters[3]) == (0xB000, None, 0)
        _, completed, failed, _ = final.counters
        assert (completed + failed, 1 <= failed <= 3) == (5, True)
        await stage.nothing_more()


async def test_two_gets_share_the_window() -> None:
    """Both end, with their own counters; one waits for the places of the other."""
    server = make_server()

    async def get(request: Any) -> AsyncIterator[Any]:
        yield 3
        for dataset in images(3):
            yield dataset

    register(server, "C-GET", get)
    async with open_stage(server, window=(2, 1)) as stage:
        for message_id in (1, 2):
            await stage.peer.request(GET, wire.get_rq(message_id=message_id), IDENTIFIER)
        open_stores, finals = 0, {}
        while len(finals) < 2:
            message = await stage.peer.read_message()
            if message.field == wire.C_STORE:
                open_stores += 1
                assert open_stores == 1
                await stage.peer.respond(message, 0x0000)
                open_stores -= 1
            elif message.status != 0xFF00:
                finals[message.responded_to] = message.counters
        assert finals == {1: (None, 3, 0, 0), 2: (None, 3, 0, 0)}
        await stage.nothing_more()
