"""Both marks of each of the two reasons to stop reading, to the byte, and what a pause holds still."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from aiodimse import AssociationTimeout, sop_class, testing
from aiodimse.aio.back_pressure import ReadThrottle
from aiodimse.config import Limits, Timeouts
from aiodimse.datasets import encode_dataset
from aiodimse.dimse.messages import CCancelRQ, CFindRQ

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
EXPLICIT = "1.2.840.10008.1.2.1"
LIMITS = Limits(max_pdu_length=10_000, write_backlog=4_000)


class Transport:
    """What a ReadThrottle asks of a transport connection."""

    high_water = 1 << 16
    on_room: Any = None
    backlog = 0
    is_reading = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Told:
    """Who is told; what it was told."""

    def __init__(self) -> None:
        self.paused = self.resumed = self.slow = 0

    def reading_paused(self) -> None:
        self.paused += 1

    def reading_resumed(self) -> None:
        self.resumed += 1

    def consumer_too_slow(self) -> None:
        self.slow += 1


def throttled() -> tuple[ReadThrottle, Transport, Told]:
    transport, told = Transport(), Told()
    throttle = ReadThrottle(
        told, cast(Any, transport), testing.ManualClock(), limits=LIMITS, timeouts=Timeouts(consumer=None)
    )
    return throttle, transport, told


def test_the_marks_of_what_is_unread() -> None:
    """Reading stops above twice the largest PDU, and goes on at the half of that."""
    throttle, transport, told = throttled()
    throttle.count(20_000)
    assert transport.is_reading
    throttle.count(1)
    assert not transport.is_reading
    throttle.count(-10_000)
    assert not transport.is_reading
    throttle.count(-1)
    assert transport.is_reading
    assert (told.paused, told.resumed) == (1, 1)


@pytest.mark.parametrize("queued", [True, False], ids=["queued", "written"])
def test_the_marks_of_what_waits_to_be_written(queued: bool) -> None:
    """Above Limits.write_backlog, and at the half of it, whether it waits in our queue or in the transport's."""
    throttle, transport, told = throttled()

    def change(by: int) -> None:
        if queued:
            throttle.queue(by)
        else:
            transport.backlog += by
            throttle.check()

    change(4_000)
    assert transport.is_reading
    change(1)
    assert not transport.is_reading
    change(-2_000)
    assert not transport.is_reading
    change(-1)
    assert transport.is_reading
    assert (told.paused, told.resumed) == (1, 1)


def test_the_transport_reports_room_where_few_bytes_pause_reading() -> None:
    """What pauses reading must pause the transport, too, or nobody hears that there is room again."""
    _, transport, _ = throttled()
    assert transport.high_water == LIMITS.write_backlog // 4 == 1_000


def test_the_transport_keeps_a_mark_of_its_own_that_is_lower() -> None:
    transport = Transport()
    timeouts, limits = Timeouts(consumer=None), Limits(write_backlog=1 << 24)
    ReadThrottle(Told(), cast(Any, transport), testing.ManualClock(), limits=limits, timeouts=timeouts)
    assert transport.high_water == 1 << 16


def test_reading_goes_on_when_neither_reason_is_left() -> None:
    throttle, transport, told = throttled()
    throttle.count(20_001)
    throttle.queue(4_001)
    throttle.count(-20_001)
    assert not transport.is_reading
    throttle.queue(-2_001)
    assert transport.is_reading
    assert (told.paused, told.resumed) == (1, 1)


async def test_the_deadline_of_a_response_stands_still_while_we_do_not_read(world: Any) -> None:
    """The peer may have answered long ago; reading again, it has its whole time again."""
    association, peer = await world.calling(
        operations_window=(2, 2),
        limits=Limits(max_pdu_length=4_096),
        timeouts=Timeouts(response=10, consumer=None, idle=None),
    )
    matches = association.c_find(world.query(), sop_class_uid=FIND)
    await matches.start()
    _, request, _ = await peer.read_message()
    large = world.query()
    large.StudyDescription = "x" * 60
    large.PatientComments = "x" * 9_000
    echo = asyncio.create_task(association.c_echo())
    await peer.read_message()
    peer.send_message(3, request.response(0xFF00), encode_dataset(large, EXPLICIT), max_pdu_length=4_096)
    await testing.settle()
    assert association._endpoint.is_paused
    await world.clock.elapse(100)
    assert not echo.done()
    await anext(matches)
    assert not association._endpoint.is_paused
    await world.clock.elapse(9)
    assert not echo.done()
    await world.clock.elapse(2)
    with pytest.raises(AssociationTimeout, match="C-ECHO"):
        await echo
    association.abort()
    peer.abort_transport()


async def test_a_handler_that_never_awaits_hears_c_cancel(world: Any) -> None:
    """Between its responses, none of which waits for room, the event loop has its turn."""
    world.network.in_flight = 1 << 30
    server, most = world.server(), 20_000
    yielded = 0

    @server.on_c_find
    async def endless(request: Any) -> Any:
        nonlocal yielded
        match = world.query()
        while yielded < most:
            yielded += 1
            yield match

    async with world.called(server) as peer:
        find = CFindRQ(message_id=1, affected_sop_class_uid=FIND, priority=0)
        peer.send_message(3, find, encode_dataset(world.query(), EXPLICIT))
        await peer.read_message()
        peer.send_message(3, CCancelRQ(message_id_being_responded_to=1))
        status = 0xFF00
        while status == 0xFF00:
            _, response, _ = await peer.read_message()
            status = response.status
        assert status == 0xFE00
        assert yielded < most
