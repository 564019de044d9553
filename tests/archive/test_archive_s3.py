"""An archive in a bucket, asked over the network; the store is moto's server, in a process of its own."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from archive.databases import new_database, open_index
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, provide

obstore = pytest.importorskip("obstore", reason="the extra s3 is not installed")
pytest.importorskip("moto", reason="moto, of the extra test, is not installed")

from aiodimse.archive.storage.s3 import S3Storage  # noqa: E402

MR = sop_class.MRImageStorage
HOST = "127.0.0.1"
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if b"Running on" in line:
            break
    yield f"http://{HOST}:{port}"
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.fixture
def storage(endpoint: str) -> S3Storage:
    bucket = f"b{uuid4().hex}"
    urlopen(Request(f"{endpoint}/{bucket}", method="PUT")).close()
    how: dict[str, Any] = {"access_key_id": "any", "secret_access_key": "any", "region": "us-east-1"}
    return S3Storage(f"s3://{bucket}/archive", endpoint=endpoint, **how)


@pytest.fixture
async def archive(storage: S3Storage, tmp_path: Path) -> AsyncIterator[Archive]:
    archive = await Archive.open(storage, index=await open_index("sqlite", tmp_path))
    yield archive
    await archive.close()


@pytest.fixture
async def port(archive: Archive) -> AsyncIterator[int]:
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive)
    async with server.listen(HOST, 0) as listening:
        yield listening.port


def connect(port: int, *contexts: str) -> aiodimse.Connect:
    return aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=contexts)


def sent(name: str = "MR_small.dcm", **attributes: object) -> Dataset:
    dataset = dcmread(get_testdata_file(name, download=False))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def asked(dataset: Dataset) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", dataset.StudyInstanceUID
    identifier.PatientName = None
    return identifier


@pytest.mark.parametrize("name", ["MR_small.dcm", "CT_small.dcm", "image_dfl.dcm", "JPEG2000.dcm"])
async def test_stored_found_and_retrieved(port: int, archive: Archive, name: str) -> None:
    one = sent(name)
    context = aiodimse.PresentationContext(one.SOPClassUID, (one.file_meta.TransferSyntaxUID,))
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[context, FIND]) as peer:
        assert (await peer.c_store(one)).status == 0x0000
        (match,) = await peer.c_find(asked(one), FIND).collect()
        assert match.StudyInstanceUID == one.StudyInstanceUID
    role = aiodimse.PresentationContext(one.SOPClassUID, (one.file_meta.TransferSyntaxUID,), scu=False, scp=True)
    connecting = aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[GET, role])
    async with connecting as peer, peer.c_get(asked(one), GET) as retrieval:
        (got,) = [await instance.dataset() async for instance in retrieval]
    assert got.SOPInstanceUID == one.SOPInstanceUID
    assert got.PixelData == one.PixelData
    assert [path.suffix for path in archive.storage.walk() for path in map(Path, path.files)] == [".dcm"]


async def test_another_instance_leaves_the_first(port: int, archive: Archive) -> None:
    one = sent()
    async with connect(port, one.SOPClassUID) as peer:
        assert (await peer.c_store(one)).status == 0x0000
        before = [found.files for found in archive.storage.walk()]
        assert (await peer.c_store(sent(PatientID="OTHER"))).status == 0xA900
        assert (await peer.c_store(one)).status == 0x0000
        assert (await peer.c_store(sent(StudyInstanceUID=""))).status == 0xA900
    assert [found.files for found in archive.storage.walk()] == before


async def test_a_scan_finds_what_the_bucket_holds(port: int, archive: Archive, storage: S3Storage) -> None:
    one = sent()
    async with connect(port, one.SOPClassUID) as peer:
        await peer.c_store(one)
    again = await Archive.open(storage, index="memory:")
    assert (again.report.files, again.report.indexed) == (1, 1)
    assert await again.index.lookup([one.SOPInstanceUID]) == await archive.index.lookup([one.SOPInstanceUID])
    assert (await archive.scan()).indexed == 1
    obstore.delete(storage._store, storage.location_for(one.SOPInstanceUID))
    assert (await archive.scan()).forgotten == 1


async def test_a_bucket_that_does_not_answer_is_an_error_of_one_line(endpoint: str) -> None:
    how: dict[str, Any] = {"access_key_id": "any", "secret_access_key": "hidden", "region": "us-east-1"}
    with pytest.raises(OSError, match="the bucket does not answer: ") as caught:
        await Archive.open(S3Storage("s3://no-such-bucket/archive", endpoint=endpoint, **how))
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)


async def test_a_bucket_needs_an_index(storage: S3Storage) -> None:
    with pytest.raises(ValueError, match="needs an index"):
        await Archive.open(storage)


@pytest.mark.parametrize("patients", [("A", "A"), ("A", "B")], ids=["the same instance", "another patient's"])
async def test_two_machines_on_one_bucket_and_one_database(storage: S3Storage, patients: tuple[str, str]) -> None:
    """Both are sent one UID at the same moment, again and again: the object is the one that was acknowledged."""
    url = new_database()
    archives = [await Archive.open(storage, index=url) for _ in range(2)]
    servers = [aiodimse.Server(ae_title="ARCHIVE") for _ in archives]
    for server, archive in zip(servers, archives, strict=True):
        provide(server, archive)

    async def store(port: int, patient: str, uid: str) -> int:
        dataset = sent(PatientID=patient, SOPInstanceUID=uid)
        dataset.file_meta.MediaStorageSOPInstanceUID = uid
        async with connect(port, MR) as peer:
            return (await peer.c_store(dataset)).status

    async with servers[0].listen(HOST, 0) as one, servers[1].listen(HOST, 0) as other:
        for number in range(8):
            uid = f"1.2.3.{number}"
            places = zip((one.port, other.port), patients, strict=True)
            statuses = await asyncio.gather(*(store(port, patient, uid) for port, patient in places))
            entry = (await archives[0].index.lookup([uid]))[uid]
            header = await asyncio.to_thread(storage.read, entry.location)
            assert header.text("PatientID") == entry.patient_id
            assert entry.patient_id == patients[statuses.index(0x0000)]
            assert sorted(statuses) == ([0x0000] * 2 if len(set(patients)) == 1 else [0x0000, 0xA900])
    for archive in archives:
        await archive.close()
