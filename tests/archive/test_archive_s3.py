"""An archive in a bucket, asked over the network; the store is moto's server, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from archive.buckets import HOST, new_bucket, object_store
from archive.databases import new_database, open_index
from archive.test_archive_frames import frame, multi_frame
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, File, Finding, Retention, check, provide
from aiodimse.archive.commitment import Commitment
from aiodimse.archive.index import Transaction
from aiodimse.cli.main import main
from aiodimse.commitment import NO_SUCH_INSTANCE

obstore = pytest.importorskip("obstore", reason="the extra s3 is not installed")
pytest.importorskip("moto", reason="moto, of the extra test, is not installed")

from obstore.exceptions import GenericError  # noqa: E402

from aiodimse.archive.storage import s3, s3_errors, s3_upload  # noqa: E402
from aiodimse.archive.storage.s3 import S3Storage  # noqa: E402

MR = sop_class.MRImageStorage
SECOND = timedelta(seconds=1)
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
def storage(endpoint: str) -> S3Storage:
    return new_bucket(endpoint)


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


@pytest.mark.parametrize("pixels", [100_000, 3 << 20])
async def test_what_cannot_be_found_and_comes_again_is_answered_alike(
    port: int, archive: Archive, storage: S3Storage, pixels: int
) -> None:
    """It is compared byte by byte, or by its digest: of another one nobody knows what it is."""
    one = sent(StudyInstanceUID="", PixelData=bytes(pixels))
    async with connect(port, one.SOPClassUID) as peer:
        assert [(await peer.c_store(one)).status for _ in range(2)] == [0xB007] * 2
        before = [found.files for found in archive.storage.walk()]
        other = sent(StudyInstanceUID="", PixelData=bytes(pixels - 2) + b"12")
        assert (await peer.c_store(other)).status == 0xA900
        assert (await peer.c_store(one)).status == 0xB007
        assert [found.files for found in archive.storage.walk()] == before
        obstore.put(storage._store, storage.location_for(one.SOPInstanceUID), b"no DICOM file")
        assert (await peer.c_store(one)).status == 0xA900


@pytest.mark.parametrize("pixels", [100_000, 3 << 20])
async def test_the_whole_object_replaces_one_that_is_cut_off(
    port: int, archive: Archive, storage: S3Storage, pixels: int
) -> None:
    one = sent(PixelData=bytes(pixels))
    async with connect(port, one.SOPClassUID) as peer:
        assert (await peer.c_store(one)).status == 0x0000
        location = storage.location_for(one.SOPInstanceUID)
        whole = bytes(obstore.get(storage._store, location).bytes())
        for stored in (whole[:-1000], b"no DICOM file"):
            obstore.put(storage._store, location, stored)
            assert (await peer.c_store(one)).status == 0x0000
            assert bytes(obstore.get(storage._store, location).bytes()) == whole


async def test_one_that_is_cut_off_replaces_nothing(storage: S3Storage, tmp_path: Path) -> None:
    archive = await Archive.open(storage, index=await open_index("sqlite", tmp_path), duplicates="replace")
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive)
    one = sent()

    async def cut_off() -> AsyncIterator[bytes]:
        yield (await archive_file())[:-1000]

    async def archive_file() -> bytes:
        return bytes((await obstore.get_async(storage._store, storage.location_for(one.SOPInstanceUID))).bytes())

    async with testing.joined(server, contexts=[one.SOPClassUID]) as peer:
        assert (await peer.c_store(one)).status == 0x0000
        whole = await archive_file()
        assert (await peer.c_store(await aiodimse.Instance.from_part10(cut_off()))).status == 0xA900
        assert await archive_file() == whole
        assert (await peer.c_store(one)).status == 0x0000
    await archive.close()


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


def put(storage: S3Storage, location: str, **attributes: object) -> Dataset:
    """Put an object into the bucket, behind the back of the archive."""
    dataset = sent(**attributes)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    obstore.put(storage._store, location, file.getvalue())
    return dataset


@pytest.mark.parametrize("away", ["get_range", "head", "list_with_delimiter"])
async def test_a_bucket_that_goes_away_during_a_scan_loses_no_object(
    archive: Archive, storage: S3Storage, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    """Two objects of one study are there; one is put again, so that the scan reads it, and one has gone."""
    first, second = put(storage, "a/1.dcm"), put(storage, "a/2.dcm", SOPInstanceUID="1.2.2")
    gone = put(storage, "b/3.dcm", SOPInstanceUID="1.2.3")
    uids = [first.SOPInstanceUID, second.SOPInstanceUID]
    assert (await archive.scan()).indexed == 3
    before = await archive.index.lookup(uids)
    put(storage, "a/1.dcm", SeriesDescription="of another size")
    obstore.delete(storage._store, "b/3.dcm")

    def fail(*_args: object, **_named: object) -> object:
        raise GenericError("1.2.3 is not told")

    with monkeypatch.context() as changed:
        changed.setattr(obstore, away, fail)
        if away != "list_with_delimiter":
            assert (await archive.scan()).unreadable >= 1
        else:
            with pytest.raises(OSError, match=r"the bucket does not answer \(GenericError\)$"):
                await archive.scan()
        assert await archive.index.lookup(uids) == before
    report = await archive.scan()
    assert (report.files, report.indexed, report.damaged) == (2, 2, 0)
    assert await archive.index.lookup(uids) == before
    assert await archive.index.lookup([gone.SOPInstanceUID]) == {}


def large(**attributes: object) -> Dataset:
    """An instance of 12 MiB, which goes up in parts of 5 MiB."""
    one = sent(Rows=2048, Columns=3072, SOPInstanceUID="1.2.3.4", **attributes)
    one.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    one.PixelData = bytes(range(256)) * (2048 * 3072 * 2 // 256)
    return one


def open_uploads(storage: S3Storage, endpoint: str) -> int:
    """How many uploads have begun, and are neither completed nor aborted."""
    with urlopen(f"{endpoint}/{storage._store.config['bucket']}?uploads") as answer:
        return int(answer.read().count(b"<UploadId>"))


async def test_a_large_object_goes_up_and_down_in_parts(port: int, archive: Archive, storage: S3Storage) -> None:
    """An object of several parts is whole, and none of it goes to a file of ours."""
    one = large()
    async with connect(port, MR) as peer:
        assert (await peer.c_store(one)).status == 0x0000
    meta = obstore.head(storage._store, storage.location_for("1.2.3.4"))
    assert meta["size"] > len(one.PixelData)
    assert str(meta["e_tag"]).strip('"').partition("-")[2] > "1", "the number of its parts"
    connecting = aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[GET], storage=[MR])
    async with connecting as peer, peer.c_get(asked(one), GET) as retrieval:
        (got,) = [await instance.dataset() async for instance in retrieval]
    assert got.PixelData == one.PixelData


@pytest.mark.parametrize("make", [sent, large], ids=["before a part is full", "between parts"])
async def test_a_sender_that_goes_away_leaves_no_object(
    port: int,
    archive: Archive,
    storage: S3Storage,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], Dataset],
) -> None:
    """Neither an object nor a row, and the next one is stored."""
    one = make()
    begun, failed = asyncio.Event(), asyncio.Event()
    save = storage.save

    async def saved(*words: Any, **named: Any) -> None:
        begun.set()
        try:
            await save(*words, **named)
        finally:
            failed.set()

    monkeypatch.setattr(storage, "save", saved)
    file = BytesIO()
    one.save_as(file, enforce_file_format=True)
    data = file.getvalue()

    async def cut() -> AsyncIterator[bytes]:
        yield data[: min(len(data) // 2, 2000)]
        if make is large:  # two parts are full by then
            for start in range(2000, 11 << 20, 1 << 16):
                yield data[start : min(start + (1 << 16), 11 << 20)]
        await asyncio.Event().wait()

    async with connect(port, MR) as peer:
        instance = await aiodimse.Instance.from_part10(cut())
        sending = asyncio.ensure_future(peer.c_store(instance))
        await asyncio.wait_for(begun.wait(), 10)
        if make is large:
            async with asyncio.timeout(20):
                while not await asyncio.to_thread(open_uploads, storage, endpoint):
                    pass
        peer.abort()
        with pytest.raises(aiodimse.AiodimseError):
            await sending
    await asyncio.wait_for(failed.wait(), 10)
    assert [found.files for found in storage.walk()] == [{}]
    assert await archive.index.lookup([one.SOPInstanceUID]) == {}
    assert open_uploads(storage, endpoint) == 0
    async with connect(port, MR) as peer:
        assert (await peer.c_store(one)).status == 0x0000


class Halting:
    """A C-STORE whose data set comes to a halt; its association lives."""

    transfer_syntax = "1.2.840.10008.1.2.1"

    def __init__(self) -> None:
        self.halted = asyncio.Event()

    async def part10(self) -> AsyncIterator[bytes]:
        for _ in range(11):
            yield bytes(1 << 20)
        self.halted.set()
        await asyncio.Event().wait()


async def test_a_cancelled_save_leaves_no_parts(storage: S3Storage, endpoint: str) -> None:
    request: Any = Halting()
    saving = asyncio.ensure_future(storage.save(request, "a/1.dcm", request, durable=True))
    await asyncio.wait_for(request.halted.wait(), 20)
    assert open_uploads(storage, endpoint) == 1
    saving.cancel()
    await asyncio.wait([saving], timeout=20)
    assert saving.cancelled()
    assert open_uploads(storage, endpoint) == 0
    assert [found.files for found in storage.walk()] == [{}]


async def test_a_save_that_is_cancelled_between_two_pieces_reads_no_more(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploading, go_on, raised = asyncio.Event(), asyncio.Event(), []

    async def put(_store: object, _location: str, chunks: AsyncIterator[bytes]) -> None:
        async def piece() -> bytes:
            return await anext(chunks)

        await asyncio.create_task(piece())  # obstore, too, has a task for each
        uploading.set()
        await go_on.wait()
        try:
            await asyncio.create_task(piece())
        except OSError as error:
            raised.append(error)
            raise

    monkeypatch.setattr(obstore, "put_async", put)
    request: Any = Halting()
    saving = asyncio.ensure_future(storage.save(request, "a/1.dcm", request, durable=True))
    await uploading.wait()
    saving.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait([saving], timeout=20)
    assert saving.cancelled()
    assert [str(error) for error in raised] == ["the upload is given up"]


async def test_a_cancelled_save_does_not_wait_long_for_a_bucket_that_hangs(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue()

    async def put(*_words: object) -> None:
        uploads.put_nowait(asyncio.current_task())
        await asyncio.Event().wait()

    monkeypatch.setattr(obstore, "put_async", put)
    monkeypatch.setattr(s3_upload, "_SECONDS_TO_ABORT", 0.05)
    request: Any = Halting()
    saving = asyncio.ensure_future(storage.save(request, "a/1.dcm", request, durable=True))
    upload = await uploads.get()
    assert upload is not None
    saving.cancel()
    await asyncio.wait([saving], timeout=20)
    assert saving.cancelled()
    await asyncio.wait([upload], timeout=20)
    assert upload.cancelled()


class Slow:
    """A C-STORE that takes longer to arrive than the store may take, and who decides about it."""

    transfer_syntax = "1.2.840.10008.1.2.1"

    def __init__(self, seconds: float, hangs_at: str) -> None:
        self._seconds, self._hangs_at = seconds, hangs_at
        self.goes_on = threading.Event()
        self.kept: list[object] = []

    async def part10(self) -> AsyncIterator[bytes]:
        for _ in range(3):
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), self._seconds)
            yield bytes(100)

    def decide(self, _arrived: object) -> None:
        if self._hangs_at == "decide":
            self.goes_on.wait(20)

    def keep(self, stamp: object) -> None:
        self.kept.append(stamp)

    def write(self) -> None:
        pass


async def test_stores_into_a_bucket_that_is_away_are_told_once(
    port: int, archive: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer sends them again later. The example: C211, and a line of the log with a traceback's place for each."""
    one = sent()
    async with connect(port, one.SOPClassUID) as peer:
        with monkeypatch.context() as away:

            async def fail(*_words: object) -> None:
                raise GenericError("no")

            away.setattr(obstore, "put_async", fail)
            for _ in range(3):
                response = await peer.c_store(one)
                assert (response.status, response.error_comment) == (0xA700, "the storage does not answer")
        assert (await peer.c_store(one)).status == 0x0000
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "the bucket does not answer (GenericError): C-STORE is refused until it does"
    ]


@pytest.mark.parametrize("hangs_at", ["begin", "piece", "decide", "complete", "head", "nowhere"])
async def test_all_that_a_store_waits_for_has_one_limit(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch, hangs_at: str
) -> None:
    """Each of these may be several requests that hang. What the peer takes does not count."""
    real = obstore.put_async

    async def put(store: Any, location: str, chunks: AsyncIterator[bytes]) -> Any:
        pieces = []
        if hangs_at == "begin":
            await asyncio.Event().wait()
        async for piece in chunks:
            pieces.append(piece)
            if hangs_at == "piece":
                await asyncio.Event().wait()
        if hangs_at == "complete":
            await asyncio.Event().wait()
        return await real(store, location, b"".join(pieces))

    async def head(*_words: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(obstore, "put_async", put)
    monkeypatch.setattr(s3_upload, "_SECONDS_TO_GO_ON", 0.5)
    monkeypatch.setattr(s3_upload, "_SECONDS_TO_ABORT", 0.05)
    if hangs_at == "head":
        monkeypatch.setattr(obstore, "head_async", head)
    request: Any = Slow(0.6, hangs_at)
    saving = storage.save(request, "a/1.dcm", request, durable=True)
    try:
        async with asyncio.timeout(20):
            if hangs_at == "nowhere":
                await saving
            else:
                with pytest.raises(OSError, match="the bucket does not answer"):
                    await saving
    finally:
        request.goes_on.set()
    assert len(request.kept) == (hangs_at == "nowhere")


async def test_a_large_instance_that_is_refused_leaves_no_parts(
    port: int, archive: Archive, storage: S3Storage, endpoint: str
) -> None:
    """That it is another one than the first is known when its parts have been uploaded."""
    async with connect(port, MR) as peer:
        assert (await peer.c_store(large())).status == 0x0000
        before = [found.files for found in archive.storage.walk()]
        assert (await peer.c_store(large(PatientID="OTHER"))).status == 0xA900
    assert [found.files for found in archive.storage.walk()] == before
    assert open_uploads(storage, endpoint) == 0


async def test_frames_of_an_object_in_a_bucket(port: int, archive: Archive, storage: S3Storage) -> None:
    source = multi_frame(FrameTime=100)
    file = BytesIO()
    source.save_as(file, enforce_file_format=True)
    obstore.put(storage._store, "a/1.dcm", file.getvalue())
    await archive.scan()
    get = sop_class.CompositeInstanceRootRetrieveGet
    wanted = aiodimse.identifier(SOPInstanceUID=source.SOPInstanceUID)
    wanted.QueryRetrieveLevel, wanted.SimpleFrameList = "FRAME", [2, 5]
    async with (
        aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[get], storage=[source.SOPClassUID]) as peer,
        peer.c_get(wanted, get) as retrieval,
    ):
        (got,) = [await instance.dataset() async for instance in retrieval]
    assert (got.NumberOfFrames, got.PixelData) == (2, frame(2) + frame(5))
    bulk = sop_class.CompositeInstanceRetrieveWithoutBulkDataGet
    wanted = aiodimse.identifier("IMAGE", SOPInstanceUID=source.SOPInstanceUID)
    async with (
        aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[bulk], storage=[source.SOPClassUID]) as peer,
        peer.c_get(wanted, bulk) as retrieval,
    ):
        (got,) = [await instance.dataset() async for instance in retrieval]
    assert "PixelData" not in got
    assert got.SOPInstanceUID == source.SOPInstanceUID


async def test_frames_are_not_those_of_another_instance_in_its_place(
    port: int, archive: Archive, storage: S3Storage
) -> None:
    for uid in ("1.2.3.1", "1.2.3.2"):
        file, source = BytesIO(), multi_frame(SOPInstanceUID=uid)
        source.file_meta.MediaStorageSOPInstanceUID = uid
        source.save_as(file, enforce_file_format=True)
        obstore.put(storage._store, "a/1.dcm", file.getvalue())
        if uid == "1.2.3.1":
            await archive.scan()
    get = sop_class.CompositeInstanceRootRetrieveGet
    wanted = aiodimse.identifier(SOPInstanceUID="1.2.3.1")
    wanted.QueryRetrieveLevel, wanted.SimpleFrameList = "FRAME", [2, 5]
    async with aiodimse.connect(
        HOST, port, called_ae_title="ARCHIVE", contexts=[get], storage=[source.SOPClassUID]
    ) as peer:
        assert (await peer.c_get(wanted, get)).status == 0xAA02


async def test_a_commitment_of_objects_in_a_bucket(
    archive: Archive, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has gone is not committed; while the bucket is away, nothing is said of anything."""
    one, gone = put(storage, "a/1.dcm", SOPInstanceUID="1.2.1"), put(storage, "a/2.dcm", SOPInstanceUID="1.2.2")
    await archive.scan()
    obstore.delete(storage._store, "a/2.dcm")
    references = tuple((str(MR), str(each.SOPInstanceUID)) for each in (one, gone))
    transaction = Transaction("1.9", "MODALITY", references, 0)
    commitment = Commitment(archive, {}, "ARCHIVE")
    report = await commitment._outcome(transaction)
    assert [each.failure_reason for each in report.references] == [0, NO_SUCH_INSTANCE]

    def fail(*_words: object) -> object:
        raise GenericError("away")

    monkeypatch.setattr(obstore, "head", fail)
    with pytest.raises(OSError, match="does not answer"):
        await commitment._outcome(transaction)


async def test_what_is_retrieved_from_a_bucket_that_is_away_costs_itself(
    port: int,
    storage: S3Storage,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = put(storage, "a/1.dcm")
    await archive.scan()

    async def fail(*_args: object, **_named: object) -> object:
        raise GenericError("away")

    monkeypatch.setattr(obstore, "get_async", fail)
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[GET], storage=[MR]) as peer:
        response = await peer.c_get(asked(one), GET)
        assert (response.status, response.failed_sop_instance_uids) == (0xA702, (one.SOPInstanceUID,))
    assert "it cannot be read: input/output error" in caplog.text


async def test_a_bucket_that_goes_away_in_the_middle_of_an_object_tells_no_key(
    port: int,
    storage: S3Storage,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A message that has begun cannot end otherwise than with the association; errors of obstore quote the key."""
    async with connect(port, MR) as peer:
        assert (await peer.c_store(large())).status == 0x0000
    get = obstore.get_async

    class Response:
        def __init__(self, whole: Any) -> None:
            self._whole, self.meta = whole, whole.meta

        async def stream(self, min_chunk_size: int) -> AsyncIterator[bytes]:
            async for piece in self._whole.stream(min_chunk_size=min_chunk_size):
                yield piece
                raise GenericError("the key of patient 4711")

    async def cut(*words: Any, options: object = None) -> Response:
        if options:  # the rest of it
            raise GenericError("the key of patient 4711")
        return Response(await get(*words))

    monkeypatch.setattr(obstore, "get_async", cut)
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[GET], storage=[MR]) as peer:
        with pytest.raises(aiodimse.AssociationAborted):
            await peer.c_get(asked(large()), GET)
    assert "input/output error" in caplog.text
    assert "4711" not in caplog.text


async def test_another_instance_in_the_place_of_one_is_not_sent(
    port: int, storage: S3Storage, archive: Archive
) -> None:
    """What is sent for a UID is that instance, although somebody has put another one under its key."""
    one = put(storage, "a/1.dcm")
    await archive.scan()
    put(storage, "a/1.dcm", SOPInstanceUID="1.2.9", PatientID="OTHER")
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[GET], storage=[MR]) as peer:
        response = await peer.c_get(asked(one), GET)
        assert (response.status, response.failed_sop_instance_uids) == (0xA702, (one.SOPInstanceUID,))


async def test_a_scan_reads_only_what_has_changed(
    port: int, storage: S3Storage, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that was stored is known with its size and time, and one of the same size may be another."""
    one, read, read_by = sent(), storage.read, list[str]()
    async with connect(port, one.SOPClassUID) as peer:
        await peer.c_store(one)

    def noted(location: str) -> Any:
        read_by.append(location)
        return read(location)

    monkeypatch.setattr(storage, "read", noted)
    assert (await archive.scan()).indexed == 1
    assert read_by == []
    stamp = s3._stamp
    monkeypatch.setattr(s3, "_stamp", lambda meta: stamp({**meta, "last_modified": meta["last_modified"] + SECOND}))
    assert (await archive.scan()).indexed == 1
    assert read_by == [storage.location_for(one.SOPInstanceUID)]


async def test_what_retention_removes_is_gone_from_the_bucket(storage: S3Storage, archive: Archive) -> None:
    put(storage, "a/1.dcm")
    await archive.scan()
    assert (await Retention(archive, max_bytes=1).sweep()).instances == 1
    assert [found.files for found in storage.walk()] == [{}]


async def test_folders_are_listed_one_after_the_other(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of all keys takes 300 MB at a million objects."""
    for location in ("1.dcm", "a/1.dcm", "a/b/1.dcm", "a/b/2.dcm", "a.dcm", "c/d/e/1.dcm"):
        put(storage, location)
    obstore.put(storage._store, "c/empty", b"")
    listed: list[str | None] = []
    lists = obstore.list_with_delimiter

    def noted(store: Any, prefix: str | None = None) -> Any:
        listed.append(prefix)
        return lists(store, prefix)

    monkeypatch.setattr(obstore, "list_with_delimiter", noted)
    walk = storage.walk()
    first = next(walk)
    assert (first.folder, sorted(first.files), listed) == ("", ["1.dcm", "a.dcm"], [None])
    found = {each.folder: sorted(each.files) for each in walk}
    assert found == {
        "a": ["a/1.dcm"], "a/b": ["a/b/1.dcm", "a/b/2.dcm"], "c": ["c/empty"], "c/d": [], "c/d/e": ["c/d/e/1.dcm"],
    }  # fmt: skip
    archive = await Archive.open(storage, index="memory:")
    assert (archive.report.not_dicom, archive.report.indexed + archive.report.duplicates) == (1, 6)


async def test_orphans_of_a_bucket_are_told(archive: Archive, storage: S3Storage) -> None:
    """An object without a row, a row without an object, an object that is another one than its row says."""
    for number in range(4):
        put(storage, f"{number}/{number}.dcm", SOPInstanceUID=f"1.2.{number}")
    await archive.scan()
    assert (await check(archive, read=True)).is_sound
    put(storage, "new/9.dcm", SOPInstanceUID="1.2.9")
    obstore.delete(storage._store, "0/0.dcm")
    put(storage, "1/1.dcm", SOPInstanceUID="1.2.1", SeriesDescription="of another size")
    stamp = storage.stamp("2/2.dcm")
    assert stamp is not None
    await archive.index.note([File("2/2.dcm", *stamp, Finding.OBJECT, "1.2.8")])
    report = await check(archive, read=True)
    assert (report.not_indexed, report.missing) == (["new/9.dcm"], ["0/0.dcm"])
    assert (report.changed, report.other) == (["1/1.dcm"], ["2/2.dcm"])


@pytest.mark.parametrize("is_away", [False, True])
def test_check_of_a_bucket(
    endpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_away: bool,
) -> None:
    """As an operator gives it, with what the environment says of the bucket."""
    bucket = f"b{uuid4().hex}"
    urlopen(Request(f"{endpoint}/{bucket}", method="PUT")).close()
    for name, value in {
        "AWS_ENDPOINT": endpoint, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    url, index = f"s3://{bucket}/archive", f"sqlite:///{tmp_path}/index.db"
    storage = S3Storage(url)
    put(storage, "a/1.dcm", SOPInstanceUID="1.2.1")

    async def scan() -> None:
        await (await Archive.open(url, index=index)).close()

    asyncio.run(scan())
    assert main(["check", url, "--index", index]) == 0
    put(storage, "a/2.dcm", SOPInstanceUID="1.2.2")
    obstore.delete(storage._store, "a/1.dcm")
    capsys.readouterr()
    if is_away:

        def fail(*_args: object, **_named: object) -> object:
            raise GenericError("away")

        monkeypatch.setattr(obstore, "list_with_delimiter", fail)
        assert main(["check", url, "--index", index]) == 1
        assert capsys.readouterr().err.strip().endswith("the bucket does not answer (GenericError)")
        return
    assert main(["check", url, "--index", index, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["not_indexed"], said["missing"]) == (["a/2.dcm"], ["a/1.dcm"])


async def test_a_bucket_that_does_not_answer_is_an_error_of_one_line(endpoint: str) -> None:
    how: dict[str, Any] = {"access_key_id": "any", "secret_access_key": "hidden", "region": "us-east-1"}
    words = f"the bucket does not answer: {endpoint}/no-such-bucket: 404 Not Found$"
    with pytest.raises(OSError, match=words) as caught:
        await Archive.open(S3Storage("s3://no-such-bucket/archive", endpoint=endpoint, **how))
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_key_that_is_missing_is_named() -> None:
    """obstore then asks the cloud that the machine may be in, and names an address that nobody has configured."""
    away = GenericError(
        "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 30.9ms - Server returned"
        " non-2xx status code: 403 Forbidden: denied\n\nDebug source:"
    )
    said = s3_errors.why(away)
    assert said.startswith("AWS_ACCESS_KEY_ID is not set, and ")
    assert said.endswith("(http://169.254.169.254/latest/api/token: 403 Forbidden: denied)")


@pytest.mark.parametrize("address", ["store.example:9000", "http//store.example", "https://store.example/a b"])
@pytest.mark.parametrize("name", ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "endpoint"])
def test_an_address_of_a_store_that_is_none(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore takes it, and panics at the first request."""
    options = {"endpoint": address} if name == "endpoint" else {}
    if not options:
        monkeypatch.setenv(name, address)
    with pytest.raises(ValueError, match=f"{name} is not an address like https://store.example: '{address}'"):
        S3Storage("s3://bucket/archive", **options)


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
