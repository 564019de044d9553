"""Release collisions (Sta9 to Sta12) and what comes while a hook is asked (Sta3), with real bytes on live associations.

tests/engine has every PDU in every state; here both sides have tasks, timers and a transport that is to be closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.dimse import command
from aiodimse.dimse.messages import CEchoRQ, CFindRQ
from aiodimse.errors import AssociationAborted, AssociationTimeout
from aiodimse.pdu import (
    PDU,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    ReleaseRP,
    ReleaseRQ,
    decode,
    encode,
    pdata_header,
)

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
ECHO_COMMAND = command.encode(CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification))
ECHO = pdata_header(1, True, True, len(ECHO_COMMAND)) + ECHO_COMMAND
RQ = testing.EnginePair([sop_class.Verification]).rq


class Spoken:
    """A trace: the PDUs of one association, each with its way."""

    def __init__(self) -> None:
        self.pdus: list[tuple[str, PDU]] = []
        self._buffers = {">": bytearray(), "<": bytearray()}

    def __call__(self, role: str) -> Spoken:
        return self

    def tap(self, way: str, data: bytes | memoryview) -> None:
        buffer = self._buffers[way]
        buffer += data
        while len(buffer) >= 6 and len(buffer) >= (end := 6 + int.from_bytes(buffer[2:6], "big")):
            self.pdus.append((way, decode(bytes(buffer[:end]))))
            del buffer[:end]


def states_of(endpoint: Any) -> list[str]:
    """The states that it comes through from now on."""
    machine, states = endpoint.engine.machine, []
    enter = machine._enter

    def entered(state: Any) -> None:
        states.append(state.name.title())
        enter(state)

    machine._enter = entered
    return states


# --- both ask ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", ["TCP", "TLS"])
@pytest.mark.parametrize("split", [None, 1], ids=["whole", "byte by byte"])
async def test_both_release_at_once(make_world, certificates, over, split):
    async with make_world(certificates if over == "TLS" else None) as world:
        world.network.split = None if split is None else lambda there: split
        spoken = Spoken()
        async with world.listen(world.server(accept_called=True)) as listening:
            association = await world.open(104, trace=lambda role: spoken.tap)
            ours, theirs = association._endpoint, next(iter(listening._acceptor._all))
            states = states_of(ours), states_of(theirs)
            before = len(spoken.pdus)
            await asyncio.gather(association.release(), theirs.release())
            assert spoken.pdus[before:] == [
                (">", ReleaseRQ()),
                ("<", ReleaseRQ()),
                (">", ReleaseRP()),  # the requestor answers first (PS3.8 9.2, AR-8 and AR-9)
                ("<", ReleaseRP()),
            ]
            assert states[0] == ["Sta7", "Sta9", "Sta11", "Sta1"]
            assert states[1][:4] == ["Sta7", "Sta10", "Sta12", "Sta13"]
            for side in (ours, theirs):
                assert isinstance(side.error, aiodimse.AssociationClosed)
            assert not listening.associations


async def collided(world: Any, role: str) -> tuple[Any, Any, testing.ScriptedPeer]:
    """Our connection in Sta11 or Sta10, the task that releases it, and the peer, which owes us an A-RELEASE-RP."""
    if role == "requestor":
        association, peer = await world.calling()
        ours = association._endpoint
    else:
        listening = world.listen(world.server())
        await listening.__aenter__()
        peer = await world.call()
        await peer.associate(world.contexts)
        (ours,) = listening._acceptor._all
        world.network.forget(104)
    releasing = asyncio.create_task(ours.release())
    await peer.expect(ReleaseRQ)
    peer.send(ReleaseRQ())
    if role == "requestor":
        await peer.expect(ReleaseRP)
    else:
        await testing.settle()
        assert not peer.has_pdu  # the acceptor waits for the requestor's answer
    assert ours.engine.machine.state.name.title() == ("Sta11" if role == "requestor" else "Sta10")
    return ours, releasing, peer


both_roles = pytest.mark.parametrize("role", ["requestor", "acceptor"])


@both_roles
async def test_the_answer_comes(world, role):
    ours, releasing, peer = await collided(world, role)
    await world.clock.elapse(9.9)
    assert not releasing.done()
    peer.send(ReleaseRP())
    await releasing
    assert await peer.read_to_end() == ([] if role == "requestor" else [ReleaseRP()])
    assert isinstance(ours.error, aiodimse.AssociationClosed)
    peer.abort_transport()


@both_roles
async def test_the_answer_does_not_come(world, role):
    _, releasing, peer = await collided(world, role)
    await world.clock.elapse(9.9)
    assert not releasing.done()
    await world.clock.elapse(0.2)
    with pytest.raises(AssociationTimeout) as caught:
        await releasing
    assert caught.value.phase == "release"
    assert await peer.read_to_end() == [Abort(0, 0)]
    peer.abort_transport()


WRONG: dict[str, tuple[bytes, Abort]] = {
    "P-DATA-TF": (ECHO, Abort(2, 2)),
    "A-RELEASE-RQ again": (encode(ReleaseRQ()), Abort(2, 2)),
    "A-ASSOCIATE-RQ": (encode(RQ), Abort(2, 2)),
    "A-ASSOCIATE-RJ": (encode(AssociateRJ(1, 1, 1)), Abort(2, 2)),
    "no PDU": (b"\x99" * 10, Abort(2, 1)),
}


@both_roles
@pytest.mark.parametrize("what", WRONG)
async def test_something_else_comes(world, role, what):
    _, releasing, peer = await collided(world, role)
    data, answer = WRONG[what]
    peer.send(data + encode(ReleaseRP()))  # what comes after it is not looked at
    with pytest.raises(AssociationAborted) as caught:
        await releasing
    assert (caught.value.source, caught.value.reason, caught.value.by_peer) == (answer.source, answer.reason, False)
    assert await peer.read_to_end() == [answer]
    peer.abort_transport()


def goes(peer: Any, how: str) -> None:
    """The peer ends it all."""
    if how == "abort":
        peer.send(Abort(0, 0))
    elif how == "fin":
        peer.finish()
    else:
        peer.transport.reset()


@both_roles
@pytest.mark.parametrize("how", ["abort", "fin", "reset"])
async def test_the_peer_goes(world, role, how):
    _, releasing, peer = await collided(world, role)
    goes(peer, how)
    with pytest.raises(AssociationAborted) as caught:
        await releasing
    assert caught.value.source == (0 if how == "abort" else None)
    assert await peer.read_to_end() == []
    peer.abort_transport()


@both_roles
@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_we_go(world, role, how):
    ours, releasing, peer = await collided(world, role)
    if how == "abort":
        ours.abort()
        with pytest.raises(AssociationAborted):
            await releasing
    else:
        releasing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await releasing
    assert await peer.read_to_end() == [Abort(0, 0)]
    peer.abort_transport()


@both_roles
async def test_nothing_can_be_asked_any_more(world, role):
    """PS3.8 Table 9-10 has no P-DATA request in these states."""
    ours, releasing, peer = await collided(world, role)
    request = CEchoRQ(message_id=0, affected_sop_class_uid=sop_class.Verification)
    with pytest.raises(aiodimse.AssociationClosed):
        await ours.invoker.invoke(1, request, None, timeout=5)
    peer.send(ReleaseRP())
    await releasing
    peer.abort_transport()


async def test_a_response_that_crosses_our_release_is_taken(world):
    """Sta7 takes data (AR-6), a collision takes none any more."""
    association, peer = await world.calling()
    matches = await association.c_find(world.query(), FIND).__aenter__()
    _, request, _ = await peer.read_message()
    releasing = asyncio.create_task(association._endpoint.release())
    await peer.expect(ReleaseRQ)
    peer.send_message(3, request.response(0x0000))
    await testing.settle()
    assert (await matches).status == 0
    peer.send(ReleaseRQ())
    await peer.expect(ReleaseRP)
    peer.send(ReleaseRP())
    await releasing
    peer.abort_transport()


async def test_a_request_in_the_middle_of_a_message_then_a_collision(world):
    """The rest of its message can not come any more, and the deadline for it is gone with the association."""
    association, peer = await world.calling()
    releasing = asyncio.create_task(association._endpoint.release())
    await peer.expect(ReleaseRQ)
    find = CFindRQ(message_id=1, affected_sop_class_uid=FIND, priority=0, has_data_set=True)
    data = command.encode(find)
    peer.send(pdata_header(3, True, True, len(data)) + data + encode(ReleaseRQ()))
    await peer.expect(ReleaseRP)
    assert association._endpoint.engine.deadline == 10.0
    peer.send(ReleaseRP())
    await releasing
    peer.abort_transport()


# --- while a hook is asked (Sta3) -------------------------------------------------------------------------------------


class Hook:
    """An on_associate hook that takes its time."""

    def __init__(self, world: Any) -> None:
        self.server = world.server(accept_called=True)
        self.server.on_associate(self)
        self.go = asyncio.Event()
        self.begun = self.cancelled = self.ended = False

    async def __call__(self, request: Any) -> None:
        self.begun = True
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        self.ended = True


async def asked(world: Any, hook: Hook) -> testing.ScriptedPeer:
    peer = await world.call()
    peer.send(RQ)
    await testing.settle()
    assert hook.begun
    assert not peer.has_pdu
    return peer


IN_STA3: dict[str, tuple[bytes, Abort]] = {
    "P-DATA-TF": (ECHO, Abort(2, 2)),
    "half a P-DATA-TF": (ECHO[:6], Abort(2, 2)),
    "A-RELEASE-RQ": (encode(ReleaseRQ()), Abort(2, 2)),
    "A-RELEASE-RP": (encode(ReleaseRP()), Abort(2, 2)),
    "A-ASSOCIATE-RQ": (encode(RQ), Abort(2, 2)),
    "A-ASSOCIATE-RJ": (encode(AssociateRJ(1, 1, 1)), Abort(2, 2)),
    "no PDU": (b"\x99" * 10, Abort(2, 1)),
}


@pytest.mark.parametrize("with_the_request", [False, True], ids=["later", "in one go"])
@pytest.mark.parametrize("what", IN_STA3)
async def test_what_comes_while_a_hook_is_asked(world, what, with_the_request):
    hook = Hook(world)
    data, answer = IN_STA3[what]
    async with world.listen(hook.server) as listening:
        if with_the_request:
            peer = await world.call()
            peer.send(encode(RQ) + data)
        else:
            peer = await asked(world, hook)
            peer.send(data)
        assert await peer.read_to_end() == [answer]
        assert len(listening.associations) == 0
        assert not hook.ended
        assert hook.cancelled == hook.begun, "nobody waits for its answer"
        peer.abort_transport()


@pytest.mark.parametrize("how", ["abort", "fin", "reset"])
async def test_the_peer_goes_while_a_hook_is_asked(world, how):
    hook = Hook(world)
    async with world.listen(hook.server) as listening:
        peer = await asked(world, hook)
        goes(peer, how)
        await testing.settle()
        assert await peer.read_to_end() == []
        assert len(listening.associations) == 0
        assert hook.cancelled
        peer.abort_transport()


async def test_the_hook_answers_at_last(world):
    hook = Hook(world)
    async with world.listen(hook.server):
        peer = await asked(world, hook)
        await world.clock.elapse(9.9)
        hook.go.set()
        await peer.expect(AssociateAC)
        peer.send(ECHO)
        assert (await peer.read_message())[1].status == 0
        peer.abort_transport()


async def test_a_server_that_is_left_does_not_wait_for_a_hook(world):
    hook = Hook(world)
    async with world.listen(hook.server):
        peer = await asked(world, hook)
        peer.keep_open = False
    assert hook.cancelled
    assert [type(pdu) for pdu in await peer.read_to_end()] == [Abort]


async def test_who_stops_asking_for_an_association(world):
    """Sta5: there is nothing to be released yet."""
    peers = await world.answer()
    opening = asyncio.create_task(world.open(104))
    peer = await peers.get()
    await peer.expect(AssociateRQ)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert await peer.read_to_end() == [Abort(0, 0)]
    peer.abort_transport()
