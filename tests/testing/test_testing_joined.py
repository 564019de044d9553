"""A user and a Server without sockets, scripted peers, and recorded conversations."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.dimse.messages import CEchoRQ, CEchoRSP
from aiodimse.dimse.operations import RequestReceived, ResponseReceived
from aiodimse.pdu import Abort, ReleaseRP, ReleaseRQ

CAPTURES = Path(__file__).parents[1] / "data" / "captures"
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind


async def test_a_user_and_a_server_joined():
    server = aiodimse.Server(ae_title="PACS")

    @server.on_c_find
    async def find(request):
        for name in ("A^B", "C^D"):
            match = Dataset()
            match.PatientName = name
            yield match

    network = testing.MemoryNetwork(split=lambda there: 7)
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    async with testing.joined(server, contexts=[sop_class.Verification, FIND], network=network) as association:
        assert (await association.c_echo()).status == 0
        found = await association.c_find(query, FIND).collect()
        assert [str(match.PatientName) for match in found] == ["A^B", "C^D"]
        assert len(network.open) == 2
    assert network.open == []
    assert len(asyncio.all_tasks()) == 1


async def test_nobody_listens():
    with pytest.raises(ConnectionRefusedError):
        await aiodimse.connect(
            "memory",
            1,
            contexts=[sop_class.Verification],
            environment=aiodimse.Environment(network=testing.MemoryNetwork()),
        )


async def test_a_scripted_user():
    network = testing.MemoryNetwork()
    async with aiodimse.Server().listen(network=network) as listening:
        peer = await testing.ScriptedPeer.call(network, listening.port)
        ac = await peer.associate([sop_class.Verification])
        assert [result.result for result in ac.results] == [0]
        peer.send_message(1, CEchoRQ(message_id=7, affected_sop_class_uid=sop_class.Verification))
        _, response, data = await peer.read_message()
        assert isinstance(response, CEchoRSP)
        assert (response.status, response.message_id_being_responded_to, data) == (0, 7, None)
        peer.send(ReleaseRQ())
        await peer.expect(ReleaseRP)
        await peer.closed()
        assert peer.eof


async def test_a_scripted_provider():
    network = testing.MemoryNetwork()
    peers = await testing.ScriptedPeer.listen(network, 104)

    async def call() -> None:
        async with aiodimse.connect(
            "x", 104, contexts=[sop_class.Verification], environment=aiodimse.Environment(network=network)
        ) as association:
            await association.c_echo()

    calling = asyncio.create_task(call())
    peer = await peers.get()
    rq = await peer.accept()
    assert rq.contexts[0].abstract_syntax == sop_class.Verification
    await peer.read_message()
    peer.send(Abort(0, 0))
    with pytest.raises(aiodimse.AssociationAborted):
        await calling
    await peer.closed()


def test_two_engines():
    pair = testing.EnginePair([sop_class.Verification], cut=testing.byte_by_byte)
    pair.connect()
    assert pair.is_established
    request = CEchoRQ(message_id=0, affected_sop_class_uid=sop_class.Verification)
    pair.requestor.invoke(1, request)
    pair.requestor.send(1, request)
    pair.carry()
    received = pair.events["acceptor"][-1]
    assert isinstance(received, RequestReceived)
    pair.acceptor.respond(received.operation, received.operation.request.response(0))
    pair.carry()
    assert isinstance(pair.events["requestor"][-1], ResponseReceived)
    pair.requestor.release(pair.now)
    pair.elapse(10)  # nobody answers the release: ReleaseTimedOut
    assert type(pair.events["requestor"][-1]).__name__ == "ReleaseTimedOut"
    pair.requestor.abort(pair.now)
    pair.carry()
    pair.elapse(60)
    assert (pair.requestor.machine.state, pair.acceptor.machine.state) == (1, 1)


@pytest.mark.parametrize("name", ["dcmtk-echo-1", "orthanc-echo-1"])
async def test_a_capture_played_to_a_server(name):
    network = testing.MemoryNetwork()
    async with aiodimse.Server(accept_called=True).listen(network=network) as listening:
        peer = await testing.ScriptedPeer.call(network, listening.port)
        heard = await testing.play(CAPTURES / f"{name}.dul", ">", peer)
    assert [type(pdu).__name__ for pdu in heard] == ["AssociateAC", "PDataTF", "ReleaseRP"]


async def test_a_capture_played_to_a_user():
    network = testing.MemoryNetwork()
    peers = await testing.ScriptedPeer.listen(network, 104)

    async def play() -> list[object]:
        return list(await testing.play(CAPTURES / "dcmtk-echo-1.dul", "<", await peers.get()))

    playing = asyncio.create_task(play())
    async with aiodimse.connect(
        "x", 104, contexts=[sop_class.Verification], environment=aiodimse.Environment(network=network)
    ) as association:
        assert (await association.c_echo()).status == 0
    assert [type(pdu).__name__ for pdu in await playing] == ["AssociateRQ", "PDataTF", "ReleaseRQ"]
