"""find by every information model, its worklist keys, --limit and --json-lines."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from archive.test_archive_frames import multi_frame
from cli.conftest import HOST, Ended, Peer
from pydicom import Dataset, dcmread

import aiodimse
from aiodimse import sop_class
from aiodimse.cli import identifier, models

Command = Callable[..., Awaitable[Ended]]
STUDY = sop_class.StudyRootQueryRetrieveInformationModelFind


@asynccontextmanager
async def finder(uid: str, asked: list[Dataset], *matches: Dataset) -> AsyncIterator[tuple[Any, ...]]:
    """A provider with these matches for whatever is asked; it keeps the Identifiers."""
    server = aiodimse.Server(ae_title="FINDER")

    @server.on_c_find(uid)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Dataset]:
        asked.append(request.identifier)
        for match in matches:
            yield match

    async with server.listen(HOST, 0) as listening:
        yield HOST, listening.port, "--called", "FINDER"


# --- the rows ---------------------------------------------------------------------------------------------------------


def test_every_sop_class_of_query_retrieve_is_in_one_row() -> None:
    for service in ("find", "get", "move"):
        rows = [row for model in models.MODELS.values() if (row := getattr(model, service)) is not None]
        assert sorted(rows) == sorted(getattr(sop_class, f"QUERY_RETRIEVE_{service.upper()}"))


@pytest.mark.parametrize("name", [name for name, model in models.MODELS.items() if model.find is not None])
async def test_find_by_each_model(command: Command, name: str) -> None:
    model, asked = models.MODELS[name], []
    async with finder(model.find or "", asked, aiodimse.identifier(PatientID="4711")) as where:
        ended = await command("find", *where, "--model", name)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "1 match")
    level = asked[0].get("QueryRetrieveLevel")
    assert level == (None if not model.levels else "STUDY")
    for column in model.asked_for(level):
        key = model.completed(identifier.key(column))
        assert key.path[0] in asked[0]


def test_a_model_has_its_own_highest_level() -> None:
    assert models.MODELS["composite-instance"].level(None) == "IMAGE"
    assert models.MODELS["patient"].level(None) == "STUDY"
    with pytest.raises(ValueError, match="--model patient has"):
        models.MODELS["study"].level("PATIENT")


# --- worklist ---------------------------------------------------------------------------------------------------------


async def test_worklist_keys_are_put_into_their_sequence(command: Command) -> None:
    match, step = Dataset(), Dataset()
    step.Modality, step.ScheduledProcedureStepStartDate = "CT", "20240101"
    match.PatientID, match.ScheduledProcedureStepSequence = "4711", [step]
    asked: list[Dataset] = []
    async with finder(sop_class.ModalityWorklistInformationModelFind, asked, match) as where:
        words = ("find", *where, "--model", "worklist", "-k", "Modality=CT", "-k", "PatientID=47*")
        ended = await command(*words)
    (wanted,) = asked[0].ScheduledProcedureStepSequence
    assert (wanted.Modality, wanted.ScheduledProcedureStepStartDate) == ("CT", "")
    assert "Modality" not in asked[0]
    header, _, row, _ = ended.out.splitlines()
    assert {"Modality", "ScheduledProcedureStepStartDate", "PatientID"} <= set(header.split())
    assert {"CT", "20240101", "4711"} <= set(row.split())


async def test_a_key_with_its_sequence_is_what_it_was(command: Command) -> None:
    asked: list[Dataset] = []
    async with finder(sop_class.ModalityWorklistInformationModelFind, asked) as where:
        await command("find", *where, "--model", "worklist", "-k", "ScheduledProcedureStepSequence.Modality=MR")
        await command("find", *where, "--model", "worklist", "-k", "RequestedProcedureID")
    assert asked[0].ScheduledProcedureStepSequence[0].Modality == "MR"
    assert list(asked[1].keys()) == [0x00401001]


async def test_a_study_has_no_worklist_keys(command: Command, peer: Peer) -> None:
    ended = await command("find", *peer.where, "--level", "SERIES", "-k", "StudyInstanceUID=1.2", "-k", "Modality")
    assert ended.out == "0 matches\n"


# --- --limit ----------------------------------------------------------------------------------------------------------


async def test_a_limit_cancels_the_search(command: Command) -> None:
    """The provider never ends by itself, so only a C-CANCEL ends it."""
    server, cancelled = aiodimse.Server(ae_title="FINDER"), asyncio.Event()

    @server.on_c_find(STUDY)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Dataset]:
        try:
            for number in range(3):
                yield aiodimse.identifier(PatientID=str(number))
            await asyncio.Event().wait()
        finally:
            if request.is_cancelled:
                cancelled.set()

    async with server.listen(HOST, 0) as listening:
        words = ("find", HOST, listening.port, "--called", "FINDER", "-k", "PatientID", "--limit", "2")
        ended = await command(*words)
        await cancelled.wait()
        found = json.loads((await command(*words, "--json")).out)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[2:] == ["0", "1", "2 matches; --limit ended the search"]
    assert (found["status"], found["limited"]) == (None, True)
    assert [match["PatientID"] for match in found["matches"]] == ["0", "1"]


async def test_a_limit_that_is_not_reached_changes_nothing(command: Command, peer: Peer) -> None:
    found = json.loads((await command("find", *peer.where, "--json", "--limit", "9", "-k", "PatientID=1CT1")).out)
    assert (found["status"]["code"], found["limited"], len(found["matches"])) == (0, False, 1)


# --- --json-lines -----------------------------------------------------------------------------------------------------


async def test_a_match_a_line_in_the_dicom_json_model(command: Command) -> None:
    first, second = Dataset(), Dataset()
    first.SpecificCharacterSet, first.PatientName = "ISO_IR 192", "Yamada^Tarou=山田^太郎"
    first.add_new(0x00189073, "FD", math.nan)
    second.ScheduledProcedureStepSequence = [Dataset()]
    second.ScheduledProcedureStepSequence[0].Modality = "CT"
    second.PatientComments = "\x9b2J"
    async with finder(STUDY, [], first, second) as where:
        ended = await command("find", *where, "--json-lines")
        both = await command("find", *where, "--json", "--json-lines")
    assert (ended.code, ended.err, both.out) == (0, "", ended.out)
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert lines[0]["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]}
    assert lines[0]["00189073"] == {"vr": "FD", "Value": ["NaN"]}
    assert lines[1]["00400100"]["Value"] == [{"00080060": {"vr": "CS", "Value": ["CT"]}}]
    assert "\x9b" not in ended.out
    again = Dataset.from_json(lines[0])
    assert again.PatientName == first.PatientName


async def test_lines_and_a_failure(command: Command) -> None:
    """Standard output has matches and nothing else; the failure is told on standard error."""
    server = aiodimse.Server(ae_title="FINDER")

    @server.on_c_find(STUDY)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        yield aiodimse.identifier(PatientID="4711")
        raise aiodimse.DIMSEFailure(0xA700, "full")

    async with server.listen(HOST, 0) as listening:
        ended = await command("find", HOST, listening.port, "--called", "FINDER", "--json-lines")
    assert ended.code == 1
    (line,) = ended.out.splitlines()
    assert json.loads(line)["00100020"]["Value"] == ["4711"]
    assert "0xA700" in ended.err


async def test_lines_and_no_association(command: Command, dead_port: int) -> None:
    (await command("find", HOST, dead_port, "--json-lines")).failed(1, "refused")


async def test_frames_of_an_object(command: Command, peer: Peer, tmp_path: Path) -> None:
    """The new object has those frames; what cannot be made is answered with its status."""
    dataset = multi_frame()
    async with aiodimse.connect(
        HOST, peer.port, called_ae_title="ARCHIVE", contexts=[dataset.SOPClassUID]
    ) as association:
        assert (await association.c_store(dataset)).status == 0x0000
    words = (
        *peer.where,
        "--model",
        "composite-instance",
        "--level",
        "frame",
        "-k",
        f"SOPInstanceUID={dataset.SOPInstanceUID}",
    )
    output = ("--output", tmp_path / "out")
    assert (await command("get", *words, "-k", "SimpleFrameList=1\\3", *output)).code == 0
    (file,) = (tmp_path / "out").iterdir()
    assert dcmread(file).NumberOfFrames == 2
    ended = await command("get", *words, "-k", "SimpleFrameList=1000", *output)
    assert (ended.code, "answers 0xAA00" in ended.err) == (1, True)
    ended = await command("move", *words, "-k", "CalculatedFrameList=1\\2\\1", "--destination", "VIEWER")
    assert (ended.code, len(peer.viewer)) == (0, 1)


async def test_only_one_model_has_frames(command: Command, peer: Peer, tmp_path: Path) -> None:
    ended = await command("get", *peer.where, "--level", "FRAME", "-k", "SOPInstanceUID=1.2", "--output", tmp_path)
    ended.failed(2, "the model study has no FRAME level, but STUDY, SERIES, IMAGE")


# --- Repository Query -------------------------------------------------------------------------------------------------

PAGE = ("--model", "repository", "-k", "PatientID", "-k", "MaximumNumberOfRecords=2")


async def test_a_repository_query_is_continued_by_what_the_last_line_says(command: Command, peer: Peer) -> None:
    """Each study is found once, whatever the pages, and the key of a page is not shown in the table."""
    everything = (await command("find", *peer.where, "-k", "PatientID")).out.splitlines()[2:-1]
    found, more, pages = [], [], 0
    while True:
        ended = await command("find", *peer.where, *PAGE, *more)
        header, _, *rows, count = ended.out.splitlines()
        assert header.split() == ["PatientID"]
        assert count == f"{len(rows)} match{'es' if len(rows) > 1 else ''}"
        found += rows
        pages += 1
        if ended.code == 0:
            break
        assert (ended.code, "0xB001" in ended.err) == (1, True)
        more = ended.err.rpartition("; ")[2].removesuffix(" continues\n").split(" ")
    assert (sorted(found), pages > 1) == (sorted(everything), True)


async def test_a_record_key_for_programs(command: Command, peer: Peer) -> None:
    """It is in the document in the form that -k takes, and a table shows it where it is named."""
    ended = await command("find", *peer.where, *PAGE, "--json")
    *_, last = json.loads(ended.out)["matches"]
    assert f"-k PriorRecordKey={last['RecordKey']} continues" in ended.err
    ended = await command("find", *peer.where, *PAGE, "-k", "RecordKey")
    assert last["RecordKey"] in ended.out


async def test_a_record_key_is_asked_for_in_a_repository_query_only(command: Command) -> None:
    for model, is_asked in (("repository", True), ("study", False)):
        asked: list[Dataset] = []
        async with finder(models.MODELS[model].find or "", asked) as where:
            await command("find", *where, "--model", model)
            await command("find", *where, "--model", model, "-k", "PatientID")
        assert ["RecordKey" in each for each in asked] == [is_asked] * 2


async def test_a_record_key_of_another_archive(command: Command, peer: Peer) -> None:
    ended = await command("find", *peer.where, *PAGE, "-k", f"PriorRecordKey={'00' * 32}")
    ended.failed(1, "0xA710")
    assert (ended.out, " continues" in ended.err) == ("", False)


@pytest.mark.parametrize("key", ["Doe^Jane; reboot", b"\1" * 129, b""])
async def test_a_record_key_that_is_none_is_not_proposed(command: Command, key: str | bytes) -> None:
    """A peer may send anything, and the line is to be copied."""
    match = aiodimse.identifier("STUDY", PatientID="1")
    match.add_new("RecordKey", "LO" if isinstance(key, str) else "OB", key)
    server = aiodimse.Server(ae_title="FINDER")

    @server.on_c_find(sop_class.RepositoryQuery)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        yield match
        yield 0xB001

    async with server.listen(HOST, 0) as listening:
        ended = await command("find", HOST, listening.port, "--called", "FINDER", "--model", "repository")
    assert (ended.code, "0xB001" in ended.err, " continues" in ended.err) == (1, True, False)
    assert ended.out.splitlines()[-1] == "1 match"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("PriorRecordKey=xyz", "PriorRecordKey: not hexadecimal: 'xyz'"),
        ("0008,041C=abc", "not hexadecimal: 'abc'"),
        ("PixelData=00", "PixelData: an attribute of VR OB takes no value here"),
    ],
)
async def test_a_value_in_hexadecimal(command: Command, key: str, said: str) -> None:
    (await command("find", HOST, "104", "--model", "repository", "-k", key)).failed(2, said)
