"""What a killed process left of its saves is removed, and nothing that anybody saves or has saved."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from durable.material import STORAGE as CT

import aiodimse
from aiodimse.datasets import PartTenWriter

EXPLICIT = "1.2.840.10008.1.2.1"
LEFT = ".1.2.dcm.0123456789abcdef.part"
SAVES = f"""
import sys
from aiodimse.datasets import PartTenWriter
writer = PartTenWriter(sys.argv[1], "{CT}", "1.2", "{EXPLICIT}")
writer.write(b"\\x08" * 1000)
print("saving", flush=True)
sys.stdin.read()
"""


def writer(folder: Path, uid: str = "1.2") -> PartTenWriter:
    writer = PartTenWriter(folder, CT, uid, EXPLICIT)
    writer.write(b"\x08" * 1000)
    return writer


def leave(path: Path, age: float = 1e9) -> Path:
    path.write_bytes(bytes(1000))
    seen = path.stat().st_mtime - age
    os.utime(path, (seen, seen))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_what_another_process_saves_stays_until_it_is_killed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SAVES, str(tmp_path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"saving\n"
        (saving,) = tmp_path.iterdir()
        os.utime(saving, (0, 0))
        assert await aiodimse.remove_unfinished(tmp_path, older_than=0) == 0
        assert saving.exists()
    finally:
        process.kill()
        await process.wait()
    assert await aiodimse.remove_unfinished(tmp_path, older_than=0) == 1
    assert names(tmp_path) == []


async def test_what_this_process_saves_stays(tmp_path: Path) -> None:
    saving = writer(tmp_path)
    (path,) = tmp_path.iterdir()
    os.utime(path, (0, 0))
    assert await aiodimse.remove_unfinished(tmp_path, older_than=0) == 0
    assert saving.commit().exists()
    assert await aiodimse.remove_unfinished(tmp_path, older_than=0) == 0
    assert names(tmp_path) == ["1.2.dcm"]


@pytest.mark.parametrize(("age", "options", "removed"), [(601, {}, 1), (590, {}, 0), (61, {"older_than": 60}, 1)])
async def test_what_had_a_byte_a_short_while_ago_stays(
    tmp_path: Path, age: float, options: dict[str, float], removed: int
) -> None:
    """Where the file system has no locks its age is all that is known."""
    path = leave(tmp_path / LEFT, age)
    assert await aiodimse.remove_unfinished(tmp_path, **options) == removed
    assert path.exists() != removed


async def test_nothing_else_is_touched(tmp_path: Path) -> None:
    for name in ("1.2.dcm", ".1.2.dcm.part", ".hidden", "1.2.dcm.0123456789abcdef.part", ".1.2.0123456789abcdef.part"):
        leave(tmp_path / name)
    (tmp_path / ".1.3.dcm.0123456789abcdef.part").mkdir()
    (tmp_path / ".1.4.dcm.0123456789abcdef.part").symlink_to(tmp_path / "1.2.dcm")
    before = names(tmp_path)
    leave(tmp_path / LEFT)
    assert await aiodimse.remove_unfinished(tmp_path) == 1
    assert names(tmp_path) == before


async def test_one_that_cannot_be_removed_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = leave(tmp_path / LEFT), leave(tmp_path / LEFT.replace("0", "1"))
    real = os.unlink

    def unlink(path: str) -> None:
        if path == str(stuck):
            raise PermissionError(1, "no")
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    assert await aiodimse.remove_unfinished(tmp_path) == 1
    assert (stuck.exists(), other.exists()) == (True, False)


async def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    leave(tmp_path / LEFT)
    saved = writer(tmp_path, "1.3").commit()
    assert await aiodimse.remove_unfinished(tmp_path) == 1
    assert names(tmp_path) == [saved.name]


async def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await aiodimse.remove_unfinished(tmp_path / "nothing")
