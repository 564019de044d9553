"""Small objects that inflate to much, stored in an archive: what the index keeps of them, also after a restart."""

from __future__ import annotations

import tempfile
import time
import zlib

from scripted import wire
from scripted.peer import ScriptedPeer

import scoreboard.budgets  # noqa: F401  # makes scripted importable
from scoreboard.process import Scored, provider
from scoreboard.row import Row

DEFLATED = "1.2.840.10008.1.2.1.99"
STUDY = "1.2.3"
TEXT, ITEMS = 12 << 20, 400_000
_WARM = 10
"""How many objects are stored before the measurement, so that Python has allocated its own memory."""


def poison(number: int) -> bytes:
    """Make an object with a long text and a sequence of many empty items, in attributes that are indexed."""
    head = wire.dataset(
        {(0x0008, 0x0016): ("UI", wire.CT_IMAGE_STORAGE), (0x0008, 0x0018): ("UI", f"1.2.3.4.{number}")}
    )
    head += b"\x08\x00\x30\x10UN\0\0" + TEXT.to_bytes(4, "little") + b"x" * TEXT  # Study Description
    head += b"\x08\x00\x32\x10SQ\0\0" + (8 * ITEMS).to_bytes(4, "little") + b"\xfe\xff\x00\xe0\0\0\0\0" * ITEMS
    rest = wire.dataset({
        (0x0010, 0x0010): ("PN", "Nobody^At all"), (0x0010, 0x0020): ("LO", "4711"),
        (0x0020, 0x000D): ("UI", STUDY), (0x0020, 0x000E): ("UI", "1.2.3.4"),
    })  # fmt: skip
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(head + rest) + packer.flush()
    return packed + b"\0" * (len(packed) % 2)


async def _store(port: int, numbers: range) -> tuple[int, int]:
    """Store copies; return how many were accepted, and the size of one in bytes."""
    taken, size = 0, 0
    async with await ScriptedPeer.connect("127.0.0.1", port, 60) as peer:
        await peer.associate([(1, wire.CT_IMAGE_STORAGE, [DEFLATED])], called="SCORED")
        for number in numbers:
            data = poison(number)
            size = len(data)
            rq = wire.store_rq(wire.CT_IMAGE_STORAGE, f"1.2.3.4.{number}", message_id=number + 1)
            (response,) = await peer.responses(await peer.request(1, rq, data))
            taken += response.status == 0x0000
    return taken, size


async def _ask(port: int) -> tuple[float, int, int]:
    """Query; return seconds, matches, and the size of the largest Identifier in bytes."""
    keys = wire.identifier(
        "STUDY", name=((0x0010, 0x0010), "PN", ""), id=((0x0010, 0x0020), "LO", "4711"),
        text=((0x0008, 0x1030), "LO", ""), uid=((0x0020, 0x000D), "UI", ""),
    )  # fmt: skip
    async with await ScriptedPeer.connect("127.0.0.1", port, 60) as peer:
        await peer.associate([(1, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE])], called="SCORED")
        started = time.perf_counter()
        responses = await peer.responses(await peer.request(1, wire.find_rq(), keys))
        return time.perf_counter() - started, len(responses) - 1, max(len(each.data or b"") for each in responses)


async def _asked(scored: Scored, objects: int) -> tuple[bool, str]:
    await scored.held()
    seconds, matches, largest = await _ask(scored.port)
    stall = (await scored.held())["stall"]
    words = f"{matches} match of {largest} bytes in {seconds * 1e3:.0f} ms, stall {stall * 1e3:.0f} ms"
    return matches == 1 and largest < 16384 and stall < 0.05, words


async def poisoned(objects: int) -> Row:
    """Store the object a number of times, query, restart, and query again."""
    with tempfile.TemporaryDirectory() as name:
        async with provider("--archive", name) as scored:
            await _store(scored.port, range(_WARM))
            before = await scored.held()
            taken, size = await _store(scored.port, range(_WARM, _WARM + objects))
            after = await scored.held()
            is_answered, words = await _asked(scored, objects)
        async with provider("--archive", name) as scored:
            again = await scored.held()
            is_answered_again, words_again = await _asked(scored, objects)
        with tempfile.TemporaryDirectory() as empty:
            async with provider("--archive", empty) as scored:
                nothing = await scored.held()
    each = (after["memory"] - before["memory"]) / objects / (1 << 20)
    each_again = (again["memory"] - nothing["memory"]) / (objects + _WARM) / (1 << 20)
    return Row(
        f"{objects} objects of {size / 1024:.0f} KB that inflate to {(TEXT + 8 * ITEMS) >> 20} MiB, and a restart",
        "under 1 MiB each; an honest query is answered, stall under 50 ms",
        f"{taken} taken, {each:.2f} MiB each, {words}; restarted {each_again:.2f} MiB each, {words_again}",
        taken == objects and each < 1 and each_again < 1 and is_answered and is_answered_again,
    )


async def rows(long: bool) -> list[Row]:
    """Return the one row."""
    return [await poisoned(30)]
