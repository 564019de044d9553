"""examples/dicomweb_gateway: the client that its users use, real archives, clients that go away, and a GiB."""

from __future__ import annotations

import asyncio
import errno
import http.client
import io
import logging
import shutil
import socket
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from dicomweb_client.api import DICOMwebClient
from dicomweb_gateway.app import create
from dicomweb_gateway.archive import FIND, GET
from dicomweb_gateway.config import Config
from examples.readme import EXAMPLES, changed, commands, ended, started
from interop.dcmtk import DcmQRSCP
from interop.orthanc import Orthanc
from interop.programs import Keeper, Provider, run
from PIL import Image
from ports import free_port
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import aiodimse
from aiodimse import testing

HOST = "127.0.0.1"
CT = str(get_testdata_file("CT_small.dcm"))
OHIF = "@ohif/app@3.13.2"
BOUND = 200 << 20
"""Bytes of memory that a gateway may have had at most. Python with what it imports takes about half of it."""


def images(count: int) -> list[Dataset]:
    """A study of one series."""
    study, series = generate_uid(), generate_uid()
    found = []
    for number in range(count):
        dataset = dcmread(CT)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = study, series, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = number + 1
        found.append(dataset)
    return found


def uids(dataset: Dataset) -> tuple[str, str, str]:
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


class Gateway(Provider):
    """The example as a process."""

    def __init__(self, folder: Path, archive_port: int, title: str, *lines: str) -> None:
        port = free_port()
        text = (EXAMPLES / "dicomweb_gateway" / "gateway.toml").read_text(encoding="utf-8")
        text = changed(text, {"11112": archive_port, '"ARCHIVE"': f'"{title}"', "8080": port})
        (folder / "gateway.toml").write_text("\n".join([text, *lines]), encoding="utf-8")
        command = [sys.executable, "-m", "dicomweb_gateway", str(folder / "gateway.toml")]
        super().__init__(command, port, folder, {"PYTHONPATH": str(EXAMPLES)})
        self.client = DICOMwebClient(f"http://{HOST}:{port}/dicomweb")

    @property
    def peak(self) -> int:
        """The most memory that it had, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10


class Serve(Provider):
    """`aiodimse serve` over a folder."""

    title = "ARCHIVE"

    def __init__(self, folder: Path, destinations: Any = None) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        port = free_port()
        words = ["serve", str(self.files), "--ae-title", self.title, "--port", str(port)]
        super().__init__([sys.executable, "-m", "aiodimse", *words], port, folder)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.stop()


@asynccontextmanager
async def serving(port: int, **more: Any) -> AsyncIterator[int]:
    """The gateway in this process, before the archive on this port; gives its own."""
    options = {"archive_host": HOST, "archive_port": port, "archive_ae_title": "FAKE", **more}
    async with create(Config(**options)) as app:
        server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_config=None))
        listening = socket.create_server((HOST, 0))  # connections wait here until it serves
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def get(port: int, path: str, *, accept: str = "*/*") -> tuple[int, bytes]:
    """The status and the body of a GET."""
    status, _, body = await request(port, "GET", path, {"Accept": accept})
    return status, body


async def request(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, str, bytes]:
    """The status, the media type and the body of an answer."""

    def ask() -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheader("Content-Type", ""), response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


# --- the client that its users use, and real archives -----------------------------------------------------------------


@pytest.mark.interop
@pytest.mark.parametrize(
    ("kind", "by"),
    [(Serve, "C-GET"), (DcmQRSCP, "C-GET"), (DcmQRSCP, "C-MOVE"), (Orthanc, "C-GET"), (Orthanc, "C-MOVE")],
)
async def test_dicomweb_client(kind: Callable[..., Any], by: str, keeper: Keeper) -> None:
    """Stored, searched, retrieved: as wholes, metadata, frames, rendered."""
    move_port = free_port()
    archive = keeper.start(kind, {"GATEWAY": move_port})
    more = [f"move_port = {move_port}"] if by == "C-MOVE" else []
    gateway = keeper.start(Gateway, archive.port, archive.title, *more)
    await asyncio.to_thread(use, gateway.client, images(3))


def use(client: DICOMwebClient, study: list[Dataset]) -> None:
    of_study, of_series, of_instance = uids(study[0])
    answer = client.store_instances(study)
    assert {item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence} == {uids(each)[2] for each in study}
    (found,) = client.search_for_studies(search_filters={"StudyInstanceUID": of_study})
    assert Dataset.from_json(found).StudyInstanceUID == of_study
    (found,) = client.search_for_series(of_study)
    assert Dataset.from_json(found).SeriesInstanceUID == of_series
    assert len(client.search_for_instances(of_study, of_series)) == 3
    assert len(client.search_for_instances(of_study, of_series, limit=2)) == 2
    whole = {each.SOPInstanceUID: each for each in client.retrieve_study(of_study)}
    assert whole.keys() == {uids(each)[2] for each in study}
    assert all(whole[each.SOPInstanceUID].PixelData == each.PixelData for each in study)
    metadata = [Dataset.from_json(each) for each in client.retrieve_series_metadata(of_study, of_series)]
    assert sorted(each.InstanceNumber for each in metadata) == [1, 2, 3]
    assert not any("PixelData" in each for each in metadata)
    one = client.retrieve_instance(of_study, of_series, of_instance)
    assert one.PatientID == study[0].PatientID
    (frame,) = client.retrieve_instance_frames(of_study, of_series, of_instance, [1])
    assert frame == study[0].PixelData
    for media_type in ("image/png", "image/jpeg"):
        picture = client.retrieve_instance_rendered(of_study, of_series, of_instance, media_types=(media_type,))
        with Image.open(io.BytesIO(picture)) as image:
            assert image.size == (128, 128)
            assert image.format == media_type.split("/")[1].upper()
            assert image.getextrema()[1] > 200


# --- what else it answers ---------------------------------------------------------------------------------------------


async def test_what_is_not_there_and_what_is_no_question() -> None:
    (dataset,) = images(1)
    one = "/dicomweb/studies/{}/series/{}/instances/{}".format(*uids(dataset))
    async with testing.FakeArchive([dataset]) as archive, serving(archive.port) as port:
        assert await get(port, "/dicomweb/studies?PatientID=nobody") == (204, b"")
        assert await get(port, "/dicomweb/studies?limit=0") == (204, b"")
        assert await get(port, "/dicomweb/studies?offset=1") == (204, b"")
        for patient, found in (("nobody", 204), (dataset.PatientID, 200)):
            with await asyncio.to_thread(
                urllib.request.urlopen,
                f"http://{HOST}:{port}/dicomweb/studies?fuzzymatching=true&PatientID={patient}",
            ) as answered:
                assert (answered.status, answered.headers["Warning"][:4]) == (found, "299 ")
        assert (await get(port, "/dicomweb/studies?fuzzymatching=yes"))[0] == 400
        for path in ("", "/metadata", "/series/1.2/instances/1.3/frames/1", "/series/1.2/instances/1.3/rendered"):
            assert (await get(port, f"/dicomweb/studies/1.2.3{path}"))[0] == 404
        assert (await get(port, "/dicomweb/studies?NoSuchKeyword=1"))[0] == 400
        for query in ("limit=x", "limit=-1", "offset=-5", "limit=" + "9" * 5000):
            assert await get(port, f"/dicomweb/studies?{query}") == (
                400,
                b"a number of the URL is not a whole number\n",
            )
        assert (await get(port, f"{one}/frames/x"))[0] == 400
        assert (await get(port, f"{one}/frames/2"))[0] == 404
        assert (await get(port, f"{one}/frames/1,2"))[0] == 404  # not 200, and half an answer
        assert (await get(port, f"{one}/frames/1,0"))[0] == 404
        assert (await get(port, f"{one}/frames/1,1"))[0] == 200
        assert (await get(port, "/dicomweb/instances?Rows=x"))[0] == 400
        assert (await get(port, "/dicomweb/instances?Rows=1"))[0] == 204
        assert (await get(port, "/dicomweb/studies?PixelData=1"))[0] == 400
        two = f"{dataset.StudyInstanceUID}%5C{dataset.StudyInstanceUID}"
        for path in (two, "%FF", "*", "1.2%00", f"{two}/metadata", f"{two}/series"):
            assert (await get(port, f"/dicomweb/studies/{path}"))[0] == 400
        assert (await get(port, f"{one}/frames/2/rendered"))[0] == 404
        for window, status in (("40,400", 200), ("40,400,sigmoid", 200), ("40", 400), ("40,0", 400), ("nan,1", 400)):
            assert (await get(port, f"{one}/frames/1/rendered?window={window}"))[0] == status
        assert (await get(port, "/healthz"))[0] == 200


JSON, FILES, OCTETS = (
    "application/dicom+json",
    'multipart/related; type="application/dicom"',
    "application/octet-stream",
)
FRAMES = f'multipart/related; type="{OCTETS}"; transfer-syntax='


@pytest.mark.parametrize(
    ("path", "accept", "answered"),
    [
        ("/studies", "*/*", JSON),
        ("/studies", f"{JSON};q=0.5, application/json", "application/json"),
        ("/studies", "application/dicom+xml", None),
        ("{study}/metadata", "application/json", "application/json"),
        ("{study}/metadata", 'multipart/related; type="application/dicom+xml"', None),
        ("{study}", "application/*", None),
        ("{study}", "multipart/related; type=application/dicom; transfer-syntax=*", FILES),
        ("{study}", f"{FILES}; q=0", None),
        ("{study}", "application/dicom", None),
        ("{one}", "application/dicom", "application/dicom"),
        ("{one}", f"application/dicom;q=0.3, {FILES};q=0.4", FILES),
        ("{one}/frames/1", f'multipart/related; type="{OCTETS}"', FRAMES[:50]),
        ("{one}/frames/1", f"{FRAMES}1.2.840.10008.1.2.1", FRAMES[:50]),
        ("{one}/frames/1", f"{FRAMES}1.2.840.10008.1.2.4.70", None),
        ("{one}/frames/1", 'multipart/related; type="image/jpeg"', None),
        ("{one}/rendered", "image/png;q=0.1, image/jpeg", "image/jpeg"),
        ("{one}/rendered", "image/*", "image/jpeg"),
        ("{one}/rendered", "image/gif", None),
        ("{one}/rendered?accept=image/png", "*/*", "image/png"),
        ("/studies?accept=application/json", "*/*", "application/json"),
    ],
)
async def test_what_the_client_accepts(path: str, accept: str, answered: str | None) -> None:
    (dataset,) = images(1)
    one = "/studies/{}/series/{}/instances/{}".format(*uids(dataset))
    path = path.format(one=one, study=one.partition("/series")[0])
    async with testing.FakeArchive([dataset]) as archive, serving(archive.port) as port:
        status, media_type, body = await request(port, "GET", f"/dicomweb{path}", {"Accept": accept})
    assert (status, media_type.startswith(answered or "text/plain")) == (200 if answered else 406, True), media_type
    if answered == "application/dicom":
        assert dcmread(io.BytesIO(body)) == dataset


def part_10() -> bytes:
    return Path(CT).read_bytes()


def multipart(*parts: bytes, end: bytes = b"\r\n--b--\r\n") -> bytes:
    return b"".join(b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts) + end


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status"),
    [
        (multipart(part_10()), 'multipart/related; type="application/dicom"; boundary=b', JSON, 200),
        (multipart(part_10()), "multipart/related; boundary=b", "*/*", 200),
        (multipart(part_10()), "multipart/related; boundary=b", "application/dicom+xml", 406),
        (multipart(part_10()), f'multipart/related; type="{JSON}"; boundary=b', JSON, 415),
        (part_10(), "application/dicom", JSON, 415),
        (b"", "multipart/related; boundary=b", JSON, 400),
        (b"nothing", "multipart/related; boundary=b", JSON, 400),
        (multipart(part_10()[:9000], end=b""), "multipart/related; boundary=b", JSON, 400),
        (multipart(b"nothing"), "multipart/related; boundary=b", JSON, 400),
        (multipart(b"nothing", part_10()), "multipart/related; boundary=b", JSON, 202),
    ],
)
async def test_what_is_answered_to_a_store(body: bytes, content_type: str, accept: str, status: int) -> None:
    async with testing.FakeArchive() as archive, serving(archive.port) as port:
        headers = {"Content-Type": content_type, "Accept": accept}
        assert (await request(port, "POST", "/dicomweb/studies", headers, body))[0] == status


@pytest.mark.parametrize("size", [0, 9000], ids=["before the first part", "in a part"])
async def test_a_client_that_does_not_go_on_is_told(size: int) -> None:
    body = multipart(part_10()[:size], end=b"") if size else b""
    head = "POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
    head += "Content-Type: multipart/related; boundary=b\r\n\r\n"
    async with testing.FakeArchive() as archive, serving(archive.port, client_timeout=0.2) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(head.encode() + body)
        assert (await reader.readline()).split()[1] == b"408"
        await reader.read()  # to its end: the connection is closed
        writer.close()
        assert archive.stored == []


async def test_what_the_archive_sent_is_not_the_fault_of_the_client() -> None:
    """Pixel Data are shorter than they should be: no frame can be sent, and the request was right."""
    (dataset,) = images(1)
    dataset.PixelData = b"\0\0"
    one = "/dicomweb/studies/{}/series/{}/instances/{}".format(*uids(dataset))
    async with testing.FakeArchive([dataset]) as archive, serving(archive.port) as port:
        assert (await get(port, f"{one}/frames/1"))[0] == 502


async def test_a_disk_that_is_full_is_not_the_fault_of_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    async def save(*_: Any, **__: Any) -> Path:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("aiodimse.Instance.save", save)
    (dataset,) = images(1)
    one = "/dicomweb/studies/{}/series/{}/instances/{}".format(*uids(dataset))
    async with testing.FakeArchive([dataset]) as archive, serving(archive.port) as port:
        assert [(await get(port, f"{one}/{path}"))[0] for path in ("frames/1", "metadata")] == [507, 507]


async def test_no_value_of_a_question_is_logged(tmp_path: Path) -> None:
    """pydicom would log one that its VR does not allow."""
    async with testing.FakeArchive() as archive:
        text = (EXAMPLES / "dicomweb_gateway" / "gateway.toml").read_text(encoding="utf-8")
        port = free_port()
        text = changed(text, {"11112": archive.port, '"ARCHIVE"': '"FAKE"', "8080": port})
        (tmp_path / "gateway.toml").write_text(text, encoding="utf-8")
        async with started("python -m dicomweb_gateway gateway.toml", tmp_path) as process:
            assert process.stdout is not None
            while b"running on" not in await process.stdout.readline():
                pass
            await get(port, "/dicomweb/studies?PatientBirthDate=JANE_DOE")
            process.terminate()
            assert b"JANE_DOE" not in await process.stdout.read()


async def test_no_file_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (dataset,) = images(1)
    one = "/dicomweb/studies/{}/series/{}/instances/{}".format(*uids(dataset))
    async with testing.FakeArchive([dataset]) as archive, serving(archive.port) as port:
        for path in ("metadata", "frames/1", "frames/9", "rendered", "frames/9/rendered"):
            await get(port, f"{one}/{path}")
        (folder,) = tmp_path.iterdir()
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


async def test_an_archive_that_is_away_or_refuses() -> None:
    async with serving(free_port()) as port:
        _, writer = await asyncio.open_connection(HOST, port)  # it goes away before the answer
        writer.write(b"GET /dicomweb/studies HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.close()
    archive = aiodimse.Server(ae_title="FAKE")

    @archive.on_c_find(FIND)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        raise aiodimse.DIMSEFailure(0xA700, "no room")
        yield

    async with archive.listen(HOST, 0) as listening, serving(listening.port) as port:
        status, said = await get(port, "/dicomweb/studies")
    assert (status, b"A700" in said) == (502, True)


async def test_half_a_study_is_no_whole_answer() -> None:
    """Sub-operations failed: the body has no end."""
    archive, (dataset,) = aiodimse.Server(ae_title="FAKE"), images(1)

    @archive.on_c_get(GET)
    async def retrieve(request: aiodimse.GetRequest) -> AsyncIterator[Any]:
        yield 2
        yield dataset
        yield Path("/does/not/exist.dcm")

    async with archive.listen(HOST, 0) as listening, serving(listening.port) as port:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            await get(port, "/dicomweb/studies/1.2.3")


async def test_an_archive_that_dies_in_the_middle_costs_one_answer() -> None:
    archive, study = aiodimse.Server(ae_title="FAKE"), images(3)
    dies = True

    @archive.on_c_get(GET)
    async def retrieve(request: aiodimse.GetRequest) -> AsyncIterator[Any]:
        yield len(study)
        for number, dataset in enumerate(study):
            if dies and number == 2:
                request.association.abort()
            yield dataset

    async with archive.listen(HOST, 0) as listening, serving(listening.port) as port:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            await get(port, "/dicomweb/studies/1.2.3")
        dies = False
        status, body = await get(port, "/dicomweb/studies/1.2.3")
        assert (status, body.count(b"DICM")) == (200, 3)


# --- clients that go away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True], ids=["before the first", "behind the first"])
@pytest.mark.parametrize("path", ["studies", "studies/1.2.3", "studies/1.2.3/metadata"])
async def test_a_client_that_goes_away_cancels_at_the_archive(path: str, begun: bool) -> None:
    archive, (dataset,) = aiodimse.Server(ae_title="FAKE"), images(1)
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(request: Any, first: list[Any]) -> AsyncIterator[Any]:
        for each in first:
            yield each
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if request.is_cancelled:
                cancelled.set()

    @archive.on_c_find(FIND)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        async for each in answer(request, [aiodimse.identifier(PatientID="1")] if begun else []):
            yield each

    @archive.on_c_get(GET)
    async def retrieve(request: aiodimse.GetRequest) -> AsyncIterator[Any]:
        async for each in answer(request, [2, dataset] if begun else [2]):
            yield each

    async with archive.listen(HOST, 0) as listening, serving(listening.port) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(f"GET /dicomweb/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if begun:
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await asyncio.wait_for(asked.wait(), 20)
        writer.transport.abort()
        await asyncio.wait_for(cancelled.wait(), 20)


async def test_a_client_that_takes_nothing_is_not_waited_for() -> None:
    archive = aiodimse.Server(ae_title="FAKE")
    ended = asyncio.Event()

    @archive.on_c_get(GET)
    async def retrieve(request: aiodimse.GetRequest) -> AsyncIterator[Any]:
        yield 1000
        try:
            for dataset in images(1) * 1000:
                yield dataset
        finally:
            ended.set()

    async with archive.listen(HOST, 0) as listening, serving(listening.port, client_timeout=0.2) as port:
        _, writer = await asyncio.open_connection(HOST, port, limit=1024)
        writer.write(b"GET /dicomweb/studies/1.2.3 HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 20)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_an_upload_that_breaks_off_leaves_no_instance(caplog: pytest.LogCaptureFixture) -> None:
    """And no traceback in the log: that a client goes away is no error of the gateway."""
    dataset = images(1)[0]
    stream = io.BytesIO()
    dataset.save_as(stream)
    head = "POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    head += 'Content-Type: multipart/related; type="application/dicom"; boundary=b\r\n\r\n'
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + stream.getvalue()[:20_000]
    begun = asyncio.Event()
    async with testing.FakeArchive() as archive:

        @archive.server.on_associate
        async def begin(request: aiodimse.AssociationRequest) -> None:
            begun.set()

        async with serving(archive.port) as port:
            _, writer = await asyncio.open_connection(HOST, port)
            writer.write(head.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n")
            await asyncio.wait_for(begun.wait(), 20)
            writer.transport.abort()
        assert archive.stored == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


# --- a GiB ------------------------------------------------------------------------------------------------------------


def large_study(folder: Path, count: int, size: int) -> Dataset:
    """Files of a study with so many bytes of zeros for pixels each; they take no room on most disks."""
    for dataset in images(count):
        dataset.PixelData = b""
        dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 1024, 1024, size >> 21
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        data = stream.getvalue()
        tag = data.rindex(b"\xe0\x7f\x10\x00OW")
        path = folder / f"{dataset.SOPInstanceUID}.dcm"
        with path.open("wb") as file:
            file.write(data[: tag + 8] + size.to_bytes(4, "little"))
            file.truncate(file.tell() + size)
    return dataset


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
async def test_a_gib_in_bounded_memory(keeper: Keeper, tmp_path: Path) -> None:
    archive = keeper.start(Serve)
    dataset = large_study(tmp_path, 8, 128 << 20)
    study, series, instance = uids(dataset)
    gateway = keeper.start(Gateway, archive.port, "ARCHIVE")

    def retrieve() -> int:
        connection = http.client.HTTPConnection(HOST, gateway.port, timeout=60)
        connection.request("GET", f"/dicomweb/studies/{study}")
        response, size, buffer = connection.getresponse(), 0, bytearray(1 << 20)
        while taken := response.readinto(buffer):
            size += taken
        connection.close()
        return size

    def store(path: Path) -> int:
        def body() -> Iterator[bytes]:
            yield b"--b\r\nContent-Type: application/dicom\r\n\r\n"
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    yield piece
            yield b"\r\n--b--\r\n"

        connection = http.client.HTTPConnection(HOST, gateway.port, timeout=60)
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
        connection.request("POST", "/dicomweb/studies", body(), headers, encode_chunked=True)
        status = connection.getresponse().status
        connection.close()
        return status

    before = gateway.peak
    for path in tmp_path.glob("*.dcm"):
        assert await asyncio.to_thread(store, path) == 200
        path.unlink()
    assert await asyncio.to_thread(retrieve) > 1 << 30
    assert (await get(gateway.port, f"/dicomweb/studies/{study}/metadata"))[0] == 200
    one = f"/dicomweb/studies/{study}/series/{series}/instances/{instance}"
    assert len((await get(gateway.port, f"{one}/frames/7"))[1]) > 2 << 20
    print(f"peak memory: {before >> 20} MiB before, {gateway.peak >> 20} MiB after")
    assert gateway.peak < BOUND


# --- a viewer ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def ohif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built files of the OHIF viewer, as npm has them (50 MB)."""
    if not (shutil.which("chromium") and shutil.which("npm")):
        pytest.skip("a viewer wants chromium and npm")
    folder = tmp_path_factory.mktemp("ohif")
    done = subprocess.run(["npm", "pack", "--silent", OHIF], cwd=folder, capture_output=True, text=True, timeout=200)
    if done.returncode != 0:
        pytest.skip(f"npm has no {OHIF} here")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder / "package" / "dist"


async def test_a_viewer_shows_a_series(ohif: Path, keeper: Keeper, tmp_path: Path) -> None:
    study = images(4)
    for number, dataset in enumerate(study):
        dataset.ImagePositionPatient = [-158.0, -179.0, 2.0 * number]
    async with testing.FakeArchive(study) as archive:
        gateway = await asyncio.to_thread(keeper.start, Gateway, archive.port, archive.ae_title, f'viewer = "{ohif}"')
        picture = tmp_path / "viewer.png"
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--use-gl=angle",
            "--use-angle=swiftshader",
            "--window-size=1200,800",
        ]
        flags += [
            "--enable-unsafe-swiftshader",
            "--virtual-time-budget=60000",
            f"--user-data-dir={tmp_path / 'profile'}",
        ]
        page = f"http://{HOST}:{gateway.port}/viewer?StudyInstanceUIDs={study[0].StudyInstanceUID}"
        await run("chromium", *flags, f"--screenshot={picture}", page, patience=120)
    with Image.open(picture) as image:  # the image is in the middle, between its own darkest and its lightest
        low, high = image.convert("L").crop((500, 200, 1000, 600)).getextrema()
    assert (low < 60, high > 200) == (True, True)


# --- the README -------------------------------------------------------------------------------------------------------


async def test_the_commands_of_the_readme(tmp_path: Path) -> None:
    archive_port, port = free_port(), free_port()
    text = (EXAMPLES / "dicomweb_gateway" / "gateway.toml").read_text(encoding="utf-8")
    (tmp_path / "gateway.toml").write_text(changed(text, {"11112": archive_port, "8080": port}), encoding="utf-8")
    (tmp_path / "my_images").mkdir()
    (dataset,) = images(1)
    dataset.PatientID = "4711"
    dataset.save_as(tmp_path / "my_images" / "1.dcm")
    instead = {"11112": archive_port, "8080": port, "dicomweb_gateway/gateway.toml": tmp_path / "gateway.toml"}
    _, _, _, make, serve, store, gateway, ask = (changed(line, instead) for line in commands("dicomweb_gateway"))
    assert (await ended(make, tmp_path))[0] == 0
    async with started(serve.removesuffix("&") + f" --port {archive_port}", tmp_path) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        assert (await ended(store, tmp_path))[0] == 0
        async with started(gateway, tmp_path) as web:
            assert web.stdout is not None
            while b"running on" not in await web.stdout.readline():
                pass
            code, out = await ended(ask.replace("curl", "curl --silent"), tmp_path)
    assert (code, dataset.StudyInstanceUID in out) == (0, True), out


def test_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('archive_host = "x"\narchive_port = 1\narchive_ae_title = "A"\n', encoding="utf-8")
    assert msgspec.toml.decode(path.read_bytes(), type=Config).port == 8080
