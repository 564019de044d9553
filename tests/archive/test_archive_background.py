"""What an archive does beside its requests: a failure there is logged once, and without what it says of patients."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aiodimse.archive import Archive
from aiodimse.testing.clock import settle


class OfADriver(Exception):
    """Quotes the statement and its values, as those of databases do."""


async def test_a_failure_is_logged_by_its_kind_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise OfADriver("INSERT INTO patient VALUES ('Doe^Jane', '4711')")

    archive = Archive(tmp_path)
    archive.background(fail(), "aiodimse archive work")
    await settle()
    await archive.close()
    (record,) = caplog.records
    assert record.getMessage() == "aiodimse archive work failed: OfADriver"
    assert record.exc_info is None


async def test_what_is_ended_by_closing_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    archive = Archive(tmp_path)
    archive.background(wait(), "aiodimse archive work")
    await settle()
    await archive.close()
    assert ended.is_set()
    assert caplog.records == []
