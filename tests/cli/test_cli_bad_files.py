"""One file that is bad, or one object that is another, costs only itself; and it is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from cli.conftest import CT, HOST, MR, TEST_FILES, Command
from ports import free_port
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class

IMPLICIT = "1.2.840.10008.1.2"
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove


@asynccontextmanager
async def taking(abort_at: set[str] = frozenset(), **options: Any) -> AsyncIterator[tuple[int, list[str]]]:
    """A provider that aborts where it is sent one of these; its port, and what it has taken."""
    server, taken = aiodimse.Server(ae_title="ARCHIVE"), list[str]()

    @server.on_c_store(*options.pop("classes", ()), **options)
    async def store(request: Any) -> int:
        if request.sop_instance_uid in abort_at:
            request.association.abort()
            return 0x0000
        await request.discard()
        taken.append(request.sop_instance_uid)
        return 0x0000

    async with server.listen(HOST, 0) as listening:
        yield listening.port, taken


def copies(folder: Path, number: int) -> list[Path]:
    """Copies of a CT with UIDs of their own, in the order of their names."""
    dataset = pydicom.dcmread(CT)
    paths = []
    for n in range(number):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{n}"
        paths.append(folder / f"{n}.dcm")
        dataset.save_as(paths[-1])
    return paths


@pytest.mark.parametrize("at", [0, 2])
async def test_a_file_at_which_the_association_is_lost(command: Command, tmp_path: Path, at: int) -> None:
    copies(tmp_path, 5)
    async with taking({f"1.2.3.{at}"}) as (port, taken):
        ended = await command("store", HOST, port, "--called", "ARCHIVE", tmp_path, "--json")
    document = json.loads(ended.out)
    assert (ended.code, document["stored"], document["not_sent"]) == (1, 4, 0)
    assert [Path(each["path"]).name for each in document["failed"]] == [f"{at}.dcm"]
    assert sorted(taken) == [f"1.2.3.{n}" for n in range(5) if n != at]


async def test_a_second_loss_ends_it(command: Command, tmp_path: Path) -> None:
    copies(tmp_path, 5)
    async with taking({"1.2.3.1", "1.2.3.3"}) as (port, taken):
        ended = await command("store", HOST, port, "--called", "ARCHIVE", tmp_path)
    assert ended.code == 1
    assert sorted(taken) == ["1.2.3.0", "1.2.3.2"]
    assert "2 stored, 1 failed, 2 not sent" in ended.out
    assert "1.dcm" in ended.err


async def test_a_file_whose_data_set_is_not_in_its_transfer_syntax(command: Command, tmp_path: Path) -> None:
    """The example: programs built on DCMTK hang at it, and nothing behind it was sent."""
    bad = shutil.copy(TEST_FILES / "SC_rgb_jpeg.dcm", tmp_path / "a.dcm")
    shutil.copy(CT, tmp_path / "b.dcm")
    async with taking() as (port, taken):
        ended = await command("store", HOST, port, "--called", "ARCHIVE", tmp_path)
    assert ended.code == 0, ended
    assert len(taken) == 1
    assert f"skipped {bad}: its data set is not encoded as its transfer syntax says" in ended.err


async def test_a_file_that_has_to_be_re_encoded_and_does_not_decode(command: Command, tmp_path: Path) -> None:
    cut_off = CT.read_bytes()[:-1000]
    (tmp_path / "a.dcm").write_bytes(cut_off)
    shutil.copy(MR, tmp_path / "b.dcm")
    async with taking(classes=[sop_class.CTImageStorage, sop_class.MRImageStorage], transfer_syntaxes=[IMPLICIT]) as (
        port,
        taken,
    ):
        ended = await command("store", HOST, port, "--called", "ARCHIVE", tmp_path)
    assert ended.code == 1
    assert taken == [str(pydicom.dcmread(MR).SOPInstanceUID)]
    assert f"failed {tmp_path / 'a.dcm'}: length of (7FE0,0010) goes past" in ended.err


async def test_a_file_without_preamble(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "bare"
    path.write_bytes((TEST_FILES / "rtstruct.dcm").read_bytes())
    (tmp_path / "letter").write_text("Dear colleague,", encoding="ascii")
    async with taking() as (port, taken):
        ended = await command("store", HOST, port, "--called", "ARCHIVE", tmp_path)
    assert ended.code == 0, ended
    assert taken == [str(pydicom.dcmread(path, force=True).SOPInstanceUID)]
    assert "1 stored, 1 skipped" in ended.out


async def test_two_objects_that_would_take_one_name(command: Command, tmp_path: Path) -> None:
    """Three arrive; what is said to be saved is on the disk, and what is not is named."""
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_get(GET)
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 3
        for uid, patient in (("1.2.1", "A"), ("1.2.1", "B"), ("1.2.2", "B")):
            dataset = pydicom.dcmread(CT)
            dataset.SOPInstanceUID, dataset.PatientID = uid, patient
            yield dataset

    async with server.listen(HOST, 0) as listening:
        words = ("get", HOST, listening.port, "--called", "ARCHIVE", "-k", "StudyInstanceUID=1.2", "--output", tmp_path)
        ended = await command(*words, "--json")
    document = json.loads(ended.out)
    assert ended.code == 1
    assert sorted(document["files"]) == [str(tmp_path / "1.2.1.dcm"), str(tmp_path / "1.2.2.dcm")]
    assert document["refused"] == ["1.2.1"]
    assert pydicom.dcmread(tmp_path / "1.2.1.dcm").PatientID == "A"
    assert "not saved 1.2.1: another instance is stored under this SOP Instance UID" in ended.err


@pytest.mark.parametrize("command_words", [("get",), ("get", "--via-move"), ("move", "--receive")], ids=" ".join)
async def test_an_object_that_cannot_be_saved_as_it_is(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_words: tuple[str, ...]
) -> None:
    """As one that begins with an element of group 0002, which no data set has."""
    save = aiodimse.ArrivingInstance.save

    async def saved(instance: aiodimse.ArrivingInstance, *args: Any, **options: Any) -> Path:
        if instance.sop_instance_uid == "1.2.1":
            raise aiodimse.DatasetDecodeError("(0002,0010) in a data set")
        return await save(instance, *args, **options)

    monkeypatch.setattr(aiodimse.ArrivingInstance, "save", saved)
    port = free_port()
    server = aiodimse.Server(ae_title="ARCHIVE")

    async def objects(request: Any) -> AsyncIterator[Any]:
        if isinstance(request, aiodimse.MoveRequest):
            yield aiodimse.Destination(HOST, port)
        yield 2
        for uid in ("1.2.1", "1.2.2"):
            dataset = pydicom.dcmread(CT)
            dataset.SOPInstanceUID = uid
            yield dataset

    server.on_c_get(GET)(objects)
    server.on_c_move(MOVE)(objects)
    name, *option = command_words
    words: list[Any] = [name, HOST, None, "--called", "ARCHIVE", "-k", "StudyInstanceUID=1.2"]
    words += [*option, port, "--output", tmp_path] if name == "get" and option else []
    words += ["--output", tmp_path] if command_words == ("get",) else []
    words += [*option, tmp_path, "--listen", port] if name == "move" else []
    async with server.listen(HOST, 0) as listening:
        words[2] = listening.port
        ended = await command(*words, "--json")
    document = json.loads(ended.out)
    assert ended.code == 1
    assert document["files"] == [str(tmp_path / "1.2.2.dcm")]
    assert document["refused"] == ["1.2.1"]
    assert "not saved 1.2.1: (0002,0010) in a data set" in ended.err


@pytest.mark.parametrize("status", [0xFF00, 0xFF01])
async def test_a_peer_that_ignores_a_key(command: Command, status: int) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_find(FIND)
    async def find(request: Any) -> AsyncIterator[Any]:
        match = Dataset()
        match.PatientName = "A^B"
        yield status, match
        yield 0xFF00, match

    async with server.listen(HOST, 0) as listening:
        words = ("find", HOST, listening.port, "--called", "ARCHIVE", "-k", "PatientName")
        ended = await command(*words)
        document = json.loads((await command(*words, "--json")).out)
    assert ended.code == 0
    assert ("does not support some of the keys" in ended.err) == (status == 0xFF01)
    assert document["keys_not_supported"] == (status == 0xFF01)
    assert len(document["matches"]) == 2
