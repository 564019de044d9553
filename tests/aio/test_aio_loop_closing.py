"""A loop that closes in the middle of everything leaves no "Task was destroyed", no warning and no open socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trustme
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.dimse import messages
from aiodimse.errors import AssociationError
from aiodimse.pdu import Abort
from aiodimse.services.request import MoveRequest

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT, MR = sop_class.CTImageStorage, sop_class.MRImageStorage


class Stop(KeyboardInterrupt):
    """Ctrl-C, of which the event loop lets only subclasses through; the test run goes on."""


def interrupt() -> None:
    raise Stop


def query() -> Dataset:
    found = Dataset()
    found.QueryRetrieveLevel = "STUDY"
    return found


def left_by(
    program: Coroutine[Any, Any, None], expected: type[BaseException] | None, asyncio_said: Callable[[], list[str]]
) -> list[str]:
    """Run it to this end, and collect what it leaves behind: what asyncio says of that, and the warnings."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        ended: type[BaseException] | None = None
        try:
            asyncio.run(program)
        except (ValueError, Stop, asyncio.CancelledError) as error:
            ended = type(error)
        gc.collect()
    assert ended is expected
    return asyncio_said() + [str(warning.message) for warning in warned]


async def everything(network: testing.MemoryNetwork | None, how: str) -> None:
    """An association with a handler running, one that is being opened, a listener - and then the end."""
    options = {} if network is None else {"environment": aiodimse.Environment(network=network)}
    timeouts = aiodimse.Timeouts(server_drain=0.1 if how == "is cancelled" else 30)
    server = aiodimse.Server(accept_called=True, timeouts=timeouts, **options)
    running = asyncio.Event()

    @server.on_c_find
    async def find(request):
        running.set()
        try:
            yield query()
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)

    async def use(port: int) -> None:
        call = aiodimse.connect("127.0.0.1", port, contexts=[sop_class.Verification, FIND], **options)
        with contextlib.suppress(AssociationError, OSError):
            async with call as association:
                await association.c_find(query(), FIND)

    async def body() -> None:
        async with server.listen("127.0.0.1") as listening:
            users = [asyncio.ensure_future(use(listening.port)) for _ in range(3)]
            await running.wait()
            users.append(asyncio.ensure_future(use(listening.port)))
            await asyncio.sleep(0)
            if how == "raises":
                raise ValueError("the program fails")
            if how == "is interrupted":
                asyncio.get_running_loop().call_soon(interrupt)
                await asyncio.get_running_loop().create_future()
            await asyncio.gather(*users)

    if how == "returns":
        task = asyncio.ensure_future(body())
        await running.wait()
        assert not task.done()
    elif how == "is cancelled":
        task = asyncio.ensure_future(body())
        await running.wait()
        task.cancel()
        await asyncio.wait({task})
    else:
        await body()


@pytest.mark.parametrize("where", ["in memory", "on sockets"])
@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled", "is interrupted"])
def test_the_loop_closes(how, where, asyncio_said):
    network = testing.MemoryNetwork() if where == "in memory" else None
    expected = {"raises": ValueError, "is interrupted": Stop}.get(how)
    assert left_by(everything(network, how), expected, asyncio_said) == []


# --- the end of a listener, whatever comes in at that moment ----------------------------------------------------------


async def newcomer(how: str, rounds: int, contexts: tuple[ssl.SSLContext, ssl.SSLContext] | tuple[None, None]) -> None:
    """A user connects; so many rounds of the event loop later the listener ends."""
    server = aiodimse.Server(accept_called=True)

    async def use(port: int) -> None:
        options = {"contexts": [sop_class.Verification], "ssl": contexts[1]}
        with contextlib.suppress(AssociationError, OSError):
            async with aiodimse.connect("127.0.0.1", port, **options) as association:
                await association.c_echo()

    async with server.listen("127.0.0.1", ssl=contexts[0]) as listening:
        user = asyncio.ensure_future(use(listening.port))
        for _ in range(rounds):
            await asyncio.sleep(0)
        if how == "raises":
            raise ValueError("the program fails")
        if how == "is interrupted":
            asyncio.get_running_loop().call_soon(interrupt)
            await asyncio.get_running_loop().create_future()
        if how == "is cancelled":
            user.cancel()
            asyncio.current_task().cancel()
            await asyncio.sleep(0)


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    contexts = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(contexts[0])
    authority.configure_trust(contexts[1])
    return contexts


@pytest.mark.parametrize("secured", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled", "is interrupted"])
def test_the_listener_ends_while_a_connection_opens(how, secured, contexts, asyncio_said, request):
    """At whatever moment of accept, handshake and association."""
    expected = {"raises": ValueError, "is cancelled": asyncio.CancelledError, "is interrupted": Stop}.get(how)
    gc.freeze()  # what was there before is not looked at thirty times
    request.addfinalizer(gc.unfreeze)
    for rounds in range(30):
        left = left_by(newcomer(how, rounds, contexts if secured else (None, None)), expected, asyncio_said)
        if how == "is interrupted":
            # Between accept and transport a socket is in the hands of a task of asyncio alone, and a task that is
            # cancelled before its first step closes nothing: docs/topics/cancellation.md. Of one that is cancelled
            # later the debug mode of asyncio speaks.
            its_own = ("unclosed <socket.socket", "Error on transport creation for incoming connection")
            left = [words for words in left if not words.startswith(its_own)]
        assert left == [], f"after {rounds} rounds"


# --- programs that cancel every task of their loop, ours too ----------------------------------------------------------


REQUESTS = {
    "C-ECHO": (1, messages.CEchoRQ(message_id=7, affected_sop_class_uid=sop_class.Verification)),
    "C-FIND": (3, messages.CFindRQ(message_id=7, affected_sop_class_uid=FIND)),
    "C-GET": (5, messages.CGetRQ(message_id=7, affected_sop_class_uid=GET)),
    "C-MOVE": (7, messages.CMoveRQ(message_id=7, affected_sop_class_uid=MOVE, move_destination="X")),
    "C-STORE": (
        11,
        messages.CStoreRQ(message_id=7, affected_sop_class_uid=MR, affected_sop_instance_uid="1.2.3"),
    ),
}


@pytest.fixture
def busy_server(world, tmp_path) -> aiodimse.Server:
    server = world.server()

    @server.on_c_echo
    async def echo(request):
        await asyncio.sleep(0)
        return 0x0000

    @server.on_c_find
    async def find(request):
        for _ in range(3):
            await asyncio.sleep(0)
            yield query()

    @server.on_c_get
    @server.on_c_move
    async def retrieve(request):
        if isinstance(request, MoveRequest):
            yield "memory", 105
        yield 1
        yield str(get_testdata_file("CT_small.dcm"))

    @server.on_c_store
    async def store(request):
        await request.save(tmp_path, durable=False)
        return 0x0000

    return server


def serving(server: aiodimse.Server) -> asyncio.Task[None]:
    async def serve() -> None:
        async with server.listen("memory", 104) as listening:
            await listening.serve_forever()

    return asyncio.create_task(serve())


async def until_there_is(name: str, peer: testing.ScriptedPeer) -> None:
    """A task of this name, or an answer where it was too quick."""
    while not peer.has_pdu and name not in {task.get_name() for task in asyncio.all_tasks()}:  # noqa: ASYNC110
        await asyncio.sleep(0)


def cancel_all() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


@pytest.mark.parametrize("service", REQUESTS)
async def test_every_task_is_cancelled(world, busy_server, service, tmp_path):
    """The peer is told, the server comes to its end without waiting for a deadline, and nothing is left."""
    context_id, request = REQUESTS[service]
    destinations = await testing.ScriptedPeer.listen(world.network, 105)
    for rounds in range(25):
        server = serving(busy_server)
        await testing.settle()
        peer = await world.call()
        fetched = aiodimse.PresentationContext(CT, scu=False, scp=True)
        await peer.associate([sop_class.Verification, FIND, GET, MOVE, fetched, MR])
        identifier = b"\x08\x00\x52\x00CS\x06\x00STUDY "
        peer.send_message(context_id, request, None if service == "C-ECHO" else identifier)
        await until_there_is(f"aiodimse {request.name} 7", peer)
        for _ in range(rounds):
            await asyncio.sleep(0)
        cancel_all()
        assert isinstance((await peer.read_to_end())[-1], Abort), f"after {rounds} rounds"
        peer.abort_transport()
        while not destinations.empty():
            destinations.get_nowait().abort_transport()
        await asyncio.wait([server], timeout=60)
        assert server.cancelled(), f"after {rounds} rounds"
        await world.nothing_left()
        assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("rounds", range(4))
async def test_every_task_is_cancelled_while_a_hook_is_asked(world, rounds):
    hooked = world.server()

    @hooked.on_associate
    async def ask(request):
        await asyncio.get_running_loop().create_future()

    server = serving(hooked)
    await testing.settle()
    peer = await world.call()
    associating = asyncio.create_task(peer.associate([sop_class.Verification]))
    await until_there_is("aiodimse associate", peer)
    for _ in range(rounds):
        await asyncio.sleep(0)
    cancel_all()
    await peer.closed()
    peer.abort_transport()
    await asyncio.wait([server, associating], timeout=60)
    assert server.cancelled()


async def test_the_drain_of_a_task_that_is_cancelled_has_its_deadline(world, caplog):
    """Timeouts.server_drain, past which the handlers are cancelled and waited for."""
    hanging, ended = world.server(), []

    @hanging.on_c_echo
    async def hang(request):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.append(request)

    server = serving(hanging)
    await testing.settle()
    peer = await world.call()
    await peer.associate([sop_class.Verification])
    peer.send_message(*REQUESTS["C-ECHO"])
    await testing.settle()
    server.cancel()
    await world.clock.elapse(29)
    assert not server.done()
    assert not ended
    await world.clock.elapse(2)
    assert ended
    assert server.cancelled()
    assert "1 associations did not end within 30" in caplog.text
    peer.abort_transport()
