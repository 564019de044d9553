"""kill -9 during stores, restart, look: python tests/durable/kills.py [KILLS] prints one line.

A kill shows what was acknowledged before it was given to the kernel; that the kernel gives it to the disk is what
test_durable_strace.py shows.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from durable.material import STORAGE, check, instance
from durable.provider import TITLE

import aiodimse

HOST = "127.0.0.1"
SENDERS = 4
SIZES = (500, 20_000, 300_000, 3_000_000)
"""In bytes: less than a PDU, some PDUs, more than the kernel's buffers, and more than one hop to the file pool."""


@asynccontextmanager
async def provider(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """The provider process and its port; killed at the end if it still lives."""
    script = Path(__file__).with_name("provider.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            yield process, int((await process.stdout.readline()).split()[0])
    finally:
        if process.returncode is None:
            kill(process)
        await process.wait()


def kill(process: asyncio.subprocess.Process) -> None:
    """SIGKILL. Not Process.kill(), which may reap the child before asyncio does."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


@dataclass
class Tally:
    """What came of it."""

    kills: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    """SOP Instance UID -> size, of every store answered 0x0000."""
    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    unacknowledged: int = 0
    """Whole files whose response had not gone out: allowed, the sender sends again."""
    temporary: int = 0
    """Files of a save that was killed, which no scan takes for an instance, seen after a kill."""
    left: int = 0
    """Those of them that are still there when the provider has started again."""

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {len(self.acknowledged)} instances acknowledged: {len(self.lost)} lost,"
            f" {len(self.half)} half files ({self.unacknowledged} more were saved but not acknowledged,"
            f" {self.temporary} files were left unfinished, {self.left} after another start)"
        )


async def _send(
    port: int, sender: int, run: int, dice: random.Random, tally: Tally, acknowledged: asyncio.Event
) -> None:
    """Store one instance after the other until the provider is gone."""
    with suppress(aiodimse.AssociationError, OSError):
        async with aiodimse.connect(HOST, port, called_ae_title=TITLE, contexts=[STORAGE]) as association:
            number = 0
            while True:
                number += 1
                uid, size = f"1.2.826.{run}.{sender}.{number}", dice.choice(SIZES)
                response = await association.c_store(instance(uid, size))
                assert response.status == 0x0000, response
                tally.acknowledged[uid] = size
                acknowledged.set()


async def _one_kill(folder: Path, run: int, dice: random.Random, tally: Tally) -> None:
    async with provider(folder) as (process, port):
        acknowledged = asyncio.Event()
        senders = [
            asyncio.create_task(_send(port, sender, run, dice, tally, acknowledged)) for sender in range(SENDERS)
        ]
        enough = len(tally.acknowledged) + dice.randint(1, 30)
        while len(tally.acknowledged) < enough:
            acknowledged.clear()
            await acknowledged.wait()
        for _ in range(dice.randint(0, 200)):  # somewhere in the middle of something, not always after a response
            await asyncio.sleep(0)
        kill(process)
        tally.kills += 1
        await asyncio.gather(*senders)


def _look(folder: Path, tally: Tally) -> None:
    tally.lost, tally.half, tally.unacknowledged, tally.left = [], [], 0, 0
    found: dict[str, int] = {}
    for path in folder.iterdir():
        if path.name.startswith("."):
            tally.left += 1
            continue
        try:
            found[path.name.removesuffix(".dcm")] = len(check(path))
        except Exception:
            tally.half.append(path.name)
    tally.lost = [uid for uid, size in tally.acknowledged.items() if found.get(uid) != size]
    tally.unacknowledged = len(found.keys() - tally.acknowledged.keys())


async def kill_during_stores(folder: Path, kills: int, seed: int = 1) -> Tally:
    """Start, send from several associations, kill; over again in the same folder. At last start once more and store."""
    tally, dice = Tally(), random.Random(seed)
    for run in range(kills):
        await _one_kill(folder, run, dice, tally)
        await asyncio.to_thread(_look, folder, tally)
        tally.temporary += tally.left
        if tally.lost or tally.half:
            return tally
    async with provider(folder) as (_, port):
        async with aiodimse.connect(HOST, port, called_ae_title=TITLE, contexts=[STORAGE]) as association:
            assert (await association.c_store(instance("1.2.3", 1000))).status == 0x0000
        tally.acknowledged["1.2.3"] = 1000
    await asyncio.to_thread(_look, folder, tally)
    return tally


if __name__ == "__main__":
    many = int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ.get("AIODIMSE_KILLS", "50"))
    with tempfile.TemporaryDirectory() as where:
        result = asyncio.run(kill_during_stores(Path(where), many))
    print(result)
    sys.exit(bool(result.lost or result.half))
