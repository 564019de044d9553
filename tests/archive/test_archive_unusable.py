"""An index that is damaged or has another form: serve says so and makes a new one, and nothing is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from archive.databases import new_database
from pydicom import Dataset
from sqlalchemy import text

import aiodimse
from aiodimse.archive import Archive, MemoryIndex, find_query
from aiodimse.archive.index import Transaction, opening
from aiodimse.archive.index.sql import unusable
from aiodimse.archive.index.sql.engines import APPLICATIONS, damage_mark, open_engine, url_of
from aiodimse.archive.models import STUDY_ROOT
from aiodimse.cli.main import main

Files = Callable[..., Path]
ASKED = Transaction("1.9.1", "MODALITY", (("1.2.840.10008.5.1.4.1.1.4", "1.2.1.1.1"),), 1_700_000_000)
AGAIN = 4 * 10**18
"""A time of 2096, in nanoseconds."""
OTHER_FORMS = {
    "newer": "UPDATE aiodimse_meta SET value = '99' WHERE name = 'version'",
    "older": "UPDATE aiodimse_meta SET value = '1' WHERE name = 'version'",
    "no number": "UPDATE aiodimse_meta SET value = 'x' WHERE name = 'version'",
    "none": "DELETE FROM aiodimse_meta WHERE name = 'version'",
    "other attributes": "UPDATE aiodimse_meta SET value = 'x' WHERE name = 'kept'",
}


@pytest.fixture
def folder(tmp_path: Path, a_file: Files) -> Path:
    for number in range(200):
        a_file(
            f"archive/{number % 4}/{number}.dcm", patient=f"P{number}", study=str(number), PatientName=f"Doe^{number}"
        )
    return tmp_path / "archive"


def damage(file: Path, table: str) -> None:
    """Overwrite the first page of a table or of an index of a table."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    data = bytearray(file.read_bytes())
    data[(page - 1) * size : page * size] = b"\xa5" * size
    file.write_bytes(data)


async def put(folder: Path, index: str | None = None, *transactions: Transaction) -> None:
    """Make an index of the folder, with transactions on which nobody has reported, and a study that came again."""
    archive = await Archive.open(folder, index=index)
    for transaction in transactions:
        await archive.index.put_transaction(transaction)
    await archive.index.set_received(["1.2.7"], AGAIN)
    await archive.close()


async def came_again(archive: Archive) -> bool:
    """Whether the index knows that the study came again."""
    age = await archive.index.study_age("1.2.7")
    assert age is not None
    return age.modified == AGAIN


async def names(archive: Archive) -> list[Any]:
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.PatientName = "STUDY", "Doe*"
    return [match.attributes["PatientName"] async for match in archive.index.find(find_query(identifier, STUDY_ROOT))]


@pytest.mark.parametrize("table", ["file", "instance", "study", "term", "term_value"])
async def test_damage_anywhere_in_a_database_is_seen_when_it_is_opened(
    folder: Path, table: str, record_property: Callable[[str, int], None]
) -> None:
    await put(folder, None, ASKED)
    damage(folder / opening.FILE, table)
    archive = await Archive.open(folder)
    assert archive.rebuilt == unusable.DAMAGED
    assert archive.report.indexed == len(await names(archive)) == 200
    assert await archive.index.transactions() == [ASKED.name]
    assert await came_again(archive)
    await archive.close()
    archive = await Archive.open(folder)
    assert (archive.rebuilt, await archive.index.transactions()) == (None, [ASKED.name])
    await archive.close()
    record_property("damaged indexes", 1)


@pytest.mark.parametrize("table", ["file", "study"])
async def test_damage_in_a_large_database_is_seen_when_it_is_read(
    folder: Path, table: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unusable, "_CHECKED", 0)
    await put(folder)
    damage(folder / opening.FILE, table)
    archive = await Archive.open(folder, scan=False)
    assert archive.rebuilt is None
    for _ in range(2):
        with pytest.raises(aiodimse.DIMSEFailure) as caught, archive.availability.asked(0xA700):
            await (archive.index.files("0") if table == "file" else names(archive))
        assert caught.value.status == 0xA700
    with archive.availability.asked(0xA700):
        await archive.index.transactions()  # it answers what is not damaged
    assert not archive.availability.is_up
    await archive.close()
    assert [line for line in caplog.messages if "index" in line] == [
        "the index is damaged (DatabaseError SQLITE_CORRUPT): the next start makes a new one from the files"
    ]
    archive = await Archive.open(folder)
    assert (archive.rebuilt, archive.report.indexed) == (unusable.DAMAGED, 200)
    await archive.close()
    assert not damage_mark(folder / opening.FILE).exists()


async def test_a_worker_leaves_a_damaged_index_to_its_parent(folder: Path) -> None:
    """Others may have it open, and would go on to write into the file that was renamed."""
    await put(folder)
    file = folder / opening.FILE
    damage_mark(file).touch()
    archive = await Archive.open(folder, shared=True)
    assert (archive.rebuilt, damage_mark(file).exists()) == (None, True)
    await archive.close()
    opening.put_damaged_aside(None, folder)
    assert (file.exists(), damage_mark(file).exists()) == (False, False)
    opening.put_damaged_aside(None, folder)
    archive = await Archive.open(folder, shared=True)
    assert archive.report.indexed == 200
    await archive.close()


@pytest.mark.parametrize("form", OTHER_FORMS)
async def test_what_nobody_was_told_yet_is_carried_over(folder: Path, form: str) -> None:
    await put(folder, None, ASKED)
    file = folder / opening.FILE
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(OTHER_FORMS[form])
    archive = await Archive.open(folder)
    assert archive.rebuilt is not None
    assert await archive.index.transaction(ASKED.name) == ASKED
    assert await came_again(archive)
    await archive.index.drop_transaction(ASKED)
    await archive.close()
    archive = await Archive.open(folder)
    assert (archive.rebuilt, await archive.index.transactions()) == (None, [])
    await archive.close()


async def test_what_nobody_was_told_yet_survives_a_kill_of_who_makes_the_index_anew(folder: Path) -> None:
    await put(folder, None, ASKED)
    opening.put_aside(folder / opening.FILE, "for a test")  # and the process is killed here
    archive = await Archive.open(folder)
    assert await archive.index.transactions() == [ASKED.name]
    assert await came_again(archive)
    await archive.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_an_index_without_a_table_is_carried_over_without_a_word(
    folder: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Versions before 4 did not have that of the studies that came again."""
    url = new_database() if kind == "postgresql" else f"sqlite:///{tmp_path}/index.db"
    await put(folder, url, ASKED)
    engine = open_engine(url_of(url), connections=1)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE received"))
        connection.execute(text(OTHER_FORMS["older"]))
    engine.dispose()
    archive = await Archive.open(folder, index=url)
    assert archive.rebuilt is not None
    assert await archive.index.transactions() == [ASKED.name]
    assert not await came_again(archive)
    assert "cannot be read" not in caplog.text
    await archive.close()


async def test_transactions_that_cannot_be_read_do_not_keep_the_archive_from_opening(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await put(folder, None, ASKED)
    (folder / opening.FILE).write_bytes(b"no database" * 1000)
    archive = await Archive.open(folder)
    assert await archive.index.transactions() == []
    assert "not all storage commitments in .aiodimse-index.db.unusable-1 can be read" in caplog.text
    assert "not all times at which studies were received again in .aiodimse-index.db.unusable-1" in caplog.text
    await archive.close()


@pytest.mark.parametrize("table", ["file", "meta"])
def test_check_says_it_in_a_line_and_changes_nothing(
    folder: Path, table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unusable, "_CHECKED", 0)
    assert main(["check", str(folder)]) == 2
    asyncio.run(put(folder))
    damage(folder / opening.FILE, {"meta": "aiodimse_meta"}.get(table, table))
    before = sorted(path.name for path in folder.iterdir())
    capsys.readouterr()
    assert main(["check", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "the index is damaged" in said
    assert said.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@contextmanager
def asking(url: str, application: str = "a test") -> Iterator[Any]:
    engine = open_engine(url_of(url), connections=1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"SET application_name = '{application}'"))
        yield lambda statement: connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize("form", OTHER_FORMS)
async def test_tables_of_another_form_are_moved_aside_in_postgresql(
    folder: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = new_database()
    await put(folder, url, ASKED)
    with asking(url) as ask:
        for number in (1, 2):
            ask(OTHER_FORMS[form])
            archive = await Archive.open(folder, index=url)
            assert archive.rebuilt is not None
            assert f"moved into the schema aiodimse_unusable_{number}, and all files are read again" in caplog.text
            assert archive.report.indexed == len(await names(archive)) == 200
            assert await archive.index.transactions() == [ASKED.name]
            assert await came_again(archive)
            await archive.close()
            assert ask(f"SELECT count(*) FROM aiodimse_unusable_{number}.instance").scalar() == 200
    archive = await Archive.open(folder, index=url)
    assert archive.rebuilt is None
    await archive.close()


async def test_tables_that_others_use_stay_where_they_are(folder: Path) -> None:
    """A machine that was not ended yet would write into new tables what it has kept of an object."""
    url = new_database()
    await put(folder, url)
    with asking(url, APPLICATIONS + "1 0123") as ask:
        ask(OTHER_FORMS["newer"])
        with pytest.raises(OSError, match=r"of version 99, .* processes of another version use it: end them first"):
            await Archive.open(folder, index=url)
        assert ask("SELECT count(*) FROM instance").scalar() == 200
    archive = await Archive.open(folder, index=url)
    assert archive.rebuilt is not None
    await archive.close()


def test_an_index_in_memory_is_never_damaged() -> None:
    error = sqlite3.DatabaseError("malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    assert unusable.is_damage(error)
    assert not MemoryIndex().is_damaged_by(error)
