"""C-GETs by peers with tiny PDUs, and C-MOVEs that each open an association to another peer."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless
from scripted import wire
from scripted.peer import ScriptedListener, ScriptedPeer, ScriptedPeerError

import scoreboard.budgets  # noqa: F401  # makes scripted importable
from scoreboard.budgets.honest import echoing
from scoreboard.process import provider
from scoreboard.provider import image
from scoreboard.row import Row

SECONDS = 4.0
_FINAL = 120.0
_LEFT = 20 << 20


async def _tiny_get(port: int, until: float, stored: list[object]) -> None:
    """Send C-GETs, one after the other, with the smallest maximum length; add received instances to stored."""
    contexts = [(1, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]), (3, wire.CT_IMAGE_STORAGE, [wire.EXPLICIT_LE])]
    async with await ScriptedPeer.connect("127.0.0.1", port) as peer:
        await peer.associate(contexts, called="SCORED", max_length=128, roles={wire.CT_IMAGE_STORAGE: (0, 1)})
        message_id = 0
        try:
            while time.perf_counter() < until:
                message_id += 1
                await peer.request(1, wire.get_rq(message_id=message_id), wire.identifier("STUDY"))
                await peer.responses(message_id, store=0x0000)
        except ScriptedPeerError as ended:
            print(f"  a C-GET was ended: {str(ended).splitlines()[0]}")
        finally:
            stored += peer.stored


async def tiny_gets(peers: int, seconds: float) -> Row:
    """Measure C-GETs with a maximum length of 128, and an honest echo at the same time."""
    async with provider() as scored:
        until = time.perf_counter() + seconds + 1
        stored: list[object] = []
        gets = [asyncio.create_task(_tiny_get(scored.port, until, stored)) for _ in range(peers)]
        await scored.held()
        beside = await echoing(scored.port, seconds)
        beside.stall = (await scored.held())["stall"]
        for get in gets:
            get.cancel()
        await asyncio.wait(gets)
    median, longest, turn = (0.010, 0.100, 0.050) if peers == 1 else (0.060, 0.250, 0.100)
    target = f"echo median {median * 1e3:.0f} ms, max {longest * 1e3:.0f} ms, turn {turn * 1e3:.0f} ms"
    passed = beside.median < median and beside.longest < longest and beside.stall < turn
    return Row(
        f"{peers} C-GET with maximum length 128", target, f"{beside}, {len(stored)} instances", passed and bool(stored)
    )


async def converted(path: Path, peers: int, seconds: float, words: str, most: int) -> Row:
    """Measure C-GETs of a file by peers that accept only Implicit VR, read for some seconds, and abort.

    most: The most memory that the provider may use, in MiB.
    """
    contexts = [(1, wire.STUDY_ROOT_GET, [wire.IMPLICIT_LE]), (3, wire.CT_IMAGE_STORAGE, [wire.IMPLICIT_LE])]
    identifier = wire.identifier("STUDY", wire.IMPLICIT_LE)

    async def get(port: int) -> int:
        async with await ScriptedPeer.connect("127.0.0.1", port, _FINAL) as peer:
            await peer.associate(contexts, called="SCORED", roles={wire.CT_IMAGE_STORAGE: (0, 1)})
            await peer.request(1, wire.get_rq(), identifier)
            received, until = 0, time.perf_counter() + seconds
            while time.perf_counter() < until:
                received += len((await peer.read_pdu()).body)
                await asyncio.sleep(0)
            await peer.send(wire.abort())
            return received

    async with provider("--give", str(path), "--no-collector") as scored:
        before = await scored.held()
        received = await asyncio.gather(*(get(scored.port) for _ in range(peers)))
        for _ in range(50):  # a frame that is being converted is finished first
            after = await scored.held()
            if after["tasks"] <= before["tasks"] and after["memory"] < before["memory"] + _LEFT:
                break
            await asyncio.sleep(0.1)
    peak, left = after["peak"] / (1 << 20), (after["memory"] - before["memory"]) / (1 << 20)
    measured = f"{sum(received) >> 20} MiB sent, peak {peak:.0f} MiB, {left:+.0f} MiB after the aborts, collector off"
    return Row(
        f"{peers} C-GETs of {words}",
        f"peak under {most} MiB, after the aborts within 20 MiB of the start",
        measured,
        peak < most and left < _LEFT >> 20 and min(received) > 0,
    )


async def re_encoded(peers: int, size: int, seconds: float) -> Row:
    """Measure a large file in Explicit VR."""
    with tempfile.TemporaryDirectory() as name:
        path = _large_file(Path(name), size)
        return await converted(path, peers, seconds, f"{size >> 20} MiB, re-encoded", 200)


async def decompressed(peers: int, seconds: float) -> Row:
    """Measure a file of one compressed, therefore small, frame. 128 MiB may be in memory for sending."""
    with tempfile.TemporaryDirectory() as name:
        path, size = _compressed_file(Path(name))
        return await converted(path, peers, seconds, f"{size >> 20} MiB, decompressed", 300)


async def inflated(peers: int, size: int, seconds: float) -> Row:
    """Measure a deflated file, which is a thousandth of what it inflates to."""
    with tempfile.TemporaryDirectory() as name:
        path = _deflated_file(Path(name), size)
        words = f"{path.stat().st_size >> 10} KiB that inflate to {size >> 20} MiB, re-encoded"
        return await converted(path, peers, seconds, words, 200)


def _large_file(folder: Path, size: int) -> Path:
    """Write a file in Explicit VR Little Endian."""
    made = image(1)
    made.PixelData = bytes(size)
    made["PixelData"].VR = "OW"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = wire.EXPLICIT_LE
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    path = folder / "large.dcm"
    made.save_as(path, enforce_file_format=True)
    return path


def _deflated_file(folder: Path, size: int) -> Path:
    """Write a file in Deflated Explicit VR Little Endian, whose pixels are zeros."""
    made = dcmread(_large_file(folder, size))
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = folder / "deflated.dcm"
    made.save_as(path, enforce_file_format=True)
    return path


def _compressed_file(folder: Path) -> tuple[Path, int]:
    """Write a file of one frame of 4,096 by 4,096 pixels in RLE Lossless; return it and the size of its pixels."""
    made = image(1)
    made.Rows = made.Columns = 4096
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.HighBit, made.PixelData = 15, bytes(2 * 4096 * 4096)
    made["PixelData"].VR = "OW"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = wire.EXPLICIT_LE
    made.compress(RLELossless, generate_instance_uid=False)
    path = folder / "compressed.dcm"
    made.save_as(path, enforce_file_format=True)
    return path, 2 * 4096 * 4096


async def moves(number: int) -> Row:
    """Measure many C-MOVEs to one slow destination: simultaneous associations to it, and final responses."""
    at_once = most = 0

    async def store(peer: ScriptedPeer) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            await peer.accept()
            while True:
                await peer.respond(await peer.read_message(), 0x0000)
        except ScriptedPeerError:
            pass
        finally:
            at_once -= 1
            await peer.close()

    async with await ScriptedListener.open() as listener, provider("--move-to", str(listener.port)) as scored:

        async def accept() -> None:
            async with asyncio.TaskGroup() as group:
                while True:
                    group.create_task(store(await listener.accept(_FINAL)))

        accepting = asyncio.create_task(accept())

        async def move(message_id: int) -> int:
            async with await ScriptedPeer.connect("127.0.0.1", scored.port, _FINAL) as peer:
                await peer.associate([(1, wire.STUDY_ROOT_MOVE, [wire.EXPLICIT_LE])], called="SCORED")
                await peer.request(1, wire.move_rq("DEST", message_id=message_id), wire.identifier("STUDY"))
                return int((await peer.responses(message_id))[-1].status)

        statuses = await asyncio.gather(*(move(number + 1) for number in range(number)), return_exceptions=True)
        accepting.cancel()
        await asyncio.wait([accepting])
    final = sum(status == 0x0000 for status in statuses)
    measured = f"{final} final responses of Success, at most {most} associations at once"
    return Row(f"{number} C-MOVEs to one destination", f"at most 4, {number}", measured, most <= 4 and final == number)


async def rows(long: bool) -> list[Row]:
    """Measure one and twenty peers with tiny PDUs, the moves, and large files."""
    seconds = 3 * SECONDS if long else SECONDS
    return [
        *[await tiny_gets(peers, seconds) for peers in (1, 20)],
        await moves(100),
        await re_encoded(16, 128 << 20, seconds),
        await decompressed(16, seconds),
        await inflated(16, 64 << 20, seconds),
    ]
