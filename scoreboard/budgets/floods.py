"""Floods of tiny messages, and of large A-ASSOCIATE-RQs, with an honest echo beside each."""

from __future__ import annotations

from scoreboard.budgets.flooding import FLOODS, flooding
from scoreboard.budgets.honest import echoing
from scoreboard.process import provider
from scoreboard.row import Row

SECONDS = 4.0


async def flood(name: str, peers: int, seconds: float = SECONDS) -> Row:
    """One flood by so many peers."""
    words = FLOODS[name].words if name in FLOODS else "A-ASSOCIATE-RQs of 1 MiB"
    async with provider() as scored:
        async with flooding(scored.port, name, peers) as flooded:
            await scored.held()
            beside = await echoing(scored.port, seconds)
            beside.stall = (await scored.held())["stall"]
        measured = f"{beside}, {flooded.ended} ended"
    median, longest, turn = (0.010, 0.100, 0.050) if peers == 1 else (0.060, 0.250, 0.100)
    if peers > 20:
        target, passed = "echo max 500 ms", beside.longest < 0.5
    else:
        target = f"echo median {median * 1e3:.0f} ms, max {longest * 1e3:.0f} ms, turn {turn * 1e3:.0f} ms"
        passed = beside.median < median and beside.longest < longest and beside.stall < turn
    return Row(f"{peers} flooding with {words}", target, measured, passed)


async def rows(long: bool) -> list[Row]:
    """Every flood by one peer and by twenty, and the first by 95."""
    seconds = 3 * SECONDS if long else SECONDS
    found = [await flood(name, peers, seconds) for name in (*FLOODS, "associate") for peers in (1, 20)]
    return [*found, await flood("data", 95, seconds), await flood("associate", 95, seconds)]
