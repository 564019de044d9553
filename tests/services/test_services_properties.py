"""Whatever a handler yields, returns or raises: one final response, the last, and counters that add up.

The peer is scripted, in memory: it sends one request, answers sub-operations with statuses that are drawn too, cancels
where that is drawn, and releases. Nothing may come between the final response and the A-RELEASE-RP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.datasets import encode_dataset
from aiodimse.dimse import messages
from aiodimse.pdu import ReleaseRP, ReleaseRQ

EXPLICIT = "1.2.840.10008.1.2.1"
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT = sop_class.CTImageStorage
STILL_PENDING = (0xFF00, 0xFF01)


@dataclass(frozen=True)
class Raise:
    """A step of a handler that raises."""

    error: BaseException


def dataset(**values: Any) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def image(number: int) -> Dataset:
    return dataset(SOPClassUID=CT, SOPInstanceUID=f"1.2.3.{number}", PatientID="1")


STATUSES = st.sampled_from(
    [0x0000, 0xFF00, 0xFF01, 0xFE00, 0x0001, 0xB000, 0xA700, 0xC123, 0x0110, 0x1234, -1, 1 << 16]
)
PAYLOADS = st.one_of(
    st.builds(image, st.integers(1, 9)),
    st.sampled_from(
        [
            None,
            Dataset(),
            dataset(PatientID="1"),
            dataset(PatientName="\udcff"),  # cannot be encoded
            dataset(SOPClassUID="1.2.3", SOPInstanceUID="1.2.4"),  # no presentation context for it
            aiodimse.EncodedDataset(encode_dataset(image(1), EXPLICIT), EXPLICIT),
            aiodimse.EncodedDataset(b"noise", EXPLICIT),
            "/no/such/file.dcm",
        ]
    ),
)
RAISED = st.sampled_from(
    [
        Raise(ValueError("a patient's name")),
        Raise(aiodimse.DIMSEFailure(aiodimse.Status(0xC123))),
        Raise(aiodimse.DIMSEFailure(aiodimse.Status(0xFF00))),
        Raise(aiodimse.DIMSEFailure(aiodimse.Status(0xFF01))),
        Raise(asyncio.CancelledError()),
        Raise(StopAsyncIteration()),
        Raise(OSError(28, "No space left on device")),
    ]
)
STATUS_DATASETS = st.sampled_from([0x0000, 0xFF00, 0xA700]).map(lambda code: dataset(Status=code, ErrorComment="why"))
ANYTHING = st.one_of(
    STATUSES,
    PAYLOADS,
    RAISED,
    STATUS_DATASETS,
    st.tuples(STATUSES, PAYLOADS),
    st.sampled_from([True, 1.5, b"bytes", object(), (), (0xFF00,), [0xFF00, None]]),
)
STEPS = st.lists(ANYTHING, max_size=6)
ANNOUNCED = st.one_of(st.integers(0, 5), ANYTHING)
CANCEL_AFTER = st.none() | st.integers(0, 4)


@dataclass
class Conversation:
    """What came for one request."""

    responses: list[messages.Response] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    """The statuses that sub-operations on this association were answered with."""

    @property
    def final(self) -> messages.Response:
        return self.responses[-1]


async def _steps(steps: list[Any]) -> Any:
    for step in steps:
        if isinstance(step, Raise):
            raise step.error
        yield step


async def _single(answer: Any) -> Any:
    if isinstance(answer, Raise):
        raise answer.error
    return answer


async def converse(
    register: Callable[[aiodimse.Server], None],
    uid: str,
    request: messages.Request,
    data: bytes | None,
    *,
    cancel_after: int | None = None,
    store_statuses: list[int] | None = None,
    network: testing.MemoryNetwork | None = None,
) -> Conversation:
    """Send one request, read to its final response, release, and see that nothing else comes."""
    network = network or testing.MemoryNetwork()
    server = aiodimse.Server(environment=aiodimse.Environment(network=network))
    register(server)
    said, statuses = Conversation(), list(store_statuses or [])
    async with server.listen("memory", 104), asyncio.timeout(20):  # of real time: for what never comes
        peer = await testing.ScriptedPeer.call(network, 104)
        await peer.associate([uid, aiodimse.PresentationContext(CT, scp=True)])
        peer.send_message(1, request, data)
        heard = 0
        while not said.responses or said.final.status in STILL_PENDING:
            if heard == cancel_after:
                peer.send_message(1, messages.CCancelRQ(message_id_being_responded_to=1))
            heard += 1
            context_id, message, _ = await peer.read_message()
            if isinstance(message, messages.CStoreRQ):
                status = statuses.pop(0) if statuses else 0x0000
                said.stored.append(status)
                peer.send_message(context_id, message.response(status))
            else:
                assert isinstance(message, messages.Response)
                assert message.message_id_being_responded_to == 1
                said.responses.append(message)
        peer.send(ReleaseRQ())
        await peer.expect(ReleaseRP)
        peer.abort_transport()
    return said


def check_counters(said: Conversation, announced: int) -> None:
    """Each response accounts for every sub-operation announced, and none is taken back."""
    before = (0, 0, 0)
    for response in said.responses:
        assert isinstance(response, messages.SuboperationsResponse)
        remaining = response.number_of_remaining_suboperations
        counted = (
            response.number_of_completed_suboperations,
            response.number_of_failed_suboperations,
            response.number_of_warning_suboperations,
        )
        assert None not in counted
        assert all(now >= then for now, then in zip(counted, before, strict=True))
        assert sum(counted) + (remaining or 0) == announced
        assert (remaining is None) == (response is said.final and response.status != 0xFE00)
        before = counted
    if said.final.status == 0x0000:
        assert before[1:] == (0, 0)


def announced_by(first: Any) -> int:
    """The number of sub-operations that a first yield announces; none where it announces no number."""
    return first if isinstance(first, int) and not isinstance(first, bool) and 0 <= first <= 0xFFFF else 0


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@given(STEPS, CANCEL_AFTER)
def test_find(steps: list[Any], cancel_after: int | None) -> None:
    def register(server: aiodimse.Server) -> None:
        @server.on_c_find
        async def find(request: aiodimse.FindRequest) -> Any:
            async for step in _steps(steps):
                yield step

    request = messages.CFindRQ(message_id=1, affected_sop_class_uid=FIND, priority=0)
    identifier = encode_dataset(dataset(QueryRetrieveLevel="STUDY"), EXPLICIT)
    said = asyncio.run(converse(register, FIND, request, identifier, cancel_after=cancel_after))
    matches = [response for response in said.responses[:-1] if response.has_data_set]
    assert len(matches) == len(said.responses) - 1  # a Pending response without a match is none
    assert not said.final.has_data_set
    if not steps:
        assert said.final.status in (0x0000, 0xFE00)


@given(ANNOUNCED, STEPS, CANCEL_AFTER, st.lists(st.sampled_from([0x0000, 0xB000, 0xA700, 0x0107, 0x0110]), max_size=5))
def test_get(first: Any, steps: list[Any], cancel_after: int | None, store_statuses: list[int]) -> None:
    def register(server: aiodimse.Server) -> None:
        @server.on_c_get
        async def get(request: aiodimse.GetRequest) -> Any:
            async for step in _steps([first, *steps]):
                yield step

    request = messages.CGetRQ(message_id=1, affected_sop_class_uid=GET, priority=0)
    identifier = encode_dataset(dataset(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2"), EXPLICIT)
    said = asyncio.run(
        converse(register, GET, request, identifier, cancel_after=cancel_after, store_statuses=store_statuses)
    )
    if cancel_after != 0:  # cancelled before it was asked, a handler has announced nothing
        check_counters(said, announced_by(first))
    final = said.final
    assert isinstance(final, messages.SuboperationsResponse)
    assert final.number_of_completed_suboperations == said.stored.count(0x0000)
    assert final.number_of_warning_suboperations == said.stored.count(0xB000) + said.stored.count(0x0107)


@given(ANNOUNCED, STEPS, CANCEL_AFTER, st.sampled_from([0x0000, 0xB000, 0xA700, ValueError]))
def test_move(first: Any, steps: list[Any], cancel_after: int | None, stored: Any) -> None:
    async def main() -> tuple[Conversation, int]:
        network, kept = testing.MemoryNetwork(), 0
        destination = aiodimse.Server(environment=aiodimse.Environment(network=network), ae_title="DEST")

        @destination.on_c_store
        async def store(request: aiodimse.StoreRequest) -> int:
            nonlocal kept
            await request.discard()
            kept += 1
            if stored is ValueError:
                raise ValueError
            return int(stored)

        def register(server: aiodimse.Server) -> None:
            @server.on_c_move
            async def move(request: aiodimse.MoveRequest) -> Any:
                yield aiodimse.Destination("memory", 105)
                async for step in _steps([first, *steps]):
                    yield step

        request = messages.CMoveRQ(message_id=1, affected_sop_class_uid=MOVE, priority=0, move_destination="DEST")
        identifier = encode_dataset(dataset(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2"), EXPLICIT)
        async with destination.listen("memory", 105):
            return await converse(register, MOVE, request, identifier, cancel_after=cancel_after, network=network), kept

    said, kept = asyncio.run(main())
    if cancel_after != 0:
        check_counters(said, announced_by(first))
    final = said.final
    assert isinstance(final, messages.SuboperationsResponse)
    assert final.number_of_completed_suboperations == (kept if stored == 0x0000 else 0)
    assert final.number_of_warning_suboperations == (kept if stored == 0xB000 else 0)


@given(ANYTHING)
def test_store(answer: Any) -> None:
    def register(server: aiodimse.Server) -> None:
        @server.on_c_store
        async def store(request: aiodimse.StoreRequest) -> Any:
            return await _single(answer)

    request = messages.CStoreRQ(
        message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.1", priority=0
    )
    said = asyncio.run(converse(register, CT, request, encode_dataset(image(1), EXPLICIT)))
    assert len(said.responses) == 1


MPPS = sop_class.ModalityPerformedProcedureStep
COMMITMENT = sop_class.StorageCommitmentPushModel
FILM = sop_class.BasicFilmSession


def requested(kind: Any, uid: str, **more: Any) -> tuple[str, messages.Request]:
    """A request of a service that names its instance as requested, and not as affected."""
    return uid, kind(message_id=1, requested_sop_class_uid=uid, requested_sop_instance_uid="1.2.3", **more)


def affected(kind: Any, uid: str, **more: Any) -> tuple[str, messages.Request]:
    return uid, kind(message_id=1, affected_sop_class_uid=uid, affected_sop_instance_uid="1.2.3", **more)


NORMALIZED = {
    "n_create": affected(messages.NCreateRQ, MPPS),
    "n_set": requested(messages.NSetRQ, MPPS),
    "n_get": requested(messages.NGetRQ, sop_class.Printer),
    "n_action": requested(messages.NActionRQ, COMMITMENT, action_type_id=1),
    "n_delete": requested(messages.NDeleteRQ, FILM),
    "n_event_report": affected(messages.NEventReportRQ, COMMITMENT, event_type_id=1),
}


@given(st.sampled_from(sorted(NORMALIZED)), ANYTHING)
def test_normalized_services(service: str, answer: Any) -> None:
    def register(server: aiodimse.Server) -> None:
        async def handler(request: Any) -> Any:
            return await _single(answer)

        getattr(server, f"on_{service}")(handler)

    uid, request = NORMALIZED[service]
    data = encode_dataset(dataset(PatientID="1"), EXPLICIT) if service in ("n_create", "n_set") else None
    said = asyncio.run(converse(register, uid, request, data))
    assert len(said.responses) == 1
