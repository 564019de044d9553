"""C-MOVEs to a destination that accepts associations and then is silent, at once or after each first instance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from scripted import wire
from scripted.peer import ScriptedListener, ScriptedPeer, ScriptedPeerError

import scoreboard.budgets  # noqa: F401  # makes scripted importable
from scoreboard.budgets.honest import echoing
from scoreboard.process import provider
from scoreboard.row import Row

_FINAL = 60.0
RESPONSE = 1.0
"""Seconds for which the provider waits for a response."""
AT_ONCE = 4
"""Associations to one destination at a time."""
INSTANCES = 3


@asynccontextmanager
async def destination(answers: int | None) -> AsyncIterator[int]:
    """Listen, and answer so many C-STOREs of each association; None: all. Yields the port."""

    async def store(peer: ScriptedPeer) -> None:
        left = answers
        with suppress(ScriptedPeerError, OSError, TimeoutError):
            await peer.accept()
            while True:
                message = await peer.read_message()
                if left is None or left > 0:
                    await peer.respond(message, 0x0000)
                    left = None if left is None else left - 1
        await peer.close()

    async def accept() -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(store(await listener.accept(_FINAL)))

    async with await ScriptedListener.open() as listener:
        accepting = asyncio.create_task(accept())
        try:
            yield listener.port
        finally:
            accepting.cancel()
            await asyncio.wait([accepting])


async def _move(port: int, title: str) -> tuple[int, float]:
    """Ask for one C-MOVE. Return its final status, and how long it took."""
    async with await ScriptedPeer.connect("127.0.0.1", port, _FINAL) as peer:
        await peer.associate([(1, wire.STUDY_ROOT_MOVE, [wire.EXPLICIT_LE])], called="SCORED")
        started = time.perf_counter()
        await peer.request(1, wire.move_rq(title, message_id=1), wire.identifier("STUDY"))
        return int((await peer.responses(1))[-1].status), time.perf_counter() - started


async def moves(peers: int, answers: int, words: str) -> Row:
    """Measure an honest echo and an honest C-MOVE to another destination beside the silent one, and how all end."""
    async with destination(answers) as silent, destination(None) as good:
        options = ("--move-to", str(silent), str(good), "--moved", str(INSTANCES), "--response", str(RESPONSE))
        async with provider(*options) as scored:
            before = await scored.held()
            asked = [asyncio.create_task(_move(scored.port, "DEST0")) for _ in range(peers)]
            await asyncio.sleep(RESPONSE / 2)  # the first of them wait
            honest = asyncio.create_task(_move(scored.port, "DEST1"))
            beside = await echoing(scored.port, RESPONSE)
            status, seconds = await honest
            ended = await asyncio.gather(*asked, return_exceptions=True)
            after = await scored.held()
    # Of an association that is lost the rest goes over one more.
    most = (-(-peers // AT_ONCE)) * 2 * RESPONSE + 5
    finals = [each for each in ended if isinstance(each, tuple) and each[0] != 0x0000]
    longest = max((each[1] for each in finals), default=0.0)
    return Row(
        f"{peers} C-MOVEs to a destination that {words}",
        f"echo max 100 ms, C-MOVE elsewhere 1 s, {peers} final responses within {most:.0f} s, files back",
        f"{beside}, C-MOVE elsewhere {seconds * 1e3:.0f} ms, {len(finals)} final responses within {longest:.1f} s",
        beside.longest < 0.1
        and (status, seconds < 1) == (0x0000, True)
        and len(finals) == peers
        and longest < most
        and after["files"] <= before["files"] + 1,
    )


async def rows(long: bool) -> list[Row]:
    """Measure both kinds by one peer and by twenty."""
    kinds = ((0, "accepts and then is silent"), (1, "is silent after the first instance"))
    return [await moves(peers, answers, words) for answers, words in kinds for peers in (1, 20)]
