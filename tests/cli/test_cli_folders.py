"""Two serve processes over one folder: refused, unless both have workers, which share the locks of UIDs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli.conftest import HOST, MR
from cli.test_cli_processes import aiodimse_command, folder, serving, start  # noqa: F401
from slowness import without_slowness

import aiodimse
from aiodimse import sop_class
from aiodimse.archive.index.opening import FILE
from aiodimse.archive.index.sql import schema

MR_STORAGE = sop_class.MRImageStorage
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no record locks")


async def refusal(*words: object, **more: object) -> tuple[int | None, str]:
    process = await start(*aiodimse_command("serve", *words, "--port", "0"), **more)
    said, errors = await asyncio.wait_for(process.communicate(), 30)
    assert said == b""
    return process.returncode, without_slowness(errors)


@pytest.mark.parametrize("second", [(), ("--workers", "2"), ("--index", "memory:")], ids=str)
async def test_a_folder_is_served_by_one(folder: Path, second: tuple[str, ...]) -> None:  # noqa: F811
    said = f"aiodimse serve: another aiodimse serve has this folder open: {folder}\n"
    async with serving(folder):
        assert await refusal(folder, *second) == (1, said)
        before = sorted(folder.iterdir())
    async with serving(folder) as (process, _):  # the system has released what a killed process held
        assert sorted(folder.iterdir()) == before
        process.send_signal(signal.SIGKILL)


async def test_workers_and_one_process_exclude_each_other(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2"):
        assert (await refusal(folder))[0] == 1
        async with serving(folder, "--workers", "3") as (process, _):
            process.terminate()
            assert await process.wait() == 0


@pytest.fixture
def other_version(tmp_path: Path) -> dict[str, str]:
    """The environment of processes of the next version, which has one more step of migration."""
    patch = tmp_path / "next" / "sitecustomize.py"
    patch.parent.mkdir()
    patch.write_text(
        "from aiodimse.archive.index.sql import schema\n"
        "schema.MIGRATIONS = {**schema.MIGRATIONS, schema.VERSION: ['CREATE TABLE next (pk INTEGER)']}\n"
        "schema.VERSION += 1\n"
    )
    return {**os.environ, "PYTHONPATH": str(patch.parent)}


def version(folder: Path) -> int:  # noqa: F811
    with closing(sqlite3.connect(folder / FILE)) as connection:
        (found,) = connection.execute("SELECT value FROM aiodimse_meta WHERE name = 'version'").fetchone()
    return int(found)


async def test_workers_of_another_version_wait_for_the_end_of_those_that_run(
    folder: Path,  # noqa: F811
    other_version: dict[str, str],
) -> None:
    """Both kinds share the folder, and only those that are alone migrate its index."""
    workers, theirs = ("--workers", "2"), f"the index is of version {schema.VERSION}, and this program's is"
    ours = f"the index is of version {schema.VERSION + 1}, and this program's is {schema.VERSION}"
    async with serving(folder, *workers) as (process, port):
        code, said = await refusal(folder, *workers, env=other_version)
        assert code == 1
        assert f"{theirs} {schema.VERSION + 1}, and others use it: end them first" in said
        assert version(folder) == schema.VERSION
        async with aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=[MR_STORAGE]) as association:
            assert (await association.c_store(MR)).status == 0x0000
        process.terminate()
        assert await process.wait() == 0
    async with serving(folder, *workers, env=other_version):
        assert version(folder) == schema.VERSION + 1
        code, said = await refusal(folder, *workers)  # and back
        assert code == 1
        assert f"{ours}, and others use it: end them first" in said
        assert version(folder) == schema.VERSION + 1
    assert not list(folder.glob("*unusable*"))


async def test_the_folder_of_a_called_title_is_served_by_one(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(MR, other)
    async with serving(folder, "--called", f"OTHER={other}"):
        code, said = await refusal(other)
    assert (code, said) == (1, f"aiodimse serve: another aiodimse serve has this folder open: {other}\n")


async def test_a_folder_by_three_names_is_one_archive(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    """Each archive would have locks of its own, and one UID could be stored twice."""
    link, other = tmp_path / "link", folder / ".." / folder.name
    link.symlink_to(folder)
    words = ("--called", f"A={link}", "--called", f"B={other}", "--port", "0")
    process = await start(*aiodimse_command("serve", folder, *words))
    assert process.stdout is not None
    said = [(await process.stdout.readline()).decode() for _ in range(2)]
    assert said[0] == f"{folder}: 2 of 2 files indexed\n"
    port = int(said[1].split(f"{HOST}:")[1].split()[0])
    for title in ("AIODIMSE", "A", "B"):
        connecting = aiodimse.connect(HOST, port, called_ae_title=title, contexts=[MR_STORAGE])
        async with connecting as association:
            assert (await association.c_store(MR)).status == 0x0000
    process.terminate()
    rest, errors = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, rest.decode()) == (0, "ended; associations: 3; 3 C-STORE\n"), "it was read once"
    assert without_slowness(errors) == ""


async def test_a_folder_that_is_not_there_is_said_before_anything_is_read(folder: Path) -> None:  # noqa: F811
    gone = folder / "gone"
    log = gone / "audit.log"
    code, said = await refusal(folder, "--audit", log)
    assert (code, said) == (2, f"aiodimse serve: --audit: {log}: no such file or directory\n")
    for words in ((folder, "--called", f"OTHER={gone}"), (gone,), (gone, "--workers", "2")):
        assert await refusal(*words) == (2, f"aiodimse serve: not a folder: {gone}\n")
    assert not list(folder.glob(".aiodimse*"))
