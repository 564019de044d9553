"""serve --keep-days, --max-bytes and --min-free: what is kept, and what is refused before the disk is full."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from cli.conftest import CT, HOST, MR
from cli.test_cli_processes import aiodimse_command, folder, serving, start  # noqa: F401
from cli.test_cli_reloading import OPEN, configured, status_of
from pydicom import dcmread

import aiodimse
from aiodimse import sop_class

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind


async def studies(port: int) -> set[str]:
    identifier = aiodimse.identifier("STUDY", StudyInstanceUID=None)
    async with aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=[FIND]) as association:
        return {match.StudyInstanceUID for match in await association.c_find(identifier, FIND).collect()}


@pytest.mark.parametrize(
    "words", [("--keep-days", "5"), ("--max-bytes", "20K"), ("--keep-days", "5", "--workers", "2")], ids=str
)
async def test_the_oldest_study_is_removed(folder: Path, words: tuple[str, ...]) -> None:  # noqa: F811
    """That of the CT, of 39 KB and ten days; that of the MR has 10 KB. At the next start the index knows both."""
    ten_days_ago = time.time() - 10 * 24 * 3600
    os.utime(folder / Path(CT).name, (ten_days_ago, ten_days_ago))
    async with serving(folder) as (process, port):
        assert len(await studies(port)) == 2
        process.terminate()
        await process.wait()
    async with serving(folder, *words) as (process, port):
        assert process.stderr is not None
        async with asyncio.timeout(30):
            async for line in process.stderr:
                if b"studies removed: 1, with 1 objects, 39206 bytes" in line:
                    break
        assert await studies(port) == {dcmread(MR).StudyInstanceUID}
    assert not (folder / Path(CT).name).exists()
    assert (folder / Path(MR).name).exists()


@pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["one", "workers"])
async def test_no_room(folder: Path, words: tuple[str, ...]) -> None:  # noqa: F811
    """SIGHUP changes what is enough. Of two associations at once, each worker has one."""
    async with (
        configured(folder, f'min-free = "1000T"\n{OPEN}', *words) as service,
        service.connect() as first,
        service.connect() as second,
    ):
        for association in (first, second):
            assert await status_of("store", association) == 0xA700
            assert await status_of("find", association) == 0x0000
        assert await service.reload(f'min-free = "1K"\n{OPEN}')
        async with asyncio.timeout(30):
            for association in (first, second):
                while await status_of("store", association) != 0x0000:  # the system is asked once a second
                    pass
