"""request.association, the association as the provider sees it, and the hook that is told of its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing

VERIFICATION = sop_class.Verification
COMMITMENT = sop_class.StorageCommitmentPushModel
ONE = "1.2.840.10008.1.20.1.1"


class Ended:
    """What on_association_end was told."""

    def __init__(self, server: aiodimse.Server) -> None:
        self.told: list[tuple[aiodimse.ProviderAssociation, BaseException | None]] = []
        self.came = asyncio.Event()
        server.on_association_end(self.ended)

    async def ended(self, association: aiodimse.ProviderAssociation, error: BaseException | None) -> None:
        self.told.append((association, error))
        self.came.set()


async def test_one_object_from_the_first_request_to_the_end() -> None:
    server, seen = aiodimse.Server(ae_title="PACS"), []
    ended = Ended(server)

    @server.on_c_echo
    async def echo(request: aiodimse.EchoRequest) -> None:
        association = request.association
        association.state.echoes = getattr(association.state, "echoes", 0) + 1
        seen.append(association)

    async with testing.joined(server, contexts=[VERIFICATION], ae_title="MODALITY") as user:
        await user.c_echo()
        await user.c_echo()
        assert seen[0].is_open
        assert (seen[0].calling_ae_title, seen[0].called_ae_title) == ("MODALITY", "PACS")
        assert seen[0].peer_address[0] == "127.0.0.1"
        assert [context.abstract_syntax for context in seen[0].contexts] == [VERIFICATION]
        assert (seen[0].certificate, seen[0].user_identity) == (None, None)
    assert ended.told == [(seen[0], None)]
    assert seen[0] is seen[1]
    assert seen[0].state.echoes == 2
    assert not seen[0].is_open
    await seen[0].wait_closed()


async def test_the_end_of_what_the_peer_aborts() -> None:
    server = aiodimse.Server(ae_title="PACS")
    ended = Ended(server)
    async with testing.joined(server, contexts=[VERIFICATION]) as user:
        user.abort()
        await ended.came.wait()
    ((_, error),) = ended.told
    assert isinstance(error, aiodimse.AssociationAborted)
    assert error.by_peer


async def test_the_provider_aborts() -> None:
    server = aiodimse.Server(ae_title="PACS")
    ended = Ended(server)

    @server.on_c_echo
    async def echo(request: aiodimse.EchoRequest) -> None:
        request.association.abort()

    async with testing.joined(server, contexts=[VERIFICATION]) as user:
        with pytest.raises(aiodimse.AssociationAborted):
            await user.c_echo()
    ((_, error),) = ended.told
    assert isinstance(error, aiodimse.AssociationAborted)
    assert not error.by_peer


async def test_a_rejected_association_has_no_end() -> None:
    server = aiodimse.Server(ae_title="PACS", accept_calling="OTHER")
    ended = Ended(server)
    with pytest.raises(aiodimse.AssociationRejected):
        async with testing.joined(server, contexts=[VERIFICATION]):
            pass
    assert ended.told == []


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_what_the_hook_raises_is_logged_without_its_text(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    server = aiodimse.Server(ae_title="PACS")

    @server.on_association_end
    async def ended(association: Any, how: Any) -> None:
        raise error("DOE^JANE")

    async with testing.joined(server, contexts=[VERIFICATION]):
        pass
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert f"the on_association_end hook raised {error.__name__}" in said
    assert "DOE" not in said


async def test_an_event_is_reported_on_the_association_that_is_served() -> None:
    """Storage Commitment on one association (PS3.4 J.3.3): the N-ACTION is answered, then the result is reported."""
    archive, modality = aiodimse.Server(ae_title="PACS"), aiodimse.Server(ae_title="MODALITY")
    reported: asyncio.Queue[aiodimse.NormalizedRequest] = asyncio.Queue()
    tasks = []

    @archive.on_n_action(COMMITMENT)
    async def commit(request: aiodimse.NormalizedRequest) -> int:
        report = request.association.n_event_report(COMMITMENT, ONE, 1, request.dataset)
        tasks.append(asyncio.ensure_future(report))
        return 0x0000

    @modality.on_n_event_report(COMMITMENT)
    async def committed(request: aiodimse.NormalizedRequest) -> int:
        await reported.put(request)
        return 0x0110

    information = Dataset()
    information.TransactionUID = "1.2.3"
    async with testing.joined(archive, contexts=[COMMITMENT], handlers=modality) as user:
        assert (await user.n_action(COMMITMENT, ONE, 1, information)).status == 0x0000
        request = await reported.get()
        assert (request.event_type_id, request.dataset) == (1, information)
        assert (await tasks[0]).status == 0x0110
        assert request.association.called_ae_title == "PACS"


@pytest.mark.parametrize("name", ["authorize", "authenticate", "on_associate", "on_association_end"])
def test_a_hook_that_cannot_be_one_is_refused(name: str) -> None:
    async def no_parameter() -> bool:
        return True

    for wrong in (lambda *arguments: True, no_parameter, None):
        with pytest.raises(TypeError, match=r"async def|called with"):
            getattr(aiodimse.Server(), name)(wrong)
