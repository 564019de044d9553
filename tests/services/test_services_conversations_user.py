"""Whatever a peer answers a user, in whatever pieces and order, and however it goes: the promises hold.

Each operation ends: with what the peer said, or with what ended the association. What the user is handed is what was
sent. Operations that are left or cancelled leave nothing behind, and the association lives on.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypotheses import examples
from hypothesis import given
from hypothesis import strategies as st
from services.drawn import (
    CT,
    ECHO,
    EXPLICIT,
    FIND,
    GET,
    MPPS,
    Drawn,
    dataset,
    encoded,
    finish,
    image,
    no_errors_logged,
    nothing_left,
)
from tls.authority import Certificates

import aiodimse
from aiodimse import testing
from aiodimse.datasets import encode_dataset
from aiodimse.dimse import messages
from aiodimse.pdu import Abort, ReleaseRP, ReleaseRQ

CONTEXTS = [aiodimse.PresentationContext(uid, scu=True, scp=True) for uid in (ECHO, CT)] + [FIND, GET, MPPS]  # type: ignore[operator]
ECHO_ID, CT_ID = 1, 3
QUERY = dataset(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2")
CANCELLED = 0xFE00
PATIENCE = 10.0


class Peer:
    """Performs operations side by side, asks for echoes of its own, and says how it goes."""

    def __init__(self, drawn: Drawn, peer: testing.ScriptedPeer, ending: str) -> None:
        self.drawn, self.peer, self.ending = drawn, peer, ending
        self.stored: dict[str, bytes] = {}
        self.sent: dict[str, bytes] = {}
        self.has_aborted = False
        self._left: int | None = drawn.random.randint(0, 6000) if ending in ("abort", "reset", "close") else None
        self._cancelled: set[int] = set()
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._last_id = 0
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._is_silent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0

    async def run(self) -> None:
        """Listen and speak to the end of the association."""
        writing = asyncio.create_task(self._write())
        try:
            await self._listen()
        finally:
            for task in self._tasks:
                task.cancel()
            self._is_silent = True
            self._out.put_nowait(None)
            await writing
            self.peer.abort_transport()

    async def _listen(self) -> None:
        try:
            while True:
                context_id, message, data = await self.peer.read_message()
                self._take(context_id, message, data)
        except testing.PeerClosed:
            pass
        except AssertionError:
            last = self.peer.received[-1]
            self.has_aborted = isinstance(last, Abort)
            if not isinstance(last, ReleaseRQ | Abort):
                raise
            if isinstance(last, ReleaseRQ) and not self._is_silent:
                self.peer.send(ReleaseRP())
                await self.peer.closed()

    def _take(self, context_id: int, message: messages.Message, data: bytes | None) -> None:
        if isinstance(message, messages.CCancelRQ):
            self._cancelled.add(message.message_id_being_responded_to)
            return
        if isinstance(message, messages.Response):
            self._asked.pop(message.message_id_being_responded_to).set_result(message.status)
            return
        assert isinstance(message, messages.Request)
        self._cancelled.discard(message.message_id)
        perform = {messages.CFindRQ: self._find, messages.CGetRQ: self._get}.get(type(message), self._answer)  # type: ignore[call-overload]
        if isinstance(message, messages.CStoreRQ):
            self.stored[message.affected_sop_instance_uid] = data or b""
        task = asyncio.create_task(perform(context_id, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.drawn.random.random() < 0.15:
            self._ask(ECHO_ID, messages.CEchoRQ(message_id=0, affected_sop_class_uid=ECHO))

    # --- what it says -------------------------------------------------------------------------------------------------

    def _say(self, context_id: int, message: messages.Message, data: bytes | None = None) -> None:
        self._out.put_nowait(self.drawn.message(context_id, message, data))

    def _ask(self, context_id: int, request: messages.Request, data: bytes | None = None) -> asyncio.Future[int]:
        self._last_id += 1
        request.message_id = self._last_id
        answer = self._asked[request.message_id] = asyncio.get_running_loop().create_future()
        self._say(context_id, request, data)
        return answer

    async def _answer(self, context_id: int, request: messages.Request) -> None:
        await self.drawn.turns()
        self._say(context_id, request.response(0x0000))

    async def _find(self, context_id: int, request: messages.Request) -> None:
        number = self.drawn.random.choice([0, 1, 2, 5, 30])
        for each in range(number):
            await self.drawn.turns()
            if request.message_id in self._cancelled and self.drawn.random.random() < 0.5:
                self._say(context_id, request.response(CANCELLED))
                return
            match = encoded(PatientID=str(each), PatientComments=str(number))
            self._say(context_id, request.response(0xFF00), match)
        self._say(context_id, request.response(0x0000))

    async def _get(self, context_id: int, request: messages.Request) -> None:
        draw, statuses = self.drawn.random, list[int]()
        waits, under_way = draw.random() < 0.5, list[asyncio.Future[int]]()
        self._number += 1
        number = draw.choice([0, 1, 2, 4])
        for each in range(number):
            await self.drawn.turns()
            if request.message_id in self._cancelled:
                break
            uid = f"1.7.{self._number}.{each}"
            self.sent[uid] = encode_dataset(image(uid, draw.choice([0, 500, 3000])), EXPLICIT)
            store = messages.CStoreRQ(
                message_id=0, affected_sop_class_uid=CT, affected_sop_instance_uid=uid, priority=0
            )
            under_way.append(self._ask(CT_ID, store, self.sent[uid]))
            if waits:
                statuses += [await answer for answer in under_way]
                under_way.clear()
        statuses += [await answer for answer in under_way]
        status = 0x0000 if statuses == [0x0000] * number else 0xB000
        response = request.response(CANCELLED if request.message_id in self._cancelled else status)
        assert isinstance(response, messages.CGetRSP)
        response.number_of_completed_suboperations = statuses.count(0x0000)
        response.number_of_failed_suboperations = len(statuses) - statuses.count(0x0000)
        response.number_of_warning_suboperations = 0
        self._say(context_id, response)

    async def _write(self) -> None:
        while (message := await self._out.get()) is not None:
            for piece in self.drawn.cut(message):
                if not self._is_silent and not self.peer.lost:
                    self._send(piece)
                    await self.drawn.turns()

    def _send(self, piece: bytes) -> None:
        if self._left is None:
            self.peer.send(piece)
            return
        self.peer.send(piece[: self._left])
        self._left -= len(piece)
        if self._left <= 0:
            self._is_silent = True
            if self.ending == "reset":
                self.peer.abort_transport()
                return
            if self.ending == "abort":
                self.peer.send(Abort(0, 0))
            finish(self.peer)


class User:
    """Operations on one association, each in a task of its own."""

    def __init__(self, drawn: Drawn, association: aiodimse.Association, peer: Peer) -> None:
        self.drawn, self.association, self.peer = drawn, association, peer

    async def operation(self, number: int) -> None:
        """One operation, with what it brings checked."""
        await self.drawn.turns()
        what = self.drawn.random.choice([self.echo, self.store, self.change, self.find, self.leave, self.get, self.get])
        await what(number)

    async def echo(self, number: int) -> None:
        assert (await self.association.c_echo()).status == 0x0000

    async def change(self, number: int) -> None:
        assert (await self.association.n_set(MPPS, "1.2", dataset(PatientID="1"))).status == 0x0000

    async def store(self, number: int) -> None:
        uid = f"1.5.{number}"
        made = aiodimse.EncodedDataset(
            encode_dataset(image(uid, self.drawn.random.choice([0, 300, 100_000])), EXPLICIT), EXPLICIT
        )
        instance = Made(uid, made.data)
        assert (await self.association.c_store(instance)).status == 0x0000
        assert self.peer.stored[uid] == made.data

    async def find(self, number: int) -> None:
        found = []
        async with self.association.c_find(QUERY) as matches:
            async for match in matches:
                found.append((str(match.PatientID), str(match.PatientComments)))
                await self.drawn.turns()
        assert found == [(str(each), str(len(found))) for each in range(len(found))]

    async def leave(self, number: int) -> None:
        draw = self.drawn.random
        async with self.association.c_find(QUERY) as matches:
            async for _ in matches:
                if draw.random() < 0.3:
                    await matches.cancel()
                if draw.random() < 0.3:
                    break

    async def get(self, number: int) -> None:
        draw, came = self.drawn.random, 0
        leaves = draw.random() < 0.3
        async with self.association.c_get(QUERY, allow_incomplete=True) as retrieval:
            async for instance in retrieval:
                came += 1
                await self.drawn.turns()
                if draw.random() < 0.5:
                    pieces = [bytes(piece) async for piece in instance.stream()]
                    assert b"".join(pieces) == self.peer.sent[instance.sop_instance_uid]
                elif draw.random() < 0.8:
                    await instance.discard()
                if leaves and draw.random() < 0.5:
                    return
        if retrieval.status == 0x0000 and retrieval.progress is not None:
            assert retrieval.progress.completed == came


class Made(aiodimse.Instance):
    """An instance of bytes, in pieces."""

    def __init__(self, uid: str, data: bytes) -> None:
        super().__init__(CT, uid, EXPLICIT)
        self._data = data

    async def _stream(self) -> Any:
        for start in range(0, len(self._data), 40_000):
            yield self._data[start : start + 40_000]

    def stream(self) -> Any:
        return self._stream()


ENDINGS = ["release", "abort", "reset", "close", "we abort", "we cancel"]


async def converse(drawn: Drawn, ending: str) -> None:
    drawn.begin()
    draw = drawn.random
    handlers = aiodimse.Server()

    @handlers.on_c_echo
    async def echo(request: aiodimse.EchoRequest) -> int:
        await drawn.turns()
        return 0x0000

    peers = await testing.ScriptedPeer.listen(drawn.peers, 104)
    options: dict[str, Any] = {"limits": drawn.limits, "environment": drawn.environment, "handlers": handlers}
    options["timeouts"] = aiodimse.Timeouts(cancel_drain=None)  # which would end what should end by itself
    options["ssl"] = drawn.client_context
    options["operations_window"] = draw.choice([(1, 1), (1, 1), (3, 1), (3, 3)])
    connecting = asyncio.ensure_future(connected(contexts=CONTEXTS, **options))
    scripted = await peers.get()
    await scripted.accept(operations_window=(5, 5))
    async with asyncio.timeout(3 * PATIENCE):
        association = await connecting
        peer = Peer(drawn, scripted, ending)
        performing = asyncio.create_task(peer.run())
        user = User(drawn, association, peer)
        tasks = [asyncio.create_task(user.operation(number)) for number in range(draw.randint(1, 6))]
        if ending in ("we abort", "we cancel"):
            for _ in range(draw.randint(0, 60)):
                await asyncio.sleep(0)
            if ending == "we abort":
                association.abort()
            else:
                for task in draw.sample(tasks, draw.randint(1, len(tasks))):
                    task.cancel()
        _, unfinished = await asyncio.wait(tasks, timeout=PATIENCE)
        assert not unfinished
        for task in tasks:
            if not task.cancelled():
                check(task.exception(), ending)
        try:
            await association.release()
        except aiodimse.AssociationTimeout:
            raise  # something was left behind that the peer waits for
        except aiodimse.AssociationError:
            assert ending != "release"
        await performing
        assert not (ending == "release" and peer.has_aborted)
    await nothing_left(drawn.network)


async def connected(**options: Any) -> aiodimse.Association:
    return await aiodimse.connect("localhost", 104, **options)


def check(error: BaseException | None, ending: str) -> None:
    if isinstance(error, aiodimse.LocalProtocolError):
        assert "C-GET" in str(error)  # one runs at a time
    elif not isinstance(error, aiodimse.AssociationError):
        assert error is None
    else:
        assert ending != "release"


@pytest.mark.parametrize("ending", ENDINGS)
@given(seed=st.integers(0, 1 << 32))
@examples(20)
def test_a_user(ending: str, seed: int) -> None:
    with no_errors_logged():
        asyncio.run(converse(Drawn(seed), ending), debug=False)  # ten times as many turns in a second


@pytest.mark.parametrize("ending", ENDINGS)
@given(seed=st.integers(0, 1 << 32))
@examples(2)
def test_a_user_over_tls(ending: str, seed: int, certificates: Certificates) -> None:
    with no_errors_logged():
        asyncio.run(converse(Drawn(seed, certificates), ending), debug=False)
