"""What is left behind a block, an operation and an await: whose error wins, and what goes on."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.association import Offer, answer_request
from aiodimse.dimse.messages import CCancelRQ, CEchoRSP, CFindRSP
from aiodimse.errors import LocalProtocolError
from aiodimse.pdu import Abort, AssociateRQ, ReleaseRP, ReleaseRQ

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


# --- a response that nobody awaits any more ---------------------------------------------------------------------------

COMMITMENT = sop_class.StorageCommitmentPushModel
CALLS = {
    "c_echo": lambda association: association.c_echo(),
    "n_get": lambda association: association.n_get(COMMITMENT, "1.2.3"),
    "c_find": lambda association: anext(association.c_find(Dataset(), FIND)),
}
"""The last one is ended by C-CANCEL."""


class Leaver:
    """A user that gives an operation up, and a peer that does not answer it."""

    def __init__(self, **timeouts: float | None) -> None:
        self.network, self.clock = testing.MemoryNetwork(), testing.ManualClock()
        self._timeouts = aiodimse.Timeouts(**timeouts)  # type: ignore[arg-type]
        self._is_given_up = asyncio.Event()

    async def _use(self, call: str, *, raises: bool) -> None:
        environment = aiodimse.Environment(self.clock, self.network)
        contexts = [*VERIFY, COMMITMENT, FIND]
        connecting = aiodimse.connect(
            "memory", 104, contexts=contexts, environment=environment, timeouts=self._timeouts
        )
        async with connecting as association:
            waiting = asyncio.ensure_future(CALLS[call](association))
            await self._is_given_up.wait()
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
            if raises:
                raise Wanted

    async def leave(self, call: str, *, raises: bool = False) -> tuple[testing.ScriptedPeer, asyncio.Task[None]]:
        """Return the peer, which has read the request, and the task of the user, which has given the request up."""
        peers = await testing.ScriptedPeer.listen(self.network, 104)
        user = asyncio.create_task(self._use(call, raises=raises))
        peer = await peers.get()
        await peer.accept()
        await peer.read_message()
        self._is_given_up.set()
        await testing.settle()
        return peer, user


@pytest.mark.parametrize("call", ["c_echo", "n_get"])
async def test_a_block_that_raises_behind_what_nobody_can_cancel_aborts_at_once(call: str) -> None:
    """Its user has waited long enough: asyncio.timeout() around the call."""
    peer, user = await Leaver().leave(call, raises=True)
    assert await peer.expect(Abort) == Abort(0, 0)
    peer.abort_transport()
    with pytest.raises(Wanted):
        await user


async def test_a_block_that_raises_behind_what_is_cancelled_releases() -> None:
    peer, user = await Leaver().leave("c_find", raises=True)
    context_id, cancel, _ = await peer.read_message()
    assert isinstance(cancel, CCancelRQ)
    peer.send_message(context_id, CFindRSP(message_id_being_responded_to=1, status=0xFE00, affected_sop_class_uid=FIND))
    await peer.expect(ReleaseRQ)
    peer.send(ReleaseRP())
    peer.abort_transport()
    with pytest.raises(Wanted):
        await user


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("timeouts", "seconds", "phase"),
    [
        ({"cancel_drain": 4.0}, 4.0, "response"),
        ({"cancel_drain": 4.0, "release": None}, 4.0, "response"),
        ({"cancel_drain": 4.0, "release": 3.0}, 3.0, "release"),
        ({"cancel_drain": None, "release": 3.0}, 3.0, "release"),
    ],
    ids=str,
)
async def test_how_long_a_release_waits_for_what_was_left(
    call: str, timeouts: dict[str, float | None], seconds: float, phase: str
) -> None:
    leaver = Leaver(**timeouts)
    peer, user = await leaver.leave(call)
    if call == "c_find":
        await peer.read_message()  # C-CANCEL-RQ
    await leaver.clock.elapse(seconds - 0.1)
    assert not peer.has_pdu
    assert not user.done()
    await leaver.clock.elapse(0.2)
    assert await peer.expect(Abort) == Abort(0, 0)
    peer.abort_transport()
    with pytest.raises(aiodimse.AssociationTimeout) as caught:
        await user
    assert caught.value.phase == phase


async def test_a_release_goes_on_when_what_was_left_is_answered() -> None:
    leaver = Leaver(release=3.0)
    peer, user = await leaver.leave("c_echo")
    await leaver.clock.elapse(2.9)
    peer.send_message(1, CEchoRSP(message_id_being_responded_to=1, status=0, affected_sop_class_uid=VERIFY[0]))
    await peer.expect(ReleaseRQ)
    await leaver.clock.elapse(2.9)  # its answer has as long again
    peer.send(ReleaseRP())
    peer.abort_transport()
    await user
