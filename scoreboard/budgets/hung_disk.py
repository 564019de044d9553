"""A disk whose fsync never returns, and peers that store and abort."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from scripted import wire
from scripted.peer import ScriptedPeer, ScriptedPeerError

import aiodimse
import scoreboard.budgets  # noqa: F401  # makes scripted importable
from aiodimse.aio.files import WORKERS
from scoreboard.budgets.honest import echoing
from scoreboard.process import line, provider
from scoreboard.row import Row

OBJECT = 1 << 20
"""The size of each object, in bytes."""
_ROOM = 100 << 20
_OTHER_TASKS = 5
"""The tasks of the provider without a peer."""
_A_LITTLE = 15.0
"""Seconds after the drain during which serve waits for operations that hang."""
_HUNG = Path(__file__).parents[2] / "tests" / "hung"
"""A folder for the PYTHONPATH of a process, whose sitecustomize makes fsync or the index hang."""


async def _store_and_abort(port: int, number: int, hung: Callable[[], Awaitable[float]]) -> bool:
    """Store and abort; return whether the provider accepted the association. The first peers wait for the disk."""
    uid = f"1.2.3.{number}"
    try:
        async with await ScriptedPeer.connect("127.0.0.1", port) as peer:
            await peer.associate([(1, wire.CT_IMAGE_STORAGE, [wire.EXPLICIT_LE])], called="SCORED")
            elements = {
                (0x0008, 0x0016): ("UI", wire.CT_IMAGE_STORAGE),
                (0x0008, 0x0018): ("UI", uid),
                (0x0020, 0x000D): ("UI", "1.2.3"),
                (0x0020, 0x000E): ("UI", "1.2.3.0"),
                (0x7FE0, 0x0010): ("OW", bytes(OBJECT)),
            }
            await peer.request(1, wire.store_rq(wire.CT_IMAGE_STORAGE, uid), wire.dataset(elements))
            if number < WORKERS:
                async with asyncio.timeout(20):
                    while await hung() <= number:  # noqa: ASYNC110  # the state is that of another process
                        await asyncio.sleep(0.01)
            else:
                await asyncio.sleep(0.01)
            await peer.send(wire.abort())
            with contextlib.suppress(ScriptedPeerError):  # the provider does not notice an abort behind unread data
                await peer.drain(0.5)
            return True
    except ScriptedPeerError:
        return False


async def hung_disk(peers: int) -> Row:
    """Measure what is held when all peers have gone, and how long the process takes to end."""
    limits, timeouts = aiodimse.Limits(), aiodimse.Timeouts()
    within = timeouts.server_drain
    with tempfile.TemporaryDirectory() as name:
        async with provider("--save", name, "--hang") as scored:
            before = await scored.held()

            async def hung() -> float:
                return (await scored.held())["hung"]

            took = [await _store_and_abort(scored.port, number, hung) for number in range(peers)]
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


async def serve_ends(kind: str, workers: int, peers: int) -> Row:
    """Measure how long `aiodimse serve` takes to end on SIGTERM while its disk or index hangs, and what it prints."""
    within = aiodimse.Timeouts().server_drain + _A_LITTLE
    with tempfile.TemporaryDirectory() as name:
        when, folder = Path(name) / "hung", Path(name) / "served"
        folder.mkdir()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aiodimse", "serve", str(folder), "--port", "0", "--ae-title", "SCORED", "--json"),
            *("--workers", str(workers)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(_HUNG), "HUNG": kind, "HUNG_WHEN": str(when)},
        )
        try:
            port = json.loads(await line(process))["port"]
            when.touch()

            def marks() -> int:
                return len(list(Path(name).glob("hung.*")))

            async def hung() -> float:
                # A worker has one thread that writes to its index; the workers have eight threads each for files.
                return marks() * WORKERS

            took = [await _store_and_abort(port, number, hung) for number in range(peers)]
            process.send_signal(signal.SIGTERM)
            started = time.perf_counter()
            stderr = b""
            with contextlib.suppress(TimeoutError):
                _, stderr = await asyncio.wait_for(process.communicate(), within + 30)
            seconds = time.perf_counter() - started
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    words = [each for each in stderr.decode().splitlines() if "does not answer" in each]
    return Row(
        f"serve, {workers} worker{'s' * (workers > 1)}: {kind} hangs, {peers} peers store and abort, SIGTERM",
        f"ends within {within:g} s, exit status 1, and says what hangs",
        f"{sum(took)} were let in, ended after {seconds:.1f} s with {process.returncode}, {len(words)} lines of it",
        seconds < within and process.returncode == 1 and 1 <= len(words) <= workers,
    )


async def rows(long: bool) -> list[Row]:
    """Measure a server, and serve with each part that can hang."""
    peers = 150 if long else 20
    ends = [await serve_ends(kind, workers, peers) for kind in ("fsync", "index") for workers in (1, 2)]
    return [await hung_disk(400), *ends]
