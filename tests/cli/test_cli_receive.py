"""get --via-move and move --receive: instances that come to the command by C-MOVE."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ports
import pytest
from cli.conftest import CT, HOST, MR, Ended, Peer
from pydicom import dcmread

import aiodimse
from aiodimse import sop_class
from aiodimse.cli import options

Command = Callable[..., Awaitable[Ended]]
WANTED = ("-k", "StudyInstanceUID=1.2")


@asynccontextmanager
async def archive(title: str, port: int, *results: Any, counted: int = 2) -> AsyncIterator[tuple[Any, ...]]:
    """A provider without C-GET, which knows one AE title: this one, at this port."""
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_move(sop_class.StudyRootQueryRetrieveInformationModelMove)
    async def move(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
        if request.move_destination != title:
            raise aiodimse.DIMSEFailure(0xA801)
        yield HOST, port
        yield counted
        for result in results:
            yield result

    async with server.listen(HOST, 0) as listening:
        yield HOST, listening.port, "--called", "ARCHIVE"


@pytest.mark.parametrize(
    ("titles", "destination"),
    [(("--ae-title", "ME"), "ME"), (("--ae-title", "ME", "--destination", "INBOX"), "INBOX"), ((), "AIODIMSE")],
)
async def test_move_to_ourselves(command: Command, tmp_path: Path, titles: tuple[str, ...], destination: str) -> None:
    port, out = ports.free_port(), tmp_path / "new" / "folder"
    async with archive(destination, port, CT, MR) as where:
        words = ("move", *where, *titles, *WANTED, "--receive", out, "--listen", f"{HOST}:{port}", "--json")
        ended = await command(*words)
    found = json.loads(ended.out)
    assert (ended.code, found["destination"], found["refused"]) == (0, destination, [])
    assert found["progress"] == {"completed": 2, "failed": 0, "warning": 0}
    assert sorted(found["files"]) == sorted(map(str, out.iterdir()))
    assert {dcmread(path).SOPInstanceUID for path in found["files"]} == {
        dcmread(path).SOPInstanceUID for path in (CT, MR)
    }


async def test_move_to_ourselves_for_people(command: Command, tmp_path: Path) -> None:
    port = ports.free_port()
    async with archive("ME", port, CT, MR) as where:
        words = ("move", *where, "--ae-title", "ME", *WANTED, "--receive", tmp_path, "--listen", f"{HOST}:{port}")
        ended = await command(*words)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [f"2 files in {tmp_path}", "2 completed, 0 failed, 0 with a warning"]


async def test_a_peer_that_does_not_know_us(command: Command, tmp_path: Path) -> None:
    port = ports.free_port()
    async with archive("OTHER", port, CT) as where:
        words = ("move", *where, "--ae-title", "ME", *WANTED, "--receive", tmp_path, "--listen", f"{HOST}:{port}")
        ended = await command(*words)
    assert ended.code == 1
    assert "0xA801" in ended.err


@pytest.mark.parametrize(
    "words",
    [("move", "--receive", ".", "--listen"), ("get", "--output", ".", "--via-move")],
    ids=lambda words: words[0],
)
async def test_sub_operations_that_fail(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    port = ports.free_port()
    async with archive("ME", port, CT, tmp_path / "nothing") as where:
        name, *options = words
        ended = await command(name, *where, "--ae-title", "ME", *WANTED, *options, f"{HOST}:{port}")
    assert ended.code == 1
    assert ended.out.splitlines()[-2:] == ["1 file in .", "1 completed, 1 failed, 0 with a warning"]
    assert "0xB000" in ended.err


async def test_a_port_that_is_taken(command: Command, peer: Peer, tmp_path: Path) -> None:
    words = ("move", *peer.where, *WANTED, "--receive", tmp_path / "out", "--listen", f"{HOST}:{peer.port}")
    (await command(*words)).failed(1, "--listen", "in use")


async def test_a_folder_that_is_a_file(command: Command, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = await command("move", *peer.where, *WANTED, "--receive", tmp_path / "file", "--listen", "0")
    assert ended.code == 2
    ended = await command("move", *peer.where, *WANTED, "--receive", tmp_path / "file", "--listen", "11112")
    ended.failed(2, "--receive: not a folder: ")


async def test_what_went_elsewhere_is_told(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer has another address for our AE title, and so counts two objects that did not come to us."""
    monkeypatch.setattr(options, "timeouts", lambda _: aiodimse.Timeouts(move_settle=0.01))
    other = aiodimse.Server(ae_title="ME")

    @other.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.discard()
        return 0x0000

    async with other.listen(HOST, 0) as listening, archive("ME", listening.port, CT, MR) as where:
        words = (
            "move",
            *where,
            "--ae-title",
            "ME",
            *WANTED,
            "--receive",
            tmp_path,
            "--listen",
            f"{HOST}:{ports.free_port()}",
        )
        ended = await command(*words)
    assert ended.code == 1
    assert ended.out.splitlines() == [f"0 files in {tmp_path}", "2 completed, 0 failed, 0 with a warning"]
    assert "2 more went elsewhere" in ended.err
