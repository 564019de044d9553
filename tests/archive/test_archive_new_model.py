"""A model of one level is one row: with it, its objects are stored, found, retrieved and moved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROW = """
    OneLevelModel(
        "flat", "a test",
        s.register("1.2.3.4.1", "FlatFind", service_class=s.COLOR_PALETTE, commands=["C-FIND"]),
        s.register("1.2.3.4.2", "FlatMove", service_class=s.COLOR_PALETTE, commands=["C-MOVE"]),
        s.register("1.2.3.4.3", "FlatGet", service_class=s.COLOR_PALETTE, commands=["C-GET"]),
        (s.register("1.2.3.4.4", "FlatStorage"),),
        ("ContentLabel",), ("PixelPaddingValue",),
    ),
"""

PROGRAM = """
import asyncio, importlib.util, pathlib, sys
import aiodimse
from aiodimse import sop_class

# The module of rows with one more row, in the place of its own.
source = pathlib.Path(aiodimse.__file__).parent / "archive" / "one_level.py"
text = source.read_text(encoding="utf-8")
begin = "MODELS: tuple[OneLevelModel, ...] = ("
assert begin in text
spec = importlib.util.spec_from_file_location("aiodimse.archive.one_level", source)
module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
row = sys.argv[2].replace("s.COLOR_PALETTE", "s.ColorPaletteStorage.service_class")
exec(compile(text.replace(begin, begin + row), source, "exec"), module.__dict__)

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from aiodimse.archive import Archive, provide

FIND, MOVE, GET, STORAGE = (f"1.2.3.4.{number}" for number in (1, 2, 3, 4))

def flat(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset

async def main():
    archive = await Archive.open(sys.argv[1], index="memory:")
    server = aiodimse.Server(ae_title="ARCHIVE")
    destinations = {}
    provide(server, archive, destinations=destinations, durable=False)
    async with server.listen("127.0.0.1", 0) as listening:
        destinations["ARCHIVE"] = ("127.0.0.1", listening.port)
        contexts = [FIND, MOVE, GET, STORAGE]
        async with aiodimse.connect(
            "127.0.0.1", listening.port, called_ae_title="ARCHIVE", contexts=contexts, storage=[STORAGE]
        ) as peer:
            one = flat(SOPClassUID=STORAGE, SOPInstanceUID="1.2.5", ContentLabel="HOT", PixelPaddingValue=3)
            one.file_meta = FileMetaDataset()
            one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            assert (await peer.c_store(one)).status == 0x0000
            (match,) = await peer.c_find(flat(ContentLabel="H*", PixelPaddingValue=None), FIND).collect()
            assert (match.ContentLabel, match.PixelPaddingValue) == ("HOT", 3), match
            assert await peer.c_find(flat(ContentLabel="PET"), FIND).collect() == []
            async with peer.c_get(flat(SOPInstanceUID="1.2.5"), GET) as retrieval:
                assert [(await each.dataset()).ContentLabel async for each in retrieval] == ["HOT"]
            async with peer.c_move(flat(SOPInstanceUID="1.2.5"), MOVE, destination="ARCHIVE") as moving:
                async for _ in moving:
                    pass
            assert moving.status == 0x0000
    print("done")

asyncio.run(main())
"""


@pytest.mark.timeout(120)
def test_a_row_adds_a_model(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path), ROW]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
