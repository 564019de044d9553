"""A request for storage commitment whose association ends before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from archive.databases import open_index
from archive.test_archive_commitment import HOST, MR, Told, ask, modality, question, serving
from kth_await import at_each, cancelled_at

import aiodimse
from aiodimse.archive import Archive
from aiodimse.archive import commitment as module

SECONDS = 20
Files = Callable[..., Path]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_request_that_is_cancelled_anywhere_leaves_nothing_open(
    tmp_path: Path, a_file: Files, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is stored, it is reported, and not only after a restart: its study could not be removed until then."""
    monkeypatch.setattr(module, "_LOOK_AGAIN", 0.01)
    monkeypatch.setattr(module, "_AFTER_RESPONSE", 0.0)
    a_file("files/1.dcm")
    told: Told = asyncio.Queue()
    archive = await Archive.open(tmp_path / "files", index=await open_index(kind, tmp_path))
    accept, answered = module.Commitment.accept, set[int]()

    async def once(number: int) -> bool:
        async def cancelled(self: module.Commitment, request: aiodimse.NormalizedRequest) -> int:
            status: int = await cancelled_at(number, accept(self, request))
            answered.add(number)
            return status

        monkeypatch.setattr(module.Commitment, "accept", cancelled)
        with suppress(aiodimse.AiodimseError):
            await ask(listening.port, question((MR, "1.2.1.1.1"), uid=f"1.9.{number}"))
        return number in answered

    async with (
        modality(told).listen(HOST, 0) as there,
        serving(archive, {"MODALITY": (HOST, there.port)}).listen(HOST, 0) as listening,
    ):
        assert await at_each(once) >= 2
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while await archive.index.transactions():  # noqa: ASYNC110
                    await asyncio.sleep(0)
        assert await archive.index.transactions() == []
    assert not told.empty()
    await archive.close()
