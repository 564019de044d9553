"""A save that is cancelled while the disk works leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse import testing
from aiodimse.datasets import PartTenWriter


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("step", ["write", "_flush"])
async def test_a_cancelled_save(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str, times: int) -> None:
    """The trip to the disk goes on to its end; then what it wrote is taken away, unless it had its name by then.

    However often it is cancelled, as by a timeout in the handler and then by the end of the association: else its file
    would be closed under it, and it would write to whatever had got that file's number.
    """
    begun, go = threading.Event(), threading.Event()
    real = getattr(PartTenWriter, step)

    def held(self: PartTenWriter, *pieces: bytes) -> None:
        real(self, *pieces)
        begun.set()
        assert go.wait(30)

    monkeypatch.setattr(PartTenWriter, step, held)
    instance = await aiodimse.Instance.open(str(get_testdata_file("CT_small.dcm")))
    if step == "write":

        async def pieces():
            for _ in range(3):
                yield b"\x08" * (1 << 20)

        monkeypatch.setattr(instance, "stream", pieces)
    saving = asyncio.create_task(instance.save(tmp_path))
    await asyncio.to_thread(begun.wait, 30)
    assert list(tmp_path.iterdir()), "the file is being written"
    for _ in range(times):
        saving.cancel()
        await testing.settle()
    assert not saving.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    if step == "write":
        assert list(tmp_path.iterdir()) == []
