"""What the tables of the contract are played on: a live Server, the scripted peer that asks it, the scripted peer to
which a C-MOVE sends, and handlers that do what a list of steps says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from scripted import wire
from scripted.peer import Aborted, Closed, Message, ScriptedListener, ScriptedPeer, ScriptedPeerError, Silence

import aiodimse

HOST, TITLE = "127.0.0.1", "ARCHIVE"
ECHO, FIND, GET, MOVE, CT = 1, 3, 5, 7, 9
CT_UID = wire.CT_IMAGE_STORAGE
CONTEXTS = (
    (ECHO, wire.VERIFICATION, [wire.EXPLICIT_LE]),
    (FIND, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE]),
    (GET, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]),
    (MOVE, wire.STUDY_ROOT_MOVE, [wire.EXPLICIT_LE]),
    (CT, CT_UID, [wire.EXPLICIT_LE]),
)
IDENTIFIER = wire.identifier("STUDY")
FAILED_LIST = (0x0008, 0x0058)

COUNTERS = {wire.REMAINING, wire.COMPLETED, wire.FAILED, wire.WARNING}
# What every response has (PS3.7 9.3.2.2 and so on); what else one may have is said case by case.
ALWAYS = {
    wire.GROUP_LENGTH,
    wire.SOP_CLASS,
    wire.COMMAND_FIELD,
    wire.RESPONDED_TO,
    wire.DATA_SET_TYPE,
    wire.STATUS,
}

SERVICES = {
    "C-FIND": (FIND, wire.find_rq(message_id=7)),
    "C-GET": (GET, wire.get_rq(message_id=7)),
    "C-MOVE": (MOVE, wire.move_rq("DEST", message_id=7)),
}


# --- handlers ---------------------------------------------------------------------------------------------------------


@dataclass
class Do:
    """A step that is called with the script; what it returns is yielded."""

    what: Callable[[Script], Any]


class Pause:
    """A step that waits where the handler waits: in its own await."""


PAUSE = Pause()
DESTINATION = Do(lambda script: (HOST, script.port))
"""Yields the address of the scripted destination."""


class Script:
    """An async generator handler: an exception is raised, PAUSE waits for ever, anything else is yielded."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps
        self.port = 1
        self.requests: list[Any] = []
        self.closed: list[type[BaseException] | None] = []
        """How each call ended: the exception that ended it, None for its own end."""
        self.yielded = 0
        self.called = asyncio.Event()
        self.waiting = asyncio.Event()
        """Set while it waits at a PAUSE."""
        self.has_closed = asyncio.Event()

    async def __call__(self, request: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        self.called.set()
        error: BaseException | None = None
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if step is PAUSE:
                    self.waiting.set()
                    await asyncio.get_running_loop().create_future()
                value = step.what(self) if isinstance(step, Do) else step
                self.yielded += 1
                yield value
        except BaseException as caught:
            error = caught
            raise
        finally:
            self.closed.append(None if error is None else type(error))
            self.has_closed.set()


# --- what is sent -----------------------------------------------------------------------------------------------------


def match(number: int = 1) -> Dataset:
    dataset = Dataset()
    dataset.PatientID = str(number)
    return dataset


def image(number: int, uid: str = CT_UID) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = uid
    dataset.SOPInstanceUID = f"1.2.3.{number}"
    dataset.PatientID = str(number)
    return dataset


def images(count: int) -> list[Dataset]:
    return [image(number) for number in range(1, count + 1)]


def unencodable(dataset: Dataset) -> Dataset:
    """The same with a value that has no encoding: a letter where a number belongs."""
    dataset.add_new((0x0028, 0x0010), "US", "x")
    return dataset


def status_dataset(status: int | None, **more: Any) -> Dataset:
    dataset = Dataset()
    if status is not None:
        dataset.Status = status
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


# --- the move destination ---------------------------------------------------------------------------------------------


@dataclass
class Destination:
    """Plays a move destination: takes each association, answers each C-STORE with the next of the statuses.

    A status that is an exception ends the association so: Aborted by A-ABORT, Closed by closing.
    """

    statuses: Iterable[int | type[ScriptedPeerError]] = ()
    takes: bool = True
    """It accepts every context; otherwise none."""
    reject: tuple[int, int, int] | None = None
    window: tuple[int, int] | None = None
    stored: list[Message] = field(default_factory=list)
    asked: list[wire.Associate] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """How each association ended: released, aborted, closed."""
    proceed: asyncio.Event | None = None
    """Waited for before each answer, where there is one."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a C-STORE has arrived."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when an association has ended."""

    async def serve(self, listener: ScriptedListener) -> None:
        answers = iter(self.statuses)
        while True:
            peer = await listener.accept(timeout=60)
            self.ended.append(await self._association(peer, answers))
            self.over.set()

    def answer(self, rq: wire.Associate) -> list[tuple[int, int, str]] | None:
        return None if self.takes else [(context_id, 3, "") for context_id in rq.proposed]

    async def _association(self, peer: ScriptedPeer, answers: Any) -> str:
        rq = await peer.read_associate_rq()
        self.asked.append(rq)
        if self.reject is not None:
            await peer.send(wire.associate_rj(*self.reject))
            await peer.drain()
            return "rejected"
        await peer.accept(self.answer(rq), window=self.window)
        try:
            while True:
                message = await peer.read_message(timeout=60)
                self.stored.append(message)
                self.arrived.set()
                if self.proceed is not None:
                    await self.proceed.wait()
                status = next(answers, 0x0000)
                if status is Aborted:
                    await peer.send(wire.abort())
                    return "aborted by destination"
                if status is Closed:
                    await peer.close()
                    return "closed by destination"
                assert isinstance(status, int)
                await peer.respond(message, status)
        except Aborted:
            return "aborted"
        except Closed:
            return "closed"
        except Silence:
            raise
        except ScriptedPeerError:
            await peer.send(wire.RELEASE_RP)
            await peer.drain()
            return "released"


# --- the stage --------------------------------------------------------------------------------------------------------


class Stage:
    """A server under test, with a scripted peer associated to it."""

    def __init__(self, server: aiodimse.Server, port: int, peer: ScriptedPeer) -> None:
        self.server, self.port, self.peer = server, port, peer

    async def ask(self, service: str, data: bytes | None = IDENTIFIER, **more: Any) -> int:
        """Send the request of a service, with message ID 7."""
        context_id, rq = SERVICES[service]
        return await self.peer.request(context_id, rq, data)

    async def nothing_more(self) -> None:
        """The association lives, and nothing comes but what is asked for now."""
        (response,) = await self.peer.responses(await self.peer.request(ECHO, wire.echo_rq(60000)))
        assert (response.status, response.responded_to) == (0x0000, 60000)


def make_server(**more: Any) -> aiodimse.Server:
    return aiodimse.Server(**{"ae_title": TITLE, **more})


@asynccontextmanager
async def open_stage(
    server: aiodimse.Server,
    contexts: Sequence[wire.Context] = CONTEXTS,
    *,
    roles: Mapping[str, tuple[int, int]] | None = None,
    **more: Any,
) -> AsyncIterator[Stage]:
    """Listen, connect and associate; whatever is left at the end is closed."""
    async with server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        await peer.associate(
            contexts, **{"called": TITLE, "roles": {CT_UID: (0, 1)} if roles is None else roles, **more}
        )
        yield Stage(server, listening.port, peer)


@asynccontextmanager
async def open_destination(destination: Destination) -> AsyncIterator[int]:
    """The port on which the destination is served."""
    async with await ScriptedListener.open() as listener:
        task = asyncio.create_task(destination.serve(listener))
        try:
            yield listener.port
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()


@dataclass
class Played:
    """What came of a case."""

    responses: list[Message]
    stored: list[Message]
    script: Script
    destination: Destination

    @property
    def final(self) -> Message:
        return self.responses[-1]

    @property
    def pending(self) -> list[Message]:
        return self.responses[:-1]


def register(server: aiodimse.Server, service: str, handler: Any, *uids: str) -> None:
    """The handler for the SOP class of the stage that has this service."""
    decorator = {"C-FIND": server.on_c_find, "C-GET": server.on_c_get, "C-MOVE": server.on_c_move}[service]
    default = {"C-FIND": wire.STUDY_ROOT_FIND, "C-GET": wire.STUDY_ROOT_GET, "C-MOVE": wire.STUDY_ROOT_MOVE}[service]
    decorator(*(uids or (default,)))(handler)


async def play(
    service: str,
    script: Script,
    answers: Sequence[int | type[ScriptedPeerError]] = (),
    *,
    handler: Any = None,
    server: aiodimse.Server | None = None,
    destination: Destination | None = None,
    contexts: Sequence[wire.Context] = CONTEXTS,
    **more: Any,
) -> Played:
    """One request from its beginning to its final response; the association must live on, with nothing else in it.

    answers: the statuses of the sub-operations, 0x0000 where there are no more; the same for C-GET and C-MOVE.
    """
    server = server or make_server()
    register(server, service, handler or script)
    destination = destination or Destination(answers)
    statuses = iter(answers)
    async with open_destination(destination) as script.port, open_stage(server, contexts, **more) as stage:
        responses = await stage.peer.responses(
            await stage.ask(service),
            store=lambda _: next(statuses, 0x0000),  # type: ignore[arg-type,return-value]
        )
        await stage.nothing_more()
        await stage.peer.release()
        if destination.asked:
            async with asyncio.timeout(60):
                await destination.over.wait()
        return Played(responses, stage.peer.stored or destination.stored, script, destination)


# --- what must hold of every conversation -----------------------------------------------------------------------------


def check_find(played: Played, statuses: Sequence[int], comment: str | None = None) -> None:
    """The statuses, and which elements each response has (PS3.7 9.3.2.2, PS3.4 C.4.1.1.4)."""
    assert [response.status for response in played.responses] == list(statuses)
    for response in played.responses:
        assert (response.context_id, response.field, response.responded_to) == (FIND, 0x8020, 7)
        assert response.sop_class == wire.STUDY_ROOT_FIND
    for response in played.pending:
        assert response.data, "a Pending response has an Identifier"
        assert set(response) == ALWAYS
    assert played.final.data is None, "the final response has none"
    assert set(played.final) - {wire.OFFENDING_ELEMENT, wire.ERROR_ID} == ALWAYS | (
        {wire.ERROR_COMMENT} if comment else set()
    )
    assert played.final.comment == comment


def check_retrieve(
    played: Played,
    service: str,
    number: int,
    status: int,
    counters: tuple[int | None, int, int, int],
    failed: Sequence[str] = (),
    comment: str | None = None,
) -> None:
    """The final response, and the counters and elements of all (PS3.7 9.3.3.2, 9.3.4.2; PS3.4 C.4.2.1.4-6)."""
    final, contexts = played.final, {"C-GET": (GET, 0x8010), "C-MOVE": (MOVE, 0x8021)}
    context_id, command_field = contexts[service]
    for response in played.responses:
        assert (response.context_id, response.field, response.responded_to) == (context_id, command_field, 7)
        assert response.sop_class in (wire.STUDY_ROOT_GET, wire.STUDY_ROOT_MOVE)
    last = number
    for response in played.pending:
        assert response.status == 0xFF00
        assert set(response) == ALWAYS | COUNTERS
        assert response.data is None, "a Pending response has no data set"
        remaining = response.counters[0]
        assert remaining is not None
        assert sum(response.counters) == number  # type: ignore[arg-type]
        assert 0 < remaining < last, "one after each sub-operation but the last"
        last = remaining
    assert (final.status, final.counters) == (status, counters)
    assert set(final) - {wire.OFFENDING_ELEMENT, wire.ERROR_ID} == (
        ALWAYS
        | COUNTERS - (set() if status == 0xFE00 else {wire.REMAINING})
        | ({wire.ERROR_COMMENT} if comment else set())
    )
    assert final.comment == comment
    assert failed_list(final) == list(failed)


def failed_list(final: Message, transfer_syntax: str = wire.EXPLICIT_LE) -> list[str]:
    """Failed SOP Instance UID List; where there is a data set, it has that and nothing else."""
    if final.data is None:
        return []
    dataset = wire.read_dataset(final.data, transfer_syntax)
    assert set(dataset) == {FAILED_LIST}
    return dataset[FAILED_LIST].decode("ascii").rstrip("\0").split("\\")


def patient_ids(responses: Iterable[Message]) -> list[str]:
    return [wire.read_dataset(r.data or b"")[0x0010, 0x0020].decode().strip() for r in responses]
