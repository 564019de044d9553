"""Sub-operations that are answered before their data set is out, by a peer that refuses on the command set alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.dimse import command
from aiodimse.dimse.messages import CGetRQ, CGetRSP, CMoveRQ, CMoveRSP, CStoreRQ
from aiodimse.pdu import PDataTF, ReleaseRP, ReleaseRQ

GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT = sop_class.CTImageStorage
EXPLICIT = "1.2.840.10008.1.2.1"
IDENTIFIER = b"\x08\x00\x52\x00CS\x06\x00STUDY "


class Large(aiodimse.Instance):
    """More than is in flight and buffered: the last of it waits for room."""

    async def _stream(self) -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(100_000)

    def stream(self) -> AsyncIterator[bytes]:
        return self._stream()


async def refuse(peer: testing.ScriptedPeer) -> None:
    """Answer a C-STORE when its command set is in, and only then read its data set."""
    pdv = (await peer.expect(PDataTF)).pdvs[0]
    request = command.decode(pdv.data)
    assert isinstance(request, CStoreRQ)
    peer.send_message(pdv.context_id, request.response(0xA700))
    while not pdv.is_last or pdv.is_command:
        pdv = (await peer.expect(PDataTF)).pdvs[-1]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("service", ["C-GET", "C-MOVE"])
async def test_refused_before_the_data_set_is_out(service: str, number: int) -> None:
    """From Python 3.12 on, the task that takes the responses has ended by the time that it has been started."""
    network = testing.MemoryNetwork(in_flight=2000)
    server = aiodimse.Server(environment=aiodimse.Environment(network=network))

    @server.on_c_get
    @server.on_c_move
    async def retrieve(request: Any) -> AsyncIterator[Any]:
        if service == "C-MOVE":
            yield "memory", 105
        yield number
        for n in range(number):
            yield Large(CT, f"1.2.3.{n}", EXPLICIT)

    destinations = await testing.ScriptedPeer.listen(network, 105)
    async with server.listen("memory", 104):
        user = await testing.ScriptedPeer.call(network, 104)
        await user.associate([GET, MOVE, aiodimse.PresentationContext(CT, scu=False, scp=True)])
        destination = user
        if service == "C-GET":
            user.send_message(1, CGetRQ(message_id=7, affected_sop_class_uid=GET), IDENTIFIER)
        else:
            request = CMoveRQ(message_id=7, affected_sop_class_uid=MOVE, move_destination="DEST")
            user.send_message(3, request, IDENTIFIER)
            destination = await destinations.get()
            await destination.accept()
        for left in reversed(range(number)):
            await refuse(destination)
            _, response, data = await user.read_message()
            assert isinstance(response, CGetRSP if service == "C-GET" else CMoveRSP)
            assert response.number_of_failed_suboperations == number - left
            assert response.status == (0xFF00 if left else 0xA702)
            if destination is not user and not left:
                await destination.expect(ReleaseRQ)
                destination.send(ReleaseRP())
        assert data is not None
        assert all(f"1.2.3.{n}".encode() in data for n in range(number))
        user.abort_transport()
