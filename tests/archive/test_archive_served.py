"""An archive on a real Server, asked through connect, over loopback."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from archive import strategies
from pydicom import Dataset, dcmread
from pydicom.data import get_charset_files, get_testdata_file

import aiodimse
from aiodimse import PresentationContext, sop_class
from aiodimse.archive import Archive, provide

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
FILES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "JPEG2000.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm")
HOST = "127.0.0.1"


asked = partial(strategies.asked, SpecificCharacterSet="ISO_IR 192")


def study(file: str) -> str:
    return str(dcmread(get_testdata_file(file, download=False), stop_before_pixels=True).StudyInstanceUID)


@pytest.fixture
async def archive(tmp_path: Path) -> Archive:
    folder = tmp_path / "archive"
    folder.mkdir()
    for file in FILES:
        shutil.copy(get_testdata_file(file, download=False), folder)
    for name in ("chrH31.dcm", "chrGerm.dcm", "chrX1.dcm"):
        shutil.copy(next(path for path in get_charset_files("*.dcm") if path.endswith(name)), folder)
    return await Archive.open(folder, index="memory:")


def connect(port: int, *contexts: str | PresentationContext) -> aiodimse.Connect:
    return aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=contexts)


@pytest.mark.parametrize(
    ("key", "character_set"),
    [("山田*", ["", "ISO 2022 IR 87"]), ("äneas^RÜDIGER", "ISO_IR 100"), ("=王*", "ISO_IR 192")],
)
async def test_find(port: int, key: str, character_set: object) -> None:
    async with connect(port, FIND) as association:
        matches = await association.c_find(asked("STUDY", PatientName=key, ModalitiesInStudy=""), FIND).collect()
    (found,) = matches
    assert found.SpecificCharacterSet == character_set
    assert found.RetrieveAETitle == "ARCHIVE"
    assert found.ModalitiesInStudy == "OT"


async def test_find_refuses_what_does_not_fit(port: int) -> None:
    async with connect(port, FIND) as association:
        with pytest.raises(aiodimse.DIMSEFailure) as caught:
            await association.c_find(asked("PATIENT", PatientID=""), FIND).collect()
    assert caught.value.status == 0xA900
    assert caught.value.offending_elements == (0x00080052,)
    assert caught.value.comment == "no PATIENT level in the Study Root model"


async def test_find_tolerates_a_missing_unique_key(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """Once in the log for the association, with the peer's name and without a value."""
    async with connect(port, FIND) as association:
        for level in ("SERIES", "series"):
            identifier = asked(level, SeriesInstanceUID="", PatientName="äneas*")
            assert len(await association.c_find(identifier, FIND).collect()) == 1
            assert len(await association.c_find(asked(level, SeriesInstanceUID=""), FIND).collect()) == 8
    first, second = [line for line in caplog.messages if "tolerated" in line]
    assert "missing-unique-key" in first
    assert "lower-case-level" in second
    assert "neas" not in caplog.text


@pytest.mark.parametrize("uid", [GET, MOVE])
async def test_an_image_is_retrieved_by_its_uid_alone(port: int, uid: str) -> None:
    image = str(dcmread(get_testdata_file("CT_small.dcm", download=False)).SOPInstanceUID)
    async with connect(port, uid) as association:
        if uid == GET:
            async with association.c_get(asked("IMAGE", SOPInstanceUID=image), uid) as retrieval:
                async for instance in retrieval:
                    assert instance.sop_instance_uid == image
                    await instance.discard()
            assert retrieval.progress.completed == 1
        else:
            final = await association.c_move(asked("IMAGE", SOPInstanceUID=image), uid, destination="ARCHIVE")
            assert (final.status, final.progress.completed) == (0x0000, 1)


async def test_find_says_when_a_key_is_not_kept(port: int) -> None:
    async with connect(port, FIND) as association:
        identifier = asked("STUDY", StudyInstanceUID=study("CT_small.dcm"), PixelSpacing=None)
        async with association.c_find(identifier, FIND) as matches:
            found = [(matches.last_status, "PixelSpacing" in each) async for each in matches]
        assert found == [(0xFF01, False)]
        assert matches.status == 0x0000


async def test_find_with_extended_negotiation(port: int) -> None:
    wanted = aiodimse.ExtendedQuery(relational=True, fuzzy_names=True)
    identifier = asked("IMAGE", PatientName="rudiger aneas", SOPInstanceUID="")
    async with connect(port, PresentationContext(FIND, extended=wanted)) as association:
        assert len(await association.c_find(identifier, FIND).collect()) == 1


@pytest.mark.parametrize("file", ["CT_small.dcm", "rtplan.dcm", "image_dfl.dcm"])
async def test_get(port: int, file: str, tmp_path: Path) -> None:
    async with connect(port, GET) as association:
        identifier = asked("STUDY", StudyInstanceUID=study(file))
        async with association.c_get(identifier, GET) as retrieval:
            paths = [await instance.save(tmp_path, durable=False) async for instance in retrieval]
    assert retrieval.status == 0x0000
    (path,) = paths
    assert dcmread(path) == dcmread(get_testdata_file(file, download=False))


async def test_what_is_stored_is_found_and_retrieved(port: int, archive: Archive) -> None:
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    dataset.StudyInstanceUID, dataset.SOPInstanceUID = "1.2.3", "1.2.3.4"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    async with connect(port, sop_class.CTImageStorage, FIND, MOVE) as association:
        assert (await association.c_store(dataset)).status == 0x0000
        identifier = asked("STUDY", StudyInstanceUID="1.2.3", NumberOfStudyRelatedInstances="")
        (found,) = await association.c_find(identifier, FIND).collect()
        assert found.NumberOfStudyRelatedInstances == 1
        identifier = asked("STUDY", StudyInstanceUID="1.2.3")
        final = await association.c_move(identifier, MOVE, destination="ARCHIVE")
        assert final.status == 0x0000
    assert archive.storage.path(archive.storage.location_for("1.2.3.4")).exists()


async def test_move_to_nobody(port: int) -> None:
    async with connect(port, MOVE) as association:
        identifier = asked("STUDY", StudyInstanceUID=study("CT_small.dcm"))
        with pytest.raises(aiodimse.DIMSEFailure) as caught:
            (await association.c_move(identifier, MOVE, destination="NOBODY")).raise_for_status()
    assert caught.value.status == 0xA801


async def test_move_of_a_compressed_object(port: int, archive: Archive) -> None:
    before = await archive.index.counts()
    async with connect(port, MOVE) as association:
        identifier = asked("STUDY", StudyInstanceUID=study("JPEG2000.dcm"))
        final = await association.c_move(identifier, MOVE, destination="ARCHIVE")
    assert final.status == 0x0000
    assert await archive.index.counts() == before
    duplicates = archive.report.duplicates
    assert (await archive.scan()).duplicates == duplicates  # it was there already


def sent(**attributes: object) -> Dataset:
    dataset = dcmread(get_testdata_file("MR_small.dcm", download=False))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


async def stored(archive: Archive) -> list[tuple[str, str, str]]:
    """Patient, description and number of the images whose UID is 1.2.3.4, as they are found."""
    entry = (await archive.index.lookup(["1.2.3.4"]))["1.2.3.4"]
    dataset = dcmread(archive.storage.path(entry.location), stop_before_pixels=True)
    return [(str(dataset.PatientID), str(dataset.SeriesDescription), str(dataset.StudyInstanceUID))]


@pytest.mark.parametrize(
    ("duplicates", "other", "status", "kept"),
    [
        ("keep", {"SeriesDescription": "LATER"}, 0x0000, "FIRST"),
        ("replace", {"SeriesDescription": "LATER"}, 0x0000, "LATER"),
        ("keep", {"PatientID": "OTHER", "SeriesDescription": "LATER"}, 0xA900, "FIRST"),
        ("replace", {"PatientID": "OTHER", "SeriesDescription": "LATER"}, 0xA900, "FIRST"),
        ("keep", {"StudyInstanceUID": "1.9", "SeriesDescription": "LATER"}, 0xA900, "FIRST"),
        ("keep", {"SeriesInstanceUID": "1.9", "SeriesDescription": "LATER"}, 0xA900, "FIRST"),
        ("replace", {"StudyInstanceUID": "", "SeriesDescription": "LATER"}, 0xA900, "FIRST"),
    ],
)
@pytest.mark.parametrize("is_indexed", [True, False])
async def test_one_uid_stored_twice(
    tmp_path: Path, duplicates: Any, other: dict[str, object], status: int, kept: str, is_indexed: bool
) -> None:
    archive = await Archive.open(tmp_path, index="memory:", duplicates=duplicates)
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    async with server.listen(HOST, 0) as listening, connect(listening.port, sop_class.MRImageStorage) as association:
        first = sent(SeriesDescription="FIRST")
        assert (await association.c_store(first)).status == 0x0000
        if not is_indexed:  # as if an index had been lost: the file is there
            await archive.index.remove([archive.storage.location_for("1.2.3.4")])
        response = await association.c_store(sent(**other))
        assert response.status == status
        assert (response.error_comment is None) == (status == 0x0000)
    if not is_indexed:
        await archive.scan()
    assert await stored(archive) == [(str(first.PatientID), kept, str(first.StudyInstanceUID))]
    assert (await archive.index.counts()).instances == 1


async def test_two_senders_of_one_uid_at_once(tmp_path: Path) -> None:
    """Index and file agree, and who was told Success sent what is there."""
    archive = await Archive.open(tmp_path, index="memory:")
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    async with server.listen(HOST, 0) as listening:
        for number in range(10):
            uid = f"1.2.3.{number}"
            senders = {}
            for patient in ("A", "B"):
                dataset = sent(PatientID=patient, SOPInstanceUID=uid)
                dataset.file_meta.MediaStorageSOPInstanceUID = uid
                senders[patient] = dataset

            async def send(dataset: Dataset) -> int:
                async with connect(listening.port, sop_class.MRImageStorage) as association:
                    return (await association.c_store(dataset)).status

            statuses = await asyncio.gather(*map(send, senders.values()))
            assert sorted(statuses) == [0x0000, 0xA900]
            winner = list(senders)[statuses.index(0x0000)]
            entry = (await archive.index.lookup([uid]))[uid]
            assert entry.patient_id == winner
            assert dcmread(archive.storage.path(entry.location)).PatientID == winner
