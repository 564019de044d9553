"""C-MOVE to ourselves: which instance comes to which call, and what becomes of late, foreign and missing ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import aiodimse
from aiodimse import sop_class, testing

MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT = sop_class.CTImageStorage
ARCHIVE, ME = 104, 105


def images(count: int, patient: str) -> list[Dataset]:
    """CT images of one patient."""
    found = []
    for _ in range(count):
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientID = CT, generate_uid(), patient
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found.append(dataset)
    return found


def identifier(patient: str = "1") -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel, dataset.PatientID = "STUDY", patient
    return dataset


class Stage:
    """An archive, our receiver, and associations with the archive, in memory."""

    def __init__(self) -> None:
        self.environment = aiodimse.Environment(clock=testing.ManualClock(), network=testing.MemoryNetwork())
        self.archive = aiodimse.Server(ae_title="ARCHIVE", environment=self.environment)
        self.receiver = aiodimse.Server(ae_title="ME", environment=self.environment)
        self.kept = {patient: images(5, patient) for patient in "123"}
        self.gate: asyncio.Event | None = None

        @self.archive.on_c_move(MOVE)
        async def move(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
            found = self.kept[request.identifier.PatientID]
            yield "memory", ME
            yield len(found)
            for image in found:
                if self.gate is not None:
                    await self.gate.wait()
                yield image

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[Stage]:
        async with self.archive.listen(port=ARCHIVE), self.receiver.listen(port=ME):
            yield self

    def connect(self, **options: Any) -> Any:
        options = {"ae_title": "ME", "called_ae_title": "ARCHIVE", "environment": self.environment, **options}
        return aiodimse.connect("memory", ARCHIVE, **{"contexts": [MOVE], **options})

    def move(self, association: aiodimse.Association, patient: str = "1") -> aiodimse.ReceivedMove:
        return association.c_move(identifier(patient), MOVE, destination="ME", receiver=self.receiver)

    async def uids(self, association: aiodimse.Association, patient: str) -> list[str]:
        found = []
        async with self.move(association, patient) as move:
            async for instance in move:
                dataset = await instance.dataset()
                assert dataset.PatientID == patient
                found.append(instance.sop_instance_uid)
        assert move.status == 0x0000
        return found

    def expected(self, patient: str) -> list[str]:
        return [image.SOPInstanceUID for image in self.kept[patient]]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage().playing() as stage:
        yield stage


async def test_instances_come_to_the_call_that_asked_for_them(stage: Stage) -> None:
    """Without a store handler: the receiver accepts storage while a move is open."""
    async with stage.connect() as association:
        assert await stage.uids(association, "1") == stage.expected("1")
        assert await stage.uids(association, "2") == stage.expected("2")
    assert not stage.receiver.open_moves


async def test_three_at_once_under_one_ae_title(stage: Stage) -> None:
    """Their associations would count their Message IDs alike."""
    async with stage.connect() as one, stage.connect() as two, stage.connect() as three:
        moves = (stage.uids(one, "1"), stage.uids(two, "2"), stage.uids(three, "3"))
        assert await asyncio.gather(*moves) == [stage.expected(patient) for patient in "123"]


async def test_many_times_at_once_no_message_id_is_taken_twice(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([7, 7, 7, 9, 9, 7, 11])
    monkeypatch.setattr("random.randint", lambda low, high: next(numbers))
    stage.gate = asyncio.Event()
    async with stage.connect() as one, stage.connect() as two, stage.connect() as three:
        moves = [stage.move(association) for association in (one, two, three)]
        for move in moves:
            await move.start()
        assert [move.message_id for move in moves] == [7, 9, 11]
        stage.gate.set()
        for move in moves:
            assert len([await instance.discard() async for instance in move]) == 5


async def test_a_message_id_that_another_operation_has_taken_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move waits for its place in the operations window, and the operation before it gets the Message ID."""
    monkeypatch.setattr("random.randint", lambda low, high: 3)
    gates = {1: asyncio.Event(), 2: asyncio.Event(), 3: asyncio.Event()}

    @stage.archive.on_c_echo
    async def echo(request: aiodimse.EchoRequest) -> int:
        await gates[request.message_id].wait()
        return 0x0000

    echoes = [sop_class.Verification, MOVE]
    async with stage.connect(contexts=echoes, operations_window=2) as association:
        others = [asyncio.create_task(association.c_echo()) for _ in range(3)]
        await testing.settle()
        moving = asyncio.create_task(stage.uids(association, "1"))
        await testing.settle()
        for number in (1, 2):
            gates[number].set()
            await testing.settle()
        assert await moving == stage.expected("1")
        gates[3].set()
        await asyncio.gather(*others)


async def test_awaited_it_drops_what_comes_and_has_the_counters(stage: Stage) -> None:
    async with stage.connect() as association:
        move = stage.move(association)
        response = await move
    assert response.status == 0xA702  # nothing was taken: each sub-operation was answered 0110
    assert move.progress is not None
    assert move.progress.failed == 5


async def test_a_store_of_no_open_move_goes_to_the_store_handler(stage: Stage) -> None:
    stored: list[tuple[str | None, int | None]] = []

    @stage.receiver.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.discard()
        stored.append((request.move_originator_ae_title, request.move_originator_message_id))
        return 0x0000

    stage.gate = asyncio.Event()
    async with stage.connect() as association, stage.move(association) as move:
        async with aiodimse.connect(
            "memory", ME, contexts=[CT], called_ae_title="ME", ae_title="OTHER", environment=stage.environment
        ) as other:
            foreign = images(1, "9")[0]
            for title, message_id in (("ME", move.message_id % 65535 + 1), ("YOU", move.message_id)):
                response = await other.c_store(
                    foreign, move_originator_ae_title=title, move_originator_message_id=message_id
                )
                assert response.status == 0x0000
        stage.gate.set()
        assert len([await instance.discard() async for instance in move]) == 5
    assert stored == [("ME", move.message_id % 65535 + 1), ("YOU", move.message_id)]


@pytest.mark.parametrize("calling", ["ARCHIVE", "STRANGER"])
async def test_a_peer_that_names_no_originator(stage: Stage, calling: str) -> None:
    """Paired by its AE title or address where one move from it is open, and not paired where two are."""
    stage.gate = asyncio.Event()
    image = images(1, "1")[0]
    async with (
        stage.connect() as association,
        stage.move(association) as move,
        aiodimse.connect(
            "memory", ME, contexts=[CT], called_ae_title="ME", ae_title=calling, environment=stage.environment
        ) as sender,
    ):
        storing = asyncio.create_task(sender.c_store(image))
        instance = await anext(move)
        assert instance.sop_instance_uid == image.SOPInstanceUID
        await instance.discard()
        async with stage.connect() as second, stage.move(second):
            next_one = asyncio.create_task(anext(move))
            assert (await storing).status == 0x0000
            assert (await sender.c_store(images(1, "1")[0])).status == 0x0122  # and no store handler
        stage.gate.set()
        await (await next_one).discard()
        assert len([await instance.discard() async for instance in move]) == 4


async def counted_before_it_came(
    stage: Stage, completed: int, *, most: int | None = None
) -> tuple[asyncio.Task[list[str]], Any, Any]:
    """A move of which the final response has come, with so many completed, and no instance yet. `most` are taken."""
    network = testing.MemoryNetwork()
    archives = await testing.ScriptedPeer.listen(network, ARCHIVE)
    environment = aiodimse.Environment(clock=stage.environment.clock, network=network)
    opening = asyncio.create_task(_opened(stage.connect(environment=environment)))
    archive = await archives.get()
    await archive.accept()
    association = await opening
    move = stage.move(association)
    taking = asyncio.create_task(_take_all(move, most))
    context_id, request, _ = await archive.read_message()
    counters = {
        "number_of_completed_suboperations": completed,
        "number_of_failed_suboperations": 0,
        "number_of_warning_suboperations": 0,
    }
    archive.send_message(context_id, request.response(0x0000, **counters))  # type: ignore[attr-defined]
    await testing.settle()
    return taking, move, association


async def _opened(connecting: Any) -> aiodimse.Association:
    association: aiodimse.Association = await connecting
    return association


async def test_what_was_counted_is_waited_for(stage: Stage) -> None:
    """The final response overtakes the instances, which another association brings; one of them comes twice."""
    taking, move, association = await counted_before_it_came(stage, 2)
    assert not taking.done()
    async with aiodimse.connect(
        "memory", ME, contexts=[CT], called_ae_title="ME", ae_title="ARCHIVE", environment=stage.environment
    ) as sender:
        first, second = images(2, "1")
        origin = {"move_originator_ae_title": "ME", "move_originator_message_id": move.message_id}
        for image in (first, first, second):
            assert not taking.done()
            assert (await sender.c_store(image, **origin)).status == 0x0000
    assert await taking == [first.SOPInstanceUID, first.SOPInstanceUID, second.SOPInstanceUID]
    assert (move.status, move.missing) == (0x0000, 0)
    association.abort()


async def test_what_was_counted_and_does_not_come_is_not_waited_for_for_ever(stage: Stage) -> None:
    taking, move, association = await counted_before_it_came(stage, 1)
    clock = stage.environment.clock
    assert isinstance(clock, testing.ManualClock)
    await clock.elapse(4.9)
    assert not taking.done()
    await clock.elapse(0.2)  # Timeouts.move_settle
    assert await taking == []
    assert (move.status, move.missing) == (0x0000, 1)
    assert not stage.receiver.open_moves
    association.abort()


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_move_that_is_iterated_no_more_is_open_until_it_would_have_settled(stage: Stage, is_lost: bool) -> None:
    """Else it would take the instances that its peer sends on its own, and nobody would answer these."""
    taking, move, association = await counted_before_it_came(stage, 2, most=1)
    async with aiodimse.connect(
        "memory", ME, contexts=[CT], called_ae_title="ME", ae_title="ARCHIVE", environment=stage.environment
    ) as sender:
        origin = {"move_originator_ae_title": "ME", "move_originator_message_id": move.message_id}
        storing = asyncio.create_task(sender.c_store(images(1, "1")[0], **origin))
        assert len(await taking) == 1
        if is_lost:
            association.abort()
        assert len(stage.receiver.open_moves) == 1
        clock = stage.environment.clock
        assert isinstance(clock, testing.ManualClock)
        await clock.elapse(5)  # Timeouts.move_settle
        assert not stage.receiver.open_moves
        sender.abort()
        with pytest.raises(aiodimse.AssociationAborted):
            await storing
    association.abort()


async def _take_all(move: aiodimse.ReceivedMove, most: int | None = None) -> list[str]:
    found: list[str] = []
    async for instance in move:
        await instance.discard()
        found.append(instance.sop_instance_uid)
        if len(found) == most:
            break
    return found


async def test_leaving_early_cancels_and_refuses_what_still_comes(stage: Stage) -> None:
    async with stage.connect() as association:
        async with stage.move(association) as move:
            await (await anext(move)).discard()
        assert association.open_operations == 1
        assert len(stage.receiver.open_moves) == 1
    assert not stage.receiver.open_moves, "the release waited for its final response"


@pytest.mark.parametrize("turns", range(0, 120, 3))
async def test_cancelled_anywhere_it_leaves_nothing_behind(turns: int) -> None:
    async with Stage().playing() as stage, stage.connect() as association:
        task = asyncio.create_task(stage.uids(association, "1"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await testing.settle()
        await stage.uids(association, "2") if association.is_open and not association.open_operations else None
    assert not stage.receiver.open_moves


async def test_a_move_whose_association_is_lost_is_not_open_any_more(stage: Stage) -> None:
    """Else the next one of a peer that names no originator could not be told from it."""
    stage.gate = asyncio.Event()
    async with stage.connect() as association:
        moving = asyncio.create_task(stage.uids(association, "1"))
        await testing.settle()
        assert len(stage.receiver.open_moves) == 1
        association.abort()
        with pytest.raises(aiodimse.AssociationAborted):
            await moving
        assert not stage.receiver.open_moves
    stage.gate.set()
