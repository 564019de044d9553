"""Retrievals at the FRAME level: the new instance, and what is answered where there is none (PS3.4 Y)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import MPEG2MPML, ExplicitVRLittleEndian, RLELossless
from pydicom.uid import UID as TransferSyntax

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, frame_level
from aiodimse.archive.frames import CLASSES, Frames, FramesRefused, asked_frames, extract
from aiodimse.archive.threads import in_thread

HOST = "127.0.0.1"
GET, MOVE = sop_class.CompositeInstanceRootRetrieveGet, sop_class.CompositeInstanceRootRetrieveMove
XA, CT = sop_class.XRayAngiographicImageStorage, sop_class.EnhancedCTImageStorage
UID = "1.2.3.1"
NUMBER = 6


def frame(number: int) -> bytes:
    return bytes([number]) * 16


def multi_frame(kind: str = XA, syntax: TransferSyntax = ExplicitVRLittleEndian, **attributes: Any) -> Dataset:
    """Six frames of 4 x 4 pixels, each full of its number."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = str(kind), UID
    dataset.ContentDate, dataset.ContentTime = "20240101", "120000"
    dataset.Modality, dataset.PatientID = "XA", "P1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.1", "1.2.2"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 4
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.NumberOfFrames = 7, 0, NUMBER
    frames = [frame(number) for number in range(1, NUMBER + 1)]
    is_native = syntax == ExplicitVRLittleEndian
    dataset.PixelData = b"".join(frames) if is_native else encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = not is_native
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = str(kind), UID
    return dataset


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def asked(**keys: Any) -> Dataset:
    return item(**{"QueryRetrieveLevel": "FRAME", "SOPInstanceUID": UID, **keys})


def taken(dataset: Dataset, **keys: Any) -> Dataset:
    return extract(dataset, asked_frames(asked(**keys)))


def numbers(dataset: Dataset) -> list[int]:
    """Of the frames that are in it."""
    if dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian:
        found = [dataset.PixelData[at : at + 16] for at in range(0, len(dataset.PixelData), 16)]
    else:
        found = list(generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))
    assert [each for each in found if each != frame(each[0])] == []
    assert dataset.NumberOfFrames == len(found)
    return [each[0] for each in found]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=["native", "encapsulated"])
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"SimpleFrameList": 2}, [2]),
        ({"SimpleFrameList": [1, 3, 6]}, [1, 3, 6]),
        ({"SimpleFrameList": [5, 7, 9]}, [5]),
        ({"CalculatedFrameList": [1, 6, 2]}, [1, 3, 5]),
        ({"CalculatedFrameList": [1, 2, 1, 4, 0xFFFFFFFF, 1]}, [1, 2, 4, 5, 6]),
        ({"TimeRange": [0.1, 0.3]}, [2, 3, 4]),
        ({"TimeRange": [0.45, 9.0]}, [6]),
    ],
    ids=str,
)
def test_frames_are_taken_out(keys: dict[str, Any], expected: list[int], syntax: TransferSyntax) -> None:
    dataset = taken(multi_frame(syntax=syntax, FrameTime=100), **keys)
    assert numbers(dataset) == expected
    assert dataset.SOPClassUID == XA
    assert (dataset.StudyInstanceUID, dataset.SeriesInstanceUID) == ("1.2.1", "1.2.2")
    assert dataset.SOPInstanceUID != UID
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    (source,) = dataset.FrameExtractionSequence
    assert source.MultiFrameSourceSOPInstanceUID == UID
    ((keyword, values),) = keys.items()
    assert source[keyword].value == values
    (equipment,) = dataset.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109105"


def test_each_extraction_has_a_uid_and_an_item() -> None:
    first = taken(multi_frame(), SimpleFrameList=[2, 4, 6])
    uid = str(first.SOPInstanceUID)
    second = extract(first, Frames(uid, "SimpleFrameList", (2.0,)))
    assert numbers(second) == [4]
    assert [each.MultiFrameSourceSOPInstanceUID for each in second.FrameExtractionSequence] == [UID, uid]
    assert len(second.ContributingEquipmentSequence) == 2
    assert second.SOPInstanceUID not in (UID, uid)


def test_functional_groups_are_those_of_the_frames() -> None:
    def group(number: int) -> Dataset:
        return item(FrameContentSequence=[item(FrameAcquisitionDateTime=f"2024010112000{number}.500")])

    groups = [group(number) for number in range(NUMBER)]
    dataset = taken(multi_frame(CT, PerFrameFunctionalGroupsSequence=groups), TimeRange=[1.5, 3.0])
    assert numbers(dataset) == [2, 3]
    assert list(dataset.PerFrameFunctionalGroupsSequence) == [group(1), group(2)]


@pytest.mark.parametrize(
    ("attributes", "chosen", "expected"),
    [
        ({"FrameTime": 100}, [2, 4, 6], {"FrameTime": 200, "FrameDelay": 100, "FrameTimeVector": None}),
        ({"FrameTime": 100, "FrameDelay": 50}, [1, 2, 4], {"FrameTimeVector": [0, 100, 200], "FrameTime": None}),
        ({"FrameTimeVector": [0, 10, 20, 30, 40, 50]}, [2, 3, 6], {"FrameTimeVector": [0, 20, 120], "FrameDelay": 10}),
        ({"FrameTime": 100}, [3], {"FrameTime": 100, "FrameDelay": 200}),
        ({}, [3], {"FrameTime": None, "FrameDelay": None, "FrameTimeVector": None}),
    ],
)
def test_times_are_those_of_the_frames(attributes: dict[str, Any], chosen: list[int], expected: dict[str, Any]) -> None:
    dataset = taken(multi_frame(**attributes), SimpleFrameList=chosen)
    assert {keyword: dataset.get(keyword) for keyword in expected} == expected


def test_what_numbers_the_frames_of_the_source_is_left_out() -> None:
    dataset = multi_frame(RepresentativeFrameNumber=3, MaskSubtractionSequence=[item(MaskFrameNumbers=1)])
    dataset.PositionerPrimaryAngleIncrement = [0, 1, 2, 3, 4, 5]
    dataset.add(DataElement(0x00091010, "LO", "private"))
    found = taken(dataset, SimpleFrameList=[3, 5])
    assert "RepresentativeFrameNumber" not in found
    assert "MaskSubtractionSequence" not in found
    assert 0x00091010 not in found
    assert found.PositionerPrimaryAngleIncrement == [2, 4]


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({}, 0xAA04),
        ({"SimpleFrameList": 1, "TimeRange": [0.0, 1.0]}, 0xAA04),
        ({"SimpleFrameList": None}, 0xAA04),
        ({"SimpleFrameList": [0, 1]}, 0xAA04),
        ({"SimpleFrameList": [1, 1]}, 0xAA04),
        ({"SimpleFrameList": [2, 1]}, 0xAA04),
        ({"SimpleFrameList": [1, 2.5]}, 0xAA04),
        ({"CalculatedFrameList": [1, 2.5, 1]}, 0xAA04),
        ({"CalculatedFrameList": [1, 2]}, 0xAA04),
        ({"CalculatedFrameList": [1, 2, 0]}, 0xAA04),
        ({"CalculatedFrameList": [2, 1, 1]}, 0xAA04),
        ({"CalculatedFrameList": [1, 3, 1, 3, 5, 1]}, 0xAA04),
        ({"TimeRange": [1.0, 0.5]}, 0xAA04),
        ({"TimeRange": [float("nan"), 0.5]}, 0xAA04),
        ({"TimeRange": 1.0}, 0xAA04),
        ({"TimeRange": [0.0, 1.0, 2.0]}, 0xAA04),
        ({"SOPInstanceUID": [UID, "1.2.3.2"], "SimpleFrameList": 1}, 0xAA04),
        ({"SOPInstanceUID": "", "SimpleFrameList": 1}, 0xAA04),
        ({"SimpleFrameList": [7, 8]}, 0xAA00),
        ({"CalculatedFrameList": [7, 9, 1]}, 0xAA00),
        ({"TimeRange": [0.0, 1.0]}, 0xAA03),
    ],
    ids=str,
)
def test_what_cannot_be_asked_for(keys: dict[str, Any], status: int) -> None:
    with pytest.raises(FramesRefused) as caught:
        taken(multi_frame(), **keys)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("change", "status", "why"),
    [
        (lambda it: setattr(it.file_meta, "MediaStorageSOPClassUID", sop_class.CTImageStorage), 0xAA01, "SOP class"),
        (
            lambda it: setattr(it.file_meta, "MediaStorageSOPClassUID", sop_class.NuclearMedicineImageStorage),
            0xAA01,
            "SOP class",
        ),
        (lambda it: setattr(it, "DimensionOrganizationType", "TILED_FULL"), 0xAA01, "SOP class"),
        (lambda it: delattr(it, "PixelData"), 0xAA01, "no frames"),
        (lambda it: setattr(it.file_meta, "TransferSyntaxUID", MPEG2MPML), 0xAA02, "video"),
        (lambda it: setattr(it, "NumberOfFrames", 7), 0xAA02, "separated"),
        (lambda it: setattr(it, "NumberOfFrames", 2_000_000_000), 0xAA02, "more than 262144 frames"),
        (lambda it: setattr(it, "NumberOfFrames", -6), 0xAA02, "not valid"),
        (lambda it: setattr(it, "Rows", 0), 0xAA02, "separated"),
        (lambda it: setattr(it, "PixelData", it.PixelData[:-2]), 0xAA02, "separated"),
        (lambda it: setattr(it, "FrameLabelVector", ["A", "B"]), 0xAA02, "FrameLabelVector"),
        (lambda it: setattr(it.file_meta, "TransferSyntaxUID", RLELossless), 0xAA02, "separated"),
    ],
)
def test_what_no_frames_can_be_taken_out_of(change: Callable[[Dataset], None], status: int, why: str) -> None:
    dataset = multi_frame()
    change(dataset)
    with pytest.raises(FramesRefused, match=why) as caught:
        taken(dataset, SimpleFrameList=1)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "keys", [{"SimpleFrameList": 1}, {"CalculatedFrameList": [1, 1, 1]}, {"TimeRange": [0.0, 1.0]}]
)
def test_fewer_frames_than_none(keys: dict[str, Any]) -> None:
    """By the times there is always a first frame, and it was nearly all of the pixels."""
    with pytest.raises(FramesRefused, match="not valid"):
        taken(multi_frame(FrameTime=100, NumberOfFrames=-NUMBER), **keys)


@pytest.mark.parametrize(
    "offsets", [[0] * 6, [0, 48, 24, 72, 96, 120], [0, 26, 50, 74, 98, 122], [24, 48, 72, 96, 120, 0]]
)
def test_a_damaged_offset_table_gives_no_other_frame(offsets: list[int]) -> None:
    """pydicom gave another frame, several as one, or an empty one."""
    dataset = multi_frame(syntax=RLELossless)
    table = pack("<HHL6L", 0xFFFE, 0xE000, 24, *offsets)
    dataset.PixelData = table + encapsulate([frame(number) for number in range(1, 7)], has_bot=False)[8:]
    new = taken(dataset, SimpleFrameList=[2, 5])
    assert list(generate_frames(new.PixelData, number_of_frames=2)) == [frame(2), frame(5)]


def test_more_encapsulated_frames_than_it_has() -> None:
    with pytest.raises(FramesRefused, match="separated") as caught:
        taken(multi_frame(syntax=RLELossless, NumberOfFrames=NUMBER - 1), SimpleFrameList=1)
    assert caught.value.status == 0xAA02


@pytest.mark.parametrize(("rows", "columns", "is_split"), [(4, 4, False), (3, 4, True), (3, 5, True)])
def test_frames_of_single_bits(rows: int, columns: int, is_split: bool) -> None:
    """Six frames of 15 bits are two bytes each on the average, but the second begins at the last bit of a byte."""
    kind = sop_class.MultiFrameSingleBitSecondaryCaptureImageStorage
    dataset = multi_frame(kind, Rows=rows, Columns=columns, BitsAllocated=1)
    dataset.PixelData = bytes(range(12))
    if is_split:
        with pytest.raises(FramesRefused):
            taken(dataset, SimpleFrameList=2)
    else:
        assert taken(dataset, SimpleFrameList=2).PixelData == b"\2\3"


def test_every_class_is_one_of_the_standard() -> None:
    assert all(sop_class.lookup(uid) is not None for uid in CLASSES)


# --- on the wire ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    multi_frame(FrameTime=100).save_as(tmp_path / "one.dcm", enforce_file_format=True)
    archive = await Archive.open(tmp_path, index="memory:")
    yield archive
    await archive.close()


def connect(port: int) -> aiodimse.Connect:
    return aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[GET, MOVE], storage=[XA])


@pytest.mark.parametrize("level", ["FRAME", "frame"])
async def test_get(port: int, archive: Archive, level: str) -> None:
    async with connect(port) as peer:
        async with peer.c_get(asked(QueryRetrieveLevel=level, SimpleFrameList=[2, 5]), GET) as retrieval:
            (found,) = [await instance.dataset() async for instance in retrieval]
        assert retrieval.status == 0x0000
    assert numbers(found) == [2, 5]
    assert (await archive.index.counts()).instances == 1, "it is not kept"


async def test_move(port: int, archive: Archive) -> None:
    async with connect(port) as peer, peer.c_move(asked(TimeRange=[0.0, 0.1]), MOVE, destination="ARCHIVE") as moving:
        async for _ in moving:
            pass
        assert moving.status == 0x0000
    assert (await archive.index.counts()).instances == 2, "it was moved to the archive itself"
    (new,) = [path for path in archive.directory.rglob("*.dcm") if path.name != "one.dcm"]  # type: ignore[union-attr]
    assert numbers(dcmread(new)) == [1, 2]


async def status_of(retrieval: Any) -> int:
    """The final status of one that gives nothing."""
    try:
        async with retrieval:
            assert [each async for each in retrieval if isinstance(each, aiodimse.Instance)] == []
    except aiodimse.DIMSEFailure as error:
        return error.status
    return int(retrieval.status)


@pytest.mark.parametrize("operation", ["get", "move"])
@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({"SimpleFrameList": [9]}, 0xAA00),
        ({"SimpleFrameList": [2, 1]}, 0xAA04),
        ({}, 0xAA04),
        ({"SOPInstanceUID": "1.2.3.9", "SimpleFrameList": 1}, 0xAA00),
        ({"SOPInstanceUID": "1.2.3.9", "TimeRange": [0.0, 1.0]}, 0xAA00),
        ({"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": "1.2.3.9"}, 0x0000),  # as in all other models: no entity
        ({"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": ["1.2.3.9", "1.2.3.10"]}, 0x0000),
    ],
)
async def test_what_is_answered_where_there_is_none(
    port: int, operation: str, keys: dict[str, Any], status: int
) -> None:
    async with connect(port) as peer:
        wanted = asked(**keys)
        is_get = operation == "get"
        retrieval: Any = peer.c_get(wanted, GET) if is_get else peer.c_move(wanted, MOVE, destination="ARCHIVE")
        assert await status_of(retrieval) == status


async def test_known_and_unknown_instances(port: int) -> None:
    async with connect(port) as peer:
        wanted = asked(QueryRetrieveLevel="IMAGE", SOPInstanceUID=["1.2.3.9", UID])
        async with peer.c_get(wanted, GET) as retrieval:
            assert [(await instance.dataset()).SOPInstanceUID async for instance in retrieval] == [UID]
        assert retrieval.status == 0x0000


def _replaced(path: Path) -> None:
    other = multi_frame(SOPInstanceUID="1.2.3.2")
    other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.2"
    other.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize(
    "happened",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-50]),
        lambda path: path.write_bytes(b"no DICOM" * 100),
        _replaced,
    ],
    ids=["gone", "cut off", "another file", "another instance"],
)
async def test_an_instance_that_cannot_be_read_any_more(
    port: int, tmp_path: Path, happened: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    happened(tmp_path / "one.dcm")
    async with connect(port) as peer:
        assert await status_of(peer.c_get(asked(SimpleFrameList=1), GET)) == 0xAA02
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_an_instance_that_is_too_large(port: int, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def payload(_entry: object) -> object:
        raise aiodimse.DatasetTooLarge("more than a gibibyte")

    monkeypatch.setattr(archive.storage, "payload", payload)
    async with connect(port) as peer:
        with pytest.raises(aiodimse.DIMSEFailure, match="too large") as caught:
            (await peer.c_get(asked(SimpleFrameList=1), GET)).raise_for_status()
        assert caught.value.status == 0xAA02


async def ended(retrieval: Any) -> int:
    """The final status of one whose instances are dropped."""
    try:
        async with retrieval:
            async for instance in retrieval:
                await instance.discard()
    except aiodimse.DIMSEFailure as error:
        return error.status
    return int(retrieval.status)


async def test_one_instance_at_a_time_is_in_memory(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example: sixteen at once took 1.6 GiB."""
    now = most = 0
    begun, go = asyncio.Event(), asyncio.Event()

    async def read(_payload: object) -> Dataset:
        nonlocal now, most
        now += 1
        most = max(most, now)
        begun.set()
        await go.wait()
        now -= 1
        return multi_frame()

    monkeypatch.setattr(frame_level, "_dataset", read)

    async def get() -> int:
        async with connect(port) as peer:
            return await ended(peer.c_get(asked(SimpleFrameList=1), GET))

    getting = [asyncio.create_task(get()) for _ in range(4)]
    await begun.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*getting) == [0x0000] * 4
    assert most == 1


async def test_an_instance_that_is_read_for_too_long(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk hangs: who waits for it is told, and who is cancelled leaves no place taken."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def read(_payload: object) -> Dataset:
        begun.set()
        await go.wait()
        return multi_frame()

    monkeypatch.setattr(frame_level, "_dataset", read)
    monkeypatch.setattr(frame_level, "_LONGEST_WAIT", 0.01)
    async with connect(port) as first, connect(port) as second:
        waiting = asyncio.create_task(ended(first.c_get(asked(SimpleFrameList=1), GET)))
        await begun.wait()
        assert await ended(second.c_get(asked(SimpleFrameList=1), GET)) == 0xA702
        first.abort()
        await asyncio.gather(waiting, return_exceptions=True)
        go.set()
        assert await ended(second.c_get(asked(SimpleFrameList=1), GET)) == 0x0000


@pytest.mark.parametrize("at", ["read", "extract"])
async def test_the_turn_of_one_that_is_aborted_lasts_until_its_thread_has_ended(
    port: int, archive: Archive, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The example: of retrievals that were aborted each, all had their instance in memory at the same time."""
    loop, begun, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    is_first = True

    def hold() -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(60)

    async def read(_payload: object) -> Dataset:
        if at == "read":
            await in_thread(hold)
        return multi_frame()

    def extracting(source: Dataset, frames: Frames) -> Dataset:
        if at == "extract":
            hold()
        return extract(source, frames)

    monkeypatch.setattr(frame_level, "_dataset", read)
    monkeypatch.setattr(frame_level, "extract", extracting)
    async with connect(port) as first, connect(port) as second:
        getting = asyncio.create_task(ended(first.c_get(asked(SimpleFrameList=1), GET)))
        await begun.wait()
        first.abort()
        await asyncio.gather(getting, return_exceptions=True)
        monkeypatch.setattr(frame_level, "_LONGEST_WAIT", 0.01)
        assert await ended(second.c_get(asked(SimpleFrameList=1), GET)) == 0xA702
        go.set()
        await archive.extracting.acquire()
        archive.extracting.release()
        assert await ended(second.c_get(asked(SimpleFrameList=1), GET)) == 0x0000


async def test_frames_are_no_level_of_other_models(port: int) -> None:
    other = sop_class.StudyRootQueryRetrieveInformationModelGet
    async with aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", contexts=[other], storage=[XA]) as peer:
        assert await status_of(peer.c_get(asked(SimpleFrameList=1), other)) == 0xA900
