"""The options of serve, each asked over the network."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cli.conftest import HOST
from cli.test_cli_processes import aiodimse_command, folder, serving, start  # noqa: F401
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class
from aiodimse.cli import process_settings, serve
from aiodimse.cli.main import parser
from aiodimse.cli.output import Output

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind


@pytest.mark.parametrize(
    ("options", "calling", "called", "accepted"),
    [
        ((), "ANYBODY", "AIODIMSE", True),
        ((), "ANYBODY", "OTHER", False),
        (("--any-called",), "ANYBODY", "OTHER", True),
        (("--called", "SECOND", "--called", "OTHER"), "ANYBODY", "OTHER", True),
        (("--called", "SECOND"), "ANYBODY", "AIODIMSE", True),
        (("--called", "SECOND"), "ANYBODY", "OTHER", False),
        (("--calling", "CT1", "--calling", "MR1"), "MR1", "AIODIMSE", True),
        (("--calling", "CT1"), "ANYBODY", "AIODIMSE", False),
    ],
)
async def test_titles(folder: Path, options: tuple[str, ...], calling: str, called: str, accepted: bool) -> None:  # noqa: F811
    async with serving(folder, *options) as (_, port):
        connecting = aiodimse.connect(
            HOST, port, ae_title=calling, called_ae_title=called, contexts=[sop_class.Verification]
        )
        if accepted:
            async with connecting as association:
                assert (await association.c_echo()).status == 0x0000
        else:
            with pytest.raises(aiodimse.AssociationRejected):
                await connecting


async def stored_in(port: int) -> int:
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", ""
    async with aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=[FIND]) as association:
        return len(await association.c_find(identifier, FIND).collect())


@pytest.mark.parametrize("index", [None, "memory:", "sqlite"])
async def test_a_restart_serves_what_was_there(folder: Path, tmp_path: Path, index: str | None) -> None:  # noqa: F811
    name = f"sqlite:///{tmp_path}/elsewhere.db" if index == "sqlite" else index
    options = () if name is None else ("--index", name)
    for _ in range(2):
        async with serving(folder, *options) as (_, port):
            assert await stored_in(port) == 2
    assert (folder / ".aiodimse-index.db").exists() == (index is None)


async def test_a_damaged_index_is_made_anew(folder: Path) -> None:  # noqa: F811
    async with serving(folder):
        pass
    for companion in folder.glob(".aiodimse-index.db-*"):  # with which SQLite would mend it
        companion.unlink()
    (folder / ".aiodimse-index.db").write_bytes(b"no database" * 1000)
    async with serving(folder) as (process, port):
        assert await stored_in(port) == 2
        process.terminate()
        _, said = await process.communicate()
        assert b"the index is damaged" in said
    assert (folder / ".aiodimse-index.db.unusable-1").read_bytes().startswith(b"no database")


@pytest.mark.parametrize(("options", "refused"), [((), False), (("--strict",), True)])
async def test_strict(folder: Path, options: tuple[str, ...], refused: bool) -> None:  # noqa: F811
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.SeriesInstanceUID = "SERIES", ""
    async with (
        serving(folder, *options) as (_, port),
        aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=[FIND]) as association,
    ):
        if refused:
            with pytest.raises(aiodimse.DIMSEFailure, match="A900"):
                await association.c_find(identifier, FIND).collect()
        else:
            assert len(await association.c_find(identifier, FIND).collect()) == 2


def test_threads_have_short_turns_only_while_it_serves() -> None:
    before = sys.getswitchinterval()
    with process_settings.short_turns():
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


SAYS_ITS_TURNS = """
import os, sys
from aiodimse.cli import serve
from aiodimse.cli.main import main

def ready(*_):
    print(sys.getswitchinterval(), flush=True)
    os._exit(0)

serve._ready = ready
main(["serve", sys.argv[1], "--port", "0"])
"""


def test_they_have_them_when_it_is_ready(folder: Path) -> None:  # noqa: F811
    said = subprocess.run(
        [sys.executable, "-c", SAYS_ITS_TURNS, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert said.stdout.split()[-1:] == ["0.001"], said.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "AIODIMSE serves F on 127.0.0.1:104 (Ctrl-C ends it)"),
        (("--tls-cert", "pem", "--ae-title", "A"), "A serves F on 127.0.0.1:104 with TLS (Ctrl-C ends it)"),
        (("--host", "::1"), "AIODIMSE serves F on [::1]:104 (Ctrl-C ends it)"),
    ],
    ids=str,
)
def test_what_is_served_where_is_said(words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    serve._ready(parser().parse_args(["serve", "F", *words]), Output(), 104, None)
    assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize("is_open", [True, False])
async def test_the_associations_that_the_end_waits_for_are_said(folder: Path, is_open: bool) -> None:  # noqa: F811
    process = await start(*aiodimse_command("serve", folder, "--port", "0"))
    assert process.stdout is not None
    while (ready := re.search(rb" serves .*:(\d+) ", await process.stdout.readline())) is None:
        pass
    async with AsyncExitStack() as stack:
        if is_open:
            connecting = aiodimse.connect(HOST, int(ready[1]), called_ae_title="AIODIMSE", contexts=[FIND])
            await stack.enter_async_context(connecting)
        process.terminate()
        said = await process.stdout.readline()
        assert said.startswith(b"ending; associations that may finish what they do: 1" if is_open else b"ended; ")
    await process.communicate()
    assert process.returncode == 0
