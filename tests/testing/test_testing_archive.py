"""FakeArchive and the fixtures, as a user's tests have them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse import commitment, sop_class, testing
from aiodimse.testing.fixtures import dicom_clock, dicom_environment, dicom_network, fake_archive

__all__ = ["dicom_clock", "dicom_environment", "dicom_network", "fake_archive"]

CT = Path(str(get_testdata_file("CT_small.dcm")))
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
Make = Callable[..., testing.FakeArchive]


def dataset(**values: str) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


TWO = [
    dataset(PatientID="1", StudyInstanceUID="1.2.1", StudyDescription="KNEE", Modality="CT"),
    dataset(PatientID="2", StudyInstanceUID="1.2.2", StudyDescription="HEAD", Modality="MR"),
]


async def test_find(fake_archive: Make, dicom_environment: aiodimse.Environment) -> None:
    async with (
        fake_archive(TWO) as archive,
        aiodimse.connect(
            "pacs", archive.port, contexts=[FIND], called_ae_title="FAKE", environment=dicom_environment
        ) as association,
    ):
        keys = dataset(QueryRetrieveLevel="STUDY", StudyDescription="KN*", StudyInstanceUID="")
        found = [match async for match in association.c_find(keys, sop_class_uid=FIND)]
    assert [match.StudyInstanceUID for match in found] == ["1.2.1"]
    assert archive.requests == ["C-FIND"]


async def test_get_and_store(fake_archive: Make, dicom_environment: aiodimse.Environment) -> None:
    async with (
        fake_archive([CT]) as archive,
        aiodimse.connect(
            "pacs",
            archive.port,
            contexts=[GET],
            storage=[sop_class.CTImageStorage],
            called_ae_title="FAKE",
            environment=dicom_environment,
        ) as association,
    ):
        held = archive.datasets[0]
        keys = dataset(QueryRetrieveLevel="STUDY", StudyInstanceUID=held.StudyInstanceUID)
        async with association.c_get(keys, sop_class_uid=GET) as instances:
            got = [await instance.dataset() async for instance in instances]
        assert [(each.SOPInstanceUID, each.PixelData) for each in got] == [(held.SOPInstanceUID, held.PixelData)]
    assert archive.stored == []


async def test_what_is_stored_is_found(fake_archive: Make, dicom_environment: aiodimse.Environment) -> None:
    async with (
        fake_archive() as archive,
        aiodimse.connect(
            "pacs",
            archive.port,
            contexts=[FIND, *aiodimse.contexts_for([CT])],
            called_ae_title="FAKE",
            environment=dicom_environment,
        ) as association,
    ):
        assert (await association.c_store(CT)).status == 0x0000
        keys = dataset(QueryRetrieveLevel="STUDY", StudyInstanceUID="")
        found = [match async for match in association.c_find(keys, sop_class_uid=FIND)]
    assert [match.StudyInstanceUID for match in found] == [archive.stored[0].StudyInstanceUID]
    assert archive.datasets == archive.stored
    assert archive.requests == ["C-STORE", "C-FIND"]


async def test_move(fake_archive: Make, dicom_environment: aiodimse.Environment) -> None:
    async with fake_archive(TWO) as source, fake_archive(ae_title="DEST") as destination:
        source.destinations["DEST"] = (destination.host, destination.port)
        async with aiodimse.connect(
            "pacs", source.port, contexts=[MOVE], called_ae_title="FAKE", environment=dicom_environment
        ) as association:
            keys = dataset(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.2")
            response = await association.c_move(keys, destination="DEST", sop_class_uid=MOVE)
            unknown = await association.c_move(keys, destination="NOBODY", sop_class_uid=MOVE)
    assert (response.status, unknown.status) == (0x0000, 0xA801)
    assert [each.PatientID for each in destination.stored] == ["2"]


async def test_storage_commitment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiodimse.archive.commitment._AFTER_RESPONSE", 0.0)
    hearing, reports = aiodimse.Server(), asyncio.Queue[commitment.CommitmentReport]()

    @hearing.on_n_event_report(commitment.SOP_CLASS)
    async def hear(request: aiodimse.NormalizedRequest) -> int:
        reports.put_nowait(commitment.CommitmentReport.read(request))
        return 0

    async with testing.FakeArchive([CT]) as archive:
        held = commitment.Reference(sop_class.CTImageStorage, archive.datasets[0].SOPInstanceUID)
        unknown = commitment.Reference(sop_class.CTImageStorage, "1.2.3")
        async with aiodimse.connect(
            archive.host, archive.port, contexts=[commitment.SOP_CLASS], called_ae_title="FAKE", handlers=hearing
        ) as association:
            request = commitment.CommitmentRequest("1.9.1", (held, unknown))
            assert (await request.send(association)).status == 0x0000
            async with asyncio.timeout(30):
                report = await reports.get()
    reasons = {each.sop_instance_uid: each.failure_reason for each in report.references}
    assert reasons == {held.sop_instance_uid: 0, "1.2.3": commitment.NO_SUCH_INSTANCE}


async def test_over_tcp() -> None:
    async with (
        testing.FakeArchive(TWO, ae_title="PACS") as archive,
        aiodimse.connect(
            archive.host, archive.port, contexts=[sop_class.Verification], called_ae_title="PACS"
        ) as association,
    ):
        assert (await association.c_echo()).status == 0x0000


async def test_the_clock_is_the_tests(
    fake_archive: Make, dicom_environment: aiodimse.Environment, dicom_clock: testing.ManualClock
) -> None:
    """An association that says nothing is ended after Timeouts.idle, of which no second passes."""
    async with fake_archive() as archive:
        peer = await testing.ScriptedPeer.call(dicom_environment.network, archive.port)
        await peer.associate([sop_class.Verification], called="FAKE")
        leaving = asyncio.create_task(peer.closed())
        await dicom_clock.elapse(aiodimse.Timeouts().idle or 0)
        await dicom_clock.elapse(60)
        await leaving
        peer.abort_transport()


def test_what_is_added_is_a_copy() -> None:
    given = dataset(PatientID="1")
    archive = testing.FakeArchive([given])
    assert "SOPInstanceUID" not in given
    (held,) = archive.datasets
    assert held.SOPClassUID == sop_class.SecondaryCaptureImageStorage


def test_a_file_that_is_none() -> None:
    with pytest.raises(FileNotFoundError):
        testing.FakeArchive(["/no/such/file.dcm"])
