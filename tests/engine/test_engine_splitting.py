"""A conversation gives the same events for any splitting of its bytes: over every capture, from both sides."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiodimse import testing
from aiodimse.dimse.messages import CEchoRQ
from aiodimse.dimse.operations import RequestReceived
from aiodimse.testing import Capture, Side, read_capture, replay

CAPTURES = {path.stem: read_capture(path) for path in sorted((Path(__file__).parents[1] / "data").glob("*/*.dul"))}
BOTH_SIDES = [(name, side) for name in CAPTURES for side in "><"]


def told(capture: Capture, side: Side, cut: testing.Cut = testing.whole) -> list[str]:
    """The events, operations and data sets in them, as text that can be compared."""
    return [repr(event) for event in replay(capture, side, cut=cut)]


@pytest.fixture(scope="module")
def in_one_go() -> dict[tuple[str, str], list[str]]:
    return {(name, side): told(CAPTURES[name], side) for name, side in BOTH_SIDES}


def test_the_captures_are_there_and_say_something(in_one_go):
    assert len(CAPTURES) == 16
    kinds = {event.partition("(")[0] for events in in_one_go.values() for event in events}
    assert kinds >= {"RequestReceived", "ResponseReceived", "DatasetReceived", "CancelReceived", "ReleaseConfirmation"}
    assert "ReleaseTimedOut" not in kinds
    assert "RequestRefused" not in kinds


@pytest.mark.parametrize(("name", "side"), BOTH_SIDES)
def test_byte_by_byte(name, side, in_one_go):
    assert told(CAPTURES[name], side, testing.byte_by_byte) == in_one_go[name, side]


@given(where=st.sampled_from(BOTH_SIDES), sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=40))
@example(where=("dcmtk-get-1", ">"), sizes=[5, 1])
@example(where=("dcmtk-get-1", "<"), sizes=[6, 6, 1])
@example(where=("dcmtk-find-cancel-1", ">"), sizes=[11, 13])
def test_random_cuts(where, sizes, in_one_go):
    name, side = where

    def cut(data: bytes) -> list[bytes]:
        steps = itertools.cycle(sizes)
        pieces, at = [], 0
        while at < len(data):
            pieces.append(data[at : (at := at + next(steps))])
        return pieces

    assert told(CAPTURES[name], side, cut) == in_one_go[name, side]


def test_an_idle_engine_keeps_nothing_of_what_it_was_given():
    """A read of asyncio's is up to 256 KiB."""
    pair = testing.EnginePair(["1.2.840.10008.1.1"])
    pair.connect()
    request = CEchoRQ(message_id=0, affected_sop_class_uid="1.2.840.10008.1.1")
    pair.requestor.invoke(1, request)
    pair.requestor.send(1, request)
    pair.acceptor.receive_data(b"".join(pair.requestor.data_to_send()), 0.0)
    assert [type(event) for event in iter(pair.acceptor.next_event, None)] == [RequestReceived]
    assert pair.acceptor.router.performed
    assert pair.acceptor._reader._chunk == b""


@pytest.mark.parametrize(("name", "side"), BOTH_SIDES)
def test_one_chunk_for_everything_that_the_other_side_says(name, side):
    """A peer that does not wait for answers: what comes after them is out of place, or not, but nothing raises."""
    capture = CAPTURES[name]
    first = [line for line in capture[:1] if line[0] == side]
    heard = [line for line in capture if line[0] != side]
    replay([*first, *heard], side)
