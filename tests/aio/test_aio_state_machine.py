"""A user and a provider joined in memory, driven at random: requests, yields, cancels, releases, aborts, exceptions.

After each step: one final per request, counters that add up, no response after a final (watcher.py), handlers closed
where their association or operation has ended, message IDs free again. At the end nothing is left: no task, no
connection, no timer. HYPOTHESIS_PROFILE=deep walks 100,000 steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aio.watcher import Watcher
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import Instance, datasets, sop_class, testing
from aiodimse.errors import AiodimseError
from aiodimse.services.response import EncodedDataset
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT, MR = sop_class.CTImageStorage, sop_class.MRImageStorage  # CT for C-GET, MR for C-STORE
CONTEXTS = [sop_class.Verification, FIND, GET, MOVE, aiodimse.PresentationContext(MR)]
SYNTAX = str(ExplicitVRLittleEndian)
DESTINATION, NOBODY = ("memory", 104), ("memory", 105)
WINDOW = 3
END = object()


def dataset(**elements: str) -> Dataset:
    found = Dataset()
    for keyword, value in elements.items():
        setattr(found, keyword, value)
    return found


def instance(uid: str) -> EncodedDataset:
    return EncodedDataset(datasets.encode_dataset(dataset(SOPClassUID=CT, SOPInstanceUID=uid), SYNTAX), SYNTAX)


class InMemory(Instance):
    """An instance to send that no thread has to read."""

    async def _stream(self) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(1000)

    def stream(self) -> AsyncIterator[bytes]:
        return self._stream()


class Script:
    """One handler, which does what it is told."""

    def __init__(self, request: Any, stubborn: bool) -> None:
        self.request, self.stubborn = request, stubborn
        self.told: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.closed = False
        self.let_go = asyncio.Event()

    async def next(self) -> Any:
        try:
            what, value = await self.told.get()
        except asyncio.CancelledError:
            if self.stubborn:
                await self.let_go.wait()
            raise
        if what == "raise":
            raise value
        return value


class Operation:
    """One operation of the user."""

    def __init__(self, kind: str, slow: bool, cancel: bool, stubborn: bool, number: Any, destination: Any) -> None:
        self.kind, self.slow, self.cancel_at_once, self.stubborn = kind, slow, cancel, stubborn
        self.number, self.destination = number, destination
        self.operation: Any = None
        self.task: asyncio.Task[None]
        self.take = asyncio.Semaphore(0)
        self.outcome: Any = None


MATCHES = st.sampled_from(
    [dataset(PatientName="A^B"), (0xFF01, dataset(PatientID="1")), (0xFF00, dataset()), dataset(StudyDate="20200101")]
)
# No path among them: reading it takes a thread, and time that is not ours.
NONSENSE = st.sampled_from([None, (1, 2, 3), 5.5, object(), dataset(PatientID="1"), (0xFF00, None), 0x1_0000, True])
INSTANCES = st.sampled_from([*map(instance, ("1.2.3", "1.2.4")), InMemory(CT, "1.2.5", SYNTAX)])
ERRORS = st.sampled_from([ValueError("no"), aiodimse.DIMSEFailure(0xA900, "no"), asyncio.CancelledError(), OSError()])
FINALS = st.sampled_from([0x0000, 0xFE00, 0xA700, 0xB123, 0xC123])
NUMBERS = st.sampled_from([0, 1, 2, 3, 3, 3, 70000, -1, "three", None, True])
DESTINATIONS = st.sampled_from([DESTINATION] * 5 + [NOBODY, None, ("memory",), 7])


class Association(RuleBasedStateMachine):
    steps = 0
    """In all."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.faults: list[str] = []
        self.loop.set_exception_handler(lambda loop, context: self.faults.append(str(context)))
        self.log = logging.Handler(logging.ERROR)
        self.log.emit = lambda record: (  # type: ignore[method-assign]
            self.faults.append(record.getMessage()) if record.exc_info else None
        )
        logging.getLogger("aiodimse").addHandler(self.log)
        self.clock, self.network, self.watcher = testing.ManualClock(), testing.MemoryNetwork(), Watcher()
        self.scripts: list[Script] = []
        self.operations: list[Operation] = []
        self.planned: dict[str, list[Operation]] = {"C-FIND": [], "C-GET": [], "C-MOVE": []}
        self.association: Any = None
        self.releases: list[asyncio.Task[None]] = []

    def run(self, coroutine: Any) -> Any:
        """Run it without time going by: it must not have to wait."""
        task = self.loop.create_task(coroutine)
        self.loop.run_until_complete(testing.settle())
        assert task.done(), f"{task} waits"
        return task.result()

    def settle(self) -> None:
        self.loop.run_until_complete(testing.settle())

    def elapse(self, seconds: float) -> None:
        self.loop.run_until_complete(self.clock.elapse(seconds))

    @initialize(split=st.sampled_from([None, 1, 50, 1000]))
    def start(self, split: int | None) -> None:
        self.network.split = None if split is None else lambda there: split
        server = self.server = aiodimse.Server(
            environment=aiodimse.Environment(self.clock, self.network),
            operations_window=WINDOW,
            accept_called=True,
            trace=self.watcher.trace,
        )
        server.on_c_find(self.find)
        server.on_c_get(self.retrieve)
        server.on_c_move(self.retrieve)
        server.on_c_store(self.store)
        self.archive = aiodimse.Server(environment=aiodimse.Environment(self.clock, self.network), accept_called=True)
        self.archive.on_c_store(self.store)
        self.listening = server.listen("memory", 103)
        self.archiving = self.archive.listen("memory", 104)
        self.run(self.listening.__aenter__())
        self.run(self.archiving.__aenter__())
        self.connect()

    # --- handlers -----------------------------------------------------------------------------------------------------

    def script(self, request: Any) -> tuple[Script, Operation | None]:
        plan = self.planned[request.message.service]
        operation = plan.pop(0) if plan else None
        script = Script(request, operation is not None and operation.stubborn)
        self.scripts.append(script)
        return script, operation

    async def find(self, request: Any) -> AsyncIterator[Any]:
        script, _ = self.script(request)
        try:
            while (value := await script.next()) is not END:
                yield value
        finally:
            script.closed = True

    async def retrieve(self, request: Any) -> AsyncIterator[Any]:
        script, operation = self.script(request)
        try:
            if request.message.service == "C-MOVE":
                yield operation.destination if operation else DESTINATION
            number = operation.number if operation else 3
            if (said := self.watcher.conversations[-1].find(request.message_id)) is not None:
                said.expected = number if type(number) is int and 0 <= number < 65536 else None
            yield number
            while (value := await script.next()) is not END:
                yield value
        finally:
            script.closed = True

    async def store(self, request: Any) -> int:
        await request.discard()
        return 0x0000

    # --- the user -----------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        self.planned = {"C-FIND": [], "C-GET": [], "C-MOVE": []}
        self.association = self.run(
            aiodimse.connect(
                "memory",
                103,
                contexts=CONTEXTS,
                storage=[CT],
                environment=aiodimse.Environment(self.clock, self.network),
                operations_window=WINDOW,
            ).__aenter__()
        )

    async def use(self, operation: Operation) -> None:
        association, kind = self.association, operation.kind
        try:
            if kind == "C-ECHO":
                operation.outcome = (await association.c_echo()).status
                return
            if kind == "C-STORE":
                operation.outcome = (await association.c_store(InMemory(MR, "1.9", SYNTAX))).status
                return
            query = dataset(QueryRetrieveLevel="STUDY")
            if kind == "C-FIND":
                call = association.c_find(query, FIND)
            elif kind == "C-GET":
                call = association.c_get(query, GET)
            else:
                call = association.c_move(query, MOVE, destination="DEST")
            async with call as responses:
                operation.operation = responses
                if operation.cancel_at_once:
                    await responses.cancel()
                async for item in responses:
                    if operation.slow:
                        await operation.take.acquire()
                    if kind == "C-GET":
                        await item.discard()
            operation.outcome = responses.status
        except AiodimseError as error:
            operation.outcome = error

    @precondition(lambda self: self.association.is_open and len(self.operations) < 8)
    @rule(
        kind=st.sampled_from(["C-ECHO", "C-STORE", "C-FIND", "C-FIND", "C-GET", "C-GET", "C-MOVE", "C-MOVE"]),
        slow=st.booleans(),
        cancel=st.sampled_from([False, False, False, True]),
        stubborn=st.sampled_from([False, False, False, True]),
        number=NUMBERS,
        destination=DESTINATIONS,
    )
    def ask(self, kind: str, slow: bool, cancel: bool, stubborn: bool, number: Any, destination: Any) -> None:
        operation = Operation(kind, slow, cancel, stubborn, number, destination)
        if kind in self.planned and not cancel:  # one that is cancelled at once has no handler
            self.planned[kind].append(operation)
        operation.task = self.loop.create_task(self.use(operation))
        self.operations.append(operation)

    @precondition(lambda self: self.operations)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        operation = data.draw(st.sampled_from(self.operations))
        if operation.operation is not None and self.association.is_open:
            self.releases.append(self.loop.create_task(self.quietly(operation.operation.cancel())))

    @precondition(lambda self: self.operations)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        data.draw(st.sampled_from(self.operations)).task.cancel()

    @precondition(lambda self: self.operations)
    @rule(data=st.data())
    def take(self, data: Any) -> None:
        data.draw(st.sampled_from(self.operations)).take.release()

    # --- what handlers do ---------------------------------------------------------------------------------------------

    def tell(self, data: Any, what: str, value: Any) -> None:
        data.draw(st.sampled_from([s for s in self.scripts if not s.closed])).told.put_nowait((what, value))

    has_script = precondition(lambda self: any(not script.closed for script in self.scripts))

    @has_script
    @rule(data=st.data(), value=st.one_of(MATCHES, INSTANCES, INSTANCES))
    def yields(self, data: Any, value: Any) -> None:
        self.tell(data, "yield", value)

    @has_script
    @rule(data=st.data(), value=st.one_of(NONSENSE, FINALS))
    def yields_a_final_or_nonsense(self, data: Any, value: Any) -> None:
        self.tell(data, "yield", value)

    @has_script
    @rule(data=st.data(), error=ERRORS)
    def raises(self, data: Any, error: BaseException) -> None:
        self.tell(data, "raise", error)

    @has_script
    @rule(data=st.data())
    def ends(self, data: Any) -> None:
        self.tell(data, "yield", END)

    @precondition(lambda self: any(not script.closed and script.stubborn for script in self.scripts))
    @rule()
    def lets_go(self) -> None:
        for script in self.scripts:
            script.let_go.set()

    # --- the association, the network and time ------------------------------------------------------------------------

    async def quietly(self, awaitable: Any) -> None:
        with contextlib.suppress(AiodimseError):
            await awaitable

    @precondition(lambda self: self.association.is_open)
    @rule()
    def release(self) -> None:
        self.releases.append(self.loop.create_task(self.quietly(self.association.release())))

    @precondition(lambda self: self.association.is_open)
    @rule(how=st.sampled_from(["user", "provider", "vanishes", "provider vanishes"]))
    def abort(self, how: str) -> None:
        provider = [c for c in self.listening._acceptor._all if c.is_open]
        if how == "user":
            self.loop.call_soon(self.association.abort)
        elif how == "vanishes":
            self.loop.call_soon(self.association._endpoint.connection.drop)
        elif provider:
            self.loop.call_soon(provider[0].abort if how == "provider" else provider[0].connection.drop)

    @precondition(lambda self: not self.association.is_open)
    @rule()
    def connect_again(self) -> None:
        self.connect()

    @rule(seconds=st.sampled_from([0.5, 6, 11, 61]))
    def time_passes(self, seconds: float) -> None:
        self.elapse(seconds)

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        if self.association is None:
            return
        Association.steps += 1
        self.settle()
        assert not self.faults, self.faults
        assert not self.watcher.faults, self.watcher.faults
        for operation in self.operations:
            if operation.task.done() and not operation.task.cancelled():
                operation.task.result()
        self.operations = [operation for operation in self.operations if not operation.task.done()]
        alive = [c for c in self.listening._acceptor._all if c.error is None]
        open_here = {id(o.request): o for c in alive for o in c.engine.router.performed.values()}
        for script in self.scripts:
            if id(script.request.message) not in open_here:
                assert script.closed or script.stubborn, f"{script.request} has ended and its handler runs"
        if alive:  # what is open on the wire is open for both, and nothing else is
            said = self.watcher.conversations[-1].open
            on_wire = {message_id for way, message_id in said if way == ">"}
            assert on_wire == {operation.message_id for operation in open_here.values()}
            assert on_wire == set(self.association._endpoint.engine.router.invoked)
        self.scripts = [script for script in self.scripts if not script.closed]
        ours = self.association._endpoint
        if ours.error is not None:
            for operation in self.operations:
                assert operation.slow, f"{operation.kind} is awaited though its association has ended"
            assert len(ours.invoker) == 0

    def teardown(self) -> None:
        try:
            if self.association is not None:
                self.finish()
        finally:
            logging.getLogger("aiodimse").removeHandler(self.log)
            self.loop.close()

    def finish(self) -> None:
        for operation in self.operations:
            operation.slow = False
            for _ in range(100):
                operation.take.release()
        for _ in range(10):  # those that waited for a place come after the others
            for script in self.scripts:
                script.let_go.set()
                script.told.put_nowait(("yield", END))
            self.settle()
        self.elapse(200)
        if self.association.is_open:
            for operation in self.operations:
                operation.task.cancel()
            self.settle()
            self.elapse(200)
        for listening in (self.listening, self.archiving):
            leaving = self.loop.create_task(listening.__aexit__(None, None, None))
            self.settle()
            self.elapse(100)
            assert leaving.done()
            leaving.result()
        self.loop.call_soon(self.association.abort)
        self.settle()
        assert not self.faults, self.faults
        assert not self.watcher.faults, self.watcher.faults
        assert all(script.closed for script in self.scripts)
        left = asyncio.all_tasks(self.loop)
        assert not left, [f"{task.get_name()}: {task.get_stack()}" for task in left]
        assert self.network.open == []
        assert [entry[2] for entry in self.clock._heap if not entry[2].done] == []
        for endpoint in (self.association._endpoint,):
            assert len(endpoint.tasks) == len(endpoint.invoker) == len(endpoint.performer) == 0


@pytest.fixture(autouse=True)
def _steps(record_property):
    before = Association.steps
    yield
    record_property("steps", Association.steps - before)


if sys.flags.dev_mode:  # make strict: asyncio's debug mode looks at the stack for each callback
    Association.TestCase.settings = settings(max_examples=30)
TestAssociation = pytest.mark.timeout(0)(Association.TestCase)  # the deep profile takes its time
