"""What each command prints and how it ends, against a provider in the same process."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import ports
import pytest
from cli.conftest import CT, HOST, JPEG_2000, MR, NO_DEBUG, TEST_FILES, Ended, Peer
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class

Command = Callable[..., Awaitable[Ended]]
STEP = "ScheduledProcedureStepSequence"
CT_STUDY, MR_STUDY = (dcmread(path, stop_before_pixels=True).StudyInstanceUID for path in (CT, MR))


# --- echo -------------------------------------------------------------------------------------------------------------


async def test_echo(command: Command, peer: Peer) -> None:
    ended = await command("echo", *peer.where)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"ARCHIVE at {HOST}:{peer.port} (AIODIMSE_")
    assert "0x0000" in ended.out


async def test_echo_for_programs(command: Command, peer: Peer) -> None:
    found = json.loads((await command("echo", *peer.where, "--json")).out)
    assert found["status"] == {"code": 0, "category": "SUCCESS", "meaning": aiodimse.Status(0).meaning}
    assert found["milliseconds"] > 0


async def test_a_status_other_than_success_is_exit_1(command: Command) -> None:
    server = aiodimse.Server()

    @server.on_c_echo
    async def echo(request: Any) -> int:
        raise aiodimse.DIMSEFailure(0x0110, "not today")

    async with server.listen(HOST, 0) as listening:
        (await command("echo", HOST, listening.port, "--called", "AIODIMSE")).failed(1, "0x0110", "not today")


# --- no association ---------------------------------------------------------------------------------------------------


async def test_nobody_listens(command: Command, dead_port: int) -> None:
    for words in (("echo",), ("find",), ("explain",), ("get", "-k", "StudyInstanceUID=1.2")):
        name, *rest = words
        (await command(name, HOST, dead_port, *rest)).failed(1, f"aiodimse {name}: {HOST}:{dead_port}", "refused")


async def test_a_name_that_does_not_resolve(command: Command) -> None:
    (await command("echo", "nobody.invalid", 104)).failed(1, "nobody.invalid:104", "does not resolve")


async def test_a_rejection_says_why_and_what_to_try(command: Command, peer: Peer) -> None:
    (await command("echo", HOST, peer.port)).failed(
        1, "1/1/7", "called AE title not recognized", "called 'ANY-SCP'", "--called sets the peer's title"
    )


async def test_a_peer_that_takes_the_connection_and_says_nothing(command: Command, mute: int) -> None:
    (await command("echo", HOST, mute, "--timeout", "0.1")).failed(1, "within 0.1 s")


async def test_a_peer_that_speaks_something_else(command: Command) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(web, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        (await command("echo", HOST, port)).failed(1, f"{HOST}:{port} does not speak DICOM")


async def test_no_accepted_context_names_it_by_keyword(command: Command) -> None:
    async with aiodimse.Server().listen(HOST, 0) as listening:
        ended = await command("find", HOST, listening.port, "--called", "AIODIMSE")
        ended.failed(1, "StudyRootQueryRetrieveInformationModelFind abstract syntax not supported")


# --- wrong arguments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "COMMAND"),
        (("ecko",), "no command 'ecko'; did you mean echo"),
        (("--trace", "file", "echo", HOST, "104"), "aiodimse: --trace comes after the command"),
        (("-v", "echo", HOST, "104"), "aiodimse: -v comes after the command"),
        (("--metrics=9000", "serve", "."), "aiodimse: --metrics comes after the command"),
        (("echo", HOST), "PORT"),
        (("echo", HOST, "0"), "not a port (1 to 65535): '0'"),
        (("echo", HOST, "99999"), "not a port"),
        (("echo", HOST, "ae"), "not a port"),
        (("echo", HOST, "104", "--ae-title", "A" * 17), "not an AE title"),
        (("echo", HOST, "104", "--timeout", "soon"), "not a positive number of seconds"),
        (("echo", HOST, "104", "--timeout", "-1"), "--timeout"),
        (("find", HOST, "104", "-k", "PatientNam=x"), "no attribute 'PatientNam'; did you mean PatientName"),
        (("find", HOST, "104", "-k", "PatientID.Modality=x"), "PatientID is not a sequence"),
        (("find", HOST, "104", "-k", "PixelData=x"), "takes no value"),
        (("find", HOST, "104", "-k", "Rows=many"), "not a number"),
        (("find", HOST, "104", "-k", "Rows=70000"), "Rows: not a number of VR US: '70000'"),
        (("find", HOST, "104", "-k", "Rows=-1"), "Rows: not a number of VR US: '-1'"),
        (("find", HOST, "104", "-k", "PixelIntensityRelationshipSign=40000"), "not a number of VR SS"),
        (("find", HOST, "104", "-k", f"PatientID={'1' * 500}"), f"VR LO: '{'1' * 64}'... (500 characters)"),
        (("find", HOST, "104", "--level", "SERIE"), "did you mean SERIES"),
        (("find", HOST, "104", "--level", "PATIENT"), "--model patient"),
        (("find", HOST, "104", "--model", "worklst"), "'worklst'; did you mean worklist?"),
        (("check", ".", "--trace", "x"), "no option --trace"),
        (("check", ".", "--timeout", "5"), "no option --timeout"),
        (("conformance", "--trace", "x"), "no option --trace"),
        (("get", HOST, "104", "--model", "worklist"), "--model"),
        (("find", HOST, "104", "--model", "composite-instance"), "--model"),
        (("find", HOST, "104", "--model", "worklist", "--level", "STUDY"), "the model worklist has no levels"),
        (("find", HOST, "104", "--model", "patient-study", "--level", "IMAGE"), "no IMAGE level, but PATIENT, STUDY"),
        (("find", HOST, "104", "--limit", "0"), "not a whole number"),
        (
            ("find", HOST, "104", "--model", "worklist", "-k", "Modality=CT", "-k", f"{STEP}.Modality=MR"),
            f"{STEP}.Modality is given twice",
        ),
        (("move", HOST, "104", "-k", "StudyInstanceUID=1.2"), "--destination AE"),
        (("move", HOST, "104", "-k", "StudyInstanceUID=1.2", "--receive", "in"), "--listen"),
        (("move", HOST, "104", "-k", "StudyInstanceUID=1.2", "--destination", "A", "--listen", "104"), "--receive"),
        (
            ("get", HOST, "104", "--model", "without-bulk-data", "--via-move", "104", "-k", "SOPInstanceUID=1.2"),
            "the model without-bulk-data has no C-MOVE",
        ),
        (("find", HOST, "104", "-k", "=x"), "no attribute ''"),
        (("find", HOST, "104", "-k", "0011,zz"), "no attribute '0011,zz'"),
        (("find", HOST, "104", "-k", "0008,ff00"), "no attribute '0008,ff00'"),
        (("find", HOST, "104", "-k", "CommandField=1"), "CommandField: an Identifier has no command elements"),
        (("find", HOST, "104", "-k", "0002,0010"), "no file meta information"),
        (("find", HOST, "104", "-k", "QueryRetrieveLevel=STUDY"), "use --level"),
        (
            ("find", HOST, "104", "-k", "StudyDate=yesterday"),
            "StudyDate: not a value of VR DA (20240131, 20240101-20240131): 'yesterday'",
        ),
        (
            ("find", HOST, "104", "-k", "StudyTime=3 pm"),
            "StudyTime: not a value of VR TM (1530, 080000-120000): '3 pm'",
        ),
        (("find", HOST, "104", "-k", "StudyInstanceUID=1.2.x"), "not a value of VR UI"),
        (("find", HOST, "104", "-k", "PatientID=1", "-k", "0010,0020=2"), "-k/--key: PatientID is given twice"),
        (("find", "host:104"), "HOST and PORT are two arguments: host 104"),
        (("find", "[::1]:104"), "HOST and PORT are two arguments: [::1] 104"),
        (("find", HOST, "104", "--callled", "X"), "aiodimse find: no option --callled; did you mean --called?"),
        (("find", HOST, "104", "PACS"), "aiodimse find: one argument too many: 'PACS'"),
        (("echo", HOST, "104", "--trace-data"), "--trace-data has no effect without --trace"),
        (("store", HOST, "104", str(Path(__file__).parent), "--tls-ca", "x"), "--tls-ca has no effect without --tls"),
        (("echo", HOST, "104", "--trace", ""), "the name is empty"),
        (("echo", HOST, "104", "--trace", "-"), "--trace: a dash is no file; /dev/stderr is standard error"),
        (("serve", ".", "--audit", "-"), "--audit: a dash is no file"),
        (
            ("get", HOST, "104", *("-k", "StudyInstanceUID=1"), "--output", ""),
            "the name is empty; use . for this folder",
        ),
        (("serve", ""), "the name is empty"),
        (("serve", ".", "--destination", "A=h:1", "--destination", "A=h:2"), "--destination: A is given twice"),
        (("get", HOST, "104", "--level", "SERIES"), "-k SeriesInstanceUID=..."),
        (("get", HOST, "104", "--transfer-syntax", "JPEG2000Losles"), "did you mean JPEG2000Lossless"),
        (("move", HOST, "104", "-k", "StudyInstanceUID=1"), "--destination"),
        (("store", HOST, "104"), "PATH"),
        (("store", HOST, "104", "/no/such/file", "/nor/this"), "no such file or folder: /no/such/file, /nor/this"),
        (("serve", "/no/such/folder", "--port", "0"), "not a folder: /no/such/folder"),
        (("serve", ".", "--destination", "VIEWER=host"), "not NAME=HOST:PORT"),
        (("serve", ".", "--destination", "VIEWER=host:x"), "not a port"),
        (("explain", HOST, "104", "--context", "CTImageStorag"), "did you mean CTImageStorage"),
        (("echo", HOST, "104", "--trace", "/no/such/folder/x.dul"), "--trace: /no/such/folder/x.dul: no such file"),
    ],
    ids=lambda each: " ".join(each)[:60] if isinstance(each, tuple) else "",
)
async def test_wrong_arguments_are_one_line_and_exit_2(command: Command, words: tuple[str, ...], said: str) -> None:
    (await command(*words)).failed(2, said)


async def test_the_completion_says_what_it_needs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra it was an unknown command 'bash'."""
    monkeypatch.setattr("aiodimse.cli.main.find_spec", lambda _: None)
    said = 'aiodimse: argument --print-completion: needs shtab: pip install "aiodimse[cli]"'
    (await command("--print-completion", "bash")).failed(2, said)


# --- find -------------------------------------------------------------------------------------------------------------


async def test_find_prints_a_table(command: Command, peer: Peer) -> None:
    ended = await command("find", *peer.where, "-k", "PatientName=*ct1", "-k", "PatientID", "-k", "StudyDate")
    assert ended.code == 0, ended
    header, rule, row, count = ended.out.splitlines()
    assert header.split() == ["PatientName", "PatientID", "StudyDate"]
    assert set(rule) == {"-", " "}
    assert row.split() == ["CompressedSamples^CT1", "1CT1", "20040119"]
    assert count == "1 match"


async def test_find_asks_for_what_people_want_to_see(command: Command, peer: Peer) -> None:
    ended = await command("find", *peer.where, "-k", "PatientID=4MR1")
    assert ended.out.split()[0] == "PatientID"
    assert {"PatientName", "ModalitiesInStudy", "StudyInstanceUID", MR_STUDY} <= set(ended.out.split())
    found = (await command("find", *peer.where, "--model", "patient", "--level", "patient")).out
    assert {"1CT1", "4MR1", "8NM1"} <= set(found.split())


async def test_find_below_the_study(command: Command, peer: Peer) -> None:
    ended = await command("find", *peer.where, "--level", "SERIES", "-k", f"StudyInstanceUID={MR_STUDY}")
    assert "StudyInstanceUID" not in ended.out.splitlines()[0].split()  # it is the same in every row
    assert ended.out.splitlines()[-1] == "1 match"


async def test_find_for_programs(command: Command, peer: Peer) -> None:
    ended = await command("find", *peer.where, "--json", "-k", "StudyDate=20040101-20041231", "-k", "ModalitiesInStudy")
    found = json.loads(ended.out)
    assert found["status"]["code"] == 0
    assert {match["ModalitiesInStudy"] for match in found["matches"]} == {"CT", "MR", "NM"}
    none = json.loads((await command("find", *peer.where, "--json", "-k", "PatientID=nobody")).out)
    assert none["matches"] == []


async def test_a_failure_comes_with_the_comment_and_the_element(command: Command) -> None:
    server = aiodimse.Server()

    @server.on_c_find(sop_class.StudyRootQueryRetrieveInformationModelFind)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Dataset]:
        status = Dataset()
        status.Status, status.ErrorComment, status.OffendingElement = (
            0xA900,
            "is needed at the SERIES level",
            0x0020000D,
        )
        yield status

    async with server.listen(HOST, 0) as listening:
        ended = await command("find", HOST, listening.port, "--called", "AIODIMSE", "--level", "SERIES")
    ended.failed(1, "0xA900", "offending element StudyInstanceUID", "is needed at the SERIES level")


async def test_find_shows_what_came_before_a_failure(command: Command) -> None:
    server = aiodimse.Server()

    @server.on_c_find(sop_class.StudyRootQueryRetrieveInformationModelFind)
    async def find(request: Any) -> Any:
        match = request.identifier
        match.PatientID = "first"
        yield match
        raise aiodimse.DIMSEFailure(0xA700)

    async with server.listen(HOST, 0) as listening:
        ended = await command("find", HOST, listening.port, "--called", "AIODIMSE")
    assert ended.code == 1
    assert "first" in ended.out
    assert "0xA700" in ended.err


async def test_what_a_peer_sends_cannot_rewrite_the_screen(command: Command) -> None:
    server = aiodimse.Server()

    @server.on_c_find(sop_class.StudyRootQueryRetrieveInformationModelFind)
    async def find(request: Any) -> Any:
        match = request.identifier
        match.StudyDescription = "\x1b[2J[bold]hello"
        yield match

    async with server.listen(HOST, 0) as listening:
        ended = await command("find", HOST, listening.port, "--called", "AIODIMSE", "-k", "StudyDescription")
    assert "\x1b" not in ended.out
    assert "[2J[bold]hello" in ended.out


# --- get and move -----------------------------------------------------------------------------------------------------


async def test_get_saves_the_files(command: Command, peer: Peer, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    ended = await command("get", *peer.where, "-k", f"StudyInstanceUID={CT_STUDY}", "--output", out)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [f"1 file in {out}", "1 completed, 0 failed, 0 with a warning"]
    (path,) = out.iterdir()
    assert dcmread(path) == dcmread(CT)


async def test_get_via_move(command: Command, tmp_path: Path) -> None:
    """From a provider that has no C-GET, to a port of ours that it knows under our AE title."""
    port = ports.free_port()
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_move(sop_class.StudyRootQueryRetrieveInformationModelMove)
    async def move(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
        assert request.move_destination == "ME"
        yield HOST, port
        yield 2
        yield CT
        yield MR

    async with server.listen(HOST, 0) as listening:
        words = ("get", HOST, listening.port, "--called", "ARCHIVE", "--ae-title", "ME", "-k", "StudyInstanceUID=1.2")
        ended = await command(*words, "--via-move", f"{HOST}:{port}", "--output", tmp_path / "out")
    assert ended.code == 0, ended
    assert "2 files in" in ended.out
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("stores", [True, False])
@pytest.mark.parametrize(
    ("model", "hint"), [("study", "; --via-move PORT fetches by C-MOVE"), ("without-bulk-data", "")]
)
async def test_a_peer_without_c_get(command: Command, tmp_path: Path, model: str, hint: str, stores: bool) -> None:
    """In one line, although 128 presentation contexts were proposed."""
    server = aiodimse.Server(ae_title="PEER")

    async def store(request: aiodimse.StoreRequest) -> int:
        return 0x0000

    if stores:  # it then accepts the storage classes, but not that it is their user
        server.on_c_store(store)
    async with server.listen(HOST, 0) as listening:
        where = (HOST, listening.port, "--called", "PEER", "--model", model)
        ended = await command("get", *where, "-k", "SOPInstanceUID=1.2", "--output", tmp_path)
    ended.failed(1, "aiodimse get: ", "Get abstract syntax not supported")
    assert (ended.err.endswith(f"{hint}\n"), len(ended.err) < 500) == (True, True), ended.err


async def test_get_via_move_on_a_port_that_is_taken(command: Command, peer: Peer, tmp_path: Path) -> None:
    words = ("get", *peer.where, "-k", "StudyInstanceUID=1.2", "--output", tmp_path / "out")
    ended = await command(*words, "--via-move", f"{HOST}:{peer.port}")
    ended.failed(1, f"--via-move: cannot listen on {HOST}:{peer.port}: address already in use")


@pytest.mark.parametrize("words", [("move", "--destination", "NOBODY"), ("get", "--via-move")], ids=" ".join)
async def test_a_destination_that_the_peer_does_not_know(
    command: Command, peer: Peer, tmp_path: Path, words: tuple[str, ...]
) -> None:
    more = (ports.free_port(), "--output", tmp_path / "out") if words[0] == "get" else ()
    ended = await command(words[0], *peer.where, "-k", "StudyInstanceUID=1.2", *words[1:], *more)
    assert ended.code == 1
    assert ended.err.endswith("; the peer needs the address of this AE title in its configuration\n"), ended.err


async def test_a_destination_at_which_nothing_listens(command: Command, peer: Peer) -> None:
    """A702 alone says that the archive is out of resources."""
    study = f"StudyInstanceUID={dcmread(CT).StudyInstanceUID}"
    ended = await command("move", *peer.where, "-k", study, "--destination", "AWAY")
    assert ended.code == 1
    assert "the peer says: the association with the move destination failed" in ended.err


async def test_a_full_disk_is_named(
    command: Command, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(instance: object, folder: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(aiodimse.ArrivingInstance, "save", full)
    words = ("get", *peer.where, "-k", f"StudyInstanceUID={dcmread(CT).StudyInstanceUID}")
    ended = await command(*words, "--output", tmp_path / "out")
    assert (ended.code, ended.err) == (1, f"aiodimse get: {tmp_path / 'out'}: no space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("conformance",), "aiodimse conformance: standard output: no space left on device"),
        (("conformance", "--json"), "aiodimse conformance: standard output: no space left on device"),
        (("check", "/no/such/folder", "--json"), "aiodimse check: not a folder: /no/such/folder"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_standard_output_on_a_full_disk(words: tuple[str, ...], said: str) -> None:
    """One line says so, also where an error should have been printed there."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "aiodimse", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env={**os.environ, **NO_DEBUG},
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (2 if "check" in words else 1, f"{said}\n")


async def test_get_removes_what_one_that_was_killed_left(command: Command, peer: Peer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    left = out / ".1.2.dcm.0123456789abcdef.part"
    left.touch()
    os.utime(left, (0, 0))
    await command("get", *peer.where, "-k", f"StudyInstanceUID={CT_STUDY}", "--output", out)
    assert [path.suffix for path in out.iterdir()] == [".dcm"]


async def test_get_of_what_is_compressed(command: Command, peer: Peer, tmp_path: Path) -> None:
    """Only uncompressed syntaxes are proposed, unless others are asked for; then the peer decompresses."""
    head = dcmread(JPEG_2000, stop_before_pixels=True)
    words = ("get", *peer.where, "-k", f"StudyInstanceUID={head.StudyInstanceUID}", "--output", tmp_path / "out")
    plain = json.loads((await command(*words, "--json")).out)
    assert dcmread(plain["files"][0]).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    Path(plain["files"][0]).unlink()
    ended = await command(*words, "--transfer-syntax", "JPEG2000", "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["progress"]) == (0, {"completed": 1, "failed": 0, "warning": 0})
    assert dcmread(found["files"][0]).file_meta.TransferSyntaxUID == head.file_meta.TransferSyntaxUID


async def test_get_into_what_is_no_folder(command: Command, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = await command("get", *peer.where, "-k", "StudyInstanceUID=1.2", "--output", tmp_path / "file")
    ended.failed(2, "--output: not a folder: ")


async def test_move(command: Command, peer: Peer) -> None:
    words = ("move", *peer.where, "-k", f"StudyInstanceUID={CT_STUDY}", "--destination")
    ended = await command(*words, "VIEWER")
    assert (ended.code, ended.out) == (0, "1 completed, 0 failed, 0 with a warning\n")
    assert peer.viewer == [dcmread(CT).SOPInstanceUID]
    unknown = await command(*words, "NOBODY")
    assert unknown.code == 1
    assert "0xA801" in unknown.err


# --- store ------------------------------------------------------------------------------------------------------------


async def test_store_files_and_folders(command: Command, peer: Peer, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    shutil.copy(TEST_FILES / "rtplan.dcm", folder)
    (folder / "notes.txt").write_text("no DICOM", encoding="ascii")
    ended = await command("store", *peer.where, tmp_path / "in", TEST_FILES / "test-SR.dcm")
    assert (ended.code, ended.out) == (0, "2 stored, 1 skipped\n")
    assert ended.err == f"skipped {folder / 'notes.txt'}: not a DICOM file (no DICM prefix)\n"
    assert len(list(peer.folder.iterdir())) == 5


async def test_store_for_programs_lists_what_was_stored(command: Command) -> None:
    """A warning has stored the object: its status is beside it."""
    server = aiodimse.Server()

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.discard()
        return 0x0000 if request.sop_class_uid == sop_class.CTImageStorage else 0xB007

    async with server.listen(HOST, 0) as listening:
        ended = await command("store", HOST, listening.port, "--called", "AIODIMSE", CT, MR, "--json")
    found = json.loads(ended.out)
    assert (found["stored"], [each["status"] for each in found["files"]]) == (2, [0x0000, 0xB007])
    for each, path in zip(found["files"], (CT, MR), strict=True):
        head = dcmread(path, stop_before_pixels=True)
        assert each["path"] == str(path)
        assert (each["sop_class_uid"], each["sop_instance_uid"]) == (head.SOPClassUID, head.SOPInstanceUID)


async def test_store_of_what_is_not_dicom(command: Command, peer: Peer, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no DICOM", encoding="ascii")
    (await command("store", *peer.where, notes)).failed(1, f"{notes}: not a DICOM file")
    ended = await command("store", *peer.where, notes, CT)  # named, and so missed
    assert (ended.code, ended.out) == (1, "1 stored, 1 skipped\n")


async def test_store_of_what_the_peer_does_not_take(command: Command) -> None:
    server = aiodimse.Server()

    @server.on_c_store(sop_class.CTImageStorage)
    async def store(request: Any) -> int:
        await request.discard()
        return 0xA700

    async with server.listen(HOST, 0) as listening:
        words = ("store", HOST, listening.port, "--called", "AIODIMSE", CT, MR)
        ended = await command(*words)
        assert (ended.code, ended.out) == (1, "0 stored, 2 failed\n")
        refused, no_context = ended.err.splitlines()
        assert refused.startswith(f"failed {CT}: 0xA700")
        assert no_context.startswith(f"failed {MR}: no accepted presentation context for MRImageStorage")
        found = json.loads((await command(*words, "--json")).out)
        assert [each["path"] for each in found["failed"]] == [str(CT), str(MR)]
        assert found["files"] == []


async def test_store_when_the_peer_goes_away(command: Command) -> None:
    server = aiodimse.Server()

    @server.on_c_store
    async def store(request: Any) -> int:
        if request.sop_class_uid == sop_class.MRImageStorage:
            request.association.abort()
        await request.discard()
        return 0x0000

    async with server.listen(HOST, 0) as listening:
        ended = await command("store", HOST, listening.port, "--called", "AIODIMSE", CT, MR, JPEG_2000)
    assert (ended.code, ended.out) == (1, "2 stored, 1 failed\n"), "the rest goes on another association"
    assert f"failed {MR}: association aborted by the peer" in ended.err


# --- explain ----------------------------------------------------------------------------------------------------------


async def test_explain(command: Command, peer: Peer) -> None:
    names = ("Verification", "StudyRootQueryRetrieveInformationModelFind", "ModalityWorklistInformationModelFind")
    ended = await command(
        "explain", *(word for name in names for word in ("--context", name)), *peer.where, "--window", "4"
    )
    assert ended.code == 0
    lines = {" ".join(line.split()) for line in ended.out.splitlines()}
    assert "1 SCU accepted: ExplicitVRLittleEndian Verification" in lines
    assert "5 refused: abstract syntax not supported ModalityWorklistInformationModelFind" in lines
    assert "maximum PDU length 262144 bytes" in lines
    assert "operations window 4 of ours, 4 of the peer's at a time" in lines
    assert any(line.startswith(f"extended negotiation of {names[1]}: relational, date time") for line in lines)
    assert ended.out.endswith("2 of 3 presentation contexts accepted\n")


async def test_explain_when_nothing_is_accepted(command: Command, peer: Peer) -> None:
    ended = await command("explain", *peer.where, "--context", "1.2.3.4.5", "--json")
    assert ended.code == 1
    found = json.loads(ended.out)
    assert (found["maximum_PDU_length"], found["invoked_window"], found["performed_window"]) == (262144, 1, 1)
    (row,) = found["contexts"]
    assert (row["abstract_syntax"], row["answer"]) == ("1.2.3.4.5", "refused: abstract syntax not supported")


async def test_explain_fills_an_association(command: Command, peer: Peer) -> None:
    for words, role in (((), "SCU"), (("--scp",), "SCP")):
        rows = json.loads((await command("explain", *peer.where, "--json", *words)).out)["contexts"]
        assert len(rows) == 128
        assert {row["roles"] for row in rows if row["abstract_syntax"] == "CTImageStorage"} == {role}


# --- manners ----------------------------------------------------------------------------------------------------------


async def test_verbose_without_patient_data(command: Command, peer: Peer) -> None:
    ended = await command("find", *peer.where, "-vv", "-k", "PatientName=CompressedSamples*")
    assert f"association with ARCHIVE at {HOST}:{peer.port}" in ended.err
    assert "CompressedSamples" not in ended.err
    assert "CompressedSamples" in ended.out


async def test_help_of_every_command(command: Command) -> None:
    for name in ("echo", "store", "find", "get", "move", "serve", "explain"):
        ended = await command(name, "--help")
        assert ended.code == 0
        for option in ("--json", "--trace", "--timeout", "--ae-title"):
            assert option in ended.out
