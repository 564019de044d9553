"""Searches of an archive: one whose keys are counts, and many at once."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from scripted import wire
from scripted.peer import ScriptedPeer

import scoreboard.budgets  # noqa: F401  # makes scripted importable
from scoreboard.budgets.honest import echoing
from scoreboard.process import provider
from scoreboard.row import Row

IMAGES, SERIES, STUDIES = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3"
_FINAL = 300.0


def make(folder: Path, number: int) -> None:
    """Write the headers of images of one study, in ten series."""
    for each in range(number):
        meta, made = FileMetaDataset(), Dataset()
        made.SOPClassUID = meta.MediaStorageSOPClassUID = wire.CT_IMAGE_STORAGE
        made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = f"{IMAGES}.{each}"
        meta.TransferSyntaxUID = wire.EXPLICIT_LE
        made.StudyInstanceUID, made.SeriesInstanceUID = STUDIES, f"{SERIES}.{each % 10}"
        made.PatientID, made.PatientName, made.Modality, made.InstanceNumber = "4711", "Nobody^At all", "CT", each
        made.file_meta = meta
        made.save_as(folder / f"{each}.dcm", enforce_file_format=True)


def image_keys() -> bytes:
    """Make an Identifier at the IMAGE level, with a key that is a count."""
    return wire.identifier(
        "IMAGE",
        study=((0x0020, 0x000D), "UI", STUDIES),
        classes=((0x0008, 0x0062), "UI", ""),
        number=((0x0020, 0x0013), "IS", ""),
    )


async def search(port: int, keys: bytes, times: int = 1) -> tuple[float, int]:
    """Search on one association, one search after the other; return the seconds and the responses of all."""
    async with await ScriptedPeer.connect("127.0.0.1", port, _FINAL) as peer:
        await peer.associate([(1, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE])], called="SCORED")
        started, found = time.perf_counter(), 0
        for number in range(1, times + 1):
            await peer.request(1, wire.find_rq(message_id=number), keys)
            responses = await peer.responses(number, timeout=_FINAL)
            assert responses[-1].status == 0x0000, f"a search ended with 0x{responses[-1].status:04X}"
            found += len(responses)
        return time.perf_counter() - started, found


async def counted(few: int, many: int) -> Row:
    """Measure how the time of a search grows with the images of its study."""
    seconds = {}
    for number in (few, many):
        with tempfile.TemporaryDirectory() as name:
            await asyncio.to_thread(make, Path(name), number)
            async with provider("--archive", name) as scored:
                seconds[number], responses = await search(scored.port, image_keys())
                assert responses == number + 1, f"{responses} responses"
    grown, bound = seconds[many] / seconds[few], 5 * many / few / 4
    measured = f"{seconds[few]:.2f} s, {seconds[many]:.2f} s: {grown:.1f} times"
    return Row(
        f"IMAGE-level search with a counted key, {few:,} and {many:,}",
        f"at most {bound:g} times",
        measured,
        grown <= bound,
    )


async def storm(images: int, peers: int, searches: int, *options: str) -> Row:
    """Measure many searches that walk all images and find nothing, and an honest echo at the same time.

    options: Those of the provider.
    """
    keys = wire.identifier(
        "IMAGE", study=((0x0020, 0x000D), "UI", STUDIES), number=((0x0020, 0x0013), "IS", "999999999")
    )
    with tempfile.TemporaryDirectory() as name:
        await asyncio.to_thread(make, Path(name), images)
        async with provider("--archive", name, *options) as scored:
            await scored.held()
            storming = asyncio.gather(*(search(scored.port, keys, searches) for _ in range(peers)))
            beside = await echoing(scored.port, 5)
            beside.stall = (await scored.held())["stall"]
            found = sum(responses for _, responses in await storming)
            assert found == peers * searches, f"{found} responses"
    measured = f"p99 {beside.p99 * 1e3:.0f} ms, {beside}"
    return Row(
        f"honest echo beside {peers} x {searches} searches over {images:,} objects{' in SQLite' if options else ''}",
        "p99 under 100 ms",
        measured,
        beside.p99 < 0.1,
    )


async def rows(long: bool) -> list[Row]:
    """Measure both kinds."""
    if long:
        return [await counted(5_000, 20_000), *[await storm(20_000, 10, 16, *how) for how in ((), ("--sql",))]]
    return [await counted(500, 2_000), *[await storm(5_000, 10, 16, *how) for how in ((), ("--sql",))]]
