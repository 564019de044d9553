"""An SQLite index that somebody has open: no other version changes it, or puts another one in its place."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from archive.test_archive_versions import NAMES, form, load, names

from aiodimse.archive import Archive
from aiodimse.archive.index import opening
from aiodimse.archive.index.sql import in_use, schema, unusable
from aiodimse.archive.index.sql.engines import damage_mark
from aiodimse.archive.index.sql.in_use import InUse

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / opening.FILE


@pytest.fixture
async def other(file: Path) -> AsyncIterator[InUse]:
    """Somebody else who has the database open."""
    use = await InUse.take(file)
    use.share()
    yield use
    use.close()


def older(file: Path) -> None:
    load(f"sqlite:///{file}", 2, schema.digest_of_kept())


def too_old(file: Path) -> None:
    load(f"sqlite:///{file}", 1)


def newer(file: Path) -> None:
    older(file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE aiodimse_meta SET value = '99' WHERE name = 'version'")


def of_other_attributes(file: Path) -> None:
    load(f"sqlite:///{file}", 2, "0123")


def damaged(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def marked(file: Path) -> None:
    older(file)
    damage_mark(file).touch()


OTHER_FORMS = pytest.mark.parametrize("make", [older, too_old, newer, of_other_attributes, damaged, marked])


@OTHER_FORMS
async def test_it_is_left_as_it_is(tmp_path: Path, file: Path, other: InUse, make: Callable[[Path], None]) -> None:
    make(file)
    if make is not damaged:  # opening changes that in the file
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    before = file.read_bytes()
    with pytest.raises(OSError, match="and others use it: end them first") as caught:
        await Archive.open(tmp_path, scan=False)
    assert caught.value.filename == str(file)
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("*unusable*"))
    other.close()
    archive = await Archive.open(tmp_path, scan=False)
    assert (archive.rebuilt is None) == (make is older)
    await archive.close()


async def test_those_of_one_version_have_it_open_together(tmp_path: Path, file: Path) -> None:
    """Whoever is first migrates it, and the others wait for it."""
    older(file)
    archives = await asyncio.gather(*(Archive.open(tmp_path, scan=False) for _ in range(4)))
    for archive in archives:
        assert archive.rebuilt is None
        assert await names(archive.index) == NAMES
    assert InUse.try_alone(file) is None
    for archive in archives:
        await archive.close()
    assert form(f"sqlite:///{file}")["outdated"]
    alone = InUse.try_alone(file)
    assert alone is not None
    alone.close()


async def test_somebody_migrates_it_before_it_is_shared(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system gives up one lock before it takes the other."""
    share = InUse.share

    def slow(self: InUse) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE aiodimse_meta SET value = '99' WHERE name = 'version'")
        share(self)

    monkeypatch.setattr(InUse, "share", slow)
    with pytest.raises(OSError, match=r"of version 99, .* others use it"):
        await Archive.open(tmp_path, scan=False)
    assert not list(tmp_path.glob("*unusable*"))


async def test_somebody_takes_it_before_it_is_shared(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, quicker = InUse.share, list[InUse | None]()

    def slow(self: InUse) -> None:
        in_use.fcntl.flock(self._descriptor, in_use.fcntl.LOCK_UN)
        quicker.append(InUse.try_alone(file))
        share(self)

    monkeypatch.setattr(InUse, "share", slow)
    with pytest.raises(OSError, match="at the same time"):
        await Archive.open(tmp_path, scan=False)
    (held,) = quicker
    assert held is not None
    held.close()


async def test_somebody_who_prepares_it_is_waited_for(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_use, "_WAIT", 0.001)
    preparing = await InUse.take(file)
    opened = asyncio.create_task(Archive.open(tmp_path, scan=False))
    given_up = asyncio.create_task(Archive.open(tmp_path, scan=False))
    await asyncio.wait([opened, given_up], timeout=0.05)
    assert not opened.done()
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up
    preparing.share()
    archive = await opened
    preparing.close()
    await archive.close()
    alone = InUse.try_alone(file)
    assert alone is not None, "nor does the one that was cancelled have it"
    alone.close()


async def test_somebody_who_prepares_it_for_ever_is_not_waited_for(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_use, "_PATIENCE", 0.0)
    preparing = await InUse.take(file)
    with pytest.raises(OSError, match="does not come to an end"):
        await Archive.open(tmp_path, scan=False)
    preparing.close()


async def test_who_cannot_open_it_does_not_keep_it(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older(file)
    with monkeypatch.context() as changed:
        changed.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, 2: ["UPDATE nothing SET x = 1"]})
        with pytest.raises(OSError, match="cannot be opened"):
            await Archive.open(tmp_path, scan=False)
    archive = await Archive.open(tmp_path, scan=False)
    assert archive.rebuilt is None
    await archive.close()


def test_a_damaged_one_is_put_aside_once_nobody_has_it_open(tmp_path: Path, file: Path) -> None:
    damaged(file)
    damage_mark(file).touch()
    use = InUse.try_alone(file)
    assert use is not None
    opening.put_damaged_aside(None, tmp_path)
    assert file.exists()
    use.close()
    opening.put_damaged_aside(None, tmp_path)
    assert not file.exists()


async def test_a_damaged_one_is_no_hindrance_to_another_worker(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it can answer is served until all of them are restarted."""
    archive = await Archive.open(tmp_path, shared=True)
    monkeypatch.setattr(unusable, "check_file", lambda *_: pytest.fail("others use it"))
    archive.index.mark_damaged()
    another = await Archive.open(tmp_path, shared=True)
    assert another.rebuilt is None
    await another.close()
    await archive.close()


@pytest.fixture
def process(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Has the database open until it is killed."""
    code = (
        "import asyncio, sys, pathlib; from aiodimse.archive.index.sql.in_use import InUse\n"
        "use = asyncio.run(InUse.take(pathlib.Path(sys.argv[1]))); use.share()\n"
        "print('taken', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"taken\n"
        yield running
        running.kill()


@pytest.mark.parametrize("make", [older, damaged])
async def test_the_system_releases_what_a_killed_process_had(
    tmp_path: Path, file: Path, process: subprocess.Popen[bytes], make: Callable[[Path], None]
) -> None:
    make(file)
    with pytest.raises(OSError, match="others use it"):
        await Archive.open(tmp_path, scan=False)
    process.kill()
    process.wait()
    archive = await Archive.open(tmp_path, scan=False)
    await archive.close()


@pytest.mark.parametrize("error", [OSError(95, "no locks"), None])
async def test_where_there_are_no_locks(
    tmp_path: Path, file: Path, error: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLocks:
        LOCK_EX = LOCK_SH = LOCK_NB = 0

        def flock(self, descriptor: int, kind: int) -> None:
            assert error is not None
            raise error

    monkeypatch.setattr(in_use, "fcntl", None if error is None else NoLocks())
    older(file)
    archive = await Archive.open(tmp_path, scan=False)
    assert await names(archive.index) == NAMES
    await archive.close()
