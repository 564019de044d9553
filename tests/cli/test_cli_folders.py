"""Two serve processes over one folder: refused, unless both have workers, which share the locks of UIDs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest
from cli.conftest import MR
from cli.test_cli_processes import aiodimse_command, folder, serving, start  # noqa: F401
from slowness import without_slowness

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no record locks")


async def refusal(*words: object) -> tuple[int | None, str]:
    process = await start(*aiodimse_command("serve", *words, "--port", "0"))
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


async def test_the_folder_of_a_called_title_is_served_by_one(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(MR, other)
    async with serving(folder, "--called", f"OTHER={other}"):
        code, said = await refusal(other)
    assert (code, said) == (1, f"aiodimse serve: another aiodimse serve has this folder open: {other}\n")


async def test_a_folder_that_is_not_there_is_said_before_anything_is_read(folder: Path) -> None:  # noqa: F811
    gone = folder / "gone"
    log = gone / "audit.log"
    code, said = await refusal(folder, "--audit", log)
    assert (code, said) == (2, f"aiodimse serve: --audit: {log}: no such file or directory\n")
    for words in ((folder, "--called", f"OTHER={gone}"), (gone,), (gone, "--workers", "2")):
        assert await refusal(*words) == (2, f"aiodimse serve: not a folder: {gone}\n")
    assert not list(folder.glob(".aiodimse*"))
