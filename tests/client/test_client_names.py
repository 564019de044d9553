"""What users get from the library has a name that they can import, for their annotations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, get_type_hints

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, provide

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
COMMITMENT = sop_class.StorageCommitmentPushModel
STORE = aiodimse.PresentationContext(sop_class.CTImageStorage)  # C-GET alone would want it as SCP
CONTEXTS = [sop_class.Verification, STORE, FIND, GET, MOVE, COMMITMENT]


async def test_what_a_program_meets() -> None:
    server, seen = aiodimse.Server(ae_title="A"), list[Any]()

    @server.on_c_echo
    @server.on_c_store
    @server.on_n_action(COMMITMENT)
    async def one(request: aiodimse.EchoRequest | aiodimse.StoreRequest | aiodimse.NormalizedRequest) -> int:
        seen.append(request)
        return 0x0000

    @server.on_c_find
    @server.on_c_get
    @server.on_c_move
    async def many(request: aiodimse.FindRequest | aiodimse.GetRequest | aiodimse.MoveRequest) -> AsyncIterator[int]:
        seen.append(request)
        yield 0x0000

    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = sop_class.CTImageStorage, "1.2.3"
    listening: aiodimse.Listening = server.listen(network=testing.MemoryNetwork())
    assert isinstance(listening, aiodimse.Listening)
    async with testing.joined(server, contexts=CONTEXTS) as association:
        await association.c_echo()
        await association.c_store(image)
        await association.n_action(COMMITMENT, "1.2.3", 1)
        operations = (
            association.c_find(Dataset(), FIND),
            association.c_get(Dataset(), GET),
            association.c_move(Dataset(), MOVE, destination="B"),
        )
        for operation in operations:
            await operation
        assert [type(operation) for operation in operations] == [aiodimse.Find, aiodimse.Get, aiodimse.Move]
        assert isinstance(association.negotiated, aiodimse.Negotiated)
        assert isinstance(association.contexts[0], aiodimse.AcceptedContext)
    kinds = ["EchoRequest", "StoreRequest", "NormalizedRequest", "FindRequest", "GetRequest", "MoveRequest"]
    assert [type(request) for request in seen] == [getattr(aiodimse, name) for name in kinds]
    assert all(isinstance(request, aiodimse.Request) for request in seen)
    assert all(isinstance(request.association, aiodimse.ProviderAssociation) for request in seen)
    with pytest.raises(aiodimse.LocalProtocolError):
        aiodimse.connect("localhost", 104, contexts=[])
    assert hasattr(aiodimse.Metrics, "operation_ended")
    assert issubclass(aiodimse.RemoteProtocolError, aiodimse.ProtocolError)


def test_the_archive_uses_them(tmp_path: Any) -> None:
    server = aiodimse.Server()
    provide(server, Archive(tmp_path))
    found = server._registry.find("C-FIND", FIND)
    assert found is not None
    assert get_type_hints(found.handler)["request"] is aiodimse.FindRequest
