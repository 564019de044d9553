"""Floods of tiny messages, and of large A-ASSOCIATE-RQs, each measured by an honest echo."""

from __future__ import annotations

import tempfile

from scoreboard.budgets.flooding import AGAIN, FLOODS, flooding
from scoreboard.budgets.honest import Beside, echoing
from scoreboard.process import Scored, provider
from scoreboard.row import Row

SECONDS = 4.0


async def flood(name: str, peers: int, seconds: float = SECONDS) -> Row:
    """Measure one flood by a number of peers."""
    words = FLOODS[name].words if name in FLOODS else AGAIN[name][0]
    with tempfile.TemporaryDirectory() as folder:
        has_archive = name in FLOODS and FLOODS[name].needs_archive
        async with provider(*(("--archive", folder) if has_archive else ())) as scored:
            measured, beside = await _beside(scored, name, peers, seconds)
    median, longest, turn = (0.010, 0.100, 0.050) if peers == 1 else (0.060, 0.250, 0.100)
    if peers > 20:
        target, passed = "echo max 500 ms", beside.longest < 0.5
    else:
        target = f"echo median {median * 1e3:.0f} ms, max {longest * 1e3:.0f} ms, turn {turn * 1e3:.0f} ms"
        passed = beside.median < median and beside.longest < longest and beside.stall < turn
    return Row(f"{peers} flooding with {words}", target, measured, passed)


async def _beside(scored: Scored, name: str, peers: int, seconds: float) -> tuple[str, Beside]:
    async with flooding(scored.port, name, peers) as flooded:
        await scored.held()
        beside = await echoing(scored.port, seconds)
        held = await scored.held()
        beside.stall = held["stall"]
    return f"{beside}, {flooded.ended} ended, {held['memory'] / (1 << 20):.0f} MiB", beside


async def rows(long: bool) -> list[Row]:
    """Measure every flood by one peer and by twenty, and the first flood by 95."""
    seconds = 3 * SECONDS if long else SECONDS
    found = [await flood(name, peers, seconds) for name in (*FLOODS, *AGAIN) for peers in (1, 20)]
    return [*found, await flood("data", 95, seconds), await flood("associate", 95, seconds)]
