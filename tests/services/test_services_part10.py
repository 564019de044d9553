"""A DICOM file as a stream, out of an instance and into one; and an instance that is sent on while it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.datasets import read_head

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
CT, MR = sop_class.CTImageStorage, sop_class.MRImageStorage
FILE = FILES / "CT_small.dcm"
DATA = FILE.read_bytes()
HEAD = read_head(FILE)
UID, BODY = HEAD.sop_instance_uid, DATA[HEAD.data_offset :]
CLASSES = [CT, sop_class.RTStructureSetStorage, sop_class.SecondaryCaptureImageStorage, MR]


class Chunks:
    """A source that counts what was asked of it, and hears that it is closed."""

    def __init__(self, data: bytes, size: int, error: Exception | None = None) -> None:
        self._chunks = iter([data[at : at + size] for at in range(0, len(data), size)])
        self._error = error
        self.given = self.closed = 0

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        chunk = next(self._chunks, None)
        if chunk is None:
            if self._error is not None:
                raise self._error
            raise StopAsyncIteration
        self.given += len(chunk)
        return chunk

    async def aclose(self) -> None:
        self.closed += 1


def saving(folder: Path) -> aiodimse.Server:
    server = aiodimse.Server()

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.save(folder)
        return 0x0000

    return server


async def joined(chunks: AsyncIterator[Any]) -> bytes:
    return b"".join([bytes(chunk) async for chunk in chunks])


# --- out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "data set", "stream"])
async def test_an_instance_as_a_file(kind: str, tmp_path: Path) -> None:
    if kind == "file":
        instance = await aiodimse.Instance.open(FILE)
    elif kind == "data set":
        instance = aiodimse.Instance.from_dataset(pydicom.dcmread(FILE))
    else:
        instance = await aiodimse.Instance.from_part10(Chunks(DATA, 1000))
    path = tmp_path / "file"
    path.write_bytes(await joined(instance.part10()))
    head = read_head(path)
    assert (head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax) == (CT, UID, HEAD.transfer_syntax)
    assert pydicom.dcmread(path).PixelData == pydicom.dcmread(FILE).PixelData
    if kind != "data set":
        assert path.read_bytes()[head.data_offset :] == BODY


async def test_an_arriving_instance_as_a_file() -> None:
    """What an archive gives to an object store; it knows who sent it."""
    server, stored = aiodimse.Server(), list[bytes]()

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        stored.append(await joined(request.part10()))
        return 0x0000

    async with testing.joined(server, contexts=[CT], ae_title="CT1") as association:
        assert (await association.c_store(FILE)).status == 0x0000
    (data,) = stored
    assert data.endswith(BODY)
    assert b"CT1" in data[:400]


class Wrong(aiodimse.Instance):
    """Says that it is another instance than its data set."""

    async def _stream(self) -> AsyncIterator[bytes]:
        yield BODY

    def stream(self) -> AsyncIterator[bytes]:
        return self._stream()


async def test_a_data_set_that_is_another_instance_is_no_file() -> None:
    server, seen = aiodimse.Server(), list[str]()

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        try:
            await joined(request.part10())
        except aiodimse.InstanceConflict:
            seen.append(request.sop_instance_uid)
            raise
        return 0x0000

    async with testing.joined(server, contexts=[CT]) as association:
        assert (await association.c_store(Wrong(CT, "1.2.3", HEAD.transfer_syntax))).status == 0xA900
        assert (await association.c_store(Wrong(CT, UID, HEAD.transfer_syntax))).status == 0x0000
    assert seen == ["1.2.3"]
    assert len(await joined(Wrong(CT, "1.2.3", HEAD.transfer_syntax).part10(check_identity=False))) > len(BODY)


# --- in ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 100, 1000, 1 << 20])
@pytest.mark.parametrize("name", ["CT_small.dcm", "rtstruct.dcm", "JPEG2000.dcm", "no_meta_group_length.dcm"])
async def test_a_file_in_chunks_is_stored(name: str, size: int, tmp_path: Path) -> None:
    data = (FILES / name).read_bytes()
    if size == 1:
        data = data[:20_000]  # every byte an await: as it is cut off, it is kept as it came
    head = read_head(FILES / name)
    chunks = Chunks(data, size)
    context = aiodimse.PresentationContext(head.sop_class_uid, [head.transfer_syntax])
    async with testing.joined(saving(tmp_path), contexts=[context]) as association:
        instance = await aiodimse.Instance.from_part10(chunks)
        assert (instance.sop_instance_uid, instance.transfer_syntax) == (head.sop_instance_uid, head.transfer_syntax)
        assert chunks.given <= head.data_offset + 70_000
        assert (await association.c_store(instance)).status == 0x0000
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().endswith(data[head.data_offset :])
    assert chunks.closed == 1


async def test_it_is_there_before_its_data_set_is() -> None:
    """The source gives no more until the instance has been looked at, as a source does that waits for us."""
    looked = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield DATA[:1000]
        await looked.wait()
        yield DATA[1000:]

    async with asyncio.timeout(10):
        instance = await aiodimse.Instance.from_part10(source())
        assert instance.sop_instance_uid == UID
        looked.set()
        assert await joined(instance.stream()) == BODY


@pytest.mark.parametrize(
    "use",
    [
        lambda instance, folder: instance.dataset(),
        lambda instance, folder: instance.save(folder),
        lambda instance, folder: joined(instance.stream()),
        lambda instance, folder: joined(instance.part10()),
    ],
    ids=["dataset", "save", "stream", "part10"],
)
async def test_it_can_be_read_once(use: Any, tmp_path: Path) -> None:
    chunks = Chunks(DATA, 5000)
    instance = await aiodimse.Instance.from_part10(chunks)
    await use(instance, tmp_path)
    assert chunks.closed == 1
    with pytest.raises(RuntimeError, match="not kept"):
        await use(instance, tmp_path)


async def test_it_is_re_encoded_like_any_other(tmp_path: Path) -> None:
    context = aiodimse.PresentationContext(CT, ["1.2.840.10008.1.2"])
    async with testing.joined(saving(tmp_path), contexts=[context]) as association:
        assert (await association.c_store(await aiodimse.Instance.from_part10(Chunks(DATA, 777)))).status == 0x0000
    (path,) = tmp_path.iterdir()
    assert read_head(path).transfer_syntax == "1.2.840.10008.1.2"
    assert pydicom.dcmread(path).PixelData == pydicom.dcmread(FILE).PixelData


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", aiodimse.NotDICOM),
        (b"a letter" * 10_000, aiodimse.NotDICOM),
        (DATA[:200], aiodimse.NotDICOM),
        (DATA[:132] + b"\2\0\2\1OB\0\0" + b"\xff\xff\xff\x7f" + bytes(100), aiodimse.NotDICOM),
    ],
    ids=["nothing", "a letter", "cut off", "a gigabyte of file meta"],
)
async def test_what_is_no_file(data: bytes, error: type[Exception]) -> None:
    chunks = Chunks(data, 1000)
    with pytest.raises(error):
        await aiodimse.Instance.from_part10(chunks)
    assert chunks.closed == 1
    assert chunks.given <= 140_000


async def test_another_instance_than_was_asked_for() -> None:
    chunks = Chunks(DATA, 1000)
    with pytest.raises(aiodimse.InstanceConflict):
        await aiodimse.Instance.from_part10(chunks, sop_instance_uid="1.2.3")
    assert chunks.closed == 1
    await (await aiodimse.Instance.from_part10(Chunks(DATA, 1000), sop_instance_uid=UID)).discard()


async def test_a_source_that_fails_in_its_head() -> None:
    with pytest.raises(ConnectionResetError):
        await aiodimse.Instance.from_part10(Chunks(DATA[:300], 100, ConnectionResetError()))


async def test_a_source_that_fails_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    """The message cannot be ended: the association is aborted, and the receiver keeps nothing."""
    chunks = Chunks(DATA[:-1000], 1000, ConnectionResetError())
    async with testing.joined(saving(tmp_path), contexts=[CT]) as association:
        with pytest.raises(ConnectionResetError):
            await association.c_store(await aiodimse.Instance.from_part10(chunks))
    assert list(tmp_path.iterdir()) == []
    assert chunks.closed == 1


# --- on ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, 3 << 20])
async def test_a_request_is_sent_on_while_it_arrives(size: int, tmp_path: Path) -> None:
    """A gateway: `c_store(request)`. What the far side says goes back."""
    dataset = pydicom.dcmread(FILE)
    dataset.PixelData = bytes(size)
    gateway, far = aiodimse.Server(), saving(tmp_path)
    async with testing.joined(far, contexts=[CT]) as onward:

        @gateway.on_c_store
        async def store(request: aiodimse.StoreRequest) -> int:
            return int((await onward.c_store(request)).status)

        async with testing.joined(gateway, contexts=[CT]) as association:
            assert (await association.c_store(dataset)).status == 0x0000
            dataset.PatientID = "another"
            assert (await association.c_store(dataset)).status == 0xA900
    (path,) = tmp_path.iterdir()
    assert path.name == f"{UID}.dcm"
    assert len(pydicom.dcmread(path).PixelData) == size


async def test_the_sender_goes_while_it_is_sent_on(tmp_path: Path) -> None:
    """The far side is aborted: half an instance is none. The association of the sender decides, and is told of."""
    gateway, far = aiodimse.Server(), saving(tmp_path)
    raised: list[BaseException] = []
    begun = asyncio.Event()
    async with testing.joined(far, contexts=[CT]) as onward:

        @gateway.on_c_store
        async def store(request: aiodimse.StoreRequest) -> int:
            begun.set()
            try:
                return int((await onward.c_store(request)).status)
            except BaseException as error:
                raised.append(error)
                raise

        class Going(aiodimse.Instance):
            async def _stream(self) -> AsyncIterator[bytes]:
                yield BODY[:30_000]
                await begun.wait()
                association.abort()

            def stream(self) -> AsyncIterator[bytes]:
                return self._stream()

        async with testing.joined(gateway, contexts=[CT]) as association:
            with pytest.raises(aiodimse.AssociationAborted):
                await association.c_store(Going(CT, UID, HEAD.transfer_syntax))
    assert len(raised) == 1
    assert list(tmp_path.iterdir()) == []


STUDY = str(pydicom.dcmread(FILE).StudyInstanceUID)


@pytest.mark.parametrize("size", [1, 100, 4096, 1 << 20])
async def test_a_stream_of_the_study_that_was_asked_for(size: int) -> None:
    """What was read to know the study is still sent."""
    instance = await aiodimse.Instance.from_part10(Chunks(DATA, size), study_instance_uid=STUDY)
    assert b"".join([bytes(piece) async for piece in instance.stream()]) == BODY


@pytest.mark.parametrize("data", [DATA, DATA[: HEAD.data_offset + 100], DATA[: HEAD.data_offset]])
async def test_a_stream_of_another_study_or_of_none_that_is_said(data: bytes) -> None:
    chunks = Chunks(data, 500)
    with pytest.raises(aiodimse.InstanceConflict):
        await aiodimse.Instance.from_part10(chunks, study_instance_uid="1.2.3")
    assert chunks.closed == 1
