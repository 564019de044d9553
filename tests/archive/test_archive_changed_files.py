"""Retrievals from a folder whose files somebody changes while they are sent.

What is sent for a UID is one whole instance. A message that has begun and cannot be finished ends its association: that
of a C-GET, or that to the destination of a C-MOVE.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archive.conftest import make_object, write_object
from archive.retrieved import pixels
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, MemoryIndex, provide
from aiodimse.datasets.part10 import PartTenReader

HOST = "127.0.0.1"
MR = sop_class.MRImageStorage
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
STUDY = aiodimse.identifier("STUDY", StudyInstanceUID="1.2.1")
SIZE = 6 << 20


def made(image: str, fill: int, size: int = SIZE) -> Dataset:
    dataset = make_object(image=image)
    dataset.add_new(0x7FE00010, "OB", bytes([fill]) * size)
    return dataset


def vanishes(path: Path) -> None:
    path.unlink()


def is_replaced(path: Path) -> None:
    write_object(path.with_name("new"), made("2", 2)).replace(path)


def is_cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(SIZE // 2)


def is_overwritten(path: Path) -> None:
    data = write_object(path.with_name("new"), made("2", 2)).read_bytes()
    with path.open("r+b") as file:
        file.write(data)


def grows(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(100))


@pytest.mark.parametrize("how", ["get", "move"])
@pytest.mark.parametrize("change", [vanishes, is_replaced, is_cut, is_overwritten, grows])
async def test_a_file_that_changes_while_it_is_sent(
    tmp_path: Path, how: str, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, read = made("1", 1), PartTenReader.read
    path, reads = write_object(tmp_path / "one.dcm", one), list[int]()

    def changing(reader: PartTenReader, size: int) -> bytes:
        data = read(reader, size)
        if reader.head.path == path:
            reads.append(len(data))
            if len(reads) == 2:
                change(path)
        return data

    async with await Archive.open(tmp_path, index=MemoryIndex()) as archive:
        await archive.scan()
        monkeypatch.setattr(PartTenReader, "read", changing)
        got, ended = await retrieved(archive, how)
    assert len(reads) >= 2
    if change in (vanishes, is_replaced):  # the open file is still what it was
        assert ended == (0x0000, 1, 0)
        assert got == {one.SOPInstanceUID: one[0x7FE00010].value}
    else:
        assert got == {}
        assert ended == (None if how == "get" else (0xA702, 0, 1))


async def retrieved(archive: Archive, how: str) -> tuple[dict[str, bytes], tuple[int, int, int] | None]:
    """The pixels by SOP Instance UID; status and numbers of completed and failed sub-operations, None: an abort."""
    server, receiver = aiodimse.Server(ae_title="ARCHIVE"), aiodimse.Server(ae_title="HERE")
    destinations: dict[str, aiodimse.Destination | tuple[str, int]] = {}
    provide(server, archive, destinations=destinations)
    async with server.listen(HOST, 0) as listening, receiver.listen(HOST, 0) as here:
        destinations["HERE"] = (HOST, here.port)
        async with aiodimse.connect(
            HOST, listening.port, called_ae_title="ARCHIVE", contexts=[GET, MOVE, sop_class.Verification], storage=[MR]
        ) as peer:
            retrieval: Any
            if how == "get":
                retrieval = peer.c_get(STUDY, GET, allow_incomplete=True)
            else:
                retrieval = peer.c_move(STUDY, MOVE, destination="HERE", receiver=receiver, allow_incomplete=True)
            got, is_there = await pixels(retrieval)
            if not is_there:
                return got, None
            assert (await peer.c_echo()).status == 0x0000
            return got, (retrieval.status, retrieval.progress.completed, retrieval.progress.failed)
