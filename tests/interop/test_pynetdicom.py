"""pynetdicom both ways: its users against our handlers, our user against its provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interop import pynetdicom_peers, samples
from interop.ours import HOST, TITLE, HandlerArchive, keys
from interop.pynetdicom_peers import NetdicomSCP

import aiodimse
from aiodimse import sop_class

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
PATHS = [sample.path for sample in samples.JOURNEY]
BY_INSTANCE = {sample.instance: sample for sample in samples.JOURNEY}


def _unpadded(data: bytes, sample: samples.Sample) -> bytes:
    """A deflated data set of odd length travels with a NUL at its end (PS3.5 A.5)."""
    return data[:-1] if len(data) == len(sample.data) + 1 else data


async def test_its_users_against_our_handlers(netdicom: Callable[..., NetdicomSCP], tmp_path: Path) -> None:
    in_thread, target = asyncio.to_thread, netdicom()
    archive = HandlerArchive(tmp_path, PATHS, {"NETDICOM": target.port})
    async with archive.server.listen(HOST, 0) as listening:
        port = listening.port
        assert await in_thread(pynetdicom_peers.echo, port, called=TITLE) == 0x0000
        assert await in_thread(pynetdicom_peers.store, port, PATHS, called=TITLE) == [0x0000] * len(PATHS)
        assert len(archive.stored()) == len(PATHS)
        every = keys(StudyInstanceUID="", PatientID="")
        found = await in_thread(pynetdicom_peers.find, port, FIND, every, called=TITLE)
        assert [status for status, _ in found] == [0xFF00] * len(PATHS) + [0x0000]
        assert {ds.StudyInstanceUID for _, ds in found if ds} == {sample.study for sample in samples.JOURNEY}
        storage: dict[str, list[str]] = {}
        for sample in samples.JOURNEY:
            storage.setdefault(sample.sop_class, []).append(sample.transfer_syntax)
        one_each = {uid: syntaxes[:1] for uid, syntaxes in storage.items()}
        taken = [s for s in samples.JOURNEY if s.transfer_syntax in one_each[s.sop_class]]
        results, received = await in_thread(pynetdicom_peers.get, port, GET, every, one_each, called=TITLE)
        assert results[-1][0] == 0xB000  # what is not compressed, and what is lossless, is not made lossy
        assert received.keys() >= {sample.instance for sample in taken}
        kept = {sample.instance: sample.data for sample in taken}
        assert {uid: _unpadded(received[uid], BY_INSTANCE[uid]) for uid in kept} == kept
        moved = await in_thread(pynetdicom_peers.move, port, MOVE, every, "NETDICOM", called=TITLE)
        assert moved[-1][0] == 0x0000
        assert target.received.keys() == BY_INSTANCE.keys()
        # Its provider prefers Explicit Little Endian, to which what is stored implicit or deflated is re-encoded.
        kept = {sample.instance for sample in samples.JOURNEY} - {samples.RT_PLAN.instance, samples.DEFLATED.instance}
        assert {uid: target.received[uid] for uid in kept} == {uid: BY_INSTANCE[uid].data for uid in kept}


async def test_our_user_against_its_provider(netdicom: Callable[..., NetdicomSCP], tmp_path: Path) -> None:
    target = HandlerArchive(tmp_path / "moved", accept_called=["DEST"])
    (tmp_path / "moved").mkdir()
    async with target.server.listen(HOST, 0) as listening:
        scp = netdicom(PATHS[:3], {"DEST": listening.port}, [FIND], [GET, MOVE])
        contexts = [sop_class.Verification, FIND, MOVE, *aiodimse.contexts_for(PATHS)]
        async with aiodimse.connect(HOST, scp.port, contexts=contexts) as association:
            assert (await association.c_echo()).status == 0x0000
            for path in PATHS:
                assert (await association.c_store(path)).status == 0x0000
            assert {uid: _unpadded(data, BY_INSTANCE[uid]) for uid, data in scp.received.items()} == {
                uid: sample.data for uid, sample in BY_INSTANCE.items()
            }
            found = await association.c_find(keys(StudyInstanceUID=""), FIND).collect()
            assert [match.StudyInstanceUID for match in found] == [s.study for s in samples.JOURNEY[:3]]
            final = await association.c_move(keys(StudyInstanceUID=""), MOVE, destination="DEST")
            assert final.status == 0x0000
            assert len(target.stored()) == 3
        async with aiodimse.connect(HOST, scp.port, contexts=[GET]) as association:
            async with association.c_get(keys(StudyInstanceUID=""), GET) as retrieval:
                got = [(await instance.dataset()).SOPInstanceUID async for instance in retrieval]
            assert retrieval.status == 0x0000
            assert got == [sample.instance for sample in samples.JOURNEY[:3]]


@pytest.mark.parametrize(("status", "comment"), [(0xA700, "no room"), (0xC123, "what is this"), (0x0122, "not here")])
async def test_a_failure_of_its_provider_raises_here(
    netdicom: Callable[..., NetdicomSCP], status: int, comment: str
) -> None:
    from pydicom import Dataset
    from pynetdicom import evt

    def fail(event: Any) -> Any:
        answer = Dataset()
        answer.Status, answer.ErrorComment = status, comment
        yield answer, None

    scp = netdicom(query=[FIND], handlers={evt.EVT_C_FIND: fail})
    async with aiodimse.connect(HOST, scp.port, contexts=[FIND]) as association:
        with pytest.raises(aiodimse.DIMSEFailure) as failure:
            await association.c_find(keys(StudyInstanceUID=""), FIND).collect()
        assert (failure.value.status, failure.value.comment) == (status, comment)


async def test_a_store_that_it_refuses_is_a_response(netdicom: Callable[..., NetdicomSCP]) -> None:
    from pynetdicom import evt

    scp = netdicom(handlers={evt.EVT_C_STORE: lambda event: 0xA700})
    contexts = aiodimse.contexts_for([samples.CT.path])
    async with aiodimse.connect(HOST, scp.port, contexts=contexts) as association:
        response = await association.c_store(samples.CT.path)
        assert response.status == 0xA700
        with pytest.raises(aiodimse.DIMSEFailure):
            response.raise_for_status()


# --- storage commitment: the SCP opens an association of its own and tells the SCU (PS3.4 J.3.3) ----------------------

COMMITMENT = sop_class.StorageCommitmentPushModel
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
EVENT = keys(TransactionUID="1.2.3")


def _report(port: int) -> int:
    from pynetdicom.presentation import build_role

    role = build_role(COMMITMENT, scp_role=True)
    contexts = [(COMMITMENT, [samples.EXPLICIT_LE])]
    with pynetdicom_peers.association(port, contexts, called=TITLE, ext_neg=[role]) as assoc:
        answer, _ = assoc.send_n_event_report(EVENT, 1, COMMITMENT, COMMITMENT_INSTANCE)
        return int(answer.Status)


async def test_it_reports_to_our_handler_in_the_role_scp() -> None:
    server, seen = aiodimse.Server(ae_title=TITLE), list[tuple[int | None, str]]()

    @server.on_n_event_report(COMMITMENT)
    async def report(request: aiodimse.NormalizedRequest) -> int:
        assert request.dataset is not None
        seen.append((request.event_type_id, request.dataset.TransactionUID))
        return 0x0000

    async with server.listen(HOST, 0) as listening:
        assert await asyncio.to_thread(_report, listening.port) == 0x0000
    assert seen == [(1, "1.2.3")]


async def test_we_report_to_its_handler_in_the_role_scp() -> None:
    from pynetdicom import AE, evt

    seen: list[tuple[int, str]] = []

    def report(event: Any) -> tuple[int, None]:
        seen.append((event.event_type, event.event_information.TransactionUID))
        return 0x0000, None

    ae = AE("NETDICOM")
    ae.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
    its = ae.start_server((HOST, 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)])
    try:
        contexts = [aiodimse.PresentationContext(COMMITMENT, scu=False, scp=True)]
        async with aiodimse.connect(HOST, its.server_address[1], contexts=contexts) as association:
            response = await association.n_event_report(COMMITMENT, COMMITMENT_INSTANCE, 1, EVENT)
            assert response.status == 0x0000
    finally:
        await asyncio.to_thread(its.shutdown)
    assert seen == [(1, "1.2.3")]
