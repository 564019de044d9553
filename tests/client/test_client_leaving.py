"""What is left behind a block, an operation and an await: whose error wins, and what goes on."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.association import Offer, answer_request
from aiodimse.errors import LocalProtocolError
from aiodimse.pdu import Abort, AssociateRQ, ReleaseRQ

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
VERIFY = [sop_class.Verification]


def test_an_association_has_nothing_else_to_offer() -> None:
    """In particular nothing that its connection calls."""
    operations = {"c_echo", "c_store", "c_find", "c_get", "c_move"}
    operations |= {"n_event_report", "n_get", "n_set", "n_action", "n_create", "n_delete"}
    more = {
        "logger",
        "negotiated",
        "contexts",
        "is_open",
        "open_operations",
        "can_store",
        "release",
        "abort",
        "wait_closed",
    }
    assert {name for name, _ in inspect.getmembers(aiodimse.Association) if name[0] != "_"} == operations | more


# --- a release that fails ---------------------------------------------------------------------------------------------


class Wanted(Exception):
    pass


async def _user(network: testing.MemoryNetwork, clock: testing.ManualClock, error: Exception | None) -> None:
    async with aiodimse.connect("memory", 104, contexts=VERIFY, environment=aiodimse.Environment(clock, network)):
        if error is not None:
            raise error


@pytest.mark.parametrize("how", ["silent", "gone", "aborts"])
@pytest.mark.parametrize("raises", [True, False])
async def test_what_the_body_raised_goes_on(how: str, raises: bool, caplog: pytest.LogCaptureFixture) -> None:
    network, clock = testing.MemoryNetwork(), testing.ManualClock()
    peers = await testing.ScriptedPeer.listen(network, 104)
    user = asyncio.create_task(_user(network, clock, Wanted("a patient's name") if raises else None))
    peer = await peers.get()
    await peer.accept()
    await peer.expect(ReleaseRQ)
    if how == "silent":
        await clock.elapse(10)  # Timeouts.release
    elif how == "gone":
        peer.abort_transport()
    else:
        peer.send(Abort(0, 0))
    await clock.elapse(1)
    with caplog.at_level(logging.WARNING), pytest.raises(Wanted if raises else aiodimse.AssociationError) as caught:
        await user
    if not raises:
        assert isinstance(caught.value, aiodimse.AssociationTimeout if how == "silent" else aiodimse.AssociationAborted)
    said = [record.message for record in caplog.records if "the release behind a Wanted failed" in record.message]
    assert len(said) == raises
    assert "patient" not in caplog.text
    peer.abort_transport()


async def test_that_no_context_was_accepted_goes_before_a_failing_release() -> None:
    network, clock = testing.MemoryNetwork(), testing.ManualClock()
    peers = await testing.ScriptedPeer.listen(network, 104)
    user = asyncio.create_task(_user(network, clock, None))
    peer = await peers.get()
    peer.send(answer_request(await peer.expect(AssociateRQ), Offer(), limits=aiodimse.Limits()))
    await peer.expect(ReleaseRQ)
    await clock.elapse(10)
    with pytest.raises(aiodimse.NoAcceptedContext):
        await user
    peer.abort_transport()


# --- an await that is given up ----------------------------------------------------------------------------------------


def slow() -> tuple[aiodimse.Server, asyncio.Event, list[str]]:
    server, go_on, closed = aiodimse.Server(ae_title="A"), asyncio.Event(), list[str]()

    @server.on_c_find
    async def find(request: Any) -> Any:
        try:
            await go_on.wait()
            yield Dataset()
        finally:
            closed.append("closed")

    return server, go_on, closed


async def test_a_cancelled_await_leaves_the_operation() -> None:
    """Also without a block, where nothing else could tell that nobody comes back."""
    server, _, closed = slow()
    async with testing.joined(server, contexts=[FIND, *VERIFY]) as association:
        matches = association.c_find(Dataset(), FIND)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(matches), 0.01)
        with pytest.raises(LocalProtocolError, match="has been left"):
            await anext(matches)
        assert (await association.c_echo()).status == 0x0000
        assert closed == ["closed"]  # by C-CANCEL


async def test_a_task_that_is_kept_may_be_looked_at() -> None:
    server, go_on, _ = slow()
    async with testing.joined(server, contexts=[FIND]) as association, association.c_find(Dataset(), FIND) as matches:
        task = asyncio.ensure_future(anext(matches))
        assert await asyncio.wait({task}, timeout=0.01) == (set(), {task})
        go_on.set()
        assert isinstance(await task, Dataset)
        assert [match async for match in matches] == []
        assert matches.status == 0x0000


# --- what the block raised, with an operation open --------------------------------------------------------------------


async def _find_and_raise(network: testing.MemoryNetwork, error: Exception) -> None:
    environment = aiodimse.Environment(network=network)
    async with aiodimse.connect("memory", 104, contexts=[FIND], environment=environment) as association:
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        await association.c_find(query, sop_class_uid=FIND).start()
        raise error


async def test_a_body_that_raises_with_an_operation_open_aborts() -> None:
    """A release would wait for the peer to end an operation whose result nobody wants any more."""
    network = testing.MemoryNetwork()
    peers = await testing.ScriptedPeer.listen(network, 104)
    user = asyncio.create_task(_find_and_raise(network, Wanted()))
    peer = await peers.get()
    await peer.accept()
    await peer.read_message()
    await peer.expect(Abort)
    with pytest.raises(Wanted):
        await user
    peer.abort_transport()
