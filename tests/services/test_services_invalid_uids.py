"""UIDs that are none: pydicom would log each, quote it, and warn of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.commitment import CommitmentRequest, Reference
from aiodimse.datasets import decode_dataset, encode_dataset

GET = sop_class.StudyRootQueryRetrieveInformationModelGet
CT = sop_class.CTImageStorage
COMMITMENT = sop_class.StorageCommitmentPushModel
INVALID = "1.02.x"


@pytest.fixture(autouse=True)
def nothing_from_pydicom(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """It logs with the value; the tests of others ignore its warnings."""
    yield
    records = caplog.get_records("call")
    assert not [record for record in records if record.name.startswith("pydicom")]


def instance() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CT
    dataset.add(DataElement("SOPInstanceUID", "UI", INVALID, validation_mode=config.IGNORE))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def uid_of(dataset: Dataset) -> tuple[str, str]:
    return dataset.file_meta.MediaStorageSOPInstanceUID, dataset.SOPInstanceUID


async def test_an_instance_that_is_stored_and_decoded() -> None:
    server = aiodimse.Server(ae_title="ARCHIVE", accept_called=True)
    found = []

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        found.append(uid_of(await request.dataset()))
        return 0x0000

    async with testing.joined(server, contexts=[CT]) as association:
        assert (await association.c_store(instance())).status == 0x0000
    assert found == [(INVALID, INVALID)]


async def test_instances_that_are_retrieved_and_those_that_failed() -> None:
    server = aiodimse.Server(ae_title="ARCHIVE", accept_called=True)

    @server.on_c_get(GET)
    async def get(request: aiodimse.GetRequest) -> AsyncIterator[Any]:
        yield 3
        yield instance()
        yield aiodimse.ReferencedFile("nowhere.dcm", sop_instance_uid=INVALID)
        yield aiodimse.ReferencedFile("nowhere.dcm", sop_instance_uid=INVALID + "2")

    async with (
        testing.joined(server, contexts=[GET], storage=[CT]) as association,
        association.c_get(aiodimse.identifier("STUDY"), GET, allow_incomplete=True) as retrieval,
    ):
        found = [uid_of(await each.dataset()) async for each in retrieval]
    assert found == [(INVALID, INVALID)]
    assert retrieval.failed_sop_instance_uids == (INVALID, INVALID + "2")


async def test_files_that_are_decoded(tmp_path: Path) -> None:
    path = await aiodimse.Instance.from_dataset(instance()).save(tmp_path, "1.dcm")
    assert uid_of(await (await aiodimse.Instance.open(path)).dataset()) == (INVALID, INVALID)

    async def chunks() -> AsyncIterator[bytes]:
        yield path.read_bytes()

    assert uid_of(await (await aiodimse.Instance.from_part10(chunks())).dataset()) == (INVALID, INVALID)


async def test_a_storage_commitment() -> None:
    server = aiodimse.Server(ae_title="ARCHIVE", accept_called=True)
    asked = []

    @server.on_n_action(COMMITMENT)
    async def commit(request: aiodimse.NormalizedRequest) -> int:
        asked.append(CommitmentRequest.read(request))
        return 0x0000

    async with testing.joined(server, contexts=[COMMITMENT]) as association:
        references = (Reference(CT, INVALID),)
        await CommitmentRequest(INVALID, references).send(association)
    assert [(each.transaction_uid, each.references[0].sop_instance_uid) for each in asked] == [(INVALID, INVALID)]


def test_several_in_one_element() -> None:
    both = DataElement("RelatedGeneralSOPClassUID", "UI", [INVALID, INVALID + "2"], validation_mode=config.IGNORE)
    syntax = "1.2.840.10008.1.2.1"
    decoded = decode_dataset(encode_dataset(Dataset({both.tag: both}), syntax), syntax)
    assert decoded.RelatedGeneralSOPClassUID == [INVALID, INVALID + "2"]
