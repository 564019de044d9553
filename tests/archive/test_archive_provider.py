"""The handlers, called as a Server calls them, without one."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from archive.strategies import asked
from pydicom import Dataset
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse import ExtendedQuery, ExtendedRetrieve, sop_class
from aiodimse.archive import Archive, provide
from aiodimse.archive import provider as provider_module

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove


class Asking:
    """An association, of which each search is one."""

    called_ae_title = "ARCHIVE"


def asking(uid: str, identifier: Dataset, **request: Any) -> SimpleNamespace:
    """A request, as far as the handlers look at it; `tolerated` says what they tolerated of it."""
    tolerated: list[Any] = []
    rest = {"extended": None, "is_strict": False, "tolerate": tolerated.append, "tolerated": tolerated} | request
    rest["association"] = Asking()
    return SimpleNamespace(sop_class_uid=uid, identifier=identifier, **rest)


class Handlers:
    """The part of a Server that `provide` uses."""

    ae_title = "ARCHIVE"
    limits, timeouts = aiodimse.Limits(), aiodimse.Timeouts()

    def __init__(self) -> None:
        self.by_sop_class: dict[str, Any] = {}

    def on_c_store(self, function: Any) -> Any:
        self.store = function
        return function

    def _register(self, *sop_classes: str, extended: object = None) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            self.by_sop_class.update(dict.fromkeys(sop_classes, function))
            return function

        return decorate

    on_c_find = on_c_get = on_c_move = on_n_action = _register

    async def run(self, uid: str, identifier: Dataset, **request: Any) -> list[Any]:
        asked = asking(uid, identifier, **request)
        steps: AsyncIterator[Any] = self.by_sop_class[uid](asked)
        return [step async for step in steps]


ALL = asked("STUDY", StudyInstanceUID="1.2.1")


@pytest.fixture
async def archive(tmp_path: Path, a_file: Callable[..., Path]) -> Archive:
    a_file("1.dcm", image="1")
    a_file("2.dcm", image="2")
    return await Archive.open(tmp_path, index="memory:")


@pytest.fixture
def handlers(archive: Archive) -> Handlers:
    handlers = Handlers()
    provide(handlers, archive, destinations={"VIEWER": ("192.0.2.7", 11112)})  # type: ignore[arg-type]
    return handlers


def test_every_sop_class_of_the_models_is_served(handlers: Handlers) -> None:
    """All of Query/Retrieve (PS3.4 C.6, Y.6, Z.6)."""
    served = set(handlers.by_sop_class)
    by_service = Counter(sop_class.lookup(uid).service_class.name for uid in served)  # type: ignore[union-attr]
    assert by_service["Query/Retrieve"] == 13
    assert by_service["Storage Commitment"] == 1
    assert sum(by_service.values()) == 38


async def test_find(handlers: Handlers) -> None:
    ((status, found),) = await handlers.run(FIND, asked("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances=""))
    assert status == 0xFF00
    assert (found.StudyInstanceUID, found.NumberOfStudyRelatedInstances) == ("1.2.1", 2)
    assert (found.QueryRetrieveLevel, found.RetrieveAETitle) == ("STUDY", "ARCHIVE")


async def test_find_with_a_key_that_is_not_kept(handlers: Handlers) -> None:
    ((status, found),) = await handlers.run(FIND, asked("STUDY", StudyID="", PixelSpacing=None))
    assert status == 0xFF01
    assert "PixelSpacing" not in found


@pytest.mark.parametrize("uid", [FIND, GET, MOVE])
async def test_an_identifier_that_does_not_fit(handlers: Handlers, uid: str) -> None:
    with pytest.raises(aiodimse.DIMSEFailure) as caught:
        await handlers.run(uid, asked("SERIES", SeriesInstanceUID="1.2.1.1"), move_destination="VIEWER", is_strict=True)
    assert caught.value.status == 0xA900
    assert caught.value.offending_elements == (0x0020000D,)
    assert caught.value.comment == "StudyInstanceUID is needed at the SERIES level"


async def test_relational_queries_and_retrievals_when_negotiated(handlers: Handlers) -> None:
    found = await handlers.run(FIND, asked("SERIES", SeriesInstanceUID=""), extended=ExtendedQuery(relational=True))
    assert [each.SeriesInstanceUID for _, each in found] == ["1.2.1.1"]
    got = await handlers.run(
        GET, asked("SERIES", SeriesInstanceUID="1.2.1.1"), extended=ExtendedRetrieve(relational=True)
    )
    assert got[0] == 2
    identifier = asked("SERIES", SeriesInstanceUID="1.2.1.1")
    with pytest.raises(aiodimse.DIMSEFailure):
        await handlers.run(GET, identifier, extended=ExtendedRetrieve(), is_strict=True)


@pytest.mark.parametrize(
    ("rules", "identifier", "count"),
    [
        (None, asked("STUDY", PatientName="john doe"), 0),
        (ExtendedQuery(fuzzy_names=True), asked("STUDY", PatientName="john doe"), 1),
        (None, asked("STUDY", AccessionNumber='""'), 0),
        (ExtendedQuery(empty_value_matching=True), asked("STUDY", AccessionNumber='""'), 1),
        (None, asked("STUDY", StudyDate="20200101-20200103", StudyTime="10-11"), 0),
        (ExtendedQuery(date_time=True), asked("STUDY", StudyDate="20200101-20200103", StudyTime="10-11"), 1),
        (None, asked("STUDY", ModalitiesInStudy=["MR", "CT"]), 1),
        (ExtendedQuery(multiple_value_matching=True), asked("STUDY", ModalitiesInStudy=["MR", "CT"]), 0),
    ],
)
async def test_what_was_negotiated_is_what_matches(
    tmp_path: Path, a_file: Callable[..., Path], rules: ExtendedQuery | None, identifier: Dataset, count: int
) -> None:
    a_file("1.dcm", PatientName="Doe^John", StudyDate="20200102", StudyTime="0900")
    handlers = Handlers()
    provide(handlers, await Archive.open(tmp_path, index="memory:"))  # type: ignore[arg-type]
    assert len(await handlers.run(FIND, identifier, extended=rules)) == count


def sent(archive: Archive, location: str, uid: str) -> tuple[int, aiodimse.ReferencedFile]:
    return 0xFF00, aiodimse.ReferencedFile(archive.directory / location, sop_instance_uid=uid)


async def test_get(handlers: Handlers, archive: Archive) -> None:
    assert await handlers.run(GET, ALL) == [
        2,
        sent(archive, "1.dcm", "1.2.1.1.1"),
        sent(archive, "2.dcm", "1.2.1.1.2"),
    ]


async def test_get_of_what_is_not_there(handlers: Handlers) -> None:
    assert await handlers.run(GET, asked("STUDY", StudyInstanceUID="9.9")) == [0]


async def test_composite_instances(handlers: Handlers, archive: Archive) -> None:
    uids = asked("IMAGE", SOPInstanceUID=["1.2.1.1.2", "9.9"])
    for uid in (sop_class.CompositeInstanceRootRetrieveGet, sop_class.CompositeInstanceRetrieveWithoutBulkDataGet):
        assert await handlers.run(uid, uids) == [1, sent(archive, "2.dcm", "1.2.1.1.2")]


@pytest.mark.parametrize(
    ("title", "expected"), [("VIEWER", ("192.0.2.7", 11112)), (" VIEWER ", ("192.0.2.7", 11112)), ("OTHER", None)]
)
async def test_move(handlers: Handlers, title: str, expected: object) -> None:
    steps = await handlers.run(MOVE, ALL, move_destination=title)
    assert steps[:2] == [expected, 2]


async def test_more_than_the_counters_can_count(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "MAX_SUBOPERATIONS", 1)
    with pytest.raises(aiodimse.DIMSEFailure) as caught:
        await handlers.run(GET, ALL)
    assert caught.value.status == 0xA701


class StoreRequest:
    """A C-STORE request whose data set is in a file already."""

    association = SimpleNamespace(called_ae_title="ARCHIVE")

    def __init__(self, sop_instance_uid: str, file: Path) -> None:
        self.sop_instance_uid, self._file = sop_instance_uid, file
        self.sop_class_uid = sop_class.MRImageStorage
        self.saved: dict[str, object] = {}

    async def save(
        self, folder: str, name: str, *, before_name: Any, after_name: Any, after_round: Any, **how: object
    ) -> Path:
        self.saved = {"folder": folder, "name": name, **how}
        head = aiodimse.read_head(self._file)
        self.transfer_syntax = head.transfer_syntax
        before_name(self._file, self._file.read_bytes()[head.data_offset :])
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file.rename(path)
        after_name(path, path.stat())
        after_round()
        return path

    def logger(self, logger: logging.Logger) -> logging.Logger:
        return logger


async def test_what_is_stored_is_found_at_once(
    handlers: Handlers, archive: Archive, a_file: Callable[..., Path]
) -> None:
    request = StoreRequest("1.2.7.1.1", a_file(".new.part", study="7"))
    assert await handlers.store(request) == 0x0000
    location = archive.storage.location_for("1.2.7.1.1")
    assert request.saved == {"folder": str(archive.directory), "name": location, "durable": True}
    assert await handlers.run(GET, asked("STUDY", StudyInstanceUID="1.2.7")) == [
        1,
        sent(archive, location, "1.2.7.1.1"),
    ]
    assert (await archive.scan()).indexed == 3


async def test_what_is_stored_and_cannot_be_found_gets_a_warning(
    handlers: Handlers, a_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    file = a_file(".new.part", study="7", StudyInstanceUID="")
    status = await handlers.store(StoreRequest("1.2.7.1.1", file))
    assert (status.Status, status.ErrorComment) == (0xB007, "stored, but it cannot be found: no StudyInstanceUID")
    assert "a stored object cannot be found: no StudyInstanceUID" in caplog.text


async def test_what_cannot_be_found_and_comes_again_is_answered_alike(
    handlers: Handlers, archive: Archive, a_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """It is compared byte by byte: of another one nobody knows what it is."""

    def request(**others: str) -> StoreRequest:
        return StoreRequest("1.2.7.1.1", a_file(".new.part", study="7", StudyInstanceUID="", **others))

    answers = [await handlers.store(request()) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0].Status == 0xB007
    assert caplog.text.count("a stored object cannot be found: no StudyInstanceUID") == 2
    for others in ({"PatientName": "Doe"}, {"StudyID": "8"}):  # longer, and as long
        with pytest.raises(aiodimse.DIMSEFailure, match="the header of this one is unread") as refused:
            await handlers.store(request(**others))
        assert refused.value.status == 0xA900
    assert (await handlers.store(request())).Status == 0xB007
    (archive.directory / archive.storage.location_for("1.2.7.1.1")).write_bytes(b"no DICOM file")
    with pytest.raises(aiodimse.DIMSEFailure):
        await handlers.store(request())


async def test_what_the_index_has_and_this_program_cannot_read_is_stored_already(
    handlers: Handlers, a_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version may have read it."""

    def stumble(*_args: object, **_kwargs: object) -> None:
        raise ValueError

    assert await handlers.store(StoreRequest("1.2.7.1.1", a_file(".new.part", study="7"))) == 0x0000
    monkeypatch.setattr("aiodimse.archive.header.Reading", stumble)
    assert await handlers.store(StoreRequest("1.2.7.1.1", a_file(".new.part", study="7"))) == 0x0000


async def test_an_object_that_is_indexed_in_part_is_logged(
    handlers: Handlers, archive: Archive, a_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Also when it comes again, because a process died before the index had it."""
    for times in (1, 2):
        file = a_file(".new.part", study="7", OtherPatientIDs=["SECRET"] * 5_000)
        assert await handlers.store(StoreRequest("1.2.7.1.1", file)) == 0x0000
        assert caplog.text.count("a stored object is not indexed in full") == times
        await archive.index.remove([archive.storage.location_for("1.2.7.1.1")])
    assert "SECRET" not in caplog.text


async def test_a_damaged_header_is_logged_without_its_values(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def stumble(*_args: object, **_kwargs: object) -> None:
        raise ValueError("Doe^John")

    empty = tmp_path / ".new.part"
    shutil.copy(get_testdata_file("CT_small.dcm", download=False), empty)
    monkeypatch.setattr("aiodimse.archive.header.Reading", stumble)
    with caplog.at_level(logging.DEBUG, "aiodimse"):
        status = await handlers.store(StoreRequest("1.2.7.1.1", empty))
    assert (status.Status, status.ErrorComment) == (0xB007, "stored, but its header cannot be read")
    assert "ValueError" in caplog.text
    assert "Doe" not in caplog.text


async def test_an_unmounted_disk_refuses_stores(
    handlers: Handlers, archive: Archive, a_file: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """What is at its place now has room, and hides what was acknowledged when the disk comes back."""
    archive.directory.rename(archive.directory.with_name("elsewhere"))
    archive.directory.mkdir()
    with pytest.raises(aiodimse.DIMSEFailure) as caught:
        await handlers.store(StoreRequest("1.2.7.1.1", a_file(".new.part", study="7")))
    assert caught.value.status == 0xA700
    assert [path.name for path in archive.directory.iterdir()] == [".new.part"]
    assert "not the one that was opened" in caplog.text
