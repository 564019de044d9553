"""C-ECHO where it cannot be answered at once: a message is half written, and the response waits for the pen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.datasets import encode_dataset
from aiodimse.dimse.messages import CEchoRQ, CFindRQ

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
EXPLICIT = "1.2.840.10008.1.2.1"


async def test_an_echo_while_a_match_is_written() -> None:
    network, server = testing.MemoryNetwork(in_flight=1000), aiodimse.Server(ae_title="PACS")
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"

    @server.on_c_find(FIND)
    async def find(request: Any) -> AsyncIterator[Any]:
        yield aiodimse.EncodedDataset(bytes(900_000), EXPLICIT)

    async with server.listen(network=network) as listening:
        peer = await testing.ScriptedPeer.call(network, listening.port)
        await peer.associate([sop_class.Verification, FIND], called="PACS", operations_window=(2, 1))
        peer.stop_reading()
        rq = CFindRQ(message_id=1, affected_sop_class_uid=FIND, priority=0)
        peer.send_message(3, rq, encode_dataset(identifier, EXPLICIT))
        await testing.settle()
        peer.send_message(1, CEchoRQ(message_id=2, affected_sop_class_uid=sop_class.Verification))
        await testing.settle()
        peer.go_on_reading()
        responses = [(await peer.read_message())[1] for _ in range(3)]
        found = [(response.message_id_being_responded_to, response.status) for response in responses]  # type: ignore[attr-defined]
        assert (found[0], sorted(found[1:])) == ((1, 0xFF00), [(1, 0x0000), (2, 0x0000)])
        peer.abort_transport()
