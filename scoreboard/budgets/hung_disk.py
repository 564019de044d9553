"""A disk whose fsync does not come back, and peers that store and abort."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time

from scripted import wire
from scripted.peer import ScriptedPeer, ScriptedPeerError

import aiodimse
import scoreboard.budgets  # noqa: F401  # where scripted is found
from aiodimse.aio.files import WORKERS
from scoreboard.budgets.honest import echoing
from scoreboard.process import Scored, provider
from scoreboard.row import Row

OBJECT = 1 << 20
"""Bytes of each."""
_ROOM = 100 << 20
_OTHER_TASKS = 5
"""That the provider has without a peer."""


async def _store_and_abort(scored: Scored, number: int) -> bool:
    """Whether there was a place. The first ones wait until the disk has been asked, the others a while."""
    uid = f"1.2.3.{number}"
    try:
        async with await ScriptedPeer.connect("127.0.0.1", scored.port) as peer:
            await peer.associate([(1, wire.CT_IMAGE_STORAGE, [wire.EXPLICIT_LE])], called="SCORED")
            elements = {
                (0x0008, 0x0016): ("UI", wire.CT_IMAGE_STORAGE),
                (0x0008, 0x0018): ("UI", uid),
                (0x7FE0, 0x0010): ("OW", bytes(OBJECT)),
            }
            await peer.request(1, wire.store_rq(wire.CT_IMAGE_STORAGE, uid), wire.dataset(elements))
            if number < WORKERS:
                async with asyncio.timeout(20):
                    while (await scored.held())["hung"] <= number:  # noqa: ASYNC110  # another process tells
                        await asyncio.sleep(0.01)
            else:
                await asyncio.sleep(0.01)
            await peer.send(wire.abort())
            await peer.drain(5)
            return True
    except ScriptedPeerError:
        return False


async def hung_disk(peers: int) -> Row:
    """What is held when all have gone, and how long the process takes to end."""
    limits, timeouts = aiodimse.Limits(), aiodimse.Timeouts()
    within = timeouts.server_drain
    with tempfile.TemporaryDirectory() as name:
        async with provider("--save", name, "--hang") as scored:
            before = await scored.held()
            took = [await _store_and_abort(scored, number) for number in range(peers)]
            beside = await echoing(scored.port, 1)
            held = await scored.held()
            scored.process.send_signal(signal.SIGTERM)
            started = time.perf_counter()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(scored.process.wait(), within + 30)
            seconds = time.perf_counter() - started
    tasks, grown = int(held["tasks"] - before["tasks"]), held["memory"] - before["memory"]
    measured = (
        f"{sum(took)} were let in, {tasks} tasks, {held['memory'] / (1 << 20):.0f} MiB ({grown / (1 << 20):+.0f})"
    )
    return Row(
        f"fsync hangs, {peers} peers store and abort",
        f"at most {limits.max_associations} tasks, under 100 MiB, an echo goes, SIGTERM ends it in {within:g} s",
        f"{measured}, echo median {beside.median * 1e3:.0f} ms, ended after {seconds:.1f} s",
        held["hung"] >= WORKERS
        and tasks <= limits.max_associations + _OTHER_TASKS
        and held["memory"] < _ROOM
        and beside.median < 1
        and seconds < within,
    )


async def rows(long: bool) -> list[Row]:
    """One row."""
    return [await hung_disk(400)]
