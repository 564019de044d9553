"""Whatever a peer asks of a provider, in whatever pieces and order, and however it leaves: the promises hold.

Each request has one final response. What was acknowledged was handed to its handler, whole. A handler is called once,
and has ended when the association has. Nothing is left behind, and nothing is logged as an error.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
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
    MOVE,
    MPPS,
    STILL_PENDING,
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

CONTEXTS = [ECHO, aiodimse.PresentationContext(CT, scu=True, scp=True), FIND, GET, MOVE, MPPS]
CONTEXT_IDS = {uid: 2 * number + 1 for number, uid in enumerate([ECHO, CT, FIND, GET, MOVE, MPPS])}
IDENTIFIER = encoded(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2")
CANCELLED = 0xFE00
ALLOWED = {
    "C-ECHO": {0x0000, 0x0213},
    "C-STORE": {0x0000, 0xA700, 0xA701, 0xC211},
    "C-FIND": {0x0000, CANCELLED, 0xA700},
    "C-GET": {0x0000, CANCELLED, 0xB000, 0xA702},
    "C-MOVE": {0x0000, CANCELLED, 0xB000, 0xA702},
    "N-SET": {0x0000, 0x0110, 0x0213},
}
"""The final statuses, refusals for want of a place included."""


class Provider:
    """Handlers that take some turns of the event loop, and note what they were given."""

    def __init__(self, drawn: Drawn, *, leaves: bool) -> None:
        """leaves: whether the server is left while the peer is in the middle of something."""
        self.drawn = drawn
        self.running: list[Any] = []
        self.begun: Counter[Any] = Counter()
        self.taken: dict[str, bytes] = {}
        """What was acknowledged, by SOP Instance UID."""
        window = drawn.random.choice([1, 3, 16])
        timeouts = aiodimse.Timeouts(drain_idle=0.05, server_drain=0.2 if leaves else 30.0)
        self.server = aiodimse.Server(
            limits=drawn.limits, timeouts=timeouts, environment=drawn.environment, operations_window=window
        )
        self.server.on_c_echo(self.answer)
        self.server.on_n_set(MPPS)(self.answer)
        self.server.on_c_store(self.store)
        self.server.on_c_find(self.find)
        self.server.on_c_get(self.retrieve)
        self.server.on_c_move(self.retrieve)
        self.destination = aiodimse.Server(ae_title="DEST", environment=drawn.environment, operations_window=(1, 4))
        self.destination.on_c_store(self.receive)

    @contextmanager
    def _call(self, request: Any) -> Iterator[None]:
        self.begun[request.association, request.message_id] += 1
        self.running.append(request)
        try:
            yield
        finally:
            self.running.remove(request)

    async def answer(self, request: Any) -> int:
        with self._call(request):
            await self.drawn.turns()
            return 0x0000

    async def store(self, request: aiodimse.StoreRequest) -> int:
        with self._call(request):
            how = self.drawn.random.choice(["keep", "keep", "keep late", "fail", "fail in the middle", "raise"])
            await self.drawn.turns()
            if how == "raise":
                raise aiodimse.DIMSEFailure(0xA701)
            kept = b""
            if how != "fail":
                async for piece in request.stream():
                    kept += piece
                    await self.drawn.turns()
                    if how == "fail in the middle":
                        return 0xA701
                self.taken[request.sop_instance_uid] = kept
            if how == "keep late":
                await self.drawn.turns()
            return 0xA701 if how == "fail" else 0x0000

    async def find(self, request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        with self._call(request):
            for number in range(self.drawn.random.choice([0, 1, 3, 40])):
                await self.drawn.turns()
                yield dataset(PatientID=str(number))

    async def retrieve(self, request: Any) -> AsyncIterator[Any]:
        draw = self.drawn.random
        with self._call(request):
            number = draw.choice([0, 1, 3, 6])
            if isinstance(request, aiodimse.MoveRequest):
                yield aiodimse.Destination(
                    "localhost",
                    draw.choice([105, 105, 106]),
                    ssl=self.drawn.client_context,
                    operations_window=draw.choice([1, 3]),
                )
            yield number
            for each in range(number):
                await self.drawn.turns()
                yield image(f"1.9.{request.message_id}.{each}", draw.choice([0, 100, 100_000]))

    async def receive(self, request: aiodimse.StoreRequest) -> int:
        with self._call(request):
            await self.drawn.turns()
            if self.drawn.random.random() < 0.07:
                request.association.abort()
            await request.discard()
            return 0x0000


class Peer:
    """Asks for things, cancels some of them, and notes what it is answered."""

    def __init__(self, drawn: Drawn, peer: testing.ScriptedPeer) -> None:
        self.drawn, self.peer = drawn, peer
        self.asked: dict[int, str] = {}
        self.sent: dict[str, bytes] = {}
        self.finals: dict[int, int] = {}
        self.cancelled: set[int] = set()
        self.has_ended = asyncio.Event()
        self._answers: deque[bytes] = deque()
        self._to_send = deque(self._requests())

    def _requests(self) -> Iterator[bytes]:
        draw = self.drawn.random
        for message_id in range(1, draw.randint(1, 8) + 1):
            uid, request, data = self._request(message_id)
            self.asked[message_id] = request.service
            yield self.drawn.message(CONTEXT_IDS[uid], request, data)
            while draw.random() < 0.3:
                other = draw.randint(1, message_id)
                self.cancelled.add(other)
                cancel = messages.CCancelRQ(message_id_being_responded_to=other)
                yield self.drawn.message(CONTEXT_IDS[FIND], cancel)

    def _request(self, message_id: int) -> tuple[str, messages.Request, bytes | None]:
        draw = self.drawn.random
        made: dict[str, Any] = {"message_id": message_id}
        uid = draw.choice([ECHO, CT, CT, FIND, GET, MOVE, MPPS])
        if uid == MPPS:
            made |= {"requested_sop_class_uid": uid, "requested_sop_instance_uid": "1.2"}
            return uid, messages.NSetRQ(**made), encoded(PatientID="1")
        made |= {"affected_sop_class_uid": uid}
        if uid == ECHO:
            return uid, messages.CEchoRQ(**made), None
        made |= {"priority": 0}
        if uid == CT:
            instance = f"1.2.3.{message_id}"
            self.sent[instance] = encode_dataset(image(instance, draw.choice([0, 10, 3000, 3000, 300_000])), EXPLICIT)
            return uid, messages.CStoreRQ(affected_sop_instance_uid=instance, **made), self.sent[instance]
        if uid == FIND:
            return uid, messages.CFindRQ(**made), IDENTIFIER
        if uid == GET:
            return uid, messages.CGetRQ(**made), IDENTIFIER
        return uid, messages.CMoveRQ(move_destination="DEST", **made), IDENTIFIER

    async def listen(self) -> None:
        """Read to the end, and answer sub-operations."""
        draw, peer = self.drawn.random, self.peer
        try:
            while True:
                context_id, message, _ = await peer.read_message()
                if isinstance(message, messages.CStoreRQ):
                    response = message.response(draw.choice([0x0000, 0x0000, 0xB000, 0xA700]))
                    self._answers.append(self.drawn.message(context_id, response))
                else:
                    assert isinstance(message, messages.Response)
                    self._note(message)
        except testing.PeerClosed:
            pass
        except AssertionError:
            if not isinstance(peer.received[-1], ReleaseRP | Abort):
                raise
        finally:
            self.has_ended.set()

    def _note(self, response: messages.Response) -> None:
        message_id = response.message_id_being_responded_to
        assert message_id in self.asked
        assert message_id not in self.finals, "a response after the final one"
        if response.status not in STILL_PENDING:
            self.finals[message_id] = response.status

    async def speak(self, most: int | None, *, waits: bool) -> None:
        """Send everything, up to so many bytes; wait for the answers, or not."""
        written = 0
        while self._to_send or (waits and len(self.finals) < len(self.asked)):
            if self._answers:
                message = self._answers.popleft()
            elif self._to_send and self.drawn.random.random() < 0.7:
                message = self._to_send.popleft()
            else:
                if self.has_ended.is_set():
                    return
                await asyncio.sleep(0)
                continue
            for piece in self.drawn.cut(message):
                if self.has_ended.is_set():
                    return
                self.peer.send(piece if most is None else piece[: most - written])
                written += len(piece)
                if most is not None and written >= most:
                    return
                await self.drawn.turns()


ENDINGS = ["release", "release at once", "abort", "reset", "close", "we abort", "we leave"]


async def converse(drawn: Drawn, ending: str) -> None:
    drawn.begin()
    draw, provider = drawn.random, Provider(drawn, leaves=ending == "we leave")
    is_whole = ending in ("release", "release at once")
    async with asyncio.timeout(30), provider.destination.listen("memory", 105, ssl=drawn.server_context):
        async with provider.server.listen("memory", 104, ssl=drawn.server_context) as listening:
            scripted = await testing.ScriptedPeer.call(drawn.peers, 104)
            await scripted.associate(CONTEXTS, operations_window=(draw.choice([1, 1, 2, 5]), draw.choice([0, 1, 2])))
            peer = Peer(drawn, scripted)
            listening_peer = asyncio.create_task(peer.listen())
            await peer.speak(None if is_whole else draw.randint(0, 5000), waits=ending != "release at once")
            if is_whole:
                assert not peer.has_ended.is_set(), f"ended by {scripted.received[-1:]}"
                scripted.send(ReleaseRQ())
                await peer.has_ended.wait()
                assert isinstance(scripted.received[-1], ReleaseRP)
            elif ending == "abort":
                scripted.send(Abort(0, 0))
                finish(scripted)
            elif ending == "reset":
                scripted.abort_transport()
            elif ending == "close":
                finish(scripted)
            elif ending == "we abort":
                for association in listening.associations:
                    association.abort()
            if ending != "we leave":
                await peer.has_ended.wait()
                scripted.abort_transport()
        await peer.has_ended.wait()
        await listening_peer
        scripted.abort_transport()
    await nothing_left(drawn.network)
    assert provider.running == []
    check(provider, peer, ending)


def check(provider: Provider, peer: Peer, ending: str) -> None:
    assert set(provider.begun.values()) <= {1}, "a handler was called twice for a request"
    for message_id, service in peer.asked.items():
        if ending == "release" or (ending == "release at once" and service in ("C-STORE", "N-SET")):
            assert message_id in peer.finals
    for message_id, status in peer.finals.items() if ending != "abort" else ():  # it may abort within a data set
        service = peer.asked[message_id]
        assert status in ALLOWED[service], f"{service} {status:04X}"
        assert status != CANCELLED or message_id in peer.cancelled
        if service == "C-STORE" and status == 0x0000:
            uid = f"1.2.3.{message_id}"
            assert provider.taken[uid] == peer.sent[uid]


@pytest.mark.parametrize("ending", ENDINGS)
@given(seed=st.integers(0, 1 << 32))
@examples(20)
def test_a_provider(ending: str, seed: int) -> None:
    with no_errors_logged():
        asyncio.run(converse(Drawn(seed), ending), debug=False)  # ten times as many turns in a second


@pytest.mark.parametrize("ending", ENDINGS)
@given(seed=st.integers(0, 1 << 32))
@examples(2)
def test_a_provider_over_tls(ending: str, seed: int, certificates: Certificates) -> None:
    with no_errors_logged():
        asyncio.run(converse(Drawn(seed, certificates), ending), debug=False)
