"""Reading folders: what is indexed, what is skipped and counted, and that nothing ends a scan."""

from __future__ import annotations

import errno
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.datadict import tag_for_keyword

from aiodimse.archive import (
    Archive,
    Counts,
    File,
    Header,
    NotAnObject,
    ScanReport,
    elements,
    find_query,
    header,
    read_header,
)
from aiodimse.archive.models import STUDY_ROOT, Level
from aiodimse.archive.queries import retrieve_query
from aiodimse.archive.storage import Found


async def path_of(archive: Archive, uid: str = "1.2.1.1.1") -> list[Path]:
    parts = uid.split(".")
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.SOPInstanceUID = "IMAGE", uid
    asked.StudyInstanceUID, asked.SeriesInstanceUID = ".".join(parts[:3]), ".".join(parts[:4])
    entries = archive.index.entries(retrieve_query(asked, STUDY_ROOT))
    return [archive.storage.path(entry.location) async for entry in entries]


@pytest.mark.parametrize(
    ("file", "patient", "modality"),
    [
        ("CT_small.dcm", "1CT1", "CT"),
        ("MR_small_bigendian.dcm", "4MR1", "MR"),
        ("MR_small_implicit.dcm", "4MR1", "MR"),
        ("JPEG2000.dcm", "8NM1", "NM"),
        ("image_dfl.dcm", "", "OT"),
        ("rtplan.dcm", "id00001", "RTPLAN"),
        ("test-SR.dcm", "", "SR"),
        ("waveform_ecg.dcm", "642341", "ECG"),
        ("MR_truncated.dcm", "4MR1", "MR"),
    ],
)
def test_headers_of_real_files(file: str, patient: str, modality: str) -> None:
    found = read_header(get_testdata_file(file, download=False))
    assert found.unique(Level.PATIENT) == patient
    assert found.levels[Level.SERIES]["Modality"] == (modality,)


async def test_a_folder_of_all_sorts(tmp_path: Path, a_file: Callable[..., Path]) -> None:
    a_file("a/1.dcm", image="1")
    a_file("a/b/no-extension", image="2")
    a_file("a/again.dcm", image="1")
    a_file("no-study.dcm", image="3", StudyInstanceUID="")
    a_file(".hidden.dcm", image="4")
    (tmp_path / "note.txt").write_text("not DICOM")
    (tmp_path / "empty").touch()
    deflated = Path(get_testdata_file("image_dfl.dcm", download=False)).read_bytes()
    (tmp_path / "damaged.dcm").write_bytes(deflated[:400] + b"\xff" * 1000)
    shutil.copy(get_testdata_file("DICOMDIR", download=False), tmp_path / "DICOMDIR")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to("self")
    seen: list[ScanReport] = []
    archive = await Archive.open(tmp_path, index="memory:", progress=seen.append)
    assert archive.report == ScanReport(
        files=10, indexed=2, duplicates=1, not_dicom=2, not_objects=2, damaged=1, unreadable=2
    )
    assert seen[-1] == archive.report
    assert str(archive.report) == (
        "2 of 10 files indexed; skipped: 1 of an object seen before, 2 not DICOM, 2 without the UIDs of an object, "
        "1 damaged, 2 unreadable"
    )
    assert await path_of(archive) == [tmp_path / "a" / "1.dcm"]
    assert await path_of(archive, "1.2.1.1.2") == [tmp_path / "a" / "b" / "no-extension"]


async def test_what_may_not_be_read_is_counted(
    tmp_path: Path, a_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file("1.dcm")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError  # root, who runs the tests, may read everything

    monkeypatch.setattr("aiodimse.archive.header.Reading", refuse)
    assert (await Archive.open(tmp_path, index="memory:")).report == ScanReport(files=1, unreadable=1)


@pytest.mark.parametrize("first", ["1.2.1.1.1.dcm", "0.dcm"])
async def test_the_file_that_c_store_wrote_counts_before_others_of_the_same_object(
    tmp_path: Path, a_file: Callable[..., Path], first: str
) -> None:
    a_file(first)
    a_file("z/1.2.1.1.1.dcm" if first == "0.dcm" else "z/other.dcm")
    archive = await Archive.open(tmp_path, index="memory:")
    assert [path.name for path in await path_of(archive)] == ["1.2.1.1.1.dcm"]
    assert (archive.report.indexed, archive.report.duplicates) == (1, 1)


async def test_what_a_killed_process_left_unfinished_is_removed(
    tmp_path: Path, a_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    a_file("1.dcm")
    (tmp_path / ".1.2.dcm.0123456789abcdef.part").touch()
    os.utime(tmp_path / ".1.2.dcm.0123456789abcdef.part", (0, 0))
    (tmp_path / ".1.3.dcm.0123456789abcdef.part").touch()  # somebody may be writing it
    with caplog.at_level("INFO", "aiodimse.storage"):
        await Archive.open(tmp_path, index="memory:")
    assert {path.name for path in tmp_path.iterdir()} == {"1.dcm", ".1.3.dcm.0123456789abcdef.part"}
    assert "removed 1 unfinished file" in caplog.text


async def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nothing-here"):
        await Archive.open(tmp_path / "nothing-here", index="memory:")


async def test_an_empty_folder(tmp_path: Path) -> None:
    seen: list[ScanReport] = []
    archive = await Archive.open(tmp_path, index="memory:", progress=seen.append)
    assert (archive.report, seen) == (ScanReport(), [ScanReport()])
    assert str(archive.report) == "0 of 0 files indexed"


async def test_a_file_added_is_found_at_once(tmp_path: Path, a_file: Callable[..., Path]) -> None:
    archive = await Archive.open(tmp_path, index="memory:")
    path = a_file("new.dcm")
    await archive.add(path)
    assert await path_of(archive) == [path]
    with pytest.raises(NotAnObject, match="no SeriesInstanceUID"):
        await archive.add(a_file("bad.dcm", image="2", SeriesInstanceUID=""))


def test_no_value_is_quoted_in_a_warning(a_file: Callable[..., Path]) -> None:
    """pydicom warns about values that do not fit their VR, and says which: a patient's, in the end, in a log."""
    path = a_file("1.dcm", PatientBirthDate="19700101", PatientAge="047Y")
    path.write_bytes(path.read_bytes().replace(b"19700101", b"1970 Jan").replace(b"047Y", b"47 y"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_header(path)
    assert found.levels[Level.PATIENT]["PatientBirthDate"] == ("1970 Jan",)
    assert found.levels[Level.STUDY]["PatientAge"] == ("47 y",)


# --- scanning again ---------------------------------------------------------------------------------------------------


async def test_a_second_scan_forgets_what_has_gone(tmp_path: Path, a_file: Callable[..., Path]) -> None:
    one, two, three = (a_file(f"{image}.dcm", image=str(image)) for image in (1, 2, 3))
    other = a_file("other.dcm", study="2")
    archive = await Archive.open(tmp_path, index="memory:")
    one.unlink()
    two.rename(tmp_path / "moved.dcm")
    a_file("3.dcm", image="4")
    other.write_bytes(b"not DICOM any more")
    report = await archive.scan()
    assert report == ScanReport(files=3, indexed=2, not_dicom=1, forgotten=3)
    assert str(report) == "2 of 3 files indexed; skipped: 1 not DICOM; forgotten: 3"
    assert await path_of(archive, "1.2.1.1.1") == await path_of(archive, "1.2.1.1.3") == []
    assert await path_of(archive, "1.2.1.1.2") == [tmp_path / "moved.dcm"]
    assert await path_of(archive, "1.2.1.1.4") == [three]
    assert await archive.index.counts() == Counts(patients=1, studies=1, series=1, instances=2)
    assert (await archive.scan()).forgotten == 0


@pytest.mark.parametrize("remounted", [False, True], ids=["gone", "empty"])
async def test_a_disk_that_goes_away_during_a_scan_costs_no_object(
    tmp_path: Path, a_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, remounted: bool
) -> None:
    """Nothing is in the folder any more, and the index forgets nothing, so that nothing is read again later."""
    root = tmp_path / "disk"
    for image in range(1, 4):
        a_file(f"disk/{image}/x.dcm", image=str(image))
    archive = await Archive.open(root, index="memory:")
    walk = archive.storage.walk

    def unmounted_in_the_middle() -> Iterator[Found]:
        folders = walk()
        yield next(folders)
        yield next(folders)
        root.rename(tmp_path / "unmounted")
        if remounted:
            root.mkdir()
        yield from folders

    monkeypatch.setattr(archive.storage, "walk", unmounted_in_the_middle)
    with pytest.raises(OSError):  # noqa: PT011
        await archive.scan()
    assert (await archive.index.counts()).instances == 3


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
async def test_a_disk_with_errors_has_not_lost_its_objects(
    tmp_path: Path, a_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    a_file("sub/1.dcm")
    archive = await Archive.open(tmp_path, index="memory:")
    status = os.stat

    def failing(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if "sub" in os.fspath(path):
            raise OSError(number, os.strerror(number))
        return status(path, *args, **options)

    with monkeypatch.context() as broken:
        broken.setattr("aiodimse.archive.storage.folder.os.stat", failing)
        report = await archive.scan()
    assert (report.forgotten, (await archive.index.counts()).instances) == (0, 1)
    assert str(await archive.scan()) == "1 of 1 files indexed"


async def test_a_second_scan_takes_the_other_file_of_an_object(tmp_path: Path, a_file: Callable[..., Path]) -> None:
    first, second = a_file("1.dcm"), a_file("2.dcm")
    archive = await Archive.open(tmp_path, index="memory:")
    first.unlink()
    assert (await archive.scan()).forgotten == 0
    assert await path_of(archive) == [second]


async def test_a_second_scan_tells_of_a_study_what_a_first_would(tmp_path: Path, a_file: Callable[..., Path]) -> None:
    first = a_file("1.dcm", image="1", StudyDescription="HEAD", AccessionNumber="A1")
    for image in ("2", "3"):
        a_file(f"{image}.dcm", image=image, StudyDescription="NECK")
    archive = await Archive.open(tmp_path, index="memory:")
    first.unlink()
    await archive.scan()
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyDescription, asked.AccessionNumber = "STUDY", "", ""
    (match,) = [match async for match in archive.index.find(find_query(asked, STUDY_ROOT))]
    assert match.attributes == {"StudyDescription": ("NECK",), "AccessionNumber": ()}


async def test_what_arrives_during_a_scan_is_kept(tmp_path: Path, a_file: Callable[..., Path]) -> None:
    """A file has gone when the scan looks for it, and is stored again before the scan forgets it."""
    path = a_file("1.dcm")
    archive = await Archive.open(tmp_path, index="memory:")
    path.unlink()
    files = archive.index.files

    async def stored_again(folder: str) -> dict[str, File]:
        if not path.exists():
            await archive.add(a_file("1.dcm"))
        return await files(folder)

    archive.index.files = stored_again  # type: ignore[method-assign]
    report = await archive.scan()
    assert (report.forgotten, report.indexed) == (0, 1)
    assert await path_of(archive) == [path]


async def test_what_is_stored_while_its_file_is_read_is_not_indexed_as_it_was(
    tmp_path: Path, a_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_file("1.dcm", StudyDescription="OLD")
    archive = Archive(tmp_path)
    read = archive.storage.read

    def replaced_behind(location: str) -> Header:
        header = read(location)
        a_file("1.dcm", StudyDescription="NEW, and longer")
        return header

    monkeypatch.setattr(archive.storage, "read", replaced_behind)
    await archive.scan()
    assert await path_of(archive) == []
    monkeypatch.undo()
    await archive.scan()
    assert await path_of(archive) == [path]


async def test_a_second_scan_reads_only_what_is_new_or_changed(
    tmp_path: Path, a_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file("a/1.dcm", image="1")
    a_file("a/1-again.dcm", image="1")
    a_file("2.dcm", image="2")
    (tmp_path / "note.txt").write_text("not DICOM")
    archive = await Archive.open(tmp_path, index="memory:")
    first = archive.report
    read = archive.storage.read
    seen: list[str] = []
    monkeypatch.setattr(archive.storage, "read", lambda location: [seen.append(location), read(location)][1])
    assert await archive.scan() == first
    assert seen == []
    a_file("b/3.dcm", image="3")
    a_file("2.dcm", image="2", StudyDescription="CHANGED")
    await archive.scan()
    assert seen == ["2.dcm", "b/3.dcm"]


async def test_links_that_lead_out_are_not_followed(tmp_path: Path, a_file: Callable[..., Path]) -> None:
    a_file("inside/1.dcm", image="1")
    a_file("outside/2.dcm", image="2")
    (tmp_path / "inside" / "folder").symlink_to(tmp_path / "outside")
    (tmp_path / "inside" / "file.dcm").symlink_to(tmp_path / "outside" / "2.dcm")
    (tmp_path / "inside" / "again.dcm").symlink_to(tmp_path / "inside" / "1.dcm")
    assert (await Archive.open(tmp_path / "inside", index="memory:")).report == ScanReport(
        files=2, indexed=1, duplicates=1
    )
    followed = await Archive.open(tmp_path / "inside", index="memory:", follow_links=True)
    assert followed.report.indexed == 2


async def test_an_archive_below_a_link_is_read(tmp_path: Path, a_file: Callable[..., Path]) -> None:
    a_file("disk/1.dcm")
    (tmp_path / "archive").symlink_to(tmp_path / "disk")
    assert (await Archive.open(tmp_path / "archive", index="memory:")).report.indexed == 1


async def test_a_file_from_elsewhere_stays(tmp_path: Path, a_file: Callable[..., Path]) -> None:
    (tmp_path / "folder").mkdir()
    archive = await Archive.open(tmp_path / "folder", index="memory:")
    path = a_file("elsewhere.dcm")
    await archive.add(path)
    assert (await archive.scan()).forgotten == 0
    assert await path_of(archive) == [path]
    path.unlink()
    assert (await archive.scan()).forgotten == 1


@pytest.mark.parametrize(
    "keyword", ["PerFrameFunctionalGroupsSequence", "ContentSequence", "ROIContourSequence", "StructureSetROISequence"]
)
def test_a_header_is_read_no_further_than_needed(a_file: Callable[..., Path], keyword: str) -> None:
    """The frames of an enhanced object, the content of a report, contours: a hundred thousand items, none kept."""
    path = a_file("1.dcm", StructureSetLabel="HEAD", **{keyword: [Dataset(), Dataset()]})
    whole = path.read_bytes()
    tag = tag_for_keyword(keyword)
    assert tag is not None
    path.write_bytes(whole[: whole.index(pack("<HH", tag >> 16, tag & 0xFFFF)) + 14])
    assert read_header(path).unique(Level.IMAGE) == "1.2.1.1.1"


async def test_a_sequence_of_very_many_items_ends_the_reading(
    tmp_path: Path, a_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is asked for or not."""
    monkeypatch.setattr(elements, "MAX_ELEMENTS", 500)
    path = a_file("1.dcm", ProcedureCodeSequence=[Dataset()])
    whole = path.read_bytes()
    begin = whole.index(b"\x08\0\x32\x10SQ")
    items = b"\xfe\xff\0\xe0\0\0\0\0" * 500 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    for name, tag in (("1.dcm", b"\x32\x10"), ("2.dcm", b"\x33\x10")):
        head = b"\x08\0" + tag + b"SQ\0\0\xff\xff\xff\xff"
        (tmp_path / name).write_bytes(whole[:begin] + head + items + whole[begin + 20 :])
        with pytest.raises(ValueError, match="too many elements"):
            read_header(tmp_path / name)
    assert (await Archive.open(tmp_path, index="memory:")).report == ScanReport(files=2, damaged=2)


@pytest.mark.parametrize("behind", [b"", bytes(1 << 26)])
def test_of_a_deflated_data_set_the_beginning_is_inflated(
    a_file: Callable[..., Path], behind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 KiB become 64 MiB, and could become more than there is."""
    most = 0

    class Watched(elements.Reading):
        def __init__(self, data: bytes, *rest: Any) -> None:
            nonlocal most
            most = len(data)
            super().__init__(data, *rest)

    path = a_file("1.dcm")
    begin = path.read_bytes().index(b"\x08\0\x16\0UI")
    frames = b"\xe0\x7f\x10\0OW\0\0" + pack("<I", len(behind)) + behind
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(path.read_bytes()[begin:] + frames) + deflater.flush()
    head = path.read_bytes()[144:begin].replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99")
    meta = b"\x02\0\0\0UL\4\0" + pack("<I", len(head)) + head
    path.write_bytes(bytes(128) + b"DICM" + meta + deflated)
    monkeypatch.setattr(header, "Reading", Watched)
    assert read_header(path).unique(Level.IMAGE) == "1.2.1.1.1"
    assert 0 < most <= 1 << 24


def test_a_header_that_speaks_of_deflated_data_sets_is_none(a_file: Callable[..., Path]) -> None:
    path = a_file("1.dcm", StudyDescription="1.2.840.10008.1.2.1.99")
    assert read_header(path).levels[Level.STUDY]["StudyDescription"] == ("1.2.840.10008.1.2.1.99",)
