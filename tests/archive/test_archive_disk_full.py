"""A disk that is full: the peer is told, and the log says which error it was, but no file: a name may be a patient."""

from __future__ import annotations

import errno
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pydicom
import pytest

import aiodimse
from aiodimse import testing
from aiodimse.archive import Archive, MemoryIndex, provide

HOST = "127.0.0.1"
CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"


@pytest.mark.parametrize(
    ("number", "comment"),
    [
        ("ENOSPC", "disk full"),
        ("EDQUOT", "disk full"),
        ("EROFS", "the storage cannot be written to"),
        ("EACCES", "the storage cannot be written to"),
        ("EIO", None),
    ],
)
@pytest.mark.parametrize("served", ["by an archive", "by a handler"])
async def test_a_store_that_cannot_be_saved(
    served: str,
    number: str,
    comment: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def save(self: object, directory: object, name: object = None, **options: object) -> Path:
        raise OSError(getattr(errno, number), "no", "/Doe^Jane/1.2.dcm")

    monkeypatch.setattr(aiodimse.StoreRequest, "save", save)
    server = aiodimse.Server()
    if served == "by an archive":
        provide(server, await Archive.open(tmp_path, index="memory:"))
    else:
        comment = None

        @server.on_c_store
        async def store(request: Any) -> int:
            await request.save(tmp_path)
            return 0x0000

    with caplog.at_level(logging.ERROR, "aiodimse"):
        async with server.listen(HOST, 0) as listening:
            contexts = aiodimse.contexts_for([CT])
            async with aiodimse.connect(HOST, listening.port, called_ae_title="AIODIMSE", contexts=contexts) as peer:
                response = await peer.c_store(CT)
    assert response.status.category is aiodimse.Category.FAILURE
    assert response.error_comment == comment
    (line,) = caplog.messages
    assert number in line
    assert "Doe" not in line


async def test_a_storage_that_is_read_only_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The example: a line of the log for each C-STORE, as many as a peer likes."""

    async def save(self: object, directory: object, name: object = None, **options: object) -> Path:
        raise OSError(errno.EROFS, "no", "/Doe^Jane/1.2.dcm")

    monkeypatch.setattr(aiodimse.StoreRequest, "save", save)
    server = aiodimse.Server()
    provide(server, await Archive.open(tmp_path, index="memory:"))
    with caplog.at_level(logging.ERROR, "aiodimse"):
        async with testing.joined(server, contexts=aiodimse.contexts_for([CT])) as peer:
            assert [(await peer.c_store(CT)).status for _ in range(3)] == [0xA700] * 3
    assert caplog.messages == ["the storage cannot be written to (EROFS): C-STORE is refused until it can"]


class OfPostgreSQL(Exception):
    sqlstate = "53100"


class OfSQLite(sqlite3.OperationalError):
    sqlite_errorname = "SQLITE_FULL"


@pytest.mark.parametrize("error", [OfSQLite("full of Doe^Jane"), OfPostgreSQL("could not extend Doe^Jane")], ids=repr)
@pytest.mark.parametrize("first", ["the index", "the file"])
async def test_a_full_disk_is_told_once_by_one_line(
    first: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The index may meet it before a file does, or after it. It answers queries all the same."""
    archive = await Archive.open(tmp_path, index=Full(error))
    server = aiodimse.Server()
    provide(server, archive)
    save = aiodimse.StoreRequest.save

    async def full(self: Any, *words: Any, **options: Any) -> Path:
        raise OSError(errno.ENOSPC, "no", "/Doe^Jane/1.2.dcm")

    async with server.listen(HOST, 0) as listening:
        contexts = aiodimse.contexts_for([CT])
        async with aiodimse.connect(HOST, listening.port, called_ae_title="AIODIMSE", contexts=contexts) as peer:
            for met in (first, "the index", "the file"):
                monkeypatch.setattr(aiodimse.StoreRequest, "save", full if met == "the file" else save)
                response = await peer.c_store(CT)
                assert (response.status, response.error_comment) == (0xA700, "disk full")
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    code = {"the file": "ENOSPC", "the index": "SQLITE_FULL" if isinstance(error, OfSQLite) else "53100"}[first]
    assert line == f"the disk is full ({code}): C-STORE is refused until there is room"
    assert archive.availability.is_up
    await archive.close()


class Full(MemoryIndex):
    """An index whose disk has no room for another object."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def add(self, headers: Any) -> None:
        raise self._error
