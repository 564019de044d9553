"""An index that an older version of this program made: it is migrated in its place, or made anew beside the old one.

`forms/` has a dump of each older form, as that version wrote it: three objects of two patients and, from version 2 on,
a storage commitment on which nobody has reported.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from archive.databases import new_database
from archive.strategies import asked
from sqlalchemy import inspect, text
from sqlalchemy.engine import Inspector

from aiodimse.archive import Archive, Index, find_query
from aiodimse.archive.index import File, Finding, Transaction
from aiodimse.archive.index.sql import SQLIndex, schema
from aiodimse.archive.index.sql.engines import APPLICATIONS, open_engine, url_of
from aiodimse.archive.index.sql.unusable import IndexUnusable
from aiodimse.archive.models import STUDY_ROOT

Files = Callable[..., Path]
FORMS = Path(__file__).parent / "forms"
DATABASES = ["sqlite", "postgresql"]
NAMES = ["Doe^John", "Müller^Jörg"]
ASKED = Transaction("1.9.1", "MODALITY", (("1.2.840.10008.5.1.4.1.1.4", "1.2.1.1.1"),), 1_700_000_000)


def empty(kind: str, folder: Path) -> str:
    return new_database() if kind == "postgresql" else f"sqlite:///{folder}/index.db"


@contextmanager
def asking(url: str, application: str = "a test") -> Iterator[Any]:
    engine = open_engine(url_of(url), connections=1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if url.startswith("postgresql"):
            connection.execute(text(f"SET application_name = '{application}'"))
        yield lambda statement: connection.execute(text(statement))
    engine.dispose()


def load(url: str, version: int, kept: str | None = None) -> None:
    """Make the tables of a version."""
    kind = "postgresql" if url.startswith("postgresql") else "sqlite"
    dump = (FORMS / f"version-{version}-{kind}.sql").read_text(encoding="utf-8")
    if kind == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(dump)
    else:
        with closing(open_engine(url_of(url), connections=1).raw_connection()) as connection:
            connection.cursor().execute(dump)
            connection.commit()
            connection.invalidate()
    if kept is not None:
        with asking(url) as ask:
            ask(f"UPDATE aiodimse_meta SET value = '{kept}' WHERE name = 'kept'")


def form(url: str) -> dict[str, Any]:
    """The tables of a database with their columns, keys and indexes."""

    def of_table(inspector: Inspector, table: str) -> Any:
        return (
            {each["name"]: (str(each["type"]), each["nullable"]) for each in inspector.get_columns(table)},
            inspector.get_pk_constraint(table)["constrained_columns"],
            [
                (each["constrained_columns"], each["referred_table"], each["referred_columns"], each.get("options"))
                for each in inspector.get_foreign_keys(table)
            ],
            sorted(str(each["column_names"]) for each in inspector.get_unique_constraints(table)),
            {each["name"]: (each["column_names"], each["unique"]) for each in inspector.get_indexes(table)},
        )

    engine = open_engine(url_of(url), connections=1)
    found = {name: of_table(inspect(engine), name) for name in inspect(engine).get_table_names()}
    engine.dispose()
    return found


async def names(index: Index) -> list[Any]:
    query = find_query(asked("STUDY", PatientName="*"), STUDY_ROOT)
    return sorted([match.attributes["PatientName"][0] async for match in index.find(query)])


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("version", sorted(schema.MIGRATIONS))
async def test_an_index_of_an_older_version_is_migrated(tmp_path: Path, version: int, kind: str) -> None:
    """It has the form of a new one then, with the rows of the old one, and can be changed."""
    url, other = empty(kind, tmp_path), empty(kind, tmp_path) + ("" if kind == "postgresql" else ".new")
    load(url, version, schema.digest_of_kept())
    with pytest.raises(IndexUnusable, match=f"of version {version}") as caught:
        await SQLIndex.open(url_of(url), make=False)  # as check does
    assert caught.value.remedy == "migrates it"
    index = await SQLIndex.open(url_of(url))
    await (await SQLIndex.open(url_of(other))).close()
    assert form(url) == form(other)
    assert index.rebuilt is None
    assert await names(index) == NAMES
    assert await index.transactions() == [ASKED.name]
    assert await index.transaction(ASKED.name) == ASKED
    assert len(await index.files("")) == 3
    assert await index.is_complete()
    await index.set_received(["1.2.1"], 2 * 10**18)
    assert [each.study_instance_uid for each in await index.oldest_studies(9)] == ["1.2.2", "1.2.1"]
    await index.note([File("0.dcm", 1, 1, Finding.NOT_DICOM)])
    assert [study.study_instance_uid for study in await index.outdated_studies()] == ["1.2.1"]
    await index.close()
    index = await SQLIndex.open(url_of(url), make=False)
    assert await names(index) == NAMES
    await index.close()


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("version", [1])
async def test_an_index_of_a_version_that_cannot_be_migrated_is_made_anew(
    tmp_path: Path, a_file: Files, version: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """From the files, beside the old one, of which nothing is lost."""
    a_file("archive/0.dcm", PatientName="Roe^Jane")
    url = empty(kind, tmp_path)
    load(url, version)
    archive = await Archive.open(tmp_path / "archive", index=url)
    assert archive.rebuilt == f"the index is of version {version}, and this program's is {schema.VERSION}"
    assert await names(archive.index) == ["Roe^Jane"]
    await archive.close()
    assert f"{archive.rebuilt}: " in caplog.text
    old = url if kind == "postgresql" else url + ".unusable-1"
    with asking(old) as ask:
        assert ask(f"SELECT count(*) FROM {'aiodimse_unusable_1.' if kind == 'postgresql' else ''}study").scalar() == 2
    again = await Archive.open(tmp_path / "archive", index=url)
    assert again.rebuilt is None
    await again.close()


async def test_an_index_that_an_older_version_still_uses_is_not_migrated() -> None:
    """Its sessions are waited for, as PostgreSQL takes a moment to end them."""
    url = new_database()
    load(url, 2, schema.digest_of_kept())
    before = form(url)
    with asking(url, APPLICATIONS + "2 0123"):
        with pytest.raises(OSError, match=r"of version 2, .* processes of another version use it: end them first"):
            await Archive.open(Path(), index=url, scan=False)
        assert form(url) == before
    index = await SQLIndex.open(url_of(url))
    assert await names(index) == NAMES
    await index.close()


@pytest.mark.parametrize("kind", DATABASES)
async def test_all_steps_are_taken(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = empty(kind, tmp_path)
    load(url, 2, schema.digest_of_kept())
    version = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", version + 2)
    more = {
        version: ["ALTER TABLE file ADD COLUMN more INTEGER", "UPDATE file SET more = 1"],
        version + 1: ["UPDATE file SET more = more + 1"],
    }
    monkeypatch.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, **more})
    index = await SQLIndex.open(url_of(url))
    assert (index.rebuilt, await names(index)) == (None, NAMES)
    await index.close()
    with asking(url) as ask:
        assert ask("SELECT min(more), max(more), count(*) FROM file").one() == (2, 2, 3)
        assert ask("SELECT value FROM aiodimse_meta WHERE name = 'version'").scalar() == str(version + 2)


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty(kind, tmp_path)
    load(url, 2, schema.digest_of_kept())
    before = form(url)
    with monkeypatch.context() as changed:
        changed.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, 3: ["UPDATE nothing SET x = 1"]})
        with pytest.raises(OSError, match="cannot be opened"):
            await Archive.open(tmp_path, index=url, scan=False)
    assert form(url) == before
    index = await SQLIndex.open(url_of(url))
    assert (index.rebuilt, await names(index)) == (None, NAMES)
    await index.close()
