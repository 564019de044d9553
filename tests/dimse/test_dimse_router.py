"""The router by itself: message IDs, what is pending and final, C-CANCEL, and the window for any size."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodimse.config import Limits
from aiodimse.dimse.fragments import Command
from aiodimse.dimse.messages import CCancelRQ, CEchoRQ, CFindRQ, CFindRSP, CMoveRQ, CStoreRQ
from aiodimse.dimse.operations import CancelReceived, RequestReceived, RequestRefused, ResponseReceived, Runnable
from aiodimse.dimse.router import Router
from aiodimse.errors import LocalProtocolError, RemoteProtocolError
from aiodimse.pdu import AcceptedContext, DataPiece
from aiodimse.standard import sop_class

VERIFICATION, FIND = str(sop_class.Verification), str(sop_class.StudyRootQueryRetrieveInformationModelFind)
MOVE, CT = str(sop_class.StudyRootQueryRetrieveInformationModelMove), str(sop_class.CTImageStorage)
CONTEXTS = {
    context_id: AcceptedContext(context_id, uid, "1.2.840.10008.1.2.1", scu=True, scp=True)
    for context_id, uid in ((1, VERIFICATION), (3, FIND), (5, MOVE), (7, CT))
}


def make(invoked: int = 1, performed: int = 1, **limits: int) -> tuple[Router, deque[Any]]:
    events: deque[Any] = deque()
    router = Router(
        CONTEXTS, invoked_window=invoked, performed_window=performed, limits=Limits(**limits), events=events
    )
    return router, events


def echo(message_id: int = 0) -> CEchoRQ:
    return CEchoRQ(message_id=message_id, affected_sop_class_uid=VERIFICATION)


def find(message_id: int = 0) -> CFindRQ:
    return CFindRQ(message_id=message_id, affected_sop_class_uid=FIND, has_data_set=True)


def answer(router: Router, to: Any, status: int = 0x0000) -> None:
    """The peer's response to an operation of ours."""
    router.receive(Command(to.context_id, to.request.response(status)))


def ask(router: Router, request: Any, context_id: int) -> None:
    """The peer's request, whole."""
    router.receive(Command(context_id, request))
    if request.has_data_set:
        router.receive(DataPiece(context_id, False, True, b"identifier"))


def kinds(events: deque[Any]) -> list[type]:
    found = [type(event) for event in events]
    events.clear()
    return found


# --- message IDs ------------------------------------------------------------------------------------------------------


def test_message_ids_are_given_in_turn_and_wrap_at_65535() -> None:
    router, _ = make()
    given_out = []
    for _ in range(65537):
        operation = router.invoke(1, echo())
        assert operation.request.message_id == operation.message_id
        given_out.append(operation.message_id)
        answer(router, operation)
    assert given_out == [*range(1, 65536), 1, 2]


def test_a_message_id_is_not_given_again_while_it_is_open() -> None:
    router, _ = make(invoked=3)
    stays = [router.invoke(3, find()) for _ in range(2)]
    given_out = set()
    for _ in range(65533 + 5):
        operation = router.invoke(1, echo())
        given_out.add(operation.message_id)
        answer(router, operation)
    assert [operation.message_id for operation in stays] == [1, 2]
    assert given_out == set(range(3, 65536))


def test_what_was_taken_back_leaves_its_place() -> None:
    router, _ = make()
    first = router.invoke(1, echo())
    with pytest.raises(LocalProtocolError, match="window of 1 is full"):
        router.invoke(1, echo())
    router.take_back(first)
    assert (router.has_room, first.is_open, router.invoke(1, echo()).message_id) == (True, False, 2)


@given(st.integers(1, 5), st.lists(st.integers(0, 9), max_size=60))
def test_open_message_ids_are_those_not_answered(window: int, steps: list[int]) -> None:
    router, events = make(invoked=window)
    still_open: list[Any] = []
    for step in steps:
        if step < 5 and router.has_room:
            still_open.append(router.invoke(1, echo()))
        elif still_open:
            done = still_open.pop(step % len(still_open))
            answer(router, done)
            assert not done.is_open
        assert {operation.message_id for operation in still_open} == set(router.invoked)
        assert router.has_room == (len(still_open) < window)
    assert all(event.is_final for event in events)


# --- pending and final ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0xFF00, 0xFF01])
def test_pending_keeps_an_operation_open_until_its_final(status: int) -> None:
    router, events = make()
    operation = router.invoke(3, find())
    for _ in range(3):
        answer(router, operation, status)
    assert operation.is_open
    answer(router, operation, 0xB001)
    assert [event.is_final for event in events] == [False] * 3 + [True]
    with pytest.raises(RemoteProtocolError, match="not open") as error:
        answer(router, operation)
    assert error.value.reason == 2


def test_pending_ends_what_has_one_response() -> None:
    router, events = make()
    answer(router, router.invoke(1, echo()), 0xFF00)
    assert (events[0].is_final, router.invoked) == (True, {})


def test_a_response_of_another_kind_is_stray() -> None:
    router, _ = make()
    operation = router.invoke(1, echo())
    stray = CFindRSP(message_id_being_responded_to=operation.message_id, status=0)
    with pytest.raises(RemoteProtocolError, match="C-FIND-RSP to a C-ECHO-RQ"):
        router.receive(Command(1, stray))


def test_a_response_is_told_when_its_data_set_is_whole() -> None:
    router, events = make()
    operation = router.invoke(3, find())
    response = find().response(0xFF00)
    response.message_id_being_responded_to, response.has_data_set = operation.message_id, True
    router.receive(Command(3, response))
    router.receive(DataPiece(3, False, False, b"one "))
    assert not events
    router.receive(DataPiece(3, False, True, b"match"))
    (event,) = events
    assert isinstance(event, ResponseReceived)
    assert (event.data, event.is_final) == (b"one match", False)


# --- C-CANCEL ---------------------------------------------------------------------------------------------------------


def test_an_operation_is_cancelled_once_and_only_while_it_is_open() -> None:
    router, _ = make(invoked=2)
    operation = router.invoke(3, find())
    cancel = router.cancel(operation)
    assert isinstance(cancel, CCancelRQ)
    assert cancel.message_id_being_responded_to == operation.message_id
    assert router.cancel(operation) is None
    answer(router, operation, 0xFE00)
    assert router.cancel(operation) is None
    assert router.cancel(router.invoke(1, echo())) is None, "a C-ECHO has no cancel"


@pytest.mark.parametrize(
    ("request_", "context_id", "heard"),
    [
        (find(7), 3, True),
        (CMoveRQ(message_id=7, affected_sop_class_uid=MOVE, move_destination="X", has_data_set=True), 5, True),
        (
            CStoreRQ(message_id=7, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3", has_data_set=True),
            7,
            False,
        ),
        (echo(7), 1, False),
    ],
    ids=["C-FIND", "C-MOVE", "C-STORE", "C-ECHO"],
)
def test_which_requests_a_cancel_is_heard_for(request_: Any, context_id: int, heard: bool) -> None:
    router, events = make()
    ask(router, request_, context_id)
    events.clear()
    for message_id in (8, 7, 7):
        router.receive(Command(context_id, CCancelRQ(message_id_being_responded_to=message_id)))
    assert kinds(events) == [CancelReceived] * heard


# --- the window -------------------------------------------------------------------------------------------------------


@given(window=st.integers(1, 6), waiting=st.integers(0, 4), finish=st.randoms(use_true_random=False))
def test_requests_beyond_the_window_wait_and_reading_stops_at_one_more(window: int, waiting: int, finish: Any) -> None:
    router, events = make(performed=window, waiting_requests=waiting)
    for message_id in range(window + waiting):
        ask(router, find(message_id), 3)
    assert router.parked is None
    ask(router, echo(100), 1)
    assert router.parked is not None
    assert not router.unpark()
    admitted = [event.operation for event in events if isinstance(event, RequestReceived)]
    assert len(admitted) == len(events) == window + waiting
    assert [operation.waiting for operation in admitted] == [False] * window + [True] * waiting
    events.clear()
    running, queue = admitted[:window], admitted[window:]
    while running:
        done = running.pop(finish.randrange(len(running)))
        assert router.respond(done, done.request.response(0x0000))
        if router.parked is not None:
            assert router.unpark()
            last = events.pop()
            assert isinstance(last, RequestReceived)
            assert last.operation.message_id == 100
            (queue if last.operation.waiting else running).append(last.operation)
        if events:  # first come, first served
            (event,) = events
            assert isinstance(event, Runnable)
            assert event.operation is queue.pop(0)
            running.append(event.operation)
        events.clear()
    assert router.performed == {}
    assert queue == []
    with pytest.raises(LocalProtocolError, match="has had its final response"):
        router.respond(admitted[0], admitted[0].request.response(0x0000))


def test_what_is_beyond_is_refused_where_responses_may_come_behind_it() -> None:
    router, events = make(waiting_requests=0)
    ask(router, find(1), 3)
    ask(router, echo(2), 1)
    assert router.parked is not None
    router.invoke(1, echo())
    assert router.unpark()
    assert router.parked is None
    assert events[1].response.status == 0x0213
    assert kinds(events) == [RequestReceived, RequestRefused]
    ask(router, find(3), 3)
    assert events[0].response.status == 0xA700
    assert kinds(events) == [RequestRefused]


@pytest.mark.parametrize(("agreed", "limit", "places"), [(1, 100, 1), (7, 100, 7), (0, 5, 5), (9, 5, 5)])
def test_unlimited_is_what_the_limits_say(agreed: int, limit: int, places: int) -> None:
    router, _ = make(invoked=agreed, performed=agreed, operations=limit)
    assert (router.invoked_window, router.performed_window) == (places, places)


def test_a_message_id_in_use_is_refused_in_its_direction_alone() -> None:
    router, events = make()
    router.invoke(1, echo())
    ask(router, echo(1), 1)
    assert kinds(events) == [RequestReceived]
    ask(router, echo(1), 1)
    assert events[0].response.status == 0x0210
    assert router.performed[1].is_open


# --- strict -----------------------------------------------------------------------------------------------------------


def strict_router(context: AcceptedContext | None = None) -> tuple[Router, deque[Any]]:
    events: deque[Any] = deque()
    contexts = CONTEXTS if context is None else {context.context_id: context}
    return Router(contexts, invoked_window=1, performed_window=1, limits=Limits(), events=events, strict=True), events


def test_strict_takes_no_further_final_response_and_no_odd_priority() -> None:
    router, events = strict_router()
    operation = router.invoke(3, find())
    assert router.cancel(operation) is not None
    answer(router, operation)
    with pytest.raises(RemoteProtocolError, match="not open"):
        answer(router, operation)
    ask(router, CFindRQ(message_id=1, affected_sop_class_uid=FIND, has_data_set=True, priority=7), 3)
    refused = events[-1]
    assert isinstance(refused, RequestRefused)
    assert (refused.response.status, refused.response.offending_element) == (0x0212, (0x00000700,))


def test_few_operations_that_ended_are_remembered() -> None:
    router, _ = make()
    ended = []
    for _ in range(20):
        operation = router.invoke(3, find())
        router.cancel(operation)
        answer(router, operation)
        ended.append(operation)
    for operation in ended[-16:]:
        answer(router, operation)
    for operation in (ended[3], ended[-1]):  # forgotten, and had its second already
        with pytest.raises(RemoteProtocolError, match="not open"):
            answer(router, operation)


@pytest.mark.parametrize("priority", [-1, 3, 0xFFFF])
def test_a_priority_that_is_not_defined_is_not_invoked(priority: int) -> None:
    router, _ = make()
    with pytest.raises(LocalProtocolError, match="priority"):
        router.invoke(3, CFindRQ(message_id=0, affected_sop_class_uid=FIND, priority=priority))
    assert router.has_room
