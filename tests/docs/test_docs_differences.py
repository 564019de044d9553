"""The ticks in docs/migrating-from-pynetdicom.md: the same handler and the same bytes, in both libraries.

A handler here is what it yields, an exception type being raised; both libraries' handlers are made from that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from scripted import wire
from scripted.peer import Aborted, Message, ScriptedListener, ScriptedPeer

import aiodimse
from aiodimse import sop_class

HOST = "127.0.0.1"
CT, MR = (dcmread(str(get_testdata_file(name))) for name in ("CT_small.dcm", "MR_small.dcm"))
FIND, GET, MOVE, REPOSITORY, CT_STORE, MR_STORE = 1, 3, 5, 7, 9, 11
CONTEXTS = [
    (FIND, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE]),
    (GET, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]),
    (MOVE, wire.STUDY_ROOT_MOVE, [wire.EXPLICIT_LE]),
    (REPOSITORY, str(sop_class.RepositoryQuery), [wire.EXPLICIT_LE]),
    (CT_STORE, str(sop_class.CTImageStorage), [wire.EXPLICIT_LE]),
    (MR_STORE, str(sop_class.MRImageStorage), [wire.EXPLICIT_LE]),
]
ROLES = {str(uid): (False, True) for uid in (sop_class.CTImageStorage, sop_class.MRImageStorage)}
IDENTIFIER = wire.identifier("STUDY", uid=((0x0020, 0x000D), "UI", ""))
# Study Instance UID says that it has 64 bytes, and there are three.
TRUNCATED = wire.identifier("STUDY") + b"\x20\x00\x0d\x00UI\x40\x001.2"
MATCH = Dataset()
MATCH.StudyInstanceUID = "1.2"

Yields = tuple[Any, ...]
Exchange = Callable[[ScriptedPeer], Awaitable[list[Message]]]
Serve = Callable[..., AbstractAsyncContextManager[int]]


# --- one handler, two libraries ---------------------------------------------------------------------------------------


def _steps(yields: Yields, identifier: object) -> Iterator[Any]:
    for step in yields:
        if isinstance(step, type):
            raise step("said by the handler")
        yield step


class Netdicom:
    """pynetdicom's provider; one for all tests, because it takes half a second to stop."""

    def __init__(self) -> None:
        self.yields: Yields = ()
        ae = self._ae = AE("ARCHIVE")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 60
        for _, uid, syntaxes in CONTEXTS:
            ae.add_supported_context(uid, syntaxes, scu_role=True, scp_role=True)
        ae.requested_contexts = [build_context(uid, wire.EXPLICIT_LE) for uid in ROLES]
        bound = [(event, self._handle) for event in (evt.EVT_C_FIND, evt.EVT_C_GET, evt.EVT_C_MOVE)]
        server = ae.start_server((HOST, 0), block=False, evt_handlers=bound)
        assert server is not None
        self.port = server.socket.getsockname()[1]

    def _handle(self, event: evt.Event) -> Iterator[Any]:
        yield from _steps(self.yields, event.identifier)

    def stop(self) -> None:
        self._ae.shutdown()


@pytest.fixture(scope="module")
def pynetdicom_provider() -> Iterator[Netdicom]:
    provider = Netdicom()
    yield provider
    provider.stop()


@asynccontextmanager
async def ours(service: str, yields: Yields, **settings: Any) -> AsyncIterator[int]:
    """Our provider; the port."""
    server = aiodimse.Server(ae_title="ARCHIVE", **{"accept_called": True, **settings})

    async def handler(request: Any) -> AsyncIterator[Any]:
        for step in _steps(yields, request.identifier):
            yield step

    async def nothing(request: Any) -> None:
        return None

    for name in ("FIND", "GET", "MOVE"):
        getattr(server, f"on_c_{name.lower()}")(handler if name == service else nothing)
    async with server.listen(HOST, 0) as listening:
        yield listening.port


LIBRARIES = ("pynetdicom", "aiodimse")


@pytest.fixture
def serve(pynetdicom_provider: Netdicom) -> Serve:
    """serve(library, service, yields): a provider with that handler; its port."""

    @asynccontextmanager
    async def provider(library: str, service: str, yields: Yields, **settings: Any) -> AsyncIterator[int]:
        if library == "pynetdicom":
            pynetdicom_provider.yields = yields
            yield pynetdicom_provider.port
        else:
            async with ours(service, yields, **settings) as port:
                yield port

    return provider


@dataclass(frozen=True)
class Answer:
    """What a test compares of a response; counters are (remaining, completed, failed, warning)."""

    status: int
    counters: tuple[int | None, ...] = (None, None, None, None)
    failed: tuple[str, ...] | None = None
    """Failed SOP Instance UID List; None where there is no data set, () where it is empty."""


def answers(messages: list[Message]) -> list[Answer]:
    found = []
    for message in messages:
        failed: tuple[str, ...] | None = None
        if message.data is not None and message.status not in (0xFF00, 0xFF01):
            raw = wire.read_dataset(message.data).get((0x0008, 0x0058), b"").decode().rstrip("\0")
            failed = tuple(raw.split("\\")) if raw else ()
        found.append(Answer(message.status, message.counters, failed))
    return found


async def talk(port: int, exchange: Exchange) -> list[Answer] | str:
    """What comes of it; "aborted" where that is what comes."""
    async with await ScriptedPeer.connect(HOST, port) as peer:
        await peer.associate(CONTEXTS, called="ARCHIVE", roles=ROLES)
        try:
            found = answers(await exchange(peer))
        except Aborted:
            return "aborted"
        await peer.release()
        return found


def request(context_id: int, elements: dict[Any, Any], data: bytes | None = IDENTIFIER, store: Any = 0) -> Exchange:
    async def exchange(peer: ScriptedPeer) -> list[Message]:
        return await peer.responses(await peer.request(context_id, elements, data), store=store)

    return exchange


find, get, move = (
    partial(request, FIND, wire.find_rq()),
    partial(request, GET, wire.get_rq()),
    partial(request, MOVE, wire.move_rq("DEST")),
)


def finals(*statuses: int) -> list[Answer]:
    return [Answer(status) for status in statuses]


def mr_fails(message: Message) -> int:
    return 0xA700 if message.sop_class == sop_class.MRImageStorage else 0x0000


CT_UID, MR_UID = str(CT.SOPInstanceUID), str(MR.SOPInstanceUID)
P = 0xFF00
TWO = (2, (P, CT), (P, MR))
QUERY = ((P, MATCH),)
WITHOUT_DATA = {wire.DATA_SET_TYPE: wire.NO_DATA_SET}

# name: service, what the handler yields, what is asked, pynetdicom's answers, ours
CASES: dict[str, tuple[str, Yields, Exchange, list[Answer] | str, list[Answer] | str]] = {
    "C-FIND, truncated Identifier": ("FIND", QUERY, find(TRUNCATED), finals(P, 0), finals(0xC310)),
    "C-GET, truncated Identifier": ("GET", (0,), get(TRUNCATED), [Answer(0, (None, 0, 0, 0))], finals(0xC410)),
    "C-MOVE, truncated Identifier": (
        "MOVE", ((HOST, 1), 0), move(TRUNCATED), [Answer(0, (None, 0, 0, 0))], finals(0xC510),
    ),
    "random bytes for an Identifier": ("FIND", QUERY, find(b"\xff" * 21), finals(P, 0), finals(0xC310)),
    "C-FIND raises": ("FIND", (ValueError,), find(), finals(0xC311), finals(0xC311)),
    "C-GET raises at once": ("GET", (ValueError,), get(), finals(0xC413), [Answer(0xC411, (None, 0, 0, 0))]),
    "C-MOVE raises at once": ("MOVE", (ValueError,), move(), finals(0xC514), [Answer(0xC511, (None, 0, 0, 0))]),
    "C-GET raises half way": (
        "GET", (3, (P, CT), ValueError), get(),
        [Answer(P, (2, 1, 0, 0)), Answer(0xC411, (2, 1, 2, 0), ())],
        [Answer(P, (2, 1, 0, 0)), Answer(0xC411, (None, 1, 2, 0))],
    ),
    "yields None": ("FIND", (None,), find(), "aborted", finals(0xC002)),
    "yields a status alone": ("FIND", (0xA700,), find(), "aborted", finals(0xA700)),
    "a number in quotes": (
        "GET", ("2", (P, CT), (P, MR)), get(),
        [Answer(P, (1, 1, 0, 0)), Answer(P, (0, 2, 0, 0)), Answer(0, (0, 2, 0, 0))],
        [Answer(0xC413, (None, 0, 0, 0))],
    ),
    "all goes well": (
        "GET", TWO, get(),
        [Answer(P, (1, 1, 0, 0)), Answer(P, (0, 2, 0, 0)), Answer(0, (0, 2, 0, 0))],
        [Answer(P, (1, 1, 0, 0)), Answer(0, (None, 2, 0, 0))],
    ),
    "fewer than announced": (
        "GET", (3, (P, CT)), get(),
        [Answer(P, (2, 1, 0, 0)), Answer(0, (2, 1, 0, 0))],
        [Answer(P, (2, 1, 0, 0)), Answer(0xB000, (None, 1, 2, 0))],
    ),
    "no instance": (
        "GET", (2, (P, 17), (P, CT)), get(),
        [Answer(P, (2, 0, 1, 0)), Answer(P, (1, 1, 1, 0)), Answer(0xB000, (1, 1, 1, 0), ())],
        [Answer(P, (1, 0, 1, 0)), Answer(0xB000, (None, 1, 1, 0))],
    ),
    "nothing for an instance": (
        "GET", (2, (P, None), (P, CT)), get(),
        [Answer(P, (1, 1, 0, 0)), Answer(0, (1, 1, 0, 0))],
        [Answer(P, (1, 0, 1, 0)), Answer(0xB000, (None, 1, 1, 0))],
    ),
    "one is refused": (
        "GET", TWO, get(store=mr_fails),
        [Answer(P, (1, 1, 0, 0)), Answer(P, (0, 1, 1, 0)), Answer(0xB000, (0, 1, 1, 0), (MR_UID,))],
        [Answer(P, (1, 1, 0, 0)), Answer(0xB000, (None, 1, 1, 0), (MR_UID,))],
    ),
    "all are taken with a warning": (
        "GET", TWO, get(store=0xB000),
        [Answer(P, (1, 0, 0, 1)), Answer(P, (0, 0, 0, 2)), Answer(0xB000, (0, 0, 0, 2), ())],
        [Answer(P, (1, 0, 0, 1)), Answer(0xB000, (None, 0, 0, 2))],
    ),
    "Success after failures": (
        "GET", (2, (P, CT), (0, None)), get(store=0xA700),
        [Answer(P, (1, 0, 1, 0)), Answer(0xB000, (1, 0, 1, 0), (CT_UID,))],
        [Answer(P, (1, 0, 1, 0)), Answer(0xA702, (None, 0, 2, 0), (CT_UID,))],
    ),
    "a destination that is (None, None)": (
        "MOVE", ((None, None),), move(), finals(0xA801), [Answer(0xC515, (None, 0, 0, 0))],
    ),
    "another SOP class than the context's": (
        "FIND", QUERY, request(FIND, wire.find_rq(wire.STUDY_ROOT_GET)), finals(P, 0), finals(0x0122),
    ),
    "a command that the SOP class has not": (
        "FIND", QUERY, request(FIND, {**wire.echo_rq(), wire.SOP_CLASS: wire.STUDY_ROOT_FIND}, None),
        "aborted", finals(0x0211),
    ),
    "no Identifier": ("FIND", QUERY, find(None), finals(P, 0), finals(0x0212)),
    "no Move Destination": ("MOVE", ((HOST, 1), 0), request(MOVE, wire.move_rq("")), "aborted", finals(0x0212)),
}  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", CASES)
async def test_both_libraries_answer_as_the_page_says(serve: Serve, name: str, library: str) -> None:
    service, yields, exchange, theirs, ours = CASES[name]
    async with serve(library, service, yields) as port:
        assert await talk(port, exchange) == (theirs if library == "pynetdicom" else ours)


# --- conversations that are not one request and its responses ---------------------------------------------------------


async def read_until(peer: ScriptedPeer, enough: Callable[[list[Message]], bool]) -> list[Message]:
    found: list[Message] = []
    while not enough(found):
        found.append(await peer.read_message())
    return found


@pytest.mark.parametrize(("library", "expected"), [("pynetdicom", [P, 0, P, 0]), ("aiodimse", [0x0210, P, 0])])
async def test_a_message_id_twice(serve: Serve, library: str, expected: list[int]) -> None:
    async def exchange(peer: ScriptedPeer) -> list[Message]:
        one = wire.message(FIND, wire.find_rq(message_id=9), IDENTIFIER)
        await peer.send(one + one)
        return await read_until(peer, lambda found: len(found) == len(expected))

    async with serve(library, "FIND", QUERY) as port:
        assert await talk(port, exchange) == finals(*expected)


@pytest.mark.parametrize(("library", "expected"), [("pynetdicom", [P, 0xB001, 0]), ("aiodimse", [P, 0xB001])])
async def test_repository_query(serve: Serve, library: str, expected: list[int]) -> None:
    """Release after it shows that nothing more comes."""

    async def exchange(peer: ScriptedPeer) -> list[Message]:
        await peer.request(REPOSITORY, wire.find_rq(str(sop_class.RepositoryQuery)), IDENTIFIER)
        return await read_until(peer, lambda found: len(found) == len(expected))

    async with serve(library, "FIND", (*QUERY, (0xB001, None))) as port:
        assert await talk(port, exchange) == finals(*expected)


async def test_our_user_of_its_repository_query(serve: Serve) -> None:
    async with serve("pynetdicom", "FIND", (*QUERY, (0xB001, None))) as port:
        uid = sop_class.RepositoryQuery
        async with aiodimse.connect(HOST, port, contexts=[uid]) as association:
            for _ in range(2):  # the 0000 of the first comes before the second is answered
                async with association.c_find(MATCH, uid) as matches:
                    assert [match.StudyInstanceUID async for match in matches] == ["1.2"]
                assert matches.status == 0xB001


@pytest.mark.parametrize(("library", "expected"), [("pynetdicom", [P, P, 0]), ("aiodimse", [0xFE00])])
async def test_cancel_beside_its_request(serve: Serve, library: str, expected: list[int]) -> None:
    """The handler does not look whether it is cancelled."""

    async def exchange(peer: ScriptedPeer) -> list[Message]:
        cancel = wire.message(FIND, wire.cancel_rq(9))
        await peer.send(wire.message(FIND, wire.find_rq(message_id=9), IDENTIFIER) + cancel)
        return await peer.responses(9)

    async with serve(library, "FIND", QUERY * 2) as port:
        assert await talk(port, exchange) == finals(*expected)


async def test_cancel_while_our_handler_waits() -> None:
    closed = asyncio.Event()
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_find
    async def forever(request: Any) -> AsyncIterator[Any]:
        try:
            yield MATCH
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        await peer.associate(CONTEXTS, called="ARCHIVE")
        message_id = await peer.request(FIND, wire.find_rq(), IDENTIFIER)
        assert (await peer.read_message()).status == P
        await peer.cancel(FIND, message_id)
        assert (await peer.read_message()).status == 0xFE00
        assert closed.is_set()
        await peer.release()


@pytest.mark.parametrize(("library", "originator"), [("pynetdicom", "ARCHIVE"), ("aiodimse", "WHO-ASKS")])
async def test_move_originator(serve: Serve, library: str, originator: str) -> None:
    async with await ScriptedListener.open() as destination:
        yields = ((HOST, destination.port), 1, (P, CT))
        async with serve(library, "MOVE", yields) as port, await ScriptedPeer.connect(HOST, port) as peer:
            await peer.associate(CONTEXTS, called="ARCHIVE", calling="WHO-ASKS")
            message_id = await peer.request(MOVE, wire.move_rq("DEST", message_id=77), IDENTIFIER)
            target = await destination.accept()
            await target.accept()
            store = await target.read_message()
            assert (store.text((0x0000, 0x1030)), store.number((0x0000, 0x1031))) == (originator, 77)
            await target.respond(store, 0x0000)
            releasing = asyncio.create_task(target.expect_release())
            assert (await peer.responses(message_id))[-1].status == 0x0000
            await releasing
            await peer.release()


@pytest.mark.parametrize(
    ("library", "expected"),
    [("pynetdicom", Answer(0xA801)), ("aiodimse", Answer(0xA702, (None, 0, 2, 0), (CT_UID,)))],
)
async def test_a_destination_that_rejects(serve: Serve, library: str, expected: Answer) -> None:
    async with await ScriptedListener.open() as destination:

        async def exchange(peer: ScriptedPeer) -> list[Message]:
            await peer.request(MOVE, wire.move_rq("DEST", message_id=5), IDENTIFIER)
            target = await destination.accept()
            await target.read_associate_rq()
            await target.send(wire.associate_rj(1, 1, 1))
            await target.drain()
            return await peer.responses(5)

        async with serve(library, "MOVE", ((HOST, destination.port), *TWO)) as port:
            assert await talk(port, exchange) == [expected]


@pytest.mark.parametrize(("library", "settings"), [("pynetdicom", {}), ("aiodimse", {"accept_called": None})])
async def test_called_ae_title(serve: Serve, library: str, settings: dict[str, Any]) -> None:
    async with serve(library, "FIND", QUERY, **settings) as port, await ScriptedPeer.connect(HOST, port) as peer:
        await peer.send(wire.associate_rq(CONTEXTS, called="SOMEBODY-ELSE"))
        if library == "pynetdicom":
            await peer.expect(wire.A_ASSOCIATE_AC)
            await peer.release()
        else:
            assert await peer.expect_reject() == (1, 1, 7)


@pytest.mark.parametrize(("library", "more"), [("pynetdicom", 6), ("aiodimse", 0)])
async def test_threads_of_three_associations(serve: Serve, library: str, more: int) -> None:
    async with serve(library, "FIND", QUERY) as port, AsyncExitStack() as stack:
        before = set(threading.enumerate())
        for _ in range(3):
            peer = await stack.enter_async_context(await ScriptedPeer.connect(HOST, port))
            await peer.associate(CONTEXTS, called="ARCHIVE")
            stack.push_async_callback(peer.release)
        assert len(set(threading.enumerate()) - before) == more


def test_a_handler_of_pynetdicom_as_it_is() -> None:
    """Told where it is registered, not by an answer to some peer later."""
    server = aiodimse.Server()
    with pytest.raises(TypeError, match="async def"):

        @server.on_c_find
        def find(event: Any) -> Iterator[Any]:
            yield 0x0000, None
