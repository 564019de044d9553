"""A file that is still being written is already on its way to the disk, so that its flush is short."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from durable.material import STORAGE
from scripted import wire

from aiodimse.datasets import Finish, PartTenWriter, finish_together

UID = "1.2.3"
IDENTITY = wire.dataset({(0x0008, 0x0016): ("UI", STORAGE), (0x0008, 0x0018): ("UI", UID)})
PIECE = bytes(300_000)

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system has no posix_fadvise")


class Disk:
    """Notes which bytes of a file are sent to the disk, and when it is flushed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[Any] = []
        self.sent = 0
        self.error: OSError | None = None
        self._fsync, self._advise = os.fsync, os.posix_fadvise
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "posix_fadvise", self.advise)

    def fsync(self, descriptor: int) -> None:
        self.steps.append("fsync")
        self._fsync(descriptor)

    def advise(self, descriptor: int, start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        assert (start, start + length) == (self.sent, os.fstat(descriptor).st_size), "each byte once"
        self.sent += length
        self.steps.append("sent")
        if self.error is not None:
            raise self.error
        self._advise(descriptor, start, length, advice)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def writer(folder: Path, *, durable: bool = True) -> PartTenWriter:
    return PartTenWriter(folder, STORAGE, UID, wire.EXPLICIT_LE, durable=durable)


def test_a_long_file_is_sent_while_it_is_written(disk: Disk, tmp_path: Path) -> None:
    with writer(tmp_path) as file:
        file.write(IDENTITY)
        for _ in range(5):
            file.write(PIECE)
        assert disk.steps == ["sent", "sent"]
        assert disk.sent > 1_200_000
        path = file.commit()
    assert disk.steps[2:] == ["fsync", "fsync"], "of the file and of the folder"
    assert path.read_bytes().endswith(IDENTITY + 5 * PIECE)


def test_what_need_not_be_durable_is_not_sent(disk: Disk, tmp_path: Path) -> None:
    with writer(tmp_path, durable=False) as file:
        file.write(IDENTITY, *5 * [PIECE])
        file.commit()
    assert disk.steps == []


@pytest.mark.parametrize("error", [None, OSError(errno.EINVAL, "no hints")])
def test_a_short_file_is_sent_while_others_decide_on_its_name(
    disk: Disk, tmp_path: Path, error: OSError | None
) -> None:
    disk.error = error
    files = [Finish(writer(tmp_path), [IDENTITY], lambda *_: disk.steps.append("decided"))]
    finish_together(files)
    assert disk.steps == ["sent", "decided", "fsync", "fsync"]
    assert files[0].result().read_bytes().endswith(IDENTITY)


def test_without_a_decision_there_is_nothing_to_win(disk: Disk, tmp_path: Path) -> None:
    files = [Finish(writer(tmp_path), [IDENTITY])]
    finish_together(files)
    assert disk.steps == ["fsync", "fsync"]
    assert files[0].error is None
